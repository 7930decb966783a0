//! Flow files nobody would write: whatever comes, loading, checking and planning end without a panic.

use proptest::prelude::*;

use super::*;

/// Ids and types from a small pool, so that references meet.
fn name() -> impl Strategy<Value = Json> {
    prop_oneof![
        8 => prop::sample::select(vec!["a", "b", "c", "s", "t", "g"]).prop_map(|s| json!(s)),
        1 => any::<u8>().prop_map(|n| json!(n)),
        1 => Just(json!("")),
        1 => Just(Json::Null),
        1 => Just(json!(["a", {"id": "b"}])),
    ]
}

fn entry() -> impl Strategy<Value = Json> {
    let types = prop::sample::select(vec![
        "tab",
        "subflow",
        "group",
        "change",
        "debug",
        "catch",
        "status",
        "link in",
        "link out",
        "link call",
        "comment",
        "subflow:s",
        "subflow:a",
        "subflow:b",
        "tls-config",
        "http request",
        "http in",
        "wonder",
        "global-config",
    ]);
    let ends = prop::collection::vec((name(), name()), 0..3)
        .prop_map(|ends| json!([{"wires": ends.into_iter().map(|(id, port)| json!({"id": id, "port": port})).collect::<Vec<_>>()}]));
    let env = prop::collection::vec(
        (
            name(),
            prop::sample::select(vec!["str", "num", "json", "env", "jsonata", "bin", "conf-type"]),
            "[a-c${}.+(]{0,8}",
        ),
        0..3,
    )
    .prop_map(|all| all.into_iter().map(|(n, t, v)| json!({"name": n, "type": t, "value": v})).collect::<Vec<_>>());
    let wires = prop::collection::vec(prop::collection::vec(name(), 0..3), 0..3);
    (types, name(), name(), name(), wires, ends, env, name(), "[a-c${}]{0,6}").prop_map(
        |(node_type, id, z, g, wires, ends, env, other, text)| {
            json!({"id": id, "type": node_type, "z": z, "g": g, "wires": wires, "in": ends, "out": ends,
                "status": ends[0], "env": env, "scope": [other], "links": [other], "tls": other, "name": text, "x": 1, "y": 1})
        },
    )
}

fn survives(flows: &str) {
    let (file, _) = load(flows, "f");
    let plan = plan(&file, &specs, &no_env);
    let n = plan.nodes.len() as u32;
    for node in plan.nodes.iter().chain(&plan.configs) {
        let links = node.links.iter().map(|l| l.node).chain(node.catch.iter().map(|c| c.node));
        let all = node.wires.iter().flatten().chain(&node.status).copied().chain(links).chain(node.instance);
        assert!(all.into_iter().all(|target| target < n));
    }
    check(&file, &specs, &|_| Vec::new());
    let saved = save(&file);
    assert_eq!(save(&load(&saved, "f").0), saved);
}

proptest! {
    #[test]
    fn any_text_is_loaded_or_refused(text in "\\PC{0,60}") {
        survives(&text);
    }

    #[test]
    fn tangled_entries_are_planned_and_checked(entries in prop::collection::vec(entry(), 0..14)) {
        survives(&Json::Array(entries).to_string());
    }

    #[test]
    fn damaged_real_files_are_planned_or_refused(
        file in prop::sample::select(vec![
            include_str!("../../../tests/data/flows/infrastructure__config__default_flows.json"),
            include_str!("../../../tests/data/flows/node-red-status__packages__control-flow__flows.json"),
        ]),
        cuts in prop::collection::vec((any::<prop::sample::Index>(), 0usize..6, "[\"{}\\[\\],:a0]{0,3}"), 1..4),
    ) {
        let mut letters: Vec<char> = file.chars().collect();
        for (at, len, with) in cuts {
            let at = at.index(letters.len());
            let end = (at + len).min(letters.len());
            letters.splice(at..end, with.chars());
        }
        survives(&letters.into_iter().collect::<String>());
    }
}
