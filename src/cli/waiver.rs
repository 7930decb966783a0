//! `probity waiver add`, `list` and `end`: waivers in the configured database.

use std::process::ExitCode;
use std::sync::Arc;

use clap::{Args, Subcommand};
use serde_json::json;

use super::{Format, Settings, not_so, print, report, runtime, usage};
use crate::agreement::waivers::Draft;
use crate::app::{self, Surroundings};
use crate::clock::Clock;
use crate::config::Config;
use crate::evaluate::Evaluator;
use crate::model::run::Trigger;
use crate::model::state::Scope;
use crate::model::waiver::{Origin, Waiver};
use crate::store::{AuditEntry, Store};

#[derive(Args)]
pub(super) struct WaiverArgs {
    #[command(subcommand)]
    command: WaiverCommand,
}

#[derive(Subcommand)]
enum WaiverCommand {
    /// Accept what is violated or unknown, for a reason and a time; stored verdicts change at once
    Add(AddArgs),
    /// List waivers, of documents and stored, ended and expired ones too
    List(ListArgs),
    /// End a stored waiver now; it stays to be seen
    End(EndArgs),
}

#[derive(Args)]
struct AddArgs {
    /// Agreement id
    agreement: String,
    /// Why it is accepted
    #[arg(long, value_name = "TEXT")]
    reason: String,
    /// Who answers for it
    #[arg(long, value_name = "NAME")]
    owner: String,
    /// When it ends: an instant (RFC 3339) or a date in the agreement's zone
    #[arg(long, value_name = "T")]
    expires: String,
    /// When it begins [default: now]
    #[arg(long, value_name = "T")]
    from: Option<String>,
    /// Only windows that start before this [default: --expires]
    #[arg(long, value_name = "T")]
    to: Option<String>,
    /// Only this guarantee [default: all]
    #[arg(long, value_name = "ID")]
    guarantee: Option<String>,
    /// Only scopes with this member, as dimension=member; several times for several dimensions
    #[arg(long, value_name = "KEY=MEMBER")]
    scope: Vec<String>,
    /// Name of the waiver [default: a fresh one]
    #[arg(long, value_name = "ID")]
    id: Option<String>,
    #[command(flatten)]
    settings: Settings,
}

#[derive(Args)]
struct ListArgs {
    /// Only of this agreement
    agreement: Option<String>,
    /// Only those in force now
    #[arg(long)]
    in_force: bool,
    /// Output form
    #[arg(long, value_enum, default_value_t)]
    format: Format,
    #[command(flatten)]
    settings: Settings,
}

#[derive(Args)]
struct EndArgs {
    /// Agreement id
    agreement: String,
    /// The waiver's id
    id: String,
    #[command(flatten)]
    settings: Settings,
}

pub(super) fn waiver(args: &WaiverArgs) -> ExitCode {
    let settings = match &args.command {
        WaiverCommand::Add(args) => &args.settings,
        WaiverCommand::List(args) => &args.settings,
        WaiverCommand::End(args) => &args.settings,
    };
    let config = match settings.load() {
        Ok(config) => config,
        Err(code) => return code,
    };
    super::log::start(&config, true);
    let done = runtime().block_on(async {
        let desk = Desk::open(&config).await?;
        match &args.command {
            WaiverCommand::Add(args) => desk.add(args).await,
            WaiverCommand::List(args) => desk.list(args).await,
            WaiverCommand::End(args) => desk.end(args).await,
        }
    });
    match done {
        Ok(text) => {
            print(&text);
            ExitCode::SUCCESS
        }
        Err(code) => code,
    }
}

/// The configured database, and the evaluator that judges its verdicts again.
struct Desk {
    store: Arc<dyn Store>,
    evaluator: Arc<Evaluator>,
}

impl Desk {
    async fn open(config: &Config) -> Result<Desk, ExitCode> {
        let wrong = |e: anyhow::Error| usage(&format!("{e:#}"));
        app::make_data_dir(&config.data_dir).map_err(wrong)?;
        let net = app::net(config).map_err(wrong)?;
        let agreements = app::load_agreements(config, &net).await.map_err(wrong)?;
        let store = app::open_store(config).await.map_err(wrong)?;
        store.migrate().await.map_err(|e| usage(&e.to_string()))?;
        let surroundings = Surroundings { clock: Clock::System, net, store: store.clone(), observer: None };
        let plugins = app::plugins::none(config, &surroundings.net, &surroundings.clock);
        let engine = app::engine(config, surroundings, &plugins);
        let evaluator = app::evaluator(config, &engine, &store, agreements, Default::default());
        Ok(Desk { store, evaluator })
    }

    async fn add(&self, args: &AddArgs) -> Result<String, ExitCode> {
        let agreement = self.evaluator.agreement(&args.agreement).map_err(|e| usage(&e.to_string()))?;
        let draft = Draft {
            id: args.id.clone(),
            agreement: args.agreement.clone(),
            guarantee: args.guarantee.clone(),
            scope: scope(&args.scope)?,
            reason: args.reason.clone(),
            owner: args.owner.clone(),
            from: args.from.clone(),
            to: args.to.clone(),
            expires: Some(args.expires.clone()),
        };
        let now = Clock::System.now();
        let waiver = draft.waiver(&agreement, "cli", now).map_err(|problems| {
            let all: Vec<String> = problems.iter().map(|(field, problem)| format!("--{field}: {problem}")).collect();
            usage(&all.join("\n"))
        })?;
        let known = agreement.waivers.iter().any(|other| other.id == waiver.id);
        let audit = entry("waive", &waiver, now);
        if known || !self.store.add_waiver(&waiver, &audit).await.map_err(not_so)? {
            let taken = format!(
                "agreement \"{}\" has a waiver \"{}\"; give another --id, or none",
                waiver.agreement, waiver.id
            );
            return Err(not_so(taken));
        }
        let changed = self.review(&args.agreement).await?;
        Ok(format!("{} until {}: {changed} stored verdicts changed\n", waiver.id, waiver.expires))
    }

    async fn end(&self, args: &EndArgs) -> Result<String, ExitCode> {
        let now = Clock::System.now();
        let stored = self.store.waivers(Some(&args.agreement)).await.map_err(not_so)?;
        let Some(waiver) = stored.iter().find(|waiver| waiver.id == args.id) else {
            let known: Vec<&str> = stored.iter().map(|waiver| waiver.id.as_str()).collect();
            let known =
                if known.is_empty() { "it has none stored".into() } else { format!("it has {}", known.join(", ")) };
            return Err(not_so(format!(
                "agreement \"{}\" has no stored waiver \"{}\"; {known}",
                args.agreement, args.id
            )));
        };
        let audit = entry("end waiver", waiver, now);
        if !self.store.end_waiver(&args.agreement, &args.id, now, &audit).await.map_err(not_so)? {
            return Err(not_so(format!("waiver \"{}\" ended at {}", args.id, waiver.ends())));
        }
        let changed = self.review(&args.agreement).await?;
        Ok(format!("{} ended: {changed} stored verdicts changed\n", args.id))
    }

    async fn list(&self, args: &ListArgs) -> Result<String, ExitCode> {
        let now = Clock::System.now();
        let wanted = args.agreement.as_deref();
        let mut waivers = self.store.waivers(wanted).await.map_err(not_so)?;
        waivers.extend(self.evaluator.agreements.snapshot().agreements.iter().flat_map(|a| a.waivers.clone()));
        waivers.retain(|w| wanted.is_none_or(|id| w.agreement == id) && (!args.in_force || w.in_force(now)));
        waivers.sort_by(|a, b| (&a.agreement, &a.id).cmp(&(&b.agreement, &b.id)));
        if args.format == Format::Json {
            let json = serde_json::to_string_pretty(&json!({ "waivers": waivers })).expect("waivers are JSON");
            return Ok(format!("{json}\n"));
        }
        let rows = waivers.iter().map(|waiver| {
            let state = match () {
                () if waiver.in_force(now) => "in force",
                () if waiver.from > now => "to come",
                () if waiver.ended_at.is_some() => "ended",
                () => "expired",
            };
            vec![
                waiver.agreement.clone(),
                waiver.id.clone(),
                waiver.guarantee.clone().unwrap_or_else(|| "*".into()),
                waiver.scope.text(),
                state.into(),
                waiver.from.to_string(),
                waiver.ends().to_string(),
                waiver.owner.clone(),
                if waiver.origin == Origin::Document {
                    format!("{} (document)", waiver.reason)
                } else {
                    waiver.reason.clone()
                },
            ]
        });
        let header = ["agreement", "id", "guarantee", "scope", "state", "from", "ends", "owner", "reason"];
        Ok(report::table(&header, rows.collect()))
    }

    async fn review(&self, agreement: &str) -> Result<u64, ExitCode> {
        // One that is not loaded has no verdicts that could be judged again.
        let Ok(agreement) = self.evaluator.agreement(agreement) else { return Ok(0) };
        let trigger = Trigger::Manual { by: "cli".into() };
        let reviewed = self.evaluator.review_waivers(&agreement, trigger, "cli").await.map_err(not_so)?;
        Ok(reviewed.map_or(0, |committed| committed.revised + committed.inserted))
    }
}

fn scope(members: &[String]) -> Result<Scope, ExitCode> {
    let mut scope = Scope::default();
    for text in members {
        let Some((key, member)) = text.split_once('=').filter(|(key, _)| !key.is_empty()) else {
            return Err(usage(&format!("--scope {text}: expected dimension=member, such as team=blue")));
        };
        scope.0.insert(key.to_owned(), member.to_owned());
    }
    Ok(scope)
}

fn entry(action: &str, waiver: &Waiver, now: jiff::Timestamp) -> AuditEntry {
    AuditEntry {
        at: now,
        actor: "cli".into(),
        action: action.to_owned(),
        subject: waiver.agreement.clone(),
        detail: json!(waiver),
    }
}
