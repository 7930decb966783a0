//! Lists: pages that miss nothing and repeat nothing, filters, and parameters that are refused.

use std::collections::BTreeSet;

use probity::model::RunId;
use probity::model::run::{RunRecord, RunState, Trigger};
use serde_json::{Value, json};

use crate::harness::server::{Server, Setup, tab};
use crate::orders;

/// Follows `next` to the end.
async fn walk(server: &Server, path: &str) -> Vec<Value> {
    let mut items = Vec::new();
    let mut next = Value::Null;
    loop {
        let after = next.as_str().map(|n| format!("&after={n}")).unwrap_or_default();
        let (status, page) = server.json(&format!("{path}{after}")).await;
        assert_eq!(status, 200, "{page}");
        items.extend(page["items"].as_array().unwrap().clone());
        next = page["next"].clone();
        if next.is_null() {
            return items;
        }
    }
}

async fn seeded() -> Server {
    let server = Server::start(Setup { agreements: orders::agreements(), ..Setup::default() }).await;
    orders::seed(&*server.store).await;
    server
}

#[tokio::test]
async fn verdicts_come_in_pages_newest_first_each_once() {
    let server = seeded().await;
    let all = walk(&server, "/probity/v1/verdicts?limit=7").await;
    assert_eq!(all.len(), 5 * orders::DAYS as usize);
    let keys: BTreeSet<String> =
        all.iter().map(|v| format!("{} {} {}", v["guarantee"], v["scope"], v["window"]["from"])).collect();
    assert_eq!(keys.len(), all.len());
    let starts: Vec<&str> = all.iter().map(|v| v["window"]["from"].as_str().unwrap()).collect();
    assert!(starts.is_sorted_by(|a, b| a >= b));
    assert_eq!(all[0]["provisional"], true);
    let violated = walk(&server, "/probity/v1/verdicts?limit=1000&verdict=violated").await;
    assert!(!violated.is_empty() && violated.iter().all(|v| v["verdict"] == "violated"));
    let scoped = walk(&server, "/probity/v1/verdicts?scope=%7B%22department%22%3A%22Works%22%7D&limit=10").await;
    assert_eq!(scoped.len(), orders::DAYS as usize);
    let day = "from=2026-03-09T23:00:00Z&to=2026-03-10T23:00:00Z";
    assert_eq!(walk(&server, &format!("/probity/v1/verdicts?{day}")).await.len(), 5);
}

#[tokio::test]
async fn the_revisions_of_one_state_are_a_list() {
    let server = seeded().await;
    let all = walk(&server, "/probity/v1/states?kind=guarantee&of=PAID_WITHIN_30_DAYS").await;
    let revised = all.iter().find(|s| s["revision"] == 2).unwrap();
    let (from, to) = (revised["window"]["from"].as_str().unwrap(), revised["window"]["to"].as_str().unwrap());
    let query = "revisions&agreement=orders&kind=guarantee&of=PAID_WITHIN_30_DAYS&scope=%7B%7D";
    let (status, page) = server.json(&format!("/probity/v1/states?{query}&from={from}&to={to}")).await;
    let revisions: Vec<&Value> = page["items"].as_array().unwrap().iter().map(|s| &s["revision"]).collect();
    assert_eq!((status, revisions), (200, vec![&json!(1), &json!(2)]));
    assert_eq!(server.json("/probity/v1/states?revisions&agreement=orders").await.0, 400);
}

#[tokio::test]
async fn wrong_parameters_are_refused_with_a_hint() {
    let server = seeded().await;
    for (query, expected) in [
        ("limit=0", "query parameter limit=\"0\" is not valid"),
        ("limit=1001", "query parameter limit=\"1001\" is not valid"),
        ("limit=x", "query parameter limit=\"x\" is not valid"),
        ("after=nonsense", "query parameter \"after\" is no cursor of this list"),
        ("verdict=broken", "query parameter verdict=\"broken\" is not valid"),
        ("from=yesterday", "query parameter from=\"yesterday\" is not valid"),
        ("agreemnt=orders", "unknown query parameter \"agreemnt\""),
    ] {
        let (status, body) = server.json(&format!("/probity/v1/verdicts?{query}")).await;
        assert_eq!((status, &body["error"], &body["message"]), (400, &json!("bad_request"), &json!(expected)));
        assert!(body["hint"].is_string(), "{body}");
    }
    let (_, body) = server.json("/probity/v1/agreements/ordrs").await;
    assert_eq!(body["hint"], "did you mean \"orders\"?");
}

fn stored_run(id: RunId) -> RunRecord {
    let at = "2026-03-01T00:00:00Z".parse().unwrap();
    RunRecord {
        id,
        subject: "e".into(),
        trigger: Trigger::Manual { by: "test".into() },
        state: RunState::Failed,
        started_at: at,
        ended_at: Some(at),
        version: "v".into(),
        hops: 1,
        error: None,
        trace: vec![],
        trace_dropped: 0,
    }
}

#[tokio::test]
async fn runs_in_memory_and_in_the_store_are_one_list() {
    let server = Server::start(Setup { flows: tab("e", "get", "/a", "echo"), ..Setup::default() }).await;
    let mut expected = Vec::new();
    for i in 0..25 {
        if i % 3 == 0 {
            let run = stored_run(RunId::fresh());
            server.store.record_runs(std::slice::from_ref(&run)).await.unwrap();
            expected.push(run.id.to_string());
        } else {
            let response = server.get("/a").await;
            let id = response.headers()["x-probity-run"].to_str().unwrap().to_string();
            // Some are written while they are still in memory.
            if i % 3 == 1 {
                let run = server.engine.services.history.find(id.parse().unwrap()).unwrap();
                server.store.record_runs(&[run]).await.unwrap();
            }
            expected.push(id);
        }
    }
    expected.sort();
    expected.reverse();
    for limit in [1, 2, 3, 7, 24, 25, 1000] {
        let ids: Vec<String> = walk(&server, &format!("/probity/v1/runs?limit={limit}"))
            .await
            .iter()
            .map(|r| r["id"].as_str().unwrap().to_string())
            .collect();
        assert_eq!(ids, expected, "limit {limit}");
    }
    assert_eq!(walk(&server, "/probity/v1/runs?limit=4&state=failed").await.len(), 9);
    assert_eq!(walk(&server, "/probity/v1/runs?limit=4&trigger=http").await.len(), 16);
    let (status, _) = server.json(&format!("/probity/v1/runs/{}", RunId::fresh())).await;
    assert_eq!(status, 404);
}
