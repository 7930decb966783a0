//! Waivers: every surface says the same, and changes with the second a waiver begins or ends.

use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use probity::api::LoadedAgreements;
use probity::clock::Clock;
use probity::evaluate::{Evaluator, Windows};
use probity::model::agreement::Agreement;
use probity::model::state::Verdict;
use serde_json::{Value, json};
use sqlx::{Connection, Row, SqliteConnection};

use super::schedule::{PLAIN, Running, stored};
use super::{agreement, at, evaluator, in_process, request, two_teams, until, verdicts};
use crate::harness::server::{Server, Setup, read};
use crate::store::Fixture;

/// Daily windows, team b at 80 of 90, with a penalty.
fn daily(extra: Value) -> Arc<Agreement> {
    let mut more = json!({ "terms": { "guarantees": [{
        "id": "ENOUGH", "scope": { "team": { "name": "Team", "type": "string", "default": "*" } },
        "of": [{
            "scope": { "team": "*" }, "objective": "RATE >= 90", "with": { "RATE": {} },
            "window": { "type": "static", "period": "daily", "initial": "2026-01-01T00:00:00Z" },
            "penalties": [{ "over": { "discount": { "unit": "%" } }, "of": [{ "condition": "RATE < 90", "value": "RATE - 90" }] }],
        }],
    }] } });
    super::merge(&mut more, extra);
    agreement("sla", in_process(), more)
}

/// Runs, serves and stores; on a clock moved by hand.
struct World {
    fixture: Fixture,
    clock: Clock,
    asked: Arc<AtomicU64>,
    agreement: Arc<Agreement>,
}

impl World {
    fn new(fixture: Fixture, agreement: Arc<Agreement>) -> World {
        World { fixture, clock: Clock::manual(at("2026-03-04T10:00:00Z")), asked: Arc::default(), agreement }
    }

    fn evaluator(&self) -> Arc<Evaluator> {
        let collector = two_teams(self.asked.clone());
        evaluator(&self.clock, &self.fixture.store, vec![self.agreement.clone()], collector, "[]")
    }

    async fn serve(&self, evaluator: Arc<Evaluator>) -> Server {
        let agreements = LoadedAgreements { agreements: vec![self.agreement.clone()], ..Default::default() };
        let store = Some(self.fixture.store.clone());
        Server::start(Setup { store, agreements, evaluator: Some(evaluator), ..Setup::default() }).await
    }

    /// The three days of team b.
    async fn of_b(&self) -> Vec<probity::model::state::StoredState> {
        let all = verdicts(&self.fixture.store).await;
        all.into_iter().filter(|s| s.state.scope.0["team"] == "b").collect()
    }

    /// Waits until team b's verdicts are these; none may be seen in between, for all change in one transaction.
    async fn flips(&self, from: Verdict, to: Verdict) {
        until(&format!("all are {to:?}"), async || {
            let found: Vec<_> = self.of_b().await.iter().map(|s| s.state.verdict.unwrap()).collect();
            assert!(found == [from; 3] || found == [to; 3], "{found:?}");
            found == [to; 3]
        })
        .await;
        let found = self.of_b().await;
        assert!(found.iter().all(|s| s.state.run == found[0].state.run && s.recorded_at == found[0].recorded_at));
    }
}

fn draft(expires: &str) -> Value {
    json!({
        "agreement": "sla", "guarantee": "ENOUGH", "scope": { "team": "b" }, "reason": "the pump is being replaced",
        "owner": "ana", "from": "2026-03-01", "expires": expires, "id": "pump",
    })
}

async fn post(server: &Server, body: &Value) -> (u16, Value) {
    read(server.client.post(server.url("/probity/v1/waivers")).body(body.to_string()).send().await.unwrap()).await
}

/// What every surface says of team b's three days: API, page, SQL view, command line.
async fn assert_every_surface_says(world: &World, server: &Server, word: &str) {
    let (_, body) = server.json("/probity/v1/verdicts?scope=%7B%22team%22%3A%22b%22%7D").await;
    let said: Vec<&str> = body["items"].as_array().unwrap().iter().map(|v| v["verdict"].as_str().unwrap()).collect();
    assert_eq!(said, [word; 3]);
    let waived = word == "waived";
    let (_, states) = server.json(&format!("/probity/v1/states?kind=guarantee&verdict={word}")).await;
    assert_eq!(states["items"].as_array().unwrap().len(), 3);
    assert_eq!(body["items"][0]["penalties"]["discount"], json!(if waived { 0.0 } else { -10.0 }));
    let unwaived = &body["items"][0]["waiver"]["verdict"];
    assert_eq!(*unwaived, if waived { json!("violated") } else { Value::Null });

    let page = server.get("/probity/verdicts").await.text().await.unwrap();
    assert_eq!(page.matches(&format!("class=\"badge {word}\"")).count(), 3, "{page}");

    let mut db = SqliteConnection::connect(&world.fixture.url).await.unwrap();
    let rows = sqlx::query("SELECT verdict, unwaived FROM probity_verdicts WHERE scope ->> 'team' = 'b'");
    for row in rows.fetch_all(&mut db).await.unwrap() {
        assert_eq!((row.get::<&str, _>(0), row.get::<&str, _>(1)), (word, "violated"));
    }

    let out = command(world, &["verdicts", "sla", "--verdict", word]);
    assert_eq!(out.matches("ENOUGH").count(), 3, "{out}");
    assert!(out.contains(&format!("3 verdicts: 3 {word}")), "{out}");
}

/// The program, on the same database.
fn command(world: &World, arguments: &[&str]) -> String {
    let folder = Path::new(world.fixture.url.trim_start_matches("sqlite:")).parent().unwrap();
    let out = Command::new(env!("CARGO_BIN_EXE_probity"))
        .args(arguments)
        .args(["--database-url", &world.fixture.url, "--data-dir"])
        .arg(folder)
        .output()
        .unwrap();
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    String::from_utf8(out.stdout).unwrap()
}

/// kyverno/kyverno#17473: the expiry of an exception was honoured in one place and not in another.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kyverno_17473_the_second_of_expiry_flips_all_surfaces_in_one_transaction() {
    let world = World::new(Fixture::sqlite().await, daily(Value::Null));
    let evaluator = world.evaluator();
    let running = Running::start(evaluator.clone(), PLAIN);
    stored(&world.fixture.store, 6).await;
    let server = world.serve(evaluator).await;
    assert_every_surface_says(&world, &server, "violated").await;

    let (status, made) = post(&server, &draft("2026-03-04T12:00:00Z")).await;
    assert_eq!((status, &made["changed"]), (201, &json!(3)), "{made}");
    assert_every_surface_says(&world, &server, "waived").await;

    let asked = world.asked.load(Ordering::SeqCst);
    world.clock.set(at("2026-03-04T11:59:59.999Z"));
    assert_every_surface_says(&world, &server, "waived").await;
    world.clock.set(at("2026-03-04T12:00:00Z"));
    world.flips(Verdict::Waived, Verdict::Violated).await;
    assert_every_surface_says(&world, &server, "violated").await;
    assert_eq!(world.asked.load(Ordering::SeqCst), asked, "the evidence is what it was: nobody was asked");

    let (_, corrections) = server.json("/probity/v1/corrections").await;
    let because: Vec<&Value> = corrections["items"].as_array().unwrap().iter().map(|c| &c["because"]).collect();
    assert_eq!(because, [&json!("waiver"); 6]);
    // What was believed while the waiver was in force can still be read.
    let (_, then) = server.json("/probity/v1/verdicts?verdict=waived&as_of=2026-03-04T11:00:00Z").await;
    assert_eq!(then["items"].as_array().unwrap().len(), 3);
    let out = command(&world, &["verdicts", "sla", "--as-of", "2026-03-04T11:00:00Z", "--verdict", "waived"]);
    assert!(out.contains("3 verdicts: 3 waived"), "{out}");
    let out = command(&world, &["verdicts", "sla", "--corrections"]);
    assert_eq!(out.matches("waived 80").count(), 6, "{out}");
    running.stop().await;
}

/// chef/automate#4342: a waiver that had expired was still shown as one.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn automate_4342_a_waiver_that_expires_while_nobody_runs_is_not_shown_after_the_start() {
    for fixture in [Fixture::memory().await, Fixture::sqlite().await, Fixture::postgres().await] {
        let waivers = json!([{
            "id": "pump", "scope": { "team": "b" }, "reason": "the pump is being replaced", "owner": "ana",
            "expires": "2026-03-04T12:00:00Z",
        }]);
        let world = World::new(fixture, daily(json!({ "context": { "x-probity": { "waivers": waivers } } })));
        let running = Running::start(world.evaluator(), PLAIN);
        stored(&world.fixture.store, 6).await;
        running.stop().await;
        let found = world.of_b().await;
        assert!(found.iter().all(|s| s.state.verdict == Some(Verdict::Waived) && s.revision == 1));
        assert_eq!(found[0].state.waiver.as_ref().unwrap().penalties["discount"], Some(-10.0));

        world.clock.set(at("2026-03-04T13:00:00Z"));
        let asked = world.asked.load(Ordering::SeqCst);
        let running = Running::start(world.evaluator(), PLAIN);
        world.flips(Verdict::Waived, Verdict::Violated).await;
        running.stop().await;
        assert_eq!(world.asked.load(Ordering::SeqCst), asked);
        assert!(world.of_b().await.iter().all(|s| s.state.waiver.is_none() && s.revision == 2));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_waiver_that_begins_later_is_applied_when_it_begins_and_taken_back_when_it_is_ended() {
    let world = World::new(Fixture::sqlite().await, daily(Value::Null));
    let evaluator = world.evaluator();
    let running = Running::start(evaluator.clone(), PLAIN);
    stored(&world.fixture.store, 6).await;
    let server = world.serve(evaluator).await;
    let mut later = draft("2026-04-01");
    later["from"] = json!("2026-03-04T11:00:00Z");
    let (status, made) = post(&server, &later).await;
    assert_eq!((status, &made["changed"], &made["waiver"]["in_force"]), (201, &json!(0), &json!(false)), "{made}");
    // It covers no window that closed before it began; the day that is open then is judged under it.
    world.clock.set(at("2026-03-05T00:00:00Z"));
    stored(&world.fixture.store, 8).await;
    let newest = world.of_b().await.pop().unwrap();
    assert_eq!(newest.state.verdict, Some(Verdict::Waived));
    assert_eq!(newest.revision, 1, "judged under the waiver from the first");

    let (status, list) = server.json("/probity/v1/waivers?agreement=sla&in_force=true").await;
    assert_eq!(
        (status, &list["items"][0]["id"], &list["items"][0]["created_by"]),
        (200, &json!("pump"), &json!("anonymous"))
    );
    let path = server.url("/probity/v1/waivers/sla/pump");
    let (status, ended) = read(server.client.delete(&path).send().await.unwrap()).await;
    assert_eq!((status, &ended["changed"]), (200, &json!(1)), "{ended}");
    assert_eq!(world.of_b().await.pop().unwrap().state.verdict, Some(Verdict::Violated));
    let (status, again) = read(server.client.delete(&path).send().await.unwrap()).await;
    assert_eq!((status, &again["error"]), (409, &json!("conflict")));
    let (_, audit) = server.json("/probity/v1/audit").await;
    let actions: Vec<&str> = audit["items"].as_array().unwrap().iter().map(|e| e["action"].as_str().unwrap()).collect();
    assert!(
        actions.contains(&"waive") && actions.contains(&"end waiver") && actions.contains(&"review waivers"),
        "{actions:?}"
    );
    running.stop().await;
}

#[tokio::test]
async fn what_is_no_waiver_is_refused_with_every_problem() {
    let world = World::new(Fixture::memory().await, daily(Value::Null));
    let server = world.serve(world.evaluator()).await;
    for (change, says) in [
        (json!({ "reason": " ", "owner": "" }), &["reason: ", "owner: "][..]),
        (json!({ "expires": null }), &["expires: it has no end"]),
        (json!({ "expires": "2026-02-01" }), &["expires: it expires at"]),
        (json!({ "from": "2026-01-01", "expires": "2026-02-01" }), &["which has passed"]),
        (
            json!({ "from": "soon", "to": "2020-01-01", "guarantee": "NONE" }),
            &["from: ", "to: ", "no guarantee \"NONE\""],
        ),
    ] {
        let mut body = draft("2026-04-01");
        super::merge(&mut body, change);
        let (status, answer) = post(&server, &body).await;
        assert_eq!(status, 400, "{answer}");
        for text in says {
            assert!(answer["message"].as_str().unwrap().contains(text), "{text}: {answer}");
        }
    }
    let mut unknown = draft("2026-04-01");
    unknown["agreement"] = json!("slo");
    assert_eq!(post(&server, &unknown).await.0, 404);
    assert_eq!(post(&server, &json!({ "agreement": "sla", "because": "x" })).await.0, 400);
    assert_eq!(post(&server, &draft("2026-04-01")).await.0, 201);
    assert_eq!(post(&server, &draft("2026-04-01")).await.0, 409);
}

/// A waiver that is made while an evaluation is under way: whichever comes first, it holds in the end.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_evaluation_and_a_waiver_at_once_end_in_a_waived_verdict() {
    for _ in 0..20 {
        let world = World::new(Fixture::memory().await, daily(Value::Null));
        let evaluator = world.evaluator();
        let request = request(world.agreement.clone(), Windows::LastClosed { at: world.clock.now(), count: 3 });
        let server = world.serve(evaluator.clone()).await;
        let evaluating = tokio::spawn(async move { evaluator.run(request).await });
        assert_eq!(post(&server, &draft("2026-04-01")).await.0, 201);
        evaluating.await.unwrap().unwrap();
        let found = world.of_b().await;
        assert!(found.iter().all(|s| s.state.verdict == Some(Verdict::Waived)), "{found:#?}");
    }
}
