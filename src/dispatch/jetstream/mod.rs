//! Dispatch by NATS JetStream, for more runs than one database likes to be asked for: pointers to runs that Postgres has.
//!
//! A pointer is a run's id and the epoch it stands at, so it says "lease this run for the so-manieth time". Its
//! `Nats-Msg-Id` is the same pair: who tells of a run twice tells once. A worker leases by pointer, which the store refuses
//! unless the epoch is still that one, and acknowledges after the lease is committed; a pointer that came twice, late or
//! after a crash names an epoch that is past, and is acknowledged away. The stream is a work queue, one subject and one
//! pull consumer for each priority, so that what somebody waits for passes what nobody does.
//!
//! NATS may lose everything: [`sweep`] finds in the store what is ready and was not leased, and tells of it anew; and while
//! NATS is away ([`link`]), or names nothing though there is something, workers ask the database, as without NATS.

mod feed;
mod link;
mod sweep;
#[cfg(test)]
mod tests;

use std::collections::{HashMap, VecDeque};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use async_nats::jetstream::{self, AckKind};
use async_trait::async_trait;
use futures_util::future::BoxFuture;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use smallvec::SmallVec;
use tokio::sync::{Notify, mpsc, watch};

use self::link::Link;
use super::dispatcher::{Dispatcher, Found, Next, Polling, Standing, Tallies};
use crate::clock::Clock;
use crate::model::RunId;
use crate::store::Store;
use crate::store::queue::{Held, Priority, Ready};

pub use self::link::{Checked, check};

/// Pointers that wait to be published; what comes beyond is found by the sweep.
const WAITING_MAX: usize = 20_000;
/// As long may a group of acknowledgements take.
const ANSWER_MAX: Duration = Duration::from_secs(1);
/// A pointer that could not be leased now is named again after this.
const LATER: Duration = Duration::from_millis(250);

/// Where NATS is and how it is used; defaults are those of `config.default.toml`.
#[derive(Clone)]
pub struct JetStreamOptions {
    /// `nats://host:4222` or `tls://…`, several with commas between them.
    pub url: String,
    pub user: String,
    pub password: String,
    /// A file of credentials (`.creds`) instead of user and password.
    pub credentials: Option<PathBuf>,
    /// Certificates of the authority that the server's is checked against; none: the system's.
    pub authority: Option<PathBuf>,
    /// The stream's name and the first part of its subjects. Installations that share a NATS have one each.
    pub stream: String,
    /// On how many servers of a cluster the stream lies, 1 to 5.
    pub replicas: usize,
    /// A pointer that nobody acknowledges for so long is given to somebody else, milliseconds.
    pub ack_ms: u64,
    /// How often the store is looked through for runs that nobody tells of, milliseconds.
    pub sweep_ms: u64,
}

impl std::fmt::Debug for JetStreamOptions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("JetStreamOptions").field("stream", &self.stream).finish_non_exhaustive()
    }
}

/// A run, as a message names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Pointer {
    run: RunId,
    /// How often the run has been leased; the lease that this asks for is the next one.
    attempt: i64,
}

/// Pointers at hand, each with when it came.
type Buffer = VecDeque<(Held, Timestamp)>;

/// What the tasks share.
struct Shared {
    options: JetStreamOptions,
    clock: Clock,
    link: Link,
    /// How many a worker waits for.
    wanted: watch::Sender<usize>,
    /// By class, the highest priority first.
    buffers: Mutex<[Buffer; Priority::ALL.len()]>,
    /// Messages to be acknowledged, by what they name; a repeated one stands beside the first.
    open: Mutex<HashMap<Held, SmallVec<[jetstream::Message; 1]>>>,
    arrived: Notify,
    drained: Notify,
    /// There are runs that NATS does not name.
    stalled: AtomicBool,
    counts: Counts,
}

#[derive(Debug, Default)]
struct Counts {
    published: AtomicU64,
    /// Not published, because NATS was away, slow, or too many waited.
    unpublished: AtomicU64,
    /// Told of by the sweep.
    swept: AtomicU64,
    delivered: AtomicU64,
    /// Delivered pointers to runs that somebody else had leased, or that had ended.
    stale: AtomicU64,
    /// Given back to be named again.
    later: AtomicU64,
    /// Looks into the database although NATS was there.
    stalls: AtomicU64,
    /// Times that NATS went away.
    fallbacks: AtomicU64,
}

fn add(count: &AtomicU64, n: usize) {
    count.fetch_add(n as u64, Ordering::Relaxed);
}

/// A class' place among all: the highest priority is the first.
fn class(priority: Priority) -> usize {
    Priority::ALL.len() - 1 - priority as usize
}

/// The word for it in subjects and names of consumers.
fn word(priority: Priority) -> &'static str {
    match priority {
        Priority::Interactive => "interactive",
        Priority::Normal => "normal",
        Priority::Bulk => "bulk",
    }
}

impl Shared {
    fn buffers(&self) -> MutexGuard<'_, [Buffer; Priority::ALL.len()]> {
        self.buffers.lock().unwrap_or_else(|p| p.into_inner())
    }

    fn open(&self) -> MutexGuard<'_, HashMap<Held, SmallVec<[jetstream::Message; 1]>>> {
        self.open.lock().unwrap_or_else(|p| p.into_inner())
    }

    /// Takes at most this many, of the highest priority first.
    fn take(&self, max: usize) -> Vec<Held> {
        let mut taken = Vec::new();
        for buffer in self.buffers().iter_mut() {
            let n = buffer.len().min(max - taken.len());
            taken.extend(buffer.drain(..n).map(|(held, _)| held));
        }
        taken
    }

    /// Acknowledges what is settled, asks for the rest again.
    async fn answer(&self, named: &[Held], kind: AckKind) {
        let messages: Vec<jetstream::Message> = {
            let mut open = self.open();
            named.iter().filter_map(|held| open.remove(held)).flatten().collect()
        };
        if !self.link.is_up() {
            // They come again, and are out of date by then; a client that is not connected may make us wait.
            return;
        }
        let answer = async {
            for message in messages {
                if let Err(error) = message.ack_with(kind).await {
                    tracing::debug!(%error, "a pointer was not acknowledged");
                }
            }
        };
        tokio::select! {
            () = answer => {}
            () = self.clock.sleep(ANSWER_MAX) => self.link.fail("it does not take acknowledgements"),
        }
    }
}

/// Dispatch by NATS JetStream.
pub struct JetStream {
    shared: Arc<Shared>,
    store: Arc<dyn Store>,
    /// While NATS is away.
    polling: Polling,
    telling: mpsc::Sender<Ready>,
    told: Mutex<Option<mpsc::Receiver<Ready>>>,
}

/// Says that nobody waits any more.
struct Wanting<'a>(&'a watch::Sender<usize>);

impl Drop for Wanting<'_> {
    fn drop(&mut self) {
        self.0.send_replace(0);
    }
}

impl JetStream {
    /// Does nothing until it is [run](Dispatcher::run).
    pub fn new(options: JetStreamOptions, store: Arc<dyn Store>, clock: Clock, durable: &super::Options) -> JetStream {
        let polling = Polling::new(&*store, clock.clone(), durable);
        let (telling, told) = mpsc::channel(WAITING_MAX);
        let shared = Arc::new(Shared {
            options,
            clock,
            link: Link::default(),
            wanted: watch::Sender::new(0),
            buffers: Mutex::default(),
            open: Mutex::default(),
            arrived: Notify::new(),
            drained: Notify::new(),
            stalled: AtomicBool::new(false),
            counts: Counts::default(),
        });
        JetStream { shared, store, polling, telling, told: Mutex::new(Some(told)) }
    }
}

#[async_trait]
impl Dispatcher for JetStream {
    fn tell(&self, ready: &[Ready]) {
        let untold = ready.iter().filter(|one| self.telling.try_send(**one).is_err()).count();
        add(&self.shared.counts.unpublished, untold);
    }

    async fn next(&self, max: usize) -> Next {
        let shared = &*self.shared;
        shared.wanted.send_replace(max);
        let _wanting = Wanting(&shared.wanted);
        let mut link = shared.link.follow();
        loop {
            if !shared.link.is_up() {
                return self.polling.next(max).await;
            }
            let arrived = shared.arrived.notified();
            tokio::pin!(arrived);
            // Before the look, so that what comes in between counts.
            arrived.as_mut().enable();
            let named = shared.take(max);
            if !named.is_empty() {
                shared.drained.notify_waiters();
                return Next::Named(named);
            }
            if shared.stalled.swap(false, Ordering::AcqRel) {
                add(&shared.counts.stalls, 1);
                return Next::Any;
            }
            tokio::select! {
                () = &mut arrived => {}
                // The sender lives as long as this does.
                _ = link.changed() => {}
            }
        }
    }

    fn found(&self, found: Found) {
        self.polling.found(found);
        if found == Found::All && self.shared.link.is_up() {
            // More of what NATS does not name.
            self.shared.stalled.store(true, Ordering::Release);
        }
    }

    async fn done(&self, settled: &[Held], later: &[Held]) {
        self.shared.answer(settled, AckKind::Ack).await;
        add(&self.shared.counts.later, later.len());
        self.shared.answer(later, AckKind::Nak(Some(LATER))).await;
    }

    fn stale(&self, count: usize) {
        add(&self.shared.counts.stale, count);
    }

    fn standing(&self) -> Standing {
        Standing { by: "NATS", fallback: self.shared.link.why() }
    }

    fn tallies(&self) -> Tallies {
        let c = &self.shared.counts;
        [
            ("published", &c.published),
            ("unpublished", &c.unpublished),
            ("swept", &c.swept),
            ("delivered", &c.delivered),
            ("stale", &c.stale),
            ("later", &c.later),
            ("stalls", &c.stalls),
            ("fallbacks", &c.fallbacks),
        ]
        .map(|(name, count)| (name, count.load(Ordering::Relaxed)))
        .to_vec()
    }

    async fn run(self: Arc<Self>, works: bool, stop: BoxFuture<'static, ()>) {
        let told = self.told.lock().unwrap_or_else(|p| p.into_inner()).take();
        let Some(told) = told else {
            tracing::error!("a dispatcher was started twice; the first goes on");
            return stop.await;
        };
        let shared = &self.shared;
        let feeding = async {
            match works {
                true => {
                    let classes = Priority::ALL.into_iter().map(|priority| feed::feed(shared, priority));
                    tokio::join!(
                        futures_util::future::join_all(classes),
                        sweep::sweep(shared, &*self.store, &self.telling)
                    );
                }
                false => std::future::pending().await,
            }
        };
        tokio::select! {
            () = stop => {}
            () = link::keep(shared) => {}
            () = link::publish(shared, told) => {}
            () = feeding => {}
        }
        // What is at hand goes to others now, not when its time is over.
        let at_hand: Vec<Held> = shared.open().keys().copied().collect();
        let leave = async {
            shared.answer(&at_hand, AckKind::Nak(None)).await;
            shared.link.flush().await;
        };
        tokio::select! {
            () = leave => {}
            () = shared.clock.sleep(Duration::from_secs(1)) => {}
        }
    }
}
