//! Values of Postgres in its binary form, both ways: numbers exact, instants as text with all their digits, NULL as null.
//!
//! The forms are those of the `…send` and `…recv` functions in Postgres' sources (`src/backend/utils/adt`).

use jiff::civil::{Date, DateTime, Time};
use jiff::{Timestamp, Unit};
use sqlx::encode::IsNull;
use sqlx::postgres::{PgArgumentBuffer, PgTypeInfo, PgTypeKind, PgValueFormat, PgValueRef};
use sqlx::{Encode, Postgres, Type, TypeInfo, ValueRef};

use super::decimal::{exact, exact_integer};
use crate::model::Value;

/// Days and microseconds are counted from here.
const EPOCH: Date = jiff::civil::date(2000, 1, 1);
/// 2000-01-01T00:00:00Z, microseconds since the Unix epoch.
const EPOCH_US: i64 = 946_684_800_000_000;

/// A value as the type that the statement wants.
pub(super) struct Parameter {
    of: PgTypeInfo,
    bytes: Option<Vec<u8>>,
}

impl Parameter {
    /// The error says what the value should be.
    pub(super) fn new(value: &Value, of: &PgTypeInfo) -> Result<Parameter, String> {
        let bytes = if value.is_nullish() { None } else { Some(write(value, of)?) };
        Ok(Parameter { of: of.clone(), bytes })
    }
}

impl Type<Postgres> for Parameter {
    fn type_info() -> PgTypeInfo {
        PgTypeInfo::with_name("text")
    }
}

impl Encode<'_, Postgres> for Parameter {
    fn encode_by_ref(&self, buffer: &mut PgArgumentBuffer) -> Result<IsNull, sqlx::error::BoxDynError> {
        match &self.bytes {
            None => Ok(IsNull::Yes),
            Some(bytes) => {
                buffer.extend_from_slice(bytes);
                Ok(IsNull::No)
            }
        }
    }

    fn produces(&self) -> Option<PgTypeInfo> {
        Some(self.of.clone())
    }
}

fn write(value: &Value, of: &PgTypeInfo) -> Result<Vec<u8>, String> {
    match of.kind() {
        PgTypeKind::Domain(inner) => return write(value, inner),
        PgTypeKind::Array(element) => return write_array(value, element),
        PgTypeKind::Enum(_) => return Ok(text(value).into_bytes()),
        _ => {}
    }
    Ok(match of.name().to_uppercase().as_str() {
        "BOOL" => match value.to_js_string().to_lowercase().as_str() {
            "true" | "t" => vec![1],
            "false" | "f" => vec![0],
            _ => return Err("expected true or false".into()),
        },
        "INT2" => i16::try_from(integer(value)?).map_err(|_| "out of range")?.to_be_bytes().to_vec(),
        "INT4" => i32::try_from(integer(value)?).map_err(|_| "out of range")?.to_be_bytes().to_vec(),
        "INT8" => integer(value)?.to_be_bytes().to_vec(),
        "OID" => u32::try_from(integer(value)?).map_err(|_| "out of range")?.to_be_bytes().to_vec(),
        "FLOAT4" => (float(value)? as f32).to_be_bytes().to_vec(),
        "FLOAT8" => float(value)?.to_be_bytes().to_vec(),
        "NUMERIC" => write_numeric(&number_text(value)?)?,
        "TEXT" | "VARCHAR" | "BPCHAR" | "CHAR" | "NAME" | "UNKNOWN" | "\"CHAR\"" | "XML" | "CITEXT" => {
            text(value).into_bytes()
        }
        // A text is JSON already, as in other drivers.
        "JSON" => json_text(value).into_bytes(),
        "JSONB" => [&[1], json_text(value).as_bytes()].concat(),
        "UUID" => {
            let parsed = value.as_str().and_then(|text| uuid::Uuid::parse_str(text).ok());
            parsed.ok_or("expected a UUID")?.as_bytes().to_vec()
        }
        "BYTEA" => match value {
            Value::Bytes(bytes) => bytes.to_vec(),
            Value::String(text) => text.as_bytes().to_vec(),
            _ => return Err("expected bytes (a Buffer)".into()),
        },
        "DATE" => {
            let date = civil(value).ok_or("expected a date such as 2026-03-01")?.date();
            let days = date.since((Unit::Day, EPOCH)).map_err(|e| e.to_string())?.get_days();
            days.to_be_bytes().to_vec()
        }
        "TIMESTAMP" => {
            let at = civil(value).ok_or("expected a time such as 2026-03-01T12:00:00")?;
            let at = at.to_zoned(jiff::tz::TimeZone::UTC).map_err(|e| e.to_string())?.timestamp();
            (at.as_microsecond() - EPOCH_US).to_be_bytes().to_vec()
        }
        "TIMESTAMPTZ" => {
            let at = instant(value).ok_or("expected an instant such as 2026-03-01T12:00:00Z, with its offset")?;
            (at.as_microsecond() - EPOCH_US).to_be_bytes().to_vec()
        }
        "TIME" => {
            let time: Time = value.as_str().and_then(|t| t.parse().ok()).ok_or("expected a time such as 12:30:00")?;
            let since = time.duration_since(Time::midnight()).as_micros() as i64;
            since.to_be_bytes().to_vec()
        }
        other => {
            let name = other.to_lowercase();
            return Err(format!("this type cannot be sent; give it as text in the query: $n::text::{name}"));
        }
    })
}

/// Text of a value for a column of text.
fn text(value: &Value) -> String {
    match value {
        Value::Array(_) | Value::Object(_) => value.to_json(),
        Value::Date(ms) => crate::model::value::date_to_iso(*ms),
        other => other.to_js_string().to_string(),
    }
}

fn json_text(value: &Value) -> String {
    match value {
        Value::String(text) => text.to_string(),
        other => other.to_json(),
    }
}

fn number_text(value: &Value) -> Result<String, String> {
    match value {
        Value::Number(_) => Ok(value.to_js_string().to_string()),
        Value::String(text) => Ok(text.trim().to_string()),
        _ => Err("expected a number".into()),
    }
}

fn integer(value: &Value) -> Result<i64, String> {
    let text = number_text(value)?;
    text.parse().map_err(|_| format!("expected a whole number, found {}", text.chars().take(40).collect::<String>()))
}

fn float(value: &Value) -> Result<f64, String> {
    match value {
        Value::Number(number) => Ok(*number),
        _ => number_text(value)?.parse().map_err(|_| "expected a number".into()),
    }
}

fn civil(value: &Value) -> Option<DateTime> {
    match value {
        Value::Date(ms) => {
            Some(Timestamp::from_millisecond(*ms as i64).ok()?.to_zoned(jiff::tz::TimeZone::UTC).datetime())
        }
        Value::String(text) => {
            let text = text.trim();
            let with_zone = text.parse::<Timestamp>().ok().map(|t| t.to_zoned(jiff::tz::TimeZone::UTC).datetime());
            with_zone.or_else(|| text.parse().ok()).or_else(|| Some(text.parse::<Date>().ok()?.at(0, 0, 0, 0)))
        }
        _ => None,
    }
}

fn instant(value: &Value) -> Option<Timestamp> {
    match value {
        Value::Date(ms) => Timestamp::from_millisecond(*ms as i64).ok(),
        Value::String(text) => text.trim().parse().ok(),
        _ => None,
    }
}

fn write_array(value: &Value, element: &PgTypeInfo) -> Result<Vec<u8>, String> {
    let Value::Array(items) = value else { return Err("expected an array".into()) };
    let oid = element.oid().ok_or("this type of array cannot be sent")?.0;
    let mut out = Vec::new();
    let dimensions: i32 = if items.is_empty() { 0 } else { 1 };
    let nulls = i32::from(items.iter().any(Value::is_nullish));
    out.extend(dimensions.to_be_bytes());
    out.extend(nulls.to_be_bytes());
    out.extend(oid.to_be_bytes());
    if dimensions == 1 {
        let count = i32::try_from(items.len()).map_err(|_| "the array is too long")?;
        out.extend(count.to_be_bytes());
        out.extend(1_i32.to_be_bytes());
    }
    for item in items.iter() {
        if item.is_nullish() {
            out.extend((-1_i32).to_be_bytes());
            continue;
        }
        let bytes = write(item, element)?;
        out.extend(i32::try_from(bytes.len()).map_err(|_| "an element is too long")?.to_be_bytes());
        out.extend(bytes);
    }
    Ok(out)
}

/// `numeric_send`: groups of four digits, the weight of the first, the sign, digits after the point.
fn write_numeric(text: &str) -> Result<Vec<u8>, String> {
    let bad = || format!("expected a decimal number, found {}", text.chars().take(40).collect::<String>());
    if text == "NaN" {
        return Ok([0_i16.to_be_bytes(), 0_i16.to_be_bytes(), 0xC000_u16.to_be_bytes(), 0_i16.to_be_bytes()].concat());
    }
    let (negative, rest) = text.strip_prefix('-').map_or((false, text.trim_start_matches('+')), |rest| (true, rest));
    let (mantissa, exponent) = match rest.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, exponent.parse::<i64>().map_err(|_| bad())?),
        None => (rest, 0),
    };
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let digits = format!("{whole}{fraction}");
    if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) || exponent.abs() > 10_000 {
        return Err(bad());
    }
    // Where the point is, counted in digits from the left.
    let point = whole.len() as i64 + exponent;
    let scale = (digits.len() as i64 - point).max(0);
    let before = point.max(0) as usize;
    let mut all = String::new();
    all.extend(std::iter::repeat_n('0', (4 - before % 4) % 4 + (-point).max(0) as usize));
    all.push_str(&digits);
    all.extend(std::iter::repeat_n('0', (point - digits.len() as i64).max(0) as usize));
    let mut weight = (before.div_ceil(4)) as i64 - 1;
    all.extend(std::iter::repeat_n('0', (4 - all.len() % 4) % 4));
    let mut groups: Vec<i16> =
        all.as_bytes().chunks(4).map(|c| c.iter().fold(0, |n, b| n * 10 + i16::from(b - b'0'))).collect();
    while groups.first() == Some(&0) {
        groups.remove(0);
        weight -= 1;
    }
    while groups.last() == Some(&0) {
        groups.pop();
    }
    let number = |n: i64| i16::try_from(n).map_err(|_| bad());
    let weight = if groups.is_empty() { 0 } else { weight };
    let mut out = Vec::new();
    out.extend(number(groups.len() as i64)?.to_be_bytes());
    out.extend(number(weight)?.to_be_bytes());
    out.extend((if negative && !groups.is_empty() { 0x4000_u16 } else { 0 }).to_be_bytes());
    out.extend(number(scale)?.to_be_bytes());
    groups.iter().for_each(|group| out.extend(group.to_be_bytes()));
    Ok(out)
}

/// A value of an answer. The error says why it cannot be read.
pub(super) fn read(raw: PgValueRef<'_>, of: &PgTypeInfo) -> Result<Value, String> {
    if raw.is_null() {
        return Ok(Value::Null);
    }
    let format = raw.format();
    let bytes = raw.as_bytes().map_err(|e| e.to_string())?;
    match format {
        PgValueFormat::Binary => read_binary(bytes, of),
        PgValueFormat::Text => Ok(String::from_utf8_lossy(bytes).as_ref().into()),
    }
}

fn read_binary(bytes: &[u8], of: &PgTypeInfo) -> Result<Value, String> {
    match of.kind() {
        PgTypeKind::Domain(inner) => return read_binary(bytes, inner),
        PgTypeKind::Array(element) => return read_array(bytes, element),
        PgTypeKind::Enum(_) => return Ok(String::from_utf8_lossy(bytes).as_ref().into()),
        _ => {}
    }
    let us = || Ok::<_, String>(i64::from_be_bytes(fixed(bytes)?));
    Ok(match of.name().to_uppercase().as_str() {
        "BOOL" => Value::Bool(bytes.first() == Some(&1)),
        "INT2" => Value::Number(f64::from(i16::from_be_bytes(fixed(bytes)?))),
        "INT4" => Value::Number(f64::from(i32::from_be_bytes(fixed(bytes)?))),
        "INT8" => exact_integer(i64::from_be_bytes(fixed(bytes)?)),
        "OID" => Value::Number(f64::from(u32::from_be_bytes(fixed(bytes)?))),
        // The shortest text of a single that reads as the same single.
        "FLOAT4" => {
            let single = f32::from_be_bytes(fixed(bytes)?);
            Value::Number(single.to_string().parse().unwrap_or(f64::from(single)))
        }
        "FLOAT8" => Value::Number(f64::from_be_bytes(fixed(bytes)?)),
        "NUMERIC" => exact(&read_numeric(bytes)?),
        "TEXT" | "VARCHAR" | "BPCHAR" | "CHAR" | "NAME" | "UNKNOWN" | "\"CHAR\"" | "XML" | "CITEXT" => {
            String::from_utf8_lossy(bytes).as_ref().into()
        }
        "JSON" => Value::from_json_slice(bytes).map_err(|e| e.to_string())?,
        "JSONB" => Value::from_json_slice(bytes.get(1..).unwrap_or_default()).map_err(|e| e.to_string())?,
        "UUID" => uuid::Uuid::from_bytes(fixed(bytes)?).to_string().into(),
        "BYTEA" => Value::Bytes(bytes.to_vec().into()),
        "VOID" => Value::Null,
        "DATE" => match i32::from_be_bytes(fixed(bytes)?) {
            i32::MAX => "infinity".into(),
            i32::MIN => "-infinity".into(),
            days => {
                let date = EPOCH.checked_add(jiff::SignedDuration::from_hours(i64::from(days) * 24));
                date.map_err(|_| "the date is out of range")?.to_string().into()
            }
        },
        "TIMESTAMP" => match us()? {
            i64::MAX => "infinity".into(),
            i64::MIN => "-infinity".into(),
            us => at(us)?.to_zoned(jiff::tz::TimeZone::UTC).datetime().to_string().into(),
        },
        "TIMESTAMPTZ" => match us()? {
            i64::MAX => "infinity".into(),
            i64::MIN => "-infinity".into(),
            us => at(us)?.to_string().into(),
        },
        "TIME" => {
            let span = jiff::SignedDuration::from_micros(us()?);
            // 24:00:00 is a time of Postgres'.
            match Time::midnight().checked_add(span) {
                Ok(time) => time.to_string().into(),
                Err(_) => "24:00:00".into(),
            }
        }
        "INTERVAL" if bytes.len() == 16 => {
            let us = i64::from_be_bytes(fixed(&bytes[..8])?);
            let days = i32::from_be_bytes(fixed(&bytes[8..12])?);
            let months = i32::from_be_bytes(fixed(&bytes[12..])?);
            interval(months, days, us).into()
        }
        _ => return Err("this type cannot be read".into()),
    })
}

fn at(us: i64) -> Result<Timestamp, String> {
    let us = us.checked_add(EPOCH_US).ok_or("the instant is out of range")?;
    Timestamp::from_microsecond(us).map_err(|_| "the instant is out of range".into())
}

/// ISO 8601, as `intervalstyle = iso_8601` writes it.
fn interval(months: i32, days: i32, us: i64) -> String {
    let mut out = String::from("P");
    let mut part = |n: i64, unit: char| {
        if n != 0 {
            out.push_str(&format!("{n}{unit}"));
        }
    };
    part(i64::from(months / 12), 'Y');
    part(i64::from(months % 12), 'M');
    part(i64::from(days), 'D');
    if us != 0 {
        out.push('T');
        let (sign, us) = (if us < 0 { "-" } else { "" }, us.unsigned_abs());
        let (hours, minutes, rest) = (us / 3_600_000_000, us / 60_000_000 % 60, us % 60_000_000);
        for (n, unit) in [(hours, 'H'), (minutes, 'M')] {
            if n != 0 {
                out.push_str(&format!("{sign}{n}{unit}"));
            }
        }
        if rest != 0 {
            let fraction = format!("{:06}", rest % 1_000_000);
            let fraction = fraction.trim_end_matches('0');
            let point = if fraction.is_empty() { "" } else { "." };
            out.push_str(&format!("{sign}{}{point}{fraction}S", rest / 1_000_000));
        }
    }
    if out.len() == 1 { "PT0S".into() } else { out }
}

fn fixed<const N: usize>(bytes: &[u8]) -> Result<[u8; N], String> {
    bytes.try_into().map_err(|_| format!("expected {N} bytes, found {}", bytes.len()))
}

fn read_numeric(bytes: &[u8]) -> Result<String, String> {
    let word = |at: usize| -> Result<i16, String> {
        Ok(i16::from_be_bytes(fixed(bytes.get(at..at + 2).ok_or("the number is cut off")?)?))
    };
    let (count, weight, sign, scale) = (word(0)?, i64::from(word(2)?), word(4)? as u16, i64::from(word(6)?));
    match sign {
        0xC000 => return Ok("NaN".into()),
        0xD000 => return Ok("Infinity".into()),
        0xF000 => return Ok("-Infinity".into()),
        _ => {}
    }
    let groups = (0..usize::try_from(count).unwrap_or(0)).map(|i| word(8 + 2 * i)).collect::<Result<Vec<_>, _>>()?;
    let group = |place: i64| {
        let at = usize::try_from(weight - place).ok();
        at.and_then(|at| groups.get(at)).copied().unwrap_or(0)
    };
    let mut out = String::from(if sign == 0x4000 { "-" } else { "" });
    let whole: String = (0..=weight.max(0)).rev().map(|place| format!("{:04}", group(place))).collect();
    let whole = whole.trim_start_matches('0');
    out.push_str(if whole.is_empty() { "0" } else { whole });
    if scale > 0 {
        let fraction: String = (1..=(scale + 3) / 4).map(|place| format!("{:04}", group(-place))).collect();
        out.push('.');
        out.push_str(&fraction[..scale as usize]);
    }
    Ok(out)
}

fn read_array(bytes: &[u8], element: &PgTypeInfo) -> Result<Value, String> {
    let mut rest = bytes;
    let mut number = || -> Result<i32, String> {
        let (first, others) = rest.split_at_checked(4).ok_or("the array is cut off")?;
        rest = others;
        Ok(i32::from_be_bytes(fixed(first)?))
    };
    let (dimensions, _nulls, _oid) = (number()?, number()?, number()?);
    let mut sizes = Vec::new();
    for _ in 0..dimensions {
        let (size, _lower) = (number()?, number()?);
        sizes.push(usize::try_from(size).map_err(|_| "the array has no size")?);
    }
    if sizes.is_empty() {
        return Ok(Value::array(Vec::new()));
    }
    nested(&mut rest, element, &sizes)
}

fn nested(rest: &mut &[u8], element: &PgTypeInfo, sizes: &[usize]) -> Result<Value, String> {
    let Some((size, inner)) = sizes.split_first() else {
        let (length, others) = rest.split_at_checked(4).ok_or("the array is cut off")?;
        *rest = others;
        let Ok(length) = usize::try_from(i32::from_be_bytes(fixed(length)?)) else { return Ok(Value::Null) };
        let (bytes, others) = rest.split_at_checked(length).ok_or("the array is cut off")?;
        *rest = others;
        return read_binary(bytes, element);
    };
    (0..*size).map(|_| nested(rest, element, inner)).collect::<Result<Vec<_>, _>>().map(Value::array)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_keep_every_digit_both_ways() {
        for text in [
            "0",
            "1",
            "-1",
            "10",
            "9999",
            "10000",
            "10001",
            "0.1",
            "0.00001",
            "-0.0001",
            "123456.789",
            "1000000000000",
            "12345678901234567890.1234567890",
            "0.00000000000000000001",
            "100.00",
            "99999999.99999999",
        ] {
            assert_eq!(read_numeric(&write_numeric(text).unwrap()).unwrap(), text);
        }
        for (text, same) in
            [("1e3", "1000"), ("1.5e-3", "0.0015"), ("12e-1", "1.2"), ("+7", "7"), ("-0", "0"), ("NaN", "NaN")]
        {
            assert_eq!(read_numeric(&write_numeric(text).unwrap()).unwrap(), same);
        }
        for bad in ["", "x", "1.2.3", "1e99999", "--1"] {
            assert!(write_numeric(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn intervals_are_written_as_iso_8601() {
        for (months, days, us, text) in [
            (0, 0, 0, "PT0S"),
            (14, 3, 3_661_500_000, "P1Y2M3DT1H1M1.5S"),
            (0, 0, -1_000_000, "PT-1S"),
            (0, -1, 60_000_000, "P-1DT1M"),
        ] {
            assert_eq!(interval(months, days, us), text);
        }
    }
}
