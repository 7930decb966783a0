//! A run at work: one task that owns a queue of deliveries and the futures its nodes wait for.
//!
//! Order is deterministic and breadth-first, as Node-RED's: what is emitted first is delivered first. A hop between
//! two nodes is a function call. The run ends when queue and futures are empty.

use std::any::Any;
use std::cell::Cell;
use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use futures_util::FutureExt;
use futures_util::stream::{FuturesUnordered, StreamExt};

use super::durable::{Left, Wish};
use super::places::Rank;
use super::run::{Delivery, RunCore, SHUT_DOWN, StepRecord, Stop};
use super::{Cx, Deployed, Node, Step, Then, Wait};
use crate::model::Msg;
use crate::model::flow::NodeIndex;

/// A run lets others on after this many deliveries, and this long: to do so wakes another thread, which costs some 10 µs.
const YIELD: (u32, Duration) = (256, Duration::from_micros(250));

/// One that an evaluation asked for does so sooner: calls that come meanwhile pass it.
const BULK_YIELD: (u32, Duration) = (16, Duration::from_micros(25));

const RAN_TOO_LONG: Stop = Stop::Because("the run was ended because it lasted longer than run_ms_max");

/// A node's future, with whom to call back.
struct Waiting {
    node: NodeIndex,
    hops: u32,
    way: u32,
    completing: Option<Msg>,
    future: Wait,
}

/// A future that is ready: whom to call back (node, hops, way), with what, and the message it was about.
type Ready = ((NodeIndex, u32, u32), Option<Msg>, Result<Then, String>);

impl Future for Waiting {
    type Output = Ready;
    fn poll(mut self: Pin<&mut Self>, task: &mut Context<'_>) -> Poll<Self::Output> {
        let whom = (self.node, self.hops, self.way);
        match std::panic::catch_unwind(AssertUnwindSafe(|| self.future.as_mut().poll(task))) {
            Ok(Poll::Pending) => Poll::Pending,
            Ok(Poll::Ready(then)) => Poll::Ready((whom, self.completing.take(), Ok(then))),
            Err(panic) => Poll::Ready((whom, None, Err(panic_text(&*panic)))),
        }
    }
}

fn panic_text(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|s| s.to_string()).or_else(|| panic.downcast_ref::<String>().cloned());
    format!("the node panicked: {}", text.unwrap_or_else(|| "no message".into()))
}

/// What the engine's end means for a run: a durable one is gone on with by somebody else.
async fn shut_down(deployed: &Arc<Deployed>, core: &mut RunCore) -> Stop {
    match core.durable {
        Some(_) => core.obey(deployed, Wish::GiveBack).await,
        None => SHUT_DOWN,
    }
}

/// Works through queue and futures; gives why the run was stopped before its end, if it was.
pub(super) async fn work(deployed: &Arc<Deployed>, core: &mut RunCore) -> Option<Stop> {
    let mut waits: FuturesUnordered<Waiting> = FuturesUnordered::new();
    let (mut since_look, mut since_yield) = (0, Instant::now());
    let run_max = core.time_max(&deployed.services.limits);
    let (look_after, yield_after) = if Rank::of(&core.trigger) == Rank::Bulk { BULK_YIELD } else { YIELD };
    let mut too_long = None;
    loop {
        while let Some(delivery) = core.queue.pop_front() {
            let Delivery { node, hops, mut msg } = delivery;
            if core.durable.is_some()
                && let Err(stop) = Box::pin(core.before(deployed, (node, hops), Some(&mut msg), false)).await
            {
                return Some(stop);
            }
            // Should it have to wait when no wait is free, its catch nodes get the message.
            let spare = (waits.len() >= deployed.services.limits.waits_max).then(|| msg.clone());
            let heard = !deployed.plan.nodes[node as usize].complete.is_empty();
            core.completing = (heard && !msg.is_signal()).then(|| {
                msg.ensure_id();
                msg.clone()
            });
            if let Some(recorder) = &mut core.recorder {
                recorder.given(&msg);
            }
            let step = called(deployed, core, node, hops, |node, cx| node.on_msg(msg, cx)).await;
            settle(deployed, core, &mut waits, (node, hops), step, spare).await;
            if let Some(stop) = core.take_stop() {
                return Some(stop);
            }
            since_look += 1;
            if since_look >= look_after {
                since_look = 0;
                if since_yield.elapsed() >= yield_after {
                    tokio::task::yield_now().await;
                    since_yield = Instant::now();
                }
                if core.began.elapsed() > run_max {
                    return Some(RAN_TOO_LONG);
                }
                if deployed.is_cut_off() {
                    return Some(shut_down(deployed, core).await);
                }
                while let Some(Some(ready)) = waits.next().now_or_never() {
                    resume(deployed, core, &mut waits, ready).await;
                }
            }
            if core.overflowed {
                core.queue.clear();
            }
        }
        if waits.is_empty() {
            if core.durable.as_ref().is_some_and(|durable| !durable.failed.is_empty()) {
                // Its end is not yet: what failed is to be tried again.
                return None;
            }
            let node = core.at_end.pop_first()?;
            if core.durable.is_some()
                && let Err(stop) = Box::pin(core.before(deployed, (node, 0), None, true)).await
            {
                return Some(stop);
            }
            let step = called(deployed, core, node, 0, |node, cx| node.on_run_end(cx)).await;
            settle(deployed, core, &mut waits, (node, 0), step, None).await;
            continue;
        }
        if core.durable.is_some()
            && let Some(stop) = Box::pin(before_waiting(deployed, core)).await
        {
            return Some(stop);
        }
        let told = core.told();
        let deadline = too_long.get_or_insert_with(|| {
            let left = run_max.saturating_sub(core.began.elapsed());
            let clock = deployed.services.clock.clone();
            Box::pin(async move { clock.sleep(left).await })
        });
        tokio::select! {
            biased;
            Some(ready) = waits.next() => resume(deployed, core, &mut waits, ready).await,
            () = deadline => return Some(RAN_TOO_LONG),
            () = deployed.cut_off() => return Some(shut_down(deployed, core).await),
            () = told => {}
        }
        if let Some(stop) = core.take_stop() {
            return Some(stop);
        }
    }
}

/// What a durable run does before it waits: it commits what it has come to, and heeds what is wanted of it.
async fn before_waiting(deployed: &Arc<Deployed>, core: &mut RunCore) -> Option<Stop> {
    if let Err(stop) = core.catch_up(deployed).await {
        return Some(stop);
    }
    match core.wished() {
        Some(wish) => Some(core.obey(deployed, wish).await),
        None => None,
    }
}

async fn resume(
    deployed: &Arc<Deployed>,
    core: &mut RunCore,
    waits: &mut FuturesUnordered<Waiting>,
    ((node, hops, way), completing, then): Ready,
) {
    core.completing = completing;
    core.turn_to(way);
    let step = match then {
        Ok(then) => called(deployed, core, node, hops, |_, cx| then(cx)).await,
        Err(panic) => Step::fail(Msg::new(), panic),
    };
    settle(deployed, core, waits, (node, hops), step, None).await;
}

/// Does what a step says; a wait is polled once at once. `spare` is the message, for when there is no room to wait.
async fn settle(
    deployed: &Arc<Deployed>,
    core: &mut RunCore,
    waits: &mut FuturesUnordered<Waiting>,
    (node, hops): (NodeIndex, u32),
    mut step: Step,
    mut spare: Option<Msg>,
) {
    loop {
        match step {
            Step::Done => {
                core.completed(deployed, node, hops);
                if core.way != 0 {
                    Box::pin(core.left(deployed, Left::Done)).await;
                }
                return;
            }
            Step::Fail(failure) => {
                core.completing = None;
                let unsettled = failure.error.unsettled;
                let again = core.durable.as_ref().filter(|_| core.is_given_again()).map(|d| d.lasting.clone());
                let caught = core.raise(deployed, node, hops, failure.error, failure.msg);
                if let Some(before) = again {
                    core.undo_lasting(before);
                }
                if core.way != 0 {
                    let left = if caught { Left::Done } else { Left::Failed { unsettled } };
                    Box::pin(core.left(deployed, left)).await;
                }
                return;
            }
            Step::Wait(future) => {
                let way = core.way;
                let mut waiting = Waiting { node, hops, way, completing: core.completing.take(), future };
                step = match first_poll(&mut waiting).await {
                    Poll::Ready((_, completing, Ok(then))) => {
                        core.completing = completing;
                        called(deployed, core, node, hops, |_, cx| then(cx)).await
                    }
                    Poll::Ready((_, _, Err(panic))) => Step::fail(Msg::new(), panic),
                    Poll::Pending if waits.len() >= deployed.services.limits.waits_max => {
                        let max = deployed.services.limits.waits_max;
                        let msg = spare.take().unwrap_or_default();
                        Step::fail(msg, format!("{max} operations are open in this run (waits_max)"))
                    }
                    Poll::Pending => {
                        waits.push(waiting);
                        return;
                    }
                };
            }
        }
    }
}

thread_local! {
    /// Whether the future that this thread polls gave way while it computed.
    static GAVE_WAY: Cell<bool> = const { Cell::new(false) };
}

/// Told by a node's future: true when it is about to be pending not because it waits for something, but to let other
/// tasks run while it computes; false when it goes on. Meanwhile its run goes on with nothing else, so that no message
/// passes the one it works on.
pub fn gives_way(now: bool) {
    GAVE_WAY.set(now);
}

/// What a future has come to once it is ready or really waits.
async fn first_poll(waiting: &mut Waiting) -> Poll<Ready> {
    std::future::poll_fn(|task| {
        GAVE_WAY.set(false);
        match Pin::new(&mut *waiting).poll(task) {
            Poll::Pending if GAVE_WAY.get() => Poll::Pending,
            polled => Poll::Ready(polled),
        }
    })
    .await
}

/// As long as a node's future waits for something that is soon there, its run goes on with nothing else: no message passes
/// the one it works on.
pub async fn holding_up<T>(answer: impl Future<Output = T>) -> T {
    let mut answer = std::pin::pin!(answer);
    std::future::poll_fn(|task| {
        let polled = answer.as_mut().poll(task);
        gives_way(polled.is_pending());
        polled
    })
    .await
}

/// Calls a node, once there is room for it where it may ask the database for contexts.
async fn called(
    deployed: &Arc<Deployed>,
    core: &mut RunCore,
    index: NodeIndex,
    hops: u32,
    f: impl FnOnce(&dyn Node, &mut Cx<'_>) -> Step,
) -> Step {
    let _room = match deployed.asks_contexts[index as usize] {
        true => deployed.services.context.room().await,
        false => None,
    };
    call(deployed, core, index, hops, f)
}

/// Calls a node; a panic is an error of this message.
fn call(
    deployed: &Arc<Deployed>,
    core: &mut RunCore,
    index: NodeIndex,
    hops: u32,
    f: impl FnOnce(&dyn Node, &mut Cx<'_>) -> Step,
) -> Step {
    core.hops += 1;
    let traced = core.steps.len() < deployed.services.limits.trace_steps_max;
    let at_us = if traced { core.age_us() } else { 0 };
    let node = &deployed.nodes[index as usize];
    let mut cx = Cx { core, deployed, node: index, hops, emitted: 0 };
    let step = std::panic::catch_unwind(AssertUnwindSafe(|| f(&**node, &mut cx)));
    let emitted = cx.emitted;
    if traced {
        let failed = !matches!(step, Ok(Step::Done | Step::Wait(_)));
        let timed = core.timed || core.recorder.is_some();
        let took_us = timed.then(|| core.age_us().saturating_sub(at_us));
        core.steps.push(StepRecord::new(at_us, index, emitted, took_us, failed));
    }
    if let Some(recorder) = &mut core.recorder {
        recorder.close(traced.then(|| core.steps.len() - 1));
    }
    step.unwrap_or_else(|panic| Step::fail(Msg::new(), panic_text(&*panic)))
}
