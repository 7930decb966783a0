//! What `/metrics` says of durable runs and of what slows them down.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

use crate::dispatch::Acceptor;
use crate::store::Store;
use crate::store::queue::{Horizon, QueueDepth};

/// How long the store may take; without it the other numbers must still be there.
const ASKED_MAX: Duration = Duration::from_secs(1);

/// Adds what the store says soon.
pub(super) async fn add(registry: &mut Registry, store: &dyn Store) {
    let (depth, horizon) = tokio::join!(
        tokio::time::timeout(ASKED_MAX, store.queue_depth(None)),
        tokio::time::timeout(ASKED_MAX, store.horizon()),
    );
    if let Ok(Ok(depth)) = depth {
        add_depth(registry, &depth);
    }
    if let Ok(Ok(Some(horizon))) = horizon {
        add_horizon(registry, horizon);
    }
}

/// What this process accepted, ran and was told of.
pub(super) fn add_dispatch(registry: &mut Registry, acceptor: &Acceptor) {
    let c = &acceptor.counts;
    let labelled =
        |registry: &mut Registry, name: &str, help: &str, label: &'static str, counts: &[(&'static str, u64)]| {
            let family = Family::<Vec<(&'static str, &'static str)>, Counter>::default();
            for (word, count) in counts {
                family.get_or_create(&vec![(label, *word)]).inner().store(*count, Ordering::Relaxed);
            }
            registry.register(name, help, family);
        };
    let now = |count: &AtomicU64| count.load(Ordering::Relaxed);
    let accepted = [("accepted", now(&c.accepted)), ("refused", now(&c.refused)), ("queue-full", now(&c.full))];
    labelled(
        registry,
        "probity_durable_calls",
        "Durable runs asked for here, by what became of that",
        "result",
        &accepted,
    );
    let runs = [
        ("leased", now(&c.leased)),
        ("ended", now(&c.ended)),
        ("retried", now(&c.retried)),
        ("dead", now(&c.dead)),
        ("in-doubt", now(&c.in_doubt)),
        ("released", now(&c.released)),
        ("lost", now(&c.lost)),
        ("points", now(&c.points)),
    ];
    labelled(registry, "probity_durable_runs", "What this process did with durable runs", "what", &runs);
    let standing = acceptor.dispatcher().standing();
    let tallies = acceptor.dispatcher().tallies();
    if tallies.is_empty() {
        return;
    }
    let up = Gauge::<i64>::default();
    up.set(i64::from(standing.fallback.is_none()));
    registry.register("probity_dispatch_up", "1 while NATS dispatches, 0 while workers ask the database instead", up);
    labelled(registry, "probity_dispatch", "Names of runs, by what became of them at NATS", "what", &tallies);
}

fn add_depth(registry: &mut Registry, depth: &QueueDepth) {
    let runs = Family::<Vec<(&'static str, &'static str)>, Gauge<i64>>::default();
    for (state, count) in [
        ("ready", depth.ready),
        ("delayed", depth.delayed),
        ("leased", depth.leased.saturating_sub(depth.overdue)),
        ("overdue", depth.overdue),
        ("in-doubt", depth.in_doubt),
        ("dead", depth.dead),
    ] {
        runs.get_or_create(&vec![("state", state)]).set(i64::try_from(count).unwrap_or(i64::MAX));
    }
    registry.register("probity_queue_runs", "Durable runs that have not ended", runs);
    seconds(
        registry,
        "probity_queue_oldest_seconds",
        "Age of the oldest ready run",
        depth.oldest_ms.unwrap_or_default(),
    );
}

fn add_horizon(registry: &mut Registry, horizon: Horizon) {
    let help = "Age of the oldest snapshot held in the database; an old one makes the queue slow";
    seconds(registry, "probity_store_snapshot_age_seconds", help, horizon.held_ms);
    let transactions = Gauge::<i64>::default();
    transactions.set(i64::try_from(horizon.transactions).unwrap_or(i64::MAX));
    let help = "Transactions since the oldest that is still open";
    registry.register("probity_store_open_transactions", help, transactions);
}

fn seconds(registry: &mut Registry, name: &str, help: &str, ms: u64) {
    let gauge = Gauge::<f64, AtomicU64>::default();
    gauge.set(ms as f64 / 1000.0);
    registry.register(name, help, gauge);
}
