//! `implies`: where the first result is true, the second is.

use probity_sdk::prelude::*;
use status_conventions::value::shown;

use crate::operands;

/// Combines two results: true unless the first is true and the second false.
///
/// Waits for two messages of the same run whose `msg.payload.result` is true or false. **The first to come is the
/// premise.** Sends the second one on, with the combined `msg.payload.result` and the evidences of both in
/// `msg.payload.evidences`. Messages split off one another (`msg.parts`) belong together if their `parts.id` is the
/// same. A result that is neither true nor false is an error; so is, for a caller who waits, a run that ends with one
/// operand only.
///
/// With `?status=true` in the request only a true result is sent on, with `?status=false` only a false one; any other
/// status is an error.
///
/// *Store evidences* adds `{id, key: "IMPLIES operation", value: [first, second], result}`.
#[derive(Clone, Config)]
pub struct Implies {
    /// Keep what was combined as evidence.
    #[config(name = "storeEvidences", label = "Store evidences", default = false)]
    store_evidences: bool,
    /// As node-red-status bc5d353 has it: `?status=false` lets every result pass.
    #[config(label = "As in node-red-status", default = false, config_only)]
    compat: bool,
}

#[node(
    type = "implies",
    category = "logic",
    color = "#DDAA99",
    icon = "fa-angle-double-right",
    wants = ["payload", "req", "parts"],
    capabilities = ["state", "evidence"]
)]
impl Node for Implies {
    fn process(&self, mut msg: Message, cx: &Context) -> Result<()> {
        let config = self.over(&msg)?;
        let asked = asked(&msg)?;
        let Some([a, b]) = operands::pair(&mut msg, cx)? else { return Ok(()) };
        let result = !a || b;
        let passes = asked.is_none_or(|asked| asked == result) || (self.compat && asked == Some(false));
        if !passes {
            cx.debug(format!("the result is {result}; the request's status asks for the other: nothing is sent"));
            return Ok(());
        }
        operands::send(msg, cx, result, "IMPLIES operation", [a, b], config.store_evidences)
    }

    fn run_end(&self, last: Message, cx: &Context) -> Result<()> {
        operands::nothing_left(&last, cx)
    }
}

/// The results the request asks for; `None` for all.
fn asked(msg: &Message) -> Result<Option<bool>> {
    let Some(status) = msg.at("req.query.status") else { return Ok(None) };
    match status.as_str() {
        Some("true") => Ok(Some(true)),
        Some("false") => Ok(Some(false)),
        _ => bail!("the request's query has status {}: true, false or no status was expected", shown(status)),
    }
}
