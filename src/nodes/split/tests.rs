//! Sequences as Node-RED makes them.

use super::super::rig::{Rig, msg, node};
use super::*;

async fn parts(config: &str, message: Msg) -> Vec<String> {
    let rig = Rig::new(vec![node("s", "split", config, &[])]);
    assert_eq!(rig.problems(), []);
    rig.run(0, message).await;
    let describe = |(_, _, mut msg): (String, usize, Msg)| {
        let mut parts = msg.remove("parts").unwrap().as_object().unwrap().clone();
        assert_eq!(parts.remove("id").unwrap().to_js_string().len(), 16);
        format!("{} {}", msg.to_value().to_json(), Value::from(parts).to_json())
    };
    rig.out().into_iter().map(describe).collect()
}

#[tokio::test]
async fn arrays_one_by_one_and_in_chunks() {
    assert_eq!(
        parts("{}", msg(r#"{"payload":[1,"b"],"topic":"t"}"#)).await,
        [
            r#"{"payload":1,"topic":"t"} {"type":"array","count":2,"len":1,"index":0}"#,
            r#"{"payload":"b","topic":"t"} {"type":"array","count":2,"len":1,"index":1}"#,
        ]
    );
    assert_eq!(
        parts(r#"{"arraySplt":"2"}"#, msg(r#"{"payload":[1,2,3]}"#)).await,
        [
            r#"{"payload":[1,2]} {"type":"array","count":2,"len":2,"index":0}"#,
            r#"{"payload":[3]} {"type":"array","count":2,"len":2,"index":1}"#,
        ]
    );
    assert!(parts("{}", msg(r#"{"payload":[]}"#)).await.is_empty());
}

#[tokio::test]
async fn objects_with_their_keys() {
    assert_eq!(
        parts(r#"{"addname":"topic"}"#, msg(r#"{"payload":{"a":1,"b":2}}"#)).await,
        [
            r#"{"payload":1,"topic":"a"} {"type":"object","count":2,"key":"a","index":0}"#,
            r#"{"payload":2,"topic":"b"} {"type":"object","count":2,"key":"b","index":1}"#,
        ]
    );
}

#[tokio::test]
async fn strings_at_separators_and_by_length() {
    assert_eq!(
        parts("{}", msg(r#"{"payload":"a\nb"}"#)).await,
        [
            r#"{"payload":"a"} {"type":"string","ch":"\n","count":2,"index":0}"#,
            r#"{"payload":"b"} {"type":"string","ch":"\n","count":2,"index":1}"#,
        ]
    );
    let by_two = parts(r#"{"spltType":"len","splt":"2"}"#, msg(r#"{"payload":"aäüb1"}"#)).await;
    assert_eq!(by_two[1], r#"{"payload":"üb"} {"type":"string","ch":"","len":2,"count":3,"index":1}"#);
    let by_bytes = parts(r#"{"spltType":"bin","splt":"[44]"}"#, msg(r#"{"payload":"a,b"}"#)).await;
    assert_eq!(by_bytes[1], r#"{"payload":"b"} {"type":"string","ch":[44],"count":2,"index":1}"#);
}

#[tokio::test]
async fn buffers_count_only_parts_that_are_sent() {
    let bytes = Msg::with_payload(Value::Bytes(Arc::new(b"a\nb\n".to_vec())));
    let out = parts("{}", bytes).await;
    assert_eq!(out.len(), 2);
    assert!(out[1].ends_with(r#"{"type":"buffer","ch":"\n","count":2,"index":1}"#), "{}", out[1]);
}

#[tokio::test]
async fn a_property_deep_down_and_parts_within_parts() {
    let out = parts(r#"{"property":"a.b"}"#, msg(r#"{"a":{"b":[1],"c":2},"parts":{"id":"x","index":3}}"#)).await;
    assert_eq!(
        out,
        [
            r#"{"a":{"b":1,"c":2}} {"parts":{"id":"x","index":3},"property":"a.b","type":"array","count":1,"len":1,"index":0}"#
        ]
    );
}

#[tokio::test]
async fn a_stream_goes_on_with_the_next_message() {
    let rig = Rig::new(vec![node("s", "split", r#"{"stream":true}"#, &[])]);
    for text in ["a\nb", "c\nd\n", "e"] {
        rig.inject(0, Msg::with_payload(text)).await;
    }
    let out: Vec<String> = rig
        .out()
        .iter()
        .map(|(_, _, m)| format!("{}{}", m.payload().to_js_string(), m.get("parts").unwrap().get("index").to_json()))
        .collect();
    assert_eq!(out, ["a0", "bc1", "d2"]);
}

#[tokio::test]
async fn what_has_no_parts_gives_nothing_and_null_is_an_error() {
    for payload in ["1", "true"] {
        assert!(parts("{}", msg(&format!(r#"{{"payload":{payload}}}"#))).await.is_empty());
    }
    let rig = Rig::new(vec![node("s", "split", "{}", &[])]);
    assert!(rig.run(0, msg(r#"{"payload":null}"#)).await.error.is_some());
}

#[test]
fn all_problems_are_told() {
    let config = r#"{"property":"a..b","spltType":"len","splt":"0","arraySplt":0,"addname":"["}"#;
    let rig = Rig::new(vec![node("s", "split", config, &[])]);
    let paths: Vec<String> = rig.problems().iter().map(|d| d.path.clone()).collect();
    assert_eq!(paths, ["$[0].property", "$[0].addname", "$[0].splt", "$[0].arraySplt"]);
}
