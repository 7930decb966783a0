//! Documents as a source holds them, read only when they have changed.

use std::collections::HashMap;
use std::sync::Arc;

use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::agreement;
use crate::model::agreement::Agreement;
use crate::model::diagnostic::Diagnostic;

/// One document of a source, usable or not.
#[derive(Clone, Debug)]
pub struct Document {
    /// What it is known by in its source while its content changes: a path, an `_id`.
    pub key: String,
    /// Where it is, for people, without secrets; [`Agreement::source`] and the diagnostics' file.
    pub source: String,
    pub content: Content,
    pub diagnostics: Vec<Diagnostic>,
}

#[derive(Clone, Debug)]
pub enum Content {
    Agreement(Arc<Agreement>),
    /// A document of `type: template`, verbatim.
    Template {
        id: String,
        document: Arc<Value>,
    },
    /// The diagnostics say what is wrong.
    Broken,
}

/// All that a source holds.
#[derive(Clone, Debug, Default)]
pub struct Found {
    pub documents: Vec<Document>,
    /// Problems of the source that belong to no document.
    pub diagnostics: Vec<Diagnostic>,
    /// For a source that numbers its states: one that is older than what is held is left aside.
    pub revision: i64,
}

impl Document {
    /// An agreement from text.
    pub fn of_text(key: &str, source: &str, text: &str) -> Document {
        Document::of(key, source, agreement::load(text, source))
    }

    /// An agreement from a document that is parsed already.
    pub fn of_value(key: &str, source: &str, value: Value) -> Document {
        Document::of(key, source, agreement::load_value(value, source))
    }

    fn of(key: &str, source: &str, (agreement, diagnostics): (Option<Agreement>, Vec<Diagnostic>)) -> Document {
        let content = agreement.map_or(Content::Broken, |agreement| Content::Agreement(Arc::new(agreement)));
        Document { key: key.into(), source: source.into(), content, diagnostics }
    }

    /// One that could not be read at all.
    pub fn unreadable(key: &str, source: &str, problem: Diagnostic) -> Document {
        let diagnostics = vec![problem.in_file(source)];
        Document { key: key.into(), source: source.into(), content: Content::Broken, diagnostics }
    }

    /// A template. It is kept as it is: its placeholders are filled in before anything is judged by it.
    pub fn template(key: &str, source: &str, document: Value) -> Document {
        match document.get("id").and_then(Value::as_str) {
            Some(id) => {
                let content = Content::Template { id: id.to_owned(), document: Arc::new(document) };
                Document { key: key.into(), source: source.into(), content, diagnostics: Vec::new() }
            }
            None => {
                let problem = Diagnostic::error("missing-field", "$.id", "the template has no id").expected("a text");
                Document::unreadable(key, source, problem)
            }
        }
    }
}

/// Documents read before, by key, so that only what changed is parsed and checked again.
#[derive(Default)]
pub(super) struct Known(HashMap<String, ([u8; 32], Document)>);

impl Known {
    /// The document of this key: the one known when its content is the same, else what `read` makes of it.
    pub(super) fn get(&mut self, key: &str, content: &[u8], read: impl FnOnce() -> Document) -> Document {
        let digest: [u8; 32] = Sha256::digest(content).into();
        match self.0.get(key) {
            Some((known, document)) if *known == digest => document.clone(),
            _ => {
                let document = read();
                self.0.insert(key.to_owned(), (digest, document.clone()));
                document
            }
        }
    }

    /// Forgets what is no longer there.
    pub(super) fn retain(&mut self, documents: &[Document]) {
        let keys: std::collections::HashSet<&str> = documents.iter().map(|d| d.key.as_str()).collect();
        self.0.retain(|key, _| keys.contains(key.as_str()));
    }
}
