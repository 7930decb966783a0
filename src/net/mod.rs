//! Floor 3: outgoing connections of nodes and collectors: HTTP calls and plain streams, with an allow-list, timeouts, a
//! size cap, redirects checked.
//!
//! Clients are built on first use: a process that calls nobody pays nothing. Plain HTTP needs no certificates; the
//! system's are read when the first `https` URL is called.

mod agent;
mod cookies;
mod digest;
mod error;
mod listen;
mod places;
mod resolve;
mod rules;
mod stream;
#[cfg(test)]
mod tests;
mod tls;

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::header::{
    AUTHORIZATION, CONTENT_LENGTH, CONTENT_TYPE, COOKIE, DATE, HOST, LOCATION, SET_COOKIE, TRANSFER_ENCODING,
};
use http::{HeaderMap, HeaderValue, Method};
use reqwest::Client;
use url::Url;

use crate::model::Diagnostic;
pub use agent::{Agent, Proxy};
use cookies::Cookies;
pub use digest::Credentials;
pub use error::NetError;
use error::authority;
use places::Places;
use resolve::CheckedResolver;
use rules::Rules;
pub use stream::{Encryption, Stream};
pub use tls::{Tls, TlsOptions};

/// Bounds and rules of outgoing connections.
#[derive(Clone, Debug)]
pub struct NetOptions {
    /// Which hosts may be called. Empty: all but link-local and cloud metadata addresses. Otherwise only what an
    /// entry names:
    ///
    /// | form | example | allows |
    /// |---|---|---|
    /// | `*` | `*` | what an empty list allows |
    /// | name | `api.example.org` | that name, any port |
    /// | name:port | `api.example.org:8443` | that name on that port |
    /// | `*.suffix` | `*.example.org` | every name below the suffix (not the suffix itself), any port |
    /// | `*.suffix:port` | `*.example.org:443` | the same on one port |
    /// | address | `10.1.2.3`, `::1` | that address, also when a name resolves to it |
    /// | address:port | `10.1.2.3:80`, `[::1]:80` | that address on that port |
    /// | network | `10.0.0.0/8`, `fd00::/8` | every address in it |
    ///
    /// Link-local and metadata addresses (`169.254.0.0/16`, `fe80::/10`, `fd00:ec2::254`, `fd20:ce::254`,
    /// `100.100.100.200`, `168.63.129.16`, `192.0.0.192`) are reached only by an entry that names the address.
    pub allow: Vec<String>,
    /// Hosts that may be connected to by TLS without a check of their certificate, in the same forms; none when empty.
    pub unverified: Vec<String>,
    /// Time to open a connection, milliseconds.
    pub connect_ms_max: u64,
    /// Time of a request from first to last byte, redirects included, milliseconds.
    pub request_ms_max: u64,
    /// Size of an answer's body, bytes.
    pub response_bytes_max: usize,
    /// Redirects followed for one request.
    pub redirects_max: u32,
    /// Requests open at once; more wait for a place within their own time.
    pub requests_max: usize,
    /// Requests open at once to one host and port.
    pub host_requests_max: usize,
    /// Requests to one host and port that may wait; further ones fail at once (`EAGAIN`).
    pub waiting_max: usize,
}

impl Default for NetOptions {
    fn default() -> Self {
        NetOptions {
            allow: Vec::new(),
            unverified: Vec::new(),
            connect_ms_max: 2_000,
            request_ms_max: 120_000,
            response_bytes_max: 64 << 20,
            redirects_max: 21,
            requests_max: 256,
            host_requests_max: 64,
            waiting_max: 10_000,
        }
    }
}

/// One call to make.
#[derive(Clone, Debug)]
pub struct NetRequest {
    pub method: Method,
    /// `http` or `https`. User and password in it are not sent; give an `authorization` header.
    pub url: Url,
    /// `content-length` and `transfer-encoding` are ours to say and are left out.
    pub headers: HeaderMap,
    pub body: Bytes,
    /// Cookies to begin with, as `name=value`; those set on the way are sent on, by the rules for cookies.
    pub cookies: Vec<String>,
    /// Whole time; [`NetOptions::request_ms_max`] when `None`.
    pub timeout: Option<Duration>,
    /// Redirects to follow; [`NetOptions::redirects_max`] when `None`; with 0 the redirect is the answer.
    pub redirects_max: Option<u32>,
    /// Redirects other than 303 are followed with the same method and body, as Node-RED does; else as browsers do.
    pub keeps_method: bool,
    /// A body without a byte is announced (`content-length: 0`).
    pub sends_empty_body: bool,
    /// Largest body to accept; [`NetOptions::response_bytes_max`] when `None`.
    pub response_bytes_max: Option<usize>,
    /// Answers a digest challenge of the origin of `url`; other origins, reached by redirects, learn nothing.
    pub digest: Option<Credentials>,
    /// The caller's own TLS settings and proxy.
    pub agent: Option<Arc<Agent>>,
}

impl NetRequest {
    pub fn new(method: Method, url: Url) -> NetRequest {
        NetRequest {
            method,
            url,
            headers: HeaderMap::new(),
            body: Bytes::new(),
            cookies: Vec::new(),
            timeout: None,
            redirects_max: None,
            keeps_method: false,
            sends_empty_body: false,
            response_bytes_max: None,
            digest: None,
            agent: None,
        }
    }
}

/// A whole answer, whatever its status.
#[derive(Clone, Debug)]
pub struct NetResponse {
    pub status: u16,
    pub headers: HeaderMap,
    pub body: Bytes,
    /// Where the answer came from, after redirects.
    pub url: Url,
    /// Redirects followed, in order.
    pub redirects: Vec<Redirect>,
    /// Why the digest challenge of a 401 could not be answered, when [`NetRequest::digest`] was there to do so.
    pub digest_problem: Option<String>,
}

/// A redirect that was followed.
#[derive(Clone, Debug, PartialEq)]
pub struct Redirect {
    /// The `location` header as received.
    pub location: String,
    /// Its `set-cookie` headers.
    pub set_cookies: Vec<String>,
}

/// Stands for the network in `probity test`: gives the answer to every call instead of making it.
pub type Answering = Arc<dyn Fn(&NetRequest) -> Result<NetResponse, NetError> + Send + Sync>;

/// Makes outgoing calls under one set of rules.
pub struct Net {
    answering: Option<Answering>,
    options: NetOptions,
    rules: Arc<Rules>,
    unverified: Arc<Rules>,
    plain: OnceLock<Client>,
    tls: OnceLock<Client>,
    places: Arc<Places>,
}

impl std::fmt::Debug for Net {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Net").field("options", &self.options).finish_non_exhaustive()
    }
}

impl Default for Net {
    fn default() -> Self {
        Net::new(NetOptions::default()).expect("the defaults have no rule that could be wrong")
    }
}

impl Net {
    /// Reads the rules; every entry of `allow` that is none is reported.
    pub fn new(options: NetOptions) -> Result<Net, Vec<Diagnostic>> {
        let (allow, unverified) =
            (Rules::parse("net.allow", &options.allow), Rules::parse("net.unverified", &options.unverified));
        let (rules, unverified) = match (allow, unverified) {
            (Ok(allow), Ok(unverified)) => (Arc::new(allow), Arc::new(unverified)),
            (allow, unverified) => {
                return Err([allow.err(), unverified.err()].into_iter().flatten().flatten().collect());
            }
        };
        let places = Places::new(&options);
        Ok(Net { answering: None, options, rules, unverified, plain: OnceLock::new(), tls: OnceLock::new(), places })
    }

    /// A net that calls nobody: `answer` stands for the world outside.
    pub fn answering(answer: Answering) -> Net {
        Net { answering: Some(answer), ..Net::default() }
    }

    /// The same net for a caller that may reach only what `allow` grants, within the rules of this one: an empty list
    /// grants nothing, `*` and `*.suffix` public addresses, an exact name also private ones (never this machine), an
    /// address or network itself.
    pub fn granting(&self, allow: &[String]) -> Result<Net, Vec<Diagnostic>> {
        let rules = Arc::new(Rules::grant(allow, self.rules.clone())?);
        let places = self.places.clone();
        let (plain, tls) = (OnceLock::new(), OnceLock::new());
        let (answering, options, unverified) = (self.answering.clone(), self.options.clone(), self.unverified.clone());
        Ok(Net { answering, options, rules, unverified, plain, tls, places })
    }

    /// Calls that are open or wait, by host and port, the busiest first; at most so many hosts.
    pub fn open_calls(&self, hosts_max: usize) -> Vec<(String, usize)> {
        self.places.report(hosts_max)
    }

    pub fn options(&self) -> &NetOptions {
        &self.options
    }

    /// Makes a call and reads the whole answer. Every connection, also after a redirect, is held to the rules with
    /// the addresses it really goes to.
    pub async fn request(&self, request: NetRequest) -> Result<NetResponse, NetError> {
        if let Some(answer) = &self.answering {
            return answer(&request);
        }
        let limit = request.timeout.unwrap_or(Duration::from_millis(self.options.request_ms_max));
        let host = error::authority(&request.url);
        match tokio::time::timeout(limit, self.exchange(request)).await {
            Ok(answer) => answer,
            Err(_) => Err(NetError::new("ETIMEDOUT", format!("no answer from {host} within {} ms", limit.as_millis()))),
        }
    }

    async fn exchange(&self, mut request: NetRequest) -> Result<NetResponse, NetError> {
        let mut place = self.places.take(&request.url).await?;
        let follow = request.redirects_max.unwrap_or(self.options.redirects_max);
        let mut cookies = Cookies::default();
        for cookie in &request.cookies {
            cookies.set(cookie, &request.url, None);
        }
        for name in [CONTENT_LENGTH, TRANSFER_ENCODING] {
            request.headers.remove(name);
        }
        let mut redirects = Vec::new();
        let mut login = Login { origin: request.url.origin(), answered: Vec::new(), problem: None };
        loop {
            // Errors at both ends: a URL with a password must not be sent on, nor shown.
            let _ = request.url.set_username("").and_then(|()| request.url.set_password(None));
            let answer = self.send(&request, &cookies).await?;
            for line in answer.headers().get_all(SET_COOKIE) {
                cookies.set(&text(Some(line)), &request.url, answer.headers().get(DATE));
            }
            if answer.status() == http::StatusCode::UNAUTHORIZED && login.answers(&mut request, answer.headers()) {
                continue;
            }
            match target(&answer, &request.url).filter(|_| follow > 0) {
                None => {
                    let answer = self.read(answer, &request, redirects).await?;
                    return Ok(NetResponse { digest_problem: login.problem, ..answer });
                }
                Some(_) if redirects.len() >= follow as usize => {
                    return Err(NetError::new(
                        "ERR_TOO_MANY_REDIRECTS",
                        format!("Redirected {follow} times. Aborting."),
                    ));
                }
                Some(to) => {
                    redirects.push(Redirect {
                        location: text(answer.headers().get(LOCATION)),
                        set_cookies: answer.headers().get_all(SET_COOKIE).iter().map(|v| text(Some(v))).collect(),
                    });
                    login.forget(&mut request);
                    let elsewhere = authority(&to) != authority(&request.url);
                    redirect(&mut request, answer.status().as_u16(), to);
                    if elsewhere {
                        // Given back before another is waited for: who holds one while waiting may wait for ever.
                        drop((answer, place));
                        place = self.places.take(&request.url).await?;
                    }
                }
            }
        }
    }

    /// One hop.
    async fn send(&self, request: &NetRequest, cookies: &Cookies) -> Result<reqwest::Response, NetError> {
        self.rules.check(&request.url).await?;
        let client = self.client_for(request).await?;
        let mut headers = request.headers.clone();
        if let Some(header) = cookies.header(&request.url) {
            headers.insert(COOKIE, header);
        }
        if request.sends_empty_body && request.body.is_empty() {
            headers.insert(CONTENT_LENGTH, HeaderValue::from_static("0"));
        }
        let hop = client.request(request.method.clone(), request.url.clone()).headers(headers);
        let hop = if request.body.is_empty() { hop } else { hop.body(request.body.clone()) };
        let limit = self.options.connect_ms_max;
        hop.send().await.map_err(|e| NetError::of(&e, &request.url, limit))
    }

    async fn read(
        &self,
        mut answer: reqwest::Response,
        request: &NetRequest,
        redirects: Vec<Redirect>,
    ) -> Result<NetResponse, NetError> {
        let max = request.response_bytes_max.unwrap_or(self.options.response_bytes_max);
        let too_large = || {
            let host = error::authority(&request.url);
            NetError::new("EMSGSIZE", format!("the answer of {host} is larger than {max} bytes (response_bytes_max)"))
        };
        if answer.content_length().is_some_and(|n| n > max as u64) && request.method != Method::HEAD {
            return Err(too_large());
        }
        let mut body = BytesMut::new();
        let limit = self.options.connect_ms_max;
        while let Some(chunk) = answer.chunk().await.map_err(|e| NetError::of(&e, &request.url, limit))? {
            if body.len() + chunk.len() > max {
                return Err(too_large());
            }
            body.extend_from_slice(&chunk);
        }
        let (status, headers) = (answer.status().as_u16(), std::mem::take(answer.headers_mut()));
        Ok(NetResponse {
            status,
            headers,
            body: body.freeze(),
            url: request.url.clone(),
            redirects,
            digest_problem: None,
        })
    }

    /// The client of the caller's agent, or our own.
    async fn client_for<'a>(&'a self, request: &'a NetRequest) -> Result<&'a Client, NetError> {
        let Some(agent) = &request.agent else { return self.client(&request.url) };
        if let Some(proxy) = agent.proxy.as_ref().filter(|proxy| proxy.serves(&request.url)) {
            self.rules.check(&proxy.url).await?;
        }
        if let Some(tls) = agent.tls.as_ref().filter(|tls| tls.unverified && request.url.scheme() == "https") {
            let port = request.url.port_or_known_default().unwrap_or(443);
            self.may_go_unverified(request.url.host_str().unwrap_or_default(), port, tls)?;
        }
        agent.client(self)
    }

    fn client(&self, url: &Url) -> Result<&Client, NetError> {
        match url.scheme() {
            "http" => get_or_try_init(&self.plain, || self.build(false)),
            "https" => get_or_try_init(&self.tls, || self.build(true)),
            other => {
                Err(NetError::new("ERR_INVALID_PROTOCOL", format!("cannot call {other}: URLs; use http or https")))
            }
        }
    }

    fn build(&self, tls: bool) -> Result<Client, NetError> {
        let builder = self.builder();
        // Without `https` no certificates are read, which takes time and memory.
        finish(if tls { builder } else { builder.tls_backend_preconfigured(no_certificates()).http1_only() })
    }

    #[expect(clippy::disallowed_methods, reason = "the one place that makes HTTP clients")]
    fn builder(&self) -> reqwest::ClientBuilder {
        // An error means that a provider was chosen before; it will do.
        let _ = rustls::crypto::ring::default_provider().install_default();
        Client::builder()
            .user_agent(concat!("probity/", env!("CARGO_PKG_VERSION")))
            .connect_timeout(Duration::from_millis(self.options.connect_ms_max))
            .pool_max_idle_per_host(32)
            .redirect(reqwest::redirect::Policy::none())
            // The body is given as it came, as Node-RED gives it.
            .no_gzip()
            .no_proxy()
            .dns_resolver(Arc::new(CheckedResolver { rules: self.rules.clone() }))
    }
}

fn finish(builder: reqwest::ClientBuilder) -> Result<Client, NetError> {
    builder.build().map_err(|e| {
        let why = error::root_cause(&e);
        let message = format!("cannot set up TLS: {why}; install the ca-certificates package or set SSL_CERT_FILE");
        NetError::new("ERR_TLS_SETUP", message)
    })
}

/// How far a call has come with a server that asks for a digest.
struct Login {
    origin: url::Origin,
    /// Nonces answered for this URL: one, and a second when the server calls the first too old.
    answered: Vec<String>,
    problem: Option<String>,
}

impl Login {
    /// Puts the answer to a 401's challenge into the request; false when the 401 stands.
    fn answers(&mut self, request: &mut NetRequest, headers: &HeaderMap) -> bool {
        let Some(credentials) = request.digest.as_ref().filter(|_| request.url.origin() == self.origin) else {
            return false;
        };
        match digest::respond(credentials, request, headers) {
            Err(problem) => {
                self.problem = Some(problem);
                false
            }
            Ok(found) => {
                let again = self.answered.len() == 1 && found.stale && self.answered[0] != found.nonce;
                if !self.answered.is_empty() && !again {
                    return false;
                }
                self.answered.push(found.nonce);
                request.headers.insert(AUTHORIZATION, found.authorization);
                true
            }
        }
    }

    /// An answer is right for one URL and method; the next hop gets its own.
    fn forget(&mut self, request: &mut NetRequest) {
        if !self.answered.is_empty() {
            self.answered.clear();
            request.headers.remove(AUTHORIZATION);
        }
    }
}

/// A TLS configuration that trusts nobody, for the client that never uses it.
fn no_certificates() -> rustls::ClientConfig {
    rustls::ClientConfig::builder().with_root_certificates(rustls::RootCertStore::empty()).with_no_client_auth()
}

fn get_or_try_init(
    cell: &OnceLock<Client>,
    make: impl FnOnce() -> Result<Client, NetError>,
) -> Result<&Client, NetError> {
    match cell.get() {
        Some(client) => Ok(client),
        None => {
            let client = make()?;
            Ok(cell.get_or_init(|| client))
        }
    }
}

fn text(value: Option<&HeaderValue>) -> String {
    value.map(|v| String::from_utf8_lossy(v.as_bytes()).into_owned()).unwrap_or_default()
}

/// Where a redirect leads; `None` when the answer is none.
fn target(answer: &reqwest::Response, url: &Url) -> Option<Url> {
    matches!(answer.status().as_u16(), 300 | 301 | 302 | 303 | 304 | 307 | 308)
        .then(|| answer.headers().get(LOCATION))
        .flatten()
        .and_then(|location| url.join(&String::from_utf8_lossy(location.as_bytes())).ok())
        .filter(|to| matches!(to.scheme(), "http" | "https"))
}

/// Turns the request to its next hop: all but 307 and 308, or only 303 where the method is to be kept, become GET
/// without a body (HEAD stays HEAD), and what was meant for one host is not told to another.
fn redirect(request: &mut NetRequest, status: u16, to: Url) {
    let as_get = if request.keeps_method { status == 303 } else { !matches!(status, 307 | 308) };
    if as_get && request.method != Method::HEAD {
        request.method = Method::GET;
        request.body = Bytes::new();
        request.sends_empty_body = false;
        request.headers.remove(CONTENT_TYPE);
    }
    if to.origin() != request.url.origin() {
        for name in [AUTHORIZATION, COOKIE, HOST] {
            request.headers.remove(name);
        }
    }
    request.url = to;
}
