//! `context.x-probity.waivers`: the waivers a document brings.

use serde_json::{Map, Value};

use super::document::{Reader, join};
use super::load::Validity;
use super::terms::member;
use super::time::read_instant;
use crate::model::agreement::Guarantee;
use crate::model::diagnostic::Diagnostic;
use crate::model::state::Scope;
use crate::model::waiver::{Origin, Waiver};

/// Fields of a waiver in a document.
const FIELDS: &[&str] = &["id", "guarantee", "scope", "reason", "owner", "from", "to", "expires"];

/// Reads the waivers of an agreement whose parts are read already.
pub(super) fn read_waivers<'d>(
    reader: &mut Reader<'d>,
    context: &'d Map<String, Value>,
    agreement: &str,
    validity: Option<&Validity>,
    guarantees: &[Guarantee],
) -> Vec<Waiver> {
    let Some(ours) = context.get("x-probity").and_then(Value::as_object) else { return Vec::new() };
    let path = "$.context[\"x-probity\"].waivers";
    let list = match ours.get("waivers") {
        None | Some(Value::Null) => return Vec::new(),
        Some(Value::Array(list)) => list,
        Some(other) => {
            reader.wrong_kind(path, other, "a list of waivers, each with reason, owner and expires");
            return Vec::new();
        }
    };
    let mut found: Vec<Waiver> = Vec::new();
    for (i, value) in list.iter().enumerate() {
        let path = format!("{path}[{i}]");
        let Some(object) = value.as_object() else {
            reader.wrong_kind(&path, value, "an object with reason, owner and expires");
            continue;
        };
        let Some(waiver) = read_waiver(reader, object, &path, agreement, validity, guarantees, i) else { continue };
        if found.iter().any(|other| other.id == waiver.id) {
            let message = format!("another waiver is also called \"{}\"", waiver.id);
            reader.report(
                Diagnostic::error("duplicate-waiver", join(&path, "id"), message)
                    .expected("an id that no other waiver of the agreement has"),
            );
        }
        found.push(waiver);
    }
    found
}

fn read_waiver<'d>(
    reader: &mut Reader<'d>,
    object: &'d Map<String, Value>,
    path: &str,
    agreement: &str,
    validity: Option<&Validity>,
    guarantees: &[Guarantee],
    place: usize,
) -> Option<Waiver> {
    reader.unknown_keys(object, FIELDS, path);
    for (key, expected) in [
        ("reason", "why it is accepted, in words"),
        ("owner", "who answers for it"),
        ("expires", "the date it ends, such as 2026-07-01: a waiver without an end is none"),
    ] {
        if object.get(key).is_none_or(Value::is_null) {
            reader.absent(key, path, expected);
        }
    }
    let validity = validity?;
    let id = reader.text(object, "id", path).unwrap_or_else(|| format!("document-{place}"));
    let reason = reader.text(object, "reason", path);
    let owner = reader.text(object, "owner", path);
    let from = read_instant(reader, object, "from", path, &validity.calendars.zone).unwrap_or(validity.from);
    let to = read_instant(reader, object, "to", path, &validity.calendars.zone);
    let expires = read_instant(reader, object, "expires", path, &validity.calendars.zone);
    let guarantee = reader.text(object, "guarantee", path);
    if let Some(name) = &guarantee
        && guarantees.iter().all(|g| g.id != *name)
    {
        reader.report(
            Diagnostic::error("unknown-guarantee", join(path, "guarantee"), format!("no guarantee is called \"{name}\""))
                .expected("the id of a guarantee of this agreement, or none for all")
                .did_you_mean(name, guarantees.iter().map(|g| g.id.as_str())),
        );
    }
    let scope = read_members(reader, object, path)?;
    let waiver = Waiver {
        id,
        agreement: agreement.to_owned(),
        guarantee,
        scope,
        reason: reason?,
        owner: owner?,
        from,
        to,
        expires: expires?,
        ended_at: None,
        origin: Origin::Document,
        created_by: "document".into(),
        created_at: None,
    };
    for (key, problem) in problems(&waiver) {
        reader.report(Diagnostic::error("empty-waiver", join(path, key), problem).expected("an instant after \"from\""));
    }
    Some(waiver)
}

fn read_members(reader: &mut Reader<'_>, object: &Map<String, Value>, path: &str) -> Option<Scope> {
    let path = join(path, "scope");
    match object.get("scope") {
        None | Some(Value::Null) => Some(Scope::default()),
        Some(Value::Object(members)) => {
            let mut scope = Scope::default();
            for (key, value) in members {
                match member(value) {
                    Some(text) => drop(scope.0.insert(key.clone(), text)),
                    None => reader.wrong_kind(&join(&path, key), value, "a member, or \"*\" for any"),
                }
            }
            Some(scope)
        }
        Some(other) => {
            reader.wrong_kind(&path, other, "an object of dimension and member");
            None
        }
    }
}

/// What is wrong with a waiver's times and texts: the field, and what about it. Documents, API and command line all ask.
pub fn problems(waiver: &Waiver) -> Vec<(&'static str, String)> {
    let mut found = Vec::new();
    for (field, text) in [("reason", &waiver.reason), ("owner", &waiver.owner)] {
        if text.trim().is_empty() {
            found.push((field, format!("{field} is empty")));
        }
    }
    if waiver.expires <= waiver.from {
        found.push(("expires", format!("it expires at {}, not after its start at {}", waiver.expires, waiver.from)));
    }
    if let Some(to) = waiver.to
        && to <= waiver.from
    {
        found.push(("to", format!("it covers windows until {to}, not after its start at {}", waiver.from)));
    }
    found
}
