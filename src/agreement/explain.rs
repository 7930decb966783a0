//! Why a verdict is as it is: the objective with values put in, the least evidence that decides it, how far it is from
//! passing, what changed since it last did, and where the evidence came from.
//!
//! Purely: [`questions`] says which stored states of metrics are needed, [`explain`] makes the explanation of them.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::Serialize;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use super::collector::canonical;
use super::coverage;
use super::observed;
use super::queries::state_name;
use super::windows::Calendar;
use crate::expr::{self, Distance, Operand};
use crate::model::RunId;
use crate::model::agreement::{Agreement, Guarantee, Term};
use crate::model::provenance::Digest;
use crate::model::state::{Coverage, Evidence, Sample, SampleValue, Scope, StoredState, Verdict, Window};
use crate::model::waiver::AppliedWaiver;

pub mod words;

/// Earlier windows that are looked at for the last one that passed.
pub const WINDOWS_BACK_MAX: usize = 24;

/// What an explanation is made from.
pub struct Facts<'a> {
    /// The agreement as it is loaded; `None` when it is no more.
    pub agreement: Option<&'a Agreement>,
    /// Every revision of the verdict, oldest first; the last one is explained.
    pub revisions: &'a [StoredState],
    /// States of metrics by metric id, as they were when the verdict was given.
    pub metrics: BTreeMap<String, StoredState>,
    /// Verdicts of earlier windows in this scope, newest first.
    pub earlier: &'a [StoredState],
}

/// Why a verdict is as it is.
#[derive(Clone, Debug, Serialize)]
pub struct Explanation {
    /// `agreement/guarantee/scope/window`, as `probity explain` takes it.
    pub id: String,
    pub agreement: String,
    pub guarantee: String,
    pub description: String,
    pub scope: Scope,
    pub window: Window,
    pub verdict: Verdict,
    pub provisional: bool,
    /// The sentence stored with the verdict, in English.
    pub reason: String,
    pub revision: u32,
    pub recorded_at: Timestamp,
    /// The evaluation that gave the verdict.
    pub run: RunId,
    /// SHA-256 of the agreement it was given under.
    pub agreement_version: String,
    /// SHA-256 of the samples it was judged from.
    pub inputs: Option<Digest>,
    /// The waiver that accepts it, with the verdict it had without.
    pub waiver: Option<Box<AppliedWaiver>>,
    /// The agreement loaded now is another version, so its objectives may differ from those judged.
    pub agreement_changed: bool,
    pub coverage: Option<Coverage>,
    /// One for each term that judges this scope and window.
    pub objectives: Vec<ObjectiveExplained>,
    pub since_last_pass: Option<Change>,
    /// Earlier windows that were looked at for a pass.
    pub windows_looked_back: usize,
}

/// One objective of the verdict.
#[derive(Clone, Debug, Serialize)]
pub struct ObjectiveExplained {
    pub objective: String,
    /// With values in place of metrics, `?` where one has none.
    pub substituted: String,
    /// `None`: it cannot be said.
    pub holds: Option<bool>,
    /// Values that are not those of the verdict as it is stored: it was given under another objective or evidence.
    pub differs: bool,
    /// The fewest metrics whose values alone decide it.
    pub decided_by: Vec<Decider>,
    /// Why it is undecided, in English.
    pub missing: Vec<String>,
    pub distance: Distance,
}

/// A metric whose value decides, and where the value came from.
#[derive(Clone, Debug, Serialize)]
pub struct Decider {
    pub metric: String,
    pub value: Value,
    pub coverage: Option<Coverage>,
    /// Revision of the metric's own state and when it was recorded; absent when only the verdict is stored.
    pub revision: Option<u32>,
    pub recorded_at: Option<Timestamp>,
    /// The evaluation that stored it.
    pub run: Option<RunId>,
    pub evidence: Vec<Piece>,
}

/// One piece of raw evidence.
#[derive(Clone, Debug, Serialize)]
pub struct Piece {
    pub source: String,
    pub collected_at: Timestamp,
    /// SHA-256 of the payload as canonical JSON (sorted keys, no blanks), hex.
    pub sha256: String,
    pub data: Value,
}

/// What is not as it was when the guarantee was last kept here.
#[derive(Clone, Debug, Serialize)]
pub struct Change {
    /// `revision`: an earlier judgement of this window; `window`: an earlier window.
    pub kind: &'static str,
    pub window: Window,
    pub revision: u32,
    pub recorded_at: Timestamp,
    pub run: RunId,
    /// Metrics whose value then was another than now.
    pub values: Vec<Changed>,
    /// It was given under another version of the agreement.
    pub agreement_changed: bool,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Changed {
    pub metric: String,
    pub then: Option<f64>,
    pub now: Option<f64>,
}

/// The terms of a guarantee that judge this scope in this window.
pub fn terms<'a>(agreement: &'a Agreement, guarantee: &str, scope: &Scope, window: &Window) -> Vec<&'a Term> {
    let judges = |term: &&Term| {
        let same = |w: &Window| (w.from, w.to) == (window.from, window.to);
        (term.scope.covers(scope) || term.scope == *scope)
            && Calendar::of(agreement, &term.window)
                .overlapping(window.from, window.to)
                .is_ok_and(|w| w.iter().any(same))
    };
    of_id(agreement, guarantee).map(|g| g.terms.iter().filter(judges).collect()).unwrap_or_default()
}

fn of_id<'a>(agreement: &'a Agreement, guarantee: &str) -> Option<&'a Guarantee> {
    agreement.guarantees.iter().find(|g| g.id == guarantee)
}

/// A state of a metric that the explanation needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Question {
    pub metric: String,
    /// What its states are named.
    pub name: String,
    /// Where to look, in this order: the verdict's scope, then the term's, whose `*` says that the source failed.
    pub scopes: Vec<Scope>,
}

/// The states of metrics that explain this verdict, in the order of the objectives.
pub fn questions(agreement: &Agreement, guarantee: &str, scope: &Scope, window: &Window) -> Vec<Question> {
    let mut found: Vec<Question> = Vec::new();
    for term in terms(agreement, guarantee, scope, window) {
        for (metric, params) in &term.with {
            let mut scopes = vec![scope.clone()];
            if term.scope != *scope {
                scopes.push(term.scope.clone());
            }
            let question = Question { metric: metric.clone(), name: state_name(agreement, metric, params), scopes };
            if !found.iter().any(|q| q.metric == question.metric) {
                found.push(question);
            }
        }
    }
    found
}

/// The windows before `window` in which the guarantee was judged in its scope, newest first, at most
/// [`WINDOWS_BACK_MAX`].
pub fn windows_before(agreement: &Agreement, guarantee: &str, scope: &Scope, window: &Window) -> Vec<Window> {
    let Some(term) = terms(agreement, guarantee, scope, window).into_iter().next() else { return Vec::new() };
    // Those of rolling windows overlap: they are before it when they close before it.
    let Ok(before) = window.to.checked_sub(jiff::SignedDuration::from_nanos(1)) else { return Vec::new() };
    let mut windows = Calendar::of(agreement, &term.window).last_closed(before, WINDOWS_BACK_MAX);
    windows.reverse();
    windows
}

/// Explains the last of the revisions; `None` when there is none, or it is no verdict.
pub fn explain(facts: &Facts<'_>) -> Option<Explanation> {
    let stored = facts.revisions.last()?;
    let state = &stored.state;
    let verdict = state.verdict?;
    let guarantee = facts.agreement.and_then(|a| of_id(a, &state.of));
    let objectives = objectives(facts, stored, verdict);
    Some(Explanation {
        id: verdict_id(&state.agreement, &state.of, &state.scope, state.window.from),
        agreement: state.agreement.clone(),
        guarantee: state.of.clone(),
        description: guarantee.map(|g| g.description.clone()).unwrap_or_default(),
        scope: state.scope.clone(),
        window: state.window.clone(),
        verdict,
        provisional: state.provisional,
        reason: state.reason.clone(),
        revision: stored.revision,
        recorded_at: stored.recorded_at,
        run: state.run,
        agreement_version: state.agreement_version.clone(),
        inputs: state.inputs,
        waiver: state.waiver.clone(),
        agreement_changed: facts.agreement.is_none_or(|a| a.hash != state.agreement_version),
        coverage: state.coverage,
        objectives,
        since_last_pass: (verdict != Verdict::Fulfilled).then(|| change(facts, stored)).flatten(),
        windows_looked_back: facts.earlier.len(),
    })
}

/// How a verdict is named: `shop/FAST/team=blue/2026-03-01T00:00:00Z`, `-` for the scope without dimensions. Slashes and
/// other signs in the parts are percent-encoded.
pub fn verdict_id(agreement: &str, guarantee: &str, scope: &Scope, from: Timestamp) -> String {
    let scope: Vec<String> = scope.0.iter().map(|(k, v)| format!("{}={}", encoded(k), encoded(v))).collect();
    let scope = if scope.is_empty() { "-".to_owned() } else { scope.join(",") };
    format!("{}/{}/{scope}/{from}", encoded(agreement), encoded(guarantee))
}

fn encoded(part: &str) -> String {
    let mut out = String::with_capacity(part.len());
    for c in part.chars() {
        match c {
            '%' | '/' | ',' | '=' | '?' | '#' | ' ' => out.push_str(&format!("%{:02X}", c as u32)),
            _ => out.push(c),
        }
    }
    out
}

fn decoded(part: &str) -> String {
    percent_encoding::percent_decode_str(part).decode_utf8_lossy().into_owned()
}

/// The parts of a verdict's name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VerdictId {
    pub agreement: String,
    pub guarantee: String,
    pub scope: Scope,
    /// Start of the window: an instant, or a date or time in the agreement's zone.
    pub from: String,
    /// Its end, when it is given.
    pub to: Option<String>,
}

impl VerdictId {
    /// Reads `agreement/guarantee/scope/from[..to]`, or a URL whose query names them.
    ///
    /// # Errors
    /// One sentence that says what is expected.
    pub fn parse(text: &str) -> Result<VerdictId, String> {
        let expected = "expected agreement/guarantee/scope/window, such as shop/FAST/team=blue/2026-03-01, with - for a \
                        guarantee without scope, or the URL of a verdict";
        if let Some((_, query)) = text.split_once('?') {
            return Self::from_query(query).ok_or_else(|| format!("\"{text}\" names no verdict; {expected}"));
        }
        let [agreement, guarantee, scope, window] = text.split('/').collect::<Vec<_>>()[..] else {
            return Err(format!("\"{text}\" names no verdict; {expected}"));
        };
        let mut members = BTreeMap::new();
        for pair in scope.split(',').filter(|_| scope != "-") {
            let Some((key, member)) = pair.split_once('=') else {
                return Err(format!("\"{scope}\" is no scope such as team=blue,stage=live; {expected}"));
            };
            members.insert(decoded(key), decoded(member));
        }
        let (from, to) = match window.split_once("..") {
            Some((from, to)) => (from, Some(decoded(to))),
            None => (window, None),
        };
        Ok(VerdictId {
            agreement: decoded(agreement),
            guarantee: decoded(guarantee),
            scope: Scope(members),
            from: decoded(from),
            to,
        })
    }

    fn from_query(query: &str) -> Option<VerdictId> {
        let query = query.split('#').next()?;
        let pairs: BTreeMap<String, String> = form_urlencoded::parse(query.as_bytes()).into_owned().collect();
        Some(VerdictId {
            agreement: pairs.get("agreement")?.clone(),
            guarantee: pairs.get("guarantee")?.clone(),
            scope: pairs.get("scope").map_or(Some(Scope::default()), |s| serde_json::from_str(s).ok())?,
            from: pairs.get("from")?.clone(),
            to: pairs.get("to").cloned(),
        })
    }
}

fn objectives(facts: &Facts<'_>, stored: &StoredState, verdict: Verdict) -> Vec<ObjectiveExplained> {
    let state = &stored.state;
    let Some(agreement) = facts.agreement else { return Vec::new() };
    let terms = terms(agreement, &state.of, &state.scope, &state.window);
    let mut explained: Vec<ObjectiveExplained> = terms.into_iter().map(|term| one(term, facts, stored)).collect();
    // All terms must hold; what they come to now must be what was said, or it is not what was judged.
    let together = match explained
        .iter()
        .map(|o| o.holds)
        .min_by_key(|holds| [Some(false), None, Some(true)].iter().position(|h| h == holds))
    {
        Some(Some(true)) => Verdict::Fulfilled,
        Some(Some(false)) => Verdict::Violated,
        _ => Verdict::Unknown,
    };
    // A waiver changes what is said, not what the values come to.
    let verdict = state.unwaived().unwrap_or(verdict);
    let judged = matches!(verdict, Verdict::Fulfilled | Verdict::Violated | Verdict::Unknown);
    for objective in &mut explained {
        objective.differs = judged && together != verdict;
    }
    explained
}

fn one(term: &Term, facts: &Facts<'_>, stored: &StoredState) -> ObjectiveExplained {
    let objective = &term.objective;
    let known: BTreeMap<String, Sample> =
        expr::metrics(&objective.expr).into_iter().map(|m| (m.to_owned(), known(m, facts, stored))).collect();
    let too_little: BTreeMap<&str, String> =
        known.iter().filter_map(|(name, sample)| Some((name.as_str(), coverage::too_little(sample, term)?))).collect();
    let lookup = |name: &str| match too_little.get(name) {
        Some(reason) => Operand::Withheld(reason),
        None => known.get(name).map_or(Operand::Missing("it is not stored"), operand),
    };
    let outcome = expr::evaluate(objective, &lookup);
    let deciders = expr::deciding(objective, &lookup);
    let deciders = deciders.into_iter().map(|name| decider(name, &known[name], facts, stored)).collect();
    ObjectiveExplained {
        objective: objective.text.trim().to_owned(),
        substituted: outcome.substituted,
        holds: outcome.truth,
        differs: false,
        decided_by: deciders,
        missing: outcome.missing,
        distance: expr::distance(objective, &lookup),
    }
}

/// What was known of a metric: its own state, else the value that the verdict has kept.
fn known(metric: &str, facts: &Facts<'_>, stored: &StoredState) -> Sample {
    if let Some(found) = facts.metrics.get(metric) {
        return observed::sample(&found.state, metric);
    }
    let state = &stored.state;
    let value = match state.values.get(metric).copied().flatten() {
        Some(n) => SampleValue::Number(n),
        None => SampleValue::Missing { missing: "its value is not stored".into() },
    };
    let of_metric = |e: &&Evidence| e.metric == metric;
    Sample {
        metric: metric.to_owned(),
        scope: state.scope.clone(),
        window: state.window.clone(),
        value,
        evidence: state.evidence.iter().filter(of_metric).cloned().collect(),
        coverage: None,
        score: None,
        run: None,
    }
}

fn operand(sample: &Sample) -> Operand<'_> {
    if sample.coverage.is_some_and(|c| c.expected == 0) {
        return Operand::Missing("its population is empty");
    }
    match &sample.value {
        SampleValue::Number(n) => sample.score.map_or(Operand::Number(*n), Operand::Counted),
        SampleValue::Rounded { rounded } => Operand::Rounded(*rounded),
        SampleValue::Bool(b) => Operand::Bool(*b),
        SampleValue::Text(text) => Operand::Text(text),
        SampleValue::Missing { missing } => Operand::Missing(missing),
    }
}

fn decider(metric: &str, sample: &Sample, facts: &Facts<'_>, stored: &StoredState) -> Decider {
    let found = facts.metrics.get(metric);
    let value = match &sample.value {
        SampleValue::Number(n) | SampleValue::Rounded { rounded: n } => json!(n),
        SampleValue::Bool(b) => json!(b),
        SampleValue::Text(text) => json!(text),
        SampleValue::Missing { .. } => Value::Null,
    };
    // The verdict's own evidence is what was judged; the metric's state may be older and equal.
    let judged: Vec<&Evidence> = stored.state.evidence.iter().filter(|e| e.metric == metric).collect();
    let evidence = if judged.is_empty() { sample.evidence.iter().collect() } else { judged };
    Decider {
        metric: metric.to_owned(),
        value,
        coverage: sample.coverage,
        revision: found.map(|f| f.revision),
        recorded_at: found.map(|f| f.recorded_at),
        run: found.map(|f| f.state.run),
        evidence: evidence.into_iter().map(piece).collect(),
    }
}

fn piece(evidence: &Evidence) -> Piece {
    Piece {
        source: evidence.source.clone(),
        collected_at: evidence.collected_at,
        sha256: hex::encode(Sha256::digest(canonical(&evidence.data))),
        data: evidence.data.clone(),
    }
}

/// The last judgement that passed: an earlier revision of this window, else an earlier window.
fn change(facts: &Facts<'_>, stored: &StoredState) -> Option<Change> {
    let passed = |s: &&StoredState| s.state.verdict == Some(Verdict::Fulfilled);
    let (earlier, _) = facts.revisions.split_at(facts.revisions.len().saturating_sub(1));
    let (kind, found) = match earlier.iter().rev().find(passed) {
        Some(found) => ("revision", found),
        None => ("window", facts.earlier.iter().find(passed)?),
    };
    let (then, now) = (&found.state.values, &stored.state.values);
    let mut values: Vec<Changed> = now
        .iter()
        .filter(|(metric, value)| then.get(*metric) != Some(value))
        .map(|(metric, value)| Changed {
            metric: metric.clone(),
            then: then.get(metric).copied().flatten(),
            now: *value,
        })
        .collect();
    values.sort_by(|a, b| a.metric.cmp(&b.metric));
    Some(Change {
        kind,
        window: found.state.window.clone(),
        revision: found.revision,
        recorded_at: found.recorded_at,
        run: found.state.run,
        values,
        agreement_changed: found.state.agreement_version != stored.state.agreement_version,
    })
}
