//! The nodes against what the originals did where that was right; `tests/cases/status/differences.json` lists what
//! differs.

use filtering::{FilterBy, FilterByDate, GroupBy};
use probity_sdk::{Value, json};

fn nothing(_: &mut Value) {}

/// Compares what leaves by the first output: the second one is ours.
fn passing<N: probity_sdk::NodeType>(more: &Value) {
    recorded::compare_output::<N>(0, more, nothing);
}

#[test]
fn filter_by() {
    passing::<FilterBy>(&json!({}));
    passing::<FilterBy>(&json!({ "compat": true }));
}

#[test]
fn filter_by_date() {
    passing::<FilterByDate>(&json!({}));
    passing::<FilterByDate>(&json!({ "compat": true }));
}

#[test]
fn group_by() {
    recorded::compare::<GroupBy>(&json!({}), nothing);
}
