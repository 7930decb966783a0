//! The contract's imports, answered by the test's world. Same names and types as the generated bindings.

use std::cell::RefMut;

use serde_json::Value;

use super::world::{World, failure};
use super::{Evidence, WORLD};
use crate::bindings::probity::plugin::types::{self, Failure};

type Answer<T> = std::result::Result<T, Failure>;

fn with<T>(act: impl FnOnce(RefMut<'_, World>) -> T) -> T {
    WORLD.with(|current| {
        let current = current.borrow();
        let world = current.as_ref().expect("a node needs a host: run it with `testing::Host::process`");
        act(world.borrow_mut())
    })
}

/// Where the contract has no failure the real host traps; a panic is that here.
fn need(world: &World, capability: &str) {
    if let Err(refused) = world.need(capability) {
        panic!("{}", refused.message);
    }
}

pub(crate) mod node {
    use super::*;
    pub(crate) use crate::bindings::probity::plugin::node::{Emission, Level};

    pub(crate) fn emit(what: &Emission) -> Answer<()> {
        with(|mut world| world.emit(what))
    }

    pub(crate) fn status(fill: Option<&str>, shape: Option<&str>, text: &str) {
        let words: Vec<&str> = fill.into_iter().chain(shape).chain((!text.is_empty()).then_some(text)).collect();
        with(|mut world| world.status = (!words.is_empty()).then(|| words.join(" ")));
    }

    pub(crate) fn log(level: Level, text: &str) {
        let level = match level {
            Level::Debug => "debug",
            Level::Info => "info",
            Level::Warn => "warn",
            Level::Error => "error",
        };
        with(|mut world| world.logs.push(format!("{level}: {text}")));
    }

    pub(crate) fn id() -> String {
        "node-1".to_owned()
    }

    pub(crate) fn config() -> String {
        with(|world| world.config.to_string())
    }
}

pub(crate) mod clock {
    use super::*;

    pub(crate) fn now() -> u64 {
        with(|world| {
            need(&world, "clock");
            world.now_ms
        })
    }

    pub(crate) fn sleep(ms: u32) {
        with(|mut world| {
            need(&world, "clock");
            world.now_ms += u64::from(ms);
        });
    }
}

pub(crate) mod random {
    use super::*;

    pub(crate) fn bytes(len: u32) -> Vec<u8> {
        with(|mut world| {
            need(&world, "random");
            world.random_bytes(len)
        })
    }
}

pub(crate) mod secrets {
    use super::*;

    pub(crate) fn placeholder(name: &str) -> Answer<String> {
        with(|world| {
            world.need("secret")?;
            if !names_secret(&world.config, name) {
                let text = format!("the node's configuration does not name the secret \"{name}\": \"secret:{name}\"");
                return Err(failure("EPERM", text));
            }
            if world.secrets.iter().any(|known| known == name) {
                return Ok(format!("secret:{name}"));
            }
            Err(failure("ENOENT", format!("there is no secret `{name}`")))
        })
    }
}

/// Whether the configuration has `secret:NAME` anywhere.
fn names_secret(config: &Value, name: &str) -> bool {
    match config {
        Value::String(text) => text.strip_prefix("secret:") == Some(name),
        Value::Array(items) => items.iter().any(|item| names_secret(item, name)),
        Value::Object(entries) => entries.values().any(|item| names_secret(item, name)),
        _ => false,
    }
}

pub(crate) mod http {
    use super::*;
    use crate::bindings::probity::plugin::http::{Request, Response};

    pub(crate) fn send(what: &Request) -> Answer<Response> {
        with(|mut world| {
            world.need("http")?;
            world.send(what)
        })
    }
}

pub(crate) mod state {
    use super::*;
    use crate::bindings::probity::plugin::state::Scope;

    fn place(world: &World, scope: Scope, key: &str) -> (Option<String>, String) {
        let run = match scope {
            Scope::Run if world.caller => Some(world.run.clone()),
            Scope::Run => Some(String::new()),
            Scope::Node => None,
        };
        (run, key.to_owned())
    }

    pub(crate) fn get(scope: Scope, key: &str) -> Option<Vec<u8>> {
        with(|world| {
            need(&world, "state");
            world.state.get(&place(&world, scope, key)).cloned()
        })
    }

    pub(crate) fn set(scope: Scope, key: &str, value: &[u8]) -> Answer<()> {
        with(|mut world| {
            world.need("state")?;
            let place = place(&world, scope, key);
            world.state.insert(place, value.to_vec());
            Ok(())
        })
    }

    pub(crate) fn delete(scope: Scope, key: &str) {
        with(|mut world| {
            need(&world, "state");
            let place = place(&world, scope, key);
            world.state.remove(&place);
        });
    }

    pub(crate) fn compare_and_set(scope: Scope, key: &str, old: Option<&[u8]>, new: Option<&[u8]>) -> Answer<bool> {
        with(|mut world| {
            world.need("state")?;
            let place = place(&world, scope, key);
            if world.state.get(&place).map(Vec::as_slice) != old {
                return Ok(false);
            }
            match new {
                Some(new) => world.state.insert(place, new.to_vec()),
                None => world.state.remove(&place),
            };
            Ok(true)
        })
    }
}

pub(crate) mod evidence {
    use super::*;

    pub(crate) fn attach(key: &str, value: &str, outcome: Option<bool>) -> Answer<String> {
        with(|mut world| {
            world.need("evidence")?;
            let value = serde_json::from_str(value).map_err(|error| failure("bad-json", error.to_string()))?;
            let id = format!("00000000-0000-4000-8000-{:012}", world.evidence.len() + 1);
            world.evidence.push(Evidence { id: id.clone(), key: key.to_owned(), value, outcome });
            Ok(id)
        })
    }
}

pub(crate) mod typed_input {
    use super::*;

    pub(crate) fn evaluate(kind: &str, text: &str) -> Answer<Option<types::Value>> {
        with(|world| {
            world.need("typed-input")?;
            let found = world.evaluate(kind, text)?;
            Ok(found.map(|value| super::super::property((String::new(), value)).value))
        })
    }
}

pub(crate) mod context {
    use super::*;
    pub use crate::bindings::probity::plugin::context::Level;

    pub(crate) fn get(level: Level, path: &str) -> Answer<Option<String>> {
        with(|world| {
            world.need("context")?;
            Ok(world.context_value(level, path).map(|value| value.to_string()))
        })
    }

    pub(crate) fn set(level: Level, path: &str, value: Option<&str>) -> Answer<()> {
        with(|mut world| {
            world.need("context")?;
            let value = value.map(serde_json::from_str).transpose();
            let value = value.map_err(|error| failure("bad-json", error.to_string()))?;
            world.set_context(level, path, value).map_err(crate::Error::into_failure)
        })
    }
}

pub(crate) mod files {
    use super::*;

    pub(crate) fn read(path: &str) -> Answer<Vec<u8>> {
        with(|world| {
            world.need("files")?;
            let found = world.files.get(path).cloned();
            found.ok_or_else(|| failure("no-such-file", format!("there is no file `{path}`")))
        })
    }
}
