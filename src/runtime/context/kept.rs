//! A context store in a folder, in the files of Node-RED's `localfilesystem` store: `global/global.json`,
//! `<tab>/flow.json`, `<tab>/<node>.json`.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use arcstr::ArcStr;

use super::{GLOBAL, Scopes};
use crate::model::{Object, Value};

/// The file of a scope; `None` for an id that is no file name.
fn file(folder: &Path, scope: &str) -> Option<PathBuf> {
    let plain = |name: &str| !name.is_empty() && name != "." && name != ".." && !name.contains(['/', '\\', '\0']);
    match scope.split_once('@') {
        _ if scope == GLOBAL => Some(folder.join(GLOBAL).join("global.json")),
        Some((node, tab)) if plain(node) && plain(tab) => Some(folder.join(tab).join(format!("{node}.json"))),
        None if plain(scope) => Some(folder.join(scope).join("flow.json")),
        _ => None,
    }
}

/// Every scope that a folder holds.
pub(super) fn read(folder: &Path) -> Scopes {
    let mut scopes = Scopes::new();
    let entries = |folder: &Path| std::fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path());
    for tab in entries(folder).filter(|path| path.is_dir()) {
        let name = tab.file_name().unwrap_or_default().to_string_lossy().into_owned();
        for path in
            entries(&tab).filter(|path| path.extension().is_some_and(|ending| ending == "json") && path.is_file())
        {
            let stem = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
            let scope: ArcStr = match (name.as_str(), stem.as_str()) {
                (GLOBAL, "global") => GLOBAL.into(),
                (_, "flow") => name.as_str().into(),
                _ => arcstr::format!("{stem}@{name}"),
            };
            let text = std::fs::read_to_string(&path).map_err(|e| e.to_string());
            match text.and_then(|text| Value::from_json(&text).map_err(|e| e.to_string())) {
                Ok(Value::Object(properties)) => drop(scopes.insert(scope, Object::clone(&properties))),
                Ok(_) => set_aside(&path, "it is no JSON object"),
                Err(error) => set_aside(&path, &error),
            }
        }
    }
    scopes
}

/// Gives a file that could not be read as a context another name, so that what flows keep from now on does not overwrite it.
fn set_aside(path: &Path, why: &str) {
    let free = (1_u32..).map(|n| match n {
        1 => path.with_extension("json.unreadable"),
        n => path.with_extension(format!("json.unreadable-{n}")),
    });
    let aside = free.take(1_000).find(|name| !name.exists()).ok_or(ErrorKind::AlreadyExists.into());
    match aside.and_then(|aside| std::fs::rename(path, &aside).map(|()| aside)) {
        Ok(aside) => tracing::error!(
            "{}: this context could not be read: {why}. Flows begin without it; it is kept as {}: mend the cause and give \
             it its name back while Probity is stopped",
            path.display(),
            aside.display()
        ),
        Err(error) => tracing::error!(
            %error,
            "{}: this context could not be read: {why}. Flows begin without it, and overwrite it",
            path.display()
        ),
    }
}

/// Writes a scope whole or not at all, or removes it.
pub(super) fn write(folder: &Path, scope: &str, properties: Option<&Object>) -> std::io::Result<()> {
    let file = file(folder, scope).ok_or_else(|| std::io::Error::other("its id cannot be a file's name"))?;
    let Some(properties) = properties else {
        return match std::fs::remove_file(&file) {
            Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        };
    };
    if let Some(folder) = file.parent() {
        std::fs::create_dir_all(folder)?;
    }
    let temporary = file.with_extension("new");
    std::fs::write(&temporary, Value::from(properties.clone()).to_json())?;
    std::fs::rename(&temporary, &file)
}
