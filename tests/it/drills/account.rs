//! The reckoning: what callers were told against what the receiver was told and what the database has.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use sqlx::{PgConnection, Row};

use super::database::Database;
use super::fleet::Fleet;
use super::load::{Met, Order};
use super::receiver::Receiver;
use super::{ORDERS, SCHEDULE, pause};

/// What the drill itself keeps in the database: bookings, and every end of a run that was touched again.
const PREPARE: &str = "CREATE SCHEMA drill; GRANT USAGE ON SCHEMA drill TO PUBLIC;
    CREATE TABLE drill.booking (of text NOT NULL, at timestamptz NOT NULL DEFAULT clock_timestamp());
    CREATE TABLE drill.touched (run uuid NOT NULL, was text, is_now text);
    GRANT SELECT, INSERT ON drill.booking, drill.touched TO PUBLIC;";
const WATCH: &str = "CREATE FUNCTION drill.note() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
        IF TG_OP = 'DELETE' OR OLD::text <> NEW::text THEN
            INSERT INTO drill.touched VALUES (OLD.id, OLD.state, CASE WHEN TG_OP = 'UPDATE' THEN NEW.state END);
        END IF;
        RETURN NULL; END $$;
    CREATE TRIGGER drill_touched AFTER UPDATE OR DELETE ON probity.run FOR EACH ROW
        WHEN (OLD.state IN ('done', 'failed', 'stopped')) EXECUTE FUNCTION drill.note();";

/// Before the first replica starts: what flows write to.
pub(super) async fn prepare(database: &Database) {
    sqlx::raw_sql(PREPARE).execute(&mut database.connect().await).await.unwrap();
}

/// When there is a schema: every later change of an end is noted. The history of fast runs may be written again, as it was,
/// when the answer was lost; that changes nothing.
pub(super) async fn watch_ends(database: &Database) {
    sqlx::raw_sql(WATCH).execute(&mut database.connect().await).await.unwrap();
}

/// A list of times in order.
pub(super) struct Times(Vec<Duration>);

impl Times {
    pub(super) fn of(times: impl Iterator<Item = Duration>) -> Times {
        let mut times: Vec<Duration> = times.collect();
        times.sort_unstable();
        Times(times)
    }

    /// The time that so many in a hundred do not exceed, milliseconds; 0 when there are none.
    pub(super) fn ms(&self, percent: f64) -> f64 {
        let at = ((self.0.len() as f64 * percent / 100.0).ceil() as usize).clamp(1, self.0.len().max(1)) - 1;
        self.0.get(at).map_or(0.0, |time| time.as_secs_f64() * 1e3)
    }
}

impl std::fmt::Display for Times {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "p50 {:.1} ms, p99 {:.1} ms, longest {:.1} ms", self.ms(50.0), self.ms(99.0), self.ms(100.0))
    }
}

/// What a drill came to.
pub(super) struct Account {
    pub(super) accepted: usize,
    pub(super) lost: Vec<String>,
    pub(super) doubled: Vec<String>,
    pub(super) wrong: Vec<String>,
    /// Ticks that are rows, and what is wrong with them.
    pub(super) ticks: i64,
    pub(super) doubts: usize,
    pub(super) dead: usize,
    pub(super) repeated: usize,
    pub(super) retried: usize,
    pub(super) answered: Times,
    pub(super) done: Times,
    refused: u64,
    cut: u64,
}

impl Account {
    pub(super) fn say(&self, what: &str) {
        eprintln!(
            "{what}: runs accepted {}, lost {}, doubled {}, ticks {} (each one row), ends touched {}\n  \
             callers: {} asked more than once; {} answers 5xx or 429, {} connections cut on the way\n  \
             accepted after: {}\n  done at the receiver after: {}; {} repeated there under the same key\n  \
             decided by a person: {} in doubt, {} dead letters",
            self.accepted,
            self.lost.len(),
            self.doubled.len(),
            self.ticks,
            self.wrong.len(),
            self.retried,
            self.refused,
            self.cut,
            self.answered,
            self.done,
            self.repeated,
            self.doubts,
            self.dead,
        );
    }

    pub(super) fn is_clean(&self) -> bool {
        self.lost.is_empty() && self.doubled.is_empty() && self.wrong.is_empty()
    }

    /// The first of what is wrong.
    pub(super) fn problems(&self) -> String {
        let first = |list: &[String]| list.iter().take(10).cloned().collect::<Vec<_>>().join("\n  ");
        format!(
            "lost:\n  {}\ndoubled:\n  {}\nwrong:\n  {}",
            first(&self.lost),
            first(&self.doubled),
            first(&self.wrong)
        )
    }
}

async fn bookings(connection: &mut PgConnection) -> HashMap<String, i64> {
    let rows = sqlx::query("SELECT of, count(*) FROM drill.booking GROUP BY of").fetch_all(connection).await.unwrap();
    rows.iter().map(|row| (row.get(0), row.get(1))).collect()
}

/// Waits until nothing is queued or leased, and does what a person would: looks whether what is in doubt happened, and
/// says so; has dead letters tried again. Gives how many of each there were.
pub(super) async fn settle(database: &Database, fleet: &Fleet, orders: &[Order], limit: Duration) -> (usize, usize) {
    let of_run: HashMap<&str, &Order> =
        orders.iter().flat_map(|order| order.runs.iter().map(move |run| (run.as_str(), order))).collect();
    let (mut doubts, mut dead) = (0, 0);
    let client = crate::harness::server::client();
    let started = Instant::now();
    loop {
        let mut connection = database.connect().await;
        let rows =
            sqlx::query("SELECT id::text, state, error::text FROM probity.queue WHERE flow = 'orders' OR state IN ('dead', 'in-doubt')").fetch_all(&mut connection).await.unwrap();
        if rows.is_empty() {
            return (doubts, dead);
        }
        if started.elapsed() > limit {
            let first: Vec<String> = rows
                .iter()
                .take(10)
                .map(|row| {
                    format!(
                        "{} {} {:?}",
                        row.get::<String, _>(0),
                        row.get::<String, _>(1),
                        row.get::<Option<String>, _>(2)
                    )
                })
                .collect();
            panic!("{} runs have not ended after {} s: {first:#?}\n{}", rows.len(), limit.as_secs(), fleet.log());
        }
        let written = bookings(&mut connection).await;
        for row in &rows {
            let (run, state): (String, String) = (row.get(0), row.get(1));
            let what = match state.as_str() {
                "in-doubt" => {
                    doubts += 1;
                    let order = of_run.get(run.as_str()).unwrap_or_else(|| panic!("{run} is in doubt and nobody's"));
                    let happened = written.contains_key(&order.key);
                    format!("decide?decision={}", if happened { "skip" } else { "again" })
                }
                "dead" => {
                    dead += 1;
                    "replay".to_owned()
                }
                _ => continue,
            };
            let asked = client.post(format!("{}/probity/v1/runs/{run}/{what}", fleet.base)).send().await;
            let status = asked.map(|answer| answer.status().as_u16());
            assert!(matches!(status, Ok(200 | 409)), "{run} {what}: {status:?}");
        }
        pause(Duration::from_millis(200)).await;
    }
}

/// Compares all that is known.
pub(super) async fn account(
    database: &Database,
    receiver: &Receiver,
    orders: &[Order],
    met: &Met,
    (doubts, dead): (usize, usize),
) -> Account {
    let mut connection = database.connect().await;
    let (mut lost, mut doubled, mut wrong) = (Vec::new(), Vec::new(), Vec::new());
    let rows = sqlx::query("SELECT id::text, state FROM probity.run WHERE subject = $1").bind(ORDERS);
    let rows = rows.fetch_all(&mut connection).await.unwrap();
    let mut ends: BTreeMap<String, (usize, String)> = BTreeMap::new();
    for row in &rows {
        let state: String = row.get(1);
        ends.entry(row.get(0)).or_insert((0, state)).0 += 1;
    }
    let (told, written) = (receiver.told(), bookings(&mut connection).await);
    for order in orders {
        let key = &order.key;
        if order.acknowledged.is_none() {
            wrong.push(format!("{key} was never acknowledged: {order:?}"));
            continue;
        }
        wrong.extend(order.wrong.iter().map(|answer| format!("{key}: {answer}")));
        if order.runs.len() > 1 {
            doubled.push(format!("{key} was told of several runs: {:?}", order.runs));
        }
        for run in &order.runs {
            match ends.get(run) {
                None => lost.push(format!("{key}: run {run} is not in the history")),
                Some((1, state)) if state == "done" => {}
                Some((times, state)) => wrong.push(format!("{key}: run {run} stands {times} times, as {state}")),
            }
        }
        if order.booking {
            match written.get(key) {
                None => lost.push(format!("{key} is not booked")),
                Some(1) => {}
                Some(times) => doubled.push(format!("{key} is booked {times} times")),
            }
            continue;
        }
        match told.get(key) {
            None => lost.push(format!("the receiver was not told of {key}")),
            Some(told) if told.keys.len() > 1 => doubled.push(format!("{key} came under {:?}", told.keys)),
            Some(_) => {}
        }
    }
    let known = orders.iter().map(|order| order.runs.len()).sum::<usize>();
    if ends.len() > known {
        doubled.push(format!("{} runs ended, {known} were asked for", ends.len()));
    }
    let touched: Vec<String> =
        sqlx::query_scalar("SELECT run || ' ' || was || ' ' || coalesce(is_now, 'gone') FROM drill.touched")
            .fetch_all(&mut connection)
            .await
            .unwrap();
    wrong.extend(touched.into_iter().map(|run| format!("an end was touched: {run}")));
    let ticks = ticks(&mut connection, receiver).await.unwrap_or_else(|problem| {
        wrong.push(problem);
        0
    });
    let payments = orders.iter().filter(|order| !order.booking);
    Account {
        accepted: orders.iter().filter(|order| order.acknowledged.is_some()).count(),
        lost,
        doubled,
        wrong,
        ticks,
        doubts,
        dead,
        repeated: told.values().map(|told| told.times - told.keys.len()).sum(),
        retried: orders.iter().filter(|order| order.tries > 1).count(),
        answered: Times::of(orders.iter().filter_map(|order| Some(order.acknowledged? - order.planned))),
        done: Times::of(
            payments.filter_map(|order| Some(told.get(&order.key)?.first.saturating_duration_since(order.planned))),
        ),
        refused: met.refused.load(Ordering::Relaxed),
        cut: met.cut.load(Ordering::Relaxed),
    }
}

/// Every second between the first and the last tick is one row with one run, and told to the receiver under one key; the
/// last moments may be under way.
async fn ticks(connection: &mut PgConnection, receiver: &Receiver) -> Result<i64, String> {
    let started = Instant::now();
    loop {
        let row = sqlx::query(
            "SELECT count(*), count(DISTINCT due_at), coalesce(extract(epoch FROM max(due_at) - min(due_at))::bigint + 1, 0), \
             count(*) FILTER (WHERE run IS NULL AND due_at < now() - interval '2 seconds') \
             FROM probity.claim WHERE schedule = $1",
        );
        let row = row.bind(SCHEDULE).fetch_one(&mut *connection).await.unwrap();
        let (rows, distinct, seconds, open): (i64, i64, i64, i64) = (row.get(0), row.get(1), row.get(2), row.get(3));
        let due = sqlx::query_scalar::<_, String>(
            "SELECT to_char(due_at AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS\"Z\"') FROM probity.claim \
             WHERE schedule = $1 AND due_at < now() - interval '5 seconds'",
        );
        let due = due.bind(SCHEDULE).fetch_all(&mut *connection).await.unwrap();
        let told = receiver.told();
        let untold: Vec<&String> =
            due.iter().filter(|at| told.get(*at).is_none_or(|told| told.keys.len() != 1)).collect();
        if rows == distinct && rows == seconds && open == 0 && rows > 0 && untold.is_empty() {
            return Ok(rows);
        }
        if started.elapsed() > Duration::from_secs(60) {
            let keys: Vec<_> = untold.iter().take(3).map(|at| (at, told.get(*at))).collect();
            return Err(format!(
                "ticks: {rows} rows, {distinct} due times, {seconds} seconds, {open} not done, {} not told once: {keys:?}",
                untold.len()
            ));
        }
        pause(Duration::from_millis(200)).await;
    }
}
