//! `if-else`: two ways for true and false.

use probity_sdk::prelude::*;
use status_conventions::value::shown;

/// Sends a message by its result to the first output (true) or the second (false).
///
/// Looks at `msg.payload.result` and leaves the message as it is. Anything but true and false is an error: what is not
/// known goes neither way.
#[derive(Clone, Config)]
pub struct IfElse {}

#[node(
    type = "if-else",
    category = "logic",
    color = "#DDAA99",
    icon = "fa-code-fork",
    outputs = ["true", "false"],
    wants = ["payload"]
)]
impl Node for IfElse {
    fn process(&self, msg: Message, cx: &Context) -> Result<()> {
        match msg.payload().get("result") {
            Some(Value::Bool(true)) => cx.emit(0, msg),
            Some(Value::Bool(false)) => cx.emit(1, msg),
            None => {
                bail!("msg.payload.result is not boolean: it is missing; put a node that checks something in front")
            }
            Some(other) => bail!("msg.payload.result is not boolean: it is {}", shown(other)),
        }
    }
}
