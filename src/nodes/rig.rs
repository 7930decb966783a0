//! A small engine for the unit tests of nodes: real nodes, a manual clock, everything they do written down.

use std::future::Future;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use arcstr::ArcStr;

use crate::clock::Clock;
use crate::model::flow::{Plan, PlanFlow, PlanNode};
use crate::model::run::Trigger;
use crate::model::{Diagnostic, Msg, Object, RunId};
use crate::net::{Net, NetOptions};
use crate::runtime::opening::{Opening, Start};
use crate::runtime::run::EndedRun;
use crate::runtime::{Engine, Event, Limits, Reply, Services};

/// A node of a test plan; a target in `wires` is an index into the list of nodes.
pub(super) fn node(id: &str, node_type: &str, config: &str, wires: &[&[u32]]) -> PlanNode {
    let config: Object = serde_json::from_str(config).unwrap();
    PlanNode {
        id: id.into(),
        node_type: node_type.into(),
        name: config.get("name").and_then(|n| n.as_str()).map(ArcStr::from).unwrap_or_default(),
        flow: 0,
        instance: None,
        context: "tab".into(),
        parents: Default::default(),
        config: Arc::new(config),
        env: Default::default(),
        wires: wires.iter().map(|w| w.to_vec()).collect(),
        catch: Vec::new(),
        status: Vec::new(),
        complete: Vec::new(),
        links: Vec::new(),
        entry: 0,
    }
}

/// A message from JSON; gets a `_msgid` when sent.
pub(super) fn msg(json: &str) -> Msg {
    Msg::from_object(serde_json::from_str::<Object>(json).unwrap())
}

pub(super) struct Rig {
    pub(super) engine: Arc<Engine>,
    pub(super) clock: Clock,
    events: Arc<Mutex<Vec<Event>>>,
}

impl Rig {
    pub(super) fn new(nodes: Vec<PlanNode>) -> Rig {
        Rig::with(nodes, Limits::default(), |_| {})
    }

    /// From a flow file, as it would be deployed.
    pub(super) fn of_flow(text: &str) -> Rig {
        let catalogue = super::catalogue();
        let (file, problems) = crate::flow::load(text, "test.json");
        assert!(problems.is_empty(), "{problems:?}");
        let plan = crate::flow::plan(&file, &|name| catalogue.spec(name), &|_| None);
        Rig::deploy(plan, Limits::default(), |_| {})
    }

    pub(super) fn with(nodes: Vec<PlanNode>, limits: Limits, prepare: impl FnOnce(&mut Services)) -> Rig {
        let flow = PlanFlow { id: "tab".into(), label: "tab".into(), ..PlanFlow::default() };
        Rig::deploy(Plan { nodes, flows: vec![flow], ..Plan::default() }, limits, prepare)
    }

    fn deploy(plan: Plan, limits: Limits, prepare: impl FnOnce(&mut Services)) -> Rig {
        let clock = Clock::manual("2026-01-01T00:00:00Z".parse().unwrap());
        let net = Arc::new(Net::new(NetOptions::default()).unwrap());
        let mut services = Services::new(clock.clone(), limits, net);
        let events: Arc<Mutex<Vec<Event>>> = Arc::default();
        let sink = events.clone();
        services.observer = Some(Arc::new(move |_: RunId, event| sink.lock().unwrap().push(event)));
        prepare(&mut services);
        let engine = Engine::new(Arc::new(services), super::catalogue());
        engine.deploy(plan);
        Rig { engine, clock, events }
    }

    /// The place of a node in the plan.
    pub(super) fn index(&self, id: &str) -> u32 {
        self.engine.current().plan.nodes.iter().position(|n| n.id == id).unwrap() as u32
    }

    pub(super) fn problems(&self) -> Vec<Diagnostic> {
        self.engine.current().diagnostics.clone()
    }

    /// A run that somebody waits for, from this node to its end.
    pub(super) async fn run(&self, node: u32, msg: Msg) -> Arc<EndedRun> {
        self.open(node, msg, Trigger::Manual { by: "test".into() }).await
    }

    /// A run without a caller.
    pub(super) async fn inject(&self, node: u32, msg: Msg) -> Arc<EndedRun> {
        self.open(node, msg, Trigger::Inject { node: "test".into() }).await
    }

    pub(super) fn open(
        &self,
        node: u32,
        msg: Msg,
        trigger: Trigger,
    ) -> impl Future<Output = Arc<EndedRun>> + Send + 'static {
        let opening = Opening { node, start: Start::Deliver, msg, trigger, reply: None };
        self.engine.current().open(opening).unwrap().1
    }

    /// An HTTP call; `None` when the deadline passed first.
    pub(super) async fn call(&self, node: u32, msg: Msg) -> Option<Reply> {
        let trigger = Trigger::Http { method: "GET".into(), path: "/".into() };
        let deadline = Duration::from_secs(2);
        self.engine.current().call(node, Start::Deliver, msg, trigger, deadline).await.unwrap().reply
    }

    /// Messages that left on ports without wires: node id, port, message without `_msgid`.
    pub(super) fn out(&self) -> Vec<(String, usize, Msg)> {
        let events = self.events.lock().unwrap();
        let outputs = events.iter().filter_map(|event| match event {
            Event::Output { node, port, msg, .. } => {
                let mut msg = msg.clone();
                msg.remove("_msgid");
                Some((node.to_string(), *port, msg))
            }
            _ => None,
        });
        outputs.collect()
    }

    /// What left, as JSON without `_msgid`, and forgets it.
    pub(super) fn take(&self) -> Vec<String> {
        let out = self.out().into_iter().map(|(_, _, msg)| msg.to_value().to_json()).collect();
        self.events.lock().unwrap().retain(|e| !matches!(e, Event::Output { .. }));
        out
    }

    /// The payloads of what left, as JSON, and forgets them.
    pub(super) fn take_payloads(&self) -> Vec<String> {
        let out = self.out().into_iter().map(|(_, _, msg)| msg.payload().to_json()).collect();
        self.events.lock().unwrap().retain(|e| !matches!(e, Event::Output { .. }));
        out
    }

    pub(super) fn events(&self) -> Vec<Event> {
        self.events.lock().unwrap().clone()
    }

    /// Warnings and errors that were logged or that no catch node took.
    pub(super) fn complaints(&self) -> Vec<String> {
        let complaints = self.events().into_iter().filter_map(|event| match event {
            Event::Log { level, text, .. } if level <= tracing::Level::WARN => Some(text),
            Event::Error { message, .. } => Some(message),
            _ => None,
        });
        complaints.collect()
    }

    /// Lets every task that can go on do so.
    pub(super) async fn settle(&self) {
        for _ in 0..50 {
            tokio::task::yield_now().await;
        }
    }

    /// Moves the clock and lets what it woke go on.
    pub(super) async fn advance(&self, by: Duration) {
        self.settle().await;
        self.clock.advance(by);
        self.settle().await;
    }
}
