//! Fetching pointers: one task for each class, as many as the worker waits for.

use std::time::Duration;

use futures_util::StreamExt;

use super::{Pointer, Shared, add, class};
use crate::clock::Clock;
use crate::store::queue::{Held, Priority};

/// NATS says that there is nothing after this long, and is asked again: so it is also a sign of life.
const EXPIRES: Duration = Duration::from_secs(1);
/// Later than that it does not come.
const ANSWER_MAX: Duration = Duration::from_secs(3);
/// Pointers at hand longer than this, while nobody wants them, go back.
const HOLD: jiff::SignedDuration = jiff::SignedDuration::from_millis(500);

/// Fetches for ever.
pub(super) async fn feed(shared: &Shared, priority: Priority) {
    loop {
        let line = shared.link.up().await;
        let wanted = wanted(shared, priority).await;
        // Asked anew each time: the client's endless stream of messages has been seen to stop without a word.
        let fetch = line.consumer(priority).batch().max_messages(wanted).expires(EXPIRES).messages();
        let mut batch = match within(&shared.clock, fetch).await {
            Some(Ok(batch)) => batch,
            Some(Err(error)) => {
                shared.link.fail(format!("pointers cannot be fetched: {error}"));
                continue;
            }
            None => {
                shared.link.fail("it does not answer");
                continue;
            }
        };
        loop {
            match within(&shared.clock, batch.next()).await {
                Some(Some(Ok(message))) => take(shared, priority, message).await,
                Some(Some(Err(error))) => {
                    // Deleted consumers and leaders that have changed come this way.
                    shared.link.fail(format!("pointers cannot be fetched: {error}"));
                    break;
                }
                Some(None) => break,
                None => {
                    shared.link.fail("it does not answer");
                    break;
                }
            }
        }
    }
}

/// Waits until somebody wants pointers and none of this class are at hand.
async fn wanted(shared: &Shared, priority: Priority) -> usize {
    let mut wanted = shared.wanted.subscribe();
    loop {
        let drained = shared.drained.notified();
        tokio::pin!(drained);
        drained.as_mut().enable();
        let n = *wanted.borrow_and_update();
        if n > 0 && shared.buffers()[class(priority)].is_empty() {
            return n;
        }
        tokio::select! {
            () = &mut drained => {}
            // The sender lives as long as this does.
            _ = wanted.changed() => {}
        }
    }
}

async fn within<T>(clock: &Clock, what: impl Future<Output = T>) -> Option<T> {
    tokio::select! {
        done = what => Some(done),
        () = clock.sleep(ANSWER_MAX) => None,
    }
}

async fn take(shared: &Shared, priority: Priority, message: async_nats::jetstream::Message) {
    let Ok(pointer) = serde_json::from_slice::<Pointer>(&message.payload) else {
        tracing::warn!(subject = %message.subject, "a message is no pointer to a run; it is thrown away");
        if let Err(error) = message.ack_with(async_nats::jetstream::AckKind::Term).await {
            tracing::debug!(%error, "a message could not be thrown away");
        }
        return;
    };
    let held = Held { id: pointer.run, epoch: pointer.attempt };
    add(&shared.counts.delivered, 1);
    shared.open().entry(held).or_default().push(message);
    shared.buffers()[class(priority)].push_back((held, shared.clock.now()));
    shared.arrived.notify_waiters();
}

impl Shared {
    /// Pointers that nobody has wanted for a while, because the worker is full.
    pub(super) fn held_too_long(&self) -> Vec<Held> {
        if *self.wanted.borrow() > 0 {
            return Vec::new();
        }
        let now = self.clock.now();
        let mut buffers = self.buffers();
        let mut old = Vec::new();
        for buffer in buffers.iter_mut() {
            while buffer.front().is_some_and(|(_, came)| now.duration_since(*came) >= HOLD) {
                old.extend(buffer.pop_front().map(|(held, _)| held));
            }
        }
        old
    }
}
