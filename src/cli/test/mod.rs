//! `probity test`: runs the `.test.yaml` files beside flows and agreements, on a clock moved by hand and with
//! mocked HTTP answers, through the same engine and evaluation path as the server.
//!
//! The form of these files is described in `docs/testing.md`.

mod agreement_case;
pub(super) mod flow_case;
pub(super) mod guests;
pub(super) mod matching;
pub(super) mod mock;
mod record;
mod stub;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args;
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::Value;

use super::{Settings, check, print};
use crate::model::{Diagnostic, Severity};
pub(super) use flow_case::{find, message, start_of};
use guests::Guests;

#[derive(Args)]
pub(super) struct TestArgs {
    /// Test files, or folders that hold some
    #[arg(required_unless_present = "record")]
    paths: Vec<PathBuf>,
    /// Only tests whose name contains this
    #[arg(long, value_name = "TEXT")]
    filter: Option<String>,
    /// Writes a run of a running server as a test file instead: what it was given, what came from outside, what it showed
    #[arg(long, value_name = "RUN", conflicts_with_all = ["paths", "filter"])]
    record: Option<String>,
    /// Where the recorded test goes: a file, or a folder that it gets a name in [default: standard output]
    #[arg(long, value_name = "FILE", requires = "record")]
    out: Option<PathBuf>,
    /// A file with an API token, for a server that asks for a login [default: PROBITY_SECRET_API_TOKEN]
    #[arg(long, value_name = "FILE", requires = "record")]
    token_file: Option<PathBuf>,
    #[command(flatten)]
    settings: Settings,
}

/// A test file: about one flow file or one agreement.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct TestFile {
    /// The flow file under test, relative to this one.
    #[serde(default)]
    flow: Option<PathBuf>,
    /// The agreement under test, relative to this one.
    #[serde(default)]
    agreement: Option<PathBuf>,
    /// Flow files that compute the agreement's metrics.
    #[serde(default)]
    flows: Vec<PathBuf>,
    /// Where the manual clock starts.
    #[serde(default)]
    now: Option<Timestamp>,
    /// Environment variables the flows see.
    #[serde(default)]
    env: BTreeMap<String, String>,
    tests: Vec<Case>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    name: String,
    /// Mocked answers of the world outside, tried in order.
    #[serde(default)]
    http: Vec<mock::Rule>,
    // Flow cases:
    /// Nodes that the test stands in for, tried in order.
    #[serde(default)]
    mocks: Vec<stub::Rule>,
    /// What may differ.
    #[serde(default)]
    tolerance: matching::Tolerance,
    #[serde(default)]
    steps: Vec<flow_case::Step>,
    #[serde(default)]
    expect: Option<Value>,
    // Agreement cases:
    #[serde(default)]
    range: Option<agreement_case::Range>,
    #[serde(default)]
    last_closed: Option<usize>,
    #[serde(default)]
    guarantee: Option<String>,
    /// Metric id → samples given instead of asking its collector.
    #[serde(default)]
    samples: BTreeMap<String, agreement_case::Given>,
    /// How many verdicts of each kind there are in all.
    #[serde(default)]
    counts: Option<BTreeMap<String, usize>>,
}

/// What a test file is about, with paths resolved.
enum About {
    Flow(PathBuf),
    Agreement { agreement: PathBuf, flows: Vec<PathBuf> },
}

pub(super) fn test(args: &TestArgs) -> ExitCode {
    if let Some(run) = &args.record {
        return record::record(args, run).unwrap_or_else(|code| code);
    }
    let mut files = Vec::new();
    let mut diagnostics = Vec::new();
    for path in &args.paths {
        check::collect(path, &mut files, &mut diagnostics);
    }
    files.retain(|f| check::is_test(f));
    if diagnostics.is_empty() && files.is_empty() {
        let paths: Vec<String> = args.paths.iter().map(|p| p.display().to_string()).collect();
        return super::usage(&format!("no .test.yaml file in {}", paths.join(", ")));
    }
    for diagnostic in &diagnostics {
        eprintln!("{diagnostic}");
    }
    let (mut passed, mut failed) = (0, diagnostics.len());
    let guests = Guests::found();
    for file in &files {
        let (ok, not_ok) = test_file(file, args.filter.as_deref(), &guests);
        passed += ok;
        failed += not_ok;
    }
    print(&format!("{passed} passed, {failed} failed\n"));
    if failed > 0 { ExitCode::from(1) } else { ExitCode::SUCCESS }
}

/// Runs the tests of one file and prints a line each; gives how many passed and failed.
pub(super) fn test_file(path: &Path, filter: Option<&str>, guests: &Guests) -> (usize, usize) {
    let name = path.display();
    let loaded = std::fs::read_to_string(path).map_err(|e| e.to_string()).and_then(|text| parse(path, &text));
    let (file, about) = match loaded {
        Ok(loaded) => loaded,
        Err(problem) => {
            print(&format!("FAIL {name}: {problem}\n"));
            return (0, 1);
        }
    };
    let (mut passed, mut failed) = (0, 0);
    for case in file.tests.iter().filter(|c| filter.is_none_or(|f| c.name.contains(f))) {
        let problems = run(&file, &about, case, guests);
        if problems.is_empty() {
            passed += 1;
            print(&format!("ok   {name}: {}\n", case.name));
        } else {
            failed += 1;
            print(&format!("FAIL {name}: {}\n", case.name));
            for problem in problems {
                print(&format!("       {problem}\n"));
            }
        }
    }
    (passed, failed)
}

/// One case on a runtime of its own; one thread, so that its order is always the same.
fn run(file: &TestFile, about: &About, case: &Case, guests: &Guests) -> Vec<String> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.expect("the system has a thread to give");
    let result = runtime.block_on(async {
        match about {
            About::Flow(flow) => flow_case::run(file, flow, case, guests).await,
            About::Agreement { agreement, flows } => agreement_case::run(file, agreement, flows, case, guests).await,
        }
    });
    result.unwrap_or_else(|problem| vec![problem])
}

fn parse(path: &Path, text: &str) -> Result<(TestFile, About), String> {
    let file: TestFile = serde_saphyr::from_str(text).map_err(|e| e.to_string())?;
    let folder = path.parent().unwrap_or(Path::new("."));
    let beside = |ending: &str| {
        let stem = path.file_name().and_then(|n| n.to_str()).and_then(|n| n.strip_suffix(".test.yaml"));
        folder.join(format!("{}{ending}", stem.unwrap_or_default()))
    };
    let about = match (&file.flow, &file.agreement) {
        (Some(_), Some(_)) => return Err("give either \"flow\" or \"agreement\", not both".into()),
        (Some(flow), None) => About::Flow(folder.join(flow)),
        (None, agreement) => {
            let found = agreement.as_ref().map(|a| folder.join(a)).unwrap_or_else(|| {
                let endings = [".json", ".yaml", ".yml"].map(beside);
                endings.iter().find(|p| p.is_file()).unwrap_or(&endings[0]).clone()
            });
            let text = std::fs::read_to_string(&found).map_err(|e| format!("{}: {e}", found.display()))?;
            if check::is_flow(&text) && agreement.is_none() {
                About::Flow(found)
            } else {
                About::Agreement { agreement: found, flows: file.flows.iter().map(|f| folder.join(f)).collect() }
            }
        }
    };
    Ok((file, about))
}

/// What is wrong with a test file itself; its tests are not run.
pub(super) fn check_file(path: &Path, text: &str) -> Vec<Diagnostic> {
    match parse(path, text) {
        Ok((file, _)) if file.tests.is_empty() => {
            vec![Diagnostic::warning("empty-test", "$.tests", "this file holds no test")]
        }
        Ok(_) => Vec::new(),
        Err(problem) => vec![Diagnostic::error("test-file", "$", problem)],
    }
}

/// A value of a test file for a message; where it has buffers as Node.js writes them in JSON, they are buffers.
pub(super) fn value(json: &Value) -> crate::model::Value {
    use crate::model;
    match (json, buffer(json)) {
        (_, Some(bytes)) => model::Value::Bytes(std::sync::Arc::new(bytes)),
        (Value::Array(items), _) => model::Value::array(items.iter().map(value).collect()),
        (Value::Object(map), _) => map
            .iter()
            .map(|(key, of)| (arcstr::ArcStr::from(key.as_str()), value(of)))
            .collect::<model::Object>()
            .into(),
        (scalar, _) => model::Value::from(scalar),
    }
}

/// The bytes of `{type: Buffer, data: […]}`.
fn buffer(json: &Value) -> Option<Vec<u8>> {
    let map = json.as_object().filter(|map| map.len() == 2 && map.get("type").is_some_and(|t| t == "Buffer"))?;
    map.get("data")?.as_array()?.iter().map(|byte| byte.as_u64().and_then(|byte| u8::try_from(byte).ok())).collect()
}

/// The errors among diagnostics, as problems of a case.
pub(super) fn errors(diagnostics: &[Diagnostic]) -> Vec<String> {
    diagnostics.iter().filter(|d| d.severity == Severity::Error).map(ToString::to_string).collect()
}
