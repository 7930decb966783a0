//! Turns of agreements, states kept aside, and last good versions: the same in every store.

use probity::model::RunId;
use probity::model::state::{State, StateKind};
use probity::model::waiver::{Origin, Waiver};
use probity::store::{GoodDocument, PageRequest, StateQuery, Store};
use serde_json::json;

use super::Fixture;
use super::samples::{at, audit, commit, guarantee, hour, scope};

promises! {
    of_two_at_one_turn_the_first_commits
    waivers_raise_the_turn
    what_is_aside_is_in_no_list_of_states
    last_good_versions_are_kept_by_source
}

async fn states(store: &dyn Store) -> Vec<State> {
    let page = store.states(&StateQuery::default(), &PageRequest { limit: 1000, after: None }).await.unwrap();
    page.items.into_iter().map(|stored| stored.state).collect()
}

async fn of_two_at_one_turn_the_first_commits(fixture: &Fixture) {
    let store = &fixture.store;
    let ids = [RunId::fresh(), RunId::fresh()];
    let commits = ids.map(|id| commit(id, vec![guarantee(0, id)]));
    let agreement = &commits[0].run.subject;
    let turn = store.turn(agreement).await.unwrap();
    assert_eq!(turn, 0);
    let (first, second) = tokio::join!(store.commit_at(&commits[0], turn), store.commit_at(&commits[1], turn));
    let stored = [first.unwrap(), second.unwrap()];
    assert_eq!(stored.iter().filter(|done| done.is_some()).count(), 1, "{stored:?}");
    // Of the other nothing is there, neither its run nor its audit row.
    let lost = ids[usize::from(stored[0].is_some())];
    assert!(store.run(lost).await.unwrap().is_none());
    assert_eq!(store.audit_entries(&PageRequest::default()).await.unwrap().items.len(), 1);
    assert_eq!(states(&**store).await.len(), 1);
    // Any commit raises the turn; that of another agreement is its own.
    let before = store.turn(agreement).await.unwrap();
    store.commit(&commits[0]).await.unwrap();
    assert!(store.turn(agreement).await.unwrap() > before);
    assert_eq!(store.turn("another").await.unwrap(), 0);
    assert!(store.commit_at(&commits[1], before).await.unwrap().is_none());
    let now = store.turn(agreement).await.unwrap();
    assert!(store.commit_at(&commits[1], now).await.unwrap().is_some());
}

async fn waivers_raise_the_turn(fixture: &Fixture) {
    let store = &fixture.store;
    let waiver = Waiver {
        id: "w".into(),
        agreement: "sla".into(),
        guarantee: None,
        scope: scope(&[]),
        reason: "r".into(),
        owner: "o".into(),
        from: at("2026-01-01T00:00:00Z"),
        to: None,
        expires: at("2026-02-01T00:00:00Z"),
        ended_at: None,
        origin: Origin::Stored,
        created_by: "ana".into(),
        created_at: Some(at("2026-01-01T00:00:00Z")),
    };
    let entry = audit("sla");
    let mut turns = vec![store.turn("sla").await.unwrap()];
    assert!(store.add_waiver(&waiver, &entry).await.unwrap());
    turns.push(store.turn("sla").await.unwrap());
    assert!(!store.add_waiver(&waiver, &entry).await.unwrap());
    assert_eq!(store.turn("sla").await.unwrap(), turns[1], "nothing was stored");
    assert!(store.end_waiver("sla", "w", at("2026-01-15T00:00:00Z"), &entry).await.unwrap());
    turns.push(store.turn("sla").await.unwrap());
    assert!(turns.is_sorted_by(|a, b| a < b), "{turns:?}");
}

async fn what_is_aside_is_in_no_list_of_states(fixture: &Fixture) {
    let store = &fixture.store;
    let id = RunId::fresh();
    let asked = [guarantee(0, id), guarantee(1, id)];
    let agreement = asked[0].agreement.clone();
    let mut again = asked[0].clone();
    again.reason = "asked again".into();
    store.put_aside(&agreement, &asked, at("2026-01-06T00:00:00Z")).await.unwrap();
    store.put_aside(&agreement, std::slice::from_ref(&again), at("2026-01-07T00:00:00Z")).await.unwrap();
    let found = store.aside(&agreement).await.unwrap();
    let seen: Vec<(&State, u32)> = found.iter().map(|stored| (&stored.state, stored.revision)).collect();
    assert_eq!(seen, [(&asked[1], 1), (&again, 2)]);
    assert_eq!(found[1].recorded_at, at("2026-01-07T00:00:00Z"));
    assert!(found[0].state.window.to > hour(0).from && found[0].state.kind == StateKind::Guarantee);
    assert!(states(&**store).await.is_empty());
    assert!(store.aside("another").await.unwrap().is_empty());
}

async fn last_good_versions_are_kept_by_source(fixture: &Fixture) {
    let store = &fixture.store;
    let good = |key: &str, version: i32| GoodDocument {
        key: key.into(),
        document: json!({"id": key, "version": version, "odd": "é\u{1F600}"}),
        seen_at: at("2026-01-06T00:00:00.123456Z"),
    };
    store.keep_good("http://r", &[good("b", 1), good("a", 1)]).await.unwrap();
    store.keep_good("mongodb://m/registry", &[good("c", 1)]).await.unwrap();
    store.keep_good("http://r", &[good("b", 2), good("d", 1)]).await.unwrap();
    assert_eq!(store.good("http://r").await.unwrap(), [good("b", 2), good("d", 1)]);
    assert_eq!(store.good("mongodb://m/registry").await.unwrap(), [good("c", 1)]);
    store.keep_good("http://r", &[]).await.unwrap();
    assert!(store.good("http://r").await.unwrap().is_empty());
}
