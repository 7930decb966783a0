//! The lease protocol in a simulated world: callers, workers and a person around the store in memory, on a clock of their
//! own. Calls arrive late, twice or not at all, answers are lost, workers crash, stand still and have wrong clocks; one
//! seed is one course of events.
//!
//! The workers do what `dispatch` does: a point before each effect, an effect only after its point is known to be stored,
//! one that must not be repeated followed by a point, what is not answered asked again. In the end each order that was
//! acknowledged has ended once, its repeatable effect came under one key, and the other one happened once.
//!
//! `PROBITY_TEST_SIMULATIONS` says how many seeds, `PROBITY_TEST_MODEL_SEED` which is the first.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap};
use std::sync::Arc;

use jiff::SignedDuration;
use probity::clock::Clock;
use probity::store::queue::{Decision, Extended, Held, Point, QueueQuery, QueueState};
use probity::store::{PageRequest, StoreOptions, open_memory};

use super::model::setting;
use super::*;

const WORKERS: usize = 3;
const ORDERS: usize = 12;
const LEASE_MS: u64 = 400;
/// How long a worker waits for an answer.
const PATIENCE_MS: i64 = 300;
/// After this long nothing goes wrong any more, milliseconds.
const CALM: i64 = 6_000;
/// By then all must have ended.
const OVER: i64 = 60_000;

/// What is asked of the store.
#[derive(Clone, Debug)]
enum Call {
    Lease,
    Extend(Vec<Held>),
    Mark { held: Held, number: i64, at: &'static str, sent: i64 },
    End(Held),
    Doubt(Held),
}

#[derive(Debug)]
enum Answer {
    Leased(Vec<QueuedRun>),
    Extended(Vec<(Held, Extended)>),
    /// When it was asked for, and whether it is stored.
    Marked(Held, &'static str, i64, bool),
    /// Of an end or a doubt.
    Settled(Held),
    /// Nothing was heard in time.
    Silence(Call),
}

#[derive(Debug)]
enum Event {
    /// A caller asks for its order.
    Ask(usize),
    /// The store accepts it; whether the caller hears of it.
    Accept {
        order: usize,
        run: Box<NewRun>,
        heard: bool,
    },
    /// A call arrives at the store; when its answer comes back, if it does.
    Arrive {
        worker: usize,
        life: u32,
        call: Call,
        back: Option<i64>,
    },
    Hear {
        worker: usize,
        life: u32,
        answer: Answer,
    },
    Poll {
        worker: usize,
        life: u32,
    },
    Beat {
        worker: usize,
        life: u32,
    },
    Crash(usize),
    Start(usize),
    /// It does nothing for so long, and believes what it believed.
    Halt(usize, i64),
    /// A person looks at what is in doubt.
    Look,
}

struct Worker {
    life: u32,
    alive: bool,
    halted_until: i64,
    held: BTreeSet<Held>,
    /// Its clock runs so many times as fast as the database's.
    pace: f64,
    numbers: i64,
}

struct World {
    store: Arc<dyn Store>,
    clock: Clock,
    random: fastrand::Rng,
    now: i64,
    events: BinaryHeap<Reverse<(i64, u64)>>,
    what: BTreeMap<u64, Event>,
    numbers: u64,
    workers: Vec<Worker>,
    /// By order: the run it was told of.
    told: Vec<Option<RunId>>,
    /// Effects by run: keys of the repeatable one, how often the other one happened.
    repeated: BTreeMap<RunId, BTreeSet<String>>,
    once: BTreeMap<RunId, usize>,
    ended: usize,
}

impl World {
    fn new(seed: u64) -> World {
        let clock = Clock::manual(at("2026-01-05T12:00:00Z"));
        let mut random = fastrand::Rng::with_seed(seed);
        let worker = |random: &mut fastrand::Rng| Worker {
            life: 0,
            alive: false,
            halted_until: 0,
            held: BTreeSet::new(),
            pace: 0.3 + 2.0 * random.f64(),
            numbers: 0,
        };
        let workers = (0..WORKERS).map(|_| worker(&mut random)).collect();
        World {
            store: open_memory(&StoreOptions::default(), clock.clone()),
            clock,
            random,
            now: 0,
            events: BinaryHeap::new(),
            what: BTreeMap::new(),
            numbers: 0,
            workers,
            told: vec![None; ORDERS],
            repeated: BTreeMap::new(),
            once: BTreeMap::new(),
            ended: 0,
        }
    }

    fn later(&mut self, ms: i64, event: Event) {
        self.numbers += 1;
        self.events.push(Reverse((self.now + ms.max(0), self.numbers)));
        self.what.insert(self.numbers, event);
    }

    /// How long something is under way: mostly moments, now and then longer than a lease; `None`: it never arrives.
    fn way(&mut self) -> Option<i64> {
        let calm = self.now > CALM;
        match self.random.u32(..100) {
            0..8 if !calm => None,
            8..14 if !calm => Some(self.random.i64(100..1_500)),
            _ => Some(self.random.i64(1..15)),
        }
    }

    fn send(&mut self, worker: usize, call: Call) {
        let life = self.workers[worker].life;
        let (there, back) = (self.way(), self.way());
        let in_time = there.zip(back).is_some_and(|(there, back)| there + back <= PATIENCE_MS);
        if let Some(there) = there {
            let back = back.filter(|_| in_time);
            self.later(there, Event::Arrive { worker, life, call: call.clone(), back });
        }
        if !in_time {
            // It gives up waiting; what it sent may still arrive.
            self.later(PATIENCE_MS, Event::Hear { worker, life, answer: Answer::Silence(call) });
        }
    }

    /// # Errors
    /// What has not ended in time.
    async fn run(&mut self) -> Result<(), String> {
        for order in 0..ORDERS {
            let ms = self.random.i64(..CALM / 2);
            self.later(ms, Event::Ask(order));
        }
        for worker in 0..WORKERS {
            self.later(0, Event::Start(worker));
            for _ in 0..3 {
                let (crash, halt, length) =
                    (self.random.i64(..CALM), self.random.i64(..CALM), self.random.i64(..1_500));
                self.later(crash, Event::Crash(worker));
                self.later(halt, Event::Halt(worker, length));
            }
        }
        self.later(CALM, Event::Look);
        while let Some(Reverse((time, number))) = self.events.pop() {
            if time > OVER {
                return Err(format!("not over by then: {:?}", self.store.queue_depth(None).await));
            }
            if time > self.now {
                self.clock.set(at("2026-01-05T12:00:00Z") + SignedDuration::from_millis(time));
                self.now = time;
            }
            let event = self.what.remove(&number).expect("each event is there once");
            self.happen(event).await;
            if self.is_over().await {
                break;
            }
        }
        Ok(())
    }

    async fn is_over(&self) -> bool {
        if self.now < CALM || self.told.iter().any(Option::is_none) {
            return false;
        }
        let depth = self.store.queue_depth(None).await.unwrap();
        depth.ready + depth.delayed + depth.leased + depth.overdue + depth.in_doubt + depth.dead == 0
    }

    async fn happen(&mut self, event: Event) {
        match event {
            Event::Ask(order) => self.ask(order),
            Event::Accept { order, run, heard } => {
                let accepted = self.store.accept_runs("caller", std::slice::from_ref(&*run)).await.unwrap();
                let given = match accepted[0] {
                    Accepted::Queued | Accepted::Leased => run.id,
                    Accepted::Known(first) => first,
                    Accepted::Conflict(_) => panic!("the same request: {accepted:?}"),
                };
                if heard {
                    assert!(self.told[order].is_none_or(|before| before == given), "order {order} has two runs");
                    self.told[order] = Some(given);
                }
            }
            Event::Arrive { worker, life, call, back } => {
                let answer = self.arrive(worker, life, call).await;
                if let Some(back) = back {
                    self.later(back, Event::Hear { worker, life, answer });
                }
            }
            Event::Hear { worker, life, answer } if self.is_there(worker, life) => match self.halted(worker) {
                Some(ms) => self.later(ms, Event::Hear { worker, life, answer }),
                None => self.hear(worker, answer),
            },
            Event::Poll { worker, life } if self.is_there(worker, life) => {
                if self.halted(worker).is_none() {
                    self.send(worker, Call::Lease);
                }
                self.later(60, Event::Poll { worker, life });
            }
            Event::Beat { worker, life } if self.is_there(worker, life) => {
                let held = Vec::from_iter(self.workers[worker].held.iter().copied());
                if self.halted(worker).is_none() && !held.is_empty() {
                    self.send(worker, Call::Extend(held));
                }
                let every = (LEASE_MS as f64 / 3.0 / self.workers[worker].pace) as i64;
                self.later(every, Event::Beat { worker, life });
            }
            // Of a life that is over.
            Event::Hear { .. } | Event::Poll { .. } | Event::Beat { .. } => {}
            Event::Crash(worker) => {
                self.workers[worker].alive = false;
                let ms = self.random.i64(1..800);
                self.later(ms, Event::Start(worker));
            }
            Event::Start(worker) => {
                let it = &mut self.workers[worker];
                if !it.alive {
                    (it.alive, it.life, it.numbers, it.held) = (true, it.life + 1, 0, BTreeSet::new());
                    let life = it.life;
                    self.later(0, Event::Poll { worker, life });
                    self.later(1, Event::Beat { worker, life });
                }
            }
            Event::Halt(worker, ms) => self.workers[worker].halted_until = self.now + ms,
            Event::Look => self.look().await,
        }
    }

    /// Asks, and again until it is told.
    fn ask(&mut self, order: usize) {
        if self.told[order].is_some() {
            return;
        }
        let run = keyed(&format!("order-{order}"), 1, LONG_MS);
        let (there, back) = (self.way(), self.way());
        if let Some(there) = there {
            self.later(there, Event::Accept { order, run: Box::new(run), heard: back.is_some() });
        }
        let again = self.random.i64(50..400);
        self.later(again, Event::Ask(order));
    }

    fn is_there(&self, worker: usize, life: u32) -> bool {
        self.workers[worker].alive && self.workers[worker].life == life
    }

    /// How long it does nothing yet.
    fn halted(&self, worker: usize) -> Option<i64> {
        let left = self.workers[worker].halted_until - self.now;
        (left > 0).then_some(left)
    }

    async fn arrive(&mut self, worker: usize, life: u32, call: Call) -> Answer {
        let owner = format!("w{worker}-{life}");
        match call {
            Call::Lease => Answer::Leased(self.store.lease_runs(&owner, &wanted(2, LEASE_MS)).await.unwrap()),
            Call::Extend(held) => {
                let extended = self.store.extend_leases(&held, LEASE_MS).await.unwrap();
                Answer::Extended(held.into_iter().zip(extended).collect())
            }
            Call::Mark { held, number, at, sent } => {
                let point = Point { held, number, lease_ms: LEASE_MS, snapshot: Some(at.to_owned()), effects: None };
                Answer::Marked(held, at, sent, self.store.mark_points(&[point]).await.unwrap()[0])
            }
            Call::End(held) => {
                let outcome = Outcome::Ended(Box::new(record(held.id, RunState::Done)));
                let ended = self.store.settle_runs(&[Settlement { held, outcome }]).await.unwrap()[0];
                self.ended += usize::from(ended);
                Answer::Settled(held)
            }
            Call::Doubt(held) => {
                let outcome = Outcome::Doubt { what: error("did it happen?") };
                self.store.settle_runs(&[Settlement { held, outcome }]).await.unwrap();
                Answer::Settled(held)
            }
        }
    }

    fn mark(&mut self, worker: usize, held: Held, at: &'static str) {
        self.workers[worker].numbers += 1;
        let (number, sent) = (self.workers[worker].numbers, self.now);
        self.send(worker, Call::Mark { held, number, at, sent });
    }

    /// Effects of a run: first one that may be repeated, then one that must not be. Points: `a?` before the first, `b?` before
    /// the second, `b` after it.
    fn hear(&mut self, worker: usize, answer: Answer) {
        match answer {
            Answer::Leased(runs) => {
                for run in runs {
                    let held = run.held();
                    self.workers[worker].held.insert(held);
                    match (run.point.as_deref(), run.decision) {
                        (None | Some("a?"), _) => self.mark(worker, held, "a?"),
                        (Some("b?"), None) => self.send(worker, Call::Doubt(held)),
                        (Some("b?"), Some(Decision::Skip)) => self.mark(worker, held, "b"),
                        (Some("b?"), Some(_)) => self.mark(worker, held, "b?"),
                        (Some(_), _) => self.send(worker, Call::End(held)),
                    }
                }
            }
            Answer::Marked(held, .., false) => drop(self.workers[worker].held.remove(&held)),
            // Told too late: its lease may be over.
            Answer::Marked(held, at, sent, true) if self.now - sent > LEASE_MS as i64 * 3 / 4 => {
                if self.workers[worker].held.contains(&held) {
                    self.mark(worker, held, at);
                }
            }
            Answer::Marked(held, at, _, true) if self.workers[worker].held.contains(&held) => match at {
                "a?" => {
                    self.repeated.entry(held.id).or_default().insert(format!("{}/a/1", held.id));
                    self.mark(worker, held, "b?");
                }
                "b?" => {
                    *self.once.entry(held.id).or_default() += 1;
                    self.mark(worker, held, "b");
                }
                _ => self.send(worker, Call::End(held)),
            },
            Answer::Extended(told) => {
                for (held, told) in told {
                    if told == Extended::Lost {
                        self.workers[worker].held.remove(&held);
                    }
                }
            }
            Answer::Settled(held) => drop(self.workers[worker].held.remove(&held)),
            // Asked again, as `dispatch` does, while it believes that it holds the run.
            Answer::Silence(call) => match &call {
                Call::Mark { held, number, at, .. } if self.workers[worker].held.contains(held) => {
                    let again = Call::Mark { held: *held, number: *number, at, sent: self.now };
                    self.send(worker, again);
                }
                Call::End(held) | Call::Doubt(held) if self.workers[worker].held.contains(held) => {
                    self.send(worker, call)
                }
                Call::Mark { .. } | Call::End(_) | Call::Doubt(_) => {}
                Call::Lease | Call::Extend(_) => {}
            },
            Answer::Marked(..) => {}
        }
    }

    async fn look(&mut self) {
        let query = QueueQuery { state: Some(QueueState::InDoubt), ..QueueQuery::default() };
        let page = PageRequest { limit: 100, after: None };
        for run in self.store.queued_runs(&query, &page).await.unwrap().items {
            let happened = self.once.contains_key(&run.id);
            let decision = if happened { Decision::Skip } else { Decision::Again };
            self.store.decide_run(run.id, decision, &audit("person")).await.unwrap();
        }
        self.later(500, Event::Look);
    }

    /// # Errors
    /// The first thing that is not as it must be.
    async fn check(&self) -> Result<(), String> {
        let must = |holds: bool, what: &str| if holds { Ok(()) } else { Err(what.to_owned()) };
        let runs: BTreeSet<RunId> = self.told.iter().flatten().copied().collect();
        must(runs.len() == ORDERS, "two orders have one run")?;
        must(self.ended == ORDERS, "a run has ended twice, or one that nobody asked for")?;
        for run in &runs {
            let state = self.store.run(*run).await.unwrap().map(|run| run.state);
            must(state == Some(RunState::Done), "a run is not in the history")?;
            must(self.repeated.get(run).map(BTreeSet::len) == Some(1), "the repeatable effect has not one key")?;
            must(self.once.get(run) == Some(&1), "the other effect has not happened once")?;
        }
        let known = self.repeated.keys().chain(self.once.keys()).all(|run| runs.contains(run));
        must(known, "an effect of nobody's run")
    }
}

/// What is wrong in the course of events of this seed.
fn simulate(seed: u64) -> Result<(), String> {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(async {
        let mut world = World::new(seed);
        world.run().await?;
        world.check().await
    })
}

fn seeds() -> std::ops::Range<u64> {
    let first = u64::from(setting("PROBITY_TEST_MODEL_SEED", 1));
    first..first + u64::from(setting("PROBITY_TEST_SIMULATIONS", 300))
}

#[test]
fn leases_hold_whatever_is_late_lost_or_halted() {
    for seed in seeds() {
        let outcome = simulate(seed);
        assert_eq!(outcome, Ok(()), "PROBITY_TEST_MODEL_SEED={seed} PROBITY_TEST_SIMULATIONS=1 repeats it");
    }
}
