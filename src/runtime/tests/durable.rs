//! Durable runs: where their points lie, and that they are gone on with from each of them.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;

use super::super::durable::{Beginning, Control, Decision, DurableEnd, DurableOpening, Lease, Marked, Wish};
use super::super::opening::Start;
use super::super::*;
use super::{Outputs, engine, node};
use crate::clock::Clock;
use crate::model::flow::{CatchTarget, NodeIndex};
use crate::model::run::{RunState, Trigger};
use crate::model::{Msg, RunId, Value};

/// Adds its key to `msg.keys`; waits as the message asks, and fails while [`Msg`] asks for that.
pub(super) struct Sends;

fn send(mut msg: Msg, cx: &mut Cx<'_>) -> Step {
    let key = cx.idempotency_key().unwrap_or_default();
    if FAILING.load(Ordering::SeqCst) && msg.get("fails").is_some() {
        return Step::fail(msg, format!("no answer to {key}"));
    }
    let keys = msg.get("keys").map(|v| v.to_js_string()).unwrap_or_default();
    msg.set("keys", format!("{keys}{} ", key.split_once('/').map_or("", |(_, rest)| rest)));
    let (clock, ms) = (cx.clock(), msg.get("wait").map_or(0.0, Value::to_number) as u64);
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

/// Whether messages with `fails` fail now; only one test looks.
static FAILING: AtomicBool = AtomicBool::new(true);

impl Node for Sends {
    fn effect(&self) -> Effect {
        Effect::Repeatable
    }
    fn on_msg(&self, msg: Msg, cx: &mut Cx<'_>) -> Step {
        send(msg, cx)
    }
}

/// As [`Sends`], but never twice.
pub(super) struct Pays;

impl Node for Pays {
    fn effect(&self) -> Effect {
        Effect::Once
    }
    fn on_msg(&self, msg: Msg, cx: &mut Cx<'_>) -> Step {
        send(msg, cx)
    }
}

/// Keeps what is committed; the lease is lost after so many points.
#[derive(Clone, Default)]
struct Points {
    kept: Arc<Mutex<Vec<String>>>,
    lost_after: Option<usize>,
}

#[async_trait]
impl Lease for Points {
    async fn mark(&self, snapshot: String) -> Marked {
        let mut kept = self.kept.lock().unwrap();
        if self.lost_after == Some(kept.len()) {
            return Marked::Lost;
        }
        kept.push(snapshot);
        Marked::Kept
    }
}

struct Bed {
    engine: Arc<Engine>,
    outputs: Outputs,
    clock: Clock,
    id: RunId,
    points: Points,
    control: Arc<Control>,
}

impl Bed {
    fn new(nodes: Vec<crate::model::flow::PlanNode>) -> Bed {
        let clock = Clock::manual("2026-01-01T00:00:00Z".parse().unwrap());
        let (engine, outputs) = engine(nodes, clock.clone(), Limits::default());
        Bed { engine, outputs, clock, id: RunId::fresh(), points: Points::default(), control: Arc::default() }
    }

    async fn go(&self, beginning: Beginning, decision: Option<Decision>) -> DurableEnd {
        let opening = DurableOpening {
            id: self.id,
            node: 0,
            trigger: Trigger::Manual { by: "test".into() },
            beginning,
            decision,
            reply: None,
            lease: Box::new(self.points.clone()),
            control: self.control.clone(),
        };
        self.engine.current().open_durable(opening).unwrap().await
    }

    async fn begin(&self, msg: Msg) -> DurableEnd {
        self.go(Beginning::Message { start: Start::Deliver, msg }, None).await
    }

    async fn resume(&self, snapshot: &str, decision: Option<Decision>) -> DurableEnd {
        self.go(Beginning::Snapshot(snapshot.into()), decision).await
    }

    fn kept(&self) -> Vec<String> {
        self.points.kept.lock().unwrap().clone()
    }

    /// What left the flow since it was last asked: the keys it bears.
    fn keys(&self) -> Vec<String> {
        let out = std::mem::take(&mut *self.outputs.lock().unwrap());
        out.iter().map(|(_, m)| m.get("keys").map(|v| v.to_js_string().to_string()).unwrap_or_default()).collect()
    }
}

fn done(end: &DurableEnd) -> bool {
    matches!(end, DurableEnd::Ended(run) if run.state == RunState::Done)
}

fn chain(types: &[&str]) -> Vec<crate::model::flow::PlanNode> {
    let last = types.len() - 1;
    let wires = |at: usize| if at < last { vec![at as NodeIndex + 1] } else { Vec::new() };
    types.iter().enumerate().map(|(at, t)| node(&format!("n{at}"), t, &[&wires(at)])).collect()
}

#[tokio::test]
async fn a_run_is_gone_on_with_from_each_of_its_points_with_the_same_keys() {
    let bed = Bed::new(chain(&["pass", "sends", "pass", "sends", "pass"]));
    let mut msg = Msg::with_payload(Value::Bytes(Arc::new(vec![1, 2])));
    msg.set("at", Value::Date(5.0));
    assert!(done(&bed.begin(msg).await));
    assert_eq!(bed.keys(), ["n1/1 n3/1 "]);
    let kept = bed.kept();
    assert_eq!(kept.len(), 2, "before each effect; what the first came to is in the second: {kept:?}");
    for snapshot in &kept {
        assert!(done(&bed.resume(snapshot, None).await));
        let out = bed.outputs.lock().unwrap()[0].1.clone();
        assert_eq!((out.payload(), out.get("at")), (&Value::Bytes(Arc::new(vec![1, 2])), Some(&Value::Date(5.0))));
        assert_eq!(bed.keys(), ["n1/1 n3/1 "]);
    }
}

#[tokio::test]
async fn what_must_not_be_repeated_is_in_doubt_until_somebody_decides() {
    let bed = Bed::new(chain(&["pass", "pays", "pass"]));
    assert!(done(&bed.begin(Msg::new()).await));
    bed.keys();
    let kept = bed.kept();
    assert_eq!(kept.len(), 2, "before and right after: {kept:?}");
    let DurableEnd::Doubt(doubts) = bed.resume(&kept[0], None).await else { panic!("it is in doubt") };
    assert_eq!((doubts.len(), doubts[0].key.clone()), (1, format!("{}/n1/1", bed.id)));
    assert_eq!(bed.keys(), [""; 0]);
    assert!(done(&bed.resume(&kept[0], Some(Decision::Again)).await));
    assert_eq!(bed.keys(), ["n1/1 "]);
    assert!(done(&bed.resume(&kept[0], Some(Decision::Skip)).await));
    assert_eq!(bed.outputs.lock().unwrap()[0].1.get("inDoubt").unwrap().get("decided"), "skip".into());
    assert_eq!(bed.keys(), [""]);
    assert!(done(&bed.resume(&kept[1], None).await), "its end is known");
    assert_eq!(bed.keys(), ["n1/1 "]);
}

#[tokio::test]
async fn only_what_failed_is_tried_again() {
    FAILING.store(true, Ordering::SeqCst);
    let nodes = vec![
        node("a", "pass", &[&[1, 2]]),
        node("b", "sends", &[&[3]]),
        node("c", "sends", &[&[3]]),
        node("d", "pass", &[]),
    ];
    let bed = Bed::new(nodes);
    let mut msg = Msg::new();
    msg.set("fails", true);
    let DurableEnd::Again { error, snapshot } = bed.begin(msg).await else { panic!("it is tried again") };
    assert_eq!(error.message, format!("no answer to {}/b/1", bed.id));
    assert_eq!(bed.keys(), [""; 0]);
    FAILING.store(false, Ordering::SeqCst);
    assert!(done(&bed.resume(&snapshot, None).await));
    assert_eq!(bed.keys(), ["b/1 ", "c/1 "]);
    FAILING.store(true, Ordering::SeqCst);
}

#[tokio::test]
async fn a_caught_error_is_no_failure() {
    let mut fails = node("b", "panics", &[]);
    fails.catch = vec![CatchTarget { node: 2, uncaught_only: false }];
    let bed = Bed::new(vec![node("a", "pass", &[&[1]]), fails, node("c", "sends", &[])]);
    assert!(done(&bed.begin(Msg::new()).await));
    assert_eq!(bed.keys(), ["c/1 "]);
    let again = Bed::new(chain(&["pass", "panics"]));
    assert!(matches!(again.begin(Msg::new()).await, DurableEnd::Again { .. }));
}

#[tokio::test]
async fn a_run_whose_lease_is_lost_sends_nothing_more() {
    let mut bed = Bed::new(chain(&["pass", "sends", "sends"]));
    bed.points.lost_after = Some(1);
    assert!(matches!(bed.begin(Msg::new()).await, DurableEnd::Lost));
    assert_eq!(bed.keys(), [""; 0]);
}

#[tokio::test]
async fn states_go_along_and_a_run_that_waits_can_be_given_back() {
    let nodes = vec![
        node("a", "pass", &[&[1, 2]]),
        node("n", "counts", &[&[3]]),
        node("w", "waits", &[&[1]]),
        node("d", "pass", &[]),
    ];
    let bed = Arc::new(Bed::new(nodes));
    let mut msg = Msg::new();
    msg.set("wait", 1000.0);
    let open = tokio::spawn({
        let bed = bed.clone();
        async move { bed.begin(msg).await }
    });
    tokio::task::yield_now().await;
    bed.control.ask(Wish::GiveBack);
    assert!(matches!(open.await.unwrap(), DurableEnd::GivenBack));
    let kept = bed.kept();
    let again = Arc::new(Bed::new(bed.engine.current().plan.nodes.clone()));
    let open = tokio::spawn({
        let (again, snapshot) = (again.clone(), kept[kept.len() - 1].clone());
        async move { again.resume(&snapshot, None).await }
    });
    tokio::task::yield_now().await;
    again.clock.advance(Duration::from_secs(1));
    assert!(done(&open.await.unwrap()));
    let out = again.outputs.lock().unwrap();
    assert_eq!(out.iter().map(|(_, m)| m.payload().to_number()).collect::<Vec<_>>(), [2.0]);
}

#[tokio::test]
async fn what_cannot_be_read_says_so() {
    let bed = Bed::new(chain(&["pass"]));
    for snapshot in ["", "{}", r#"{"v":99,"queue":[],"hops":0}"#, r#"{"v":1,"queue":[["gone",0,{}]],"hops":0}"#] {
        assert!(matches!(bed.resume(snapshot, None).await, DurableEnd::Unusable(_)), "{snapshot}");
    }
}

#[tokio::test]
async fn a_cancelled_run_stops() {
    let bed = Arc::new(Bed::new(chain(&["waits", "sends"])));
    let mut msg = Msg::new();
    msg.set("wait", 1000.0);
    let open = tokio::spawn({
        let bed = bed.clone();
        async move { bed.begin(msg).await }
    });
    tokio::task::yield_now().await;
    bed.control.ask(Wish::Cancel);
    let DurableEnd::Ended(run) = open.await.unwrap() else { panic!("it ends") };
    assert_eq!((run.state, bed.keys().len()), (RunState::Stopped, 0));
}

#[tokio::test]
async fn a_fast_run_has_no_points_and_no_keys() {
    let bed = Bed::new(chain(&["sends", "pays"]));
    super::run(&bed.engine, Msg::new()).await;
    assert_eq!(bed.keys(), ["  "]);
}
