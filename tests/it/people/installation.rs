//! The program on the data folder of an existing installation (checklist of a STATUS installation, 9, 41 to 43, 46): its
//! settings.js, flows and credentials in, logins, deploys and a restart.

use std::fs;

use serde_json::{Value as Json, json};

use super::WithJson;
use crate::harness::server::{client, read};
use crate::serve::{Folder, Server, probity};

fn start(folder: &Folder) -> Server {
    let mut command = probity();
    command.args(["serve", "--data-dir", folder.0.to_str().unwrap()]);
    command.env_remove("PROBITY_ALLOW_DEFAULT_PASSWORDS").env_remove("PORT");
    Server::start(&mut command)
}

async fn token(server: &Server, name: &str, password: &str) -> (u16, Json) {
    let body = json!({ "client_id": "node-red-admin", "grant_type": "password", "scope": "*", "username": name, "password": password });
    read(client().post(format!("{}/auth/token", server.base)).json(&body).send().await.unwrap()).await
}

async fn get(server: &Server, path: &str, token: &str) -> (u16, Json) {
    read(client().get(format!("{}{path}", server.base)).bearer_auth(token).send().await.unwrap()).await
}

/// As STATUS' setup writes it, with hashes that cost less, on a free port.
fn settings() -> String {
    let hash = |password| bcrypt::hash(password, 4).unwrap();
    let status = include_str!("../../cases/settings_js/status.js");
    let own = status.split("password: \"").nth(1).unwrap().split('"').next().unwrap();
    status
        .replace(own, &hash("correct horse"))
        .replace("$2a$12$.pB1blMpPJJ42Dd1PiWYne4uxE8NrCHnioblVdp65MbOOkXRRLHNW", &hash("dev123"))
        .replace("process.env.PORT || 1880", "process.env.PORT || 0, uiHost: '127.0.0.1', credentialSecret: 'test'")
}

#[tokio::test]
async fn an_installation_of_status_goes_on_here() {
    let folder = Folder::new();
    fs::write(folder.0.join("settings.js"), settings()).unwrap();
    fs::write(folder.0.join("flows_cred.json"), include_str!("../../cases/credentials/flows_cred.json")).unwrap();
    let flows = json!([
        { "id": "t", "type": "tab", "label": "A" },
        { "id": "in", "type": "http in", "z": "t", "x": 1, "y": 1, "url": "/x", "method": "post", "wires": [["out"]] },
        { "id": "out", "type": "http response", "z": "t", "x": 2, "y": 1, "wires": [] },
        { "id": "n1", "type": "http request", "z": "t", "x": 2, "y": 2, "url": "http://a.test", "wires": [[]] },
    ]);
    folder.write("flows.json", &flows);
    let server = start(&folder);
    assert_eq!(token(&server, "developer", "dev123").await.0, 403, "a password that ships lets nobody in");
    let (status, login) = token(&server, "ana", "correct horse").await;
    assert_eq!(status, 200, "{login}");
    let ana = login["access_token"].as_str().unwrap();
    assert_eq!(get(&server, "/settings", ana).await.1["httpNodeRoot"], "/api/v1/");
    assert_eq!(
        get(&server, "/credentials/http-request/n1", ana).await.1,
        json!({ "user": "bob", "has_password": true })
    );
    let call = |auth: Option<(&'static str, &'static str)>| {
        let call = client().post(format!("{}/api/v1/x", server.base)).json(&json!({ "n": 1 }));
        match auth {
            Some((name, password)) => call.basic_auth(name, Some(password)).send(),
            None => call.send(),
        }
    };
    assert_eq!(call(None).await.unwrap().status(), 401);
    assert_eq!(call(Some(("ana", "correct horse"))).await.unwrap().status(), 200);
    let mut changed = flows.as_array().unwrap().clone();
    changed[3]["url"] = json!("http://b.test");
    changed[3]["credentials"] = json!({ "user": "eve", "password": "n3w-s3cret" });
    let deploy = client().post(format!("{}/flows", server.base)).bearer_auth(ana).json(&json!(changed));
    assert_eq!(deploy.send().await.unwrap().status(), 204);
    let (_, shown) = get(&server, "/flows", ana).await;
    assert!(!shown.to_string().contains("credentials"), "{shown}");
    let (_, audit) = get(&server, "/probity/v1/audit", ana).await;
    let deployed = audit["items"].as_array().unwrap().iter().find(|entry| entry["action"] == "deploy").unwrap();
    assert_eq!(deployed["actor"], "ana");
    let url = &deployed["detail"]["changed"]["entries"][0]["properties"]["url"];
    assert_eq!(url, &json!({ "before": "http://a.test", "after": "http://b.test" }));
    assert!(!audit.to_string().contains("n3w-s3cret"));
    let kept = fs::read_to_string(folder.0.join("flows_cred.json")).unwrap();
    assert!(kept.contains("aes-256-gcm") && !kept.contains("n3w-s3cret"), "{kept}");
    assert!(folder.0.join("flows_cred.json.node-red").exists());
    server.terminate();
    let (code, log) = server.ended();
    assert_eq!(code, Some(0));
    assert!(!log.join("\n").contains("n3w-s3cret"));
    let again = start(&folder);
    assert_eq!(get(&again, "/settings", ana).await.0, 200, "the login survives");
    assert_eq!(get(&again, "/credentials/http-request/n1", ana).await.1["user"], "eve");
}

#[tokio::test]
async fn credentials_in_a_flow_file_move_to_their_own_and_an_empty_flow_file_stays() {
    let folder = Folder::new();
    let inline = json!([
        { "id": "t", "type": "tab", "label": "A" },
        { "id": "n", "type": "http request", "z": "t", "x": 1, "y": 1, "url": "http://a.test", "wires": [[]],
          "credentials": { "user": "u", "password": "s3cret-inline" } },
    ]);
    folder.write("flows.json", &inline);
    let start = || {
        let mut command = probity();
        command.args(["serve", "--listen", "127.0.0.1:0", "--data-dir", folder.0.to_str().unwrap()]);
        Server::start(&mut command)
    };
    let server = start();
    let open = async |server: &Server, path: &str| {
        read(client().get(format!("{}{path}", server.base)).send().await.unwrap()).await
    };
    let (_, shown) = open(&server, "/flows").await;
    assert!(!shown.to_string().contains("s3cret"), "{shown}");
    assert_eq!(open(&server, "/credentials/http-request/n").await.1, json!({ "user": "u", "has_password": true }));
    let deploy = client().post(format!("{}/flows", server.base)).json(&shown);
    assert_eq!(deploy.send().await.unwrap().status(), 204);
    assert!(!fs::read_to_string(folder.0.join("flows.json")).unwrap().contains("s3cret"));
    drop(server);
    let server = start();
    assert_eq!(open(&server, "/credentials/http-request/n").await.1, json!({ "user": "u", "has_password": true }));
    let clear = client().post(format!("{}/flows", server.base)).json(&json!([]));
    assert_eq!(clear.send().await.unwrap().status(), 204);
    drop(server);
    let server = start();
    assert_eq!(open(&server, "/flows").await.1, json!([]), "an empty flow file is not replaced");
}

#[tokio::test]
async fn flows_of_a_folder_by_tab_are_written_by_tab() {
    let folder = Folder::new();
    let dir = folder.0.join("tabs");
    let flows = json!([
        { "id": "z", "type": "tab", "label": "Zebra" },
        { "id": "a", "type": "tab", "label": "Ant" },
        { "id": "n", "type": "debug", "z": "a", "x": 1, "y": 1, "wires": [] },
    ]);
    let file = folder.write("flows.json", &flows);
    let split = probity().args(["flows", "split"]).args([&file, &dir]).output().unwrap();
    assert!(split.status.success(), "{split:?}");
    let mut command = probity();
    command.args(["serve", "--listen", "127.0.0.1:0", "--data-dir", folder.0.to_str().unwrap(), "--flows"]).arg(&dir);
    let server = Server::start(&mut command);
    let zebra = fs::metadata(dir.join("zebra.json")).unwrap().modified().unwrap();
    let mut changed = flows.as_array().unwrap().clone();
    changed[2]["name"] = json!("here");
    let deploy = client().post(format!("{}/flows", server.base)).json(&json!(changed));
    assert_eq!(deploy.send().await.unwrap().status(), 204);
    assert!(fs::read_to_string(dir.join("ant.json")).unwrap().contains("here"));
    assert_eq!(fs::metadata(dir.join("zebra.json")).unwrap().modified().unwrap(), zebra);
}
