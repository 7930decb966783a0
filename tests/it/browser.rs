//! The pages in a real Chromium at phone width: from an agreement to a verdict, its evidence and the run's trace.

use probity::plugin::limits::Limits;
use serde_json::{Value, json};

use crate::harness::browser::Browser;
use crate::harness::server::{Server, Setup, tab};
use crate::orders;
use crate::plugins::rig::{self, Rig};

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
    let (server, browser) = (server().await, Browser::phone(false).await);
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
    let (server, browser) = (server().await, Browser::phone(true).await);
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
    let browser = Browser::phone(false).await;
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
