//! The proxy of `deploy/nginx`, run by a real nginx: every route arrives where it should, rewritten; websockets pass;
//! files are kept for 30 days; uploads end at 50 MB; an instance that died is not noticed.
//!
//! Addresses are sockets in a folder, so that no port is taken by chance. The parameter `resolve` and the `resolver` are
//! left out: Debian's nginx is older than the image's, and there is no Docker DNS to ask.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};

use axum::Router;
use axum::extract::ws::{Message, WebSocketUpgrade};
use axum::response::IntoResponse;
use axum::routing::any;
use futures_util::{SinkExt, StreamExt};
use reqwest::StatusCode;
use tokio::net::{UnixListener, UnixStream};

/// `tests/all` sets it: then a missing nginx is a failure.
const REQUIRED: &str = "PROBITY_TEST_REQUIRE_NGINX";

struct Nginx {
    process: Child,
    folder: tempfile::TempDir,
}

impl Drop for Nginx {
    fn drop(&mut self) {
        // It may have gone already.
        drop(self.process.kill());
        drop(self.process.wait());
    }
}

#[expect(clippy::disallowed_methods, reason = "tests have no config")]
fn nginx() -> Option<&'static str> {
    let found = ["/usr/sbin/nginx", "/usr/bin/nginx"].into_iter().find(|path| Path::new(path).exists());
    if found.is_none() {
        assert!(std::env::var_os(REQUIRED).is_none(), "nginx is missing: apt-get install nginx-light");
        eprintln!("skipped: there is no nginx");
    }
    found
}

/// The shipped files with sockets for addresses; `servers` says which stand behind a name.
fn start(binary: &str, servers: &BTreeMap<&str, Vec<PathBuf>>) -> Nginx {
    let folder = tempfile::tempdir().expect("a folder");
    let upstreams = super::read("deploy/nginx/upstreams.conf");
    let mut own = String::new();
    for line in upstreams.lines().filter(|line| !line.starts_with("resolver ")) {
        let named = line.trim().strip_prefix("server ").and_then(|rest| rest.split_once(" resolve "));
        match named {
            None => own.push_str(line),
            Some((address, rules)) => {
                let name = address.split_once(':').expect("a port").0;
                for socket in &servers[name] {
                    own.push_str(&format!("server unix:{} {rules}\n", socket.display()));
                }
            }
        }
        own.push('\n');
    }
    let temporary = folder.path().display().to_string();
    let main = super::read("deploy/nginx/nginx.conf");
    assert!(main.contains("listen 3000;"));
    let main = main.replace("/tmp/", &format!("{temporary}/"));
    let main = main.replace("listen 3000;", &format!("listen unix:{temporary}/socket;"));
    let main = main.replace("/dev/stdout", &format!("{temporary}/access"));
    std::fs::write(folder.path().join("nginx.conf"), main).expect("written");
    std::fs::write(folder.path().join("upstreams.conf"), own).expect("written");
    let config = folder.path().join("nginx.conf");
    let mut command = Command::new(binary);
    command.arg("-c").arg(&config).args(["-p", &temporary, "-e", "stderr", "-g", "daemon off; user root;"]);
    let tried = Command::new(binary).arg("-t").arg("-c").arg(&config).args(["-p", &temporary, "-e", "stderr"]).output();
    let tried = tried.expect("nginx runs");
    assert!(tried.status.success(), "{}", String::from_utf8_lossy(&tried.stderr));
    Nginx { process: command.spawn().expect("nginx starts"), folder }
}

impl Nginx {
    fn socket(&self) -> PathBuf {
        self.folder.path().join("socket")
    }

    /// A client, as soon as the proxy answers.
    #[expect(clippy::disallowed_methods, reason = "a client of a socket, and a server of others that takes its time")]
    async fn client(&self) -> reqwest::Client {
        crate::harness::server::with_crypto();
        let client = reqwest::Client::builder().unix_socket(self.socket()).build().expect("a client");
        for _ in 0..500 {
            if client.get("http://proxy/proxy-health").send().await.is_ok() {
                return client;
            }
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
        panic!("nginx does not answer");
    }
}

/// A service that says its name and what arrived; `…/ws` echoes.
fn service(folder: &Path, name: &'static str) -> (PathBuf, tokio::task::JoinHandle<()>) {
    let socket = folder.join(name);
    let listener = UnixListener::bind(&socket).expect("a socket");
    let echo = async |ws: WebSocketUpgrade| {
        ws.on_upgrade(async |mut socket| {
            while let Some(Ok(message)) = socket.recv().await {
                if matches!(message, Message::Text(_)) && socket.send(message).await.is_err() {
                    break;
                }
            }
        })
    };
    let answer = async move |call: axum::extract::Request| {
        let (head, body) = call.into_parts();
        let length = axum::body::to_bytes(body, 64 << 20).await.map(|bytes| bytes.len()).unwrap_or_default();
        let host = head.headers.get("host").and_then(|v| v.to_str().ok()).unwrap_or_default().to_string();
        let scheme =
            head.headers.get("x-forwarded-proto").and_then(|v| v.to_str().ok()).unwrap_or_default().to_string();
        ([("cache-control", "no-cache")], format!("{name} {} {length} {host} {scheme}", head.uri)).into_response()
    };
    let router = Router::new().route("/comms", any(echo)).route("/api/live/ws", any(echo)).fallback(any(answer));
    let task = tokio::spawn(async move { axum::serve(listener, router).await.expect("served") });
    (socket, task)
}

fn one_each(folder: &Path) -> BTreeMap<&'static str, Vec<PathBuf>> {
    ["status-frontend", "status-backend", "nodered", "grafana"].map(|name| (name, vec![service(folder, name).0])).into()
}

async fn get(client: &reqwest::Client, path: &str) -> (StatusCode, String) {
    let answer = client.get(format!("http://proxy:3000{path}")).send().await.expect("an answer");
    (answer.status(), answer.text().await.expect("a text"))
}

#[tokio::test]
async fn every_route_arrives_where_it_should() {
    let Some(binary) = nginx() else { return };
    let folder = tempfile::tempdir().expect("a folder");
    let nginx = start(binary, &one_each(folder.path()));
    let client = nginx.client().await;
    for (asked, arrived) in [
        ("/", "status-frontend /"),
        ("/controls/7?x=1", "status-frontend /controls/7?x=1"),
        ("/backend/users/sign-in", "status-backend /api/v1/users/sign-in"),
        ("/backend/export.css?a=%20b", "status-backend /api/v1/export.css?a=%20b"),
        ("/node-red/", "nodered /"),
        ("/node-red/red/red.min.js?v=1", "nodered /red/red.min.js?v=1"),
        ("/grafana/d/abc", "grafana /d/abc"),
    ] {
        let (status, text) = get(&client, asked).await;
        assert_eq!(
            (status, text.as_str()),
            (StatusCode::OK, format!("{arrived} 0 proxy:3000 http").as_str()),
            "{asked}"
        );
    }
    let seen = client.get("http://proxy/").header("x-forwarded-proto", "https").send().await.expect("an answer");
    assert!(seen.text().await.expect("a text").ends_with("proxy https"), "TLS before this proxy is passed on");
    let log = std::fs::read_to_string(nginx.folder.path().join("access")).expect("a log");
    assert!(log.contains("/controls/7") && !log.contains("x=1"), "queries stay out of the log: {log}");
}

#[tokio::test]
async fn files_are_kept_for_thirty_days_and_pages_are_not() {
    let Some(binary) = nginx() else { return };
    let folder = tempfile::tempdir().expect("a folder");
    let nginx = start(binary, &one_each(folder.path()));
    let client = nginx.client().await;
    let kept = async |path: &str| {
        let answer = client.get(format!("http://proxy{path}")).send().await.expect("an answer");
        let values = answer.headers().get_all("cache-control").iter();
        values.map(|v| v.to_str().expect("text").to_string()).collect::<Vec<_>>().join(", ")
    };
    assert_eq!(kept("/assets/index-4f2a.js").await, "max-age=2592000, public");
    assert_eq!(kept("/").await, "no-cache");
    // Node-RED's own files change with a deploy of nodes; it says itself how long they are good for.
    assert_eq!(kept("/node-red/red/main.min.js").await, "no-cache");
}

#[tokio::test]
async fn websockets_pass_to_the_editor_and_to_grafana() {
    let Some(binary) = nginx() else { return };
    let folder = tempfile::tempdir().expect("a folder");
    let nginx = start(binary, &one_each(folder.path()));
    nginx.client().await;
    for path in ["/node-red/comms", "/grafana/api/live/ws"] {
        let stream = UnixStream::connect(nginx.socket()).await.expect("connected");
        let (mut socket, _) =
            tokio_tungstenite::client_async(format!("ws://proxy{path}"), stream).await.expect("upgraded");
        socket.send(tokio_tungstenite::tungstenite::Message::text("hello")).await.expect("sent");
        let back = socket.next().await.expect("something").expect("a message");
        assert_eq!(back.into_text().expect("text").as_str(), "hello", "{path}");
    }
}

#[tokio::test]
async fn uploads_end_at_fifty_megabytes() {
    let Some(binary) = nginx() else { return };
    let folder = tempfile::tempdir().expect("a folder");
    let nginx = start(binary, &one_each(folder.path()));
    let client = nginx.client().await;
    let upload = async |megabytes: usize| {
        client.post("http://proxy/backend/files").body(vec![b'x'; megabytes << 20]).send().await
    };
    let taken = upload(49).await.expect("an answer");
    assert_eq!(taken.status(), StatusCode::OK);
    assert!(taken.text().await.expect("a text").contains(&format!(" {} ", 49 << 20)));
    // It may also cut the connection while the rest is still on its way.
    assert!(upload(51).await.is_ok_and(|answer| answer.status() == StatusCode::PAYLOAD_TOO_LARGE));
}

#[tokio::test]
async fn a_client_does_not_notice_that_an_instance_died() {
    let Some(binary) = nginx() else { return };
    let folder = tempfile::tempdir().expect("a folder");
    let mut servers = one_each(folder.path());
    let (second, second_task) = service(folder.path(), "nodered-2");
    servers.get_mut("nodered").expect("it is there").push(second.clone());
    let nginx = start(binary, &servers);
    let client = nginx.client().await;
    let mut before = std::collections::BTreeSet::new();
    for _ in 0..20 {
        before.insert(get(&client, "/node-red/x").await.1.split(' ').next().expect("a name").to_string());
    }
    assert_eq!(before.len(), 2, "both are asked: {before:?}");
    second_task.abort();
    std::fs::remove_file(&second).expect("the socket goes");
    for _ in 0..50 {
        let (status, text) = get(&client, "/node-red/x").await;
        assert_eq!(status, StatusCode::OK);
        assert!(text.starts_with("nodered /x"), "{text}");
    }
}
