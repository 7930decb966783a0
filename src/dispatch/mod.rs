//! Floor 9: durable runs from their acceptance to their end.
//!
//! The [`Acceptor`] commits runs in groups before anybody is told that they were accepted. The [`Worker`] leases what is
//! ready in batches, lets the engine run it, keeps the leases alive, and stores points and ends in batches. Which run is
//! whose is decided by the store alone (`store/queue.rs`); what this process knows besides is only a short cut. Who tells
//! workers that something is ready is a [`Dispatcher`]: the database itself, or NATS.

mod acceptor;
mod backoff;
mod begun;
mod commits;
mod dispatcher;
mod heartbeat;
mod jetstream;
mod plans;
mod worker;

use std::sync::atomic::AtomicU64;

pub use acceptor::{Acceptor, Asked, Local, NotAccepted};
pub use begun::Begun;
pub use dispatcher::{Dispatcher, Found, Next, Polling, Standing, Tallies};
pub use jetstream::{Checked, JetStream, JetStreamOptions, check as check_nats};
pub use plans::{PlanOf, Plans};
pub use worker::Worker;

/// How durable runs are run; defaults are those of `config.default.toml`. Times are in milliseconds.
#[derive(Clone, Debug)]
pub struct Options {
    /// Callers are told that their run was not accepted after this long.
    pub accept_ms_max: u64,
    /// Runs accepted in one commit.
    pub accept_batch_max: usize,
    /// A worker that gives no sign of life for so long loses its runs.
    pub lease_ms: u64,
    /// Runs leased, and settled, in one go.
    pub lease_batch_max: usize,
    /// Runs under way at once in this process.
    pub parallel_max: usize,
    /// How often the queue is looked at unasked: while there is work, and at most when there is none.
    pub poll_ms_min: u64,
    pub poll_ms_max: u64,
    /// How often a run is tried in all.
    pub attempts_max: u32,
    /// Pause before it is tried again: the first, and the longest.
    pub retry_ms_min: u64,
    pub retry_ms_max: u64,
}

impl Default for Options {
    fn default() -> Self {
        Options {
            accept_ms_max: 5_000,
            accept_batch_max: 500,
            lease_ms: 4_000,
            lease_batch_max: 200,
            parallel_max: 1_000,
            poll_ms_min: 20,
            poll_ms_max: 1_000,
            attempts_max: 5,
            retry_ms_min: 1_000,
            retry_ms_max: 300_000,
        }
    }
}

/// What this process did, for `/metrics`.
#[derive(Debug, Default)]
pub struct Counts {
    pub accepted: AtomicU64,
    /// Not accepted, because the store did not answer, or the process stops.
    pub refused: AtomicU64,
    /// Not accepted, because too many waited for their commit.
    pub full: AtomicU64,
    pub leased: AtomicU64,
    pub ended: AtomicU64,
    pub retried: AtomicU64,
    pub dead: AtomicU64,
    pub in_doubt: AtomicU64,
    pub released: AtomicU64,
    /// Runs that somebody else had taken over meanwhile.
    pub lost: AtomicU64,
    /// Durable points stored.
    pub points: AtomicU64,
}

#[cfg(test)]
mod tests;
