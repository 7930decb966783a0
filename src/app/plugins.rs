//! Plugins of a process: found, admitted, loaded, and swapped when their files change.

use std::path::PathBuf;
use std::sync::Arc;

use crate::clock::Clock;
use crate::config::Config;
use crate::net::Net;
use crate::plugin::admission::Admitted;
use crate::plugin::limits::Limits;
use crate::plugin::{Options, Plugins, ReadSecret};
use crate::runtime::Catalogue;

/// A process without plugins yet.
pub fn none(config: &Config, net: &Arc<Net>, clock: &Clock) -> Arc<Plugins> {
    trial(Some(config.data_dir.join("plugin-cache")), Arc::new(Config::secret), net, clock)
}

/// As [`none`], for trying a plugin: with a cache and secrets of its own.
pub fn trial(cache_dir: Option<PathBuf>, read_secret: ReadSecret, net: &Arc<Net>, clock: &Clock) -> Arc<Plugins> {
    let evaluate_typed = crate::nodes::typed::evaluate;
    let options = Options { limits: Limits::default(), cache_dir, evaluate_typed, read_secret };
    Plugins::new(options, net.clone(), clock.clone())
}

/// Loads all plugins that are found and admitted; what is wrong with others is logged, and they stay out.
pub async fn start(config: &Config, net: &Arc<Net>, clock: &Clock) -> Arc<Plugins> {
    let plugins = none(config, net, clock);
    let (admitted, problems) = match super::admission::admitted(config) {
        Ok(found) => found,
        Err(error) => {
            tracing::error!("{error:#}");
            return plugins;
        }
    };
    super::report(&problems);
    for Admitted { plugin, .. } in admitted {
        let name = plugin.manifest.name.clone();
        if let Err(problems) = plugins.load(plugin).await {
            super::report(&problems.into_iter().map(|d| d.in_file(format!("plugin {name}"))).collect::<Vec<_>>());
        }
    }
    plugins
}

/// Builtin node types and those of plugins.
pub fn catalogue(plugins: &Plugins) -> Catalogue {
    let mut catalogue = crate::nodes::catalogue();
    super::report(&plugins.add_to(&mut catalogue));
    catalogue
}
