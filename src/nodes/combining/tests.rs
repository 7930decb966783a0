//! Sequences in durable runs: what fails as a whole is tried again as a whole, and what a run holds goes on with it.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;

use super::super::rig::{Rig, msg, node};
use crate::model::RunId;
use crate::model::run::{RunState, Trigger};
use crate::runtime::Limits;
use crate::runtime::durable::{Beginning, Control, DurableEnd, DurableOpening, Lease, Marked, Wish};
use crate::runtime::opening::Start;

/// The last point of a run.
#[derive(Clone, Default)]
struct Point(Arc<Mutex<String>>);

#[async_trait]
impl Lease for Point {
    async fn mark(&self, snapshot: String) -> Marked {
        *self.0.lock().unwrap() = snapshot;
        Marked::Kept
    }
}

/// Opens a durable run at the first node, `n0`.
fn open(
    rig: &Rig,
    trigger: &Trigger,
    beginning: Beginning,
    point: &Point,
    control: &Arc<Control>,
) -> impl Future<Output = DurableEnd> + Send + use<> {
    let opening = DurableOpening {
        id: RunId::fresh(),
        node: rig.index("n0"),
        trigger: trigger.clone(),
        beginning,
        decision: None,
        reply: None,
        lease: Box::new(point.clone()),
        control: control.clone(),
    };
    rig.engine.current().open_durable(opening).unwrap()
}

async fn durable(rig: &Rig, trigger: &Trigger, beginning: Beginning) -> DurableEnd {
    open(rig, trigger, beginning, &Point::default(), &Arc::default()).await
}

fn message(text: &str) -> Beginning {
    Beginning::Message { start: Start::Deliver, msg: msg(text) }
}

fn is_done(end: &DurableEnd) -> bool {
    matches!(end, DurableEnd::Ended(run) if run.state == RunState::Done)
}

/// A tab of nodes, each wired to the next one unless it says otherwise.
fn flow(nodes: &[&str]) -> Rig {
    let mut all = vec![r#"{"id":"tab","type":"tab"}"#.to_string()];
    for (at, node) in nodes.iter().enumerate() {
        let wires = if at + 1 < nodes.len() { format!("[[\"n{}\"]]", at + 1) } else { "[[]]".into() };
        let wires = if node.contains("\"wires\"") { String::new() } else { format!(",\"wires\":{wires}") };
        all.push(format!("{{\"id\":\"n{at}\",\"z\":\"tab\"{wires},{node}}}"));
    }
    let rig = Rig::of_flow(&format!("[{}]", all.join(",")));
    assert_eq!(rig.problems(), []);
    rig
}

const SPLIT: &str = r#""type":"split""#;

fn triggers() -> [Trigger; 2] {
    [Trigger::Manual { by: "test".into() }, Trigger::Inject { node: "test".into() }]
}

/// Expressions that fail while the tab's context has `away`.
#[tokio::test]
async fn a_sequence_that_fails_is_tried_again_as_a_whole() {
    let fails = "$flowContext('away') ? $error('away') : ";
    let away = r#""type":"change","wires":[[]],"rules":[{"t":"set","p":"away","pt":"flow","to":"true","tot":"bool"}]"#;
    for (node, expected) in [
        (format!(r#""type":"sort","seqKeyType":"jsonata","seqKey":"{fails}payload""#), ["1", "2", "3"].as_slice()),
        (format!(r#""type":"join","mode":"reduce","reduceInit":"0","reduceInitType":"num","reduceExp":"{fails}$A + payload""#), &["6"]),
        (
            format!(r#""type":"switch","property":"payload","repair":true,"wires":[[]],"outputs":1,"rules":[{{"t":"jsonata_exp","v":"{fails}payload > 1","vt":"jsonata"}}]"#),
            &["2", "3"],
        ),
        // One of them fails, and only it is decided again.
        (
            r#""type":"switch","property":"payload","repair":true,"wires":[[]],"outputs":1,"rules":[{"t":"jsonata_exp","v":"payload = 1 and $flowContext('away') ? $error('away') : payload > 1","vt":"jsonata"}]"#.into(),
            &["2", "3"],
        ),
    ] {
        for trigger in triggers() {
            let nodes = [SPLIT, &node, away];
            let rig = flow(&nodes);
            rig.run(rig.index("n2"), msg("{}")).await;
            rig.take();
            let DurableEnd::Again { error, snapshot } = durable(&rig, &trigger, message(r#"{"payload":[2,1,3]}"#)).await
            else {
                panic!("{node}: it is tried again")
            };
            assert!(error.message.contains("away"), "{node}: {}", error.message);
            assert!(rig.take().is_empty(), "{node}");
            let still_away = durable(&rig, &trigger, Beginning::Snapshot(snapshot)).await;
            let DurableEnd::Again { snapshot, .. } = still_away else { panic!("{node}: it is tried again and again") };
            let elsewhere = flow(&nodes);
            let end = durable(&elsewhere, &trigger, Beginning::Snapshot(snapshot)).await;
            assert!(is_done(&end), "{node}");
            assert_eq!(elsewhere.take_payloads(), expected, "{node}, {trigger:?}");
            assert!(elsewhere.complaints().is_empty(), "{node}: {:?}", elsewhere.complaints());
        }
    }
}

#[tokio::test]
async fn what_a_run_holds_of_a_sequence_goes_on_with_it() {
    let first = r#""type":"switch","property":"payload","wires":[["n3"],["n2"]],"outputs":2,"rules":[{"t":"lt","v":"3","vt":"num"},{"t":"else"}]"#;
    let waits = r#""type":"delay","pauseType":"delay","timeout":"1","timeoutUnits":"seconds","wires":[["n3"]]"#;
    for (node, expected) in [
        (r#""type":"join""#, ["[1,2,3]"].as_slice()),
        (r#""type":"join","mode":"custom","build":"array","count":"""#, &["[1,2,3]"]),
        (r#""type":"join","mode":"custom","build":"array","count":"","timeout":"2""#, &["[1,2,3]"]),
        (
            r#""type":"join","mode":"reduce","reduceExp":"$A & payload","reduceInit":"","reduceInitType":"str""#,
            &["\"123\""],
        ),
        (r#""type":"sort","order":"descending""#, &["3", "2", "1"]),
        (r#""type":"switch","property":"payload","repair":true,"outputs":1,"rules":[{"t":"else"}]"#, &["1", "2", "3"]),
    ] {
        for trigger in triggers() {
            let nodes = [SPLIT, first, waits, node];
            let rig = flow(&nodes);
            let (point, control) = (Point::default(), Arc::<Control>::default());
            let run = tokio::spawn(open(&rig, &trigger, message(r#"{"payload":[1,2,3]}"#), &point, &control));
            tokio::task::yield_now().await;
            control.ask(Wish::GiveBack);
            assert!(matches!(run.await.unwrap(), DurableEnd::GivenBack), "{node}");
            assert!(rig.take().is_empty(), "{node}");
            let elsewhere = flow(&nodes);
            let kept = Beginning::Snapshot(point.0.lock().unwrap().clone());
            let run = tokio::spawn(open(&elsewhere, &trigger, kept, &point, &Arc::default()));
            tokio::task::yield_now().await;
            elsewhere.clock.advance(Duration::from_secs(1));
            assert!(is_done(&run.await.unwrap()), "{node}");
            assert_eq!(elsewhere.take_payloads(), expected, "{node}, {trigger:?}");
        }
    }
}

/// Parts that other runs bring meet in the node at once, whichever run is still open.
#[tokio::test]
async fn sequences_of_several_runs_come_together() {
    let inject = Trigger::Inject { node: "test".into() };
    let both = r#""type":"junction","wires":[["n1","n2"]]"#;
    let waits = r#""type":"delay","pauseType":"delay","timeout":"1","timeoutUnits":"seconds","wires":[["n3"]]"#;
    let end = r#""type":"switch","property":"payload","rules":[],"wires":[]"#;
    for (node, expected) in [
        (r#""type":"join","wires":[[]]"#, "[2,1]"),
        (r#""type":"join","wires":[[]],"mode":"custom","build":"string","joiner":"+","count":"""#, "\"1+2\""),
        (r#""type":"join","wires":[[]],"mode":"custom","build":"array","count":"","timeout":"9""#, "[1,2]"),
        (r#""type":"join","wires":[[]],"mode":"custom","build":"object","key":"topic","count":"""#, r#"{"1":1,"2":2}"#),
        (
            r#""type":"join","wires":[[]],"mode":"reduce","reduceExp":"$A & payload","reduceInit":"","reduceInitType":"str""#,
            "\"21\"",
        ),
        (r#""type":"sort","wires":[[]]"#, "1 2"),
        (
            r#""type":"switch","wires":[[]],"property":"payload","repair":true,"outputs":1,"rules":[{"t":"else"}]"#,
            "1 2",
        ),
    ] {
        let part = |payload: u32, index: u32| {
            message(&format!(
                r#"{{"payload":{payload},"topic":{payload},"parts":{{"id":"x","type":"array","index":{index},"count":2}}}}"#
            ))
        };
        let rig = flow(&[both, waits, node, end]);
        let first = tokio::spawn(open(&rig, &inject, part(1, 1), &Point::default(), &Arc::default()));
        tokio::task::yield_now().await;
        let second = tokio::spawn(open(&rig, &inject, part(2, 0), &Point::default(), &Arc::default()));
        tokio::task::yield_now().await;
        assert_eq!(rig.take_payloads().join(" "), expected, "{node}");
        rig.clock.advance(Duration::from_secs(1));
        assert!(is_done(&first.await.unwrap()) && is_done(&second.await.unwrap()), "{node}");
        assert!(rig.complaints().is_empty(), "{node}: {:?}", rig.complaints());
    }
}

/// What a run makes a sequence of and does not bring together itself is the node's when the run is over: the rest may come in
/// another one.
#[tokio::test]
async fn the_rest_of_a_sequence_may_come_in_another_run() {
    let inject = Trigger::Inject { node: "test".into() };
    let half = r#""type":"switch","property":"payload","wires":[["n2"],[]],"outputs":2,"rules":[{"t":"eq","v":"1","vt":"num"},{"t":"else"}]"#;
    for (node, expected) in [
        (r#""type":"join""#, "[1,2]"),
        (r#""type":"join","mode":"custom","build":"array","count":"""#, "[1,2]"),
        (
            r#""type":"join","mode":"reduce","reduceExp":"$A & payload","reduceInit":"","reduceInitType":"str""#,
            "\"12\"",
        ),
        (r#""type":"sort","order":"descending""#, "2 1"),
        (r#""type":"switch","property":"payload","repair":true,"outputs":1,"rules":[{"t":"else"}]"#, "1 2"),
    ] {
        let rig = flow(&[SPLIT, half, node]);
        assert!(is_done(&durable(&rig, &inject, message(r#"{"payload":[1,2]}"#)).await), "{node}");
        let (_, _, rest) = rig.out().pop().unwrap();
        assert_eq!(rig.take_payloads(), ["2"], "{node}");
        let opening = Beginning::Message { start: Start::Deliver, msg: rest };
        let opening = DurableOpening {
            id: RunId::fresh(),
            node: rig.index("n2"),
            trigger: inject.clone(),
            beginning: opening,
            decision: None,
            reply: None,
            lease: Box::new(Point::default()),
            control: Arc::default(),
        };
        assert!(is_done(&rig.engine.current().open_durable(opening).unwrap().await), "{node}");
        assert_eq!(rig.take_payloads().join(" "), expected, "{node}");
        assert!(rig.complaints().is_empty(), "{node}: {:?}", rig.complaints());
    }
}

/// What was dropped cannot be tried again: the run says so, instead of ending as done with the rest.
#[tokio::test]
async fn a_run_that_makes_a_node_hold_too_many_fails() {
    let limits = Limits { node_messages_max: 2, ..Limits::default() };
    for (node_type, config) in [
        ("sort", "{}"),
        ("join", r#"{"mode":"reduce","reduceExp":"$A + payload"}"#),
        ("join", "{}"),
        ("switch", r#"{"property":"payload","repair":true,"rules":[{"t":"else"}]}"#),
        ("batch", r#"{"mode":"count","count":4}"#),
    ] {
        for trigger in triggers() {
            let nodes = vec![node("n0", "split", "{}", &[&[1]]), node("n1", node_type, config, &[&[]])];
            let rig = Rig::with(nodes, limits.clone(), |_| {});
            let end = durable(&rig, &trigger, message(r#"{"payload":[1,2,3,4]}"#)).await;
            let DurableEnd::Ended(run) = end else { panic!("{node_type} {config}: it is over") };
            assert_eq!(run.state, RunState::Failed, "{node_type} {config}");
            assert!(rig.complaints()[0].contains("too many pending"), "{node_type}: {:?}", rig.complaints());
        }
    }
}

/// Nor is it forgotten when something else is tried again and succeeds.
#[tokio::test]
async fn what_cannot_be_tried_again_is_not_forgotten() {
    let limits = || Limits { node_messages_max: 2, ..Limits::default() };
    let failing = r#"{"rules":[{"t":"set","p":"payload","pt":"msg","to":"$flowContext('away') ? $error('away') : 1","tot":"jsonata"}]}"#;
    let away = r#"{"rules":[{"t":"set","p":"away","pt":"flow","to":"true","tot":"bool"}]}"#;
    let nodes = || {
        vec![
            node("n0", "split", "{}", &[&[1, 2]]),
            node("n1", "sort", "{}", &[&[]]),
            node("n2", "change", failing, &[&[]]),
            node("n3", "change", away, &[&[]]),
        ]
    };
    for trigger in triggers() {
        let rig = Rig::with(nodes(), limits(), |_| {});
        rig.run(3, msg("{}")).await;
        let end = durable(&rig, &trigger, message(r#"{"payload":[1,2,3,4]}"#)).await;
        let DurableEnd::Again { snapshot, .. } = end else { panic!("the change is tried again") };
        let elsewhere = Rig::with(nodes(), limits(), |_| {});
        let DurableEnd::Ended(run) = durable(&elsewhere, &trigger, Beginning::Snapshot(snapshot)).await else {
            panic!("it is over")
        };
        assert_eq!(elsewhere.take_payloads(), ["1", "1", "1", "1"]);
        assert_eq!(run.state, RunState::Failed);
        assert!(run.error.as_ref().is_some_and(|e| e.message.contains("too many pending")), "{:?}", run.error);
    }
}
