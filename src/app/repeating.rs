//! Which of several replicas lets nodes repeat by themselves: the one that has the duty, of those with the role `worker`.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::task::JoinHandle;

use crate::config::Config;
use crate::runtime::Engine;
use crate::store::Holding;

/// The duty's name.
const DUTY: &str = "inject";

/// Takes the duty, or waits for it, until the task is ended. `None`: the database is this process' alone, which repeats
/// what is to be repeated. Call it before flows are started.
pub async fn start(config: &Config, engine: &Arc<Engine>, holding: &Arc<Holding>) -> Option<JoinHandle<()>> {
    if !config.database_url().starts_with("postgres") {
        return None;
    }
    if !config.roles.worker {
        engine.services.repeats.store(false, Ordering::Relaxed);
        return None;
    }
    let lease_ms = config.schedule.lease_ms;
    look(engine, holding, lease_ms).await;
    let (engine, holding) = (engine.clone(), holding.clone());
    Some(tokio::spawn(async move {
        loop {
            engine.services.clock.sleep(Duration::from_millis((lease_ms / 3).max(1))).await;
            look(&engine, &holding, lease_ms).await;
        }
    }))
}

async fn look(engine: &Engine, holding: &Holding, lease_ms: u64) {
    match holding.duty(DUTY, lease_ms).await {
        Ok(ours) => {
            if engine.services.repeats.swap(ours, Ordering::Relaxed) != ours {
                tracing::info!(ours, "the duty to repeat what nodes repeat by themselves has changed hands");
            }
        }
        // Another may have it by now.
        Err(error) => {
            engine.services.repeats.store(false, Ordering::Relaxed);
            tracing::warn!(%error, "injections at intervals pause: who has the duty cannot be asked");
        }
    }
}

/// Lays the duty down, so that another takes it at once.
pub async fn stop(task: Option<JoinHandle<()>>, holding: &Holding) {
    let Some(task) = task else { return };
    task.abort();
    if let Err(error) = holding.leave_duty(DUTY).await {
        tracing::debug!(%error, "a duty could not be laid down; it ends by itself");
    }
}
