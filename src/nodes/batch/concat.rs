//! The sequences of a batch that joins them topic by topic.

use std::collections::VecDeque;

use arcstr::ArcStr;

use super::super::combining::{kept_msgs, restored_msgs};
use crate::model::{Msg, Value};

/// Sequences that wait for those of the other topics.
#[derive(Default)]
pub(super) struct Concat {
    sequences: VecDeque<Sequence>,
}

struct Sequence {
    topic: Value,
    id: ArcStr,
    count: Option<f64>,
    msgs: Vec<Msg>,
}

impl Sequence {
    fn is_whole(&self) -> bool {
        self.count == Some(self.msgs.len() as f64)
    }
}

impl Concat {
    /// Messages that wait.
    pub(super) fn held(&self) -> usize {
        self.sequences.iter().map(|s| s.msgs.len()).sum()
    }

    pub(super) fn msgs(&self) -> impl Iterator<Item = &Msg> {
        self.sequences.iter().flat_map(|s| &s.msgs)
    }

    /// What a durable run keeps of it.
    pub(super) fn kept(&self) -> Value {
        let sequence = |s: &Sequence| {
            let count = s.count.map_or(Value::Null, Value::Number);
            Value::array(vec![s.topic.clone(), Value::from(s.id.clone()), count, kept_msgs(&s.msgs)])
        };
        Value::array(self.sequences.iter().map(sequence).collect())
    }

    /// What [`Concat::kept`] kept.
    pub(super) fn restored(kept: &Value) -> Concat {
        let sequence = |kept: &Value| Sequence {
            topic: kept.get("0"),
            id: kept.get("1").to_js_string(),
            count: kept.get("2").as_f64(),
            msgs: restored_msgs(&kept.get("3")),
        };
        Concat { sequences: kept.as_array().unwrap_or_default().iter().map(sequence).collect() }
    }

    /// Adds a message; gives the messages of all topics once the oldest sequence of each is whole. A message of
    /// another topic is dropped.
    pub(super) fn add(&mut self, msg: Msg, topics: &[Value]) -> Result<Option<Vec<Msg>>, &'static str> {
        let topic = msg.get("topic").cloned().unwrap_or_default();
        if !topics.iter().any(|t| t.strict_eq(&topic)) {
            return Ok(None);
        }
        let parts = msg.get("parts").and_then(Value::as_object);
        let part = |key: &str| parts.and_then(|p| p.get(key));
        let (Some(id), Some(_), Some(count)) = (part("id"), part("index"), part("count")) else {
            return Err("no parts property in message");
        };
        let (id, count) = (id.to_js_string(), Some(count).filter(|c| !c.is_undefined()).map(Value::to_number));
        match self.sequences.iter_mut().find(|s| s.id == id && s.topic.strict_eq(&topic)) {
            Some(sequence) => {
                sequence.count = sequence.count.or(count);
                sequence.msgs.push(msg);
            }
            None => self.sequences.push_back(Sequence { topic, id, count, msgs: vec![msg] }),
        }
        let oldest = |topic: &Value| self.sequences.iter().find(|s| s.topic.strict_eq(topic));
        if !topics.iter().all(|topic| oldest(topic).is_some_and(Sequence::is_whole)) {
            return Ok(None);
        }
        let mut joined = Vec::new();
        for topic in topics {
            // A topic named twice gives its sequence twice, and then it is gone.
            joined.extend(
                self.sequences.iter().find(|s| s.topic.strict_eq(topic)).into_iter().flat_map(|s| s.msgs.clone()),
            );
        }
        for topic in topics {
            if let Some(at) = self.sequences.iter().position(|s| s.topic.strict_eq(topic)) {
                self.sequences.remove(at);
            }
        }
        Ok(Some(joined))
    }
}
