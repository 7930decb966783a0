//! Texts to bytes and back: the encodings of Node.js's Buffer, TextEncoder and TextDecoder.

use base64::Engine as _;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig, general_purpose};
use rquickjs::{Ctx, Result, Value};

use crate::{call, raw};

const LENIENT: GeneralPurposeConfig = GeneralPurposeConfig::new()
    .with_decode_padding_mode(DecodePaddingMode::Indifferent)
    .with_decode_allow_trailing_bits(true);
const BASE64: GeneralPurpose = GeneralPurpose::new(&alphabet::STANDARD, LENIENT);

/// The bytes of a text in an encoding, as a Uint8Array.
pub fn encode<'js>(ctx: Ctx<'js>, text: Value<'js>, encoding: String) -> Result<Value<'js>> {
    let text = raw::text(&text)?;
    let bytes = match encoding.as_str() {
        "utf8" => text.into_bytes(),
        "latin1" => text.encode_utf16().map(|u| u as u8).collect(),
        "utf16le" => text.encode_utf16().flat_map(u16::to_le_bytes).collect(),
        "hex" => from_hex(&text),
        "base64" => from_base64(&text),
        _ => return Err(call::throw_type(&ctx, &format!("Unknown encoding: {encoding}"))),
    };
    raw::uint8_array(&ctx, &bytes)
}

/// The text of bytes in an encoding.
pub fn decode<'js>(ctx: Ctx<'js>, bytes: Value<'js>, encoding: String) -> Result<Value<'js>> {
    let bytes = raw::bytes(&bytes).unwrap_or_default();
    let text = match encoding.as_str() {
        "utf8" => String::from_utf8_lossy(&bytes).into_owned(),
        "utf8-fatal" => match String::from_utf8(bytes) {
            Ok(text) => text,
            Err(e) => return Err(call::throw_type(&ctx, &format!("The bytes are not UTF-8: {}", e.utf8_error()))),
        },
        "latin1" => bytes.iter().map(|b| char::from(*b)).collect(),
        "ascii" => bytes.iter().map(|b| char::from(b & 0x7f)).collect(),
        "utf16le" => {
            let units = bytes.chunks_exact(2).map(|p| u16::from_le_bytes([p[0], p[1]]));
            char::decode_utf16(units).map(|c| c.unwrap_or(char::REPLACEMENT_CHARACTER)).collect()
        }
        "hex" => hex::encode(&bytes),
        "base64" => general_purpose::STANDARD.encode(&bytes),
        "base64url" => general_purpose::URL_SAFE_NO_PAD.encode(&bytes),
        _ => return Err(call::throw_type(&ctx, &format!("Unknown encoding: {encoding}"))),
    };
    raw::string(&ctx, &text)
}

/// As Node.js does: up to the first pair that is not hexadecimal.
fn from_hex(text: &str) -> Vec<u8> {
    let digit = |b: u8| char::from(b).to_digit(16);
    let pairs = text.as_bytes().chunks_exact(2);
    pairs.map_while(|p| Some((digit(p[0])? * 16 + digit(p[1])?) as u8)).collect()
}

/// As Node.js does: both alphabets, padding or not, everything else skipped, up to the first `=`.
fn from_base64(text: &str) -> Vec<u8> {
    let wanted = text.bytes().take_while(|b| *b != b'=').filter_map(|b| match b {
        b'-' => Some(b'+'),
        b'_' => Some(b'/'),
        b if b.is_ascii_alphanumeric() || b == b'+' || b == b'/' => Some(b),
        _ => None,
    });
    let mut digits: Vec<u8> = wanted.collect();
    // A single digit left over stands for no byte.
    if digits.len() % 4 == 1 {
        digits.pop();
    }
    BASE64.decode(&digits).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hex_and_base64_are_read_as_node_reads_them() {
        assert_eq!(from_hex("00ffZZ11"), [0, 255]);
        assert_eq!(from_hex("abc"), [0xab]);
        assert_eq!(from_base64("aGk="), b"hi");
        assert_eq!(from_base64("a G\nk"), b"hi");
        assert_eq!(from_base64("_-8"), [0xff, 0xef]);
        assert_eq!(from_base64("_-8="), BASE64.decode("/+8=").unwrap());
        assert_eq!(from_base64("aGkx="), b"hi1");
        assert_eq!(from_base64("a"), b"");
    }
}
