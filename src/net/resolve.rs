//! Names to addresses, only to addresses that the rules admit: what was checked is what is connected to.

use std::net::SocketAddr;
use std::sync::Arc;

use futures_util::future::BoxFuture;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};

use super::rules::Rules;

/// No address is known for this name.
#[derive(Clone, Debug, thiserror::Error)]
#[error("getaddrinfo ENOTFOUND {0}")]
pub(super) struct NotFound(pub(super) String);

type Found = BoxFuture<'static, Result<Vec<SocketAddr>, NotFound>>;

/// Who knows the addresses of names.
#[derive(Clone)]
pub(super) struct Lookup(Arc<dyn Fn(String) -> Found + Send + Sync>);

impl Lookup {
    /// The system.
    pub(super) fn system() -> Lookup {
        Lookup::new(|name| {
            Box::pin(async move {
                let found = tokio::net::lookup_host((name.as_str(), 0)).await.map(Iterator::collect);
                found.map_err(|_| NotFound(name))
            })
        })
    }

    pub(super) fn new(ask: impl Fn(String) -> Found + Send + Sync + 'static) -> Lookup {
        Lookup(Arc::new(ask))
    }

    pub(super) async fn addresses(&self, name: &str) -> Result<Vec<SocketAddr>, NotFound> {
        (self.0)(name.to_string()).await
    }
}

impl std::fmt::Debug for Lookup {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Lookup")
    }
}

pub(super) struct CheckedResolver {
    pub(super) rules: Arc<Rules>,
}

impl Resolve for CheckedResolver {
    fn resolve(&self, name: Name) -> Resolving {
        let rules = self.rules.clone();
        Box::pin(async move {
            let found = rules.lookup.addresses(name.as_str()).await?;
            let admitted = rules.admitted(name.as_str(), found)?;
            let addresses: Addrs = Box::new(admitted.into_iter());
            Ok(addresses)
        })
    }
}
