//! The stored form of model values, as both databases keep it: JSON texts, words and whole numbers.

use std::borrow::Cow;
use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::{StoreError, during};
use crate::model::provenance::{Digest, Provenance};
use crate::model::run::RunState;
use crate::model::score::Score;
use crate::model::state::{Amounts, Evidence, Scope, State, StateKind, Verdict};
use crate::model::waiver::{AppliedWaiver, Waiver};

/// Deeper JSON than this would not be read back (serde_json stops at 128, and what is stored wraps it).
const JSON_DEPTH_MAX: usize = 100;

/// The columns of a state that are made, not copied.
pub(super) struct StateTexts {
    pub scope: String,
    pub values: String,
    pub coverage: Option<String>,
    pub evidence: String,
    pub penalties: Option<String>,
    pub rewards: Option<String>,
    pub waiver: Option<String>,
}

pub(super) fn state_texts(state: &State) -> StateTexts {
    StateTexts {
        scope: scope(&state.scope),
        values: written(|out| write_values(&state.values, out)),
        coverage: state.coverage.as_ref().map(json),
        evidence: written(|out| write_evidence(&state.evidence, out)),
        penalties: amounts(&state.penalties),
        rewards: amounts(&state.rewards),
        waiver: state.waiver.as_deref().map(waiver),
    }
}

/// A state's value; NaN is none.
pub(super) fn value(state: &State) -> Option<f64> {
    state.value.filter(|value| !value.is_nan())
}

/// What a writer of JSON writes.
fn written(write: impl FnOnce(&mut Vec<u8>)) -> String {
    let mut out = Vec::new();
    write(&mut out);
    String::from_utf8(out).expect("JSON is UTF-8")
}

/// None are stored as NULL.
pub(super) fn amounts(amounts: &Amounts) -> Option<String> {
    (!amounts.is_empty()).then(|| written(|out| write_values(amounts, out)))
}

pub(super) fn waiver(applied: &AppliedWaiver) -> String {
    let clean = AppliedWaiver {
        id: text(&applied.id).into_owned(),
        reason: text(&applied.reason).into_owned(),
        owner: text(&applied.owner).into_owned(),
        penalties: applied.penalties.iter().map(|(name, amount)| (text(name).into_owned(), *amount)).collect(),
        ..applied.clone()
    };
    json(&clean)
}

/// A waiver as its columns keep it.
pub(super) fn clean_waiver(waiver: &Waiver) -> Waiver {
    let clean = |given: &str| text(given).into_owned();
    Waiver {
        id: clean(&waiver.id),
        agreement: clean(&waiver.agreement),
        guarantee: waiver.guarantee.as_deref().map(clean),
        scope: Scope(waiver.scope.0.iter().map(|(name, member)| (clean(name), clean(member))).collect()),
        reason: clean(&waiver.reason),
        owner: clean(&waiver.owner),
        created_by: clean(&waiver.created_by),
        ..waiver.clone()
    }
}

pub(super) fn read_amounts(what: &'static str, text: Option<&str>) -> Result<Amounts, StoreError> {
    text.map_or(Ok(Amounts::new()), |text| read_json(what, text))
}

pub(super) fn read_score(numerator: Option<i64>, denominator: Option<i64>) -> Option<Score> {
    Score::new(numerator?, denominator?)
}

pub(super) fn read_digest(bytes: Option<&[u8]>) -> Result<Option<Digest>, StoreError> {
    let wrong =
        |bytes: &[u8]| StoreError::Corrupt { what: "hash of inputs", problem: format!("{} bytes", bytes.len()) };
    bytes.map(|bytes| Ok(Digest(bytes.try_into().map_err(|_| wrong(bytes))?))).transpose()
}

/// A joined provenance; states of before it was kept have none.
pub(super) fn read_provenance<'r, R>(row: &'r R) -> Result<std::sync::Arc<Provenance>, StoreError>
where
    R: sqlx::Row,
    Option<&'r str>: sqlx::Decode<'r, R::Database> + sqlx::Type<R::Database>,
    &'static str: sqlx::ColumnIndex<R>,
{
    let Some(engine) = column::<Option<&str>, _>(row, "engine")? else { return Ok(std::sync::Arc::default()) };
    let text = |name| Ok::<_, StoreError>(column::<Option<&str>, _>(row, name)?.map(str::to_owned));
    Ok(std::sync::Arc::new(Provenance {
        engine: engine.to_owned(),
        time_zones: text("time_zones")?.unwrap_or_default(),
        flows: text("flows")?,
        plugins: text("plugins")?.map_or(Ok(Default::default()), |json| read_json("plugins of a state", &json))?,
    }))
}

pub(super) fn json<T: Serialize>(value: &T) -> String {
    written(|out| write_json(value, out))
}

/// Appends the JSON text of a value.
pub(super) fn write_json<T: Serialize + ?Sized>(value: &T, out: &mut Vec<u8>) {
    serde_json::to_writer(out, value).expect("model values have text keys and no failing serialisers");
}

/// Text without NUL, which Postgres cannot hold; its picture `␀` stands instead. Without this one odd character
/// from a source would lose a whole commit.
pub(super) fn text(text: &str) -> Cow<'_, str> {
    if text.contains('\0') { Cow::Owned(text.replace('\0', "\u{2400}")) } else { Cow::Borrowed(text) }
}

/// The canonical scope, by which states are also found.
pub(super) fn scope(scope: &Scope) -> String {
    written(|out| write_scope(scope, out))
}

/// Appends the canonical scope.
pub(super) fn write_scope(scope: &Scope, out: &mut Vec<u8>) {
    if scope.0.iter().any(|(name, member)| name.contains('\0') || member.contains('\0')) {
        let clean = scope.0.iter().map(|(name, member)| (text(name), text(member)));
        return write_json(&clean.collect::<BTreeMap<_, _>>(), out);
    }
    write_json(&scope.0, out);
}

/// Appends numbers by name, as a JSON object.
pub(super) fn write_values(values: &BTreeMap<String, Option<f64>>, out: &mut Vec<u8>) {
    if values.keys().any(|name| name.contains('\0')) {
        let clean: BTreeMap<_, _> = values.iter().map(|(name, value)| (text(name), value)).collect();
        return write_json(&clean, out);
    }
    write_json(values, out);
}

/// Appends pieces of evidence, as a JSON array.
pub(super) fn write_evidence(evidence: &[Evidence], out: &mut Vec<u8>) {
    write_json(&*readable(evidence), out);
}

/// Data nested too deeply to be read back is kept as its JSON text.
fn readable(evidence: &[Evidence]) -> Cow<'_, [Evidence]> {
    if evidence.iter().all(|piece| !deeper_than(&piece.data, JSON_DEPTH_MAX)) {
        return Cow::Borrowed(evidence);
    }
    let readable = evidence.iter().map(|piece| {
        let mut piece = piece.clone();
        if deeper_than(&piece.data, JSON_DEPTH_MAX) {
            piece.data = Value::String(piece.data.to_string());
        }
        piece
    });
    Cow::Owned(readable.collect())
}

/// Whole states, as they are kept for delivery: a JSON array.
pub(super) fn states(states: &[&State]) -> String {
    let readable = states.iter().map(|state| match readable(&state.evidence) {
        Cow::Borrowed(_) => Cow::Borrowed(*state),
        Cow::Owned(evidence) => Cow::Owned(State { evidence, ..(*state).clone() }),
    });
    json(&readable.collect::<Vec<Cow<'_, State>>>())
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
    StateKind::parse(word).ok_or_else(|| unknown_word("kind of state", word))
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
