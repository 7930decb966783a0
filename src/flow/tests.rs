//! Behaviour of load and plan together, on flow files written as JSON.

mod properties;

use serde_json::{Value as Json, json};

use super::testing::{no_env, specs};
use super::*;
use crate::model::Value;
use crate::model::flow::{FlowFile, Plan, PlanNode, Stopped};

fn file(flows: Json) -> FlowFile {
    let (file, diagnostics) = load(&flows.to_string(), "flows.json");
    assert!(diagnostics.iter().all(|d| d.severity != crate::model::Severity::Error), "{diagnostics:?}");
    file
}

fn planned(flows: Json) -> Plan {
    plan(&file(flows), &specs, &no_env)
}

fn node<'p>(plan: &'p Plan, id: &str) -> &'p PlanNode {
    plan.nodes.iter().chain(&plan.configs).find(|n| n.id == id).unwrap_or_else(|| panic!("no node {id}"))
}

fn ids(plan: &Plan, targets: &[u32]) -> Vec<String> {
    targets.iter().map(|t| plan.nodes[*t as usize].id.to_string()).collect()
}

/// Wires of a node as ids, ports separated by `|`.
fn wires(plan: &Plan, id: &str) -> String {
    node(plan, id).wires.iter().map(|port| ids(plan, port).join(" ")).collect::<Vec<_>>().join("|")
}

fn catches(plan: &Plan, id: &str) -> String {
    ids(plan, &node(plan, id).catch.iter().map(|c| c.node).collect::<Vec<_>>()).join(" ")
}

fn statuses(plan: &Plan, id: &str) -> String {
    ids(plan, &node(plan, id).status).join(" ")
}

fn config(plan: &Plan, id: &str, key: &str) -> Value {
    node(plan, id).config.get(key).cloned().unwrap_or_default()
}

fn codes(plan: &Plan) -> Vec<&str> {
    plan.diagnostics.iter().map(|d| d.code.as_str()).collect()
}

/// A placed node with these extra properties.
fn n(id: &str, node_type: &str, z: &str, wires: Json, extra: Json) -> Json {
    let mut all = json!({"id": id, "type": node_type, "z": z, "name": "", "x": 1, "y": 1, "wires": wires});
    all.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
    all
}

fn tab(id: &str) -> Json {
    json!({"id": id, "type": "tab", "label": id})
}

#[test]
fn wires_lose_what_is_missing_or_disabled_and_may_be_cyclic() {
    let plan = planned(json!([
        tab("t"),
        n("a", "change", "t", json!([["b", "gone", "off", "a"], null, "c"]), json!({})),
        n("b", "debug", "t", json!([]), json!({})),
        n("c", "debug", "t", json!(null), json!({})),
        n("off", "debug", "t", json!([]), json!({"d": true})),
    ]));
    assert_eq!(wires(&plan, "a"), "b a||c");
    assert!(plan.nodes.iter().all(|n| n.id != "off"));
    assert_eq!(plan.flows[0].stopped, None);
}

#[test]
fn ids_may_be_numbers_or_empty_and_z_may_name_nothing() {
    let text = json!([
        n("", "http response", "nowhere", json!([]), json!({})),
        {"id": 5, "type": "change", "z": "nowhere", "wires": [["7"]]},
        {"id": 7, "type": "http response", "z": "nowhere"},
        {"id": "on-no-tab", "type": "change", "x": 1, "y": 2, "wires": []},
    ]);
    let (file, diagnostics) = load(&text.to_string(), "f");
    let found: Vec<_> = diagnostics.iter().map(|d| d.code.as_str()).collect();
    assert_eq!(found, ["empty-id", "implicit-tab"]);
    let again = load(&text.to_string(), "f").0;
    assert_eq!(file.nodes[0].id, again.nodes[0].id, "generated ids are stable");
    assert_eq!(file.nodes[0].id.len(), 16);
    assert_eq!(file.entries[0]["id"], "");
    let plan = plan(&file, &specs, &no_env);
    assert_eq!(wires(&plan, "5"), "7", "nodes without a place run when they have wires or ports");
    assert_eq!(plan.nodes.len(), 3);
    assert_eq!(codes(&plan), ["node-without-tab"]);
    assert!(!file.flows[0].declared);
}

#[test]
fn broken_files_say_where() {
    let cases = [
        ("[{\"id\":1,}]", "broken-json", "line 1, column 10"),
        ("{\"a\":1}", "not-flows", "{\"flows\""),
        ("3", "not-flows", "editor"),
        (&"[".repeat(100_000), "broken-json", "line 1"),
    ];
    for (text, code, says) in cases {
        let (file, diagnostics) = load(text, "x.json");
        assert!(file.entries.is_empty());
        assert_eq!(diagnostics[0].code, code);
        assert!(diagnostics[0].to_string().contains(says), "{}", diagnostics[0]);
        assert_eq!(diagnostics[0].file, "x.json");
    }
    let mut deep = json!(1);
    for _ in 0..200 {
        deep = json!([deep]);
    }
    let (file, diagnostics) = load_value(vec![json!({"id": "a", "deep": deep}), json!(7)], "");
    assert!(file.entries.is_empty());
    assert_eq!(diagnostics.iter().map(|d| d.code.as_str()).collect::<Vec<_>>(), ["too-deep", "entry-not-object"]);
}

#[test]
fn the_admin_api_shape_is_accepted() {
    let (file, diagnostics) = load(&json!({"flows": [tab("t")], "rev": "1"}).to_string(), "");
    assert!(diagnostics.is_empty());
    assert_eq!(file.flows[0].id, "t");
}

#[test]
fn a_duplicate_id_stops_the_tab_of_the_later_one() {
    let text = json!([
        tab("t"),
        tab("u"),
        n("a", "debug", "t", json!([]), json!({})),
        n("a", "debug", "u", json!([]), json!({})),
    ]);
    let (file, diagnostics) = load(&text.to_string(), "");
    assert_eq!(diagnostics[0].code, "duplicate-id");
    assert_eq!(diagnostics[0].path, "$[3].id");
    let plan = plan(&file, &specs, &no_env);
    assert_eq!(plan.flows[0].stopped, None);
    assert_eq!(plan.flows[1].stopped, Some(Stopped::Invalid));
}

#[test]
fn an_unknown_type_stops_only_the_tabs_that_need_it() {
    let plan = planned(json!([
        tab("own"), tab("fine"), tab("by-config"), tab("by-config-of-config"), tab("by-subflow"), tab("no-def"), tab("off"),
        {"id": "dis", "type": "tab", "label": "", "disabled": true},
        n("a", "chnage", "own", json!([["b"]]), json!({})),
        n("b", "debug", "own", json!([]), json!({})),
        n("c", "debug", "fine", json!([]), json!({})),
        {"id": "broker", "type": "mqtt-broker", "host": "h"},
        {"id": "tls", "type": "tls-config", "through": "broker"},
        n("d", "http request", "by-config", json!([[]]), json!({"x1": {"deep": ["broker"]}})),
        n("e", "http request", "by-config-of-config", json!([[]]), json!({"tls": "tls"})),
        {"id": "s", "type": "subflow", "name": "S", "in": [], "out": []},
        n("f", "wonder", "s", json!([]), json!({})),
        n("g", "subflow:s", "by-subflow", json!([]), json!({})),
        n("h", "subflow:nope", "no-def", json!([]), json!({})),
        n("i", "wonder", "off", json!([]), json!({"d": true})),
        n("j", "wonder", "dis", json!([]), json!({})),
    ]));
    let unknown = |t: &str| Some(Stopped::UnknownTypes(vec![t.into()]));
    let stops: Vec<_> = plan.flows.iter().map(|f| f.stopped.clone()).collect();
    let expected = [
        unknown("chnage"),
        None,
        unknown("mqtt-broker"),
        unknown("mqtt-broker"),
        unknown("wonder"),
        unknown("subflow:nope"),
        None,
        Some(Stopped::Disabled),
    ];
    assert_eq!(stops, expected);
    assert_eq!(plan.diagnostics[0].hint.as_deref(), Some("did you mean \"change\"?"));
    assert_eq!(plan.diagnostics[0].path, "$[8].type");
    assert_eq!(wires(&plan, "a"), "b", "nodes of stopped flows are there");
}

fn nested_subflows() -> Json {
    json!([
        tab("t"),
        {"id": "outer", "type": "subflow", "name": "Outer", "in": [{"wires": [{"id": "i"}]}],
         "out": [{"wires": [{"id": "i", "port": 1}, {"id": "outer", "port": 0}]}]},
        {"id": "inner", "type": "subflow", "name": "Inner", "in": [{"wires": [{"id": "x"}, {"id": "y"}]}],
         "out": [{"wires": [{"id": "x", "port": "0"}]}, {"wires": [{"id": "y", "port": 1}]}],
         "status": {"wires": [{"id": "x", "port": 0}]}},
        n("i", "subflow:inner", "outer", json!([["z"]]), json!({})),
        n("z", "debug", "outer", json!([]), json!({})),
        n("x", "change", "inner", json!([["y"]]), json!({})),
        n("y", "change", "inner", json!([[]]), json!({})),
        n("in", "inject", "t", json!([["o1", "o2"]]), json!({})),
        n("o1", "subflow:outer", "t", json!([["end"]]), json!({})),
        n("o2", "subflow:outer", "t", json!([["o2"]]), json!({})),
        n("end", "debug", "t", json!([]), json!({})),
    ])
}

#[test]
fn nested_subflows_are_expanded_per_instance() {
    let plan = planned(nested_subflows());
    assert_eq!(wires(&plan, "in"), "o1 o2");
    assert_eq!(wires(&plan, "o1"), "o1-i end");
    assert_eq!(wires(&plan, "o1-i"), "o1-i-x o1-i-y");
    assert_eq!(wires(&plan, "o1-i-x"), "o1-i-y o1-z o1-i:status");
    assert_eq!(wires(&plan, "o1-i-y"), "|end");
    assert_eq!(wires(&plan, "o2-i-y"), "|o2");
    assert_eq!(wires(&plan, "o2"), "o2-i o2", "an input wired to an output may loop");
    let inner = node(&plan, "o1-i-x");
    assert_eq!(inner.context, "o1-i");
    assert_eq!(inner.parents.as_slice(), ["o1", "t"]);
    assert_eq!(inner.instance.map(|i| plan.nodes[i as usize].id.to_string()).as_deref(), Some("o1-i"));
    let status = node(&plan, "o1-i:status");
    assert_eq!(status.node_type, SUBFLOW_STATUS);
    assert_eq!(status.instance.map(|i| plan.nodes[i as usize].id.to_string()).as_deref(), Some("o1-i"));
    assert_eq!(config(&plan, "o1-i-x", "id"), "o1-i-x".into());
    assert_eq!(config(&plan, "o1-i-x", "z"), "o1-i".into());
}

#[test]
fn a_subflow_that_contains_itself_stops_the_tabs_that_use_it() {
    let plan = planned(json!([
        tab("t"), tab("fine"),
        {"id": "a", "type": "subflow", "name": "A"},
        {"id": "b", "type": "subflow", "name": "B"},
        {"id": "c", "type": "subflow", "name": "C"},
        n("ab", "subflow:b", "a", json!([]), json!({})),
        n("ba", "subflow:a", "b", json!([]), json!({})),
        n("ca", "subflow:a", "c", json!([]), json!({})),
        n("tc", "subflow:c", "t", json!([]), json!({})),
        n("d", "debug", "fine", json!([]), json!({})),
    ]));
    assert_eq!(plan.flows[0].stopped, Some(Stopped::Invalid));
    assert_eq!(plan.flows[1].stopped, None);
    let found: Vec<_> = plan.diagnostics.iter().map(|d| (d.code.as_str(), d.path.as_str())).collect();
    assert_eq!(found, [("subflow-recursion", "$[2]"), ("subflow-recursion", "$[3]")]);
}

#[test]
fn subflows_that_explode_are_refused_quickly() {
    let mut flows = vec![tab("t"), n("i", "subflow:s0", "t", json!([]), json!({}))];
    for k in 0..20 {
        flows.push(json!({"id": format!("s{k}"), "type": "subflow", "name": ""}));
        for c in 0..10 {
            let next = format!("subflow:s{}", k + 1);
            flows.push(n(
                &format!("n{k}-{c}"),
                if k == 19 { "debug" } else { &next },
                &format!("s{k}"),
                json!([]),
                json!({}),
            ));
        }
    }
    let plan = planned(Json::Array(flows));
    assert_eq!(plan.flows[0].stopped, Some(Stopped::Invalid));
    assert_eq!(codes(&plan), ["plan-too-large"]);
    assert_eq!(plan.nodes.len(), 1);
}

#[test]
fn env_follows_the_chain_and_keeps_types() {
    let flows = json!([
        {"id": "g", "type": "global-config", "env": [{"name": "G", "value": "global", "type": "str"}]},
        {"id": "t", "type": "tab", "label": "Tab", "env": [
            {"name": "NUM", "value": "42", "type": "num"},
            {"name": "YES", "value": "true", "type": "bool"},
            {"name": "OBJ", "value": "{\"a\":[1]}", "type": "json"},
            {"name": "MIX", "value": "n=${NUM}/${HOST}/${NONE}", "type": "env"},
            {"name": "SUM", "value": "$number($env('HOST_PORT')) + 1", "type": "jsonata"},
            {"name": "HOST", "value": "HOST", "type": "env"},
            {"name": "A", "value": "tab", "type": "str"},
            {"name": "PROBITY_REPLY_MS_MAX", "value": "9000", "type": "str"}]},
        {"id": "outer", "type": "group", "z": "t", "name": "Outer", "env": [{"name": "A", "value": "outer", "type": "str"}]},
        {"id": "inner", "type": "group", "z": "t", "g": "outer", "name": "Inner", "env": []},
        n("a", "change", "t", json!([]), json!({"name": "A node", "rules": [{"n": "${NUM}", "old": "$(YES)", "o": "${OBJ}", "keep": "x${NUM}", "none": "${NONE}"}],
            "mix": "${MIX}", "sum": "${SUM}", "host": "${HOST}", "glob": "${G}", "me": "${NR_NODE_NAME}", "path": "${NR_NODE_PATH}", "flow": "${NR_FLOW_NAME}"})),
        n("b", "change", "t", json!([]), json!({"g": "inner", "a": "${A}", "p": "${$parent.A}", "pp": "${$parent.$parent.A}", "gn": "${NR_GROUP_NAME}"})),
        {"id": "s", "type": "subflow", "name": "S", "env": [{"name": "A", "value": "template", "type": "str"}, {"name": "B", "value": "b", "type": "str"}]},
        n("sn", "change", "s", json!([]), json!({"a": "${A}", "b": "${B}", "p": "${$parent.A}", "name2": "${NR_SUBFLOW_NAME}", "path": "${NR_NODE_PATH}"})),
        n("si", "subflow:s", "t", json!([]), json!({"name": "Inst", "g": "outer", "env": [{"name": "A", "value": "instance", "type": "str"}]})),
    ]);
    let process = |name: &str| match name {
        "HOST" => Some("example.org".to_string()),
        "HOST_PORT" => Some("80".to_string()),
        _ => None,
    };
    let plan = plan(&file(flows), &specs, &process);
    let rule = |key: &str| config(&plan, "a", "rules").get("0").get(key);
    assert_eq!(rule("n"), 42.0.into());
    assert_eq!(rule("old"), true.into());
    assert_eq!(rule("o").to_json(), r#"{"a":[1]}"#);
    assert_eq!(rule("keep"), "x${NUM}".into());
    assert_eq!(rule("none"), "${NONE}".into());
    for (id, key, expected) in [
        ("a", "mix", Value::from("n=42/example.org/")),
        ("a", "sum", 81.0.into()),
        ("a", "host", "example.org".into()),
        ("a", "glob", "global".into()),
        ("a", "me", "A node".into()),
        ("a", "path", "t/a".into()),
        ("a", "flow", "Tab".into()),
        ("b", "a", "outer".into()),
        ("b", "p", "outer".into()),
        ("b", "pp", "tab".into()),
        ("b", "gn", "Inner".into()),
        ("si-sn", "a", "instance".into()),
        ("si-sn", "b", "b".into()),
        ("si-sn", "p", "outer".into()),
        ("si-sn", "name2", "Inst".into()),
        ("si-sn", "path", "t/si/sn".into()),
    ] {
        assert_eq!(config(&plan, id, key), expected, "{id}.{key}");
    }
    assert_eq!(plan.flows[0].reply_ms_max, Some(9000));
    assert_eq!(codes(&plan), Vec::<&str>::new());
}

#[test]
fn errors_go_to_the_nearest_level_that_takes_them() {
    let plan = planned(json!([
        tab("t"),
        {"id": "g1", "type": "group", "z": "t"}, {"id": "g2", "type": "group", "z": "t", "g": "g1"},
        n("a", "change", "t", json!([]), json!({"g": "g2"})),
        n("b", "change", "t", json!([]), json!({})),
        n("c-rest", "catch", "t", json!([]), json!({"scope": null, "uncaught": true})),
        n("c-all", "catch", "t", json!([]), json!({"scope": null})),
        n("c-g1", "catch", "t", json!([]), json!({"g": "g1", "scope": "group"})),
        n("c-b", "catch", "t", json!([]), json!({"scope": ["b"]})),
        {"id": "s", "type": "subflow", "name": "S"},
        n("x", "change", "s", json!([]), json!({})),
        n("y", "change", "s", json!([]), json!({})),
        n("c-x", "catch", "s", json!([]), json!({"scope": ["x"]})),
        n("i", "subflow:s", "t", json!([]), json!({"g": "g2"})),
    ]));
    assert_eq!(catches(&plan, "a"), "c-g1 c-all");
    assert_eq!(catches(&plan, "b"), "c-b c-all");
    assert_eq!(catches(&plan, "i-x"), "i-c-x");
    assert_eq!(catches(&plan, "i-y"), "c-g1 c-all", "reported by the instance in the flow around");
}

#[test]
fn uncaught_takes_what_nothing_else_takes() {
    let plan = planned(json!([
        tab("t"),
        n("a", "change", "t", json!([]), json!({})),
        n("b", "change", "t", json!([]), json!({})),
        n("rest1", "catch", "t", json!([]), json!({"uncaught": true})),
        n("rest2", "catch", "t", json!([]), json!({"uncaught": true})),
        n("only-b", "catch", "t", json!([]), json!({"scope": ["b"]})),
    ]));
    assert_eq!(catches(&plan, "a"), "rest1 rest2");
    assert_eq!(catches(&plan, "b"), "only-b");
}

#[test]
fn statuses_bubble_unless_the_subflow_has_a_status_output() {
    let plan = planned(json!([
        tab("t"),
        {"id": "s", "type": "subflow", "name": "S"},
        n("x", "change", "s", json!([]), json!({})),
        {"id": "o", "type": "subflow", "name": "O", "status": {"wires": [{"id": "y"}]}},
        n("y", "change", "o", json!([]), json!({})),
        n("i", "subflow:s", "t", json!([]), json!({})),
        n("j", "subflow:o", "t", json!([]), json!({})),
        n("all", "status", "t", json!([["dbg"]]), json!({})),
        n("of-j", "status", "t", json!([["dbg"]]), json!({"scope": ["j", "dbg"]})),
        n("dbg", "debug", "t", json!([]), json!({})),
    ]));
    assert_eq!(statuses(&plan, "i-x"), "all");
    assert_eq!(statuses(&plan, "j-y"), "");
    assert_eq!(statuses(&plan, "j:status"), "all of-j");
    assert_eq!(statuses(&plan, "dbg"), "all", "a status node does not hear what it is wired to");
}

#[test]
fn links_join_both_sides_lists() {
    let plan = planned(json!([
        tab("t"), tab("u"), {"id": "off", "type": "tab", "label": "", "disabled": true},
        n("out", "link out", "t", json!([]), json!({"links": ["in1", "gone", "in3"]})),
        n("back", "link out", "t", json!([]), json!({"mode": "return", "links": ["in1"]})),
        n("in1", "link in", "t", json!([[]]), json!({"links": []})),
        n("in2", "link in", "u", json!([[]]), json!({"name": "two", "links": ["out"]})),
        n("in3", "link in", "off", json!([[]]), json!({})),
        n("call", "link call", "t", json!([[]]), json!({"links": ["in2"], "linkType": "static"})),
        n("dyn", "link call", "u", json!([[]]), json!({"links": [], "linkType": "dynamic"})),
    ]));
    assert_eq!(wires(&plan, "out"), "in1 in2");
    assert_eq!(wires(&plan, "back"), "");
    let links = |id| {
        node(&plan, id).links.iter().map(|l| (l.id.to_string(), l.name.to_string(), l.same_flow)).collect::<Vec<_>>()
    };
    assert_eq!(links("call"), [("in2".into(), "two".into(), false)]);
    assert_eq!(links("dyn"), [("in1".into(), "in1".into(), false), ("in2".into(), "two".into(), true)]);
}

#[test]
fn config_nodes_are_listed_apart_and_inner_ones_get_inner_ids() {
    let plan = planned(json!([
        tab("t"),
        {"id": "tls", "type": "tls-config", "name": "T"},
        {"id": "s", "type": "subflow", "name": "S"},
        {"id": "own", "type": "tls-config", "z": "s"},
        n("r", "http request", "s", json!([[]]), json!({"tls": "own"})),
        n("i", "subflow:s", "t", json!([]), json!({})),
        n("q", "http request", "t", json!([[]]), json!({"tls": "tls"})),
        n("c", "catch", "t", json!([[]]), json!({"scope": ["q"]})),
    ]));
    assert_eq!(plan.configs.len(), 2);
    assert_eq!(config(&plan, "i-r", "tls"), "i-own".into());
    assert_eq!(node(&plan, "i-own").context, "i");
    assert_eq!(catches(&plan, "tls"), "c", "a global config node reports to its users' catch nodes");
}

#[test]
fn the_version_follows_the_entries() {
    let one = planned(json!([tab("t")]));
    assert_eq!(one.version, planned(json!([tab("t")])).version);
    assert_ne!(one.version, planned(json!([tab("u")])).version);
    assert_eq!(one.version.len(), 64);
}

fn checked(flows: Json) -> Vec<String> {
    let hook = |node: &crate::model::flow::NodeDef| match node.node_type.as_str() {
        "template" => vec![crate::model::Diagnostic::error("from-node", "rules[0].v", "x")],
        _ => Vec::new(),
    };
    let found = check(&load(&flows.to_string(), "f").0, &specs, &hook);
    assert!(found.iter().all(|d| d.file == "f"));
    found.iter().map(|d| format!("{} {}", d.code, d.path)).collect()
}

#[test]
fn check_finds_every_problem_at_once() {
    let found = checked(json!([
        tab("t"),
        n("a", "chnage", "t", json!([["gone", "in"]]), json!({})),
        n("sw", "switch", "t", json!([]), json!({"propertee": "payload"})),
        n("sw2", "switch", "t", json!([]), json!({"property": "a..b"})),
        n("sw3", "switch", "t", json!([]), json!({"property": "${PATH_OF_IT}"})),
        n("tp", "template", "t", json!([[], ["d"]]), json!({"syntax": "mustach"})),
        n("d", "debug", "t", json!([]), json!({"active": "maybe", "g": "nogroup"})),
        n("in", "inject", "t", json!([]), json!({"repeat": "often"})),
        n("r1", "http request", "t", json!([]), json!({"tls": "none"})),
        n("r2", "http request", "t", json!([]), json!({"tls": "d"})),
        n("r3", "http request", "t", json!([]), json!({"tls": "_ADD_"})),
        n("h0", "http in", "t", json!([]), json!({"url": ""})),
        n("h1", "http in", "t", json!([]), json!({"url": "/a/:id", "method": "get"})),
        n("h2", "http in", "t", json!([]), json!({"url": "a/:other/", "method": "GET"})),
        n("lo", "link out", "t", json!([]), json!({"links": ["gone", "d"]})),
        n("lc", "link call", "t", json!([]), json!({"links": []})),
        n("c", "catch", "t", json!([]), json!({"scope": ["gone"]})),
        n("st", "status", "t", json!([]), json!({"scope": "group"})),
        {"id": "s", "type": "subflow", "name": "S", "in": [{"wires": [{"id": "gone"}]}], "out": []},
    ]));
    assert_eq!(
        found,
        [
            "unknown-type $[1].type",
            "dangling-wire $[1].wires[0][0]",
            "wire-into-source $[1].wires[0][1]",
            "missing-property $[2].property",
            "wrong-path $[3].property",
            "wrong-kind $[5].syntax",
            "wire-without-output $[5].wires[1]",
            "from-node $[5].rules[0].v",
            "wrong-kind $[6].active",
            "unknown-group $[6].g",
            "wrong-kind $[7].repeat",
            "dangling-reference $[8].tls",
            "wrong-reference $[9].tls",
            "wrong-kind $[13].method",
            "dangling-link $[14].links[0]",
            "dangling-link $[14].links[1]",
            "missing-link $[15].links",
            "dangling-scope $[16].scope[0]",
            "scope-without-group $[17].scope",
            "dangling-wire $[18]",
            "missing-property $[11].url",
            "duplicate-route $[13].url",
        ]
    );
}

#[test]
fn problems_are_said_once_with_hints_and_disabled_nodes_only_warn() {
    let text = json!([
        tab("t"),
        n("a", "chnage", "t", json!([]), json!({})),
        n("sw", "switch", "t", json!([]), json!({"propertty": "payload", "d": true})),
        n("tp", "template", "t", json!([]), json!({"syntax": "mustach"})),
    ]);
    let found = problems(&text.to_string(), "f", &specs, &no_env, &|_| Vec::new());
    let hints: Vec<_> = found.iter().map(|d| (d.severity, d.hint.clone().unwrap_or_default())).collect();
    use crate::model::Severity::{Error, Warning};
    assert_eq!(
        hints,
        [
            (Error, "did you mean \"change\"?".to_string()),
            (Warning, "did you mean \"propertty\"?".to_string()),
            (Error, "did you mean \"mustache\"?".to_string()),
        ]
    );
}

#[test]
fn each_loose_end_of_a_subflow_is_said() {
    let text = json!([
        {"id": "s", "type": "subflow", "name": "S", "in": [{"wires": [{"id": "gone"}]}],
         "out": [{"wires": [{"id": "lost", "port": 0}]}]},
        tab("t"),
    ]);
    let found = problems(&text.to_string(), "f", &specs, &no_env, &|_| Vec::new());
    let loose = found.iter().filter(|d| d.code == "dangling-wire").count();
    assert_eq!(loose, 2, "{found:?}");
}

#[test]
fn fifty_tabs_are_planned_whole() {
    let mut flows = Vec::new();
    for t in 0..50 {
        flows.push(tab(&format!("t{t}")));
        for k in 0..20 {
            let wires = json!([[format!("n{t}-{}", (k + 1) % 20)]]);
            flows.push(n(&format!("n{t}-{k}"), "change", &format!("t{t}"), wires, json!({"rules": [{"t": "set"}]})));
        }
        flows.push(n(&format!("c{t}"), "catch", &format!("t{t}"), json!([[]]), json!({})));
    }
    let file = file(Json::Array(flows));
    let plan = plan(&file, &specs, &no_env);
    assert_eq!(plan.nodes.len(), 50 * 21);
}

#[test]
fn what_gathers_in_memory_is_said_where_durable_runs_without_a_caller_lead_to_it() {
    let gathers = |start: &str, how: &Json| {
        let mut tab = tab("t");
        tab.as_object_mut().unwrap().extend(how.as_object().unwrap().clone());
        let of = |id: &str, node_type: &str, extra: Json| n(id, node_type, "t", json!([]), extra);
        let plan = planned(json!([
            tab,
            n("in", start, "t", json!([["on"]]), json!({})),
            n("on", "change", "t", json!([["count", "no-parts", "parts", "auto", "reduce", "batch", "in"]]), json!({})),
            of("count", "join", json!({"mode": "custom", "count": "3"})),
            of("no-parts", "join", json!({"mode": "custom", "count": "", "useparts": false})),
            of("parts", "join", json!({"mode": "custom", "count": "", "useparts": true})),
            of("auto", "join", json!({"mode": "auto"})),
            of("reduce", "join", json!({"mode": "reduce"})),
            of("batch", "batch", json!({"mode": "count", "count": 2})),
            of("elsewhere", "batch", json!({"mode": "count", "count": 2})),
        ]));
        let said: Vec<_> = plan.diagnostics.into_iter().filter(|d| d.code == "gathers-in-memory").collect();
        assert!(said.iter().all(|d| d.severity == crate::model::Severity::Warning && d.hint.is_some()));
        assert!(said.iter().all(|d| d.message.contains(&format!("{start} node \"in\""))), "{said:?}");
        let mut paths: Vec<String> = said.into_iter().map(|d| d.path).collect();
        paths.sort();
        paths
    };
    let durable = json!({"durability": "durable"});
    let variable = json!({"env": [{"name": "PROBITY_DURABILITY", "value": "durable", "type": "str"}]});
    let (fast, off) = (json!({"durability": "fast"}), json!({"durability": "durable", "disabled": true}));
    let said = ["$[3]", "$[4]", "$[8]"];
    for (start, how) in [("inject", &durable), ("inject", &variable), ("schedule", &durable), ("schedule", &json!({}))]
    {
        assert_eq!(gathers(start, how), said, "{start} {how}");
    }
    // What a call brings is its run's.
    for (start, how) in
        [("http in", &durable), ("inject", &fast), ("inject", &off), ("inject", &json!({})), ("schedule", &fast)]
    {
        assert_eq!(gathers(start, how), [""; 0], "{start} {how}");
    }
}
