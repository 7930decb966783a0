//! Who tells workers which committed runs are ready: the seam between the queue, which alone is the truth, and what makes
//! it quicker to look into.
//!
//! A dispatcher may forget, repeat and reorder whatever it likes. It names runs; whose a run is, the store decides when it
//! is leased, by its epoch. What a dispatcher forgets must come to light by itself, so each has a way to find it.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use futures_util::future::BoxFuture;
use tokio::sync::watch;

use super::Options;
use crate::clock::Clock;
use crate::store::Store;
use crate::store::queue::{Held, Ready};

/// What a worker that has room should do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Next {
    /// Lease whatever the store says is ready.
    Any,
    /// Lease these, by name. Each is to be given back by [`Dispatcher::done`].
    Named(Vec<Held>),
}

/// What came of a look into the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Found {
    /// As many as were asked for: there may be more.
    All,
    Some,
    None,
    /// Some may not begin while others of their flow or tenant run, which can end at any moment.
    HeldBack,
    /// The store did not answer.
    Failed,
}

/// How it stands with a dispatcher, for people and their alarms.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Standing {
    /// What dispatches when all is well: `the database` or `NATS`.
    pub by: &'static str,
    /// Why the database is polled instead; none: all is well.
    pub fallback: Option<String>,
}

/// Numbers for `/metrics`, by name; all of them only grow.
pub type Tallies = Vec<(&'static str, u64)>;

/// Tells workers of runs that are ready.
#[async_trait]
pub trait Dispatcher: Send + Sync {
    /// These have been committed and may be leased. Does not wait and cannot fail: what is not passed on is found later.
    fn tell(&self, ready: &[Ready]);

    /// Waits until it is worth leasing, at most this many. May be dropped at any moment; nothing is lost with it.
    async fn next(&self, max: usize) -> Next;

    /// What came of [`Next::Any`].
    fn found(&self, found: Found);

    /// What came of [`Next::Named`]: `settled` were leased, by whomever, or have ended; `later` should be named again.
    async fn done(&self, settled: &[Held], later: &[Held]);

    /// So many of those named were out of date.
    fn stale(&self, _count: usize) {}

    fn standing(&self) -> Standing;

    fn tallies(&self) -> Tallies {
        Vec::new()
    }

    /// Does what goes on beside all calls until `stop` resolves; `works`: a worker of this process asks for runs.
    async fn run(self: Arc<Self>, works: bool, stop: BoxFuture<'static, ()>);
}

/// The database tells: by its messages, and by looking, more seldom the longer there is nothing.
pub struct Polling {
    clock: Clock,
    min: Duration,
    max: Duration,
    wakes: Mutex<watch::Receiver<u64>>,
    /// Before the next look, and before the one after an empty one.
    pause: Mutex<(Duration, Duration)>,
}

impl Polling {
    pub fn new(store: &dyn Store, clock: Clock, options: &Options) -> Polling {
        let (min, max) = (Duration::from_millis(options.poll_ms_min), Duration::from_millis(options.poll_ms_max));
        let wakes = Mutex::new(store.wakes());
        Polling { clock, min, max, wakes, pause: Mutex::new((Duration::ZERO, min)) }
    }
}

#[async_trait]
impl Dispatcher for Polling {
    fn tell(&self, _: &[Ready]) {
        // The store does, with the commit.
    }

    async fn next(&self, _: usize) -> Next {
        let pause = self.pause.lock().unwrap_or_else(|p| p.into_inner()).0;
        let mut wakes = self.wakes.lock().unwrap_or_else(|p| p.into_inner()).clone();
        if !pause.is_zero() {
            tokio::select! {
                // An error means that the store is gone, which the next lease says.
                _ = wakes.changed() => {}
                () = self.clock.sleep(pause) => {}
            }
        }
        // Seen before the look, so that what comes meanwhile is another wake.
        self.wakes.lock().unwrap_or_else(|p| p.into_inner()).mark_unchanged();
        Next::Any
    }

    fn found(&self, found: Found) {
        let mut pause = self.pause.lock().unwrap_or_else(|p| p.into_inner());
        *pause = match found {
            Found::All => (Duration::ZERO, self.min),
            Found::Some | Found::HeldBack => (self.min, self.min),
            Found::None => {
                let longer = (pause.1 * 2).min(self.max);
                (longer, longer)
            }
            Found::Failed => (self.max, self.max),
        };
    }

    async fn done(&self, _: &[Held], _: &[Held]) {}

    fn standing(&self) -> Standing {
        Standing { by: "the database", fallback: None }
    }

    async fn run(self: Arc<Self>, _: bool, stop: BoxFuture<'static, ()>) {
        stop.await;
    }
}
