//! What of runs needs somebody: leases nobody took up, ticks without a result, doubts, dead letters, a queue that does not
//! get shorter, and what keeps the database from cleaning up.

use jiff::Timestamp;

use super::{Finding, error, warning};
use crate::store::queue::{QueueQuery, QueueState};
use crate::store::{PageRequest, Store, StoreError};

/// Runs named in one finding.
const NAMED_MAX: u32 = 5;

/// A snapshot held this long keeps the queue's dead rows, milliseconds.
const HORIZON_MS_MAX: u64 = 3_600_000;

/// As many transactions since an open one began do so, too.
const HORIZON_TRANSACTIONS_MAX: u64 = 5_000_000;

/// What somebody should look at; `older_ms`: what has waited less is on its way.
pub(super) async fn findings(store: &dyn Store, older_ms: u64, now: Timestamp) -> Result<Vec<Finding>, StoreError> {
    let mut findings = Vec::new();
    let depth = store.queue_depth(None).await?;
    if depth.in_doubt > 0 {
        let ids = ids(store, QueueQuery { state: Some(QueueState::InDoubt), ..QueueQuery::default() }).await?;
        findings.push(error(
            "runs",
            format!(
                "{} runs are in doubt: an effect outside was begun, and nobody knows whether it happened; decide for each \
                 whether to make it again, to go on behind it or to let the run fail: {ids}",
                depth.in_doubt
            ),
        ));
    }
    if depth.dead > 0 {
        let ids = ids(store, QueueQuery { state: Some(QueueState::Dead), ..QueueQuery::default() }).await?;
        let text =
            format!("{} runs used up their attempts; look at why, then replay or cancel them: {ids}", depth.dead);
        findings.push(warning("runs", text));
    }
    let stuck = QueueQuery { overdue_ms: Some(older_ms), ..QueueQuery::default() };
    let stuck = ids(store, stuck).await?;
    if !stuck.is_empty() {
        findings.push(error(
            "runs",
            format!(
                "leases ran out more than {} s ago and nobody took them up: {stuck}; does a replica with the role worker \
                 run, and with these runs' version of the flows?",
                older_ms / 1_000
            ),
        ));
    }
    if let Some(oldest) = depth.oldest_ms.filter(|oldest| *oldest >= older_ms && depth.ready > 0) {
        findings.push(warning(
            "runs",
            format!(
                "{} runs are ready, the oldest for {} s: workers are too few, or none runs",
                depth.ready,
                oldest / 1_000
            ),
        ));
    }
    for paused in store.paused_flows().await? {
        let text = format!("flow {} is paused by {} since {}", paused.flow, paused.by, paused.since);
        findings.push(warning("runs", text));
    }
    findings.extend(ticks(store, older_ms, now).await?);
    findings.extend(horizon(store).await?);
    Ok(findings)
}

/// The first ids that fit, and that there are more.
async fn ids(store: &dyn Store, query: QueueQuery) -> Result<String, StoreError> {
    let page = store.queued_runs(&query, &PageRequest { limit: NAMED_MAX, after: None }).await?;
    let ids: Vec<String> = page.items.iter().map(|run| format!("{} (flow {})", run.id, run.flow)).collect();
    Ok(ids.join(", ") + if page.next.is_some() { ", …" } else { "" })
}

/// Firings that were claimed and have no result.
async fn ticks(store: &dyn Store, older_ms: u64, now: Timestamp) -> Result<Option<Finding>, StoreError> {
    let before = now.as_millisecond().saturating_sub(i64::try_from(older_ms).unwrap_or(i64::MAX));
    let mut orphaned = store.open_claims().await?;
    orphaned.retain(|claim| claim.due_at.as_millisecond() <= before);
    let shown: Vec<String> = orphaned
        .iter()
        .take(NAMED_MAX as usize)
        .map(|claim| format!("{} at {}", claim.schedule, claim.due_at))
        .collect();
    let more = if orphaned.len() > shown.len() { ", …" } else { "" };
    Ok((!orphaned.is_empty()).then(|| {
        let text = format!(
            "{} firings of schedules were claimed and have no result: {}{more}; a running server takes them up",
            orphaned.len(),
            shown.join(", ")
        );
        warning("schedules", text)
    }))
}

async fn horizon(store: &dyn Store) -> Result<Option<Finding>, StoreError> {
    let Some(horizon) = store.horizon().await? else { return Ok(None) };
    let old = horizon.held_ms > HORIZON_MS_MAX || horizon.transactions > HORIZON_TRANSACTIONS_MAX;
    Ok(old.then(|| {
        let text = format!(
            "the database has held a snapshot for {} s, {} transactions ago: nothing deleted since can be cleaned up, and \
             the queue gets slow; end that transaction (pg_stat_activity, pg_prepared_xacts, pg_replication_slots)",
            horizon.held_ms / 1_000,
            horizon.transactions
        );
        warning("database", text)
    }))
}
