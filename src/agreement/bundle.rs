//! All that one text holds: an agreement, a template, a list of them, or what the Registry wraps in `{"template": …}`.

use serde_json::Value;

use super::document::parse;
use super::load::{BYTES_MAX, load_value};
use super::source::{locate, repeated};
use super::template::Template;
use crate::model::agreement::Agreement;
use crate::model::diagnostic::Diagnostic;

/// What was read from one text.
#[derive(Clone, Debug, Default)]
pub struct Bundle {
    pub agreements: Vec<Agreement>,
    /// Documents of `type: template`: not evaluated, but checked.
    pub templates: Vec<Template>,
    /// With the places in the text where they are known.
    pub problems: Vec<Diagnostic>,
}

/// Reads everything in a JSON or YAML text. `source` says where it came from and becomes the diagnostics' file. A
/// document with errors is left out, the others are not.
pub fn load_all(text: &str, source: &str) -> Bundle {
    let mut bundle = Bundle::default();
    if text.len() > BYTES_MAX {
        let problem = Diagnostic::error("too-large", "$", format!("the document has {} bytes", text.len()))
            .expected(format!("at most {BYTES_MAX}"));
        bundle.problems.push(problem.in_file(source));
        return bundle;
    }
    let document = match parse(text) {
        Ok(document) => document,
        Err(problem) => {
            bundle.problems.push(problem.in_file(source));
            return bundle;
        }
    };
    match document {
        Value::Array(list) if !list.is_empty() => {
            for (i, document) in list.into_iter().enumerate() {
                bundle.add(document, &format!("$[{i}]"), source);
            }
        }
        document => bundle.add(document, "$", source),
    }
    locate(text, &mut bundle.problems);
    bundle.problems.extend(repeated(text).into_iter().map(|problem| problem.in_file(source)));
    bundle
}

impl Bundle {
    fn add(&mut self, document: Value, at: &str, source: &str) {
        let (document, at) = unwrapped(document, at);
        let problems = if Template::is_template(&document) {
            let (template, problems) = Template::read(document, source);
            self.templates.push(template);
            problems
        } else {
            let (agreement, problems) = load_value(document, source);
            self.agreements.extend(agreement);
            problems
        };
        let placed = |p: Diagnostic| {
            let path = format!("{at}{}", p.path.strip_prefix('$').unwrap_or(&p.path));
            Diagnostic { path, ..p }
        };
        self.problems.extend(problems.into_iter().map(placed));
    }
}

/// The document inside a wrapper of the Registry, and its path.
fn unwrapped(document: Value, at: &str) -> (Value, String) {
    if let Value::Object(map) = &document
        && map.len() == 1
        && let Some((key @ ("template" | "agreement"), inner @ Value::Object(_))) =
            map.iter().next().map(|(k, v)| (k.as_str(), v))
    {
        return (inner.clone(), format!("{at}.{key}"));
    }
    (document, at.to_owned())
}

/// Whether a list holds agreements or templates rather than the nodes of a flow.
pub fn holds_agreements(list: &[Value]) -> bool {
    let is = |v: &Value| {
        let inner = v.get("template").filter(|t| t.is_object()).unwrap_or(v);
        inner.get("terms").is_some() || inner.get("context").is_some()
    };
    !list.is_empty() && list.iter().all(is)
}
