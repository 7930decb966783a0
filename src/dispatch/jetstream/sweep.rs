//! Finding runs that nobody names: what NATS lost or was never told, what is tried again, given back or due later.

use std::collections::HashMap;
use std::sync::atomic::Ordering;
use std::time::Duration;

use async_nats::jetstream::AckKind;
use jiff::{SignedDuration, Timestamp};
use tokio::sync::mpsc;

use super::{Shared, add};
use crate::store::Store;
use crate::store::queue::{Held, Ready, ReadyWanted};

/// A run that was told of when it was accepted is looked after when it has been ready for so long, and longer than what
/// waits in the stream.
const TOLD: SignedDuration = SignedDuration::from_millis(1_000);
/// However old the oldest pointer is (one that nobody can lease yet holds the others back), not longer than this.
const TOLD_MAX: SignedDuration = SignedDuration::from_secs(60);
/// Told of in one go, of each priority.
const BATCH: u32 = 2_000;
/// The stream is filled no further than this: what waits in the store is as safe there.
const FULL: u64 = 10_000;
/// A run told of this long ago that is still ready is not going to be named.
const STALLED: SignedDuration = SignedDuration::from_secs(5);

/// Sweeps for ever.
pub(super) async fn sweep(shared: &Shared, store: &dyn Store, telling: &mpsc::Sender<Ready>) {
    let mut told: HashMap<Held, Timestamp> = HashMap::new();
    loop {
        // Replicas that start together do not stay together.
        let pause = shared.options.sweep_ms as f64 * (0.8 + 0.4 * fastrand::f64());
        shared.clock.sleep(Duration::from_millis(pause.max(1.0) as u64)).await;
        let back = shared.held_too_long();
        shared.answer(&back, AckKind::Nak(None)).await;
        if let Err(problem) = sweep_once(shared, store, telling, &mut told).await {
            tracing::warn!("runs that nobody names could not be looked for: {problem}");
        }
    }
}

async fn sweep_once(
    shared: &Shared,
    store: &dyn Store,
    telling: &mpsc::Sender<Ready>,
    told: &mut HashMap<Held, Timestamp>,
) -> Result<(), String> {
    let Some(line) = shared.link.line() else { return Ok(()) };
    let info = match line.stream.get_info().await {
        Ok(info) => info.state,
        Err(error) => {
            shared.link.fail(format!("the stream does not answer: {error}"));
            return Ok(());
        }
    };
    let now = shared.clock.now();
    let oldest = Timestamp::from_nanosecond(info.first_timestamp.unix_timestamp_nanos()).unwrap_or(now);
    let waits = if info.messages == 0 { SignedDuration::ZERO } else { now.duration_since(oldest) };
    let told_ms = TOLD.saturating_add(waits.clamp(SignedDuration::ZERO, TOLD_MAX)).as_millis();
    let wanted = ReadyWanted { max: BATCH, told_ms: u64::try_from(told_ms).unwrap_or_default() };
    let ready = store.ready_runs(&wanted).await.map_err(|error| error.to_string())?;
    let before = std::mem::take(told);
    let mut stalled = false;
    for one in ready {
        match before.get(&one.held()) {
            // Told of before, and nothing waits in the stream: it is not there, whatever NATS believes.
            Some(at) => {
                stalled |= info.messages == 0 || now.duration_since(*at) >= STALLED;
                told.insert(one.held(), *at);
            }
            None if info.messages >= FULL => {}
            None => {
                if telling.try_send(one).is_err() {
                    break;
                }
                add(&shared.counts.swept, 1);
                told.insert(one.held(), now);
            }
        }
    }
    if stalled {
        shared.stalled.store(true, Ordering::Release);
        shared.arrived.notify_waiters();
    }
    Ok(())
}
