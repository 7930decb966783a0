//! A run that is gone on with after a crash stays a part of its caller's trace.

use serde_json::json;

use super::{Receiver, client, queue, serve};
use crate::harness::postgres;
use crate::serve::{Folder, Server, until};

const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";

/// One life of the program, which dies at `place`; then another, to the end.
async fn lives(place: &str) {
    let (database, receiver, folder) = (postgres::database().await, Receiver::serve().await, Folder::new());
    // What the caller sent is not part of the message when it dies: the trace is the run's.
    let flows = json!([
        {"id": "t", "type": "tab", "label": "durable", "durability": "durable"},
        {"id": "in", "z": "t", "type": "http in", "url": "/pay", "method": "post", "x": 1, "y": 1, "wires": [["drop"]]},
        {"id": "drop", "z": "t", "type": "change", "rules": [{"t": "delete", "p": "req", "pt": "msg"}],
            "x": 1, "y": 1, "wires": [["send"]]},
        {"id": "send", "z": "t", "type": "http request", "method": "POST", "ret": "txt", "url": receiver.url,
            "x": 1, "y": 1, "wires": [["again"]]},
        {"id": "again", "z": "t", "type": "http request", "method": "POST", "ret": "txt", "url": receiver.url,
            "x": 1, "y": 1, "wires": [[]]},
    ]);
    folder.write("flows.json", &flows);
    let mut command = serve(&folder, &database);
    let dying = Server::start(command.env("PROBITY_DURABLE_FAIL_POINTS", place));
    // Its answer may be lost with the process.
    let call = client().post(format!("{}/pay?async=1", dying.base)).body("x");
    call.header("traceparent", format!("00-{TRACE}-00f067aa0ba902b7-01")).send().await.ok();
    let (code, log) = tokio::task::spawn_blocking(move || dying.ended()).await.unwrap();
    assert_eq!(code, None, "{place}: it was to die by a signal: {log:#?}");
    let before = receiver.traces.lock().unwrap().len();
    let server = Server::start(&mut serve(&folder, &database));
    until("the queue is empty", async || queue(&server.base).await.is_some_and(|items| items.is_empty())).await;
    let traces = receiver.traces.lock().unwrap().clone();
    assert!(traces.len() > before, "{place}: nothing was sent by who went on");
    for trace in &traces {
        assert!(trace.starts_with(&format!("00-{TRACE}-")) && trace.ends_with("-01"), "{place}: {traces:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_recovered_run_sends_is_part_of_its_callers_trace() {
    // Before it began, at its first point, behind it, and between the two calls.
    for place in ["dispatch.leased:1", "point.before:1", "point.after:1", "effect.sent:1"] {
        lives(place).await;
    }
}
