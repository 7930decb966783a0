//! From a call of a deterministic plugin to its record. A record never holds a secret: the guest saw placeholders only,
//! what an answer showed was hidden before the guest saw it, and what a caller or another node put into the message is
//! masked here.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value as Json;

use super::bindings::probity::plugin::types::{Message, Value as Crossing};
use super::host::tape::Recording;
use super::host::told::Told;
use super::host::{Facts, NodeFacts};
use super::instance::Fault;
use crate::model::call::{Bounds, CallRecord, Export, Outcome};
use crate::runtime::capture::callers_credentials;

/// A record, and about what it takes, bytes.
pub(super) struct Recorded {
    pub(super) record: CallRecord,
    pub(super) bytes: usize,
}

/// A call that is over.
pub(super) struct Over<'c> {
    pub(super) facts: &'c Facts,
    pub(super) node: &'c NodeFacts,
    pub(super) node_type: &'c str,
    pub(super) export: Export,
    pub(super) input: &'c Message,
    pub(super) result: &'c Result<(), Fault>,
    pub(super) fuel: u64,
    /// It was the clock that ended it.
    pub(super) by_clock: bool,
}

/// What a record takes beside what it holds, about, bytes.
const RECORD_BYTES: usize = 600;

/// A tape for a call with this input; without one nothing shall be recorded.
pub(super) fn tape(facts: &Facts, node: &NodeFacts, input: &Message) -> Option<Recording> {
    let max = facts.all.record_bytes_max;
    let of_input = |value: &Crossing| match value {
        Crossing::Json(text) => text.len(),
        Crossing::Bytes(bytes) => bytes.len(),
    };
    let properties = input.properties.iter().map(|p| p.name.len() + of_input(&p.value)).sum::<usize>();
    (max > 0).then(|| Recording::new(max, RECORD_BYTES + properties + node.config.len()))
}

/// The record of a call.
pub(super) fn record(over: Over<'_>, tape: Recording) -> Recorded {
    let Over { facts, node, .. } = over;
    let cut = if over.by_clock {
        Some("the call was stopped by the clock, which no replay can repeat".to_string())
    } else if tape.is_over() {
        Some(format!("it would take more than {} bytes (plugins.record_bytes_max)", facts.all.record_bytes_max))
    } else {
        None
    };
    let mut record = CallRecord {
        plugin: facts.name.clone(),
        version: facts.version.clone(),
        digest: facts.digest.clone(),
        interpreter: facts.interpreter.clone(),
        contract: facts.contract.clone(),
        engine: env!("CARGO_PKG_VERSION").to_string(),
        node: node.id.clone(),
        node_type: over.node_type.to_string(),
        export: over.export,
        input: Json::Null,
        config: String::new(),
        bounds: Bounds { compute_ms_max: facts.limits.compute_ms_max, memory_bytes_max: facts.limits.memory_bytes_max },
        calls: Vec::new(),
        outcome: outcome(over.result),
        fuel: over.fuel,
        masked: false,
        cut,
    };
    if record.cut.is_none() {
        record.input = over.input.tell();
        record.config = node.config.clone();
        record.calls = tape.calls;
    }
    let credentials = credentials(facts, node, over.input);
    record.masked = mask(&mut record, &credentials);
    let bytes = if record.cut.is_some() { RECORD_BYTES } else { tape.bytes };
    Recorded { record, bytes }
}

/// A result as records tell it.
pub(super) fn outcome(result: &Result<(), Fault>) -> Outcome {
    match result {
        Ok(()) => Outcome::Done,
        Err(Fault::Failed(failure)) => Outcome::Failed { message: failure.message.clone(), code: failure.code.clone() },
        Err(Fault::Stopped { kind, message }) => {
            Outcome::Stopped { why: kind.as_str().to_string(), message: message.clone() }
        }
    }
}

/// Shorter values are no credentials, and masking them would mask half the record, bytes.
const CREDENTIAL_BYTES_MIN: usize = 4;

/// The secrets that a node's configuration names, as far as they are granted.
pub(super) fn secrets(facts: &Facts, node: &NodeFacts) -> Vec<String> {
    let granted = node.secrets.iter().filter(|name| facts.granted.allows_secret(name));
    granted.filter_map(|name| (facts.surroundings.read_secret)(name)).collect()
}

/// Texts that must not be in a record: this node's secrets, and what the caller logged in with.
fn credentials(facts: &Facts, node: &NodeFacts, input: &Message) -> Vec<String> {
    let mut found = secrets(facts, node);
    let req = input.properties.iter().find_map(|property| match &property.value {
        Crossing::Json(text) if property.name == "req" => serde_json::from_str::<Json>(text).ok(),
        _ => None,
    });
    if let Some(req) = req {
        let cookies = req["cookies"].as_object().into_iter().flat_map(|all| all.values()).filter_map(Json::as_str);
        found.extend(callers_credentials(|name| req["headers"][name].as_str(), cookies));
    }
    let escaped = |text: &String| Json::from(text.as_str()).to_string().trim_matches('"').to_string();
    let escaped: Vec<String> = found.iter().map(escaped).collect();
    found.extend(escaped);
    found.retain(|text| text.len() >= CREDENTIAL_BYTES_MIN);
    // The longest first: one may hold another.
    found.sort_by_key(|text| std::cmp::Reverse(text.len()));
    found.dedup();
    found
}

/// Puts asterisks in the place of credentials, as many as they have bytes; says whether there were any.
fn mask(record: &mut CallRecord, credentials: &[String]) -> bool {
    if credentials.is_empty() {
        return false;
    }
    let mut any = mask_json(&mut record.input, credentials) | mask_text(&mut record.config, credentials);
    for call in &mut record.calls {
        any |= mask_json(&mut call.given, credentials) | mask_json(&mut call.answer, credentials);
    }
    if let Outcome::Failed { message, .. } | Outcome::Stopped { message, .. } = &mut record.outcome {
        any |= mask_text(message, credentials);
    }
    any
}

fn mask_text(text: &mut String, credentials: &[String]) -> bool {
    let mut any = false;
    for credential in credentials.iter().filter(|c| !c.is_empty()) {
        if text.contains(credential.as_str()) {
            *text = text.replace(credential.as_str(), &"*".repeat(credential.len()));
            any = true;
        }
    }
    any
}

fn mask_json(value: &mut Json, credentials: &[String]) -> bool {
    match value {
        Json::String(text) => mask_text(text, credentials),
        Json::Array(items) => items.iter_mut().fold(false, |any, item| mask_json(item, credentials) | any),
        Json::Object(map) => {
            let coded = map.get("base64").and_then(Json::as_str).and_then(|text| STANDARD.decode(text).ok());
            match coded.and_then(|bytes| mask_bytes(bytes, credentials)) {
                Some(masked) => {
                    map.insert("base64".into(), STANDARD.encode(masked).into());
                    true
                }
                None => map.values_mut().fold(false, |any, item| mask_json(item, credentials) | any),
            }
        }
        _ => false,
    }
}

/// The bytes masked; `None` when there is nothing to mask.
fn mask_bytes(mut bytes: Vec<u8>, credentials: &[String]) -> Option<Vec<u8>> {
    let mut any = false;
    for credential in credentials.iter().filter(|c| !c.is_empty()) {
        let mut from = 0;
        while let Some(at) = bytes[from..].windows(credential.len()).position(|w| w == credential.as_bytes()) {
            let at = from + at;
            bytes[at..at + credential.len()].fill(b'*');
            from = at + credential.len();
            any = true;
        }
    }
    any.then_some(bytes)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn credentials_are_masked_wherever_they_are() {
        let mut value = json!({
            "text": "Bearer t0ken-1 and t0ken-1", "list": [{"base64": STANDARD.encode(b"\xfft0ken-1\xfe")}], "n": 1,
        });
        assert!(mask_json(&mut value, &["Bearer t0ken-1".into(), "t0ken-1".into()]));
        assert_eq!(value["text"], "************** and *******");
        assert_eq!(value["list"][0]["base64"], STANDARD.encode(b"\xff*******\xfe"));
        assert!(!mask_json(&mut value, &["t0ken-1".into()]));
    }
}
