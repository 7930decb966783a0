//! `declare`: any template of Declare over a trace or a whole log.

use probity_sdk::Map;
use probity_sdk::prelude::*;
use status_conventions::event::{self, CONCEPT_NAME};
use status_conventions::trace;
use status_conventions::value::kind;
use status_conventions::verdict::{self, Finding};

use crate::relation::{Constraint, Judgement};
use crate::template::Template;
use crate::trace::{Trace, Unnamed};

/// Checks a Declare constraint over the traces of an event log.
///
/// Give it **one trace** (its events in `msg.payload.trace.event`, `msg.payload.event`, `msg.payload.events` or
/// `msg.payload`) or **a whole log** (its traces in `msg.payload.log.trace` or `msg.payload.traces`, as XES is read).
/// Events are taken in the order of the log. An event is an object as XES logs have it
/// (`{"string": [{"$": {"key": "concept:name", "value": "A"}}], …}`), one with the activity as a property
/// (`{"concept:name": "A"}`), or the activity itself.
///
/// | template | holds if |
/// |---|---|
/// | existence, absence, exactly | A occurs at least *n* times; at most *n* - 1 times (with 1: never); exactly *n* times |
/// | init, end | the first, the last event is A |
/// | choice, exclusive-choice | A or B occurs; one of them, not both |
/// | responded-existence, co-existence | if A occurs, B does; both or neither |
/// | response, precedence, succession | after each A there is a B; before each B there is an A; both |
/// | alternate-… | the same, with no other A (response), no other B (precedence) between |
/// | chain-… | the same, with nothing between |
/// | not-… | what must not be there where the positive template asks for it |
///
/// **Results.** `msg.payload.result` is true or false; `msg.payload.declare` says why: `{constraint, state,
/// activations, fulfilled, violated, violations}`. `state` is `satisfied`, `violated`, or `vacuous` when nothing
/// activated the constraint, such as `response(A, B)` without any A; *When vacuous* says what the result is then. The
/// templates up to exclusive-choice are activated once, by the trace. For a log, `msg.payload.traces` becomes the
/// traces' results, each with its `case`, `msg.payload.declare` the sums, and the result is false if one trace is
/// violated; a log without traces is an error. At most 50 violations are listed per trace; the counts are whole.
///
/// *Store evidences* adds one evidence per trace to `msg.payload.evidences`.
///
/// A caller may send each of the properties in the body of the request.
#[derive(Clone, Config)]
pub struct Declare {
    /// The constraint's template.
    #[config(label = "Template", default = "response")]
    template: Template,
    /// Activity A.
    #[config(label = "Activity A", default = "")]
    activity: String,
    /// Activity B, for templates about two.
    #[config(name = "otherActivity", label = "Activity B", default = "")]
    other: String,
    /// For existence, absence and exactly.
    #[config(name = "count", label = "n", default = 1, min = 0)]
    n: u32,
    /// The attribute of an event that holds its activity.
    #[config(name = "activityKey", label = "Attribute", default = "concept:name")]
    activity_key: String,
    /// What becomes of an event without that attribute: the message fails, or it is left out.
    #[config(label = "Event without activity", default = "error")]
    unnamed: Unnamed,
    /// The result where nothing activated the constraint.
    #[config(label = "When vacuous", default = "true")]
    vacuous: Vacuous,
    /// Keep what was found as evidence.
    #[config(name = "storeEvidences", label = "Store evidences", default = false)]
    store_evidences: bool,
}

/// The result of a trace that does not activate the constraint.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Config)]
pub enum Vacuous {
    /// True, as logic has it.
    True,
    /// False: the constraint shall have been put to the test.
    False,
    /// Null: neither.
    Null,
}

#[node(
    type = "declare",
    category = "controlFlow",
    color = "#DDAA99",
    icon = "fa-random",
    wants = ["payload", "req"],
    capabilities = ["evidence"]
)]
impl Node for Declare {
    fn process(&self, msg: Message, cx: &Context) -> Result<()> {
        let config = self.over(&msg)?;
        let constraint = config.constraint()?;
        match log(msg.payload())? {
            None => config.check_trace(&constraint, msg, cx),
            Some(_) => config.check_log(&constraint, msg, cx),
        }
    }
}

impl Declare {
    fn constraint(&self) -> Result<Constraint<'_>> {
        let (template, a) = (self.template, self.activity.as_str());
        if template.has_other() {
            return Constraint::relation(template, a, &self.other, ["activity", "otherActivity"]);
        }
        ensure!(!a.is_empty(), "activity is empty: the name of an activity was expected");
        ensure!(
            self.n > 0 || !matches!(template, Template::Existence | Template::Absence),
            "n is 0: {}(0, {a}) says nothing (it {} holds); 1 or more was expected",
            template.name(),
            if template == Template::Existence { "always" } else { "never" }
        );
        Ok(Constraint { template, a, b: a, n: self.n })
    }

    fn check_trace(&self, constraint: &Constraint<'_>, mut msg: Message, cx: &Context) -> Result<()> {
        let judgement = self.judge(constraint, trace::events(msg.payload())?)?;
        let case = msg.payload().get("trace").and_then(name).map(str::to_owned);
        let told = self.told(&judgement, case);
        let result = self.result(&judgement);
        verdict::conclude(&mut msg, result)?;
        verdict::payload(&mut msg)?.insert("declare".to_owned(), Value::Object(told.clone()));
        if self.store_evidences {
            verdict::store(&mut msg, cx, &finding(constraint, told, result))?;
        }
        cx.emit(0, msg)
    }

    fn check_log(&self, constraint: &Constraint<'_>, mut msg: Message, cx: &Context) -> Result<()> {
        let traces = log(msg.payload())?.unwrap_or_default();
        ensure!(!traces.is_empty(), "the log has no traces, so nothing can be said about it");
        let mut sums = Sums::default();
        let mut results = Vec::with_capacity(traces.len());
        for (at, trace) in traces.iter().enumerate() {
            let place = || name(trace).map_or_else(|| format!("trace {at}"), |name| format!("trace {at} ({name})"));
            let judgement = events(trace).and_then(|events| self.judge(constraint, events));
            let judgement = judgement.map_err(|error| error.context(place()))?;
            sums.add(&judgement);
            let result = self.result(&judgement);
            let mut told = self.told(&judgement, name(trace).map(str::to_owned));
            told.insert("result".to_owned(), Value::from(result));
            results.push((told, result));
        }
        let all = together(&results.iter().map(|(_, result)| *result).collect::<Vec<_>>());
        verdict::conclude(&mut msg, all)?;
        if self.store_evidences {
            for (told, result) in &results {
                verdict::store(&mut msg, cx, &finding(constraint, told.clone(), *result))?;
            }
        }
        let payload = verdict::payload(&mut msg)?;
        payload.insert("declare".to_owned(), sums.told(&constraint.template.with(constraint.a, constraint.b, self.n)));
        payload.insert("traces".to_owned(), results.into_iter().map(|(told, _)| Value::Object(told)).collect());
        cx.emit(0, msg)
    }

    fn judge(&self, constraint: &Constraint<'_>, events: &[Value]) -> Result<Judgement> {
        Ok(constraint.judge(&Trace::read(events, &self.activity_key, self.unnamed)?))
    }

    fn result(&self, judgement: &Judgement) -> Option<bool> {
        match (judgement.vacuous(), self.vacuous) {
            (true, Vacuous::Null) => None,
            (true, Vacuous::False) => Some(false),
            _ => Some(judgement.holds()),
        }
    }

    fn told(&self, judgement: &Judgement, case: Option<String>) -> Map<String, Value> {
        let mut told = judgement.told();
        if let Some(case) = case {
            told.insert("case".to_owned(), Value::from(case));
        }
        told
    }
}

fn finding(constraint: &Constraint<'_>, told: Map<String, Value>, result: Option<bool>) -> Finding {
    Finding::new(format!("Declare {}", constraint.template.name()), told, result)
}

/// One false is false; without one, one unknown is unknown.
fn together(results: &[Option<bool>]) -> Option<bool> {
    if results.contains(&Some(false)) {
        return Some(false);
    }
    (!results.contains(&None)).then_some(true)
}

/// The traces of a log in the payload; `None` when it holds a single trace.
fn log(payload: &Value) -> Result<Option<&[Value]>> {
    let traces = payload.get("log").and_then(|log| log.get("trace")).map(|traces| ("log.trace", traces));
    match traces.or(payload.get("traces").map(|traces| ("traces", traces))) {
        None => Ok(None),
        Some((_, Value::Array(traces))) => Ok(Some(traces)),
        // xml2js, told so, writes a list of one as the one itself.
        Some((_, one @ Value::Object(_))) => Ok(Some(std::slice::from_ref(one))),
        Some((place, other)) => bail!("msg.payload.{place} is {}: a list of traces was expected", kind(other)),
    }
}

/// The events of a trace in a log.
fn events(trace: &Value) -> Result<&[Value]> {
    match trace.get("event").or(trace.get("events")).unwrap_or(trace) {
        Value::Array(events) => Ok(events),
        // A trace with attributes alone: XES allows one without events.
        Value::Object(object) if event::is_xes(trace) && !object.contains_key("event") => Ok(&[]),
        other => bail!("{} was found: a list of events, or an object with `event`, was expected", kind(other)),
    }
}

/// The name of the case.
fn name(trace: &Value) -> Option<&str> {
    event::name(trace, CONCEPT_NAME, "trace").ok().flatten().filter(|_| trace.is_object())
}

/// What a log's traces come to.
#[derive(Default)]
struct Sums {
    traces: usize,
    satisfied: usize,
    vacuous: usize,
    violated: usize,
    activations: usize,
    violations: usize,
}

impl Sums {
    fn add(&mut self, judgement: &Judgement) {
        self.traces += 1;
        self.activations += judgement.activations;
        self.violations += judgement.violated;
        match judgement.state() {
            "vacuous" => self.vacuous += 1,
            "satisfied" => self.satisfied += 1,
            _ => self.violated += 1,
        }
    }

    fn told(&self, constraint: &str) -> Value {
        json!({
            "constraint": constraint,
            "traces": { "all": self.traces, "satisfied": self.satisfied, "vacuous": self.vacuous, "violated": self.violated },
            "activations": self.activations,
            "fulfilled": self.activations - self.violations,
            "violated": self.violations,
        })
    }
}
