//! Dates as people and programs write them.

use jiff::civil::{Date, DateTime};
use jiff::fmt::{rfc2822, strtime};
use jiff::tz::TimeZone;
use probity_sdk::Value;
use status_conventions::date;

/// What `new Date` of JavaScript also reads, in UTC.
const FORMATS: [&str; 8] =
    ["%Y/%m/%d", "%Y/%m/%d %H:%M", "%Y/%m/%d %H:%M:%S", "%m/%d/%Y", "%B %d, %Y", "%b %d, %Y", "%d %B %Y", "%d %b %Y"];

/// Milliseconds since 1970 of a date: ISO 8601, RFC 2822, `2024/03/15`, `03/15/2024` (month first), `March 15, 2024`,
/// or milliseconds. Without a zone it is UTC.
pub fn milliseconds(value: &Value) -> Option<i64> {
    match value {
        Value::Number(number) => number.as_i64(),
        Value::String(text) => of_text(text.trim()),
        _ => None,
    }
}

/// As [`milliseconds`], of a text.
pub fn of_text(text: &str) -> Option<i64> {
    // Four digits are a year, more are milliseconds, as a number that came as text.
    if text.len() > 8 && text.bytes().all(|byte| byte.is_ascii_digit()) {
        return text.parse().ok();
    }
    date::milliseconds(text).or_else(|| mailed(text)).or_else(|| spelled(text))
}

fn mailed(text: &str) -> Option<i64> {
    rfc2822::DateTimeParser::new().parse_timestamp(text).ok().map(|found| found.as_millisecond())
}

fn spelled(text: &str) -> Option<i64> {
    FORMATS.iter().find_map(|format| {
        let parsed = strtime::parse(format, text).ok()?;
        let moment = parsed.to_datetime().ok().or_else(|| parsed.to_date().ok().map(DateTime::from))?;
        Some(moment.to_zoned(TimeZone::UTC).ok()?.timestamp().as_millisecond())
    })
}

/// The last millisecond of the day, of a text that is a date without a time.
pub fn end_of_day(text: &str) -> Option<i64> {
    let day = text.trim().parse::<Date>().ok().filter(|_| text.trim().len() <= 10)?;
    Some(day.tomorrow().ok()?.to_zoned(TimeZone::UTC).ok()?.timestamp().as_millisecond() - 1)
}

#[cfg(test)]
mod tests {
    use probity_sdk::json;

    use super::*;

    #[test]
    fn many_ways_of_one_day() {
        for text in [
            "2024-03-15",
            "2024/03/15",
            "03/15/2024",
            "March 15, 2024",
            "Mar 15, 2024",
            "15 March 2024",
            "Fri, 15 Mar 2024 00:00:00 +0000",
            "2024-03-15T01:00:00+01:00",
            "1710460800000",
        ] {
            assert_eq!(milliseconds(&json!(text)), Some(1_710_460_800_000), "{text}");
        }
        assert_eq!(milliseconds(&json!(1_710_460_800_000_i64)), Some(1_710_460_800_000));
        for text in ["", "15/03/2024", "soon", "2024-02-30", "null"] {
            assert_eq!(milliseconds(&json!(text)), None, "{text}");
        }
    }

    #[test]
    fn a_day_ends_before_the_next() {
        assert_eq!(end_of_day("2024-03-15"), Some(1_710_547_199_999));
        assert_eq!(end_of_day("2024-03-15T10:00:00Z"), None);
        assert_eq!(end_of_day(""), None);
    }
}
