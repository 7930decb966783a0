//! Runs the start of the JavaScript component at build time (QuickJS and our own JavaScript, no author's source) and
//! writes the component with the memory that leaves, so that an instance need not do it again.
//!
//! `probity-javascript-snapshot IN.wasm OUT.wasm`
//!
//! It does what Wizer does, for a module whose only state is its memory.

mod module;

use anyhow::{Context, Result, bail};
use wasmi::{Engine, ExternType, Func, Linker, Module, Store};

/// The component's start.
const START: &str = "probity-prepare";

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
    let engine = Engine::default();
    let module = Module::new(&engine, wasm)?;
    let mut store = Store::new(&engine, ());
    let instance = nothing_imported(&mut store, &module)?.instantiate_and_start(&mut store, &module)?;
    let start = instance.get_typed_func::<(), ()>(&store, START)?;
    start.call(&mut store, ()).context("the start of the component failed")?;
    let memory = instance.get_memory(&store, "memory").context("exports no memory")?;
    module::with_memory(wasm, memory.data(&store))
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
