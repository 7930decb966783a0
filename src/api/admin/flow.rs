//! `/flow`: single tabs, and with `global` what belongs to none.

use axum::response::Response;
use serde_json::{Value as Json, json};

use super::answer::{self, refused};
use super::{Ask, Route, route};
use crate::model::Value;

pub(super) const ROUTES: &[Route] = &[
    route!(GET "/flow/:id", "flows.read", get),
    route!(POST "/flow", "flows.write", post),
    route!(PUT "/flow/:id", "flows.write", put),
    route!(DELETE "/flow/:id", "flows.write", delete),
];

async fn get(ask: Ask) -> Response {
    match ask.admin.flows.tab(ask.param(0)) {
        // With JavaScript's numbers.
        Some(tab) => answer::json_text(Value::from(&tab).to_json()),
        None => answer::not_found("Error"),
    }
}

async fn post(ask: Ask) -> Response {
    let body = match ask.json() {
        Ok(body) => body,
        Err(refusal) => return *refusal,
    };
    let before = ask.admin.flows.current();
    let done = ask.admin.flows.add_tab(body, &ask.caller.name).await;
    if let Ok(id) = &done {
        ask.write_down("add-flow", id, &before).await;
    }
    id(done)
}

async fn put(ask: Ask) -> Response {
    let body = match ask.json() {
        Ok(body) => body,
        Err(refusal) => return *refusal,
    };
    let before = ask.admin.flows.current();
    let done = ask.admin.flows.set_tab(ask.param(0), body, &ask.caller.name).await;
    if done.is_ok() {
        ask.write_down("change-flow", ask.param(0), &before).await;
    }
    id(done.map(|()| ask.param(0).to_string()))
}

fn id(done: Result<String, crate::deploy::Refused>) -> Response {
    match done {
        Ok(id) => answer::json(&json!({ "id": Json::from(id) })),
        Err(why) => refused(why),
    }
}

async fn delete(ask: Ask) -> Response {
    let before = ask.admin.flows.current();
    match ask.admin.flows.remove_tab(ask.param(0), &ask.caller.name).await {
        Ok(()) => {
            ask.write_down("remove-flow", ask.param(0), &before).await;
            answer::nothing()
        }
        Err(why) => refused(why),
    }
}
