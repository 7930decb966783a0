//! The gateway: its configuration is what the script writes from the table, and a real nginx leads every route of it to
//! its service, whose death of one instance no caller notices.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::{Command, Output};

use reqwest::StatusCode;

use super::proxy::{get, service};
use crate::harness::nginx;

fn generate(table: Option<&str>) -> Output {
    let mut command = Command::new("bash");
    command.arg(super::file("deploy/bin/gateway.sh"));
    let file = tempfile::NamedTempFile::new().expect("a file");
    if let Some(table) = table {
        std::fs::write(file.path(), table).expect("written");
        command.arg(file.path());
    }
    command.output().expect("bash runs")
}

/// Path, service, instances, what stands in the path's place; of the table.
fn routes() -> Vec<[String; 4]> {
    let table = super::read("deploy/gateway/routes.tsv");
    let lines = table.lines().filter(|line| !line.starts_with('#') && !line.is_empty());
    let columns = |line: &str| line.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
    lines.map(|line| columns(line).try_into().expect("four columns")).collect()
}

#[test]
fn the_configuration_is_what_the_script_writes_from_the_table() {
    let output = generate(None);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let written = String::from_utf8(output.stdout).expect("text");
    assert!(written == super::read("deploy/gateway/nginx.conf"), "deploy/bin/gateway.sh > deploy/gateway/nginx.conf");
    // Seven services, five frontends, and Probity.
    assert_eq!(routes().len(), 13);
    assert!(routes().iter().filter(|[_, _, instances, _]| instances.contains(',')).count() >= 7);
}

#[test]
fn a_table_that_makes_no_sense_is_refused_with_its_line() {
    for (table, said) in [
        ("/a/ a a:1\n", "line 1: expected four columns"),
        ("# x\n\na/ a a:1 -\n", "line 3: the path \"a/\" must begin and end with /"),
        ("/a/ a a:1 -\n/a/ b b:1 -\n", "line 2: the path /a/ stands twice"),
        ("/a/ a a:1 -\n/b/ a b:1 -\n", "line 2: the service a stands twice"),
        ("/a/ a a:1,b -\n", "the instance \"b\" must be host:port"),
        ("/a/ a a:1;return -\n", "must be host:port"),
        ("/a/ a a:1 x\n", "must be - or begin with /"),
        ("# nothing\n", "the table has no routes"),
    ] {
        let output = generate(Some(table));
        let error = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(2), "{table}");
        assert!(error.contains(said), "{table}: {error}");
        assert!(output.stdout.is_empty(), "{table}: half a configuration");
    }
}

#[tokio::test]
async fn every_route_leads_to_its_service_and_a_dead_instance_is_not_noticed() {
    let Some(binary) = nginx::binary() else { return };
    let folder = tempfile::tempdir().expect("a folder");
    let mut config = super::read("deploy/gateway/nginx.conf");
    let mut running: BTreeMap<String, (PathBuf, tokio::task::JoinHandle<()>)> = BTreeMap::new();
    for [_, name, instances, _] in routes() {
        for (i, instance) in instances.split(',').enumerate() {
            let own: &'static str = Box::leak(format!("{name}-{i}").into_boxed_str());
            let (socket, task) = service(folder.path(), own);
            let line = format!("server {instance} resolve ");
            assert!(config.contains(&line), "{line}");
            config = config.replace(&line, &format!("server unix:{} ", socket.display()));
            running.insert(own.to_owned(), (socket, task));
        }
    }
    let config = config.replace("    resolver 127.0.0.11 valid=10s ipv6=off;\n", "");
    assert!(config.contains("listen 8080;"));
    let gateway = nginx::run(binary, &config.replace("listen 8080;", "listen 3000;"), &[]);
    let client = gateway.client().await;
    for [path, name, instances, becomes] in routes() {
        let below = if becomes == "-" { path.clone() } else { becomes };
        let mut seen = std::collections::BTreeSet::new();
        for _ in 0..20 {
            let (status, text) = get(&client, &format!("{path}x?y=1")).await;
            assert_eq!(status, StatusCode::OK, "{path}: {text}");
            let (from, rest) = text.split_once(' ').expect("its name, then the rest");
            assert!(from.starts_with(&format!("{name}-")), "{path} leads to {from}");
            assert!(rest.starts_with(&format!("{below}x?y=1 ")), "{path}: {rest}");
            seen.insert(from.to_owned());
        }
        assert_eq!(seen.len(), instances.split(',').count(), "{path}: all instances are asked: {seen:?}");
    }
    for [path, name, instances, _] in routes().iter().filter(|[_, _, instances, _]| instances.contains(',')) {
        let (socket, task) = running.remove(&format!("{name}-0")).expect("it runs");
        task.abort();
        std::fs::remove_file(socket).expect("the socket goes");
        for _ in 0..20 {
            let (status, text) = get(&client, &format!("{path}x")).await;
            assert_eq!(status, StatusCode::OK, "{path} of {instances}: {text}");
        }
    }
}
