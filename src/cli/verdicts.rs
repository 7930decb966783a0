//! `probity verdicts`: what is stored, as it is believed now or was believed at an instant, and what was corrected.

use std::process::ExitCode;

use clap::Args;
use jiff::Timestamp;
use jiff::tz::TimeZone;

use super::{Format, Settings, not_so, print, report, runtime, usage};
use crate::app;
use crate::config::Config;
use crate::model::state::{Correction, StateKind, StoredState, Verdict};
use crate::store::{PageRequest, StateQuery};

#[derive(Args)]
pub(super) struct VerdictsArgs {
    /// Only of this agreement
    agreement: Option<String>,
    /// Only of this guarantee
    #[arg(long, value_name = "ID")]
    guarantee: Option<String>,
    /// Only this verdict: fulfilled, violated, unknown, waived or not-applicable
    #[arg(long, value_name = "WORD")]
    verdict: Option<String>,
    /// Only windows that end after this: an instant (RFC 3339) or a date (UTC)
    #[arg(long, value_name = "T")]
    from: Option<String>,
    /// Only windows that start before this
    #[arg(long, value_name = "T")]
    to: Option<String>,
    /// What was believed at this instant, instead of now
    #[arg(long, value_name = "T")]
    as_of: Option<String>,
    /// Corrections of closed windows instead: from what to what, why, and when it became known
    #[arg(long)]
    corrections: bool,
    /// At most so many, the newest windows (or corrections) first
    #[arg(long, value_name = "N", default_value_t = 100)]
    limit: u32,
    /// Output form
    #[arg(long, value_enum, default_value_t)]
    format: Format,
    #[command(flatten)]
    settings: Settings,
}

pub(super) fn verdicts(args: &VerdictsArgs) -> ExitCode {
    let config = match args.settings.load() {
        Ok(config) => config,
        Err(code) => return code,
    };
    super::log::start(&config, true);
    match runtime().block_on(read(args, &config)) {
        Ok(text) => {
            print(&text);
            ExitCode::SUCCESS
        }
        Err(code) => code,
    }
}

async fn read(args: &VerdictsArgs, config: &Config) -> Result<String, ExitCode> {
    let query = query(args).map_err(|problem| usage(&problem))?;
    app::make_data_dir(&config.data_dir).map_err(|e| usage(&format!("{e:#}")))?;
    let store = app::open_store(config).await.map_err(|e| usage(&format!("{e:#}")))?;
    store.migrate().await.map_err(|e| usage(&e.to_string()))?;
    let (mut states, mut corrections): (Vec<StoredState>, Vec<Correction>) = Default::default();
    let mut page = PageRequest { limit: 0, after: None };
    loop {
        let left = args.limit as usize - states.len() - corrections.len();
        if left == 0 {
            break;
        }
        page.limit = u32::try_from(left.min(1000)).unwrap_or(1000);
        page.after = if args.corrections {
            let found = store.corrections(&query, &page).await.map_err(not_so)?;
            corrections.extend(found.items);
            found.next
        } else {
            let found = store.states(&query, &page).await.map_err(not_so)?;
            states.extend(found.items);
            found.next
        };
        if page.after.is_none() {
            break;
        }
    }
    Ok(match (args.format, args.corrections) {
        (Format::Json, true) => json(&serde_json::json!({ "corrections": corrections })),
        (Format::Json, false) => json(&serde_json::json!({ "verdicts": states })),
        (Format::Table, true) => table_of(&corrections),
        (Format::Table, false) => report::verdicts(states.iter().map(|stored| &stored.state)),
    })
}

fn json(value: &serde_json::Value) -> String {
    format!("{}\n", serde_json::to_string_pretty(value).expect("JSON prints"))
}

fn table_of(corrections: &[Correction]) -> String {
    let said = |stored: &StoredState| {
        let value = stored.state.value.map(|v| format!(" {}", crate::model::value::number_to_string(v)));
        format!("{}{}", stored.state.verdict.map_or("-", Verdict::as_str), value.unwrap_or_default())
    };
    let rows = corrections.iter().map(|correction| {
        let state = &correction.after.state;
        vec![
            state.agreement.clone(),
            state.of.clone(),
            state.scope.text(),
            state.window.text(),
            correction.after.revision.to_string(),
            said(&correction.before),
            said(&correction.after),
            correction.because.as_str().into(),
            correction.after.recorded_at.to_string(),
        ]
    });
    report::table(
        &["agreement", "guarantee", "scope", "window", "revision", "from", "to", "because", "known"],
        rows.collect(),
    )
}

fn query(args: &VerdictsArgs) -> Result<StateQuery, String> {
    let instant = |flag: &str, text: &Option<String>| -> Result<Option<Timestamp>, String> {
        let Some(text) = text else { return Ok(None) };
        let at = crate::agreement::instant(text, &TimeZone::UTC);
        at.map(Some).ok_or_else(|| format!("{flag} {text}: expected an instant such as 2026-03-01T00:00:00Z"))
    };
    let verdict = match args.verdict.as_deref() {
        None => None,
        Some(word) => Some(
            Verdict::parse(word)
                .ok_or_else(|| format!("--verdict {word}: expected one of {}", Verdict::WORDS.join(", ")))?,
        ),
    };
    Ok(StateQuery {
        agreement: args.agreement.clone(),
        kind: Some(StateKind::Guarantee),
        of: args.guarantee.clone(),
        scope: None,
        verdict,
        from: instant("--from", &args.from)?,
        to: instant("--to", &args.to)?,
        provisional: None,
        as_of: instant("--as-of", &args.as_of)?,
    })
}
