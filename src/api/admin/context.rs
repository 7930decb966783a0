//! `/context`: what nodes keep under `node`, `flow` and `global`, read and deleted by the editor's context view.

use axum::response::Response;
use http::StatusCode;
use serde_json::{Map, Value as Json, json};

use super::answer;
use super::{Ask, Route, route};
use crate::api::comms::encode::encoded_json;
use crate::api::express;
use crate::model::{Object, Path, Value};
use crate::runtime::NodeError;
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

/// Where a context's values are.
struct Whose {
    tenant: String,
    scope: String,
}

/// Of a node; `None` for one that does not run.
fn of_node(ask: &Ask, id: &str) -> Option<Whose> {
    let deployed = ask.api.engine.current();
    let nodes = deployed.plan.nodes.iter().chain(&deployed.plan.configs);
    let node = nodes.into_iter().find(|node| node.id == id)?;
    // The context of a subflow instance is the one that its inner nodes share.
    let scope = match node.node_type.starts_with(crate::flow::SUBFLOW_PREFIX) {
        true => node.id.to_string(),
        false => scope_of_node(node).to_string(),
    };
    Some(Whose { tenant: deployed.plan.tenant(node).to_owned(), scope })
}

/// Of a tab or a subflow instance.
fn of_flow(ask: &Ask, id: &str) -> Option<Whose> {
    let deployed = ask.api.engine.current();
    let flow = deployed.plan.flows.iter().find(|flow| flow.id == id);
    let instance = || deployed.plan.nodes.iter().find(|node| node.id == id);
    let tenant = match flow {
        Some(flow) => flow.tenant.as_deref().unwrap_or_default(),
        None => instance().map(|node| deployed.plan.tenant(node)).unwrap_or_default(),
    };
    Some(Whose { tenant: tenant.to_owned(), scope: id.to_owned() })
}

/// Of all tabs of a tenant; those of tabs that name none unless the call does.
fn of_all(ask: &Ask) -> Option<Whose> {
    Some(Whose { tenant: ask.query("tenant").unwrap_or_default(), scope: GLOBAL.to_owned() })
}

async fn global(ask: Ask) -> Response {
    let key = ask.param(0).to_string();
    read(&ask, of_all(&ask), &key).await
}

async fn flow(ask: Ask) -> Response {
    let (whose, key) = (of_flow(&ask, ask.param(0)), ask.param(1).to_string());
    read(&ask, whose, &key).await
}

async fn node(ask: Ask) -> Response {
    let (whose, key) = (of_node(&ask, ask.param(0)), ask.param(1).to_string());
    read(&ask, whose, &key).await
}

async fn read(ask: &Ask, whose: Option<Whose>, key: &str) -> Response {
    let stores = ask.api.engine.services.context.stores();
    let store = ask.query("store").filter(|store| !store.is_empty());
    if let Some(store) = store.as_deref().filter(|store| !stores.iter().any(|known| known == store)) {
        tracing::debug!(store, "there is no context store of this name");
        return answer::not_found("Error");
    }
    let keys_only = ask.query("keysOnly").is_some();
    let Some(whose) = whose else { return answer::json(&json!({})) };
    if !key.is_empty() {
        let name = store.clone().unwrap_or_else(|| stores[0].clone());
        return one(ask, &whose, key, &name, name == stores[0], keys_only).await;
    }
    let mut all = Map::new();
    for name in stores.iter().filter(|name| store.as_ref().is_none_or(|store| store == *name)) {
        match ask.api.engine.services.context.of_scope(name, &whose.tenant, &whose.scope).await {
            Ok(values) => drop(all.insert(name.clone(), if keys_only { keys(&values) } else { encoded(&values) })),
            Err(error) => return unknown(&error),
        }
    }
    answer::json(&Json::Object(all))
}

/// The database that a store is in does not answer.
fn unknown(error: &NodeError) -> Response {
    tracing::error!("{error}");
    answer::error(
        StatusCode::SERVICE_UNAVAILABLE,
        "context_unavailable",
        "the context store's database does not answer",
    )
}

fn keys(values: &Object) -> Json {
    json!({ "keys": values.keys().map(|key| json!({ "key": key.as_str() })).collect::<Vec<_>>() })
}

fn encoded(values: &Object) -> Json {
    let values = values.iter().map(|(key, value)| (key.to_string(), encoded_json(value, LENGTH_MAX)));
    Json::Object(values.collect())
}

async fn one(ask: &Ask, whose: &Whose, key: &str, store: &str, is_default: bool, keys_only: bool) -> Response {
    let path = match Path::parse(key) {
        Ok(path) => path,
        Err(problem) => return answer::unexpected(&problem.to_string()),
    };
    let value = match ask.api.engine.services.context.of_scope(store, &whose.tenant, &whose.scope).await {
        Ok(values) => path.get(&values, None),
        Err(error) => return unknown(&error),
    };
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
    delete(&ask, of_all(&ask), &key).await
}

async fn delete_flow(ask: Ask) -> Response {
    let (whose, key) = (of_flow(&ask, ask.param(0)), ask.param(1).to_string());
    delete(&ask, whose, &key).await
}

async fn delete_node(ask: Ask) -> Response {
    let (whose, key) = (of_node(&ask, ask.param(0)), ask.param(1).to_string());
    delete(&ask, whose, &key).await
}

async fn delete(ask: &Ask, whose: Option<Whose>, key: &str) -> Response {
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
    let path = match Path::parse(key) {
        Err(problem) => return answer::error(StatusCode::BAD_REQUEST, "unexpected_error", &problem.to_string()),
        Ok(path) => path,
    };
    if let Some(whose) = whose
        && let Err(error) = context.delete(&store, &whose.tenant, &whose.scope, &path).await
    {
        return unknown(&error);
    }
    answer::nothing()
}
