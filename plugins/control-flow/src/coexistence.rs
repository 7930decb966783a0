//! `coexistence`: A and B both occur, or neither.

use probity_sdk::prelude::*;

use crate::checking::Label;
use crate::pair::{NAMES, pair};
use crate::relation::{Constraint, Verdict};
use crate::template::Template;
use crate::trace::Trace;

pair! {
    /// Checks that event A and event B occur together.
    ///
    /// Reads the events of the trace in `msg.payload.trace.event`, `msg.payload.event`, `msg.payload.events` or
    /// `msg.payload` and writes `msg.payload.result`: true if **A and B both occur or neither does** (Declare's
    /// *co-existence*). Where neither occurs `msg.payload.vacuous` is true to say so.
    ///
    /// - *Negate* turns the result around.
    /// - *Store evidences* adds `{id, key: "Coexistence", value: [A, B], result}` to `msg.payload.evidences`.
    ///
    /// A caller may send `eventAName`, `eventBName`, `negate` and `storeEvidences` in the body of the request.
    pub struct Coexistence;

    /// As node-red-status bc5d353 has it: true only if both occur.
    compat
}

#[node(
    type = "coexistence",
    category = "controlFlow",
    color = "#DDAA99",
    icon = "fa-link",
    wants = ["payload", "req"],
    capabilities = ["evidence"]
)]
impl Node for Coexistence {
    fn process(&self, msg: Message, cx: &Context) -> Result<()> {
        self.judge(msg, cx)
    }
}

impl Coexistence {
    fn verdict(&self, trace: &Trace<'_>) -> Result<Verdict> {
        let value = json!([self.a, self.b]);
        if self.compat {
            let labels = trace.labels(&self.a, &self.b);
            let holds = labels.contains(&Label::A) && labels.contains(&Label::B);
            return Ok(Verdict { holds, vacuous: false, key: "Coexistence".to_owned(), value, details: None });
        }
        let constraint = Constraint::relation(Template::CoExistence, &self.a, &self.b, NAMES)?;
        Ok(Verdict::of(&constraint.judge(trace), "Coexistence", value))
    }
}
