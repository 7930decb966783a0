//! `filter-scope`: lets pass what belongs to the scope that is asked for.

use probity_sdk::Map;
use probity_sdk::prelude::*;
use status_conventions::value::kind;

/// Lets messages pass that belong to the scope of the request, and notes their scope.
///
/// STATUS sends a scope in the body of its request, for example `{country: "Spain", declaration: "*"}`. Each filter
/// compares one attribute of it with the message's data: the attributes of the trace in `msg.payload.trace.string`,
/// `msg.payload.string`, or `msg.payload` itself, at any depth, as XES logs have them (`{$: {key, value}}`,
/// `{key, value}`) or plain (`{"concept:name": "…"}`).
///
/// - A value: the message passes if some attribute of that key has it.
/// - `*`: every value is in scope; the first one found is put into `msg.payload.scope`. Where none is found the message
///   does not pass.
/// - The scope does not name the attribute: the filter holds nothing back.
///
/// What passes goes on with `msg.payload.scope`; what does not is dropped, without error. A payload that is a list
/// becomes `{string: [...], scope}`. Data or a scope that cannot be read are errors.
///
/// A caller may send other `filters` in the body of the request.
#[derive(Clone, Config)]
pub struct FilterScope {
    /// The scope's attributes and the keys they have in the data.
    #[config(label = "Filters", default = json!([]), rows)]
    filters: Vec<Filter>,
}

/// One attribute of the scope.
#[derive(Clone, Config)]
pub struct Filter {
    /// Attribute of the scope, for example `declaration`.
    #[config(label = "Scope attribute")]
    attribute: String,
    /// Its key in the data, for example `concept:name`.
    #[config(label = "Key in the data")]
    value: String,
}

#[node(
    type = "filter-scope",
    category = "status",
    color = "#DDAA99",
    icon = "fa-sitemap",
    wants = ["payload", "req"],
    capabilities = []
)]
impl Node for FilterScope {
    fn process(&self, mut msg: Message, cx: &Context) -> Result<()> {
        let filters = self.over(&msg)?.filters;
        let mut scope = scope(&msg, filters.is_empty())?;
        if !filters.is_empty() {
            let data = data(msg.payload())?;
            if !filters.iter().all(|filter| filter.passes(&mut scope, &data)) {
                return Ok(());
            }
        }
        note(msg.payload_mut(), scope)?;
        cx.emit(0, msg)
    }
}

impl Filter {
    /// Whether the data has what the scope asks for. `*` is replaced by what was found.
    fn passes(&self, scope: &mut Map<String, Value>, data: &[&Value]) -> bool {
        let Some(asked) = scope.get_mut(&self.attribute) else { return true };
        let mut found = Vec::new();
        data.iter().for_each(|item| collect(item, &self.value, &mut found));
        if asked != "*" {
            return found.iter().any(|value| same(value, asked));
        }
        match found.first() {
            Some(first) => {
                *asked = (*first).clone();
                true
            }
            None => false,
        }
    }
}

/// The scope that is asked for; without filters there may be none.
fn scope(msg: &Message, optional: bool) -> Result<Map<String, Value>> {
    match msg.param("scope") {
        Some(Value::Object(scope)) => Ok(scope.clone()),
        None if optional => Ok(Map::new()),
        None => {
            bail!("msg.req.body.scope is missing: STATUS sends it with its request, for example {{\"country\": \"*\"}}")
        }
        Some(other) => bail!("msg.req.body.scope is {}: an object was expected", kind(other)),
    }
}

fn data(payload: &Value) -> Result<Vec<&Value>> {
    let places = [payload.get("trace").and_then(|trace| trace.get("string")), payload.get("string")];
    match places.into_iter().flatten().find(|found| !found.is_null()) {
        Some(Value::Array(items)) => Ok(items.iter().collect()),
        // xml2js writes a list of one as the one itself, if told so.
        Some(one @ Value::Object(_)) => Ok(vec![one]),
        Some(other) => bail!("the trace's attributes are {}: {EXPECTED}", kind(other)),
        None => match payload {
            Value::Array(items) => Ok(items.iter().collect()),
            other => bail!("msg.payload is {} without attributes: {EXPECTED}", kind(other)),
        },
    }
}

const EXPECTED: &str = "a list was expected in msg.payload.trace.string, msg.payload.string or msg.payload";

/// The values that this key has in the data, at any depth.
fn collect<'v>(item: &'v Value, key: &str, found: &mut Vec<&'v Value>) {
    match item {
        Value::Array(items) => items.iter().for_each(|item| collect(item, key, found)),
        Value::Object(object) => {
            if let Some(plain) = object.get(key) {
                found.push(plain);
            } else if is_named(object, key) {
                found.extend(object.get("value"));
            } else {
                object.values().for_each(|value| collect(value, key, found));
            }
        }
        _ => {}
    }
}

/// `{key: KEY, value}`, whatever the property is called where it is not `key`.
fn is_named(object: &Map<String, Value>, key: &str) -> bool {
    match object.get("key") {
        Some(named) => named == key,
        None => object.iter().any(|(name, value)| name != "value" && value == key),
    }
}

/// JavaScript's `===` for what JSON can hold; 1 and 1.0 are the same number.
fn same(one: &Value, other: &Value) -> bool {
    match (one, other) {
        (Value::Number(one), Value::Number(other)) => one.as_f64() == other.as_f64(),
        (Value::Array(_) | Value::Object(_), _) => false,
        _ => one == other,
    }
}

fn note(payload: &mut Value, scope: Map<String, Value>) -> Result<()> {
    if payload.is_array() {
        let list = payload.take();
        *payload = json!({ "string": list });
    }
    match payload {
        Value::Object(object) => {
            object.insert("scope".to_owned(), Value::Object(scope));
            Ok(())
        }
        other => bail!("msg.payload is {}: a scope can only be written to an object or a list", kind(other)),
    }
}
