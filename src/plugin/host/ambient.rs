//! `clock`, `random`, `typed-input` and `context`: what is around a node.

use crate::clock::Clock;
use crate::model::path::Path;
use crate::model::value::Value;
use crate::plugin::bindings::probity::plugin::types::{Failure, Value as Crossing};
use crate::plugin::bindings::probity::plugin::{clock, context, random, typed_input};
use crate::plugin::wire;
use crate::runtime::context::Level;
use crate::runtime::work::holding_up;

use super::{Host, failure, function};

/// One call of `random`, bytes.
const RANDOM_BYTES_MAX: u32 = 64 << 10;

impl clock::Host for Host {
    fn now(&mut self) -> wasmtime::Result<u64> {
        self.granted_or_trap("clock")?;
        let now = match self.call.as_deref() {
            Some(call) => call.place().now(),
            // A function node's code is compiled, and the modules it uses may ask.
            None => Clock::System.now(),
        };
        Ok(now.as_millisecond().unsigned_abs())
    }

    async fn sleep(&mut self, ms: u32) -> wasmtime::Result<()> {
        self.granted_or_trap("clock")?;
        let clock = self.call()?.place().services().clock.clone();
        clock.sleep(std::time::Duration::from_millis(ms.into())).await;
        Ok(())
    }
}

impl random::Host for Host {
    fn bytes(&mut self, len: u32) -> wasmtime::Result<Vec<u8>> {
        self.granted_or_trap("random")?;
        if len > RANDOM_BYTES_MAX {
            return Err(wasmtime::format_err!("asked for {len} random bytes; one call gives {RANDOM_BYTES_MAX}"));
        }
        let mut bytes = vec![0; len as usize];
        getrandom::fill(&mut bytes).map_err(|e| wasmtime::format_err!("the system gives no random bytes: {e}"))?;
        Ok(bytes)
    }
}

impl typed_input::Host for Host {
    fn evaluate(&mut self, kind: String, text: String) -> wasmtime::Result<Result<Option<Crossing>, Failure>> {
        self.call()?;
        if let Err(refused) = self.granted("typed-input") {
            return Ok(Err(refused));
        }
        let evaluate = self.facts.surroundings.evaluate_typed;
        let call = self.call()?;
        Ok(match evaluate(&kind, &text, &call.msg, call.place()) {
            Ok(value) => Ok(wire::crossing(&value)),
            Err(error) => Err(Failure { message: error.message, code: error.code }),
        })
    }
}

impl context::Host for Host {
    async fn get(&mut self, level: context::Level, path: String) -> wasmtime::Result<Result<Option<String>, Failure>> {
        self.call()?;
        if let Err(refused) = self.granted("context") {
            return Ok(Err(refused));
        }
        let call = self.call()?;
        let path = match context_path(&path) {
            Ok(path) => path,
            Err(wrong) => return Ok(Err(wrong)),
        };
        // Held for as long as the database takes.
        let ((deployed, node), msg) = (call.place().held(), call.msg.clone());
        let read = deployed.place(node).context_read(level_of(level), &path, &msg);
        Ok(match holding_up(read).await {
            Ok(value) => Ok((!value.is_undefined()).then(|| value.to_json())),
            Err(error) => Err(Failure { message: error.message, code: error.code }),
        })
    }

    async fn set(
        &mut self,
        level: context::Level,
        path: String,
        value: Option<String>,
    ) -> wasmtime::Result<Result<(), Failure>> {
        self.call()?;
        if let Err(refused) = self.granted("context") {
            return Ok(Err(refused));
        }
        let call = self.call()?;
        let of_function = call.function.is_some();
        let given = || {
            let value = match value {
                None => Value::Undefined,
                Some(json) if of_function => {
                    function::from_text(&json).map_err(|e| failure(format!("no JSON: {e}"), "EINVAL"))?
                }
                Some(json) => Value::from_json(&json).map_err(|e| failure(format!("no JSON: {e}"), "EINVAL"))?,
            };
            Ok((context_path(&path)?, value))
        };
        let (path, value) = match given() {
            Ok(given) => given,
            Err(wrong) => return Ok(Err(wrong)),
        };
        let ((deployed, node), msg) = (call.place().held(), call.msg.clone());
        let write = deployed.place(node).context_write(level_of(level), &path, value, &msg);
        Ok(match holding_up(write).await {
            Ok(true) => Ok(()),
            Ok(false) => Err(failure("a value that is no object is in the way of this context path", "EINVAL")),
            Err(error) => Err(Failure { message: error.message, code: error.code }),
        })
    }
}

/// A key; `#:(store)::key` names a store.
fn context_path(text: &str) -> Result<Path, Failure> {
    let (store, key) = super::function::store_and_key(text);
    Path::parse(key)
        .map(|path| path.in_store(store))
        .map_err(|e| failure(format!("\"{text}\" is no context path: {e}"), "EINVAL"))
}

fn level_of(level: context::Level) -> Level {
    match level {
        context::Level::Node => Level::Node,
        context::Level::Flow => Level::Flow,
        context::Level::Global => Level::Global,
    }
}
