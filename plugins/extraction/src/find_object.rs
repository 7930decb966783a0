//! `find-object`: the first object of a list whose property has a value.

use probity_sdk::TypedInput;
use probity_sdk::prelude::*;
use status_conventions::value::kind;

use crate::sought::Sought;

/// Finds the first object of a list whose property *Key* has the value looked for.
///
/// `msg.payload` is the list. Sends the object found as `msg.payload`, null when there is none, and the list as
/// `msg.array`.
///
/// The value may be a text, a number, true or false, JSON, a property of the message, a value of the flow or global
/// context, an environment variable, a date or a JSONata expression. Values are equal if they are the same as JSON: a
/// number is never equal to its text, and the order of an object's keys does not count. A *date* is equal to every text
/// and number (milliseconds since 1970) that is the same point in time.
///
/// A payload that is no list, no key, and a value that cannot be had are errors. Elements that are no objects are passed
/// over.
///
/// A caller may send `key`, `keyValue` and `keyValueType` in the body of the request; of the types only those that read
/// nothing of the operator's: not `flow`, `global`, `env` or `jsonata`.
#[derive(Clone, Config)]
pub struct FindObject {
    /// Property of the objects.
    #[config(label = "Key", default = "")]
    key: String,
    /// The value looked for.
    #[config(name = "keyValue", label = "Value", default = "")]
    value: TypedInput,
}

#[node(
    type = "find-object",
    category = "extraction",
    color = "#DDAA99",
    icon = "fa-search",
    capabilities = ["typed-input"]
)]
impl Node for FindObject {
    fn process(&self, mut msg: Message, cx: &Context) -> Result<()> {
        let key = msg.param("key").map_or(self.key.clone(), text);
        let Value::Array(list) = msg.payload() else {
            bail!("Payload must be an array; msg.payload is {}", present(&msg));
        };
        ensure!(!key.is_empty(), "Key must be defined");
        let sought = Sought::of(&self.value, &msg, cx)?;
        let matches = |item: &&Value| property(item, &key).is_some_and(|value| sought.is(value));
        let found = list.iter().find(matches).cloned().unwrap_or(Value::Null);
        let list = msg.remove("payload").unwrap_or_default();
        msg.set("array", list).set_payload(found);
        cx.emit(0, msg)
    }
}

fn present(msg: &Message) -> &'static str {
    if msg.has("payload") { kind(msg.payload()) } else { "undefined" }
}

/// A caller's text, or what stands for one.
fn text(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

fn property<'v>(item: &'v Value, key: &str) -> Option<&'v Value> {
    match item {
        Value::Object(object) => object.get(key),
        Value::Array(items) => items.get(key.parse::<usize>().ok()?),
        _ => None,
    }
}
