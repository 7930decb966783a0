//! One field of a pattern: which numbers it stands for, and what is wrong with it.

/// Which field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Second,
    Minute,
    Hour,
    Day,
    Month,
    Weekday,
}

/// All fields in writing order, seconds included.
pub(super) const KINDS: &[Kind] = &[Kind::Second, Kind::Minute, Kind::Hour, Kind::Day, Kind::Month, Kind::Weekday];

const MONTHS: &[&str] = &["JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC"];
const WEEKDAYS: &[&str] = &["SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT"];
const LONG_MONTHS: &[&str] = &[
    "JANUARY",
    "FEBRUARY",
    "MARCH",
    "APRIL",
    "MAY",
    "JUNE",
    "JULY",
    "AUGUST",
    "SEPTEMBER",
    "OCTOBER",
    "NOVEMBER",
    "DECEMBER",
];
const LONG_WEEKDAYS: &[&str] = &["SUNDAY", "MONDAY", "TUESDAY", "WEDNESDAY", "THURSDAY", "FRIDAY", "SATURDAY"];

impl Kind {
    pub(super) fn name(self) -> &'static str {
        match self {
            Kind::Second => "second",
            Kind::Minute => "minute",
            Kind::Hour => "hour",
            Kind::Day => "day of month",
            Kind::Month => "month",
            Kind::Weekday => "day of week",
        }
    }

    /// Smallest and largest number, both included; 7 is Sunday again.
    fn range(self) -> (u8, u8) {
        match self {
            Kind::Second | Kind::Minute => (0, 59),
            Kind::Hour => (0, 23),
            Kind::Day => (1, 31),
            Kind::Month => (1, 12),
            Kind::Weekday => (0, 7),
        }
    }

    fn expected(self) -> String {
        let (low, high) = self.range();
        match self {
            Kind::Month => format!("{low} to {high} or JAN to DEC"),
            Kind::Weekday => format!("{low} to {high} (0 and 7 are Sunday) or SUN to SAT"),
            _ => format!("{low} to {high}"),
        }
    }

    fn by_name(self, name: &str) -> Option<u8> {
        let find = |names: &[&str]| names.iter().position(|n| n.eq_ignore_ascii_case(name));
        match self {
            Kind::Month => find(MONTHS).or_else(|| find(LONG_MONTHS)).map(|i| i as u8 + 1),
            Kind::Weekday => find(WEEKDAYS).or_else(|| find(LONG_WEEKDAYS)).map(|i| i as u8),
            _ => None,
        }
    }
}

/// What is wrong with a field; the pattern around it is added by the caller.
pub(super) struct FieldError {
    pub(super) problem: String,
    pub(super) expected: String,
    pub(super) hint: Option<String>,
}

/// The numbers a field stands for.
#[derive(Clone, Debug)]
pub(super) struct Field {
    /// Bit n: the number n.
    bits: u64,
    /// Written `*` or `?`: no restriction.
    pub(super) any: bool,
    /// Holds a wildcard or a step.
    pub(super) repeats: bool,
}

impl Field {
    /// A field of one number.
    pub(super) fn only(n: u8) -> Field {
        Field { bits: 1 << n, any: false, repeats: false }
    }

    pub(super) fn parse(kind: Kind, text: &str) -> Result<Field, FieldError> {
        let day_field = matches!(kind, Kind::Day | Kind::Weekday);
        if text == "*" || (text == "?" && day_field) {
            let (low, high) = kind.range();
            return Ok(Field { bits: bits(low, high, 1), any: true, repeats: true }.settled(kind));
        }
        let mut field = Field { bits: 0, any: false, repeats: false };
        for item in text.split(',') {
            field.add(kind, item)?;
        }
        Ok(field.settled(kind))
    }

    fn settled(mut self, kind: Kind) -> Field {
        if kind == Kind::Weekday && self.bits & (1 << 7) != 0 {
            self.bits = (self.bits | 1) & !(1 << 7);
        }
        self
    }

    fn add(&mut self, kind: Kind, item: &str) -> Result<(), FieldError> {
        let (base, step) = match item.split_once('/') {
            Some((base, step)) => (base, Some(parse_step(kind, item, step)?)),
            None => (item, None),
        };
        let (low, high) = kind.range();
        let (from, to) = if base == "*" {
            self.repeats = true;
            // A stepped wildcard counts each weekday once.
            (low, if kind == Kind::Weekday { 6 } else { high })
        } else if let Some((from, to)) = base.split_once('-') {
            let from_n = number(kind, from)?;
            let mut to_n = number(kind, to)?;
            if kind == Kind::Weekday && to_n == 0 && from_n > 0 {
                to_n = 7;
            }
            if from_n > to_n {
                return Err(FieldError {
                    problem: format!("the range \"{base}\" runs backwards"),
                    expected: "a range from the smaller to the larger".into(),
                    hint: Some("write it as two ranges, joined by a comma".into()),
                });
            }
            (from_n, to_n)
        } else {
            let n = number(kind, base)?;
            (n, if step.is_some() { high } else { n })
        };
        self.repeats |= step.is_some();
        self.bits |= bits(from, to, step.unwrap_or(1));
        Ok(())
    }

    fn numbers(&self) -> impl Iterator<Item = u8> + '_ {
        (0..64u8).filter(|n| self.bits & (1 << n) != 0)
    }

    /// As a list of numbers, or `*`.
    pub(super) fn list(&self) -> String {
        if self.any {
            return "*".into();
        }
        self.numbers().map(|n| n.to_string()).collect::<Vec<_>>().join(",")
    }

    /// Weekdays as the `cron` crate counts them: Sunday is 1.
    pub(super) fn quartz_list(&self) -> String {
        self.numbers().map(|n| (n + 1).to_string()).collect::<Vec<_>>().join(",")
    }
}

fn bits(from: u8, to: u8, step: u8) -> u64 {
    (from..=to).step_by(usize::from(step)).fold(0, |bits, n| bits | 1 << n)
}

fn parse_step(kind: Kind, item: &str, step: &str) -> Result<u8, FieldError> {
    match step.parse::<u8>() {
        Ok(n) if n > 0 && !step.starts_with('+') => Ok(n),
        _ => Err(FieldError {
            problem: format!("\"{}\" has no usable step", shortened(item)),
            expected: format!("a whole number from 1 to {} after the slash", kind.range().1),
            hint: None,
        }),
    }
}

fn number(kind: Kind, text: &str) -> Result<u8, FieldError> {
    let (low, high) = kind.range();
    let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    let found = if digits { text.parse::<u8>().ok() } else { kind.by_name(text) };
    match found {
        Some(n) if (low..=high).contains(&n) => Ok(n),
        _ => Err(unusable(kind, text)),
    }
}

fn unusable(kind: Kind, text: &str) -> FieldError {
    let special = matches!(kind, Kind::Day | Kind::Weekday)
        && text.contains(['L', 'l', 'W', 'w', '#'])
        && text.bytes().all(|b| b.is_ascii_digit() || b"LlWw#".contains(&b));
    let names: &[&str] = match kind {
        Kind::Month => MONTHS,
        Kind::Weekday => WEEKDAYS,
        _ => &[],
    };
    let near = crate::model::diagnostic::closest(text, names.iter().copied());
    FieldError {
        problem: match text {
            "" => "a value is missing".into(),
            _ if special => format!("\"{}\" uses L, W or #, which are not supported", shortened(text)),
            _ => format!("\"{}\" is no {}", shortened(text), kind.name()),
        },
        expected: kind.expected(),
        hint: match near {
            _ if special => Some("name the days, for example 28-31 or MON".into()),
            Some(name) => Some(format!("did you mean \"{name}\"?")),
            None if text == "?" => Some("`?` stands only in the day fields; write `*`".into()),
            None => None,
        },
    }
}

fn shortened(text: &str) -> String {
    text.chars().take(20).collect()
}
