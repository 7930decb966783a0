//! With what an evaluation judges: the engine, the tz database, and the flows and plugins behind its metrics.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::Evaluator;
use crate::agreement::tz_database_version;
use crate::model::agreement::{Agreement, Collector};
use crate::model::provenance::Provenance;

/// SHA-256 of the plugins flows can call now, by name.
pub type PluginVersions = Box<dyn Fn() -> BTreeMap<String, String> + Send + Sync>;

impl Evaluator {
    /// Flows are named when a metric of the agreement comes from one, and then the plugins those flows could call.
    pub(super) fn provenance(&self, agreement: &Agreement) -> Arc<Provenance> {
        let of_flow = agreement.metrics.values().any(|metric| matches!(metric.collector, Collector::Flow { .. }));
        let deployed = of_flow.then(|| self.engine.current());
        Arc::new(Provenance {
            engine: env!("CARGO_PKG_VERSION").to_owned(),
            time_zones: tz_database_version().to_owned(),
            flows: deployed.as_ref().map(|deployed| deployed.plan.version.to_string()),
            plugins: self.plugins.get().filter(|_| of_flow).map(|versions| versions()).unwrap_or_default(),
        })
    }
}
