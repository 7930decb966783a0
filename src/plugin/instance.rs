//! One instance of a plugin: made, called within its limits, and what its end means.

use std::fmt::Write;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::OwnedSemaphorePermit;
use wasmtime::{Store, Trap, UpdateDeadline, WasmBacktrace};

use super::bindings::Interpreter;
use super::bindings::exports::probity::plugin::handler::Description;
use super::bindings::probity::plugin::types::{Failure, Message};
use super::host::{Call, Facts, Host, Memory, NodeFacts};
use super::limits::TICK_MS;
use super::sandbox::{Code, Sandbox};
use super::wasi::Wasi;
use crate::clock::Clock;
use crate::runtime::run::gives_way;

/// Fuel of a call per millisecond of computing time: about what Cranelift's code burns (100 M in 10 ms).
const FUEL_PER_MS: u64 = 10_000_000;
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

/// What is called.
pub(super) enum Export {
    Process,
    RunEnd,
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

impl Instance {
    /// Instantiates; start code of the guest is held to the same limits as a call.
    pub(super) async fn new(
        sandbox: &Arc<Sandbox>,
        code: &Code,
        facts: Arc<Facts>,
        node: Arc<NodeFacts>,
        place: OwnedSemaphorePermit,
    ) -> Result<Instance, Fault> {
        let limits = &facts.limits;
        let (ticks, ms) = (ticks(limits.compute_ms_max), limits.compute_ms_max);
        let memory = Memory::new(&facts);
        let host = Host { facts, node, call: None, memory, said: None, ticks, wasi: Wasi::default() };
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
        let guest = {
            let _ticking = sandbox.ticker.enter();
            code.pre.instantiate_async(&mut store).await
        };
        match guest {
            Ok(guest) => Ok(Instance { store, guest, sandbox: sandbox.clone(), metered: code.metered, _place: place }),
            Err(error) => Err(stopped(store.data(), &error, "starting")),
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

    fn begin(&mut self) {
        let ms = self.store.data().facts.limits.compute_ms_max;
        self.store.data_mut().ticks = ticks(ms);
        self.store.set_epoch_deadline(1);
        if self.metered {
            // Cannot fail: the engine counts fuel.
            let _ = self.store.set_fuel(ms.saturating_mul(FUEL_PER_MS));
        }
    }

    /// Handles one message. Gives the call back with what the guest gave, also when it ended badly.
    pub(super) async fn handle(
        &mut self,
        export: Export,
        node_type: &str,
        input: &Message,
        call: Box<Call>,
        clock: &Clock,
    ) -> (Box<Call>, Result<(), Fault>) {
        self.begin();
        self.store.data_mut().call = Some(call);
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
        let result = match ended {
            Some(Ok(Ok(()))) => Ok(()),
            Some(Ok(Err(failure))) => Err(Fault::Failed(failure)),
            Some(Err(error)) => Err(stopped(host, &error, "handling a message")),
            None => {
                let message =
                    format!("{} was stopped: its call took longer than {ms_max} ms (call_ms_max)", title(host));
                Err(Fault::Stopped { kind: Kind::Time, message })
            }
        };
        let call = host.call.take().expect("put there at the start of this call");
        (call, result)
    }

    /// True when the next call may use this instance: it has room left.
    pub(super) fn is_fit(&self) -> bool {
        let host = self.store.data();
        !host.memory.refused && (host.memory.bytes as u64) <= host.facts.limits.memory_bytes_max / 4 * 3
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
fn ticks(ms: u64) -> u64 {
    ms.div_ceil(TICK_MS)
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
    let said = match host.call.as_deref() {
        Some(call) => {
            let errors = call.given.log.iter().rev().filter(|(level, _)| *level == tracing::Level::ERROR);
            errors.map(|(_, text)| text).next()
        }
        None => host.said.as_ref(),
    };
    if let Some(said) = said.filter(|_| matches!(kind, Kind::Trap | Kind::Memory)) {
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
