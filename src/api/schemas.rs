//! The shapes of the API's JSON, as JSON Schema (2020-12, which OpenAPI 3.1 uses).

use serde_json::{Map, Value, json};

use crate::model::state::Verdict;

/// A list's schema.
pub(super) fn list(item: &str) -> Value {
    json!({
        "type": "object",
        "required": ["items", "next"],
        "properties": {
            "items": { "type": "array", "items": { "$ref": item } },
            "next": { "type": ["string", "null"], "description": "give it as `after` to go on; null at the end" },
        },
    })
}

/// An object whose properties all are required but those whose names end in `?`; nothing else is in it.
fn object(properties: Value) -> Value {
    let Value::Object(properties) = properties else { unreachable!("called with objects only") };
    let mut required = Vec::new();
    let mut fields = Map::new();
    for (name, schema) in properties {
        match name.strip_suffix('?') {
            Some(name) => fields.insert(name.to_string(), schema),
            None => {
                required.push(Value::from(name.as_str()));
                fields.insert(name, schema)
            }
        };
    }
    json!({ "type": "object", "required": required, "properties": fields, "additionalProperties": false })
}

fn integer() -> Value {
    json!({ "type": "integer" })
}

fn text() -> Value {
    json!({ "type": "string" })
}

fn instant() -> Value {
    json!({ "type": "string", "format": "date-time" })
}

/// A bound of a range as callers give it.
fn moment() -> Value {
    json!({ "type": "string", "description": "an instant, or a date or time in the agreement's zone" })
}

fn flag() -> Value {
    json!({ "type": "boolean" })
}

fn count() -> Value {
    json!({ "type": "integer", "minimum": 0 })
}

fn or_null(kind: &str) -> Value {
    json!({ "type": [kind, "null"] })
}

fn instant_or_null() -> Value {
    json!({ "type": ["string", "null"], "format": "date-time" })
}

fn words(words: &[&str]) -> Value {
    json!({ "type": "string", "enum": words })
}

fn refer(name: &str) -> Value {
    json!({ "$ref": format!("#/components/schemas/{name}") })
}

fn refer_or_null(name: &str) -> Value {
    json!({ "oneOf": [refer(name), { "type": "null" }] })
}

fn array(item: Value) -> Value {
    json!({ "type": "array", "items": item })
}

fn map(item: Value) -> Value {
    json!({ "type": "object", "additionalProperties": item })
}

fn uuid() -> Value {
    json!({ "type": "string", "format": "uuid" })
}

/// All named schemas.
pub(super) fn all() -> Value {
    let mut schemas = Map::new();
    for (name, schema) in
        observed().into_iter().chain(explained()).chain(promised()).chain(running()).chain(plugins()).chain(service())
    {
        schemas.insert(name.to_string(), schema);
    }
    Value::Object(schemas)
}

fn observed() -> Vec<(&'static str, Value)> {
    let window = json!({ "from": instant(), "to": instant(), "from_local": text(), "to_local": text() });
    let state = json!({
        "agreement": text(), "kind": words(crate::model::state::StateKind::WORDS), "of": text(), "scope": map(text()),
        "window": refer("Window"), "verdict": { "oneOf": [refer("VerdictWord"), { "type": "null" }] },
        "value": or_null("number"), "values": map(or_null("number")), "reason": text(),
        "coverage": refer_or_null("Coverage"), "evidence": array(refer("Evidence")), "provisional": { "type": "boolean" },
        "score": refer_or_null("Score"), "penalties": map(or_null("number")), "rewards": map(or_null("number")),
        "waiver": refer_or_null("AppliedWaiver"), "inputs": or_null("string"), "provenance": refer("Provenance"),
        "agreement_version": text(), "run": uuid(), "revision": { "type": "integer", "minimum": 1 },
        "recorded_at": instant(),
    });
    let verdict = json!({
        "agreement": text(), "guarantee": text(), "scope": map(text()), "window": refer("Window"),
        "value": or_null("number"), "values": map(or_null("number")), "verdict": refer("VerdictWord"),
        "reason": text(), "coverage": refer_or_null("Coverage"), "evidence": array(refer("Evidence")), "run": uuid(),
        "provisional": { "type": "boolean" }, "score": refer_or_null("Score"),
        "penalties": map(or_null("number")), "rewards": map(or_null("number")), "waiver": refer_or_null("AppliedWaiver"),
        "agreement_version": text(), "inputs": or_null("string"), "provenance": refer("Provenance"),
        "revision": { "type": ["integer", "null"], "description": "null when it was not stored" },
    });
    vec![
        ("VerdictWord", words(Verdict::WORDS)),
        ("Score", object(json!({ "numerator": integer(), "denominator": { "type": "integer", "minimum": 1 } }))),
        (
            "AppliedWaiver",
            object(json!({
                "id": text(), "reason": text(), "owner": text(), "expires": instant(), "verdict": refer("VerdictWord"),
                "penalties": map(or_null("number")),
            })),
        ),
        (
            "Provenance",
            object(json!({ "engine": text(), "time_zones": text(), "flows?": text(), "plugins?": map(text()) })),
        ),
        ("Window", object(window)),
        ("Coverage", object(json!({ "seen": count(), "expected": count() }))),
        ("Evidence", object(json!({ "metric": text(), "source": text(), "collected_at": instant(), "data": {} }))),
        ("Correction", correction()),
        ("Budget", budget()),
        ("Tally", tally()),
        ("Rules", rules()),
        ("Waiver", object(waiver())),
        (
            "WaiverDraft",
            object(json!({
                "agreement": text(), "reason": text(), "owner": text(), "expires": moment(), "id?": text(),
                "guarantee?": text(), "scope?": map(text()), "from?": moment(), "to?": moment(),
            })),
        ),
        ("WaiverMade", object(json!({ "waiver": refer("Waiver"), "changed": count() }))),
        ("Bill", object(json!({ "window": refer("Window"), "lines": array(refer("BillLine")) }))),
        (
            "BillLine",
            object(json!({
                "over": text(), "unit?": text(), "group": map(text()), "sum": or_null("number"),
                "amount": or_null("number"), "up_to?": { "type": "number" }, "verdicts": count(), "unknown": count(),
            })),
        ),
        ("State", object(state)),
        ("Verdict", object(verdict)),
        (
            "Verdicts",
            object(json!({
                "verdicts": array(refer("Verdict")), "kept": array(refer("Kept")),
                "reason?": { "type": "string", "description": "why there are no verdicts" },
            })),
        ),
        (
            "Kept",
            object(json!({ "guarantee": text(), "scope": map(text()), "window": refer("Window"), "reason": text() })),
        ),
    ]
}

fn explained() -> Vec<(&'static str, Value)> {
    let explanation = json!({
        "id": text(), "agreement": text(), "guarantee": text(), "description": text(), "scope": map(text()),
        "window": refer("Window"), "verdict": refer("VerdictWord"), "provisional": { "type": "boolean" },
        "reason": text(), "revision": count(), "recorded_at": instant(), "run": uuid(), "agreement_version": text(),
        "agreement_changed": { "type": "boolean" }, "coverage": refer_or_null("Coverage"),
        "inputs": or_null("string"), "waiver": refer_or_null("AppliedWaiver"),
        "objectives": array(refer("ObjectiveExplained")), "since_last_pass": refer_or_null("ChangeSincePass"),
        "windows_looked_back": count(), "language": words(&["en", "es"]), "text": array(text()),
    });
    let objective = json!({
        "objective": text(), "substituted": text(), "holds": { "type": ["boolean", "null"] },
        "differs": { "type": "boolean" }, "decided_by": array(refer("Decider")), "missing": array(text()),
        "distance": { "type": "object", "description": "by `kind`: none, amount, all, any, unknown, otherwise" },
    });
    let decider = json!({
        "metric": text(), "value": {}, "coverage": refer_or_null("Coverage"), "revision": { "type": ["integer", "null"] },
        "recorded_at": instant_or_null(), "run": { "type": ["string", "null"], "format": "uuid" },
        "evidence": array(refer("EvidencePiece")),
    });
    let change = json!({
        "kind": words(&["revision", "window"]), "window": refer("Window"), "revision": count(),
        "recorded_at": instant(), "run": uuid(), "values": array(refer("ValueChange")),
        "agreement_changed": { "type": "boolean" },
    });
    let flip = json!({
        "guarantee": text(), "scope": map(text()), "window": refer("Window"), "before": refer_or_null("VerdictWord"),
        "after": refer_or_null("VerdictWord"), "unwaived_before": refer_or_null("VerdictWord"),
        "unwaived_after": refer_or_null("VerdictWord"), "reason_before": or_null("string"),
        "reason_after": or_null("string"), "values": map(or_null("number")), "decided_by": array(text()),
    });
    let sum = json!({
        "over": text(), "before": { "type": "number" }, "after": { "type": "number" }, "unsaid_before": count(),
        "unsaid_after": count(),
    });
    let simulation = json!({
        "agreement": text(), "current": text(), "candidate": text(), "from": instant(), "to": instant(), "same": count(),
        "flips": array(refer("Flip")), "added": array(refer("Flip")), "removed": array(refer("Flip")),
        "first": refer_or_null("Flip"), "smallest": refer_or_null("Flip"), "before": map(count()), "after": map(count()),
        "penalties": array(object(sum)), "not_stored": map(count()), "other_versions": count(),
        "budgets": array(refer("BudgetChange")), "budgets_same": count(), "language": words(&["en", "es"]),
        "text": array(text()),
    });
    let budget_change = json!({
        "kind": words(&["budget", "burn-rate"]), "of": text(), "scope": map(text()), "window": refer("Window"),
        "before": refer_or_null("VerdictWord"), "after": refer_or_null("VerdictWord"),
        "value_before": or_null("number"), "value_after": or_null("number"), "reason_before": or_null("string"),
        "reason_after": or_null("string"),
    });
    let piece = json!({ "source": text(), "collected_at": instant(), "sha256": text(), "data": {} });
    vec![
        ("Simulation", object(simulation)),
        ("Flip", object(flip)),
        ("BudgetChange", object(budget_change)),
        ("AgreementDocument", json!({ "type": "object", "description": "as /probity/v1/schemas/agreement.json says" })),
        ("BudgetExplanation", object(budget_explanation())),
        ("Explanation", object(explanation)),
        ("ObjectiveExplained", object(objective)),
        ("Decider", object(decider)),
        ("EvidencePiece", object(piece)),
        ("ChangeSincePass", object(change)),
        ("ValueChange", object(json!({ "metric": text(), "then": or_null("number"), "now": or_null("number") }))),
    ]
}

/// Entries of flows that came, went or changed: how many, and the first of them.
fn changed_entries() -> Value {
    object(json!({ "count": count(), "entries": array(json!({ "type": "object" })) }))
}

fn tally() -> Value {
    object(json!({
        "windows": count(), "judged": count(), "not_applicable": count(), "unknown": count(), "pending": count(),
        "good": count(), "bad": count(), "waived_bad": count(), "waived_unknown": count(),
    }))
}

/// The exact figures of a budget or burn rate.
fn figures() -> Value {
    let instants = || array(instant());
    let burn = object(json!({
        "alert": text(), "severity": text(), "above": refer("Score"), "minimum": count(), "long": text(),
        "short": text(), "short_tally": refer("Tally"), "short_rate": refer_or_null("Score"),
        "short_least": refer_or_null("Score"), "short_most": refer_or_null("Score"),
    }));
    object(json!({
        "budget": text(), "guarantee": text(), "target": text(), "counts": words(&["windows", "events"]),
        "tally": refer("Tally"), "used": refer_or_null("Score"), "used_least": refer_or_null("Score"),
        "used_most": refer_or_null("Score"), "unwaived": words(Verdict::WORDS),
        "used_unwaived": refer_or_null("Score"), "bad_windows": instants(), "unknown_windows": instants(),
        "burn?": burn,
    }))
}

/// Why a budget or burn rate is as it is.
fn budget_explanation() -> Value {
    let whole = || json!({ "type": "integer" });
    let distance = || {
        object(json!({
            "population": count(), "may_be_bad": count(), "bad": count(), "unknown": count(), "left_most": whole(),
            "left_least": { "type": ["integer", "null"] },
        }))
    };
    let consumer = || {
        object(json!({
            "from": instant(), "to": instant_or_null(), "verdict_id": or_null("string"),
            "verdict": refer_or_null("VerdictWord"), "reason": text(), "bad": { "type": ["integer", "null"] },
            "share": refer_or_null("Score"),
        }))
    };
    json!({
        "id": text(), "kind": words(&["budget", "burn-rate"]), "agreement": text(), "budget": text(),
        "scope": map(text()), "window": refer("Window"), "verdict": refer("VerdictWord"),
        "provisional": { "type": "boolean" }, "reason": text(), "value": or_null("number"),
        "score": refer_or_null("Score"), "figures": figures(), "distance": distance(),
        "short_distance": { "oneOf": [distance(), { "type": "null" }] }, "consumed_by": array(consumer()),
        "unknown": array(consumer()), "revision": count(), "recorded_at": instant(), "run": uuid(),
        "agreement_version": text(), "inputs": or_null("string"), "agreement_changed": { "type": "boolean" },
        "language": words(&["en", "es"]), "text": array(text()),
    })
}

/// The state of a budget or burn rate.
fn budget() -> Value {
    object(json!({
        "agreement": text(), "budget": text(), "scope": map(text()), "window": refer("Window"),
        "verdict": words(Verdict::WORDS), "value": or_null("number"), "score": refer_or_null("Score"),
        "reason": text(), "coverage": refer_or_null("Coverage"), "provisional": { "type": "boolean" },
        "figures": { "oneOf": [figures(), { "type": "null" }] }, "revision": count(), "recorded_at": instant(),
        "agreement_version": text(), "run": text(),
    }))
}

fn rules() -> Value {
    let refused = object(json!({ "budget": text(), "alert": or_null("string"), "reason": text() }));
    object(json!({ "groups": array(json!({ "type": "object" })), "refused": array(refused) }))
}

fn correction() -> Value {
    let because = words(&["agreement", "waiver", "evidence"]);
    object(json!({ "before": refer("State"), "after": refer("State"), "because": because }))
}

fn waiver() -> Value {
    json!({
        "id": text(), "agreement": text(), "guarantee?": text(), "scope": map(text()), "reason": text(), "owner": text(),
        "from": instant(), "to?": instant(), "expires": instant(), "ended_at?": instant(),
        "origin": words(&["document", "stored"]), "created_by": text(), "created_at?": instant(),
        "in_force": { "type": "boolean" },
    })
}

fn promised() -> Vec<(&'static str, Value)> {
    let summary = json!({
        "id": text(), "version": text(), "hash": text(), "source": text(), "time_zone": text(), "valid_from": instant(),
        "valid_to": instant_or_null(), "guarantees": array(text()), "metrics": array(text()),
        "errors": count(), "warnings": count(),
    });
    let term = json!({
        "scope": map(text()), "objective": text(), "metrics": array(text()), "period": text(), "initial": instant(),
        "end": instant_or_null(),
    });
    let guarantee = json!({
        "id": text(), "description": text(), "scope": map(or_null("string")), "terms": array(refer("Term")),
    });
    let detail = json!({
        "id": text(), "version": text(), "hash": text(), "source": text(), "time_zone": text(), "valid_from": instant(),
        "valid_to": instant_or_null(), "guarantees": array(refer("Guarantee")),
        "metrics": array(refer("Metric")), "schedule": refer_or_null("ScheduleOverride"),
        "diagnostics": array(refer("Diagnostic")), "document": {},
    });
    let catch_up = words(&["skip", "last", "all"]);
    let evaluate = json!({
        "from?": moment(), "to?": moment(), "guarantee?": text(),
        "store?": { "type": "boolean", "description": "whether the verdicts are stored; true when absent" },
    });
    vec![
        ("AgreementSummary", object(summary)),
        (
            "Source",
            object(json!({
                "name": text(), "kind": words(&["shipped", "folder", "registry", "mongodb", "stored", "given"]),
                "state": words(&["starting", "ok", "away"]), "problem": or_null("string"), "read_at": instant_or_null(),
                "away_since": instant_or_null(), "agreements": count(), "broken": count(),
            })),
        ),
        ("Agreement", object(detail)),
        ("Guarantee", object(guarantee)),
        ("Term", object(term)),
        ("Metric", object(json!({ "id": text(), "collector": text() }))),
        (
            "ScheduleOverride",
            object(json!({ "cron": text(), "time_zone": or_null("string"), "catch_up": catch_up.clone() })),
        ),
        (
            "Schedule",
            object(json!({
                "id": text(), "kind": words(&["agreement", "flow"]), "subject": text(), "cron": text(), "time_zone": text(),
                "catch_up": catch_up, "next_due": instant_or_null(), "last_claim": instant_or_null(),
                "fired": count(), "late": count(), "missed": count(), "overlapping": count(), "taken_up": count(),
                "drift_ms": count(), "drift_ms_max": count(), "drift_ms_sum": count(),
            })),
        ),
        (
            "FlowRevision",
            object(json!({
                "number": count(), "hash": text(), "author": text(), "action": text(), "at": instant(), "bytes": count(),
            })),
        ),
        (
            "FlowRevisionWhole",
            object(json!({
                "number": count(), "hash": text(), "author": text(), "action": text(), "at": instant(), "bytes": count(),
                "flows": array(json!({ "type": "object" })),
            })),
        ),
        (
            "FlowDiff",
            object(json!({
                "from": count(), "to": count(), "moved": count(), "added": changed_entries(),
                "removed": changed_entries(), "changed": changed_entries(),
            })),
        ),
        ("RollBack", object(json!({ "expected?": count() }))),
        ("RolledBack", object(json!({ "number": count(), "hash": text() }))),
        (
            "Tick",
            object(json!({
                "schedule": text(), "due_at": instant(), "how?": words(&["live", "first", "missed"]),
                "started_at": instant_or_null(), "ended_at": instant_or_null(), "drift_ms": or_null("integer"),
                "overlapping": json!({ "type": "boolean" }), "leases": count(), "owner": or_null("string"), "run": or_null("string"),
            })),
        ),
        ("Evaluate", object(evaluate)),
        (
            "Diagnostic",
            object(json!({
                "severity": words(&["error", "warning"]), "code": text(), "file?": text(), "path": text(),
                "line?": count(), "column?": count(), "message": text(), "expected?": text(), "hint?": text(),
            })),
        ),
        ("JsonSchema", json!({ "type": "object", "description": "a JSON Schema, draft 2020-12" })),
    ]
}

fn running() -> Vec<(&'static str, Value)> {
    let run = json!({
        "id": uuid(), "subject": text(), "trigger": refer("Trigger"),
        "state": words(&["running", "done", "failed", "stopped", "queued", "leased", "in-doubt", "dead"]),
        "started_at": instant(), "ended_at?": instant(),
        "version": text(), "hops": count(), "error?": refer("RunError"), "trace": array(refer("TraceStep")),
        "trace_dropped": count(), "queue?": refer("InQueue"),
    });
    let priority = || words(&["bulk", "normal", "interactive"]);
    let decision = || words(&["again", "skip", "fail"]);
    let in_queue = json!({
        "attempt": count(), "ready_at": instant(), "owner": or_null("string"), "priority": priority(),
        "decision": { "oneOf": [decision(), { "type": "null" }] }, "cancel_wanted": { "type": "boolean" },
    });
    let queued = json!({
        "id": uuid(), "flow": text(), "node": text(), "flow_version": text(), "trigger": refer("Trigger"),
        "msg?": text(), "reply": { "type": "boolean" }, "priority": priority(), "tenant?": text(),
        "state": words(super::queue::STATES), "attempt": count(), "epoch": count(), "owner?": text(),
        "ready_at": instant(), "accepted_at": instant(), "point?": text(), "effects?": text(), "decision?": decision(),
        "cancel_wanted": { "type": "boolean" }, "error?": refer("RunError"),
    });
    let run_change = json!({ "run": uuid(), "became": words(&["queued", "stopped", "cancelling", "failed"]) });
    let flow_change = json!({ "flow": text(), "paused": { "type": "boolean" }, "changed": { "type": "boolean" } });
    let kinds = words(&["http", "cron", "inject", "event", "manual", "metric", "linked"]);
    let trigger = json!({
        "kind": kinds, "method?": text(), "path?": text(), "schedule?": text(), "due_at?": instant(), "node?": text(),
        "by?": text(), "evaluation?": uuid(), "run?": uuid(),
    });
    let flow = json!({
        "id": text(), "label": text(), "state": words(&["running", "disabled", "unknown-types", "invalid"]),
        "unknown_types": array(text()), "nodes": count(), "reply_ms_max": count(),
        "endpoints": array(refer("FlowEndpoint")), "diagnostics": array(refer("Diagnostic")),
    });
    vec![
        ("Run", object(run)),
        ("InQueue", object(in_queue)),
        ("QueuedRun", object(queued)),
        ("RunChange", object(run_change)),
        ("FlowChange", object(flow_change)),
        ("Trigger", object(trigger)),
        ("RunError", object(json!({ "node": text(), "node_type": text(), "message": text() }))),
        (
            "TraceStep",
            object(json!({
                "at_us": count(), "node": text(), "node_type": text(), "name?": text(), "emitted": count(), "note?": text(),
                "took_us?": count(), "input?": refer("Captured"), "sent?": array(refer("Sent")),
                "evidence?": array(refer("Attached")), "calls?": array(refer("CallRecord")), "calls_cut?": count(),
            })),
        ),
        ("Captured", object(json!({ "msg": {}, "cut?": flag(), "masked?": flag() }))),
        ("Sent", object(json!({ "port": count(), "msg": {}, "cut?": flag(), "masked?": flag() }))),
        ("TraceRequest", object(json!({ "runs": count() }))),
        ("CallRecord", object(call_record())),
        ("HostCall", object(json!({ "of": text(), "given": {}, "answer": {} }))),
        (
            "Attached",
            object(json!({
                "id": { "type": "string", "format": "uuid" }, "key": text(), "value": {}, "outcome?": { "type": "boolean" },
                "at": instant(), "plugin": text(), "digest": text(),
            })),
        ),
        ("Flow", object(flow)),
        (
            "RunDraft",
            json!({
                "type": "object", "required": ["node"], "additionalProperties": false,
                "properties": { "node": text(), "msg": { "type": "object" }, "of": uuid() },
            }),
        ),
        ("RunOpened", object(json!({ "run": uuid() }))),
        ("RunTest", object(json!({ "yaml": text(), "note": text(), "file": text() }))),
        ("FlowsDraft", object(json!({ "flows": array(json!({ "type": "object" })) }))),
        ("FlowProblems", object(json!({ "problems": array(refer("FlowProblem")) }))),
        (
            "FlowProblem",
            object(json!({
                "node?": text(), "severity": words(&["error", "warning"]), "code": text(), "path": text(), "line?": count(),
                "column?": count(), "message": text(), "expected?": text(), "hint?": text(),
            })),
        ),
        ("FlowEndpoint", object(json!({ "method": text(), "path": text(), "node": text() }))),
        ("NodeType", json!({ "type": "object", "required": ["node_type", "category", "summary", "properties"] })),
    ]
}

/// A recorded call of a deterministic plugin.
fn call_record() -> Value {
    let bounds = json!({ "compute_ms_max": count(), "memory_bytes_max": count() });
    let outcome = json!({
        "kind": words(&["done", "failed", "stopped"]), "message?": text(), "code?": text(), "why?": text(),
    });
    json!({
        "plugin": text(), "version": text(), "digest": text(), "interpreter?": text(), "contract": text(),
        "engine": text(), "node": text(), "node_type": text(), "export": words(&["process", "run-end"]), "input": {},
        "config": text(), "bounds": object(bounds), "calls": array(refer("HostCall")), "outcome": object(outcome),
        "fuel": count(), "masked?": { "type": "boolean" }, "cut?": text(),
    })
}

fn plugins() -> Vec<(&'static str, Value)> {
    let number = || json!({ "type": "number" });
    let plugin = json!({
        "name": text(), "version": text(), "contract": text(), "license": text(), "description": text(),
        "digest": text(), "deterministic": { "type": "boolean" }, "loaded_at": instant_or_null(),
        "requests": array(json!({ "type": "object" })), "granted": array(text()), "hosts": array(text()),
        "secrets": array(text()), "folders": array(text()), "node_types": array(refer("PluginNodeType")),
        "stops": map(count()), "refusals": count(), "last_stops": array(refer("Noted")),
        "last_refusals": array(refer("Noted")), "quarantine": array(refer("Quarantine")), "idle_instances": count(),
    });
    let node_type = json!({
        "node_type": text(), "summary": text(), "calls": count(), "failed": count(), "instances": count(),
        "mean_us": number(), "max_us": number(), "memory_bytes": count(),
    });
    let grants = json!({
        "plugin": text(), "digest?": text(), "requests": array(json!({ "type": "object" })),
        "decisions": array(refer("PluginDecision")), "granted": array(text()), "missing": array(text()),
    });
    vec![
        ("Plugin", object(plugin)),
        ("PluginNodeType", object(node_type)),
        ("Noted", object(json!({ "at": instant(), "message": text() }))),
        ("Quarantine", object(json!({ "node_type": text(), "until": instant(), "last": text() }))),
        ("PluginGrants", object(grants)),
        (
            "PluginDecision",
            object(json!({
                "capability": text(), "granted": { "type": "boolean" }, "by": text(), "at": instant(), "digest?": text(),
                "hosts?": array(text()), "folders?": array(text()), "secrets?": array(text()),
            })),
        ),
        (
            "PluginGrant",
            object(json!({
                "capability": { "type": "string", "description": "or `all` that it asks for but `files`" },
                "hosts?": array(text()), "folders?": array(text()), "secrets?": array(text()),
                "this_build?": { "type": "boolean", "description": "only for the build that is there now" },
            })),
        ),
        ("PluginRelease", object(json!({ "released": { "type": "boolean" } }))),
    ]
}

fn service() -> Vec<(&'static str, Value)> {
    let error = json!({
        "error": { "type": "string", "description": "a stable code" }, "message": text(), "hint?": text(),
        "id?": { "type": "string", "format": "uuid", "description": "names the log line of an internal failure" },
    });
    let dependency = json!({ "status": words(&["ok", "failed"]), "what": text() });
    vec![
        ("Error", object(error)),
        (
            "Health",
            object(
                json!({ "status": words(&["ok", "failed"]), "failed": array(text()), "dependencies": map(refer("Dependency")) }),
            ),
        ),
        ("Dependency", object(dependency)),
        ("Alive", object(json!({ "status": words(&["ok"]) }))),
        (
            "AuditEntry",
            object(json!({ "at": instant(), "actor": text(), "action": text(), "subject": text(), "detail": {} })),
        ),
    ]
}
