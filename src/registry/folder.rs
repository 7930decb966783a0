//! Agreements as files: `*.json`, `*.yaml` and `*.yml` of one folder (not of its subfolders), or a single file.
//! What ends in `.test.yaml` belongs to `probity test`.

use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use async_trait::async_trait;

use super::document::{Document, Found, Known};
use super::live::{Agreements, Snapshot};
use super::source::{Source, SourceError};
use crate::agreement::load::BYTES_MAX;
use crate::clock::Clock;
use crate::model::diagnostic::Diagnostic;

/// Loads every agreement of a folder, or the one file given. A file that cannot be used is reported and the others
/// load; of two with one id the first by file name counts and the second is reported.
pub fn load_folder(path: &Path) -> Snapshot {
    let found = match files(path) {
        Ok(files) => Found { documents: documents(&files, &mut Known::default()), ..Found::default() },
        Err(problem) => Found { diagnostics: vec![*problem], ..Found::default() },
    };
    let set = Agreements::new(Clock::System, None);
    let index = set.add_source(&path.display().to_string(), "folder");
    set.found(index, found);
    (*set.snapshot()).clone()
}

fn documents(files: &[PathBuf], known: &mut Known) -> Vec<Document> {
    let read = |file: &PathBuf| {
        let name = file.display().to_string();
        match read(file) {
            Ok(text) => known.get(&name, text.as_bytes(), || Document::of_text(&name, &name, &text)),
            Err(problem) => Document::unreadable(&name, &name, *problem),
        }
    };
    let documents: Vec<Document> = files.iter().map(read).collect();
    known.retain(&documents);
    documents
}

/// What shows that a file has changed.
type Look = Vec<(PathBuf, Option<SystemTime>, u64)>;

/// A folder or file that is looked at again and again.
pub struct FolderSource {
    path: PathBuf,
    watch: Duration,
    seen: Option<Look>,
    known: Known,
}

impl FolderSource {
    pub fn new(path: PathBuf, watch: Duration) -> FolderSource {
        FolderSource { path, watch, seen: None, known: Known::default() }
    }
}

#[async_trait]
impl Source for FolderSource {
    fn name(&self) -> String {
        self.path.display().to_string()
    }

    fn kind(&self) -> &'static str {
        "folder"
    }

    async fn read(&mut self) -> Result<Option<Found>, SourceError> {
        let files = files(&self.path).map_err(|problem| SourceError(problem.message))?;
        // Looked at before they are read: a file that changes meanwhile is read again.
        let look = files
            .iter()
            .filter_map(|file| {
                let about = file.metadata().ok()?;
                Some((file.clone(), about.modified().ok(), about.len()))
            })
            .collect();
        if self.seen.as_ref() == Some(&look) {
            return Ok(None);
        }
        self.seen = Some(look);
        Ok(Some(Found { documents: documents(&files, &mut self.known), ..Found::default() }))
    }

    async fn changed(&mut self, clock: &Clock) {
        clock.sleep(self.watch).await;
    }
}

fn unreadable(path: &Path, error: &std::io::Error) -> Box<Diagnostic> {
    let problem = Diagnostic::error("unreadable", "$", format!("it cannot be read: {error}"))
        .expected("a file or folder of agreements")
        .in_file(path.display().to_string());
    Box::new(problem)
}

/// The agreement files at `path`, sorted by name.
fn files(path: &Path) -> Result<Vec<PathBuf>, Box<Diagnostic>> {
    let broken = |error| unreadable(path, &error);
    if !std::fs::metadata(path).map_err(broken)?.is_dir() {
        return Ok(vec![path.to_owned()]);
    }
    let mut found = Vec::new();
    for entry in std::fs::read_dir(path).map_err(broken)? {
        let file = entry.map_err(broken)?.path();
        if is_agreement_file(&file) {
            found.push(file);
        }
    }
    found.sort();
    Ok(found)
}

fn is_agreement_file(path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default().to_string_lossy().to_lowercase();
    let document = [".json", ".yaml", ".yml"].iter().any(|ending| name.ends_with(ending));
    let test = [".test.yaml", ".test.yml", ".test.json"].iter().any(|ending| name.ends_with(ending));
    document && !test && !name.starts_with('.') && path.is_file()
}

fn read(path: &Path) -> Result<String, Box<Diagnostic>> {
    let broken = |error| unreadable(path, &error);
    let bytes = std::fs::metadata(path).map_err(broken)?.len();
    if bytes > BYTES_MAX as u64 {
        let problem = Diagnostic::error("too-large", "$", format!("the file has {bytes} bytes"));
        return Err(Box::new(problem.expected(format!("at most {BYTES_MAX}"))));
    }
    std::fs::read_to_string(path).map_err(broken)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder(name: &str, files: &[(&str, &str)]) -> PathBuf {
        let path = std::env::temp_dir().join(format!("probity-folder-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        for (file, text) in files {
            std::fs::write(path.join(file), text).unwrap();
        }
        path
    }

    fn document(id: &str) -> String {
        format!(
            "id: {id}\ntype: agreement\ncontext: {{validity: {{initial: 2026-01-01, timeZone: UTC}}}}\n\
             terms:\n  metrics: {{M: {{collector: {{type: PROBITY-FLOW-V1, metric: m}}}}}}\n\
             \x20 guarantees:\n  - {{id: G, of: [{{objective: M > 1, with: {{M: {{}}}}, window: {{period: daily}}}}]}}\n"
        )
    }

    #[test]
    fn a_broken_file_does_not_hide_the_others() {
        let path = folder(
            "broken",
            &[
                ("a.yaml", &document("a")),
                ("b.json", "{ \"id\": "),
                ("c.yml", &document("c")),
                ("d.yaml", &document("a")),
                ("a.test.yaml", "not: an agreement"),
                ("notes.txt", "nothing"),
            ],
        );
        let Snapshot { agreements, diagnostics: problems, .. } = load_folder(&path);
        assert_eq!(agreements.iter().map(|a| a.id.as_str()).collect::<Vec<_>>(), ["a", "c"]);
        let codes: Vec<_> = problems.iter().map(|p| (p.code.as_str(), p.file.ends_with("b.json"))).collect();
        assert_eq!(codes, [("not-json", true), ("duplicate-agreement", false)]);
        assert!(problems[1].message.contains("a.yaml") && problems[1].file.ends_with("d.yaml"));
        std::fs::remove_dir_all(path).unwrap();
    }

    #[test]
    fn a_single_file_and_a_missing_one() {
        let path = folder("single", &[("a.yaml", &document("a"))]);
        let Snapshot { agreements, diagnostics: problems, .. } = load_folder(&path.join("a.yaml"));
        assert_eq!((agreements.len(), problems), (1, vec![]));
        let Snapshot { agreements, diagnostics: problems, .. } = load_folder(&path.join("nothing"));
        assert!(agreements.is_empty());
        assert_eq!(problems[0].code, "unreadable");
        std::fs::remove_dir_all(path).unwrap();
    }
}
