//! What a policy is made of: modules in Rego and documents of data, each with its hash.

use probity_sdk::{Error, ErrorContext, Result, Value, json, serde_json};
use sha2::{Digest, Sha256};

/// A module or a document, and the SHA-256 of its bytes, as `sha256sum` writes it.
pub struct Source {
    /// File name in errors.
    pub name: String,
    pub text: String,
    pub sha256: String,
}

impl Source {
    pub fn new(name: &str, text: String) -> Self {
        let sha256 = sha256(text.as_bytes());
        Self { name: name.to_owned(), text, sha256 }
    }

    fn fact(&self) -> Value {
        json!({ "name": self.name, "sha256": self.sha256 })
    }
}

/// All of one node.
#[derive(Default)]
pub struct Sources {
    pub modules: Vec<Source>,
    pub data: Vec<Source>,
}

impl Sources {
    /// Adds a file by the end of its name.
    pub fn add_file(&mut self, path: &str, bytes: Vec<u8>) -> Result<()> {
        let text = String::from_utf8(bytes).map_err(|_| Error::new(format!("{path} is no text in UTF-8")))?;
        let source = Source::new(path, text);
        match path.rsplit_once('.').map(|(_, ending)| ending) {
            Some("rego") => self.modules.push(source),
            Some("json") => self.data.push(source),
            _ => return Err(Error::new(format!("{path}: a policy (.rego) or data (.json) was expected"))),
        }
        Ok(())
    }

    /// Adds the data of the node's own configuration: an object, or its JSON text.
    pub fn add_data(&mut self, data: &Value) -> Result<()> {
        let text = match data {
            Value::Null => return Ok(()),
            Value::String(text) if text.trim().is_empty() => return Ok(()),
            Value::String(text) => text.clone(),
            other => serde_json::to_string(other)?,
        };
        self.data.push(Source::new("Data", text));
        Ok(())
    }

    /// The same for the same sources only.
    pub fn key(&self) -> String {
        let all = self.modules.iter().chain(&self.data);
        all.map(|source| format!("{}\0{}\0", source.name, source.sha256)).collect()
    }

    /// Name and hash of each, for the record.
    pub fn facts(&self) -> (Vec<Value>, Vec<Value>) {
        (self.modules.iter().map(Source::fact).collect(), self.data.iter().map(Source::fact).collect())
    }

    /// The documents as regorus has them.
    pub fn documents(&self) -> impl Iterator<Item = Result<(&Source, regorus::Value)>> {
        self.data.iter().map(|source| {
            // serde_json says line and column.
            let document: Value = serde_json::from_str(&source.text).context(&source.name)?;
            probity_sdk::ensure!(document.is_object(), "{}: a JSON object was expected", source.name);
            Ok((source, value(&document)?))
        })
    }
}

/// A value as regorus has it.
pub fn value(value: &Value) -> Result<regorus::Value> {
    let text = serde_json::to_string(value)?;
    regorus::Value::from_json_str(&text).map_err(|error| Error::new(format!("{error:#}")))
}

/// SHA-256 in hexadecimal digits.
pub fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}
