//! `responded-existence`: if A occurs, B occurs.

use probity_sdk::prelude::*;
use status_conventions::date;

use crate::pair::{NAMES, pair};
use crate::relation::{Constraint, Verdict};
use crate::template::Template;
use crate::trace::{Step, Trace};

pair! {
    /// Checks that event B occurs wherever event A does.
    ///
    /// Reads the events of the trace in `msg.payload.trace.event`, `msg.payload.event`, `msg.payload.events` or
    /// `msg.payload` and writes `msg.payload.result`: true if **A does not occur without B**, before or after (Declare's
    /// *responded existence*). Without any A it is true, too, and `msg.payload.vacuous` is true to say so. For B *after* A
    /// use *response*.
    ///
    /// - *Negate* turns the result around.
    /// - *Store evidences* adds `{id, key: "A-B", value: [time of the last A, time of the last B], result}` to
    ///   `msg.payload.evidences`; a time is null where the event does not occur or has none.
    ///
    /// A caller may send `eventAName`, `eventBName`, `negate` and `storeEvidences` in the body of the request.
    pub struct RespondedExistence;

    /// As node-red-status bc5d353 has it: true if the last A of the log is earlier than its last B by their
    /// timestamps, false if one of them does not occur. A timestamp that is missing or unreadable is an error.
    compat
}

#[node(
    type = "responded-existence",
    category = "controlFlow",
    color = "#DDAA99",
    icon = "fa-arrows-h",
    wants = ["payload", "req"],
    capabilities = ["evidence"]
)]
impl Node for RespondedExistence {
    fn process(&self, msg: Message, cx: &Context) -> Result<()> {
        self.judge(msg, cx)
    }
}

impl RespondedExistence {
    fn verdict(&self, trace: &Trace<'_>) -> Result<Verdict> {
        let key = format!("{}-{}", self.a, self.b);
        let (a, b) = (trace.last(&self.a), trace.last(&self.b));
        if self.compat {
            let (a, b) = (a.map(needed).transpose()?, b.map(needed).transpose()?);
            let holds = matches!((a, b), (Some(a), Some(b)) if a < b);
            let value = json!([a.and_then(date::iso), b.and_then(date::iso)]);
            return Ok(Verdict { holds, vacuous: false, key, value, details: None });
        }
        let constraint = Constraint::relation(Template::RespondedExistence, &self.a, &self.b, NAMES)?;
        // The verdict does not rest on times: one that cannot be read is none.
        let time = |step: Option<&Step>| step.and_then(|step| step.time(false).ok().flatten()).and_then(date::iso);
        Ok(Verdict::of(&constraint.judge(trace), key, json!([time(a), time(b)])))
    }
}

/// The time of an event, which must have one.
fn needed(step: &Step<'_>) -> Result<i64> {
    let found = step.time(false)?;
    found.context(format_args!("{} has no date time:timestamp, so which came first is unknown", step.place()))
}
