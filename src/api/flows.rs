//! `/probity/v1/flows`: the deployed tabs, whether they run, what is wrong with them, what they answer.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, RawQuery, State};
use axum::routing::get;
use serde::Serialize;
use serde_json::{Value, json};

use super::Api;
use super::error::ApiError;
use super::openapi::{BAD_REQUEST, Endpoint, Media, NOT_FOUND, PAGE, ok};
use super::query::Query;
use crate::model::Diagnostic;
use crate::model::flow::Stopped;
use crate::runtime::Deployed;

pub(super) const ENDPOINTS: &[Endpoint] = &[
    Endpoint {
        method: "get",
        path: "/probity/v1/flows",
        tag: "flows",
        summary: "The deployed flows with their endpoints and diagnostics",
        query: PAGE,
        body: None,
        answers: &[ok("a page of them, or all without `limit`", Media::List("Flow")), BAD_REQUEST],
        login: true,
        route: || get(list),
    },
    Endpoint {
        method: "get",
        path: "/probity/v1/flows/{id}",
        tag: "flows",
        summary: "One flow",
        query: &[],
        body: None,
        answers: &[ok("the flow", Media::Json("Flow")), NOT_FOUND],
        login: true,
        route: || get(one),
    },
];

/// A tab as the API shows it.
#[derive(Debug, Serialize)]
pub(super) struct FlowView {
    pub(super) id: String,
    pub(super) label: String,
    /// `running`, `disabled`, `unknown-types` or `invalid`.
    pub(super) state: &'static str,
    pub(super) unknown_types: Vec<String>,
    pub(super) nodes: usize,
    pub(super) reply_ms_max: u64,
    pub(super) endpoints: Vec<FlowEndpoint>,
    pub(super) diagnostics: Vec<Diagnostic>,
}

#[derive(Debug, Serialize)]
pub(super) struct FlowEndpoint {
    /// Upper-case; `ALL` for every method.
    pub(super) method: String,
    /// With `httpNodeRoot`.
    pub(super) path: String,
    pub(super) node: String,
}

/// The flows of a deployed plan, and the diagnostics that belong to none of them.
pub(super) fn views(deployed: &Deployed, node_root: &str) -> (Vec<FlowView>, Vec<Diagnostic>) {
    let plan = &deployed.plan;
    let mut views: Vec<FlowView> = plan
        .flows
        .iter()
        .map(|flow| {
            let (state, unknown) = match &flow.stopped {
                None => ("running", &[][..]),
                Some(Stopped::Disabled) => ("disabled", &[][..]),
                Some(Stopped::UnknownTypes(types)) => ("unknown-types", types.as_slice()),
                Some(Stopped::Invalid) => ("invalid", &[][..]),
            };
            FlowView {
                id: flow.id.to_string(),
                label: flow.label.to_string(),
                state,
                unknown_types: unknown.iter().map(|t| t.to_string()).collect(),
                nodes: 0,
                reply_ms_max: flow.reply_ms_max.unwrap_or(deployed.services.limits.reply_ms_max),
                endpoints: Vec::new(),
                diagnostics: Vec::new(),
            }
        })
        .collect();
    for node in &plan.nodes {
        if let Some(view) = views.get_mut(node.flow as usize) {
            view.nodes += 1;
        }
    }
    for route in deployed.routes.iter() {
        let node = &plan.nodes[route.node as usize];
        if let Some(view) = views.get_mut(node.flow as usize) {
            let slash = if route.url.starts_with('/') { "" } else { "/" };
            view.endpoints.push(FlowEndpoint {
                method: route.method.to_uppercase(),
                path: format!("{node_root}{slash}{}", route.url),
                node: node.id.to_string(),
            });
        }
    }
    for view in &mut views {
        view.endpoints.sort_by(|a, b| (&a.path, &a.method).cmp(&(&b.path, &b.method)));
    }
    let mut general = Vec::new();
    for diagnostic in plan.diagnostics.iter().chain(&deployed.diagnostics) {
        let owner = entry(&diagnostic.path).and_then(|e| plan.nodes.iter().find(|n| n.entry == e));
        match owner.and_then(|node| views.get_mut(node.flow as usize)) {
            Some(view) => view.diagnostics.push(diagnostic.clone()),
            None => general.push(diagnostic.clone()),
        }
    }
    (views, general)
}

/// `$[12].rules[0]` → 12.
fn entry(path: &str) -> Option<usize> {
    path.strip_prefix("$[")?.split(']').next()?.parse().ok()
}

async fn list(State(api): State<Arc<Api>>, RawQuery(query): RawQuery) -> Result<Json<Value>, ApiError> {
    let query = Query::read(query.as_deref(), PAGE)?;
    let deployed = api.engine.current();
    let (flows, general) = views(&deployed, &api.node_root);
    let version = &deployed.plan.version;
    let page = query.cut(flows)?;
    Ok(Json(json!({ "items": page.items, "next": page.next, "version": version, "diagnostics": general })))
}

async fn one(State(api): State<Arc<Api>>, Path(id): Path<String>) -> Result<Json<FlowView>, ApiError> {
    let (flows, _) = views(&api.engine.current(), &api.node_root);
    let found = flows.into_iter().find(|f| f.id == id);
    found.map(Json).ok_or_else(|| ApiError::not_found(format!("no flow has the id \"{id}\"")))
}
