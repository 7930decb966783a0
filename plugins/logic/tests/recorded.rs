//! The nodes against what the originals did where that was right. `tests/cases/status/differences.json` lists
//! what differs.

use logic::{And, IfElse, Implies, LesserThan, Or};
use probity_sdk::{Value, json};

fn nothing(_: &mut Value) {}

#[test]
fn and_does_as_the_original() {
    recorded::compare::<And>(&json!({}), nothing);
}

#[test]
fn or_does_as_the_original() {
    recorded::compare::<Or>(&json!({}), nothing);
}

#[test]
fn implies_does_as_the_original() {
    recorded::compare::<Implies>(&json!({}), nothing);
}

#[test]
fn if_else_does_as_the_original() {
    recorded::compare::<IfElse>(&json!({}), nothing);
}

#[test]
fn lesser_than_does_as_the_original() {
    recorded::compare::<LesserThan>(&json!({}), without_key);
}

/// The original's evidence has `name` where all others have `key`; ours has both.
fn without_key(msg: &mut Value) {
    for evidence in msg["payload"]["evidences"].as_array_mut().into_iter().flatten() {
        if let Some(evidence) = evidence.as_object_mut().filter(|evidence| evidence.contains_key("name")) {
            evidence.shift_remove("key");
        }
    }
}
