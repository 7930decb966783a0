//! The two ends of an HTTP call as a flow sees them: `msg.req` and `msg.res`.

use std::any::Any;
use std::sync::{Arc, Mutex, OnceLock};

use arcstr::ArcStr;
use bytes::Bytes;
use http::HeaderMap;
use tokio::sync::oneshot;

use crate::model::value::Handle;
use crate::model::{Object, Value};

/// `msg.req`: what the caller sent. Its object is made only when a flow looks into it.
pub struct Request {
    /// Upper-case.
    pub method: ArcStr,
    /// Path and query below `httpNodeRoot`.
    pub url: ArcStr,
    /// Path and query as received, when that is more than `url`.
    pub original_url: Option<ArcStr>,
    pub headers: HeaderMap,
    /// Route parameters in route order.
    pub params: Vec<(ArcStr, ArcStr)>,
    pub body: Value,
    /// What was uploaded, for entries with `upload`; else `Undefined`.
    pub files: Value,
    /// Address of the peer.
    pub ip: ArcStr,
    object: OnceLock<Arc<Object>>,
}

impl Request {
    pub fn new(
        method: impl Into<ArcStr>,
        url: impl Into<ArcStr>,
        headers: HeaderMap,
        params: Vec<(ArcStr, ArcStr)>,
        body: Value,
        ip: impl Into<ArcStr>,
    ) -> Self {
        Request {
            method: method.into(),
            url: url.into(),
            original_url: None,
            headers,
            params,
            body,
            files: Value::Undefined,
            ip: ip.into(),
            object: OnceLock::new(),
        }
    }

    /// The request again from what was kept of it in a durable run; `None` when that is none.
    pub(super) fn from_kept(kept: &Object) -> Option<Request> {
        let text = |name: &str| kept.get(name).and_then(Value::as_str).map(ArcStr::from);
        let pairs = |name: &str| -> Vec<(ArcStr, ArcStr)> {
            let pairs = kept.get(name).and_then(Value::as_array).unwrap_or_default();
            pairs.iter().map(|pair| (pair.get("0").to_js_string(), pair.get("1").to_js_string())).collect()
        };
        let headers = pairs("headers").into_iter().filter_map(|(name, value)| {
            let name = http::HeaderName::from_bytes(name.as_bytes()).ok()?;
            Some((name, http::HeaderValue::from_str(&value).ok()?))
        });
        let body = kept.get("body").cloned().unwrap_or_default();
        let mut all = HeaderMap::new();
        headers.for_each(|(name, value)| {
            all.append(name, value);
        });
        let mut request = Request::new(text("method")?, text("url")?, all, pairs("params"), body, text("ip")?);
        request.original_url = text("originalUrl");
        request.files = kept.get("files").cloned().unwrap_or_default();
        Some(request)
    }

    /// The query string as an object, as Express' extended parser reads it.
    pub fn query(&self) -> Value {
        match self.url.split_once('?') {
            Some((_, query)) => parse_query(query),
            None => Object::new().into(),
        }
    }

    fn to_object(&self) -> Object {
        let path = self.url.split('?').next().unwrap_or_default();
        let mut headers = Object::with_capacity(self.headers.len());
        for name in self.headers.keys() {
            let values: Vec<_> =
                self.headers.get_all(name).iter().map(|v| String::from_utf8_lossy(v.as_bytes())).collect();
            headers.insert(name.as_str(), values.join(if name == http::header::COOKIE { "; " } else { ", " }));
        }
        let cookies = self.headers.get(http::header::COOKIE).and_then(|v| v.to_str().ok()).unwrap_or_default();
        let host = self.headers.get(http::header::HOST).and_then(|v| v.to_str().ok()).unwrap_or_default();
        let address = if host.starts_with('[') { host.find(']').map_or(0, |end| end + 1) } else { 0 };
        let hostname = host[address..].find(':').map_or(host, |colon| &host[..address + colon]);
        let base = self.original_url.as_ref().and_then(|url| url.strip_suffix(self.url.as_str())).unwrap_or_default();
        let by_script =
            self.headers.get("x-requested-with").is_some_and(|v| v.as_bytes().eq_ignore_ascii_case(b"xmlhttprequest"));
        let mut object = Object::with_capacity(18);
        object.insert("method", self.method.clone());
        object.insert("url", self.url.clone());
        object.insert("originalUrl", self.original_url.as_ref().unwrap_or(&self.url).clone());
        object.insert("path", path);
        object.insert("headers", headers);
        object.insert("params", self.params.iter().map(|(k, v)| (k.clone(), v.clone())).collect::<Object>());
        object.insert("query", self.query());
        object.insert("cookies", parse_cookies(cookies));
        // Where none is read it is empty, as in Express.
        let body = if self.body.is_undefined() { Object::new().into() } else { self.body.clone() };
        object.insert("body", body);
        if !self.files.is_undefined() {
            object.insert("files", self.files.clone());
        }
        object.insert("ip", self.ip.clone());
        object.insert("hostname", hostname);
        object.insert("baseUrl", base);
        // What ends encryption stands before this server; Express says the same until it is told to trust it.
        object.insert("protocol", "http");
        object.insert("secure", false);
        object.insert("xhr", by_script);
        object.insert("httpVersion", "1.1");
        object
    }
}

impl Handle for Request {
    fn kind(&self) -> &'static str {
        "request"
    }
    fn object(&self) -> Option<Arc<Object>> {
        Some(self.object.get_or_init(|| Arc::new(self.to_object())).clone())
    }
    fn kept(&self) -> Option<Object> {
        let texts = |pairs: Vec<(&str, &[u8])>| -> Value {
            let text = |of: &[u8]| Value::from(String::from_utf8_lossy(of).into_owned());
            Value::array(pairs.into_iter().map(|(k, v)| Value::array(vec![Value::from(k), text(v)])).collect())
        };
        let mut object = Object::with_capacity(8);
        object.insert("method", self.method.clone());
        object.insert("url", self.url.clone());
        object.insert("originalUrl", self.original_url.clone().map(Value::from).unwrap_or_default());
        object.insert("headers", texts(self.headers.iter().map(|(k, v)| (k.as_str(), v.as_bytes())).collect()));
        object.insert("params", texts(self.params.iter().map(|(k, v)| (k.as_str(), v.as_bytes())).collect()));
        object.insert("body", self.body.clone());
        object.insert("files", self.files.clone());
        object.insert("ip", self.ip.clone());
        Some(object)
    }
    fn as_any(&self) -> &dyn Any {
        self
    }
}

/// What a caller is answered with.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Reply {
    pub status: u16,
    /// In order; names lower-case, repeats allowed (`set-cookie`).
    pub headers: Vec<(String, String)>,
    pub body: Bytes,
}

/// `msg.res`: the way back to the caller. The first answer counts.
pub struct ReplyTo {
    sender: Mutex<Option<oneshot::Sender<Reply>>>,
}

impl ReplyTo {
    pub fn new() -> (ReplyTo, oneshot::Receiver<Reply>) {
        let (sender, receiver) = oneshot::channel();
        (ReplyTo { sender: Mutex::new(Some(sender)) }, receiver)
    }

    /// Answers; false when the caller has been answered before or has gone.
    pub fn send(&self, reply: Reply) -> bool {
        let sender = self.sender.lock().unwrap_or_else(|p| p.into_inner()).take();
        sender.is_some_and(|s| s.send(reply).is_ok())
    }
}

/// The handle in `msg.res`; clones lead to the same caller.
#[derive(Clone)]
pub struct ReplyHandle(pub Arc<ReplyTo>);

impl Handle for ReplyHandle {
    fn kind(&self) -> &'static str {
        "response"
    }
    fn as_any(&self) -> &dyn Any {
        self
    }
}

/// `a=1&b=2` to an object; repeated names give arrays, `a[b]=1` objects, `a[]=1` arrays, at most 5 levels deep
/// and 1000 parameters, as the `qs` parser that Express uses.
pub fn parse_query(query: &str) -> Value {
    let mut root = Object::new();
    for (name, value) in form_urlencoded::parse(query.as_bytes()).take(1_000) {
        let (head, rest) = match name.find('[') {
            Some(at) if at > 0 => (&name[..at], &name[at..]),
            _ => (&*name, ""),
        };
        let keys: Vec<&str> = rest.split('[').skip(1).filter_map(|k| k.strip_suffix(']')).take(5).collect();
        put(root.entry_mut(&ArcStr::from(head)), &keys, Value::from(value.as_ref()));
    }
    root.into()
}

fn put(slot: &mut Value, keys: &[&str], value: Value) {
    match keys.split_first() {
        None => match std::mem::take(slot) {
            Value::Undefined => *slot = value,
            Value::Array(mut items) => {
                Arc::make_mut(&mut items).push(value);
                *slot = Value::Array(items);
            }
            first => *slot = Value::array(vec![first, value]),
        },
        Some((key, rest))
            if key.is_empty() || (key.parse::<usize>().is_ok_and(|n| n <= 20) && !matches!(slot, Value::Object(_))) =>
        {
            if !matches!(slot, Value::Array(_)) {
                *slot = Value::array(if slot.is_undefined() { Vec::new() } else { vec![std::mem::take(slot)] });
            }
            if let Value::Array(items) = slot {
                let items = Arc::make_mut(items);
                items.push(Value::Undefined);
                let last = items.len() - 1;
                put(&mut items[last], rest, value);
            }
        }
        Some((key, rest)) => {
            if !matches!(slot, Value::Object(_)) {
                *slot = Object::new().into();
            }
            if let Value::Object(object) = slot {
                put(Arc::make_mut(object).entry_mut(&ArcStr::from(*key)), rest, value);
            }
        }
    }
}

/// A `Cookie` header to an object; the first of equal names counts, values are percent-decoded.
pub fn parse_cookies(header: &str) -> Object {
    let mut cookies = Object::new();
    for pair in header.split(';') {
        if let Some((name, value)) = pair.split_once('=') {
            let value = value.trim().trim_matches('"');
            let value = percent_encoding::percent_decode_str(value).decode_utf8_lossy();
            if !cookies.contains_key(name.trim()) {
                // As cookie-parser has it: what begins with j: is JSON, if it is.
                let json = value.strip_prefix("j:").and_then(|text| Value::from_json(text).ok());
                cookies.insert(name.trim(), json.unwrap_or_else(|| value.as_ref().into()));
            }
        }
    }
    cookies
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn queries_read_as_express_reads_them() {
        for (query, json) in [
            ("a=1&b=x%20y", r#"{"a":"1","b":"x y"}"#),
            ("a=1&a=2", r#"{"a":["1","2"]}"#),
            ("a[b]=1&a[c]=2", r#"{"a":{"b":"1","c":"2"}}"#),
            ("a[]=1&a[]=2", r#"{"a":["1","2"]}"#),
            ("", "{}"),
        ] {
            assert_eq!(parse_query(query).to_json(), json, "{query}");
        }
    }

    #[test]
    fn cookies_are_decoded() {
        assert_eq!(Value::from(parse_cookies("a=1; b=%20x; a=2")).to_json(), r#"{"a":"1","b":" x"}"#);
    }

    #[test]
    fn the_host_is_told_without_its_port() {
        for (host, hostname) in
            [("a.example:80", "a.example"), ("a.example", "a.example"), ("[::1]", "[::1]"), ("[::1]:80", "[::1]")]
        {
            let headers = HeaderMap::from_iter([(http::header::HOST, host.parse().unwrap())]);
            let request = Request::new("GET", "/", headers, Vec::new(), Value::Undefined, "::1");
            assert_eq!(request.object().unwrap().get("hostname"), Some(&Value::from(hostname)), "{host}");
        }
    }
}
