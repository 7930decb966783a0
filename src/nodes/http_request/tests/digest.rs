//! Digest authentication against a real server that does the sums itself (RFC 7616, 3.4.1; RFC 2069 without qop).

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use axum::routing::any;
use http::{HeaderMap, StatusCode};
use sha2::Digest as _;

use super::super::super::rig::{Rig, msg, node};

/// What the server has seen: path and `authorization` of each call.
type Calls = Arc<Mutex<Vec<(String, Option<String>)>>>;

fn hash(algorithm: &str, text: &str) -> String {
    match algorithm {
        "SHA-256" => hex::encode(sha2::Sha256::digest(text)),
        _ => hex::encode(md5::Md5::digest(text)),
    }
}

/// `key=value, key="value"` after the scheme.
fn parameters(header: &str) -> HashMap<String, String> {
    let list = header.strip_prefix("Digest ").unwrap_or_else(|| panic!("no digest: {header}"));
    list.split(", ").map(|p| p.split_once('=').unwrap()).map(|(k, v)| (k.into(), v.trim_matches('"').into())).collect()
}

/// True when the caller knows that ada's password is `correct horse`.
fn knows(request: &Request, given: &HashMap<String, String>, algorithm: &str, qop: bool) -> bool {
    let field = |name: &str| given.get(name).cloned().unwrap_or_default();
    let target = request.uri().path_and_query().unwrap().to_string();
    if field("uri") != target || field("username") != "ada" || field("realm") != "Orders" {
        return false;
    }
    let a1 = hash(algorithm, "ada:Orders:correct horse");
    let a2 = hash(algorithm, &format!("{}:{target}", request.method()));
    let middle = match qop {
        true if field("qop") != "auth" || field("nc") != "00000001" || field("cnonce").is_empty() => return false,
        true => format!("{}:{}:{}:{}", field("nonce"), field("nc"), field("cnonce"), field("qop")),
        false => field("nonce"),
    };
    field("response") == hash(algorithm, &format!("{a1}:{middle}:{a2}"))
}

/// Asks for a digest in the way its path says.
async fn guarded(State(calls): State<Calls>, request: Request) -> Response {
    let path = request.uri().path().trim_start_matches('/').to_string();
    let given = request.headers().get("authorization").map(|v| v.to_str().unwrap().to_string());
    calls.lock().unwrap().push((path.clone(), given.clone()));
    let nth = calls.lock().unwrap().len();
    let algorithm = if path.starts_with("sha") { "SHA-256" } else { "MD5" };
    let qop = path != "old";
    let parameters = given.filter(|g| g.starts_with("Digest ")).as_deref().map(parameters);
    let nonce = parameters.as_ref().map(|p| p["nonce"].clone()).unwrap_or_default();
    // The first nonce of `/stale` is too old when it comes back, every one of `/always-stale` is.
    let stale = path == "always-stale" || (path == "stale" && nonce == "nonce1");
    if let Some(parameters) = &parameters
        && !stale
        && knows(&request, parameters, algorithm, qop)
    {
        let body = axum::body::to_bytes(request.into_body(), 1 << 20).await.unwrap();
        return (StatusCode::OK, [("set-cookie", "in=1")], body).into_response();
    }
    let extra = match (qop, parameters.is_some() && stale) {
        (false, _) => "",
        (true, false) => ", qop=\"auth,auth-int\", opaque=\"o\"",
        (true, true) => ", qop=\"auth\", stale=true",
    };
    let digest = format!("Digest realm=\"Orders\", nonce=\"nonce{nth}\", algorithm={algorithm}{extra}");
    let mut headers = HeaderMap::new();
    let mut ask = |challenge: &str| headers.append("www-authenticate", challenge.parse().unwrap());
    match path.as_str() {
        "broken" => ask("Digest realm=\"Orders\""),
        "basic" => ask("Basic realm=\"Orders\""),
        // Preference first, one that nobody knows, and Basic, all in one list.
        "sha-list" => {
            ask(&format!("Digest realm=\"Orders\", nonce=\"x\", algorithm=SHA-9, {digest}, Basic realm=\"x\""))
        }
        _ => ask(&digest),
    };
    (StatusCode::UNAUTHORIZED, headers, "who are you?").into_response()
}

/// A server; redirects from `/to-…` to `/…`, and from `/away` to the address given.
async fn site(away: String) -> (String, Calls) {
    let calls = Calls::default();
    let to = |target: String| any(move || async move { (StatusCode::TEMPORARY_REDIRECT, [("location", target)]) });
    let router = Router::new()
        .route("/to-md5", to("/md5".into()))
        .route("/away", to(format!("http://{away}/md5")))
        .fallback(guarded)
        .with_state(calls.clone());
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    tokio::spawn(async move { axum::serve(listener, router).await });
    (address, calls)
}

/// Calls with a digest; gives what left the node, its complaints and the calls the server saw.
async fn call(path: &str, password: &str, message: &str) -> (crate::model::Msg, Vec<String>, Calls) {
    let (host, calls) = site("127.0.0.1:1".into()).await;
    let credentials = format!(r#"{{"user":"ada","password":"{password}"}}"#);
    let config =
        format!(r#"{{"url":"http://{host}/{path}","method":"use","authType":"digest","credentials":{credentials}}}"#);
    let rig = Rig::new(vec![node("r", "http request", &config, &[])]);
    assert_eq!(rig.problems(), []);
    rig.run(0, msg(message)).await;
    (rig.out().pop().unwrap().2, rig.complaints(), calls)
}

#[tokio::test]
async fn a_challenge_is_answered_and_the_password_never_sent() {
    for (path, tries) in [
        ("md5", 2),
        ("md5?a=b%20c&d=%C3%A9", 2),
        ("sha-256", 2),
        ("sha-list", 2),
        ("old", 2),
        // RFC 7616, 3.3: the same again with the new nonce, without asking anybody.
        ("stale", 3),
    ] {
        let message = r#"{"method":"POST","payload":{"a":1}}"#;
        let (answer, complaints, calls) = call(path, "correct horse", message).await;
        assert_eq!(answer.get("statusCode"), Some(&200.into()), "{path}");
        assert_eq!(answer.payload(), &r#"{"a":1}"#.into(), "{path}: the body goes with every try");
        assert_eq!(answer.get("redirectList").unwrap().to_json(), "[]");
        assert_eq!(complaints, Vec::<String>::new());
        let calls = calls.lock().unwrap();
        assert_eq!((calls.len(), &calls[0].1), (tries, &None), "{path}");
        assert!(!format!("{calls:?} {answer:?}").contains("correct horse"));
    }
}

#[tokio::test]
async fn a_refusal_is_passed_on() {
    for (path, password, tries, warning) in [
        ("md5", "wrong", 2, None),
        ("sha-256", "wrong", 2, None),
        ("always-stale", "correct horse", 3, None),
        ("broken", "correct horse", 1, Some("missing required parameter nonce")),
        ("basic", "correct horse", 1, Some("asks for no digest")),
    ] {
        let (answer, complaints, calls) = call(path, password, "{}").await;
        assert_eq!((answer.get("statusCode"), answer.payload()), (Some(&401.into()), &"who are you?".into()), "{path}");
        assert_eq!(calls.lock().unwrap().len(), tries, "{path}");
        match warning {
            None => assert_eq!(complaints, Vec::<String>::new(), "{path}"),
            Some(text) => {
                assert!(complaints[0].starts_with("Digest authentication failed: "), "{complaints:?}");
                assert!(complaints[0].contains(text), "{complaints:?}");
            }
        }
        let shown = format!("{complaints:?} {answer:?} {:?}", calls.lock().unwrap());
        assert!(!shown.contains("correct horse") && !shown.contains("wrong\""), "{shown}");
    }
}

#[tokio::test]
async fn user_and_password_may_stand_in_the_url() {
    let (host, calls) = site("127.0.0.1:1".into()).await;
    let config = format!(r#"{{"url":"http://ada:correct%20horse@{host}/md5","authType":"digest"}}"#);
    let rig = Rig::new(vec![node("r", "http request", &config, &[])]);
    rig.run(0, msg("{}")).await;
    let answer = rig.out().pop().unwrap().2;
    assert_eq!(answer.get("statusCode"), Some(&200.into()));
    assert!(!format!("{answer:?} {calls:?}").contains("horse"));
}

#[tokio::test]
async fn a_redirect_is_answered_where_it_leads_but_never_at_another_origin() {
    let (answer, _, calls) = call("to-md5", "correct horse", "{}").await;
    assert_eq!(answer.get("statusCode"), Some(&200.into()));
    assert!(answer.get("responseUrl").unwrap().to_js_string().ends_with("/md5"));
    assert_eq!(calls.lock().unwrap().len(), 2);

    let (elsewhere, seen) = site("127.0.0.1:1".into()).await;
    let (host, _) = site(elsewhere).await;
    let config = format!(r#"{{"url":"http://ada:correct%20horse@{host}/away","authType":"digest"}}"#);
    let rig = Rig::new(vec![node("r", "http request", &config, &[])]);
    rig.run(0, msg("{}")).await;
    assert_eq!(rig.out()[0].2.get("statusCode"), Some(&401.into()));
    assert_eq!(*seen.lock().unwrap(), [("md5".to_string(), None)]);
}

#[test]
fn credentials_are_printed_without_the_password() {
    let credentials = crate::net::Credentials { user: "ada".into(), password: "correct horse".into() };
    let mut request = crate::net::NetRequest::new(http::Method::GET, "http://x/".parse().unwrap());
    request.digest = Some(credentials);
    let shown = format!("{request:?}");
    assert!(shown.contains("ada") && !shown.contains("horse"), "{shown}");
}
