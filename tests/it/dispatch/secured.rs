//! NATS behind TLS, with a password and with credentials: who it is checked against, and that runs are dispatched by it.

use std::process::Command;

use super::processes::dispatch_of;
use crate::durable::{Receiver, flows, post_async, queue};
use crate::harness::nats::Nats;
use crate::harness::postgres;
use crate::serve::{Folder, Server, until};

const AUTHORITY: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/cases/tls/ca.pem");
const CREDENTIALS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/cases/nats/probity.creds");
const OPERATOR: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/cases/nats/operator.conf");
const DISPATCHES: &str = "runs are dispatched by NATS";

/// One server with these settings of NATS.
fn serve(folder: &Folder, database: &str, receiver: &Receiver, settings: &[(&str, &str)]) -> Command {
    folder.write("flows.json", &flows(&receiver.url));
    let mut command = crate::durable::serve(folder, database);
    for (name, value) in settings {
        command.env(format!("PROBITY_DISPATCH_NATS_{name}"), value);
    }
    command
}

/// With these settings runs are dispatched by NATS, and done.
async fn dispatches(database: &str, receiver: &Receiver, settings: &[(&str, &str)]) {
    let folders = [Folder::new(), Folder::new()];
    let api = Server::start(serve(&folders[0], database, receiver, settings).args(["--roles", "api"]));
    let worker = Server::start(serve(&folders[1], database, receiver, settings).args(["--roles", "worker"]));
    for server in [&api, &worker] {
        until("NATS dispatches", async || dispatch_of(&server.base).await == DISPATCHES).await;
    }
    let key = settings.iter().map(|(name, value)| format!("{name}{value}")).collect::<String>();
    let sent = receiver.got().len();
    assert_eq!(post_async(&api.base, "/pay", &format!("k{sent}"), &key).await.unwrap().0, 202);
    until("it is done", async || receiver.got().len() == sent + 1).await;
    until("it has ended", async || queue(&api.base).await.is_some_and(|items| items.is_empty())).await;
}

/// With these it is said why not, without what is secret, and runs are done all the same.
async fn does_not(database: &str, receiver: &Receiver, settings: &[(&str, &str)]) {
    let folder = Folder::new();
    let server = Server::start(&mut serve(&folder, database, receiver, settings));
    until("it is told", async || dispatch_of(&server.base).await.contains("workers ask the database")).await;
    let told = dispatch_of(&server.base).await;
    assert!(!told.contains("for-tests") && !told.contains("not-it"), "{told}");
    let sent = receiver.got().len();
    assert_eq!(post_async(&server.base, "/pay", &format!("k{sent}"), &format!("{settings:?}")).await.unwrap().0, 202);
    until("it is done", async || receiver.got().len() == sent + 1).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_password_over_tls() {
    let Some(nats) = Nats::start_tls().await else { return };
    let (database, receiver, secrets) = (postgres::database().await, Receiver::serve().await, Folder::new());
    for (file, password) in [("right", "for-tests\n"), ("wrong", "not-it\n")] {
        std::fs::write(secrets.0.join(file), password).unwrap();
    }
    let file = |name: &str| secrets.0.join(name).to_str().unwrap().to_owned();
    let (right, wrong, url) = (file("right"), file("wrong"), format!("tls://localhost:{}", nats.port));
    let settings = |password: &'static str, authority: &'static str| {
        let password = if password == "right" { right.as_str() } else { wrong.as_str() };
        [("URL", url.as_str()), ("USER", "probity"), ("PASSWORD_FILE", password), ("AUTHORITY", authority)]
    };
    dispatches(&database, &receiver, &settings("right", AUTHORITY)).await;
    does_not(&database, &receiver, &settings("wrong", AUTHORITY)).await;
    // Of an authority that nobody on this machine has heard of.
    does_not(&database, &receiver, &settings("right", "")).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn credentials_over_tls() {
    let Some(nats) = Nats::start_with(&[&["-c", OPERATOR], &Nats::TLS[..]].concat()).await else { return };
    let (database, receiver) = (postgres::database().await, Receiver::serve().await);
    let url = format!("tls://localhost:{}", nats.port);
    let settings = [("URL", url.as_str()), ("CREDENTIALS", CREDENTIALS), ("AUTHORITY", AUTHORITY)];
    dispatches(&database, &receiver, &settings).await;
    does_not(&database, &receiver, &[settings[0], ("USER", "probity"), ("PASSWORD", "not-it"), settings[2]]).await;
}
