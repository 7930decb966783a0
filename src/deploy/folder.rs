//! Flows in a folder, one file per tab: written so that only files that changed are touched, read in the order in which
//! they were written.

use std::io;
use std::path::{Path, PathBuf};

use super::{Entry, file};
use crate::flow::{self, tabs};
use crate::model::flow::FlowFile;

/// Names the files in their order, one a line, and says which of the folder's files are ours. No `.json`, so no flow file.
const ORDER: &str = "flows.order";

/// The flow files of a folder: those that [`ORDER`] names in its order, then all others by name.
pub fn files(dir: &Path) -> io::Result<Vec<PathBuf>> {
    let mut all: Vec<PathBuf> = std::fs::read_dir(dir)?
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.extension().is_some_and(|ending| ending == "json"))
        .collect();
    all.sort();
    let order = order(dir);
    let place = |path: &PathBuf| {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        order.iter().position(|ordered| *ordered == name).unwrap_or(order.len())
    };
    all.sort_by_key(place);
    Ok(all)
}

fn order(dir: &Path) -> Vec<String> {
    let text = std::fs::read_to_string(dir.join(ORDER)).unwrap_or_default();
    text.lines().map(str::trim).filter(|line| !line.is_empty()).map(str::to_owned).collect()
}

/// Whether flows are written into this folder: somebody split them into it before.
pub fn is_ours(dir: &Path) -> bool {
    dir.join(ORDER).is_file()
}

/// Writes entries into a folder, one file per tab. Files that are as they should be are left alone; those of tabs that
/// are gone are removed, but only files that we wrote.
///
/// # Errors
/// What cannot be made, written or removed, with its path.
pub fn write(dir: &Path, entries: &[Entry]) -> io::Result<()> {
    std::fs::create_dir_all(dir).map_err(of(dir))?;
    let before = order(dir);
    let files = tabs::by_tab(entries);
    for file in &files {
        let text = format!("{}\n", flow::save(&FlowFile { entries: file.entries.clone(), ..FlowFile::default() }));
        write_if_changed(&dir.join(&file.name), &text)?;
    }
    let names: Vec<&str> = files.iter().map(|file| file.name.as_str()).collect();
    write_if_changed(&dir.join(ORDER), &format!("{}\n", names.join("\n")))?;
    let is_plain = |name: &str| name.ends_with(".json") && !name.contains(['/', '\\']);
    for gone in before.iter().filter(|name| is_plain(name) && !names.contains(&name.as_str())) {
        let path = dir.join(gone);
        file::remove(&path).map_err(of(&path))?;
    }
    Ok(())
}

fn write_if_changed(path: &Path, text: &str) -> io::Result<()> {
    if std::fs::read_to_string(path).is_ok_and(|before| before == text) {
        return Ok(());
    }
    file::write(path, text).map_err(of(path))
}

/// Names the path in an error.
fn of(path: &Path) -> impl Fn(io::Error) -> io::Error + '_ {
    move |error| io::Error::new(error.kind(), format!("{}: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn entries(json: serde_json::Value) -> Vec<Entry> {
        json.as_array().unwrap().iter().map(|entry| entry.as_object().unwrap().clone()).collect()
    }

    #[test]
    fn a_change_of_one_tab_touches_its_file_and_order_is_kept() {
        let folder = tempfile::tempdir().unwrap();
        let dir = folder.path().join("flows");
        let flows = |url: &str| {
            entries(json!([
                { "id": "z", "type": "tab", "label": "Zebra" },
                { "id": "a", "type": "tab", "label": "Ant" },
                { "id": "n", "type": "http in", "z": "a", "url": url, "wires": [] },
                { "id": "m", "type": "http in", "z": "z", "url": "/z", "wires": [] },
            ]))
        };
        write(&dir, &flows("/a")).unwrap();
        std::fs::write(dir.join("ours.json"), "[]").unwrap();
        let written = |name: &str| std::fs::metadata(dir.join(name)).unwrap().modified().unwrap();
        let before = written("zebra.json");
        write(&dir, &flows("/b")).unwrap();
        assert_eq!(written("zebra.json"), before, "a tab that did not change is not written");
        let names: Vec<String> =
            files(&dir).unwrap().iter().map(|path| path.file_name().unwrap().to_string_lossy().into_owned()).collect();
        assert_eq!(names, ["zebra.json", "ant.json", "ours.json"], "the order of tabs is not that of names");
        assert!(std::fs::read_to_string(dir.join("ant.json")).unwrap().contains("\"/b\""));
        write(&dir, &flows("/b")[..1]).unwrap();
        assert!(!dir.join("ant.json").exists() && dir.join("ours.json").exists());
    }
}
