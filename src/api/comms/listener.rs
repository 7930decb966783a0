//! What one editor is still to be told: bounded, so that a slow one costs nobody else anything.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard};

use tokio::sync::Notify;

/// Messages of one frame, as Node-RED sends them.
const FRAME_MAX: usize = 50;

/// Messages waiting for one listener; beyond it the oldest debug output is left out.
const WAITING_MAX: usize = 5_000;

/// What they may take, bytes.
const WAITING_BYTES_MAX: usize = 16 << 20;

#[derive(Default)]
pub(super) struct Listener {
    waiting: Mutex<Waiting>,
    wake: Notify,
}

#[derive(Default)]
struct Waiting {
    /// With whether it may be left out.
    messages: VecDeque<(Arc<str>, bool)>,
    bytes: usize,
    /// Debug messages left out since the last frame.
    missed: u64,
    /// Even what must not be left out was too much.
    lost: bool,
}

impl Listener {
    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(|p| p.into_inner())
    }

    pub(super) fn tell(&self, message: Arc<str>, dispensable: bool) {
        let mut waiting = self.waiting();
        if waiting.lost {
            return;
        }
        waiting.bytes += message.len();
        waiting.messages.push_back((message, dispensable));
        waiting.make_room();
        drop(waiting);
        self.wake.notify_one();
    }

    /// Resolves when there is something to tell.
    pub(super) async fn something(&self) {
        loop {
            let notified = self.wake.notified();
            if self.has_something() {
                return;
            }
            notified.await;
        }
    }

    fn has_something(&self) -> bool {
        let waiting = self.waiting();
        !waiting.messages.is_empty() || waiting.lost
    }

    /// The next frame; `None` when the listener is so far behind that it must start over.
    pub(super) fn take(&self, now_ms: i64) -> Option<String> {
        let mut waiting = self.waiting();
        if waiting.lost {
            return None;
        }
        let mut frame = String::from("[");
        let missed = std::mem::take(&mut waiting.missed);
        if missed > 0 {
            frame.push_str(&super::missed(missed, now_ms));
        }
        for _ in 0..FRAME_MAX {
            let Some((message, _)) = waiting.messages.pop_front() else { break };
            waiting.bytes -= message.len();
            if frame.len() > 1 {
                frame.push(',');
            }
            frame.push_str(&message);
        }
        frame.push(']');
        Some(frame)
    }
}

impl Waiting {
    fn is_full(&self) -> bool {
        self.messages.len() > WAITING_MAX || self.bytes > WAITING_BYTES_MAX
    }

    fn make_room(&mut self) {
        if !self.is_full() {
            return;
        }
        // A quarter at once: looking through all of them for each message more would cost the square.
        let (messages, bytes) = (WAITING_MAX / 4 * 3, WAITING_BYTES_MAX / 4 * 3);
        let (mut left, mut size) = (self.messages.len(), self.bytes);
        let mut missed = 0;
        self.messages.retain(|(message, dispensable)| {
            let goes = *dispensable && (left > messages || size > bytes);
            if goes {
                left -= 1;
                size -= message.len();
                missed += 1;
            }
            !goes
        });
        self.bytes = size;
        self.missed += missed;
        if self.is_full() {
            self.lost = true;
            self.messages.clear();
            self.bytes = 0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_hold_fifty_and_the_slow_miss_debug_output_only() {
        let listener = Listener::default();
        for i in 0..6_000 {
            listener.tell(format!("{{\"n\":{i}}}").into(), true);
            if i == 10 {
                listener.tell("\"kept\"".into(), false);
            }
        }
        let first = listener.take(5).unwrap();
        let first: serde_json::Value = serde_json::from_str(&first).unwrap();
        let first = first.as_array().unwrap();
        assert_eq!(first.len(), 51, "fifty and the note");
        let note = first[0]["data"]["msg"].as_str().unwrap();
        let missed: usize = note.split(' ').next().unwrap().parse().unwrap();
        assert_eq!(first[1], "kept");
        let mut got = first.len() - 1;
        while listener.has_something() {
            got += listener.take(5).unwrap().matches(['n', 'k']).count();
        }
        assert_eq!(got + missed, 6_001);
        assert!(got <= WAITING_MAX);
    }

    #[test]
    fn one_that_is_hopelessly_behind_starts_over() {
        let listener = Listener::default();
        for _ in 0..=WAITING_MAX {
            listener.tell("1".into(), false);
        }
        assert_eq!(listener.take(0), None);
        assert!(listener.waiting().messages.is_empty());
    }
}
