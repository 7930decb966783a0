//! The stored form of model values, as both databases keep it: JSON texts, words and whole numbers.

use std::borrow::Cow;
use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::{StoreError, during};
use crate::model::run::RunState;
use crate::model::state::{Evidence, Scope, State, StateKind, Verdict};

/// Deeper JSON than this would not be read back (serde_json stops at 128, and what is stored wraps it).
const JSON_DEPTH_MAX: usize = 100;

/// The columns of a state that are made, not copied.
pub(super) struct StateTexts {
    pub scope: String,
    pub values: String,
    pub coverage: Option<String>,
    pub evidence: String,
    /// NaN is no value.
    pub value: Option<f64>,
}

pub(super) fn state_texts(state: &State) -> StateTexts {
    StateTexts {
        scope: scope(&state.scope),
        values: values(&state.values),
        coverage: state.coverage.as_ref().map(json),
        evidence: evidence(&state.evidence),
        value: state.value.filter(|value| !value.is_nan()),
    }
}

pub(super) fn json<T: Serialize>(value: &T) -> String {
    serde_json::to_string(value).expect("model values have text keys and no failing serialisers")
}

/// Text without NUL, which Postgres cannot hold; its picture `␀` stands instead. Without this one odd character
/// from a source would lose a whole commit.
pub(super) fn text(text: &str) -> Cow<'_, str> {
    if text.contains('\0') { Cow::Owned(text.replace('\0', "\u{2400}")) } else { Cow::Borrowed(text) }
}

/// The canonical scope, by which states are also found.
pub(super) fn scope(scope: &Scope) -> String {
    if scope.0.iter().any(|(name, member)| name.contains('\0') || member.contains('\0')) {
        let clean = scope.0.iter().map(|(name, member)| (text(name).into_owned(), text(member).into_owned()));
        return Scope(clean.collect()).canonical();
    }
    scope.canonical()
}

fn values(values: &BTreeMap<String, Option<f64>>) -> String {
    if values.keys().any(|name| name.contains('\0')) {
        let clean: BTreeMap<_, _> = values.iter().map(|(name, value)| (text(name), value)).collect();
        return json(&clean);
    }
    json(values)
}

/// Data nested too deeply to be read back is kept as its JSON text.
fn evidence(evidence: &[Evidence]) -> String {
    if evidence.iter().all(|piece| !deeper_than(&piece.data, JSON_DEPTH_MAX)) {
        return json(&evidence);
    }
    let readable: Vec<Evidence> = evidence
        .iter()
        .map(|piece| {
            let mut piece = piece.clone();
            if deeper_than(&piece.data, JSON_DEPTH_MAX) {
                piece.data = Value::String(piece.data.to_string());
            }
            piece
        })
        .collect();
    json(&readable)
}

fn deeper_than(value: &Value, levels: usize) -> bool {
    match value {
        Value::Array(items) => levels == 0 || items.iter().any(|item| deeper_than(item, levels - 1)),
        Value::Object(members) => levels == 0 || members.values().any(|item| deeper_than(item, levels - 1)),
        _ => false,
    }
}

/// Counts beyond what a database can hold stand at the greatest it can.
pub(super) fn count(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

pub(super) fn read_json<T: DeserializeOwned>(what: &'static str, text: &str) -> Result<T, StoreError> {
    serde_json::from_str(text).map_err(|error| StoreError::Corrupt { what, problem: error.to_string() })
}

pub(super) fn read_instant(what: &'static str, micros: i64) -> Result<Timestamp, StoreError> {
    Timestamp::from_microsecond(micros).map_err(|error| StoreError::Corrupt { what, problem: error.to_string() })
}

pub(super) fn read_kind(word: &str) -> Result<StateKind, StoreError> {
    match word {
        "guarantee" => Ok(StateKind::Guarantee),
        "metric" => Ok(StateKind::Metric),
        _ => Err(unknown_word("kind of state", word)),
    }
}

pub(super) fn read_verdict(word: &str) -> Result<Verdict, StoreError> {
    Verdict::parse(word).ok_or_else(|| unknown_word("verdict", word))
}

pub(super) fn read_run_state(word: &str) -> Result<RunState, StoreError> {
    RunState::parse(word).ok_or_else(|| unknown_word("state of a run", word))
}

fn unknown_word(what: &'static str, word: &str) -> StoreError {
    StoreError::Corrupt { what, problem: format!("{word:?} is unknown; was it written by a newer release?") }
}

/// A column's value, or which one is not as expected.
pub(super) fn column<'r, T, R>(row: &'r R, name: &'static str) -> Result<T, StoreError>
where
    R: sqlx::Row,
    T: sqlx::Decode<'r, R::Database> + sqlx::Type<R::Database>,
    &'static str: sqlx::ColumnIndex<R>,
{
    row.try_get(name).map_err(during("read a stored row"))
}
