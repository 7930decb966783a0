//! `probity plugin install`: puts a package where `serve` finds it, after every check there is.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use clap::Args;
use http::Method;
use url::Url;

use super::{Where, failed, not_so, oci, print, reported, source, usage};
use crate::app;
use crate::cli::runtime;
use crate::config::Config;
use crate::net::{Net, NetRequest};
use crate::plugin::admission::Operator;
use crate::plugin::conformance::COMPONENT_BYTES_MAX;
use crate::plugin::discover::installed_dir;
use crate::plugin::manifest::{Code, FILE};
use crate::plugin::package::{self, Loaded, Origin, Package};

#[derive(Args)]
pub(super) struct InstallArgs {
    /// A packed .wasm file, a plugin's folder, an https:// URL, or a folder with an OCI image layout
    source: String,
    /// Which image of an OCI layout, by its name or digest
    #[arg(long = "ref", value_name = "NAME")]
    reference: Option<String>,
    /// What the file must be: sha256:… of its bytes, as `plugin build --pack` prints it
    #[arg(long, value_name = "DIGEST")]
    digest: Option<String>,
    #[command(flatten)]
    place: Where,
}

pub(super) fn install(args: &InstallArgs) -> Result<ExitCode, ExitCode> {
    let config = args.place.load()?;
    let operator = source::decided(&config)?;
    let installed = installed_dir(&config.data_dir);
    std::fs::create_dir_all(&installed).map_err(failed(&installed))?;
    // Beside its place to be, so that it gets there by a rename; the name's first character hides it from `serve`.
    let staging = Staging::new(&installed)?;
    let path = fetched(args, &config, &staging.0)?;
    let (package, loaded) = checked(args, &path)?;
    let (_, warning) = operator.trust.admit(&package, &loaded).map_err(not_so)?;
    if let Some(warning) = warning {
        eprintln!("warning: {warning}");
    }
    let place = put(&package, &installed, &staging.0)?;
    print(&format!("installed {}: {}\n", package.manifest.title(), place.display()));
    tell(&operator, &package, &loaded);
    Ok(ExitCode::SUCCESS)
}

/// A folder that is gone when this is.
struct Staging(PathBuf);

impl Staging {
    fn new(installed: &Path) -> Result<Staging, ExitCode> {
        let path = installed.join(format!(".new-{}", uuid::Uuid::new_v4().simple()));
        std::fs::create_dir(&path).map_err(failed(&path))?;
        Ok(Staging(path))
    }
}

impl Drop for Staging {
    fn drop(&mut self) {
        let _left_behind = std::fs::remove_dir_all(&self.0).is_err();
    }
}

/// Brings the package into the staging folder; only the files a package has are taken.
fn fetched(args: &InstallArgs, config: &Config, staging: &Path) -> Result<PathBuf, ExitCode> {
    let text = args.source.as_str();
    let file = staging.join("plugin.wasm");
    let path = Path::new(text);
    if text.starts_with("https://") || text.starts_with("http://") {
        let net = app::net(config).map_err(|e| usage(&format!("{e:#}")))?;
        download(args, &net, &file)?;
        return Ok(file);
    }
    if oci::is_layout(path) {
        let artifact = oci::read(path, args.reference.as_deref()).map_err(|e| not_so(format!("{text}: {e}")))?;
        write(&file, &artifact.wasm, artifact.signature.as_deref())?;
        return Ok(file);
    }
    if package::is_packed(path) {
        let (package, loaded) = source::at(path, Origin::Installed)?;
        debug_assert!(package.is_file());
        write(&file, &loaded.signed, loaded.signature.as_deref())?;
        return Ok(file);
    }
    if path.is_dir() {
        let (package, loaded) = source::at(path, Origin::Installed)?;
        let folder = staging.join("plugin");
        copy(&package, &loaded, &folder)?;
        return Ok(folder);
    }
    Err(usage(&format!("{text} is no .wasm file, no folder and no https:// URL")))
}

/// Over the network, or over loopback or with a known digest without TLS.
fn download(args: &InstallArgs, net: &Arc<Net>, file: &Path) -> Result<(), ExitCode> {
    let url = Url::parse(&args.source).map_err(|e| usage(&format!("{}: {e}", args.source)))?;
    let local = matches!(url.host_str(), Some("localhost" | "127.0.0.1" | "[::1]"));
    if url.scheme() == "http" && !local && args.digest.is_none() {
        return Err(usage("over http:// anyone on the way can change the file; use https://, or say its --digest"));
    }
    let mut beside = url.clone();
    beside.set_path(&format!("{}.minisig", url.path()));
    let get = |url: Url| {
        let mut request = NetRequest::new(Method::GET, url);
        request.response_bytes_max = Some(2 * COMPONENT_BYTES_MAX);
        request
    };
    runtime().block_on(async {
        let answer = net.request(get(url)).await.map_err(|e| not_so(format!("{}: {e}", args.source)))?;
        if answer.status != 200 {
            return Err(not_so(format!("{}: the server answered {}", args.source, answer.status)));
        }
        let signature = match net.request(get(beside)).await {
            Ok(answer) if answer.status == 200 => String::from_utf8(answer.body.to_vec()).ok(),
            _ => None,
        };
        write(file, &answer.body, signature.as_deref())
    })
}

fn write(file: &Path, wasm: &[u8], signature: Option<&str>) -> Result<(), ExitCode> {
    std::fs::write(file, wasm).map_err(failed(file))?;
    match signature {
        Some(signature) => {
            let beside = file.with_extension("wasm.minisig");
            std::fs::write(&beside, signature).map_err(failed(&beside))
        }
        None => Ok(()),
    }
}

/// A folder's manifest, code, README and signature.
fn copy(package: &Package, loaded: &Loaded, folder: &Path) -> Result<(), ExitCode> {
    let Some(Code::Component(code) | Code::Script(code)) = package.manifest.code() else {
        return Err(ExitCode::from(1));
    };
    let put = |name: &str, bytes: &[u8]| {
        let path = folder.join(name);
        let parent = path.parent().unwrap_or(folder);
        std::fs::create_dir_all(parent).and_then(|()| std::fs::write(&path, bytes)).map_err(failed(&path))
    };
    put(FILE, package.manifest_text.as_bytes())?;
    put(code, &loaded.code)?;
    if let Some(readme) = &loaded.readme {
        put("README.md", readme.as_bytes())?;
    }
    match &loaded.signature {
        Some(signature) => put("plugin.minisig", signature.as_bytes()),
        None => Ok(()),
    }
}

/// What was fetched, whole and as it was announced.
fn checked(args: &InstallArgs, path: &Path) -> Result<(Package, Loaded), ExitCode> {
    let checked = package::check(path, Origin::Installed);
    reported(&checked.diagnostics)?;
    let Some((package, loaded)) = checked.package else { return Err(ExitCode::from(1)) };
    let found = if package.is_file() { package::sha256(&loaded.signed) } else { loaded.digest.clone() };
    match &args.digest {
        Some(wanted) if *wanted != found => {
            Err(not_so(format!("{} is {found}, not {wanted}; it is not installed", args.source)))
        }
        _ => Ok((package, loaded)),
    }
}

/// Moves the package to its place. What was there under its name is replaced.
fn put(package: &Package, installed: &Path, staging: &Path) -> Result<PathBuf, ExitCode> {
    let name = &package.manifest.name;
    let (file, folder) = (installed.join(format!("{name}.wasm")), installed.join(name));
    let signature = package::signature_path(&file);
    let place = if package.is_file() { &file } else { &folder };
    let aside = staging.join("replaced");
    std::fs::create_dir(&aside).map_err(failed(&aside))?;
    if let Ok(before) = Package::open(if folder.is_dir() { &folder } else { &file }, Origin::Installed) {
        print(&format!("replaces {}\n", before.manifest.title()));
    }
    for old in [&file, &folder, &signature] {
        if old.exists() {
            let name = old.file_name().unwrap_or_default();
            std::fs::rename(old, aside.join(name)).map_err(failed(old))?;
        }
    }
    if package.is_file() && package.signature_path().exists() {
        std::fs::rename(package.signature_path(), &signature).map_err(failed(&signature))?;
    }
    std::fs::rename(&package.path, place).map_err(failed(place))?;
    Ok(place.clone())
}

/// What it asks for, and how to allow it.
fn tell(operator: &Operator, package: &Package, loaded: &Loaded) {
    for request in &package.manifest.capabilities {
        print(&format!("  asks for {}: {}\n", request.name, request.reason));
    }
    for line in operator.missing(package, loaded) {
        print(&format!("  {line}\n"));
    }
}
