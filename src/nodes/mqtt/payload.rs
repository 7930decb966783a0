//! A message's bytes as the node's `datatype` wants them, as Node-RED's `subscriptionHandler` does.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::model::Value;

/// What the payload of a received message becomes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Datatype {
    /// Text if it is text, else bytes.
    Auto,
    /// As `Auto`, and parsed if it is JSON.
    AutoDetect,
    Text,
    Bytes,
    Base64,
    Json,
}

impl Datatype {
    /// By its name; an unknown one is `auto`, as in Node-RED.
    pub(super) fn of(name: &str) -> Datatype {
        match name {
            "" | "utf8" => Datatype::Text,
            "buffer" => Datatype::Bytes,
            "base64" => Datatype::Base64,
            "json" => Datatype::Json,
            "auto-detect" => Datatype::AutoDetect,
            _ => Datatype::Auto,
        }
    }

    /// The payload; the error is Node-RED's. `is_text` and `content_type` are what MQTT 5 says of it.
    pub(super) fn read(self, bytes: &[u8], is_text: bool, content_type: Option<&str>) -> Result<Value, &'static str> {
        let raw = || Value::Bytes(bytes.to_vec().into());
        let text = || String::from_utf8_lossy(bytes).into_owned();
        let utf8 = is_text || std::str::from_utf8(bytes).is_ok();
        match self {
            Datatype::Bytes => Ok(raw()),
            Datatype::Base64 => Ok(STANDARD.encode(bytes).into()),
            Datatype::Text => Ok(text().into()),
            Datatype::Json if !utf8 => Err("Invalid JSON string"),
            Datatype::Json => Value::from_json(&text()).map_err(|_| "Failed to parse JSON string"),
            Datatype::Auto | Datatype::AutoDetect => {
                match content_type.map(str::to_ascii_lowercase).as_deref().and_then(known) {
                    Some(Known::Text) => Ok(text().into()),
                    Some(Known::Bytes) => Ok(raw()),
                    // What calls itself JSON must be JSON.
                    Some(Known::Json) => match Value::from_json(&text()) {
                        Ok(parsed) if self == Datatype::AutoDetect => Ok(parsed),
                        Ok(_) => Ok(text().into()),
                        Err(_) => Err("Failed to parse JSON string"),
                    },
                    None if !utf8 => Ok(raw()),
                    None if self == Datatype::AutoDetect => {
                        Ok(Value::from_json(&text()).unwrap_or_else(|_| text().into()))
                    }
                    None => Ok(text().into()),
                }
            }
        }
    }
}

enum Known {
    Text,
    Json,
    Bytes,
}

/// Media types that Node-RED knows.
fn known(media_type: &str) -> Option<Known> {
    Some(match media_type {
        "text/css" | "text/html" | "text/plain" | "application/xml" => Known::Text,
        "application/json" => Known::Json,
        "application/octet-stream"
        | "application/pdf"
        | "application/x-gtar"
        | "application/x-gzip"
        | "application/x-tar"
        | "application/zip"
        | "audio/aac"
        | "audio/ac3"
        | "audio/basic"
        | "audio/mp4"
        | "audio/ogg"
        | "image/bmp"
        | "image/gif"
        | "image/jpeg"
        | "image/tiff"
        | "image/png" => Known::Bytes,
        _ => return None,
    })
}

/// The bytes of `msg.payload` or of a configured message.
pub(super) fn write(payload: &Value) -> Vec<u8> {
    match payload {
        Value::Undefined | Value::Null => Vec::new(),
        Value::Bytes(bytes) => bytes.to_vec(),
        Value::Object(_) | Value::Array(_) | Value::Date(_) | Value::Error(_) => payload.to_json().into_bytes(),
        other => other.to_js_string().as_bytes().to_vec(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn payloads_become_what_is_asked_for() {
        for (datatype, bytes, content_type, expected) in [
            ("utf8", &b"[1]"[..], None, r#""[1]""#),
            ("json", b"[1]", None, "[1]"),
            ("base64", b"\xff", None, r#""/w==""#),
            ("buffer", b"a", None, r#"{"type":"Buffer","data":[97]}"#),
            ("auto", b"[1]", None, r#""[1]""#),
            ("auto", b"\xff", None, r#"{"type":"Buffer","data":[255]}"#),
            ("auto-detect", b"[1]", None, "[1]"),
            ("auto-detect", b"no json", None, r#""no json""#),
            ("auto-detect", b"[1]", Some("application/json"), "[1]"),
            ("auto", b"[1]", Some("Application/JSON"), r#""[1]""#),
            ("auto-detect", b"[1]", Some("application/pdf"), r#"{"type":"Buffer","data":[91,49,93]}"#),
            ("auto-detect", b"1", Some("text/plain"), r#""1""#),
        ] {
            let read = Datatype::of(datatype).read(bytes, false, content_type).unwrap();
            assert_eq!(read.to_json(), expected, "{datatype} {content_type:?}");
        }
        assert_eq!(Datatype::Json.read(b"\xff", false, None), Err("Invalid JSON string"));
        assert_eq!(Datatype::Json.read(b"{", false, None), Err("Failed to parse JSON string"));
        assert_eq!(
            Datatype::AutoDetect.read(b"{", false, Some("application/json")),
            Err("Failed to parse JSON string")
        );
    }
}
