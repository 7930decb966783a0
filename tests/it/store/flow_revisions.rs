//! Revisions of the flows: the same promises of every store.

use probity::store::{FlowHead, NewFlowRevision, PageRequest, Store};

use super::Fixture;
use super::samples::hour;

promises! {
    revisions_follow_each_other_and_stale_ones_are_refused
    of_two_successors_at_once_one_is_stored
    old_revisions_go_when_they_are_too_many
}

fn revision(hash: &str) -> NewFlowRevision {
    NewFlowRevision {
        hash: hash.into(),
        author: "ana".into(),
        action: "deploy".into(),
        at: hour(1).to,
        flows: format!(r#"[{{"id":"{hash}","type":"tab","label":"é\u0000"}}]"#),
        credentials: Some("{\"$\":\"sealed\"}".into()),
    }
}

async fn put(store: &dyn Store, after: i64, hash: &str) -> Option<i64> {
    store.put_flow_revision(after, &revision(hash), 0).await.unwrap()
}

async fn revisions_follow_each_other_and_stale_ones_are_refused(fixture: &Fixture) {
    let store = &*fixture.store;
    assert_eq!(store.flow_head().await.unwrap(), None);
    assert_eq!(put(store, 1, "x").await, None, "there is no first one yet");
    assert_eq!(put(store, 0, "a").await, Some(1));
    assert_eq!(put(store, 0, "b").await, None, "another was first");
    assert_eq!(put(store, 1, "b").await, Some(2));
    assert_eq!(put(store, 2, "a").await, Some(3));
    assert_eq!(store.flow_head().await.unwrap(), Some(FlowHead { number: 3, hash: "a".into() }));
    assert_eq!(store.flow_revision_of("a").await.unwrap(), Some(3));
    assert_eq!(store.flow_revision_of("z").await.unwrap(), None);
    assert_eq!(store.flow_revision(2).await.unwrap().unwrap().revision, revision("b"));
    assert_eq!(store.flow_revision(4).await.unwrap(), None);
    let page = |after| PageRequest { limit: 2, after };
    let first = store.flow_revisions(&page(None)).await.unwrap();
    let numbers = |items: &[probity::store::FlowRevisionAbout]| items.iter().map(|r| r.head.number).collect::<Vec<_>>();
    assert_eq!(numbers(&first.items), [3, 2]);
    let rest = store.flow_revisions(&page(first.next)).await.unwrap();
    assert_eq!((numbers(&rest.items), rest.next), (vec![1], None));
    let about = &rest.items[0];
    assert_eq!((about.author.as_str(), about.action.as_str(), about.at), ("ana", "deploy", hour(1).to));
    assert_eq!(about.bytes as usize, revision("a").flows.len());
}

async fn of_two_successors_at_once_one_is_stored(fixture: &Fixture) {
    for after in 0..5 {
        let tries: Vec<_> = (0..6)
            .map(|i| {
                let store = fixture.store.clone();
                tokio::spawn(async move { put(&*store, after, &format!("{after}/{i}")).await })
            })
            .collect();
        let mut stored = Vec::new();
        for one in tries {
            stored.extend(one.await.unwrap());
        }
        assert_eq!(stored, [after + 1]);
    }
}

async fn old_revisions_go_when_they_are_too_many(fixture: &Fixture) {
    let store = &*fixture.store;
    for after in 0..5 {
        store.put_flow_revision(after, &revision(&after.to_string()), 2).await.unwrap().unwrap();
    }
    let left = store.flow_revisions(&PageRequest::default()).await.unwrap().items;
    assert_eq!(left.iter().map(|r| r.head.number).collect::<Vec<_>>(), [5, 4, 3], "the newest and two before it");
}
