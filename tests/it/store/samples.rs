//! States, runs and commits to store.

use std::sync::Arc;

use jiff::{Timestamp, ToSpan};
use probity::model::RunId;
use probity::model::call::{Bounds, CallRecord, Export, HostCall, Outcome};
use probity::model::provenance::{Digest, Provenance};
use probity::model::run::{Captured, RunRecord, RunState, Sent, TraceStep, Trigger};
use probity::model::score::Score;
use probity::model::state::{Coverage, Evidence, Scope, State, StateKind, Verdict, Window};
use probity::model::waiver::{AppliedWaiver, Origin, Waiver};
use probity::store::{AuditEntry, Commit};
use serde_json::json;

pub fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

pub fn scope(members: &[(&str, &str)]) -> Scope {
    Scope(members.iter().map(|(name, member)| ((*name).to_owned(), (*member).to_owned())).collect())
}

/// The `n`th hour of 2026.
pub fn hour(n: i64) -> Window {
    let from = at("2026-01-01T00:00:00Z") + n.hours();
    let to = from + 1.hour();
    Window { from, to, from_local: from.to_string(), to_local: to.to_string() }
}

/// A verdict on `fast` in the `n`th hour for team blue, with everything filled in.
pub fn guarantee(n: i64, run: RunId) -> State {
    State {
        agreement: "sla".into(),
        kind: StateKind::Guarantee,
        of: "fast".into(),
        scope: scope(&[("team", "blue"), ("région", "l'été \"ici\"")]),
        window: hour(n),
        verdict: Some(Verdict::Violated),
        value: Some(0.1 + 0.2),
        score: Score::new(-9, 30),
        values: [("p99".to_owned(), Some(0.1 + 0.2)), ("lost".to_owned(), None)].into(),
        reason: "p99 = 0.30000000000000004, and lost is missing".into(),
        coverage: Some(Coverage { seen: 9, expected: 12 }),
        evidence: vec![Evidence {
            metric: "p99".into(),
            source: "http://collector/p99".into(),
            collected_at: at("2026-01-02T03:04:05.678901Z"),
            data: json!({"z": [1, 2.5, -1e-7, null], "a": {"text": "täglich\n\"x\"\\u0000"}, "big": u64::MAX}),
        }],
        provisional: false,
        penalties: [("fee".to_owned(), Some(-2.5)), ("points".to_owned(), None)].into(),
        rewards: [("bonus".to_owned(), Some(0.0))].into(),
        waiver: None,
        agreement_version: "5e884898".into(),
        inputs: Some(Digest([7; 32])),
        provenance: Arc::new(Provenance {
            engine: "0.1.0".into(),
            time_zones: "2025b".into(),
            flows: Some("3f2a".into()),
            plugins: [("scores".to_owned(), "sha256:5e88".to_owned())].into(),
        }),
        run,
    }
}

/// The verdict of [`guarantee`] under a waiver.
pub fn waived(n: i64, run: RunId) -> State {
    let state = guarantee(n, run);
    State {
        verdict: Some(Verdict::Waived),
        penalties: [("fee".to_owned(), Some(0.0)), ("points".to_owned(), Some(0.0))].into(),
        waiver: Some(Box::new(AppliedWaiver {
            id: "w1".into(),
            reason: "moved to l'été \"house\"".into(),
            owner: "ana".into(),
            expires: at("2026-02-01T00:00:00Z"),
            verdict: Verdict::Violated,
            penalties: state.penalties.clone(),
        })),
        ..state
    }
}

/// A stored waiver for team blue in all of January.
pub fn waiver(agreement: &str, id: &str) -> Waiver {
    Waiver {
        id: id.into(),
        agreement: agreement.into(),
        guarantee: Some("fast".into()),
        scope: scope(&[("team", "blue")]),
        reason: "moving house".into(),
        owner: "ana".into(),
        from: at("2026-01-01T00:00:00Z"),
        to: None,
        expires: at("2026-02-01T00:00:00.000001Z"),
        ended_at: None,
        origin: Origin::Stored,
        created_by: "bea".into(),
        created_at: Some(at("2026-01-01T00:00:03Z")),
    }
}

/// The value of `p99` in the `n`th hour.
pub fn metric(n: i64, run: RunId) -> State {
    State { kind: StateKind::Metric, of: "p99".into(), verdict: None, coverage: None, ..guarantee(n, run) }
}

pub fn run_of(subject: &str, id: RunId) -> RunRecord {
    RunRecord {
        id,
        subject: subject.into(),
        trigger: Trigger::Cron { schedule: subject.into(), due_at: at("2026-01-01T01:00:00Z") },
        state: RunState::Done,
        started_at: at("2026-01-01T01:00:00.000001Z"),
        ended_at: Some(at("2026-01-01T01:00:02Z")),
        version: "5e884898".into(),
        hops: 3,
        error: None,
        trace: vec![TraceStep {
            evidence: Vec::new(),
            calls: vec![call_record()],
            calls_cut: 0,
            at_us: 17,
            node: "p99".into(),
            node_type: "metric".into(),
            name: String::new(),
            emitted: 1,
            took_us: Some(9),
            input: Some(captured(false)),
            sent: vec![Sent { port: 1, msg: captured(true) }],
            note: Some("asked".into()),
        }],
        trace_dropped: 2,
    }
}

/// A message of a trace.
fn captured(cut: bool) -> Captured {
    Captured {
        msg: serde_json::json!({ "_msgid": "1", "payload": { "n": 1.5, "text": "ä\u{1f600}" } }),
        cut,
        masked: cut,
    }
}

/// A recorded call of a plugin, with everything that can be in one.
pub fn call_record() -> CallRecord {
    CallRecord {
        plugin: "scores".into(),
        version: "1.0.0".into(),
        digest: "sha256:5e88".into(),
        interpreter: Some("sha256:4898".into()),
        contract: "1.1".into(),
        engine: "0.1.0".into(),
        node: "n1".into(),
        node_type: "score".into(),
        export: Export::RunEnd,
        input: json!({"run": "r", "caller": true, "properties": [{"name": "payload", "json": "{\"a\":1.50}"}]}),
        config: "{\"b\":\"\u{1F600}\"}".into(),
        bounds: Bounds { compute_ms_max: 100, memory_bytes_max: 1 << 25 },
        calls: vec![HostCall { of: "clock.now".into(), given: json!({}), answer: json!(u64::MAX) }],
        outcome: Outcome::Stopped { why: "trap".into(), message: "it panicked\n  at f \u{0}".into() },
        fuel: 1 << 60,
        masked: true,
        cut: Some("for this sample".into()),
    }
}

pub fn audit(subject: &str) -> AuditEntry {
    AuditEntry {
        at: at("2026-01-01T01:00:02Z"),
        actor: "schedule".into(),
        action: "evaluate".into(),
        subject: subject.into(),
        detail: json!({"windows": 1}),
    }
}

/// An evaluation of `sla` with these states.
pub fn commit(run: RunId, states: Vec<State>) -> Commit {
    Commit {
        run: run_of("sla", run),
        states,
        audit: audit("sla"),
        claim: None,
        recorded_at: at("2026-01-01T01:00:02.5Z"),
    }
}
