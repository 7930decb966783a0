//! The flows of a server: where they are kept, what they need before they are built, and the Admin API over them.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::Result;
use serde_json::Value as Json;

use super::plugins::Following;
use super::{content, report};
use crate::api::Comms;
use crate::api::admin::{Admin, Forms, Palette};
use crate::api::editor::{self, EditorForms};
use crate::clock::Clock;
use crate::config::Config;
use crate::deploy::{Flows, Notices, Parts, Place, Revisions};
use crate::model::flow::{FlowFile, Plan};
use crate::runtime::Engine;
use crate::runtime::context::{ContextStore, Home, Stored, StoredLimits};
use crate::runtime::credential_file::CredentialFile;
use crate::store::Store;

/// Texts and lists in debug output are cut off beyond this unless settings.js says otherwise, as in Node-RED.
const DEBUG_LENGTH_MAX: usize = 1_000;

/// Contexts in files are written this often (`flushInterval`).
const FLUSH_EVERY: Duration = Duration::from_secs(30);

/// Deploys the loaded flows and makes what the Admin API works on.
pub async fn start(
    config: &Config,
    engine: &Arc<Engine>,
    credentials: &Arc<CredentialFile>,
    following: &Arc<Following>,
    loaded: FlowFile,
    revisions: Option<(Revisions, i64)>,
) -> Arc<Admin> {
    let setting =
        |path: &[&str]| path.iter().try_fold(&Json::Object(config.editor.clone()), |at, key| at.get(key)).cloned();
    let debug_length_max =
        setting(&["debugMaxLength"]).and_then(|n| n.as_u64()).map_or(DEBUG_LENGTH_MAX, |n| n as usize);
    let comms = Comms::new(engine.services.clock.clone(), debug_length_max);
    if engine.services.feed.set(comms.clone()).is_err() {
        tracing::error!("an engine was given two feeds; it keeps the first");
    }
    let palette = Arc::new(Palette::load(Some(config.data_dir.join("disabled-nodes.json"))));
    let parts = Parts {
        engine: engine.clone(),
        place: place(config),
        plan: {
            let (engine, palette) = (engine.clone(), palette.clone());
            Box::new(move |file| plan(&engine, &palette, file))
        },
        needed: {
            let following = following.clone();
            Box::new(move |file| {
                let following = following.clone();
                Box::pin(async move {
                    following.follow(file).await;
                })
            })
        },
        credentials: credentials.clone(),
        notices: comms.clone(),
        report,
        revisions,
        stopped_mark: Some(config.data_dir.join("flows.stopped")),
    };
    let offer_all = offer_all(engine, following, &comms, &palette);
    Arc::new(Admin {
        root: setting(&["httpAdminRoot"])
            .and_then(|root| root.as_str().map(str::to_owned))
            .unwrap_or_else(|| "/".into()),
        flows: Flows::start(parts, loaded).await,
        comms,
        palette,
        forms: editor::is_there().then(|| -> Box<dyn Forms> {
            Box::new(EditorForms { engine: engine.clone(), plugins: following.plugins().clone() })
        }),
        offer_all,
        lib_dir: config.data_dir.join("lib"),
        runtime_state: setting(&["runtimeState", "enabled"]) == Some(Json::Bool(true)),
    })
}

/// A palette waits this long for plugins that are not loaded yet; later ones are added to it when they are.
const PALETTE_WAITS: Duration = Duration::from_secs(2);

/// What an editor's first look at the palette sets off.
fn offer_all(
    engine: &Arc<Engine>,
    following: &Arc<Following>,
    comms: &Arc<Comms>,
    palette: &Arc<Palette>,
) -> Box<dyn Fn() -> Pin<Box<dyn Future<Output = ()> + Send>> + Send + Sync> {
    let (engine, following) = (engine.clone(), following.clone());
    let (comms, palette) = (comms.clone(), palette.clone());
    Box::new(move || {
        let (engine, following) = (engine.clone(), following.clone());
        let (comms, palette) = (comms.clone(), palette.clone());
        Box::pin(async move {
            let clock = engine.services.clock.clone();
            let before = palette.modules(&engine.catalogue());
            let shown = Arc::new(AtomicBool::new(false));
            let loading = tokio::spawn({
                let shown = shown.clone();
                async move {
                    if following.offer_all().await && shown.load(Ordering::Acquire) {
                        comms.notify("node/added", palette.added_since(&before, &engine.catalogue()), false);
                    }
                }
            });
            tokio::select! {
                _ = loading => {}
                () = clock.sleep(PALETTE_WAITS) => shown.store(true, Ordering::Release),
            }
        })
    })
}

/// The context stores that settings.js names (`contextStorage`) and those of the configuration, the default one first; one
/// in memory without.
pub fn context_stores(config: &Config) -> Vec<(String, Home)> {
    let empty = serde_json::Map::new();
    let given = config.editor.get("contextStorage").and_then(Json::as_object).unwrap_or(&empty);
    let mut stores: Vec<(String, Home)> = Vec::new();
    if let Some(default) = given.keys().find(|name| *name == "default").or_else(|| given.keys().next()) {
        // `default` may be another name of a store.
        let other = given[default].as_str().and_then(|other| given.get_key_value(other)).map(|(name, _)| name);
        let default = other.unwrap_or(default);
        let others = given.keys().filter(|name| *name != default && given[*name].is_object());
        for name in [default].into_iter().chain(others) {
            let definition = &given[name];
            let module = definition.get("module").and_then(Json::as_str).unwrap_or("memory");
            let folder = definition.get("config").and_then(|config| config.get("dir")?.as_str()).map(PathBuf::from);
            stores.push((name.clone(), home(config, module, folder, &format!("contextStorage.{name}"))));
        }
    }
    let own = &config.contexts.stores;
    if stores.is_empty() {
        let module = own.get("default").map_or("memory", String::as_str);
        stores.push(("default".into(), home(config, module, None, "contexts.stores.default")));
    }
    for (name, module) in own {
        if !given.contains_key(name) && !stores.iter().any(|(known, _)| known == name) {
            stores.push((name.clone(), home(config, module, None, &format!("contexts.stores.{name}"))));
        }
    }
    stores
}

/// The configured context stores, opened; those in the database lie in this one.
pub fn context(config: &Config, store: &Arc<dyn Store>) -> ContextStore {
    let limits = StoredLimits {
        value_bytes_max: config.contexts.value_bytes_max,
        scope_bytes_max: config.contexts.scope_bytes_max,
        answer_ms_max: config.contexts.answer_ms_max,
        // The other half of the connections is left to everything else.
        parallel_max: (config.store.connections_max / 2).max(1) as usize,
    };
    ContextStore::open(context_stores(config), Some(Stored::new(store.clone(), limits)))
}

/// Where a store of a module is; one that is not known is in memory.
fn home(config: &Config, module: &str, folder: Option<PathBuf>, key: &str) -> Home {
    match module {
        "localfilesystem" => Home::Folder(folder.unwrap_or_else(|| config.data_dir.clone()).join("context")),
        "database" => Home::Database,
        "memory" => Home::Memory,
        other => {
            tracing::error!("{key}: there is no module \"{other}\"; it is kept in memory instead");
            Home::Memory
        }
    }
}

/// Writes contexts that are kept in files, again and again, until `stop` resolves, and a last time then.
pub async fn keep_contexts(engine: Arc<Engine>, stop: impl Future<Output = ()>) {
    tokio::pin!(stop);
    let mut stopping = false;
    while !stopping {
        tokio::select! {
            () = &mut stop => stopping = true,
            () = engine.services.clock.sleep(FLUSH_EVERY) => {}
        }
        let engine = engine.clone();
        if let Err(error) = tokio::task::spawn_blocking(move || engine.services.context.flush()).await {
            tracing::error!(%error, "contexts could not be written");
        }
    }
}

/// The flows that the server begins with: the configured file's, which may be a new revision, or the store's. The file is
/// made from the shipped flows only when neither it nor a revision is there.
pub async fn settle(
    config: &Config,
    store: &Arc<dyn Store>,
    clock: &Clock,
) -> Result<(FlowFile, Arc<CredentialFile>, (Revisions, i64))> {
    let has_revisions = store.flow_head().await?.is_some();
    let found = match has_revisions && !content::flow_path(config).exists() {
        true => None,
        false => {
            let content = content::load_flows(config, !has_revisions)?;
            report(&content.diagnostics);
            Some(content.loaded)
        }
    };
    let credentials = super::credentials::open(config)?;
    let found = found.map(|mut file| {
        credentials.adopt(&mut file);
        file
    });
    let revisions = Revisions {
        store: store.clone(),
        clock: clock.clone(),
        record: config.data_dir.join("flows.mirrored"),
        keep: config.retention.flow_revisions_max,
    };
    let settled = revisions.settle(&place(config), &credentials, found).await.map_err(anyhow::Error::msg)?;
    Ok((settled.file, credentials, (revisions, settled.number)))
}

fn place(config: &Config) -> Place {
    let pretty = config.editor.get("flowFilePretty") != Some(&Json::Bool(false));
    let path = content::flow_path(config);
    let read = {
        let config = config.clone();
        move || {
            let content = content::load_flows(&config, false).map_err(|error| format!("{error:#}"))?;
            Ok((content.loaded, content.diagnostics))
        }
    };
    Place { path: absolute(&path), pretty, read: Box::new(read) }
}

/// A folder must not be another one when the process changes its own.
fn absolute(path: &Path) -> PathBuf {
    std::path::absolute(path).unwrap_or_else(|_| path.to_path_buf())
}

/// The plan of a flow file without the node types that are switched off in the editor.
fn plan(engine: &Engine, palette: &Palette, file: &FlowFile) -> Plan {
    let catalogue = engine.catalogue();
    let types: BTreeSet<&str> = file.nodes.iter().map(|node| node.node_type.as_str()).collect();
    let disabled: BTreeSet<&str> = types.into_iter().filter(|t| palette.is_disabled(&catalogue, t)).collect();
    super::plan_without(engine, file, &|node_type| disabled.contains(node_type))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// `name module` of each store.
    fn stores(storage: Json, own: &[(&str, &str)]) -> Vec<String> {
        let mut config = Config::defaults();
        config.editor.insert("contextStorage".into(), storage);
        config.contexts.stores = own.iter().map(|(name, module)| (name.to_string(), module.to_string())).collect();
        context_stores(&config).into_iter().map(|(name, home)| format!("{name} {}", home.module())).collect()
    }

    #[test]
    fn default_is_a_store_or_another_name_of_one() {
        let files = json!({"module": "localfilesystem"});
        assert_eq!(stores(json!({}), &[]), ["default memory"]);
        assert_eq!(
            stores(json!({"file": files, "default": {"module": "memory"}}), &[]),
            ["default memory", "file localfilesystem"]
        );
        // One store, not two that write the same files.
        assert_eq!(stores(json!({"default": "file", "file": files}), &[]), ["file localfilesystem"]);
        let own = [("default", "memory"), ("file", "memory"), ("shared", "database")];
        assert_eq!(
            stores(json!({"default": "file", "file": files}), &own),
            ["file localfilesystem", "shared database"]
        );
        assert_eq!(stores(json!({}), &own), ["default memory", "file memory", "shared database"]);
    }
}
