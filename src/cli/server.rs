//! Asking a running server, over plain HTTP on the address it is configured to listen on. Needs no shell, no curl and
//! no runtime.

use std::io::{Error, ErrorKind, Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream};
use std::time::Duration;

use crate::config::Config;

/// More of an answer is not read, bytes.
const ANSWER_BYTES_MAX: u64 = 1_000_000;

/// Where the server is reached from this machine.
pub(super) fn address(config: &Config) -> SocketAddr {
    let mut address = config.listen;
    if address.ip().is_unspecified() {
        address.set_ip(IpAddr::V4(Ipv4Addr::LOCALHOST));
    }
    address
}

/// Status and body of a call without a body. `token` is an API token; `path` holds nothing that needs escaping.
pub(super) fn ask(
    address: SocketAddr,
    method: &str,
    path: &str,
    token: Option<&str>,
    timeout: Duration,
) -> std::io::Result<(u16, String)> {
    let mut stream = TcpStream::connect_timeout(&address, timeout)?;
    stream.set_read_timeout(Some(timeout))?;
    stream.set_write_timeout(Some(timeout))?;
    let login = match token {
        Some(token) if token.chars().all(|c| c.is_ascii_graphic()) => format!("authorization: Bearer {token}\r\n"),
        Some(_) => return Err(Error::new(ErrorKind::InvalidInput, "a token is visible ASCII without blanks")),
        None => String::new(),
    };
    let head = format!("{method} {path} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\ncontent-length: 0\r\n");
    stream.write_all(format!("{head}{login}\r\n").as_bytes())?;
    let mut answer = String::new();
    stream.take(ANSWER_BYTES_MAX).read_to_string(&mut answer)?;
    let status = answer.split(' ').nth(1).and_then(|s| s.parse().ok()).unwrap_or(0);
    let body = answer.split_once("\r\n\r\n").map_or("", |(_, body)| body);
    Ok((status, body.trim().to_string()))
}
