//! The nodes through the SDK's host: pairs, callers, unknown operands.

#![allow(clippy::unwrap_used)]

use logic::{And, IfElse, Implies, LesserThan, Or};
use probity_sdk::testing::{Host, Sent};
use probity_sdk::{NodeType, Result, Value, json};

fn result(result: Value) -> Value {
    json!({ "payload": { "result": result } })
}

/// What the two results combine to; nothing may be sent after the first.
fn combined<N: NodeType>(a: bool, b: bool) -> Value {
    let host = Host::new();
    assert_eq!(host.process::<N>(json!({}), result(json!(a))).unwrap(), []);
    host.process::<N>(json!({}), result(json!(b))).unwrap()[0].msg["payload"]["result"].clone()
}

#[test]
fn truth_tables() {
    for (a, b) in [(false, false), (false, true), (true, false), (true, true)] {
        assert_eq!(combined::<And>(a, b), a && b);
        assert_eq!(combined::<Or>(a, b), a || b);
        assert_eq!(combined::<Implies>(a, b), !a || b);
    }
}

#[test]
fn what_is_not_known_is_an_error_and_no_operand() {
    let host = Host::new();
    for unknown in [json!(null), json!("true"), json!(1), json!({})] {
        let error = host.process::<And>(json!({}), result(unknown.clone())).unwrap_err();
        assert!(error.message().starts_with(&format!("msg.payload.result is {unknown}: true or false")), "{error}");
    }
    assert!(host.process::<And>(json!({}), json!({})).unwrap_err().message().contains("is missing"));
    assert_eq!(host.process::<And>(json!({}), result(json!(true))).unwrap(), []);
}

fn interleaved<N: NodeType>(first: impl Fn(usize) -> Value, second: impl Fn(usize) -> Value) -> Vec<Value> {
    let host = Host::new();
    let call = |run: usize, msg: Value| -> Result<Vec<Sent>> {
        host.run(&format!("run-{run}")).process::<N>(json!({ "storeEvidences": true }), msg)
    };
    for run in 0..200 {
        assert_eq!(call(run, first(run)).unwrap(), []);
    }
    (0..200).rev().map(|run| call(run, second(run)).unwrap()[0].msg["payload"].clone()).collect()
}

#[test]
fn two_hundred_callers_never_mix() {
    let operand = |run: usize, result: bool, name: &str| json!({ "payload": { "result": result, "evidences": [{ "id": format!("{name}{run}") }], "run": run } });
    let first = |run: usize| operand(run, run.is_multiple_of(3), "a");
    let second = |run: usize| operand(run, run.is_multiple_of(2), "b");
    for (node, combine) in [
        (interleaved::<And>(first, second), (|a, b| a && b) as fn(bool, bool) -> bool),
        (interleaved::<Or>(first, second), |a, b| a || b),
        (interleaved::<Implies>(first, second), |a, b| !a || b),
    ] {
        for (payload, run) in node.iter().zip((0..200usize).rev()) {
            let (a, b) = (run.is_multiple_of(3), run.is_multiple_of(2));
            assert_eq!((&payload["run"], &payload["result"]), (&json!(run), &json!(combine(a, b))));
            let evidences = &payload["evidences"];
            assert_eq!(
                (&evidences[0]["id"], &evidences[1]["id"]),
                (&json!(format!("a{run}")), &json!(format!("b{run}")))
            );
            assert_eq!(evidences[2]["value"], json!([a, b]));
        }
    }
    let number = |position: usize, number: usize| json!({ "position": position, "payload": { "result": number } });
    let compared = interleaved::<LesserThan>(|run| number(2, run), |run| number(1, 100 + run / 3));
    for (payload, run) in compared.iter().zip((0..200usize).rev()) {
        assert_eq!(payload["evidences"][0]["value"], json!([100 + run / 3, run]));
        assert_eq!(payload["result"], 100 + run / 3 < run);
    }
}

#[test]
fn parts_tell_the_splits_of_one_run_apart() {
    let host = Host::new();
    let of = |id: &str, value: bool| json!({ "parts": { "id": id }, "payload": { "result": value } });
    assert_eq!(host.process::<And>(json!({}), of("x", true)).unwrap(), []);
    assert_eq!(host.process::<And>(json!({}), of("y", false)).unwrap(), []);
    assert_eq!(host.process::<And>(json!({}), of("x", true)).unwrap()[0].msg["payload"]["result"], true);
    assert_eq!(host.process::<And>(json!({}), of("y", true)).unwrap()[0].msg["payload"]["result"], false);
}

#[test]
fn injects_share_their_operands_as_in_node_red() {
    let host = Host::new();
    host.caller(false).run("inject-1");
    assert_eq!(host.process::<And>(json!({}), result(json!(true))).unwrap(), []);
    assert_eq!(host.run_end::<And>(json!({}), result(json!(true))).unwrap(), []);
    host.run("inject-2");
    assert_eq!(host.process::<And>(json!({}), result(json!(true))).unwrap().len(), 1);
}

#[test]
fn a_caller_hears_of_an_operand_without_partner() {
    let host = Host::new();
    assert_eq!(host.process::<Or>(json!({}), result(json!(true))).unwrap(), []);
    let error = host.run_end::<Or>(json!({}), result(json!(true))).unwrap_err();
    assert!(error.message().starts_with("the run ended while 1 operand waited for a second one:"), "{error}");
    host.process::<Or>(json!({}), result(json!(true))).unwrap();
    assert_eq!(host.run_end::<Or>(json!({}), result(json!(true))).unwrap(), []);
    let number = json!({ "position": 1, "parts": { "id": "x" }, "payload": { "result": 1 } });
    host.run("other").process::<LesserThan>(json!({}), number.clone()).unwrap();
    let error = host.run_end::<LesserThan>(json!({}), number).unwrap_err();
    assert!(error.message().contains("(parts.id \"x\")"), "{error}");
}

#[test]
fn partners_that_never_come_do_not_pile_up() {
    let host = Host::new();
    host.caller(false);
    for at in 0..1001 {
        let msg = json!({ "parts": { "id": format!("p{at}") }, "payload": { "result": true } });
        assert_eq!(host.process::<And>(json!({}), msg).unwrap(), []);
    }
    let expected = "warn: more than 1000 operands wait: the oldest (parts.id \"p0\") was dropped";
    assert_eq!(host.logs(), [expected]);
}

fn implied(config: Value, a: bool, b: bool, status: Value) -> Result<Vec<Sent>> {
    let host = Host::new();
    let msg = |result: bool| json!({ "req": { "query": { "status": status } }, "payload": { "result": result } });
    host.process::<Implies>(config.clone(), msg(a))?;
    host.process::<Implies>(config, msg(b))
}

#[test]
fn implies_sends_what_the_status_asks_for() {
    for (a, b) in [(false, false), (false, true), (true, false), (true, true)] {
        let holds = !a || b;
        assert_eq!(implied(json!({}), a, b, json!("true")).unwrap().len(), usize::from(holds));
        assert_eq!(implied(json!({}), a, b, json!("false")).unwrap().len(), usize::from(!holds));
        assert_eq!(implied(json!({ "compat": true }), a, b, json!("false")).unwrap().len(), 1);
    }
    let error = implied(json!({}), true, true, json!("maybe")).unwrap_err();
    assert_eq!(error.message(), "the request's query has status \"maybe\": true, false or no status was expected");
}

#[test]
fn if_else_sends_what_is_not_known_nowhere() {
    let host = Host::new();
    assert_eq!(host.process::<IfElse>(json!({}), result(json!(true))).unwrap()[0].port, 0);
    assert_eq!(host.process::<IfElse>(json!({}), result(json!(false))).unwrap()[0].port, 1);
    let error = host.process::<IfElse>(json!({}), result(json!(null))).unwrap_err();
    assert_eq!(error.message(), "msg.payload.result is not boolean: it is null");
    assert!(host.process::<IfElse>(json!({}), json!({ "payload": 5 })).is_err());
}

fn less(config: Value, msg: Value) -> Result<Vec<Sent>> {
    Host::new().process::<LesserThan>(config, msg)
}

#[test]
fn fixed_values_need_no_position() {
    for (config, expected) in [
        (json!({ "aValue": "1", "bValue": "2" }), true),
        (json!({ "aValue": "3", "bValue": "2" }), false),
        (json!({ "bValue": "6" }), true),
        (json!({ "aValue": 6 }), false),
    ] {
        let sent = less(config.clone(), json!({ "payload": { "result": 5 } })).unwrap();
        assert_eq!(sent[0].msg["payload"]["result"], expected, "{config}");
    }
    let zero = json!({ "req": { "body": { "aValue": 0 } }, "payload": { "result": 2 } });
    assert_eq!(less(json!({ "aValue": "5" }), zero).unwrap()[0].msg["payload"]["result"], true);
}

#[test]
fn what_is_no_number_is_an_error() {
    for (config, msg, expected) in [
        (json!({}), json!({ "position": 1, "payload": { "result": "1" } }), "msg.payload.result is \"1\": a number"),
        (json!({}), json!({ "position": 1, "payload": 1 }), "msg.payload.result is missing: a number"),
        (
            json!({ "lesserProperty": "a.b" }),
            json!({ "position": 2, "payload": { "a": 1 } }),
            "msg.payload.a.b is missing",
        ),
        (json!({}), json!({ "position": 3, "payload": { "result": 1 } }), "msg.position is 3: 1 (A) or 2 (B)"),
        (json!({}), json!({ "payload": { "result": 1 } }), "msg.position is missing: 1 (A) or 2 (B)"),
        (json!({ "aValue": "11 days" }), json!({ "payload": { "result": 1 } }), "aValue is \"11 days\"; a number"),
        (json!({ "aValue": "1,5" }), json!({ "payload": { "result": 1 } }), "aValue is \"1,5\"; a number"),
        (json!({}), json!({ "req": { "body": { "bValue": "x" } }, "payload": {} }), "msg.req.body.bValue is \"x\""),
    ] {
        let error = less(config, msg).unwrap_err();
        assert!(error.message().starts_with(expected), "{error}");
    }
}

#[test]
fn the_evidence_has_key_and_name() {
    let host = Host::new();
    let config = json!({ "bValue": 2, "storeEvidences": true });
    let sent = host.process::<LesserThan>(config, json!({ "payload": { "result": 1.5 } })).unwrap();
    let id = &host.evidence()[0].id;
    let expected = json!([{ "id": id, "key": "LESSER_THAN operation", "value": [1.5, 2], "result": true,
        "name": "LESSER_THAN operation", "property": "result" }]);
    assert_eq!(sent[0].msg["payload"]["evidences"], expected);
}
