//! `exec`: runs a command of the machine, where the operator allows it.

mod process;

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::sync::mpsc;

use super::refused::unless_allowed;
use super::typed::msg_path;
use crate::model::node_spec::{NodeSpec, Property, PropertyKind};
use crate::model::{Diagnostic, Msg, Path, Value};
use crate::runtime::{Cx, Effect, Node, NodeConfig, NodeType, Status, Step};
use process::Signal;

static SPEC: NodeSpec = NodeSpec {
    node_type: "exec",
    category: "function",
    summary: "Runs a command: output, error output and exit code. Only where nodes.allow names it.",
    inputs: 1,
    outputs: Some(3),
    config_node: false,
    properties: &[
        Property::new("command", PropertyKind::Text, "The command."),
        Property::new("addpay", PropertyKind::Json, "What of msg is appended: a property, true (payload), or nothing."),
        Property::new("append", PropertyKind::Text, "What is appended to that."),
        Property::new("useSpawn", PropertyKind::Text, "true: output as it comes, without a shell; else at the end."),
        Property::new("timer", PropertyKind::Text, "Seconds until it is ended; none when empty."),
        Property::new("oldrc", PropertyKind::Boolean, "The third output as before version 0.17."),
        Property::new("winHide", PropertyKind::Boolean, "Of Windows; kept, not used."),
    ],
    capabilities: &[],
};

pub const TYPE: NodeType = NodeType { spec: &SPEC, build };

/// Processes of a node that are running, by their ids, and how to end them.
type Running = Arc<Mutex<BTreeMap<u32, mpsc::UnboundedSender<Signal>>>>;

struct Exec {
    command: String,
    add: Option<Path>,
    append: String,
    spawn: bool,
    timer: Option<Duration>,
    old_codes: bool,
    running: Running,
}

fn build(config: &NodeConfig<'_>) -> Result<Arc<dyn Node>, Vec<Diagnostic>> {
    if let Some(refused) = unless_allowed(config, "they run commands with the rights of this server") {
        return Ok(refused);
    }
    let add = match config.get("addpay") {
        Value::Undefined | Value::Bool(true) => Some("payload".into()),
        Value::String(property) if !property.is_empty() => Some(property.clone()),
        _ => None,
    };
    let add = add.map(|property| msg_path(config, "addpay", &property)).transpose().map_err(|problem| vec![problem])?;
    let timer = config.number("timer").filter(|seconds| *seconds > 0.0);
    Ok(Arc::new(Exec {
        command: config.text("command").trim().to_string(),
        add,
        append: config.text("append").trim().to_string(),
        spawn: config.text("useSpawn") == "true",
        timer: timer.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok()),
        old_codes: config.flag("oldrc"),
        running: Running::default(),
    }))
}

impl Exec {
    fn line(&self, msg: &Msg) -> String {
        let mut line = self.command.clone();
        if let Some(value) = self.add.as_ref().map(|path| msg.get_path(path)).filter(|value| !value.is_undefined()) {
            line.push(' ');
            line.push_str(&value.to_js_string());
        }
        if !self.append.is_empty() {
            line.push(' ');
            line.push_str(&self.append);
        }
        line
    }

    /// Ends the process `msg.pid` names, or the only one there is.
    fn kill(&self, msg: &Msg, cx: &mut Cx<'_>) {
        let wanted = msg.get("kill").and_then(Value::as_str).unwrap_or_default().to_uppercase();
        let signal = if wanted.starts_with("SIG") { Signal(wanted) } else { Signal("SIGTERM".into()) };
        let running = self.running.lock().unwrap_or_else(|p| p.into_inner());
        let found = match msg.get("pid") {
            Some(pid) => running.get(&(pid.to_number() as u32)),
            None if running.len() == 1 => running.values().next(),
            None => None,
        };
        let sent = found.is_some_and(|process| process.send(signal).is_ok());
        drop(running);
        if sent {
            cx.status(shown("red", "killed"));
        }
    }
}

fn shown(fill: &'static str, text: impl Into<arcstr::ArcStr>) -> Status {
    Status { fill: Some(fill.into()), shape: Some("dot".into()), text: text.into() }
}

impl Node for Exec {
    fn effect(&self) -> Effect {
        Effect::Once
    }

    fn on_msg(&self, msg: Msg, cx: &mut Cx<'_>) -> Step {
        if msg.get("kill").is_some() {
            self.kill(&msg, cx);
            return Step::Done;
        }
        let line = self.line(&msg);
        process::run(&line, self.spawn, self.timer, self.old_codes, self.running.clone(), msg, cx)
    }

    fn close(&self) -> Option<Pin<Box<dyn Future<Output = ()> + Send>>> {
        let running = std::mem::take(&mut *self.running.lock().unwrap_or_else(|p| p.into_inner()));
        for process in running.values() {
            // One that has just ended is ended.
            let _ = process.send(Signal("SIGTERM".into())).is_ok();
        }
        None
    }
}

#[cfg(test)]
mod tests;
