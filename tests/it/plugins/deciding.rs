//! What an operator decides about plugins on a running server: grants by the API, in the file the command line writes,
//! and the way out of quarantine by the command line.

use std::path::Path;
use std::process::Command;

use probity::api::AuthOptions;
use probity::plugin::desk::Desk;
use probity::plugin::discover::Place;
use probity::plugin::limits::Limits;
use probity::plugin::package::Origin;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::rig::{Rig, component, granted, msg, package};
use crate::harness::server::{Server, Setup, read};

/// A data folder with an installed plugin `asks` that asks for clock, http and files.
pub fn desk(data: &Path) -> Desk {
    let folder = data.join("plugins/asks");
    std::fs::create_dir_all(&folder).unwrap();
    let manifest = "schema = 1\nname = \"asks\"\nversion = \"1.0.0\"\ncontract = \"1.1\"\nlicense = \"Apache-2.0\"\n\
        component = \"pass.wasm\"\n\
        [[capability]]\nname = \"clock\"\nreason = \"asks the time\"\n\
        [[capability]]\nname = \"http\"\nreason = \"asks others\"\nhosts = [\"*.example.org\"]\n\
        [[capability]]\nname = \"files\"\nreason = \"reads\"\n";
    std::fs::write(folder.join("plugin.toml"), manifest).unwrap();
    std::fs::write(folder.join("pass.wasm"), component("pass", |t| t)).unwrap();
    let places = vec![Place { origin: Origin::Installed, path: data.join("plugins") }];
    Desk { grants: data.join("plugins/grants.json"), places, grant_shipped: true }
}

fn login() -> AuthOptions {
    let tokens = [("ana".to_string(), hex::encode(Sha256::digest("t0ken")))].into();
    AuthOptions { tokens, ..AuthOptions::default() }
}

async fn server(data: &Path) -> Server {
    let mut setup = Setup { desk: desk(data), ..Setup::default() };
    setup.options.auth = login();
    Server::start(setup).await
}

/// A call as `ana`.
async fn ask(server: &Server, method: &str, path: &str, body: Value) -> (u16, Value) {
    let method = reqwest::Method::from_bytes(method.as_bytes()).unwrap();
    let call = server.client.request(method, server.url(&format!("/probity/v1/plugins/{path}"))).bearer_auth("t0ken");
    let call = if body.is_null() { call } else { call.body(body.to_string()) };
    read(call.send().await.unwrap()).await
}

async fn command(data: &Path, arguments: &[&str]) -> (i32, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_probity"));
    command.arg("plugin").args(arguments).env("PROBITY_DATA_DIR", data);
    // Elsewhere, so that the server it asks can answer.
    let output = tokio::task::spawn_blocking(move || command.output()).await.unwrap().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    (output.status.code().unwrap(), text)
}

#[tokio::test]
async fn grants_by_the_api_are_those_of_the_command_line() {
    let data = tempfile::tempdir().unwrap();
    let data = data.path();
    let server = server(data).await;
    let (status, before) = ask(&server, "GET", "asks/grants", Value::Null).await;
    assert_eq!((status, &before["granted"], &before["decisions"]), (200, &json!([]), &json!([])));
    assert_eq!(before["requests"][1]["hosts"], json!(["*.example.org"]));
    assert_eq!(before["missing"].as_array().unwrap().len(), 3);

    let body = json!({"capability": "http", "hosts": ["api.example.org", "www.example.org"]});
    let (status, given) = ask(&server, "PUT", "asks/grants", body).await;
    let decision = &given["decisions"][0];
    assert_eq!((status, &given["granted"], &decision["by"]), (200, &json!(["http"]), &json!("api:ana")), "{given}");
    assert!(decision["at"].as_str().unwrap().parse::<jiff::Timestamp>().is_ok());
    // One file: the command line sees it, and what it adds the API sees.
    let (code, listed) = command(data, &["list", "--format", "json"]).await;
    let listed: Value = serde_json::from_str(&listed).unwrap_or_else(|e| panic!("{code}: {e}: {listed}"));
    let asks = listed["plugins"].as_array().unwrap().iter().find(|p| p["name"] == "asks").unwrap();
    assert_eq!(asks["granted"], json!(["http"]));
    assert_eq!(command(data, &["grant", "asks", "clock", "--this-build"]).await.0, 0);
    let (_, both) = ask(&server, "GET", "asks/grants", Value::Null).await;
    assert_eq!(both["granted"], json!(["clock", "http"]));
    assert!(both["decisions"][0]["by"].as_str().unwrap().starts_with("os:"), "{both}");
    assert_eq!(both["decisions"][0]["digest"], both["digest"]);

    let (status, left) = ask(&server, "DELETE", "asks/grants?capability=http&host=www.example.org", Value::Null).await;
    assert_eq!((status, &left["decisions"][1]["hosts"]), (200, &json!(["api.example.org"])), "{left}");
    let (status, nothing) = ask(&server, "DELETE", "asks/grants", Value::Null).await;
    assert_eq!((status, &nothing["granted"]), (200, &json!([])));
    assert!(nothing["missing"][0].as_str().unwrap().contains("was revoked by api:ana"), "{nothing}");
    let all = json!({"capability": "all", "this_build": true});
    let (_, all) = ask(&server, "PUT", "asks/grants", all).await;
    assert_eq!(all["granted"], json!(["clock", "http"]), "files have to be named");

    let entries = read(server.client.get(server.url("/probity/v1/audit")).bearer_auth("t0ken").send().await.unwrap());
    let entries = entries.await.1["items"].as_array().unwrap().clone();
    let told: Vec<_> = entries.iter().map(|e| (e["action"].as_str().unwrap(), e["actor"].as_str().unwrap())).collect();
    let (granted, revoked) = (("plugin.grant", "ana"), ("plugin.revoke", "ana"));
    assert_eq!(told, [granted, revoked, revoked, granted], "newest first");
}

#[tokio::test]
async fn what_is_not_asked_for_not_known_or_not_logged_in_is_refused() {
    let data = tempfile::tempdir().unwrap();
    let server = server(data.path()).await;
    for (method, path, body, status, text) in [
        ("PUT", "asks/grants", json!({"capability": "state"}), 422, "does not ask for \"state\"; it asks for clock"),
        ("PUT", "asks/grants", json!({"capability": "http", "hosts": ["other.org"]}), 422, "other.org"),
        ("PUT", "asks/grants", json!({"capability": "clock", "hosts": ["api.example.org"]}), 422, "belong to \"http\""),
        ("PUT", "asks/grants", json!({"capability": "files"}), 422, "which folders?"),
        ("PUT", "asks/grants", json!({"capability": "files", "folders": ["relative"]}), 400, "is not absolute"),
        ("PUT", "asks/grants", json!({"capability": "htp"}), 400, "is no capability"),
        ("PUT", "asks/grants", json!({"capability": "http", "hosts": ["http://x"]}), 400, "http://x"),
        ("PUT", "asks/grants", json!({"capabilities": []}), 400, "unknown field"),
        ("PUT", "asks/grants", json!({}), 400, "which capability?"),
        ("PUT", "asks/grants", Value::Null, 400, "which capability?"),
        ("PUT", "asks/grants", json!({"capability": "all", "secrets": ["x"]}), 422, "belong to one capability"),
        ("PUT", "other/grants", json!({"capability": "all"}), 404, "no plugin \"other\""),
        ("DELETE", "other/grants", Value::Null, 404, "no plugin \"other\""),
        ("DELETE", "asks/grants?host=api.example.org", Value::Null, 422, "belong to one capability"),
        ("DELETE", "asks/grants?hosts=x", Value::Null, 400, "unknown query parameter"),
        ("GET", "other/grants", Value::Null, 404, "no plugin \"other\""),
    ] {
        let (got, answer) = ask(&server, method, path, body.clone()).await;
        assert_eq!(got, status, "{method} {path} {body}: {answer}");
        assert!(answer["message"].as_str().unwrap().contains(text), "{answer}");
    }
    let path = server.url("/probity/v1/plugins/asks/grants");
    for call in [server.client.get(&path), server.client.put(&path), server.client.delete(&path)] {
        assert_eq!(call.send().await.unwrap().status(), 401);
    }
    assert!(!data.path().join("plugins/grants.json").exists(), "nothing was decided");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_command_lets_a_plugin_of_a_running_server_out_of_quarantine() {
    let rig = Rig::new(Limits { stops_max: 1, ..Limits::default() });
    rig.load(package("stack", "", granted(&[]))).await.unwrap();
    let flow = rig.deploy(json!([{"id": "bad", "type": "guest-stack"}]));
    rig.send(&flow, "bad", msg("x")).await;
    let refused = rig.send(&flow, "bad", msg("x")).await;
    assert!(refused.errors[0].contains("probity plugin release stack"), "{refused:?}");
    let mut setup = Setup { plugins: Some(rig.plugins.clone()), ..Setup::default() };
    setup.options.auth = login();
    let server = Server::start(setup).await;
    let data = tempfile::tempdir().unwrap();
    let address = server.address.to_string();
    let token = data.path().join("token");
    std::fs::write(&token, "t0ken\n").unwrap();
    let token = token.to_str().unwrap();
    let release = async |more: &[&str]| {
        command(data.path(), &[&["release", "--listen", &address, "--timeout-ms", "60000"], more].concat()).await
    };
    let (code, text) = release(&["stack"]).await;
    assert!(code == 1 && text.contains("give an API token with --token-file"), "{code}: {text}");
    assert_eq!(rig.plugins.report()[0].quarantine.len(), 1);
    let (code, text) = release(&["stack", "--token-file", token]).await;
    assert_eq!((code, text.as_str()), (0, "stack is out of quarantine\n"));
    assert!(rig.plugins.report()[0].quarantine.is_empty());
    let (code, text) = release(&["stack", "--token-file", token]).await;
    assert_eq!((code, text.as_str()), (0, "stack was not in quarantine\n"));
    let (code, text) = release(&["stck", "--token-file", token]).await;
    assert!(code == 1 && text.contains("there is no plugin \"stck\""), "{code}: {text}");
    assert_eq!(release(&["../runs", "--token-file", token]).await.0, 2);
    assert_eq!(release(&["stack", "--token-file", "/nowhere"]).await.0, 2);
    server.stopped().await;
    let (code, text) = release(&["stack"]).await;
    assert!(code == 1 && text.contains("is `probity serve` running there?"), "{code}: {text}");
}
