//! The nodes against what the originals did where that was right. Differences are listed by the case's name.
//! (`exists-section-in-doc` and `exists-url` were never right.)

use probity_sdk::{Value, json};
use validation::{CheckProperty, ExistsPipe, HasActivity, IsValidUrl};

fn nothing(_: &mut Value) {}

#[test]
fn check_property_does_as_the_original() {
    // What is missing is an error, not false.
    recorded::compare::<CheckProperty>(&json!({}), &["property undefined"], nothing);
}

#[test]
fn with_compat_check_property_takes_what_is_missing_for_unequal() {
    recorded::compare::<CheckProperty>(&json!({ "compat": true }), &[], nothing);
}

#[test]
fn exists_pipe_does_as_the_original() {
    // What is no number is an error.
    recorded::compare::<ExistsPipe>(&json!({}), &["count a list", "count no number"], nothing);
}

#[test]
fn is_valid_url_does_as_the_original() {
    let differs = &[
        // What is missing is an error, not false.
        "null",
        "undefined",
        "property missing",
        "path is not followed",
        "body over config: empty wins",
        // A list is no address.
        "a list of one address",
    ];
    recorded::compare::<IsValidUrl>(&json!({}), differs, nothing);
}

#[test]
fn has_activity_does_as_the_original() {
    let differs = &[
        // Nothing to look for is an error, not false.
        "\"\" in \"A\"",
        "attribute empty",
        // A number is read as its text; a list is an error.
        "conceptName a number in the body",
        "conceptName a list in the body",
    ];
    recorded::compare::<HasActivity>(&json!({}), differs, nothing);
}
