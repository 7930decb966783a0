//! `/context`: what nodes keep under `node`, `flow` and `global`, read and deleted by the editor's context view.

use axum::response::Response;
use http::StatusCode;
use serde_json::{Map, Value as Json, json};

use super::answer;
use super::{Ask, Route, route};
use crate::api::comms::encode::encoded_json;
use crate::api::express;
use crate::model::{Object, Path, Value};
use crate::runtime::context::{GLOBAL, scope_of_node};

pub(super) const ROUTES: &[Route] = &[
    route!(GET "/context/global", "context.read", global),
    route!(GET "/context/global/*", "context.read", global),
    route!(GET "/context/flow/:id", "context.read", flow),
    route!(GET "/context/flow/:id/*", "context.read", flow),
    route!(GET "/context/node/:id", "context.read", node),
    route!(GET "/context/node/:id/*", "context.read", node),
    route!(DELETE "/context/global/*", "context.write", delete_global),
    route!(DELETE "/context/flow/:id/*", "context.write", delete_flow),
    route!(DELETE "/context/node/:id/*", "context.write", delete_node),
];

/// Values in the context view are cut off beyond this.
const LENGTH_MAX: usize = 1_000;

/// Where a context's values are; `None` for a node that does not run.
fn scope_of(ask: &Ask, id: &str) -> Option<String> {
    let deployed = ask.api.engine.current();
    let nodes = deployed.plan.nodes.iter().chain(&deployed.plan.configs);
    let node = nodes.into_iter().find(|node| node.id == id)?;
    // The context of a subflow instance is the one that its inner nodes share.
    Some(match node.node_type.starts_with(crate::flow::SUBFLOW_PREFIX) {
        true => node.id.to_string(),
        false => scope_of_node(node).to_string(),
    })
}

async fn global(ask: Ask) -> Response {
    let key = ask.param(0).to_string();
    read(&ask, Some(GLOBAL.to_string()), &key)
}

async fn flow(ask: Ask) -> Response {
    let (id, key) = (ask.param(0).to_string(), ask.param(1).to_string());
    read(&ask, Some(id), &key)
}

async fn node(ask: Ask) -> Response {
    let (scope, key) = (scope_of(&ask, ask.param(0)), ask.param(1).to_string());
    read(&ask, scope, &key)
}

fn read(ask: &Ask, scope: Option<String>, key: &str) -> Response {
    let stores = ask.api.engine.services.context.stores();
    let store = ask.query("store").filter(|store| !store.is_empty());
    if let Some(store) = store.as_deref().filter(|store| !stores.iter().any(|known| known == store)) {
        tracing::debug!(store, "there is no context store of this name");
        return answer::not_found("Error");
    }
    let keys_only = ask.query("keysOnly").is_some();
    let Some(scope) = scope else { return answer::json(&json!({})) };
    if !key.is_empty() {
        let name = store.clone().unwrap_or_else(|| stores[0].clone());
        return one(ask, &scope, key, &name, name == stores[0], keys_only);
    }
    let wanted = stores.iter().filter(|name| store.as_ref().is_none_or(|store| store == *name));
    let all = wanted.map(|name| {
        let values = ask.api.engine.services.context.of_scope(name, &scope);
        (name.clone(), if keys_only { keys(&values) } else { encoded(&values) })
    });
    answer::json(&Json::Object(all.collect()))
}

fn keys(values: &Object) -> Json {
    json!({ "keys": values.keys().map(|key| json!({ "key": key.as_str() })).collect::<Vec<_>>() })
}

fn encoded(values: &Object) -> Json {
    let values = values.iter().map(|(key, value)| (key.to_string(), encoded_json(value, LENGTH_MAX)));
    Json::Object(values.collect())
}

fn one(ask: &Ask, scope: &str, key: &str, store: &str, is_default: bool, keys_only: bool) -> Response {
    let path = match Path::parse(key) {
        Ok(path) => path,
        Err(problem) => return answer::unexpected(&problem.to_string()),
    };
    let value = path.get(&ask.api.engine.services.context.of_scope(store, scope), None);
    if keys_only {
        return answer::json(&Json::Object([(store.to_string(), shape(&value))].into_iter().collect::<Map<_, _>>()));
    }
    let mut encoded = encoded_json(&value, LENGTH_MAX);
    if !is_default {
        encoded["store"] = store.into();
    }
    answer::json(&encoded)
}

/// What a value consists of, without the values.
fn shape(value: &Value) -> Json {
    let list = |items: &[Value]| format!("array[{}]", items.len());
    match value {
        Value::Array(items) => json!({ "format": list(items) }),
        Value::Object(object) => {
            let keys = object.iter().map(|(key, value)| match value {
                Value::Array(items) => json!({ "key": key.as_str(), "format": list(items), "length": items.len() }),
                Value::Object(_) | Value::Null => json!({ "key": key.as_str(), "format": "object" }),
                _ => json!({ "key": key.as_str() }),
            });
            json!({ "keys": keys.collect::<Vec<_>>(), "format": "object" })
        }
        _ => json!({ "keys": [] }),
    }
}

async fn delete_global(ask: Ask) -> Response {
    let key = ask.param(0).to_string();
    delete(&ask, Some(GLOBAL.to_string()), &key)
}

async fn delete_flow(ask: Ask) -> Response {
    let (id, key) = (ask.param(0).to_string(), ask.param(1).to_string());
    delete(&ask, Some(id), &key)
}

async fn delete_node(ask: Ask) -> Response {
    let (scope, key) = (scope_of(&ask, ask.param(0)), ask.param(1).to_string());
    delete(&ask, scope, &key)
}

fn delete(ask: &Ask, scope: Option<String>, key: &str) -> Response {
    if key.is_empty() {
        // Node-RED has no route that deletes a whole context.
        return express::cannot(&ask.head.method, ask.head.uri.path());
    }
    let context = &ask.api.engine.services.context;
    let stores = context.stores();
    let store = ask.query("store").filter(|store| !store.is_empty()).unwrap_or_else(|| stores[0].clone());
    if !stores.contains(&store) {
        return answer::not_found("Error");
    }
    match Path::parse(key) {
        Err(problem) => answer::error(StatusCode::BAD_REQUEST, "unexpected_error", &problem.to_string()),
        Ok(path) => {
            if let Some(scope) = scope {
                context.delete(&store, &scope, &path);
            }
            answer::nothing()
        }
    }
}
