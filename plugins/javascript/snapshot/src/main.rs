//! Runs the start of the JavaScript component at build time (QuickJS and our own JavaScript, no author's source) and
//! writes the component with the memory that leaves, so that an instance need not do it again.
//!
//! `probity-javascript-snapshot IN.wasm OUT.wasm`

use std::future::Future;
use std::pin::pin;
use std::task::{Context as TaskContext, Poll, Waker};

use anyhow::{Context, Result, anyhow, bail};
use wasmi::{Engine, ExternType, Func, Instance, Linker, Module, Store, Val};
use wasmtime_wizer::{InstanceState, SnapshotVal, ValType, Wizer};

/// What the component exports for this, and no more after it.
const START: &str = "wizer-initialize";

fn main() -> Result<()> {
    let mut arguments = std::env::args().skip(1);
    let (Some(from), Some(to), None) = (arguments.next(), arguments.next(), arguments.next()) else {
        bail!("usage: probity-javascript-snapshot IN.wasm OUT.wasm");
    };
    let wasm = std::fs::read(&from).with_context(|| format!("{from} cannot be read"))?;
    let done = snapshot(&wasm).with_context(|| format!("{from}: no snapshot"))?;
    std::fs::write(&to, done).with_context(|| format!("{to} cannot be written"))
}

/// The module with the memory its start leaves.
fn snapshot(wasm: &[u8]) -> Result<Vec<u8>> {
    let mut wizer = Wizer::new();
    wizer.init_func(START);
    let (context, instrumented) = wizer.instrument(wasm).map_err(|e| anyhow!("{e:#}"))?;
    let engine = Engine::default();
    let module = Module::new(&engine, &instrumented[..])?;
    let mut store = Store::new(&engine, ());
    let instance = nothing_imported(&mut store, &module)?.instantiate_and_start(&mut store, &module)?;
    let start = instance.get_typed_func::<(), ()>(&store, START)?;
    start.call(&mut store, ()).context("the start of the component failed")?;
    let mut state = Stopped { store, instance };
    let done = pin!(wizer.snapshot(&context, &mut state)).poll(&mut TaskContext::from_waker(Waker::noop()));
    match done {
        Poll::Ready(done) => done.map_err(|e| anyhow!("{e:#}")),
        Poll::Pending => bail!("the snapshot waits, and for nothing"),
    }
}

/// Every import as a function that ends the run: the start asks the engine for nothing.
fn nothing_imported(store: &mut Store<()>, module: &Module) -> Result<Linker<()>> {
    let mut linker = Linker::new(store.engine());
    for import in module.imports() {
        let ExternType::Func(kind) = import.ty() else {
            bail!("imports {}.{}, which is no function", import.module(), import.name());
        };
        let name = format!("{}.{}", import.module(), import.name());
        let refuse = Func::new(&mut *store, kind.clone(), move |_, _, _| {
            Err(wasmi::Error::new(format!("the start of the component calls {name}")))
        });
        linker.define(import.module(), import.name(), refuse)?;
    }
    Ok(linker)
}

/// The instance after its start.
struct Stopped {
    store: Store<()>,
    instance: Instance,
}

impl InstanceState for Stopped {
    async fn global_get(&mut self, name: &str, _: ValType) -> SnapshotVal {
        let global = self.instance.get_global(&self.store, name).expect("the instrumented module exports its globals");
        match global.get(&self.store) {
            Val::I32(n) => SnapshotVal::I32(n),
            Val::I64(n) => SnapshotVal::I64(n),
            Val::F32(n) => SnapshotVal::F32(n.to_bits()),
            Val::F64(n) => SnapshotVal::F64(n.to_bits()),
            other => panic!("a global of an unexpected type: {other:?}"),
        }
    }

    async fn memory_contents(&mut self, name: &str, contents: impl FnOnce(&[u8]) + Send) {
        let memory = self.instance.get_memory(&self.store, name).expect("the instrumented module exports its memory");
        contents(memory.data(&self.store));
    }
}
