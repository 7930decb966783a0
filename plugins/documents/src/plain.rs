//! Plain text in the usual encodings.

use crate::Problem;

/// The bytes as text. Whatever is not UTF-8 or marked as UTF-16 is read as Windows-1252, unless it holds bytes that no
/// text has.
pub fn text(bytes: &[u8]) -> Result<String, Problem> {
    let units = |one: fn([u8; 2]) -> u16, rest: &[u8]| {
        let units: Vec<u16> = rest.chunks_exact(2).map(|pair| one([pair[0], pair[1]])).collect();
        String::from_utf16(&units).map_err(|_| Problem::Unknown)
    };
    match bytes {
        [0xFE, 0xFF, rest @ ..] => return units(u16::from_be_bytes, rest),
        [0xFF, 0xFE, rest @ ..] => return units(u16::from_le_bytes, rest),
        _ => {}
    }
    let bytes = bytes.strip_prefix(&[0xEF, 0xBB, 0xBF]).unwrap_or(bytes);
    if bytes.iter().any(|byte| matches!(byte, 0..=8 | 14..=26 | 28..=31)) {
        return Err(Problem::Unknown);
    }
    match std::str::from_utf8(bytes) {
        Ok(text) => Ok(text.to_owned()),
        Err(_) => Ok(bytes.iter().map(|byte| windows_1252(*byte)).collect()),
    }
}

/// What differs from Latin 1: https://encoding.spec.whatwg.org/index-windows-1252.txt
fn windows_1252(byte: u8) -> char {
    const HIGH: [char; 32] = [
        '€', '\u{81}', '‚', 'ƒ', '„', '…', '†', '‡', 'ˆ', '‰', 'Š', '‹', 'Œ', '\u{8d}', 'Ž', '\u{8f}', '\u{90}', '‘',
        '’', '“', '”', '•', '–', '—', '˜', '™', 'š', '›', 'œ', '\u{9d}', 'ž', 'Ÿ',
    ];
    match byte {
        0x80..=0x9f => HIGH[usize::from(byte - 0x80)],
        other => char::from(other),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn usual_encodings_are_read() {
        assert_eq!(text(b"").unwrap(), "");
        assert_eq!(text("Sección 1 – ü".as_bytes()).unwrap(), "Sección 1 – ü");
        assert_eq!(text(b"\xEF\xBB\xBFa").unwrap(), "a");
        assert_eq!(text(b"\xFF\xFEa\0\xFC\0").unwrap(), "aü");
        assert_eq!(text(b"\xFE\xFF\0a\0\xFC").unwrap(), "aü");
        assert_eq!(text(b"Secci\xF3n 1 \x96 \x80").unwrap(), "Sección 1 – €");
    }

    #[test]
    fn bytes_of_no_text_are_refused() {
        assert_eq!(text(b"PK\x03\x04"), Err(Problem::Unknown));
        assert_eq!(text(b"\x89PNG\r\n\x1a\n\0"), Err(Problem::Unknown));
        assert_eq!(text(b"\xFF\xFE\0\xD8"), Err(Problem::Unknown));
    }
}
