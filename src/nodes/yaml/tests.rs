//! The yaml node: what is refused. What is read and written is in `tests/cases/node/more`.

use super::TYPE;
use crate::nodes::testbed::Bed;

#[test]
fn what_is_no_yaml_is_said() {
    let bed = Bed::new(TYPE, "{}");
    for (text, what) in [
        ("{a: 1, a: 2}", "duplicated mapping key"),
        ("--- a\n--- b", "single document"),
        ("a: !foo x", "unknown tag !<!foo>"),
        ("a: *nope", "unknown anchor (1:4)"),
        ("a: \"b", "(1:"),
        ("<<: 5", "cannot merge"),
        ("!!int x", "cannot resolve"),
    ] {
        let error = bed.error(&serde_json::json!({ "payload": text }).to_string());
        assert!(error.contains(what), "{text}: {error}");
    }
    assert!(bed.send(&[r#"{"payload":1}"#, r#"{"payload":true}"#]).is_empty());
    assert_eq!(bed.warnings.lock().unwrap().len(), 2);
}

#[test]
fn bombs_are_refused() {
    let mut bomb = String::from("a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n");
    for i in 1..12 {
        let before = vec![format!("*a{}", i - 1); 10].join(", ");
        bomb.push_str(&format!("a{i}: &a{i} [{before}]\n"));
    }
    let bed = Bed::new(TYPE, "{}");
    for (text, what) in [
        (bomb, "aliases repeat"),
        ("[".repeat(100_000), "recursion limit"),
        ("- ".repeat(101) + "x", "nesting exceeded"),
        ("&a [*a]".into(), ""),
    ] {
        let error = bed.error(&serde_json::json!({ "payload": text }).to_string());
        assert!(error.to_lowercase().contains(what), "{what}: {error}");
    }
}
