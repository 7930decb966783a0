//! Durable runs of a server: what accepts them, what runs them, and how both stop.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::serve::bounded;
use crate::clock::Clock;
use crate::config::Config;
use crate::deploy::Flows;
use crate::dispatch::{Acceptor, Begun, JetStream, Options, PlanOf, Plans, Worker};
use crate::model::RunId;
use crate::runtime::Engine;
use crate::schedule::AcceptRun;
use crate::store::Store;

/// What accepts and runs them, not yet started.
pub struct Durable {
    pub acceptor: Arc<Acceptor>,
    /// None in a process without the role `worker`.
    pub worker: Option<Arc<Worker>>,
}

/// Ends of runs get this long more than the runs themselves: they must be stored.
const STORING: Duration = Duration::from_secs(5);

/// Both, started.
pub struct Started {
    accepting: JoinHandle<()>,
    dispatching: JoinHandle<()>,
    working: Option<JoinHandle<()>>,
    /// Told when no caller can ask for a run any more.
    over: watch::Sender<bool>,
}

fn options(config: &Config) -> Options {
    let c = &config.durable;
    Options {
        accept_ms_max: c.accept_ms_max,
        accept_batch_max: c.accept_batch_max,
        lease_ms: c.lease_ms,
        lease_batch_max: c.lease_batch_max,
        parallel_max: c.parallel_max,
        poll_ms_min: c.poll_ms_min,
        poll_ms_max: c.poll_ms_max,
        attempts_max: c.attempts_max,
        retry_ms_min: c.retry_ms_min,
        retry_ms_max: c.retry_ms_max,
    }
}

/// What accepts them, for callers and for nodes that begin runs by themselves. To be made before the flows start: a node
/// that finds none begins runs that are not durable.
pub fn acceptor(config: &Config, store: &Arc<dyn Store>, engine: &Arc<Engine>) -> Arc<Acceptor> {
    let options = options(config);
    // A process is another one after each start.
    let owner = format!("{}-{}", std::process::id(), RunId::fresh());
    let clock = engine.services.clock.clone();
    let acceptor = match config.dispatch.options() {
        None => Acceptor::new(store.clone(), clock, options, owner),
        Some(nats) => {
            let nats = Arc::new(JetStream::new(nats, store.clone(), clock.clone(), &options));
            Acceptor::telling(store.clone(), clock, options, owner, nats)
        }
    };
    let begun = Begun::new(acceptor.clone(), config.durable.flows == "durable", config.durable.key_ms);
    // Set once: an engine has one queue.
    let _ = engine.services.accept.set(Arc::new(begun)).is_ok();
    acceptor
}

impl Durable {
    pub fn new(
        config: &Config,
        store: &Arc<dyn Store>,
        engine: &Arc<Engine>,
        acceptor: Arc<Acceptor>,
        flows: &Arc<Flows>,
    ) -> Durable {
        let earlier: PlanOf = {
            let flows = flows.clone();
            Box::new(move |version| {
                let (flows, version) = (flows.clone(), version.to_owned());
                Box::pin(async move { flows.earlier(&version).await })
            })
        };
        let plans = Arc::new(Plans::new(engine.clone(), Some(earlier)));
        // Made only where it is to run: from then on what is accepted here is leased here.
        let worker = config.roles.worker.then(|| Worker::new(store.clone(), acceptor.clone(), plans, options(config)));
        Durable { acceptor, worker }
    }

    /// What commits runs of schedule nodes with their firings.
    pub fn accept_ticks(&self) -> AcceptRun {
        let acceptor = self.acceptor.clone();
        Box::new(move |claim, run| {
            let acceptor = acceptor.clone();
            Box::pin(async move { acceptor.accept_tick(&claim, &run).await })
        })
    }

    /// Accepts until [`Started::stop`], runs until `stop` resolves.
    pub fn start(self, grace: Duration, stop: impl Future<Output = ()> + Send + 'static) -> Started {
        let (over, mut told) = watch::channel(false);
        let acceptor = self.acceptor.clone();
        let accepting = tokio::spawn(async move {
            let over = async move {
                // A dropped sender means the server is gone: stop as well.
                let _ = told.wait_for(|over| *over).await.is_ok();
            };
            acceptor.run(over).await;
        });
        let dispatching = {
            let (dispatcher, mut told) = (self.acceptor.dispatcher().clone(), over.subscribe());
            let over = Box::pin(async move {
                let _ = told.wait_for(|over| *over).await.is_ok();
            });
            tokio::spawn(dispatcher.run(self.worker.is_some(), over))
        };
        Started {
            accepting,
            dispatching,
            working: self.worker.map(|worker| tokio::spawn(worker.run(grace, stop))),
            over,
        }
    }
}

impl Started {
    /// Waits until what was leased has ended or was given back, at most this long and a little more.
    pub async fn stop(self, clock: &Clock, grace: Duration) {
        if let Some(working) = self.working {
            bounded(clock, grace + STORING, working).await;
        }
        self.over.send_replace(true);
        bounded(clock, grace, self.accepting).await;
        bounded(clock, grace, self.dispatching).await;
    }
}
