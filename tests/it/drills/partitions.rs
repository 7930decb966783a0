//! Partitions between replicas and Postgres, and a Postgres that refuses everybody while triggers arrive.
//!
//! `tests/drills/partitions --seconds 60` runs them for a minute.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use super::account;
use super::database::Database;
use super::fleet::{Fleet, Plan};
use super::load::Load;
use super::receiver::Receiver;
use super::wire::{Line, OPEN};
use super::{Settings, flows, pause, within};
use crate::deploy::failover::cluster;

/// How long a call may wait for its commit.
const ACCEPT_MS: u64 = 1000;

fn plan() -> Plan {
    Plan {
        binary: Settings::binary("BINARY"),
        replicas: 3,
        lease_ms: 1000,
        env: vec![
            ("PROBITY_STORE_WAIT_MS_MAX".into(), "2000".into()),
            ("PROBITY_DURABLE_ACCEPT_MS_MAX".into(), ACCEPT_MS.to_string()),
        ],
        args: vec!["--agreements".into(), String::new()],
        proxy_repeats: false,
    }
}

/// A call past the proxy, and whether it was refused with a time to come back.
async fn is_refused(base: &str) -> bool {
    let call =
        crate::harness::server::client().post(format!("{base}/pay?async=1")).header("content-type", "text/plain");
    let answer = call.body("nobody's").timeout(Duration::from_secs(20)).send().await;
    answer.is_ok_and(|answer| answer.status() == 503 && answer.headers().contains_key("retry-after"))
}

#[tokio::test(flavor = "multi_thread")]
async fn partitions_lose_and_double_nothing() {
    if !cluster::available() {
        return;
    }
    let away = Settings::seconds(3);
    let (database, receiver) = (Database::one().await, Receiver::serve().await);
    account::prepare(&database).await;
    let mut fleet = Fleet::start(plan(), &database, &flows(&receiver.url)).await;
    account::watch_ends(&database).await;
    let load = Load::start(&fleet.base, Settings::number("RATE", 30));
    let more = async |what: &str| {
        let before = load.acknowledged();
        within(Duration::from_secs(60), what, async || load.acknowledged() >= before + 20, async || fleet.log()).await;
    };
    more("orders are acknowledged").await;

    // One replica hears and says nothing: others go on, callers of this one are told to come back.
    fleet.replicas[0].wire.set(Line::Silent);
    let refused = async || is_refused(&fleet.replicas[0].base).await;
    within(Duration::from_secs(60), "who is cut off refuses", refused, async || fleet.log()).await;
    more("the others go on").await;
    pause(away).await;
    // What it had sent arrives late.
    fleet.replicas[0].wire.set(OPEN);
    more("all go on").await;

    // Postgres refuses everybody: nothing is acknowledged, and nothing is forgotten.
    fleet.replicas.iter().for_each(|replica| replica.wire.set(Line::Refused));
    let answered = load.met.refused.load(Ordering::Relaxed);
    pause(Duration::from_millis(ACCEPT_MS)).await;
    let before = load.acknowledged();
    pause(away).await;
    assert_eq!(load.acknowledged(), before, "acknowledged without a database");
    assert!(is_refused(&fleet.replicas[1].base).await, "{}", fleet.log());
    assert!(load.met.refused.load(Ordering::Relaxed) > answered, "callers were told nothing");
    fleet.replicas.iter().for_each(|replica| replica.wire.set(OPEN));
    let healed = Instant::now();
    more("all go on again").await;
    let again = healed.elapsed();

    fleet.heal().await;
    let met = load.met.clone();
    let orders = load.stop().await;
    let decided = account::settle(&database, &fleet, &orders, Duration::from_secs(120)).await;
    let account = account::account(&database, &receiver, &orders, &met, decided).await;
    account.say(&format!(
        "partitions of {} s; 20 more acknowledged {:.1} s after the last",
        away.as_secs(),
        again.as_secs_f64()
    ));
    assert!(account.is_clean(), "{}\n{}", account.problems(), fleet.log());
}
