//! `or`: one of two results is true.

use probity_sdk::prelude::*;

use crate::operands;

/// Combines two results: true if at least one is.
///
/// Waits for two messages of the same run whose `msg.payload.result` is true or false and sends the second one on, with
/// the combined `msg.payload.result` and the evidences of both in `msg.payload.evidences`, the first message's first.
/// Messages split off one another (`msg.parts`) belong together if their `parts.id` is the same. A result that is
/// neither true nor false is an error; so is, for a caller who waits, a run that ends with one operand only.
///
/// *Store evidences* adds `{id, key: "OR operation", value: [first, second], result}`.
#[derive(Clone, Config)]
pub struct Or {
    /// Keep what was combined as evidence.
    #[config(name = "storeEvidences", label = "Store evidences", default = false)]
    store_evidences: bool,
}

#[node(
    type = "or",
    category = "logic",
    color = "#DDAA99",
    icon = "fa-minus-square-o",
    wants = ["payload", "req", "parts"],
    capabilities = ["state", "evidence"]
)]
impl Node for Or {
    fn process(&self, mut msg: Message, cx: &Context) -> Result<()> {
        let config = self.over(&msg)?;
        let Some([a, b]) = operands::pair(&mut msg, cx)? else { return Ok(()) };
        operands::send(msg, cx, a || b, "OR operation", [a, b], config.store_evidences)
    }

    fn run_end(&self, last: Message, cx: &Context) -> Result<()> {
        operands::nothing_left(&last, cx)
    }
}
