//! Dates in Moment's format language, which Node-RED's `date` inputs use (English, as Moment's default locale).

use jiff::{Timestamp, Zoned, civil};

const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];
const DAYS: [&str; 7] = ["Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"];

/// Longest first, as the first that matches is taken.
const TOKENS: &[&str] = &[
    "LTS", "LT", "LLLL", "LLL", "LL", "L", "llll", "lll", "ll", "l", "Hmmss", "Hmm", "hmmss", "hmm", "Mo", "MMMM",
    "MMM", "MM", "M", "DDDo", "DDDD", "DDD", "Do", "DD", "D", "dddd", "ddd", "dd", "do", "d", "ww", "wo", "w", "WW",
    "Wo", "W", "Qo", "Q", "YYYYYY", "YYYYY", "YYYY", "YY", "Y", "gggg", "gg", "GGGG", "GG", "e", "E", "a", "A", "hh",
    "h", "HH", "H", "kk", "k", "mm", "m", "ss", "s", "x", "X", "ZZ", "Z", "zz", "z",
];

/// Formats an instant. `[…]` is literal text; what is no token stands for itself.
pub fn format(at: &Zoned, pattern: &str) -> String {
    let mut out = String::with_capacity(pattern.len() + 8);
    let mut rest = pattern;
    while let Some(c) = rest.chars().next() {
        if c == '['
            // Up to the last `]` before the next `[`, as Moment's expression matches.
            && let Some(end) = rest[1..].split('[').next().and_then(|inner| inner.rfind(']'))
        {
            out.push_str(&rest[1..1 + end]);
            rest = &rest[end + 2..];
        } else if c == 'S' {
            let n = rest.bytes().take(9).take_while(|b| *b == b'S').count();
            let digits = format!("{:09}", at.subsec_nanosecond());
            out.push_str(&digits[..n]);
            rest = &rest[n..];
        } else if let Some(token) = TOKENS.iter().find(|t| rest.starts_with(**t)) {
            push_token(&mut out, at, token);
            rest = &rest[token.len()..];
        } else {
            out.push(c);
            rest = &rest[c.len_utf8()..];
        }
    }
    out
}

/// Milliseconds since the epoch of an ISO 8601 text; without offset it is UTC.
pub fn parse_iso(text: &str) -> Option<f64> {
    let text = text.trim();
    if let Ok(at) = text.parse::<Timestamp>() {
        return Some(at.as_millisecond() as f64);
    }
    let local = text.parse::<civil::DateTime>().ok()?;
    let at = local.to_zoned(jiff::tz::TimeZone::UTC).ok()?;
    Some(at.timestamp().as_millisecond() as f64)
}

fn push_token(out: &mut String, at: &Zoned, token: &str) {
    let weekday = at.weekday().to_sunday_zero_offset() as usize;
    let month = MONTHS[at.month() as usize - 1];
    let (year, day) = (i64::from(at.year()), i64::from(at.day()));
    let (hour, minute, second) = (i64::from(at.hour()), i64::from(at.minute()), i64::from(at.second()));
    let hour12 = (hour + 11) % 12 + 1;
    let iso = at.date().iso_week_date();
    let text = match token {
        "LTS" => return out.push_str(&format(at, "h:mm:ss A")),
        "LT" => return out.push_str(&format(at, "h:mm A")),
        "L" => return out.push_str(&format(at, "MM/DD/YYYY")),
        "LL" => return out.push_str(&format(at, "MMMM D, YYYY")),
        "LLL" => return out.push_str(&format(at, "MMMM D, YYYY h:mm A")),
        "LLLL" => return out.push_str(&format(at, "dddd, MMMM D, YYYY h:mm A")),
        "l" => return out.push_str(&format(at, "M/D/YYYY")),
        "ll" => return out.push_str(&format(at, "MMM D, YYYY")),
        "lll" => return out.push_str(&format(at, "MMM D, YYYY h:mm A")),
        "llll" => return out.push_str(&format(at, "ddd, MMM D, YYYY h:mm A")),
        "Hmm" => format!("{hour}{minute:02}"),
        "Hmmss" => format!("{hour}{minute:02}{second:02}"),
        "hmm" => format!("{hour12}{minute:02}"),
        "hmmss" => format!("{hour12}{minute:02}{second:02}"),
        "MMMM" => month.into(),
        "MMM" => month[..3].into(),
        "MM" => format!("{:02}", at.month()),
        "M" => at.month().to_string(),
        "Mo" => ordinal(i64::from(at.month())),
        "DDDD" => format!("{:03}", at.day_of_year()),
        "DDDo" => ordinal(i64::from(at.day_of_year())),
        "DDD" => at.day_of_year().to_string(),
        "DD" => format!("{day:02}"),
        "Do" => ordinal(day),
        "D" => day.to_string(),
        "dddd" => DAYS[weekday].into(),
        "ddd" => DAYS[weekday][..3].into(),
        "dd" => DAYS[weekday][..2].into(),
        "do" => ordinal(weekday as i64),
        "d" | "e" => weekday.to_string(),
        "E" => at.weekday().to_monday_one_offset().to_string(),
        "WW" => format!("{:02}", iso.week()),
        "Wo" => ordinal(i64::from(iso.week())),
        "W" => iso.week().to_string(),
        "GGGG" => format!("{:04}", iso.year()),
        "GG" => format!("{:02}", iso.year().rem_euclid(100)),
        "ww" => format!("{:02}", locale_week(at).1),
        "wo" => ordinal(locale_week(at).1),
        "w" => locale_week(at).1.to_string(),
        "gggg" => format!("{:04}", locale_week(at).0),
        "gg" => format!("{:02}", locale_week(at).0.rem_euclid(100)),
        "Q" => ((i64::from(at.month()) - 1) / 3 + 1).to_string(),
        "Qo" => ordinal((i64::from(at.month()) - 1) / 3 + 1),
        "YYYYYY" => format!("{}{:06}", if year < 0 { '-' } else { '+' }, year.abs()),
        "YYYYY" => format!("{year:05}"),
        "YYYY" => format!("{year:04}"),
        "YY" => format!("{:02}", year.rem_euclid(100)),
        "Y" => year.to_string(),
        "a" => if hour < 12 { "am" } else { "pm" }.into(),
        "A" => if hour < 12 { "AM" } else { "PM" }.into(),
        "HH" => format!("{hour:02}"),
        "H" => hour.to_string(),
        "hh" => format!("{hour12:02}"),
        "h" => hour12.to_string(),
        "kk" => format!("{:02}", if hour == 0 { 24 } else { hour }),
        "k" => if hour == 0 { 24 } else { hour }.to_string(),
        "mm" => format!("{minute:02}"),
        "m" => minute.to_string(),
        "ss" => format!("{second:02}"),
        "s" => second.to_string(),
        "x" => at.timestamp().as_millisecond().to_string(),
        "X" => at.timestamp().as_second().to_string(),
        "Z" => offset(at, ":"),
        "ZZ" => offset(at, ""),
        // Moment prints a zone's name only for zones it was given by name; a local time has none.
        _ => String::new(),
    };
    out.push_str(&text);
}

fn offset(at: &Zoned, separator: &str) -> String {
    let minutes = at.offset().seconds() / 60;
    let sign = if minutes < 0 { '-' } else { '+' };
    format!("{sign}{:02}{separator}{:02}", minutes.abs() / 60, minutes.abs() % 60)
}

/// Year and week where weeks start on Sunday and the week of 1 January is the first.
fn locale_week(at: &Zoned) -> (i64, i64) {
    let start_of =
        |year: i16| civil::Date::new(year, 1, 1).ok().map(|d| (i64::from(d.weekday().to_sunday_zero_offset()), d));
    let date = at.date();
    let week_in = |year: i16| {
        let (lead, first) = start_of(year)?;
        let days = i64::from(first.until(date).ok()?.get_days());
        Some((days + lead).div_euclid(7) + 1)
    };
    let year = at.year();
    // The last days of December may lie in the week of the next 1 January.
    match week_in(year.saturating_add(1)) {
        Some(week) if week >= 1 => (i64::from(year) + 1, week),
        _ => (i64::from(year), week_in(year).unwrap_or(1)),
    }
}

fn ordinal(n: i64) -> String {
    let suffix = match (n % 100, n % 10) {
        (11..=13, _) => "th",
        (_, 1) => "st",
        (_, 2) => "nd",
        (_, 3) => "rd",
        _ => "th",
    };
    format!("{n}{suffix}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Zoned {
        text.parse::<Timestamp>().unwrap().in_tz("Europe/Madrid").unwrap()
    }

    /// Expected texts are what Moment 2.30 prints for this instant in Europe/Madrid.
    #[test]
    fn tokens_print_as_moments() {
        let noon = at("2026-03-01T12:04:05.067Z");
        for (pattern, expected) in [
            ("YYYY-MM-DD HH:mm:ss.SSS", "2026-03-01 13:04:05.067"),
            ("dddd, MMMM Do YYYY, h:mm:ss a", "Sunday, March 1st 2026, 1:04:05 pm"),
            ("ddd, hA", "Sun, 1PM"),
            ("[Today is] dddd", "Today is Sunday"),
            ("Z ZZ X x", "+01:00 +0100 1772366645 1772366645067"),
            ("YY M D MMM Q W WW E d DDD", "26 3 1 Mar 1 9 09 7 0 60"),
            ("L LT LL", "03/01/2026 1:04 PM March 1, 2026"),
            ("", ""),
            ("[a[b]", "[pmb"),
            ("[a] b] c", "a] b c"),
        ] {
            assert_eq!(format(&noon, pattern), expected, "{pattern}");
        }
    }

    #[test]
    fn weeks_of_the_turn_of_the_year() {
        assert_eq!(format(&at("2026-12-31T12:00:00Z"), "gggg-ww GGGG-WW"), "2027-01 2026-53");
        assert_eq!(format(&at("2026-01-01T12:00:00Z"), "gggg-ww GGGG-WW"), "2026-01 2026-01");
    }
}
