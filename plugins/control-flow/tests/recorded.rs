//! The four nodes of STATUS against what the originals did where that was right: all of it with `compat`, and without
//! it all but what is listed here. (`response` was never right: it did not write its result.)

use control_flow::{ChainResponse, Coexistence, RespondedExistence};
use probity_sdk::{Value, json};

fn nothing(_: &mut Value) {}

fn compat() -> Value {
    json!({ "compat": true })
}

#[test]
fn with_compat_coexistence_does_as_the_original() {
    recorded::compare::<Coexistence>(&compat(), &[], nothing);
}

#[test]
fn with_compat_responded_existence_does_as_the_original() {
    recorded::compare::<RespondedExistence>(&compat(), &[], nothing);
}

#[test]
fn with_compat_chain_response_does_as_the_original() {
    // A result cannot be written to a text: an error here, where the original passed the message on without one.
    recorded::compare::<ChainResponse>(&compat(), &["PCM, payload a text"], nothing);
}

#[test]
fn coexistence_holds_where_neither_occurs() {
    let differs = &[
        "neither",
        "neither, negated",
        "empty trace.event array is used",
        "empty events",
        "empty events, negated",
        "names differ in case",
        "result there is overwritten",
        // No name is an error, not false.
        "names empty",
        "body over config: empty name wins",
    ];
    recorded::compare::<Coexistence>(&json!({}), differs, nothing);
}

#[test]
fn responded_existence_is_not_about_order() {
    let differs = &[
        // B before A, or at the same time, is B all the same; without an A it holds.
        "B then A",
        "B then A, negated",
        "the same instant",
        "zones: same instant",
        "zones: later by clock, earlier in fact",
        "only B",
        "only B, negated",
        "neither",
        "neither, negated",
        "empty trace.event array is used",
        "empty events",
        "empty events, negated",
        "names differ in case",
        "name with blanks",
        "result there is overwritten",
        // No name is an error, not false.
        "names empty",
        "body over config: empty name wins",
    ];
    recorded::compare::<RespondedExistence>(&json!({}), differs, nothing);
}

#[test]
fn chain_response_is_about_every_a_and_what_is_next() {
    let differs = &[
        // What is next counts, after every A.
        "A, C, B in time",
        "A, C, B in time, negated",
        "A A B",
        "A A B, negated",
        "A late, A B",
        "A late, A B, negated",
        // The same result; the evidence names the B that follows, not one before.
        "B before A",
        "B before A, negated",
        // Without an A it holds.
        "only B",
        "only B, negated",
        "neither",
        "neither, negated",
        "empty trace.event array is used",
        "empty events",
        "empty events, negated",
        "names differ in case",
        "name with blanks",
        "result there is overwritten",
        // No limit, where the original asked for the same instant.
        "time 0, one millisecond",
        "body over config: time 0 wins",
        // Errors.
        "time negative",
        "names empty",
        "body over config: empty name wins",
        "PCM, payload a text",
    ];
    recorded::compare::<ChainResponse>(&json!({}), differs, nothing);
}
