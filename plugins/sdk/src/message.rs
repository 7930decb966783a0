//! One message: of its properties only what is looked at is parsed, and only what was changed goes back.

use std::cell::{Cell, OnceCell};

use serde_core::{Serialize, de::DeserializeOwned};
use serde_json::Value;

use crate::bindings::probity::plugin::{node::Emission, types};
use crate::path::Step;
use crate::text::{self, Found};
use crate::{ErrorContext, Result, path};

static NULL: Value = Value::Null;

/// Looks into a property's text, and changes of it, before all of it is read: each one passes over the text again.
const LOOKS_MAX: u32 = 8;

/// A message.
///
/// What comes in holds the top-level properties its node type `wants`. It is sent on with
/// [`cx.emit`](crate::Context::emit), which hands over the changes only, so what the node did not touch keeps even
/// what JSON cannot hold (dates, buffers, the HTTP response). [`Message::new`] makes one from nothing.
#[derive(Clone)]
pub struct Message {
    run: String,
    caller: bool,
    /// It is the one being handled, so the engine knows what is not changed here.
    keep: bool,
    wants: Option<&'static [&'static str]>,
    properties: Vec<Property>,
    deleted: Vec<String>,
}

#[derive(Clone)]
struct Property {
    name: String,
    content: Content,
    /// What `content` holds, once somebody asked; the content itself for `Content::Value`.
    parsed: OnceCell<Value>,
    /// What was read of the text by itself.
    parts: OnceCell<Box<Part>>,
    looks: Cell<u32>,
    changed: bool,
}

/// A value that stands in a property's text from this byte on.
#[derive(Clone)]
struct Part {
    start: usize,
    value: Value,
    next: OnceCell<Box<Part>>,
}

#[derive(Clone)]
enum Content {
    /// Text of the engine, perhaps with changes: each object's names differ.
    Sent(String),
    Json(String),
    Bytes(Vec<u8>),
    Value,
}

impl Message {
    /// A new, empty message.
    pub fn new() -> Self {
        Self {
            run: String::new(),
            caller: false,
            keep: false,
            wants: None,
            properties: Vec::new(),
            deleted: Vec::new(),
        }
    }

    #[doc(hidden)]
    pub fn incoming(from: types::Message, wants: Option<&'static [&'static str]>) -> Self {
        let properties = from.properties.into_iter().map(Property::incoming).collect();
        Self { run: from.run, caller: from.caller, keep: true, wants, properties, deleted: Vec::new() }
    }

    /// Id of the run this message belongs to; empty for a new message.
    pub fn run(&self) -> &str {
        &self.run
    }

    /// Whether somebody waits for this run: an HTTP caller, a schedule, an evaluation.
    pub fn has_caller(&self) -> bool {
        self.caller
    }

    /// The names of the properties it has.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.properties.iter().map(|property| property.name.as_str())
    }

    /// Whether it has the property, whatever its value.
    pub fn has(&self, name: &str) -> bool {
        self.find(name).is_some()
    }

    /// A property, or `None` when it is undefined. Bytes are seen as `{"type":"Buffer","data":[…]}`; see
    /// [`bytes`](Self::bytes).
    pub fn get(&self, name: &str) -> Option<&Value> {
        self.find(name).map(Property::value)
    }

    /// The value at a path such as `payload.items[0].name` or `headers["content-type"]`, or `None`. The rest of a large
    /// property is not parsed for a few of these.
    pub fn at(&self, path: &str) -> Option<&Value> {
        let mut steps = path::steps(path);
        let property = self.find(steps.next()?.name()?)?;
        let Some(text) = property.text_to_look_into() else { return path::follow(property.value(), steps) };
        let rest: Vec<_> = steps.collect();
        match text::find(text, &rest) {
            Found::Value(span) if !rest.is_empty() => Some(property.part(text, span)),
            Found::In(_) | Found::Nothing => None,
            Found::Value(_) | Found::Unknown => path::follow(property.value(), rest.into_iter()),
        }
    }

    /// `msg.payload`, `null` when it is undefined.
    pub fn payload(&self) -> &Value {
        self.get("payload").unwrap_or(&NULL)
    }

    /// A property as a type of yours, read straight from the text; `None` when it is undefined.
    pub fn get_as<T: DeserializeOwned>(&self, name: &str) -> Result<Option<T>> {
        let Some(property) = self.find(name) else { return Ok(None) };
        let read = match (&property.content, property.parsed.get()) {
            (Content::Sent(text) | Content::Json(text), None) => parse(text),
            _ => T::deserialize(property.value()),
        };
        read.map(Some).context(format_args!("msg.{name}"))
    }

    /// `msg.payload` as a type of yours; an error when it is undefined or of another form.
    pub fn payload_as<T: DeserializeOwned>(&self) -> Result<T> {
        self.get_as("payload")?.context("msg.payload is undefined")
    }

    /// A property that is bytes (a Node.js Buffer); `None` when it is undefined or something else.
    pub fn bytes(&self, name: &str) -> Option<&[u8]> {
        match &self.find(name)?.content {
            Content::Bytes(bytes) => Some(bytes),
            _ => None,
        }
    }

    /// A property's text: a string, or bytes that are UTF-8. `None` when it is undefined or something else.
    pub fn text(&self, name: &str) -> Option<&str> {
        let property = self.find(name)?;
        match &property.content {
            Content::Bytes(bytes) => std::str::from_utf8(bytes).ok(),
            _ => property.value().as_str(),
        }
    }

    /// Sets a property.
    pub fn set(&mut self, name: &str, value: impl Into<Value>) -> &mut Self {
        self.put(name, Content::Value, OnceCell::from(value.into()));
        self
    }

    /// Sets a property to a value of your type.
    pub fn set_as<T: Serialize + ?Sized>(&mut self, name: &str, value: &T) -> Result<&mut Self> {
        let text = serde_json::to_string(value).context(format_args!("msg.{name}"))?;
        self.put(name, Content::Json(text), OnceCell::new());
        Ok(self)
    }

    /// Sets a property to JSON text as it is: for what is large and need not be a [`Value`] first. An error when the
    /// text is no JSON.
    pub fn set_json(&mut self, name: &str, text: impl Into<String>) -> Result<&mut Self> {
        let text = text.into();
        parse::<serde_core::de::IgnoredAny>(&text)
            .context(format_args!("msg.{name} is set to text that is no JSON"))?;
        self.put(name, Content::Json(text), OnceCell::new());
        Ok(self)
    }

    /// Sets a property to bytes (a Node.js Buffer).
    pub fn set_bytes(&mut self, name: &str, bytes: impl Into<Vec<u8>>) -> &mut Self {
        self.put(name, Content::Bytes(bytes.into()), OnceCell::new());
        self
    }

    /// Sets `msg.payload`.
    pub fn set_payload(&mut self, value: impl Into<Value>) -> &mut Self {
        self.set("payload", value)
    }

    /// Sets the value at a path such as `payload.verdict.result`; objects on the way are made where nothing is.
    /// An error when something on the way is neither an object nor an array that long.
    pub fn set_at(&mut self, path: &str, value: impl Into<Value>) -> Result<&mut Self> {
        let mut steps = path::steps(path);
        let first =
            steps.next().and_then(|step| step.name()).context(format_args!("`{path}` is not a path"))?.to_owned();
        let rest: Vec<_> = steps.collect();
        if rest.is_empty() {
            return Ok(self.set(&first, value));
        }
        let value = value.into();
        let Some(value) = self.set_in_text(&first, &rest, value)? else { return Ok(self) };
        if self.get(&first).is_none_or(Value::is_null) {
            self.set(&first, Value::Object(serde_json::Map::new()));
        }
        let root = self.get_mut(&first).context("set above")?;
        path::put(root, &rest, value).context(format_args!("msg.{path}"))?;
        Ok(self)
    }

    /// Sets a value within the text of a property that nobody has read whole; gives it back when that cannot be.
    fn set_in_text(&mut self, name: &str, rest: &[Step<'_>], value: Value) -> Result<Option<Value>> {
        self.check_wanted(name);
        let Some(property) = self.properties.iter_mut().find(|property| property.name == name) else {
            return Ok(Some(value));
        };
        if property.text_to_look_into().is_none() {
            return Ok(Some(value));
        }
        let Content::Sent(text) = &mut property.content else { return Ok(Some(value)) };
        let written = || serde_json::to_string(&value).context(format_args!("msg.{name}"));
        match (text::find(text, rest), rest.last()) {
            (Found::Value(span), _) => text.replace_range(span, &written()?),
            (Found::In(object), Some(Step::Name(last))) => {
                text::add(text, &object, last, &written()?).context(format_args!("msg.{name}"))?;
            }
            _ => return Ok(Some(value)),
        }
        property.parts = OnceCell::new();
        property.changed = true;
        Ok(None)
    }

    /// A property to change in place; it counts as changed from here on. `None` when it is undefined.
    pub fn get_mut(&mut self, name: &str) -> Option<&mut Value> {
        self.check_wanted(name);
        let property = self.properties.iter_mut().find(|property| property.name == name)?;
        property.value();
        property.content = Content::Value;
        property.changed = true;
        property.parsed.get_mut()
    }

    /// `msg.payload` to change in place; `null` is put there when it was undefined.
    pub fn payload_mut(&mut self) -> &mut Value {
        if !self.has("payload") {
            self.set("payload", Value::Null);
        }
        self.get_mut("payload").expect("it was set if it was not there")
    }

    /// Takes a property out. Gives it, or `None` when it was undefined.
    pub fn remove(&mut self, name: &str) -> Option<Value> {
        let at = self.properties.iter().position(|property| property.name == name);
        // What the node does not want may still be there in the engine.
        if self.keep && !self.deleted.iter().any(|deleted| deleted == name) {
            self.deleted.push(name.to_owned());
        }
        at.map(|at| self.properties.remove(at).into_value())
    }

    /// What an HTTP caller sent (`msg.req`).
    pub fn req(&self) -> Req<'_> {
        Req(self.get("req"))
    }

    /// The parameter `name` of the caller: `msg.req.body.<name>`, if it is there and not null.
    pub fn param(&self, name: &str) -> Option<&Value> {
        self.req().body()?.get(name).filter(|value| !value.is_null())
    }

    fn find(&self, name: &str) -> Option<&Property> {
        self.check_wanted(name);
        self.properties.iter().find(|property| property.name == name)
    }

    /// A property that was not asked for looks undefined: a mistake of the author, never a fact about the message.
    fn check_wanted(&self, name: &str) {
        let Some(wants) = self.wants else { return };
        if !wants.contains(&name) && !self.properties.iter().any(|property| property.name == name) {
            crate::host::not_wanted(name, wants);
        }
    }

    fn put(&mut self, name: &str, content: Content, parsed: OnceCell<Value>) {
        self.deleted.retain(|deleted| deleted != name);
        match self.properties.iter_mut().find(|property| property.name == name) {
            Some(property) => {
                property.content = content;
                property.parsed = parsed;
                property.changed = true;
            }
            None => {
                let mut property = Property::new(name.to_owned(), content);
                (property.parsed, property.changed) = (parsed, true);
                self.properties.push(property);
            }
        }
    }

    #[doc(hidden)]
    pub fn into_emission(self, port: u32) -> Result<Emission> {
        let keep = self.keep;
        let mut set = Vec::new();
        for property in self.properties {
            if property.changed || !keep {
                set.push(property.into_wire()?);
            }
        }
        Ok(Emission { port, keep, set, delete: self.deleted })
    }
}

impl Default for Message {
    fn default() -> Self {
        Self::new()
    }
}

impl std::fmt::Debug for Message {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_map().entries(self.properties.iter().map(|property| (&property.name, property.value()))).finish()
    }
}

impl Property {
    fn incoming(from: types::Property) -> Self {
        let content = match from.value {
            types::Value::Json(text) => Content::Sent(text),
            types::Value::Bytes(bytes) => Content::Bytes(bytes),
        };
        Self::new(from.name, content)
    }

    fn new(name: String, content: Content) -> Self {
        let (parsed, parts, looks) = (OnceCell::new(), OnceCell::new(), Cell::new(0));
        Self { name, content, parsed, parts, looks, changed: false }
    }

    /// Its text, if one more look into that is cheaper than reading it whole and it has not been read.
    fn text_to_look_into(&self) -> Option<&str> {
        let Content::Sent(text) = &self.content else { return None };
        let looks = self.looks.get();
        self.looks.set(looks.saturating_add(1));
        (looks < LOOKS_MAX && self.parsed.get().is_none()).then_some(text.as_str())
    }

    /// The value at this place of the text.
    fn part(&self, text: &str, span: text::Span) -> &Value {
        let mut place = &self.parts;
        loop {
            let part = place.get_or_init(|| {
                let value = parse(&text[span.clone()]).expect("the engine, or `set_at`, wrote this JSON");
                Box::new(Part { start: span.start, value, next: OnceCell::new() })
            });
            if part.start == span.start {
                return &part.value;
            }
            place = &part.next;
        }
    }

    fn value(&self) -> &Value {
        self.parsed.get_or_init(|| match &self.content {
            Content::Sent(text) | Content::Json(text) => parse(text).expect("the engine, or `set_as`, wrote this JSON"),
            Content::Bytes(bytes) => buffer(bytes),
            Content::Value => Value::Null,
        })
    }

    fn into_value(self) -> Value {
        self.value();
        self.parsed.into_inner().unwrap_or_default()
    }

    fn into_wire(self) -> Result<types::Property> {
        let value = match self.content {
            Content::Sent(text) | Content::Json(text) => types::Value::Json(text),
            Content::Bytes(bytes) => types::Value::Bytes(bytes),
            Content::Value => types::Value::Json(
                serde_json::to_string(self.parsed.get().unwrap_or(&NULL)).context(format_args!("msg.{}", self.name))?,
            ),
        };
        Ok(types::Property { name: self.name, value })
    }
}

/// Like `serde_json::from_str`, for text of any depth.
pub(crate) fn parse<T: DeserializeOwned>(text: &str) -> serde_json::Result<T> {
    let mut reader = serde_json::Deserializer::from_str(text);
    reader.disable_recursion_limit();
    let value = T::deserialize(&mut reader)?;
    reader.end()?;
    Ok(value)
}

/// Bytes as JSON holds them, Node.js' way.
pub(crate) fn buffer(bytes: &[u8]) -> Value {
    serde_json::json!({ "type": "Buffer", "data": bytes })
}

/// What an HTTP caller sent. Each part is `None` when the message has no such part.
#[derive(Clone, Copy)]
pub struct Req<'m>(Option<&'m Value>);

impl<'m> Req<'m> {
    /// The parsed body.
    pub fn body(self) -> Option<&'m Value> {
        self.part("body")
    }

    /// The URL's query.
    pub fn query(self) -> Option<&'m Value> {
        self.part("query")
    }

    /// The parameters in the URL's path.
    pub fn params(self) -> Option<&'m Value> {
        self.part("params")
    }

    /// The headers, names in lower case.
    pub fn headers(self) -> Option<&'m Value> {
        self.part("headers")
    }

    /// The cookies.
    pub fn cookies(self) -> Option<&'m Value> {
        self.part("cookies")
    }

    /// One header's text; `name` in any case.
    pub fn header(self, name: &str) -> Option<&'m str> {
        self.headers()?.get(name.to_ascii_lowercase())?.as_str()
    }

    /// The method, in capitals.
    pub fn method(self) -> Option<&'m str> {
        self.part("method")?.as_str()
    }

    /// Any part by name.
    pub fn part(self, name: &str) -> Option<&'m Value> {
        self.0?.get(name)
    }
}

impl From<Value> for Message {
    /// A new message with an object's entries as its properties; anything else becomes its payload.
    fn from(value: Value) -> Self {
        let mut message = Message::new();
        match value {
            Value::Object(entries) => {
                for (name, value) in entries {
                    message.set(&name, value);
                }
            }
            other => {
                message.set("payload", other);
            }
        }
        message
    }
}
