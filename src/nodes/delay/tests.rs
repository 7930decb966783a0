//! Delays and rates, on a clock moved by hand.

use super::super::rig::{Rig, msg, node};
use super::*;
use crate::model::run::Trigger;
use crate::runtime::Event;

fn rig(config: &str) -> Rig {
    let rig = Rig::new(vec![node("d", "delay", config, &[])]);
    assert_eq!(rig.problems(), []);
    rig
}

fn send(rig: &Rig, message: &str) {
    tokio::spawn(rig.open(0, msg(message), Trigger::Inject { node: "x".into() }));
}

/// Moves the clock second by second; gives what left in each second.
async fn seconds(rig: &Rig, n: usize) -> Vec<String> {
    let mut out = Vec::new();
    rig.settle().await;
    out.push(rig.take_payloads().join(" "));
    for _ in 0..n {
        rig.advance(Duration::from_secs(1)).await;
        out.push(rig.take_payloads().join(" "));
    }
    out
}

#[tokio::test]
async fn a_fixed_delay_in_each_unit() {
    for (timeout, units, ms) in [
        ("1500", "milliseconds", 1_500),
        ("2", "seconds", 2_000),
        ("1", "minutes", 60_000),
        ("2", "hours", 7_200_000),
        ("1", "days", 86_400_000),
    ] {
        let rig = rig(&format!(r#"{{"pauseType":"delay","timeout":"{timeout}","timeoutUnits":"{units}"}}"#));
        send(&rig, r#"{"payload":1}"#);
        rig.advance(Duration::from_millis(ms - 1)).await;
        assert!(rig.take().is_empty(), "{units}");
        rig.advance(Duration::from_millis(1)).await;
        assert_eq!(rig.take(), [r#"{"payload":1}"#], "{units}");
        assert_eq!(rig.engine.open_runs(), 0);
    }
}

/// Each of them is a task of its own, and the tasks have several threads to run on.
#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn a_flush_lets_messages_of_several_runs_go_in_their_order() {
    const COUNT: usize = 40;
    for flush in ["true", "40"] {
        let rig = rig(r#"{"pauseType":"delay","timeout":"1","timeoutUnits":"hours"}"#);
        for n in 0..COUNT {
            send(&rig, &format!(r#"{{"payload":{n}}}"#));
            let depth = (n + 1).to_string();
            let waits = |event: &Event| matches!(event, Event::Status { status, .. } if status.text == depth.as_str());
            while !rig.events().iter().any(waits) {
                tokio::task::yield_now().await;
            }
        }
        send(&rig, &format!(r#"{{"flush":{flush}}}"#));
        while rig.out().len() < COUNT {
            tokio::task::yield_now().await;
        }
        let order: Vec<String> = (0..COUNT).map(|n| n.to_string()).collect();
        assert_eq!(rig.take_payloads(), order, "flush {flush}");
    }
}

/// What one run sends at one instant goes on as it came.
#[tokio::test]
async fn messages_of_one_run_keep_their_order() {
    let split = || node("s", "split", "{}", &[&[1]]);
    let list: Vec<u32> = (0..40).collect();
    let message = format!(r#"{{"payload":{list:?}}}"#);
    let expected: Vec<String> = list.iter().map(u32::to_string).collect();
    for config in [
        r#"{"pauseType":"delay","timeout":"1","timeoutUnits":"seconds"}"#,
        r#"{"pauseType":"rate","rate":"100","rateUnits":"second"}"#,
    ] {
        let rig = Rig::new(vec![split(), node("d", "delay", config, &[])]);
        send(&rig, &message);
        rig.advance(Duration::from_secs(1)).await;
        assert_eq!(rig.take_payloads(), expected, "{config}");
        assert_eq!(rig.engine.open_runs(), 0);
    }
    // Who comes later but waits less does not wait for the others.
    let rig = Rig::new(vec![
        node("s", "split", "{}", &[&[1]]),
        node("c", "change", r#"{"rules":[{"t":"set","p":"delay","to":"payload","tot":"msg"}]}"#, &[&[2]]),
        node("d", "delay", r#"{"pauseType":"delayv","timeout":"9"}"#, &[]),
    ]);
    send(&rig, r#"{"payload":[3000,1000,2000]}"#);
    assert_eq!(seconds(&rig, 3).await, ["", "1000", "2000", "3000"]);
}

#[tokio::test]
async fn the_message_may_say_how_long() {
    let rig = rig(r#"{"pauseType":"delayv","timeout":"5","timeoutUnits":"seconds"}"#);
    for message in
        [r#"{"payload":"a","delay":2000}"#, r#"{"payload":"b","delay":"x"}"#, r#"{"payload":"c","delay":-1}"#]
    {
        send(&rig, message);
    }
    assert_eq!(seconds(&rig, 5).await, ["\"c\"", "", "\"a\"", "", "", "\"b\""]);
}

#[tokio::test]
async fn a_random_delay_lies_between_its_bounds() {
    let rig = rig(r#"{"pauseType":"random","randomFirst":"2","randomLast":"4","randomUnits":"seconds"}"#);
    for i in 0..50 {
        send(&rig, &format!(r#"{{"payload":{i}}}"#));
    }
    let out = seconds(&rig, 5).await;
    assert!(out[..2].iter().all(String::is_empty), "{out:?}");
    assert_eq!(out.iter().flat_map(|s| s.split_whitespace()).count(), 50);
    assert!(out[5].is_empty(), "{out:?}");
}

#[tokio::test]
async fn waiting_messages_can_be_dropped_or_let_go() {
    for timeout in [10, 10_000] {
        let rig = rig(&format!(r#"{{"pauseType":"delay","timeout":"{timeout}","timeoutUnits":"seconds"}}"#));
        for i in 1..=3 {
            send(&rig, &format!(r#"{{"payload":{i}}}"#));
        }
        rig.settle().await;
        send(&rig, r#"{"_msgid":"f","flush":2}"#);
        rig.settle().await;
        assert_eq!(rig.take_payloads(), ["1", "2"], "{timeout}");
        send(&rig, r#"{"_msgid":"r","reset":true}"#);
        rig.advance(Duration::from_secs(timeout)).await;
        assert!(rig.take().is_empty());
        assert_eq!(rig.engine.open_runs(), 0);
    }
}

#[tokio::test]
async fn a_rate_spreads_messages_evenly() {
    let rig = rig(r#"{"pauseType":"rate","rate":"1","nbRateUnits":"2","rateUnits":"second"}"#);
    for i in 1..=3 {
        send(&rig, &format!(r#"{{"payload":{i}}}"#));
    }
    assert_eq!(seconds(&rig, 6).await, ["1", "", "2", "", "3", "", ""]);
    send(&rig, r#"{"payload":4}"#);
    assert_eq!(seconds(&rig, 0).await, ["4"]);
}

#[tokio::test]
async fn a_rate_may_be_jumped_flushed_reset_and_changed() {
    let rig = rig(r#"{"pauseType":"rate","rate":"1","rateUnits":"second","allowrate":true}"#);
    for message in [r#"{"payload":1}"#, r#"{"payload":2}"#, r#"{"payload":3}"#, r#"{"payload":0,"toFront":true}"#] {
        send(&rig, message);
        rig.settle().await;
    }
    assert_eq!(seconds(&rig, 1).await, ["1", "0"]);
    send(&rig, r#"{"_msgid":"f","flush":1}"#);
    assert_eq!(seconds(&rig, 1).await, ["2", "3"]);
    for message in [r#"{"payload":5}"#, r#"{"payload":6,"rate":3000}"#] {
        send(&rig, message);
        rig.settle().await;
    }
    assert_eq!(seconds(&rig, 4).await, ["", "", "", "5", ""]);
    send(&rig, r#"{"_msgid":"r","reset":true}"#);
    rig.settle().await;
    send(&rig, r#"{"payload":7}"#);
    assert_eq!(seconds(&rig, 3).await, ["7", "", "", ""]);
}

#[tokio::test]
async fn a_queue_longer_than_a_run_may_last_is_kept() {
    let rig = rig(r#"{"pauseType":"rate","rate":"1","rateUnits":"hour"}"#);
    for i in 1..=3 {
        send(&rig, &format!(r#"{{"payload":{i}}}"#));
    }
    rig.settle().await;
    assert_eq!((rig.take_payloads(), rig.engine.open_runs()), (vec!["1".to_string()], 0));
    for i in 2..=3 {
        rig.advance(Duration::from_secs(3600)).await;
        assert_eq!(rig.take_payloads(), [i.to_string()]);
    }
}

#[tokio::test]
async fn too_fast_messages_are_dropped_or_go_to_the_second_output() {
    let rig = rig(r#"{"pauseType":"rate","rate":"1","rateUnits":"second","drop":true,"outputs":2}"#);
    for i in 1..=2 {
        rig.inject(0, msg(&format!(r#"{{"payload":{i}}}"#))).await;
    }
    rig.advance(Duration::from_millis(1001)).await;
    rig.inject(0, msg(r#"{"payload":3}"#)).await;
    let ports: Vec<usize> = rig.out().iter().map(|(_, port, _)| *port).collect();
    assert_eq!(ports, [0, 1, 0]);
}

#[tokio::test]
async fn a_burst_is_let_through_and_no_more() {
    let rig = rig(r#"{"pauseType":"burst","rate":"2","nbRateUnits":"10","rateUnits":"second"}"#);
    for i in 1..=3 {
        rig.inject(0, msg(&format!(r#"{{"payload":{i}}}"#))).await;
    }
    rig.advance(Duration::from_secs(10)).await;
    rig.inject(0, msg(r#"{"payload":4}"#)).await;
    assert_eq!(rig.take_payloads(), ["1", "2", "4"]);
}

#[tokio::test]
async fn the_latest_of_each_topic_waits_for_the_tick() {
    for (pause, out) in [("queue", ["", "2", "3", ""]), ("timed", ["", "2 3", "", ""])] {
        let rig = rig(&format!(r#"{{"pauseType":"{pause}","rate":"1","rateUnits":"second"}}"#));
        for message in [r#"{"payload":1,"topic":"a"}"#, r#"{"payload":3,"topic":"b"}"#, r#"{"payload":2,"topic":"a"}"#]
        {
            send(&rig, message);
            rig.settle().await;
        }
        // What leaves at one instant leaves in runs of its own, in no order among them.
        let sorted = |second: String| {
            let mut payloads: Vec<&str> = second.split(' ').collect();
            payloads.sort_unstable();
            payloads.join(" ")
        };
        let found: Vec<String> = seconds(&rig, 3).await.into_iter().map(sorted).collect();
        assert_eq!(found, out, "{pause}");
    }
}

#[tokio::test]
async fn what_a_newer_message_replaces_goes_to_the_second_output() {
    for rate in ["1", "0.001"] {
        let rig = rig(&format!(r#"{{"pauseType":"queue","rate":"{rate}","rateUnits":"second","outputs":2}}"#));
        for i in 1..=2 {
            send(&rig, &format!(r#"{{"payload":{i}}}"#));
            rig.settle().await;
        }
        let out: Vec<(usize, String)> = rig.out().iter().map(|(_, port, m)| (*port, m.payload().to_json())).collect();
        assert_eq!(out, [(1, "1".to_string())], "{rate}");
    }
}

#[test]
fn all_problems_are_told() {
    let config = r#"{"pauseType":"rat","timeoutUnits":"weeks"}"#;
    let problems = Rig::new(vec![node("d", "delay", config, &[])]).problems();
    assert_eq!(problems.iter().map(|d| d.path.as_str()).collect::<Vec<_>>(), ["$[0].timeoutUnits", "$[0].pauseType"]);
    assert_eq!(problems[1].hint.as_deref(), Some("did you mean \"rate\"?"));
    let zero = Rig::new(vec![node("d", "delay", r#"{"pauseType":"rate","rate":"0"}"#, &[])]).problems();
    assert_eq!(zero[0].code, "invalid-rate");
}

/// Replicas of a flow on one store: engines of their own, whose clocks and the store's are moved together.
struct Replicas {
    clock: crate::clock::Clock,
    rigs: Vec<Rig>,
}

impl Replicas {
    fn new(config: &str) -> Replicas {
        let clock = crate::clock::Clock::manual("2026-01-01T00:00:00Z".parse().unwrap());
        let store = crate::store::open_memory(&crate::store::StoreOptions::default(), clock.clone());
        let rig = || {
            let prepare = |services: &mut crate::runtime::Services| {
                services.clock = clock.clone();
                services.store = Some(store.clone());
                services.shared_rates = true;
            };
            let rig = Rig::with(vec![node("d", "delay", config, &[])], crate::runtime::Limits::default(), prepare);
            assert_eq!(rig.problems(), []);
            rig
        };
        Replicas { rigs: vec![rig(), rig()], clock }
    }

    /// What left either replica in each second.
    async fn seconds(&self, n: usize) -> Vec<String> {
        let mut out = Vec::new();
        for second in 0..=n {
            if second > 0 {
                // In steps: what is put off is asked for again a moment later.
                for _ in 0..10 {
                    self.settle().await;
                    self.clock.advance(Duration::from_millis(100));
                }
            }
            self.settle().await;
            let left: Vec<String> = self.rigs.iter().flat_map(Rig::take_payloads).collect();
            out.push(left.join(" "));
        }
        out
    }

    async fn settle(&self) {
        for rig in &self.rigs {
            rig.settle().await;
        }
    }
}

#[tokio::test]
async fn a_shared_rate_is_that_of_all_replicas() {
    let replicas = Replicas::new(r#"{"pauseType":"rate","rate":"1","rateUnits":"second"}"#);
    for payload in 1..=4 {
        for (i, rig) in replicas.rigs.iter().enumerate() {
            send(rig, &format!(r#"{{"payload":{payload}{i}}}"#));
        }
        replicas.settle().await;
    }
    let out = replicas.seconds(12).await;
    assert!(out.iter().all(|second| !second.contains(' ')), "more than one in a second: {out:?}");
    let gone: Vec<&str> = out.iter().map(String::as_str).filter(|second| !second.is_empty()).collect();
    for end in ["0", "1"] {
        let of_one: Vec<&str> = gone.iter().copied().filter(|payload| payload.ends_with(end)).collect();
        assert_eq!(of_one, [1, 2, 3, 4].map(|n| format!("{n}{end}")), "in their order: {out:?}");
    }
    assert!(replicas.rigs.iter().all(|rig| rig.engine.open_runs() == 0));
}

#[tokio::test]
async fn what_is_too_fast_for_all_replicas_is_dropped() {
    for config in [
        r#"{"pauseType":"rate","rate":"1","rateUnits":"second","drop":true,"outputs":2}"#,
        r#"{"pauseType":"burst","rate":"1","rateUnits":"second","outputs":2}"#,
    ] {
        let replicas = Replicas::new(config);
        for rig in &replicas.rigs {
            send(rig, r#"{"payload":1}"#);
            replicas.settle().await;
        }
        let ports = |rig: &Rig| rig.out().iter().map(|(_, port, _)| *port).collect::<Vec<_>>();
        assert_eq!([ports(&replicas.rigs[0]), ports(&replicas.rigs[1])], [[0], [1]], "{config}");
        replicas.seconds(2).await;
        send(&replicas.rigs[1], r#"{"payload":2}"#);
        replicas.settle().await;
        assert_eq!(ports(&replicas.rigs[1]), [0], "{config}: there is a place again");
    }
}

#[tokio::test]
async fn a_reset_frees_the_places_of_all() {
    let replicas = Replicas::new(r#"{"pauseType":"rate","rate":"1","rateUnits":"hour","drop":true,"outputs":2}"#);
    send(&replicas.rigs[0], r#"{"payload":1}"#);
    replicas.settle().await;
    send(&replicas.rigs[0], r#"{"reset":true}"#);
    replicas.settle().await;
    send(&replicas.rigs[1], r#"{"payload":2}"#);
    replicas.settle().await;
    assert_eq!(replicas.seconds(0).await, ["1 2"]);
}

#[tokio::test]
async fn who_knows_that_all_places_are_taken_asks_again_after_a_second() {
    for config in [
        r#"{"pauseType":"rate","rate":"1","rateUnits":"hour","drop":true,"outputs":2}"#,
        r#"{"pauseType":"burst","rate":"1","rateUnits":"hour","outputs":2}"#,
    ] {
        let replicas = Replicas::new(config);
        let ports = |rig: &Rig| rig.out().iter().map(|(_, port, _)| *port).collect::<Vec<_>>();
        let [one, other] = &replicas.rigs[..] else { panic!("two") };
        for rig in [one, other] {
            send(rig, r#"{"payload":1}"#);
            replicas.settle().await;
        }
        assert_eq!(ports(other), [1], "{config}");
        send(one, r#"{"reset":true}"#);
        replicas.seconds(1).await;
        send(other, r#"{"payload":2}"#);
        replicas.settle().await;
        assert_eq!(ports(other), [0], "{config}");
    }
}

/// What its run may not wait for leaves it and goes in one of its own.
#[tokio::test]
async fn a_place_that_others_take_may_be_free_after_the_run() {
    let replicas = Replicas::new(r#"{"pauseType":"rate","rate":"1","rateUnits":"hour"}"#);
    for rig in &replicas.rigs {
        send(rig, r#"{"payload":1}"#);
        replicas.settle().await;
    }
    assert_eq!(replicas.seconds(0).await, ["1"]);
    assert!(replicas.rigs.iter().all(|rig| rig.engine.open_runs() == 0));
    replicas.clock.advance(Duration::from_secs(3_601));
    replicas.settle().await;
    assert_eq!(replicas.seconds(0).await, ["1"]);
}

#[tokio::test]
async fn a_node_says_whether_its_limit_is_shared() {
    let config = r#"{"pauseType":"rate","rate":"1","rateUnits":"hour","drop":true,"shared":false}"#;
    let replicas = Replicas::new(config);
    for rig in &replicas.rigs {
        send(rig, r#"{"payload":1}"#);
        replicas.settle().await;
    }
    assert_eq!(replicas.seconds(0).await, ["1 1"]);
}

/// Each message that is dropped is an error of its own, so that nobody takes it for sent.
#[tokio::test]
async fn a_line_that_grows_too_long_fails_all_that_wait() {
    let limits = crate::runtime::Limits { node_messages_max: 2, ..Default::default() };
    let config = r#"{"pauseType":"rate","rate":"1","nbRateUnits":"1","rateUnits":"second"}"#;
    let rig = Rig::with(vec![node("d", "delay", config, &[])], limits, |_| {});
    for n in 0..4 {
        send(&rig, &format!(r#"{{"payload":{n}}}"#));
        rig.settle().await;
    }
    assert_eq!(rig.take_payloads(), ["0"]);
    let told = rig.complaints();
    assert_eq!(told.iter().filter(|text| text.contains("too many pending messages")).count(), 3, "{told:?}");
    assert_eq!(rig.engine.open_runs(), 0);
}
