//! An agreement with verdicts of every kind, for tests that look at what is stored.

use std::sync::Arc;

use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp, ToSpan};
use probity::agreement::budgets::judge;
use probity::api::LoadedAgreements;
use probity::model::RunId;
use probity::model::run::{RunRecord, RunState, TraceStep, Trigger};
use probity::model::state::{Coverage, Evidence, Scope, State, StateKind, Verdict, Window};
use probity::registry::{SourceReport, SourceState};
use probity::store::{AuditEntry, Commit, Store};
use serde_json::json;

/// Days with verdicts; the last one is still open.
pub const DAYS: i32 = 24;

pub fn agreements() -> LoadedAgreements {
    let window = json!({ "type": "static", "period": "daily", "initial": "2026-03-01" });
    let document = json!({
        "id": "orders", "version": "1.0.0", "type": "agreement",
        "context": {
            "validity": { "initial": "2026-01-01", "timeZone": "Europe/Madrid" },
            "definitions": {
                "scopes": { "process": { "department": { "name": "Department", "type": "string" } } },
            },
            "x-probity": { "budgets": [{
                "id": "payment", "guarantee": "PAID_WITHIN_30_DAYS", "target": "90%",
                "window": { "type": "rolling", "length": "P14D", "step": "daily" },
                "alerts": [{ "id": "slow", "burnRate": 2, "long": "P7D", "short": "P1D", "severity": "ticket" }],
            }] },
        },
        "terms": {
            "pricing": { "billing": { "period": "monthly", "penalties": [{ "over": { "discount": { "unit": "%" } } }] } },
            "metrics": {
                "APPROVED": { "collector": { "type": "PROBITY-FLOW-V1", "endpoint": "/approved" } },
                "PAID_IN_TIME": { "collector": { "type": "PROBITY-FLOW-V1", "endpoint": "/paid" } },
            },
            "guarantees": [
                {
                    "id": "APPROVED_BEFORE_PAYMENT",
                    "description": "Every order is approved by two people before it is paid",
                    "scope": { "$ref": "#/context/definitions/scopes/process" },
                    "of": [{ "scope": { "department": "*" }, "objective": "APPROVED >= 95", "with": { "APPROVED": {} }, "window": window }],
                },
                {
                    "id": "PAID_WITHIN_30_DAYS",
                    "description": "Suppliers are paid within 30 days",
                    "of": [{ "objective": "PAID_IN_TIME >= 90", "with": { "PAID_IN_TIME": {} }, "window": window }],
                },
            ],
        },
    });
    let (agreement, problems) = probity::agreement::load_value(document, "agreements/orders.json");
    let agreement = agreement.unwrap_or_else(|| panic!("{problems:#?}"));
    let source = SourceReport {
        name: "agreements".into(),
        kind: "folder",
        state: SourceState::Ok,
        problem: None,
        read_at: Some(at("2026-03-24T10:00:00Z")),
        away_since: None,
        agreements: 1,
        broken: 0,
    };
    let agreements = vec![Arc::new(agreement)];
    LoadedAgreements { agreements, diagnostics: problems, sources: vec![source], ..Default::default() }
}

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

/// The `n`th day of March 2026 in Madrid, counted from 0.
fn day(n: i32) -> Window {
    let zone = TimeZone::get("Europe/Madrid").unwrap();
    let from = at("2026-02-28T23:00:00Z").to_zoned(zone).checked_add(n.days()).unwrap();
    let to = from.checked_add(1.day()).unwrap();
    Window { from: from.timestamp(), to: to.timestamp(), from_local: local(&from), to_local: local(&to) }
}

/// As windows have their bounds: RFC 3339 with the zone's offset.
fn local(at: &jiff::Zoned) -> String {
    at.strftime("%Y-%m-%dT%H:%M:%S%:z").to_string()
}

fn state(of: &str, metric: &str, department: Option<&str>, n: i32, run: RunId) -> State {
    let seed = n * 7 + department.map_or(3, |d| d.len() as i32 * 5);
    let (verdict, value) = match seed % 11 {
        0 | 5 => (Verdict::Violated, Some(71.0 + f64::from(seed % 20))),
        3 if n % 2 == 0 => (Verdict::Unknown, None),
        7 if n % 3 == 0 => (Verdict::NotApplicable, None),
        _ => (Verdict::Fulfilled, Some(96.0 + f64::from(seed % 4))),
    };
    let limit = if metric == "APPROVED" { 95 } else { 90 };
    let reason = match (verdict, value) {
        (Verdict::Violated, Some(v)) => format!("{metric} = {v}, which is not >= {limit}"),
        (Verdict::Unknown, _) => format!("{metric} is missing: the collector did not answer within 2 s"),
        (Verdict::NotApplicable, _) => "no order was placed in this window".to_string(),
        (_, value) => format!("{metric} = {}, which is >= {limit}", value.unwrap_or_default()),
    };
    let window = day(n);
    let scope = Scope(department.map(|d| ("department".to_string(), d.to_string())).into_iter().collect());
    State {
        verdict: Some(verdict),
        value,
        values: [(metric.to_string(), value)].into(),
        reason,
        coverage: value.map(|_| Coverage { seen: 37, expected: 40 }),
        evidence: vec![Evidence {
            metric: metric.into(),
            source: format!("flow at /{}", metric.to_lowercase()),
            collected_at: window.to,
            data: json!({
                "orders": [
                    { "order": "PO-2026-0311", "amount": 1840.5, "approvals": ["m.garcia"], "paid": "2026-03-11T10:02:00+01:00" },
                    { "order": "PO-2026-0312", "amount": 99, "approvals": ["m.garcia", "l.ortiz"], "paid": "2026-03-11T16:40:00+01:00" },
                ],
                "note": "an order with fewer than two approvals <before> it was paid breaks the rule",
            }),
        }],
        provisional: n == DAYS - 1,
        agreement_version: "5e884898da28047151d0e56f8dc6292773603d0d6aabbdd62a11ef721d1542d8".into(),
        ..State::blank("orders", StateKind::Guarantee, of, scope, window, run)
    }
}

fn evaluation(id: RunId, started_at: Timestamp) -> RunRecord {
    let step = |at_us, node: &str, node_type: &str, emitted, note: &str| TraceStep {
        evidence: Vec::new(),
        calls: if node_type == "metric" { vec![crate::store::samples::call_record()] } else { Vec::new() },
        calls_cut: 0,
        at_us,
        node: node.into(),
        node_type: node_type.into(),
        name: String::new(),
        emitted,
        note: Some(note.to_string()),
        ..TraceStep::default()
    };
    RunRecord {
        id,
        subject: "orders".into(),
        trigger: Trigger::Cron { schedule: "agreement/orders".into(), due_at: started_at },
        state: RunState::Done,
        started_at,
        ended_at: Some(started_at + SignedDuration::from_millis(42)),
        version: "5e884898da28047151d0e56f8dc6292773603d0d6aabbdd62a11ef721d1542d8".into(),
        hops: 3,
        error: None,
        trace: vec![
            step(12, "orders", "queries", 2, "2 metrics in 1 window"),
            step(18_400, "APPROVED", "metric", 4, "flow at /approved answered with 4 samples"),
            step(41_900, "orders", "verdicts", 5, "5 verdicts stored"),
        ],
        trace_dropped: 0,
    }
}

/// Stores the verdicts of every day, one evaluation each; the third last day is revised once.
pub async fn seed(store: &dyn Store) {
    for n in 0..DAYS {
        commit(store, n, |_| {}).await;
    }
    commit(store, DAYS - 3, |state| state.reason.push_str(", after late samples")).await;
}

/// Stores what the seeded verdicts mean for the budget, as it is known when all but the last day are over.
pub async fn seed_budgets(store: &dyn Store) {
    let agreement = &agreements().agreements[0];
    let budget = &agreement.budgets[0];
    let now = day(DAYS - 2).to;
    let due = judge::due(agreement, budget, Some((day(0).to, now)), now).unwrap().unwrap();
    let outcomes = store.outcomes(&agreement.id, &budget.guarantee, due.after, due.until).await.unwrap();
    let run = RunId::fresh();
    let states = judge::states(agreement, budget, &due, &outcomes, run, now);
    let audit = AuditEntry {
        at: now,
        actor: "schedule".into(),
        action: "evaluate".into(),
        subject: "orders".into(),
        detail: json!({ "states": states.len() }),
    };
    store.commit(&Commit { run: evaluation(run, now), states, audit, claim: None, recorded_at: now }).await.unwrap();
}

async fn commit(store: &dyn Store, n: i32, change: impl Fn(&mut State)) {
    let run = RunId::fresh();
    let mut states = Vec::new();
    for department in ["Purchasing", "Works", "IT services", "Facilities"] {
        states.push(state("APPROVED_BEFORE_PAYMENT", "APPROVED", Some(department), n, run));
    }
    states.push(state("PAID_WITHIN_30_DAYS", "PAID_IN_TIME", None, n, run));
    states.iter_mut().for_each(change);
    let recorded_at = day(n).to + 5.seconds();
    let record = evaluation(run, recorded_at);
    let audit = AuditEntry {
        at: recorded_at,
        actor: "schedule".into(),
        action: "evaluate".into(),
        subject: "orders".into(),
        detail: json!({ "states": states.len() }),
    };
    store.commit(&Commit { run: record, states, audit, claim: None, recorded_at }).await.unwrap();
}
