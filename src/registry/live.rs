//! The live set of agreements: what every source holds, put together, as one value that is replaced whole.
//!
//! Readers take a [`Snapshot`] and keep it as long as they need it, so that what has begun ends with the version it
//! began with.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard};

use jiff::Timestamp;
use serde::Serialize;
use serde_json::Value;
use tokio::sync::watch;

use super::document::{Content, Document, Found};
use crate::clock::Clock;
use crate::model::agreement::Agreement;
use crate::model::diagnostic::{Diagnostic, Severity};
use crate::store::Store;

/// Lines of the log that the problems of one change may take.
const REPORTED_MAX: usize = 200;

/// All agreements at one moment, and what is wrong with the documents.
#[derive(Clone, Debug, Default)]
pub struct Snapshot {
    /// In alphabetical order of their ids.
    pub agreements: Vec<Arc<Agreement>>,
    /// Of all documents, usable or not; `file` equals [`Agreement::source`].
    pub diagnostics: Vec<Diagnostic>,
    /// By id.
    pub templates: BTreeMap<String, Template>,
    /// In the order in which they are asked.
    pub sources: Vec<SourceReport>,
}

impl Snapshot {
    /// The agreement of this id.
    pub fn get(&self, id: &str) -> Option<&Arc<Agreement>> {
        self.agreements.binary_search_by(|a| a.id.as_str().cmp(id)).ok().map(|i| &self.agreements[i])
    }
}

/// A template as its source has it.
#[derive(Clone, Debug)]
pub struct Template {
    pub document: Arc<Value>,
    /// Where it was read, without secrets.
    pub source: String,
}

/// How a source is doing.
#[derive(Clone, Debug, Serialize)]
pub struct SourceReport {
    /// Path or address, without secrets.
    pub name: String,
    /// `shipped`, `folder`, `registry`, `mongodb`, `stored`.
    pub kind: &'static str,
    pub state: SourceState,
    /// Why it is away.
    pub problem: Option<String>,
    /// When what is held of it was read.
    pub read_at: Option<Timestamp>,
    /// Since when it has been away.
    pub away_since: Option<Timestamp>,
    /// Agreements in force from it, and documents of it that are broken.
    pub agreements: usize,
    pub broken: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum SourceState {
    /// It has not answered yet.
    Starting,
    Ok,
    /// It cannot be read; the agreements read from it before go on.
    Away,
}

/// What is held of one source.
struct Held {
    report: SourceReport,
    found: Found,
    /// The last good version of every document that has had one, by key.
    good: HashMap<String, Arc<Agreement>>,
}

/// The agreements of a process. Cheap to read; changed by sources, and by [`Agreements::put`] and its like.
pub struct Agreements {
    held: Mutex<Vec<Held>>,
    current: watch::Sender<Arc<Snapshot>>,
    pub(super) clock: Clock,
    /// Where documents put by the API are kept; none in one-shot commands.
    pub(super) store: Option<Arc<dyn Store>>,
    /// Wakes the source of stored documents.
    pub(super) stored_changed: tokio::sync::Notify,
    /// One change by the API at a time.
    pub(super) putting: tokio::sync::Mutex<()>,
    /// Told when every source is to be read anew.
    pub(super) again: watch::Sender<u64>,
}

impl Agreements {
    /// A set without sources yet.
    pub fn new(clock: Clock, store: Option<Arc<dyn Store>>) -> Arc<Agreements> {
        Arc::new(Agreements {
            held: Mutex::default(),
            current: watch::Sender::new(Arc::default()),
            clock,
            store,
            stored_changed: tokio::sync::Notify::new(),
            putting: tokio::sync::Mutex::new(()),
            again: watch::Sender::new(0),
        })
    }

    /// A set that is what it is given; for one-shot commands and tests.
    pub fn fixed(agreements: impl IntoIterator<Item = Arc<Agreement>>) -> Arc<Agreements> {
        let set = Agreements::new(Clock::System, None);
        let index = set.add_source("given", "given");
        let documents = agreements
            .into_iter()
            .enumerate()
            .map(|(i, agreement)| Document {
                key: i.to_string(),
                source: agreement.source.clone(),
                content: Content::Agreement(agreement),
                diagnostics: Vec::new(),
            })
            .collect();
        set.found(index, Found { documents, ..Found::default() });
        set
    }

    /// The set as it is now.
    pub fn snapshot(&self) -> Arc<Snapshot> {
        self.current.borrow().clone()
    }

    /// The agreement of this id, as it is now.
    pub fn get(&self, id: &str) -> Option<Arc<Agreement>> {
        self.current.borrow().get(id).cloned()
    }

    /// Follows the set: `changed()` resolves when another snapshot has come.
    pub fn subscribe(&self) -> watch::Receiver<Arc<Snapshot>> {
        self.current.subscribe()
    }

    /// A further source, asked after those there are; its number.
    pub(super) fn add_source(&self, name: &str, kind: &'static str) -> usize {
        let mut held = self.held();
        let report = SourceReport {
            name: name.into(),
            kind,
            state: SourceState::Starting,
            problem: None,
            read_at: None,
            away_since: None,
            agreements: 0,
            broken: 0,
        };
        held.push(Held { report, found: Found::default(), good: HashMap::new() });
        self.publish(&mut held);
        held.len() - 1
    }

    /// What a source holds now.
    pub(super) fn found(&self, index: usize, found: Found) {
        let mut held = self.held();
        let Some(source) = held.get_mut(index).filter(|s| s.found.revision <= found.revision) else { return };
        let keys: HashSet<&str> = found.documents.iter().map(|d| d.key.as_str()).collect();
        source.good.retain(|key, _| keys.contains(key.as_str()));
        for document in &found.documents {
            if let Content::Agreement(agreement) = &document.content {
                source.good.insert(document.key.clone(), agreement.clone());
            }
        }
        source.found = found;
        source.report.read_at = Some(self.clock.now());
        answered(&mut source.report);
        self.publish(&mut held);
    }

    /// What a source held when it was last understood, by an earlier process: it is in force until the source answers, and
    /// stands in for what is broken there.
    pub(super) fn recall(&self, index: usize, found: Found, seen_at: Timestamp) {
        let mut held = self.held();
        let Some(source) = held.get_mut(index).filter(|s| s.report.read_at.is_none()) else { return };
        for document in &found.documents {
            if let Content::Agreement(agreement) = &document.content {
                source.good.insert(document.key.clone(), agreement.clone());
            }
        }
        source.found = found;
        source.report.read_at = Some(seen_at);
        self.publish(&mut held);
    }

    /// The last good version of every document of a source, by key.
    pub(super) fn good(&self, index: usize) -> BTreeMap<String, Arc<Agreement>> {
        let held = self.held();
        let good = held.get(index).map(|source| source.good.iter().map(|(k, a)| (k.clone(), a.clone())).collect());
        good.unwrap_or_default()
    }

    /// A source answered that nothing has changed.
    pub(super) fn unchanged(&self, index: usize) {
        let mut held = self.held();
        let Some(source) = held.get_mut(index) else { return };
        if source.report.state != SourceState::Ok {
            answered(&mut source.report);
            self.publish(&mut held);
        }
    }

    /// A source did not answer; what was read from it goes on.
    pub(super) fn away(&self, index: usize, problem: String) {
        let mut held = self.held();
        let Some(source) = held.get_mut(index) else { return };
        let report = &mut source.report;
        report.state = SourceState::Away;
        report.problem = Some(problem);
        report.away_since.get_or_insert_with(|| self.clock.now());
        self.publish(&mut held);
    }

    fn held(&self) -> MutexGuard<'_, Vec<Held>> {
        self.held.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    /// Puts the sources together anew. Called with the sources locked, so that the newest comes last.
    fn publish(&self, held: &mut [Held]) {
        let before = self.snapshot();
        let next = Arc::new(merged(held));
        say_changes(&before, &next);
        self.current.send_replace(next);
    }
}

fn answered(report: &mut SourceReport) {
    if report.state == SourceState::Away {
        tracing::info!(source = report.name, "the source answers again");
    }
    report.state = SourceState::Ok;
    report.problem = None;
    report.away_since = None;
}

/// All sources as one: of several documents with one id the first counts.
fn merged(held: &mut [Held]) -> Snapshot {
    let mut snapshot = Snapshot::default();
    let mut by_id: BTreeMap<String, Arc<Agreement>> = BTreeMap::new();
    for source in held {
        let (mut in_force, mut broken) = (0, 0);
        if let Some(problem) = &source.report.problem {
            snapshot.diagnostics.push(away_diagnostic(&source.report, problem));
        }
        snapshot.diagnostics.extend(source.found.diagnostics.iter().cloned());
        for document in &source.found.documents {
            snapshot.diagnostics.extend(document.diagnostics.iter().cloned());
            let agreement = match &document.content {
                Content::Agreement(agreement) => agreement.clone(),
                Content::Template { id, document: template } => {
                    let template = Template { document: template.clone(), source: document.source.clone() };
                    if let Some(first) = snapshot.templates.get(id) {
                        let problem = duplicate(id, &first.source).in_file(&document.source);
                        snapshot.diagnostics.push(problem);
                    } else {
                        snapshot.templates.insert(id.clone(), template);
                    }
                    continue;
                }
                Content::Broken => {
                    broken += 1;
                    let Some(good) = source.good.get(&document.key) else { continue };
                    snapshot.diagnostics.push(kept(good).in_file(&document.source));
                    good.clone()
                }
            };
            if let Some(first) = by_id.get(&agreement.id) {
                let problem = duplicate(&agreement.id, &first.source).in_file(&document.source);
                snapshot.diagnostics.push(problem);
                continue;
            }
            in_force += 1;
            by_id.insert(agreement.id.clone(), agreement);
        }
        source.report.agreements = in_force;
        source.report.broken = broken;
        snapshot.sources.push(source.report.clone());
    }
    snapshot.agreements = by_id.into_values().collect();
    snapshot
}

fn away_diagnostic(report: &SourceReport, problem: &str) -> Diagnostic {
    let message = format!("the source is away: {problem}");
    Diagnostic::error("source-away", "$", message)
        .expected("an answer")
        .hint(match report.read_at {
            Some(at) => format!("its agreements go on as they were read at {at}; it is asked again and again"),
            None => "nothing has been read from it yet; it is asked again and again".into(),
        })
        .in_file(&report.name)
}

fn duplicate(id: &str, first: &str) -> Diagnostic {
    Diagnostic::error("duplicate-agreement", "$.id", format!("{first} is also called \"{id}\""))
        .expected("an id that no other agreement has")
        .hint("rename one of the two, or remove it; the first one is used")
}

fn kept(good: &Agreement) -> Diagnostic {
    let message =
        format!("the document is broken; its last good version goes on (\"{}\", version {})", good.id, good.version);
    Diagnostic::warning("last-good-version", "$", message).expected("a document without errors")
}

/// Logs what came, changed, went and broke.
fn say_changes(before: &Snapshot, now: &Snapshot) {
    for agreement in &now.agreements {
        match before.get(&agreement.id) {
            None => tracing::debug!(agreement = agreement.id, source = agreement.source, "loaded"),
            Some(old) if old.hash != agreement.hash => {
                tracing::info!(agreement = agreement.id, source = agreement.source, "changed");
            }
            Some(_) => {}
        }
    }
    for old in before.agreements.iter().filter(|old| now.get(&old.id).is_none()) {
        tracing::info!(agreement = old.id, source = old.source, "removed");
    }
    if before.diagnostics == now.diagnostics {
        return;
    }
    let known: HashSet<String> = before.diagnostics.iter().map(ToString::to_string).collect();
    let new: Vec<&Diagnostic> = now.diagnostics.iter().filter(|d| !known.contains(&d.to_string())).collect();
    if new.len() > REPORTED_MAX {
        tracing::error!("{} problems more than are shown; `probity check` lists them all", new.len() - REPORTED_MAX);
    }
    for problem in new.into_iter().take(REPORTED_MAX) {
        match problem.severity {
            Severity::Error => tracing::error!("{problem}"),
            Severity::Warning => tracing::warn!("{problem}"),
        }
    }
}
