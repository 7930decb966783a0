//! The context stores: values that nodes keep under `node`, `flow` and `global`, shared by all runs.

mod kept;

use std::collections::{BTreeSet, HashMap};
use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard};

use arcstr::ArcStr;

use crate::model::flow::PlanNode;
use crate::model::path::Path;
use crate::model::{Object, Value};

/// Which of a node's contexts is meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Level {
    Node,
    Flow,
    Global,
}

/// Contexts by scope: the properties of each tab, subflow instance and node, and of `global`.
type Scopes = HashMap<ArcStr, Object>;

/// The context stores of an engine, kept across deploys. Values are copied on read, never live references, so one run
/// cannot change what another holds. A store may be kept in a folder, in the files that Node-RED's `localfilesystem`
/// store has.
pub struct ContextStore {
    /// The default store.
    scopes: Mutex<Scopes>,
    /// The others, in the order of their names.
    others: Vec<Mutex<Scopes>>,
    /// The default store's first.
    names: Vec<String>,
    /// Where each is kept; `None`: in memory only.
    folders: Vec<Option<PathBuf>>,
    /// Scopes that are to be written, by the place of their store.
    changed: Mutex<BTreeSet<(usize, ArcStr)>>,
}

impl Default for ContextStore {
    fn default() -> Self {
        ContextStore::open(vec![("default".into(), None)])
    }
}

impl ContextStore {
    /// Stores by name, the default one first, and the folders that they are kept in. What cannot be read of a folder is
    /// said in the log.
    pub fn open(stores: Vec<(String, Option<PathBuf>)>) -> ContextStore {
        let mut read = stores.iter().map(|(_, folder)| folder.as_deref().map(kept::read).unwrap_or_default());
        let default = read.next().unwrap_or_default();
        let others = read.map(Mutex::new).collect();
        let (names, folders) = stores.into_iter().unzip();
        ContextStore { scopes: Mutex::new(default), others, names, folders, changed: Mutex::default() }
    }

    /// The place of a store; one that is not known is the default one, as in Node-RED.
    fn place(&self, store: Option<&str>) -> usize {
        store.and_then(|store| self.names.iter().position(|name| name == store)).unwrap_or(0)
    }

    fn scopes(&self, place: usize) -> MutexGuard<'_, Scopes> {
        let scopes = place.checked_sub(1).and_then(|other| self.others.get(other)).unwrap_or(&self.scopes);
        scopes.lock().unwrap_or_else(|p| p.into_inner())
    }

    fn changed(&self, place: usize, scope: ArcStr) {
        if self.folders.get(place).is_some_and(Option::is_some) {
            self.changed.lock().unwrap_or_else(|p| p.into_inner()).insert((place, scope));
        }
    }

    /// Reads `path` in the node's context of this level. A flow path starting with `$parent.` reads the
    /// enclosing flow's.
    pub fn get(&self, node: &PlanNode, level: Level, path: &Path, msg: Option<&Object>) -> Value {
        let (scope, path) = resolve(node, level, path);
        let scopes = self.scopes(self.place(path.store().map(ArcStr::as_str)));
        scopes.get(&scope).map(|o| path.get(o, msg)).unwrap_or_default()
    }

    /// Sets (or, with `Undefined`, deletes). False when a scalar is in the way.
    pub fn set(&self, node: &PlanNode, level: Level, path: &Path, value: Value, msg: Option<&Object>) -> bool {
        let (scope, path) = resolve(node, level, path);
        let place = self.place(path.store().map(ArcStr::as_str));
        let set = path.set(self.scopes(place).entry(scope.clone()).or_default(), value, msg);
        self.changed(place, scope);
        set
    }

    /// The names kept in the node's context of this level, in the default store unless one is named.
    pub fn keys(&self, node: &PlanNode, level: Level, store: Option<&str>) -> Vec<ArcStr> {
        let scope = match level {
            Level::Global => arcstr::literal!("global"),
            Level::Node => scope_of_node(node),
            Level::Flow => node.context.clone(),
        };
        let scopes = self.scopes(self.place(store));
        scopes.get(&scope).map(|o| o.iter().map(|(name, _)| name.clone()).collect()).unwrap_or_default()
    }

    /// The names of the stores, the default one first.
    pub fn stores(&self) -> &[String] {
        &self.names
    }

    /// Whether a store is kept in files.
    pub fn is_kept(&self, store: &str) -> bool {
        self.folders.get(self.place(Some(store))).is_some_and(Option::is_some)
    }

    /// The properties under a scope ([`scope_of_node`], a tab's or subflow instance's id, or `global`) in one store.
    pub fn of_scope(&self, store: &str, scope: &str) -> Object {
        self.scopes(self.place(Some(store))).get(scope).cloned().unwrap_or_default()
    }

    /// Deletes a property of a scope in one store.
    pub fn delete(&self, store: &str, scope: &str, path: &Path) {
        let place = self.place(Some(store));
        if let Some(properties) = self.scopes(place).get_mut(scope) {
            path.set(properties, Value::Undefined, None);
        }
        self.changed(place, scope.into());
    }

    /// Forgets the scopes of tabs, subflow instances and nodes that are not `known` by their id any more.
    pub fn keep(&self, known: &dyn Fn(&str) -> bool) {
        let stays = |scope: &str| scope == GLOBAL || known(scope.split_once('@').map_or(scope, |(node, _)| node));
        for place in 0..self.names.len() {
            let mut gone = Vec::new();
            self.scopes(place).retain(|scope, _| {
                let stays = stays(scope);
                gone.extend((!stays).then(|| scope.clone()));
                stays
            });
            gone.into_iter().for_each(|scope| self.changed(place, scope));
        }
    }

    /// Writes what changed since the last time to the folders of the stores; blocks. What cannot be written is said in
    /// the log and tried again the next time.
    pub fn flush(&self) {
        let changed = std::mem::take(&mut *self.changed.lock().unwrap_or_else(|p| p.into_inner()));
        for (place, scope) in changed {
            let Some(folder) = &self.folders[place] else { continue };
            let properties = self.scopes(place).get(&scope).cloned();
            if let Err(error) = kept::write(folder, &scope, properties.as_ref()) {
                tracing::error!(%error, %scope, "a context could not be written to {}", folder.display());
                self.changed(place, scope);
            }
        }
    }
}

/// The scope of what all nodes share.
pub const GLOBAL: &str = "global";

/// The scope of a node's own context.
pub fn scope_of_node(node: &PlanNode) -> ArcStr {
    arcstr::format!("{}@{}", node.id, node.context)
}

fn resolve(node: &PlanNode, level: Level, path: &Path) -> (ArcStr, Path) {
    match level {
        Level::Global => (ArcStr::from(GLOBAL), path.clone()),
        Level::Node => (scope_of_node(node), path.clone()),
        Level::Flow => {
            let mut path = path.clone();
            let mut scope = node.context.clone();
            let mut parents = node.parents.iter();
            while path.head().is_some_and(|h| h == "$parent") {
                match (path.tail(), parents.next()) {
                    (Some(tail), Some(parent)) => {
                        path = tail;
                        scope = parent.clone();
                    }
                    _ => break,
                }
            }
            (scope, path)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_store_with_a_folder_is_there_again() {
        let folder = tempfile::tempdir().unwrap();
        let open = || {
            let stores = vec![("default".into(), None), ("file".into(), Some(folder.path().to_path_buf()))];
            ContextStore::open(stores)
        };
        let node = PlanNode { context: "t".into(), ..crate::runtime::tests::node("n", "x", &[]) };
        let path = |store: Option<&str>| Path::parse("a.b").unwrap().in_store(store);
        let context = open();
        for level in [Level::Node, Level::Flow, Level::Global] {
            assert!(context.set(&node, level, &path(Some("file")), 1.into(), None));
            assert!(context.set(&node, level, &path(None), 2.into(), None));
        }
        context.flush();
        let again = open();
        for level in [Level::Node, Level::Flow, Level::Global] {
            assert_eq!(again.get(&node, level, &path(Some("file")), None), 1.into(), "{level:?}");
            assert_eq!(again.get(&node, level, &path(Some("unknown")), None), Value::Undefined);
        }
        let files = ["global/global.json", "t/flow.json", "t/n.json"].map(|file| folder.path().join(file));
        assert!(files.iter().all(|file| std::fs::read_to_string(file).unwrap().contains(r#"{"a":{"b":1}}"#)));
        again.keep(&|_| false);
        again.flush();
        assert_eq!(files.map(|file| file.exists()), [true, false, false]);
    }
}
