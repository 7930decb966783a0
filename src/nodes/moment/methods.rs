//! The methods of a moment by their names, with arguments as JavaScript takes them.

use super::calendar::{self, ISO, LOCALE};
use super::change::{Span, Unit};
use super::create::{create, is_english};
use super::format::{self, INVALID};
use super::{Arg, Around, Moment};

/// What a method gives.
#[derive(Clone, Debug)]
pub enum Answer {
    /// The moment itself, which may have changed.
    This,
    Moment(Box<Moment>),
    Date(f64),
    Text(String),
    Number(f64),
    Bool(bool),
    Null,
    Undefined,
    Numbers(Vec<f64>),
    Named(Vec<(&'static str, f64)>),
}

/// All names a moment or a date answers to, also those that are not offered.
pub const METHODS: &[&str] = &[
    "add",
    "calendar",
    "clone",
    "creationData",
    "date",
    "dates",
    "day",
    "dayOfYear",
    "days",
    "daysInMonth",
    "diff",
    "endOf",
    "eraAbbr",
    "eraName",
    "eraNarrow",
    "eraYear",
    "format",
    "from",
    "fromNow",
    "get",
    "getDate",
    "getDay",
    "getFullYear",
    "getHours",
    "getMilliseconds",
    "getMinutes",
    "getMonth",
    "getSeconds",
    "getTime",
    "getTimezoneOffset",
    "getUTCDate",
    "getUTCDay",
    "getUTCFullYear",
    "getUTCHours",
    "getUTCMilliseconds",
    "getUTCMinutes",
    "getUTCMonth",
    "getUTCSeconds",
    "hasAlignedHourOffset",
    "hour",
    "hours",
    "inspect",
    "invalidAt",
    "isAfter",
    "isBefore",
    "isBetween",
    "isDST",
    "isLeapYear",
    "isLocal",
    "isSame",
    "isSameOrAfter",
    "isSameOrBefore",
    "isUTC",
    "isUtc",
    "isUtcOffset",
    "isValid",
    "isoWeek",
    "isoWeekYear",
    "isoWeekday",
    "isoWeeks",
    "isoWeeksInISOWeekYear",
    "isoWeeksInYear",
    "lang",
    "local",
    "locale",
    "localeData",
    "max",
    "millisecond",
    "milliseconds",
    "min",
    "minute",
    "minutes",
    "month",
    "months",
    "parseZone",
    "parsingFlags",
    "quarter",
    "quarters",
    "second",
    "seconds",
    "set",
    "startOf",
    "subtract",
    "to",
    "toArray",
    "toDate",
    "toDateString",
    "toISOString",
    "toJSON",
    "toLocaleDateString",
    "toLocaleString",
    "toLocaleTimeString",
    "toNow",
    "toObject",
    "toString",
    "toTimeString",
    "toUTCString",
    "tz",
    "unix",
    "utc",
    "utcOffset",
    "valueOf",
    "week",
    "weekYear",
    "weekday",
    "weeks",
    "weeksInWeekYear",
    "weeksInYear",
    "year",
    "years",
    "zone",
    "zoneAbbr",
    "zoneName",
];

/// Calls a method. An error is the reason why it cannot be answered.
pub fn call(around: &Around, this: &mut Moment, name: &str, args: &[Arg]) -> Result<Answer, String> {
    let arg = |i: usize| args.get(i).unwrap_or(&Arg::Undefined);
    let moment = |value: &Arg| create(around, value, &Arg::Undefined, &Arg::Undefined, &Arg::Undefined);
    let unit = |value: &Arg| value.text().and_then(Unit::named);
    if let Some(unit) = part(name) {
        if arg(0).is_nullish() {
            return Ok(Answer::Number(this.part(unit)));
        }
        this.set(unit, arg(0));
        return Ok(Answer::This);
    }
    Ok(match name {
        "format" => match arg(0) {
            Arg::Text(pattern) => Answer::Text(this.format(pattern)),
            pattern if !pattern.is_truthy() => Answer::Text(this.format("")),
            _ => return Err("a format is a text".into()),
        },
        "toISOString" => this.to_iso_with(matches!(arg(0), Arg::Bool(true))).map_or(Answer::Null, Answer::Text),
        "toJSON" => this.to_iso().map_or(Answer::Null, Answer::Text),
        "toString" => Answer::Text(this.format("ddd MMM DD YYYY HH:mm:ss [GMT]ZZ")),
        "inspect" => Answer::Text(this.inspected()),
        "toDate" => Answer::Date(this.value()),
        "valueOf" => Answer::Number(this.value()),
        "unix" => Answer::Number((this.value() / 1e3).floor()),
        "toArray" => Answer::Numbers(this.parts().iter().map(|(_, n)| *n).collect()),
        "toObject" => Answer::Named(this.parts()),
        "isValid" => Answer::Bool(this.is_valid()),
        "invalidAt" => Answer::Number(this.overflow as f64),
        "clone" => Answer::Moment(Box::new(this.copy())),
        "add" | "subtract" => {
            // The older order of unit and number is known, too.
            let turned = !matches!(arg(1), Arg::Null) && !arg(1).to_number().is_nan();
            let (value, unit) = if turned { (arg(1), arg(0)) } else { (arg(0), arg(1)) };
            this.add(Span::of(value, unit), if name == "add" { 1.0 } else { -1.0 });
            Answer::This
        }
        "startOf" | "endOf" => {
            this.to_edge(unit(arg(0)), name == "endOf");
            Answer::This
        }
        "set" => {
            match (arg(0), unit(arg(0))) {
                (Arg::Object(entries), _) => this.set_all(entries),
                (_, Some(unit)) => this.set(unit, arg(1)),
                _ => {}
            }
            Answer::This
        }
        "get" => unit(arg(0)).map_or(Answer::This, |unit| Answer::Number(this.part(unit))),
        "diff" => Answer::Number(this.diff(&moment(arg(0))?, unit(arg(1)), arg(2).is_truthy())),
        "isBefore" => Answer::Bool(this.is_before(&moment(arg(0))?, unit(arg(1)))),
        "isAfter" => Answer::Bool(this.is_after(&moment(arg(0))?, unit(arg(1)))),
        "isSame" => Answer::Bool(this.is_same(&moment(arg(0))?, unit(arg(1)))),
        "isSameOrBefore" | "isSameOrAfter" => {
            let (other, unit) = (moment(arg(0))?, unit(arg(1)));
            let or = if name == "isSameOrBefore" { this.is_before(&other, unit) } else { this.is_after(&other, unit) };
            Answer::Bool(or || this.is_same(&other, unit))
        }
        "isBetween" => {
            let (from, to, unit) = (moment(arg(0))?, moment(arg(1))?, unit(arg(2)));
            let borders = arg(3).text().filter(|text| !text.is_empty()).unwrap_or("()");
            let from_in =
                if borders.starts_with('(') { this.is_after(&from, unit) } else { !this.is_before(&from, unit) };
            let to_in =
                if borders.chars().nth(1) == Some(')') { this.is_before(&to, unit) } else { !this.is_after(&to, unit) };
            Answer::Bool(this.is_valid() && from.is_valid() && to.is_valid() && from_in && to_in)
        }
        "min" | "max" => {
            let other = create(around, arg(0), arg(1), arg(2), arg(3))?;
            if !this.is_valid() || !other.is_valid() {
                return Ok(Answer::Moment(Box::new(Moment::at(around, f64::NAN))));
            }
            let passes = if name == "min" { other.value() < this.value() } else { other.value() > this.value() };
            if passes { Answer::This } else { Answer::Moment(Box::new(other)) }
        }
        "from" | "to" | "fromNow" | "toNow" => {
            let (other, bare) = match name {
                "from" | "to" => (moment(arg(0))?, arg(1)),
                _ => (Moment::at(around, around.now), arg(0)),
            };
            let bare = bare.is_truthy();
            Answer::Text(match this.is_valid() && other.is_valid() {
                true if name.starts_with("from") => this.told_from(&other, bare),
                true => other.told_from(this, bare),
                false => INVALID.into(),
            })
        }
        "calendar" => {
            let (time, formats) = match (arg(0), args.len()) {
                (Arg::Object(formats), 1) if is_calendar(formats) => (&Arg::Undefined, arg(0)),
                (time, 1) => (time, &Arg::Undefined),
                (time, _) => (time, arg(1)),
            };
            let now = if time.is_truthy() { moment(time)? } else { Moment::at(around, around.now) };
            let key = this.calendar_key(&now);
            let given = match formats {
                Arg::Object(formats) => formats.iter().rev().find(|(name, _)| name == key).and_then(|(_, f)| f.text()),
                _ => None,
            };
            Answer::Text(this.format(given.filter(|f| !f.is_empty()).unwrap_or(match key {
                "sameDay" => "[Today at] LT",
                "nextDay" => "[Tomorrow at] LT",
                "nextWeek" => "dddd [at] LT",
                "lastDay" => "[Yesterday at] LT",
                "lastWeek" => "[Last] dddd [at] LT",
                _ => "L",
            })))
        }
        "utcOffset" if arg(0).is_nullish() => {
            if !args.is_empty() {
                this.zone = None;
            }
            Answer::Number(this.utc_offset())
        }
        "utcOffset" => {
            this.move_to_offset(arg(0), arg(1).is_truthy(), arg(2).is_truthy());
            Answer::This
        }
        "zone" if arg(0).is_nullish() => Answer::Number(0.0 - this.utc_offset()),
        "zone" => {
            let west = match arg(0) {
                Arg::Text(_) => arg(0).clone(),
                other => Arg::Number(-other.to_number()),
            };
            this.move_to_offset(&west, arg(1).is_truthy(), false);
            Answer::This
        }
        "utc" => {
            this.move_to_offset(&Arg::Number(0.0), arg(0).is_truthy(), false);
            Answer::This
        }
        "local" => {
            this.move_to_local(arg(0).is_truthy());
            Answer::This
        }
        "parseZone" => {
            this.move_to_parsed();
            Answer::This
        }
        "tz" => match arg(0) {
            name if !name.is_truthy() => {
                this.zone.as_ref().map_or(Answer::Undefined, |zone| Answer::Text(zone.name.to_string()))
            }
            Arg::Text(name) if this.move_to_zone(name, arg(1).is_truthy()) => Answer::This,
            Arg::Text(name) => return Err(format!("there is no time zone \"{name}\"")),
            _ => return Err("a time zone is named by a text".into()),
        },
        "isDST" => Answer::Bool(this.is_summer_time()),
        "isLocal" => Answer::Bool(this.is_valid() && !this.utc),
        "isUtcOffset" => Answer::Bool(this.is_valid() && this.utc),
        "isUtc" | "isUTC" => Answer::Bool(this.is_valid() && this.utc && this.offset.unwrap_or(0.0) == 0.0),
        "hasAlignedHourOffset" => {
            let other = if arg(0).is_truthy() { moment(arg(0))?.utc_offset() } else { 0.0 };
            Answer::Bool(this.is_valid() && (this.utc_offset() - other) % 60.0 == 0.0)
        }
        "zoneAbbr" => Answer::Text(this.zone_abbreviation()),
        "zoneName" => Answer::Text(this.zone_name()),
        "isLeapYear" => Answer::Bool(this.is_valid() && calendar::is_leap(this.wall().year)),
        "daysInMonth" => Answer::Number(this.number(|at| calendar::days_in_month(at.year, at.month))),
        "weeksInYear" => Answer::Number(this.number(|at| LOCALE.in_year(at.year))),
        "isoWeeksInYear" => Answer::Number(this.number(|at| ISO.in_year(at.year))),
        "weeksInWeekYear" => Answer::Number(this.number(|_| LOCALE.in_year(this.week(LOCALE).0))),
        "isoWeeksInISOWeekYear" => Answer::Number(this.number(|_| ISO.in_year(this.week(ISO).0))),
        "eraYear" => Answer::Number(this.number(|at| if at.year > 0 { at.year } else { 1 - at.year })),
        "eraName" | "eraNarrow" | "eraAbbr" if !this.is_valid() => Answer::Text(String::new()),
        "eraName" => Answer::Text(this.format("NNNN")),
        "eraNarrow" | "eraAbbr" => Answer::Text(this.format("N")),
        "locale" | "lang" => match arg(0) {
            Arg::Undefined if name == "locale" => Answer::Text("en".into()),
            Arg::Text(name) if is_english(name) => Answer::This,
            _ => return Err("only the locale \"en\" is offered".into()),
        },
        _ => return Err(format!("the method {name} is not offered")),
    })
}

/// Calls a method of a JavaScript `Date`.
pub fn call_date(around: &Around, ms: f64, name: &str) -> Result<Answer, String> {
    let local = Moment::at(around, ms);
    let mut utc = local.clone();
    utc.utc = true;
    let at = if name.starts_with("getUTC") { &utc } else { &local };
    Ok(match name.strip_prefix("getUTC").or_else(|| name.strip_prefix("get")).unwrap_or(name) {
        "Time" | "valueOf" => Answer::Number(ms),
        "toISOString" if ms.is_nan() => return Err("Invalid time value".into()),
        "toISOString" | "toJSON" => local.to_iso().map_or(Answer::Null, Answer::Text),
        "FullYear" => Answer::Number(at.part(Unit::Year)),
        "Month" => Answer::Number(at.part(Unit::Month)),
        "Date" => Answer::Number(at.part(Unit::Date)),
        "Day" => Answer::Number(at.part(Unit::Day)),
        "Hours" => Answer::Number(at.part(Unit::Hour)),
        "Minutes" => Answer::Number(at.part(Unit::Minute)),
        "Seconds" => Answer::Number(at.part(Unit::Second)),
        "Milliseconds" => Answer::Number(at.part(Unit::Millisecond)),
        "TimezoneOffset" => Answer::Number(0.0 - local.utc_offset()),
        "toUTCString" if ms.is_nan() => Answer::Text("Invalid Date".into()),
        "toUTCString" => Answer::Text(utc.format("ddd, DD MMM YYYY HH:mm:ss [GMT]")),
        "toDateString" if ms.is_nan() => Answer::Text("Invalid Date".into()),
        "toDateString" => Answer::Text(local.format("ddd MMM DD YYYY")),
        _ => return Err(format!("the method {name} of dates is not offered")),
    })
}

/// Which part a method reads and sets.
fn part(name: &str) -> Option<Unit> {
    Some(match name {
        "year" | "years" => Unit::Year,
        "month" | "months" => Unit::Month,
        "date" | "dates" => Unit::Date,
        "day" | "days" => Unit::Day,
        "hour" | "hours" => Unit::Hour,
        "minute" | "minutes" => Unit::Minute,
        "second" | "seconds" => Unit::Second,
        "millisecond" | "milliseconds" => Unit::Millisecond,
        "quarter" | "quarters" => Unit::Quarter,
        "week" | "weeks" => Unit::Week,
        "isoWeek" | "isoWeeks" => Unit::IsoWeek,
        "weekday" => Unit::Weekday,
        "isoWeekday" => Unit::IsoWeekday,
        "dayOfYear" => Unit::DayOfYear,
        "weekYear" => Unit::WeekYear,
        "isoWeekYear" => Unit::IsoWeekYear,
        _ => return None,
    })
}

fn is_calendar(formats: &[(String, Arg)]) -> bool {
    let keys = ["sameDay", "nextDay", "lastDay", "nextWeek", "lastWeek", "sameElse"];
    formats.iter().any(|(name, _)| keys.contains(&name.as_str()))
}

impl Moment {
    /// NaN when it is invalid.
    fn number(&self, of: impl FnOnce(&calendar::Wall) -> i64) -> f64 {
        if self.is_valid() { of(&self.wall()) as f64 } else { f64::NAN }
    }

    fn part(&self, unit: Unit) -> f64 {
        self.number(|at| match unit {
            Unit::Year => at.year,
            Unit::Quarter => at.month / 3 + 1,
            Unit::Month => at.month,
            Unit::Week => self.week(LOCALE).1,
            Unit::IsoWeek => self.week(ISO).1,
            Unit::Day | Unit::Weekday => at.weekday,
            Unit::Date => at.day,
            Unit::IsoWeekday => self.iso_weekday(),
            Unit::DayOfYear => calendar::day_of_year(at),
            Unit::WeekYear => self.week(LOCALE).0,
            Unit::IsoWeekYear => self.week(ISO).0,
            Unit::Hour => at.hour,
            Unit::Minute => at.minute,
            Unit::Second => at.second,
            Unit::Millisecond => at.millisecond,
        })
    }

    fn parts(&self) -> Vec<(&'static str, f64)> {
        let units = [
            ("years", Unit::Year),
            ("months", Unit::Month),
            ("date", Unit::Date),
            ("hours", Unit::Hour),
            ("minutes", Unit::Minute),
            ("seconds", Unit::Second),
            ("milliseconds", Unit::Millisecond),
        ];
        units.map(|(name, unit)| (name, self.part(unit))).into()
    }

    fn to_iso_with(&self, keep_offset: bool) -> Option<String> {
        if !keep_offset || !self.is_valid() {
            return self.to_iso();
        }
        let wall = calendar::clip(self.value() + self.utc_offset() * calendar::MINUTE_MS);
        (!wall.is_nan()).then(|| format::iso(wall).replace('Z', &self.format("Z")))
    }

    fn inspected(&self) -> String {
        if !self.is_valid() {
            return format!("moment.invalid(/* {} */)", self.input.as_deref().unwrap_or("undefined"));
        }
        let (of, zone) = match (self.utc, self.utc_offset() == 0.0) {
            (false, _) => ("moment", ""),
            (true, true) => ("moment.utc", "Z"),
            (true, false) => ("moment.parseZone", "Z"),
        };
        let year = if (0..=9999).contains(&self.wall().year) { "YYYY" } else { "YYYYYY" };
        self.format(&format!("[{of}(\"]{year}-MM-DD[T]HH:mm:ss.SSS{zone}[\")]"))
    }
}
