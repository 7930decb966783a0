//! `probity plugin dev`: on every save build, check, test, and swap the plugin into a running server.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, SystemTime};

use clap::Args;

use super::{Settings, build, check, failed, print, testing, usage};
use crate::app;
use crate::cli::runtime;
use crate::clock::Clock;
use crate::config::Config;
use crate::plugin::manifest::FILE;

#[derive(Args)]
pub(super) struct DevArgs {
    /// The plugin's folder
    #[arg(default_value = ".")]
    path: PathBuf,
    /// Address and port of the server that runs its example flow [default: 127.0.0.1:1880] [env: PROBITY_LISTEN]
    #[arg(long, value_name = "ADDR")]
    listen: Option<String>,
    /// The flow it runs [default: flow.json, example.json or flows in the plugin's folder]
    #[arg(long, value_name = "FILE|DIR")]
    flow: Option<PathBuf>,
}

/// How often the folder is looked at, by us and by the server.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// Folder in the plugin's folder for what `plugin dev` keeps.
const OWN: &str = ".probity";

/// Folders that hold what builds leave.
const NOT_SOURCES: &[&str] = &["target", "dist", "node_modules", "__pycache__"];

pub(super) fn dev(args: &DevArgs) -> Result<ExitCode, ExitCode> {
    let folder = &args.path;
    if !folder.join(FILE).is_file() {
        let problem = format!("{} has no plugin.toml; `probity plugin new` writes one", folder.display());
        return Err(usage(&problem));
    }
    // Its being there makes tests and checks keep compiled code where the server does: compiled once for all.
    std::fs::create_dir_all(folder.join(OWN)).map_err(failed(folder))?;
    let listening = server(args)?;
    if let Some(config) = &listening {
        crate::cli::log::start(config, false);
    }
    // Looked at before the first round: what is saved during it is built next.
    let seen = Sources::of(folder);
    once(folder);
    runtime().block_on(async {
        let watching = tokio::spawn(watch(folder.clone(), seen));
        let done = match listening {
            Some(config) => app::serve(config, crate::cli::serve::terminated()).await,
            None => {
                crate::cli::serve::terminated().await;
                Ok(())
            }
        };
        watching.abort();
        match done {
            Ok(()) => Ok(ExitCode::SUCCESS),
            Err(error) => Err(usage(&format!("{error:#}"))),
        }
    })
}

/// Builds and tests whenever a source is not what it was. What is saved during a build is built next.
async fn watch(folder: PathBuf, mut seen: Sources) {
    let clock = Clock::System;
    loop {
        clock.sleep(LOOK_EVERY).await;
        let now = Sources::of(&folder);
        if now == seen {
            continue;
        }
        seen = now;
        let path = folder.clone();
        if tokio::task::spawn_blocking(move || once(&path)).await.is_err() {
            eprintln!("error: the build broke off");
        }
    }
}

/// Where tests and checks of a plugin keep compiled code: beside the server's of `plugin dev` if that ran here.
pub(super) fn code_dir(folder: &Path) -> Option<PathBuf> {
    let own = folder.join(OWN);
    own.is_dir().then(|| app::plugins::code_dir(&own))
}

/// One round: build, check, test. A running server takes what was built by itself.
fn once(folder: &Path) {
    let clock = Clock::System;
    let began = clock.now();
    print("\n");
    let Ok(built) = build::make(folder) else { return };
    let problems = check::check_path(folder);
    for problem in &problems {
        eprintln!("{problem}");
    }
    let took = clock.now().duration_since(began).as_millis();
    print(&format!("built {} in {took} ms\n", built.manifest.title()));
    if let Ok(bench) = testing::Bench::new(folder)
        && let Ok((passed, failed)) = bench.run(None)
        && passed + failed > 0
    {
        print(&format!("{passed} passed, {failed} failed\n"));
    }
}

/// The configuration of the server that runs the example flow; none without one.
fn server(args: &DevArgs) -> Result<Option<Config>, ExitCode> {
    let folder = &args.path;
    let found =
        || ["flow.json", "example.json", "flows"].map(|name| folder.join(name)).into_iter().find(|p| p.exists());
    let Some(flow) = args.flow.clone().or_else(found) else {
        print("there is no flow.json to run; only building and testing\n");
        return Ok(None);
    };
    let settings = Settings {
        listen: args.listen.clone(),
        data_dir: Some(folder.join(OWN)),
        flows: Some(flow),
        database_url: Some("memory:".into()),
        plugins_dir: Some(folder.clone()),
        ..Settings::default()
    };
    let mut config = settings.load()?;
    config.plugins.development = true;
    config.plugins.watch_ms = LOOK_EVERY.as_millis() as u64;
    Ok(Some(config))
}

/// What is watched, and how it was.
#[derive(PartialEq)]
struct Sources {
    files: BTreeMap<PathBuf, (Option<SystemTime>, u64)>,
    /// The manifest without its digest, which the build writes.
    manifest: String,
}

impl Sources {
    fn of(folder: &Path) -> Sources {
        let mut files = BTreeMap::new();
        gather(folder, &mut files);
        let text = std::fs::read_to_string(folder.join(FILE)).unwrap_or_default();
        let manifest = text.lines().filter(|l| !l.trim_start().starts_with("digest")).collect::<Vec<_>>().join("\n");
        Sources { files, manifest }
    }
}

fn gather(folder: &Path, files: &mut BTreeMap<PathBuf, (Option<SystemTime>, u64)>) {
    for path in std::fs::read_dir(folder).into_iter().flatten().flatten().map(|e| e.path()) {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let built = name.ends_with(".wasm")
            || name.ends_with(".part")
            || name.ends_with(".minisig")
            || name == "Cargo.lock"
            || name == FILE;
        if name.starts_with('.') || built || NOT_SOURCES.contains(&name.as_str()) {
            continue;
        }
        match path.metadata() {
            Ok(of) if of.is_dir() => gather(&path, files),
            Ok(of) => drop(files.insert(path, (of.modified().ok(), of.len()))),
            // Gone between two looks.
            Err(_) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_save_is_noticed_and_what_a_build_leaves_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| {
            let path = folder.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        };
        write(FILE, "name = \"x\"\n");
        write("src/lib.rs", "1");
        let before = Sources::of(folder.path());
        for (name, text) in [
            (FILE, "name = \"x\"\ndigest = \"sha256:1\"\n"),
            ("target/x.d", "1"),
            ("x.wasm", "1"),
            ("Cargo.lock", "1"),
            (".probity/db", "1"),
        ] {
            write(name, text);
            assert!(Sources::of(folder.path()) == before, "{name}");
        }
        write("src/lib.rs", "12");
        assert!(Sources::of(folder.path()) != before);
        let before = Sources::of(folder.path());
        write(FILE, "name = \"y\"\n");
        assert!(Sources::of(folder.path()) != before);
    }
}
