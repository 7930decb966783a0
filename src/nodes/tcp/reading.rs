//! Bytes as they come, cut into payloads.

use arcstr::ArcStr;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::model::Value;

/// What is gathered of one connection at most, bytes; more is an error and starts anew.
const GATHERED_MAX: usize = 64 << 20;

/// What becomes of the bytes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Kind {
    Buffer,
    Text,
    Base64,
}

/// How a connection's bytes become payloads.
#[derive(Clone, Debug)]
pub(super) struct Cutting {
    pub(super) kind: Kind,
    /// A payload for each piece, else one when the connection ends.
    pub(super) stream: bool,
    /// What separates payloads of a stream of text; empty: nothing.
    pub(super) newline: String,
    /// Payloads keep it.
    pub(super) keeps_newline: bool,
}

/// The bytes of one connection.
pub(super) struct Reading {
    how: Cutting,
    held: Vec<u8>,
}

/// More came without an end than is kept.
#[derive(Debug, PartialEq)]
pub(super) struct TooMuch;

impl Reading {
    pub(super) fn new(how: Cutting) -> Reading {
        Reading { how, held: Vec::new() }
    }

    fn cuts(&self) -> bool {
        self.how.stream && self.how.kind == Kind::Text && !self.how.newline.is_empty()
    }

    fn value(&self, bytes: Vec<u8>) -> Value {
        match self.how.kind {
            Kind::Buffer => Value::Bytes(bytes.into()),
            Kind::Text => Value::String(ArcStr::from(String::from_utf8_lossy(&bytes).into_owned())),
            Kind::Base64 => Value::String(ArcStr::from(STANDARD.encode(bytes))),
        }
    }

    /// The payloads that these bytes complete.
    pub(super) fn take(&mut self, bytes: &[u8]) -> Result<Vec<Value>, TooMuch> {
        if self.how.stream && !self.cuts() {
            return Ok(vec![self.text_or_all(bytes)]);
        }
        if self.held.len() + bytes.len() > GATHERED_MAX {
            self.held.clear();
            return Err(TooMuch);
        }
        self.held.extend_from_slice(bytes);
        if !self.cuts() {
            return Ok(Vec::new());
        }
        let newline = self.how.newline.as_bytes();
        let (mut values, mut from) = (Vec::new(), 0);
        while let Some(at) = find(&self.held[from..], newline) {
            let end = from + at + if self.how.keeps_newline { newline.len() } else { 0 };
            values.push(self.value(self.held[from..end].to_vec()));
            from += at + newline.len();
        }
        self.held.drain(..from);
        Ok(values)
    }

    /// A piece of a stream; a character at its end that is not whole yet waits for the next one.
    fn text_or_all(&mut self, bytes: &[u8]) -> Value {
        if self.how.kind != Kind::Text {
            return self.value(bytes.to_vec());
        }
        let mut all = std::mem::take(&mut self.held);
        all.extend_from_slice(bytes);
        let unfinished = match std::str::from_utf8(&all) {
            Err(error) if error.error_len().is_none() => all.split_off(error.valid_up_to()),
            _ => Vec::new(),
        };
        self.held = unfinished;
        self.value(all)
    }

    /// What is left when the connection has ended.
    pub(super) fn end(&mut self) -> Option<Value> {
        let left = std::mem::take(&mut self.held);
        (!left.is_empty()).then(|| self.value(left))
    }
}

fn find(bytes: &[u8], what: &[u8]) -> Option<usize> {
    bytes.windows(what.len()).position(|window| window == what)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(kind: Kind, stream: bool, newline: &str, keeps: bool, pieces: &[&[u8]]) -> Vec<String> {
        let how = Cutting { kind, stream, newline: newline.into(), keeps_newline: keeps };
        let mut reading = Reading::new(how);
        let mut all: Vec<Value> = pieces.iter().flat_map(|piece| reading.take(piece).unwrap()).collect();
        all.extend(reading.end());
        all.iter().map(Value::to_json).collect()
    }

    #[test]
    fn bytes_are_cut_as_the_node_says() {
        let pieces: &[&[u8]] = &[b"a\nb", b"c\n\xc3", b"\xa9"];
        assert_eq!(texts(Kind::Text, true, "\n", false, pieces), ["\"a\"", "\"bc\"", "\"é\""]);
        assert_eq!(texts(Kind::Text, true, "\n", true, pieces), ["\"a\\n\"", "\"bc\\n\"", "\"é\""]);
        assert_eq!(texts(Kind::Text, true, "", false, pieces), ["\"a\\nb\"", "\"c\\n\"", "\"é\""]);
        assert_eq!(texts(Kind::Text, false, "", false, pieces), ["\"a\\nbc\\né\""]);
        assert_eq!(texts(Kind::Base64, true, "", false, &[b"\x01\x02"]), ["\"AQI=\""]);
        assert_eq!(texts(Kind::Buffer, false, "", false, &[b"\x01", b"\x02"]), [r#"{"type":"Buffer","data":[1,2]}"#]);
    }
}
