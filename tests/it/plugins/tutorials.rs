//! The tutorials of `docs/plugins`, run word for word as a reader would: in an empty folder and a home of its own, with
//! nothing in the PATH but a shell's usual commands and the tools the page names.
//!
//! Of a page the section `## Five minutes…` is run. Every `sh` block goes into one shell, in order. A block after
//! "Write into `FILE`:" or "… into `FILE`:" is that file. What is shown after an `sh` block must come: JSON as its
//! value, text line by line, `…` for anything. A question to the server (`curl`) is asked again until the answer has
//! come that is shown, for a minute: a reader waits for what `dev` says.
//!
//! Ignored in a plain `cargo test`, because they need compilers, registries and port 1880; `tests/all` runs them.

use std::io::{BufRead, BufReader, Lines, Write};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

/// What a tutorial may cost from its first line to its last.
const MACHINE_TIME_MAX: Duration = Duration::from_secs(300);
/// How long a question is asked again.
const ANSWER_AFTER_MAX: Duration = Duration::from_secs(60);

/// Commands of any machine.
const USUAL: &[&str] = &["sh", "cat", "cp", "curl", "ls", "mkdir", "rm"];

#[test]
#[ignore = "needs Rust, a registry and port 1880; tests/all runs it"]
fn rust() {
    // The one exception: a line that readers run and CI cannot.
    let env = toolchain(&["rust"]);
    let instead = format!(". '{}'; export PROBITY_WASM_TARGET=wasm32-unknown-unknown", env.display());
    run("rust.md", &["cargo", "rustc", "cc", "ld", "as"], &[("rustup target add wasm32-wasip2", &instead)]);
}

#[test]
#[ignore = "needs plugins/build javascript and port 1880; tests/all runs it"]
fn javascript() {
    run("javascript.md", &[], &[]);
}

#[test]
#[ignore = "needs plugins/toolchain clang and port 1880; tests/all runs it"]
fn c() {
    let env = toolchain(&["clang"]);
    let instead = format!(". '{}'; export WASI_SYSROOT=\"$PROBITY_WASI_SYSROOT\"", env.display());
    let block = "sudo apt-get install clang lld wasi-libc libclang-rt-dev-wasm32";
    run("c.md", &[], &[(block, &instead)]);
}

/// The file that puts `plugins/toolchain` into a shell.
pub fn toolchain(parts: &[&str]) -> PathBuf {
    let made = Command::new(root().join("plugins/toolchain")).args(parts).stderr(Stdio::inherit()).output().unwrap();
    assert!(made.status.success(), "plugins/toolchain failed");
    String::from_utf8(made.stdout).unwrap().trim().into()
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Runs a page with these tools; `instead` replaces whole `sh` blocks.
fn run(page: &str, tools: &[&str], instead: &[(&str, &str)]) {
    let path = root().join("docs/plugins").join(page);
    let text = std::fs::read_to_string(&path).unwrap();
    let steps = steps(&text);
    for (block, _) in instead {
        let there = steps.iter().filter(|s| matches!(&s.what, What::Run(script) if script.trim() == *block)).count();
        assert_eq!(there, 1, "{page}: the block {block:?} that this test replaces");
    }
    let began = Instant::now();
    let mut terminal = Terminal::open(tools);
    let mut asked = 0;
    for step in &steps {
        match &step.what {
            What::Write(file, content) => terminal.write(file, content),
            What::Run(script) => {
                let replaced = instead.iter().find(|(block, _)| script.trim() == *block);
                let script = replaced.map_or(script.as_str(), |(_, other)| other);
                let place = format!("docs/plugins/{page}:{}", step.line);
                eprintln!("{place}: {}", script.trim());
                asked += usize::from(script.starts_with("curl"));
                terminal.check(&place, script, step.shown.as_ref());
            }
        }
    }
    assert!(asked > 0, "{page} asks no server");
    let cpu = terminal.close();
    let took = began.elapsed();
    eprintln!("{page}: {:.1} s from nothing to an answer and back, CPU of its commands {cpu}", took.as_secs_f64());
    assert!(took < MACHINE_TIME_MAX, "{page} took {took:?}");
}

struct Step {
    /// Line of the page where its block begins.
    line: usize,
    what: What,
    shown: Option<Shown>,
}

enum What {
    Run(String),
    Write(String, String),
}

#[derive(Debug)]
enum Shown {
    Json(Value),
    Text(Vec<String>),
}

/// The steps of a page's tutorial.
fn steps(page: &str) -> Vec<Step> {
    let mut steps: Vec<Step> = Vec::new();
    let mut before = String::new();
    let mut lines = page.lines().enumerate().skip_while(|(_, line)| !line.starts_with("## Five minutes")).skip(1);
    while let Some((at, line)) = lines.next() {
        if line.starts_with("## ") {
            break;
        }
        let Some(language) = line.strip_prefix("```") else {
            if !line.is_empty() {
                before = line.into();
            }
            continue;
        };
        let block: Vec<&str> = lines.by_ref().map(|(_, line)| line).take_while(|line| *line != "```").collect();
        let text = block.join("\n") + "\n";
        let what = match (language, file_of(&before)) {
            ("sh", _) => Some(What::Run(text)),
            (_, Some(file)) => Some(What::Write(file, text)),
            ("json", None) => {
                let last = steps.last_mut().expect("what is shown comes after a block");
                last.shown = Some(Shown::Json(serde_json::from_str(&text).unwrap()));
                None
            }
            ("text", None) => {
                let last = steps.last_mut().expect("what is shown comes after a block");
                last.shown = Some(Shown::Text(block.iter().map(ToString::to_string).collect()));
                None
            }
            (other, None) => panic!("line {}: a block of {other} that is neither a file nor what is shown", at + 1),
        };
        steps.extend(what.map(|what| Step { line: at + 1, what, shown: None }));
        before.clear();
    }
    assert!(steps.len() > 3, "there is no tutorial");
    steps
}

/// `FILE` of "… into `FILE`:".
fn file_of(line: &str) -> Option<String> {
    Some(line.strip_suffix("`:")?.rsplit_once("into `")?.1.to_string())
}

impl Shown {
    /// Why what came is not what is shown.
    fn unlike(&self, output: &str) -> Option<String> {
        match self {
            Shown::Json(wanted) => {
                let found = serde_json::from_str::<Value>(output).ok();
                (found.as_ref() != Some(wanted)).then(|| format!("expected {wanted}"))
            }
            Shown::Text(wanted) => {
                let mut came = output.lines();
                let missing = wanted.iter().find(|line| *line != "…" && !came.any(|found| fits(line, found)))?;
                Some(format!("expected the line: {missing}"))
            }
        }
    }
}

/// Whether a line is as shown, with `…` for anything.
fn fits(shown: &str, line: &str) -> bool {
    let mut parts = shown.split('…');
    let Some(mut rest) = parts.next().and_then(|first| line.strip_prefix(first)) else { return false };
    for part in parts {
        let Some(at) = rest.find(part) else { return false };
        rest = &rest[at + part.len()..];
    }
    rest.is_empty() || shown.ends_with('…')
}

/// A reader's shell.
struct Terminal {
    shell: Child,
    input: ChildStdin,
    output: Lines<BufReader<ChildStdout>>,
    folder: tempfile::TempDir,
    /// Where the shell is.
    here: PathBuf,
    blocks: usize,
}

impl Terminal {
    fn open(tools: &[&str]) -> Terminal {
        let folder = tempfile::tempdir().unwrap();
        let made = ["bin", "home", "work", "blocks"].map(|name| folder.path().join(name));
        for path in &made {
            std::fs::create_dir(path).unwrap();
        }
        let [bin, home, work, _] = made;
        for tool in USUAL.iter().chain(tools) {
            std::os::unix::fs::symlink(which(tool), bin.join(tool)).unwrap();
        }
        std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_probity"), bin.join("probity")).unwrap();
        let mut command = Command::new("/bin/sh");
        command.env_clear().envs(kept()).env("PATH", &bin).env("HOME", &home).current_dir(&work).process_group(0);
        let mut shell = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let input = shell.stdin.take().unwrap();
        let output = BufReader::new(shell.stdout.take().unwrap()).lines();
        let mut terminal = Terminal { shell, input, output, folder, here: work, blocks: 0 };
        terminal.block("set -e").unwrap();
        terminal
    }

    fn write(&self, file: &str, content: &str) {
        let path = self.here.join(file);
        assert!(path.is_file(), "{file} is a file of the template");
        std::fs::write(path, content).unwrap();
    }

    /// Runs a block; it must succeed, and what came must be what is shown.
    fn check(&mut self, place: &str, script: &str, shown: Option<&Shown>) {
        let began = Instant::now();
        loop {
            let output = self.block(script).unwrap_or_else(|output| panic!("{place}: the block failed:\n{output}"));
            let Some(problem) = shown.and_then(|shown| shown.unlike(&output)) else { return };
            if !script.starts_with("curl") || began.elapsed() > ANSWER_AFTER_MAX {
                panic!("{place}: {problem}; came:\n{output}\nbefore:\n{}", self.said());
            }
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    /// What a block printed; an error when one of its commands failed.
    fn block(&mut self, script: &str) -> Result<String, String> {
        self.blocks += 1;
        let blocks = self.folder.path().join("blocks");
        let (file, out) = (blocks.join(format!("{:03}", self.blocks)), blocks.join(format!("{:03}.out", self.blocks)));
        std::fs::write(&file, script).unwrap();
        let line = format!(". '{}' >'{}' 2>&1 </dev/null; echo \"$PWD\"\n", file.display(), out.display());
        self.input.write_all(line.as_bytes()).unwrap();
        let here = self.output.next();
        let printed = String::from_utf8_lossy(&std::fs::read(&out).unwrap_or_default()).into_owned();
        match here {
            Some(Ok(here)) => {
                self.here = here.into();
                Ok(printed)
            }
            _ => Err(printed + &self.said()),
        }
    }

    /// Everything that was printed, by servers in the background too.
    fn said(&self) -> String {
        let mut files: Vec<PathBuf> =
            std::fs::read_dir(self.folder.path().join("blocks")).unwrap().map(|e| e.unwrap().path()).collect();
        files.sort();
        files.iter().filter(|f| f.extension().is_some()).filter_map(|f| std::fs::read_to_string(f).ok()).collect()
    }

    /// Waits for what runs in the background; gives the CPU time of all its commands, user and system.
    fn close(mut self) -> String {
        let times = self.block("wait\ntimes").unwrap();
        times.lines().last().unwrap_or_default().to_string()
    }
}

impl Drop for Terminal {
    /// Nothing stays behind, also when a step failed.
    fn drop(&mut self) {
        Command::new("kill")
            .args(["-KILL", "--", &format!("-{}", self.shell.id())])
            .stderr(Stdio::null())
            .status()
            .ok();
        self.shell.wait().ok();
    }
}

/// What a reader's machine has by itself: where Rust is, how registries are reached.
#[expect(clippy::disallowed_methods, reason = "the environment is what this test is about")]
fn kept() -> Vec<(String, String)> {
    let home = std::env::var("HOME").unwrap();
    let folder = |name: &str, below: &str| {
        let value = std::env::var(name).unwrap_or_else(|_| format!("{home}/{below}"));
        (name.to_string(), value)
    };
    let reaches = |name: &str| {
        let name = name.to_ascii_uppercase();
        name.ends_with("_PROXY") || name.starts_with("SSL_CERT_") || name.starts_with("CARGO_HTTP_")
    };
    let mut kept: Vec<_> = std::env::vars().filter(|(name, _)| reaches(name) || name == "RUSTUP_TOOLCHAIN").collect();
    kept.extend([folder("CARGO_HOME", ".cargo"), folder("RUSTUP_HOME", ".rustup")]);
    kept
}

/// Where a tool is.
#[expect(clippy::disallowed_methods, reason = "the environment is what this test is about")]
fn which(tool: &str) -> PathBuf {
    let path = std::env::var_os("PATH").unwrap();
    let found = std::env::split_paths(&path).map(|folder| folder.join(tool)).find(|path| path.is_file());
    found.unwrap_or_else(|| panic!("this machine has no {tool}"))
}
