//! Firings of schedules as rows with leases, and duties that one replica at a time has: the promises, whatever the database.
//!
//! A due time is one row, whoever makes it. Who does its work holds a lease by the database's clock, so that skewed clocks
//! of replicas do no harm: calls pass durations, never instants. Each lease has the next epoch; whoever completes a claim
//! names the epoch of its lease, and a late one changes nothing.

use async_trait::async_trait;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{ClaimKey, Page, PageRequest, StoreError};
use crate::model::RunId;

/// Why a due time is fired. Decided when its row is made, by whoever makes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum How {
    /// It came due while somebody watched.
    Live,
    /// It is the latest one of a schedule that had never fired.
    First,
    /// It came due while nobody watched, and is made up for.
    Missed,
}

impl How {
    pub(super) fn word(self) -> &'static str {
        match self {
            How::Live => "live",
            How::First => "first",
            How::Missed => "missed",
        }
    }

    /// `None` also for a claim from before this was kept.
    pub(super) fn parse(word: &str) -> Option<How> {
        [How::Live, How::First, How::Missed].into_iter().find(|how| how.word() == word)
    }
}

/// A due time that is to be a row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Due {
    pub key: ClaimKey,
    pub how: How,
    /// When it was noticed, by the clock of who noticed it.
    pub at: Timestamp,
}

/// Who wants to hold something, and for how long.
#[derive(Clone, Copy, Debug)]
pub struct Holder<'a> {
    /// Unique to the process.
    pub owner: &'a str,
    /// From now, by the database's clock. A lease of 0 ms has run out at once.
    pub lease_ms: u64,
}

/// A claim that was leased: whose it is, and the fencing token of the lease.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Claim {
    pub key: ClaimKey,
    /// One more than that of the lease before; the first has 1.
    pub epoch: i64,
}

/// What a lease was given with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claimed {
    pub claim: Claim,
    /// As its row says; `None` for a row from before that was kept.
    pub how: Option<How>,
    /// Whether an earlier firing of the same schedule was under way.
    pub overlapping: bool,
}

/// A due time's row.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Tick {
    #[serde(flatten)]
    pub key: ClaimKey,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub how: Option<How>,
    /// When its work was begun first; `None`: not yet.
    pub started_at: Option<Timestamp>,
    /// When it was completed; `None`: it is open, or was completed before this was kept.
    pub ended_at: Option<Timestamp>,
    /// How much later than planned it was begun, milliseconds.
    pub drift_ms: Option<i64>,
    /// Whether an earlier firing of the schedule was under way when it was begun.
    pub overlapping: bool,
    /// Leases it took.
    pub leases: i64,
    /// Who had the last lease.
    pub owner: Option<String>,
    /// The evaluation or run that completed it; `None`: it is open.
    pub run: Option<RunId>,
}

impl Tick {
    pub(super) fn drift(key: &ClaimKey, started_at: Option<Timestamp>) -> Option<i64> {
        let late = started_at?.duration_since(key.due_at).as_millis();
        Some(i64::try_from(late).unwrap_or(i64::MAX))
    }
}

#[async_trait]
pub trait Claims: Send + Sync {
    /// Makes rows of due times, for whoever leases them first. Those that are rows already stay as they are. Gives how
    /// many are new.
    async fn materialise(&self, due: &[Due]) -> Result<u64, StoreError>;

    /// Leases a due time, which is made a row if it is none: `None` when it is done, or somebody else holds it. One whose
    /// lease ran out is given to the next who asks, with the next epoch.
    async fn claim(&self, due: &Due, holder: Holder<'_>) -> Result<Option<Claimed>, StoreError>;

    /// Extends leases from now; false for those that are lost: another has them, or has done them. One that its holder
    /// completed is not lost.
    async fn extend_claims(&self, claims: &[Claim], lease_ms: u64) -> Result<Vec<bool>, StoreError>;

    /// Ends a lease before its time: who asks next has the claim. Nothing happens when it was lost.
    async fn release_claim(&self, claim: &Claim) -> Result<(), StoreError>;

    /// Marks a claim complete that has no evaluation to commit. False, and nothing is stored, when the lease was lost;
    /// completing again with the same run is harmless.
    async fn complete_claim(&self, claim: &Claim, run: RunId, at: Timestamp) -> Result<bool, StoreError>;

    /// Claims that are not complete, leased or not, oldest first.
    async fn open_claims(&self) -> Result<Vec<ClaimKey>, StoreError>;

    /// Claims of these schedules that are not complete and that nobody holds now, oldest first, at most `limit`.
    async fn leasable_claims(&self, schedules: &[&str], limit: u32) -> Result<Vec<ClaimKey>, StoreError>;

    /// The newest due time of a schedule that is a row, of those not after `until`.
    async fn last_claim_until(&self, schedule: &str, until: Timestamp) -> Result<Option<Timestamp>, StoreError>;

    /// The newest due time of a schedule that is a row.
    async fn last_claim(&self, schedule: &str) -> Result<Option<Timestamp>, StoreError> {
        self.last_claim_until(schedule, Timestamp::MAX).await
    }

    /// Rows of a schedule, newest due time first.
    async fn ticks(&self, schedule: &str, page: &PageRequest) -> Result<Page<Tick>, StoreError>;

    /// Takes a duty, or keeps it: true for who has it now, until its lease runs out.
    async fn take_duty(&self, name: &str, holder: Holder<'_>) -> Result<bool, StoreError>;

    /// Lays a duty down before its time; nothing happens when another has it.
    async fn leave_duty(&self, name: &str, owner: &str) -> Result<(), StoreError>;
}
