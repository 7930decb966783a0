//! The run model, on nodes made for the purpose.

mod places;

use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use arcstr::ArcStr;

use super::node::{Node, Step, Then};
use super::opening::{Opening, Start};
use super::*;
use crate::clock::Clock;
use crate::model::flow::{CatchTarget, Plan, PlanFlow, PlanNode};
use crate::model::node_spec::NodeSpec;
use crate::model::run::{RunState, Trigger};
use crate::model::{Diagnostic, Msg, Object, RunId, Value};

mod durable;

impl NodeState for u32 {
    fn kept(&self) -> Option<Value> {
        Some(Value::from(f64::from(*self)))
    }

    fn restored(kept: &Value) -> Option<Self> {
        kept.as_f64().map(|n| n as u32)
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

/// Appends its id to `msg.seen` and passes on; waits first when the message asks.
struct Pass;
impl Node for Pass {
    fn on_msg(&self, mut msg: Msg, cx: &mut Cx<'_>) -> Step {
        let seen = msg.get("seen").map(|v| v.to_js_string()).unwrap_or_default();
        msg.set("seen", format!("{seen}{}", cx.node().id));
        cx.emit(0, msg);
        Step::Done
    }
}

struct Panics;
impl Node for Panics {
    fn on_msg(&self, _msg: Msg, _cx: &mut Cx<'_>) -> Step {
        panic!("on purpose")
    }
}

struct Answers;
impl Node for Answers {
    fn on_msg(&self, msg: Msg, cx: &mut Cx<'_>) -> Step {
        let body = msg.payload().to_js_string().to_string();
        cx.reply(&msg, Reply { status: 200, headers: vec![], body: body.into() });
        Step::Done
    }
}

/// Waits `msg.wait` milliseconds on the engine's clock.
struct Waits;
impl Node for Waits {
    fn on_msg(&self, msg: Msg, cx: &mut Cx<'_>) -> Step {
        let ms = msg.get("wait").map_or(0.0, |v| v.to_number()) as u64;
        let clock = cx.clock();
        Step::wait(async move {
            if ms > 0 {
                clock.sleep(Duration::from_millis(ms)).await;
            }
            Box::new(move |cx: &mut Cx<'_>| {
                cx.emit(0, msg);
                Step::Done
            }) as Then
        })
    }
}

/// Counts messages and tells at the end of the run.
struct CountsAtEnd;
impl Node for CountsAtEnd {
    fn on_msg(&self, _msg: Msg, cx: &mut Cx<'_>) -> Step {
        *cx.run_state::<u32>() += 1;
        cx.at_run_end();
        Step::Done
    }
    fn on_run_end(&self, cx: &mut Cx<'_>) -> Step {
        let n = *cx.run_state::<u32>();
        cx.emit(0, Msg::with_payload(i64::from(n)));
        Step::Done
    }
}

/// Passes on, and fails its third message.
struct FailsLate;
impl Node for FailsLate {
    fn on_msg(&self, msg: Msg, cx: &mut Cx<'_>) -> Step {
        let seen = cx.run_state::<u32>();
        *seen += 1;
        if *seen == 3 {
            return Step::fail(msg, "the third");
        }
        cx.emit(0, msg);
        Step::Done
    }
}

/// Answers for a metric.
struct Measures;
impl Node for Measures {
    fn on_msg(&self, _msg: Msg, _cx: &mut Cx<'_>) -> Step {
        Step::Done
    }
    fn entry(&self) -> Option<Entry> {
        Some(Entry::Metric { name: "load".into() })
    }
}

/// Counts how often it was started.
struct Acts;
static STARTED: AtomicUsize = AtomicUsize::new(0);
impl Node for Acts {
    fn on_msg(&self, _msg: Msg, _cx: &mut Cx<'_>) -> Step {
        Step::Done
    }
    fn start(&self, _source: Source) -> Option<Pin<Box<dyn Future<Output = ()> + Send>>> {
        STARTED.fetch_add(1, Ordering::SeqCst);
        None
    }
}

macro_rules! types {
    ($($name:literal => $ty:path),*) => {
        [$({
            static SPEC: NodeSpec = spec($name);
            NodeType { spec: &SPEC, build: |_: &NodeConfig<'_>| -> Result<Arc<dyn Node>, Vec<Diagnostic>> { Ok(Arc::new($ty)) } }
        }),*]
    };
}

pub(super) fn node(id: &str, node_type: &str, wires: &[&[u32]]) -> PlanNode {
    PlanNode {
        id: id.into(),
        node_type: node_type.into(),
        name: ArcStr::new(),
        flow: 0,
        instance: None,
        context: "tab".into(),
        parents: Default::default(),
        config: Default::default(),
        env: Default::default(),
        wires: wires.iter().map(|w| w.to_vec()).collect(),
        catch: Vec::new(),
        status: Vec::new(),
        complete: Vec::new(),
        links: Vec::new(),
        entry: 0,
    }
}

type Outputs = Arc<Mutex<Vec<(ArcStr, Msg)>>>;

fn engine(nodes: Vec<PlanNode>, clock: Clock, limits: Limits) -> (Arc<Engine>, Outputs) {
    let outputs: Outputs = Outputs::default();
    let mut services = Services::new(clock, limits, Default::default());
    let sink = outputs.clone();
    services.observer = Some(Arc::new(move |_: RunId, event| {
        if let Event::Output { node, msg, .. } = event {
            sink.lock().unwrap().push((node, msg));
        }
    }));
    let types = types!["pass" => Pass, "panics" => Panics, "answers" => Answers, "waits" => Waits, "counts" => CountsAtEnd, "acts" => Acts, "fails late" => FailsLate, "measures" => Measures, "sends" => durable::Sends, "pays" => durable::Pays];
    let engine = Engine::new(Arc::new(services), Catalogue::new(&types));
    engine.deploy(Plan { nodes, flows: vec![tab()], ..Plan::default() });
    (engine, outputs)
}

fn tab() -> PlanFlow {
    PlanFlow { id: "tab".into(), label: "tab".into(), ..PlanFlow::default() }
}

async fn run(engine: &Arc<Engine>, msg: Msg) -> Arc<super::run::EndedRun> {
    let opening =
        Opening { node: 0, start: Start::Deliver, msg, trigger: Trigger::Manual { by: "test".into() }, reply: None };
    engine.current().open(opening).unwrap().1.await
}

fn seen(outputs: &Outputs) -> Vec<String> {
    outputs
        .lock()
        .unwrap()
        .iter()
        .map(|(_, m)| m.get("seen").map(|v| v.to_js_string().to_string()).unwrap_or_default())
        .collect()
}

#[tokio::test]
async fn order_is_breadth_first_and_branches_do_not_share_changes() {
    let nodes = vec![
        node("a", "pass", &[&[1, 2]]),
        node("b", "pass", &[&[3]]),
        node("c", "pass", &[&[3]]),
        node("d", "pass", &[]),
    ];
    let (engine, outputs) = engine(nodes, Clock::System, Limits::default());
    let ended = run(&engine, Msg::new()).await;
    assert_eq!(seen(&outputs), ["abd", "acd"]);
    assert_eq!((ended.state, ended.hops), (RunState::Done, 5));
    let trace: Vec<String> = ended.to_record().trace.iter().map(|s| s.node.to_string()).collect();
    assert_eq!(trace, ["a", "b", "c", "d", "d"]);
}

#[tokio::test]
async fn a_ready_wait_keeps_its_place_and_a_slow_one_comes_later() {
    let nodes = vec![
        node("a", "pass", &[&[1, 2]]),
        node("w", "waits", &[&[3]]),
        node("b", "pass", &[&[3]]),
        node("d", "pass", &[]),
    ];
    let clock = Clock::manual("2026-01-01T00:00:00Z".parse().unwrap());
    let (engine, outputs) = engine(nodes, clock.clone(), Limits::default());
    run(&engine, Msg::new()).await;
    assert_eq!(seen(&outputs), ["ad", "abd"]);
    outputs.lock().unwrap().clear();
    let mut msg = Msg::new();
    msg.set("wait", 1000.0);
    let open = tokio::spawn({
        let engine = engine.clone();
        async move { run(&engine, msg).await }
    });
    while outputs.lock().unwrap().is_empty() {
        tokio::task::yield_now().await;
    }
    clock.advance(Duration::from_secs(1));
    open.await.unwrap();
    assert_eq!(seen(&outputs), ["abd", "ad"]);
}

#[tokio::test]
async fn a_panic_ends_its_message_and_reaches_the_catch_node() {
    let mut broken = node("p", "panics", &[]);
    broken.catch = vec![CatchTarget { node: 1, uncaught_only: false }];
    let (engine, outputs) = engine(vec![broken, node("c", "pass", &[])], Clock::System, Limits::default());
    assert_eq!(run(&engine, Msg::new()).await.state, RunState::Done);
    let error = outputs.lock().unwrap()[0].1.get("error").cloned().unwrap();
    assert_eq!(error.get("message").to_js_string(), "the node panicked: on purpose");
    assert_eq!(error.get("source").get("id"), Value::from("p"));
}

#[tokio::test]
async fn a_panic_without_catch_fails_the_run() {
    let (engine, _) = engine(vec![node("p", "panics", &[])], Clock::System, Limits::default());
    let ended = run(&engine, Msg::new()).await;
    assert_eq!(ended.state, RunState::Failed);
    assert_eq!(ended.error.as_ref().unwrap().node, "p");
}

#[tokio::test]
async fn a_run_that_is_remembered_keeps_no_nodes_of_a_deploy_before() {
    let (engine, _) = engine(vec![node("a", "pass", &[])], Clock::System, Limits::default());
    let ended = run(&engine, Msg::new()).await;
    let before = Arc::downgrade(&engine.current());
    engine.deploy(Plan { flows: vec![tab()], ..Plan::default() });
    for _ in 0..1_000 {
        tokio::task::yield_now().await;
    }
    assert_eq!(before.strong_count(), 0);
    let found = engine.services.history.find(ended.id).unwrap();
    assert_eq!((found.trace.len(), found.trace[0].node.as_str()), (1, "a"));
}

#[tokio::test]
async fn a_cycle_ends_at_the_hop_limit() {
    let limits = Limits { hops_max: 1000, ..Limits::default() };
    let (engine, _) = engine(vec![node("a", "pass", &[&[0]])], Clock::System, limits);
    let ended = run(&engine, Msg::new()).await;
    assert_eq!((ended.state, ended.hops), (RunState::Failed, 1001));
}

#[tokio::test]
async fn every_caller_is_answered() {
    let nodes = vec![node("a", "answers", &[]), node("b", "pass", &[]), node("w", "waits", &[&[0]])];
    let clock = Clock::manual("2026-01-01T00:00:00Z".parse().unwrap());
    let (engine, _) = engine(nodes, clock.clone(), Limits::default());
    let call = async |node, msg| {
        let trigger = Trigger::Http { method: "GET".into(), path: "/".into() };
        engine.current().call(node, Start::Deliver, msg, trigger, Duration::from_secs(2)).await.unwrap()
    };
    assert_eq!(call(0, Msg::with_payload("hi")).await.reply.unwrap().body, "hi");
    let silent = call(1, Msg::new()).await;
    let reply = silent.reply.unwrap();
    assert_eq!(reply.status, 500);
    assert_eq!(reply.body, format!("{{\"error\":\"no_response\",\"run\":\"{}\"}}", silent.run));
    let mut slow = Msg::new();
    slow.set("wait", 60_000.0);
    let (called, ()) = tokio::join!(call(2, slow), async {
        tokio::task::yield_now().await;
        clock.advance(Duration::from_secs(2));
    });
    assert!(called.reply.is_none());
    assert_eq!(engine.open_runs(), 1, "the run goes on");
}

#[tokio::test]
async fn what_collects_until_the_end_of_the_run_can_still_emit() {
    let nodes = vec![node("a", "pass", &[&[1, 1, 1]]), node("n", "counts", &[&[2]]), node("d", "pass", &[])];
    let (engine, outputs) = engine(nodes, Clock::System, Limits::default());
    run(&engine, Msg::new()).await;
    assert_eq!(outputs.lock().unwrap()[0].1.payload(), &Value::from(3));
}

#[tokio::test]
async fn runs_beyond_the_limit_are_refused_and_draining_ends_those_left() {
    let limits = Limits { runs_max: 1, ..Limits::default() };
    let clock = Clock::manual("2026-01-01T00:00:00Z".parse().unwrap());
    let (engine, _) = engine(vec![node("w", "waits", &[])], clock.clone(), limits);
    let mut msg = Msg::from_object(Object::new());
    msg.set("wait", 60_000.0);
    let opening = |msg| Opening {
        node: 0,
        start: Start::Deliver,
        msg,
        trigger: Trigger::Manual { by: "test".into() },
        reply: None,
    };
    let run = tokio::spawn(engine.current().open(opening(msg.clone())).unwrap().1);
    assert!(engine.current().open(opening(msg)).is_err());
    let (left, ()) = tokio::join!(engine.drain(Duration::from_secs(5)), async {
        for _ in 0..10 {
            tokio::task::yield_now().await;
        }
        clock.advance(Duration::from_secs(5));
    });
    assert_eq!(left, 1);
    assert_eq!(run.await.unwrap().state, RunState::Stopped);
    assert_eq!(engine.open_runs(), 0);
}

#[tokio::test]
async fn deployed_idle_a_plan_answers_but_its_sources_do_not_act() {
    let (engine, outputs) = engine(vec![node("p", "pass", &[])], Clock::System, Limits::default());
    let plan = |nodes| Plan { nodes, flows: vec![tab()], ..Plan::default() };
    engine.deploy_idle(plan(vec![node("q", "pass", &[]), node("s", "acts", &[])]));
    run(&engine, Msg::new()).await;
    assert_eq!((seen(&outputs), STARTED.load(Ordering::SeqCst)), (vec!["q".to_string()], 0));
    engine.deploy(plan(vec![node("s", "acts", &[])]));
    assert_eq!(STARTED.load(Ordering::SeqCst), 1);
}

fn caught_by(id: &str, node_type: &str, catch: &[u32]) -> PlanNode {
    PlanNode {
        catch: catch.iter().map(|c| CatchTarget { node: *c, uncaught_only: false }).collect(),
        ..node(id, node_type, &[])
    }
}

/// Each failure is caught by two nodes that fail as well: the messages double with every hop.
#[tokio::test]
async fn errors_that_multiply_are_held_to_the_queue_limit() {
    let nodes = vec![caught_by("a", "panics", &[1, 2]), caught_by("b", "panics", &[0]), caught_by("c", "panics", &[0])];
    let limits = Limits { queue_max: 50, hops_max: 30, ..Limits::default() };
    let (engine, _) = engine(nodes, Clock::System, limits);
    let ended = run(&engine, Msg::new()).await;
    assert_eq!(ended.error.as_ref().unwrap().message, "50 messages are waiting in this run (queue_max)");
}

#[tokio::test]
async fn a_failure_that_is_not_traced_marks_no_earlier_step() {
    let nodes = vec![node("f", "fails late", &[&[0]])];
    let limits = Limits { trace_steps_max: 2, hops_max: 100, ..Limits::default() };
    let (engine, _) = engine(nodes, Clock::System, limits);
    let ended = run(&engine, Msg::new()).await;
    let notes: Vec<_> = ended.to_record().trace.into_iter().map(|s| s.note).collect();
    assert_eq!((ended.state, notes), (RunState::Failed, vec![None, None]));
}

#[tokio::test]
async fn only_the_answer_that_counts_is_told_of() {
    let replies = Arc::new(AtomicUsize::new(0));
    let mut services = Services::new(Clock::System, Limits::default(), Default::default());
    let count = replies.clone();
    services.observer = Some(Arc::new(move |_: RunId, event| {
        count.fetch_add(usize::from(matches!(event, Event::Reply { .. })), Ordering::SeqCst);
    }));
    let engine = Engine::new(Arc::new(services), Catalogue::new(&types!["pass" => Pass, "answers" => Answers]));
    let nodes = vec![node("a", "pass", &[&[1, 1]]), node("b", "answers", &[])];
    engine.deploy(Plan { nodes, flows: vec![tab()], ..Plan::default() });
    let trigger = Trigger::Http { method: "GET".into(), path: "/".into() };
    let called = engine.current().call(0, Start::Deliver, Msg::new(), trigger, Duration::from_secs(2)).await.unwrap();
    assert_eq!((called.reply.unwrap().status, replies.load(Ordering::SeqCst)), (200, 1));
}

#[tokio::test]
async fn the_first_node_of_a_metric_answers_for_it() {
    let (engine, _) =
        engine(vec![node("m", "measures", &[]), node("n", "measures", &[])], Clock::System, Limits::default());
    let deployed = engine.current();
    assert_eq!(deployed.metrics.get("load"), Some(&0));
    assert_eq!(deployed.diagnostics.iter().map(|d| d.code.as_str()).collect::<Vec<_>>(), ["duplicate-metric"]);
}

#[tokio::test]
async fn a_message_for_which_no_wait_is_free_reaches_the_catch_node_whole() {
    let clock = Clock::manual("2026-01-01T00:00:00Z".parse().unwrap());
    let limits = Limits { waits_max: 1, ..Limits::default() };
    let wait = PlanNode { catch: caught_by("w", "waits", &[2]).catch, ..node("w", "waits", &[&[]]) };
    let nodes = vec![node("a", "pass", &[&[1, 1]]), wait, node("c", "pass", &[])];
    let (engine, outputs) = engine(nodes, clock.clone(), limits);
    let mut msg = Msg::with_payload("kept");
    msg.set("wait", 1000.0);
    let open = tokio::spawn({
        let engine = engine.clone();
        async move { run(&engine, msg).await }
    });
    while outputs.lock().unwrap().is_empty() {
        tokio::task::yield_now().await;
    }
    let caught = outputs.lock().unwrap()[0].1.clone();
    assert_eq!((caught.payload(), seen(&outputs)), (&Value::from("kept"), vec!["ac".to_string()]));
    clock.advance(Duration::from_secs(1));
    open.await.unwrap();
}

/// Counts what it got, since it was built; one that is kept goes on counting.
struct Counts(AtomicUsize, Arc<AtomicUsize>);
impl Node for Counts {
    fn on_msg(&self, mut msg: Msg, cx: &mut Cx<'_>) -> Step {
        let n = self.0.fetch_add(1, Ordering::SeqCst) + 1;
        msg.set("n", n as f64);
        let after = msg.get("after").map_or(0.0, |v| v.to_number());
        if after > 0.0 {
            msg.remove("after");
            cx.deliver_later(Duration::from_secs(after as u64), msg);
            return Step::Done;
        }
        cx.emit(0, msg);
        Step::Done
    }
    fn start(&self, source: Source) -> Option<Pin<Box<dyn Future<Output = ()> + Send>>> {
        let clock = source.clock();
        Some(Box::pin(async move {
            loop {
                clock.sleep(Duration::from_secs(10)).await;
                let _ = source.deliver(Msg::new(), Trigger::Inject { node: "n".into() }).is_ok();
            }
        }))
    }
    fn close(&self) -> Option<Pin<Box<dyn Future<Output = ()> + Send>>> {
        self.1.fetch_add(1, Ordering::SeqCst);
        None
    }
}

#[tokio::test]
async fn a_deploy_leaves_alone_what_it_is_asked_to_keep() {
    static SPEC: NodeSpec = spec("counts");
    static STOPS: std::sync::LazyLock<Arc<AtomicUsize>> = std::sync::LazyLock::new(Arc::default);
    let counts = NodeType { spec: &SPEC, build: |_| Ok(Arc::new(Counts(AtomicUsize::new(0), STOPS.clone()))) };
    let clock = Clock::manual("2026-01-01T00:00:00Z".parse().unwrap());
    let mut services = Services::new(clock.clone(), Limits::default(), Default::default());
    let out: Arc<Mutex<Vec<String>>> = Arc::default();
    let sink = out.clone();
    services.observer = Some(Arc::new(move |_: RunId, event| {
        if let Event::Output { node, msg, .. } = event {
            sink.lock().unwrap().push(format!("{node}{}", msg.get("n").map(|n| n.to_js_string()).unwrap_or_default()));
        }
    }));
    let engine = Engine::new(Arc::new(services), Catalogue::new(&[counts]));
    let plan = |nodes| Plan { nodes, flows: vec![tab()], ..Plan::default() };
    let settle = || async {
        for _ in 0..50 {
            tokio::task::yield_now().await;
        }
    };
    engine.deploy(plan(vec![node("a", "counts", &[]), node("b", "counts", &[])]));
    settle().await;
    clock.advance(Duration::from_secs(10));
    settle().await;
    out.lock().unwrap().sort();
    assert_eq!(std::mem::take(&mut *out.lock().unwrap()), ["a1", "b1"]);
    let late = Opening {
        node: 0,
        start: Start::Deliver,
        msg: Msg::from_object(serde_json::from_str::<Object>(r#"{"after":7}"#).unwrap()),
        trigger: Trigger::Inject { node: "a".into() },
        reply: None,
    };
    engine.current().open(late).unwrap().1.await;
    settle().await;
    // `b` is made anew and `a`, at another place of the plan and with other wires, goes on.
    let next = plan(vec![node("c", "counts", &[]), node("b", "counts", &[]), node("a", "counts", &[&[0]])]);
    let prepared = engine.prepare_keeping(next, &|node| node.id == "a");
    assert_eq!(STOPS.load(Ordering::SeqCst), 0, "nothing happens before the swap");
    engine.swap(prepared, &|stopped| assert_eq!(stopped, ["b"]));
    assert_eq!(STOPS.load(Ordering::SeqCst), 1);
    settle().await;
    clock.advance(Duration::from_secs(7));
    settle().await;
    assert_eq!(std::mem::take(&mut *out.lock().unwrap()), ["c1"], "a late message goes along the new wires");
    clock.advance(Duration::from_secs(3));
    settle().await;
    let mut all = std::mem::take(&mut *out.lock().unwrap());
    all.sort();
    // `a` keeps its beat of ten seconds and its count; `c` and `b` have been there for all ten, too.
    assert_eq!(all, ["b1", "c2", "c3"]);
}
