//! The disk is full while the server runs: the process lives, nothing acknowledged is lost, the error says what to do,
//! and with space on the disk it goes on without a restart. A limit on the size of files stands for the full disk.

use std::process::Command;

use serde_json::{Value, json};

use crate::harness::server::client;
use crate::serve::{Folder, Server, get, until};

/// An agreement that a flow answers, and an endpoint.
fn content(folder: &Folder) -> (std::path::PathBuf, std::path::PathBuf) {
    let flows = folder.write(
        "flows.json",
        &json!([
            {"id": "tab0000000000000", "type": "tab", "label": "collector"},
            {"id": "m000000000000000", "type": "metric", "z": "tab0000000000000", "metric": "RATE", "mode": "in",
             "x": 1, "y": 1, "wires": [["chg0000000000000"]]},
            {"id": "chg0000000000000", "type": "change", "z": "tab0000000000000", "x": 2, "y": 1,
             "rules": [{"t": "set", "p": "payload", "pt": "msg", "to": "95", "tot": "num"}],
             "wires": [["out0000000000000"]]},
            {"id": "out0000000000000", "type": "metric", "z": "tab0000000000000", "mode": "answer", "x": 3, "y": 1,
             "wires": []},
            {"id": "in00000000000000", "type": "http in", "z": "tab0000000000000", "url": "/hello", "method": "GET",
             "x": 1, "y": 2, "wires": [["res0000000000000"]]},
            {"id": "res0000000000000", "type": "http response", "z": "tab0000000000000", "x": 2, "y": 2, "wires": []},
        ]),
    );
    let agreement = folder.write(
        "agreement.json",
        &json!({
            "id": "orders", "version": "1.0.0", "type": "agreement",
            "context": {"validity": {"initial": "2026-01-01T00:00:00Z", "end": "2026-01-31T00:00:00Z", "timeZone": "UTC"}},
            "terms": {
                "metrics": {"RATE": {"collector": {"type": "PROBITY-FLOW-V1", "metric": "RATE"}, "measure": {}}},
                "guarantees": [{"id": "ENOUGH", "scope": {}, "of": [{"scope": {}, "objective": "RATE >= 90",
                    "with": {"RATE": {}}, "window": {"type": "static", "period": "daily", "initial": "2026-01-01T00:00:00Z"}}]}],
            },
        }),
    );
    (flows, agreement)
}

/// Evaluates one day; gives status and body.
async fn evaluate(server: &Server, day: u32) -> (u16, Value) {
    let range =
        json!({"from": format!("2026-01-{day:02}T00:00:00Z"), "to": format!("2026-01-{:02}T00:00:00Z", day + 1)});
    let url = format!("{}/probity/v1/agreements/orders/evaluate", server.base);
    let call = client().post(url).header("content-type", "application/json").body(range.to_string());
    crate::harness::server::read(call.send().await.unwrap()).await
}

/// The days for which there are final verdicts, oldest first.
async fn stored(server: &Server) -> Vec<String> {
    let (status, body) = get(&format!("{}/probity/v1/verdicts?agreement=orders&limit=1000", server.base)).await;
    assert_eq!(status, 200, "{body}");
    let list: Value = serde_json::from_str(&body).unwrap();
    let days =
        list["items"].as_array().unwrap().iter().map(|v| v["window"]["from"].as_str().unwrap()[..10].to_string());
    let mut days: Vec<String> = days.collect();
    days.sort();
    days
}

/// Limits the size of every file that the server writes from now on, in bytes.
fn limit_files(server: &Server, bytes: &str) {
    let pid = server.id().to_string();
    let limited = Command::new("prlimit").args(["--pid", &pid, &format!("--fsize={bytes}:unlimited")]).status();
    assert!(limited.expect("prlimit (util-linux) runs").success());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_loses_nothing_acknowledged_and_is_left_behind_without_a_restart() {
    let folder = Folder::new();
    let (flows, agreement) = content(&folder);
    let mut command = Command::new("sh");
    command
        // Without the signal, writing beyond the limit is an error, as writing to a full disk is.
        .args(["-c", "trap '' XFSZ; exec \"$@\"", "sh", env!("CARGO_BIN_EXE_probity")])
        .args(["serve", "--listen", "127.0.0.1:0", "--data-dir"])
        .arg(folder.0.join("data"))
        .arg("--flows")
        .arg(&flows)
        .arg("--agreements")
        .arg(&agreement)
        .env("PROBITY_SCHEDULE_FIRST_WINDOWS_MAX", "1")
        .env("PROBITY_SCHEDULE_PROVISIONAL_MS", "0")
        .env_remove("PROBITY_DATABASE_URL");
    let server = Server::start(&mut command);
    // The evaluation at the start is over, and no other is due.
    until("the last window is judged", async || stored(&server).await == ["2026-01-30"]).await;
    let (status, first) = evaluate(&server, 1).await;
    assert_eq!(status, 200, "{first}");
    let before = ["2026-01-01", "2026-01-30"];
    assert_eq!(stored(&server).await, before);

    limit_files(&server, "4096");
    // More than once: a failure must not change how the next one goes.
    for day in [2, 3, 2] {
        let (status, problem) = evaluate(&server, day).await;
        let message = problem["message"].as_str().unwrap_or_default();
        assert_eq!((status, &problem["error"]), (503, &json!("not_stored")), "{problem}");
        assert!(message.contains("nothing of it was stored. Free space on the disk"), "{problem}");
        assert_eq!(get(&format!("{}/hello", server.base)).await.0, 200);
        assert_eq!(get(&format!("{}/health/live", server.base)).await.0, 200);
        assert_eq!(stored(&server).await, before);
    }

    limit_files(&server, "unlimited");
    let (status, later) = evaluate(&server, 2).await;
    assert_eq!(status, 200, "{later}");
    assert_eq!(stored(&server).await, ["2026-01-01", "2026-01-02", "2026-01-30"]);
    server.terminate();
    assert_eq!(server.ended().0, Some(0));
}
