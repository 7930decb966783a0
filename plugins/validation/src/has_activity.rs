//! `has-activity`: an activity occurs in a trace.

use probity_sdk::prelude::*;
use status_conventions::trace;
use status_conventions::value::shown;
use status_conventions::verdict::{self, Finding};

use crate::fuzzy::Pattern;

/// Checks that an activity occurs in a trace.
///
/// Reads the events of the trace in `msg.payload.trace.event`, `msg.payload.event`, `msg.payload.events` or
/// `msg.payload`, finds in them, at any depth, the objects that have the attribute (as a property's name, or as a
/// property's value, such as `{"key": "concept:name", "value": "Approve"}`), and sets `msg.payload.result`: true if the
/// value of one of them **is** the activity. In rows such as `{"activity": "Approve"}` name the property that holds it
/// in *Value*, a path if need be; without one, `value` is looked at, else the attribute itself.
///
/// *Store evidences* adds `{id, key: activity, value: [the objects found], result}` to `msg.payload.evidences`. A
/// caller may send `conceptName`, `attribute`, `value` and `storeEvidences` in the body of the request.
#[derive(Clone, Config)]
pub struct HasActivity {
    /// The activity looked for.
    #[config(name = "conceptName", label = "Activity", default = "")]
    activity: String,
    /// The attribute that holds activities.
    #[config(label = "Attribute", default = "", placeholder = "concept:name")]
    attribute: String,
    /// The property that holds the attribute's value.
    #[config(label = "Value", default = "", placeholder = "value")]
    value: String,
    /// How near a name must be: the same, the same but for upper and lower case, containing the activity, or similar
    /// (fuzzy).
    #[config(name = "match", label = "Match", default = "exact")]
    how: Match,
    /// Keep what was found as evidence.
    #[config(name = "storeEvidences", label = "Store evidences", default = false)]
    store_evidences: bool,
}

/// How near a name must be to the activity looked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Config)]
pub enum Match {
    /// The same.
    Exact,
    /// The same but for upper and lower case.
    IgnoreCase,
    /// Containing it, upper and lower case apart.
    Contains,
    /// Similar, as node-red-status bc5d353 has it (Fuse.js, threshold 0.3): *Project* is *Reject*.
    Fuzzy,
}

#[node(
    type = "has-activity",
    category = "validation",
    color = "#DDAA99",
    icon = "fa-search",
    wants = ["payload", "req"],
    capabilities = ["evidence"]
)]
impl Node for HasActivity {
    fn process(&self, mut msg: Message, cx: &Context) -> Result<()> {
        let config = self.over(&msg)?;
        ensure!(!config.activity.is_empty(), "conceptName is empty: the name of an activity was expected");
        ensure!(!config.attribute.is_empty(), "attribute is empty: for example concept:name was expected");
        let mut objects = Vec::new();
        for event in trace::events(msg.payload())? {
            objects_with(event, &config.attribute, &mut objects);
        }
        let hits: Vec<Value> = match config.how {
            Match::Fuzzy => config.similar(&objects),
            _ => {
                let named = objects.iter().map(|object| Ok(config.names(object)?.then(|| (*object).clone())));
                named.filter_map(Result::transpose).collect::<Result<_>>()?
            }
        };
        let result = !hits.is_empty();
        verdict::conclude(&mut msg, result)?;
        if config.store_evidences {
            verdict::store(&mut msg, cx, &Finding::new(config.activity.clone(), hits, result))?;
        }
        cx.emit(0, msg)
    }
}

impl HasActivity {
    /// Whether the object's value is the activity; a list's is if one of its elements is.
    fn names(&self, object: &Value) -> Result<bool> {
        let found = match self.value.as_str() {
            "" => object.get("value").or(object.get(&self.attribute)),
            path => object.get(path).or_else(|| path.split('.').try_fold(object, |value, name| value.get(name))),
        };
        match found {
            None | Some(Value::Null) => Ok(false),
            Some(Value::Array(all)) => Ok(all.iter().any(|one| self.is(one))),
            Some(Value::Object(_)) => {
                bail!("the value of {} is an object: name the path to its text in Value", shown(object))
            }
            Some(one) => Ok(self.is(one)),
        }
    }

    /// The objects with a similar value, the most similar first. Objects and what is no text are passed over, as there.
    fn similar(&self, objects: &[&Value]) -> Vec<Value> {
        let pattern = Pattern::new(&self.activity);
        let path = if self.value.is_empty() { "value" } else { &self.value };
        let scored = objects.iter().filter_map(|object| {
            let found = path.split('.').try_fold(*object, |value, name| value.get(name))?;
            let all = found.as_array().map_or(std::slice::from_ref(found), Vec::as_slice);
            let texts = all.iter().filter(|one| one.is_string() || one.is_number() || one.is_boolean());
            let scores = texts.filter_map(|one| pattern.score(&text(one)));
            Some((scores.reduce(|all, one| all * one)?, (*object).clone()))
        });
        let mut scored: Vec<(f64, Value)> = scored.collect();
        scored.sort_by(|(one, _), (other, _)| one.total_cmp(other));
        scored.into_iter().map(|(_, object)| object).collect()
    }

    fn is(&self, value: &Value) -> bool {
        let name = text(value);
        match self.how {
            Match::Exact => name == self.activity,
            Match::IgnoreCase => name.to_lowercase() == self.activity.to_lowercase(),
            Match::Contains => name.to_lowercase().contains(&self.activity.to_lowercase()),
            Match::Fuzzy => Pattern::new(&self.activity).score(&name).is_some(),
        }
    }
}

fn text(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

/// The objects that have the attribute, the outermost ones.
fn objects_with<'v>(value: &'v Value, attribute: &str, found: &mut Vec<&'v Value>) {
    match value {
        Value::Array(items) => items.iter().for_each(|item| objects_with(item, attribute, found)),
        Value::Object(object) if object.contains_key(attribute) || object.values().any(|value| value == attribute) => {
            found.push(value);
        }
        Value::Object(object) => object.values().for_each(|value| objects_with(value, attribute, found)),
        _ => {}
    }
}
