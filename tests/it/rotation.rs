//! Secrets change under a running server: the files that hold them are read again while callers call.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use probity::clock::Clock;
use serde_json::{Value, json};
use sqlx::{AssertSqlSafe, Connection, PgConnection};

use crate::harness::postgres;
use crate::serve::{Folder, Server, probity, text, until};

const OLD: &str = "the first secret of STATUS";
const NEW: &str = "the second secret of STATUS";

fn token(secret: &str) -> String {
    let claims = json!({ "username": "ana", "authority": "ADMIN", "exp": Clock::System.now().as_second() + 3_600 });
    encode(&Header::new(Algorithm::HS256), &claims, &EncodingKey::from_secret(secret.as_bytes())).unwrap()
}

fn flows(folder: &Folder) -> PathBuf {
    folder.write(
        "flows.json",
        &json!([
            { "id": "tab0000000000000", "type": "tab", "label": "test" },
            { "id": "in00000000000000", "type": "http in", "z": "tab0000000000000", "url": "/hello", "method": "get",
              "x": 1, "y": 1, "wires": [["out0000000000000"]] },
            { "id": "out0000000000000", "type": "http response", "z": "tab0000000000000", "x": 2, "y": 1, "wires": [] }
        ]),
    )
}

fn command(folder: &Folder) -> Command {
    let mut command = probity();
    command.args(["serve", "--listen", "127.0.0.1:0", "--data-dir"]).arg(folder.0.join("data"));
    command.arg("--flows").arg(flows(folder));
    command
}

async fn hello(base: &str, token: &str) -> u16 {
    let call = crate::harness::server::client().get(format!("{base}/hello")).header("x-access-token", token);
    call.send().await.unwrap().status().as_u16()
}

/// Calls without a break until it is dropped; counts answers other than 200.
struct Traffic {
    over: Arc<AtomicBool>,
    calls: Arc<AtomicUsize>,
    failures: Arc<AtomicUsize>,
    tasks: Vec<tokio::task::JoinHandle<()>>,
}

impl Traffic {
    fn start(url: String, headers: &[(&'static str, String)]) -> Traffic {
        let (over, calls, failures) =
            (Arc::<AtomicBool>::default(), Arc::<AtomicUsize>::default(), Arc::<AtomicUsize>::default());
        let mut tasks = Vec::new();
        for _ in 0..3 {
            let (over, calls, failures) = (over.clone(), calls.clone(), failures.clone());
            let (url, headers, client) = (url.clone(), headers.to_vec(), crate::harness::server::client());
            tasks.push(tokio::spawn(async move {
                while !over.load(Ordering::Relaxed) {
                    let call = headers.iter().fold(client.get(&url), |call, (name, value)| call.header(*name, value));
                    let good = call.send().await.is_ok_and(|answer| answer.status() == 200);
                    failures.fetch_add(usize::from(!good), Ordering::Relaxed);
                    calls.fetch_add(1, Ordering::Relaxed);
                }
            }));
        }
        Traffic { over, calls, failures, tasks }
    }

    /// Waits for so many more calls.
    async fn more(&self, calls: usize) {
        let wanted = self.calls.load(Ordering::Relaxed) + calls;
        until("calls go on", async || self.calls.load(Ordering::Relaxed) >= wanted).await;
    }

    async fn end(self) -> usize {
        self.over.store(true, Ordering::Relaxed);
        for task in self.tasks {
            task.await.unwrap();
        }
        self.failures.load(Ordering::Relaxed)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_secret_of_status_changes_under_load_and_the_old_one_counts_for_a_while() {
    let folder = Folder::new();
    let secret = folder.0.join("jwt");
    std::fs::write(&secret, OLD).unwrap();
    let server = Server::start(
        command(&folder)
            .env("JWT_SECRET_FILE", &secret)
            .env("PROBITY_AUTH_FLOW_STATUS_TOKEN", "required")
            .env("PROBITY_SECRETS_WATCH_MS", "20"),
    );
    let (old, new) = (token(OLD), token(NEW));
    assert_eq!((hello(&server.base, &old).await, hello(&server.base, &new).await), (200, 401));
    let traffic = Traffic::start(format!("{}/hello", server.base), &[("x-access-token", old.clone())]);
    traffic.more(50).await;
    // A file that is about to be written is no secret.
    std::fs::write(&secret, "").unwrap();
    traffic.more(50).await;
    std::fs::write(&secret, format!("{NEW}\n")).unwrap();
    until("the new secret counts", async || hello(&server.base, &new).await == 200).await;
    traffic.more(50).await;
    assert_eq!(traffic.end().await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn on_sighup_files_are_read_and_without_overlap_the_old_secret_is_gone() {
    let folder = Folder::new();
    let secret = folder.0.join("jwt");
    std::fs::write(&secret, OLD).unwrap();
    let server = Server::start(
        command(&folder)
            .env("PROBITY_AUTH_STATUS_SECRET_FILE", &secret)
            .env("PROBITY_AUTH_FLOW_STATUS_TOKEN", "required")
            .env("PROBITY_SECRETS_WATCH_MS", "3600000")
            .env("PROBITY_SECRETS_OVERLAP_S", "0"),
    );
    let (old, new) = (token(OLD), token(NEW));
    assert_eq!(hello(&server.base, &old).await, 200);
    // The program's own command makes the secret that the file then holds.
    let made = probity()
        .args(["secrets", "rotate", "auth.status_secret"])
        .env("PROBITY_AUTH_STATUS_SECRET_FILE", &secret)
        .output()
        .unwrap();
    assert!(made.status.success(), "{}", text(&made));
    let made_secret = std::fs::read_to_string(&secret).unwrap().trim().to_string();
    assert_eq!(made_secret.len(), 64);
    assert!(!String::from_utf8_lossy(&made.stdout).contains(&made_secret));
    assert_eq!(hello(&server.base, &old).await, 200);
    assert!(Command::new("kill").arg("-HUP").arg(server.id().to_string()).status().unwrap().success());
    until("the made secret counts", async || hello(&server.base, &token(&made_secret)).await == 200).await;
    assert_eq!((hello(&server.base, &old).await, hello(&server.base, &new).await), (401, 401));
}

#[test]
fn secrets_that_everybody_knows_are_refused_by_name() {
    let folder = Folder::new();
    let short = folder.0.join("short");
    std::fs::write(&short, "too short").unwrap();
    for (variable, value, said) in [
        ("JWT_SECRET", "secret", "JWT_SECRET"),
        ("PROBITY_AUTH_STATUS_SECRET", "change-me", "auth.status_secret"),
        ("PROBITY_AUTH_STATUS_SECRET_FILE", short.to_str().unwrap(), "fewer than 16"),
        ("PROBITY_DIRECTOR_SECRET", "postgres", "director.secret"),
    ] {
        let output = command(&folder).env(variable, value).output().unwrap();
        assert_eq!(output.status.code(), Some(2), "{variable}");
        let error = text(&output);
        assert!(error.contains(said) && !error.contains("too short"), "{variable}: {error}");
    }
}

#[test]
fn secrets_are_listed_by_where_they_come_from_and_never_shown() {
    let folder = Folder::new();
    let secret = folder.0.join("jwt");
    std::fs::write(&secret, OLD).unwrap();
    let output = probity()
        .args(["secrets", "list", "--data-dir"])
        .arg(&folder.0)
        .env("JWT_SECRET_FILE", &secret)
        .env("PROBITY_MAIL_PASSWORD", "a password for mail")
        .output()
        .unwrap();
    let shown = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{}", text(&output));
    assert!(shown.lines().any(|line| line.contains("auth.status_secret") && line.contains("jwt")), "{shown}");
    assert!(
        shown.lines().any(|line| line.contains("mail.password") && line.contains("PROBITY_MAIL_PASSWORD")),
        "{shown}"
    );
    assert!(!shown.contains(OLD) && !shown.contains("a password for mail"), "{shown}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_of_a_name_is_made_and_its_hash_is_kept() {
    let folder = Folder::new();
    let (tokens, to) = (folder.0.join("tokens"), folder.0.join("ci.token"));
    let other = "0".repeat(64);
    std::fs::write(&tokens, format!("ops={other}\nci={}\n", "1".repeat(64))).unwrap();
    let server =
        Server::start(command(&folder).env("PROBITY_AUTH_TOKENS_FILE", &tokens).env("PROBITY_SECRETS_WATCH_MS", "20"));
    let made = probity()
        .args(["secrets", "rotate", "auth.tokens.ci", "--to"])
        .arg(&to)
        .env("PROBITY_AUTH_TOKENS_FILE", &tokens)
        .output()
        .unwrap();
    assert!(made.status.success(), "{}", text(&made));
    let held = std::fs::read_to_string(&tokens).unwrap();
    assert!(held.contains(&format!("ops={other}")) && held.lines().count() == 2, "{held}");
    let bearer = format!("Bearer {}", std::fs::read_to_string(&to).unwrap().trim());
    let runs = format!("{}/probity/v1/runs", server.base);
    until("the new token counts", async || {
        let call = crate::harness::server::client().get(&runs).header("authorization", &bearer);
        call.send().await.unwrap().status() == 200
    })
    .await;
}

async fn run(connection: &mut PgConnection, statement: &str) {
    sqlx::raw_sql(AssertSqlSafe(statement.to_string())).execute(connection).await.unwrap();
}

fn database_variables(command: &mut Command, url: &str, password: &Path) {
    command.env("PROBITY_DATABASE_URL", url).env("PROBITY_DATABASE_PASSWORD_FILE", password);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_databases_password_changes_under_load() {
    let database = postgres::Server::start(false);
    let mut superuser = PgConnection::connect(database.url()).await.unwrap();
    run(&mut superuser, "CREATE ROLE probity LOGIN PASSWORD 'the first password'").await;
    run(&mut superuser, "CREATE DATABASE results OWNER probity").await;
    // From now on it must show its password.
    let rules = database.folder().join("data/pg_hba.conf");
    let kept = std::fs::read_to_string(&rules).unwrap();
    std::fs::write(&rules, format!("local all probity scram-sha-256\n{kept}")).unwrap();
    run(&mut superuser, "SELECT pg_reload_conf()").await;
    let folder = Folder::new();
    let password = folder.0.join("password");
    std::fs::write(&password, "the first password\n").unwrap();
    let url = format!("postgres://probity@localhost/results?host={}", database.folder().display());
    let mut serve = command(&folder);
    database_variables(&mut serve, &url, &password);
    // So few connections that all are open before the password changes: only new ones show it.
    serve.env("PROBITY_STORE_CONNECTIONS_MAX", "2").env("PROBITY_SECRETS_WATCH_MS", "20");
    let server = Server::start(&mut serve);
    let traffic = Traffic::start(format!("{}/probity/v1/runs", server.base), &[]);
    traffic.more(50).await;
    let mut rotate = probity();
    database_variables(&mut rotate, &url, &password);
    let rotated = rotate.args(["secrets", "rotate", "database_password"]).output().unwrap();
    assert!(rotated.status.success(), "{}", text(&rotated));
    assert!(!folder.0.join("password.next").exists());
    let audit = format!("{}/probity/v1/audit", server.base);
    until("the server uses the new password", async || {
        let answer = crate::harness::server::client().get(&audit).send().await.unwrap();
        let entries: Value = serde_json::from_str(&answer.text().await.unwrap()).unwrap_or_default();
        entries["items"].as_array().is_some_and(|items| {
            items.iter().any(|entry| entry["action"] == "rotate" && entry["detail"]["changed"] == json!(["database"]))
        })
    })
    .await;
    traffic.more(50).await;
    assert_eq!(traffic.end().await, 0);
    // Connections are made anew, and the old password opens none.
    run(&mut superuser, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'probity'").await;
    let runs = format!("{}/probity/v1/runs", server.base);
    until("it connects again", async || {
        crate::harness::server::client().get(&runs).send().await.unwrap().status() == 200
    })
    .await;
    let old = url.replace("probity@", "probity:the%20first%20password@");
    assert!(PgConnection::connect(&old).await.is_err());
}
