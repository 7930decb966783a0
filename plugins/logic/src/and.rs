//! `and`: both results are true.

use probity_sdk::prelude::*;

use crate::operands;

/// Combines two results: true if both are.
///
/// Waits for two messages of the same run whose `msg.payload.result` is true or false and sends the second one on, with
/// the combined `msg.payload.result` and the evidences of both in `msg.payload.evidences`, the first message's first.
/// Messages split off one another (`msg.parts`) belong together if their `parts.id` is the same. A result that is
/// neither true nor false is an error; so is, for a caller who waits, a run that ends with one operand only.
///
/// *Store evidences* adds `{id, key: "AND operation", value: [first, second], result}`.
#[derive(Clone, Config)]
pub struct And {
    /// Keep what was combined as evidence.
    #[config(name = "storeEvidences", label = "Store evidences", default = false)]
    store_evidences: bool,
}

#[node(
    type = "and",
    category = "logic",
    color = "#DDAA99",
    icon = "fa-plus-square-o",
    wants = ["payload", "req", "parts"],
    capabilities = ["state", "evidence"]
)]
impl Node for And {
    fn process(&self, mut msg: Message, cx: &Context) -> Result<()> {
        let config = self.over(&msg)?;
        let Some([a, b]) = operands::pair(&mut msg, cx)? else { return Ok(()) };
        operands::send(msg, cx, a && b, "AND operation", [a, b], config.store_evidences)
    }

    fn run_end(&self, last: Message, cx: &Context) -> Result<()> {
        operands::nothing_left(&last, cx)
    }
}
