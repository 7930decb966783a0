//! The engine: has plans built, swaps them in, and drains their runs at the end.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use arc_swap::ArcSwap;
use arcstr::ArcStr;
use tokio::sync::{Notify, watch};

use super::building::{Kept, build};
use super::{Catalogue, Deployed, Services};
use crate::model::flow::{NodeIndex, Plan, PlanNode};

/// Runs flows. One per process.
pub struct Engine {
    pub services: Arc<Services>,
    catalogue: ArcSwap<Catalogue>,
    current: ArcSwap<Deployed>,
    active: Arc<Active>,
    /// Counts the plans that were swapped in.
    deploys: watch::Sender<u64>,
}

/// Runs that are open, in this process.
pub(super) struct Active {
    pub(super) count: AtomicUsize,
    idle: Notify,
    pub(super) cut_off: watch::Sender<bool>,
}

impl Engine {
    pub fn new(services: Arc<Services>, catalogue: Catalogue) -> Arc<Engine> {
        let active =
            Arc::new(Active { count: AtomicUsize::new(0), idle: Notify::new(), cut_off: watch::channel(false).0 });
        let catalogue = Arc::new(catalogue);
        let empty = build(Plan::default(), &catalogue, &services, &active, &Kept::default());
        let catalogue = ArcSwap::new(catalogue);
        let deploys = watch::Sender::new(0);
        Arc::new(Engine { services, catalogue, current: ArcSwap::from_pointee(empty), active, deploys })
    }

    /// Builds the plan's nodes and swaps it in; new runs start on it, open ones end on the old one. Nodes with
    /// problems fail the messages they get; their problems are in [`Deployed::diagnostics`].
    pub fn deploy(&self, plan: Plan) -> Arc<Deployed> {
        let deployed = self.prepare(plan);
        self.swap(deployed.clone(), &|_| {});
        deployed
    }

    /// Swaps a plan in as [`Engine::deploy`] does, but starts none of its sources: for commands that only ask flows.
    pub fn deploy_idle(&self, plan: Plan) -> Arc<Deployed> {
        let deployed = self.prepare(plan);
        self.current.swap(deployed.clone()).stop_but(&HashSet::new()).1.detach();
        deployed
    }

    /// Builds a plan without swapping it in or starting its sources: for one run, or to see what is wrong with it.
    pub fn prepare(&self, plan: Plan) -> Arc<Deployed> {
        self.prepare_keeping(plan, &|_| false)
    }

    /// As [`Engine::prepare`], but nodes of the current plan that `keeps` asks for and that would be built from the very
    /// same are taken over as they are, with their state, timers and connections. They become part of the new plan with
    /// [`Engine::swap`].
    pub fn prepare_keeping(&self, plan: Plan, keeps: &dyn Fn(&PlanNode) -> bool) -> Arc<Deployed> {
        let (catalogue, old) = (self.catalogue.load_full(), self.current());
        let kept = Kept::of(&old, &plan, &catalogue, keeps);
        let deployed = Arc::new(build(plan, &catalogue, &self.services, &self.active, &kept));
        for (index, instance) in deployed.instances.iter().enumerate().filter(|(_, i)| i.place().is_none()) {
            instance.take_place(&deployed, index as NodeIndex);
        }
        deployed
    }

    /// Swaps in what was prepared: the nodes it did not take over are stopped, `between` is told their ids, and its new
    /// ones are started. New runs start on it, open ones end on the old one.
    pub fn swap(&self, deployed: Arc<Deployed>, between: &dyn Fn(&[ArcStr])) {
        let old = self.current.swap(deployed.clone());
        let (stopped, goodbye) = old.stop_but(&deployed.lives());
        between(&stopped);
        deployed.start_after(goodbye, old.lives());
        self.deploys.send_modify(|n| *n += 1);
    }

    /// Tells of every plan that is swapped in and started.
    pub fn deploys(&self) -> watch::Receiver<u64> {
        self.deploys.subscribe()
    }

    /// The node types known now.
    pub fn catalogue(&self) -> Arc<Catalogue> {
        self.catalogue.load_full()
    }

    /// Changes the node types for the plans built from now on.
    pub fn set_catalogue(&self, catalogue: Catalogue) {
        self.catalogue.store(Arc::new(catalogue));
    }

    pub fn current(&self) -> Arc<Deployed> {
        self.current.load_full()
    }

    /// Runs open now.
    pub fn open_runs(&self) -> usize {
        self.active.count.load(Ordering::Relaxed)
    }

    /// Stops the sources, waits for open runs, and after `grace` ends those left. Gives how many it had to end.
    pub async fn drain(&self, grace: Duration) -> usize {
        let goodbye = self.current.load_full().stop_but(&HashSet::new()).1;
        let left = self.end_runs(grace).await;
        goodbye.wait().await;
        left
    }

    async fn end_runs(&self, grace: Duration) -> usize {
        let idle = self.active.idle();
        let clock = self.services.clock.clone();
        tokio::select! {
            () = idle => return 0,
            () = clock.sleep(grace) => {}
        }
        let left = self.open_runs();
        self.active.cut_off.send_replace(true);
        tokio::select! {
            () = self.active.idle() => {}
            () = clock.sleep(Duration::from_secs(1)) => {}
        }
        left
    }
}

impl Active {
    async fn idle(&self) {
        loop {
            let notified = self.idle.notified();
            if self.count.load(Ordering::Acquire) == 0 {
                return;
            }
            notified.await;
        }
    }
}

/// Counts a run as open for as long as it lives.
pub(super) struct OpenRun(pub(super) Arc<Active>);

impl Drop for OpenRun {
    fn drop(&mut self) {
        if self.0.count.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.0.idle.notify_waiters();
        }
    }
}
