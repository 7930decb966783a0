//! The clock of the sandbox: a thread that moves the engines' epochs on while guests run, and sleeps otherwise.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use wasmtime::{Engine, EngineWeak};

use super::limits::TICK_MS;

/// Ticks without a call after which the thread sleeps.
const IDLE_TICKS: u32 = 200;

/// Ticks the epochs of the engines it follows. Stops when the last clone is dropped.
#[derive(Clone)]
pub(super) struct Ticker(Arc<Shared>);

struct Shared {
    engines: Mutex<Vec<EngineWeak>>,
    /// Calls begun so far.
    calls: AtomicU64,
    /// Calls under way.
    open: AtomicU64,
    asleep: AtomicBool,
    thread: std::thread::Thread,
}

/// A call under way.
pub(super) struct Ticking<'a>(&'a Shared);

impl Ticker {
    pub(super) fn start() -> Ticker {
        let (sender, receiver) = std::sync::mpsc::channel::<std::sync::Weak<Shared>>();
        let thread = std::thread::Builder::new()
            .name("plugin-epochs".into())
            .spawn(move || {
                if let Ok(shared) = receiver.recv() {
                    tick(&shared);
                }
            })
            .expect("the system gives a thread at start");
        let shared = Arc::new(Shared {
            engines: Mutex::default(),
            calls: AtomicU64::new(0),
            open: AtomicU64::new(0),
            asleep: AtomicBool::new(false),
            thread: thread.thread().clone(),
        });
        // The thread waits for this; it cannot be gone.
        let _ = sender.send(Arc::downgrade(&shared));
        Ticker(shared)
    }

    /// Ticks for this engine from now on.
    pub(super) fn follow(&self, engine: &Engine) {
        self.0.engines.lock().unwrap_or_else(|p| p.into_inner()).push(engine.weak());
    }

    /// Keeps the epochs moving until dropped.
    pub(super) fn enter(&self) -> Ticking<'_> {
        self.0.calls.fetch_add(1, Ordering::Relaxed);
        self.0.open.fetch_add(1, Ordering::SeqCst);
        if self.0.asleep.load(Ordering::SeqCst) {
            self.0.thread.unpark();
        }
        Ticking(&self.0)
    }
}

impl Drop for Ticking<'_> {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        self.thread.unpark();
    }
}

fn tick(shared: &std::sync::Weak<Shared>) {
    let (mut seen, mut idle) = (0, 0);
    loop {
        std::thread::park_timeout(Duration::from_millis(TICK_MS));
        let Some(shared) = shared.upgrade() else { return };
        for engine in shared.engines.lock().unwrap_or_else(|p| p.into_inner()).iter().filter_map(EngineWeak::upgrade) {
            engine.increment_epoch();
        }
        let calls = shared.calls.load(Ordering::Relaxed);
        idle = if calls == seen && shared.open.load(Ordering::SeqCst) == 0 { idle + 1 } else { 0 };
        seen = calls;
        if idle > IDLE_TICKS {
            shared.asleep.store(true, Ordering::SeqCst);
            if shared.open.load(Ordering::SeqCst) == 0 {
                // Nothing of the shared state may be held while asleep: the last holder's drop wakes this thread.
                let waiting = Arc::downgrade(&shared);
                drop(shared);
                std::thread::park();
                match waiting.upgrade() {
                    Some(shared) => shared.asleep.store(false, Ordering::SeqCst),
                    None => return,
                }
            } else {
                shared.asleep.store(false, Ordering::SeqCst);
            }
            idle = 0;
        }
    }
}
