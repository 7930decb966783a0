//! What a caller brings of its own to HTTP calls: TLS settings and a proxy. Its connections are held to the same rules.

use std::sync::{Arc, OnceLock};

use reqwest::Client;
use url::Url;

use super::tls::Tls;
use super::{Net, NetError, authority};

/// An HTTP proxy that calls go through. Printed without the password.
#[derive(Clone)]
pub struct Proxy {
    /// `http` or `https`.
    pub url: Url,
    /// User and password for the proxy.
    pub login: Option<(String, String)>,
    /// Hosts that are called past the proxy, as in `NO_PROXY`: `host`, `host:port`, `.suffix`, `*suffix`, `*`.
    pub except: Vec<String>,
}

impl std::fmt::Debug for Proxy {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Proxy").field("at", &authority(&self.url)).field("except", &self.except).finish_non_exhaustive()
    }
}

impl Proxy {
    /// Whether calls of this URL go through the proxy.
    pub fn serves(&self, url: &Url) -> bool {
        let host = url.host_str().unwrap_or_default().to_ascii_lowercase();
        let port = url.port_or_known_default().unwrap_or_default();
        if self.except.join(",") == "*" {
            return false;
        }
        let words = self.except.iter().flat_map(|entry| entry.split([',', ' ', '\t'])).filter(|word| !word.is_empty());
        !words.map(str::to_ascii_lowercase).any(|word| {
            let (name, only) = match word.rsplit_once(':').map(|(name, port)| (name, port.parse::<u16>())) {
                Some((name, Ok(port))) if !name.is_empty() => (name, Some(port)),
                _ => (word.as_str(), None),
            };
            if only.is_some_and(|only| only != port) {
                return false;
            }
            match name.strip_prefix('*') {
                Some(suffix) => host.ends_with(suffix),
                None if name.starts_with('.') => host.ends_with(name),
                None => host == name,
            }
        })
    }
}

/// A caller's own TLS settings and proxy, with the connections they lead to.
#[derive(Debug, Default)]
pub struct Agent {
    pub(super) tls: Option<Arc<Tls>>,
    pub(super) proxy: Option<Proxy>,
    client: OnceLock<Client>,
}

impl Agent {
    pub fn new(tls: Option<Arc<Tls>>, proxy: Option<Proxy>) -> Agent {
        Agent { tls, proxy, client: OnceLock::new() }
    }

    /// The client of this agent, made at its first call.
    pub(super) fn client(&self, net: &Net) -> Result<&Client, NetError> {
        super::get_or_try_init(&self.client, || {
            let mut builder = net.builder();
            if let Some(tls) = &self.tls {
                builder = builder.tls_backend_preconfigured((*tls.config).clone()).http1_only();
            }
            if let Some(proxy) = self.proxy.clone() {
                let (at, login) = (proxy.url.clone(), proxy.login.clone());
                let mut through = reqwest::Proxy::custom(move |url| proxy.serves(url).then(|| at.clone()));
                if let Some((user, password)) = login {
                    through = through.basic_auth(&user, &password);
                }
                builder = builder.proxy(through);
            }
            super::finish(builder)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exceptions_are_read_as_in_no_proxy() {
        for (except, url, through) in [
            ("", "http://a.example", true),
            ("*", "http://a.example", false),
            ("a.example", "http://a.example", false),
            ("a.example", "http://b.a.example", true),
            (".example", "http://a.example", false),
            ("*.example", "http://a.example", false),
            ("a.example:81", "http://a.example", true),
            ("a.example:80", "http://a.example", false),
            ("x, 10.0.0.1", "http://10.0.0.1:1880/x", false),
            ("A.Example", "https://a.example/", false),
        ] {
            let proxy = Proxy {
                url: Url::parse("http://proxy:3128").unwrap(),
                login: None,
                except: except.split(',').map(str::to_string).collect(),
            };
            assert_eq!(proxy.serves(&Url::parse(url).unwrap()), through, "{except} {url}");
        }
    }
}
