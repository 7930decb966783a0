//! `msg.cookies` to `set-cookie` headers, as Express' `res.cookie` and `res.clearCookie` write them.

use arcstr::ArcStr;
use jiff::Timestamp;
use percent_encoding::utf8_percent_encode;

use super::super::http_headers::COMPONENT;
use crate::model::{Object, Value};
use crate::runtime::NodeError;

/// Appends one header for each cookie. `null` (or a `value` of `null`) clears the cookie.
pub(super) fn set(headers: &mut Vec<(String, String)>, cookies: &Object, now: Timestamp) -> Result<(), NodeError> {
    for (name, cookie) in cookies.iter() {
        let none = Object::new();
        let (value, options, clear) = match cookie {
            Value::Null => (Value::from(""), &none, true),
            Value::Object(o) if o.get("value").is_some_and(Value::is_nullish) => (Value::from(""), &**o, true),
            Value::Object(o) => (o.get("value").cloned().unwrap_or_default(), &**o, false),
            value => (value.clone(), &none, false),
        };
        headers.push(("set-cookie".into(), serialise(name, &value, options, clear, now)?));
    }
    Ok(())
}

fn bad(name: &str, what: &str) -> NodeError {
    NodeError::new(format!("msg.cookies.{name}: {what}"))
}

fn is_token(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b))
}

fn is_attribute(text: &str) -> bool {
    text.bytes().all(|b| (0x20..0x7f).contains(&b) && b != b';')
}

fn serialise(name: &ArcStr, value: &Value, options: &Object, clear: bool, now: Timestamp) -> Result<String, NodeError> {
    if !is_token(name) {
        return Err(bad(name, "is no cookie name"));
    }
    let text = match value {
        Value::Object(_) | Value::Array(_) => format!("j:{}", value.to_json()),
        other => other.to_js_string().to_string(),
    };
    let mut out = format!("{name}=");
    if options.get("encode") == Some(&Value::Bool(false)) {
        if !is_attribute(&text) {
            return Err(bad(name, "its value needs encoding, which `encode: false` forbids"));
        }
        out.push_str(&text);
    } else {
        out.extend(utf8_percent_encode(&text, COMPONENT));
    }
    let mut expires = options.get("expires").cloned().filter(|e| !e.is_nullish());
    if clear && expires.is_none() {
        expires = Some(Value::Date(1.0));
    }
    if let Some(ms) = options.get("maxAge").filter(|m| !m.is_nullish()).map(Value::to_number).filter(|m| m.is_finite())
    {
        out.push_str(&format!("; Max-Age={}", (ms / 1000.0).trunc() as i64));
        expires = Some(Value::Date(now.as_millisecond() as f64 + ms));
    }
    if let Some(domain) = options.get("domain").filter(|d| d.is_truthy()) {
        push_attribute(&mut out, name, "Domain", domain)?;
    }
    match options.get("path").filter(|p| !p.is_nullish()) {
        Some(path) => push_attribute(&mut out, name, "Path", path)?,
        None => out.push_str("; Path=/"),
    }
    if let Some(expires) = expires {
        out.push_str("; Expires=");
        out.push_str(&http_date(&expires).ok_or_else(|| bad(name, "expires is no date"))?);
    }
    for (option, attribute) in [("httpOnly", "HttpOnly"), ("secure", "Secure"), ("partitioned", "Partitioned")] {
        if options.get(option).is_some_and(Value::is_truthy) {
            out.push_str("; ");
            out.push_str(attribute);
        }
    }
    if let Some(priority) = options.get("priority").filter(|p| p.is_truthy()) {
        let word = one_of(priority, &["Low", "Medium", "High"]);
        out.push_str(&format!("; Priority={}", word.ok_or_else(|| bad(name, "priority is low, medium or high"))?));
    }
    if let Some(same_site) = options.get("sameSite").filter(|s| s.is_truthy()) {
        let word = match same_site {
            Value::Bool(true) => Some("Strict"),
            other => one_of(other, &["Lax", "Strict", "None"]),
        };
        out.push_str(&format!("; SameSite={}", word.ok_or_else(|| bad(name, "sameSite is lax, strict or none"))?));
    }
    if options.get("signed").is_some_and(Value::is_truthy) {
        return Err(bad(name, "signed cookies need a secret, which there is none of"));
    }
    Ok(out)
}

fn push_attribute(out: &mut String, name: &str, attribute: &str, value: &Value) -> Result<(), NodeError> {
    let text = value.to_js_string();
    if !is_attribute(&text) {
        return Err(bad(name, &format!("{} is invalid", attribute.to_lowercase())));
    }
    out.push_str(&format!("; {attribute}={text}"));
    Ok(())
}

fn one_of(value: &Value, words: &[&'static str]) -> Option<&'static str> {
    let text = value.to_js_string();
    words.iter().copied().find(|w| w.eq_ignore_ascii_case(&text))
}

/// `Thu, 01 Jan 1970 00:00:00 GMT` from a date, milliseconds, or ISO 8601 text.
fn http_date(value: &Value) -> Option<String> {
    let instant = match value {
        Value::Date(ms) | Value::Number(ms) if ms.is_finite() => Timestamp::from_millisecond(*ms as i64).ok()?,
        Value::String(text) => text.parse().ok()?,
        _ => return None,
    };
    Some(instant.strftime("%a, %d %b %Y %H:%M:%S GMT").to_string())
}
