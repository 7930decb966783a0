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
#[derive(Default)]
pub struct ContextStore {
    scopes: Mutex<HashMap<ArcStr, Object>>,
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
}

fn resolve(node: &PlanNode, level: Level, path: &Path) -> (ArcStr, Path) {
    match level {
        Level::Global => (arcstr::literal!("global"), path.clone()),
        Level::Node => (arcstr::format!("{}@{}", node.id, node.context), path.clone()),
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
