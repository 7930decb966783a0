//! Texts as JavaScript's `new Date` reads them where they are not ISO 8601: by V8's rules, to which Moment falls back.

use jiff::tz::TimeZone;

use super::calendar::{self, MINUTE_MS};
use super::format::MONTHS;

/// Minutes ahead of UTC.
const ZONES: [(&str, f64); 12] = [
    ("utc", 0.0),
    ("ut", 0.0),
    ("gmt", 0.0),
    ("z", 0.0),
    ("est", -300.0),
    ("edt", -240.0),
    ("cst", -360.0),
    ("cdt", -300.0),
    ("mst", -420.0),
    ("mdt", -360.0),
    ("pst", -480.0),
    ("pdt", -420.0),
];

#[derive(Default)]
struct Reader {
    days: Vec<f64>,
    month: Option<f64>,
    /// Hours, minutes, seconds, milliseconds; all four once it has ended.
    time: Vec<f64>,
    afternoon: Option<bool>,
    offset: Option<f64>,
}

/// Milliseconds since the epoch, NaN when it is no date.
pub fn parse(text: &str, local: &TimeZone) -> f64 {
    Reader::default().read(text).and_then(|reader| reader.instant(local)).unwrap_or(f64::NAN)
}

impl Reader {
    fn read(mut self, text: &str) -> Option<Reader> {
        let mut rest = text;
        let mut has_number = false;
        while let Some(c) = rest.chars().next() {
            if c.is_ascii_digit() {
                let len = rest.bytes().take_while(u8::is_ascii_digit).count();
                let (digits, tail) = rest.split_at(len);
                has_number = true;
                // V8 keeps nine digits.
                let number: f64 = digits[..len.min(9)].parse().ok()?;
                rest = tail;
                if let Some(after) = tail.strip_prefix(':') {
                    if self.time.len() == 4 {
                        return None;
                    }
                    self.time.push(number);
                    // A number or a point may follow.
                    rest = after.strip_prefix('.').unwrap_or(after);
                } else if tail.starts_with('.') && self.is_in_time(number) {
                    let fraction = tail[1..].bytes().take_while(u8::is_ascii_digit).count();
                    if fraction == 0 {
                        return None;
                    }
                    let ms = format!("{:0<3}", &tail[1..1 + fraction]);
                    self.time.extend([number, ms[..3].parse().ok()?]);
                    self.time.resize(4, 0.0);
                    rest = &tail[1 + fraction..];
                } else if self.is_in_time(number) {
                    self.time.push(number);
                    self.time.resize(4, 0.0);
                    let mut after = tail.chars();
                    let ends_well = match after.next() {
                        Some('z' | 'Z') => !after.next().is_some_and(char::is_alphabetic),
                        Some(c) => c.is_whitespace() || matches!(c, '+' | '-'),
                        None => true,
                    };
                    if !ends_well {
                        return None;
                    }
                } else {
                    if self.days.len() == 3 {
                        return None;
                    }
                    self.days.push(number);
                    rest = tail.strip_prefix('-').unwrap_or(tail);
                }
            } else if c.is_alphabetic() {
                let len = rest.find(|c: char| !c.is_alphabetic()).unwrap_or(rest.len());
                let word = rest[..len].to_lowercase();
                rest = &rest[len..];
                let head: String = word.chars().take(3).collect();
                let month = MONTHS.iter().position(|month| head.eq_ignore_ascii_case(&month[..3]));
                if (word == "am" || word == "pm") && !self.time.is_empty() {
                    self.afternoon = Some(word == "pm");
                } else if let Some(month) = month {
                    self.month = Some(month as f64);
                    rest = rest.strip_prefix('-').unwrap_or(rest);
                } else if let Some(minutes) = zone(&word).filter(|_| has_number) {
                    self.offset = Some(minutes);
                } else if has_number || rest.starts_with(|c: char| c.is_ascii_digit()) {
                    // Words are only passed over before the first number, and apart from it.
                    return None;
                }
            } else if matches!(c, '+' | '-') && (self.offset == Some(0.0) || !self.time.is_empty()) {
                let digits = rest[1..].bytes().take_while(u8::is_ascii_digit).count();
                // What is missing is 0.
                let number: f64 = rest[1..=digits].parse().unwrap_or(0.0);
                let tail = &rest[1 + digits..];
                let (minutes, tail) = match (tail.strip_prefix(':'), digits) {
                    (Some(tail), _) => {
                        let len = tail.bytes().take_while(u8::is_ascii_digit).count();
                        (number * 60.0 + tail[..len].parse::<f64>().unwrap_or(0.0), &tail[len..])
                    }
                    (None, 1 | 2) => (number * 60.0, tail),
                    (None, 3 | 4) => ((number / 100.0).trunc() * 60.0 + number % 100.0, tail),
                    _ => return None,
                };
                self.offset = Some(if c == '-' { -minutes } else { minutes });
                rest = tail;
            } else if c == '(' {
                let mut depth = 0usize;
                let end = rest.char_indices().find(|(_, c)| {
                    depth = match c {
                        '(' => depth + 1,
                        ')' => depth.saturating_sub(1),
                        _ => depth,
                    };
                    depth == 0
                });
                rest = end.map_or("", |(at, _)| &rest[at + 1..]);
            } else if matches!(c, '+' | '-' | ')') && has_number {
                return None;
            } else {
                rest = &rest[c.len_utf8()..];
            }
        }
        Some(self)
    }

    /// Whether a number goes on with a time that has begun; one that is too large for it is a day or a year.
    fn is_in_time(&self, number: f64) -> bool {
        match self.time.len() {
            1 | 2 => number < 60.0,
            3 => number < 1_000.0,
            _ => false,
        }
    }

    fn instant(mut self, local: &TimeZone) -> Option<f64> {
        if self.days.is_empty() {
            return None;
        }
        // What is missing is 1, the year too: 2001.
        self.days.resize(3, 1.0);
        let is_day = |n: f64| (1.0..=31.0).contains(&n);
        let [a, b, c] = [self.days[0], self.days[1], self.days[2]];
        let (year, month, day) = match self.month {
            None if !is_day(a) => (a, b - 1.0, c),
            None => (c, a - 1.0, b),
            Some(month) if !is_day(a) => (a, month, b),
            Some(month) => (b, month, a),
        };
        let year = match year {
            0.0..=49.0 => year + 2000.0,
            50.0..=99.0 => year + 1900.0,
            year => year,
        };
        if !(0.0..=11.0).contains(&month) || !is_day(day) {
            return None;
        }
        self.time.resize(4, 0.0);
        let [mut hour, minute, second, ms] = [self.time[0], self.time[1], self.time[2], self.time[3]];
        if let Some(afternoon) = self.afternoon {
            if !(1.0..=12.0).contains(&hour) {
                return None;
            }
            hour = hour % 12.0 + if afternoon { 12.0 } else { 0.0 };
        }
        let last = hour == 24.0 && minute == 0.0 && second == 0.0 && ms == 0.0;
        if !(hour < 24.0 || last) || minute > 59.0 || second > 59.0 || ms > 999.0 {
            return None;
        }
        let wall = calendar::instant([year, month, day, hour, minute, second, ms]);
        Some(match self.offset {
            Some(minutes) => calendar::clip(wall - minutes * MINUTE_MS),
            None => calendar::clip(calendar::from_local(local, wall)),
        })
    }
}

fn zone(word: &str) -> Option<f64> {
    ZONES.iter().find(|(name, _)| *name == word).map(|(_, minutes)| *minutes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_end_where_v8_ends_them() {
        for (text, expected) in [
            ("Mar 1 2026 10:00 pm", Some("2026-03-01T22:00:00.000Z")),
            ("Mar 1 2026 10:00pm", None),
            ("Mar 1 2026 10:00,5", None),
            ("Mar 1 2026 10: 30", Some("2026-03-01T10:30:00.000Z")),
            ("Mar 1 2026 10:30z", Some("2026-03-01T10:30:00.000Z")),
            ("Mar 1 2026 10:30GMT", None),
            ("Mar 1 2026 10:30(x)", None),
            ("Mar 1 2026 10:30 GMT-123", Some("2026-03-01T11:53:00.000Z")),
            ("Mar 1 2026 10:30 GMT-12345", None),
            ("Mar 1 2026 10:30 GMT-", None),
            ("Mar 1 2026 10:30 +:30", Some("2026-03-01T10:00:00.000Z")),
            ("Mar 1 2026 10:30:61", Some("2026-03-01T10:30:00.000Z")),
            ("Mar 1 2026 10:30:05.", None),
            ("Mar 1 2026 10:30:05.5", Some("2026-03-01T10:30:05.500Z")),
            ("Mar 1 2026 10:30.5", None),
            ("Mar 1 2026 1:2:3:4", Some("2026-03-01T01:02:03.004Z")),
            ("10:30 Mar 1 2026", Some("2026-03-01T10:30:00.000Z")),
            ("12:60", Some("1960-01-01T12:00:00.000Z")),
        ] {
            let ms = parse(text, &TimeZone::UTC);
            let iso = (!ms.is_nan()).then(|| super::super::format::iso(ms));
            assert_eq!(iso.as_deref(), expected, "{text}");
        }
    }
}
