//! The shipped node packs, as `plugins/build` leaves them.

use std::path::Path;

use probity::flow;
use probity::model::node_spec::{NodeSpec, Property, PropertyKind};
use probity::plugin::Package;
use probity::plugin::granted::{CAPABILITIES, Granted};
use probity::plugin::manifest::Manifest;

/// The packs with node-red-status' 33 node types.
pub const STATUS: [(&str, &[&str]); 8] = [
    ("ai", &["ai-response"]),
    ("control-flow", &["chain-response", "coexistence", "responded-existence", "response"]),
    ("extraction", &["find-object", "get-kv-property", "get-property-value", "last-timestamp"]),
    ("filtering", &["filter-by", "filter-by-date", "group-by"]),
    (
        "integration",
        &[
            "csv-reader",
            "github-collector",
            "log-getter",
            "log-trace",
            "project-to-url",
            "trello-collector",
            "url-to-doc",
        ],
    ),
    ("logic", &["and", "if-else", "implies", "lesser-than", "or"]),
    ("status", &["databinder", "filter-scope", "status-storer"]),
    (
        "validation",
        &["check-property", "exists-pipe", "exists-section-in-doc", "exists-url", "has-activity", "is-valid-url"],
    ),
];

/// A pack that `plugins/build` built, with what is granted; `None`, with a word about it, when it is not there.
pub fn dist(name: &str, granted: Granted) -> Option<Package> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("plugins/dist").join(name);
    let Ok(text) = std::fs::read_to_string(dir.join("plugin.toml")) else {
        return super::rig::skipped(&format!("{name} is not built; run plugins/build {name}"));
    };
    let manifest: Manifest = toml::from_str(&text).unwrap();
    let wasm = std::fs::read(dir.join(manifest.component.as_ref().unwrap())).unwrap().into();
    Some(Package { manifest, wasm, script: None, granted })
}

/// As [`dist`], with everything granted that there is, and these folders.
pub fn shipped(name: &str, folders: &[&Path]) -> Option<Package> {
    let granted = Granted {
        names: CAPABILITIES.iter().map(ToString::to_string).collect(),
        hosts: vec!["*".into(), "127.0.0.1".into()],
        secrets: ["*".to_string()].into(),
        folders: folders.iter().map(|path| path.canonicalize().unwrap()).collect(),
    };
    dist(name, granted)
}

/// The editor's form is made of the schema, its help of the descriptions: neither may be empty.
#[tokio::test(flavor = "multi_thread")]
async fn every_type_has_what_its_form_and_its_help_are_made_of() {
    let rig = super::rig::Rig::new(Default::default());
    let mut found = Vec::new();
    let mut missing = Vec::new();
    for (pack, types) in STATUS {
        let Some(package) = shipped(pack, &[]) else { return };
        rig.load(package).await.unwrap();
        for of in rig.plugins.descriptions(pack) {
            if !types.contains(&of.node_type.as_str()) {
                continue;
            }
            let name = &of.node_type;
            for (part, text) in [
                ("category", &of.category),
                ("color", &of.color),
                ("icon", &of.icon),
                ("summary", &of.summary),
                ("help", &of.help),
            ] {
                if text.trim().is_empty() {
                    missing.push(format!("{name}: {part}"));
                }
            }
            if of.outputs.len() > 1 && of.outputs.iter().any(|label| label.trim().is_empty()) {
                missing.push(format!("{name}: labels of its outputs"));
            }
            let schema: serde_json::Value = serde_json::from_str(&of.config).unwrap();
            for (property, of) in schema["properties"].as_object().into_iter().flatten() {
                let text = |key: &str| of[key].as_str().is_some_and(|text| !text.trim().is_empty());
                if of["x-hidden"] != serde_json::json!(true) && property != "name" && !text("description") {
                    missing.push(format!("{name}: description of {property}"));
                }
            }
            found.push(of.node_type);
        }
    }
    assert!(missing.is_empty(), "{}", missing.join("\n"));
    assert_eq!(found.len(), 33, "{found:?}");
}

#[test]
fn a_secret_that_stands_in_a_flow_is_told_before_it_is_deployed() {
    static SPEC: NodeSpec = NodeSpec {
        node_type: "asks",
        category: "test",
        summary: "",
        inputs: 1,
        outputs: Some(1),
        config_node: false,
        properties: &[
            Property::new("token", PropertyKind::Secret, ""),
            Property::new("services", PropertyKind::JsonWithSecrets(&[&["*", "token"], &["*", "keys", "*"]]), ""),
        ],
        capabilities: &[],
    };
    let found_in = |token: serde_json::Value, services: serde_json::Value| {
        let node = serde_json::json!({"id": "n", "type": "asks", "z": "tab", "x": 1, "y": 1, "wires": [[]],
            "token": token, "services": services});
        let entries = vec![serde_json::json!({"id": "tab", "type": "tab", "label": "test"}), node];
        let (file, _) = flow::load_value(entries, "test.json");
        let all = flow::check(&file, &|name| (name == SPEC.node_type).then_some(&SPEC), &|_| Vec::new());
        all.into_iter().map(|d| (d.code.to_string(), d.path.to_string(), d.to_string())).collect::<Vec<_>>()
    };
    let found = |token: serde_json::Value| found_in(token, "".into());
    for fine in ["", "secret:GITHUB", "${TOKEN}"] {
        assert!(found(fine.into()).is_empty(), "{fine}: {:?}", found(fine.into()));
    }
    let told = found("ghp_0123456789".into());
    assert_eq!(told.len(), 1, "{told:?}");
    assert_eq!((told[0].0.as_str(), told[0].1.as_str()), ("literal-secret", "$[1].token"));
    assert!(!told[0].2.contains("ghp_"), "{told:?}");
    assert_eq!(found(serde_json::json!({"a": 1}))[0].0, "wrong-kind");
    // Below a property, as an object and as the text that the editor's plain form exports.
    let services =
        serde_json::json!([{"token": "secret:A"}, {"token": "ghp_1", "keys": {"first": "", "x": "ghp_2"}}, 3]);
    for services in [services.clone(), services.to_string().into()] {
        let told = found_in("".into(), services);
        let places: Vec<_> = told.iter().map(|d| (d.0.as_str(), d.1.as_str())).collect();
        let wanted = [("literal-secret", "$[1].services[1].token"), ("literal-secret", "$[1].services[1].keys.x")];
        assert_eq!(places, wanted, "{told:?}");
        assert!(!format!("{told:?}").contains("ghp_"), "{told:?}");
    }
}
