//! `probity budget`: what is left of error budgets, and which burn rates are too high, as stored.

use std::process::ExitCode;

use clap::Args;
use jiff::Timestamp;
use jiff::tz::TimeZone;

use super::{Format, Settings, not_so, print, report, runtime, usage};
use crate::app;
use crate::config::Config;
use crate::model::budget::Figures;
use crate::model::state::{State, StateKind, StoredState, Verdict};
use crate::store::{PageRequest, StateQuery};

#[derive(Args)]
pub(super) struct BudgetArgs {
    /// Only of this agreement
    agreement: Option<String>,
    /// Only this budget; with --burn-rates `<budget>/<alert>`
    #[arg(long, value_name = "ID")]
    budget: Option<String>,
    /// How fast budgets are used up, and which alerts fire, instead
    #[arg(long)]
    burn_rates: bool,
    /// Only periods that end after this: an instant (RFC 3339) or a date (UTC)
    #[arg(long, value_name = "T")]
    from: Option<String>,
    /// Only periods that start before this
    #[arg(long, value_name = "T")]
    to: Option<String>,
    /// What was believed at this instant, instead of now
    #[arg(long, value_name = "T")]
    as_of: Option<String>,
    /// At most so many, the newest periods first
    #[arg(long, value_name = "N", default_value_t = 100)]
    limit: u32,
    /// Output form
    #[arg(long, value_enum, default_value_t)]
    format: Format,
    #[command(flatten)]
    settings: Settings,
}

pub(super) fn budget(args: &BudgetArgs) -> ExitCode {
    let config = match args.settings.load() {
        Ok(config) => config,
        Err(code) => return code,
    };
    super::log::start(&config, true);
    let found = match runtime().block_on(read(args, &config)) {
        Ok(found) => found,
        Err(code) => return code,
    };
    print(&match args.format {
        Format::Json => {
            let key = if args.burn_rates { "burn_rates" } else { "budgets" };
            let items: Vec<_> = found.iter().map(|stored| to_json(&stored.state, Some(stored.revision))).collect();
            let mut whole = serde_json::Map::new();
            whole.insert(key.into(), items.into());
            format!("{}\n", serde_json::to_string_pretty(&whole).expect("budgets are JSON"))
        }
        Format::Table => report::budgets(found.iter().map(|stored| &stored.state)),
    });
    ExitCode::SUCCESS
}

/// A budget or burn rate as JSON, with its exact figures.
pub(super) fn to_json(state: &State, revision: Option<u32>) -> serde_json::Value {
    serde_json::json!({
        "agreement": state.agreement,
        "budget": state.of,
        "scope": state.scope,
        "window": state.window,
        "verdict": state.verdict.map(Verdict::as_str),
        "value": state.value,
        "score": state.score,
        "reason": state.reason,
        "coverage": state.coverage,
        "provisional": state.provisional,
        "figures": Figures::of(state),
        "revision": revision,
        "agreement_version": state.agreement_version,
        "run": state.run,
    })
}

async fn read(args: &BudgetArgs, config: &Config) -> Result<Vec<StoredState>, ExitCode> {
    let instant = |flag: &str, text: &Option<String>| -> Result<Option<Timestamp>, ExitCode> {
        let Some(text) = text else { return Ok(None) };
        let at = crate::agreement::instant(text, &TimeZone::UTC);
        at.map(Some).ok_or_else(|| usage(&format!("{flag} {text}: expected an instant such as 2026-03-01T00:00:00Z")))
    };
    let query = StateQuery {
        agreement: args.agreement.clone(),
        kind: Some(if args.burn_rates { StateKind::BurnRate } else { StateKind::Budget }),
        of: args.budget.clone(),
        from: instant("--from", &args.from)?,
        to: instant("--to", &args.to)?,
        as_of: instant("--as-of", &args.as_of)?,
        ..StateQuery::default()
    };
    app::make_data_dir(&config.data_dir).map_err(|e| usage(&format!("{e:#}")))?;
    let store = app::open_store(config).await.map_err(|e| usage(&format!("{e:#}")))?;
    store.migrate().await.map_err(|e| usage(&e.to_string()))?;
    let mut found = Vec::new();
    let mut page = PageRequest { limit: 0, after: None };
    while found.len() < args.limit as usize {
        page.limit = u32::try_from((args.limit as usize - found.len()).min(1000)).unwrap_or(1000);
        let stored = store.states(&query, &page).await.map_err(not_so)?;
        found.extend(stored.items);
        page.after = stored.next;
        if page.after.is_none() {
            break;
        }
    }
    Ok(found)
}
