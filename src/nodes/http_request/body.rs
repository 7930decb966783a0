//! The payload as body or query string.

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderValue, Method};
use percent_encoding::utf8_percent_encode;

use super::super::http_headers::COMPONENT;
use super::Payload;
use crate::model::{Msg, Object, Value};
use crate::runtime::NodeError;

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
        return Ok(plain(payload).unwrap_or_else(|| payload.to_json().into()));
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

/// A form with files: a value is text, bytes, `{value, options: {filename, contentType}}`, or JSON.
fn multipart(fields: &Object) -> (String, Bytes) {
    let boundary = format!("----probity{}", crate::model::id::hex16());
    let mut body = Vec::new();
    for (name, value) in fields.iter().filter(|(_, v)| !v.is_nullish()) {
        let options = value.get("options");
        let content = match value {
            Value::Object(o) if o.contains_key("value") => o.get("value").cloned().unwrap_or_default(),
            other => other.clone(),
        };
        let content = plain(&content).unwrap_or_else(|| content.to_json().into());
        body.extend(format!("--{boundary}\r\ncontent-disposition: form-data; name=\"{}\"", quoted(name)).bytes());
        if let Some(filename) = Some(options.get("filename")).filter(|f| f.is_truthy()) {
            body.extend(format!("; filename=\"{}\"", quoted(&filename.to_js_string())).bytes());
        }
        if let Some(kind) = Some(options.get("contentType")).filter(|k| k.is_truthy()) {
            let kind = kind.to_js_string().replace(['\r', '\n'], "");
            body.extend(format!("\r\ncontent-type: {kind}").bytes());
        }
        body.extend(b"\r\n\r\n");
        body.extend(&content);
        body.extend(b"\r\n");
    }
    body.extend(format!("--{boundary}--\r\n").bytes());
    (format!("multipart/form-data; boundary={boundary}"), body.into())
}

/// As browsers escape names in forms.
fn quoted(text: &str) -> String {
    text.replace('"', "%22").replace('\r', "%0D").replace('\n', "%0A")
}
