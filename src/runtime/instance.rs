//! A node as it lives: the same one over deploys that leave it alone, with its tasks and the plan it is part of now.

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, Weak};

use arcstr::ArcStr;
use tokio::task::JoinHandle;

use super::Deployed;
use super::Node;
use crate::model::flow::{Env, NodeIndex, Plan, PlanNode};
use crate::model::{Object, Value};

pub(super) struct Instance {
    pub(super) node: Arc<dyn Node>,
    /// False for a node that could not be built and only says why.
    pub(super) works: bool,
    place: Mutex<(Weak<Deployed>, NodeIndex)>,
    tasks: Mutex<Vec<JoinHandle<()>>>,
}

impl Instance {
    pub(super) fn new(node: Arc<dyn Node>, works: bool) -> Arc<Instance> {
        Arc::new(Instance { node, works, place: Mutex::new((Weak::new(), 0)), tasks: Mutex::default() })
    }

    /// Makes it part of this plan.
    pub(super) fn take_place(&self, deployed: &Arc<Deployed>, index: NodeIndex) {
        *self.place.lock().unwrap_or_else(|p| p.into_inner()) = (Arc::downgrade(deployed), index);
    }

    /// The plan it is part of now; `None` when nobody holds that any more.
    pub(super) fn place(&self) -> Option<(Arc<Deployed>, NodeIndex)> {
        let (deployed, index) = &*self.place.lock().unwrap_or_else(|p| p.into_inner());
        Some((deployed.upgrade()?, *index))
    }

    fn tasks(&self) -> MutexGuard<'_, Vec<JoinHandle<()>>> {
        self.tasks.lock().unwrap_or_else(|p| p.into_inner())
    }

    /// Keeps a task until the node is stopped.
    pub(super) fn keep_task(&self, task: impl Future<Output = ()> + Send + 'static) {
        let mut tasks = self.tasks();
        // Looked through only when it would have to grow: many delayed messages cost no more than their number.
        if tasks.len() == tasks.capacity() {
            tasks.retain(|task| !task.is_finished());
        }
        tasks.push(tokio::spawn(task));
    }

    /// Says goodbye, when it has something to say, and ends its tasks.
    pub(super) fn stop(&self) -> Option<Pin<Box<dyn Future<Output = ()> + Send>>> {
        let goodbye = self.node.close();
        for task in self.tasks().drain(..) {
            task.abort();
        }
        goodbye
    }

    /// Tells one from all others.
    pub(super) fn address(self: &Arc<Self>) -> usize {
        Arc::as_ptr(self) as usize
    }
}

/// Whether a node would be built from the very same: its properties (but for its place in the editor and its wires), its
/// environment, and config nodes that are `kept`.
pub(super) fn same(old: (&Plan, &PlanNode), new: (&Plan, &PlanNode), kept: &dyn Fn(&ArcStr) -> bool) -> bool {
    let (a, b) = (old.1, new.1);
    a.node_type == b.node_type
        && a.name == b.name
        && a.context == b.context
        && a.parents == b.parents
        && same_env(&a.env, &b.env)
        && same_config(&a.config, &b.config)
        && same_references(old, new, kept)
}

fn same_config(a: &Arc<Object>, b: &Arc<Object>) -> bool {
    let counts = |key: &str| !matches!(key, "x" | "y" | "wires");
    let size = |o: &Object| o.keys().filter(|key| counts(key)).count();
    Arc::ptr_eq(a, b)
        || size(a) == size(b) && a.iter().filter(|(key, _)| counts(key)).all(|(key, value)| b.get(key) == Some(value))
}

fn same_env(a: &Arc<Env>, b: &Arc<Env>) -> bool {
    let (mut a, mut b) = (Some(a), Some(b));
    loop {
        match (a, b) {
            (None, None) => return true,
            (Some(x), Some(y)) if Arc::ptr_eq(x, y) => return true,
            (Some(x), Some(y)) if x.values == y.values && x.of_node == y.of_node => {
                (a, b) = (x.parent.as_ref(), y.parent.as_ref());
            }
            _ => return false,
        }
    }
}

/// Whether the config nodes whose ids stand in the properties are all taken over. One that is new in either plan makes a
/// difference, too.
fn same_references(old: (&Plan, &PlanNode), new: (&Plan, &PlanNode), kept: &dyn Fn(&ArcStr) -> bool) -> bool {
    if old.0.configs.is_empty() && new.0.configs.is_empty() {
        return true;
    }
    let texts = new.1.config.iter().filter(|(key, _)| !matches!(key.as_str(), "id" | "z" | "g" | "wires"));
    texts.filter_map(|(_, value)| value.as_str()).all(|id| match (config(old.0, id), config(new.0, id)) {
        (None, None) => true,
        (Some(_), Some(now)) => kept(&now.id),
        _ => false,
    })
}

fn config<'a>(plan: &'a Plan, id: &str) -> Option<&'a PlanNode> {
    plan.configs.iter().find(|config| config.id == id || config.config.get("id").and_then(Value::as_str) == Some(id))
}
