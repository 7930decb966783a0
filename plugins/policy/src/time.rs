//! Rego's `time.*` as far as it needs no time zones but UTC: regorus takes the machine's clock, which a node has not.
//!
//! <https://www.openpolicyagent.org/docs/policy-reference/builtins/time>

use std::cell::Cell;

use anyhow::{Error, Result, anyhow, bail};
use jiff::Timestamp;
use jiff::civil::{Date, Weekday};
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Span};
use regorus::{Engine, Value};

thread_local! {
    /// Nanoseconds since 1970 at the evaluation that is going on; one time for all of it, as in OPA.
    static NOW: Cell<Option<i64>> = const { Cell::new(None) };
}

/// Sets the time of the evaluations that follow.
pub fn set_now(ms: Option<u64>) {
    NOW.set(ms.and_then(|ms| i64::try_from(ms).ok()?.checked_mul(1_000_000)));
}

type Function = fn(&[Value]) -> Result<Value>;

const FUNCTIONS: [(&str, u8, Function); 7] = [
    ("time.now_ns", 0, |_| match NOW.get() {
        Some(now) => Ok(now.into()),
        None => bail!("the time is not known here"),
    }),
    ("time.parse_rfc3339_ns", 1, |arguments| nanoseconds(text(&arguments[0])?.parse().map_err(Error::msg)?)),
    ("time.parse_duration_ns", 1, |arguments| Ok(duration(text(&arguments[0])?)?.into())),
    ("time.date", 1, |arguments| {
        let date = moment(&arguments[0])?.date();
        Ok(list(&[date.year().into(), date.month().into(), date.day().into()]))
    }),
    ("time.clock", 1, |arguments| {
        let time = moment(&arguments[0])?.time();
        Ok(list(&[time.hour().into(), time.minute().into(), time.second().into()]))
    }),
    ("time.weekday", 1, |arguments| Ok(weekday(moment(&arguments[0])?.weekday()).into())),
    ("time.add_date", 4, add_date),
];

/// Adds the functions. A function that fails is undefined where `failures_are_undefined`, else it ends the evaluation.
pub fn add_to(engine: &mut Engine, failures_are_undefined: bool) {
    for (name, arguments, function) in FUNCTIONS {
        let call = move |values: Vec<Value>| match function(&values) {
            Err(_) if failures_are_undefined => Ok(Value::Undefined),
            Err(error) => Err(anyhow!("{name}: {error}")),
            found => found,
        };
        engine.add_extension(name.to_owned(), arguments, Box::new(call)).expect("each name is added once");
    }
}

fn text(value: &Value) -> Result<&str> {
    value.as_string().map(AsRef::as_ref).map_err(|_| anyhow!("a text was expected, not {value}"))
}

fn integer(value: &Value) -> Result<i64> {
    value.as_i64().map_err(|_| anyhow!("a whole number was expected, not {value}"))
}

fn list(numbers: &[i64]) -> Value {
    numbers.iter().map(|number| Value::from(*number)).collect::<Vec<_>>().into()
}

fn nanoseconds(moment: Timestamp) -> Result<Value> {
    Ok(i64::try_from(moment.as_nanosecond())?.into())
}

/// Nanoseconds since 1970, or `[nanoseconds, time zone]`.
fn moment(value: &Value) -> Result<jiff::Zoned> {
    let nanoseconds = match value.as_array() {
        Err(_) => integer(value)?,
        Ok(pair) => {
            let zone = pair.get(1).map(text).transpose()?.unwrap_or_default();
            if !["", "UTC", "Etc/UTC"].contains(&zone) {
                bail!("the time zone {zone} is not known here, only UTC is");
            }
            integer(pair.first().ok_or_else(|| anyhow!("nanoseconds were expected"))?)?
        }
    };
    let moment = Timestamp::from_nanosecond(nanoseconds.into()).map_err(Error::msg)?;
    Ok(moment.to_zoned(TimeZone::UTC))
}

fn weekday(day: Weekday) -> &'static str {
    match day {
        Weekday::Monday => "Monday",
        Weekday::Tuesday => "Tuesday",
        Weekday::Wednesday => "Wednesday",
        Weekday::Thursday => "Thursday",
        Weekday::Friday => "Friday",
        Weekday::Saturday => "Saturday",
        Weekday::Sunday => "Sunday",
    }
}

/// Years, months and days later. As Go has it, the 31st of a month that has none is the next month's first days.
fn add_date(arguments: &[Value]) -> Result<Value> {
    let from = moment(&arguments[0])?;
    let (years, months, days) = (integer(&arguments[1])?, integer(&arguments[2])?, integer(&arguments[3])?);
    let out_of_range = || anyhow!("the date is out of range");
    let month = i64::from(from.month() - 1).checked_add(months).ok_or_else(out_of_range)?;
    let year = i64::from(from.year()).checked_add(years).and_then(|year| year.checked_add(month.div_euclid(12)));
    let year = i16::try_from(year.ok_or_else(out_of_range)?)?;
    let first = Date::new(year, i8::try_from(month.rem_euclid(12) + 1)?, 1).map_err(Error::msg)?;
    let days = days.checked_add(i64::from(from.day() - 1)).ok_or_else(out_of_range)?;
    let days = Span::new().try_days(days).map_err(Error::msg)?;
    let date = first.checked_add(days).map_err(Error::msg)?;
    let moment = date.to_datetime(from.time()).to_zoned(TimeZone::UTC).map_err(Error::msg)?;
    nanoseconds(moment.timestamp())
}

/// Go's durations: `1h30m`, `-1.5h`, `300ms`.
fn duration(text: &str) -> Result<i64> {
    const UNITS: [(&str, i64); 8] = [
        ("ns", 1),
        ("us", 1_000),
        ("µs", 1_000),
        ("μs", 1_000),
        ("ms", 1_000_000),
        ("s", 1_000_000_000),
        ("m", 60_000_000_000),
        ("h", 3_600_000_000_000),
    ];
    let wrong = || anyhow!("a duration such as 1h30m was expected, not \"{text}\"");
    let (negative, mut rest) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    if rest == "0" {
        return Ok(0);
    }
    if rest.is_empty() {
        return Err(wrong());
    }
    let mut total = SignedDuration::ZERO;
    while !rest.is_empty() {
        let end = rest.find(|c: char| !c.is_ascii_digit() && c != '.').ok_or_else(wrong)?;
        let (number, after) = rest.split_at(end);
        let unit_end = after.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(after.len());
        let (unit, after) = after.split_at(unit_end);
        let (_, unit) = UNITS.iter().find(|(name, _)| *name == unit).ok_or_else(wrong)?;
        let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
        if whole.is_empty() && fraction.is_empty() || fraction.contains('.') {
            return Err(wrong());
        }
        let whole: i64 = if whole.is_empty() { 0 } else { whole.parse().map_err(|_| wrong())? };
        let mut part = i128::from(whole) * i128::from(*unit);
        let mut scale = i128::from(*unit);
        for digit in fraction.bytes() {
            scale /= 10;
            part += i128::from(digit - b'0') * scale;
        }
        let part = SignedDuration::from_nanos(i64::try_from(part).map_err(|_| wrong())?);
        total = total.checked_add(part).ok_or_else(wrong)?;
        rest = after;
    }
    let nanoseconds = i64::try_from(total.as_nanos()).map_err(|_| wrong())?;
    Ok(if negative { -nanoseconds } else { nanoseconds })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_those_of_go() {
        for (text, expected) in [
            ("1h30m", Some(5_400_000_000_000)),
            ("-1.5h", Some(-5_400_000_000_000)),
            ("300ms", Some(300_000_000)),
            (".5s", Some(500_000_000)),
            ("0", Some(0)),
            ("", None),
            ("1", None),
            ("1d", None),
            ("1..5s", None),
            ("9999999h", None),
        ] {
            assert_eq!(duration(text).ok(), expected, "{text}");
        }
    }
}
