//! A model check: random sequences of calls, late and repeated ones among them, on a store and on a model of it.
//!
//! A worker that crashes is one whose lease runs out (0 ms) and who is heard of later, or never; a restart opens the
//! store anew. After each call the answers must be the model's, and of all runs these hold: none that was accepted is
//! gone, none is settled twice, an end stays as it is, and the epoch of each lease is higher than all before it.
//!
//! `PROBITY_TEST_MODEL_CASES` (sequences on SQLite; eight times as many in memory, half as many on Postgres) and
//! `PROBITY_TEST_MODEL_SEED` make it longer and other.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use probity::store::queue::{
    Cancelled, CommittedRun, Decision, Extended, FIRST_EPOCH, Held, Point, QueueState, Resume,
};
use probity::store::{ClaimKey, StoreOptions, open};
use proptest::prelude::*;
use proptest::sample::{Index, select};
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};

use super::*;

#[derive(Clone, Debug)]
enum Op {
    Accept { flow: u8, key: Option<(u8, u8, bool)>, leased: Option<Lasts>, delayed: bool, priority: Priority },
    AcceptAgain(Index),
    Tick(u8),
    Lease { max: u32, lasts: Lasts, closed: Option<u8> },
    Extend(Index, Lasts),
    Mark(Index),
    Settle(Vec<(Index, End)>),
    Commit(Index),
    Cancel(Index),
    Decide(Index, Decision),
    Replay(Index, Resume),
    Pause(u8),
    Resume(u8),
    Restart,
}

/// A lease that outlasts the test, or one that has run out at once.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Lasts {
    Long,
    Out,
}

impl Lasts {
    fn ms(self) -> u64 {
        if self == Lasts::Long { LONG_MS } else { 0 }
    }
}

#[derive(Clone, Copy, Debug)]
enum End {
    Ended,
    Retry { later: bool, resume: Resume },
    Released,
    Dead,
    Doubt,
}

fn op() -> impl Strategy<Value = Op> {
    let lasts = || select(vec![Lasts::Long, Lasts::Out, Lasts::Out]);
    let index = any::<Index>;
    let resume = || select(vec![Resume::Point, Resume::Start]);
    let end = prop_oneof![
        3 => Just(End::Ended),
        2 => (any::<bool>(), resume()).prop_map(|(later, resume)| End::Retry { later, resume }),
        1 => Just(End::Released),
        1 => Just(End::Dead),
        1 => Just(End::Doubt),
    ];
    let key = proptest::option::weighted(0.4, (0..3_u8, 0..2_u8, any::<bool>()));
    let accept = (0..3_u8, key, proptest::option::weighted(0.3, lasts()), proptest::bool::weighted(0.1))
        .prop_flat_map(|parts| (Just(parts), select(Priority::ALL.to_vec())))
        .prop_map(|((flow, key, leased, delayed), priority)| Op::Accept { flow, key, leased, delayed, priority });
    prop_oneof![
        6 => accept,
        1 => index().prop_map(Op::AcceptAgain),
        1 => (0..3_u8).prop_map(Op::Tick),
        6 => (1..5_u32, lasts(), proptest::option::weighted(0.2, 0..3_u8))
            .prop_map(|(max, lasts, closed)| Op::Lease { max, lasts, closed }),
        2 => (index(), lasts()).prop_map(|(of, lasts)| Op::Extend(of, lasts)),
        2 => index().prop_map(Op::Mark),
        6 => proptest::collection::vec((index(), end), 1..4).prop_map(Op::Settle),
        1 => index().prop_map(Op::Commit),
        1 => index().prop_map(Op::Cancel),
        2 => (index(), select(vec![Decision::Again, Decision::Skip, Decision::Fail]))
            .prop_map(|(of, decision)| Op::Decide(of, decision)),
        2 => (index(), resume()).prop_map(|(of, resume)| Op::Replay(of, resume)),
        1 => (0..3_u8).prop_map(Op::Pause),
        1 => (0..3_u8).prop_map(Op::Resume),
        1 => Just(Op::Restart),
    ]
}

/// Where a run stands.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Stand {
    Waits { ready: bool },
    Leased(Lasts),
    Doubt,
    Dead,
    Ended(RunState),
}

/// What is known of a run.
#[derive(Clone, Debug)]
struct Known {
    new: NewRun,
    flow: u8,
    stand: Stand,
    epoch: i64,
    attempt: u32,
    point: Option<String>,
    decision: Option<Decision>,
    cancel_wanted: bool,
}

#[derive(Default)]
struct Model {
    runs: BTreeMap<RunId, Known>,
    /// In the order they were accepted.
    order: Vec<RunId>,
    /// By key: the run, what was asked, and whether it is remembered behind the end.
    keys: BTreeMap<u8, (RunId, u8, bool)>,
    ticks: BTreeMap<u8, RunId>,
    paused: BTreeSet<u8>,
    /// Every lease that anybody ever got.
    leases: Vec<Held>,
    /// How often each was settled as ended.
    ends: BTreeMap<RunId, u32>,
    marks: u32,
}

impl Model {
    fn held(&mut self, held: Held) -> Option<&mut Known> {
        self.runs.get_mut(&held.id).filter(|run| matches!(run.stand, Stand::Leased(_)) && run.epoch == held.epoch)
    }

    fn leasable(&self, closed: Option<u8>) -> BTreeSet<RunId> {
        let open = |run: &Known| !self.paused.contains(&run.flow) && closed != Some(run.flow);
        let ready = |run: &Known| matches!(run.stand, Stand::Waits { ready: true } | Stand::Leased(Lasts::Out));
        self.runs.iter().filter(|(_, run)| ready(run) && open(run)).map(|(id, _)| *id).collect()
    }

    fn end(&mut self, id: RunId, state: RunState) {
        self.runs.get_mut(&id).expect("it was accepted").stand = Stand::Ended(state);
        *self.ends.entry(id).or_default() += 1;
    }

    fn add(&mut self, new: NewRun, flow: u8, stand: Stand) {
        let leased = matches!(stand, Stand::Leased(_));
        self.order.push(new.id);
        if leased {
            self.leases.push(Held { id: new.id, epoch: FIRST_EPOCH });
        }
        let known = Known {
            flow,
            stand,
            epoch: i64::from(leased),
            attempt: u32::from(leased),
            point: None,
            decision: None,
            cancel_wanted: false,
            new,
        };
        self.runs.insert(known.new.id, known);
    }

    /// What accepting this gives.
    fn accept(&mut self, new: NewRun, flow: u8, key: Option<(u8, u8, bool)>, leased: Option<Lasts>) -> Accepted {
        if let Some((key, request, keep)) = key {
            if let Some((run, asked, kept)) = self.keys.get(&key).copied() {
                let ended = matches!(self.runs[&run].stand, Stand::Ended(_));
                if kept || !ended {
                    return if asked == request { Accepted::Known(run) } else { Accepted::Conflict(run) };
                }
            }
            self.keys.insert(key, (new.id, request, keep));
        }
        let leased = leased.filter(|_| !self.paused.contains(&flow));
        // One that was to be leased has no delay.
        let ready = new.delay_ms == 0 || new.lease_ms.is_some();
        self.add(new, flow, leased.map_or(Stand::Waits { ready }, Stand::Leased));
        if leased.is_some() { Accepted::Leased } else { Accepted::Queued }
    }
}

/// One sequence.
struct Trial {
    store: Arc<dyn Store>,
    url: String,
    /// Of Postgres, which lets flows take turns when some are held back.
    takes_turns: bool,
    model: Model,
}

impl Trial {
    /// The lease that is meant, if there ever was one.
    fn lease_of(&self, index: &Index) -> Option<Held> {
        (!self.model.leases.is_empty()).then(|| *index.get(&self.model.leases))
    }

    fn run_of(&self, index: &Index) -> Option<RunId> {
        (!self.model.order.is_empty()).then(|| *index.get(&self.model.order))
    }

    async fn step(&mut self, op: &Op) {
        match op {
            Op::Accept { flow, key, leased, delayed, priority } => {
                let mut new = match key {
                    Some((key, request, keep)) => keyed(&format!("k{key}"), *request, if *keep { LONG_MS } else { 0 }),
                    None => new_run(""),
                };
                new.flow = format!("f{flow}");
                (new.priority, new.lease_ms) = (*priority, leased.map(Lasts::ms));
                new.delay_ms = if *delayed { LONG_MS } else { 0 };
                let accepted = self.store.accept_runs("w", std::slice::from_ref(&new)).await.unwrap();
                assert_eq!(accepted, [self.model.accept(new, *flow, *key, *leased)]);
            }
            Op::AcceptAgain(of) => {
                let Some(id) = self.run_of(of) else { return };
                let again = NewRun { dedup: None, ..self.model.runs[&id].new.clone() };
                assert_eq!(self.store.accept_runs("w", &[again]).await.unwrap(), [Accepted::Known(id)]);
            }
            Op::Tick(tick) => self.tick(*tick).await,
            Op::Lease { max, lasts, closed } => self.lease(*max, *lasts, *closed).await,
            Op::Extend(of, lasts) => self.extend(of, *lasts).await,
            Op::Mark(of) => self.mark(of).await,
            Op::Settle(of) => self.settle(of).await,
            Op::Commit(of) => self.commit(of).await,
            Op::Cancel(of) => self.cancel(of).await,
            Op::Decide(of, decision) => self.decide(of, *decision).await,
            Op::Replay(of, resume) => self.replay(of, *resume).await,
            Op::Pause(flow) => {
                let done = self.store.pause_flow(&format!("f{flow}"), &audit("f")).await.unwrap();
                assert_eq!(done, self.model.paused.insert(*flow));
            }
            Op::Resume(flow) => {
                let done = self.store.resume_flow(&format!("f{flow}"), &audit("f")).await.unwrap();
                assert_eq!(done, self.model.paused.remove(flow));
            }
            // What is in memory is gone with the process: no promise to hold.
            Op::Restart if self.url == "memory:" => {}
            Op::Restart => self.store = open(&self.url, &StoreOptions::default()).await.unwrap(),
        }
    }

    async fn tick(&mut self, tick: u8) {
        let new = new_run("f0");
        let due_at = at("2026-01-05T12:00:00Z") + jiff::ToSpan::minutes(i64::from(tick));
        let claim = ClaimKey { schedule: "s".into(), due_at };
        let accepted = self.store.accept_tick(&claim, &new).await.unwrap();
        match self.model.ticks.get(&tick) {
            Some(first) => assert_eq!(accepted, Accepted::Known(*first)),
            None => {
                assert_eq!(accepted, Accepted::Queued);
                self.model.ticks.insert(tick, new.id);
                self.model.add(new, 0, Stand::Waits { ready: true });
            }
        }
    }

    async fn lease(&mut self, max: u32, lasts: Lasts, closed: Option<u8>) {
        let leasable = self.model.leasable(closed);
        let flow_caps = closed.map(|flow| (format!("f{flow}"), 0)).into_iter().collect();
        let wanted = LeaseWanted { flow_caps, ..wanted(max, lasts.ms()) };
        let leased = self.store.lease_runs("w", &wanted).await.unwrap();
        let got: BTreeSet<RunId> = ids(&leased).into_iter().collect();
        assert_eq!(got.len(), leased.len(), "one run twice");
        assert!(got.is_subset(&leasable), "{got:?} of {leasable:?}");
        let all = leasable.len().min(max as usize);
        if self.takes_turns && (closed.is_some() || !self.model.paused.is_empty()) {
            assert!(got.len() <= all && got.is_empty() == (all == 0));
        } else {
            assert_eq!(got.len(), all);
            let priority = |id: &RunId| self.model.runs[id].new.priority;
            let (low, left) = (got.iter().map(priority).min(), leasable.difference(&got).map(priority).max());
            assert!(low >= left || left.is_none(), "{low:?} before {left:?}");
        }
        for run in leased {
            self.model.leases.push(run.held());
            let known = self.model.runs.get_mut(&run.id).expect("it was leasable");
            assert!(run.epoch > known.epoch, "the epoch grows");
            (known.epoch, known.attempt, known.stand) = (run.epoch, known.attempt + 1, Stand::Leased(lasts));
            assert_eq!((run.attempt, &run.point, run.decision), (known.attempt, &known.point, known.decision));
            assert_eq!((run.cancel_wanted, &run.msg), (known.cancel_wanted, &known.new.msg));
        }
    }

    async fn extend(&mut self, of: &Index, lasts: Lasts) {
        let Some(held) = self.lease_of(of) else { return };
        let expected = match self.model.held(held) {
            None => Extended::Lost,
            Some(run) => {
                run.stand = Stand::Leased(lasts);
                if run.cancel_wanted { Extended::CancelWanted } else { Extended::Kept }
            }
        };
        assert_eq!(self.store.extend_leases(&[held], lasts.ms()).await.unwrap(), [expected]);
    }

    async fn mark(&mut self, of: &Index) {
        let Some(held) = self.lease_of(of) else { return };
        self.model.marks += 1;
        let snapshot = self.model.marks.to_string();
        let mut expected = false;
        if let Some(run) = self.model.held(held) {
            (run.point, run.decision, expected) = (Some(snapshot.clone()), None, true);
        }
        let point =
            Point { held, number: i64::from(self.model.marks), lease_ms: 0, snapshot: Some(snapshot), effects: None };
        assert_eq!(self.store.mark_points(&[point]).await.unwrap(), [expected]);
    }

    async fn settle(&mut self, of: &[(Index, End)]) {
        let mut expected = Vec::new();
        let mut settled = Vec::new();
        for (of, end) in of {
            let Some(held) = self.lease_of(of) else { return };
            let outcome = match end {
                End::Ended => Outcome::Ended(Box::new(record(held.id, RunState::Done))),
                End::Retry { later, resume } => Outcome::Retry {
                    delay_ms: if *later { LONG_MS } else { 0 },
                    error: error("again"),
                    resume: *resume,
                },
                End::Released => Outcome::Released,
                End::Dead => Outcome::Dead { error: error("dead") },
                End::Doubt => Outcome::Doubt { what: error("doubt") },
            };
            expected.push(self.settle_model(held, *end));
            settled.push(Settlement { held, outcome });
        }
        assert_eq!(self.store.settle_runs(&settled).await.unwrap(), expected, "{settled:?}");
    }

    fn settle_model(&mut self, held: Held, end: End) -> bool {
        let Some(run) = self.model.held(held) else { return false };
        run.stand = match end {
            End::Ended => {
                self.model.end(held.id, RunState::Done);
                return true;
            }
            End::Retry { later, resume } => {
                if resume == Resume::Start {
                    (run.point, run.decision) = (None, None);
                }
                Stand::Waits { ready: !later }
            }
            End::Released => {
                run.attempt = run.attempt.saturating_sub(1);
                Stand::Waits { ready: true }
            }
            End::Dead => Stand::Dead,
            End::Doubt => Stand::Doubt,
        };
        true
    }

    async fn commit(&mut self, of: &Index) {
        let Some(held) = self.lease_of(of) else { return };
        let results = commit(held.id, vec![guarantee(0, held.id)]);
        let done = self.store.commit_run(held, &results, None).await.unwrap();
        if self.model.held(held).is_some() {
            assert!(matches!(done, CommittedRun::Done(_)), "{done:?}");
            self.model.end(held.id, results.run.state);
        } else {
            assert_eq!(done, CommittedRun::Lost);
        }
    }

    async fn cancel(&mut self, of: &Index) {
        let Some(id) = self.run_of(of) else { return };
        let run = self.model.runs.get_mut(&id).expect("it was accepted");
        let expected = match run.stand {
            Stand::Ended(_) => Cancelled::Unknown,
            Stand::Leased(_) => {
                run.cancel_wanted = true;
                Cancelled::Wanted
            }
            _ => {
                self.model.end(id, RunState::Stopped);
                Cancelled::Ended
            }
        };
        assert_eq!(self.store.cancel_run(id, &audit("f")).await.unwrap(), expected);
    }

    async fn decide(&mut self, of: &Index, decision: Decision) {
        let Some(id) = self.run_of(of) else { return };
        let run = self.model.runs.get_mut(&id).expect("it was accepted");
        let expected = run.stand == Stand::Doubt;
        if expected && decision == Decision::Fail {
            self.model.end(id, RunState::Failed);
        } else if expected {
            (run.stand, run.decision) = (Stand::Waits { ready: true }, Some(decision));
        }
        assert_eq!(self.store.decide_run(id, decision, &audit("f")).await.unwrap(), expected);
    }

    async fn replay(&mut self, of: &Index, resume: Resume) {
        let Some(id) = self.run_of(of) else { return };
        let run = self.model.runs.get_mut(&id).expect("it was accepted");
        let expected = run.stand == Stand::Dead;
        if expected {
            (run.stand, run.attempt) = (Stand::Waits { ready: true }, 0);
            if resume == Resume::Start {
                (run.point, run.decision) = (None, None);
            }
        }
        assert_eq!(self.store.replay_run(id, resume, &audit("f")).await.unwrap(), expected);
    }

    /// All runs stand where the model says, and what must always hold does.
    async fn agree(&self) {
        for (id, known) in &self.model.runs {
            let (waiting, history) = (self.store.queued_run(*id).await.unwrap(), self.store.run(*id).await.unwrap());
            assert!(self.model.ends.get(id).is_none_or(|ends| *ends == 1), "{id} ended twice");
            if let Stand::Ended(state) = known.stand {
                assert!(waiting.is_none(), "{id} has ended and waits");
                assert_eq!(history.map(|run| run.state), Some(state), "{id}: an end stays as it is");
                continue;
            }
            assert!(history.is_none(), "{id} has not ended");
            let waiting = waiting.unwrap_or_else(|| panic!("{id} was accepted and is gone"));
            let state = match known.stand {
                Stand::Waits { .. } => QueueState::Queued,
                Stand::Leased(_) => QueueState::Leased,
                Stand::Doubt => QueueState::InDoubt,
                Stand::Dead | Stand::Ended(_) => QueueState::Dead,
            };
            assert_eq!((waiting.state, waiting.epoch, waiting.attempt), (state, known.epoch, known.attempt), "{id}");
            assert_eq!((&waiting.point, waiting.decision), (&known.point, known.decision), "{id}");
            assert_eq!(waiting.cancel_wanted, known.cancel_wanted, "{id}");
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "tests have no config")]
pub(super) fn setting(variable: &str, default: u32) -> u32 {
    std::env::var(variable).ok().map_or(default, |text| text.parse().unwrap_or_else(|_| panic!("{variable}: a number")))
}

/// Runs so many sequences, each on a store that is empty of runs; `clear` makes it so.
fn check(cases: u32, fixture: impl AsyncFn() -> Fixture, clear: &[&str]) {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let fixture = runtime.block_on(fixture());
    let mut seed = [0; 32];
    seed[..4].copy_from_slice(&setting("PROBITY_TEST_MODEL_SEED", 1).to_le_bytes());
    let config = Config { cases, failure_persistence: None, max_shrink_iters: 2_000, ..Config::default() };
    let mut runner = TestRunner::new_with_rng(config, TestRng::from_seed(RngAlgorithm::ChaCha, &seed));
    let sequence = proptest::collection::vec(op(), 1..60);
    let outcome = runner.run(&sequence, |ops| {
        runtime.block_on(async {
            // Opened anew: one that was open may still believe in pauses that are gone.
            empty(&fixture.url, clear).await;
            let store = open(&fixture.url, &StoreOptions::default()).await.unwrap();
            let takes_turns = fixture.url.starts_with("postgres");
            let mut trial = Trial { store, url: fixture.url.clone(), takes_turns, model: Model::default() };
            for (number, op) in ops.iter().enumerate() {
                trial.step(op).await;
                if number % 10 == 9 || number + 1 == ops.len() {
                    trial.agree().await;
                }
            }
        });
        Ok(())
    });
    if let Err(failure) = outcome {
        panic!("{failure}");
    }
}

async fn empty(url: &str, tables: &[&str]) {
    use sqlx::Connection;
    if tables.is_empty() {
        return;
    }
    let sql = tables.iter().map(|table| format!("DELETE FROM {table};")).collect::<String>();
    let sql = sqlx::raw_sql(sqlx::AssertSqlSafe(sql));
    if url.starts_with("sqlite:") {
        sql.execute(&mut sqlx::SqliteConnection::connect(url).await.unwrap()).await.unwrap();
    } else {
        sql.execute(&mut sqlx::PgConnection::connect(url).await.unwrap()).await.unwrap();
    }
}

fn cases() -> u32 {
    setting("PROBITY_TEST_MODEL_CASES", 32)
}

#[test]
fn memory_is_as_the_model() {
    check(cases() * 8, Fixture::memory, &[]);
}

#[test]
fn sqlite_is_as_the_model() {
    let tables = ["probity_queue", "probity_dedup", "probity_flow_pause", "probity_claim"];
    check(cases(), Fixture::sqlite, &tables);
}

#[test]
fn postgres_is_as_the_model() {
    let tables = ["probity.queue", "probity.dedup", "probity.flow_pause", "probity.claim"];
    check((cases() / 2).max(1), Fixture::postgres, &tables);
}
