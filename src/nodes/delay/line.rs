//! Messages waiting their turn, in order. A message waits in its own run as long as that run may last; longer waits
//! leave the run and come back in one of their own.
//!
//! Timers that end at one instant wake in any order. So the first of a run to wake takes along those of its run that
//! stood before it and are due as well: messages of one run leave in the order they came.

use std::any::Any;
use std::collections::VecDeque;

use tokio::sync::watch;

use crate::model::value::Handle;
use crate::model::{Msg, RunId, Value};

/// What a waiting message is told.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Turn {
    /// At this time, milliseconds since the epoch.
    At(f64),
    Now,
    /// A newer message of its topic has taken its place.
    Replaced,
    /// Somebody emptied the line.
    Dropped,
    /// The line grew too long and was emptied: the message fails.
    TooMany,
    /// Another message of its run took it along.
    Gone,
}

struct Ticket {
    id: u64,
    due: f64,
    topic: Value,
    msg: Msg,
    /// The run that waits for it; without, it comes back in one of its own.
    waiting: Option<(RunId, watch::Sender<Turn>)>,
}

impl Ticket {
    fn run(&self) -> Option<RunId> {
        self.waiting.as_ref().map(|(run, _)| *run)
    }

    fn tell(&self, turn: Turn) {
        if let Some((_, sender)) = &self.waiting {
            sender.send_replace(turn);
        }
    }

    /// Tells the waiting run, or hands out the message when there is none.
    fn dismiss(self, turn: Turn) -> Option<Msg> {
        self.tell(turn);
        if self.waiting.is_some() { None } else { Some(self.msg) }
    }
}

/// A ticket on its way back to the node, in a message of its own.
pub(super) struct Returned(pub(super) u64);

impl Handle for Returned {
    fn kind(&self) -> &'static str {
        "ticket"
    }
    fn as_any(&self) -> &dyn Any {
        self
    }
}

/// Fewer tickets than these are looked through each time.
const LOOK_AT_LEAST: usize = 16;

/// Who waits, first to last.
#[derive(Default)]
pub(super) struct Line {
    tickets: VecDeque<Ticket>,
    last_id: u64,
    /// Those that were let go and have not gone yet, in order: each is told when the one before it has gone, so that
    /// they go in this order, whichever runs they belong to.
    leaving: VecDeque<(u64, watch::Sender<Turn>)>,
    /// With so many it is worth looking for tickets that a run left behind when it was ended.
    look_at: usize,
}

/// Where a message joins.
pub(super) enum Place {
    Back,
    Front,
    /// In the place of the message that has the same topic.
    Topic(Value),
}

/// A message that has joined.
pub(super) struct Joined {
    pub(super) id: u64,
    /// What to wait for; `None` when the message is kept in the line.
    pub(super) turn: Option<watch::Receiver<Turn>>,
    /// The kept message whose place it took.
    pub(super) replaced: Option<Msg>,
}

impl Line {
    /// How many wait.
    pub(super) fn len(&mut self) -> usize {
        if self.tickets.len() >= self.look_at {
            self.tickets.retain(|t| t.waiting.as_ref().is_none_or(|(_, sender)| !sender.is_closed()));
            self.look_at = self.tickets.len() * 2 + LOOK_AT_LEAST;
        }
        self.tickets.len()
    }

    pub(super) fn first_due(&self) -> Option<f64> {
        self.tickets.front().map(|t| t.due)
    }

    /// Puts everybody off by so many milliseconds.
    pub(super) fn put_off(&mut self, by: f64) {
        for ticket in &mut self.tickets {
            ticket.due += by;
            ticket.tell(Turn::At(ticket.due));
        }
    }

    /// Its run waits for it no longer; false when it is not in the line any more.
    pub(super) fn leave_run(&mut self, id: u64) -> bool {
        let ticket = self.tickets.iter_mut().find(|t| t.id == id);
        ticket.map(|ticket| ticket.waiting = None).is_some()
    }

    pub(super) fn last_due(&self) -> Option<f64> {
        self.tickets.back().map(|t| t.due)
    }

    /// Joins the line; `run` is the one that will wait.
    pub(super) fn join(&mut self, place: Place, due: f64, msg: Msg, run: Option<RunId>) -> Joined {
        self.last_id += 1;
        let id = self.last_id;
        let (waiting, turn) = match run {
            None => (None, None),
            Some(run) => {
                let (sender, turn) = watch::channel(Turn::At(due));
                (Some((run, sender)), Some(turn))
            }
        };
        let topic = if let Place::Topic(topic) = &place { topic.clone() } else { Value::Undefined };
        let ticket = Ticket { id, due, topic, msg, waiting };
        let mut replaced = None;
        match place {
            Place::Back => self.tickets.push_back(ticket),
            Place::Front => {
                self.tickets.push_front(ticket);
                let mut dues: Vec<f64> = self.tickets.iter().map(|t| t.due).collect();
                dues.sort_by(f64::total_cmp);
                self.give_dues(|i| dues[i]);
            }
            Place::Topic(topic) => match self.tickets.iter_mut().find(|t| t.topic.strict_eq(&topic)) {
                Some(same) => {
                    let due = same.due;
                    let before = std::mem::replace(same, Ticket { due, ..ticket });
                    same.tell(Turn::At(due));
                    replaced = before.dismiss(Turn::Replaced);
                }
                None => self.tickets.push_back(ticket),
            },
        }
        Joined { id, turn, replaced }
    }

    /// Takes a message out whose time has come, and before it those of its run that are due as well; `None` when it
    /// is not in the line any more.
    pub(super) fn go(&mut self, id: u64) -> Option<Vec<Msg>> {
        let at = self.tickets.iter().position(|t| t.id == id)?;
        if at == 0 {
            return self.tickets.pop_front().map(|ticket| vec![ticket.msg]);
        }
        let (due, run) = (self.tickets[at].due, self.tickets[at].run());
        let mut gone = Vec::new();
        let mut place = 0;
        self.tickets.retain_mut(|ticket| {
            let goes = place == at || (place < at && ticket.run() == run && ticket.due <= due);
            place += 1;
            if goes {
                ticket.tell(Turn::Gone);
                gone.push(std::mem::take(&mut ticket.msg));
            }
            !goes
        });
        Some(gone)
    }

    /// A kept message whose time has come: the message, or how long it has to wait yet; `None` when it was dropped.
    pub(super) fn returned(&mut self, id: u64, now: f64) -> Option<Result<Msg, f64>> {
        let at = self.tickets.iter().position(|t| t.id == id)?;
        if self.tickets[at].due > now {
            return Some(Err(self.tickets[at].due - now));
        }
        self.tickets.remove(at).map(|ticket| Ok(ticket.msg))
    }

    /// Lets the first `n` go; gives the kept messages, which the caller has to send.
    pub(super) fn release(&mut self, n: usize) -> Vec<Msg> {
        let n = n.min(self.tickets.len());
        let released: Vec<Ticket> = self.tickets.drain(..n).collect();
        let is_first = self.leaving.is_empty();
        let mut kept = Vec::new();
        for ticket in released {
            match ticket.waiting {
                Some((_, sender)) => self.leaving.push_back((ticket.id, sender)),
                None => kept.push(ticket.msg),
            }
        }
        if is_first {
            self.tell_first();
        }
        kept
    }

    /// Whether it was let go and waits for others to go before it.
    pub(super) fn is_leaving(&self, id: u64) -> bool {
        self.leaving.iter().any(|(leaving, _)| *leaving == id)
    }

    /// It has gone, or its run has ended: the next may go.
    pub(super) fn left(&mut self, id: u64) {
        match self.leaving.iter().position(|(leaving, _)| *leaving == id) {
            Some(0) => {
                self.leaving.pop_front();
                self.tell_first();
            }
            Some(at) => drop(self.leaving.remove(at)),
            None => {}
        }
    }

    fn tell_first(&mut self) {
        while let Some((_, sender)) = self.leaving.front() {
            if sender.send(Turn::Now).is_ok() {
                return;
            }
            // Its run has ended.
            self.leaving.pop_front();
        }
    }

    /// Empties the line; `told` says why. Gives the messages of which no run is told.
    pub(super) fn clear(&mut self, told: Turn) -> Vec<Msg> {
        self.tickets.drain(..).filter_map(|ticket| ticket.dismiss(told)).collect()
    }

    /// Gives everybody a new time, by place.
    pub(super) fn give_dues(&mut self, due: impl Fn(usize) -> f64) {
        for (i, ticket) in self.tickets.iter_mut().enumerate() {
            ticket.due = due(i);
            ticket.tell(Turn::At(ticket.due));
        }
    }
}
