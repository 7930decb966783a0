//! One function node: its instances, and how calls come to them.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, Weak};
use std::time::{Duration, Instant};

use tokio::sync::{mpsc, watch};
use tokio::task::AbortHandle;

use super::calling::{LinkCall, Part};
use super::lock;
use crate::clock::Clock;
use crate::model::Msg;
use crate::model::call::Export;
use crate::model::flow::NodeIndex;
use crate::plugin::bindings::probity::plugin::types::Message;
use crate::plugin::host::function::{Act, Doing, Report, properties};
use crate::plugin::host::{Call, Facts, NodeFacts};
use crate::plugin::instance::{self, Instance, Kind};
use crate::plugin::plugins::Shared;
use crate::plugin::sandbox::Code;
use crate::runtime::{Deployed, NodeError, Source};

/// How long a message waits for a place for its instance; all are taken by nodes that keep something.
const PLACE_MS_MAX: u64 = 5_000;

/// Where a node stands.
pub(super) struct At<'a> {
    pub(super) deployed: &'a Arc<Deployed>,
    pub(super) index: NodeIndex,
}

/// A function node's code, ready to be called.
pub struct Script {
    pub(super) shared: Arc<Shared>,
    code: Arc<Code>,
    facts: Arc<Facts>,
    node: Arc<NodeFacts>,
    pub(super) link_call: LinkCall,
    /// Everything goes through one instance, in order.
    ordered: AtomicBool,
    /// There is code for the start.
    starts: bool,
    /// Warm instances of a node that keeps nothing.
    idle: Arc<Idle>,
    /// The instance of a node that keeps something.
    pub(super) one: tokio::sync::Mutex<Option<Instance>>,
    /// Messages in the order in which they came, while the node starts.
    pub(super) turn: tokio::sync::Mutex<()>,
    pub(super) started: watch::Sender<Started>,
    messages: AtomicU32,
    /// Runs that wait for more of their message, by its number.
    pub(super) waiting: Mutex<HashMap<u32, mpsc::UnboundedSender<Part>>>,
    /// When the next timer is due, milliseconds since 1970.
    pub(super) due: watch::Sender<Option<f64>>,
    driver: Mutex<Option<AbortHandle>>,
}

/// How far the code for the start has come.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Started {
    No,
    /// Its promise is not settled.
    Going,
    Yes,
    Failed(String),
}

/// Warm instances.
#[derive(Default)]
pub(in crate::plugin) struct Idle(Mutex<Vec<(Instance, Instant)>>);

impl Idle {
    /// Drops those that nobody has used for this long.
    pub(in crate::plugin) fn drop_old(&self, longer_than: Duration) {
        let mut idle = lock(&self.0);
        let (fresh, old) = idle.drain(..).partition(|(_, since)| since.elapsed() < longer_than);
        *idle = fresh;
        // Freed outside the lock.
        drop(idle);
        drop::<Vec<_>>(old);
    }
}

/// What one call came to.
pub(super) struct Did {
    pub(super) acts: Vec<(u32, Act)>,
    pub(super) report: Report,
    pub(super) start_failed: Option<String>,
    pub(super) fault: Option<NodeError>,
}

impl Script {
    pub(super) fn new(
        shared: Arc<Shared>,
        code: Arc<Code>,
        facts: Arc<Facts>,
        node: Arc<NodeFacts>,
        link_call: LinkCall,
        (ordered, starts): (bool, bool),
    ) -> Arc<Script> {
        let idle = Arc::<Idle>::default();
        shared.add_idle(&idle);
        Arc::new(Script {
            shared,
            code,
            facts,
            node,
            link_call,
            ordered: AtomicBool::new(ordered),
            starts,
            idle,
            one: tokio::sync::Mutex::new(None),
            turn: tokio::sync::Mutex::new(()),
            started: watch::channel(if starts { Started::No } else { Started::Yes }).0,
            messages: AtomicU32::new(0),
            waiting: Mutex::default(),
            due: watch::channel(None).0,
            driver: Mutex::new(None),
        })
    }

    /// Whether all messages go through one instance, in order.
    pub fn is_ordered(&self) -> bool {
        self.ordered.load(Ordering::Acquire)
    }

    /// Whether there is code for the start.
    pub fn starts(&self) -> bool {
        self.starts
    }

    pub(super) fn set_ordered(&self) {
        self.ordered.store(true, Ordering::Release);
    }

    /// A number for a message; 0 stands for none, the highest ones for other things.
    pub(super) fn number(&self) -> u32 {
        self.messages.fetch_add(1, Ordering::Relaxed) % 0xffff_fff0 + 1
    }

    pub(super) async fn make(&self, clock: &Clock) -> Result<Instance, NodeError> {
        let place = tokio::select! {
            biased;
            place = self.shared.place() => place,
            () = clock.sleep(Duration::from_millis(PLACE_MS_MAX)) => {
                let max = self.shared.sandbox.limits.instances_max;
                let text = format!(
                    "all {max} instances of the sandbox are in use by nodes that keep something between messages \
                     (plugins.instances_max)"
                );
                return Err(NodeError::with_code(text, "ELIMIT"));
            }
        };
        let made = Instance::new(&self.shared.sandbox, &self.code, self.facts.clone(), self.node.clone(), place).await;
        made.map_err(|fault| match fault {
            instance::Fault::Stopped { kind, message } => self.stopped(kind, &message),
            instance::Fault::Failed(failure) => NodeError { code: failure.code, ..NodeError::new(failure.message) },
        })
    }

    /// An instance: a warm one, else a new one.
    pub(super) async fn instance(&self, clock: &Clock) -> Result<Instance, NodeError> {
        let warm = lock(&self.idle.0).pop();
        match warm {
            Some((instance, _)) => Ok(instance),
            None => self.make(clock).await,
        }
    }

    /// Keeps an instance warm.
    pub(super) fn give_back(&self, instance: Instance) {
        if !instance.is_fit() {
            return;
        }
        let mut idle = lock(&self.idle.0);
        if idle.len() < self.shared.workers {
            idle.push((instance, Instant::now()));
        }
    }

    /// Drops instances nobody uses, again and again.
    pub async fn tidy(self: Arc<Self>, clock: Clock) {
        let idle = Duration::from_millis(self.shared.sandbox.limits.idle_ms_max.max(1));
        loop {
            clock.sleep(idle).await;
            self.idle.drop_old(idle);
        }
    }

    /// One call. The instance is good for the next one unless there is a fault.
    pub(super) async fn call(&self, instance: &mut Instance, what: &str, number: u32, msg: Msg, at: &At<'_>) -> Did {
        let properties = if matches!(what, "message" | "returned") { properties(&msg) } else { Vec::new() };
        let input = Message { run: number.to_string(), caller: false, properties };
        let mut call = Box::new(Call::new(msg, at.deployed.clone(), at.index, Arc::default()));
        call.function = Some(Box::new(Doing::new(match what {
            "message" => number,
            "returned" => u32::MAX,
            _ => 0,
        })));
        let clock = &at.deployed.services.clock;
        let (mut call, result) = instance.handle(Export::Process, what, &input, call, clock).await;
        instance.settle();
        let Doing { acts, report, start_failed, .. } = call.function.take().map(|d| *d).unwrap_or_default();
        let fault = match result {
            Ok(()) => None,
            Err(instance::Fault::Failed(failure)) => {
                Some(NodeError { code: failure.code, ..NodeError::new(failure.message) })
            }
            Err(instance::Fault::Stopped { kind, message }) => Some(self.stopped(kind, &message)),
        };
        Did { acts, report, start_failed, fault }
    }

    /// Why the sandbox ended a call, for whoever reads the flow's errors.
    pub(super) fn stopped(&self, kind: Kind, message: &str) -> NodeError {
        let limits = &self.facts.limits;
        let text = match kind {
            Kind::Time => format!(
                "the function was stopped: it ran longer than {} ms (the node's timeout, else functions.compute_ms_default)",
                limits.compute_ms_max
            ),
            Kind::Memory => format!(
                "the function was stopped: it asked for more than {} bytes of memory (functions.memory_bytes_max)",
                limits.memory_bytes_max
            ),
            _ => format!("the function was stopped: {}", message.lines().next().unwrap_or_default()),
        };
        NodeError::with_code(text, format!("EFUNCTION_{}", kind.as_str().to_uppercase()))
    }

    /// Fires timers when they are due, for as long as the node is there.
    pub(super) fn drive(self: &Arc<Self>, source: &Source) {
        let mut driver = lock(&self.driver);
        if driver.as_ref().is_some_and(|task| !task.is_finished()) {
            return;
        }
        let (script, mut due, source) = (Arc::downgrade(self), self.due.subscribe(), source.clone());
        let task = tokio::spawn(async move {
            let clock = source.clock();
            loop {
                let next = *due.borrow_and_update();
                let Some(next) = next else {
                    if due.changed().await.is_err() {
                        return;
                    }
                    continue;
                };
                let left = (next - clock.now_ms().floor()).max(0.0);
                tokio::select! {
                    biased;
                    changed = due.changed() => if changed.is_err() { return },
                    () = clock.sleep(Duration::from_millis(left as u64)) => {
                        let Some(script) = Weak::upgrade(&script) else { return };
                        script.fire(&source).await;
                    }
                }
            }
        });
        *driver = Some(task.abort_handle());
    }

    /// Ends the timers' driver.
    pub(super) fn halt(&self) {
        if let Some(task) = lock(&self.driver).take() {
            task.abort();
        }
    }
}

impl Drop for Script {
    fn drop(&mut self) {
        self.halt();
    }
}
