//! Messages: read late, changed keys only, and nothing of one in the next.

mod host;

use host::{evaluate, load, message, node};
use probity_javascript::interpreter::Handler;
use probity_javascript::{Message, Property, Value};

const PAYLOAD: &str = r#"{"n":1,"list":[1,{"a":"b"}],"t":"x"}"#;

#[test]
fn only_what_changed_goes_back() {
    let in_and_out = [
        ("node.send(msg)", "0 keep"),
        ("return msg", "0 keep"),
        ("msg.payload.n; msg.topic; return msg", "0 keep"),
        ("msg.payload.n += 1; return msg", r#"0 keep payload={"n":2,"list":[1,{"a":"b"}],"t":"x"}"#),
        ("msg.payload.list[1].a = 'c'; return msg", r#"0 keep payload={"n":1,"list":[1,{"a":"c"}],"t":"x"}"#),
        ("delete msg.payload.t; return msg", r#"0 keep payload={"n":1,"list":[1,{"a":"b"}]}"#),
        ("msg.payload = 5; return msg", "0 keep payload=5"),
        ("msg.added = {a: undefined, b: [undefined, NaN]}; return msg", r#"0 keep added={"b":[null,null]}"#),
        ("delete msg.topic; return msg", "0 keep -topic"),
        ("delete msg.payload; return msg", "0 keep -payload"),
        ("msg.topic = undefined; return msg", "0 keep -topic"),
        ("return {...msg, topic: 'new'}", r#"0 keep topic="new""#),
        ("const {payload, ...rest} = msg; return rest", "0 keep -payload"),
        ("return Object.assign({}, msg)", "0 keep"),
        (
            "const copy = RED.util.cloneMessage(msg); copy.payload.n = 7; node.send(copy); return msg",
            r#"0 keep payload={"n":7,"list":[1,{"a":"b"}],"t":"x"}"#,
        ),
        ("return {payload: msg.payload.n}", "0 new payload=1"),
        ("return [null, msg]", "1 keep"),
        ("return [[{a: 1}, {a: 2}], msg]", "0 new a=1"),
        ("msg.when = new Date(0); return msg", r#"0 keep when="1970-01-01T00:00:00.000Z""#),
        ("msg.raw = Buffer.from('hi'); return msg", "0 keep raw=[104, 105]"),
        ("msg.raw = new Uint8Array([1]).buffer; return msg", "0 keep raw=[1]"),
        (
            "msg.deep = {raw: Buffer.from('hi')}; return msg",
            r#"0 keep deep={"raw":{"type":"Buffer","data":[104,105]}}"#,
        ),
        ("msg.odd = '\\ud800x\\u0001\"\\\\'; return msg", "0 keep odd=\"\u{fffd}\u{fffd}\u{fffd}x\\u0001\\\"\\\\\""),
    ];
    for (body, first) in in_and_out {
        let emitted = node(body).emits(&[("_msgid", "\"m\""), ("topic", "\"t\""), ("payload", PAYLOAD)]);
        assert_eq!(emitted[0], first, "{body}");
    }
}

#[test]
fn several_outputs_and_messages_as_node_red_sends_them() {
    let emitted = node("node.send([[{a: 1}, null, {a: 2}], msg]); node.send([undefined, null])").emits(&[("a", "0")]);
    assert_eq!(emitted, ["0 new a=1", "0 new a=2", "1 keep"]);
    let emitted = node("node.send({a: 1}); await null; node.send({a: 2}); return {a: 3}").emits(&[]);
    assert_eq!(emitted, ["0 new a=1", "0 new a=2", "0 new a=3"]);
}

#[test]
fn a_message_looks_like_a_plain_object() {
    let mut loaded = node(
        "return { v: [Object.keys(msg), JSON.stringify(msg), 'payload' in msg, Object.hasOwn(msg, 'payload'), \
         msg.payload === msg.payload, typeof msg.payload.n] }",
    );
    let emitted = loaded.emits(&[("topic", "\"t\""), ("payload", r#"{"n":1}"#)]);
    assert_eq!(
        emitted[0],
        r#"0 new v=[["topic","payload"],"{\"topic\":\"t\",\"payload\":{\"n\":1}}",true,true,true,"number"]"#
    );
}

#[test]
fn bytes_are_buffers_and_stay_as_they_were() {
    let input = || Message {
        properties: vec![Property { name: "payload".into(), value: Value::Bytes(vec![0, 255, 65]) }],
        ..message(&[])
    };
    for (body, expected) in [
        ("msg.payload[0]; return msg", "0 keep"),
        ("msg.payload[0] = 1; return msg", "0 keep payload=[1, 255, 65]"),
        (
            "return { v: [Buffer.isBuffer(msg.payload), msg.payload.toString('hex'), msg.payload.length] }",
            r#"0 new v=[true,"00ff41",3]"#,
        ),
    ] {
        let mut loaded = node(body);
        loaded.interpreter.handle(Handler::Process, "t", input()).unwrap();
        assert_eq!(loaded.emitted(), [expected], "{body}");
    }
    let nested = r#"{"raw":{"type":"Buffer","data":[104,105]}}"#;
    assert_eq!(node("return {v: msg.payload.raw.toString()}").emits(&[("payload", nested)]), [r#"0 new v="hi""#]);
    assert_eq!(node("msg.payload.raw; return msg").emits(&[("payload", nested)]), ["0 keep"]);
}

#[test]
fn what_cannot_leave_is_an_error_that_names_the_property() {
    for (body, expected) in [
        ("msg.f = () => 1; node.send(msg)", "TypeError: msg.f is a function, which cannot leave the node (node.js:2:"),
        ("msg.a = {}; msg.a.a = msg.a; return msg", "TypeError: msg.a cannot leave the node: circular reference"),
        ("msg.n = 10n; return msg", "TypeError: msg.n cannot leave the node: BigInt are forbidden"),
        ("return 5", "TypeError: node.send() takes message objects, not a number"),
        ("return 'text'", "TypeError: node.send() takes message objects, not a string"),
        ("node.send([[[]]])", "TypeError: node.send() takes message objects, not an array"),
        ("node.send([...Array(9), {}])", "no such output"),
    ] {
        let failure = node(body).process(&[]).unwrap_err();
        assert!(failure.message.contains(expected), "{body}: {}", failure.message);
    }
}

#[test]
fn numbers_and_texts_are_read_and_written_as_javascript_does() {
    let values = [
        ("1.0", "1"),
        ("-0", "0"),
        ("-0.0", "0"),
        ("1e21", "1e+21"),
        ("1e-7", "1e-7"),
        ("0.1", "0.1"),
        ("123456789012", "123456789012"),
        ("12345678901234567890", "12345678901234567000"),
        ("-2147483648", "-2147483648"),
        ("2147483648", "2147483648"),
        ("1.5e300", "1.5e+300"),
        ("\"\\u00e9\\n\\\"\\\\\\/\"", "\"é\\n\\\"\\\\/\""),
        ("\"\\ud83d\\ude00\"", "\"😀\""),
        ("\"😀é\"", "\"😀é\""),
        ("[]", "[]"),
        ("{}", "{}"),
        (" [ 1 , { \"a\" : null } ] ", "[1,{\"a\":null}]"),
        ("true", "true"),
        ("[false,null]", "[false,null]"),
        ("{\"__proto__\":1,\"constructor\":2,\"toString\":3}", "{\"__proto__\":1,\"constructor\":2,\"toString\":3}"),
        ("{\"a\":1,\"a\":2}", "{\"a\":2}"),
        ("{\"2\":0,\"1\":1}", "{\"1\":1,\"2\":0}"),
        ("\"\\u0000x\"", "\"\\u0000x\""),
    ];
    for (read, written) in values {
        let mut loaded = node("return { v: msg.v }");
        assert_eq!(loaded.emits(&[("v", read)]), [format!("0 new v={written}")], "{read}");
        assert_eq!(loaded.emits(&[("v", &format!("[{read}]"))]), [format!("0 new v=[{written}]")], "[{read}]");
    }
    let deep = format!("{}1{}", "[".repeat(300), "]".repeat(300));
    assert_eq!(node("return { v: msg.v }").emits(&[("v", &deep)]), [format!("0 new v={deep}")]);
}

#[test]
fn broken_json_of_a_host_is_an_error_not_a_crash() {
    for text in
        ["{", "[1,", "{\"a\"}", "01", "1.", "nul", "\"a", "\"\\x\"", "[1 2]", "{\"a\":1,}", "-", "\"a\nb\"", "1 2"]
    {
        let failure = node("return { v: msg.v }").process(&[("v", &format!("[{text}]"))]).unwrap_err();
        assert!(failure.message.contains("SyntaxError"), "{text}: {}", failure.message);
    }
}

#[test]
fn the_quick_writer_writes_what_json_stringify_writes() {
    let values = [
        "{a: 1, b: 'x', c: [1, 2.5, -0, NaN, Infinity], d: null, e: true, f: undefined, g() {}, [Symbol()]: 1}",
        "[undefined, () => 1, Symbol(), [], [[]], , 3]",
        "new Date(5)",
        "{when: new Date(5), bad: new Date(NaN)}",
        "{b: Buffer.from('ab'), u: new Uint8Array(2)}",
        "[new Number(1), new String('x'), new Boolean(false), Object(Symbol())]",
        "new Map([[1, 2]])",
        "{e: new Error('x')}",
        "/x/",
        "{toJSON() { return {a: [1]}; }}",
        "{a: {toJSON: (key) => key}}",
        "new (class A { x = 1; #y = 2; get z() { return 3; } })",
        "Object.create({inherited: 1}, {own: {value: 1, enumerable: true}})",
        "Object.create(null)",
        "{get a() { return {b: 1}; }}",
        "'\\u2028\\u007f\\u0000'",
        "new Proxy([1, 2], {})",
        "new Proxy({a: 1}, {})",
        "{'with \"quotes\"': 1, 'ü': 'ß', '': 0, '1': 1}",
        "Array.from({length: 50}, (_, i) => ({i, s: 'x'.repeat(i)}))",
        "(() => { let v = 1; for (let i = 0; i < 200; i++) v = [v]; return v; })()",
        "'ab' + 'cd'.repeat(1000)",
        "[1e21, 1e-7, 123456.789, 5e-324]",
    ];
    for value in values {
        let written = evaluate(&format!("({value})"));
        assert_eq!(
            evaluate(&format!("JSON.stringify({value}) === {}", template(&written))),
            "true",
            "{value}: {written}"
        );
    }
}

/// A text as a JavaScript literal.
fn template(text: &str) -> String {
    format!("`{}`", text.replace('\\', "\\\\").replace('`', "\\`").replace("${", "\\${"))
}

#[test]
fn nothing_of_one_message_is_in_the_next() {
    let mut loaded = load(
        "let kept; export const node = { type: 't', process(msg, node) {
            if (msg.step === 1) { kept = msg; throw new Error('first'); }
            if (msg.step === 2) { return { v: [kept === msg, kept.step] }; }
            return { v: kept.payload };
        } };",
    )
    .unwrap();
    assert!(loaded.process(&[("step", "1"), ("payload", "{\"secret\":1}")]).is_err());
    assert_eq!(loaded.emits(&[("step", "2"), ("payload", "{}")]), ["0 new v=[false,1]"]);
    let failure = loaded.process(&[("step", "3"), ("payload", "{}")]).unwrap_err();
    assert!(failure.message.contains("RED.util.cloneMessage"), "{}", failure.message);
    assert_eq!(failure.code.as_deref(), Some("stale_message"));
}

#[test]
fn what_a_failed_call_left_behind_reaches_nobody() {
    let mut loaded = load(
        "export const node = { type: 't', capabilities: ['clock'], process(msg, node) {
            if (msg.fails) {
                setTimeout(() => node.send({late: 1}), 10);
                Promise.resolve().then(() => node.send({late: 2})).then(() => node.log('never'));
                throw new Error('now');
            }
            return { ok: true };
        } };",
    )
    .unwrap();
    assert_eq!(loaded.process(&[("fails", "true")]).unwrap_err().message, "Error: now (node.js:5:27)");
    assert_eq!(loaded.emitted(), [""; 0]);
    assert_eq!(loaded.emits(&[]), ["0 new ok=true"]);
    assert!(loaded.world.borrow().log.is_empty());
}

#[test]
fn what_all_messages_share_cannot_be_changed() {
    for change in [
        "globalThis.leak = 1",
        "Array.prototype.leak = 1",
        "Object.prototype.leak = 1",
        "String.prototype.trim = 1",
        "JSON.stringify = 1",
        "Math.random = 1",
        "console.log = 1",
        "RED.util.cloneMessage = 1",
        "Buffer.from = 1",
        "node.leak = 1",
        "node.config.a = 1",
        "node.config.list.push(1)",
        "Promise.prototype.then = 1",
        "node.state.run.get = 1",
        "Object.prototype.toString = 1",
        "Buffer.prototype.toString = 1",
        "URL.prototype.leak = 1",
        "Date.now = 1",
        "Object.getPrototypeOf(async function () {}).leak = 1",
        "new Map().entries().__proto__.next = 1",
    ] {
        let mut loaded = node(&format!("{change}; return msg"));
        loaded.world.borrow_mut().config = r#"{"a":{},"list":[]}"#.into();
        let failure = loaded.process(&[]).expect_err(change);
        assert!(failure.message.starts_with("TypeError"), "{change}: {}", failure.message);
    }
    // While it is loaded a source may add globals, which then stay as they are; its own objects are its own.
    let mut loaded = load(
        "globalThis.mine = 1; class Odd extends Error { constructor(m) { super(m); this.name = 'Odd'; } }
         function Old() {} Old.prototype.toString = function () { return 'old'; };
         export const node = { type: 't', process() {
            const own = {}; own.toString = () => 'own'; own.constructor = 1;
            return { v: [mine, String(new Old()), String(own), new Odd('x').name, Object.keys(own).length] };
         } };",
    )
    .unwrap();
    assert_eq!(loaded.emits(&[]), [r#"0 new v=[1,"old","own","Odd",2]"#]);
}

#[test]
fn many_names_of_properties_are_no_trouble() {
    let mut loaded = node("msg.a0; return msg");
    for round in 0..5 {
        let names: Vec<(String, String)> =
            (0..60).map(|i| (format!("a{}", round * 60 + i), format!("{{\"k{i}\":{round}}}"))).collect();
        let properties: Vec<(&str, &str)> = names.iter().map(|(n, v)| (n.as_str(), v.as_str())).collect();
        assert_eq!(loaded.emits(&properties), ["0 keep"]);
    }
}
