//! HTTP requests through the engine, which holds them to the granted hosts, times and sizes.

use std::time::Duration;

use serde_core::{Serialize, de::DeserializeOwned};

use crate::bindings::probity::plugin::http as wire;
use crate::message::parse;
use crate::{Error, ErrorContext, Result, host};

/// Makes requests; see [`Context::http`](crate::Context::http).
pub struct Http {
    _made_by_the_sdk: (),
}

impl Http {
    pub(crate) fn new() -> Self {
        Self { _made_by_the_sdk: () }
    }

    /// A GET request.
    pub fn get(&self, url: impl Into<String>) -> Request {
        self.request("GET", url)
    }

    /// A POST request.
    pub fn post(&self, url: impl Into<String>) -> Request {
        self.request("POST", url)
    }

    /// A PUT request.
    pub fn put(&self, url: impl Into<String>) -> Request {
        self.request("PUT", url)
    }

    /// A PATCH request.
    pub fn patch(&self, url: impl Into<String>) -> Request {
        self.request("PATCH", url)
    }

    /// A DELETE request.
    pub fn delete(&self, url: impl Into<String>) -> Request {
        self.request("DELETE", url)
    }

    /// A request of any method.
    pub fn request(&self, method: &str, url: impl Into<String>) -> Request {
        let (method, url) = (method.to_owned(), url.into());
        let what = wire::Request { method, url, headers: Vec::new(), body: Vec::new(), timeout_ms: None };
        Request { what, problem: None }
    }
}

/// A request being put together. Mistakes on the way come out of [`send`](Request::send).
#[must_use = "nothing is sent before `send()`"]
pub struct Request {
    what: wire::Request,
    problem: Option<Error>,
}

impl Request {
    /// Adds a header.
    pub fn header(mut self, name: &str, value: impl Into<String>) -> Self {
        self.what.headers.push((name.to_owned(), value.into()));
        self
    }

    /// Adds `authorization: Bearer <token>`; the token is usually a secret's placeholder.
    pub fn bearer(self, token: impl AsRef<str>) -> Self {
        self.header("authorization", format!("Bearer {}", token.as_ref()))
    }

    /// Adds `name=value` to the URL's query, percent-encoded.
    pub fn query(mut self, name: &str, value: impl AsRef<str>) -> Self {
        let fragment = self.what.url.find('#').map(|at| self.what.url.split_off(at));
        self.what.url.push(if self.what.url.contains('?') { '&' } else { '?' });
        push_encoded(&mut self.what.url, name);
        self.what.url.push('=');
        push_encoded(&mut self.what.url, value.as_ref());
        self.what.url.push_str(&fragment.unwrap_or_default());
        self
    }

    /// The body, as JSON, with its content type.
    pub fn json<T: Serialize + ?Sized>(mut self, body: &T) -> Self {
        match serde_json::to_vec(body) {
            Ok(bytes) => self.what.body = bytes,
            Err(error) => self.problem = Some(Error::from(error).context("request body")),
        }
        self.header("content-type", "application/json")
    }

    /// The body, as an HTML form's fields, with its content type.
    pub fn form(mut self, fields: &[(&str, &str)]) -> Self {
        let mut text = String::new();
        for (name, value) in fields {
            if !text.is_empty() {
                text.push('&');
            }
            push_encoded(&mut text, name);
            text.push('=');
            push_encoded(&mut text, value);
        }
        self.what.body = text.into_bytes();
        self.header("content-type", "application/x-www-form-urlencoded")
    }

    /// The body, as it is.
    pub fn body(mut self, body: impl Into<Vec<u8>>) -> Self {
        self.what.body = body.into();
        self
    }

    /// How long the answer may take; the engine's limit holds as well.
    pub fn timeout(mut self, time: Duration) -> Self {
        self.what.timeout_ms = Some(u32::try_from(time.as_millis()).unwrap_or(u32::MAX));
        self
    }

    /// Sends it and waits for the whole answer. Any status is an answer; see [`Response::ok`].
    pub fn send(self) -> Result<Response> {
        match self.problem {
            Some(problem) => Err(problem),
            None => Ok(Response { url: self.what.url.clone(), what: host::ok(host::http::send(&self.what))? }),
        }
    }
}

/// Leaves letters, digits and `-._~`, as RFC 3986 names what needs no encoding.
fn push_encoded(text: &mut String, part: &str) {
    for byte in part.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            text.push(char::from(byte));
        } else {
            text.push_str(&format!("%{byte:02X}"));
        }
    }
}

/// An answer.
#[derive(Clone, Debug)]
pub struct Response {
    url: String,
    what: wire::Response,
}

impl Response {
    /// The status, for example 200.
    pub fn status(&self) -> u16 {
        self.what.status
    }

    /// The first header of this name, written in any case.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers().find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| value)
    }

    /// All headers, in their order.
    pub fn headers(&self) -> impl Iterator<Item = (&str, &str)> {
        self.what.headers.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// Itself when the status is 200 to 299; otherwise an error with code `http-<status>` that quotes the answer.
    pub fn ok(self) -> Result<Self> {
        if (200..300).contains(&self.status()) {
            return Ok(self);
        }
        let text: String = String::from_utf8_lossy(&self.what.body).chars().take(200).collect();
        let status = self.status();
        Err(Error::new(format!("{} answered {status}: {text}", self.place())).with_code(format!("http-{status}")))
    }

    /// The body.
    pub fn bytes(&self) -> &[u8] {
        &self.what.body
    }

    /// The body, taken out.
    pub fn into_bytes(self) -> Vec<u8> {
        self.what.body
    }

    /// The body as text; an error when it is not UTF-8.
    pub fn text(&self) -> Result<&str> {
        std::str::from_utf8(&self.what.body).context(format_args!("answer of {}", self.place()))
    }

    /// The body as JSON of your type (`serde_json::Value` for any).
    pub fn json<T: DeserializeOwned>(&self) -> Result<T> {
        parse(self.text()?).context(format_args!("answer of {}", self.place()))
    }

    /// The URL without its query, which may hold what is nobody's business.
    fn place(&self) -> &str {
        self.url.split(['?', '#']).next().unwrap_or_default()
    }
}
