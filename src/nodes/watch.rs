//! `watch`: files and folders below `files.dir`, looked at every second, where the operator allows it.
//!
//! Looking works on every file system, bind mounts and network drives included, where events of the kernel do not come.

use std::collections::BTreeMap;
use std::future::Future;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::sync::watch;

use super::refused::unless_allowed;
use crate::files::{Files, HOW};
use crate::model::node_spec::{NodeSpec, Property, PropertyKind};
use crate::model::{Diagnostic, Msg};
use crate::runtime::{Cx, Node, NodeConfig, NodeType, Source, Status, Step};

static SPEC: NodeSpec = NodeSpec {
    node_type: "watch",
    category: "storage",
    summary: "A message for each file below files.dir that changes or goes. Only where nodes.allow names it.",
    inputs: 0,
    outputs: Some(1),
    config_node: false,
    properties: &[
        Property::required("files", PropertyKind::Text, "Files and folders, separated by commas."),
        Property::new("recursive", PropertyKind::Boolean, "Folders within folders, too."),
    ],
    capabilities: &[],
};

pub const TYPE: NodeType = NodeType { spec: &SPEC, build };

/// Between two looks.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// Of more files, those that come last by name are not watched.
const WATCHED_MAX: usize = 20_000;

type Task = Pin<Box<dyn Future<Output = ()> + Send>>;

struct Watch {
    names: Vec<String>,
    topic: String,
    recursive: bool,
    stop: watch::Sender<bool>,
}

fn build(config: &NodeConfig<'_>) -> Result<Arc<dyn Node>, Vec<Diagnostic>> {
    if let Some(refused) = unless_allowed(config, "they look at files of the machine that this server may read") {
        return Ok(refused);
    }
    if !config.services.files.is_allowed() {
        return Err(vec![config.problem("no-files", "files", HOW)]);
    }
    let names: Vec<String> =
        config.text("files").split(',').map(|name| name.trim().to_string()).filter(|name| !name.is_empty()).collect();
    let mut problems = Vec::new();
    if names.is_empty() {
        problems.push(config.problem("missing-files", "files", "it names no files").expected("files, or folders"));
    }
    for name in &names {
        if let Err(error) = config.services.files.find(name, true) {
            problems.push(config.problem("files-outside", "files", error.message));
        }
    }
    if !problems.is_empty() {
        return Err(problems);
    }
    // As Node-RED has it: one name as it is, several as a list.
    let topic = match names.as_slice() {
        [one] => one.clone(),
        several => serde_json::to_string(several).expect("texts are JSON"),
    };
    Ok(Arc::new(Watch { names, topic, recursive: config.flag("recursive"), stop: watch::channel(false).0 }))
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Kind {
    File,
    Directory,
    Other,
}

impl Kind {
    fn name(self) -> &'static str {
        match self {
            Kind::File => "file",
            Kind::Directory => "directory",
            Kind::Other => "n/a",
        }
    }
}

/// What is remembered of a file.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Seen {
    kind: Kind,
    size: u64,
    changed: Option<SystemTime>,
}

impl Seen {
    fn of(path: &Path) -> Option<Seen> {
        let facts = std::fs::symlink_metadata(path).ok()?;
        let kind = match facts.file_type() {
            t if t.is_file() => Kind::File,
            t if t.is_dir() => Kind::Directory,
            _ => Kind::Other,
        };
        // A folder's own time changes with what is in it, which is told by itself.
        let changed = if kind == Kind::Directory { None } else { facts.modified().ok() };
        Some(Seen { kind, size: if kind == Kind::Directory { 0 } else { facts.len() }, changed })
    }
}

type Sight = BTreeMap<PathBuf, Seen>;

/// Everything that is watched, as it is now. Links are not followed: they could lead out of the folder.
fn look(files: &Files, names: &[String], recursive: bool) -> Sight {
    let mut sight = Sight::new();
    for path in names.iter().filter_map(|name| files.find(name, true).ok()) {
        match Seen::of(&path) {
            Some(seen) if seen.kind == Kind::Directory => inside(&path, recursive, &mut sight),
            Some(seen) => drop(sight.insert(path, seen)),
            None => {}
        }
    }
    sight
}

fn inside(folder: &Path, recursive: bool, sight: &mut Sight) {
    let mut folders = vec![folder.to_path_buf()];
    while let Some(folder) = folders.pop() {
        // One that has just gone, or may not be read, has nothing in it.
        for path in std::fs::read_dir(&folder).into_iter().flatten().flatten().map(|entry| entry.path()) {
            if sight.len() >= WATCHED_MAX {
                return;
            }
            let Some(seen) = Seen::of(&path) else { continue };
            if recursive && seen.kind == Kind::Directory {
                folders.push(path.clone());
            }
            sight.insert(path, seen);
        }
    }
}

/// What differs between two looks: path, event, and what is there now.
fn changes(before: &Sight, now: &Sight) -> Vec<(PathBuf, &'static str, Option<Seen>)> {
    let gone = before.keys().filter(|path| !now.contains_key(*path)).map(|path| (path.clone(), "remove", None));
    let changed = now.iter().filter(|(path, seen)| before.get(*path) != Some(seen));
    gone.chain(changed.map(|(path, seen)| (path.clone(), "update", Some(*seen)))).collect()
}

fn message(topic: &str, path: &Path, event: &str, seen: Option<Seen>) -> Msg {
    let shown = path.to_string_lossy().into_owned();
    let mut msg = Msg::new();
    msg.set("payload", shown.clone());
    msg.set("topic", topic);
    msg.set("file", path.file_name().unwrap_or_default().to_string_lossy().into_owned());
    msg.set("filename", shown);
    msg.set("event", event);
    if let Some(seen) = seen.filter(|seen| seen.kind == Kind::File) {
        msg.set("size", seen.size as f64);
    }
    msg.set("type", seen.map_or("none", |seen| seen.kind.name()));
    msg
}

impl Node for Watch {
    fn on_msg(&self, _msg: Msg, _cx: &mut Cx<'_>) -> Step {
        Step::Done
    }

    fn start(&self, source: Source) -> Option<Task> {
        let (names, topic, recursive) = (self.names.clone(), self.topic.clone(), self.recursive);
        let mut stop = self.stop.subscribe();
        Some(Box::pin(async move {
            let services = source.services().clone();
            let looking = || {
                let (services, names) = (services.clone(), names.clone());
                tokio::task::spawn_blocking(move || look(&services.files, &names, recursive))
            };
            let Ok(mut before) = looking().await else { return };
            if before.len() >= WATCHED_MAX {
                let text = format!("only {WATCHED_MAX} files are watched; name fewer folders");
                // Too many open runs are told of elsewhere.
                let _ = source.act(|cx| cx.warn(text)).is_ok();
            }
            let watching = Status { text: format!("watching {}", before.len()).into(), ..Status::default() };
            let _ = source.act(|cx| cx.status(watching)).is_ok();
            loop {
                tokio::select! {
                    () = services.clock.sleep(LOOK_EVERY) => {}
                    _ = stop.wait_for(|stop| *stop) => return,
                }
                let Ok(now) = looking().await else { return };
                for (path, event, seen) in changes(&before, &now) {
                    let msg = message(&topic, &path, event, seen);
                    if source.act(|cx| cx.emit(0, msg)).is_err() {
                        tracing::error!("a change of a file was not told: too many runs are open (runs_max)");
                    }
                }
                before = now;
            }
        }))
    }

    fn close(&self) -> Option<Task> {
        self.stop.send_replace(true);
        None
    }
}

#[cfg(test)]
mod tests;
