//! A limit that holds for all replicas together: before a message goes, it asks the store for a place.
//!
//! Each replica still spaces its own messages; what it finds taken by others it puts off, and all that wait behind it. A
//! store that does not answer fails the message: nobody knows whether there was a place.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use super::line::{Joined, Place};
use super::{Delay, come_back, until};
use crate::model::{Msg, Value};
use crate::runtime::work::holding_up;
use crate::runtime::{Cx, NodeConfig, NodeError, Step, Then};
use crate::store::Store;
use crate::store::contexts::{RateLimit, RatePlace};

/// A place that becomes free so soon is taken at once and waited for, milliseconds: with many messages a second each asks
/// once.
const AHEAD_MS: f64 = 20.0;

/// How long a replica drops messages without asking again, milliseconds: another one may free the places.
const FULL_MS_MAX: f64 = 1_000.0;

/// The store's answer, milliseconds.
const ANSWER_MS_MAX: u64 = 5_000;

/// The way to the places that all replicas share.
#[derive(Clone)]
pub(super) struct Shared {
    store: Arc<dyn Store>,
    /// Messages ask one after the other, in their order.
    turn: Arc<tokio::sync::Mutex<()>>,
}

impl Shared {
    /// There if the node says so, or says nothing and the configuration does.
    pub(super) fn of(config: &NodeConfig<'_>) -> Option<Shared> {
        let wanted = match config.get("shared") {
            Value::Undefined | Value::Null => config.services.shared_rates,
            Value::String(text) if text.is_empty() => config.services.shared_rates,
            _ => config.flag("shared"),
        };
        let store = config.services.store.clone().filter(|_| wanted)?;
        Some(Shared { store, turn: Arc::default() })
    }

    async fn answer<T>(asked: impl Future<Output = Result<T, crate::store::StoreError>>) -> Result<T, NodeError> {
        let why = match tokio::time::timeout(Duration::from_millis(ANSWER_MS_MAX), asked).await {
            Ok(Ok(answer)) => return Ok(answer),
            Ok(Err(error)) => error.to_string(),
            Err(_) => format!("the database did not answer within {ANSWER_MS_MAX} ms"),
        };
        let text = format!("whether the rate limit of all replicas has a place for the message is not known: {why}");
        Err(NodeError::with_code(text, "ERATE"))
    }

    async fn take(&self, limit: &RateLimit) -> Result<RatePlace, NodeError> {
        Shared::answer(self.store.take_rate_place(limit)).await
    }
}

impl Delay {
    /// Sends messages one after the other as there are places for them.
    pub(super) fn pass(self: &Arc<Self>, shared: &Shared, mut msgs: VecDeque<Msg>, cx: &Cx<'_>) -> Step {
        let Some(msg) = msgs.pop_front() else { return Step::Done };
        let rate = self.state().rate;
        let limit = RateLimit { id: cx.node().id.to_string(), places: 1, taken_ms: rate, ahead_ms: AHEAD_MS };
        let (delay, shared, clock) = (self.clone(), shared.clone(), cx.clock());
        Step::wait(async move {
            let place = {
                let _turn = shared.turn.lock().await;
                let place = shared.take(&limit).await;
                if let Ok(RatePlace::Taken { in_ms }) = place
                    && in_ms > 0.0
                {
                    clock.sleep(Duration::from_secs_f64(in_ms / 1000.0)).await;
                }
                place
            };
            Box::new(move |cx: &mut Cx<'_>| match place {
                Ok(RatePlace::Taken { .. }) => {
                    delay.nobody_before(cx.clock().now_ms() + rate);
                    cx.emit(0, msg);
                    delay.pass(&shared, msgs, cx)
                }
                Ok(RatePlace::FreeIn { ms }) => {
                    msgs.push_front(msg);
                    delay.put_off(msgs, ms, cx)
                }
                Err(error) => {
                    msgs.into_iter().for_each(|rest| cx.error(rest, error.clone()));
                    Step::fail(msg, error)
                }
            }) as Then
        })
    }

    /// Puts messages back to the front of the line: the next place is free in so many milliseconds.
    fn put_off(self: &Arc<Self>, mut msgs: VecDeque<Msg>, ms: f64, cx: &mut Cx<'_>) -> Step {
        let rate = self.state().rate;
        let due = cx.clock().now_ms() + ms;
        self.nobody_before(due + rate * msgs.len() as f64);
        if msgs.len() == 1 {
            return msgs.pop_front().map_or(Step::Done, |msg| self.stand(msg, Place::Front, due, cx));
        }
        // A run waits for one message at a time; these come back in runs of their own.
        for (i, msg) in msgs.into_iter().enumerate().rev() {
            let due = due + rate * i as f64;
            let Joined { id, .. } = self.state().line.join(Place::Front, due, msg, None);
            come_back(id, until(due, cx), cx);
        }
        Step::Done
    }

    /// Puts off all that wait, so that the first of them goes no earlier than this.
    fn nobody_before(&self, earliest: f64) {
        let mut state = self.state();
        match state.line.first_due() {
            Some(first) if first < earliest => {
                state.line.put_off(earliest - first);
                state.last = state.line.last_due();
            }
            Some(_) => {}
            None => {
                let last = earliest - state.rate;
                state.last = Some(state.last.map_or(last, |known| known.max(last)));
            }
        }
    }

    /// Sends a message for which there is a place among all replicas, and drops others; `None` when the limit is this
    /// replica's own.
    pub(super) fn pass_or_drop(self: &Arc<Self>, msg: &Msg, places: u32, taken_ms: f64, cx: &Cx<'_>) -> Option<Step> {
        let shared = self.shared.clone()?;
        let limit = RateLimit { id: cx.node().id.to_string(), places, taken_ms, ahead_ms: 0.0 };
        let (delay, msg) = (self.clone(), msg.clone());
        Some(Step::wait(async move {
            let place = holding_up(shared.take(&limit)).await;
            Box::new(move |cx: &mut Cx<'_>| {
                let place = match place {
                    Ok(place) => place,
                    Err(error) => return Step::fail(msg, error),
                };
                if let RatePlace::FreeIn { ms } = place {
                    delay.state().full_until = cx.clock().now_ms() + ms.min(FULL_MS_MAX);
                }
                delay.let_go(msg, matches!(place, RatePlace::Taken { .. }), cx);
                Step::Done
            }) as Then
        }))
    }

    /// What a reset does to the places that all replicas share: all are free.
    pub(super) fn free_places(&self, msg: Msg, cx: &Cx<'_>) -> Step {
        let Some(shared) = self.shared.clone() else { return Step::Done };
        let id = cx.node().id.to_string();
        Step::wait(async move {
            let freed = holding_up(Shared::answer(shared.store.free_rate_places(&id))).await;
            Box::new(move |_: &mut Cx<'_>| freed.map_or_else(|error| Step::fail(msg, error), |()| Step::Done)) as Then
        })
    }
}
