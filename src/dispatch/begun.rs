//! Runs that nodes begin by themselves, accepted as those of callers are.

use std::sync::Arc;

use async_trait::async_trait;

use super::{Acceptor, Asked, Local};
use crate::model::RunId;
use crate::runtime::begin::{AcceptRuns, BegunRun};
use crate::runtime::snapshot::write_start;
use crate::store::queue::{DedupKey, NewRun, Priority};

/// Accepts what nodes begin.
pub struct Begun {
    acceptor: Arc<Acceptor>,
    /// Whether flows are durable that say nothing themselves.
    by_default: bool,
    /// How long a key is remembered after its run has ended, milliseconds.
    keep_ms: u64,
}

impl Begun {
    pub fn new(acceptor: Arc<Acceptor>, by_default: bool, keep_ms: u64) -> Begun {
        Begun { acceptor, by_default, keep_ms }
    }
}

#[async_trait]
impl AcceptRuns for Begun {
    fn by_default(&self) -> bool {
        self.by_default
    }

    async fn accept(&self, begun: BegunRun) -> Result<(), String> {
        let BegunRun { deployed, node, start, msg, trigger, after, key } = begun;
        let at = &deployed.plan.nodes[node as usize];
        let (flow, tenant) = deployed.plan.owner(node);
        let keep_ms = self.keep_ms;
        let run = NewRun {
            id: RunId::fresh(),
            flow,
            node: at.id.to_string(),
            flow_version: deployed.plan.version.clone(),
            trigger,
            msg: write_start(start, &msg),
            reply: false,
            priority: Priority::Normal,
            tenant,
            delay_ms: u64::try_from(after.as_millis()).unwrap_or(u64::MAX),
            // What is begun again under a key is the same by the key alone: it says which effect of which run it is.
            dedup: key.map(|key| DedupKey { key: format!("begun/{key}"), request: [0; 32], keep_ms }),
            lease_ms: None,
        };
        let asked = Asked { run, local: Local { start, msg, reply: None } };
        self.acceptor.accept(asked).await.map(drop).map_err(|problem| problem.to_string())
    }
}
