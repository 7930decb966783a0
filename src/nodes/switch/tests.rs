//! The switch node on single messages and sequences.

use super::*;
use crate::nodes::testbed::{Bed, CAUGHT, problems};

fn ports(config: &str, msg: &str) -> Vec<usize> {
    Bed::new(TYPE, config).send(&[msg]).iter().map(|(port, _)| *port).collect()
}

fn holds(rule: &str, payload: &str) -> bool {
    let config = format!(r#"{{"property":"payload","rules":[{rule}]}}"#);
    ports(&config, &format!(r#"{{"payload":{payload}}}"#)) == [0]
}

#[test]
fn operators_coerce_as_javascript() {
    for (rule, payload, expected) in [
        (r#"{"t":"eq","v":"5","vt":"num"}"#, "\"5\"", true),
        (r#"{"t":"eq","v":"5","vt":"str"}"#, "5", true),
        (r#"{"t":"eq","v":"","vt":"str"}"#, "0", true),
        (r#"{"t":"eq","v":"0"}"#, "null", false),
        (r#"{"t":"neq","v":"1"}"#, "true", false),
        (r#"{"t":"lt","v":"10","vt":"str"}"#, "\"9\"", false),
        (r#"{"t":"lt","v":"10","vt":"num"}"#, "\"9\"", true),
        (r#"{"t":"gte","v":"0","vt":"num"}"#, "null", true),
        (r#"{"t":"lte","v":"1","vt":"num"}"#, "{}", false),
        (r#"{"t":"btwn","v":"8","vt":"num","v2":"7","v2t":"num"}"#, "7.5", true),
        (r#"{"t":"cont","v":"b","vt":"str"}"#, "[\"a\",\"b\"]", true),
        (r#"{"t":"regex","v":"^LOW$","vt":"str","case":true}"#, "\"low\"", true),
        (r#"{"t":"regex","v":"^LOW$","vt":"str"}"#, "\"low\"", false),
        (r#"{"t":"regex","v":"payload","vt":"msg"}"#, "\"a\"", true),
        (r#"{"t":"true"}"#, "1", false),
        (r#"{"t":"empty"}"#, "{}", true),
        (r#"{"t":"empty"}"#, "0", false),
        (r#"{"t":"nempty"}"#, "0", false),
        (r#"{"t":"nempty"}"#, "[0]", true),
        (r#"{"t":"hask","v":"a","vt":"str"}"#, "{\"a\":null}", true),
        (r#"{"t":"hask","v":"1","vt":"num"}"#, "[0]", false),
        (r#"{"t":"istype","v":"json","vt":"json"}"#, "\"{}\"", true),
        (r#"{"t":"istype","v":"object","vt":"object"}"#, "[]", false),
        (r#"{"t":"istype","v":"null","vt":"null"}"#, "null", true),
        (r#"{"t":"nnull"}"#, "false", true),
        (r#"{"t":"jsonata_exp","v":"payload > 1","vt":"jsonata"}"#, "2", true),
        (r#"{"t":"else"}"#, "2", true),
    ] {
        assert_eq!(holds(rule, payload), expected, "{rule} on {payload}");
    }
}

#[test]
fn else_means_nothing_before_held_since_the_last_else() {
    let rules = r#"[{"t":"gt","v":"5"},{"t":"else"},{"t":"gt","v":"7"},{"t":"else"}]"#;
    let config = |checkall: &str| format!(r#"{{"property":"p","rules":{rules},"checkall":"{checkall}"}}"#);
    assert_eq!(ports(&config("true"), r#"{"p":6}"#), [0, 3]);
    assert_eq!(ports(&config("true"), r#"{"p":1}"#), [1]);
    assert_eq!(ports(&config("true"), r#"{"p":8}"#), [0, 2]);
    assert_eq!(ports(&config("false"), r#"{"p":8}"#), [0]);
}

#[test]
fn previous_is_the_property_of_the_message_before() {
    let bed = Bed::new(TYPE, r#"{"property":"p","rules":[{"t":"gt","v":"","vt":"prev"}]}"#);
    let out = bed.send(&[r#"{"p":1}"#, r#"{"p":3}"#, r#"{"p":2}"#, r#"{"p":4}"#]);
    let seen: Vec<_> = out.iter().map(|(_, m)| m.get("p").unwrap().to_number()).collect();
    assert_eq!(seen, [1.0, 3.0, 4.0]);
}

#[test]
fn a_broken_expression_reaches_the_catch_node() {
    let bed = Bed::new(TYPE, r#"{"property":"$error('x')","propertyType":"jsonata","rules":[{"t":"else"}]}"#);
    assert!(bed.error("{}").starts_with("Invalid JSONata expression: "));
    let bed = Bed::new(TYPE, r#"{"property":"p","rules":[{"t":"regex","v":"q","vt":"msg"}]}"#);
    assert!(bed.error(r#"{"p":"a","q":"("}"#).starts_with("SyntaxError: Invalid regular expression: /(/: "));
    let bed = Bed::new(TYPE, r#"{"property":"p","rules":[{"t":"head","v":"1"}]}"#);
    assert_eq!(bed.send(&[r#"{"p":1}"#])[0].0, CAUGHT);
}

#[test]
fn repaired_sequences_are_renumbered_per_output() {
    let rules = r#"[{"t":"gte","v":"2","vt":"num"},{"t":"tail","v":"1","vt":"num"}]"#;
    let bed = Bed::new(TYPE, &format!(r#"{{"property":"p","repair":true,"rules":{rules}}}"#));
    let msg = |p: u8, id: &str, more: &str| format!(r#"{{"p":{p},"parts":{{"id":"{id}","index":{}{more}}}}}"#, p - 1);
    let (a, b, c) = (msg(1, "x", ""), msg(2, "x", ""), msg(3, "x", ",\"count\":3"));
    let other = msg(9, "y", ",\"count\":10");
    let out = bed.send(&[&a, &other, &b, &c]);
    let got: Vec<_> = out
        .iter()
        .map(|(port, m)| {
            let parts = m.get("parts").unwrap();
            (*port, m.get("p").unwrap().to_number(), parts.get("index").to_number(), parts.get("count").to_number())
        })
        .collect();
    assert_eq!(got, [(0, 2.0, 0.0, 2.0), (0, 3.0, 1.0, 2.0), (1, 3.0, 0.0, 1.0)]);
    assert_ne!(out[0].1.get("parts").unwrap().get("id"), out[2].1.get("parts").unwrap().get("id"));
}

#[tokio::test]
async fn what_a_caller_leaves_incomplete_does_not_go_unseen() {
    use crate::nodes::rig::{Rig, msg, node};
    let config = r#"{"property":"p","repair":true,"rules":[{"t":"else"}]}"#;
    let rig = Rig::new(vec![node("s", "switch", config, &[])]);
    rig.run(0, msg(r#"{"p":1,"parts":{"id":"x","index":0,"count":2}}"#)).await;
    assert_eq!(rig.complaints(), ["the run ended before all of a sequence came; 1 message(s) were not sent on"]);
}

#[test]
fn unknown_rules_are_refused_with_a_hint() {
    let found = problems(&TYPE, r#"{"property":"p","rules":[{"t":"lts"},{"t":"regex","v":"("}]}"#);
    assert_eq!(found.len(), 2);
    assert_eq!(found[0].hint.as_deref(), Some("did you mean \"lt\"?"));
    assert_eq!(found[1].path, "$[0].rules[1].v");
}
