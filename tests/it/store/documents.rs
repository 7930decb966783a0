//! What the stores promise of documents put by the API.

use probity::store::{AuditEntry, DocumentKind, PageRequest, PutDocument, StoredDocument};
use serde_json::json;

use super::Fixture;
use super::samples::at;

promises! {
    documents_are_put_replaced_and_removed_with_their_audit_row
    of_many_who_add_one_document_one_does
}

fn document(id: &str, version: &str) -> StoredDocument {
    StoredDocument {
        id: id.into(),
        document: json!({"id": id, "version": version, "z": 1, "a": {"text": "l'été \"\\u0000\""}, "n": 1.5e300}),
        put_at: at("2026-03-01T10:00:00.000001Z"),
        put_by: "ana".into(),
    }
}

fn put_by(action: &str, id: &str) -> AuditEntry {
    let at = at("2026-03-01T10:00:00.000001Z");
    AuditEntry { at, actor: "ana".into(), action: action.into(), subject: id.into(), detail: json!({}) }
}

async fn documents_are_put_replaced_and_removed_with_their_audit_row(fixture: &Fixture) {
    use DocumentKind::{Agreement, Task};
    let store = &fixture.store;
    let mut revision = store.documents_revision().await.unwrap();
    let mut grown = async || {
        let now = store.documents_revision().await.unwrap();
        let grown = now > revision;
        revision = now;
        grown
    };
    let audits = async || store.audit_entries(&PageRequest::default()).await.unwrap().items.len();
    let audit = put_by("put-agreement", "sla");
    let put = async |kind, version: &str, only_new| {
        store.put_document(kind, &document("sla", version), only_new, &audit).await.unwrap()
    };
    assert!(store.documents(Agreement).await.unwrap().is_empty());
    assert_eq!(put(Agreement, "1", true).await, PutDocument::Added);
    assert!(grown().await);
    assert_eq!(put(Agreement, "2", true).await, PutDocument::Exists);
    assert!(!grown().await);
    assert_eq!(audits().await, 1, "what was not done is not in the audit trail");
    assert_eq!(put(Agreement, "2", false).await, PutDocument::Replaced);
    assert!(grown().await);
    assert_eq!(put(Task, "1", true).await, PutDocument::Added, "another kind");
    store.put_document(Agreement, &document("b", "1"), false, &audit).await.unwrap();
    let stored = store.documents(Agreement).await.unwrap();
    assert_eq!(stored, [document("b", "1"), document("sla", "2")]);
    let text = stored[1].document.to_string();
    assert_eq!(text, document("sla", "2").document.to_string(), "keys keep their order");
    grown().await;
    assert!(store.remove_document(Agreement, "sla", &put_by("remove-agreement", "sla")).await.unwrap());
    assert!(grown().await);
    assert!(!store.remove_document(Agreement, "sla", &put_by("remove-agreement", "sla")).await.unwrap());
    assert!(!grown().await);
    assert_eq!(store.documents(Agreement).await.unwrap(), [document("b", "1")]);
    assert_eq!(store.documents(Task).await.unwrap(), [document("sla", "1")]);
    // The last one goes and another one comes: newer all the same.
    store.remove_document(Agreement, "b", &put_by("remove-agreement", "b")).await.unwrap();
    grown().await;
    assert_eq!(put(Agreement, "3", true).await, PutDocument::Added, "what was removed may be added again");
    assert!(grown().await);
    assert_eq!(audits().await, 7);
}

async fn of_many_who_add_one_document_one_does(fixture: &Fixture) {
    let store = &fixture.store;
    let adds = (0..8).map(|i| {
        let store = store.clone();
        tokio::spawn(async move {
            let audit = put_by("put-agreement", "sla");
            store.put_document(DocumentKind::Agreement, &document("sla", &i.to_string()), true, &audit).await.unwrap()
        })
    });
    let done = futures_util::future::join_all(adds).await;
    let added = done.into_iter().filter(|d| matches!(d, Ok(PutDocument::Added))).count();
    assert_eq!((added, store.documents(DocumentKind::Agreement).await.unwrap().len()), (1, 1));
}
