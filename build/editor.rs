//! Embeds Node-RED's own editor: the files of two npm packages (Apache-2.0), pinned by version and hash, each file
//! compressed as browsers take it. They are looked for in the target folder and fetched with curl or wget when they are
//! not there. Without network, or with `NODE_RED_EDITOR=off`, the build goes on without an editor and says so.

use std::fmt::Write as _;
use std::io::{Read, Write as _};
use std::path::{Path, PathBuf};
use std::process::Command;

use flate2::Compression;
use flate2::read::GzDecoder;
use flate2::write::GzEncoder;
use sha2::{Digest, Sha512};

/// A package of npm's scope `@node-red`.
struct Package {
    name: &'static str,
    version: &'static str,
    /// SHA-512 of its archive, as npm's `dist.integrity` has it, in hexadecimal.
    sha512: &'static str,
    /// Which of its files an editor is served.
    wanted: fn(&str) -> bool,
}

const PACKAGES: &[Package] = &[
    Package {
        name: "editor-client",
        version: "5.0.7",
        sha512: "6ef80e197bc0ac2c53781e373f5f16bbc51901cdea5ca3c0aebf376bc046ec5daf71715b6056f0ea76def44bb3f6e58454010faf3ddc3eb1a9f31542652c94c2",
        // The readable sources are for those who change the editor.
        wanted: |path| !matches!(path, "public/red/main.js" | "public/red/red.js" | "index.js" | "README.md"),
    },
    Package {
        name: "nodes",
        version: "5.0.7",
        sha512: "54179b15df23060f04ef081ad6da967ad4f1f88bfd49f9c509cfc8938fdc722ebcdbb58895bad92d5c2a99cdbbf081a666d8bbad07aef4b0a8f428d5cc1b2b5b",
        // What a node does is ours; what it looks like, says and offers is theirs.
        wanted: |path| {
            let code = path.ends_with(".js") && !path.starts_with("core/common/lib/debug/");
            !code && !path.contains("99-sample") && path != "README.md"
        },
    },
];

/// Writes `editor.index` (a line `path\toffset\tcompressed length\tlength` for each file, sorted by path) and
/// `editor.blob` (the compressed files) into `out`; both are empty when there is no editor.
pub fn embed(out: &Path) {
    for name in ["NODE_RED_EDITOR", "NPM_CONFIG_REGISTRY", "CARGO_NET_OFFLINE"] {
        println!("cargo::rerun-if-env-changed={name}");
    }
    println!("cargo::rerun-if-changed=build/editor.rs");
    let (index, blob) = match archives(out).and_then(|archives| pack(&archives)) {
        Ok(packed) => packed,
        Err(reason) => {
            println!("cargo::warning=this build has no flow editor: {reason}");
            // Tried again at the next build.
            println!("cargo::rerun-if-changed={}", out.join("there is no such file").display());
            (String::new(), Vec::new())
        }
    };
    std::fs::write(out.join("editor.index"), index).expect("cargo's folder can be written");
    std::fs::write(out.join("editor.blob"), blob).expect("cargo's folder can be written");
    let version = PACKAGES[0].version;
    println!("cargo::rustc-env=NODE_RED_EDITOR_VERSION={version}");
}

/// The bytes of each package's archive, checked.
fn archives(out: &Path) -> Result<Vec<Vec<u8>>, String> {
    if var("NODE_RED_EDITOR").as_deref() == Some("off") {
        return Err("NODE_RED_EDITOR=off".to_string());
    }
    // target/debug/build/probity-…/out
    let target = out.ancestors().nth(4).ok_or("cargo's folders are not where they are expected")?;
    let folder = target.join("editor");
    std::fs::create_dir_all(&folder).map_err(|e| format!("{}: {e}", folder.display()))?;
    PACKAGES.iter().map(|package| archive(package, &folder)).collect()
}

fn archive(package: &Package, folder: &Path) -> Result<Vec<u8>, String> {
    let file = folder.join(format!("{}-{}.tgz", package.name, package.version));
    if let Some(bytes) = checked(package, &file) {
        return Ok(bytes);
    }
    if var("CARGO_NET_OFFLINE").as_deref() == Some("true") {
        return Err(format!("{} is not there and cargo is offline", file.display()));
    }
    let registry = var("NPM_CONFIG_REGISTRY").unwrap_or_else(|| "https://registry.npmjs.org".to_string());
    let (name, version) = (package.name, package.version);
    let url = format!("{}/@node-red/{name}/-/{name}-{version}.tgz", registry.trim_end_matches('/'));
    let partial = folder.join(format!("{name}-{version}.{}.part", std::process::id()));
    let fetched = fetch(&url, &partial);
    if fetched.is_ok() {
        std::fs::rename(&partial, &file).map_err(|e| format!("{}: {e}", file.display()))?;
    }
    // What a failed attempt left is of no use, and nothing may be there at all.
    drop(std::fs::remove_file(&partial));
    fetched?;
    checked(package, &file).ok_or(format!("what {url} gave has not the hash that is pinned in build/editor.rs"))
}

fn checked(package: &Package, file: &Path) -> Option<Vec<u8>> {
    let bytes = std::fs::read(file).ok()?;
    let hash = Sha512::digest(&bytes).iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").expect("a string takes all");
        text
    });
    (hash == package.sha512).then_some(bytes)
}

fn fetch(url: &str, to: &Path) -> Result<(), String> {
    let curl = ["--fail", "--silent", "--show-error", "--location", "--retry", "2", "--max-time", "120", "--output"];
    let wget = ["--quiet", "--tries=3", "--timeout=60", "-O"];
    let mut reasons = Vec::new();
    for (program, arguments) in [("curl", &curl[..]), ("wget", &wget[..])] {
        match Command::new(program).args(arguments).arg(to).arg(url).output() {
            Ok(output) if output.status.success() => return Ok(()),
            Ok(output) => reasons.push(format!("{program}: {}", String::from_utf8_lossy(&output.stderr).trim())),
            Err(error) => reasons.push(format!("{program}: {error}")),
        }
    }
    let hint = "with network it comes with the next build; or put the archive of npm into target/editor";
    Err(format!("{url} could not be fetched ({}); {hint}", reasons.join("; ")))
}

fn pack(archives: &[Vec<u8>]) -> Result<(String, Vec<u8>), String> {
    let mut files: Vec<(String, Vec<u8>)> = Vec::new();
    for (package, archive) in PACKAGES.iter().zip(archives) {
        unpack(package, archive, &mut files).map_err(|e| format!("@node-red/{}: {e}", package.name))?;
    }
    files.sort();
    let (mut index, mut blob) = (String::new(), Vec::new());
    for (path, bytes) in files {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::new(7));
        let compressed = encoder.write_all(&bytes).and_then(|()| encoder.finish()).map_err(|e| e.to_string())?;
        writeln!(index, "{path}\t{}\t{}\t{}", blob.len(), compressed.len(), bytes.len()).expect("a string takes all");
        blob.extend(compressed);
    }
    Ok((index, blob))
}

fn unpack(package: &Package, archive: &[u8], files: &mut Vec<(String, Vec<u8>)>) -> std::io::Result<()> {
    for entry in tar::Archive::new(GzDecoder::new(archive)).entries()? {
        let mut entry = entry?;
        let path: PathBuf = entry.path()?.into_owned();
        let Some(path) = path.to_str().and_then(|path| path.strip_prefix("package/")) else { continue };
        if entry.header().entry_type().is_file() && (package.wanted)(path) {
            let mut bytes = Vec::new();
            entry.read_to_end(&mut bytes)?;
            files.push((format!("{}/{path}", package.name), bytes));
        }
    }
    Ok(())
}

#[expect(clippy::disallowed_methods, reason = "cargo speaks to build scripts through the environment")]
fn var(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}
