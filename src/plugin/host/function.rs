//! What a function node's code asks of the engine beside `node` and `context`, and what it did in a call, in order.

use std::collections::HashMap;
use std::sync::Arc;

use arcstr::ArcStr;
use serde::Deserialize;

use crate::model::value::ErrorValue;
use crate::model::{Msg, Object, Value};
use crate::plugin::bindings::probity::plugin::node::Emission as Sent;
use crate::plugin::bindings::probity::plugin::types::{Failure, Property, Value as Crossing};
use crate::runtime::context::Level;
use crate::runtime::{NodeError, Status};

use super::node::size_of;
use super::{Host, OVER, failure};

/// Ports that are none: errors for catch nodes, and calls of link in nodes.
const ERROR_PORT: u32 = u32::MAX;
const CALL_PORT: u32 = u32::MAX - 1;

/// Things one call may do beside emitting: statuses, errors, calls.
const ACTS_MAX: usize = 10_000;

/// Texts up to this many bytes cross with the message; longer ones, lists and objects when they are first read.
const INLINE_BYTES_MAX: usize = 64;

/// Something the code did.
#[derive(Debug)]
pub(in crate::plugin) enum Act {
    Emit {
        port: usize,
        msg: Msg,
    },
    Error {
        msg: Msg,
        error: NodeError,
    },
    Status(Status),
    Log(tracing::Level, String),
    /// Calls a link in node by id or name, and waits so long for what comes back.
    Link {
        id: u32,
        target: String,
        timeout_ms: u64,
        msg: Msg,
    },
}

/// What is left once a call is over.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(in crate::plugin) struct Report {
    /// The message that has more to come.
    pub(in crate::plugin) open: Option<u32>,
    /// Messages, numbered, that had more to come and now are done; 0 is the start.
    pub(in crate::plugin) closed: Vec<u32>,
    /// When the next timer is due, milliseconds since 1970; `Some(None)` when there is none any more.
    #[serde(deserialize_with = "some")]
    pub(in crate::plugin) due: Option<Option<f64>>,
    /// The code left something in its globals.
    pub(in crate::plugin) shared: bool,
}

fn some<'de, D: serde::Deserializer<'de>>(d: D) -> Result<Option<Option<f64>>, D::Error> {
    Option::<f64>::deserialize(d).map(Some)
}

/// A call under way.
#[derive(Debug, Default)]
pub(in crate::plugin) struct Doing {
    /// What was done, each with the number of the message it belongs to.
    pub(in crate::plugin) acts: Vec<(u32, Act)>,
    pub(in crate::plugin) report: Report,
    /// Why the node cannot start.
    pub(in crate::plugin) start_failed: Option<String>,
    origin: u32,
    bytes: u64,
    emitted: usize,
    others: usize,
    lines: usize,
}

impl Doing {
    pub(in crate::plugin) fn new(origin: u32) -> Doing {
        Doing { origin, ..Doing::default() }
    }

    /// Notes an act; too many are cut.
    pub(super) fn act(&mut self, act: Act) {
        self.others += 1;
        if self.others <= ACTS_MAX {
            self.acts.push((self.origin, act));
        }
    }

    pub(super) fn log(&mut self, level: tracing::Level, text: String, lines_max: usize) {
        self.lines += 1;
        if self.lines <= lines_max {
            self.acts.push((self.origin, Act::Log(level, text)));
        } else if self.lines == lines_max + 1 {
            let text = format!("more than {lines_max} lines of the log were cut (plugins.log_lines_max)");
            self.acts.push((self.origin, Act::Log(tracing::Level::WARN, text)));
        }
    }
}

/// Values that stay here, by the number of what stands for them.
#[derive(Default)]
pub(in crate::plugin) struct Handed {
    last: u32,
    kept: HashMap<u32, Value>,
    /// Of the call under way; gone with it unless the code keeps what stands for them.
    fresh: HashMap<u32, Value>,
}

impl Handed {
    fn add(&mut self, value: &Value) -> u32 {
        self.last = self.last.wrapping_add(1);
        self.fresh.insert(self.last, value.clone());
        self.last
    }

    fn get(&self, number: u32) -> Option<&Value> {
        self.fresh.get(&number).or_else(|| self.kept.get(&number))
    }

    /// The call is over.
    pub(in crate::plugin) fn settle(&mut self) {
        self.fresh.clear();
    }
}

/// The message as its code is given it: short values at once, others (`@`) when they are first read.
pub(in crate::plugin) fn properties(msg: &Msg) -> Vec<Property> {
    let cross = |(name, value): (&ArcStr, &Value)| {
        let text = match value {
            Value::Undefined => "@u".into(),
            Value::Null | Value::Bool(_) => value.to_json(),
            Value::Number(n) if n.is_finite() => value.to_json(),
            Value::Number(n) => format!("@n{n}"),
            Value::Date(ms) => format!("@d{ms}"),
            Value::String(text) if text.len() <= INLINE_BYTES_MAX => value.to_json(),
            _ => "@".into(),
        };
        Property { name: name.to_string(), value: Crossing::Json(text) }
    };
    msg.object().iter().map(cross).collect()
}

/// Whether a value holds something that JSON cannot carry there and back.
fn holds_more(value: &Value) -> bool {
    match value {
        Value::Handle(_) | Value::Date(_) | Value::Error(_) => true,
        Value::Array(items) => items.iter().any(holds_more),
        Value::Object(object) => object.iter().any(|(_, inner)| holds_more(inner)),
        _ => false,
    }
}

/// Bytes within JSON, made bytes again.
fn revived(value: Value) -> Value {
    match value {
        Value::Object(object) => {
            if let Some(bytes) = bytes_of(&object) {
                return Value::Bytes(bytes.into());
            }
            if !object.iter().any(|(_, inner)| matches!(inner, Value::Object(_) | Value::Array(_))) {
                return Value::Object(object);
            }
            let mut made = Object::with_capacity(object.len());
            for (name, inner) in object.iter() {
                made.insert(name.clone(), revived(inner.clone()));
            }
            made.into()
        }
        Value::Array(items) => Value::array(items.iter().cloned().map(revived).collect()),
        other => other,
    }
}

fn bytes_of(object: &Object) -> Option<Vec<u8>> {
    if object.len() != 2 || object.get("type").and_then(Value::as_str) != Some("Buffer") {
        return None;
    }
    let byte = |v: &Value| v.as_f64().filter(|n| n.fract() == 0.0 && (0.0..256.0).contains(n)).map(|n| n as u8);
    object.get("data")?.as_array()?.iter().map(byte).collect()
}

/// A key of a context, and the store that `#:(store)::key` names.
pub(super) fn store_and_key(text: &str) -> (Option<&str>, &str) {
    match text.strip_prefix("#:(").and_then(|rest| rest.split_once(")::")) {
        Some((store, key)) => (Some(store), key),
        None => (None, text),
    }
}

/// A value of JSON text as function nodes write it.
pub(super) fn from_text(text: &str) -> Result<Value, String> {
    let value = Value::from_json(text).map_err(|e| e.to_string())?;
    Ok(if text.contains(r#""type":"Buffer""#) { revived(value) } else { value })
}

impl Host {
    fn doing(&mut self) -> Option<&mut Doing> {
        self.call.as_deref_mut()?.function.as_deref_mut()
    }

    /// A value for the code to read.
    fn crossed(&mut self, value: &Value) -> Crossing {
        match value {
            Value::Undefined => Crossing::Json("@u".into()),
            Value::Number(n) if !n.is_finite() => Crossing::Json(format!("@n{n}")),
            Value::Date(ms) => Crossing::Json(format!("@d{ms}")),
            Value::Bytes(bytes) => Crossing::Bytes(bytes.to_vec()),
            Value::Handle(handle) => {
                let number = self.handed.add(value);
                match handle.object() {
                    Some(object) => Crossing::Json(format!("@r{number}:{}", Value::Object(object).to_json())),
                    None => Crossing::Json(format!("@h{number}")),
                }
            }
            _ if holds_more(value) => {
                let number = self.handed.add(value);
                Crossing::Json(format!("@r{number}:{}", value.to_json()))
            }
            _ => Crossing::Json(value.to_json()),
        }
    }

    pub(super) fn asked(&mut self, what: &str, given: &str) -> wasmtime::Result<Result<Crossing, Failure>> {
        let grace = self.facts.grace_ticks;
        if what == "late" {
            return Ok(Ok(Crossing::Json((self.ticks < grace).to_string())));
        }
        if self.call()?.function.is_none() {
            return Ok(Err(failure("only function nodes may ask this", super::REFUSED)));
        }
        let done = || Ok(Ok(Crossing::Json("null".into())));
        match what {
            "property" => {
                let value = self.call()?.msg.get(given).cloned().unwrap_or_default();
                let max = self.facts.all.input_bytes_max;
                let value = self.crossed(&value);
                if size_of(&value) as u64 > max {
                    let text = format!("msg.{given} is larger than {max} bytes (plugins.input_bytes_max)");
                    return Ok(Err(failure(text, OVER)));
                }
                Ok(Ok(value))
            }
            "origin" => {
                if let Some(doing) = self.doing() {
                    doing.origin = given.parse().unwrap_or(0);
                }
                done()
            }
            "after" => {
                let report = serde_json::from_str(given);
                if let (Some(doing), Ok(report)) = (self.doing(), report) {
                    doing.report = report;
                }
                done()
            }
            "start-failed" => {
                if let Some(doing) = self.doing() {
                    doing.start_failed = Some(serde_json::from_str(given).unwrap_or_default());
                }
                done()
            }
            "keep" | "drop" => {
                for number in serde_json::from_str::<Vec<u32>>(given).unwrap_or_default() {
                    if what == "drop" {
                        self.handed.kept.remove(&number);
                    } else if let Some(value) = self.handed.fresh.remove(&number) {
                        self.handed.kept.insert(number, value);
                    }
                }
                done()
            }
            "context-keys" => {
                let (store, level) = store_and_key(given);
                let level = match level {
                    "0" => Level::Node,
                    "1" => Level::Flow,
                    _ => Level::Global,
                };
                Ok(match self.call()?.place().context_keys(level, store) {
                    Ok(keys) => {
                        let keys = Value::array(keys.into_iter().map(Value::from).collect());
                        Ok(Crossing::Json(keys.to_json()))
                    }
                    Err(error) => Err(Failure { message: error.message, code: error.code }),
                })
            }
            "env" => {
                let name: String = serde_json::from_str(given).unwrap_or_default();
                let value = self.call()?.place().env(&name);
                Ok(Ok(self.crossed(&value)))
            }
            "jsonata" => {
                let evaluate = self.facts.surroundings.evaluate_typed;
                let given: serde_json::Result<(String, Object)> = serde_json::from_str(given);
                let Ok((text, msg)) = given else { return Ok(Err(failure("needs an object as message", "EINVAL"))) };
                let value = evaluate("jsonata", &text, &Msg::from_object(msg), self.call()?.place());
                Ok(match value {
                    Ok(value) => Ok(self.crossed(&value)),
                    Err(error) => Err(Failure { message: error.message, code: error.code }),
                })
            }
            _ => Ok(Err(failure(format!("unknown question {what}"), "EINVAL"))),
        }
    }

    pub(super) fn emit_of_function(&mut self, sent: Sent, bytes_max: u64, emits_max: u32) -> Result<(), Failure> {
        let size: usize = sent.set.iter().map(|p| p.name.len() + size_of(&p.value)).sum();
        let Some(call) = self.call.as_deref_mut() else { return Ok(()) };
        let Some(doing) = call.function.as_deref_mut() else { return Ok(()) };
        if doing.emitted >= emits_max as usize {
            return Err(failure(format!("one call sends at most {emits_max} messages (plugins.emits_max)"), OVER));
        }
        if doing.bytes + size as u64 > bytes_max {
            let text = format!("one call sends at most {bytes_max} bytes (plugins.output_bytes_default)");
            return Err(failure(text, OVER));
        }
        let mut msg =
            if sent.keep { call.msg.clone() } else { Msg::from_object(Object::with_capacity(sent.set.len())) };
        let mut more = Vec::new();
        for Property { name, value } in sent.set {
            let value = match value {
                Crossing::Bytes(bytes) => Value::Bytes(bytes.into()),
                Crossing::Json(text) if text.starts_with('@') => special(&self.handed, &text),
                Crossing::Json(text) if name.is_empty() => {
                    more = serde_json::from_str::<Vec<String>>(&text).unwrap_or_default();
                    continue;
                }
                Crossing::Json(text) => from_text(&text).map_err(|e| failure(format!("msg.{name}: {e}"), "EINVAL"))?,
            };
            msg.set(ArcStr::from(name), value);
        }
        for name in sent.delete {
            msg.remove(&name);
        }
        doing.bytes += size as u64;
        doing.emitted += 1;
        let mut more = more.into_iter();
        let act = match sent.port {
            ERROR_PORT => {
                let message = more.next().unwrap_or_default();
                Act::Error { msg, error: NodeError { code: more.next(), ..NodeError::new(message) } }
            }
            CALL_PORT => Act::Link {
                id: more.next().and_then(|n| n.parse().ok()).unwrap_or(0),
                target: more.next().unwrap_or_default(),
                timeout_ms: more.next().and_then(|n| n.parse::<f64>().ok()).unwrap_or(5_000.0) as u64,
                msg,
            },
            port => Act::Emit { port: port as usize, msg },
        };
        if sent.port == ERROR_PORT || sent.port == CALL_PORT {
            doing.act(act);
        } else {
            doing.acts.push((doing.origin, act));
        }
        Ok(())
    }
}

/// What JSON cannot say.
fn special(handed: &Handed, text: &str) -> Value {
    let rest = text.get(2..).unwrap_or_default();
    match text.as_bytes().get(1) {
        Some(b'h') => rest.parse().ok().and_then(|n| handed.get(n).cloned()).unwrap_or_default(),
        Some(b'e') => {
            let parts: HashMap<String, String> = serde_json::from_str(rest).unwrap_or_default();
            let part = |key: &str| parts.get(key).map(|text| ArcStr::from(text.as_str()));
            Value::Error(Arc::new(ErrorValue {
                name: part("name").unwrap_or_else(|| arcstr::literal!("Error")),
                message: part("message").unwrap_or_default(),
                stack: part("stack"),
                code: part("code"),
            }))
        }
        Some(b'd') => Value::Date(rest.parse().unwrap_or(f64::NAN)),
        Some(b'n') => Value::Number(match rest {
            "Infinity" | "inf" => f64::INFINITY,
            "-Infinity" | "-inf" => f64::NEG_INFINITY,
            _ => f64::NAN,
        }),
        _ => Value::Undefined,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::value::date_to_iso;

    #[test]
    fn short_values_cross_at_once_and_others_when_they_are_read() {
        let text = format!(r#"{{"a":1,"b":"x","c":[1],"d":"{}","e":null}}"#, "y".repeat(100));
        let crossed = properties(&Msg::from_object(serde_json::from_str::<Object>(&text).unwrap()));
        let texts: Vec<_> = crossed.into_iter().map(|p| p.value).collect();
        let json = |text: &str| Crossing::Json(text.into());
        assert_eq!(texts, [json("1"), json("\"x\""), json("@"), json("@"), json("null")]);
    }

    #[test]
    fn buffers_within_json_are_bytes_again() {
        let value =
            from_text(r#"{"a":[{"type":"Buffer","data":[1,255]}],"b":{"type":"Buffer","data":[300]}}"#).unwrap();
        assert!(matches!(value.get("a").get("0"), Value::Bytes(bytes) if *bytes == vec![1, 255]));
        assert!(matches!(value.get("b"), Value::Object(_)));
    }

    #[test]
    fn a_key_names_its_store() {
        assert_eq!(store_and_key("a.b"), (None, "a.b"));
        assert_eq!(store_and_key("#:(disk)::a.b"), (Some("disk"), "a.b"));
        assert_eq!(store_and_key("#:(disk"), (None, "#:(disk"));
    }

    #[test]
    fn a_date_that_is_handed_over_stays_one() {
        let special = |text: &str| special(&Handed::default(), text);
        assert!(matches!(special("@d0"), Value::Date(ms) if date_to_iso(ms) == "1970-01-01T00:00:00.000Z"));
        assert!(matches!(special("@nInfinity"), Value::Number(n) if n == f64::INFINITY));
        assert!(special("@h7").is_undefined());
    }
}
