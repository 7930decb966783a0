//! Contexts in the database: one for all replicas, there again after a restart.
//!
//! Nothing is held here: each question goes to the database, so that what one replica has set the next one reads. Who is
//! not answered fails: a value that is not known is not one that is absent.

use std::sync::Arc;
use std::time::Duration;

use arcstr::ArcStr;
use futures_util::FutureExt;
use tokio::sync::{Semaphore, SemaphorePermit};

use crate::model::path::Path;
use crate::model::value::kept;
use crate::model::{Object, Value};
use crate::runtime::NodeError;
use crate::store::contexts::{ContextChange, ContextChanged};
use crate::store::{ContextScope, Store, StoreError};

/// What contexts in the database may take.
#[derive(Clone, Debug)]
pub struct StoredLimits {
    /// One value as JSON, bytes.
    pub value_bytes_max: u64,
    /// All keys and values of one scope, bytes.
    pub scope_bytes_max: u64,
    /// The database's answer, milliseconds.
    pub answer_ms_max: u64,
    /// Questions at once; further ones wait.
    pub parallel_max: usize,
}

/// The code of errors about a database that could not be asked.
pub const UNKNOWN: &str = "ECONTEXT";

/// Keys longer than this are refused, bytes: a database's index has to hold them.
const KEY_BYTES_MAX: usize = 1_000;

/// The database as contexts use it.
pub struct Stored {
    store: Arc<dyn Store>,
    limits: StoredLimits,
    room: Semaphore,
}

/// A place among those who ask the database at once.
pub type Room<'a> = SemaphorePermit<'a>;

impl Stored {
    pub fn new(store: Arc<dyn Store>, limits: StoredLimits) -> Stored {
        let room = Semaphore::new(limits.parallel_max.max(1));
        Stored { store, limits, room }
    }

    pub(super) fn store(&self) -> &Arc<dyn Store> {
        &self.store
    }

    /// Waits for a place; they are given in the order in which they were asked for.
    pub(super) async fn room(&self) -> Option<Room<'_>> {
        // Nobody closes it.
        self.room.acquire().await.ok()
    }

    async fn answer<T>(
        &self,
        what: &(dyn Fn(String) -> NodeError + Sync),
        asked: impl Future<Output = Result<T, StoreError>>,
    ) -> Result<T, NodeError> {
        let max = self.limits.answer_ms_max;
        match tokio::time::timeout(Duration::from_millis(max), asked).await {
            Ok(answer) => answer.map_err(|error| what(error.to_string())),
            Err(_) => Err(what(format!("the database did not answer within {max} ms (contexts.answer_ms_max)"))),
        }
    }

    pub(super) async fn get(&self, of: &ContextScope, path: &Path, msg: Option<&Object>) -> Result<Value, NodeError> {
        let key = path.first(msg);
        if key.contains('\0') {
            // It could not be set either.
            return Ok(Value::Undefined);
        }
        let what = |why: String| unknown(of, format_args!("\"{}\" could not be read", path.text()), &why);
        let Some(text) = self.answer(&what, self.store.context_value(of, &key)).await? else {
            return Ok(Value::Undefined);
        };
        let root: Object = [(key, read(&text).map_err(what)?)].into_iter().collect();
        Ok(path.get(&root, msg))
    }

    /// False when a scalar is in the way.
    pub(super) async fn set(
        &self,
        of: &ContextScope,
        path: &Path,
        value: Value,
        msg: Option<&Object>,
    ) -> Result<bool, NodeError> {
        let key = path.first(msg);
        if path.is_single() {
            self.put(of, &key, &value).await?;
            return Ok(true);
        }
        let mut set = true;
        let mut change = |before: Value| {
            let mut root = Object::new();
            if !before.is_undefined() {
                root.insert(key.clone(), before);
            }
            set = path.set(&mut root, value.clone(), msg);
            set.then(|| root.get(&key).cloned().unwrap_or_default())
        };
        self.update(of, &key, &mut change).await?;
        Ok(set)
    }

    /// Sets what is under a key, whatever was there; `Undefined` removes it.
    async fn put(&self, of: &ContextScope, key: &str, value: &Value) -> Result<(), NodeError> {
        let what = |why: String| unknown(of, format_args!("whether \"{key}\" was set is not known"), &why);
        let text = match value {
            Value::Undefined => None,
            value => Some(self.written(of, key, value)?),
        };
        let room = self.limits.scope_bytes_max;
        let changed = self.answer(&what, self.store.put_context(of, key, room, text)).await?;
        self.fits(of, key, changed)
    }

    /// Makes of what is under a key what `change` says, and of nothing as well; `None` leaves it as it is. Nobody else
    /// changes it in between; asked again when others were in the way.
    pub(super) async fn update(
        &self,
        of: &ContextScope,
        key: &str,
        change: &mut (dyn FnMut(Value) -> Option<Value> + Send),
    ) -> Result<(), NodeError> {
        let what = |why: String| unknown(of, format_args!("whether \"{key}\" was set is not known"), &why);
        let mut wrong = None;
        let mut change = |before: Option<&str>| {
            let made = before.map_or(Ok(Value::Undefined), read).map_err(|why| refused(of, key, &why));
            let made = made.and_then(|before| match change(before) {
                None => Ok(ContextChange::Leave),
                Some(Value::Undefined) => Ok(ContextChange::Remove),
                Some(value) => self.written(of, key, &value).map(ContextChange::Put),
            });
            made.unwrap_or_else(|error| {
                wrong = Some(error);
                ContextChange::Leave
            })
        };
        let room = self.limits.scope_bytes_max;
        let changed = self.answer(&what, self.store.change_context(of, key, room, &mut change)).await?;
        match wrong {
            Some(error) => Err(error),
            None => self.fits(of, key, changed),
        }
    }

    /// A value as it is stored, within its limits.
    fn written(&self, of: &ContextScope, key: &str, value: &Value) -> Result<String, NodeError> {
        if key.len() > KEY_BYTES_MAX || key.contains('\0') {
            return Err(refused(of, key, &format!("a key must have at most {KEY_BYTES_MAX} bytes, and no NUL")));
        }
        let max = self.limits.value_bytes_max;
        let text = serde_json::to_string(&kept::Kept(value)).map_err(|e| refused(of, key, &e.to_string()))?;
        match text.len() as u64 {
            bytes if bytes > max => {
                let why = format!("as JSON it has {bytes} bytes, at most {max} (contexts.value_bytes_max)");
                Err(refused(of, key, &why))
            }
            _ => Ok(text),
        }
    }

    fn fits(&self, of: &ContextScope, key: &str, changed: ContextChanged) -> Result<(), NodeError> {
        let ContextChanged::Full { bytes } = changed else { return Ok(()) };
        let (scope, room) = (&of.scope, self.limits.scope_bytes_max);
        let why = format!(
            "with it the context of {scope} would have {bytes} bytes, at most {room} (contexts.scope_bytes_max)"
        );
        Err(refused(of, key, &why))
    }

    pub(super) async fn keys(&self, of: &ContextScope) -> Result<Vec<ArcStr>, NodeError> {
        let what = |why: String| unknown(of, format_args!("its keys could not be read"), &why);
        let keys = self.answer(&what, self.store.context_keys(of)).await?;
        Ok(keys.into_iter().map(ArcStr::from).collect())
    }

    pub(super) async fn values(&self, of: &ContextScope) -> Result<Object, NodeError> {
        let what = |why: String| unknown(of, format_args!("its values could not be read"), &why);
        let values = self.answer(&what, self.store.context_values(of)).await?;
        let mut found = Object::new();
        for (key, text) in values {
            found.insert(ArcStr::from(key), read(&text).map_err(what)?);
        }
        Ok(found)
    }
}

/// Nothing was changed.
fn refused(of: &ContextScope, key: &str, why: &str) -> NodeError {
    // A key may be a text of any length.
    let key = &key[..key.floor_char_boundary(80)];
    NodeError::with_code(format!("context store \"{}\": \"{key}\" was not set: {why}", of.store), "ELIMIT")
}

fn unknown(of: &ContextScope, what: std::fmt::Arguments<'_>, why: &str) -> NodeError {
    NodeError::with_code(format!("context store \"{}\" in the database: {what}: {why}", of.store), UNKNOWN)
}

/// What stood behind a handle (a call, a socket) is gone; its data stays.
fn read(text: &str) -> Result<Value, String> {
    kept::read(text, &|_, _| None).map_err(|e| format!("what is stored is no value: {e}"))
}

/// Waits for the database where nobody else can: a node that is called computes its answer in one go. The thread's other
/// tasks are handed to another thread meanwhile, so that none of them waits; how many wait so at once is bounded by
/// [`Stored::room`].
pub(super) fn wait_here<T>(asked: impl Future<Output = Result<T, NodeError>>) -> Result<T, NodeError> {
    use tokio::runtime::{Handle, RuntimeFlavor};
    match Handle::try_current() {
        Ok(handle) if matches!(handle.runtime_flavor(), RuntimeFlavor::MultiThread) => {
            tokio::task::block_in_place(|| handle.block_on(asked))
        }
        // A command with a store in memory: that answers at once.
        _ => asked.now_or_never().unwrap_or_else(|| {
            let text = "a context store in the database can be asked by a server, not by this command";
            Err(NodeError::with_code(text, UNKNOWN))
        }),
    }
}
