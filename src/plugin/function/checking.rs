//! Whether a function node's code is JavaScript: found before the node is there, once for what is the same code.

use std::collections::HashSet;
use std::ops::Range;
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
        Sha256::digest(super::json(&code)).into()
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

/// How much code is parsed by one instance, bytes, and of how many nodes.
const GROUP_BYTES_MAX: usize = 64 << 10;
const GROUP_MAX: usize = 32;

/// Which code is good, in the order of `setups`; what is wrong with the others [`check_one`] tells. An instance,
/// which takes longer to make than most code to parse, parses that of several nodes, on as many threads as there are workers:
/// nothing of it runs.
pub(super) fn check(
    setups: &[Setup],
    workers: usize,
    made: impl Fn(&[Setup]) -> Option<Arc<Script>> + Sync,
) -> Vec<bool> {
    let groups = groups(setups, workers);
    let next = AtomicUsize::new(0);
    let good = Mutex::new(vec![false; setups.len()]);
    let work = || {
        let Ok(runtime) = runtime() else { return };
        let is_good = |group: &[Setup]| made(group).is_some_and(|script| runtime.block_on(script.compile()).is_ok());
        while let Some(group) = groups.get(next.fetch_add(1, Ordering::Relaxed)) {
            let all_good = is_good(&setups[group.clone()]);
            for at in group.clone() {
                let found = all_good || (group.len() > 1 && is_good(&setups[at..=at]));
                lock(&good)[at] = found;
            }
        }
    };
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..workers.min(groups.len()))
            .filter_map(|_| std::thread::Builder::new().spawn_scoped(scope, work).ok())
            .collect();
        // What a thread that panicked has not checked is not good.
        threads.into_iter().for_each(|thread| drop(thread.join()));
    });
    good.into_inner().unwrap_or_else(|poisoned| poisoned.into_inner())
}

/// What is parsed by one instance each: a share of all for each worker, within the limits. A node with modules is alone,
/// since these run to say what they offer.
fn groups(setups: &[Setup], workers: usize) -> Vec<Range<usize>> {
    let most = setups.len().div_ceil(workers.max(1)).clamp(1, GROUP_MAX);
    let mut groups: Vec<Range<usize>> = Vec::new();
    let mut bytes = 0;
    for (at, setup) in setups.iter().enumerate() {
        let size = setup.func.len() + setup.initialize.len() + setup.finalize.len();
        let alone = |setup: &Setup| !setup.libs.is_empty();
        match groups.last_mut() {
            Some(group)
                if group.len() < most
                    && bytes + size <= GROUP_BYTES_MAX
                    && !alone(setup)
                    && !alone(&setups[at - 1]) =>
            {
                group.end = at + 1;
                bytes += size;
            }
            _ => {
                groups.push(at..at + 1);
                bytes = size;
            }
        }
    }
    groups
}

/// What is wrong with a node's code, on a thread of its own.
pub(super) fn check_one(script: &Script) -> Result<(), Fault> {
    let checked = std::thread::scope(|scope| {
        let work = || Some(runtime().ok()?.block_on(script.compile()));
        std::thread::Builder::new().spawn_scoped(scope, work).ok()?.join().ok()?
    });
    checked.unwrap_or_else(|| Err(unchecked()))
}

fn runtime() -> std::io::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_current_thread().enable_time().build()
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
