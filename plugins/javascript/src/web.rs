//! What `URL`, `URLSearchParams` and `fetch` rest on.

use rquickjs::{Array, Ctx, Object, Result, Value};
use url::{Position, Url, form_urlencoded};

use crate::call::{self, Capability};
use crate::host::{Request, host};
use crate::raw;

/// The parts of an address as `[href, protocol, username, password, hostname, port, pathname, search, hash, origin]`;
/// null if it is none.
pub fn parse<'js>(ctx: Ctx<'js>, text: Value<'js>, base: Value<'js>) -> Result<Option<Array<'js>>> {
    let text = raw::text(&text)?;
    let base = if base.is_undefined() { None } else { Some(raw::text(&base)?) };
    let base = match base.as_deref().map(Url::parse) {
        Some(Err(_)) => return Ok(None),
        Some(Ok(base)) => Some(base),
        None => None,
    };
    let parsed = Url::options().base_url(base.as_ref()).parse(&text);
    parsed.ok().map(|url| parts(&ctx, &url)).transpose()
}

/// The parts after one of them was set; unchanged if the value does not fit, as the URL standard says.
pub fn set<'js>(ctx: Ctx<'js>, href: String, part: String, value: Value<'js>) -> Result<Option<Array<'js>>> {
    let value = raw::text(&value)?;
    let Ok(mut url) = Url::parse(&href) else { return Ok(None) };
    let (host, port) = match value.rsplit_once(':') {
        Some((host, port)) if part == "host" && !value.ends_with(']') => (host, Some(port)),
        _ => (value.as_str(), None),
    };
    // What does not fit leaves the address as it is.
    let _ = match part.as_str() {
        "protocol" => url.set_scheme(value.trim_end_matches(':')),
        "username" => url.set_username(&value),
        "password" => url.set_password(Some(&value).filter(|v| !v.is_empty()).map(String::as_str)),
        "host" | "hostname" => url.set_host(Some(host)).map_err(drop),
        "port" => set_port(&mut url, &value),
        "pathname" => {
            url.set_path(&value);
            Ok(())
        }
        "search" => {
            url.set_query(Some(value.strip_prefix('?').unwrap_or(&value)).filter(|q| !q.is_empty()));
            Ok(())
        }
        "hash" => {
            url.set_fragment(Some(value.strip_prefix('#').unwrap_or(&value)).filter(|f| !f.is_empty()));
            Ok(())
        }
        _ => Err(()),
    };
    if let Some(port) = port {
        let _ = set_port(&mut url, port);
    }
    parts(&ctx, &url).map(Some)
}

fn set_port(url: &mut Url, text: &str) -> std::result::Result<(), ()> {
    let port = if text.is_empty() { None } else { Some(text.parse().map_err(drop)?) };
    url.set_port(port)
}

fn parts<'js>(ctx: &Ctx<'js>, url: &Url) -> Result<Array<'js>> {
    // A lone `?` or `#` is no search and no hash.
    let mark = |text: &str| if text.len() > 1 { text.to_owned() } else { String::new() };
    let list = [
        url.as_str().to_owned(),
        format!("{}:", url.scheme()),
        url.username().to_owned(),
        url.password().unwrap_or_default().to_owned(),
        url.host_str().unwrap_or_default().to_owned(),
        url.port().map(|p| p.to_string()).unwrap_or_default(),
        url.path().to_owned(),
        mark(&url[Position::AfterPath..Position::AfterQuery]),
        mark(&url[Position::AfterQuery..]),
        url.origin().ascii_serialization(),
    ];
    let array = Array::new(ctx.clone())?;
    for (i, part) in list.iter().enumerate() {
        array.set(i, part.as_str())?;
    }
    Ok(array)
}

/// `a=1&b=2` as `[a, 1, b, 2]`.
pub fn form_parse<'js>(ctx: Ctx<'js>, text: Value<'js>) -> Result<Array<'js>> {
    let text = raw::text(&text)?;
    let array = Array::new(ctx)?;
    for (i, (name, value)) in form_urlencoded::parse(text.as_bytes()).enumerate() {
        array.set(2 * i, &*name)?;
        array.set(2 * i + 1, &*value)?;
    }
    Ok(array)
}

/// `[a, 1, b, 2]` as `a=1&b=2`.
pub fn form_write(list: Vec<String>) -> String {
    let mut out = form_urlencoded::Serializer::new(String::new());
    for pair in list.chunks_exact(2) {
        out.append_pair(&pair[0], &pair[1]);
    }
    out.finish()
}

/// Sends a request, and waits. `headers` is `[name, value, …]`; the answer `{status, headers, body}`.
pub fn send<'js>(
    ctx: Ctx<'js>,
    method: String,
    url: Value<'js>,
    headers: Vec<String>,
    body: Value<'js>,
    timeout_ms: Option<f64>,
) -> Result<Object<'js>> {
    call::need(&ctx, "fetch()", Capability::Http)?;
    let body = match raw::bytes(&body) {
        Some(bytes) => bytes,
        None if body.is_undefined() || body.is_null() => Vec::new(),
        None => raw::text(&body)?.into_bytes(),
    };
    let headers = headers.chunks_exact(2).map(|p| (p[0].clone(), p[1].clone())).collect();
    let timeout_ms = timeout_ms.map(|t| t.clamp(1.0, f64::from(u32::MAX)) as u32);
    let request = Request { method, url: raw::text(&url)?, headers, body, timeout_ms };
    let response = call::host_result(&ctx, host().send(&request))?;
    let headers = Array::new(ctx.clone())?;
    for (i, (name, value)) in response.headers.iter().enumerate() {
        headers.set(2 * i, name.as_str())?;
        headers.set(2 * i + 1, value.as_str())?;
    }
    let answer = Object::new(ctx.clone())?;
    answer.set("status", response.status)?;
    answer.set("headers", headers)?;
    answer.set("body", raw::uint8_array(&ctx, &response.body)?)?;
    Ok(answer)
}
