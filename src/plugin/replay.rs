//! Recorded calls made again: the same code in the same sandbox, with a host that answers from the record alone.
//!
//! A replay shows that record and plugin belong together: what the guest asked for, what it emitted and how it ended are
//! the same, byte for byte. It cannot show that the answers in the record are those the world gave.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;

use super::bindings::probity::plugin::types::Message;
use super::granted::Granted;
use super::host::tape::Replaying;
use super::host::told::Told;
use super::host::{Facts, NodeFacts};
use super::instance::Instance;
use super::limits::{CallLimits, Limits};
use super::package::sha256;
use super::plugins::Package;
use super::recording::outcome;
use super::sandbox::{self, Code, Options, Sandbox};
use crate::model::Diagnostic;
use crate::model::call::{CallRecord, Outcome};
use crate::net::Net;
use crate::runtime::NodeError;

/// Makes recorded calls again.
pub struct Replayer {
    sandbox: Arc<Sandbox>,
    net: Arc<Net>,
    codes: HashMap<String, Code>,
}

/// How often longer than its computing time a replayed call may take by the clock; its fuel ends it before.
const PATIENCE: u64 = 1_000;

impl Replayer {
    /// `net` is asked nothing: it is what no host can be reached through.
    pub fn new(limits: Limits, cache_dirs: Vec<PathBuf>, net: &Net) -> Result<Replayer, Vec<Diagnostic>> {
        let options = Options {
            // One call after the other.
            limits: Limits { instances_max: 1, ..limits },
            cache_dirs,
            evaluate_typed: |_, _, _, _| Err(NodeError::new("a replay evaluates nothing")),
            read_secret: Arc::new(|_| None),
        };
        let sandbox = Sandbox::new(&options).map_err(|e| vec![sandbox::not_set_up(e)])?;
        Ok(Replayer { sandbox, net: Arc::new(net.granting(&[])?), codes: HashMap::new() })
    }

    /// Makes a call again. `Ok(None)`: everything is as recorded; `Ok(Some(…))`: the first thing that is not. The error
    /// says why it cannot be replayed.
    pub async fn replay(&mut self, package: &Package, record: &CallRecord) -> Result<Option<String>, String> {
        if let Some(why) = &record.cut {
            return Err(format!("the record is not whole: {why}"));
        }
        fits(package, record)?;
        let input = Message::read(&record.input).ok_or("the record's input cannot be read")?;
        let code = self.code(package)?;
        let node = NodeFacts {
            id: record.node.clone(),
            config: record.config.clone(),
            secrets: Vec::new(),
            state: Arc::default(),
        };
        let place = self.sandbox.places.clone().acquire_owned().await.expect("never closed");
        let facts = Arc::new(self.facts(package, record));
        let mut instance = match Instance::new(&self.sandbox, &code, facts, Arc::new(node), place).await {
            Ok(instance) => instance,
            Err(fault) => return Ok(Some(format!("it does not start: {}", said(&outcome(&Err(fault)))))),
        };
        let tape = Replaying::new(record.calls.clone());
        let (tape, result, fuel) = instance.replay(record.export, &record.node_type, &input, tape).await;
        let now = outcome(&result);
        let left = tape.left().map(|call| {
            let number = tape.done() + 1;
            format!("host call {number}: recorded {}, now the guest ended before it ({})", call.of, said(&now))
        });
        let ended =
            (now != record.outcome).then(|| format!("result: now {}, recorded {}", said(&now), said(&record.outcome)));
        // Another version of the engine may count otherwise.
        let counts = record.engine == env!("CARGO_PKG_VERSION");
        let burnt = (counts && fuel != record.fuel).then(|| format!("fuel: now {fuel}, recorded {}", record.fuel));
        let difference = tape.difference.or(left).or(ended).or(burnt);
        Ok(difference.map(|text| match record.masked {
            true => format!("{text} (credentials are masked in this record; a guest that looks into them differs)"),
            false => text,
        }))
    }

    fn code(&mut self, package: &Package) -> Result<Code, String> {
        let digest = sha256(&package.wasm);
        if let Some(code) = self.codes.get(&digest) {
            return Ok(code.clone());
        }
        let code = self.sandbox.code(&package.wasm, true).map_err(|d| d.to_string())?;
        self.codes.insert(digest, code.clone());
        Ok(code)
    }

    fn facts(&self, package: &Package, record: &CallRecord) -> Facts {
        let all = self.sandbox.limits.clone();
        Facts {
            name: record.plugin.clone(),
            version: record.version.clone(),
            digest: record.digest.clone(),
            granted: Granted::default(),
            net: self.net.clone(),
            limits: CallLimits {
                compute_ms_max: record.bounds.compute_ms_max,
                memory_bytes_max: record.bounds.memory_bytes_max,
                call_ms_max: record.bounds.compute_ms_max.saturating_mul(PATIENCE),
                ..all.max.clone()
            },
            all,
            surroundings: self.sandbox.surroundings.clone(),
            script: package.script.clone(),
            interpreter: record.interpreter.clone(),
            contract: record.contract.clone(),
            patience: PATIENCE,
            grace_ticks: 0,
        }
    }
}

/// Whether a package is the code that the record names.
fn fits(package: &Package, record: &CallRecord) -> Result<(), String> {
    let wasm = sha256(&package.wasm);
    let (digest, interpreter) = match &package.script {
        Some((_, text)) => (sha256(text.as_bytes()), Some(wasm)),
        None => (wasm, None),
    };
    let name = &record.plugin;
    if *record.digest != *digest {
        let (then, version) = (&record.digest, &record.version);
        return Err(format!(
            "plugin {name} is another one now: it was {version} with {then}, and is {} with {digest}",
            package.manifest.version
        ));
    }
    if record.interpreter.as_deref() != interpreter.as_deref() {
        let was = record.interpreter.as_deref().unwrap_or("none");
        let is = interpreter.as_deref().unwrap_or("none");
        return Err(format!("what runs the script {name} is another one now: it was {was}, and is {is}"));
    }
    Ok(())
}

fn said(outcome: &Outcome) -> String {
    match outcome {
        Outcome::Done => "done".into(),
        Outcome::Failed { message, code: Some(code) } => format!("failed: {message} ({code})"),
        Outcome::Failed { message, code: None } => format!("failed: {message}"),
        Outcome::Stopped { why, message } => format!("stopped ({why}): {message}"),
    }
}
