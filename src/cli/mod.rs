//! Floor 13: the command line. Exit codes: 0 ok, 1 the thing asked for is not so, 2 usage or configuration error.

mod agreement;
mod budget;
mod check;
mod compare;
mod doctor;
mod evaluate;
mod explain;
mod flow_history;
mod flows;
mod health;
mod import;
mod log;
mod nodes;
mod plugin;
mod report;
mod run;
mod runs;
mod sarif;
mod secrets;
mod serve;
mod server;
mod simulate;
mod test;
mod verdicts;
mod waiver;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand, ValueEnum};
use toml::{Table, Value};

use crate::config::{Config, ConfigError};

/// A governance workflow engine: Node-RED flows, Governify agreements, verdicts with evidence.
#[derive(Parser)]
#[command(name = "probity", version, propagate_version = true)]
#[command(after_help = "Every flag of `serve` is also a PROBITY_* environment variable and a configuration key.\n\
Exit codes: 0 ok, 1 the thing asked for is not so, 2 usage or configuration error.")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run flows, schedules and agreements, and serve their results.
    Serve(Settings),
    /// Run a flow once and print what it emits as JSON lines.
    Run(run::RunArgs),
    /// List runs, show one, and cancel, replay or decide about durable ones.
    Runs(runs::RunsArgs),
    /// Evaluate an agreement once and print its verdicts.
    Evaluate(evaluate::EvaluateArgs),
    /// Start an agreement, fill in a template, compare two agreements.
    Agreement(agreement::AgreementArgs),
    /// Judge stored evidence by a changed agreement: which verdicts would be others.
    Simulate(simulate::SimulateArgs),
    /// Compare a Governify Registry's verdicts with ours; exit code 1 when a difference has no known cause.
    Compare(compare::CompareArgs),
    /// Explain a stored verdict: what decides it, how far it is from passing, what changed.
    Explain(explain::ExplainArgs),
    /// List stored verdicts, as believed now or at an instant, and their corrections.
    Verdicts(verdicts::VerdictsArgs),
    /// List what is left of error budgets, or how fast they are used up.
    Budget(budget::BudgetArgs),
    /// Accept violated or unknown verdicts for a reason and a time.
    Waiver(waiver::WaiverArgs),
    /// Check flows, agreements and plugin manifests; prints every problem.
    Check(check::CheckArgs),
    /// Run the .test.yaml files beside flows and agreements.
    Test(test::TestArgs),
    /// Bring the database schema up to date.
    Migrate(serve::MigrateArgs),
    /// Ask a running server whether it is ready (for container health checks).
    Health(health::HealthArgs),
    /// Say what is wrong with an installation, and what to do.
    Doctor(doctor::DoctorArgs),
    /// Say where secrets come from, and make new ones.
    Secrets(secrets::SecretsArgs),
    /// Look at an installation of something else before it is switched to Probity.
    Import(import::ImportArgs),
    /// One flow file as one file per tab, and back; revisions of the flows, and going back to one.
    Flows(flows::FlowsArgs),
    /// List the node types this build knows.
    Nodes(nodes::NodesArgs),
    /// Write, build, check, sign, install and grant plugins.
    Plugin(plugin::PluginArgs),
}

/// What `serve` and the commands that need the same surroundings can be told.
#[derive(Args, Clone, Debug, Default)]
struct Settings {
    /// Address and port of the HTTP server [default: 127.0.0.1:1880] [env: PROBITY_LISTEN]
    #[arg(long, value_name = "ADDR")]
    listen: Option<String>,
    /// Address and port of the Registry API [default: off] [env: PROBITY_LISTEN_REGISTRY]
    #[arg(long, value_name = "ADDR")]
    listen_registry: Option<String>,
    /// Address and port of the Director API [default: off] [env: PROBITY_LISTEN_DIRECTOR]
    #[arg(long, value_name = "ADDR")]
    listen_director: Option<String>,
    /// Where flows and database live [default: ./data] [env: PROBITY_DATA_DIR]
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// Flow file or folder [default: <data-dir>/flows.json, made from the shipped flows] [env: PROBITY_FLOWS]
    #[arg(long, value_name = "FILE|DIR")]
    flows: Option<PathBuf>,
    /// Where agreements come from: folders, files, `shipped`, http(s):// of a Governify Registry, mongodb:// of its
    /// database; separated by commas [env: PROBITY_AGREEMENTS]
    #[arg(long, value_name = "SOURCE")]
    agreements: Option<String>,
    /// sqlite:<path>, postgres://… or memory: [default: sqlite:<data-dir>/probity.db] [env: PROBITY_DATABASE_URL]
    #[arg(long, value_name = "URL")]
    database_url: Option<String>,
    /// A folder of plugins, or a plugin [env: PROBITY_PLUGINS_DIR]
    #[arg(long, value_name = "DIR")]
    plugins_dir: Option<PathBuf>,
    /// What this process does, some of api,scheduler,worker [default: all] [env: PROBITY_ROLES]
    #[arg(long, value_name = "ROLES")]
    roles: Option<String>,
    /// Configuration file (TOML) [env: PROBITY_CONFIG]
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

impl Settings {
    /// Defaults, file, settings.js, environment, flags; prints warnings. The error is an exit code after the problems
    /// are printed.
    fn load(&self) -> Result<Config, ExitCode> {
        let (config, warnings) = self.read().map_err(|e| usage(&e.to_string()))?;
        for warning in warnings {
            eprintln!("warning: {warning}");
        }
        Ok(config)
    }

    /// The same with its warnings.
    fn read(&self) -> Result<(Config, Vec<String>), ConfigError> {
        let mut flags = Table::new();
        let text = |path: &PathBuf| path.display().to_string();
        for (key, value) in [
            ("listen", self.listen.clone()),
            ("listen_registry", self.listen_registry.clone()),
            ("listen_director", self.listen_director.clone()),
            ("data_dir", self.data_dir.as_ref().map(text)),
            ("flows", self.flows.as_ref().map(text)),
            ("agreements", self.agreements.clone()),
            ("database_url", self.database_url.clone()),
            ("roles", self.roles.clone()),
        ] {
            if let Some(value) = value {
                flags.insert(key.into(), Value::String(value));
            }
        }
        if let Some(dir) = &self.plugins_dir {
            flags.insert("plugins".into(), Value::Table(Table::from_iter([("dir".into(), Value::String(text(dir)))])));
        }
        Config::load(self.config.as_deref(), &flags)
    }
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
enum Format {
    #[default]
    Table,
    Json,
}

/// Parses the command line and runs the command, on a thread with room for deeply nested messages.
pub fn main() -> ExitCode {
    let command = Cli::parse().command;
    let thread = std::thread::Builder::new().stack_size(STACK_BYTES).spawn(|| dispatch(command));
    match thread.expect("the system has a thread to give").join() {
        Ok(code) => code,
        // The panic has been printed by its hook.
        Err(_) => ExitCode::from(101),
    }
}

fn dispatch(command: Command) -> ExitCode {
    match command {
        Command::Serve(settings) => serve::serve(&settings),
        Command::Run(args) => run::run(&args),
        Command::Runs(args) => runs::runs(&args),
        Command::Evaluate(args) => evaluate::evaluate(&args),
        Command::Agreement(args) => agreement::agreement(&args),
        Command::Simulate(args) => simulate::simulate(&args),
        Command::Explain(args) => explain::explain(&args),
        Command::Verdicts(args) => verdicts::verdicts(&args),
        Command::Budget(args) => budget::budget(&args),
        Command::Waiver(args) => waiver::waiver(&args),
        Command::Compare(args) => compare::compare_verdicts(&args),
        Command::Check(args) => check::check(&args),
        Command::Test(args) => test::test(&args),
        Command::Migrate(args) => serve::migrate(&args),
        Command::Health(args) => health::health(&args),
        Command::Doctor(args) => doctor::doctor(&args),
        Command::Secrets(args) => secrets::secrets(&args),
        Command::Import(args) => import::import(&args),
        Command::Flows(args) => flows::flows(&args),
        Command::Nodes(args) => nodes::nodes(&args),
        Command::Plugin(args) => plugin::plugin(&args),
    }
}

/// Prints usage or configuration problems, one a line; exit code 2. What follows an empty line is to be copied, so
/// it is printed as it is.
fn usage(problem: &str) -> ExitCode {
    let (problems, verbatim) = problem.split_once("\n\n").unwrap_or((problem, ""));
    for line in problems.lines() {
        eprintln!("error: {line}");
    }
    if !verbatim.is_empty() {
        eprintln!("\n{}", verbatim.trim_end());
    }
    ExitCode::from(2)
}

/// Prints why the thing asked for is not so; exit code 1.
fn not_so(problem: impl std::fmt::Display) -> ExitCode {
    eprintln!("error: {problem}");
    ExitCode::from(1)
}

/// Prints to standard output; a closed pipe (`| head`) is no error.
fn print(text: &str) {
    use std::io::Write;
    let _closed = std::io::stdout().write_all(text.as_bytes()).is_err();
}

/// Stack of a worker thread, bytes. Messages are nested values that are read, printed and dropped recursively, and a
/// flow that loops may nest one level deeper with each of its `hops_max` hops. Only pages in use cost memory.
const STACK_BYTES: usize = 64 << 20;

/// A runtime for a command; worker threads as many as cores.
fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .thread_stack_size(STACK_BYTES)
        .build()
        .expect("the system has threads to give")
}
