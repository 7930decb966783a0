//! Budgets in the one evaluation path: on a clock moved by hand, with waivers, corrections and `/metrics`.

use std::sync::{Arc, Mutex};

use futures_util::FutureExt;
use probity::api::LoadedAgreements;
use probity::clock::Clock;
use probity::evaluate::{Evaluator, InProcess, Windows};
use probity::model::budget::Figures;
use probity::model::state::{StateKind, StoredState, Verdict};
use probity::runtime::services::EvaluateAgreement;
use probity::store::{PageRequest, StateQuery, Store};
use serde_json::{Value, json};

use crate::evaluation::{agreement, at, evaluator, in_process, request};
use crate::harness::server::{Server, Setup};
use crate::store::Fixture;

/// The rates of the hours of a day, by team; `null` is missing.
pub(super) type Rates = Arc<Mutex<Vec<Value>>>;

pub(super) fn collector(rates: &Rates) -> InProcess {
    let rates = rates.clone();
    Arc::new(move |query, _| {
        let hour = (query.window.from.as_second() / 3600 % 24) as usize;
        let value = rates.lock().unwrap().get(hour).cloned().unwrap_or(json!(99));
        let period = json!({"from": query.window.from.to_string(), "to": query.window.to.to_string()});
        let answer =
            json!({"computations": [{"scope": {"team": "a"}, "period": period, "value": value, "evidences": []}]});
        async move { Ok(answer) }.boxed()
    })
}

pub(super) fn with_budget() -> Arc<probity::model::agreement::Agreement> {
    agreement(
        "shop",
        in_process(),
        json!({"context": {"x-probity": {"budgets": [{
            "id": "day", "guarantee": "ENOUGH", "target": "75%", "window": {"type": "rolling", "length": "PT4H", "step": "hourly"},
            "alerts": [{"id": "fast", "burnRate": 2, "long": "PT2H", "short": "PT1H"}],
        }]}}}),
    )
}

async fn judge(evaluator: &Evaluator, windows: Windows) {
    let request = request(evaluator.agreement("shop").unwrap(), windows);
    evaluator.run(request).await.unwrap();
}

pub(super) fn hours(from: i64, to: i64) -> Windows {
    let hour = |h: i64| at("2026-03-01T00:00:00Z") + jiff::SignedDuration::from_hours(h);
    Windows::Overlapping { from: hour(from), to: hour(to) }
}

/// The period or time that ends at this instant.
async fn ending(store: &dyn Store, kind: StateKind, end: &str) -> StoredState {
    let query = StateQuery { kind: Some(kind), provisional: Some(false), ..StateQuery::default() };
    let page = store.states(&query, &PageRequest { limit: 1000, after: None }).await.unwrap();
    let found: Vec<StoredState> = page.items.into_iter().filter(|s| s.state.window.to == at(end)).collect();
    assert_eq!(found.len(), 1, "{kind:?} at {end}: {found:#?}");
    found.into_iter().next().unwrap()
}

async fn stores() -> [Fixture; 3] {
    [Fixture::memory().await, Fixture::sqlite().await, Fixture::postgres().await]
}

/// A bad hour that comes to light late corrects the budgets it counts in, and no others.
#[tokio::test]
async fn late_evidence_corrects_every_budget_it_counts_in() {
    for fixture in stores().await {
        let store = &*fixture.store;
        let rates = Rates::new(Mutex::new(vec![json!(99); 24]));
        let clock = Clock::manual(at("2026-03-01T12:00:00Z"));
        let evaluator = evaluator(&clock, &fixture.store, vec![with_budget()], collector(&rates), "[]");
        judge(&evaluator, hours(0, 12)).await;
        assert_eq!(ending(store, StateKind::Budget, "2026-03-01T06:00:00Z").await.state.value, Some(1.0));
        rates.lock().unwrap()[4] = json!(10);
        judge(&evaluator, hours(4, 5)).await;
        for (end, left, revision) in [
            ("2026-03-01T04:00:00Z", 1.0, 1),
            ("2026-03-01T05:00:00Z", 0.0, 2),
            ("2026-03-01T08:00:00Z", 0.0, 2),
            ("2026-03-01T09:00:00Z", 1.0, 1),
        ] {
            let found = ending(store, StateKind::Budget, end).await;
            assert_eq!((found.state.value, found.revision), (Some(left), revision), "{end}");
        }
        let alert = ending(store, StateKind::BurnRate, "2026-03-01T05:00:00Z").await;
        assert_eq!((alert.state.verdict, alert.state.value, alert.revision), (Some(Verdict::Fulfilled), Some(2.0), 2));
        // Said again with the same evidence, nothing is new.
        judge(&evaluator, hours(0, 12)).await;
        assert_eq!(ending(store, StateKind::Budget, "2026-03-01T08:00:00Z").await.revision, 2);
    }
}

/// When a waiver is made and when it is ended, verdicts and budgets change in one transaction.
#[tokio::test]
async fn a_waiver_gives_back_what_it_accepts_as_long_as_it_lasts() {
    for fixture in stores().await {
        let store = &*fixture.store;
        let mut values = vec![json!(99); 24];
        (values[2], values[3]) = (json!(10), json!(10));
        let clock = Clock::manual(at("2026-03-01T04:00:00Z"));
        let evaluator =
            evaluator(&clock, &fixture.store, vec![with_budget()], collector(&Rates::new(Mutex::new(values))), "[]");
        judge(&evaluator, hours(0, 4)).await;
        let now = async || {
            let found = ending(store, StateKind::Budget, "2026-03-01T04:00:00Z").await;
            let run = store.run(found.state.run).await.unwrap().expect("the run that said so");
            (found.state.verdict.unwrap(), found.state.value, found.revision, Figures::of(&found.state).unwrap(), run)
        };
        let (verdict, left, ..) = now().await;
        assert_eq!((verdict, left), (Verdict::Violated, Some(-1.0)));
        let alert = ending(store, StateKind::BurnRate, "2026-03-01T04:00:00Z").await;
        assert_eq!((alert.state.verdict, alert.state.value), (Some(Verdict::Violated), Some(4.0)));
        let mut waiver = crate::store::samples::waiver("shop", "move");
        (waiver.guarantee, waiver.scope) = (None, Default::default());
        (waiver.from, waiver.to, waiver.expires) = (at("2026-03-01T00:00:00Z"), None, at("2026-04-01T00:00:00Z"));
        assert!(store.add_waiver(&waiver, &crate::store::samples::audit("shop")).await.unwrap());
        evaluator.waivers_changed("shop", "ana").await.unwrap();
        let (verdict, left, revision, figures, run) = now().await;
        assert_eq!((verdict, left, revision), (Verdict::Fulfilled, Some(1.0), 2));
        assert_eq!((figures.unwaived, figures.tally.waived_bad), (Verdict::Violated, 2));
        assert_eq!(figures.used_unwaived.unwrap().text(), "2/1");
        let waived = StateQuery { verdict: Some(Verdict::Waived), ..StateQuery::default() };
        let waived = store.states(&waived, &PageRequest::default()).await.unwrap().items;
        assert!(waived.len() == 2 && waived.iter().all(|s| s.state.run == run.id), "one transaction");
        let at_once = crate::store::samples::audit("shop");
        assert!(store.end_waiver("shop", "move", at("2026-03-01T04:00:00Z"), &at_once).await.unwrap());
        evaluator.waivers_changed("shop", "ana").await.unwrap();
        let (verdict, left, revision, ..) = now().await;
        assert_eq!((verdict, left, revision), (Verdict::Violated, Some(-1.0), 3));
    }
}

/// The period that is open says what is left now; what was said of it is replaced when it ends.
#[tokio::test]
async fn an_open_period_is_provisional_until_it_ends() {
    let fixture = Fixture::memory().await;
    let month = agreement(
        "shop",
        in_process(),
        json!({"context": {"x-probity": {"budgets": [
            {"guarantee": "ENOUGH", "target": "90%", "window": {"period": "daily"}},
        ]}}}),
    );
    let clock = Clock::manual(at("2026-03-01T02:00:00Z"));
    let mut values = vec![json!(99); 24];
    values[1] = json!(10);
    let evaluator = evaluator(&clock, &fixture.store, vec![month], collector(&Rates::new(Mutex::new(values))), "[]");
    judge(&evaluator, hours(0, 2)).await;
    let open = StateQuery { kind: Some(StateKind::Budget), provisional: Some(true), ..StateQuery::default() };
    let found = fixture.store.states(&open, &PageRequest::default()).await.unwrap().items;
    let [state] = found.as_slice() else { panic!("{found:#?}") };
    assert_eq!(Figures::of(&state.state).unwrap().used.unwrap().text(), "5/12");
    assert_eq!(state.state.window.to, at("2026-03-02T00:00:00Z"));
    clock.set(at("2026-03-02T00:00:00Z"));
    judge(&evaluator, hours(2, 24)).await;
    let closed = ending(&*fixture.store, StateKind::Budget, "2026-03-02T00:00:00Z").await;
    assert_eq!((closed.state.verdict, closed.revision), (Some(Verdict::Fulfilled), 2));
}

/// What the rules read is there, with what is left and how fast it goes.
#[tokio::test]
async fn metrics_say_what_the_rules_read() {
    let fixture = Fixture::memory().await;
    let mut values = vec![json!(99); 24];
    (values[2], values[3]) = (json!(10), json!(10));
    let clock = Clock::manual(at("2026-03-01T04:00:00Z"));
    let evaluator =
        evaluator(&clock, &fixture.store, vec![with_budget()], collector(&Rates::new(Mutex::new(values))), "[]");
    judge(&evaluator, hours(0, 4)).await;
    let agreements = evaluator.agreements.snapshot().agreements.clone();
    let server = Server::start(Setup {
        store: Some(fixture.store.clone()),
        agreements: LoadedAgreements { agreements, ..Default::default() },
        evaluator: Some(evaluator),
        ..Setup::default()
    })
    .await;
    let text = server.get("/metrics").await.text().await.unwrap();
    let of = |name: &str, more: &str| {
        let wanted = format!(
            "{name}{{agreement=\"shop\",budget=\"day\",guarantee=\"ENOUGH\",scope=\"{{\\\"team\\\":\\\"a\\\"}}\"{more}}} "
        );
        let line = text.lines().find_map(|line| line.strip_prefix(&wanted));
        line.unwrap_or_else(|| panic!("no {wanted} in\n{text}")).parse::<f64>().unwrap()
    };
    assert_eq!(of("probity_budget_slice", ",outcome=\"bad\""), 1.0);
    assert_eq!(of("probity_budget_slice", ",outcome=\"good\""), 0.0);
    assert_eq!(of("probity_budget_slice", ",outcome=\"judged\""), 1.0);
    assert_eq!(of("probity_burn_rate", ",alert=\"fast\""), 4.0);
    assert_eq!(of("probity_burn_alert", ",alert=\"fast\""), 1.0);
    // Of the open period, an hour is still to come.
    assert!(of("probity_budget_remaining", "") < 0.0);
    assert_eq!(of("probity_budget_used_least", ""), of("probity_budget_used_most", ""));
    let (status, rules) = server.json("/probity/v1/agreements/shop/rules").await;
    assert_eq!((status, &rules["refused"]), (200, &json!([])));
    assert!(rules["groups"][0]["rules"][0]["expr"].as_str().unwrap().contains("probity_budget_slice"));
    // An hour later the last window is another, of which nothing is known yet.
    clock.set(at("2026-03-01T05:00:00Z"));
    let text = server.get("/metrics").await.text().await.unwrap();
    assert!(!text.contains("probity_budget_slice{"), "{text}");
    let page = server.get("/probity/agreements/shop").await.text().await.unwrap();
    assert!(page.contains("Error budgets") && page.contains("of the budget is used up"), "{page}");
}

/// Which windows used it up, each with its share, and how many more may be bad, is said of a budget and of a burn rate.
#[tokio::test]
async fn what_used_a_budget_up_is_named() {
    for fixture in stores().await {
        let mut values = vec![json!(99); 24];
        (values[2], values[3]) = (json!(10), json!(10));
        let clock = Clock::manual(at("2026-03-01T04:00:00Z"));
        let evaluator =
            evaluator(&clock, &fixture.store, vec![with_budget()], collector(&Rates::new(Mutex::new(values))), "[]");
        judge(&evaluator, hours(0, 4)).await;
        let agreements = evaluator.agreements.snapshot().agreements.clone();
        let server = Server::start(Setup {
            store: Some(fixture.store.clone()),
            agreements: LoadedAgreements { agreements, ..Default::default() },
            evaluator: Some(evaluator),
            ..Setup::default()
        })
        .await;
        let explain = "/probity/v1/budgets/explain?agreement=shop&budget=day&scope=%7B%22team%22%3A%22a%22%7D";
        let day = "&from=2026-03-01T00:00:00Z&to=2026-03-01T04:00:00Z";
        let (status, found) = server.json(&format!("{explain}{day}&lang=en")).await;
        assert_eq!((status, &found["verdict"]), (200, &json!("violated")), "{found}");
        let distance =
            json!({"population": 4, "may_be_bad": 1, "bad": 2, "unknown": 0, "left_most": -1, "left_least": -1});
        assert_eq!(found["distance"], distance);
        let consumed: Vec<&str> =
            found["consumed_by"].as_array().unwrap().iter().map(|w| w["from"].as_str().unwrap()).collect();
        assert_eq!(consumed, ["2026-03-01T03:00:00Z", "2026-03-01T02:00:00Z"]);
        assert_eq!(found["consumed_by"][0]["share"], json!({"numerator": 1, "denominator": 1}));
        let text = found["text"].to_string();
        assert!(text.contains("Used up by 2 windows") && text.contains("1 too many"), "{text}");
        assert_eq!(found["agreement_changed"], false);
        // What it names can be asked about itself.
        let verdict = found["consumed_by"][0]["verdict_id"].as_str().unwrap();
        let id: String = form_urlencoded::byte_serialize(verdict.as_bytes()).collect();
        let (status, verdict) = server.json(&format!("/probity/v1/verdicts/explain?id={id}")).await;
        assert_eq!((status, &verdict["verdict"]), (200, &json!("violated")), "{verdict}");
        let (status, rate) = server.json(&format!("{explain}&alert=fast&lang=es")).await;
        assert_eq!((status, &rate["kind"]), (200, &json!("burn-rate")), "{rate}");
        assert_eq!((&rate["distance"]["left_most"], &rate["short_distance"]["left_most"]), (&json!(-1), &json!(-1)));
        assert!(rate["text"].to_string().contains("plazo corto (PT1H)"), "{rate}");
        // Several periods start with the validity: which one must be said.
        for (more, expected) in [("&from=2026-04-01", 404), ("&from=never", 400), ("&alert=none", 404)] {
            let (status, answer) = server.json(&format!("{explain}{more}")).await;
            assert_eq!(status, expected, "{more}: {answer}");
        }
    }
}
