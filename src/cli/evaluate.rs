//! `probity evaluate`: one evaluation, printed; stored only with `--store`.

use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

use clap::Args;
use jiff::Timestamp;

use super::{Format, Settings, not_so, print, report, runtime, usage};
use crate::app::{self, Surroundings};
use crate::clock::Clock;
use crate::config::Config;
use crate::evaluate::dry_run::DryRun;
use crate::evaluate::{self, Evaluation, Request, Windows};
use crate::model::agreement::Agreement;
use crate::model::run::Trigger;
use crate::model::state::{StateKind, Verdict};
use crate::model::{Diagnostic, Severity};
use crate::registry::Agreements;
use crate::store::{AuditEntry, Store};

#[derive(Args)]
pub(super) struct EvaluateArgs {
    /// Agreement id, or a file
    agreement: String,
    /// Start of the range: an instant (RFC 3339) or a date in the agreement's zone [default: the last closed windows]
    #[arg(long, value_name = "T")]
    from: Option<String>,
    /// End of the range, exclusive; every window that overlaps it is evaluated, whole [default: now]
    #[arg(long, value_name = "T")]
    to: Option<String>,
    /// Only this guarantee
    #[arg(long, value_name = "ID")]
    guarantee: Option<String>,
    /// Output form
    #[arg(long, value_enum, default_value_t)]
    format: Format,
    /// Store the verdicts in the configured database
    #[arg(long, conflicts_with = "dry_run")]
    store: bool,
    /// Say what would be asked and judged, and ask nobody
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    settings: Settings,
}

pub(super) fn evaluate(args: &EvaluateArgs) -> ExitCode {
    let config = match args.settings.load() {
        Ok(config) => config,
        Err(code) => return code,
    };
    super::log::start(&config, true);
    runtime().block_on(async {
        match evaluate_once(args, &config).await {
            Ok(Done::Evaluated(evaluation, nothing)) => show(args, &evaluation, nothing.as_deref()),
            Ok(Done::Planned(plan, nothing)) => {
                show_plan(args, &plan, nothing.as_deref());
                ExitCode::SUCCESS
            }
            Err(code) => code,
        }
    })
}

fn show_plan(args: &EvaluateArgs, plan: &DryRun, nothing: Option<&str>) {
    print(&match args.format {
        Format::Json => {
            let mut whole = serde_json::to_value(plan).expect("a plan is JSON");
            if let Some(why) = nothing {
                whole["reason"] = why.into();
            }
            format!("{}\n", serde_json::to_string_pretty(&whole).expect("a plan is JSON"))
        }
        Format::Table => report::plan(plan) + &nothing.map(line_of_nothing).unwrap_or_default(),
    });
}

fn line_of_nothing(why: &str) -> String {
    format!("nothing to judge: {why}\n")
}

fn show(args: &EvaluateArgs, evaluation: &Evaluation, nothing: Option<&str>) -> ExitCode {
    match args.format {
        Format::Json => {
            let verdicts: Vec<_> = evaluation.verdicts().map(|s| s.to_verdict_json()).collect();
            let mut whole = serde_json::json!({ "verdicts": verdicts });
            let of =
                |kind| evaluation.budgets().filter(move |s| s.kind == kind).map(|s| super::budget::to_json(s, None));
            for (key, kind) in [("budgets", StateKind::Budget), ("burn_rates", StateKind::BurnRate)] {
                if evaluation.budgets().next().is_some() {
                    whole[key] = of(kind).collect();
                }
            }
            if !evaluation.kept.is_empty() {
                whole["kept"] = serde_json::json!(evaluation.kept);
            }
            if !evaluation.left_out.is_empty() {
                whole["left_out"] = serde_json::json!(evaluation.left_out);
            }
            if let Some(why) = nothing {
                whole["reason"] = why.into();
            }
            let json = serde_json::to_string_pretty(&whole);
            print(&format!("{}\n", json.expect("verdicts are JSON")));
        }
        Format::Table => {
            print(&report::verdicts(evaluation.verdicts()));
            if evaluation.budgets().next().is_some() {
                print(&format!("\n{}", report::budgets(evaluation.budgets())));
            }
            for kept in &evaluation.kept {
                let scope = kept.scope.text();
                print(&format!("kept: {} {scope} {}: {}\n", kept.guarantee, kept.window.text(), kept.reason));
            }
            for left_out in &evaluation.left_out {
                print(&format!("left out: {left_out}\n"));
            }
            if let Some(why) = nothing {
                print(&line_of_nothing(why));
            }
        }
    }
    if evaluation.verdicts().any(|s| s.verdict == Some(Verdict::Violated)) {
        ExitCode::from(1)
    } else {
        ExitCode::SUCCESS
    }
}

/// What was done, and why there was nothing to judge, if so.
enum Done {
    Evaluated(Box<Evaluation>, Option<String>),
    Planned(DryRun, Option<String>),
}

async fn evaluate_once(args: &EvaluateArgs, config: &Config) -> Result<Done, ExitCode> {
    let net = app::net(config).map_err(|e| usage(&format!("{e:#}")))?;
    let configured = app::load_agreements(config, &net).await.map_err(|e| usage(&format!("{e:#}")))?;
    let (agreement, agreements) = find(args, configured.snapshot().agreements.clone())?;
    let flows = app::load_flows(config, false).map_err(|e| usage(&format!("{e:#}")))?;
    let store = if args.store {
        app::make_data_dir(&config.data_dir).map_err(|e| usage(&format!("{e:#}")))?;
        let store = app::open_store(config).await.map_err(|e| usage(&format!("{e:#}")))?;
        store.migrate().await.map_err(|e| usage(&e.to_string()))?;
        store
    } else {
        let store = crate::store::open("memory:", &Default::default()).await.map_err(|e| usage(&e.to_string()))?;
        take_waivers(config, &agreement.id, &*store).await;
        store
    };
    let clock = Clock::System;
    let windows = windows(args, &agreement, clock.now()).map_err(|e| usage(&e))?;
    let surroundings = Surroundings { clock, net, store: store.clone(), observer: None };
    let plugins = app::plugins::start(config, &surroundings.net, &surroundings.clock, &flows.loaded).await;
    let engine = app::engine(config, surroundings, &plugins);
    // Injections and schedules belong to the server; here they would act beside it.
    engine.deploy_idle(app::plan(&engine, &flows.loaded));
    let evaluator = app::evaluator(config, &engine, &store, Agreements::fixed(agreements), Default::default());
    app::name_plugins(&evaluator, &plugins);
    let request = Request {
        agreement,
        windows,
        guarantee: args.guarantee.clone(),
        trigger: Trigger::Manual { by: "cli".into() },
        actor: "cli".into(),
        store: args.store,
        claim: None,
    };
    let (agreement, windows) = (request.agreement.clone(), request.windows);
    let why = |is_empty: bool| is_empty.then(|| evaluate::nothing_to_judge(&agreement, windows));
    if args.dry_run {
        let plan = evaluator.dry_run(&request).map_err(|e| usage(&e.to_string()))?;
        let nothing = why(plan.judges.is_empty());
        return Ok(Done::Planned(plan, nothing));
    }
    let evaluation = evaluator.run(request).await.map_err(|e| match e {
        crate::evaluate::EvaluateError::Store(_) => not_so(e),
        _ => usage(&e.to_string()),
    })?;
    let nothing = why(evaluation.verdicts().next().is_none());
    Ok(Done::Evaluated(Box::new(evaluation), nothing))
}

/// The waivers stored for an agreement hold here, too: an evaluation that passes them over would say something else
/// than the server. When they cannot be read, that is said.
async fn take_waivers(config: &Config, agreement: &str, into: &dyn Store) {
    let taken = async {
        let audit = |at| AuditEntry {
            at,
            actor: "cli".into(),
            action: "waive".into(),
            subject: agreement.into(),
            detail: serde_json::Value::Null,
        };
        let Some(store) = app::store_there_is(config).await? else { return anyhow::Ok(()) };
        for waiver in store.waivers(Some(agreement)).await? {
            into.add_waiver(&waiver, &audit(waiver.from)).await?;
        }
        anyhow::Ok(())
    };
    if let Err(error) = taken.await {
        eprintln!("warning: stored waivers are not taken into account: {error:#}");
    }
}

/// The agreement asked for, among those configured or in a file of its own.
fn find(
    args: &EvaluateArgs,
    mut agreements: Vec<Arc<Agreement>>,
) -> Result<(Arc<Agreement>, Vec<Arc<Agreement>>), ExitCode> {
    if let Some(found) = agreements.iter().find(|a| a.id == args.agreement) {
        return Ok((found.clone(), agreements));
    }
    let path = Path::new(&args.agreement);
    if !path.is_file() {
        let known = agreements.iter().map(|a| a.id.as_str());
        let hint = match crate::model::diagnostic::closest(&args.agreement, known) {
            Some(best) => format!("did you mean \"{best}\"?"),
            None => format!("known ids: {}", agreements.iter().map(|a| a.id.as_str()).collect::<Vec<_>>().join(", ")),
        };
        return Err(usage(&format!("no agreement and no file \"{}\"; {hint}", args.agreement)));
    }
    let text = std::fs::read_to_string(path).map_err(|e| usage(&format!("cannot read {}: {e}", path.display())))?;
    let (agreement, diagnostics) = crate::agreement::load(&text, &args.agreement);
    for diagnostic in &diagnostics {
        eprintln!("{}", at(diagnostic, &args.agreement));
    }
    match agreement {
        Some(agreement) if !diagnostics.iter().any(|d| d.severity == Severity::Error) => {
            let agreement = Arc::new(agreement);
            agreements.retain(|a| a.id != agreement.id);
            agreements.push(agreement.clone());
            Ok((agreement, agreements))
        }
        _ => Err(usage(&format!("{} cannot be evaluated; `probity check` lists its problems", args.agreement))),
    }
}

fn at(diagnostic: &Diagnostic, file: &str) -> Diagnostic {
    match diagnostic.file.is_empty() {
        true => diagnostic.clone().in_file(file),
        false => diagnostic.clone(),
    }
}

fn windows(args: &EvaluateArgs, agreement: &Agreement, now: Timestamp) -> Result<Windows, String> {
    let parse = |flag: &str, text: &str| {
        crate::agreement::instant(text, &agreement.time_zone).ok_or_else(|| {
            format!("{flag} {text}: expected an instant such as 2026-03-01T00:00:00Z or a date such as 2026-03-01")
        })
    };
    let from = args.from.as_deref().map(|t| parse("--from", t)).transpose()?;
    let to = args.to.as_deref().map(|t| parse("--to", t)).transpose()?;
    match (from, to) {
        (None, None) => Ok(Windows::LastClosed { at: now, count: 1 }),
        (from, to) => range(from, to, agreement, now),
    }
}

/// The range asked for. Without `--from` it begins with the agreement, without `--to` it ends now.
fn range(
    from: Option<Timestamp>,
    to: Option<Timestamp>,
    agreement: &Agreement,
    now: Timestamp,
) -> Result<Windows, String> {
    let begin = agreement.valid_from;
    match (from, to) {
        (Some(from), Some(to)) if from >= to => Err(format!("--from {from} is not before --to {to}")),
        (None, Some(to)) if begin >= to => Err(format!(
            "--to {to} is not after the start of the agreement, {begin}, where the range begins without --from; give \
             a later --to"
        )),
        (Some(from), None) if from >= now => Err(format!(
            "--from {from} is not before now, {now}, where the range ends without --to; give an earlier --from, or --to"
        )),
        (from, to) => Ok(Windows::Overlapping { from: from.unwrap_or(begin), to: to.unwrap_or(now) }),
    }
}
