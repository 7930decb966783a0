//! `response`: after each A there is a B.

use probity_sdk::prelude::*;

use crate::checking::Label;
use crate::pair::{NAMES, pair};
use crate::relation::{Constraint, Verdict};
use crate::template::Template;
use crate::trace::Trace;

pair! {
    /// Checks that event A is always followed by event B.
    ///
    /// Reads the events of the trace in `msg.payload.trace.event`, `msg.payload.event`, `msg.payload.events` or
    /// `msg.payload`, in the order of the log, and writes `msg.payload.result`: true if **after each A there is a B**
    /// (Declare's *response*). Without any A it is true, too, and `msg.payload.vacuous` is true to say so.
    ///
    /// - *Negate* turns the result around.
    /// - *Store evidences* adds `{id, key: "Response", value: [A, B], result}` to `msg.payload.evidences`; the run keeps
    ///   how often A occurred and which of them have no B.
    ///
    /// A caller may send `eventAName`, `eventBName`, `negate` and `storeEvidences` in the body of the request.
    pub struct Response;

    /// As node-red-status bc5d353 has it: true if some A has some B after it, false without an A.
    compat
}

#[node(
    type = "response",
    category = "controlFlow",
    color = "#DDAA99",
    icon = "fa-long-arrow-right",
    wants = ["payload", "req"],
    capabilities = ["evidence"]
)]
impl Node for Response {
    fn process(&self, msg: Message, cx: &Context) -> Result<()> {
        self.judge(msg, cx)
    }
}

impl Response {
    fn verdict(&self, trace: &Trace<'_>) -> Result<Verdict> {
        let value = json!([self.a, self.b]);
        if self.compat {
            let labels = trace.labels(&self.a, &self.b);
            let first = labels.iter().position(|label| *label == Label::A);
            let holds = first.is_some_and(|first| labels[first..].contains(&Label::B));
            return Ok(Verdict { holds, vacuous: false, key: "Response".to_owned(), value, details: None });
        }
        let constraint = Constraint::relation(Template::Response, &self.a, &self.b, NAMES)?;
        Ok(Verdict::of(&constraint.judge(trace), "Response", value))
    }
}
