//! The OpenAPI document against the server: every path answers as it says, in the shapes it says.

use jiff::Timestamp;
use probity::api::openapi::document;
use probity::model::state::StateKind;
use probity::store::{ClaimKey, Due, Holder, NewFlowRevision, PageRequest, StateQuery, Store, queue};
use serde_json::{Value, json};

use crate::harness::server::{Server, Setup, read, tab};
use crate::orders;

/// What of `value` does not fit `schema`. Knows the keywords the document uses, and refuses others.
fn misfits(document: &Value, schema: &Value, value: &Value, at: &str, found: &mut Vec<String>) {
    for (keyword, rule) in schema.as_object().unwrap() {
        match keyword.as_str() {
            "$ref" => {
                let pointer = rule.as_str().unwrap().trim_start_matches('#');
                misfits(document, document.pointer(pointer).unwrap(), value, at, found);
            }
            "type" => {
                let fits = |name: &Value| match name.as_str().unwrap() {
                    "string" => value.is_string(),
                    "integer" => value.is_i64() || value.is_u64(),
                    "number" => value.is_number(),
                    "boolean" => value.is_boolean(),
                    "array" => value.is_array(),
                    "object" => value.is_object(),
                    "null" => value.is_null(),
                    other => panic!("type {other}"),
                };
                if !rule.as_array().map_or_else(|| fits(rule), |names| names.iter().any(fits)) {
                    found.push(format!("{at}: {value} is not {rule}"));
                }
            }
            "enum" => {
                if !rule.as_array().unwrap().contains(value) {
                    found.push(format!("{at}: {value} is not one of {rule}"));
                }
            }
            "oneOf" => {
                let fitting = rule.as_array().unwrap().iter().filter(|schema| {
                    let mut found = Vec::new();
                    misfits(document, schema, value, at, &mut found);
                    found.is_empty()
                });
                if fitting.count() != 1 {
                    found.push(format!("{at}: {value} fits not exactly one of {rule}"));
                }
            }
            "required" => {
                for name in rule.as_array().unwrap() {
                    if value.is_object() && value.get(name.as_str().unwrap()).is_none() {
                        found.push(format!("{at}: {name} is missing"));
                    }
                }
            }
            "properties" => {
                for (name, schema) in rule.as_object().unwrap() {
                    if let Some(value) = value.get(name) {
                        misfits(document, schema, value, &format!("{at}.{name}"), found);
                    }
                }
            }
            "additionalProperties" => {
                let known = schema.get("properties");
                let others = value
                    .as_object()
                    .into_iter()
                    .flatten()
                    .filter(|(name, _)| known.is_none_or(|k| k.get(name).is_none()));
                for (name, value) in others {
                    match rule {
                        Value::Bool(false) => found.push(format!("{at}: {name} is not in the schema")),
                        schema => misfits(document, schema, value, &format!("{at}.{name}"), found),
                    }
                }
            }
            "items" => {
                for (i, value) in value.as_array().into_iter().flatten().enumerate() {
                    misfits(document, rule, value, &format!("{at}[{i}]"), found);
                }
            }
            "format" => {
                let fits = value.as_str().is_none_or(|text| match rule.as_str().unwrap() {
                    "date-time" => text.parse::<Timestamp>().is_ok(),
                    "uuid" => uuid::Uuid::parse_str(text).is_ok(),
                    other => panic!("format {other}"),
                });
                if !fits {
                    found.push(format!("{at}: {value} is no {rule}"));
                }
            }
            "minimum" => {
                if value.as_f64().is_some_and(|n| n < rule.as_f64().unwrap()) {
                    found.push(format!("{at}: {value} is below {rule}"));
                }
            }
            "description" => {}
            other => panic!("keyword {other}"),
        }
    }
}

pub(super) fn assert_fits(document: &Value, path: &str, method: &str, status: u16, body: &Value) {
    let responses = &document["paths"][path][method]["responses"];
    let response = &responses[status.to_string()];
    assert!(response.is_object(), "{method} {path} answered {status}, which the document does not know: {body}");
    let mut found = Vec::new();
    misfits(document, &response["content"]["application/json"]["schema"], body, "$", &mut found);
    assert!(found.is_empty(), "{method} {path} {status}: {found:#?}");
}

/// A server that has one of everything, and values for the document's path parameters.
async fn full() -> (Server, String) {
    let mut flows = tab("e", "get", "/a", "echo");
    flows.extend(tab("bad", "get", "/bad", "no-such-type"));
    let mut agreements = orders::agreements();
    agreements.diagnostics.push(
        probity::model::Diagnostic::warning("sample", "$.terms", "something to look at")
            .expected("another thing")
            .hint("look at it")
            .in_file("agreements/orders.json"),
    );
    let store = probity::store::open("memory:", &Default::default()).await.unwrap();
    orders::seed(&*store).await;
    let mut waiver = crate::store::samples::waiver("orders", "w1");
    waiver.expires = "2999-01-01T00:00:00Z".parse().unwrap();
    store.add_waiver(&waiver, &crate::store::samples::audit("orders")).await.unwrap();
    let page = PageRequest { limit: 1, after: None };
    let verdicts = StateQuery { kind: Some(StateKind::Guarantee), ..StateQuery::default() };
    let found = store.states(&verdicts, &page).await.unwrap().items;
    orders::seed_budgets(&*store).await;
    let key = ClaimKey { schedule: "agreement/orders".into(), due_at: "2026-01-01T00:00:00Z".parse().unwrap() };
    let due = Due { at: key.due_at, key, how: probity::store::How::Live };
    store.claim(&due, Holder { owner: "us", lease_ms: 0 }).await.unwrap().unwrap();
    for (after, flows) in [(0, "[]"), (1, r#"[{"id":"t","type":"tab"}]"#)] {
        let revision = NewFlowRevision {
            hash: after.to_string(),
            author: "ana".into(),
            action: "deploy".into(),
            at: due.at,
            flows: flows.into(),
            credentials: None,
        };
        store.put_flow_revision(after, &revision, 0).await.unwrap().unwrap();
    }
    let found = found.into_iter().map(|s| s.state).collect();
    let plugins = crate::plugins::rig::none();
    let package = crate::plugins::rig::package("pass", "", crate::plugins::rig::granted(&[]));
    plugins.load(package).await.unwrap_or_else(|problems| panic!("{problems:#?}"));
    let folder = tempfile::tempdir().unwrap();
    let desk = crate::plugins::deciding::desk(folder.path());
    queued(&*store).await;
    let (store, plugins, folder) = (Some(store), Some(plugins), Some(folder));
    let setup = Setup { flows, agreements, store, found, plugins, desk, folder, ..Setup::default() };
    let server = Server::start(setup).await;
    server.get("/a").await;
    let (_, runs) = server.json("/probity/v1/runs?trigger=cron&limit=1").await;
    let run = runs["items"][0]["id"].as_str().unwrap().to_string();
    (server, run)
}

/// A durable run in each state in which something can be done about it, and one that stays queued.
async fn queued(store: &dyn Store) {
    let runs: Vec<queue::NewRun> = QUEUED
        .iter()
        .map(|id| queue::NewRun {
            id: id.parse().unwrap(),
            flow: "e".into(),
            node: "ein".into(),
            flow_version: "1".into(),
            trigger: probity::model::run::Trigger::Manual { by: "ana".into() },
            msg: "{}".into(),
            reply: false,
            priority: queue::Priority::Normal,
            tenant: String::new(),
            delay_ms: 0,
            dedup: None,
            lease_ms: None,
        })
        .collect();
    store.accept_runs("test", &runs[..2]).await.unwrap();
    let wanted = queue::LeaseWanted { max: 2, lease_ms: 60_000, ..Default::default() };
    let leased = store.lease_runs("test", &wanted).await.unwrap();
    let what = probity::model::run::RunError { node: "ein".into(), node_type: "http in".into(), message: "so".into() };
    let settled: Vec<queue::Settlement> = leased
        .iter()
        .map(|run| {
            let dead = run.id == runs[0].id;
            let outcome = match dead {
                true => queue::Outcome::Dead { error: what.clone() },
                false => queue::Outcome::Doubt { what: what.clone() },
            };
            queue::Settlement { held: run.held(), outcome }
        })
        .collect();
    assert_eq!(store.settle_runs(&settled).await.unwrap(), [true, true]);
    store.accept_runs("test", &runs[2..]).await.unwrap();
}

/// Dead, in doubt, to be cancelled, and left alone.
const QUEUED: [&str; 4] = [
    "01900000-0000-7000-8000-000000000001",
    "01900000-0000-7000-8000-000000000002",
    "01900000-0000-7000-8000-000000000003",
    "01900000-0000-7000-8000-000000000004",
];

/// What is to be waived in the call of every path.
const WAIVER: &str = r#"{"agreement":"orders","guarantee":"PAID_WITHIN_30_DAYS","scope":{"department":"*"},
    "reason":"the ledger is being moved","owner":"ana","from":"2026-01-01","expires":"2999-01-01T00:00:00Z"}"#;

#[tokio::test]
async fn every_path_answers_in_the_shape_the_document_says() {
    let (server, run) = full().await;
    let (status, document) = server.json("/probity/openapi.json").await;
    assert_eq!((status, &document["openapi"]), (200, &json!("3.1.0")));
    assert_eq!(document, self::document());
    for (path, methods) in document["paths"].as_object().unwrap() {
        let id = match path.as_str() {
            p if p.ends_with("/replay") => QUEUED[0],
            p if p.ends_with("/decide") => QUEUED[1],
            p if p.ends_with("/cancel") => QUEUED[2],
            p if p.contains("/runs/") => run.as_str(),
            p if p.contains("/flows/") => "e",
            _ => "orders",
        };
        for (method, operation) in methods.as_object().unwrap() {
            let plugin = if path.ends_with("/grants") { "asks" } else { "pass" };
            // Ended once, a waiver is over.
            let id = if path.starts_with("/probity/v1/waivers/") { "w1" } else { id };
            let path_of = path.replace("{agreement}", "orders").replace("{id}", id).replace("{number}", "2");
            let query = match path.as_str() {
                "/probity/v1/budgets/explain" => named(&server, "budgets", "budget").await,
                p if p.ends_with("/explain") => named(&server, "verdicts", "guarantee").await,
                p if p.ends_with("/decide") => "?decision=again".into(),
                p if p.ends_with("/ticks") => "?schedule=agreement/orders".into(),
                _ => String::new(),
            };
            let address = server.url(&(path_of.replace("{name}", plugin) + &query));
            let method_of = reqwest::Method::from_bytes(method.to_uppercase().as_bytes()).unwrap();
            let call = server.client.request(method_of, address);
            let call = if method == "put" { call.body("{\"capability\":\"all\"}") } else { call };
            let waives = (method.as_str(), path.as_str()) == ("post", "/probity/v1/waivers");
            let call = if waives { call.body(WAIVER) } else { call };
            let call = if path.ends_with("/trace") { call.body("{\"runs\":1}") } else { call };
            let simulates = path == "/probity/v1/simulate";
            let call =
                if simulates { call.body(orders::agreements().agreements[0].document.to_string()) } else { call };
            let response = call.send().await.unwrap();
            let status = response.status().as_u16();
            // This server has no flows that can be deployed.
            if path.ends_with("/rollback") {
                let (status, body) = read(response).await;
                assert_eq!(status, 404, "{body}");
                assert_fits(&document, path, method, status, &body);
                continue;
            }
            if waives {
                let (status, body) = read(response).await;
                assert_eq!(status, 201, "{body}");
                assert_fits(&document, path, method, status, &body);
                continue;
            }
            // What they need this server does not have; `tests/it/flow_tests.rs` calls them where it is there.
            let refused = match (method.as_str(), path.as_str()) {
                ("post", "/probity/v1/flows/check") => Some(404),
                ("post", "/probity/v1/runs") | ("get", "/probity/v1/runs/{id}/test") => Some(400),
                _ => None,
            };
            if let Some(refused) = refused {
                let (status, body) = read(response).await;
                assert_eq!(status, refused, "{method} {path}: {body}");
                assert_fits(&document, path, method, status, &body);
                continue;
            }
            let responses = &operation["responses"];
            if responses["200"]["content"].get("application/json").is_some() {
                let (status, body) = read(response).await;
                assert_eq!(status, 200, "{method} {path}");
                assert_fits(&document, path, method, status, &body);
                if let Some(items) = body.get("items") {
                    assert!(!items.as_array().unwrap().is_empty(), "{path}: a sample for its items is needed");
                }
            } else {
                // The verdict's page needs to be told which; the address without slash leads to the one with.
                let expected = match path.as_str() {
                    "/probity" => 308,
                    "/probity/verdict" => 400,
                    _ => 200,
                };
                assert_eq!(status, expected, "{method} {path}");
            }
        }
    }
}

/// The query that names a stored verdict or budget.
async fn named(server: &Server, list: &str, of: &'static str) -> String {
    let (_, listed) = server.json(&format!("/probity/v1/{list}?limit=1")).await;
    let found = &listed["items"][0];
    let part = |value: &Value| value.as_str().unwrap().to_owned();
    let pairs = [
        ("agreement", part(&found["agreement"])),
        (of, part(&found[of])),
        ("scope", found["scope"].to_string()),
        ("from", part(&found["window"]["from"])),
        ("to", part(&found["window"]["to"])),
    ];
    format!("?{}", form_urlencoded::Serializer::new(String::new()).extend_pairs(pairs).finish())
}

#[tokio::test]
async fn a_verdict_is_explained_in_the_language_asked_for() {
    let (server, _) = full().await;
    let query = named(&server, "verdicts", "guarantee").await;
    let (status, body) = server.json(&format!("/probity/v1/verdicts/explain{query}&lang=es")).await;
    assert_eq!((status, &body["language"]), (200, &json!("es")), "{body}");
    assert!(body["text"].as_array().unwrap().iter().any(|l| l.as_str().unwrap().starts_with("Veredicto: ")), "{body}");
    let by_id = format_id(body["id"].as_str().unwrap());
    let (_, again) = server.json(&format!("/probity/v1/verdicts/explain?id={by_id}")).await;
    assert_eq!((&again["run"], &again["language"]), (&body["run"], &json!("en")), "{again}");
    let page =
        server.client.get(server.url(&format!("/probity/verdict{query}"))).header("accept-language", "es-ES,en;q=0.5");
    let page = page.send().await.unwrap().text().await.unwrap();
    assert!(page.contains("lang=\"es\"") && page.contains("Veredicto: "), "{page}");
    let nothing = query.replace("guarantee=", "guarantee=No");
    assert_eq!(server.json(&format!("/probity/v1/verdicts/explain{nothing}")).await.0, 404);
    assert_eq!(server.json("/probity/v1/verdicts/explain?id=a/b").await.0, 400);
    assert_eq!(server.json("/probity/v1/verdicts/explain?agreement=orders").await.0, 400);
}

fn format_id(id: &str) -> String {
    form_urlencoded::byte_serialize(id.as_bytes()).collect()
}

#[tokio::test]
async fn errors_have_the_documents_shape() {
    let (server, _) = full().await;
    let document = document();
    for (template, path, status) in [
        ("/probity/v1/runs/{id}", "/probity/v1/runs/x", 400),
        ("/probity/v1/runs/{id}", "/probity/v1/runs/0190a000-0000-7000-8000-000000000000", 404),
        ("/probity/v1/runs/{id}", "/probity/v1/runs/01900000-0000-7000-8000-000000000001", 200),
        ("/probity/v1/queue", "/probity/v1/queue?state=gone", 400),
        ("/probity/v1/flows/{id}", "/probity/v1/flows/x", 404),
        ("/probity/v1/agreements/{id}", "/probity/v1/agreements/x", 404),
        ("/probity/v1/nodes", "/probity/v1/nodes?x=1", 400),
    ] {
        let (got, body) = server.json(path).await;
        assert_eq!(got, status, "{path}");
        assert_fits(&document, template, "get", got, &body);
    }
    let path = "/probity/v1/agreements/{id}/evaluate";
    for (body, status) in [
        ("{\"form\":1}", 400),
        ("{\"to\":\"2026-01-01T00:00:00Z\"}", 400),
        ("{\"guarantee\":\"PAID\"}", 400),
        ("{\"from\":\"1960-01-01T00:00:00Z\",\"to\":\"1961-01-01T00:00:00Z\"}", 422),
        ("{\"from\":\"2026-03-01T00:00:00Z\",\"store\":false}", 200),
        ("{\"from\":\"soon\"}", 400),
        // Dates are midnights in the agreement's zone.
        ("{\"from\":\"2026-03-01\",\"to\":\"2026-03-02\",\"store\":false}", 200),
    ] {
        let call = server.client.post(server.url("/probity/v1/agreements/orders/evaluate")).body(body);
        let (got, answer) = read(call.send().await.unwrap()).await;
        assert_eq!(got, status, "{body}: {answer}");
        assert_fits(&document, path, "post", got, &answer);
    }
}

#[tokio::test]
async fn paths_and_methods_that_are_not_there_say_so() {
    let (server, _) = full().await;
    let (status, body) = server.json("/probity/v1/nothing").await;
    assert_eq!((status, &body["error"]), (404, &json!("not_found")));
    let (status, body) = read(server.client.delete(server.url("/probity/v1/runs")).send().await.unwrap()).await;
    assert_eq!((status, &body["error"]), (405, &json!("method_not_allowed")));
}

#[tokio::test]
async fn metrics_are_text_for_prometheus() {
    let (server, _) = full().await;
    let response = server.get("/metrics").await;
    assert!(response.headers()["content-type"].to_str().unwrap().starts_with("application/openmetrics-text"));
    let text = response.text().await.unwrap();
    for line in [
        "probity_runs_total{state=\"done\"} 1",
        "probity_http_requests_total{handler=\"flow\",status=\"2xx\"} 1",
        "probity_http_request_duration_seconds_count{handler=\"flow\"} 1",
        "probity_verdicts_stored_total{verdict=\"violated\"} 0",
        "probity_runs_open 0",
        "probity_expired_total{what=\"states\"} 0",
        "probity_upkeep_failures_total 0",
    ] {
        assert!(text.lines().any(|l| l.starts_with(line)), "{line} is not in\n{text}");
    }
    assert_eq!(text.matches("# EOF").count(), 1);
    assert!(text.ends_with("# EOF\n"));
}
