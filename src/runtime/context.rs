//! The context stores: values that nodes keep under `node`, `flow` and `global`, shared by all runs.

use std::collections::HashMap;
use std::sync::Mutex;

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

/// In-memory context of an engine, kept across deploys. Values are copied on read, never live references, so one
/// run cannot change what another holds.
pub struct ContextStore {
    scopes: Mutex<HashMap<ArcStr, Object>>,
    stores: Vec<String>,
}

impl Default for ContextStore {
    fn default() -> Self {
        ContextStore { scopes: Mutex::default(), stores: vec!["default".into()] }
    }
}

impl ContextStore {
    /// Reads `path` in the node's context of this level. A flow path starting with `$parent.` reads the
    /// enclosing flow's.
    pub fn get(&self, node: &PlanNode, level: Level, path: &Path, msg: Option<&Object>) -> Value {
        let (scope, path) = resolve(node, level, path);
        let scopes = self.scopes.lock().unwrap_or_else(|p| p.into_inner());
        scopes.get(&scope).map(|o| path.get(o, msg)).unwrap_or_default()
    }

    /// Sets (or, with `Undefined`, deletes). False when a scalar is in the way.
    pub fn set(&self, node: &PlanNode, level: Level, path: &Path, value: Value, msg: Option<&Object>) -> bool {
        let (scope, path) = resolve(node, level, path);
        let mut scopes = self.scopes.lock().unwrap_or_else(|p| p.into_inner());
        path.set(scopes.entry(scope).or_default(), value, msg)
    }

    /// The names kept in the node's context of this level.
    pub fn keys(&self, node: &PlanNode, level: Level) -> Vec<ArcStr> {
        let scope = match level {
            Level::Global => arcstr::literal!("global"),
            Level::Node => scope_of_node(node),
            Level::Flow => node.context.clone(),
        };
        let scopes = self.scopes.lock().unwrap_or_else(|p| p.into_inner());
        scopes.get(&scope).map(|o| o.iter().map(|(name, _)| name.clone()).collect()).unwrap_or_default()
    }

    /// The names of the stores, the default one first.
    pub fn stores(&self) -> &[String] {
        &self.stores
    }

    /// The properties under a scope ([`scope_of_node`], a tab's or subflow instance's id, or `global`) in one store.
    pub fn of_scope(&self, store: &str, scope: &str) -> Object {
        if self.stores[0] != store {
            return Object::new();
        }
        let scopes = self.scopes.lock().unwrap_or_else(|p| p.into_inner());
        scopes.get(scope).cloned().unwrap_or_default()
    }

    /// Deletes a property of a scope in one store.
    pub fn delete(&self, store: &str, scope: &str, path: &Path) {
        if self.stores[0] != store {
            return;
        }
        let mut scopes = self.scopes.lock().unwrap_or_else(|p| p.into_inner());
        if let Some(properties) = scopes.get_mut(scope) {
            path.set(properties, Value::Undefined, None);
        }
    }

    /// Forgets the scopes of tabs, subflow instances and nodes that are not `known` by their id any more.
    pub fn keep(&self, known: &dyn Fn(&str) -> bool) {
        let mut scopes = self.scopes.lock().unwrap_or_else(|p| p.into_inner());
        scopes.retain(|scope, _| {
            scope == GLOBAL || known(scope.split_once('@').map_or(scope.as_str(), |(node, _)| node))
        });
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
