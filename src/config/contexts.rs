//! `[contexts]`: the stores in which flows keep values, beside those of settings.js, and what those in the database may take.

use std::collections::BTreeMap;

use serde::Deserialize;

#[derive(Clone, Debug, Deserialize)]
pub struct Contexts {
    /// Name → module, as settings.js calls it.
    pub stores: BTreeMap<String, String>,
    pub value_bytes_max: u64,
    pub scope_bytes_max: u64,
    pub answer_ms_max: u64,
}

/// What a context store can be.
pub const MODULES: [&str; 3] = ["memory", "localfilesystem", "database"];

pub(super) fn problems(config: &super::Config) -> Vec<String> {
    let contexts = &config.contexts;
    let mut problems = Vec::new();
    for (name, module) in &contexts.stores {
        let fits = name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
        if name.is_empty() || !fits {
            problems.push(format!("contexts.stores: \"{name}\" is no name of a store: letters, digits and _ only"));
        }
        if !MODULES.contains(&module.as_str()) {
            let known = MODULES.join(", ");
            problems.push(format!("contexts.stores.{name}: expected one of {known}, found \"{module}\""));
        }
    }
    if contexts.answer_ms_max == 0 {
        problems.push("contexts.answer_ms_max: expected at least 1, found 0".into());
    }
    problems
}
