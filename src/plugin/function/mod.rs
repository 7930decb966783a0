//! Function nodes: their code in the sandbox of plugins, run by the JavaScript component.
//!
//! A node whose code keeps nothing between messages ([`keeping`]) has an instance for each worker; any other has one,
//! which its messages and timers go through in their order. What a message's code does after its call is over (timers,
//! promises) reaches the message's run as long as that is open, and a run of its own after that.

mod calling;
mod checking;
mod keeping;
mod script;
mod task;

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};

use arcstr::ArcStr;
use bytes::Bytes;
use serde::Serialize;

use checking::{Checked, Key, check, check_one};

pub use calling::{Back, Handled, LinkCall, More};
pub(super) use script::Idle;
pub use script::Script;
pub use task::{Done, Task};

use super::granted::Granted;
use super::host::{Facts, NodeFacts};
use super::limits::CallLimits;
use super::plugins::Lab;
use super::sandbox::Code;
use crate::model::Diagnostic;
use crate::net::Net;

/// The file name by which the component knows that it is given a function node.
const FILE: &str = "probity:function";

/// Ticks a call may take beyond its time, to say where it was.
const GRACE_TICKS: u64 = 4;

/// Gives the JavaScript component; the problems say why it cannot be had.
pub type ReadComponent = Box<dyn Fn() -> Result<Bytes, Vec<Diagnostic>> + Send + Sync>;

/// What function nodes may use.
#[derive(Clone, Debug, PartialEq)]
pub struct Limits {
    /// Computing time of one call where the node says nothing, milliseconds.
    pub compute_ms_default: u64,
    /// The most that a node's `timeout` may ask for, milliseconds.
    pub compute_ms_max: u64,
    /// Memory of one instance, bytes.
    pub memory_bytes_max: u64,
    /// What one call may send, bytes.
    pub output_bytes_max: u64,
    /// Folder of modules that nodes may name in `libs`; none when empty.
    pub modules: PathBuf,
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            compute_ms_default: 2_000,
            compute_ms_max: 10_000,
            memory_bytes_max: 64 << 20,
            output_bytes_max: 8 << 20,
            modules: PathBuf::new(),
        }
    }
}

/// Makes function nodes. One per process.
pub struct Functions {
    lab: Arc<Lab>,
    net: Arc<Net>,
    limits: Limits,
    read: ReadComponent,
    code: Mutex<Option<Arc<Code>>>,
    checked: Checked,
}

/// A node's code and what it knows of its node.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Setup {
    pub id: ArcStr,
    pub name: ArcStr,
    /// As `node.path`.
    pub path: String,
    pub outputs: u32,
    pub func: String,
    pub initialize: String,
    pub finalize: String,
    pub libs: Vec<Lib>,
    /// Computing time of one call, milliseconds, within the limits; 0: what they say where a node says nothing.
    pub limit: u64,
}

/// A module under the name that the code knows it by.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Lib {
    pub name: String,
    pub module: String,
    /// Filled in from the folder of modules.
    pub source: String,
}

/// What is wrong with a node's code.
#[derive(Clone, Debug, PartialEq)]
pub struct Fault {
    /// The node's property: `func`, `initialize`, `finalize`, `libs`.
    pub property: &'static str,
    pub message: String,
    /// Line and column within the property's text, from 1.
    pub at: Option<(u32, u32)>,
    /// What to do about it.
    pub hint: Option<String>,
}

impl Functions {
    pub(super) fn new(lab: Arc<Lab>, net: Arc<Net>, limits: Limits, read: ReadComponent) -> Functions {
        Functions { lab, net, limits, read, code: Mutex::new(None), checked: Checked::default() }
    }

    /// Reads and compiles the component, if that was not done; the first time after a build it takes seconds.
    pub fn prepare(&self) -> Result<(), Vec<Diagnostic>> {
        self.code().map(drop)
    }

    fn code(&self) -> Result<Arc<Code>, Vec<Diagnostic>> {
        let mut kept = lock(&self.code);
        if let Some(code) = kept.as_ref() {
            return Ok(code.clone());
        }
        let wasm = (self.read)()?;
        let shared = self.lab.shared().map_err(|p| vec![p])?;
        let code = Arc::new(shared.sandbox.code(&wasm, false).map_err(|p| vec![p])?);
        *kept = Some(code.clone());
        Ok(code)
    }

    /// Makes a node's script and checks its code. Compiles nothing but JavaScript once [`prepare`](Self::prepare) was
    /// called.
    pub fn script(&self, setup: Setup, link_call: LinkCall) -> Result<Arc<Script>, Vec<Fault>> {
        let setup = self.within_limits(setup)?;
        let key = Checked::key(&setup);
        if !self.checked.has(&key) {
            check_one(&*self.to_check(std::slice::from_ref(&setup), link_call)?).map_err(|fault| vec![fault])?;
            self.checked.add(key);
        }
        self.made(&setup, json(&setup), link_call)
    }

    /// Checks the code of many nodes at once, so that [`script`](Self::script) has nothing left to do for those whose code
    /// is good; the others it checks again, and tells.
    pub fn check(&self, setups: Vec<Setup>, link_call: LinkCall) {
        let mut seen = HashSet::new();
        let unknown: Vec<(Setup, Key)> = setups
            .into_iter()
            .filter_map(|setup| self.within_limits(setup).ok())
            .map(|setup| (Checked::key(&setup), setup))
            .filter(|(key, _)| !self.checked.has(key) && seen.insert(*key))
            .map(|(key, setup)| (setup, key))
            .collect();
        let (setups, keys): (Vec<_>, Vec<_>) = unknown.into_iter().unzip();
        let workers = self.lab.shared().map_or(1, |shared| shared.workers);
        let good = check(&setups, workers, |group| self.to_check(group, link_call).ok());
        for (key, good) in keys.into_iter().zip(good) {
            if good {
                self.checked.add(key);
            }
        }
    }

    /// A setup with its modules' sources and its time.
    fn within_limits(&self, mut setup: Setup) -> Result<Setup, Vec<Fault>> {
        self.read_libs(&mut setup)?;
        let asked = if setup.limit > 0 { setup.limit } else { self.limits.compute_ms_default };
        setup.limit = asked.clamp(1, self.limits.compute_ms_max.max(1));
        Ok(setup)
    }

    /// A script that can only be checked, of one node or several. The code is parsed, and none of it runs, but for the
    /// modules of a node: they say what they offer only when they run.
    fn to_check(&self, setups: &[Setup], link_call: LinkCall) -> Result<Arc<Script>, Vec<Fault>> {
        match setups {
            [setup] if !setup.libs.is_empty() => self.made(setup, json(setup), link_call),
            group => {
                let limit = group.iter().map(|setup| setup.limit).max().unwrap_or(self.limits.compute_ms_default);
                self.made(&Setup { limit, ..Setup::default() }, json(group), link_call)
            }
        }
    }

    fn made(&self, setup: &Setup, source: String, link_call: LinkCall) -> Result<Arc<Script>, Vec<Fault>> {
        let broken = |problems: Vec<Diagnostic>| {
            let messages: Vec<String> = problems.iter().map(ToString::to_string).collect();
            vec![Fault { property: "func", message: messages.join("; "), at: None, hint: None }]
        };
        let code = self.code().map_err(broken)?;
        let shared = self.lab.shared().map_err(|p| broken(vec![p]))?.clone();
        let facts = self.facts(setup.limit, source, &shared.sandbox.limits, shared.sandbox.surroundings.clone());
        let node = NodeFacts { id: setup.id.clone(), config: "{}".into(), secrets: Vec::new(), state: Arc::default() };
        let ordered = keeping::keeps(&setup.func, &setup.initialize, &setup.finalize);
        let starts = !setup.initialize.trim().is_empty();
        Ok(Script::new(shared, code, Arc::new(facts), Arc::new(node), link_call, (ordered, starts)))
    }

    fn facts(
        &self,
        limit: u64,
        source: String,
        all: &super::limits::Limits,
        surroundings: super::host::Surroundings,
    ) -> Facts {
        let names = ["clock", "random", "context"].map(String::from).into();
        Facts {
            name: arcstr::literal!("function"),
            version: arcstr::literal!("1"),
            digest: ArcStr::new(),
            granted: Granted { names, ..Granted::default() },
            net: Arc::default(),
            limits: CallLimits {
                compute_ms_max: limit,
                // A call waits for nothing; what it computes ends it.
                call_ms_max: limit.saturating_mul(100).max(60_000),
                memory_bytes_max: self.limits.memory_bytes_max.min(all.max.memory_bytes_max),
                output_bytes_max: self.limits.output_bytes_max,
                state_bytes_max: 0,
            },
            all: all.clone(),
            surroundings,
            script: Some((FILE.into(), source)),
            interpreter: None,
            contract: String::new(),
            patience: 1,
            grace_ticks: GRACE_TICKS,
        }
    }

    /// Puts in the modules' sources; what is not in the operator's folder is refused.
    fn read_libs(&self, setup: &mut Setup) -> Result<(), Vec<Fault>> {
        let mut faults = Vec::new();
        for lib in &mut setup.libs {
            match self.module(&lib.module) {
                Ok(source) => lib.source = source,
                Err((message, hint)) => {
                    faults.push(Fault { property: "libs", message, at: None, hint: Some(hint) });
                }
            }
        }
        if faults.is_empty() { Ok(()) } else { Err(faults) }
    }

    fn module(&self, spec: &str) -> Result<String, (String, String)> {
        let name = module_name(spec);
        let folder = &self.limits.modules;
        let there = modules(folder);
        if !there.iter().any(|known| known == name) {
            let list = if there.is_empty() { "none".to_string() } else { there.join(", ") };
            let message = format!(
                "the module \"{name}\" is not one that function nodes may use here; allowed are: {list}. Node.js's own \
                 modules (fs, os, crypto, …) do not exist in the sandbox"
            );
            let place = match folder.as_os_str().is_empty() {
                true => "name a folder as functions.modules in the configuration and put it there".to_string(),
                false => format!("put it into {}", folder.display()),
            };
            let hint = format!(
                "to allow it, bundle it into one CommonJS file {name}.js (npx esbuild --bundle --format=cjs) and {place}"
            );
            return Err((message, hint));
        }
        let path = folder.join(format!("{name}.js"));
        std::fs::read_to_string(&path).map_err(|e| {
            let message = format!("the module \"{name}\" cannot be read from {}: {e}", path.display());
            (message, "make the file readable text".to_string())
        })
    }
}

fn json(of: &(impl Serialize + ?Sized)) -> String {
    // Texts and numbers: cannot fail.
    serde_json::to_string(of).unwrap_or_default()
}

/// The name in `name@version`, `@scope/name@version`.
fn module_name(spec: &str) -> &str {
    match spec.get(1..).and_then(|rest| rest.find('@')) {
        Some(at) => &spec[..=at],
        None => spec,
    }
}

/// The modules in the operator's folder, by name: `moment`, `@scope/name`.
pub fn modules(folder: &Path) -> Vec<String> {
    if folder.as_os_str().is_empty() {
        return Vec::new();
    }
    let mut names = Vec::new();
    let mut add = |folder: &Path, prefix: &str| {
        for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
            let file = entry.file_name().to_string_lossy().into_owned();
            if let Some(name) = file.strip_suffix(".js") {
                names.push(format!("{prefix}{name}"));
            }
        }
    };
    add(folder, "");
    let scopes: Vec<_> = std::fs::read_dir(folder).into_iter().flatten().flatten().map(|e| e.path()).collect();
    for scope in scopes {
        let name = scope.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
        if name.starts_with('@') && scope.is_dir() {
            add(&scope, &format!("{name}/"));
        }
    }
    names.sort();
    names
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(|p| p.into_inner())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_module_is_named_without_its_version() {
        assert_eq!(module_name("moment"), "moment");
        assert_eq!(module_name("lodash@4.17.21"), "lodash");
        assert_eq!(module_name("@turf/turf@6"), "@turf/turf");
        assert_eq!(module_name("@turf/turf"), "@turf/turf");
    }

    #[test]
    fn only_the_modules_of_the_folder_are_there() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("@a")).unwrap();
        for file in ["moment.js", "notes.txt", "@a/b.js"] {
            std::fs::write(folder.path().join(file), "").unwrap();
        }
        assert_eq!(modules(folder.path()), ["@a/b", "moment"]);
        assert!(modules(Path::new("")).is_empty());
    }
}
