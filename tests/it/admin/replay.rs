//! Node-RED's recorded cases over the Admin API and the websocket, as an editor would do it: deploy, press inject nodes
//! made for the purpose, read what debug nodes show. Time is moved by hand, so that delays take none.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use probity::clock::Clock;
use serde_json::{Map, Value as Json, json};

use super::conformance::{Table, check};
use super::{Editor, Rig, Wanted, recording};

/// Of 505; may only grow.
const PASSED_MIN: usize = 490;

/// What happened with a case.
enum Outcome {
    Passed,
    Differs(String),
    /// The case cannot be put into calls of the Admin API.
    Unsupported(String),
}

/// A recorded value: what JSON cannot say has `$t`.
fn decoded(value: &Json) -> Json {
    match value {
        Json::Array(items) => items.iter().map(decoded).collect(),
        Json::Object(map) => match map.get("$t").and_then(Json::as_str) {
            Some("buffer") => json!({ "$buf": map["v"] }),
            Some("undefined") => json!({ "$t": "undefined" }),
            Some(kind) => json!({ "$t": kind, "v": map.get("v").unwrap_or(&Json::Null) }),
            None => Json::Object(map.iter().map(|(k, v)| (k.clone(), decoded(v))).collect()),
        },
        other => other.clone(),
    }
}

/// A value as the debug view has it, in the same form.
fn shown(value: &Json) -> Json {
    let Json::Object(map) = value else {
        return match value {
            Json::Array(items) => items.iter().map(shown).collect(),
            other => other.clone(),
        };
    };
    if let (Some("Buffer"), Some(data)) =
        (map.get("type").and_then(Json::as_str), map.get("data").and_then(Json::as_array))
    {
        let bytes: Vec<u8> = data.iter().map(|b| b.as_u64().unwrap_or_default() as u8).collect();
        return json!({ "$buf": STANDARD.encode(bytes) });
    }
    if map.get("__enc__") == Some(&json!(true)) {
        return match map["type"].as_str() {
            Some("undefined") => json!({ "$t": "undefined" }),
            Some("number") => json!({ "$t": "num", "v": map["data"] }),
            _ => json!({ "$t": map["type"], "v": map.get("data").unwrap_or(&Json::Null) }),
        };
    }
    Json::Object(map.iter().map(|(k, v)| (k.clone(), shown(v))).collect())
}

fn is_id(text: &str) -> bool {
    (14..=32).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
}

/// A time as JavaScript writes it, of the day of the recording or of the day on which the test's clock starts.
fn is_now(text: &str) -> bool {
    text.len() == 24 && (text.starts_with("2026-11-21T") || text.starts_with("2026-01-01T")) && text.ends_with('Z')
}

/// Without what differs from run to run: ids, times, stacks.
fn canonical(value: &Json) -> Json {
    match value {
        Json::String(text) if is_id(text) => "<id>".into(),
        Json::String(text) if is_now(text) => "<now>".into(),
        Json::Number(n) => match n.as_f64() {
            Some(n) if n > 1.6e12 && n < 4e12 => "<ts>".into(),
            Some(n) => n.into(),
            None => value.clone(),
        },
        Json::Array(items) => items.iter().map(canonical).collect(),
        Json::Object(map) if map.get("$t") == Some(&json!("error")) => "<error>".into(),
        Json::Object(map) => {
            let kept = map.iter().filter(|(key, value)| {
                let volatile = matches!(key.as_str(), "_msgid" | "_event" | "stack");
                let part_id = *key == "id" && map.contains_key("index");
                !volatile && !part_id && value.get("$t") != Some(&json!("undefined"))
            });
            let sorted: BTreeMap<String, Json> = kept.map(|(k, v)| (k.clone(), canonical(v))).collect();
            Json::Object(sorted.into_iter().collect())
        }
        other => other.clone(),
    }
}

/// A case put into calls.
struct Case {
    flow: Vec<Json>,
    /// The debug nodes in place of the recording's helpers.
    sinks: BTreeSet<String>,
    /// Milliseconds since the start, the inject node, what it is given.
    injects: Vec<(f64, String, Vec<Json>)>,
    wanted: BTreeMap<String, Vec<Json>>,
    /// Milliseconds to wait for what is wanted.
    patience: f64,
}

fn is_config(node_type: &str) -> bool {
    ["-config", "proxy", "listener"].iter().any(|end| node_type.ends_with(end))
        || node_type.contains("broker")
        || node_type.contains("websocket-client")
}

fn text<'a>(json: &'a Json, key: &str) -> &'a str {
    json[key].as_str().unwrap_or_default()
}

fn prepared(case: &Json) -> Result<Case, String> {
    let mut flow = case["loads"][0]["flow"].as_array().cloned().ok_or("no flow")?;
    let ids: BTreeSet<String> = flow.iter().map(|n| text(n, "id").to_string()).collect();
    let tab = flow.iter().find(|n| n["type"] == "tab").map(|n| text(n, "id").to_string());
    let tab = tab.unwrap_or_else(|| {
        flow.insert(0, json!({ "id": "replaytab0000001", "type": "tab", "label": "replay" }));
        "replaytab0000001".into()
    });
    let (mut sinks, mut x) = (BTreeSet::new(), 10);
    for node in flow.iter_mut().filter(|n| !matches!(n["type"].as_str(), Some("tab" | "subflow" | "group"))) {
        if text(node, "z").is_empty() && !is_config(text(node, "type")) {
            node["z"] = tab.as_str().into();
        }
        if node.get("x").is_none() && !text(node, "z").is_empty() {
            x += 10;
            (node["x"], node["y"]) = (x.into(), 10.into());
        }
        if node["type"] == "helper" {
            let debug = json!({ "type": "debug", "complete": "true", "targetType": "full", "tosidebar": true,
                                "active": true, "console": false, "tostatus": false, "wires": [] });
            node.as_object_mut().unwrap().extend(debug.as_object().unwrap().clone());
            sinks.insert(text(node, "id").to_string());
        }
    }
    let events = case["events"].as_array().cloned().unwrap_or_default();
    let mut injects = Vec::new();
    for event in events.iter().filter(|e| e["kind"] == "inject" && e["type"] != "helper") {
        let target = text(event, "id");
        if !ids.contains(target) {
            return Err(format!("{target} is not in the flow"));
        }
        let inject = format!("inj{target}");
        if !flow.iter().any(|n| n["id"] == inject.as_str()) {
            let z = flow.iter().find(|n| n["id"] == target).unwrap()["z"].clone();
            flow.push(json!({ "id": inject, "type": "inject", "z": z, "props": [], "repeat": "", "crontab": "",
                "once": false, "onceDelay": 0.1, "topic": "", "payload": "", "payloadType": "str", "x": 1, "y": 1,
                "wires": [[target]] }));
        }
        injects.push((event["t"].as_f64().unwrap_or_default(), inject, props(&event["msg"])?));
    }
    let mut wanted: BTreeMap<String, Vec<Json>> = BTreeMap::new();
    for event in events.iter().filter(|e| e["kind"] == "out") {
        let id = text(event, "id").split('@').next().unwrap_or_default().to_string();
        wanted.entry(id).or_default().push(canonical(&decoded(&event["msg"])));
    }
    let patience = (case["ms"].as_f64().unwrap_or_default() + 1_200.0).min(6_000.0);
    Ok(Case { flow, sinks, injects, wanted, patience })
}

/// A message as properties of an inject node.
fn props(msg: &Json) -> Result<Vec<Json>, String> {
    let empty = Map::new();
    let given = msg.as_object().unwrap_or(&empty).iter().filter(|(key, _)| *key != "_msgid");
    let prop = |(key, value): (&String, &Json)| {
        if value["$t"] == "buffer" {
            let bytes = STANDARD.decode(text(value, "v")).map_err(|e| e.to_string())?;
            return Ok(json!({ "p": key, "v": json!(bytes).to_string(), "vt": "bin" }));
        }
        let plain = key.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'$');
        if value.to_string().contains("\"$t\"") || !plain || key.starts_with(|c: char| c.is_ascii_digit()) {
            return Err(format!("{key} cannot be given to an inject node"));
        }
        Ok(json!({ "p": key, "v": value.to_string(), "vt": "json" }))
    };
    given.map(prop).collect()
}

/// Lets every task that can go on do so.
async fn settle() {
    for _ in 0..40 {
        tokio::task::yield_now().await;
    }
}

async fn pass(clock: &Clock, ms: f64) {
    let mut left = ms;
    while left > 0.0 {
        let step = left.min(10.0);
        clock.advance(Duration::from_micros((step * 1000.0) as u64));
        settle().await;
        left -= step;
    }
}

async fn run(rig: &Rig, editor: &mut Editor, case: &Json) -> Outcome {
    let case = match prepared(case) {
        Ok(case) => case,
        Err(why) => return Outcome::Unsupported(why),
    };
    drop(editor.arrived().await);
    let answer = rig.deploy("full", case.flow.into(), None).await;
    if answer.status != 200 {
        return Outcome::Differs(format!("deploy: {}", answer.text));
    }
    settle().await;
    let mut last = 0.0;
    for (t, node, props) in &case.injects {
        let gap = (t - last).clamp(0.0, 2_000.0);
        last = *t;
        if gap > 3.0 {
            pass(&rig.clock, gap).await;
        }
        let pressed = rig.send("POST", &format!("/inject/{node}"), &json!({ "__user_inject_props__": props })).await;
        if pressed.status != 200 {
            return Outcome::Differs(format!("inject: {} {}", pressed.status, pressed.text));
        }
        settle().await;
    }
    let count: usize = case.wanted.values().map(Vec::len).sum();
    let (mut got, mut errors, mut passed): (BTreeMap<String, Vec<Json>>, Vec<String>, f64) = Default::default();
    // Once more after the last one that is wanted: nothing may come that is not.
    let mut more = 2;
    while passed < case.patience && more > 0 {
        pass(&rig.clock, 60.0).await;
        passed += 60.0;
        for message in editor.arrived().await {
            let data = &message["data"];
            let sink =
                [&data["_alias"], &data["id"]].into_iter().filter_map(Json::as_str).find(|id| case.sinks.contains(*id));
            match sink {
                _ if message["topic"] != "debug" => {}
                Some(sink) if data.get("level").is_none() => {
                    let value = serde_json::from_str(text(data, "msg")).unwrap_or_else(|_| data["msg"].clone());
                    got.entry(sink.to_string()).or_default().push(canonical(&shown(&value)));
                }
                _ => errors.push(text(data, "msg").chars().take(120).collect()),
            }
        }
        if got.values().map(Vec::len).sum::<usize>() >= count {
            more -= 1;
        }
    }
    if got == case.wanted {
        Outcome::Passed
    } else {
        Outcome::Differs(format!("wanted {}\n     got {} {errors:?}", json!(case.wanted), json!(got)))
    }
}

/// Waits until the JavaScript component is loaded: time that is moved by hand does not wait for it.
async fn warm_up(rig: &Rig, editor: &mut Editor) {
    let mut flow = json!([
        { "id": "warm", "type": "tab", "label": "warm" },
        { "id": "press", "type": "inject", "z": "warm", "props": [], "x": 1, "y": 1, "wires": [["code"]] },
        { "id": "code", "type": "function", "z": "warm", "func": "node.warn('ready'); return msg;", "outputs": 1,
          "x": 1, "y": 1, "wires": [[]] },
    ]);
    assert_eq!(rig.deploy("full", flow.take(), None).await.status, 200);
    assert_eq!(rig.send("POST", "/inject/press", &json!({})).await.status, 200);
    let mut waiting = std::pin::pin!(editor.wait_for("debug", |data| data["msg"] == "ready"));
    // Frames are sent by the clock.
    while futures_util::poll!(&mut waiting).is_pending() {
        rig.clock.advance(Duration::from_millis(1));
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn recorded_cases_pass_over_the_admin_api() {
    let Some(functions) = crate::functions::functions(Default::default()) else { return };
    let cases = recording("cases.json");
    let mut wanted = Wanted::of(json!([]));
    wanted.clock = Clock::manual("2026-01-01T00:00:00Z".parse().unwrap());
    wanted.debug_length_max = 1_000_000;
    wanted.functions = Some(functions);
    let rig = Rig::start(wanted).await;
    let mut editor = rig.editor().await;
    editor.subscribe().await;
    warm_up(&rig, &mut editor).await;
    let mut table = Table::default();
    for case in cases.as_array().unwrap() {
        let outcome = run(&rig, &mut editor, case).await;
        let (file, title) = (text(case, "file"), text(case, "title"));
        let differs = match outcome {
            Outcome::Passed => None,
            Outcome::Differs(how) => Some(how),
            Outcome::Unsupported(why) => Some(format!("cannot be put into calls: {why}")),
        };
        if let Some(how) = &differs {
            println!("- {file} {title}\n  {how}");
        }
        table.add(file, title, differs.is_none());
    }
    println!("{} of {} cases pass over the Admin API", table.passed(), cases.as_array().unwrap().len());
    check(&table);
    assert!(table.passed() >= PASSED_MIN, "{} cases pass, {PASSED_MIN} did before", table.passed());
}
