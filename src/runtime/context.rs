//! The context stores: values that nodes keep under `node`, `flow` and `global`, shared by all runs.

mod kept;
mod stored;

use std::collections::{BTreeSet, HashMap};
use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard};

use arcstr::ArcStr;

pub use stored::{Room, Stored, StoredLimits, UNKNOWN};

use super::NodeError;
use crate::model::flow::PlanNode;
use crate::model::path::Path;
use crate::model::{Object, Value};
use crate::store::{ContextScope, StoreError};

/// Which of a node's contexts is meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Level {
    Node,
    Flow,
    Global,
}

/// Where a context store is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Home {
    /// Gone with the process.
    Memory,
    /// In memory, written to a folder in the files that Node-RED's `localfilesystem` store has.
    Folder(PathBuf),
    /// In the database, for all replicas.
    Database,
}

impl Home {
    /// The module that settings.js calls it by.
    pub fn module(&self) -> &'static str {
        match self {
            Home::Memory => "memory",
            Home::Folder(_) => "localfilesystem",
            Home::Database => "database",
        }
    }
}

/// A node, and whose tab it is on: empty when that names no tenant.
#[derive(Clone, Copy)]
pub struct Owner<'a> {
    pub node: &'a PlanNode,
    pub tenant: &'a str,
}

/// Contexts by scope: the properties of each tab, subflow instance and node, and of `global`.
type Scopes = HashMap<ArcStr, Object>;

/// The context stores of an engine, kept across deploys. Values are copied on read, never live references, so one run
/// cannot change what another holds.
pub struct ContextStore {
    /// The default store.
    scopes: Mutex<Scopes>,
    /// The others, in the order of their names.
    others: Vec<Mutex<Scopes>>,
    /// The default store's first.
    names: Vec<String>,
    /// Where each is.
    homes: Vec<Home>,
    /// There if one of them is in the database.
    stored: Option<Stored>,
    /// Scopes that are to be written, by the place of their store.
    changed: Mutex<BTreeSet<(usize, ArcStr)>>,
}

impl Default for ContextStore {
    fn default() -> Self {
        ContextStore::open(vec![("default".into(), Home::Memory)], None)
    }
}

/// What a path of a node leads to.
enum Place<'a> {
    /// The place of a store that is in memory.
    Memory(usize, ArcStr),
    Database(&'a Stored, ContextScope),
}

impl ContextStore {
    /// Stores by name, the default one first, and where they are. What cannot be read of a folder is said in the log; one
    /// that is to be in the database, without there being one, is in memory.
    pub fn open(stores: Vec<(String, Home)>, database: Option<Stored>) -> ContextStore {
        let mut read = stores.iter().map(|(_, home)| match home {
            Home::Folder(folder) => kept::read(folder),
            Home::Memory | Home::Database => Scopes::new(),
        });
        let default = read.next().unwrap_or_default();
        let others = read.map(Mutex::new).collect();
        let (names, homes): (Vec<String>, Vec<Home>) = stores.into_iter().unzip();
        let stored = database.filter(|_| homes.contains(&Home::Database));
        ContextStore { scopes: Mutex::new(default), others, names, homes, stored, changed: Mutex::default() }
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
        if matches!(self.homes.get(place), Some(Home::Folder(_))) {
            self.changed.lock().unwrap_or_else(|p| p.into_inner()).insert((place, scope));
        }
    }

    /// The database, if this store is in it.
    fn stored(&self, place: usize) -> Option<&Stored> {
        self.stored.as_ref().filter(|_| self.homes.get(place) == Some(&Home::Database))
    }

    fn leads(&self, store: Option<&str>, tenant: &str, scope: ArcStr) -> Place<'_> {
        let place = self.place(store);
        match self.stored(place) {
            None => Place::Memory(place, scope),
            Some(stored) => Place::Database(stored, self.scope_of(place, tenant, &scope)),
        }
    }

    fn scope_of(&self, place: usize, tenant: &str, scope: &str) -> ContextScope {
        let store = self.names.get(place).cloned().unwrap_or_default();
        ContextScope { store, tenant: tenant.to_owned(), scope: scope.to_owned() }
    }

    fn get_here(&self, place: usize, scope: &ArcStr, path: &Path, msg: Option<&Object>) -> Value {
        self.scopes(place).get(scope).map(|o| path.get(o, msg)).unwrap_or_default()
    }

    fn set_here(&self, place: usize, scope: ArcStr, path: &Path, value: Value, msg: Option<&Object>) -> bool {
        let set = path.set(self.scopes(place).entry(scope.clone()).or_default(), value, msg);
        self.changed(place, scope);
        set
    }

    fn keys_here(&self, place: usize, scope: &ArcStr) -> Vec<ArcStr> {
        self.scopes(place).get(scope).map(|o| o.iter().map(|(name, _)| name.clone()).collect()).unwrap_or_default()
    }

    /// Reads `path` in the node's context of this level. A flow path starting with `$parent.` reads the
    /// enclosing flow's.
    ///
    /// # Errors
    /// The store is in the database, and that did not answer ([`UNKNOWN`]).
    pub fn get(&self, of: Owner<'_>, level: Level, path: &Path, msg: Option<&Object>) -> Result<Value, NodeError> {
        let (scope, path) = resolve(of.node, level, path);
        match self.leads(path.store().map(ArcStr::as_str), of.tenant, scope) {
            Place::Memory(place, scope) => Ok(self.get_here(place, &scope, &path, msg)),
            Place::Database(stored, scope) => stored::wait_here(stored.get(&scope, &path, msg)),
        }
    }

    /// As [`ContextStore::get`], for who can wait.
    ///
    /// # Errors
    /// As there.
    pub async fn read(
        &self,
        of: Owner<'_>,
        level: Level,
        path: &Path,
        msg: Option<&Object>,
    ) -> Result<Value, NodeError> {
        let (scope, path) = resolve(of.node, level, path);
        match self.leads(path.store().map(ArcStr::as_str), of.tenant, scope) {
            Place::Memory(place, scope) => Ok(self.get_here(place, &scope, &path, msg)),
            Place::Database(stored, scope) => {
                let _room = stored.room().await;
                stored.get(&scope, &path, msg).await
            }
        }
    }

    /// Sets (or, with `Undefined`, deletes). False when a scalar is in the way. In the database a path is set below what
    /// is there by then, whoever sets another one at the same time.
    ///
    /// # Errors
    /// The store is in the database, and that did not answer ([`UNKNOWN`]; it may have been set), or the value is too
    /// large.
    pub fn set(
        &self,
        of: Owner<'_>,
        level: Level,
        path: &Path,
        value: Value,
        msg: Option<&Object>,
    ) -> Result<bool, NodeError> {
        let (scope, path) = resolve(of.node, level, path);
        match self.leads(path.store().map(ArcStr::as_str), of.tenant, scope) {
            Place::Memory(place, scope) => Ok(self.set_here(place, scope, &path, value, msg)),
            Place::Database(stored, scope) => stored::wait_here(stored.set(&scope, &path, value, msg)),
        }
    }

    /// As [`ContextStore::set`], for who can wait.
    ///
    /// # Errors
    /// As there.
    pub async fn write(
        &self,
        of: Owner<'_>,
        level: Level,
        path: &Path,
        value: Value,
        msg: Option<&Object>,
    ) -> Result<bool, NodeError> {
        let (scope, path) = resolve(of.node, level, path);
        match self.leads(path.store().map(ArcStr::as_str), of.tenant, scope) {
            Place::Memory(place, scope) => Ok(self.set_here(place, scope, &path, value, msg)),
            Place::Database(stored, scope) => {
                let _room = stored.room().await;
                stored.set(&scope, &path, value, msg).await
            }
        }
    }

    /// Makes of what is under a key of the node's own context what `change` says; `None` leaves it as it is. No run or
    /// replica changes it in between; `change` may be asked again.
    ///
    /// # Errors
    /// As of [`ContextStore::set`].
    pub fn update(
        &self,
        of: Owner<'_>,
        store: Option<&str>,
        key: &ArcStr,
        change: &mut (dyn FnMut(Value) -> Option<Value> + Send),
    ) -> Result<(), NodeError> {
        match self.leads(store, of.tenant, scope_of_node(of.node)) {
            Place::Memory(place, scope) => {
                let mut scopes = self.scopes(place);
                let properties = scopes.entry(scope.clone()).or_default();
                match change(properties.get(key).cloned().unwrap_or_default()) {
                    None => {}
                    Some(Value::Undefined) => drop(properties.remove(key)),
                    Some(value) => drop(properties.insert(key.clone(), value)),
                }
                drop(scopes);
                self.changed(place, scope);
                Ok(())
            }
            Place::Database(stored, scope) => stored::wait_here(stored.update(&scope, key, change)),
        }
    }

    /// The names kept in the node's context of this level, in the default store unless one is named.
    ///
    /// # Errors
    /// The store is in the database, and that did not answer.
    pub fn keys(&self, of: Owner<'_>, level: Level, store: Option<&str>) -> Result<Vec<ArcStr>, NodeError> {
        let scope = match level {
            Level::Global => arcstr::literal!("global"),
            Level::Node => scope_of_node(of.node),
            Level::Flow => of.node.context.clone(),
        };
        match self.leads(store, of.tenant, scope) {
            Place::Memory(place, scope) => Ok(self.keys_here(place, &scope)),
            Place::Database(stored, scope) => stored::wait_here(stored.keys(&scope)),
        }
    }

    /// The names of the stores, the default one first.
    pub fn stores(&self) -> &[String] {
        &self.names
    }

    /// Where a store is.
    pub fn home(&self, store: &str) -> &Home {
        self.homes.get(self.place(Some(store))).unwrap_or(&Home::Memory)
    }

    /// Whether a store is in the database.
    pub fn is_in_database(&self) -> bool {
        self.stored.is_some()
    }

    /// Waits for a place among those who ask the database; without one in use there is nothing to wait for.
    pub async fn room(&self) -> Option<Room<'_>> {
        match &self.stored {
            Some(stored) => stored.room().await,
            None => None,
        }
    }

    /// The properties under a tenant's scope ([`scope_of_node`], a tab's or subflow instance's id, or `global`) in one
    /// store. Stores that are not in the database know no tenants.
    ///
    /// # Errors
    /// The database did not answer.
    pub async fn of_scope(&self, store: &str, tenant: &str, scope: &str) -> Result<Object, NodeError> {
        match self.leads(Some(store), tenant, scope.into()) {
            Place::Memory(place, scope) => Ok(self.scopes(place).get(&scope).cloned().unwrap_or_default()),
            Place::Database(stored, scope) => stored.values(&scope).await,
        }
    }

    /// Deletes a property of a scope in one store.
    ///
    /// # Errors
    /// The database did not answer.
    pub async fn delete(&self, store: &str, tenant: &str, scope: &str, path: &Path) -> Result<(), NodeError> {
        match self.leads(Some(store), tenant, scope.into()) {
            Place::Memory(place, scope) => {
                if let Some(properties) = self.scopes(place).get_mut(&scope) {
                    path.set(properties, Value::Undefined, None);
                }
                self.changed(place, scope);
                Ok(())
            }
            Place::Database(stored, scope) => stored.set(&scope, path, Value::Undefined, None).await.map(drop),
        }
    }

    /// Forgets the scopes of tabs, subflow instances and nodes that are not `known` by their id any more; not those in the
    /// database.
    pub fn keep(&self, known: &dyn Fn(&str) -> bool) {
        for place in 0..self.names.len() {
            let mut gone = Vec::new();
            self.scopes(place).retain(|scope, _| {
                let stays = stays(scope, known);
                gone.extend((!stays).then(|| scope.clone()));
                stays
            });
            gone.into_iter().for_each(|scope| self.changed(place, scope));
        }
    }

    /// As [`ContextStore::keep`], in the database, as long as these are the flows of its newest revision.
    ///
    /// # Errors
    /// The database did not answer.
    pub async fn keep_stored(&self, known: &(dyn Fn(&str) -> bool + Sync), revision: i64) -> Result<(), StoreError> {
        let Some(stored) = &self.stored else { return Ok(()) };
        let ours = |of: &ContextScope| self.names.contains(&of.store);
        let scopes = stored.store().context_scopes().await?;
        let gone: Vec<ContextScope> = scopes.into_iter().filter(|of| ours(of) && !stays(&of.scope, known)).collect();
        if !gone.is_empty() && !stored.store().forget_contexts(&gone, revision).await? {
            tracing::debug!(revision, "contexts are left to who has the newest revision of the flows");
        }
        Ok(())
    }

    /// Writes what changed since the last time to the folders of the stores; blocks. What cannot be written is said in
    /// the log and tried again the next time.
    pub fn flush(&self) {
        let changed = std::mem::take(&mut *self.changed.lock().unwrap_or_else(|p| p.into_inner()));
        for (place, scope) in changed {
            let Home::Folder(folder) = &self.homes[place] else { continue };
            let properties = self.scopes(place).get(&scope).cloned();
            if let Err(error) = kept::write(folder, &scope, properties.as_ref()) {
                tracing::error!(%error, %scope, "a context could not be written to {}", folder.display());
                self.changed(place, scope);
            }
        }
    }
}

/// Whether what a scope is of is known yet.
fn stays(scope: &str, known: &dyn Fn(&str) -> bool) -> bool {
    scope == GLOBAL || known(scope.split_once('@').map_or(scope, |(node, _)| node))
}

/// Whether a node's properties name a context: as the type of a typed input, in a key, a template or an expression.
pub(super) fn is_named_in(config: &Object) -> bool {
    let text = Value::from(config.clone()).to_json();
    // `$eval` may call anything.
    ["flow", "global", "#:(", "$eval"].iter().any(|word| text.contains(word))
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
            let file = Home::Folder(folder.path().to_path_buf());
            ContextStore::open(vec![("default".into(), Home::Memory), ("file".into(), file)], None)
        };
        let node = PlanNode { context: "t".into(), ..crate::runtime::tests::node("n", "x", &[]) };
        let of = Owner { node: &node, tenant: "" };
        let path = |store: Option<&str>| Path::parse("a.b").unwrap().in_store(store);
        let context = open();
        for level in [Level::Node, Level::Flow, Level::Global] {
            assert!(context.set(of, level, &path(Some("file")), 1.into(), None).unwrap());
            assert!(context.set(of, level, &path(None), 2.into(), None).unwrap());
        }
        context.flush();
        let again = open();
        for level in [Level::Node, Level::Flow, Level::Global] {
            assert_eq!(again.get(of, level, &path(Some("file")), None).unwrap(), 1.into(), "{level:?}");
            assert_eq!(again.get(of, level, &path(Some("unknown")), None).unwrap(), Value::Undefined);
        }
        let files = ["global/global.json", "t/flow.json", "t/n.json"].map(|file| folder.path().join(file));
        assert!(files.iter().all(|file| std::fs::read_to_string(file).unwrap().contains(r#"{"a":{"b":1}}"#)));
        again.keep(&|_| false);
        again.flush();
        assert_eq!(files.map(|file| file.exists()), [true, false, false]);
    }

    #[test]
    fn what_cannot_be_written_or_read_is_not_lost() {
        let folder = tempfile::tempdir().unwrap();
        let place = folder.path().join("contexts");
        let open = || ContextStore::open(vec![("default".into(), Home::Folder(place.clone()))], None);
        let node = PlanNode { context: "t".into(), ..crate::runtime::tests::node("n", "x", &[]) };
        let (of, path) = (Owner { node: &node, tenant: "" }, Path::parse("a").unwrap());
        let context = open();
        // No folder can be made in the place of a file.
        std::fs::write(&place, "").unwrap();
        assert!(context.set(of, Level::Flow, &path, 1.into(), None).unwrap());
        context.flush();
        std::fs::remove_file(&place).unwrap();
        context.flush();
        assert_eq!(open().get(of, Level::Flow, &path, None).unwrap(), 1.into());
        // What somebody has broken is not overwritten, not the second time either.
        let file = place.join("t/flow.json");
        for broken in ["{", "[]"] {
            std::fs::write(&file, broken).unwrap();
            let context = open();
            assert_eq!(context.get(of, Level::Flow, &path, None).unwrap(), Value::Undefined);
            assert!(context.set(of, Level::Flow, &path, 2.into(), None).unwrap());
            context.flush();
            assert_eq!(open().get(of, Level::Flow, &path, None).unwrap(), 2.into());
        }
        let aside = ["flow.json.unreadable", "flow.json.unreadable-2"].map(|name| place.join("t").join(name));
        assert_eq!(aside.map(|file| std::fs::read_to_string(file).unwrap()), ["{", "[]"]);
    }
}
