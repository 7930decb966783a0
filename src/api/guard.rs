//! What stands before our own paths: login, and defence of a browser's user against other sites (forged calls and
//! DNS rebinding, which reach even a server that listens on loopback only).

use axum::body::Body;
use axum::response::{IntoResponse, Response};
use http::{HeaderMap, HeaderValue, Method, Request, StatusCode, header};

use super::Api;
use super::auth::{AuthOptions, Caller, Denied};
use super::error::ApiError;
use super::serve::Peer;
use crate::director::client::CALLBACK_PATH;

/// Lets a call to one of our paths in, or says why not.
pub(super) async fn admit<B>(api: &Api, peer: &Peer, call: &Request<B>) -> Result<Caller, Response> {
    let anonymous = Caller { name: "anonymous".into(), by_token: false };
    if matches!(call.uri().path(), "/health/live" | "/health/ready") {
        return Ok(anonymous);
    }
    let options = api.auth.options();
    let caller = if options.is_open() {
        check_host(call.headers(), options).map_err(|e| *e)?;
        anonymous
    } else {
        api.auth.check(call.headers(), peer.ip, api.clock().now()).await.map_err(refuse)?
    };
    let safe = matches!(*call.method(), Method::GET | Method::HEAD | Method::OPTIONS);
    if !safe && !caller.by_token {
        check_origin(call.headers()).map_err(|e| *e)?;
    }
    Ok(caller)
}

/// Lets a call to an API on an address of its own in: whoever reads, and who writes with a STATUS token in
/// `x-access-token` or as a user. Where nobody is configured, everybody may write, and [`super::check_exposure_apart`]
/// has kept the address to this machine.
pub(super) async fn admit_apart<B>(api: &Api, peer: &Peer, call: &Request<B>) -> Result<Caller, Response> {
    let anonymous = Caller { name: "anonymous".into(), by_token: false };
    let options = api.auth.options();
    let safe = matches!(*call.method(), Method::GET | Method::HEAD | Method::OPTIONS);
    if options.writes_are_open() {
        check_host(call.headers(), options).map_err(|e| *e)?;
        if !safe {
            check_origin(call.headers()).map_err(|e| *e)?;
        }
        return Ok(anonymous);
    }
    // A callback is signed by itself.
    if safe || call.uri().path() == CALLBACK_PATH {
        return Ok(anonymous);
    }
    let now = api.clock().now();
    if !options.status_secret.is_empty()
        && let Some(token) = call.headers().get("x-access-token")
    {
        return api.auth.check_status_token(token.as_bytes(), peer.ip, now).map_err(refuse);
    }
    let caller = api.auth.check(call.headers(), peer.ip, now).await.map_err(refuse)?;
    if !caller.by_token {
        check_origin(call.headers()).map_err(|e| *e)?;
    }
    Ok(caller)
}

/// Lets a call to a flow in: only `flow_users`, when there are any.
pub(super) async fn admit_to_flow(api: &Api, peer: &Peer, headers: &HeaderMap) -> Result<(), Response> {
    let options = api.auth.options();
    if options.flow_users.is_empty() {
        return Ok(());
    }
    let caller = api.auth.check(headers, peer.ip, api.clock().now()).await.map_err(refuse)?;
    if caller.by_token || options.flow_users.contains(&caller.name) {
        Ok(())
    } else {
        Err(refuse(Denied::WrongCredentials))
    }
}

fn refuse(denied: Denied) -> Response {
    let error = match denied {
        Denied::NoCredentials => {
            ApiError::new(StatusCode::UNAUTHORIZED, "login_required", "log in with Basic or Bearer authentication")
        }
        Denied::WrongCredentials => {
            ApiError::new(StatusCode::UNAUTHORIZED, "wrong_credentials", "the name, password or token is not right")
        }
        Denied::TooManyFailures { retry_s } => ApiError::new(
            StatusCode::TOO_MANY_REQUESTS,
            "too_many_failures",
            "too many failed logins came from this address",
        )
        .hint(format!("try again in {retry_s} s")),
    };
    let mut response = error.into_response();
    let headers = response.headers_mut();
    match denied {
        Denied::TooManyFailures { retry_s } => {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(retry_s));
        }
        _ => {
            headers.insert(
                header::WWW_AUTHENTICATE,
                HeaderValue::from_static("Basic realm=\"Probity\", charset=\"UTF-8\""),
            );
        }
    }
    response
}

/// Without login, the name a browser used must be ours: a foreign name that resolves to us is DNS rebinding.
fn check_host(headers: &HeaderMap, options: &AuthOptions) -> Result<(), Box<Response>> {
    let Some(host) = headers.get(header::HOST) else { return Ok(()) };
    let name = host.to_str().map(host_name).unwrap_or_default();
    if is_loopback_name(name) || options.hosts.iter().any(|h| h.eq_ignore_ascii_case(name)) {
        return Ok(());
    }
    let error =
        ApiError::new(StatusCode::FORBIDDEN, "unknown_host", format!("this server does not answer to \"{name}\""))
            .hint(format!("to allow it without login, add \"{name}\" to http.hosts; or configure users"));
    Err(Box::new(error.into_response()))
}

/// The name part of a `Host` header or an origin's authority.
fn host_name(host: &str) -> &str {
    match host.strip_prefix('[') {
        Some(v6) => v6.split(']').next().unwrap_or_default(),
        None => host.rsplit_once(':').map_or(host, |(name, _)| name),
    }
}

fn is_loopback_name(name: &str) -> bool {
    let lower = name.to_ascii_lowercase();
    lower == "localhost"
        || lower.ends_with(".localhost")
        || lower.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.to_canonical().is_loopback())
}

/// A call that changes something must not come from another site's page.
fn check_origin(headers: &HeaderMap) -> Result<(), Box<Response>> {
    let text = |name| headers.get(name).and_then(|v: &HeaderValue| v.to_str().ok());
    let same_site = text(header::HeaderName::from_static("sec-fetch-site"))
        .is_none_or(|site| matches!(site, "same-origin" | "none"));
    let same_origin = match headers.get(header::ORIGIN) {
        None => true,
        Some(_) => {
            let authority = text(header::ORIGIN).and_then(|o| o.split_once("://")).map(|(_, authority)| authority);
            authority.is_some() && authority == text(header::HOST)
        }
    };
    if same_site && same_origin {
        return Ok(());
    }
    let error = ApiError::new(StatusCode::FORBIDDEN, "cross_origin", "this call came from another site's page")
        .hint("call it from this server's own pages, or with a Bearer token");
    Err(Box::new(error.into_response()))
}

pub(super) async fn unknown_path(call: Request<Body>) -> ApiError {
    ApiError::not_found(format!("nothing is at {}", call.uri().path())).hint("/probity/openapi.json lists every path")
}

pub(super) async fn unknown_method(call: Request<Body>) -> ApiError {
    let message = format!("{} is not answered at {}", call.method(), call.uri().path());
    ApiError::new(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", message)
        .hint("/probity/openapi.json lists every path with its methods")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        pairs.iter().map(|(k, v)| (header::HeaderName::from_static(k), v.parse().unwrap())).collect()
    }

    #[test]
    fn only_our_own_names_are_answered_without_login() {
        let options = AuthOptions { hosts: vec!["probity.test".into()], ..AuthOptions::default() };
        for host in ["localhost:1880", "127.0.0.1:1880", "[::1]:1880", "a.localhost", "Probity.test:80"] {
            assert!(check_host(&headers(&[("host", host)]), &options).is_ok(), "{host}");
        }
        for host in ["evil.test:1880", "localhost.evil.test", "127.0.0.1.evil.test", "10.0.0.1"] {
            assert!(check_host(&headers(&[("host", host)]), &options).is_err(), "{host}");
        }
    }

    #[test]
    fn changes_come_from_our_own_pages_or_from_programs() {
        let own = [("host", "localhost:1880"), ("origin", "http://localhost:1880"), ("sec-fetch-site", "same-origin")];
        assert!(check_origin(&headers(&own)).is_ok());
        assert!(check_origin(&headers(&[("host", "localhost:1880")])).is_ok());
        for (name, value) in [
            ("origin", "http://evil.test"),
            ("origin", "null"),
            ("sec-fetch-site", "cross-site"),
            ("origin", "http://localhost:99"),
        ] {
            assert!(check_origin(&headers(&[("host", "localhost:1880"), (name, value)])).is_err(), "{name}: {value}");
        }
    }
}
