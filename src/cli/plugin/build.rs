//! `probity plugin build`: runs a plugin's build, makes a component of what it left, notes the digest, packs.

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use clap::Args;

use super::{failed, not_so, print, reported};
use crate::model::Diagnostic;
use crate::plugin::manifest::{self, Code, FILE, Manifest};
use crate::plugin::{component, package};

#[derive(Args)]
pub(super) struct BuildArgs {
    /// The plugin's folder
    #[arg(default_value = ".")]
    path: PathBuf,
    /// Also pack the plugin into one .wasm file: FILE, or NAME-VERSION.wasm in its folder
    #[arg(long, value_name = "FILE", num_args = 0..=1)]
    pack: Option<Option<PathBuf>>,
}

pub(super) fn build(args: &BuildArgs) -> Result<ExitCode, ExitCode> {
    let folder = &args.path;
    let built = make(folder)?;
    let code = built.code.display();
    print(&format!("built {} {}: {code}, {} bytes\n", built.manifest.name, built.manifest.version, built.bytes));
    let checked = package::check(folder, package::Origin::Development);
    reported(&checked.diagnostics)?;
    let Some((_, loaded)) = checked.package else { return Err(ExitCode::from(1)) };
    if let Some(file) = &args.pack {
        let default = folder.join(format!("{}-{}.wasm", built.manifest.name, built.manifest.version));
        let file = file.as_ref().unwrap_or(&default);
        let text = std::fs::read_to_string(folder.join(FILE)).map_err(failed(&folder.join(FILE)))?;
        let packed = package::pack(&text, &checked.manifest, &loaded.code, loaded.readme.as_deref());
        std::fs::write(file, &packed).map_err(failed(file))?;
        print(&format!("packed {}, {} bytes, {}\n", file.display(), packed.len(), package::sha256(&packed)));
    }
    Ok(ExitCode::SUCCESS)
}

/// What a build left.
pub(super) struct Built {
    pub manifest: Manifest,
    pub code: PathBuf,
    pub bytes: usize,
}

/// Builds in a folder; the build's own output goes to the terminal.
pub(super) fn make(folder: &Path) -> Result<Built, ExitCode> {
    let file = folder.join(FILE);
    let text = std::fs::read_to_string(&file).map_err(failed(&file))?;
    let in_file = |problems: Vec<Diagnostic>| -> Vec<Diagnostic> {
        problems.into_iter().map(|d| d.in_file(file.display().to_string())).collect()
    };
    let (manifest, _) = manifest::parse(&text).map_err(|problems| match reported(&in_file(problems)) {
        Err(code) => code,
        Ok(()) => ExitCode::from(1),
    })?;
    let made = match manifest.code() {
        Some(Code::Component(component)) => {
            run(folder, &manifest)?;
            encode(folder, &manifest, component)?
        }
        // A script needs no build, but may have one (a bundler, a compiler to JavaScript).
        Some(Code::Script(script)) => {
            run(folder, &manifest)?;
            let path = folder.join(script);
            let bytes = std::fs::read(&path).map_err(failed(&path))?;
            (path, bytes)
        }
        None => return Err(ExitCode::from(1)),
    };
    let (code, bytes) = made;
    let noted = with_digest(&text, &package::sha256(&bytes));
    if noted != text {
        replace(&file, noted.as_bytes())?;
    }
    Ok(Built { manifest, code, bytes: bytes.len() })
}

/// Runs the build's command in the plugin's folder.
fn run(folder: &Path, manifest: &Manifest) -> Result<(), ExitCode> {
    let Some(build) = &manifest.build else { return Ok(()) };
    let Some(command) = &build.command else { return Ok(()) };
    if let Some(problem) = missing_tool(&build.lang, command) {
        return Err(not_so(problem));
    }
    let mut shell = Command::new("sh");
    shell.arg("-c").arg(command).current_dir(folder);
    match shell.status() {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(not_so(format!("the build failed ({status}): {command}"))),
        Err(e) => Err(not_so(format!("cannot run the build: sh: {e}"))),
    }
}

/// Why a Rust build cannot work here, told before the compiler tells it in its own words.
fn missing_tool(lang: &str, command: &str) -> Option<String> {
    if lang != "rust" || !command.contains("cargo") {
        return None;
    }
    let words: Vec<&str> = command.split_whitespace().collect();
    let target = words.iter().position(|w| *w == "--target").and_then(|i| words.get(i + 1)).copied()?;
    // The word may be a shell's, as in the templates: ${PROBITY_WASM_TARGET:=wasm32-wasip2}.
    if !target.chars().all(|c| c.is_ascii_alphanumeric() || "-_${}:=".contains(c)) {
        return None;
    }
    let target = said(&format!("printf %s \"{target}\""))?;
    let Some(sysroot) = said("\"${RUSTC:-rustc}\" --print sysroot") else {
        return Some("there is no Rust compiler; install it from https://rustup.rs".into());
    };
    let library = Path::new(&sysroot).join("lib/rustlib").join(&target).join("lib");
    let has_std = std::fs::read_dir(library)
        .is_ok_and(|mut d| d.any(|e| e.is_ok_and(|e| e.file_name().to_string_lossy().starts_with("libstd"))));
    (!has_std).then(|| format!("the Rust compiler cannot build for {target}; run: rustup target add {target}"))
}

/// What a shell command prints; nothing when it fails.
fn said(command: &str) -> Option<String> {
    let output = Command::new("sh").arg("-c").arg(command).output().ok()?;
    let text = String::from_utf8_lossy(&output.stdout).trim().to_string();
    (output.status.success() && !text.is_empty()).then_some(text)
}

/// The component of what the build left, written where the manifest says.
fn encode(folder: &Path, manifest: &Manifest, component: &str) -> Result<(PathBuf, Vec<u8>), ExitCode> {
    let target = folder.join(component);
    let artifact = manifest.build.as_ref().and_then(|b| b.artifact.as_ref()).map(|a| folder.join(a));
    let from = artifact.unwrap_or_else(|| target.clone());
    let bytes = std::fs::read(&from).map_err(|e| {
        not_so(format!("{}: {e}; the build should have left it ([build] artifact in {FILE})", from.display()))
    })?;
    let made = component::of(&bytes).map_err(|problem| not_so(format!("{}: {problem}", from.display())))?.into_owned();
    if from != target || made != bytes {
        let folder = target.parent().unwrap_or(Path::new("."));
        std::fs::create_dir_all(folder).map_err(failed(folder))?;
        replace(&target, &made)?;
    }
    Ok((target, made))
}

/// Writes beside and renames: a server that looks meanwhile sees the old file or the new one.
fn replace(file: &Path, content: &[u8]) -> Result<(), ExitCode> {
    let mut name = file.file_name().unwrap_or_default().to_owned();
    name.push(".part");
    let beside = file.with_file_name(name);
    std::fs::write(&beside, content).and_then(|()| std::fs::rename(&beside, file)).map_err(failed(file))
}

/// The manifest's text with this digest, all else left as its author wrote it.
fn with_digest(text: &str, digest: &str) -> String {
    let line = format!("digest = \"{digest}\"");
    let mut lines: Vec<&str> = text.lines().collect();
    let top = lines.iter().position(|l| l.trim_start().starts_with('[')).unwrap_or(lines.len());
    let key = |l: &str| l.split_once('=').map(|(key, _)| key.trim().to_string()).unwrap_or_default();
    match lines[..top].iter().position(|l| key(l) == "digest") {
        Some(at) => lines[at] = &line,
        None => {
            let after = lines[..top].iter().position(|l| matches!(key(l).as_str(), "component" | "script"));
            lines.insert(after.map_or(top, |at| at + 1), &line);
        }
    }
    lines.join("\n") + "\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_digest_is_noted_and_the_rest_left_alone() {
        let text = "# mine\nname = \"x\"\ncomponent = \"x.wasm\" # here\n\n[limits]\ncall_ms_max = 5\n";
        let noted = with_digest(text, "sha256:1");
        assert_eq!(
            noted,
            "# mine\nname = \"x\"\ncomponent = \"x.wasm\" # here\ndigest = \"sha256:1\"\n\n[limits]\ncall_ms_max = 5\n"
        );
        assert_eq!(with_digest(&noted, "sha256:2"), noted.replace("sha256:1", "sha256:2"));
        assert_eq!(with_digest("script = \"x.js\"", "sha256:1"), "script = \"x.js\"\ndigest = \"sha256:1\"\n");
    }
}
