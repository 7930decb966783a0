//! What a collector or flow answered, as samples: values that are none become [`SampleValue::Missing`] with a reason.

use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan};
use serde_json::{Map, Value, json};

use super::document::kind;
use super::queries::Query;
use super::terms::member;
use super::time::instant;
use super::windows::local;
use crate::expr;
use crate::model::score::Score;
use crate::model::state::{Coverage, Evidence, Sample, SampleValue, Scope, Window};

/// Reads an answer to `query`: `{computations: [{scope, period, value, evidences, coverage?}]}`, a bare list of
/// computations, one computation, or a bare value. `source` (the collector's URL, the flow) and `now` go into the
/// evidence. The samples' `run` is left for the caller to fill in.
///
/// A computation's scope is cut to the query's dimensions; where it does not name one, the query's member stands.
/// Without a period it is of the query's window.
///
/// # Errors
/// One sentence when the answer as a whole cannot be read. A single computation that cannot be read becomes a sample
/// without value that says why.
pub fn samples(answer: &Value, query: &Query, source: &str, now: Timestamp) -> Result<Vec<Sample>, String> {
    let reading = Reading { query, source, now };
    match answer {
        Value::Array(list) => Ok(list.iter().map(|c| reading.computation(c)).collect()),
        Value::Object(map) => match map.get("computations") {
            Some(Value::Array(list)) => Ok(list.iter().map(|c| reading.computation(c)).collect()),
            Some(other) => Err(format!("{source} answered `computations` with {} instead of a list", kind(other))),
            None if map.contains_key("value") => Ok(vec![reading.computation(answer)]),
            None => {
                // What a collector says that failed with a status of success.
                let said = ["errorMessage", "message"].iter().find_map(|key| map.get(*key)?.as_str());
                let said: String = said.map(|said| format!(": {said}").chars().take(200).collect()).unwrap_or_default();
                Err(format!("{source} answered an object with neither `computations` nor `value`{said}"))
            }
        },
        // A bare list of values would be a list of computations without scope; a bare value is one.
        scalar => Ok(vec![reading.bare(scalar)]),
    }
}

struct Reading<'a> {
    query: &'a Query,
    source: &'a str,
    now: Timestamp,
}

impl Reading<'_> {
    fn bare(&self, given: &Value) -> Sample {
        let mut evidence = Vec::new();
        let value = self.value(Some(given), &mut evidence);
        let scope = self.query.scope.clone();
        let (scope, value) = self.attributable(scope, value);
        Sample {
            score: beyond_binary(Some(given), &value),
            ..self.sample(scope, self.query.window.clone(), value, evidence, None)
        }
    }

    fn computation(&self, computation: &Value) -> Sample {
        let Value::Object(map) = computation else { return self.bare(computation) };
        let mut evidence = self.evidence(map.get("evidences").or_else(|| map.get("evidence")));
        let mut value = self.value(map.get("value"), &mut evidence);
        let scope = self.scope(map.get("scope"), &mut value);
        let window = self.window(map.get("period"), &mut value);
        let coverage = match coverage(map.get("coverage")) {
            Ok(coverage) => coverage,
            Err(problem) => {
                value = missing(problem);
                None
            }
        };
        let score = score(map.get("score"), map.get("value"), &mut value);
        if let (SampleValue::Number(n), None, Some(Value::Bool(true))) = (&value, score, map.get("rounded"))
            && n.fract() == 0.0
        {
            value = SampleValue::Rounded { rounded: *n };
        }
        if let Some(Coverage { seen: 0, expected: 1.. }) = coverage
            && !matches!(value, SampleValue::Missing { .. })
        {
            value = missing(format!("none of the {} expected was seen", coverage.map_or(0, |c| c.expected)));
        }
        let (scope, value) = self.attributable(scope, value);
        let score = score.or_else(|| beyond_binary(map.get("value"), &value));
        Sample { score, ..self.sample(scope, window, value, evidence, coverage) }
    }

    fn sample(
        &self,
        scope: Scope,
        window: Window,
        value: SampleValue,
        evidence: Vec<Evidence>,
        coverage: Option<Coverage>,
    ) -> Sample {
        Sample { metric: self.query.metric.clone(), scope, window, value, evidence, coverage, score: None, run: None }
    }

    /// A computation that leaves a `*` unnamed is of no known member, so its value counts for none.
    fn attributable(&self, scope: Scope, value: SampleValue) -> (Scope, SampleValue) {
        match scope.0.iter().find(|(_, member)| *member == "*") {
            Some((key, _)) => {
                let reason = format!("{} answered without naming the {key} it is about", self.source);
                (scope, missing(reason))
            }
            None => (scope, value),
        }
    }

    fn value(&self, value: Option<&Value>, evidence: &mut Vec<Evidence>) -> SampleValue {
        match value {
            None => missing(format!("{} answered without a value", self.source)),
            Some(Value::Null) => missing(format!("{} answered null", self.source)),
            Some(Value::Bool(b)) => SampleValue::Bool(*b),
            Some(Value::Number(number)) => match number.as_f64().filter(|n| n.is_finite()) {
                Some(n) => SampleValue::Number(n),
                None => missing(format!("{} answered {number}, which is no finite number", self.source)),
            },
            Some(Value::String(text)) => self.text(text, evidence),
            Some(other) => missing(format!("{} answered {} instead of a value", self.source, kind(other))),
        }
    }

    fn text(&self, text: &str, evidence: &mut Vec<Evidence>) -> SampleValue {
        let trimmed = text.trim();
        if trimmed.is_empty() {
            return missing(format!("{} answered an empty text", self.source));
        }
        if ["NaN", "null", "undefined", "Infinity", "+Infinity", "-Infinity"].contains(&trimmed) {
            return missing(format!("{} answered {trimmed}", self.source));
        }
        match expr::numeric(trimmed) {
            Some(number) => {
                evidence.push(self.piece(json!({
                    "note": "the value came as a text and was read as a number",
                    "text": text,
                })));
                SampleValue::Number(number)
            }
            None => SampleValue::Text(text.to_owned()),
        }
    }

    fn evidence(&self, evidence: Option<&Value>) -> Vec<Evidence> {
        match evidence {
            None | Some(Value::Null) => Vec::new(),
            Some(Value::Array(list)) => list.iter().map(|data| self.piece(data.clone())).collect(),
            Some(single) => vec![self.piece(single.clone())],
        }
    }

    fn piece(&self, data: Value) -> Evidence {
        Evidence { metric: self.query.metric.clone(), source: self.source.to_owned(), collected_at: self.now, data }
    }

    fn scope(&self, scope: Option<&Value>, value: &mut SampleValue) -> Scope {
        let mut found = self.query.scope.clone();
        match scope {
            None | Some(Value::Null) => {}
            Some(Value::Object(map)) => {
                for (key, slot) in &mut found.0 {
                    match map.get(key) {
                        None | Some(Value::Null) => {}
                        Some(given) => match member(given) {
                            Some(text) => *slot = text,
                            None => *value = missing(format!("its scope's {key} is {}", kind(given))),
                        },
                    }
                }
            }
            Some(other) => *value = missing(format!("its scope is {} instead of an object", kind(other))),
        }
        found
    }

    fn window(&self, period: Option<&Value>, value: &mut SampleValue) -> Window {
        let window = &self.query.window;
        let none = Map::new();
        let period = match period {
            None | Some(Value::Null) => &none,
            Some(Value::Object(period)) => period,
            Some(other) => {
                *value = missing(format!("its period is {} instead of an object", kind(other)));
                return window.clone();
            }
        };
        let from = bound(period.get("from"), window.from, &self.query.time_zone);
        let to = bound(period.get("to"), window.to, &self.query.time_zone);
        let (from, to) = match (from, to) {
            (Ok(from), Ok(to)) => (from, to),
            (Err(problem), _) | (_, Err(problem)) => {
                *value = missing(problem);
                return window.clone();
            }
        };
        // It was asked in milliseconds, and need not know more.
        let same = |one: Timestamp, other: Timestamp| one.as_millisecond() == other.as_millisecond();
        // Governify closes a window one millisecond or one second before the next; it means the same window.
        let same_end = same(to, window.to)
            || [1.millisecond(), 1.second()].iter().any(|s| to.checked_add(*s).is_ok_and(|end| same(end, window.to)));
        if same(from, window.from) && same_end {
            return window.clone();
        }
        let zone = &self.query.time_zone;
        Window { from, to, from_local: local(from, zone), to_local: local(to, zone) }
    }
}

fn missing(reason: String) -> SampleValue {
    SampleValue::Missing { missing: reason }
}

/// A bound of a period: text, or milliseconds since 1970; the window's own where there is none.
fn bound(value: Option<&Value>, default: Timestamp, zone: &TimeZone) -> Result<Timestamp, String> {
    match value {
        None | Some(Value::Null) => Ok(default),
        Some(Value::String(text)) => {
            instant(text, zone).ok_or_else(|| format!("its period has the bound \"{text}\", which is no date"))
        }
        Some(Value::Number(number)) => number
            .as_i64()
            .and_then(|ms| Timestamp::from_millisecond(ms).ok())
            .ok_or_else(|| format!("its period has the bound {number}, which is no instant")),
        Some(other) => Err(format!("its period has {} as a bound", kind(other))),
    }
}

/// The computation's exact fraction. It is the value where none is given, and must agree with one that is, or it would not
/// be known which of the two was meant.
fn score(score: Option<&Value>, given: Option<&Value>, value: &mut SampleValue) -> Option<Score> {
    let score = score.filter(|score| !score.is_null())?;
    let part = |key: &str| score.get(key).and_then(Value::as_i64);
    let (Some(numerator), Some(denominator)) = (part("numerator"), part("denominator")) else {
        *value = missing("its score is not {numerator, denominator} with two whole numbers".into());
        return None;
    };
    let Some(found) = Score::new(numerator, denominator) else {
        *value = missing(match (numerator, denominator) {
            (0, 0) => "nothing was counted: its score is 0/0".into(),
            _ => format!("its score is {numerator}/{denominator}, whose denominator is not positive"),
        });
        return None;
    };
    match (given.is_none_or(Value::is_null), &*value) {
        (true, _) => *value = SampleValue::Number(found.value()),
        (false, SampleValue::Number(n)) if (n - found.value()).abs() <= 1e-9 * found.value().abs().max(1.0) => {
            *value = SampleValue::Number(found.value());
        }
        (false, SampleValue::Number(n)) => {
            *value = missing(format!("its value {} is not its score {}", expr::number_text(*n), found.text()));
            return None;
        }
        (false, SampleValue::Bool(b)) if f64::from(u8::from(*b)) == found.value() => return None,
        (false, SampleValue::Bool(b)) => {
            *value = missing(format!("its value {b} is not its score {}", found.text()));
            return None;
        }
        (false, SampleValue::Text(text)) => {
            *value = missing(format!("its value '{text}' is not its score {}", found.text()));
            return None;
        }
        _ => return None,
    }
    Some(found)
}

/// What is written, exactly, where the binary number is read as another: 9007199254740993 is not 9007199254740992, and as a
/// text 99.9999999999999999 is not 100.
fn beyond_binary(given: Option<&Value>, value: &SampleValue) -> Option<Score> {
    let SampleValue::Number(nearest) = value else { return None };
    match given? {
        Value::Number(number) => {
            // Smaller whole numbers, nearly all there are, are the same as binary ones.
            let whole = number.as_i64().filter(|whole| whole.unsigned_abs() > 1 << 53)?;
            expr::written(&whole.to_string(), *nearest)
        }
        Value::String(text) => expr::written(text.trim(), *nearest),
        _ => None,
    }
}

fn coverage(value: Option<&Value>) -> Result<Option<Coverage>, String> {
    let value = match value {
        None | Some(Value::Null) => return Ok(None),
        Some(value) => value,
    };
    let count = |key: &str| {
        let number = value.get(key)?;
        number
            .as_u64()
            .or_else(|| number.as_f64().filter(|n| *n >= 0.0 && n.fract() == 0.0 && *n < 1e15).map(|n| n as u64))
    };
    match (count("seen"), count("expected")) {
        (Some(seen), Some(expected)) if seen <= expected => Ok(Some(Coverage { seen, expected })),
        (Some(seen), Some(expected)) => Err(format!("its coverage says {seen} seen of {expected} expected")),
        _ => Err("its coverage is not {seen, expected} with two counts".into()),
    }
}
