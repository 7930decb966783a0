//! Groups as Node-RED makes them, and never across callers.

use super::super::rig::{Rig, msg, node};
use super::*;
use crate::model::run::Trigger;

fn rig(config: &str) -> Rig {
    let rig = Rig::new(vec![node("j", "join", config, &[])]);
    assert_eq!(rig.problems(), []);
    rig
}

async fn joined(config: &str, messages: &[&str]) -> Vec<String> {
    let rig = rig(config);
    for message in messages {
        rig.inject(0, msg(message)).await;
    }
    rig.take()
}

#[tokio::test]
async fn auto_undoes_a_split_whatever_the_order() {
    for (payload, config) in [
        (r#"[1,null,{"a":2}]"#, "{}"),
        ("[1,2,3]", r#"{"arraySplt":2}"#),
        (r#"{"a":1,"b":[2]}"#, "{}"),
        (r#""x\ny\n""#, "{}"),
        (r#""abcde""#, r#"{"spltType":"len","splt":"2"}"#),
        (r#""a,b""#, r#"{"spltType":"bin","splt":"[44]"}"#),
    ] {
        let rig = Rig::new(vec![node("s", "split", config, &[&[1]]), node("j", "join", "{}", &[])]);
        rig.run(0, msg(&format!(r#"{{"payload":{payload},"topic":"t"}}"#))).await;
        let sent = Value::from_json(payload).unwrap();
        let out = rig.out();
        assert_eq!(out.len(), 1, "{payload}");
        assert_eq!((out[0].2.payload(), out[0].2.get("parts")), (&sent, None));
    }
    let backwards = joined(
        "{}",
        &[
            r#"{"payload":"b","parts":{"id":"x","type":"array","count":2,"index":1}}"#,
            r#"{"payload":"a","parts":{"id":"x","type":"array","count":2,"index":0,"parts":{"id":"y"}}}"#,
        ],
    )
    .await;
    assert_eq!(backwards, [r#"{"payload":["a","b"],"parts":{"id":"y"}}"#]);
}

#[tokio::test]
async fn auto_without_parts_is_a_warning_and_reset_forgets() {
    let rig = rig("{}");
    rig.inject(0, msg(r#"{"payload":1}"#)).await;
    assert!(rig.complaints()[0].contains("cannot join in 'auto' mode"));
    let part = |i: u32| msg(&format!(r#"{{"payload":{i},"parts":{{"id":"x","type":"array","count":2,"index":{i}}}}}"#));
    rig.inject(0, part(0)).await;
    rig.inject(0, msg(r#"{"reset":true,"parts":{"id":"x"}}"#)).await;
    rig.inject(0, part(1)).await;
    assert!(rig.take().is_empty());
    rig.inject(0, part(0)).await;
    assert_eq!(rig.take_payloads(), ["[0,1]"]);
}

#[tokio::test]
async fn custom_builds_what_it_is_asked_for() {
    for (config, messages, out) in [
        (
            r#""build":"array","count":2"#,
            [r#"{"payload":1}"#, r#"{"payload":true,"x":1}"#],
            r#"{"payload":[1,true],"x":1}"#,
        ),
        (
            r#""build":"object","key":"topic","count":2"#,
            [r#"{"payload":1,"topic":"a"}"#, r#"{"payload":2,"topic":"b"}"#],
            r#"{"payload":{"a":1,"b":2},"topic":"b"}"#,
        ),
        (
            r#""build":"merged","count":"2""#,
            [r#"{"payload":{"a":1}}"#, r#"{"payload":{"b":2}}"#],
            r#"{"payload":{"a":1,"b":2}}"#,
        ),
        (
            r#""build":"string","joiner":"\\n","count":2"#,
            [r#"{"payload":"a"}"#, r#"{"payload":5}"#],
            r#"{"payload":"a\n5"}"#,
        ),
        (
            r#""build":"buffer","joiner":"[44]","joinerType":"bin","count":2"#,
            [r#"{"payload":"a"}"#, r#"{"payload":"b"}"#],
            r#"{"payload":{"type":"Buffer","data":[97,44,98]}}"#,
        ),
        (
            r#""build":"array","property":"a.b","count":2"#,
            [r#"{"a":{"b":1}}"#, r#"{"a":{"b":2}}"#],
            r#"{"a":{"b":[1,2]}}"#,
        ),
        (
            r#""build":"array","count":"","useparts":true"#,
            [r#"{"payload":1,"parts":{"id":"x","count":2}}"#, r#"{"payload":2,"parts":{"id":"x","count":2}}"#],
            r#"{"payload":[1,2]}"#,
        ),
    ] {
        let config = format!(r#"{{"mode":"custom",{config}}}"#);
        assert_eq!(joined(&config, &messages).await, [out], "{config}");
    }
}

#[tokio::test]
async fn complete_ends_a_group_and_accumulate_keeps_it() {
    let complete = joined(
        r#"{"mode":"custom","build":"array","count":10}"#,
        &[r#"{"payload":1}"#, r#"{"payload":2,"complete":true}"#],
    )
    .await;
    assert_eq!(complete, [r#"{"payload":[1,2]}"#]);
    let accumulated = joined(
        r#"{"mode":"custom","build":"object","key":"topic","count":2,"accumulate":true}"#,
        &[
            r#"{"payload":1,"topic":"a"}"#,
            r#"{"payload":2,"topic":"b"}"#,
            r#"{"payload":3,"topic":"a"}"#,
            r#"{"complete":true}"#,
            r#"{"payload":4,"topic":"a"}"#,
        ],
    )
    .await;
    let payloads: Vec<String> =
        accumulated.iter().map(|m| Value::from_json(m).unwrap().get("payload").to_json()).collect();
    assert_eq!(payloads, [r#"{"a":1,"b":2}"#, r#"{"a":3,"b":2}"#, r#"{"a":3,"b":2}"#]);
}

#[tokio::test]
async fn time_ends_a_group_and_can_start_anew() {
    let rig = rig(r#"{"mode":"custom","build":"array","timeout":"5","count":""}"#);
    let open = |text: &str| tokio::spawn(rig.open(0, msg(text), Trigger::Inject { node: "x".into() }));
    open(r#"{"payload":1}"#);
    rig.advance(Duration::from_secs(4)).await;
    open(r#"{"payload":2,"restartTimeout":true}"#);
    rig.advance(Duration::from_secs(4)).await;
    assert!(rig.take().is_empty());
    rig.advance(Duration::from_secs(1)).await;
    assert_eq!(rig.take_payloads(), ["[1,2]"]);
    rig.settle().await;
    assert_eq!(rig.engine.open_runs(), 0);
}

#[tokio::test]
async fn a_time_longer_than_a_run_outlives_it() {
    let rig = rig(r#"{"mode":"custom","build":"array","timeout":"3600"}"#);
    rig.inject(0, msg(r#"{"payload":1}"#)).await;
    rig.inject(0, msg(r#"{"payload":2}"#)).await;
    assert_eq!(rig.engine.open_runs(), 0);
    rig.advance(Duration::from_secs(3600)).await;
    assert_eq!(rig.take_payloads(), ["[1,2]"]);
}

#[tokio::test]
async fn a_group_that_is_whole_does_not_keep_its_run_open() {
    let rig = rig(r#"{"mode":"custom","build":"array","count":1,"timeout":"30"}"#);
    rig.run(0, msg(r#"{"payload":1}"#)).await;
    assert_eq!(rig.take_payloads(), ["[1]"]);
}

#[tokio::test]
async fn reduce_folds_in_the_order_of_the_parts() {
    let part = |i: u32| format!(r#"{{"payload":{},"parts":{{"id":"x","count":3,"index":{i}}}}}"#, i + 1);
    let parts = [part(2), part(0), part(1)];
    let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
    for (config, payload) in [
        (r#""reduceExp":"$A + payload","reduceInit":"10","reduceInitType":"num""#, "16"),
        (r#""reduceExp":"$A & payload","reduceInit":"","reduceInitType":"str""#, "\"123\""),
        (r#""reduceExp":"$A & payload","reduceInit":"","reduceInitType":"str","reduceRight":true"#, "\"321\""),
        (r#""reduceExp":"$A + payload","reduceInit":"0","reduceInitType":"num","reduceFixup":"$A / $N""#, "2"),
    ] {
        let out = joined(&format!(r#"{{"mode":"reduce",{config}}}"#), &parts).await;
        assert_eq!(Value::from_json(&out[0]).unwrap().get("payload").to_json(), payload, "{config}");
    }
}

#[tokio::test]
async fn callers_never_share_a_group() {
    // Both calls use the same parts.id and are open at the same time.
    let rig = Rig::new(vec![
        node("d", "delay", r#"{"pauseType":"delay","timeout":"1","timeoutUnits":"seconds"}"#, &[&[1]]),
        node("j", "join", r#"{"mode":"custom","build":"array","count":2}"#, &[&[2]]),
        node("r", "http response", "{}", &[]),
    ]);
    let caller = async |who: &str| {
        let deployed = rig.engine.current();
        let trigger = Trigger::Http { method: "GET".into(), path: "/".into() };
        let message = msg(&format!(r#"{{"payload":"{who}"}}"#));
        let called =
            deployed.call(0, crate::runtime::opening::Start::Deliver, message, trigger, Duration::from_secs(9));
        called.await.unwrap().reply
    };
    let (a, b, ()) = tokio::join!(caller("a"), caller("b"), rig.advance(Duration::from_secs(1)));
    // Neither group was whole: each caller is told so rather than given the other's part.
    assert_eq!((a.unwrap().status, b.unwrap().status), (500, 500));
    assert_eq!(rig.complaints().iter().filter(|c| c.contains("1 part(s) were not joined")).count(), 2);
}

#[tokio::test]
async fn callers_never_share_a_group_after_their_runs_either() {
    let rig = Rig::new(vec![
        node("d", "delay", r#"{"pauseType":"delay","timeout":"1","timeoutUnits":"hours"}"#, &[&[1]]),
        node("j", "join", r#"{"mode":"custom","build":"array","count":2}"#, &[]),
    ]);
    for who in ["a", "b"] {
        rig.run(0, msg(&format!(r#"{{"payload":"{who}"}}"#))).await;
    }
    rig.advance(Duration::from_secs(3600)).await;
    assert!(rig.take().is_empty());
    assert_eq!(rig.complaints().len(), 2);
}

#[tokio::test]
async fn what_was_not_joined_is_counted_once() {
    let reduce = r#"{"mode":"reduce","reduceExp":"$A + payload","reduceInit":"0","reduceInitType":"num"}"#;
    for config in ["{}", r#"{"mode":"custom","count":9}"#, reduce] {
        let rig = rig(config);
        rig.run(0, msg(r#"{"payload":1,"parts":{"id":"x","type":"array","count":3,"index":2}}"#)).await;
        let said = rig.complaints();
        assert_eq!(said, ["the run ended before 1 group(s) were complete; 1 part(s) were not joined"], "{config}");
    }
}

#[tokio::test]
async fn a_node_holds_so_much_and_no_more() {
    let limits = crate::runtime::Limits { node_messages_max: 3, ..Default::default() };
    let rig = Rig::with(vec![node("j", "join", r#"{"mode":"custom","count":9}"#, &[])], limits, |_| {});
    for i in 0..5 {
        rig.inject(0, msg(&format!(r#"{{"payload":{i}}}"#))).await;
    }
    assert_eq!(rig.complaints().len(), 1);
    assert!(rig.complaints()[0].contains("node_messages_max"), "{:?}", rig.complaints());
    let far = rig_far().await;
    assert!(far[0].contains("too many pending messages"), "{far:?}");
}

/// A group of which no part has a value takes up room, too.
#[tokio::test]
async fn groups_without_values_are_counted() {
    let limits = crate::runtime::Limits { node_messages_max: 3, ..Default::default() };
    let rig = Rig::with(vec![node("j", "join", "{}", &[])], limits, |_| {});
    for i in 0..5 {
        rig.inject(0, msg(&format!(r#"{{"parts":{{"id":"{i}","count":2}}}}"#))).await;
    }
    assert_eq!(rig.complaints().len(), 1, "{:?}", rig.complaints());
    assert!(rig.complaints()[0].contains("node_messages_max"));
}

/// A run may end before the time of a group it opened; the group's time goes on.
#[tokio::test]
async fn a_time_that_a_run_cannot_wait_for_outlives_it() {
    let limits = crate::runtime::Limits { run_ms_max: 0, ..Default::default() };
    let rig = Rig::with(vec![node("j", "join", r#"{"mode":"custom","count":9,"timeout":"5"}"#, &[])], limits, |_| {});
    rig.inject(0, msg(r#"{"payload":1}"#)).await;
    assert_eq!(rig.engine.open_runs(), 0);
    rig.advance(Duration::from_secs(5)).await;
    assert_eq!(rig.take_payloads(), ["[1]"]);
}

/// An index far beyond the end must not make room for all that lies between.
async fn rig_far() -> Vec<String> {
    let rig = rig("{}");
    rig.inject(0, msg(r#"{"payload":1,"parts":{"id":"x","type":"array","index":4000000000}}"#)).await;
    rig.complaints()
}
