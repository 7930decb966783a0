//! Tasks: a JavaScript module's `main(config)`, run once in the sandbox with the hosts it may call.

use std::sync::Arc;

use serde_json::Value as Json;

use super::Functions;
use crate::model::call::Export;
use crate::model::{Msg, Value};
use crate::plugin::bindings::probity::plugin::types::{Message, Property, Value as Crossing};
use crate::plugin::granted::Granted;
use crate::plugin::host::{Call, Facts, NodeFacts};
use crate::plugin::instance::{Fault, Instance};
use crate::plugin::limits::CallLimits;
use crate::runtime::Deployed;

/// The module around the script.
const AROUND: &str = include_str!("task.js");

/// A script to be run.
#[derive(Clone, Debug)]
pub struct Task {
    /// Names the script in messages: its file or address.
    pub name: String,
    /// The text of a CommonJS module that exports `main(config)`. It may `require` axios and node-fetch, which call the
    /// hosts below, and nothing else.
    pub source: String,
    /// What `main` is given.
    pub config: Json,
    /// Hosts it may call, as grants write them: `host`, `host:port`, `*.domain`, an address.
    pub hosts: Vec<String>,
    /// Computing time, milliseconds.
    pub compute_ms_max: u64,
    /// Time with its requests, milliseconds.
    pub run_ms_max: u64,
}

/// What came of it.
#[derive(Clone, Debug, PartialEq)]
pub struct Done {
    /// What `main` gave; null for undefined. The error names line and column of the script.
    pub result: Result<Json, String>,
    /// What it logged, in order.
    pub log: Vec<(tracing::Level, String)>,
}

impl Functions {
    /// Runs a task to its end. Of `deployed` only clock and services are used.
    pub async fn run_task(&self, task: Task, deployed: Arc<Deployed>) -> Done {
        let mut log = Vec::new();
        let result = self.task(task, deployed, &mut log).await;
        Done { result, log }
    }

    async fn task(
        &self,
        task: Task,
        deployed: Arc<Deployed>,
        log: &mut Vec<(tracing::Level, String)>,
    ) -> Result<Json, String> {
        let told = |problems: Vec<crate::model::Diagnostic>| {
            problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
        };
        let code = self.code().map_err(told)?;
        let shared = self.lab.shared().map_err(|p| p.to_string())?.clone();
        let net = self.net.granting(&task.hosts).map_err(told)?;
        let names = ["clock", "random", "http"].map(String::from).into();
        let source = serde_json::json!({ "source": task.source });
        let facts = Facts {
            name: task.name.as_str().into(),
            version: arcstr::literal!("1"),
            digest: Default::default(),
            granted: Granted { names, hosts: task.hosts, ..Granted::default() },
            net: Arc::new(net),
            limits: CallLimits {
                compute_ms_max: task.compute_ms_max.max(1),
                call_ms_max: task.run_ms_max.max(1),
                memory_bytes_max: self.limits.memory_bytes_max.min(shared.sandbox.limits.max.memory_bytes_max),
                output_bytes_max: self.limits.output_bytes_max,
                state_bytes_max: 0,
            },
            all: shared.sandbox.limits.clone(),
            surroundings: shared.sandbox.surroundings.clone(),
            script: Some(("task.js".into(), AROUND.replace("__TASK__", &source.to_string()))),
            interpreter: None,
            contract: String::new(),
            patience: 1,
            grace_ticks: 0,
        };
        let node =
            NodeFacts { id: Default::default(), config: "{}".into(), secrets: Vec::new(), state: Arc::default() };
        let place = shared.place().await;
        let fault = |fault: Fault| match fault {
            Fault::Failed(failure) => at_script(&failure.message, &task.name),
            Fault::Stopped { message, .. } => message.lines().next().unwrap_or_default().to_string(),
        };
        let instance = Instance::new(&shared.sandbox, &code, Arc::new(facts), Arc::new(node), place).await;
        let mut instance = instance.map_err(fault)?;
        let config = Property { name: "config".into(), value: Crossing::Json(task.config.to_string()) };
        let input = Message { run: String::new(), caller: true, properties: vec![config] };
        let clock = deployed.services.clock.clone();
        let call = Box::new(Call::new(Msg::new(), deployed, 0, Arc::default()));
        let (call, result) = instance.handle(Export::Process, "task", &input, call, &clock).await;
        *log = call.given.log;
        result.map_err(fault)?;
        let value = call.given.emissions.into_iter().flat_map(|e| e.set).find(|(name, _)| name == "value");
        let value = value.map(|(_, value)| value).unwrap_or(Value::Null);
        serde_json::from_str(&value.to_json()).map_err(|e| e.to_string())
    }
}

/// Places in the script under its own name and lines: it is evaluated with a line before it.
fn at_script(message: &str, name: &str) -> String {
    let mut out = String::new();
    let mut rest = message;
    for mark in ["<evalScript>:", "<input>:"] {
        while let Some(at) = rest.find(mark) {
            let digits = &rest[at + mark.len()..];
            let end = digits.find(|c: char| !c.is_ascii_digit()).unwrap_or(digits.len());
            let line = digits[..end].parse::<u32>().unwrap_or(1).saturating_sub(1).max(1);
            out.push_str(&format!("{}{name}:{line}", &rest[..at]));
            rest = &digits[end..];
        }
    }
    out + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_those_of_the_script() {
        let told = at_script("TypeError: no (<evalScript>:4:12)", "evaluate.js");
        assert_eq!(told, "TypeError: no (evaluate.js:3:12)");
        assert_eq!(at_script("Error: no", "evaluate.js"), "Error: no");
    }
}
