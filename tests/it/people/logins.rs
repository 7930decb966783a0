//! Tokens, what they allow, and who is refused (checklist of a STATUS installation, 4 to 9, 22, 42, 43).

use std::sync::Arc;

use probity::api::{AuthOptions, Permissions, password};
use probity::store::StoreOptions;
use serde_json::{Value as Json, json};

use super::{WithJson, log_in, server, token, user};
use crate::harness::server::{Server, Setup, read, tab};

async fn get(server: &Server, path: &str, token: &str) -> (u16, String, String) {
    let answer = server.client.get(server.url(path)).bearer_auth(token).send().await.unwrap();
    let challenge = answer.headers().get("www-authenticate").map_or("", |v| v.to_str().unwrap()).to_owned();
    (answer.status().as_u16(), challenge, answer.text().await.unwrap())
}

#[tokio::test]
async fn tokens_are_given_for_forms_and_json_and_basic_is_not_looked_at() {
    let server = server(AuthOptions { users: [user("ana", "secret")].into(), ..AuthOptions::default() }).await;
    let body = json!({ "client_id": "node-red-admin", "grant_type": "password", "scope": "*", "username": "ana", "password": "secret" });
    let call = server.client.post(server.url("/auth/token")).basic_auth("status", Some("other"));
    let answer = call.json(&body).send().await.unwrap();
    assert_eq!(answer.headers()["cache-control"], "no-store");
    let (status, body) = read(answer).await;
    assert_eq!((status, &body["expires_in"], &body["token_type"]), (200, &json!(604_800), &json!("Bearer")));
    let token = body["access_token"].as_str().unwrap();
    assert_eq!(get(&server, "/settings", token).await.0, 200);
    let in_query: String = form_urlencoded::byte_serialize(token.as_bytes()).collect();
    assert_eq!(server.get(&format!("/settings?access_token={in_query}")).await.status(), 200);
    assert_eq!(get(&server, "/probity/v1/runs", token).await.0, 200, "our own API takes it, too");
    let basic = server.client.get(server.url("/settings")).basic_auth("ana", Some("secret")).send().await.unwrap();
    assert_eq!(basic.status(), 401);
}

#[tokio::test]
async fn what_is_wrong_is_said_as_node_red_says_it() {
    let server = server(AuthOptions { users: [user("ana", "secret")].into(), ..AuthOptions::default() }).await;
    let ask =
        async |body: Json| read(server.client.post(server.url("/auth/token")).json(&body).send().await.unwrap()).await;
    let (status, body) = log_in(&server, "ana", "wrong").await;
    assert_eq!(status, 403);
    assert_eq!(body, json!({ "error": "invalid_grant", "error_description": "Invalid resource owner credentials" }));
    assert_eq!(log_in(&server, "eve", "secret").await.0, 403);
    let unknown =
        server.client.post(server.url("/auth/token")).json(&json!({ "client_id": "x", "grant_type": "password" }));
    let unknown = unknown.send().await.unwrap();
    assert_eq!((unknown.status().as_u16(), unknown.text().await.unwrap().as_str()), (401, "Unauthorized"));
    let (status, body) = ask(json!({ "client_id": "node-red-editor", "grant_type": "magic" })).await;
    assert_eq!((status, &body["error"]), (501, &json!("unsupported_grant_type")));
    let (status, body) =
        ask(json!({ "client_id": "node-red-editor", "grant_type": "password", "username": "ana" })).await;
    assert_eq!((status, &body["error"]), (400, &json!("invalid_request")));
    let broken = server.client.post(server.url("/auth/token")).header("content-type", "application/json").body("{bad");
    let broken = broken.send().await.unwrap();
    assert_eq!(
        (broken.status().as_u16(), &broken.headers()["content-type"]),
        (400, &"text/html; charset=utf-8".parse().unwrap())
    );
    let without = server.get("/settings").await;
    assert_eq!(without.headers()["www-authenticate"], "Bearer realm=\"Users\"");
    assert_eq!((without.status().as_u16(), without.text().await.unwrap().as_str()), (401, "Unauthorized"));
    let (status, challenge, _) = get(&server, "/settings", "nonsense").await;
    assert_eq!((status, challenge.as_str()), (401, "Bearer realm=\"Users\", error=\"invalid_token\""));
}

#[tokio::test]
async fn the_sixth_try_within_ten_minutes_is_refused_even_with_the_right_password() {
    let server =
        server(AuthOptions { users: [user("ana", "secret"), user("bob", "secret")].into(), ..AuthOptions::default() })
            .await;
    for _ in 0..5 {
        assert_eq!(log_in(&server, "ana", "wrong").await.0, 403);
    }
    let (status, body) = log_in(&server, "ana", "secret").await;
    assert_eq!((status, &body["error"]), (500, &json!("server_error")));
    assert_eq!(body["error_description"], "Too many login attempts. Wait 10 minutes and try again");
    assert_eq!(log_in(&server, "bob", "secret").await.0, 200, "others are not kept out");
}

#[tokio::test]
async fn tokens_survive_a_restart_until_they_are_revoked_or_their_user_goes() {
    let store = probity::store::open("memory:", &StoreOptions::default()).await.unwrap();
    let users = AuthOptions { users: [user("ana", "secret"), user("bob", "secret")].into(), ..AuthOptions::default() };
    let start = async |auth: AuthOptions| {
        let mut setup = Setup { store: Some(store.clone()), ..Setup::default() };
        setup.options.auth = auth;
        Server::start(setup).await
    };
    let first = start(users.clone()).await;
    let (ana, bob) = (token(&first, "ana", "secret").await, token(&first, "bob", "secret").await);
    drop(first);
    let second = start(users.clone()).await;
    assert_eq!(get(&second, "/settings", &ana).await.0, 200);
    let revoked = second.client.post(second.url("/auth/revoke")).bearer_auth(&ana).json(&json!({ "token": ana }));
    let revoked = revoked.send().await.unwrap();
    assert_eq!((revoked.status().as_u16(), revoked.text().await.unwrap().as_str()), (200, ""));
    assert_eq!(get(&second, "/settings", &ana).await.0, 401);
    let mut fewer = users;
    fewer.users.remove("bob");
    let third = start(fewer).await;
    assert_eq!(get(&third, "/settings", &bob).await.0, 401, "who is no user any more has no login");
    let audit =
        third.client.get(third.url("/probity/v1/audit")).basic_auth("ana", Some("secret")).send().await.unwrap();
    let (_, audit) = read(audit).await;
    let actions: Vec<&str> = audit["items"].as_array().unwrap().iter().map(|e| e["action"].as_str().unwrap()).collect();
    assert_eq!(actions, ["logout", "login", "login"]);
    assert!(!audit.to_string().contains(&ana), "a token is in no log");
}

#[tokio::test]
async fn a_login_ends_when_its_time_is_over() {
    // A session that was over before it was asked for: no clock to be moved.
    let store = probity::store::open("memory:", &StoreOptions::default()).await.unwrap();
    let token = "x".repeat(172);
    let session = probity::store::Session {
        token_hash: hex::encode(<sha2::Sha256 as sha2::Digest>::digest(token.as_bytes())),
        user: "ana".into(),
        client: "node-red-admin".into(),
        scope: json!("*"),
        expires_at: "2026-01-01T00:00:00Z".parse().unwrap(),
    };
    store.add_session(&session, "2025-12-31T00:00:00Z".parse().unwrap()).await.unwrap();
    let mut setup = Setup { store: Some(store), ..Setup::default() };
    setup.options.auth = AuthOptions { users: [user("ana", "secret")].into(), ..AuthOptions::default() };
    let server = Server::start(setup).await;
    assert_eq!(get(&server, "/settings", &token).await.0, 401);
}

#[tokio::test]
async fn permissions_bound_what_a_user_may_do_and_ask_for() {
    let auth = AuthOptions {
        users: [user("all", "p"), user("reader", "p"), user("nobody", "p")].into(),
        permissions: [("reader".into(), Permissions::of_text("read")), ("nobody".into(), Permissions::none())].into(),
        ..AuthOptions::default()
    };
    let server = server(auth).await;
    let reader = token(&server, "reader", "p").await;
    let (status, _, body) = get(&server, "/settings", &reader).await;
    let settings: Json = serde_json::from_str(&body).unwrap();
    assert_eq!((status, &settings["user"]), (200, &json!({ "username": "reader", "permissions": "read" })));
    let change = server.client.post(server.url("/settings/user")).bearer_auth(&reader).json(&json!({ "a": 1 }));
    let change = change.send().await.unwrap();
    assert_eq!((change.status().as_u16(), change.text().await.unwrap().as_str()), (401, ""));
    let evaluate =
        server.client.post(server.url("/probity/v1/waivers")).basic_auth("reader", Some("p")).json(&json!({}));
    assert_eq!(evaluate.send().await.unwrap().status(), 403, "nor with our own API");
    let more = json!({ "client_id": "node-red-admin", "grant_type": "password", "scope": "*", "username": "reader", "password": "p" });
    let more = server.client.post(server.url("/auth/token")).json(&more).send().await.unwrap();
    assert_eq!(more.status(), 403, "nobody gets more than he has");
    assert_eq!(log_in(&server, "nobody", "p").await.0, 403);
}

#[tokio::test]
async fn who_did_not_log_in_has_the_default_permissions() {
    let auth = AuthOptions {
        users: [user("ana", "p")].into(),
        default_permissions: Some(Permissions::of_text("read")),
        ..AuthOptions::default()
    };
    let server = server(auth).await;
    let (status, settings) = server.json("/settings").await;
    assert_eq!((status, &settings["user"]), (200, &json!({ "anonymous": true, "permissions": "read" })));
    let change = server.client.post(server.url("/settings/user")).json(&json!({ "a": 1 })).send().await.unwrap();
    assert_eq!(change.status(), 401);
    assert_eq!(server.get("/probity/v1/runs").await.status(), 401, "our own API asks for a login all the same");
}

#[tokio::test]
async fn users_with_shipped_passwords_are_disabled_unless_they_are_allowed() {
    let users = || AuthOptions {
        users: [user("developer", "dev123"), user("ana", "correct horse")].into(),
        ..AuthOptions::default()
    };
    let strict = server(users()).await;
    assert_eq!(log_in(&strict, "developer", "dev123").await.0, 403);
    assert_eq!(log_in(&strict, "ana", "correct horse").await.0, 200, "the rest start");
    let basic = strict.client.get(strict.url("/probity/v1/runs")).basic_auth("developer", Some("dev123"));
    assert_eq!(basic.send().await.unwrap().status(), 401);
    let demo = server(AuthOptions { allow_default_passwords: true, ..users() }).await;
    assert_eq!(log_in(&demo, "developer", "dev123").await.0, 200);
}

#[tokio::test]
async fn flow_endpoints_ask_for_their_own_users_and_that_of_the_environment() {
    let auth = AuthOptions {
        users: [user("developer", "p1")].into(),
        flow_logins: [user("caller", "p2")].into(),
        environment_user: Some(("status".into(), password::given("p3"))),
        ..AuthOptions::default()
    };
    let server = server(auth).await;
    let call = async |name: &str, password: &str| {
        let call = server.client.post(server.url("/a")).json(&json!({})).basic_auth(name, Some(password.to_owned()));
        call.send().await.unwrap().status().as_u16()
    };
    assert_eq!(call("caller", "p2").await, 200);
    assert_eq!(call("status", "p3").await, 200);
    assert_eq!(call("developer", "p1").await, 401, "may edit flows and not call them");
    assert_eq!(call("caller", "p1").await, 401);
    let without = server.client.post(server.url("/a")).send().await.unwrap();
    assert_eq!(without.headers()["www-authenticate"], "Basic realm=\"Authorization Required\"");
    assert_eq!((without.status().as_u16(), without.text().await.unwrap().as_str()), (401, "Unauthorized"));
    assert_eq!(log_in(&server, "caller", "p2").await.0, 403, "may call flows and not edit them");
    assert_eq!(log_in(&server, "status", "p3").await.0, 200);
}

#[tokio::test]
async fn all_users_may_call_flows_when_it_says_so() {
    let auth = AuthOptions { users: [user("any", "p")].into(), flow_users: vec!["*".into()], ..AuthOptions::default() };
    let server = server(auth).await;
    let call = server.client.post(server.url("/a")).json(&json!({})).basic_auth("any", Some("p"));
    assert_eq!(call.send().await.unwrap().status(), 200);
}

#[tokio::test]
async fn user_settings_are_kept_for_each_user_and_merged() {
    let mut setup = Setup { store: None, ..Setup::default() };
    setup.options.auth = AuthOptions { users: [user("ana", "p"), user("bob", "p")].into(), ..AuthOptions::default() };
    setup.options.user_settings =
        json!({ "bob": { "editor": { "view": { "grid": 20 } } } }).as_object().unwrap().clone();
    let server = Server::start(setup).await;
    let (ana, bob) = (token(&server, "ana", "p").await, token(&server, "bob", "p").await);
    let post = async |token: &str, body: Json| {
        let call = server.client.post(server.url("/settings/user")).bearer_auth(token).json(&body);
        assert_eq!(call.send().await.unwrap().status(), 204);
    };
    let settings =
        async |token: &str| serde_json::from_str::<Json>(&get(&server, "/settings/user", token).await.2).unwrap();
    post(&ana, json!({ "editor": { "view": { "grid": 40 } }, "telemetryEnabled": true })).await;
    post(&bob, json!({ "editor": { "tips": false } })).await;
    assert_eq!(settings(&ana).await, json!({ "editor": { "view": { "grid": 40 } } }));
    let both = json!({ "editor": { "view": { "grid": 20 }, "tips": false } });
    assert_eq!(settings(&bob).await, both, "what Node-RED kept counts until something is kept here");
    // Changes made at once are all kept.
    let server = Arc::new(server);
    let changes = (0..8).map(|i| {
        let call = server
            .client
            .post(server.url("/settings/user"))
            .bearer_auth(&ana)
            .json(&json!({ "many": { i.to_string(): i } }));
        call.send()
    });
    futures_util::future::join_all(changes).await;
    let kept: Json = serde_json::from_str(&get(&server, "/settings/user", &ana).await.2).unwrap();
    assert_eq!(kept["many"].as_object().unwrap().len(), 8);
}

#[tokio::test]
async fn credentials_are_shown_without_passwords() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("flows_cred.json");
    std::fs::write(&path, r#"{"n":{"user":"bob","password":"s3cret"}}"#).unwrap();
    let file = probity::runtime::credential_file::CredentialFile::open(&path, folder.path(), Default::default(), false)
        .unwrap();
    let mut setup = Setup { flows: tab("e", "post", "/a", "echo"), credentials: Arc::new(file), ..Setup::default() };
    setup.options.auth = AuthOptions {
        users: [user("ana", "p"), user("few", "p")].into(),
        permissions: [("few".into(), Permissions::of_text("flows.read"))].into(),
        ..AuthOptions::default()
    };
    let server = Server::start(setup).await;
    let ana = token(&server, "ana", "p").await;
    let (status, _, body) = get(&server, "/credentials/http-request/n", &ana).await;
    assert_eq!((status, body.as_str()), (200, r#"{"user":"bob","has_password":true}"#));
    assert_eq!(get(&server, "/credentials/http%20request/n", &ana).await.2, r#"{"user":"bob","has_password":true}"#);
    assert_eq!(get(&server, "/credentials/http-request/other", &ana).await.2, "{}");
    let few = token(&server, "few", "p").await;
    assert_eq!(get(&server, "/credentials/http-request/n", &few).await.0, 401);
}
