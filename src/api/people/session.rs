//! `/auth/*`: logging in with name and password for a token, and out. Tokens live in the store, as hashes.

use std::collections::HashMap;
use std::sync::Mutex;

use axum::body::Body;
use axum::response::{IntoResponse, Response};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::{HeaderValue, StatusCode, header};
use jiff::{SignedDuration, Timestamp};
use serde_json::{Map, Value as Json, json};
use sha2::{Digest, Sha256};

use super::body::text;
use crate::api::auth::{Caller, Realm};
use crate::api::permissions::Permissions;
use crate::api::{Api, ApiError, express};
use crate::store::{AuditEntry, Session, StoreError};

/// Programs that may log in.
const CLIENTS: &[&str] = &["node-red-editor", "node-red-admin"];
/// Random bytes of a token, and how long it is in Base64.
const TOKEN_BYTES: usize = 128;
pub(in crate::api) const TOKEN_CHARS: usize = TOKEN_BYTES.div_ceil(3) * 4;
/// Tries of one user within the window; further ones are refused unseen.
const ATTEMPTS_MAX: usize = 5;
const ATTEMPTS_WINDOW: SignedDuration = SignedDuration::from_mins(10);
/// Users whose tries are remembered.
const USERS_MAX: usize = 10_000;

/// Tries to log in, by user.
#[derive(Default)]
pub(in crate::api) struct Attempts(Mutex<HashMap<String, Vec<Timestamp>>>);

impl Attempts {
    /// Counts a try; false when it is one too many.
    fn count(&self, user: &str, now: Timestamp) -> bool {
        let mut users = self.0.lock().unwrap_or_else(|p| p.into_inner());
        let recent = |tries: &mut Vec<Timestamp>| tries.retain(|at| *at + ATTEMPTS_WINDOW > now);
        if users.len() >= USERS_MAX && !users.contains_key(user) {
            users.retain(|_, tries| {
                recent(tries);
                !tries.is_empty()
            });
            // Still full: so many names are one attack, and memory is worth more than its count.
            if users.len() >= USERS_MAX {
                users.clear();
            }
        }
        let tries = users.entry(user.to_owned()).or_default();
        recent(tries);
        if tries.len() <= ATTEMPTS_MAX {
            tries.push(now);
        }
        tries.len() <= ATTEMPTS_MAX
    }

    fn forget(&self, user: &str) {
        self.0.lock().unwrap_or_else(|p| p.into_inner()).remove(user);
    }
}

/// Who has this token, while the login lasts and its user is still one.
pub(in crate::api) async fn session(api: &Api, token: &str) -> Result<Option<Caller>, StoreError> {
    let Some(session) = api.store.session(&hash(token)).await? else { return Ok(None) };
    let options = api.auth.options();
    let is_user = options.users.contains_key(&session.user)
        || options.environment_user.as_ref().is_some_and(|(name, _)| *name == session.user);
    if session.expires_at <= api.clock().now() || !is_user || api.auth.is_disabled(Realm::Users, &session.user) {
        return Ok(None);
    }
    let (asked, has) = (Permissions::of_json(&session.scope), options.permissions_of(&session.user));
    // What was taken from the user since is taken from the login.
    let permissions = if has.cover(&asked) { asked } else { has };
    Ok(Some(Caller { permissions, ..Caller::known(session.user, true) }))
}

fn hash(token: &str) -> String {
    hex::encode(Sha256::digest(token.as_bytes()))
}

/// How one logs in.
pub(super) fn login(api: &Api) -> Response {
    if api.auth.options().is_open() {
        return express::json(&json!({}));
    }
    express::json(&json!({
        "type": "credentials",
        "prompts": [
            { "id": "username", "type": "text", "label": "user.username" },
            { "id": "password", "type": "password", "label": "user.password" },
        ],
    }))
}

/// A token for name and password.
pub(super) async fn token(api: &Api, fields: &Map<String, Json>) -> Response {
    if api.auth.options().is_open() {
        let body = json!({ "error": "unexpected_error", "message": "Error: nobody needs to log in here" });
        return express::json_with(StatusCode::BAD_REQUEST, &body);
    }
    let Some(client) = text(fields, "client_id").filter(|client| CLIENTS.contains(client)) else {
        return express::unauthorized(None);
    };
    let problem = match text(fields, "grant_type") {
        Some("password") => ["username", "password"]
            .into_iter()
            .find(|name| text(fields, name).is_none())
            .map(|name| (StatusCode::BAD_REQUEST, "invalid_request", format!("Missing required parameter: {name}"))),
        kind => {
            let message =
                kind.map_or_else(|| "Missing grant type".into(), |kind| format!("Unsupported grant type: {kind}"));
            Some((StatusCode::NOT_IMPLEMENTED, "unsupported_grant_type", message))
        }
    };
    if let Some((status, error, description)) = problem {
        return refused(status, error, &description);
    }
    let name = text(fields, "username").unwrap_or_default();
    let password = text(fields, "password").unwrap_or_default();
    let now = api.clock().now();
    if !api.attempts.count(name, now) {
        tracing::warn!(user = name, client, "too many tries to log in");
        let message = "Too many login attempts. Wait 10 minutes and try again";
        return refused(StatusCode::INTERNAL_SERVER_ERROR, "server_error", message);
    }
    // Failures are counted by user alone: behind a proxy, and at STATUS, all come from one address.
    let fits = api.auth.password_fits(Realm::Users, name, password, None, now).await.unwrap_or(false);
    let has = api.auth.options().permissions_of(name);
    let asked = text(fields, "scope").map_or_else(|| has.clone(), Permissions::of_text);
    if !fits || has.is_empty() || !has.cover(&asked) {
        tracing::warn!(user = name, client, "a login failed");
        return refused(StatusCode::FORBIDDEN, "invalid_grant", "Invalid resource owner credentials");
    }
    api.attempts.forget(name);
    match open(api, name, client, &asked, now).await {
        Ok(token) => granted(&token, api.auth.options().session_s_max),
        Err(error) => ApiError::from(error).into_response(),
    }
}

/// Stores a new login and gives its token.
async fn open(
    api: &Api,
    user: &str,
    client: &str,
    permissions: &Permissions,
    now: Timestamp,
) -> Result<String, StoreError> {
    let mut bytes = [0; TOKEN_BYTES];
    getrandom::fill(&mut bytes).map_err(|error| StoreError::Unusable {
        url: "the system's random numbers".into(),
        problem: error.to_string(),
        hint: "start the process where /dev/urandom can be read".into(),
    })?;
    let token = STANDARD.encode(bytes);
    let session = Session {
        token_hash: hash(&token),
        user: user.to_owned(),
        client: client.to_owned(),
        scope: permissions.to_json(),
        expires_at: now + SignedDuration::from_secs(api.auth.options().session_s_max.into()),
    };
    api.store.add_session(&session, now).await?;
    audit(api, user, "login", json!({ "client": client, "permissions": session.scope })).await?;
    Ok(token)
}

async fn audit(api: &Api, user: &str, action: &str, detail: Json) -> Result<(), StoreError> {
    let (actor, subject) = (user.to_owned(), user.to_owned());
    api.store.audit(&AuditEntry { at: api.clock().now(), actor, action: action.to_owned(), subject, detail }).await
}

/// Ends the login of a token; to know the token is enough, as in Node-RED.
pub(super) async fn revoke(api: &Api, caller: &Caller, fields: &Map<String, Json>) -> Response {
    let token = hash(text(fields, "token").unwrap_or_default());
    let done = async {
        let Some(session) = api.store.session(&token).await? else { return Ok(()) };
        api.store.end_session(&token).await?;
        audit(api, &caller.name, "logout", json!({ "user": session.user, "client": session.client })).await
    };
    match done.await {
        Ok(()) => Response::new(Body::empty()),
        Err(error) => ApiError::from(error).into_response(),
    }
}

fn granted(token: &str, lasts_s: u32) -> Response {
    let mut response =
        plain_json(StatusCode::OK, &json!({ "access_token": token, "expires_in": lasts_s, "token_type": "Bearer" }));
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response.headers_mut().insert(header::PRAGMA, HeaderValue::from_static("no-cache"));
    response
}

/// OAuth's way to say no.
fn refused(status: StatusCode, error: &str, description: &str) -> Response {
    plain_json(status, &json!({ "error": error, "error_description": description }))
}

/// JSON without a charset, as the OAuth part of Node-RED sends it.
fn plain_json(status: StatusCode, body: &Json) -> Response {
    (status, [(header::CONTENT_TYPE, "application/json")], body.to_string()).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sixth_try_of_a_user_is_refused_for_ten_minutes() {
        let (attempts, start) = (Attempts::default(), Timestamp::UNIX_EPOCH);
        let later = |s| start + SignedDuration::from_secs(s);
        assert!((0..5).all(|i| attempts.count("ana", later(i))));
        assert!(!attempts.count("ana", later(6)) && attempts.count("bob", later(6)));
        assert!(!attempts.count("ana", later(599)));
        attempts.forget("bob");
        assert!(attempts.count("ana", later(1300)));
    }

    #[test]
    fn the_table_of_tries_is_bounded() {
        let attempts = Attempts::default();
        for i in 0..USERS_MAX + 5 {
            attempts.count(&i.to_string(), Timestamp::UNIX_EPOCH);
        }
        assert!(attempts.0.lock().unwrap().len() <= USERS_MAX);
    }
}
