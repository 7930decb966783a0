//! WASI for guests that were built with it: nothing of it is granted.
//!
//! Guests for `wasm32-wasip2`, and those of languages whose runtime needs it, import WASI 0.2 whether they use it or
//! not. They get no files, no environment, no arguments and no sockets; what they print goes to the log; clock and
//! random numbers only with the capability of that name. Any other call ends the guest.

use wasmtime::component::types::{ComponentItem, Type};
use wasmtime::component::{Component, Linker, LinkerInstance, Resource, ResourceAny, ResourceType, Val};
use wasmtime::{Engine, StoreContextMut};

use super::bindings::probity::plugin::{clock, node, random};
use super::host::{Host, Taped};

/// Stands for every WASI resource: they carry nothing but whether they are [`STDERR`].
struct Nothing;

/// The resource that stands for the error stream; all others are 0.
const STDERR: u32 = 2;

/// Text a guest printed without a line's end yet.
#[derive(Default)]
pub(super) struct Wasi {
    out: Vec<u8>,
    err: Vec<u8>,
}

/// Longest line kept for the log, bytes.
const LINE_BYTES_MAX: usize = 4 << 10;

/// Defines the WASI imports of a component, if it has any.
pub(super) fn link(linker: &mut Linker<Host>, component: &Component, engine: &Engine) -> wasmtime::Result<()> {
    for (name, item) in component.component_type().imports(engine) {
        if !name.starts_with("wasi:") {
            continue;
        }
        if let ComponentItem::ComponentInstance(instance) = item.ty {
            let mut defined = linker.instance(name)?;
            for (member, item) in instance.exports(engine) {
                define(&mut defined, name, member, item.ty)?;
            }
        }
    }
    Ok(())
}

fn define(
    instance: &mut LinkerInstance<'_, Host>,
    interface: &str,
    member: &str,
    item: ComponentItem,
) -> wasmtime::Result<()> {
    match item {
        ComponentItem::Resource(_) => instance.resource(member, ResourceType::host::<Nothing>(), |_, _| Ok(())),
        ComponentItem::ComponentFunc(_) => {
            let interface = interface.split('@').next().unwrap_or(interface);
            let name = format!("{interface}#{member}");
            instance.func_new(member, move |mut store, ty, params, results| {
                // Handles a call was lent have to be given back, or the call ends the guest.
                let mut stream = 0;
                for param in params {
                    if let Val::Resource(lent) = param {
                        stream = lent.try_into_resource::<Nothing>(&mut store)?.rep();
                    }
                }
                let types: Vec<Type> = ty.results().collect();
                // What gives nothing back does something, which a plugin cannot; only waiting is over at once.
                if types.is_empty() && !name.ends_with("#[method]pollable.block") {
                    return Err(unavailable(&name));
                }
                for (slot, ty) in results.iter_mut().zip(types) {
                    *slot = answer(&mut store, &name, &ty, stream, params)?;
                }
                Ok(())
            })
        }
        _ => Ok(()),
    }
}

/// `stream` is what the resource among the parameters stands for.
fn answer(
    store: &mut StoreContextMut<'_, Host>,
    name: &str,
    ty: &Type,
    stream: u32,
    params: &[Val],
) -> wasmtime::Result<Val> {
    let member = name.rsplit_once('#').map_or(name, |(_, member)| member);
    match member {
        "get-environment" | "get-arguments" | "get-directories" => Ok(Val::List(Vec::new())),
        "initial-cwd" | "get-terminal-stdin" | "get-terminal-stdout" | "get-terminal-stderr" => Ok(Val::Option(None)),
        "get-stderr" => resource(store, STDERR),
        "get-stdin"
        | "get-stdout"
        | "[method]output-stream.subscribe"
        | "[method]input-stream.subscribe"
        | "subscribe-duration"
        | "subscribe-instant" => resource(store, 0),
        "[method]pollable.ready" => Ok(Val::Bool(true)),
        "[method]output-stream.check-write" => Ok(Val::Result(Ok(Some(Box::new(Val::U64(64 << 10)))))),
        "[method]output-stream.write" | "[method]output-stream.blocking-write-and-flush" => {
            print(store.data_mut(), stream, params.get(1))?;
            Ok(Val::Result(Ok(None)))
        }
        "[method]output-stream.flush" | "[method]output-stream.blocking-flush" => Ok(Val::Result(Ok(None))),
        "get-random-bytes" | "get-insecure-random-bytes" => {
            let Some(Val::U64(len)) = params.first() else { return Err(unavailable(name)) };
            let len = u32::try_from(*len).unwrap_or(u32::MAX);
            let bytes = random::Host::bytes(&mut Taped(store.data_mut()), len)?;
            Ok(Val::List(bytes.into_iter().map(Val::U8).collect()))
        }
        "get-random-u64" | "get-insecure-random-u64" => Ok(Val::U64(random_u64(store.data_mut())?)),
        "insecure-seed" => {
            let (a, b) = Taped(store.data_mut()).seed()?;
            Ok(Val::Tuple(vec![Val::U64(a), Val::U64(b)]))
        }
        "now" => {
            let ms = clock::Host::now(&mut Taped(store.data_mut()))?;
            Ok(match ty {
                Type::U64 => Val::U64(ms.saturating_mul(1_000_000)),
                _ => Val::Record(vec![
                    ("seconds".into(), Val::U64(ms / 1_000)),
                    ("nanoseconds".into(), Val::U32((ms % 1_000) as u32 * 1_000_000)),
                ]),
            })
        }
        "resolution" => Ok(Val::U64(1_000_000)),
        _ => Err(unavailable(name)),
    }
}

fn unavailable(name: &str) -> wasmtime::Error {
    let (interface, member) = name.split_once('#').unwrap_or((name, ""));
    wasmtime::format_err!(
        "called {member} of {interface}, which plugins are not given; use the imports of probity:plugin instead"
    )
}

fn random_u64(host: &mut Host) -> wasmtime::Result<u64> {
    let bytes = random::Host::bytes(&mut Taped(host), 8)?;
    Ok(bytes.iter().fold(0, |n, byte| n << 8 | u64::from(*byte)))
}

fn resource(store: &mut StoreContextMut<'_, Host>, rep: u32) -> wasmtime::Result<Val> {
    let own = Resource::<Nothing>::new_own(rep);
    Ok(Val::Resource(ResourceAny::try_from_resource(own, store)?))
}

/// Whole lines go to the log.
fn print(host: &mut Host, stream: u32, bytes: Option<&Val>) -> wasmtime::Result<()> {
    let Some(Val::List(bytes)) = bytes else { return Ok(()) };
    for byte in bytes {
        let line = if stream == STDERR { &mut host.wasi.err } else { &mut host.wasi.out };
        match byte {
            Val::U8(b'\n') => {
                let line = std::mem::take(line);
                say(host, stream, &line)?;
            }
            Val::U8(byte) if line.len() < LINE_BYTES_MAX => line.push(*byte),
            _ => {}
        }
    }
    Ok(())
}

fn say(host: &mut Host, stream: u32, line: &[u8]) -> wasmtime::Result<()> {
    let text = String::from_utf8_lossy(line).into_owned();
    let level = if stream == STDERR { node::Level::Warn } else { node::Level::Info };
    if stream == STDERR {
        // A panic's message: it belongs to what is said of a guest that breaks off.
        host.said = Some(text.clone());
    }
    node::Host::log(&mut Taped(host), level, text)
}

/// Logs what was printed without a line's end: the call is over, and the next one's text is not joined to it.
pub(super) fn flush(host: &mut Host) -> wasmtime::Result<()> {
    for stream in [0, STDERR] {
        let line = std::mem::take(if stream == STDERR { &mut host.wasi.err } else { &mut host.wasi.out });
        if !line.is_empty() {
            say(host, stream, &line)?;
        }
    }
    Ok(())
}
