//! Members that a source answered about, but only for another time than it was asked about.
//!
//! They are there, and nothing is known of them in the window that was asked about. So each is given a sample without
//! value that says so: left out, a member would vanish beside others that were answered about rightly. The sample is
//! stored like any other, so judging again from what is stored comes to the same. What was said of the other time is
//! evidence for nothing: that window is judged by what its own question is answered with. [`left_out`] says it to people.

use std::collections::{BTreeMap, HashSet};

use super::queries::{Plan, Query};
use super::slices::Answers;
use crate::model::state::{Sample, SampleValue, Scope, Window};

/// Adds to every answer a sample for each member that it is about in other windows only. `answers[i]` answers
/// `plan.queries[i]`. Linear in the samples, but for sorting the members.
pub fn add(plan: &Plan, answers: &mut Answers) {
    for (query, answer) in plan.queries.iter().zip(answers) {
        let Ok(samples) = answer else { continue };
        let asked = &query.window;
        let of_window = |window: &Window| (window.from, window.to) == (asked.from, asked.to);
        let found: Vec<Sample> =
            members(query, samples, of_window).into_iter().map(|other| without_value(other, asked)).collect();
        samples.extend(found);
    }
}

/// What of an answer is about other windows or scopes than was asked about, for people; `None` when nothing is. A range is
/// asked as one (`ranges`) for its periods.
pub fn left_out(query: &Query, samples: &[Sample], ranges: bool) -> Option<String> {
    let answers = |sample: &&Sample| match ranges {
        true => super::slices::within(&query.window, &sample.window) && query.scope.covers(&sample.scope),
        false => query.is_answered_by(sample),
    };
    let others: Vec<&Sample> = samples.iter().filter(|sample| !answers(sample)).collect();
    let first = others.iter().min_by_key(|s| (s.window.from, s.window.to, &s.scope))?;
    let (from, to, scope) = (&first.window.from_local, &first.window.to_local, first.scope.canonical());
    Some(format!("{} of them not asked for and left out, such as that for {from} to {to}, {scope}", others.len()))
}

/// Of each member of the query that has no sample in a window that `is_asked`, its earliest sample, by scope.
pub(super) fn members<'s>(query: &Query, samples: &'s [Sample], is_asked: impl Fn(&Window) -> bool) -> Vec<&'s Sample> {
    let here: HashSet<&Scope> = samples.iter().filter(|s| is_asked(&s.window)).map(|s| &s.scope).collect();
    let mut elsewhere: BTreeMap<&Scope, &Sample> = BTreeMap::new();
    // A sample that names no member is of none that is known.
    let others = samples.iter().filter(|s| query.scope.covers(&s.scope) && !s.scope.has_wildcard());
    for sample in others.filter(|s| !here.contains(&s.scope)) {
        // The earliest, so that the reason does not depend on the order they came in.
        let earliest = elsewhere.entry(&sample.scope).or_insert(sample);
        let bounds = |s: &Sample| (s.window.from, s.window.to);
        if bounds(sample) < bounds(earliest) {
            *earliest = sample;
        }
    }
    elsewhere.into_values().collect()
}

/// What is known in the window that was asked about of a member with a sample of another one.
pub(super) fn without_value(other: &Sample, asked: &Window) -> Sample {
    Sample {
        metric: other.metric.clone(),
        scope: other.scope.clone(),
        window: asked.clone(),
        value: SampleValue::Missing { missing: another_period(&other.window) },
        evidence: Vec::new(),
        coverage: None,
        score: None,
        run: other.run,
    }
}

pub(super) fn another_period(other: &Window) -> String {
    format!("the collector answered for the period {} to {} instead of this window", other.from_local, other.to_local)
}
