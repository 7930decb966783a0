//! Which flows a run goes on with: those it began on.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use futures_util::future::BoxFuture;

use crate::model::flow::NodeIndex;
use crate::runtime::{Deployed, Engine};
use crate::store::queue::QueuedRun;

/// Finds the flows of a version that is not the current one; `None` when nobody knows it any more, an error when nobody
/// could be asked.
pub type PlanOf = Box<dyn Fn(&str) -> BoxFuture<'static, Result<Option<Arc<Deployed>>, String>> + Send + Sync>;

/// Why a run cannot go on; for a person.
pub(super) enum NoPlan {
    /// Its flows or its node are not to be had any more.
    Gone(String),
    /// Those who know its flows do not answer now.
    Unreachable(String),
}

/// By version, with when each was asked for last.
type KeptPlans = HashMap<String, (u64, Arc<Deployed>)>;

/// Earlier versions kept at hand.
const KEPT_MAX: usize = 8;

/// The versions of the flows that runs are on.
pub struct Plans {
    engine: Arc<Engine>,
    elsewhere: Option<PlanOf>,
    /// How often was asked, and what is at hand.
    kept: Mutex<(u64, KeptPlans)>,
}

impl Plans {
    /// `elsewhere` is asked for versions that this process has not seen.
    pub fn new(engine: Arc<Engine>, elsewhere: Option<PlanOf>) -> Plans {
        Plans { engine, elsewhere, kept: Mutex::default() }
    }

    pub(super) fn engine(&self) -> &Arc<Engine> {
        &self.engine
    }

    /// Notes a plan under which runs are begun, so that they can be gone on with after a deploy.
    fn note(&self, plan: &Arc<Deployed>) {
        let mut kept = self.kept.lock().unwrap_or_else(|p| p.into_inner());
        kept.0 += 1;
        let now = kept.0;
        kept.1.insert(plan.plan.version.clone(), (now, plan.clone()));
        while kept.1.len() > KEPT_MAX {
            let oldest = kept.1.iter().min_by_key(|(_, (at, _))| *at).map(|(version, _)| version.clone());
            oldest.and_then(|version| kept.1.remove(&version));
        }
    }

    /// The flows a run is to be on, and the node it enters at. One that has not begun may begin on the current flows when
    /// its own are not to be had.
    ///
    /// # Errors
    /// [`NoPlan`].
    pub(super) async fn of(&self, run: &QueuedRun) -> Result<(Arc<Deployed>, NodeIndex), NoPlan> {
        let current = self.engine.current();
        let plan = match current.plan.version == run.flow_version {
            true => Some(current.clone()),
            false => self.earlier(&run.flow_version).await.map_err(NoPlan::Unreachable)?,
        };
        let begun = run.point.is_some();
        let plan = match plan {
            Some(plan) => plan,
            None if !begun => current,
            None => {
                let version = &run.flow_version;
                return Err(NoPlan::Gone(format!(
                    "the flows it began on (version {version}) are not to be had any more"
                )));
            }
        };
        let node = plan.plan.nodes.iter().position(|node| node.id == run.node);
        let Some(node) = node else {
            return Err(NoPlan::Gone(format!("its flows have no node \"{}\" any more", run.node)));
        };
        let node = node as NodeIndex;
        if let Some(why) = plan.stopped(node) {
            return Err(NoPlan::Gone(format!("its flow does not run: {why}")));
        }
        self.note(&plan);
        Ok((plan, node))
    }

    async fn earlier(&self, version: &str) -> Result<Option<Arc<Deployed>>, String> {
        let kept = {
            let mut kept = self.kept.lock().unwrap_or_else(|p| p.into_inner());
            kept.0 += 1;
            let now = kept.0;
            kept.1.get_mut(version).map(|(at, plan)| {
                *at = now;
                plan.clone()
            })
        };
        match (kept, &self.elsewhere) {
            (Some(plan), _) => Ok(Some(plan)),
            (None, Some(elsewhere)) => elsewhere(version).await,
            (None, None) => Ok(None),
        }
    }
}
