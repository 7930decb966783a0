//! A store that answers nothing: each route says so, and nothing of it leaks.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use async_trait::async_trait;
use jiff::Timestamp;
use probity::api::openapi::document;
use probity::model::RunId;
use probity::model::run::RunRecord;
use probity::model::state::{Correction, Scope, State, StateKind, StoredState};
use probity::model::waiver::Waiver;
use probity::store::contexts::{ChangeValue, ContextChanged, RateLimit, RatePlace};
use probity::store::{
    AuditEntry, Claim, ClaimKey, Claimed, Claims, Commit, Committed, ContextScope, Contexts, DocumentKind, Due,
    FlowHead, FlowRevision, FlowRevisionAbout, FlowRevisions, GoodDocument, Holder, NewFlowRevision, Notification,
    Notifications, Page, PageRequest, PutDocument, RunQuery, SchemaDistance, Session, StateQuery, Store, StoreError,
    StoredDocument, Tick, Told, queue,
};
use serde_json::{Value, json};
use uuid::Uuid;

use super::contract::assert_fits;
use crate::harness::server::{Server, Setup};
use crate::orders;

/// A store that has broken down, with an address nobody should see.
struct Broken;

fn broken<T>() -> Result<T, StoreError> {
    let url = "postgres://user:pa55word@db/probity".to_string();
    Err(StoreError::Unusable { url, problem: "it is on fire".into(), hint: "put it out".into() })
}

#[async_trait]
impl Notifications for Broken {
    async fn next_notifications(&self, _: Timestamp, _: Timestamp) -> Result<Vec<Notification>, StoreError> {
        broken()
    }
    async fn settle_notification(&self, _: Uuid, _: &Told) -> Result<(), StoreError> {
        broken()
    }
    async fn notifications_waiting(&self) -> Result<BTreeMap<String, u64>, StoreError> {
        broken()
    }
}

#[async_trait]
impl queue::Queue for Broken {
    async fn accept_runs(&self, _: &str, _: &[queue::NewRun]) -> Result<Vec<queue::Accepted>, StoreError> {
        broken()
    }
    async fn accept_tick(&self, _: &ClaimKey, _: &queue::NewRun) -> Result<queue::Accepted, StoreError> {
        broken()
    }
    async fn lease_runs(&self, _: &str, _: &queue::LeaseWanted) -> Result<Vec<queue::QueuedRun>, StoreError> {
        broken()
    }
    async fn lease_named(
        &self,
        _: &str,
        _: &[queue::Held],
        _: &queue::LeaseWanted,
    ) -> Result<queue::LeasedByName, StoreError> {
        broken()
    }
    async fn ready_runs(&self, _: &queue::ReadyWanted) -> Result<Vec<queue::Ready>, StoreError> {
        broken()
    }
    async fn extend_leases(&self, _: &[queue::Held], _: u64) -> Result<Vec<queue::Extended>, StoreError> {
        broken()
    }
    async fn mark_points(&self, _: &[queue::Point]) -> Result<Vec<bool>, StoreError> {
        broken()
    }
    async fn settle_runs(&self, _: &[queue::Settlement]) -> Result<Vec<bool>, StoreError> {
        broken()
    }
    async fn commit_run(&self, _: queue::Held, _: &Commit, _: Option<i64>) -> Result<queue::CommittedRun, StoreError> {
        broken()
    }
    async fn cancel_run(&self, _: RunId, _: &AuditEntry) -> Result<queue::Cancelled, StoreError> {
        broken()
    }
    async fn decide_run(&self, _: RunId, _: queue::Decision, _: &AuditEntry) -> Result<bool, StoreError> {
        broken()
    }
    async fn replay_run(&self, _: RunId, _: queue::Resume, _: &AuditEntry) -> Result<bool, StoreError> {
        broken()
    }
    async fn pause_flow(&self, _: &str, _: &AuditEntry) -> Result<bool, StoreError> {
        broken()
    }
    async fn resume_flow(&self, _: &str, _: &AuditEntry) -> Result<bool, StoreError> {
        broken()
    }
    async fn paused_flows(&self) -> Result<Vec<queue::PausedFlow>, StoreError> {
        broken()
    }
    async fn queued_run(&self, _: RunId) -> Result<Option<queue::QueuedRun>, StoreError> {
        broken()
    }
    async fn queued_runs(&self, _: &queue::QueueQuery, _: &PageRequest) -> Result<Page<queue::QueuedRun>, StoreError> {
        broken()
    }
    async fn queue_depth(&self, _: Option<&str>) -> Result<queue::QueueDepth, StoreError> {
        broken()
    }
    fn wakes(&self) -> tokio::sync::watch::Receiver<u64> {
        tokio::sync::watch::channel(0).1
    }
    async fn horizon(&self) -> Result<Option<queue::Horizon>, StoreError> {
        broken()
    }
}

#[async_trait]
impl Claims for Broken {
    async fn materialise(&self, _: &[Due]) -> Result<u64, StoreError> {
        broken()
    }
    async fn claim(&self, _: &Due, _: Holder<'_>) -> Result<Option<Claimed>, StoreError> {
        broken()
    }
    async fn extend_claims(&self, _: &[Claim], _: u64) -> Result<Vec<bool>, StoreError> {
        broken()
    }
    async fn release_claim(&self, _: &Claim) -> Result<(), StoreError> {
        broken()
    }
    async fn complete_claim(&self, _: &Claim, _: RunId, _: Timestamp) -> Result<bool, StoreError> {
        broken()
    }
    async fn open_claims(&self) -> Result<Vec<ClaimKey>, StoreError> {
        broken()
    }
    async fn leasable_claims(&self, _: &[&str], _: u32) -> Result<Vec<ClaimKey>, StoreError> {
        broken()
    }
    async fn last_claim_until(&self, _: &str, _: Timestamp) -> Result<Option<Timestamp>, StoreError> {
        broken()
    }
    async fn ticks(&self, _: &str, _: &PageRequest) -> Result<Page<Tick>, StoreError> {
        broken()
    }
    async fn take_duty(&self, _: &str, _: Holder<'_>) -> Result<bool, StoreError> {
        broken()
    }
    async fn leave_duty(&self, _: &str, _: &str) -> Result<(), StoreError> {
        broken()
    }
}

#[async_trait]
impl FlowRevisions for Broken {
    async fn flow_head(&self) -> Result<Option<FlowHead>, StoreError> {
        broken()
    }
    async fn put_flow_revision(&self, _: i64, _: &NewFlowRevision, _: u32) -> Result<Option<i64>, StoreError> {
        broken()
    }
    async fn flow_revision(&self, _: i64) -> Result<Option<FlowRevision>, StoreError> {
        broken()
    }
    async fn flow_revision_of(&self, _: &str) -> Result<Option<i64>, StoreError> {
        broken()
    }
    async fn flow_revisions(&self, _: &PageRequest) -> Result<Page<FlowRevisionAbout>, StoreError> {
        broken()
    }
}

#[async_trait]
impl Contexts for Broken {
    async fn context_value(&self, _: &ContextScope, _: &str) -> Result<Option<String>, StoreError> {
        broken()
    }
    async fn context_values(&self, _: &ContextScope) -> Result<Vec<(String, String)>, StoreError> {
        broken()
    }
    async fn context_keys(&self, _: &ContextScope) -> Result<Vec<String>, StoreError> {
        broken()
    }
    async fn change_context(
        &self,
        _: &ContextScope,
        _: &str,
        _: u64,
        _: &mut ChangeValue<'_>,
    ) -> Result<ContextChanged, StoreError> {
        broken()
    }
    async fn context_scopes(&self) -> Result<BTreeSet<ContextScope>, StoreError> {
        broken()
    }
    async fn forget_contexts(&self, _: &[ContextScope], _: i64) -> Result<bool, StoreError> {
        broken()
    }
    async fn take_rate_place(&self, _: &RateLimit) -> Result<RatePlace, StoreError> {
        broken()
    }
    async fn free_rate_places(&self, _: &str) -> Result<(), StoreError> {
        broken()
    }
}

#[async_trait]
impl Store for Broken {
    fn describe(&self) -> String {
        "postgres db/probity".into()
    }
    async fn migrate(&self) -> Result<(), StoreError> {
        broken()
    }
    async fn schema_distance(&self) -> Result<SchemaDistance, StoreError> {
        broken()
    }
    async fn add_session(&self, _: &Session, _: Timestamp) -> Result<(), StoreError> {
        broken()
    }
    async fn session(&self, _: &str) -> Result<Option<Session>, StoreError> {
        broken()
    }
    async fn end_session(&self, _: &str) -> Result<bool, StoreError> {
        broken()
    }
    async fn user_settings(&self, _: &str) -> Result<Option<Value>, StoreError> {
        broken()
    }
    async fn put_user_settings(&self, _: &str, _: &Value) -> Result<(), StoreError> {
        broken()
    }
    async fn ping(&self) -> Result<(), StoreError> {
        broken()
    }
    async fn commit(&self, _: &Commit) -> Result<Committed, StoreError> {
        broken()
    }
    async fn put_aside(&self, _: &str, _: &[State], _: Timestamp) -> Result<(), StoreError> {
        broken()
    }
    async fn aside(&self, _: &str) -> Result<Vec<StoredState>, StoreError> {
        broken()
    }
    async fn keep_good(&self, _: &str, _: &[GoodDocument]) -> Result<(), StoreError> {
        broken()
    }
    async fn good(&self, _: &str) -> Result<Vec<GoodDocument>, StoreError> {
        broken()
    }
    async fn turn(&self, _: &str) -> Result<i64, StoreError> {
        broken()
    }
    async fn commit_at(&self, _: &Commit, _: i64) -> Result<Option<Committed>, StoreError> {
        broken()
    }
    async fn upkeep(&self, _: Timestamp, _: &probity::store::Retention) -> Result<probity::store::Expired, StoreError> {
        broken()
    }
    async fn next_delivery(&self, _: Timestamp, _: Timestamp) -> Result<Option<probity::store::Delivery>, StoreError> {
        broken()
    }
    async fn settle_delivery(
        &self,
        _: &probity::store::Delivery,
        _: &probity::store::Settled,
    ) -> Result<(), StoreError> {
        broken()
    }
    async fn deliveries_waiting(&self) -> Result<u64, StoreError> {
        broken()
    }
    async fn record_runs(&self, _: &[RunRecord]) -> Result<(), StoreError> {
        broken()
    }
    async fn run(&self, _: RunId) -> Result<Option<RunRecord>, StoreError> {
        broken()
    }
    async fn runs(&self, _: &RunQuery, _: &PageRequest) -> Result<Page<RunRecord>, StoreError> {
        broken()
    }
    async fn states(&self, _: &StateQuery, _: &PageRequest) -> Result<Page<StoredState>, StoreError> {
        broken()
    }
    async fn revisions(
        &self,
        _: &str,
        _: StateKind,
        _: &str,
        _: &Scope,
        _: Timestamp,
        _: Timestamp,
    ) -> Result<Vec<StoredState>, StoreError> {
        broken()
    }
    async fn corrections(&self, _: &StateQuery, _: &PageRequest) -> Result<Page<Correction>, StoreError> {
        broken()
    }
    async fn add_waiver(&self, _: &Waiver, _: &AuditEntry) -> Result<bool, StoreError> {
        broken()
    }
    async fn end_waiver(&self, _: &str, _: &str, _: Timestamp, _: &AuditEntry) -> Result<bool, StoreError> {
        broken()
    }
    async fn waivers(&self, _: Option<&str>) -> Result<Vec<Waiver>, StoreError> {
        broken()
    }
    async fn documents(&self, _: DocumentKind) -> Result<Vec<StoredDocument>, StoreError> {
        broken()
    }
    async fn documents_revision(&self) -> Result<i64, StoreError> {
        broken()
    }
    async fn put_document(
        &self,
        _: DocumentKind,
        _: &StoredDocument,
        _: bool,
        _: &AuditEntry,
    ) -> Result<PutDocument, StoreError> {
        broken()
    }
    async fn remove_document(&self, _: DocumentKind, _: &str, _: &AuditEntry) -> Result<bool, StoreError> {
        broken()
    }
    async fn audit(&self, _: &AuditEntry) -> Result<(), StoreError> {
        broken()
    }
    async fn audit_entries(&self, _: &PageRequest) -> Result<Page<AuditEntry>, StoreError> {
        broken()
    }
}

#[tokio::test]
async fn a_broken_store_is_named_and_nothing_leaks() {
    let setup = Setup { store: Some(Arc::new(Broken)), agreements: orders::agreements(), ..Setup::default() };
    let server = Server::start(setup).await;
    let (status, ready) = server.json("/health/ready").await;
    assert_eq!((status, &ready["failed"]), (503, &json!(["store"])));
    assert_eq!(ready["dependencies"]["store"], json!({ "status": "failed", "what": "postgres db/probity" }));
    assert_fits(&document(), "/health/ready", "get", status, &ready);
    assert_eq!(server.get("/health/live").await.status(), 200);
    let (status, body) = server.json("/probity/v1/verdicts").await;
    assert_eq!((status, &body["error"]), (500, &json!("internal")));
    assert_fits(&document(), "/probity/v1/verdicts", "get", status, &body);
    let page = server.get("/probity/").await;
    assert_eq!(page.status(), 500);
    for text in [body.to_string(), ready.to_string(), page.text().await.unwrap()] {
        assert!(!text.contains("pa55word") && !text.contains("on fire"), "{text}");
    }
}
