//! Tokens that STATUS signs (status-backend's access tokens): HS256 with its `JWT_SECRET`, claims `user_id`, `username`,
//! `authority`. Who shows one is that user, with the permissions that the configuration gives the authority.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jiff::Timestamp;
use serde::Deserialize;

use super::auth::{AuthOptions, Caller};
use super::permissions::Permissions;

/// Whether calls of flow endpoints are held to STATUS tokens (`x-access-token`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum FlowToken {
    /// The header is passed on to the flow and not looked at, as in Node-RED.
    #[default]
    Off,
    /// A valid token is as good as a login, and without users a token is needed.
    Enough,
    /// Every call needs a valid token, besides the login where one is needed.
    Required,
}

/// Longer ones are nobody's, bytes.
const TOKEN_BYTES_MAX: usize = 8 << 10;

/// What we read of a token; times are seconds since 1970.
#[derive(Deserialize)]
struct Claims {
    exp: f64,
    nbf: Option<f64>,
    iat: Option<f64>,
    username: Option<String>,
    authority: Option<String>,
}

/// Why a token does not count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refused {
    /// No token of STATUS: another key, another algorithm, or no token at all.
    NotSigned,
    /// Signed, but over, or not yet good.
    NotNow,
}

/// Whether a text has the form of a token: three parts, the first a JSON object.
pub(super) fn looks_like_one(token: &str) -> bool {
    token.starts_with("eyJ") && token.bytes().filter(|b| *b == b'.').count() == 2
}

/// Who shows this token. Any other algorithm than HS256, `none` among them, is refused, and so is what asks for
/// extensions (`crit`). The times are held to our clock with the configured leeway.
pub(super) fn caller(options: &AuthOptions, token: &[u8], now: Timestamp) -> Result<Caller, Refused> {
    let token = std::str::from_utf8(token).map_err(|_| Refused::NotSigned)?.trim();
    if token.len() > TOKEN_BYTES_MAX || has_extensions(token) {
        return Err(Refused::NotSigned);
    }
    let claims = options.status_secrets(now).find_map(|secret| claims(secret, token)).ok_or(Refused::NotSigned)?;
    let (second, leeway) = (now.as_second() as f64, f64::from(options.status_leeway_s));
    let begun = |from: Option<f64>| from.is_none_or(|from| from <= second + leeway);
    if claims.exp + leeway <= second || !begun(claims.nbf) || !begun(claims.iat) {
        return Err(Refused::NotNow);
    }
    let name = claims.username.filter(|name| !name.is_empty()).unwrap_or_else(|| "status".into());
    let of_role = claims.authority.and_then(|authority| options.status_roles.get(&authority).cloned());
    Ok(Caller { permissions: of_role.unwrap_or_else(Permissions::none), ..Caller::known(name, true) })
}

fn claims(secret: &str, token: &str) -> Option<Claims> {
    let mut rules = jsonwebtoken::Validation::new(jsonwebtoken::Algorithm::HS256);
    // The bounds in time are checked against our own clock.
    rules.validate_exp = false;
    rules.validate_aud = false;
    rules.required_spec_claims.clear();
    let key = jsonwebtoken::DecodingKey::from_secret(secret.as_bytes());
    jsonwebtoken::decode::<Claims>(token, &key, &rules).ok().map(|token| token.claims)
}

/// RFC 7515, 4.1.11: who does not understand an extension must refuse the token.
fn has_extensions(token: &str) -> bool {
    let header = token.split('.').next().and_then(|header| URL_SAFE_NO_PAD.decode(header).ok());
    let header = header.and_then(|header| serde_json::from_slice::<serde_json::Value>(&header).ok());
    header.is_some_and(|header| header.get("crit").is_some())
}

#[cfg(test)]
mod tests {
    use super::*;
    use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
    use serde_json::{Value, json};

    const NOW: i64 = 1_700_000_000;

    fn options() -> AuthOptions {
        AuthOptions {
            status_secret: "the secret of STATUS".into(),
            status_roles: [("ADMIN".to_string(), Permissions::all()), ("USER".into(), Permissions::of_text("read"))]
                .into(),
            ..AuthOptions::default()
        }
    }

    fn token(algorithm: Algorithm, secret: &str, claims: Value) -> String {
        encode(&Header::new(algorithm), &claims, &EncodingKey::from_secret(secret.as_bytes())).unwrap()
    }

    fn good(claims: Value) -> String {
        token(Algorithm::HS256, "the secret of STATUS", claims)
    }

    fn shown(options: &AuthOptions, token: &str) -> Result<Caller, Refused> {
        caller(options, token.as_bytes(), Timestamp::from_second(NOW).unwrap())
    }

    #[test]
    fn the_authority_says_what_a_user_may_do() {
        for (authority, read, write) in [("ADMIN", true, true), ("USER", true, false), ("admin", false, false)] {
            let token = good(json!({"username": "ana", "authority": authority, "exp": NOW + 60}));
            let caller = shown(&options(), &token).unwrap();
            assert_eq!(caller.name, "ana");
            assert!(caller.by_token && !caller.anonymous);
            assert_eq!(caller.permissions.allow("probity.read"), read, "{authority}");
            assert_eq!(caller.permissions.allow("probity.write"), write, "{authority}");
        }
        let nameless = shown(&options(), &good(json!({"exp": NOW + 60}))).unwrap();
        assert!(nameless.name == "status" && nameless.permissions.is_empty());
    }

    #[test]
    fn times_are_held_to_our_clock_with_the_leeway() {
        let with = |leeway| AuthOptions { status_leeway_s: leeway, ..options() };
        for (claims, strict, lenient) in [
            (json!({"exp": NOW + 1}), Ok(()), Ok(())),
            (json!({"exp": NOW}), Err(Refused::NotNow), Ok(())),
            (json!({"exp": NOW - 4}), Err(Refused::NotNow), Ok(())),
            (json!({"exp": NOW - 5}), Err(Refused::NotNow), Err(Refused::NotNow)),
            (json!({"exp": NOW + 9, "nbf": NOW + 5}), Err(Refused::NotNow), Ok(())),
            (json!({"exp": NOW + 9, "nbf": NOW + 6}), Err(Refused::NotNow), Err(Refused::NotNow)),
            (json!({"exp": NOW + 9, "iat": NOW + 6}), Err(Refused::NotNow), Err(Refused::NotNow)),
            (json!({"exp": "soon"}), Err(Refused::NotSigned), Err(Refused::NotSigned)),
            (json!({"username": "ana"}), Err(Refused::NotSigned), Err(Refused::NotSigned)),
        ] {
            let token = good(claims.clone());
            assert_eq!(shown(&with(0), &token).map(drop), strict, "{claims}");
            assert_eq!(shown(&with(5), &token).map(drop), lenient, "{claims}");
        }
    }

    #[test]
    fn only_hs256_with_the_secret_counts() {
        let lasting = json!({"username": "ana", "authority": "ADMIN", "exp": NOW + 60});
        let signed = good(lasting.clone());
        let payload = signed.split('.').nth(1).unwrap();
        let header = |json: &str| URL_SAFE_NO_PAD.encode(json);
        let with_crit = {
            let head = Header { typ: Some("JWT".into()), ..Header::new(Algorithm::HS256) };
            let text = serde_json::to_value(&head).unwrap();
            let mut text = text.as_object().unwrap().clone();
            text.insert("crit".into(), json!(["b64"]));
            let start = format!("{}.{payload}", header(&Value::Object(text).to_string()));
            let key = EncodingKey::from_secret(b"the secret of STATUS");
            format!("{start}.{}", jsonwebtoken::crypto::sign(start.as_bytes(), &key, Algorithm::HS256).unwrap())
        };
        for wrong in [
            token(Algorithm::HS256, "another secret", lasting.clone()),
            token(Algorithm::HS512, "the secret of STATUS", lasting.clone()),
            token(Algorithm::HS256, "", lasting),
            format!("{}.{payload}.", header(r#"{"alg":"none"}"#)),
            format!("{}.{payload}.", header(r#"{"alg":"NONE","typ":"JWT"}"#)),
            format!("{}.{payload}.{}", header(r#"{"alg":"RS256"}"#), signed.split('.').next_back().unwrap()),
            with_crit,
            signed.rsplit_once('.').unwrap().0.to_string(),
            format!("{signed}x"),
            "eyJ".repeat(4_000),
            String::new(),
        ] {
            assert_eq!(shown(&options(), &wrong), Err(Refused::NotSigned), "{wrong}");
        }
        let off = AuthOptions { status_secret: String::new(), ..options() };
        assert_eq!(shown(&off, &signed), Err(Refused::NotSigned));
    }

    #[test]
    fn the_former_secret_counts_until_its_time_is_over() {
        let at = |second| Timestamp::from_second(second).unwrap();
        let old = good(json!({"username": "ana", "exp": NOW + 10_000}));
        let new = AuthOptions { status_secret: "a secret of the next year".into(), ..options() };
        let renewed = new.succeeding(&options(), at(NOW), 60);
        assert!(caller(&renewed, old.as_bytes(), at(NOW + 59)).is_ok());
        assert_eq!(caller(&renewed, old.as_bytes(), at(NOW + 60)), Err(Refused::NotSigned));
    }
}
