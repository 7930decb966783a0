//! The nodes through the SDK's host: what they send, keep and refuse.

#![allow(clippy::unwrap_used)]

use control_flow::{ChainResponse, Coexistence, Declare, RespondedExistence, Response};
use probity_sdk::testing::Host;
use probity_sdk::{Error, NodeType, Value, json};

fn one<N: NodeType>(config: Value, msg: Value) -> Value {
    let sent = Host::new().process::<N>(config, msg).unwrap();
    assert_eq!(sent.len(), 1);
    sent[0].msg["payload"].clone()
}

fn error<N: NodeType>(config: Value, msg: Value) -> Error {
    Host::new().process::<N>(config, msg).unwrap_err()
}

fn events(names: &str) -> Value {
    Value::from(names.chars().map(String::from).collect::<Vec<_>>())
}

fn ab(more: Value) -> Value {
    let mut config = json!({ "eventAName": "A", "eventBName": "B" });
    config.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    config
}

#[test]
fn response_writes_its_result_for_every_a() {
    for (trace, result) in [("AB", true), ("ABA", false), ("BA", false), ("AAB", true), ("CB", true)] {
        let payload = one::<Response>(ab(json!({})), json!({ "payload": { "events": events(trace) } }));
        assert_eq!(payload["result"], result, "{trace}");
        let negated = one::<Response>(ab(json!({ "negate": true })), json!({ "payload": { "events": events(trace) } }));
        assert_eq!(negated["result"], !result, "{trace} negated");
        assert_eq!(payload.get("vacuous").is_some(), trace == "CB", "{trace}");
    }
}

#[test]
fn response_as_the_original_saw_it() {
    for (trace, result) in [("AB", true), ("ABA", true), ("BA", false), ("CB", false), ("", false)] {
        let payload = one::<Response>(ab(json!({ "compat": true })), json!({ "payload": { "events": events(trace) } }));
        assert_eq!(payload["result"], result, "{trace}");
    }
}

#[test]
fn evidence_goes_to_the_flow_and_says_more_in_the_run() {
    let host = Host::new();
    let msg = json!({ "payload": { "events": events("ABA"), "evidences": [{ "id": "x" }] } });
    let sent = host.process::<Response>(ab(json!({ "storeEvidences": true })), msg).unwrap();
    let kept = host.evidence();
    assert_eq!(kept.len(), 1);
    assert_eq!(kept[0].outcome, Some(false));
    let expected = json!({ "constraint": "response(A, B)", "state": "violated", "activations": 2, "fulfilled": 1,
        "violated": 1, "violations": [{ "event": 2, "activity": "A" }] });
    assert_eq!(kept[0].value, expected);
    let evidences =
        json!([{ "id": "x" }, { "id": kept[0].id, "key": "Response", "value": ["A", "B"], "result": false }]);
    assert_eq!(sent[0].msg["payload"]["evidences"], evidences);
}

#[test]
fn nothing_is_kept_unless_asked() {
    let host = Host::new();
    host.process::<Coexistence>(ab(json!({})), json!({ "payload": { "events": events("AB") } })).unwrap();
    assert!(host.evidence().is_empty());
}

#[test]
fn a_list_as_payload_becomes_an_object_the_next_node_understands() {
    let payload = one::<Coexistence>(ab(json!({})), json!({ "payload": events("AB") }));
    assert_eq!(payload, json!({ "event": ["A", "B"], "result": true, "evidences": [] }));
    let again = one::<Response>(ab(json!({})), json!({ "payload": payload }));
    assert_eq!(again["result"], true);
}

#[test]
fn an_earlier_vacuous_does_not_stay() {
    let payload = one::<Response>(ab(json!({})), json!({ "payload": { "events": events("AB"), "vacuous": true } }));
    assert_eq!(payload.get("vacuous"), None);
}

#[test]
fn what_cannot_be_judged_is_an_error() {
    let same = error::<Coexistence>(json!({ "eventAName": "A", "eventBName": "A" }), json!({ "payload": ["A"] }));
    let expected = "eventAName and eventBName are both \"A\": co-existence relates two different activities";
    assert_eq!(same.message(), expected);
    for (payload, expected) in [
        (json!(null), "msg.payload is undefined or null: a list of events"),
        (json!("A,B"), "msg.payload is a text: a list of events"),
        (json!({ "events": "A,B" }), "msg.payload.events is a text: a list of events"),
        (json!([null]), "event 0 is null: an event was expected"),
    ] {
        let found = error::<RespondedExistence>(ab(json!({})), json!({ "payload": payload }));
        assert!(found.message().starts_with(expected), "{found}");
    }
}

fn timed(events: &[(&str, &str)]) -> Value {
    let event = |(name, time): &(&str, &str)| json!({ "concept:name": name, "time:timestamp": time });
    json!({ "payload": { "events": events.iter().map(event).collect::<Vec<_>>() } })
}

#[test]
fn chain_response_holds_every_a_to_its_time() {
    let config = || ab(json!({ "time": 60 }));
    let day = |minute: &str| format!("2024-03-01T10:{minute}:00Z");
    let (m0, m1, m2, m5) = (day("00"), day("01"), day("02"), day("05"));
    assert_eq!(one::<ChainResponse>(config(), timed(&[("A", &m0), ("B", &m1)]))["result"], true);
    assert_eq!(one::<ChainResponse>(config(), timed(&[("A", &m0), ("B", &m2)]))["result"], false);
    let second_late = timed(&[("A", &m0), ("B", &m1), ("A", &m2), ("B", &m5)]);
    assert_eq!(one::<ChainResponse>(config(), second_late.clone())["result"], false);
    assert_eq!(one::<ChainResponse>(ab(json!({ "time": "" })), second_late)["result"], true);
    let backwards = error::<ChainResponse>(config(), timed(&[("A", &m1), ("B", &m0)]));
    assert!(backwards.message().starts_with("event 1 (B) comes after event 0 (A) in the log"), "{backwards}");
    let without = error::<ChainResponse>(config(), json!({ "payload": ["A", "B"] }));
    assert_eq!(without.message(), "event 1 (B) has no date, so how long it took is unknown");
}

fn pcm(more: Value) -> Value {
    let mut config = json!({ "enablePCM": true, "mlUrl": "http://ml.test/", "mlEndpoint": "predict" });
    config.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    config
}

#[test]
fn a_prediction_is_the_result_and_negated_if_it_can_be() {
    let host = Host::new();
    host.answer("POST", "http://ml.test/predict", 200, json!({ "prediction": true }));
    let sent = host.process::<ChainResponse>(pcm(json!({ "negate": true })), json!({ "payload": { "x": 1 } })).unwrap();
    assert_eq!(sent[0].msg["payload"]["result"], false);
    assert_eq!(host.requests()[0].body, br#"{"x":1}"#);
    host.answer("POST", "http://ml.test/score", 200, json!({ "prediction": 0.8 }));
    let score = pcm(json!({ "mlEndpoint": "/score" }));
    assert_eq!(
        host.process::<ChainResponse>(score, json!({ "payload": {} })).unwrap()[0].msg["payload"]["result"],
        0.8
    );
    let negated = pcm(json!({ "mlEndpoint": "/score", "negate": true }));
    let refused = host.process::<ChainResponse>(negated, json!({ "payload": {} })).unwrap_err();
    assert_eq!(refused.message(), "the prediction is a number: only true or false can be negated");
}

#[test]
fn a_service_that_does_not_answer_is_unknown() {
    let host = Host::new();
    let ask = || host.process::<ChainResponse>(pcm(json!({})), json!({ "payload": {} })).unwrap_err();
    host.answer("POST", "http://ml.test/predict", 500, json!("down"));
    host.answer("POST", "http://ml.test/predict", 429, json!("slow down"));
    host.answer("POST", "http://ml.test/predict", 200, json!({}));
    host.answer("POST", "http://ml.test/predict", 200, json!("{\"predic"));
    host.fail("POST", "http://ml.test/predict", Error::new("timed out"));
    assert!(ask().message().contains("answered 500: down"));
    assert_eq!(ask().code(), Some("http-429"));
    assert!(ask().message().contains("does not contain 'prediction' property"));
    assert!(ask().message().starts_with("Error calling ML service: answer of http://ml.test/predict"));
    assert_eq!(ask().message(), "Error calling ML service: timed out");
    let no_url = error::<ChainResponse>(json!({ "enablePCM": true }), json!({ "payload": {} }));
    assert_eq!(no_url.message(), "ML URL and ML Endpoint must be defined when PCM is enabled");
}

fn declare(template: &str, more: Value) -> Value {
    let mut config = json!({ "template": template, "activity": "A", "otherActivity": "B" });
    config.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    config
}

#[test]
fn declare_tells_satisfied_violated_and_vacuous_apart() {
    for (trace, state, result) in [("AB", "satisfied", true), ("BA", "violated", false), ("CC", "vacuous", true)] {
        let payload = one::<Declare>(declare("response", json!({})), json!({ "payload": { "event": events(trace) } }));
        assert_eq!((payload["declare"]["state"].as_str(), &payload["result"]), (Some(state), &json!(result)));
    }
    for (vacuous, result) in [("true", json!(true)), ("false", json!(false)), ("null", json!(null))] {
        let config = declare("response", json!({ "vacuous": vacuous, "storeEvidences": true }));
        let payload = one::<Declare>(config, json!({ "payload": { "event": [] } }));
        assert_eq!((&payload["result"], &payload["evidences"][0]["result"]), (&result, &result));
    }
}

#[test]
fn declare_explains_what_violates() {
    let msg = json!({ "payload": { "trace": {
        "string": [{ "$": { "key": "concept:name", "value": "case 7" } }],
        "event": [{ "concept:name": "A", "time:timestamp": "2024-03-01T10:00:00+01:00" }, "C", "B"]
    } } });
    let payload = one::<Declare>(declare("not-response", json!({})), msg);
    let expected = json!({ "constraint": "not-response(A, B)", "state": "violated", "activations": 1, "fulfilled": 0,
        "violated": 1, "violations": [{ "event": 0, "activity": "A", "time": "2024-03-01T09:00:00.000Z",
        "with": { "event": 2, "activity": "B" } }], "case": "case 7" });
    assert_eq!(payload["declare"], expected);
}

#[test]
fn declare_counts_up_to_n() {
    for (template, n, result) in [
        ("existence", 2, true),
        ("existence", 3, false),
        ("absence", 3, true),
        ("absence", 2, false),
        ("exactly", 2, true),
    ] {
        let config = declare(template, json!({ "count": n, "otherActivity": "" }));
        assert_eq!(one::<Declare>(config, json!({ "payload": events("ABA") }))["result"], result, "{template} {n}");
    }
    let none = error::<Declare>(declare("existence", json!({ "count": 0 })), json!({ "payload": events("A") }));
    assert!(none.message().starts_with("n is 0: existence(0, A) says nothing"), "{none}");
}

#[test]
fn declare_gives_a_result_per_trace_of_a_log() {
    let trace = |name: &str, list: &str| json!({ "string": [{ "$": { "key": "concept:name", "value": name } }], "event": events(list) });
    let log = json!({ "payload": { "log": { "trace": [trace("1", "AB"), trace("2", "ABA"), trace("3", "C")] } } });
    let payload = one::<Declare>(declare("response", json!({ "storeEvidences": true })), log.clone());
    assert_eq!(payload["result"], false);
    let cases: Vec<_> = payload["traces"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| json!([one["case"], one["state"], one["result"]]))
        .collect();
    let expected = json!([["1", "satisfied", true], ["2", "violated", false], ["3", "vacuous", true]]);
    assert_eq!(Value::from(cases), expected);
    let sums = json!({ "constraint": "response(A, B)", "activations": 3, "fulfilled": 2, "violated": 1,
        "traces": { "all": 3, "satisfied": 1, "vacuous": 1, "violated": 1 } });
    assert_eq!(payload["declare"], sums);
    assert_eq!(payload["evidences"].as_array().unwrap().len(), 3);
    let unknown = one::<Declare>(
        declare("response", json!({ "vacuous": "null" })),
        json!({ "payload": { "traces": [["A", "B"], []] } }),
    );
    assert_eq!(unknown["result"], json!(null));
}

#[test]
fn declare_says_nothing_about_nothing() {
    let empty = error::<Declare>(declare("response", json!({})), json!({ "payload": { "log": { "trace": [] } } }));
    assert_eq!(empty.message(), "the log has no traces, so nothing can be said about it");
    let unnamed = error::<Declare>(declare("response", json!({})), json!({ "payload": [{ "x": 1 }, "A"] }));
    assert!(unnamed.message().starts_with("event 0 has no concept:name"), "{unnamed}");
    let skipped =
        one::<Declare>(declare("response", json!({ "unnamed": "skip" })), json!({ "payload": [{ "x": 1 }, "A", "B"] }));
    assert_eq!((&skipped["result"], &skipped["declare"]["eventsWithoutActivity"]), (&json!(true), &json!(1)));
    let place = error::<Declare>(declare("response", json!({})), json!({ "payload": { "traces": [["A"], [5]] } }));
    assert!(place.message().starts_with("trace 1: event 0 is a number"), "{place}");
}

#[test]
fn declare_takes_what_the_caller_sends() {
    let body = json!({ "template": "chain-precedence", "activity": "X", "otherActivity": "Y", "activityKey": "step" });
    let msg = json!({ "req": { "body": body }, "payload": [{ "step": "X" }, { "step": "Y" }] });
    assert_eq!(one::<Declare>(declare("response", json!({})), msg)["declare"]["constraint"], "chain-precedence(X, Y)");
    let wrong = json!({ "req": { "body": { "template": "respond" } }, "payload": [] });
    let found = error::<Declare>(declare("response", json!({})), wrong);
    assert!(found.message().starts_with("msg.req.body.template is \"respond\"; one of existence, absence"), "{found}");
}
