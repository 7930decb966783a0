//! Postgres refuses connections for a while: calls of fast flows go on, and the history has all of them afterwards.

use serde_json::json;

use super::{serve, tab};
use crate::harness::postgres;
use crate::harness::server::client;
use crate::serve::{Folder, Server, get, until};

#[tokio::test(flavor = "multi_thread")]
async fn fast_flows_go_on_without_postgres_and_the_history_catches_up() {
    let database = postgres::Server::start(false);
    let url = database.database().await;
    let folder = Folder::new();
    let flows = folder.write(
        "flows.json",
        &tab(
            json!({}),
            &[
                json!({"id": "in00000000000000", "type": "http in", "url": "/fast", "method": "get", "wires": [["out0000000000000"]]}),
                json!({"id": "out0000000000000", "type": "http response", "wires": []}),
            ],
        ),
    );
    let mut command = serve(&folder, &flows);
    command.env("PROBITY_DATABASE_URL", &url).env("PROBITY_LIMITS_RUNS_KEPT_PER_S_MAX", "1000000");
    command.env("PROBITY_STORE_WAIT_MS_MAX", "2000");
    let server = Server::start(&mut command);
    let client = client();
    let mut sent = 0;
    let mut call = async || {
        let answer = client.get(format!("{}/fast", server.base)).send().await.unwrap();
        assert_eq!(answer.status(), 200);
        sent += 1;
        sent
    };
    for _ in 0..20 {
        call().await;
    }
    database.kill_9();
    let mut all = 0;
    for _ in 0..300 {
        all = call().await;
    }
    let waiting = async || {
        let metrics = get(&format!("{}/metrics", server.base)).await.1;
        let line = metrics.lines().find(|l| l.starts_with("probity_history_waiting ")).unwrap().to_owned();
        line.rsplit_once(' ').unwrap().1.parse::<f64>().unwrap()
    };
    until("runs wait for the store", async || waiting().await > 0.0).await;
    let (status, _) = get(&format!("{}/health/ready", server.base)).await;
    assert_eq!(status, 503);
    database.start_again();
    until("every run is in the history", async || {
        let Ok(pool) = sqlx::postgres::PgPool::connect(&url).await else { return false };
        let count = sqlx::query_scalar::<_, i64>("SELECT count(*) FROM probity.run WHERE trigger_kind = 'http'");
        let found = count.fetch_one(&pool).await.is_ok_and(|n| n == all);
        pool.close().await;
        found
    })
    .await;
    let metrics = get(&format!("{}/metrics", server.base)).await.1;
    assert!(metrics.contains("probity_history_dropped_total 0"), "{metrics}");
    server.terminate();
    let (code, log) = server.ended();
    assert_eq!(code, Some(0));
    let said = |what: &str| log.iter().any(|line| line.contains(what));
    assert!(said("run history waits for the store") && said("run history is written again"), "{log:#?}");
}
