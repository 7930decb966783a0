//! The nodes against what the originals did where that was right; what differs is listed.

use filtering::{FilterBy, FilterByDate, GroupBy};
use probity_sdk::{Value, json};

fn nothing(_: &mut Value) {}

fn compat() -> Value {
    json!({ "compat": true })
}

/// The length of a text is no property of an object.
const LENGTH: [&str; 1] = ["State by the body: inherited attribute"];

#[test]
fn filter_by() {
    passing::<FilterBy>(&json!({}), &LENGTH);
}

#[test]
fn filter_by_with_compat() {
    passing::<FilterBy>(&compat(), &LENGTH);
}

#[test]
fn filter_by_date() {
    passing::<FilterByDate>(&json!({}), &[]);
}

#[test]
fn filter_by_date_with_compat() {
    passing::<FilterByDate>(&compat(), &[]);
}

#[test]
fn group_by() {
    // A text is no row, and its length no property of one.
    recorded::compare::<GroupBy>(&json!({}), &["payload a text"], nothing);
}

/// Compares what leaves by the first output: the second one is ours.
fn passing<N: probity_sdk::NodeType>(more: &Value, differs: &[&str]) {
    recorded::compare_output::<N>(0, more, differs, nothing);
}
