//! Stored states of metrics, read back as the answers and samples they were made from.

use super::inputs::Inputs;
use super::queries::Query;
use crate::expr;
use crate::model::state::{Coverage, Sample, SampleValue, State};

/// What is said of a scope with `*` whose members have come after it had been stored as a whole.
pub const MEMBERS_CAME: &str = "the members of this scope have come and are judged one by one";

/// What the states of a metric that are stored of a question's window answer to it, as its source did: samples, or why
/// there are none. `None` when nothing of them is about its scope. The samples are in the order of their scopes.
pub fn answer<'s>(
    query: &Query,
    states: impl Iterator<Item = &'s State> + Clone,
) -> Option<Result<Vec<Sample>, String>> {
    let states = states.filter(|state| !is_outdated(state));
    let failed = |state: &&State| {
        (state.scope == query.scope || state.scope.covers(&query.scope)) && is_absence(state, &query.metric)
    };
    let here = states.clone().filter(|state| query.scope.covers(&state.scope) && !failed(state));
    let mut samples: Vec<Sample> =
        here.map(|state| Sample { window: query.window.clone(), ..sample(state, &query.metric) }).collect();
    if !samples.is_empty() {
        samples.sort_by(|a, b| a.scope.cmp(&b.scope));
        return Some(Ok(samples));
    }
    // Asked for all members, the source failed or knew of none; or it named none, whoever is asked about now.
    let whole = states.clone().find(failed).or_else(|| states.clone().find(|state| state.scope.covers(&query.scope)));
    match value(whole?, &query.metric) {
        SampleValue::Missing { missing } => Some(Err(missing)),
        _ => None,
    }
}

/// Whether the state says that there was no sample at all, and not what one said.
fn is_absence(state: &State, metric: &str) -> bool {
    let SampleValue::Missing { missing } = value(state, metric) else { return false };
    match state.inputs {
        Some(inputs) => {
            let mut absent = Inputs::default();
            absent.absent(metric, &missing);
            inputs == absent.finish()
        }
        // Stored before hashes were kept.
        None => state.scope.has_wildcard(),
    }
}

/// The members of its scope have come since it was stored: it answers nothing any more.
pub fn is_outdated(state: &State) -> bool {
    state.scope.has_wildcard() && state.reason == MEMBERS_CAME
}

/// The sample that [`super::evaluate::metrics_states`] made this state of `metric` from. Of a metric that had no value it
/// keeps the reason; of several computations for one scope, that there were several.
pub fn sample(state: &State, metric: &str) -> Sample {
    Sample {
        metric: metric.to_owned(),
        scope: state.scope.clone(),
        window: state.window.clone(),
        value: value(state, metric),
        evidence: state.evidence.clone(),
        coverage: state.coverage,
        score: state.score,
        run: None,
    }
}

/// What the metric was, as [`sample`] has it.
pub fn value(state: &State, metric: &str) -> SampleValue {
    // Numbers stand in the state; that a value was a truth value or a text is only said in the reason.
    let said = state.reason.strip_prefix(metric).and_then(|rest| rest.strip_prefix(" is "));
    match (said, state.value) {
        (Some("true"), Some(1.0)) => SampleValue::Bool(true),
        (Some("false"), Some(0.0)) => SampleValue::Bool(false),
        (Some(text), Some(n)) if text.ends_with(super::rounded::SAID) => SampleValue::Rounded { rounded: n },
        (_, Some(n)) => SampleValue::Number(n),
        (Some(text), None) if text.len() >= 2 && text.starts_with('\'') && text.ends_with('\'') => {
            SampleValue::Text(text[1..text.len() - 1].to_owned())
        }
        _ => SampleValue::Missing { missing: missing(state, metric) },
    }
}

fn missing(state: &State, metric: &str) -> String {
    let prefix = expr::without_value(metric, "x");
    let prefix = prefix.trim_end_matches('x');
    state.reason.strip_prefix(prefix).unwrap_or(&state.reason).to_owned()
}

/// Whether the state says that its population was empty.
pub fn is_empty_population(state: &State) -> bool {
    matches!(state.coverage, Some(Coverage { expected: 0, .. }))
}
