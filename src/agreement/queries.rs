//! What must be collected for an evaluation, each thing once, and the body a collector is sent for it.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde_json::{Map, Value, json};

use super::collector::canonical;
use super::windows::{Calendar, TooManyWindows};
use crate::model::agreement::{Agreement, Metric, Term};
use crate::model::state::{Sample, Scope, Window};

/// One thing to ask a metric's source: the metric with its parameters, in a scope (perhaps with `*`), over a window.
#[derive(Clone, Debug)]
pub struct Query {
    pub metric: String,
    /// The term's `with` parameters, merged over the measure's own `params`.
    pub params: Map<String, Value>,
    pub scope: Scope,
    pub window: Window,
    /// The document's `window.type` and `window.period`.
    pub window_type: String,
    pub period_name: String,
    pub time_zone: TimeZone,
    pub time_zone_name: String,
    /// What the metric's own states are named: the metric's id, with its parameters when the agreement uses the
    /// metric with several sets of them, so that their values are not taken for one another.
    pub state_name: String,
}

impl Query {
    /// Whether a sample answers this question: it is of its window, and of its scope or a member of that. Whatever else
    /// a source says is about something it was not asked.
    pub fn is_answered_by(&self, sample: &Sample) -> bool {
        (sample.window.from, sample.window.to) == (self.window.from, self.window.to) && self.scope.covers(&sample.scope)
    }
}

/// One term in one window, to be judged from the answers to some queries.
#[derive(Clone, Debug)]
pub struct Judgement {
    /// Index into [`Agreement::guarantees`].
    pub guarantee: usize,
    /// Index into that guarantee's terms.
    pub term: usize,
    pub window: Window,
    /// Index into [`Plan::queries`], one for each metric of the term's `with`, in its order.
    pub queries: Vec<usize>,
}

/// Everything one evaluation asks and then judges.
#[derive(Clone, Debug, Default)]
pub struct Plan {
    /// Without duplicates.
    pub queries: Vec<Query>,
    pub judgements: Vec<Judgement>,
}

/// What was collected for one judgement: metric → its samples, or why there are none.
pub type Collected<'a> = BTreeMap<&'a str, Result<&'a [Sample], &'a str>>;

impl Plan {
    /// Leaves out judgements, and the questions that only they needed.
    pub fn retain(&mut self, keep: impl FnMut(&Judgement) -> bool) {
        self.judgements.retain(keep);
        let mut places: Vec<Option<usize>> = vec![None; self.queries.len()];
        for query in self.judgements.iter().flat_map(|judgement| &judgement.queries) {
            places[*query] = Some(0);
        }
        for (new, place) in places.iter_mut().flatten().enumerate() {
            *place = new;
        }
        let mut needed = places.iter();
        self.queries.retain(|_| needed.next().is_some_and(Option::is_some));
        for query in self.judgements.iter_mut().flat_map(|judgement| &mut judgement.queries) {
            *query = places[*query].expect("the questions of what is judged are kept");
        }
    }

    /// The answers that belong to a judgement. `answers[i]` answers `queries[i]`; one that is not there failed.
    pub fn collected<'a>(&'a self, judgement: &Judgement, answers: &'a [Result<Vec<Sample>, String>]) -> Collected<'a> {
        judgement
            .queries
            .iter()
            .map(|&query| {
                let answer = match answers.get(query) {
                    Some(Ok(samples)) => Ok(samples.as_slice()),
                    Some(Err(reason)) => Err(reason.as_str()),
                    None => Err("it was not collected"),
                };
                (self.queries[query].metric.as_str(), answer)
            })
            .collect()
    }
}

/// Plans an evaluation of every window that overlaps `[from, to)`, each whole.
///
/// # Errors
/// When a term has more windows in the range than [`super::WINDOWS_MAX`].
pub fn plan(
    agreement: &Agreement,
    guarantee: Option<&str>,
    from: Timestamp,
    to: Timestamp,
) -> Result<Plan, TooManyWindows> {
    plan_windows(agreement, guarantee, |calendar| calendar.overlapping(from, to))
}

/// Plans an evaluation of the windows that `choose` takes from each term's calendar.
///
/// # Errors
/// Those of `choose`.
pub fn plan_windows<E>(
    agreement: &Agreement,
    guarantee: Option<&str>,
    choose: impl Fn(&Calendar<'_>) -> Result<Vec<Window>, E>,
) -> Result<Plan, E> {
    let mut plan = Plan::default();
    let mut known = HashMap::new();
    let several = with_several_params(agreement);
    for (g, found) in agreement.guarantees.iter().enumerate() {
        if guarantee.is_some_and(|id| id != found.id) {
            continue;
        }
        for (t, term) in found.terms.iter().enumerate() {
            let asked = asked(agreement, term, &several);
            for window in choose(&Calendar::of(agreement, &term.window))? {
                let queries = asked
                    .iter()
                    .map(|(identity, query)| {
                        let key = (identity.clone(), window.from, window.to);
                        *known.entry(key).or_insert_with(|| {
                            plan.queries.push(query(&window));
                            plan.queries.len() - 1
                        })
                    })
                    .collect();
                plan.judgements.push(Judgement { guarantee: g, term: t, window, queries });
            }
        }
    }
    Ok(plan)
}

/// What a term asks in every window: what tells the question apart from others, and the question.
fn asked<'a>(
    agreement: &'a Agreement,
    term: &'a Term,
    several: &HashSet<&str>,
) -> Vec<(Arc<str>, impl Fn(&Window) -> Query + use<'a>)> {
    let scope = term.scope.canonical();
    let (kind, period) = (&term.window.kind, &term.window.period_name);
    term.with
        .iter()
        .map(|(metric, params)| {
            let text = canonical(&Value::Object(params.clone()));
            let identity = format!("{metric}\u{0}{text}\u{0}{scope}\u{0}{kind}\u{0}{period}");
            let parted = several.contains(metric.as_str()) && !params.is_empty();
            let state_name = if parted { format!("{metric} {text}") } else { metric.clone() };
            let query = move |window: &Window| Query {
                metric: metric.clone(),
                params: params.clone(),
                scope: term.scope.clone(),
                window: window.clone(),
                window_type: term.window.kind.clone(),
                period_name: term.window.period_name.clone(),
                time_zone: agreement.time_zone.clone(),
                time_zone_name: agreement.time_zone_name.clone(),
                state_name: state_name.clone(),
            };
            (Arc::from(identity), query)
        })
        .collect()
}

/// What the states of a metric with these parameters are named in this agreement.
pub fn state_name(agreement: &Agreement, metric: &str, params: &Map<String, Value>) -> String {
    if with_several_params(agreement).contains(metric) && !params.is_empty() {
        format!("{metric} {}", canonical(&Value::Object(params.clone())))
    } else {
        metric.to_owned()
    }
}

/// The metrics that an agreement asks about all members of a scope (`*`) and about some by name: of who is asked about twice
/// only one answer is stored.
pub fn asked_both_ways(agreement: &Agreement) -> HashSet<&str> {
    let terms = agreement.guarantees.iter().flat_map(|guarantee| &guarantee.terms);
    let (of_all, by_name): (Vec<&Term>, Vec<&Term>) = terms.partition(|term| term.scope.has_wildcard());
    let by_name: HashSet<&str> = by_name.iter().flat_map(|term| &term.with).map(|with| with.0.as_str()).collect();
    let of_all = of_all.iter().flat_map(|term| &term.with).map(|with| with.0.as_str());
    of_all.filter(|metric| by_name.contains(metric)).collect()
}

/// The metrics that the agreement uses with several sets of parameters.
fn with_several_params(agreement: &Agreement) -> HashSet<&str> {
    let mut first: HashMap<&str, &Map<String, Value>> = HashMap::new();
    let uses = agreement.guarantees.iter().flat_map(|g| &g.terms).flat_map(|t| &t.with);
    uses.filter(|(metric, params)| *first.entry(metric).or_insert(params) != params)
        .map(|(metric, _)| metric.as_str())
        .collect()
}

/// The body of `POST <collector>`: `{config, metric: {…measure, scope, window}}`, as the Governify Registry sends it.
/// `with` parameters go into the measure's `params`; an empty scope is left out; `window.from` is always there.
pub fn collector_request(query: &Query, metric: &Metric) -> Value {
    let mut measure = metric.measure.clone();
    if !query.params.is_empty() {
        let params = measure.entry("params").or_insert_with(|| json!({}));
        if !params.is_object() {
            *params = json!({});
        }
        if let Some(params) = params.as_object_mut() {
            params.extend(query.params.clone());
        }
    }
    if query.scope.0.is_empty() {
        measure.shift_remove("scope");
    } else {
        measure.insert("scope".into(), json!(query.scope));
    }
    let (from, to) = (iso(query.window.from), iso(query.window.to));
    measure.insert(
        "window".into(),
        json!({
            "type": query.window_type,
            "period": query.period_name,
            "initial": from,
            "from": from,
            "end": to,
            "timeZone": query.time_zone_name,
        }),
    );
    json!({ "config": metric.collector.config(), "metric": measure })
}

/// An instant as JavaScript's `toISOString`: collector-events refuses any other form.
pub fn iso(at: Timestamp) -> String {
    format!("{at:.3}")
}
