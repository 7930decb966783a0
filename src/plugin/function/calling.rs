//! What calls of a function node come to: what its code did goes to the run of the message it belongs to.

use std::collections::HashMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;

use super::lock;
use super::script::{At, Did, Script, Started};
use crate::model::Msg;
use crate::model::flow::NodeIndex;
use crate::plugin::host::function::Act;
use crate::runtime::{Cx, Deployed, NodeError, Source};

/// What a link in node gives back, or why it does not.
pub type Back = Pin<Box<dyn Future<Output = Result<Msg, String>> + Send>>;

/// Calls a link in node by id or name, given by the application.
pub type LinkCall = fn(&mut Cx<'_>, &str, Duration, Msg) -> Back;

/// What a message's code did, to be done in its run.
pub struct Handled {
    acts: Vec<Act>,
    /// The message failed.
    pub error: Option<NodeError>,
    /// Its code is not done.
    pub more: Option<More>,
}

/// What is still to come of a message.
pub struct More(mpsc::UnboundedReceiver<Part>);

/// A part of it.
pub(super) struct Part {
    acts: Vec<Act>,
    error: Option<NodeError>,
    last: bool,
}

impl More {
    /// The next part of it.
    pub async fn next(mut self) -> Handled {
        match self.0.recv().await {
            Some(Part { acts, error, last }) => Handled { acts, error, more: if last { None } else { Some(self) } },
            // The node is gone.
            None => Handled { acts: Vec::new(), error: None, more: None },
        }
    }
}

impl Handled {
    fn failed(error: NodeError) -> Handled {
        Handled { acts: Vec::new(), error: Some(error), more: None }
    }

    /// Does it, in its order. What is left of `self` is the error and what is to come.
    pub fn act(&mut self, script: &Arc<Script>, cx: &mut Cx<'_>) {
        do_acts(std::mem::take(&mut self.acts), script, cx);
    }
}

fn do_acts(acts: Vec<Act>, script: &Arc<Script>, cx: &mut Cx<'_>) {
    for act in acts {
        match act {
            Act::Emit { port, msg } => cx.emit(port, msg),
            Act::Error { msg, error } => cx.error(msg, error),
            Act::Status(status) => cx.status(status),
            Act::Log(level, text) => cx.log(level, text),
            Act::Link { id, target, timeout_ms, msg } => {
                let back = (script.link_call)(cx, &target, Duration::from_millis(timeout_ms), msg);
                script.clone().comes_back(id, back, cx.deployed().source(cx.node_index()));
            }
        }
    }
}

impl Script {
    /// Handles a message.
    pub async fn message(self: Arc<Self>, msg: Msg, deployed: Arc<Deployed>, index: NodeIndex) -> Handled {
        let at = At { deployed: &deployed, index };
        if self.is_ordered() {
            return self.in_order(msg, &at).await;
        }
        let clock = &deployed.services.clock;
        let mut instance = match self.instance(clock).await {
            Ok(instance) => instance,
            Err(error) => return Handled::failed(error),
        };
        let number = self.number();
        let did = self.call(&mut instance, "message", number, msg, &at).await;
        let report = &did.report;
        if did.fault.is_some() {
            drop(instance);
        } else if report.open.is_none() && report.due.is_none() && !report.shared {
            self.give_back(instance);
        } else {
            // It keeps something after all: from now on this instance is the node's.
            let mut one = self.one.lock().await;
            if one.is_none() {
                self.set_ordered();
                *one = Some(instance);
                return self.spread(did, number, &at);
            }
        }
        self.spread(did, number, &at)
    }

    async fn in_order(self: &Arc<Self>, msg: Msg, at: &At<'_>) -> Handled {
        let _turn = self.turn.lock().await;
        if let Err(error) = self.ready(at).await {
            return Handled::failed(error);
        }
        let mut one = self.one.lock().await;
        let clock = &at.deployed.services.clock;
        let mut instance = match one.take() {
            Some(instance) => instance,
            None => match self.instance(clock).await {
                Ok(instance) => instance,
                Err(error) => return Handled::failed(error),
            },
        };
        let number = self.number();
        let did = self.call(&mut instance, "message", number, msg, at).await;
        if did.fault.is_some() || !instance.has_room() {
            self.lost();
        } else {
            *one = Some(instance);
        }
        self.spread(did, number, at)
    }

    /// Starts the node, if that was not done, and waits until it has started.
    async fn ready(self: &Arc<Self>, at: &At<'_>) -> Result<(), NodeError> {
        let mut started = self.started.subscribe();
        loop {
            let now = started.borrow_and_update().clone();
            match now {
                Started::Yes => return Ok(()),
                Started::Failed(why) => return Err(NodeError::new(format!("the code of \"On Start\" failed: {why}"))),
                Started::No => {
                    let source = at.deployed.source(at.index);
                    self.start(&source).await;
                }
                Started::Going => {
                    if started.changed().await.is_err() {
                        return Ok(());
                    }
                }
            }
        }
    }

    /// Runs the code for the start, once per instance.
    pub async fn start(self: &Arc<Self>, source: &Source) {
        let mut one = self.one.lock().await;
        if *self.started.borrow() != Started::No {
            return;
        }
        let Some((deployed, index)) = source.stands() else { return };
        let at = At { deployed: &deployed, index };
        let mut instance = match self.instance(&source.clock()).await {
            Ok(instance) => instance,
            Err(error) => {
                self.started.send_replace(Started::Failed(error.message));
                return;
            }
        };
        let mut did = self.call(&mut instance, "start", 0, Msg::new(), &at).await;
        let fault = did.fault.take();
        if fault.is_none() {
            *one = Some(instance);
        }
        let done = did.report.closed.contains(&0);
        self.started.send_replace(match (fault, &did.start_failed, done) {
            (Some(error), ..) => Started::Failed(error.message),
            (None, Some(why), _) => Started::Failed(why.clone()),
            (None, None, true) => Started::Yes,
            (None, None, false) => Started::Going,
        });
        self.tell_failed_start(source);
        self.apart(did, source);
    }

    /// What the start came to, unless that is known; says whether it was not.
    fn started_is(&self, what: Started) -> bool {
        self.started.send_if_modified(|now| {
            let going = *now == Started::Going;
            if going {
                *now = what;
            }
            going
        })
    }

    fn tell_failed_start(&self, source: &Source) {
        if let Started::Failed(why) = &*self.started.borrow() {
            let text = format!("the code of \"On Start\" failed: {why}");
            // Too many runs are open: the messages that come say it, too.
            let _ = source.act(|cx| cx.log(tracing::Level::ERROR, text));
        }
    }

    /// Calls the timers that are due.
    pub(super) async fn fire(self: &Arc<Self>, source: &Source) {
        self.apart_from_messages("fire", 0, Msg::new(), source).await;
    }

    /// Says goodbye: the code for the end, and no timers any more.
    pub async fn stop(self: Arc<Self>, source: Source) {
        self.apart_from_messages("stop", 0, Msg::new(), &source).await;
        self.halt();
    }

    /// Tells the code what a link call gave back.
    fn comes_back(self: Arc<Self>, id: u32, back: Back, source: Source) {
        tokio::spawn(async move {
            let msg = match back.await {
                Ok(msg) => msg,
                Err(why) => {
                    let mut msg = Msg::new();
                    msg.set("", why);
                    msg
                }
            };
            self.apart_from_messages("returned", id, msg, &source).await;
        });
    }

    async fn apart_from_messages(self: &Arc<Self>, what: &str, number: u32, msg: Msg, source: &Source) {
        let Some((deployed, index)) = source.stands() else { return };
        let mut one = self.one.lock().await;
        let Some(mut instance) = one.take() else { return };
        let did = self.call(&mut instance, what, number, msg, &At { deployed: &deployed, index }).await;
        match &did.fault {
            None if instance.has_room() => *one = Some(instance),
            None => self.lost(),
            Some(error) => {
                let text = error.message.clone();
                self.lost();
                let _ = source.act(|cx| cx.error(Msg::new(), NodeError::new(text)));
            }
        }
        self.apart(did, source);
    }

    /// What the instance kept is gone: runs that wait for it end, and it starts anew with the next message.
    fn lost(&self) {
        let error = NodeError::with_code(
            "the function's instance was given up because another message broke a limit in it",
            "EFUNCTION_LOST",
        );
        for (_, run) in lock(&self.waiting).drain() {
            let _ = run.send(Part { acts: Vec::new(), error: Some(error.clone()), last: true });
        }
        self.due.send_replace(None);
        if self.starts() {
            self.started.send_replace(Started::No);
        }
    }

    /// What a call of message `own` did: its own part is given back, all else goes its way.
    fn spread(self: &Arc<Self>, mut did: Did, own: u32, at: &At<'_>) -> Handled {
        let error = did.fault.take();
        let more = did.report.open.filter(|open| *open == own && error.is_none()).map(|_| {
            let (sender, receiver) = mpsc::unbounded_channel();
            lock(&self.waiting).insert(own, sender);
            More(receiver)
        });
        let mut mine = Vec::new();
        let mut others = Vec::new();
        for (origin, act) in std::mem::take(&mut did.acts) {
            if origin == own { mine.push(act) } else { others.push((origin, act)) }
        }
        did.acts = others;
        if !did.acts.is_empty()
            || !did.report.closed.is_empty()
            || did.report.due.is_some()
            || did.start_failed.is_some()
        {
            self.apart(did, &at.deployed.source(at.index));
        }
        Handled { acts: mine, error, more }
    }

    /// Takes what was done to the runs it belongs to, or to one of its own.
    fn apart(self: &Arc<Self>, did: Did, source: &Source) {
        let mut by_origin: HashMap<u32, Vec<Act>> = HashMap::new();
        let mut order = Vec::new();
        for (origin, act) in did.acts {
            let acts = by_origin.entry(origin).or_default();
            if acts.is_empty() {
                order.push(origin);
            }
            acts.push(act);
        }
        for origin in order {
            let Some(acts) = by_origin.remove(&origin) else { continue };
            let acts = match lock(&self.waiting).get(&origin) {
                Some(run) => match run.send(Part { acts, error: None, last: false }) {
                    Ok(()) => continue,
                    Err(back) => back.0.acts,
                },
                None => acts,
            };
            if source.act(|cx| do_acts(acts, self, cx)).is_err() {
                tracing::error!("what a function node did by itself was dropped: too many runs are open (runs_max)");
            }
        }
        for number in did.report.closed {
            if let Some(run) = lock(&self.waiting).remove(&number) {
                let _ = run.send(Part { acts: Vec::new(), error: None, last: true });
            }
            if number == 0 && did.start_failed.is_none() {
                self.started_is(Started::Yes);
            }
        }
        if let Some(why) = did.start_failed
            && self.started_is(Started::Failed(why))
        {
            self.tell_failed_start(source);
        }
        if let Some(due) = did.report.due {
            self.due.send_replace(due);
            if due.is_some() {
                self.drive(source);
            }
        }
    }
}
