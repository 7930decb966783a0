//! `probity flows history|show|diff|rollback`: revisions of the flows in the store, also while servers run; those follow.

use std::process::ExitCode;

use anyhow::{Context, Result, anyhow};
use serde_json::{Map, Value as Json};

use super::{Format, print};
use crate::app;
use crate::config::Config;
use crate::flow;
use crate::flow::credentials::Credentials;
use crate::runtime::credential_file::CredentialFile;
use crate::store::{AuditEntry, FlowRevision, NewFlowRevision, PageRequest, Store};

/// What is asked of the history.
pub(super) enum Ask {
    List { limit: u32, format: Format },
    Show { number: i64 },
    Diff { from: Option<i64>, to: i64 },
    RollBack { number: i64 },
}

/// Opens the configured store and answers.
pub(super) fn answer(config: &Config, ask: &Ask) -> ExitCode {
    let done = super::runtime().block_on(async {
        let found = app::store_there_is(config).await?;
        let store = found.ok_or_else(|| anyhow!("there is no database yet at {}", config.database_url()))?;
        answer_from(&*store, config, ask).await
    });
    match done {
        Ok(text) => {
            print(&text);
            ExitCode::SUCCESS
        }
        Err(problem) => super::not_so(format!("{problem:#}")),
    }
}

async fn answer_from(store: &dyn Store, config: &Config, ask: &Ask) -> Result<String> {
    match ask {
        Ask::List { limit, format } => list(store, *limit, *format).await,
        Ask::Show { number } => Ok(format!("{}\n", read(store, *number).await?.revision.flows)),
        Ask::Diff { from, to } => {
            let after = entries(&read(store, *to).await?)?;
            let from = from.unwrap_or(to - 1);
            let before = if from == 0 { Vec::new() } else { entries(&read(store, from).await?)? };
            Ok(format!("{:#}\n", flow::changes(&before, &after)))
        }
        Ask::RollBack { number } => roll_back(store, config, *number).await,
    }
}

async fn list(store: &dyn Store, limit: u32, format: Format) -> Result<String> {
    let page = store.flow_revisions(&PageRequest { limit, after: None }).await?;
    if format == Format::Json {
        return Ok(format!("{:#}\n", serde_json::to_value(&page.items)?));
    }
    let mut text = String::new();
    for about in page.items {
        let hash = about.head.hash.get(..12).unwrap_or(&about.head.hash);
        text += &format!(
            "{:>6}  {}  {:<20}  {:<16}  {}  {} bytes\n",
            about.head.number, about.at, about.author, about.action, hash, about.bytes
        );
    }
    Ok(text)
}

async fn read(store: &dyn Store, number: i64) -> Result<FlowRevision> {
    let found = store.flow_revision(number).await?;
    found.ok_or_else(|| anyhow!("there is no revision {number} of the flows; `probity flows history` lists them"))
}

fn entries(revision: &FlowRevision) -> Result<Vec<Map<String, Json>>> {
    serde_json::from_str(&revision.revision.flows).with_context(|| format!("revision {}", revision.number))
}

async fn roll_back(store: &dyn Store, config: &Config, number: i64) -> Result<String> {
    let head = store.flow_head().await?.ok_or_else(|| anyhow!("there are no revisions of the flows yet"))?;
    let (newest, wanted) = (read(store, head.number).await?, read(store, number).await?);
    let file = app::credentials::open(config)?;
    let at = crate::clock::Clock::System.now();
    let revision = NewFlowRevision {
        hash: wanted.revision.hash.clone(),
        author: "cli".into(),
        action: format!("rollback to {number}"),
        at,
        flows: wanted.revision.flows.clone(),
        credentials: credentials(&file, &wanted, &newest)?,
    };
    let keep = config.retention.flow_revisions_max;
    let Some(new) = store.put_flow_revision(head.number, &revision, keep).await? else {
        return Err(anyhow!("another revision came in between; look at `probity flows history` and decide anew"));
    };
    let mut detail = flow::changes(&entries(&newest)?, &entries(&wanted)?);
    (detail["revision"], detail["to"]) = (revision.hash.into(), number.into());
    store
        .audit(&AuditEntry { at, actor: "cli".into(), action: "rollback".into(), subject: "flows".into(), detail })
        .await?;
    Ok(format!("revision {new} is revision {number} again; servers that run follow it\n"))
}

/// Those of the newest revision; nodes that come back have theirs of then.
fn credentials(file: &CredentialFile, then: &FlowRevision, now: &FlowRevision) -> Result<Option<String>> {
    let open = |revision: &FlowRevision| -> Result<Map<String, Json>> {
        match &revision.revision.credentials {
            None => Ok(Map::new()),
            Some(sealed) => {
                let problem = |e| anyhow!("the credentials of revision {}: {e}", revision.number);
                Ok(match file.unseal(sealed).map_err(problem)?.to_json() {
                    Json::Object(by_id) => by_id,
                    _ => Map::new(),
                })
            }
        }
    };
    let mut all = open(then)?;
    all.extend(open(now)?);
    let all = Credentials::of_json(Json::Object(all)).unwrap_or_default();
    Ok(file.seal(&all)?)
}
