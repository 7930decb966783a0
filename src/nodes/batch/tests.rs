//! The batch node: by number, by time, by topic, and for callers apart.

use std::time::Duration;

use super::super::rig::{Rig, msg, node};

fn rig(config: &str) -> Rig {
    Rig::new(vec![node("b", "batch", config, &[])])
}

async fn send(rig: &Rig, msgs: &[&str]) {
    for text in msgs {
        rig.inject(0, msg(text)).await;
    }
}

/// `payload@index/count` of what left, and forgets it.
fn taken(rig: &Rig) -> Vec<String> {
    let shown = rig.out().into_iter().map(|(_, _, m)| {
        let parts = m.get("parts").unwrap();
        format!("{}@{}/{}", m.payload().to_json(), parts.get("index").to_json(), parts.get("count").to_json())
    });
    let shown = shown.collect();
    rig.take();
    shown
}

#[tokio::test]
async fn counts_with_overlap_and_the_end_of_a_sequence() {
    let plain = rig(r#"{"mode":"count","count":"2"}"#);
    send(&plain, &[r#"{"payload":1}"#, r#"{"payload":2}"#, r#"{"payload":3}"#]).await;
    assert_eq!(taken(&plain), ["1@0/2", "2@1/2"]);
    send(&plain, &[r#"{"reset":true}"#, r#"{"payload":4}"#, r#"{"payload":5}"#]).await;
    assert_eq!(taken(&plain), ["4@0/2", "5@1/2"]);
    let overlap = rig(r#"{"mode":"count","count":3,"overlap":2}"#);
    send(&overlap, &[r#"{"payload":1}"#, r#"{"payload":2}"#, r#"{"payload":3}"#, r#"{"payload":4}"#]).await;
    assert_eq!(taken(&overlap), ["1@0/3", "2@1/3", "3@2/3", "2@0/3", "3@1/3", "4@2/3"]);
    let parts = rig(r#"{"mode":"count","count":5,"honourParts":true}"#);
    send(&parts, &[r#"{"payload":1}"#, r#"{"payload":2,"parts":{"id":"x","index":1,"count":2}}"#]).await;
    assert_eq!(taken(&parts), ["1@0/2", "2@1/2"]);
}

#[tokio::test]
async fn an_interval_sends_what_came_in_it() {
    let rig = rig(r#"{"mode":"interval","interval":"2","allowEmptySequence":true}"#);
    rig.settle().await;
    send(&rig, &[r#"{"payload":1}"#, r#"{"payload":2}"#]).await;
    rig.advance(Duration::from_millis(1999)).await;
    assert_eq!(taken(&rig), Vec::<String>::new());
    rig.advance(Duration::from_millis(1)).await;
    assert_eq!(taken(&rig), ["1@0/2", "2@1/2"]);
    rig.advance(Duration::from_secs(2)).await;
    assert_eq!(taken(&rig), ["null@0/1"]);
    // A reset starts the interval anew.
    rig.advance(Duration::from_secs(1)).await;
    send(&rig, &[r#"{"payload":3}"#, r#"{"reset":true}"#, r#"{"payload":4}"#]).await;
    rig.advance(Duration::from_secs(1)).await;
    assert_eq!(taken(&rig), Vec::<String>::new());
    rig.advance(Duration::from_secs(1)).await;
    assert_eq!(taken(&rig), ["4@0/1"]);
}

#[tokio::test]
async fn a_caller_gets_the_batch_of_its_own_run() {
    let rig = rig(r#"{"mode":"interval","interval":"1"}"#);
    send(&rig, &[r#"{"payload":1}"#]).await;
    let run = tokio::spawn(rig.open(0, msg(r#"{"payload":2}"#), crate::model::run::Trigger::Manual { by: "x".into() }));
    rig.advance(Duration::from_secs(1)).await;
    run.await.unwrap();
    let mut out = taken(&rig);
    out.sort();
    assert_eq!(out, ["1@0/1", "2@0/1"]);
}

#[tokio::test]
async fn sequences_of_topics_are_joined_in_the_order_given() {
    let rig = rig(r#"{"mode":"concat","topics":[{"topic":"a"},{"topic":"b"}]}"#);
    let part = |topic: &str, id: &str, index: u32, count: u32| {
        format!(
            r#"{{"payload":"{topic}{index}","topic":"{topic}","parts":{{"id":"{id}","index":{index},"count":{count}}}}}"#
        )
    };
    let msgs = [part("b", "1", 0, 2), part("a", "2", 0, 1), part("c", "3", 0, 1), part("b", "1", 1, 2)];
    send(&rig, &msgs.each_ref().map(String::as_str)).await;
    assert_eq!(taken(&rig), ["\"a0\"@0/3", "\"b0\"@1/3", "\"b1\"@2/3"]);
    send(&rig, &[r#"{"topic":"a"}"#]).await;
    assert_eq!(rig.complaints(), ["no parts property in message"]);
}

#[tokio::test]
async fn counts_that_are_none_are_problems() {
    for (config, code) in [
        (r#"{"count":"0"}"#, "invalid-count"),
        (r#"{"count":"-1"}"#, "invalid-count"),
        (r#"{"count":"many"}"#, "invalid-count"),
        (r#"{"count":"2","overlap":"2"}"#, "invalid-overlap"),
    ] {
        assert_eq!(rig(config).problems()[0].code, code, "{config}");
    }
    assert_eq!(rig(r#"{"count":""}"#).problems(), []);
}
