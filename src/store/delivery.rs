//! States that somebody else is to be told of: kept with the commit that made them, until they have been told.

use jiff::Timestamp;
use uuid::Uuid;

use super::AuditEntry;
use super::batch::Row;
use super::stored;
use crate::model::state::{State, StateKind, Verdict};

/// States kept together: few enough that telling them is soon done.
const TOGETHER_MAX: usize = 200;

/// Some states of one commit, in the order they are to be told.
#[derive(Clone, Debug, PartialEq)]
pub struct Delivery {
    pub id: i64,
    /// The same for all states of a commit; another when they are told anew.
    pub group: Uuid,
    pub states: Vec<State>,
    /// Whether these are the last ones of their group.
    pub last: bool,
    /// How many of them, from the front, have been told.
    pub sent: usize,
    /// Who told them before did not come to an end: the next one may have been told or not.
    pub in_doubt: bool,
}

/// What became of a [`Delivery`].
#[derive(Clone, Debug, PartialEq)]
pub enum Settled {
    /// This many of its states have been told; it is ours until this instant.
    Sent { states: usize, until: Timestamp },
    /// Nobody knows yet whether the next one was told; anybody may go on.
    InDoubt,
    /// The next one was not told; anybody may go on.
    Released,
    /// All of it was told.
    Done,
    /// Its group begins from the front under another name.
    Again { group: Uuid },
    /// Its group will never be told, and why.
    Refused(AuditEntry),
}

/// What is kept of a commit.
pub(super) struct Kept {
    /// A JSON array of states.
    pub states: String,
    pub count: i64,
    pub last: bool,
}

/// Final verdicts of what is written that are kept or not kept, of these agreements or of all.
pub(super) fn kept(written: &[Row<'_>], agreements: Option<&[String]>) -> Vec<Kept> {
    let states = told(written.iter().map(|row| row.state), agreements);
    let chunks = states.len().div_ceil(TOGETHER_MAX);
    let chunk = |(number, states): (usize, &[&State])| Kept {
        states: stored::states(states),
        count: stored::count(states.len() as u64),
        last: number + 1 == chunks,
    };
    states.chunks(TOGETHER_MAX).enumerate().map(chunk).collect()
}

/// The states to tell, by guarantee, window and scope.
pub(super) fn told<'a>(written: impl Iterator<Item = &'a State>, agreements: Option<&[String]>) -> Vec<&'a State> {
    let Some(agreements) = agreements else { return Vec::new() };
    let mut states: Vec<&State> = written
        .filter(|state| state.kind == StateKind::Guarantee && !state.provisional)
        .filter(|state| matches!(state.verdict, Some(Verdict::Fulfilled | Verdict::Violated)))
        .filter(|state| agreements.is_empty() || agreements.contains(&state.agreement))
        .collect();
    states.sort_by(|a, b| {
        (&a.agreement, &a.of, a.window.from, a.window.to, &a.scope).cmp(&(
            &b.agreement,
            &b.of,
            b.window.from,
            b.window.to,
            &b.scope,
        ))
    });
    states
}

/// States kept together in memory.
pub(super) fn together(states: &[&State]) -> Vec<Vec<State>> {
    states.chunks(TOGETHER_MAX).map(|chunk| chunk.iter().map(|state| (*state).clone()).collect()).collect()
}
