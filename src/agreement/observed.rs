//! Stored states of metrics, read back as the samples they were made from.

use crate::expr;
use crate::model::state::{Coverage, Sample, SampleValue, State};

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
