//! Secrets that change while the server runs: files are looked at now and then, and on SIGHUP; what they hold is used from
//! then on, and what it replaces still counts for a while.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use serde_json::json;
use sha2::{Digest, Sha256};
use tokio::signal::unix::{Signal, SignalKind, signal};

use super::delivery;
use crate::api::Api;
use crate::cache::Cache;
use crate::clock::Clock;
use crate::config::Config;
use crate::delivery::Deliverer;
use crate::notify::Notifier;
use crate::store::{AuditEntry, Store};

/// All that uses secrets which may change.
pub struct Rotation {
    pub config: Config,
    pub api: Arc<Api>,
    pub store: Arc<dyn Store>,
    pub deliverer: Option<Arc<Deliverer>>,
    pub notifier: Option<Arc<Notifier>>,
    pub cache: Option<Arc<Cache>>,
    pub clock: Clock,
}

type Digests = BTreeMap<PathBuf, Option<[u8; 32]>>;

impl Rotation {
    /// Follows the files until it is dropped.
    pub async fn run(mut self) {
        let mut hangups = match signal(SignalKind::hangup()) {
            Ok(hangups) => hangups,
            Err(error) => return tracing::error!(%error, "SIGHUP cannot be handled; secrets stay as they are"),
        };
        let mut seen = self.digests();
        // Something was seen and could not be used yet: it is tried again, said once.
        let mut said = String::new();
        loop {
            let asked = self.woken(&mut hangups).await;
            let now = self.digests();
            if !asked && now == seen && said.is_empty() {
                continue;
            }
            match self.apply().await {
                Ok(()) => {
                    said.clear();
                    seen = now;
                }
                Err(problem) if problem != said => {
                    tracing::error!("secrets stay as they are: {problem}");
                    said = problem;
                }
                Err(_) => {}
            }
        }
    }

    /// Waits for the next look; true when somebody asked for it.
    async fn woken(&self, hangups: &mut Signal) -> bool {
        // Where nothing is in files there is nothing to look at.
        let every = match self.config.secret_files.is_empty() {
            true => Duration::from_secs(86_400),
            false => Duration::from_millis(self.config.secrets.watch_ms),
        };
        tokio::select! {
            _ = hangups.recv() => true,
            () = self.clock.sleep(every) => false,
        }
    }

    /// What the files hold. Small files are read rather than dated: those that are mounted are exchanged in many ways.
    fn digests(&self) -> Digests {
        let read = |path: &PathBuf| (path.clone(), std::fs::read(path).ok().map(|bytes| Sha256::digest(bytes).into()));
        self.config.secret_files.iter().map(read).collect()
    }

    async fn apply(&mut self) -> Result<(), String> {
        let config = self.config.read_again().map_err(|error| error.to_string())?;
        let changed = changed(&self.config, &config);
        if changed.is_empty() {
            self.config = config;
            return Ok(());
        }
        // First what can fail: until the database takes its new password, everything stays as it is.
        if changed.contains(&"database") {
            let renewed = self.store.renew(&config.database_url(), &config.database_password).await;
            renewed.map_err(|error| format!("database: {error}"))?;
        }
        let overlap_s = config.secrets.overlap_s;
        if changed.contains(&"auth") {
            self.api.renew_auth(config.auth_options(), overlap_s);
        }
        if let Some(deliverer) = &self.deliverer {
            deliverer.renew(delivery::token(&config));
        }
        if let (Some(notifier), Ok(channels)) = (&self.notifier, config.notification_channels()) {
            notifier.renew(channels, overlap_s);
        }
        if let (Some(cache), Ok(Some(options))) = (&self.cache, config.cache.options()) {
            cache.renew(options.address);
        }
        for key in &changed {
            match LATER.contains(key) {
                true => tracing::warn!(key, "a secret has changed, and is used from the next start on"),
                false => tracing::info!(key, overlap_s, "a secret has changed, and is used from now on"),
            }
        }
        self.config = config;
        self.note(&changed).await;
        Ok(())
    }

    async fn note(&self, changed: &[&str]) {
        let entry = AuditEntry {
            at: self.clock.now(),
            actor: "files".into(),
            action: "rotate".into(),
            subject: "secrets".into(),
            detail: json!({ "changed": changed }),
        };
        if let Err(error) = self.store.audit(&entry).await {
            tracing::error!(%error, "the audit log does not hold that secrets have changed");
        }
    }
}

/// Secrets that are read once, at the start.
const LATER: &[&str] = &["credentials.secret", "director.secret", "datasources", "registry", "dispatch.nats_password"];

/// Which secrets are others now, by their keys.
fn changed(before: &Config, after: &Config) -> Vec<&'static str> {
    let auth = |config: &Config| {
        let auth = &config.auth;
        let users = (auth.users.clone(), auth.flow_logins.clone(), auth.environment_user.clone());
        (auth.status_secret.clone(), auth.tokens.clone(), users)
    };
    let channels = |config: &Config| config.channels.values().flat_map(|c| c.fingerprint()).collect::<Vec<_>>();
    let datasources = |config: &Config| config.datasources.values().map(|d| d.fingerprint()).collect::<Vec<_>>();
    let registry = |config: &Config| (config.registry.write_states.clone(), config.registry.pass_to.clone());
    let address = |config: &Config| (config.database_url.clone(), config.database_password.clone());
    [
        ("database", address(before) != address(after)),
        ("auth", auth(before) != auth(after)),
        ("delivery.token", before.delivery.token != after.delivery.token),
        ("channels", channels(before) != channels(after)),
        ("mail.password", before.mail.password != after.mail.password),
        ("cache.password", (&before.cache.url, &before.cache.password) != (&after.cache.url, &after.cache.password)),
        ("credentials.secret", before.credentials.secret != after.credentials.secret),
        ("director.secret", before.director.secret != after.director.secret),
        ("dispatch.nats_password", before.dispatch.nats_password != after.dispatch.nats_password),
        ("datasources", datasources(before) != datasources(after)),
        ("registry", registry(before) != registry(after)),
    ]
    .into_iter()
    .filter_map(|(key, is_changed)| is_changed.then_some(key))
    .collect()
}
