//! `/flows`: all flows with their revision, deploys, and whether they run.

use axum::response::Response;
use http::StatusCode;
use serde_json::{Value as Json, json};

use super::answer::{self, json_text, refused};
use super::{Ask, Route, route};
use crate::api::express;
use crate::flow::{Deployment, stringify};

pub(super) const ROUTES: &[Route] = &[
    route!(GET "/flows", "flows.read", get),
    route!(POST "/flows", "flows.write", post),
    route!(GET "/flows/state", "flows.read", state),
    route!(POST "/flows/state", "flows.write", set_state),
];

/// The version of the API that a call speaks.
#[derive(Clone, Copy, PartialEq)]
enum Version {
    V1,
    V2,
}

fn version(ask: &Ask) -> Result<Version, Box<Response>> {
    match ask.header("node-red-api-version").filter(|version| !version.is_empty()) {
        None | Some("v1") => Ok(Version::V1),
        Some("v2") => Ok(Version::V2),
        Some(_) => {
            let message = "Invalid API Version requested";
            Err(Box::new(answer::error(StatusCode::BAD_REQUEST, "invalid_api_version", message)))
        }
    }
}

async fn get(ask: Ask) -> Response {
    let version = match version(&ask) {
        Ok(version) => version,
        Err(refusal) => return *refusal,
    };
    let current = ask.admin.flows.current();
    let flows = stringify(&current.file.entries);
    json_text(match version {
        Version::V1 => flows,
        Version::V2 => format!(r#"{{"flows":{flows},"rev":"{}"}}"#, current.revision),
    })
}

async fn post(ask: Ask) -> Response {
    let version = match version(&ask) {
        Ok(version) => version,
        Err(refusal) => return *refusal,
    };
    let before = ask.admin.flows.current();
    let done = match ask.header("node-red-deployment-type") {
        Some("reload") => ask.admin.flows.reload().await,
        deployment => {
            let deployment = Deployment::of_header(deployment.unwrap_or_default());
            let body = match ask.json() {
                Ok(body) => body,
                Err(refusal) => return *refusal,
            };
            let (flows, credentials, revision) = match read(version, body) {
                Ok(read) => read,
                Err(problem) => return answer::unexpected(problem),
            };
            ask.admin.flows.set(flows, credentials, deployment, revision.as_deref(), &ask.caller.name).await
        }
    };
    match done {
        Err(why) => refused(why),
        Ok(revision) => {
            tracing::info!(user = ask.caller.name, revision, "flows were deployed");
            ask.write_down("deploy", "flows", &before).await;
            if version == Version::V1 { answer::nothing() } else { answer::json(&json!({ "rev": revision })) }
        }
    }
}

/// Flows, credentials and revision of a deploy's body.
type Posted = (Vec<Json>, Option<Json>, Option<String>);

fn read(version: Version, body: Json) -> Result<Posted, &'static str> {
    match (version, body) {
        (Version::V1, Json::Array(flows)) => Ok((flows, None, None)),
        (Version::V1, _) => Err("flows must be an array of tabs and nodes (API v1); with the header \
             Node-RED-API-Version: v2 an object with the array `flows`"),
        (Version::V2, mut body) => {
            let revision = match body.get_mut("rev").map(Json::take) {
                None => None,
                Some(Json::String(revision)) => Some(revision),
                // It is no revision of ours, whatever it is.
                Some(other) => Some(other.to_string()),
            };
            let credentials = body.get_mut("credentials").map(Json::take).filter(|given| !given.is_null());
            match body.get_mut("flows").map(Json::take) {
                Some(Json::Array(flows)) => Ok((flows, credentials, revision)),
                _ => Err("the body must be an object with `flows`, an array of tabs and nodes (API v2)"),
            }
        }
    }
}

async fn state(ask: Ask) -> Response {
    answer::json(&json!({ "state": ask.admin.flows.state() }))
}

async fn set_state(ask: Ask) -> Response {
    if !ask.admin.runtime_state {
        return express::cannot(&ask.head.method, ask.head.uri.path());
    }
    let body = match ask.json() {
        Ok(body) => body,
        Err(refusal) => return *refusal,
    };
    let wanted = body.get("state").and_then(Json::as_str).unwrap_or_default();
    match ask.admin.flows.set_state(wanted).await {
        Err(why) => refused(why),
        Ok(true) => answer::json(&json!({ "state": ask.admin.flows.state() })),
        Ok(false) => {
            // With Node-RED's stray brace: clients compare texts.
            let message = format!("Cannot change flows runtime state to '{wanted}'}}");
            answer::error(StatusCode::BAD_REQUEST, "invalid_run_state", &message)
        }
    }
}
