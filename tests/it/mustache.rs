//! The Mustache specification against the template engine, rows as data in `tests/cases/mustache`.

use std::path::Path;

use probity::model::Value;
use probity::nodes::mustache::{Outside, Template, View};

/// Rows that differ on purpose, with the reason. Node-RED's engine is mustache.js 4.2 without partials.
const DIFFERENCES: &[(&str, &str, &str)] = &[
    (
        "interpolation",
        "Dotted Names - Context Precedence",
        "mustache.js looks a dotted name up in the outer view when its last part is missing in the inner",
    ),
    ("delimiters", "Partial Inheritence", NO_PARTIALS),
    ("delimiters", "Post-Partial Behavior", NO_PARTIALS),
    ("partials", "Basic Behavior", NO_PARTIALS),
    ("partials", "Context", NO_PARTIALS),
    ("partials", "Recursion", NO_PARTIALS),
    ("partials", "Nested", NO_PARTIALS),
    ("partials", "Surrounding Whitespace", NO_PARTIALS),
    ("partials", "Inline Indentation", NO_PARTIALS),
    ("partials", "Standalone Line Endings", NO_PARTIALS),
    ("partials", "Standalone Without Previous Line", NO_PARTIALS),
    ("partials", "Standalone Without Newline", NO_PARTIALS),
    ("partials", "Standalone Indentation", NO_PARTIALS),
    ("partials", "Padding Whitespace", NO_PARTIALS),
];

const NO_PARTIALS: &str = "Node-RED gives templates no partials: a partial tag renders as nothing";

#[test]
fn the_specification_holds() {
    let mut failures = Vec::new();
    let mut passed = 0;
    for module in ["comments", "delimiters", "interpolation", "inverted", "sections", "partials"] {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/cases/mustache/{module}.json"));
        let spec = Value::from_json(&std::fs::read_to_string(path).unwrap()).unwrap();
        for row in spec.get("tests").as_array().unwrap() {
            let text = |key: &str| row.get(key).to_js_string();
            let expected = text("expected");
            let nothing = |_: &Outside| Ok(Value::Undefined);
            let view = View { root: row.get("data"), outside: &nothing, escape_json: false };
            let got = Template::parse(&text("template")).and_then(|t| t.render(&view));
            let name = text("name");
            let listed = DIFFERENCES.iter().find(|(m, n, _)| *m == module && *n == name);
            match (got.as_deref() == Ok(expected.as_str()), listed) {
                (true, None) => passed += 1,
                (false, Some(_)) => {}
                (true, Some((_, _, why))) => failures.push(format!("{module}: {name}: passes, though \"{why}\"")),
                (false, None) => failures.push(format!("{module}: {name}: expected {expected:?}, got {got:?}")),
            }
        }
    }
    assert!(failures.is_empty(), "{} rows differ:\n{}", failures.len(), failures.join("\n"));
    assert!(passed >= 122, "only {passed} rows passed");
}

/// What takes the place of the specification's partial rows: the tags leave no trace, standalone lines with them.
#[test]
fn partial_tags_render_as_nothing() {
    let nothing = |_: &Outside| Ok(Value::Undefined);
    for (template, expected) in [("\"{{>text}}\"", "\"\""), ("a\n  {{> p }}\nb", "a\nb"), ("|{{> p }}|", "||")] {
        let view = View { root: Value::Null, outside: &nothing, escape_json: false };
        assert_eq!(Template::parse(template).unwrap().render(&view).unwrap(), expected);
    }
}
