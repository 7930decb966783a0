//! What a plain scalar means: js-yaml's core schema, with timestamps.

use crate::model::Value;
use crate::model::value::parse_float;

/// The value of a plain scalar; `None` for a text.
pub(super) fn resolve(text: &str) -> Option<Value> {
    if is_null(text) {
        return Some(Value::Null);
    }
    bool_of(text)
        .map(Value::Bool)
        .or_else(|| number(text).map(Value::Number))
        .or_else(|| timestamp(text).map(Value::Date))
}

/// Whether a text must be quoted to stay one.
pub(super) fn is_ambiguous(text: &str) -> bool {
    resolve(text).is_some() || text == "<<"
}

pub(super) fn is_null(text: &str) -> bool {
    matches!(text, "" | "~" | "null" | "Null" | "NULL")
}

pub(super) fn bool_of(text: &str) -> Option<bool> {
    match text {
        "true" | "True" | "TRUE" => Some(true),
        "false" | "False" | "FALSE" => Some(false),
        _ => None,
    }
}

fn number(text: &str) -> Option<f64> {
    int(text).or_else(|| float(text))
}

/// Decimal (leading zeros change nothing), `0b`, `0o`, `0x`; a sign before any.
pub(super) fn int(text: &str) -> Option<f64> {
    let unsigned = text.strip_prefix(['-', '+']).unwrap_or(text);
    let in_radix = |digits: &str, radix: u32| {
        let all = !digits.is_empty() && digits.chars().all(|c| c.is_digit(radix));
        let add = |n: f64, c: char| n * f64::from(radix) + f64::from(c.to_digit(radix).unwrap_or_default());
        all.then(|| digits.chars().fold(0.0, add))
    };
    let n = match unsigned.get(..2) {
        Some("0b") => in_radix(&unsigned[2..], 2)?,
        Some("0o") => in_radix(&unsigned[2..], 8)?,
        Some("0x") => in_radix(&unsigned[2..], 16)?,
        _ if !unsigned.is_empty() && unsigned.bytes().all(|b| b.is_ascii_digit()) => unsigned.parse().ok()?,
        _ => return None,
    };
    let n = if text.starts_with('-') { -n } else { n };
    n.is_finite().then_some(n)
}

pub(super) fn float(text: &str) -> Option<f64> {
    let signed = text.strip_prefix(['-', '+']);
    let unsigned = signed.unwrap_or(text);
    let sign = if text.starts_with('-') { -1.0 } else { 1.0 };
    match unsigned {
        ".inf" | ".Inf" | ".INF" => return Some(sign * f64::INFINITY),
        ".nan" | ".NaN" | ".NAN" if signed.is_none() => return Some(f64::NAN),
        _ => {}
    }
    let digits = |text: &str| text.bytes().take_while(u8::is_ascii_digit).count();
    let whole = digits(unsigned);
    let mut rest = &unsigned[whole..];
    if let Some(fraction) = rest.strip_prefix('.') {
        let n = digits(fraction);
        // Without whole part there must be a fraction, and no sign.
        if whole == 0 && (n == 0 || signed.is_some()) {
            return None;
        }
        rest = &fraction[n..];
    } else if whole == 0 {
        return None;
    }
    if let Some(exponent) = rest.strip_prefix(['e', 'E']) {
        let exponent = exponent.strip_prefix(['-', '+']).unwrap_or(exponent);
        if exponent.is_empty() || digits(exponent) != exponent.len() {
            return None;
        }
    } else if !rest.is_empty() {
        return None;
    }
    Some(sign * parse_float(unsigned)).filter(|n| n.is_finite())
}

/// Reads the parts of a timestamp one after another.
struct Cursor<'a>(&'a str);

impl Cursor<'_> {
    fn digits(&mut self, min: usize, max: usize) -> Option<f64> {
        let n = self.0.bytes().take(max).take_while(u8::is_ascii_digit).count();
        let (digits, rest) = self.0.split_at(n);
        if n < min {
            return None;
        }
        self.0 = rest;
        digits.parse().ok()
    }

    fn skip(&mut self, c: char) -> Option<()> {
        self.0 = self.0.strip_prefix(c)?;
        Some(())
    }

    fn blanks(&mut self) -> usize {
        let rest = self.0.trim_start_matches([' ', '\t']);
        let n = self.0.len() - rest.len();
        self.0 = rest;
        n
    }
}

/// Milliseconds since the epoch of `2026-03-01` or `2026-3-1 12:00:00.5 +1:30`.
pub(super) fn timestamp(text: &str) -> Option<f64> {
    let mut at = Cursor(text);
    let year = at.digits(4, 4)?;
    at.skip('-')?;
    let month_start = at.0.len();
    let month = at.digits(1, 2)?;
    let short_month = month_start - at.0.len() == 1;
    at.skip('-')?;
    let day_start = at.0.len();
    let day = at.digits(1, 2)?;
    let short_day = day_start - at.0.len() == 1;
    if at.0.is_empty() {
        return (!short_month && !short_day).then(|| utc([year, month, day, 0.0, 0.0, 0.0]));
    }
    if at.skip('T').or_else(|| at.skip('t')).is_none() && at.blanks() == 0 {
        return None;
    }
    let hour = at.digits(1, 2)?;
    at.skip(':')?;
    let minute = at.digits(2, 2)?;
    at.skip(':')?;
    let second = at.digits(2, 2)?;
    let mut ms = 0.0;
    if at.skip('.').is_some() {
        let n = at.0.bytes().take_while(u8::is_ascii_digit).count();
        let (fraction, rest) = at.0.split_at(n);
        at.0 = rest;
        ms = format!("{:0<3}", &fraction[..n.min(3)]).parse().ok()?;
    }
    let blanks = at.blanks();
    let mut offset_min = 0.0;
    if !at.0.is_empty() && at.skip('Z').is_none() {
        let sign = if at.skip('-').is_some() { -1.0 } else { at.skip('+').map(|()| 1.0)? };
        let hours = at.digits(1, 2)?;
        let minutes = if at.skip(':').is_some() { at.digits(2, 2)? } else { 0.0 };
        offset_min = sign * (hours * 60.0 + minutes);
    } else if at.0.is_empty() && blanks > 0 && !text.ends_with('Z') {
        return None;
    }
    at.0.is_empty().then(|| utc([year, month, day, hour, minute, second]) + ms - offset_min * 60_000.0)
}

/// JavaScript's `Date.UTC` with the month from 1: what is too large carries over; years below 100 are in the 1900s.
fn utc([year, month, day, hour, minute, second]: [f64; 6]) -> f64 {
    let year = if year < 100.0 { year + 1900.0 } else { year };
    let months = year * 12.0 + month - 1.0;
    let (y, m) = ((months / 12.0).floor() as i64, months.rem_euclid(12.0) as i64 + 1);
    // Days from the civil calendar, in eras of 400 years that begin in March.
    let y = if m <= 2 { y - 1 } else { y };
    let era = y.div_euclid(400);
    let year_of_era = y.rem_euclid(400);
    let day_of_year = (153 * ((m + 9) % 12) + 2) / 5;
    let days = era * 146_097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year - 719_468;
    ((days as f64 + day - 1.0) * 24.0 + hour) * 3_600_000.0 + minute * 60_000.0 + second * 1000.0
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::value::date_to_iso;

    #[test]
    fn plain_scalars_are_what_js_yaml_makes_of_them() {
        for (text, expected) in [
            ("12", Some(12.0)),
            ("-0x1F", Some(-31.0)),
            ("0o17", Some(15.0)),
            ("0b101", Some(5.0)),
            ("017", Some(17.0)),
            ("1_000", None),
            ("1.5", Some(1.5)),
            ("1.", Some(1.0)),
            (".5", Some(0.5)),
            ("-.5", None),
            ("1e3", Some(1000.0)),
            ("1e", None),
            ("-.inf", Some(f64::NEG_INFINITY)),
            ("0x", None),
            ("+", None),
        ] {
            assert_eq!(number(text), expected, "{text}");
        }
        assert!(number(".nan").unwrap().is_nan());
    }

    #[test]
    fn timestamps_are_read() {
        for (text, expected) in [
            ("2026-03-01", Some("2026-03-01T00:00:00.000Z")),
            ("2026-3-1", None),
            ("2001-12-14t21:59:43.10-05:00", Some("2001-12-15T02:59:43.100Z")),
            ("2001-12-14 21:59:43.1 -5", Some("2001-12-15T02:59:43.100Z")),
            ("2001-1-2 3:04:05", Some("2001-01-02T03:04:05.000Z")),
            ("2026-13-32", Some("2027-02-01T00:00:00.000Z")),
            ("0099-01-01", Some("1999-01-01T00:00:00.000Z")),
            ("1600-02-29", Some("1600-02-29T00:00:00.000Z")),
            ("2026-03-01T12:00", None),
            ("2026-03-01 ", None),
            ("2026-03-01T12:00:00 ", None),
            ("2026-03-01T12:00:00 Z", Some("2026-03-01T12:00:00.000Z")),
        ] {
            assert_eq!(timestamp(text).map(date_to_iso).as_deref(), expected, "{text}");
        }
    }
}
