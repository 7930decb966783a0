//! Claims of schedule firings and duties in memory. Leases run by the process' monotonic clock, which stands for the
//! database's.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use jiff::Timestamp;

use super::{Contents, MemoryStore};
use crate::model::RunId;
use crate::store::claims::{Claim, Claimed, Claims, Due, Holder, How, Tick};
use crate::store::cursor::{self, TickPosition};
use crate::store::{ClaimKey, Page, PageRequest, StoreError};

/// A row of a due time.
#[derive(Debug, Default)]
pub(super) struct ClaimRow {
    how: Option<How>,
    started_at: Option<Timestamp>,
    ended_at: Option<Timestamp>,
    overlapping: bool,
    lease: Lease,
    epoch: i64,
    pub(super) run: Option<RunId>,
}

/// Who has something until when.
#[derive(Debug, Default)]
pub(super) struct Lease {
    owner: Option<String>,
    until: Option<Instant>,
}

impl Lease {
    fn is_over(&self) -> bool {
        self.until.is_none_or(|until| until <= Instant::now())
    }

    fn of(holder: Holder<'_>) -> Lease {
        Lease { owner: Some(holder.owner.to_owned()), until: Some(end_of(holder.lease_ms)) }
    }
}

fn end_of(lease_ms: u64) -> Instant {
    Instant::now() + Duration::from_millis(lease_ms)
}

impl Contents {
    /// The row of a claim whose lease is still the newest.
    fn held(&mut self, claim: &Claim) -> Option<&mut ClaimRow> {
        self.claims.get_mut(&claim.key).filter(|row| row.epoch == claim.epoch)
    }

    /// Whether a claim may be completed by this run.
    pub(super) fn may_complete(&mut self, claim: &Claim, run: RunId) -> bool {
        self.held(claim).is_some_and(|row| row.run.is_none_or(|by| by == run))
    }

    pub(super) fn complete(&mut self, claim: &Claim, run: RunId, at: Timestamp) -> bool {
        let may = self.may_complete(claim, run);
        if let Some(row) = self.held(claim).filter(|_| may) {
            row.run = Some(run);
            row.ended_at.get_or_insert(at);
        }
        may
    }

    /// Completes a claim, also one never made, with the run that was accepted for it.
    pub(super) fn accepted(&mut self, key: &ClaimKey, run: RunId, at: Timestamp) {
        let row = self.claims.entry(key.clone()).or_default();
        row.started_at.get_or_insert(at);
        row.ended_at.get_or_insert(at);
        row.run.get_or_insert(run);
    }

    fn open(&self) -> Vec<(&ClaimKey, &ClaimRow)> {
        let mut open: Vec<_> = self.claims.iter().filter(|(_, row)| row.run.is_none()).collect();
        open.sort_by_key(|(key, _)| (key.due_at, &key.schedule));
        open
    }
}

#[async_trait]
impl Claims for MemoryStore {
    async fn materialise(&self, due: &[Due]) -> Result<u64, StoreError> {
        let claims = &mut self.contents().claims;
        let before = claims.len();
        for due in due {
            claims.entry(due.key.clone()).or_insert_with(|| ClaimRow { how: Some(due.how), ..ClaimRow::default() });
        }
        Ok((claims.len() - before) as u64)
    }

    async fn claim(&self, due: &Due, holder: Holder<'_>) -> Result<Option<Claimed>, StoreError> {
        let mut contents = self.contents();
        let overlapping = contents
            .claims
            .iter()
            .filter(|(key, _)| key.schedule == due.key.schedule && key.due_at < due.key.due_at)
            .any(|(_, row)| row.run.is_none() && !row.lease.is_over());
        let row = contents
            .claims
            .entry(due.key.clone())
            .or_insert_with(|| ClaimRow { how: Some(due.how), ..ClaimRow::default() });
        if row.run.is_some() || !row.lease.is_over() {
            return Ok(None);
        }
        if row.started_at.is_none() {
            row.started_at = Some(due.at);
            row.overlapping = overlapping;
        }
        row.epoch += 1;
        row.lease = Lease::of(holder);
        let claim = Claim { key: due.key.clone(), epoch: row.epoch };
        Ok(Some(Claimed { claim, how: row.how, overlapping: row.overlapping }))
    }

    async fn extend_claims(&self, claims: &[Claim], lease_ms: u64) -> Result<Vec<bool>, StoreError> {
        let mut contents = self.contents();
        let extend = |claim| contents.held(claim).map(|row| row.lease.until = Some(end_of(lease_ms))).is_some();
        Ok(claims.iter().map(extend).collect())
    }

    async fn release_claim(&self, claim: &Claim) -> Result<(), StoreError> {
        if let Some(row) = self.contents().held(claim) {
            row.lease.until = None;
        }
        Ok(())
    }

    async fn complete_claim(&self, claim: &Claim, run: RunId, at: Timestamp) -> Result<bool, StoreError> {
        Ok(self.contents().complete(claim, run, at))
    }

    async fn open_claims(&self) -> Result<Vec<ClaimKey>, StoreError> {
        Ok(self.contents().open().into_iter().map(|(key, _)| key.clone()).collect())
    }

    async fn leasable_claims(&self, schedules: &[&str], limit: u32) -> Result<Vec<ClaimKey>, StoreError> {
        let contents = self.contents();
        let open = contents.open().into_iter();
        let free = open.filter(|(key, row)| row.lease.is_over() && schedules.contains(&key.schedule.as_str()));
        Ok(free.take(limit as usize).map(|(key, _)| key.clone()).collect())
    }

    async fn last_claim_until(&self, schedule: &str, until: Timestamp) -> Result<Option<Timestamp>, StoreError> {
        let contents = self.contents();
        let of = contents.claims.keys().filter(|key| key.schedule == schedule && key.due_at <= until);
        Ok(of.map(|key| key.due_at).max())
    }

    async fn ticks(&self, schedule: &str, request: &PageRequest) -> Result<Page<Tick>, StoreError> {
        let after = request.position::<TickPosition>()?;
        let contents = self.contents();
        let of = contents.claims.iter().rev().filter(|(key, _)| key.schedule == schedule);
        let found = of.filter(|(key, _)| after.is_none_or(|after| key.due_at < after.0)).map(|(key, row)| {
            let tick = Tick {
                key: key.clone(),
                how: row.how,
                started_at: row.started_at,
                ended_at: row.ended_at,
                drift_ms: Tick::drift(key, row.started_at),
                overlapping: row.overlapping,
                leases: row.epoch,
                owner: row.lease.owner.clone(),
                run: row.run,
            };
            (TickPosition(key.due_at), tick)
        });
        Ok(cursor::page(found.take(request.rows_max() + 1).collect(), request))
    }

    async fn take_duty(&self, name: &str, holder: Holder<'_>) -> Result<bool, StoreError> {
        let duties: &mut BTreeMap<String, Lease> = &mut self.contents().duties;
        let ours = duties.get(name).is_none_or(|lease| lease.is_over() || lease.owner.as_deref() == Some(holder.owner));
        if ours {
            duties.insert(name.to_owned(), Lease::of(holder));
        }
        Ok(ours)
    }

    async fn leave_duty(&self, name: &str, owner: &str) -> Result<(), StoreError> {
        self.contents().duties.retain(|had, lease| had != name || lease.owner.as_deref() != Some(owner));
        Ok(())
    }
}
