//! Floor 9: people and programs are told of changed verdicts: by mail, by signed webhooks, in Slack.
//!
//! What is to be told is kept by the store with the commit that changed the verdict, and forgotten when it was told: at
//! least once, under an id that stays the same. The channels do not wait for each other; within one, what came first is
//! told first. What cannot be told is tried again with growing pauses and given up, with an entry in the audit log, only
//! after days.

mod mail;
mod message;
mod quiet;
mod webhook;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use arc_swap::ArcSwap;
use futures_util::future::join_all;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use serde_json::json;
use tokio::sync::Notify;
use url::Url;

pub use mail::{MailOptions, MailTls, Mailer};
pub use message::Message;
pub use quiet::Quiet;
pub use webhook::{Secret, signature};

use crate::clock::Clock;
use crate::net::Net;
use crate::store::{AuditEntry, Notification, Store, StoreError, Told};

/// The store is looked at this often besides when something is known to be due: other replicas may have stored.
const LOOK: SignedDuration = SignedDuration::from_secs(15);
/// Commits come in bursts; looking more often than this would only cost.
const LOOK_MIN: Duration = Duration::from_millis(200);

/// What a text is not that should be a mail address.
pub fn address_problem(text: &str) -> Option<String> {
    mail::address(text).err()
}

/// Bounds of telling; defaults are those of `config.default.toml`.
#[derive(Clone, Debug)]
pub struct Options {
    /// Where people reach this server, for links; `None`: messages have none.
    pub base_url: Option<Url>,
    /// How long one try may take.
    pub request: Duration,
    /// First and longest pause before something is tried again; each is twice as long as the one before.
    pub retry_min: Duration,
    pub retry_max: Duration,
    /// What could not be told for so long is given up.
    pub give_up: Duration,
}

/// Where something is told.
#[derive(Clone)]
pub enum Target {
    /// By mail, to these addresses.
    Mail { to: Vec<String> },
    /// By a JSON document, signed when there is a secret.
    Webhook { url: Url, secrets: Vec<Secret> },
    /// In Slack, by the address of an incoming webhook.
    Slack { url: Url },
}

/// One way to tell.
#[derive(Clone)]
pub struct Channel {
    pub target: Target,
    pub quiet: Quiet,
    /// In which windows are written, and which quiet hours are meant.
    pub time_zone: TimeZone,
}

/// All that can change while the server runs.
#[derive(Clone, Default)]
pub struct Channels {
    pub by_name: BTreeMap<String, Channel>,
    pub mail: Option<MailOptions>,
}

/// Tells until it is dropped. Several processes on one store take turns.
pub struct Notifier {
    options: Options,
    channels: ArcSwap<Channels>,
    net: Arc<Net>,
    store: Arc<dyn Store>,
    clock: Clock,
    came: Notify,
    /// Notifications told, tries that failed, and what was given up, since the start.
    pub told: AtomicU64,
    pub failed: AtomicU64,
    pub refused: AtomicU64,
}

/// Why one was not told this time.
#[derive(Clone, Debug, PartialEq)]
pub struct Failure {
    pub problem: String,
    /// The other side said when to come again.
    pub retry_after: Option<Duration>,
}

impl Failure {
    fn new(problem: impl Into<String>) -> Failure {
        Failure { problem: problem.into(), retry_after: None }
    }
}

impl Notifier {
    pub fn new(
        options: Options,
        channels: Channels,
        net: Arc<Net>,
        store: Arc<dyn Store>,
        clock: Clock,
    ) -> Arc<Notifier> {
        Arc::new(Notifier {
            options,
            channels: ArcSwap::from_pointee(channels),
            net,
            store,
            clock,
            came: Notify::new(),
            told: AtomicU64::new(0),
            failed: AtomicU64::new(0),
            refused: AtomicU64::new(0),
        })
    }

    /// An evaluation was stored: it may have changed verdicts.
    pub fn stored(&self) {
        self.came.notify_one();
    }

    /// Goes on with other channels, passwords and secrets. What was signed by a secret that is replaced is signed by both
    /// for so long yet.
    pub fn renew(&self, mut channels: Channels, overlap_s: u32) {
        let now = self.clock.now();
        let until = now.saturating_add(SignedDuration::from_secs(overlap_s.into())).unwrap_or(Timestamp::MAX);
        for (name, channel) in &mut channels.by_name {
            let before = self.channels.load();
            let before = before.by_name.get(name).map(|channel| &channel.target);
            if let (Target::Webhook { secrets, .. }, Some(Target::Webhook { secrets: before, .. })) =
                (&mut channel.target, before)
            {
                let former: Vec<Secret> = before.iter().filter(|b| !secrets.iter().any(|s| s.is(b))).cloned().collect();
                secrets.extend(former.into_iter().filter(|s| s.counts(now)).map(|s| s.until(until)));
            }
        }
        self.channels.store(Arc::new(channels));
        self.came.notify_one();
    }

    /// Tells what comes until it is dropped.
    pub async fn run(self: Arc<Self>) {
        let mut said = String::new();
        loop {
            let wait = match self.round().await {
                Ok(Some(due)) => due.duration_since(self.clock.now()).min(LOOK),
                Ok(None) => LOOK,
                Err(error) => {
                    let error = error.to_string();
                    if said != error {
                        tracing::warn!("notifications wait for the store: {error}");
                        said = error;
                    }
                    LOOK
                }
            };
            tokio::select! {
                () = self.came.notified() => {}
                () = self.clock.sleep(wait.unsigned_abs().max(LOOK_MIN)) => {}
            }
        }
    }

    /// Tells everything that is due; gives the next instant at which something known is.
    ///
    /// # Errors
    /// The store is away.
    pub async fn round(&self) -> Result<Option<Timestamp>, StoreError> {
        let mut next: Option<Timestamp> = None;
        loop {
            let due = self.store.next_notifications(self.clock.now(), self.until()).await?;
            if due.is_empty() {
                return Ok(next);
            }
            for settled in join_all(due.iter().map(|notification| self.tell(notification))).await {
                let later = settled?;
                next = [next, later].into_iter().flatten().min();
            }
        }
    }

    /// Until when something is ours: longer than a try may take.
    fn until(&self) -> Timestamp {
        let long = SignedDuration::try_from(self.options.request * 3).unwrap_or(SignedDuration::MAX);
        self.clock.now().saturating_add(long).unwrap_or(Timestamp::MAX)
    }

    /// Tells one, and says so to the store; gives the instant of the next try if there is to be one.
    async fn tell(&self, notification: &Notification) -> Result<Option<Timestamp>, StoreError> {
        let channels = self.channels.load_full();
        let now = self.clock.now();
        let told = match channels.by_name.get(&notification.channel) {
            None => self.give_up(notification, "there is no such channel any more"),
            Some(channel) => match channel.quiet.ends(now, &channel.time_zone) {
                Some(due) => Told::Later { due, failed: false },
                None => self.try_to_tell(notification, channel, &channels).await,
            },
        };
        self.store.settle_notification(notification.id, &told).await?;
        Ok(match told {
            Told::Later { due, .. } => Some(due),
            Told::Done | Told::Refused(_) => None,
        })
    }

    async fn try_to_tell(&self, notification: &Notification, channel: &Channel, channels: &Channels) -> Told {
        let message = Message::of(notification, channel, self.options.base_url.as_ref());
        let sent = tokio::time::timeout(self.options.request, self.send(&message, channel, channels)).await;
        let sent = sent
            .unwrap_or_else(|_| Err(Failure::new(format!("no answer within {} ms", self.options.request.as_millis()))));
        let Err(failure) = sent else {
            self.told.fetch_add(1, Ordering::Relaxed);
            return Told::Done;
        };
        self.failed.fetch_add(1, Ordering::Relaxed);
        let now = self.clock.now();
        let waited = now.duration_since(notification.recorded_at);
        if waited >= SignedDuration::try_from(self.options.give_up).unwrap_or(SignedDuration::MAX) {
            return self.give_up(notification, &failure.problem);
        }
        let pause = self.pause(notification.attempts).max(failure.retry_after.unwrap_or_default());
        tracing::warn!(
            channel = notification.channel, id = %notification.id, attempts = notification.attempts + 1,
            retry_s = pause.as_secs(), "a notification could not be told: {}", failure.problem
        );
        let pause = SignedDuration::try_from(pause).unwrap_or(SignedDuration::MAX);
        Told::Later { due: now.saturating_add(pause).unwrap_or(Timestamp::MAX), failed: true }
    }

    /// The pause after so many failures before this one.
    fn pause(&self, attempts: u32) -> Duration {
        let doubled = 1_u32.checked_shl(attempts.min(30)).unwrap_or(u32::MAX);
        self.options.retry_min.saturating_mul(doubled).min(self.options.retry_max)
    }

    fn give_up(&self, notification: &Notification, problem: &str) -> Told {
        self.refused.fetch_add(1, Ordering::Relaxed);
        let (channel, changes) = (&notification.channel, notification.changes.len());
        tracing::error!(channel, id = %notification.id, changes, "a notification is given up: {problem}");
        Told::Refused(AuditEntry {
            at: self.clock.now(),
            actor: "notify".into(),
            action: "give up".into(),
            subject: channel.clone(),
            detail: json!({ "id": notification.id, "changes": notification.changes, "problem": problem }),
        })
    }

    async fn send(&self, message: &Message, channel: &Channel, channels: &Channels) -> Result<(), Failure> {
        match &channel.target {
            Target::Mail { to } => match &channels.mail {
                Some(options) => Mailer::new(options, &self.net).send(message, to, self.clock.now()).await,
                None => Err(Failure::new("no mail server is configured (mail.host)")),
            },
            Target::Webhook { url, secrets } => {
                webhook::post(&self.net, url, message, secrets, self.clock.now(), self.options.request).await
            }
            Target::Slack { url } => webhook::post_slack(&self.net, url, message, self.options.request).await,
        }
    }
}
