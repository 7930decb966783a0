//! The connection to NATS: made, watched and made again; the stream and its consumers; publishing.

use std::sync::Mutex;
use std::time::Duration;

use async_nats::connection::State;
use async_nats::jetstream::consumer::{AckPolicy, PullConsumer, pull};
use async_nats::jetstream::context::{PublishError, PublishErrorKind};
use async_nats::jetstream::message::PublishMessage;
use async_nats::jetstream::stream::{DiscardPolicy, RetentionPolicy, StorageType, Stream};
use async_nats::jetstream::{self, Context, stream};
use async_nats::{Client, ConnectOptions};
use futures_util::future::join_all;
use tokio::sync::{mpsc, watch};

use super::{JetStreamOptions, Pointer, Shared, add, class, word};
use crate::store::queue::{Priority, Ready};

/// An answer of NATS that is not there by then does not come.
const ANSWER_MAX: Duration = Duration::from_secs(3);
/// Between attempts, and between looks at the connection.
const AGAIN: Duration = Duration::from_millis(250);
/// A pointer told of twice within this is one.
const DUPLICATES: Duration = Duration::from_secs(120);
/// Pointers delivered and not acknowledged, of each class, on all workers together.
const OPEN_MAX: i64 = 50_000;
/// Pointers the stream holds at most: the rest waits in the store, where it is safe.
const STREAM_MAX: i64 = 2_000_000;
/// Published in one go.
const BATCH: usize = 500;

/// What is there when NATS is.
#[derive(Clone)]
pub(super) struct Line {
    pub context: Context,
    pub stream: Stream,
    /// By class.
    pub consumers: Vec<PullConsumer>,
}

/// Whether NATS is there.
pub(super) struct Link {
    state: watch::Sender<Result<(), String>>,
    line: Mutex<Option<Line>>,
}

impl Default for Link {
    fn default() -> Self {
        Link { state: watch::Sender::new(Err("not connected yet".into())), line: Mutex::default() }
    }
}

impl Link {
    pub(super) fn is_up(&self) -> bool {
        self.state.borrow().is_ok()
    }

    /// Why it is not up.
    pub(super) fn why(&self) -> Option<String> {
        self.state.borrow().as_ref().err().cloned()
    }

    pub(super) fn follow(&self) -> watch::Receiver<Result<(), String>> {
        self.state.subscribe()
    }

    /// What is there, when it is.
    pub(super) fn line(&self) -> Option<Line> {
        let line = self.line.lock().unwrap_or_else(|p| p.into_inner()).clone();
        line.filter(|_| self.is_up())
    }

    /// Waits until it is up.
    pub(super) async fn up(&self) -> Line {
        let mut state = self.follow();
        loop {
            if let Some(line) = self.line() {
                return line;
            }
            if state.wait_for(Result::is_ok).await.is_err() {
                // The sender lives as long as this does.
                std::future::pending::<()>().await;
            }
        }
    }

    /// Somebody found that NATS does not answer as it should.
    pub(super) fn fail(&self, why: impl Into<String>) {
        let why = why.into();
        self.state.send_if_modified(|state| {
            let was_up = state.is_ok();
            if was_up {
                *state = Err(why);
            }
            was_up
        });
    }

    pub(super) async fn flush(&self) {
        let line = self.line.lock().unwrap_or_else(|p| p.into_inner()).clone();
        if let Some(line) = line.filter(|_| self.is_up())
            && let Err(error) = line.context.client().flush().await
        {
            tracing::debug!(%error, "what was last said to NATS may not have arrived");
        }
    }
}

/// A client that connects when it can, and again.
async fn client(options: &JetStreamOptions) -> Result<Client, String> {
    let mut connect = ConnectOptions::new()
        .name("probity")
        .retry_on_initial_connect()
        .connection_timeout(ANSWER_MAX)
        .ping_interval(Duration::from_secs(2))
        .max_reconnects(None)
        .reconnect_delay_callback(|attempt| Duration::from_millis((50 << attempt.min(5)) as u64))
        // Servers that a cluster tells of may have addresses that only it can reach.
        .ignore_discovered_servers()
        .event_callback(|event| async move { tracing::debug!(%event, "NATS") });
    if let Some(file) = &options.credentials {
        let named = |error: std::io::Error| format!("dispatch.nats_credentials ({}): {error}", file.display());
        let text = tokio::fs::read_to_string(file).await.map_err(named)?;
        connect = connect.credentials(&text).map_err(named)?;
    } else if !options.user.is_empty() {
        connect = connect.user_and_password(options.user.clone(), options.password.clone());
    }
    if let Some(authority) = &options.authority {
        connect = connect.add_root_certificates(authority.clone());
    }
    let servers: Vec<&str> = options.url.split(',').map(str::trim).filter(|one| !one.is_empty()).collect();
    // The error of the reader may quote the address.
    let servers: Vec<async_nats::ServerAddr> = servers
        .into_iter()
        .map(str::parse)
        .collect::<Result<_, _>>()
        .map_err(|_| "dispatch.nats_url cannot be read")?;
    connect.connect(servers).await.map_err(|error| error.to_string())
}

fn context(client: Client) -> Context {
    jetstream::ContextBuilder::new().timeout(ANSWER_MAX).ack_timeout(ANSWER_MAX).build(client)
}

fn stream_config(options: &JetStreamOptions) -> stream::Config {
    stream::Config {
        name: options.stream.clone(),
        subjects: vec![format!("{}.>", options.stream)],
        description: Some("Pointers to durable runs of Probity that are ready; the runs lie in its database".into()),
        retention: RetentionPolicy::WorkQueue,
        storage: StorageType::File,
        discard: DiscardPolicy::New,
        max_messages: STREAM_MAX,
        num_replicas: options.replicas,
        duplicate_window: DUPLICATES,
        ..Default::default()
    }
}

fn consumer_config(options: &JetStreamOptions, priority: Priority) -> pull::Config {
    pull::Config {
        durable_name: Some(word(priority).into()),
        filter_subject: subject(options, priority),
        ack_policy: AckPolicy::Explicit,
        ack_wait: Duration::from_millis(options.ack_ms),
        max_ack_pending: OPEN_MAX,
        ..Default::default()
    }
}

fn subject(options: &JetStreamOptions, priority: Priority) -> String {
    format!("{}.{}", options.stream, word(priority))
}

/// The stream and its consumers, made where they are missing.
async fn line(options: &JetStreamOptions, client: Client) -> Result<Line, String> {
    let context = context(client);
    let config = stream_config(options);
    let stream = context.get_or_create_stream(config.clone()).await.map_err(|error| format!("stream: {error}"))?;
    let known = &stream.cached_info().config;
    if known.retention != RetentionPolicy::WorkQueue {
        return Err(format!(
            "the stream \"{}\" is no work queue; name another in dispatch.nats_stream",
            options.stream
        ));
    }
    if known.num_replicas != config.num_replicas {
        let changed = stream::Config { num_replicas: config.num_replicas, ..known.clone() };
        if let Err(error) = context.update_stream(changed).await {
            let (is, wanted) = (known.num_replicas, config.num_replicas);
            tracing::warn!(%error, "the stream has {is} replicas, not {wanted}, and could not be changed");
        }
    }
    let mut consumers = Vec::new();
    for priority in Priority::ALL.into_iter().rev() {
        let made = context.create_consumer_on_stream(consumer_config(options, priority), &options.stream).await;
        consumers.push(made.map_err(|error| format!("consumer {}: {error}", word(priority)))?);
    }
    let stream = context.get_stream(&options.stream).await.map_err(|error| format!("stream: {error}"))?;
    Ok(Line { context, stream, consumers })
}

/// Keeps the connection for ever: makes what is missing, and says when it is up and when it is not.
pub(super) async fn keep(shared: &Shared) {
    let (link, clock) = (&shared.link, &shared.clock);
    let client = loop {
        match client(&shared.options).await {
            Ok(client) => break client,
            Err(why) => {
                tracing::error!("NATS: {why}; workers ask the database");
                drop(link.state.send_replace(Err(why)));
                clock.sleep(Duration::from_secs(5)).await;
            }
        }
    };
    // The first connection may take a moment that is no news.
    for _ in 0..12 {
        if client.connection_state() != State::Connected {
            clock.sleep(AGAIN).await;
        }
    }
    let mut away_told = false;
    loop {
        let why = match client.connection_state() {
            State::Connected => match line(&shared.options, client.clone()).await {
                Ok(line) => {
                    *link.line.lock().unwrap_or_else(|p| p.into_inner()) = Some(line);
                    drop(link.state.send_replace(Ok(())));
                    tracing::info!(stream = shared.options.stream, "runs are dispatched by NATS");
                    away_told = false;
                    watch(shared, &client).await
                }
                Err(why) => why,
            },
            _ => "no connection".into(),
        };
        drop(link.state.send_replace(Err(why.clone())));
        if !away_told {
            add(&shared.counts.fallbacks, 1);
            tracing::warn!("NATS is away ({why}); workers ask the database until it is back");
        }
        away_told = true;
        clock.sleep(AGAIN).await;
    }
}

/// Until it is not up any more; why.
async fn watch(shared: &Shared, client: &Client) -> String {
    let mut state = shared.link.follow();
    loop {
        tokio::select! {
            failed = state.wait_for(Result::is_err) => {
                return failed.map_or_else(|_| String::new(), |why| why.clone().err().unwrap_or_default());
            }
            () = shared.clock.sleep(AGAIN) => {}
        }
        if client.connection_state() != State::Connected {
            return "no connection".into();
        }
    }
}

/// Publishes what is told, as long as somebody can tell.
pub(super) async fn publish(shared: &Shared, mut told: mpsc::Receiver<Ready>) {
    let mut batch = Vec::new();
    while told.recv_many(&mut batch, BATCH).await > 0 {
        let Some(line) = shared.link.line() else {
            add(&shared.counts.unpublished, batch.len());
            batch.clear();
            continue;
        };
        let n = batch.len();
        let sent = join_all(batch.drain(..).map(|ready| publish_one(shared, &line, ready))).await;
        let failed: Vec<Untaken> = sent.into_iter().filter_map(Result::err).collect();
        add(&shared.counts.published, n - failed.len());
        add(&shared.counts.unpublished, failed.len());
        for untaken in failed {
            match untaken {
                Untaken::Refused(why) => tracing::debug!("NATS did not take a pointer: {why}"),
                Untaken::Away(why) => shared.link.fail(format!("a pointer was not taken: {why}")),
            }
        }
    }
}

/// Why a pointer was not published.
enum Untaken {
    /// NATS answers, and does not want it: its stream is full.
    Refused(String),
    Away(String),
}

impl Untaken {
    fn of(error: &PublishError) -> Untaken {
        match error.kind() {
            PublishErrorKind::Other => Untaken::Refused(error.to_string()),
            _ => Untaken::Away(error.to_string()),
        }
    }
}

async fn publish_one(shared: &Shared, line: &Line, ready: Ready) -> Result<(), Untaken> {
    let pointer = Pointer { run: ready.id, attempt: ready.epoch };
    let payload = serde_json::to_vec(&pointer).map_err(|error| Untaken::Refused(error.to_string()))?;
    let message = PublishMessage::build().message_id(format!("{}/{}", ready.id, ready.epoch)).payload(payload.into());
    let subject = subject(&shared.options, ready.priority);
    let sent = async {
        let acknowledged = line.context.send_publish(subject, message).await.map_err(|error| Untaken::of(&error))?;
        acknowledged.await.map(drop).map_err(|error| Untaken::of(&error))
    };
    tokio::select! {
        sent = sent => sent,
        () = shared.clock.sleep(ANSWER_MAX) => Err(Untaken::Away("no answer".into())),
    }
}

impl Line {
    pub(super) fn consumer(&self, priority: Priority) -> &PullConsumer {
        &self.consumers[class(priority)]
    }
}

/// What `probity doctor` says of NATS.
pub struct Checked {
    /// `2.14.4`.
    pub version: String,
    pub replicas: usize,
    /// Pointers that wait; none when there is no stream yet.
    pub waiting: Option<u64>,
}

/// Connects once, changes nothing.
///
/// # Errors
/// Why it cannot be used.
pub async fn check(options: &JetStreamOptions) -> Result<Checked, String> {
    let client = client(options).await?;
    let context = context(client.clone());
    let asked = async {
        context.query_account().await.map_err(|error| format!("JetStream: {error}"))?;
        let stream = context.get_stream(&options.stream).await.ok();
        let (replicas, waiting) = match &stream {
            Some(stream) => {
                let info = stream.cached_info();
                (info.config.num_replicas, Some(info.state.messages))
            }
            None => (options.replicas, None),
        };
        Ok(Checked { version: client.server_info().version, replicas, waiting })
    };
    tokio::time::timeout(ANSWER_MAX, asked).await.unwrap_or_else(|_| Err("it does not answer".into()))
}
