//! `filter-by`: lets a message pass whose payload has a value, or a date that is recent.

use jiff::{Span, Timestamp, tz::TimeZone};
use probity_sdk::prelude::*;
use status_conventions::value::shown;

use crate::moment;

/// Lets a message pass whose payload has the value in the attribute; all others leave by the second output.
///
/// The types *Clasification*, *Importance*, *ContentType*, *State*, *ActivityPipe*, *AssetPipe* and *ActorPipe* compare
/// `msg.payload.<attribute>` with *Value*: case counts, and a number or a boolean is equal to its text. A payload without
/// the attribute leaves by the second output.
///
/// *DateFromToday* lets pass what is not older than *Value* months, counted back from now in calendar months (UTC; a
/// month before 31 March is the last of February). A date that is missing or cannot be read is an error: how old it is,
/// is unknown.
///
/// Wire the second output to an answer where an HTTP caller waits.
///
/// A caller may send `valueType`, `attribute` and `value` in the body of the request.
#[derive(Clone, Config)]
pub struct FilterBy {
    /// What is compared.
    #[config(
        name = "valueType",
        label = "Type",
        default = "Clasification",
        placeholder = "Clasification, Importance, ContentType, DateFromToday, State, ActivityPipe, AssetPipe or ActorPipe"
    )]
    value_type: String,
    /// Property of the payload.
    #[config(label = "Attribute", default = "")]
    attribute: String,
    /// The value it must have; for DateFromToday the number of months.
    #[config(label = "Value", default = "")]
    value: Value,
    /// As node-red-status bc5d353 has it: a number or boolean is not equal to its text, and a date that is missing or
    /// cannot be read is held back, without an error.
    #[config(label = "As in node-red-status", default = false, config_only)]
    compat: bool,
}

/// The types that compare for equality. The first is spelled as flows have it.
const EQUAL: [&str; 8] =
    ["Clasification", "Classification", "Importance", "ContentType", "State", "ActivityPipe", "AssetPipe", "ActorPipe"];

#[node(
    type = "filter-by",
    category = "filtering",
    color = "#DDAA99",
    icon = "fa-filter",
    outputs = ["passes", "held back"],
    wants = ["payload", "req"],
    capabilities = ["clock"]
)]
impl Node for FilterBy {
    fn process(&self, msg: Message, cx: &Context) -> Result<()> {
        let config = self.over(&msg)?;
        let payload = msg.payload();
        ensure!(!payload.is_null(), "msg.payload is undefined or null: there is nothing to filter by");
        let found = payload.get(&config.attribute);
        let passes = match config.value_type.as_str() {
            "DateFromToday" => config.recent(found, cx)?,
            known if EQUAL.contains(&known) => found.is_some_and(|found| config.equal(found)),
            other => bail!("Invalid filter type \"{other}\": {} or DateFromToday was expected", EQUAL.join(", ")),
        };
        cx.emit(u32::from(!passes), msg)
    }
}

impl FilterBy {
    fn equal(&self, found: &Value) -> bool {
        let (Value::Number(_) | Value::Bool(_), Value::String(text), false) = (found, &self.value, self.compat) else {
            return same(found, &self.value);
        };
        let found = found.to_string();
        *text == found
    }

    fn recent(&self, found: Option<&Value>, cx: &Context) -> Result<bool> {
        let limit = self.limit(cx)?;
        let date = found.and_then(moment::milliseconds);
        match date {
            Some(date) => Ok(date >= limit),
            None if self.compat => Ok(false),
            None => bail!(
                "msg.payload.{} is {}: a date such as 2024-03-01T10:00:00Z was expected",
                self.attribute,
                found.map_or("undefined".to_owned(), shown)
            ),
        }
    }

    /// The earliest moment that is recent.
    fn limit(&self, cx: &Context) -> Result<i64> {
        let months = months(&self.value);
        let months =
            months.context(format_args!("value is {}: a number of months was expected", shown(&self.value)))?;
        let before = |now: i64| {
            let span = Span::new().try_months(months).ok()?;
            let now = Timestamp::from_millisecond(now).ok()?.to_zoned(TimeZone::UTC);
            Some(now.checked_sub(span).ok()?.timestamp().as_millisecond())
        };
        let limit = i64::try_from(cx.now_ms()).ok().and_then(before);
        limit.context(format_args!("value is {months}: so many months ago there was no calendar"))
    }
}

/// The whole number a text begins with.
fn months(value: &Value) -> Option<i64> {
    match value {
        Value::Number(number) => number.as_f64().map(|months| months.trunc() as i64),
        Value::String(text) => {
            let text = text.trim();
            let sign = usize::from(text.starts_with(['-', '+']));
            let digits = text[sign..].bytes().take_while(u8::is_ascii_digit).count();
            text[..sign + digits].parse().ok()
        }
        _ => None,
    }
}

fn same(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Number(a), Value::Number(b)) => a.as_f64() == b.as_f64(),
        (Value::Object(_) | Value::Array(_), _) => false,
        _ => a == b,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn months_are_the_number_a_text_begins_with() {
        for (text, expected) in [("3", 3), ("3 months", 3), ("-2", -2), ("2.9", 2), (" 4", 4)] {
            assert_eq!(months(&json!(text)), Some(expected), "{text}");
        }
        assert_eq!(months(&json!(2.9)), Some(2));
        for value in [json!(""), json!("x"), json!("-"), json!(null), json!([1])] {
            assert_eq!(months(&value), None, "{value}");
        }
    }
}
