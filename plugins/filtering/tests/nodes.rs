//! The nodes through the SDK's host: where ours differ from the originals, and what they refuse.

#![allow(clippy::unwrap_used)]

use filtering::{FilterBy, FilterByDate, GroupBy};
use probity_sdk::testing::{Host, Sent};
use probity_sdk::{NodeType, Value, json};

fn ports<N: NodeType>(config: &Value, msg: Value) -> Vec<u32> {
    let sent = Host::new().process::<N>(config.clone(), msg).unwrap();
    sent.iter().map(|sent| sent.port).collect()
}

fn error<N: NodeType>(config: Value, msg: Value) -> String {
    Host::new().process::<N>(config, msg).unwrap_err().message().to_owned()
}

#[test]
fn filter_by_uses_its_configuration() {
    let config = json!({ "valueType": "State", "attribute": "state", "value": "5" });
    assert_eq!(ports::<FilterBy>(&config, json!({ "payload": { "state": "5" } })), [0]);
    assert_eq!(ports::<FilterBy>(&config, json!({ "payload": { "state": 5 } })), [0]);
    assert_eq!(ports::<FilterBy>(&config, json!({ "payload": { "state": "6" } })), [1]);
    assert_eq!(ports::<FilterBy>(&config, json!({ "payload": {} })), [1]);
    let compat = json!({ "valueType": "State", "attribute": "state", "value": "5", "compat": true });
    assert_eq!(ports::<FilterBy>(&compat, json!({ "payload": { "state": 5 } })), [1]);
    let unknown = error::<FilterBy>(json!({ "valueType": "Colour" }), json!({ "payload": {} }));
    assert!(unknown.starts_with("Invalid filter type \"Colour\""), "{unknown}");
}

#[test]
fn a_month_before_the_last_of_march_is_the_last_of_february() {
    let host = Host::new();
    host.now_ms(1_711_886_400_000); // 2024-03-31T12:00:00Z
    let config = json!({ "valueType": "DateFromToday", "attribute": "date", "value": "1" });
    for (date, port) in [("2024-02-29T12:00:00Z", 0), ("2024-02-29T11:59:59Z", 1)] {
        let sent = host.process::<FilterBy>(config.clone(), json!({ "payload": { "date": date } })).unwrap();
        assert_eq!(sent[0].port, port, "{date}");
    }
    for payload in [json!({}), json!({ "date": "soon" }), json!({ "date": null })] {
        assert!(host.process::<FilterBy>(config.clone(), json!({ "payload": payload })).is_err(), "{payload}");
    }
}

#[test]
fn the_end_day_is_in_the_range_and_an_open_range_is_open() {
    let march = json!({ "attribute": "date", "startDate": "2024-03-01", "endDate": "2024-03-31" });
    let of = |date: &str| json!({ "payload": { "date": date } });
    assert_eq!(ports::<FilterByDate>(&march, of("2024-03-31T23:59:59.999Z")), [0]);
    assert_eq!(ports::<FilterByDate>(&march, of("2024-04-01T00:00:00Z")), [1]);
    let since = json!({ "attribute": "date", "startDate": "2024-03-01" });
    assert_eq!(ports::<FilterByDate>(&since, of("2030-01-01")), [0]);
    assert!(error::<FilterByDate>(json!({ "attribute": "date" }), of("2030-01-01")).contains("neither startDate"));
    let bad = json!({ "attribute": "date", "startDate": "spring" });
    assert!(error::<FilterByDate>(bad, of("2030-01-01")).starts_with("startDate is \"spring\""));
}

#[test]
fn each_element_of_a_list_is_a_message_of_its_own() {
    let march = json!({ "attribute": "date", "startDate": "2024-03-01", "endDate": "2024-03-31" });
    let list =
        json!([{ "date": "2024-03-02", "n": 1 }, { "date": "2024-04-02", "n": 2 }, { "date": "2024-03-04", "n": 3 }]);
    let sent = Host::new().process::<FilterByDate>(march.clone(), json!({ "payload": list, "topic": "t" })).unwrap();
    let found: Vec<_> = sent.iter().map(|sent| (sent.port, sent.msg["payload"]["n"].clone())).collect();
    assert_eq!(found, [(0, json!(1)), (1, json!(2)), (0, json!(3))]);
    assert!(sent.iter().all(|sent| sent.msg["topic"] == "t"));
    let holes = json!({ "payload": [{ "date": "2024-03-02" }, null, { "date": "x" }] });
    let refused = error::<FilterByDate>(march.clone(), holes.clone());
    assert!(
        refused.contains("msg.payload[1] is null") && refused.contains("msg.payload[2].date is \"x\""),
        "{refused}"
    );
    let mut compat = march.clone();
    compat["compat"] = json!(true);
    assert_eq!(ports::<FilterByDate>(&compat, holes), [0, 1, 1]);
    assert_eq!(ports::<FilterByDate>(&march, json!({ "payload": [] })), [1]);
}

fn row(kind: Value, len: usize) -> Value {
    json!({ "payload": { "kind": kind }, "len": len })
}

fn rows(host: &Host, rows: impl IntoIterator<Item = Value>) -> Vec<Sent> {
    let config = json!({ "property": "kind" });
    rows.into_iter().flat_map(|row| host.process::<GroupBy>(config.clone(), row).unwrap()).collect()
}

#[test]
fn a_row_without_the_property_counts_and_is_told() {
    let sent = rows(&Host::new(), [row(json!("A"), 5), row(json!(null), 5), row(json!(0), 5), row(json!(false), 5)]);
    assert_eq!(sent.len(), 1);
    let expected = json!({ "A": [{ "kind": "A" }], "0": [{ "kind": 0 }], "false": [{ "kind": false }] });
    assert_eq!(sent[0].msg["payload"], expected);
    assert_eq!(sent[0].msg["ungrouped"], json!([{ "kind": null }]));
}

#[test]
fn names_that_mean_something_to_javascript_are_names() {
    let sent = rows(&Host::new(), [row(json!("__proto__"), 3), row(json!("constructor"), 3)]);
    assert_eq!(sent[0].msg["payload"]["__proto__"], json!([{ "kind": "__proto__" }]));
}

#[test]
fn the_next_batch_begins_after_the_last_row() {
    let host = Host::new();
    let sent = rows(&host, ["A", "B", "C", "C"].map(|kind| row(json!(kind), 3)));
    assert_eq!(sent.len(), 2);
    assert_eq!(sent[1].msg["payload"], json!({ "C": [{ "kind": "C" }, { "kind": "C" }] }));
}

#[test]
fn two_runs_on_one_node_never_mix() {
    let host = Host::new();
    let mut all = Vec::new();
    for (run, kind) in [("one", "A"), ("two", "B"), ("two", "B"), ("one", "A")] {
        host.run(run);
        all.extend(rows(&host, [row(json!(kind), 3)]));
    }
    assert_eq!(all[0].msg["payload"], json!({ "B": [{ "kind": "B" }, { "kind": "B" }] }));
    assert_eq!(all[1].msg["payload"], json!({ "A": [{ "kind": "A" }, { "kind": "A" }] }));
}

#[test]
fn the_elements_of_a_list_have_no_header_line() {
    let host = Host::new();
    let row = |index: u32, of: &str| {
        let parts = json!({ "id": "s", "type": of, "index": index, "count": 3 });
        json!({ "payload": { "kind": index }, "len": "3", "parts": parts })
    };
    let sent = |index, of| rows(&host, [row(index, of)]).len();
    assert_eq!([sent(0, "array"), sent(1, "array"), sent(2, "array")], [0, 0, 1]);
    assert_eq!([sent(0, "string"), sent(1, "string")], [0, 1]);
}

#[test]
fn batches_of_one_run_are_told_apart_by_their_parts() {
    let part = |id: &str, n: u32| json!({ "payload": { "kind": id, "n": n }, "parts": { "id": id, "count": 2 } });
    let sent = rows(&Host::new(), [part("x", 1), part("y", 1), part("x", 2), part("y", 2)]);
    let first = json!({ "x": [{ "kind": "x", "n": 1 }, { "kind": "x", "n": 2 }] });
    assert_eq!(sent.iter().map(|sent| sent.msg["payload"].clone()).next(), Some(first));
    assert_eq!(sent.len(), 2);
}

#[test]
fn the_last_row_of_a_file_completes_and_counts_once() {
    let of = |index: usize| json!({ "payload": { "kind": "A", "n": index }, "index": index });
    let mut last = of(1);
    last["complete"] = json!(true);
    let sent = rows(&Host::new(), [of(0), of(1), last]);
    assert_eq!(sent.len(), 1);
    assert_eq!(sent[0].msg["payload"]["A"].as_array().unwrap().len(), 2);
}

#[test]
fn the_end_of_the_run_groups_what_nobody_counted_and_refuses_what_is_missing() {
    let host = Host::new();
    let config = json!({ "property": "kind" });
    let one = json!({ "payload": { "kind": "A" } });
    assert!(rows(&host, [one.clone(), one.clone()]).is_empty());
    let sent = host.run_end::<GroupBy>(config.clone(), one).unwrap();
    assert_eq!(sent[0].msg["payload"], json!({ "A": [{ "kind": "A" }, { "kind": "A" }] }));
    assert!(rows(&host, [row(json!("A"), 4)]).is_empty());
    let refused = host.run_end::<GroupBy>(config, row(json!("A"), 4)).unwrap_err();
    assert!(refused.message().starts_with("the run ended after 1 of 3 rows"), "{refused}");
}

#[test]
fn what_is_no_row_is_refused() {
    let config = json!({ "property": "kind" });
    for (msg, expected) in [
        (json!({}), "msg.payload is null"),
        (json!({ "payload": 5 }), "msg.payload is a number"),
        (json!({ "payload": {}, "len": "many" }), "msg.len is \"many\""),
        (json!({ "payload": { "kind": 1 }, "len": 1 }), "msg.len or msg.parts.count says that there are no rows"),
    ] {
        let refused = error::<GroupBy>(config.clone(), msg);
        assert!(refused.starts_with(expected), "{refused}");
    }
    assert_eq!(error::<GroupBy>(json!({}), json!({ "payload": {} })), "No property specified to group by.");
    let list = json!({ "payload": [{ "kind": "A" }, { "kind": "B" }] });
    assert_eq!(ports::<GroupBy>(&config, list), [0]);
}
