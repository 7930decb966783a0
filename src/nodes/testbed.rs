//! Runs single nodes in tests: a plan of the node under test and one sink per output.

use std::sync::{Arc, Mutex};

use crate::clock::Clock;
use crate::model::flow::{CatchTarget, Env, Plan, PlanFlow, PlanNode};
use crate::model::run::Trigger;
use crate::model::{Diagnostic, Msg, Object, RunId, Value};
use crate::runtime::opening::{Opening, Start};
use crate::runtime::{Catalogue, Engine, Event, Limits, NodeConfig, NodeType, Services};

/// What left the node: output port and message; port [`CAUGHT`] is what a catch node would get.
pub type Outputs = Vec<(usize, Msg)>;

/// The port under which errors are reported.
pub const CAUGHT: usize = 99;

/// 2026-03-01T12:04:05.067Z, where the test clock stands.
pub const NOW_MS: f64 = 1_772_366_645_067.0;

/// One deployed node.
pub struct Bed {
    engine: Arc<Engine>,
    outputs: Arc<Mutex<Outputs>>,
    pub warnings: Arc<Mutex<Vec<String>>>,
}

pub fn json(text: &str) -> Value {
    Value::from_json(text).unwrap()
}

/// A node of a plan without wires; `config` is JSON.
pub fn plan_node(node_type: &str, config: &str) -> PlanNode {
    let Value::Object(config) = json(config) else { panic!("not an object: {config}") };
    PlanNode {
        id: "n1".into(),
        node_type: node_type.into(),
        name: "".into(),
        flow: 0,
        instance: None,
        context: "tab".into(),
        parents: Default::default(),
        config,
        env: Arc::new(Env {
            values: vec![("HERE".into(), "tab-env".into()), ("PORT".into(), 1880.into())],
            parent: None,
            of_node: false,
        }),
        wires: Vec::new(),
        catch: Vec::new(),
        status: Vec::new(),
        complete: Vec::new(),
        links: Vec::new(),
        entry: 0,
    }
}

pub fn services() -> Services {
    let clock = Clock::manual(jiff::Timestamp::from_millisecond(NOW_MS as i64).unwrap());
    Services::new(clock, Limits::default(), Default::default())
}

/// Builds the node and gives the problems of its configuration.
pub fn problems(node_type: &NodeType, config: &str) -> Vec<Diagnostic> {
    let node = plan_node(node_type.spec.node_type, config);
    let plan = Plan::default();
    let services = Arc::new(services());
    let cfg = NodeConfig { node: &node, plan: &plan, services: &services, configs: &Default::default() };
    (node_type.build)(&cfg).err().unwrap_or_default()
}

impl Bed {
    /// Deploys one node; its errors are caught.
    pub fn new(node_type: NodeType, config: &str) -> Bed {
        let mut node = plan_node(node_type.spec.node_type, config);
        node.catch = vec![CatchTarget { node: 1, uncaught_only: false }];
        let mut sink = plan_node("testbed sink", "{}");
        sink.id = "caught".into();
        let outputs: Arc<Mutex<Outputs>> = Arc::default();
        let warnings: Arc<Mutex<Vec<String>>> = Arc::default();
        let mut services = services();
        let (to_outputs, to_warnings) = (outputs.clone(), warnings.clone());
        services.observer = Some(Arc::new(move |_: RunId, event| match event {
            Event::Output { node, port, msg, .. } => {
                let port = if node == "caught" { CAUGHT } else { port };
                to_outputs.lock().unwrap().push((port, msg));
            }
            Event::Log { text, .. } => to_warnings.lock().unwrap().push(text),
            _ => {}
        }));
        static SINK: crate::model::node_spec::NodeSpec = crate::model::node_spec::NodeSpec {
            node_type: "testbed sink",
            category: "test",
            summary: "",
            inputs: 1,
            outputs: Some(1),
            config_node: false,
            properties: &[],
            capabilities: &[],
        };
        struct Sink;
        impl crate::runtime::Node for Sink {
            fn on_msg(&self, msg: Msg, cx: &mut crate::runtime::Cx<'_>) -> crate::runtime::Step {
                cx.emit(0, msg);
                crate::runtime::Step::Done
            }
        }
        let sink_type = NodeType { spec: &SINK, build: |_| Ok(Arc::new(Sink)) };
        let engine = Engine::new(Arc::new(services), Catalogue::new(&[node_type, sink_type]));
        let flow = PlanFlow { id: "tab".into(), label: "tab".into(), ..PlanFlow::default() };
        let deployed = engine.deploy(Plan { nodes: vec![node, sink], flows: vec![flow], ..Plan::default() });
        assert!(deployed.stopped(0).is_none(), "the node was refused: {config}");
        Bed { engine, outputs, warnings }
    }

    /// Sends messages one after another, each in a run of its own; returns what came out.
    pub fn send(&self, msgs: &[&str]) -> Outputs {
        self.send_msgs(msgs.iter().map(|m| object(m)).map(Msg::from_object).collect())
    }

    pub fn send_msgs(&self, msgs: Vec<Msg>) -> Outputs {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            for msg in msgs {
                let trigger = Trigger::Inject { node: "test".into() };
                let opening = Opening { node: 0, start: Start::Deliver, msg, trigger, reply: None };
                self.engine.current().open(opening).unwrap().1.await;
            }
        });
        std::mem::take(&mut *self.outputs.lock().unwrap())
    }

    /// One message in; the property `payload` of the one message that comes out.
    pub fn payload(&self, msg: &str) -> Value {
        let out = self.send(&[msg]);
        assert_eq!(out.len(), 1, "{out:?}");
        assert_ne!(out[0].0, CAUGHT, "{out:?}");
        out[0].1.payload().clone()
    }

    /// One message in; the text of the error a catch node gets.
    pub fn error(&self, msg: &str) -> String {
        let out = self.send(&[msg]);
        assert_eq!(out.iter().map(|(port, _)| *port).collect::<Vec<_>>(), [CAUGHT], "{out:?}");
        out[0].1.get("error").unwrap().get("message").to_js_string().to_string()
    }

    pub fn set_global(&self, key: &str, value: Value) {
        let path = crate::model::path::Path::parse(key).unwrap();
        let node = plan_node("any", "{}");
        let deployed = self.engine.current();
        for level in [crate::runtime::context::Level::Global, crate::runtime::context::Level::Flow] {
            let of = crate::runtime::context::Owner { node: &node, tenant: "" };
            deployed.services.context.set(of, level, &path, value.clone(), None).unwrap();
        }
    }
}

fn object(text: &str) -> Arc<Object> {
    match json(text) {
        Value::Object(o) => o,
        other => panic!("not an object: {other:?}"),
    }
}
