//! `probity explain`: why a stored verdict is as it is.

use std::process::ExitCode;
use std::sync::Arc;

use clap::{Args, ValueEnum};
use serde::Serialize;

use super::{Settings, not_so, print, runtime, usage};
use crate::agreement::explain::VerdictId;
use crate::agreement::explain::words::Language;
use crate::app;
use crate::config::Config;
use crate::evaluate::explain::{ExplainError, budget_kind, explain as explained, explain_budget};
use crate::registry::Agreements;
use crate::store::Store;

#[derive(Args)]
pub(super) struct ExplainArgs {
    /// agreement/guarantee/scope/window, such as shop/FAST/team=blue/2026-03-01, with - for no scope; or a verdict's URL
    verdict: String,
    /// The id is agreement/budget/scope/window: what used the budget up, and how much is left. The window may be `latest`;
    /// a burn rate is budget%2Falert
    #[arg(long)]
    budget: bool,
    /// Language of the text
    #[arg(long, value_enum, default_value_t)]
    lang: Lang,
    /// Output form
    #[arg(long, value_enum, default_value_t)]
    format: Form,
    #[command(flatten)]
    settings: Settings,
}

#[derive(Clone, Copy, Debug, Default, ValueEnum)]
pub(super) enum Lang {
    #[default]
    En,
    Es,
}

impl From<Lang> for Language {
    fn from(lang: Lang) -> Language {
        match lang {
            Lang::En => Language::English,
            Lang::Es => Language::Spanish,
        }
    }
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
enum Form {
    #[default]
    Text,
    Json,
}

pub(super) fn explain(args: &ExplainArgs) -> ExitCode {
    let config = match args.settings.load() {
        Ok(config) => config,
        Err(code) => return code,
    };
    super::log::start(&config, true);
    let id = match VerdictId::parse(&args.verdict) {
        Ok(id) => id,
        Err(problem) => return usage(&problem),
    };
    runtime().block_on(async {
        let (agreements, store) = match surroundings(&config).await {
            Ok(found) => found,
            Err(problem) => return usage(&problem),
        };
        let agreement = agreements.get(&id.agreement);
        let language = Language::from(args.lang);
        if args.budget {
            let kind = budget_kind(agreement.as_deref(), &id);
            let explained = explain_budget(store.as_ref(), agreement.as_deref(), &id, kind).await;
            return shown(explained, args.format, |explanation| explanation.lines(language));
        }
        let explained = explained(store.as_ref(), agreement.as_deref(), &id).await;
        shown(explained, args.format, |explanation| explanation.lines(language))
    })
}

fn shown<T: Serialize>(
    explained: Result<T, ExplainError>,
    format: Form,
    lines: impl Fn(&T) -> Vec<String>,
) -> ExitCode {
    match explained {
        Err(ExplainError::BadId(problem)) => usage(&problem),
        Err(other) => not_so(other),
        Ok(explanation) if format == Form::Json => {
            let json = serde_json::to_string_pretty(&explanation).expect("an explanation is JSON");
            print(&format!("{json}\n"));
            ExitCode::SUCCESS
        }
        Ok(explanation) => {
            print(&format!("{}\n", lines(&explanation).join("\n")));
            ExitCode::SUCCESS
        }
    }
}

/// What both this command and `simulate` need: the configured agreements and the store.
pub(super) async fn surroundings(config: &Config) -> Result<(Arc<Agreements>, Arc<dyn Store>), String> {
    let net = app::net(config).map_err(|e| format!("{e:#}"))?;
    let agreements = app::load_agreements(config, &net).await.map_err(|e| format!("{e:#}"))?;
    let store = app::open_store(config).await.map_err(|e| format!("{e:#}"))?;
    Ok((agreements, store))
}
