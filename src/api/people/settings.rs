//! `/settings`: what the editor must know of the runtime, and `/settings/user`: what it keeps for each user.

use axum::body::Body;
use axum::response::{IntoResponse, Response};
use http::StatusCode;
use serde_json::{Map, Value as Json, json};

use crate::api::auth::Caller;
use crate::api::{Api, ApiError, express};
use crate::store::{AuditEntry, StoreError};

/// The Node-RED whose Admin API this is.
pub const NODE_RED_VERSION: &str = "5.0.7";

/// Under this name Node-RED keeps the settings of who did not log in.
const NOBODY: &str = "_";

/// Languages the stock editor speaks.
const LANGUAGES: [&str; 10] = ["de", "en-US", "es-ES", "fr", "ja", "ko", "pt-BR", "ru", "zh-CN", "zh-TW"];

/// What the editor must know of the runtime, as Node-RED's `getRuntimeSettings` has it.
pub(super) fn of_the_runtime(api: &Api, caller: &Caller) -> Response {
    let given = &api.options.editor;
    let mut out = Map::new();
    let root = if api.node_root.is_empty() { "/".to_owned() } else { format!("{}/", api.node_root) };
    out.insert("httpNodeRoot".into(), json!(root));
    out.insert("version".into(), json!(NODE_RED_VERSION));
    if let Some(user) = user(api, caller) {
        out.insert("user".into(), user);
    }
    let stores = api.engine.services.context.stores();
    out.insert("context".into(), json!({ "default": stores.first(), "stores": stores }));
    out.insert("codeEditor".into(), code_editor(given));
    if let Some(editor) = object_in(given, &["editorTheme", "markdownEditor"]) {
        out.insert("markdownEditor".into(), Json::Object(editor.clone()));
    }
    out.insert(
        "libraries".into(),
        json!([
            { "id": "local", "label": "editor:library.types.local", "user": false, "icon": "font-awesome/fa-hdd-o" },
            {
                "id": "examples", "label": "editor:library.types.examples", "user": false,
                "icon": "font-awesome/fa-life-ring", "types": ["flows"], "readOnly": true
            },
        ]),
    );
    if let Some(categories) = given.get("paletteCategories").filter(|c| c.is_array()) {
        out.insert("paletteCategories".into(), categories.clone());
    }
    if given.get("flowFilePretty") == Some(&json!(true)) {
        out.insert("flowFilePretty".into(), json!(true));
    }
    // Nodes come as plugins, which an operator installs: the editor must not offer to install npm packages.
    out.insert("externalModules".into(), json!({ "palette": { "allowInstall": false, "allowUpload": false } }));
    out.insert("flowEncryptionType".into(), json!(api.credentials.key_kind().word()));
    let switched = |name: &str, key: &str, default: bool| {
        given.get(name).and_then(|settings| settings.get(key)).and_then(Json::as_bool).unwrap_or(default)
    };
    let diagnostics = switched("diagnostics", "enabled", true);
    out.insert(
        "diagnostics".into(),
        json!({ "enabled": diagnostics, "ui": diagnostics && switched("diagnostics", "ui", true) }),
    );
    out.insert("telemetryEnabled".into(), json!(false));
    let state = switched("runtimeState", "enabled", false);
    out.insert(
        "runtimeState".into(),
        json!({ "enabled": state, "ui": state && switched("runtimeState", "ui", false) }),
    );
    if let Some(defaults) = given.get("nodeDefaults").filter(|d| d.is_object()) {
        out.insert("nodeDefaults".into(), defaults.clone());
    }
    let own = |name: &str, default: Json| given.get(name).cloned().unwrap_or(default);
    out.insert("functionExternalModules".into(), own("functionExternalModules", json!(false)));
    out.insert("functionTimeout".into(), own("functionTimeout", json!(0)));
    out.insert("tlsConfigDisableLocalFiles".into(), own("tlsConfigDisableLocalFiles", json!(false)));
    out.insert("editorTheme".into(), theme(given));
    express::json(&Json::Object(out))
}

/// `None` where nobody needs to log in.
fn user(api: &Api, caller: &Caller) -> Option<Json> {
    if api.auth.options().is_open() {
        return None;
    }
    let permissions = caller.permissions.to_json();
    Some(match caller.anonymous {
        true => json!({ "anonymous": true, "permissions": permissions }),
        false => json!({ "username": caller.name, "permissions": permissions }),
    })
}

fn code_editor(given: &Map<String, Json>) -> Json {
    let mut editor = object_in(given, &["editorTheme", "codeEditor"]).cloned().unwrap_or_default();
    editor.entry("lib").or_insert_with(|| json!("monaco"));
    editor.entry("options").or_insert_with(|| json!({}));
    Json::Object(editor)
}

/// The theme: what settings.js says but for what we do not have, and the languages.
fn theme(given: &Map<String, Json>) -> Json {
    let mut theme = given.get("editorTheme").and_then(Json::as_object).cloned().unwrap_or_default();
    theme.remove("codeEditor");
    theme.remove("markdownEditor");
    let mut palette = theme.remove("palette").and_then(|p| p.as_object().cloned()).unwrap_or_default();
    // Calls to catalogue.nodered.org would tell the world of us and offer what cannot be installed.
    palette.insert("catalogues".into(), json!([]));
    palette.insert("editable".into(), json!(false));
    theme.insert("palette".into(), Json::Object(palette));
    theme.insert("projects".into(), json!({ "enabled": false }));
    theme.entry("tours").or_insert_with(|| json!(false));
    theme.insert("languages".into(), json!(LANGUAGES));
    Json::Object(theme)
}

fn object_in<'a>(given: &'a Map<String, Json>, path: &[&str]) -> Option<&'a Map<String, Json>> {
    let (first, rest) = path.split_first()?;
    rest.iter().try_fold(given.get(*first)?, |json, key| json.get(key))?.as_object()
}

fn key(caller: &Caller) -> &str {
    if caller.anonymous { NOBODY } else { &caller.name }
}

async fn stored(api: &Api, caller: &Caller) -> Result<Map<String, Json>, StoreError> {
    let stored = match api.store.user_settings(key(caller)).await? {
        Some(settings) => Some(settings),
        None => api.options.user_settings.get(key(caller)).cloned(),
    };
    Ok(stored.and_then(|settings| settings.as_object().cloned()).unwrap_or_default())
}

/// What the editor keeps for the caller.
pub(super) async fn of_the_user(api: &Api, caller: &Caller) -> Response {
    match stored(api, caller).await {
        Ok(settings) => express::json(&Json::Object(settings)),
        Err(error) => ApiError::from(error).into_response(),
    }
}

/// Puts changes into what the editor keeps for the caller.
pub(super) async fn change(api: &Api, caller: &Caller, changes: &Map<String, Json>) -> Response {
    let _turn = api.user_settings_turn.lock().await;
    let done = async {
        let mut settings = stored(api, caller).await?;
        let before = settings.clone();
        extend(&mut settings, changes);
        // Node-RED takes it out to switch its telemetry, which we have not.
        settings.remove("telemetryEnabled");
        if settings == before {
            return Ok(());
        }
        api.store.put_user_settings(key(caller), &Json::Object(settings)).await?;
        let mut keys: Vec<&String> = changes.keys().collect();
        keys.sort();
        let (at, actor) = (api.clock().now(), caller.name.clone());
        let subject = key(caller).to_owned();
        api.store
            .audit(&AuditEntry { at, actor, action: "settings".into(), subject, detail: json!({ "keys": keys }) })
            .await
    };
    match done.await {
        Ok(()) => (StatusCode::NO_CONTENT, Body::empty()).into_response(),
        Err(error) => ApiError::from(error).into_response(),
    }
}

/// Node-RED's deep merge: objects are merged, `null` removes, everything else replaces.
fn extend(target: &mut Map<String, Json>, source: &Map<String, Json>) {
    for (key, value) in source {
        match (target.get_mut(key), value) {
            (_, Json::Null) => {
                target.remove(key);
            }
            (Some(Json::Object(inner)), Json::Object(changes)) => extend(inner, changes),
            (_, value) => {
                target.insert(key.clone(), value.clone());
            }
        }
    }
}

/// Keys of git hosts belong to projects, which are not here.
pub(super) fn no_keys() -> Response {
    express::rejected(
        StatusCode::BAD_REQUEST,
        "unexpected_error",
        "projects are not supported, so there are no SSH keys",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_are_merged_as_node_red_does() {
        let merged = |into: Json, changes: Json| {
            let mut target = into.as_object().unwrap().clone();
            extend(&mut target, changes.as_object().unwrap());
            Json::Object(target)
        };
        let before = json!({ "editor": { "view": { "grid": 20, "tips": true } }, "n": 1, "list": [1, 2] });
        assert_eq!(
            merged(before.clone(), json!({ "editor": { "view": { "grid": 40 } }, "list": [3] })),
            json!({ "editor": { "view": { "grid": 40, "tips": true } }, "n": 1, "list": [3] })
        );
        assert_eq!(
            merged(before, json!({ "editor": null, "n": { "a": 1 }, "gone": null })),
            json!({ "n": { "a": 1 }, "list": [1, 2] })
        );
    }
}
