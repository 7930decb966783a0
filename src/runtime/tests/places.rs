//! Runs that wait for a place: who goes first, who is not begun, what a shutdown does.

use super::*;
use crate::runtime::places::{Gate, PlaceLimits};

fn limited(concurrency: usize, waiting_max: usize, clock: &Clock) -> (Arc<Engine>, Outputs) {
    let limits = Limits { places: PlaceLimits { waiting_max, ..PlaceLimits::default() }, ..Limits::default() };
    let nodes = vec![node("w", "waits", &[&[1]]), node("p", "pass", &[])];
    let (engine, outputs) = engine(Vec::new(), clock.clone(), limits);
    let flow = PlanFlow { concurrency: Some(concurrency), ..tab() };
    engine.deploy(Plan { nodes, flows: vec![flow], ..Plan::default() });
    (engine, outputs)
}

fn manual() -> Clock {
    Clock::manual("2026-01-01T00:00:00Z".parse().unwrap())
}

fn named(name: &str) -> Msg {
    let mut msg = Msg::new();
    msg.set("wait", 1_000.0);
    msg.set("seen", format!("{name} "));
    msg
}

fn http() -> Trigger {
    Trigger::Http { method: "GET".into(), path: "/".into() }
}

async fn settle() {
    for _ in 0..50 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn calls_pass_what_evaluations_ask_for() {
    let clock = manual();
    let (engine, outputs) = limited(1, 100, &clock);
    let metric = || Trigger::Metric { evaluation: RunId::fresh() };
    let cron = || Trigger::Cron { schedule: "s".into(), due_at: clock.now() };
    let mut callers = Vec::new();
    let arrivals =
        [("metric 1", metric()), ("metric 2", metric()), ("cron", cron()), ("call 1", http()), ("call 2", http())];
    for (at, (name, trigger)) in arrivals.into_iter().enumerate() {
        let deployed = engine.current();
        let (msg, deadline) = (named(name), Duration::from_secs(3_600));
        callers.push(tokio::spawn(async move { deployed.call(0, Start::Deliver, msg, trigger, deadline).await }));
        settle().await;
        let waiting = engine.services.places.report()[0].2;
        assert_eq!(waiting, at, "{name} has come");
    }
    assert_eq!(engine.open_runs(), 1, "who waits is not begun");
    for _ in 0..5 {
        clock.advance(Duration::from_secs(1));
        settle().await;
    }
    assert_eq!(seen(&outputs), ["metric 1 p", "call 1 p", "call 2 p", "cron p", "metric 2 p"]);
    for caller in callers {
        assert!(caller.await.unwrap().is_ok(), "each had its turn");
    }
    assert!(engine.services.places.report().is_empty());
}

#[tokio::test]
async fn a_caller_for_whom_there_is_no_place_in_time_is_not_begun() {
    let clock = manual();
    let (engine, outputs) = limited(1, 1, &clock);
    let call = |name: &str, seconds| {
        let (deployed, msg) = (engine.current(), named(name));
        tokio::spawn(async move { deployed.call(0, Start::Deliver, msg, http(), Duration::from_secs(seconds)).await })
    };
    let long = Msg::new();
    let mut long = long;
    long.set("wait", 10_000.0);
    let opening = Opening { node: 0, start: Start::Deliver, msg: long, trigger: http(), reply: None };
    engine.current().spawn(opening).unwrap();
    let late = call("late", 5);
    settle().await;
    let refused = call("refused", 5).await.unwrap().err().expect("one waits already");
    assert!(refused.is_callers_own() && refused.to_string().contains("too many wait"), "{refused}");
    clock.advance(Duration::from_secs(5));
    settle().await;
    let late = late.await.unwrap().err().expect("its time was up");
    assert!(late.is_callers_own() && late.to_string().contains("in time"), "{late}");
    clock.advance(Duration::from_secs(60));
    settle().await;
    assert_eq!(seen(&outputs).len(), 1, "the late one never ran");
    assert_eq!(engine.open_runs(), 0);
}

#[tokio::test]
async fn runs_without_a_caller_wait_and_a_shutdown_begins_none_of_them() {
    let clock = manual();
    let (engine, outputs) = limited(1, 2, &clock);
    let open = |name: &str| {
        let trigger = Trigger::Inject { node: "i".into() };
        engine.current().spawn(Opening { node: 0, start: Start::Deliver, msg: named(name), trigger, reply: None })
    };
    let ids: Vec<RunId> = ["first", "second", "third"].map(|name| open(name).unwrap()).into();
    assert!(open("fourth").is_err());
    settle().await;
    assert_eq!(engine.services.places.report(), [(Gate::Flow("tab".into()), 1, 2)]);
    clock.advance(Duration::from_secs(1));
    settle().await;
    assert_eq!(seen(&outputs), ["first p"]);
    let drained = tokio::spawn({
        let engine = engine.clone();
        async move { engine.drain(Duration::from_millis(10)).await }
    });
    settle().await;
    clock.advance(Duration::from_millis(10));
    assert_eq!(drained.await.unwrap(), 2);
    assert_eq!(seen(&outputs), ["first p"]);
    let third = engine.services.history.find(ids[2]).unwrap();
    assert_eq!((third.state, third.hops), (RunState::Stopped, 0));
}
