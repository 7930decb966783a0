//! More calls than there is room for, while who is asked answers nothing: memory stays bounded, who is refused is told when
//! to come back, and what was taken is answered whole.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use axum::Router;
use axum::body::Bytes;
use axum::routing::post;
use serde_json::json;
use tokio::sync::watch;

use super::{asking, serve, site};
use crate::harness::server::{self, Setup, client};
use crate::serve::{Folder, Server, until};

const CALLS: usize = 500;
const AT_ONCE: usize = 8;
const WAITING: usize = 100;
const BODY: usize = 300_000;

/// Memory held by a process now and at most until now, bytes.
fn memory(pid: u32) -> (u64, u64) {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let read = |name: &str| {
        let line = status.lines().find_map(|l| l.strip_prefix(name)).unwrap();
        line.split_whitespace().next().unwrap().parse::<u64>().unwrap() * 1024
    };
    (read("VmRSS:"), read("VmHWM:"))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flood_is_refused_in_time_and_what_was_taken_is_answered_whole() {
    let (release, released) = watch::channel(false);
    let asked = Arc::new(AtomicUsize::new(0));
    let slow = {
        let asked = asked.clone();
        site(Router::new().route(
            "/",
            post(move |body: Bytes| {
                let (mut released, asked) = (released.clone(), asked.clone());
                async move {
                    asked.fetch_add(1, Ordering::SeqCst);
                    let _ = released.wait_for(|now| *now).await.is_ok();
                    body
                }
            }),
        ))
        .await
    };
    let folder = Folder::new();
    let env = json!([{"name": "PROBITY_REPLY_MS_MAX", "value": "300000", "type": "num"}]);
    let flows = folder.write("flows.json", &asking(json!({"concurrency": AT_ONCE, "env": env}), "/slow", &slow));
    let mut command = serve(&folder, &flows);
    command.env("PROBITY_LIMITS_WAITING_MAX", WAITING.to_string());
    command.env("PROBITY_HTTP_BODIES_BYTES_MAX", (150 * BODY).to_string());
    let server = Server::start(&mut command);
    let before = memory(server.id()).0;
    let refused = Arc::new(AtomicUsize::new(0));
    let client = client();
    let calls: Vec<_> = (0..CALLS)
        .map(|n| {
            let (client, refused) = (client.clone(), refused.clone());
            let url = format!("{}/slow", server.base);
            tokio::spawn(async move {
                let body = format!("{n:06}").repeat(BODY / 6);
                let call = client.post(url).header("content-type", "text/plain").body(body.clone());
                let answer = call.send().await.unwrap();
                let status = answer.status().as_u16();
                if status == 200 {
                    assert!(answer.text().await.unwrap() == body, "call {n} has its own answer");
                    return true;
                }
                let retry: u32 = answer.headers()["retry-after"].to_str().unwrap().parse().unwrap();
                assert!([429, 503].contains(&status) && (1..=60).contains(&retry), "{status}, in {retry} s");
                refused.fetch_add(1, Ordering::SeqCst);
                false
            })
        })
        .collect();
    until("all that cannot wait are refused", async || {
        refused.load(Ordering::SeqCst) == CALLS - AT_ONCE - WAITING && asked.load(Ordering::SeqCst) == AT_ONCE
    })
    .await;
    let metrics = crate::serve::get(&format!("{}/metrics", server.base)).await.1;
    for line in [
        "probity_places_open{of=\"flow tab0000000000000\"} 8",
        "probity_places_waiting{of=\"flow tab0000000000000\"} 100",
    ] {
        assert!(metrics.contains(line), "{line} in {metrics}");
    }
    release.send_replace(true);
    let mut answered = 0;
    for call in calls {
        answered += usize::from(call.await.unwrap());
    }
    assert_eq!(answered, AT_ONCE + WAITING);
    let most = memory(server.id()).1;
    // All of them at once would be 150 MB of bodies, each held several times over.
    assert!(most - before < 200 << 20, "{} MB more than before the flood", (most - before) >> 20);
    // And it goes on.
    let again = client.post(format!("{}/slow", server.base)).header("content-type", "text/plain").body("hi");
    assert_eq!(again.send().await.unwrap().text().await.unwrap(), "hi");
    server.terminate();
    assert_eq!(server.ended().0, Some(0));
}

#[tokio::test]
async fn the_callers_own_limit_is_429_and_the_servers_503() {
    let mut flows = server::tab("a", "get", "/a", "hang");
    flows[0]["concurrency"] = json!(1);
    flows.extend(server::tab("b", "get", "/b", "echo"));
    let mut limits = probity::runtime::Limits { runs_max: 2, ..Default::default() };
    limits.places.waiting_max = 0;
    let server = server::Server::start(Setup { flows, limits, ..Setup::default() }).await;
    let hanging = |path: &str| tokio::spawn(server.client.get(server.url(path)).send());
    let first = hanging("/a");
    until("the first runs", async || server.engine.open_runs() == 1).await;
    let refused = server.get("/a").await;
    assert_eq!(refused.headers()["retry-after"], "1");
    let (status, body) = server::read(refused).await;
    assert_eq!((status, &body["error"]), (429, &json!("too_many_runs")), "{body}");
    assert!(body["message"].as_str().unwrap().contains("flow a"), "{body}");
    assert_eq!(server.get("/b").await.status(), 200, "other flows go on");
    first.abort();
}
