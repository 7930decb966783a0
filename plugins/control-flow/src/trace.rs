//! The trace of a message as constraints see it: its events' activities, in order.

use probity_sdk::{Config, Map, Message, Result, Value, bail};
use status_conventions::{date, event, trace};

use crate::checking::Label;

/// What to do with an event that has no activity.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Config)]
pub enum Unnamed {
    /// The message fails.
    Error,
    /// It is left out, as if it were not in the trace.
    Skip,
}

/// One event with an activity.
pub struct Step<'e> {
    /// Its place among all events, counted from 0.
    pub at: usize,
    pub activity: &'e str,
    pub event: &'e Value,
}

impl Step<'_> {
    /// Its time, milliseconds since 1970; `any` as for [`event::time`].
    pub fn time(&self, any: bool) -> Result<Option<i64>> {
        event::time(self.event, any, &self.place())
    }

    /// For messages.
    pub fn place(&self) -> String {
        format!("event {} ({})", self.at, self.activity)
    }

    /// What an explanation says of it.
    pub fn shown(&self) -> Map<String, Value> {
        let mut shown = Map::new();
        shown.insert("event".to_owned(), Value::from(self.at));
        shown.insert("activity".to_owned(), Value::from(self.activity));
        // Here a time is only for reading: one that cannot be read does not touch the order of the events.
        if let Some(text) = self.time(true).ok().flatten().and_then(date::iso) {
            shown.insert("time".to_owned(), Value::from(text));
        }
        shown
    }
}

/// A trace's events that have an activity, in the order of the log.
pub struct Trace<'e> {
    pub steps: Vec<Step<'e>>,
    /// Events left out because they have none.
    pub unnamed: usize,
}

impl<'e> Trace<'e> {
    /// The trace of the message; events without `concept:name` are left out.
    pub fn of(msg: &'e Message) -> Result<Self> {
        Self::read(trace::events(msg.payload())?, event::CONCEPT_NAME, Unnamed::Skip)
    }

    /// The trace of these events, whose activity is the attribute `key`.
    pub fn read(events: &'e [Value], key: &str, unnamed: Unnamed) -> Result<Self> {
        let mut found = Self { steps: Vec::with_capacity(events.len()), unnamed: 0 };
        for (at, event) in events.iter().enumerate() {
            match event::name(event, key, &format!("event {at}"))? {
                Some(activity) => found.steps.push(Step { at, activity, event }),
                None if unnamed == Unnamed::Skip => found.unnamed += 1,
                None => bail!(
                    "event {at} has no {key}, so whether it is one of the activities asked for is unknown; name the \
                     attribute that holds the activity in activityKey, or set unnamed to skip"
                ),
            }
        }
        Ok(found)
    }

    /// What each event is to a constraint over these activities.
    pub fn labels(&self, a: &str, b: &str) -> Vec<Label> {
        let label = |step: &Step| match step.activity {
            name if name == a => Label::A,
            name if name == b => Label::B,
            _ => Label::Other,
        };
        self.steps.iter().map(label).collect()
    }

    /// The last event of an activity.
    pub fn last(&self, activity: &str) -> Option<&Step<'e>> {
        self.steps.iter().rev().find(|step| step.activity == activity)
    }
}
