//! Values of a settings.js, as far as they can be read.

/// A value and the line it begins in.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Value {
    pub is: Is,
    pub line: usize,
}

#[derive(Clone, Debug, PartialEq)]
pub(super) enum Is {
    Undefined,
    Null,
    Bool(bool),
    Number(f64),
    Text(String),
    /// The hash of a text, as `bcrypt.hashSync(text, 8)` makes one: the text itself.
    HashOf(String),
    List(Vec<Value>),
    /// Names in the order of the file; a later one of the same name counts.
    Object(Vec<(String, Value)>),
    /// Something that only JavaScript could tell: what it is.
    Unread(&'static str),
}

impl Value {
    pub(super) fn unread(what: &'static str, line: usize) -> Value {
        Value { is: Is::Unread(what), line }
    }

    /// A member of an object; the last of its name.
    pub(super) fn get(&self, name: &str) -> Option<&Value> {
        match &self.is {
            Is::Object(members) => members.iter().rev().find(|(key, _)| key == name).map(|(_, value)| value),
            _ => None,
        }
    }

    /// As JavaScript has it; `None` for what is unread.
    pub(super) fn truthy(&self) -> Option<bool> {
        Some(match &self.is {
            Is::Undefined | Is::Null => false,
            Is::Bool(flag) => *flag,
            Is::Number(number) => *number != 0.0 && !number.is_nan(),
            Is::Text(text) => !text.is_empty(),
            Is::HashOf(_) | Is::List(_) | Is::Object(_) => true,
            Is::Unread(_) => return None,
        })
    }

    /// The text of a primitive value in a concatenation.
    pub(super) fn text(&self) -> Option<String> {
        Some(match &self.is {
            Is::Undefined => "undefined".into(),
            Is::Null => "null".into(),
            Is::Bool(flag) => flag.to_string(),
            Is::Number(number) => crate::model::value::number_to_string(*number).to_string(),
            Is::Text(text) => text.clone(),
            _ => return None,
        })
    }
}
