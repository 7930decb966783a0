//! Three `probity serve` on one Postgres: each due time is one row and one evaluation though one of them is killed, a
//! deploy on one is seen on all, a stale one is refused, and the store's flows win over a file that is only old.

use std::path::PathBuf;
use std::process::Command;

use serde_json::{Value, json};
use sqlx::{Connection, PgConnection};

use crate::harness::postgres;
use crate::harness::server::{client, read};
use crate::serve::{Folder, Server, get, probity, until};

/// A replica with a folder of its own.
struct Replica {
    folder: Folder,
    server: Server,
}

fn command(folder: &Folder, url: &str, agreements: &str) -> Command {
    let mut command = probity();
    command
        .args(["serve", "--listen", "127.0.0.1:0", "--agreements", agreements, "--data-dir"])
        .arg(&folder.0)
        .env("PROBITY_DATABASE_URL", url)
        .env("PROBITY_SCHEDULE_PROVISIONAL_MS", "0")
        .env("PROBITY_SCHEDULE_LEASE_MS", "1000")
        .env("PROBITY_STORE_FOLLOW_MS", "100")
        .env("PROBITY_CREDENTIALS_SECRET", "one for all replicas")
        .env("PROBITY_STORE_CONNECTIONS_MAX", "4");
    command
}

impl Replica {
    fn start(url: &str, agreements: &str) -> Replica {
        let folder = Folder::new();
        let server = Server::start(&mut command(&folder, url, agreements));
        Replica { folder, server }
    }

    fn url(&self, path: &str) -> String {
        format!("{}{path}", self.server.base)
    }

    fn kill_9(&self) {
        let killed = Command::new("kill").arg("-9").arg(self.server.id().to_string()).status().unwrap();
        assert!(killed.success());
    }

    fn file(&self) -> PathBuf {
        self.folder.0.join("flows.json")
    }

    /// The flows and their revision, as an editor loads them.
    async fn flows(&self) -> Value {
        let call = client().get(self.url("/flows")).header("node-red-api-version", "v2");
        read(call.send().await.unwrap()).await.1
    }

    async fn deploy(&self, flows: &Value, rev: &Value) -> (u16, Value) {
        let call = client().post(self.url("/flows")).header("node-red-api-version", "v2");
        let body = match rev {
            Value::Null => json!({"flows": flows}),
            rev => json!({"flows": flows, "rev": rev}),
        };
        let body = body.to_string();
        read(call.header("content-type", "application/json").body(body).send().await.unwrap()).await
    }

    /// Whether `GET /v` is answered with this.
    async fn answers(&self, wanted: &str) -> bool {
        get(&self.url("/v")).await == (200, wanted.to_owned())
    }
}

/// `GET /v` answers with this text.
fn answering(text: &str) -> Value {
    let node = |id: &str, node_type: &str, more: Value| {
        let mut node = json!({"id": id, "type": node_type, "z": "tab0000000000000", "x": 1, "y": 1, "wires": []});
        node.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        node
    };
    let set = json!([{"t": "set", "p": "payload", "pt": "msg", "to": text, "tot": "str"}]);
    json!([
        {"id": "tab0000000000000", "type": "tab", "label": "answer"},
        node("in00000000000000", "http in", json!({"url": "/v", "method": "get", "wires": [["set0000000000000"]]})),
        node("set0000000000000", "change", json!({"rules": set, "wires": [["out0000000000000"]]})),
        node("out0000000000000", "http response", json!({})),
    ])
}

async fn rows<T>(url: &str, sql: &'static str) -> Vec<T>
where
    T: for<'r> sqlx::FromRow<'r, sqlx::postgres::PgRow> + Send + Unpin,
{
    let mut connection = PgConnection::connect(url).await.unwrap();
    sqlx::query_as(sql).fetch_all(&mut connection).await.unwrap()
}

async fn all(replicas: &[Replica], what: &str, wanted: &str) {
    for replica in replicas {
        until(what, async || replica.answers(wanted).await).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deploy_on_one_replica_is_seen_on_all_and_a_stale_one_is_refused() {
    let url = postgres::database().await;
    let first = Folder::new();
    first.write("flows.json", &answering("one"));
    let server = Server::start(&mut command(&first, &url, ""));
    let mut replicas = vec![Replica { folder: first, server }];
    // They come with nothing: what they run is the store's, not what Probity ships.
    replicas.extend((0..2).map(|_| Replica::start(&url, "")));
    all(&replicas, "all run the first replica's flows", "one").await;

    let before = replicas[0].flows().await;
    let (status, deployed) = replicas[1].deploy(&answering("two"), &before["rev"]).await;
    assert_eq!(status, 200, "{deployed}");
    all(&replicas, "all run what one deployed", "two").await;
    let file = |replica: &Replica| serde_json::from_str::<Value>(&std::fs::read_to_string(replica.file()).unwrap());
    for replica in &replicas {
        until("the file is the mirror", async || file(replica).is_ok_and(|flows| flows == answering("two"))).await;
        assert_eq!(replica.flows().await["rev"], deployed["rev"]);
    }
    // As an editor that was opened before, on a replica that had no part in the deploy.
    let (status, refused) = replicas[2].deploy(&answering("three"), &before["rev"]).await;
    assert_eq!((status, &refused["code"]), (409, &json!("version_mismatch")));

    // Of deploys at once, from the same revision, one is taken.
    let texts = ["a", "b", "c"].map(answering);
    let tries = replicas.iter().zip(&texts).map(|(replica, flows)| replica.deploy(flows, &deployed["rev"]));
    let mut statuses: Vec<u16> =
        futures_util::future::join_all(tries).await.into_iter().map(|(status, _)| status).collect();
    statuses.sort_unstable();
    assert_eq!(statuses, [200, 409, 409]);

    let (_, listed) = get(&replicas[0].url("/probity/v1/flow-revisions")).await;
    let listed: Value = serde_json::from_str(&listed).unwrap();
    let about: Vec<(&Value, &Value)> =
        listed["items"].as_array().unwrap().iter().map(|item| (&item["number"], &item["action"])).collect();
    let wanted = [(json!(3), json!("deploy")), (json!(2), json!("deploy")), (json!(1), json!("file"))];
    assert_eq!(about, wanted.iter().map(|(a, b)| (a, b)).collect::<Vec<_>>());
    let (_, diff) = get(&replicas[0].url("/probity/v1/flow-revisions/2/diff")).await;
    let diff: Value = serde_json::from_str(&diff).unwrap();
    let changed = &diff["changed"]["entries"][0];
    assert_eq!((&changed["id"], &diff["added"]["count"]), (&json!("set0000000000000"), &json!(0)), "{diff}");

    let back = replicas[2].url("/probity/v1/flow-revisions/1/rollback");
    let post = async |body: Value| client().post(&back).body(body.to_string()).send().await.unwrap().status().as_u16();
    assert_eq!(post(json!({"expected": 2})).await, 409);
    assert_eq!(post(json!({"expected": 3})).await, 200);
    all(&replicas, "all are back at the first flows", "one").await;

    // From a shell, while they run; on a folder of its own, as an operator's machine has it.
    let shell = Folder::new();
    let mut flows = probity();
    flows.args(["flows", "rollback", "2", "--data-dir"]).arg(&shell.0).env("PROBITY_DATABASE_URL", &url);
    let output = flows.env("PROBITY_CREDENTIALS_SECRET", "one for all replicas").output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    all(&replicas, "all follow the shell", "two").await;

    // An old file does not come back: it was the mirror once. One that was changed by hand is a new revision.
    let Replica { folder, server } = replicas.remove(0);
    let stopped = answering("one").to_string();
    drop(server);
    let (status, _) = replicas[0].deploy(&answering("four"), &Value::Null).await;
    assert_eq!(status, 200);
    let server = Server::start(&mut command(&folder, &url, ""));
    replicas.push(Replica { folder, server });
    all(&replicas, "who was away runs what was deployed meanwhile", "four").await;
    let Replica { folder, server } = replicas.remove(0);
    drop(server);
    std::fs::write(folder.0.join("flows.json"), stopped.replace("\"one\"", "\"by hand\"")).unwrap();
    let server = Server::start(&mut command(&folder, &url, ""));
    replicas.push(Replica { folder, server });
    all(&replicas, "all run what was changed by hand", "by hand").await;
    let authors: Vec<(String,)> =
        rows(&url, "SELECT author FROM probity.flow_revision ORDER BY number DESC LIMIT 1").await;
    assert_eq!(authors[0].0, "file");
}

/// Minutes that nobody was there for.
const MISSED: i64 = 40;

/// An agreement whose only window is closed long ago, evaluated each minute, with all that was missed.
fn minutely() -> Value {
    json!({
        "id": "minutely", "version": "1.0.0", "type": "agreement",
        "context": {
            "validity": {"initial": "2026-01-01T00:00:00Z", "end": "2026-01-02T00:00:00Z", "timeZone": "UTC"},
            "x-probity": {"schedule": {"cron": "* * * * *", "timeZone": "UTC", "catchUp": "all"}},
        },
        "terms": {
            "metrics": {"RATE": {"collector": {"type": "PROBITY-FLOW-V1", "metric": "RATE"}, "measure": {}}},
            "guarantees": [{"id": "ENOUGH", "scope": {}, "of": [{"scope": {}, "objective": "RATE >= 90",
                "with": {"RATE": {}}, "window": {"type": "static", "period": "hourly", "initial": "2026-01-01T00:00:00Z"}}]}],
        },
    })
}

fn rates() -> Value {
    json!([
        {"id": "tab0000000000000", "type": "tab", "label": "collector"},
        {"id": "m000000000000000", "type": "metric", "z": "tab0000000000000", "metric": "RATE", "mode": "in",
         "x": 1, "y": 1, "wires": [["wait000000000000"]]},
        {"id": "wait000000000000", "type": "delay", "z": "tab0000000000000", "pauseType": "delay", "timeout": "100",
         "timeoutUnits": "milliseconds", "x": 1, "y": 1, "wires": [["chg0000000000000"]]},
        {"id": "chg0000000000000", "type": "change", "z": "tab0000000000000", "x": 2, "y": 1,
         "rules": [{"t": "set", "p": "payload", "pt": "msg", "to": "95", "tot": "num"}],
         "wires": [["out0000000000000"]]},
        {"id": "out0000000000000", "type": "metric", "z": "tab0000000000000", "mode": "answer", "x": 3, "y": 1, "wires": []},
        {"id": "sched00000000000", "type": "schedule", "z": "tab0000000000000", "cron": "* * * * * *",
         "timeZone": "UTC", "catchUp": "last", "x": 1, "y": 2, "wires": [["dbg0000000000000"]]},
        {"id": "dbg0000000000000", "type": "debug", "z": "tab0000000000000", "x": 2, "y": 2, "wires": []},
    ])
}

/// How many due times of the agreement are rows, and how many of those are done.
async fn counted(url: &str) -> (i64, i64) {
    let counted: Vec<(i64, i64)> = rows(
        url,
        "SELECT count(*), count(run) FROM probity.claim \
         WHERE schedule = 'agreement/minutely' AND due_at > (SELECT min(due_at) FROM probity.claim \
                                                             WHERE schedule = 'agreement/minutely')",
    )
    .await;
    counted[0]
}

#[tokio::test(flavor = "multi_thread")]
async fn each_due_time_is_one_row_and_one_evaluation_though_a_replica_is_killed() {
    let url = postgres::database().await;
    let store = probity::store::open(&url, &Default::default()).await.unwrap();
    store.migrate().await.unwrap();
    let now = probity::clock::Clock::System.now();
    let due_at = jiff::Timestamp::from_second((now.as_second() / 60 - MISSED) * 60).unwrap();
    let key = probity::store::ClaimKey { schedule: "agreement/minutely".into(), due_at };
    let due = probity::store::Due { at: due_at, key, how: probity::store::How::Live };
    let holder = probity::store::Holder { owner: "long ago", lease_ms: 0 };
    let claimed = store.claim(&due, holder).await.unwrap().unwrap();
    assert!(store.complete_claim(&claimed.claim, probity::model::RunId::fresh(), due_at).await.unwrap());

    let shared = Folder::new();
    std::fs::create_dir(shared.0.join("agreements")).unwrap();
    shared.write("agreements/minutely.json", &minutely());
    let agreements = shared.0.join("agreements").display().to_string();
    let first = Folder::new();
    first.write("flows.json", &rates());
    let server = Server::start(&mut command(&first, &url, &agreements));
    let mut replicas = vec![Replica { folder: first, server }];
    replicas.extend((0..2).map(|_| Replica::start(&url, &agreements)));

    until("some are done", async || counted(&url).await.1 >= 5).await;
    replicas[0].kill_9();
    let (_, at_kill) = counted(&url).await;
    until("all are done", async || {
        let (made, done) = counted(&url).await;
        made >= MISSED && made == done
    })
    .await;
    let (_, done) = counted(&url).await;
    assert!(done > at_kill, "the others went on");

    // No minute is left out, none is there twice.
    let gaps: Vec<(i64, i64)> = rows(
        &url,
        "SELECT count(*), (extract(epoch FROM max(due_at) - min(due_at)) / 60)::bigint + 1 FROM probity.claim \
         WHERE schedule = 'agreement/minutely'",
    )
    .await;
    assert_eq!(gaps[0].0, gaps[0].1);
    // One evaluation each: what a killed or late one began is not stored.
    let evaluations: Vec<(i64, i64, i64)> = rows(
        &url,
        "SELECT count(*), count(DISTINCT run.trigger->>'due_at'), count(claim.run) \
         FROM probity.run LEFT JOIN probity.claim ON claim.run = run.id \
         WHERE run.subject = 'minutely' AND run.trigger->>'schedule' = 'agreement/minutely'",
    )
    .await;
    let (stored, distinct, complete) = evaluations[0];
    assert!(stored >= MISSED && stored == distinct && stored == complete, "{evaluations:?}");

    // The flow's firings each second, too: at most one row each, and they went on after the kill.
    let second = |rows: &[(i64, i64)]| rows[0];
    let firings = "SELECT count(*), count(DISTINCT due_at) FROM probity.claim WHERE schedule LIKE 'flow/%'";
    let (before, distinct) = second(&rows(&url, firings).await);
    assert_eq!(before, distinct);
    until("the next second is fired", async || second(&rows(&url, firings).await).0 > before).await;
    for replica in &replicas[1..] {
        let (status, metrics) = get(&replica.url("/metrics")).await;
        assert!(status == 200 && metrics.contains("probity_ticks_total{what=\"fired\"}"), "{metrics}");
    }
    let (_, ticks) = get(&replicas[1].url("/probity/v1/ticks?schedule=agreement/minutely&limit=1")).await;
    let ticks: Value = serde_json::from_str(&ticks).unwrap();
    assert!(ticks["items"][0]["drift_ms"].is_i64() && ticks["items"][0]["owner"].is_string(), "{ticks}");
}

#[tokio::test(flavor = "multi_thread")]
async fn roles_share_the_work_and_only_one_of_them_answers_calls() {
    let url = postgres::database().await;
    let folders = [Folder::new(), Folder::new(), Folder::new()];
    folders[0].write("flows.json", &rates());
    let start = |folder: &Folder, roles: &str| Server::start(command(folder, &url, "").args(["--roles", roles]));
    let api = start(&folders[0], "api");
    let scheduler = start(&folders[1], "scheduler");
    let worker = start(&folders[2], "worker");
    let done = "SELECT count(run), count(DISTINCT lease_owner) FROM probity.claim WHERE schedule LIKE 'flow/%'";
    until("firings that one noticed are done by the other", async || {
        let found: Vec<(i64, i64)> = rows(&url, done).await;
        found[0].0 >= 2 && found[0].1 == 1
    })
    .await;
    assert_eq!(get(&format!("{}/probity/v1/schedules", api.base)).await.0, 200);
    for other in [&scheduler, &worker] {
        assert_eq!(get(&format!("{}/health/ready", other.base)).await.0, 200);
        assert_eq!(get(&format!("{}/metrics", other.base)).await.0, 200);
        let (status, text) = get(&format!("{}/flows", other.base)).await;
        assert!(status == 404 && text.contains("api"), "{text}");
    }
    let refused = probity().args(["serve", "--roles", "api,web"]).output().unwrap();
    assert_eq!(refused.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&refused.stderr).contains("\"web\" is no role"));
}
