//! Messages waiting their turn, in order. A message waits in its own run as long as that run may last; longer waits
//! leave the run and come back in one of their own.

use std::any::Any;
use std::collections::VecDeque;

use tokio::sync::watch;

use crate::model::value::Handle;
use crate::model::{Msg, Value};

/// What a waiting message is told.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Turn {
    /// At this time, milliseconds since the epoch.
    At(f64),
    Now,
    /// A newer message of its topic has taken its place.
    Replaced,
    Dropped,
}

enum Hold {
    /// Its run waits.
    Run(watch::Sender<Turn>),
    /// No run waits; it is kept here.
    Here(Msg),
}

struct Ticket {
    id: u64,
    due: f64,
    topic: Value,
    hold: Hold,
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

/// Who waits, first to last.
#[derive(Default)]
pub(super) struct Line {
    tickets: VecDeque<Ticket>,
    last_id: u64,
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
        // A run that was ended leaves its tickets behind.
        self.tickets.retain(|t| !matches!(&t.hold, Hold::Run(sender) if sender.is_closed()));
        self.tickets.len()
    }

    pub(super) fn last_due(&self) -> Option<f64> {
        self.tickets.back().map(|t| t.due)
    }

    /// Joins the line; `kept` is the message when no run will wait for it.
    pub(super) fn join(&mut self, place: Place, due: f64, kept: Option<Msg>) -> Joined {
        self.last_id += 1;
        let id = self.last_id;
        let (hold, turn) = match kept {
            Some(msg) => (Hold::Here(msg), None),
            None => {
                let (sender, turn) = watch::channel(Turn::At(due));
                (Hold::Run(sender), Some(turn))
            }
        };
        let topic = if let Place::Topic(topic) = &place { topic.clone() } else { Value::Undefined };
        let ticket = Ticket { id, due, topic, hold };
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
                    if let Hold::Run(sender) = &same.hold {
                        sender.send_replace(Turn::At(due));
                    }
                    replaced = tell(before, Turn::Replaced);
                }
                None => self.tickets.push_back(ticket),
            },
        }
        Joined { id, turn, replaced }
    }

    /// Takes a ticket out whose turn it is.
    pub(super) fn leave(&mut self, id: u64) {
        self.tickets.retain(|t| t.id != id);
    }

    /// A kept message whose time has come: the message, or how long it has to wait yet; `None` when it was dropped.
    pub(super) fn returned(&mut self, id: u64, now: f64) -> Option<Result<Msg, f64>> {
        let at = self.tickets.iter().position(|t| t.id == id)?;
        if self.tickets[at].due > now {
            return Some(Err(self.tickets[at].due - now));
        }
        match self.tickets.remove(at)?.hold {
            Hold::Here(msg) => Some(Ok(msg)),
            Hold::Run(_) => None,
        }
    }

    /// Lets the first `n` go; gives the kept messages, which the caller has to send.
    pub(super) fn release(&mut self, n: usize) -> Vec<Msg> {
        let n = n.min(self.tickets.len());
        let released: Vec<Ticket> = self.tickets.drain(..n).collect();
        released.into_iter().filter_map(|ticket| tell(ticket, Turn::Now)).collect()
    }

    pub(super) fn clear(&mut self) {
        for ticket in self.tickets.drain(..) {
            tell(ticket, Turn::Dropped);
        }
    }

    /// Gives everybody a new time, by place.
    pub(super) fn give_dues(&mut self, due: impl Fn(usize) -> f64) {
        for (i, ticket) in self.tickets.iter_mut().enumerate() {
            ticket.due = due(i);
            if let Hold::Run(sender) = &ticket.hold {
                sender.send_replace(Turn::At(ticket.due));
            }
        }
    }
}

/// Tells the waiting run, or hands out the kept message.
fn tell(ticket: Ticket, turn: Turn) -> Option<Msg> {
    match ticket.hold {
        Hold::Run(sender) => {
            sender.send_replace(turn);
            None
        }
        Hold::Here(msg) => Some(msg),
    }
}
