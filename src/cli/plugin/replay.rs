//! `probity plugin replay`: the recorded calls of a run made again, nothing but the record answering.

use std::process::ExitCode;

use bytes::Bytes;
use clap::Args;

use super::source;
use crate::app::{self, admission};
use crate::cli::{Settings, log, not_so, print, runtime, usage};
use crate::config::Config;
use crate::model::RunId;
use crate::model::call::CallRecord;
use crate::model::run::RunRecord;
use crate::plugin::Package as Admitted;
use crate::plugin::admission::Operator;
use crate::plugin::discover;
use crate::plugin::package::Package;

#[derive(Args)]
pub(super) struct ReplayArgs {
    /// The run's id, as `/probity/v1/runs` lists it
    run: String,
    /// Only the calls of this node
    #[arg(long, value_name = "ID")]
    node: Option<String>,
    #[command(flatten)]
    settings: Settings,
}

pub(super) fn replay(args: &ReplayArgs) -> Result<ExitCode, ExitCode> {
    let config = args.settings.load()?;
    log::start(&config, true);
    let id: RunId = args.run.parse().map_err(|_| usage(&format!("\"{}\" is no run id; it is a UUID", args.run)))?;
    runtime().block_on(async {
        let run = stored(&config, id).await?;
        replay_run(args, &config, &run).await
    })
}

async fn stored(config: &Config, id: RunId) -> Result<RunRecord, ExitCode> {
    let store = app::open_store(config).await.map_err(|e| usage(&format!("{e:#}")))?;
    let found = store.run(id).await.map_err(not_so)?;
    found.ok_or_else(|| not_so(format!("no run {id} is in {}; the history keeps a sample of runs", store.describe())))
}

async fn replay_run(args: &ReplayArgs, config: &Config, run: &RunRecord) -> Result<ExitCode, ExitCode> {
    let of_node = |call: &&CallRecord| args.node.as_ref().is_none_or(|node| *node == *call.node);
    let calls: Vec<&CallRecord> = run.trace.iter().flat_map(|step| &step.calls).filter(of_node).collect();
    let unrecorded: u64 = run.trace.iter().map(|step| step.calls_cut).sum();
    if calls.is_empty() && unrecorded == 0 {
        let node = args.node.as_ref().map(|node| format!(" of node {node}")).unwrap_or_default();
        let hint = "only calls of plugins whose manifest says `deterministic = true` are recorded";
        return Err(not_so(format!("run {} has no recorded call{node}; {hint}", run.id)));
    }
    let shelf = Shelf::new(config)?;
    let net = app::net(config).map_err(|e| usage(&format!("{e:#}")))?;
    let mut replayer = app::plugins::replayer(config, &net)
        .map_err(|problems| super::reported(&problems).err().unwrap_or(ExitCode::from(1)))?;
    let mut same = 0;
    for call in &calls {
        let what = format!("{} {} {}", call.node, call.node_type, word(call));
        let outcome = match shelf.find(call) {
            Ok(package) => replayer.replay(&package, call).await,
            Err(why) => Err(why),
        };
        match outcome {
            Ok(None) => {
                same += 1;
                print(&format!("same       {what}: {} host calls, {} fuel\n", call.calls.len(), call.fuel));
            }
            Ok(Some(difference)) => print(&format!("DIFFERENT  {what}: {difference}\n")),
            Err(why) => print(&format!("NOT SO     {what}: {why}\n")),
        }
    }
    if unrecorded > 0 {
        let key = "plugins.run_record_bytes_max";
        print(&format!("{unrecorded} further calls of this run were not recorded for want of room ({key})\n"));
    }
    print(&format!("{same} of {} recorded calls are the same\n", calls.len()));
    let whole = same == calls.len() && unrecorded == 0;
    if whole { Ok(ExitCode::SUCCESS) } else { Err(ExitCode::from(1)) }
}

fn word(call: &CallRecord) -> &'static str {
    match call.export {
        crate::model::call::Export::Process => "process",
        crate::model::call::Export::RunEnd => "run-end",
    }
}

/// Every plugin that is there, older versions among them.
struct Shelf {
    packages: Vec<Package>,
    operator: Operator,
    interpreter: Option<Bytes>,
}

impl Shelf {
    fn new(config: &Config) -> Result<Shelf, ExitCode> {
        let packages = discover::every(&admission::places(config)).packages;
        let operator = source::decided(config)?;
        // A script's record names its interpreter: one that is missing is told there.
        let interpreter = admission::interpreter(config).unwrap_or_default();
        Ok(Shelf { packages, operator, interpreter })
    }

    /// The package with the code a call was made with.
    fn find(&self, call: &CallRecord) -> Result<Admitted, String> {
        let mut others = Vec::new();
        for package in self.packages.iter().filter(|p| *p.manifest.name == *call.plugin) {
            let Ok(loaded) = package.load() else { continue };
            if loaded.code_digest != *call.digest {
                others.push(format!("{} with {}", package.manifest.version, loaded.code_digest));
                continue;
            }
            let admitted = self.operator.admit(package, self.interpreter.as_ref());
            return admitted.map(|admitted| admitted.plugin).map_err(|problems| {
                let lines: Vec<String> = problems.iter().map(ToString::to_string).collect();
                lines.join("; ")
            });
        }
        let here = if others.is_empty() { "not there".to_string() } else { format!("now {}", others.join(", ")) };
        Err(format!(
            "plugin {} {} with {} made this call, and is {here}; put that version where plugins are looked for \
             (--plugins-dir) to replay it",
            call.plugin, call.version, call.digest
        ))
    }
}
