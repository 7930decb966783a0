//! The WASM engine plugins run in, with its limits set once, and the loading of their code.

use std::path::PathBuf;
use std::sync::{Arc, OnceLock};

use wasmtime::component::{Component, HasData, HasSelf, Linker};
use wasmtime::{
    Config, Enabled, Engine, InstanceAllocationStrategy, OptLevel, PoolingAllocationConfig, WasmBacktraceDetails,
};

use super::bindings::{InterpreterPre, probity::plugin as contract};
use super::cache::Cache;
use super::component;
use super::host::{EvaluateTyped, HasTaped, Host, ReadSecret, Surroundings, Taped};
use super::limits::Limits;
use super::ticker::Ticker;
use super::wasi;
use crate::model::Diagnostic;

/// How plugins run.
#[derive(Clone)]
pub struct Options {
    pub limits: Limits,
    /// Folders of compiled code: the first is written to, all are read. Without any, code is compiled anew each time.
    pub cache_dirs: Vec<PathBuf>,
    pub evaluate_typed: EvaluateTyped,
    pub read_secret: ReadSecret,
}

/// What every plugin of a process shares.
pub(super) struct Sandbox {
    pub(super) limits: Limits,
    /// For plugins whose manifest does not say `deterministic`.
    plain: Linked,
    /// Counts fuel, and computes alike on every machine; its linker records host calls, or replays them. Set up when
    /// the first plugin needs it.
    metered: OnceLock<Linked>,
    pub(super) ticker: Ticker,
    pub(super) cache: Cache,
    pub(super) surroundings: Surroundings,
    pub(super) places: Arc<tokio::sync::Semaphore>,
}

/// An engine with the contract's imports.
struct Linked {
    engine: Engine,
    linker: Linker<Host>,
}

/// Code that is ready to be instantiated.
#[derive(Clone)]
pub(super) struct Code {
    pub(super) pre: InterpreterPre<Host>,
    pub(super) metered: bool,
}

/// Stack of a guest, bytes. The fiber around it is larger, so that an overflow is the guest's, not ours.
const WASM_STACK_BYTES: usize = 512 << 10;
const FIBER_STACK_BYTES: usize = 1 << 20;
/// Tables of one component.
const TABLES_MAX: u32 = 8;
/// Memories, tables and stacks that were given back are cleared so many at a time.
const CLEARED_AT_ONCE: u32 = 8;
/// Instances' memories that are kept warm for a plugin that may come back; with more, the next plugin takes one over.
const UNUSED_WARM_MAX: u32 = 16;
/// What stays mapped of a freed memory, so that the next instance need not fault it in again.
const KEEP_RESIDENT_BYTES: usize = 256 << 10;
/// Core modules one component may consist of: a Python guest links its interpreter of about forty. Only counted, not
/// set aside.
const CORE_INSTANCES_MAX: u32 = 64;

impl Sandbox {
    /// Sets the engine up.
    pub(super) fn new(options: &Options) -> wasmtime::Result<Arc<Sandbox>> {
        let Options { limits, cache_dirs, evaluate_typed, read_secret } = options.clone();
        let engine = engine(&limits, false)?;
        let plain = Linked { linker: linker::<HasSelf<_>>(&engine, |host| host)?, engine };
        let ticker = Ticker::start();
        ticker.follow(&plain.engine);
        let places = Arc::new(tokio::sync::Semaphore::new(limits.instances_max as usize));
        Ok(Arc::new(Sandbox {
            plain,
            metered: OnceLock::new(),
            ticker,
            cache: Cache::new(cache_dirs, limits.cache),
            surroundings: Surroundings { evaluate_typed, read_secret },
            places,
            limits,
        }))
    }

    fn metered(&self) -> wasmtime::Result<&Linked> {
        if let Some(metered) = self.metered.get() {
            return Ok(metered);
        }
        let engine = engine(&self.limits, true)?;
        let made = Linked { linker: linker::<HasTaped>(&engine, |host| Taped(host))?, engine };
        Ok(self.metered.get_or_init(|| {
            self.ticker.follow(&made.engine);
            made
        }))
    }

    /// The code of a WASM binary: from the cache, else checked, compiled and kept; linked with the contract.
    pub(super) fn code(&self, wasm: &[u8], metered: bool) -> Result<Code, Diagnostic> {
        let Linked { engine, linker } = if metered { self.metered() } else { Ok(&self.plain) }.map_err(not_set_up)?;
        let component = self.cache.component(engine, wasm, || {
            let component = component::of(wasm)?;
            match component::newer(&component) {
                Some(newer) => Err(newer),
                None => Component::new(engine, &component).map_err(|e| component::unfit(&e)),
            }
        })?;
        let linked = || {
            let pre = if imports_wasi(&component, engine) {
                let mut linker = linker.clone();
                wasi::link(&mut linker, &component, engine)?;
                linker.instantiate_pre(&component)?
            } else {
                linker.instantiate_pre(&component)?
            };
            InterpreterPre::new(pre)
        };
        Ok(Code { pre: linked().map_err(|e| component::unfit(&e))?, metered })
    }
}

/// Says that the engine itself is not to be had.
pub(super) fn not_set_up(error: wasmtime::Error) -> Diagnostic {
    Diagnostic::error("plugin-sandbox", "", format!("the sandbox for plugins cannot be set up: {error:#}"))
}

fn imports_wasi(component: &Component, engine: &Engine) -> bool {
    component.component_type().imports(engine).any(|(name, _)| name.starts_with("wasi:"))
}

fn engine(limits: &Limits, metered: bool) -> wasmtime::Result<Engine> {
    match Engine::new(&config(limits, metered, true)) {
        Ok(engine) => Ok(engine),
        Err(error) => {
            tracing::warn!("plugins run without pooled memory, so new instances start slower: {error}");
            Engine::new(&config(limits, metered, false))
        }
    }
}

fn config(limits: &Limits, metered: bool, pooled: bool) -> Config {
    let mut config = Config::new();
    config
        .wasm_component_model(true)
        .wasm_backtrace_details(WasmBacktraceDetails::Enable)
        .cranelift_opt_level(OptLevel::Speed)
        .epoch_interruption(true)
        .consume_fuel(metered)
        .cranelift_nan_canonicalization(metered)
        .relaxed_simd_deterministic(metered)
        .max_wasm_stack(WASM_STACK_BYTES)
        .async_stack_size(FIBER_STACK_BYTES)
        .concurrency_support(false);
    if pooled {
        let mut pool = PoolingAllocationConfig::new();
        // What was given back is free again a little later: each thread may be clearing a batch of it.
        let threads = std::thread::available_parallelism().map_or(2, usize::from) as u32;
        let live = limits.instances_max + (threads + 1) * CLEARED_AT_ONCE;
        pool.total_component_instances(live)
            .total_core_instances(live * CORE_INSTANCES_MAX)
            .total_memories(live)
            .total_tables(live * TABLES_MAX)
            .total_stacks(live)
            .max_memories_per_component(1)
            .max_core_instances_per_component(CORE_INSTANCES_MAX)
            .max_tables_per_component(TABLES_MAX)
            .table_elements(limits.table_elements_max)
            .max_memory_size(usize::try_from(limits.max.memory_bytes_max).unwrap_or(usize::MAX))
            .linear_memory_keep_resident(KEEP_RESIDENT_BYTES)
            // One call says which pages were touched, so that only those are cleared (Linux 6.7 and newer).
            .pagemap_scan(Enabled::Auto)
            .table_keep_resident(64 << 10)
            .max_unused_warm_slots(UNUSED_WARM_MAX)
            .decommit_batch_size(CLEARED_AT_ONCE as usize);
        config.allocation_strategy(InstanceAllocationStrategy::Pooling(pool));
    }
    config
}

/// The contract's imports, answered by what `host` makes of a store's host.
fn linker<D: HasData + Send>(engine: &Engine, host: fn(&mut Host) -> D::Data<'_>) -> wasmtime::Result<Linker<Host>>
where
    for<'h> D::Data<'h>: contract::types::Host
        + contract::node::Host
        + contract::clock::Host
        + contract::random::Host
        + contract::secrets::Host
        + contract::http::Host
        + contract::state::Host
        + contract::evidence::Host
        + contract::typed_input::Host
        + contract::context::Host
        + contract::files::Host
        + contract::script::Host,
{
    let mut linker = Linker::new(engine);
    contract::types::add_to_linker::<_, D>(&mut linker, host)?;
    contract::node::add_to_linker::<_, D>(&mut linker, host)?;
    contract::clock::add_to_linker::<_, D>(&mut linker, host)?;
    contract::random::add_to_linker::<_, D>(&mut linker, host)?;
    contract::secrets::add_to_linker::<_, D>(&mut linker, host)?;
    contract::http::add_to_linker::<_, D>(&mut linker, host)?;
    contract::state::add_to_linker::<_, D>(&mut linker, host)?;
    contract::evidence::add_to_linker::<_, D>(&mut linker, host)?;
    contract::typed_input::add_to_linker::<_, D>(&mut linker, host)?;
    contract::context::add_to_linker::<_, D>(&mut linker, host)?;
    contract::files::add_to_linker::<_, D>(&mut linker, host)?;
    contract::script::add_to_linker::<_, D>(&mut linker, host)?;
    Ok(linker)
}
