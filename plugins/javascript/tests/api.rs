//! What a handler finds: the `node` object, and the globals of the web and of Node.js.

mod host;

use host::{evaluate, load, node};
use probity_javascript::Failure;
use probity_javascript::host::{Level, Response};
use probity_javascript::interpreter::Handler;

#[test]
fn expressions_give_what_they_give_elsewhere() {
    let table = [
        // Buffer
        ("Buffer.from('Grüße').toString('hex')", r#""4772c3bcc39f65""#),
        ("Buffer.from('R3LDvMOfZQ==', 'base64').toString()", r#""Grüße""#),
        ("Buffer.from('_-8', 'base64url').toString('base64')", r#""/+8=""#),
        ("Buffer.from([1, 256, -1]).toJSON()", r#"{"type":"Buffer","data":[1,0,255]}"#),
        ("Buffer.concat([Buffer.from('a'), Buffer.from('bc')]).toString()", r#""abc""#),
        ("Buffer.concat([Buffer.from('abc'), Buffer.from('d')], 2).toString()", r#""ab""#),
        (
            "[Buffer.isBuffer(Buffer.alloc(1)), Buffer.isBuffer(new Uint8Array(1)), Buffer.byteLength('ß')]",
            "[true,false,2]",
        ),
        ("Buffer.from('hello').slice(1, 3).toString()", r#""el""#),
        ("(() => { const b = Buffer.from('abc'); b.slice(0, 1)[0] = 122; return b.toString(); })()", r#""zbc""#),
        (
            "(() => { const b = Buffer.alloc(8); b.writeUInt32BE(0xdeadbeef, 0); b.writeInt16LE(-2, 4); return [b.toString('hex'), b.readInt16LE(4), b.readUInt32BE()]; })()",
            r#"["deadbeeffeff0000",-2,3735928559]"#,
        ),
        (
            "(() => { const b = Buffer.alloc(6); b.writeUIntBE(0x123456789a, 0, 5); return [b.readUIntBE(0, 5), b.readUIntLE(0, 3)]; })()",
            "[78187493530,5649426]",
        ),
        (
            "[Buffer.from('abc').indexOf('c'), Buffer.from('abc').includes('x'), Buffer.from('abc').equals(Buffer.from('abc'))]",
            "[2,false,true]",
        ),
        (
            "[Buffer.alloc(3, 'ab').toString(), Buffer.from('abc').fill(0).length, Buffer.compare(Buffer.from('a'), Buffer.from('b'))]",
            r#"["aba",3,-1]"#,
        ),
        ("Buffer.from(Buffer.from('x')).constructor === Buffer", "true"),
        ("Buffer.from('abc').map((b) => b + 1).toString()", r#""bcd""#),
        // texts
        ("[btoa('hi'), atob('aGk='), Array.from(new TextEncoder().encode('ß'))]", r#"["aGk=","hi",[195,159]]"#),
        ("new TextDecoder().decode(new Uint8Array([0xef, 0xbb, 0xbf, 0x68]))", r#""h""#),
        ("new TextDecoder('utf-16le').decode(new Uint8Array([0x68, 0]))", r#""h""#),
        // URL
        (
            "[new URL('../x?a=1#h', 'https://u:p@Example.com:8443/a/b').href, new URL('http://a:80').port]",
            r##"["https://u:p@example.com:8443/x?a=1#h",""]"##,
        ),
        (
            "(() => { const u = new URL('https://e.com/?a=1'); u.searchParams.append('b', 'x y'); u.pathname = '/p q'; u.hash = 'z'; return [u.toString(), u.search, u.host, u.origin]; })()",
            r##"["https://e.com/p%20q?a=1&b=x+y#z","?a=1&b=x+y","e.com","https://e.com"]"##,
        ),
        (
            "(() => { const u = new URL('https://e.com/'); u.search = '?q=1'; u.host = 'f.com:99'; return [u.searchParams.get('q'), u.href, URL.canParse('nope')]; })()",
            r#"["1","https://f.com:99/?q=1",false]"#,
        ),
        (
            "[...new URLSearchParams({a: '1', b: 'ä&'})].concat(new URLSearchParams('?x=1&x=2').getAll('x'))",
            r#"[["a","1"],["b","ä&"],"1","2"]"#,
        ),
        ("new URLSearchParams([['a', '1'], ['b', '2']]).toString()", r#""a=1&b=2""#),
        // clones
        (
            "(() => { const a = {d: new Date(0), m: new Map([[1, {x: 2}]]), s: new Set([1]), l: [1, , 3]}; a.self = a; const b = structuredClone(a); return [b !== a, b.self === b, b.m.get(1).x, b.d instanceof Date, 1 in b.l]; })()",
            "[true,true,2,true,false]",
        ),
        ("(() => { try { structuredClone({f() {}}); } catch (e) { return e.name; } })()", r#""TypeError""#),
        // RED.util
        (
            "[RED.util.getMessageProperty({a: {b: [1, {c: 5}]}}, 'msg.a.b[1].c'), RED.util.getObjectProperty({'x y': 1}, '[\"x y\"]')]",
            "[5,1]",
        ),
        (
            "(() => { const m = {}; RED.util.setMessageProperty(m, 'a.b[0]', 1, true); return m; })()",
            r#"{"a":{"b":[1]}}"#,
        ),
        (
            "[RED.util.compareObjects({a: [1]}, {a: [1]}), RED.util.ensureString({a: 1}), RED.util.ensureBuffer('x').length]",
            r#"[true,"{\"a\":1}",1]"#,
        ),
        ("RED.util.generateId().length", "16"),
        // time and chance
        (
            "[new Date(0).toISOString(), Date.UTC(2020, 0), new Date(2020, 0, 31).getDate(), typeof Date()]",
            r#"["1970-01-01T00:00:00.000Z",1577836800000,31,"string"]"#,
        ),
        (
            "[Date.now(), new Date().getTime(), new Date() instanceof Date, Date.name, node.now(), performance.now()]",
            r#"[0,0,true,"Date",0,0]"#,
        ),
        (
            "(() => { class D extends Date { day() { return this.getUTCDay(); } } return [new D(0).day(), new D(0) instanceof D]; })()",
            "[4,true]",
        ),
        ("crypto.randomUUID()", r#""0b30557a-9fc4-490e-b358-7da2c7ec1136""#),
        ("Array.from(crypto.getRandomValues(new Uint8Array(3)))", "[11,48,85]"),
        (
            "(() => { const a = Math.random(), b = Math.random(); return [a !== b, a >= 0 && a < 1, b >= 0 && b < 1]; })()",
            "[true,true,true]",
        ),
        // node
        ("[node.id, node.run, node.caller, node.secret('T')]", r#"["node-1","run-1",true,"{{secret:T}}"]"#),
        (
            "[node.typedInput('num', '5'), node.typedInput('msg', 'x') === undefined, Buffer.isBuffer(node.typedInput('bin', ''))]",
            "[5,true,true]",
        ),
        ("[node.files.read('data/a.txt').length, node.files.read('data/a.txt', 'utf8')]", r#"[7,"Grüße"]"#),
        (
            "(() => { node.flow.set('a', {b: 1}); node.global.set('g', 2); node.context().set('n', 3); return [node.flow.get('a'), node.context().global.get('g'), node.context().get('n'), node.flow.get('none') === undefined]; })()",
            r#"[{"b":1},2,3,true]"#,
        ),
        ("node.evidence('k', {a: 1}, true)", r#""evidence-1""#),
    ];
    for (expression, expected) in table {
        assert_eq!(evaluate(expression), expected, "{expression}");
    }
}

#[test]
fn state_is_kept_by_scope_and_updated_without_losing_others_changes() {
    let mut loaded = node(
        "node.state.run.set('a', {n: 1}); node.state.node.set('a', 'other'); node.state.run.delete('none');
         const seen = []; const made = node.state.run.update('a', (v) => { seen.push(v.n); return {n: v.n + 1}; });
         node.state.node.set('gone', undefined);
         return { v: [made, seen, node.state.run.get('a'), node.state.node.get('a'), node.state.run.get('none') ?? 'nothing'] };",
    );
    loaded.world.borrow_mut().meddle.push(("a".into(), r#"{"n":10}"#.into()));
    assert_eq!(loaded.value(), r#"[{"n":11},[1,10],{"n":11},"other","nothing"]"#);
    let failure = node("node.state.run.update('a', async () => 1)").process(&[]).unwrap_err();
    assert!(failure.message.contains("not a promise"), "{}", failure.message);
}

#[test]
fn logs_and_status_are_texts() {
    let mut loaded = node(
        "node.log('a'); node.warn({a: [1, 'x']}); node.error(new TypeError('bad')); node.debug(5);
         console.log('%s has %d', 'x', 2, {y: null}); console.error(new Map([[1, Buffer.from('ab')]]));
         node.status({fill: 'red', shape: 'dot', text: 'off'}); node.status({}); node.status('plain');",
    );
    loaded.process(&[]).unwrap();
    let world = loaded.world.borrow();
    let log: Vec<(Level, &str)> = world.log.iter().map(|(l, t)| (*l, t.as_str())).collect();
    assert_eq!(
        log,
        [
            (Level::Info, "a"),
            (Level::Warn, "{ a: [ 1, \"x\" ] }"),
            (Level::Error, "TypeError: bad"),
            (Level::Debug, "5"),
            (Level::Info, "x has 2 { y: null }"),
            (Level::Error, "Map { 1 => <Buffer 61 62> }"),
        ]
    );
    assert_eq!(world.status, [r#"Some("red") Some("dot") off"#, "None None ", "None None plain"]);
}

#[test]
fn node_error_with_a_message_fails_the_call_after_what_was_sent() {
    let mut loaded = node("node.error('wrong', msg); return { a: 1 };");
    assert_eq!(loaded.process(&[]).unwrap_err().message, "wrong");
    assert_eq!(loaded.emitted(), ["0 new a=1"]);
}

#[test]
fn timers_run_in_order_and_the_call_waits_for_them() {
    let mut loaded = node(
        "const order = []; const say = (x) => order.push(x);
         setTimeout(say, 20, 'b'); setTimeout(say, 10, 'a'); const off = setTimeout(say, 5, 'never'); clearTimeout(off);
         let n = 0; const every = setInterval(() => { say(++n); if (n === 3) clearInterval(every); }, 7);
         setImmediate(say, 'now'); queueMicrotask(() => say('job'));
         await new Promise((done) => setTimeout(done, 50)); return { v: order };",
    );
    assert_eq!(loaded.value(), r#"["job","now",1,"a",2,"b",3]"#);
    assert_eq!(loaded.world.borrow().slept.iter().sum::<u32>(), 50);
    let mut loaded = node("setTimeout(() => node.send({a: 2}), 5); return {a: 1};");
    assert_eq!(loaded.emits(&[]), ["0 new a=1", "0 new a=2"]);
}

#[test]
fn fetch_sends_what_was_asked_and_reads_the_answer_once() {
    let mut loaded = node(
        "const answer = await fetch('https://api.example.com/x', { method: 'post', headers: { 'X-A': '1' }, body: JSON.stringify({a: 1}), timeout: 500 });
         const {ok, status} = answer; const json = await answer.json();
         let twice; try { await answer.text(); } catch (e) { twice = e.name; }
         let refused; try { await fetch(new URL('http://10.0.0.1')); } catch (e) { refused = [e.message, e.code]; }
         return { v: [ok, status, json, answer.headers.get('Content-Type'), twice, refused] };",
    );
    loaded.world.borrow_mut().responses = vec![
        Ok(Response {
            status: 201,
            headers: vec![("content-type".into(), "application/json".into())],
            body: b"{\"ok\":[1]}".to_vec(),
        }),
        Err(Failure { message: "not allowed".into(), code: Some("EPERM".into()) }),
    ];
    assert_eq!(loaded.value(), r#"[true,201,{"ok":[1]},"application/json","TypeError",["not allowed","EPERM"]]"#);
    let world = loaded.world.borrow();
    let first = &world.requests[0];
    assert_eq!(
        (first.method.as_str(), first.url.as_str(), first.timeout_ms),
        ("POST", "https://api.example.com/x", Some(500))
    );
    assert_eq!(first.headers, [("x-a".into(), "1".into()), ("content-type".into(), "text/plain;charset=UTF-8".into())]);
    assert_eq!(first.body, br#"{"a":1}"#);
    assert_eq!(world.requests[1].url, "http://10.0.0.1/");
}

#[test]
fn what_is_not_declared_is_refused_with_the_lines_to_add() {
    for (use_it, name) in [
        ("Date.now()", "clock"),
        ("new Date()", "clock"),
        ("setTimeout(() => 1, 5)", "clock"),
        ("Math.random()", "random"),
        ("crypto.randomUUID()", "random"),
        ("node.secret('A')", "secret"),
        ("node.state.run.get('a')", "state"),
        ("node.evidence('a', 1)", "evidence"),
        ("node.typedInput('num', '1')", "typed-input"),
        ("node.flow.get('a')", "context"),
        ("node.files.read('a')", "files"),
    ] {
        let mut loaded =
            load(&format!("export const node = {{ type: 't', process(msg, node) {{ {use_it}; }} }};")).unwrap();
        let failure = loaded.process(&[]).expect_err(use_it);
        assert!(failure.message.contains(&format!("needs the capability `{name}`")), "{use_it}: {}", failure.message);
        assert!(failure.message.contains("(node.js:1:"), "{use_it}: {}", failure.message);
        assert_eq!(failure.code.as_deref(), Some("capability"));
    }
    let mut loaded = load("export const node = { type: 't', async process() { await fetch('http://a'); } };").unwrap();
    assert!(loaded.process(&[]).unwrap_err().message.contains("hosts = "));
    let mut loaded =
        load("export const node = { type: 't', process(m, node) { setTimeout(() => node.send({a: 1}), 0); } };")
            .unwrap();
    assert_eq!(loaded.emits(&[]), ["0 new a=1"]);
}

#[test]
fn a_node_is_described_with_its_defaults_filled_in() {
    let loaded = load(
        "export const nodes = [
            { type: 'greet', process() {} },
            { type: 'full', version: '2.0.1', category: 'c', color: '#a6bbcf', icon: 'fa-star', summary: 's', help: 'h', inputs: 0,
              outputs: ['yes', 'no'], config: { a: { type: 'string', default: 'x', required: true } }, wants: ['payload'],
              capabilities: ['http'], process() {}, runEnd() {} },
            { type: 'schema', outputs: 2, config: { type: 'object', properties: {} }, process() {} },
        ];",
    )
    .unwrap();
    let [greet, full, schema] = loaded.interpreter.describe() else { panic!("three node types") };
    assert_eq!(
        (greet.version.as_str(), greet.category.as_str(), greet.icon.as_str()),
        ("1.0.0", "function", "fa-code")
    );
    assert_eq!((greet.inputs, &greet.outputs[..], greet.at_run_end), (1, &["output".to_owned()][..], false));
    assert_eq!((greet.config.as_str(), &greet.wants), (r#"{"type":"object","properties":{}}"#, &None));
    assert_eq!(full.config, r#"{"type":"object","properties":{"a":{"type":"string","default":"x"}},"required":["a"]}"#);
    assert_eq!((full.at_run_end, &full.outputs[..]), (true, &["yes".to_owned(), "no".to_owned()][..]));
    assert_eq!(
        (full.wants.clone(), &full.capabilities[..]),
        (Some(vec!["payload".to_owned()]), &["http".to_owned()][..])
    );
    assert_eq!(schema.outputs, ["output 1", "output 2"]);
}

#[test]
fn run_end_is_called_with_the_last_message() {
    let mut loaded = load(
        "export const node = { type: 't', process() {}, runEnd(msg, node) { msg.payload += 1; node.send(msg); } };",
    )
    .unwrap();
    loaded.interpreter.handle(Handler::RunEnd, "t", host::message(&[("payload", "1")])).unwrap();
    assert_eq!(loaded.emitted(), ["0 keep payload=2"]);
}
