//! Callers: so many orders a second whatever the answers (no caller waits for another), each asked for again under its key
//! until it is acknowledged.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use serde_json::Value;
use tokio::task::{JoinHandle, JoinSet};

use super::pause;

/// An order that was not acknowledged after so long is given up.
const PATIENCE: Duration = Duration::from_secs(180);

/// What a caller knows of its order.
#[derive(Clone, Debug)]
pub(super) struct Order {
    /// Its key and its body.
    pub(super) key: String,
    /// A booking in the database, or a payment at the receiver.
    pub(super) booking: bool,
    pub(super) planned: Instant,
    pub(super) acknowledged: Option<Instant>,
    /// The runs it was told of: one.
    pub(super) runs: BTreeSet<String>,
    pub(super) tries: u32,
    /// An answer that makes no sense.
    pub(super) wrong: Option<String>,
}

/// What callers met with on the way.
#[derive(Debug, Default)]
pub(super) struct Met {
    /// Answers 5xx and 429.
    pub(super) refused: AtomicU64,
    /// Connections refused or cut, and no answer in time.
    pub(super) cut: AtomicU64,
}

pub(super) struct Load {
    stop: Arc<AtomicBool>,
    orders: Arc<Mutex<Vec<Order>>>,
    pub(super) met: Arc<Met>,
    pacing: JoinHandle<JoinSet<()>>,
}

impl Load {
    /// `per_s` orders a second, every tenth a booking.
    pub(super) fn start(base: &str, per_s: u64) -> Load {
        let (stop, orders, met) =
            (Arc::new(AtomicBool::new(false)), Arc::<Mutex<Vec<Order>>>::default(), Arc::<Met>::default());
        let client = crate::harness::server::client();
        let (base, stopped, kept, meeting) = (base.to_owned(), stop.clone(), orders.clone(), met.clone());
        let pacing = tokio::spawn(async move {
            let (began, mut asked, mut calls) = (Instant::now(), 0_u64, JoinSet::new());
            while !stopped.load(Ordering::SeqCst) {
                let due = began.elapsed().as_micros() as u64 * per_s / 1_000_000;
                while asked < due {
                    let planned = began + Duration::from_micros(asked * 1_000_000 / per_s);
                    let order = Order {
                        key: format!("order-{asked}"),
                        booking: asked % 10 == 9,
                        planned,
                        acknowledged: None,
                        runs: BTreeSet::new(),
                        tries: 0,
                        wrong: None,
                    };
                    let (client, base, kept, met) = (client.clone(), base.clone(), kept.clone(), meeting.clone());
                    calls.spawn(async move {
                        let order = insist(&client, &base, order, &met).await;
                        kept.lock().unwrap().push(order);
                    });
                    asked += 1;
                }
                while calls.try_join_next().is_some() {}
                pause(Duration::from_millis(2)).await;
            }
            calls
        });
        Load { stop, orders, met, pacing }
    }

    pub(super) fn acknowledged(&self) -> usize {
        self.orders.lock().unwrap().iter().filter(|order| order.acknowledged.is_some()).count()
    }

    /// No new orders; waits for the open ones.
    pub(super) async fn stop(self) -> Vec<Order> {
        self.stop.store(true, Ordering::SeqCst);
        let mut calls = self.pacing.await.unwrap();
        while let Some(call) = calls.join_next().await {
            call.unwrap();
        }
        std::mem::take(&mut *self.orders.lock().unwrap())
    }
}

/// Asks until it is told that the order is accepted.
async fn insist(client: &reqwest::Client, base: &str, mut order: Order, met: &Met) -> Order {
    let url = format!("{base}/{}?async=1", if order.booking { "book" } else { "pay" });
    let mut between = Duration::from_millis(20);
    while order.planned.elapsed() < PATIENCE {
        order.tries += 1;
        let call = client.post(&url).header("idempotency-key", &order.key).header("content-type", "text/plain");
        let answer = call.body(order.key.clone()).timeout(Duration::from_secs(8)).send().await;
        let read = match answer {
            Ok(answer) => {
                let status = answer.status().as_u16();
                answer.text().await.map(|text| (status, text))
            }
            Err(error) => Err(error),
        };
        match read {
            Ok((202, text)) => {
                let run = serde_json::from_str::<Value>(&text)
                    .ok()
                    .and_then(|answer| answer["run"].as_str().map(str::to_owned));
                match run {
                    Some(run) => drop(order.runs.insert(run)),
                    None => order.wrong = Some(text),
                }
                order.acknowledged = Some(Instant::now());
                return order;
            }
            Ok((status, _)) if status >= 500 || status == 429 => drop(met.refused.fetch_add(1, Ordering::Relaxed)),
            Ok((status, text)) => {
                order.wrong = Some(format!("{status} {text}"));
                return order;
            }
            Err(_) => drop(met.cut.fetch_add(1, Ordering::Relaxed)),
        }
        pause(between.mul_f64(0.5 + fastrand::f64())).await;
        between = (between * 2).min(Duration::from_secs(1));
    }
    order
}
