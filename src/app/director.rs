//! The Director's two ways: its API served here with tasks run by our clock, and tasks registered with one elsewhere.

use std::sync::Arc;

use axum::Router;
use tokio::task::JoinHandle;
use url::Url;

use crate::api::director_v1::{self, DirectorV1};
use crate::config::Config;
use crate::director::client::{Client, ClientOptions, Signer};
use crate::director::{Director, Points, Scripts};
use crate::evaluate::Evaluator;
use crate::plugin::Plugins;
use crate::registry::Agreements;
use crate::runtime::Engine;
use crate::store::Holding;

/// What both ways stand on.
pub(super) struct Directing {
    director: Arc<Director>,
    points: Arc<Points>,
    signer: Signer,
    /// How a Director elsewhere reaches us.
    callback: Option<Url>,
}

impl Directing {
    pub(super) fn new(
        config: &Config,
        evaluator: &Arc<Evaluator>,
        holding: &Arc<Holding>,
        plugins: &Arc<Plugins>,
    ) -> Directing {
        let listen = config.listen_director.map(super::base_url);
        let callback = match config.director.callback_url.as_str() {
            "" => listen.clone(),
            url => Some(url.to_owned()),
        };
        let callback = callback.and_then(|url| Url::parse(&url).ok());
        let authority = |url: &Url| Some(format!("{}:{}", url.host_str()?, url.port_or_known_default()?));
        let listen = listen.and_then(|url| Url::parse(&url).ok());
        let mut hosts: Vec<String> = [&listen, &callback].into_iter().flatten().filter_map(authority).collect();
        hosts.extend(config.director.script_hosts.iter().cloned());
        hosts.dedup();
        let director = Director::new(evaluator.clone(), holding.clone(), hosts);
        let plugins = plugins.clone();
        let scripts = Scripts {
            sandbox: Box::new(move || plugins.functions()),
            net: evaluator.engine.services.net.clone(),
            allow: config.director.scripts.iter().filter_map(|url| Url::parse(url).ok()).collect(),
            calls: config.director.calls.clone(),
            compute_ms_max: config.director.compute_ms_max,
            run_ms_max: config.director.run_ms_max,
        };
        // Nothing else has set it.
        drop(director.scripts.set(scripts));
        Directing {
            director,
            points: Points::new(evaluator.clone()),
            signer: Signer::new(&config.director.secret),
            callback,
        }
    }

    /// Everything that `listen_director` answers.
    pub(super) fn router(&self) -> Router {
        let (director, points, signer) = (self.director.clone(), self.points.clone(), self.signer.clone());
        director_v1::router(Arc::new(DirectorV1 { director, points, signer }))
    }

    /// Runs tasks while the Director's API is served, and keeps those of a Director elsewhere in step.
    pub(super) fn start(
        &self,
        config: &Config,
        agreements: &Arc<Agreements>,
        engine: &Arc<Engine>,
        stop: impl Future<Output = ()> + Send + 'static,
    ) -> JoinHandle<()> {
        let served = (config.listen_director.is_some() && config.roles.worker).then(|| self.director.clone());
        let client = self.client(config, agreements, engine);
        tokio::spawn(async move {
            let (stopped, when_stopped) = tokio::sync::oneshot::channel::<()>();
            let tasks = async {
                if let Some(director) = served {
                    // Dropped or told: both mean stop.
                    director.run(async { drop(when_stopped.await) }).await;
                }
            };
            let registering = async {
                tokio::select! {
                    () = stop => {}
                    () = async {
                        match client {
                            Some(client) => client.run().await,
                            None => std::future::pending().await,
                        }
                    } => {}
                }
                drop(stopped);
            };
            tokio::join!(tasks, registering);
        })
    }

    fn client(&self, config: &Config, agreements: &Arc<Agreements>, engine: &Arc<Engine>) -> Option<Client> {
        let options = ClientOptions {
            director: Url::parse(&config.director.url).ok()?,
            callback: self.callback.clone()?,
            signer: self.signer.clone(),
            interval_ms: config.director.interval_ms,
        };
        let services = &engine.services;
        Some(Client::new(options, agreements.clone(), services.net.clone(), services.clock.clone()))
    }
}
