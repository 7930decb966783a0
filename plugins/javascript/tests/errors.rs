//! Errors: each names the author's file, line and column, and what to do.

mod host;

use host::{load, node};

/// What loading this gives.
fn refusal(source: &str) -> String {
    match load(source) {
        Ok(_) => panic!("loads: {source}"),
        Err(failure) => failure.message,
    }
}

#[test]
fn a_source_that_cannot_be_loaded_says_where_and_why() {
    for (source, expected) in [
        ("export const node = {\n  type: 't',\n  process(msg) { return msg\n};", "SyntaxError: "),
        ("const a = ;\n", "(node.js:1:11)"),
        ("\n\nnotDefined();", "ReferenceError: notDefined is not defined (node.js:3:"),
        ("import x from 'lodash';", "cannot import 'lodash': a plugin is one file; bundle it"),
        ("const x = 1;", "node.js: exports no node: write `export const node"),
        ("export const node = 5;", "node.js: node: must be an object"),
        ("export const nodes = [];", "`nodes` is empty"),
        ("export const node = { type: 't' };", "node \"t\": `process` must be a function"),
        ("export const nodes = [{type: 'a', process() {}}, {type: 'a', process() {}}];", "node \"a\" is there twice"),
        ("export const node = {type: 't', process() {}, capabilities: ['net']};", "\"net\" is none; there are clock"),
        ("export const node = {type: 't', process() {}, wnats: []};", "`wnats` is not known"),
        (
            "export const node = {type: 'a b', version: '1', color: 'red', icon: 'x', inputs: 2, outputs: 'x', config: 5, process() {}};",
            "`type` must be the node type's name, as flows write it, without spaces; ",
        ),
        ("await new Promise(() => {});", "waits while it is loaded"),
        ("Promise.reject(new Error('lost'));", "Error: lost (node.js:1:"),
        ("Date.now();", "Date.now() works only while a message is handled"),
        ("throw 5;", "thrown: 5"),
    ] {
        let message = refusal(source);
        assert!(message.contains(expected), "{source}\n  {message}");
    }
    let all = refusal(
        "export const node = {type: 'a b', version: '1', color: 'red', icon: 'x', inputs: 2, outputs: 'x', config: 5, process: 1};",
    );
    assert_eq!(all.matches("must be").count(), 8, "{all}");
}

#[test]
fn a_handler_that_fails_says_where() {
    for (body, expected) in [
        ("\nmsg.payload.x.y;", "TypeError: cannot read property 'x' of undefined (node.js:3:"),
        ("await null;\n\n  throw new RangeError('too much');", "RangeError: too much (node.js:4:"),
        ("function deep() { deep(); } deep();", "RangeError: Maximum call stack size exceeded (node.js:2:"),
        ("JSON.parse('{');", "SyntaxError: "),
        ("new URL('nope');", "TypeError: Invalid URL: nope (node.js:2:"),
        ("setTimeout(() => {\n throw new Error('later'); }, 5);", "Error: later (node.js:3:"),
        ("Promise.reject(new Error('lost'));", "Error: lost (node.js:2:"),
        ("(async () => { throw new Error('lost'); })();", "(in a promise nobody awaits)"),
        ("queueMicrotask(() => { throw new Error('job'); });", "Error: job (node.js:2:"),
        ("await new Promise(() => {});", "awaits a promise that nothing can settle"),
        ("throw {code: 'E1', a: 1};", "thrown: {\"code\":\"E1\",\"a\":1}"),
        ("throw undefined;", "thrown: undefined"),
        ("throw new Error('outer', {cause: new Error('inner')});", "; caused by Error: inner"),
        ("new Function('return 1')().x.y;", "TypeError: cannot read property 'y' of undefined"),
        ("await import('fs');", "cannot import 'fs'"),
    ] {
        let failure = node(body).process(&[]).expect_err(body);
        assert!(failure.message.contains(expected), "{body}\n  {}", failure.message);
    }
    assert_eq!(
        node("throw Object.assign(new Error('x'), {code: 'E2'});").process(&[]).unwrap_err().code.as_deref(),
        Some("E2")
    );
}

#[test]
fn a_rejection_that_is_handled_later_is_none() {
    let mut loaded =
        node("const p = Promise.reject(new Error('x')); await null; await p.catch(() => 1); return {a: 1};");
    assert_eq!(loaded.emits(&[]), ["0 new a=1"]);
}

#[test]
fn a_stack_of_several_of_the_authors_frames_is_logged() {
    let mut loaded = load(
        "function inner() { throw new Error('x'); }\nfunction outer() { inner(); }\n\
         export const node = { type: 't', process() { [1].forEach(() => outer()); } };",
    )
    .unwrap();
    loaded.process(&[]).unwrap_err();
    let log = &loaded.world.borrow().log[0].1;
    for line in ["Error: x", "at inner (node.js:1:", "at outer (node.js:2:", "at process (node.js:3:"] {
        assert!(log.contains(line), "{log}");
    }
    assert!(!log.contains("native") && !log.contains("probity:"), "{log}");
}

#[test]
fn the_instance_goes_on_after_errors() {
    let mut loaded = node("if (msg.deep) { (function f() { f(); })(); } if (msg.bad) throw 1; return {ok: 1};");
    for _ in 0..3 {
        assert!(loaded.process(&[("deep", "true")]).is_err());
        assert!(loaded.process(&[("bad", "true")]).is_err());
        assert_eq!(loaded.emits(&[]), ["0 new ok=1"]);
    }
}

#[test]
fn an_unknown_node_type_is_told() {
    let mut loaded = load("export const node = {type: 'other', process() {}};").unwrap();
    assert_eq!(loaded.process(&[]).unwrap_err().message, "this source has no node type t");
}
