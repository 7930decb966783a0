//! Due times when the clock is set, when the clocks change, and when a process is gone: on a clock moved by hand.

use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use probity::clock::Clock;
use probity::schedule::Options;
use probity::store::{ClaimKey, Due, Holder, How, PageRequest, Store, Tick};
use serde_json::{Value, json};

use super::schedule::{PLAIN, Running, stored, unfinished};
use super::{agreement, at, evaluator, in_process, two_teams, until, verdicts};
use crate::store::Fixture;

const SCHEDULE: &str = "flow/sched00000000000";

/// A schedule node that leads nowhere else.
fn node(cron: &str, zone: &str, catch_up: &str) -> String {
    json!([
        {"id": "tab0000000000000", "type": "tab", "label": "ticks"},
        {"id": "sched00000000000", "type": "schedule", "z": "tab0000000000000", "cron": cron, "timeZone": zone,
         "catchUp": catch_up, "x": 100, "y": 100, "wires": [["dbg0000000000000"]]},
        {"id": "dbg0000000000000", "type": "debug", "z": "tab0000000000000", "x": 300, "y": 100, "wires": []},
    ])
    .to_string()
}

fn replica(clock: &Clock, store: &Arc<dyn Store>, flow: &str, options: Options) -> Running {
    Running::start(evaluator(clock, store, Vec::new(), two_teams(Arc::default()), flow), options)
}

/// Oldest first.
async fn ticks(store: &Arc<dyn Store>) -> Vec<Tick> {
    let mut ticks = store.ticks(SCHEDULE, &PageRequest { limit: 1000, after: None }).await.unwrap().items;
    ticks.reverse();
    ticks
}

async fn due(store: &Arc<dyn Store>) -> Vec<String> {
    ticks(store).await.iter().map(|tick| tick.key.due_at.to_string()).collect()
}

async fn done(store: &Arc<dyn Store>, count: usize) {
    until(&format!("{count} due times are done"), async || {
        let ticks = ticks(store).await;
        ticks.len() == count && ticks.iter().all(|tick| tick.run.is_some())
    })
    .await;
}

/// Waits until the loop has come round again: it fires what is due at this instant.
async fn minute_by_minute(clock: &Clock, store: &Arc<dyn Store>, minutes: std::ops::Range<i64>, from: &str) {
    for minute in minutes {
        let due_at = at(from) + SignedDuration::from_mins(minute);
        clock.set(due_at);
        until("the minute is fired", async || ticks(store).await.iter().any(|tick| tick.key.due_at == due_at)).await;
    }
}

async fn set_forward(policy: &str) -> (Vec<String>, u64) {
    let fixture = Fixture::memory().await;
    let clock = Clock::manual(at("2026-05-01T09:59:30Z"));
    let running = replica(&clock, &fixture.store, &node("* * * * *", "UTC", policy), PLAIN);
    minute_by_minute(&clock, &fixture.store, 0..2, "2026-05-01T10:00:00Z").await;
    // The time of day is corrected by an hour and a half; or a machine slept.
    clock.step_to(at("2026-05-01T11:30:30Z"));
    clock.advance(Duration::from_secs(1));
    let left_out = match policy {
        "all" => 0,
        "last" => 88,
        _ => 89,
    };
    until("what is left out is counted", async || running.scheduler.punctuality().missed == left_out).await;
    minute_by_minute(&clock, &fixture.store, 31..32, "2026-05-01T11:00:00Z").await;
    done(&fixture.store, 3 + 89 - left_out as usize).await;
    let (due, missed) = (due(&fixture.store).await, running.scheduler.punctuality().missed);
    running.stop().await;
    (due, missed)
}

#[tokio::test]
async fn a_clock_set_forward_follows_the_catch_up_policy_and_counts_what_is_missed() {
    let minutes = |times: &[&str]| times.iter().map(|time| format!("2026-05-01T{time}:00Z")).collect::<Vec<_>>();
    assert_eq!(set_forward("skip").await, (minutes(&["10:00", "10:01", "11:31"]), 89));
    assert_eq!(set_forward("last").await, (minutes(&["10:00", "10:01", "11:30", "11:31"]), 88));
    let (all, missed) = set_forward("all").await;
    assert_eq!((all.len(), all[2].as_str(), missed), (92, "2026-05-01T10:02:00Z", 0));
}

#[tokio::test]
async fn a_clock_set_back_fires_nothing_twice_and_does_not_fall_silent() {
    let fixture = Fixture::sqlite().await;
    let clock = Clock::manual(at("2026-05-01T09:59:30Z"));
    let running = replica(&clock, &fixture.store, &node("* * * * *", "UTC", "last"), PLAIN);
    minute_by_minute(&clock, &fixture.store, 0..3, "2026-05-01T10:00:00Z").await;
    done(&fixture.store, 3).await;
    clock.step_to(at("2026-05-01T09:58:30Z"));
    clock.advance(Duration::from_secs(1));
    // 10:00 to 10:02 come a second time.
    minute_by_minute(&clock, &fixture.store, 0..5, "2026-05-01T10:00:00Z").await;
    done(&fixture.store, 5).await;
    assert_eq!(running.scheduler.punctuality().fired, 5);
    running.stop().await;
    let again: Vec<Tick> = ticks(&fixture.store).await;
    assert!(again.iter().all(|tick| tick.leases == 1), "{again:#?}");
}

#[tokio::test]
async fn both_changes_of_the_clocks_leave_nothing_out_and_fire_nothing_twice() {
    // A day and the night of the change; what comes due while the hand moves is not missed.
    let options = Options { late_ms: 300_000_000, ..PLAIN };
    for (cron, from, to, wanted) in [
        // Half past two does not come: the first instant after the gap stands for it.
        (
            "30 2 * * *",
            "2026-03-27T12:00:00Z",
            "2026-03-30T12:00:00Z",
            vec!["2026-03-28T01:30:00Z", "2026-03-29T01:00:00Z", "2026-03-30T00:30:00Z"],
        ),
        // It comes twice: the first one counts.
        (
            "30 2 * * *",
            "2026-10-23T12:00:00Z",
            "2026-10-26T12:00:00Z",
            vec!["2026-10-24T00:30:00Z", "2026-10-25T00:30:00Z", "2026-10-26T01:30:00Z"],
        ),
        // Each half hour is one, whatever it is called.
        (
            "*/30 * * * *",
            "2026-10-25T00:00:01Z",
            "2026-10-25T02:00:00Z",
            vec!["2026-10-25T00:30:00Z", "2026-10-25T01:00:00Z", "2026-10-25T01:30:00Z", "2026-10-25T02:00:00Z"],
        ),
    ] {
        let fixture = Fixture::memory().await;
        let clock = Clock::manual(at(from));
        let running = replica(&clock, &fixture.store, &node(cron, "Europe/Berlin", "last"), options);
        clock.set(at(to));
        done(&fixture.store, wanted.len()).await;
        assert_eq!(due(&fixture.store).await, wanted, "{cron} from {from}");
        running.stop().await;
    }
}

#[tokio::test]
async fn a_lease_that_runs_out_while_another_runs_is_taken_up_by_that_one() {
    let fixture = Fixture::sqlite().await;
    let clock = Clock::manual(at("2026-03-01T10:30:00Z"));
    let agreements = vec![agreement("sla", in_process(), Value::Null)];
    let evaluator = evaluator(&clock, &fixture.store, agreements, two_teams(Arc::default()), "[]");
    let running = Running::start(evaluator, Options { first_windows_max: 1, ..PLAIN });
    stored(&fixture.store, 2).await;
    // Somebody who is gone by now had begun it.
    unfinished(&fixture.store, ClaimKey { schedule: "agreement/sla".into(), due_at: at("2026-03-01T08:00:00Z") }).await;
    until("it is taken up", async || {
        clock.advance(Duration::from_millis(500));
        verdicts(&fixture.store).await.len() == 4
    })
    .await;
    assert!(fixture.store.open_claims().await.unwrap().is_empty());
    assert_eq!(running.scheduler.punctuality().taken_up, 1);
    running.stop().await;
}

#[tokio::test]
async fn what_another_holds_is_left_to_it() {
    let fixture = Fixture::memory().await;
    let clock = Clock::manual(at("2026-05-01T09:59:30Z"));
    let theirs = Due {
        key: ClaimKey { schedule: SCHEDULE.into(), due_at: at("2026-05-01T10:00:00Z") },
        how: How::Live,
        at: at("2026-05-01T10:00:00Z"),
    };
    let held = fixture.store.claim(&theirs, Holder { owner: "them", lease_ms: 3_600_000 }).await.unwrap();
    assert!(held.is_some());
    let running = replica(&clock, &fixture.store, &node("* * * * *", "UTC", "last"), PLAIN);
    clock.set(at("2026-05-01T10:00:00Z"));
    minute_by_minute(&clock, &fixture.store, 1..3, "2026-05-01T10:00:00Z").await;
    until("the next ones are done", async || {
        ticks(&fixture.store).await.iter().filter(|t| t.run.is_some()).count() == 2
    })
    .await;
    let found = ticks(&fixture.store).await;
    assert_eq!((found[0].owner.as_deref(), found[0].run, found[0].leases), (Some("them"), None, 1));
    assert!(found[1].overlapping && running.scheduler.punctuality().overlapping > 0, "the one before is under way");
    running.stop().await;
}

#[tokio::test]
async fn one_notices_what_is_due_and_another_does_it() {
    let fixture = Fixture::memory().await;
    let clock = Clock::manual(at("2026-05-01T09:59:30Z"));
    let flow = node("* * * * *", "UTC", "last");
    let scheduler = replica(&clock, &fixture.store, &flow, Options { works: false, ..PLAIN });
    minute_by_minute(&clock, &fixture.store, 0..2, "2026-05-01T10:00:00Z").await;
    let made: Vec<Option<Timestamp>> = ticks(&fixture.store).await.iter().map(|tick| tick.started_at).collect();
    assert_eq!(made, [None, None], "nobody works yet");
    let worker = replica(&clock, &fixture.store, &flow, Options { notices: false, ..PLAIN });
    done(&fixture.store, 2).await;
    minute_by_minute(&clock, &fixture.store, 2..3, "2026-05-01T10:00:00Z").await;
    until("the worker finds it", async || {
        clock.advance(Duration::from_millis(500));
        ticks(&fixture.store).await.iter().all(|tick| tick.run.is_some())
    })
    .await;
    assert_eq!(scheduler.scheduler.punctuality().fired, 0);
    assert_eq!(worker.scheduler.punctuality().fired, 3);
    scheduler.stop().await;
    worker.stop().await;
}
