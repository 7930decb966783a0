//! Drills of the whole: three replicas behind HAProxy on one Postgres, under load, while things are killed, stopped, slowed,
//! cut off, failed over and replaced. What must hold is asked of those who were told something (callers, an outside
//! receiver) and of the database.
//!
//! The short ones are tests of every day. `tests/drills/soak`, `tests/drills/upgrade` and `tests/drills/partitions` run the
//! long ones, on any binary: [`Settings`] come from `PROBITY_TEST_DRILL_*`.

mod account;
mod database;
mod fleet;
mod load;
mod partitions;
mod receiver;
mod soak;
mod tenants;
mod upgrade;
mod wire;

use std::time::Duration;

use serde_json::{Value, json};

/// The flow whose runs are counted.
const ORDERS: &str = "orders";
/// The schedule whose ticks are counted.
const SCHEDULE: &str = "flow/tick";

/// What the long drills are told by their scripts.
struct Settings;

impl Settings {
    #[expect(clippy::disallowed_methods, reason = "tests have no config")]
    fn text(name: &str) -> Option<String> {
        std::env::var(format!("PROBITY_TEST_DRILL_{name}")).ok().filter(|text| !text.is_empty())
    }

    fn number(name: &str, default: u64) -> u64 {
        Self::text(name).map_or(default, |text| {
            text.parse().unwrap_or_else(|_| panic!("PROBITY_TEST_DRILL_{name}: {text:?} is no number"))
        })
    }

    fn seconds(default: u64) -> Duration {
        Duration::from_secs(Self::number("SECONDS", default))
    }

    /// The program to drill; the one that was built with this test unless told otherwise.
    fn binary(name: &str) -> String {
        Self::text(name).unwrap_or_else(|| env!("CARGO_BIN_EXE_probity").to_owned())
    }
}

/// Waits until a condition holds, asked ten times a second, and gives up after so long with what `why` says.
async fn within(
    limit: Duration,
    what: &str,
    mut condition: impl AsyncFnMut() -> bool,
    why: impl AsyncFnOnce() -> String,
) {
    let started = std::time::Instant::now();
    while !condition().await {
        if started.elapsed() > limit {
            panic!("not within {} s: {what}\n{}", limit.as_secs(), why().await);
        }
        pause(Duration::from_millis(100)).await;
    }
}

/// Lets time pass: load and faults have their pace.
async fn pause(time: Duration) {
    probity::clock::Clock::System.sleep(time).await;
}

/// `POST /pay` tells the receiver, `POST /book` writes a row, `POST /fast` answers at once; every second a tick tells the receiver.
fn flows(receiver: &str) -> Value {
    let node = |id: &str, tab: &str, node_type: &str, more: Value, to: &[&str]| {
        let mut node = json!({"id": id, "z": tab, "type": node_type, "x": 1, "y": 1, "wires": [to]});
        node.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        node
    };
    let entry = |id: &str, tab: &str, url: &str, to: &str| {
        node(id, tab, "http in", json!({"url": url, "method": "post"}), &[to])
    };
    let answer = |id: &str, tab: &str| node(id, tab, "http response", json!({"statusCode": "", "headers": {}}), &[]);
    let order = json!([{"v": "payload", "vt": "msg"}]);
    json!([
        {"id": ORDERS, "type": "tab", "label": "orders", "durability": "durable"},
        entry("pay", ORDERS, "/pay", "send"),
        node("send", ORDERS, "http request", json!({"method": "POST", "ret": "txt", "url": receiver}), &["paid"]),
        answer("paid", ORDERS),
        entry("book", ORDERS, "/book", "write"),
        node("write", ORDERS, "sql", json!({"datasource": "books", "access": "write", "parameters": order,
            "query": "INSERT INTO drill.booking (of) VALUES ($1)"}), &["booked"]),
        answer("booked", ORDERS),
        {"id": "fast", "type": "tab", "label": "fast"},
        entry("quick", "fast", "/fast", "said"),
        answer("said", "fast"),
        {"id": "ticks", "type": "tab", "label": "ticks"},
        node("tick", "ticks", "schedule", json!({"cron": "* * * * * *", "timeZone": "UTC", "catchUp": "all"}), &["told"]),
        node("told", "ticks", "http request", json!({"method": "POST", "ret": "txt", "url": receiver}), &[]),
    ])
}
