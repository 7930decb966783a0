//! Who is let in, and what another site's page cannot do.

use probity::api::AuthOptions;
use serde_json::json;
use sha2::{Digest, Sha256};

use crate::harness::server::{Server, Setup, read, tab};
use crate::orders;

async fn server(auth: AuthOptions) -> Server {
    let mut setup =
        Setup { flows: tab("e", "get", "/a", "echo"), agreements: orders::agreements(), ..Setup::default() };
    setup.options.auth = auth;
    Server::start(setup).await
}

fn users(flow_users: &[&str]) -> AuthOptions {
    let hash = |password| bcrypt::hash(password, 4).unwrap();
    AuthOptions {
        users: [("ana".into(), hash("secret")), ("bot".into(), hash("beep"))].into(),
        tokens: [("ci".into(), hex::encode(Sha256::digest("t0ken")))].into(),
        flow_users: flow_users.iter().map(|u| u.to_string()).collect(),
        ..AuthOptions::default()
    }
}

#[tokio::test]
async fn with_users_everything_of_ours_but_health_needs_login() {
    let server = server(users(&[])).await;
    for path in ["/probity/", "/probity/v1/runs", "/probity/openapi.json", "/metrics", "/probity/nothing"] {
        let refused = server.get(path).await;
        assert_eq!(refused.status(), 401, "{path}");
        assert!(refused.headers()["www-authenticate"].to_str().unwrap().starts_with("Basic realm="));
    }
    for path in ["/health/live", "/health/ready", "/a"] {
        assert_eq!(server.get(path).await.status(), 200, "{path}");
    }
    let path = server.url("/probity/v1/runs");
    for (name, password, status) in [("ana", "secret", 200), ("ana", "wrong", 401), ("eve", "secret", 401)] {
        let answer = server.client.get(&path).basic_auth(name, Some(password)).send().await.unwrap();
        assert_eq!(answer.status(), status, "{name}");
    }
    for (token, status) in [("t0ken", 200), ("other", 401)] {
        assert_eq!(server.client.get(&path).bearer_auth(token).send().await.unwrap().status(), status);
    }
}

#[tokio::test]
async fn flows_need_login_when_flow_users_are_named() {
    let server = server(users(&["bot"])).await;
    let call = |name: &str, password: &str| {
        server.client.get(server.url("/a")).basic_auth(name, Some(password.to_string())).send()
    };
    assert_eq!(server.get("/a").await.status(), 401);
    assert_eq!(call("bot", "beep").await.unwrap().status(), 200);
    assert_eq!(call("ana", "secret").await.unwrap().status(), 401, "a user, but not of flows");
}

#[tokio::test]
async fn guessing_is_answered_429_after_a_while() {
    let server = server(users(&[])).await;
    let guess = || server.client.get(server.url("/metrics")).bearer_auth("guess").send();
    for _ in 0..10 {
        assert_eq!(guess().await.unwrap().status(), 401);
    }
    let refused = guess().await.unwrap();
    assert_eq!(refused.status(), 429);
    assert!(refused.headers()["retry-after"].to_str().unwrap().parse::<u32>().unwrap() <= 60);
}

#[tokio::test]
async fn without_users_foreign_names_and_foreign_pages_are_refused() {
    let server = server(AuthOptions::default()).await;
    let rebound = server.client.get(server.url("/probity/v1/runs")).header("host", "evil.test");
    let (status, body) = read(rebound.send().await.unwrap()).await;
    assert_eq!((status, &body["error"]), (403, &json!("unknown_host")));
    let evaluate = || server.client.post(server.url("/probity/v1/agreements/orders/evaluate"));
    let (status, body) = read(evaluate().header("origin", "http://evil.test").send().await.unwrap()).await;
    assert_eq!((status, &body["error"]), (403, &json!("cross_origin")));
    let own = format!("http://{}", server.address);
    assert_eq!(evaluate().header("origin", own).send().await.unwrap().status(), 200);
    assert_eq!(evaluate().send().await.unwrap().status(), 200);
}
