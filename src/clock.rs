//! Floor 3: the only place that reads or waits for time. Tests move [`Clock::manual`] by hand.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::{oneshot, watch};

/// Where time comes from. Cheap to clone; clones of a manual clock share its hand.
#[derive(Clone, Debug)]
pub enum Clock {
    System,
    Manual(Arc<ManualClock>),
}

/// A clock that moves only when told.
#[derive(Debug)]
pub struct ManualClock {
    now: watch::Sender<Timestamp>,
    /// Who waits until when; the number tells those apart that wait for the same instant, first to last.
    sleepers: Mutex<BTreeMap<(Timestamp, u64), Sleeper>>,
    numbers: AtomicU64,
    /// Serialises moves, so that two movers cannot step back.
    moving: Mutex<()>,
}

/// Who waits: true of those that wait for a length of time, whatever the time of day; and how to wake them.
type Sleeper = (bool, oneshot::Sender<()>);

impl Clock {
    pub fn manual(start: Timestamp) -> Clock {
        Clock::Manual(Arc::new(ManualClock {
            now: watch::channel(start).0,
            sleepers: Mutex::default(),
            numbers: AtomicU64::new(0),
            moving: Mutex::new(()),
        }))
    }

    #[expect(clippy::disallowed_methods, reason = "the one place that asks the system")]
    pub fn now(&self) -> Timestamp {
        match self {
            Clock::System => Timestamp::now(),
            Clock::Manual(clock) => *clock.now.borrow(),
        }
    }

    /// Milliseconds since the Unix epoch, as JavaScript's `Date.now()`.
    pub fn now_ms(&self) -> f64 {
        self.now().as_millisecond() as f64
    }

    /// Waits this long; on a manual clock, until it has been moved that far.
    #[expect(clippy::disallowed_methods, reason = "the one place that waits on the system")]
    pub async fn sleep(&self, duration: Duration) {
        match self {
            Clock::System => tokio::time::sleep(duration).await,
            Clock::Manual(clock) => {
                let duration = jiff::SignedDuration::try_from(duration).unwrap_or(jiff::SignedDuration::MAX);
                let due = clock.now.borrow().saturating_add(duration).unwrap_or(Timestamp::MAX);
                clock.reached(due, true).await;
            }
        }
    }

    /// Waits until this instant; returns at once when it has passed. Long system waits are re-checked every
    /// minute, so a changed system time is noticed.
    pub async fn sleep_until(&self, due: Timestamp) {
        loop {
            let left = due.duration_since(self.now());
            if left <= jiff::SignedDuration::ZERO {
                return;
            }
            match self {
                Clock::System => {
                    let left = left.unsigned_abs().min(Duration::from_secs(60));
                    self.sleep(left).await;
                }
                Clock::Manual(clock) => clock.reached(due, false).await,
            }
        }
    }

    /// Moves a manual clock forward; a system clock does not move.
    pub fn advance(&self, by: Duration) {
        if let Clock::Manual(clock) = self {
            let _moving = clock.moving.lock().unwrap_or_else(|p| p.into_inner());
            let by = jiff::SignedDuration::try_from(by).unwrap_or(jiff::SignedDuration::MAX);
            clock.now.send_modify(|now| *now = now.saturating_add(by).unwrap_or(Timestamp::MAX));
            clock.wake();
        }
    }

    /// Sets a manual clock to a later instant; an earlier one is ignored.
    pub fn set(&self, to: Timestamp) {
        if let Clock::Manual(clock) = self {
            let _moving = clock.moving.lock().unwrap_or_else(|p| p.into_inner());
            clock.now.send_modify(|now| *now = to.max(*now));
            clock.wake();
        }
    }

    /// Sets the time of day of a manual clock, forward or back, as a person or NTP does: no time passes by that, so who
    /// waits for a length of time waits on for as long.
    pub fn step_to(&self, to: Timestamp) {
        if let Clock::Manual(clock) = self {
            let _moving = clock.moving.lock().unwrap_or_else(|p| p.into_inner());
            clock.step_to(to);
            clock.wake();
        }
    }
}

impl ManualClock {
    fn step_to(&self, to: Timestamp) {
        let mut sleepers = self.sleepers.lock().unwrap_or_else(|p| p.into_inner());
        let by = to.duration_since(*self.now.borrow());
        self.now.send_replace(to);
        let stepped = std::mem::take(&mut *sleepers).into_iter().map(|((due, number), (lasting, wake))| {
            let due = if lasting { due.saturating_add(by).unwrap_or(Timestamp::MAX) } else { due };
            ((due, number), (lasting, wake))
        });
        *sleepers = stepped.collect();
    }

    async fn reached(&self, due: Timestamp, lasting: bool) {
        let (wake, woken) = oneshot::channel();
        {
            let mut sleepers = self.sleepers.lock().unwrap_or_else(|p| p.into_inner());
            if *self.now.borrow() >= due {
                return;
            }
            let number = self.numbers.fetch_add(1, Ordering::Relaxed);
            sleepers.insert((due, number), (lasting, wake));
        }
        // An error means the clock is gone, which cannot be while `self` is borrowed.
        let _ = woken.await.is_ok();
    }

    /// Wakes those whose time has come, the earliest first and of one instant the first to wait: what they do next is
    /// done in this order, as with timers of a system that are due one after another.
    fn wake(&self) {
        let mut sleepers = self.sleepers.lock().unwrap_or_else(|p| p.into_inner());
        let now = *self.now.borrow();
        while let Some(first) = sleepers.first_entry().filter(|first| first.key().0 <= now) {
            let _ = first.remove().1.send(()).is_ok();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_manual_clock_wakes_sleepers_when_moved_far_enough() {
        let clock = Clock::manual("2026-01-01T00:00:00Z".parse().unwrap());
        let sleeper = tokio::spawn({
            let clock = clock.clone();
            async move { clock.sleep_until("2026-01-01T00:01:00Z".parse().unwrap()).await }
        });
        clock.advance(Duration::from_secs(59));
        tokio::task::yield_now().await;
        assert!(!sleeper.is_finished());
        clock.advance(Duration::from_secs(1));
        sleeper.await.unwrap();
    }

    #[tokio::test]
    async fn sleepers_wake_in_the_order_their_times_come() {
        let clock = Clock::manual("2026-01-01T00:00:00Z".parse().unwrap());
        let order: Arc<Mutex<Vec<u64>>> = Arc::default();
        let sleepers: Vec<_> = [3, 1, 2, 1]
            .into_iter()
            .enumerate()
            .map(|(i, seconds)| {
                let (clock, order) = (clock.clone(), order.clone());
                tokio::spawn(async move {
                    clock.sleep(Duration::from_secs(seconds)).await;
                    order.lock().unwrap().push(seconds * 10 + i as u64);
                })
            })
            .collect();
        tokio::task::yield_now().await;
        clock.advance(Duration::from_secs(5));
        for sleeper in sleepers {
            sleeper.await.unwrap();
        }
        assert_eq!(*order.lock().unwrap(), [11, 13, 22, 30]);
    }

    #[tokio::test]
    async fn a_step_of_the_time_of_day_is_no_time_that_passes() {
        let clock = Clock::manual("2026-01-01T00:00:00Z".parse().unwrap());
        let spawn = |until: Option<Timestamp>| {
            let clock = clock.clone();
            tokio::spawn(async move {
                match until {
                    Some(until) => clock.sleep_until(until).await,
                    None => clock.sleep(Duration::from_secs(60)).await,
                }
            })
        };
        let (lasting, absolute) = (spawn(None), spawn(Some("2026-01-01T00:01:00Z".parse().unwrap())));
        tokio::task::yield_now().await;
        clock.step_to("2025-12-31T23:00:00Z".parse().unwrap());
        clock.advance(Duration::from_secs(60));
        lasting.await.unwrap();
        assert!(!absolute.is_finished());
        clock.step_to("2026-01-01T00:01:00Z".parse().unwrap());
        absolute.await.unwrap();
    }

    #[tokio::test]
    async fn a_wait_beyond_the_end_of_time_is_a_wait() {
        let clock = Clock::manual("2026-01-01T00:00:00Z".parse().unwrap());
        let sleeper = tokio::spawn({
            let clock = clock.clone();
            async move { clock.sleep(Duration::MAX).await }
        });
        tokio::task::yield_now().await;
        assert!(!sleeper.is_finished());
        clock.advance(Duration::MAX);
        sleeper.await.unwrap();
    }
}
