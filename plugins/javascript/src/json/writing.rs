//! The quick writer of JSON text.

use std::cell::RefCell;

use rquickjs::{Ctx, Error, Result, Value, qjs};

use super::{DEPTH_MAX, Held, NAME_BYTES_MAX, NAMES, NAMES_MAX, too_deep};

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
