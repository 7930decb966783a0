//! The way to status-backend as it is configured.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};

use crate::clock::Clock;
use crate::config::Config;
use crate::delivery::{Deliverer, Options, Token};
use crate::net::Net;
use crate::store::Store;

/// The token for what nobody showed one for, as it is configured now.
pub fn token(config: &Config) -> Option<Token> {
    match (config.delivery.token.as_str(), config.auth.status_secret.as_str()) {
        ("", "") => None,
        ("", secret) => Some(Token::Signed { secret: secret.to_owned() }),
        (token, _) => Some(Token::Fixed(token.to_owned())),
    }
}

/// What tells verdicts to status-backend; `None` when none is configured.
pub fn deliverer(
    config: &Config,
    net: &Arc<Net>,
    store: &Arc<dyn Store>,
    clock: &Clock,
) -> Result<Option<Arc<Deliverer>>> {
    let of = &config.delivery;
    if of.status_url.is_empty() {
        return Ok(None);
    }
    let url = of.status_url.parse().context("delivery.status_url is no address")?;
    let token = token(config);
    let controls = of.controls.iter().filter_map(|(name, number)| Some((name.clone(), number.parse().ok()?))).collect();
    let options = Options {
        url,
        token,
        controls,
        body_bytes_max: of.body_bytes_max,
        request: Duration::from_millis(of.request_ms_max),
        retry_max: Duration::from_millis(of.retry_ms_max),
    };
    Ok(Some(Deliverer::new(options, net.clone(), store.clone(), clock.clone())))
}
