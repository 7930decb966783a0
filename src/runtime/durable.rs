//! Durable runs: what a run keeps at its durable points, so that another process can go on with it from there.
//!
//! A durable point lies before and after every node with an outside effect ([`Effect`]). At a point the run's
//! [`snapshot`](super::snapshot) is committed by its [`Lease`]; a run whose lease is lost stops at once. Fast runs have
//! none of this and pay nothing for it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use arcstr::ArcStr;
use async_trait::async_trait;
use tokio::sync::Notify;

use super::Deployed;
use super::exchange::ReplyTo;
use super::opening::Start;
use super::run::{Delivery, EndedRun, RunCore, Stop};
use crate::failpoint::{self, FailPoint};
use crate::model::flow::NodeIndex;
use crate::model::run::{RunError, Trigger};
use crate::model::{Msg, RunId, Value};

/// What a node does to the world outside its flow when it handles a message.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Effect {
    /// Nothing; handling a message again changes nothing but time and contexts.
    #[default]
    None,
    /// Something that may be done again after a crash: the other side can tell ([`super::Cx::idempotency_key`]), or
    /// doing it twice comes to the same.
    Repeatable,
    /// Something that must not be done again by itself: begun and not known to be finished, it is in doubt and a person
    /// decides.
    Once,
}

/// Whether a point was committed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Marked {
    Kept,
    /// Somebody else has the run now, or may have it: nothing more may be done for it here.
    Lost,
}

/// A run's hold on its row in the queue.
#[async_trait]
pub trait Lease: Send + Sync {
    /// Commits what the run has come to. Tries until it is committed or the lease is over.
    async fn mark(&self, snapshot: String) -> Marked;
}

/// What whoever drives a run wants of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Wish {
    GoOn = 0,
    /// Stop between two messages, keeping what it has come to; somebody else goes on.
    GiveBack = 1,
    /// End at once.
    Cancel = 2,
    /// Stop at once: somebody else has the run.
    Lost = 3,
}

/// Tells a run what is wanted of it.
#[derive(Debug, Default)]
pub struct Control {
    wish: AtomicU8,
    told: Notify,
}

impl Control {
    /// Asks; a stronger wish is never taken back.
    pub fn ask(&self, wish: Wish) {
        self.wish.fetch_max(wish as u8, Ordering::AcqRel);
        self.told.notify_one();
    }

    pub fn wish(&self) -> Wish {
        match self.wish.load(Ordering::Acquire) {
            0 => Wish::GoOn,
            1 => Wish::GiveBack,
            2 => Wish::Cancel,
            _ => Wish::Lost,
        }
    }

    pub(super) async fn told(&self) {
        self.told.notified().await;
    }
}

/// What a person decided about effects that are in doubt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    /// They are done again.
    Again,
    /// They count as done: their messages go on as they came, marked `msg.inDoubt`.
    Skip,
}

/// Where a durable run begins.
pub enum Beginning {
    /// With its first message.
    Message { start: Start, msg: Msg },
    /// Where its last durable point left it.
    Snapshot(String),
}

/// A durable run to be opened.
pub struct DurableOpening {
    pub id: RunId,
    pub node: NodeIndex,
    pub trigger: Trigger,
    pub beginning: Beginning,
    pub decision: Option<Decision>,
    /// Its caller, when it waits in this process.
    pub reply: Option<Arc<ReplyTo>>,
    pub lease: Box<dyn Lease>,
    pub control: Arc<Control>,
}

/// An effect that was begun and is not known to be finished.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Doubt {
    /// Id of the node.
    pub node: String,
    pub node_type: String,
    pub name: String,
    /// `<run>/<node>/<n>`.
    pub key: String,
}

impl std::fmt::Display for Doubt {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let label = if self.name.is_empty() { &self.node } else { &self.name };
        write!(f, "{} node \"{label}\" began and is not known to have finished (effect {})", self.node_type, self.key)
    }
}

/// What a durable run came to.
pub enum DurableEnd {
    /// It is over: done, failed for good or stopped.
    Ended(Arc<EndedRun>),
    /// Messages failed and nothing caught it: `snapshot` holds exactly these, to be given to their nodes again.
    Again { error: RunError, snapshot: String },
    /// Effects are in doubt; nothing was done.
    Doubt(Vec<Doubt>),
    /// What it has come to is kept; somebody else may go on.
    GivenBack,
    /// Somebody else has it.
    Lost,
    /// What was kept of it cannot be gone on with here: says why.
    Unusable(String),
}

/// A message under way: given to a node that has not finished with it.
pub(super) struct Way {
    pub(super) id: u32,
    pub(super) node: NodeIndex,
    pub(super) hops: u32,
    /// What the node is given when the run is gone on with; `None`: nothing.
    pub(super) msg: Option<Msg>,
    /// Called at the run's end instead.
    pub(super) at_end: bool,
    /// The number of its effect.
    pub(super) effect: Option<u32>,
    /// Its effect must not be done again by itself.
    pub(super) once: bool,
}

/// How a node has left its message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Left {
    /// Finished, or failed and the error was caught.
    Done,
    /// Failed without anybody to catch it; `unsettled`: what it did outside may have happened.
    Failed { unsettled: bool },
}

/// What a run has that is durable.
pub(super) struct Durable {
    pub(super) lease: Box<dyn Lease>,
    pub(super) control: Arc<Control>,
    /// Effects begun so far, by node.
    pub(super) counts: BTreeMap<NodeIndex, u32>,
    pub(super) ways: Vec<Way>,
    next_way: u32,
    /// Numbers of effects that are done again, in the order in which their messages stand in the queue.
    pub(super) begun: Vec<(NodeIndex, u32)>,
    /// Messages whose nodes failed.
    pub(super) failed: Vec<Way>,
    /// States that no node has asked for yet.
    pub(super) saved: Vec<(NodeIndex, Value)>,
    /// It was gone on with.
    pub(super) resumed: bool,
    /// Sequences that its first message is part of.
    pub(super) came_with: Vec<ArcStr>,
    /// The first error that trying again does not undo: the run ends as failed whatever becomes of the rest.
    pub(super) lasting: Option<RunError>,
    /// Something was finished since the last point.
    unmarked: bool,
    /// The effect of the call at hand.
    effect: Option<u32>,
    pub(super) stop: Option<Stop>,
}

impl Durable {
    pub(super) fn new(lease: Box<dyn Lease>, control: Arc<Control>) -> Durable {
        Durable {
            lease,
            control,
            counts: BTreeMap::new(),
            ways: Vec::new(),
            next_way: 0,
            begun: Vec::new(),
            failed: Vec::new(),
            saved: Vec::new(),
            resumed: false,
            came_with: Vec::new(),
            lasting: None,
            unmarked: false,
            effect: None,
            stop: None,
        }
    }

    /// Notes a message that a node is about to be given; true when a durable point must come first.
    fn enter(&mut self, effect: Effect, delivery: (NodeIndex, u32), msg: Option<Msg>, at_end: bool) -> (u32, bool) {
        let (node, hops) = delivery;
        self.next_way += 1;
        let n = (effect != Effect::None).then(|| match self.begun.iter().position(|(of, _)| *of == node) {
            Some(at) => self.begun.remove(at).1,
            None => {
                let count = self.counts.entry(node).or_default();
                *count += 1;
                *count
            }
        });
        self.effect = n;
        self.ways.push(Way { id: self.next_way, node, hops, msg, at_end, effect: n, once: effect == Effect::Once });
        (self.next_way, n.is_some())
    }

    fn way(&mut self, id: u32) -> Option<&mut Way> {
        self.ways.iter_mut().rev().find(|way| way.id == id)
    }

    /// The run goes on with this way: its effect is the one at hand.
    pub(super) fn turn_to(&mut self, id: u32) {
        self.effect = self.way(id).and_then(|way| way.effect);
    }

    pub(super) fn effect(&self) -> Option<u32> {
        self.effect
    }

    /// What the node of this way is given should the run be gone on with.
    pub(super) fn resume_with(&mut self, id: u32, msg: Option<Msg>) {
        if let Some(way) = self.way(id) {
            way.msg = msg;
        }
    }

    /// The state of a node as it was kept.
    pub(super) fn take_state(&mut self, node: NodeIndex) -> Option<Value> {
        let at = self.saved.iter().position(|(of, _)| *of == node)?;
        Some(self.saved.swap_remove(at).1)
    }

    /// True when effects are under way.
    fn has_effects(&self) -> bool {
        self.ways.iter().any(|way| way.effect.is_some())
    }
}

impl RunCore {
    /// To be called before a node gets a message. Gives why the run must stop instead; the message is then back in its
    /// place.
    pub(super) async fn before(
        &mut self,
        deployed: &Arc<Deployed>,
        (node, hops): (NodeIndex, u32),
        msg: Option<&mut Msg>,
        at_end: bool,
    ) -> Result<(), Stop> {
        if let Some(stop) = self.wished() {
            if let Some(msg) = msg {
                self.queue.push_front(Delivery { node, hops, msg: msg.clone() });
            } else if at_end {
                self.at_end.insert(node);
            }
            return Err(self.obey(deployed, stop).await);
        }
        let Some(durable) = &mut self.durable else { return Ok(()) };
        let msg = msg.and_then(|msg| {
            (!msg.is_signal()).then(|| {
                msg.ensure_id();
                msg.clone()
            })
        });
        let (way, is_effect) = durable.enter(deployed.effects[node as usize], (node, hops), msg, at_end);
        self.way = way;
        if is_effect {
            Box::pin(self.mark(deployed)).await?;
        }
        Ok(())
    }

    /// What is wanted of the run, if that is to stop. Asked to be given back, one with a caller who waits goes on, and one
    /// with effects under way goes on until they are over.
    pub(super) fn wished(&self) -> Option<Wish> {
        match self.durable.as_ref()?.control.wish() {
            Wish::GoOn => None,
            Wish::GiveBack if self.reply.is_some() || !self.can_be_given_back() => None,
            wish => Some(wish),
        }
    }

    /// Stops as wished.
    pub(super) async fn obey(&mut self, deployed: &Arc<Deployed>, wish: Wish) -> Stop {
        match wish {
            Wish::Cancel => Stop::Because("the run was cancelled"),
            Wish::Lost => Stop::Lost,
            Wish::GoOn | Wish::GiveBack => match Box::pin(self.mark(deployed)).await {
                Ok(()) => Stop::GivenBack,
                Err(stop) => stop,
            },
        }
    }

    /// True when the run may be given back now: nothing outside waits to be heard of.
    pub(super) fn can_be_given_back(&self) -> bool {
        self.durable.as_ref().is_some_and(|durable| !durable.has_effects())
    }

    /// A durable point.
    pub(super) async fn mark(&mut self, deployed: &Arc<Deployed>) -> Result<(), Stop> {
        let snapshot = self.snapshot(deployed, false);
        let Some(durable) = &mut self.durable else { return Ok(()) };
        durable.unmarked = false;
        match durable.lease.mark(snapshot).await {
            Marked::Kept => Ok(()),
            Marked::Lost => Err(Stop::Lost),
        }
    }

    /// Commits what was finished since the last point, if anything was.
    pub(super) async fn catch_up(&mut self, deployed: &Arc<Deployed>) -> Result<(), Stop> {
        match &self.durable {
            Some(durable) if durable.unmarked => self.mark(deployed).await,
            _ => Ok(()),
        }
    }

    /// Notes that an error was only that of a message which is tried again.
    pub(super) fn undo_lasting(&mut self, before: Option<RunError>) {
        if let Some(durable) = &mut self.durable {
            durable.lasting = before;
        }
    }

    /// Whether the message at hand is given to its node again should it fail uncaught.
    pub(super) fn is_given_again(&self) -> bool {
        let way = self.durable.as_ref().and_then(|durable| durable.ways.iter().rev().find(|way| way.id == self.way));
        way.is_some_and(|way| way.msg.is_some())
    }

    /// The node at hand has finished with its message, or failed it without anybody to catch it.
    pub(super) async fn left(&mut self, deployed: &Arc<Deployed>, left: Left) {
        let id = std::mem::take(&mut self.way);
        let Some(durable) = &mut self.durable else { return };
        let Some(at) = durable.ways.iter().position(|way| way.id == id) else { return };
        let way = durable.ways.remove(at);
        durable.effect = None;
        let (effect, once) = (way.effect.is_some(), way.once);
        if let Left::Failed { unsettled } = left
            && way.msg.is_some()
        {
            // Known to have failed, it may be tried again; else the next who goes on finds it in doubt.
            durable.failed.push(Way { once: once && unsettled, ..way });
        }
        if effect {
            failpoint::reach(FailPoint::EffectSent);
            durable.unmarked = true;
            // Until this is known, a crash leaves it in doubt; what others may repeat can wait for the next point.
            if once && let Err(stop) = Box::pin(self.catch_up(deployed)).await {
                self.stop(stop);
            }
        }
    }

    fn stop(&mut self, stop: Stop) {
        if let Some(durable) = &mut self.durable {
            durable.stop.get_or_insert(stop);
        }
    }

    /// Goes on with the message of this way.
    pub(super) fn turn_to(&mut self, way: u32) {
        self.way = way;
        if let Some(durable) = &mut self.durable {
            durable.turn_to(way);
        }
    }

    /// Why a durable run must stop, when something came up while it did something else.
    pub(super) fn take_stop(&mut self) -> Option<Stop> {
        self.durable.as_mut()?.stop.take()
    }

    /// Resolves when something is wanted of the run; never for one that is not durable.
    pub(super) fn told(&self) -> impl Future<Output = ()> + Send + use<> {
        let control = self.durable.as_ref().map(|durable| durable.control.clone());
        async move {
            match control {
                Some(control) => control.told().await,
                None => std::future::pending().await,
            }
        }
    }
}
