//! The flow file watched: what somebody changes in it, or in the files of a folder, is deployed; for development.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use super::{Current, Flows, Refused, new_problems, revisions, starts_anew};
use crate::flow::{self, Deployment};
use crate::model::Severity;
use crate::store::FlowHead;

/// What tells one state of a flow file, or of a folder's, from another, without reading it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Look(Vec<(PathBuf, Seen)>);

/// Which file it is, its size, and when it was changed (seconds, nanoseconds).
type Seen = (u64, u64, i64, i64);

/// Looks at a flow file or folder; one that cannot be read has no files.
pub fn look(path: &Path) -> Look {
    let files = match path.is_dir() {
        true => super::folder::files(path).unwrap_or_default(),
        false => vec![path.to_path_buf()],
    };
    let seen = |path: &PathBuf| {
        let about = path.metadata().ok()?;
        Some((about.ino(), about.size(), about.ctime(), about.ctime_nsec()))
    };
    Look(files.into_iter().filter_map(|path| Some((path.clone(), seen(&path)?))).collect())
}

impl Flows {
    /// Deploys what is changed in the flow file until it is dropped, looking this often. `before`: how it was when it was
    /// read for the start. A file that is wrong, or gone, changes nothing and is said once; what runs goes on.
    pub async fn keep_watching(self: Arc<Self>, before: Look, every: Duration) {
        let mut seen = before;
        loop {
            self.parts.engine.services.clock.sleep(every).await;
            let path = self.parts.place.path.clone();
            let Ok(now) = tokio::task::spawn_blocking(move || look(&path)).await else { continue };
            if now == seen {
                continue;
            }
            match self.take_file().await {
                Ok(None) => {}
                Ok(Some(number)) => tracing::info!(revision = number, "the flow file was changed; it is deployed"),
                // Somebody else deployed meanwhile, or the store is away: the next look tries again.
                Err(Refused::Stale) => continue,
                Err(Refused::Unsaved(problem)) => {
                    tracing::warn!("the flow file was changed, but is not deployed yet: {problem}");
                    continue;
                }
                Err(Refused::Invalid(problems)) => {
                    tracing::error!("the flow file was changed and is wrong; the flows run on as they were");
                    (self.parts.report)(&problems);
                }
                Err(other) => tracing::error!("the flow file cannot be deployed; the flows run on: {other:?}"),
            }
            seen = now;
        }
    }

    /// Deploys the flow file if it is not what runs: only what changed starts anew. Gives the number of its revision; `None`
    /// when nothing changed.
    async fn take_file(&self) -> Result<Option<i64>, Refused> {
        let _turn = self.turn.lock().await;
        let (mut file, problems) = self.parts.place.read().map_err(Refused::Unusable)?;
        let current = self.current();
        let errors = problems.into_iter().filter(|problem| problem.severity == Severity::Error).collect();
        let problems = new_problems(errors, &file, &current.file);
        if !problems.is_empty() {
            return Err(Refused::Invalid(problems));
        }
        let before = self.parts.credentials.now();
        self.parts.credentials.adopt(&mut file);
        let touched = before.others_in(&self.parts.credentials.now());
        let hash = flow::revision(&file.entries);
        if hash == current.revision && touched.is_empty() {
            return Ok(None);
        }
        let mut number = current.number;
        if let Some((revisions, _)) = &self.parts.revisions {
            let sealed = self.parts.credentials.sealed().map_err(|e| Refused::Unsaved(e.to_string()))?;
            let revision = revisions.new_revision(&file, hash.clone(), revisions::FILE, "watch", sealed);
            number = self.put(revisions, &revision).await?;
            revisions.note(&FlowHead { number, hash: hash.clone() });
        }
        (self.parts.needed)(&file).await;
        let difference = flow::difference(&current.file.entries, &file.entries, &touched);
        let restarts = difference.restarts(Deployment::Nodes);
        let prepared = self.prepare(&file, &|(plan, node)| !starts_anew(&file, plan, node, &restarts));
        self.take(Current { file, revision: hash, number }, prepared, true);
        Ok(Some(number))
    }
}
