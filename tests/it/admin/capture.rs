//! The 116 calls of the Admin API that were recorded from Node-RED, made to ours: status, type of body and shape must be
//! the same. What differs on purpose is in [`DIFFERENT`], with its reason.

use std::collections::BTreeSet;

use probity::runtime::context::Home;
use serde_json::{Value as Json, json};

use super::{Rig, Wanted, recording};

/// Calls that are answered otherwise, and why.
const DIFFERENT: &[(&str, &str)] = &[
    ("settings", "says that nodes cannot be installed from the editor, which the recording leaves open"),
    ("diagnostics", "the module of Probity's own nodes stands among the modules"),
    ("projects", "there are none: 404 as there, in the words of every path that is not there, not with an empty body"),
];

/// Answered from the editor's files, which a build without network does not have.
const OF_THE_EDITOR: &[&str] = &[
    "nodes html",
    "nodes html de",
    "nodes set html",
    "icons",
    "icon",
    "icon missing",
    "theme",
    "locale editor",
    "locale de",
    "locale unknown ns",
    "locale bad lang",
    "debug view",
    "debug utils",
    "index",
    "favicon",
    "etag",
];

/// The recording keeps so many characters of a body.
const BODY_CHARS: usize = 8000;

/// What a body consists of: names and types, lists by their first element.
fn shape(json: &Json) -> String {
    match json {
        Json::Null => "null".into(),
        Json::Bool(_) => "boolean".into(),
        Json::Number(_) => "number".into(),
        Json::String(_) => "text".into(),
        Json::Array(items) => format!("[{}]", items.first().map(shape).unwrap_or_default()),
        Json::Object(map) => {
            let names: BTreeSet<String> = map.iter().map(|(name, value)| format!("{name}:{}", shape(value))).collect();
            format!("{{{}}}", names.into_iter().collect::<Vec<_>>().join(","))
        }
    }
}

/// Answers whose texts are ours: errors that name what is wrong, versions, times.
const OWN_WORDS: &[&str] = &[
    "deploy missing flows",
    "diagnostics",
    "settings",
    "nodes list",
    "nodes module",
    "flow add",
    "ssh keys",
    "auth token",
    "library fn save",
    "theme",
];

/// What is wrong with an answer.
fn problems(call: &Json, status: u16, kind: Option<&str>, text: &str) -> Vec<String> {
    let mut problems = Vec::new();
    if status != call["status"] {
        problems.push(format!("status {status} instead of {}", call["status"]));
    }
    let wanted = call["resHeaders"]["content-type"].as_str();
    if kind != wanted {
        problems.push(format!("type {kind:?} instead of {wanted:?}"));
    }
    let body = call["resBody"].as_str().unwrap_or_default();
    if body.chars().count() == BODY_CHARS {
        let same = body.chars().zip(text.chars()).take_while(|(a, b)| a == b).count();
        if same < BODY_CHARS {
            let from = |text: &str| text.chars().skip(same).take(60).collect::<String>();
            problems.push(format!("from character {same}: {:?} instead of {:?}", from(text), from(body)));
        }
        return problems;
    }
    match (serde_json::from_str::<Json>(body), serde_json::from_str::<Json>(text)) {
        (Ok(wanted), Ok(given)) => {
            let name = call["name"].as_str().unwrap();
            if shape(&wanted) != shape(&given) {
                problems.push(format!("shape {} instead of {}", shape(&given), shape(&wanted)));
            } else if wanted != given && !OWN_WORDS.contains(&name) {
                problems.push(format!("{given} instead of {wanted}"));
            }
        }
        (Ok(_), Err(_)) => problems.push(format!("no JSON: {text}")),
        // A page of Express'; its stack trace is Node.js' own.
        (Err(_), _) if wanted.is_some_and(|kind| kind.starts_with("text/html")) => {}
        (Err(_), _) if body != text => problems.push(format!("{text:?} instead of {body:?}")),
        _ => {}
    }
    problems
}

#[tokio::test]
async fn the_recorded_calls_are_answered_alike() {
    let calls = recording("admin-api-capture.json");
    let calls = calls.as_array().unwrap();
    let flows = serde_json::from_str::<Json>(calls[0]["resBody"].as_str().unwrap()).unwrap()["flows"].clone();
    let mut wanted = Wanted::of(flows.clone());
    let file = Home::Folder(wanted.folder.path().join("context"));
    wanted.stores = vec![("default".into(), Home::Memory), ("file".into(), file)];
    let stores = json!({ "default": { "module": "memory" }, "file": { "module": "localfilesystem" } });
    let theme = json!({ "projects": { "enabled": false }, "tours": true, "palette": { "catalogues": [] },
                        "codeEditor": { "lib": "monaco", "options": {} } });
    wanted.editor = json!({ "contextStorage": stores, "editorTheme": theme, "diagnostics": { "enabled": true, "ui": true },
                            "runtimeState": { "enabled": true, "ui": true } });
    let rig = Rig::start(wanted).await;
    let (mut alike, mut different, mut skipped) = (0, Vec::new(), 0);
    let (mut recorded_id, mut own_id) = (String::new(), String::new());
    for call in calls {
        let name = call["name"].as_str().unwrap();
        if OF_THE_EDITOR.contains(&name) && !probity::api::editor::is_there() {
            skipped += 1;
            continue;
        }
        let fix =
            |text: &str| if recorded_id.is_empty() { text.to_string() } else { text.replace(&recorded_id, &own_id) };
        let path = fix(call["path"].as_str().unwrap());
        let headers: Vec<(&str, &str)> = call["reqHeaders"]
            .as_object()
            .unwrap()
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str().unwrap()))
            .collect();
        let mut body = fix(call["reqBody"].as_str().unwrap_or_default());
        // Long bodies are cut off in the recording; they were the flows as they are.
        if body.len() == 3000 {
            let revision = rig.admin.flows.current().revision.clone();
            body = match name {
                "deploy v1" => flows.to_string(),
                "deploy v2 stale rev" => json!({ "flows": flows, "rev": "stale" }).to_string(),
                "deploy v2 no rev" => json!({ "flows": flows }).to_string(),
                _ => json!({ "flows": flows, "rev": revision }).to_string(),
            };
        }
        let method = call["method"].as_str().unwrap();
        // Clients of ours tidy paths up before they call.
        let answer =
            if path.contains("/..") { rig.raw(&path).await } else { rig.call(method, &path, &headers, body).await };
        let mut call = call.clone();
        if name == "flow add" {
            let id = |text: &str| serde_json::from_str::<Json>(text).unwrap()["id"].as_str().unwrap().to_string();
            (recorded_id, own_id) = (id(call["resBody"].as_str().unwrap()), id(&answer.text));
        } else {
            let fix = |text: &str| {
                if recorded_id.is_empty() { text.to_string() } else { text.replace(&recorded_id, &own_id) }
            };
            call["resBody"] = fix(call["resBody"].as_str().unwrap_or_default()).into();
        }
        // The message came through: what it leaves is asked for next.
        if name == "inject custom props" {
            let mut editor = rig.editor().await;
            editor.subscribe().await;
            editor.wait_for("status/aaaa000000000003", |_| true).await;
        }
        match problems(&call, answer.status, answer.kind.as_deref(), &answer.text) {
            problems if problems.is_empty() => alike += 1,
            problems => different.push((name.to_string(), problems.join("; "))),
        }
    }
    println!("{alike} of {} calls are answered alike", calls.len() - skipped);
    if skipped > 0 {
        eprintln!("skipped: {skipped} calls for the editor's files, which this build does not have");
    }
    let unexplained: Vec<_> = different.iter().filter(|(name, _)| !DIFFERENT.iter().any(|(n, _)| n == name)).collect();
    assert!(unexplained.is_empty(), "{unexplained:#?}");
    let stale: Vec<_> = DIFFERENT.iter().filter(|(name, _)| !different.iter().any(|(n, _)| n == name)).collect();
    assert!(stale.is_empty(), "these are alike by now: {stale:?}");
    assert!(DIFFERENT.len() <= 5);
}
