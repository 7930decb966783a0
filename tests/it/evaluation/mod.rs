//! Evaluation and schedule, through a real engine and store, on a clock moved by hand.

mod collectors;
mod crash;
mod instances;
mod kept;
mod killed;
mod members;
mod recompute;
pub mod schedule;
mod ticks;
mod waivers;

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use futures_util::FutureExt;
use jiff::Timestamp;
use probity::app::{self, Surroundings};
use probity::clock::Clock;
use probity::config::Config;
use probity::evaluate::{Evaluator, InProcess, Request, Service, Windows};
use probity::model::agreement::Agreement;
use probity::model::run::Trigger;
use probity::model::state::{StateKind, StoredState};
use probity::model::waiver::{Origin, Waiver};
use probity::registry::Agreements;
use probity::store::{PageRequest, StateQuery, Store};
use serde_json::{Value, json};

pub fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

/// One metric, one guarantee `RATE >= 90` over two teams, hourly windows, answered in this process.
pub fn agreement(id: &str, collector: Value, extra: Value) -> Arc<Agreement> {
    let mut document = json!({
        "id": id, "version": "1.0.0", "type": "agreement",
        "context": {"validity": {"initial": "2026-01-01T00:00:00Z", "timeZone": "UTC"}},
        "terms": {
            "metrics": {"RATE": {"collector": collector, "measure": {"what": "rate"}}},
            "guarantees": [{
                "id": "ENOUGH", "scope": {"team": {"name": "Team", "type": "string", "default": "*"}},
                "of": [{"scope": {"team": "*"}, "objective": "RATE >= 90", "with": {"RATE": {}},
                        "window": {"type": "static", "period": "hourly", "initial": "2026-01-01T00:00:00Z"}}],
            }],
        },
    });
    merge(&mut document, extra);
    let (agreement, diagnostics) = probity::agreement::load(&document.to_string(), "test");
    Arc::new(agreement.unwrap_or_else(|| panic!("{diagnostics:?}")))
}

fn merge(into: &mut Value, from: Value) {
    match (into, from) {
        (Value::Object(into), Value::Object(from)) => {
            for (key, value) in from {
                merge(into.entry(key).or_insert(Value::Null), value);
            }
        }
        (into, Value::Null) if into.is_object() => {}
        (into, from) => *into = from,
    }
}

pub fn in_process() -> Value {
    json!({"infrastructurePath": "test", "endpoint": "/computations", "type": "POST-GET-V1", "config": {}})
}

/// Answers for teams a (95) and b (80), and counts how often it was asked.
pub fn two_teams(asked: Arc<AtomicU64>) -> InProcess {
    Arc::new(move |query, _body| {
        asked.fetch_add(1, Ordering::SeqCst);
        let period = json!({"from": query.window.from.to_string(), "to": query.window.to.to_string()});
        let answer = json!({"computations": [
            {"scope": {"team": "a"}, "period": period, "value": 95, "evidences": [{"id": 1}]},
            {"scope": {"team": "b"}, "period": period, "value": 80, "evidences": []},
        ]});
        async move { Ok(answer) }.boxed()
    })
}

pub fn evaluator(
    clock: &Clock,
    store: &Arc<dyn Store>,
    agreements: Vec<Arc<Agreement>>,
    collector: InProcess,
    flows: &str,
) -> Arc<Evaluator> {
    evaluator_of(clock, store, agreements, collector, flows, Config::defaults().schedule.windows_max)
}

/// One that judges at most `windows_max` windows at once.
pub fn evaluator_of(
    clock: &Clock,
    store: &Arc<dyn Store>,
    agreements: Vec<Arc<Agreement>>,
    collector: InProcess,
    flows: &str,
    windows_max: usize,
) -> Arc<Evaluator> {
    let mut config = Config::defaults();
    config.schedule.windows_max = windows_max;
    let surroundings =
        Surroundings { clock: clock.clone(), net: app::net(&config).unwrap(), store: store.clone(), observer: None };
    let plugins = app::plugins::none(&config, &surroundings.net, &surroundings.clock);
    let engine = app::engine(&config, surroundings, &plugins);
    let (flows, _) = probity::flow::load(flows, "test");
    engine.deploy(app::plan(&engine, &flows));
    let agreements = Agreements::fixed(agreements);
    app::evaluator(&config, &engine, store, agreements, HashMap::from([("test".into(), Service::InProcess(collector))]))
}

/// A stored waiver of everything in agreement `sla` that ana answers for in March 2026.
pub fn waiver(id: &str, reason: &str) -> Waiver {
    Waiver {
        id: id.into(),
        agreement: "sla".into(),
        guarantee: None,
        scope: Default::default(),
        reason: reason.into(),
        owner: "ana".into(),
        from: at("2026-03-01T00:00:00Z"),
        to: None,
        expires: at("2026-04-01T00:00:00Z"),
        ended_at: None,
        origin: Origin::Stored,
        created_by: "ana".into(),
        created_at: None,
    }
}

/// A request of a test for all guarantees, to be stored.
pub fn request(agreement: Arc<Agreement>, windows: Windows) -> Request {
    Request {
        agreement,
        windows,
        guarantee: None,
        trigger: Trigger::Manual { by: "test".into() },
        actor: "test".into(),
        store: true,
        claim: None,
    }
}

/// All verdicts stored, oldest window first.
pub async fn verdicts(store: &Arc<dyn Store>) -> Vec<StoredState> {
    let query = StateQuery { kind: Some(StateKind::Guarantee), ..Default::default() };
    let page = store.states(&query, &PageRequest { limit: 1000, after: None }).await.unwrap();
    let mut items = page.items;
    items.sort_by_key(|s| (s.state.window.from, s.state.scope.clone()));
    items
}

/// Waits until `condition` holds; panics when it does not within a minute.
pub async fn until(what: &str, mut condition: impl AsyncFnMut() -> bool) {
    let started = Instant::now();
    while !condition().await {
        assert!(started.elapsed() < Duration::from_secs(60), "never came true: {what}");
        tokio::task::yield_now().await;
    }
}
