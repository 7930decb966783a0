//! Messages: what the node does not touch is neither parsed nor sent, and what it does arrives as it should.

use probity_sdk::prelude::*;
use probity_sdk::testing::{Host, Sent};

/// Does what its configuration says.
#[derive(Clone, Config)]
struct Act {
    #[config(default = "")]
    what: String,
}

#[node(type = "act", category = "test", outputs = ["a", "b"], wants = ["payload", "topic", "req"])]
impl Node for Act {
    fn process(&self, mut msg: Message, cx: &Context) -> Result<()> {
        match self.what.as_str() {
            "pass" => {}
            "look" => {
                msg.payload();
            }
            "change" => msg.payload_mut()["b"] = json!(2),
            "set-at" => {
                msg.set_at("payload.list[1].x", 5)?;
            }
            "remove" => {
                msg.remove("topic");
                msg.remove("not-wanted");
            }
            "bytes" => {
                let bytes = msg.bytes("payload").context("no bytes")?.to_vec();
                msg.set("text", msg.text("payload").unwrap_or("none").to_owned());
                msg.set_bytes("back", [&bytes[..], b"!"].concat());
            }
            "new" => {
                let mut other = Message::new();
                other.set("payload", "new");
                cx.emit(1, other)?;
            }
            "two" => {
                let mut first = msg.clone();
                first.set("n", 1);
                cx.emit(1, first)?;
                msg.set("n", 2);
            }
            "typed" => {
                let numbers: Vec<f64> = msg.payload_as()?;
                msg.set_as("payload", &numbers.iter().sum::<f64>())?;
            }
            "not-wanted" => {
                msg.get("headers");
            }
            "req" => {
                let req = msg.req();
                let found = json!([
                    req.method(),
                    req.header("X-Token"),
                    req.query(),
                    req.params(),
                    req.cookies(),
                    req.body(),
                    msg.param("limit"),
                    msg.at("req.body.list[0]")
                ]);
                msg.set_payload(found);
            }
            "port" => return cx.emit(2, msg),
            "http" => {
                cx.http().get("http://localhost/").send()?;
            }
            other => bail!("unknown: {other}"),
        }
        cx.emit(0, msg)
    }
}

fn act(what: &str, msg: Value) -> Result<Vec<Sent>> {
    Host::new().process::<Act>(json!({ "what": what }), msg)
}

fn only(what: &str, msg: Value) -> Value {
    let mut sent = act(what, msg).unwrap();
    assert_eq!((sent.len(), sent[0].port), (1, 0));
    sent.remove(0).msg
}

#[test]
fn untouched_and_unwanted_properties_stay() {
    let message = json!({ "payload": { "z": 1, "a": 0.1 }, "topic": "t", "other": [1], "res": {} });
    assert_eq!(only("pass", message.clone()), message);
    assert_eq!(only("look", message.clone()), message);
    let changed = only("change", message.clone());
    assert_eq!(changed["payload"].to_string(), r#"{"z":1,"a":0.1,"b":2}"#, "keys keep their order");
    assert_eq!(changed["other"], json!([1]));
    assert_eq!(only("remove", json!({ "topic": 1, "not-wanted": 2, "payload": 3 })), json!({ "payload": 3 }));
}

#[test]
fn nothing_but_changes_crosses() {
    // A payload that is no JSON at all: had the SDK parsed it, it would have panicked.
    use probity_sdk::bindings::probity::plugin::types;
    let property =
        |name: &str, text: &str| types::Property { name: name.to_owned(), value: types::Value::Json(text.to_owned()) };
    let properties = vec![property("payload", "{no json"), property("topic", "\"t\"")];
    let wire = types::Message { run: "r".to_owned(), caller: true, properties };
    let mut message = Message::incoming(wire, None);
    assert_eq!(message.get("topic"), Some(&json!("t")));
    assert_eq!(message.names().collect::<Vec<_>>(), ["payload", "topic"]);
    message.set("n", 1);
    let emission = message.into_emission(3).unwrap();
    assert!(emission.keep && emission.delete.is_empty());
    let names: Vec<_> = emission.set.iter().map(|property| property.name.as_str()).collect();
    assert_eq!((emission.port, names), (3, vec!["n"]));
}

#[test]
fn deep_messages_are_no_reason_to_panic() {
    // Bodies may be 128 deep, and flows put them into other objects.
    let depth = 400;
    let text = format!("{}1{}", "[".repeat(depth), "]".repeat(depth));
    use probity_sdk::bindings::probity::plugin::types;
    let property = types::Property { name: "payload".to_owned(), value: types::Value::Json(text.clone()) };
    let wire = types::Message { run: String::new(), caller: false, properties: vec![property] };
    let mut message = Message::incoming(wire, None);
    message.payload_mut();
    let types::Value::Json(back) = message.into_emission(0).unwrap().set.remove(0).value else { panic!("JSON") };
    assert_eq!(back, text);
}

#[test]
fn values_at_paths() {
    let message = Message::from(json!({ "payload": { "a.b": [{ "c": 1 }] }, "topic": null }));
    assert_eq!(message.at("payload[\"a.b\"][0].c"), Some(&json!(1)));
    assert_eq!(message.at("msg.payload['a.b'].0.c"), Some(&json!(1)));
    assert_eq!((message.at("payload.x"), message.at("topic"), message.at("")), (None, Some(&Value::Null), None));
    assert_eq!(only("set-at", json!({ "payload": { "list": [0] } }))["payload"], json!({ "list": [0, { "x": 5 }] }));
    let error = act("set-at", json!({})).unwrap_err();
    assert_eq!(error.message(), "msg.payload.list[1].x: [1] of something that is not an array");
}

#[test]
fn bytes_stay_bytes() {
    let buffer = |bytes: &[u8]| json!({ "type": "Buffer", "data": bytes });
    let sent = only("bytes", json!({ "payload": buffer(b"hi") }));
    assert_eq!((&sent["text"], &sent["back"]), (&json!("hi"), &buffer(b"hi!")));
    let sent = only("bytes", json!({ "payload": buffer(&[255]) }));
    assert_eq!((&sent["text"], &sent["payload"]), (&json!("none"), &buffer(&[255])));
    assert_eq!(act("bytes", json!({ "payload": "hi" })).unwrap_err().message(), "no bytes");
}

#[test]
fn new_messages_and_several() {
    let sent = act("new", json!({ "payload": 1 })).unwrap();
    assert_eq!(sent[0], Sent { port: 1, msg: json!({ "payload": "new" }) });
    assert_eq!(sent[1], Sent { port: 0, msg: json!({ "payload": 1 }) });
    let sent = act("two", json!({ "payload": 1 })).unwrap();
    assert_eq!((&sent[0].msg, &sent[1].msg), (&json!({ "payload": 1, "n": 1 }), &json!({ "payload": 1, "n": 2 })));
}

#[test]
fn typed_payloads() {
    assert_eq!(only("typed", json!({ "payload": [1, 2.5] })), json!({ "payload": 3.5 }));
    assert_eq!(act("typed", json!({})).unwrap_err().message(), "msg.payload is undefined");
    let error = act("typed", json!({ "payload": ["x"] })).unwrap_err();
    assert!(error.message().starts_with("msg.payload: invalid type: string"), "{error}");
}

#[test]
fn what_the_caller_sent() {
    let req = json!({
        "method": "POST", "headers": { "x-token": "t" }, "query": { "q": "1" }, "params": { "id": "7" },
        "cookies": {}, "body": { "limit": 5, "list": ["first"], "none": null }
    });
    let expected = json!([
        "POST", "t", { "q": "1" }, { "id": "7" }, {}, { "limit": 5, "list": ["first"], "none": null }, 5, "first"
    ]);
    assert_eq!(only("req", json!({ "req": req }))["payload"], expected);
    assert_eq!(only("req", json!({}))["payload"], json!([null, null, null, null, null, null, null, null]));
}

#[test]
#[should_panic(expected = "add \"headers\" to `wants")]
fn reading_what_does_not_cross_fails_the_test() {
    let _ = act("not-wanted", json!({ "headers": 1 }));
}

#[test]
fn the_host_refuses_what_the_real_one_refuses() {
    let error = act("port", json!({})).unwrap_err();
    assert_eq!(error.message(), "output 2 does not exist: there are 2, counted from 0");
    let error = act("http", json!({})).unwrap_err();
    assert_eq!(error.code(), Some("not-granted"));
    assert!(error.message().contains("`act` did not declare the capability `http`"), "{error}");
}

#[test]
fn errors_say_where_they_come_from() {
    let missing: Option<u8> = None;
    assert_eq!(missing.context("no card").code("no-card").unwrap_err().to_string(), "no card");
    let parsed: Result<u8> = "x".parse::<u8>().context("card").code("bad-card");
    let error = parsed.unwrap_err();
    assert_eq!((error.message(), error.code()), ("card: invalid digit found in string", Some("bad-card")));
    assert_eq!(format!("{error:?}"), "card: invalid digit found in string (bad-card)");
}

/// Reads and sets by path, one after the other, as its configuration says.
#[derive(Clone, Config)]
struct Steps {
    /// Pairs of a path and a value; null: only read.
    #[config(default = [])]
    steps: Vec<Value>,
}

#[node(type = "steps", category = "test", wants = ["payload", "topic"])]
impl Node for Steps {
    fn process(&self, mut msg: Message, cx: &Context) -> Result<()> {
        let mut found = Vec::new();
        for step in &self.steps {
            let path = step[0].as_str().context("a path")?;
            let copy = msg.clone();
            found.push(json!(copy.at(path)));
            found.push(json!(msg.at(path)));
            if !step[1].is_null() {
                found.push(json!(msg.set_at(path, step[1].clone()).is_ok()));
                found.push(json!(msg.at(path)));
            }
        }
        msg.set("found", found);
        cx.emit(0, msg)
    }
}

/// A payload that is read and changed by a few paths is never parsed whole: it must not show.
#[test]
fn paths_lead_to_the_same_whether_or_not_all_of_it_was_read() {
    let payload = json!({
        "a": { "b": [1, { "c": "x,}]" }], "\u{1F600}\"": 2 }, "empty": {}, "list": [], "n": -1.5e-9, "s": "é\\\"",
        "null": null
    });
    let paths = [
        "payload.a.b[1].c",
        "payload.a.b.0",
        "payload.a.b[2]",
        "payload.a.new",
        "payload.empty.x",
        "payload.list[0]",
        "payload.n",
        "payload.s",
        "payload.null.x",
        "payload.a",
        "payload.s.x",
        "payload.x.y.z",
        "payload.a.b[9]",
        "payload['a'].b[1]",
        "topic",
        "topic.x",
        "payload",
    ];
    let values = [json!(null), json!("t\"ü"), json!({ "k": [1.5, null] })];
    // Each list of steps is done twice: at once, and after so many reads that the payload has been parsed.
    for (i, first) in paths.iter().enumerate() {
        for (j, second) in paths.iter().enumerate() {
            let (x, y) = (&values[(i + j) % 3], &values[(i + 2 * j) % 3]);
            let steps = [json!([first, x]), json!([second, y]), json!([first, null])];
            let mut late = vec![json!(["payload.n", null]); 6];
            late.extend(steps.clone());
            let run = |steps: &[Value]| {
                let host = Host::new();
                let message = json!({ "payload": payload, "topic": "t" });
                let mut sent = host.process::<Steps>(json!({ "steps": steps }), message).unwrap();
                let mut msg = sent.remove(0).msg;
                let found = msg["found"].as_array().unwrap().clone();
                msg["found"] = json!(null);
                (msg, found)
            };
            let (soon, late) = (run(&steps), run(&late));
            assert_eq!(soon.0, late.0, "{first} {second}");
            assert_eq!(soon.1[..], late.1[12..], "{first} {second}");
        }
    }
}
