//! Floor 3: the one folder in which flows may read and write files.
//!
//! Neither `..` nor a symbolic link leads out of it. Whoever else may write in that folder is trusted not to exchange
//! folders for links while a flow is at work.

use std::collections::HashMap;
use std::io::{self, ErrorKind};
use std::path::{Component, Path, PathBuf};
use std::sync::{Arc, Mutex, Weak};

/// The folder, if one is configured.
#[derive(Debug, Default)]
pub struct Files {
    folder: Option<PathBuf>,
    bytes_max: u64,
    /// Files that are being written to, so that what comes first is written first.
    lines: Mutex<HashMap<PathBuf, Weak<tokio::sync::Mutex<()>>>>,
}

/// Why a file could not be used: a code that flows can test (Node.js' names) and a sentence.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[error("{message}")]
pub struct FileError {
    pub code: &'static str,
    pub message: String,
}

/// How to allow files to flows.
pub const HOW: &str = "flows may use no files until a folder is set: files.dir = \"/path/of/the/folder\" in the \
                       configuration, or PROBITY_FILES_DIR";

impl Files {
    /// Files in this folder, which is made when it is first needed; an empty path: no files at all.
    pub fn new(folder: PathBuf) -> Files {
        let folder = Some(folder).filter(|folder| !folder.as_os_str().is_empty());
        Files { folder, bytes_max: 64 << 20, lines: Mutex::default() }
    }

    /// The same with another limit for files that are read whole, bytes.
    pub fn with_bytes_max(self, bytes_max: u64) -> Files {
        Files { bytes_max, ..self }
    }

    /// Larger files are not read whole, bytes.
    pub fn bytes_max(&self) -> u64 {
        self.bytes_max
    }

    /// Whether flows may use files.
    pub fn is_allowed(&self) -> bool {
        self.folder.is_some()
    }

    /// Where a name leads: relative ones from the folder, absolute ones if they lie in it. The file need not be there,
    /// nor the folders around it. A link as the last part is followed if `follow`.
    pub fn find(&self, name: &str, follow: bool) -> Result<PathBuf, FileError> {
        let folder = self.folder.as_ref().ok_or_else(|| FileError { code: "EACCES", message: HOW.into() })?;
        if name.contains('\0') {
            return Err(FileError { code: "EINVAL", message: "a file's name has no NUL in it".into() });
        }
        let made = std::fs::create_dir_all(folder).and_then(|()| folder.canonicalize());
        let root = made.map_err(|e| of_io(&e, "open", &folder.display().to_string()))?;
        // An absolute path may name the folder by another way that leads to it, over a link for example.
        let path = match Path::new(name).strip_prefix(folder) {
            Ok(rest) if folder.is_absolute() => root.join(rest),
            _ => root.join(name),
        };
        self.walk(&root, &path, name, follow)
    }

    /// Goes from the root of the file system down, following links, and looks whether that ends in the folder.
    fn walk(&self, root: &Path, path: &Path, name: &str, follow: bool) -> Result<PathBuf, FileError> {
        let outside = || FileError {
            code: "EACCES",
            message: format!("'{name}' is outside the folder that flows may use (files.dir)"),
        };
        let mut found = PathBuf::new();
        let mut missing = false;
        let parts: Vec<Component<'_>> = path.components().collect();
        for (at, part) in parts.iter().enumerate() {
            let last = at + 1 == parts.len();
            match part {
                Component::CurDir => {}
                Component::ParentDir if missing => return Err(outside()),
                Component::ParentDir => drop(found.pop()),
                Component::RootDir | Component::Prefix(_) => found.push(part),
                Component::Normal(part) => {
                    found.push(part);
                    if missing || (last && !follow) {
                        continue;
                    }
                    match found.canonicalize() {
                        Ok(real) => found = real,
                        // A link to nowhere would be made by writing to it, wherever that is.
                        Err(_) if found.is_symlink() => return Err(outside()),
                        Err(e) if e.kind() == ErrorKind::NotFound => missing = true,
                        Err(e) if found.starts_with(root) => return Err(of_io(&e, "open", name)),
                        // What is there outside the folder is not told.
                        Err(_) => return Err(outside()),
                    }
                }
            }
        }
        if found.starts_with(root) { Ok(found) } else { Err(outside()) }
    }

    /// The line before a file: whoever holds its lock writes, the others follow in the order they came.
    pub fn line(&self, path: &Path) -> Arc<tokio::sync::Mutex<()>> {
        let mut lines = self.lines.lock().unwrap_or_else(|p| p.into_inner());
        if let Some(line) = lines.get(path).and_then(Weak::upgrade) {
            return line;
        }
        lines.retain(|_, line| line.strong_count() > 0);
        let line = Arc::new(tokio::sync::Mutex::new(()));
        lines.insert(path.to_path_buf(), Arc::downgrade(&line));
        line
    }
}

/// An error of the file system in Node.js' words: `ENOENT: no such file or directory, open 'name'`.
pub fn of_io(error: &io::Error, what: &str, name: &str) -> FileError {
    let (code, text) = match error.kind() {
        ErrorKind::NotFound => ("ENOENT", "no such file or directory".to_string()),
        ErrorKind::PermissionDenied => ("EACCES", "permission denied".to_string()),
        ErrorKind::AlreadyExists => ("EEXIST", "file already exists".to_string()),
        ErrorKind::IsADirectory => ("EISDIR", "illegal operation on a directory".to_string()),
        ErrorKind::NotADirectory => ("ENOTDIR", "not a directory".to_string()),
        ErrorKind::StorageFull => ("ENOSPC", "no space left on device".to_string()),
        ErrorKind::ReadOnlyFilesystem => ("EROFS", "read-only file system".to_string()),
        ErrorKind::InvalidFilename => ("ENAMETOOLONG", "name too long".to_string()),
        _ => ("EIO", error.to_string()),
    };
    FileError { code, message: format!("{code}: {text}, {what} '{name}'") }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn nothing_leads_out_of_the_folder() {
        let around = tempfile::tempdir().unwrap();
        let (dir, other) = (around.path().join("files"), around.path().join("other"));
        std::fs::create_dir_all(dir.join("sub")).unwrap();
        std::fs::create_dir(&other).unwrap();
        std::fs::write(other.join("secret"), "x").unwrap();
        symlink(&other, dir.join("link")).unwrap();
        symlink(other.join("secret"), dir.join("file")).unwrap();
        symlink(other.join("not yet"), dir.join("dangling")).unwrap();
        symlink("sub", dir.join("inside")).unwrap();
        let files = Files::new(dir.clone());
        let real = dir.canonicalize().unwrap();
        let outside = other.join("secret").display().to_string();
        let inside = dir.join("a.txt").display().to_string();
        for (name, found) in [
            ("a.txt", Some("a.txt")),
            ("./sub/../a.txt", Some("a.txt")),
            ("new/deep/a.txt", Some("new/deep/a.txt")),
            ("inside/a.txt", Some("sub/a.txt")),
            (inside.as_str(), Some("a.txt")),
            ("..", None),
            ("../other/secret", None),
            ("sub/../../other/secret", None),
            ("new/../../other/secret", None),
            ("link/secret", None),
            ("link/new", None),
            ("file", None),
            ("dangling", None),
            (outside.as_str(), None),
            ("/etc/passwd", None),
        ] {
            let got = files.find(name, true);
            match found {
                Some(path) => assert_eq!(got, Ok(real.join(path)), "{name}"),
                None => assert_eq!(got.unwrap_err().code, "EACCES", "{name}"),
            }
        }
        // A link is deleted itself, whatever it leads to.
        assert_eq!(files.find("file", false), Ok(real.join("file")));
        assert!(files.find("link/secret", false).is_err());
    }

    #[test]
    fn without_a_folder_the_refusal_says_how() {
        let refused = Files::default().find("a", true).unwrap_err();
        assert!(refused.message.contains("files.dir = "), "{refused}");
    }
}
