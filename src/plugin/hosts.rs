//! Host patterns: which hosts a plugin asks for and which it is granted.
//!
//! | form | example | names |
//! |---|---|---|
//! | `host` | `api.example.org`, `localhost`, `10.1.2.3` | that one, any port; its address may be a private one |
//! | `host:port` | `api.example.org:8443`, `[::1]:80` | that one, that port |
//! | `*.domain` | `*.example.org` | every name below it (not itself), any port; public addresses |
//! | `*.domain:port` | `*.example.org:443` | the same on one port |
//! | `*` | `*` | every public address |
//!
//! Which addresses a name may lead to is held by [`crate::net::Net::granting`]: a wildcard does not reach private
//! ones, because whoever owns the domain could point a name at them.

use std::net::IpAddr;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A pattern in one of the forms above.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct HostPattern {
    kind: Kind,
    port: Option<u16>,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Kind {
    Any,
    Suffix(String),
    Name(String),
    Address(IpAddr),
}

impl HostPattern {
    /// Whether everything that `narrower` names is named by this one, too.
    pub fn covers(&self, narrower: &HostPattern) -> bool {
        if self.port.is_some() && self.port != narrower.port {
            return false;
        }
        match (&self.kind, &narrower.kind) {
            (Kind::Any, _) => true,
            (Kind::Suffix(wide), Kind::Suffix(narrow)) => {
                wide == narrow || narrow.strip_suffix(wide.as_str()).is_some_and(|rest| rest.ends_with('.'))
            }
            (Kind::Suffix(wide), Kind::Name(name)) => {
                name.strip_suffix(wide.as_str()).is_some_and(|rest| rest.ends_with('.'))
            }
            (a, b) => a == b,
        }
    }
}

/// Why a text is no pattern, and what would be one where that can be told.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("\"{text}\" is no host pattern")]
pub struct BadPattern {
    pub text: String,
    /// What was probably meant.
    pub hint: Option<String>,
}

/// What the forms are, for messages.
pub const FORMS: &str = "host, host:port, *.domain or *";

impl FromStr for HostPattern {
    type Err = BadPattern;

    fn from_str(text: &str) -> Result<Self, BadPattern> {
        parse(text).ok_or_else(|| BadPattern { text: text.into(), hint: meant(text) })
    }
}

fn parse(text: &str) -> Option<HostPattern> {
    if let Ok(ip) = text.trim_matches(['[', ']']).parse::<IpAddr>() {
        return Some(HostPattern { kind: Kind::Address(ip.to_canonical()), port: None });
    }
    if let Ok(address) = text.parse::<std::net::SocketAddr>() {
        return Some(HostPattern { kind: Kind::Address(address.ip().to_canonical()), port: Some(address.port()) });
    }
    let (name, port) = match text.split_once(':') {
        Some((name, port)) => (name, Some(port.parse().ok().filter(|p| *p > 0)?)),
        None => (text, None),
    };
    if name == "*" {
        return port.is_none().then_some(HostPattern { kind: Kind::Any, port });
    }
    let name = name.trim_end_matches('.').to_ascii_lowercase();
    let kind = match name.strip_prefix("*.") {
        Some(suffix) => is_name(suffix).then(|| Kind::Suffix(suffix.to_string()))?,
        None => is_name(&name).then_some(Kind::Name(name))?,
    };
    Some(HostPattern { kind, port })
}

fn is_name(name: &str) -> bool {
    // A name whose last part is a number would be read as an IPv4 address by a URL parser.
    let last = name.rsplit('.').next().unwrap_or_default();
    let label = |l: &str| {
        let legal = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_');
        (1..=63).contains(&l.len()) && l.bytes().all(legal) && !l.starts_with('-') && !l.ends_with('-')
    };
    name.len() <= 253 && name.split('.').all(label) && !last.bytes().all(|b| b.is_ascii_digit())
}

/// The pattern inside a URL, or below a wildcard in the wrong place.
fn meant(text: &str) -> Option<String> {
    if text.contains("://") {
        let url = url::Url::parse(text).ok()?;
        let host = url.host_str()?;
        let meant = url.port().map_or_else(|| host.to_string(), |port| format!("{host}:{port}"));
        return Some(format!("write the host alone: \"{meant}\""));
    }
    if text.contains('/') {
        let host = text.split('/').next().filter(|h| parse(h).is_some())?;
        return Some(format!("a host has no path; write \"{host}\""));
    }
    let domain = text.trim_start_matches(['*', '.']);
    if text.contains('*') && parse(domain).is_some() {
        return Some(format!("write \"*.{domain}\""));
    }
    None
}

impl std::fmt::Display for HostPattern {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.kind {
            Kind::Any => f.write_str("*")?,
            Kind::Suffix(suffix) => write!(f, "*.{suffix}")?,
            Kind::Name(name) => f.write_str(name)?,
            Kind::Address(IpAddr::V6(ip)) if self.port.is_some() => write!(f, "[{ip}]")?,
            Kind::Address(ip) => write!(f, "{ip}")?,
        }
        self.port.map_or(Ok(()), |port| write!(f, ":{port}"))
    }
}

impl TryFrom<String> for HostPattern {
    type Error = BadPattern;

    fn try_from(text: String) -> Result<Self, BadPattern> {
        text.parse()
    }
}

impl From<HostPattern> for String {
    fn from(pattern: HostPattern) -> String {
        pattern.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pattern(text: &str) -> HostPattern {
        text.parse().unwrap_or_else(|e| panic!("{e}"))
    }

    #[test]
    fn a_pattern_is_written_as_it_is_read() {
        for text in ["api.example.org", "a.example:8443", "*.example.org:80", "*", "[::1]:80", "::1", "10.1.2.3"] {
            assert_eq!(pattern(text).to_string(), text);
        }
        assert_eq!(pattern("API.Example.org.").to_string(), "api.example.org");
        assert_eq!(pattern("[::1]").to_string(), "::1");
    }

    #[test]
    fn what_is_no_pattern_is_refused_and_what_was_meant_is_said() {
        for (text, hint) in [
            ("https://api.example.org/v1", Some("write the host alone: \"api.example.org\"")),
            ("http://localhost:8080", Some("write the host alone: \"localhost:8080\"")),
            ("api.example.org/v1", Some("a host has no path; write \"api.example.org\"")),
            ("*example.org", Some("write \"*.example.org\"")),
            ("a b", None),
            ("", None),
            ("a..b", None),
            ("host:99999", None),
            ("host:0", None),
            ("2130706433", None),
            ("0x7f.1", None),
            ("-a.example", None),
        ] {
            let refused = text.parse::<HostPattern>().expect_err(text);
            assert_eq!(refused.hint.as_deref(), hint, "{text}");
        }
    }

    #[test]
    fn a_grant_may_be_narrower_than_what_is_asked_but_not_wider() {
        for (wide, narrow, expected) in [
            ("*", "*.example.org:80", true),
            ("*", "localhost:1", true),
            ("*.example.org", "*.a.example.org", true),
            ("*.example.org", "a.example.org:443", true),
            ("*.example.org:443", "a.example.org", false),
            ("*.example.org", "example.org", false),
            ("a.example.org", "a.example.org:443", true),
            ("a.example.org:443", "a.example.org", false),
            ("a.example.org", "*", false),
            ("a.example.org", "b.example.org", false),
        ] {
            assert_eq!(pattern(wide).covers(&pattern(narrow)), expected, "{wide} {narrow}");
        }
    }
}
