//! Points in time as flows and event logs write them.

use jiff::Timestamp;
use jiff::civil::{Date, DateTime};
use jiff::fmt::temporal::DateTimePrinter;
use jiff::tz::TimeZone;

/// Milliseconds since 1970 of an ISO 8601 text: with an offset or `Z`, without (then it is UTC, wherever the engine
/// runs), or a date alone (its first instant in UTC, as JavaScript has it). `None` when it is none.
pub fn milliseconds(text: &str) -> Option<i64> {
    let text = text.trim();
    if let Ok(timestamp) = text.parse::<Timestamp>() {
        return Some(timestamp.as_millisecond());
    }
    // jiff would read a date and time out of a text that also names an offset it cannot use: both must say so.
    let date_time = text.parse::<DateTime>().ok().or_else(|| text.parse::<Date>().ok().map(DateTime::from))?;
    Some(date_time.to_zoned(TimeZone::UTC).ok()?.timestamp().as_millisecond())
}

/// The point in time as JavaScript's `toISOString` writes it.
pub fn iso(milliseconds: i64) -> Option<String> {
    const PRINTER: DateTimePrinter = DateTimePrinter::new().precision(Some(3));
    Some(PRINTER.timestamp_to_string(&Timestamp::from_millisecond(milliseconds).ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn iso_texts_are_read_and_written_back() {
        for (text, written) in [
            ("2024-03-01T10:01:00.000Z", "2024-03-01T10:01:00.000Z"),
            ("2024-03-01T10:01:00Z", "2024-03-01T10:01:00.000Z"),
            ("2024-03-01T12:01:00.5+02:00", "2024-03-01T10:01:00.500Z"),
            ("2024-03-01T10:01:00", "2024-03-01T10:01:00.000Z"),
            ("2024-03-01 10:01:00", "2024-03-01T10:01:00.000Z"),
            ("2024-03-01", "2024-03-01T00:00:00.000Z"),
            ("1969-12-31T23:59:59.999Z", "1969-12-31T23:59:59.999Z"),
        ] {
            assert_eq!(milliseconds(text).and_then(iso).as_deref(), Some(written), "{text}");
        }
    }

    #[test]
    fn what_is_no_date_is_none() {
        for text in ["", "yesterday", "2024-13-01", "2024-02-30T00:00:00Z", "12", "2024-03-01T25:00:00Z"] {
            assert_eq!(milliseconds(text), None, "{text}");
        }
    }
}
