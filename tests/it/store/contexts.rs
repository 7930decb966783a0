//! Values of contexts and places of rate limits: the same promises of every store.

use std::collections::BTreeSet;
use std::sync::Arc;

use probity::store::contexts::{ContextChange, ContextChanged, RateLimit, RatePlace};
use probity::store::{ContextScope, NewFlowRevision, Store};

use super::Fixture;
use super::samples::hour;

promises! {
    values_lie_under_their_store_tenant_scope_and_key
    changes_at_once_lose_none_of_them
    a_scope_takes_no_more_than_it_may
    only_who_has_the_newest_flows_forgets_scopes
    of_many_who_ask_as_many_get_a_place_as_there_are
}

const ROOM: u64 = 1_000_000;

fn scope(store: &str, tenant: &str, scope: &str) -> ContextScope {
    ContextScope { store: store.into(), tenant: tenant.into(), scope: scope.into() }
}

async fn put(store: &dyn Store, of: &ContextScope, key: &str, value: &str) -> ContextChanged {
    store.put_context(of, key, ROOM, Some(value.into())).await.unwrap()
}

async fn values_lie_under_their_store_tenant_scope_and_key(fixture: &Fixture) {
    let store = &*fixture.store;
    let all = [
        scope("a", "", "tab"),
        scope("b", "", "tab"),
        scope("a", "acme", "tab"),
        scope("a", "", "node@tab"),
        scope("a", "", "global"),
    ];
    for (n, of) in all.iter().enumerate() {
        assert_eq!(store.context_value(of, "k").await.unwrap(), None);
        assert_eq!(put(store, of, "k", &n.to_string()).await, ContextChanged::Done);
    }
    for (n, of) in all.iter().enumerate() {
        assert_eq!(store.context_value(of, "k").await.unwrap(), Some(n.to_string()));
        assert_eq!(store.context_keys(of).await.unwrap(), ["k"]);
    }
    let of = &all[0];
    for (key, value) in [("z", r#"{"b":1,"a":[null,"é\u0000"]}"#), ("a", "2"), ("k", "3")] {
        put(store, of, key, value).await;
    }
    let values = store.context_values(of).await.unwrap();
    let wanted = [("k", "3"), ("z", r#"{"b":1,"a":[null,"é\u0000"]}"#), ("a", "2")];
    assert_eq!(values, wanted.map(|(key, value)| (key.to_owned(), value.to_owned())), "in the order they came");
    assert_eq!(store.put_context(of, "z", ROOM, None).await.unwrap(), ContextChanged::Done);
    assert_eq!(store.put_context(of, "none", ROOM, None).await.unwrap(), ContextChanged::Done);
    assert_eq!(store.context_keys(of).await.unwrap(), ["k", "a"]);
    let found = store.context_scopes().await.unwrap();
    assert_eq!(found, BTreeSet::from(all));
}

/// Each adds a property of its own to one value, which nobody has made yet.
async fn changes_at_once_lose_none_of_them(fixture: &Fixture) {
    let changes = (0..40).map(|n| {
        let store = fixture.store.clone();
        tokio::spawn(async move {
            let mut change = |before: Option<&str>| {
                let mut all: Vec<u32> = before.map(|text| serde_json::from_str(text).unwrap()).unwrap_or_default();
                all.push(n);
                ContextChange::Put(serde_json::to_string(&all).unwrap())
            };
            store.change_context(&scope("a", "", "tab"), "all", ROOM, &mut change).await.unwrap()
        })
    });
    for change in changes.collect::<Vec<_>>() {
        assert_eq!(change.await.unwrap(), ContextChanged::Done);
    }
    let text = fixture.store.context_value(&scope("a", "", "tab"), "all").await.unwrap().unwrap();
    let mut all: Vec<u32> = serde_json::from_str(&text).unwrap();
    all.sort_unstable();
    assert_eq!(all, (0..40).collect::<Vec<u32>>());

    let of = scope("a", "", "tab");
    let mut seen = None;
    let mut leave = |before: Option<&str>| {
        seen = before.map(str::to_owned);
        ContextChange::Leave
    };
    fixture.store.change_context(&of, "all", ROOM, &mut leave).await.unwrap();
    assert_eq!(seen.as_ref(), Some(&text));
    assert_eq!(fixture.store.context_value(&of, "all").await.unwrap().unwrap(), text);
    fixture.store.change_context(&of, "all", ROOM, &mut |_: Option<&str>| ContextChange::Remove).await.unwrap();
    assert_eq!(fixture.store.context_value(&of, "all").await.unwrap(), None);
}

async fn a_scope_takes_no_more_than_it_may(fixture: &Fixture) {
    let (store, of) = (&*fixture.store, scope("a", "", "tab"));
    let text = |len: usize| format!("\"{}\"", "x".repeat(len - 2));
    let put = async |key: &str, len: usize, max: u64| store.put_context(&of, key, max, Some(text(len))).await.unwrap();
    let change = async |key: &str, len: usize, max: u64| {
        let mut put = |_: Option<&str>| ContextChange::Put(text(len));
        store.change_context(&of, key, max, &mut put).await.unwrap()
    };
    assert_eq!(put("a", 49, 10).await, ContextChanged::Full { bytes: 50 });
    assert_eq!(store.context_scopes().await.unwrap(), BTreeSet::new(), "it holds nothing");
    assert_eq!(put("a", 49, 100).await, ContextChanged::Done);
    assert_eq!(change("b", 49, 100).await, ContextChanged::Done);
    assert_eq!(put("c", 9, 100).await, ContextChanged::Full { bytes: 110 });
    assert_eq!(change("c", 9, 100).await, ContextChanged::Full { bytes: 110 });
    assert_eq!(change("b", 50, 100).await, ContextChanged::Full { bytes: 101 });
    assert_eq!(store.context_keys(&of).await.unwrap(), ["a", "b"]);
    // What does not grow may be written, though the limit has been lowered.
    assert_eq!(put("a", 49, 10).await, ContextChanged::Done);
    assert_eq!(change("a", 20, 10).await, ContextChanged::Done);
    assert_eq!(put("c", 9, 100).await, ContextChanged::Done);
    assert_eq!(
        store.put_context(&scope("a", "", "other"), "c", 100, Some(text(9))).await.unwrap(),
        ContextChanged::Done
    );
}

async fn only_who_has_the_newest_flows_forgets_scopes(fixture: &Fixture) {
    let store = &*fixture.store;
    let (gone, stays) = (scope("a", "", "gone"), scope("a", "", "stays"));
    for of in [&gone, &stays] {
        put(store, of, "k", "1").await;
    }
    assert!(!store.forget_contexts(std::slice::from_ref(&gone), 1).await.unwrap(), "there is no revision yet");
    let revision = NewFlowRevision {
        hash: "a".into(),
        author: "ana".into(),
        action: "deploy".into(),
        at: hour(1).to,
        flows: "[]".into(),
        credentials: None,
    };
    assert_eq!(store.put_flow_revision(0, &revision, 0).await.unwrap(), Some(1));
    assert_eq!(store.put_flow_revision(1, &revision, 0).await.unwrap(), Some(2));
    assert!(!store.forget_contexts(std::slice::from_ref(&gone), 1).await.unwrap(), "there is a newer one");
    assert_eq!(store.context_scopes().await.unwrap().len(), 2);
    assert!(store.forget_contexts(std::slice::from_ref(&gone), 2).await.unwrap());
    assert_eq!(store.context_scopes().await.unwrap(), BTreeSet::from([stays]));
}

async fn of_many_who_ask_as_many_get_a_place_as_there_are(fixture: &Fixture) {
    let limit = |id: &str| Arc::new(RateLimit { id: id.into(), places: 3, taken_ms: 3_600_000.0, ahead_ms: 0.0 });
    let asked = async |limit: Arc<RateLimit>| {
        let asks = (0..20).map(|_| {
            let (store, limit) = (fixture.store.clone(), limit.clone());
            tokio::spawn(async move { store.take_rate_place(&limit).await.unwrap() })
        });
        let mut taken = 0;
        for ask in asks.collect::<Vec<_>>() {
            match ask.await.unwrap() {
                RatePlace::Taken { in_ms } => {
                    assert_eq!(in_ms, 0.0);
                    taken += 1;
                }
                RatePlace::FreeIn { ms } => assert!((1.0..=3_600_000.0).contains(&ms), "{ms}"),
            }
        }
        taken
    };
    assert_eq!(asked(limit("n")).await, 3);
    assert_eq!(asked(limit("n")).await, 0);
    assert_eq!(asked(limit("m")).await, 3, "another's");
    fixture.store.free_rate_places("n").await.unwrap();
    assert_eq!(asked(limit("n")).await, 3);
    // What is taken now is free soon, and may be taken before.
    let soon = RateLimit { id: "soon".into(), places: 1, taken_ms: 60_000.0, ahead_ms: 100_000.0 };
    assert_eq!(fixture.store.take_rate_place(&soon).await.unwrap(), RatePlace::Taken { in_ms: 0.0 });
    let RatePlace::Taken { in_ms } = fixture.store.take_rate_place(&soon).await.unwrap() else { panic!() };
    assert!((1.0..=60_000.0).contains(&in_ms), "{in_ms}");
    assert!(matches!(fixture.store.take_rate_place(&soon).await.unwrap(), RatePlace::FreeIn { .. }));
}
