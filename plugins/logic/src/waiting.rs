//! What waits for its partner: kept with the run, so that two callers never mix.
//!
//! Messages belong together when they are of one run and have the same `msg.parts.id`, or none. Runs that nobody waits
//! for (inject, mqtt) share one state, as in Node-RED, where two injects may bring the two operands.

use probity_sdk::{Context, Message, Result, Value, bail};
use serde::{Serialize, de::DeserializeOwned};

const KEY: &str = "waiting";

/// Groups that may wait at once. Only runs nobody waits for can come here, when partners never arrive.
const GROUPS: usize = 1000;

/// What waits, by group, the oldest first.
type Waiting<T> = Vec<(String, T)>;

/// The group a message belongs to; the type must want `parts`.
fn group(msg: &Message) -> String {
    match msg.at("parts.id") {
        None | Some(Value::Null) => String::new(),
        Some(Value::String(id)) => id.clone(),
        Some(other) => other.to_string(),
    }
}

/// Hands what waits in the message's group to `step`, which gives what shall wait from now on (`None`: nothing) and
/// an answer.
pub fn step<T, R>(msg: &Message, cx: &Context, step: impl Fn(Option<T>) -> Result<(Option<T>, R)>) -> Result<R>
where
    T: Serialize + DeserializeOwned,
{
    let group = group(msg);
    let (answer, dropped) = cx.run_state().with(KEY, |waiting: &mut Waiting<T>| {
        let at = waiting.iter().position(|(id, _)| *id == group);
        let (rest, answer) = step(at.map(|at| waiting.remove(at).1))?;
        waiting.extend(rest.map(|rest| (group.clone(), rest)));
        let dropped = (waiting.len() > GROUPS).then(|| waiting.remove(0).0);
        Ok((answer, dropped))
    })?;
    if let Some(dropped) = dropped {
        cx.warn(format!("more than {GROUPS} operands wait: the oldest (parts.id \"{dropped}\") was dropped"));
    }
    Ok(answer)
}

/// At the end of a run somebody waits for: what still waits will never have its partner, which must not look like a
/// result that was never asked for.
pub fn nothing_left<T: Serialize + DeserializeOwned>(last: &Message, cx: &Context) -> Result<()> {
    let waiting: Waiting<T> = cx.run_state().get(KEY)?.unwrap_or_default();
    if !last.has_caller() || waiting.is_empty() {
        return Ok(());
    }
    let named = waiting.iter().filter(|(id, _)| !id.is_empty()).map(|(id, _)| format!("\"{id}\""));
    let named: Vec<_> = named.take(5).collect();
    let of = if named.is_empty() { String::new() } else { format!(" (parts.id {})", named.join(", ")) };
    bail!(
        "the run ended while {} operand{} waited for a second one{of}: two messages of one run with the same parts.id, \
         or without, were expected; nothing was sent for {}",
        waiting.len(),
        if waiting.len() == 1 { "" } else { "s" },
        if waiting.len() == 1 { "it" } else { "them" }
    )
}
