//! Writes under way: evaluations asked of a real server, one window after the other, with every verdict that it
//! acknowledged kept.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use axum::Router;
use axum::extract::Path;
use axum::routing::{get, post};
use serde_json::{Value, json};
use tokio::task::JoinHandle;

/// Agreements, each evaluated by one caller.
pub(crate) const CALLERS: usize = 4;
/// Hours of the year 2026 from its begin; of so many windows one caller may ask.
const WINDOWS: u64 = 7000;

/// A verdict that somebody was told of: agreement, member, begin of the window, the word, and when.
#[derive(Clone, Debug)]
pub(crate) struct Told {
    pub(crate) agreement: String,
    pub(crate) team: String,
    pub(crate) from: String,
    pub(crate) verdict: String,
    pub(crate) at: Instant,
}

pub(crate) struct Load {
    told: Arc<Mutex<Vec<Told>>>,
    refused: Arc<AtomicU64>,
    stop: Arc<AtomicBool>,
    tasks: Vec<JoinHandle<()>>,
}

/// A collector whose answer follows from the question: its computation's address is the window.
pub(crate) async fn collector() -> String {
    let posted = async |body: axum::body::Bytes| {
        let asked: Value = serde_json::from_slice(&body).unwrap();
        let window = &asked["metric"]["window"];
        let (from, to) = (window["initial"].as_str().unwrap(), window["end"].as_str().unwrap());
        axum::Json(json!({"code": 201, "computation": format!("/computations/{from}~{to}")}))
    };
    let fetched = async |Path(window): Path<String>| {
        let (from, to) = window.split_once('~').unwrap();
        let hour: u64 = from[11..13].parse().unwrap();
        let computations: Vec<Value> = [("a", 80 + hour), ("b", 99 - hour)]
            .into_iter()
            .map(|(team, value)| {
                json!({"scope": {"team": team}, "period": {"from": from, "to": to}, "value": value,
                       "evidences": [{"seen": from, "team": team}]})
            })
            .collect();
        axum::Json(json!({"code": 200, "computations": computations}))
    };
    let app = Router::new().route("/computations", post(posted)).route("/computations/{window}", get(fetched));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, app).await });
    url
}

/// The agreements' ids.
pub(crate) fn id(caller: usize) -> String {
    format!("drill-{caller}")
}

/// The agreements of the callers, in the folder `agreements` of this one.
pub(crate) fn write_agreements(folder: &crate::serve::Folder, collector: &str) {
    std::fs::create_dir(folder.0.join("agreements")).unwrap();
    for caller in 0..CALLERS {
        let collector = json!({"infrastructurePath": collector, "endpoint": "/computations", "type": "POST-GET-V1"});
        let validity = json!({"initial": "2026-01-01T00:00:00Z", "end": "2026-12-01T00:00:00Z", "timeZone": "UTC"});
        let agreement =
            crate::evaluation::agreement(&id(caller), collector, json!({"context": {"validity": validity}}));
        folder.write(&format!("agreements/{}.json", id(caller)), &agreement.document);
    }
}

impl Load {
    /// Asks a server for one hour after the other; what is not acknowledged is asked for again, as callers do.
    pub(crate) fn start(base: &str) -> Load {
        let mut load = Load { told: Arc::default(), refused: Arc::default(), stop: Arc::default(), tasks: Vec::new() };
        for caller in 0..CALLERS {
            let (told, refused, stop) = (load.told.clone(), load.refused.clone(), load.stop.clone());
            let url = format!("{base}/probity/v1/agreements/{}/evaluate", id(caller));
            load.tasks.push(tokio::spawn(async move {
                let client = crate::harness::server::client();
                let begin: jiff::Timestamp = "2026-01-01T00:00:00Z".parse().unwrap();
                let mut window = 0;
                while window < WINDOWS && !stop.load(Ordering::SeqCst) {
                    let from = begin + jiff::SignedDuration::from_hours(i64::try_from(window).unwrap());
                    let to = from + jiff::SignedDuration::from_hours(1);
                    let body = json!({"from": from.to_string(), "to": to.to_string()}).to_string();
                    // A connection for each call: one that a proxy closes for want of use would be no failure of ours.
                    let asked = client.post(&url).header("connection", "close").body(body);
                    let asked = asked.timeout(Duration::from_secs(10)).send().await;
                    let answer = match asked {
                        Ok(answer) if answer.status() == 200 => answer.text().await.ok(),
                        _ => None,
                    };
                    match answer {
                        Some(text) => {
                            told.lock().unwrap().extend(read(&text));
                            window += 1;
                        }
                        None => {
                            refused.fetch_add(1, Ordering::SeqCst);
                            tokio::task::yield_now().await;
                        }
                    }
                }
            }));
        }
        load
    }

    /// What was acknowledged so far.
    pub(crate) fn told(&self) -> Vec<Told> {
        self.told.lock().unwrap().clone()
    }

    pub(crate) fn count(&self) -> usize {
        self.told.lock().unwrap().len()
    }

    /// Calls that were not acknowledged.
    pub(crate) fn refused(&self) -> u64 {
        self.refused.load(Ordering::SeqCst)
    }

    pub(crate) async fn stop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        for task in self.tasks.drain(..) {
            task.await.unwrap();
        }
    }
}

pub(crate) fn read(text: &str) -> Vec<Told> {
    let answer: Value = serde_json::from_str(text).unwrap();
    let word = |value: &Value| value.as_str().unwrap_or_else(|| panic!("no text: {value}")).to_owned();
    let verdicts = answer["verdicts"].as_array().unwrap();
    assert_eq!(verdicts.len(), 2, "one for each team: {answer}");
    verdicts
        .iter()
        .map(|verdict| Told {
            agreement: word(&verdict["agreement"]),
            team: word(&verdict["scope"]["team"]),
            from: word(&verdict["window"]["from"]),
            verdict: word(&verdict["verdict"]),
            at: Instant::now(),
        })
        .collect()
}
