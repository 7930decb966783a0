//! Messages between the engine and JavaScript: properties are read when the author first touches them, and only what
//! differs from what came goes back.

use std::cell::RefCell;
use std::collections::HashMap;

use rquickjs::function::This;
use rquickjs::{Ctx, Error, Function, Object, Persistent, Result, Value as Js};

use crate::call::{self, Incoming};
use crate::host::{Emission, host};
use crate::raw::{self, Kept, Name, Own};
use crate::{Property, Value, json};

/// Property names an instance remembers with their accessors; messages with more of them are read at once.
const NAMES_MAX: usize = 64;

/// Objects and longer texts are left unread until touched.
const READ_AT_ONCE_BYTES_MAX: usize = 64;

struct Slot {
    text: String,
    name: Name,
    setter: Kept,
}

/// An object that stands for a value which stays with the engine.
struct StandIn {
    number: u32,
    object: Kept,
    /// The engine was told to keep the value beyond the call.
    kept: bool,
}

/// What an instance keeps about messages.
struct Table {
    /// The enumerable symbol under which a message carries its call's id: copies made by `{...msg}` or `Object.assign`
    /// keep it, and so stand for the same message.
    mark: Name,
    /// In function nodes: the hidden symbol under which what stands for a value that stays with the engine has its
    /// number there.
    handle: Option<Name>,
    /// In function nodes: gives a request its methods.
    dress: Option<Persistent<Function<'static>>>,
    /// Texts of such values as they came, by their number.
    handed: HashMap<u32, String>,
    stand_ins: Vec<StandIn>,
    /// Makes a Buffer of a Uint8Array.
    to_buffer: Persistent<Function<'static>>,
    /// Makes Buffers of `{"type":"Buffer","data":[…]}` within a value.
    revive: Persistent<Function<'static>>,
    slots: Vec<Slot>,
    getters: Vec<(Name, Kept)>,
}

thread_local! {
    static TABLE: RefCell<Option<Table>> = const { RefCell::new(None) };
}

/// Sets up; once per instance.
pub fn install<'js>(ctx: &Ctx<'js>, api: &Object<'js>) -> Result<()> {
    let handle: Js = api.get("handle")?;
    let table = Table {
        mark: Name::of_symbol(&api.get("mark")?)?,
        handle: if handle.is_undefined() { None } else { Some(Name::of_symbol(&handle)?) },
        dress: api.get::<_, Option<Function>>("dress")?.map(|dress| Persistent::save(ctx, dress)),
        handed: HashMap::new(),
        stand_ins: Vec::new(),
        to_buffer: Persistent::save(ctx, api.get::<_, Function>("toBuffer")?),
        revive: Persistent::save(ctx, api.get::<_, Function>("revive")?),
        slots: Vec::new(),
        getters: Vec::new(),
    };
    TABLE.with(|t| *t.borrow_mut() = Some(table));
    Ok(())
}

/// Forgets everything; before the runtime goes.
pub fn uninstall() {
    TABLE.with(|t| *t.borrow_mut() = None);
}

fn table<T>(use_it: impl FnOnce(&mut Table) -> T) -> T {
    TABLE.with(|t| use_it(t.borrow_mut().as_mut().expect("installed before the source is loaded")))
}

fn mark() -> Name {
    table(|t| t.mark)
}

/// The place of a property name, made if new.
fn place<'js>(ctx: &Ctx<'js>, text: &str) -> Result<Option<usize>> {
    if let Some(at) = table(|t| t.slots.iter().position(|s| s.text == text)) {
        return Ok(Some(at));
    }
    let at = table(|t| t.slots.len());
    if at == NAMES_MAX {
        return Ok(None);
    }
    let name = Name::new(ctx, text)?;
    let getter = Function::new(ctx.clone(), move |ctx: Ctx<'js>, this: This<Js<'js>>| materialise(ctx, this.0, at))?;
    let setter = Function::new(ctx.clone(), move |this: This<Js<'js>>, value: Js<'js>| -> Result<()> {
        match this.0.as_object() {
            Some(object) => raw::define(object, name, value),
            None => Ok(()),
        }
    })?;
    table(|t| {
        t.slots.push(Slot { text: text.to_owned(), name, setter: Kept::new(setter.into_value()) });
        t.getters.push((name, Kept::new(getter.into_value())));
    });
    Ok(Some(at))
}

/// The message object of the call that has begun.
pub fn build<'js>(ctx: &Ctx<'js>, id: u32, properties: Vec<Property>) -> Result<Object<'js>> {
    let message = Object::new(ctx.clone())?;
    let mut incoming = Vec::with_capacity(properties.len());
    for mut property in properties {
        let at = place(ctx, &property.name)?;
        match at {
            Some(at) if !at_once(&property.value) => {
                let (name, getter, setter) = table(|t| (t.slots[at].name, t.getters[at].1, t.slots[at].setter));
                raw::define_accessor(&message, name, getter, setter)?;
            }
            Some(at) => {
                let name = table(|t| t.slots[at].name);
                raw::define(&message, name, read(ctx, &mut property.value)?)?;
            }
            None => message.set(property.name.as_str(), read(ctx, &mut property.value)?)?,
        }
        incoming.push(Incoming { property, place: at });
    }
    raw::define(&message, mark(), Js::new_number(ctx.clone(), f64::from(id)))?;
    call::peek(|call| call.incoming = incoming);
    Ok(message)
}

fn at_once(value: &Value) -> bool {
    match value {
        Value::Bytes(_) => false,
        Value::Json(text) => text.len() <= READ_AT_ONCE_BYTES_MAX && !text.starts_with(['{', '[', '@']),
    }
}

/// A value as it crossed.
pub fn read<'js>(ctx: &Ctx<'js>, value: &mut Value) -> Result<Js<'js>> {
    match value {
        Value::Bytes(bytes) => buffer(ctx, bytes),
        Value::Json(text) if text.starts_with('@') => special(ctx, text),
        Value::Json(text) => from_json(ctx, text),
    }
}

/// In function nodes, what JSON cannot say: `@u` undefined, `@n…` a number, `@d…` a date in milliseconds, `@h…` a value
/// that stays with the engine, by its number, `@r…:…` one with what can be read of it, as JSON.
fn special<'js>(ctx: &Ctx<'js>, text: &str) -> Result<Js<'js>> {
    let rest = text.get(2..).unwrap_or_default();
    let number = || rest.parse::<f64>().unwrap_or(f64::NAN);
    let stand_in = |value: &Js<'js>, number: f64| -> Result<()> {
        match (value.as_object(), table(|t| t.handle)) {
            (Some(object), Some(name)) => {
                raw::define_hidden(object, name, Js::new_number(ctx.clone(), number))?;
                let stand_in = StandIn { number: number as u32, object: Kept::new(value.clone()), kept: false };
                table(|t| t.stand_ins.push(stand_in));
                Ok(())
            }
            _ => Ok(()),
        }
    };
    match text.as_bytes().get(1) {
        Some(b'n') => Ok(Js::new_number(ctx.clone(), number())),
        Some(b'd') => raw::date(ctx, number()),
        Some(b'h') => {
            let object = Object::new(ctx.clone())?.into_value();
            stand_in(&object, number())?;
            Ok(object)
        }
        Some(b'r') => {
            let (number, json) = rest.split_once(':').unwrap_or((rest, "null"));
            let id: u32 = number.parse().unwrap_or(0);
            let value = from_json(ctx, &mut json.to_owned())?;
            stand_in(&value, f64::from(id))?;
            if let Some(dress) = table(|t| t.dress.clone()).filter(|_| value.is_object()) {
                dress.restore(ctx)?.call::<_, ()>((value.clone(),))?;
            }
            table(|t| t.handed.insert(id, json.to_owned()));
            Ok(value)
        }
        _ => Ok(Js::new_undefined(ctx.clone())),
    }
}

/// As it goes back: `None` for a value that stands for nothing of the engine, or was changed.
fn handed<'js>(ctx: &Ctx<'js>, value: &Js<'js>) -> Result<Option<Value>> {
    let Some(name) = table(|t| t.handle) else { return Ok(None) };
    if let Some(number) = value.as_number().filter(|n| !n.is_finite()) {
        return Ok(Some(Value::Json(format!("@n{number}"))));
    }
    let Some(object) = value.as_object() else { return Ok(None) };
    if raw::is_date(value) {
        let ms: f64 = object.get::<_, Function>("getTime")?.call((This(value.clone()),))?;
        return Ok(Some(Value::Json(format!("@d{ms}"))));
    }
    if object.is_error() {
        let mut parts = Vec::new();
        for key in ["name", "message", "stack", "code"] {
            let part: Js = object.get(key)?;
            if part.is_string() || part.is_number() {
                parts.push(format!("\"{key}\":{}", crate::function::quote(&raw::text(&part)?)));
            }
        }
        return Ok(Some(Value::Json(format!("@e{{{}}}", parts.join(",")))));
    }
    let Some(number) = raw::get(value, name)?.as_number() else { return Ok(None) };
    let id = number as u32;
    let came = table(|t| t.handed.remove(&id));
    let Some(came) = came else { return Ok(Some(Value::Json(format!("@h{id}")))) };
    let same = to_json(ctx, "msg", value)? == came;
    table(|t| t.handed.insert(id, came));
    Ok(same.then(|| Value::Json(format!("@h{id}"))))
}

/// Reads everything of a message that was not touched: it lives on when its call is over.
pub fn read_all<'js>(ctx: &Ctx<'js>, message: &Object<'js>) -> Result<()> {
    let getters = table(|t| t.getters.clone());
    let mut unread = Vec::new();
    raw::own_properties(message, &getters, |name, own| {
        if matches!(own, Own::Accessor(_)) {
            unread.push(name);
        }
        Ok(())
    })?;
    for name in unread {
        raw::get(message.as_value(), name)?;
    }
    let _ = ctx;
    Ok(())
}

/// At the end of a call: a message that something still holds is read as a whole, and what stands for values of the
/// engine keeps them there for as long as it lives.
pub fn release(ctx: &Ctx<'_>, message: Option<Kept>) -> Result<()> {
    if let Some(message) = message {
        if !message.is_alone()
            && let Some(object) = message.get(ctx).as_object()
        {
            read_all(ctx, object)?;
        }
        message.free(ctx);
    }
    if table(|t| t.stand_ins.is_empty()) {
        return Ok(());
    }
    let (mut keep, mut drop) = (Vec::new(), Vec::new());
    table(|t| {
        let all = std::mem::take(&mut t.stand_ins);
        for mut stand_in in all {
            if !stand_in.object.is_alone() {
                if !stand_in.kept {
                    stand_in.kept = true;
                    keep.push(stand_in.number);
                }
                t.stand_ins.push(stand_in);
                continue;
            }
            if stand_in.kept {
                drop.push(stand_in.number);
            }
            t.handed.remove(&stand_in.number);
            stand_in.object.free(ctx);
        }
    });
    for (what, numbers) in [("keep", keep), ("drop", drop)] {
        if !numbers.is_empty() {
            let numbers: Vec<String> = numbers.iter().map(u32::to_string).collect();
            call::host_result(ctx, host().ask(what, &format!("[{}]", numbers.join(","))))?;
        }
    }
    Ok(())
}

/// A Buffer of `bytes`.
pub fn buffer<'js>(ctx: &Ctx<'js>, bytes: &[u8]) -> Result<Js<'js>> {
    let to_buffer = table(|t| t.to_buffer.clone());
    to_buffer.restore(ctx)?.call((raw::uint8_array(ctx, bytes)?,))
}

/// The value of JSON text the engine gave, Buffers within it made Buffers again.
pub fn from_json<'js>(ctx: &Ctx<'js>, text: &mut String) -> Result<Js<'js>> {
    // A text without escapes needs no parser.
    if let Some(plain) = text.strip_prefix('"').and_then(|t| t.strip_suffix('"'))
        && !plain.contains('\\')
    {
        return raw::string(ctx, plain);
    }
    let value = json::read(ctx, text)?;
    if text.contains(r#""type":"Buffer""#) {
        let revive = table(|t| t.revive.clone());
        return revive.restore(ctx)?.call((value,));
    }
    Ok(value)
}

/// What a property's accessor does: reads the text, and puts the value in its own place.
fn materialise<'js>(ctx: Ctx<'js>, this: Js<'js>, at: usize) -> Result<Js<'js>> {
    let Some(object) = this.as_object() else { return Ok(Js::new_undefined(ctx)) };
    let id = raw::get(&this, mark())?.as_number();
    let taken = call::peek(|call| {
        if id != Some(f64::from(call.id)) {
            return None;
        }
        let found = call.incoming.iter_mut().find(|i| i.place == Some(at))?;
        // Taken out while JavaScript may run, put back below.
        Some(std::mem::replace(&mut found.property.value, Value::Json(String::new())))
    });
    let name = table(|t| t.slots[at].name);
    let Some(mut value) = taken.flatten() else {
        let text = table(|t| t.slots[at].text.clone());
        return Err(call::throw(
            &ctx,
            &format!(
                "msg.{text} was not read while its message was handled; a message kept for later is a copy: \
                 RED.util.cloneMessage(msg)"
            ),
            Some("stale_message"),
        ));
    };
    if matches!(&value, Value::Json(text) if text == "@") {
        // It stayed with the engine until now.
        let text = table(|t| t.slots[at].text.clone());
        match host().ask("property", &text) {
            Ok(came) => value = came,
            Err(failure) => {
                put_back(at, value);
                return call::host_result(&ctx, Err(failure));
            }
        }
    }
    let js = read(&ctx, &mut value);
    put_back(at, value);
    let js = js?;
    raw::define(object, name, js.clone())?;
    Ok(js)
}

fn put_back(at: usize, value: Value) {
    call::peek(|call| {
        if let Some(found) = call.incoming.iter_mut().find(|i| i.place == Some(at)) {
            found.property.value = value;
        }
    });
}

/// Sends `message` to output `port`: as the message being handled if it is that one or a copy of it, else as a new one.
pub fn emit<'js>(ctx: Ctx<'js>, port: u32, message: Js<'js>) -> Result<()> {
    emit_with(ctx, port, message, None)
}

/// As [`emit`], with a property that is not one of the message.
pub fn emit_with<'js>(ctx: Ctx<'js>, port: u32, message: Js<'js>, more: Option<(&str, Value)>) -> Result<()> {
    let Some(object) = message.as_object().filter(|o| !o.is_function() && !o.is_array()) else {
        return Err(call::throw_type(&ctx, &format!("node.send() takes message objects, not {}", kind(&message))));
    };
    let origin = raw::get(&message, mark())?.as_number();
    let (keep, count) =
        call::with(&ctx, "node.send()", |call| (origin == Some(f64::from(call.id)), call.incoming.len()))?;
    let mut kept = vec![false; count];
    let mut set = Vec::new();
    if let Some((name, value)) = more {
        set.push(Property { name: name.to_owned(), value });
    }
    let getters = table(|t| t.getters.clone());
    raw::own_properties(object, &getters, |name, own| {
        let value = match own {
            Own::Accessor(at) if keep => {
                call::peek(|call| {
                    if let Some(i) = call.incoming.iter().position(|i| i.place == Some(at)) {
                        kept[i] = true;
                    }
                });
                return Ok(());
            }
            Own::Accessor(_) => raw::get(object.as_value(), name)?,
            Own::Value(value) => value,
        };
        // Node-RED hands functions on within one process; from here they cannot leave.
        let stays = table(|t| t.handle.is_some()) && (value.is_function() || value.is_symbol());
        if value.is_undefined() || stays {
            return Ok(());
        }
        let slot = getters.iter().position(|(n, _)| *n == name);
        let text = match slot {
            Some(at) => table(|t| t.slots[at].text.clone()),
            None => raw::name_text(&ctx, name)?,
        };
        let value = outgoing(&ctx, &text, &value)?;
        let same = call::peek(|call| {
            let i = call.incoming.iter().position(|i| i.property.name == text).filter(|_| keep)?;
            kept[i] = true;
            Some(same(&call.incoming[i].property.value, &value))
        });
        if same.flatten() != Some(true) {
            set.push(Property { name: text, value });
        }
        Ok(())
    })?;
    let delete = if keep && kept.contains(&false) {
        call::with(&ctx, "node.send()", |call| {
            let gone = call.incoming.iter().zip(&kept).filter(|(_, kept)| !**kept);
            gone.map(|(i, _)| i.property.name.clone()).collect()
        })?
    } else {
        Vec::new()
    };
    call::host_result(&ctx, host().emit(Emission { port, keep, set, delete }))
}

/// A JavaScript value as the engine takes it. `what` names it in errors.
pub fn outgoing<'js>(ctx: &Ctx<'js>, what: &str, value: &Js<'js>) -> Result<Value> {
    if let Some(bytes) = raw::bytes(value) {
        return Ok(Value::Bytes(bytes));
    }
    if let Some(handed) = handed(ctx, value)? {
        return Ok(handed);
    }
    to_json(ctx, &format!("msg.{what}"), value).map(Value::Json)
}

/// JSON text of a value; `what` names it in errors.
pub fn to_json<'js>(ctx: &Ctx<'js>, what: &str, value: &Js<'js>) -> Result<String> {
    match json::write(ctx, value) {
        Ok(Some(text)) => Ok(text),
        Ok(None) => Err(call::throw_type(ctx, &format!("{what} is {}, which cannot leave the node", kind(value)))),
        Err(Error::Exception) => Err(named(ctx, what)),
        Err(e) => Err(e),
    }
}

/// Puts `what` before the message of the pending exception, when that is a TypeError of `JSON.stringify`.
fn named<'js>(ctx: &Ctx<'js>, what: &str) -> Error {
    let thrown = ctx.catch();
    if let Some(error) = thrown.as_object().filter(|o| o.is_error())
        && error.get::<_, String>("name").is_ok_and(|n| n == "TypeError")
        && let Ok(message) = error.get::<_, String>("message")
        && error.set("message", format!("{what} cannot leave the node: {message}")).is_err()
    {
        let _ = ctx.catch();
    }
    ctx.throw(thrown)
}

fn same(came: &Value, goes: &Value) -> bool {
    match (came, goes) {
        (Value::Json(a), Value::Json(b)) => a == b,
        (Value::Bytes(a), Value::Bytes(b)) => a == b,
        _ => false,
    }
}

fn kind(value: &Js<'_>) -> &'static str {
    if value.is_array() {
        "an array"
    } else if value.is_function() {
        "a function"
    } else if value.is_string() {
        "a string"
    } else if value.is_number() {
        "a number"
    } else if value.is_bool() {
        "a boolean"
    } else if value.is_symbol() {
        "a symbol"
    } else if value.is_big_int() {
        "a BigInt"
    } else if value.is_null() {
        "null"
    } else {
        "undefined"
    }
}
