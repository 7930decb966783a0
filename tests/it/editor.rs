//! The stock editor in a real Chromium, on the program itself: load, drag and wire nodes, deploy, inject, debug, a form of
//! ours, and what happens when somebody else deployed meanwhile. Skipped, visibly, where the build could not fetch the
//! editor.

use serde_json::{Value, json};

use crate::harness::browser::Browser;
use crate::harness::server::client;
use crate::serve::{Folder, Server, probity};

/// Set it to make a build without the editor a failure.
const REQUIRED: &str = "PROBITY_TEST_REQUIRE_EDITOR";

#[expect(clippy::disallowed_methods, reason = "tests have no config")]
fn is_built() -> bool {
    let built = probity::api::editor::is_there();
    if !built {
        assert!(std::env::var_os(REQUIRED).is_none(), "this build has no editor: npm's registry could not be reached");
        eprintln!("skipped: this build has no editor");
    }
    built
}

fn start(folder: &Folder, flows: &Value) -> Server {
    let flows = folder.write("flows.json", flows);
    let mut command = probity();
    command.args(["serve", "--listen", "127.0.0.1:0", "--database-url", "memory:", "--flows"]).arg(flows);
    Server::start(command.arg("--data-dir").arg(&folder.0))
}

async fn open(server: &Server) -> Browser {
    let browser = Browser::desk().await;
    browser.open(&format!("{}/", server.base)).await;
    browser.until("RED.nodes.getType('inject') && RED.nodes.node('start') && document.getElementById('start')").await;
    browser
}

/// A node of the workspace by its id, as an expression.
fn drawn(id: &str) -> String {
    format!("document.getElementById('{id}')")
}

async fn deploy(browser: &Browser) {
    browser.until("RED.nodes.dirty()").await;
    browser.click("#red-ui-header-button-deploy").await;
    browser.until("!RED.nodes.dirty()").await;
}

async fn flows(server: &Server) -> Vec<Value> {
    let answer = client().get(format!("{}/flows", server.base)).send().await.unwrap();
    serde_json::from_str(&answer.text().await.unwrap()).unwrap()
}

#[tokio::test]
async fn a_flow_is_drawn_deployed_and_seen_to_run() {
    if !is_built() {
        return;
    }
    let folder = Folder::new();
    let server = start(
        &folder,
        &json!([
            { "id": "tab", "type": "tab", "label": "A flow", "disabled": false, "info": "" },
            { "id": "start", "type": "inject", "z": "tab", "name": "press me", "props": [{ "p": "payload" }],
              "repeat": "", "crontab": "", "once": false, "onceDelay": 0.1, "topic": "", "payload": "hello",
              "payloadType": "str", "x": 220, "y": 160, "wires": [[]] },
        ]),
    );
    let browser = open(&server).await;

    // From the palette to the workspace, and a wire from the one to the other.
    let from = browser
        .middle("document.querySelector('#red-ui-palette .red-ui-palette-node[data-palette-type=\"debug\"]')")
        .await;
    let place = browser.middle(&drawn("start")).await;
    browser.drag(from, (place.0 + 300, place.1)).await;
    let added = browser.until("(RED.nodes.filterNodes({ type: 'debug' })[0] || {}).id").await;
    let added = added.as_str().unwrap().to_string();
    let port = browser
        .middle(&format!("{}.querySelector('.red-ui-flow-port-output .red-ui-flow-port')", drawn("start")))
        .await;
    let input =
        browser.middle(&format!("{}.querySelector('.red-ui-flow-port-input .red-ui-flow-port')", drawn(&added))).await;
    browser.drag(port, input).await;
    browser.until("RED.nodes.filterLinks({ source: { id: 'start' } }).length == 1").await;
    deploy(&browser).await;
    let stored = flows(&server).await;
    let inject = stored.iter().find(|node| node["id"] == "start").unwrap();
    assert_eq!(inject["wires"], json!([[added.as_str()]]));

    // Pressed, it runs; what it sent is in the sidebar.
    browser.run("RED.nodes.getType('inject').button.onclick.call(RED.nodes.node('start'))").await;
    let shown = browser.until("(document.querySelector('.red-ui-debug-msg-payload') || {}).innerText").await;
    assert!(shown.as_str().unwrap().contains("hello"), "{shown}");
    browser.picture("editor").await;

    // A form of ours: made from the node's properties, with help.
    browser
        .run(
            "RED.view.importNodes([{ id: 'daily', type: 'schedule', z: 'tab', name: '', cron: '0 6 * * *', \
        timeZone: '', catchUp: 'last', payload: '', payloadType: '', x: 220, y: 300, wires: [[]] }], \
        { generateIds: false, addFlow: false, touchImport: true })",
        )
        .await;
    browser.run("RED.editor.edit(RED.nodes.node('daily'))").await;
    let cron = browser.until("(document.querySelector('#node-input-cron') || {}).value").await;
    assert_eq!(cron, "0 6 * * *");
    browser
        .run(
            "const zone = document.querySelector('#node-input-timeZone'); zone.value = 'Europe/Madrid'; \
        zone.dispatchEvent(new Event('change'))",
        )
        .await;
    browser.picture("editor-form").await;
    browser.click("#node-dialog-ok").await;
    browser.until("RED.nodes.node('daily').timeZone == 'Europe/Madrid'").await;
    deploy(&browser).await;
    let stored = flows(&server).await;
    assert_eq!(stored.iter().find(|node| node["id"] == "daily").unwrap()["timeZone"], "Europe/Madrid");
    browser.end().await;
    server.terminate();
    assert_eq!(server.ended().0, Some(0));
}

#[tokio::test]
async fn whoever_deploys_over_anothers_change_is_asked() {
    if !is_built() {
        return;
    }
    let folder = Folder::new();
    let server = start(
        &folder,
        &json!([
            { "id": "tab", "type": "tab", "label": "A flow", "disabled": false, "info": "" },
            { "id": "start", "type": "comment", "z": "tab", "name": "first", "info": "", "x": 220, "y": 160, "wires": [] },
        ]),
    );
    let (one, other) = (open(&server).await, open(&server).await);
    let rename = |name: &str| {
        format!(
            "const node = RED.nodes.node('start'); node.name = '{name}'; node.changed = true; node.dirty = true; \
             RED.nodes.dirty(true); RED.view.redraw()"
        )
    };
    one.run(&rename("by one")).await;
    deploy(&one).await;
    // The other is told, and cannot overwrite it unasked.
    other
        .until("[...document.querySelectorAll('.red-ui-notification')].some(n => n.innerText.includes('updated'))")
        .await;
    other.run(&rename("by the other")).await;
    other.until("RED.nodes.dirty()").await;
    other.click("#red-ui-header-button-deploy").await;
    let asked = "[...document.querySelectorAll('.red-ui-notification')].map(n => n.innerText).find(t => /merge|review/i.test(t))";
    other.until(asked).await;
    other.picture("editor-conflict").await;
    let stored = flows(&server).await;
    assert_eq!(stored.iter().find(|node| node["id"] == "start").unwrap()["name"], "by one");
    one.end().await;
    other.end().await;
    server.terminate();
    server.ended();
}
