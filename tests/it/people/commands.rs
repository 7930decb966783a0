//! `probity import node-red`, `probity doctor`, `probity flows`: an existing installation looked at.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use serde_json::{Value as Json, json};

fn probity(arguments: &[&str], env: &[(&str, &str)]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_probity"));
    command.args(arguments).env_remove("PROBITY_ALLOW_DEFAULT_PASSWORDS").envs(env.iter().copied());
    command.output().expect("probity runs")
}

fn json_of(output: &Output) -> Json {
    serde_json::from_slice(&output.stdout).unwrap_or_else(|e| {
        panic!("{e}: {} {}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
    })
}

fn write(dir: &Path, name: &str, text: &str) {
    let path = dir.join(name);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, text).unwrap();
}

/// A hash that costs little.
fn hash(password: &str) -> String {
    bcrypt::hash(password, 4).unwrap()
}

fn settings(password: &str) -> String {
    format!(
        "module.exports = {{ flowFile: 'flows.json', credentialSecret: 'test', httpNodeRoot: '/api/v1',\n\
         adminAuth: {{ type: 'credentials', users: [{{ username: 'ana', password: '{}', permissions: '*' }}] }} }};\n",
        hash(password)
    )
}

const FLOWS: &str = r#"[
    { "id": "t1", "type": "tab", "label": "Good" },
    { "id": "n1", "type": "http request", "z": "t1", "x": 1, "y": 1, "url": "http://a.test", "wires": [] },
    { "id": "t2", "type": "tab", "label": "Bad" },
    { "id": "n2", "type": "trello-thing", "z": "t2", "x": 1, "y": 1, "wires": [] }
]"#;

#[test]
fn import_says_what_runs_what_differs_and_what_is_missing() {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path();
    write(dir, "settings.js", &settings("correct horse"));
    write(dir, "flows.json", FLOWS);
    write(dir, "flows_cred.json", include_str!("../../cases/credentials/flows_cred.json"));
    write(
        dir,
        "package.json",
        r#"{"dependencies":{"node-red-contrib-trello":"~1.2.0","node-red-contrib-unused":"1.0.0"}}"#,
    );
    write(
        dir,
        "node_modules/node-red-contrib-trello/package.json",
        r#"{"version":"1.2.3","node-red":{"nodes":{"trello":"trello.js"}}}"#,
    );
    write(dir, "node_modules/node-red-contrib-trello/trello.js", "RED.nodes.registerType(\"trello-thing\", Trello);");
    fs::create_dir(dir.join("context")).unwrap();
    let before = listing(dir);
    let path = dir.to_str().unwrap();
    let output = probity(&["import", "node-red", path, "--format", "json"], &[]);
    assert_eq!(output.status.code(), Some(1));
    let found = json_of(&output);
    assert_eq!(found["runs"], false);
    let tabs: Vec<(&str, bool)> = found["flows"]["tabs"]
        .as_array()
        .unwrap()
        .iter()
        .map(|tab| (tab["label"].as_str().unwrap(), tab["state"] == "runs"))
        .collect();
    assert_eq!(tabs, [("Good", true), ("Bad", false)]);
    assert_eq!(found["credentials"]["form"], "node-red");
    assert_eq!(found["credentials"]["nodes"], 1);
    assert_eq!(found["users"], json!([{ "name": "ana", "of": "admin", "permissions": "*" }]));
    let packages = found["packages"].as_array().unwrap();
    assert_eq!((&packages[0]["version"], &packages[0]["missing"]), (&json!("1.2.3"), &json!(["trello-thing"])));
    let missing = found["missing"].to_string();
    assert!(
        missing.contains("tab \\\"Bad\\\" will not run") && missing.contains("node-red-contrib-trello 1.2.3"),
        "{missing}"
    );
    assert!(found["differs"].to_string().contains("context"), "{}", found["differs"]);
    let text = String::from_utf8(probity(&["import", "node-red", path], &[]).stdout).unwrap();
    for says in ["Good", "trello-thing", "not known", "MISSING:", "DIFFERS:", "2 things are missing"] {
        assert!(text.contains(says), "{says}: {text}");
    }
    assert!(!format!("{found}{text}").contains("s3cret") && !text.contains("$2b$"), "secrets are not shown");
    assert_eq!(listing(dir), before, "nothing is changed");
}

#[test]
fn import_of_what_runs_says_so_and_wrong_folders_are_usage_errors() {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path();
    write(
        dir,
        "flows.json",
        "[{\"id\":\"t\",\"type\":\"tab\",\"label\":\"A\"},{\"id\":\"n\",\"type\":\"debug\",\"z\":\"t\",\"x\":1,\"y\":1,\"wires\":[]}]",
    );
    let output = probity(&["import", "node-red", dir.to_str().unwrap()], &[]);
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stdout));
    assert!(String::from_utf8_lossy(&output.stdout).contains("all of it will run here"));
    assert_eq!(probity(&["import", "node-red", "/nowhere"], &[]).status.code(), Some(2));
    write(dir, "settings.js", "module.exports = {");
    let broken = probity(&["import", "node-red", dir.to_str().unwrap()], &[]);
    assert_eq!(broken.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&broken.stdout).contains("settings.js: line 1"), "{broken:?}");
}

#[test]
fn doctor_names_users_with_shipped_passwords() {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path();
    write(dir, "settings.js", &settings("dev123"));
    write(dir, "flows.json", "[]");
    let arguments = ["doctor", "--data-dir", dir.to_str().unwrap(), "--format", "json"];
    let output = probity(&arguments, &[]);
    assert_eq!(output.status.code(), Some(1));
    let found = json_of(&output);
    let users: Vec<&str> = found["findings"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|finding| finding["about"] == "users")
        .map(|finding| finding["message"].as_str().unwrap())
        .collect();
    assert!(users[0].contains("user \"ana\" is disabled") && users[0].contains("dev123"), "{users:?}");
    let demo = probity(&arguments, &[("PROBITY_ALLOW_DEFAULT_PASSWORDS", "1")]);
    assert_eq!(demo.status.code(), Some(0), "{}", json_of(&demo));
    assert_eq!(fs::read_to_string(dir.join("flows.json")).unwrap(), "[]", "an empty flow file is not replaced");
}

#[test]
fn doctor_says_what_is_wrong_with_the_configuration() {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), "settings.js", "module.exports = { uiPort: 'x', nope: 1, adminAuth: auth() }");
    let output = probity(&["doctor", "--data-dir", folder.path().to_str().unwrap()], &[]);
    assert_eq!(output.status.code(), Some(1));
    let text = String::from_utf8(output.stdout).unwrap();
    for says in ["uiPort", "nope is not known", "adminAuth: an expression cannot be read", "no password lets user"] {
        assert!(text.contains(says), "{says}: {text}");
    }
}

#[test]
fn flows_are_split_into_one_file_per_tab_and_joined_again() {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), "flows.json", FLOWS);
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let split = probity(&["flows", "split", &path("flows.json"), &path("tabs")], &[]);
    assert_eq!(split.status.code(), Some(0), "{split:?}");
    assert_eq!(String::from_utf8(split.stdout).unwrap().lines().count(), 2);
    assert!(folder.path().join("tabs/good.json").exists());
    let joined = probity(&["flows", "join", &path("tabs")], &[]);
    let ids = |json: &Json| json.as_array().unwrap().iter().map(|e| e["id"].to_string()).collect::<Vec<_>>();
    assert_eq!(ids(&json_of(&joined)), ids(&serde_json::from_str(FLOWS).unwrap()));
    assert_eq!(probity(&["flows", "join", &path("flows.json")], &[]).status.code(), Some(2));
    assert_eq!(probity(&["flows", "split", &path("tabs"), &path("x")], &[]).status.code(), Some(2));
}

fn listing(dir: &Path) -> Vec<String> {
    let mut names: Vec<String> =
        fs::read_dir(dir).unwrap().map(|e| e.unwrap().file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}
