//! `probity plugin test`: a plugin's cases (`tests/*.yaml`) and the tests of its flows in the real sandbox, with its real limits,
//! on a clock moved by hand and with mocked HTTP answers. The form is described in `docs/plugins/testing.md`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::{Arc, Mutex};

use clap::Args;
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::{Value as Json, json};

use super::{dev, print, reported, usage};
use crate::app;
use crate::cli::check::{collect, is_test};
use crate::cli::test::guests::Guests;
use crate::cli::test::{flow_case, matching::differences, mock, test_file};
use crate::clock::Clock;
use crate::config::Config;
use crate::flow;
use crate::model::run::Trigger;
use crate::model::{Diagnostic, RunId};
use crate::net::Net;
use crate::plugin::Plugins;
use crate::plugin::admission::{Admitted, Operator};
use crate::plugin::description::Description;
use crate::plugin::package::{self, Origin, Package};
use crate::runtime::opening::{Opening, Start};
use crate::runtime::{Deployed, Engine, Event, Limits, Services};

#[derive(Args)]
pub(super) struct TestArgs {
    /// The plugin's folder
    #[arg(default_value = ".")]
    path: PathBuf,
    /// Only tests whose name contains this
    #[arg(long, value_name = "TEXT")]
    filter: Option<String>,
}

/// A file of cases.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct TestFile {
    /// The node type under test; the plugin's only one when left out.
    #[serde(default)]
    node: Option<String>,
    /// The node's configuration.
    #[serde(default)]
    config: serde_json::Map<String, Json>,
    /// Where the clock starts.
    #[serde(default)]
    now: Option<Timestamp>,
    /// Secrets by name.
    #[serde(default)]
    secrets: BTreeMap<String, String>,
    tests: Vec<Case>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    name: String,
    /// Put over the file's configuration.
    #[serde(default)]
    config: serde_json::Map<String, Json>,
    /// Mocked answers, tried in order.
    #[serde(default)]
    http: Vec<mock::Rule>,
    /// A message, or several; each starts a run when the one before is over.
    #[serde(default)]
    input: Json,
    /// Any of emitted, errors, statuses, log, evidence, requests, state.
    expect: Json,
}

/// What the node did.
#[derive(Default)]
struct Seen {
    emitted: Vec<Json>,
    errors: Vec<Json>,
    statuses: Vec<Json>,
    log: Vec<Json>,
}

pub(super) fn test(args: &TestArgs) -> Result<ExitCode, ExitCode> {
    let bench = Bench::new(&args.path)?;
    let (passed, failed) = bench.run(args.filter.as_deref())?;
    if passed + failed == 0 {
        return Err(usage(&format!("{} has no test: no tests/*.yaml, no flows/*.test.yaml", args.path.display())));
    }
    print(&format!("{passed} passed, {failed} failed\n"));
    if failed > 0 { Err(ExitCode::from(1)) } else { Ok(ExitCode::SUCCESS) }
}

/// A plugin under test.
pub(super) struct Bench {
    folder: PathBuf,
    name: String,
    guests: Guests,
}

impl Bench {
    /// Checks the package and admits it with all it asks for.
    pub(super) fn new(folder: &Path) -> Result<Bench, ExitCode> {
        let checked = package::check(folder, Origin::Development);
        reported(&checked.diagnostics)?;
        let Some((package, _)) = checked.package else { return Err(ExitCode::from(1)) };
        let mut admitted =
            admit(&package).map_err(|problems| reported(&problems).err().unwrap_or(ExitCode::from(1)))?;
        // `files` reads what lies beside the cases.
        let tests = folder.join("tests");
        admitted.plugin.granted.folders.extend(tests.canonicalize());
        let guests = Guests::new(vec![admitted.plugin], dev::code_dir(folder));
        Ok(Bench { folder: folder.to_path_buf(), name: package.manifest.name, guests })
    }

    /// Runs every case and prints a line each; gives how many passed and failed.
    pub(super) fn run(&self, filter: Option<&str>) -> Result<(usize, usize), ExitCode> {
        let (mut passed, mut failed) = (0, 0);
        for file in self.files() {
            let name = file.display();
            let text = std::fs::read_to_string(&file).map_err(super::failed(&file))?;
            let cases: TestFile = match serde_saphyr::from_str(&text) {
                Ok(cases) => cases,
                Err(e) => {
                    failed += 1;
                    print(&format!("FAIL {name}: {e}\n"));
                    continue;
                }
            };
            for case in cases.tests.iter().filter(|c| filter.is_none_or(|f| c.name.contains(f))) {
                let problems = self.case(&cases, case);
                let (word, count) = if problems.is_empty() { ("ok  ", &mut passed) } else { ("FAIL", &mut failed) };
                *count += 1;
                print(&format!("{word} {name}: {}\n", case.name));
                for problem in problems {
                    print(&format!("       {problem}\n"));
                }
            }
        }
        for file in self.flow_tests() {
            let (ok, not_ok) = test_file(&file, filter, &self.guests);
            passed += ok;
            failed += not_ok;
        }
        Ok((passed, failed))
    }

    /// The tests of its flows, as `probity test` runs them.
    fn flow_tests(&self) -> Vec<PathBuf> {
        let (mut files, mut unreadable) = (Vec::new(), Vec::new());
        for folder in ["flows", "tests"].map(|name| self.folder.join(name)).iter().filter(|f| f.is_dir()) {
            collect(folder, &mut files, &mut unreadable);
        }
        files.retain(|f| is_test(f));
        files
    }

    /// The files of cases, by name.
    fn files(&self) -> Vec<PathBuf> {
        let entries = std::fs::read_dir(self.folder.join("tests")).into_iter().flatten().flatten();
        let is_cases = |p: &PathBuf| p.extension().is_some_and(|e| e == "yaml" || e == "yml") && !is_test(p);
        let mut files: Vec<PathBuf> = entries.map(|e| e.path()).filter(is_cases).collect();
        files.sort();
        files
    }

    /// One case on a runtime of its own; one thread, so that its order is always the same.
    fn case(&self, file: &TestFile, case: &Case) -> Vec<String> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.expect("the system has a thread to give");
        runtime.block_on(self.run_case(file, case)).unwrap_or_else(|problems| problems)
    }

    async fn run_case(&self, file: &TestFile, case: &Case) -> Result<Vec<String>, Vec<String>> {
        let clock = Clock::manual(file.now.unwrap_or_else(|| flow_case::START.parse().expect("a constant")));
        let (net, asked) = mock::net(&case.http);
        let secrets = file.secrets.clone();
        let read_secret = Arc::new(move |name: &str| secrets.get(name).cloned());
        let plugins = self.guests.load(&[], &net, &clock, read_secret).await.map_err(|problem| vec![problem])?;
        let descriptions = plugins.descriptions(&self.name);
        let of = chosen(&descriptions, file.node.as_deref()).map_err(|problem| vec![problem])?;
        let seen = Arc::new(Mutex::new(Seen::default()));
        let engine = engine(&plugins, net, clock.clone(), seen.clone());
        let deployed = deploy(&engine, of, file, case)?;
        let mut evidence = Vec::new();
        for msg in inputs(&case.input) {
            let trigger = Trigger::Manual { by: "test".into() };
            let opening = Opening { node: 0, start: Start::Deliver, msg, trigger, reply: None };
            let (_, run) = deployed.open(opening).map_err(|busy| vec![busy.to_string()])?;
            let run = tokio::spawn(run);
            flow_case::settle(&clock, || run.is_finished()).await;
            if !run.is_finished() {
                run.abort();
                return Err(vec!["the run does not end, and nothing moves any more".into()]);
            }
            let ended = run.await.map_err(|e| vec![e.to_string()])?;
            let trace = ended.to_record().trace;
            let attached = trace.into_iter().flat_map(|step| step.evidence);
            evidence.extend(attached.map(|e| json!({"key": e.key, "value": e.value, "outcome": e.outcome})));
        }
        let requests = asked.lock().unwrap_or_else(|p| p.into_inner()).clone();
        let state = state(&plugins, &self.name);
        let seen = seen.lock().unwrap_or_else(|p| p.into_inner());
        let found = json!({
            "emitted": seen.emitted, "errors": seen.errors, "statuses": seen.statuses, "log": seen.log,
            "evidence": evidence, "requests": requests, "state": state,
        });
        Ok(differences(&case.expect, &found, "expect"))
    }
}

/// Admits a package that is being worked on.
pub(super) fn admit(package: &Package) -> Result<Admitted, Vec<Diagnostic>> {
    let config = Config::defaults();
    let interpreter = app::admission::interpreter(&config)?;
    Operator::default().admit(package, interpreter.as_ref())
}

fn chosen<'d>(all: &'d [Description], wanted: Option<&str>) -> Result<&'d Description, String> {
    let names: Vec<&str> = all.iter().map(|d| d.node_type.as_str()).collect();
    match (all, wanted) {
        (all, Some(wanted)) => all.iter().find(|d| d.node_type == wanted).ok_or_else(|| {
            let near = crate::model::diagnostic::closest(wanted, names.iter().copied());
            let hint = near.map(|n| format!("; did you mean \"{n}\"?")).unwrap_or_default();
            format!("node: the plugin has no node type \"{wanted}\"{hint}")
        }),
        ([one], None) => Ok(one),
        _ => Err(format!("node: which node type is tested? The plugin has {}", names.join(", "))),
    }
}

fn engine(plugins: &Plugins, net: Arc<Net>, clock: Clock, seen: Arc<Mutex<Seen>>) -> Arc<Engine> {
    let mut services = Services::new(clock, Limits::default(), net);
    services.observer =
        Some(Arc::new(move |_: RunId, event| note(&mut seen.lock().unwrap_or_else(|p| p.into_inner()), event)));
    Engine::new(Arc::new(services), app::plugins::catalogue(plugins))
}

fn note(seen: &mut Seen, event: Event) {
    match event {
        Event::Output { port, msg, .. } => {
            let mut msg = msg.to_value().to_serde();
            if let Some(msg) = msg.as_object_mut() {
                msg.remove("_msgid");
            }
            seen.emitted.push(json!({"port": port, "msg": msg}));
        }
        Event::Error { message, .. } => seen.errors.push(json!(message)),
        Event::Status { status, .. } => seen.statuses.push(json!(status)),
        Event::Log { level, text, .. } => {
            seen.log.push(json!({"level": level.as_str().to_lowercase(), "text": text}));
        }
        Event::Debug { .. } | Event::Reply { .. } => {}
    }
}

/// A tab with the node alone; what it emits leaves the flow.
fn deploy(engine: &Engine, of: &Description, file: &TestFile, case: &Case) -> Result<Arc<Deployed>, Vec<String>> {
    let mut node = file.config.clone();
    node.extend(case.config.clone());
    let wires: Vec<Json> = of.outputs.iter().map(|_| json!([])).collect();
    for (key, value) in [
        ("id", json!(NODE)),
        ("type", json!(of.node_type)),
        ("z", json!("tab")),
        ("x", json!(1)),
        ("y", json!(1)),
        ("wires", json!(wires)),
    ] {
        node.insert(key.into(), value);
    }
    let tab = json!({"id": "tab", "type": "tab", "label": "test"});
    let (loaded, problems) = flow::load_value(vec![tab, Json::Object(node)], "the case's configuration");
    let deployed = engine.deploy(app::plan(engine, &loaded));
    let errors = [&problems, &deployed.plan.diagnostics, &deployed.diagnostics].map(|p| lines(p)).concat();
    if errors.is_empty() { Ok(deployed) } else { Err(errors) }
}

/// The id of the node under test.
const NODE: &str = "node";

fn inputs(input: &Json) -> Vec<crate::model::Msg> {
    match input {
        Json::Null => Vec::new(),
        Json::Array(messages) => messages.iter().map(flow_case::message).collect(),
        one => vec![flow_case::message(one)],
    }
}

/// What the node keeps across runs: JSON where it is JSON, else text.
fn state(plugins: &Plugins, name: &str) -> Json {
    let read = |bytes: Vec<u8>| {
        serde_json::from_slice(&bytes).unwrap_or_else(|_| Json::String(String::from_utf8_lossy(&bytes).into_owned()))
    };
    Json::Object(plugins.node_state(name, NODE).into_iter().map(|(key, value)| (key, read(value))).collect())
}

/// The errors among diagnostics.
fn lines(problems: &[Diagnostic]) -> Vec<String> {
    crate::cli::test::errors(problems)
}
