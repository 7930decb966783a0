//! Moments made from what people give: nothing, numbers, texts, lists, objects, with formats to read by.

use std::sync::LazyLock;

use regex::Regex;

use super::calendar::{self, MINUTE_MS};
use super::format::{DAYS, MONTHS};
use super::read::{self, Parts};
use super::{Arg, Around, Moment, javascript_date};
use crate::model::value::{parse_float, str_to_number};

/// The one language there is.
const ENGLISH: &str = "en";

/// The longest text and format to read by, and the most formats: reading takes as long as all of them multiplied.
const LENGTH_MAX: usize = 1_000;

fn expression(text: &str) -> Regex {
    Regex::new(text).expect("our own expression")
}

static EXTENDED_ISO: LazyLock<Regex> = LazyLock::new(|| {
    expression(
        r"^\s*((?:[+-]\d{6}|\d{4})-(?:\d\d-\d\d|W\d\d-\d|W\d\d|\d\d\d|\d\d))(?:(T| )(\d\d(?::\d\d(?::\d\d(?:[.,]\d+)?)?)?)([+-]\d\d(?::?\d\d)?|\s*Z)?)?$",
    )
});
static BASIC_ISO: LazyLock<Regex> = LazyLock::new(|| {
    expression(
        r"^\s*((?:[+-]\d{6}|\d{4})(?:\d\d\d\d|W\d\d\d|W\d\d|\d\d\d|\d\d|))(?:(T| )(\d\d(?:\d\d(?:\d\d(?:[.,]\d+)?)?)?)([+-]\d\d(?::?\d\d)?|\s*Z)?)?$",
    )
});
/// The format of a date, and whether a time may follow.
static ISO_DATES: LazyLock<Vec<(&str, Regex, bool)>> = LazyLock::new(|| {
    [
        ("YYYYYY-MM-DD", r"[+-]\d{6}-\d\d-\d\d", true),
        ("YYYY-MM-DD", r"\d{4}-\d\d-\d\d", true),
        ("GGGG-[W]WW-E", r"\d{4}-W\d\d-\d", true),
        ("GGGG-[W]WW", r"\d{4}-W\d\d", false),
        ("YYYY-DDD", r"\d{4}-\d{3}", true),
        ("YYYY-MM", r"\d{4}-\d\d", false),
        ("YYYYYYMMDD", r"[+-]\d{10}", true),
        ("YYYYMMDD", r"\d{8}", true),
        ("GGGG[W]WWE", r"\d{4}W\d{3}", true),
        ("GGGG[W]WW", r"\d{4}W\d{2}", false),
        ("YYYYDDD", r"\d{7}", true),
        ("YYYYMM", r"\d{6}", false),
        ("YYYY", r"\d{4}", false),
    ]
    .map(|(format, text, time)| (format, expression(text), time))
    .into()
});
static ISO_TIMES: LazyLock<Vec<(&str, Regex)>> = LazyLock::new(|| {
    [
        ("HH:mm:ss.SSSS", r"\d\d:\d\d:\d\d\.\d+"),
        ("HH:mm:ss,SSSS", r"\d\d:\d\d:\d\d,\d+"),
        ("HH:mm:ss", r"\d\d:\d\d:\d\d"),
        ("HH:mm", r"\d\d:\d\d"),
        ("HHmmss.SSSS", r"\d\d\d\d\d\d\.\d+"),
        ("HHmmss,SSSS", r"\d\d\d\d\d\d,\d+"),
        ("HHmmss", r"\d\d\d\d\d\d"),
        ("HHmm", r"\d\d\d\d"),
        ("HH", r"\d\d"),
    ]
    .map(|(format, text)| (format, expression(text)))
    .into()
});
static MAIL: LazyLock<Regex> = LazyLock::new(|| {
    expression(
        r"^(?:(Mon|Tue|Wed|Thu|Fri|Sat|Sun),?\s)?(\d{1,2})\s(Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec)\s(\d{2,4})\s(\d\d):(\d\d)(?::(\d\d))?\s(?:(UT|GMT|[ECMP][SD]T)|([Zz])|([+-]\d{4}))$",
    )
});
static COMMENTS: LazyLock<Regex> = LazyLock::new(|| expression(r"\([^()]*\)|[\n\t]"));
static SPACES: LazyLock<Regex> = LazyLock::new(|| expression(r"\s\s+"));
static ASP_NET: LazyLock<Regex> = LazyLock::new(|| expression(r"(?i)^/?Date\((-?\d+)"));

/// `moment(input, format, locale, strict)`. A text that is no date gives an invalid moment; what is not offered is an
/// error.
pub fn create(around: &Around, input: &Arg, format: &Arg, locale: &Arg, strict: &Arg) -> Result<Moment, String> {
    let (format, mut strict) = match format {
        Arg::Bool(strict) => (&Arg::Undefined, *strict),
        format => (format, strict.is_truthy()),
    };
    match locale {
        Arg::Bool(is_strict) => strict = *is_strict,
        Arg::Text(name) if name.is_empty() || is_english(name) => {}
        locale if locale.is_nullish() => {}
        _ => return Err("only the locale \"en\" is offered".into()),
    }
    let mut moment = match (input, format) {
        (Arg::Null, _) => Moment::at(around, f64::NAN),
        (Arg::Text(text), Arg::Undefined) if text.is_empty() => Moment::at(around, f64::NAN),
        (Arg::Moment(moment), _) => moment.copy(),
        (Arg::Date(ms), _) => Moment::at(around, *ms),
        (input, Arg::Array(formats)) => by_best(around, &text_of(input)?, formats, strict)?,
        (input, Arg::Text(format)) if !format.is_empty() => by_format(around, &text_of(input)?, short(format)?, strict),
        (input, format) if !format.is_truthy() => of_input(around, input, strict)?,
        _ => return Err("a format to read by is a text, or a list of them".into()),
    };
    if let Arg::Text(text) = input {
        moment.input = Some(text.as_str().into());
    }
    Ok(moment)
}

pub(super) fn is_english(name: &str) -> bool {
    name.eq_ignore_ascii_case(ENGLISH) || name.to_ascii_lowercase().starts_with("en-us")
}

/// What a value is as the text that a format reads.
fn text_of(input: &Arg) -> Result<String, String> {
    match input {
        Arg::Text(text) => short(text).map(str::to_string),
        Arg::Number(n) => Ok(crate::model::value::number_to_string(*n).to_string()),
        Arg::Undefined => Ok("undefined".into()),
        _ => Err("with a format, a text or a number is read".into()),
    }
}

fn short(text: &str) -> Result<&str, String> {
    match text.len() {
        0..=LENGTH_MAX => Ok(text),
        _ => Err(format!("a text to read by a format, and a format, have at most {LENGTH_MAX} bytes")),
    }
}

fn of_input(around: &Around, input: &Arg, strict: bool) -> Result<Moment, String> {
    Ok(match input {
        Arg::Undefined => Moment::at(around, around.now),
        Arg::Text(text) => of_text(around, text, strict),
        Arg::Number(ms) => Moment::at(around, *ms),
        Arg::Array(items) if items.is_empty() => Moment::at(around, around.now),
        Arg::Array(items) => {
            let mut fields = [None; 7];
            for (field, item) in fields.iter_mut().zip(items) {
                *field = Some(parse_int(item));
            }
            Parts::of(fields).moment(around, false)
        }
        Arg::Object(entries) if entries.is_empty() => Moment::at(around, around.now),
        Arg::Object(entries) => {
            let given = |units: &[&str]| {
                let found = entries.iter().rev().find(|(name, _)| {
                    super::change::Unit::named(name).is_some_and(|unit| units.contains(&unit.name()))
                });
                found.map(|(_, value)| value).filter(|value| !value.is_nullish()).map(|value| match value {
                    value if !value.is_truthy() => value.to_number(),
                    value => parse_int(value),
                })
            };
            let day = given(&["day"]).or_else(|| given(&["date"]));
            let [hour, minute, second] = [&["hour"], &["minute"], &["second"]].map(|unit| given(unit));
            let fields = [given(&["year"]), given(&["month"]), day, hour, minute, second, given(&["millisecond"])];
            Parts::of(fields).moment(around, false)
        }
        _ => Moment::at(around, f64::NAN),
    })
}

/// JavaScript's `parseInt(x, 10)`.
fn parse_int(value: &Arg) -> f64 {
    match value {
        Arg::Number(n) => n.trunc(),
        Arg::Text(text) => {
            let text = text.trim_start();
            let sign = usize::from(text.starts_with(['+', '-']));
            let digits = text[sign..].bytes().take_while(u8::is_ascii_digit).count();
            if digits == 0 { f64::NAN } else { str_to_number(&text[..sign + digits]) }
        }
        _ => f64::NAN,
    }
}

fn by_format(around: &Around, text: &str, format: &str, strict: bool) -> Moment {
    read::read(around, text, format, strict).0
}

/// By the format that leaves least unread; one that makes a date goes before others.
fn by_best(around: &Around, text: &str, formats: &[Arg], strict: bool) -> Result<Moment, String> {
    if formats.len() > LENGTH_MAX {
        return Err(format!("a date is read by at most {LENGTH_MAX} formats"));
    }
    let mut best: Option<(Moment, usize)> = None;
    for format in formats {
        let Arg::Text(format) = format else { return Err("a format to read by is a text".into()) };
        let (moment, score) = read::read(around, text, short(format)?, strict);
        let better = match &best {
            None => true,
            Some((before, least)) if before.is_valid() => score < *least,
            Some((_, least)) => score < *least || moment.is_valid(),
        };
        if better {
            best = Some((moment, score));
        }
    }
    Ok(best.map_or_else(|| Moment::at(around, f64::NAN), |(moment, _)| moment))
}

/// ISO 8601, mail's dates, and where `strict` is not asked for, what JavaScript's `Date` makes of it.
fn of_text(around: &Around, text: &str, strict: bool) -> Moment {
    if let Some(found) = ASP_NET.captures(text) {
        return Moment::at(around, parse_float(&found[1]));
    }
    if let Some(moment) = of_iso(around, text, strict) {
        return moment;
    }
    match of_mail(around, text) {
        Some(moment) => moment,
        None if strict => Moment::at(around, f64::NAN),
        None => Moment::at(around, javascript_date::parse(text, &around.local)),
    }
}

/// `None` when it is not written as ISO 8601 writes.
fn of_iso(around: &Around, text: &str, strict: bool) -> Option<Moment> {
    let found = EXTENDED_ISO.captures(text).or_else(|| BASIC_ISO.captures(text))?;
    let (date, _, time_allowed) = ISO_DATES.iter().find(|(_, look, _)| look.is_match(&found[1]))?;
    let mut format = date.to_string();
    if let Some(time) = found.get(3) {
        let (time, _) = ISO_TIMES.iter().find(|(_, look)| look.is_match(time.as_str()))?;
        if !time_allowed {
            return None;
        }
        format += found.get(2).map_or(" ", |m| m.as_str());
        format += time;
    }
    if found.get(4).is_some() {
        format += "Z";
    }
    Some(by_format(around, text, &format, strict))
}

fn of_mail(around: &Around, text: &str) -> Option<Moment> {
    let text = COMMENTS.replace_all(text, " ");
    let text = SPACES.replace_all(&text, " ");
    let found = MAIL.captures(text.trim())?;
    let number = |i: usize| found.get(i).map_or(0.0, |m| str_to_number(m.as_str()));
    let year = match number(4) {
        year @ 0.0..=49.0 => year + 2000.0,
        year @ ..=999.0 => year + 1900.0,
        year => year,
    };
    let month = MONTHS.iter().position(|month| month[..3] == found[3])? as f64;
    let wall = calendar::instant([year, month, number(2), number(5), number(6), number(7), 0.0]);
    let mut moment = Moment::at(around, f64::NAN);
    if !wall.is_finite()
        || found.get(1).is_some_and(|day| !DAYS[calendar::wall(wall).weekday as usize].starts_with(day.as_str()))
    {
        return Some(moment);
    }
    let offset = match found.get(8).map(|m| m.as_str()) {
        Some("EDT") => -240.0,
        Some("EST" | "CDT") => -300.0,
        Some("CST" | "MDT") => -360.0,
        Some("MST" | "PDT") => -420.0,
        Some("PST") => -480.0,
        _ => {
            let n = number(10);
            (n / 100.0).trunc() * 60.0 + n % 100.0
        }
    };
    moment.parsed_offset = Some(offset);
    moment.date = calendar::clip(wall - offset * MINUTE_MS);
    Some(moment)
}
