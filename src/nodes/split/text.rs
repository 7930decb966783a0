//! Cutting strings and buffers as JavaScript does.

/// Length in UTF-16 units, which is what JavaScript counts.
pub(super) fn units(text: &str) -> usize {
    if text.is_ascii() { text.len() } else { text.encode_utf16().count() }
}

/// Pieces of `len` UTF-16 units; one empty piece of an empty text. A pair cut in two gives replacement characters.
pub(super) fn every(text: &str, len: usize) -> Vec<String> {
    if text.is_empty() {
        return vec![String::new()];
    }
    if text.is_ascii() {
        return text.as_bytes().chunks(len).map(|c| String::from_utf8_lossy(c).into_owned()).collect();
    }
    let units: Vec<u16> = text.encode_utf16().collect();
    units.chunks(len).map(String::from_utf16_lossy).collect()
}

/// `String.prototype.split` with a text.
pub(super) fn at(text: &str, separator: &str) -> Vec<String> {
    if separator.is_empty() {
        return text.chars().map(String::from).collect();
    }
    text.split(separator).map(String::from).collect()
}

/// The bytes between separators.
pub(super) fn bytes_at(bytes: &[u8], separator: &[u8]) -> Vec<Vec<u8>> {
    if separator.is_empty() {
        return bytes.iter().map(|b| vec![*b]).collect();
    }
    let mut pieces = Vec::new();
    let (mut start, mut at) = (0, 0);
    while at + separator.len() <= bytes.len() {
        if bytes[at..].starts_with(separator) {
            pieces.push(bytes[start..at].to_vec());
            at += separator.len();
            start = at;
        } else {
            at += 1;
        }
    }
    pieces.push(bytes[start..].to_vec());
    pieces
}
