//! Keys and values that outlive a message. A plugin's own globals must not: an instance serves one caller after the
//! other, and the engine may drop it at any time.

use serde_core::{Serialize, de::DeserializeOwned};

pub use crate::bindings::probity::plugin::state::Scope;
use crate::message::parse;
use crate::{ErrorContext, Result, host};

/// The state of a run or of a node. Values are JSON, or bytes if you say so.
#[derive(Clone, Copy)]
pub struct State {
    scope: Scope,
}

impl State {
    pub(crate) fn new(scope: Scope) -> Self {
        Self { scope }
    }

    /// The value of `key`, `None` when it has none.
    pub fn get<T: DeserializeOwned>(&self, key: &str) -> Result<Option<T>> {
        host::state::get(self.scope, key).map(|bytes| read(key, &bytes)).transpose()
    }

    /// Sets the value of `key`. Where callers may meet (state of the node, parallel branches of a run) use
    /// [`update`](Self::update).
    pub fn set<T: Serialize + ?Sized>(&self, key: &str, value: &T) -> Result<()> {
        self.set_bytes(key, &serde_json::to_vec(value)?)
    }

    /// Takes `key` away.
    pub fn delete(&self, key: &str) {
        host::state::delete(self.scope, key);
    }

    /// Changes the value of `key` in one step: `change` gets what is there and gives what shall be (`None` takes the
    /// key away). When somebody else was quicker it is called again, so it must do nothing else. Gives what is there
    /// now.
    pub fn update<T, F>(&self, key: &str, mut change: F) -> Result<Option<T>>
    where
        T: Serialize + DeserializeOwned,
        F: FnMut(Option<T>) -> Result<Option<T>>,
    {
        loop {
            let old = host::state::get(self.scope, key);
            let before = old.as_deref().map(|bytes| read(key, bytes)).transpose()?;
            let after = change(before)?;
            let new = after.as_ref().map(serde_json::to_vec).transpose()?;
            if host::ok(host::state::compare_and_set(self.scope, key, old.as_deref(), new.as_deref()))? {
                return Ok(after);
            }
        }
    }

    /// Changes the value of `key` in one step and gives something else back, for example what was taken out. The
    /// value starts as `T::default()`; otherwise as [`update`](Self::update).
    pub fn with<T, R, F>(&self, key: &str, mut change: F) -> Result<R>
    where
        T: Serialize + DeserializeOwned + Default,
        F: FnMut(&mut T) -> Result<R>,
    {
        loop {
            let old = host::state::get(self.scope, key);
            let mut value: T = old.as_deref().map(|bytes| read(key, bytes)).transpose()?.unwrap_or_default();
            let result = change(&mut value)?;
            let new = serde_json::to_vec(&value)?;
            if host::ok(host::state::compare_and_set(self.scope, key, old.as_deref(), Some(&new)))? {
                return Ok(result);
            }
        }
    }

    /// The bytes of `key`.
    pub fn get_bytes(&self, key: &str) -> Option<Vec<u8>> {
        host::state::get(self.scope, key)
    }

    /// Sets the bytes of `key`.
    pub fn set_bytes(&self, key: &str, value: &[u8]) -> Result<()> {
        host::ok(host::state::set(self.scope, key, value))
    }
}

fn read<T: DeserializeOwned>(key: &str, bytes: &[u8]) -> Result<T> {
    let text = std::str::from_utf8(bytes).context(format_args!("state `{key}`"))?;
    parse(text).context(format_args!("state `{key}`"))
}
