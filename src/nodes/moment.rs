//! Moment and Moment Timezone, as Node-RED gives them to JSONata (`$moment`) and uses them in `date` inputs; English.
//!
//! A moment is kept as theirs is, so that the order of changes, and the gaps of clock changes, come out the same.

pub mod calendar;
mod change;
mod compare;
mod create;
mod format;
mod javascript_date;
mod methods;
mod read;

use std::sync::Arc;

use jiff::tz::TimeZone;

pub use calendar::Wall;
pub use create::create;
pub use methods::{Answer, METHODS, call, call_date};

/// Where a moment comes into being.
#[derive(Clone, Debug)]
pub struct Around {
    /// Milliseconds since the epoch.
    pub now: f64,
    /// The zone of moments that have none of their own.
    pub local: TimeZone,
}

/// A value that a moment is made from or a method is called with.
#[derive(Clone, Debug)]
pub enum Arg {
    Undefined,
    Null,
    Bool(bool),
    Number(f64),
    Text(String),
    Array(Vec<Arg>),
    Object(Vec<(String, Arg)>),
    Moment(Box<Moment>),
    /// Milliseconds since the epoch; NaN when invalid.
    Date(f64),
    Function,
}

impl Arg {
    /// JavaScript's `x == null`.
    pub fn is_nullish(&self) -> bool {
        matches!(self, Arg::Undefined | Arg::Null)
    }

    fn is_truthy(&self) -> bool {
        match self {
            Arg::Undefined | Arg::Null => false,
            Arg::Bool(b) => *b,
            Arg::Number(n) => *n != 0.0 && !n.is_nan(),
            Arg::Text(text) => !text.is_empty(),
            _ => true,
        }
    }

    /// JavaScript's `+x`.
    fn to_number(&self) -> f64 {
        match self {
            Arg::Null => 0.0,
            Arg::Bool(b) => f64::from(*b),
            Arg::Number(n) | Arg::Date(n) => *n,
            Arg::Text(text) => crate::model::value::str_to_number(text),
            Arg::Moment(moment) => moment.value(),
            Arg::Array(items) => match items.as_slice() {
                [] => 0.0,
                [one] => one.to_number(),
                _ => f64::NAN,
            },
            Arg::Undefined | Arg::Object(_) | Arg::Function => f64::NAN,
        }
    }

    fn text(&self) -> Option<&str> {
        match self {
            Arg::Text(text) => Some(text),
            _ => None,
        }
    }
}

/// A date as JavaScript writes it out, where the machine's zone is UTC.
pub fn date_text(ms: f64) -> String {
    let date = Moment::at(&Around { now: 0.0, local: TimeZone::UTC }, ms);
    match date.is_valid() {
        true => date.format("ddd MMM DD YYYY HH:mm:ss [GMT]ZZ [(Coordinated Universal Time)]"),
        false => "Invalid Date".into(),
    }
}

/// The zone a moment was moved to by name.
#[derive(Clone, Debug)]
struct Zone {
    name: Arc<str>,
    rules: TimeZone,
}

/// An instant as people see it somewhere.
#[derive(Clone, Debug)]
pub struct Moment {
    /// Milliseconds since the epoch, moved by `offset`; NaN when there is no such date.
    date: f64,
    /// Seen at `offset` or in UTC, and not in the local zone.
    utc: bool,
    /// Minutes ahead of UTC.
    offset: Option<f64>,
    zone: Option<Zone>,
    local: TimeZone,
    /// What the text it was read from said, minutes.
    parsed_offset: Option<f64>,
    /// The text it was read from.
    input: Option<Arc<str>>,
    /// Which part of it was out of its range, as `invalidAt` says.
    overflow: i64,
}

impl Moment {
    /// A moment of the local zone.
    pub fn at(around: &Around, ms: f64) -> Moment {
        Moment {
            date: calendar::clip(ms),
            utc: false,
            offset: None,
            zone: None,
            local: around.local.clone(),
            parsed_offset: None,
            input: None,
            overflow: -2,
        }
    }

    pub fn is_valid(&self) -> bool {
        !self.date.is_nan()
    }

    /// Milliseconds since the epoch; NaN when invalid.
    pub fn value(&self) -> f64 {
        self.date - self.offset.unwrap_or(0.0) * calendar::MINUTE_MS
    }

    /// ISO 8601 in UTC with milliseconds; `None` when invalid, or when its offset leads beyond the last date.
    pub fn to_iso(&self) -> Option<String> {
        let ms = calendar::clip(self.value());
        (!ms.is_nan()).then(|| format::iso(ms))
    }

    /// What its clock and calendar show. It is valid.
    fn wall(&self) -> Wall {
        calendar::wall(if self.utc { self.date } else { self.date + calendar::offset_ms(&self.local, self.date) })
    }

    /// Minutes that its clock is ahead of UTC.
    fn utc_offset(&self) -> f64 {
        match (self.is_valid(), self.utc) {
            (false, _) => f64::NAN,
            (true, true) => self.offset.unwrap_or(0.0),
            // Offsets of old have seconds.
            (true, false) => (calendar::offset_ms(&self.local, self.date) / calendar::MINUTE_MS).trunc(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn around() -> Around {
        Around { now: 0.0, local: TimeZone::UTC }
    }

    fn text(text: impl Into<String>) -> Arg {
        Arg::Text(text.into())
    }

    #[test]
    fn what_leads_beyond_all_dates_is_no_date() {
        let year = text("-99999999999999999999999 1");
        assert!(!create(&around(), &year, &text("Y w"), &Arg::Undefined, &Arg::Undefined).unwrap().is_valid());
        for offset in [1e300, -1e300, f64::NAN, f64::INFINITY] {
            let mut moment = Moment::at(&around(), 1e12);
            call(&around(), &mut moment, "utcOffset", &[Arg::Number(offset), Arg::Bool(true)]).unwrap();
            assert_eq!((moment.format("Z"), moment.to_iso()), ("Invalid date".to_string(), None), "{offset}");
        }
        let mut last = Moment::at(&around(), 8.64e15);
        call(&around(), &mut last, "utcOffset", &[Arg::Number(-60.0), Arg::Bool(true)]).unwrap();
        assert_eq!(last.to_iso(), None);
    }

    #[test]
    fn parts_beside_an_instant_are_not_looked_at() {
        let read = |input: &str, format: &str| {
            create(&around(), &text(input), &text(format), &Arg::Undefined, &Arg::Undefined).unwrap().to_iso()
        };
        assert_eq!(read("200 36", "x D").as_deref(), Some("1970-01-01T00:00:00.200Z"));
        assert_eq!(read("2026 36", "YYYY D"), None);
    }

    #[test]
    fn what_would_take_long_to_read_is_refused() {
        let long = || text("Q".repeat(1_001));
        let formats = || Arg::Array(vec![text("Q"); 1_001]);
        for (input, format) in
            [(long(), text("Q")), (text("1"), long()), (text("1"), Arg::Array(vec![long()])), (text("1"), formats())]
        {
            assert!(create(&around(), &input, &format, &Arg::Undefined, &Arg::Undefined).is_err());
        }
        assert!(create(&around(), &long(), &Arg::Undefined, &Arg::Undefined, &Arg::Undefined).is_ok());
    }
}
