//! `$ref`s that lead out of a document: fetched under the rules of `net` and put in their place. Those that stay inside
//! are left to the loader.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use http::Method;
use serde_json::{Map, Value};
use url::Url;

use super::shown::shown;
use crate::model::diagnostic::Diagnostic;
use crate::net::{Net, NetRequest};

/// Documents fetched for one reading of a source.
const FETCHED_MAX: usize = 64;
/// Largest of them, bytes.
const BYTES_MAX: usize = 4 << 20;
/// References that lead to references.
const DEPTH_MAX: usize = 16;
/// Values that one document may grow to.
const VALUES_MAX: usize = 200_000;

/// Follows references out of documents, each target fetched once.
pub(super) struct References {
    net: Arc<Net>,
    timeout: Duration,
    fetched: BTreeMap<String, Result<Arc<Value>, String>>,
}

/// True when a reference leads out of the document.
pub(super) fn has_remote(value: &Value) -> bool {
    match value {
        Value::Object(map) => remote_of(map).is_some() || map.values().any(has_remote),
        Value::Array(items) => items.iter().any(has_remote),
        _ => false,
    }
}

fn reference_of(map: &Map<String, Value>) -> Option<&str> {
    map.get("$ref")?.as_str()
}

fn remote_of(map: &Map<String, Value>) -> Option<&str> {
    reference_of(map).filter(|reference| !reference.starts_with('#'))
}

/// Where a value stands, while it is copied.
struct At<'a> {
    /// Addresses are relative to this one.
    base: Option<&'a Url>,
    /// What local references lead into; none in the document itself.
    root: Option<Arc<Value>>,
    path: String,
    depth: usize,
}

/// What is found while one document is copied.
struct Copying<'p> {
    problems: &'p mut Vec<Diagnostic>,
    values_left: usize,
}

impl References {
    pub(super) fn new(net: Arc<Net>, timeout: Duration) -> References {
        References { net, timeout, fetched: BTreeMap::new() }
    }

    /// The document with what its outward references lead to. One that leads nowhere stays, with a diagnostic.
    pub(super) async fn resolve(&mut self, document: &Value, base: Option<&Url>) -> (Value, Vec<Diagnostic>) {
        let mut problems = Vec::new();
        let at = At { base, root: None, path: "$".into(), depth: 0 };
        let mut copying = Copying { problems: &mut problems, values_left: VALUES_MAX };
        let resolved = self.copy(document, at, &mut copying).await;
        (resolved, problems)
    }

    fn copy<'c>(&'c mut self, value: &'c Value, at: At<'c>, copying: &'c mut Copying<'_>) -> BoxFuture<'c, Value> {
        async move {
            copying.values_left = copying.values_left.saturating_sub(1);
            match value {
                Value::Object(map) => {
                    let reference = reference_of(map).filter(|r| at.root.is_some() || !r.starts_with('#'));
                    if let Some(reference) = reference {
                        return match self.follow(reference, at, copying).await {
                            Ok(target) => target,
                            Err(problem) => {
                                copying.problems.push(problem);
                                value.clone()
                            }
                        };
                    }
                    let mut copy = Map::new();
                    for (key, value) in map {
                        let path = format!("{}.{key}", at.path);
                        let below = At { base: at.base, root: at.root.clone(), path, depth: at.depth };
                        copy.insert(key.clone(), self.copy(value, below, copying).await);
                    }
                    Value::Object(copy)
                }
                Value::Array(items) => {
                    let mut copy = Vec::new();
                    for (i, value) in items.iter().enumerate() {
                        let path = format!("{}[{i}]", at.path);
                        let below = At { base: at.base, root: at.root.clone(), path, depth: at.depth };
                        copy.push(self.copy(value, below, copying).await);
                    }
                    Value::Array(copy)
                }
                scalar => scalar.clone(),
            }
        }
        .boxed()
    }

    async fn follow(&mut self, reference: &str, at: At<'_>, copying: &mut Copying<'_>) -> Result<Value, Diagnostic> {
        let problem = |code: &str, message: String| {
            Diagnostic::error(code, at.path.clone(), message)
                .expected("a reference to a JSON document that can be read")
        };
        if at.depth >= DEPTH_MAX || copying.values_left == 0 {
            let message = format!("\"{}\" leads back to itself, or to too much", shown_reference(reference));
            return Err(problem("circular-reference", message));
        }
        let (address, pointer) = reference.split_once('#').unwrap_or((reference, ""));
        let (base, root) = if address.is_empty() {
            (at.base.cloned(), at.root.clone())
        } else {
            let url = match at.base {
                Some(base) => base.join(address),
                None => Url::parse(address),
            };
            let url = url.map_err(|e| {
                problem("broken-reference", format!("\"{}\" is no address: {e}", shown_reference(reference)))
            })?;
            let root = self.fetch(&url).await.map_err(|why| {
                problem("unreachable-reference", format!("\"{}\": {why}", shown_reference(reference)))
            })?;
            (Some(url), Some(root))
        };
        let Some(root) = root else {
            return Err(problem("broken-reference", "it leads nowhere".into()));
        };
        let pointer = percent_encoding::percent_decode_str(pointer).decode_utf8_lossy();
        let Some(target) = root.pointer(&pointer).cloned() else {
            let message = format!("nothing stands at \"{}\"", shown_reference(reference));
            return Err(problem("broken-reference", message));
        };
        let below = At { base: base.as_ref(), root: Some(root), path: at.path.clone(), depth: at.depth + 1 };
        Ok(self.copy(&target, below, copying).await)
    }

    async fn fetch(&mut self, url: &Url) -> Result<Arc<Value>, String> {
        let mut url = url.clone();
        url.set_fragment(None);
        if let Some(known) = self.fetched.get(url.as_str()) {
            return known.clone();
        }
        if self.fetched.len() >= FETCHED_MAX {
            return Err(format!("more than {FETCHED_MAX} documents are referred to"));
        }
        let mut request = NetRequest::new(Method::GET, url.clone());
        request.timeout = Some(self.timeout);
        request.response_bytes_max = Some(BYTES_MAX);
        let answer = match self.net.request(request).await {
            Err(error) => Err(error.to_string()),
            Ok(answer) if answer.status != 200 => Err(format!("it was answered with {}", answer.status)),
            Ok(answer) => serde_json::from_slice(&answer.body)
                .or_else(|_| serde_saphyr::from_slice(&answer.body))
                .map(Arc::new)
                .map_err(|_| "the answer is neither JSON nor YAML".to_owned()),
        };
        self.fetched.insert(url.into(), answer.clone());
        answer
    }
}

fn shown_reference(reference: &str) -> String {
    let (address, pointer) = reference.split_once('#').unwrap_or((reference, ""));
    let address = if address.contains("://") { shown(address) } else { address.to_owned() };
    if pointer.is_empty() { address } else { format!("{address}#{pointer}") }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::net::NetResponse;

    fn references(documents: Value) -> References {
        let answer = move |request: &NetRequest| {
            let found = documents.get(request.url.as_str());
            Ok(NetResponse {
                status: if found.is_some() { 200 } else { 404 },
                headers: Default::default(),
                body: found.map(Value::to_string).unwrap_or_default().into(),
                url: request.url.clone(),
                redirects: Vec::new(),
                digest_problem: None,
            })
        };
        References::new(Arc::new(Net::answering(Arc::new(answer))), Duration::from_secs(1))
    }

    #[tokio::test]
    async fn references_out_of_a_document_are_put_in_their_place() {
        let mut references = references(json!({
            "http://r/shared.json": {
                "metrics": {"M": {"collector": {"$ref": "#/collectors/events"}, "more": {"$ref": "other.json#/a~1b"}}},
                "collectors": {"events": {"type": "POST-GET-V1"}},
            },
            "http://r/other.json": {"a/b": [1, 2]},
        }));
        let base = Url::parse("http://r/agreements/sla").unwrap();
        let document = json!({
            "local": {"$ref": "#/stays"}, "metrics": {"$ref": "../shared.json#/metrics"}, "text": {"$ref": 7},
        });
        assert!(has_remote(&document) && !has_remote(&json!({"$ref": "#/here"})));
        let (resolved, problems) = references.resolve(&document, Some(&base)).await;
        assert_eq!(problems, []);
        assert_eq!(
            resolved,
            json!({
                "local": {"$ref": "#/stays"}, "text": {"$ref": 7},
                "metrics": {"M": {"collector": {"type": "POST-GET-V1"}, "more": [1, 2]}},
            })
        );
    }

    #[tokio::test]
    async fn a_reference_that_leads_nowhere_or_in_circles_is_said_with_its_place() {
        let mut references = references(json!({
            "http://r/circle.json": {"$ref": "circle.json"},
            "http://r/bomb.json": {"a": [{"$ref": "#"}, {"$ref": "#"}, {"$ref": "#"}, {"$ref": "#"}]},
        }));
        let base = Url::parse("http://r/").unwrap();
        for (reference, code) in [
            ("missing.json#/a", "unreachable-reference"),
            ("circle.json", "circular-reference"),
            ("bomb.json", "circular-reference"),
            ("bomb.json#/nothing", "broken-reference"),
            ("http://[/", "broken-reference"),
        ] {
            let document = json!({"a": [0, {"$ref": reference}]});
            let (_, problems) = references.resolve(&document, Some(&base)).await;
            assert!(
                problems.iter().any(|p| p.code == code && p.path.starts_with("$.a[1]")),
                "{reference}: {problems:?}"
            );
        }
    }
}
