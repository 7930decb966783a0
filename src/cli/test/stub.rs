//! Nodes that a test puts others in the place of: what they would have asked the world (a database, a program, a
//! broker), the test says.

use std::sync::{Arc, Mutex};

use serde::Deserialize;
use serde_json::{Value as Json, json};

use super::matching::differences;
use crate::model::flow::FlowFile;
use crate::model::node_spec::NodeSpec;
use crate::model::{Diagnostic, Msg};
use crate::runtime::catalogue::Known;
use crate::runtime::{Cx, Node, NodeConfig, Step};

/// A node's answer: `when` its message fits. Each rule answers as often as `times` says, else always.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Rule {
    /// By id or name.
    node: String,
    #[serde(default)]
    when: Json,
    /// Properties that are set on the message, which is then sent; without it nothing is sent.
    #[serde(default)]
    answer: Option<Json>,
    #[serde(default)]
    port: usize,
    /// In place of `answer`: several messages, one after the other.
    #[serde(default)]
    answers: Vec<Answer>,
    /// Instead of an answer: the node fails with this text.
    #[serde(default)]
    fail: Option<String>,
    #[serde(default)]
    times: Option<usize>,
}

/// One of several messages that a node sends for one that it is given.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Answer {
    #[serde(default)]
    port: usize,
    answer: Json,
}

/// The type that stands in a plan for a node with rules.
const TYPE: &str = "probity-test-mock";

static SPEC: NodeSpec = NodeSpec {
    node_type: TYPE,
    category: "test",
    summary: "Stands for another node in a test.",
    inputs: 1,
    outputs: None,
    config_node: false,
    properties: &[],
    capabilities: &[],
};

/// What nodes with rules were given, as `{node, msg}`.
pub(super) type Given = Arc<Mutex<Vec<Json>>>;

/// Puts mocks in the place of the nodes that rules name.
///
/// # Errors
/// A rule names a node that the flow does not have.
pub(super) fn stand_in(file: &mut FlowFile, rules: &[Rule]) -> Result<(), String> {
    for rule in rules {
        let by = |of: &dyn Fn(&crate::model::flow::NodeDef) -> bool| file.nodes.iter().position(of);
        let at = by(&|node| node.id == rule.node)
            .or_else(|| by(&|node| node.name == rule.node))
            // In a subflow: the instance before the node.
            .or_else(|| by(&|node| rule.node.ends_with(&format!("-{}", node.id))));
        let at = at.ok_or_else(|| format!("mocks: the flow has no node \"{}\"", rule.node))?;
        file.nodes[at].node_type = TYPE.into();
    }
    Ok(())
}

/// The type of mocks, with these rules.
pub(super) fn known(rules: &[Rule], given: Given) -> Known {
    let rules: Vec<Rule> = rules.to_vec();
    let build = move |cfg: &NodeConfig<'_>| -> Result<Arc<dyn Node>, Vec<Diagnostic>> {
        let own = |rule: &&Rule| {
            let id = cfg.node.id.as_str();
            rule.node == id || rule.node == cfg.node.name || id.ends_with(&format!("-{}", rule.node))
        };
        let rules = rules.iter().filter(own).map(|rule| (rule.clone(), 0)).collect();
        Ok(Arc::new(Mock { rules: Mutex::new(rules), given: given.clone() }))
    };
    Known::new(&SPEC, build)
}

struct Mock {
    /// Each with how often it answered.
    rules: Mutex<Vec<(Rule, usize)>>,
    given: Given,
}

impl Node for Mock {
    fn on_msg(&self, msg: Msg, cx: &mut Cx<'_>) -> Step {
        let seen = msg.to_value().to_serde();
        let node = cx.node();
        let label = if node.name.is_empty() { node.id.as_str() } else { node.name.as_str() };
        self.given.lock().unwrap_or_else(|p| p.into_inner()).push(json!({ "node": label, "msg": seen }));
        let fitting = {
            let mut rules = self.rules.lock().unwrap_or_else(|p| p.into_inner());
            let fits = |(rule, used): &&mut (Rule, usize)| {
                rule.times.is_none_or(|max| *used < max)
                    && (rule.when.is_null() || differences(&rule.when, &seen, "$").is_empty())
            };
            rules.iter_mut().find(fits).map(|(rule, used)| {
                *used += 1;
                rule.clone()
            })
        };
        match fitting {
            None => Step::fail(msg, format!("the test mocks no answer of node \"{label}\" to this message")),
            Some(Rule { fail: Some(why), .. }) => Step::fail(msg, why),
            Some(Rule { answer, port, answers, .. }) => {
                let one = answer.map(|answer| Answer { port, answer });
                for Answer { port, answer } in one.into_iter().chain(answers) {
                    let mut msg = msg.clone();
                    for (name, value) in answer.as_object().into_iter().flatten() {
                        msg.set(name.as_str(), super::value(value));
                    }
                    cx.emit(port, msg);
                }
                Step::Done
            }
        }
    }
}
