//! Changes of verdicts that somebody is to be told of: found in the transaction that stores the states, kept until told.

use std::collections::BTreeMap;
use std::collections::HashMap;

use async_trait::async_trait;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use uuid::Uuid;

use super::{AuditEntry, StoreError};
use crate::model::RunId;
use crate::model::state::{Scope, State, StateKind, Verdict, Window};

/// Changes told together.
const TOGETHER_MAX: usize = 100;

/// Another verdict than before, for good.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct VerdictChange {
    pub agreement: String,
    pub guarantee: String,
    pub scope: Scope,
    pub window: Window,
    /// What was said before: of this window if it was judged again, else of the one before it. `None`: nothing.
    pub before: Option<Verdict>,
    pub after: Verdict,
    /// The window had been judged for good already.
    pub correction: bool,
    pub value: Option<f64>,
    pub reason: String,
    pub run: RunId,
}

/// Which changes a channel is told.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rule {
    pub channel: String,
    /// Agreements; of all when empty.
    pub agreements: Vec<String>,
    /// `guarantee` or `agreement/guarantee`; all when empty.
    pub guarantees: Vec<String>,
    pub changes: Vec<Transition>,
    /// Whether corrections of windows that were judged before are told.
    pub corrections: bool,
}

/// From one verdict to another, written `fulfilled > violated`; `*` is any, `none` is none before.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Transition {
    before: Side,
    after: Side,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
enum Side {
    Any,
    None,
    Verdict(Verdict),
}

impl Side {
    fn parse(text: &str) -> Option<Side> {
        match text.trim() {
            "*" => Some(Side::Any),
            "none" => Some(Side::None),
            word => Verdict::ALL.into_iter().find(|verdict| verdict.as_str() == word).map(Side::Verdict),
        }
    }

    fn fits(self, verdict: Option<Verdict>) -> bool {
        match self {
            Side::Any => true,
            Side::None => verdict.is_none(),
            Side::Verdict(wanted) => verdict == Some(wanted),
        }
    }
}

impl std::str::FromStr for Transition {
    type Err = String;

    fn from_str(text: &str) -> Result<Transition, String> {
        let sides = text.split_once('>').and_then(|(before, after)| Some((Side::parse(before)?, Side::parse(after)?)));
        match sides {
            Some((before, after)) if after != Side::None => Ok(Transition { before, after }),
            _ => {
                let words = Verdict::ALL.map(Verdict::as_str).join(", ");
                Err(format!("\"{text}\" is no change; expected BEFORE > AFTER with {words}, *, or none before it"))
            }
        }
    }
}

impl Rule {
    /// Whether the channel is told of a change.
    pub fn fits(&self, change: &VerdictChange) -> bool {
        let named = |name: &String| match name.split_once('/') {
            Some((agreement, guarantee)) => agreement == change.agreement && guarantee == change.guarantee,
            None => *name == change.guarantee,
        };
        (self.agreements.is_empty() || self.agreements.contains(&change.agreement))
            && (self.guarantees.is_empty() || self.guarantees.iter().any(named))
            && (self.corrections || !change.correction)
            && self.changes.iter().any(|c| c.before.fits(change.before) && c.after.fits(Some(change.after)))
    }
}

/// Some changes of one commit for one channel.
#[derive(Clone, Debug, PartialEq)]
pub struct Notification {
    /// The same however often it is told.
    pub id: Uuid,
    pub channel: String,
    pub changes: Vec<VerdictChange>,
    pub recorded_at: Timestamp,
    /// How often it could not be told.
    pub attempts: u32,
}

/// What became of a [`Notification`].
#[derive(Clone, Debug, PartialEq)]
pub enum Told {
    Done,
    /// It is to be told not before this instant; `failed`: because it could not be.
    Later {
        due: Timestamp,
        failed: bool,
    },
    /// It will never be told, and why.
    Refused(AuditEntry),
}

/// Notifications as they wait to be told. The oldest of each channel comes first; the next one is given out when that
/// was told or refused.
#[async_trait]
pub trait Notifications {
    /// The oldest of each channel that is due and nobody else has, for the caller alone until `until`.
    async fn next_notifications(&self, now: Timestamp, until: Timestamp) -> Result<Vec<Notification>, StoreError>;

    /// Says what became of one; what is done is forgotten.
    async fn settle_notification(&self, id: Uuid, told: &Told) -> Result<(), StoreError>;

    /// How many wait, by channel.
    async fn notifications_waiting(&self) -> Result<BTreeMap<String, u64>, StoreError>;
}

/// A state that is written, with what was said for good of the same window before.
#[derive(Clone, Copy, Debug)]
pub(super) struct Written<'a> {
    pub state: &'a State,
    pub before: Option<Verdict>,
}

impl Written<'_> {
    /// The verdict, if it is one of a guarantee and for good.
    fn verdict(&self) -> Option<Verdict> {
        self.state.verdict.filter(|_| self.state.kind == StateKind::Guarantee && !self.state.provisional)
    }
}

/// The last verdict for good of a guarantee and scope.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Latest {
    pub window_to: Timestamp,
    pub verdict: Verdict,
}

/// Names a guarantee and scope of an agreement.
pub(super) fn series(state: &State) -> Uuid {
    id([&state.agreement, &state.of, &state.scope.canonical()])
}

/// The series whose latest verdicts must be known, each once.
pub(super) fn asked(written: &[Written<'_>]) -> Vec<Uuid> {
    let mut series: Vec<Uuid> = written.iter().filter(|w| w.verdict().is_some()).map(|w| series(w.state)).collect();
    series.sort();
    series.dedup();
    series
}

/// What changed by these states; brings `latest` up to date.
pub(super) fn changes(written: &[Written<'_>], latest: &mut HashMap<Uuid, Latest>) -> Vec<VerdictChange> {
    let mut ordered: Vec<(&Written<'_>, Verdict)> = written.iter().filter_map(|w| Some((w, w.verdict()?))).collect();
    ordered.sort_by_key(|(written, _)| {
        let state = written.state;
        (state.window.to, &state.agreement, &state.of, &state.scope)
    });
    let mut changes = Vec::new();
    for (Written { state, before }, after) in ordered {
        let series = series(state);
        let known = latest.get(&series).copied();
        // Nothing is said to come before a window that is judged after later ones.
        let earlier = known.filter(|known| known.window_to < state.window.to).map(|known| known.verdict);
        let previous = before.or(earlier);
        if known.is_none_or(|known| known.window_to <= state.window.to) {
            latest.insert(series, Latest { window_to: state.window.to, verdict: after });
        }
        if previous == Some(after) {
            continue;
        }
        changes.push(VerdictChange {
            agreement: state.agreement.clone(),
            guarantee: state.of.clone(),
            scope: state.scope.clone(),
            window: state.window.clone(),
            before: previous,
            after,
            correction: before.is_some(),
            value: state.value,
            reason: state.reason.clone(),
            run: state.run,
        });
    }
    changes
}

/// The changes of a commit as its channels are told them.
pub(super) fn notifications(
    run: RunId,
    changes: &[VerdictChange],
    rules: &[Rule],
    recorded_at: Timestamp,
) -> Vec<Notification> {
    let mut all = Vec::new();
    for rule in rules {
        let fitting: Vec<&VerdictChange> = changes.iter().filter(|change| rule.fits(change)).collect();
        for (number, together) in fitting.chunks(TOGETHER_MAX).enumerate() {
            all.push(Notification {
                id: id([&run.0.to_string(), &rule.channel, &number.to_string()]),
                channel: rule.channel.clone(),
                changes: together.iter().map(|change| (*change).clone()).collect(),
                recorded_at,
                attempts: 0,
            });
        }
    }
    all
}

fn id(parts: [&str; 3]) -> Uuid {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update((part.len() as u64).to_le_bytes());
        hash.update(part);
    }
    let mut bytes = [0; 16];
    bytes.copy_from_slice(&hash.finalize()[..16]);
    uuid::Builder::from_custom_bytes(bytes).into_uuid()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn change(before: Option<Verdict>, after: Verdict) -> VerdictChange {
        let at = Timestamp::UNIX_EPOCH;
        VerdictChange {
            agreement: "sla".into(),
            guarantee: "fast".into(),
            scope: Scope::default(),
            window: Window { from: at, to: at, from_local: String::new(), to_local: String::new() },
            before,
            after,
            correction: false,
            value: None,
            reason: String::new(),
            run: RunId(Uuid::nil()),
        }
    }

    #[test]
    fn transitions_are_read_and_fit() {
        use Verdict::{Fulfilled, NotApplicable, Unknown, Violated};
        for (text, before, after, fits) in [
            ("* > violated", None, Violated, true),
            ("*>violated", Some(Fulfilled), Violated, true),
            ("* > violated", Some(Violated), Fulfilled, false),
            ("violated > *", Some(Violated), Fulfilled, true),
            ("violated > *", None, Fulfilled, false),
            ("none > unknown", None, Unknown, true),
            ("none > unknown", Some(Fulfilled), Unknown, false),
            ("fulfilled > not-applicable", Some(Fulfilled), NotApplicable, true),
        ] {
            let rule = Rule { changes: vec![text.parse().unwrap()], ..Rule::default() };
            assert_eq!(rule.fits(&change(before, after)), fits, "{text} {before:?} {after:?}");
        }
        for wrong in ["", "violated", "a > violated", "violated > none", "> violated", "violated >"] {
            assert!(wrong.parse::<Transition>().unwrap_err().contains("BEFORE > AFTER"), "{wrong}");
        }
    }

    #[test]
    fn rules_name_agreements_and_guarantees() {
        let rule = |agreements: &[&str], guarantees: &[&str]| Rule {
            agreements: agreements.iter().map(|s| s.to_string()).collect(),
            guarantees: guarantees.iter().map(|s| s.to_string()).collect(),
            changes: vec!["* > *".parse().unwrap()],
            ..Rule::default()
        };
        for (agreements, guarantees, fits) in [
            (&[][..], &[][..], true),
            (&["sla"], &["fast"], true),
            (&["sla"], &["sla/fast"], true),
            (&["other"], &[], false),
            (&[], &["other/fast"], false),
            (&[], &["slow"], false),
        ] {
            let found = rule(agreements, guarantees).fits(&change(None, Verdict::Violated));
            assert_eq!(found, fits, "{agreements:?} {guarantees:?}");
        }
        let corrected = VerdictChange { correction: true, ..change(None, Verdict::Violated) };
        assert!(!rule(&[], &[]).fits(&corrected));
        assert!(Rule { corrections: true, ..rule(&[], &[]) }.fits(&corrected));
    }

    #[test]
    fn many_changes_are_told_in_parts_with_ids_of_their_own() {
        let rule = Rule { channel: "ops".into(), changes: vec!["* > *".parse().unwrap()], ..Rule::default() };
        let changes = vec![change(None, Verdict::Violated); TOGETHER_MAX + 1];
        let made = || notifications(RunId(Uuid::nil()), &changes, std::slice::from_ref(&rule), Timestamp::UNIX_EPOCH);
        let parts = made();
        assert_eq!(parts.iter().map(|part| part.changes.len()).collect::<Vec<_>>(), [TOGETHER_MAX, 1]);
        assert!(parts[0].id != parts[1].id && parts == made());
    }
}
