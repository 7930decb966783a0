//! What waits, by topic.

use std::collections::HashMap;

use arcstr::ArcStr;
use tokio::sync::oneshot;

use crate::model::{Msg, Object, Value};

/// Which wait is over: one that was ended or begun anew since has another number.
#[derive(Clone, Debug)]
pub(super) struct Due {
    topic: ArcStr,
    number: u64,
}

struct Waiting {
    number: u64,
    /// Dropping it ends the wait; there is none when only a reset does.
    _cancel: Option<oneshot::Sender<()>>,
    /// The second payload, as it was read at the start.
    then: Value,
    /// The message the second one is made of.
    msg: Msg,
    /// The latest message, where that is what is sent.
    latest: Option<Msg>,
}

/// A wait that is over.
pub(super) struct Ended {
    pub(super) then: Value,
    pub(super) msg: Msg,
    pub(super) latest: Option<Msg>,
}

#[derive(Default)]
pub(super) struct Topics {
    waiting: HashMap<ArcStr, Waiting>,
    last_number: u64,
}

impl Topics {
    pub(super) fn len(&self) -> usize {
        self.waiting.len()
    }

    /// Whether a topic waits; keeps the latest message of one that does.
    pub(super) fn note(&mut self, topic: &ArcStr, latest: Option<&Msg>) -> bool {
        match self.waiting.get_mut(topic) {
            None => false,
            Some(waiting) => {
                if let Some(latest) = latest {
                    waiting.latest = Some(latest.clone());
                }
                true
            }
        }
    }

    pub(super) fn forget(&mut self, topic: &ArcStr) {
        self.waiting.remove(topic);
    }

    /// Begins a wait, in the place of one that is under way; what to wait for, unless only a reset ends it.
    pub(super) fn start(
        &mut self,
        topic: ArcStr,
        then: Value,
        msg: Msg,
        waits: bool,
    ) -> Option<(Due, oneshot::Receiver<()>)> {
        self.last_number += 1;
        let number = self.last_number;
        let (cancel, cancelled) = oneshot::channel();
        let waiting = Waiting { number, _cancel: waits.then_some(cancel), then, msg, latest: None };
        self.waiting.insert(topic.clone(), waiting);
        waits.then_some((Due { topic, number }, cancelled))
    }

    /// Begins the time anew; the second message is now made of this one.
    pub(super) fn extend(&mut self, topic: ArcStr, msg: Msg) -> Option<(Due, oneshot::Receiver<()>)> {
        let waiting = self.waiting.get_mut(&topic)?;
        self.last_number += 1;
        let (cancel, cancelled) = oneshot::channel();
        waiting.number = self.last_number;
        waiting._cancel = Some(cancel);
        waiting.msg = msg;
        Some((Due { topic, number: self.last_number }, cancelled))
    }

    /// What a durable run keeps of a wait: its topic, and what its second message is made of.
    pub(super) fn kept(&self, due: &Due) -> Option<Object> {
        let waiting = self.waiting.get(&due.topic).filter(|w| w.number == due.number)?;
        let kept = [
            ("topic", Value::from(due.topic.clone())),
            ("then", waiting.then.clone()),
            ("msg", waiting.msg.to_value()),
        ];
        Some(kept.into_iter().filter(|(_, value)| !value.is_undefined()).collect())
    }

    /// The message of a repetition that is due.
    pub(super) fn repeated(&self, due: &Due) -> Option<Msg> {
        self.waiting.get(&due.topic).filter(|w| w.number == due.number).map(|w| w.msg.clone())
    }

    /// Takes away a wait whose time is over.
    pub(super) fn end(&mut self, due: &Due) -> Option<Ended> {
        self.waiting.get(&due.topic).filter(|w| w.number == due.number)?;
        let Waiting { then, msg, latest, .. } = self.waiting.remove(&due.topic)?;
        Some(Ended { then, msg, latest })
    }
}
