//! A node's configuration: read from JSON with every problem named, described as a JSON Schema for the editor, and
//! overridden by what a caller sends.

use serde_json::{Map, Value, json};

use crate::{Error, Message, Result};

/// What a configuration's field, a row of a table, or a whole configuration can be. `#[derive(Config)]` makes one of
/// your struct, or of an enum without fields.
pub trait ConfigValue: Clone + Sized {
    /// Whether `""`, which editors leave in a cleared field, is no value for an `Option` of this.
    const EMPTY_IS_NONE: bool = false;

    /// Its JSON Schema (2020-12).
    fn schema() -> Value;

    /// Reads it; what is wrong goes to `problems`, each beginning with `at`, the path from the configuration's root.
    fn read(value: &Value, at: &str, problems: &mut Vec<String>) -> Option<Self>;

    /// What it is when the property is missing and has no default.
    fn absent() -> Option<Self> {
        None
    }

    /// The field `rules.name` of a configuration; typed inputs are two properties.
    #[doc(hidden)]
    fn read_field(fields: &Fields<'_>, rules: &Rules, at: &str, problems: &mut Vec<String>) -> Option<Self> {
        match fields.value(rules) {
            None => Self::absent().or_else(|| {
                problems.push(format!("{at} is missing"));
                None
            }),
            Some(value) => {
                let found = Self::read(&value, at, problems)?;
                rules.check(&value, at, problems).then_some(found)
            }
        }
    }

    /// The field with what the caller sent in its place.
    #[doc(hidden)]
    fn over_field(&self, body: &Fields<'_>, rules: &Rules, at: &str, problems: &mut Vec<String>) -> Option<Self> {
        if body.has(rules.name) { Self::read_field(body, rules, at, problems) } else { Some(self.clone()) }
    }

    /// What the caller sent for an optional field that the configuration leaves open.
    #[doc(hidden)]
    fn over_nothing(body: &Fields<'_>, rules: &Rules, at: &str, problems: &mut Vec<String>) -> Option<Self> {
        Self::read_field(body, rules, at, problems)
    }

    /// Puts the field into an object's schema.
    #[doc(hidden)]
    fn describe_field(rules: &Rules, properties: &mut Map<String, Value>, required: &mut Vec<Value>) {
        if rules.default.is_none() && Self::absent().is_none() {
            required.push(Value::from(rules.name));
        }
        properties.insert(rules.name.to_owned(), rules.describe(Self::schema()));
    }
}

/// A node's whole configuration; made by `#[derive(Config)]`.
pub trait Config: ConfigValue {
    /// The documentation of the struct.
    const DOC: &'static str;

    /// This configuration with what the caller sent in its place: a field `x` is `msg.req.body.x` if that is there
    /// and not null. Fields marked `#[config(config_only)]` stay. An error names what the caller sent wrong.
    ///
    /// The message must bring `req` (see `wants`).
    fn over(&self, msg: &Message) -> Result<Self>;
}

/// Reads a configuration from JSON; the error names every problem.
pub fn read<C: ConfigValue>(config: &Value) -> Result<C> {
    let mut problems = Vec::new();
    let found = C::read(config, "", &mut problems);
    finish(found, problems, "bad-config")
}

#[doc(hidden)]
pub fn finish<C>(found: Option<C>, problems: Vec<String>, code: &str) -> Result<C> {
    match found {
        Some(found) if problems.is_empty() => Ok(found),
        _ => Err(Error::new(problems.join("; ")).with_code(code)),
    }
}

/// An object whose fields are read.
#[doc(hidden)]
pub struct Fields<'v> {
    object: &'v Map<String, Value>,
}

impl<'v> Fields<'v> {
    pub fn of(value: &'v Value, at: &str, problems: &mut Vec<String>) -> Option<Self> {
        match value {
            Value::Object(object) => Some(Self { object }),
            other => wrong(other, at, "an object", problems),
        }
    }

    /// What the caller sent, if it can override anything.
    pub fn of_body(msg: &'v Message) -> Option<Self> {
        msg.req().body()?.as_object().map(|object| Self { object })
    }

    /// The field, or its default.
    pub fn value(&self, rules: &Rules) -> Option<std::borrow::Cow<'v, Value>> {
        use std::borrow::Cow;
        let found = self.object.get(rules.name).map(Cow::Borrowed);
        found.or_else(|| rules.default.map(|default| Cow::Owned(default())))
    }

    pub fn has(&self, name: &str) -> bool {
        self.object.get(name).is_some_and(|value| !value.is_null())
    }

    pub fn get(&self, name: &str) -> Option<&'v Value> {
        self.object.get(name)
    }

    pub fn text(&self, name: &str) -> Option<&'v str> {
        self.object.get(name)?.as_str()
    }
}

/// What `#[config(…)]` says of a field.
#[doc(hidden)]
#[derive(Clone, Copy)]
pub struct Rules {
    pub name: &'static str,
    pub doc: &'static str,
    pub default: Option<fn() -> Value>,
    pub one_of: Option<fn() -> Value>,
    pub min: Option<f64>,
    pub max: Option<f64>,
    /// For typed inputs: the property of the kind, and the kinds offered.
    pub type_name: &'static str,
    pub kinds: &'static [&'static str],
    /// Further keywords of the schema.
    pub hints: fn() -> Value,
}

impl Rules {
    pub const fn new(name: &'static str, doc: &'static str) -> Self {
        Self {
            name,
            doc,
            default: None,
            one_of: None,
            min: None,
            max: None,
            type_name: "",
            kinds: &[],
            hints: || Value::Null,
        }
    }

    fn check(&self, value: &Value, at: &str, problems: &mut Vec<String>) -> bool {
        let number = number(value);
        if let (Some(min), Some(number)) = (self.min, number)
            && number < min
        {
            problems.push(format!("{at} is {number}; at least {min} was expected"));
            return false;
        }
        if let (Some(max), Some(number)) = (self.max, number)
            && number > max
        {
            problems.push(format!("{at} is {number}; at most {max} was expected"));
            return false;
        }
        if let Some(Value::Array(choices)) = self.one_of.map(|choices| choices())
            && !value.is_null()
            && !choices.contains(value)
        {
            let choices: Vec<String> = choices.iter().map(Value::to_string).collect();
            problems.push(format!("{at} is {value}; one of {} was expected", choices.join(", ")));
            return false;
        }
        true
    }

    fn describe(&self, mut schema: Value) -> Value {
        if let Some(object) = schema.as_object_mut() {
            if !self.doc.is_empty() {
                object.insert("description".to_owned(), Value::from(self.doc));
            }
            if let Some(default) = self.default {
                object.insert("default".to_owned(), default());
            }
            if let Some(choices) = self.one_of {
                object.insert("enum".to_owned(), choices());
            }
            for (keyword, bound) in [("minimum", self.min), ("maximum", self.max)] {
                if let Some(bound) = bound {
                    object.insert(keyword.to_owned(), crate::number(bound));
                }
            }
            if let Value::Object(hints) = (self.hints)() {
                object.extend(hints);
            }
        }
        schema
    }
}

/// The schema of a configuration, from its fields' descriptions.
#[doc(hidden)]
pub fn object_schema(describe: impl FnOnce(&mut Map<String, Value>, &mut Vec<Value>)) -> Value {
    let (mut properties, mut required) = (Map::new(), Vec::new());
    describe(&mut properties, &mut required);
    let mut schema = json!({ "type": "object", "properties": properties });
    if !required.is_empty() {
        schema["required"] = Value::Array(required);
    }
    schema
}

/// The path of a field below `at`.
#[doc(hidden)]
pub fn below(at: &str, name: &str) -> String {
    if at.is_empty() { name.to_owned() } else { format!("{at}.{name}") }
}

#[doc(hidden)]
pub fn wrong<T>(found: &Value, at: &str, expected: &str, problems: &mut Vec<String>) -> Option<T> {
    let at = if at.is_empty() { "it" } else { at };
    let text = found.to_string();
    let short: String = text.chars().take(60).collect();
    let dots = if short.len() < text.len() { "…" } else { "" };
    problems.push(format!("{at} is {short}{dots}; {expected} was expected"));
    None
}

/// A number, or a text that is one: editors and HTML forms know only texts.
fn number(value: &Value) -> Option<f64> {
    match value {
        Value::Number(number) => number.as_f64(),
        Value::String(text) => text.trim().parse().ok().filter(|number: &f64| number.is_finite()),
        _ => None,
    }
}

impl ConfigValue for String {
    fn schema() -> Value {
        json!({ "type": "string" })
    }

    fn read(value: &Value, at: &str, problems: &mut Vec<String>) -> Option<Self> {
        match value {
            Value::String(text) => Some(text.clone()),
            Value::Number(_) | Value::Bool(_) => Some(value.to_string()),
            other => wrong(other, at, "a text", problems),
        }
    }
}

impl ConfigValue for bool {
    fn schema() -> Value {
        json!({ "type": "boolean" })
    }

    fn read(value: &Value, at: &str, problems: &mut Vec<String>) -> Option<Self> {
        match value {
            Value::Bool(flag) => Some(*flag),
            Value::String(text) if text == "true" => Some(true),
            Value::String(text) if text == "false" => Some(false),
            other => wrong(other, at, "true or false", problems),
        }
    }
}

impl ConfigValue for f64 {
    const EMPTY_IS_NONE: bool = true;

    fn schema() -> Value {
        json!({ "type": "number" })
    }

    fn read(value: &Value, at: &str, problems: &mut Vec<String>) -> Option<Self> {
        number(value).or_else(|| wrong(value, at, "a number", problems))
    }
}

macro_rules! integers {
    ($($type:ty: $expected:literal),+) => { $(
        impl ConfigValue for $type {
            const EMPTY_IS_NONE: bool = true;

            fn schema() -> Value {
                if <$type>::MIN == 0 {
                    json!({ "type": "integer", "minimum": 0 })
                } else {
                    json!({ "type": "integer" })
                }
            }

            fn read(value: &Value, at: &str, problems: &mut Vec<String>) -> Option<Self> {
                let whole = match value {
                    Value::Number(number) => number.as_i128().or_else(|| integral(number.as_f64()?)),
                    Value::String(text) => text.trim().parse().ok(),
                    _ => None,
                };
                let found = whole.and_then(|whole| <$type>::try_from(whole).ok());
                found.or_else(|| wrong(value, at, $expected, problems))
            }
        }
    )+ };
}

integers!(
    i32: "a whole number of 32 bits", i64: "a whole number", u8: "a whole number from 0 to 255",
    u16: "a whole number from 0 to 65535", u32: "a whole number from 0 to 4294967295",
    u64: "a whole number that is not negative", usize: "a whole number that is not negative"
);

/// 3.0 is a whole number to JavaScript; beyond 2^53 an f64 no longer says which.
fn integral(number: f64) -> Option<i128> {
    (number.fract() == 0.0 && number.abs() <= 9_007_199_254_740_992.0).then_some(number as i128)
}

impl ConfigValue for Value {
    fn schema() -> Value {
        json!({})
    }

    fn read(value: &Value, _: &str, _: &mut Vec<String>) -> Option<Self> {
        Some(value.clone())
    }
}

impl<T: ConfigValue> ConfigValue for Option<T> {
    fn schema() -> Value {
        T::schema()
    }

    fn read(value: &Value, at: &str, problems: &mut Vec<String>) -> Option<Self> {
        if value.is_null() || T::EMPTY_IS_NONE && value == "" {
            return Some(None);
        }
        T::read(value, at, problems).map(Some)
    }

    fn absent() -> Option<Self> {
        Some(None)
    }

    fn over_field(&self, body: &Fields<'_>, rules: &Rules, at: &str, problems: &mut Vec<String>) -> Option<Self> {
        match self {
            Some(own) => own.over_field(body, rules, at, problems).map(Some),
            None if !body.has(rules.name) => Some(None),
            None => T::over_nothing(body, rules, at, problems).map(Some),
        }
    }
}

impl<T: ConfigValue> ConfigValue for Vec<T> {
    fn schema() -> Value {
        json!({ "type": "array", "items": T::schema() })
    }

    fn read(value: &Value, at: &str, problems: &mut Vec<String>) -> Option<Self> {
        let Value::Array(items) = value else { return wrong(value, at, "a list", problems) };
        let before = problems.len();
        let rows = items.iter().enumerate();
        let found = rows.filter_map(|(index, item)| T::read(item, &format!("{at}[{index}]"), problems)).collect();
        (problems.len() == before).then_some(found)
    }
}

impl ConfigValue for Map<String, Value> {
    fn schema() -> Value {
        json!({ "type": "object" })
    }

    fn read(value: &Value, at: &str, problems: &mut Vec<String>) -> Option<Self> {
        value.as_object().cloned().or_else(|| wrong(value, at, "an object", problems))
    }
}

/// A secret by reference: the flow holds `secret:NAME`, and `cx.secret(&self.token)?` gives a placeholder that the
/// engine replaces in this plugin's own requests. A caller may send a secret itself (a token of its own), never the
/// name of one of the operator's.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Kind);

#[derive(Clone, PartialEq, Eq)]
enum Kind {
    Named(String),
    /// What a caller sent.
    Sent(String),
}

impl Secret {
    /// The name, unless a caller sent the secret itself.
    pub fn name(&self) -> Option<&str> {
        match &self.0 {
            Kind::Named(name) => Some(name),
            Kind::Sent(_) => None,
        }
    }

    /// The placeholder of a named secret, as the engine gives it, or what the caller sent.
    pub(crate) fn text(self, placeholder: impl FnOnce(&str) -> Result<String>) -> Result<String> {
        match self.0 {
            Kind::Named(name) => placeholder(&name),
            Kind::Sent(text) => Ok(text),
        }
    }
}

impl From<&str> for Secret {
    /// The secret of this name.
    fn from(name: &str) -> Self {
        Self(Kind::Named(name.strip_prefix(REFERENCE).unwrap_or(name).to_owned()))
    }
}

impl From<&Secret> for Secret {
    fn from(secret: &Secret) -> Self {
        secret.clone()
    }
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.0 {
            Kind::Named(name) => write!(f, "{REFERENCE}{name}"),
            Kind::Sent(_) => f.write_str("(a secret that the caller sent)"),
        }
    }
}

const REFERENCE: &str = "secret:";

impl ConfigValue for Secret {
    const EMPTY_IS_NONE: bool = true;

    fn schema() -> Value {
        json!({ "type": "string", "x-secret": true, "x-placeholder": "secret:NAME" })
    }

    fn read(value: &Value, at: &str, problems: &mut Vec<String>) -> Option<Self> {
        match value.as_str().and_then(|text| text.strip_prefix(REFERENCE)) {
            Some(name) if !name.is_empty() => Some(Self(Kind::Named(name.to_owned()))),
            // What is there may be the secret itself: it is not quoted.
            _ => {
                problems.push(format!("{at} names no secret; \"secret:NAME\" was expected, not the secret itself"));
                None
            }
        }
    }

    fn over_field(&self, body: &Fields<'_>, rules: &Rules, at: &str, problems: &mut Vec<String>) -> Option<Self> {
        match body.get(rules.name) {
            None | Some(Value::Null) => Some(self.clone()),
            Some(value) => Self::sent(value, Some(self), at, problems),
        }
    }

    fn over_nothing(body: &Fields<'_>, rules: &Rules, at: &str, problems: &mut Vec<String>) -> Option<Self> {
        Self::sent(body.get(rules.name)?, None, at, problems)
    }
}

impl Secret {
    fn sent(value: &Value, own: Option<&Self>, at: &str, problems: &mut Vec<String>) -> Option<Self> {
        let problem = match value.as_str() {
            Some(text) if text.starts_with(REFERENCE) => match own {
                Some(own) if own.name() == text.strip_prefix(REFERENCE) => return Some(own.clone()),
                _ => "names a secret of the operator's, which a caller cannot choose",
            },
            Some(text) if !text.is_empty() => return Some(Self(Kind::Sent(text.to_owned()))),
            _ => "is no secret; a text was expected",
        };
        problems.push(format!("{at} {problem}"));
        None
    }
}

/// One of Node-RED's typed inputs: two properties, the text in `<name>` and its kind in `<name>Type` (or what
/// `#[config(type_name = "…")]` says). [`Context::evaluate`](crate::Context::evaluate) gives its value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TypedInput {
    /// msg, flow, global, env, str, num, bool, json, bin, re, date or jsonata.
    pub kind: String,
    /// What that kind makes of it, for example a property's path.
    pub text: String,
}

impl TypedInput {
    /// A typed input of this kind and text.
    pub fn new(kind: &str, text: &str) -> Self {
        Self { kind: kind.to_owned(), text: text.to_owned() }
    }
}

impl ConfigValue for TypedInput {
    fn schema() -> Value {
        json!({ "type": ["string", "number", "boolean"] })
    }

    fn read(value: &Value, at: &str, problems: &mut Vec<String>) -> Option<Self> {
        let text = String::read(value, at, problems)?;
        Some(Self { kind: "str".to_owned(), text })
    }

    fn read_field(fields: &Fields<'_>, rules: &Rules, at: &str, problems: &mut Vec<String>) -> Option<Self> {
        let text = match fields.value(rules) {
            Some(value) => String::read(&value, at, problems)?,
            None => {
                problems.push(format!("{at} is missing"));
                return None;
            }
        };
        let kind = fields.text(rules.type_name).or(rules.kinds.first().copied()).unwrap_or("str").to_owned();
        if !rules.kinds.is_empty() && !rules.kinds.contains(&kind.as_str()) {
            let place = at.strip_suffix(rules.name).unwrap_or_default();
            let name = rules.type_name;
            problems.push(format!("{place}{name} is \"{kind}\"; one of {} was expected", rules.kinds.join(", ")));
            return None;
        }
        Some(Self { kind, text })
    }

    /// A caller may send the text, and a kind that reads nothing but what callers send anyway: `env` or `global`
    /// would hand out what is the operator's.
    fn over_field(&self, body: &Fields<'_>, rules: &Rules, at: &str, problems: &mut Vec<String>) -> Option<Self> {
        let mut found = self.clone();
        if body.has(rules.name) {
            found.text = String::read(body.get(rules.name)?, at, problems)?;
        }
        if let Some(kind) = body.text(rules.type_name).filter(|kind| *kind != self.kind) {
            let harmless = ["msg", "str", "num", "bool", "json", "bin", "re", "date"].contains(&kind);
            if !harmless || !rules.kinds.is_empty() && !rules.kinds.contains(&kind) {
                let place = at.strip_suffix(rules.name).unwrap_or_default();
                problems.push(format!("{place}{} is \"{kind}\", which a caller cannot choose here", rules.type_name));
                return None;
            }
            found.kind = kind.to_owned();
        }
        Some(found)
    }

    fn describe_field(rules: &Rules, properties: &mut Map<String, Value>, required: &mut Vec<Value>) {
        let all = ["msg", "flow", "global", "env", "str", "num", "bool", "json", "bin", "re", "date", "jsonata"];
        let kinds = if rules.kinds.is_empty() { &all[..] } else { rules.kinds };
        if rules.default.is_none() {
            required.push(Value::from(rules.name));
        }
        let mut schema = rules.describe(Self::schema());
        schema["x-typed-input"] = json!({ "kinds": kinds, "kindProperty": rules.type_name });
        properties.insert(rules.name.to_owned(), schema);
        let first = rules.kinds.first().copied().unwrap_or("str");
        let kind = json!({ "type": "string", "enum": kinds, "default": first, "x-hidden": true });
        properties.insert(rules.type_name.to_owned(), kind);
    }
}
