//! Ports of this machine that flows listen on, where the operator allows such nodes.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};

use tokio::net::{TcpListener, UdpSocket};

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
