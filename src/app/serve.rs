//! The server: store, flows, agreements, schedules and HTTP, started in the order they need each other and stopped
//! in the other.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail};
use tokio::net::TcpListener;
use tokio::sync::watch;

use super::rotation::Rotation;
use super::upkeep::Upkeep;
use super::{Surroundings, content, engine, evaluator, flows, make_data_dir, net, open_store};
use crate::api::registry_v6;
use crate::api::{self, Api, ApiOptions, Observed, Parts, ScheduleView};
use crate::cache::Cache;
use crate::clock::Clock;
use crate::config::Config;
use crate::deploy;
use crate::evaluate::Evaluator;
use crate::registry::{self, Agreements, Source, StateWriter, StoredSource};
use crate::schedule::{Options, Scheduler};
use crate::store::Holding;
use crate::telemetry::Telemetry;

/// Serves until `stop` resolves, then drains: no new calls, open runs get `shutdown_ms_max`, results are written.
pub async fn serve(config: Config, stop: impl Future<Output = ()>) -> Result<()> {
    let started = Instant::now();
    let auth = config.auth_options();
    if let Err(problem) = api::check_exposure(config.listen, &auth) {
        bail!("{problem}");
    }
    for (key, address, _) in apart(&config) {
        if let Err(problem) = api::check_exposure_apart(key, address, &auth) {
            bail!("{problem}");
        }
    }
    make_data_dir(&config.data_dir)?;
    let store = open_store(&config).await?;
    store.migrate().await?;
    // Bound before anything runs: a taken port must not leave half a server that fires schedules.
    let listener = TcpListener::bind(config.listen)
        .await
        .with_context(|| format!("cannot listen on {}; is another server running there?", config.listen))?;
    let mut config = config;
    config.listen = listener.local_addr().context("the listener has no address")?;
    let mut listeners_apart = Vec::new();
    for (key, address, serves) in apart(&config) {
        let listener = TcpListener::bind(address)
            .await
            .with_context(|| format!("cannot listen on {address} ({key}); is another server running there?"))?;
        let address = listener.local_addr().context("the listener has no address")?;
        listeners_apart.push((address, serves, listener));
    }
    if let Err(problems) = crate::failpoint::arm(&config.durable.fail_points) {
        bail!("durable.fail_points: {}", problems.join("; "));
    }
    let clock = Clock::System;
    let surroundings = Surroundings { clock: clock.clone(), net: net(&config)?, store: store.clone(), observer: None };
    let configured = content::sources(&config, &surroundings.net)?;
    let flows_before = deploy::watch::look(&content::flow_path(&config));
    let (loaded, credentials, revisions) = flows::settle(&config, &store, &clock).await?;
    let (plugins, followed) = super::plugins::start_followed(&config, &surroundings.net, &clock, &loaded).await;
    let engine = engine(&config, surroundings, &plugins);
    let telemetry = match config.otel.options() {
        Some(options) => Some(Telemetry::new(options, clock.clone()).map_err(|e| anyhow!("{}", e.join("; ")))?),
        None => None,
    };
    if let Some(telemetry) = &telemetry {
        // Nothing else has set it.
        drop(engine.services.watch.set(telemetry.clone()));
    }
    let agreements = Agreements::new(clock.clone(), Some(store.clone()));
    // What users put by the API counts before what is read elsewhere.
    let watch = Duration::from_millis(config.registry.watch_ms.max(10));
    let mut sources: Vec<Box<dyn Source>> = vec![Box::new(StoredSource::new(&agreements, store.clone(), watch))];
    sources.extend(configured);
    let following = tokio::spawn(registry::follow(&agreements, sources).run());
    agreements.started(Duration::from_millis(config.registry.start_ms_max)).await;
    let evaluator = evaluator(&config, &engine, &store, agreements.clone(), Default::default());
    super::name_plugins(&evaluator, &plugins);
    let writing = write_back(&config, &evaluator, &clock);
    let deliverer = super::delivery::deliverer(&config, &engine.services.net, &store, &clock)?;
    let notifier = super::notify::notifier(&config, &engine.services.net, &store, &clock)?;
    super::notify::listen(&evaluator, deliverer.clone(), notifier.clone());
    // The configuration was refused if it could not be read.
    let cache = config.cache.options().unwrap_or_default();
    let cache = cache.map(|options| Cache::new(options, engine.services.net.clone(), clock.clone()));
    let upkeep = Arc::new(Upkeep::new(&config.retention, store.clone(), clock.clone()));
    let keeping = config.roles.worker.then(|| tokio::spawn(upkeep.clone().run()));
    let following_plugins = super::plugins::Following::new(config.clone(), plugins.clone(), engine.clone(), followed);
    let holding = Holding::new(store.clone(), clock.clone(), super::owner(), config.schedule.lease_ms);
    let beating = tokio::spawn(holding.clone().beat());
    let repeating = super::repeating::start(&config, &engine, &holding).await;
    let acceptor = super::durable::acceptor(&config, &store, &engine);
    let admin = flows::start(&config, &engine, &credentials, &following_plugins, loaded, Some(revisions)).await;
    let following_flows =
        tokio::spawn(admin.flows.clone().keep_following(Duration::from_millis(config.store.follow_ms.max(10))));
    let watching_flows = (config.watch_flows_ms > 0).then(|| {
        let every = Duration::from_millis(config.watch_flows_ms.max(10));
        tokio::spawn(admin.flows.clone().keep_watching(flows_before, every))
    });
    let options = Options {
        provisional_ms: config.schedule.provisional_ms,
        first_windows_max: config.schedule.first_windows_max,
        notices: config.roles.scheduler,
        works: config.roles.worker,
        poll_ms: config.schedule.poll_ms,
        late_ms: config.schedule.late_ms,
    };
    let (scheduler, problems) = Scheduler::new(evaluator.clone(), holding.clone(), options);
    for problem in problems {
        tracing::error!("{problem}");
    }
    let durable = super::durable::Durable::new(&config, &store, &engine, acceptor, &admin.flows);
    let scheduler = Arc::new(scheduler.with_durable_runs(durable.accept_ticks()));
    let parts = Parts {
        acceptor: Some(durable.acceptor.clone()),
        engine: engine.clone(),
        store: store.clone(),
        evaluate: evaluator.clone(),
        agreements: {
            let agreements = agreements.clone();
            Box::new(move || agreements.snapshot())
        },
        schedules: {
            let (scheduler, clock) = (scheduler.clone(), clock.clone());
            Box::new(move || scheduler.list(clock.now()).into_iter().map(view).collect())
        },
        plugins: plugins.clone(),
        desk: super::admission::desk(&config),
        credentials: credentials.clone(),
        admin: Some(admin.clone()),
        observed: {
            let (evaluator, scheduler, deliverer) = (evaluator.clone(), scheduler.clone(), deliverer.clone());
            let telemetry = telemetry.clone();
            let notifier = notifier.clone();
            Box::new(move || {
                let stored = |at: usize| evaluator.verdicts_stored[at].load(Ordering::Relaxed);
                let lag_ms = scheduler.lag_ms.load(Ordering::Relaxed);
                Observed {
                    verdicts_stored: std::array::from_fn(stored),
                    commit_failures: evaluator.commits_failed.load(Ordering::Relaxed),
                    punctuality: scheduler.punctuality(),
                    schedule_lag_s: (scheduler.fired.load(Ordering::Relaxed) > 0).then_some(lag_ms as f64 / 1000.0),
                    expired: std::array::from_fn(|at| upkeep.expired[at].load(Ordering::Relaxed)),
                    telemetry: telemetry.as_ref().map_or([0; 3], |t| {
                        [&t.told, &t.dropped, &t.failed].map(|count| count.load(Ordering::Relaxed))
                    }),
                    upkeep_failures: upkeep.failed.load(Ordering::Relaxed),
                    delivered: deliverer.as_ref().map(|deliverer| {
                        (deliverer.delivered.load(Ordering::Relaxed), deliverer.refused.load(Ordering::Relaxed))
                    }),
                    notified: notifier.as_ref().map(|notifier| {
                        [&notifier.told, &notifier.failed, &notifier.refused].map(|count| count.load(Ordering::Relaxed))
                    }),
                }
            })
        },
        options: ApiOptions {
            node_root: config.http.node_root.clone(),
            body_bytes_max: config.http.body_bytes_max,
            bodies_bytes_max: config.http.bodies_bytes_max,
            header_ms_max: config.http.header_ms_max,
            body_ms_max: config.http.body_ms_max,
            connections_max: config.http.connections_max,
            drain_ms_max: config.shutdown_ms_max,
            probes_only: !config.roles.api,
            cors_origins: config.http.cors_origins.clone(),
            node_cors_origins: config.http.node_cors_origins.clone(),
            editor: config.editor.clone(),
            user_settings: super::credentials::user_settings(&config),
            auth,
            flows_durable: config.durable.flows == "durable",
            idempotency_key_ms: config.durable.key_ms,
            rates: config.rates.options(),
            trusted_proxies: config.rates.trusted_proxies.clone(),
            cache: cache.clone(),
            ..ApiOptions::default()
        },
    };
    let (stopping, stopped) = watch::channel(false);
    let when_stopped = move || {
        let mut stopped = stopped.clone();
        async move {
            // A dropped sender means the server is gone: stop as well.
            let _ = stopped.wait_for(|stop| *stop).await.is_ok();
        }
    };
    let api = Api::new(parts);
    let (telling_stop, mut telling_stopped) = watch::channel(false);
    let telling = telemetry.map(|telemetry| {
        // Held to the end: what happened last is told, too.
        let api = api.clone();
        let metrics = move || -> futures_util::future::BoxFuture<'static, Option<String>> {
            let api = api.clone();
            Box::pin(async move { api::metrics_text(&api).await.ok() })
        };
        tokio::spawn(telemetry.run(Arc::new(metrics), async move {
            let _ = telling_stopped.wait_for(|stop| *stop).await.is_ok();
        }))
    });
    let rotation = Rotation {
        config: config.clone(),
        api: api.clone(),
        store: store.clone(),
        deliverer: deliverer.clone(),
        notifier: notifier.clone(),
        cache,
        clock: clock.clone(),
    };
    let rotating = tokio::spawn(rotation.run());
    let delivering = deliverer.filter(|_| config.roles.worker).map(|deliverer| tokio::spawn(deliverer.run()));
    let notifying = notifier.filter(|_| config.roles.worker).map(|notifier| tokio::spawn(notifier.run()));
    let director = super::director::Directing::new(&config, &evaluator, &holding, &plugins);
    let mut serving_apart = tokio::task::JoinSet::new();
    for (address, serves, listener) in listeners_apart {
        let registry = super::registry_api(&config, &evaluator, &agreements);
        // The Registry has `/commons` among its own.
        let mut router = match serves.contains(&Apart::Registry) {
            true => registry_v6::router(registry),
            false => registry_v6::commons(registry),
        };
        if serves.contains(&Apart::Director) {
            router = router.merge(director.router());
        }
        for served in serves {
            tracing::info!(%address, "the {served} API is served");
        }
        serving_apart.spawn(api::serve_apart(listener, api.clone(), router, when_stopped()));
    }
    let tasks = director.start(&config, &agreements, &engine, when_stopped());
    let grace = Duration::from_millis(config.shutdown_ms_max);
    let durable = durable.start(grace, when_stopped());
    let http = tokio::spawn(api::serve(listener, api.clone(), when_stopped()));
    let http_apart = tokio::spawn(async move { while serving_apart.join_next().await.is_some() {} });
    let schedule = tokio::spawn(scheduler.run(when_stopped()));
    let watched = tokio::spawn(following_plugins.watch(admin.flows.clone()));
    let (contexts_stop, mut contexts_stopped) = watch::channel(false);
    let contexts = tokio::spawn(flows::keep_contexts(engine.clone(), async move {
        let _ = contexts_stopped.wait_for(|stop| *stop).await.is_ok();
    }));
    let (history_stop, history_stopped) = watch::channel(false);
    let history = {
        let (engine, store) = (engine.clone(), store.clone());
        let mut stopped = history_stopped;
        tokio::spawn(async move {
            let stop = async move {
                let _ = stopped.wait_for(|stop| *stop).await.is_ok();
            };
            engine.services.history.write_to(store, engine.services.clock.clone(), stop).await;
        })
    };
    tracing::info!(
        address = %config.listen, store = store.describe(), flows = engine.current().plan.flows.len(),
        agreements = agreements.snapshot().agreements.len(), roles = %config.roles, started_ms = started.elapsed().as_millis() as u64,
        "Probity is ready: {}/probity/", super::base_url(config.listen)
    );
    stop.await;
    if config.shutdown_notice_ms > 0 {
        tracing::info!("about to stop; others are asked to call elsewhere within {} ms", config.shutdown_notice_ms);
        api.leave();
        clock.sleep(Duration::from_millis(config.shutdown_notice_ms)).await;
    }
    drop(api);
    tracing::info!("stopping; open runs get {} ms", config.shutdown_ms_max);
    watched.abort();
    following_flows.abort();
    watching_flows.into_iter().for_each(|task| task.abort());
    super::repeating::stop(repeating, &holding).await;
    following.abort();
    rotating.abort();
    writing.into_iter().chain(delivering).chain(notifying).chain(keeping).for_each(|task| task.abort());
    stopping.send_replace(true);
    let (cut, ..) = tokio::join!(
        engine.drain(grace),
        bounded(&clock, grace, schedule),
        bounded(&clock, grace, http),
        bounded(&clock, grace, http_apart),
        bounded(&clock, grace, tasks),
        durable.stop(&clock, grace),
    );
    if cut > 0 {
        tracing::warn!(runs = cut, "runs were ended before their end");
    }
    history_stop.send_replace(true);
    bounded(&clock, grace, history).await;
    beating.abort();
    telling_stop.send_replace(true);
    if let Some(telling) = telling {
        bounded(&clock, grace, telling).await;
    }
    // Runs are over: what they left is written a last time.
    contexts_stop.send_replace(true);
    bounded(&clock, grace, contexts).await;
    tracing::info!("stopped");
    Ok(())
}

/// Another service's API on an address of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Apart {
    Registry,
    Director,
}

impl std::fmt::Display for Apart {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Apart::Registry => "Registry",
            Apart::Director => "Director",
        })
    }
}

/// The other services' APIs that are switched on: configuration key, address, and which they are. Both may have one
/// address, as one container has that goes by both services' names: their paths differ.
fn apart(config: &Config) -> Vec<(&'static str, std::net::SocketAddr, Vec<Apart>)> {
    let (registry, director) = (config.listen_registry, config.listen_director);
    match (registry, director) {
        (Some(one), Some(other)) if one == other && one.port() != 0 => {
            vec![("listen_registry", one, vec![Apart::Registry, Apart::Director])]
        }
        _ => [("listen_registry", registry, Apart::Registry), ("listen_director", director, Apart::Director)]
            .into_iter()
            .filter_map(|(key, address, serves)| Some((key, address?, vec![serves])))
            .collect(),
    }
}

/// Writes states into a Registry's database, when that is configured.
fn write_back(config: &Config, evaluator: &Arc<Evaluator>, clock: &Clock) -> Option<tokio::task::JoinHandle<()>> {
    let address = Some(config.registry.write_states.clone()).filter(|address| !address.is_empty())?;
    let writer = StateWriter::new();
    evaluator.written_back.set(writer.clone()).ok()?;
    let request = Duration::from_millis(config.registry.request_ms_max);
    Some(tokio::spawn(writer.run(address, request, clock.clone())))
}

/// Waits for a loop to end, at most this long.
pub(super) async fn bounded(clock: &Clock, grace: Duration, task: tokio::task::JoinHandle<()>) {
    let abort = task.abort_handle();
    tokio::select! {
        ended = task => if let Err(error) = ended {
            tracing::error!(%error, "a loop of the server ended badly");
        },
        () = clock.sleep(grace) => abort.abort(),
    }
}

fn view(schedule: crate::schedule::ScheduleView) -> ScheduleView {
    ScheduleView {
        id: schedule.id,
        kind: if schedule.kind == "flow" { "flow" } else { "agreement" },
        subject: schedule.subject,
        cron: schedule.cron.unwrap_or_else(|| "window ends".into()),
        time_zone: schedule.time_zone,
        catch_up: schedule.catch_up,
        next_due: schedule.next_due,
        punctuality: schedule.punctuality,
    }
}
