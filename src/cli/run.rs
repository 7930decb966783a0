//! `probity run`: one run of a flow; what it emits as JSON lines.

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use clap::Args;
use http::HeaderMap;
use serde_json::json;

use super::test::{find, message, start_of};
use super::{Settings, not_so, print, runtime, usage};
use crate::app::{self, Surroundings, read_flows};
use crate::clock::Clock;
use crate::model::run::{RunState, Trigger};
use crate::model::{Severity, Value};
use crate::runtime::opening::{Opening, Start};
use crate::runtime::{Deployed, Event, Request};

#[derive(Args)]
pub(super) struct RunArgs {
    /// Flow file
    flow: PathBuf,
    /// The message as JSON (`-` for standard input) [default: an empty message]
    #[arg(long, value_name = "MSG.json")]
    input: Option<PathBuf>,
    /// Id or name of the node to start at [default: the flow's only entry]
    #[arg(long, value_name = "NODE")]
    entry: Option<String>,
    #[command(flatten)]
    settings: Settings,
}

pub(super) fn run(args: &RunArgs) -> ExitCode {
    let config = match args.settings.load() {
        Ok(config) => config,
        Err(code) => return code,
    };
    super::log::start(&config, true);
    runtime().block_on(async {
        match run_once(args, &config).await {
            Ok(code) | Err(code) => code,
        }
    })
}

async fn run_once(args: &RunArgs, config: &crate::config::Config) -> Result<ExitCode, ExitCode> {
    let content = read_flows(&args.flow).and_then(app::usable).map_err(|e| usage(&format!("{e:#}")))?;
    let input = input(args)?;
    let store = crate::store::open("memory:", &Default::default()).await.map_err(|e| usage(&e.to_string()))?;
    let net = app::net(config).map_err(|e| usage(&format!("{e:#}")))?;
    let observer: crate::runtime::services::Observer = Arc::new(|run, event| print(&format!("{}\n", line(run, event))));
    let surroundings = Surroundings { clock: Clock::System, net, store: store.clone(), observer: Some(observer) };
    let plugins = app::plugins::start(config, &surroundings.net, &surroundings.clock, &content.loaded).await;
    let engine = app::engine(config, surroundings, &plugins);
    let agreements = app::load_agreements(config, &engine.services.net).await.map_err(|e| usage(&format!("{e:#}")))?;
    let evaluator = app::evaluator(config, &engine, &store, agreements, Default::default());
    app::name_plugins(&evaluator, &plugins);
    let deployed = engine.prepare(app::plan(&engine, &content.loaded));
    let problems = content.diagnostics.iter().chain(&deployed.plan.diagnostics).chain(&deployed.diagnostics);
    for problem in problems.filter(|d| d.severity == Severity::Error) {
        eprintln!("{problem}");
    }
    let node = match &args.entry {
        Some(wanted) => find(&deployed, wanted).ok_or_else(|| usage(&unknown_node(&deployed, wanted)))?,
        None => only_entry(&deployed).map_err(|e| usage(&e))?,
    };
    if let Some(stopped) = deployed.stopped(node) {
        return Err(not_so(format!("this flow does not run: {stopped}")));
    }
    let mut msg = message(&input);
    // An inject without a given message is pressed: it makes its own.
    let pressed = args.input.is_none() && deployed.plan.nodes[node as usize].node_type == "inject";
    let start = if pressed { Start::Deliver } else { start_of(&deployed, node) };
    if start == Start::Emit(0) && msg.get("req").is_none() {
        let body = msg.payload().clone();
        msg.set("req", Value::handle(Request::new("POST", "/", HeaderMap::new(), Vec::new(), body, "127.0.0.1")));
    }
    let (reply_to, reply) = crate::runtime::ReplyTo::new();
    msg.set("res", Value::handle(crate::runtime::ReplyHandle(Arc::new(reply_to))));
    let opening = Opening { node, start, msg, trigger: Trigger::Manual { by: "cli".into() }, reply: None };
    let (_, future) = deployed.open(opening).map_err(not_so)?;
    let ended = future.await;
    drop(reply);
    match ended.state {
        RunState::Done => Ok(ExitCode::SUCCESS),
        _ => Err(not_so(ended.error.as_ref().map_or("the run failed", |e| e.message.as_str()))),
    }
}

fn input(args: &RunArgs) -> Result<serde_json::Value, ExitCode> {
    let Some(path) = &args.input else { return Ok(json!({})) };
    let text =
        if path.as_os_str() == "-" { std::io::read_to_string(std::io::stdin()) } else { std::fs::read_to_string(path) };
    let text = text.map_err(|e| usage(&format!("cannot read {}: {e}", path.display())))?;
    serde_json::from_str(&text).map_err(|e| usage(&format!("{}: not JSON: {e}", path.display())))
}

fn only_entry(deployed: &Deployed) -> Result<u32, String> {
    let entries: Vec<u32> = (0..deployed.plan.nodes.len() as u32).filter(|n| deployed.is_entry(*n)).collect();
    match entries.as_slice() {
        [only] => Ok(*only),
        [] => Err("this flow has no entry (inject, http in, schedule, metric); name a node with --entry".into()),
        several => {
            let names: Vec<String> = several
                .iter()
                .map(|n| {
                    let node = &deployed.plan.nodes[*n as usize];
                    format!("{} ({} {})", node.id, node.node_type, node.name)
                })
                .collect();
            Err(format!("this flow has several entries; name one with --entry: {}", names.join(", ")))
        }
    }
}

fn unknown_node(deployed: &Deployed, wanted: &str) -> String {
    let names = deployed.plan.nodes.iter().flat_map(|n| [n.id.as_str(), n.name.as_str()]);
    match crate::model::diagnostic::closest(wanted, names) {
        Some(best) => format!("the flow has no node \"{wanted}\"; did you mean \"{best}\"?"),
        None => format!("the flow has no node \"{wanted}\""),
    }
}

/// One event as one line of JSON.
fn line(run: crate::model::RunId, event: Event) -> serde_json::Value {
    match event {
        Event::Output { node, name, port, msg } => {
            json!({"event": "output", "run": run, "node": node, "name": name, "port": port, "msg": msg.to_value()})
        }
        Event::Debug { node, name, topic, property, value } => {
            json!({"event": "debug", "run": run, "node": node, "name": name, "topic": topic, "property": property, "value": value})
        }
        Event::Reply { node, reply } => {
            let body = serde_json::from_slice(&reply.body)
                .unwrap_or_else(|_| serde_json::Value::String(String::from_utf8_lossy(&reply.body).into_owned()));
            json!({"event": "reply", "run": run, "node": node, "status": reply.status, "headers": reply.headers, "body": body})
        }
        Event::Error { node, node_type, message } => {
            json!({"event": "error", "run": run, "node": node, "type": node_type, "message": message})
        }
        Event::Status { node, status } => json!({"event": "status", "run": run, "node": node, "status": status}),
        Event::Log { node, name, level, text } => {
            json!({"event": "log", "run": run, "node": node, "name": name, "level": level.as_str(), "text": text})
        }
    }
}
