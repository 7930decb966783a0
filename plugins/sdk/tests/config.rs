//! What `#[derive(Config)]` makes: schema, reading with every problem named, and the body-over-config rule.

use probity_sdk::config::{self, ConfigValue};
use probity_sdk::prelude::*;
use probity_sdk::testing::Host;
use probity_sdk::{Map, NodeType};

/// Compares two things.
///
/// More about it.
#[derive(Clone, Debug, PartialEq, Config)]
#[config(rename_all = "camelCase")]
pub struct Compare {
    /// What is read.
    #[config(default = "payload", kinds = ["msg", "str", "env"])]
    property: TypedInput,
    /// How.
    #[config(default = "at-least", label = "Comparison")]
    by: By,
    /// With what.
    #[config(min = 0, max = 100.5, lenient)]
    limit: f64,
    #[config(default = 3, min = 1)]
    retry_count: u8,
    #[config(default = [], rows)]
    rules: Vec<Rule>,
    #[config(min_length = 1, max_length = 9, pattern = "^[a-z]+$", placeholder = "none")]
    label: Option<String>,
    token: Option<Secret>,
    #[config(default = false, config_only)]
    store_evidences: bool,
    #[config(default = {"a": [1, null]}, code = "json")]
    extra: Map<String, Value>,
    #[config(default = "full", one_of = ["full", "short"])]
    format: String,
    #[config(default = null, multiline, name = "Any Thing")]
    anything: Value,
}

#[derive(Clone, Copy, Debug, PartialEq, Config)]
pub enum By {
    AtLeast,
    AtMost,
    #[config(name = "==")]
    Equal,
}

#[derive(Clone, Debug, PartialEq, Config)]
pub struct Rule {
    attribute: String,
    #[config(default = "*")]
    value: String,
}

#[node(type = "compare", category = "logic", color = "#ABCDEF", outputs = ["yes", "no"], wants = ["payload", "req"])]
impl Node for Compare {
    fn process(&self, mut msg: Message, cx: &Context) -> Result<()> {
        let config = self.over(&msg)?;
        msg.set("limit", config.limit).set("format", config.format);
        cx.emit(1, msg)
    }
}

fn read<C: ConfigValue>(value: Value) -> std::result::Result<C, String> {
    config::read(&value).map_err(|error| {
        assert_eq!(error.code(), Some("bad-config"));
        error.message().to_owned()
    })
}

#[test]
fn the_schema_is_what_the_editor_needs() {
    let expected = json!({
        "type": "object",
        "properties": {
            "property": {
                "type": ["string", "number", "boolean"], "description": "What is read.", "default": "payload",
                "x-typed-input": { "kinds": ["msg", "str", "env"], "kindProperty": "propertyType" }
            },
            "propertyType": { "type": "string", "enum": ["msg", "str", "env"], "default": "msg", "x-hidden": true },
            "by": {
                "type": "string", "enum": ["at-least", "at-most", "=="], "description": "How.", "default": "at-least",
                "title": "Comparison"
            },
            "limit": { "type": ["number", "string"], "description": "With what.", "minimum": 0, "maximum": 100.5 },
            "retryCount": { "type": "integer", "minimum": 1, "default": 3 },
            "rules": {
                "type": "array",
                "items": {
                    "type": "object",
                    "properties": { "attribute": { "type": "string" }, "value": { "type": "string", "default": "*" } },
                    "required": ["attribute"]
                },
                "default": [], "x-widget": "rows"
            },
            "label": {
                "type": "string", "minLength": 1, "maxLength": 9, "pattern": "^[a-z]+$", "x-placeholder": "none"
            },
            "token": { "type": "string", "x-secret": true, "x-placeholder": "secret:NAME" },
            "storeEvidences": { "type": "boolean", "default": false, "x-config-only": true },
            "extra": { "type": "object", "default": { "a": [1, null] }, "x-widget": "code", "x-language": "json" },
            "format": { "type": "string", "default": "full", "enum": ["full", "short"] },
            "Any Thing": { "default": null, "x-widget": "multiline" }
        },
        "required": ["limit"]
    });
    assert_eq!(Compare::schema(), expected);
    // The form shows the fields in the order they were written.
    let names: Vec<_> = Compare::schema()["properties"].as_object().unwrap().keys().cloned().collect();
    assert_eq!(names[..4], ["property", "propertyType", "by", "limit"]);
}

#[test]
fn the_description_says_what_was_written() {
    let description = Compare::description();
    assert_eq!(description.node_type, "compare");
    assert_eq!(description.version, env!("CARGO_PKG_VERSION"));
    assert_eq!((description.category.as_str(), description.color.as_str()), ("logic", "#ABCDEF"));
    assert_eq!(description.icon, "fa-puzzle-piece");
    assert_eq!(description.summary, "Compares two things.");
    assert_eq!(description.help, "Compares two things.\n\nMore about it.");
    assert_eq!((description.inputs, description.outputs), (1, vec!["yes".to_owned(), "no".to_owned()]));
    assert_eq!(description.wants, Some(vec!["payload".to_owned(), "req".to_owned()]));
    assert!(description.capabilities.is_empty() && !description.at_run_end);
    let schema: Value = probity_sdk::serde_json::from_str(&description.config).unwrap();
    assert_eq!(schema["$schema"], "https://json-schema.org/draft/2020-12/schema");
    assert_eq!(schema["required"], json!(["limit"]));
}

#[test]
fn reading_takes_what_editors_write() {
    let found: Compare = read(json!({
        "limit": "5.5", "retryCount": "4", "by": "==", "label": null, "token": "", "storeEvidences": "true",
        "property": 7, "propertyType": "str", "rules": [{ "attribute": "a" }], "id": "x", "wires": []
    }))
    .unwrap();
    assert_eq!((found.limit, found.retry_count, found.by), (5.5, 4, By::Equal));
    assert_eq!((found.label, found.token, found.store_evidences), (None, None, true));
    assert_eq!(found.property, TypedInput::new("str", "7"));
    assert_eq!(found.rules, [Rule { attribute: "a".into(), value: "*".into() }]);
    assert_eq!(found.format, "full");
    let defaults: Compare = read(json!({ "limit": 1 })).unwrap();
    assert_eq!(defaults.property, TypedInput::new("msg", "payload"));
    assert_eq!(Value::Object(defaults.extra), json!({ "a": [1, null] }));
}

#[test]
fn reading_names_every_problem() {
    let problems = read::<Compare>(json!({
        "limit": 101, "retryCount": 256, "by": "more", "rules": [{}, 7, { "attribute": {} }], "format": "long",
        "propertyType": "flow", "storeEvidences": 1, "token": "ghp_literal"
    }))
    .unwrap_err();
    let expected = [
        "propertyType is \"flow\"; one of msg, str, env was expected",
        "by is \"more\"; one of at-least, at-most, == was expected",
        "limit is 101; at most 100.5 was expected",
        "retryCount is 256; a whole number from 0 to 255 was expected",
        "rules[0].attribute is missing",
        "rules[1] is 7; an object was expected",
        "rules[2].attribute is {}; a text was expected",
        "token names no secret; \"secret:NAME\" was expected, not the secret itself",
        "storeEvidences is 1; true or false was expected",
        "format is \"long\"; one of \"full\", \"short\" was expected",
    ];
    assert_eq!(problems.split("; ").count(), expected.join("; ").split("; ").count(), "{problems}");
    for problem in expected {
        assert!(problems.contains(problem), "{problem} is not in: {problems}");
    }
    assert_eq!(read::<Compare>(json!({})).unwrap_err(), "limit is missing");
    assert_eq!(read::<Compare>(json!([])).unwrap_err(), "it is []; an object was expected");
}

#[test]
fn numbers_are_read_as_javascript_means_them() {
    assert_eq!(read::<u8>(json!(3.0)), Ok(3));
    assert_eq!(read::<i64>(json!(" -3 ")), Ok(-3));
    for wrong in [json!(3.5), json!(-1), json!(""), json!("x"), json!(null), json!(true), json!(1e300)] {
        assert!(read::<u8>(wrong.clone()).is_err(), "{wrong}");
    }
    assert_eq!(read::<u64>(json!(u64::MAX)), Ok(u64::MAX));
    assert_eq!(read::<Option<f64>>(json!("")), Ok(None));
    assert!(read::<f64>(json!("")).is_err());
    for wrong in ["NaN", "inf", "1e999"] {
        assert!(read::<f64>(json!(wrong)).is_err(), "{wrong}");
    }
}

#[test]
fn the_body_goes_over_the_configuration() {
    let host = Host::new();
    let result = |body: Value| {
        let sent = host.process::<Compare>(json!({ "limit": 1 }), json!({ "req": { "body": body } }))?;
        assert_eq!(sent[0].port, 1);
        Ok::<_, Error>((sent[0].msg["limit"].clone(), sent[0].msg["format"].clone()))
    };
    assert_eq!(result(json!({})).unwrap(), (json!(1.0), json!("full")));
    assert_eq!(result(json!({ "limit": 2, "format": null })).unwrap(), (json!(2.0), json!("full")));
    assert_eq!(result(json!({ "limit": "3", "format": "short" })).unwrap(), (json!(3.0), json!("short")));
    assert_eq!(result(json!("text")).unwrap(), (json!(1.0), json!("full")));
    let error = result(json!({ "limit": -1, "format": 7 })).unwrap_err();
    assert_eq!(error.code(), Some("bad-parameter"));
    assert_eq!(
        error.message(),
        "msg.req.body.limit is -1; at least 0 was expected; \
         msg.req.body.format is 7; one of \"full\", \"short\" was expected"
    );
}

#[test]
fn a_caller_overrides_neither_what_is_config_only_nor_into_the_operators_data() {
    let config: Compare = read(json!({ "limit": 1, "property": "a", "propertyType": "msg" })).unwrap();
    let over = |body: Value| config.over(&Message::from(json!({ "req": { "body": body } })));
    assert!(!over(json!({ "storeEvidences": true })).unwrap().store_evidences);
    assert_eq!(over(json!({ "property": "b" })).unwrap().property, TypedInput::new("msg", "b"));
    let both = over(json!({ "property": "b", "propertyType": "str" })).unwrap();
    assert_eq!(both.property, TypedInput::new("str", "b"));
    for kind in ["env", "flow", "num"] {
        let error = over(json!({ "property": "b", "propertyType": kind })).unwrap_err();
        assert_eq!(
            error.message(),
            format!("msg.req.body.propertyType is \"{kind}\", which a caller cannot choose here")
        );
    }
    // Without a body there is nothing to go over.
    assert_eq!(config.over(&Message::from(json!({ "payload": 1 }))).unwrap(), config);
}

#[test]
fn a_caller_sends_secrets_not_names_of_them() {
    let named: Compare = read(json!({ "limit": 1, "token": "secret:GITHUB" })).unwrap();
    let open: Compare = read(json!({ "limit": 1 })).unwrap();
    assert_eq!(named.token.as_ref().and_then(Secret::name), Some("GITHUB"));
    let over =
        |config: &Compare, token: &str| config.over(&Message::from(json!({ "req": { "body": { "token": token } } })));
    for config in [&named, &open] {
        let sent = over(config, "literal").unwrap().token.unwrap();
        assert_eq!((sent.name(), format!("{sent:?}").as_str()), (None, "(a secret that the caller sent)"));
        let error = over(config, "secret:OTHER").unwrap_err();
        let expected = "msg.req.body.token names a secret of the operator's, which a caller cannot choose";
        assert_eq!(error.message(), expected);
    }
    assert_eq!(over(&named, "secret:GITHUB").unwrap().token, named.token);
}
