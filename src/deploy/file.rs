//! Where flows are kept: one file, written as Node-RED writes it and whole or not at all; or a folder, which is only read.

use std::fs::File;
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};

use crate::flow;
use crate::model::Diagnostic;
use crate::model::flow::FlowFile;

/// Reads the flows again. The error says what is wrong with the file.
pub type Read = Box<dyn Fn() -> Result<(FlowFile, Vec<Diagnostic>), String> + Send + Sync>;

/// Where a server's flows are kept.
pub struct Place {
    /// A file, or a folder of files.
    pub path: PathBuf,
    /// Whether the file is indented by four spaces (`flowFilePretty`).
    pub pretty: bool,
    pub read: Read,
}

impl Place {
    pub fn read(&self) -> Result<(FlowFile, Vec<Diagnostic>), String> {
        (self.read)()
    }

    /// The path as problems name it.
    pub fn name(&self) -> String {
        self.path.display().to_string()
    }

    /// The file that flows are written to. The error says why there is none.
    pub fn writable(&self) -> Result<PathBuf, String> {
        if self.path.is_dir() && super::folder::is_ours(&self.path) {
            return Ok(self.path.clone());
        }
        if self.path.is_dir() {
            return Err(format!(
                "the flows are the files of the folder {}, which are only read; change them there, start with --flows \
                 and a file, or split them into a folder of one file per tab (`probity flows split`), which is written",
                self.name()
            ));
        }
        match self.path.metadata() {
            Ok(about) if about.permissions().readonly() => Err(format!(
                "the flow file {} is read-only; change it where it comes from, or make it writable",
                self.name()
            )),
            // A link stays a link: what it leads to is written.
            Ok(_) => self.path.canonicalize().map_err(|e| format!("{}: {e}", self.name())),
            Err(_) => Ok(self.path.clone()),
        }
    }

    pub(super) fn text(&self, file: &FlowFile) -> String {
        if self.pretty { flow::save(file) } else { flow::stringify(&file.entries) }
    }
}

/// Writes a flow file after keeping the one before as `.<name>.backup`, as Node-RED does.
pub(super) fn save(path: &Path, text: &str) -> std::io::Result<()> {
    if let Some(name) = path.file_name().filter(|_| path.exists()) {
        let backup = path.with_file_name(format!(".{}.backup", name.to_string_lossy()));
        if let Err(error) = std::fs::copy(path, &backup) {
            tracing::warn!(%error, "the backup {} could not be written", backup.display());
        }
    }
    write(path, text)
}

/// Writes a file so that it is there whole or not at all: temporary file, fsync, rename.
pub(super) fn write(path: &Path, text: &str) -> std::io::Result<()> {
    let temporary = stage(path, text)?;
    std::fs::rename(&temporary, path)?;
    // The name is in the folder; without this a power cut may take it back.
    if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        File::open(folder)?.sync_all()?;
    }
    Ok(())
}

/// Writes what is to be a file beside it, synced, and gives the path.
pub(super) fn stage(path: &Path, text: &str) -> std::io::Result<PathBuf> {
    let name = path.file_name().ok_or(ErrorKind::InvalidInput)?;
    let temporary = path.with_file_name(format!(".{}.new", name.to_string_lossy()));
    let mut file = File::create(&temporary)?;
    file.write_all(text.as_bytes())?;
    if let Ok(before) = path.metadata() {
        file.set_permissions(before.permissions())?;
    }
    file.sync_all()?;
    Ok(temporary)
}

/// Removes a file that may not be there.
pub(super) fn remove(path: &Path) -> std::io::Result<()> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}
