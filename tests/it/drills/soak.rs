//! The soak: replicas killed at random moments, halted, cut off from a Postgres that is slowed, refused, restarted and failed
//! over, while orders come in. In the end nothing acknowledged is missing and nothing has happened twice.
//!
//! `tests/drills/soak --seconds 600 --seed 7` runs the long one; the seed decides what happens and when.

use std::time::{Duration, Instant};

use super::account::{self, Account};
use super::database::Database;
use super::fleet::{Fleet, Plan};
use super::load::Load;
use super::receiver::Receiver;
use super::wire::{Line, OPEN};
use super::{Settings, flows, pause};
use crate::deploy::failover::cluster;

/// What is done to the system.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    /// A replica is killed with -9, and started again some time later.
    Kill,
    /// A replica does nothing for longer than a lease, then goes on as if nothing had been.
    Halt,
    /// All ways to Postgres take longer.
    Slow,
    /// A replica's way to Postgres is silent for longer than a lease; what it wrote meanwhile arrives late.
    Silence,
    /// Postgres refuses everybody.
    Refuse,
    /// Postgres is killed with all its processes and starts again.
    Restart,
    /// The primary's machine is lost; the standby takes over; a replica is killed meanwhile.
    FailOver,
}

/// How one soak goes.
struct Course {
    seed: u64,
    seconds: Duration,
    per_s: u64,
    plan: Plan,
    /// Done in a random order, again and again.
    faults: Vec<Fault>,
    /// From the end of one fault to the next.
    between: std::ops::Range<f64>,
}

#[derive(Debug, Default)]
struct Done {
    kills: usize,
    failovers: usize,
    others: usize,
}

fn plan(lease_ms: u64) -> Plan {
    Plan {
        binary: Settings::binary("BINARY"),
        replicas: Settings::number("REPLICAS", 3) as usize,
        lease_ms,
        env: vec![("PROBITY_STORE_WAIT_MS_MAX".into(), "3000".into())],
        args: vec!["--agreements".into(), String::new()],
        proxy_repeats: false,
    }
}

/// A time between these, seconds.
fn some(random: &mut fastrand::Rng, seconds: std::ops::Range<f64>) -> Duration {
    Duration::from_secs_f64(seconds.start + random.f64() * (seconds.end - seconds.start))
}

async fn kill(fleet: &mut Fleet, random: &mut fastrand::Rng, done: &mut Done) {
    let at = random.usize(..fleet.replicas.len());
    fleet.replicas[at].kill_9();
    done.kills += 1;
    pause(some(random, 0.1..2.0)).await;
    fleet.start_replica(at).await;
}

async fn inflict(
    fault: Fault,
    database: &mut Database,
    fleet: &mut Fleet,
    random: &mut fastrand::Rng,
    done: &mut Done,
) {
    let lease = fleet.plan.lease_ms as f64 / 1e3;
    let at = random.usize(..fleet.replicas.len());
    done.others += usize::from(!matches!(fault, Fault::Kill | Fault::FailOver));
    match fault {
        Fault::Kill => kill(fleet, random, done).await,
        Fault::Halt => {
            fleet.replicas[at].halt();
            pause(some(random, lease..lease * 1.5)).await;
            fleet.replicas[at].wake();
        }
        Fault::Slow => {
            let each = some(random, 0.005..0.03);
            fleet.replicas.iter().for_each(|replica| replica.wire.set(Line::Open(each)));
            pause(some(random, 1.0..4.0)).await;
            fleet.replicas.iter().for_each(|replica| replica.wire.set(OPEN));
        }
        Fault::Silence => {
            fleet.replicas[at].wire.set(Line::Silent);
            pause(some(random, lease..lease * 1.5)).await;
            fleet.replicas[at].wire.set(OPEN);
        }
        Fault::Refuse => {
            fleet.replicas.iter().for_each(|replica| replica.wire.set(Line::Refused));
            pause(some(random, 0.5..3.0)).await;
            fleet.replicas.iter().for_each(|replica| replica.wire.set(OPEN));
        }
        Fault::Restart => database.restart().await,
        Fault::FailOver => {
            let (failed_over, ()) = tokio::join!(database.fail_over(), kill(fleet, random, done));
            done.failovers += usize::from(failed_over);
        }
    }
}

async fn soak(course: Course, mut database: Database) -> Account {
    let receiver = Receiver::serve().await;
    account::prepare(&database).await;
    let mut fleet = Fleet::start(course.plan.clone(), &database, &flows(&receiver.url)).await;
    account::watch_ends(&database).await;
    let mut random = fastrand::Rng::with_seed(course.seed);
    let mut done = Done::default();
    let load = Load::start(&fleet.base, course.per_s);
    let began = Instant::now();
    let mut left = Vec::new();
    while began.elapsed() < course.seconds {
        pause(some(&mut random, course.between.clone())).await;
        if left.is_empty() {
            left = course.faults.clone();
            random.shuffle(&mut left);
        }
        let Some(fault) = left.pop() else { continue };
        eprintln!("  {:6.1} s: {fault:?}; {} acknowledged", began.elapsed().as_secs_f64(), load.acknowledged());
        inflict(fault, &mut database, &mut fleet, &mut random, &mut done).await;
    }
    fleet.heal().await;
    let met = load.met.clone();
    let orders = load.stop().await;
    let decided = account::settle(&database, &fleet, &orders, Duration::from_secs(180)).await;
    let account = account::account(&database, &receiver, &orders, &met, decided).await;
    account.say(&format!(
        "soak of {} s, {} orders/s, seed {}: {} kills, {} failovers, {} other faults",
        course.seconds.as_secs(),
        course.per_s,
        course.seed,
        done.kills,
        done.failovers,
        done.others
    ));
    assert!(
        account.is_clean(),
        "again: tests/drills/soak --seconds {} --seed {}\n{}\n{}",
        course.seconds.as_secs(),
        course.seed,
        account.problems(),
        fleet.log()
    );
    account
}

/// The short one, of every day: one Postgres, short leases.
#[tokio::test(flavor = "multi_thread")]
async fn nothing_acknowledged_is_lost_or_doubled_whatever_is_killed() {
    if !cluster::available() {
        return;
    }
    let faults =
        vec![Fault::Kill, Fault::Kill, Fault::Halt, Fault::Silence, Fault::Restart, Fault::Refuse, Fault::Slow];
    let course = Course {
        seed: Settings::number("SEED", 1),
        seconds: Settings::seconds(15),
        per_s: 40,
        plan: plan(1000),
        faults,
        between: 0.2..1.0,
    };
    let account = soak(course, Database::one().await).await;
    assert!(account.accepted > 100);
}

/// The long one: `tests/drills/soak`.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "takes minutes: tests/drills/soak"]
async fn soak_with_failovers() {
    assert!(cluster::available());
    let mut faults = vec![Fault::Kill; 5];
    faults.extend([Fault::Halt, Fault::Slow, Fault::Silence, Fault::Refuse, Fault::Restart, Fault::FailOver]);
    let course = Course {
        seed: Settings::number("SEED", fastrand::u64(..1_000_000)),
        seconds: Settings::seconds(90),
        per_s: Settings::number("RATE", 100),
        plan: plan(4000),
        faults,
        between: 0.5..4.0,
    };
    eprintln!(
        "again: tests/drills/soak --seconds {} --seed {} --rate {}",
        course.seconds.as_secs(),
        course.seed,
        course.per_s
    );
    let database = Database::two().await;
    assert!(database.is_cluster());
    soak(course, database).await;
}

/// The bar: one of three killed every twenty seconds: `tests/drills/soak --bar`.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "takes minutes: tests/drills/soak --bar"]
async fn kills_alone_are_hardly_noticed() {
    assert!(cluster::available());
    let course = Course {
        seed: Settings::number("SEED", fastrand::u64(..1_000_000)),
        seconds: Settings::seconds(600),
        per_s: Settings::number("RATE", 500),
        plan: plan(4000),
        faults: vec![Fault::Kill],
        between: 18.5..19.5,
    };
    let account = soak(course, Database::two().await).await;
    let (p99, bar) = (account.answered.ms(99.0), Settings::number("P99_MS", 250) as f64);
    assert!(p99 <= bar, "p99 {p99:.1} ms, bar {bar} ms");
}
