//! `probity runs list|show|cancel|replay|decide`: runs in the configured database, also while servers run on it.

use std::process::ExitCode;

use anyhow::{Result, anyhow, bail};
use clap::{Args, Subcommand, ValueEnum};
use jiff::Timestamp;
use serde_json::{Value, json};

use super::{Format, Settings, not_so, print, report, runtime, usage};
use crate::app;
use crate::clock::Clock;
use crate::config::Config;
use crate::model::RunId;
use crate::model::run::{RunError, RunRecord, RunState, Trigger};
use crate::store::queue::{Cancelled, Decision, QueueQuery, QueueState, QueuedRun, Resume};
use crate::store::{AuditEntry, PageRequest, RunQuery, RunText, Store};

#[derive(Args)]
pub(super) struct RunsArgs {
    #[command(subcommand)]
    command: RunsCommand,
}

#[derive(Subcommand)]
enum RunsCommand {
    /// List runs, newest first: durable ones that have not ended, then the history
    List(ListArgs),
    /// Show one run whole: its error, its trace, and what waits of it
    Show(ShowArgs),
    /// Cancel a durable run that has not ended
    Cancel(OneArgs),
    /// Queue a dead letter anew, with all its attempts
    Replay(ReplayArgs),
    /// Decide about a run in doubt
    Decide(DecideArgs),
}

#[derive(Args)]
struct ListArgs {
    /// Only of this flow or agreement
    #[arg(long, value_name = "ID")]
    flow: Option<String>,
    /// Only in this state: queued, leased, in-doubt, dead; done, failed, stopped
    #[arg(long, value_name = "STATE")]
    state: Option<String>,
    /// Only those with this in their error (of durable ones that have not ended, also in their message), or with this id
    #[arg(long, value_name = "TEXT")]
    text: Option<String>,
    /// Only begun at or after this instant (RFC 3339)
    #[arg(long, value_name = "T")]
    from: Option<Timestamp>,
    /// Only begun before this instant
    #[arg(long, value_name = "T")]
    to: Option<Timestamp>,
    /// At most so many
    #[arg(long, value_name = "N", default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=1000))]
    limit: u32,
    /// Output form
    #[arg(long, value_enum, default_value_t)]
    format: Format,
    #[command(flatten)]
    settings: Settings,
}

#[derive(Args)]
struct ShowArgs {
    /// The run's id
    run: RunId,
    /// Output form
    #[arg(long, value_enum, default_value_t)]
    format: Format,
    #[command(flatten)]
    settings: Settings,
}

#[derive(Args)]
struct OneArgs {
    /// The run's id
    run: RunId,
    #[command(flatten)]
    settings: Settings,
}

#[derive(Clone, Copy, ValueEnum)]
enum Place {
    Point,
    Start,
}

#[derive(Args)]
struct ReplayArgs {
    /// The run's id
    run: RunId,
    /// point: what failed is given to its nodes again; start: the whole run is made again
    #[arg(long, value_enum, default_value = "point")]
    from: Place,
    #[command(flatten)]
    settings: Settings,
}

#[derive(Clone, Copy, ValueEnum)]
enum Decided {
    Again,
    Skip,
    Fail,
}

#[derive(Args)]
struct DecideArgs {
    /// The run's id
    run: RunId,
    /// again: it did not happen, make it; skip: it happened, go on behind it; fail: the run ends as failed
    #[arg(value_enum)]
    decision: Decided,
    #[command(flatten)]
    settings: Settings,
}

pub(super) fn runs(args: &RunsArgs) -> ExitCode {
    let settings = match &args.command {
        RunsCommand::List(args) => &args.settings,
        RunsCommand::Show(args) => &args.settings,
        RunsCommand::Cancel(args) => &args.settings,
        RunsCommand::Replay(args) => &args.settings,
        RunsCommand::Decide(args) => &args.settings,
    };
    let config = match settings.load() {
        Ok(config) => config,
        Err(code) => return code,
    };
    if let RunsCommand::List(ListArgs { state: Some(state), .. }) = &args.command
        && !is_state(state)
    {
        return usage(&format!(
            "--state: expected queued, leased, in-doubt, dead, done, failed or stopped, found \"{state}\""
        ));
    }
    super::log::start(&config, true);
    match runtime().block_on(answer(&args.command, &config)) {
        Ok(text) => {
            print(&text);
            ExitCode::SUCCESS
        }
        Err(problem) => not_so(format!("{problem:#}")),
    }
}

fn is_state(word: &str) -> bool {
    QueueState::parse(word).is_some() || RunState::parse(word).is_some_and(|state| state != RunState::Running)
}

async fn answer(command: &RunsCommand, config: &Config) -> Result<String> {
    let found = app::store_there_is(config).await?;
    let store = found.ok_or_else(|| anyhow!("there is no database yet at {}", shown(config)))?;
    match command {
        RunsCommand::List(args) => list(&*store, args).await,
        RunsCommand::Show(args) => show(&*store, args.run, args.format).await,
        RunsCommand::Cancel(args) => {
            let entry = audit("cancel run", args.run, json!({}));
            match store.cancel_run(args.run, &entry).await? {
                Cancelled::Ended => Ok(format!("run {} is stopped\n", args.run)),
                Cancelled::Wanted => Ok(format!("run {} is cancelled with its worker's next sign of life\n", args.run)),
                Cancelled::Unknown => Err(refused(&*store, args.run, "queued, leased, in doubt or dead").await?),
            }
        }
        RunsCommand::Replay(args) => {
            let from = match args.from {
                Place::Point => Resume::Point,
                Place::Start => Resume::Start,
            };
            let entry = audit("replay run", args.run, json!({ "from": from }));
            match store.replay_run(args.run, from, &entry).await? {
                true => Ok(format!("run {} is queued\n", args.run)),
                false => Err(refused(&*store, args.run, "dead").await?),
            }
        }
        RunsCommand::Decide(args) => {
            let decision = match args.decision {
                Decided::Again => Decision::Again,
                Decided::Skip => Decision::Skip,
                Decided::Fail => Decision::Fail,
            };
            let entry = audit("decide run", args.run, json!({ "decision": decision }));
            match store.decide_run(args.run, decision, &entry).await? {
                true if decision == Decision::Fail => Ok(format!("run {} has failed\n", args.run)),
                true => Ok(format!("run {} is queued\n", args.run)),
                false => Err(refused(&*store, args.run, "in doubt").await?),
            }
        }
    }
}

/// The database's address without what it logs in with.
fn shown(config: &Config) -> String {
    let address = config.database_url();
    let Ok(mut url) = url::Url::parse(&address) else { return address };
    let hidden = url.password().is_some() && url.set_password(Some("…")).is_ok();
    if hidden { url.to_string() } else { address }
}

fn audit(action: &str, run: RunId, detail: Value) -> AuditEntry {
    AuditEntry { at: Clock::System.now(), actor: "cli".into(), action: action.into(), subject: run.to_string(), detail }
}

/// Why something cannot be done to a run.
async fn refused(store: &dyn Store, id: RunId, expected: &str) -> Result<anyhow::Error> {
    let state = match store.queued_run(id).await? {
        Some(run) => run.state.as_str(),
        None => match store.run(id).await? {
            Some(run) => run.state.as_str(),
            None => return Ok(unknown(id)),
        },
    };
    Ok(anyhow!("run {id} is {state}; only a run that is {expected} can be"))
}

fn unknown(id: RunId) -> anyhow::Error {
    anyhow!("there is no run {id}; `probity runs list` lists them")
}

async fn list(store: &dyn Store, args: &ListArgs) -> Result<String> {
    let state = args.state.as_deref();
    let (waiting, past) = (state.and_then(QueueState::parse), state.and_then(RunState::parse));
    let mut queued: Vec<QueuedRun> = Vec::new();
    if past.is_none() {
        let query = QueueQuery {
            flow: args.flow.clone(),
            state: waiting,
            text: args.text.clone(),
            from: args.from,
            to: args.to,
            ..QueueQuery::default()
        };
        queued = store.queued_runs(&query, &PageRequest { limit: args.limit, after: None }).await?.items;
        if let Some(id) = args.text.as_deref().and_then(|text| text.trim().parse().ok()) {
            queued.extend(store.queued_run(id).await?);
        }
    }
    let mut ended: Vec<RunRecord> = Vec::new();
    let left = args.limit.saturating_sub(u32::try_from(queued.len()).unwrap_or(u32::MAX));
    if waiting.is_none() && left > 0 {
        let query = RunQuery {
            subject: args.flow.clone(),
            state: past,
            trigger: None,
            from: args.from,
            to: args.to,
            text: args.text.as_deref().and_then(RunText::of),
        };
        ended = store.runs(&query, &PageRequest { limit: left, after: None }).await?.items;
    }
    if args.format == Format::Json {
        return Ok(format!("{:#}\n", json!({ "queued": queued, "ended": ended })));
    }
    if queued.is_empty() && ended.is_empty() {
        return Ok("no runs\n".into());
    }
    let of_queue = queued.iter().map(|run| {
        line(
            run.id,
            run.state.as_str(),
            &run.flow,
            &run.trigger,
            run.accepted_at,
            Some(run.attempt),
            run.error.as_ref(),
        )
    });
    let of_history = ended.iter().map(|run| {
        line(run.id, run.state.as_str(), &run.subject, &run.trigger, run.started_at, None, run.error.as_ref())
    });
    let rows = of_queue.chain(of_history).collect();
    Ok(report::table(&["run", "state", "flow", "begun by", "at", "attempt", "error"], rows))
}

fn line(
    id: RunId,
    state: &str,
    flow: &str,
    trigger: &Trigger,
    at: Timestamp,
    attempt: Option<u32>,
    error: Option<&RunError>,
) -> Vec<String> {
    // As it is written in JSON: `http`, `cron`, …
    let kind = json!(trigger);
    let kind = kind.as_object().and_then(|object| object.values().next()).and_then(Value::as_str).unwrap_or_default();
    vec![
        id.to_string(),
        state.to_owned(),
        flow.to_owned(),
        kind.to_owned(),
        at.to_string(),
        attempt.map_or_else(String::new, |n| n.to_string()),
        error.map_or_else(String::new, |error| format!("{}: {}", error.node, error.message.replace('\n', " "))),
    ]
}

async fn show(store: &dyn Store, id: RunId, format: Format) -> Result<String> {
    let (waiting, ended) = (store.queued_run(id).await?, store.run(id).await?);
    let run = match (&waiting, &ended) {
        (Some(run), _) => json!(run),
        (None, Some(run)) => json!(run),
        (None, None) => bail!(unknown(id)),
    };
    if format == Format::Json {
        return Ok(format!("{run:#}\n"));
    }
    let mut text = String::new();
    for (key, value) in run.as_object().into_iter().flatten().filter(|(key, _)| *key != "trace") {
        let value = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        text += &format!("{key:<14} {value}\n");
    }
    for step in run["trace"].as_array().into_iter().flatten() {
        text += &format!("  {step}\n");
    }
    Ok(text)
}
