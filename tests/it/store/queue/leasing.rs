//! Accepting, leasing, keeping a lease, durable points.

use std::collections::BTreeSet;

use probity::store::queue::{Decision, Extended, FIRST_EPOCH, Held, Point, QueueState, ReadyWanted};
use probity::store::{ClaimKey, PageRequest};

use super::*;

promises! {
    what_is_accepted_is_leased_as_it_was_given
    accepted_leased_it_is_the_accepters
    a_run_is_accepted_once_by_its_id_ended_or_not
    a_key_stands_for_one_request
    a_key_is_free_when_its_time_is_over
    keys_meet_within_a_batch
    one_of_many_acceptors_wins_a_key
    a_firing_is_accepted_once
    the_highest_priority_and_the_longest_ready_goes_first
    what_is_delayed_is_not_leased
    only_wanted_versions_are_leased
    caps_hold_flows_and_tenants_back_and_nobody_else
    two_workers_never_get_one_run
    a_lease_that_ran_out_is_leased_again_with_a_higher_epoch
    a_lease_is_kept_by_its_epoch
    points_are_kept_in_parts_and_fenced
    a_point_that_arrives_after_a_later_one_changes_nothing
    who_waits_is_woken
    runs_are_leased_by_name_once_and_at_the_epoch_named
    what_is_named_and_held_back_is_told
    ready_runs_are_named_when_nobody_has_told_of_them
}

async fn what_is_accepted_is_leased_as_it_was_given(fixture: &Fixture) {
    let store = &*fixture.store;
    let new = NewRun { reply: true, priority: Priority::Interactive, tenant: "t\0".into(), ..new_run("f") };
    accept(store, std::slice::from_ref(&new)).await;
    let waiting = store.queued_run(new.id).await.unwrap().unwrap();
    assert_eq!((waiting.state, waiting.attempt, waiting.epoch), (QueueState::Queued, 0, 0));
    assert_eq!(waiting.ready_at, waiting.accepted_at);
    let run = lease_one(store, "w1", LONG_MS).await;
    assert_eq!((run.id, &run.flow, &run.node, &run.flow_version), (new.id, &new.flow, &new.node, &new.flow_version));
    assert_eq!((&run.trigger, &run.msg, run.reply, run.priority), (&new.trigger, &new.msg, true, new.priority));
    assert_eq!((run.state, run.attempt, run.epoch, run.owner.as_deref()), (QueueState::Leased, 1, 1, Some("w1")));
    assert!(run.ready_at > run.accepted_at && !run.cancel_wanted);
    assert_eq!((&run.point, &run.effects, run.decision, &run.error), (&None, &None, None, &None));
    assert_eq!(store.queued_run(new.id).await.unwrap().unwrap(), run);
    assert!(lease(store, "w2", 10, LONG_MS).await.is_empty());
    assert!(store.accept_runs("w1", &[]).await.unwrap().is_empty());
    assert!(lease(store, "w2", 0, LONG_MS).await.is_empty());
}

async fn accepted_leased_it_is_the_accepters(fixture: &Fixture) {
    let store = &*fixture.store;
    let held = NewRun { lease_ms: Some(LONG_MS), ..new_run("f") };
    let runs = [held.clone(), new_run("f"), NewRun { lease_ms: Some(0), ..new_run("f") }];
    let accepted = store.accept_runs("w1", &runs).await.unwrap();
    assert_eq!(accepted, [Accepted::Leased, Accepted::Queued, Accepted::Leased]);
    let run = store.queued_run(held.id).await.unwrap().unwrap();
    assert_eq!(
        (run.state, run.epoch, run.attempt, run.owner.as_deref()),
        (QueueState::Leased, FIRST_EPOCH, 1, Some("w1"))
    );
    let others: BTreeSet<RunId> = ids(&lease(store, "w2", 10, LONG_MS).await).into_iter().collect();
    assert_eq!(others, BTreeSet::from([runs[1].id, runs[2].id]), "what ran out at once is anybody's");
    assert_eq!(store.settle_runs(&[ended(&run)]).await.unwrap(), [true]);
    // Nobody starts a run of a flow that is paused.
    assert!(store.pause_flow("f", &audit("f")).await.unwrap());
    let paused = NewRun { lease_ms: Some(LONG_MS), ..new_run("f") };
    assert_eq!(store.accept_runs("w1", &[paused]).await.unwrap(), [Accepted::Queued]);
}

async fn a_run_is_accepted_once_by_its_id_ended_or_not(fixture: &Fixture) {
    let store = &*fixture.store;
    let new = new_run("f");
    accept(store, std::slice::from_ref(&new)).await;
    let again = || async { store.accept_runs("w0", &[new.clone(), new.clone()]).await.unwrap() };
    assert_eq!(again().await, [Accepted::Known(new.id); 2]);
    let run = lease_one(store, "w1", LONG_MS).await;
    assert_eq!(again().await, [Accepted::Known(new.id); 2]);
    assert_eq!(store.settle_runs(&[ended(&run)]).await.unwrap(), [true]);
    assert_eq!(again().await, [Accepted::Known(new.id); 2], "what has ended stays so");
    assert!(lease(store, "w1", 10, LONG_MS).await.is_empty());
}

async fn a_key_stands_for_one_request(fixture: &Fixture) {
    let store = &*fixture.store;
    let first = keyed("f:1", 1, LONG_MS);
    accept(store, std::slice::from_ref(&first)).await;
    let ask = |request| async move { store.accept_runs("w0", &[keyed("f:1", request, LONG_MS)]).await.unwrap()[0] };
    assert_eq!(ask(1).await, Accepted::Known(first.id));
    assert_eq!(ask(2).await, Accepted::Conflict(first.id));
    let run = lease_one(store, "w1", LONG_MS).await;
    assert_eq!(ask(1).await, Accepted::Known(first.id));
    assert_eq!(store.settle_runs(&[ended(&run)]).await.unwrap(), [true]);
    assert_eq!(ask(1).await, Accepted::Known(first.id), "it is remembered behind the end");
    assert_eq!(ask(2).await, Accepted::Conflict(first.id));
    accept(store, &[keyed("f:2", 1, LONG_MS)]).await;
}

async fn a_key_is_free_when_its_time_is_over(fixture: &Fixture) {
    let store = &*fixture.store;
    let mut last = None;
    for request in 0..3 {
        let new = keyed("f:1", request, 0);
        accept(store, std::slice::from_ref(&new)).await;
        let other = store.accept_runs("w0", &[keyed("f:1", 9, 0)]).await.unwrap();
        assert_eq!(other, [Accepted::Conflict(new.id)], "as long as the run has not ended, however short the time");
        let run = lease_one(store, "w1", LONG_MS).await;
        assert_eq!(store.settle_runs(&[ended(&run)]).await.unwrap(), [true]);
        last = Some(new.id);
    }
    // Upkeep forgets it, and nothing that is to be remembered.
    accept(store, &[keyed("f:2", 1, LONG_MS)]).await;
    store.upkeep(at("2026-01-05T12:00:00Z"), &probity::store::Retention::default()).await.unwrap();
    assert!(store.run(last.unwrap()).await.unwrap().is_some());
    assert!(matches!(store.accept_runs("w0", &[keyed("f:2", 2, 0)]).await.unwrap()[0], Accepted::Conflict(_)));
    accept(store, &[keyed("f:1", 1, 0)]).await;
}

async fn keys_meet_within_a_batch(fixture: &Fixture) {
    let store = &*fixture.store;
    let batch =
        [keyed("a", 1, 0), keyed("b", 1, 0), keyed("a", 1, 0), keyed("a", 2, 0), new_run("f"), keyed("b", 1, 0)];
    let (a, b) = (batch[0].id, batch[1].id);
    assert_eq!(
        store.accept_runs("w0", &batch).await.unwrap(),
        [
            Accepted::Queued,
            Accepted::Queued,
            Accepted::Known(a),
            Accepted::Conflict(a),
            Accepted::Queued,
            Accepted::Known(b)
        ]
    );
    // The first of them is refused itself; the second is not.
    let batch = [keyed("a", 2, 0), keyed("a", 1, 0), keyed("a", 2, 0)];
    let expected = [Accepted::Conflict(a), Accepted::Known(a), Accepted::Conflict(a)];
    assert_eq!(store.accept_runs("w0", &batch).await.unwrap(), expected);
    assert_eq!(lease(store, "w1", 10, LONG_MS).await.len(), 3);
}

async fn one_of_many_acceptors_wins_a_key(fixture: &Fixture) {
    let mut tasks = tokio::task::JoinSet::new();
    for task in 0..4 {
        let store = fixture.store.clone();
        tasks.spawn(async move {
            // Each in an order of its own.
            let mut keys: Vec<u8> = (0..20).collect();
            keys.rotate_left(task * 5);
            let runs: Vec<NewRun> = keys.iter().map(|key| keyed(&format!("k{key}"), *key, LONG_MS)).collect();
            let accepted = store.accept_runs("w0", &runs).await.unwrap();
            keys.into_iter().zip(runs.iter().map(|run| run.id)).zip(accepted).collect::<Vec<_>>()
        });
    }
    let mut winners = std::collections::BTreeMap::<u8, RunId>::new();
    let mut known = Vec::new();
    for ((key, id), accepted) in tasks.join_all().await.into_iter().flatten() {
        match accepted {
            Accepted::Queued => assert_eq!(winners.insert(key, id), None, "two won key {key}"),
            Accepted::Known(first) => known.push((key, first)),
            other => panic!("{other:?}"),
        }
    }
    assert_eq!((winners.len(), known.len()), (20, 60));
    assert!(known.iter().all(|(key, first)| winners[key] == *first));
    assert_eq!(lease(&*fixture.store, "w1", 100, LONG_MS).await.len(), 20);
}

async fn a_firing_is_accepted_once(fixture: &Fixture) {
    let store = &*fixture.store;
    let claim = |n: i64| ClaimKey { schedule: "s".into(), due_at: at("2026-01-05T12:00:00Z") + jiff::ToSpan::hours(n) };
    assert!(crate::store::claims::held(store, &claim(0)).await.is_some());
    let (first, second) = (new_run("f"), new_run("f"));
    assert_eq!(store.accept_tick(&claim(0), &first).await.unwrap(), Accepted::Queued);
    assert_eq!(store.accept_tick(&claim(0), &second).await.unwrap(), Accepted::Known(first.id));
    assert!(store.queued_run(second.id).await.unwrap().is_none());
    assert!(store.open_claims().await.unwrap().is_empty());
    // One that nobody claimed before.
    assert_eq!(store.accept_tick(&claim(1), &second).await.unwrap(), Accepted::Queued);
    assert!(crate::store::claims::held(store, &claim(1)).await.is_none());
    let both = [new_run("f"), new_run("f")];
    let claim = claim(2);
    let (left, right) = tokio::join!(store.accept_tick(&claim, &both[0]), store.accept_tick(&claim, &both[1]));
    let answers = [left.unwrap(), right.unwrap()];
    let winner = answers.iter().position(|answer| *answer == Accepted::Queued).unwrap();
    assert_eq!(answers[1 - winner], Accepted::Known(both[winner].id));
    assert_eq!(lease(store, "w1", 10, LONG_MS).await.len(), 3);
}

async fn the_highest_priority_and_the_longest_ready_goes_first(fixture: &Fixture) {
    let store = &*fixture.store;
    let mut expected = std::collections::BTreeMap::<_, Vec<RunId>>::new();
    for round in 0..3 {
        for priority in [Priority::Normal, Priority::Bulk, Priority::Interactive] {
            let new = NewRun { priority, ..new_run(&format!("f{round}")) };
            expected.entry(std::cmp::Reverse(priority)).or_default().push(new.id);
            accept(store, &[new]).await;
        }
    }
    // Instants of one millisecond have no order: ids have.
    let expected: Vec<RunId> = expected.into_values().flatten().collect();
    let mut got = ids(&lease(store, "w1", 4, LONG_MS).await);
    assert_eq!(got.len(), 4);
    got.extend(ids(&lease(store, "w1", 4, LONG_MS).await));
    got.extend(ids(&lease(store, "w1", 4, LONG_MS).await));
    assert_eq!(got, expected);
}

async fn what_is_delayed_is_not_leased(fixture: &Fixture) {
    let store = &*fixture.store;
    let later = NewRun { delay_ms: LONG_MS, priority: Priority::Interactive, ..new_run("f") };
    let forever = NewRun { delay_ms: u64::MAX, ..new_run("f") };
    let now = new_run("f");
    accept(store, &[later.clone(), forever, now.clone()]).await;
    assert_eq!(lease_one(store, "w1", LONG_MS).await.id, now.id);
    let waiting = store.queued_run(later.id).await.unwrap().unwrap();
    assert_eq!(waiting.ready_at.duration_since(waiting.accepted_at).as_millis(), i128::from(LONG_MS));
}

async fn only_wanted_versions_are_leased(fixture: &Fixture) {
    let store = &*fixture.store;
    let old = NewRun { flow_version: "v0".into(), ..new_run("f") };
    accept(store, &[old.clone(), new_run("f")]).await;
    let versions = |of: &[&str]| LeaseWanted {
        versions: Some(of.iter().map(|version| (*version).to_owned()).collect()),
        ..wanted(10, LONG_MS)
    };
    assert!(store.lease_runs("w1", &versions(&[])).await.unwrap().is_empty());
    assert!(store.lease_runs("w1", &versions(&["v9"])).await.unwrap().is_empty());
    assert_eq!(ids(&store.lease_runs("w1", &versions(&["v0", "v9"])).await.unwrap()), [old.id]);
    assert_eq!(lease(store, "w1", 10, LONG_MS).await.len(), 1);
}

async fn caps_hold_flows_and_tenants_back_and_nobody_else(fixture: &Fixture) {
    let store = &*fixture.store;
    let of = |flow: &str, tenant: &str| NewRun { tenant: tenant.into(), ..new_run(flow) };
    let mut runs: Vec<NewRun> = (0..30).map(|_| of("long", "t1")).collect();
    runs.extend([of("a", "t1"), of("b", "t2"), of("b", "t2"), of("c", "t2")]);
    accept(store, &runs).await;
    let flows = |runs: Vec<QueuedRun>| {
        let mut flows: Vec<String> = runs.into_iter().map(|run| run.flow).collect();
        flows.sort();
        flows.join(" ")
    };
    let lease = |flow_caps, tenant_caps, max| async move {
        let wanted = LeaseWanted { flow_caps, tenant_caps, ..wanted(max, LONG_MS) };
        flows(store.lease_runs("w1", &wanted).await.unwrap())
    };
    // A flow at its limit stands first in line, and in nobody's way.
    assert_eq!(lease(caps(&[("long", 0), ("b", 1), ("other", 0)]), caps(&[]), 20).await, "a b c");
    assert_eq!(lease(caps(&[("long", 0)]), caps(&[("t2", 0)]), 20).await, "");
    assert_eq!(lease(caps(&[]), caps(&[("t1", 0), ("t2", 1)]), 20).await, "b");
    assert_eq!(lease(caps(&[("long", 2)]), caps(&[]), 20).await, "long long");
    assert_eq!(lease(caps(&[]), caps(&[("t1", 3)]), 20).await, "long long long");
    assert_eq!(lease(caps(&[("long", 100)]), caps(&[]), 2).await, "long long");
}

async fn two_workers_never_get_one_run(fixture: &Fixture) {
    let runs: Vec<NewRun> = (0..300).map(|n| new_run(&format!("f{}", n % 3))).collect();
    accept(&*fixture.store, &runs).await;
    let mut workers = tokio::task::JoinSet::new();
    for worker in 0..4 {
        let store = fixture.store.clone();
        workers.spawn(async move {
            let mut got = Vec::new();
            loop {
                let leased = lease(&*store, &format!("w{worker}"), 7, LONG_MS).await;
                if leased.is_empty() {
                    return got;
                }
                let settled: Vec<Settlement> = leased.iter().map(ended).collect();
                assert!(store.settle_runs(&settled).await.unwrap().iter().all(|done| *done));
                got.extend(ids(&leased));
            }
        });
    }
    let mut got: Vec<RunId> = workers.join_all().await.into_iter().flatten().collect();
    // One that found the rest locked may have left early, but all that there was has been run once.
    got.extend(ids(&lease(&*fixture.store, "w9", 300, LONG_MS).await));
    got.sort();
    let mut all: Vec<RunId> = runs.iter().map(|run| run.id).collect();
    all.sort();
    assert_eq!(got, all);
}

async fn a_lease_that_ran_out_is_leased_again_with_a_higher_epoch(fixture: &Fixture) {
    let store = &*fixture.store;
    accept(store, &[new_run("f")]).await;
    let mut before = lease_one(store, "w1", 0).await;
    for turn in 2..5 {
        let run = lease_one(store, "w2", 0).await;
        assert_eq!((run.id, run.epoch, run.attempt), (before.id, turn, turn as u32));
        // A late writer changes nothing and is told so.
        let held = before.held();
        assert_eq!(store.extend_leases(&[held], LONG_MS).await.unwrap(), [Extended::Lost]);
        let point = Point { held, number: 1, lease_ms: 0, snapshot: Some("{}".into()), effects: Some("{}".into()) };
        assert_eq!(store.mark_points(&[point]).await.unwrap(), [false]);
        assert_eq!(store.settle_runs(&[ended(&before)]).await.unwrap(), [false]);
        assert_eq!(store.queued_run(run.id).await.unwrap().unwrap(), run);
        assert!(store.run(run.id).await.unwrap().is_none());
        before = run;
    }
    // One that ran out and that nobody took is still good.
    assert_eq!(store.settle_runs(&[ended(&before)]).await.unwrap(), [true]);
}

async fn a_lease_is_kept_by_its_epoch(fixture: &Fixture) {
    let store = &*fixture.store;
    accept(store, &[new_run("f"), new_run("f")]).await;
    let runs = lease(store, "w1", 10, 0).await;
    let held: Vec<Held> = runs.iter().map(QueuedRun::held).collect();
    let stranger = Held { id: RunId::fresh(), epoch: 1 };
    let wrong = Held { epoch: held[0].epoch + 1, ..held[0] };
    let asked = [wrong, held[1], stranger, held[0], held[1]];
    let kept = store.extend_leases(&asked, LONG_MS).await.unwrap();
    assert_eq!(kept, [Extended::Lost, Extended::Kept, Extended::Lost, Extended::Kept, Extended::Kept]);
    assert!(lease(store, "w2", 10, LONG_MS).await.is_empty(), "both are kept");
    assert_eq!(store.cancel_run(held[0].id, &audit("f")).await.unwrap(), probity::store::queue::Cancelled::Wanted);
    let kept = store.extend_leases(&held, LONG_MS).await.unwrap();
    assert_eq!(kept, [Extended::CancelWanted, Extended::Kept]);
    assert!(store.extend_leases(&[], LONG_MS).await.unwrap().is_empty());
}

async fn points_are_kept_in_parts_and_fenced(fixture: &Fixture) {
    let store = &*fixture.store;
    accept(store, &[new_run("f")]).await;
    let run = lease_one(store, "w1", 0).await;
    let point = |snapshot: Option<&str>, effects: Option<&str>| Point {
        held: run.held(),
        number: 1,
        lease_ms: 0,
        snapshot: snapshot.map(str::to_owned),
        effects: effects.map(str::to_owned),
    };
    assert_eq!(store.mark_points(&[point(Some("[1]"), Some("{\"a\":1}"))]).await.unwrap(), [true]);
    assert_eq!(store.mark_points(&[point(None, Some("{\"a\":2}"))]).await.unwrap(), [true]);
    assert_eq!(store.mark_points(&[point(Some("[2]"), None), point(None, Some("{}"))]).await.unwrap(), [true, true]);
    let again = lease_one(store, "w2", 0).await;
    assert_eq!((again.point.as_deref(), again.effects.as_deref()), (Some("[2]"), Some("{}")));
    assert_eq!(store.mark_points(&[point(Some("[3]"), None)]).await.unwrap(), [false]);
    assert_eq!(store.queued_run(run.id).await.unwrap().unwrap().point.as_deref(), Some("[2]"));
    // What a person decided counts until the next point.
    let doubt = Outcome::Doubt { what: error("sent?") };
    assert_eq!(store.settle_runs(&[Settlement { held: again.held(), outcome: doubt }]).await.unwrap(), [true]);
    assert!(store.decide_run(run.id, Decision::Skip, &audit("f")).await.unwrap());
    assert_eq!(lease_one(store, "w3", 0).await.decision, Some(Decision::Skip));
    let third = lease_one(store, "w3", 0).await;
    assert_eq!((third.decision, third.point.as_deref()), (Some(Decision::Skip), Some("[2]")));
    let moved = Point { held: third.held(), number: 1, lease_ms: 0, snapshot: Some("[4]".into()), effects: None };
    assert_eq!(store.mark_points(&[moved]).await.unwrap(), [true]);
    assert_eq!(lease_one(store, "w3", 0).await.decision, None);
}

async fn a_point_that_arrives_after_a_later_one_changes_nothing(fixture: &Fixture) {
    let store = &*fixture.store;
    accept(store, &[new_run("f")]).await;
    let run = lease_one(store, "w1", 0).await;
    let point = |held: Held, number: i64, text: &str| Point {
        held,
        number,
        lease_ms: 0,
        snapshot: Some(text.into()),
        effects: None,
    };
    let stands = async || store.queued_run(run.id).await.unwrap().unwrap().point;
    assert_eq!(
        store.mark_points(&[point(run.held(), 7, "[7]"), point(run.held(), 6, "[6]")]).await.unwrap(),
        [true, true]
    );
    assert_eq!(stands().await.as_deref(), Some("[7]"));
    // Given up and sent again by the worker, the first try arrives late: the lease is its own, the point is old.
    assert_eq!(store.mark_points(&[point(run.held(), 5, "[5]")]).await.unwrap(), [true]);
    assert_eq!(stands().await.as_deref(), Some("[7]"));
    // The same one again is stored already.
    assert_eq!(store.mark_points(&[point(run.held(), 7, "[7]")]).await.unwrap(), [true]);
    // Another process counts from its own beginning.
    let next = lease_one(store, "w2", 0).await;
    assert_eq!(store.mark_points(&[point(next.held(), 1, "[1]")]).await.unwrap(), [true]);
    assert_eq!(stands().await.as_deref(), Some("[1]"));
}

async fn who_waits_is_woken(fixture: &Fixture) {
    let store = &*fixture.store;
    let mut wakes = store.wakes();
    accept(store, &[new_run("f")]).await;
    wakes.changed().await.unwrap();
    let run = lease_one(store, "w1", LONG_MS).await;
    wakes.mark_unchanged();
    store.settle_runs(&[Settlement { held: run.held(), outcome: Outcome::Released }]).await.unwrap();
    wakes.changed().await.unwrap();
    assert_eq!(store.queued_runs(&Default::default(), &PageRequest::default()).await.unwrap().items.len(), 1);
}

/// A message may be lost (the listener is still connecting, say), but not all of them.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_process_is_told_by_postgres() {
    let fixture = Fixture::postgres().await;
    let other = probity::store::open(&fixture.url, &probity::store::StoreOptions::default()).await.unwrap();
    let mut wakes = other.wakes();
    for _ in 0..200 {
        accept(&*fixture.store, &[new_run("f")]).await;
        if tokio::time::timeout(std::time::Duration::from_millis(100), wakes.changed()).await.is_ok() {
            return;
        }
    }
    panic!("the other process was never told");
}

fn named(run: &NewRun, epoch: i64) -> Held {
    Held { id: run.id, epoch }
}

async fn runs_are_leased_by_name_once_and_at_the_epoch_named(fixture: &Fixture) {
    let store = &*fixture.store;
    let runs = [new_run("f"), NewRun { priority: Priority::Interactive, ..new_run("f") }, new_run("f")];
    accept(store, &runs).await;
    let names = [named(&runs[0], 0), named(&runs[1], 0), named(&runs[2], 7), named(&new_run("f"), 0)];
    // A name that comes twice is one.
    let twice = [&names[..], &names[..]].concat();
    let told = store.lease_named("w1", &twice, &wanted(0, LONG_MS)).await.unwrap();
    let leased: BTreeSet<RunId> = ids(&told.leased).into_iter().collect();
    assert_eq!(leased, BTreeSet::from([runs[0].id, runs[1].id]));
    assert!(told.leased.iter().all(|run| (run.epoch, run.attempt, run.owner.as_deref()) == (1, 1, Some("w1"))));
    assert_eq!(told.held_back, [], "another epoch, or no such run");
    let again = store.lease_named("w2", &names, &wanted(0, LONG_MS)).await.unwrap();
    assert!(again.leased.is_empty() && again.held_back.is_empty(), "{again:?}");
    // Run out, it is leased by its next epoch alone.
    let first = told.leased.iter().find(|run| run.id == runs[0].id).unwrap();
    assert_eq!(store.extend_leases(&[first.held()], 0).await.unwrap(), [Extended::Kept]);
    assert!(store.lease_named("w2", &[named(&runs[0], 0)], &wanted(0, LONG_MS)).await.unwrap().leased.is_empty());
    let next = store.lease_named("w2", &[named(&runs[0], 1)], &wanted(0, LONG_MS)).await.unwrap();
    assert_eq!((next.leased.len(), next.leased[0].epoch, next.leased[0].attempt), (1, 2, 2));
    assert_eq!(store.settle_runs(&[ended(first)]).await.unwrap(), [false], "fenced off");
    assert_eq!(store.settle_runs(&[ended(&next.leased[0])]).await.unwrap(), [true]);
    let gone = store.lease_named("w2", &[named(&runs[0], 2)], &wanted(0, LONG_MS)).await.unwrap();
    assert!(gone.leased.is_empty() && gone.held_back.is_empty());
    assert!(store.lease_named("w2", &[], &wanted(0, LONG_MS)).await.unwrap().leased.is_empty());
}

async fn what_is_named_and_held_back_is_told(fixture: &Fixture) {
    let store = &*fixture.store;
    let late = NewRun { delay_ms: LONG_MS, ..new_run("f") };
    let runs = [new_run("paused"), late, new_run("f"), new_run("f"), new_run("g")];
    accept(store, &runs).await;
    assert!(store.pause_flow("paused", &audit("paused")).await.unwrap());
    let names: Vec<Held> = runs.iter().map(|run| named(run, 0)).collect();
    let capped = LeaseWanted { flow_caps: caps(&[("f", 1)]), ..wanted(0, LONG_MS) };
    let told = store.lease_named("w1", &names, &capped).await.unwrap();
    assert_eq!(told.leased.len(), 2, "one of f, and g: {told:?}");
    let back: BTreeSet<RunId> = told.held_back.iter().map(|held| held.id).collect();
    assert!(back.len() == 3 && back.is_superset(&BTreeSet::from([runs[0].id, runs[1].id])), "{told:?}");
    let versions = LeaseWanted { versions: Some(vec!["v2".into()]), ..wanted(0, LONG_MS) };
    assert!(store.lease_named("w1", &names, &versions).await.unwrap().leased.is_empty());
    assert!(store.resume_flow("paused", &audit("paused")).await.unwrap());
    let told = store.lease_named("w1", &names, &wanted(0, LONG_MS)).await.unwrap();
    assert_eq!((told.leased.len(), told.held_back), (2, vec![names[1]]));
}

async fn ready_runs_are_named_when_nobody_has_told_of_them(fixture: &Fixture) {
    let store = &*fixture.store;
    let late = NewRun { delay_ms: LONG_MS, ..new_run("f") };
    let bulk = NewRun { priority: Priority::Bulk, ..new_run("f") };
    let held = NewRun { lease_ms: Some(0), ..new_run("f") };
    store.accept_runs("w0", &[late, bulk.clone(), new_run("paused"), held.clone()]).await.unwrap();
    assert!(store.pause_flow("paused", &audit("paused")).await.unwrap());
    let names = async |max: u32, told_ms: u64| {
        let ready = store.ready_runs(&ReadyWanted { max, told_ms }).await.unwrap();
        ready.iter().map(|one| (one.id, one.epoch, one.priority)).collect::<Vec<_>>()
    };
    let ran_out = (held.id, FIRST_EPOCH, Priority::Normal);
    assert_eq!(names(10, LONG_MS).await, [ran_out], "who accepts tells of what is ready at once");
    assert_eq!(names(10, 0).await, [ran_out, (bulk.id, 0, Priority::Bulk)]);
    assert_eq!(names(0, 0).await, []);
    // Given back.
    let leased = store.lease_named("w1", &[named(&bulk, 0)], &wanted(0, LONG_MS)).await.unwrap().leased;
    assert_eq!(names(10, 0).await, [ran_out]);
    let released = Settlement { held: leased[0].held(), outcome: Outcome::Released };
    assert_eq!(store.settle_runs(&[released]).await.unwrap(), [true]);
    assert_eq!(names(10, LONG_MS).await, [ran_out, (bulk.id, 1, Priority::Bulk)]);
}
