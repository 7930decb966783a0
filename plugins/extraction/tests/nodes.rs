//! The nodes through the SDK's host: where ours differ from the originals, and what they refuse.

#![allow(clippy::unwrap_used)]

use extraction::{FindObject, GetKvProperty, GetPropertyValue, LastTimestamp};
use probity_sdk::testing::Host;
use probity_sdk::{NodeType, Value, json};

fn one<N: NodeType>(config: Value, msg: Value) -> Value {
    let sent = Host::new().process::<N>(config, msg).unwrap();
    assert_eq!(sent.len(), 1);
    sent[0].msg.clone()
}

fn error<N: NodeType>(config: Value, msg: Value) -> String {
    Host::new().process::<N>(config, msg).unwrap_err().message().to_owned()
}

#[test]
fn find_object_evaluates_jsonata_and_compares_dates() {
    let host = Host::new();
    host.jsonata("$uppercase('b')", json!("B"));
    let config = json!({ "key": "n", "keyValue": "$uppercase('b')", "keyValueType": "jsonata" });
    let sent = host.process::<FindObject>(config, json!({ "payload": [null, { "n": "B" }] })).unwrap();
    assert_eq!(sent[0].msg["payload"], json!({ "n": "B" }));
    let config = json!({ "key": "day", "keyValue": "2024-03-01", "keyValueType": "date" });
    let msg = json!({ "payload": [{ "day": "2024-03-02" }, { "day": "2024-03-01T01:00:00+01:00" }] });
    assert_eq!(one::<FindObject>(config, msg)["payload"]["day"], "2024-03-01T01:00:00+01:00");
}

#[test]
fn find_object_takes_json_and_its_type_from_the_caller_but_no_environment() {
    let payload = json!([{ "at": { "x": 1, "y": 2 } }]);
    let body = |kind: &str| json!({ "keyValue": { "y": 2, "x": 1 }, "keyValueType": kind });
    let config = json!({ "key": "at", "keyValue": "" });
    let msg = json!({ "payload": payload, "req": { "body": body("json") } });
    assert_eq!(one::<FindObject>(config.clone(), msg)["payload"], payload[0]);
    let msg = json!({ "payload": payload, "req": { "body": body("env") } });
    assert!(error::<FindObject>(config, msg).starts_with("msg.req.body.keyValueType is env: a caller may choose"));
}

#[test]
fn find_object_does_not_look_for_what_is_undefined() {
    let config = json!({ "key": "k", "keyValue": "gone", "keyValueType": "msg" });
    let refused = error::<FindObject>(config, json!({ "payload": [{}] }));
    assert_eq!(refused, "KeyValue must be defined: msg `gone` is undefined");
}

#[test]
fn get_kv_property_finds_falsy_values_and_any_depth() {
    let config = json!({ "keyToSearch": "k", "payloadProperty": "p", "response": "r" });
    for value in [json!(0), json!(false), json!("")] {
        let msg = json!({ "payload": { "p": [{ "$": { "key": "k", "value": value } }, { "$": { "key": "k", "value": 1 } }] } });
        assert_eq!(one::<GetKvProperty>(config.clone(), msg)["payload"]["r"], value);
    }
    let mut deep = json!({ "$": { "key": "k", "value": "found" } });
    for _ in 0..100 {
        deep = json!([deep]);
    }
    assert_eq!(one::<GetKvProperty>(config.clone(), json!({ "payload": { "p": deep } }))["payload"]["r"], "found");
    for (payload, expected) in [
        (json!({ "p": null }), "msg.payload.p is null"),
        (json!({ "p": "text" }), "msg.payload.p is a text"),
        (json!({ "trace": { "q": 1 } }), "The property does not exist in the payload: msg.payload.trace has no `p`"),
    ] {
        assert!(error::<GetKvProperty>(config.clone(), json!({ "payload": payload })).starts_with(expected));
    }
    let no_key = error::<GetKvProperty>(json!({ "payloadProperty": "p" }), json!({ "payload": { "p": {} } }));
    assert!(no_key.starts_with("keyToSearch is empty"));
}

#[test]
fn get_property_value_keeps_falsy_values_and_the_payload() {
    for value in [json!(0), json!(false), json!(""), json!("x")] {
        let payload = json!({ "a": value, "propertyToGet": "no" });
        let msg = one::<GetPropertyValue>(json!({ "propertyToGet": "a" }), json!({ "payload": payload }));
        assert_eq!((&msg["value"], &msg["payload"]), (&value, &payload));
    }
    let msg = one::<GetPropertyValue>(json!({ "propertyToGet": "toString" }), json!({ "payload": { "a": 1 } }));
    assert_eq!(msg["value"], Value::Null);
}

fn event(name: &str, time: Option<&str>) -> Value {
    let date = time.map(|time| json!([{ "$": { "key": "time:timestamp", "value": time } }]));
    json!({ "string": [{ "$": { "key": "concept:name", "value": name } }], "date": date })
}

#[test]
fn last_timestamp_is_the_latest_wherever_it_stands() {
    let events = json!([
        event("A", Some("2024-03-01T12:00:00Z")),
        event("A", Some("2024-03-01T12:30:00+01:00")),
        event("B", Some("2024-03-05T00:00:00Z")),
        event("A", None)
    ]);
    let config = json!({ "activity": "A", "position": "1" });
    let msg = one::<LastTimestamp>(config.clone(), json!({ "payload": { "trace": { "event": events } } }));
    assert_eq!((&msg["payload"]["time"], &msg["position"]), (&json!(1_709_294_400_000_i64), &json!("1")));
    let msg = one::<LastTimestamp>(config.clone(), json!({ "payload": events }));
    assert_eq!(msg["payload"]["event"].as_array().unwrap().len(), 4);
    let msg = one::<LastTimestamp>(json!({ "activity": "C" }), json!({ "payload": { "events": events } }));
    assert_eq!(msg["payload"]["time"], Value::Null);
    let body = json!({ "payload": events, "req": { "body": { "activity": "B", "position": 2 } } });
    assert_eq!(one::<LastTimestamp>(config.clone(), body)["position"], 2);
    let unreadable = json!({ "payload": [event("A", Some("soon"))] });
    assert!(error::<LastTimestamp>(config.clone(), unreadable).starts_with("the time of event 0 is \"soon\""));
    assert!(error::<LastTimestamp>(config, json!({ "payload": "text" })).starts_with("msg.payload is a text"));
    assert!(error::<LastTimestamp>(json!({}), json!({ "payload": [] })).starts_with("activity is empty"));
}
