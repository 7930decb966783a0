//! HTTP digest authentication (RFC 7616; 2617 and 2069 for older servers): the answer to a server's challenge.

use std::fmt;

use http::header::WWW_AUTHENTICATE;
use http::{HeaderMap, HeaderValue};
use http_auth::{DigestClient, PasswordParams, parse_challenges};
use url::Position;

use super::NetRequest;

/// Who calls. Printed without the password.
#[derive(Clone, PartialEq)]
pub struct Credentials {
    pub user: String,
    pub password: String,
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials").field("user", &self.user).finish_non_exhaustive()
    }
}

/// What to send after a challenge.
#[derive(Debug)]
pub(super) struct Response {
    pub(super) authorization: HeaderValue,
    /// The server says that the answer before would have been right but for the age of its nonce.
    pub(super) stale: bool,
    pub(super) nonce: String,
}

/// Answers the first digest challenge among `headers` that can be answered: servers list them in their order of
/// preference (RFC 7616, 3.7). The error says why none can, in words that may be shown.
pub(super) fn respond(
    credentials: &Credentials,
    request: &NetRequest,
    headers: &HeaderMap,
) -> Result<Response, String> {
    let mut why = "the server asks for no digest (no such WWW-Authenticate header)".to_string();
    for header in headers.get_all(WWW_AUTHENTICATE) {
        let text = String::from_utf8_lossy(header.as_bytes());
        let challenges = match parse_challenges(&text) {
            Ok(challenges) => challenges,
            Err(_) => {
                why = "the WWW-Authenticate header cannot be read".to_string();
                continue;
            }
        };
        for challenge in challenges.iter().filter(|c| c.scheme.eq_ignore_ascii_case("digest")) {
            match DigestClient::try_from(challenge).and_then(|client| answer(client, credentials, request)) {
                Ok(response) => return Ok(response),
                Err(problem) => why = format!("invalid digest challenge: {problem}"),
            }
        }
    }
    Err(why)
}

fn answer(mut client: DigestClient, credentials: &Credentials, request: &NetRequest) -> Result<Response, String> {
    let uri = &request.url[Position::BeforePath..Position::AfterQuery];
    let mut with_body = |body| {
        client.respond(&PasswordParams {
            username: &credentials.user,
            password: &credentials.password,
            uri,
            method: request.method.as_str(),
            body,
        })
    };
    // The body is signed (auth-int) only for a server that takes nothing else, as few servers do it right.
    let text = with_body(None).or_else(|_| with_body(Some(&request.body)))?;
    let mut authorization = HeaderValue::from_str(&text).map_err(|_| "it has characters headers cannot carry")?;
    authorization.set_sensitive(true);
    Ok(Response { authorization, stale: client.stale(), nonce: client.nonce().to_string() })
}
