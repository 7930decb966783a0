//! `lesser-than`: one number is less than another.

use probity_sdk::prelude::*;
use probity_sdk::{Map, number};
use serde::{Deserialize, Serialize};
use status_conventions::value::shown;
use status_conventions::verdict::{self, Finding};

use crate::waiting;

/// Compares two numbers: true if A is less than B.
///
/// A and B are numbers of two messages of the same run, `msg.position` 1 for A and 2 for B, whichever comes first, or
/// fixed values: then the message needs no position, and with both fixed any message gives the result. The number is
/// `msg.payload.result` or the property of the payload that *Property* names, such as `result.temperature` or
/// `rows.0.age`. The message that completes the pair is sent on with `msg.payload.result` and the evidences of both.
///
/// What is no number, a text that only looks like one included, is an error, never a result; so is another position
/// than 1 and 2, and, for a caller who waits, a run that ends with one number only.
///
/// *Store evidences* adds `{id, key: "LESSER_THAN operation", value: [A, B], result, name, property}`; `name` is the
/// key again, where node-red-status has it.
///
/// A caller may send `lesserProperty`, `aValue`, `bValue` and `storeEvidences` in the body of the request.
#[derive(Clone, Config)]
pub struct LesserThan {
    /// Property of the payload that holds the number; empty for result.
    #[config(name = "lesserProperty", label = "Property", default = "", placeholder = "result")]
    property: String,
    /// Fixed value of A; empty for none.
    #[config(name = "aValue", label = "Fixed value A", default = "", lenient)]
    a: Option<f64>,
    /// Fixed value of B; empty for none.
    #[config(name = "bValue", label = "Fixed value B", default = "", lenient)]
    b: Option<f64>,
    /// Keep what was compared as evidence.
    #[config(name = "storeEvidences", label = "Store evidences", default = false)]
    store_evidences: bool,
}

/// What has come so far.
#[derive(Clone, Default, Serialize, Deserialize)]
struct Numbers {
    a: Option<f64>,
    b: Option<f64>,
    evidences: Vec<Value>,
}

#[derive(Clone, Copy, PartialEq)]
enum Position {
    A,
    B,
}

#[node(
    type = "lesser-than",
    category = "logic",
    color = "#DDAA99",
    icon = "fa-chevron-left",
    wants = ["payload", "req", "parts", "position"],
    capabilities = ["state", "evidence"]
)]
impl Node for LesserThan {
    fn process(&self, mut msg: Message, cx: &Context) -> Result<()> {
        let config = self.with_body(&msg)?;
        let came = config.came(&msg)?;
        let complete = waiting::step(&msg, cx, |so_far: Option<Numbers>| {
            let mut all = so_far.unwrap_or_default();
            all.a = came.a.or(all.a);
            all.b = came.b.or(all.b);
            all.evidences.extend(came.evidences.iter().cloned());
            Ok(match (config.a.or(all.a), config.b.or(all.b)) {
                (Some(a), Some(b)) if !config.waits(&msg)? => (None, Some((a, b, all.evidences))),
                _ => (Some(all), None),
            })
        })?;
        let Some((a, b, evidences)) = complete else { return Ok(()) };
        *verdict::evidences(verdict::payload(&mut msg)?) = evidences;
        config.send(msg, cx, a, b)
    }

    fn run_end(&self, last: Message, cx: &Context) -> Result<()> {
        waiting::nothing_left::<Numbers>(&last, cx)
    }
}

impl LesserThan {
    /// With what the caller sent; an empty text there is no value and leaves the configured one.
    fn with_body(&self, msg: &Message) -> Result<Self> {
        let mut config = self.over(msg)?;
        config.a = config.a.or(self.a);
        config.b = config.b.or(self.b);
        for fallback in [&self.property, "result"] {
            if config.property.is_empty() {
                config.property = fallback.to_owned();
            }
        }
        Ok(config)
    }

    /// What this message brings. Where its position has a fixed value it brings its evidences only.
    fn came(&self, msg: &Message) -> Result<Numbers> {
        let evidences = msg.payload().get("evidences").and_then(Value::as_array).cloned().unwrap_or_default();
        let mut came = Numbers { evidences, ..Numbers::default() };
        match self.position(msg)? {
            Some(Position::A) if self.a.is_none() => came.a = Some(self.number(msg)?),
            Some(Position::B) if self.b.is_none() => came.b = Some(self.number(msg)?),
            _ => {}
        }
        Ok(came)
    }

    /// Whether the message only adds to what the other position will complete: it stands where a value is fixed.
    fn waits(&self, msg: &Message) -> Result<bool> {
        Ok(match self.position(msg)? {
            Some(Position::A) => self.a.is_some() && self.b.is_none(),
            Some(Position::B) => self.b.is_some() && self.a.is_none(),
            None => false,
        })
    }

    /// Where the message stands; without `msg.position` where no value is fixed. `None` when both are.
    fn position(&self, msg: &Message) -> Result<Option<Position>> {
        match (self.a, self.b, msg.get("position")) {
            (Some(_), Some(_), _) => Ok(None),
            (_, _, Some(position)) if *position == 1 || *position == "1" => Ok(Some(Position::A)),
            (_, _, Some(position)) if *position == 2 || *position == "2" => Ok(Some(Position::B)),
            (_, _, Some(other)) if !other.is_null() => {
                bail!("msg.position is {}: 1 (A) or 2 (B) was expected", shown(other))
            }
            (None, Some(_), _) => Ok(Some(Position::A)),
            (Some(_), None, _) => Ok(Some(Position::B)),
            (None, None, _) => {
                bail!("msg.position is missing: 1 (A) or 2 (B) was expected, or a fixed value of A or B in the node")
            }
        }
    }

    /// The number of the message.
    fn number(&self, msg: &Message) -> Result<f64> {
        let mut found = Some(msg.payload());
        for name in self.property.split('.') {
            found = found.and_then(|value| match value {
                Value::Array(items) => items.get(name.parse::<usize>().ok()?),
                other => other.get(name),
            });
        }
        let place = format!("msg.payload.{}", self.property);
        match found {
            Some(Value::Number(number)) => number.as_f64().context(format_args!("{place} is no number")),
            None => bail!("{place} is missing: a number was expected"),
            Some(other) => bail!("{place} is {}: a number was expected", shown(other)),
        }
    }

    fn send(&self, mut msg: Message, cx: &Context, a: f64, b: f64) -> Result<()> {
        let result = a < b;
        verdict::conclude(&mut msg, result)?;
        if self.store_evidences {
            let finding = Finding::new(KEY, json!([number(a), number(b)]), result);
            let mut more = Map::new();
            more.insert("name".to_owned(), Value::from(KEY));
            more.insert("property".to_owned(), Value::from(self.property.clone()));
            verdict::store_with(&mut msg, cx, &finding, more)?;
        }
        cx.emit(0, msg)
    }
}

const KEY: &str = "LESSER_THAN operation";
