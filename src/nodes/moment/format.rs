//! Moment's format language.

use super::Moment;
use super::calendar::{self, ISO, LOCALE};

pub const MONTHS: [&str; 12] = [
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
pub const DAYS: [&str; 7] = ["Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"];

/// What an invalid moment is printed as.
pub const INVALID: &str = "Invalid date";

/// Longest first, as the first that matches is taken.
const TOKENS: &[&str] = &[
    "Hmmss", "hmmss", "Hmm", "hmm", "Mo", "MMMM", "MMM", "MM", "M", "Do", "DDDo", "DDDD", "DDD", "DD", "D", "dddd",
    "ddd", "dd", "do", "d", "wo", "ww", "w", "Wo", "WW", "W", "Qo", "Q", "NNNNN", "NNNN", "NNN", "NN", "N", "YYYYYY",
    "YYYYY", "YYYY", "YY", "yyyy", "yyy", "yy", "yo", "y", "ggggg", "gggg", "gg", "GGGGG", "GGGG", "GG", "e", "E", "a",
    "A", "hh", "h", "HH", "H", "kk", "k", "mm", "m", "ss", "s", "x", "X", "zz", "z", "ZZ", "Z", "Y",
];

/// A piece of a format.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Piece<'a> {
    Token(&'a str),
    /// Text that stands for itself: a character, an escaped token, or what is in `[…]`.
    Literal(&'a str),
}

impl Moment {
    /// As Moment's `format`; without a pattern ISO 8601 with the offset.
    pub fn format(&self, pattern: &str) -> String {
        if !self.is_valid() {
            return INVALID.into();
        }
        let pattern = match pattern {
            "" if self.utc && self.offset.unwrap_or(0.0) == 0.0 => "YYYY-MM-DDTHH:mm:ss[Z]",
            "" => "YYYY-MM-DDTHH:mm:ssZ",
            pattern => pattern,
        };
        let mut out = String::with_capacity(pattern.len() + 8);
        for piece in pieces(&expand(pattern)) {
            match piece {
                Piece::Token(token) => self.push_token(&mut out, token),
                Piece::Literal(text) => out.push_str(text),
            }
        }
        out
    }

    fn push_token(&self, out: &mut String, token: &str) {
        let at = self.wall();
        let hour12 = (at.hour + 11) % 12 + 1;
        let month = MONTHS[at.month as usize];
        let day = DAYS[at.weekday as usize];
        let common_era = at.year > 0;
        let era_year = if common_era { at.year } else { 1 - at.year };
        let text = match token {
            "Hmm" => format!("{}{:02}", at.hour, at.minute),
            "Hmmss" => format!("{}{:02}{:02}", at.hour, at.minute, at.second),
            "hmm" => format!("{hour12}{:02}", at.minute),
            "hmmss" => format!("{hour12}{:02}{:02}", at.minute, at.second),
            "MMMM" => month.into(),
            "MMM" => month[..3].into(),
            "MM" | "M" => filled(at.month + 1, token.len()),
            "Mo" => ordinal(at.month + 1),
            "DDDD" => filled(calendar::day_of_year(&at), 3),
            "DDDo" => ordinal(calendar::day_of_year(&at)),
            "DDD" => calendar::day_of_year(&at).to_string(),
            "DD" | "D" => filled(at.day, token.len()),
            "Do" => ordinal(at.day),
            "dddd" => day.into(),
            "ddd" => day[..3].into(),
            "dd" => day[..2].into(),
            "do" => ordinal(at.weekday),
            "d" | "e" => at.weekday.to_string(),
            "E" => self.iso_weekday().to_string(),
            "WW" | "W" => filled(self.week(ISO).1, token.len()),
            "Wo" => ordinal(self.week(ISO).1),
            "GG" => filled(self.week(ISO).0 % 100, 2),
            "GGGG" | "GGGGG" => filled(self.week(ISO).0, token.len()),
            "ww" | "w" => filled(self.week(LOCALE).1, token.len()),
            "wo" => ordinal(self.week(LOCALE).1),
            "gg" => filled(self.week(LOCALE).0 % 100, 2),
            "gggg" | "ggggg" => filled(self.week(LOCALE).0, token.len()),
            "Q" => (at.month / 3 + 1).to_string(),
            "Qo" => ordinal(at.month / 3 + 1),
            "N" | "NN" | "NNN" | "NNNNN" => if common_era { "AD" } else { "BC" }.into(),
            "NNNN" => if common_era { "Anno Domini" } else { "Before Christ" }.into(),
            "y" | "yy" | "yyy" | "yyyy" => filled(era_year, token.len()),
            "yo" => ordinal(era_year),
            "YYYYYY" => format!("{}{:06}", if at.year < 0 { '-' } else { '+' }, at.year.abs()),
            "YYYYY" | "YYYY" => filled(at.year, token.len()),
            "YY" => filled(at.year % 100, 2),
            "Y" if at.year > 9999 => format!("+{}", at.year),
            "Y" => filled(at.year, 4),
            "a" => if at.hour < 12 { "am" } else { "pm" }.into(),
            "A" => if at.hour < 12 { "AM" } else { "PM" }.into(),
            "HH" | "H" => filled(at.hour, token.len()),
            "hh" | "h" => filled(hour12, token.len()),
            "kk" | "k" => filled(if at.hour == 0 { 24 } else { at.hour }, token.len()),
            "mm" | "m" => filled(at.minute, token.len()),
            "ss" | "s" => filled(at.second, token.len()),
            "x" => (self.value() as i64).to_string(),
            "X" => (self.value() / 1e3).floor().to_string(),
            "Z" => self.offset_text(":"),
            "ZZ" => self.offset_text(""),
            "z" => self.zone_abbreviation(),
            "zz" => self.zone_name(),
            // Fractions of a second, as many digits as the token has.
            _ => format!("{:03}000000", at.millisecond)[..token.len()].into(),
        };
        out.push_str(&text);
    }

    fn offset_text(&self, separator: &str) -> String {
        let minutes = self.utc_offset() as i64;
        let sign = if minutes < 0 { '-' } else { '+' };
        format!("{sign}{:02}{separator}{:02}", minutes.abs() / 60, minutes.abs() % 60)
    }

    pub(super) fn zone_abbreviation(&self) -> String {
        match &self.zone {
            Some(zone) if self.is_valid() => calendar::abbreviation(&zone.rules, self.value()),
            _ => if self.utc { "UTC" } else { "" }.into(),
        }
    }

    pub(super) fn zone_name(&self) -> String {
        match &self.zone {
            Some(_) => self.zone_abbreviation(),
            None => if self.utc { "Coordinated Universal Time" } else { "" }.into(),
        }
    }

    pub(super) fn iso_weekday(&self) -> i64 {
        (self.wall().weekday + 6) % 7 + 1
    }

    /// Year and week.
    pub(super) fn week(&self, weeks: calendar::Weeks) -> (i64, i64) {
        let at = self.wall();
        weeks.of(at.year, calendar::day_of_year(&at))
    }
}

/// An instant as JavaScript's `toISOString`; `ms` is finite.
pub fn iso(ms: f64) -> String {
    let at = calendar::wall(ms);
    let year = match at.year {
        0..=9999 => format!("{:04}", at.year),
        year => format!("{}{:06}", if year < 0 { '-' } else { '+' }, year.abs()),
    };
    let (month, day) = (at.month + 1, at.day);
    format!("{year}-{month:02}-{day:02}T{:02}:{:02}:{:02}.{:03}Z", at.hour, at.minute, at.second, at.millisecond)
}

/// A format with its long forms (`LT`, `LLL`, …) written out.
pub fn expand(pattern: &str) -> String {
    const LONG: &[(&str, &str)] = &[
        ("LTS", "h:mm:ss A"),
        ("LT", "h:mm A"),
        ("LLLL", "dddd, MMMM D, YYYY h:mm A"),
        ("LLL", "MMMM D, YYYY h:mm A"),
        ("LL", "MMMM D, YYYY"),
        ("L", "MM/DD/YYYY"),
        ("llll", "ddd, MMM D, YYYY h:mm A"),
        ("lll", "MMM D, YYYY h:mm A"),
        ("ll", "MMM D, YYYY"),
        ("l", "M/D/YYYY"),
    ];
    let mut out = String::with_capacity(pattern.len());
    let mut rest = pattern;
    while let Some(c) = rest.chars().next() {
        let escaped = usize::from(c == '\\');
        let (taken, written) = if let Some(len) = quoted(rest) {
            (len, None)
        } else if let Some((long, short)) = LONG.iter().find(|(long, _)| rest[escaped..].starts_with(long)) {
            (escaped + long.len(), (escaped == 0).then_some(*short))
        } else {
            (c.len_utf8(), None)
        };
        out.push_str(written.unwrap_or(&rest[..taken]));
        rest = &rest[taken..];
    }
    out
}

/// The pieces of an expanded format.
pub fn pieces(pattern: &str) -> Vec<Piece<'_>> {
    let mut pieces = Vec::new();
    let mut rest = pattern;
    while let Some(c) = rest.chars().next() {
        let escaped = usize::from(c == '\\' && rest.len() > 1);
        let taken = if rest.starts_with("w|") || rest.starts_with("W|") {
            // Moment's expression takes the two together, and finds no such token.
            pieces.push(Piece::Literal(&rest[..2]));
            2
        } else if let Some(len) = quoted(rest) {
            pieces.push(Piece::Literal(&rest[1..len - 1]));
            len
        } else if let Some(len) = token(&rest[escaped..]) {
            let text = &rest[escaped..escaped + len];
            pieces.push(if escaped == 0 { Piece::Token(text) } else { Piece::Literal(text) });
            escaped + len
        } else {
            let text = &rest[escaped..];
            let len = text.chars().next().map_or(0, char::len_utf8);
            // Moment's expression has no place for line ends.
            if !text.starts_with(['\n', '\r', '\u{2028}', '\u{2029}', '\\']) {
                pieces.push(Piece::Literal(&text[..len]));
            }
            escaped + len
        };
        rest = &rest[taken.max(1)..];
    }
    pieces
}

/// Length of `[…]` at the beginning: up to the last `]` before the next `[`, as Moment's expression matches.
fn quoted(text: &str) -> Option<usize> {
    let inner = text.strip_prefix('[')?;
    inner.split('[').next().and_then(|inner| inner.rfind(']')).map(|end| end + 2)
}

fn token(text: &str) -> Option<usize> {
    let fraction = text.bytes().take(9).take_while(|b| *b == b'S').count();
    if fraction > 0 {
        return Some(fraction);
    }
    TOKENS.iter().find(|token| text.starts_with(**token)).map(|token| token.len())
}

/// A number with at least so many digits.
fn filled(n: i64, digits: usize) -> String {
    format!("{}{:0digits$}", if n < 0 { "-" } else { "" }, n.abs())
}

pub fn ordinal(n: i64) -> String {
    let suffix = match (n % 100 / 10, n % 10) {
        (1, _) => "th",
        (_, 1) => "st",
        (_, 2) => "nd",
        (_, 3) => "rd",
        _ => "th",
    };
    format!("{n}{suffix}")
}
