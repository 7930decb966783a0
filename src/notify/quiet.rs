//! Quiet hours: when nobody is to be told, in a time zone.

use jiff::civil::{Time, Weekday};
use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan, Zoned};

/// When nothing is told: `22:00-07:00` every day, or whole days (`sat`).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Quiet {
    hours: Vec<(Time, Time)>,
    days: Vec<Weekday>,
}

const DAYS: [(&str, Weekday); 7] = [
    ("mon", Weekday::Monday),
    ("tue", Weekday::Tuesday),
    ("wed", Weekday::Wednesday),
    ("thu", Weekday::Thursday),
    ("fri", Weekday::Friday),
    ("sat", Weekday::Saturday),
    ("sun", Weekday::Sunday),
];

impl Quiet {
    /// Reads a list of hours and days.
    ///
    /// # Errors
    /// What is none, and what leaves no time at all.
    pub fn parse(texts: &[String]) -> Result<Quiet, String> {
        let mut quiet = Quiet::default();
        for text in texts {
            let word = text.trim().to_ascii_lowercase();
            match (DAYS.iter().find(|(day, _)| *day == word), hours(&word)) {
                (Some((_, day)), _) => quiet.days.push(*day),
                (None, Some(hours)) => quiet.hours.push(hours),
                (None, None) => {
                    return Err(format!(
                        "\"{text}\" is no quiet time; expected hours such as 22:00-07:00, or a day: mon … sun"
                    ));
                }
            }
        }
        let minute = |minute: i64| Time::midnight().wrapping_add(minute.minutes());
        if (0..24 * 60).all(|at| quiet.is_quiet_hour(minute(at)))
            || DAYS.iter().all(|(_, day)| quiet.days.contains(day))
        {
            return Err("these quiet times leave no time to tell anything".into());
        }
        Ok(quiet)
    }

    /// When the quiet time ends that it is now; `None`: it is not quiet.
    pub fn ends(&self, now: Timestamp, zone: &TimeZone) -> Option<Timestamp> {
        let start = now.to_zoned(zone.clone());
        let mut at = start.clone();
        // Each step leaves one day or one span of hours behind; more than these are nowhere in a week.
        for _ in 0..8 * (self.hours.len() + 2) {
            match self.step(&at) {
                Some(next) if next > at => at = next,
                // A clock that is turned back: the hour comes twice, and once is enough.
                Some(_) | None => break,
            }
        }
        (at > start).then(|| at.timestamp())
    }

    /// The end of one quiet time that an instant lies in.
    fn step(&self, at: &Zoned) -> Option<Zoned> {
        if self.days.contains(&at.weekday()) {
            return at.tomorrow().ok()?.start_of_day().ok();
        }
        let time = at.time();
        let (from, to) = self.hours.iter().find(|hours| is_within(**hours, time))?;
        let day = if from > to && time >= *from { at.tomorrow().ok()? } else { at.clone() };
        // A time that the clock leaves out is the one after it.
        day.date().to_datetime(*to).to_zoned(at.time_zone().clone()).ok()
    }

    fn is_quiet_hour(&self, time: Time) -> bool {
        self.hours.iter().any(|hours| is_within(*hours, time))
    }
}

fn is_within((from, to): (Time, Time), time: Time) -> bool {
    if from <= to { from <= time && time < to } else { time >= from || time < to }
}

/// `22:00-07:00`; a time that ends when it begins is none.
fn hours(text: &str) -> Option<(Time, Time)> {
    let (from, to) = text.split_once('-')?;
    let time = |text: &str| Time::strptime("%H:%M", text.trim()).ok();
    Some((time(from)?, time(to)?)).filter(|(from, to)| from != to)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn quiet(texts: &[&str]) -> Result<Quiet, String> {
        Quiet::parse(&texts.iter().map(|text| text.to_string()).collect::<Vec<_>>())
    }

    #[test]
    fn they_end_in_their_time_zone() {
        for (texts, zone, now, ends) in [
            // A Tuesday in summer: Madrid is two hours ahead.
            (&["22:00-07:00"][..], "Europe/Madrid", "2026-07-07T19:59:59Z", None),
            (&["22:00-07:00"], "Europe/Madrid", "2026-07-07T20:00:00Z", Some("2026-07-08T05:00:00Z")),
            (&["22:00-07:00"], "Europe/Madrid", "2026-07-08T04:59:00Z", Some("2026-07-08T05:00:00Z")),
            (&["22:00-07:00"], "Europe/Madrid", "2026-07-08T05:00:00Z", None),
            (&["22:00-07:00"], "UTC", "2026-07-07T20:00:00Z", None),
            (&["12:00-13:00"], "UTC", "2026-07-07T12:30:00Z", Some("2026-07-07T13:00:00Z")),
            // From Friday night over the weekend to Monday morning.
            (&["22:00-07:00", "sat", "Sun"], "Europe/Madrid", "2026-07-10T21:00:00Z", Some("2026-07-13T05:00:00Z")),
            (&["sat"], "UTC", "2026-07-11T00:00:00Z", Some("2026-07-12T00:00:00Z")),
            // The night the clock is put forward (from 2:00 to 3:00) and the one it is put back.
            (&["22:00-07:00"], "Europe/Madrid", "2026-03-28T22:00:00Z", Some("2026-03-29T05:00:00Z")),
            (&["22:00-07:00"], "Europe/Madrid", "2026-10-24T21:00:00Z", Some("2026-10-25T06:00:00Z")),
            (&["01:00-02:30"], "Europe/Madrid", "2026-03-29T00:30:00Z", Some("2026-03-29T01:30:00Z")),
            (&[], "UTC", "2026-07-07T03:00:00Z", None),
        ] {
            let zone = TimeZone::get(zone).unwrap();
            let found = quiet(texts).unwrap().ends(now.parse().unwrap(), &zone);
            assert_eq!(found, ends.map(|ends: &str| ends.parse().unwrap()), "{texts:?} {now}");
        }
    }

    #[test]
    fn what_is_none_or_leaves_no_time_is_refused() {
        for (texts, said) in [
            (&["night"][..], "\"night\" is no quiet time"),
            (&["25:00-07:00"], "is no quiet time"),
            (&["07:00-07:00"], "is no quiet time"),
            (&["00:00-12:00", "12:00-00:00"], "leave no time"),
            (&["mon", "tue", "wed", "thu", "fri", "sat", "sun"], "leave no time"),
        ] {
            let problem = quiet(texts).unwrap_err();
            assert!(problem.contains(said), "{problem}");
        }
    }
}
