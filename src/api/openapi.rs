//! Endpoints as data, and the OpenAPI 3.1 document made from them. The router is made from the same list, so a path
//! cannot be in one and not in the other.

use std::sync::Arc;

use axum::Json;
use axum::routing::{MethodRouter, get};
use serde_json::{Map, Value, json};

use super::{Api, schemas};

/// One method of one path of ours: how it is answered and what the document says of it.
pub struct Endpoint {
    /// Lower-case.
    pub method: &'static str,
    /// With `{name}` for path parameters, as axum and OpenAPI both write them.
    pub path: &'static str,
    pub tag: &'static str,
    pub summary: &'static str,
    pub query: &'static [Parameter],
    /// Schema of the request body, for calls that have one.
    pub body: Option<&'static str>,
    pub answers: &'static [Answer],
    /// False for what must work without login.
    pub login: bool,
    pub route: fn() -> MethodRouter<Arc<Api>>,
}

/// A query parameter.
pub struct Parameter {
    pub name: &'static str,
    pub help: &'static str,
    pub kind: Kind,
}

/// What a query parameter may be.
pub enum Kind {
    Text,
    Instant,
    Flag,
    /// A JSON object of texts.
    Scope,
    Limit,
    OneOf(&'static [&'static str]),
}

/// A status this endpoint answers with on purpose, beyond those every endpoint may give.
pub struct Answer {
    pub status: u16,
    pub help: &'static str,
    pub media: Media,
}

/// What an answer's body is.
pub enum Media {
    /// Name of a schema.
    Json(&'static str),
    /// A list of this schema: `{"items": […], "next": …}`.
    List(&'static str),
    Html,
    Css,
    /// The Prometheus text format.
    Metrics,
    /// This document.
    OpenApi,
}

impl Parameter {
    pub const fn new(name: &'static str, kind: Kind, help: &'static str) -> Parameter {
        Parameter { name, help, kind }
    }
}

pub const LIMIT: Parameter = Parameter::new("limit", Kind::Limit, "how many items at most");
pub const AFTER: Parameter = Parameter::new("after", Kind::Text, "`next` of the answer before, to go on from there");
/// For lists without filters.
pub const PAGE: &[Parameter] = &[LIMIT, AFTER];

pub const NOT_FOUND: Answer = Answer { status: 404, help: "nothing has this id", media: Media::Json("Error") };
pub const BAD_REQUEST: Answer =
    Answer { status: 400, help: "a parameter or the body is not valid", media: Media::Json("Error") };

/// 200 with a body.
pub const fn ok(help: &'static str, media: Media) -> Answer {
    Answer { status: 200, help, media }
}

pub(super) const ENDPOINTS: &[Endpoint] = &[Endpoint {
    method: "get",
    path: "/probity/openapi.json",
    tag: "service",
    summary: "This document",
    query: &[],
    body: None,
    answers: &[ok("OpenAPI 3.1", Media::OpenApi)],
    login: true,
    route: || get(async || Json(document())),
}];

/// The OpenAPI document of all endpoints.
pub fn document() -> Value {
    let mut paths = Map::new();
    for endpoint in super::endpoints() {
        let path = paths.entry(endpoint.path).or_insert_with(|| json!({}));
        path[endpoint.method] = operation(endpoint);
    }
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Probity",
            "version": env!("CARGO_PKG_VERSION"),
            "description": "Runs, flows, agreements and verdicts of one Probity. The endpoints that flows define \
                are not part of this document.",
            "license": { "name": "Apache-2.0", "identifier": "Apache-2.0" },
        },
        "servers": [{ "url": "/" }],
        "tags": [
            { "name": "verdicts", "description": "what was found" },
            { "name": "agreements", "description": "what was promised" },
            { "name": "flows", "description": "what runs" },
            { "name": "runs", "description": "what has run" },
            { "name": "service", "description": "this server" },
            { "name": "pages", "description": "for people" },
        ],
        "security": [{ "basic": [] }, { "bearer": [] }, {}],
        "paths": paths,
        "components": {
            "schemas": schemas::all(),
            "securitySchemes": {
                "basic": { "type": "http", "scheme": "basic" },
                "bearer": { "type": "http", "scheme": "bearer" },
            },
        },
    })
}

fn operation(endpoint: &Endpoint) -> Value {
    let mut responses = Map::new();
    for answer in endpoint.answers {
        responses.insert(answer.status.to_string(), response(answer));
    }
    if endpoint.login {
        for (status, help) in [
            ("401", "no login, or a wrong one"),
            ("500", "something of ours broke"),
            ("503", "the database does not answer; Retry-After says when to ask again"),
        ] {
            let answer = Answer { status: 0, help, media: Media::Json("Error") };
            responses.entry(status).or_insert_with(|| response(&answer));
        }
    }
    let mut operation = json!({
        "operationId": operation_id(endpoint),
        "tags": [endpoint.tag],
        "summary": endpoint.summary,
        "parameters": parameters(endpoint),
        "responses": responses,
    });
    if let Some(schema) = endpoint.body {
        let content = json!({ "application/json": { "schema": { "$ref": reference(schema) } } });
        operation["requestBody"] = json!({ "required": false, "content": content });
    }
    if !endpoint.login {
        operation["security"] = json!([]);
    }
    operation
}

/// `get` + `/probity/v1/runs/{id}` → `get_runs_id`.
fn operation_id(endpoint: &Endpoint) -> String {
    let path = endpoint.path.trim_start_matches("/probity/v1").trim_start_matches('/');
    let mut words: Vec<&str> = path.split(|c: char| !c.is_ascii_alphanumeric()).filter(|w| !w.is_empty()).collect();
    if path.ends_with('/') {
        words.push("index");
    }
    format!("{}_{}", endpoint.method, words.join("_"))
}

fn reference(schema: &str) -> String {
    format!("#/components/schemas/{schema}")
}

fn parameters(endpoint: &Endpoint) -> Vec<Value> {
    let in_path = endpoint.path.split('/').filter_map(|part| part.strip_prefix('{')?.strip_suffix('}'));
    let in_path =
        in_path.map(|name| json!({ "name": name, "in": "path", "required": true, "schema": { "type": "string" } }));
    let in_query = endpoint.query.iter().map(|parameter| {
        let schema = match parameter.kind {
            Kind::Text => json!({ "type": "string" }),
            Kind::Instant => json!({ "type": "string", "format": "date-time" }),
            Kind::Flag => json!({ "type": "boolean" }),
            Kind::Scope => json!({ "type": "string", "contentMediaType": "application/json" }),
            Kind::Limit => json!({ "type": "integer", "minimum": 1, "maximum": 1000, "default": 100 }),
            Kind::OneOf(words) => json!({ "type": "string", "enum": words }),
        };
        json!({ "name": parameter.name, "in": "query", "description": parameter.help, "schema": schema })
    });
    in_path.chain(in_query).collect()
}

fn response(answer: &Answer) -> Value {
    let text = json!({ "type": "string" });
    let (media, schema) = match answer.media {
        Media::Json(schema) => ("application/json", json!({ "$ref": reference(schema) })),
        Media::List(schema) => ("application/json", schemas::list(&reference(schema))),
        Media::OpenApi => ("application/json", json!({ "type": "object" })),
        Media::Html => ("text/html", text),
        Media::Css => ("text/css", text),
        Media::Metrics => ("text/plain", text),
    };
    json!({ "description": answer.help, "content": { media: { "schema": schema } } })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn references(value: &Value, found: &mut BTreeSet<String>) {
        match value {
            Value::Object(map) => {
                for (key, value) in map {
                    match value.as_str() {
                        Some(text) if key == "$ref" => {
                            found.insert(text.to_string());
                        }
                        _ => references(value, found),
                    }
                }
            }
            Value::Array(items) => items.iter().for_each(|v| references(v, found)),
            _ => {}
        }
    }

    #[test]
    fn every_reference_leads_somewhere_and_every_schema_is_used() {
        let document = document();
        let mut used = BTreeSet::new();
        references(&document, &mut used);
        let defined: BTreeSet<String> =
            document["components"]["schemas"].as_object().unwrap().keys().map(|name| reference(name)).collect();
        assert_eq!(used, defined);
    }

    #[test]
    fn operations_are_named_once_and_paths_are_not_repeated() {
        let ids: Vec<String> = super::super::endpoints().map(operation_id).collect();
        let unique: BTreeSet<&String> = ids.iter().collect();
        assert_eq!(unique.len(), ids.len(), "{ids:?}");
        assert_eq!(ids.iter().filter(|id| *id == "get_runs_id").count(), 1);
    }
}
