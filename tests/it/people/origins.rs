//! Calls from other sites' pages (checklist of a STATUS installation, 3 as it is here).

use http::Method;
use probity::api::AuthOptions;

use super::{server, user};
use crate::harness::server::{Server, Setup, tab};

const STATUS: &str = "http://localhost:3000";

async fn allowed(server: &Server, method: Method, path: &str, origin: &str) -> (u16, Option<String>) {
    let answer = server.client.request(method, server.url(path)).header("origin", origin).send().await.unwrap();
    let named = answer.headers().get("access-control-allow-origin").map(|v| v.to_str().unwrap().to_owned());
    (answer.status().as_u16(), named)
}

#[tokio::test]
async fn allowed_origins_are_named_on_every_answer_and_others_on_none() {
    let server = server(AuthOptions { users: [user("ana", "p")].into(), ..AuthOptions::default() }).await;
    for (method, path, status) in [
        (Method::GET, "/settings", 401),
        (Method::GET, "/auth/login", 200),
        (Method::POST, "/a", 200),
        (Method::GET, "/nothing", 404),
        (Method::GET, "/health/live", 200),
    ] {
        assert_eq!(allowed(&server, method.clone(), path, STATUS).await, (status, Some(STATUS.into())), "{path}");
        assert_eq!(allowed(&server, method, path, "http://evil.test").await, (status, None), "{path}");
    }
}

#[tokio::test]
async fn options_are_answered_on_any_path_without_login() {
    let auth =
        AuthOptions { users: [user("ana", "p")].into(), flow_users: vec!["ana".into()], ..AuthOptions::default() };
    let server = server(auth).await;
    for path in ["/flows", "/a", "/nothing/here", "/auth/token", "/"] {
        let ask = server.client.request(Method::OPTIONS, server.url(path)).header("origin", STATUS);
        let ask = ask.header("access-control-request-headers", "authorization,x-access-token");
        let answer = ask.send().await.unwrap();
        let header = |name: &str| answer.headers().get(name).map_or("", |v| v.to_str().unwrap());
        assert_eq!(answer.status(), 204, "{path}");
        assert_eq!(header("access-control-allow-methods"), "GET,PUT,POST,DELETE");
        assert_eq!(header("access-control-allow-headers"), "authorization,x-access-token");
        assert_eq!(header("access-control-allow-origin"), STATUS);
        let varies: Vec<&str> = answer.headers().get_all("vary").iter().map(|v| v.to_str().unwrap()).collect();
        assert!(varies.contains(&"Access-Control-Request-Headers"), "{varies:?}");
        assert_eq!(allowed(&server, Method::OPTIONS, path, "http://evil.test").await, (204, None));
    }
}

#[tokio::test]
async fn a_star_restores_what_node_red_does() {
    let mut setup = Setup { flows: tab("e", "post", "/a", "echo"), ..Setup::default() };
    setup.options.cors_origins = vec!["*".into()];
    let server = Server::start(setup).await;
    for path in ["/settings", "/nothing"] {
        assert_eq!(allowed(&server, Method::GET, path, "http://any.test").await.1.as_deref(), Some("*"), "{path}");
    }
}

#[tokio::test]
async fn origins_of_flows_are_named_on_their_answers_alone() {
    let mut setup = Setup { flows: tab("e", "post", "/a", "echo"), ..Setup::default() };
    setup.options.node_cors_origins = vec!["https://shop.test".into()];
    let server = Server::start(setup).await;
    assert_eq!(allowed(&server, Method::POST, "/a", "https://shop.test").await.1.as_deref(), Some("https://shop.test"));
    assert_eq!(allowed(&server, Method::GET, "/settings", "https://shop.test").await.1, None);
}
