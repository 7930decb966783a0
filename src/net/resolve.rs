//! Names to addresses, only to addresses that the rules admit: what was checked is what is connected to.

use std::net::SocketAddr;
use std::sync::Arc;

use reqwest::dns::{Addrs, Name, Resolve, Resolving};

use super::rules::Rules;

/// No address is known for this name.
#[derive(Clone, Debug, thiserror::Error)]
#[error("getaddrinfo ENOTFOUND {0}")]
pub(super) struct NotFound(pub(super) String);

pub(super) struct CheckedResolver {
    pub(super) rules: Arc<Rules>,
}

impl Resolve for CheckedResolver {
    fn resolve(&self, name: Name) -> Resolving {
        let rules = self.rules.clone();
        Box::pin(async move {
            let found = lookup(name.as_str()).await?;
            let admitted = rules.admitted(name.as_str(), found)?;
            let addresses: Addrs = Box::new(admitted.into_iter());
            Ok(addresses)
        })
    }
}

/// Asks the system.
pub(super) async fn lookup(name: &str) -> Result<Vec<SocketAddr>, NotFound> {
    match tokio::net::lookup_host((name, 0)).await {
        Ok(found) => Ok(found.collect()),
        Err(_) => Err(NotFound(name.to_string())),
    }
}
