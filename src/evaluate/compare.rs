//! Two sets of verdicts over the same answers: what a Governify Registry says, what ours are, and which known defect
//! makes the difference. A difference that no defect explains is an error of one of the two.

use std::collections::{BTreeMap, HashMap};

use jiff::Timestamp;
use serde::Serialize;
use serde_json::Value;

use super::{Asked, judge};
use crate::agreement::compat::{periods, states};
use crate::agreement::queries::{Plan, Query, collector_request, iso, plan_windows};
use crate::agreement::{Calendar, collected, elsewhere, slices};
use crate::model::RunId;
use crate::model::agreement::{Agreement, Guarantee};
use crate::model::state::{State, StateKind, Verdict};

/// A known defect of the Registry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Defect {
    /// Its number in this project's list of what an evaluator must fix, or of facts about the replaced stack (`U…`).
    pub number: &'static str,
    pub text: &'static str,
}

const MISSING_IS_ZERO: Defect = Defect {
    number: "10.3 (U2)",
    text: "a metric without computation for a scope and period is taken for 0, and null counts as 0",
};
const PASSED_OVER: Defect =
    Defect { number: "10.3 (U2)", text: "a value \"NaN\" or \"\" makes the state disappear without a word" };
const NOTHING_IS_AN_ERROR: Defect =
    Defect { number: "10.2", text: "an answer that fails or is empty fails the whole call instead of its own states" };
const RUN_AS_CODE: Defect = Defect {
    number: "10.1 (U1)",
    text: "objective and values are run as JavaScript: texts are read as code, kinds are converted, dividing by zero gives Infinity or NaN and a verdict",
};
const OTHER_WINDOWS: Defect = Defect {
    number: "10.4 (U7–U10)",
    text: "periods are cut in UTC or moved by whole hours, snapped to marks a second before boundaries, and those of the first term count for all",
};
const MIXED_STATES: Defect = Defect {
    number: "10.6",
    text: "states have no exact identity: a coarser scope is answered with a finer one's state, and two terms share one",
};
const SEVERAL_TERMS: Defect = Defect {
    number: "10.6",
    text: "where two terms judge one scope and period, one of their states is shown for both; both promises must be kept",
};
const AMBIGUOUS: Defect = Defect {
    number: "10.6",
    text: "of several computations for one scope and period the last one counts, though nothing says that it is right",
};

/// A document that cannot be used: the Registry takes any, and fails or runs code when it evaluates it.
pub const REFUSED_AT_LOAD: Defect = Defect {
    number: "10.1 (U1)",
    text: "any document is taken, and what stands in it is run as code; one that cannot be understood is refused here",
};

/// One verdict that is not the same.
#[derive(Clone, Debug, Serialize)]
pub struct Difference {
    pub guarantee: String,
    pub scope: Value,
    pub from: String,
    pub to: String,
    /// The Registry's `value`; `None` when it has no such state.
    pub theirs: Option<Value>,
    /// Our verdict; `None` when there is no such state.
    pub ours: Option<Verdict>,
    pub reason: String,
    /// The known defect behind it; `None` when the difference is not explained.
    pub defect: Option<Defect>,
}

/// What was compared.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Comparison {
    /// States of either side.
    pub states: usize,
    pub same: usize,
    pub differences: Vec<Difference>,
}

impl Comparison {
    /// Adds another comparison.
    pub fn extend(&mut self, other: Comparison) {
        self.states += other.states;
        self.same += other.same;
        self.differences.extend(other.differences);
    }

    /// Differences that no known defect explains.
    pub fn unexplained(&self) -> impl Iterator<Item = &Difference> {
        self.differences.iter().filter(|d| d.defect.is_none())
    }
}

type Key = (String, String, i64, i64);

/// Compares a guarantee's states as a Registry gave them with ours. `asked` is what the collectors were asked and
/// answered for ours; the Registry's rules over it say what a Registry would have made of the same answers.
pub fn compare(
    agreement: &Agreement,
    guarantee: &Guarantee,
    ours: &[State],
    asked: &Asked,
    theirs: &[Value],
) -> Comparison {
    let registry = registry_states(agreement, guarantee, asked);
    let expected: HashMap<Key, &Value> = registry.iter().flatten().filter_map(|s| Some((key(s)?, s))).collect();
    let of_guarantee = |s: &&State| s.kind == StateKind::Guarantee && s.of == guarantee.id;
    let own: BTreeMap<Key, &State> = ours.iter().filter(of_guarantee).map(|state| (own_key(state), state)).collect();
    let mut found: BTreeMap<Key, &Value> = BTreeMap::new();
    let mut comparison = Comparison::default();
    for state in theirs.iter().filter(|s| s["id"] == guarantee.id.as_str()) {
        if let Some(key) = key(state) {
            found.insert(key, state);
        }
    }
    let keys: std::collections::BTreeSet<&Key> = found.keys().chain(own.keys()).collect();
    for key in keys {
        comparison.states += 1;
        let (theirs, ours) = (found.get(key).copied(), own.get(key).copied());
        let verdict = ours.and_then(|state| state.verdict);
        let same = match (theirs, verdict) {
            (Some(theirs), Some(Verdict::Fulfilled)) => theirs["value"] == true,
            (Some(theirs), Some(Verdict::Violated)) => theirs["value"] == false,
            _ => false,
        };
        if same {
            comparison.same += 1;
            continue;
        }
        let side = Side { theirs, ours, expected: expected.get(key).copied(), failed: registry.is_err() };
        let time = |ms: i64| Timestamp::from_millisecond(ms).map(iso).unwrap_or_default();
        comparison.differences.push(Difference {
            guarantee: guarantee.id.clone(),
            scope: theirs.map_or_else(|| serde_json::json!(ours.map(|s| &s.scope)), |s| s["scope"].clone()),
            from: time(key.2),
            to: time(key.3),
            theirs: theirs.map(|s| s["value"].clone()),
            ours: verdict,
            reason: ours.map_or_else(|| "Probity has no such state".into(), |state| state.reason.clone()),
            defect: side.defect(guarantee, &own, &found),
        });
    }
    comparison
}

/// Both sides of one difference.
struct Side<'a> {
    theirs: Option<&'a Value>,
    ours: Option<&'a State>,
    /// What the Registry's rules make of our collectors' answers here.
    expected: Option<&'a Value>,
    /// They make an error of them.
    failed: bool,
}

impl Side<'_> {
    fn defect(
        &self,
        guarantee: &Guarantee,
        own: &BTreeMap<Key, &State>,
        found: &BTreeMap<Key, &Value>,
    ) -> Option<Defect> {
        match (self.theirs, self.ours) {
            (Some(theirs), Some(ours)) => {
                let expected = self.expected?;
                let as_expected = expected["value"] == theirs["value"] && expected["metrics"] == theirs["metrics"];
                if !as_expected {
                    let terms = guarantee.terms.iter().filter(|term| term.scope.covers(&ours.scope)).count();
                    return (terms > 1).then_some(SEVERAL_TERMS);
                }
                value_defect(theirs, ours)
            }
            (Some(theirs), None) => {
                let same_scope = |state: &&&State| serde_json::json!(state.scope) == theirs["scope"];
                let scope_known = own.values().any(|state| same_scope(&state));
                match self.expected {
                    // The Registry's rules give this state, so only its window is not one of ours.
                    _ if scope_known => Some(OTHER_WINDOWS),
                    Some(_) => Some(OTHER_WINDOWS),
                    None => (!guarantee.terms.iter().any(|t| scope_of(theirs).is_some_and(|s| t.scope.covers(&s))))
                        .then_some(MIXED_STATES),
                }
            }
            (None, Some(ours)) => {
                if self.failed {
                    return Some(NOTHING_IS_AN_ERROR);
                }
                let undecided = !matches!(ours.verdict, Some(Verdict::Fulfilled | Verdict::Violated));
                if self.expected.is_none() && undecided {
                    return Some(PASSED_OVER);
                }
                let other_window = found.values().any(|s| scope_of(s).is_some_and(|scope| scope == ours.scope))
                    && self.expected.is_none();
                other_window.then_some(OTHER_WINDOWS)
            }
            (None, None) => None,
        }
    }
}

/// Why a value that the Registry's rules give is not ours.
fn value_defect(theirs: &Value, ours: &State) -> Option<Defect> {
    if ours.reason.contains("computations for this scope and window") {
        return Some(AMBIGUOUS);
    }
    let without_value = ours.values.iter().filter(|(_, value)| value.is_none());
    let zero = |metric: &str| theirs["metrics"][metric] == 0 || theirs["metrics"][metric].is_null();
    let mut unknown = without_value.peekable();
    if unknown.peek().is_some() {
        return Some(if unknown.all(|(metric, _)| zero(metric)) { MISSING_IS_ZERO } else { RUN_AS_CODE });
    }
    // Every metric has a value, and still they do not agree: dividing by zero, or kinds that do not compare.
    let undecided = matches!(ours.verdict, Some(Verdict::Unknown));
    let converted = theirs["metrics"].as_object().is_some_and(|m| m.values().any(|v| !v.is_number()));
    (undecided || converted).then_some(RUN_AS_CODE)
}

fn scope_of(state: &Value) -> Option<crate::model::state::Scope> {
    serde_json::from_value(state["scope"].clone()).ok()
}

fn key(state: &Value) -> Option<Key> {
    let scope = scope_of(state)?.canonical();
    let bound = |name: &str| periods::date(state["period"][name].as_str()?).ok().map(|at| at.as_millisecond());
    Some((state["id"].as_str()?.to_owned(), scope, bound("from")?, bound("to")?))
}

fn own_key(state: &State) -> Key {
    let (from, to) = (state.window.from.as_millisecond(), state.window.to.as_millisecond());
    (state.of.clone(), state.scope.canonical(), from, to)
}

/// What a Registry would have made of these answers.
fn registry_states(agreement: &Agreement, guarantee: &Guarantee, asked: &Asked) -> Result<Vec<Value>, String> {
    let mut items = Vec::new();
    for judgement in &asked.plan.judgements {
        let answers = judgement.queries.iter().map(|query| (&asked.plan.queries[*query], &asked.answers[*query]));
        let answers: Vec<_> = answers.collect();
        states::term_states(agreement, guarantee, &guarantee.terms[judgement.term], &answers, &mut items)?;
    }
    Ok(items)
}

/// Judges a guarantee over one range from recorded answers, asking nobody. `answer` gives what the collector said to
/// a query, which was sent to it as that body.
pub fn judge_recorded(
    agreement: &Agreement,
    guarantee: &str,
    (from, to): (Timestamp, Timestamp),
    answer: &dyn Fn(&Query, &Value) -> Result<Value, String>,
) -> (Vec<State>, Asked) {
    let exactly = |calendar: &Calendar<'_>| Ok::<_, std::convert::Infallible>(vec![calendar.exactly(from, to)]);
    let plan: Plan = match plan_windows(agreement, Some(guarantee), exactly) {
        Ok(plan) => plan,
        Err(never) => match never {},
    };
    let answers: Vec<Result<Value, String>> = plan
        .queries
        .iter()
        .map(|query| {
            let metric = agreement.metrics.get(&query.metric);
            let metric = metric.ok_or_else(|| format!("metric \"{}\" is not defined", query.metric))?;
            answer(query, &collector_request(query, metric))
        })
        .collect();
    let samples = plan.queries.iter().zip(&answers).map(|(query, answer)| match answer {
        Ok(answer) => collected::samples(answer, query, "the recorded collector", to),
        Err(reason) => Err(reason.clone()),
    });
    let samples = samples.collect();
    let (cut, mut samples) = slices::by_period(plan.clone(), samples);
    elsewhere::add(&cut, &mut samples);
    let states = judge::judge(agreement, &cut, &samples, RunId::fresh(), to);
    (states, Asked { plan, answers })
}
