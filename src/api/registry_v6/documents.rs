//! `/api/v6/agreements` and `/api/v6/templates`: documents of the live set; those put here are kept in our store.

use std::sync::Arc;

use axum::Extension;
use axum::body::Bytes;
use axum::extract::{Path, RawQuery, State as Shared};
use axum::response::{IntoResponse, Response};
use http::{Method, StatusCode};
use serde_json::{Map, Value, json};

use super::answer::{Refusal, json_answer, object_id, text, with_type};
use super::passing::Write;
use super::query::Wanted;
use super::{Mode, RegistryV6};
use crate::api::auth::Caller;
use crate::registry::PutError;
use crate::store::DocumentKind;

type Answered = Result<Response, Refusal>;
type Call = Shared<Arc<RegistryV6>>;
type Who = Option<Extension<Caller>>;

/// The top of a document in the Registry's database.
const SHOWN: [&str; 5] = ["id", "version", "type", "context", "terms"];

fn name(caller: Who) -> String {
    caller.map_or_else(|| "anonymous".into(), |Extension(caller)| caller.name)
}

fn missing(id: &str) -> Refusal {
    Refusal::new(StatusCode::NOT_FOUND, format!("There is no agreement with id: {id}"))
}

impl RegistryV6 {
    /// A document as the Registry shows it: in `compat` with the keys of its database, and of the document only those
    /// fields at the top that its database has. All of it is kept.
    fn shown(&self, kind: DocumentKind, document: &Value) -> Value {
        match (document, self.mode) {
            (Value::Object(fields), Mode::Compat) => {
                let id = fields.get("id").and_then(Value::as_str).unwrap_or_default();
                let mut shown = Map::with_capacity(fields.len() + 2);
                shown.insert("_id".into(), json!(object_id(&[kind.word(), id])));
                let own = fields.iter().filter(|(key, _)| SHOWN.contains(&key.as_str()));
                shown.extend(own.map(|(key, value)| (key.clone(), value.clone())));
                shown.insert("__v".into(), json!(0));
                Value::Object(shown)
            }
            _ => document.clone(),
        }
    }

    fn agreement_document(&self, id: &str) -> Result<Value, Refusal> {
        self.agreements.get(id).map(|agreement| agreement.document.clone()).ok_or_else(|| missing(id))
    }
}

/// Why a document was not taken, in the Registry's form.
pub(super) fn refused(error: PutError) -> Refusal {
    match error {
        PutError::Broken(problems) => {
            let first = problems.first().map(ToString::to_string).unwrap_or_default();
            let more = match problems.len() {
                0 | 1 => String::new(),
                n => format!(" (and {} more, in `problems`)", n - 1),
            };
            Refusal::new(StatusCode::BAD_REQUEST, format!("the document cannot be used: {first}{more}"))
                .with("problems", json!(problems))
        }
        PutError::Exists(_) => Refusal::new(StatusCode::CONFLICT, "Agreement already exists"),
        PutError::Unknown(id) => missing(&id),
        error @ PutError::NotOurs { .. } => Refusal::new(StatusCode::CONFLICT, error.to_string()),
        error @ PutError::NoStore => Refusal::new(StatusCode::SERVICE_UNAVAILABLE, error.to_string()),
        PutError::Store(error) => Refusal::failed("the document could not be stored", &error),
    }
}

/// An object, or what is wrong with the body.
fn object(body: &Bytes) -> Result<Map<String, Value>, Refusal> {
    let bad = |message: String| Refusal::new(StatusCode::BAD_REQUEST, message);
    match serde_json::from_slice(body) {
        Ok(Value::Object(fields)) => Ok(fields),
        Ok(_) => Err(bad("the body is no object; expected a document".into())),
        Err(error) => Err(bad(format!("the body is not JSON: {error}"))),
    }
}

pub(super) async fn list(registry: Call) -> Response {
    let snapshot = registry.agreements.snapshot();
    let all = snapshot.agreements.iter().map(|a| registry.shown(DocumentKind::Agreement, &a.document));
    json_answer(StatusCode::OK, &all.collect::<Vec<_>>())
}

pub(super) async fn one(registry: Call, Path(id): Path<String>) -> Answered {
    let document = registry.agreement_document(&id)?;
    Ok(json_answer(StatusCode::OK, &registry.shown(DocumentKind::Agreement, &document)))
}

pub(super) async fn add(registry: Call, caller: Who, body: Bytes) -> Answered {
    let document = Value::Object(object(&body)?);
    if let Some(elsewhere) = registry.passes.get() {
        let write = Write {
            method: Method::POST,
            kind: DocumentKind::Agreement,
            id: document["id"].as_str().unwrap_or_default(),
            segments: &["agreements"],
            body: Some(&document),
            document: Some(&document),
            by: &name(caller),
        };
        return registry.pass_on(elsewhere, write).await;
    }
    registry.agreements.add(DocumentKind::Agreement, document, &name(caller)).await.map_err(refused)?;
    Ok(match registry.mode {
        Mode::Compat => text(StatusCode::OK, "OK"),
        Mode::Strict => text(StatusCode::CREATED, "OK"),
    })
}

/// In `strict` the body is the whole document; in `compat` its top-level fields replace those there are.
pub(super) async fn put(registry: Call, Path(id): Path<String>, caller: Who, body: Bytes) -> Answered {
    // A Registry that keeps documents may know one that has not come here yet.
    let before = match registry.passes.get() {
        Some(_) => registry.agreement_document(&id).unwrap_or(Value::Null),
        None => registry.agreement_document(&id)?,
    };
    let mut given = object(&body)?;
    if given.get("id").is_some_and(|given| *given != json!(id)) {
        let message = format!("the body's id is not {id}, which the path names");
        return Err(Refusal::new(StatusCode::BAD_REQUEST, message));
    }
    given.retain(|key, _| !matches!(key.as_str(), "_id" | "__v"));
    let mut document = match before {
        Value::Object(fields) if registry.mode == Mode::Compat => fields,
        _ => Map::from_iter([("id".to_owned(), json!(id))]),
    };
    if let Some(elsewhere) = registry.passes.get() {
        // It sets only the fields that it is given.
        document.insert("id".into(), json!(id));
        document.extend(given.clone());
        let (document, given) = (Value::Object(document), Value::Object(given));
        let write = Write {
            method: Method::PUT,
            kind: DocumentKind::Agreement,
            id: &id,
            segments: &["agreements", &id],
            body: Some(&given),
            document: Some(&document),
            by: &name(caller),
        };
        return registry.pass_on(elsewhere, write).await;
    }
    document.extend(given);
    let document = Value::Object(document);
    registry.agreements.put(DocumentKind::Agreement, document.clone(), &name(caller)).await.map_err(refused)?;
    Ok(json_answer(StatusCode::OK, &registry.shown(DocumentKind::Agreement, &document)))
}

pub(super) async fn remove(registry: Call, Path(id): Path<String>, caller: Who) -> Answered {
    if let Some(elsewhere) = registry.passes.get() {
        return registry
            .pass_on(elsewhere, removal(DocumentKind::Agreement, &id, &["agreements", &id], &name(caller)))
            .await;
    }
    registry.agreements.remove(DocumentKind::Agreement, &id, &name(caller)).await.map_err(refused)?;
    Ok(text(StatusCode::OK, "OK"))
}

fn removal<'w>(kind: DocumentKind, id: &'w str, segments: &'w [&'w str], by: &'w str) -> Write<'w> {
    Write { method: Method::DELETE, kind, id, segments, body: None, document: None, by }
}

/// Removes what was put here; what comes from elsewhere stays. Passed on, it is each agreement by itself: a Registry that
/// is told to remove all of them dies of it.
pub(super) async fn remove_all(registry: Call, caller: Who) -> Answered {
    let by = name(caller);
    let ids: Vec<String> = registry.agreements.snapshot().agreements.iter().map(|a| a.id.clone()).collect();
    if let Some(elsewhere) = registry.passes.get() {
        for id in &ids {
            let segments = ["agreements", id.as_str()];
            let removed = registry.pass_on(elsewhere, removal(DocumentKind::Agreement, id, &segments, &by));
            let status = removed.await?.status();
            // It is not that Registry's.
            if !status.is_success() && status != StatusCode::NOT_FOUND {
                return Err(Refusal::new(StatusCode::BAD_GATEWAY, format!("{id}: the Registry answered {status}")));
            }
        }
        return Ok(text(StatusCode::OK, "OK"));
    }
    for id in ids.iter().filter(|id| registry.agreements.is_stored(DocumentKind::Agreement, id)) {
        match registry.agreements.remove(DocumentKind::Agreement, id, &by).await {
            // Somebody else was quicker.
            Ok(()) | Err(PutError::Unknown(_)) => {}
            Err(error) => return Err(refused(error)),
        }
    }
    Ok(text(StatusCode::OK, "OK"))
}

/// `?id=my*` gives those whose ids fit; `*` stands for any text.
pub(super) async fn templates(registry: Call, RawQuery(query): RawQuery) -> Answered {
    let wanted = Wanted::read(query.as_deref(), registry.mode)
        .map_err(|problem| Refusal::new(StatusCode::BAD_REQUEST, problem))?;
    let snapshot = registry.agreements.snapshot();
    let fits = |id: &str| wanted.get("id").is_none_or(|pattern| glob(pattern, id));
    let found = snapshot.templates.iter().filter(|(id, _)| fits(id));
    let all = found.map(|(_, template)| registry.shown(DocumentKind::Template, &template.document));
    Ok(json_answer(StatusCode::OK, &all.collect::<Vec<_>>()))
}

fn glob(pattern: &str, text: &str) -> bool {
    let mut parts = pattern.split('*');
    let Some(mut rest) = parts.next().and_then(|first| text.strip_prefix(first)) else { return false };
    let mut last = None;
    for part in parts {
        if let Some(previous) = last.replace(part) {
            let Some(at) = rest.find(previous) else { return false };
            rest = &rest[at + previous.len()..];
        }
    }
    match last {
        Some(last) => rest.ends_with(last),
        None => rest.is_empty(),
    }
}

pub(super) async fn template(registry: Call, Path(id): Path<String>) -> Answered {
    match registry.agreements.snapshot().templates.get(&id) {
        Some(found) => Ok(json_answer(StatusCode::OK, &registry.shown(DocumentKind::Template, &found.document))),
        None => Err(Refusal::new(StatusCode::NOT_FOUND, format!("There is no template with id: {id}"))),
    }
}

/// The form of a template's id: any text, then `-v1-0-0`.
fn is_template_id(id: &str) -> bool {
    let id = id.strip_suffix("-clone").unwrap_or(id);
    let mut parts = id.rsplitn(3, '-');
    let number = |text: Option<&str>| text.is_some_and(|t| !t.is_empty() && t.bytes().all(|b| b.is_ascii_digit()));
    let (patch, minor) = (number(parts.next()), number(parts.next()));
    let major = parts.next().and_then(|rest| rest.rsplit_once("-v")).map(|(_, digits)| digits);
    patch && minor && number(major)
}

/// The body is `{"template": {…}}`, or the template itself.
pub(super) async fn add_template(registry: Call, caller: Who, body: Bytes) -> Answered {
    let mut fields = object(&body)?;
    let document = match fields.remove("template") {
        Some(Value::Object(template)) => template,
        Some(_) => return Err(Refusal::new(StatusCode::BAD_REQUEST, "`template` is no object")),
        None => fields,
    };
    if document.get("type") != Some(&json!("template")) {
        return Err(Refusal::new(StatusCode::BAD_REQUEST, "Template must have: 'type':'template'"));
    }
    let id = document.get("id").and_then(Value::as_str).unwrap_or_default().to_owned();
    if !is_template_id(&id) {
        let problem = json!({
            "error": "Bad formed id",
            "required pattern": "/^(.*)-v(\\d+)-(\\d+)-(\\d+)(-clone)?$/",
            "your id": id,
            "example": "my-string-example-v0-002-012",
        });
        return Ok(json_answer(StatusCode::BAD_REQUEST, &problem));
    }
    let document = Value::Object(document);
    if let Some(elsewhere) = registry.passes.get() {
        let wrapped = json!({ "template": document });
        let write = Write {
            method: Method::POST,
            kind: DocumentKind::Template,
            id: &id,
            segments: &["templates"],
            body: Some(&wrapped),
            document: Some(&document),
            by: &name(caller),
        };
        return registry.pass_on(elsewhere, write).await;
    }
    match registry.agreements.add(DocumentKind::Template, document.clone(), &name(caller)).await {
        Ok(()) => {}
        Err(PutError::Exists(_)) => return Err(Refusal::new(StatusCode::CONFLICT, "Template already exists")),
        Err(error) => return Err(refused(error)),
    }
    let status = if registry.mode == Mode::Compat { StatusCode::OK } else { StatusCode::CREATED };
    Ok(json_answer(status, &registry.shown(DocumentKind::Template, &document)))
}

pub(super) async fn remove_template(registry: Call, Path(id): Path<String>, caller: Who) -> Answered {
    if let Some(elsewhere) = registry.passes.get() {
        return registry
            .pass_on(elsewhere, removal(DocumentKind::Template, &id, &["templates", &id], &name(caller)))
            .await;
    }
    match registry.agreements.remove(DocumentKind::Template, &id, &name(caller)).await {
        Ok(()) => Ok(StatusCode::NO_CONTENT.into_response()),
        Err(PutError::Unknown(_)) => {
            let message = format!("Can't delete template with id {id}");
            Ok(with_type(StatusCode::NOT_FOUND, "text/html; charset=utf-8", escaped(&message).into()))
        }
        Err(error) => Err(refused(error)),
    }
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_of_templates_have_the_registrys_form() {
        for id in ["my-tpl-v1-0-0", "a-v10-002-012", "x-v1-0-0-clone", "-v1-0-0"] {
            assert!(is_template_id(id), "{id}");
        }
        for id in ["badid", "x-v1-0", "x-v1-0-a", "x-1-0-0", "v1-0-0", "x-v1-0-0-copy", ""] {
            assert!(!is_template_id(id), "{id}");
        }
    }

    #[test]
    fn a_star_stands_for_any_text() {
        for (pattern, text, fits) in [
            ("my*", "my-tpl", true),
            ("my*", "a-my", false),
            ("*tpl", "my-tpl", true),
            ("m*t*l", "my-tpl", true),
            ("m*t*x", "my-tpl", false),
            ("my", "my", true),
            ("my", "my2", false),
            ("*", "", true),
            ("a*a", "a", false),
        ] {
            assert_eq!(glob(pattern, text), fits, "{pattern} {text}");
        }
    }
}
