//! The plugins of a process: loaded, swapped, listed.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, OnceLock, RwLock, Weak};
use std::time::Duration;

use arcstr::ArcStr;
use jiff::Timestamp;
use serde::Serialize;
use sha2::{Digest, Sha256};
use tokio::sync::OwnedSemaphorePermit;

use super::bindings::exports::probity::plugin::handler::Description;
use super::description;
use super::function::{self, Functions, Idle};
use super::granted::Granted;
use super::host::{Facts, NodeFacts};
use super::instance::{Fault, Instance, Kind};
use super::manifest::Manifest;
use super::sandbox::{self, Code, Options, Sandbox};
use super::slot::{Noted, Slot, Version};
use super::{node, spec};
use crate::clock::Clock;
use crate::model::Diagnostic;
use crate::net::Net;
use crate::runtime::catalogue::Known;
use crate::runtime::{Catalogue, NodeConfig};

/// All plugins of a process.
pub struct Plugins {
    lab: Arc<Lab>,
    functions: RwLock<Option<Arc<Functions>>>,
    slots: RwLock<BTreeMap<ArcStr, Arc<Slot>>>,
    unused: RwLock<Vec<Manifest>>,
    codes: Mutex<HashMap<(String, bool), Weak<Code>>>,
    net: Arc<Net>,
    clock: Clock,
}

/// Where the sandbox is set up when it is first needed: a process without plugins pays nothing.
pub(super) struct Lab {
    options: Options,
    shared: OnceLock<Arc<Shared>>,
}

impl Lab {
    pub(super) fn shared(&self) -> Result<&Arc<Shared>, Diagnostic> {
        if let Some(shared) = self.shared.get() {
            return Ok(shared);
        }
        let sandbox = Sandbox::new(&self.options).map_err(sandbox::not_set_up)?;
        let workers = std::thread::available_parallelism().map_or(2, usize::from);
        let made = Shared { sandbox, workers, slots: RwLock::default(), idle: Mutex::default() };
        Ok(self.shared.get_or_init(|| Arc::new(made)))
    }
}

/// What the nodes of all plugins share.
pub(super) struct Shared {
    pub(super) sandbox: Arc<Sandbox>,
    /// Warm instances a node keeps: as many as can be busy at once.
    pub(super) workers: usize,
    slots: RwLock<Vec<Weak<Slot>>>,
    /// Warm instances of function nodes.
    idle: Mutex<Vec<Weak<Idle>>>,
}

impl Shared {
    /// Warm instances that make room when it is wanted.
    pub(super) fn add_idle(&self, idle: &Arc<Idle>) {
        let mut all = self.idle.lock().unwrap_or_else(|p| p.into_inner());
        if all.len() == all.capacity() {
            all.retain(|i| i.strong_count() > 0);
        }
        all.push(Arc::downgrade(idle));
    }

    /// A place for one more instance; idle ones of other nodes make room.
    pub(super) async fn place(&self) -> OwnedSemaphorePermit {
        let places = &self.sandbox.places;
        if let Ok(place) = places.clone().try_acquire_owned() {
            return place;
        }
        for slot in self.slots.read().unwrap_or_else(|p| p.into_inner()).iter().filter_map(Weak::upgrade) {
            slot.each_pool(|pool| pool.drop_idle(Duration::ZERO));
        }
        for idle in self.idle.lock().unwrap_or_else(|p| p.into_inner()).iter().filter_map(Weak::upgrade) {
            idle.drop_old(Duration::ZERO);
        }
        places.clone().acquire_owned().await.expect("never closed")
    }
}

/// A plugin to be loaded, read and checked before.
#[derive(Clone, Debug)]
pub struct Package {
    pub manifest: Manifest,
    /// A component, or a core module that carries its component type. For a script: the interpreter component.
    pub wasm: bytes::Bytes,
    /// File name and text.
    pub script: Option<(String, String)>,
    pub granted: Granted,
}

/// What a plugin is and how it is doing.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Report {
    pub name: String,
    pub version: String,
    pub contract: String,
    pub license: String,
    pub description: String,
    /// Of the code that runs; empty when it is not loaded and its manifest does not say.
    pub digest: String,
    pub deterministic: bool,
    /// `None` while no flow has one of its nodes: it is not loaded then, and what it may do is not decided.
    pub loaded_at: Option<Timestamp>,
    /// What its manifest asks for and why.
    pub requests: Vec<super::manifest::Request>,
    pub granted: Vec<String>,
    pub hosts: Vec<String>,
    pub secrets: Vec<String>,
    pub folders: Vec<String>,
    pub node_types: Vec<TypeReport>,
    /// How often its guests were stopped, by kind.
    pub stops: BTreeMap<&'static str, u64>,
    pub refusals: u64,
    pub last_stops: Vec<Noted>,
    pub last_refusals: Vec<Noted>,
    pub quarantine: Vec<QuarantineReport>,
    /// Warm instances that wait for work.
    pub idle_instances: usize,
}

/// A node type and its calls since the start.
#[derive(Clone, Debug, Default, Serialize)]
pub struct TypeReport {
    pub node_type: String,
    pub summary: String,
    pub calls: u64,
    pub failed: u64,
    pub instances: u64,
    /// Mean and longest time of a call, host calls included, microseconds.
    pub mean_us: f64,
    pub max_us: f64,
    /// Largest memory of an instance, bytes.
    pub memory_bytes: u64,
}

/// A node type that is refused for a while.
#[derive(Clone, Debug, Serialize)]
pub struct QuarantineReport {
    pub node_type: String,
    pub until: Timestamp,
    pub last: String,
}

/// [`Facts::patience`] of deterministic plugins.
const METERED_PATIENCE: u64 = 8;

impl Plugins {
    pub fn new(options: Options, net: Arc<Net>, clock: Clock) -> Arc<Plugins> {
        let lab = Arc::new(Lab { options, shared: OnceLock::new() });
        let (functions, slots, codes) = (RwLock::default(), RwLock::default(), Mutex::default());
        Arc::new(Plugins { lab, functions, slots, unused: RwLock::default(), codes, net, clock })
    }

    fn shared(&self) -> Result<&Arc<Shared>, Diagnostic> {
        self.lab.shared()
    }

    /// Says where the JavaScript component is had, so that there are function nodes.
    pub fn offer_functions(&self, limits: function::Limits, read: function::ReadComponent) -> Arc<Functions> {
        let functions = Arc::new(Functions::new(self.lab.clone(), self.net.clone(), limits, read));
        *self.functions.write().unwrap_or_else(|p| p.into_inner()) = Some(functions.clone());
        functions
    }

    /// Takes the component away: there are no function nodes for the plans built from now on.
    pub fn withdraw_functions(&self) {
        *self.functions.write().unwrap_or_else(|p| p.into_inner()) = None;
    }

    /// What makes function nodes, when the component is there.
    pub fn functions(&self) -> Option<Arc<Functions>> {
        self.functions.read().unwrap_or_else(|p| p.into_inner()).clone()
    }

    /// Loads a plugin, or swaps its new version in for runs opened from now on. Everything that is wrong with it is
    /// reported, and what was loaded before stays.
    pub async fn load(&self, package: Package) -> Result<(), Vec<Diagnostic>> {
        let name = ArcStr::from(package.manifest.name.as_str());
        let version = self.version(package).await?;
        let mut slots = self.slots.write().unwrap_or_else(|p| p.into_inner());
        let taken = slots.values().filter(|s| s.name != name).find_map(|other| {
            let theirs = other.current();
            let both = version.types.iter().find(|t| theirs.node_type(&t.description.node_type).is_some())?;
            Some((both.description.node_type.clone(), other.name.clone()))
        });
        if let Some((node_type, other)) = taken {
            let message = format!("node type {node_type} of plugin {name} is already that of plugin {other}");
            let problem = Diagnostic::error("plugin-type-taken", "describe()", message);
            return Err(vec![problem.expected("one plugin for each node type; remove or rename one")]);
        }
        match slots.get(&name) {
            Some(slot) => slot.replace(version),
            None => {
                let slot = Arc::new(Slot::new(name.clone(), version));
                let shared = self.shared().map_err(|p| vec![p])?;
                let mut all = shared.slots.write().unwrap_or_else(|p| p.into_inner());
                all.push(Arc::downgrade(&slot));
                slots.insert(name, slot);
            }
        }
        Ok(())
    }

    async fn version(&self, package: Package) -> Result<Version, Vec<Diagnostic>> {
        let Package { manifest, wasm, script, granted } = package;
        let one = |problem: Diagnostic| vec![problem];
        let shared = self.shared().map_err(one)?;
        let limits = &shared.sandbox.limits;
        let digest = match &script {
            Some((_, text)) => sha256(text.as_bytes()),
            None => sha256(&wasm),
        };
        let interpreter = script.is_some().then(|| sha256(&wasm).into());
        let net = self.net.granting(&granted.hosts)?;
        let facts = Arc::new(Facts {
            name: manifest.name.as_str().into(),
            version: manifest.version.as_str().into(),
            digest: digest.into(),
            granted,
            net: Arc::new(net),
            limits: limits.of(&manifest.limits),
            all: limits.clone(),
            surroundings: shared.sandbox.surroundings.clone(),
            script,
            interpreter,
            contract: manifest.contract.clone(),
            patience: if manifest.deterministic { METERED_PATIENCE } else { 1 },
            grace_ticks: 0,
        });
        let code = self.code(wasm, manifest.deterministic).await.map_err(one)?;
        let descriptions = self.describe(&code, &facts).await.map_err(one)?;
        let mut types = Vec::new();
        let mut problems = Vec::new();
        for description in descriptions {
            match spec::read(description) {
                Ok(of) => types.push(of),
                Err(more) => problems.extend(more),
            }
        }
        if types.is_empty() && problems.is_empty() {
            problems.push(Diagnostic::error("plugin-description", "describe()", "the plugin describes no node type"));
        }
        // By this list is decided when a plugin is needed, so it must be right.
        let described: Vec<_> = types.iter().map(|of| (&of.description).into()).collect();
        problems.extend(description::promised(&described, &manifest));
        if !problems.is_empty() {
            return Err(problems);
        }
        Ok(Version { manifest, facts, code, types, since: OnceLock::new(), loaded_at: self.clock.now() })
    }

    /// Compiles code into the cache, without loading it.
    pub async fn compile(&self, wasm: bytes::Bytes, deterministic: bool) -> Result<(), Diagnostic> {
        self.code(wasm, deterministic).await.map(drop)
    }

    /// Compiles off the async threads; equal code is shared.
    async fn code(&self, wasm: bytes::Bytes, metered: bool) -> Result<Arc<Code>, Diagnostic> {
        let key = (sha256(&wasm), metered);
        let known = |codes: &HashMap<_, Weak<Code>>| codes.get(&key).and_then(Weak::upgrade);
        if let Some(code) = known(&self.codes.lock().unwrap_or_else(|p| p.into_inner())) {
            return Ok(code);
        }
        let sandbox = self.shared()?.sandbox.clone();
        let compiled = tokio::task::spawn_blocking(move || sandbox.code(&wasm, metered));
        let code = match compiled.await {
            Ok(code) => Arc::new(code?),
            Err(panic) => {
                return Err(Diagnostic::error("plugin-code", "component", format!("cannot be compiled: {panic}")));
            }
        };
        let mut codes = self.codes.lock().unwrap_or_else(|p| p.into_inner());
        codes.retain(|_, code| code.strong_count() > 0);
        codes.insert(key, Arc::downgrade(&code));
        Ok(code)
    }

    async fn describe(&self, code: &Arc<Code>, facts: &Arc<Facts>) -> Result<Vec<Description>, Diagnostic> {
        let node = NodeFacts { id: ArcStr::new(), config: "{}".into(), secrets: Vec::new(), state: Arc::default() };
        let shared = self.shared()?;
        let place = shared.place().await;
        let wrong = |fault: Fault| {
            let message = match fault {
                Fault::Stopped { message, .. } => message,
                Fault::Failed(failure) => failure.message,
            };
            Diagnostic::error("plugin-description", "describe()", message)
        };
        let mut instance =
            Instance::new(&shared.sandbox, code, facts.clone(), Arc::new(node), place).await.map_err(wrong)?;
        instance.describe().await.map_err(wrong)
    }

    /// Takes a plugin away; open runs end on it.
    pub fn remove(&self, name: &str) -> bool {
        self.slots.write().unwrap_or_else(|p| p.into_inner()).remove(name).is_some()
    }

    /// Adds the node types of all plugins to a catalogue; what is there already keeps its place.
    pub fn add_to(&self, catalogue: &mut Catalogue) -> Vec<Diagnostic> {
        let mut problems = Vec::new();
        let Some(shared) = self.lab.shared.get() else { return problems };
        for slot in self.slots.read().unwrap_or_else(|p| p.into_inner()).values() {
            for of in &slot.current().types {
                let (shared, of_slot) = (shared.clone(), slot.clone());
                let node_type = of.description.node_type.clone();
                let build = move |cfg: &NodeConfig<'_>| node::build(&shared, &of_slot, &node_type, cfg);
                let known = Known { plugin: Some(slot.name.clone()), ..Known::new(of.spec, build) };
                if let Err(known) = catalogue.add(known) {
                    let (name, node_type) = (&slot.name, known.spec.node_type);
                    let message = format!("node type {node_type} of plugin {name} is a builtin one, which is used");
                    problems.push(Diagnostic::warning("plugin-type-taken", "describe()", message));
                }
            }
        }
        problems
    }

    /// Ends the quarantine of a plugin; `None` when there is no such plugin, else whether it was in quarantine.
    pub fn release(&self, name: &str) -> Option<bool> {
        Some(self.slots.read().unwrap_or_else(|p| p.into_inner()).get(name)?.release())
    }

    /// What a plugin says of its node types; nothing when it is not loaded.
    pub fn descriptions(&self, name: &str) -> Vec<crate::plugin::description::Description> {
        let slots = self.slots.read().unwrap_or_else(|p| p.into_inner());
        let version = slots.get(name).map(|slot| slot.current());
        version.iter().flat_map(|v| v.types.iter().map(|of| (&of.description).into())).collect()
    }

    /// What a node of a plugin keeps across runs, while it is deployed.
    pub fn node_state(&self, plugin: &str, node: &str) -> BTreeMap<String, Vec<u8>> {
        let slots = self.slots.read().unwrap_or_else(|p| p.into_inner());
        slots.get(plugin).map(|slot| slot.states(&node.into()).node.all()).unwrap_or_default()
    }

    /// Says which plugins are installed and not loaded, for [`report`](Self::report).
    pub fn set_unused(&self, manifests: Vec<Manifest>) {
        *self.unused.write().unwrap_or_else(|p| p.into_inner()) = manifests;
    }

    /// All plugins, by name, those that are not loaded included.
    pub fn report(&self) -> Vec<Report> {
        let mut all: Vec<Report> =
            self.slots.read().unwrap_or_else(|p| p.into_inner()).values().map(|slot| report(slot)).collect();
        let unused = self.unused.read().unwrap_or_else(|p| p.into_inner());
        let loaded: Vec<String> = all.iter().map(|r| r.name.clone()).collect();
        all.extend(unused.iter().filter(|m| !loaded.contains(&m.name)).map(described));
        all.sort_by(|a, b| a.name.cmp(&b.name));
        all
    }
}

fn sha256(bytes: &[u8]) -> String {
    format!("sha256:{}", hex::encode(Sha256::digest(bytes)))
}

/// What the manifest alone says.
fn described(manifest: &Manifest) -> Report {
    let node_type = |name: &String| TypeReport { node_type: name.clone(), ..TypeReport::default() };
    Report {
        name: manifest.name.clone(),
        version: manifest.version.clone(),
        contract: manifest.contract.clone(),
        license: manifest.license.clone(),
        description: manifest.description.clone(),
        digest: manifest.digest.clone().unwrap_or_default(),
        deterministic: manifest.deterministic,
        requests: manifest.capabilities.clone(),
        node_types: manifest.nodes.iter().map(node_type).collect(),
        ..Report::default()
    }
}

fn report(slot: &Slot) -> Report {
    let version = slot.current();
    let granted = &version.facts.granted;
    let (last_stops, last_refusals) = slot.record.noted();
    let mut idle_instances = 0;
    slot.each_pool(|pool| idle_instances += pool.len());
    Report {
        digest: version.facts.digest.to_string(),
        loaded_at: Some(version.loaded_at),
        granted: granted.names.iter().cloned().collect(),
        hosts: granted.hosts.clone(),
        secrets: granted.secrets.iter().cloned().collect(),
        folders: granted.folders.iter().map(|f| f.display().to_string()).collect(),
        node_types: version.types.iter().map(|of| type_report(slot, of)).collect(),
        stops: slot.record.stops().into_iter().map(|(kind, n): (Kind, u64)| (kind.as_str(), n)).collect(),
        refusals: slot.record.refusals(),
        last_stops,
        last_refusals,
        quarantine: (slot.quarantines().into_iter())
            .map(|(node_type, until, last)| QuarantineReport { node_type, until, last })
            .collect(),
        idle_instances,
        ..described(&version.manifest)
    }
}

fn type_report(slot: &Slot, of: &spec::TypeOf) -> TypeReport {
    let calls = slot.record.calls(&of.description.node_type);
    let count = calls.calls.load(Ordering::Relaxed);
    let us = |ns: u64| ns as f64 / 1_000.0;
    TypeReport {
        node_type: of.description.node_type.clone(),
        summary: of.description.summary.clone(),
        calls: count,
        failed: calls.failed.load(Ordering::Relaxed),
        instances: calls.instances.load(Ordering::Relaxed),
        mean_us: us(calls.nanoseconds.load(Ordering::Relaxed)) / (count.max(1) as f64),
        max_us: us(calls.nanoseconds_max.load(Ordering::Relaxed)),
        memory_bytes: calls.memory_bytes.load(Ordering::Relaxed),
    }
}
