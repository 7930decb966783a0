//! The pages in a real Chromium at phone width: from an agreement to a verdict, its evidence and the run's trace.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use probity::plugin::limits::Limits;
use serde_json::{Value, json};

use crate::harness::server::{Server, Setup, client, tab, text};
use crate::orders;
use crate::plugins::rig::{self, Rig};

/// A browser session, by plain WebDriver calls.
struct Browser {
    session: String,
    client: reqwest::Client,
    profile: PathBuf,
    _driver: Driver,
}

/// Ends the driver (and with it the browser) however the test ends.
struct Driver(Child);

impl Drop for Driver {
    fn drop(&mut self) {
        self.0.kill().ok();
        self.0.wait().ok();
    }
}

impl Browser {
    async fn start(dark: bool) -> Browser {
        let mut driver = Command::new("chromedriver")
            .arg("--port=0")
            .stdout(Stdio::piped())
            .spawn()
            .expect("chromedriver is installed (Debian: chromium-driver)");
        let mut lines = BufReader::new(driver.stdout.take().unwrap()).lines().map_while(Result::ok);
        let driver = Driver(driver);
        let port = lines
            .find_map(|l| Some(l.split_once("started successfully on port ")?.1.trim_end_matches('.').to_string()))
            .expect("chromedriver says its port");
        // Read on: a full pipe would stop the driver.
        std::thread::spawn(move || lines.for_each(drop));
        let profile = std::env::temp_dir().join(format!("probity-browser-{}", uuid::Uuid::new_v4().simple()));
        std::fs::create_dir(&profile).unwrap();
        let mut arguments: Vec<String> = [
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-quic",
            "--disable-dev-shm-usage",
            "--no-first-run",
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-sync",
            "--hide-scrollbars",
            "--window-size=390,844",
        ]
        .map(String::from)
        .into();
        arguments.push(format!("--user-data-dir={}", profile.display()));
        if dark {
            arguments.push("--blink-settings=preferredColorScheme=0".into());
        }
        let options = json!({
            "args": arguments,
            // The window cannot be as narrow as a phone; the device can.
            "mobileEmulation": { "deviceMetrics": { "width": 390, "height": 844, "pixelRatio": 2.0, "touch": false } },
        });
        let wanted =
            json!({ "capabilities": { "alwaysMatch": { "browserName": "chrome", "goog:chromeOptions": options } } });
        let client = client();
        let base = format!("http://127.0.0.1:{port}/session");
        let answer = call(&client, &base, Some(wanted)).await;
        let session = format!("{base}/{}", answer["sessionId"].as_str().unwrap());
        Browser { session, client, profile, _driver: driver }
    }

    async fn post(&self, command: &str, body: Value) -> Value {
        call(&self.client, &format!("{}/{command}", self.session), Some(body)).await
    }

    async fn open(&self, address: &str) {
        self.post("url", json!({ "url": address })).await;
    }

    /// Clicks the first element that fits a CSS selector.
    async fn click(&self, selector: &str) {
        let element = self.post("element", json!({ "using": "css selector", "value": selector })).await;
        let id = element.as_object().unwrap().values().next().unwrap().as_str().unwrap().to_string();
        self.post(&format!("element/{id}/click"), json!({})).await;
    }

    async fn run(&self, script: &str) -> Value {
        self.post("execute/sync", json!({ "script": script, "args": [] })).await
    }

    /// Keeps a picture of the page for people to look at, and holds it to the width of a phone.
    async fn look(&self, name: &str) {
        let width = self.run("return document.documentElement.scrollWidth").await;
        assert!(width.as_f64().unwrap() <= 390.0, "{name} is {width} pixels wide");
        let picture = call(&self.client, &format!("{}/screenshot", self.session), None).await;
        let picture = STANDARD.decode(picture.as_str().unwrap()).unwrap();
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("pages");
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(folder.join(format!("{name}.png")), picture).unwrap();
    }

    async fn title(&self) -> String {
        self.run("return document.querySelector('h1').innerText").await.as_str().unwrap().to_string()
    }

    async fn end(self) {
        self.client.delete(&self.session).send().await.unwrap();
        std::fs::remove_dir_all(&self.profile).ok();
    }
}

async fn call(client: &reqwest::Client, address: &str, body: Option<Value>) -> Value {
    let request = match &body {
        Some(body) => client.post(address).body(text(body)),
        None => client.get(address),
    };
    let answer = request.send().await.unwrap().text().await.unwrap();
    let answer: Value = serde_json::from_str(&answer).unwrap();
    assert!(answer["value"].get("error").is_none(), "{address}: {answer}");
    answer["value"].clone()
}

async fn server() -> Server {
    let mut flows = tab("approvals", "get", "/approved", "echo");
    flows.extend(tab("payments", "post", "/paid", "no-such-type"));
    let server = Server::start(Setup { flows, agreements: orders::agreements(), ..Setup::default() }).await;
    orders::seed(&*server.store).await;
    server.get("/approved").await;
    server
}

#[tokio::test]
async fn from_an_agreement_to_the_evidence_and_the_trace_on_a_phone() {
    let (server, browser) = (server().await, Browser::start(false).await);
    browser.open(&server.url("/probity/")).await;
    browser.look("agreements").await;
    browser.click("main h2 a").await;
    assert_eq!(browser.title().await, "orders");
    browser.look("agreement").await;
    browser.click("a.bar.violated").await;
    assert!(browser.title().await.starts_with("APPROVED_BEFORE_PAYMENT"));
    browser.look("verdict").await;
    let shown = browser.run("return document.querySelector('#evidence pre').innerText").await;
    let evidence: Value = serde_json::from_str(shown.as_str().unwrap()).unwrap();
    assert_eq!(evidence["orders"][0]["order"], "PO-2026-0311");
    let reason = browser.run("return document.querySelector('.reason').innerText").await;
    assert!(reason.as_str().unwrap().contains("which is not >= 95"), "{reason}");
    browser.click("#run").await;
    browser.look("run").await;
    let steps = browser.run("return [...document.querySelectorAll('#trace strong')].map(e => e.innerText)").await;
    assert_eq!(steps, json!(["queries", "metric", "verdicts"]));
    browser.end().await;
}

#[tokio::test]
async fn every_page_fits_a_phone_loads_nothing_foreign_and_names_its_bars() {
    let (server, browser) = (server().await, Browser::start(true).await);
    for (name, path) in [
        ("dark-agreements", "/probity/"),
        ("dark-verdicts", "/probity/verdicts?verdict=violated&limit=5"),
        ("dark-runs", "/probity/runs?limit=5"),
        ("dark-flows", "/probity/flows"),
        ("dark-schedules", "/probity/schedules"),
        ("dark-missing", "/probity/runs/0190a000-0000-7000-8000-000000000000"),
        ("dark-front", "/"),
    ] {
        browser.open(&server.url(path)).await;
        browser.look(name).await;
        let loaded = browser.run("return performance.getEntriesByType('resource').map(e => e.name)").await;
        let own = server.url("/");
        assert!(loaded.as_array().unwrap().iter().all(|l| l.as_str().unwrap().starts_with(&own)), "{loaded}");
        let styled = browser.run("return getComputedStyle(document.querySelector('main')).maxWidth").await;
        assert_eq!(styled, "900px", "{name}: the policy lets our style in");
    }
    browser.open(&server.url("/probity/")).await;
    let unnamed = browser.run("return [...document.querySelectorAll('.bar')].filter(b => !b.ariaLabel).length").await;
    let bars = browser.run("return document.querySelectorAll('.bar').length").await;
    assert_eq!((unnamed, bars), (json!(0), json!(5 * orders::DAYS)));
    browser.end().await;
}

/// Whoever is woken at night sees first what is in quarantine, then what each plugin may do and what it cost.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn plugins_show_their_grants_their_cost_and_what_stopped_them() {
    let rig = Rig::new(Limits { stops_max: 1, ..Limits::default() });
    rig.load(rig::package("stack", "", rig::granted(&[]))).await.unwrap();
    let asks = "[[capability]]\nname = \"clock\"\nreason = \"tells the time\"\n";
    rig.load(rig::package("clock", asks, rig::granted(&[]))).await.unwrap();
    rig.load(rig::package("pass", "", rig::granted(&["evidence"]))).await.unwrap();
    rig.plugins.set_unused(vec![rig::manifest("asleep", "nodes = [\"guest-asleep\"]")]);
    let nodes = ["stack", "clock", "pass"].map(|n| json!({"id": n, "type": format!("guest-{n}")}));
    let flow = rig.deploy(nodes.to_vec().into());
    for node in ["stack", "clock", "pass", "pass"] {
        rig.send(&flow, node, rig::msg("x")).await;
    }
    let server = Server::start(Setup { plugins: Some(rig.plugins.clone()), ..Setup::default() }).await;
    let browser = Browser::start(false).await;
    browser.open(&server.url("/probity/plugins")).await;
    browser.look("plugins").await;
    let text = "return [...document.querySelectorAll('article')].map(e => e.innerText)";
    let cards = browser.run(text).await;
    let card = |name: &str| {
        let found = cards.as_array().unwrap().iter().filter_map(Value::as_str).find(|t| t.starts_with(name));
        found.unwrap_or_else(|| panic!("{name} is not there: {cards}")).to_string()
    };
    assert!(card("stack").contains("guest-stack is in quarantine"), "{cards}");
    assert!(card("pass").contains("2 (0 failed)") && card("pass").contains("evidence"), "{cards}");
    assert!(card("asleep").contains("no flow has one of its nodes"), "{cards}");
    browser.click("a[href='/probity/plugins/clock']").await;
    browser.look("plugin").await;
    assert_eq!(browser.title().await, "clock 1.0.0");
    let shown = browser.run("return document.querySelector('main').innerText").await;
    for part in ["tells the time", "not granted", "To allow it: probity plugin grant clock clock"] {
        assert!(shown.as_str().unwrap().contains(part), "{part}: {shown}");
    }
    browser.end().await;
}
