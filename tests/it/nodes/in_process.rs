//! Cases played on an engine in this process, with a clock that is moved by hand.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use probity::clock::Clock;
use probity::flow;
use probity::model::Msg;
use probity::model::flow::Plan;
use probity::model::node_spec::NodeSpec;
use probity::model::run::Trigger;
use probity::nodes::catalogue;
use probity::runtime::opening::{Opening, Start};
use probity::runtime::{Catalogue, Cx, Engine, Limits, Node, NodeType, Services, Step};

use super::case::{Case, Injection};
use super::{NotPlayed, Seen};

/// The clock stands here when a case begins: between two seconds, as it did for the recorded cron cases.
const START: &str = "2026-03-01T12:00:00.440Z";

/// Time moves in steps of this, milliseconds.
const STEP_MS: u64 = 5;

/// Node's timers fire up to so much before what they cause was recorded, milliseconds.
const LATE_MS: u64 = 5;

static HELPER: NodeSpec = NodeSpec {
    node_type: "helper",
    category: "test",
    summary: "",
    inputs: 1,
    outputs: Some(1),
    config_node: false,
    properties: &[],
    capabilities: &[],
};

thread_local! {
    static SEEN: std::cell::RefCell<Arc<Mutex<Seen>>> = std::cell::RefCell::default();
}

/// Records what reaches it.
struct Helper {
    seen: Arc<Mutex<Seen>>,
}

impl Node for Helper {
    fn on_msg(&self, msg: Msg, cx: &mut Cx<'_>) -> Step {
        let mut seen = self.seen.lock().unwrap();
        seen.entry(cx.node().id.to_string()).or_default().push(msg.to_value());
        Step::Done
    }
}

const HELPER_TYPE: NodeType =
    NodeType { spec: &HELPER, build: |_| Ok(Arc::new(Helper { seen: SEEN.with_borrow(|seen| seen.clone()) })) };

pub(crate) fn play(case: &Case) -> Result<Seen, NotPlayed> {
    play_with(case, catalogue())
}

/// Plays a case with these node types.
pub(crate) fn play_with(case: &Case, mut catalogue: Catalogue) -> Result<Seen, NotPlayed> {
    assert!(catalogue.add(HELPER_TYPE.into()).is_ok(), "no builtin type has the helper's name");
    if let Some(lacking) = case.node_types().find(|t| catalogue.get(t).is_none()) {
        return Err(NotPlayed::Lacks(lacking));
    }
    let (file, _) = flow::load_value(case.flow(), "");
    let plan = flow::plan(&file, &|t| catalogue.spec(t), &|_| None);
    let seen: Arc<Mutex<Seen>> = Arc::default();
    SEEN.set(seen.clone());
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let played = runtime.block_on(run(case, catalogue, plan));
    drop(runtime);
    let seen = std::mem::take(&mut *seen.lock().unwrap());
    played.map(|()| seen).map_err(NotPlayed::Refused)
}

/// Deploys and plays the case's messages at their times; an error says why the flow does not run.
async fn run(case: &Case, catalogue: Catalogue, plan: Plan) -> Result<(), String> {
    let clock = Clock::manual(START.parse().unwrap());
    let services = Services::new(clock.clone(), Limits::default(), Default::default());
    let engine = Engine::new(Arc::new(services), catalogue);
    let deployed = engine.deploy(plan);
    let mut now = 0;
    for (at, injection) in case.timeline() {
        // What came out was due a little earlier than it was written down.
        let until = if injection.is_none() { at + LATE_MS } else { at };
        while now < until {
            let step = STEP_MS.min(until - now);
            now += step;
            settle().await;
            clock.advance(Duration::from_millis(step));
        }
        settle().await;
        let Some(Injection { node: id, msg, .. }) = injection else { continue };
        let Some(node) = deployed.plan.nodes.iter().position(|n| n.id == id) else {
            return Err(format!("there is no node {id}"));
        };
        if let Some(stopped) = deployed.stopped(node as u32) {
            return Err(format!("{stopped:?}"));
        }
        let trigger = Trigger::Inject { node: id };
        let opening =
            Opening { node: node as u32, start: Start::Deliver, msg: Msg::from_object(msg), trigger, reply: None };
        if deployed.spawn(opening).is_err() {
            return Err("too many runs".into());
        }
    }
    settle().await;
    engine.drain(Duration::ZERO).await;
    Ok(())
}

/// Lets every task go as far as it can while time stands still.
async fn settle() {
    for _ in 0..200 {
        tokio::task::yield_now().await;
    }
}
