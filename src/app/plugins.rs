//! Plugins of a process: found, admitted, loaded, and swapped when their files or grants change.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime};

use arcstr::ArcStr;

use super::admission::{self, Needed};
use crate::clock::Clock;
use crate::config::Config;
use crate::deploy::Flows;
use crate::model::Diagnostic;
use crate::model::flow::FlowFile;
use crate::net::Net;
use crate::plugin::admission::Admitted;
use crate::plugin::function::{self, Functions};
use crate::plugin::granted::Granted;
use crate::plugin::limits::{CallLimits, Keep, Limits};
use crate::plugin::package::{Origin, Package};
use crate::plugin::replay::Replayer;
use crate::plugin::{Options, Plugins, ReadSecret, grants};
use crate::runtime::{Catalogue, Engine};

/// A process without plugins yet.
pub fn none(config: &Config, net: &Arc<Net>, clock: &Clock) -> Arc<Plugins> {
    with(limits(&config.plugins), cache_dirs(config), Arc::new(Config::secret), net, clock)
}

/// What makes recorded calls again.
pub fn replayer(config: &Config, net: &Net) -> Result<Replayer, Vec<Diagnostic>> {
    Replayer::new(limits(&config.plugins), cache_dirs(config), net)
}

/// Where compiled code is kept: our own folder first.
fn cache_dirs(config: &Config) -> Vec<PathBuf> {
    let shipped = admission::places(config).into_iter().filter(|p| p.origin == Origin::Shipped);
    [own_cache(config)].into_iter().chain(shipped.map(|place| place.path.join(CACHE))).collect()
}

/// Where a server keeps compiled code.
pub fn own_cache(config: &Config) -> PathBuf {
    code_dir(&config.data_dir)
}

/// Where compiled code is kept in a data folder.
pub fn code_dir(data_dir: &Path) -> PathBuf {
    data_dir.join("plugin-cache")
}

/// As [`none`], for compiling into a folder: its code fits a server with this configuration.
pub fn compiler(config: &Config, into: PathBuf, net: &Arc<Net>, clock: &Clock) -> Arc<Plugins> {
    with(limits(&config.plugins), vec![into], Arc::new(|_| None), net, clock)
}

/// As [`none`], for trying a plugin: the default limits, a cache and secrets of its own.
pub fn trial(cache_dir: Option<PathBuf>, read_secret: ReadSecret, net: &Arc<Net>, clock: &Clock) -> Arc<Plugins> {
    with(Limits::default(), cache_dir.into_iter().collect(), read_secret, net, clock)
}

fn with(
    limits: Limits,
    cache_dirs: Vec<PathBuf>,
    read_secret: ReadSecret,
    net: &Arc<Net>,
    clock: &Clock,
) -> Arc<Plugins> {
    let evaluate_typed = crate::nodes::typed::evaluate;
    Plugins::new(Options { limits, cache_dirs, evaluate_typed, read_secret }, net.clone(), clock.clone())
}

/// Folder of compiled code beside shipped plugins; `probity plugin compile --into` fills it.
pub const CACHE: &str = "cache";

fn limits(c: &crate::config::Plugins) -> Limits {
    Limits {
        default: CallLimits {
            compute_ms_max: c.compute_ms_default,
            call_ms_max: c.call_ms_default,
            memory_bytes_max: c.memory_bytes_default,
            output_bytes_max: c.output_bytes_default,
            state_bytes_max: c.state_bytes_default,
        },
        max: CallLimits {
            compute_ms_max: c.compute_ms_max,
            call_ms_max: c.call_ms_max,
            memory_bytes_max: c.memory_bytes_max,
            output_bytes_max: c.output_bytes_max,
            state_bytes_max: c.state_bytes_max,
        },
        input_bytes_max: c.input_bytes_max,
        emits_max: c.emits_max,
        log_lines_max: c.log_lines_max,
        response_bytes_max: c.response_bytes_max,
        file_bytes_max: c.file_bytes_max,
        record_bytes_max: c.record_bytes_max,
        run_record_bytes_max: c.run_record_bytes_max,
        instances_max: c.instances_max.max(1),
        idle_ms_max: c.idle_ms_max,
        cache: Keep {
            bytes_max: c.cache_bytes_max,
            unused_max: Duration::from_secs(u64::from(c.cache_days_max) * 86_400),
        },
        stops_max: c.stops_max.max(1),
        stops_ms: c.stops_ms,
        quarantine_ms: c.quarantine_ms,
        ..Limits::default()
    }
}

/// What function nodes may use.
fn function_limits(c: &crate::config::Functions) -> function::Limits {
    function::Limits {
        compute_ms_default: c.compute_ms_default,
        compute_ms_max: c.compute_ms_max,
        memory_bytes_max: c.memory_bytes_max,
        output_bytes_max: c.output_bytes_max,
        modules: PathBuf::from(&c.modules),
    }
}

/// Lets these plugins make function nodes with the component of a package, which is read when the first is made.
pub fn offer_functions(plugins: &Plugins, config: &crate::config::Functions, package: Package) -> Arc<Functions> {
    plugins.offer_functions(function_limits(config), Box::new(move || admission::component(&package)))
}

/// Loads the plugins whose nodes these flows have, as far as they are found and admitted; what is wrong with one is
/// logged, and it stays out. The others cost nothing but the reading of their manifests.
pub async fn start(config: &Config, net: &Arc<Net>, clock: &Clock, flows: &FlowFile) -> Arc<Plugins> {
    start_followed(config, net, clock, flows).await.0
}

/// As [`start`], for a process that goes on to [watch](Following::watch) what it read.
pub async fn start_followed(
    config: &Config,
    net: &Arc<Net>,
    clock: &Clock,
    flows: &FlowFile,
) -> (Arc<Plugins>, Followed) {
    let plugins = none(config, net, clock);
    // Looked at before they are read: a file that changes meanwhile is read again.
    let mut followed = Followed { seen: files(config), loaded: Loaded::default() };
    followed.loaded.follow(config, &plugins, flows, false).await;
    (plugins, followed)
}

/// What was loaded, from files that looked so.
pub struct Followed {
    seen: Seen,
    loaded: Loaded,
}

/// Files that plugins are made of, with what shows that they changed.
type Seen = BTreeMap<PathBuf, (Option<SystemTime>, u64)>;

fn has_function(flows: &FlowFile) -> bool {
    flows.nodes.iter().any(|node| node.node_type == crate::nodes::function::NODE_TYPE)
}

/// Compiles the component of function nodes, if that was not done; the first time it takes seconds.
async fn compile(functions: Arc<Functions>) {
    match tokio::task::spawn_blocking(move || functions.prepare()).await {
        Ok(Ok(())) => {}
        Ok(Err(problems)) => super::report(&in_plugin("javascript", problems)),
        Err(panic) => tracing::error!("the component of function nodes cannot be compiled: {panic}"),
    }
}

/// The node types that flows name.
fn types_of(flows: &FlowFile) -> BTreeSet<ArcStr> {
    flows.nodes.iter().map(|node| node.node_type.clone()).collect()
}

/// Builtin node types and those of plugins.
pub fn catalogue(plugins: &Plugins) -> Catalogue {
    let mut catalogue = crate::nodes::catalogue();
    if let Some(functions) = plugins.functions() {
        // Nothing else is called so.
        let _ = catalogue.add(crate::nodes::function::known(&functions));
    }
    super::report(&plugins.add_to(&mut catalogue));
    catalogue
}

/// What is loaded, by name.
#[derive(Default)]
struct Loaded {
    plugins: BTreeMap<String, Is>,
    /// Where the component of function nodes lies, and what its manifest says it is.
    functions: Option<(PathBuf, Option<String>)>,
}

/// A plugin that is loaded, to tell what changed.
struct Is {
    path: PathBuf,
    digest: String,
    granted: Granted,
}

impl Is {
    fn of(admitted: &Admitted) -> (String, Is) {
        let Admitted { plugin, path, digest, .. } = admitted;
        let is = Is { path: path.clone(), digest: digest.clone(), granted: plugin.granted.clone() };
        (plugin.manifest.name.clone(), is)
    }
}

impl Loaded {
    /// Lets function nodes run in the component that is there now. It is compiled at once where a flow has one.
    async fn follow_functions(&mut self, config: &Config, plugins: &Plugins, found: Option<Package>, flows: &FlowFile) {
        let is = found.as_ref().map(|p| (p.path.clone(), p.manifest.digest.clone()));
        if self.functions == is {
            return;
        }
        self.functions = is;
        let Some(package) = found else {
            plugins.withdraw_functions();
            return;
        };
        let functions = offer_functions(plugins, &config.functions, package);
        if !has_function(flows) {
            return;
        }
        compile(functions).await;
    }

    /// Brings the loaded plugins to what lies in the folders now and these flows need, or `all`.
    async fn follow(&mut self, config: &Config, plugins: &Plugins, flows: &FlowFile, all: bool) {
        let types = types_of(flows);
        let ready = match admission::admitted(config, if all { Needed::All } else { Needed::For(&types) }) {
            Ok(ready) => ready,
            Err(error) => {
                tracing::error!("{error:#}");
                return;
            }
        };
        super::report(&ready.diagnostics);
        self.follow_functions(config, plugins, ready.interpreter, flows).await;
        plugins.set_unused(ready.unused);
        let found = ready.admitted;
        let names: BTreeSet<String> = found.iter().map(|a| a.plugin.manifest.name.clone()).collect();
        self.plugins.retain(|name, is| {
            if names.contains(name) {
                return true;
            }
            // A file that is being written, or is wrong: what runs is better than nothing.
            if ready.broken.contains(&is.path) {
                tracing::warn!(plugin = name, "stays as it is: what lies at {} is broken", is.path.display());
                return true;
            }
            tracing::info!(plugin = name, "taken away");
            plugins.remove(name);
            false
        });
        for admitted in found {
            let (name, is) = Is::of(&admitted);
            if self.plugins.get(&name).is_some_and(|old| old.digest == is.digest && old.granted == is.granted) {
                continue;
            }
            let plugin = admitted.plugin;
            let version = plugin.manifest.version.clone();
            match plugins.load(plugin).await {
                Ok(()) => {
                    tracing::info!(plugin = name, version, "loaded");
                    self.plugins.insert(name, is);
                }
                Err(problems) => super::report(&in_plugin(&name, problems)),
            }
        }
    }
}

fn in_plugin(name: &str, problems: Vec<Diagnostic>) -> Vec<Diagnostic> {
    problems.into_iter().map(|p| if p.file.is_empty() { p.in_file(format!("plugin {name}")) } else { p }).collect()
}

/// Plugins of a server and what they were loaded from: loaded when flows need them, swapped when their files or grants
/// change.
pub struct Following {
    config: Config,
    plugins: Arc<Plugins>,
    engine: Arc<Engine>,
    /// Whether an editor was opened: its palette offers the nodes of all plugins, so all stay loaded.
    offered: AtomicBool,
    state: tokio::sync::Mutex<Followed>,
}

impl Following {
    pub fn new(config: Config, plugins: Arc<Plugins>, engine: Arc<Engine>, followed: Followed) -> Arc<Following> {
        let state = tokio::sync::Mutex::new(followed);
        Arc::new(Following { config, plugins, engine, offered: AtomicBool::new(false), state })
    }

    pub fn plugins(&self) -> &Arc<Plugins> {
        &self.plugins
    }

    /// Loads every installed plugin, once: without an editor only those are loaded whose nodes flows have. True for the
    /// call that did it.
    pub async fn offer_all(&self) -> bool {
        if self.offered.load(Ordering::Acquire) {
            return false;
        }
        let mut followed = self.state.lock().await;
        let first = !self.offered.swap(true, Ordering::AcqRel);
        if first {
            self.follow_with(&mut followed, &FlowFile::default()).await;
        }
        first
    }

    /// Brings the loaded plugins to what these flows need; true when node types came or went. While others are being
    /// loaded, for the palette or because their files changed, flows wait only for node types that are not there yet.
    pub async fn follow(&self, flows: &FlowFile) -> bool {
        let mut followed = match self.state.try_lock() {
            Ok(followed) => followed,
            Err(_) if self.has_all(flows) => {
                let functions = self.plugins.functions();
                if let Some(functions) = functions.filter(|_| has_function(flows)) {
                    compile(functions).await;
                }
                return false;
            }
            Err(_) => self.state.lock().await,
        };
        self.follow_with(&mut followed, flows).await
    }

    fn has_all(&self, flows: &FlowFile) -> bool {
        let catalogue = self.engine.catalogue();
        let is_node = |t: &&ArcStr| !["tab", "subflow", "group"].contains(&t.as_str());
        types_of(flows).iter().filter(is_node).all(|node_type| catalogue.get(node_type).is_some())
    }

    async fn follow_with(&self, followed: &mut Followed, flows: &FlowFile) -> bool {
        let before = types(&self.engine.catalogue());
        let all = self.offered.load(Ordering::Acquire);
        followed.loaded.follow(&self.config, &self.plugins, flows, all).await;
        let catalogue = catalogue(&self.plugins);
        let changed = types(&catalogue) != before;
        if changed {
            self.engine.set_catalogue(catalogue);
        }
        changed
    }

    /// Looks at the files of plugins and grants again and again; what changed is swapped in for new runs, and when node
    /// types came or went, the flows are built anew.
    pub async fn watch(self: Arc<Self>, flows: Arc<Flows>) {
        let clock = self.engine.services.clock.clone();
        loop {
            clock.sleep(Duration::from_millis(self.config.plugins.watch_ms.max(10))).await;
            let now = files(&self.config);
            let mut followed = self.state.lock().await;
            if now == followed.seen {
                continue;
            }
            followed.seen = now;
            let changed = self.follow_with(&mut followed, &flows.current().file).await;
            // A deploy under way may wait for it.
            drop(followed);
            if changed {
                flows.rebuild().await;
            }
        }
    }
}

/// Node types with the address of their spec: a type described anew has another.
fn types(catalogue: &Catalogue) -> Vec<(&'static str, usize)> {
    catalogue.iter().map(|t| (t.spec.node_type, std::ptr::from_ref(t.spec) as usize)).collect()
}

fn files(config: &Config) -> Seen {
    let mut found = BTreeMap::new();
    for place in admission::places(config) {
        note(&place.path, 2, &mut found);
    }
    note(&grants::path(&config.data_dir), 0, &mut found);
    found
}

fn note(path: &Path, depth: u32, found: &mut Seen) {
    let Ok(about) = path.metadata() else { return };
    if about.is_dir() {
        let below = std::fs::read_dir(path).into_iter().flatten().flatten();
        for entry in below.filter(|_| depth > 0).filter(|e| e.file_name() != CACHE && e.file_name() != "target") {
            note(&entry.path(), depth - 1, found);
        }
    } else {
        found.insert(path.to_path_buf(), (about.modified().ok(), about.len()));
    }
}
