//! `context.x-probity.waivers`: the waivers a document brings.

use jiff::Timestamp;
use serde::Deserialize;
use serde_json::{Map, Value};

use super::document::{Reader, join};
use super::load::Validity;
use super::terms::member;
use super::time::{instant, read_instant};
use crate::model::RunId;
use crate::model::agreement::{Agreement, Guarantee};
use crate::model::diagnostic::{Diagnostic, closest};
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
            Diagnostic::error(
                "unknown-guarantee",
                join(path, "guarantee"),
                format!("no guarantee is called \"{name}\""),
            )
            .expected("the id of a guarantee of this agreement, or none for all")
            .did_you_mean(name, guarantees.iter().map(|g| g.id.as_str())),
        );
    }
    let scope = read_members(reader, object, path)?;
    misspelt_dimensions(reader, &scope, guarantee.as_deref(), guarantees, path);
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
        reader
            .report(Diagnostic::error("empty-waiver", join(path, key), problem).expected("an instant after \"from\""));
    }
    Some(waiver)
}

/// Warns of dimensions that are nearly those of what the waiver is about: it would never take effect.
fn misspelt_dimensions(
    reader: &mut Reader<'_>,
    scope: &Scope,
    guarantee: Option<&str>,
    guarantees: &[Guarantee],
    path: &str,
) {
    let about = guarantees.iter().filter(|g| guarantee.is_none_or(|only| only == g.id));
    let dimensions: Vec<&str> = about.flat_map(|g| g.scope.keys()).map(String::as_str).collect();
    for key in scope.0.keys().filter(|key| !dimensions.contains(&key.as_str())) {
        if closest(key, dimensions.iter().copied()).is_some() {
            let at = join(&join(path, "scope"), key);
            let message = format!("nothing the waiver is about has a \"{key}\", so it never takes effect");
            reader.report(
                Diagnostic::warning("unknown-dimension", at, message)
                    .expected(format!("one of {}", dimensions.join(", ")))
                    .did_you_mean(key, dimensions.iter().copied()),
            );
        }
    }
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

/// A waiver as somebody asks for it, by API or command line; instants are RFC 3339 or dates in the agreement's zone.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Draft {
    /// A fresh one is given when it is absent.
    pub id: Option<String>,
    pub agreement: String,
    pub guarantee: Option<String>,
    pub scope: Scope,
    pub reason: String,
    pub owner: String,
    /// Now, when absent.
    pub from: Option<String>,
    pub to: Option<String>,
    pub expires: Option<String>,
}

/// Longest text of a waiver, in bytes; ids and names are indexed.
const REASON_BYTES_MAX: usize = 10_000;
const NAME_BYTES_MAX: usize = 500;

impl Draft {
    /// The waiver that is to be stored.
    ///
    /// # Errors
    /// Every problem: the field, and what about it.
    pub fn waiver(
        self,
        agreement: &Agreement,
        by: &str,
        now: Timestamp,
    ) -> Result<Waiver, Vec<(&'static str, String)>> {
        let mut found = Vec::new();
        let mut read = |field: &'static str, text: Option<&str>| {
            let at = instant(text?, &agreement.time_zone);
            if at.is_none() {
                found.push((field, format!("\"{}\" is not a date or time", text.unwrap_or_default())));
            }
            at
        };
        let from = read("from", self.from.as_deref()).unwrap_or(now);
        let to = read("to", self.to.as_deref());
        let expires = read("expires", self.expires.as_deref());
        if self.expires.is_none() {
            found.push(("expires", "it has no end; a waiver without one is none".into()));
        }
        if let Some(name) = &self.guarantee
            && agreement.guarantees.iter().all(|g| g.id != *name)
        {
            found.push(("guarantee", format!("agreement \"{}\" has no guarantee \"{name}\"", agreement.id)));
        }
        for (field, text, max) in [
            ("id", self.id.as_deref().unwrap_or_default(), NAME_BYTES_MAX),
            ("owner", &self.owner, NAME_BYTES_MAX),
            ("reason", &self.reason, REASON_BYTES_MAX),
        ] {
            if text.len() > max {
                found.push((field, format!("it has {} bytes; expected at most {max}", text.len())));
            }
        }
        if self.id.as_deref().is_some_and(|id| id.trim().is_empty()) {
            found.push(("id", "it is empty; leave it out to be given one".into()));
        }
        let waiver = Waiver {
            id: self.id.unwrap_or_else(|| RunId::fresh().to_string()),
            agreement: agreement.id.clone(),
            guarantee: self.guarantee,
            scope: self.scope,
            reason: self.reason.trim().to_owned(),
            owner: self.owner.trim().to_owned(),
            from,
            to,
            // Only when it is reported already.
            expires: expires.unwrap_or(Timestamp::MAX),
            ended_at: None,
            origin: Origin::Stored,
            created_by: by.to_owned(),
            created_at: Some(now),
        };
        found.extend(problems(&waiver));
        if expires.is_some_and(|at| at <= now && at > from) {
            found.push(("expires", format!("it expires at {}, which has passed", waiver.expires)));
        }
        if found.is_empty() { Ok(waiver) } else { Err(found) }
    }
}
