//! `link in`, `link out`, `link call`: wires without a line, and a call that comes back.
//!
//! The planner turns `link out` (mode `link`) into wires. A call puts an entry on the stack `msg._linkSource`; a
//! `link out` in mode `return` takes the top entry off and gives the message back to the call it names.

use std::any::Any;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use arcstr::ArcStr;
use tokio::sync::oneshot;

use super::junction::PassOn;
use crate::model::flow::{LinkTarget, NodeIndex};
use crate::model::node_spec::{NodeSpec, Property, PropertyKind};
use crate::model::value::Handle;
use crate::model::{Diagnostic, Msg, Object, RunId, Value};
use crate::plugin::function::Back;
use crate::runtime::{Cx, Node, NodeConfig, NodeType, Step, Then};

static IN_SPEC: NodeSpec = NodeSpec {
    node_type: "link in",
    category: "common",
    summary: "Receives messages from link out and link call nodes of any tab.",
    inputs: 0,
    outputs: Some(1),
    config_node: false,
    properties: &[Property::new("links", PropertyKind::Json, "Ids of the link out nodes that lead here.")],
    capabilities: &[],
};

static OUT_SPEC: NodeSpec = NodeSpec {
    node_type: "link out",
    category: "common",
    summary: "Sends messages to link in nodes, or back to the link call they came from.",
    inputs: 1,
    outputs: Some(0),
    config_node: false,
    properties: &[
        Property::new("mode", PropertyKind::OneOf(&["link", "return"]), "link when absent."),
        Property::new("links", PropertyKind::Json, "Ids of the link in nodes it leads to, in mode link."),
    ],
    capabilities: &[],
};

static CALL_SPEC: NodeSpec = NodeSpec {
    node_type: "link call",
    category: "common",
    summary: "Sends a message to a link in node and goes on with what comes back.",
    inputs: 1,
    outputs: Some(1),
    config_node: false,
    properties: &[
        Property::new("links", PropertyKind::Json, "Id of the link in node to call."),
        Property::new(
            "linkType",
            PropertyKind::OneOf(&["static", "dynamic"]),
            "dynamic: msg.target names the link in node by id or name.",
        ),
        Property::new("timeout", PropertyKind::Number, "Seconds to wait for the return; 30 when absent."),
    ],
    capabilities: &[],
};

pub const IN: NodeType = NodeType { spec: &IN_SPEC, build: |_| Ok(Arc::new(PassOn)) };
pub const OUT: NodeType = NodeType { spec: &OUT_SPEC, build: build_out };
pub const CALL: NodeType = NodeType { spec: &CALL_SPEC, build: build_call };

/// A call that may still be answered; clones of a message share it, so the first return counts.
struct Pending {
    call: NodeIndex,
    call_id: ArcStr,
    run: RunId,
    /// Whoever called takes the message itself, also in its own run; what comes too late is nobody's.
    takes: bool,
    waiting: Mutex<Option<oneshot::Sender<Option<Msg>>>>,
}

impl Pending {
    fn take(&self) -> Option<oneshot::Sender<Option<Msg>>> {
        self.waiting.lock().unwrap_or_else(|p| p.into_inner()).take()
    }
}

/// The handle in an entry of `msg._linkSource`.
struct Return(Arc<Pending>);

impl Handle for Return {
    fn kind(&self) -> &'static str {
        "link call"
    }
    fn is_hidden(&self) -> bool {
        true
    }
    fn as_any(&self) -> &dyn Any {
        self
    }
}

fn build_out(config: &NodeConfig<'_>) -> Result<Arc<dyn Node>, Vec<Diagnostic>> {
    if config.text("mode") == "return" { Ok(Arc::new(LinkReturn)) } else { Ok(Arc::new(PassOn)) }
}

struct LinkReturn;

impl Node for LinkReturn {
    fn on_msg(&self, mut msg: Msg, cx: &mut Cx<'_>) -> Step {
        let Some(pending) = pop_source(&mut msg, cx) else {
            cx.warn("Missing return node information");
            return Step::Done;
        };
        if cx.node_id(pending.call) != Some(&pending.call_id) {
            cx.warn("Missing link call information: the link call was removed by a deploy");
            return Step::Done;
        }
        match pending.take() {
            // In its own run the message goes on in its turn; the wait only has to end.
            Some(waiting) if pending.run == cx.run_id() && !pending.takes => {
                let _ = waiting.send(None);
                cx.emit_from(pending.call, 0, msg);
            }
            Some(waiting) => {
                if let Err(Some(msg)) = waiting.send(Some(msg))
                    && !pending.takes
                {
                    cx.emit_from(pending.call, 0, msg);
                }
            }
            // Late, or a second return: an ordinary message, as in Node-RED.
            None if pending.takes => cx.warn("The link call this message came from no longer waits for it"),
            None => cx.emit_from(pending.call, 0, msg),
        }
        Step::Done
    }
}

/// Takes the top entry off `msg._linkSource`, which goes when it is empty.
/// In a run that was gone on with, the way back is made anew: what called no longer waits for it.
fn pop_source(msg: &mut Msg, cx: &Cx<'_>) -> Option<Arc<Pending>> {
    let Some(Value::Array(stack)) = msg.remove("_linkSource") else { return None };
    let mut stack = Arc::unwrap_or_clone(stack);
    let top = stack.pop();
    if !stack.is_empty() {
        msg.set("_linkSource", stack);
    }
    let top = top?;
    if let Some(back) = top.get("return").as_handle::<Return>() {
        return Some(back.0.clone());
    }
    let call_id = top.get("node").as_str().filter(|_| cx.is_resumed()).map(ArcStr::from)?;
    let nodes = &cx.place().plan().nodes;
    let call = nodes.iter().position(|node| node.id == call_id)?;
    let takes = nodes[call].node_type != CALL_SPEC.node_type;
    Some(Arc::new(Pending { call: call as NodeIndex, call_id, run: cx.run_id(), takes, waiting: Mutex::default() }))
}

/// Sends a copy of a message to a link in node, with the way back on its stack.
fn send_out(
    target: NodeIndex,
    msg: &mut Msg,
    takes: bool,
    cx: &mut Cx<'_>,
) -> (Arc<Pending>, oneshot::Receiver<Option<Msg>>) {
    let (waiting, returned) = oneshot::channel();
    let call_id = cx.node().id.clone();
    let pending = Arc::new(Pending {
        call: cx.node_index(),
        call_id: call_id.clone(),
        run: cx.run_id(),
        takes,
        waiting: Mutex::new(Some(waiting)),
    });
    let mut entry = Object::with_capacity(3);
    entry.insert("id", crate::model::id::hex16());
    entry.insert("node", call_id);
    entry.insert("return", Value::handle(Return(pending.clone())));
    let mut stack = match msg.get("_linkSource") {
        Some(Value::Array(stack)) => stack.to_vec(),
        _ => Vec::new(),
    };
    // What fails is the message as it came, with an empty stack if it had none: as in Node-RED.
    msg.set("_linkSource", stack.clone());
    stack.push(entry.into());
    let mut called = msg.clone();
    called.set("_linkSource", stack);
    cx.emit_to(target, called);
    (pending, returned)
}

/// Calls a link in node by id or name on behalf of a node's code; what comes back, or why nothing does.
pub(super) fn call(cx: &mut Cx<'_>, target: &str, timeout: Duration, mut msg: Msg) -> Back {
    let target = match find(&cx.node().links, target) {
        Ok(target) => target,
        Err(problem) => {
            let problem = problem.strip_prefix("Error: ").unwrap_or(&problem).to_string();
            return Box::pin(std::future::ready(Err(problem)));
        }
    };
    let (pending, returned) = send_out(target, &mut msg, true, cx);
    let clock = cx.clock();
    Box::pin(async move {
        tokio::select! {
            biased;
            answer = returned => answer.ok().flatten().ok_or_else(|| "the called nodes are gone".to_string()),
            () = clock.sleep(timeout) => {
                drop(pending.take());
                Err("timeout".to_string())
            }
        }
    })
}

struct LinkCall {
    /// The id of the one target; `None`: by `msg.target`.
    target: Option<ArcStr>,
    timeout: Duration,
}

fn build_call(config: &NodeConfig<'_>) -> Result<Arc<dyn Node>, Vec<Diagnostic>> {
    let seconds = match config.get("timeout") {
        Value::Undefined | Value::Null => 30.0,
        Value::Number(0.0) => 30.0,
        Value::String(text) if text.is_empty() => 30.0,
        other => other.to_number(),
    };
    // Node-RED takes what is no number for the default.
    let timeout = Duration::try_from_secs_f64(if seconds.is_nan() { 30.0 } else { seconds.max(0.0) });
    let target = (config.text("linkType") != "dynamic").then(|| match config.get("links") {
        Value::Array(ids) => ids.first().map(Value::to_js_string).unwrap_or_default(),
        other => other.as_str().map(ArcStr::from).unwrap_or_default(),
    });
    Ok(Arc::new(LinkCall { target, timeout: timeout.unwrap_or(Duration::MAX) }))
}

/// By id, then by name in this flow, then by name anywhere; a name must fit exactly one.
fn find(links: &[LinkTarget], target: &str) -> Result<NodeIndex, String> {
    if let Some(link) = links.iter().find(|l| l.id == target) {
        return Ok(link.node);
    }
    let only = |same_flow: bool| {
        let mut named = links.iter().filter(|l| l.name == target && (l.same_flow || !same_flow));
        (named.next(), named.next())
    };
    match (only(true), only(false)) {
        ((Some(link), None), _) | (_, (Some(link), None)) => Ok(link.node),
        (_, (Some(_), Some(_))) => Err(format!("Error: Multiple link-in nodes named '{target}' found")),
        _ => Err(format!("Error: target link-in node '{target}' not found")),
    }
}

impl Node for LinkCall {
    fn on_msg(&self, mut msg: Msg, cx: &mut Cx<'_>) -> Step {
        let target = match &self.target {
            // Looked up each time: a deploy may leave this node as it is and move its target.
            Some(id) => match cx.node().links.first() {
                Some(link) => Ok(link.node),
                None => Err(format!("Error: target link-in node '{id}' not found")),
            },
            None => {
                let name = msg.get("target").filter(|t| t.is_truthy()).map(Value::to_js_string).unwrap_or_default();
                find(&cx.node().links, &name)
            }
        };
        let target = match target {
            Ok(target) => target,
            Err(problem) => return Step::fail(msg, problem),
        };
        let (pending, returned) = send_out(target, &mut msg, false, cx);
        // What it called is under way itself, and finds its way back.
        cx.resume_with(|| None);
        let (clock, timeout) = (cx.clock(), self.timeout);
        Step::wait(async move {
            let mut returned = returned;
            let answer = tokio::select! {
                biased;
                answer = &mut returned => answer.ok(),
                () = clock.sleep(timeout) => None,
            };
            // A return that came in the very moment of the timeout counts.
            let answer = match answer {
                None if pending.take().is_none() => returned.try_recv().ok(),
                answer => answer,
            };
            Box::new(move |cx: &mut Cx<'_>| match answer {
                Some(Some(back)) => {
                    cx.emit(0, back);
                    Step::Done
                }
                Some(None) => Step::Done,
                None => Step::fail(msg, "timeout"),
            }) as Then
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::rig::{Rig, msg};
    use super::*;

    fn rig(nodes: &str) -> Rig {
        Rig::of_flow(&format!(r#"[{{"id":"t","type":"tab"}},{{"id":"u","type":"tab"}},{nodes}]"#))
    }

    const SERVICE: &str = r#"
        {"id":"in","z":"u","type":"link in","name":"service","wires":[["back"]]},
        {"id":"back","z":"u","type":"link out","mode":"return","wires":[]}"#;

    #[tokio::test]
    async fn a_link_out_leads_to_other_tabs() {
        let rig = rig(r#"{"id":"out","z":"t","type":"link out","links":["in"],"wires":[]},
               {"id":"in","z":"u","type":"link in","links":["out"],"wires":[[]]}"#);
        rig.run(rig.index("out"), msg(r#"{"payload":1}"#)).await;
        assert_eq!(rig.take(), [r#"{"payload":1}"#]);
    }

    #[tokio::test]
    async fn a_call_comes_back_and_calls_may_nest() {
        let rig = rig(&format!(
            r#"{{"id":"a","z":"t","type":"link call","links":["outer"],"wires":[[]]}},
               {{"id":"outer","z":"t","type":"link in","wires":[["b"]]}},
               {{"id":"b","z":"t","type":"link call","linkType":"dynamic","wires":[["ret"]]}},
               {{"id":"ret","z":"t","type":"link out","mode":"return","wires":[]}},{SERVICE}"#
        ));
        rig.run(rig.index("a"), msg(r#"{"payload":1,"target":"service"}"#)).await;
        let out = rig.out();
        assert_eq!((out.len(), out[0].0.as_str()), (1, "a"));
        assert_eq!(rig.take(), [r#"{"payload":1,"target":"service"}"#]);
    }

    #[tokio::test]
    async fn no_return_in_time_is_an_error_and_a_late_one_an_ordinary_message() {
        let rig = rig(r#"{"id":"a","z":"t","type":"link call","links":["in"],"timeout":"5","wires":[[]]},
               {"id":"in","z":"u","type":"link in","wires":[["slow"]]},
               {"id":"slow","z":"u","type":"delay","pauseType":"delay","timeout":"8","timeoutUnits":"seconds","wires":[["back"]]},
               {"id":"back","z":"u","type":"link out","mode":"return","wires":[]},
               {"id":"c","z":"t","type":"catch","scope":null,"wires":[[]]}"#);
        let run = tokio::spawn(rig.open(
            rig.index("a"),
            msg(r#"{"payload":1}"#),
            crate::model::run::Trigger::Manual { by: "test".into() },
        ));
        rig.advance(Duration::from_secs(5)).await;
        let out = rig.out();
        assert_eq!((out.len(), out[0].0.as_str()), (1, "c"));
        assert_eq!(out[0].2.get("error").unwrap().get("message"), "timeout".into());
        assert_eq!(out[0].2.get("_linkSource"), Some(&Value::array(vec![])));
        rig.take();
        rig.advance(Duration::from_secs(3)).await;
        run.await.unwrap();
        assert_eq!((rig.out()[0].0.as_str(), rig.take().len()), ("a", 1));
    }

    #[tokio::test]
    async fn a_target_that_is_missing_or_ambiguous_is_an_error() {
        let rig = rig(&format!(
            r#"{{"id":"a","z":"t","type":"link call","linkType":"dynamic","wires":[[]]}},
               {{"id":"in2","z":"u","type":"link in","name":"service","wires":[[]]}},{SERVICE}"#
        ));
        for (target, problem) in [
            ("service", "Error: Multiple link-in nodes named 'service' found"),
            ("x", "Error: target link-in node 'x' not found"),
        ] {
            let ended = rig.run(rig.index("a"), msg(&format!(r#"{{"target":"{target}"}}"#))).await;
            assert_eq!(ended.error.as_ref().unwrap().message, problem);
        }
        rig.run(rig.index("a"), msg(r#"{"target":"in"}"#)).await;
        assert_eq!(rig.take(), [r#"{"target":"in"}"#]);
    }

    #[tokio::test]
    async fn a_return_without_a_call_is_a_warning() {
        let rig = rig(SERVICE);
        rig.run(rig.index("in"), msg("{}")).await;
        assert!(rig.complaints()[0].contains("Missing return node information"));
    }
}
