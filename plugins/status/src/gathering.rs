//! The results of one computation, kept until all are there.
//!
//! Each result has a key of its own, so that ten thousand cost ten thousand small writes; what is known of the whole
//! is one small value, changed by compare-and-set, for results may arrive at once.

use std::collections::BTreeMap;

use probity_sdk::{Context, Message, Result, Value, bail};
use serde::{Deserialize, Serialize};

/// How many messages shall come.
#[derive(Clone, Debug, PartialEq)]
pub enum Expected {
    /// `msg.size` says so.
    Size(u64),
    /// `msg.parts` of a sequence says so.
    Parts { id: String, count: u64 },
    /// All that come before the run ends.
    Open,
}

impl Expected {
    /// What the message says.
    pub fn of(msg: &Message) -> Result<Self> {
        match msg.get("size") {
            None | Some(Value::Null) => {}
            Some(size) => return whole(size).map(Self::Size).ok_or_else(|| unreadable(size)),
        }
        let Some(parts) = msg.get("parts").filter(|parts| parts.is_object()) else { return Ok(Self::Open) };
        // A sequence of sequences: the inner count says nothing about the whole.
        if parts.get("parts").is_some_and(Value::is_object) {
            return Ok(Self::Open);
        }
        let id = parts.get("id").map(|id| id.as_str().map_or_else(|| id.to_string(), str::to_owned));
        match (id, parts.get("count").and_then(whole)) {
            (Some(id), Some(count)) => Ok(Self::Parts { id, count }),
            _ => Ok(Self::Open),
        }
    }
}

fn unreadable(size: &Value) -> probity_sdk::Error {
    let shown = status_conventions::value::shown(size);
    probity_sdk::Error::new(format!(
        "msg.size is {shown}: the number of results of this computation was expected, at least 1; leave it out if it \
         is not known"
    ))
}

/// A number of at least 1, also as text.
fn whole(value: &Value) -> Option<u64> {
    let number = match value {
        Value::Number(number) => {
            number.as_u64().or_else(|| number.as_f64().filter(|n| n.fract() == 0.0 && *n > 0.0).map(|n| n as u64))
        }
        Value::String(text) => text.trim().parse().ok(),
        _ => None,
    };
    number.filter(|number| *number > 0)
}

/// What is known of a computation's results.
#[derive(Default, Serialize, Deserialize)]
struct Count {
    /// Places given to results.
    taken: u64,
    /// Results that are in their places.
    kept: u64,
    /// Results that could not be read: none of the others may be reported as the whole.
    broken: u64,
    size: Option<u64>,
    /// Counts of the sequences that the results are of.
    sequences: BTreeMap<String, u64>,
    /// Some result says nothing of a number.
    open: bool,
    /// All have been handed over.
    closed: bool,
}

impl Count {
    fn expected(&self) -> Option<u64> {
        match self.size {
            Some(size) => Some(size),
            None if self.open || self.sequences.is_empty() => None,
            None => Some(self.sequences.values().sum()),
        }
    }

    fn came(&self) -> u64 {
        self.kept + self.broken
    }

    fn note(&mut self, expected: &Expected) -> Result<()> {
        match expected {
            Expected::Size(size) => match self.size {
                Some(before) if before != *size => bail!(
                    "msg.size is {size}, but an earlier result of the same computation said {before}: all must say \
                     the same"
                ),
                _ => self.size = Some(*size),
            },
            Expected::Parts { id, count } => {
                self.sequences.insert(id.clone(), *count);
            }
            Expected::Open => self.open = true,
        }
        if self.closed || self.expected().is_some_and(|expected| self.came() >= expected) {
            bail!(
                "one result more than the {} that were expected came, after STATUS was told that all are there: set \
                 msg.size to the right number, or leave it out",
                self.expected().unwrap_or(self.kept)
            );
        }
        Ok(())
    }

    /// Closes it when all are there.
    fn close_if_whole(&mut self) -> Arrival {
        if self.expected() != Some(self.came()) || self.closed {
            return Arrival::Waits;
        }
        self.closed = true;
        match self.broken {
            0 => Arrival::Whole(self.kept as usize),
            _ => Arrival::Broken,
        }
    }
}

/// What the arrival of a result made of the whole.
#[derive(Debug, PartialEq)]
pub enum Arrival {
    /// More have to come.
    Waits,
    /// All of this many are there. Said once.
    Whole(usize),
    /// All came, and some could not be read. Said once.
    Broken,
}

/// The results of one computation in one run, or, where nobody waits and `msg.size` says how many there are, in as
/// many runs as it takes.
pub struct Gathering {
    prefix: String,
    over_runs: bool,
}

impl Gathering {
    /// Where the results of this group that come with such messages are kept.
    pub fn of(msg: &Message, group: &str, expected: &Expected) -> Self {
        let over_runs = !msg.has_caller() && matches!(expected, Expected::Size(_));
        let sequence = msg.get("parts").and_then(|parts| parts.get("id")).map(Value::to_string).unwrap_or_default();
        let prefix = if over_runs { format!("over runs/{sequence}/{group}") } else { format!("{}/{group}", msg.run()) };
        Self { prefix, over_runs }
    }

    /// Those of a run that have not been handed over.
    pub fn pending(run: &str, cx: &Context) -> Result<Vec<Self>> {
        let prefixes: Vec<String> = cx.run_state().get(&list_key(run))?.unwrap_or_default();
        Ok(prefixes.into_iter().map(|prefix| Self { prefix, over_runs: false }).collect())
    }

    /// The run is over: what it kept where runs nobody waits for share it can go.
    pub fn forget(self, cx: &Context) {
        let state = cx.run_state();
        if let Ok(Some(count)) = state.get::<Count>(&self.count_key()) {
            (0..count.taken).for_each(|index| state.delete(&self.item_key(index)));
        }
        state.delete(&self.count_key());
    }

    /// Takes the list of a run's gatherings away.
    pub fn forget_list(run: &str, cx: &Context) {
        cx.run_state().delete(&list_key(run));
    }

    /// Keeps a result.
    pub fn keep(&self, run: &str, result: &str, expected: &Expected, cx: &Context) -> Result<Arrival> {
        let state = cx.run_state();
        let place = state.with(&self.count_key(), |count: &mut Count| {
            count.note(expected)?;
            count.taken += 1;
            Ok(count.taken - 1)
        })?;
        if place == 0 {
            self.list(run, cx)?;
        }
        if let Err(error) = state.set_bytes(&self.item_key(place), result.as_bytes()) {
            self.miss(run, expected, cx)?;
            return Err(error);
        }
        state.with(&self.count_key(), |count: &mut Count| {
            count.kept += 1;
            Ok(count.close_if_whole())
        })
    }

    /// A result came that cannot be kept.
    pub fn miss(&self, run: &str, expected: &Expected, cx: &Context) -> Result<Arrival> {
        self.list(run, cx)?;
        cx.run_state().with(&self.count_key(), |count: &mut Count| {
            if count.note(expected).is_err() {
                return Ok(Arrival::Waits);
            }
            count.broken += 1;
            Ok(count.close_if_whole())
        })
    }

    /// No more will come.
    pub fn end(&self, cx: &Context) -> Result<End> {
        cx.run_state().with(&self.count_key(), |count: &mut Count| {
            if count.closed || count.came() == 0 {
                return Ok(End::Nothing);
            }
            count.closed = true;
            let (came, expected) = (count.kept, count.expected());
            Ok(if count.broken > 0 {
                End::Nothing
            } else if count.taken != count.kept {
                End::Fewer { came, expected: count.taken }
            } else {
                match expected {
                    Some(expected) if came < expected => End::Fewer { came, expected },
                    _ => End::Whole(came as usize),
                }
            })
        })
    }

    /// Result `index`.
    pub fn item(&self, index: usize, cx: &Context) -> Result<String> {
        let bytes = cx.run_state().get_bytes(&self.item_key(index as u64));
        match bytes.map(String::from_utf8) {
            Some(Ok(text)) => Ok(text),
            _ => bail!("result {index} is no longer in this node's state"),
        }
    }

    /// Makes room once all was handed over; what another run shall not join is only closed.
    pub fn hand_over(self, cx: &Context) {
        if self.over_runs {
            self.forget(cx);
        }
    }

    fn list(&self, run: &str, cx: &Context) -> Result<()> {
        if self.over_runs {
            return Ok(());
        }
        cx.run_state().with(&list_key(run), |prefixes: &mut Vec<String>| {
            if !prefixes.contains(&self.prefix) {
                prefixes.push(self.prefix.clone());
            }
            Ok(())
        })
    }

    fn count_key(&self) -> String {
        format!("{}/count", self.prefix)
    }

    fn item_key(&self, index: u64) -> String {
        format!("{}/{index}", self.prefix)
    }
}

fn list_key(run: &str) -> String {
    format!("{run}/gatherings")
}

/// How the run's end finds a gathering.
#[derive(Debug, PartialEq)]
pub enum End {
    /// Handed over before, or with a result that could not be read, whose error was told.
    Nothing,
    /// All of this many.
    Whole(usize),
    Fewer {
        came: u64,
        expected: u64,
    },
}
