//! Floor 9: final verdicts are told to status-backend (`POST …/computations/bulk`), all of them and in order.
//!
//! The verdicts of an evaluation are one computation group: its rows go out in requests as large as the backend takes, each
//! after the one before was answered, the last with `done: true`. What is to be told is kept by the store with the commit
//! that made it, and forgotten when it was told, so that nothing is lost while the backend, or Probity, is away.
//!
//! The backend does not know a request that comes twice. So one is repeated only when it surely was not stored. When that
//! cannot be seen by its answer the backend is asked for the group, whose evidences tell; when it does not show them (a
//! newer one does so only of groups that are done) the group is told again from the front under a new id, and the old one
//! never becomes done.

mod computation;

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use arc_swap::ArcSwapOption;
use bytes::Bytes;
use http::{HeaderName, HeaderValue, Method, header};
use jiff::{SignedDuration, Timestamp};
use serde_json::json;
use tokio::sync::Notify;
use url::Url;
use uuid::Uuid;

pub use computation::{Computation, Controls, Post, post};

use crate::clock::Clock;
use crate::model::RunId;
use crate::net::{Net, NetError, NetRequest};
use crate::store::{AuditEntry, Delivery, Settled, Store, StoreError};

const TOKEN: HeaderName = HeaderName::from_static("x-access-token");
/// Tokens of callers that are remembered: those of the newest evaluations.
const TOKENS_MAX: usize = 1_000;
/// The store is looked at this often besides when an evaluation says that it stored: others may have.
const LOOK: Duration = Duration::from_secs(30);
/// First pause before something is tried again; each further one is twice as long.
const RETRY_MIN: Duration = Duration::from_secs(1);

/// Where to and how; defaults are those of `config.default.toml`.
#[derive(Clone, Debug)]
pub struct Options {
    /// `…/computations/bulk`.
    pub url: Url,
    /// For what no caller's token is known for; none is sent when it is `None`.
    pub token: Option<Token>,
    pub controls: Controls,
    /// Largest request the backend takes, bytes.
    pub body_bytes_max: usize,
    /// How long a request may take.
    pub request: Duration,
    /// Longest pause before something is tried again.
    pub retry_max: Duration,
}

/// A token of STATUS.
#[derive(Clone)]
pub enum Token {
    /// As it was given.
    Fixed(String),
    /// Signed for each request with STATUS's secret.
    Signed { secret: String },
}

impl std::fmt::Debug for Token {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Token")
    }
}

/// Tells verdicts until it is dropped. One per process.
pub struct Deliverer {
    options: Options,
    /// In the place of the one in the options, which was the first.
    token: ArcSwapOption<Token>,
    net: Arc<Net>,
    store: Arc<dyn Store>,
    clock: Clock,
    came: Notify,
    /// By the run of the evaluation: what its caller showed.
    tokens: Mutex<VecDeque<(RunId, String)>>,
    /// Rows told, and rows given up, since the start.
    pub delivered: AtomicU64,
    pub refused: AtomicU64,
}

/// What is known of a request.
enum Answer {
    Stored,
    /// Surely not stored; and why.
    NotStored(String),
    /// It cannot be seen; and why.
    InDoubt(String),
    /// The backend will never take it; and why.
    Refused(String),
}

/// What the backend shows of rows that may have been stored.
enum Seen {
    /// So many of them are, from the front.
    Stored(usize),
    /// It shows nothing of this group before it is done.
    Hidden,
    /// It could not be asked; and why.
    NotSaid(String),
}

/// How it stands with a delivery.
enum Step {
    Done,
    /// It is to be tried again after a pause; and why.
    Later(String),
}

impl Deliverer {
    pub fn new(options: Options, net: Arc<Net>, store: Arc<dyn Store>, clock: Clock) -> Arc<Deliverer> {
        Arc::new(Deliverer {
            token: ArcSwapOption::new(options.token.clone().map(Arc::new)),
            options,
            net,
            store,
            clock,
            came: Notify::new(),
            tokens: Mutex::default(),
            delivered: AtomicU64::new(0),
            refused: AtomicU64::new(0),
        })
    }

    /// Shows another token from now on.
    pub fn renew(&self, token: Option<Token>) {
        self.token.store(token.map(Arc::new));
    }

    /// An evaluation was stored, asked for with this token if with one.
    pub fn stored(&self, run: RunId, token: Option<&str>) {
        if let Some(token) = token {
            let mut tokens = self.tokens.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
            tokens.push_back((run, token.to_owned()));
            if tokens.len() > TOKENS_MAX {
                tokens.pop_front();
            }
        }
        self.came.notify_one();
    }

    /// Tells what comes until it is dropped.
    pub async fn run(self: Arc<Self>) {
        let (mut pause, mut said) = (RETRY_MIN, String::new());
        loop {
            let problem = match self.next().await {
                Ok(Some(Step::Done)) => {
                    if !said.is_empty() {
                        tracing::info!("verdicts are delivered to status-backend again");
                        said.clear();
                    }
                    pause = RETRY_MIN;
                    continue;
                }
                Ok(None) => {
                    tokio::select! {
                        () = self.came.notified() => {}
                        () = self.clock.sleep(LOOK) => {}
                    }
                    continue;
                }
                Ok(Some(Step::Later(problem))) => problem,
                Err(error) => error.to_string(),
            };
            if said != problem {
                tracing::warn!(retry_s = pause.as_secs(), "verdicts wait to be delivered to status-backend: {problem}");
                said = problem;
            }
            self.clock.sleep(pause).await;
            pause = (pause * 2).min(self.options.retry_max);
        }
    }

    /// Until when something is ours: long enough for a request, the question after it, and their storing.
    fn until(&self) -> Timestamp {
        let long = SignedDuration::try_from(self.options.request * 3).unwrap_or(SignedDuration::MAX);
        self.clock.now().saturating_add(long).unwrap_or(Timestamp::MAX)
    }

    /// Tells what waits longest; `None` when nothing does.
    async fn next(&self) -> Result<Option<Step>, StoreError> {
        let Some(delivery) = self.store.next_delivery(self.clock.now(), self.until()).await? else { return Ok(None) };
        self.deliver(delivery).await.map(Some)
    }

    async fn deliver(&self, mut delivery: Delivery) -> Result<Step, StoreError> {
        let row = |state| Computation::of(state, delivery.group, &self.options.controls);
        let rows: Vec<Computation> = delivery.states.iter().filter_map(row).collect();
        if delivery.in_doubt && delivery.sent < rows.len() {
            match self.look(&delivery, &rows[delivery.sent..]).await {
                Seen::Stored(0) => {}
                Seen::Stored(told) => {
                    delivery.sent += told;
                    self.delivered.fetch_add(told as u64, Ordering::Relaxed);
                    let until = self.until();
                    self.store.settle_delivery(&delivery, &Settled::Sent { states: delivery.sent, until }).await?;
                }
                Seen::NotSaid(problem) => {
                    self.store.settle_delivery(&delivery, &Settled::InDoubt).await?;
                    return Ok(Step::Later(problem));
                }
                Seen::Hidden => return self.again(&delivery).await,
            }
        }
        while delivery.sent < rows.len() {
            let post = match post(&rows[delivery.sent..], self.options.body_bytes_max, delivery.last) {
                Ok(post) => post,
                Err(problem) => return self.give_up(&delivery, problem).await,
            };
            match self.send(&delivery, &post).await {
                Answer::Stored => {
                    delivery.sent += post.rows;
                    self.delivered.fetch_add(post.rows as u64, Ordering::Relaxed);
                    let until = self.until();
                    self.store.settle_delivery(&delivery, &Settled::Sent { states: delivery.sent, until }).await?;
                }
                Answer::NotStored(problem) => {
                    self.store.settle_delivery(&delivery, &Settled::Released).await?;
                    return Ok(Step::Later(problem));
                }
                Answer::InDoubt(problem) => {
                    self.store.settle_delivery(&delivery, &Settled::InDoubt).await?;
                    return Ok(Step::Later(problem));
                }
                Answer::Refused(problem) => return self.give_up(&delivery, problem).await,
            }
        }
        self.store.settle_delivery(&delivery, &Settled::Done).await?;
        Ok(Step::Done)
    }

    async fn again(&self, delivery: &Delivery) -> Result<Step, StoreError> {
        let group = RunId::fresh().0;
        tracing::warn!(old = %delivery.group, new = %group,
            "a computation group is delivered anew under another id: the backend does not say which of its rows it has");
        self.store.settle_delivery(delivery, &Settled::Again { group }).await?;
        Ok(Step::Done)
    }

    async fn give_up(&self, delivery: &Delivery, problem: String) -> Result<Step, StoreError> {
        let rows = delivery.states.len() - delivery.sent;
        tracing::error!(group = %delivery.group, rows, "status-backend does not take verdicts: {problem}");
        self.refused.fetch_add(rows as u64, Ordering::Relaxed);
        let agreement = delivery.states.first().map(|state| state.agreement.clone()).unwrap_or_default();
        let audit = AuditEntry {
            at: self.clock.now(),
            actor: "delivery".into(),
            action: "give up".into(),
            subject: agreement,
            detail: json!({"group": delivery.group, "verdicts": rows, "problem": problem}),
        };
        self.store.settle_delivery(delivery, &Settled::Refused(audit)).await?;
        Ok(Step::Done)
    }

    async fn send(&self, delivery: &Delivery, post: &Post) -> Answer {
        let mut request = NetRequest::new(Method::POST, self.options.url.clone());
        request.headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        request.body = Bytes::from(post.body.clone());
        let answer = match self.call(request, delivery).await {
            Ok(answer) => answer,
            Err(error) if never_left(&error) => return Answer::NotStored(error.message),
            Err(error) => return Answer::InDoubt(error.message),
        };
        let problem = || format!("status-backend answered {}: {}", answer.status, start(&answer.body));
        match answer.status {
            200..=299 => Answer::Stored,
            // Not let in, not there, not now: nothing was done.
            401 | 403 | 404 | 429 => Answer::NotStored(problem()),
            503 if answer.headers.contains_key(header::RETRY_AFTER) => Answer::NotStored(problem()),
            400..=499 => Answer::Refused(problem()),
            _ => Answer::InDoubt(problem()),
        }
    }

    /// How many of these rows, from the front, the backend has.
    async fn look(&self, delivery: &Delivery, rows: &[Computation]) -> Seen {
        let mut url = self.options.url.clone();
        let path = url.path().trim_end_matches('/').trim_end_matches("bulk").to_owned();
        url.set_path(&format!("{path}{}", delivery.group));
        match self.call(NetRequest::new(Method::GET, url), delivery).await {
            Ok(answer) => match answer.status {
                200 => {
                    let text = String::from_utf8_lossy(&answer.body);
                    Seen::Stored(rows.iter().take_while(|row| text.contains(&row.mark)).count())
                }
                404 => Seen::Stored(0),
                202 => Seen::Hidden,
                status => Seen::NotSaid(format!("status-backend answered {status}: {}", start(&answer.body))),
            },
            Err(error) => Seen::NotSaid(error.message),
        }
    }

    async fn call(&self, mut request: NetRequest, delivery: &Delivery) -> Result<crate::net::NetResponse, NetError> {
        if let Some(token) = self.token(delivery.group) {
            let token = HeaderValue::from_str(&token)
                .map_err(|_| NetError::new("EACCES", "the token for status-backend cannot be sent in a header"))?;
            request.headers.insert(TOKEN, token);
        }
        request.timeout = Some(self.options.request);
        request.redirects_max = Some(0);
        self.net.request(request).await
    }

    /// The token of who asked for the evaluation, while it counts, else the configured one.
    fn token(&self, group: Uuid) -> Option<String> {
        let of_caller = {
            let tokens = self.tokens.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
            tokens.iter().find(|(run, _)| run.0 == group).map(|(_, token)| token.clone())
        };
        let now = self.clock.now().as_second();
        let counts = of_caller.filter(|token| expires(token).is_none_or(|at| at > now));
        counts.or_else(|| match self.token.load().as_deref()? {
            Token::Fixed(token) => Some(token.clone()),
            Token::Signed { secret } => signed(secret, now),
        })
    }
}

/// When a token ceases to count, seconds since 1970, if it says so. Whether it is signed is the backend's business.
fn expires(token: &str) -> Option<i64> {
    use base64::Engine;
    let claims = token.split('.').nth(1)?;
    let claims = base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(claims).ok()?;
    serde_json::from_slice::<serde_json::Value>(&claims).ok()?.get("exp")?.as_i64()
}

/// A token as STATUS makes them, good for an hour.
fn signed(secret: &str, now: i64) -> Option<String> {
    let claims = json!({"user_id": 0, "username": "probity", "authority": "ADMIN", "iat": now, "exp": now + 3600});
    let key = jsonwebtoken::EncodingKey::from_secret(secret.as_bytes());
    jsonwebtoken::encode(&jsonwebtoken::Header::new(jsonwebtoken::Algorithm::HS256), &claims, &key).ok()
}

/// The connection was never made.
fn never_left(error: &NetError) -> bool {
    matches!(error.code, "ECONNREFUSED" | "ENOTFOUND" | "EACCES" | "EHOSTUNREACH" | "ENETUNREACH")
}

/// As much of an answer as a log line takes.
fn start(body: &[u8]) -> String {
    String::from_utf8_lossy(body).chars().take(200).collect()
}
