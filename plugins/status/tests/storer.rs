//! `status-storer` through the SDK's host: counts, requests, repetitions, and what it refuses.

#![allow(clippy::unwrap_used)]

use probity_sdk::testing::{Host, Response, Sent};
use probity_sdk::{Error, Result, Value, json};
use status::StatusStorer;

const URL: &str = "http://backend.test/api/v1/computations/bulk";
const GROUP: &str = "11111111-1111-4111-8111-111111111111";

fn msg(i: usize) -> Value {
    json!({
        "payload": { "result": i % 2 == 0, "scope": { "n": i }, "evidences": [{ "id": "e", "key": "k", "value": i, "result": true }] },
        "req": { "body": { "backendUrl": URL, "computationGroup": GROUP, "controlId": 7, "from": "a", "to": "b" },
                 "headers": { "x-access-token": "caller" } }
    })
}

fn sized(i: usize, size: impl Into<Value>) -> Value {
    let mut msg = msg(i);
    msg["size"] = size.into();
    msg
}

fn host() -> Host {
    let host = Host::new();
    host.answer("POST", URL, 201, json!({}));
    host
}

fn put(host: &Host, msg: Value) -> Result<Vec<Sent>> {
    host.process::<StatusStorer>(json!({}), msg)
}

fn bodies(host: &Host) -> Vec<Value> {
    host.requests().iter().map(|request| probity_sdk::serde_json::from_slice(&request.body).unwrap()).collect()
}

fn numbers(host: &Host) -> Vec<u64> {
    let bodies = bodies(host);
    bodies
        .iter()
        .flat_map(|b| b["computations"].as_array().unwrap())
        .map(|row| row["scope"]["n"].as_u64().unwrap())
        .collect()
}

fn assert_done_once_and_last(host: &Host) {
    let done: Vec<bool> = bodies(host).iter().map(|body| body["done"].as_bool().unwrap()).collect();
    assert_eq!(done.iter().filter(|done| **done).count(), 1, "{done:?}");
    assert!(done.last().unwrap());
}

#[test]
fn every_count_goes_out_whole_and_is_said_to_be_done_once() {
    for n in [1, 2, 3, 4, 7, 50, 200] {
        let host = host();
        for i in 0..n {
            let sent = put(&host, sized(i, n)).unwrap();
            assert_eq!(sent.len(), usize::from(i == n - 1), "{i} of {n}");
            if let Some(sent) = sent.first() {
                assert_eq!(sent.msg["payload"], json!({ "message": "Computations succesfully stored" }));
            }
        }
        assert_eq!(numbers(&host), (0..n as u64).collect::<Vec<_>>());
        assert_done_once_and_last(&host);
        // Nothing is left for the run's end to do.
        assert_eq!(host.run_end::<StatusStorer>(json!({}), sized(n - 1, n)).unwrap(), []);
        assert_eq!(numbers(&host).len(), n);
    }
}

#[test]
fn a_row_is_what_the_backend_knows() {
    let host = host();
    put(&host, sized(0, 1)).unwrap();
    let expected = json!({ "computations": [{
        "computationGroup": GROUP, "period": { "from": "a", "to": "b" }, "controlId": 7, "value": true,
        "scope": { "n": 0 }, "evidences": [{ "id": "e", "key": "k", "value": 0, "result": true }] }], "done": true });
    assert_eq!(bodies(&host), [expected]);
    let headers = &host.requests()[0].headers;
    assert!(headers.contains(&("content-type".to_owned(), "application/json".to_owned())));
    assert!(headers.contains(&("x-access-token".to_owned(), "caller".to_owned())));
}

#[test]
fn without_a_number_the_end_of_the_run_completes() {
    let host = host();
    for i in 0..5 {
        assert_eq!(put(&host, msg(i)).unwrap(), []);
    }
    let sent = host.run_end::<StatusStorer>(json!({}), msg(4)).unwrap();
    assert_eq!(sent.len(), 1);
    assert_eq!(numbers(&host), [0, 1, 2, 3, 4]);
    assert_done_once_and_last(&host);
}

#[test]
fn the_length_of_a_sequence_completes_and_nested_ones_wait_for_the_runs_end() {
    let host = host();
    let parts = |i: usize, parts: Value| {
        let mut msg = msg(i);
        msg["parts"] = parts;
        put(&host, msg).unwrap()
    };
    assert_eq!(parts(0, json!({ "id": "s", "index": 0, "count": 2 })).len(), 0);
    assert_eq!(parts(1, json!({ "id": "s", "index": 1, "count": 2 })).len(), 1);
    assert_done_once_and_last(&host);

    let host = self::host();
    let mut nested = msg(0);
    nested["parts"] = json!({ "id": "inner", "index": 0, "count": 1, "parts": { "id": "outer", "count": 2 } });
    assert_eq!(put(&host, nested.clone()).unwrap(), []);
    assert_eq!(host.run_end::<StatusStorer>(json!({}), nested).unwrap().len(), 1);
}

#[test]
fn fewer_than_said_is_an_error_or_stored_if_the_flow_wants_it() {
    let host = host();
    put(&host, sized(0, 3)).unwrap();
    let error = host.run_end::<StatusStorer>(json!({}), sized(0, 3)).unwrap_err();
    assert!(error.message().starts_with("nothing was stored: 1 of 3 results came"), "{error}");
    assert_eq!(host.requests().len(), 0);

    let host = self::host();
    put(&host, sized(0, 3)).unwrap();
    let config = json!({ "fewer": "store" });
    assert_eq!(host.run_end::<StatusStorer>(config, sized(0, 3)).unwrap().len(), 1);
    assert_done_once_and_last(&host);
}

#[test]
fn one_more_than_said_is_an_error_and_is_not_sent() {
    let host = host();
    put(&host, sized(0, 1)).unwrap();
    assert!(put(&host, sized(1, 1)).unwrap_err().message().contains("one result more than the 1"));
    assert_eq!(numbers(&host), [0]);
    assert!(put(&host, sized(1, 2)).unwrap_err().message().contains("an earlier result of the same computation"));
}

#[test]
fn runs_nobody_waits_for_join_by_size_and_begin_anew() {
    let host = host();
    host.caller(false);
    for round in 0..2 {
        for i in 0..3 {
            host.run(&format!("run-{round}-{i}"));
            let sent = put(&host, sized(i, 3)).unwrap();
            assert_eq!(sent.len(), usize::from(i == 2));
            assert_eq!(host.run_end::<StatusStorer>(json!({}), sized(i, 3)).unwrap(), []);
        }
    }
    assert_eq!(numbers(&host), [0, 1, 2, 0, 1, 2]);
    // Without a size each run is its own.
    let host = self::host();
    host.caller(false);
    for i in 0..2 {
        host.run(&format!("run-{i}"));
        put(&host, msg(i)).unwrap();
        assert_eq!(host.run_end::<StatusStorer>(json!({}), msg(i)).unwrap().len(), 1);
    }
    assert_eq!(bodies(&host).len(), 2);
}

#[test]
fn interleaved_callers_do_not_mix() {
    let host = host();
    for i in 0..4 {
        for caller in ["x", "y"] {
            host.run(caller);
            let mut msg = sized(i, 4);
            msg["req"]["body"]["computationGroup"] = caller.into();
            msg["req"]["headers"]["x-access-token"] = caller.into();
            put(&host, msg).unwrap();
        }
    }
    assert_eq!(bodies(&host).len(), 2);
    for (body, request) in bodies(&host).iter().zip(host.requests()) {
        let group = body["computations"][0]["computationGroup"].as_str().unwrap();
        assert!(request.headers.contains(&("x-access-token".to_owned(), group.to_owned())));
        assert_eq!(body["computations"].as_array().unwrap().len(), 4);
        assert!(body["computations"].as_array().unwrap().iter().all(|row| row["computationGroup"] == group));
    }
}

#[test]
fn requests_are_under_the_limit_and_as_large_as_possible() {
    let host = host();
    let n = 10_000;
    for i in 0..n {
        put(&host, sized(i, n)).unwrap();
    }
    assert_eq!(numbers(&host), (0..n as u64).collect::<Vec<_>>());
    assert_done_once_and_last(&host);
    let sizes: Vec<usize> = host.requests().iter().map(|request| request.body.len()).collect();
    assert!(sizes.iter().all(|size| *size <= 100_000), "{sizes:?}");
    assert!(sizes[..sizes.len() - 1].iter().all(|size| *size > 99_000), "{sizes:?}");
}

#[test]
fn a_number_of_results_per_request_is_kept_to() {
    for (buffer, expected) in [(json!(3), vec![3, 3, 1]), (json!("2"), vec![2, 2, 2, 1]), (json!(0), vec![1; 7])] {
        let host = host();
        for i in 0..7 {
            let mut msg = sized(i, 7);
            msg["req"]["body"]["bufferSize"] = buffer.clone();
            put(&host, msg).unwrap();
        }
        let counts: Vec<usize> = bodies(&host).iter().map(|b| b["computations"].as_array().unwrap().len()).collect();
        assert_eq!(counts, expected);
        assert_done_once_and_last(&host);
    }
}

#[test]
fn a_result_larger_than_a_request_is_an_error_before_anything_is_sent() {
    let host = host();
    let mut large = sized(0, 2);
    large["payload"]["evidences"] = json!(["x".repeat(100_000)]);
    let error = put(&host, large).unwrap_err();
    assert!(error.message().contains("the backend takes 100000 in one request"), "{error}");
    assert!(put(&host, sized(1, 2)).unwrap_err().message().starts_with("nothing was stored: another result"));
    assert_eq!(host.requests().len(), 0);
}

#[test]
fn a_result_that_is_unknown_stops_the_whole_also_without_a_number() {
    for (result, says) in [
        (json!(null), "is null, so unknown"),
        (json!("maybe"), "is \"maybe\": true or false was expected"),
        (json!(1), "is 1: true or false was expected"),
    ] {
        let host = host();
        put(&host, msg(0)).unwrap();
        let mut bad = msg(1);
        bad["payload"]["result"] = result;
        let error = put(&host, bad.clone()).unwrap_err();
        assert!(error.message().contains(says), "{error}");
        assert_eq!(host.run_end::<StatusStorer>(json!({}), bad).unwrap(), []);
        assert_eq!(host.requests().len(), 0);
    }
    let error = put(&host(), json!({ "payload": {}, "req": { "body": { "computationGroup": "g" } } })).unwrap_err();
    assert!(error.message().starts_with("msg.payload.result is missing"), "{error}");
    let error = put(&host(), json!({ "payload": { "result": true } })).unwrap_err();
    assert!(error.message().starts_with("msg.req.body.computationGroup is missing"), "{error}");
}

#[test]
fn controls_and_periods_are_read_as_status_sends_them() {
    let row = |change: fn(&mut Value), config: Value| {
        let host = host();
        let mut msg = sized(0, 1);
        change(&mut msg["req"]["body"]);
        host.process::<StatusStorer>(config, msg).map(|_| bodies(&host)[0]["computations"][0].clone())
    };
    assert_eq!(row(|body| body["controlId"] = json!(""), json!({})).unwrap()["controlId"], json!(null));
    assert_eq!(row(|body| body["controlId"] = json!(null), json!({})).unwrap()["controlId"], json!(null));
    assert_eq!(row(|body| body["controlId"] = json!("12"), json!({})).unwrap()["controlId"], json!(12));
    assert!(row(|body| body["controlId"] = json!("x"), json!({})).unwrap_err().message().contains("\"x\""));
    assert!(row(|body| body["controlId"] = json!(1.5), json!({})).is_err());
    let without = |body: &mut Value| {
        body.as_object_mut().unwrap().remove("from");
        body["initial"] = json!("2026-01-01");
    };
    assert_eq!(row(without, json!({ "from": "x" })).unwrap()["period"], json!({ "from": "2026-01-01", "to": "b" }));
    let none = |body: &mut Value| {
        body.as_object_mut().unwrap().remove("from");
    };
    assert_eq!(row(none, json!({ "from": "x" })).unwrap()["period"]["from"], "x");
}

fn answers(list: &[(u16, &[(&str, &str)])]) -> Host {
    let host = Host::new();
    for (status, headers) in list {
        let headers = headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        host.answer_with("POST", URL, Response { status: *status, headers, body: b"{}".to_vec() });
    }
    host
}

#[test]
fn what_surely_was_not_processed_is_sent_again() {
    let host = answers(&[
        (503, &[("retry-after", "2")]),
        (429, &[("Retry-After", "Thu, 01 Jan 1970 00:00:05 GMT")]),
        (201, &[]),
    ]);
    assert_eq!(put(&host, sized(0, 1)).unwrap().len(), 1);
    assert_eq!(host.requests().len(), 3);

    let host = Host::new();
    host.fail("POST", URL, Error::new("connect ECONNREFUSED backend.test:80").with_code("ECONNREFUSED"));
    host.answer("POST", URL, 201, json!({}));
    assert_eq!(put(&host, sized(0, 1)).unwrap().len(), 1);
    assert_eq!(host.requests().len(), 2);
}

#[test]
fn what_may_have_been_processed_is_not_sent_again() {
    for host in
        [answers(&[(500, &[]), (201, &[])]), answers(&[(503, &[]), (201, &[])]), answers(&[(502, &[]), (201, &[])])]
    {
        let error = put(&host, sized(0, 1)).unwrap_err();
        assert!(error.message().starts_with("none of the 1 results was stored by STATUS: "), "{error}");
        assert_eq!(host.requests().len(), 1);
    }
    for code in ["ETIMEDOUT", "ECONNRESET", "EPROTO"] {
        let host = Host::new();
        host.fail("POST", URL, Error::new("gone").with_code(code));
        assert_eq!(put(&host, sized(0, 1)).unwrap_err().code(), Some(code));
        assert_eq!(host.requests().len(), 1);
    }
    // For ever unreachable: not asked for ever.
    let host = Host::new();
    host.fail("POST", URL, Error::new("refused").with_code("ECONNREFUSED"));
    assert!(put(&host, sized(0, 1)).is_err());
    assert_eq!(host.requests().len(), 5);
}

#[test]
fn after_a_failed_request_nothing_follows_and_done_is_never_said() {
    let host = answers(&[(201, &[]), (500, &[]), (201, &[])]);
    let config = json!({ "bufferSize": 2 });
    let mut results = (0..6).map(|i| host.process::<StatusStorer>(config.clone(), sized(i, 6)));
    let error = results.find_map(Result::err).unwrap();
    assert!(error.message().starts_with("only 2 of the 6 results were stored by STATUS"), "{error}");
    assert!(bodies(&host).iter().all(|body| body["done"] == false));
    assert_eq!(bodies(&host).len(), 2);
    assert_eq!(host.run_end::<StatusStorer>(config, sized(5, 6)).unwrap(), []);
    assert_eq!(bodies(&host).len(), 2);
}

#[test]
fn a_secret_goes_to_the_configured_server_only() {
    let config = json!({ "accessToken": "secret:STATUS", "backendUrl": "http://backend.test/other" });
    let mut msg = sized(0, 1);
    msg["req"]["headers"] = json!({});
    let host = host();
    host.secret("STATUS");
    host.process::<StatusStorer>(config.clone(), msg.clone()).unwrap();
    assert!(host.requests()[0].headers.contains(&("x-access-token".to_owned(), "secret:STATUS".to_owned())));
    for url in [
        "http://evil.test/x",
        "http://backend.test.evil.test/",
        "http://backend.test@evil.test/",
        "https://backend.test/",
    ] {
        let host = self::host();
        host.secret("STATUS");
        msg["req"]["body"]["backendUrl"] = url.into();
        let error = host.process::<StatusStorer>(config.clone(), msg.clone()).unwrap_err();
        assert!(error.message().contains("is only sent to http://backend.test"), "{error}");
        assert_eq!(host.requests().len(), 0);
    }
}
