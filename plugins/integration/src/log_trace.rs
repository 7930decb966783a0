//! `log-trace`: the traces of a log, one message each.

use probity_sdk::prelude::*;
use status_conventions::value::kind;

/// Sends each trace of a log as a message of its own.
///
/// Reads `msg.log.log.trace`, as *log-getter* writes it. `msg.payload` becomes `{trace, index}`, `msg.logSize` the number
/// of traces and `msg.log` null. A log without traces is an error.
#[derive(Clone, Config)]
pub struct LogTrace {}

#[node(type = "log-trace", category = "integration", color = "#DDAA99", icon = "fa-list-ol", wants = ["log"])]
impl Node for LogTrace {
    fn process(&self, mut msg: Message, cx: &Context) -> Result<()> {
        let mut log = msg.remove("log").unwrap_or_default();
        msg.set("log", Value::Null);
        let found = log.pointer_mut("/log/trace").map(Value::take).unwrap_or_default();
        let traces = match found {
            Value::Array(traces) => traces,
            Value::Null => {
                bail!("No trace data found in the log: msg.log.log.trace is missing; put log-getter in front")
            }
            one @ Value::Object(_) => vec![one],
            other => bail!("No trace data found in the log: msg.log.log.trace is {}, not a list", kind(&other)),
        };
        ensure!(!traces.is_empty(), "No trace data found in the log: it has no traces");
        let size = traces.len();
        for (index, trace) in traces.into_iter().enumerate() {
            let mut one = msg.clone();
            one.set_payload(json!({ "trace": trace, "index": index })).set("logSize", size);
            cx.emit(0, one)?;
        }
        Ok(())
    }
}
