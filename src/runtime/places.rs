//! Back-pressure: how many runs of one flow, of one tenant and of bulk work are open at once, who waits for a place, and
//! who is sent away.
//!
//! A run needs a place at every gate it falls under and takes all of them at once. One that finds a gate full waits
//! there: callers before schedules, schedules before evaluations, each in the order of arrival; who was passed
//! [`PASSED_MAX`] times in a row is served, so that nobody starves. Of each kind only so many may wait at a gate.
//! What has no limit is never looked at.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Instant;

use arcstr::ArcStr;
use smallvec::SmallVec;
use tokio::sync::oneshot;

use crate::model::flow::PlanFlow;
use crate::model::run::Trigger;

/// Later ones of a better kind go first so often in a row; then the one that has waited longest does.
pub const PASSED_MAX: u32 = 16;

/// Why a run was not let in.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Busy {
    /// Nobody's fault but ours: another replica, or a later moment, may do.
    #[error("too many runs are open (limits.runs_max), or the engine is stopping")]
    Server,
    /// The limit of what was called or of who calls; it holds on every replica alike.
    #[error("too many runs of {gate} are open, and too many wait ({limit})")]
    Full {
        gate: Gate,
        /// The configuration key or tab property that says how many.
        limit: &'static str,
        /// When it is worth trying again, seconds, 1 to 60.
        retry_s: u32,
    },
    /// It waited for a place as long as its caller would, and was not begun.
    #[error("no place among the runs of {gate} became free in time ({limit})")]
    TooLate { gate: Gate, limit: &'static str, retry_s: u32 },
}

impl Busy {
    /// When it is worth trying again, seconds.
    pub fn retry_s(&self) -> u32 {
        match self {
            Busy::Server => 1,
            Busy::Full { retry_s, .. } | Busy::TooLate { retry_s, .. } => *retry_s,
        }
    }

    /// True when the limit is that of the caller's own flow or tenant (429), not the server's (503).
    pub fn is_callers_own(&self) -> bool {
        matches!(
            self,
            Busy::Full { gate: Gate::Flow(_) | Gate::Tenant(_), .. }
                | Busy::TooLate { gate: Gate::Flow(_) | Gate::Tenant(_), .. }
        )
    }
}

/// What is limited.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Gate {
    /// A tab, by id.
    Flow(ArcStr),
    /// All tabs with this property `tenant`.
    Tenant(ArcStr),
    /// Runs that evaluations ask for.
    Bulk,
}

impl std::fmt::Display for Gate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Gate::Flow(id) => write!(f, "flow {id}"),
            Gate::Tenant(name) => write!(f, "tenant {name}"),
            Gate::Bulk => f.write_str("evaluations"),
        }
    }
}

/// Who goes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Rank {
    /// Somebody or something waits for it: calls, injects, events.
    Interactive,
    /// Schedules.
    Scheduled,
    /// What evaluations ask for, by the thousand.
    Bulk,
}

impl Rank {
    const ALL: [Rank; 3] = [Rank::Interactive, Rank::Scheduled, Rank::Bulk];

    pub fn of(trigger: &Trigger) -> Rank {
        match trigger {
            Trigger::Metric { .. } => Rank::Bulk,
            Trigger::Cron { .. } => Rank::Scheduled,
            _ => Rank::Interactive,
        }
    }
}

/// How many; 0 stands for no limit.
#[derive(Clone, Debug)]
pub struct PlaceLimits {
    /// Runs of one flow whose tab says nothing itself.
    pub flow_runs_max: usize,
    /// Runs of all flows of one tenant that `tenants` does not name.
    pub tenant_runs_max: usize,
    /// Runs of single tenants.
    pub tenants: HashMap<String, usize>,
    /// Runs that evaluations ask for, in this process.
    pub bulk_runs_max: usize,
    /// Runs of each rank that may wait at one gate.
    pub waiting_max: usize,
}

impl Default for PlaceLimits {
    fn default() -> Self {
        PlaceLimits {
            flow_runs_max: 0,
            tenant_runs_max: 0,
            tenants: HashMap::new(),
            bulk_runs_max: 64,
            waiting_max: 1_000,
        }
    }
}

/// The gates of a process.
#[derive(Default)]
pub struct Places {
    limits: PlaceLimits,
    state: Mutex<State>,
    refused: AtomicU64,
}

#[derive(Default)]
struct State {
    gates: HashMap<Gate, Doorway>,
    arrivals: u64,
}

/// One gate. Who waits here waits because this gate is full.
struct Doorway {
    open: usize,
    max: usize,
    waiting: BTreeMap<(Rank, u64), Waiter>,
    passed: u32,
    /// How long places are held, milliseconds, on average of late.
    held_ms: f64,
    since: u64,
}

struct Waiter {
    gates: Gates,
    sender: oneshot::Sender<Place>,
}

/// A gate with its limit and where that is set.
#[derive(Clone)]
struct Limited {
    gate: Gate,
    max: usize,
    limit: &'static str,
}

type Gates = SmallVec<[Limited; 3]>;

/// A run's places, until it is dropped.
pub struct Place {
    places: Arc<Places>,
    gates: Gates,
    since: Instant,
}

/// What a run that wants in gets.
pub enum Turn {
    /// It needs no place.
    Free,
    Now(Place),
    Later(Ticket),
}

/// A place in the queue; left when dropped.
pub struct Ticket {
    places: Arc<Places>,
    at: (Rank, u64),
    /// Why it would be sent away now.
    pub late: Busy,
    receiver: oneshot::Receiver<Place>,
    gates: Gates,
}

impl Ticket {
    /// Waits for the place.
    pub async fn place(&mut self) -> Option<Place> {
        // The sender is dropped only with the gates themselves.
        (&mut self.receiver).await.ok()
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        let waiter = {
            let mut state = self.places.state();
            self.gates.iter().find_map(|l| state.gates.get_mut(&l.gate)?.waiting.remove(&self.at))
        };
        // Outside the lock: with it goes a place that came too late to be taken.
        drop(waiter);
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let held_ms = self.since.elapsed().as_secs_f64() * 1e3;
        let gates = std::mem::take(&mut self.gates);
        let granted = self.places.state().leave(&gates, held_ms);
        self.places.give(granted);
    }
}

impl Places {
    pub fn new(limits: PlaceLimits) -> Arc<Places> {
        Arc::new(Places { limits, ..Places::default() })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(|p| p.into_inner())
    }

    /// Asks for places for a run of this flow.
    ///
    /// # Errors
    /// [`Busy::Full`] when too many wait already.
    pub fn ask(self: &Arc<Self>, flow: Option<&PlanFlow>, rank: Rank) -> Result<Turn, Busy> {
        let gates = self.gates(flow, rank);
        if gates.is_empty() {
            return Ok(Turn::Free);
        }
        let mut state = self.state();
        state.arrivals += 1;
        let at = (rank, state.arrivals);
        let Some(full) = state.blocked(&gates, rank, None) else {
            state.enter(&gates);
            drop(state);
            return Ok(Turn::Now(Place { places: self.clone(), gates, since: Instant::now() }));
        };
        let limited = gates[full].clone();
        let doorway = state.gates.get_mut(&limited.gate).expect("a gate that blocks is there");
        let waiting = doorway.waiting.range((rank, 0)..=(rank, u64::MAX)).count();
        let retry_s = doorway.retry_s();
        if waiting >= self.limits.waiting_max {
            self.refused.fetch_add(1, Ordering::Relaxed);
            return Err(Busy::Full { gate: limited.gate, limit: limited.limit, retry_s });
        }
        let (sender, receiver) = oneshot::channel();
        doorway.waiting.insert(at, Waiter { gates: gates.clone(), sender });
        let late = Busy::TooLate { gate: limited.gate, limit: limited.limit, retry_s };
        Ok(Turn::Later(Ticket { places: self.clone(), at, late, receiver, gates }))
    }

    /// Runs sent away because too many waited.
    pub fn refused(&self) -> u64 {
        self.refused.load(Ordering::Relaxed)
    }

    /// Runs with a place and runs that wait, by gate; only gates somebody is at.
    pub fn report(&self) -> Vec<(Gate, usize, usize)> {
        let state = self.state();
        let mut report: Vec<_> = state.gates.iter().map(|(gate, d)| (gate.clone(), d.open, d.waiting.len())).collect();
        report.sort();
        report
    }

    /// How many runs of each limited flow and tenant may yet be taken up here: as many as begin at once, and as many again
    /// to be at hand when those end. What has no limit is not named.
    pub fn caps(&self, flows: &[PlanFlow]) -> (BTreeMap<String, u32>, BTreeMap<String, u32>) {
        let state = self.state();
        let (mut of_flows, mut of_tenants) = (BTreeMap::new(), BTreeMap::new());
        for flow in flows {
            for l in self.gates(Some(flow), Rank::Interactive) {
                let taken = state.gates.get(&l.gate).map_or(0, |d| d.open + d.waiting.len());
                let left = u32::try_from(l.max.saturating_mul(2).saturating_sub(taken)).unwrap_or(u32::MAX);
                match &l.gate {
                    Gate::Flow(id) => of_flows.insert(id.to_string(), left),
                    Gate::Tenant(name) => of_tenants.insert(name.to_string(), left),
                    Gate::Bulk => None,
                };
            }
        }
        (of_flows, of_tenants)
    }

    fn gates(&self, flow: Option<&PlanFlow>, rank: Rank) -> Gates {
        let mut gates = Gates::new();
        let mut push = |gate: Gate, max: usize, limit| {
            if max > 0 {
                gates.push(Limited { gate, max, limit });
            }
        };
        if let Some(flow) = flow {
            match flow.concurrency {
                Some(max) => push(Gate::Flow(flow.id.clone()), max, "the tab's property concurrency"),
                None if self.limits.flow_runs_max > 0 => {
                    push(Gate::Flow(flow.id.clone()), self.limits.flow_runs_max, "limits.flow_runs_max");
                }
                None => {}
            }
            if let Some(tenant) = &flow.tenant {
                let (max, limit) = match self.limits.tenants.get(tenant.as_str()) {
                    Some(max) => (*max, "limits.tenants"),
                    None => (self.limits.tenant_runs_max, "limits.tenant_runs_max"),
                };
                push(Gate::Tenant(tenant.clone()), max, limit);
            }
        }
        if rank == Rank::Bulk {
            push(Gate::Bulk, self.limits.bulk_runs_max, "limits.bulk_runs_max");
        }
        gates
    }

    /// Hands out places; never under the lock, for one that nobody takes is given back.
    fn give(self: &Arc<Self>, granted: Vec<(oneshot::Sender<Place>, Gates)>) {
        for (sender, gates) in granted {
            let place = Place { places: self.clone(), gates, since: Instant::now() };
            drop(sender.send(place));
        }
    }
}

impl State {
    /// The first of these gates that has no room for this rank: it is full, or somebody better waits there. Who comes
    /// from a queue was chosen at that gate already.
    fn blocked(&self, gates: &Gates, rank: Rank, chosen_at: Option<&Gate>) -> Option<usize> {
        let better = |d: &Doorway| d.waiting.keys().next().is_some_and(|at| at.0 < rank);
        gates.iter().position(|l| {
            let doorway = self.gates.get(&l.gate);
            doorway.is_some_and(|d| d.open >= l.max || (chosen_at != Some(&l.gate) && better(d)))
        })
    }

    fn enter(&mut self, gates: &Gates) {
        for l in gates {
            let doorway = self.gates.entry(l.gate.clone()).or_insert_with(|| Doorway {
                open: 0,
                max: l.max,
                waiting: BTreeMap::new(),
                passed: 0,
                held_ms: 0.0,
                since: 0,
            });
            // A deploy may have changed it.
            doorway.max = l.max;
            doorway.open += 1;
        }
    }

    /// Gives places back and says who has them now.
    fn leave(&mut self, gates: &Gates, held_ms: f64) -> Vec<(oneshot::Sender<Place>, Gates)> {
        for l in gates {
            if let Some(doorway) = self.gates.get_mut(&l.gate) {
                doorway.open -= 1;
                let weight = if doorway.since == 0 { 1.0 } else { 0.1 };
                doorway.held_ms += (held_ms - doorway.held_ms) * weight;
                doorway.since += 1;
            }
        }
        let mut granted = Vec::new();
        // The widest first: who waits there must not be passed by the flow's own.
        for l in gates.iter().rev() {
            self.let_in(&l.gate, &mut granted);
            // Nobody is there: nothing to remember, or the map would grow with every flow there ever was.
            if self.gates.get(&l.gate).is_some_and(|d| d.open == 0 && d.waiting.is_empty()) {
                self.gates.remove(&l.gate);
            }
        }
        granted
    }

    /// Lets in who waits at a gate, as long as it has room; who finds another gate full goes on waiting there.
    fn let_in(&mut self, gate: &Gate, granted: &mut Vec<(oneshot::Sender<Place>, Gates)>) {
        loop {
            let Some(doorway) = self.gates.get_mut(gate).filter(|d| d.open < d.max) else { return };
            let Some((at, waiter)) = doorway.next() else { return };
            match self.blocked(&waiter.gates, at.0, Some(gate)) {
                Some(full) => {
                    let elsewhere = self.gates.get_mut(&waiter.gates[full].gate).expect("a gate that blocks is there");
                    elsewhere.waiting.insert(at, waiter);
                    if waiter_waits_here(gate, self, at) {
                        return;
                    }
                }
                None => {
                    self.enter(&waiter.gates);
                    granted.push((waiter.sender, waiter.gates));
                }
            }
        }
    }
}

/// True when a waiter was put back to where it came from: its own limit is below the gate's (a deploy is under way).
fn waiter_waits_here(gate: &Gate, state: &State, at: (Rank, u64)) -> bool {
    state.gates.get(gate).is_some_and(|d| d.waiting.contains_key(&at))
}

impl Doorway {
    /// Takes out who is next.
    fn next(&mut self) -> Option<((Rank, u64), Waiter)> {
        let best = *self.waiting.keys().next()?;
        let firsts = Rank::ALL.iter().filter_map(|r| self.waiting.range((*r, 0)..=(*r, u64::MAX)).next());
        let oldest = *firsts.map(|(at, _)| at).min_by_key(|at| at.1)?;
        let at = if oldest.0 == best.0 {
            self.passed = 0;
            best
        } else if self.passed >= PASSED_MAX {
            self.passed = 0;
            oldest
        } else {
            self.passed += 1;
            best
        };
        self.waiting.remove_entry(&at)
    }

    /// How long those who wait now will take, seconds.
    fn retry_s(&self) -> u32 {
        let ms = self.held_ms * (self.waiting.len() + 1) as f64 / self.max.max(1) as f64;
        (ms / 1e3).ceil().clamp(1.0, 60.0) as u32
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn flow(id: &str, concurrency: Option<usize>, tenant: Option<&str>) -> PlanFlow {
        PlanFlow { id: id.into(), concurrency, tenant: tenant.map(ArcStr::from), ..PlanFlow::default() }
    }

    fn now(places: &Arc<Places>, flow: &PlanFlow, rank: Rank) -> Place {
        match places.ask(Some(flow), rank) {
            Ok(Turn::Now(place)) => place,
            _ => panic!("a place should have been free"),
        }
    }

    fn later(places: &Arc<Places>, flow: &PlanFlow, rank: Rank) -> Ticket {
        match places.ask(Some(flow), rank) {
            Ok(Turn::Later(ticket)) => ticket,
            _ => panic!("it should have had to wait"),
        }
    }

    fn taken(ticket: &mut Ticket) -> Option<Place> {
        ticket.receiver.try_recv().ok()
    }

    #[test]
    fn what_has_no_limit_needs_no_place() {
        let places = Places::new(PlaceLimits::default());
        assert!(matches!(places.ask(Some(&flow("f", None, Some("t"))), Rank::Interactive), Ok(Turn::Free)));
        assert!(places.report().is_empty());
    }

    #[test]
    fn callers_pass_evaluations_but_not_for_ever() {
        let places = Places::new(PlaceLimits::default());
        let flow = flow("f", Some(1), None);
        let mut place = now(&places, &flow, Rank::Interactive);
        let mut waiting =
            vec![("bulk 1", later(&places, &flow, Rank::Bulk)), ("bulk 2", later(&places, &flow, Rank::Bulk))];
        waiting.push(("cron", later(&places, &flow, Rank::Scheduled)));
        waiting.extend((0..18).map(|_| ("call", later(&places, &flow, Rank::Interactive))));
        let mut order = Vec::new();
        while !waiting.is_empty() {
            drop(place);
            let (at, next) = waiting.iter_mut().enumerate().find_map(|(at, (_, t))| Some((at, taken(t)?))).unwrap();
            place = next;
            order.push(waiting.remove(at).0);
        }
        let mut expected = vec!["call"; 16];
        expected.extend(["bulk 1", "call", "call", "cron", "bulk 2"]);
        assert_eq!(order, expected);
        drop(place);
        assert!(places.report().is_empty(), "nothing is remembered of gates nobody is at");
    }

    #[test]
    fn a_full_queue_sends_away_but_a_queue_of_evaluations_is_no_callers_queue() {
        let places = Places::new(PlaceLimits { waiting_max: 2, ..PlaceLimits::default() });
        let flow = flow("f", Some(1), None);
        let _place = now(&places, &flow, Rank::Interactive);
        let _bulk = [later(&places, &flow, Rank::Bulk), later(&places, &flow, Rank::Bulk)];
        let refused = places.ask(Some(&flow), Rank::Bulk).err().unwrap();
        assert!(refused.is_callers_own() && refused.retry_s() >= 1, "{refused}");
        assert!(refused.to_string().contains("flow f") && refused.to_string().contains("concurrency"), "{refused}");
        let calls = [later(&places, &flow, Rank::Interactive), later(&places, &flow, Rank::Interactive)];
        assert!(places.ask(Some(&flow), Rank::Interactive).is_err());
        drop(calls);
        drop(later(&places, &flow, Rank::Interactive));
        assert_eq!(places.report(), [(Gate::Flow("f".into()), 1, 2)]);
    }

    #[test]
    fn a_tenants_limit_counts_over_its_flows_and_waits_at_the_gate_that_is_full() {
        let tenants = HashMap::from([("acme".to_string(), 2)]);
        let places = Places::new(PlaceLimits { tenants, tenant_runs_max: 1, ..PlaceLimits::default() });
        let (a, b, c) =
            (flow("a", Some(1), Some("acme")), flow("b", None, Some("acme")), flow("c", None, Some("other")));
        let first = now(&places, &a, Rank::Interactive);
        let second = now(&places, &b, Rank::Interactive);
        let _other = now(&places, &c, Rank::Interactive);
        // Waits at flow a; the other two at the tenant's gate.
        let mut third = later(&places, &a, Rank::Scheduled);
        let mut bulk = later(&places, &b, Rank::Bulk);
        let mut fourth = later(&places, &b, Rank::Interactive);
        // Frees flow a and a place of the tenant, which goes to the caller; the third waits at the tenant's gate then.
        drop(first);
        assert!(taken(&mut third).is_none() && taken(&mut bulk).is_none());
        let fourth = taken(&mut fourth).expect("the caller has the place");
        drop(second);
        let third = taken(&mut third).expect("it waited at the other gate, and is before what evaluations ask for");
        assert!(taken(&mut bulk).is_none());
        drop((third, fourth));
        assert!(taken(&mut bulk).is_some());
    }

    #[test]
    fn a_place_that_comes_too_late_goes_to_the_next() {
        let places = Places::new(PlaceLimits::default());
        let flow = flow("f", Some(1), None);
        let place = now(&places, &flow, Rank::Interactive);
        let gone = later(&places, &flow, Rank::Interactive);
        let mut next = later(&places, &flow, Rank::Interactive);
        drop(place);
        // Granted, and never taken.
        drop(gone);
        assert!(taken(&mut next).is_some());
    }
}
