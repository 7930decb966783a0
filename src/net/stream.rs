//! Connections that are not HTTP (MQTT, websockets, plain TCP), under the same rules as calls.

use std::net::SocketAddr;
use std::time::Duration;

use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UdpSocket};
use url::{Host, Url};

use super::error::{io_code, tls_code};
use super::tls::Tls;
use super::{Net, NetError};

/// A connection, encrypted or not.
pub trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

/// Whether and how a connection is encrypted.
#[derive(Clone, Copy, Debug)]
pub enum Encryption<'a> {
    None,
    /// With what the system trusts.
    System,
    With(&'a Tls),
}

impl Net {
    /// Connects to a host, which may be an address, within `net.connect_ms_max`, TLS included.
    pub async fn connect(&self, host: &str, port: u16, how: Encryption<'_>) -> Result<Box<dyn Stream>, NetError> {
        let limit = Duration::from_millis(self.options.connect_ms_max);
        match tokio::time::timeout(limit, self.connect_now(host, port, how)).await {
            Ok(connected) => connected,
            Err(_) => {
                let text = format!("cannot connect to {host}:{port} within {} ms", limit.as_millis());
                Err(NetError::new("ETIMEDOUT", text))
            }
        }
    }

    async fn connect_now(&self, host: &str, port: u16, how: Encryption<'_>) -> Result<Box<dyn Stream>, NetError> {
        let addresses = self.addresses(host, port).await?;
        let tls = match how {
            Encryption::None => None,
            Encryption::System => Some(Tls::of_system()?),
            Encryption::With(tls) => Some(tls.clone()),
        };
        if let Some(tls) = tls.as_ref().filter(|tls| tls.unverified) {
            self.may_go_unverified(host, port, tls)?;
        }
        let tcp = first(&addresses).await.map_err(|e| of_io(&e, host, port))?;
        // Small messages are to leave at once; a connection that cannot do so works, too.
        let _ = tcp.set_nodelay(true).is_ok();
        let Some(tls) = tls else { return Ok(Box::new(tcp)) };
        let name = match &tls.server_name {
            Some(name) => name.clone(),
            None => ServerName::try_from(bare(host).to_string())
                .map_err(|_| NetError::new("ERR_INVALID_URL", format!("\"{host}\" is no host name")))?,
        };
        let connected = tokio_rustls::TlsConnector::from(tls.config.clone()).connect(name, tcp).await;
        Ok(Box::new(connected.map_err(|e| of_io(&e, host, port))?))
    }

    /// The addresses of a host that may be connected to on this port.
    pub async fn addresses(&self, host: &str, port: u16) -> Result<Vec<SocketAddr>, NetError> {
        if self.answering.is_some() {
            let text = format!("no connection to {host}:{port}: this run is cut off from the network");
            return Err(NetError::new("EACCES", text));
        }
        let url = url_of(host, port)?;
        self.rules.check(&url).await?;
        match url.host() {
            Some(Host::Ipv4(ip)) => Ok(vec![SocketAddr::new(ip.into(), port)]),
            Some(Host::Ipv6(ip)) => Ok(vec![SocketAddr::new(ip.into(), port)]),
            Some(Host::Domain(name)) => {
                let missing = |e: super::resolve::NotFound| NetError::new("ENOTFOUND", e.to_string());
                let found = self.rules.lookup.addresses(name).await.map_err(missing)?;
                let admitted = self.rules.admitted(name, found)?;
                Ok(admitted.into_iter().map(|a| SocketAddr::new(a.ip(), port)).collect())
            }
            None => Err(NetError::new("ERR_INVALID_URL", "no host is named")),
        }
    }

    /// A UDP socket on an address of this machine; where it sends to is for [`Net::addresses`] to say.
    pub async fn bind_udp(&self, local: SocketAddr) -> Result<UdpSocket, NetError> {
        UdpSocket::bind(local).await.map_err(|e| NetError::new("EADDRINUSE", format!("cannot bind UDP {local}: {e}")))
    }

    /// Refuses a connection without a check of certificates, unless `net.unverified` names the host.
    pub(super) fn may_go_unverified(&self, host: &str, port: u16, _tls: &Tls) -> Result<(), NetError> {
        let url = url_of(host, port)?;
        let named = !self.options.unverified.is_empty() && self.unverified.names(&url);
        if named {
            return Ok(());
        }
        let mut list: Vec<String> = self.options.unverified.iter().map(|text| format!("\"{text}\"")).collect();
        list.push(format!("\"{}\"", bare(host)));
        let text = format!(
            "connecting to {} without a check of its certificate is not allowed: it proves nothing about who answers. \
             Trust its authority instead (a tls-config node with a CA certificate, or SSL_CERT_FILE); to allow it \
             nevertheless: net.unverified = [{}]",
            bare(host),
            list.join(", ")
        );
        Err(NetError::new("EACCES", text))
    }
}

fn bare(host: &str) -> &str {
    host.trim_start_matches('[').trim_end_matches(']')
}

fn url_of(host: &str, port: u16) -> Result<Url, NetError> {
    let host = bare(host);
    let text = if host.contains(':') { format!("http://[{host}]:{port}/") } else { format!("http://{host}:{port}/") };
    let bad = || NetError::new("ERR_INVALID_URL", format!("\"{host}\" is no host name"));
    let url = Url::parse(&text).map_err(|_| bad())?;
    // A host with a slash or an at sign in it would be another host.
    if url.path() != "/" || !url.username().is_empty() || url.query().is_some() || url.fragment().is_some() {
        return Err(bad());
    }
    Ok(url)
}

async fn first(addresses: &[SocketAddr]) -> std::io::Result<TcpStream> {
    let mut last = std::io::Error::new(std::io::ErrorKind::NotFound, "the name has no address");
    for address in addresses {
        match TcpStream::connect(address).await {
            Ok(stream) => return Ok(stream),
            Err(error) => last = error,
        }
    }
    Err(last)
}

/// A failed connection in Node.js' words.
pub(super) fn of_io(error: &std::io::Error, host: &str, port: u16) -> NetError {
    if let Some(tls) = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()) {
        return NetError::new(tls_code(tls), format!("no trusted connection to {host}:{port}: {tls}"));
    }
    match io_code(error.kind()) {
        Some((code, what)) => NetError::new(code, format!("{what} {code} {host}:{port}")),
        None => NetError::new("EPROTO", format!("the connection to {host}:{port} failed: {error}")),
    }
}
