//! The database goes away while the server runs: readers are told so, soon, and flows go on.

use std::sync::Arc;
use std::time::Duration;

use probity::store::{Store, StoreOptions, open};
use serde_json::json;

use crate::harness::server::{Server, Setup, tab};
use crate::harness::{postgres, server};

/// A server over a database of its own. The store would wait ten minutes: what comes earlier comes from the API.
async fn served() -> (Server, postgres::Server) {
    let database = postgres::Server::start(false);
    let options = StoreOptions { connect_timeout_ms: 600_000, call_timeout_ms: 600_000, ..StoreOptions::default() };
    let store: Arc<dyn Store> = open(&database.database().await, &options).await.unwrap();
    store.migrate().await.unwrap();
    let flows = tab("a", "get", "/echo", "echo");
    (Server::start(Setup { store: Some(store), flows, ..Setup::default() }).await, database)
}

async fn soon<T>(call: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(60), call).await.expect("an answer long before the store gives up")
}

#[tokio::test]
async fn readers_get_503_and_flows_go_on() {
    let (server, database) = served().await;
    for path in ["/probity/v1/verdicts", "/probity/v1/runs"] {
        assert_eq!(server.json(path).await.0, 200);
    }
    drop(database);
    let paths = ["verdicts", "states", "runs", "audit", "runs/01890000-0000-7000-8000-000000000000"];
    let urls = paths.map(|path| format!("/probity/v1/{path}"));
    let calls = urls.iter().map(|url| server.get(url));
    for (path, answer) in paths.iter().zip(soon(futures_util::future::join_all(calls)).await) {
        assert_eq!(answer.headers()["retry-after"], "1", "{path}");
        let (status, problem) = server::read(answer).await;
        assert_eq!((status, &problem["error"]), (503, &json!("store_unavailable")), "{path}: {problem}");
        assert!(problem["hint"].as_str().unwrap().contains("/health/ready"), "{problem}");
    }
    let page = soon(server.get("/probity/verdicts")).await;
    assert_eq!(
        (page.status().as_u16(), page.headers()["content-type"].to_str().unwrap()),
        (503, "text/html; charset=utf-8")
    );
    assert!(page.text().await.unwrap().contains("the database does not answer"));
    // What needs no store is answered as ever.
    for path in ["/echo", "/probity/v1/flows", "/health/live", "/metrics"] {
        assert_eq!(soon(server.get(path)).await.status(), 200, "{path}");
    }
}
