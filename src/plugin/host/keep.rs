//! `state`: keys and values that outlive a call, bounded in size.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard};

use crate::plugin::bindings::probity::plugin::state::{Host as StateHost, Scope};
use crate::plugin::bindings::probity::plugin::types::Failure;

use super::{Host, OVER, failure};

/// Keys and values of one node or of one run.
#[derive(Default)]
pub(in crate::plugin) struct Kept(Mutex<Map>);

#[derive(Default)]
struct Map {
    values: HashMap<String, Vec<u8>>,
    bytes: u64,
}

/// Bytes an entry costs beyond its key and value.
const ENTRY_BYTES: u64 = 64;

impl Kept {
    fn map(&self) -> MutexGuard<'_, Map> {
        self.0.lock().unwrap_or_else(|p| p.into_inner())
    }

    /// What was kept before.
    pub(in crate::plugin) fn of(values: impl IntoIterator<Item = (String, Vec<u8>)>) -> Kept {
        let values: HashMap<String, Vec<u8>> = values.into_iter().collect();
        let bytes = values.iter().map(|(key, value)| (key.len() + value.len()) as u64 + ENTRY_BYTES).sum();
        Kept(Mutex::new(Map { values, bytes }))
    }

    /// Everything that is kept.
    pub(in crate::plugin) fn all(&self) -> BTreeMap<String, Vec<u8>> {
        self.map().values.iter().map(|(key, value)| (key.clone(), value.clone())).collect()
    }
}

impl Map {
    fn put(&mut self, key: String, value: Option<Vec<u8>>, max: u64) -> Result<(), Failure> {
        let cost = |key: &str, value: &[u8]| (key.len() + value.len()) as u64 + ENTRY_BYTES;
        let before = self.values.get(&key).map_or(0, |old| cost(&key, old));
        let after = value.as_ref().map_or(0, |new| cost(&key, new));
        if self.bytes - before + after > max && after > before {
            return Err(failure(format!("the state of a node holds at most {max} bytes (state_bytes_max)"), OVER));
        }
        self.bytes = self.bytes - before + after;
        match value {
            Some(value) => self.values.insert(key, value),
            None => self.values.remove(&key),
        };
        Ok(())
    }
}

impl Host {
    fn kept(&mut self, scope: Scope) -> wasmtime::Result<Arc<Kept>> {
        let node = self.node.state.clone();
        let call = self.call()?;
        Ok(match scope {
            Scope::Run => call.run_state.clone(),
            Scope::Node => node,
        })
    }
}

impl StateHost for Host {
    fn get(&mut self, scope: Scope, key: String) -> wasmtime::Result<Option<Vec<u8>>> {
        self.granted_or_trap("state")?;
        Ok(self.kept(scope)?.map().values.get(&key).cloned())
    }

    fn set(&mut self, scope: Scope, key: String, value: Vec<u8>) -> wasmtime::Result<Result<(), Failure>> {
        let kept = self.kept(scope)?;
        Ok(self.granted("state").and_then(|()| {
            let max = self.facts.limits.state_bytes_max;
            kept.map().put(key, Some(value), max)
        }))
    }

    fn delete(&mut self, scope: Scope, key: String) -> wasmtime::Result<()> {
        self.granted_or_trap("state")?;
        // Taking away never goes over a limit.
        let _ = self.kept(scope)?.map().put(key, None, u64::MAX);
        Ok(())
    }

    fn compare_and_set(
        &mut self,
        scope: Scope,
        key: String,
        old: Option<Vec<u8>>,
        new: Option<Vec<u8>>,
    ) -> wasmtime::Result<Result<bool, Failure>> {
        let kept = self.kept(scope)?;
        Ok(self.granted("state").and_then(|()| {
            let mut map = kept.map();
            if map.values.get(&key) != old.as_ref() {
                return Ok(false);
            }
            map.put(key, new, self.facts.limits.state_bytes_max).map(|()| true)
        }))
    }
}
