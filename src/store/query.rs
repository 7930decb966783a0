//! Lists of what is stored: which of it, and how much.

use jiff::Timestamp;
use serde::Serialize;

use crate::model::RunId;
use crate::model::run::{self, RunRecord, RunState};
use crate::model::state::{Scope, StateKind, Verdict};

/// Which states to list. Everything given must hold.
#[derive(Clone, Debug, Default)]
pub struct StateQuery {
    pub agreement: Option<String>,
    pub kind: Option<StateKind>,
    pub of: Option<String>,
    pub scope: Option<Scope>,
    pub verdict: Option<Verdict>,
    /// Windows that end after this.
    pub from: Option<Timestamp>,
    /// Windows that start before this.
    pub to: Option<Timestamp>,
    pub provisional: Option<bool>,
    /// As they were known at this instant: of each state the last revision recorded until then. The latest when absent.
    pub as_of: Option<Timestamp>,
}

#[derive(Clone, Debug, Default)]
pub struct RunQuery {
    pub subject: Option<String>,
    pub state: Option<RunState>,
    /// `http`, `cron`, … as in [`run::Trigger`]'s tag.
    pub trigger: Option<String>,
    /// Opened at this instant or later. By the run's id, which begins with the instant of its opening, to the
    /// millisecond.
    pub from: Option<Timestamp>,
    /// Opened before this instant, likewise.
    pub to: Option<Timestamp>,
    pub text: Option<RunText>,
}

/// What a search for a text looks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RunText {
    /// The run with this id, and those that happened for it: runs of an evaluation's metrics, runs that went on from it.
    About(RunId),
    /// Runs whose error (what it says, where it happened) holds this, in any case of ASCII letters.
    Error(String),
}

impl RunText {
    /// A text as somebody typed it; `None` when it is empty.
    pub fn of(text: &str) -> Option<RunText> {
        let text = text.trim();
        match text.parse() {
            Ok(id) => Some(RunText::About(id)),
            Err(_) => (!text.is_empty()).then(|| RunText::Error(text.to_string())),
        }
    }

    /// Whether a run fits; what the stores do in SQL.
    pub fn fits(&self, run: &RunRecord) -> bool {
        match self {
            RunText::About(id) => run.id == *id || cause(&run.trigger) == Some(*id),
            RunText::Error(text) => run.error.as_ref().is_some_and(|error| {
                let text = text.to_ascii_lowercase();
                [&error.message, &error.node, &error.node_type].iter().any(|s| s.to_ascii_lowercase().contains(&text))
            }),
        }
    }
}

/// The run that a run happened for.
fn cause(trigger: &run::Trigger) -> Option<RunId> {
    match trigger {
        run::Trigger::Metric { evaluation } => Some(*evaluation),
        run::Trigger::Linked { run, .. } => Some(*run),
        _ => None,
    }
}

impl RunQuery {
    /// Whether a run fits.
    pub fn fits(&self, run: &RunRecord) -> bool {
        self.subject.as_ref().is_none_or(|subject| *subject == run.subject)
            && self.state.is_none_or(|state| state == run.state)
            && self.trigger.as_ref().is_none_or(|trigger| trigger == trigger_kind(&run.trigger))
            && self.from.is_none_or(|from| run.id.0 >= first_run_at(from))
            && self.to.is_none_or(|to| run.id.0 < first_run_at(to))
            && self.text.as_ref().is_none_or(|text| text.fits(run))
    }

    /// The trigger as a word of ours, safe in SQL; `Err` for one that no run has.
    pub(super) fn trigger_word(&self) -> Result<Option<&'static str>, ()> {
        let Some(trigger) = &self.trigger else { return Ok(None) };
        TRIGGER_KINDS.iter().find(|kind| *kind == trigger).map(|kind| Some(*kind)).ok_or(())
    }
}

/// The tags of triggers.
pub const TRIGGER_KINDS: &[&str] = &["http", "cron", "inject", "event", "manual", "metric", "linked"];

/// The least id of a run that is opened at this instant or later.
pub(super) fn first_run_at(at: Timestamp) -> uuid::Uuid {
    uuid::Uuid::from_u128(u128::from(at.as_millisecond().max(0).unsigned_abs()) << 80)
}

/// `%text%` for LIKE, with `\` before what LIKE takes for a pattern.
pub(super) fn like(text: &str) -> String {
    let mut pattern = String::from("%");
    for c in text.chars() {
        if matches!(c, '%' | '_' | '\\') {
            pattern.push('\\');
        }
        pattern.push(c);
    }
    pattern.push('%');
    pattern
}

/// A slice of a list. `next` is an opaque cursor for the following slice.
#[derive(Clone, Debug, Serialize)]
pub struct Page<T> {
    pub items: Vec<T>,
    pub next: Option<String>,
}

/// How much of a list, and from where.
#[derive(Clone, Debug)]
pub struct PageRequest {
    /// 1 to 1000.
    pub limit: u32,
    pub after: Option<String>,
}

impl Default for PageRequest {
    fn default() -> Self {
        PageRequest { limit: 100, after: None }
    }
}

/// The tag of a trigger, as stored and filtered by.
pub fn trigger_kind(trigger: &run::Trigger) -> &'static str {
    match trigger {
        run::Trigger::Http { .. } => "http",
        run::Trigger::Cron { .. } => "cron",
        run::Trigger::Inject { .. } => "inject",
        run::Trigger::Event { .. } => "event",
        run::Trigger::Manual { .. } => "manual",
        run::Trigger::Metric { .. } => "metric",
        run::Trigger::Linked { .. } => "linked",
    }
}
