//! Which run this thread works for at the moment, for lines of the log.

use std::cell::Cell;
use std::future::Future;

use crate::model::RunId;

thread_local! {
    static CURRENT: Cell<Option<RunId>> = const { Cell::new(None) };
}

/// The run whose node or operation the caller was reached from; `None` in what runs by itself.
pub fn current_run() -> Option<RunId> {
    CURRENT.get()
}

/// A run's future: while it is polled, [`current_run`] gives the run.
pub(super) async fn of_run<F: Future>(run: RunId, future: F) -> F::Output {
    let mut future = std::pin::pin!(future);
    std::future::poll_fn(move |task| {
        // A run may poll another one: an evaluation that a node asks for polls the runs of its metrics.
        let before = CURRENT.replace(Some(run));
        let polled = future.as_mut().poll(task);
        CURRENT.set(before);
        polled
    })
    .await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_run_is_current_only_while_it_is_polled() {
        let (outer, inner) = (RunId::fresh(), RunId::fresh());
        let seen = of_run(outer, async move {
            let before = current_run();
            let within = of_run(inner, async {
                tokio::task::yield_now().await;
                current_run()
            })
            .await;
            (before, within, current_run())
        })
        .await;
        assert_eq!(seen, (Some(outer), Some(inner), Some(outer)));
        assert_eq!(current_run(), None);
    }
}
