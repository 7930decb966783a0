//! Templates: what values make of them, and that nothing that is written breaks them.

use proptest::prelude::*;

use super::*;
use crate::agreement::explain::VerdictId;
use crate::agreement::template::Given;
use crate::agreement::{Template, load_all};
use crate::model::diagnostic::Diagnostic;

fn given(pairs: &[(&str, &str)]) -> Given {
    pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect()
}

fn template(parameters: &Value, extra: &Value) -> Template {
    let mut document = good();
    document["type"] = "template".into();
    document["parameters"] = parameters.clone();
    document["extra"] = extra.clone();
    Template::read(document, "t.json").0
}

fn codes(problems: &[Diagnostic]) -> Vec<&str> {
    problems.iter().map(|p| p.code.as_str()).collect()
}

#[test]
fn values_keep_their_types_and_texts_take_their_spelling() {
    let parameters = json!({
        "limit": {"type": "number", "minimum": 0}, "on": {"type": "boolean", "default": false},
        "names": {"type": "array", "items": {"type": "string"}}, "team": {"type": "string", "default": "blue"},
    });
    let extra = json!({
        "whole": "${limit}", "inside": "<= ${limit} for ${team}", "flag": "${on}", "list": "${names}",
        "kept": "$${limit} costs $5", "key-${team}": 1, "deep": [{"x": "${team}"}],
    });
    let template = template(&parameters, &extra);
    let document = template.render(&given(&[("id", "a"), ("limit", "2.5"), ("names", "[\"x\", \"y\"]")])).unwrap();
    let expected = json!({
        "whole": 2.5, "inside": "<= 2.5 for blue", "flag": false, "list": ["x", "y"], "kept": "${limit} costs $5",
        "key-blue": 1, "deep": [{"x": "blue"}],
    });
    assert_eq!(document["extra"], expected);
    assert_eq!((&document["id"], &document["templateId"]), (&json!("a"), &json!("case")));
    assert!(document.get("parameters").is_none());
}

#[test]
fn every_wrong_value_is_named() {
    let parameters = json!({
        "limit": {"type": "number", "minimum": 10, "description": "of calls"}, "names": {"type": "array"},
        "stage": {"type": "string", "enum": ["test", "live"]}, "name": {"type": "string", "pattern": "^[a-z]+$"},
    });
    let template = template(&parameters, &json!({"a": "x ${names}", "b": "${lmit}", "c": "${limit"}));
    let refused =
        template.render(&given(&[("limit", "5"), ("stage", "prod"), ("name", "No"), ("nmae", "x")])).unwrap_err();
    let said: Vec<String> = refused.iter().map(ToString::to_string).collect();
    let all = said.join("\n");
    for part in [
        "$.parameters.limit: error[bad-value]",
        "of calls",
        "one of test, live",
        "$.parameters.name: error[bad-value]",
        "did you mean \"name\"?",
        "--set names=…",
        "$.id: error[missing-parameter]",
        "did you mean \"limit\"?",
        "a `${` is not closed",
    ] {
        assert!(all.contains(part), "{part}: {all}");
    }
    let listed = template.render(&given(&[("names", "[]"), ("id", "a")])).unwrap_err();
    assert!(codes(&listed).contains(&"bad-placeholder"), "{listed:?}");
}

#[test]
fn declarations_are_checked() {
    let problems = |parameters: Value| {
        let mut document = good();
        document["type"] = "template".into();
        document["parameters"] = parameters;
        let (_, problems) = Template::read(document, "t.json");
        problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
    };
    assert_eq!(problems(json!({"a": {"type": "string"}})), "");
    assert!(problems(json!([])).contains("$.parameters: error[wrong-kind]"));
    assert!(problems(json!({"a": 5})).contains("$.parameters.a: error[wrong-kind]"));
    assert!(problems(json!({"a b": {"type": "string"}})).contains("error[bad-parameter-name]"));
    assert!(problems(json!({"a": {"type": "strnig"}})).contains("did you mean \"string\"?"));
    assert!(problems(json!({"a": {"type": "string", "patern": "x"}})).contains("did you mean \"pattern\"?"));
    assert!(problems(json!({"a": {"type": "number", "default": "many"}})).contains("error[bad-value]"));
    assert!(problems(json!({"a": {"type": "string", "pattern": "("}})).contains("$.parameters.a"));
}

/// What depends on a text that has no example is not judged; what does not is.
#[test]
fn a_template_is_tried_with_its_examples() {
    let mut document = good();
    document["type"] = "template".into();
    document["parameters"] =
        json!({"period": {"type": "string"}, "metric": {"type": "string", "examples": ["NOBODY"]}});
    document["terms"]["guarantees"][0]["of"][0]["window"]["period"] = "${period}".into();
    document["terms"]["guarantees"][1]["of"][0]["objective"] = "${metric} > 1".into();
    let (_, problems) = Template::read(document, "t.json");
    assert_eq!(codes(&problems), ["unknown-metric"], "{problems:?}");
}

#[test]
fn placeholders_of_governify_are_replaced_everywhere() {
    let mut document = good();
    document["terms"]["guarantees"][0]["scope"] = json!({"project": {"default": 1_010_101_010}});
    document["context"]["definitions"]["x 1010101010"] = "$_[infra.a]/1010101010?n=12121212120&z=0000000000".into();
    let (agreement, problems) = load_value(document.clone(), "");
    assert!(agreement.is_some());
    let unfilled: Vec<&Diagnostic> = problems.iter().filter(|p| p.code == "unfilled-placeholder").collect();
    assert_eq!(unfilled.len(), 2, "{problems:?}");
    let (template, _) = Template::read(document, "t.json");
    assert_eq!(template.placeholders(), ["$_[infra.a]", "1010101010"]);
    let filled = template.render(&given(&[("1010101010", "42"), ("$_[infra.a]", "http://a")])).unwrap();
    assert_eq!(filled["terms"]["guarantees"][0]["scope"]["project"]["default"], 42);
    assert_eq!(filled["context"]["definitions"]["x 42"], "http://a/42?n=12121212120&z=0000000000");
    let filled = template.render(&given(&[("1010101010", "shop")])).unwrap();
    assert_eq!(filled["terms"]["guarantees"][0]["scope"]["project"]["default"], "shop");
}

#[test]
fn a_text_may_hold_several_documents() {
    let mut template = good();
    template["type"] = "template".into();
    let mut broken = good();
    broken["id"] = Value::Null;
    let text = serde_json::to_string_pretty(&json!([good(), {"template": template}, broken])).unwrap();
    let bundle = load_all(&text, "list.json");
    assert_eq!((bundle.agreements.len(), bundle.templates.len()), (1, 1));
    let paths: Vec<&str> = bundle.problems.iter().map(|p| p.path.as_str()).collect();
    assert_eq!(paths, ["$[2].id"]);
    assert!(bundle.problems[0].line.is_some_and(|line| line > 100), "{:?}", bundle.problems);
    let (agreement, problems) = load(&text, "list.json");
    assert!(agreement.is_none() && codes(&problems).contains(&"several-documents"));
}

proptest! {
    #[test]
    fn whatever_is_written_is_read_or_refused(text in "[\\PC\n\t]{0,200}", path in "\\$[.\\[\\]\"a-z0-9$\\\\]{0,20}") {
        load_all(&text, "x");
        let _refused = VerdictId::parse(&text);
        let mut problems = [Diagnostic::error("x", path, "")];
        crate::agreement::source::locate(&text, &mut problems);
    }

    #[test]
    fn whatever_is_filled_in_is_filled_in_or_refused(
        text in "[a${}_\\[\\]. 01é]{0,40}",
        value in "[\\PC]{0,20}",
        kind in prop::sample::select(vec!["string", "number", "integer", "boolean", "array", "object", "x"]),
    ) {
        let template = template(&json!({"a": {"type": kind}}), &json!({"k": text.clone(), text: 1}));
        let _refused = template.render(&given(&[("a", &value), ("id", "x"), ("1010101010", &value)]));
    }
}
