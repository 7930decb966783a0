//! Named cases of time changes, the pattern language, and `croner` as differential oracle.

use std::str::FromStr;

use proptest::prelude::*;

use super::*;

fn zone(name: &str) -> TimeZone {
    TimeZone::get(name).unwrap()
}

/// The next `n` firings after a wall-clock time in the zone, with their offsets.
fn firings(pattern: &str, tz: &str, after: &str, n: usize) -> Vec<String> {
    let (cron, tz) = (Cron::parse(pattern).unwrap(), zone(tz));
    let mut t = Timestamp::from_str(after).unwrap();
    let mut out = Vec::new();
    while out.len() < n {
        t = cron.next_after(t, &tz).unwrap();
        out.push(t.to_zoned(tz.clone()).strftime("%d %H:%M:%S %:z").to_string());
    }
    out
}

#[test]
fn a_fixed_time_in_the_gap_fires_at_the_first_valid_instant() {
    assert_eq!(
        firings("30 2 * * *", "Europe/Berlin", "2026-03-28T00:00:00+01:00", 3),
        ["28 02:30:00 +01:00", "29 03:00:00 +02:00", "30 02:30:00 +02:00"]
    );
    assert_eq!(
        firings("15,45 2,3 * * *", "Europe/Berlin", "2026-03-29T00:00:00+01:00", 3),
        ["29 03:00:00 +02:00", "29 03:15:00 +02:00", "29 03:45:00 +02:00"]
    );
    // Lord Howe moves by half an hour; Santiago skips midnight.
    assert_eq!(
        firings("15 2 * * *", "Australia/Lord_Howe", "2026-10-04T00:00:00+10:30", 2),
        ["04 02:30:00 +11:00", "05 02:15:00 +11:00"]
    );
    assert_eq!(
        firings("0 0 * * *", "America/Santiago", "2026-09-05T12:00:00-04:00", 2),
        ["06 01:00:00 -03:00", "07 00:00:00 -03:00"]
    );
}

#[test]
fn a_fixed_time_in_the_overlap_fires_once_at_the_first() {
    assert_eq!(
        firings("30 2 * * *", "Europe/Berlin", "2026-10-24T12:00:00+02:00", 2),
        ["25 02:30:00 +02:00", "26 02:30:00 +01:00"]
    );
    // Asked in the second pass, the first is over.
    assert_eq!(firings("30 2 * * *", "Europe/Berlin", "2026-10-25T02:10:00+01:00", 1), ["26 02:30:00 +01:00"]);
    // A list is no wildcard.
    assert_eq!(
        firings("0,30 2 * * *", "Europe/Berlin", "2026-10-25T00:00:00+02:00", 3),
        ["25 02:00:00 +02:00", "25 02:30:00 +02:00", "26 02:00:00 +01:00"]
    );
}

#[test]
fn wildcards_and_steps_fire_at_every_instant_of_the_overlap_in_order() {
    assert_eq!(
        firings("*/30 * * * *", "Europe/Berlin", "2026-10-25T01:30:00+02:00", 5),
        ["25 02:00:00 +02:00", "25 02:30:00 +02:00", "25 02:00:00 +01:00", "25 02:30:00 +01:00", "25 03:00:00 +01:00"]
    );
    assert_eq!(
        firings("30 * * * *", "America/New_York", "2026-11-01T00:30:00-04:00", 3),
        ["01 01:30:00 -04:00", "01 01:30:00 -05:00", "01 02:30:00 -05:00"]
    );
    assert_eq!(
        firings("30 1-3/2 * * *", "America/New_York", "2026-11-01T00:30:00-04:00", 3),
        ["01 01:30:00 -04:00", "01 01:30:00 -05:00", "01 03:30:00 -05:00"]
    );
    // In the gap nothing is made up.
    assert_eq!(
        firings("*/30 * * * *", "Europe/Berlin", "2026-03-29T01:30:00+01:00", 2),
        ["29 03:00:00 +02:00", "29 03:30:00 +02:00"]
    );
    assert_eq!(firings("30 * * * *", "Europe/Berlin", "2026-03-29T01:30:00+01:00", 1), ["29 03:30:00 +02:00"]);
}

#[test]
fn weekdays_count_from_monday_and_day_fields_are_alternatives() {
    let utc = |pattern: &str, n| firings(pattern, "UTC", "2026-06-01T12:00:00Z", n);
    // 1 June 2026 is a Monday.
    assert_eq!(utc("0 0 * * 1", 2), ["08 00:00:00 +00:00", "15 00:00:00 +00:00"]);
    assert_eq!(utc("0 0 * * 0", 1), ["07 00:00:00 +00:00"]);
    assert_eq!(utc("0 0 * * 7", 1), ["07 00:00:00 +00:00"]);
    assert_eq!(utc("0 0 * * fri-sun", 3), ["05 00:00:00 +00:00", "06 00:00:00 +00:00", "07 00:00:00 +00:00"]);
    assert_eq!(utc("0 0 10 * MON", 2), ["08 00:00:00 +00:00", "10 00:00:00 +00:00"]);
    assert_eq!(utc("0 0 10 * ?", 1), ["10 00:00:00 +00:00"]);
    assert_eq!(utc("15 0 0 * * 2", 1), ["02 00:00:15 +00:00"]);
    assert_eq!(utc("0 0 1 jul *", 1), ["01 00:00:00 +00:00"]);
    assert_eq!(utc("@hourly", 1), ["01 13:00:00 +00:00"]);
}

#[test]
fn impossible_dates_never_fire() {
    let start = Timestamp::from_str("2026-01-01T00:00:00Z").unwrap();
    for pattern in ["0 0 30 2 *", "0 0 31 4,6 *", "* * 30 2 *"] {
        assert_eq!(Cron::parse(pattern).unwrap().next_after(start, &zone("Europe/Berlin")), None, "{pattern}");
    }
    assert_eq!(Cron::parse("* * * * *").unwrap().next_after(Timestamp::MAX, &TimeZone::UTC), None);
    let first = Cron::parse("0 0 1 1 *").unwrap().next_after(Timestamp::MIN, &TimeZone::UTC);
    assert_eq!(first, Some(Timestamp::UNIX_EPOCH));
    let leap = Cron::parse("0 0 29 2 *").unwrap().next_after(start, &TimeZone::UTC).unwrap();
    assert_eq!(leap.to_string(), "2028-02-29T00:00:00Z");
}

#[test]
fn a_fraction_of_a_second_is_after_its_second() {
    let cron = Cron::parse("* * * * * *").unwrap();
    let t = Timestamp::from_str("2026-01-01T00:00:00.5Z").unwrap();
    assert_eq!(cron.next_after(t, &TimeZone::UTC).unwrap().to_string(), "2026-01-01T00:00:01Z");
    let before = Timestamp::from_str("1965-01-01T00:00:00.5Z").unwrap();
    assert_eq!(cron.next_after(before, &TimeZone::UTC), Some(Timestamp::UNIX_EPOCH));
}

#[test]
fn errors_name_the_field_and_what_was_expected() {
    for (pattern, says) in [
        ("", "it has 0 fields; expected five fields"),
        ("61 * * * *", "minute: \"61\" is no minute; expected 0 to 59"),
        ("* 24 * * *", "hour: \"24\" is no hour; expected 0 to 23"),
        ("* * 0 * *", "day of month: \"0\" is no day of month; expected 1 to 31"),
        ("* * * FBE *", "did you mean \"FEB\"?"),
        ("* * * * 8", "day of week: \"8\""),
        ("* * L * *", "L, W or #, which are not supported"),
        ("* * 15W * *", "not supported"),
        ("* * * * 1#2", "not supported"),
        ("* * * * 5L", "not supported"),
        ("? * * * *", "write `*`"),
        ("*/0 * * * *", "minute: \"*/0\" has no usable step"),
        ("5-1 * * * *", "runs backwards"),
        ("1,,2 * * * *", "a value is missing"),
        ("0 0 * * * * 2027", "leave out the year"),
        ("60 * * * * *", "second: \"60\""),
        ("-1 * * * *", "minute"),
        ("+1 * * * *", "minute"),
    ] {
        let error = Cron::parse(pattern).unwrap_err().to_string();
        assert!(error.contains(says), "{pattern:?}: {error}");
    }
    assert_eq!(Cron::parse("0  9 * * MON-FRI").unwrap().to_string(), "0  9 * * MON-FRI");
}

const ZONES: [&str; 10] = [
    "UTC",
    "Europe/Berlin",
    "Europe/London",
    "America/New_York",
    "America/Santiago",
    "America/Sao_Paulo",
    "Australia/Lord_Howe",
    "Asia/Kolkata",
    "Africa/Casablanca",
    "Pacific/Auckland",
];

const PATTERNS: [&str; 24] = [
    "* * * * *",
    "*/5 * * * *",
    "*/7 * * * *",
    "0 * * * *",
    "30 * * * *",
    "30 */2 * * *",
    "0 0 * * *",
    "30 2 * * *",
    "15,45 1-3 * * *",
    "0 3 * * *",
    "59 23 * * *",
    "0 9 * * MON-FRI",
    "0 0 1 * *",
    "0 0 31 * *",
    "0 0 29 2 *",
    "30 2 * 3,10 0",
    "0 12 13 * FRI",
    "*/30 2 * * *",
    "30 0-4 * * 7",
    "0 0 1 1 *",
    "10 5/6 * * *",
    "0 0 */10 * *",
    "15 30 2 * * *",
    "0 */20 1,2 * * 1",
];

/// Differences to `croner`, on purpose: it takes lists, ranges and a seconds wildcard for interval jobs too, so a
/// list of fixed times is compared time by time; and it reads `5/6` only as an extension.
fn oracle(pattern: &str) -> Vec<croner::Cron> {
    let parser = croner::parser::CronParser::builder().seconds(croner::parser::Seconds::Optional).build();
    let pattern = pattern.replace("5/6", "5-23/6");
    let fields: Vec<&str> = pattern.split(' ').collect();
    let at = fields.len() - 5;
    let single = |text: &str| -> Vec<String> {
        let ends = |item: &str| item.split('-').map(|n| n.parse::<u8>().unwrap()).collect::<Vec<_>>();
        text.split(',').map(ends).flat_map(|e| e[0]..=e[e.len() - 1]).map(|n| n.to_string()).collect()
    };
    if fields[at..at + 2].iter().any(|f| f.contains(['*', '/'])) {
        return vec![parser.parse(&pattern).unwrap()];
    }
    let mut out = Vec::new();
    for minute in single(fields[at]) {
        for hour in single(fields[at + 1]) {
            let mut one = fields.clone();
            (one[at], one[at + 1]) = (&minute, &hour);
            out.push(parser.parse(&one.join(" ")).unwrap());
        }
    }
    out
}

/// Times worth asking about: around every change of the clock, and one at random a month.
fn sampled(tz: &TimeZone) -> Vec<Timestamp> {
    let (start, end) = ("2020-01-01T00:00:00Z".parse().unwrap(), "2040-01-01T00:00:00Z".parse::<Timestamp>().unwrap());
    let mut out = Vec::new();
    let hour = |h: i64| SignedDuration::from_secs(h * 1800);
    for transition in tz.following(start).take_while(|t| t.timestamp() < end) {
        out.extend((-6..=4).map(|h| transition.timestamp() + hour(h)));
    }
    let mut random = fastrand::Rng::with_seed(7);
    let mut t: Timestamp = start;
    while t < end {
        out.push(t + SignedDuration::from_secs(random.i64(0..2_000_000)));
        t += SignedDuration::from_hours(24 * 30);
    }
    out
}

#[test]
fn agrees_with_croner_from_2020_to_2040_in_ten_zones() {
    // Every pattern at a third of the times; which third differs by pattern.
    let mut compared = 0;
    for name in ZONES {
        let tz = zone(name);
        let times = sampled(&tz);
        for (p, pattern) in PATTERNS.iter().enumerate() {
            let (ours, theirs) = (Cron::parse(pattern).unwrap(), oracle(pattern));
            for t in times.iter().skip(p % 3).step_by(3) {
                let from = t.to_zoned(tz.clone());
                let next = |c: &croner::Cron| c.find_next_occurrence(&from, false).unwrap().timestamp();
                assert_eq!(ours.next_after(*t, &tz), theirs.iter().map(next).min(), "{pattern} in {name} after {t}");
                compared += 1;
            }
        }
    }
    assert!(compared > 20_000, "{compared}");
}

#[test]
fn unlike_croner_lists_and_seconds_wildcards_name_fixed_times() {
    let tz = zone("Europe/Berlin");
    let second_pass = "2026-10-25T02:10:00+01:00".parse::<Timestamp>().unwrap();
    for pattern in ["0,30 2 * * *", "* 30 2 * * *"] {
        let ours = Cron::parse(pattern).unwrap().next_after(second_pass, &tz).unwrap();
        assert_eq!(ours.to_zoned(tz.clone()).day(), 26, "{pattern}");
        let parser = croner::parser::CronParser::builder().seconds(croner::parser::Seconds::Optional).build();
        let theirs = parser.parse(pattern).unwrap();
        let theirs = theirs.find_next_occurrence(&second_pass.to_zoned(tz.clone()), false).unwrap();
        assert_eq!(theirs.day(), 25, "{pattern}");
    }
}

fn field() -> impl Strategy<Value = String> {
    prop_oneof![
        Just("*".to_string()),
        (0..62u8).prop_map(|n| n.to_string()),
        (0..62u8, 0..62u8).prop_map(|(a, b)| format!("{a}-{b}")),
        (1..62u8).prop_map(|n| format!("*/{n}")),
        (0..25u8, 1..9u8, 0..25u8).prop_map(|(a, s, b)| format!("{a}/{s},{b}")),
        "[A-Z]{3}",
    ]
}

proptest! {
    #[test]
    fn any_text_is_parsed_or_refused(text in "\\PC{0,40}") {
        let _ = Cron::parse(&text).map_err(|e| e.to_string());
    }

    #[test]
    fn pattern_like_text_is_parsed_or_refused(text in "[0-9*/,\\-?LW#A-Za-z@ ]{0,30}") {
        let _ = Cron::parse(&text).map_err(|e| e.to_string());
    }

    #[test]
    fn firings_are_later_and_later_and_match_the_clock(
        fields in prop::collection::vec(field(), 5..=6),
        zone_index in 0..ZONES.len(),
        start in 1_500_000_000i64..2_200_000_000,
    ) {
        let Ok(cron) = Cron::parse(&fields.join(" ")) else { return Ok(()) };
        let tz = zone(ZONES[zone_index]);
        let mut t = Timestamp::from_second(start).unwrap();
        for _ in 0..50 {
            let Some(next) = cron.next_after(t, &tz) else { break };
            prop_assert!(next > t);
            // Nothing between: asked a moment earlier, the answer is the same.
            let before = next - SignedDuration::from_nanos(1);
            prop_assert_eq!(cron.next_after(before.max(t), &tz), Some(next));
            t = next;
        }
    }
}
