//! `probity health`: asks a running server, for container health checks. Needs no shell and no curl.

use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream};
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;

use super::{Settings, not_so, print};

#[derive(Args)]
pub(super) struct HealthArgs {
    #[command(flatten)]
    settings: Settings,
    /// Give up after this many milliseconds
    #[arg(long, default_value_t = 3000, value_name = "MS")]
    timeout_ms: u64,
}

pub(super) fn health(args: &HealthArgs) -> ExitCode {
    let config = match args.settings.load() {
        Ok(config) => config,
        Err(code) => return code,
    };
    let mut address = config.listen;
    if address.ip().is_unspecified() {
        address.set_ip(IpAddr::V4(Ipv4Addr::LOCALHOST));
    }
    match ask(address, Duration::from_millis(args.timeout_ms.max(1))) {
        Ok((200, body)) => {
            print(&format!("{body}\n"));
            ExitCode::SUCCESS
        }
        Ok((status, body)) => not_so(format!("{address} is not ready ({status}): {body}")),
        Err(error) => not_so(format!("no answer from {address}: {error}; is `probity serve` running there?")),
    }
}

fn ask(address: SocketAddr, timeout: Duration) -> std::io::Result<(u16, String)> {
    let mut stream = TcpStream::connect_timeout(&address, timeout)?;
    stream.set_read_timeout(Some(timeout))?;
    stream.set_write_timeout(Some(timeout))?;
    write!(stream, "GET /health/ready HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n\r\n")?;
    let mut answer = String::new();
    stream.take(1_000_000).read_to_string(&mut answer)?;
    let status = answer.split(' ').nth(1).and_then(|s| s.parse().ok()).unwrap_or(0);
    let body = answer.split_once("\r\n\r\n").map_or("", |(_, body)| body);
    Ok((status, body.trim().to_string()))
}
