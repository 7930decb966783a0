//! Whether a function node's code is JavaScript: found before the node is there, once for what is the same code.

use std::collections::HashSet;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use arcstr::ArcStr;
use sha2::{Digest, Sha256};

use super::script::Script;
use super::{Fault, Setup, lock};
use crate::clock::Clock;
use crate::plugin::bindings::probity::plugin::types::Message;
use crate::plugin::instance;

/// How much code is remembered; beyond it, all is forgotten and checked anew.
const REMEMBERED_MAX: usize = 4_096;

/// What stands for a node's code, whatever the node is called and wherever it stands.
pub(super) type Key = [u8; 32];

/// Code that was found good: a deploy has most of it again, and each instance of a subflow has the same.
#[derive(Default)]
pub(super) struct Checked(Mutex<HashSet<Key>>);

impl Checked {
    pub(super) fn key(setup: &Setup) -> Key {
        let code = Setup { id: ArcStr::new(), name: ArcStr::new(), path: String::new(), ..setup.clone() };
        Sha256::digest(serde_json::to_vec(&code).unwrap_or_default()).into()
    }

    pub(super) fn has(&self, key: &Key) -> bool {
        lock(&self.0).contains(key)
    }

    pub(super) fn add(&self, key: Key) {
        let mut good = lock(&self.0);
        if good.len() >= REMEMBERED_MAX {
            good.clear();
        }
        good.insert(key);
    }
}

/// Compiles the code of scripts on as many threads as there are workers: nothing else is called. What was found, in their
/// order.
pub(super) fn check(scripts: &[Arc<Script>]) -> Vec<Result<(), Fault>> {
    let next = AtomicUsize::new(0);
    let found = Mutex::new(vec![None; scripts.len()]);
    let work = || {
        let Ok(runtime) = tokio::runtime::Builder::new_current_thread().enable_time().build() else { return };
        loop {
            let at = next.fetch_add(1, Ordering::Relaxed);
            let Some(script) = scripts.get(at) else { return };
            let checked = runtime.block_on(script.compile());
            lock(&found)[at] = Some(checked);
        }
    };
    let workers = scripts.first().map_or(0, |script| script.shared.workers.clamp(1, scripts.len()));
    std::thread::scope(|scope| {
        let threads: Vec<_> =
            (0..workers).filter_map(|_| std::thread::Builder::new().spawn_scoped(scope, work).ok()).collect();
        // What a thread that panicked has not checked is told below.
        threads.into_iter().for_each(|thread| drop(thread.join()));
    });
    let found = found.into_inner().unwrap_or_else(|poisoned| poisoned.into_inner());
    found.into_iter().map(|checked| checked.unwrap_or_else(|| Err(unchecked()))).collect()
}

fn unchecked() -> Fault {
    Fault {
        property: "func",
        message: "the code could not be checked: the system gave no thread".into(),
        at: None,
        hint: None,
    }
}

impl Script {
    async fn compile(&self) -> Result<(), Fault> {
        let fault = |message: String, code: Option<String>| {
            let mut place = code.as_deref().unwrap_or_default().split(':');
            let property = match place.next() {
                Some("setup") => "initialize",
                Some("cleanup") => "finalize",
                _ => "func",
            };
            let mut number = || place.next()?.parse().ok();
            let at = number().zip(number());
            Fault { property, message, at, hint: None }
        };
        let mut instance = self.make(&Clock::System).await.map_err(|e| fault(e.message, None))?;
        let input = Message { run: "0".into(), caller: false, properties: Vec::new() };
        match instance.load(&input).await {
            // Not kept: many nodes of a flow file are never asked.
            Ok(()) => Ok(()),
            Err(instance::Fault::Failed(failure)) => Err(fault(failure.message, failure.code)),
            Err(instance::Fault::Stopped { kind, message }) => Err(fault(self.stopped(kind, &message).message, None)),
        }
    }
}
