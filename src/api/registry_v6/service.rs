//! What Governify's services ask of one another, and what of the Registry is not served, each with the reason.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Path, State as Shared};
use axum::response::Response;
use http::{Request, StatusCode};
use serde_json::{Map, Value, json};
use url::Url;

use super::RegistryV6;
use super::answer::{Refusal, json_answer};

const VERSION: &str = env!("CARGO_PKG_VERSION");

pub(super) async fn info() -> Response {
    json_answer(StatusCode::OK, &json!({ "name": "probity", "version": VERSION, "api": "v6" }))
}

/// The shape that Governify's commons middleware gives, by which services are seen to be alive.
pub(super) async fn commons() -> Response {
    let about = json!({
        "title": "Governify Commons",
        "version": VERSION,
        "requestLogging": "false",
        "serviceName": "probity",
        "serviceVersion": VERSION,
    });
    json_answer(StatusCode::OK, &about)
}

/// The configured services as the tree that `infrastructurePath` walks, without users and passwords.
pub(super) async fn infrastructure(registry: Shared<Arc<RegistryV6>>) -> Response {
    let mut tree = Value::Object(Map::new());
    for (path, url) in &registry.services {
        let mut place = &mut tree;
        for key in path.split('.') {
            // `a` and `a.b` are both configured: the first becomes the default of its kind.
            if !place.is_object() {
                *place = json!({ "default": place.take() });
            }
            place = &mut place[key];
            if place.is_null() {
                *place = json!({});
            }
        }
        *place = json!(url);
    }
    json_answer(StatusCode::OK, &tree)
}

/// A base URL that may be shown.
pub(super) fn without_secrets(text: &str) -> String {
    match Url::parse(text) {
        Ok(mut url) => {
            if url.username().is_empty() && url.password().is_none() {
                return text.to_owned();
            }
            // Only URLs without a host refuse, and they have no user.
            let _bare = url.set_username("").and_then(|()| url.set_password(None)).is_ok();
            url.to_string()
        }
        Err(_) => String::new(),
    }
}

pub(super) async fn logger() -> Response {
    let config = json!({
        "type": true,
        "tracing": true,
        "timestamp": true,
        "tags": true,
        "level": 4,
        "storage": { "active": false, "level": 4 },
    });
    json_answer(StatusCode::OK, &config)
}

pub(super) async fn request_logging() -> Response {
    json_answer(StatusCode::OK, &json!("false"))
}

/// The Registry's own words: it has never had a state of a whole agreement.
pub(super) async fn no_such_state(Path(id): Path<String>) -> Refusal {
    let message = format!(
        "Error while retrieving {id} states: Error updating {id} state: No method implemented to calculate {id} state"
    );
    Refusal::new(StatusCode::INTERNAL_SERVER_ERROR, message)
}

pub(super) fn states_are_kept() -> Refusal {
    Refusal::new(
        StatusCode::NOT_IMPLEMENTED,
        "states are kept: they are evidence, with every revision; how long is the operator's to configure",
    )
}

pub(super) async fn keeps_states() -> Refusal {
    states_are_kept()
}

pub(super) async fn keeps_bills() -> Refusal {
    Refusal::new(StatusCode::NOT_IMPLEMENTED, "bills are not kept; penalties stand with the verdicts they belong to")
}

pub(super) async fn no_overrides() -> Refusal {
    Refusal::new(
        StatusCode::NOT_IMPLEMENTED,
        "overrides are not taken: the Registry stores them and applies none; a waiver says who excuses what until when",
    )
}

pub(super) async fn not_served(call: Request<Body>) -> Refusal {
    let path = call.uri().path();
    Refusal::new(StatusCode::NOT_IMPLEMENTED, format!("{} {path} is not served; no Registry answers it", call.method()))
}

#[cfg(test)]
mod tests {
    use super::without_secrets;

    #[test]
    fn passwords_of_services_are_not_shown() {
        assert_eq!(without_secrets("http://c:5500"), "http://c:5500");
        assert_eq!(without_secrets("http://ana:s3cret@c:5500/x"), "http://c:5500/x");
        assert_eq!(without_secrets("http://ana:s3@cret@[/"), "");
    }
}
