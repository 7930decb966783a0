//! Text to bytes and back in the encodings that file nodes offer, by the names `iconv-lite` knows.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use encoding_rs::{CoderResult, Decoder, Encoding, UTF_8, UTF_16BE, UTF_16LE};

/// How bytes stand for text.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum TextEncoding {
    Utf8,
    /// One byte a character, the first 256 of Unicode; `ascii` keeps seven bits when it reads.
    Latin1 {
        seven_bits: bool,
    },
    /// Written with its byte order mark if `mark`; read by the mark when there is one.
    Utf16 {
        big: bool,
        mark: bool,
    },
    Base64,
    Hex,
    /// One of the Encoding Standard's.
    Of(&'static Encoding),
}

impl TextEncoding {
    /// By its name, in any case; `none` and "" are UTF-8. `None` for names that are not known.
    pub(super) fn of(name: &str) -> Option<TextEncoding> {
        let name = name.trim().to_ascii_lowercase();
        Some(match name.replace(['-', '_', ' '], "").as_str() {
            "" | "none" | "utf8" | "unicode11utf8" => TextEncoding::Utf8,
            "ascii" => TextEncoding::Latin1 { seven_bits: true },
            "binary" | "latin1" | "iso88591" => TextEncoding::Latin1 { seven_bits: false },
            "ucs2" | "utf16le" => TextEncoding::Utf16 { big: false, mark: false },
            "utf16be" => TextEncoding::Utf16 { big: true, mark: false },
            "utf16" => TextEncoding::Utf16 { big: false, mark: true },
            "base64" => TextEncoding::Base64,
            "hex" => TextEncoding::Hex,
            squeezed => {
                let windows = squeezed.strip_prefix("win").or_else(|| squeezed.strip_prefix("cp"));
                let windows = windows.filter(|n| n.starts_with("125") || *n == "874");
                let label = match windows {
                    Some(number) => format!("windows-{number}"),
                    None => name.clone(),
                };
                let found = Encoding::for_label(label.as_bytes());
                let found = found.or_else(|| Encoding::for_label(squeezed.as_bytes()))?;
                // The standard's stand-in for encodings that are unsafe in pages.
                if found == encoding_rs::REPLACEMENT {
                    return None;
                }
                TextEncoding::Of(found)
            }
        })
    }

    pub(super) fn encode(self, text: &str) -> Vec<u8> {
        match self {
            TextEncoding::Utf8 => text.as_bytes().to_vec(),
            // `iconv-lite` writes a question mark for what an encoding does not have.
            TextEncoding::Latin1 { seven_bits: true } => {
                text.chars().map(|c| if c.is_ascii() { c as u8 } else { b'?' }).collect()
            }
            TextEncoding::Latin1 { .. } => text.chars().map(|c| u8::try_from(u32::from(c)).unwrap_or(b'?')).collect(),
            TextEncoding::Utf16 { big, mark } => {
                let units = mark.then_some(0xfeff).into_iter().chain(text.encode_utf16());
                units.flat_map(|unit| if big { unit.to_be_bytes() } else { unit.to_le_bytes() }).collect()
            }
            TextEncoding::Base64 => STANDARD.decode(text.trim()).unwrap_or_default(),
            TextEncoding::Hex => hex::decode(text.trim()).unwrap_or_default(),
            TextEncoding::Of(encoding) => encode(encoding, text),
        }
    }

    pub(super) fn decode(self, bytes: &[u8]) -> String {
        let mut reader = self.reader();
        let mut text = String::new();
        reader.read(bytes, true, &mut text);
        text
    }

    /// Reads text that comes in pieces.
    pub(super) fn reader(self) -> TextReader {
        let decoder = match self {
            TextEncoding::Utf8 => Some(UTF_8.new_decoder_without_bom_handling()),
            TextEncoding::Utf16 { mark: true, .. } => Some(UTF_16LE.new_decoder()),
            TextEncoding::Utf16 { big: true, .. } => Some(UTF_16BE.new_decoder_with_bom_removal()),
            TextEncoding::Utf16 { .. } => Some(UTF_16LE.new_decoder_with_bom_removal()),
            TextEncoding::Of(encoding) => Some(encoding.new_decoder_with_bom_removal()),
            _ => None,
        };
        TextReader { encoding: self, decoder, rest: Vec::new() }
    }
}

/// Text out of pieces of bytes, whose ends may fall into a character.
pub(super) struct TextReader {
    encoding: TextEncoding,
    decoder: Option<Decoder>,
    /// For base64: bytes that wait for the next ones.
    rest: Vec<u8>,
}

impl TextReader {
    pub(super) fn read(&mut self, bytes: &[u8], last: bool, text: &mut String) {
        if let Some(decoder) = &mut self.decoder {
            let mut from = 0;
            loop {
                text.reserve(decoder.max_utf8_buffer_length(bytes.len() - from).unwrap_or(bytes.len() + 16));
                let (result, read, _) = decoder.decode_to_string(&bytes[from..], text, last);
                from += read;
                if result == CoderResult::InputEmpty {
                    return;
                }
            }
        }
        match self.encoding {
            TextEncoding::Latin1 { seven_bits } => {
                text.extend(bytes.iter().map(|b| char::from(if seven_bits { b & 0x7f } else { *b })));
            }
            TextEncoding::Hex => text.push_str(&hex::encode(bytes)),
            _ => {
                self.rest.extend_from_slice(bytes);
                let whole = if last { self.rest.len() } else { self.rest.len() / 3 * 3 };
                text.push_str(&STANDARD.encode(&self.rest[..whole]));
                self.rest.drain(..whole);
            }
        }
    }
}

fn encode(encoding: &'static Encoding, text: &str) -> Vec<u8> {
    let mut encoder = encoding.new_encoder();
    let mut out = Vec::new();
    let mut rest = text;
    loop {
        let room = encoder.max_buffer_length_from_utf8_without_replacement(rest.len()).unwrap_or(rest.len() * 4 + 16);
        out.reserve(room);
        let (result, read) = encoder.encode_from_utf8_to_vec_without_replacement(rest, &mut out, true);
        rest = &rest[read..];
        match result {
            encoding_rs::EncoderResult::InputEmpty => return out,
            encoding_rs::EncoderResult::OutputFull => {}
            encoding_rs::EncoderResult::Unmappable(_) => out.push(b'?'),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn encodings_go_both_ways() {
        for (name, text, bytes) in [
            ("none", "é", &b"\xc3\xa9"[..]),
            ("utf8", "é", b"\xc3\xa9"),
            ("latin1", "é", b"\xe9"),
            ("binary", "\u{80}", b"\x80"),
            ("win1252", "€", b"\x80"),
            ("windows-1251", "Я", b"\xdf"),
            ("iso-8859-15", "€", b"\xa4"),
            ("utf16le", "é", b"\xe9\x00"),
            ("ucs2", "é", b"\xe9\x00"),
            ("utf-16be", "é", b"\x00\xe9"),
            ("utf-16", "é", b"\xff\xfe\xe9\x00"),
            ("Shift_JIS", "あ", b"\x82\xa0"),
            ("koi8-r", "я", b"\xd1"),
            ("base64", "AQI=", b"\x01\x02"),
            ("hex", "0aff", b"\x0a\xff"),
        ] {
            let encoding = TextEncoding::of(name).unwrap();
            assert_eq!(encoding.encode(text), bytes, "{name}");
            assert_eq!(encoding.decode(bytes), text, "{name}");
            // In pieces of one byte.
            let (mut reader, mut out) = (encoding.reader(), String::new());
            for (at, byte) in bytes.iter().enumerate() {
                reader.read(&[*byte], at + 1 == bytes.len(), &mut out);
            }
            assert_eq!(out, text, "{name}");
        }
        assert_eq!(TextEncoding::of("latin1").unwrap().encode("€"), b"?");
        assert_eq!(TextEncoding::of("win1251").unwrap().encode("日"), b"?");
        assert_eq!(TextEncoding::of("cp437"), None);
    }
}
