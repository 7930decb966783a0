//! `function`: JavaScript that handles messages, in the sandbox of plugins; `docs/functions.md` says what it finds there.

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex};

use crate::model::node_spec::{NodeSpec, Property, PropertyKind};
use crate::model::{Diagnostic, Msg, Object};
use crate::plugin::function::{Fault, Functions, Handled, Lib, Script, Setup};
use crate::runtime::catalogue::{Built, Known};
use crate::runtime::{Cx, Node, NodeConfig, Source, Step, Then};

/// Its name in flows.
pub const NODE_TYPE: &str = "function";

static SPEC: NodeSpec = NodeSpec {
    node_type: NODE_TYPE,
    category: "function",
    summary: "Handles messages with JavaScript, in a sandbox.",
    inputs: 1,
    outputs: None,
    config_node: false,
    properties: &[
        Property::new("func", PropertyKind::Text, "The body of a function of msg and node."),
        Property::new("outputs", PropertyKind::Number, "How many outputs it has; 1 when absent."),
        Property::new("timeout", PropertyKind::Number, "Seconds a call may compute; 0: functions.compute_ms_default."),
        Property::new("initialize", PropertyKind::Text, "Runs when the node starts; messages wait until it is done."),
        Property::new("finalize", PropertyKind::Text, "Runs when the node stops."),
        Property::new("libs", PropertyKind::Json, "Modules of the operator's folder: [{var, module}]."),
    ],
    capabilities: &[],
};

/// The type, for a catalogue: there is one where the JavaScript component is.
pub fn known(functions: &Arc<Functions>) -> Known {
    let functions = functions.clone();
    let ours = functions.clone();
    // Compiling takes most of a start with many functions, and all cores can do it.
    let prepare = move |nodes: &[NodeConfig<'_>]| {
        functions.check(nodes.iter().filter_map(|cfg| setup(cfg).ok()).collect(), super::link::call)
    };
    Known { prepare: Some(Arc::new(prepare)), ..Known::new(&SPEC, move |cfg| build(&ours, cfg)) }
}

struct Function {
    script: Arc<Script>,
    /// Set when the node starts: who acts for it once it stops.
    source: Mutex<Option<Source>>,
}

fn build(functions: &Functions, cfg: &NodeConfig<'_>) -> Built {
    let script = functions
        .script(setup(cfg)?, super::link::call)
        .map_err(|faults| faults.into_iter().map(|fault| problem(cfg, fault)).collect::<Vec<_>>())?;
    Ok(Arc::new(Function { script, source: Mutex::new(None) }))
}

fn setup(cfg: &NodeConfig<'_>) -> Result<Setup, Vec<Diagnostic>> {
    Ok(Setup {
        id: cfg.node.id.clone(),
        name: cfg.node.name.clone(),
        path: path(cfg),
        outputs: cfg.number("outputs").filter(|n| *n >= 0.0).unwrap_or(1.0) as u32,
        func: cfg.text("func").to_string(),
        initialize: cfg.text("initialize").to_string(),
        finalize: cfg.text("finalize").to_string(),
        libs: libs(cfg)?,
        limit: cfg.number("timeout").filter(|s| *s > 0.0).map_or(0, |s| ((s * 1_000.0) as u64).max(1)),
    })
}

/// Where the node stands, as Node-RED's `node.path`: tab, instances of subflows, node.
fn path(cfg: &NodeConfig<'_>) -> String {
    let tab = cfg.plan.flows.get(cfg.node.flow as usize).map(|f| f.id.as_str()).unwrap_or_default();
    let own = cfg.node.id.as_str();
    // A node of an instance is called `<instance>-<node>`.
    let mut parts = vec![own.to_string()];
    let mut inner = cfg.node.instance;
    while let Some(instance) = inner.and_then(|i| cfg.plan.nodes.get(i as usize)) {
        let last = parts.len() - 1;
        if let Some(rest) = parts[last].strip_prefix(&format!("{}-", instance.id)) {
            parts[last] = rest.to_string();
        }
        parts.push(instance.id.to_string());
        inner = instance.instance;
    }
    parts.push(tab.to_string());
    parts.reverse();
    parts.retain(|p| !p.is_empty());
    parts.join("/")
}

fn problem(cfg: &NodeConfig<'_>, fault: Fault) -> Diagnostic {
    let Fault { property, message, at, hint } = fault;
    let code = if property == "libs" { "function-module" } else { "function-code" };
    let mut problem = cfg.problem(code, property, message);
    if let Some((line, _)) = at {
        problem = problem.expected(format!("JavaScript; look at line {line} of the node's {property}"));
    }
    match hint {
        Some(hint) => problem.hint(hint),
        None => problem,
    }
}

/// Names the sandbox has already.
const TAKEN: [&str; 17] = [
    "msg",
    "node",
    "context",
    "flow",
    "global",
    "env",
    "RED",
    "Buffer",
    "URL",
    "URLSearchParams",
    "util",
    "promisify",
    "console",
    "Date",
    "setTimeout",
    "setInterval",
    "clearTimeout",
];

fn libs(cfg: &NodeConfig<'_>) -> Result<Vec<Lib>, Vec<Diagnostic>> {
    let mut problems = Vec::new();
    let mut libs = Vec::new();
    for (i, lib) in cfg.get("libs").as_array().unwrap_or_default().iter().enumerate() {
        let text = |key: &str| lib.get(key).as_str().map(|t| t.trim().to_string()).unwrap_or_default();
        let (name, module) = (text("var"), text("module"));
        if name.is_empty() || module.is_empty() {
            continue;
        }
        let first = |c: char| c.is_alphabetic() || c == '_' || c == '$';
        let fits = name.starts_with(first) && name.chars().all(|c| first(c) || c.is_ascii_digit());
        if !fits || TAKEN.contains(&name.as_str()) {
            let message = format!("\"{name}\" cannot be the name of a module");
            let problem = cfg.problem("function-module", &format!("libs[{i}].var"), message);
            problems.push(problem.expected("a name that the sandbox does not have yet"));
        }
        libs.push(Lib { name, module, source: String::new() });
    }
    if problems.is_empty() { Ok(libs) } else { Err(problems) }
}

impl Node for Function {
    /// Its code asks while its run waits for it.
    fn asks_contexts(&self, _config: &Object) -> bool {
        false
    }

    fn on_msg(&self, msg: Msg, cx: &mut Cx<'_>) -> Step {
        let script = self.script.clone();
        let handling = script.clone().message(msg.clone(), cx.deployed().clone(), cx.node_index());
        Step::wait(async move {
            let handled = handling.await;
            Box::new(move |cx: &mut Cx<'_>| settle(script, msg, handled, cx)) as Then
        })
    }

    fn start(&self, source: Source) -> Option<Pin<Box<dyn Future<Output = ()> + Send>>> {
        *self.source.lock().unwrap_or_else(|p| p.into_inner()) = Some(source.clone());
        let script = self.script.clone();
        Some(Box::pin(async move {
            if script.starts() {
                script.start(&source).await;
            }
            script.tidy(source.clock()).await;
        }))
    }

    fn close(&self) -> Option<Pin<Box<dyn Future<Output = ()> + Send>>> {
        let source = self.source.lock().unwrap_or_else(|p| p.into_inner()).take()?;
        if !self.script.is_ordered() {
            return None;
        }
        Some(Box::pin(self.script.clone().stop(source)))
    }
}

/// Does in the run what the code did; waits for the rest of it.
fn settle(script: Arc<Script>, msg: Msg, mut handled: Handled, cx: &mut Cx<'_>) -> Step {
    handled.act(&script, cx);
    if let Some(error) = handled.error {
        return Step::fail(msg, error);
    }
    let Some(more) = handled.more else { return Step::Done };
    Step::wait(async move {
        let handled = more.next().await;
        Box::new(move |cx: &mut Cx<'_>| settle(script, msg, handled, cx)) as Then
    })
}
