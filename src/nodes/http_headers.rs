//! Headers of an HTTP answer on their way through a flow: told apart from headers the flow set itself.
//!
//! `http request` puts the answer's headers into `msg.headers`, where `http response` and the next `http request`
//! look for theirs. It marks them, as Node-RED does; whoever finds them unchanged leaves them alone.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC};

use crate::model::{Object, Value};

/// What JavaScript's `encodeURIComponent` leaves as it is.
pub(super) const COMPONENT: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'_')
    .remove(b'.')
    .remove(b'!')
    .remove(b'~')
    .remove(b'*')
    .remove(b'\'')
    .remove(b'(')
    .remove(b')');

/// The property of `msg.headers` that holds the mark.
pub(super) const MARK: &str = "x-node-red-request-node";

/// Marks the headers of an answer.
pub(super) fn mark(headers: &mut Object) {
    let mark = digest(headers);
    headers.insert(MARK, mark);
}

/// True when these are an answer's headers and no node has changed them since.
pub(super) fn is_untouched(headers: &Object) -> bool {
    headers.get(MARK).and_then(Value::as_str).is_some_and(|mark| mark == digest(headers))
}

/// Eight hex digits that change when a header changes.
fn digest(headers: &Object) -> String {
    let mut lines: Vec<String> =
        headers.iter().filter(|(k, _)| *k != MARK).map(|(k, v)| format!("{k}:{}\n", v.to_json())).collect();
    lines.sort();
    // FNV-1a: a check against accidents, nothing secret.
    let hash = lines.concat().bytes().fold(0x811c_9dc5_u32, |h, b| (h ^ u32::from(b)).wrapping_mul(0x0100_0193));
    format!("{hash:08x}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_changed_header_is_noticed() {
        let mut headers: Object = [("etag", "x"), ("server", "y")].into_iter().collect();
        assert!(!is_untouched(&headers));
        mark(&mut headers);
        assert!(is_untouched(&headers));
        headers.insert("etag", "z");
        assert!(!is_untouched(&headers));
    }
}
