//! The four nodes of STATUS against what the originals did where that was right: all of it with `compat`, and without
//! it all but what `tests/cases/status/differences.json` lists. (`response` was never right: it did not write its
//! result.)

use control_flow::{ChainResponse, Coexistence, RespondedExistence};
use probity_sdk::{Value, json};

fn nothing(_: &mut Value) {}

#[test]
fn with_compat_the_originals_are_repeated() {
    let compat = json!({ "compat": true });
    recorded::compare::<Coexistence>(&compat, nothing);
    recorded::compare::<RespondedExistence>(&compat, nothing);
    recorded::compare::<ChainResponse>(&compat, nothing);
}

#[test]
fn coexistence_holds_where_neither_occurs() {
    recorded::compare::<Coexistence>(&json!({}), nothing);
}

#[test]
fn responded_existence_is_not_about_order() {
    recorded::compare::<RespondedExistence>(&json!({}), nothing);
}

#[test]
fn chain_response_is_about_every_a_and_what_is_next() {
    recorded::compare::<ChainResponse>(&json!({}), nothing);
}
