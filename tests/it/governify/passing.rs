//! Documents that a Registry keeps: writes at our Registry API are passed on to it. Our own API stands in for that Registry
//! here. And what Registries send besides their answers: CORS, gzip, and what `forceUpdate` does.

use std::io::Read;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use probity::api::registry_v6::Mode;
use probity::clock::Clock;
use probity::net::Net;
use probity::registry::{self, Agreements, Times};
use probity::store::{DocumentKind, PageRequest};
use serde_json::{Value, json};

use super::{Behind, Collector, Computed, Front, Posted, call};
use crate::harness::server::{client, read};

fn document(version: &str) -> Value {
    let collector = json!({"infrastructurePath": "c", "endpoint": "/api/v2/computations", "type": "POST-GET-V1"});
    let term = json!({"objective": "M >= 50", "with": {"M": {}},
                      "window": {"type": "static", "period": "daily", "initial": "2024-01-01"}});
    json!({"id": "a", "version": version, "type": "agreement",
           "context": {"validity": {"initial": "2024-01-01", "timeZone": "UTC"}},
           "terms": {"metrics": {"M": {"collector": collector, "measure": {}}},
                     "guarantees": [{"id": "G", "scope": {}, "of": [term]}]}})
}

#[tokio::test]
async fn documents_are_passed_on_to_the_registry_that_keeps_them() {
    let theirs = Behind::new().await;
    let registry = Front::start(&theirs, Clock::System, Mode::Compat, |_| ()).await;
    let store = probity::store::open("memory:", &Default::default()).await.unwrap();
    let agreements = Agreements::new(Clock::System, Some(store.clone()));
    // Nothing comes by polling within this test.
    let hour = Duration::from_secs(3600);
    let times = Times { watch: hour, poll: hour, request: Duration::from_secs(20) };
    let url = format!("http://ana:s3cret-word@{}", registry.address);
    let source = registry::remote(&url, &Arc::new(Net::default()), times).unwrap();
    tokio::spawn(registry::follow(&agreements, vec![source]).run());
    agreements.started(Duration::from_secs(60)).await;
    let ours = Behind { store, agreements };
    let front = Front::start(&ours, Clock::System, Mode::Strict, |config| config.registry.pass_to = url).await;
    let ask = async |method: &str, path: &str, body: Option<Value>| {
        let answer = call(front.address, method, path, body.as_ref(), None).await;
        (answer.status().as_u16(), answer.text().await.unwrap())
    };
    let versions = |set: &Agreements| -> Vec<String> {
        set.snapshot().agreements.iter().map(|agreement| agreement.version.clone()).collect()
    };
    // The Registry's own answer, and in force here as soon as it is given.
    assert_eq!(ask("POST", "/api/v6/agreements", Some(document("1"))).await, (200, "OK".into()));
    assert_eq!((versions(&ours.agreements), versions(&theirs.agreements)), (vec!["1".into()], vec!["1".into()]));
    assert_eq!(ask("POST", "/api/v6/agreements", Some(document("1"))).await.0, 409);
    let mut broken = document("2");
    broken["terms"]["guarantees"][0]["of"][0]["objective"] = json!("process.exit(1)");
    let (status, text) = ask("PUT", "/api/v6/agreements/a", Some(broken)).await;
    assert!(status == 400 && text.contains("$.terms.guarantees[0].of[0].objective"), "{status} {text}");
    assert_eq!(versions(&theirs.agreements), ["1"], "it was not told");
    assert_eq!(ask("PUT", "/api/v6/agreements/a", Some(document("2"))).await.0, 200);
    assert_eq!((versions(&ours.agreements), versions(&theirs.agreements)), (vec!["2".into()], vec!["2".into()]));
    let template = json!({"template": {"id": "t-v1-0-0", "type": "template"}});
    assert_eq!(ask("POST", "/api/v6/templates", Some(template)).await.0, 200);
    assert!(ours.agreements.snapshot().templates.contains_key("t-v1-0-0"));
    assert_eq!(ask("DELETE", "/api/v6/templates/t-v1-0-0", None).await.0, 204);
    assert!(theirs.agreements.snapshot().templates.is_empty() && ours.agreements.snapshot().templates.is_empty());
    assert_eq!(ask("DELETE", "/api/v6/agreements", None).await.0, 200);
    assert!(versions(&ours.agreements).is_empty() && versions(&theirs.agreements).is_empty());
    assert_eq!(ask("DELETE", "/api/v6/agreements/a", None).await.0, 404);
    // Nothing is kept here but who did what.
    assert!(ours.store.documents(DocumentKind::Agreement).await.unwrap().is_empty());
    let entries = ours.store.audit_entries(&PageRequest::default()).await.unwrap().items;
    let actions: Vec<&str> = entries.iter().map(|entry| entry.action.as_str()).collect();
    let (agreement, template) = ("pass-on-agreement", "pass-on-template");
    assert_eq!(actions, [agreement, template, template, agreement, agreement]);
    assert!(!format!("{entries:?}").contains("s3cret"));
}

#[tokio::test]
async fn a_registry_that_does_not_answer_is_a_bad_gateway() {
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let behind = Behind::new().await;
    let front = Front::start(&behind, Clock::System, Mode::Strict, |config| {
        config.registry.pass_to = format!("http://ana:s3cret-word@127.0.0.1:{port}");
    })
    .await;
    let (status, said) =
        read(call(front.address, "POST", "/api/v6/agreements", Some(&document("1")), None).await).await;
    assert_eq!(status, 502);
    assert!(!said.to_string().contains("s3cret"), "{said}");
    assert!(behind.store.documents(DocumentKind::Agreement).await.unwrap().is_empty());
}

/// Counts questions, and answers each day with a value; with none when there is to be nothing.
async fn counted() -> (String, Arc<AtomicU64>, Arc<AtomicU64>) {
    let (asked, silent) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
    let answering = {
        let (asked, silent) = (asked.clone(), silent.clone());
        Arc::new(move |posted: &Posted| {
            asked.fetch_add(1, Ordering::SeqCst);
            let window = &posted.body["metric"]["window"];
            let period = json!({"from": window["initial"], "to": window["end"]});
            let one = json!({"scope": {}, "period": period, "value": 80, "evidences": ["x".repeat(2_000)]});
            let computations = if silent.load(Ordering::SeqCst) > 0 { json!([]) } else { json!([one]) };
            Computed { post: 201, polls: 0, get: 200, body: json!({"code": 200, "computations": computations}) }
        })
    };
    (Collector::start(answering).await.0, asked, silent)
}

const DAYS: &str = "/api/v6/states/a/guarantees?from=2024-03-01T00:00:00.000Z&to=2024-03-04T00:00:00.000Z";

async fn front(url: &str, behind: &Behind) -> Front {
    let url = url.to_owned();
    let front = Front::start(behind, Clock::System, Mode::Strict, |config| {
        config.collectors.services.insert("c".into(), url);
        config.collectors.poll_ms_min = 1;
    })
    .await;
    call(front.address, "POST", "/api/v6/agreements", Some(&document("1")), None).await;
    front
}

#[tokio::test]
async fn what_is_settled_is_asked_for_again_unless_it_need_not_be() {
    let (url, asked, silent) = counted().await;
    let behind = Behind::new().await;
    let front = front(&url, &behind).await;
    let get = async |force: &str| {
        let text = front.get(&format!("{DAYS}{force}")).await.text().await.unwrap();
        (text, asked.swap(0, Ordering::SeqCst))
    };
    silent.store(1, Ordering::SeqCst);
    let (unknown, questions) = get("&forceUpdate=false").await;
    assert!(questions == 3 && unknown.contains("unknown"), "nothing is stored yet");
    silent.store(0, Ordering::SeqCst);
    let (first, questions) = get("&forceUpdate=false").await;
    assert!(questions == 3 && first.contains("fulfilled"), "what is unknown is worth asking for: {first}");
    assert_eq!(get("&forceUpdate=false").await, (first.clone(), 0));
    for force in ["", "&forceUpdate=true"] {
        assert_eq!(get(force).await, (first.clone(), 3), "{force}");
    }
    // In compat every call asks, as the Registry does.
    assert_eq!(get("&forceUpdate=false&mode=compat").await.1, 1);
    call(front.address, "PUT", "/api/v6/agreements/a", Some(&document("2")), None).await;
    assert_eq!(get("&forceUpdate=false").await.1, 3, "another document");
}

/// A range that is no window of the agreement is answered, and found again by who asks for it; no list of verdicts has it.
#[tokio::test]
async fn an_ad_hoc_range_is_no_window() {
    let (url, ..) = counted().await;
    let behind = Behind::new().await;
    let front = front(&url, &behind).await;
    let range = "from=2024-03-01T12:00:00.000Z&to=2024-03-02T13:00:00.000Z";
    let path = "/api/v6/states/a/guarantees";
    for _ in 0..2 {
        let (status, states) = read(front.get(&format!("{path}?{range}&newPeriodsFromGuarantees=false")).await).await;
        assert_eq!((status, states[0]["value"].clone()), (200, json!(true)));
    }
    assert!(super::calls::stored(&behind).await.is_empty());
    let (_, lasts) = read(front.get(&format!("{path}/G?lasts=5")).await).await;
    assert_eq!((lasts.as_array().unwrap().len(), &lasts[0]["record_size"]), (1, &json!(2)));
    let (_, found) =
        read(front.get(&format!("/api/v6/states/a/filtered?indicator=G&type=guarantees&{range}")).await).await;
    assert_eq!(found[0]["period"]["to"], "2024-03-02T13:00:00.000Z");
    // A day is a window of it, however it is asked for.
    let day = "from=2024-03-01T00:00:00.000Z&to=2024-03-02T00:00:00.000Z";
    front.get(&format!("{path}?{day}&newPeriodsFromGuarantees=false")).await.text().await.unwrap();
    assert_eq!(super::calls::stored(&behind).await.len(), 1);
}

/// A client that does not unpack what it gets.
#[expect(clippy::disallowed_methods, reason = "tests call their own server from outside")]
fn as_it_comes() -> reqwest::Client {
    drop(client());
    reqwest::Client::builder().no_gzip().no_proxy().build().unwrap()
}

#[tokio::test]
async fn pages_of_other_sites_may_read_and_gzip_is_for_who_asks() {
    let (url, ..) = counted().await;
    let behind = Behind::new().await;
    let front = front(&url, &behind).await;
    let at = |path: &str| format!("http://{}{path}", front.address);
    let header = |answer: &reqwest::Response, name: &str| -> Option<String> {
        Some(answer.headers().get(name)?.to_str().unwrap().to_owned())
    };
    let asked = client()
        .request(reqwest::Method::OPTIONS, at(DAYS))
        .header("origin", "http://page.test")
        .header("access-control-request-method", "PUT")
        .header("access-control-request-headers", "x-access-token");
    let asked = asked.send().await.unwrap();
    assert_eq!(asked.status(), 204);
    for (name, value) in [
        ("access-control-allow-origin", "*"),
        ("access-control-allow-methods", "GET,HEAD,PUT,PATCH,POST,DELETE"),
        ("access-control-allow-headers", "x-access-token"),
    ] {
        assert_eq!(header(&asked, name).as_deref(), Some(value), "{name}");
    }
    // Nobody is asked who he is here, so a page of another site may not write.
    let write = client().delete(at("/api/v6/agreements/a")).header("origin", "http://page.test");
    assert_eq!(write.send().await.unwrap().status(), 403);
    let plain = client().get(at(DAYS)).header("accept-encoding", "identity").send().await.unwrap();
    assert_eq!(header(&plain, "access-control-allow-origin").as_deref(), Some("*"));
    assert_eq!(
        (header(&plain, "content-encoding"), header(&plain, "vary").as_deref()),
        (None, Some("Accept-Encoding"))
    );
    let plain = plain.text().await.unwrap();
    let zipped = as_it_comes().get(at(DAYS)).header("accept-encoding", "gzip").send().await.unwrap();
    assert_eq!(header(&zipped, "content-encoding").as_deref(), Some("gzip"));
    let bytes = zipped.bytes().await.unwrap();
    assert!(bytes.len() < plain.len() / 2, "{} of {} bytes", bytes.len(), plain.len());
    let mut text = String::new();
    flate2::read::GzDecoder::new(&bytes[..]).read_to_string(&mut text).unwrap();
    assert_eq!(text, plain);
    let small = as_it_comes().get(at("/api/info")).header("accept-encoding", "gzip").send().await.unwrap();
    assert_eq!(header(&small, "content-encoding"), None);
}
