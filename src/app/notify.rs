//! The ways to tell people of changed verdicts, as they are configured.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Result, bail};

use crate::clock::Clock;
use crate::config::Config;
use crate::delivery::Deliverer;
use crate::evaluate::Evaluator;
use crate::net::Net;
use crate::notify::{Notifier, Options};
use crate::store::Store;

/// What tells people; `None` when no channel is configured.
pub fn notifier(
    config: &Config,
    net: &Arc<Net>,
    store: &Arc<dyn Store>,
    clock: &Clock,
) -> Result<Option<Arc<Notifier>>> {
    let channels = match config.notification_channels() {
        Ok(channels) => channels,
        Err(problems) => bail!("{}", problems.join("\n")),
    };
    if channels.by_name.is_empty() {
        return Ok(None);
    }
    let of = &config.notify;
    let options = Options {
        base_url: of.base_url.parse().ok(),
        request: Duration::from_millis(of.request_ms_max),
        retry_min: Duration::from_millis(of.retry_ms_min),
        retry_max: Duration::from_millis(of.retry_ms_max),
        give_up: Duration::from_millis(of.give_up_ms),
    };
    Ok(Some(Notifier::new(options, channels, net.clone(), store.clone(), clock.clone())))
}

/// Lets those hear of what an evaluator stores who tell others of it.
pub fn listen(evaluator: &Evaluator, deliverer: Option<Arc<Deliverer>>, notifier: Option<Arc<Notifier>>) {
    if deliverer.is_none() && notifier.is_none() {
        return;
    }
    let heard = move |run, token: Option<&str>| {
        if let Some(deliverer) = &deliverer {
            deliverer.stored(run, token);
        }
        if let Some(notifier) = &notifier {
            notifier.stored();
        }
    };
    if evaluator.on_stored.set(Box::new(heard)).is_err() {
        tracing::error!("an evaluator was told twice who hears of what it stores; it keeps the first");
    }
}
