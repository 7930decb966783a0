//! What was said before: in this run, or in a conversation that the caller names.

use probity_sdk::{Context, Message, Result, Value};
use serde::{Deserialize, Serialize};

/// Conversations kept per node; the one that is longest without a question goes first.
const CONVERSATIONS_MAX: usize = 200;

/// One thing said.
#[derive(Clone, Debug, Serialize, Deserialize, PartialEq)]
pub struct Turn {
    /// `user` or `model`.
    pub role: String,
    pub text: String,
}

/// Where the turns are kept.
pub struct Conversation {
    name: Option<String>,
}

impl Conversation {
    /// The conversation `conversationId` of the body or the message; without one, what this run has said.
    pub fn of(msg: &Message) -> Self {
        let named = msg.param("conversationId").or_else(|| msg.get("conversationId"));
        let name = named.and_then(|id| match id {
            Value::String(id) if !id.is_empty() => Some(id.clone()),
            Value::Number(id) => Some(id.to_string()),
            _ => None,
        });
        Self { name }
    }

    /// What was said, oldest first.
    pub fn turns(&self, cx: &Context) -> Result<Vec<Turn>> {
        let found = match &self.name {
            Some(name) => cx.node_state().get(&key(name))?,
            None => cx.run_state().get("turns")?,
        };
        Ok(found.unwrap_or_default())
    }

    /// Adds a question and its answer; the last `pairs_max` pairs stay.
    pub fn add(&self, question: &str, answer: &str, pairs_max: usize, cx: &Context) -> Result<()> {
        let turn = |role: &str, text: &str| Turn { role: role.to_owned(), text: text.to_owned() };
        let (question, answer) = (turn("user", question), turn("model", answer));
        let (state, key) = match &self.name {
            Some(name) => {
                self.make_room(name, cx)?;
                (cx.node_state(), key(name))
            }
            None => (cx.run_state(), "turns".to_owned()),
        };
        state.with(&key, |turns: &mut Vec<Turn>| {
            turns.extend([question.clone(), answer.clone()]);
            // Whole pairs, so that it never begins with an answer.
            let excess = turns.len().saturating_sub(pairs_max * 2);
            turns.drain(..excess);
            Ok(())
        })
    }

    fn make_room(&self, name: &str, cx: &Context) -> Result<()> {
        let gone = cx.node_state().with("conversations", |names: &mut Vec<String>| {
            names.retain(|known| known != name);
            names.push(name.to_owned());
            let excess = names.len().saturating_sub(CONVERSATIONS_MAX);
            Ok(names.drain(..excess).collect::<Vec<_>>())
        })?;
        gone.iter().for_each(|name| cx.node_state().delete(&key(name)));
        Ok(())
    }
}

fn key(name: &str) -> String {
    format!("conversation/{name}")
}
