//! The store in memory: simple enough to be seen to be right, for tests and for trying things out.
//!
//! It compares states themselves, not their hashes, and so checks the databases in the conformance suite.

mod claims;
mod contexts;
mod flow_revisions;
mod notifications;
mod queue;

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard};

use async_trait::async_trait;
use jiff::Timestamp;
use tokio::sync::watch;
use uuid::Uuid;

use super::batch::comes_late;
use super::cursor::{self, AuditPosition, CorrectionPosition, RunPosition, StatePosition};
use super::notification::Written;
use super::{
    AuditEntry, ClaimKey, Commit, Committed, Delivery, DocumentKind, Expired, GoodDocument, NewFlowRevision,
    NotificationRule, Page, PageRequest, PutDocument, Retention, RunQuery, SchemaDistance, Settled, StateQuery, Store,
    StoreError, StoreOptions, StoredDocument, delivery, fingerprint, retention, session::Session,
};
use crate::clock::Clock;
use crate::model::RunId;
use crate::model::run::RunRecord;
use crate::model::state::{Correction, Scope, State, StateKind, StoredState};
use crate::model::waiver::Waiver;

#[derive(Debug)]
pub(super) struct MemoryStore {
    contents: Mutex<Contents>,
    deliver: Option<Vec<String>>,
    /// What time it is for durable runs.
    clock: Clock,
    wakes: watch::Sender<u64>,
    notify: Vec<NotificationRule>,
}

/// States to deliver, and who has them until when.
#[derive(Debug)]
struct Waiting {
    delivery: Delivery,
    done: bool,
    leased_until: Option<Timestamp>,
}

#[derive(Debug, Default)]
struct Contents {
    /// Revisions, oldest first; never empty.
    states: BTreeMap<Identity, Vec<StoredState>>,
    runs: BTreeMap<RunId, RunRecord>,
    audit: Vec<AuditEntry>,
    claims: BTreeMap<ClaimKey, claims::ClaimRow>,
    duties: BTreeMap<String, claims::Lease>,
    /// By number.
    flow_revisions: BTreeMap<i64, NewFlowRevision>,
    /// By agreement and id.
    waivers: BTreeMap<(String, String), Waiver>,
    documents: BTreeMap<(DocumentKind, String), StoredDocument>,
    documents_revision: i64,
    /// By the token's hash.
    sessions: BTreeMap<String, Session>,
    user_settings: BTreeMap<String, serde_json::Value>,
    turns: BTreeMap<String, i64>,
    /// By agreement, oldest answer first.
    aside: BTreeMap<String, Vec<StoredState>>,
    good: BTreeMap<String, Vec<GoodDocument>>,
    deliveries: Vec<Waiting>,
    deliveries_made: i64,
    queue: queue::Runs,
    notifications: notifications::Waiting,
    contexts: contexts::Kept,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Identity {
    agreement: String,
    kind: StateKind,
    of: String,
    scope: Scope,
    from: Timestamp,
    to: Timestamp,
}

impl Identity {
    fn of(state: &State) -> Identity {
        Identity {
            agreement: state.agreement.clone(),
            kind: state.kind,
            of: state.of.clone(),
            scope: state.scope.clone(),
            from: state.window.from,
            to: state.window.to,
        }
    }
}

/// The state without what a re-evaluation changes by itself.
fn content(state: &State) -> State {
    let mut content = state.clone();
    content.run = RunId(Uuid::nil());
    content.provenance = Default::default();
    content.inputs = None;
    content.evidence.iter_mut().for_each(|piece| piece.collected_at = Timestamp::UNIX_EPOCH);
    content
}

impl Contents {
    fn put(&mut self, state: &State, recorded_at: Timestamp) -> Committed {
        let mut state = state.clone();
        state.value = state.value.filter(|value| !value.is_nan());
        let revisions = self.states.entry(Identity::of(&state)).or_default();
        let committed = match revisions.last() {
            None => Committed { inserted: 1, ..Committed::default() },
            Some(last) if content(&last.state) == content(&state) || comes_late(&state, last.state.provisional) => {
                return Committed { unchanged: 1, ..Committed::default() };
            }
            Some(_) => Committed { revised: 1, ..Committed::default() },
        };
        let revision = u32::try_from(revisions.len()).unwrap_or(u32::MAX).saturating_add(1);
        revisions.push(StoredState { state, revision, recorded_at });
        committed
    }

    /// Refuses the commit of a claim whose lease was lost.
    fn refuse_late(&mut self, commit: &Commit) -> Result<(), StoreError> {
        match &commit.claim {
            Some(claim) if !self.may_complete(claim, commit.run.id) => Err(StoreError::late(claim)),
            _ => Ok(()),
        }
    }

    fn commit(&mut self, commit: &Commit, deliver: Option<&[String]>, notify: &[NotificationRule]) -> Committed {
        *self.turns.entry(commit.run.subject.clone()).or_default() += 1;
        // Of several states with one identity the last counts.
        let last: BTreeMap<Identity, &State> = commit.states.iter().map(|state| (Identity::of(state), state)).collect();
        let mut committed = Committed::default();
        let mut written = Vec::new();
        for (identity, state) in last {
            let known = self.states.get(&identity).and_then(|revisions| revisions.last());
            let before = known.filter(|known| !known.state.provisional).and_then(|known| known.state.verdict);
            let one = self.put(state, commit.recorded_at);
            if one.unchanged == 0 {
                written.push(Written { state, before });
            }
            committed.inserted += one.inserted;
            committed.revised += one.revised;
            committed.unchanged += one.unchanged;
        }
        let states = written.iter().map(|written| written.state);
        self.keep_for_delivery(commit.run.id.0, &delivery::told(states, deliver));
        self.notifications.keep(commit.run.id, &written, notify, commit.recorded_at);
        self.runs.insert(commit.run.id, commit.run.clone());
        self.audit.push(commit.audit.clone());
        if let Some(claim) = &commit.claim {
            self.complete(claim, commit.run.id, commit.recorded_at);
        }
        committed
    }
}

impl Contents {
    fn keep_for_delivery(&mut self, group: Uuid, states: &[&State]) {
        let chunks = delivery::together(states);
        let count = chunks.len();
        for (number, states) in chunks.into_iter().enumerate() {
            self.deliveries_made += 1;
            let delivery = Delivery {
                id: self.deliveries_made,
                group,
                states,
                last: number + 1 == count,
                sent: 0,
                in_doubt: false,
            };
            self.deliveries.push(Waiting { delivery, done: false, leased_until: None });
        }
    }

    fn expire_states(&mut self, before: Timestamp) -> Expired {
        let mut expired = Expired::default();
        self.states.retain(|identity, revisions| {
            let kept = identity.to >= before;
            if !kept {
                expired.states += 1;
                expired.revisions += revisions.len().saturating_sub(1) as u64;
            }
            kept
        });
        expired
    }

    fn expire_runs(&mut self, first: Uuid, before: Timestamp) -> Expired {
        let runs = self.runs.len();
        self.runs.retain(|id, _| id.0 >= first);
        let claims = self.claims.len();
        let newest: BTreeMap<String, Timestamp> =
            self.claims.keys().map(|claim| (claim.schedule.clone(), claim.due_at)).collect();
        self.claims.retain(|claim, row| {
            row.run.is_none() || claim.due_at >= before || newest.get(&claim.schedule) == Some(&claim.due_at)
        });
        Expired {
            runs: (runs - self.runs.len()) as u64,
            claims: (claims - self.claims.len()) as u64,
            ..Expired::default()
        }
    }
}

impl MemoryStore {
    pub(super) fn new(options: &StoreOptions, clock: Clock) -> MemoryStore {
        let wakes = watch::channel(0).0;
        let (deliver, notify) = (options.deliver.clone(), options.notify.clone());
        MemoryStore { contents: Mutex::default(), deliver, notify, clock, wakes }
    }

    /// Something can be leased.
    fn wake(&self) {
        self.wakes.send_modify(|count| *count = count.wrapping_add(1));
    }

    fn contents(&self) -> MutexGuard<'_, Contents> {
        self.contents.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}

fn known_by(query: &StateQuery, stored: &StoredState) -> bool {
    query.as_of.is_none_or(|as_of| stored.recorded_at <= as_of)
}

fn matches(query: &StateQuery, state: &State) -> bool {
    query.agreement.as_ref().is_none_or(|agreement| *agreement == state.agreement)
        && query.kind.is_none_or(|kind| kind == state.kind)
        && query.of.as_ref().is_none_or(|of| *of == state.of)
        && query.scope.as_ref().is_none_or(|scope| *scope == state.scope)
        && query.verdict.is_none_or(|verdict| Some(verdict) == state.verdict)
        && query.from.is_none_or(|from| state.window.to > from)
        && query.to.is_none_or(|to| state.window.from < to)
        && query.provisional.is_none_or(|provisional| provisional == state.provisional)
}

#[async_trait]
impl Store for MemoryStore {
    fn describe(&self) -> String {
        "memory".into()
    }

    async fn migrate(&self) -> Result<(), StoreError> {
        Ok(())
    }

    async fn schema_distance(&self) -> Result<SchemaDistance, StoreError> {
        Ok(SchemaDistance::default())
    }

    async fn ping(&self) -> Result<(), StoreError> {
        Ok(())
    }

    async fn turn(&self, agreement: &str) -> Result<i64, StoreError> {
        Ok(self.contents().turns.get(agreement).copied().unwrap_or_default())
    }

    async fn put_aside(&self, agreement: &str, states: &[State], at: Timestamp) -> Result<(), StoreError> {
        let mut contents = self.contents();
        let kept = contents.aside.entry(agreement.to_owned()).or_default();
        for state in states {
            let same = kept.iter().position(|old| Identity::of(&old.state) == Identity::of(state));
            let revision = same.map_or(1, |place| kept.remove(place).revision + 1);
            kept.push(StoredState { state: state.clone(), revision, recorded_at: at });
        }
        let over = kept.len().saturating_sub(super::ASIDE_MAX as usize);
        kept.drain(..over);
        Ok(())
    }

    async fn aside(&self, agreement: &str) -> Result<Vec<StoredState>, StoreError> {
        let mut kept = self.contents().aside.get(agreement).cloned().unwrap_or_default();
        kept.sort_by_key(|stored| std::cmp::Reverse(stored.state.window.to));
        Ok(kept)
    }

    async fn keep_good(&self, source: &str, documents: &[GoodDocument]) -> Result<(), StoreError> {
        let mut documents = documents.to_vec();
        documents.sort_by(|a, b| a.key.cmp(&b.key));
        self.contents().good.insert(source.to_owned(), documents);
        Ok(())
    }

    async fn good(&self, source: &str) -> Result<Vec<GoodDocument>, StoreError> {
        Ok(self.contents().good.get(source).cloned().unwrap_or_default())
    }

    async fn commit(&self, commit: &Commit) -> Result<Committed, StoreError> {
        let mut contents = self.contents();
        contents.refuse_late(commit)?;
        Ok(contents.commit(commit, self.deliver.as_deref(), &self.notify))
    }

    async fn commit_at(&self, commit: &Commit, turn: i64) -> Result<Option<Committed>, StoreError> {
        let mut contents = self.contents();
        let now = contents.turns.get(&commit.run.subject).copied().unwrap_or_default();
        if now != turn {
            return Ok(None);
        }
        contents.refuse_late(commit)?;
        Ok(Some(contents.commit(commit, self.deliver.as_deref(), &self.notify)))
    }

    async fn upkeep(&self, now: Timestamp, keep: &Retention) -> Result<Expired, StoreError> {
        let mut contents = self.contents();
        let (mut expired, cutoffs) = (Expired::default(), keep.cutoffs(now));
        if let Some(day) = cutoffs.states {
            expired += contents.expire_states(retention::start(day));
        }
        if let Some(day) = cutoffs.runs {
            expired += contents.expire_runs(retention::first_run(day), retention::start(day));
        }
        contents.queue.forget_keys(self.clock.now());
        if !expired.is_empty() {
            contents.audit.push(retention::audit(now, "all that has expired".into(), &expired));
        }
        Ok(expired)
    }

    async fn next_delivery(&self, now: Timestamp, until: Timestamp) -> Result<Option<Delivery>, StoreError> {
        let mut contents = self.contents();
        let first = contents.deliveries.iter_mut().find(|waiting| !waiting.done);
        let Some(first) = first.filter(|waiting| waiting.leased_until.is_none_or(|until| until <= now)) else {
            return Ok(None);
        };
        let in_doubt = first.leased_until.replace(until).is_some();
        Ok(Some(Delivery { in_doubt, ..first.delivery.clone() }))
    }

    async fn settle_delivery(&self, delivery: &Delivery, settled: &Settled) -> Result<(), StoreError> {
        let mut contents = self.contents();
        let of_group = |waiting: &Waiting| waiting.delivery.group == delivery.group;
        match settled {
            Settled::Done if delivery.last => contents.deliveries.retain(|waiting| !of_group(waiting)),
            Settled::Refused(audit) => {
                contents.deliveries.retain(|waiting| !of_group(waiting));
                contents.audit.push(audit.clone());
            }
            Settled::Again { group } => {
                for waiting in contents.deliveries.iter_mut().filter(|waiting| of_group(waiting)) {
                    (waiting.done, waiting.leased_until) = (false, None);
                    (waiting.delivery.group, waiting.delivery.sent) = (*group, 0);
                }
            }
            Settled::Sent { .. } | Settled::InDoubt | Settled::Released | Settled::Done => {
                for waiting in contents.deliveries.iter_mut().filter(|waiting| waiting.delivery.id == delivery.id) {
                    match settled {
                        Settled::Sent { states, until } => {
                            (waiting.delivery.sent, waiting.leased_until) = (*states, Some(*until));
                        }
                        Settled::InDoubt => waiting.leased_until = Some(Timestamp::MIN),
                        Settled::Released => waiting.leased_until = None,
                        _ => waiting.done = true,
                    }
                }
            }
        }
        Ok(())
    }

    async fn deliveries_waiting(&self) -> Result<u64, StoreError> {
        let contents = self.contents();
        let open = contents.deliveries.iter().filter(|waiting| !waiting.done);
        Ok(open.map(|waiting| (waiting.delivery.states.len() - waiting.delivery.sent) as u64).sum())
    }

    async fn record_runs(&self, runs: &[RunRecord]) -> Result<(), StoreError> {
        self.contents().runs.extend(runs.iter().map(|run| (run.id, run.clone())));
        Ok(())
    }

    async fn run(&self, id: RunId) -> Result<Option<RunRecord>, StoreError> {
        Ok(self.contents().runs.get(&id).cloned())
    }

    async fn runs(&self, query: &RunQuery, request: &PageRequest) -> Result<Page<RunRecord>, StoreError> {
        let after = request.position::<RunPosition>()?;
        let contents = self.contents();
        let found = contents
            .runs
            .values()
            .rev()
            .filter(|run| after.is_none_or(|after| run.id.0 < after.0))
            .filter(|run| query.fits(run))
            .take(request.rows_max() + 1)
            .map(|run| (RunPosition(run.id.0), RunRecord { trace: Vec::new(), ..run.clone() }))
            .collect();
        Ok(cursor::page(found, request))
    }

    async fn states(&self, query: &StateQuery, request: &PageRequest) -> Result<Page<StoredState>, StoreError> {
        let after = request.position::<StatePosition>()?;
        let contents = self.contents();
        let mut found: Vec<(StatePosition, &StoredState)> = contents
            .states
            .values()
            .filter_map(|revisions| revisions.iter().rfind(|stored| known_by(query, stored)))
            .filter(|stored| matches(query, &stored.state))
            .map(|stored| {
                let key = fingerprint::identity_of(&stored.state);
                (StatePosition { to: stored.state.window.to, key }, stored)
            })
            .filter(|(position, _)| after.is_none_or(|after| *position < after))
            .collect();
        found.sort_unstable_by(|(left, _), (right, _)| right.cmp(left));
        found.truncate(request.rows_max() + 1);
        let found = found.into_iter().map(|(position, stored)| (position, stored.clone())).collect();
        Ok(cursor::page(found, request))
    }

    async fn revisions(
        &self,
        agreement: &str,
        kind: StateKind,
        of: &str,
        scope: &Scope,
        from: Timestamp,
        to: Timestamp,
    ) -> Result<Vec<StoredState>, StoreError> {
        let identity =
            Identity { agreement: agreement.to_owned(), kind, of: of.to_owned(), scope: scope.clone(), from, to };
        Ok(self.contents().states.get(&identity).cloned().unwrap_or_default())
    }

    async fn corrections(&self, query: &StateQuery, request: &PageRequest) -> Result<Page<Correction>, StoreError> {
        let after = request.position::<CorrectionPosition>()?;
        let contents = self.contents();
        let pairs = contents.states.values().flat_map(|revisions| revisions.windows(2));
        let mut found: Vec<(CorrectionPosition, Correction)> = pairs
            .filter(|pair| matches(query, &pair[1].state) && known_by(query, &pair[1]))
            .filter_map(|pair| {
                let (at, key) = (pair[1].recorded_at, fingerprint::identity_of(&pair[1].state));
                let position = CorrectionPosition { at, key, revision: pair[1].revision };
                Some((position, Correction::of(pair[0].clone(), pair[1].clone())?))
            })
            .filter(|(position, _)| after.is_none_or(|after| *position < after))
            .collect();
        found.sort_unstable_by(|(left, _), (right, _)| right.cmp(left));
        found.truncate(request.rows_max() + 1);
        Ok(cursor::page(found, request))
    }

    async fn add_waiver(&self, waiver: &Waiver, audit: &AuditEntry) -> Result<bool, StoreError> {
        let mut contents = self.contents();
        let key = (waiver.agreement.clone(), waiver.id.clone());
        if contents.waivers.contains_key(&key) {
            return Ok(false);
        }
        contents.waivers.insert(key, waiver.clone());
        *contents.turns.entry(waiver.agreement.clone()).or_default() += 1;
        contents.audit.push(audit.clone());
        Ok(true)
    }

    async fn end_waiver(
        &self,
        agreement: &str,
        id: &str,
        at: Timestamp,
        audit: &AuditEntry,
    ) -> Result<bool, StoreError> {
        let mut contents = self.contents();
        let found = contents.waivers.get_mut(&(agreement.to_owned(), id.to_owned()));
        let Some(waiver) = found.filter(|waiver| at < waiver.ends()) else { return Ok(false) };
        waiver.ended_at = Some(at);
        *contents.turns.entry(agreement.to_owned()).or_default() += 1;
        contents.audit.push(audit.clone());
        Ok(true)
    }

    async fn waivers(&self, agreement: Option<&str>) -> Result<Vec<Waiver>, StoreError> {
        let contents = self.contents();
        let of =
            contents.waivers.values().filter(|waiver| agreement.is_none_or(|agreement| agreement == waiver.agreement));
        Ok(of.cloned().collect())
    }

    async fn documents(&self, kind: DocumentKind) -> Result<Vec<StoredDocument>, StoreError> {
        let contents = self.contents();
        Ok(contents.documents.iter().filter(|((of, _), _)| *of == kind).map(|(_, document)| document.clone()).collect())
    }

    async fn documents_revision(&self) -> Result<i64, StoreError> {
        Ok(self.contents().documents_revision)
    }

    async fn put_document(
        &self,
        kind: DocumentKind,
        document: &StoredDocument,
        only_new: bool,
        audit: &AuditEntry,
    ) -> Result<PutDocument, StoreError> {
        let mut contents = self.contents();
        let key = (kind, document.id.clone());
        let replaces = contents.documents.contains_key(&key);
        if replaces && only_new {
            return Ok(PutDocument::Exists);
        }
        contents.documents.insert(key, document.clone());
        contents.documents_revision += 1;
        contents.audit.push(AuditEntry { at: document.put_at, actor: document.put_by.clone(), ..audit.clone() });
        Ok(if replaces { PutDocument::Replaced } else { PutDocument::Added })
    }

    async fn remove_document(&self, kind: DocumentKind, id: &str, audit: &AuditEntry) -> Result<bool, StoreError> {
        let mut contents = self.contents();
        if contents.documents.remove(&(kind, id.to_owned())).is_none() {
            return Ok(false);
        }
        contents.documents_revision += 1;
        contents.audit.push(audit.clone());
        Ok(true)
    }

    async fn add_session(&self, session: &Session, now: Timestamp) -> Result<(), StoreError> {
        let sessions = &mut self.contents().sessions;
        sessions.retain(|_, session| session.expires_at > now);
        sessions.insert(session.token_hash.clone(), session.clone());
        Ok(())
    }

    async fn session(&self, token_hash: &str) -> Result<Option<Session>, StoreError> {
        Ok(self.contents().sessions.get(token_hash).cloned())
    }

    async fn end_session(&self, token_hash: &str) -> Result<bool, StoreError> {
        Ok(self.contents().sessions.remove(token_hash).is_some())
    }

    async fn user_settings(&self, user: &str) -> Result<Option<serde_json::Value>, StoreError> {
        Ok(self.contents().user_settings.get(user).cloned())
    }

    async fn put_user_settings(&self, user: &str, settings: &serde_json::Value) -> Result<(), StoreError> {
        self.contents().user_settings.insert(user.to_owned(), settings.clone());
        Ok(())
    }

    async fn audit(&self, entry: &AuditEntry) -> Result<(), StoreError> {
        self.contents().audit.push(entry.clone());
        Ok(())
    }

    async fn audit_entries(&self, request: &PageRequest) -> Result<Page<AuditEntry>, StoreError> {
        let after = request.position::<AuditPosition>()?;
        let contents = self.contents();
        let mut found: Vec<(AuditPosition, AuditEntry)> = (1_i64..)
            .zip(&contents.audit)
            .filter(|(id, _)| after.is_none_or(|after| *id < after.0))
            .map(|(id, entry)| (AuditPosition(id), entry.clone()))
            .collect();
        found.reverse();
        Ok(cursor::page(found, request))
    }
}
