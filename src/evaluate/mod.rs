//! Floor 8: the one evaluation path. Schedule, API, CLI and the `evaluate` node all come through [`Evaluator::run`]:
//! windows → queries → samples → states → one transaction.

mod ad_hoc;
mod budgets;
mod collect;
mod collector;
pub mod compare;
pub mod dry_run;
pub mod explain;
mod judge;
mod kept;
mod members;
mod nothing;
mod on_request;
mod provenance;
mod settled;
pub mod simulate;
mod waivers;

use std::cell::Cell;
use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Instant;

use arcstr::ArcStr;
use futures_util::FutureExt;
use futures_util::stream::{self, StreamExt};
use jiff::Timestamp;
use tokio::sync::Notify;

pub use collect::{InProcess, Service};
pub use nothing::nothing_to_judge;
pub use provenance::PluginVersions;
pub use waivers::in_force;

use crate::agreement::queries::Plan;
use crate::agreement::{Calendar, elsewhere, queries, slices};
use crate::model::RunId;
use crate::model::agreement::Agreement;
use crate::model::run::{RunError, RunRecord, RunState, TraceStep, Trigger};
use crate::model::state::{Kept, Sample, State, StateKind, Verdict, Window};
use crate::model::waiver::{self, Waiver};
use crate::registry::{Agreements, StateWriter};
use crate::runtime::Engine;
use crate::store::{AuditEntry, Claim, Commit, Committed, Store, StoreError};

/// Bounds of collecting; defaults are those of `config.default.toml`.
#[derive(Clone, Debug)]
pub struct Options {
    /// Collector calls of one evaluation at once.
    pub parallel_max: usize,
    /// One collector may take this long for one answer, milliseconds.
    pub collect_ms_max: u64,
    /// One HTTP call to a collector may take this long, milliseconds.
    pub call_ms_max: u64,
    /// HTTP calls to one host at once.
    pub host_parallel_max: usize,
    /// How often a call is made again that failed in a way that makes this safe.
    pub retries_max: u32,
    /// First and longest pause between two polls, milliseconds.
    pub poll_ms_min: u64,
    pub poll_ms_max: u64,
    /// Windows one evaluation may cover.
    pub windows_max: usize,
    /// Steps kept of an evaluation's trace.
    pub trace_steps_max: usize,
}

/// Which windows to judge, of each term.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Windows {
    /// Every window that overlaps `[from, to)`, whole.
    Overlapping { from: Timestamp, to: Timestamp },
    /// The last ones that had closed at this instant.
    LastClosed { at: Timestamp, count: usize },
    /// Those that closed in `(after, at]`, and in any case the last `at_least` that had closed at `at`.
    ClosedBetween { after: Timestamp, at: Timestamp, at_least: usize },
    /// Those that closed at exactly this instant.
    ClosingAt(Timestamp),
    /// Those open at this instant.
    OpenAt(Timestamp),
    /// This range as one, whatever the terms' windows are, cut only by what the collectors answer for. What is no window
    /// of a term is judged and kept aside.
    Exactly { from: Timestamp, to: Timestamp },
}

/// How to ask the collectors, besides what the agreement says.
#[derive(Clone, Debug, Default)]
pub struct Asking {
    /// The caller's STATUS token, sent on to Governify collectors as the cookie `accessToken`.
    pub access_token: Option<String>,
    /// Whether the answers are given back as they came.
    pub keep: bool,
}

/// What was asked and answered, as it came; empty unless kept.
#[derive(Clone, Debug, Default)]
pub struct Asked {
    pub plan: Plan,
    /// `answers[i]` answers `plan.queries[i]`.
    pub answers: Vec<Result<serde_json::Value, String>>,
}

/// What to evaluate and why.
#[derive(Clone, Debug)]
pub struct Request {
    pub agreement: Arc<Agreement>,
    pub windows: Windows,
    /// Only this guarantee.
    pub guarantee: Option<String>,
    pub trigger: Trigger,
    /// Who asked, for the audit trail.
    pub actor: String,
    /// Whether states, run and audit row are stored.
    pub store: bool,
    /// The schedule claim this evaluation completes.
    pub claim: Option<Claim>,
}

/// What an evaluation gave.
#[derive(Clone, Debug)]
pub struct Evaluation {
    pub run: RunRecord,
    /// Guarantee states first, then the metrics' own, then budgets and burn rates.
    pub states: Vec<State>,
    /// Verdicts that stand as they are known, since a source could not be asked again.
    pub kept: Vec<Kept>,
    /// What sources said that was not asked, for people; no more of it than steps of a trace are kept.
    pub left_out: Vec<String>,
    /// What the store changed, when it was stored.
    pub committed: Option<Committed>,
}

impl Evaluation {
    /// The states that carry verdicts.
    pub fn verdicts(&self) -> impl Iterator<Item = &State> {
        self.states.iter().filter(|s| s.kind == StateKind::Guarantee)
    }

    /// The states of budgets and burn rates.
    pub fn budgets(&self) -> impl Iterator<Item = &State> {
        self.states.iter().filter(|s| matches!(s.kind, StateKind::Budget | StateKind::BurnRate))
    }
}

/// Why an evaluation gave nothing. A failing collector is no such reason: it makes verdicts unknown.
#[derive(Debug, thiserror::Error)]
pub enum EvaluateError {
    #[error("no agreement \"{id}\"{hint}")]
    UnknownAgreement { id: String, hint: String },
    #[error("agreement \"{agreement}\" has no guarantee \"{guarantee}\"{hint}")]
    UnknownGuarantee { agreement: String, guarantee: String, hint: String },
    #[error("{0}")]
    TooManyWindows(String),
    #[error(
        "the verdicts of \"{0}\" were not stored: other processes changed what is stored of it each time; evaluate again"
    )]
    Contended(String),
    #[error("the verdicts could not be stored: {0}")]
    Store(#[from] StoreError),
}

/// Who is told that an evaluation was stored: its run, and the token its caller showed.
pub type OnStored = Box<dyn Fn(RunId, Option<&str>) + Send + Sync>;

/// Evaluates agreements. One per process.
pub struct Evaluator {
    pub engine: Arc<Engine>,
    pub store: Arc<dyn Store>,
    /// The live set; an evaluation keeps the version it began with.
    pub agreements: Arc<Agreements>,
    /// By infrastructure path.
    pub services: HashMap<String, Service>,
    pub options: Options,
    hosts: collector::Hosts,
    /// Verdicts stored since the start, in the order of [`Verdict::ALL`].
    pub verdicts_stored: [AtomicU64; Verdict::ALL.len()],
    /// Commits that failed since the start.
    pub commits_failed: AtomicU64,
    /// Where stored states are written to as well, when that is configured.
    pub written_back: OnceLock<Arc<StateWriter>>,
    /// Told of every evaluation that was stored, with the token its caller showed. Set once by the application.
    pub on_stored: OnceLock<OnStored>,
    /// Set once by the application; without it no plugins are named.
    pub plugins: OnceLock<PluginVersions>,
    /// Told when waivers were made or ended here, so that the schedule looks at them.
    pub waivers_changed: Notify,
    turns: waivers::Turns,
}

impl Evaluator {
    pub fn new(
        engine: Arc<Engine>,
        store: Arc<dyn Store>,
        agreements: Arc<Agreements>,
        services: HashMap<String, Service>,
        options: Options,
    ) -> Self {
        Evaluator {
            engine,
            store,
            agreements,
            services,
            hosts: collector::Hosts::new(options.host_parallel_max),
            options,
            verdicts_stored: Default::default(),
            commits_failed: AtomicU64::new(0),
            written_back: OnceLock::new(),
            on_stored: OnceLock::new(),
            plugins: OnceLock::new(),
            waivers_changed: Notify::new(),
            turns: Default::default(),
        }
    }

    /// The agreement of this id.
    pub fn agreement(&self, id: &str) -> Result<Arc<Agreement>, EvaluateError> {
        let loaded = self.agreements.snapshot();
        loaded.get(id).cloned().ok_or_else(|| EvaluateError::UnknownAgreement {
            id: id.into(),
            hint: did_you_mean(id, loaded.agreements.iter().map(|a| a.id.as_str())),
        })
    }

    /// One evaluation, from windows to the committed transaction. Evaluating again with the same samples changes
    /// nothing.
    pub async fn run(&self, request: Request) -> Result<Evaluation, EvaluateError> {
        Ok(self.run_asking(request, &Asking::default()).await?.0)
    }

    /// As [`Evaluator::run`], asking the collectors in a caller's name and giving their answers back.
    ///
    /// # Errors
    /// Those of [`Evaluator::run`].
    pub async fn run_asking(&self, request: Request, asking: &Asking) -> Result<(Evaluation, Asked), EvaluateError> {
        let clock = &self.engine.services.clock;
        let (started, started_at, id) = (Instant::now(), clock.now(), RunId::fresh());
        let agreement = &request.agreement;
        if let Some(guarantee) = &request.guarantee {
            known_guarantee(agreement, guarantee)?;
        }
        let mut plan = self.plan(&request)?;
        let max = self.options.trace_steps_max;
        let mut trace = Trace { started, steps: Vec::new(), left_out: Vec::new(), max, dropped: 0 };
        let (mut answers, raw) = self.collect(&request, &plan, id, asking, &mut trace).await;
        let asked = Asked { plan: if asking.keep { plan.clone() } else { Plan::default() }, answers: raw };
        if matches!(request.windows, Windows::Exactly { .. }) {
            (plan, answers) = slices::by_period(plan, answers);
        }
        elsewhere::add(&plan, &mut answers);
        // From here to the end of the commit nobody else in this process judges this agreement; what another process
        // stores meanwhile is seen by the turn, and all is judged once more with it.
        let ours = self.turns.of(&agreement.id);
        let ours = ours.lock().await;
        for _ in 0..waivers::TRIES_MAX {
            let judged = self.judged(&request, &plan, &answers, (id, started_at), trace.clone()).await?;
            let Judged { run, states, kept, waivers, at, turn } = judged;
            let Some(turn) = turn else {
                kept::told(agreement, id, &kept);
                let left_out = trace.left_out;
                return Ok((Evaluation { run, states, kept, left_out, committed: None }, asked));
            };
            let Some(mut evaluation) = self.commit(&request, run, states, kept, turn).await? else { continue };
            evaluation.left_out = std::mem::take(&mut trace.left_out);
            kept::told(agreement, id, &evaluation.kept);
            if let Some(tell) = self.on_stored.get() {
                tell(id, asking.access_token.as_deref());
            }
            // A waiver that began or ended meanwhile found the verdicts of before.
            self.review_if_changed(agreement, &waivers, at).await?;
            drop(ours);
            return Ok((evaluation, asked));
        }
        Err(EvaluateError::Contended(agreement.id.clone()))
    }

    /// Judges what was collected, under the waivers there are now.
    async fn judged(
        &self,
        request: &Request,
        plan: &Plan,
        answers: &[Result<Vec<Sample>, String>],
        (id, started_at): (RunId, Timestamp),
        mut trace: Trace,
    ) -> Result<Judged, EvaluateError> {
        let (agreement, clock) = (&request.agreement, &self.engine.services.clock);
        // Before anything that is judged from is read.
        let turn = if request.store { Some(self.store.turn(&agreement.id).await?) } else { None };
        let waivers = self.waivers(agreement).await?;
        // What was asked while a window was open is provisional, even if the window has closed when the answer comes.
        let (known, unanswered) = self.remembered(agreement, plan, answers, started_at).await?;
        let known = self.with_earlier_members(agreement, plan, known, &unanswered, started_at).await?;
        let mut states = judge::judge(agreement, plan, &known, id, started_at);
        let kept = Evaluator::kept(agreement, plan, answers, &unanswered, &mut states);
        if request.store {
            states.extend(self.superseded(agreement, plan, &states, id, started_at).await?);
        }
        let (judged_at, provenance) = (clock.now(), self.provenance(agreement));
        for state in &mut states {
            state.provenance = provenance.clone();
            if state.kind == StateKind::Guarantee {
                waiver::apply(state, &waivers, judged_at);
            }
        }
        let about = budgets::About::of(request);
        let mut budgets = self.budgets(agreement, &states, &about, id, started_at).await?;
        budgets.iter_mut().for_each(|state| state.provenance = provenance.clone());
        let verdicts = states.iter().filter(|s| s.kind == StateKind::Guarantee).count();
        states.append(&mut budgets);
        trace.step("evaluate", "agreement", format!("{verdicts} verdicts over {} windows", plan.judgements.len()));
        if let Some(first) = kept.first() {
            trace.step(
                "kept",
                "agreement",
                format!("{} verdicts stand as they are stored: {}", kept.len(), first.reason),
            );
        }
        let failed = answers.iter().find_map(|a| a.as_ref().err());
        let run = RunRecord {
            id,
            subject: agreement.id.clone(),
            trigger: request.trigger.clone(),
            state: RunState::Done,
            started_at,
            ended_at: Some(clock.now()),
            version: agreement.hash.clone(),
            hops: plan.queries.len() as u64,
            error: failed.map(|reason| RunError {
                node: agreement.id.clone(),
                node_type: "collector".into(),
                message: reason.clone(),
            }),
            trace: trace.steps,
            trace_dropped: trace.dropped,
        };
        Ok(Judged { run, states, kept, waivers, at: judged_at, turn })
    }

    /// Whether the windows of this request are few enough for one evaluation. Nothing is asked.
    ///
    /// # Errors
    /// [`EvaluateError::TooManyWindows`], as [`Evaluator::run`] would.
    pub fn allows(&self, request: &Request) -> Result<(), EvaluateError> {
        self.plan(request).map(drop)
    }

    fn plan(&self, request: &Request) -> Result<Plan, EvaluateError> {
        let max = self.options.windows_max;
        let guarantee = request.guarantee.as_deref();
        let planned = Cell::new(0);
        let choose = |calendar: &Calendar<'_>| -> Result<Vec<Window>, EvaluateError> {
            let windows = match request.windows {
                Windows::Overlapping { from, to } => {
                    calendar.overlapping(from, to).map_err(|e| EvaluateError::TooManyWindows(e.to_string()))?
                }
                Windows::LastClosed { at, count } => calendar.last_closed(at, count),
                Windows::ClosedBetween { after, at, at_least } => {
                    let mut windows =
                        calendar.overlapping(after, at).map_err(|e| EvaluateError::TooManyWindows(e.to_string()))?;
                    windows.retain(|w| w.to > after && w.to <= at);
                    if windows.len() < at_least { calendar.last_closed(at, at_least) } else { windows }
                }
                Windows::ClosingAt(at) => {
                    let mut windows = calendar.last_closed(at, 1);
                    windows.retain(|w| w.to == at);
                    windows
                }
                Windows::OpenAt(at) => calendar.open_at(at).into_iter().collect(),
                Windows::Exactly { from, to } => vec![calendar.exactly(from, to)],
            };
            // Counted before they are planned: the windows of many terms over many years fit into no memory.
            planned.set(planned.get() + windows.len());
            if planned.get() > max {
                return Err(EvaluateError::TooManyWindows(format!(
                    "more than {max} windows in one evaluation (schedule.windows_max); \
                     ask for a shorter range, or for one guarantee"
                )));
            }
            Ok(windows)
        };
        queries::plan_windows(&request.agreement, guarantee, choose)
    }

    /// Asks every query's source, several at once; a failed one gives its reason in its place.
    async fn collect(
        &self,
        request: &Request,
        plan: &Plan,
        run: RunId,
        asking: &Asking,
        trace: &mut Trace,
    ) -> (Vec<Result<Vec<Sample>, String>>, Vec<Result<serde_json::Value, String>>) {
        let (agreement, ranges) = (&request.agreement, matches!(request.windows, Windows::Exactly { .. }));
        let mut answers: Vec<Result<Vec<Sample>, String>> = Vec::with_capacity(plan.queries.len());
        let mut raw = Vec::with_capacity(if asking.keep { plan.queries.len() } else { 0 });
        let mut asked = stream::iter(0..plan.queries.len())
            .map(|i| {
                let query = &plan.queries[i];
                async move {
                    let asked_at = Instant::now();
                    let answer = self.ask(agreement, query, run, asking).await;
                    (query, answer, asked_at.elapsed())
                }
                .boxed()
            })
            .buffered(self.options.parallel_max.max(1));
        while let Some((query, answer, took)) = asked.next().await {
            if trace.has_room() {
                let took_ms = took.as_millis();
                let note = match &answer {
                    Ok((samples, _)) => {
                        let (count, window) = (samples.len(), &query.window.from_local);
                        let left_out = elsewhere::left_out(query, samples, ranges).map(|said| {
                            trace.left_out.push(format!("{} for {window}: {count} samples, {said}", query.metric));
                            format!(", {said}")
                        });
                        format!("{count} samples in {took_ms} ms for {window}{}", left_out.unwrap_or_default())
                    }
                    Err(reason) => format!("no samples after {took_ms} ms for {}: {reason}", query.window.from_local),
                };
                trace.step(&query.metric, "metric", note);
            } else {
                trace.dropped += 1;
            }
            let (samples, answer) = match answer {
                Ok((samples, answer)) => (Ok(samples), Ok(answer)),
                Err(reason) => (Err(reason.clone()), Err(reason)),
            };
            answers.push(samples);
            if asking.keep {
                raw.push(answer);
            }
        }
        (answers, raw)
    }

    async fn commit(
        &self,
        request: &Request,
        run: RunRecord,
        states: Vec<State>,
        kept: Vec<Kept>,
        turn: i64,
    ) -> Result<Option<Evaluation>, EvaluateError> {
        let recorded_at = self.engine.services.clock.now();
        let all = matches!(request.windows, Windows::Exactly { .. }).then(|| states.clone());
        let (states, aside) = match &all {
            Some(_) => ad_hoc::apart(&request.agreement, states),
            None => (states, Vec::new()),
        };
        let verdicts = states.iter().filter(|s| s.kind == StateKind::Guarantee).count();
        let mut detail = serde_json::json!({"run": run.id, "verdicts": verdicts, "agreement": request.agreement.hash});
        if let Some(first) = kept.first() {
            detail["kept"] = serde_json::json!({"verdicts": kept.len(), "reason": first.reason});
        }
        let commit = Commit {
            audit: AuditEntry {
                at: recorded_at,
                actor: request.actor.clone(),
                action: "evaluate".into(),
                subject: request.agreement.id.clone(),
                detail,
            },
            claim: request.claim.clone(),
            recorded_at,
            run,
            states,
        };
        let committed = self.store_commit(&commit, turn).await?;
        if committed.is_some() && !aside.is_empty() {
            self.store.put_aside(&request.agreement.id, &aside, commit.recorded_at).await?;
        }
        let states = all.unwrap_or(commit.states);
        let left_out = Vec::new();
        Ok(committed.map(|committed| Evaluation {
            run: commit.run,
            states,
            kept,
            left_out,
            committed: Some(committed),
        }))
    }

    /// Stores, and counts what was stored; `None` when another process was first.
    async fn store_commit(&self, commit: &Commit, turn: i64) -> Result<Option<Committed>, EvaluateError> {
        match self.store.commit_at(commit, turn).await {
            Ok(None) => Ok(None),
            Ok(Some(committed)) => {
                if let Some(watch) = self.engine.services.watch.get() {
                    watch.evaluated(&commit.run);
                }
                let guarantees = commit.states.iter().filter(|s| s.kind == StateKind::Guarantee);
                for verdict in guarantees.filter_map(|s| s.verdict) {
                    self.verdicts_stored[verdict as usize].fetch_add(1, Ordering::Relaxed);
                }
                if let (Some(writer), Some(agreement)) =
                    (self.written_back.get(), self.agreements.get(&commit.run.subject))
                {
                    writer.take(&agreement, &commit.states, commit.recorded_at);
                }
                Ok(Some(committed))
            }
            Err(error) => {
                self.commits_failed.fetch_add(1, Ordering::Relaxed);
                Err(error.into())
            }
        }
    }
}

fn known_guarantee(agreement: &Agreement, guarantee: &str) -> Result<(), EvaluateError> {
    if agreement.guarantees.iter().any(|g| g.id == guarantee) {
        return Ok(());
    }
    Err(EvaluateError::UnknownGuarantee {
        agreement: agreement.id.clone(),
        guarantee: guarantee.into(),
        hint: did_you_mean(guarantee, agreement.guarantees.iter().map(|g| g.id.as_str())),
    })
}

fn did_you_mean<'a>(given: &str, known: impl Iterator<Item = &'a str>) -> String {
    let known: Vec<&str> = known.collect();
    match crate::model::diagnostic::closest(given, known.iter().copied()) {
        Some(best) => format!("; did you mean \"{best}\"?"),
        None if known.is_empty() => "; there are none".into(),
        None => format!("; there are: {}", known[..known.len().min(10)].join(", ")),
    }
}

/// What an evaluation came to, and what it was judged with.
struct Judged {
    run: RunRecord,
    states: Vec<State>,
    kept: Vec<Kept>,
    waivers: Vec<Waiver>,
    at: Timestamp,
    /// The agreement's when it began; none when nothing is to be stored.
    turn: Option<i64>,
}

/// The steps of an evaluation as they happen.
#[derive(Clone)]
struct Trace {
    started: Instant,
    steps: Vec<TraceStep>,
    left_out: Vec<String>,
    max: usize,
    dropped: u64,
}

impl Trace {
    fn has_room(&self) -> bool {
        self.steps.len() < self.max
    }

    fn step(&mut self, node: &str, node_type: &str, note: String) {
        self.steps.push(TraceStep {
            at_us: self.started.elapsed().as_micros() as u64,
            node: ArcStr::from(node),
            node_type: ArcStr::from(node_type),
            note: Some(note),
            ..TraceStep::default()
        });
    }
}
