//! The program itself: starts, answers, stops, and refuses with exit codes and words.

use std::io::{BufRead, BufReader, Lines};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStderr, Command, Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream};

use crate::harness::postgres;

/// A folder that goes with the test.
pub(crate) struct Folder(pub(crate) PathBuf);

impl Folder {
    pub(crate) fn new() -> Folder {
        let path = std::env::temp_dir().join(format!("probity-serve-{}", uuid::Uuid::new_v4().simple()));
        std::fs::create_dir_all(&path).unwrap();
        Folder(path)
    }

    pub(crate) fn write(&self, name: &str, content: &Value) -> PathBuf {
        let path = self.0.join(name);
        std::fs::write(&path, content.to_string()).unwrap();
        path
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        std::fs::remove_dir_all(&self.0).ok();
    }
}

pub(crate) fn probity() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_probity"));
    command.stdin(Stdio::null()).env_remove("PROBITY_DATABASE_URL").env_remove("PROBITY_LISTEN");
    command
}

/// A server under way; killed with the test.
pub(crate) struct Server {
    child: Child,
    pub(crate) base: String,
    log: Lines<BufReader<ChildStderr>>,
}

impl Server {
    pub(crate) fn start(command: &mut Command) -> Server {
        Server::begin(command).unwrap_or_else(|(_, seen)| panic!("the server ended: {seen:?}"))
    }

    /// As [`Server::start`], for one that may end before it is ready: then its exit code and what it logged.
    pub(crate) fn begin(command: &mut Command) -> Result<Server, (Option<i32>, Vec<String>)> {
        let mut child = command.stderr(Stdio::piped()).spawn().unwrap();
        let mut log = BufReader::new(child.stderr.take().unwrap()).lines();
        let mut seen = Vec::new();
        let base = loop {
            let Some(line) = log.next() else { return Err((child.wait().unwrap().code(), seen)) };
            let line = line.unwrap();
            if let Some(at) = line.find("http://127.0.0.1:") {
                break line[at..].split("/probity").next().unwrap().to_string();
            }
            seen.push(line);
        };
        Ok(Server { child, base, log })
    }

    pub(crate) fn terminate(&self) {
        let status = Command::new("kill").arg("-TERM").arg(self.child.id().to_string()).status().unwrap();
        assert!(status.success());
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Waits for the end; gives the exit code and what was logged until then.
    pub(crate) fn ended(mut self) -> (Option<i32>, Vec<String>) {
        let log = self.log.by_ref().map_while(Result::ok).collect();
        (self.child.wait().unwrap().code(), log)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

pub(crate) async fn get(url: &str) -> (u16, String) {
    let answer = crate::harness::server::client().get(url).send().await.unwrap();
    (answer.status().as_u16(), answer.text().await.unwrap())
}

pub(crate) async fn until(what: &str, mut condition: impl AsyncFnMut() -> bool) {
    let started = Instant::now();
    while !condition().await {
        assert!(started.elapsed() < Duration::from_secs(90), "never came true: {what}");
        tokio::task::yield_now().await;
    }
}

fn flow(nodes: &[Value]) -> Value {
    let mut all = vec![json!({"id": "tab0000000000000", "type": "tab", "label": "test"})];
    for node in nodes {
        let mut node = node.clone();
        node["z"] = json!("tab0000000000000");
        node["x"] = json!(100);
        node["y"] = json!(100);
        all.push(node);
    }
    json!(all)
}

fn hello(extra: &[Value]) -> Value {
    let mut nodes = vec![
        json!({"id": "in00000000000000", "type": "http in", "url": "/hello", "method": "get", "wires": [["out0000000000000"]]}),
        json!({"id": "out0000000000000", "type": "http response", "wires": []}),
    ];
    nodes.extend_from_slice(extra);
    flow(&nodes)
}

fn serve(folder: &Folder, flows: &Path) -> Command {
    let mut command = probity();
    command
        .args(["serve", "--listen", "127.0.0.1:0", "--data-dir"])
        .arg(folder.0.join("data"))
        .arg("--flows")
        .arg(flows);
    command
}

pub(crate) fn text(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn terminated_it_answers_open_calls_and_ends_with_zero() {
    let folder = Folder::new();
    // The flow asks a server that answers when the test says so.
    let slow = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/", slow.local_addr().unwrap());
    let mut nodes = flow(&[
        json!({"id": "in00000000000000", "type": "http in", "url": "/slow", "method": "get", "wires": [["ask0000000000000"]]}),
        json!({"id": "ask0000000000000", "type": "http request", "method": "GET", "ret": "txt", "url": url, "wires": [["out0000000000000"]]}),
        json!({"id": "out0000000000000", "type": "http response", "statusCode": "201", "wires": []}),
    ]);
    nodes[0]["env"] = json!([{"name": "PROBITY_REPLY_MS_MAX", "value": "60000", "type": "num"}]);
    let server = Server::start(&mut serve(&folder, &folder.write("flows.json", &nodes)));
    let call = tokio::spawn({
        let url = format!("{}/slow", server.base);
        async move { get(&url).await.0 }
    });
    let (mut asked, _) = slow.accept().await.unwrap();
    server.terminate();
    let address = server.base.trim_start_matches("http://").to_string();
    until("no further call is taken", async || TcpStream::connect(&address).await.is_err()).await;
    asked.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\nhi").await.unwrap();
    assert_eq!(call.await.unwrap(), 201);
    let (code, log) = server.ended();
    assert_eq!(code, Some(0), "{log:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn verdicts_written_to_postgres_show_in_the_view() {
    let folder = Folder::new();
    let url = postgres::database().await;
    let mut command = probity();
    command.args(["serve", "--listen", "127.0.0.1:0", "--data-dir"]).arg(folder.0.join("data"));
    let server = Server::start(command.env("PROBITY_DATABASE_URL", &url));
    let pool = sqlx::postgres::PgPool::connect(&url).await.unwrap();
    until("verdicts are in the view", async || {
        let rows: i64 = sqlx::query_scalar("SELECT count(*) FROM probity.verdicts").fetch_one(&pool).await.unwrap();
        rows > 0
    })
    .await;
    let listed: Value =
        serde_json::from_str(&get(&format!("{}/probity/v1/verdicts?limit=10", server.base)).await.1).unwrap();
    assert!(!listed["items"].as_array().unwrap().is_empty());
    server.terminate();
    assert_eq!(server.ended().0, Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tab_with_an_unknown_type_answers_501_and_the_others_go_on() {
    let folder = Folder::new();
    let mut both = hello(&[]);
    both.as_array_mut().unwrap().extend([
        json!({"id": "tab1111111111111", "type": "tab", "label": "other"}),
        json!({"id": "in11111111111111", "type": "http in", "z": "tab1111111111111", "url": "/other", "method": "get", "x": 1, "y": 1, "wires": [["unk1111111111111"]]}),
        json!({"id": "unk1111111111111", "type": "no-such-type", "z": "tab1111111111111", "x": 1, "y": 1, "wires": [[]]}),
    ]);
    let flows = folder.write("flows.json", &both);
    let server = Server::start(&mut serve(&folder, &flows));
    assert_eq!(get(&format!("{}/hello", server.base)).await.0, 200);
    let (status, body) = get(&format!("{}/other", server.base)).await;
    assert_eq!(status, 501);
    assert!(body.contains("no-such-type"), "{body}");
}

#[tokio::test(flavor = "multi_thread")]
async fn flows_given_by_name_load_no_shipped_agreements_unless_asked() {
    let folder = Folder::new();
    let flows = folder.write("flows.json", &hello(&[]));
    let count = async |server: &Server| {
        let body: Value =
            serde_json::from_str(&get(&format!("{}/probity/v1/agreements", server.base)).await.1).unwrap();
        body["items"].as_array().unwrap().len()
    };
    let server = Server::start(&mut serve(&folder, &flows));
    assert_eq!(count(&server).await, 0);
    drop(server);
    let server = Server::start(serve(&folder, &flows).args(["--agreements", "shipped"]));
    assert_eq!(count(&server).await, 3);
}

#[test]
fn an_address_others_can_reach_is_refused_without_users() {
    let folder = Folder::new();
    let output = probity().args(["serve", "--listen", "0.0.0.0:0", "--data-dir"]).arg(&folder.0).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(text(&output).contains("[auth]") || text(&output).contains("auth.users"), "{}", text(&output));
}

#[test]
fn a_taken_port_is_said() {
    let folder = Folder::new();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let output = probity().args(["serve", "--listen", &address, "--data-dir"]).arg(&folder.0).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(text(&output).contains("cannot listen on"), "{}", text(&output));
}

#[test]
fn usage_and_configuration_errors_exit_with_two() {
    let folder = Folder::new();
    std::fs::write(folder.0.join("bad.toml"), "lisen = \"x\"").unwrap();
    let bad = probity().args(["serve", "--config"]).arg(folder.0.join("bad.toml")).output().unwrap();
    assert_eq!(bad.status.code(), Some(2));
    assert!(text(&bad).contains("did you mean \"listen\"?"), "{}", text(&bad));
    let deaf = probity().args(["serve", "--listen", "nonsense"]).output().unwrap();
    assert_eq!(deaf.status.code(), Some(2));
    assert!(text(&deaf).contains("listen: \"nonsense\" is no address; expected ADDRESS:PORT"), "{}", text(&deaf));
    for (name, content, says) in [("broken.json", "[{", "not JSON"), ("other.json", "{}", "a flow file cannot be")] {
        std::fs::write(folder.0.join(name), content).unwrap();
        let refused = serve(&folder, &folder.0.join(name)).output().unwrap();
        assert_eq!(refused.status.code(), Some(2), "{name}");
        assert!(text(&refused).contains(says), "{}", text(&refused));
        let checked = probity().arg("check").arg(folder.0.join(name)).output().unwrap();
        assert_eq!(checked.status.code(), Some(1), "{name}");
    }
    // What runs is no error: methods in capitals or not.
    let methods = flow(&[
        json!({"id": "in00000000000000", "type": "http in", "url": "/x", "method": "GET", "wires": [["ask0000000000000"]]}),
        json!({"id": "ask0000000000000", "type": "http request", "method": "post", "url": "http://x/", "authType": "digest",
               "wires": [["out0000000000000"]]}),
        json!({"id": "out0000000000000", "type": "http response", "wires": []}),
    ]);
    let checked = probity().arg("check").arg(folder.write("methods.json", &methods)).output().unwrap();
    assert_eq!(checked.status.code(), Some(0), "{}", String::from_utf8_lossy(&checked.stdout));
    // An empty file is nothing in particular: whoever reads it says the same.
    let empty = folder.0.join("empty.json");
    std::fs::write(&empty, "").unwrap();
    let says = "error[empty-file]: the file is empty; expected a flow file (a JSON array) or an agreement";
    let checked = probity().arg("check").arg(&empty).output().unwrap();
    assert!(String::from_utf8_lossy(&checked.stdout).contains(says), "{checked:?}");
    assert_eq!(checked.status.code(), Some(1));
    for source in ["--flows", "--agreements"] {
        let refused = probity()
            .args(["evaluate", "nothing", "--data-dir"])
            .arg(folder.0.join("unused"))
            .arg(source)
            .arg(&empty)
            .output()
            .unwrap();
        assert_eq!(refused.status.code(), Some(2), "{}", text(&refused));
    }
    let loaded = probity::app::read_flows(&empty).unwrap().diagnostics;
    assert!(loaded[0].to_string().contains(says), "{loaded:?}");
    let loaded = probity::registry::load_folder(&empty).diagnostics;
    assert!(loaded[0].to_string().contains(says), "{loaded:?}");
    let migrated = probity().args(["migrate", "--database-url", "bogus"]).output().unwrap();
    assert_eq!(migrated.status.code(), Some(2));
    let shipped = concat!(env!("CARGO_MANIFEST_DIR"), "/agreements/order-process.json");
    for (range, says) in [
        (&["--to", "1999-01-01"][..], "is not after the start of the agreement"),
        (&["--from", "2999-01-01"], "is not before now"),
        (&["--from", "2026-02-01", "--to", "2026-01-01"], "is not before --to"),
    ] {
        let output = probity().args(["evaluate", shipped]).args(range).output().unwrap();
        assert_eq!(output.status.code(), Some(2), "{range:?}");
        assert!(text(&output).contains(says) && text(&output).contains(range[0]), "{}", text(&output));
    }
    assert_eq!(probity().arg("sevre").output().unwrap().status.code(), Some(2));
    assert_eq!(probity().args(["evaluate", "nothing-of-that-name"]).output().unwrap().status.code(), Some(2));
}

#[test]
fn run_prints_what_a_flow_emits_as_json_lines() {
    let folder = Folder::new();
    let flows = folder.write(
        "flow.json",
        &flow(&[
            json!({"id": "in00000000000000", "type": "http in", "url": "/x", "method": "post", "wires": [["chg0000000000000"]]}),
            json!({"id": "chg0000000000000", "type": "change", "rules": [{"t": "set", "p": "payload.n", "pt": "msg", "to": "payload.n + 1", "tot": "jsonata"}],
                   "wires": [["out0000000000000", "end0000000000000"]]}),
            json!({"id": "out0000000000000", "type": "http response", "wires": []}),
            json!({"id": "end0000000000000", "type": "junction", "wires": [[]]}),
        ]),
    );
    let input = folder.write("msg.json", &json!({"payload": {"n": 41}}));
    let output = probity().arg("run").arg(&flows).arg("--input").arg(&input).output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", text(&output));
    let lines: Vec<Value> =
        String::from_utf8_lossy(&output.stdout).lines().map(|l| serde_json::from_str(l).unwrap()).collect();
    assert_eq!((&lines[0]["event"], &lines[0]["body"]["n"]), (&json!("reply"), &json!(42)));
    assert_eq!((&lines[1]["event"], &lines[1]["msg"]["payload"]["n"]), (&json!("output"), &json!(42)));
    let failed = probity().arg("run").arg(&flows).args(["--entry", "nowhere"]).output().unwrap();
    assert_eq!(failed.status.code(), Some(2));
}

#[test]
fn an_inject_run_without_a_message_makes_its_own() {
    let folder = Folder::new();
    let flows = folder.write(
        "flow.json",
        &flow(&[
            json!({"id": "inj0000000000000", "type": "inject", "props": [{"p": "payload"}], "payload": "7",
                   "payloadType": "num", "wires": [["dbg0000000000000"]]}),
            json!({"id": "dbg0000000000000", "type": "debug", "active": true, "tosidebar": true, "complete": "payload", "wires": []}),
        ]),
    );
    let output = probity().arg("run").arg(&flows).output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", text(&output));
    let line: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((&line["event"], &line["value"]), (&json!("debug"), &json!(7)));
}

/// Each hop wraps the payload in one more level; the loop ends at `hops_max`.
#[tokio::test(flavor = "multi_thread")]
async fn a_loop_that_nests_its_message_ends_its_run_and_not_the_process() {
    let folder = Folder::new();
    let flows = folder.write(
        "flows.json",
        &hello(&[
            json!({"id": "deep000000000000", "type": "http in", "url": "/deep", "method": "get", "wires": [["wrap000000000000"]]}),
            json!({"id": "wrap000000000000", "type": "change", "wires": [["wrap000000000000"]], "rules": [
                {"t": "set", "p": "inner", "pt": "msg", "to": "payload", "tot": "msg"},
                {"t": "delete", "p": "payload", "pt": "msg"},
                {"t": "move", "p": "inner", "pt": "msg", "to": "payload.x", "tot": "msg"}]}),
        ]),
    );
    let server = Server::start(&mut serve(&folder, &flows));
    let (status, body) = get(&format!("{}/deep", server.base)).await;
    assert_eq!(status, 500, "{body}");
    assert!(body.contains("no_response"), "{body}");
    assert_eq!(get(&format!("{}/hello", server.base)).await.0, 200);
}
