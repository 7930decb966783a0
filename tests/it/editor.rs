//! The stock editor in a real Chromium, on the program itself behind the real proxy of `deploy/nginx` under `/node-red/`,
//! by a user who logs in: everything is done with mouse and keyboard. Skipped, visibly, where the build could not fetch
//! the editor or there is no nginx; what needs function nodes, where the JavaScript component is not built.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::harness::browser::Browser;
use crate::harness::nginx::{self, Nginx};
use crate::serve::{Folder, Server, probity};

/// Set it to make a build without the editor a failure.
const REQUIRED: &str = "PROBITY_TEST_REQUIRE_EDITOR";

const USER: &str = "ana";
const PASSWORD: &str = "correct horse";
/// bcrypt of [`PASSWORD`], cost 4: a test's own.
const HASH: &str = "$2b$04$31A76MEl6WtIhMATDr1f/.MrbKT3fxcJTaysuXk0SucvK1dGsImUa";

#[expect(clippy::disallowed_methods, reason = "tests have no config")]
fn is_built() -> bool {
    let built = probity::api::editor::is_there();
    if !built {
        assert!(std::env::var_os(REQUIRED).is_none(), "this build has no editor: npm's registry could not be reached");
        eprintln!("skipped: this build has no editor");
    }
    built
}

/// Has the component of function nodes compiled, once, into the folder that the servers find it in: in a debug build on a
/// busy machine that takes longer than anybody waits for a deploy.
fn compile_functions() {
    static COMPILED: std::sync::Once = std::sync::Once::new();
    COMPILED.call_once(|| {
        if let Some(functions) = crate::functions::functions(Default::default()) {
            functions.prepare().unwrap();
        }
    });
}

/// A server behind the proxy.
struct Site {
    server: Server,
    _nginx: Nginx,
    /// The editor's address in the browser.
    address: String,
    folder: Folder,
}

impl Site {
    /// `None`, said aloud, where something that it needs is not there.
    async fn start(flows: &Value) -> Option<Site> {
        let binary = nginx::binary().filter(|_| is_built())?;
        tokio::task::spawn_blocking(compile_functions).await.unwrap();
        let folder = Folder::new();
        let flows = folder.write("flows.json", flows);
        let user = json!({ "username": USER, "password": HASH, "permissions": "*" });
        let settings = format!("module.exports = {{ adminAuth: {{ type: \"credentials\", users: [{user}] }} }};");
        std::fs::write(folder.0.join("settings.js"), settings).unwrap();
        // Compiled components are kept over tests.
        let cache = concat!(env!("CARGO_MANIFEST_DIR"), "/target/test-plugin-cache");
        std::fs::create_dir_all(cache).unwrap();
        std::os::unix::fs::symlink(cache, folder.0.join("plugin-cache")).unwrap();
        let mut command = probity();
        command.args(["serve", "--listen", "127.0.0.1:0", "--database-url", "memory:", "--flows"]).arg(flows);
        let server = Server::start(command.arg("--data-dir").arg(&folder.0));
        let own = server.base.strip_prefix("http://").unwrap().to_string();
        let servers: BTreeMap<&str, Vec<String>> =
            ["status-frontend", "status-backend", "nodered", "grafana"].map(|name| (name, vec![own.clone()])).into();
        let nginx = nginx::start(binary, &servers);
        let address = format!("http://{}/node-red/", nginx.port().await);
        Some(Site { server, _nginx: nginx, address, folder })
    }

    /// A browser in which the user has logged in and all nodes are drawn.
    async fn log_in(&self) -> Browser {
        let browser = Browser::desk().await;
        browser.open(&self.address).await;
        browser.press("document.getElementById('node-dialog-login-username')").await;
        browser.types(USER).await;
        browser.press("document.getElementById('node-dialog-login-password')").await;
        browser.types(PASSWORD).await;
        browser.press("document.getElementById('node-dialog-login-submit')").await;
        browser
            .until("RED.nodes.getType('inject') && RED.nodes.node('start') && document.getElementById('start')")
            .await;
        browser
    }

    /// The flows as they are saved.
    fn saved(&self) -> Vec<Value> {
        serde_json::from_str(&std::fs::read_to_string(self.folder.0.join("flows.json")).unwrap()).unwrap()
    }

    fn saved_node(&self, id: &str) -> Value {
        self.saved().into_iter().find(|node| node["id"] == id).unwrap_or_else(|| panic!("{id} is not saved"))
    }

    fn stop(self) {
        self.server.terminate();
        assert_eq!(self.server.ended().0, Some(0));
    }
}

/// A node of the workspace by its id, as an expression.
fn drawn(id: &str) -> String {
    format!("document.getElementById('{id}')")
}

fn part(id: &str, selector: &str) -> String {
    format!("({} || document).querySelector('{selector}')", drawn(id))
}

const PRESSED: &str = ".red-ui-flow-node-button-button";

async fn deploy(browser: &Browser) {
    browser.until("RED.nodes.dirty()").await;
    let button = drawn("red-ui-header-button-deploy");
    browser.press(&button).await;
    // When the code editor has had the time to find fault with a function, the user is asked.
    let confirm = drawn("red-ui-deploy-dialog-confirm-deploy-deploy");
    browser.until(&format!("!RED.nodes.dirty() || {confirm}?.offsetParent")).await;
    if browser.run("return RED.nodes.dirty()").await == json!(true) {
        browser.press(&confirm).await;
    }
    browser.until("!RED.nodes.dirty()").await;
}

/// Takes a node from the palette; gives its id.
async fn take(browser: &Browser, node_type: &str, to: (i64, i64)) -> String {
    let entry =
        format!("document.querySelector('#red-ui-palette .red-ui-palette-node[data-palette-type=\"{node_type}\"]')");
    browser.until(&format!("({entry}.scrollIntoView(), true)")).await;
    let from = browser.middle(&entry).await;
    browser.drag(from, to).await;
    let added = browser.until(&format!("(RED.nodes.filterNodes({{ type: '{node_type}' }})[0] || {{}}).id")).await;
    added.as_str().unwrap().to_string()
}

/// Draws a wire from one node's output to another's input.
async fn wire(browser: &Browser, from: &str, to: &str) {
    let output = browser.middle(&part(from, ".red-ui-flow-port-output .red-ui-flow-port")).await;
    let input = browser.middle(&part(to, ".red-ui-flow-port-input .red-ui-flow-port")).await;
    browser.drag(output, input).await;
    let wired =
        format!("RED.nodes.filterLinks({{ source: {{ id: '{from}' }}, target: {{ id: '{to}' }} }}).length == 1");
    browser.until(&wired).await;
}

/// Waits for a line of the debug sidebar that has this in it.
async fn debugged(browser: &Browser, text: &str) -> String {
    let lines = "[...document.querySelectorAll('.red-ui-debug-msg-payload')].map(line => line.innerText)";
    let shown = browser.until(&format!("{lines}.find(line => line.includes('{text}'))")).await;
    shown.as_str().unwrap().to_string()
}

fn inject(id: &str, x: i32, y: i32, wires: &Value) -> Value {
    json!({ "id": id, "type": "inject", "z": "tab", "name": "press me", "props": [{ "p": "payload" }], "repeat": "",
            "crontab": "", "once": false, "onceDelay": 0.1, "topic": "", "payload": "hello", "payloadType": "str",
            "x": x, "y": y, "wires": wires })
}

fn tab() -> Value {
    json!({ "id": "tab", "type": "tab", "label": "A flow", "disabled": false, "info": "" })
}

fn debug(id: &str, x: i32, y: i32) -> Value {
    json!({ "id": id, "type": "debug", "z": "tab", "name": "", "active": true, "tosidebar": true, "console": false,
            "tostatus": false, "complete": "payload", "targetType": "msg", "statusVal": "", "statusType": "auto",
            "x": x, "y": y, "wires": [] })
}

#[tokio::test]
async fn a_flow_is_drawn_deployed_and_seen_to_run() {
    let Some(site) = Site::start(&json!([tab(), inject("start", 220, 160, &json!([[]]))])).await else { return };
    let browser = site.log_in().await;

    // From the palette to the workspace, and a wire from the one to the other.
    let place = browser.middle(&drawn("start")).await;
    let added = take(&browser, "debug", (place.0 + 300, place.1)).await;
    wire(&browser, "start", &added).await;
    deploy(&browser).await;
    assert_eq!(site.saved_node("start")["wires"], json!([[added.as_str()]]));

    // Pressed, it runs; what it sent is in the sidebar.
    browser.press(&part("start", PRESSED)).await;
    debugged(&browser, "hello").await;
    browser.picture("editor").await;

    // A form of ours: made from the node's properties, with help.
    let daily = take(&browser, "schedule", (place.0, place.1 + 120)).await;
    browser.press_twice(&part(&daily, "rect.red-ui-flow-node")).await;
    for (field, text) in [("cron", "0 6 * * *"), ("timeZone", "Europe/Madrid")] {
        browser.press(&drawn(&format!("node-input-{field}"))).await;
        browser.control('a').await;
        browser.types(text).await;
    }
    browser.picture("editor-form").await;
    browser.press(&drawn("node-dialog-ok")).await;
    browser.until(&format!("RED.nodes.node('{daily}').timeZone == 'Europe/Madrid'")).await;
    browser.until("!document.querySelector('.red-ui-tray')").await;
    deploy(&browser).await;
    let saved = site.saved_node(&daily);
    assert_eq!((&saved["cron"], &saved["timeZone"]), (&json!("0 6 * * *"), &json!("Europe/Madrid")));
    browser.end().await;
    site.stop();
}

#[tokio::test]
async fn a_function_is_edited_and_its_error_names_the_line() {
    if crate::functions::component().is_none() {
        return;
    }
    let code = json!({ "id": "code", "type": "function", "z": "tab", "name": "code", "func": "return msg;", "outputs": 1,
                       "timeout": 0, "noerr": 0, "initialize": "", "finalize": "", "libs": [], "x": 420, "y": 160,
                       "wires": [["seen"]] });
    let flows = json!([tab(), inject("start", 220, 160, &json!([["code"]])), code, debug("seen", 640, 160)]);
    let Some(site) = Site::start(&flows).await else { return };
    let browser = site.log_in().await;
    browser.press(&part("start", PRESSED)).await;
    debugged(&browser, "hello").await;
    browser.press_twice(&part("code", "rect.red-ui-flow-node")).await;
    browser.press("document.querySelector('#node-input-func-editor .monaco-editor .view-lines')").await;
    browser.control('a').await;
    browser.types("const n = 1;\nreturn missing + n;").await;
    browser.picture("editor-function").await;
    browser.press(&drawn("node-dialog-ok")).await;
    browser.until("RED.nodes.node('code').func == 'const n = 1;\\nreturn missing + n;'").await;
    browser.until("!document.querySelector('.red-ui-tray')").await;
    deploy(&browser).await;
    browser.press(&part("start", PRESSED)).await;
    let error = debugged(&browser, "missing").await;
    assert!(error.contains("ReferenceError: missing is not defined (line 2, col 8)"), "{error}");
    browser.picture("editor-error").await;
    browser.end().await;
    site.stop();
}

#[tokio::test]
async fn a_subflow_is_opened_and_flows_go_out_and_come_in() {
    let flows = json!([
        tab(),
        { "id": "sub", "type": "subflow", "name": "Shout", "info": "", "category": "",
          "in": [{ "x": 60, "y": 80, "wires": [{ "id": "loud" }] }],
          "out": [{ "x": 420, "y": 80, "wires": [{ "id": "loud", "port": 0 }] }], "env": [], "meta": {}, "color": "#DDAA99" },
        { "id": "loud", "type": "change", "z": "sub", "name": "louder", "x": 240, "y": 80, "wires": [[]],
          "rules": [{ "t": "set", "p": "payload", "pt": "msg", "to": "$uppercase(payload)", "tot": "jsonata" }] },
        inject("start", 220, 160, &json!([["shouts"]])),
        { "id": "shouts", "type": "subflow:sub", "z": "tab", "name": "", "env": [], "x": 420, "y": 160, "wires": [["seen"]] },
        debug("seen", 640, 160),
    ]);
    let Some(site) = Site::start(&flows).await else { return };
    let browser = site.log_in().await;
    browser.press(&part("start", PRESSED)).await;
    debugged(&browser, "HELLO").await;

    let entry = "document.querySelector('#red-ui-palette .red-ui-palette-node[data-palette-type=\"subflow:sub\"]')";
    browser.until(&format!("({entry}.scrollIntoView(), true)")).await;
    // Between two presses the palette may move, when nodes of a plugin are added to it.
    browser.press_twice_until(entry, "RED.workspaces.active() == 'sub'").await;
    browser.until("document.getElementById('loud')").await;
    browser.picture("editor-subflow").await;
    browser.press("document.querySelector('#red-ui-workspace-tabs a[href=\"#tab\"]')").await;
    browser.until("RED.workspaces.active() == 'tab'").await;

    // Out: the whole tab, with the subflow it uses.
    browser.control('e').await;
    browser.press(&drawn("red-ui-clipboard-dialog-export-rng-flow")).await;
    let text = "document.getElementById('red-ui-clipboard-dialog-export-text').value";
    let out = browser.until(&format!("({text}.includes('louder') && {text})")).await;
    let out: Value = serde_json::from_str(out.as_str().unwrap()).unwrap();
    let ids: Vec<&str> = out.as_array().unwrap().iter().map(|node| node["id"].as_str().unwrap()).collect();
    for id in ["tab", "sub", "loud", "start", "shouts", "seen"] {
        assert!(ids.contains(&id), "{id} is not in {ids:?}");
    }
    browser.press(&drawn("red-ui-clipboard-dialog-cancel")).await;
    browser.until("!document.getElementById('red-ui-clipboard-dialog-export-text')?.offsetParent").await;

    // And in: a node that is put where the mouse says.
    browser.control('i').await;
    browser.press(&drawn("red-ui-clipboard-dialog-import-text")).await;
    browser.types("[{\"id\":\"in1\",\"type\":\"comment\",\"name\":\"brought in\",\"info\":\"\",\"x\":1,\"y\":1,\"wires\":[]}]").await;
    browser.until("!document.getElementById('red-ui-clipboard-dialog-ok').disabled").await;
    browser.press(&drawn("red-ui-clipboard-dialog-ok")).await;
    browser.until("!document.getElementById('red-ui-clipboard-dialog-import-text')?.offsetParent").await;
    let place = browser.middle(&drawn("start")).await;
    browser.press_at((place.0 + 60, place.1 + 200)).await;
    deploy(&browser).await;
    assert!(site.saved().iter().any(|node| node["name"] == "brought in" && node["z"] == "tab"));
    browser.picture("editor-import").await;
    browser.end().await;
    site.stop();
}

#[tokio::test]
async fn problems_show_on_nodes_before_anything_is_deployed() {
    let wrong = json!({ "id": "daily", "type": "schedule", "z": "tab", "name": "daily", "cron": "0 6 * * *",
                        "timeZone": "Europe/Madrid", "x": 420, "y": 160, "wires": [[]] });
    let Some(site) = Site::start(&json!([tab(), inject("start", 220, 160, &json!([[]])), wrong])).await else { return };
    let browser = site.log_in().await;
    let badge = part("daily", ".probity-problem:not(.hide) .probity-error");
    browser.until(&format!("{}?.__annotations__ && !{badge}", drawn("daily"))).await;
    browser.press_twice(&part("daily", "rect.red-ui-flow-node")).await;
    browser.press(&drawn("node-input-cron")).await;
    browser.control('a').await;
    browser.types("every morning").await;
    browser.press(&drawn("node-dialog-ok")).await;
    browser.until(&badge).await;
    // What is wrong stands in the panel, too.
    browser.run("RED.sidebar.show('probity-runs')").await;
    let row = "[...document.querySelectorAll('.probity-problem-row')].map(row => row.title).find(row => row.includes('every morning'))";
    browser.until(row).await;
    browser.picture("editor-problems").await;
    assert_eq!(site.saved_node("daily")["cron"], "0 6 * * *", "nothing was deployed");
    browser.end().await;
    site.stop();
}

/// The run that stands at a place of the panel's list, opened.
async fn open_run(browser: &Browser, at: usize) -> String {
    let item = format!("document.querySelectorAll('.probity-runs li[data-run]')[{at}]");
    let run = browser.until(&format!("{item}?.dataset.run")).await;
    let run = run.as_str().unwrap().to_string();
    browser.press(&format!("document.querySelector('li[data-run=\"{run}\"] .probity-row[aria-expanded]')")).await;
    browser.until(&format!("document.querySelector('li[data-run=\"{run}\"] .probity-step')")).await;
    run
}

#[tokio::test]
async fn a_run_is_saved_as_a_test_and_replayed_from_a_step() {
    let twice = json!({ "id": "twice", "type": "change", "z": "tab", "name": "twice", "rules": [
                          { "t": "set", "p": "payload", "pt": "msg", "to": "payload & payload", "tot": "jsonata" }],
                        "x": 420, "y": 160, "wires": [["seen"]] });
    let flows = json!([tab(), inject("start", 220, 160, &json!([["twice"]])), twice, debug("seen", 640, 160)]);
    let Some(site) = Site::start(&flows).await else { return };
    let browser = site.log_in().await;
    browser.press(&part("start", PRESSED)).await;
    debugged(&browser, "hellohello").await;
    browser.run("RED.sidebar.show('probity-runs')").await;
    let run = open_run(&browser, 0).await;
    browser.press(&format!("document.querySelector('li[data-run=\"{run}\"] .probity-record')")).await;
    let save = "[...document.querySelectorAll('.red-ui-notification button')].find(b => b.innerText == 'Save')";
    browser.until(save).await;
    browser.picture("editor-record").await;
    browser.press(save).await;
    let (name, recorded) = browser.saved().await;
    assert!(name.starts_with("flows.") && name.ends_with(".test.yaml"), "{name}");
    browser
        .press("[...document.querySelectorAll('.red-ui-notification button')].find(b => b.innerText == 'Close')")
        .await;

    // Saved beside the flows, it is a test that they pass, and do not when they do something else.
    let test = |flows: &str| {
        let folder = Folder::new();
        std::fs::write(folder.0.join("flows.json"), flows).unwrap();
        std::fs::write(folder.0.join(&name), &recorded).unwrap();
        let ran = probity().arg("test").arg(&folder.0).output().unwrap();
        (ran.status.code(), String::from_utf8_lossy(&ran.stdout).into_owned())
    };
    let (code, said) = test(&flows.to_string());
    assert_eq!(code, Some(0), "{said}\n{recorded}");
    let (code, said) = test(&flows.to_string().replace("payload & payload", "payload"));
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("hellohello"), "{said}");

    // From the second step on: what the inject node does is not done again, what is behind it is.
    let step = format!("document.querySelector('li[data-run=\"{run}\"] .probity-step[data-node=\"twice\"]')");
    browser.press(&step).await;
    let button = format!("{step}.nextElementSibling.querySelector('.probity-replay')");
    browser.until(&format!("{button}.offsetParent")).await;
    // What is unfolded stays so while other runs come.
    browser.press(&part("start", PRESSED)).await;
    let listed = "[...document.querySelectorAll('.probity-runs li[data-run]')].map(li => li.dataset.run)";
    browser.until(&format!("{listed}.length == 2")).await;
    let between = browser.run(&format!("return {listed}[0]")).await;
    assert_ne!(between, json!(run), "the newest run stands first");
    assert_eq!(browser.run(&format!("return !!{button}.offsetParent")).await, json!(true));
    // The panel is not as high as a run is long.
    browser.until(&format!("({button}.scrollIntoView({{ block: 'center' }}), true)")).await;
    browser.press(&button).await;
    let replayed = browser.until(&format!("{listed}.find(id => id != '{run}' && id != {between})")).await;
    let replayed = replayed.as_str().unwrap();
    let nodes = format!(
        "[...document.querySelectorAll('li[data-run=\"{replayed}\"] .probity-step')].map(step => step.dataset.node).join()"
    );
    browser.until(&format!("{nodes} == 'twice,seen'")).await;
    browser.picture("editor-replay").await;
    let lines =
        "[...document.querySelectorAll('.red-ui-debug-msg-payload')].filter(l => l.textContent.includes('hellohello'))";
    browser.until(&format!("{lines}.length == 3")).await;
    browser.end().await;
    site.stop();
}

/// Gives a comment another name, by its form.
async fn rename(browser: &Browser, name: &str) {
    browser.press_twice(&part("start", "rect.red-ui-flow-node")).await;
    browser.press(&drawn("node-input-name")).await;
    browser.control('a').await;
    browser.types(name).await;
    browser.press(&drawn("node-dialog-ok")).await;
    browser
        .until(&format!("RED.nodes.node('start').name == '{name}' && !document.querySelector('.red-ui-tray')"))
        .await;
}

#[tokio::test]
async fn whoever_deploys_over_anothers_change_is_asked() {
    let flows = json!([
        tab(),
        { "id": "start", "type": "comment", "z": "tab", "name": "first", "info": "", "x": 220, "y": 160, "wires": [] },
    ]);
    let Some(site) = Site::start(&flows).await else { return };
    let (one, other) = (site.log_in().await, site.log_in().await);
    rename(&one, "by one").await;
    deploy(&one).await;
    // The other is told, and cannot overwrite it unasked.
    other
        .until("[...document.querySelectorAll('.red-ui-notification')].some(n => n.innerText.includes('updated'))")
        .await;
    rename(&other, "by the other").await;
    other.press(&drawn("red-ui-header-button-deploy")).await;
    other.until(&format!("{}?.offsetParent", drawn("red-ui-deploy-dialog-confirm-deploy-overwrite"))).await;
    other.picture("editor-conflict").await;
    assert_eq!(site.saved_node("start")["name"], "by one");
    // Told to, it does.
    other.press(&drawn("red-ui-deploy-dialog-confirm-deploy-overwrite")).await;
    other.until("!RED.nodes.dirty()").await;
    assert_eq!(site.saved_node("start")["name"], "by the other");
    one.end().await;
    other.end().await;
    site.stop();
}
