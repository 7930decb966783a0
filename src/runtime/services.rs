//! What nodes and runs are given: clock, net, store, evaluation, limits, and who listens to what happens.

use std::sync::{Arc, OnceLock};

use arcstr::ArcStr;
use async_trait::async_trait;
use jiff::Timestamp;

use super::begin::AcceptRuns;
use super::capture::{CaptureLimits, Capturing};
use super::places::{PlaceLimits, Places};
use super::run::EndedRun;
use super::{Reply, Status, context::ContextStore, history::History};
use crate::clock::Clock;
use crate::datasource::Datasources;
use crate::files::Files;
use crate::model::run::{RunRecord, Trigger};
use crate::model::state::{Kept, State};
use crate::model::{Msg, RunId, Value};
use crate::net::Net;
use crate::store::Store;

/// Bounds of runs; defaults are those of `config.default.toml`.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Answer deadline of HTTP callers, milliseconds.
    pub reply_ms_max: u64,
    /// A run is ended after this long, milliseconds.
    pub run_ms_max: u64,
    /// A durable run is ended after this long in one go, milliseconds.
    pub durable_run_ms_max: u64,
    /// Deliveries one message and its descendants may go through.
    pub hops_max: u32,
    /// Messages waiting in one run's queue.
    pub queue_max: usize,
    /// Futures open in one run.
    pub waits_max: usize,
    /// Runs open at once; further callers get 503.
    pub runs_max: usize,
    /// Steps of a run kept for its trace.
    pub trace_steps_max: usize,
    /// Successful runs written to the history per second; failed ones are always written.
    pub runs_kept_per_s_max: u32,
    /// Finished runs kept in memory.
    pub runs_in_memory_max: usize,
    /// Messages and groups a combining node (join, batch) may hold.
    pub node_messages_max: usize,
    /// Runs open at once by flow, by tenant and for evaluations.
    pub places: PlaceLimits,
    /// What is kept of the messages of runs.
    pub capture: CaptureLimits,
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            reply_ms_max: 2_500,
            run_ms_max: 600_000,
            durable_run_ms_max: 3_600_000,
            hops_max: 10_000,
            queue_max: 2_000_000,
            waits_max: 10_000,
            runs_max: 10_000,
            trace_steps_max: 200,
            runs_kept_per_s_max: 50,
            runs_in_memory_max: 1_000,
            node_messages_max: 1_000_000,
            places: PlaceLimits::default(),
            capture: CaptureLimits::default(),
        }
    }
}

/// Something a run did that somebody may want to see.
#[derive(Clone, Debug)]
pub enum Event {
    /// A debug node was given this.
    Debug {
        node: ArcStr,
        name: ArcStr,
        topic: Value,
        property: ArcStr,
        value: Value,
    },
    /// A message left the flow on a port without wires.
    Output {
        node: ArcStr,
        name: ArcStr,
        port: usize,
        msg: Msg,
    },
    Reply {
        node: ArcStr,
        reply: Reply,
    },
    /// An error no catch node took.
    Error {
        node: ArcStr,
        node_type: ArcStr,
        message: String,
    },
    Status {
        node: ArcStr,
        status: Status,
    },
    Log {
        node: ArcStr,
        name: ArcStr,
        level: tracing::Level,
        text: String,
    },
}

/// Listens to events; called on the run's task, so it must be quick.
pub type Observer = Arc<dyn Fn(RunId, Event) + Send + Sync>;

/// Shows people what nodes say: statuses, debug output, warnings and errors, with the place they come from. Called on
/// the run's task, so it must be quick. What only runs are about (outputs, replies) does not come here by itself: to
/// make it costs time that a busy endpoint would feel.
pub trait Feed: Send + Sync {
    fn told(&self, at: super::Place<'_>, event: &Event);
}

/// Is told of every run that has ended. Called where it ended, so it must be quick.
pub trait Watch: Send + Sync {
    fn ended(&self, run: &Arc<EndedRun>);
    fn evaluated(&self, run: &RunRecord);
}

/// Looks up an environment variable.
pub type ReadEnv = Arc<dyn Fn(&str) -> Option<String> + Send + Sync>;

/// What an `evaluate` node asks for.
#[derive(Clone, Debug)]
pub struct EvaluateRequest {
    /// Agreement id.
    pub agreement: String,
    /// Every window that overlaps `[from, to)`; without, the last closed window of each term.
    pub range: Option<(Timestamp, Timestamp)>,
    pub guarantee: Option<String>,
    pub trigger: Trigger,
    /// Whether the result is stored.
    pub store: bool,
}

/// What an evaluation gave to who asked for it.
#[derive(Clone, Debug, Default)]
pub struct Evaluated {
    /// The guarantees' states.
    pub states: Vec<State>,
    /// Those of them that stand as they are known, since a source could not be asked again.
    pub kept: Vec<Kept>,
    /// Why there are no states.
    pub nothing: Option<String>,
}

/// Why an evaluation gave nothing: what is wrong and what to do.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum NotEvaluated {
    /// What was asked for cannot be evaluated; asking again does not help.
    #[error("{0}")]
    Refused(String),
    /// It was judged and could not be stored; asking again later may help.
    #[error("{0}")]
    NotStored(String),
}

/// The evaluation path, given to nodes by the application.
#[async_trait]
pub trait EvaluateAgreement: Send + Sync {
    /// Evaluates.
    async fn evaluate(&self, request: EvaluateRequest) -> Result<Evaluated, NotEvaluated>;

    /// To be called after a waiver of the agreement was made or ended: judges again what it is about. Gives the number
    /// of verdicts that changed; the error says what is wrong, and the schedule tries again.
    async fn waivers_changed(&self, agreement: &str, by: &str) -> Result<u64, String>;
}

/// Shared by every node of an engine. A node may use `net`, `store` and `evaluate` only if its spec names the
/// capability.
pub struct Services {
    pub clock: Clock,
    pub limits: Limits,
    pub net: Arc<Net>,
    pub store: Option<Arc<dyn Store>>,
    /// The folder in which flows may use files.
    pub files: Arc<Files>,
    /// Databases that flows may ask, by their names.
    pub datasources: Arc<Datasources>,
    /// Node types that run only where the operator allows them by name (`exec`, `tcp in`, …).
    pub nodes_allowed: Vec<String>,
    /// Whether nodes that repeat by themselves (`inject` at an interval or by a pattern) do so here: one replica of
    /// several does.
    pub repeats: std::sync::atomic::AtomicBool,
    /// Set once by the application after the engine exists.
    pub evaluate: OnceLock<Arc<dyn EvaluateAgreement>>,
    /// Set once by the application after the engine exists, where durable runs are accepted.
    pub accept: OnceLock<Arc<dyn AcceptRuns>>,
    pub context: ContextStore,
    /// Whether rates of nodes that do not say so themselves hold for all replicas together.
    pub shared_rates: bool,
    pub history: History,
    /// Who waits to be let in.
    pub places: Arc<Places>,
    /// Whose messages are kept.
    pub capturing: Capturing,
    /// Set once by the application, when somebody is to be told of runs: their steps are timed then.
    pub watch: OnceLock<Arc<dyn Watch>>,
    pub observer: Option<Observer>,
    /// Set once by the application, when people look on.
    pub feed: OnceLock<Arc<dyn Feed>>,
    /// Environment variables that flows may read.
    pub env: ReadEnv,
    /// Endpoints of flows are reached below this path, `/` by default.
    pub http_root: String,
}

impl Services {
    /// Services for tests and one-shot commands: nothing stored, no environment.
    pub fn new(clock: Clock, limits: Limits, net: Arc<Net>) -> Self {
        Services {
            history: History::new(&limits),
            places: Places::new(limits.places.clone()),
            capturing: Capturing::new(limits.capture.clone()),
            watch: OnceLock::new(),
            clock,
            limits,
            net,
            store: None,
            files: Arc::default(),
            datasources: Arc::default(),
            nodes_allowed: Vec::new(),
            repeats: std::sync::atomic::AtomicBool::new(true),
            evaluate: OnceLock::new(),
            accept: OnceLock::new(),
            context: ContextStore::default(),
            shared_rates: false,
            observer: None,
            feed: OnceLock::new(),
            env: Arc::new(|_| None),
            http_root: "/".into(),
        }
    }
}
