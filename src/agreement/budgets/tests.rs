//! Budgets: read, counted, bounded.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use proptest::prelude::*;
use serde_json::{Value, json};

use super::judge::{due, states};
use crate::agreement;
use crate::model::RunId;
use crate::model::agreement::Agreement;
use crate::model::budget::{Figures, Outcome};
use crate::model::state::{Scope, State, StateKind, Verdict};

fn document(budgets: Value, with: Value) -> Value {
    json!({
        "id": "shop", "version": "1", "type": "agreement",
        "context": {
            "validity": {"initial": "2026-01-01", "timeZone": "UTC"},
            "x-probity": {"budgets": budgets},
        },
        "terms": {
            "metrics": {
                "GOOD": {"collector": {"type": "PROBITY-FLOW-V1", "metric": "good"}},
                "ALL": {"collector": {"type": "PROBITY-FLOW-V1", "metric": "all"}},
            },
            "guarantees": [{"id": "FAST", "scope": {"team": {"default": "blue"}}, "of": [
                {"objective": "GOOD / ALL >= 0.9", "with": with, "scope": {"team": "blue"},
                 "window": {"type": "static", "period": "hourly"}},
            ]}],
        },
    })
}

fn load(budgets: Value) -> Agreement {
    let (agreement, problems) = agreement::load_value(document(budgets, json!({"GOOD": {}, "ALL": {}})), "test");
    agreement.unwrap_or_else(|| panic!("{problems:?}"))
}

fn at(hours: i64) -> Timestamp {
    "2026-01-01T00:00:00Z".parse::<Timestamp>().unwrap() + SignedDuration::from_hours(hours)
}

/// The verdict of the hour that ends `hour` hours after the start.
fn outcome(hour: i64, verdict: Verdict) -> Outcome {
    let waived = verdict == Verdict::Waived;
    Outcome {
        scope: Scope([("team".to_owned(), "blue".to_owned())].into()),
        from: at(hour - 1),
        to: at(hour),
        verdict,
        unwaived: if waived { Verdict::Violated } else { verdict },
        values: BTreeMap::new(),
    }
}

/// Everything said at `now` when all verdicts have just come.
fn said(agreement: &Agreement, outcomes: &[Outcome], now: Timestamp) -> Vec<State> {
    let budget = &agreement.budgets[0];
    let ends = || outcomes.iter().map(|o| o.to);
    let due = due(agreement, budget, ends().min().zip(ends().max()), now).unwrap().unwrap();
    states(agreement, budget, &due, outcomes, RunId(uuid::Uuid::nil()), now)
}

fn rolling(target: &str, hours: u32) -> Value {
    json!([{"guarantee": "FAST", "target": target, "window": {"type": "rolling", "length": format!("PT{hours}H"), "step": "hourly"}}])
}

fn closed_at(states: &[State], now: Timestamp) -> &State {
    states.iter().find(|s| s.kind == StateKind::Budget && s.window.to == now).expect("the period that has just ended")
}

#[test]
fn every_problem_of_a_budget_is_located() {
    for (budget, path, code, word) in [
        (
            json!({"guarantee": "FATS", "target": "99%"}),
            "budgets[0].guarantee",
            "unknown-guarantee",
            "did you mean \"FAST\"?",
        ),
        (json!({"guarantee": "FAST", "target": 99.9}), "budgets[0].target", "bad-target", "write \"99.9%\""),
        (json!({"guarantee": "FAST", "target": "100%"}), "budgets[0].target", "bad-target", "leaves no budget"),
        (json!({"guarantee": "FAST", "target": "x"}), "budgets[0].target", "bad-target", "a share below one"),
        (json!({"guarantee": "FAST", "taget": "99%"}), "budgets[0].taget", "unknown-field", "did you mean \"target\"?"),
        (json!({"guarantee": "FAST"}), "budgets[0].target", "missing-field", "target is missing"),
        (
            json!({"guarantee": "FAST", "target": "99%", "window": {"period": "monthli"}}),
            "budgets[0].window.period",
            "unknown-period",
            "did you mean \"monthly\"?",
        ),
        (
            json!({"guarantee": "FAST", "target": "99%", "events": {"good": "GOD", "total": "ALL"}}),
            "budgets[0].events.good",
            "unknown-metric",
            "did you mean \"GOOD\"?",
        ),
        (
            json!({"guarantee": "FAST", "target": "99%", "events": {"total": "ALL"}}),
            "budgets[0].events",
            "bad-events",
            "neither good nor bad",
        ),
        (
            json!({"guarantee": "FAST", "target": "99%", "window": {"period": "fiveMinutes"}}),
            "budgets[0].window",
            "budget-too-short",
            "many windows",
        ),
        (
            json!({"guarantee": "FAST", "target": "99%", "alerts": [{"burnRate": 14.4, "long": "PT1H", "short": "PT5M"}]}),
            "budgets[0].alerts[0].short",
            "alert-too-short",
            "down to fiveMinutes",
        ),
        (
            json!({"guarantee": "FAST", "target": "99%", "alerts": [{"burnRate": -1, "long": "PT6H", "short": "PT6H"}]}),
            "budgets[0].alerts[0].burnRate",
            "bad-burn-rate",
            "14.4",
        ),
        (
            json!({"guarantee": "FAST", "target": "99%", "alerts": [{"burnRate": 1, "long": "PT6H", "short": "PT6H"}]}),
            "budgets[0].alerts[0].short",
            "alert-windows",
            "a twelfth",
        ),
    ] {
        let mut whole = json!({"window": {"period": "monthly"}});
        whole.as_object_mut().unwrap().extend(budget.as_object().unwrap().clone());
        let (_, problems) = agreement::load_value(document(json!([whole]), json!({"GOOD": {}, "ALL": {}})), "test");
        let found = problems.iter().find(|p| p.code == code && p.path.ends_with(path));
        let found = found.unwrap_or_else(|| panic!("{code} at {path}: {problems:?}"));
        assert!(format!("{found}").contains(word), "{found}");
    }
}

#[test]
fn a_target_is_exact_however_it_is_written() {
    for target in [json!("99.9%"), json!("0.999"), json!(0.999), json!("999/1000"), json!(" 99.90 % ")] {
        let agreement = load(json!([{"guarantee": "FAST", "target": target, "window": {"period": "monthly"}}]));
        assert_eq!(agreement.budgets[0].target.text(), "999/1000", "{target}");
    }
}

#[test]
fn two_bad_hours_of_a_hundred_are_twice_a_budget_of_one_per_cent() {
    let agreement = load(rolling("99%", 100));
    let verdict = |h| if h == 7 || h == 50 { Verdict::Violated } else { Verdict::Fulfilled };
    let outcomes: Vec<Outcome> = (1..=100).map(|h| outcome(h, verdict(h))).collect();
    let states = said(&agreement, &outcomes, at(100));
    let state = closed_at(&states, at(100));
    assert_eq!((state.verdict, state.value), (Some(Verdict::Violated), Some(-1.0)));
    let figures = Figures::of(state).unwrap();
    assert_eq!((figures.tally.good, figures.tally.bad, figures.tally.windows), (98, 2, 100));
    assert_eq!(figures.used.unwrap().text(), "2/1");
    assert_eq!(figures.bad_windows, [at(49), at(6)]);
    assert_eq!(state.reason, "2 of 100 windows seen were bad, 1 % may be; 200 % of the budget is used up");
}

/// A calendar period's budget is that of the whole period, also while it is open.
#[test]
fn the_open_month_counts_what_is_still_to_come() {
    let agreement = load(json!([{"guarantee": "FAST", "target": "99.5%", "window": {"period": "monthly"}}]));
    let outcomes = [outcome(1, Verdict::Violated), outcome(2, Verdict::Fulfilled)];
    let states = said(&agreement, &outcomes, at(2));
    let [state] = states.as_slice() else { panic!("{states:?}") };
    assert!(state.provisional && state.window.to == at(744));
    let figures = Figures::of(state).unwrap();
    assert_eq!((figures.tally.pending, figures.tally.windows), (742, 744));
    // One of 744, where 3.72 may be bad.
    assert_eq!(figures.used.unwrap().text(), "25/93");
    assert_eq!(state.verdict, Some(Verdict::Fulfilled));
}

#[test]
fn waived_hours_use_up_nothing_and_stay_to_be_seen() {
    let agreement = load(rolling("90%", 10));
    let outcomes: Vec<Outcome> =
        (1..=10).map(|h| outcome(h, if h <= 2 { Verdict::Waived } else { Verdict::Fulfilled })).collect();
    let states = said(&agreement, &outcomes, at(10));
    let figures = Figures::of(closed_at(&states, at(10))).unwrap();
    assert_eq!((figures.used.unwrap().text(), figures.used_unwaived.unwrap().text()), ("0/1".into(), "2/1".into()));
    assert_eq!((closed_at(&states, at(10)).verdict, figures.unwaived), (Some(Verdict::Fulfilled), Verdict::Violated));
}

#[test]
fn hours_that_nobody_judged_are_neither_good_nor_bad() {
    let agreement = load(rolling("90%", 10));
    let judge = |known: &[i64], bad: &[i64]| {
        let verdict = |h| if bad.contains(h) { Verdict::Violated } else { Verdict::Fulfilled };
        let outcomes: Vec<Outcome> = known.iter().map(|h| outcome(*h, verdict(h))).collect();
        let states = said(&agreement, &outcomes, at(10));
        let state = closed_at(&states, at(10));
        let coverage = state.coverage.unwrap();
        (state.verdict.unwrap(), coverage.seen, coverage.expected, Figures::of(state).unwrap())
    };
    // One may be bad, and one is not known: it suffices whatever it was.
    let (verdict, seen, expected, figures) = judge(&[1, 2, 3, 4, 5, 6, 7, 8, 10], &[]);
    assert_eq!((verdict, seen, expected), (Verdict::Fulfilled, 9, 10));
    assert_eq!((figures.used_least.unwrap().text(), figures.used_most.unwrap().text()), ("0/1".into(), "1/1".into()));
    assert_eq!(judge(&[1, 2, 3, 4, 5, 6, 7, 8, 10], &[3]).0, Verdict::Unknown);
    assert_eq!(judge(&[1, 10], &[1, 10]).0, Verdict::Violated);
    assert_eq!(judge(&[10], &[]).0, Verdict::Unknown);
}

#[test]
fn nothing_to_judge_is_no_success() {
    let agreement = load(rolling("90%", 3));
    let outcomes: Vec<Outcome> = (1..=3).map(|h| outcome(h, Verdict::NotApplicable)).collect();
    let states = said(&agreement, &outcomes, at(3));
    assert_eq!(closed_at(&states, at(3)).verdict, Some(Verdict::NotApplicable));
    assert_eq!(closed_at(&states, at(3)).value, None);
}

#[test]
fn events_are_counted_exactly_and_one_without_a_count_has_no_bound() {
    let agreement = load(json!([{"guarantee": "FAST", "target": "99.9%", "events": {"good": "GOOD", "total": "ALL"},
        "window": {"type": "rolling", "length": "PT2H", "step": "hourly"}}]));
    let with = |hour, good: Option<f64>, all: f64| Outcome {
        values: [("GOOD".to_owned(), good), ("ALL".to_owned(), Some(all))].into(),
        ..outcome(hour, Verdict::Fulfilled)
    };
    let judge = |outcomes: [Outcome; 2]| {
        let states = said(&agreement, &outcomes, at(2));
        let state = closed_at(&states, at(2));
        (state.verdict.unwrap(), state.score.map(|s| s.text()), Figures::of(state).unwrap())
    };
    let (verdict, left, figures) = judge([with(1, Some(999.0), 1000.0), with(2, Some(1000.0), 1000.0)]);
    assert_eq!((verdict, left.as_deref()), (Verdict::Fulfilled, Some("1/2")));
    assert_eq!((figures.tally.good, figures.tally.bad), (1999, 1));
    for wrong in [None, Some(1001.0), Some(0.5), Some(-1.0)] {
        let (verdict, left, figures) = judge([with(1, Some(900.0), 1000.0), with(2, wrong, 1000.0)]);
        assert_eq!((verdict, figures.used_most), (Verdict::Unknown, None), "{wrong:?}");
        assert_eq!(left.as_deref(), Some("-99/1"), "what is known is not lost");
    }
    assert_eq!(judge([with(1, Some(0.0), 0.0), with(2, Some(0.0), 0.0)]).0, Verdict::NotApplicable);
}

#[test]
fn an_alert_fires_over_both_times_and_never_below_its_minimum() {
    let alerting = |minimum: u64| {
        load(json!([{"guarantee": "FAST", "target": "90%", "window": {"period": "monthly"},
            "alerts": [{"id": "fast", "burnRate": "2.5", "long": "PT4H", "short": "PT1H", "minimum": minimum}]}]))
    };
    let judge = |agreement: &Agreement, verdicts: &[Verdict]| {
        let outcomes: Vec<Outcome> = (1..).zip(verdicts).map(|(h, v)| outcome(h, *v)).collect();
        let now = at(i64::try_from(verdicts.len()).unwrap());
        let states = said(agreement, &outcomes, now);
        let found = states.into_iter().find(|s| s.kind == StateKind::BurnRate && s.window.to == now);
        found.map(|s| (s.verdict.unwrap(), s.value)).unwrap()
    };
    use Verdict::{Fulfilled as Good, Unknown, Violated as Bad};
    let agreement = alerting(2);
    assert_eq!(judge(&agreement, &[Good, Bad, Good, Bad]), (Bad, Some(5.0)));
    // The short time is over it: what was bad has ended.
    assert_eq!(judge(&agreement, &[Bad, Bad, Bad, Good]), (Good, Some(7.5)));
    assert_eq!(judge(&agreement, &[Good, Good, Bad, Unknown]), (Unknown, Some(10.0 / 3.0)));
    // One bad hour of one.
    assert_eq!(judge(&agreement, &[Bad]), (Unknown, Some(10.0)));
    assert_eq!(judge(&alerting(1), &[Bad]), (Bad, Some(10.0)));
}

fn verdicts() -> impl Strategy<Value = Vec<Verdict>> {
    let verdict = prop_oneof![
        4 => Just(Verdict::Fulfilled), 3 => Just(Verdict::Violated), 1 => Just(Verdict::Unknown),
        1 => Just(Verdict::Waived), 1 => Just(Verdict::NotApplicable),
    ];
    prop::collection::vec(verdict, 1..60)
}

fn judged(verdicts: &[Verdict], target: u32, minimum: u64) -> Vec<State> {
    let agreement = load(json!([{"guarantee": "FAST", "target": format!("{target}%"),
        "window": {"type": "rolling", "length": "PT12H", "step": "hourly"},
        "alerts": [{"burnRate": 2, "long": "PT6H", "short": "PT2H", "minimum": minimum}]}]));
    let outcomes: Vec<Outcome> = (1..).zip(verdicts).map(|(h, v)| outcome(h, *v)).collect();
    said(&agreement, &outcomes, at(i64::try_from(verdicts.len()).unwrap()))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// What rolls over all windows at once is what each period gives from scratch.
    #[test]
    fn rolling_is_counting_from_scratch(verdicts in verdicts(), target in 1u32..100) {
        let states = judged(&verdicts, target, 1);
        for state in states.iter().filter(|s| s.kind == StateKind::Budget && !s.provisional) {
            let inside = || (1..).zip(&verdicts).filter(|(h, _)| at(*h) > state.window.from && at(*h) <= state.window.to);
            let count = |wanted: Verdict| inside().filter(|(_, v)| **v == wanted).count() as u64;
            let figures = Figures::of(state).unwrap();
            prop_assert_eq!(figures.tally.bad, count(Verdict::Violated));
            prop_assert_eq!(figures.tally.good, count(Verdict::Fulfilled));
            prop_assert_eq!(figures.tally.unknown, count(Verdict::Unknown));
            prop_assert_eq!(figures.tally.waived_bad, count(Verdict::Waived));
            prop_assert_eq!(figures.tally.not_applicable, count(Verdict::NotApplicable));
            let (least, most) = (figures.used_least, figures.used_most);
            prop_assert!(figures.used.is_none() || (least <= figures.used && figures.used <= most));
        }
    }

    /// Verdicts that were known and are not any more turn budgets and alerts to unknown, or leave them.
    #[test]
    fn knowing_less_only_makes_unknown(verdicts in verdicts(), lost in prop::collection::vec(any::<bool>(), 60), target in 1u32..100, minimum in 1u64..7) {
        let less: Vec<Verdict> = verdicts.iter().zip(&lost)
            .map(|(v, lost)| if *lost && *v != Verdict::Waived { Verdict::Unknown } else { *v }).collect();
        let (before, after) = (judged(&verdicts, target, minimum), judged(&less, target, minimum));
        prop_assert_eq!(before.len(), after.len());
        for (before, after) in before.iter().zip(&after) {
            prop_assert_eq!((&before.of, &before.window), (&after.of, &after.window));
            prop_assert!(after.verdict == before.verdict || after.verdict == Some(Verdict::Unknown),
                "{} of {:?}: {:?} became {:?}", before.of, before.window, before.verdict, after.verdict);
        }
    }
}
