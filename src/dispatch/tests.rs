//! The acceptor and the worker over the store in memory: what is accepted is run, once, and ends.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::*;
use crate::clock::Clock;
use crate::model::flow::{Plan, PlanFlow, PlanNode};
use crate::model::node_spec::NodeSpec;
use crate::model::run::{RunState, Trigger};
use crate::model::{Diagnostic, Msg, RunId, Value};
use crate::runtime::opening::Start;
use crate::runtime::snapshot::write_start;
use crate::runtime::{Catalogue, Cx, Effect, Engine, Event, Limits, Node, NodeConfig, NodeType, Services, Step, Then};
use crate::store::queue::{Accepted, Decision, NewRun, QueueState, QueuedRun, Resume};
use crate::store::{AuditEntry, Store, StoreOptions, open};

/// Passes on what says `ok`, fails what says `fail`, and waits for ever with what says `wait`.
struct Works(Effect);

impl Node for Works {
    fn effect(&self) -> Effect {
        self.0
    }
    fn on_msg(&self, msg: Msg, cx: &mut Cx<'_>) -> Step {
        match msg.payload().as_str() {
            Some("fail") => Step::fail(msg, "it says so"),
            Some("wait") => Step::wait(std::future::pending::<Then>()),
            _ => {
                let mut msg = msg;
                msg.set("run", cx.run_id().to_string());
                msg.set("key", cx.idempotency_key().unwrap_or_default());
                cx.emit(0, msg);
                Step::Done
            }
        }
    }
}

const fn spec(node_type: &'static str) -> NodeSpec {
    NodeSpec {
        node_type,
        category: "test",
        summary: "",
        inputs: 1,
        outputs: Some(1),
        config_node: false,
        properties: &[],
        capabilities: &[],
    }
}

static PURE: NodeSpec = spec("pure");
static ONCE: NodeSpec = spec("once");

fn node(id: &str, node_type: &str, to: &[u32]) -> PlanNode {
    PlanNode {
        id: id.into(),
        node_type: node_type.into(),
        name: Default::default(),
        flow: 0,
        instance: None,
        context: "tab".into(),
        parents: Default::default(),
        config: Default::default(),
        env: Default::default(),
        wires: vec![to.to_vec()],
        catch: Vec::new(),
        status: Vec::new(),
        complete: Vec::new(),
        links: Vec::new(),
        entry: 0,
    }
}

/// One process: an engine, an acceptor and a worker over a store.
struct Process {
    acceptor: Arc<Acceptor>,
    outputs: Arc<Mutex<Vec<Msg>>>,
    stop: watch::Sender<bool>,
    loops: Vec<JoinHandle<()>>,
}

async fn stopped(mut stop: watch::Receiver<bool>) {
    // A dropped sender stops, too.
    let _ = stop.wait_for(|stop| *stop).await.is_ok();
}

impl Process {
    fn start(store: &Arc<dyn Store>, options: Options) -> Process {
        Process::start_with(store, options, None)
    }

    fn start_with(store: &Arc<dyn Store>, options: Options, elsewhere: Option<PlanOf>) -> Process {
        let outputs: Arc<Mutex<Vec<Msg>>> = Arc::default();
        let mut services = Services::new(Clock::System, Limits::default(), Default::default());
        let sink = outputs.clone();
        services.observer = Some(Arc::new(move |_: RunId, event| {
            if let Event::Output { msg, .. } = event {
                sink.lock().unwrap().push(msg);
            }
        }));
        type Build = fn(&NodeConfig<'_>) -> Result<Arc<dyn Node>, Vec<Diagnostic>>;
        let pure: Build = |_| Ok(Arc::new(Works(Effect::None)));
        let once: Build = |_| Ok(Arc::new(Works(Effect::Once)));
        let types = [NodeType { spec: &PURE, build: pure }, NodeType { spec: &ONCE, build: once }];
        let engine = Engine::new(Arc::new(services), Catalogue::new(&types));
        let flow = PlanFlow { id: "tab".into(), label: "tab".into(), ..PlanFlow::default() };
        let nodes = vec![node("in", "pure", &[1]), node("out", "pure", &[]), node("once", "once", &[])];
        engine.deploy(Plan { nodes, flows: vec![flow], version: "v1".into(), ..Plan::default() });
        let acceptor = Acceptor::new(store.clone(), Clock::System, options.clone(), RunId::fresh().to_string());
        let plans = Arc::new(Plans::new(engine, elsewhere));
        let worker = Worker::new(store.clone(), acceptor.clone(), plans, options);
        let stop = watch::Sender::new(false);
        let accepting = {
            let (acceptor, stop) = (acceptor.clone(), stopped(stop.subscribe()));
            tokio::spawn(async move { acceptor.run(stop).await })
        };
        let working = tokio::spawn(worker.run(Duration::ZERO, stopped(stop.subscribe())));
        Process { acceptor, outputs, stop, loops: vec![accepting, working] }
    }

    async fn accept(&self, run: NewRun, payload: &str) -> Accepted {
        let local = Local { start: Start::Deliver, msg: Msg::with_payload(payload), reply: None };
        self.acceptor.accept(Asked { run, local }).await.unwrap()
    }

    async fn end(mut self) {
        self.stop.send_replace(true);
        for task in std::mem::take(&mut self.loops) {
            task.await.unwrap();
        }
    }

    /// How often each run came to the end of its flow.
    fn ended(&self) -> HashMap<String, usize> {
        let mut counts = HashMap::new();
        for msg in self.outputs.lock().unwrap().iter() {
            *counts.entry(msg.get("run").unwrap_or(&Value::Undefined).to_js_string().to_string()).or_default() += 1;
        }
        counts
    }
}

fn run_of(node: &str, payload: &str) -> NewRun {
    let msg = write_start(Start::Deliver, &Msg::with_payload(payload));
    let trigger = Trigger::Manual { by: "test".into() };
    NewRun { node: node.into(), flow_version: "v1".into(), ..NewRun::new("tab", trigger, msg) }
}

async fn memory() -> Arc<dyn Store> {
    open("memory:", &StoreOptions::default()).await.unwrap()
}

/// No pause before the next attempt, two attempts in all.
fn hasty() -> Options {
    Options { retry_ms_min: 0, retry_ms_max: 0, attempts_max: 2, poll_ms_min: 1, poll_ms_max: 1, ..Options::default() }
}

/// The run once it stands there; it gets there without anybody's help.
async fn once_in(store: &Arc<dyn Store>, id: RunId, state: QueueState) -> QueuedRun {
    loop {
        match store.queued_run(id).await.unwrap() {
            Some(run) if run.state == state => return run,
            _ => tokio::task::yield_now().await,
        }
    }
}

async fn once_ended(store: &Arc<dyn Store>, id: RunId) -> RunState {
    loop {
        match store.run(id).await.unwrap() {
            Some(run) => return run.state,
            None => tokio::task::yield_now().await,
        }
    }
}

fn audit() -> AuditEntry {
    AuditEntry {
        at: jiff::Timestamp::UNIX_EPOCH,
        actor: "test".into(),
        action: "test".into(),
        subject: String::new(),
        detail: serde_json::Value::Null,
    }
}

#[tokio::test]
async fn what_is_accepted_by_two_processes_is_run_once_and_ends() {
    let store = memory().await;
    let (a, b) = (Process::start(&store, hasty()), Process::start(&store, hasty()));
    let mut ids = Vec::new();
    for n in 0..200 {
        let run = run_of("in", "ok");
        ids.push(run.id);
        let process = if n % 3 == 0 { &a } else { &b };
        assert!(matches!(process.accept(run, "ok").await, Accepted::Queued | Accepted::Leased));
    }
    for id in &ids {
        assert_eq!(once_ended(&store, *id).await, RunState::Done);
        assert_eq!(store.queued_run(*id).await.unwrap(), None);
    }
    let mut ended = a.ended();
    b.ended().into_iter().for_each(|(id, n)| *ended.entry(id).or_default() += n);
    assert_eq!(ended.len(), 200);
    assert!(ended.values().all(|n| *n == 1), "{ended:?}");
    a.end().await;
    b.end().await;
}

#[tokio::test]
async fn a_run_that_fails_again_and_again_is_a_dead_letter_that_can_be_replayed() {
    let store = memory().await;
    let process = Process::start(&store, hasty());
    let run = run_of("in", "fail");
    let id = run.id;
    process.accept(run, "fail").await;
    let dead = once_in(&store, id, QueueState::Dead).await;
    assert_eq!((dead.attempt, dead.error.unwrap().message.as_str()), (2, "it says so"));
    assert!(dead.point.is_some_and(|point| point.contains("\"in\"")), "what failed is kept");
    assert!(store.replay_run(id, Resume::Point, &audit()).await.unwrap());
    assert_eq!(once_in(&store, id, QueueState::Dead).await.attempt, 2);
    process.end().await;
}

#[tokio::test]
async fn what_is_in_doubt_waits_for_a_decision() {
    let store = memory().await;
    let options = Options { lease_ms: 0, ..hasty() };
    let process = Process::start(&store, options);
    let run = run_of("once", "ok");
    let id = run.id;
    // As a process leaves it that died between the call and its point.
    let died = crate::store::queue::LeaseWanted { max: 1, lease_ms: 0, ..Default::default() };
    process.end().await;
    store.accept_runs("died", std::slice::from_ref(&run)).await.unwrap();
    let held = store.lease_runs("died", &died).await.unwrap()[0].held();
    let msg = crate::runtime::snapshot::write_msg(&Msg::with_payload("ok"));
    let snapshot = format!(
        r#"{{"v":1,"queue":[],"ways":[{{"node":"once","hops":0,"msg":{msg},"effect":1,"once":true}}],"counts":{{"once":1}},"hops":0}}"#
    );
    let point = crate::store::queue::Point { held, number: 1, lease_ms: 0, snapshot: Some(snapshot), effects: None };
    assert_eq!(store.mark_points(&[point]).await.unwrap(), [true]);
    let process = Process::start(&store, hasty());
    let doubt = once_in(&store, id, QueueState::InDoubt).await.error.unwrap();
    assert!(doubt.node == "once" && doubt.message.contains(&format!("{id}/once/1")), "{doubt:?}");
    assert!(process.ended().is_empty());
    assert!(store.decide_run(id, Decision::Again, &audit()).await.unwrap());
    assert_eq!(once_ended(&store, id).await, RunState::Done);
    let key = process.outputs.lock().unwrap()[0].get("key").cloned();
    assert_eq!(key, Some(format!("{id}/once/1").into()));
    process.end().await;
}

#[tokio::test]
async fn a_stop_gives_back_what_waits_and_the_attempt_does_not_count() {
    let store = memory().await;
    let process = Process::start(&store, hasty());
    let run = run_of("in", "wait");
    let id = run.id;
    process.accept(run, "wait").await;
    once_in(&store, id, QueueState::Leased).await;
    process.end().await;
    let back = store.queued_run(id).await.unwrap().unwrap();
    assert_eq!((back.state, back.attempt, back.error), (QueueState::Queued, 0, None));
}

#[tokio::test]
async fn a_run_is_cancelled_while_it_waits() {
    let store = memory().await;
    let process = Process::start(&store, Options { lease_ms: 300, ..hasty() });
    let run = run_of("in", "wait");
    let id = run.id;
    process.accept(run, "wait").await;
    once_in(&store, id, QueueState::Leased).await;
    store.cancel_run(id, &audit()).await.unwrap();
    assert_eq!(once_ended(&store, id).await, RunState::Stopped);
    process.end().await;
}

#[tokio::test]
async fn flows_that_are_not_to_be_had_make_a_dead_letter_that_says_so() {
    let store = memory().await;
    let process = Process::start(&store, hasty());
    let run = NewRun { node: "gone".into(), ..run_of("in", "ok") };
    let id = run.id;
    process.accept(run, "ok").await;
    let dead = once_in(&store, id, QueueState::Dead).await.error.unwrap();
    assert!(dead.message.contains("no node \"gone\""), "{}", dead.message);
    process.end().await;
}

/// A store that is away for a moment is no reason to give a run up, nor to begin it on other flows than its own.
#[tokio::test]
async fn a_run_waits_for_flows_that_cannot_be_read_now() {
    let store = memory().await;
    let asked = Arc::new(AtomicUsize::new(0));
    let counted = asked.clone();
    let elsewhere: PlanOf = Box::new(move |version| {
        assert_eq!(version, "v0");
        let away = counted.fetch_add(1, Ordering::Relaxed) < 3;
        Box::pin(async move { if away { Err("connection refused".to_owned()) } else { Ok(None) } })
    });
    let process = Process::start_with(&store, hasty(), Some(elsewhere));
    let run = NewRun { flow_version: "v0".into(), ..run_of("in", "ok") };
    let id = run.id;
    process.accept(run, "ok").await;
    assert_eq!(once_ended(&store, id).await, RunState::Done);
    assert_eq!(asked.load(Ordering::Relaxed), 4, "more attempts than count, as none was made");
    process.end().await;
}
