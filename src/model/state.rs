//! What was observed: samples of metrics, states of guarantees, their evidence and verdicts.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::RunId;
use super::provenance::{Digest, Provenance};
use super::score::Score;
use super::waiver::AppliedWaiver;

/// The answer to "was it kept?". Unknown is not false, and not zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    Fulfilled,
    Violated,
    /// It cannot be said, for the reason that stands beside it.
    Unknown,
    /// Violated or unknown, but a waiver in force accepts it; the verdict without the waiver stands beside it.
    Waived,
    /// The guarantee does not apply: nothing of its population exists in this window and scope.
    NotApplicable,
}

impl Verdict {
    /// All of them, in the order of their discriminants.
    pub const ALL: [Verdict; 5] =
        [Verdict::Fulfilled, Verdict::Violated, Verdict::Unknown, Verdict::Waived, Verdict::NotApplicable];
    /// Their words, in the same order.
    pub const WORDS: &[&str] = &["fulfilled", "violated", "unknown", "waived", "not-applicable"];

    pub fn as_str(self) -> &'static str {
        match self {
            Verdict::Fulfilled => "fulfilled",
            Verdict::Violated => "violated",
            Verdict::Unknown => "unknown",
            Verdict::Waived => "waived",
            Verdict::NotApplicable => "not-applicable",
        }
    }

    pub fn parse(s: &str) -> Option<Self> {
        Verdict::ALL.into_iter().find(|v| v.as_str() == s)
    }
}

/// Where a guarantee is judged: dimension → member, sorted, so that equal scopes are equal texts.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Scope(pub BTreeMap<String, String>);

impl Scope {
    /// Canonical JSON text: keys sorted, no blanks. Part of a state's identity.
    pub fn canonical(&self) -> String {
        serde_json::to_string(&self.0).expect("a map of strings is JSON")
    }

    /// As people read it: `team=blue stage=live`; `-` for the scope without dimensions.
    pub fn text(&self) -> String {
        let members: Vec<String> = self.0.iter().map(|(key, member)| format!("{key}={member}")).collect();
        if members.is_empty() { "-".into() } else { members.join(" ") }
    }

    /// True when a member is `*`: to be expanded by the collector.
    pub fn has_wildcard(&self) -> bool {
        self.wildcards().next().is_some()
    }

    /// The dimensions whose member is `*`.
    pub fn wildcards(&self) -> impl Iterator<Item = &str> {
        self.0.iter().filter(|(_, member)| *member == "*").map(|(key, _)| key.as_str())
    }

    /// True when `other` is this scope with every `*` replaced by some member.
    pub fn covers(&self, other: &Scope) -> bool {
        self.0.len() == other.0.len() && self.0.iter().all(|(k, v)| other.0.get(k).is_some_and(|o| v == "*" || v == o))
    }
}

/// A half-open period `[from, to)` with its bounds in the agreement's zone.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Window {
    pub from: Timestamp,
    pub to: Timestamp,
    /// `2026-03-29T00:00:00+01:00`: RFC 3339, with the offset the zone has at that instant.
    pub from_local: String,
    pub to_local: String,
}

impl Window {
    /// As people read it: `2026-03-28 23:00 → 2026-03-29 00:00 UTC+01:00`; whole days without their midnights; both
    /// offsets where the clock changes in between.
    pub fn text(&self) -> String {
        let (from, from_offset) = civil_and_offset(&self.from_local);
        let (to, to_offset) = civil_and_offset(&self.to_local);
        let whole_days = from.ends_with(" 00:00") && to.ends_with(" 00:00");
        let cut = |civil: &str| civil.strip_suffix(" 00:00").filter(|_| whole_days).unwrap_or(civil).to_owned();
        let (from, to) = (cut(&from), cut(&to));
        if from_offset == to_offset {
            format!("{from} → {to} {to_offset}")
        } else {
            format!("{from} {from_offset} → {to} {to_offset}")
        }
    }
}

/// `2026-03-29T00:00:00+01:00` → `2026-03-29 00:00` and `UTC+01:00`.
fn civil_and_offset(local: &str) -> (String, String) {
    let civil = local.get(..16).unwrap_or(local).replace('T', " ");
    let offset = local.get(19..).unwrap_or_default().trim_start_matches(|c: char| c == '.' || c.is_ascii_digit());
    let offset = if ["", "Z", "+00:00"].contains(&offset) { "" } else { offset };
    (civil, format!("UTC{offset}"))
}

/// One observed value of a metric in a scope and period.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Sample {
    pub metric: String,
    pub scope: Scope,
    pub window: Window,
    pub value: SampleValue,
    #[serde(default)]
    pub evidence: Vec<Evidence>,
    /// How many members of the population should have been seen and how many were, when the collector says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub coverage: Option<Coverage>,
    /// The value as an exact fraction, when the source counted: 199 of 200 is not 100 %.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub score: Option<Score>,
    /// The flow run that computed it, when a flow did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run: Option<RunId>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum SampleValue {
    Bool(bool),
    Number(f64),
    Text(String),
    /// A whole number that its source rounded and gave no counts of: 199 of 200 come as 100.
    Rounded {
        rounded: f64,
    },
    /// No value, and why: `null`, `NaN`, an empty population, a failed collector.
    Missing {
        missing: String,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Coverage {
    pub seen: u64,
    pub expected: u64,
}

impl Coverage {
    /// Share of the population that was seen, in per cent, cut to one decimal: 199 of 200 is `99.5%`, and `100%` is all of them. `None` when nothing
    /// was expected.
    pub fn percent(self) -> Option<String> {
        let tenths = (u128::from(self.seen) * 1000).checked_div(u128::from(self.expected))?;
        Some(match (tenths / 10, tenths % 10) {
            (0, 0) if self.seen > 0 => "<0.1%".into(),
            (whole, 0) => format!("{whole}%"),
            (whole, tenth) => format!("{whole}.{tenth}%"),
        })
    }
}

/// One piece of what a verdict rests on, as the source gave it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Evidence {
    /// Metric it came with.
    pub metric: String,
    /// Where it came from: collector URL, flow id.
    pub source: String,
    pub collected_at: Timestamp,
    /// The source's own evidence, verbatim.
    pub data: serde_json::Value,
}

/// What a state is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum StateKind {
    Guarantee,
    Metric,
    /// How much of an error budget is left.
    Budget,
    /// How fast one is used up, and whether that is worth an alert.
    #[serde(rename = "burn-rate")]
    BurnRate,
}

impl StateKind {
    pub fn as_str(self) -> &'static str {
        match self {
            StateKind::Guarantee => "guarantee",
            StateKind::Metric => "metric",
            StateKind::Budget => "budget",
            StateKind::BurnRate => "burn-rate",
        }
    }

    /// All of them, and their words.
    pub const ALL: [StateKind; 4] = [StateKind::Guarantee, StateKind::Metric, StateKind::Budget, StateKind::BurnRate];
    pub const WORDS: &[&str] = &["guarantee", "metric", "budget", "burn-rate"];

    pub fn parse(word: &str) -> Option<Self> {
        StateKind::ALL.into_iter().find(|kind| kind.as_str() == word)
    }
}

/// The verdict of a guarantee (or the value of a metric) in one scope and window.
/// Identity: `(agreement, kind, of, scope, window.from, window.to)`; a changed content makes a new revision.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct State {
    pub agreement: String,
    pub kind: StateKind,
    /// Guarantee, metric or budget id; of a burn rate, `<budget>/<alert>`.
    pub of: String,
    pub scope: Scope,
    pub window: Window,
    /// `None` for a metric's state.
    pub verdict: Option<Verdict>,
    /// Left side of the objective for a guarantee (or 1/0 when it is not a comparison), value for a metric;
    /// `None` when unknown.
    pub value: Option<f64>,
    /// The value as an exact fraction, where it is a ratio or rests on counts.
    pub score: Option<Score>,
    /// Metric values the objective was evaluated with; `null` where one was missing.
    pub values: BTreeMap<String, Option<f64>>,
    /// Why, in one sentence: the objective with values put in, or what is missing.
    pub reason: String,
    pub coverage: Option<Coverage>,
    pub evidence: Vec<Evidence>,
    /// The window was still open when this was said.
    pub provisional: bool,
    /// What the agreement's penalties come to, by name; `None` where that cannot be said. Zero when nothing is owed,
    /// empty when the guarantee has none. A waived state owes nothing; what it would owe is in the waiver.
    #[serde(default)]
    pub penalties: Amounts,
    /// What its rewards come to.
    #[serde(default)]
    pub rewards: Amounts,
    /// The waiver that made a violated or unknown state a waived one.
    pub waiver: Option<Box<AppliedWaiver>>,
    /// SHA-256 of the agreement document.
    pub agreement_version: String,
    /// SHA-256 of the canonical samples it was judged from; `None` for states of before hashes were kept.
    pub inputs: Option<Digest>,
    /// With what it was made; shared by all states of an evaluation.
    #[serde(default)]
    pub provenance: Arc<Provenance>,
    /// The evaluation that produced it.
    pub run: RunId,
}

/// Amounts by name, in the unit the agreement gives that name; `None` where one cannot be said.
pub type Amounts = BTreeMap<String, Option<f64>>;

/// A verdict of a window that is over which stands as it is known, although its evaluation was asked for again: a source
/// that was to be asked gave no answer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Kept {
    pub guarantee: String,
    pub scope: Scope,
    pub window: Window,
    /// Which metric could not be asked for, and why.
    pub reason: String,
}

/// A state as stored.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct StoredState {
    #[serde(flatten)]
    pub state: State,
    /// 1 for the first; counts up with every change of content.
    pub revision: u32,
    pub recorded_at: Timestamp,
}

/// A revision that changed what had been said of a closed window.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Correction {
    pub before: StoredState,
    pub after: StoredState,
    pub because: Because,
}

/// What made a correction necessary.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Because {
    /// The document was changed.
    Agreement,
    /// A waiver began, ended or expired.
    Waiver,
    /// Other evidence came, or came late.
    Evidence,
}

impl Because {
    pub fn as_str(self) -> &'static str {
        match self {
            Because::Agreement => "agreement",
            Because::Waiver => "waiver",
            Because::Evidence => "evidence",
        }
    }
}

impl Correction {
    /// `after` as a correction of the revision before it; `None` when that one was provisional, which every closing
    /// window replaces.
    pub fn of(before: StoredState, after: StoredState) -> Option<Correction> {
        let waiver = |stored: &StoredState| stored.state.waiver.as_ref().map(|w| w.id.clone());
        let because = match () {
            () if before.state.provisional => return None,
            () if before.state.agreement_version != after.state.agreement_version => Because::Agreement,
            // One that is fulfilled has no waiver either.
            () if waiver(&before) != waiver(&after) && before.state.inputs == after.state.inputs => Because::Waiver,
            () => Because::Evidence,
        };
        Some(Correction { before, after, because })
    }
}

impl State {
    /// A state that says nothing yet.
    pub fn blank(agreement: &str, kind: StateKind, of: &str, scope: Scope, window: Window, run: RunId) -> State {
        State {
            agreement: agreement.to_owned(),
            kind,
            of: of.to_owned(),
            scope,
            window,
            verdict: None,
            value: None,
            score: None,
            values: BTreeMap::new(),
            reason: String::new(),
            coverage: None,
            evidence: Vec::new(),
            provisional: false,
            penalties: Amounts::new(),
            rewards: Amounts::new(),
            waiver: None,
            agreement_version: String::new(),
            inputs: None,
            provenance: Arc::default(),
            run,
        }
    }

    /// The verdict as it is without any waiver.
    pub fn unwaived(&self) -> Option<Verdict> {
        self.waiver.as_ref().map_or(self.verdict, |waiver| Some(waiver.verdict))
    }

    /// A verdict as every surface shows it: CLI, API, `evaluate` node. Instants are RFC 3339; a verdict word occurs
    /// only as the value of `verdict`.
    pub fn to_verdict_json(&self) -> serde_json::Value {
        serde_json::json!({
            "agreement": self.agreement,
            "guarantee": self.of,
            "scope": self.scope,
            "window": self.window,
            "value": self.value,
            "values": self.values,
            "score": self.score,
            "verdict": self.verdict,
            "reason": self.reason,
            "coverage": self.coverage,
            "evidence": self.evidence,
            "provisional": self.provisional,
            "penalties": self.penalties,
            "rewards": self.rewards,
            "waiver": self.waiver,
            "agreement_version": self.agreement_version,
            "inputs": self.inputs,
            "provenance": self.provenance,
            "run": self.run,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn not_quite_all_is_not_all() {
        let percent = |seen, expected| Coverage { seen, expected }.percent().unwrap();
        assert_eq!([percent(200, 200), percent(199, 200), percent(5, 10)], ["100%", "99.5%", "50%"]);
        assert_eq!([percent(999_999, 1_000_000), percent(1, 1_000_000), percent(0, 9)], ["99.9%", "<0.1%", "0%"]);
        assert_eq!(Coverage { seen: 0, expected: 0 }.percent(), None);
    }

    #[test]
    fn windows_read_as_people_write_them() {
        let text = |from: &str, to: &str| {
            let window = Window {
                from: Timestamp::UNIX_EPOCH,
                to: Timestamp::UNIX_EPOCH,
                from_local: from.into(),
                to_local: to.into(),
            };
            window.text()
        };
        let changing = text("2026-03-29T00:00:00+01:00", "2026-03-30T00:00:00+02:00");
        assert_eq!(changing, "2026-03-29 UTC+01:00 → 2026-03-30 UTC+02:00");
        let hour = text("2026-03-29T23:00:00+00:00", "2026-03-30T00:00:00+00:00");
        assert_eq!(hour, "2026-03-29 23:00 → 2026-03-30 00:00 UTC");
        let odd = text("2026-03-29T00:00:00.25+05:30", "2026-03-30T00:00:00.25+05:30");
        assert_eq!(odd, "2026-03-29 → 2026-03-30 UTC+05:30");
    }
}
