//! A process killed in the middle of its evaluations leaves whole batches or none, and the next start finishes them.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use probity::store::{PageRequest, RunQuery, StateQuery, StoreOptions, open};
use serde_json::json;

/// Windows of each evaluation; a batch is this many verdicts and as many metric states.
const WINDOWS: usize = 200;

struct Folder(std::path::PathBuf);

impl Drop for Folder {
    fn drop(&mut self) {
        std::fs::remove_dir_all(&self.0).ok();
    }
}

/// An agreement whose single metric is answered by a flow, over many windows.
fn write_content(folder: &std::path::Path, agreements: usize) {
    let flow = json!([
        {"id": "tab0000000000000", "type": "tab", "label": "collector"},
        {"id": "m000000000000000", "type": "metric", "z": "tab0000000000000", "metric": "RATE", "mode": "in",
         "x": 1, "y": 1, "wires": [["chg0000000000000"]]},
        {"id": "chg0000000000000", "type": "change", "z": "tab0000000000000", "x": 2, "y": 1,
         "rules": [{"t": "set", "p": "payload", "pt": "msg", "to": "95", "tot": "num"}],
         "wires": [["out0000000000000"]]},
        {"id": "out0000000000000", "type": "metric", "z": "tab0000000000000", "mode": "answer", "x": 3, "y": 1, "wires": []},
    ]);
    std::fs::create_dir_all(folder.join("agreements")).unwrap();
    std::fs::write(folder.join("flows.json"), flow.to_string()).unwrap();
    for i in 0..agreements {
        let agreement = json!({
            "id": format!("crash-{i}"), "version": "1.0.0", "type": "agreement",
            "context": {"validity": {"initial": "2026-01-01T00:00:00Z", "end": "2026-01-31T00:00:00Z", "timeZone": "UTC"}},
            "terms": {
                "metrics": {"RATE": {"collector": {"type": "PROBITY-FLOW-V1", "metric": "RATE"}, "measure": {}}},
                "guarantees": [{"id": "ENOUGH", "scope": {}, "of": [{"scope": {}, "objective": "RATE >= 90",
                    "with": {"RATE": {}}, "window": {"type": "static", "period": "hourly", "initial": "2026-01-01T00:00:00Z"}}]}],
            },
        });
        std::fs::write(folder.join(format!("agreements/crash-{i}.json")), agreement.to_string()).unwrap();
    }
}

fn serve(folder: &std::path::Path) -> Child {
    Command::new(env!("CARGO_BIN_EXE_probity"))
        .args(["serve", "--listen", "127.0.0.1:0"])
        .arg("--data-dir")
        .arg(folder)
        .arg("--flows")
        .arg(folder.join("flows.json"))
        .arg("--agreements")
        .arg(folder.join("agreements"))
        .env("PROBITY_SCHEDULE_FIRST_WINDOWS_MAX", WINDOWS.to_string())
        .env("PROBITY_SCHEDULE_PROVISIONAL_MS", "0")
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
}

/// Runs and verdicts in the database right now.
async fn counts(folder: &std::path::Path) -> (usize, usize) {
    let url = format!("sqlite:{}", folder.join("probity.db").display());
    let store = open(&url, &StoreOptions::default()).await.unwrap();
    if store.migrate().await.is_err() {
        return (0, 0);
    }
    let page = PageRequest { limit: 1000, after: None };
    let query = RunQuery { trigger: Some("cron".into()), ..Default::default() };
    let runs = store.runs(&query, &page).await.unwrap().items.len();
    let (mut verdicts, mut page) = (0, page);
    loop {
        let query = StateQuery { kind: Some(probity::model::state::StateKind::Guarantee), ..Default::default() };
        let found = store.states(&query, &page).await.unwrap();
        verdicts += found.items.len();
        match found.next {
            Some(next) => page.after = Some(next),
            None => return (runs, verdicts),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_process_leaves_no_half_written_batch_and_the_next_start_finishes() {
    const AGREEMENTS: usize = 6;
    let folder = Folder(std::env::temp_dir().join(format!("probity-crash-{}", uuid::Uuid::new_v4().simple())));
    write_content(&folder.0, AGREEMENTS);
    let mut finished = false;
    for attempt in 0..20 {
        let mut child = serve(&folder.0);
        let mut log = BufReader::new(child.stderr.take().unwrap()).lines();
        let ready = log.by_ref().map_while(Result::ok).any(|line| line.contains("Probity is ready"));
        assert!(ready, "the server did not start");
        // Kill at another moment each time; the last attempt is left to finish.
        if attempt < 6 {
            std::thread::sleep(Duration::from_millis(7 * attempt));
            child.kill().unwrap();
            child.wait().unwrap();
            let (runs, verdicts) = counts(&folder.0).await;
            assert!(verdicts.is_multiple_of(WINDOWS), "{verdicts} verdicts are no whole batches");
            assert!(verdicts / WINDOWS <= runs, "{verdicts} verdicts of only {runs} stored runs");
            continue;
        }
        let started = Instant::now();
        while started.elapsed() < Duration::from_secs(60) && !finished {
            finished = counts(&folder.0).await.1 == AGREEMENTS * WINDOWS;
        }
        child.kill().unwrap();
        child.wait().unwrap();
        break;
    }
    assert!(finished, "the last start did not finish what the killed ones began");
}
