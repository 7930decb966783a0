//! The payload as body or query string.

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderValue, Method};
use percent_encoding::utf8_percent_encode;

use super::super::http_headers::COMPONENT;
use super::Payload;
use crate::model::{Msg, Object, Value};
use crate::runtime::NodeError;

/// What bytes are of which nothing is known.
const OCTETS: &str = "application/octet-stream";

/// The body of a call; says its content type when that follows from the payload.
pub(super) fn of(
    payload_of_get: Payload,
    method: &Method,
    msg: &Msg,
    headers: &mut HeaderMap,
) -> Result<Bytes, NodeError> {
    let Some(payload) = msg.get("payload").filter(|p| !p.is_undefined()) else { return Ok(Bytes::new()) };
    if method == Method::GET || method == Method::HEAD {
        if method == Method::HEAD || payload_of_get != Payload::Body {
            return Ok(Bytes::new());
        }
        return Ok(match payload {
            Value::Bool(_) => Bytes::new(),
            payload => plain(payload).unwrap_or_else(|| payload.to_json().into()),
        });
    }
    let content_type = headers.get(CONTENT_TYPE).map(|v| String::from_utf8_lossy(v.as_bytes()).into_owned());
    if content_type.as_deref() == Some("multipart/form-data")
        && let Value::Object(fields) = payload
    {
        let (content_type, body) = multipart(fields);
        let content_type = HeaderValue::from_str(&content_type).map_err(|e| NodeError::new(e.to_string()))?;
        headers.insert(CONTENT_TYPE, content_type);
        return Ok(body);
    }
    if let Some(body) = plain(payload) {
        return Ok(body);
    }
    if content_type.as_deref() == Some("application/x-www-form-urlencoded") {
        return Ok(query(payload).unwrap_or_default().into());
    }
    if content_type.is_none() {
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    }
    Ok(payload.to_json().into())
}

/// Text, bytes and numbers go as they are.
fn plain(payload: &Value) -> Option<Bytes> {
    match payload {
        Value::String(text) => Some(Bytes::copy_from_slice(text.as_bytes())),
        Value::Bytes(bytes) => Some(Bytes::copy_from_slice(bytes)),
        Value::Number(_) => Some(payload.to_js_string().as_str().to_owned().into()),
        _ => None,
    }
}

/// Node.js' `querystring.stringify`: lists repeat their name, what is no text, number or boolean is empty. `None`
/// when the payload is no object.
pub(super) fn query(payload: &Value) -> Option<String> {
    let entries: Vec<(String, Value)> = match payload {
        Value::Object(object) => object.iter().map(|(k, v)| (k.to_string(), v.clone())).collect(),
        Value::Array(items) => items.iter().enumerate().map(|(i, v)| (i.to_string(), v.clone())).collect(),
        Value::Null => Vec::new(),
        _ => return None,
    };
    let mut pairs = Vec::new();
    for (name, value) in &entries {
        let name = utf8_percent_encode(name, COMPONENT);
        let values = value.as_array().unwrap_or(std::slice::from_ref(value));
        for value in values {
            let text = match value {
                Value::String(_) | Value::Number(_) | Value::Bool(_) => value.to_js_string(),
                _ => Default::default(),
            };
            pairs.push(format!("{name}={}", utf8_percent_encode(&text, COMPONENT)));
        }
    }
    Some(pairs.join("&"))
}

/// A form with files: a value is text, bytes, `{value, options}`, or JSON. The options are a file's name, or
/// `{filename, filepath, contentType}`; a type that is not given follows from the name.
fn multipart(fields: &Object) -> (String, Bytes) {
    let boundary = format!("----probity{}", crate::model::id::hex16());
    let mut body = Vec::new();
    for (name, value) in fields.iter().filter(|(_, v)| !v.is_nullish()) {
        let (content, options) = match value {
            Value::Object(o) if o.contains_key("value") => (value.get("value"), value.get("options")),
            other => (other.clone(), Value::Undefined),
        };
        let given =
            |key: &str| Some(options.get(key)).filter(Value::is_truthy).map(|text| text.to_js_string().to_string());
        let path = given("filepath").map(|path| path.replace('\\', "/"));
        let file_name = match &options {
            Value::String(name) if !name.is_empty() => Some(base_name(name).to_string()),
            _ => path.or_else(|| given("filename").map(|name| base_name(&name).to_string())),
        };
        let kind = given("contentType").map(|kind| kind.replace(['\r', '\n'], ""));
        let kind = kind.or_else(|| file_name.as_deref().and_then(type_of_name).map(str::to_string));
        let kind = kind.or_else(|| matches!(content, Value::Bytes(_)).then(|| OCTETS.to_string()));
        let content = plain(&content).unwrap_or_else(|| content.to_json().into());
        body.extend(format!("--{boundary}\r\ncontent-disposition: form-data; name=\"{}\"", quoted(name)).bytes());
        if let Some(file_name) = file_name {
            body.extend(format!("; filename=\"{}\"", quoted(&file_name)).bytes());
        }
        if let Some(kind) = kind {
            body.extend(format!("\r\ncontent-type: {kind}").bytes());
        }
        body.extend(b"\r\n\r\n");
        body.extend(&content);
        body.extend(b"\r\n");
    }
    body.extend(format!("--{boundary}--\r\n").bytes());
    (format!("multipart/form-data; boundary={boundary}"), body.into())
}

fn base_name(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or_default()
}

/// The media type of what people send with such a name.
fn type_of_name(name: &str) -> Option<&'static str> {
    let (_, ending) = name.rsplit_once('.')?;
    Some(match ending.to_ascii_lowercase().as_str() {
        "txt" | "text" | "conf" | "log" | "ini" | "list" => "text/plain",
        "html" | "htm" => "text/html",
        "css" => "text/css",
        "csv" => "text/csv",
        "md" | "markdown" => "text/markdown",
        "ics" => "text/calendar",
        "yaml" | "yml" => "text/yaml",
        "js" | "mjs" => "application/javascript",
        "xml" => "application/xml",
        "json" | "map" => "application/json",
        "pdf" => "application/pdf",
        "zip" => "application/zip",
        "gz" => "application/gzip",
        "tar" => "application/x-tar",
        "7z" => "application/x-7z-compressed",
        "rtf" => "application/rtf",
        "doc" => "application/msword",
        "docx" => "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
        "xls" => "application/vnd.ms-excel",
        "xlsx" => "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
        "ppt" => "application/vnd.ms-powerpoint",
        "pptx" => "application/vnd.openxmlformats-officedocument.presentationml.presentation",
        "odt" => "application/vnd.oasis.opendocument.text",
        "ods" => "application/vnd.oasis.opendocument.spreadsheet",
        "wasm" => "application/wasm",
        "png" => "image/png",
        "jpg" | "jpeg" => "image/jpeg",
        "gif" => "image/gif",
        "svg" => "image/svg+xml",
        "webp" => "image/webp",
        "bmp" => "image/bmp",
        "ico" => "image/vnd.microsoft.icon",
        "tif" | "tiff" => "image/tiff",
        "mp3" => "audio/mpeg",
        "wav" => "audio/wave",
        "ogg" => "audio/ogg",
        "mp4" => "video/mp4",
        "webm" => "video/webm",
        "mpeg" | "mpg" => "video/mpeg",
        "m4a" => "audio/mp4",
        "mov" => "video/quicktime",
        "eml" => "message/rfc822",
        "msg" => "application/vnd.ms-outlook",
        "epub" => "application/epub+zip",
        "pem" | "crt" | "der" => "application/x-x509-ca-cert",
        "sql" => "application/x-sql",
        "toml" => "application/toml",
        "bin" | "dump" | "img" | "so" | "pkg" | "buffer" => OCTETS,
        _ => return None,
    })
}

/// As browsers escape names in forms.
fn quoted(text: &str) -> String {
    text.replace('"', "%22").replace('\r', "%0D").replace('\n', "%0A")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The headers of a form's one part, as `form-data` writes them.
    #[test]
    fn a_part_says_its_name_and_type() {
        for (part, expected) in [
            (r#"{"value":"v","options":"a/b.txt"}"#, r#"; filename="b.txt" text/plain"#),
            (r#"{"value":"v","options":{"filename":"C:\\x.txt"}}"#, r#"; filename="C:\x.txt" text/plain"#),
            (r#"{"value":"v","options":{"filepath":"b\\c.txt"}}"#, r#"; filename="b/c.txt" text/plain"#),
            (r#"{"value":"v","options":{"filename":"x.none"}}"#, r#"; filename="x.none""#),
            (r#"{"value":"v","options":{"filename":"x.BIN"}}"#, r#"; filename="x.BIN" application/octet-stream"#),
            (r#"{"value":"v","options":{"contentType":"a/b"}}"#, " a/b"),
            (r#"{"value":"v","options":""}"#, ""),
            (r#""v""#, ""),
        ] {
            let fields: Object = [("n", Value::from_json(part).unwrap())].into_iter().collect();
            let (_, body) = multipart(&fields);
            let body = String::from_utf8(body.to_vec()).unwrap();
            let (head, _) = body.split_once("\r\n\r\n").unwrap();
            let (_, head) = head.split_once("name=\"n\"").unwrap();
            assert_eq!(head.replace("\r\ncontent-type:", ""), expected, "{part}");
        }
        let fields: Object = [("n", Value::Bytes(vec![1_u8].into()))].into_iter().collect();
        let (_, body) = multipart(&fields);
        assert!(String::from_utf8_lossy(&body).contains("\r\ncontent-type: application/octet-stream\r\n"));
    }
}
