//! Ports of this machine that flows listen on, where the operator allows such nodes.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream, UdpSocket};

use super::stream::{Stream, of_io};
use super::tls::Tls;
use super::{Net, NetError};

fn in_use(what: &str, port: u16, error: &std::io::Error) -> NetError {
    let code = match error.kind() {
        std::io::ErrorKind::AddrInUse => "EADDRINUSE",
        std::io::ErrorKind::PermissionDenied => "EACCES",
        _ => "EIO",
    };
    NetError::new(code, format!("cannot listen on {what} port {port}: {error}"))
}

impl Net {
    /// Listens for TCP connections on all addresses of this machine, as Node.js does; 0: a port that is free.
    pub async fn listen_tcp(&self, port: u16) -> Result<TcpListener, NetError> {
        self.is_connected()?;
        // Both families where the machine has IPv6.
        match TcpListener::bind(SocketAddr::from((Ipv6Addr::UNSPECIFIED, port))).await {
            Ok(listener) => Ok(listener),
            Err(error) if error.kind() == std::io::ErrorKind::AddrInUse => Err(in_use("TCP", port, &error)),
            Err(_) => TcpListener::bind(SocketAddr::from((Ipv4Addr::UNSPECIFIED, port)))
                .await
                .map_err(|error| in_use("TCP", port, &error)),
        }
    }

    /// A connection that somebody made to here, encrypted if it is to be; within `net.connect_ms_max`.
    ///
    /// # Errors
    /// The caller does not speak TLS as we do, or too slowly; `tls` has no certificate of our own.
    pub async fn accepted(
        &self,
        stream: TcpStream,
        peer: SocketAddr,
        tls: Option<&Tls>,
    ) -> Result<Box<dyn Stream>, NetError> {
        let Some(tls) = tls else { return Ok(Box::new(stream)) };
        let no_certificate = || NetError::new("EPROTO", "a TLS server needs a certificate and its key");
        let config = tls.listening.clone().ok_or_else(no_certificate)?;
        let host = peer.ip().to_canonical().to_string();
        let limit = Duration::from_millis(self.options.connect_ms_max);
        match tokio::time::timeout(limit, tokio_rustls::TlsAcceptor::from(config).accept(stream)).await {
            Ok(Ok(stream)) => Ok(Box::new(stream)),
            Ok(Err(error)) => Err(of_io(&error, &host, peer.port())),
            Err(_) => {
                let text = format!("{host} did not agree on TLS within {} ms", limit.as_millis());
                Err(NetError::new("ETIMEDOUT", text))
            }
        }
    }

    /// A UDP socket on all addresses of a family; 0: a port that is free.
    pub async fn listen_udp(&self, port: u16, ipv6: bool) -> Result<UdpSocket, NetError> {
        self.is_connected()?;
        let local: SocketAddr =
            if ipv6 { (Ipv6Addr::UNSPECIFIED, port).into() } else { (Ipv4Addr::UNSPECIFIED, port).into() };
        UdpSocket::bind(local).await.map_err(|error| in_use("UDP", port, &error))
    }

    /// Refused in tests of flows, where nothing goes in or out.
    fn is_connected(&self) -> Result<(), NetError> {
        match self.answering {
            Some(_) => Err(NetError::new("EACCES", "nothing listens here: this run is cut off from the network")),
            None => Ok(()),
        }
    }
}
