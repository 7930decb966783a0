//! Settling: ends are for good and stand in the history, others go on.

use probity::store::queue::{CommittedRun, QueueState, Resume};
use probity::store::{Committed, PageRequest, StateQuery};

use super::*;

promises! {
    an_end_is_in_the_history_and_for_good
    of_one_lease_settled_twice_the_first_counts
    a_batch_settles_each_for_itself
    a_retry_waits_and_resumes
    what_is_released_is_ready_at_once_and_costs_no_attempt
    an_evaluation_ends_its_run_with_its_results
    an_evaluation_of_another_turn_or_epoch_stores_nothing
}

fn settle(run: &QueuedRun, outcome: Outcome) -> Settlement {
    Settlement { held: run.held(), outcome }
}

async fn an_end_is_in_the_history_and_for_good(fixture: &Fixture) {
    let store = &*fixture.store;
    accept(store, &[new_run("f")]).await;
    let run = lease_one(store, "w1", 0).await;
    assert_eq!(store.settle_runs(&[ended(&run)]).await.unwrap(), [true]);
    let kept = store.run(run.id).await.unwrap().unwrap();
    assert_eq!(kept, record(run.id, RunState::Done));
    assert!(store.queued_run(run.id).await.unwrap().is_none());
    // Nothing brings it back, and nothing overwrites it.
    let late = [
        ended(&run),
        settle(&run, Outcome::Ended(Box::new(record(run.id, RunState::Failed)))),
        settle(&run, Outcome::Retry { delay_ms: 0, error: error("late"), resume: Resume::Start }),
        settle(&run, Outcome::Released),
        settle(&run, Outcome::Dead { error: error("late") }),
        settle(&run, Outcome::Doubt { what: error("late") }),
    ];
    for late in late {
        assert_eq!(store.settle_runs(std::slice::from_ref(&late)).await.unwrap(), [false], "{late:?}");
    }
    assert!(lease(store, "w2", 10, LONG_MS).await.is_empty());
    assert_eq!(store.run(run.id).await.unwrap().unwrap(), kept);
    assert!(store.settle_runs(&[]).await.unwrap().is_empty());
}

async fn of_one_lease_settled_twice_the_first_counts(fixture: &Fixture) {
    let store = &*fixture.store;
    accept(store, &[new_run("f"), new_run("f")]).await;
    let runs = lease(store, "w1", 10, LONG_MS).await;
    let batch = [
        settle(&runs[0], Outcome::Dead { error: error("first") }),
        ended(&runs[1]),
        ended(&runs[0]),
        settle(&runs[1], Outcome::Released),
    ];
    assert_eq!(store.settle_runs(&batch).await.unwrap(), [true, true, false, false]);
    assert_eq!(store.queued_run(runs[0].id).await.unwrap().unwrap().state, QueueState::Dead);
    assert!(store.run(runs[0].id).await.unwrap().is_none());
    assert!(store.run(runs[1].id).await.unwrap().is_some());
}

async fn a_batch_settles_each_for_itself(fixture: &Fixture) {
    let store = &*fixture.store;
    accept(store, &(0..7).map(|_| new_run("f")).collect::<Vec<_>>()).await;
    let runs = lease(store, "w1", 10, LONG_MS).await;
    let mut fenced = runs[6].clone();
    fenced.epoch += 1;
    let batch = [
        ended(&runs[0]),
        settle(&runs[1], Outcome::Retry { delay_ms: LONG_MS, error: error("e1"), resume: Resume::Point }),
        settle(&runs[2], Outcome::Released),
        settle(&runs[3], Outcome::Dead { error: error("e3") }),
        settle(&runs[4], Outcome::Doubt { what: error("e4") }),
        ended(&runs[5]),
        ended(&fenced),
    ];
    assert_eq!(store.settle_runs(&batch).await.unwrap(), [true, true, true, true, true, true, false]);
    let mut states = Vec::new();
    for run in &runs {
        let now = store.queued_run(run.id).await.unwrap();
        states.push(now.map(|now| (now.state, now.error.map(|error| error.message))));
    }
    let waits = |state, message: Option<&str>| Some((state, message.map(str::to_owned)));
    assert_eq!(
        states,
        [
            None,
            waits(QueueState::Queued, Some("e1")),
            waits(QueueState::Queued, None),
            waits(QueueState::Dead, Some("e3")),
            waits(QueueState::InDoubt, Some("e4")),
            None,
            waits(QueueState::Leased, None),
        ]
    );
    assert_eq!(ids(&lease(store, "w2", 10, LONG_MS).await), [runs[2].id], "all others are not ready");
}

async fn a_retry_waits_and_resumes(fixture: &Fixture) {
    let store = &*fixture.store;
    accept(store, &[new_run("f")]).await;
    let run = lease_one(store, "w1", LONG_MS).await;
    let point = probity::store::queue::Point {
        held: run.held(),
        number: 1,
        lease_ms: 0,
        snapshot: Some("[1]".into()),
        effects: Some("{\"a\":1}".into()),
    };
    assert_eq!(store.mark_points(&[point]).await.unwrap(), [true]);
    let retry = |resume| Outcome::Retry { delay_ms: 0, error: error("503"), resume };
    assert_eq!(store.settle_runs(&[settle(&run, retry(Resume::Point))]).await.unwrap(), [true]);
    let run = lease_one(store, "w1", LONG_MS).await;
    assert_eq!((run.attempt, run.epoch, run.point.as_deref()), (2, 2, Some("[1]")));
    assert_eq!(run.error, Some(error("503")));
    assert_eq!(store.settle_runs(&[settle(&run, retry(Resume::Start))]).await.unwrap(), [true]);
    let run = lease_one(store, "w1", LONG_MS).await;
    assert_eq!((run.attempt, run.epoch, run.point, run.effects), (3, 3, None, None));
}

async fn what_is_released_is_ready_at_once_and_costs_no_attempt(fixture: &Fixture) {
    let store = &*fixture.store;
    accept(store, &[new_run("f")]).await;
    for epoch in 1..4 {
        let run = lease_one(store, "w1", LONG_MS).await;
        assert_eq!((run.attempt, run.epoch), (1, epoch));
        assert_eq!(store.settle_runs(&[settle(&run, Outcome::Released)]).await.unwrap(), [true]);
        let waits = store.queued_run(run.id).await.unwrap().unwrap();
        assert_eq!((waits.state, waits.attempt, waits.epoch), (QueueState::Queued, 0, epoch));
    }
}

async fn an_evaluation_ends_its_run_with_its_results(fixture: &Fixture) {
    let store = &*fixture.store;
    let new = keyed("e", 1, LONG_MS);
    accept(store, std::slice::from_ref(&new)).await;
    let run = lease_one(store, "w1", LONG_MS).await;
    let results = commit(run.id, vec![guarantee(0, run.id)]);
    let turn = store.turn(&results.run.subject).await.unwrap();
    let done = store.commit_run(run.held(), &results, Some(turn)).await.unwrap();
    assert_eq!(done, CommittedRun::Done(Committed { inserted: 1, ..Committed::default() }));
    assert!(store.queued_run(run.id).await.unwrap().is_none());
    assert_eq!(store.run(run.id).await.unwrap().unwrap().subject, results.run.subject);
    assert_eq!(store.commit_run(run.held(), &results, None).await.unwrap(), CommittedRun::Lost);
    let again = store.accept_runs("w0", &[keyed("e", 1, LONG_MS)]).await.unwrap();
    assert_eq!(again, [Accepted::Known(run.id)]);
}

async fn an_evaluation_of_another_turn_or_epoch_stores_nothing(fixture: &Fixture) {
    let store = &*fixture.store;
    accept(store, &[new_run("f")]).await;
    let late = lease_one(store, "w1", 0).await;
    let run = lease_one(store, "w2", LONG_MS).await;
    let results = commit(run.id, vec![guarantee(0, run.id)]);
    assert_eq!(store.commit_run(late.held(), &results, None).await.unwrap(), CommittedRun::Lost);
    assert_eq!(store.commit_run(late.held(), &results, Some(7)).await.unwrap(), CommittedRun::Lost);
    assert_eq!(store.commit_run(run.held(), &results, Some(7)).await.unwrap(), CommittedRun::OtherTurn);
    let states = store.states(&StateQuery::default(), &PageRequest::default()).await.unwrap();
    assert!(states.items.is_empty());
    assert!(store.audit_entries(&PageRequest::default()).await.unwrap().items.is_empty());
    assert!(store.run(run.id).await.unwrap().is_none());
    assert_eq!(store.turn(&results.run.subject).await.unwrap(), 0);
    assert_eq!(store.queued_run(run.id).await.unwrap().unwrap(), run, "the lease stays");
    assert!(store.commit_run(run.held(), &results, Some(0)).await.unwrap().done().is_some());
}
