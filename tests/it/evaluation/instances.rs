//! Several processes on one database, here each with its store and evaluator: what one judges from, another must not have
//! changed meanwhile.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use futures_util::FutureExt;
use probity::clock::Clock;
use probity::evaluate::{Evaluator, InProcess, Request, Windows};
use probity::model::run::Trigger;
use probity::model::state::Verdict;
use probity::store::{AuditEntry, PageRequest, Store, StoreOptions, open};
use serde_json::{Value, json};

use super::{agreement, at, evaluator, in_process, request, two_teams, verdicts, waiver};
use crate::store::Fixture;

fn entry(action: &str) -> AuditEntry {
    AuditEntry {
        at: at("2026-03-04T10:00:00Z"),
        actor: "ana".into(),
        action: action.into(),
        subject: "sla".into(),
        detail: Value::Null,
    }
}

fn last_hours(evaluator: &Evaluator, count: usize) -> Request {
    request(evaluator.agreement("sla").unwrap(), Windows::LastClosed { at: at("2026-03-04T10:00:00Z"), count })
}

fn by_hand() -> Trigger {
    Trigger::Manual { by: "test".into() }
}

async fn another_store(fixture: &Fixture) -> Arc<dyn Store> {
    open(&fixture.url, &StoreOptions::default()).await.unwrap()
}

/// When a waiver begins and ends, every process notices; the verdicts are reviewed once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_two_that_review_waivers_at_once_one_does() {
    let fixture = Fixture::postgres().await;
    let clock = Clock::manual(at("2026-03-04T10:00:00Z"));
    let stores = [fixture.store.clone(), another_store(&fixture).await];
    let both = stores.each_ref().map(|store| {
        evaluator(&clock, store, vec![agreement("sla", in_process(), Value::Null)], two_teams(Arc::default()), "[]")
    });
    both[0].run(last_hours(&both[0], 20)).await.unwrap();
    let sla = both[0].agreement("sla").unwrap();
    let mut reviews = 0;
    for round in 0..10 {
        let id = format!("w{}", round / 2);
        if round % 2 == 0 {
            assert!(
                stores[0].add_waiver(&waiver(&id, "the pump is being replaced"), &entry("add-waiver")).await.unwrap()
            );
        } else {
            assert!(stores[1].end_waiver("sla", &id, clock.now(), &entry("end-waiver")).await.unwrap());
        }
        let (first, second) = tokio::join!(
            both[0].review_waivers(&sla, by_hand(), "first"),
            both[1].review_waivers(&sla, by_hand(), "second")
        );
        let done = [first.unwrap(), second.unwrap()];
        let changed: Vec<u64> = done.iter().flatten().map(|committed| committed.revised).collect();
        assert_eq!(changed, [20], "round {round}: team b's verdicts change once");
        reviews += 1;
        let wanted = if round % 2 == 0 { Verdict::Waived } else { Verdict::Violated };
        let b = verdicts(&stores[0]).await.into_iter().filter(|s| s.state.scope.0["team"] == "b");
        assert!(b.into_iter().all(|s| s.state.verdict == Some(wanted)), "round {round}");
    }
    let entries = stores[0].audit_entries(&PageRequest { limit: 1000, after: None }).await.unwrap().items;
    assert_eq!(entries.iter().filter(|entry| entry.action == "review waivers").count(), reviews);
}

/// What one process has collected is judged under the waivers that another ended while it was collecting, and between its
/// reading and its storing: the collector of one lets the other end the waiver.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_waiver_that_another_process_ends_meanwhile_waives_nothing() {
    let fixture = Fixture::postgres().await;
    let clock = Clock::manual(at("2026-03-04T10:00:00Z"));
    let other = another_store(&fixture).await;
    let sla = vec![agreement("sla", in_process(), Value::Null)];
    for round in 0..10 {
        let id = format!("w{round}");
        assert!(other.add_waiver(&waiver(&id, "the pump is being replaced"), &entry("add-waiver")).await.unwrap());
        let ending: InProcess = {
            let (other, id, at) = (other.clone(), id.clone(), clock.now());
            let inner = two_teams(Arc::new(AtomicU64::new(0)));
            Arc::new(move |query, body| {
                let (other, id, answer) = (other.clone(), id.clone(), inner(query, body));
                async move {
                    // Not waited for: it ends now, or while what is answered is judged and stored.
                    tokio::spawn(async move { other.end_waiver("sla", &id, at, &entry("end-waiver")).await });
                    answer.await
                }
                .boxed()
            })
        };
        let one = evaluator(&clock, &fixture.store, sla.clone(), ending, "[]");
        one.run(last_hours(&one, 2)).await.unwrap();
        super::until("the waiver has ended", async || {
            other.waivers(Some("sla")).await.unwrap().iter().all(|w| w.ended_at.is_some())
        })
        .await;
        // Whoever ends a waiver reviews; both orders must come to the same.
        let two = evaluator(&clock, &other, sla.clone(), two_teams(Arc::default()), "[]");
        two.review_waivers(&two.agreement("sla").unwrap(), by_hand(), "two").await.unwrap();
        let b = verdicts(&other).await.into_iter().filter(|s| s.state.scope.0["team"] == "b");
        let b: Vec<_> = b.map(|s| s.state.verdict.unwrap()).collect();
        assert_eq!(b, [Verdict::Violated; 2], "round {round}");
    }
}

/// Two processes evaluate other answers of one window at once: each revision is whole, and the review of a waiver does not
/// bring back what was judged from older evidence.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_review_does_not_bring_back_older_evidence() {
    let fixture = Fixture::postgres().await;
    let clock = Clock::manual(at("2026-03-04T10:00:00Z"));
    let other = another_store(&fixture).await;
    let sla = vec![agreement("sla", in_process(), Value::Null)];
    let answering = |value: u64| -> InProcess {
        Arc::new(move |query, _| {
            let period = json!({"from": query.window.from.to_string(), "to": query.window.to.to_string()});
            let answer = json!({"computations": [{"scope": {"team": "b"}, "period": period, "value": value}]});
            async move { Ok(answer) }.boxed()
        })
    };
    for round in 0..10_u64 {
        let id = format!("w{round}");
        let newest = 70 - round;
        let one = evaluator(&clock, &fixture.store, sla.clone(), answering(newest), "[]");
        let two = evaluator(&clock, &other, sla.clone(), answering(0), "[]");
        assert!(other.add_waiver(&waiver(&id, "the pump is being replaced"), &entry("add-waiver")).await.unwrap());
        let agreement = two.agreement("sla").unwrap();
        let (evaluated, reviewed) =
            tokio::join!(one.run(last_hours(&one, 1)), two.review_waivers(&agreement, by_hand(), "two"));
        evaluated.unwrap();
        reviewed.unwrap();
        let found = verdicts(&other).await;
        assert_eq!(found.len(), 1);
        let (state, b) = (&found[0].state, found[0].state.values["RATE"]);
        assert_eq!((b, state.verdict), (Some(newest as f64), Some(Verdict::Waived)), "round {round}");
        assert!(other.end_waiver("sla", &id, clock.now(), &entry("end-waiver")).await.unwrap());
        two.review_waivers(&agreement, by_hand(), "two").await.unwrap();
    }
}
