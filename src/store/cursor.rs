//! Opaque cursors: where a list goes on, by the sort key of the last item given (not by counting).

use std::collections::HashMap;
use std::str::FromStr;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jiff::Timestamp;
use uuid::Uuid;

use super::{Page, PageRequest, StoreError};
use crate::model::state::{Correction, StoredState};

/// How many rows a list may give at once.
const LIMIT_MAX: u32 = 1000;

/// The sort key of a list's items.
pub(super) trait Position: Sized {
    fn write(&self) -> String;
    fn read(text: &str) -> Option<Self>;
}

/// States: end of the window, then key; both descending.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct StatePosition {
    pub to: Timestamp,
    pub key: Uuid,
}

impl Position for StatePosition {
    fn write(&self) -> String {
        format!("s {} {}", self.to.as_microsecond(), self.key.simple())
    }

    fn read(text: &str) -> Option<Self> {
        let (to, key) = text.strip_prefix("s ")?.split_once(' ')?;
        let to = Timestamp::from_microsecond(to.parse().ok()?).ok()?;
        Some(StatePosition { to, key: Uuid::from_str(key).ok()? })
    }
}

/// Corrections: when they were recorded, then key and revision; all descending.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct CorrectionPosition {
    pub at: Timestamp,
    pub key: Uuid,
    pub revision: u32,
}

impl Position for CorrectionPosition {
    fn write(&self) -> String {
        format!("c {} {} {}", self.at.as_microsecond(), self.key.simple(), self.revision)
    }

    fn read(text: &str) -> Option<Self> {
        let mut parts = text.strip_prefix("c ")?.split(' ');
        let at = Timestamp::from_microsecond(parts.next()?.parse().ok()?).ok()?;
        let (key, revision) = (Uuid::from_str(parts.next()?).ok()?, parts.next()?.parse().ok()?);
        Some(CorrectionPosition { at, key, revision })
    }
}

/// Runs: id, descending.
#[derive(Clone, Copy, Debug)]
pub(super) struct RunPosition(pub Uuid);

impl Position for RunPosition {
    fn write(&self) -> String {
        format!("r {}", self.0.simple())
    }

    fn read(text: &str) -> Option<Self> {
        Some(RunPosition(Uuid::from_str(text.strip_prefix("r ")?).ok()?))
    }
}

/// Audit entries: row id, descending.
#[derive(Clone, Copy, Debug)]
pub(super) struct AuditPosition(pub i64);

impl Position for AuditPosition {
    fn write(&self) -> String {
        format!("a {}", self.0)
    }

    fn read(text: &str) -> Option<Self> {
        Some(AuditPosition(text.strip_prefix("a ")?.parse().ok()?))
    }
}

/// Firings of one schedule: due time, descending.
#[derive(Clone, Copy, Debug)]
pub(super) struct TickPosition(pub Timestamp);

impl Position for TickPosition {
    fn write(&self) -> String {
        format!("t {}", self.0.as_microsecond())
    }

    fn read(text: &str) -> Option<Self> {
        Some(TickPosition(Timestamp::from_microsecond(text.strip_prefix("t ")?.parse().ok()?).ok()?))
    }
}

/// Revisions of the flows: number, descending.
#[derive(Clone, Copy, Debug)]
pub(super) struct RevisionPosition(pub i64);

impl Position for RevisionPosition {
    fn write(&self) -> String {
        format!("f {}", self.0)
    }

    fn read(text: &str) -> Option<Self> {
        Some(RevisionPosition(text.strip_prefix("f ")?.parse().ok()?))
    }
}

impl PageRequest {
    /// The limit within its range.
    pub(super) fn rows_max(&self) -> usize {
        self.limit.clamp(1, LIMIT_MAX) as usize
    }

    /// One more than is given, to see whether there is a next page.
    pub(super) fn rows_wanted(&self) -> i64 {
        i64::from(self.limit.clamp(1, LIMIT_MAX)) + 1
    }

    /// Where to go on.
    ///
    /// # Errors
    /// [`StoreError::Cursor`] when it is none of this list's.
    pub(super) fn position<P: Position>(&self) -> Result<Option<P>, StoreError> {
        let Some(cursor) = &self.after else { return Ok(None) };
        URL_SAFE_NO_PAD
            .decode(cursor)
            .ok()
            .and_then(|bytes| P::read(std::str::from_utf8(&bytes).ok()?))
            .map(Some)
            .ok_or_else(|| StoreError::Cursor { cursor: cursor.clone() })
    }
}

/// Makes a page of up to [`PageRequest::rows_wanted`] items, each with its position.
pub(super) fn page<T, P: Position>(mut found: Vec<(P, T)>, request: &PageRequest) -> Page<T> {
    let more = found.len() > request.rows_max();
    found.truncate(request.rows_max());
    let next = found.last().filter(|_| more).map(|(position, _)| URL_SAFE_NO_PAD.encode(position.write()));
    Page { items: found.into_iter().map(|(_, item)| item).collect(), next }
}

/// Makes a page of corrections from the revisions that corrected, by key, and those before them, by the key and
/// revision of what corrected them.
pub(super) fn corrections(
    after: Vec<(Uuid, StoredState)>,
    mut before: HashMap<(Uuid, u32), StoredState>,
    request: &PageRequest,
) -> Page<Correction> {
    let found = after
        .into_iter()
        .filter_map(|(key, after)| {
            let position = CorrectionPosition { at: after.recorded_at, key, revision: after.revision };
            let before = before.remove(&(key, after.revision))?;
            Some((position, Correction::of(before, after)?))
        })
        .collect();
    page(found, request)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_of_another_list_or_none_at_all_is_refused() {
        let run = URL_SAFE_NO_PAD.encode(RunPosition(Uuid::nil()).write());
        for cursor in ["", "x", "%%%", "AAAA", run.as_str()] {
            let request = PageRequest { limit: 1, after: Some(cursor.to_owned()) };
            assert!(matches!(request.position::<StatePosition>(), Err(StoreError::Cursor { .. })), "{cursor}");
        }
    }

    #[test]
    fn a_position_is_read_back_as_written() {
        let position = StatePosition { to: "1969-12-31T23:59:59.5Z".parse().unwrap(), key: Uuid::from_u128(7) };
        assert_eq!(StatePosition::read(&position.write()), Some(position));
    }
}
