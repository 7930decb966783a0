//! `POST /inject/:id`: the button of an inject node; and what the `udp in` node's form asks for.

use axum::response::Response;
use http::StatusCode;
use serde_json::{Value as Json, json};

use super::answer::{self, words};
use super::{Ask, Route, route};
use crate::model::flow::NodeIndex;
use crate::model::run::Trigger;
use crate::model::{Msg, Value};
use crate::runtime::Deployed;
use crate::runtime::opening::{Opening, Start};

pub(super) const ROUTES: &[Route] =
    &[route!(POST "/inject/:id", "inject.write", post), route!(GET "/udp-ports/:id", "udp-ports.read", udp_ports)];

/// A node that runs now, by its id.
pub(super) fn running(deployed: &Deployed, id: &str) -> Option<NodeIndex> {
    let at = deployed.plan.nodes.iter().position(|node| node.id == id)? as NodeIndex;
    deployed.stopped(at).is_none().then_some(at)
}

async fn post(ask: Ask) -> Response {
    let body = match ask.json() {
        Ok(body) => body,
        Err(refusal) => return *refusal,
    };
    let deployed = ask.api.engine.current();
    let Some(node) = running(&deployed, ask.param(0)) else { return words(StatusCode::NOT_FOUND) };
    let mut msg = match &body {
        Json::Object(given) if given.get("__user_inject_props__").is_some_and(|props| !props.is_null()) => {
            Msg::from_object(Value::from(&body).as_object().cloned().unwrap_or_default())
        }
        _ => Msg::new(),
    };
    msg.ensure_id();
    let trigger = Trigger::Inject { node: ask.param(0).to_string() };
    match deployed.spawn(Opening { node, start: Start::Deliver, msg, trigger, reply: None }) {
        Ok(_) => words(StatusCode::OK),
        Err(busy) => answer::error(StatusCode::SERVICE_UNAVAILABLE, "busy", &busy.to_string()),
    }
}

/// Ports in use by `udp in` nodes: there are none unless the operator allows them, and then the form needs no warning.
async fn udp_ports(_: Ask) -> Response {
    answer::json(&json!([]))
}
