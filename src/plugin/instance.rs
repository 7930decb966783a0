//! One instance of a plugin: made, called within its limits, and what its end means.

use std::fmt::Write;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::OwnedSemaphorePermit;
use wasmtime::{PoolConcurrencyLimitError, Store, Trap, UpdateDeadline, WasmBacktrace};

use super::bindings::Interpreter;
use super::bindings::exports::probity::plugin::handler::Description;
use super::bindings::probity::plugin::types::{Failure, Message};
use super::host::tape::Replaying;
use super::host::{Call, Facts, Host, Memory, NodeFacts, Tape};
use super::limits::TICK_MS;
use super::recording::{self, Over};
use super::sandbox::{Code, Sandbox};
use super::wasi::{self, Wasi};
use crate::clock::Clock;
use crate::model::call::Export;
use crate::runtime::work::gives_way;

/// Fuel of a call per millisecond of computing time. Measured: Cranelift's code burns from 0.6 M (a loop of one branch)
/// to 10 M (long straight code) in a millisecond.
const FUEL_PER_MS: u64 = 2_000_000;
/// Frames of a guest's backtrace that are shown.
const FRAMES_MAX: usize = 6;

/// An instance with its store; good for one call at a time.
pub(super) struct Instance {
    store: Store<Host>,
    guest: Interpreter,
    sandbox: Arc<Sandbox>,
    metered: bool,
    _place: OwnedSemaphorePermit,
}

/// How a call ended badly. An instance that gave this is not used again, except for [`Fault::Failed`].
#[derive(Debug)]
pub(super) enum Fault {
    /// The guest said so.
    Failed(Failure),
    /// The guest broke off: a trap, a limit, a capability that was not granted.
    Stopped { kind: Kind, message: String },
}

/// Why a guest was stopped; labels metrics.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Kind {
    /// Panicked or ran into `unreachable`, divided by zero, read outside its memory.
    Trap,
    /// Computing time or time with host calls was over.
    Time,
    Memory,
    Stack,
    /// Used what was not granted where it could not be told no.
    Refused,
    /// Broke the contract: called too often, gave what cannot be read.
    Contract,
}

impl Kind {
    pub fn as_str(self) -> &'static str {
        match self {
            Kind::Trap => "trap",
            Kind::Time => "time",
            Kind::Memory => "memory",
            Kind::Stack => "stack",
            Kind::Refused => "refused",
            Kind::Contract => "contract",
        }
    }
}

/// How often an instance is tried while others are being cleared away, which takes microseconds each.
const TRIES_MAX: u32 = 10_000;

/// What an instance lives in, with its limits.
fn store(code: &Code, facts: Arc<Facts>, node: Arc<NodeFacts>) -> Store<Host> {
    let (ticks, ms) = (ticks(&facts), facts.limits.compute_ms_max);
    let memory = Memory::new(&facts);
    let host = Host {
        facts,
        node,
        call: None,
        memory,
        tape: None,
        said: None,
        ticks,
        wasi: Wasi::default(),
        handed: Default::default(),
    };
    let mut store = Store::new(code.pre.engine(), host);
    store.limiter(|host| &mut host.memory);
    store.set_epoch_deadline(1);
    store.epoch_deadline_callback(|mut context| {
        let host = context.data_mut();
        match host.ticks.checked_sub(1) {
            Some(left) => {
                host.ticks = left;
                gives_way(true);
                Ok(UpdateDeadline::Yield(1))
            }
            None => Ok(UpdateDeadline::Interrupt),
        }
    });
    if code.metered {
        // Cannot fail: the engine counts fuel.
        let _ = store.set_fuel(ms.saturating_mul(FUEL_PER_MS));
    }
    store
}

impl Instance {
    /// Instantiates; start code of the guest is held to the same limits as a call.
    pub(super) async fn new(
        sandbox: &Arc<Sandbox>,
        code: &Code,
        facts: Arc<Facts>,
        node: Arc<NodeFacts>,
        place: OwnedSemaphorePermit,
    ) -> Result<Instance, Fault> {
        let mut tries = 0;
        loop {
            let mut store = store(code, facts.clone(), node.clone());
            let guest = {
                let _ticking = sandbox.ticker.enter();
                code.pre.instantiate_async(&mut store).await
            };
            match guest {
                Ok(guest) => {
                    return Ok(Instance {
                        store,
                        guest,
                        sandbox: sandbox.clone(),
                        metered: code.metered,
                        _place: place,
                    });
                }
                // There is a place, but what was given back is still being cleared: that is no fault of the guest.
                Err(error) if error.is::<PoolConcurrencyLimitError>() && tries < TRIES_MAX => {
                    drop(store);
                    tries += 1;
                    tokio::task::yield_now().await;
                }
                Err(error) => return Err(stopped(store.data(), &error, "starting")),
            }
        }
    }

    /// Asks the guest what it is.
    pub(super) async fn describe(&mut self) -> Result<Vec<Description>, Fault> {
        self.begin();
        let _ticking = self.sandbox.ticker.enter();
        match self.guest.probity_plugin_handler().call_describe(&mut self.store).await {
            Ok(descriptions) => Ok(descriptions),
            Err(error) => Err(stopped(self.store.data(), &error, "describing itself")),
        }
    }

    /// Has a function node's instance compile its code, where no message is there yet.
    pub(super) async fn load(&mut self, input: &Message) -> Result<(), Fault> {
        self.run(Export::Process, "check", input, &Clock::System).await.0
    }

    /// A function node's call is over: what only it was given is forgotten.
    pub(super) fn settle(&mut self) {
        self.store.data_mut().handed.settle();
    }

    fn begin(&mut self) {
        let ms = self.store.data().facts.limits.compute_ms_max;
        let host = self.store.data_mut();
        host.ticks = ticks(&host.facts);
        host.said = None;
        self.store.set_epoch_deadline(1);
        if self.metered {
            // Cannot fail: the engine counts fuel.
            let _ = self.store.set_fuel(ms.saturating_mul(FUEL_PER_MS));
        }
    }

    /// Fuel used since the call began.
    fn used(&self) -> u64 {
        let ms = self.store.data().facts.limits.compute_ms_max;
        ms.saturating_mul(FUEL_PER_MS).saturating_sub(self.store.get_fuel().unwrap_or(0))
    }

    /// Handles one message. Gives the call back with what the guest gave, also when it ended badly; of a
    /// deterministic plugin with its record.
    pub(super) async fn handle(
        &mut self,
        export: Export,
        node_type: &str,
        input: &Message,
        call: Box<Call>,
        clock: &Clock,
    ) -> (Box<Call>, Result<(), Fault>) {
        let host = self.store.data_mut();
        host.call = Some(call);
        if self.metered {
            let tape = recording::tape(&host.facts, &host.node, input);
            host.tape = tape.map(|tape| Box::new(Tape::Recording(tape)));
        }
        let (result, by_clock) = self.run(export, node_type, input, clock).await;
        let fuel = if self.metered { self.used() } else { 0 };
        let host = self.store.data_mut();
        let mut call = host.call.take().expect("put there at the start of this call");
        if let Some(Tape::Recording(tape)) = host.tape.take().map(|tape| *tape) {
            let (facts, node, result) = (&*host.facts, &*host.node, &result);
            let over = Over { facts, node, node_type, export, input, result, fuel, by_clock };
            call.record = Some(recording::record(over, tape));
        }
        (call, result)
    }

    /// Makes a recorded call again: the tape answers, nothing else. Gives the tape, the result and the fuel used.
    pub(super) async fn replay(
        &mut self,
        export: Export,
        node_type: &str,
        input: &Message,
        tape: Replaying,
    ) -> (Replaying, Result<(), Fault>, u64) {
        self.store.data_mut().tape = Some(Box::new(Tape::Replaying(tape)));
        // Real time: it only bounds a guest that computes for ever, and fuel ends that one before.
        let (result, _) = self.run(export, node_type, input, &Clock::System).await;
        let fuel = self.used();
        match self.store.data_mut().tape.take().map(|tape| *tape) {
            Some(Tape::Replaying(tape)) => (tape, result, fuel),
            _ => unreachable!("put there at the start of this call"),
        }
    }

    /// Calls the guest. True when it was the clock that ended it, not what it did.
    async fn run(
        &mut self,
        export: Export,
        node_type: &str,
        input: &Message,
        clock: &Clock,
    ) -> (Result<(), Fault>, bool) {
        self.begin();
        let ms_max = self.store.data().facts.limits.call_ms_max;
        let ended = {
            let _ticking = self.sandbox.ticker.enter();
            let handler = self.guest.probity_plugin_handler();
            let called = async {
                match export {
                    Export::Process => handler.call_process(&mut self.store, node_type, input).await,
                    Export::RunEnd => handler.call_run_end(&mut self.store, node_type, input).await,
                }
            };
            tokio::pin!(called);
            let mut called = std::future::poll_fn(|task| {
                gives_way(false);
                called.as_mut().poll(task)
            });
            // Most calls wait for nothing: they are over after one poll, and need no timer.
            match futures_util::poll!(&mut called) {
                std::task::Poll::Ready(ended) => Some(ended),
                std::task::Poll::Pending => tokio::select! {
                    biased;
                    ended = &mut called => Some(ended),
                    () = clock.sleep(Duration::from_millis(ms_max)) => None,
                },
            }
        };
        let host = self.store.data_mut();
        // Too much of it is cut as any log is; what a replay finds different is on its tape.
        let _ = wasi::flush(host);
        match ended {
            Some(Ok(Ok(()))) => (Ok(()), false),
            Some(Ok(Err(failure))) => (Err(Fault::Failed(failure)), false),
            Some(Err(error)) => {
                let by_clock = matches!(error.downcast_ref::<Trap>(), Some(Trap::Interrupt));
                (Err(stopped(host, &error, "handling a message")), by_clock)
            }
            None => {
                let message =
                    format!("{} was stopped: its call took longer than {ms_max} ms (call_ms_max)", title(host));
                (Err(Fault::Stopped { kind: Kind::Time, message }), true)
            }
        }
    }

    /// True when the next call may use this instance: it has room left.
    pub(super) fn is_fit(&self) -> bool {
        let host = self.store.data();
        !host.memory.refused && (host.memory.bytes as u64) <= host.facts.limits.memory_bytes_max / 4 * 3
    }

    /// True unless it came to the end of its memory.
    pub(super) fn has_room(&self) -> bool {
        !self.store.data().memory.refused
    }

    /// Linear memory in use, bytes.
    pub(super) fn memory_bytes(&self) -> usize {
        self.store.data().memory.bytes
    }

    pub(super) fn facts(&self) -> &Arc<Facts> {
        &self.store.data().facts
    }
}

/// Ticks of computing before the one that stops.
fn ticks(facts: &Facts) -> u64 {
    facts.limits.compute_ms_max.div_ceil(TICK_MS).saturating_mul(facts.patience) + facts.grace_ticks
}

fn title(host: &Host) -> String {
    format!("plugin {}@{}", host.facts.name, host.facts.version)
}

/// Says why a guest was stopped: the reason first, then what it said last, then where it was.
fn stopped(host: &Host, error: &wasmtime::Error, doing: &str) -> Fault {
    let limits = &host.facts.limits;
    let (kind, why) = match error.downcast_ref::<Trap>() {
        Some(Trap::Interrupt) => {
            (Kind::Time, format!("it computed longer than {} ms (compute_ms_max)", limits.compute_ms_max))
        }
        Some(Trap::OutOfFuel) => {
            (Kind::Time, format!("it computed more than {} ms of fuel (compute_ms_max)", limits.compute_ms_max))
        }
        Some(Trap::StackOverflow) => (Kind::Stack, "its calls are nested too deep (stack overflow)".to_string()),
        Some(_) if host.memory.refused => {
            let max = limits.memory_bytes_max;
            (Kind::Memory, format!("it asked for more than {max} bytes of memory (memory_bytes_max)"))
        }
        Some(Trap::UnreachableCodeReached) => (Kind::Trap, "it panicked".to_string()),
        Some(trap) => (Kind::Trap, trap.to_string()),
        None => {
            let text = error.root_cause().to_string();
            let kind = if text.contains("To allow it:") { Kind::Refused } else { Kind::Contract };
            (kind, text)
        }
    };
    let mut message = format!("{} was stopped while {doing}: {why}", title(host));
    if let Some(said) = host.said.as_ref().filter(|_| matches!(kind, Kind::Trap | Kind::Memory)) {
        let _ = write!(message, ": {said}");
    }
    if let Some(trace) = error.downcast_ref::<WasmBacktrace>() {
        message.push_str(&frames(trace));
    }
    Fault::Stopped { kind, message }
}

/// The guest's own frames, innermost first: function, file and line where its code says so.
fn frames(trace: &WasmBacktrace) -> String {
    let mut text = String::new();
    let told = trace.frames().iter().filter(|frame| {
        let name = frame.func_name().unwrap_or_default();
        !name.is_empty() && !name.contains("rust_panic") && !name.contains("panicking") && !name.contains("abort")
    });
    for frame in told.take(FRAMES_MAX) {
        let place = frame.symbols().iter().find_map(|s| Some((s.file()?, s.line()?)));
        let symbol = frame.symbols().iter().find_map(|s| s.name());
        let name = symbol.or(frame.func_name()).unwrap_or("?");
        let name = format!("{:#}", rustc_demangle::demangle(name));
        match place {
            Some((file, line)) => {
                let _ = write!(text, "\n  at {name} ({file}:{line})");
            }
            None => {
                let _ = write!(text, "\n  at {name}");
            }
        }
    }
    text
}
