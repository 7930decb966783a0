//! Dispatch by NATS with the real program: one accepts, another dies between lease and acknowledgement, a third goes on;
//! what operators see of it.

use std::process::Command;

use serde_json::{Value, json};
use sqlx::{Connection, PgConnection};

use crate::durable::{Receiver, client, flows, post_async};
use crate::harness::nats::Nats;
use crate::harness::postgres;
use crate::serve::{Folder, Server, get, probity, until};

fn serve(folder: &Folder, database: &str, nats: &Nats, role: &str) -> Command {
    let mut command = crate::durable::serve(folder, database);
    let password = folder.0.join("nats-password");
    std::fs::write(&password, "for-tests\n").unwrap();
    command
        .args(["--roles", role])
        .env("PROBITY_DISPATCH_NATS_URL", nats.url())
        .env("PROBITY_DISPATCH_NATS_USER", "probity")
        .env("PROBITY_DISPATCH_NATS_PASSWORD_FILE", password)
        .env("PROBITY_DISPATCH_NATS_ACK_MS", "1000");
    command
}

pub(super) async fn dispatch_of(base: &str) -> String {
    let health: Value = serde_json::from_str(&get(&format!("{base}/health/ready")).await.1).unwrap();
    health["dependencies"]["dispatch"]["what"].as_str().unwrap_or_default().to_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_worker_that_dies_before_it_acknowledges_loses_and_doubles_nothing() {
    let Some(mut nats) = Nats::start().await else { return };
    let (database, receiver) = (postgres::database().await, Receiver::serve().await);
    let folders: Vec<Folder> = (0..3).map(|_| Folder::new()).collect();
    folders[0].write("flows.json", &flows(&receiver.url));
    let api = Server::start(&mut serve(&folders[0], &database, &nats, "api"));
    until("NATS dispatches", async || dispatch_of(&api.base).await == "runs are dispatched by NATS").await;
    let mut command = serve(&folders[1], &database, &nats, "worker");
    folders[1].write("flows.json", &flows(&receiver.url));
    let dying = Server::start(command.env("PROBITY_DURABLE_FAIL_POINTS", "dispatch.leased:1"));
    let mut runs = Vec::new();
    for n in 0..10 {
        let (status, answer) = post_async(&api.base, "/pay", &format!("k{n}"), &format!("pay {n}")).await.unwrap();
        assert_eq!(status, 202, "{answer}");
        runs.push(answer["run"].as_str().unwrap().to_owned());
    }
    let (code, log) = tokio::task::spawn_blocking(move || dying.ended()).await.unwrap();
    assert_eq!(code, None, "it was to die by a signal: {log:#?}");
    folders[2].write("flows.json", &flows(&receiver.url));
    let worker = Server::start(&mut serve(&folders[2], &database, &nats, "worker"));
    let mut connection = PgConnection::connect(&database).await.unwrap();
    until("the queue is empty", async || {
        let left = sqlx::query_scalar::<_, i64>("SELECT count(*) FROM probity.queue");
        left.fetch_one(&mut connection).await.unwrap() == 0
    })
    .await;
    let done: Vec<String> =
        sqlx::query_scalar("SELECT id::text FROM probity.run WHERE subject = 't' AND state = 'done' ORDER BY id")
            .fetch_all(&mut connection)
            .await
            .unwrap();
    runs.sort_unstable();
    assert_eq!(done, runs);
    // Sent again, if at all, under the key it was sent under before.
    for (body, (_, keys)) in receiver.got() {
        assert_eq!(keys.len(), 1, "{body}: {keys:?}");
    }
    assert_eq!(receiver.got().len(), 10);

    let metrics =
        async |base: &str| client().get(format!("{base}/metrics")).send().await.unwrap().text().await.unwrap();
    let told = metrics(&api.base).await;
    for line in [
        r#"probity_durable_calls_total{result="accepted"} 10"#,
        r#"probity_durable_calls_total{result="queue-full"} 0"#,
        "probity_dispatch_up 1",
    ] {
        assert!(told.lines().any(|one| one == line), "{line} in {told}");
    }
    assert!(told.contains(r#"probity_dispatch_total{what="published"}"#), "{told}");
    nats.kill();
    until("it is told", async || dispatch_of(&worker.base).await.contains("workers ask the database")).await;
    assert_eq!(get(&format!("{}/health/ready", worker.base)).await.0, 200, "slower, and complete");
    until("the metrics say so", async || metrics(&worker.base).await.contains("probity_dispatch_up 0")).await;
    let doctor = probity()
        .args(["doctor", "--format", "json", "--database-url", &database, "--data-dir"])
        .arg(&folders[0].0)
        .env("PROBITY_DISPATCH_NATS_URL", format!("nats://probity:for-tests@127.0.0.1:{}", nats.port))
        .output()
        .unwrap();
    let said: Value = serde_json::from_slice(&doctor.stdout).unwrap();
    let finding = said["findings"].as_array().unwrap().iter().find(|one| one["about"] == "dispatch");
    let message = finding.expect("a finding")["message"].as_str().unwrap();
    assert!(message.contains("NATS cannot be used") && !message.contains("for-tests"), "{message}");
    commands(&database, &folders[0], &runs[0]);
}

/// `probity runs` on the same database.
fn commands(database: &str, folder: &Folder, run: &str) {
    let call = |arguments: &[&str]| {
        let mut command = probity();
        command.arg("runs").args(arguments).args(["--database-url", database, "--data-dir"]).arg(&folder.0);
        let output = command.output().unwrap();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        (output.status.code(), text(&output.stdout), text(&output.stderr))
    };
    let (code, listed, _) = call(&["list", "--flow", "t", "--state", "done", "--format", "json"]);
    let listed: Value = serde_json::from_str(&listed).unwrap();
    assert_eq!((code, listed["ended"].as_array().unwrap().len(), &listed["queued"]), (Some(0), 10, &json!([])));
    let (code, shown, _) = call(&["show", run]);
    assert!(code == Some(0) && shown.contains(run) && shown.contains("done"), "{shown}");
    for arguments in [&["cancel", run][..], &["replay", run], &["decide", run, "skip"]] {
        let (code, _, problem) = call(arguments);
        assert!(code == Some(1) && problem.contains("is done; only a run that is"), "{arguments:?}: {problem}");
    }
    let (code, _, problem) = call(&["show", "0190a000-0000-7000-8000-000000000000"]);
    assert!(code == Some(1) && problem.contains("there is no run"), "{problem}");
    assert_eq!(call(&["list", "--state", "lost"]).0, Some(2));
    let (_, table, _) = call(&["list", "--limit", "1"]);
    assert!(table.starts_with("RUN") && table.lines().count() == 2, "{table}");
}
