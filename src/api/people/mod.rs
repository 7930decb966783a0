//! Those parts of Node-RED's Admin API that are about people: logging in and out, what the editor is told of the
//! settings, what it keeps for each user, and credentials. What Node-RED answers is in its `editor-api` package.

mod body;
mod credentials;
mod session;
mod settings;

use std::sync::Arc;

use axum::body::Body;
use axum::response::{IntoResponse, Response};
use http::{Method, Request};

pub use settings::NODE_RED_VERSION;

pub(super) use session::{Attempts, TOKEN_CHARS, session};

use super::serve::{Incoming, Peer};
use super::{Api, express, guard};

/// What is asked for.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Route {
    Login,
    Token,
    Revoke,
    Settings,
    UserSettings,
    PutUserSettings,
    UserKeys,
    Credentials,
}

/// Which of our calls this is; `None`: none of them.
pub(super) fn find(api: &Api, method: &Method, path: &str) -> Option<Route> {
    let root = api.admin.as_ref().map_or("", |admin| admin.root.trim_end_matches('/'));
    route(method, path.strip_prefix(root)?)
}

fn route(method: &Method, path: &str) -> Option<Route> {
    let get = matches!(*method, Method::GET | Method::HEAD);
    match path.trim_end_matches('/') {
        "/auth/login" if get => Some(Route::Login),
        "/auth/token" if method == Method::POST => Some(Route::Token),
        "/auth/revoke" if method == Method::POST => Some(Route::Revoke),
        "/settings" if get => Some(Route::Settings),
        "/settings/user" if get => Some(Route::UserSettings),
        "/settings/user" if method == Method::POST => Some(Route::PutUserSettings),
        path if path == "/settings/user/keys" || path.starts_with("/settings/user/keys/") => Some(Route::UserKeys),
        path => {
            let rest = path.strip_prefix("/credentials/").filter(|_| get)?;
            rest.split_once('/').filter(|(kind, id)| !kind.is_empty() && !id.contains('/')).map(|_| Route::Credentials)
        }
    }
}

impl Route {
    /// What the caller must be allowed; `None`: nothing, and no login.
    fn permission(self) -> Option<&'static str> {
        match self {
            Route::Login | Route::Token => None,
            Route::Revoke => Some(""),
            Route::Settings | Route::UserSettings => Some("settings.read"),
            Route::PutUserSettings | Route::UserKeys => Some("settings.write"),
            Route::Credentials => Some("credentials.read"),
        }
    }
}

/// Answers one of our calls.
pub(super) async fn answer<B: Incoming>(api: &Arc<Api>, route: Route, peer: &Peer, call: Request<B>) -> Response {
    // Nobody can log out where nobody logs in.
    if route == Route::Revoke && api.auth.options().is_open() {
        super::body::leave_unread_of(call, api).await;
        return express::cannot(&Method::POST, "/auth/revoke");
    }
    let caller = match route.permission() {
        None => None,
        Some(permission) => match guard::require(api, peer, &call, permission).await {
            Ok(caller) => Some(caller),
            Err(refusal) => {
                super::body::leave_unread_of(call, api).await;
                return refusal;
            }
        },
    };
    let (head, body) = call.into_parts();
    let bytes = match super::body::read(body, &head.headers, api).await {
        Ok(bytes) => bytes,
        Err(refused) => return refused.into_response(),
    };
    let fields = || body::fields(&head.headers, &bytes);
    match (route, caller) {
        (Route::Login, _) => session::login(api),
        (Route::Token, _) => match fields() {
            Ok(fields) => session::token(api, &fields).await,
            Err(refusal) => refusal,
        },
        (Route::Revoke, Some(caller)) => match fields() {
            Ok(fields) => session::revoke(api, &caller, &fields).await,
            Err(refusal) => refusal,
        },
        (Route::Settings, Some(caller)) => settings::of_the_runtime(api, &caller),
        (Route::UserSettings, Some(caller)) => settings::of_the_user(api, &caller).await,
        (Route::PutUserSettings, Some(caller)) => match fields() {
            Ok(fields) => settings::change(api, &caller, &fields).await,
            Err(refusal) => refusal,
        },
        (Route::Credentials, Some(_)) => credentials::shown(api, head.uri.path()),
        (Route::UserKeys, Some(_)) => settings::no_keys(),
        // Every other route has a permission, so there is a caller.
        (_, None) => Response::new(Body::empty()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_our_paths_and_methods_are_answered() {
        for (method, path, expected) in [
            (Method::GET, "/auth/login", Some(Route::Login)),
            (Method::POST, "/auth/token", Some(Route::Token)),
            (Method::GET, "/auth/token", None),
            (Method::GET, "/settings/", Some(Route::Settings)),
            (Method::POST, "/settings", None),
            (Method::POST, "/settings/user", Some(Route::PutUserSettings)),
            (Method::GET, "/settings/user/keys", Some(Route::UserKeys)),
            (Method::GET, "/settings/userx", None),
            (Method::GET, "/credentials/http-request/a", Some(Route::Credentials)),
            (Method::GET, "/credentials/http-request", None),
            (Method::GET, "/credentials/a/b/c", None),
        ] {
            assert_eq!(route(&method, path), expected, "{method} {path}");
        }
    }
}
