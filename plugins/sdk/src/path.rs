//! Paths into messages, written as in Node-RED: `payload.items[0].name`, `headers["content-type"]`.

use serde_json::{Map, Value};

use crate::{Error, Result, bail};

/// One step of a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step<'p> {
    Name(&'p str),
    Index(usize),
}

impl<'p> Step<'p> {
    pub(crate) fn name(self) -> Option<&'p str> {
        match self {
            Step::Name(name) => Some(name),
            Step::Index(_) => None,
        }
    }
}

/// The steps of `path`. A leading `msg.` is the message itself.
pub(crate) fn steps(path: &str) -> impl Iterator<Item = Step<'_>> {
    let mut rest = path.strip_prefix("msg.").unwrap_or(path);
    std::iter::from_fn(move || {
        rest = rest.strip_prefix('.').unwrap_or(rest);
        if rest.is_empty() {
            return None;
        }
        let (step, left) = match rest.strip_prefix('[').and_then(|inner| inner.split_once(']')) {
            Some((inner, left)) => (bracketed(inner), left),
            None => {
                let end =
                    rest.char_indices().skip(1).find(|(_, c)| matches!(c, '.' | '[')).map_or(rest.len(), |(at, _)| at);
                (Step::Name(&rest[..end]), &rest[end..])
            }
        };
        rest = left;
        Some(step)
    })
}

fn bracketed(inner: &str) -> Step<'_> {
    match inner.parse() {
        Ok(index) => Step::Index(index),
        Err(_) => Step::Name(inner.trim_matches(['"', '\''])),
    }
}

/// The value the steps lead to.
pub(crate) fn follow<'v, 'p>(from: &'v Value, steps: impl Iterator<Item = Step<'p>>) -> Option<&'v Value> {
    let mut value = from;
    for step in steps {
        value = match step {
            Step::Name(name) => match value {
                Value::Array(items) => items.get(name.parse::<usize>().ok()?)?,
                other => other.get(name)?,
            },
            Step::Index(index) => value.get(index)?,
        };
    }
    Some(value)
}

/// Puts `value` where the steps lead to, making objects where nothing is.
pub(crate) fn put(from: &mut Value, steps: &[Step<'_>], value: Value) -> Result<()> {
    let Some((step, rest)) = steps.split_first() else {
        *from = value;
        return Ok(());
    };
    if from.is_null() {
        *from = Value::Object(Map::new());
    }
    // As `follow` reads it.
    let step = &match (&*from, step) {
        (Value::Array(_), Step::Name(name)) => name.parse::<usize>().map_or(*step, Step::Index),
        _ => *step,
    };
    let next = match (from, step) {
        (Value::Object(entries), Step::Name(name)) => entries.entry(*name).or_insert(Value::Null),
        (Value::Array(items), Step::Index(index)) => {
            let length = items.len();
            if *index == length {
                items.push(Value::Null);
            }
            items.get_mut(*index).ok_or_else(|| Error::new(format!("[{index}] is beyond an array of {length}")))?
        }
        (_, Step::Name(name)) => bail!("`{name}` of something that is not an object"),
        (_, Step::Index(index)) => bail!("[{index}] of something that is not an array"),
    };
    put(next, rest, value)
}

/// Takes out what the steps lead to, if it is there.
#[cfg(not(target_family = "wasm"))]
pub(crate) fn remove(from: &mut Value, steps: &[Step<'_>]) {
    let Some((last, before)) = steps.split_last() else { return };
    let mut at = from;
    for step in before {
        let next = match step {
            Step::Name(name) => at.get_mut(name),
            Step::Index(index) => at.get_mut(index),
        };
        let Some(next) = next else { return };
        at = next;
    }
    if let (Value::Object(entries), Step::Name(name)) = (at, last) {
        entries.shift_remove(*name);
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn steps_are_those_of_node_red() {
        let found: Vec<_> = steps("msg.payload.items[0]['a.b'].c").collect();
        assert_eq!(
            found,
            [Step::Name("payload"), Step::Name("items"), Step::Index(0), Step::Name("a.b"), Step::Name("c")]
        );
        assert_eq!(steps("").count(), 0);
        assert_eq!(steps("a[").collect::<Vec<_>>(), [Step::Name("a"), Step::Name("[")]);
        assert_eq!(steps("é..ü").collect::<Vec<_>>().len(), 2);
    }

    #[test]
    fn put_makes_objects_and_refuses_what_cannot_be() {
        let mut value = json!({ "list": [1], "text": "x" });
        put(&mut value, &steps("a.b").collect::<Vec<_>>(), json!(1)).unwrap();
        put(&mut value, &steps("list[1]").collect::<Vec<_>>(), json!(2)).unwrap();
        assert_eq!(value, json!({ "list": [1, 2], "text": "x", "a": { "b": 1 } }));
        let beyond = put(&mut value, &steps("list[7]").collect::<Vec<_>>(), json!(2)).unwrap_err();
        assert_eq!(beyond.message(), "[7] is beyond an array of 2");
        assert!(put(&mut value, &steps("text.a").collect::<Vec<_>>(), json!(2)).is_err());
        assert_eq!(follow(&value, steps("list.0")), Some(&json!(1)));
        assert_eq!(follow(&value, steps("list[9]")), None);
    }
}
