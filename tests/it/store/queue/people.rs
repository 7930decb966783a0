//! What people do and see: cancel, decide, replay, pause; lists and counts.

use probity::store::queue::{Cancelled, Decision, QueueDepth, QueueQuery, QueueState, Resume};
use probity::store::{AuditEntry, PageRequest, StoreError};

use super::*;

promises! {
    what_waits_is_cancelled_at_once
    what_runs_is_cancelled_by_who_runs_it
    a_person_decides_about_a_doubt
    a_dead_run_is_replayed
    a_paused_flow_is_not_leased
    durable_runs_are_listed_newest_first
    durable_runs_are_counted
    what_holds_the_database_back_is_known
}

async fn actions(store: &dyn Store) -> Vec<String> {
    let mut entries = store.audit_entries(&PageRequest::default()).await.unwrap().items;
    entries.reverse();
    entries.into_iter().map(|entry| entry.action).collect()
}

fn entry(action: &str) -> AuditEntry {
    AuditEntry { actor: "ana".into(), action: action.into(), ..audit("f") }
}

/// A run that is settled so.
async fn settled(store: &dyn Store, new: NewRun, outcome: Outcome) -> QueuedRun {
    let id = new.id;
    accept(store, &[new]).await;
    let leased = lease(store, "w1", 100, LONG_MS).await;
    let run = leased.into_iter().find(|run| run.id == id).expect("it was ready");
    assert_eq!(store.settle_runs(&[Settlement { held: run.held(), outcome }]).await.unwrap(), [true]);
    store.queued_run(id).await.unwrap().unwrap()
}

async fn what_waits_is_cancelled_at_once(fixture: &Fixture) {
    let store = &*fixture.store;
    let new = NewRun { delay_ms: LONG_MS, ..keyed("k", 1, 0) };
    accept(store, std::slice::from_ref(&new)).await;
    let dead = settled(store, new_run("f"), Outcome::Dead { error: error("boom") }).await;
    let doubt = settled(store, new_run("f"), Outcome::Doubt { what: error("sent?") }).await;
    for (id, node, message) in [
        (new.id, "n1", "cancelled by ana"),
        (dead.id, "n7", "cancelled by ana; before: boom"),
        (doubt.id, "n7", "cancelled by ana; before: sent?"),
    ] {
        assert_eq!(store.cancel_run(id, &entry("cancel")).await.unwrap(), Cancelled::Ended);
        let kept = store.run(id).await.unwrap().unwrap();
        assert_eq!((kept.state, kept.subject.as_str(), kept.version.as_str()), (RunState::Stopped, "f", "v1"));
        let error = kept.error.unwrap();
        assert_eq!((error.node.as_str(), error.message.as_str()), (node, message));
        assert!(kept.ended_at.unwrap() >= kept.started_at);
        assert!(store.queued_run(id).await.unwrap().is_none());
        assert_eq!(store.cancel_run(id, &entry("again")).await.unwrap(), Cancelled::Unknown);
    }
    assert_eq!(actions(store).await, ["cancel"; 3]);
    accept(store, &[keyed("k", 2, 0)]).await;
}

async fn what_runs_is_cancelled_by_who_runs_it(fixture: &Fixture) {
    let store = &*fixture.store;
    accept(store, &[new_run("f")]).await;
    let run = lease_one(store, "w1", 0).await;
    assert_eq!(store.cancel_run(run.id, &entry("cancel")).await.unwrap(), Cancelled::Wanted);
    assert!(store.run(run.id).await.unwrap().is_none());
    // Who leased it is gone: the next one learns it, too.
    let run = lease_one(store, "w2", LONG_MS).await;
    assert!(run.cancel_wanted);
    let stopped = Outcome::Ended(Box::new(record(run.id, RunState::Stopped)));
    assert_eq!(store.settle_runs(&[Settlement { held: run.held(), outcome: stopped }]).await.unwrap(), [true]);
    assert_eq!(store.run(run.id).await.unwrap().unwrap().state, RunState::Stopped);
    assert_eq!(actions(store).await, ["cancel"]);
}

async fn a_person_decides_about_a_doubt(fixture: &Fixture) {
    let store = &*fixture.store;
    for decision in [Decision::Again, Decision::Skip] {
        let doubt = settled(store, new_run("f"), Outcome::Doubt { what: error("sent?") }).await;
        assert_eq!((doubt.state, doubt.error.clone()), (QueueState::InDoubt, Some(error("sent?"))));
        assert!(lease(store, "w2", 10, LONG_MS).await.is_empty(), "nobody goes on");
        assert!(!store.replay_run(doubt.id, Resume::Start, &entry("replay")).await.unwrap());
        assert!(store.decide_run(doubt.id, decision, &entry(decision.as_str())).await.unwrap());
        assert!(!store.decide_run(doubt.id, decision, &entry("twice")).await.unwrap());
        let run = lease_one(store, "w2", LONG_MS).await;
        assert_eq!((run.id, run.decision, run.epoch), (doubt.id, Some(decision), 2));
        assert_eq!(store.settle_runs(&[ended(&run)]).await.unwrap(), [true]);
    }
    let doubt = settled(store, new_run("f"), Outcome::Doubt { what: error("sent?") }).await;
    assert!(store.decide_run(doubt.id, Decision::Fail, &entry("fail")).await.unwrap());
    let kept = store.run(doubt.id).await.unwrap().unwrap();
    assert_eq!(kept.state, RunState::Failed);
    assert_eq!(kept.error.unwrap().message, "sent?; ana decided that it failed");
    assert!(!store.decide_run(doubt.id, Decision::Again, &entry("late")).await.unwrap());
    assert_eq!(actions(store).await, ["again", "skip", "fail"]);
}

async fn a_dead_run_is_replayed(fixture: &Fixture) {
    let store = &*fixture.store;
    let dead = settled(store, new_run("f"), Outcome::Dead { error: error("boom") }).await;
    assert_eq!((dead.state, dead.attempt, dead.epoch), (QueueState::Dead, 1, 1));
    assert!(lease(store, "w2", 10, LONG_MS).await.is_empty());
    assert!(!store.decide_run(dead.id, Decision::Again, &entry("decide")).await.unwrap());
    assert!(store.replay_run(dead.id, Resume::Point, &entry("replay")).await.unwrap());
    assert!(!store.replay_run(dead.id, Resume::Point, &entry("twice")).await.unwrap());
    let run = lease_one(store, "w2", LONG_MS).await;
    assert_eq!((run.id, run.attempt, run.epoch), (dead.id, 1, 2), "the fencing token still grows");
    assert_eq!(store.settle_runs(&[ended(&dead)]).await.unwrap(), [false]);
    assert_eq!(store.settle_runs(&[ended(&run)]).await.unwrap(), [true]);
    assert!(!store.replay_run(dead.id, Resume::Start, &entry("late")).await.unwrap());
    assert_eq!(actions(store).await, ["replay"]);
}

async fn a_paused_flow_is_not_leased(fixture: &Fixture) {
    let store = &*fixture.store;
    accept(store, &[new_run("f")]).await;
    let leased = lease_one(store, "w1", LONG_MS).await;
    let runs = [new_run("f"), new_run("g"), new_run("f")];
    accept(store, &runs).await;
    assert!(store.pause_flow("f", &entry("pause")).await.unwrap());
    assert!(!store.pause_flow("f", &entry("twice")).await.unwrap());
    let paused = store.paused_flows().await.unwrap();
    assert_eq!(paused.iter().map(|one| (one.flow.as_str(), one.by.as_str())).collect::<Vec<_>>(), [("f", "ana")]);
    assert_eq!(ids(&lease(store, "w1", 10, LONG_MS).await), [runs[1].id]);
    assert!(lease(store, "w1", 10, LONG_MS).await.is_empty());
    assert_eq!(store.settle_runs(&[ended(&leased)]).await.unwrap(), [true], "what runs goes on");
    assert!(store.resume_flow("f", &entry("resume")).await.unwrap());
    assert!(!store.resume_flow("f", &entry("twice")).await.unwrap());
    assert_eq!(lease(store, "w1", 10, LONG_MS).await.len(), 2);
    assert!(store.paused_flows().await.unwrap().is_empty());
    assert_eq!(actions(store).await, ["pause", "resume"]);
}

async fn durable_runs_are_listed_newest_first(fixture: &Fixture) {
    let store = &*fixture.store;
    let dead = settled(store, new_run("f"), Outcome::Dead { error: error("100% Böse_x") }).await;
    let stuck = NewRun { lease_ms: Some(0), ..new_run("f") };
    store.accept_runs("w1", std::slice::from_ref(&stuck)).await.unwrap();
    let mut runs = vec![dead.id, stuck.id];
    for (flow, tenant) in [("f", "t1"), ("g", "t1"), ("g", "t2")] {
        let msg = format!("{{\"payload\":\"{flow} of {tenant}\"}}");
        let new = NewRun { tenant: tenant.into(), msg, ..new_run(flow) };
        runs.push(new.id);
        accept(store, &[new]).await;
    }
    runs.reverse();
    let listed = |query: QueueQuery| async move {
        let page = store.queued_runs(&query, &PageRequest::default()).await.unwrap();
        assert!(page.items.iter().all(|run| run.msg.is_empty() && run.point.is_none()));
        ids(&page.items)
    };
    let all = QueueQuery::default;
    assert_eq!(listed(all()).await, runs);
    assert_eq!(listed(QueueQuery { flow: Some("g".into()), ..all() }).await, runs[..2]);
    assert_eq!(listed(QueueQuery { tenant: Some("t1".into()), ..all() }).await, runs[1..3]);
    for (state, expected) in [
        (QueueState::Queued, &runs[..3]),
        (QueueState::Leased, &runs[3..4]),
        (QueueState::Dead, &runs[4..]),
        (QueueState::InDoubt, &[]),
    ] {
        assert_eq!(listed(QueueQuery { state: Some(state), ..all() }).await, expected, "{state:?}");
    }
    for (text, expected) in [("OF T1", &runs[1..3]), ("100% b", &runs[4..]), ("b_x", &[]), ("%", &runs[4..])] {
        let text = text.replace("100% b", "100% B");
        assert_eq!(listed(QueueQuery { text: Some(text.clone()), ..all() }).await, expected, "{text}");
    }
    assert_eq!(listed(QueueQuery { overdue_ms: Some(0), ..all() }).await, runs[3..4]);
    assert!(listed(QueueQuery { overdue_ms: Some(LONG_MS), ..all() }).await.is_empty());
    let accepted_at = store.queued_run(runs[2]).await.unwrap().unwrap().accepted_at;
    let later = listed(QueueQuery { from: Some(accepted_at), ..all() }).await;
    let earlier = listed(QueueQuery { to: Some(accepted_at), ..all() }).await;
    assert_eq!([later, earlier].concat(), runs);
    let mut seen = Vec::new();
    let mut page = PageRequest { limit: 2, after: None };
    loop {
        let found = store.queued_runs(&all(), &page).await.unwrap();
        seen.extend(ids(&found.items));
        page.after = found.next;
        if page.after.is_none() {
            break;
        }
    }
    assert_eq!(seen, runs);
    let foreign = PageRequest { limit: 2, after: Some("x".into()) };
    assert!(matches!(store.queued_runs(&all(), &foreign).await, Err(StoreError::Cursor { .. })));
}

async fn durable_runs_are_counted(fixture: &Fixture) {
    let store = &*fixture.store;
    assert_eq!(store.queue_depth(None).await.unwrap(), QueueDepth::default());
    settled(store, new_run("f"), Outcome::Dead { error: error("boom") }).await;
    settled(store, new_run("f"), Outcome::Doubt { what: error("sent?") }).await;
    settled(store, new_run("f"), Outcome::Doubt { what: error("sent?") }).await;
    let leased = [NewRun { lease_ms: Some(LONG_MS), ..new_run("f") }, NewRun { lease_ms: Some(0), ..new_run("g") }];
    store.accept_runs("w1", &leased).await.unwrap();
    let later = NewRun { delay_ms: LONG_MS, ..new_run("g") };
    accept(store, &[new_run("f"), new_run("g"), new_run("g"), later]).await;
    let depth = store.queue_depth(None).await.unwrap();
    assert!(depth.oldest_ms.is_some_and(|ms| ms < LONG_MS), "{depth:?}");
    let counted =
        QueueDepth { ready: 3, delayed: 1, leased: 2, overdue: 1, in_doubt: 2, dead: 1, oldest_ms: depth.oldest_ms };
    assert_eq!(depth, counted);
    let depth = store.queue_depth(Some("g")).await.unwrap();
    assert_eq!((depth.ready, depth.delayed, depth.leased, depth.overdue, depth.dead), (2, 1, 1, 1, 0));
    assert_eq!(store.queue_depth(Some("none")).await.unwrap(), QueueDepth::default());
}

async fn what_holds_the_database_back_is_known(fixture: &Fixture) {
    let store = &*fixture.store;
    let horizon = store.horizon().await.unwrap();
    assert_eq!(horizon.is_some(), fixture.url.starts_with("postgres"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_transaction_left_open_is_seen() {
    use sqlx::{Connection, Executor};
    let fixture = Fixture::postgres().await;
    let mut idle = sqlx::PgConnection::connect(&fixture.url).await.unwrap();
    // It holds a snapshot, has a number, and is older than this when it was last heard of.
    idle.execute("BEGIN ISOLATION LEVEL REPEATABLE READ; CREATE TABLE left_open (); SELECT pg_sleep(0.02)")
        .await
        .unwrap();
    for _ in 0..3 {
        accept(&*fixture.store, &[new_run("f")]).await;
    }
    let held = fixture.store.horizon().await.unwrap().unwrap();
    assert!(held.held_ms >= 20 && held.transactions >= 3, "{held:?}");
    idle.execute("ROLLBACK").await.unwrap();
    let free = fixture.store.horizon().await.unwrap().unwrap();
    // Its numbers are of the whole server, where other tests are at work; its time is of this database alone.
    assert!(free.held_ms < held.held_ms, "{free:?} after {held:?}");
}
