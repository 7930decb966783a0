//! Bytes as text, in the character set that is named or can be told.

use std::borrow::Cow;

use encoding_rs::{Encoding, UTF_8, WINDOWS_1252};

use crate::Unreadable;

/// The text of the bytes. A byte order mark says the set; else `label` (for example the `charset` of a Content-Type);
/// else it is UTF-8 if it can be, or windows-1252, of which Latin-1 is a part.
pub fn decode<'b>(bytes: &'b [u8], label: Option<&str>) -> Result<Cow<'b, str>, Unreadable> {
    if let Some((encoding, mark)) = Encoding::for_bom(bytes) {
        return strict(encoding, &bytes[mark..]);
    }
    if let Some(label) = label {
        let encoding = Encoding::for_label(label.trim().trim_matches('"').as_bytes());
        return strict(
            encoding.ok_or_else(|| Unreadable::new(format!("the character set {label} is not known")))?,
            bytes,
        );
    }
    match std::str::from_utf8(bytes) {
        Ok(text) => Ok(Cow::Borrowed(text)),
        Err(_) => strict(WINDOWS_1252, bytes),
    }
}

fn strict<'b>(encoding: &'static Encoding, bytes: &'b [u8]) -> Result<Cow<'b, str>, Unreadable> {
    let found = encoding.decode_without_bom_handling_and_without_replacement(bytes);
    found.ok_or_else(|| Unreadable::new(format!("it is not the {} it is said to be", encoding.name())))
}

/// The `charset` of a Content-Type.
pub fn of_content_type(content_type: &str) -> Option<&str> {
    let parameters = content_type.split(';').skip(1).filter_map(|parameter| parameter.split_once('='));
    let mut charsets = parameters.filter(|(name, _)| name.trim().eq_ignore_ascii_case("charset"));
    charsets.next().map(|(_, value)| value.trim().trim_matches('"')).filter(|value| !value.is_empty())
}

/// The set an XML declaration names.
pub fn of_xml(bytes: &[u8]) -> Option<String> {
    let head = String::from_utf8_lossy(&bytes[..bytes.len().min(200)]).into_owned();
    let declaration = head.trim_start().strip_prefix("<?xml")?.split("?>").next()?.to_owned();
    let after = declaration.split_once("encoding")?.1.trim_start().strip_prefix('=')?.trim_start();
    let quote = after.chars().next().filter(|c| matches!(c, '"' | '\''))?;
    after[1..].split(quote).next().map(str::to_owned).filter(|name| !name.eq_ignore_ascii_case(UTF_8.name()))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn sets_are_named_marked_or_told() {
        assert_eq!(decode("Größe".as_bytes(), None).unwrap(), "Größe");
        assert_eq!(decode(b"Gr\xf6\xdfe \x80", None).unwrap(), "Größe €");
        assert_eq!(decode(b"Gr\xf6\xdfe", Some("ISO-8859-1")).unwrap(), "Größe");
        assert_eq!(decode(b"\xef\xbb\xbfx", Some("latin1")).unwrap(), "x");
        assert_eq!(decode(b"\xff\xfeG\0", None).unwrap(), "G");
        assert!(decode(b"Gr\xf6", Some("utf-8")).unwrap_err().0.contains("UTF-8"));
        assert!(decode(b"x", Some("klingon")).is_err());
        assert_eq!(of_content_type("text/plain; a=b; Charset=\"utf-8\""), Some("utf-8"));
        assert_eq!(of_content_type("text/plain"), None);
        assert_eq!(of_xml(b"<?xml version=\"1.0\" encoding='ISO-8859-1'?><log/>").as_deref(), Some("ISO-8859-1"));
        assert_eq!(of_xml(b"<log encoding=\"x\"/>"), None);
    }
}
