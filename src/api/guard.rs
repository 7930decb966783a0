//! What stands before our own paths: login, and defence of a browser's user against other sites (forged calls and
//! DNS rebinding, which reach even a server that listens on loopback only).

use axum::body::Body;
use axum::response::{IntoResponse, Response};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, StatusCode, header};

use super::auth::{AuthOptions, Caller, Denied, Realm};
use super::error::ApiError;
use super::permissions::Permissions;
use super::serve::Peer;
use super::status_token::FlowToken;
use super::{Api, cors, express, people};
use crate::director::client::CALLBACK_PATH;

/// Where STATUS shows its tokens.
const STATUS_TOKEN: HeaderName = HeaderName::from_static("x-access-token");

/// Lets a call to one of our paths in, or says why not.
pub(super) async fn admit<B>(api: &Api, peer: &Peer, call: &Request<B>) -> Result<Caller, Response> {
    if matches!(call.uri().path(), "/health/live" | "/health/ready") {
        return Ok(Caller::anonymous(Permissions::none()));
    }
    let options = api.auth.options();
    let safe = is_safe(call.method());
    let caller = if options.is_open() {
        check_host(call.headers(), &options).map_err(|e| *e)?;
        Caller::anonymous(Permissions::all())
    } else {
        match bearer(call.headers()) {
            Some(token) if looks_like_session(token) => {
                session(api, token).await?.ok_or_else(|| refuse(Denied::WrongCredentials))?
            }
            _ => match of_status(api, call.headers()) {
                Some(known) => known.map_err(refuse)?,
                None => {
                    api.auth.check(call.headers(), Realm::Users, peer.ip, api.clock().now()).await.map_err(refuse)?
                }
            },
        }
    };
    if !safe && !caller.by_token {
        check_origin(api, call.headers()).map_err(|e| *e)?;
    }
    let permission = if safe { "probity.read" } else { "probity.write" };
    match caller.permissions.allow(permission) {
        true => Ok(caller),
        false => Err(not_permitted(permission)),
    }
}

/// Lets a call to the Admin API in that needs a permission such as `flows.write`, or answers as Node-RED does: 401
/// with `Unauthorized` for who is not logged in, 401 without a body for who may not.
///
/// The token is looked for in `Authorization: Bearer` and in the query's `access_token`. Basic authentication is not
/// looked at: STATUS sends it along with every call.
pub(super) async fn require<B>(
    api: &Api,
    peer: &Peer,
    call: &Request<B>,
    permission: &str,
) -> Result<Caller, Response> {
    let options = api.auth.options();
    let caller = if options.is_open() {
        check_host(call.headers(), &options).map_err(|e| *e)?;
        Caller::anonymous(Permissions::all())
    } else {
        let given = bearer(call.headers()).map(str::to_owned).or_else(|| query_token(call.uri().query()));
        let known = match &given {
            Some(token) => by_token(api, peer, token).await?,
            None => of_status(api, call.headers()).and_then(Result::ok),
        };
        let anonymous = || options.default_permissions.clone().map(Caller::anonymous);
        known.or_else(anonymous).ok_or_else(|| {
            express::unauthorized(Some(match given {
                Some(_) => "Bearer realm=\"Users\", error=\"invalid_token\"",
                None => "Bearer realm=\"Users\"",
            }))
        })?
    };
    if !is_safe(call.method()) && !caller.by_token {
        check_origin(api, call.headers()).map_err(|e| *e)?;
    }
    if !caller.permissions.allow(permission) {
        tracing::info!(user = caller.name, permission, "a user may not do this");
        return Err(StatusCode::UNAUTHORIZED.into_response());
    }
    Ok(caller)
}

/// Lets an editors' websocket be opened: no other site's page may open one, for what it could read. Who it is it says by
/// a packet of its own.
pub(super) fn admit_socket(api: &Api, headers: &HeaderMap) -> Result<(), Box<Response>> {
    let options = api.auth.options();
    if options.is_open() {
        check_host(headers, &options)?;
        check_origin(api, headers)?;
    }
    Ok(())
}

/// Whether who shows this token on the editors' websocket, or none, may look on.
pub(super) async fn admit_comms(api: &Api, peer: &Peer, token: Option<&str>) -> bool {
    let options = api.auth.options();
    let known = match token {
        Some(token) if !options.is_open() => by_token(api, peer, token).await.ok().flatten().map(|c| c.permissions),
        _ if options.is_open() => Some(Permissions::all()),
        _ => options.default_permissions.clone(),
    };
    known.is_some_and(|permissions| permissions.allow("status.read"))
}

/// Who has this token: a login to the Admin API, or one of `auth.tokens`. Also for the `auth` packet of `/comms`; the
/// error is the answer to an HTTP call when the store is away or too many tokens were wrong.
pub(super) async fn by_token(api: &Api, peer: &Peer, token: &str) -> Result<Option<Caller>, Response> {
    if looks_like_session(token) {
        return session(api, token).await;
    }
    let headers = HeaderMap::from_iter(
        HeaderValue::from_str(&format!("Bearer {token}")).map(|value| (header::AUTHORIZATION, value)),
    );
    match api.auth.check(&headers, Realm::Users, peer.ip, api.clock().now()).await {
        Ok(caller) => Ok(Some(caller)),
        Err(Denied::TooManyFailures { retry_s }) => Err(refuse(Denied::TooManyFailures { retry_s })),
        Err(_) => Ok(None),
    }
}

/// Who shows a token of STATUS in `x-access-token` and logs in by nothing else; `None`: nobody does. Basic
/// authentication, which STATUS sends along with every call, is no login where such a token is.
fn of_status(api: &Api, headers: &HeaderMap) -> Option<Result<Caller, Denied>> {
    let shown = headers.get(STATUS_TOKEN).filter(|_| bearer(headers).is_none())?;
    if api.auth.options().status_secret.is_empty() {
        return None;
    }
    Some(api.auth.check_status_token(shown.as_bytes(), api.clock().now()))
}

async fn session(api: &Api, token: &str) -> Result<Option<Caller>, Response> {
    people::session(api, token).await.map_err(|error| ApiError::from(error).into_response())
}

/// Tokens of logins have 128 random bytes; nobody guesses them, and an editor whose login is over asks often.
fn looks_like_session(token: &str) -> bool {
    // A token of STATUS may be as long, but has dots, which Base64 has not.
    token.len() == people::TOKEN_CHARS && !token.contains('.')
}

fn bearer(headers: &HeaderMap) -> Option<&str> {
    let (scheme, token) = headers.get(header::AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

fn query_token(query: Option<&str>) -> Option<String> {
    let mut pairs = form_urlencoded::parse(query?.as_bytes());
    pairs.find(|(name, _)| name == "access_token").map(|(_, token)| token.into_owned())
}

fn is_safe(method: &Method) -> bool {
    matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS)
}

fn not_permitted(permission: &str) -> Response {
    ApiError::new(StatusCode::FORBIDDEN, "not_permitted", format!("you lack the permission {permission}"))
        .hint("auth.permissions in the configuration, or `permissions` in settings.js, gives it")
        .into_response()
}

/// Lets a call to an API on an address of its own in: whoever reads, and who writes with a STATUS token in
/// `x-access-token` or as a user. Where nobody is configured, everybody may write, and [`super::check_exposure_apart`]
/// has kept the address to this machine.
pub(super) async fn admit_apart<B>(api: &Api, peer: &Peer, call: &Request<B>) -> Result<Caller, Response> {
    let anonymous = Caller::anonymous(Permissions::all());
    let options = api.auth.options();
    let safe = is_safe(call.method());
    if options.writes_are_open() {
        check_host(call.headers(), &options).map_err(|e| *e)?;
        if !safe {
            check_origin(api, call.headers()).map_err(|e| *e)?;
        }
        return Ok(anonymous);
    }
    // A callback is signed by itself.
    if safe || call.uri().path() == CALLBACK_PATH {
        return Ok(anonymous);
    }
    let now = api.clock().now();
    if !options.status_secret.is_empty()
        && let Some(token) = call.headers().get(STATUS_TOKEN)
    {
        return api.auth.check_status_token(token.as_bytes(), now).map_err(refuse);
    }
    let caller = api.auth.check(call.headers(), Realm::Users, peer.ip, now).await.map_err(refuse)?;
    if !caller.by_token {
        check_origin(api, call.headers()).map_err(|e| *e)?;
    }
    Ok(caller)
}

/// Lets a call to a flow in: only who may call flows, when a login or a token of STATUS is needed.
pub(super) async fn admit_to_flow(api: &Api, peer: &Peer, headers: &HeaderMap) -> Result<(), Response> {
    let options = api.auth.options();
    let now = api.clock().now();
    let by_status = |wanted: &'static str| match headers.get(STATUS_TOKEN) {
        None => Err(express::unauthorized(Some(wanted))),
        Some(token) => match api.auth.check_status_token(token.as_bytes(), now) {
            // An authority that the configuration does not name may do nothing.
            Ok(caller) if !caller.permissions.is_empty() => Ok(()),
            Ok(_) | Err(_) => Err(express::unauthorized(Some("Bearer realm=\"STATUS\", error=\"invalid_token\""))),
        },
    };
    match options.flow_status_token {
        FlowToken::Off => {}
        FlowToken::Required => by_status("Bearer realm=\"STATUS\"")?,
        FlowToken::Enough if headers.contains_key(STATUS_TOKEN) || !options.flows_need_login() => {
            match by_status("Bearer realm=\"STATUS\"") {
                Ok(()) => return Ok(()),
                // A login may do what the token does not.
                Err(_) if options.flows_need_login() && headers.contains_key(header::AUTHORIZATION) => {}
                Err(refusal) => return Err(refusal),
            }
        }
        FlowToken::Enough => {}
    }
    if !options.flows_need_login() {
        return Ok(());
    }
    match api.auth.check(headers, Realm::Flows, peer.ip, now).await {
        Ok(_) => Ok(()),
        Err(denied @ Denied::TooManyFailures { .. }) => Err(refuse(denied)),
        Err(_) => Err(express::unauthorized(Some("Basic realm=\"Authorization Required\""))),
    }
}

/// Counts a call against the limits of its source and of its token, together with other replicas where there is a cache
/// that answers.
pub(super) async fn count(api: &Api, peer: &Peer, headers: &HeaderMap) -> Result<(), Response> {
    for who in api.rates.counted(peer.ip, headers) {
        // Here first: who is too much for one is too much for all, and need not be asked about.
        let mut taken = api.rates.take(&who, api.clock().now());
        if let (Ok(()), Some(cache)) = (&taken, &api.options.cache) {
            taken = cache.take(&who.name, who.bucket).await.unwrap_or(Ok(()));
        }
        if let Err(wait) = taken {
            return Err(too_often(wait));
        }
    }
    Ok(())
}

fn too_often(wait: std::time::Duration) -> Response {
    let retry_s = wait.as_millis().div_ceil(1000).max(1);
    let retry_s = u64::try_from(retry_s).unwrap_or(u64::MAX);
    let error =
        ApiError::new(StatusCode::TOO_MANY_REQUESTS, "too_many_requests", "calls come more often than is allowed")
            .hint(format!("try again in {retry_s} s; [rates] in the configuration says how often"));
    let mut response = error.into_response();
    response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(retry_s));
    response
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
fn check_origin(api: &Api, headers: &HeaderMap) -> Result<(), Box<Response>> {
    let origin = headers.get(header::ORIGIN).and_then(|origin| origin.to_str().ok());
    match origin.is_some_and(|origin| cors::allows(&api.options.cors_origins, origin)) || is_same_origin(headers) {
        true => Ok(()),
        false => {
            let error = ApiError::new(StatusCode::FORBIDDEN, "cross_origin", "this call came from another site's page")
                .hint(
                    "call it from this server's own pages, with a Bearer token, or add the origin to http.cors_origins",
                );
            Err(Box::new(error.into_response()))
        }
    }
}

fn is_same_origin(headers: &HeaderMap) -> bool {
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
    same_site && same_origin
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
        assert!(is_same_origin(&headers(&own)));
        assert!(is_same_origin(&headers(&[("host", "localhost:1880")])));
        for (name, value) in [
            ("origin", "http://evil.test"),
            ("origin", "null"),
            ("sec-fetch-site", "cross-site"),
            ("origin", "http://localhost:99"),
        ] {
            assert!(!is_same_origin(&headers(&[("host", "localhost:1880"), (name, value)])), "{name}: {value}");
        }
    }
}
