//! "Did you mean" for node types, when all there is to ask is whether a type exists.

use super::Specs;

/// Longer names are not worth the search.
const NAME_BYTES_MAX: usize = 40;

/// Node-RED's own node types that this release does not run: a slip is the least likely reason to find them unknown.
const OTHER_CORE_TYPES: &[&str] = &[
    "batch",
    "complete",
    "csv",
    "exec",
    "file",
    "file in",
    "html",
    "http proxy",
    "mqtt in",
    "mqtt out",
    "mqtt-broker",
    "range",
    "rbe",
    "sort",
    "tcp in",
    "tcp out",
    "tcp request",
    "tls-config",
    "trigger",
    "udp in",
    "udp out",
    "unknown",
    "watch",
    "websocket in",
    "websocket out",
    "websocket-client",
    "websocket-listener",
    "xml",
    "yaml",
];

/// What to do about a node of unknown type.
pub(super) fn hint_for(given: &str, specs: Specs<'_>) -> String {
    if OTHER_CORE_TYPES.contains(&given) {
        return "a core node of Node-RED that this release does not run; its tab does not run with it".into();
    }
    if given == "function" {
        return "function nodes run in the JavaScript component, which is not built: run plugins/build javascript"
            .into();
    }
    match nearest_type(given, specs) {
        Some(near) => format!("did you mean \"{near}\"?"),
        None => "`probity nodes` lists the known types; its tab does not run with it".into(),
    }
}

/// A known type one slip away from `given`: letter case, one character more, less, other, or two swapped.
fn nearest_type(given: &str, specs: Specs<'_>) -> Option<&'static str> {
    let lower = given.trim().to_lowercase();
    if lower.is_empty() || lower.len() > NAME_BYTES_MAX {
        return None;
    }
    let known = |name: &str| specs(name).map(|spec| spec.node_type);
    if let Some(found) =
        [lower.clone(), lower.replace(['-', '_'], " "), lower.replace(['_', ' '], "-")].iter().find_map(|n| known(n))
    {
        return Some(found);
    }
    let letters: Vec<char> = lower.chars().collect();
    let word = |letters: &[char]| letters.iter().collect::<String>();
    for i in 0..=letters.len() {
        let (head, tail) = letters.split_at(i);
        let mut tries = Vec::new();
        if let [_, rest @ ..] = tail {
            tries.push(word(head) + &word(rest));
            if let [a, b, rest @ ..] = tail {
                tries.push(word(head) + &word(&[*b, *a]) + &word(rest));
            }
        }
        for letter in ('a'..='z').chain([' ', '-']) {
            tries.push(word(head) + &word(&[letter]) + &word(tail));
            if let [_, rest @ ..] = tail {
                tries.push(word(head) + &word(&[letter]) + &word(rest));
            }
        }
        if let Some(found) = tries.iter().find_map(|name| known(name)) {
            return Some(found);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flow::testing::specs;

    #[test]
    fn a_core_type_of_node_red_is_no_slip() {
        assert!(hint_for("udp in", &specs).contains("core node of Node-RED"));
        assert!(hint_for("function", &specs).contains("plugins/build javascript"));
        assert!(hint_for("chnage", &specs).contains("did you mean \"change\"?"));
        assert!(hint_for("status-storer", &specs).contains("probity nodes"));
    }

    #[test]
    fn finds_types_one_slip_away() {
        for (given, found) in
            [("htp in", "http in"), ("HTTP-In", "http in"), ("chnage", "change"), ("switchh", "switch")]
        {
            assert_eq!(nearest_type(given, &specs), Some(found), "{given}");
        }
        assert_eq!(nearest_type("status-storer", &specs), None);
        assert_eq!(nearest_type("", &specs), None);
    }
}
