//! Credentials that come with a deploy as Node-RED encrypts them, to the program itself with a `settings.js`.

use probity::flow::cipher::{self, Form, Key};
use probity::flow::credentials::Credentials;
use serde_json::{Value, json};

use crate::harness::server::client;
use crate::serve::{Folder, Server, probity};

const SECRET: &str = "a secret of settings.js";

fn start(folder: &Folder) -> Server {
    std::fs::write(folder.0.join("settings.js"), format!("module.exports = {{ credentialSecret: \"{SECRET}\" }};"))
        .unwrap();
    let mut command = probity();
    command.args(["serve", "--listen", "127.0.0.1:0", "--database-url", "memory:", "--data-dir"]).arg(&folder.0);
    Server::start(command.arg("--flows").arg(folder.0.join("flows.json")))
}

/// What Node-RED sends and writes: `{"$": …}`.
fn encrypted(secret: &str, credentials: Value, form: Form) -> Value {
    let credentials = Credentials::of_json(credentials).unwrap();
    cipher::write(&credentials, form, &Key::of_secret(secret), [9; 16])
}

async fn deploy(server: &Server, nodes: &Value, credentials: Value) -> (u16, Value) {
    let body = json!({ "flows": nodes, "credentials": credentials });
    let call = client().post(format!("{}/flows", server.base)).header("node-red-api-version", "v2");
    let answer = call.header("content-type", "application/json").body(body.to_string()).send().await.unwrap();
    (answer.status().as_u16(), serde_json::from_str(&answer.text().await.unwrap()).unwrap())
}

async fn shown(server: &Server, id: &str) -> Value {
    let answer = client().get(format!("{}/credentials/http-request/{id}", server.base)).send().await.unwrap();
    serde_json::from_str(&answer.text().await.unwrap()).unwrap()
}

fn nodes(ids: &[&str]) -> Value {
    let node = |id: &&str| json!({ "id": id, "type": "http request", "z": "t", "method": "GET", "url": "http://127.0.0.1:1/", "x": 1, "y": 1, "wires": [[]] });
    let tab = json!({ "id": "t", "type": "tab", "label": "t" });
    std::iter::once(tab).chain(ids.iter().map(node)).collect()
}

#[tokio::test]
async fn what_node_red_encrypted_is_taken_whole_and_what_another_secret_encrypted_is_refused() {
    let folder = Folder::new();
    folder.write("flows.json", &nodes(&["a", "b"]));
    let server = start(&folder);
    let (bob, ana) =
        (json!({ "user": "bob", "password": "builder1" }), json!({ "user": "ana", "password": "opensesame" }));
    let (status, answer) = deploy(&server, &nodes(&["a", "b"]), json!({ "a": bob, "b": bob })).await;
    assert_eq!(status, 200, "{answer}");
    assert_eq!(shown(&server, "a").await, json!({ "user": "bob", "has_password": true }));

    // Those of another secret change nothing: neither the credentials there are, nor the flows.
    let file = || std::fs::read_to_string(folder.0.join("flows.json")).unwrap();
    let before = file();
    let strange = [
        encrypted("another secret", json!({ "a": ana }), Form::Compatible),
        encrypted("another secret", json!({ "a": ana }), Form::Sealed),
        json!({ "$": "nothing that is encrypted" }),
    ];
    for sealed in strange {
        let (status, answer) = deploy(&server, &nodes(&["a"]), sealed.clone()).await;
        assert_eq!((status, &answer["code"]), (400, &json!("credentials_load_failed")), "{sealed}: {answer}");
        let message = answer["message"].as_str().unwrap();
        assert!(message.contains("Failed to decrypt credentials") && message.contains("credentialSecret"), "{message}");
        assert_eq!((shown(&server, "a").await["user"].as_str(), file()), (Some("bob"), before.clone()));
    }
    let (status, answer) = deploy(&server, &nodes(&["a"]), json!({ "a": "no object" })).await;
    assert_eq!(status, 400, "{answer}");

    // A set that can be read takes the place of all there are.
    for form in [Form::Compatible, Form::Sealed] {
        let sealed = encrypted(SECRET, json!({ "a": ana, "gone": bob }), form);
        let (status, answer) = deploy(&server, &nodes(&["a", "b"]), sealed).await;
        assert_eq!(status, 200, "{answer}");
        assert_eq!(shown(&server, "a").await, json!({ "user": "ana", "has_password": true }));
        assert_eq!(shown(&server, "b").await, json!({}));
        let (status, answer) = deploy(&server, &nodes(&["a", "b"]), json!({ "a": bob })).await;
        assert_eq!(status, 200, "{answer}");
    }
    // In clear, each is in place of what its node had; `__PWRD__` is what it had.
    let only = json!({ "a": { "user": "eve", "password": "__PWRD__" }, "b": { "user": "new" } });
    let (status, answer) = deploy(&server, &nodes(&["a", "b"]), only).await;
    assert_eq!(status, 200, "{answer}");
    assert_eq!(shown(&server, "a").await, json!({ "user": "eve", "has_password": true }));
    assert_eq!(shown(&server, "b").await, json!({ "user": "new", "has_password": false }));
    for text in [file(), std::fs::read_to_string(folder.0.join("flows_cred.json")).unwrap()] {
        assert!(!text.contains("builder1") && !text.contains("opensesame"), "{text}");
    }
    server.terminate();
    let (_, log) = server.ended();
    assert!(!log.iter().any(|line| line.contains("builder1") || line.contains("opensesame")), "{log:?}");
}
