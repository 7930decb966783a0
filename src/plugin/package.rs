//! Packages: a plugin as a folder with `plugin.toml`, or as one `.wasm` file with the manifest inside.
//!
//! The file form is the component with custom sections behind it: `probity:manifest` (the text of `plugin.toml`),
//! `probity:readme`, and for a script, whose component is empty, `probity:script`. Cutting these sections off gives
//! the code back, byte for byte, so a package has one digest in both forms.

use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};
use wasm_encoder::{ComponentSection, CustomSection};

use super::conformance;
use super::manifest::{self, Code, Manifest};
use crate::model::{Diagnostic, Severity};

const SECTION_MANIFEST: &str = "probity:manifest";
const SECTION_README: &str = "probity:readme";
const SECTION_SCRIPT: &str = "probity:script";

/// A longer script is refused, bytes.
pub const SCRIPT_BYTES_MAX: usize = 4 << 20;

/// A README is for people; more of it is not packed, bytes.
const README_BYTES_MAX: usize = 256 << 10;

/// Where a package was found; the earlier in this list, the more it counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Origin {
    /// A folder being worked on, named to `probity plugin dev` or `test`.
    Development,
    /// The configured plugins folder.
    Given,
    /// Installed below the data folder.
    Installed,
    /// Shipped with Probity.
    Shipped,
}

/// A plugin, found and readable; its code is not in memory.
#[derive(Clone, Debug, PartialEq)]
pub struct Package {
    pub manifest: Manifest,
    pub origin: Origin,
    /// The folder, or the `.wasm` file.
    pub path: PathBuf,
    /// The manifest word for word.
    pub manifest_text: String,
}

/// A package's bytes, read at one moment.
#[derive(Clone, Debug, PartialEq)]
pub struct Loaded {
    /// The component, or the script's text.
    pub code: Vec<u8>,
    /// `sha256:<hex>` of the code, as the manifest's `digest`.
    pub code_digest: String,
    /// `sha256:<hex>` of manifest and code: what grants can be bound to.
    pub digest: String,
    pub readme: Option<String>,
    /// The bytes a signature is made over: the whole file, or the manifest, which holds the code's digest.
    pub signed: Vec<u8>,
    /// The text of the signature beside it.
    pub signature: Option<String>,
}

/// All there is to say about a package before it is run.
#[derive(Debug)]
pub struct Checked {
    /// As far as it could be read.
    pub manifest: Manifest,
    /// Without errors.
    pub package: Option<(Package, Loaded)>,
    pub diagnostics: Vec<Diagnostic>,
}

impl Package {
    /// Reads the manifest alone. The diagnostics are errors.
    pub fn open(path: &Path, origin: Origin) -> Result<Package, Vec<Diagnostic>> {
        let manifest_text = manifest_text(path).map_err(|d| vec![in_manifest(path, d)])?;
        let (manifest, problems) = manifest::read(&manifest_text);
        let errors: Vec<Diagnostic> = problems.into_iter().filter(|d| d.severity == Severity::Error).collect();
        if errors.is_empty() {
            Ok(Package { manifest, origin, path: path.to_path_buf(), manifest_text })
        } else {
            Err(errors.into_iter().map(|d| in_manifest(path, d)).collect())
        }
    }

    /// Reads the code, held to the manifest and, unless it is being worked on, its digest, but not looked into.
    pub fn load(&self) -> Result<Loaded, Vec<Diagnostic>> {
        let (loaded, problems) = load(&self.path, self.origin, &self.manifest, &self.manifest_text);
        match loaded {
            Some(loaded) if problems.is_empty() => Ok(loaded),
            _ => Err(problems.into_iter().map(|d| in_manifest(&self.path, d)).collect()),
        }
    }

    /// Whether it is one of our components that run scripts. A package from elsewhere never is.
    pub fn is_interpreter(&self) -> bool {
        self.origin == Origin::Shipped
            && !self.manifest.interprets.is_empty()
            && super::shipped::named(&self.manifest.name).is_some_and(|s| !s.manifest.interprets.is_empty())
    }

    /// Whether it is one `.wasm` file.
    pub fn is_file(&self) -> bool {
        is_packed(&self.path)
    }

    /// Where its signature lies: `NAME.wasm.minisig`, or `plugin.minisig` in the folder.
    pub fn signature_path(&self) -> PathBuf {
        signature_path(&self.path)
    }
}

/// Every problem of a package that can be told without running it: manifest, files, digest, component.
pub fn check(path: &Path, origin: Origin) -> Checked {
    let manifest_text = match manifest_text(path) {
        Ok(text) => text,
        Err(problem) => {
            let diagnostics = vec![in_manifest(path, problem)];
            return Checked { manifest: Manifest::default(), package: None, diagnostics };
        }
    };
    let (manifest, mut diagnostics) = manifest::read(&manifest_text);
    // Of a file that is no TOML nothing more can be said.
    let readable = !diagnostics.iter().any(|d| matches!(d.code.as_str(), "not-toml" | "too-large"));
    let mut loaded = None;
    if readable {
        let (found, problems) = load(path, origin, &manifest, &manifest_text);
        diagnostics.extend(problems);
        if let (Some(found), Some(Code::Component(_))) = (&found, manifest.code()) {
            diagnostics.extend(conformance::check(&found.code, &manifest));
        }
        loaded = found;
    }
    let whole = !diagnostics.iter().any(|d| d.severity == Severity::Error);
    let package = loaded.filter(|_| whole).map(|loaded| {
        (Package { manifest: manifest.clone(), origin, path: path.to_path_buf(), manifest_text }, loaded)
    });
    let diagnostics = diagnostics.into_iter().map(|d| in_manifest(path, d)).collect();
    Checked { manifest, package, diagnostics }
}

/// One `.wasm` file out of a manifest, the code it names and a README.
pub fn pack(manifest_text: &str, manifest: &Manifest, code: &[u8], readme: Option<&str>) -> Vec<u8> {
    let section = |bytes: &mut Vec<u8>, name: &str, data: &[u8]| {
        CustomSection { name: name.into(), data: data.into() }.append_to_component(bytes);
    };
    let mut bytes = match manifest.code() {
        Some(Code::Script(_)) => {
            let mut bytes = wasm_encoder::Component::new().finish();
            section(&mut bytes, SECTION_SCRIPT, code);
            bytes
        }
        _ => code.to_vec(),
    };
    section(&mut bytes, SECTION_MANIFEST, manifest_text.as_bytes());
    if let Some(readme) = readme {
        section(&mut bytes, SECTION_README, readme.as_bytes());
    }
    bytes
}

/// Whether a path is the file form's.
pub fn is_packed(path: &Path) -> bool {
    path.extension().is_some_and(|e| e == "wasm")
}

/// Where the signature of a package at this path lies.
pub fn signature_path(path: &Path) -> PathBuf {
    if is_packed(path) {
        let mut name = path.as_os_str().to_owned();
        name.push(".minisig");
        PathBuf::from(name)
    } else {
        path.join("plugin.minisig")
    }
}

/// `sha256:<hex>`.
pub fn sha256(bytes: &[u8]) -> String {
    format!("sha256:{}", hex::encode(Sha256::digest(bytes)))
}

/// The digest of a package, the same for both forms.
pub fn digest(manifest_text: &str, code: &[u8]) -> String {
    sha256(format!("probity package\n{}\n{}\n", sha256(manifest_text.as_bytes()), sha256(code)).as_bytes())
}

/// The parts of the file form.
struct Parts<'b> {
    manifest: &'b [u8],
    readme: Option<&'b [u8]>,
    script: Option<&'b [u8]>,
    /// The bytes before our sections.
    component: &'b [u8],
}

fn parts(bytes: &[u8]) -> Result<Parts<'_>, Diagnostic> {
    let error = |code: &str, message: String| Diagnostic::error(code, "$", message);
    if !bytes.starts_with(b"\0asm") {
        return Err(error("not-wasm", "the file is not WASM".into())
            .expected("a plugin packed by `probity plugin build --pack`"));
    }
    let sections = conformance::custom_sections(bytes);
    let ours: Vec<&(String, &[u8])> = sections.iter().filter(|(name, _)| name.starts_with("probity:")).collect();
    let one = |wanted: &str| {
        let mut found = ours.iter().filter(|(name, _)| name == wanted).map(|(_, data)| *data);
        let first = found.next();
        match found.next() {
            Some(_) => Err(error("repeated-section", format!("the file has more than one section \"{wanted}\""))),
            None => Ok(first),
        }
    };
    let Some(manifest) = one(SECTION_MANIFEST)? else {
        return Err(error("no-manifest", "the file has no manifest inside".into())
            .hint("put it beside its plugin.toml, or pack both with `probity plugin build --pack`"));
    };
    let (readme, script) = (one(SECTION_README)?, one(SECTION_SCRIPT)?);
    Ok(Parts { manifest, readme, script, component: &bytes[..code_length(bytes)] })
}

/// Where our sections begin. They stand at the end, so that the code is what comes before.
fn code_length(bytes: &[u8]) -> usize {
    let mut start = 8.min(bytes.len());
    let mut depth = 0usize;
    for payload in wasmparser::Parser::new(0).parse_all(bytes).map_while(Result::ok) {
        use wasmparser::Payload;
        match &payload {
            Payload::ModuleSection { .. } | Payload::ComponentSection { .. } => depth += 1,
            Payload::End(_) => depth = depth.saturating_sub(1),
            _ => {}
        }
        match payload {
            Payload::CustomSection(section) if depth == 0 && section.name().starts_with("probity:") => return start,
            Payload::End(offset) => start = start.max(offset),
            other => {
                if let Some((_, range)) = other.as_section() {
                    start = start.max(range.end);
                }
            }
        }
    }
    bytes.len()
}

fn manifest_text(path: &Path) -> Result<String, Diagnostic> {
    if is_packed(path) {
        let bytes = read_file(path, conformance::COMPONENT_BYTES_MAX * 2)?;
        return text(parts(&bytes)?.manifest, "the manifest").map(str::to_string);
    }
    let file = path.join(manifest::FILE);
    if !file.is_file() {
        let problem = Diagnostic::error("no-manifest", "$", "there is no such file");
        return Err(problem.hint("a plugin is a folder with a plugin.toml, or a .wasm file with one inside"));
    }
    let bytes = read_file(&file, manifest::MANIFEST_BYTES_MAX * 4)?;
    text(&bytes, "the manifest").map(str::to_string)
}

fn text<'b>(bytes: &'b [u8], what: &str) -> Result<&'b str, Diagnostic> {
    std::str::from_utf8(bytes)
        .map_err(|e| Diagnostic::error("not-text", "$", format!("{what} is not UTF-8 text (byte {})", e.valid_up_to())))
}

fn read_file(path: &Path, bytes_max: usize) -> Result<Vec<u8>, Diagnostic> {
    let size = std::fs::metadata(path).map(|m| m.len()).unwrap_or(0);
    if size > bytes_max as u64 {
        let message = format!("{} has {size} bytes", path.display());
        return Err(Diagnostic::error("too-large", "$", message).expected(format!("at most {bytes_max} bytes")));
    }
    std::fs::read(path).map_err(|e| Diagnostic::error("unreadable", "$", format!("cannot read it: {e}")))
}

/// The code and what belongs to it; with problems of files, digest and script.
fn load(path: &Path, origin: Origin, manifest: &Manifest, manifest_text: &str) -> (Option<Loaded>, Vec<Diagnostic>) {
    let contents = if is_packed(path) { packed(path, manifest, manifest_text) } else { unpacked(path, manifest) };
    let (code, readme, signed) = match contents {
        Ok(Some((code, readme, signed))) => (code, readme, signed.unwrap_or_else(|| manifest_text.into())),
        Ok(None) => return (None, Vec::new()),
        Err(problem) => return (None, vec![problem]),
    };
    let code_digest = sha256(&code);
    // What is being worked on is newer than the digest noted by its last build.
    let held = origin != Origin::Development;
    let mut problems: Vec<Diagnostic> = held.then(|| mismatch(manifest, &code_digest)).flatten().into_iter().collect();
    if let Some(Code::Script(_)) = manifest.code() {
        problems.extend(script(&code));
    }
    let signature = std::fs::read_to_string(signature_path(path)).ok();
    let digest = digest(manifest_text, &code);
    (Some(Loaded { code, code_digest, digest, readme, signed, signature }), problems)
}

type Contents = Option<(Vec<u8>, Option<String>, Option<Vec<u8>>)>;

fn packed(path: &Path, manifest: &Manifest, manifest_text: &str) -> Result<Contents, Diagnostic> {
    let bytes = read_file(path, conformance::COMPONENT_BYTES_MAX * 2)?;
    let parts = parts(&bytes)?;
    if parts.manifest != manifest_text.as_bytes() {
        return Err(Diagnostic::error("changed", "$", "the file changed while it was read").hint("try again"));
    }
    let code = match (manifest.code(), parts.script) {
        (Some(Code::Script(_)), Some(script)) => script.to_vec(),
        (Some(Code::Script(name)), None) => {
            let message = format!("the file has no section \"{SECTION_SCRIPT}\" with {name}");
            return Err(Diagnostic::error("missing-file", "$.script", message));
        }
        (Some(Code::Component(_)), _) => parts.component.to_vec(),
        (None, _) => return Ok(None),
    };
    let readme = parts.readme.map(|r| String::from_utf8_lossy(r).into_owned());
    Ok(Some((code, readme, Some(bytes))))
}

fn unpacked(folder: &Path, manifest: &Manifest) -> Result<Contents, Diagnostic> {
    let (key, name, bytes_max) = match manifest.code() {
        Some(Code::Component(name)) => ("component", name, conformance::COMPONENT_BYTES_MAX + 1),
        Some(Code::Script(name)) => ("script", name, SCRIPT_BYTES_MAX + 1),
        None => return Ok(None),
    };
    let file = folder.join(name);
    if !file.is_file() {
        let problem = Diagnostic::error("missing-file", format!("$.{key}"), format!("there is no file \"{name}\""));
        return Err(match near_file(folder, name) {
            Some(near) => problem.hint(format!("did you mean \"{near}\"?")),
            None if manifest.build.is_some() => problem.hint("`probity plugin build` makes it"),
            None => problem,
        });
    }
    let code = read_file(&file, bytes_max).map_err(|d| Diagnostic { path: format!("$.{key}"), ..d })?;
    let readme = std::fs::read_to_string(folder.join("README.md")).ok().filter(|r| r.len() <= README_BYTES_MAX);
    Ok(Some((code, readme, None)))
}

/// A file of the same ending whose name is a slip away.
fn near_file(folder: &Path, name: &str) -> Option<String> {
    let ending = Path::new(name).extension()?;
    let mut names: Vec<String> = std::fs::read_dir(folder)
        .ok()?
        .filter_map(|e| e.ok()?.file_name().into_string().ok())
        .filter(|n| Path::new(n).extension() == Some(ending))
        .collect();
    names.sort();
    crate::model::diagnostic::closest(name, names.iter().map(String::as_str)).map(str::to_string)
}

fn mismatch(manifest: &Manifest, code_digest: &str) -> Option<Diagnostic> {
    let wanted = manifest.digest.as_ref().filter(|d| *d != code_digest)?;
    let what = if manifest.script.is_some() { "script" } else { "component" };
    let problem = Diagnostic::error("digest-mismatch", "$.digest", format!("the {what} has {code_digest}"));
    Some(
        problem.expected(wanted.clone()).hint(
            "if you built it anew, `probity plugin build` writes the digest; if not, it was changed: do not run it",
        ),
    )
}

fn script(code: &[u8]) -> Option<Diagnostic> {
    let error = |code: &str, message: &str| Diagnostic::error(code, "$.script", message);
    if code.len() > SCRIPT_BYTES_MAX {
        return Some(
            error("too-large", &format!("the script has {} bytes", code.len()))
                .expected(format!("at most {SCRIPT_BYTES_MAX} bytes")),
        );
    }
    match std::str::from_utf8(code) {
        Err(e) => Some(error("not-text", &format!("the script is not UTF-8 text (byte {})", e.valid_up_to()))),
        Ok(text) if text.trim().is_empty() => Some(error("empty", "the script is empty")),
        Ok(_) => None,
    }
}

/// The file that a diagnostic is about.
fn in_manifest(path: &Path, diagnostic: Diagnostic) -> Diagnostic {
    let file = if is_packed(path) { path.to_path_buf() } else { path.join(manifest::FILE) };
    diagnostic.in_file(file.display().to_string())
}
