//! `msg.schema`: what Node-RED's node says, recorded with Ajv 8.20.0 (`allErrors`) on Node.js 20.

use super::TYPE;
use crate::model::{Msg, Value};
use crate::nodes::testbed::{Bed, CAUGHT, json};

/// The error's text and the message that a catch node gets.
fn refused(config: &str, payload: &str, schema: &str) -> (String, Msg) {
    let payload = Value::from(payload).to_json();
    let out = Bed::new(TYPE, config).send(&[&format!(r#"{{"payload":{payload},"schema":{schema}}}"#)]);
    assert_eq!(out.iter().map(|(port, _)| *port).collect::<Vec<_>>(), [CAUGHT], "{schema} holds for {payload}");
    let msg = out[0].1.clone();
    let text = msg.get("error").unwrap().get("message").to_js_string();
    (text.strip_prefix("JSON Schema error: ").unwrap_or_else(|| panic!("{text}")).to_string(), msg)
}

#[test]
fn what_does_not_hold_is_told_in_ajvs_words() {
    for (schema, value, expected) in [
        (r#"{"type":"number"}"#, r#""1""#, "data must be number"),
        (r#"{"type":["number","null"]}"#, r#""1""#, "data must be number,null"),
        (
            r#"{"required":["a","b"],"properties":{"c":{"minimum":2}}}"#,
            r#"{"b":1,"c":1}"#,
            "data must have required property 'a', data/c must be >= 2",
        ),
        (
            r#"{"properties":{"a":true},"additionalProperties":false}"#,
            r#"{"a":1,"b":1,"c":1}"#,
            "data must NOT have additional properties, data must NOT have additional properties",
        ),
        (
            r#"{"items":{"maxLength":1,"pattern":"^a"}}"#,
            r#"["a","bb"]"#,
            "data/1 must NOT have more than 1 characters, data/1 must match pattern \"^a\"",
        ),
        (r#"{"enum":[1,2]}"#, "3", "data must be equal to one of the allowed values"),
        (r#"{"const":{"a":1}}"#, "3", "data must be equal to constant"),
        (r#"{"exclusiveMaximum":3}"#, "3", "data must be < 3"),
        (r#"{"multipleOf":2}"#, "3", "data must be multiple of 2"),
        (r#"{"not":{"type":"number"}}"#, "3", "data must NOT be valid"),
        (r#"{"minItems":1}"#, "[]", "data must NOT have fewer than 1 items"),
        (r#"{"items":[true],"additionalItems":false}"#, "[1,2]", "data must NOT have more than 1 items"),
        (
            r#"{"anyOf":[{"type":"string"},{"type":"null"}]}"#,
            "3",
            "data must be string, data must be null, data must match a schema in anyOf",
        ),
        (
            r#"{"oneOf":[{"type":"string"},{"type":"null"}]}"#,
            "3",
            "data must be string, data must be null, data must match exactly one schema in oneOf",
        ),
        (r#"{"oneOf":[{"type":"number"},{"minimum":1}]}"#, "3", "data must match exactly one schema in oneOf"),
        (r##"{"$ref":"#/definitions/a","definitions":{"a":{"type":"string"}}}"##, "3", "data must be string"),
        (
            r#"{"propertyNames":{"maxLength":1}}"#,
            r#"{"ab":1}"#,
            "data must NOT have more than 1 characters, data property name must be valid",
        ),
        (r#"{"properties":{"a/b~c":{"type":"string"}}}"#, r#"{"a/b~c":1}"#, "data/a~1b~0c must be string"),
    ] {
        let (text, _) = refused(r#"{"action":"obj"}"#, value, schema);
        assert_eq!(text, expected, "{schema} {value}");
    }
}

#[test]
fn the_message_of_an_error_carries_ajvs_list() {
    let (_, msg) = refused("{}", r#"{"a":1}"#, r#"{"properties":{"a":{"type":"string"}}}"#);
    let expected = r##"[{"instancePath":"/a","schemaPath":"#/properties/a/type","keyword":"type","params":{"type":"string"},"message":"must be string"}]"##;
    assert_eq!(msg.get("schemaError"), Some(&json(expected)));
    assert_eq!(msg.payload(), &json(r#"{"a":1}"#));
    assert!(msg.get("schema").is_some());
}

#[test]
fn a_schema_that_cannot_be_used_is_an_error_of_its_message() {
    for (schema, why) in [
        (r#"{"type":"nmber"}"#, "nmber"),
        (r#"{"requried":["a"]}"#, "did you mean \"required\"?"),
        (r#"{"properties":{"a":{"maxlength":2}}}"#, "#/properties/a: unknown keyword \"maxlength\""),
        (r#"{"pattern":"("}"#, "pattern"),
        (r#"{"$schema":"http://example.org/no-draft"}"#, "no-draft"),
        (r##"{"$ref":"#/definitions/nowhere"}"##, "nowhere"),
        (r#""text""#, ""),
    ] {
        let (text, _) = refused("{}", "{}", schema);
        assert!(text.starts_with("failed to compile schema") && text.contains(why), "{schema}: {text}");
    }
}

/// Whoever writes the schema must not make this server call anybody.
#[test]
fn nothing_is_ever_fetched() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let address = listener.local_addr().unwrap();
    let file = std::env::temp_dir().join(format!("probity-schema-{}.json", std::process::id()));
    std::fs::write(&file, r#"{"type":"string"}"#).unwrap();
    let path = file.display();
    for schema in [
        format!(r#"{{"$ref":"http://{address}/s.json"}}"#),
        format!(r#"{{"$id":"http://{address}/","properties":{{"a":{{"$ref":"s.json"}}}}}}"#),
        format!(r#"{{"$schema":"http://{address}/s.json"}}"#),
        format!(r#"{{"$ref":"file://{path}"}}"#),
    ] {
        let (text, _) = refused("{}", "{}", &schema);
        assert!(text.starts_with("failed to compile schema"), "{text}");
        let called = listener.accept().map(|_| ()).unwrap_err();
        assert_eq!(called.kind(), std::io::ErrorKind::WouldBlock, "{schema}");
    }
    std::fs::remove_file(file).unwrap();
}

#[test]
fn schemas_that_go_round_in_circles_end() {
    for schema in [
        r##"{"$ref":"#"}"##,
        r##"{"allOf":[{"$ref":"#"}]}"##,
        r##"{"$ref":"#/definitions/a","definitions":{"a":{"$ref":"#/definitions/b"},"b":{"$ref":"#/definitions/a"}}}"##,
        r##"{"not":{"$ref":"#"}}"##,
        r##"{"if":{"$ref":"#"},"then":true}"##,
        r##"{"$schema":"https://json-schema.org/draft/2020-12/schema","$dynamicAnchor":"a","$dynamicRef":"#a"}"##,
    ] {
        // Whether it holds is the validator's to say; that it comes back is ours.
        let out = Bed::new(TYPE, "{}").send(&[&format!(r#"{{"payload":"{{}}","schema":{schema}}}"#)]);
        assert_eq!(out.len(), 1, "{schema}");
    }
    // A tree of trees is what such schemas are for.
    let tree = r##"{"required":["of"],"properties":{"of":{"items":{"$ref":"#"}}}}"##;
    let (text, _) = refused("{}", r#"{"of":[{"of":[]},{"of":[{}]}]}"#, tree);
    assert_eq!(text, "data/of/1/of/0 must have required property 'of'");
}

#[test]
fn a_pattern_that_backtracks_without_end_is_given_up() {
    let long = "a".repeat(40);
    for pattern in ["^(a+)+$", "^(?=(a+)+$)", r"^(a|aa)+\\1$"] {
        let schema = format!(r#"{{"pattern":"{pattern}"}}"#);
        let (text, _) = refused("{}", &Value::from(format!("{long}!")).to_json(), &schema);
        assert!(text.starts_with("data "), "{text}");
    }
}

#[test]
fn each_message_is_held_to_its_own_schema() {
    let bed = Bed::new(TYPE, r#"{"action":"str","property":"a.b"}"#);
    let sent = |schema: &str, value: &str| {
        let out = bed.send(&[&format!(r#"{{"a":{{"b":{value}}},"schema":{schema}}}"#)]);
        (out[0].0 != CAUGHT, out[0].1.clone())
    };
    for (schema, value, holds) in [
        (r#"{"type":"number"}"#, "1", true),
        (r#"{"type":"number"}"#, "true", false),
        (r#"{"type":"string"}"#, "1", false),
        (r#"{"type":"number"}"#, "2", true),
        // A text stays one, but what it says is held to the schema.
        (r#"{"type":"number"}"#, r#""3""#, true),
        (r#"{"type":"number"}"#, r#""[]""#, false),
        ("false", "1", true),
    ] {
        let (held, msg) = sent(schema, value);
        assert_eq!(held, holds, "{schema} {value}");
        assert_eq!(msg.get("schema").is_none_or(|s| !s.is_truthy()), holds, "{schema} {value}");
    }
    assert_eq!(sent("{}", "1").1.get("a"), Some(&json(r#"{"b":"1"}"#)));
    let without = bed.send(&[r#"{"a":{},"schema":{"type":"number"}}"#]);
    assert!(without[0].0 != CAUGHT && without[0].1.get("schema").is_some());
}
