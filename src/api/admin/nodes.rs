//! `/nodes` and `/icons`: what the palette shows, which sets are switched on, and the editor's half of the nodes.

use axum::response::Response;
use http::StatusCode;
use serde_json::{Value as Json, json};

use super::answer;
use super::palette::{Module, Set};
use super::{Ask, Route, route};
use crate::api::express;

pub(super) const ROUTES: &[Route] = &[
    route!(GET "/nodes", "nodes.read", list),
    route!(POST "/nodes", "nodes.write", install),
    route!(GET "/nodes/messages", "nodes.read", messages),
    route!(GET "/nodes/*", "nodes.read", get),
    route!(PUT "/nodes/*", "nodes.write", put),
    route!(DELETE "/nodes/*", "nodes.write", remove),
    route!(GET "/icons", "nodes.read", icons),
];

/// The editor's half of nodes: forms, help and icons; given by whoever has the editor's files.
pub trait Forms: Send + Sync {
    /// The HTML of these sets, each after its `[red-module:…]` comment, with help in the language asked for.
    fn html(&self, sets: &[Set], language: &str) -> String;

    /// File names of icons by module.
    fn icons(&self) -> Json;
}

fn modules(ask: &Ask) -> Vec<Module> {
    ask.admin.palette.modules(&ask.api.engine.catalogue())
}

/// The first language the caller accepts, if it looks like one.
fn language(ask: &Ask) -> String {
    let first = ask.header("accept-language").unwrap_or_default().split(',').next().unwrap_or_default();
    let first = first.split(';').next().unwrap_or_default().trim();
    let plain = !first.is_empty() && first.chars().all(|c| c.is_ascii_alphanumeric() || c == '-');
    if plain { first.to_string() } else { "en-US".into() }
}

fn html(ask: &Ask, sets: &[Set]) -> Response {
    match &ask.admin.forms {
        Some(forms) => answer::text_of("text/html; charset=utf-8", forms.html(sets, &language(ask))),
        None => answer::not_found("the editor's files are not installed"),
    }
}

async fn list(ask: Ask) -> Response {
    (ask.admin.offer_all)().await;
    let modules = modules(&ask);
    if !ask.wants_json() {
        let enabled: Vec<Set> = modules.into_iter().flat_map(|m| m.sets).filter(|set| set.enabled).collect();
        return html(&ask, &enabled);
    }
    let sets = modules.iter().flat_map(|module| module.sets.iter().map(|set| set.to_json(module)));
    answer::json(&Json::Array(sets.collect()))
}

async fn icons(ask: Ask) -> Response {
    answer::json(&ask.admin.forms.as_ref().map_or_else(|| json!({}), |forms| forms.icons()))
}

/// Texts of nodes: the core nodes' are among the locales.
async fn messages(_: Ask) -> Response {
    answer::json(&json!({}))
}

fn no_module() -> Response {
    answer::not_found("Module not found")
}

fn no_set() -> Response {
    answer::not_found("Node not found")
}

fn bad_request() -> Response {
    answer::error(StatusCode::BAD_REQUEST, "invalid_request", "Invalid request")
}

/// What a path below `/nodes` names: a module, whose name may have a scope, and a set of it.
fn named(path: &str) -> (String, Option<String>) {
    let mut parts = path.trim_end_matches('/').split('/');
    let first = parts.next().unwrap_or_default();
    let module = match parts.clone().next() {
        Some(name) if first.starts_with('@') => {
            parts.next();
            format!("{first}/{name}")
        }
        _ => first.to_string(),
    };
    let rest: Vec<&str> = parts.collect();
    (module, (!rest.is_empty()).then(|| rest.join("/")))
}

async fn get(ask: Ask) -> Response {
    let modules = modules(&ask);
    let (module, set) = named(ask.param(0));
    if ask.param(0).starts_with("messages") || set.as_ref().is_some_and(|set| set.ends_with("/messages")) {
        return messages(ask).await;
    }
    let found = modules.iter().find(|m| m.name == module);
    let Some(set) = set else { return found.map_or_else(no_module, |module| answer::json(&module.to_json())) };
    let found = found.and_then(|module| Some((module, module.sets.iter().find(|s| s.name == set)?)));
    match found {
        None => no_set(),
        Some((module, set)) if ask.wants_json() => answer::json(&set.to_json(module)),
        Some((_, set)) => html(&ask, std::slice::from_ref(set)),
    }
}

async fn put(ask: Ask) -> Response {
    let body = match ask.json() {
        Ok(body) => body,
        Err(refusal) => return *refusal,
    };
    let Some(enabled) = body.get("enabled") else { return bad_request() };
    let Some(on) = enabled.as_bool() else { return bad_request() };
    let (module, set) = named(ask.param(0));
    let modules = modules(&ask);
    let Some(found) = modules.iter().find(|m| m.name == module) else {
        return if set.is_some() { no_set() } else { no_module() };
    };
    let wanted: Vec<&Set> = found.sets.iter().filter(|s| set.as_ref().is_none_or(|set| *set == s.name)).collect();
    if wanted.is_empty() {
        return no_set();
    }
    let mut switched = false;
    for one in wanted.iter().filter(|one| one.enabled != on) {
        if let Err(refusal) = switch(&ask, one, on) {
            return *refusal;
        }
        switched = true;
    }
    let changed = self::modules(&ask);
    let Some(module) = changed.iter().find(|m| m.name == module) else { return no_module() };
    match set.and_then(|set| module.sets.iter().find(|s| s.name == set)) {
        None => answer::json(&module.to_json()),
        Some(set) => {
            let mut json = set.to_json(module);
            if on && switched {
                json["loaded"] = true.into();
            }
            answer::json(&json)
        }
    }
}

/// Switches one set, unless flows use it, and tells the editors.
fn switch(ask: &Ask, set: &Set, on: bool) -> Result<(), Box<Response>> {
    let entries = &ask.admin.flows.current().file.entries;
    let used = |t: &&String| entries.iter().any(|entry| entry.get("type").and_then(Json::as_str) == Some(t.as_str()));
    let in_use: Vec<&str> = set.types.iter().filter(used).map(String::as_str).collect();
    if !on && !in_use.is_empty() {
        let message = format!("Type in use: {}", in_use.join(", "));
        return Err(Box::new(answer::error(StatusCode::BAD_REQUEST, "type_in_use", &message)));
    }
    ask.admin.palette.enable(&set.id, on).map_err(|problem| Box::new(answer::unexpected(&problem)))?;
    let topic = if on { "node/enabled" } else { "node/disabled" };
    let mut told = set.clone();
    told.enabled = on;
    let module = modules(ask).into_iter().find(|module| module.sets.iter().any(|s| s.id == set.id));
    if let Some(module) = module {
        crate::deploy::Notices::notify(&*ask.admin.comms, topic, told.to_json(&module), false);
    }
    Ok(())
}

/// Modules are not installed from the editor, as with Node-RED's `externalModules.palette.allowInstall: false`.
async fn install(ask: Ask) -> Response {
    match ask.json() {
        Err(refusal) => *refusal,
        Ok(body) if body.get("module").and_then(Json::as_str).is_none_or(str::is_empty) => bad_request(),
        Ok(_) => answer::not_found(
            "nodes cannot be installed from the editor; an operator installs plugins with `probity plugin install`",
        ),
    }
}

async fn remove(ask: Ask) -> Response {
    let (module, set) = named(ask.param(0));
    if set.is_some() {
        return express::cannot(&ask.head.method, ask.head.uri.path());
    }
    if !modules(&ask).iter().any(|m| m.name == module) {
        return no_module();
    }
    answer::unexpected(&format!(
        "{module} cannot be removed from the editor; an operator removes a plugin by its file in the plugin folder"
    ))
}

#[cfg(test)]
mod tests {
    use super::named;

    #[test]
    fn modules_may_have_a_scope() {
        for (path, module, set) in [
            ("node-red", "node-red", None),
            ("node-red/inject", "node-red", Some("inject")),
            ("@a/b", "@a/b", None),
            ("@a/b/c", "@a/b", Some("c")),
            ("node-red/inject/messages", "node-red", Some("inject/messages")),
        ] {
            assert_eq!(named(path), (module.to_string(), set.map(str::to_string)), "{path}");
        }
    }
}
