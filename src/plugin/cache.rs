//! Compiled code on disk, so that a plugin is ready in milliseconds: found by hash, trusted only with our own seal.
//!
//! Compiled code is native code: loading a file that somebody else wrote would be running it. Each file carries a
//! seal, an HMAC-SHA-256 over its content and its name with a key that lies beside the cache and only this user
//! reads. Whoever can read that key can already change the server's own files.
//!
//! What nobody used for long goes, and the longest unused when there is too much: each time something is added, in the
//! one folder that is written to. Other processes may use the same folder: an entry is read whole before it is used,
//! so one that goes meanwhile costs its next reader a compilation and nothing else.

use std::fs::File;
use std::io::{Read, Seek, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest, Sha256};
use wasmtime::Engine;
use wasmtime::component::Component;

use super::component::CONTRACT;
use super::limits::Keep;
use crate::clock::Clock;
use crate::model::Diagnostic;

/// Folders of compiled components: the first is written to.
pub(super) struct Cache {
    dirs: Vec<PathBuf>,
    keep: Keep,
}

/// How an entry's name ends, and that of one being written.
const ENTRY: &str = "code";
const PART: &str = "part";
/// An entry that is used is marked so when it was last marked before this.
const MARK_AFTER: Duration = Duration::from_secs(86_400);
/// What a process that broke off left half written goes after this.
const PART_MAX: Duration = Duration::from_secs(3_600);

const SEAL_BYTES: usize = 32;
const KEY_FILE: &str = "key";

impl Cache {
    pub(super) fn new(dirs: Vec<PathBuf>, keep: Keep) -> Cache {
        Cache { dirs, keep }
    }

    /// The component of this WASM: loaded when it was compiled before by this engine, else made by `compile` and kept.
    pub(super) fn component(
        &self,
        engine: &Engine,
        wasm: &[u8],
        compile: impl FnOnce() -> Result<Component, Diagnostic>,
    ) -> Result<Component, Diagnostic> {
        let Some(own) = self.dirs.first() else { return compile() };
        let name = entry(engine, wasm);
        for dir in &self.dirs {
            let path = dir.join(&name);
            let sealed = path.is_file().then(|| read_key(dir)).flatten();
            if let Some(component) = sealed.and_then(|key| load(engine, dir, &name, &key)) {
                if dir == own {
                    mark(&path, now());
                }
                return Ok(component);
            }
        }
        let mut component = compile()?;
        let kept = component.serialize().and_then(|code| {
            let key = key(own)?;
            write(own, &name, &code, &key)?;
            Ok(key)
        });
        match kept {
            // What was just compiled lies in memory as a whole; as it was kept, only what runs of it does.
            Ok(key) => component = load(engine, own, &name, &key).unwrap_or(component),
            Err(error) => tracing::warn!(path = %own.display(), "compiled plugin code could not be kept: {error}"),
        }
        clear(own, &name, self.keep, now());
        Ok(component)
    }
}

fn now() -> SystemTime {
    Clock::System.now().into()
}

/// Says that an entry is used. Where that cannot be said it is as old as it looks, and compiled anew one day.
fn mark(path: &Path, now: SystemTime) {
    let Ok(file) = std::fs::OpenOptions::new().append(true).open(path) else { return };
    let marked = file.metadata().and_then(|of| of.modified());
    if marked.is_ok_and(|at| now.duration_since(at).is_ok_and(|age| age > MARK_AFTER)) {
        let _ = file.set_modified(now);
    }
}

/// Takes away what is too old and, the longest unused first, what is too much; never `fresh`. What cannot be taken away
/// stays for the next time.
fn clear(dir: &Path, fresh: &str, keep: Keep, now: SystemTime) {
    let mut entries = Vec::new();
    for entry in std::fs::read_dir(dir).into_iter().flatten().flatten() {
        let path = entry.path();
        let kind = path.extension().and_then(|e| e.to_str()).unwrap_or_default().to_string();
        // Gone between two looks, or a folder: not ours.
        let Ok(of) = entry.metadata().and_then(|of| Ok((of.modified()?, of.len(), of.is_file()))) else { continue };
        let (used, bytes, true) = of else { continue };
        // A clock that was set back makes nothing old.
        let age = now.duration_since(used).unwrap_or_default();
        match kind.as_str() {
            PART if age > PART_MAX => drop(std::fs::remove_file(&path)),
            ENTRY if entry.file_name() == fresh => entries.push((Duration::ZERO, bytes, None)),
            ENTRY => entries.push((age, bytes, Some(path))),
            _ => {}
        }
    }
    entries.sort_by_key(|(age, ..)| *age);
    let mut bytes = 0_u64;
    for (age, size, path) in entries {
        bytes += size;
        let Some(path) = path else { continue };
        if age > keep.unused_max || bytes > keep.bytes_max {
            bytes -= size;
            tracing::debug!(path = %path.display(), "compiled plugin code that nobody used goes");
            let _ = std::fs::remove_file(path);
        }
    }
}

/// Name of an entry: what was compiled, by which compiler with which settings, for which contract.
fn entry(engine: &Engine, wasm: &[u8]) -> String {
    let mut settings = std::hash::DefaultHasher::new();
    std::hash::Hash::hash(&engine.precompile_compatibility_hash(), &mut settings);
    // A component that a newer contract let in must be looked at again by an older one.
    std::hash::Hash::hash(&CONTRACT, &mut settings);
    let settings = std::hash::Hasher::finish(&settings);
    format!("{}-{settings:016x}.{ENTRY}", hex::encode(&Sha256::digest(wasm)[..16]))
}

fn seal(key: &[u8], name: &str, code: &[u8]) -> Hmac<Sha256> {
    let mut seal = begun(key, name);
    seal.update(code);
    seal
}

/// A seal before the code.
fn begun(key: &[u8], name: &str) -> Hmac<Sha256> {
    let mut seal = Hmac::<Sha256>::new_from_slice(key).expect("HMAC takes keys of any length");
    seal.update(name.as_bytes());
    seal.update(&[0]);
    seal
}

/// A seal that is given the code piece by piece.
struct Seal {
    of: Hmac<Sha256>,
}

impl Write for Seal {
    fn write(&mut self, code: &[u8]) -> std::io::Result<usize> {
        self.of.update(code);
        Ok(code.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// The key of a cache folder, made on first use, readable by its owner only.
fn key(dir: &Path) -> std::io::Result<Vec<u8>> {
    if let Some(key) = read_key(dir) {
        return Ok(key);
    }
    std::fs::create_dir_all(dir)?;
    let mut fresh = [0; SEAL_BYTES];
    getrandom::fill(&mut fresh).map_err(std::io::Error::other)?;
    match write_new(&dir.join(KEY_FILE), &fresh) {
        Ok(()) => Ok(fresh.to_vec()),
        // Another process may have been first.
        Err(error) => read_key(dir).ok_or(error),
    }
}

fn read_key(dir: &Path) -> Option<Vec<u8>> {
    std::fs::read(dir.join(KEY_FILE)).ok().filter(|key| key.len() == SEAL_BYTES)
}

fn write_new(path: &Path, content: &[u8]) -> std::io::Result<()> {
    let mut options = std::fs::OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path)?.write_all(content)
}

/// Written beside and renamed: a reader sees the whole file or none.
fn write(dir: &Path, name: &str, code: &[u8], key: &[u8]) -> std::io::Result<()> {
    let beside = dir.join(format!("{name}.{}.{PART}", uuid::Uuid::new_v4().simple()));
    let mut content = code.to_vec();
    content.extend_from_slice(&seal(key, name, code).finalize().into_bytes());
    write_new(&beside, &content)?;
    std::fs::rename(&beside, dir.join(name))
}

/// Whether the code of an open entry carries our seal; its length.
fn sealed(file: &mut File, name: &str, key: &[u8]) -> std::io::Result<Option<u64>> {
    let Some(length) = file.metadata()?.len().checked_sub(SEAL_BYTES as u64) else { return Ok(None) };
    let mut code = Seal { of: begun(key, name) };
    std::io::copy(&mut Read::take(&mut *file, length), &mut code)?;
    let mut found = [0; SEAL_BYTES];
    file.read_exact(&mut found)?;
    Ok(code.of.verify_slice(&found).is_ok().then_some(length))
}

/// Whether nobody but us can write to an open file, whatever stands in its folder: as private as the key.
fn is_private(file: &File, dir: &Path) -> bool {
    #[cfg(target_os = "linux")]
    {
        use std::os::unix::fs::MetadataExt;
        let key = std::fs::metadata(dir.join(KEY_FILE));
        let both = file.metadata().ok().zip(key.ok());
        both.is_some_and(|(file, key)| file.uid() == key.uid() && file.mode() & 0o077 == 0)
    }
    #[cfg(not(target_os = "linux"))]
    {
        let _ = (file, dir);
        false
    }
}

#[expect(unsafe_code, reason = "the one place that loads compiled code; it is ours: its seal was checked just before")]
fn load(engine: &Engine, dir: &Path, name: &str, key: &[u8]) -> Option<Component> {
    let path = dir.join(name);
    let mut file = File::open(&path).ok()?;
    let Some(length) = sealed(&mut file, name, key).ok()? else {
        tracing::warn!(path = %path.display(), "compiled plugin code was changed by somebody else; compiling it anew");
        let _ = std::fs::remove_file(path);
        return None;
    };
    // Mapped, only what runs of it takes memory. The very file whose seal was checked, whatever its name leads to now.
    #[cfg(target_os = "linux")]
    if is_private(&file, dir) {
        let same = format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(&file));
        // SAFETY: the file was produced by `Component::serialize` of this process's user: its seal, made with a key only
        // that user can read, matches. Only that user can write to the file, and nothing of ours does after its rename.
        if let Ok(component) = unsafe { Component::deserialize_file(engine, same) } {
            return Some(component);
        }
    }
    let mut content = Vec::with_capacity(usize::try_from(length).ok()? + SEAL_BYTES);
    file.rewind().and_then(|()| file.read_to_end(&mut content)).ok()?;
    let (code, found) = content.split_at_checked(content.len().checked_sub(SEAL_BYTES)?)?;
    seal(key, name, code).verify_slice(found).ok()?;
    // SAFETY: as above; the seal matches the bytes that are loaded (not the file, which could change meanwhile).
    unsafe { Component::deserialize(engine, code) }.ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: Duration = Duration::from_secs(86_400);

    fn put(dir: &Path, name: &str, bytes: usize, used: SystemTime) {
        std::fs::write(dir.join(name), vec![0; bytes]).unwrap();
        std::fs::File::options().append(true).open(dir.join(name)).unwrap().set_modified(used).unwrap();
    }

    fn names(dir: &Path) -> Vec<String> {
        let mut names: Vec<_> =
            std::fs::read_dir(dir).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    #[test]
    fn what_is_old_goes_and_the_longest_unused_when_there_is_too_much() {
        let folder = tempfile::tempdir().unwrap();
        let dir = folder.path();
        let now = now();
        put(dir, KEY_FILE, 32, now - 400 * DAY);
        put(dir, "old.code", 1, now - 31 * DAY);
        put(dir, "a.code", 10, now - 3 * DAY);
        put(dir, "b.code", 10, now - 2 * DAY);
        put(dir, "later.code", 10, now + DAY);
        put(dir, "fresh.code", 10, now - 60 * DAY);
        put(dir, "x.code.1.part", 10, now - DAY);
        put(dir, "y.code.2.part", 10, now);
        let keep = Keep { bytes_max: 35, unused_max: 30 * DAY };
        clear(dir, "fresh.code", keep, now);
        assert_eq!(names(dir), ["b.code", "fresh.code", KEY_FILE, "later.code", "y.code.2.part"]);
        mark(&dir.join("b.code"), now);
        let marked = dir.join("b.code").metadata().unwrap().modified().unwrap();
        assert!(now.duration_since(marked).unwrap_or_default() < DAY);
        clear(dir, "b.code", Keep { bytes_max: 0, ..keep }, now);
        assert_eq!(names(dir), ["b.code", KEY_FILE, "y.code.2.part"]);
        clear(&dir.join("not-there"), "b.code", keep, now);
    }
}
