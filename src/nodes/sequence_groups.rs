//! Messages of sequences (`msg.parts`) held until their sequence is complete.

use std::collections::HashMap;

use arcstr::ArcStr;

use super::combining::Sequences;
use crate::model::{Msg, Value};
use crate::runtime::NodeState;

/// What `msg.parts` says about a message that belongs to a sequence.
#[derive(Clone, Debug, PartialEq)]
pub struct Parts {
    pub id: ArcStr,
    /// Length of the sequence, when it is known.
    pub count: Option<f64>,
}

impl Parts {
    /// `None` without `parts.id` and `parts.index`.
    pub fn of(msg: &Msg) -> Option<Parts> {
        let Some(Value::Object(parts)) = msg.get("parts") else { return None };
        let id = parts.get("id")?.to_js_string();
        parts.get("index")?;
        Some(Parts { id, count: parts.get("count").and_then(Value::as_f64) })
    }
}

/// Incomplete sequences by id.
pub struct Groups<T> {
    groups: HashMap<ArcStr, Group<T>>,
    held: usize,
}

struct Group<T> {
    items: Vec<T>,
    count: Option<f64>,
}

/// More was held than allowed; all of it was dropped.
#[derive(Debug, PartialEq)]
pub struct TooMany;

impl<T> Default for Groups<T> {
    fn default() -> Self {
        Groups { groups: HashMap::new(), held: 0 }
    }
}

impl<T> Groups<T> {
    /// Items that wait for the rest of their sequence.
    pub fn held(&self) -> usize {
        self.held
    }

    /// Adds one item; gives the whole sequence, in the order of arrival, once it has `parts.count` items.
    /// `limit`: items that may be held over all sequences.
    pub fn add(&mut self, parts: &Parts, item: T, limit: usize) -> Result<Option<Vec<T>>, TooMany> {
        let group = self.groups.entry(parts.id.clone()).or_insert_with(|| Group { items: Vec::new(), count: None });
        group.items.push(item);
        group.count = parts.count.or(group.count);
        self.held += 1;
        if group.count == Some(group.items.len() as f64) {
            let items = self.groups.remove(&parts.id).map(|g| g.items).unwrap_or_default();
            self.held -= items.len();
            return Ok(Some(items));
        }
        if self.held > limit {
            *self = Groups::default();
            return Err(TooMany);
        }
        Ok(None)
    }

    /// Whether some of this sequence is held.
    pub fn holds(&self, id: &str) -> bool {
        self.groups.contains_key(id)
    }

    /// Adds all that `other` holds; gives the sequences that are whole with it.
    pub fn absorb(&mut self, other: Groups<T>, limit: usize) -> Result<Vec<Vec<T>>, TooMany> {
        let mut whole = Vec::new();
        for (id, group) in other.groups {
            let parts = Parts { id, count: group.count };
            for item in group.items {
                whole.extend(self.add(&parts, item, limit)?);
            }
        }
        Ok(whole)
    }
}

impl<T> Groups<T> {
    /// What a durable run keeps of it; `item` says what of an item.
    pub fn kept(&self, item: impl Fn(&T) -> Value) -> Value {
        let group = |(id, group): (&ArcStr, &Group<T>)| {
            let count = group.count.map_or(Value::Null, Value::Number);
            Value::array(vec![Value::from(id.clone()), count, Value::array(group.items.iter().map(&item).collect())])
        };
        Value::array(self.groups.iter().map(group).collect())
    }

    /// What [`Groups::kept`] kept.
    pub fn restored(kept: &Value, item: impl Fn(&Value) -> Option<T>) -> Groups<T> {
        let mut groups = Groups::default();
        for group in kept.as_array().unwrap_or_default() {
            let items: Vec<T> = group.get("2").as_array().unwrap_or_default().iter().filter_map(&item).collect();
            groups.held += items.len();
            groups.groups.insert(group.get("0").to_js_string(), Group { items, count: group.get("1").as_f64() });
        }
        groups
    }
}

impl NodeState for Groups<Msg> {
    fn kept(&self) -> Option<Value> {
        (self.held > 0).then(|| Groups::kept(self, Msg::to_value))
    }

    fn restored(kept: &Value) -> Option<Self> {
        Some(Groups::restored(kept, Msg::from_value))
    }
}

impl Sequences for Groups<Msg> {
    fn holds(&self, id: &str) -> bool {
        Groups::holds(self, id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sequences_complete_apart_and_too_many_are_dropped() {
        let parts = |id: &str, count: Option<f64>| Parts { id: id.into(), count };
        let mut groups = Groups::default();
        assert_eq!(groups.add(&parts("a", None), 1, 3), Ok(None));
        assert_eq!(groups.add(&parts("b", Some(2.0)), 2, 3), Ok(None));
        assert_eq!(groups.add(&parts("a", Some(2.0)), 3, 3), Ok(Some(vec![1, 3])));
        assert_eq!(groups.add(&parts("b", None), 4, 3), Ok(Some(vec![2, 4])));
        for i in 0..3 {
            assert_eq!(groups.add(&parts("c", None), i, 3), Ok(None));
        }
        assert_eq!(groups.add(&parts("c", None), 9, 3), Err(TooMany));
        assert_eq!(groups.add(&parts("c", Some(1.0)), 9, 3), Ok(Some(vec![9])));
    }

    #[test]
    fn sequences_of_two_holders_come_together() {
        let of = |items: &[(&str, i32)]| {
            let mut groups = Groups::default();
            for (id, item) in items {
                let parts = Parts { id: (*id).into(), count: Some(2.0) };
                assert_eq!(groups.add(&parts, *item, 9), Ok(None));
            }
            groups
        };
        let mut groups = of(&[("a", 1), ("b", 2)]);
        assert_eq!(groups.absorb(of(&[("b", 3), ("c", 4)]), 9), Ok(vec![vec![2, 3]]));
        assert!(groups.holds("a") && groups.holds("c") && !groups.holds("b"));
        assert_eq!((groups.held(), groups.absorb(of(&[("d", 5)]), 2)), (2, Err(TooMany)));
    }
}
