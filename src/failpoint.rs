//! Floor 3: named places at which a test lets the process die, to see that nothing is lost there.
//!
//! They exist in debug builds only; in a release build [`reach`] is nothing and [`arm`] refuses. Which module stands at
//! which place is said at each [`FailPoint`], so that each is reached once per event.

use std::sync::atomic::{AtomicU64, Ordering};

/// A place where a process may die.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FailPoint {
    /// `store`: runs are about to be accepted; nothing of it is stored.
    AcceptBeforeCommit,
    /// `store`: runs are accepted; their callers do not know yet.
    AcceptAfterCommit,
    /// `dispatch`: runs are leased; none has begun.
    DispatchLeased,
    /// `store`: a durable point is about to be stored.
    PointBefore,
    /// `store`: a durable point is stored; the run does not know yet.
    PointAfter,
    /// `runtime`: a node's effect outside has happened; nothing of that is stored.
    EffectSent,
    /// `store`: runs are about to be settled; nothing of it is stored.
    SettleBeforeCommit,
    /// `store`: runs are settled; the worker does not know yet.
    SettleAfterCommit,
    /// `schedule`: a tick is claimed; its run is not accepted.
    TickClaimed,
    /// `deploy`: a revision of flows is stored; this replica does not run it yet.
    DeployStored,
}

impl FailPoint {
    pub const ALL: [FailPoint; 10] = [
        FailPoint::AcceptBeforeCommit,
        FailPoint::AcceptAfterCommit,
        FailPoint::DispatchLeased,
        FailPoint::PointBefore,
        FailPoint::PointAfter,
        FailPoint::EffectSent,
        FailPoint::SettleBeforeCommit,
        FailPoint::SettleAfterCommit,
        FailPoint::TickClaimed,
        FailPoint::DeployStored,
    ];

    /// As configuration and tests write it: `accept.before_commit`.
    pub fn as_str(self) -> &'static str {
        match self {
            FailPoint::AcceptBeforeCommit => "accept.before_commit",
            FailPoint::AcceptAfterCommit => "accept.after_commit",
            FailPoint::DispatchLeased => "dispatch.leased",
            FailPoint::PointBefore => "point.before",
            FailPoint::PointAfter => "point.after",
            FailPoint::EffectSent => "effect.sent",
            FailPoint::SettleBeforeCommit => "settle.before_commit",
            FailPoint::SettleAfterCommit => "settle.after_commit",
            FailPoint::TickClaimed => "tick.claimed",
            FailPoint::DeployStored => "deploy.stored",
        }
    }

    pub fn parse(word: &str) -> Option<FailPoint> {
        FailPoint::ALL.into_iter().find(|point| point.as_str() == word)
    }
}

/// Passes left until the process dies, by place; 0: not armed.
static LEFT: [AtomicU64; FailPoint::ALL.len()] = [const { AtomicU64::new(0) }; FailPoint::ALL.len()];

/// Lets the process die where these say: `settle.before_commit` at the first pass, `settle.before_commit:3` at the third.
///
/// # Errors
/// Each entry that names no place, or in a release build that there are none; then none is armed.
pub fn arm(entries: &[String]) -> Result<(), Vec<String>> {
    if entries.is_empty() {
        return Ok(());
    }
    if !cfg!(debug_assertions) {
        return Err(vec!["a release build has no fail points; remove them, or use a debug build".into()]);
    }
    let (mut armed, mut problems) = (Vec::new(), Vec::new());
    for entry in entries {
        match read(entry) {
            Ok(one) => armed.push(one),
            Err(problem) => problems.push(problem),
        }
    }
    if !problems.is_empty() {
        return Err(problems);
    }
    for (point, pass) in armed {
        LEFT[point as usize].store(pass, Ordering::SeqCst);
    }
    Ok(())
}

fn read(entry: &str) -> Result<(FailPoint, u64), String> {
    let (name, pass) = entry.trim().split_once(':').unwrap_or((entry.trim(), "1"));
    let point = FailPoint::parse(name).ok_or_else(|| {
        let known = FailPoint::ALL.map(FailPoint::as_str).join(", ");
        format!("{name:?} is no fail point; there are {known}")
    })?;
    match pass.parse() {
        Ok(pass) if pass > 0 => Ok((point, pass)),
        _ => Err(format!("{entry:?}: {pass:?} is no pass; give a number from 1, for example {name}:1")),
    }
}

/// The process has come by here. Aborts it, as `kill -9` would, when this place is armed and its pass has come.
#[inline]
pub fn reach(point: FailPoint) {
    if cfg!(debug_assertions) && LEFT[point as usize].load(Ordering::Relaxed) > 0 {
        pass(point);
    }
}

#[cold]
fn pass(point: FailPoint) {
    let left = LEFT[point as usize].fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1));
    if left == Ok(1) {
        std::process::abort();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_place_has_a_name_of_its_own_at_its_own_index() {
        for (index, point) in FailPoint::ALL.into_iter().enumerate() {
            assert_eq!(point as usize, index);
            assert_eq!(FailPoint::parse(point.as_str()), Some(point));
        }
    }

    #[test]
    fn an_entry_names_a_place_and_a_pass() {
        assert_eq!(read("settle.before_commit"), Ok((FailPoint::SettleBeforeCommit, 1)));
        assert_eq!(read(" effect.sent:3 "), Ok((FailPoint::EffectSent, 3)));
        for wrong in ["settle", "", "effect.sent:0", "effect.sent:x", "effect.sent:"] {
            assert!(read(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn all_problems_are_told_and_nothing_is_armed() {
        let problems = arm(&["effect.sent:9".into(), "nowhere".into(), "tick.claimed:0".into()]).unwrap_err();
        assert_eq!(problems.len(), 2, "{problems:?}");
        assert!(problems[0].contains("accept.before_commit"), "{problems:?}");
        assert_eq!(LEFT[FailPoint::EffectSent as usize].load(Ordering::SeqCst), 0);
        reach(FailPoint::EffectSent);
    }
}
