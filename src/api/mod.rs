//! Floor 10: HTTP. Flow endpoints (`hooks`), the API under `/probity/v1`, the pages under `/probity/`, health and
//! metrics. Every path of ours is one [`openapi::Endpoint`] in the file of its resource, and `endpoints` lists
//! them all: the router and the OpenAPI document are made from that list.

pub mod admin;
pub mod auth;
pub mod comms;
pub mod director_v1;
pub mod editor;
pub mod error;
pub mod openapi;
pub mod serve;

mod agreements;
mod audit;
mod bill;
mod body;
mod budgets;
mod corrections;
mod cors;
mod cross_origin;
mod durable;
mod explain;
mod express;
mod flow_check;
mod flow_revisions;
mod flows;
mod forwarded;
mod grants;
mod guard;
mod health;
mod hooks;
mod metrics;
mod metrics_budgets;
mod metrics_queue;
mod nodes;
mod pages;
pub mod password;
mod people;
mod permissions;
mod plugins;
mod query;
mod queue;
mod rates;
pub mod registry_v6;
mod runs;
mod schedules;
mod schemas;
mod simulate;
mod sockets;
mod sources;
mod stalled;
mod start_run;
mod states;
mod status_token;
mod trace;
mod uploads;
mod verdicts;
mod waivers;

use std::sync::Arc;

use axum::Router;
use jiff::Timestamp;

pub use crate::registry::Snapshot as LoadedAgreements;
pub use auth::{AuthOptions, check_exposure, check_exposure_apart};
pub use comms::Comms;
pub use error::ApiError;
pub use forwarded::problems as forwarded_problems;
pub use metrics::{Observed, text as metrics_text};
pub use permissions::Permissions;
pub use rates::{Rate, RateOptions};
pub use serve::{own_root, serve, serve_apart};
pub use status_token::FlowToken;

use crate::cache::Cache;
use crate::clock::Clock;
use crate::dispatch::Acceptor;
use crate::plugin::Plugins;
use crate::plugin::desk::Desk;
use crate::runtime::Engine;
use crate::runtime::credential_file::CredentialFile;
use crate::runtime::services::EvaluateAgreement;
use crate::store::Store;
use auth::Auth;
use metrics::Metrics;
use openapi::Endpoint;

/// Bounds and rules of the HTTP server; defaults are those of `config.default.toml`.
#[derive(Clone)]
pub struct ApiOptions {
    /// Flow endpoints live below this path.
    pub node_root: String,
    /// Larger request bodies get 413, bytes.
    pub body_bytes_max: usize,
    /// Bodies of calls to flows that are in memory at once, bytes; further calls get 503.
    pub bodies_bytes_max: usize,
    /// A client that has not sent its headers by then is cut off, milliseconds. Also how long an idle connection
    /// is kept.
    pub header_ms_max: u64,
    /// A client that has not sent its body by then is answered 408 and cut off, and so is one that takes nothing of its
    /// answer for so long, milliseconds.
    pub body_ms_max: u64,
    /// Connections open at once; further ones wait.
    pub connections_max: usize,
    /// `/health/ready` waits this long for each dependency, milliseconds.
    pub ready_ms_max: u64,
    /// A page or list that is not there by then is given up with 503 if the store, asked for a sign of life, gives
    /// none within `ready_ms_max`; milliseconds.
    pub read_ms_max: u64,
    /// When stopping, open connections get this long to end, milliseconds.
    pub drain_ms_max: u64,
    /// Nothing but health and metrics is answered: the process has not the role `api`.
    pub probes_only: bool,
    /// Origins whose pages may call us; `*` for all.
    pub cors_origins: Vec<String>,
    /// Further origins whose pages may call flow endpoints.
    pub node_cors_origins: Vec<String>,
    /// What a settings.js says about the editor, in its own names: `editorTheme`, `diagnostics`, `runtimeState`, …
    pub editor: serde_json::Map<String, serde_json::Value>,
    /// What Node-RED kept for its users, by name (`_`: who did not log in); it counts until we keep something.
    pub user_settings: serde_json::Map<String, serde_json::Value>,
    pub auth: AuthOptions,
    /// Endpoints of tabs that do not say whether they are durable are.
    pub flows_durable: bool,
    /// How long an `Idempotency-Key` is remembered after its run has ended, milliseconds.
    pub idempotency_key_ms: u64,
    /// How often somebody may call.
    pub rates: RateOptions,
    /// Networks and addresses of proxies whose `X-Forwarded-For` is believed.
    pub trusted_proxies: Vec<String>,
    /// What replicas count together in.
    pub cache: Option<Arc<Cache>>,
}

impl Default for ApiOptions {
    fn default() -> Self {
        ApiOptions {
            node_root: "/".into(),
            body_bytes_max: 5_000_000,
            bodies_bytes_max: 256 << 20,
            header_ms_max: 10_000,
            body_ms_max: 30_000,
            connections_max: 10_000,
            ready_ms_max: 2_000,
            read_ms_max: 1_000,
            drain_ms_max: 10_000,
            probes_only: false,
            cors_origins: vec!["http://localhost:3000".into()],
            node_cors_origins: Vec::new(),
            editor: serde_json::Map::new(),
            user_settings: serde_json::Map::new(),
            auth: AuthOptions::default(),
            flows_durable: false,
            idempotency_key_ms: 86_400_000,
            rates: RateOptions::default(),
            trusted_proxies: Vec::new(),
            cache: None,
        }
    }
}

/// A schedule as the API shows it.
#[derive(Clone, Debug, serde::Serialize)]
pub struct ScheduleView {
    pub id: String,
    /// `agreement` or `flow`.
    pub kind: &'static str,
    /// Agreement id or flow id.
    pub subject: String,
    /// Cron text, or what stands for it (`window ends`).
    pub cron: String,
    pub time_zone: String,
    pub catch_up: crate::model::agreement::CatchUp,
    /// The next firing; `None` when there is none any more.
    pub next_due: Option<Timestamp>,
    /// What this process saw of its firings.
    #[serde(flatten)]
    pub punctuality: crate::schedule::Punctuality,
}

/// What the application gives the API.
pub struct Parts {
    pub engine: Arc<Engine>,
    pub store: Arc<dyn Store>,
    pub evaluate: Arc<dyn EvaluateAgreement>,
    /// The agreements loaded now.
    pub agreements: Box<dyn Fn() -> Arc<LoadedAgreements> + Send + Sync>,
    /// The schedules in force now.
    pub schedules: Box<dyn Fn() -> Vec<ScheduleView> + Send + Sync>,
    pub plugins: Arc<Plugins>,
    /// Where grants are decided.
    pub desk: Desk,
    /// The credentials of the flows' nodes.
    pub credentials: Arc<CredentialFile>,
    /// Counters of the floors below, for `/metrics`.
    pub observed: Box<dyn Fn() -> Observed + Send + Sync>,
    /// Commits durable runs; `None`: there are none here.
    pub acceptor: Option<Arc<Acceptor>>,
    /// What the Admin API works on; `None`: there is none.
    pub admin: Option<Arc<admin::Admin>>,
    pub options: ApiOptions,
}

/// The HTTP side of one process.
pub struct Api {
    parts: Parts,
    /// Normalised: empty for `/`, else with a leading and without a trailing slash.
    node_root: String,
    auth: Auth,
    rates: rates::Rates,
    trusted_proxies: Vec<ipnet::IpNet>,
    metrics: Metrics,
    /// True once the server stops: for connections that do not end by themselves.
    stopping: tokio::sync::watch::Sender<bool>,
    /// True once callers are to look elsewhere.
    leaving: std::sync::atomic::AtomicBool,
    /// What bodies of calls to flows take.
    bodies: body::Bodies,
    /// Tries to log in to the Admin API.
    attempts: people::Attempts,
    /// Held while a user's settings are changed: what is merged must not be lost to another merge.
    user_settings_turn: tokio::sync::Mutex<()>,
}

impl std::ops::Deref for Api {
    type Target = Parts;
    fn deref(&self) -> &Parts {
        &self.parts
    }
}

impl Api {
    pub fn new(parts: Parts) -> Arc<Api> {
        let root = parts.options.node_root.trim_matches('/');
        Arc::new(Api {
            node_root: if root.is_empty() { String::new() } else { format!("/{root}") },
            auth: Auth::new(parts.options.auth.clone()),
            rates: rates::Rates::new(&parts.options.rates),
            trusted_proxies: forwarded::networks(&parts.options.trusted_proxies),
            metrics: Metrics::new(&parts),
            stopping: tokio::sync::watch::Sender::new(false),
            leaving: std::sync::atomic::AtomicBool::new(false),
            bodies: body::Bodies::default(),
            attempts: people::Attempts::default(),
            user_settings_turn: tokio::sync::Mutex::default(),
            parts,
        })
    }

    /// Lets others in from now on; what those before had and these have not counts for so long yet.
    pub fn renew_auth(&self, options: AuthOptions, overlap_s: u32) {
        let renewed = options.succeeding(&self.auth.options(), self.clock().now(), overlap_s);
        self.auth.renew(renewed);
    }

    /// From now on `/health/ready` says that others should be asked, and connections end with their next answer; calls are
    /// answered as before.
    pub fn leave(&self) {
        self.leaving.store(true, std::sync::atomic::Ordering::Relaxed);
    }

    fn is_leaving(&self) -> bool {
        self.leaving.load(std::sync::atomic::Ordering::Relaxed)
    }

    fn clock(&self) -> &Clock {
        &self.parts.engine.services.clock
    }
}

/// Every path of ours.
pub fn endpoints() -> impl Iterator<Item = &'static Endpoint> {
    [
        runs::ENDPOINTS,
        queue::ENDPOINTS,
        start_run::ENDPOINTS,
        flows::ENDPOINTS,
        flow_check::ENDPOINTS,
        flow_revisions::ENDPOINTS,
        trace::ENDPOINTS,
        agreements::ENDPOINTS,
        sources::ENDPOINTS,
        states::ENDPOINTS,
        verdicts::ENDPOINTS,
        explain::ENDPOINTS,
        simulate::ENDPOINTS,
        corrections::ENDPOINTS,
        waivers::ENDPOINTS,
        bill::ENDPOINTS,
        budgets::ENDPOINTS,
        schedules::ENDPOINTS,
        nodes::ENDPOINTS,
        audit::ENDPOINTS,
        plugins::ENDPOINTS,
        grants::ENDPOINTS,
        openapi::ENDPOINTS,
        health::ENDPOINTS,
        metrics::ENDPOINTS,
        pages::ENDPOINTS,
    ]
    .into_iter()
    .flatten()
}

/// Our own paths as a router: no login, no flow endpoints (see [`serve()`] for the whole).
pub fn router(api: Arc<Api>) -> Router {
    let router = endpoints().fold(Router::new(), |router, endpoint| router.route(endpoint.path, (endpoint.route)()));
    router.fallback(guard::unknown_path).method_not_allowed_fallback(guard::unknown_method).with_state(api)
}
