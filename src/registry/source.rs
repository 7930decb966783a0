//! What a source of agreements is, and how one is followed: read, wait until it may have changed, read again; when it
//! is away, again after growing pauses.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

use super::document::Found;
use super::live::{Agreements, SourceState};
use super::remembered::Remembered;
use crate::clock::Clock;

/// First and longest pause before a source that is away is asked again.
const RETRY_MIN: Duration = Duration::from_millis(500);
const RETRY_MAX: Duration = Duration::from_secs(30);

/// Why a source could not be read: what was asked and what came of it, without secrets.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct SourceError(pub String);

/// How often sources are looked at; defaults are those of `config.default.toml`.
#[derive(Clone, Copy, Debug)]
pub struct Times {
    /// Between two looks at files, or at our own store.
    pub watch: Duration,
    /// Between two questions to a Registry, or to a MongoDB without change streams.
    pub poll: Duration,
    /// A question unanswered for so long has failed.
    pub request: Duration,
}

/// Somewhere agreements come from.
#[async_trait]
pub trait Source: Send {
    /// Path or address, without secrets.
    fn name(&self) -> String;

    /// `shipped`, `folder`, `registry`, `mongodb`, `stored`.
    fn kind(&self) -> &'static str;

    /// All that it holds now; `None` when nothing has changed since the last reading that gave something.
    async fn read(&mut self) -> Result<Option<Found>, SourceError>;

    /// Resolves when it may have changed. May be dropped unresolved.
    async fn changed(&mut self, clock: &Clock);
}

/// Sources that belong to a set, in the order in which they count, ready to be followed.
pub struct Followed {
    agreements: Arc<Agreements>,
    sources: Vec<(usize, Box<dyn Source>)>,
}

/// Gives a set its sources. Of two that know one id the first counts.
pub fn follow(agreements: &Arc<Agreements>, sources: Vec<Box<dyn Source>>) -> Followed {
    let sources =
        sources.into_iter().map(|source| (agreements.add_source(&source.name(), source.kind()), source)).collect();
    Followed { agreements: agreements.clone(), sources }
}

impl Followed {
    /// Follows every source until it is dropped.
    pub async fn run(self) {
        let Followed { agreements, sources } = self;
        let loops = sources.into_iter().map(|(index, source)| follow_one(agreements.clone(), index, source));
        futures_util::future::join_all(loops).await;
    }
}

async fn follow_one(agreements: Arc<Agreements>, index: usize, mut source: Box<dyn Source>) {
    let clock = agreements.clock.clone();
    let mut again = agreements.again.subscribe();
    let mut remembered = Remembered::of(&agreements, &*source);
    if let Some(remembered) = &mut remembered {
        remembered.recall(&agreements, index).await;
    }
    let mut pause = RETRY_MIN;
    loop {
        again.mark_unchanged();
        match source.read().await {
            Ok(found) => {
                match found {
                    Some(found) => agreements.found(index, found),
                    None => agreements.unchanged(index),
                }
                if let Some(remembered) = &mut remembered {
                    remembered.keep(&agreements, index).await;
                }
                pause = RETRY_MIN;
                tokio::select! {
                    () = source.changed(&clock) => {}
                    // The sender lives in the set.
                    _ = again.changed() => {}
                }
            }
            Err(SourceError(problem)) => {
                agreements.away(index, problem);
                tokio::select! {
                    () = clock.sleep(pause) => {}
                    _ = again.changed() => {}
                }
                pause = (pause * 2).min(RETRY_MAX);
            }
        }
    }
}

/// Reads every source once, into a set that stays as it is.
///
/// # Errors
/// The sources that did not answer, and why.
pub async fn read_once(clock: Clock, sources: Vec<Box<dyn Source>>) -> Result<Arc<Agreements>, SourceError> {
    let agreements = Agreements::new(clock, None);
    let mut problems = Vec::new();
    for (index, mut source) in follow(&agreements, sources).sources {
        match source.read().await {
            Ok(found) => agreements.found(index, found.unwrap_or_default()),
            Err(SourceError(problem)) => problems.push(format!("{}: {problem}", source.name())),
        }
    }
    if problems.is_empty() { Ok(agreements) } else { Err(SourceError(problems.join("; "))) }
}

impl Agreements {
    /// Waits until every source has answered, or was found away; at most this long.
    pub async fn started(&self, at_most: Duration) {
        let mut current = self.subscribe();
        let all = current.wait_for(|s| s.sources.iter().all(|source| source.state != SourceState::Starting));
        tokio::select! {
            // The sender lives in `self`.
            _ = all => {}
            () = self.clock.sleep(at_most) => {}
        }
    }
}

/// The addresses of a comma-separated list. The hosts of a replica set are separated by commas, too: what follows
/// `mongodb://` and looks like `host:port` belongs to it until its path begins.
pub fn addresses(list: &str) -> Vec<String> {
    let mut found: Vec<String> = Vec::new();
    for piece in list.split(',').map(str::trim).filter(|piece| !piece.is_empty()) {
        match found.last_mut() {
            Some(last) if lacks_hosts(last) && is_host_and_port(piece) => {
                last.push(',');
                last.push_str(piece);
            }
            _ => found.push(piece.to_owned()),
        }
    }
    found
}

fn lacks_hosts(address: &str) -> bool {
    address.strip_prefix("mongodb://").is_some_and(|rest| !rest.contains(['/', '?']))
}

fn is_host_and_port(piece: &str) -> bool {
    let authority = piece.split(['/', '?']).next().unwrap_or_default();
    authority.rsplit_once(':').is_some_and(|(host, port)| {
        !host.is_empty() && !host.contains(['/', '\\']) && !port.is_empty() && port.bytes().all(|b| b.is_ascii_digit())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hosts_of_a_replica_set_stay_together() {
        let list = "agreements, mongodb://u:p@a:1,b:2,c:3/registry?replicaSet=rs ,http://r:5400,mongodb://a,more";
        assert_eq!(
            addresses(list),
            ["agreements", "mongodb://u:p@a:1,b:2,c:3/registry?replicaSet=rs", "http://r:5400", "mongodb://a", "more"]
        );
        assert!(addresses(" , ").is_empty());
    }
}
