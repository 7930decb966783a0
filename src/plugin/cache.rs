//! Compiled code on disk, so that a plugin is ready in milliseconds: found by hash, trusted only with our own seal.
//!
//! Compiled code is native code: loading a file that somebody else wrote would be running it. Each file carries a
//! seal, an HMAC-SHA-256 over its content and its name with a key that lies beside the cache and only this user
//! reads. Whoever can read that key can already change the server's own files.

use std::io::Write;
use std::path::{Path, PathBuf};

use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest, Sha256};
use wasmtime::Engine;
use wasmtime::component::Component;

use super::component::CONTRACT;
use crate::model::Diagnostic;

/// Folders of compiled components: the first is written to.
pub(super) struct Cache {
    dirs: Vec<PathBuf>,
}

const SEAL_BYTES: usize = 32;
const KEY_FILE: &str = "key";

impl Cache {
    pub(super) fn new(dirs: Vec<PathBuf>) -> Cache {
        Cache { dirs }
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
            if let Some(component) = sealed.and_then(|key| load(engine, &path, &name, &key)) {
                return Ok(component);
            }
        }
        let component = compile()?;
        let kept = component.serialize().and_then(|code| Ok(write(own, &name, &code, &key(own)?)?));
        if let Err(error) = kept {
            tracing::warn!(path = %own.display(), "compiled plugin code could not be kept: {error}");
        }
        Ok(component)
    }
}

/// Name of an entry: what was compiled, by which compiler with which settings, for which contract.
fn entry(engine: &Engine, wasm: &[u8]) -> String {
    let mut settings = std::hash::DefaultHasher::new();
    std::hash::Hash::hash(&engine.precompile_compatibility_hash(), &mut settings);
    // A component that a newer contract let in must be looked at again by an older one.
    std::hash::Hash::hash(&CONTRACT, &mut settings);
    let settings = std::hash::Hasher::finish(&settings);
    format!("{}-{settings:016x}.code", hex::encode(&Sha256::digest(wasm)[..16]))
}

fn seal(key: &[u8], name: &str, code: &[u8]) -> Hmac<Sha256> {
    let mut seal = Hmac::<Sha256>::new_from_slice(key).expect("HMAC takes keys of any length");
    seal.update(name.as_bytes());
    seal.update(&[0]);
    seal.update(code);
    seal
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
    let beside = dir.join(format!("{name}.{}.part", uuid::Uuid::new_v4().simple()));
    let mut content = code.to_vec();
    content.extend_from_slice(&seal(key, name, code).finalize().into_bytes());
    write_new(&beside, &content)?;
    std::fs::rename(&beside, dir.join(name))
}

#[expect(unsafe_code, reason = "the one place that loads compiled code; it is ours: its seal was checked just before")]
fn load(engine: &Engine, path: &Path, name: &str, key: &[u8]) -> Option<Component> {
    let content = std::fs::read(path).ok()?;
    let (code, found) = content.split_at_checked(content.len().checked_sub(SEAL_BYTES)?)?;
    if seal(key, name, code).verify_slice(found).is_err() {
        tracing::warn!(path = %path.display(), "compiled plugin code was changed by somebody else; compiling it anew");
        let _ = std::fs::remove_file(path);
        return None;
    }
    // SAFETY: `code` was produced by `Component::serialize` of this process's user: its seal, made with a key only
    // that user can read, matches the bytes that are loaded (not the file, which could change meanwhile).
    unsafe { Component::deserialize(engine, code) }.ok()
}
