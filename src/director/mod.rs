//! Floor 9: tasks as a Governify Director keeps them, run by our clock. A task whose script is ours runs an evaluation;
//! scripts of others run in the sandbox, and only those that the operator allows.

pub mod client;

mod firing;
mod points;
mod scripts;
mod task;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, OnceLock};

use serde_json::{Map, Value, json};
use tokio::sync::Notify;
use uuid::Uuid;

pub use points::Points;
pub use scripts::Scripts;
pub use task::{SCRIPT_PATH, Task};

use crate::clock::Clock;
use crate::evaluate::Evaluator;
use crate::store::{AuditEntry, DocumentKind, Holding, Store, StoreError, StoredDocument};

/// Begins the names of the schedules of tasks.
pub const SCHEDULE_PREFIX: &str = "task/";

/// Why something was not done.
#[derive(Debug, thiserror::Error)]
pub enum DirectorError {
    #[error("Not Found")]
    NotFound,
    /// The call asks for what cannot be; the words are those of the Director.
    #[error("{0}")]
    Refused(&'static str),
    /// The task's script is neither ours nor allowed: it is not run.
    #[error("{0}")]
    NotOurs(String),
    #[error("{0}")]
    Failed(String),
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// The tasks of a process, and what runs them.
pub struct Director {
    evaluator: Arc<Evaluator>,
    store: Arc<dyn Store>,
    clock: Clock,
    /// Hosts, `host` or `host:port`, whose script of ours counts as ours.
    script_hosts: Vec<String>,
    /// Wakes the loop: a task came, changed or went.
    changed: Notify,
    /// The leases of its runs.
    holding: Arc<Holding>,
    /// Tasks with a run under way; true when another came due meanwhile.
    under_way: Mutex<HashMap<String, bool>>,
    /// Why a task is not run, by id, so that it is said once.
    said: Mutex<HashMap<String, String>>,
    /// Scripts of others that may be run; none when not set.
    pub scripts: OnceLock<Scripts>,
    /// One change at a time.
    changing: tokio::sync::Mutex<()>,
}

impl Director {
    /// `script_hosts` are the hosts, as `host` or `host:port`, from which our own script may be named.
    pub fn new(evaluator: Arc<Evaluator>, holding: Arc<Holding>, script_hosts: Vec<String>) -> Arc<Director> {
        Arc::new(Director {
            store: evaluator.store.clone(),
            clock: evaluator.engine.services.clock.clone(),
            holding,
            evaluator,
            script_hosts,
            changed: Notify::new(),
            under_way: Mutex::default(),
            said: Mutex::default(),
            scripts: OnceLock::new(),
            changing: tokio::sync::Mutex::new(()),
        })
    }

    /// All tasks that have not expired, by id. Those that have are removed, as the Director does.
    pub async fn tasks(&self) -> Result<Vec<Task>, DirectorError> {
        let now = self.clock.now();
        let mut tasks = Vec::new();
        for stored in self.store.documents(DocumentKind::Task).await? {
            let Value::Object(document) = stored.document else { continue };
            let task = Task::new(stored.id, document);
            if task.expired(now) {
                let audit = self.audit("expire-task", &task.id, "director", json!({"end": task.document.get("end")}));
                self.store.remove_document(DocumentKind::Task, &task.id, &audit).await?;
            } else {
                tasks.push(task);
            }
        }
        Ok(tasks)
    }

    /// The task of this id.
    pub async fn task(&self, id: &str) -> Result<Task, DirectorError> {
        self.tasks().await?.into_iter().find(|task| task.id == id).ok_or(DirectorError::NotFound)
    }

    /// Keeps a task; without an id it gets one. One of the same id is replaced, unless it has every field that was given.
    pub async fn add(&self, mut given: Map<String, Value>, by: &str) -> Result<Task, DirectorError> {
        let _turn = self.changing.lock().await;
        let id = match given.get("id").and_then(Value::as_str).filter(|id| !id.is_empty()) {
            Some(id) => {
                let same = |old: &Map<String, Value>| given.iter().all(|(key, value)| old.get(key) == Some(value));
                if self.tasks().await?.iter().any(|task| task.id == id && same(&task.document)) {
                    return Err(DirectorError::Refused("Task already exists"));
                }
                id.to_owned()
            }
            None => Uuid::new_v4().to_string(),
        };
        given.insert("id".into(), Value::from(id.as_str()));
        self.keep(Task::new(id, given), by).await
    }

    /// Keeps a task in place of the one of this id.
    pub async fn replace(&self, id: &str, mut given: Map<String, Value>, by: &str) -> Result<(), DirectorError> {
        let _turn = self.changing.lock().await;
        self.task(id).await?;
        // The address says which task is meant, also when the body says otherwise.
        given.insert("id".into(), Value::from(id));
        self.keep(Task::new(id.into(), given), by).await.map(drop)
    }

    /// Removes a task; a run under way ends.
    pub async fn remove(&self, id: &str, by: &str) -> Result<(), DirectorError> {
        let _turn = self.changing.lock().await;
        let audit = self.audit("remove-task", id, by, json!({}));
        let removed = self.store.remove_document(DocumentKind::Task, id, &audit).await?;
        self.changed.notify_one();
        if removed { Ok(()) } else { Err(DirectorError::NotFound) }
    }

    /// Starts, stops or switches a task.
    pub async fn switch(&self, id: &str, action: &str, by: &str) -> Result<Task, DirectorError> {
        let _turn = self.changing.lock().await;
        let mut task = self.task(id).await?;
        let running = match (action, task.running()) {
            ("start", true) => return Err(DirectorError::Refused("Task already running")),
            ("stop", false) => return Err(DirectorError::Refused("Task is not running")),
            ("start", false) => true,
            ("stop", true) => false,
            ("switch", running) => !running,
            _ => return Err(DirectorError::Refused("Action not permitted")),
        };
        task.document.insert("running".into(), Value::Bool(running));
        self.keep(task, by).await
    }

    /// Whether a task runs, when next, and why not.
    pub async fn status(&self, id: &str) -> Result<Value, DirectorError> {
        let task = self.task(id).await?;
        let mut status = Map::new();
        status.insert("id".into(), Value::from(id));
        status.insert("running".into(), Value::Bool(task.running()));
        if let Some(next) = task.next_after(self.clock.now()) {
            status.insert("nextExecution".into(), Value::from(next.as_millisecond().to_string()));
        }
        if let Err(problem) = self.ours(&task) {
            status.insert("problem".into(), Value::from(problem.to_string()));
        }
        Ok(Value::Object(status))
    }

    async fn keep(&self, task: Task, by: &str) -> Result<Task, DirectorError> {
        let stored = StoredDocument {
            id: task.id.clone(),
            document: Value::Object(task.document.clone()),
            put_at: self.clock.now(),
            put_by: by.into(),
        };
        let audit = self.audit("put-task", &task.id, by, json!({"script": task.script(), "running": task.running()}));
        self.store.put_document(DocumentKind::Task, &stored, false, &audit).await?;
        self.changed.notify_one();
        Ok(task)
    }

    fn audit(&self, action: &str, id: &str, by: &str, detail: Value) -> AuditEntry {
        AuditEntry { at: self.clock.now(), actor: by.into(), action: action.into(), subject: id.into(), detail }
    }
}
