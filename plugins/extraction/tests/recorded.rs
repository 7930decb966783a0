//! The nodes against what the originals did where that was right; what differs is listed.

use extraction::{FindObject, GetKvProperty, GetPropertyValue, LastTimestamp};
use probity_sdk::{Value, json};

fn nothing(_: &mut Value) {}

#[test]
fn find_object() {
    let differs = &[
        // A value that is undefined is an error, not the first object without the key, nor null.
        "flow: not set",
        "global: not set",
        "env: not set",
        // The text of a typed input is a text, whatever it was in the file; a missing one is empty.
        "unknown value type is used as is",
        "no value configured",
        // The length of a text is no property of an object.
        "texts and numbers in the array",
    ];
    recorded::compare::<FindObject>(&json!({}), differs, nothing);
}

#[test]
fn get_kv_property() {
    recorded::compare::<GetKvProperty>(&json!({}), &[], nothing);
}

#[test]
fn get_property_value() {
    // A prediction that is not there is an error, which a catch node sees; null would look like one.
    let differs = &[
        "PCM, no prediction",
        "PCM, text",
        "PCM, empty answer",
        "PCM, status 500",
        "PCM, status 401",
        "PCM, connection refused",
    ];
    recorded::compare::<GetPropertyValue>(&json!({}), differs, nothing);
}

#[test]
fn last_timestamp() {
    recorded::compare::<LastTimestamp>(&json!({}), &[], nothing);
}
