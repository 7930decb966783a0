//! What the stock editor sent in a recorded use of 39 steps, sent to us: no answer and no message that it would not
//! expect.

use std::collections::BTreeSet;

use serde_json::Value as Json;

use super::{Editor, Rig, recording};

/// Whether a call is for the editor's own files, which a build without network does not have.
fn is_file(path: &str) -> bool {
    let first = path.trim_start_matches('/').split(['/', '?']).next().unwrap_or_default();
    let second = path.split('/').nth(2).unwrap_or_default();
    matches!(first, "" | "vendor" | "red" | "types" | "theme" | "locales" | "icons")
        || first == "debug" && second == "view"
}

/// The topics of a recorded frame that a deploy or a message brings, without statuses that a node shows for a moment.
fn topics(frame: &str) -> BTreeSet<String> {
    let frame: Json = serde_json::from_str(frame).unwrap();
    let messages = frame.as_array().into_iter().flatten();
    messages
        .map(|m| m["topic"].as_str().unwrap().to_string())
        .filter(|t| t != "hb" && !t.starts_with("status/"))
        .collect()
}

async fn hear(editor: &mut Editor, mut topics: BTreeSet<String>) {
    while let Some(topic) = topics.pop_first() {
        editor.wait_for(&topic, |_| true).await;
    }
}

#[tokio::test]
async fn the_editors_traffic_brings_no_unexpected_answer() {
    let traffic = recording("editor-traffic.json");
    let traffic = traffic.as_array().unwrap();
    let capture = recording("admin-api-capture.json");
    let flows: Json = serde_json::from_str(capture[0]["resBody"].as_str().unwrap()).unwrap();
    let rig = Rig::new(flows["flows"].clone()).await;
    let mut editor = rig.editor().await;
    let (mut calls, mut unexpected) = (0, Vec::new());
    for event in traffic {
        match event["kind"].as_str().unwrap() {
            "ws-send" => editor.send(serde_json::from_str(event["data"].as_str().unwrap()).unwrap()).await,
            "ws-recv" => {
                // Another client's deploy is no call of this recording.
                if event["step"] == "other-client-deploy" {
                    let current = rig.admin.flows.current();
                    let mut flows: Vec<Json> = current.file.entries.iter().cloned().map(Json::Object).collect();
                    flows.retain(|entry| entry["id"] != "aaaa00000000000a");
                    rig.deploy("nodes", flows.into(), None).await;
                }
                hear(&mut editor, topics(event["data"].as_str().unwrap())).await;
            }
            "http" => {
                let (method, url) = (event["method"].as_str().unwrap(), event["url"].as_str().unwrap());
                let wants_html = event["reqHeaders"]["accept"].as_str().unwrap_or_default().starts_with("text/html");
                let of_files = is_file(url) || wants_html && url.starts_with("/nodes");
                if of_files && !probity::api::editor::is_there() {
                    continue;
                }
                let headers: Vec<(&str, &str)> = event["reqHeaders"]
                    .as_object()
                    .unwrap()
                    .iter()
                    .map(|(name, value)| (name.as_str(), value.as_str().unwrap()))
                    .collect();
                let body = event["reqBody"].as_str().unwrap_or_default().to_string();
                let answer = rig.call(method, url, &headers, body).await;
                calls += 1;
                // Express takes TypeScript for a film.
                let kind =
                    event["resContentType"].as_str().map(|k| k.replace("video/mp2t", "text/plain; charset=utf-8"));
                let kind = kind.as_deref();
                if answer.status != event["status"] || answer.kind.as_deref() != kind {
                    unexpected.push(format!(
                        "{method} {url} ({}): {} {:?} instead of {} {kind:?}: {}",
                        event["step"], answer.status, answer.kind, event["status"], answer.text
                    ));
                }
            }
            _ => {}
        }
    }
    println!("{calls} calls of the editor, {} unexpected answers", unexpected.len());
    assert!(calls > 50, "{calls}");
    assert!(unexpected.is_empty(), "{unexpected:#?}");
}
