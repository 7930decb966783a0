//! Agreements as people write them: the corpus, the schema beside the loader, templates, and the commands.

use std::path::{Path, PathBuf};

use probity::agreement::{self, schema};
use probity::model::Severity;
use serde::Deserialize;
use serde_json::{Value, json};

mod commands;
mod stored;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, default)]
#[derive(Default)]
struct Entry {
    committed: String,
    shared: String,
    agreements: usize,
    templates: usize,
    warns: Vec<String>,
    refused: Vec<String>,
    may_refuse: Vec<String>,
}

/// The corpus's files that are here, with what is expected of them; says which are not.
fn corpus() -> Vec<(PathBuf, Entry)> {
    let text = std::fs::read_to_string(root().join("tests/cases/authoring/corpus.yaml")).unwrap();
    let entries: Vec<Entry> = serde_saphyr::from_str(&text).unwrap();
    assert_eq!(entries.len(), 25, "the corpus has 25 files");
    let mut found = Vec::new();
    for entry in entries {
        let path = match entry.committed.as_str() {
            "" => root().join("../shared/data/agreements").join(&entry.shared),
            name => root().join("tests/data/agreements").join(name),
        };
        if path.is_file() {
            found.push((path, entry));
        } else {
            assert!(entry.committed.is_empty(), "{} is missing", path.display());
            eprintln!("SKIPPED, as it is not here: {}", entry.shared);
        }
    }
    found
}

#[test]
fn every_agreement_of_the_corpus_loads_or_says_why_not() {
    for (path, entry) in corpus() {
        let at = path.file_name().unwrap().to_string_lossy().into_owned();
        let bundle = agreement::load_all(&std::fs::read_to_string(&path).unwrap(), &at);
        let said: Vec<String> = bundle.problems.iter().map(ToString::to_string).collect();
        for problem in &bundle.problems {
            assert!(problem.line.is_some_and(|l| l > 0), "{at}: {problem} has no line");
        }
        let errors: Vec<&str> =
            bundle.problems.iter().filter(|p| p.severity == Severity::Error).map(|p| p.code.as_str()).collect();
        for error in &errors {
            let known = entry.refused.iter().chain(&entry.may_refuse).any(|c| c == error);
            assert!(known, "{at} is refused by {error}: {said:#?}");
        }
        for wanted in &entry.refused {
            assert!(errors.contains(&wanted.as_str()), "{at} is not refused by {wanted}: {said:#?}");
        }
        for wanted in &entry.warns {
            assert!(bundle.problems.iter().any(|p| p.code == *wanted), "{at} does not warn of {wanted}: {said:#?}");
        }
        if errors.is_empty() {
            assert_eq!((bundle.agreements.len(), bundle.templates.len()), (entry.agreements, entry.templates), "{at}");
        } else {
            assert!(bundle.agreements.is_empty(), "{at}");
        }
        for agreement in &bundle.agreements {
            assert_eq!(schema::problems(&agreement.document), [], "{at}");
        }
        for template in &bundle.templates {
            assert_eq!(schema::problems(&template.document), [], "{at}");
        }
    }
}

/// Every place of a document, as JSON pointers.
fn pointers(value: &Value, at: &str, found: &mut Vec<String>) {
    found.push(at.to_string());
    match value {
        Value::Object(map) => {
            for (key, inner) in map {
                pointers(inner, &format!("{at}/{}", key.replace('~', "~0").replace('/', "~1")), found);
            }
        }
        Value::Array(items) => {
            for (i, inner) in items.iter().enumerate() {
                pointers(inner, &format!("{at}/{i}"), found);
            }
        }
        _ => {}
    }
}

fn without(document: &Value, pointer: &str) -> Option<Value> {
    let mut document = document.clone();
    let (parent, key) = pointer.rsplit_once('/')?;
    document.pointer_mut(parent)?.as_object_mut()?.shift_remove(&key.replace("~1", "/").replace("~0", "~"))?;
    Some(document)
}

fn with(document: &Value, pointer: &str, value: &Value) -> Option<Value> {
    let mut document = document.clone();
    *document.pointer_mut(pointer)? = value.clone();
    Some(document)
}

/// What the loader accepts the schema accepts; and where the schema sees a wrong shape, the loader has an error on the way
/// there or below.
#[test]
fn schema_and_loader_agree_on_mutated_documents() {
    let strange = [
        json!(null),
        json!(5),
        json!(true),
        json!("text"),
        json!(" "),
        json!([]),
        json!({}),
        json!([1]),
        json!({"$ref": "#/x"}),
    ];
    // All of them on request: minutes in a debug build.
    #[expect(clippy::disallowed_methods, reason = "a switch of this test, not of the engine")]
    let every = std::env::var_os("PROBITY_TEST_ALL_MUTATIONS").is_some();
    let (mut tried, mut refused) = (0, 0);
    for file in [
        "tests/cases/agreement/good.json",
        "agreements/service-level.json",
        "tests/data/agreements/tp-tester-default.json",
    ] {
        let document: Value = serde_json::from_str(&std::fs::read_to_string(root().join(file)).unwrap()).unwrap();
        let mut places = Vec::new();
        pointers(&document, "", &mut places);
        let step = if every { 1 } else { 1 + places.len() / 100 };
        for pointer in places.iter().step_by(step).filter(|p| !p.is_empty()) {
            let mutants = strange.iter().filter_map(|v| with(&document, pointer, v)).chain(without(&document, pointer));
            for mutant in mutants {
                tried += 1;
                let shape = schema::problems(&mutant);
                let (loaded, problems) = agreement::load_value(mutant.clone(), "");
                assert!(loaded.is_none() || shape.is_empty(), "{file} {pointer}: loaded, but: {shape:?} in {mutant}");
                refused += usize::from(!shape.is_empty());
                for wrong in shape {
                    let near = |path: &str| path.starts_with(&wrong.path) || wrong.path.starts_with(path);
                    let seen = problems.iter().any(|p| p.severity == Severity::Error && near(&p.path));
                    assert!(seen, "{file} {pointer}: the loader does not see {wrong}: {problems:?}");
                }
            }
        }
    }
    assert!(tried > 500 && refused > 100, "{refused} of {tried} have a wrong shape");
}

/// The schema names every type, period and way to catch up that the documents do, so that editors offer them.
#[test]
fn the_schema_describes_every_field() {
    fn walk(schema: &Value, at: &str) {
        if let Some(properties) = schema.get("properties").and_then(Value::as_object) {
            for (name, property) in properties {
                let bare = property.get("$ref").is_some() || property.as_object().is_some_and(|o| o.is_empty());
                let number = ["minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf", "minLength"];
                let keyword = number.contains(&name.as_str())
                    || ["maxLength", "pattern", "items", "minItems", "maxItems"].contains(&name.as_str());
                let described = property.get("description").and_then(Value::as_str).is_some_and(|d| d.len() > 8);
                assert!(bare || keyword || described, "{at}.{name} has no description");
            }
        }
        match schema {
            Value::Object(map) => map.iter().for_each(|(key, inner)| walk(inner, &format!("{at}.{key}"))),
            Value::Array(items) => items.iter().for_each(|inner| walk(inner, at)),
            _ => {}
        }
    }
    let schema: Value = serde_json::from_str(schema::TEXT).unwrap();
    walk(&schema, "$");
    assert!(jsonschema::meta::is_valid(&schema));
}
