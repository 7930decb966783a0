//! The trigger node: what is sent when, by hand-moved time.

use std::time::Duration;

use super::super::rig::{Rig, msg, node};
use crate::model::run::Trigger as Cause;

fn rig(config: &str) -> Rig {
    Rig::new(vec![node("t", "trigger", config, &[])])
}

/// Hands messages in, each in a run of its own that goes on meanwhile.
async fn send(rig: &Rig, msgs: &[&str]) {
    for text in msgs {
        tokio::spawn(rig.open(0, msg(text), Cause::Inject { node: "x".into() }));
        rig.settle().await;
    }
}

async fn after(rig: &Rig, ms: u64) -> Vec<String> {
    rig.advance(Duration::from_millis(ms)).await;
    rig.take_payloads()
}

#[tokio::test]
async fn sends_now_and_then_and_blocks_meanwhile() {
    let rig = rig(r#"{"op1":"on","op2":"off","duration":"100"}"#);
    send(&rig, &[r#"{"payload":1}"#, r#"{"payload":2}"#]).await;
    assert_eq!(rig.take_payloads(), ["\"on\""]);
    assert_eq!(after(&rig, 99).await, Vec::<String>::new());
    assert_eq!(after(&rig, 1).await, ["\"off\""]);
    send(&rig, &[r#"{"payload":3}"#, r#"{"reset":1}"#, r#"{"payload":4}"#]).await;
    assert_eq!(rig.take_payloads(), ["\"on\"", "\"on\""]);
    assert_eq!(after(&rig, 100).await, ["\"off\""]);
}

#[tokio::test]
async fn a_second_message_takes_what_its_type_says() {
    for (config, expected) in [
        (r#"{"op1type":"nul","op2type":"pay","duration":"100"}"#, "1"),
        (r#"{"op1type":"nul","op2type":"payl","duration":"100"}"#, "2"),
        (r#"{"op1type":"nul","op2":"<{{topic}}>","op2type":"str","duration":"0.1","units":"s"}"#, "\"<a>\""),
        (r#"{"op1type":"nul","op2":"7","op2type":"num","duration":"100","outputs":2}"#, "7"),
        (r#"{"op1type":"nul","op2type":"date","op2":"0","duration":"100"}"#, "1767225600100"),
    ] {
        let rig = rig(config);
        send(&rig, &[r#"{"payload":1,"topic":"a"}"#, r#"{"payload":2,"topic":"b"}"#]).await;
        assert_eq!(rig.take_payloads(), Vec::<String>::new(), "{config}");
        rig.advance(Duration::from_millis(100)).await;
        let ports: Vec<usize> = rig.out().iter().map(|(_, port, _)| *port).collect();
        assert_eq!(ports, [usize::from(config.contains("outputs"))]);
        assert_eq!(rig.take_payloads(), [expected], "{config}");
    }
}

#[tokio::test]
async fn is_extended_overridden_and_kept_apart_by_topic() {
    let extended = rig(r#"{"op1type":"nul","op2":"late","duration":"100","extend":"true"}"#);
    send(&extended, &[r#"{"payload":1}"#]).await;
    assert_eq!(after(&extended, 60).await, Vec::<String>::new());
    send(&extended, &[r#"{"payload":2}"#]).await;
    assert_eq!(after(&extended, 60).await, Vec::<String>::new());
    assert_eq!(after(&extended, 40).await, ["\"late\""]);
    let overridden = rig(r#"{"op1type":"nul","op2":"x","duration":"100","overrideDelay":true}"#);
    send(&overridden, &[r#"{"payload":1,"delay":"20"}"#]).await;
    assert_eq!(after(&overridden, 20).await, ["\"x\""]);
    let topics = rig(r#"{"op1type":"pay","op2type":"nul","duration":"0","bytopic":"topic","reset":"stop"}"#);
    send(&topics, &[r#"{"payload":1,"topic":"a"}"#, r#"{"payload":2,"topic":"b"}"#, r#"{"payload":3,"topic":"a"}"#])
        .await;
    send(
        &topics,
        &[r#"{"payload":"stop","topic":"a"}"#, r#"{"payload":4,"topic":"a"}"#, r#"{"payload":5,"topic":"b"}"#],
    )
    .await;
    assert_eq!(after(&topics, 1_000_000).await, ["1", "2", "4"]);
}

#[tokio::test]
async fn repeats_until_reset() {
    let rig = rig(r#"{"op1":"tick","duration":"-1","units":"s"}"#);
    send(&rig, &[r#"{"payload":1}"#]).await;
    assert_eq!(rig.take_payloads(), ["\"tick\""]);
    assert_eq!(after(&rig, 1000).await, ["\"tick\""]);
    assert_eq!(after(&rig, 1000).await, ["\"tick\""]);
    send(&rig, &[r#"{"reset":true}"#]).await;
    assert_eq!(after(&rig, 5000).await, Vec::<String>::new());
}

#[tokio::test]
async fn a_wait_longer_than_a_run_ends_in_one_of_its_own() {
    let rig = rig(r#"{"op1type":"nul","op2":"done","duration":"24","units":"hr"}"#);
    rig.inject(0, msg(r#"{"payload":1}"#)).await;
    assert_eq!(after(&rig, 86_400_000).await, ["\"done\""]);
}
