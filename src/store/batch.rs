//! What a commit has to write: its states held against what is stored already.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use uuid::Uuid;

use super::{Committed, fingerprint};
use crate::model::provenance::Provenance;
use crate::model::state::{State, Verdict};

/// A state on its way into a table.
#[derive(Clone, Copy, Debug)]
pub(super) struct Row<'a> {
    pub key: Uuid,
    pub content: Uuid,
    pub provenance: Uuid,
    pub state: &'a State,
    /// Valid once [`changes`] has set it.
    pub revision: i32,
    /// What was said for good before of the same; valid once [`changes`] has set it.
    pub before: Option<Verdict>,
}

/// What is stored of a state: enough to see whether it changed.
#[derive(Clone, Copy, Debug)]
pub(super) struct Known {
    pub content: Uuid,
    pub revision: i32,
    pub provisional: bool,
    pub verdict: Option<Verdict>,
}

/// What to write, by end of window and key.
#[derive(Debug, Default)]
pub(super) struct Changes<'a> {
    /// Stored revisions to move to the history.
    pub replaced: Vec<Row<'a>>,
    pub written: Vec<Row<'a>>,
    pub committed: Committed,
}

/// The states by key; of several with one identity the last, as if they had been committed one after the other.
pub(super) fn rows(states: &[State]) -> Vec<Row<'_>> {
    let mut rows: Vec<Row<'_>> = Vec::with_capacity(states.len());
    // All states of an evaluation share one: it is hashed once.
    let mut last: Option<(&Arc<Provenance>, Uuid)> = None;
    for state in states {
        let provenance = match last {
            Some((known, id)) if Arc::ptr_eq(known, &state.provenance) => id,
            _ => fingerprint::provenance(&state.provenance),
        };
        last = Some((&state.provenance, provenance));
        rows.push(Row {
            key: fingerprint::identity_of(state),
            content: fingerprint::content_of(state),
            provenance,
            state,
            revision: 1,
            before: None,
        });
    }
    // Stable, and from behind: the last of equal keys comes first and is the one that stays. Equal keys have equal
    // windows, to the microsecond; what lies together is written together.
    rows.reverse();
    rows.sort_by_key(|row| (row.state.window.to.as_microsecond(), row.key));
    rows.dedup_by_key(|row| row.key);
    rows
}

/// With what the rows to be written were made, by id.
pub(super) fn provenances<'a>(written: &[Row<'a>]) -> BTreeMap<Uuid, &'a Provenance> {
    written.iter().map(|row| (row.provenance, &*row.state.provenance)).collect()
}

/// Whether a state was said of a window that was open then, and has been judged for good since.
pub(super) fn comes_late(state: &State, stored_is_provisional: bool) -> bool {
    state.provisional && !stored_is_provisional
}

pub(super) fn changes<'a>(rows: &[Row<'a>], known: &HashMap<Uuid, Known>) -> Changes<'a> {
    let mut changes = Changes::default();
    for row in rows {
        let mut row = *row;
        match known.get(&row.key) {
            None => changes.committed.inserted += 1,
            Some(known) if known.content == row.content || comes_late(row.state, known.provisional) => {
                changes.committed.unchanged += 1;
                continue;
            }
            Some(known) => {
                changes.committed.revised += 1;
                changes.replaced.push(row);
                row.revision = known.revision.saturating_add(1);
                row.before = known.verdict.filter(|_| !known.provisional);
            }
        }
        changes.written.push(row);
    }
    changes
}
