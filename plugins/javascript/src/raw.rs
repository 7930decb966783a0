//! The few calls of QuickJS that rquickjs wraps too dearly for the path of every message, behind safe signatures.

#![allow(clippy::unnecessary_cast, reason = "sizes are u32 in QuickJS's bindings for wasm32, usize elsewhere")]

use std::borrow::Cow;
use std::ffi::CString;

use rquickjs::{Ctx, Error, Object, Result, Value, qjs};

/// A value that is held across calls without a context's lifetime. Freed by nobody: only for what an instance keeps.
#[derive(Clone, Copy)]
pub struct Kept(qjs::JSValue);

impl Kept {
    /// Keeps `value` for the life of the instance.
    pub fn new(value: Value<'_>) -> Kept {
        // SAFETY: the reference that `value` holds is handed to `Kept`, which never gives it back.
        Kept(unsafe { qjs::JS_DupValue(value.ctx().as_raw().as_ptr(), value.as_raw()) })
    }

    /// The value again, in the context it came from.
    pub fn get<'js>(&self, ctx: &Ctx<'js>) -> Value<'js> {
        // SAFETY: there is one runtime and one context per thread, and the kept reference keeps the value alive.
        unsafe { Value::from_raw(ctx.clone(), qjs::JS_DupValue(ctx.as_raw().as_ptr(), self.0)) }
    }

    fn same_object(&self, other: qjs::JSValue) -> bool {
        // SAFETY: reads tag and pointer of two live values.
        unsafe {
            qjs::JS_VALUE_GET_TAG(other) == qjs::JS_TAG_OBJECT
                && qjs::JS_VALUE_GET_PTR(self.0) == qjs::JS_VALUE_GET_PTR(other)
        }
    }
}

impl Kept {
    /// True when nothing else holds the object.
    pub fn is_alone(&self) -> bool {
        // SAFETY: the object lives. QuickJS keeps its number of references in the four bytes before it (`js_rc`), in the
        // one version that Cargo.toml names.
        unsafe { *qjs::JS_VALUE_GET_PTR(self.0).cast::<i32>().sub(1) == 1 }
    }

    /// Gives the reference back.
    pub fn free(self, ctx: &Ctx<'_>) {
        // SAFETY: the reference is ours, and this ends it.
        unsafe { qjs::JS_FreeValue(ctx.as_raw().as_ptr(), self.0) };
    }
}

/// A property name that is held across calls.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Name(qjs::JSAtom);

impl Name {
    /// The atom itself.
    pub fn atom(self) -> qjs::JSAtom {
        self.0
    }

    /// The atom of `text`; kept for the life of the instance.
    pub fn new(ctx: &Ctx<'_>, text: &str) -> Result<Name> {
        // SAFETY: pointer and length are those of `text`.
        let atom = unsafe { qjs::JS_NewAtomLen(ctx.as_raw().as_ptr(), text.as_ptr().cast(), text.len() as _) };
        if atom == qjs::JS_ATOM_NULL { Err(Error::Exception) } else { Ok(Name(atom)) }
    }

    /// The atom of the symbol `value`; kept for the life of the instance.
    pub fn of_symbol(value: &Value<'_>) -> Result<Name> {
        // SAFETY: `value` lives.
        let atom = unsafe { qjs::JS_ValueToAtom(value.ctx().as_raw().as_ptr(), value.as_raw()) };
        if atom == qjs::JS_ATOM_NULL { Err(Error::Exception) } else { Ok(Name(atom)) }
    }
}

/// Parses JSON text. A NUL is put behind `text` while the engine reads it, and taken away again.
pub fn parse_json<'js>(ctx: &Ctx<'js>, text: &mut String) -> Result<Value<'js>> {
    text.push('\0');
    // SAFETY: QuickJS wants the text's length and a NUL behind it.
    let value = unsafe {
        qjs::JS_ParseJSON(ctx.as_raw().as_ptr(), text.as_ptr().cast(), (text.len() - 1) as _, c"JSON".as_ptr())
    };
    text.pop();
    own(ctx, value)
}

/// Source text with an escape for each NUL character, which `rquickjs` does not hand on: in a string or a regular expression
/// it gives the same value, elsewhere it is the syntax error that a NUL is.
pub fn without_nul(text: &str) -> Cow<'_, str> {
    if !text.contains('\0') {
        return text.into();
    }
    let mut out = String::with_capacity(text.len() + 8);
    let mut escaped = false;
    for c in text.chars() {
        match c {
            // A backslash before it is its own escape already.
            '\0' if escaped => out.push_str("u0000"),
            '\0' => out.push_str("\\u0000"),
            c => out.push(c),
        }
        escaped = c == '\\' && !escaped;
    }
    out.into()
}

/// Parses JavaScript as a script of the file `name`; nothing of it runs.
pub fn parse(ctx: &Ctx<'_>, text: &str, name: &str) -> Result<()> {
    let text = without_nul(text);
    let (source, name) = (CString::new(&*text)?, CString::new(name)?);
    let flags = (qjs::JS_EVAL_TYPE_GLOBAL | qjs::JS_EVAL_FLAG_COMPILE_ONLY) as i32;
    // SAFETY: pointer and length are those of `text`, behind which is the NUL that QuickJS wants; what comes is owned below.
    let code = unsafe { qjs::JS_Eval(ctx.as_raw().as_ptr(), source.as_ptr(), text.len() as _, name.as_ptr(), flags) };
    own(ctx, code).map(drop)
}

/// A JavaScript string of `text`.
pub fn string<'js>(ctx: &Ctx<'js>, text: &str) -> Result<Value<'js>> {
    // SAFETY: pointer and length are those of `text`.
    own(ctx, unsafe { qjs::JS_NewStringLen(ctx.as_raw().as_ptr(), text.as_ptr().cast(), text.len() as _) })
}

/// `JSON.stringify(value)`: `None` where that is `undefined`.
pub fn stringify(ctx: &Ctx<'_>, value: &Value<'_>) -> Result<Option<String>> {
    // SAFETY: `value` lives; the result is owned below.
    let json = own(ctx, unsafe {
        qjs::JS_JSONStringify(ctx.as_raw().as_ptr(), value.as_raw(), qjs::JS_UNDEFINED, qjs::JS_UNDEFINED)
    })?;
    if json.is_undefined() { Ok(None) } else { text(&json).map(|t| Some(without_lone_surrogates(t))) }
}

/// `JSON.stringify` writes half a surrogate pair as `\udXXX`, which no other JSON reader takes: U+FFFD instead.
pub fn without_lone_surrogates(text: String) -> String {
    if !text.contains("\\ud") {
        return text;
    }
    let mut out = String::with_capacity(text.len());
    let mut rest = text.as_str();
    while let Some(at) = rest.find('\\') {
        out.push_str(&rest[..at]);
        let escape = &rest[at..];
        let take = if escape.starts_with("\\ud") && escape.len() >= 6 {
            out.push('\u{fffd}');
            6
        } else {
            let take = escape.char_indices().nth(2).map_or(escape.len(), |(i, _)| i);
            out.push_str(&escape[..take]);
            take
        };
        rest = &escape[take..];
    }
    out.push_str(rest);
    out
}

/// The text of a JavaScript string; of another value, what `String(value)` gives. Half surrogate pairs become U+FFFD.
pub fn text(value: &Value<'_>) -> Result<String> {
    with_text(value, |bytes| match std::str::from_utf8(bytes) {
        Ok(text) => text.to_owned(),
        Err(_) => String::from_utf8_lossy(bytes).into_owned(),
    })
}

/// The text of a value as `text` gives it, unless it has half surrogate pairs.
pub fn whole_text(value: &Value<'_>) -> Result<Option<String>> {
    with_text(value, |bytes| String::from_utf8(bytes.to_vec()).ok())
}

fn with_text<T>(value: &Value<'_>, read: impl FnOnce(&[u8]) -> T) -> Result<T> {
    let ctx = value.ctx().as_raw().as_ptr();
    let mut len = 0;
    // SAFETY: the pointer is valid for `len` bytes until it is freed below.
    unsafe {
        let ptr = qjs::JS_ToCStringLen(ctx, &mut len, value.as_raw());
        if ptr.is_null() {
            return Err(Error::Exception);
        }
        let out = read(std::slice::from_raw_parts(ptr.cast(), len as usize));
        qjs::JS_FreeCString(ctx, ptr);
        Ok(out)
    }
}

/// Defines a plain property (writable, enumerable, configurable).
pub fn define(object: &Object<'_>, name: Name, value: Value<'_>) -> Result<()> {
    let ctx = object.ctx().as_raw().as_ptr();
    // SAFETY: the reference to `value` is duplicated for the call, which takes it.
    let done = unsafe {
        qjs::JS_DefinePropertyValue(
            ctx,
            object.as_raw(),
            name.0,
            qjs::JS_DupValue(ctx, value.as_raw()),
            qjs::JS_PROP_C_W_E as i32,
        )
    };
    if done < 0 { Err(Error::Exception) } else { Ok(()) }
}

/// Defines an accessor (enumerable, configurable).
pub fn define_accessor(object: &Object<'_>, name: Name, getter: Kept, setter: Kept) -> Result<()> {
    let ctx = object.ctx().as_raw().as_ptr();
    // SAFETY: references are duplicated for the call, which takes them.
    let done = unsafe {
        qjs::JS_DefinePropertyGetSet(
            ctx,
            object.as_raw(),
            name.0,
            qjs::JS_DupValue(ctx, getter.0),
            qjs::JS_DupValue(ctx, setter.0),
            (qjs::JS_PROP_CONFIGURABLE | qjs::JS_PROP_ENUMERABLE) as i32,
        )
    };
    if done < 0 { Err(Error::Exception) } else { Ok(()) }
}

/// `object[name]`.
pub fn get<'js>(object: &Value<'js>, name: Name) -> Result<Value<'js>> {
    let ctx = object.ctx();
    // SAFETY: `object` lives; the result is owned.
    own(ctx, unsafe { qjs::JS_GetProperty(ctx.as_raw().as_ptr(), object.as_raw(), name.0) })
}

/// One own enumerable property as `own_properties` meets it.
pub enum Own<'js> {
    /// An accessor whose getter is the object the caller asked about, at this place of its list.
    Accessor(usize),
    /// A value; of a foreign accessor what its getter gives.
    Value(Value<'js>),
}

/// Calls `each` with every own enumerable string-named property. `getters` are recognised by identity.
pub fn own_properties<'js>(
    object: &Object<'js>,
    getters: &[(Name, Kept)],
    mut each: impl FnMut(Name, Own<'js>) -> Result<()>,
) -> Result<()> {
    let ctx = object.ctx();
    let raw = ctx.as_raw().as_ptr();
    let mut table = std::ptr::null_mut();
    let mut len = 0;
    let flags = (qjs::JS_GPN_STRING_MASK | qjs::JS_GPN_ENUM_ONLY) as i32;
    // SAFETY: on success `table` holds `len` entries until freed below.
    if unsafe { qjs::JS_GetOwnPropertyNames(raw, &mut table, &mut len, object.as_raw(), flags) } < 0 {
        return Err(Error::Exception);
    }
    let mut visit = || -> Result<()> {
        for i in 0..len as usize {
            // SAFETY: `i` is below `len`.
            let name = Name(unsafe { (*table.add(i)).atom });
            let mut desc: qjs::JSPropertyDescriptor = unsafe { std::mem::zeroed() };
            // SAFETY: on 1 the descriptor holds owned values, which are taken over below.
            match unsafe { qjs::JS_GetOwnProperty(raw, &mut desc, object.as_raw(), name.0) } {
                0 => continue,
                1 => {}
                _ => return Err(Error::Exception),
            }
            let (value, getter, _setter) = unsafe {
                (
                    Value::from_raw(ctx.clone(), desc.value),
                    Value::from_raw(ctx.clone(), desc.getter),
                    Value::from_raw(ctx.clone(), desc.setter),
                )
            };
            let own = if desc.flags & qjs::JS_PROP_GETSET as i32 == 0 {
                Own::Value(value)
            } else if let Some(place) = getters.iter().position(|(_, g)| g.same_object(getter.as_raw())) {
                Own::Accessor(place)
            } else {
                Own::Value(get(object.as_value(), name)?)
            };
            each(name, own)?;
        }
        Ok(())
    };
    let done = visit();
    // SAFETY: the table came from JS_GetOwnPropertyNames.
    unsafe { qjs::JS_FreePropertyEnum(raw, table, len) };
    done
}

/// The text of a property name.
pub fn name_text(ctx: &Ctx<'_>, name: Name) -> Result<String> {
    // SAFETY: the atom lives; the result is owned.
    text(&own(ctx, unsafe { qjs::JS_AtomToString(ctx.as_raw().as_ptr(), name.0) })?)
}

/// The bytes of a Uint8Array or ArrayBuffer; `None` for anything else.
pub fn bytes(value: &Value<'_>) -> Option<Vec<u8>> {
    if !value.is_object() {
        return None;
    }
    let ctx = value.ctx().as_raw().as_ptr();
    let mut len = 0;
    // SAFETY: the pointer is valid for `len` bytes while no JavaScript runs.
    unsafe {
        let ptr = match qjs::JS_GetTypedArrayType(value.as_raw()) {
            t if t == qjs::JSTypedArrayEnum_JS_TYPED_ARRAY_UINT8 as i32
                || t == qjs::JSTypedArrayEnum_JS_TYPED_ARRAY_UINT8C as i32 =>
            {
                qjs::JS_GetUint8Array(ctx, &mut len, value.as_raw())
            }
            _ if qjs::JS_IsArrayBuffer(value.as_raw()) => qjs::JS_GetArrayBuffer(ctx, &mut len, value.as_raw()),
            _ => return None,
        };
        if len == 0 || ptr.is_null() {
            return Some(Vec::new());
        }
        Some(std::slice::from_raw_parts(ptr, len as usize).to_vec())
    }
}

/// A new Uint8Array with a copy of `bytes`.
pub fn uint8_array<'js>(ctx: &Ctx<'js>, bytes: &[u8]) -> Result<Value<'js>> {
    // SAFETY: pointer and length are those of `bytes`, which are copied.
    own(ctx, unsafe { qjs::JS_NewUint8ArrayCopy(ctx.as_raw().as_ptr(), bytes.as_ptr(), bytes.len() as _) })
}

/// Runs the next job of a promise; false if there is none. A job that throws leaves its exception pending.
pub fn run_job(ctx: &Ctx<'_>) -> Result<bool> {
    let mut of = std::ptr::null_mut();
    // SAFETY: there is one context.
    match unsafe { qjs::JS_ExecutePendingJob(qjs::JS_GetRuntime(ctx.as_raw().as_ptr()), &mut of) } {
        0 => Ok(false),
        1.. => Ok(true),
        _ => Err(Error::Exception),
    }
}

/// Whether a job of a promise waits.
pub fn has_job(ctx: &Ctx<'_>) -> bool {
    // SAFETY: the runtime lives as long as its context.
    unsafe { qjs::JS_IsJobPending(qjs::JS_GetRuntime(ctx.as_raw().as_ptr())) }
}

/// A Date.
pub fn date<'js>(ctx: &Ctx<'js>, ms: f64) -> Result<Value<'js>> {
    // SAFETY: makes an object.
    own(ctx, unsafe { qjs::JS_NewDate(ctx.as_raw().as_ptr(), ms) })
}

/// Whether it is a Date.
pub fn is_date(value: &Value<'_>) -> bool {
    // SAFETY: reads a tag and a class.
    unsafe { qjs::JS_IsDate(value.as_raw()) }
}

/// Defines a property that copies and listings leave out.
pub fn define_hidden(object: &Object<'_>, name: Name, value: Value<'_>) -> Result<()> {
    let ctx = object.ctx().as_raw().as_ptr();
    // SAFETY: the reference to `value` is duplicated for the call, which takes it.
    let done =
        unsafe { qjs::JS_DefinePropertyValue(ctx, object.as_raw(), name.0, qjs::JS_DupValue(ctx, value.as_raw()), 0) };
    if done < 0 { Err(Error::Exception) } else { Ok(()) }
}

fn own<'js>(ctx: &Ctx<'js>, value: qjs::JSValue) -> Result<Value<'js>> {
    // SAFETY: callers pass a value that QuickJS handed over.
    unsafe {
        if qjs::JS_IsException(value) {
            return Err(Error::Exception);
        }
        Ok(Value::from_raw(ctx.clone(), value))
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn half_a_surrogate_pair_becomes_the_replacement_character() {
        let fix = |s: &str| super::without_lone_surrogates(s.to_owned());
        assert_eq!(fix(r#""a\ud800b""#), "\"a\u{fffd}b\"");
        assert_eq!(fix(r#""\\ud800""#), r#""\\ud800""#);
        assert_eq!(fix(r#""\n\\\ude00é""#), "\"\\n\\\\\u{fffd}é\"");
    }
}
