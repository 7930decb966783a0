//! Floor 12: the composition root. Builds everything once, joins the loops, shuts down in order.

pub mod admission;
mod content;
pub mod credentials;
pub mod delivery;
mod director;
mod durable;
mod flows;
pub mod notify;
pub mod plugins;
mod repeating;
mod rotation;
mod serve;
pub mod upkeep;

use std::collections::HashMap;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};

pub use content::{Content, load_agreements, load_flows, read_flows, shipped_flows, sources, usable};
pub use flows::context_stores;
pub use serve::serve;

use crate::api::registry_v6::RegistryV6;
use crate::clock::Clock;
use crate::config::Config;
use crate::evaluate::{self, Evaluator, Service};
use crate::files::Files;
use crate::model::flow::{FlowFile, Plan};
use crate::model::{Diagnostic, Severity};
use crate::net::{Net, NetOptions};
use crate::plugin::Plugins;
use crate::registry::{Agreements, PassThrough};
use crate::runtime::capture::CaptureLimits;
use crate::runtime::places::PlaceLimits;
use crate::runtime::services::Observer;
use crate::runtime::{Engine, Limits, Services};
use crate::store::{Store, StoreOptions};

/// The configured parts that both the server and the one-shot commands stand on.
pub struct Surroundings {
    pub clock: Clock,
    pub net: Arc<Net>,
    pub store: Arc<dyn Store>,
    pub observer: Option<Observer>,
}

/// Outgoing connections under the configured rules. The error names the rule that is no rule.
pub fn net(config: &Config) -> Result<Arc<Net>> {
    let options = NetOptions {
        allow: config.net.allow.clone(),
        unverified: config.net.unverified.clone(),
        connect_ms_max: config.net.connect_ms_max,
        request_ms_max: config.net.request_ms_max,
        response_bytes_max: config.net.response_bytes_max,
        redirects_max: config.net.redirects_max,
        requests_max: config.net.requests_max,
        host_requests_max: config.net.host_requests_max,
        waiting_max: config.net.waiting_max,
    };
    let net = Net::new(options).map_err(|problems| {
        let lines: Vec<String> = problems.iter().map(ToString::to_string).collect();
        anyhow::anyhow!("net: {}", lines.join("; "))
    })?;
    Ok(Arc::new(net))
}

/// Opens the configured store.
pub async fn open_store(config: &Config) -> Result<Arc<dyn Store>> {
    Ok(crate::store::open(&config.database_url(), &store_options(config)).await?)
}

/// How the configured store is used.
pub fn store_options(config: &Config) -> StoreOptions {
    StoreOptions {
        connections_max: config.store.connections_max,
        connect_timeout_ms: config.store.wait_ms_max,
        deliver: (!config.delivery.status_url.is_empty()).then(|| config.delivery.agreements.clone()),
        // The configuration was refused if one of them could not be read.
        notify: config.notification_rules().unwrap_or_default(),
        password: config.database_password.clone(),
        ..StoreOptions::default()
    }
}

/// The configured store, if there is one with a schema already: looking must not make a database.
///
/// # Errors
/// A database that is there and cannot be used.
pub async fn store_there_is(config: &Config) -> Result<Option<Arc<dyn Store>>> {
    let url = config.database_url();
    let file = url.strip_prefix("sqlite:").map(|path| path.trim_start_matches("//"));
    if url == "memory:" || file.is_some_and(|path| !Path::new(path).exists()) {
        return Ok(None);
    }
    let store = open_store(config).await?;
    // Before the first start of a server nothing was put.
    Ok(store.documents_revision().await.is_ok().then_some(store))
}

/// An engine with the builtin nodes and those of plugins, and no flows yet.
pub fn engine(config: &Config, with: Surroundings, plugins: &Plugins) -> Arc<Engine> {
    let mut services = Services::new(with.clock, limits(config), with.net);
    services.context = flows::context(config, &with.store);
    services.store = Some(with.store);
    services.shared_rates = config.limits.shared_rates;
    services.observer = with.observer;
    services.http_root = config.http.node_root.clone();
    services.files = Arc::new(Files::new(config.files.dir.clone()).with_bytes_max(config.files.bytes_max));
    services.nodes_allowed = config.nodes.allow.clone();
    // The configuration was refused if one of them could not be read.
    services.datasources = Arc::new(crate::config::datasources::open(&config.datasources).unwrap_or_default());
    let (base, flows) = (base_url(config.listen), flows_url(config));
    services.env = Arc::new(move |name| match name {
        "PROBITY_URL" => Some(base.clone()),
        "PROBITY_FLOWS_URL" => Some(flows.clone()),
        _ => Config::process_env(name),
    });
    Engine::new(Arc::new(services), plugins::catalogue(plugins))
}

/// Where this server's own endpoints are reached from this machine; flows read it as PROBITY_URL.
pub fn base_url(listen: SocketAddr) -> String {
    match listen.ip() {
        ip if ip.is_unspecified() => format!("http://127.0.0.1:{}", listen.port()),
        _ => format!("http://{listen}"),
    }
}

/// Where the endpoints of flows are reached from this machine; flows read it as PROBITY_FLOWS_URL.
fn flows_url(config: &Config) -> String {
    format!("{}{}", base_url(config.listen), config.http.node_root.trim_end_matches('/'))
}

/// The plan of a flow file for this engine, with what stands in the way of its endpoints.
pub fn plan(engine: &Engine, file: &FlowFile) -> Plan {
    plan_without(engine, file, &|_| false)
}

/// As [`plan`], as if the `disabled` node types were not known.
fn plan_without(engine: &Engine, file: &FlowFile, disabled: &dyn Fn(&str) -> bool) -> Plan {
    let specs = |node_type: &str| engine.catalogue().spec(node_type).filter(|_| !disabled(node_type));
    let env = engine.services.env.clone();
    let mut plan = crate::flow::plan(file, &specs, &move |name| env(name));
    let taken = taken_routes(&plan, file, &engine.services.http_root);
    plan.diagnostics.extend(taken);
    plan
}

/// Routes of running flows that lie below a path of ours: no call ever reaches them.
pub fn taken_routes(plan: &Plan, file: &FlowFile, http_root: &str) -> Vec<Diagnostic> {
    let running = |flow: u32| plan.flows.get(flow as usize).is_some_and(|flow| flow.stopped.is_none());
    let entries = plan.nodes.iter().filter(|node| node.node_type == "http in" && running(node.flow));
    let taken = entries.filter_map(|node| {
        let url = node.config.get("url").map(crate::model::Value::to_js_string)?;
        let path = format!("{}/{}", http_root.trim_end_matches('/'), url.trim_start_matches('/'));
        let own = crate::api::own_root(&path)?;
        let defined = file.nodes.iter().find(|def| node.id == def.id || node.id.ends_with(&format!("-{}", def.id)));
        let at = defined.map_or_else(|| "$".into(), |def| format!("$[{}].url", def.entry));
        let problem =
            Diagnostic::error("own-path", at, format!("{path} lies below {own}, which Probity answers itself"))
                .expected("a url that does not lead below /probity, /health or /metrics")
                .hint("give the node another url, or the flows another http.node_root; no call reaches it as it is");
        Some(problem.in_file(file.file.as_str()))
    });
    taken.collect()
}

/// Tells an evaluator which plugins its flows can call, for what each state says of how it was made.
pub fn name_plugins(evaluator: &Evaluator, plugins: &Arc<Plugins>) {
    let plugins = plugins.clone();
    let versions = move || {
        plugins
            .report()
            .into_iter()
            .filter(|plugin| plugin.loaded_at.is_some())
            .map(|plugin| (plugin.name, plugin.digest))
            .collect()
    };
    if evaluator.plugins.set(Box::new(versions)).is_err() {
        tracing::error!("an evaluator was told its plugins twice; it keeps the first");
    }
}

/// The evaluator over an engine, and the engine's way to it.
pub fn evaluator(
    config: &Config,
    engine: &Arc<Engine>,
    store: &Arc<dyn Store>,
    agreements: Arc<Agreements>,
    in_process: HashMap<String, Service>,
) -> Arc<Evaluator> {
    let mut services = in_process;
    // The shipped Governify agreement is answered by a shipped flow unless a collector is configured.
    services.entry("internal.collector.events".into()).or_insert_with(|| Service::Url(flows_url(config)));
    for (path, url) in &config.collectors.services {
        services.insert(path.clone(), Service::Url(url.clone()));
    }
    let options = evaluate::Options {
        parallel_max: config.collectors.parallel_max,
        collect_ms_max: config.collectors.collect_ms_max,
        call_ms_max: config.collectors.call_ms_max,
        host_parallel_max: config.collectors.host_parallel_max,
        retries_max: config.collectors.retries_max,
        poll_ms_min: config.collectors.poll_ms_min,
        poll_ms_max: config.collectors.poll_ms_max,
        windows_max: config.schedule.windows_max,
        trace_steps_max: config.limits.trace_steps_max,
    };
    let evaluator = Arc::new(Evaluator::new(engine.clone(), store.clone(), agreements, services, options));
    if engine.services.evaluate.set(evaluator.clone()).is_err() {
        tracing::error!("an engine was given two evaluators; it keeps the first");
    }
    evaluator
}

fn limits(config: &Config) -> Limits {
    let c = &config.limits;
    Limits {
        reply_ms_max: c.reply_ms_max,
        run_ms_max: c.run_ms_max,
        durable_run_ms_max: config.durable.run_ms_max,
        hops_max: c.hops_max,
        queue_max: c.queue_max,
        waits_max: c.waits_max,
        runs_max: c.runs_max,
        trace_steps_max: c.trace_steps_max,
        runs_kept_per_s_max: c.runs_kept_per_s_max,
        runs_in_memory_max: c.runs_in_memory_max,
        node_messages_max: c.node_messages_max,
        places: PlaceLimits {
            flow_runs_max: c.flow_runs_max,
            tenant_runs_max: c.tenant_runs_max,
            // The configuration was refused if one were no number.
            tenants: c.tenants.iter().filter_map(|(name, max)| Some((name.clone(), max.parse().ok()?))).collect(),
            bulk_runs_max: c.bulk_runs_max,
            waiting_max: c.waiting_max,
        },
        capture: CaptureLimits {
            which: config.trace.messages,
            message_bytes_max: config.trace.message_bytes_max,
            run_bytes_max: config.trace.run_bytes_max,
        },
    }
}

/// Lines of the log that one list of problems may take.
const REPORTED_MAX: usize = 200;

/// Logs diagnostics at their severity.
pub fn report(diagnostics: &[Diagnostic]) {
    if diagnostics.len() > REPORTED_MAX {
        let more = diagnostics.len() - REPORTED_MAX;
        tracing::error!("{more} problems more than are shown; `probity check` lists them all");
    }
    for diagnostic in diagnostics.iter().take(REPORTED_MAX) {
        match diagnostic.severity {
            Severity::Error => tracing::error!("{diagnostic}"),
            Severity::Warning => tracing::warn!("{diagnostic}"),
        }
    }
}

/// A name for this process that no other has, for leases: where it runs, and something random.
pub fn owner() -> String {
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let random = uuid::Uuid::new_v4().simple().to_string();
    format!("{}/{}", host.trim(), &random[..12])
}

/// Makes the data folder.
pub fn make_data_dir(dir: &Path) -> Result<()> {
    std::fs::create_dir_all(dir).with_context(|| format!("cannot make the data folder {}", dir.display()))
}

/// What stands behind the Registry API. An address of `registry.pass_to` that is none was refused with the configuration.
pub fn registry_api(config: &Config, evaluator: &Arc<Evaluator>, agreements: &Arc<Agreements>) -> Arc<RegistryV6> {
    let (mode, services) = (config.registry.mode, config.collectors.services.clone());
    let registry = RegistryV6::new(evaluator.clone(), agreements.clone(), mode, services);
    if !config.registry.pass_to.is_empty() {
        let net = evaluator.engine.services.net.clone();
        let request = Duration::from_millis(config.registry.request_ms_max);
        match PassThrough::new(&config.registry.pass_to, net, request) {
            // Nothing else has set it.
            Ok(elsewhere) => drop(registry.passes.set(elsewhere)),
            Err(problem) => tracing::error!("registry.pass_to: {problem}; documents are kept here"),
        }
    }
    registry
}
