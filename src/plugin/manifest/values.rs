//! Single values of a manifest: what is a name, a digest, a licence, and what was meant by what is none.

use toml::Value;

use super::CONTRACT;
use crate::model::Diagnostic;
use crate::plugin::capability::Capability;

/// Why this engine does not serve that version of the contract; `None` when it does. Without a path.
pub(in crate::plugin) fn unserved((major, minor): (u64, u64)) -> Option<Diagnostic> {
    let (our_major, our_minor) = CONTRACT;
    if major == our_major && minor <= our_minor {
        return None;
    }
    let (code, hint) = if (major, minor) > CONTRACT {
        ("newer-contract", format!("use a newer Probity, or build the plugin for contract {our_major}.{our_minor}"))
    } else {
        ("older-contract", format!("build the plugin for contract {our_major}.{our_minor}"))
    };
    let message = format!("needs contract {major}.{minor}, this engine has {our_major}.{our_minor}");
    Some(Diagnostic::error(code, "$", message).hint(hint))
}

/// Whether a text may name a plugin: lower-case letters, digits and single `-` between them, a letter first, at most
/// 64.
pub fn is_name(name: &str) -> bool {
    let part = |p: &str| !p.is_empty() && p.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
    name.len() <= 64 && name.starts_with(|c: char| c.is_ascii_lowercase()) && name.split('-').all(part)
}

/// A name as like this one as can be.
pub(super) fn slug(name: &str) -> String {
    let mut slug = String::new();
    for c in name.trim().chars() {
        if c.is_ascii_alphanumeric() {
            slug.push(c.to_ascii_lowercase());
        } else if !slug.ends_with('-') && !slug.is_empty() {
            slug.push('-');
        }
    }
    slug.trim_end_matches('-').to_string()
}

pub(in crate::plugin) fn two_numbers(text: &str) -> Option<(u64, u64)> {
    let number = |t: &str| t.bytes().all(|b| b.is_ascii_digit()).then(|| t.parse().ok()).flatten();
    let (major, minor) = text.split_once('.')?;
    Some((number(major)?, number(minor)?))
}

pub(super) fn is_sha256(hex: &str) -> bool {
    hex.len() == 64 && hex.bytes().all(|b| b.is_ascii_hexdigit())
}

pub(super) fn is_secret_name(name: &str) -> bool {
    let legal = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.');
    name == "*"
        || name.len() <= 128
            && name.bytes().all(legal)
            && name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
}

/// What other systems call ours.
pub(super) fn other_capability(name: &str) -> Option<Capability> {
    Some(match name {
        "kv" | "storage" | "store" => Capability::State,
        "network" | "net" | "fetch" => Capability::Http,
        "fs" | "file" | "filesystem" => Capability::Files,
        "time" | "now" => Capability::Clock,
        "rand" | "rng" => Capability::Random,
        "jsonata" => Capability::TypedInput,
        _ => return None,
    })
}

/// `64 KiB`, `32MiB`, `1 MB` in bytes.
pub(super) fn bytes_of(text: &str) -> Option<u64> {
    let digits = text.trim_end_matches(|c: char| !c.is_ascii_digit());
    let factor = match text[digits.len()..].trim().to_ascii_lowercase().as_str() {
        "" | "b" => 1,
        "kib" | "k" => 1 << 10,
        "mib" | "m" => 1 << 20,
        "gib" | "g" => 1 << 30,
        "kb" => 1_000,
        "mb" => 1_000_000,
        "gb" => 1_000_000_000,
        _ => return None,
    };
    digits.trim().parse::<u64>().ok()?.checked_mul(factor)
}

pub(super) fn license_reason(reason: &spdx::error::Reason, part: &str) -> String {
    use spdx::error::Reason;
    match reason {
        Reason::UnknownLicense | Reason::UnknownTerm => format!("\"{part}\" is no licence on the SPDX list"),
        Reason::UnknownException => format!("\"{part}\" is no exception on the SPDX list"),
        Reason::DeprecatedLicenseId => format!("\"{part}\" is no longer used"),
        other => other.to_string(),
    }
}

pub(super) fn nearest_license(part: &str) -> Option<&'static str> {
    if let Some((id, _)) = spdx::imprecise_license_id(part) {
        return Some(id.name);
    }
    crate::model::diagnostic::closest(part, spdx::identifiers::LICENSES.iter().map(|l| l.name))
}

/// A value as messages show it.
pub(super) fn found(value: &Value) -> String {
    match value {
        Value::String(text) if text.chars().count() <= 60 => format!("the text \"{text}\""),
        Value::String(_) => "a text".into(),
        Value::Integer(number) => number.to_string(),
        Value::Float(number) => format!("{number:?}"),
        Value::Boolean(flag) => flag.to_string(),
        Value::Datetime(_) => "a date".into(),
        Value::Array(_) => "a list".into(),
        Value::Table(_) => "a table".into(),
    }
}
