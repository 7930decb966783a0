//! Methods of data sources: which request each makes, and how its answer reads.

mod github;
mod graph;
mod owncloud;
mod rest;

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use probity_sdk::{Context, Map, Result, Value, bail, json};
use status_conventions::service::encoded;
use status_conventions::value::{shown, truthy};

use crate::fetching::{self, Ask};
use crate::linker::{Definition, Secrets, Source};

/// What is asked of a source.
pub struct Question<'q> {
    pub source: &'q Source,
    pub secrets: &'q Secrets,
    pub method: &'q str,
    pub options: &'q Map<String, Value>,
    /// `full`, `batch`, `iterator` or `stream`.
    pub format: &'q str,
    pub batch_size: u64,
    /// Most pages to fetch.
    pub pages_max: u32,
    pub cx: &'q Context,
}

impl Question<'_> {
    /// Asks, and gives the reply as the library of STATUS has it.
    pub fn ask(&self) -> Result<Value> {
        match self.source.definition {
            Definition::Rest => self.fetch(rest::ask(self)?),
            Definition::Github => self.fetch(github::ask(self)?),
            Definition::Graph => self.fetch(graph::ask(self)?),
            Definition::Owncloud => owncloud::reply(self),
        }
    }

    /// An option of the message or the linker, as text; numbers, too. `None` when it is missing or empty.
    pub fn option(&self, name: &str) -> Option<String> {
        text(self.options.get(name))
    }

    /// A property of the source, as text, with secrets by placeholder.
    pub fn config(&self, name: &str) -> Result<Option<String>> {
        text(self.source.config.get(name)).map(|text| self.secrets.text(&text, self.cx)).transpose()
    }

    /// A key or token of the source, as [`config`](Self::config).
    pub fn secret(&self, name: &str) -> Result<Option<String>> {
        if let Some(text) = text(self.source.config.get(name)) {
            self.secrets.warn_of_literal(name, &text, self.cx);
        }
        self.config(name)
    }

    /// A property of the source that must be there.
    pub fn required(&self, name: &str) -> Result<String> {
        match self.source.config.get(name) {
            Some(other) if !other.is_string() => bail!("{name} is {}: a text was expected", shown(other)),
            _ => {}
        }
        match self.config(name)? {
            Some(text) => Ok(text),
            None => bail!("config.{name} of the linker is missing"),
        }
    }

    /// An option that the method needs.
    pub fn needed(&self, name: &str) -> Result<String> {
        match self.option(name) {
            Some(text) => Ok(text),
            None => bail!("{} needs {name}: set msg.fetchOptions.{name}", self.method),
        }
    }

    /// An error that names the methods there are.
    pub fn no_method(&self, known: &str) -> probity_sdk::Error {
        probity_sdk::Error::new(format!("there is no method \"{}\"; there are {known}", self.method))
    }

    /// A request with what source and options say of method, body, headers and time.
    pub fn request(&self, url: String) -> Result<Ask> {
        let mut ask = Ask::get(url);
        ask.header("content-type", "application/json");
        for (headers, of_source) in [(self.source.config.get("headers"), true), (self.options.get("headers"), false)] {
            for (name, value) in headers.and_then(Value::as_object).into_iter().flatten() {
                let value = text(Some(value)).unwrap_or_default();
                ask.header(name, if of_source { self.secrets.text(&value, self.cx)? } else { value });
            }
        }
        if let Some(method) = self.option("method") {
            ask.method = method.to_ascii_uppercase();
        }
        match self.options.get("body") {
            None | Some(Value::Null) => {}
            Some(Value::String(text)) => ask.body = text.clone().into_bytes(),
            Some(body) => ask.body = body.to_string().into_bytes(),
        }
        match self.source.config.get("timeout") {
            None | Some(Value::Null) => {}
            Some(timeout) => match text(Some(timeout)).and_then(|text| text.parse::<u32>().ok()) {
                Some(ms) if ms > 0 => ask.timeout = Duration::from_millis(ms.into()),
                _ => bail!("config.timeout is {}: milliseconds were expected", shown(timeout)),
            },
        }
        let options = self.options.get("responseOptions");
        ask.any_status = options.and_then(|o| o.get("throwHttpErrors")) == Some(&Value::Bool(false));
        Ok(ask)
    }

    /// Puts the source's authentication in, or what the message has in its place.
    pub fn authenticate(&self, ask: &mut Ask) -> Result<()> {
        let (auth, secrets) = match self.options.get("authOverride") {
            // The message's own: it names none of the operator's secrets.
            Some(auth) if auth.is_object() => (auth, &Secrets { named: None }),
            _ => (self.source.config.get("auth").unwrap_or(&Value::Null), self.secrets),
        };
        let part = |name: &str| text(auth.get(name));
        if let Some(password) = part("password") {
            secrets.warn_of_literal("auth.password", &password, self.cx);
        }
        let secret = |name: &str| match part(name) {
            Some(text) => {
                if name != "username" && name != "headerName" {
                    secrets.warn_of_literal(&format!("auth.{name}"), &text, self.cx);
                }
                secrets.text(&text, self.cx)
            }
            None => bail!("auth.{name} is missing"),
        };
        match part("type").as_deref() {
            None | Some("none" | "cookie") => {}
            Some("bearer") => ask.header("authorization", format!("Bearer {}", secret("token")?)),
            Some("basic") => ask.header("authorization", basic(&secret("username")?, part("password").as_deref())?),
            Some("custom") => ask.header(&secret("headerName")?, secret("headerValue")?),
            Some(other) => bail!("auth.type is \"{other}\": none, bearer, basic, custom or cookie was expected"),
        }
        self.cookies(auth, secrets, ask)
    }

    fn cookies(&self, auth: &Value, secrets: &Secrets, ask: &mut Ask) -> Result<()> {
        let mut cookies: Vec<(String, String)> = Vec::new();
        for (all, of_auth) in [(auth.get("cookies"), true), (self.options.get("cookies"), false)] {
            for (name, value) in all.and_then(Value::as_object).into_iter().flatten() {
                let value = text(Some(value)).unwrap_or_default();
                let value = if of_auth { secrets.text(&value, self.cx)? } else { value };
                match cookies.iter_mut().find(|(known, _)| known == name) {
                    Some(cookie) => cookie.1 = value,
                    None => cookies.push((name.clone(), value)),
                }
            }
        }
        if !cookies.is_empty() {
            let pairs: Vec<String> = cookies.iter().map(|(name, value)| format!("{name}={}", encoded(value))).collect();
            ask.header("cookie", pairs.join("; "));
        }
        Ok(())
    }

    /// Sends the request, follows pages as far as wanted, and makes the reply.
    fn fetch(&self, mut ask: Ask) -> Result<Value> {
        let answer = ask.send(self.cx)?;
        let mut data = fetching::data(&answer)?;
        if self.options.get("responseOptions").and_then(|o| o.get("fullResponse")).is_some_and(truthy) {
            let ok = (200..300).contains(&answer.status());
            let headers = fetching::metadata(&answer, "", self.cx).remove("headers");
            return Ok(
                json!({ "status": answer.status(), "statusText": "", "headers": headers, "data": data, "ok": ok }),
            );
        }
        let mut next = next_page(&answer, &data);
        let mut pages = 1;
        while let Some(url) = next.take().filter(|_| pages < self.pages_max) {
            // A page of another server would get this one's key.
            ask = Ask { url: fetching::joined(fetching::origin(&ask.url), &absolute(&ask.url, &url))?, ..ask };
            let answer = ask.send(self.cx)?;
            let more = fetching::data(&answer)?;
            next = next_page(&answer, &more);
            append(&mut data, more)?;
            pages += 1;
        }
        let mut metadata = fetching::metadata(&answer, "rest-api", self.cx);
        if self.pages_max > 1 {
            metadata.insert("pages".to_owned(), pages.into());
            metadata.insert("hasNextPage".to_owned(), next.is_some().into());
        }
        self.reply(data, metadata, next.is_some())
    }

    /// The reply in the format that is wanted.
    pub fn reply(&self, mut data: Value, mut metadata: Map<String, Value>, more: bool) -> Result<Value> {
        rename(&mut data, &self.source.mapping);
        if self.format != "batch" {
            return Ok(json!({ "data": data, "metadata": metadata }));
        }
        let pagination = self.options.get("pagination");
        let number = |name: &str| pagination.and_then(|p| p.get(name)).and_then(Value::as_u64);
        let total = data.get("totalItems").and_then(Value::as_u64).filter(|total| *total > 0);
        let items = into_items(data);
        let full = items.len() as u64 == number("pageSize").unwrap_or(self.batch_size);
        metadata.insert("totalItems".to_owned(), total.unwrap_or(items.len() as u64).into());
        metadata.insert("currentPage".to_owned(), number("startPage").unwrap_or(1).into());
        metadata.insert("hasNextPage".to_owned(), (more || full && self.pages_max == 1).into());
        Ok(json!({ "data": items, "metadata": metadata }))
    }
}

/// A text, or a number as one; `None` for anything else and for nothing.
fn text(value: Option<&Value>) -> Option<String> {
    match value? {
        Value::String(text) if !text.is_empty() => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    }
}

/// Basic authentication. A secret cannot be part of it, for it would have to be encoded here.
fn basic(user: &str, password: Option<&str>) -> Result<String> {
    let Some(password) = password else { bail!("the password of basic authentication is missing") };
    if password.starts_with("secret:") {
        bail!(
            "a secret cannot be the password of basic authentication: put the whole header (\"Basic …\") into a secret \
             and use auth {{\"type\": \"custom\", \"headerName\": \"authorization\", \"headerValue\": \"{password}\"}}"
        );
    }
    Ok(format!("Basic {}", STANDARD.encode(format!("{user}:{password}"))))
}

/// Where the next page is: a `Link` header, or OData's `@odata.nextLink`.
fn next_page(answer: &probity_sdk::http::Response, data: &Value) -> Option<String> {
    let odata = data.get("@odata.nextLink").and_then(Value::as_str).map(str::to_owned);
    fetching::next_link(answer).or(odata)
}

fn absolute(current: &str, next: &str) -> String {
    match next {
        next if next.contains("://") => next.to_owned(),
        next if next.starts_with('?') => format!("{}{next}", current.split(['?', '#']).next().unwrap_or_default()),
        next => next.to_owned(),
    }
}

/// Where the items of an answer are: itself, or the list the services wrap it in.
fn list(data: &mut Value) -> Option<&mut Vec<Value>> {
    if data.is_array() {
        return data.as_array_mut();
    }
    let name = ["items", "data", "value"].into_iter().find(|name| data.get(*name).is_some_and(Value::is_array))?;
    data.get_mut(name)?.as_array_mut()
}

/// The items of an answer; what is no list is one item.
pub fn into_items(mut data: Value) -> Vec<Value> {
    if let Some(items) = list(&mut data) {
        return std::mem::take(items);
    }
    if data.is_null() { Vec::new() } else { vec![data] }
}

fn append(data: &mut Value, mut more: Value) -> Result<()> {
    match (list(data), list(&mut more)) {
        (Some(items), Some(others)) => items.append(others),
        _ => bail!("a further page of the answer is no list"),
    }
    Ok(())
}

/// Renames properties of the items.
fn rename(data: &mut Value, mapping: &Map<String, Value>) {
    if mapping.is_empty() {
        return;
    }
    let one = |item: &mut Value| {
        let Value::Object(object) = item else { return };
        let renamed = std::mem::take(object).into_iter().map(|(name, value)| {
            let new = mapping.get(&name).and_then(Value::as_str).filter(|new| !new.is_empty()).map(str::to_owned);
            (new.unwrap_or(name), value)
        });
        *object = renamed.collect();
    };
    match list(data) {
        Some(items) => items.iter_mut().for_each(one),
        None => one(data),
    }
}
