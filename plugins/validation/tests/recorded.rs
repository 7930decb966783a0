//! The nodes against what the originals did where that was right. `tests/cases/status/differences.json` lists
//! what differs.
//! (`exists-section-in-doc` and `exists-url` were never right.)

use probity_sdk::{Value, json};
use validation::{CheckProperty, ExistsPipe, HasActivity, IsValidUrl};

fn nothing(_: &mut Value) {}

#[test]
fn check_property_does_as_the_original() {
    recorded::compare::<CheckProperty>(&json!({}), nothing);
}

#[test]
fn with_compat_check_property_takes_what_is_missing_for_unequal() {
    recorded::compare::<CheckProperty>(&json!({ "compat": true }), nothing);
}

#[test]
fn exists_pipe_does_as_the_original() {
    recorded::compare::<ExistsPipe>(&json!({}), nothing);
}

#[test]
fn is_valid_url_does_as_the_original() {
    recorded::compare::<IsValidUrl>(&json!({}), nothing);
}

/// Right or wrong: a flow that rests on it finds the same, in the same order.
#[test]
fn fuzzy_has_activity_finds_what_the_original_found() {
    let named = |case: &&recorded::Case| case.title.contains("\" in \"") && !case.title.contains(": \"\" in");
    let all = recorded::cases("has-activity");
    let cases: Vec<_> = all.iter().filter(named).collect();
    assert!(cases.iter().filter(|case| !case.right).count() >= 12, "{}", cases.len());
    for case in cases {
        let outcome = case.replay::<HasActivity>(&json!({ "match": "fuzzy" }));
        assert_eq!(outcome.difference(case, nothing), None, "{}", case.title);
    }
}

#[test]
fn has_activity_does_as_the_original() {
    recorded::compare::<HasActivity>(&json!({}), nothing);
}
