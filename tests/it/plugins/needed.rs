//! Plugins are loaded for the flows that have their nodes, and for no others.

use std::path::Path;
use std::sync::Arc;

use probity::app;
use probity::clock::Clock;
use probity::config::Config;
use probity::model::flow::FlowFile;
use probity::net::{Net, NetOptions};
use probity::plugin::{Plugins, Report};

use super::rig;

/// Two plugins in a folder: `listed`, whose manifest says which node it gives, and `unlisted`.
fn place(folder: &Path) -> Config {
    for (name, source, nodes) in [("listed", "pass", "nodes = [\"guest-pass\"]\n"), ("unlisted", "log", "")] {
        let dir = folder.join("given").join(name);
        std::fs::create_dir_all(&dir).unwrap();
        std::fs::write(dir.join("code.wasm"), rig::component(source, |t| t)).unwrap();
        let manifest = format!(
            "schema = 1\nname = \"{name}\"\nversion = \"1.0.0\"\ncontract = \"1.1\"\nlicense = \"Apache-2.0\"\n{nodes}component = \"code.wasm\"\n"
        );
        std::fs::write(dir.join("plugin.toml"), manifest).unwrap();
    }
    let mut config = Config::defaults();
    config.data_dir = folder.join("data");
    config.plugins.dir = folder.join("given").display().to_string();
    config.plugins.development = true;
    config
}

fn flows(node_type: &str) -> FlowFile {
    let nodes = serde_json::json!([
        {"id": "tab", "type": "tab", "label": "test"},
        {"id": "n", "type": node_type, "z": "tab", "x": 1, "y": 1, "wires": [[]]},
    ]);
    probity::flow::load_value(nodes.as_array().unwrap().clone(), "test.json").0
}

async fn started(config: &Config, flows: &FlowFile) -> Arc<Plugins> {
    let net = Arc::new(Net::new(NetOptions::default()).unwrap());
    app::plugins::start(config, &net, &Clock::System, flows).await
}

fn report(plugins: &Plugins, name: &str) -> Report {
    plugins.report().into_iter().find(|r| r.name == name).unwrap_or_else(|| panic!("{name} is not listed"))
}

#[tokio::test]
async fn a_plugin_no_flow_needs_is_listed_and_not_loaded() {
    let folder = tempfile::tempdir().unwrap();
    let config = place(folder.path());
    let plugins = started(&config, &flows("inject")).await;
    let listed = report(&plugins, "listed");
    assert!(listed.loaded_at.is_none());
    assert_eq!(listed.node_types.iter().map(|t| t.node_type.as_str()).collect::<Vec<_>>(), ["guest-pass"]);
    assert!(app::plugins::catalogue(&plugins).get("guest-pass").is_none());
    assert!(report(&plugins, "unlisted").loaded_at.is_some(), "what does not say what it gives may be needed");
}

#[tokio::test]
async fn a_plugin_a_flow_needs_is_loaded() {
    let folder = tempfile::tempdir().unwrap();
    let config = place(folder.path());
    let plugins = started(&config, &flows("guest-pass")).await;
    assert!(report(&plugins, "listed").loaded_at.is_some());
    assert!(app::plugins::catalogue(&plugins).get("guest-pass").is_some());
}

#[tokio::test]
async fn a_list_that_is_not_what_the_plugin_gives_is_refused() {
    let rig = rig::Rig::new(Default::default());
    let wrong = rig::package("pass", "nodes = [\"guest-pas\"]", Default::default());
    let problems = rig.load(wrong).await.unwrap_err();
    let codes: Vec<&str> = problems.iter().map(|p| p.code.as_ref()).collect();
    assert_eq!(codes, ["missing-node", "unlisted-node"], "{problems:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_instance_nobody_uses_is_given_back() {
    let rig = rig::Rig::new(probity::plugin::limits::Limits { idle_ms_max: 300, ..Default::default() });
    rig.load(rig::package("pass", "", Default::default())).await.unwrap();
    let flow = rig.deploy(serde_json::json!([{"id": "n", "type": "guest-pass"}]));
    let idle = || rig.plugins.report()[0].idle_instances;
    for _ in 0..2 {
        assert_eq!(rig.send(&flow, "n", rig::msg("x")).await.out.len(), 1);
    }
    assert!(rig.plugins.report()[0].node_types[0].instances >= 1);
    let given_back = async {
        while idle() > 0 {
            Clock::System.sleep(std::time::Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(std::time::Duration::from_secs(60), given_back).await.expect("it is given back");
    assert_eq!(rig.send(&flow, "n", rig::msg("x")).await.out.len(), 1, "and made anew when needed");
}
