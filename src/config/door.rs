//! `[rates]`, `[cache]` and `[secrets]`: how often somebody may call, what replicas share, how secrets change.

use std::time::Duration;

use serde::Deserialize;

use crate::api::{self, Rate, RateOptions};
use crate::cache::{Address, CacheOptions};

#[derive(Clone, Debug, Deserialize)]
pub struct Rates {
    pub source_per_min: u32,
    pub source_burst: u32,
    pub token_per_min: u32,
    pub token_burst: u32,
    pub sources_max: usize,
    pub trusted_proxies: Vec<String>,
}

#[derive(Clone, Deserialize)]
pub struct Cache {
    pub url: String,
    pub password: String,
    pub call_ms_max: u64,
    pub pause_ms: u64,
}

impl std::fmt::Debug for Cache {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Cache").field("call_ms_max", &self.call_ms_max).finish_non_exhaustive()
    }
}

#[derive(Clone, Debug, Deserialize)]
pub struct Secrets {
    pub watch_ms: u64,
    pub overlap_s: u32,
}

impl Rates {
    pub fn options(&self) -> RateOptions {
        RateOptions {
            source: Rate { per_min: self.source_per_min, burst: self.source_burst },
            token: Rate { per_min: self.token_per_min, burst: self.token_burst },
            sources_max: self.sources_max,
        }
    }
}

impl Cache {
    /// Where and how it is used; `None`: there is none.
    ///
    /// # Errors
    /// What is wrong with the address, without the address.
    pub fn options(&self) -> Result<Option<CacheOptions>, String> {
        if self.url.is_empty() {
            return Ok(None);
        }
        let address = Address::parse(&self.url, &self.password)?;
        let (call, pause) = (Duration::from_millis(self.call_ms_max), Duration::from_millis(self.pause_ms));
        Ok(Some(CacheOptions { address, call, pause }))
    }
}

/// What is wrong with all of it.
pub(super) fn problems(config: &super::Config) -> Vec<String> {
    let mut problems = api::forwarded_problems("rates.trusted_proxies", &config.rates.trusted_proxies);
    problems.extend(config.cache.options().err().map(|problem| format!("cache.url: {problem}")));
    if config.cache.call_ms_max == 0 {
        problems.push("cache.call_ms_max: expected at least 1, found 0".into());
    }
    if config.rates.sources_max == 0 {
        problems.push("rates.sources_max: expected at least 1, found 0".into());
    }
    if config.secrets.watch_ms == 0 {
        problems.push("secrets.watch_ms: expected at least 1, found 0".into());
    }
    problems
}
