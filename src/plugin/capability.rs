//! What a plugin may be granted, capability by capability.

use serde::{Deserialize, Serialize};

/// One thing a plugin can ask for. Everything else it cannot have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Capability {
    Clock,
    Random,
    Secret,
    Http,
    State,
    Evidence,
    TypedInput,
    Context,
    Files,
}

impl Capability {
    pub const ALL: [Capability; 9] = [
        Capability::Clock,
        Capability::Random,
        Capability::Secret,
        Capability::Http,
        Capability::State,
        Capability::Evidence,
        Capability::TypedInput,
        Capability::Context,
        Capability::Files,
    ];

    /// As manifests, grants and the command line write it.
    pub fn as_str(self) -> &'static str {
        match self {
            Capability::Clock => "clock",
            Capability::Random => "random",
            Capability::Secret => "secret",
            Capability::Http => "http",
            Capability::State => "state",
            Capability::Evidence => "evidence",
            Capability::TypedInput => "typed-input",
            Capability::Context => "context",
            Capability::Files => "files",
        }
    }

    /// The interface of the contract (`plugins/wit`) that needs this capability.
    pub fn interface(self) -> &'static str {
        match self {
            Capability::Secret => "secrets",
            other => other.as_str(),
        }
    }

    pub fn parse(text: &str) -> Option<Capability> {
        Self::ALL.into_iter().find(|c| c.as_str() == text)
    }

    /// The capability that an interface of the contract needs; `None` for those always granted.
    pub fn of_interface(interface: &str) -> Option<Capability> {
        Self::ALL.into_iter().find(|c| c.interface() == interface)
    }

    /// `clock, random, …`, for messages.
    pub fn list() -> String {
        Self::ALL.map(Capability::as_str).join(", ")
    }
}

impl std::fmt::Display for Capability {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}
