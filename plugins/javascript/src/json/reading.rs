//! The quick reader of JSON text.

use rquickjs::{Ctx, Error, Result, Value, qjs};

use super::{DEPTH_MAX, Held, NAME_BYTES_MAX, NAMES, NAMES_MAX, Names, too_deep};

/// Why the quick reader gave up.
enum Stop {
    /// QuickJS shall read the whole text.
    Unusual,
    /// JavaScript's memory is at its end; the exception is pending.
    Thrown,
    Deep,
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
