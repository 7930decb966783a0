//! Waivers: who accepts for how long, and why, that a guarantee is not shown to be kept.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::state::{Amounts, Scope, State, Verdict, Window};

/// An acceptance of verdicts that are violated or unknown. In force from `from` until it expires or is ended; while
/// it is, it covers the windows that overlap `[from, to)`. Afterwards they count again as they are.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Waiver {
    /// Unique within the agreement.
    pub id: String,
    pub agreement: String,
    /// Only this guarantee; all of the agreement when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub guarantee: Option<String>,
    /// Members a state's scope must have, `*` for any; empty for every scope.
    #[serde(default)]
    pub scope: Scope,
    /// Why, in words. Never empty.
    pub reason: String,
    /// Who answers for it. Never empty.
    pub owner: String,
    pub from: Timestamp,
    /// End, exclusive, of the time whose windows are covered; `expires` when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<Timestamp>,
    /// From this instant on it is no longer in force.
    pub expires: Timestamp,
    /// When it was ended before it expired.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended_at: Option<Timestamp>,
    pub origin: Origin,
    /// User who made it; the document's source for one of a document.
    pub created_by: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub created_at: Option<Timestamp>,
}

/// Where a waiver stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Origin {
    /// In the agreement's document, under `context.x-probity.waivers`.
    Document,
    /// In the store: made through the API or the command line.
    Stored,
}

impl Waiver {
    /// When it stops being in force.
    pub fn ends(&self) -> Timestamp {
        self.ended_at.map_or(self.expires, |ended| ended.min(self.expires))
    }

    pub fn in_force(&self, at: Timestamp) -> bool {
        self.from <= at && at < self.ends()
    }

    /// Whether a guarantee's state of this scope and window is meant.
    pub fn covers(&self, guarantee: &str, scope: &Scope, window: &Window) -> bool {
        self.guarantee.as_deref().is_none_or(|only| only == guarantee)
            && window.to > self.from
            && window.from < self.to.unwrap_or(self.expires)
            && self.scope.0.iter().all(|(key, member)| scope.0.get(key).is_some_and(|m| member == "*" || member == m))
    }
}

/// What a waiver did to a state: the verdict without it stays to be seen.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AppliedWaiver {
    pub id: String,
    pub reason: String,
    pub owner: String,
    pub expires: Timestamp,
    /// The verdict without the waiver: violated or unknown.
    pub verdict: Verdict,
    /// The penalties without the waiver.
    #[serde(default)]
    pub penalties: Amounts,
}

/// The state as it stands under those of the waivers that are in force at `at`; whatever waiver was applied to it
/// before is taken back first. Of several that cover it the one that lasts longest counts.
pub fn apply(state: &mut State, waivers: &[Waiver], at: Timestamp) {
    take_back(state);
    let Some(verdict @ (Verdict::Violated | Verdict::Unknown)) = state.verdict else { return };
    let covering = waivers.iter().filter(|w| w.in_force(at) && w.covers(&state.of, &state.scope, &state.window));
    let Some(waiver) = covering.max_by(|a, b| (a.ends(), &b.id).cmp(&(b.ends(), &a.id))) else { return };
    state.verdict = Some(Verdict::Waived);
    state.waiver = Some(Box::new(AppliedWaiver {
        id: waiver.id.clone(),
        reason: waiver.reason.clone(),
        owner: waiver.owner.clone(),
        expires: waiver.expires,
        verdict,
        penalties: std::mem::take(&mut state.penalties),
    }));
    if let Some(applied) = &state.waiver {
        state.penalties = applied.penalties.keys().map(|name| (name.clone(), Some(0.0))).collect();
    }
}

fn take_back(state: &mut State) {
    if let Some(applied) = state.waiver.take() {
        state.verdict = Some(applied.verdict);
        state.penalties = applied.penalties;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::RunId;
    use crate::model::state::StateKind;

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    fn waiver(id: &str) -> Waiver {
        Waiver {
            id: id.into(),
            agreement: "a".into(),
            guarantee: Some("g".into()),
            scope: Scope([("team".to_string(), "blue".to_string())].into()),
            reason: "moving house".into(),
            owner: "ana".into(),
            from: at("2026-03-10T00:00:00Z"),
            to: None,
            expires: at("2026-03-20T00:00:00Z"),
            ended_at: None,
            origin: Origin::Stored,
            created_by: "ana".into(),
            created_at: None,
        }
    }

    fn state(verdict: Verdict) -> State {
        let (from, to) = (at("2026-03-01T00:00:00Z"), at("2026-04-01T00:00:00Z"));
        let window = Window { from, to, from_local: from.to_string(), to_local: to.to_string() };
        let scope = Scope([("team".to_string(), "blue".to_string())].into());
        let mut state = State::blank("a", StateKind::Guarantee, "g", scope, window, RunId::fresh());
        state.verdict = Some(verdict);
        state.penalties = [("fee".to_string(), Some(-2.0))].into();
        state
    }

    #[test]
    fn what_is_violated_or_unknown_is_waived_from_its_first_instant_until_its_last() {
        let waivers = [waiver("w")];
        for (now, waived) in [
            ("2026-03-09T23:59:59.999Z", false),
            ("2026-03-10T00:00:00Z", true),
            ("2026-03-19T23:59:59.999Z", true),
            ("2026-03-20T00:00:00Z", false),
        ] {
            for verdict in [Verdict::Violated, Verdict::Unknown] {
                let plain = state(verdict);
                let mut judged = plain.clone();
                apply(&mut judged, &waivers, at(now));
                assert_eq!(judged.verdict == Some(Verdict::Waived), waived, "{now}");
                assert_eq!(judged.unwaived(), Some(verdict));
                let owed = if waived { 0.0 } else { -2.0 };
                assert_eq!(judged.penalties["fee"], Some(owed));
                apply(&mut judged, &[], at(now));
                assert_eq!(judged, plain, "without the waiver it is as it was");
            }
            for verdict in [Verdict::Fulfilled, Verdict::NotApplicable] {
                let mut judged = state(verdict);
                apply(&mut judged, &waivers, at(now));
                assert_eq!(judged, State { run: judged.run, ..state(verdict) });
            }
        }
    }

    #[test]
    fn it_covers_its_guarantee_scope_and_time_only() {
        let changes: [fn(&mut Waiver); 6] = [
            |w| w.guarantee = Some("other".into()),
            |w| w.scope = Scope([("team".to_string(), "red".to_string())].into()),
            |w| w.scope = Scope([("site".to_string(), "*".to_string())].into()),
            |w| w.ended_at = Some(at("2026-03-11T00:00:00Z")),
            |w| w.from = at("2026-04-01T00:00:00Z"),
            |w| (w.from, w.to) = (at("2026-01-01T00:00:00Z"), Some(at("2026-03-01T00:00:00Z"))),
        ];
        for change in changes {
            let mut waiver = waiver("w");
            change(&mut waiver);
            let mut judged = state(Verdict::Violated);
            apply(&mut judged, &[waiver], at("2026-03-12T00:00:00Z"));
            assert_eq!(judged.verdict, Some(Verdict::Violated));
        }
        let mut wide = waiver("w");
        (wide.guarantee, wide.scope) = (None, Scope([("team".to_string(), "*".to_string())].into()));
        let mut judged = state(Verdict::Violated);
        apply(&mut judged, &[wide], at("2026-03-12T00:00:00Z"));
        assert_eq!(judged.verdict, Some(Verdict::Waived));
    }

    #[test]
    fn of_several_the_longest_counts_whatever_their_order() {
        let mut longer = waiver("b");
        longer.expires = at("2026-06-01T00:00:00Z");
        let waivers = [waiver("a"), longer, waiver("c")];
        for order in [[0, 1, 2], [2, 1, 0], [1, 0, 2]] {
            let waivers = order.map(|i: usize| waivers[i].clone());
            let mut judged = state(Verdict::Violated);
            apply(&mut judged, &waivers, at("2026-03-12T00:00:00Z"));
            assert_eq!(judged.waiver.unwrap().id, "b");
        }
    }
}
