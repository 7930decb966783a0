//! What an answer of a policy decides. Undefined is neither allowed nor denied.

use probity_sdk::prelude::*;
use status_conventions::value::shown;

use crate::compiled::{Answer, json};

/// What the query is expected to answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Config)]
pub enum Gives {
    /// true or false.
    Allow,
    /// The reasons against it: none allow it.
    Deny,
    /// An object whose `allow` is true or false.
    Object,
}

/// What was decided.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    Allowed,
    Denied,
    Undefined,
}

impl Decision {
    /// What the answer to `query` means.
    pub fn of(gives: Gives, answer: Option<&Value>, query: &str) -> Result<Self> {
        let Some(answer) = answer else { return Ok(Self::Undefined) };
        match (gives, answer) {
            (Gives::Allow, Value::Bool(allowed)) => Ok(Self::from(*allowed)),
            (Gives::Deny, Value::Array(reasons)) => Ok(Self::from(reasons.is_empty())),
            (Gives::Object, Value::Object(object)) => match object.get("allow") {
                None | Some(Value::Null) => Ok(Self::Undefined),
                Some(Value::Bool(allowed)) => Ok(Self::from(*allowed)),
                Some(other) => bail!("{query} has the allow {}: true or false was expected", shown(other)),
            },
            _ => {
                let expected = match gives {
                    Gives::Allow => "true or false",
                    Gives::Deny => "a set of reasons",
                    Gives::Object => "an object with allow",
                };
                bail!("{query} is {}: {expected} was expected (see The query gives)", shown(answer))
            }
        }
    }

    pub fn word(self) -> &'static str {
        match self {
            Self::Allowed => "allowed",
            Self::Denied => "denied",
            Self::Undefined => "undefined",
        }
    }

    /// Output of the node.
    pub fn port(self) -> u32 {
        match self {
            Self::Allowed => 0,
            Self::Denied => 1,
            Self::Undefined => 2,
        }
    }

    /// `None` for undefined.
    pub fn outcome(self) -> Option<bool> {
        match self {
            Self::Allowed => Some(true),
            Self::Denied => Some(false),
            Self::Undefined => None,
        }
    }
}

impl From<bool> for Decision {
    fn from(allowed: bool) -> Self {
        if allowed { Self::Allowed } else { Self::Denied }
    }
}

/// The messages of an answer: the items of a set or list, or the one it is. Undefined has none.
pub fn messages(answer: &Answer) -> Result<Vec<Value>> {
    Ok(match answer.as_ref().map(json).transpose()? {
        None | Some(Value::Null) => Vec::new(),
        Some(Value::Array(items)) => items,
        Some(one) => vec![one],
    })
}
