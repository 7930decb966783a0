//! Floor 3: the HTTP client that nodes and collectors use: allow-list, timeouts, size cap, redirects checked.

/// Bounds and rules of outgoing connections.
#[derive(Clone, Debug, Default)]
pub struct NetOptions {}

/// Makes outgoing calls under one set of rules.
#[derive(Clone, Debug, Default)]
pub struct Net {}
