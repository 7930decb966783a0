//! The API of a Governify Registry, so that what calls one can call Probity: agreements and templates, the states of
//! an agreement's guarantees, and what its other services ask. `docs/governify.md` says where it differs and why.
//!
//! It is served on an address of its own ([`super::serve_apart`]), never beside flows.

mod answer;
mod bills;
mod documents;
mod evaluation;
mod passing;
mod query;
mod service;
mod states;

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};

use axum::routing::{any, get, post};
use axum::{Router, middleware};
use tokio::sync::Semaphore;

use super::cross_origin;
use crate::clock::Clock;
use crate::evaluate::Evaluator;
use crate::registry::{Agreements, PassThrough};
use crate::store::Store;

/// Whose verdicts the API gives.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// Ours: nothing missing is ever taken for zero, and what is not known is `null` with a reason.
    #[default]
    Strict,
    /// The Registry's own, with what its documents and clients depend on.
    Compat,
}

/// What stands behind the API.
pub struct RegistryV6 {
    evaluator: Arc<Evaluator>,
    agreements: Arc<Agreements>,
    store: Arc<dyn Store>,
    clock: Clock,
    mode: Mode,
    /// Base URLs by infrastructure path, without secrets.
    services: BTreeMap<String, String>,
    /// Places for evaluations that callers wait for.
    places: Arc<Semaphore>,
    /// Set once by the application: the Registry that keeps what is put here, instead of our store.
    pub passes: OnceLock<PassThrough>,
}

/// Evaluations that callers of this API have going at once; further ones wait.
const EVALUATIONS_MAX: usize = 32;

impl RegistryV6 {
    /// Over an evaluator, the live set of agreements and the configured services.
    pub fn new(
        evaluator: Arc<Evaluator>,
        agreements: Arc<Agreements>,
        mode: Mode,
        services: BTreeMap<String, String>,
    ) -> Arc<RegistryV6> {
        Arc::new(RegistryV6 {
            store: evaluator.store.clone(),
            clock: evaluator.engine.services.clock.clone(),
            evaluator,
            agreements,
            mode,
            services: services.into_iter().map(|(path, url)| (path, service::without_secrets(&url))).collect(),
            places: Arc::new(Semaphore::new(EVALUATIONS_MAX)),
            passes: OnceLock::new(),
        })
    }
}

/// What Governify's services ask of every other one.
pub fn commons(registry: Arc<RegistryV6>) -> Router {
    Router::new()
        .route("/commons", get(service::commons))
        .route("/commons/infrastructure", get(service::infrastructure))
        .route("/commons/logger/config", get(service::logger))
        .with_state(registry)
}

/// Every path of the API.
pub fn router(registry: Arc<RegistryV6>) -> Router {
    Router::new()
        .route("/api/v6/agreements", get(documents::list).post(documents::add).delete(documents::remove_all))
        .route("/api/v6/agreements/{id}", get(documents::one).put(documents::put).delete(documents::remove))
        .route("/api/v6/templates", get(documents::templates).post(documents::add_template))
        .route("/api/v6/templates/{id}", get(documents::template).delete(documents::remove_template))
        .route("/api/v6/states", axum::routing::delete(service::keeps_states))
        .route("/api/v6/states/{id}", get(service::no_such_state).delete(states::remove))
        .route("/api/v6/states/{id}/guarantees", get(evaluation::of_agreement))
        .route("/api/v6/states/{id}/guarantees/{guarantee}", get(evaluation::of_guarantee))
        .route("/api/v6/states/{id}/guarantees/{guarantee}/overrides", any(service::no_overrides))
        .route("/api/v6/states/{id}/overrides", any(service::no_overrides))
        .route("/api/v6/states/{id}/filtered", get(states::filtered))
        .route("/api/v6/states/{id}/metrics", any(service::not_served))
        .route("/api/v6/states/{id}/metrics/{metric}", any(service::not_served))
        .route("/api/v6/states/{id}/metrics/{metric}/increase", post(service::not_served))
        .route("/api/v6/states/{id}/quotas", any(service::not_served))
        .route("/api/v6/states/{id}/rates", any(service::not_served))
        .route("/api/v6/states/{id}/pricing/billing/penalties", get(service::not_served))
        .route("/api/v6/bills/{id}", get(bills::of_agreement).delete(service::keeps_bills))
        .route("/api/v6/bills/{id}/{bill}", any(service::keeps_bills))
        .route("/api/info", get(service::info))
        .route("/commons", get(service::commons))
        .route("/commons/infrastructure", get(service::infrastructure))
        .route("/commons/logger/config", get(service::logger))
        .route("/commons/requestLogging", get(service::request_logging))
        .fallback(answer::unrouted)
        .method_not_allowed_fallback(answer::unrouted)
        .layer(middleware::from_fn(cross_origin::zipped))
        .layer(middleware::from_fn(cross_origin::allow))
        .with_state(registry)
}
