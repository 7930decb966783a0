//! The plugins that flows under test may use, in the real sandbox.

use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use crate::app;
use crate::clock::Clock;
use crate::config::Config;
use crate::net::Net;
use crate::plugin::{Package, Plugins};
use crate::runtime::Catalogue;

/// Plugins, each loaded for the flows that name one of its node types.
#[derive(Default)]
pub(in crate::cli) struct Guests {
    plugins: Vec<Package>,
    /// What function nodes run in, with what they may use.
    functions: Option<(crate::plugin::package::Package, crate::config::Functions)>,
    /// Where compiled code is kept, so that each case need not compile.
    code_dir: Option<PathBuf>,
    /// That folder, when it is to go with us.
    _temporary: Option<tempfile::TempDir>,
}

impl Guests {
    /// Compiled code is kept in `code_dir`; without one, in a folder that goes with the guests.
    pub(in crate::cli) fn new(plugins: Vec<Package>, code_dir: Option<PathBuf>) -> Guests {
        let temporary = if plugins.is_empty() || code_dir.is_some() { None } else { tempfile::tempdir().ok() };
        let code_dir = code_dir.or_else(|| temporary.as_ref().map(|folder| folder.path().to_path_buf()));
        Guests { plugins, functions: None, code_dir, _temporary: temporary }
    }

    /// Those that a server started here would load, compiled once for both. Why others are not is told when a flow
    /// needs them.
    pub(super) fn found() -> Guests {
        let config = Config::load(None, &toml::Table::new()).map_or_else(|_| Config::defaults(), |(config, _)| config);
        let ready = app::admission::admitted(&config, app::admission::Needed::All).unwrap_or_default();
        let code_dir = config.data_dir.is_dir().then(|| app::plugins::own_cache(&config));
        let functions = ready.interpreter.map(|package| (package, config.functions.clone()));
        let guests = Guests::new(ready.admitted.into_iter().map(|a| a.plugin).collect(), code_dir);
        Guests { functions, ..guests }
    }

    /// A case's own sandbox with the plugins that these flow files need. There are no secrets but `secrets`; who may
    /// read files may read those beside the flows.
    pub(in crate::cli) async fn load(
        &self,
        flows: &[PathBuf],
        net: &Arc<Net>,
        clock: &Clock,
        secrets: Secrets,
    ) -> Result<Arc<Plugins>, String> {
        let plugins = app::plugins::trial(self.code_dir.clone(), secrets, net, clock);
        let texts: String = flows.iter().map(|path| text_of(path)).collect();
        if let Some((package, config)) = &self.functions {
            app::plugins::offer_functions(&plugins, config, package.clone());
        }
        let needed = |p: &&Package| {
            let nodes = &p.manifest.nodes;
            flows.is_empty() || nodes.is_empty() || nodes.iter().any(|n| texts.contains(&format!("\"{n}\"")))
        };
        let beside = flows.iter().filter_map(|path| path.parent()?.canonicalize().ok());
        let beside: Vec<PathBuf> = beside.collect();
        for plugin in self.plugins.iter().filter(needed) {
            let mut plugin = plugin.clone();
            plugin.granted.folders.extend(beside.iter().cloned());
            plugins.load(plugin).await.map_err(|problems| super::errors(&problems).join("; "))?;
        }
        Ok(plugins)
    }
}

/// The node types that a flow file can use here: builtin ones, and those of the plugins it names. Plugins are looked
/// for once.
pub(in crate::cli) fn catalogue_for(flow: &Path) -> Catalogue {
    static FOUND: OnceLock<Guests> = OnceLock::new();
    let guests = FOUND.get_or_init(Guests::found);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.expect("the system has a thread to give");
    let (net, clock) = (Arc::new(Net::default()), Clock::System);
    match runtime.block_on(guests.load(&[flow.to_path_buf()], &net, &clock, Arc::new(|_| None))) {
        Ok(plugins) => app::plugins::catalogue(&plugins),
        Err(problem) => {
            eprintln!("warning: {problem}");
            crate::nodes::catalogue()
        }
    }
}

/// Looks up a secret.
pub(in crate::cli) type Secrets = crate::plugin::ReadSecret;

/// A flow file's text, or those of a folder.
fn text_of(path: &Path) -> String {
    if path.is_dir() {
        let entries = std::fs::read_dir(path).into_iter().flatten().flatten();
        return entries.map(|e| text_of(&e.path())).collect();
    }
    std::fs::read_to_string(path).unwrap_or_default()
}
