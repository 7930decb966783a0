//! The log: JSON a line, the run in the lines that are about one, and no secrets at any level people use.

use serde_json::{Value, json};

use super::{serve, site, tab};
use crate::harness::server::client;
use crate::serve::{Folder, Server};

const SECRETS: [&str; 3] = ["opensesame-1", "opensesame-2", "opensesame-3"];

#[tokio::test(flavor = "multi_thread")]
async fn lines_of_runs_name_them_and_secrets_are_in_none() {
    let other = site(axum::Router::new().route("/", axum::routing::any(async || "ok"))).await;
    let with_login = other.replace("http://", &format!("http://ana:{}@", SECRETS[0]));
    let folder = Folder::new();
    let flows = folder.write(
        "flows.json",
        &tab(
            json!({"trace": true}),
            &[
                json!({"id": "in00000000000000", "type": "http in", "url": "/x", "method": "post", "wires": [["ask0000000000000"]]}),
                json!({"id": "ask0000000000000", "type": "http request", "method": "GET", "ret": "obj", "url": with_login,
                       "wires": [["tok0000000000000"]]}),
                json!({"id": "tok0000000000000", "type": "http request", "method": "GET", "ret": "txt", "url": other,
                       "authType": "bearer", "credentials": {"password": SECRETS[1]}, "wires": [["out0000000000000"]]}),
                json!({"id": "out0000000000000", "type": "http response", "wires": []}),
            ],
        ),
    );
    for format in ["json", "text"] {
        let mut command = serve(&folder, &flows);
        command
            .env("PROBITY_LOG_FORMAT", format)
            .env("PROBITY_LOG_LEVEL", "info,probity=debug,reqwest=debug,hyper_util=debug");
        let server = Server::start(&mut command);
        let call =
            client().post(format!("{}/x", server.base)).header("authorization", format!("Bearer {}", SECRETS[2]));
        let answer = call.body("x").send().await.unwrap();
        assert_eq!(answer.status(), 200);
        let run = answer.headers()["x-probity-run"].to_str().unwrap().to_owned();
        server.terminate();
        let (code, log) = server.ended();
        assert_eq!(code, Some(0), "{log:?}");
        let all = log.join("\n");
        for secret in SECRETS {
            assert!(!all.contains(secret), "{format}: {secret} in {all}");
        }
        let of_run: Vec<&String> = log.iter().filter(|line| line.contains(&run)).collect();
        assert!(of_run.iter().any(|line| line.contains("JSON parse error")), "a node's own line: {all}");
        // Lines of what nodes use, which knows of no runs.
        assert!(of_run.iter().any(|line| line.contains("connect")), "{format}: {all}");
        if format == "json" {
            for line in &log {
                let line: Value = serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line}"));
                assert!(["timestamp", "level", "message"].iter().all(|name| line[name].is_string()), "{line}");
                assert!(line.get("run").is_none_or(Value::is_string), "{line}");
            }
            let once = |line: &&&String| line.matches("\"run\":").count() == 1;
            assert_eq!(of_run.iter().filter(once).count(), of_run.len());
        }
    }
}
