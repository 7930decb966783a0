//! What a guest is given: the implementation of the contract's imports, each checked against what was granted.

mod ambient;
pub(super) mod function;
mod keep;
mod node;
mod outside;
pub(super) mod tape;
pub(super) mod told;

use std::sync::Arc;

use arcstr::ArcStr;
use wasmtime::ResourceLimiter;

pub(super) use keep::Kept;
pub(super) use outside::Secrets;
pub(super) use tape::{HasTaped, Tape, Taped};

use super::bindings::probity::plugin::types::{Failure, Host as TypesHost};
use super::granted::Granted;
use super::limits::{CallLimits, Limits};
use super::recording::Recorded;
use super::wire::Sent;
use crate::model::flow::NodeIndex;
use crate::model::run::Attached;
use crate::model::{Msg, Value};
use crate::net::Net;
use crate::runtime::{Deployed, NodeError, Place, Status};

/// Evaluates one of Node-RED's typed inputs, given by the application: kind, text, message, place.
pub type EvaluateTyped = fn(&str, &str, &Msg, Place<'_>) -> Result<Value, NodeError>;

/// Gives a secret by its name.
pub type ReadSecret = Arc<dyn Fn(&str) -> Option<String> + Send + Sync>;

/// What the host functions of every plugin share.
#[derive(Clone)]
pub struct Surroundings {
    pub evaluate_typed: EvaluateTyped,
    pub read_secret: ReadSecret,
}

/// One plugin as its host functions see it.
pub(super) struct Facts {
    pub(super) name: ArcStr,
    pub(super) version: ArcStr,
    /// `sha256:<hex>` of its code.
    pub(super) digest: ArcStr,
    pub(super) granted: Granted,
    /// Calls only the hosts granted.
    pub(super) net: Arc<Net>,
    pub(super) limits: CallLimits,
    pub(super) all: Limits,
    pub(super) surroundings: Surroundings,
    /// File name and text, for plugins that are source.
    pub(super) script: Option<(String, String)>,
    /// `sha256:<hex>` of the component that runs the script, if it is one.
    pub(super) interpreter: Option<ArcStr>,
    /// MAJOR.MINOR of the contract its manifest names.
    pub(super) contract: String,
    /// How many times its computing time a call may take by the clock. Where fuel is counted it is fuel that shall end
    /// a call, on a busy machine, too: then it ends alike everywhere.
    pub(super) patience: u64,
    /// Of a function node: ticks a call may still take once it was told that its time is over.
    pub(super) grace_ticks: u64,
}

/// A node of a flow as the guest that runs it sees it.
pub(super) struct NodeFacts {
    pub(super) id: ArcStr,
    /// Its properties as JSON, defaults filled in.
    pub(super) config: String,
    /// Secrets that its configuration names as `secret:NAME`.
    pub(super) secrets: Vec<String>,
    pub(super) state: Arc<Kept>,
}

/// One message being handled.
pub(super) struct Call {
    pub(super) msg: Msg,
    /// As it crossed.
    pub(super) crossed: Sent,
    pub(super) deployed: Arc<Deployed>,
    pub(super) index: NodeIndex,
    /// `state` of the run.
    pub(super) run_state: Arc<Kept>,
    pub(super) given: Given,
    /// Of a deterministic plugin, once the call is over.
    pub(super) record: Option<Recorded>,
    /// Of a function node's call.
    pub(super) function: Option<Box<function::Doing>>,
    /// What its HTTP calls tell their receivers in a durable run ([`crate::runtime::Cx::idempotency_key`]).
    pub(super) idempotency_key: Option<String>,
    /// HTTP calls made so far.
    sent: u32,
    secrets: Secrets,
    host_calls: u32,
}

/// What a guest gave during a call.
#[derive(Default)]
pub(super) struct Given {
    pub(super) emissions: Vec<Emission>,
    pub(super) bytes: u64,
    pub(super) status: Option<Status>,
    pub(super) log: Vec<(tracing::Level, String)>,
    pub(super) log_cut: u32,
    pub(super) evidence: Vec<Attached>,
    /// Things asked for that were not granted, for the plugin's page.
    pub(super) refused: Vec<String>,
}

/// A message on its way out.
pub(super) struct Emission {
    pub(super) port: usize,
    pub(super) keep: bool,
    pub(super) set: Vec<(String, Value)>,
    pub(super) delete: Vec<String>,
}

impl Call {
    pub(super) fn new(msg: Msg, deployed: Arc<Deployed>, index: NodeIndex, run_state: Arc<Kept>) -> Call {
        let (given, record, secrets) = (Given::default(), None, Secrets::default());
        let (idempotency_key, sent) = (None, 0);
        Call {
            msg,
            crossed: Sent::default(),
            deployed,
            index,
            run_state,
            given,
            record,
            function: None,
            idempotency_key,
            sent,
            secrets,
            host_calls: 0,
        }
    }

    /// The key of its next HTTP call, in a durable run.
    fn next_key(&mut self) -> Option<String> {
        let key = self.idempotency_key.as_ref()?;
        self.sent += 1;
        Some(format!("{key}/{}", self.sent))
    }

    pub(super) fn place(&self) -> Place<'_> {
        self.deployed.place(self.index)
    }
}

/// The data of an instance's store.
pub(super) struct Host {
    pub(super) facts: Arc<Facts>,
    pub(super) node: Arc<NodeFacts>,
    /// `None` while the guest describes itself.
    pub(super) call: Option<Box<Call>>,
    pub(super) memory: Memory,
    /// While a call of a deterministic plugin is recorded or replayed.
    pub(super) tape: Option<Box<Tape>>,
    /// The last error it logged in this call, or while it started or described itself.
    pub(super) said: Option<String>,
    /// Ticks of computing left.
    pub(super) ticks: u64,
    pub(super) wasi: super::wasi::Wasi,
    /// Of a function node's instance: values that its code knows by a stand-in.
    pub(super) handed: function::Handed,
}

/// Holds an instance's memory and tables to their limits and knows how large they are.
pub(super) struct Memory {
    pub(super) bytes: usize,
    bytes_max: usize,
    table_elements_max: usize,
    /// A growth was refused: a trap that follows is told by this.
    pub(super) refused: bool,
}

impl Memory {
    pub(super) fn new(facts: &Facts) -> Memory {
        Memory {
            bytes: 0,
            bytes_max: usize::try_from(facts.limits.memory_bytes_max).unwrap_or(usize::MAX),
            table_elements_max: facts.all.table_elements_max,
            refused: false,
        }
    }
}

impl ResourceLimiter for Memory {
    fn memory_growing(&mut self, current: usize, desired: usize, _max: Option<usize>) -> wasmtime::Result<bool> {
        let total = self.bytes - current.min(self.bytes) + desired;
        if total > self.bytes_max {
            self.refused = true;
            return Ok(false);
        }
        self.bytes = total;
        Ok(true)
    }

    fn table_growing(&mut self, _current: usize, desired: usize, _max: Option<usize>) -> wasmtime::Result<bool> {
        Ok(desired <= self.table_elements_max)
    }
}

impl TypesHost for Host {}

/// A failure for the guest.
fn failure(message: impl Into<String>, code: &str) -> Failure {
    Failure { message: message.into(), code: Some(code.to_string()) }
}

/// Code of a refusal.
const REFUSED: &str = "EPERM";
/// Code of a limit.
const OVER: &str = "ELIMIT";

impl Host {
    /// The call under way; an error that ends the guest when there is none or it asks too often.
    fn call(&mut self) -> wasmtime::Result<&mut Call> {
        let max = self.facts.all.host_calls_max;
        let Some(call) = self.call.as_deref_mut() else {
            return Err(wasmtime::format_err!("called the engine while describing itself, where nothing is granted"));
        };
        call.host_calls += 1;
        if call.host_calls > max {
            return Err(wasmtime::format_err!("called the engine more than {max} times (plugins.host_calls_max)"));
        }
        Ok(call)
    }

    /// Says whether `capability` was granted; a refusal is noted and names the line that would allow it.
    fn granted(&mut self, capability: &str) -> Result<(), Failure> {
        if self.facts.granted.allows(capability) {
            return Ok(());
        }
        Err(self.refuse(format!("{capability} is not granted"), capability))
    }

    /// Notes a refusal. `line` is what follows `probity plugin grant NAME`.
    fn refuse(&mut self, what: String, line: &str) -> Failure {
        let name = &self.facts.name;
        let text = format!("plugin {name}: {what}. To allow it: probity plugin grant {name} {line}");
        if let Some(call) = self.call.as_deref_mut().filter(|c| c.given.refused.len() < 16) {
            call.given.refused.push(text.clone());
        }
        failure(text, REFUSED)
    }

    /// Ends the guest for a capability whose function has no way to say no.
    fn granted_or_trap(&mut self, capability: &str) -> wasmtime::Result<()> {
        // While a function node's code is compiled there is no call yet.
        if self.call.is_some() || self.facts.grace_ticks == 0 {
            self.call()?;
        }
        self.granted(capability).map_err(|f| wasmtime::format_err!("{}", f.message))
    }
}
