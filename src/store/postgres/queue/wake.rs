//! Telling workers that there is something to lease: in this process at once, in others by `NOTIFY`.
//!
//! Never inside a commit that stores something: a transaction that notifies takes a lock that all such commits share, and
//! takes turns with them. Here one connection of its own notifies, at most every [`NOTIFY_MS_MIN`], for all that was
//! accepted meanwhile; what gets lost is found by polling.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use sqlx::Executor as _;
use sqlx::postgres::{PgConnectOptions, PgListener, PgPool, PgPoolOptions};
use tokio::sync::{Notify, watch};
use tokio::task::JoinHandle;
use uuid::Uuid;

use crate::clock::Clock;

const CHANNEL: &str = "probity_queue";
/// Notifications are at least this far apart, milliseconds.
const NOTIFY_MS_MIN: u64 = 10;
/// After a failure, milliseconds.
const AGAIN_MS: u64 = 1_000;

#[derive(Debug)]
pub(super) struct Wakes {
    sender: watch::Sender<u64>,
    /// Something was accepted that others do not know of.
    fresh: Arc<Notify>,
    pool: PgPool,
    /// Tells our notifications from others'.
    own: Uuid,
    /// Started when somebody wants to know.
    tasks: Mutex<Vec<JoinHandle<()>>>,
}

impl Wakes {
    pub fn new(connect: &PgConnectOptions, acquire: Duration) -> Wakes {
        let pool = PgPoolOptions::new()
            .max_connections(2)
            .acquire_timeout(acquire)
            // A notification is a commit, and nothing is lost with it.
            .after_connect(|connection, _| {
                Box::pin(async move { connection.execute("SET synchronous_commit = off").await.map(drop) })
            })
            .connect_lazy_with(connect.clone());
        Wakes { sender: watch::channel(0).0, fresh: Arc::default(), pool, own: Uuid::new_v4(), tasks: Mutex::default() }
    }

    /// New connections are made so from now on.
    pub fn renew(&self, connect: &PgConnectOptions) {
        self.pool.set_connect_options(connect.clone());
    }

    /// Something can be leased.
    pub fn wake(&self) {
        self.sender.send_modify(|count| *count = count.wrapping_add(1));
        self.fresh.notify_one();
        self.start();
    }

    pub fn subscribe(&self) -> watch::Receiver<u64> {
        self.start();
        self.sender.subscribe()
    }

    fn start(&self) {
        let mut tasks = self.tasks.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        // Asked from outside of a runtime there is nobody to run them; the next one may.
        if let Ok(runtime) = tokio::runtime::Handle::try_current()
            && tasks.is_empty()
        {
            tasks.push(runtime.spawn(listen(self.pool.clone(), self.own.to_string(), self.sender.clone())));
            tasks.push(runtime.spawn(notify(self.pool.clone(), self.own.to_string(), self.fresh.clone())));
        }
    }
}

impl Drop for Wakes {
    fn drop(&mut self) {
        for task in self.tasks.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).drain(..) {
            task.abort();
        }
    }
}

async fn listen(pool: PgPool, own: String, sender: watch::Sender<u64>) {
    loop {
        if let Err(error) = listen_once(&pool, &own, &sender).await {
            tracing::debug!(%error, "not told by other processes what they accept; asking all the same");
        }
        Clock::System.sleep(Duration::from_millis(AGAIN_MS)).await;
    }
}

async fn listen_once(pool: &PgPool, own: &str, sender: &watch::Sender<u64>) -> Result<(), sqlx::Error> {
    let mut listener = PgListener::connect_with(pool).await?;
    listener.listen(CHANNEL).await?;
    loop {
        if listener.recv().await?.payload() != own {
            sender.send_modify(|count| *count = count.wrapping_add(1));
        }
    }
}

async fn notify(pool: PgPool, own: String, fresh: Arc<Notify>) {
    loop {
        fresh.notified().await;
        let told = sqlx::query("SELECT pg_notify($1, $2)").bind(CHANNEL).bind(&own).execute(&pool).await;
        let wait_ms = match told {
            Ok(_) => NOTIFY_MS_MIN,
            Err(error) => {
                tracing::debug!(%error, "other processes were not told what was accepted; they ask all the same");
                AGAIN_MS
            }
        };
        Clock::System.sleep(Duration::from_millis(wait_ms)).await;
    }
}
