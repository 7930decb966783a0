//! What the world of a test knows and what was done in it.

use std::collections::{BTreeMap, HashMap};

use serde_json::Value;

use super::imports::context::Level;
use super::{Evidence, Properties, Request, Response, Sent};
use crate::bindings::probity::plugin::node::Emission;
use crate::bindings::probity::plugin::types::{self, Failure};
use crate::message::buffer;
use crate::{Error, Result, path};

pub(super) struct World {
    pub(super) run: String,
    pub(super) caller: bool,
    pub(super) now_ms: u64,
    pub(super) random: u64,
    pub(super) secrets: Vec<String>,
    pub(super) env: HashMap<String, String>,
    pub(super) jsonata: HashMap<String, Value>,
    pub(super) contexts: [Value; 3],
    pub(super) files: HashMap<String, Vec<u8>>,
    pub(super) answers: Vec<(String, String, Result<Response>)>,
    /// Keys of a run begin with its id.
    pub(super) state: BTreeMap<(Option<String>, String), Vec<u8>>,
    pub(super) sent: Vec<Sent>,
    pub(super) logs: Vec<String>,
    pub(super) status: Option<String>,
    pub(super) evidence: Vec<Evidence>,
    pub(super) requests: Vec<Request>,
    pub(super) config: Value,
    pub(super) input: Properties,
    node_type: &'static str,
    capabilities: &'static [&'static str],
    outputs: usize,
}

impl Default for World {
    fn default() -> Self {
        let empty = || Value::Object(Properties::new());
        Self {
            run: "run-1".to_owned(),
            caller: true,
            now_ms: 0,
            random: 1,
            secrets: Vec::new(),
            env: HashMap::new(),
            jsonata: HashMap::new(),
            contexts: [empty(), empty(), empty()],
            files: HashMap::new(),
            answers: Vec::new(),
            state: BTreeMap::new(),
            sent: Vec::new(),
            logs: Vec::new(),
            status: None,
            evidence: Vec::new(),
            requests: Vec::new(),
            config: empty(),
            input: Properties::new(),
            node_type: "",
            capabilities: &[],
            outputs: 0,
        }
    }
}

impl World {
    pub(super) fn begin(
        &mut self,
        node_type: &'static str,
        capabilities: &'static [&'static str],
        outputs: usize,
        config: Value,
        input: Properties,
    ) {
        (self.node_type, self.capabilities, self.outputs) = (node_type, capabilities, outputs);
        (self.config, self.input) = (config, input);
        self.sent.clear();
    }

    /// Refuses what the node type does not declare.
    pub(super) fn need(&self, capability: &str) -> std::result::Result<(), Failure> {
        if self.capabilities.contains(&capability) {
            return Ok(());
        }
        let node_type = self.node_type;
        Err(failure(
            "not-granted",
            format!(
                "node type `{node_type}` did not declare the capability `{capability}`: add \"{capability}\" to \
                 `capabilities` of #[node(…)] and a [[capability]] to plugin.toml"
            ),
        ))
    }

    pub(super) fn emit(&mut self, what: &Emission) -> std::result::Result<(), Failure> {
        if what.port as usize >= self.outputs {
            let text = format!("output {} does not exist: there are {}, counted from 0", what.port, self.outputs);
            return Err(failure("no-such-output", text));
        }
        let mut msg = if what.keep { self.input.clone() } else { Properties::new() };
        for name in &what.delete {
            msg.shift_remove(name);
        }
        for property in &what.set {
            let value = match &property.value {
                types::Value::Json(text) => {
                    serde_json::from_str(text).map_err(|error| failure("bad-json", error.to_string()))?
                }
                types::Value::Bytes(bytes) => buffer(bytes),
            };
            msg.insert(property.name.clone(), value);
        }
        self.sent.push(Sent { port: what.port, msg: Value::Object(msg) });
        Ok(())
    }

    pub(super) fn send(&mut self, what: &Request) -> std::result::Result<Response, Failure> {
        self.requests.push(what.clone());
        let matching = |answer: &(String, String, _)| answer.0 == what.method && answer.1 == what.url;
        let Some(at) = self.answers.iter().position(matching) else {
            let text = format!("no answer for {} {}: say `host.answer(\"{}\", …)`", what.method, what.url, what.method);
            return Err(failure("no-answer", text));
        };
        let last = self.answers.iter().filter(|answer| matching(answer)).count() == 1;
        let (_, _, answer) = if last { self.answers[at].clone() } else { self.answers.remove(at) };
        answer.map_err(Error::into_failure)
    }

    /// The typed inputs that need no engine; JSONata as the test says.
    pub(super) fn evaluate(&self, kind: &str, text: &str) -> std::result::Result<Option<Value>, Failure> {
        let bad = |why: String| failure("bad-typed-input", format!("{kind} `{text}`: {why}"));
        Ok(Some(match kind {
            "str" => Value::from(text),
            "num" => crate::number(text.trim().parse().map_err(|_| bad("not a number".to_owned()))?),
            "bool" => Value::from(text == "true"),
            "json" => serde_json::from_str(text).map_err(|error| bad(error.to_string()))?,
            "date" => Value::from(self.now_ms),
            "env" => Value::from(self.env.get(text).cloned().unwrap_or_default()),
            "re" => Value::from(text),
            "bin" => {
                let bytes: Vec<u8> = serde_json::from_str(text).map_err(|error| bad(error.to_string()))?;
                buffer(&bytes)
            }
            "msg" => return Ok(path::follow(&Value::Object(self.input.clone()), path::steps(text)).cloned()),
            "flow" => return Ok(self.context_value(Level::Flow, text)),
            "global" => return Ok(self.context_value(Level::Global, text)),
            "jsonata" => {
                let known = self.jsonata.get(text).cloned();
                known.ok_or_else(|| bad("say its result with `host.jsonata(…)`".to_owned()))?
            }
            _ => return Err(bad("unknown kind".to_owned())),
        }))
    }

    pub(super) fn context_value(&self, level: Level, at: &str) -> Option<Value> {
        path::follow(&self.contexts[level as usize], path::steps(at)).cloned()
    }

    pub(super) fn set_context(&mut self, level: Level, at: &str, value: Option<Value>) -> Result<()> {
        let steps: Vec<_> = path::steps(at).collect();
        let root = &mut self.contexts[level as usize];
        match value {
            Some(value) => path::put(root, &steps, value),
            None => {
                path::remove(root, &steps);
                Ok(())
            }
        }
    }

    /// Random bytes that are the same in every test (SplitMix64).
    pub(super) fn random_bytes(&mut self, len: u32) -> Vec<u8> {
        let mut next = || {
            self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let mut z = self.random;
            z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            (z >> 56) as u8
        };
        (0..len).map(|_| next()).collect()
    }
}

pub(super) fn failure(code: &str, message: String) -> Failure {
    Failure { message, code: Some(code.to_owned()) }
}
