//! Stops in good order, callers, keys, pauses, and a database that is away.

use serde_json::{Value, json};

use super::{Receiver, client, flows, json_of, post_async, queue, serve};
use crate::harness::postgres;
use crate::serve::{Folder, Server, until};

async fn started(receiver: &Receiver, database: &str, folder: &Folder) -> Server {
    folder.write("flows.json", &flows(&receiver.url));
    let mut command = serve(folder, database);
    tokio::task::spawn_blocking(move || Server::start(&mut command)).await.unwrap()
}

/// SIGTERM while calls are under way: those are finished, what only waits is given back, nothing is lost or doubled.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stop_finishes_what_is_under_way_and_gives_back_what_waits() {
    let (receiver, folder) = (Receiver::serve().await, Folder::new());
    let database = format!("sqlite:{}", folder.0.join("results.db").display());
    let server = started(&receiver, &database, &folder).await;
    receiver.hold(true);
    for n in 0..3 {
        assert_eq!(post_async(&server.base, "/pay", &format!("p{n}"), &format!("p{n}")).await.unwrap().0, 202);
    }
    assert_eq!(post_async(&server.base, "/late", "l", "late").await.unwrap().0, 202);
    let all_leased = |items: &[Value]| items.len() == 4 && items.iter().all(|item| item["state"] == "leased");
    until("all are under way", async || {
        receiver.got().len() == 3 && queue(&server.base).await.is_some_and(|items| all_leased(&items))
    })
    .await;
    server.terminate();
    receiver.hold(false);
    let (code, log) = tokio::task::spawn_blocking(move || server.ended()).await.unwrap();
    assert_eq!(code, Some(0), "{log:#?}");
    assert!(receiver.got().values().all(|(times, _)| *times == 1), "{:?}", receiver.got());
    let store = probity::store::open(&database, &Default::default()).await.unwrap();
    let left = store.queued_runs(&Default::default(), &Default::default()).await.unwrap().items;
    let left: Vec<_> = left.iter().map(|run| (run.node.as_str(), run.state.as_str(), run.attempt)).collect();
    // Those whose call was answered are given back at their next message, as long as nothing outside waits.
    assert!(left.contains(&("late", "queued", 0)), "{left:?}");
    assert!(
        left.iter().all(|(node, state, attempt)| ["late", "pay"].contains(node) && *state == "queued" && *attempt == 0),
        "{left:?}"
    );
}

/// A caller who waits is answered by the flow; a repeated call is the same one; another with its key is refused.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn callers_wait_for_their_flow_and_repeat_themselves() {
    let (receiver, folder) = (Receiver::serve().await, Folder::new());
    let database = format!("sqlite:{}", folder.0.join("results.db").display());
    let server = started(&receiver, &database, &folder).await;
    let call = |key: &str, body: &str| {
        let call = client().post(format!("{}/pay", server.base)).header("idempotency-key", key.to_owned());
        call.header("content-type", "text/plain").body(body.to_owned()).send()
    };
    let first = call("k", "one").await.unwrap();
    let run = first.headers()["x-probity-run"].to_str().unwrap().to_owned();
    assert_eq!((first.status().as_u16(), first.text().await.unwrap()), (200, "taken".into()));
    let again = call("k", "one").await.unwrap();
    assert_eq!(again.status(), 202);
    assert_eq!(again.headers()["location"], format!("/probity/v1/runs/{run}"));
    let other = call("k", "two").await.unwrap();
    assert_eq!(other.status(), 422);
    assert_eq!(json_of(other).await["error"], "idempotency_key_reused");
    assert_eq!(call("", "three").await.unwrap().status(), 400);
    let prefers = client().post(format!("{}/pay", server.base)).header("prefer", "respond-async").body("four");
    let prefers = prefers.send().await.unwrap();
    assert_eq!(
        (prefers.status().as_u16(), &prefers.headers()["preference-applied"]),
        (202, &"respond-async".parse().unwrap())
    );
    until("all are sent", async || receiver.got().len() == 2).await;
    assert_eq!(receiver.got()["one"].0, 1);
    // Paused, a run is accepted and waits; resumed, it goes on.
    let flow = |what: &str| client().post(format!("{}/probity/v1/flows/t/{what}", server.base)).send();
    let changed = json_of(flow("pause").await.unwrap()).await;
    assert_eq!(changed, json!({"flow": "t", "paused": true, "changed": true}));
    let (status, paused) = post_async(&server.base, "/pay", "p", "paused").await.unwrap();
    assert_eq!(status, 202);
    let address = format!("{}/probity/v1/runs/{}", server.base, paused["run"].as_str().unwrap());
    let state = async || json_of(client().get(&address).send().await.unwrap()).await["state"].clone();
    assert_eq!(state().await, "queued");
    // It waits as its tenant's, so that the tenant's limit can hold it back.
    let held = queue(&server.base).await.unwrap();
    assert_eq!(held.iter().map(|run| run["tenant"].as_str()).collect::<Vec<_>>(), [Some("acme")]);
    assert_eq!(flow("resume").await.unwrap().status(), 200);
    until("it ends", async || state().await == "done").await;
    server.terminate();
}

/// Without the database nothing is acknowledged, and callers are told when to ask again; afterwards all goes on.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_the_database_nothing_is_acknowledged() {
    let (receiver, folder) = (Receiver::serve().await, Folder::new());
    let cluster = postgres::Server::start(true);
    let database = cluster.database().await;
    folder.write("flows.json", &flows(&receiver.url));
    let server = {
        let mut command = serve(&folder, &database);
        command.env("PROBITY_DURABLE_ACCEPT_MS_MAX", "500");
        tokio::task::spawn_blocking(move || Server::start(&mut command)).await.unwrap()
    };
    assert_eq!(post_async(&server.base, "/pay", "a", "a").await.unwrap().0, 202);
    until("the first is sent", async || receiver.got().len() == 1).await;
    cluster.kill_9();
    let call = client().post(format!("{}/pay?async=1", server.base)).header("idempotency-key", "b").body("b");
    let refused = call.header("content-type", "text/plain").send().await.unwrap();
    assert_eq!(refused.status(), 503);
    assert!(refused.headers().contains_key("retry-after"));
    tokio::task::block_in_place(|| cluster.start_again());
    until("it is accepted", async || {
        post_async(&server.base, "/pay", "b", "b").await.is_some_and(|(status, _)| status == 202)
    })
    .await;
    until("both are sent and over", async || {
        receiver.got().len() == 2 && queue(&server.base).await.is_some_and(|items| items.is_empty())
    })
    .await;
    assert!(receiver.got().values().all(|(_, keys)| keys.len() == 1), "{:?}", receiver.got());
    server.terminate();
}
