//! What `probity plugin new` writes builds, passes its own tests and has nothing to complain about, in every language.
//! Their example flows are asked by the tutorials.

use std::io::BufRead;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use super::rig;
use super::tutorials::toolchain;

#[test]
fn javascript() {
    if !root().join("plugins/dist/javascript/javascript.wasm").is_file() {
        return rig::skipped("the interpreter is not built; run plugins/build javascript").unwrap_or_default();
    }
    template("js", "", "4 passed, 0 failed", ("node.js", "// saved\n"));
}

#[test]
#[ignore = "needs a WASM target or plugins/toolchain; tests/all runs it"]
fn rust() {
    // Where plugins/build leaves its own, so that the SDK's dependencies are there.
    let target = root().join("plugins/target/guests");
    let env = format!(
        ". '{}'; export PROBITY_WASM_TARGET=wasm32-unknown-unknown CARGO_TARGET_DIR='{}'",
        toolchain(&["rust"]).display(),
        target.display()
    );
    template("rust", &env, "2 passed, 0 failed", ("src/lib.rs", "// saved\n"));
}

#[test]
#[ignore = "needs plugins/toolchain clang; tests/all runs it"]
fn c() {
    let env = format!(". '{}'; export WASI_SYSROOT=\"$PROBITY_WASI_SYSROOT\"", toolchain(&["clang"]).display());
    template("c", &env, "4 passed, 0 failed", ("node.c", "/* saved */\n"));
}

#[test]
#[ignore = "needs plugins/toolchain clang; tests/all runs it"]
fn what_the_c_sdk_offers_works() {
    let env = format!(". '{}'; export WASI_SYSROOT=\"$PROBITY_WASI_SYSROOT\"", toolchain(&["clang"]).display());
    let folder = tempfile::tempdir().unwrap();
    let made = folder.path().join("try-c");
    succeeds(folder.path(), &env, "plugin new --lang c try-c");
    // Its own sources and cases in place of the template's.
    for old in ["node.c", "tests/cases.yaml"] {
        std::fs::remove_file(made.join(old)).unwrap();
    }
    for below in ["", "tests"] {
        for entry in std::fs::read_dir(root().join("plugins/c/try").join(below)).unwrap() {
            let from = entry.unwrap().path();
            if from.is_file() {
                std::fs::copy(&from, made.join(below).join(from.file_name().unwrap())).unwrap();
            }
        }
    }
    succeeds(&made, &env, "plugin build");
    succeeds(&made, &env, "plugin check");
    assert!(succeeds(&made, &env, "plugin test").ends_with("8 passed, 0 failed\n"));
}

/// The template's node, and one that tries what the SDK offers, in one component: compiling it is what costs.
#[test]
#[ignore = "needs Python 3.11 and PyPI; tests/all runs it"]
fn python() {
    let folder = tempfile::tempdir().unwrap();
    succeeds(folder.path(), "", "plugin new --lang python check-links");
    let made = folder.path().join("check-links");
    let append = |file: &str, more: &str| {
        let text = std::fs::read_to_string(made.join(file)).unwrap();
        std::fs::write(made.join(file), text + more).unwrap();
    };
    let tried = |file: &str| std::fs::read_to_string(root().join("plugins/python/try").join(file)).unwrap();
    append("node.py", &tried("node.py"));
    let manifest = std::fs::read_to_string(made.join("plugin.toml")).unwrap();
    let listed =
        manifest.replace("nodes = [\"check-links\"]", "nodes = [\"check-links\", \"python-all\", \"python-fails\"]");
    assert_ne!(listed, manifest);
    std::fs::write(made.join("plugin.toml"), listed).unwrap();
    append("plugin.toml", &tried("capabilities.toml"));
    append("tests/cases.yaml", "node: check-links\n");
    for cases in ["all.yaml", "fails.yaml"] {
        std::fs::write(made.join("tests").join(cases), tried(cases)).unwrap();
    }
    // As the README says. The folder makes check and test keep compiled code, as beside `plugin dev`.
    let env = "mkdir -p .probity; [ -d .venv ] || { python3 -m venv .venv && .venv/bin/pip install --quiet -r requirements.txt; }";
    succeeds(&made, env, "plugin build");
    let checked = succeeds(&made, env, "plugin check");
    assert!(checked.ends_with("1 plugin checked: 0 errors, 0 warnings\n"), "{checked}");
    let tested = succeeds(&made, env, "plugin test");
    assert_eq!(tested.lines().last(), Some("6 passed, 0 failed"), "{tested}");
}

/// Writes a plugin in this language, builds, checks and tests it, and has `plugin dev` notice that `saved.1` is added
/// to the file `saved.0`.
fn template(lang: &str, env: &str, passed: &str, saved: (&str, &str)) {
    let folder = tempfile::tempdir().unwrap();
    succeeds(folder.path(), env, &format!("plugin new --lang {lang} check-links"));
    let made = folder.path().join("check-links");
    succeeds(&made, env, "plugin build");
    let checked = succeeds(&made, env, "plugin check");
    assert!(checked.ends_with("1 plugin checked: 0 errors, 0 warnings\n"), "{checked}");
    let tested = succeeds(&made, env, "plugin test");
    assert_eq!(tested.lines().last(), Some(passed), "{tested}");
    let flows = succeeds(&made, env, "plugin build --pack");
    assert!(flows.contains("packed ./check-links-0.1.0.wasm"), "{flows}");
    let took = developed(&made, env, passed, saved);
    // The bar of a second is for a machine that does nothing else; docs/plugins/costs.md has what was measured.
    eprintln!("{lang}: from a save to tested in {} ms", took.as_millis());
}

/// Longest time that `plugin dev` may take for a round on a busy machine.
const ROUND_MAX: Duration = Duration::from_secs(240);

/// Runs `plugin dev`, saves a file once the first round is over, and waits for the next one; how long that took.
fn developed(made: &Path, env: &str, passed: &str, (file, more): (&str, &str)) -> Duration {
    let line = format!("{env}\nexec '{}' plugin dev --listen 127.0.0.1:0", env!("CARGO_BIN_EXE_probity"));
    let mut shell = Command::new("sh");
    let shell = shell.args(["-ec", &line]).current_dir(made).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut child = shell.spawn().unwrap();
    let (sender, rounds) = mpsc::channel();
    let said = std::io::BufReader::new(child.stdout.take().unwrap());
    let reader = std::thread::spawn(move || {
        for line in said.lines().map_while(Result::ok).filter(|line| line.ends_with(" failed")) {
            if sender.send(line).is_err() {
                return;
            }
        }
    });
    let first = rounds.recv_timeout(ROUND_MAX);
    let path = made.join(file);
    let text = std::fs::read_to_string(&path).unwrap();
    let began = Instant::now();
    std::fs::write(&path, text + more).unwrap();
    let second = rounds.recv_timeout(ROUND_MAX);
    let took = began.elapsed();
    child.kill().unwrap();
    child.wait().unwrap();
    reader.join().unwrap();
    assert_eq!((first.as_deref(), second.as_deref()), (Ok(passed), Ok(passed)));
    took
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Runs `probity` in a folder after these shell commands; gives what it printed.
fn succeeds(folder: &Path, env: &str, arguments: &str) -> String {
    let line = format!("{env}\n'{}' {arguments}", env!("CARGO_BIN_EXE_probity"));
    let Output { status, stdout, stderr } =
        Command::new("sh").args(["-ec", &line]).current_dir(folder).output().unwrap();
    let printed = String::from_utf8_lossy(&stdout).into_owned();
    assert!(status.success(), "{arguments}: {printed}{}", String::from_utf8_lossy(&stderr));
    printed
}
