//! Why a call failed: a code that flows can test (Node.js' names) and a sentence, never with a secret in it.

use std::error::Error;
use std::io::ErrorKind;

use url::Url;

use super::resolve::NotFound;
use super::rules::Refused;

/// Why a call has no answer. An answer with an error status is an answer.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[error("{message}")]
pub struct NetError {
    /// `ECONNREFUSED`, `ECONNRESET`, `ETIMEDOUT`, `ENOTFOUND`, `EACCES` (refused by `net.allow`), `EAGAIN` (too many wait for
    /// the same host), `EMSGSIZE` (answer
    /// too large), `ERR_TOO_MANY_REDIRECTS`, `CERT_HAS_EXPIRED` and other certificate codes, `EPROTO`.
    pub code: &'static str,
    pub message: String,
    /// For a call that no grant allows: the host a grant would have to name.
    pub to_grant: Option<String>,
}

impl NetError {
    /// `code` in Node.js' words; `message` names host and problem, never a secret.
    pub fn new(code: &'static str, message: impl Into<String>) -> NetError {
        NetError { code, message: message.into(), to_grant: None }
    }

    /// True when nothing was sent: what was asked for has not happened.
    pub fn was_not_sent(&self) -> bool {
        matches!(self.code, "ECONNREFUSED" | "ENOTFOUND" | "EACCES" | "EAGAIN")
    }

    /// From the client's error, by what caused it.
    pub(super) fn of(error: &reqwest::Error, url: &Url, connect_ms_max: u64) -> NetError {
        let host = authority(url);
        if error.is_timeout() {
            return NetError::new("ETIMEDOUT", format!("cannot connect to {host} within {connect_ms_max} ms"));
        }
        let mut cause: Option<&(dyn Error + 'static)> = Some(error);
        while let Some(current) = cause {
            if let Some(refused) = current.downcast_ref::<Refused>() {
                return refused.clone().into();
            }
            if let Some(missing) = current.downcast_ref::<NotFound>() {
                return NetError::new("ENOTFOUND", missing.to_string());
            }
            if let Some(tls) = current.downcast_ref::<rustls::Error>() {
                return NetError::new(tls_code(tls), format!("no trusted connection to {host}: {tls}"));
            }
            if let Some(io) = current.downcast_ref::<std::io::Error>() {
                if let Some(tls) = io.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()) {
                    return NetError::new(tls_code(tls), format!("no trusted connection to {host}: {tls}"));
                }
                if let Some((code, what)) = io_code(io.kind()) {
                    return NetError::new(code, format!("{what} {code} {host}"));
                }
            }
            cause = current.source();
        }
        NetError::new("EPROTO", format!("the call to {host} failed: {}", root_cause(error)))
    }
}

impl From<Refused> for NetError {
    fn from(refused: Refused) -> Self {
        NetError { to_grant: refused.to_grant.clone(), ..NetError::new("EACCES", refused.to_string()) }
    }
}

pub(super) fn io_code(kind: ErrorKind) -> Option<(&'static str, &'static str)> {
    Some(match kind {
        ErrorKind::ConnectionRefused => ("ECONNREFUSED", "connect"),
        ErrorKind::ConnectionReset => ("ECONNRESET", "read"),
        ErrorKind::ConnectionAborted => ("ECONNABORTED", "read"),
        ErrorKind::BrokenPipe => ("EPIPE", "write"),
        ErrorKind::TimedOut => ("ETIMEDOUT", "connect"),
        ErrorKind::HostUnreachable => ("EHOSTUNREACH", "connect"),
        ErrorKind::NetworkUnreachable => ("ENETUNREACH", "connect"),
        ErrorKind::UnexpectedEof => ("ECONNRESET", "read"),
        _ => return None,
    })
}

pub(super) fn tls_code(error: &rustls::Error) -> &'static str {
    use rustls::CertificateError as C;
    match error {
        rustls::Error::InvalidCertificate(C::Expired | C::ExpiredContext { .. }) => "CERT_HAS_EXPIRED",
        rustls::Error::InvalidCertificate(C::NotValidForName | C::NotValidForNameContext { .. }) => {
            "ERR_TLS_CERT_ALTNAME_INVALID"
        }
        rustls::Error::InvalidCertificate(_) => "UNABLE_TO_VERIFY_LEAF_SIGNATURE",
        _ => "EPROTO",
    }
}

/// The innermost message: the outer ones repeat the URL.
pub(super) fn root_cause(error: &dyn Error) -> String {
    let mut cause = error;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    cause.to_string()
}

/// `host:port`, without user and password.
pub(super) fn authority(url: &Url) -> String {
    let host = url.host_str().unwrap_or_default();
    url.port_or_known_default().map_or(host.to_string(), |port| format!("{host}:{port}"))
}
