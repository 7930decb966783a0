//! Floor 8: the flows of a server and how they change: checked and built first, then saved, then swapped in; what fails
//! on the way changes nothing. Knows the deploy types, revisions and the life of a single tab as Node-RED's runtime does
//! (`runtime/lib/flows/index.js`); knows no HTTP.

pub mod file;
pub mod folder;
pub mod revisions;
mod swapping;
mod tab;
pub mod watch;

use std::collections::HashSet;
use std::future::Future;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use arc_swap::ArcSwap;
use arcstr::ArcStr;
use serde_json::{Map, Value as Json, json};

pub use file::Place;
pub use revisions::Revisions;

use crate::failpoint::{FailPoint, reach};
use crate::flow::cipher::{self, Form};
use crate::flow::{self, Deployment};
use crate::model::flow::{FlowFile, Plan, PlanNode};
use crate::model::{Diagnostic, Severity};
use crate::runtime::credential_file::CredentialFile;
use crate::runtime::{Deployed, Engine};
use crate::store::{FlowHead, NewFlowRevision};

pub(crate) type Entry = Map<String, Json>;

/// A future of this module's callers.
pub type Doing<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// Hears of what happens to the flows, for those who watch them in an editor.
pub trait Notices: Send + Sync {
    /// These nodes do not run any more: what they showed is over.
    fn stopped(&self, nodes: &[ArcStr]);

    /// Something to tell on `notification/<topic>`; what is `retained` is also told to those who come later.
    fn notify(&self, topic: &str, data: Json, retained: bool);
}

/// Tells nobody.
pub struct Unheard;

impl Notices for Unheard {
    fn stopped(&self, _: &[ArcStr]) {}
    fn notify(&self, _: &str, _: Json, _: bool) {}
}

/// Brings what these flows need.
pub type Need = dyn for<'a> Fn(&'a FlowFile) -> Doing<'a, ()> + Send + Sync;

/// What a server gives its flows.
pub struct Parts {
    pub engine: Arc<Engine>,
    pub place: Place,
    /// The plan of a flow file for this engine.
    pub plan: Box<dyn Fn(&FlowFile) -> Plan + Send + Sync>,
    /// Called before a plan is made: loads the plugins whose nodes the flows have.
    pub needed: Box<Need>,
    pub credentials: Arc<CredentialFile>,
    pub notices: Arc<dyn Notices>,
    /// Tells the operator what is wrong.
    pub report: fn(&[Diagnostic]),
    /// Where revisions are kept, and the number of the one that the server begins with; `None`: only the file is kept.
    pub revisions: Option<(Revisions, i64)>,
    /// There as long as the flows are stopped by hand, over restarts; `None`: not kept.
    pub stopped_mark: Option<PathBuf>,
}

/// The flows as they are kept.
pub struct Current {
    pub file: FlowFile,
    /// SHA-256 of the entries as `JSON.stringify` writes them, hex.
    pub revision: String,
    /// Of the revision in the store; 0 when none are kept.
    pub number: i64,
}

/// Why flows were not changed.
#[derive(Debug)]
pub enum Refused {
    /// Somebody else changed them since.
    Stale,
    NotFound,
    /// The request makes no sense; the text says why.
    Unusable(String),
    /// Everything that is wrong with the flows.
    Invalid(Vec<Diagnostic>),
    /// These flows cannot be changed from here; the text says why and what to do.
    Unchangeable(String),
    /// The encrypted credentials that came with the flows cannot be read; the text says why and what to do.
    Sealed(String),
    /// They were good, but could not be saved; the flows run on as they were.
    Unsaved(String),
}

/// The flows of a server. One at a time changes them.
pub struct Flows {
    parts: Parts,
    current: ArcSwap<Current>,
    running: AtomicBool,
    turn: tokio::sync::Mutex<()>,
}

/// Problems of the whole that no tab can be stopped for alone.
const FATAL_PLAN_PROBLEMS: [&str; 2] = ["subflow-recursion", "plan-too-large"];

impl Flows {
    /// Deploys what was loaded at the start of the server, as far as it can run; nothing when the flows were stopped by
    /// hand before.
    pub async fn start(parts: Parts, loaded: FlowFile) -> Arc<Flows> {
        let stopped = parts.stopped_mark.as_ref().is_some_and(|mark| mark.exists());
        let number = parts.revisions.as_ref().map_or(0, |(_, number)| *number);
        let current = Arc::new(Current { revision: flow::revision(&loaded.entries), file: loaded, number });
        let flows = Flows {
            parts,
            current: ArcSwap::new(current.clone()),
            running: AtomicBool::new(!stopped),
            turn: tokio::sync::Mutex::default(),
        };
        if stopped {
            tracing::warn!(
                "the flows are stopped, as they were before; POST /flows/state with state=start starts them"
            );
            flows.tell_state("stop", false, &[]);
        } else {
            (flows.parts.needed)(&current.file).await;
            let prepared = flows.prepare(&current.file, &|_| false);
            flows.swap(prepared, false);
        }
        flows.tell_revision();
        Arc::new(flows)
    }

    pub fn current(&self) -> Arc<Current> {
        self.current.load_full()
    }

    /// What a test file that lies beside the flows calls them: the name of their file; of a folder, `.` within it.
    pub fn name_beside(&self) -> String {
        let path = &self.parts.place.path;
        let name = path.file_name().filter(|_| !path.is_dir());
        name.map_or_else(|| ".".to_string(), |name| name.to_string_lossy().into_owned())
    }

    /// `start` or `stop`.
    pub fn state(&self) -> &'static str {
        if self.running.load(Ordering::Acquire) { "start" } else { "stop" }
    }

    /// Replaces the flows; gives the new revision. `revision` is the one the client started from, when it cares; `by` who
    /// the client is.
    pub async fn set(
        &self,
        posted: Vec<Json>,
        credentials: Option<Json>,
        deployment: Deployment,
        revision: Option<&str>,
        by: &str,
    ) -> Result<String, Refused> {
        let _turn = self.turn.lock().await;
        self.follow_newest().await.map_err(Refused::Unsaved)?;
        if revision.is_some_and(|revision| revision != self.current().revision) {
            return Err(Refused::Stale);
        }
        self.replace(posted, credentials, deployment, (by, "deploy")).await
    }

    /// Everything that is wrong with flows that somebody works on: what loading, planning and the nodes' own reading of
    /// their configuration find, in the order of the entries. Changes nothing; the paths are those of the list given.
    pub fn check(&self, mut posted: Vec<Json>) -> Vec<Diagnostic> {
        let taken = self.take_credentials(&mut posted);
        let (mut file, mut problems) = flow::load_value(posted, &self.parts.place.name());
        taken.credentials.attach(&mut file);
        let catalogue = self.parts.engine.catalogue();
        problems.extend(flow::check(&file, &|node_type| catalogue.spec(node_type), &|_| Vec::new()));
        let prepared = self.prepare(&file, &|_| false);
        problems.extend(prepared.plan.diagnostics.iter().cloned());
        for problem in &prepared.diagnostics {
            if !problems.iter().any(|known| known.path == problem.path) {
                problems.push(problem.clone());
            }
        }
        let mut seen = HashSet::new();
        problems.retain(|problem| seen.insert((problem.code.clone(), problem.path.clone(), problem.message.clone())));
        problems.sort_by_key(|problem| entry_of(problem).unwrap_or(0));
        problems
    }

    /// Deploys an earlier revision again, as a new one. Nodes that come back have the credentials they had then; all
    /// others keep theirs. `expected` is the number of the revision the client started from, when it cares.
    pub async fn roll_back(&self, number: i64, expected: Option<i64>, by: &str) -> Result<i64, Refused> {
        let _turn = self.turn.lock().await;
        let Some((revisions, _)) = &self.parts.revisions else {
            return Err(Refused::Unchangeable("no revisions are kept".into()));
        };
        self.follow_newest().await.map_err(Refused::Unsaved)?;
        if expected.is_some_and(|expected| expected != self.current().number) {
            return Err(Refused::Stale);
        }
        let found = revisions.store.flow_revision(number).await.map_err(|e| Refused::Unsaved(e.to_string()))?;
        let revision = found.ok_or(Refused::NotFound)?.revision;
        let posted: Vec<Json> = serde_json::from_str(&revision.flows)
            .map_err(|e| Refused::Unusable(format!("revision {number} is not JSON: {e}")))?;
        let credentials = revision.credentials.and_then(|sealed| self.lost_credentials(number, &sealed));
        self.replace(posted, credentials, Deployment::Flows, (by, &format!("rollback to {number}"))).await?;
        Ok(self.current().number)
    }

    /// The flows of an earlier revision by its hash, built but not started, for runs that began on them; their nodes have
    /// the credentials of now. `None` when no such revision is kept, or it is broken.
    ///
    /// # Errors
    /// A store that does not answer.
    pub async fn earlier(&self, hash: &str) -> Result<Option<Arc<Deployed>>, String> {
        let Some((revisions, _)) = self.parts.revisions.as_ref() else { return Ok(None) };
        let store = &revisions.store;
        let Some(number) = store.flow_revision_of(hash).await.map_err(|e| e.to_string())? else { return Ok(None) };
        // Deleted between the two questions, it is not kept.
        let Some(found) = store.flow_revision(number).await.map_err(|e| e.to_string())? else { return Ok(None) };
        let (file, problems) = flow::load(&found.revision.flows, &self.parts.place.name());
        if let Some(problem) = problems.iter().find(|d| matches!(d.code.as_str(), "broken-json" | "not-flows")) {
            tracing::error!(hash, "revision {number} of the flows, which runs began on, cannot be read: {problem}");
            return Ok(None);
        }
        Ok(Some(self.parts.engine.prepare((self.parts.plan)(&file))))
    }

    /// The credentials of a revision that are not there any more.
    fn lost_credentials(&self, number: i64, sealed: &str) -> Option<Json> {
        let then = match self.parts.credentials.unseal(sealed) {
            Ok(then) => then.to_json(),
            Err(problem) => {
                tracing::error!("the credentials of revision {number} cannot be read: {problem}");
                return None;
            }
        };
        let now = self.parts.credentials.now().to_json();
        let Json::Object(then) = then else { return None };
        Some(then.into_iter().filter(|(id, _)| now.get(id).is_none()).collect::<Map<_, _>>().into())
    }

    /// Brings this process to the store's newest revision; true when it was another. Runs under way end on the version
    /// they began with.
    ///
    /// # Errors
    /// A store that does not answer, and a revision that cannot be read.
    pub async fn follow(&self) -> Result<bool, String> {
        let _turn = self.turn.lock().await;
        self.follow_newest().await
    }

    /// Follows the store's newest revision until it is dropped.
    pub async fn keep_following(self: Arc<Self>, every: Duration) {
        let mut said = false;
        loop {
            self.parts.engine.services.clock.sleep(every).await;
            match self.follow().await {
                Ok(_) => said = false,
                Err(error) if said => tracing::debug!(error, "the newest revision of the flows cannot be read"),
                Err(error) => {
                    tracing::error!(error, "the newest revision of the flows cannot be read; it is tried again");
                    said = true;
                }
            }
        }
    }

    async fn follow_newest(&self) -> Result<bool, String> {
        let Some((revisions, _)) = &self.parts.revisions else { return Ok(false) };
        let current = self.current();
        let head = revisions.store.flow_head().await.map_err(|e| e.to_string())?;
        let Some(head) = head.filter(|head| head.number != current.number || head.hash != current.revision) else {
            return Ok(false);
        };
        let revision = revisions.read(head.number).await?;
        let before = self.parts.credentials.now();
        let file = revisions.open(&self.parts.place, &self.parts.credentials, &revision)?;
        let touched = before.others_in(&self.parts.credentials.now());
        (self.parts.needed)(&file).await;
        let difference = flow::difference(&current.file.entries, &file.entries, &touched);
        let restarts = difference.restarts(Deployment::Nodes);
        let prepared = self.prepare(&file, &|(plan, node)| !starts_anew(&file, plan, node, &restarts));
        tracing::info!(revision = head.number, author = revision.revision.author, "the flows follow the store");
        revisions.mirror(&self.parts.place, &file, &head).await;
        self.take(Current { file, revision: head.hash, number: head.number }, prepared, true);
        Ok(true)
    }

    /// Reads the flow file again and starts everything anew. A file that was changed is a new revision, by the author
    /// `file`.
    pub async fn reload(&self) -> Result<String, Refused> {
        let _turn = self.turn.lock().await;
        let (mut file, problems) = self.parts.place.read().map_err(Refused::Unusable)?;
        (self.parts.report)(&problems);
        self.parts.credentials.adopt(&mut file);
        let changed = flow::revision(&file.entries) != self.current().revision;
        self.follow_newest().await.map_err(Refused::Unsaved)?;
        let mut number = self.current().number;
        if !changed {
            file = self.current().file.clone();
        } else if let Some((revisions, _)) = &self.parts.revisions {
            let sealed = self.parts.credentials.sealed().map_err(|e| Refused::Unsaved(e.to_string()))?;
            let hash = flow::revision(&file.entries);
            let revision = revisions.new_revision(&file, hash.clone(), revisions::FILE, "reload", sealed);
            number = self.put(revisions, &revision).await?;
            revisions.mirror(&self.parts.place, &file, &FlowHead { number, hash }).await;
        }
        self.parts.notices.notify("runtime-state", json!({}), true);
        (self.parts.needed)(&file).await;
        let revision = flow::revision(&file.entries);
        let prepared = self.prepare(&file, &|_| false);
        self.take(Current { file, revision: revision.clone(), number }, prepared, true);
        Ok(revision)
    }

    /// Stores the successor of the current revision; gives its number.
    async fn put(&self, revisions: &Revisions, revision: &NewFlowRevision) -> Result<i64, Refused> {
        let put = revisions.store.put_flow_revision(self.current().number, revision, revisions.keep).await;
        put.map_err(|e| Refused::Unsaved(e.to_string()))?.ok_or(Refused::Stale)
    }

    /// Builds the same flows anew with the node types known now.
    pub async fn rebuild(&self) {
        let _turn = self.turn.lock().await;
        if self.running.load(Ordering::Acquire) {
            let prepared = self.prepare(&self.current().file, &|_| false);
            self.swap(prepared, true);
        }
    }

    /// Starts or stops all flows; `false` for another word.
    pub async fn set_state(&self, state: &str) -> Result<bool, Refused> {
        let _turn = self.turn.lock().await;
        let starts = match state {
            "start" => true,
            "stop" => false,
            _ => return Ok(false),
        };
        if let Some(mark) = &self.parts.stopped_mark {
            let marked = if starts { file::remove(mark) } else { file::write(mark, "") };
            marked.map_err(|e| Refused::Unsaved(format!("{}: {e}", mark.display())))?;
        }
        self.running.store(starts, Ordering::Release);
        if starts {
            (self.parts.needed)(&self.current().file).await;
            let prepared = self.prepare(&self.current().file, &|_| false);
            self.swap(prepared, false);
        } else {
            let nothing = self.parts.engine.prepare(Plan::default());
            self.parts.engine.swap(nothing, &|stopped| self.parts.notices.stopped(stopped));
            self.tell_state("stop", false, &[]);
        }
        Ok(true)
    }

    /// A tab with its nodes, or with `global` what belongs to none.
    pub fn tab(&self, id: &str) -> Option<Json> {
        tab::get(&self.current().file.entries, id)
    }

    /// Adds a tab; gives its new id.
    pub async fn add_tab(&self, body: Json, by: &str) -> Result<String, Refused> {
        let _turn = self.turn.lock().await;
        self.follow_newest().await.map_err(Refused::Unsaved)?;
        let id = crate::model::id::hex16().to_string();
        let entries = tab::add(&self.current().file.entries, body, &id).map_err(Refused::Unusable)?;
        self.replace(entries, None, Deployment::Flows, (by, "add-flow")).await?;
        Ok(id)
    }

    /// Replaces a tab, or with `global` what belongs to none.
    pub async fn set_tab(&self, id: &str, body: Json, by: &str) -> Result<(), Refused> {
        let _turn = self.turn.lock().await;
        self.follow_newest().await.map_err(Refused::Unsaved)?;
        let entries = tab::set(&self.current().file.entries, id, body).map_err(Refused::Unusable)?;
        let entries = entries.ok_or(Refused::NotFound)?;
        self.replace(entries, None, Deployment::Flows, (by, "change-flow")).await.map(drop)
    }

    /// Removes a tab with its nodes.
    pub async fn remove_tab(&self, id: &str, by: &str) -> Result<(), Refused> {
        let _turn = self.turn.lock().await;
        self.follow_newest().await.map_err(Refused::Unsaved)?;
        if id == "global" {
            return Err(Refused::Unusable("not allowed to remove global".into()));
        }
        let entries = tab::remove(&self.current().file.entries, id).ok_or(Refused::NotFound)?;
        self.replace(entries, None, Deployment::Flows, (by, "remove-flow")).await.map(drop)
    }

    async fn replace(
        &self,
        mut posted: Vec<Json>,
        credentials: Option<Json>,
        deployment: Deployment,
        (by, action): (&str, &str),
    ) -> Result<String, Refused> {
        let path = self.parts.place.writable().map_err(Refused::Unchangeable)?;
        let taken = self.take_given(&mut posted, credentials)?;
        let (mut file, problems) = flow::load_value(posted, &self.parts.place.name());
        taken.credentials.attach(&mut file);
        let current = self.current();
        (self.parts.needed)(&file).await;
        let difference = flow::difference(&current.file.entries, &file.entries, &taken.changed);
        let restarts = difference.restarts(deployment);
        let prepared = self.prepare(&file, &|(plan, node)| !starts_anew(&file, plan, node, &restarts));
        let fatal = prepared.plan.diagnostics.iter().filter(|d| FATAL_PLAN_PROBLEMS.contains(&d.code.as_str()));
        let problems = problems.into_iter().filter(|d| d.severity == Severity::Error).chain(fatal.cloned());
        let problems = new_problems(problems.collect(), &file, &current.file);
        if !problems.is_empty() {
            return Err(Refused::Invalid(problems));
        }
        let revision = flow::revision(&file.entries);
        let number = match &self.parts.revisions {
            None => {
                self.save(path, &file, taken).await?;
                0
            }
            Some((revisions, _)) => {
                let sealed = self.parts.credentials.sealed_of(&taken);
                let sealed = sealed.map_err(|e| Refused::Unsaved(format!("cannot keep the credentials: {e}")))?;
                stage(path.clone(), self.parts.place.text(&file)).await?;
                let new = revisions.new_revision(&file, revision.clone(), by, action, sealed);
                let number = self.put(revisions, &new).await?;
                reach(FailPoint::DeployStored);
                // It is a revision now: what fails from here on is said, and mended by the next one.
                if let Err(error) = self.save(path, &file, taken).await {
                    tracing::error!(revision = number, ?error, "the flows are deployed, but their file is not written");
                } else {
                    revisions.note(&FlowHead { number, hash: revision.clone() });
                }
                number
            }
        };
        self.take(Current { file, revision: revision.clone(), number }, prepared, true);
        Ok(revision)
    }

    /// Writes flows and credentials to their files.
    async fn save(&self, path: PathBuf, file: &FlowFile, taken: flow::credentials::Taken) -> Result<(), Refused> {
        let credentials = self.parts.credentials.clone();
        let text = self.parts.place.text(file);
        let entries = if path.is_dir() { file.entries.clone() } else { Vec::new() };
        let saving = tokio::task::spawn_blocking(move || {
            credentials.keep(taken).map_err(|e| format!("cannot keep the credentials: {e}"))?;
            let saved = match path.is_dir() {
                true => folder::write(&path, &entries),
                false => file::save(&path, &text),
            };
            saved.map_err(|e| format!("cannot write {}: {e}", path.display()))
        });
        saving.await.unwrap_or_else(|e| Err(e.to_string())).map_err(Refused::Unsaved)
    }

    /// As [`Flows::take_credentials`], with those that a client sent beside the flows: each in place of all that its node
    /// had; or an encrypted set, in place of all there are.
    fn take_given(&self, posted: &mut [Json], given: Option<Json>) -> Result<flow::credentials::Taken, Refused> {
        let own = &self.parts.credentials;
        match given {
            None => Ok(self.take_credentials(posted)),
            Some(sealed) if cipher::form_of(&sealed) != Form::Plain => {
                let whole = own.decrypt(&sealed).map_err(|why| {
                    Refused::Sealed(format!(
                        "Failed to decrypt credentials: {why}. Nothing was deployed. They must be encrypted with the \
                         secret of this server (`credentialSecret` in settings.js, PROBITY_CREDENTIALS_SECRET); or send \
                         them in clear, as an object of credentials by node id"
                    ))
                })?;
                let taken = taken_from(posted, |entries| whole.take_from(entries));
                let changed = own.now().others_in(&taken.credentials);
                Ok(flow::credentials::Taken { changed, ..taken })
            }
            Some(given) => {
                let mut given = match given {
                    Json::Object(given) => given,
                    _ => {
                        return Err(Refused::Unusable(
                            "`credentials` must be an object of credentials by node id".into(),
                        ));
                    }
                };
                let known = posted.iter().filter_map(|entry| entry.get("id")?.as_str());
                let known: HashSet<&str> = known.collect();
                given.retain(|id, _| known.contains(id.as_str()));
                let taken = self.take_credentials(posted);
                let credentials = taken.credentials.replaced(given, &own.now()).map_err(|id| {
                    Refused::Unusable(format!("`credentials` of node {id} must be an object of texts by name"))
                })?;
                let changed = own.now().others_in(&credentials);
                Ok(flow::credentials::Taken { credentials, changed })
            }
        }
    }

    fn take_credentials(&self, posted: &mut [Json]) -> flow::credentials::Taken {
        taken_from(posted, |entries| self.parts.credentials.take_from(entries))
    }
}

/// Finds out whether a flow file can be written, with all that is to be in it, before it is a revision.
async fn stage(path: PathBuf, text: String) -> Result<(), Refused> {
    if path.is_dir() {
        return Ok(());
    }
    let shown = path.display().to_string();
    let staging = tokio::task::spawn_blocking(move || file::stage(&path, &text).map(drop));
    let staged = staging.await.unwrap_or_else(|e| Err(std::io::Error::other(e)));
    staged.map_err(|e| Refused::Unsaved(format!("cannot write {shown}: {e}")))
}

/// Takes credentials out of what was posted. Entries that are none stay where they are, to be complained of in their
/// place.
fn taken_from(
    posted: &mut [Json],
    take: impl FnOnce(&mut [Entry]) -> flow::credentials::Taken,
) -> flow::credentials::Taken {
    let mut entries: Vec<Entry> =
        posted.iter_mut().map(|entry| entry.as_object_mut().map(std::mem::take).unwrap_or_default()).collect();
    let taken = take(&mut entries);
    for (entry, taken_from) in posted.iter_mut().zip(entries) {
        if let Some(place) = entry.as_object_mut() {
            *place = taken_from;
        }
    }
    taken
}

/// Whether a node of the new plan starts anew: its definition does, or a subflow instance around it.
fn starts_anew(file: &FlowFile, plan: &Plan, node: &PlanNode, restarts: &flow::Restarts<'_>) -> bool {
    let tab = plan.flows.get(node.flow as usize).map_or("", |flow| flow.id.as_str());
    let mut node = Some(node);
    while let Some(n) = node {
        let id = file.entries.get(n.entry).and_then(|entry| entry.get("id")?.as_str());
        if restarts.node(id.unwrap_or(&n.id), tab) {
            return true;
        }
        node = n.instance.map(|instance| &plan.nodes[instance as usize]);
    }
    false
}

/// The place of the entry that a problem is about: `$[12].rules[0]` → 12.
pub fn entry_of(problem: &Diagnostic) -> Option<usize> {
    problem.path.strip_prefix("$[")?.split(']').next()?.parse().ok()
}

/// Without what is wrong with the current flows already: a file that was tolerated at the start can be changed.
fn new_problems(problems: Vec<Diagnostic>, file: &FlowFile, current: &FlowFile) -> Vec<Diagnostic> {
    if problems.is_empty() {
        return problems;
    }
    let about = |d: &Diagnostic, file: &FlowFile| {
        let entry = entry_of(d).and_then(|at| file.entries.get(at)?.get("id").cloned());
        (d.code.clone(), entry)
    };
    let entries = current.entries.iter().cloned().map(Json::Object).collect();
    let (_, before) = flow::load_value(entries, "");
    let known: Vec<_> = before.iter().map(|d| about(d, current)).filter(|(_, id)| id.is_some()).collect();
    problems.into_iter().filter(|d| !known.contains(&about(d, file))).collect()
}
