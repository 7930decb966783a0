//! status-backend's own source, under Node.js, over our Registry API: it puts its agreement and gets its states within its
//! three seconds. `PROBITY_TEST_STATUS_BACKEND` names a checkout of commit 084f625 with its node_modules (axios, lodash,
//! uuid, date-fns); without it the test is skipped and says so. Its recorded calls are in `replay.rs`.

use std::process::Command;
use std::sync::Arc;

use probity::api::registry_v6::Mode;
use probity::clock::Clock;
use probity::store::DocumentKind;
use serde_json::{Value, json};

use super::{Behind, Collector, Computed, Front, Posted};

/// 199 of 200, as status-backend gives it to a Registry: 100, with its rows.
fn rounded(posted: &Posted) -> Computed {
    let metric = &posted.body["metric"];
    let period = json!({"from": metric["window"]["initial"], "to": metric["window"]["end"]});
    let evidences: Vec<Value> = (0..200).map(|i| json!({"evidence": i, "result": i != 7})).collect();
    let row = json!({"computationGroup": "g", "value": true, "scope": metric["scope"], "period": period, "evidences": evidences});
    let one = json!({"value": 100, "scope": metric["scope"], "period": period, "evidences": [row]});
    Computed { post: 201, polls: 1, get: 200, body: json!({"code": 200, "message": "OK", "computations": [one]}) }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[expect(clippy::disallowed_methods, reason = "tests have no config")]
async fn its_own_source_puts_agreements_and_gets_states() {
    let Ok(checkout) = std::env::var("PROBITY_TEST_STATUS_BACKEND") else {
        eprintln!("SKIPPED: PROBITY_TEST_STATUS_BACKEND names no checkout of status-backend");
        return;
    };
    for mode in [Mode::Compat, Mode::Strict] {
        let (url, collector) = Collector::start(Arc::new(rounded)).await;
        let behind = Behind::new().await;
        let front = Front::start(&behind, Clock::System, mode, |config| {
            config.collectors.services.insert("status-backend".into(), url);
            config.collectors.poll_ms_min = 1;
        })
        .await;
        let (checkout, registry) = (checkout.clone(), format!("http://{}", front.address));
        let output = tokio::task::spawn_blocking(move || {
            let drive = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/cases/governify/status-backend/drive.mjs");
            Command::new("node").args([drive, &checkout]).env("REGISTRY_URL", registry).output().unwrap()
        });
        let output = output.await.unwrap();
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let said: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(said.len(), 2, "{text}{}", String::from_utf8_lossy(&output.stderr));
        // With the states it got it fails of its own: it passes the agreement's id where its agreement is expected. What
        // it says when a Registry does not answer, or not in time, is another thing.
        for answer in &said {
            let message = answer["message"].as_str().unwrap();
            assert!(message.contains("reading 'guarantees'"), "{answer}");
        }
        assert_eq!(behind.store.documents(DocumentKind::Agreement).await.unwrap()[0].id, "tpa-1");
        let posted = collector.posted.lock().unwrap().clone();
        assert_eq!(posted.len(), 2);
        assert!(posted.iter().all(|posted| posted.cookie.as_deref() == Some("accessToken=a.b.c")));
        let kept = behind.store.aside("tpa-1").await.unwrap();
        let verdict = kept.iter().find(|s| s.state.verdict.is_some()).unwrap();
        assert_eq!(verdict.state.score.unwrap().text(), "19900/200");
        assert_eq!(verdict.state.verdict, Some(probity::model::state::Verdict::Violated), "{}", verdict.state.reason);
    }
}
