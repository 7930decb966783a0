//! Texts read by a format, as Moment does: each piece of the format takes the first place of the text where it fits, and
//! what lies before is skipped.

use super::calendar::{self, ISO, LOCALE, MINUTE_MS};
use super::format::{DAYS, MONTHS, Piece, expand, pieces};
use super::{Around, Moment};
use crate::model::value::str_to_number;

/// What a text said.
#[derive(Debug, Default)]
pub struct Parts {
    /// Year, month from 0, day, hour, minute, second, millisecond.
    pub fields: [Option<f64>; 7],
    day_of_year: Option<f64>,
    week: Week,
    /// Minutes; the fields are those of UTC with this offset.
    offset: Option<f64>,
    instant: Option<f64>,
    meridiem: Option<String>,
    /// Years count back from the year 1.
    before_christ: bool,
    big_hour: bool,
    /// Nothing of the format was found.
    empty: bool,
    wrong_name: bool,
    chars_left: usize,
    tokens_left: usize,
}

/// Weeks and weekdays: of the locale in lower case, of ISO 8601 in upper case.
#[derive(Debug, Default)]
struct Week {
    gg: Option<f64>,
    w: Option<f64>,
    e: Option<f64>,
    d: Option<f64>,
    iso_gg: Option<f64>,
    iso_w: Option<f64>,
    iso_e: Option<f64>,
}

impl Week {
    fn is_given(&self) -> bool {
        self.is_iso() || [self.gg, self.w, self.e, self.d].iter().any(Option::is_some)
    }

    fn is_iso(&self) -> bool {
        [self.iso_gg, self.iso_w, self.iso_e].iter().any(Option::is_some)
    }
}

/// Reads `text`; the second value is what is not accounted for, by which formats are compared.
pub fn read(around: &Around, text: &str, pattern: &str, strict: bool) -> (Moment, usize) {
    let mut parts = Parts { empty: true, ..Parts::default() };
    let mut rest = text;
    let mut read = 0;
    let pattern = expand(pattern);
    for piece in pieces(&pattern) {
        let found = match piece {
            Piece::Token(token) => find(rest, token, strict),
            Piece::Literal(literal) => rest.find(literal).map(|at| (at, literal.len())),
        };
        let found = found.filter(|(_, len)| *len > 0).map(|(at, len)| {
            let (input, tail) = (&rest[at..at + len], &rest[at + len..]);
            rest = tail;
            read += input.encode_utf16().count();
            input
        });
        match (piece, found) {
            (Piece::Token(token), Some(input)) => {
                parts.empty = false;
                parts.take(token, input, strict);
            }
            (Piece::Token(_), None) => parts.tokens_left += 1,
            (Piece::Literal(_), None) if strict => parts.tokens_left += 1,
            (Piece::Literal(_), _) => {}
        }
    }
    parts.chars_left = text.encode_utf16().count() - read;
    if parts.fields[3].is_some_and(|hour| hour > 0.0 && hour <= 12.0) {
        parts.big_hour = false;
    }
    let score = parts.chars_left + parts.tokens_left * 10;
    (parts.moment(around, strict), score)
}

impl Parts {
    /// Of fields that were given one by one.
    pub fn of(fields: [Option<f64>; 7]) -> Parts {
        Parts { fields, ..Parts::default() }
    }

    fn take(&mut self, token: &str, input: &str, strict: bool) {
        let number = to_int(input);
        match token {
            "YYYYY" | "YYYYYY" | "y" | "yy" | "yyy" | "yyyy" | "yo" => self.fields[0] = Some(number),
            "YYYY" if input.len() != 2 => self.fields[0] = Some(number),
            "Y" => self.fields[0] = Some(number),
            "YYYY" | "YY" => self.fields[0] = Some(two_digit_year(number)),
            "Q" => self.fields[1] = Some((number - 1.0) * 3.0),
            "M" | "MM" => self.fields[1] = Some(number - 1.0),
            "MMM" | "MMMM" => match named(&MONTHS, input, strict, &[(3, "MMM"), (9, "MMMM")], token) {
                Some(month) => self.fields[1] = Some(month),
                None => self.wrong_name = true,
            },
            "D" | "DD" => self.fields[2] = Some(number),
            "Do" => {
                let digits = input.len() - input.trim_start_matches(|c: char| c.is_ascii_digit()).len();
                self.fields[2] = Some(to_int(&input[..digits]));
            }
            "DDD" | "DDDD" => self.day_of_year = Some(number),
            "gggg" | "ggggg" => self.week.gg = Some(number),
            "GGGG" | "GGGGG" => self.week.iso_gg = Some(number),
            "gg" => self.week.gg = Some(two_digit_year(number)),
            "GG" => self.week.iso_gg = Some(two_digit_year(number)),
            "w" | "ww" => self.week.w = Some(number),
            "W" | "WW" => self.week.iso_w = Some(number),
            "d" => self.week.d = Some(number),
            "e" => self.week.e = Some(number),
            "E" => self.week.iso_e = Some(number),
            "dd" | "ddd" | "dddd" => match named(&DAYS, input, strict, &[(2, "dd"), (3, "ddd"), (9, "dddd")], token) {
                Some(day) => self.week.d = Some(day),
                None => self.wrong_name = true,
            },
            "a" | "A" => self.meridiem = Some(input.to_ascii_lowercase()),
            "N" | "NN" | "NNN" | "NNNN" | "NNNNN" => self.before_christ = input.starts_with(['b', 'B']),
            "H" | "HH" => self.fields[3] = Some(number),
            "h" | "hh" => {
                self.fields[3] = Some(number);
                self.big_hour = true;
            }
            "k" | "kk" => self.fields[3] = Some(if number == 24.0 { 0.0 } else { number }),
            "hmm" | "Hmm" => {
                let (hour, minute) = input.split_at(input.len() - 2);
                (self.fields[3], self.fields[4]) = (Some(to_int(hour)), Some(to_int(minute)));
                self.big_hour |= token == "hmm";
            }
            "hmmss" | "Hmmss" => {
                let (hour, rest) = input.split_at(input.len() - 4);
                self.fields[3] = Some(to_int(hour));
                (self.fields[4], self.fields[5]) = (Some(to_int(&rest[..2])), Some(to_int(&rest[2..])));
                self.big_hour |= token == "hmmss";
            }
            "m" | "mm" => self.fields[4] = Some(number),
            "s" | "ss" => self.fields[5] = Some(number),
            "Z" | "ZZ" => self.offset = offset(input),
            "X" => self.instant = Some(calendar::clip(str_to_number(input) * 1e3)),
            "x" => self.instant = Some(calendar::clip(number)),
            _ if token.starts_with('S') => self.fields[6] = Some((str_to_number(&format!("0.{input}")) * 1e3).trunc()),
            _ => {}
        }
    }

    /// The moment they say, in the local zone; invalid where they say none.
    pub fn moment(mut self, around: &Around, strict: bool) -> Moment {
        let mut moment = Moment::at(around, f64::NAN);
        let any_field = self.fields.iter().any(Option::is_some);
        if let Some(year) = self.fields[0].as_mut().filter(|_| self.before_christ) {
            *year = 1.0 - *year;
        }
        if let (Some(meridiem), Some(hour)) = (&self.meridiem, &mut self.fields[3]) {
            match meridiem.starts_with('p') {
                true if *hour < 12.0 => *hour += 12.0,
                false if *hour == 12.0 => *hour = 0.0,
                _ => {}
            }
        }
        let mut problem = None;
        let mut weekday_differs = false;
        let date = match self.instant {
            Some(ms) => ms,
            None => self.date(around, &mut problem, &mut weekday_differs),
        };
        let overflow = self.overflow().or(problem);
        moment.overflow = overflow.unwrap_or(-1);
        moment.parsed_offset = self.offset;
        let lax = overflow.is_none()
            && !self.empty
            && !self.wrong_name
            && !weekday_differs
            && (self.meridiem.is_none() || any_field);
        if lax && !(strict && (self.chars_left > 0 || self.tokens_left > 0 || self.big_hour)) {
            moment.date = calendar::clip(date);
        }
        moment
    }

    fn date(&mut self, around: &Around, problem: &mut Option<i64>, weekday_differs: &mut bool) -> f64 {
        let in_utc = self.offset.is_some();
        let now = Moment { utc: in_utc, ..Moment::at(around, around.now) };
        let today = now.wall();
        if self.week.is_given() && self.fields[1].is_none() && self.fields[2].is_none() {
            self.day_of_week(&Moment::at(around, around.now), problem);
        }
        if let Some(day) = self.day_of_year {
            let year = self.fields[0].unwrap_or(today.year as f64);
            if !(day > 0.0 && day <= calendar::days_in_year(year as i64) as f64) {
                *problem = problem.or(Some(2));
            }
            let at = calendar::clip(calendar::instant([year, 0.0, day, 0.0, 0.0, 0.0, 0.0]));
            if at.is_finite() {
                let at = calendar::wall(at);
                (self.fields[1], self.fields[2]) = (Some(at.month as f64), Some(at.day as f64));
            }
        }
        // What stands before the first that was given is today's, what stands behind is the least.
        for (field, today) in self.fields.iter_mut().zip([today.year, today.month, today.day]) {
            if field.is_some() {
                break;
            }
            *field = Some(today as f64);
        }
        let mut fields = [0.0; 7];
        for (i, field) in self.fields.iter_mut().enumerate() {
            fields[i] = *field.get_or_insert(if i == 2 { 1.0 } else { 0.0 });
        }
        let next_day = fields[3..] == [24.0, 0.0, 0.0, 0.0];
        if next_day {
            fields[3] = 0.0;
        }
        let local = calendar::instant(fields);
        if !local.is_finite() {
            return f64::NAN;
        }
        *weekday_differs =
            self.week.is_given() && self.week.d.is_some_and(|day| day != calendar::wall(local).weekday as f64);
        let date = match self.offset {
            Some(offset) => local - offset * MINUTE_MS,
            None => calendar::from_local(&around.local, local),
        };
        if next_day {
            let mut moment = Moment::at(around, date);
            moment.add_days(1.0);
            return moment.date;
        }
        date
    }

    fn day_of_week(&mut self, now: &Moment, problem: &mut Option<i64>) {
        let week = &self.week;
        let (weeks, year, number, weekday, in_range) = if week.is_iso() {
            let year = week.iso_gg.or(self.fields[0]).unwrap_or(now.week(ISO).0 as f64);
            let weekday = week.iso_e.unwrap_or(1.0);
            (ISO, year, week.iso_w.unwrap_or(1.0), weekday, (1.0..=7.0).contains(&weekday))
        } else {
            let (this_year, this_week) = now.week(LOCALE);
            let year = week.gg.or(self.fields[0]).unwrap_or(this_year as f64);
            let weekday = week.d.or(week.e).unwrap_or(0.0);
            (LOCALE, year, week.w.unwrap_or(this_week as f64), weekday, (0.0..=6.0).contains(&weekday))
        };
        let is_known = year.abs() <= 1e6;
        let (year, number, weekday) = (year as i64, number as i64, weekday as i64);
        if !is_known || number < 1 || number > weeks.in_year(year) {
            *problem = Some(7);
        } else if !in_range {
            *problem = Some(8);
        } else {
            let (year, day) = weeks.day(year, number, weekday);
            self.fields[0] = Some(year as f64);
            self.day_of_year = Some(day as f64);
        }
    }

    /// The first field that is out of its range.
    fn overflow(&self) -> Option<i64> {
        let [year, month, day, hour, minute, second, ms] = self.fields;
        let outside = |field: Option<f64>, range: std::ops::RangeInclusive<f64>| {
            field.is_some_and(|n| !n.is_nan() && !range.contains(&n))
        };
        let in_month = |year: f64, month: f64| calendar::days_in_month(year as i64, month as i64) as f64;
        let last_day = match (year, month) {
            (Some(year), Some(month)) if year.abs() < 1e6 && month.abs() < 1e6 => in_month(year, month),
            (Some(_), Some(_)) => 31.0,
            // An instant was given: the month of no year has no end.
            _ => f64::INFINITY,
        };
        let more = [minute, second, ms].iter().any(|n| n.is_some_and(|n| n != 0.0));
        if outside(month, 0.0..=11.0) {
            Some(1)
        } else if outside(day, 1.0..=last_day) {
            Some(2)
        } else if outside(hour, 0.0..=24.0) || (hour == Some(24.0) && more) {
            Some(3)
        } else if outside(minute, 0.0..=59.0) {
            Some(4)
        } else if outside(second, 0.0..=59.0) {
            Some(5)
        } else if outside(ms, 0.0..=999.0) {
            Some(6)
        } else {
            None
        }
    }
}

/// Where a token's text begins, and how long it is.
fn find(text: &str, token: &str, strict: bool) -> Option<(usize, usize)> {
    let digits = |least, most| search(text, |rest| run(rest, least, most));
    // `strict` takes the exact form.
    let exact =
        |least: usize, most: usize, exactly: usize| if strict { digits(exactly, exactly) } else { digits(least, most) };
    let no_zero = || {
        if !strict {
            return digits(1, 2);
        }
        (!text.starts_with('0')).then(|| run(text, 1, 2)).flatten().map(|len| (0, len))
    };
    let has_zero = || {
        if !strict {
            return digits(1, 2);
        }
        run(text, 1, if text.starts_with('0') { 1 } else { 2 }).map(|len| (0, len))
    };
    let signed = |least, most| search(text, |rest| signed(rest, least, most));
    match token {
        "Y" | "x" => signed(1, usize::MAX),
        "X" => search(text, |rest| {
            let len = self::signed(rest, 1, usize::MAX)?;
            let fraction = rest[len..].strip_prefix('.').and_then(|rest| run(rest, 1, 3));
            Some(len + fraction.map_or(0, |n| n + 1))
        }),
        "YY" | "MM" | "DD" | "HH" | "hh" | "kk" | "mm" | "ss" | "ww" | "WW" | "gg" | "GG" => exact(1, 2, 2),
        "YYYY" | "gggg" | "GGGG" => exact(1, 4, 4),
        "YYYYY" | "YYYYYY" | "ggggg" | "GGGGG" => {
            if strict {
                signed(6, 6)
            } else {
                signed(1, 6)
            }
        }
        "M" | "D" | "h" | "k" | "w" | "W" => no_zero(),
        "H" | "m" | "s" => has_zero(),
        "d" | "e" | "E" => digits(1, 2),
        "Q" => digits(1, 1),
        "DDD" => digits(1, 3),
        "DDDD" => digits(3, 3),
        "hmm" | "Hmm" => digits(3, 4),
        "hmmss" | "Hmmss" => digits(5, 6),
        "y" | "yy" | "yyy" | "yyyy" | "yo" => digits(1, usize::MAX),
        "S" => exact(1, 3, 1),
        "SS" => exact(1, 3, 2),
        "SSS" => exact(1, 3, 3),
        "MMM" | "MMMM" | "dd" | "ddd" | "dddd" => search(text, word),
        "N" | "NN" | "NNN" | "NNNN" | "NNNNN" => era(text, token, strict).map(|len| (0, len)),
        "a" | "A" => search(text, meridiem),
        "Z" | "ZZ" => search(text, offset_len),
        "Do" => search(text, |rest| {
            let len = run(rest, 1, 2)?;
            let suffix = ["th", "st", "nd", "rd"]
                .iter()
                .any(|end| rest[len..].get(..2).is_some_and(|tail| tail.eq_ignore_ascii_case(end)));
            match (suffix, strict) {
                (true, _) => Some(len + 2),
                (false, false) => Some(len),
                (false, true) => None,
            }
        }),
        _ if token.starts_with('S') => digits(1, usize::MAX),
        // Tokens for printing only stand for themselves.
        literal => text.find(literal).map(|at| (at, literal.len())),
    }
}

/// The first place where `matches` gives a length.
fn search(text: &str, matches: impl Fn(&str) -> Option<usize>) -> Option<(usize, usize)> {
    text.char_indices().find_map(|(at, _)| matches(&text[at..]).map(|len| (at, len)))
}

/// So many digits at the beginning, as many as possible.
fn run(text: &str, least: usize, most: usize) -> Option<usize> {
    let len = text.bytes().take(most).take_while(u8::is_ascii_digit).count();
    (len >= least).then_some(len)
}

fn signed(text: &str, least: usize, most: usize) -> Option<usize> {
    let sign = usize::from(text.starts_with(['+', '-']));
    run(&text[sign..], least, most).map(|len| len + sign)
}

/// Digits, then letters and apostrophes, as Moment's `matchWord`.
fn word(text: &str) -> Option<usize> {
    let digits = run(text, 0, 256)?;
    let letter = |c: char| c == '\'' || c.is_ascii_alphabetic() || ('\u{a0}'..='\u{ffef}').contains(&c);
    let letters: usize = text[digits..].chars().take(256).take_while(|c| letter(*c)).map(char::len_utf8).sum();
    (letters > 0).then_some(digits + letters)
}

/// The name of an era at the beginning; strictly the long one for `NNNN`, else the short one.
fn era(text: &str, token: &str, strict: bool) -> Option<usize> {
    let names = ["anno domini", "before christ", "ad", "bc"];
    let fits = |name: &&str| !strict || (token == "NNNN") == (name.len() > 2);
    let begins = |name: &&str| text.get(..name.len()).is_some_and(|head| head.eq_ignore_ascii_case(name));
    names.iter().find(|name| fits(name) && begins(name)).map(|name| name.len())
}

fn meridiem(text: &str) -> Option<usize> {
    let rest = text.strip_prefix(['a', 'p', 'A', 'P'])?;
    let rest = rest.strip_prefix('.').unwrap_or(rest);
    let rest = rest.strip_prefix(['m', 'M']).unwrap_or(rest);
    let rest = rest.strip_prefix('.').unwrap_or(rest);
    Some(text.len() - rest.len())
}

/// `Z`, `+01`, `+0100`, `+01:00`.
fn offset_len(text: &str) -> Option<usize> {
    if text.starts_with(['Z', 'z']) {
        return Some(1);
    }
    let rest = text.strip_prefix(['+', '-'])?;
    run(rest, 2, 2)?;
    let colon = usize::from(rest[2..].starts_with(':'));
    Some(if run(&rest[2 + colon..], 2, 2).is_some() { 5 + colon } else { 3 })
}

/// Minutes of the last offset in a text, `None` without one.
pub fn offset(text: &str) -> Option<f64> {
    last_offset(text, offset_len)
}

/// As [`offset`], of those with hours and minutes.
pub fn whole_offset(text: &str) -> Option<f64> {
    last_offset(text, |rest| offset_len(rest).filter(|len| *len != 3))
}

fn last_offset(text: &str, matches: impl Fn(&str) -> Option<usize>) -> Option<f64> {
    let mut rest = text;
    let mut last = None;
    while let Some((at, len)) = search(rest, &matches) {
        last = Some(&rest[at..at + len]);
        rest = &rest[at + len..];
    }
    let last = last?;
    let digits: Vec<f64> = last.bytes().filter(u8::is_ascii_digit).map(|b| f64::from(b - b'0')).collect();
    let two = |i: usize| digits.get(i).zip(digits.get(i + 1)).map_or(0.0, |(a, b)| a * 10.0 + b);
    let minutes = two(0) * 60.0 + two(2);
    Some(if last.starts_with('-') { -minutes } else { minutes })
}

/// Which of the names a text begins with; strictly: is, in the length of the token.
fn named(names: &[&str], text: &str, strict: bool, lengths: &[(usize, &str)], token: &str) -> Option<f64> {
    let begins = |name: &str| text.get(..name.len()).is_some_and(|head| head.eq_ignore_ascii_case(name));
    let found = if strict {
        let len = lengths.iter().find(|(_, of)| *of == token)?.0;
        names.iter().position(|name| text.eq_ignore_ascii_case(&name[..len.min(name.len())]))
    } else {
        names.iter().position(|name| lengths.iter().any(|(len, _)| begins(&name[..(*len).min(name.len())])))
    };
    found.map(|i| i as f64)
}

/// Which of the months an unexact name says.
pub fn month_named(text: &str) -> Option<f64> {
    named(&MONTHS, text, false, &[(3, "")], "")
}

/// Which of the weekdays an unexact name says.
pub fn day_named(text: &str) -> Option<f64> {
    named(&DAYS, text, false, &[(2, "")], "")
}

fn two_digit_year(n: f64) -> f64 {
    if n > 68.0 { n + 1900.0 } else { n + 2000.0 }
}

fn to_int(text: &str) -> f64 {
    let n = str_to_number(text);
    if n.is_finite() { n.trunc() } else { 0.0 }
}
