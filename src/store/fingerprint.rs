//! 128-bit hashes of what a state is (its identity) and what it says (its content).
//!
//! Stores compare and join by these: short, of one length whatever the scope, and free of the order in which a
//! source lists an object's keys. They are stored, so what is fed into them must not change between releases.

use std::collections::BTreeMap;
use std::fmt::{self, Write};

use jiff::Timestamp;
use serde_json::Value;
use sha2::{Digest, Sha256};
use uuid::Uuid;

use crate::model::provenance::Provenance;
use crate::model::state::{Evidence, Scope, State, StateKind};

/// Names a state: equal for equal `(agreement, kind, of, scope, from, to)`.
pub(super) fn identity(
    agreement: &str,
    kind: StateKind,
    of: &str,
    scope: &Scope,
    from: Timestamp,
    to: Timestamp,
) -> Uuid {
    let mut hash = Fingerprint::default();
    hash.text(agreement);
    hash.text(kind.as_str());
    hash.text(of);
    hash.text(&scope.canonical());
    hash.integer(from.as_microsecond());
    hash.integer(to.as_microsecond());
    hash.finish()
}

pub(super) fn identity_of(state: &State) -> Uuid {
    identity(&state.agreement, state.kind, &state.of, &state.scope, state.window.from, state.window.to)
}

/// Names a provenance.
pub(super) fn provenance(provenance: &Provenance) -> Uuid {
    let mut hash = Fingerprint::default();
    hash.text(&provenance.engine);
    hash.text(&provenance.time_zones);
    hash.text(provenance.flows.as_deref().unwrap_or_default());
    hash.length(provenance.plugins.len());
    for (name, digest) in &provenance.plugins {
        hash.text(name);
        hash.text(digest);
    }
    hash.finish()
}

/// Names what a state says: equal when a new revision would tell nothing new. Left out are the run, when the
/// evidence was collected, and with what the state was made.
pub(super) fn content_of(state: &State) -> Uuid {
    let mut hash = Fingerprint::default();
    hash.text(&state.window.from_local);
    hash.text(&state.window.to_local);
    hash.text(state.verdict.map_or("", |verdict| verdict.as_str()));
    hash.number(state.value);
    hash.numbers(&state.values);
    hash.text(&state.reason);
    match state.coverage {
        Some(coverage) => hash.text(&format!("{}/{}", coverage.seen, coverage.expected)),
        None => hash.text(""),
    }
    hash.integer(i64::from(state.provisional));
    hash.text(&state.agreement_version);
    hash.evidence(&state.evidence);
    hash.additions(state);
    hash.finish()
}

/// Every field goes in with its length or tag, so that no two lists of fields run into the same bytes.
#[derive(Default)]
struct Fingerprint(Sha256);

impl Fingerprint {
    fn finish(self) -> Uuid {
        let digest = self.0.finalize();
        let mut bytes = [0; 16];
        bytes.copy_from_slice(&digest[..16]);
        Uuid::from_bytes(bytes)
    }

    fn integer(&mut self, value: i64) {
        self.0.update(value.to_le_bytes());
    }

    fn length(&mut self, length: usize) {
        self.0.update((length as u64).to_le_bytes());
    }

    fn text(&mut self, text: &str) {
        self.length(text.len());
        self.0.update(text.as_bytes());
    }

    /// NaN is stored as no value; minus zero is zero.
    fn number(&mut self, value: Option<f64>) {
        match value.filter(|v| !v.is_nan()) {
            Some(value) => {
                self.0.update([1]);
                self.0.update((value + 0.0).to_le_bytes());
            }
            None => self.0.update([0]),
        }
    }

    fn numbers(&mut self, values: &BTreeMap<String, Option<f64>>) {
        self.length(values.len());
        for (name, value) in values {
            self.text(name);
            self.number(*value);
        }
    }

    fn evidence(&mut self, evidence: &[Evidence]) {
        self.length(evidence.len());
        for piece in evidence {
            self.text(&piece.metric);
            self.text(&piece.source);
            self.json(&piece.data);
        }
    }

    /// What states say since their second form, each with its tag, so that a state of the first has the hash it had.
    fn additions(&mut self, state: &State) {
        if let Some(score) = state.score {
            self.text("score");
            self.integer(score.numerator());
            self.integer(score.denominator());
        }
        for (tag, amounts) in [("penalties", &state.penalties), ("rewards", &state.rewards)] {
            if !amounts.is_empty() {
                self.text(tag);
                self.numbers(amounts);
            }
        }
        if let Some(waiver) = &state.waiver {
            self.text("waiver");
            self.text(&waiver.id);
            self.text(&waiver.reason);
            self.text(&waiver.owner);
            self.integer(waiver.expires.as_microsecond());
            self.text(waiver.verdict.as_str());
            self.numbers(&waiver.penalties);
        }
    }

    fn json(&mut self, value: &Value) {
        match value {
            Value::Null => self.0.update(b"n"),
            Value::Bool(value) => self.0.update(if *value { b"t" } else { b"f" }),
            Value::Number(number) => {
                self.0.update(b"#");
                write!(self, "{number};").expect("hashing cannot fail");
            }
            Value::String(text) => {
                self.0.update(b"s");
                self.text(text);
            }
            Value::Array(items) => {
                self.0.update(b"a");
                self.length(items.len());
                items.iter().for_each(|item| self.json(item));
            }
            Value::Object(members) => {
                self.0.update(b"o");
                self.length(members.len());
                let mut members: Vec<_> = members.iter().collect();
                members.sort_unstable_by_key(|(name, _)| *name);
                for (name, value) in members {
                    self.text(name);
                    self.json(value);
                }
            }
        }
    }
}

impl Write for Fingerprint {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.0.update(text.as_bytes());
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn json_hash(value: &Value) -> Uuid {
        let mut hash = Fingerprint::default();
        hash.json(value);
        hash.finish()
    }

    #[test]
    fn objects_are_equal_whatever_the_order_of_their_keys() {
        let there: Value = serde_json::from_str(r#"{"a":1,"b":[{"c":2,"d":3}]}"#).unwrap();
        let back: Value = serde_json::from_str(r#"{"b":[{"d":3,"c":2}],"a":1}"#).unwrap();
        assert_eq!(json_hash(&there), json_hash(&back));
    }

    #[test]
    fn different_values_differ() {
        let values = [
            json!(null),
            json!(false),
            json!(true),
            json!(1),
            json!(12),
            json!("1"),
            json!([1, 2]),
            json!([2, 1]),
            json!([[1], 2]),
            json!([1, [2]]),
            json!({"a": 1}),
            json!({"a": {"b": 1}}),
            json!(["a", 1]),
        ];
        for (i, left) in values.iter().enumerate() {
            for right in &values[i + 1..] {
                assert_ne!(json_hash(left), json_hash(right), "{left} and {right}");
            }
        }
    }

    /// Stored keys must stay findable: this value may never change.
    #[test]
    fn an_identity_is_the_same_in_every_release() {
        let scope = Scope([("team".to_owned(), "blue".to_owned())].into());
        let at = |text: &str| text.parse().unwrap();
        let key = identity(
            "sla",
            StateKind::Guarantee,
            "fast",
            &scope,
            at("2026-01-01T00:00:00Z"),
            at("2026-01-02T00:00:00Z"),
        );
        assert_eq!(key.simple().to_string(), "88d1fa249da0f8da34fe601ef351a0c8");
    }
}
