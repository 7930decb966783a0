//! One installed plugin: its current version and those that open runs still use, its record, its quarantine.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, Weak};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use arcstr::ArcStr;
use jiff::{SignedDuration, Timestamp};
use serde::Serialize;

use super::host::{Facts, Kept};
use super::instance::Kind;
use super::limits::Limits;
use super::manifest::Manifest;
use super::node::Pool;
use super::sandbox::Code;
use super::spec::TypeOf;

/// A version of a plugin that is loaded and ready.
pub(super) struct Version {
    pub(super) manifest: Manifest,
    pub(super) facts: Arc<Facts>,
    pub(super) code: Arc<Code>,
    pub(super) types: Vec<TypeOf>,
    /// Runs opened before this go on with the version before; set once everybody sees it.
    pub(super) since: OnceLock<Instant>,
    pub(super) loaded_at: Timestamp,
}

impl Version {
    fn is_for(&self, started: Instant) -> bool {
        self.since.get().is_some_and(|since| *since <= started)
    }

    pub(super) fn node_type(&self, name: &str) -> Option<&TypeOf> {
        self.types.iter().find(|t| t.description.node_type == name)
    }
}

/// A plugin by its name.
pub(super) struct Slot {
    pub(super) name: ArcStr,
    current: ArcSwap<Version>,
    /// Replaced ones, newest first, for as long as runs may be open that began with them.
    before: Mutex<Vec<(Instant, Arc<Version>)>>,
    /// States of nodes by node id; alive as long as a node holds them, so that they outlive a deploy.
    states: Mutex<HashMap<ArcStr, Weak<States>>>,
    pub(super) pools: Mutex<Vec<Weak<Pool>>>,
    pub(super) record: Record,
    quarantine: Mutex<BTreeMap<String, Quarantine>>,
    /// Whether there is anything in `quarantine`: each message asks, and almost always there is nothing.
    stopped_lately: AtomicBool,
}

/// What a node keeps.
#[derive(Default)]
pub(super) struct States {
    pub(super) node: Arc<Kept>,
    /// State `run` of runs nobody waits for.
    pub(super) shared: Arc<Kept>,
}

/// How long a replaced version is kept at most; longer than any run lasts by default (`run_ms_max`).
const BEFORE_MAX: Duration = Duration::from_secs(3_600);

impl Slot {
    pub(super) fn new(name: ArcStr, version: Version) -> Slot {
        version.since.get_or_init(Instant::now);
        Slot {
            name,
            current: ArcSwap::from_pointee(version),
            before: Mutex::default(),
            states: Mutex::default(),
            pools: Mutex::default(),
            record: Record::default(),
            quarantine: Mutex::default(),
            stopped_lately: AtomicBool::new(false),
        }
    }

    pub(super) fn current(&self) -> Arc<Version> {
        self.current.load_full()
    }

    /// The version a run that was opened at this instant works with, from its first message to its last.
    pub(super) fn version_for(&self, started: Instant) -> Arc<Version> {
        let current = self.current.load();
        if current.is_for(started) {
            return current.clone();
        }
        let before = lock(&self.before);
        before.iter().map(|(_, v)| v).find(|v| v.is_for(started)).cloned().unwrap_or_else(|| current.clone())
    }

    /// Swaps a version in: for runs that are opened from now on.
    pub(super) fn replace(&self, version: Version) {
        let version = Arc::new(version);
        let mut before = lock(&self.before);
        before.insert(0, (Instant::now(), self.current()));
        self.current.store(version.clone());
        // Taken after the swap: a run that was opened later never saw the version before.
        let now = *version.since.get_or_init(Instant::now);
        before.retain(|(replaced, _)| now.duration_since(*replaced) < BEFORE_MAX);
        drop(before);
        self.release();
    }

    pub(super) fn states(&self, node: &ArcStr) -> Arc<States> {
        let mut states = lock(&self.states);
        if let Some(kept) = states.get(node).and_then(Weak::upgrade) {
            return kept;
        }
        states.retain(|_, kept| kept.strong_count() > 0);
        let fresh = Arc::<States>::default();
        states.insert(node.clone(), Arc::downgrade(&fresh));
        fresh
    }

    pub(super) fn add_pool(&self, pool: &Arc<Pool>) {
        let mut pools = lock(&self.pools);
        pools.retain(|p| p.strong_count() > 0);
        pools.push(Arc::downgrade(pool));
    }

    pub(super) fn each_pool(&self, mut f: impl FnMut(&Pool)) {
        for pool in lock(&self.pools).iter().filter_map(Weak::upgrade) {
            f(&pool);
        }
    }

    /// Says why messages for this node type are refused now, if they are.
    pub(super) fn quarantined(&self, node_type: &str, now: impl FnOnce() -> Timestamp) -> Option<String> {
        if !self.stopped_lately.load(Ordering::Acquire) {
            return None;
        }
        let mut all = lock(&self.quarantine);
        let found = all.get_mut(node_type)?;
        let until = found.until?;
        if now() >= until {
            // One message is let through; if it is stopped, too, the quarantine goes on at once.
            found.until = None;
            found.trial = true;
            return None;
        }
        let name = &self.name;
        Some(format!(
            "node type {node_type} of plugin {name} is in quarantine until {until} because it was stopped {} times \
             lately; last: {}. To let it out now: probity plugin release {name}",
            found.stops.len().max(1),
            found.last
        ))
    }

    /// Notes that a guest was stopped.
    pub(super) fn stopped(&self, node_type: &str, kind: Kind, message: &str, now: Timestamp, limits: &Limits) {
        self.record.stopped(kind, message, now);
        let mut all = lock(&self.quarantine);
        self.stopped_lately.store(true, Ordering::Release);
        let found = all.entry(node_type.to_string()).or_default();
        found.last = message.lines().next().unwrap_or_default().to_string();
        let window = SignedDuration::from_millis(limits.stops_ms as i64);
        found.stops.retain(|at| now.duration_since(*at) < window);
        found.stops.push_back(now);
        if found.trial || found.stops.len() >= limits.stops_max as usize {
            found.until = Some(now + SignedDuration::from_millis(limits.quarantine_ms as i64));
            found.trial = false;
            tracing::error!(plugin = %self.name, node_type, "in quarantine: {}", found.last);
        }
    }

    /// Notes that a call went well.
    pub(super) fn went_well(&self, node_type: &str) {
        if !self.stopped_lately.load(Ordering::Acquire) {
            return;
        }
        let mut all = lock(&self.quarantine);
        if all.get(node_type).is_some_and(|q| q.trial) {
            all.remove(node_type);
        }
        self.stopped_lately.store(!all.is_empty(), Ordering::Release);
    }

    /// Ends all quarantines of this plugin; says whether there were any.
    pub(super) fn release(&self) -> bool {
        let mut all = lock(&self.quarantine);
        let any = all.values().any(|q| q.until.is_some());
        all.clear();
        self.stopped_lately.store(false, Ordering::Release);
        any
    }

    /// Node types in quarantine, with its end.
    pub(super) fn quarantines(&self) -> Vec<(String, Timestamp, String)> {
        let all = lock(&self.quarantine);
        all.iter().filter_map(|(name, q)| Some((name.clone(), q.until?, q.last.clone()))).collect()
    }
}

#[derive(Default)]
struct Quarantine {
    stops: VecDeque<Timestamp>,
    until: Option<Timestamp>,
    /// The quarantine is over, but nothing went well yet.
    trial: bool,
    last: String,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(|p| p.into_inner())
}

/// What became of a plugin's calls since the start.
#[derive(Default)]
pub(super) struct Record {
    types: Mutex<BTreeMap<String, Arc<Calls>>>,
    stops: Mutex<BTreeMap<Kind, u64>>,
    last_stops: Mutex<VecDeque<Noted>>,
    refusals: Mutex<VecDeque<Noted>>,
    refused: AtomicU64,
}

/// Calls of one node type.
#[derive(Default)]
pub(super) struct Calls {
    pub(super) calls: AtomicU64,
    pub(super) failed: AtomicU64,
    pub(super) nanoseconds: AtomicU64,
    pub(super) nanoseconds_max: AtomicU64,
    /// Largest memory of an instance, bytes.
    pub(super) memory_bytes: AtomicU64,
    pub(super) instances: AtomicU64,
}

/// A line of a plugin's page.
#[derive(Clone, Debug, Serialize)]
pub struct Noted {
    pub at: Timestamp,
    pub message: String,
}

/// Lines kept of each kind.
const NOTED_MAX: usize = 20;

impl Record {
    pub(super) fn calls(&self, node_type: &str) -> Arc<Calls> {
        lock(&self.types).entry(node_type.to_string()).or_default().clone()
    }

    fn stopped(&self, kind: Kind, message: &str, at: Timestamp) {
        *lock(&self.stops).entry(kind).or_default() += 1;
        note(&self.last_stops, message, at);
    }

    pub(super) fn refused(&self, messages: &[String], at: Timestamp) {
        self.refused.fetch_add(messages.len() as u64, Ordering::Relaxed);
        for message in messages {
            note(&self.refusals, message, at);
        }
    }

    pub(super) fn stops(&self) -> BTreeMap<Kind, u64> {
        lock(&self.stops).clone()
    }

    pub(super) fn refusals(&self) -> u64 {
        self.refused.load(Ordering::Relaxed)
    }

    /// The last stops and refusals, newest first.
    pub(super) fn noted(&self) -> (Vec<Noted>, Vec<Noted>) {
        let list = |notes: &Mutex<VecDeque<Noted>>| lock(notes).iter().rev().cloned().collect();
        (list(&self.last_stops), list(&self.refusals))
    }
}

fn note(notes: &Mutex<VecDeque<Noted>>, message: &str, at: Timestamp) {
    let mut notes = lock(notes);
    if notes.len() >= NOTED_MAX {
        notes.pop_front();
    }
    notes.push_back(Noted { at, message: message.to_string() });
}

impl Calls {
    pub(super) fn took(&self, time: Duration) {
        let ns = u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        self.calls.fetch_add(1, Ordering::Relaxed);
        self.nanoseconds.fetch_add(ns, Ordering::Relaxed);
        self.nanoseconds_max.fetch_max(ns, Ordering::Relaxed);
    }
}
