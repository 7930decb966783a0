//! The flows' revisions in the store: the newest one is what every replica runs; the flow file is its mirror.
//!
//! At the start a flow file that is neither the one last mirrored here nor known to the store becomes a new revision, by
//! the author `file`. Afterwards the store wins.

use std::path::PathBuf;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::file::{self, Place};
use super::folder;
use crate::clock::Clock;
use crate::flow;
use crate::model::flow::FlowFile;
use crate::runtime::credential_file::CredentialFile;
use crate::store::{FlowHead, FlowRevision, NewFlowRevision, Store, StoreError};

/// The author of what was found in the flow file.
pub const FILE: &str = "file";

/// Where revisions are kept.
pub struct Revisions {
    pub store: Arc<dyn Store>,
    pub clock: Clock,
    /// Where it is noted which revision the flow file last was.
    pub record: PathBuf,
    /// Earlier revisions that are kept; 0: all.
    pub keep: u32,
}

/// Which revision the flow file last was.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Mirrored {
    number: i64,
    hash: String,
}

/// What a process begins with.
pub struct Settled {
    pub file: FlowFile,
    /// Of its revision in the store.
    pub number: i64,
}

impl Revisions {
    /// What is to run: the flow file that was found, which may become a new revision, or the store's newest one, which is
    /// then written to the file. `found` has its credentials taken out already; `None`: there is no flow file.
    ///
    /// # Errors
    /// A store that does not answer, and a revision that cannot be read back.
    pub async fn settle(
        &self,
        place: &Place,
        credentials: &CredentialFile,
        found: Option<FlowFile>,
    ) -> Result<Settled, String> {
        let failed = |error: StoreError| format!("the revision of the flows: {error}");
        loop {
            let head = self.store.flow_head().await.map_err(failed)?;
            let after = head.as_ref().map_or(0, |head| head.number);
            let Some(file) = &found else {
                return match head {
                    Some(head) => self.take_newest(place, credentials, &head).await,
                    None => Ok(Settled { file: FlowFile::default(), number: 0 }),
                };
            };
            let hash = flow::revision(&file.entries);
            if let Some(head) = &head {
                if head.hash == hash {
                    self.note(head);
                    return Ok(Settled { file: file.clone(), number: head.number });
                }
                if self.is_known(&hash, head).await.map_err(failed)? {
                    return self.take_newest(place, credentials, head).await;
                }
            }
            let sealed = credentials.sealed().map_err(|e| format!("the credentials: {e}"))?;
            let revision = self.new_revision(file, hash, FILE, "file", sealed);
            if let Some(number) = self.store.put_flow_revision(after, &revision, self.keep).await.map_err(failed)? {
                if after > 0 {
                    tracing::warn!(
                        revision = number,
                        "the flow file {} was changed while nobody ran it: it is the new \
                        revision of the flows, in place of revision {after}",
                        place.name()
                    );
                }
                self.note(&FlowHead { number, hash: revision.hash });
                return Ok(Settled { file: file.clone(), number });
            }
            // Another process was first.
        }
    }

    /// Whether flows are those the file had when it was last written here, or a later revision: then the store knows
    /// better.
    async fn is_known(&self, hash: &str, head: &FlowHead) -> Result<bool, StoreError> {
        let stored = self.store.flow_revision_of(hash).await?;
        let Some(mirrored) = self.mirrored() else { return Ok(stored.is_some()) };
        let same = self.store.flow_revision(mirrored.number).await?;
        // Otherwise the note is about another store, or this one was put back to an earlier state.
        let ours = mirrored.number <= head.number && same.is_none_or(|same| same.revision.hash == mirrored.hash);
        if !ours {
            return Ok(stored.is_some());
        }
        Ok(mirrored.hash == hash || stored.is_some_and(|number| number > mirrored.number))
    }

    async fn take_newest(
        &self,
        place: &Place,
        credentials: &CredentialFile,
        head: &FlowHead,
    ) -> Result<Settled, String> {
        let revision = self.read(head.number).await?;
        let file = self.open(place, credentials, &revision)?;
        tracing::info!(
            revision = head.number,
            author = revision.revision.author,
            "the flows are those of the store's newest revision"
        );
        self.mirror(place, &file, head).await;
        Ok(Settled { file, number: head.number })
    }

    /// A stored revision.
    ///
    /// # Errors
    /// A store that does not answer, and a number that is none.
    pub(super) async fn read(&self, number: i64) -> Result<FlowRevision, String> {
        let found = self.store.flow_revision(number).await.map_err(|e| e.to_string())?;
        found.ok_or_else(|| format!("revision {number} of the flows is not in the store any more"))
    }

    /// The flows of a revision, with the credentials of their nodes.
    pub(super) fn open(
        &self,
        place: &Place,
        credentials: &CredentialFile,
        revision: &FlowRevision,
    ) -> Result<FlowFile, String> {
        if let Some(sealed) = &revision.revision.credentials
            && let Err(problem) = credentials.adopt_sealed(sealed)
        {
            tracing::error!(
                "the credentials of revision {} of the flows cannot be read here: {problem}; nodes run \
                with those of this replica. Give every replica the same credentials.secret",
                revision.number
            );
        }
        let (mut file, problems) = flow::load(&revision.revision.flows, &place.name());
        if let Some(problem) = problems.iter().find(|d| matches!(d.code.as_str(), "broken-json" | "not-flows")) {
            return Err(format!("revision {} of the flows: {problem}", revision.number));
        }
        credentials.adopt(&mut file);
        Ok(file)
    }

    pub(super) fn new_revision(
        &self,
        file: &FlowFile,
        hash: String,
        author: &str,
        action: &str,
        credentials: Option<String>,
    ) -> NewFlowRevision {
        NewFlowRevision {
            hash,
            author: author.to_owned(),
            action: action.to_owned(),
            at: self.clock.now(),
            flows: flow::stringify(&file.entries),
            credentials,
        }
    }

    /// Writes a revision to the flow file, as far as that can be written: the store has it in any case.
    pub(super) async fn mirror(&self, place: &Place, file: &FlowFile, head: &FlowHead) {
        let path = match place.writable() {
            Ok(path) => path,
            Err(problem) => {
                tracing::warn!(revision = head.number, "the flow file is not as the flows that run: {problem}");
                return;
            }
        };
        let (text, entries) = (place.text(file), file.entries.clone());
        let shown = path.display().to_string();
        let writing = tokio::task::spawn_blocking(move || match path.is_dir() {
            true => folder::write(&path, &entries),
            false => file::save(&path, &text),
        });
        match writing.await.unwrap_or_else(|e| Err(std::io::Error::other(e))) {
            Ok(()) => self.note(head),
            Err(error) => tracing::error!(
                revision = head.number,
                "{shown} could not be written and is not as the \
                flows that run: {error}"
            ),
        }
    }

    /// Notes which revision the flow file is.
    pub(super) fn note(&self, head: &FlowHead) {
        let mirrored = Mirrored { number: head.number, hash: head.hash.clone() };
        if self.mirrored().as_ref() == Some(&mirrored) {
            return;
        }
        let text = serde_json::to_string(&mirrored).expect("a number and a text are JSON");
        if let Err(error) = file::write(&self.record, &text) {
            tracing::error!("{} could not be written: {error}", self.record.display());
        }
    }

    fn mirrored(&self) -> Option<Mirrored> {
        serde_json::from_str(&std::fs::read_to_string(&self.record).ok()?).ok()
    }
}
