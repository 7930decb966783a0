//! `node`: what any guest may do, and `evidence`.

use crate::model::run::Attached;
use crate::model::value::Value;
use crate::plugin::bindings::probity::plugin::node::{Emission as Sent, Host as NodeHost, Level};
use crate::plugin::bindings::probity::plugin::types::{Failure, Property, Value as Crossing};
use crate::plugin::bindings::probity::plugin::{evidence, script};
use crate::runtime::Status;

use super::function::Act;
use super::{Call, Emission, Given, Host, OVER, failure};

/// Properties that guests cannot set: the way back to a caller is no data.
const KEPT: &str = "res";

impl NodeHost for Host {
    fn emit(&mut self, sent: Sent) -> wasmtime::Result<Result<(), Failure>> {
        let (bytes_max, emits_max) = (self.facts.limits.output_bytes_max, self.facts.all.emits_max);
        if self.call()?.function.is_some() {
            return Ok(self.emit_of_function(sent, bytes_max, emits_max));
        }
        Ok(self.call()?.emit(sent, bytes_max, emits_max))
    }

    fn status(&mut self, fill: Option<String>, shape: Option<String>, text: String) -> wasmtime::Result<()> {
        let max = self.facts.all.log_bytes_max;
        let status = Status { fill: fill.map(Into::into), shape: shape.map(Into::into), text: cut(text, max).into() };
        let call = self.call()?;
        match &mut call.function {
            Some(doing) => doing.act(Act::Status(status)),
            None => call.given.status = Some(status),
        }
        Ok(())
    }

    fn log(&mut self, level: Level, text: String) -> wasmtime::Result<()> {
        let level = match level {
            Level::Debug => tracing::Level::DEBUG,
            Level::Info => tracing::Level::INFO,
            Level::Warn => tracing::Level::WARN,
            Level::Error => tracing::Level::ERROR,
        };
        self.note(level, text);
        Ok(())
    }

    fn id(&mut self) -> wasmtime::Result<String> {
        Ok(self.node.id.to_string())
    }

    fn config(&mut self) -> wasmtime::Result<String> {
        Ok(self.node.config.clone())
    }
}

impl Host {
    /// Keeps a line of the log, or counts it when there are too many.
    pub(in crate::plugin) fn note(&mut self, level: tracing::Level, text: String) {
        let lines_max = self.facts.all.log_lines_max as usize;
        let text = cut(text, self.facts.all.log_bytes_max);
        if level == tracing::Level::ERROR {
            self.said = Some(text.clone());
        }
        if self.call.is_none() {
            let name = &self.facts.name;
            tracing::debug!(plugin = %name, "{text}");
            return;
        }
        let doing = self.call.as_deref_mut().and_then(|c| c.function.as_mut());
        if let Some(doing) = doing {
            return doing.log(level, text, lines_max);
        }
        let Some(Given { log, log_cut, .. }) = self.call.as_deref_mut().map(|c| &mut c.given) else { return };
        if log.len() < lines_max {
            log.push((level, text));
        } else {
            *log_cut += 1;
        }
    }
}

/// At most `max` bytes of a text, cut between characters.
fn cut(mut text: String, max: usize) -> String {
    if text.len() > max {
        text.truncate(text.floor_char_boundary(max));
        text.push('…');
    }
    text
}

impl Call {
    fn emit(&mut self, sent: Sent, bytes_max: u64, emits_max: u32) -> Result<(), Failure> {
        let size: usize = sent.set.iter().map(|p| p.name.len() + size_of(&p.value)).sum();
        let given = &mut self.given;
        if given.emissions.len() >= emits_max as usize {
            return Err(failure(format!("one call emits at most {emits_max} messages (plugins.emits_max)"), OVER));
        }
        if given.bytes + size as u64 > bytes_max {
            return Err(failure(format!("one call emits at most {bytes_max} bytes (output_bytes_max)"), OVER));
        }
        let mut set = Vec::with_capacity(sent.set.len());
        for Property { name, value } in sent.set {
            if name == KEPT {
                return Err(failure("msg.res cannot be set: it is the way back to the caller", "EINVAL"));
            }
            let value = match value {
                Crossing::Json(text) => (self.crossed.read(&name, &text))
                    .map_err(|e| failure(format!("msg.{name} was sent as JSON that cannot be read: {e}"), "EINVAL"))?,
                Crossing::Bytes(bytes) => Value::Bytes(bytes.into()),
            };
            set.push((name, value));
        }
        given.bytes += size as u64;
        let delete = sent.delete.into_iter().filter(|name| name != KEPT).collect();
        given.emissions.push(Emission { port: sent.port as usize, keep: sent.keep, set, delete });
        Ok(())
    }
}

pub(super) fn size_of(value: &Crossing) -> usize {
    match value {
        Crossing::Json(text) => text.len(),
        Crossing::Bytes(bytes) => bytes.len(),
    }
}

impl evidence::Host for Host {
    fn attach(
        &mut self,
        key: String,
        value: String,
        outcome: Option<bool>,
    ) -> wasmtime::Result<Result<String, Failure>> {
        self.call()?;
        if let Err(refused) = self.granted("evidence") {
            return Ok(Err(refused));
        }
        let (facts, max) = (self.facts.clone(), self.facts.all.evidence_max);
        let call = self.call()?;
        if call.given.evidence.len() >= max as usize {
            let message = format!("one call attaches at most {max} pieces of evidence (plugins.evidence_max)");
            return Ok(Err(failure(message, OVER)));
        }
        let value = match serde_json::from_str(&value) {
            Ok(value) => value,
            Err(e) => return Ok(Err(failure(format!("evidence \"{key}\" is no JSON: {e}"), "EINVAL"))),
        };
        let id = uuid::Uuid::new_v4().to_string();
        let at = call.place().now();
        let plugin = arcstr::format!("{}@{}", facts.name, facts.version);
        let attached = Attached { id: id.clone(), key, value, outcome, at, plugin, digest: facts.digest.clone() };
        call.given.evidence.push(attached);
        Ok(Ok(id))
    }
}

impl script::Host for Host {
    fn source(&mut self) -> wasmtime::Result<(String, String)> {
        match &self.facts.script {
            Some((name, text)) => Ok((name.clone(), text.clone())),
            None => Err(wasmtime::format_err!("asked for a script, but this plugin has none")),
        }
    }

    fn ask(&mut self, what: String, given: String) -> wasmtime::Result<Result<Crossing, Failure>> {
        self.asked(&what, &given)
    }
}
