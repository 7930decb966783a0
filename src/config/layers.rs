//! One layer of the configuration put over another: tables as files have them, and texts as the environment has them.

use toml::{Table, Value};

use super::PREFIX;
use crate::model::diagnostic::closest;

/// Puts `from` over `into`; keys the defaults do not have are problems, except below open tables (`users = {}`).
pub(super) fn merge(into: &mut Table, from: Table, origin: &str, at: &str, problems: &mut Vec<String>) {
    for (key, value) in from {
        let path = if at.is_empty() { key.clone() } else { format!("{at}.{key}") };
        match (into.get_mut(&key), value) {
            (Some(Value::Table(known)), Value::Table(given)) if is_open(&path) => {
                known.extend(given);
            }
            (Some(Value::Table(known)), Value::Table(given)) => merge(known, given, origin, &path, problems),
            (Some(known), given) if same_kind(known, &given) => *known = given,
            (Some(known), given) => {
                problems.push(format!("{origin}: {path}: expected {}, found {}", known.type_str(), given.type_str()))
            }
            (None, _) => {
                let hint = closest(&key, into.keys().map(String::as_str));
                let hint = hint.map(|h| format!("; did you mean \"{h}\"?")).unwrap_or_default();
                problems.push(format!("{origin}: {path}: unknown key{hint}"));
            }
        }
    }
}

/// Tables whose keys the user makes up.
const OPEN: &[&str] = &[
    "auth.users",
    "auth.tokens",
    "auth.permissions",
    "auth.flow_logins",
    "auth.status_roles",
    "channels",
    "collectors.services",
    "contexts.stores",
    "datasources",
    "delivery.controls",
    "limits.tenants",
    "otel.headers",
];

fn is_open(path: &str) -> bool {
    OPEN.contains(&path)
}

fn same_kind(a: &Value, b: &Value) -> bool {
    std::mem::discriminant(a) == std::mem::discriminant(b)
}

/// Environment variable names and the key paths they stand for.
pub(super) fn leaves(table: &Table) -> Vec<(String, Vec<String>)> {
    let mut out = Vec::new();
    for (key, value) in table {
        match value {
            Value::Table(inner) if !["users", "tokens", "services"].contains(&key.as_str()) => {
                for inner_key in inner.keys() {
                    let name = format!("{PREFIX}{}_{}", key.to_uppercase(), inner_key.to_uppercase());
                    out.push((name, vec![key.clone(), inner_key.clone()]));
                }
            }
            _ => out.push((format!("{PREFIX}{}", key.to_uppercase()), vec![key.clone()])),
        }
    }
    out
}

/// Sets a key from text, read by the kind its default has; tables as `name=value,name=value`.
pub(super) fn set_from_text(
    table: &mut Table,
    path: &[String],
    variable: &str,
    text: &str,
    problems: &mut Vec<String>,
) {
    let slot = match path {
        [section, key] => table.get_mut(section).and_then(Value::as_table_mut).and_then(|t| t.get_mut(key)),
        [key] => table.get_mut(key),
        _ => None,
    };
    let Some(slot) = slot else { return };
    let list = || text.split([',', '\n']).map(str::trim).filter(|s| !s.is_empty());
    let value = match slot {
        Value::String(_) => Some(Value::String(text.into())),
        Value::Integer(_) => text.trim().replace('_', "").parse().ok().map(Value::Integer),
        Value::Boolean(_) => match text.trim() {
            "true" | "1" => Some(Value::Boolean(true)),
            "false" | "0" | "" => Some(Value::Boolean(false)),
            _ => None,
        },
        Value::Array(_) => Some(Value::Array(list().map(|s| Value::String(s.into())).collect())),
        Value::Table(_) => list()
            .map(|pair| pair.split_once('=').map(|(k, v)| (k.trim().to_string(), Value::String(v.trim().into()))))
            .collect::<Option<Table>>()
            .map(Value::Table),
        _ => None,
    };
    match value {
        Some(value) => *slot = value,
        // The text is not shown: tables hold hashes and URLs with passwords, and what was meant to be one may too.
        None if slot.is_table() => problems.push(format!("{variable}: expected name=value pairs separated by commas")),
        None => problems.push(format!("{variable}: expected {}, found \"{text}\"", slot.type_str())),
    }
}
