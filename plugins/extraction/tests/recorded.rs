//! The nodes against what the originals did where that was right; `tests/cases/status/differences.json` lists what
//! differs.

use extraction::{FindObject, GetKvProperty, GetPropertyValue, LastTimestamp};
use probity_sdk::{Value, json};

fn nothing(_: &mut Value) {}

#[test]
fn find_object() {
    recorded::compare::<FindObject>(&json!({}), nothing);
}

#[test]
fn get_kv_property() {
    recorded::compare::<GetKvProperty>(&json!({}), nothing);
}

#[test]
fn get_property_value() {
    recorded::compare::<GetPropertyValue>(&json!({}), nothing);
}

#[test]
fn last_timestamp() {
    recorded::compare::<LastTimestamp>(&json!({}), nothing);
}
