//! JSON to JavaScript values and back, quicker than QuickJS's own for what messages are made of: plain objects and
//! lists with known names. Whatever is out of the ordinary is left to QuickJS, so that the results are always its own.

#![allow(clippy::unnecessary_cast, reason = "sizes are u32 in QuickJS's bindings for wasm32, usize elsewhere")]

use std::cell::RefCell;
use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

use rquickjs::{Ctx, Error, Result, Value, qjs};

/// Property names an instance remembers; longer ones and more of them are made anew each time.
const NAMES_MAX: usize = 1024;
const NAME_BYTES_MAX: usize = 48;
/// Deeper values are refused: QuickJS measures its calls by a stack that its own reader and writer hardly use, so that
/// they would end the component instead.
const DEPTH_MAX: usize = 400;

/// FNV-1a: names are short, and come from the flow's author.
#[derive(Clone)]
struct Fnv(u64);

impl Default for Fnv {
    fn default() -> Self {
        Fnv(0xcbf2_9ce4_8422_2325)
    }
}

impl Hasher for Fnv {
    fn finish(&self) -> u64 {
        self.0
    }
    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = (self.0 ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }
}

type Map<K, V> = HashMap<K, V, BuildHasherDefault<Fnv>>;

/// Names by text and back. Their atoms are kept for the life of the instance.
#[derive(Default)]
struct Names {
    atoms: Map<Box<[u8]>, qjs::JSAtom>,
    /// As they are written: quoted, with the colon.
    quoted: Map<u32, Box<str>>,
}

thread_local! {
    static NAMES: RefCell<Names> = RefCell::new(Names::default());
}

/// Forgets the names; before the runtime goes.
pub fn forget() {
    NAMES.with(|n| *n.borrow_mut() = Names::default());
}

fn too_deep(ctx: &Ctx<'_>) -> Error {
    rquickjs::Exception::throw_range(ctx, &format!("JSON is nested deeper than {DEPTH_MAX} levels"))
}

// --- reading

/// Why the quick reader gave up.
enum Stop {
    /// QuickJS shall read the whole text.
    Unusual,
    /// JavaScript's memory is at its end; the exception is pending.
    Thrown,
    Deep,
}

/// A value that is freed unless it is taken.
struct Held(*mut qjs::JSContext, qjs::JSValue);

impl Held {
    fn take(self) -> qjs::JSValue {
        let value = self.1;
        std::mem::forget(self);
        value
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        // SAFETY: the value is owned.
        unsafe { qjs::JS_FreeValue(self.0, self.1) };
    }
}

struct Reader<'a> {
    ctx: *mut qjs::JSContext,
    text: &'a [u8],
    at: usize,
    names: &'a mut Names,
}

/// The value of JSON text.
pub fn read<'js>(ctx: &Ctx<'js>, text: &mut String) -> Result<Value<'js>> {
    let quick = NAMES.with(|names| {
        let names = &mut *names.borrow_mut();
        let mut reader = Reader { ctx: ctx.as_raw().as_ptr(), text: text.as_bytes(), at: 0, names };
        let value = reader.value(0)?;
        reader.space();
        if reader.at == reader.text.len() { Ok(value) } else { Err(Stop::Unusual) }
    });
    match quick {
        // SAFETY: the value is owned and of this context.
        Ok(value) => Ok(unsafe { Value::from_raw(ctx.clone(), value.take()) }),
        Err(Stop::Thrown) => Err(Error::Exception),
        Err(Stop::Deep) => Err(too_deep(ctx)),
        Err(Stop::Unusual) => crate::raw::parse_json(ctx, text),
    }
}

impl Reader<'_> {
    fn space(&mut self) {
        while matches!(self.text.get(self.at), Some(b' ' | b'\n' | b'\r' | b'\t')) {
            self.at += 1;
        }
    }

    fn expect(&mut self, byte: u8) -> std::result::Result<(), Stop> {
        if self.text.get(self.at) == Some(&byte) {
            self.at += 1;
            Ok(())
        } else {
            Err(Stop::Unusual)
        }
    }

    fn hold(&self, value: qjs::JSValue) -> std::result::Result<Held, Stop> {
        // SAFETY: reads a tag.
        if unsafe { qjs::JS_IsException(value) } { Err(Stop::Thrown) } else { Ok(Held(self.ctx, value)) }
    }

    fn value(&mut self, depth: usize) -> std::result::Result<Held, Stop> {
        if depth == DEPTH_MAX {
            return Err(Stop::Deep);
        }
        self.space();
        let rest = &self.text[self.at..];
        match rest.first() {
            Some(b'{') => self.object(depth),
            Some(b'[') => self.list(depth),
            Some(b'"') => self.string(),
            Some(b'-' | b'0'..=b'9') => self.number(),
            Some(b't') if rest.starts_with(b"true") => self.word(4, qjs::JS_TRUE),
            Some(b'f') if rest.starts_with(b"false") => self.word(5, qjs::JS_FALSE),
            Some(b'n') if rest.starts_with(b"null") => self.word(4, qjs::JS_NULL),
            _ => Err(Stop::Unusual),
        }
    }

    fn word(&mut self, len: usize, value: qjs::JSValue) -> std::result::Result<Held, Stop> {
        self.at += len;
        Ok(Held(self.ctx, value))
    }

    fn object(&mut self, depth: usize) -> std::result::Result<Held, Stop> {
        self.at += 1;
        // SAFETY: makes an object.
        let object = self.hold(unsafe { qjs::JS_NewObject(self.ctx) })?;
        self.space();
        if self.text.get(self.at) == Some(&b'}') {
            self.at += 1;
            return Ok(object);
        }
        loop {
            self.space();
            let (start, end) = self.plain()?;
            let (atom, owned) = self.name(start, end)?;
            self.space();
            let value = self.expect(b':').and_then(|()| self.value(depth + 1));
            let defined = value.map(|value| {
                // SAFETY: the object is ours; the value is taken; the name lives.
                unsafe {
                    qjs::JS_DefinePropertyValue(self.ctx, object.1, atom, value.take(), qjs::JS_PROP_C_W_E as i32)
                }
            });
            if owned {
                // SAFETY: made above, for this property alone.
                unsafe { qjs::JS_FreeAtom(self.ctx, atom) };
            }
            if defined? < 0 {
                return Err(Stop::Thrown);
            }
            self.space();
            match self.text.get(self.at) {
                Some(b',') => self.at += 1,
                Some(b'}') => break,
                _ => return Err(Stop::Unusual),
            }
        }
        self.at += 1;
        Ok(object)
    }

    fn list(&mut self, depth: usize) -> std::result::Result<Held, Stop> {
        self.at += 1;
        let mut items = Vec::new();
        self.space();
        if self.text.get(self.at) == Some(&b']') {
            self.at += 1;
        } else {
            loop {
                items.push(self.value(depth + 1)?);
                self.space();
                let next = self.text.get(self.at).copied();
                self.at += 1;
                match next {
                    Some(b',') => {}
                    Some(b']') => break,
                    _ => return Err(Stop::Unusual),
                }
            }
        }
        let values: Vec<qjs::JSValue> = items.into_iter().map(Held::take).collect();
        // SAFETY: the values are taken, also when it fails.
        self.hold(unsafe { qjs::JS_NewArrayFrom(self.ctx, values.len() as i32, values.as_ptr()) })
    }

    /// A text without escapes, as a range; `at` is behind it.
    fn plain(&mut self) -> std::result::Result<(usize, usize), Stop> {
        self.expect(b'"')?;
        let start = self.at;
        let rest = &self.text[start..];
        let len = rest.iter().position(|b| matches!(b, b'"' | b'\\' | 0..=0x1f)).ok_or(Stop::Unusual)?;
        if rest[len] != b'"' {
            self.at = start - 1;
            return Err(Stop::Unusual);
        }
        self.at = start + len + 1;
        Ok((start, start + len))
    }

    fn string(&mut self) -> std::result::Result<Held, Stop> {
        let at = self.at;
        let made = match self.plain() {
            Ok((start, end)) => {
                let text = &self.text[start..end];
                // SAFETY: pointer and length are those of the text.
                unsafe { qjs::JS_NewStringLen(self.ctx, text.as_ptr().cast(), text.len() as _) }
            }
            Err(_) => {
                self.at = at;
                let text = self.escaped()?;
                // SAFETY: as above.
                unsafe { qjs::JS_NewStringLen(self.ctx, text.as_ptr().cast(), text.len() as _) }
            }
        };
        self.hold(made)
    }

    /// A text with escapes. Half surrogate pairs are QuickJS's business.
    fn escaped(&mut self) -> std::result::Result<Vec<u8>, Stop> {
        self.expect(b'"')?;
        let mut out = Vec::new();
        loop {
            let rest = &self.text[self.at..];
            let len = rest.iter().position(|b| matches!(b, b'"' | b'\\' | 0..=0x1f)).ok_or(Stop::Unusual)?;
            out.extend_from_slice(&rest[..len]);
            self.at += len + 1;
            match rest[len] {
                b'"' => return Ok(out),
                b'\\' => {}
                _ => return Err(Stop::Unusual),
            }
            let escape = self.text.get(self.at).copied();
            self.at += 1;
            out.push(match escape {
                Some(b @ (b'"' | b'\\' | b'/')) => b,
                Some(b'b') => 8,
                Some(b'f') => 12,
                Some(b'n') => b'\n',
                Some(b'r') => b'\r',
                Some(b't') => b'\t',
                Some(b'u') => {
                    let digits = self.text.get(self.at..self.at + 4).ok_or(Stop::Unusual)?;
                    let unit = std::str::from_utf8(digits).ok().and_then(|d| u32::from_str_radix(d, 16).ok());
                    let character = unit.and_then(char::from_u32).ok_or(Stop::Unusual)?;
                    self.at += 4;
                    out.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
                    continue;
                }
                _ => return Err(Stop::Unusual),
            });
        }
    }

    fn number(&mut self) -> std::result::Result<Held, Stop> {
        let rest = &self.text[self.at..];
        let len = rest.iter().position(|b| !matches!(b, b'-' | b'+' | b'.' | b'e' | b'E' | b'0'..=b'9'));
        let text = &rest[..len.unwrap_or(rest.len())];
        let digits = text.strip_prefix(b"-").unwrap_or(text);
        let whole = digits.iter().all(u8::is_ascii_digit);
        let value = if whole && digits.len() <= 9 && (digits.len() == 1 || digits.first() != Some(&b'0')) {
            let n = digits.iter().fold(0i32, |n, d| n * 10 + i32::from(d - b'0'));
            match (n, text.len() > digits.len()) {
                _ if digits.is_empty() => return Err(Stop::Unusual),
                (0, true) => number(-0.0),
                (n, true) => qjs::JS_MKVAL(qjs::JS_TAG_INT, -n),
                (n, false) => qjs::JS_MKVAL(qjs::JS_TAG_INT, n),
            }
        } else {
            // Rust reads a few forms JSON does not have; those begin or end otherwise.
            let odd = digits.first() == Some(&b'0') && digits.get(1).is_some_and(u8::is_ascii_digit)
                || !digits.first().is_some_and(u8::is_ascii_digit)
                || !text.last().is_some_and(u8::is_ascii_digit)
                || digits.windows(2).any(|w| w[0] == b'.' && !w[1].is_ascii_digit());
            let parsed = std::str::from_utf8(text).ok().and_then(|t| t.parse::<f64>().ok());
            match parsed {
                Some(n) if !odd => number(n),
                _ => return Err(Stop::Unusual),
            }
        };
        self.at += text.len();
        Ok(Held(self.ctx, value))
    }

    /// The atom of a name, and whether it must be freed.
    fn name(&mut self, start: usize, end: usize) -> std::result::Result<(qjs::JSAtom, bool), Stop> {
        let text = &self.text[start..end];
        if let Some(atom) = self.names.atoms.get(text) {
            return Ok((*atom, false));
        }
        // SAFETY: pointer and length are those of the name.
        let atom = unsafe { qjs::JS_NewAtomLen(self.ctx, text.as_ptr().cast(), text.len() as _) };
        if atom == qjs::JS_ATOM_NULL {
            return Err(Stop::Thrown);
        }
        if text.len() > NAME_BYTES_MAX || self.names.atoms.len() >= NAMES_MAX {
            return Ok((atom, true));
        }
        self.names.atoms.insert(text.into(), atom);
        Ok((atom, false))
    }
}

fn number(n: f64) -> qjs::JSValue {
    qjs::JS_NewFloat64(n)
}

// --- writing

/// Why the quick writer gave up.
enum Odd {
    /// QuickJS shall write the whole value.
    Unusual,
    Thrown,
    Deep,
}

struct Writer {
    ctx: *mut qjs::JSContext,
    out: Vec<u8>,
    to_json: qjs::JSAtom,
    within: Vec<*mut qjs::c_void>,
}

thread_local! {
    static TO_JSON: RefCell<Option<crate::raw::Name>> = const { RefCell::new(None) };
}

/// `JSON.stringify(value)`: `None` where that is `undefined`.
pub fn write(ctx: &Ctx<'_>, value: &Value<'_>) -> Result<Option<String>> {
    let to_json = TO_JSON.with(|t| match *t.borrow() {
        Some(name) => Ok(name),
        None => crate::raw::Name::new(ctx, "toJSON"),
    })?;
    TO_JSON.with(|t| *t.borrow_mut() = Some(to_json));
    let mut writer = Writer {
        ctx: ctx.as_raw().as_ptr(),
        out: Vec::with_capacity(256),
        to_json: to_json.atom(),
        within: Vec::new(),
    };
    match writer.value(value.as_raw()) {
        Ok(true) => Ok(Some(match String::from_utf8(writer.out) {
            Ok(text) => text,
            // Half surrogate pairs came through.
            Err(e) => String::from_utf8_lossy(e.as_bytes()).into_owned(),
        })),
        Ok(false) => Ok(None),
        Err(Odd::Thrown) => Err(Error::Exception),
        Err(Odd::Deep) => Err(too_deep(ctx)),
        Err(Odd::Unusual) => crate::raw::stringify(ctx, value),
    }
}

impl Writer {
    /// Writes a value; false where JSON leaves it out.
    fn value(&mut self, value: qjs::JSValue) -> std::result::Result<bool, Odd> {
        // SAFETY: reads the tag and, by it, the content.
        unsafe {
            match qjs::JS_VALUE_GET_NORM_TAG(value) {
                qjs::JS_TAG_OBJECT => return self.object(value),
                qjs::JS_TAG_STRING | qjs::JS_TAG_STRING_ROPE => self.string(value)?,
                qjs::JS_TAG_INT => {
                    let _ = std::io::Write::write_fmt(&mut self.out, format_args!("{}", qjs::JS_VALUE_GET_INT(value)));
                }
                qjs::JS_TAG_FLOAT64 => self.float(qjs::JS_VALUE_GET_FLOAT64(value)),
                qjs::JS_TAG_BOOL if qjs::JS_VALUE_GET_BOOL(value) => self.out.extend_from_slice(b"true"),
                qjs::JS_TAG_BOOL => self.out.extend_from_slice(b"false"),
                qjs::JS_TAG_NULL => self.out.extend_from_slice(b"null"),
                qjs::JS_TAG_UNDEFINED | qjs::JS_TAG_SYMBOL => return Ok(false),
                _ => return Err(Odd::Unusual),
            }
        }
        Ok(true)
    }

    fn float(&mut self, n: f64) {
        if n.is_finite() {
            self.out.extend_from_slice(ryu_js::Buffer::new().format_finite(n).as_bytes());
        } else {
            self.out.extend_from_slice(b"null");
        }
    }

    fn string(&mut self, value: qjs::JSValue) -> std::result::Result<(), Odd> {
        let mut len = 0;
        // SAFETY: the pointer is valid for `len` bytes until it is freed.
        unsafe {
            let text = qjs::JS_ToCStringLen(self.ctx, &mut len, value);
            if text.is_null() {
                return Err(Odd::Thrown);
            }
            quote(&mut self.out, std::slice::from_raw_parts(text.cast(), len as usize));
            qjs::JS_FreeCString(self.ctx, text);
        }
        Ok(())
    }

    fn object(&mut self, value: qjs::JSValue) -> std::result::Result<bool, Odd> {
        // SAFETY: reads class and pointer of an object.
        let (class, pointer) = unsafe { (qjs::JS_GetClassID(value), qjs::JS_VALUE_GET_PTR(value)) };
        let list = match class {
            CLASS_OBJECT => false,
            CLASS_ARRAY => true,
            _ => return self.other(value),
        };
        if self.within.len() == DEPTH_MAX {
            return Err(Odd::Deep);
        }
        // What refers to itself is told by QuickJS.
        if self.within.contains(&pointer) {
            return Err(Odd::Unusual);
        }
        // SAFETY: the value lives; what is got is owned.
        let own = unsafe { Held(self.ctx, qjs::JS_GetProperty(self.ctx, value, self.to_json)) };
        if !is_undefined(own.1) {
            return Err(Odd::Unusual);
        }
        self.within.push(pointer);
        let done = if list { self.list(value) } else { self.members(value) };
        self.within.pop();
        done.map(|()| true)
    }

    /// What only QuickJS knows how to write: dates, Buffers, boxed values. If it refers to what
    /// it is in, QuickJS meets that within it.
    fn other(&mut self, value: qjs::JSValue) -> std::result::Result<bool, Odd> {
        // SAFETY: the value lives; the result is owned.
        let json = self.got(unsafe { qjs::JS_JSONStringify(self.ctx, value, qjs::JS_UNDEFINED, qjs::JS_UNDEFINED) })?;
        if is_undefined(json.1) {
            return Ok(false);
        }
        let mut len = 0;
        // SAFETY: the pointer is valid for `len` bytes until it is freed.
        unsafe {
            let text = qjs::JS_ToCStringLen(self.ctx, &mut len, json.1);
            if text.is_null() {
                return Err(Odd::Thrown);
            }
            let bytes = std::slice::from_raw_parts(text.cast(), len as usize);
            let text_of = String::from_utf8_lossy(bytes).into_owned();
            self.out.extend_from_slice(crate::raw::without_lone_surrogates(text_of).as_bytes());
            qjs::JS_FreeCString(self.ctx, text);
        }
        Ok(true)
    }

    fn list(&mut self, value: qjs::JSValue) -> std::result::Result<(), Odd> {
        let mut len = 0;
        // SAFETY: the value is a list.
        if unsafe { qjs::JS_GetLength(self.ctx, value, &mut len) } < 0 {
            return Err(Odd::Thrown);
        }
        self.out.push(b'[');
        for i in 0..len {
            if i > 0 {
                self.out.push(b',');
            }
            // SAFETY: what is got is owned.
            let item = self.got(unsafe { qjs::JS_GetPropertyInt64(self.ctx, value, i) })?;
            if !self.value(item.1)? {
                self.out.extend_from_slice(b"null");
            }
        }
        self.out.push(b']');
        Ok(())
    }

    fn got(&self, value: qjs::JSValue) -> std::result::Result<Held, Odd> {
        // SAFETY: reads a tag.
        if unsafe { qjs::JS_IsException(value) } { Err(Odd::Thrown) } else { Ok(Held(self.ctx, value)) }
    }

    fn members(&mut self, value: qjs::JSValue) -> std::result::Result<(), Odd> {
        let mut table = std::ptr::null_mut();
        let mut len = 0;
        let flags = (qjs::JS_GPN_STRING_MASK | qjs::JS_GPN_ENUM_ONLY) as i32;
        // SAFETY: on success the table holds `len` names until freed below.
        if unsafe { qjs::JS_GetOwnPropertyNames(self.ctx, &mut table, &mut len, value, flags) } < 0 {
            return Err(Odd::Thrown);
        }
        self.out.push(b'{');
        let open = self.out.len();
        let mut done = Ok(());
        for i in 0..len as usize {
            // SAFETY: `i` is below `len`.
            let atom = unsafe { (*table.add(i)).atom };
            done = self.member(value, atom, self.out.len() > open);
            if done.is_err() {
                break;
            }
        }
        // SAFETY: the table came from JS_GetOwnPropertyNames.
        unsafe { qjs::JS_FreePropertyEnum(self.ctx, table, len) };
        self.out.push(b'}');
        done
    }

    fn member(&mut self, object: qjs::JSValue, atom: qjs::JSAtom, more: bool) -> std::result::Result<(), Odd> {
        // SAFETY: what is got is owned.
        let value = self.got(unsafe { qjs::JS_GetProperty(self.ctx, object, atom) })?;
        let before = self.out.len();
        if more {
            self.out.push(b',');
        }
        self.name(atom)?;
        if !self.value(value.1)? {
            self.out.truncate(before);
        }
        Ok(())
    }

    fn name(&mut self, atom: qjs::JSAtom) -> std::result::Result<(), Odd> {
        let known = NAMES.with(|names| match names.borrow().quoted.get(&atom) {
            Some(text) => {
                self.out.extend_from_slice(text.as_bytes());
                true
            }
            None => false,
        });
        if known {
            return Ok(());
        }
        let start = self.out.len();
        // SAFETY: the atom lives; the string is owned.
        let text = self.got(unsafe { qjs::JS_AtomToString(self.ctx, atom) })?;
        self.string(text.1)?;
        self.out.push(b':');
        let quoted = &self.out[start..];
        if quoted.len() <= NAME_BYTES_MAX
            && let Ok(quoted) = std::str::from_utf8(quoted)
        {
            NAMES.with(|names| {
                let quoted_names = &mut names.borrow_mut().quoted;
                if quoted_names.len() < NAMES_MAX {
                    // SAFETY: the reference is kept with the name, so that the atom means nothing else later.
                    let kept = unsafe { qjs::JS_DupAtom(self.ctx, atom) };
                    quoted_names.insert(kept, quoted.into());
                }
            });
        }
        Ok(())
    }
}

/// QuickJS's numbers of the classes of plain objects and lists.
const CLASS_OBJECT: u32 = 1;
const CLASS_ARRAY: u32 = 2;

fn is_undefined(value: qjs::JSValue) -> bool {
    // SAFETY: reads a tag.
    unsafe { qjs::JS_VALUE_GET_TAG(value) == qjs::JS_TAG_UNDEFINED }
}

/// Writes a text in quotes, escaped as `JSON.stringify` does.
fn quote(out: &mut Vec<u8>, text: &[u8]) {
    out.push(b'"');
    let mut rest = text;
    while let Some(at) = rest.iter().position(|b| matches!(b, b'"' | b'\\' | 0..=0x1f)) {
        out.extend_from_slice(&rest[..at]);
        match rest[at] {
            b @ (b'"' | b'\\') => out.extend_from_slice(&[b'\\', b]),
            b'\n' => out.extend_from_slice(b"\\n"),
            b'\r' => out.extend_from_slice(b"\\r"),
            b'\t' => out.extend_from_slice(b"\\t"),
            8 => out.extend_from_slice(b"\\b"),
            12 => out.extend_from_slice(b"\\f"),
            b => out.extend_from_slice(format!("\\u{b:04x}").as_bytes()),
        }
        rest = &rest[at + 1..];
    }
    out.extend_from_slice(rest);
    out.push(b'"');
}
