//! Durable runs in memory: the state machine as plainly as it can be said, which the databases are held against.

use std::collections::BTreeMap;

use async_trait::async_trait;
use jiff::{SignedDuration, Timestamp};
use tokio::sync::watch;

use super::{Contents, MemoryStore};
use crate::model::RunId;
use crate::model::run::RunRecord;
use crate::store::cursor::{self, RunPosition};
use crate::store::queue::{
    Accepted, Cancelled, CapsLeft, CommittedRun, Decision, DedupKey, Extended, FIRST_EPOCH, Held, Horizon, LeaseWanted,
    LeasedByName, NewRun, Outcome, PausedFlow, Point, Priority, Queue, QueueDepth, QueueQuery, QueueState, QueuedRun,
    Ready, ReadyWanted, Resume, Settlement,
};
use crate::store::{AuditEntry, ClaimKey, Commit, Page, PageRequest, StoreError};

/// Runs that have not ended, keys of runs that have and have not, and pauses.
#[derive(Debug, Default)]
pub(super) struct Runs {
    rows: BTreeMap<RunId, Row>,
    keys: BTreeMap<String, Key>,
    paused: BTreeMap<String, PausedFlow>,
}

#[derive(Debug)]
struct Row {
    run: QueuedRun,
    key: Option<String>,
    /// Of the latest durable point under the present lease.
    point_number: i64,
}

#[derive(Debug)]
struct Key {
    run: RunId,
    request: [u8; 32],
    keep_ms: u64,
    /// None while the run has not ended.
    expires_at: Option<Timestamp>,
}

impl Runs {
    /// The row of a lease that is still this one's.
    fn held(&mut self, held: Held) -> Option<&mut QueuedRun> {
        let run = &mut self.rows.get_mut(&held.id)?.run;
        (run.state == QueueState::Leased && run.epoch == held.epoch).then_some(run)
    }

    /// Removes a run for good; its key is remembered for its time.
    fn remove(&mut self, id: RunId, now: Timestamp) -> Option<QueuedRun> {
        let row = self.rows.remove(&id)?;
        if let Some(key) = row.key.as_ref().and_then(|key| self.keys.get_mut(key)).filter(|key| key.run == id) {
            key.expires_at = Some(after(now, key.keep_ms));
        }
        Some(row.run)
    }

    /// Whose the key is, when it is taken.
    fn taken(&self, wanted: &DedupKey, now: Timestamp) -> Option<Accepted> {
        let key = self.keys.get(&wanted.key)?;
        let alive = key.expires_at.is_none_or(|expires_at| expires_at > now);
        let same = key.request == wanted.request;
        alive.then_some(if same { Accepted::Known(key.run) } else { Accepted::Conflict(key.run) })
    }

    fn ready(&self, wanted: &LeaseWanted, now: Timestamp) -> Vec<(std::cmp::Reverse<i16>, Timestamp, RunId)> {
        let version = |run: &QueuedRun| wanted.versions.as_ref().is_none_or(|those| those.contains(&run.flow_version));
        let leasable = |run: &QueuedRun| matches!(run.state, QueueState::Queued | QueueState::Leased);
        let mut ready: Vec<_> = self
            .rows
            .values()
            .map(|row| &row.run)
            .filter(|run| leasable(run) && run.ready_at <= now && version(run))
            .filter(|run| !self.paused.contains_key(&run.flow))
            .map(|run| (std::cmp::Reverse(run.priority.number()), run.ready_at, run.id))
            .collect();
        ready.sort_unstable();
        ready
    }

    pub(super) fn forget_keys(&mut self, now: Timestamp) {
        self.keys.retain(|_, key| key.expires_at.is_none_or(|expires_at| expires_at > now));
    }
}

fn after(now: Timestamp, ms: u64) -> Timestamp {
    let ms = i64::try_from(ms).unwrap_or(i64::MAX);
    now.saturating_add(SignedDuration::from_millis(ms)).unwrap_or(Timestamp::MAX)
}

fn row(owner: &str, new: &NewRun, paused: bool, now: Timestamp) -> QueuedRun {
    let lease_ms = new.lease_ms.filter(|_| !paused);
    let leased = lease_ms.is_some();
    QueuedRun {
        id: new.id,
        flow: new.flow.clone(),
        node: new.node.clone(),
        flow_version: new.flow_version.clone(),
        trigger: new.trigger.clone(),
        msg: new.msg.clone(),
        reply: new.reply,
        priority: new.priority,
        tenant: new.tenant.clone(),
        state: if leased { QueueState::Leased } else { QueueState::Queued },
        attempt: u32::from(leased),
        epoch: if leased { FIRST_EPOCH } else { 0 },
        owner: leased.then(|| owner.to_owned()),
        ready_at: after(now, lease_ms.unwrap_or(if new.lease_ms.is_some() { 0 } else { new.delay_ms })),
        accepted_at: now,
        point: None,
        effects: None,
        decision: None,
        cancel_wanted: false,
        error: None,
    }
}

/// Leases a run that is ready.
fn leased(row: &mut Row, owner: &str, wanted: &LeaseWanted, now: Timestamp) -> QueuedRun {
    row.point_number = 0;
    let run = &mut row.run;
    run.state = QueueState::Leased;
    run.owner = Some(owner.to_owned());
    run.ready_at = after(now, wanted.lease_ms);
    run.epoch += 1;
    run.attempt += 1;
    run.clone()
}

impl Contents {
    fn accept(&mut self, owner: &str, new: &NewRun, now: Timestamp) -> Accepted {
        if self.queue.rows.contains_key(&new.id) || self.runs.contains_key(&new.id) {
            return Accepted::Known(new.id);
        }
        if let Some(dedup) = &new.dedup {
            if let Some(taken) = self.queue.taken(dedup, now) {
                return taken;
            }
            let key = Key { run: new.id, request: dedup.request, keep_ms: dedup.keep_ms, expires_at: None };
            self.queue.keys.insert(dedup.key.clone(), key);
        }
        let run = row(owner, new, self.queue.paused.contains_key(&new.flow), now);
        let accepted = if run.state == QueueState::Leased { Accepted::Leased } else { Accepted::Queued };
        self.queue
            .rows
            .insert(new.id, Row { run, key: new.dedup.as_ref().map(|dedup| dedup.key.clone()), point_number: 0 });
        accepted
    }

    fn end(&mut self, id: RunId, record: RunRecord, now: Timestamp) {
        self.queue.remove(id, now);
        self.runs.insert(record.id, record);
    }

    fn settle(&mut self, settlement: &Settlement, now: Timestamp) -> bool {
        let Some(run) = self.queue.held(settlement.held) else { return false };
        let (state, ready_at) = match &settlement.outcome {
            Outcome::Ended(record) => {
                self.end(settlement.held.id, (**record).clone(), now);
                return true;
            }
            Outcome::Retry { delay_ms, error, resume } => {
                run.error = Some(error.clone());
                if *resume == Resume::Start {
                    (run.point, run.effects, run.decision) = (None, None, None);
                }
                (QueueState::Queued, after(now, *delay_ms))
            }
            Outcome::Released => {
                run.attempt = run.attempt.saturating_sub(1);
                (QueueState::Queued, now)
            }
            Outcome::Dead { error } => {
                run.error = Some(error.clone());
                (QueueState::Dead, now)
            }
            Outcome::Doubt { what } => {
                run.error = Some(what.clone());
                (QueueState::InDoubt, now)
            }
        };
        (run.state, run.ready_at) = (state, ready_at);
        true
    }

    fn cancel(&mut self, id: RunId, audit: &AuditEntry, now: Timestamp) -> Cancelled {
        let Some(row) = self.queue.rows.get_mut(&id) else { return Cancelled::Unknown };
        self.audit.push(audit.clone());
        if row.run.state == QueueState::Leased {
            row.run.cancel_wanted = true;
            return Cancelled::Wanted;
        }
        let record = row.run.cancelled(audit, now);
        self.end(id, record, now);
        Cancelled::Ended
    }

    fn decide(&mut self, id: RunId, decision: Decision, audit: &AuditEntry, now: Timestamp) -> bool {
        let found = self.queue.rows.get_mut(&id).map(|row| &mut row.run);
        let Some(run) = found.filter(|run| run.state == QueueState::InDoubt) else { return false };
        self.audit.push(audit.clone());
        if decision == Decision::Fail {
            let record = run.failed(audit, now);
            self.end(id, record, now);
        } else {
            (run.state, run.ready_at, run.decision) = (QueueState::Queued, now, Some(decision));
        }
        true
    }
}

fn matches(query: &QueueQuery, run: &QueuedRun, now: Timestamp) -> bool {
    let has = |text: &str, needle: &str| text.to_lowercase().contains(&needle.to_lowercase());
    let overdue = |ms: u64| run.state == QueueState::Leased && after(run.ready_at, ms) <= now;
    query.flow.as_ref().is_none_or(|flow| *flow == run.flow)
        && query.state.is_none_or(|state| state == run.state)
        && query.tenant.as_ref().is_none_or(|tenant| *tenant == run.tenant)
        && query.from.is_none_or(|from| run.accepted_at >= from)
        && query.to.is_none_or(|to| run.accepted_at < to)
        && query.overdue_ms.is_none_or(overdue)
        && query
            .text
            .as_ref()
            .is_none_or(|text| has(&run.msg, text) || run.error.as_ref().is_some_and(|error| has(&error.message, text)))
}

#[async_trait]
impl Queue for MemoryStore {
    async fn accept_runs(&self, owner: &str, runs: &[NewRun]) -> Result<Vec<Accepted>, StoreError> {
        let (mut contents, now) = (self.contents(), self.clock.now());
        let accepted: Vec<Accepted> = runs.iter().map(|run| contents.accept(owner, run, now)).collect();
        if accepted.contains(&Accepted::Queued) {
            self.wake();
        }
        Ok(accepted)
    }

    async fn accept_tick(&self, claim: &ClaimKey, run: &NewRun) -> Result<Accepted, StoreError> {
        let (mut contents, now) = (self.contents(), self.clock.now());
        if let Some(done) = contents.claims.get(claim).and_then(|row| row.run) {
            return Ok(Accepted::Known(done));
        }
        let accepted = contents.accept("", &NewRun { lease_ms: None, dedup: None, ..run.clone() }, now);
        let by = if let Accepted::Known(id) | Accepted::Conflict(id) = accepted { id } else { run.id };
        contents.accepted(claim, by, now);
        self.wake();
        Ok(accepted)
    }

    async fn lease_runs(&self, owner: &str, wanted: &LeaseWanted) -> Result<Vec<QueuedRun>, StoreError> {
        let (mut contents, now) = (self.contents(), self.clock.now());
        let mut caps = CapsLeft::of(wanted);
        let mut all = Vec::new();
        for (_, _, id) in contents.queue.ready(wanted, now) {
            if all.len() >= wanted.max as usize {
                break;
            }
            let row = contents.queue.rows.get_mut(&id).expect("what is ready is there");
            if caps.take(&row.run.flow, &row.run.tenant) {
                all.push(leased(row, owner, wanted, now));
            }
        }
        Ok(all)
    }

    async fn lease_named(&self, owner: &str, named: &[Held], wanted: &LeaseWanted) -> Result<LeasedByName, StoreError> {
        let (mut contents, now) = (self.contents(), self.clock.now());
        let ready: Vec<RunId> = contents.queue.ready(wanted, now).into_iter().map(|(.., id)| id).collect();
        let mut caps = CapsLeft::of(wanted);
        let mut told = LeasedByName::default();
        for held in named {
            let Some(row) = contents.queue.rows.get_mut(&held.id) else { continue };
            let run = &row.run;
            if run.epoch != held.epoch || !matches!(run.state, QueueState::Queued | QueueState::Leased) {
                continue;
            }
            if ready.contains(&held.id) && caps.take(&run.flow, &run.tenant) {
                told.leased.push(leased(row, owner, wanted, now));
            } else {
                told.held_back.push(*held);
            }
        }
        Ok(told)
    }

    async fn ready_runs(&self, wanted: &ReadyWanted) -> Result<Vec<Ready>, StoreError> {
        let (contents, now) = (self.contents(), self.clock.now());
        let told = |run: &QueuedRun| run.epoch == 0 && run.ready_at == run.accepted_at;
        let mut left: BTreeMap<Priority, u32> = Priority::ALL.into_iter().map(|one| (one, wanted.max)).collect();
        let runs = contents.queue.ready(&LeaseWanted::default(), now);
        let mut found = Vec::new();
        for run in runs.iter().map(|(.., id)| &contents.queue.rows[id].run) {
            let left = left.get_mut(&run.priority).expect("of every priority");
            if *left > 0 && (!told(run) || after(run.ready_at, wanted.told_ms) <= now) {
                *left -= 1;
                found.push(Ready { id: run.id, epoch: run.epoch, priority: run.priority });
            }
        }
        Ok(found)
    }

    async fn extend_leases(&self, held: &[Held], lease_ms: u64) -> Result<Vec<Extended>, StoreError> {
        let (mut contents, now) = (self.contents(), self.clock.now());
        let extend = |held: &Held| {
            let Some(run) = contents.queue.held(*held) else { return Extended::Lost };
            run.ready_at = after(now, lease_ms);
            if run.cancel_wanted { Extended::CancelWanted } else { Extended::Kept }
        };
        Ok(held.iter().map(extend).collect())
    }

    async fn mark_points(&self, points: &[Point]) -> Result<Vec<bool>, StoreError> {
        let (mut contents, now) = (self.contents(), self.clock.now());
        let mark = |point: &Point| {
            let Some(run) = contents.queue.held(point.held) else { return false };
            run.decision = None;
            run.ready_at = run.ready_at.max(after(now, point.lease_ms));
            let row = contents.queue.rows.get_mut(&point.held.id).expect("it is held");
            if point.number < row.point_number {
                return true;
            }
            row.point_number = point.number;
            let run = &mut row.run;
            if point.snapshot.is_some() {
                run.point.clone_from(&point.snapshot);
            }
            if point.effects.is_some() {
                run.effects.clone_from(&point.effects);
            }
            true
        };
        Ok(points.iter().map(mark).collect())
    }

    async fn settle_runs(&self, settled: &[Settlement]) -> Result<Vec<bool>, StoreError> {
        let (mut contents, now) = (self.contents(), self.clock.now());
        let done = settled.iter().map(|settlement| contents.settle(settlement, now)).collect();
        if settled.iter().any(|settlement| matches!(settlement.outcome, Outcome::Released)) {
            self.wake();
        }
        Ok(done)
    }

    async fn commit_run(&self, held: Held, commit: &Commit, turn: Option<i64>) -> Result<CommittedRun, StoreError> {
        let (mut contents, now) = (self.contents(), self.clock.now());
        if contents.queue.held(held).is_none() {
            return Ok(CommittedRun::Lost);
        }
        let stored = contents.turns.get(&commit.run.subject).copied().unwrap_or_default();
        if turn.is_some_and(|turn| turn != stored) {
            return Ok(CommittedRun::OtherTurn);
        }
        contents.refuse_late(commit)?;
        contents.queue.remove(held.id, now);
        Ok(CommittedRun::Done(contents.commit(commit, self.deliver.as_deref(), &self.notify)))
    }

    async fn cancel_run(&self, id: RunId, audit: &AuditEntry) -> Result<Cancelled, StoreError> {
        let (mut contents, now) = (self.contents(), self.clock.now());
        Ok(contents.cancel(id, audit, now))
    }

    async fn decide_run(&self, id: RunId, decision: Decision, audit: &AuditEntry) -> Result<bool, StoreError> {
        let (mut contents, now) = (self.contents(), self.clock.now());
        let decided = contents.decide(id, decision, audit, now);
        self.wake();
        Ok(decided)
    }

    async fn replay_run(&self, id: RunId, resume: Resume, audit: &AuditEntry) -> Result<bool, StoreError> {
        let (mut contents, now) = (self.contents(), self.clock.now());
        let found = contents.queue.rows.get_mut(&id).map(|row| &mut row.run);
        let Some(run) = found.filter(|run| run.state == QueueState::Dead) else { return Ok(false) };
        (run.state, run.ready_at, run.attempt) = (QueueState::Queued, now, 0);
        if resume == Resume::Start {
            (run.point, run.effects, run.decision) = (None, None, None);
        }
        contents.audit.push(audit.clone());
        self.wake();
        Ok(true)
    }

    async fn pause_flow(&self, flow: &str, audit: &AuditEntry) -> Result<bool, StoreError> {
        let (mut contents, now) = (self.contents(), self.clock.now());
        if contents.queue.paused.contains_key(flow) {
            return Ok(false);
        }
        let paused = PausedFlow { flow: flow.to_owned(), by: audit.actor.clone(), since: now };
        contents.queue.paused.insert(flow.to_owned(), paused);
        contents.audit.push(audit.clone());
        Ok(true)
    }

    async fn resume_flow(&self, flow: &str, audit: &AuditEntry) -> Result<bool, StoreError> {
        let mut contents = self.contents();
        let was = contents.queue.paused.remove(flow).is_some();
        if was {
            contents.audit.push(audit.clone());
            self.wake();
        }
        Ok(was)
    }

    async fn paused_flows(&self) -> Result<Vec<PausedFlow>, StoreError> {
        Ok(self.contents().queue.paused.values().cloned().collect())
    }

    async fn queued_run(&self, id: RunId) -> Result<Option<QueuedRun>, StoreError> {
        Ok(self.contents().queue.rows.get(&id).map(|row| row.run.clone()))
    }

    async fn queued_runs(&self, query: &QueueQuery, request: &PageRequest) -> Result<Page<QueuedRun>, StoreError> {
        let after = request.position::<RunPosition>()?;
        let (contents, now) = (self.contents(), self.clock.now());
        let rows = contents.queue.rows.values().rev().map(|row| &row.run);
        let found = rows
            .filter(|run| after.is_none_or(|after| run.id.0 < after.0) && matches(query, run, now))
            .take(request.rows_max() + 1)
            .map(|run| {
                let bare = QueuedRun { msg: String::new(), point: None, effects: None, ..run.clone() };
                (RunPosition(run.id.0), bare)
            })
            .collect();
        Ok(cursor::page(found, request))
    }

    async fn queue_depth(&self, flow: Option<&str>) -> Result<QueueDepth, StoreError> {
        let (contents, now) = (self.contents(), self.clock.now());
        let mut depth = QueueDepth::default();
        let of_flow = |run: &&QueuedRun| flow.is_none_or(|flow| flow == run.flow);
        for run in contents.queue.rows.values().map(|row| &row.run).filter(of_flow) {
            match run.state {
                QueueState::Queued if run.ready_at <= now => {
                    depth.ready += 1;
                    let waits = u64::try_from(now.duration_since(run.ready_at).as_millis()).unwrap_or_default();
                    depth.oldest_ms = depth.oldest_ms.max(Some(waits));
                }
                QueueState::Queued => depth.delayed += 1,
                QueueState::Leased => {
                    depth.leased += 1;
                    depth.overdue += u64::from(run.ready_at <= now);
                }
                QueueState::InDoubt => depth.in_doubt += 1,
                QueueState::Dead => depth.dead += 1,
            }
        }
        Ok(depth)
    }

    fn wakes(&self) -> watch::Receiver<u64> {
        self.wakes.subscribe()
    }

    async fn horizon(&self) -> Result<Option<Horizon>, StoreError> {
        Ok(None)
    }
}
