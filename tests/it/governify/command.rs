//! The program with the Registry's address: where it listens, where it will not, and flows that stand in its own way.

use serde_json::json;

use crate::serve::{Folder, Server, probity};

#[test]
fn open_writes_are_refused_beyond_this_machine() {
    let folder = Folder::new();
    let mut command = probity();
    command.args(["serve", "--listen", "127.0.0.1:0", "--database-url", "memory:", "--listen-registry", "0.0.0.0:0"]);
    let output = command.args(["--data-dir", folder.0.to_str().unwrap()]).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert!(said.contains("listen_registry") && said.contains("status_secret"), "{said}");
}

#[tokio::test]
async fn the_registry_has_an_address_of_its_own() {
    let folder = Folder::new();
    // All of 127.0.0.0/8 is this machine: nobody else listens on an address made up here.
    let [a, b, c, ..] = *uuid::Uuid::new_v4().as_bytes();
    let address = format!("127.{a}.{b}.{}:5400", c.clamp(1, 254));
    let mut command = probity();
    command.args(["serve", "--listen", "127.0.0.1:0", "--database-url", "memory:", "--listen-registry", &address]);
    let server = Server::start(command.args(["--data-dir", folder.0.to_str().unwrap()]));
    let client = crate::harness::server::client();
    let status =
        async |base: &str, path: &str| client.get(format!("{base}{path}")).send().await.unwrap().status().as_u16();
    let registry = format!("http://{address}");
    assert_eq!(status(&registry, "/api/v6/agreements").await, 200);
    assert_eq!(status(&registry, "/probity/v1/agreements").await, 404);
    assert_eq!(status(&server.base, "/api/v6/agreements").await, 404);
    assert_eq!(status(&server.base, "/probity/v1/agreements").await, 200);
    server.terminate();
    assert_eq!(server.ended().0, Some(0));
}

/// One container goes by both names in the standalone deployment, on one port.
#[tokio::test]
async fn the_registry_and_the_director_may_share_an_address() {
    let folder = Folder::new();
    let [a, b, c, ..] = *uuid::Uuid::new_v4().as_bytes();
    let address = format!("127.{a}.{b}.{}:5400", c.clamp(1, 254));
    let mut command = probity();
    command.args(["serve", "--listen", "127.0.0.1:0", "--database-url", "memory:", "--listen-registry", &address]);
    command.args(["--listen-director", &address, "--data-dir", folder.0.to_str().unwrap()]);
    let server = Server::start(&mut command);
    let client = crate::harness::server::client();
    for path in ["/api/v6/agreements", "/api/v1/tasks", "/info", "/commons/infrastructure"] {
        let answer = client.get(format!("http://{address}{path}")).send().await.unwrap();
        assert_eq!(answer.status(), 200, "{path}");
    }
    server.terminate();
    assert_eq!(server.ended().0, Some(0));
}

#[test]
fn a_route_below_a_path_of_ours_is_a_diagnostic() {
    let folder = Folder::new();
    let entry = |id: &str, url: &str| json!({"id": id, "type": "http in", "z": "t", "name": "", "url": url, "method": "get", "wires": [[]]});
    let tab = json!({"id": "t", "type": "tab", "label": "t", "disabled": false, "info": "", "env": []});
    let flows = json!([tab, entry("a", "/Metrics/:x"), entry("b", "/probityx"), entry("c", "probity/v1/runs")]);
    let path = folder.write("flows.json", &flows);
    let output = probity().args(["check", "--format", "json", path.to_str().unwrap()]).output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert_eq!(said.matches("own-path").count(), 2, "{said}");
    assert!(said.contains("$[1].url") && said.contains("$[3].url") && !said.contains("$[2].url"), "{said}");
}
