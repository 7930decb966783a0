//! Steps with their messages: when they are kept, what is masked, where they are seen.

use serde_json::{Value, json};

use crate::harness::server::{Server, Setup, read, tab};

async fn server(tab_properties: Value) -> Server {
    let mut flows = tab("f", "post", "/in", "echo");
    flows[0].as_object_mut().unwrap().extend(tab_properties.as_object().unwrap().clone());
    Server::start(Setup { flows, ..Setup::default() }).await
}

/// Calls the flow and gives its run.
async fn run(server: &Server, body: &str) -> Value {
    let call = server.client.post(server.url("/in")).header("content-type", "application/json");
    let answer = call.header("x-api-key", "very secret").body(body.to_owned()).send().await.unwrap();
    assert_eq!(answer.status(), 200);
    let id = answer.headers()["x-probity-run"].to_str().unwrap().to_owned();
    let (status, run) = server.json(&format!("/probity/v1/runs/{id}")).await;
    assert_eq!(status, 200, "{run}");
    run
}

#[tokio::test]
async fn a_tab_that_wants_it_keeps_messages_without_secrets() {
    let server = server(json!({"trace": true})).await;
    let run = run(&server, r#"{"n":1,"password":"hunter2"}"#).await;
    let step = &run["trace"][0];
    assert_eq!((&step["node"], &step["input"]["msg"]["payload"]["n"]), (&json!("fto"), &json!(1)), "{run}");
    assert_eq!(step["input"]["masked"], true);
    assert!(step["took_us"].is_u64() && step["input"]["msg"]["req"]["headers"]["host"].is_string(), "{step}");
    let text = run.to_string();
    assert!(!text.contains("hunter2") && !text.contains("very secret"), "{text}");
    let page = server.get(&format!("/probity/runs/{}", run["id"].as_str().unwrap())).await.text().await.unwrap();
    assert!(page.contains("secrets masked") && !page.contains("hunter2"), "{page}");
}

#[tokio::test]
async fn plain_calls_are_kept_only_when_somebody_asks_and_then_for_so_many() {
    let server = server(json!({})).await;
    assert!(run(&server, "{}").await["trace"][0].get("input").is_none());
    let ask = async |body: &str| {
        read(server.client.post(server.url("/probity/v1/flows/f/trace")).body(body.to_owned()).send().await.unwrap())
            .await
    };
    assert_eq!(ask(r#"{"runs":2}"#).await, (200, json!({"runs": 2})));
    let big = run(&server, &format!(r#"{{"text":"{}"}}"#, "x".repeat(100_000))).await;
    assert_eq!(big["trace"][0]["input"]["cut"], true);
    assert!(big.to_string().len() < 20_000);
    assert_eq!(server.json("/probity/v1/flows/f/trace").await, (200, json!({"runs": 1})));
    assert!(run(&server, "{}").await["trace"][0]["input"].is_object());
    assert!(run(&server, "{}").await["trace"][0].get("input").is_none());
    for (body, status) in [("{}", 400), (r#"{"runs":1001}"#, 400), (r#"{"runs":-1}"#, 400), (r#"{"runs":0}"#, 200)] {
        assert_eq!(ask(body).await.0, status, "{body}");
    }
    assert_eq!(server.json("/probity/v1/flows/nope/trace").await.0, 404);
}
