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

#[test]
fn has_activity_does_as_the_original() {
    recorded::compare::<HasActivity>(&json!({}), nothing);
}
