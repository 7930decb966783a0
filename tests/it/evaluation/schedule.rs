//! Every due window is judged once, whoever runs, whatever was missed.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use probity::clock::Clock;
use probity::evaluate::Evaluator;
use probity::model::state::Verdict;
use probity::schedule::{Options, Scheduler};
use probity::store::{ClaimKey, Due, Holder, Holding, How, RunQuery, Store};
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::{agreement, at, evaluator, in_process, two_teams, until, verdicts};
use crate::store::Fixture;

pub const PLAIN: Options =
    Options { provisional_ms: 0, first_windows_max: 3, notices: true, works: true, poll_ms: 500, late_ms: 60_000 };

/// The leases of a process of its own; long ones, for nothing extends them.
pub fn holding(evaluator: &Evaluator) -> Arc<Holding> {
    let clock = evaluator.engine.services.clock.clone();
    Holding::new(evaluator.store.clone(), clock, uuid::Uuid::new_v4().to_string(), 600_000)
}

/// A due time that somebody began and did not finish: its lease is over.
pub async fn unfinished(store: &Arc<dyn Store>, key: ClaimKey) {
    let due = Due { at: key.due_at, key, how: How::Live };
    let claimed = store.claim(&due, Holder { owner: "somebody", lease_ms: 0 }).await.unwrap();
    assert!(claimed.is_some(), "nobody had it before");
}

/// A scheduler under way; stopped by [`Running::stop`].
pub struct Running {
    stop: watch::Sender<bool>,
    task: JoinHandle<()>,
    pub scheduler: Arc<Scheduler>,
}

impl Running {
    pub fn start(evaluator: Arc<Evaluator>, options: Options) -> Running {
        let holding = holding(&evaluator);
        let (scheduler, problems) = Scheduler::new(evaluator, holding, options);
        assert_eq!(problems, Vec::<String>::new());
        let scheduler = Arc::new(scheduler);
        let (stop, mut stopped) = watch::channel(false);
        let task = tokio::spawn(scheduler.clone().run(async move {
            stopped.wait_for(|s| *s).await.ok();
        }));
        Running { stop, task, scheduler }
    }

    pub async fn stop(self) {
        self.stop.send_replace(true);
        self.task.await.unwrap();
    }
}

pub async fn stored(store: &Arc<dyn Store>, count: usize) {
    until(&format!("{count} verdicts are stored"), async || verdicts(store).await.len() == count).await;
}

/// Hours of the day whose windows have verdicts.
async fn hours(store: &Arc<dyn Store>) -> Vec<i8> {
    let utc = jiff::tz::TimeZone::UTC;
    let mut hours: Vec<i8> =
        verdicts(store).await.iter().map(|s| s.state.window.from.to_zoned(utc.clone()).hour()).collect();
    hours.dedup();
    hours
}

async fn runs(store: &Arc<dyn Store>) -> usize {
    store.runs(&RunQuery::default(), &Default::default()).await.unwrap().items.len()
}

#[tokio::test]
async fn the_first_start_judges_the_last_closed_windows_and_the_next_start_nothing_again() {
    for fixture in [Fixture::memory().await, Fixture::sqlite().await] {
        let clock = Clock::manual(at("2026-03-01T10:30:00Z"));
        let asked = Arc::new(AtomicU64::new(0));
        let agreements = vec![agreement("sla", in_process(), Value::Null)];
        let evaluator = evaluator(&clock, &fixture.store, agreements, two_teams(asked.clone()), "[]");
        let running = Running::start(evaluator.clone(), PLAIN);
        stored(&fixture.store, 6).await;
        running.stop().await;
        let found = verdicts(&fixture.store).await;
        assert_eq!(hours(&fixture.store).await, [7, 8, 9]);
        assert_eq!(found[0].state.verdict, Some(Verdict::Fulfilled));
        assert_eq!(found[1].state.verdict, Some(Verdict::Violated));
        assert!(!found[0].state.provisional);
        let before = (asked.load(Ordering::SeqCst), runs(&fixture.store).await);
        let running = Running::start(evaluator, PLAIN);
        running.stop().await;
        assert_eq!((asked.load(Ordering::SeqCst), runs(&fixture.store).await), before);
        assert!(fixture.store.open_claims().await.unwrap().is_empty());
    }
}

#[tokio::test]
async fn a_changed_agreement_is_judged_again_at_the_next_start() {
    let fixture = Fixture::sqlite().await;
    let clock = Clock::manual(at("2026-03-01T10:30:00Z"));
    let start = |extra: Value| {
        let agreements = vec![agreement("sla", in_process(), extra)];
        Running::start(evaluator(&clock, &fixture.store, agreements, two_teams(Arc::default()), "[]"), PLAIN)
    };
    let running = start(Value::Null);
    stored(&fixture.store, 6).await;
    running.stop().await;
    let running = start(json!({"version": "1.1.0"}));
    let revised = async || verdicts(&fixture.store).await.iter().filter(|s| s.revision == 2).count() == 2;
    until("the last closed window has a second revision", revised).await;
    running.stop().await;
    let revisions: Vec<u32> = verdicts(&fixture.store).await.iter().map(|s| s.revision).collect();
    assert_eq!(revisions, [1, 1, 1, 1, 2, 2]);
}

#[tokio::test]
async fn a_window_is_judged_when_it_closes_by_exactly_one_of_two_replicas() {
    let fixture = Fixture::memory().await;
    let clock = Clock::manual(at("2026-03-01T10:30:00Z"));
    let replica = || {
        let agreements = vec![agreement("sla", in_process(), Value::Null)];
        evaluator(&clock, &fixture.store, agreements, two_teams(Arc::default()), "[]")
    };
    let one = Running::start(replica(), PLAIN);
    let two = Running::start(replica(), PLAIN);
    stored(&fixture.store, 6).await;
    for (i, hour) in ["11:00:00", "12:00:00", "13:00:00"].iter().enumerate() {
        clock.set(at(&format!("2026-03-01T{hour}Z")));
        stored(&fixture.store, 6 + 2 * (i + 1)).await;
    }
    assert_eq!(hours(&fixture.store).await, [7, 8, 9, 10, 11, 12]);
    let fired = || one.scheduler.fired.load(Ordering::SeqCst) + two.scheduler.fired.load(Ordering::SeqCst);
    assert_eq!(fired(), 4);
    one.stop().await;
    two.stop().await;
    assert_eq!(runs(&fixture.store).await, 4);
    assert!(verdicts(&fixture.store).await.iter().all(|s| s.revision == 1));
}

#[tokio::test]
async fn a_claim_without_its_evaluation_is_taken_up_at_the_next_start() {
    let fixture = Fixture::sqlite().await;
    let due_at = at("2026-03-01T10:00:00Z");
    let claim = ClaimKey { schedule: "agreement/sla".into(), due_at };
    unfinished(&fixture.store, claim).await;
    let clock = Clock::manual(at("2026-03-01T10:30:00Z"));
    let agreements = vec![agreement("sla", in_process(), Value::Null)];
    let running = Running::start(evaluator(&clock, &fixture.store, agreements, two_teams(Arc::default()), "[]"), PLAIN);
    stored(&fixture.store, 6).await;
    running.stop().await;
    assert!(fixture.store.open_claims().await.unwrap().is_empty());
}

#[tokio::test]
async fn open_windows_are_provisional_until_they_close() {
    let fixture = Fixture::memory().await;
    let clock = Clock::manual(at("2026-03-01T10:30:00Z"));
    let agreements = vec![agreement("sla", in_process(), Value::Null)];
    let options = Options { provisional_ms: 60_000, first_windows_max: 1, ..PLAIN };
    let running =
        Running::start(evaluator(&clock, &fixture.store, agreements, two_teams(Arc::default()), "[]"), options);
    stored(&fixture.store, 4).await;
    let open = async |wanted: bool| {
        let found = verdicts(&fixture.store).await;
        found
            .iter()
            .filter(|s| s.state.window.from == at("2026-03-01T10:00:00Z"))
            .all(|s| s.state.provisional == wanted)
    };
    assert!(open(true).await);
    clock.set(at("2026-03-01T11:00:00Z"));
    until("the window that closed is final", async || open(false).await).await;
    running.stop().await;
}

async fn caught_up(policy: &str) -> Vec<i8> {
    let fixture = Fixture::memory().await;
    let own =
        json!({"context": {"x-probity": {"schedule": {"cron": "0 * * * *", "timeZone": "UTC", "catchUp": policy}}}});
    let clock = Clock::manual(at("2026-03-01T04:30:00Z"));
    let start = |clock: &Clock| {
        let agreements = vec![agreement("sla", in_process(), own.clone())];
        Running::start(
            evaluator(clock, &fixture.store, agreements, two_teams(Arc::default()), "[]"),
            Options { first_windows_max: 1, ..PLAIN },
        )
    };
    let running = start(&clock);
    stored(&fixture.store, 2).await;
    running.stop().await;
    // Down from 04:30 to 08:30: firings at 5, 6, 7 and 8 are missed.
    clock.set(at("2026-03-01T08:30:00Z"));
    let running = start(&clock);
    let expected = match policy {
        "skip" => 2,
        "last" => 4,
        _ => 10,
    };
    stored(&fixture.store, expected).await;
    running.stop().await;
    hours(&fixture.store).await
}

#[tokio::test]
async fn missed_firings_follow_the_catch_up_policy() {
    assert_eq!(caught_up("skip").await, [3]);
    assert_eq!(caught_up("last").await, [3, 7]);
    assert_eq!(caught_up("all").await, [3, 4, 5, 6, 7]);
}

#[tokio::test]
async fn a_daily_schedule_judges_all_windows_that_closed_since_the_day_before() {
    let fixture = Fixture::memory().await;
    let own =
        json!({"context": {"x-probity": {"schedule": {"cron": "30 2 * * *", "timeZone": "UTC", "catchUp": "last"}}}});
    let clock = Clock::manual(at("2026-03-01T04:00:00Z"));
    let agreements = vec![agreement("sla", in_process(), own)];
    let evaluator = evaluator(&clock, &fixture.store, agreements, two_teams(Arc::default()), "[]");
    let running = Running::start(evaluator, Options { first_windows_max: 1, ..PLAIN });
    stored(&fixture.store, 2).await;
    clock.set(at("2026-03-02T02:30:00Z"));
    stored(&fixture.store, 2 + 48).await;
    running.stop().await;
}

/// `sla` with a cron schedule of its own.
fn daily(catch_up: &str) -> Value {
    json!({"context": {"x-probity": {"schedule": {"cron": "30 2 * * *", "timeZone": "UTC", "catchUp": catch_up}}}})
}

#[tokio::test]
async fn the_first_firing_judges_all_windows_too_that_closed_since_the_one_before() {
    let fixture = Fixture::memory().await;
    // Nothing has closed yet at the first start.
    let clock = Clock::manual(at("2026-01-01T00:30:00Z"));
    let agreements = vec![agreement("sla", in_process(), daily("last"))];
    let evaluator = evaluator(&clock, &fixture.store, agreements, two_teams(Arc::default()), "[]");
    let running = Running::start(evaluator, Options { first_windows_max: 1, late_ms: 200_000_000, ..PLAIN });
    until("the firing of the day before is done", async || runs(&fixture.store).await == 1).await;
    clock.set(at("2026-01-02T02:30:00Z"));
    stored(&fixture.store, 2 * 26).await;
    running.stop().await;
}

/// Down at the second firing, which has (or has not) been claimed: the third start judges what that firing would have.
async fn after_a_missed_firing(claimed: bool) -> usize {
    let fixture = Fixture::sqlite().await;
    let clock = Clock::manual(at("2026-03-01T04:00:00Z"));
    let start = || {
        let agreements = vec![agreement("sla", in_process(), daily("last"))];
        let evaluator = evaluator(&clock, &fixture.store, agreements, two_teams(Arc::default()), "[]");
        Running::start(evaluator, Options { first_windows_max: 1, ..PLAIN })
    };
    let running = start();
    stored(&fixture.store, 2).await;
    running.stop().await;
    let due_at = at("2026-03-02T02:30:00Z");
    if claimed {
        let claim = ClaimKey { schedule: "agreement/sla".into(), due_at };
        unfinished(&fixture.store, claim).await;
    }
    clock.set(at("2026-03-02T04:00:00Z"));
    let running = start();
    until("both firings are done", async || runs(&fixture.store).await == 2).await;
    running.stop().await;
    verdicts(&fixture.store).await.len()
}

#[tokio::test]
async fn a_firing_made_up_for_judges_all_its_windows() {
    assert_eq!(after_a_missed_firing(false).await, 2 + 48);
    assert_eq!(after_a_missed_firing(true).await, 2 + 48);
}

#[tokio::test]
async fn a_leap_day_two_years_ago_is_the_latest_firing() {
    let fixture = Fixture::memory().await;
    let own = json!({"context": {"x-probity": {"schedule": {"cron": "0 0 29 2 *", "timeZone": "UTC"}}}});
    let clock = Clock::manual(at("2030-03-01T00:00:00Z"));
    let agreements = vec![agreement("sla", in_process(), own)];
    let running = Running::start(evaluator(&clock, &fixture.store, agreements, two_teams(Arc::default()), "[]"), PLAIN);
    until("the leap day's firing is done", async || runs(&fixture.store).await == 1).await;
    running.stop().await;
    let leap_day = Some(at("2028-02-29T00:00:00Z"));
    assert_eq!(fixture.store.last_claim("agreement/sla").await.unwrap(), leap_day);
}

#[tokio::test]
async fn an_evaluation_that_keeps_failing_does_not_hold_up_the_others() {
    let fixture = Fixture::memory().await;
    let clock = Clock::manual(at("2026-03-01T10:30:00Z"));
    let mut many = agreement("many", in_process(), Value::Null).document.clone();
    let guarantee = many["terms"]["guarantees"][0].clone();
    let guarantees = ["A", "B", "C"].map(|id| {
        let mut one = guarantee.clone();
        one["id"] = id.into();
        one
    });
    many["terms"]["guarantees"] = json!(guarantees);
    let many = Arc::new(probity::agreement::load(&many.to_string(), "test").0.unwrap());
    let agreements = vec![many, agreement("sla", in_process(), Value::Null)];
    // Three windows in one evaluation are too many.
    let evaluator = super::evaluator_of(&clock, &fixture.store, agreements, two_teams(Arc::default()), "[]", 2);
    let running = Running::start(evaluator, Options { first_windows_max: 1, ..PLAIN });
    until("one evaluation has failed", async || running.scheduler.failed.load(Ordering::SeqCst) > 0).await;
    stored(&fixture.store, 2).await;
    clock.set(at("2026-03-01T11:00:00Z"));
    stored(&fixture.store, 4).await;
    running.stop().await;
    assert!(!fixture.store.open_claims().await.unwrap().is_empty(), "what failed is taken up at the next start");
}

#[tokio::test]
async fn flows_that_take_their_time_do_not_hold_up_evaluations() {
    let node = |n: usize, kind: &str, more: Value| {
        let mut node = json!({"id": format!("{kind}{n:016}"), "type": kind, "z": "tab0000000000000", "x": 1, "y": 1});
        super::merge(&mut node, more);
        node
    };
    let mut flow = vec![json!({"id": "tab0000000000000", "type": "tab", "label": "slow"})];
    for n in 0..6 {
        let wires = json!([[format!("delay{n:016}")]]);
        flow.push(node(n, "schedule", json!({"cron": "59 10 * * *", "timeZone": "UTC", "wires": wires})));
        let pause = json!({"pauseType": "delay", "timeout": "5", "timeoutUnits": "minutes", "wires": [[]]});
        flow.push(node(n, "delay", pause));
    }
    let fixture = Fixture::memory().await;
    let clock = Clock::manual(at("2026-03-01T10:30:00Z"));
    let agreements = vec![agreement("sla", in_process(), Value::Null)];
    let evaluator = evaluator(&clock, &fixture.store, agreements, two_teams(Arc::default()), &json!(flow).to_string());
    let running = Running::start(evaluator, Options { first_windows_max: 1, ..PLAIN });
    stored(&fixture.store, 2).await;
    clock.set(at("2026-03-01T10:59:00Z"));
    until("six flows wait", async || running.scheduler.fired.load(Ordering::SeqCst) == 7).await;
    clock.set(at("2026-03-01T11:00:00Z"));
    stored(&fixture.store, 4).await;
    clock.set(at("2026-03-01T11:04:00Z"));
    running.stop().await;
    assert!(fixture.store.open_claims().await.unwrap().is_empty());
}

#[tokio::test]
async fn an_agreement_without_an_open_window_leaves_no_trace_each_minute() {
    let fixture = Fixture::memory().await;
    let clock = Clock::manual(at("2026-03-01T10:30:00Z"));
    let ended = json!({"context": {"validity": {"end": "2026-02-01T00:00:00Z"}}});
    let agreements = vec![agreement("ended", in_process(), ended), agreement("sla", in_process(), Value::Null)];
    let options = Options { provisional_ms: 60_000, first_windows_max: 1, ..PLAIN };
    let running =
        Running::start(evaluator(&clock, &fixture.store, agreements, two_teams(Arc::default()), "[]"), options);
    let of = async |id: &str| {
        let query = RunQuery { subject: Some(id.into()), ..Default::default() };
        fixture.store.runs(&query, &Default::default()).await.unwrap().items.len()
    };
    for minute in 1..4 {
        until("the open window is judged", async || of("sla").await == 1 + minute).await;
        clock.advance(std::time::Duration::from_secs(60));
    }
    running.stop().await;
    assert_eq!(of("ended").await, 1);
}

#[tokio::test]
async fn a_schedule_node_opens_one_run_for_each_due_time() {
    let flow = json!([
        {"id": "tab0000000000000", "type": "tab", "label": "nightly"},
        {"id": "sched00000000000", "type": "schedule", "z": "tab0000000000000", "cron": "0 3 * * *",
         "timeZone": "Europe/Madrid", "catchUp": "last", "x": 100, "y": 100, "wires": [["dbg0000000000000"]]},
        {"id": "dbg0000000000000", "type": "debug", "z": "tab0000000000000", "x": 300, "y": 100, "wires": []},
    ]);
    let fixture = Fixture::sqlite().await;
    let clock = Clock::manual(at("2026-03-28T12:00:00Z"));
    let evaluator = evaluator(&clock, &fixture.store, Vec::new(), two_teams(Arc::default()), &flow.to_string());
    let running = Running::start(evaluator, PLAIN);
    // 03:00 in Madrid is 01:00 UTC once summer time has come.
    clock.set(at("2026-03-29T01:00:00Z"));
    until("the firing is complete", async || running.scheduler.fired.load(Ordering::SeqCst) == 1).await;
    running.stop().await;
    let schedule = "flow/sched00000000000";
    assert_eq!(fixture.store.last_claim(schedule).await.unwrap(), Some(at("2026-03-29T01:00:00Z")));
    assert!(fixture.store.open_claims().await.unwrap().is_empty());
}

#[test]
fn a_bad_override_is_told_with_its_place() {
    let mut document = agreement("sla", in_process(), Value::Null).document.clone();
    super::merge(&mut document, json!({"context": {"x-probity": {"schedule": {"cron": "61 * * * *"}}}}));
    let (_, diagnostics) = probity::agreement::load(&document.to_string(), "test");
    let told = diagnostics.iter().find(|d| d.code == "bad-cron").expect("a bad cron is a problem");
    assert!(told.path.contains("schedule.cron"), "{}", told.path);
}
