//! `last-timestamp`: when an activity last happened.

use probity_sdk::prelude::*;
use status_conventions::value::kind;
use status_conventions::{event, trace};

/// Finds when an activity last happened.
///
/// Reads the events of the trace in `msg.payload.trace.event`, `msg.payload.event`, `msg.payload.events` or
/// `msg.payload` and writes `msg.payload.time`: the latest `time:timestamp` of the events whose `concept:name` is
/// *Activity*, in milliseconds since 1970, wherever in the trace the event stands. Null when the activity did not happen
/// or has no time: unknown. A time that cannot be read is an error; one without a zone is UTC.
///
/// `msg.position` becomes *Position*: which of two times this is, for *lesser-than* (1 is the smaller one).
///
/// A caller may send `activity` and `position` in the body of the request.
#[derive(Clone, Config)]
pub struct LastTimestamp {
    /// Name of the activity (`concept:name`).
    #[config(label = "Activity", default = "")]
    activity: String,
    /// What `msg.position` becomes, 1 or 2.
    #[config(label = "Position", default = "", placeholder = "1")]
    position: Value,
}

#[node(
    type = "last-timestamp",
    category = "extraction",
    color = "#DDAA99",
    icon = "fa-clock-o",
    wants = ["payload", "req", "position"]
)]
impl Node for LastTimestamp {
    fn process(&self, mut msg: Message, cx: &Context) -> Result<()> {
        let config = self.over(&msg)?;
        ensure!(!config.activity.is_empty(), "activity is empty: write the name of an activity (concept:name)");
        let latest = latest(trace::events(msg.payload())?, &config.activity)?;
        let payload = msg.payload_mut();
        if payload.is_array() {
            // On the list itself the time would be lost; here the next node still finds the events.
            *payload = json!({ "event": payload.take() });
        }
        match payload {
            Value::Object(object) => object.insert("time".to_owned(), Value::from(latest)),
            other => bail!("msg.payload is {}: the time can only be written to an object", kind(other)),
        };
        msg.set("position", config.position);
        cx.emit(0, msg)
    }
}

fn latest(events: &[Value], activity: &str) -> Result<Option<i64>> {
    let mut latest = None;
    for (index, found) in events.iter().enumerate() {
        let at = format!("event {index}");
        if event::name(found, event::CONCEPT_NAME, &at)? == Some(activity) {
            latest = latest.max(event::time(found, false, &at)?);
        }
    }
    Ok(latest)
}
