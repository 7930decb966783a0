//! Agreements with budgets, and evidence for them, made up at random.

use std::ops::Range;
use std::sync::Arc;

use futures_util::FutureExt;
use jiff::{SignedDuration, Timestamp};
use probity::clock::Clock;
use probity::evaluate::{Evaluator, InProcess, Windows};
use probity::model::agreement::Agreement;
use probity::store::Store;
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};
use serde_json::{Value, json};

use crate::evaluation::{evaluator_of, in_process, request};

/// An agreement, and what its collector answers.
#[derive(Clone, Debug)]
pub struct Case {
    pub document: Value,
    /// Seconds of a window of its guarantee.
    pub every: i64,
    pub windows: usize,
    /// By window, of each team that was answered about: the good ones and all, as the collector says them.
    pub answers: Vec<Vec<(usize, Value, Value)>>,
}

const PERIODS: [(&str, i64); 3] = [("fiveMinutes", 300), ("hourly", 3600), ("daily", 86_400)];

/// A count, or one of the ways in which there is none.
fn count(most: u32) -> impl Strategy<Value = Value> {
    prop_oneof![
        12 => (0..=most).prop_map(|n| json!(n)),
        1 => Just(Value::Null),
        1 => Just(json!("NaN")),
        1 => Just(json!("")),
        1 => Just(json!(0.5)),
    ]
}

fn duration(seconds: i64) -> String {
    format!("PT{seconds}S")
}

prop_compose! {
    fn case()(
        period in 0..PERIODS.len(),
        wildcard in any::<bool>(),
        windows in 3usize..14,
    )(
        period in Just(period),
        wildcard in Just(wildcard),
        windows in Just(windows),
        limit in 1u32..=20,
        target in prop_oneof![Just("99.9%"), Just("95%"), Just("1/3"), Just("0.5"), Just("90.5%")],
        events in any::<bool>(),
        calendar in prop::bool::weighted(0.2),
        reach in 1i64..8,
        long in 2i64..6,
        minimum in 1u64..4,
        rate in prop_oneof![Just("0.5"), Just("1"), Just("1.1"), Just("2"), Just("14.4")],
        waived in prop::option::weighted(0.3, 0..windows),
        answers in prop::collection::vec(
            prop::collection::vec((0usize..3, count(20), count(20).prop_filter("mostly all there", |v| v != &json!(0.5))), 0..4),
            windows,
        ),
    ) -> Case {
        let (name, every) = PERIODS[period];
        let mut budget = json!({"id": "b", "guarantee": "G", "target": target, "alerts": [
            {"id": "a", "burnRate": rate, "long": duration(long * every), "short": duration(every), "minimum": minimum, "severity": "ticket"},
        ]});
        budget["window"] = if calendar {
            json!({"period": if period == 2 { "weekly" } else { "daily" }})
        } else {
            json!({"type": "rolling", "length": duration(reach * every), "step": name})
        };
        if events {
            budget["events"] = json!({"good": "GOOD", "total": "ALL"});
        }
        let mut ours = json!({"budgets": [budget]});
        if let Some(waived) = waived {
            let from = waived as i64 * every;
            ours["waivers"] = json!([{"reason": "moving", "owner": "ana", "expires": "2999-01-01",
                "from": at(from).to_string(), "to": at(from + every).to_string()}]);
        }
        let member = if wildcard { "*" } else { "t0" };
        let document = json!({
            "id": "case", "version": "1", "type": "agreement",
            "context": {"validity": {"initial": "1970-01-01", "timeZone": "UTC"}, "x-probity": ours},
            "terms": {
                "metrics": {
                    "GOOD": {"collector": in_process(), "measure": {"what": "good"}},
                    "ALL": {"collector": in_process(), "measure": {"what": "all"}},
                },
                "guarantees": [{"id": "G", "scope": {"team": {"default": "*"}}, "of": [
                    {"scope": {"team": member}, "objective": format!("GOOD >= {limit} or ALL == 0"),
                     "with": {"GOOD": {}, "ALL": {}}, "window": {"type": "static", "period": name}},
                ]}],
            },
        });
        // Teams are answered about once a window, or what they have is ambiguous; that occurs, too, but seldom.
        let answers = answers.into_iter().map(|teams| {
            let mut seen = [false; 3];
            teams.into_iter().filter(|(team, good, _)| !std::mem::replace(&mut seen[*team], true) || good == &json!(13)).collect()
        }).collect();
        Case { document, every, windows, answers }
    }
}

pub fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

/// So many, always the same for a seed.
pub fn cases(number: usize, seed: u64) -> Vec<Case> {
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&seed.to_le_bytes());
    let mut runner = TestRunner::new_with_rng(Config::default(), TestRng::from_seed(RngAlgorithm::ChaCha, &bytes));
    let strategy = case();
    (0..number).map(|_| strategy.new_tree(&mut runner).unwrap().current()).collect()
}

impl Case {
    pub fn agreement(&self, id: &str) -> Arc<Agreement> {
        let mut document = self.document.clone();
        document["id"] = id.into();
        let (agreement, problems) = probity::agreement::load_value(document, "test");
        agreement.map(Arc::new).unwrap_or_else(|| panic!("{problems:?}"))
    }

    pub fn end(&self) -> Timestamp {
        at(self.every * self.windows as i64)
    }

    fn answer(&self, window: usize, metric: &str) -> Value {
        let (from, to) = (at(window as i64 * self.every), at((window as i64 + 1) * self.every));
        let period = json!({"from": from.to_string(), "to": to.to_string()});
        let said = self.answers.get(window).map(Vec::as_slice).unwrap_or_default();
        let computations: Vec<Value> = said
            .iter()
            .map(|(team, good, all)| {
                let mut computation = json!({
                    "scope": {"team": format!("t{team}")}, "period": period,
                    "value": if metric == "GOOD" { good } else { all }, "evidences": [{"team": team}],
                });
                // A population that was empty is nothing to judge.
                if all == &json!(7) {
                    computation["coverage"] = json!({"seen": 0, "expected": 0});
                }
                computation
            })
            .collect();
        json!({ "computations": computations })
    }
}

/// Evaluates some of the agreements, answered from their cases; `cases[i]` is that of agreement `c<i>`.
pub fn evaluator(cases: &Arc<Vec<Case>>, clock: &Clock, store: &Arc<dyn Store>, some: Range<usize>) -> Arc<Evaluator> {
    let agreements = some.map(|i| cases[i].agreement(&format!("c{i}"))).collect();
    let answered = cases.clone();
    let collector: InProcess = Arc::new(move |query, body| {
        let case = body["config"]["case"].as_u64().and_then(|i| answered.get(i as usize)).expect("a case");
        let window = query.window.from.as_second() / case.every;
        let answer = case.answer(usize::try_from(window).unwrap(), &query.metric);
        async move { Ok(answer) }.boxed()
    });
    evaluator_of(clock, store, agreements, collector, "[]", 100_000)
}

/// Numbers the cases, so that their collector knows which one asks.
pub fn numbered(mut cases: Vec<Case>) -> Arc<Vec<Case>> {
    for (i, case) in cases.iter_mut().enumerate() {
        for metric in ["GOOD", "ALL"] {
            case.document["terms"]["metrics"][metric]["collector"]["config"] = json!({ "case": i });
        }
    }
    Arc::new(cases)
}

/// Judges the windows that end in `(from, to]` seconds.
pub async fn judge(evaluator: &Evaluator, id: &str, from: i64, to: i64) {
    let request = request(evaluator.agreement(id).unwrap(), Windows::Overlapping { from: at(from), to: at(to) });
    evaluator.run(request).await.unwrap();
}

/// A moment at which all windows are over.
pub fn afterwards(case: &Case) -> Timestamp {
    case.end() + SignedDuration::from_secs(1)
}
