//! What the stores promise of logins and of what the editor keeps for users.

use probity::store::Session;
use serde_json::json;

use super::Fixture;
use super::samples::at;

promises! {
    logins_are_found_by_their_hash_until_they_end
    settings_of_a_user_are_replaced
}

fn session(token_hash: &str, expires_at: &str) -> Session {
    Session {
        token_hash: token_hash.into(),
        user: "ana \u{0}é".into(),
        client: "node-red-editor".into(),
        scope: json!(["flows.read", "inject.write"]),
        expires_at: at(expires_at),
    }
}

async fn logins_are_found_by_their_hash_until_they_end(fixture: &Fixture) {
    let store = &fixture.store;
    assert_eq!(store.session("a").await.unwrap(), None);
    let first = session("a", "2026-03-02T00:00:00.000001Z");
    store.add_session(&first, at("2026-03-01T00:00:00Z")).await.unwrap();
    let found = store.session("a").await.unwrap().unwrap();
    assert_eq!((&found.scope, found.expires_at, &found.client), (&first.scope, first.expires_at, &first.client));
    store.add_session(&session("b", "2026-03-09T00:00:00Z"), at("2026-03-03T00:00:00Z")).await.unwrap();
    assert_eq!(store.session("a").await.unwrap(), None, "those that are over are forgotten");
    assert!(store.end_session("b").await.unwrap());
    assert!(!store.end_session("b").await.unwrap());
    assert_eq!(store.session("b").await.unwrap(), None);
}

async fn settings_of_a_user_are_replaced(fixture: &Fixture) {
    let store = &fixture.store;
    assert_eq!(store.user_settings("ana").await.unwrap(), None);
    store.put_user_settings("ana", &json!({ "z": 1, "a": { "b": "l'été" } })).await.unwrap();
    store.put_user_settings("ana", &json!({ "z": 2, "a": null })).await.unwrap();
    store.put_user_settings("_", &json!({})).await.unwrap();
    let kept = store.user_settings("ana").await.unwrap().unwrap();
    assert_eq!(kept.to_string(), r#"{"z":2,"a":null}"#, "keys keep their order");
    assert_eq!(store.user_settings("_").await.unwrap(), Some(json!({})));
}
