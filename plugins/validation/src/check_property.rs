//! `check-property`: a property has the value expected.

use probity_sdk::prelude::*;
use status_conventions::value::{kind, shown};
use status_conventions::verdict::{self, Finding};

/// Checks that a property of the payload has the value expected.
///
/// Looks at `msg.payload[property]`, or, where the payload is a list, at the element `msg.parts.index` of it, and sets
/// `msg.payload.result`. Where the payload lacks the property and a node before has set `msg.array`, `msg.parts.index`,
/// `msg.propertyToCheck` and `msg.expectedValue`, that element of the list is checked.
///
/// Values are equal if they are the same text, number, boolean or null, or lists and objects of equal values. An
/// expected text also equals the number, boolean or null that it spells: the editor knows only texts.
///
/// A property that is not there is an error, for its value is unknown.
///
/// *Store evidences* adds `{id, key: property, value, result}` to `msg.payload.evidences`. A caller may send
/// `propertyToCheck`, `expectedValue` and `storeEvidences` in the body of the request.
#[derive(Clone, Config)]
pub struct CheckProperty {
    /// Name of the property.
    #[config(name = "propertyToCheck", label = "Property", default = "")]
    property: String,
    /// The value it shall have.
    #[config(name = "expectedValue", label = "Expected value", default = "")]
    expected: Value,
    /// Keep what was found as evidence.
    #[config(name = "storeEvidences", label = "Store evidences", default = false)]
    store_evidences: bool,
    /// As node-red-status bc5d353 has it: a property that is not there gives false.
    #[config(label = "As in node-red-status", default = false, config_only)]
    compat: bool,
}

/// What is checked.
struct Checked {
    property: String,
    /// `None` when it is not there.
    value: Option<Value>,
    expected: Value,
}

#[node(
    type = "check-property",
    category = "validation",
    color = "#DDAA99",
    icon = "fa-check-square-o",
    wants = ["payload", "req", "parts", "array", "propertyToCheck", "expectedValue"],
    capabilities = ["evidence"]
)]
impl Node for CheckProperty {
    fn process(&self, mut msg: Message, cx: &Context) -> Result<()> {
        let config = self.over(&msg)?;
        let checked = config.find(&msg)?;
        let finding = match checked.value {
            Some(value) => {
                let result = equal(&value, &checked.expected);
                Finding::new(checked.property, value, result)
            }
            None if self.compat => Finding::new(checked.property, "Property not found", false),
            None => bail!(
                "{:?} is not there, so whether it is {} is unknown; what there is: {}",
                checked.property,
                shown(&checked.expected),
                names(msg.payload())
            ),
        };
        let result = finding.result.clone();
        verdict::payload(&mut msg)?.insert("result".to_owned(), result);
        if config.store_evidences {
            verdict::store(&mut msg, cx, &finding)?;
        }
        cx.emit(0, msg)
    }
}

impl CheckProperty {
    fn find(&self, msg: &Message) -> Result<Checked> {
        let payload = msg.payload();
        let holder = match payload {
            Value::Object(_) => payload,
            Value::Array(items) => match index(msg) {
                Some(at) => items.get(at).context(format_args!(
                    "msg.parts.index is {at}, beyond the {} elements of msg.payload",
                    items.len()
                ))?,
                None => payload,
            },
            other => bail!("msg.payload is {}: an object with the property was expected", kind(other)),
        };
        let value = of(holder, &self.property).cloned();
        if value.is_none()
            && let Some(listed) = listed(msg)?
        {
            return Ok(listed);
        }
        ensure!(
            !self.property.is_empty() || value.is_some(),
            "propertyToCheck is empty: a property's name was expected"
        );
        Ok(Checked { property: self.property.clone(), value, expected: self.expected.clone() })
    }
}

/// What a node before asks to be checked in `msg.array`.
fn listed(msg: &Message) -> Result<Option<Checked>> {
    let (Some(list), Some(expected), Some(at)) = (msg.get("array"), msg.get("expectedValue"), index(msg)) else {
        return Ok(None);
    };
    let property = msg.text("propertyToCheck").context("msg.propertyToCheck is not a text")?.to_owned();
    let Some(element) = list.get(at) else {
        bail!("msg.parts.index is {at}, which msg.array does not have");
    };
    Ok(Some(Checked { value: of(element, &property).cloned(), property, expected: expected.clone() }))
}

fn index(msg: &Message) -> Option<usize> {
    usize::try_from(msg.at("parts.index")?.as_u64()?).ok()
}

/// A property of an object, an element of a list.
fn of<'v>(holder: &'v Value, name: &str) -> Option<&'v Value> {
    match holder {
        Value::Array(items) => items.get(name.parse::<usize>().ok()?),
        other => other.get(name),
    }
}

/// The names of what a payload holds, for a message.
fn names(payload: &Value) -> String {
    let names: Vec<&str> = payload.as_object().into_iter().flatten().map(|(name, _)| name.as_str()).take(20).collect();
    if names.is_empty() { "nothing".to_owned() } else { names.join(", ") }
}

fn equal(value: &Value, expected: &Value) -> bool {
    match (value, expected) {
        (Value::String(value), Value::String(expected)) => value == expected,
        (Value::Number(_) | Value::Bool(_) | Value::Null, Value::String(spelt)) => {
            let spelt = spelt.trim();
            match value {
                Value::Number(number) => spelt.parse::<f64>().is_ok_and(|spelt| number.as_f64() == Some(spelt)),
                Value::Bool(flag) => spelt == if *flag { "true" } else { "false" },
                _ => spelt == "null",
            }
        }
        (Value::Number(value), Value::Number(expected)) => value.as_f64() == expected.as_f64(),
        (Value::Array(value), Value::Array(expected)) => {
            value.len() == expected.len() && value.iter().zip(expected).all(|(value, expected)| same(value, expected))
        }
        (Value::Object(value), Value::Object(expected)) => {
            value.len() == expected.len()
                && value.iter().all(|(name, value)| expected.get(name).is_some_and(|expected| same(value, expected)))
        }
        _ => value == expected,
    }
}

/// Inside lists and objects nothing comes from the editor: a text is a text.
fn same(value: &Value, expected: &Value) -> bool {
    (value.is_string() || !expected.is_string()) && equal(value, expected)
}
