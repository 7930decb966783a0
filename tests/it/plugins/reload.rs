//! Files of plugins and grants that change under a running engine: new runs get what is new, open ones end on what they
//! began with, and what is broken replaces nothing.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use probity::app;
use probity::clock::Clock;
use probity::config::Config;
use probity::deploy::{Flows, Parts, Place, Unheard};
use probity::model::RunId;
use probity::model::run::Trigger;
use probity::net::{Net, NetOptions};
use probity::plugin::capability::Capability;
use probity::plugin::desk::{Wanted, Who};
use probity::plugin::package::pack;
use probity::plugin::{Plugins, Report};
use probity::runtime::opening::{Opening, RunFuture, Start};
use probity::runtime::{Engine, Event, Services};
use serde_json::json;

use super::rig::{component, msg};

/// An engine that watches a folder of plugins, as `serve` does.
struct Watched {
    folder: tempfile::TempDir,
    config: Config,
    plugins: Arc<Plugins>,
    engine: Arc<Engine>,
    seen: Arc<Mutex<Vec<(RunId, Event)>>>,
    watch: tokio::task::JoinHandle<()>,
}

impl Drop for Watched {
    fn drop(&mut self) {
        self.watch.abort();
    }
}

/// The packed plugin `watched`, whose node is that of a fixture after `edit`; it asks for the clock.
fn packed(version: &str, fixture: &str, edit: impl FnOnce(String) -> String) -> Vec<u8> {
    let text = format!(
        "schema = 1\nname = \"watched\"\nversion = \"{version}\"\ncontract = \"1.1\"\nlicense = \"Apache-2.0\"\n\
         nodes = [\"guest-{fixture}\"]\ncomponent = \"watched.wasm\"\n\
         [[capability]]\nname = \"clock\"\nreason = \"asks the time\"\n"
    );
    pack(&text, &toml::from_str(&text).unwrap(), &component(fixture, edit), None)
}

/// `guest-pass`, whose messages leave by this port.
fn passing(version: &str, port: usize) -> Vec<u8> {
    packed(version, "pass", |text| {
        text.replace("(call $emit (i32.const 0)", &format!("(call $emit (i32.const {port})"))
    })
}

impl Watched {
    /// `node` and, before it, a request that is answered when the test says so.
    async fn start(plugin: &[u8], node_type: &str, url: &str) -> Watched {
        let folder = tempfile::tempdir().unwrap();
        let mut config = Config::defaults();
        config.data_dir = folder.path().join("data");
        config.plugins.dir = folder.path().join("given").display().to_string();
        config.plugins.watch_ms = 10;
        std::fs::create_dir_all(&config.plugins.dir).unwrap();
        std::fs::create_dir_all(&config.data_dir).unwrap();
        std::fs::write(Path::new(&config.plugins.dir).join("watched.wasm"), plugin).unwrap();
        let nodes = json!([
            {"id": "tab", "type": "tab", "label": "test"},
            {"id": "held", "type": "http request", "z": "tab", "x": 1, "y": 1, "method": "GET", "ret": "txt",
             "url": url, "wires": [["n"]]},
            {"id": "n", "type": node_type, "z": "tab", "x": 2, "y": 1, "wires": [[]]},
        ]);
        let (flows, problems) = probity::flow::load_value(nodes.as_array().unwrap().clone(), "test.json");
        assert!(problems.is_empty(), "{problems:#?}");
        let (net, clock) = (Arc::new(Net::new(NetOptions::default()).unwrap()), Clock::System);
        let (plugins, followed) = app::plugins::start_followed(&config, &net, &clock, &flows).await;
        let mut services = Services::new(clock, Default::default(), net);
        let seen: Arc<Mutex<Vec<(RunId, Event)>>> = Arc::default();
        let observed = seen.clone();
        services.observer = Some(Arc::new(move |run, event| observed.lock().unwrap().push((run, event))));
        let engine = Engine::new(Arc::new(services), app::plugins::catalogue(&plugins));
        let parts = Parts {
            engine: engine.clone(),
            place: Place {
                path: folder.path().join("flows.json"),
                pretty: true,
                read: Box::new(|| Err("unread".into())),
            },
            plan: {
                let engine = engine.clone();
                Box::new(move |file| app::plan(&engine, file))
            },
            needed: Box::new(|_| Box::pin(async {})),
            credentials: Default::default(),
            notices: Arc::new(Unheard),
            report: |_| {},
            revisions: None,
            stopped_mark: None,
        };
        let flows = Flows::start(parts, flows).await;
        assert!(engine.current().diagnostics.is_empty(), "{:#?}", engine.current().diagnostics);
        let following = app::plugins::Following::new(config.clone(), plugins.clone(), engine.clone(), followed);
        let watch = tokio::spawn(following.watch(flows));
        Watched { folder, config, plugins, engine, seen, watch }
    }

    fn path(&self) -> PathBuf {
        Path::new(&self.config.plugins.dir).join("watched.wasm")
    }

    /// Puts a file in the plugin's place, whole at once.
    fn replace(&self, bytes: &[u8]) {
        let beside = self.folder.path().join("new");
        std::fs::write(&beside, bytes).unwrap();
        std::fs::rename(beside, self.path()).unwrap();
    }

    fn report(&self) -> Report {
        self.plugins.report().into_iter().find(|r| r.name == "watched").expect("it is loaded")
    }

    fn open(&self, node: &str) -> (RunId, RunFuture) {
        let deployed = self.engine.current();
        let index = deployed.plan.nodes.iter().position(|n| n.id == node).unwrap() as u32;
        let trigger = Trigger::Manual { by: "test".into() };
        let opening = Opening { node: index, start: Start::Deliver, msg: msg("x"), trigger, reply: None };
        deployed.open(opening).unwrap()
    }

    /// The ports by which a run's messages left, and its errors.
    fn came_of(&self, run: RunId) -> (Vec<usize>, Vec<String>) {
        let (mut ports, mut errors) = (Vec::new(), Vec::new());
        self.seen.lock().unwrap().retain(|(of, event)| {
            match event {
                _ if *of != run => return true,
                Event::Output { port, .. } => ports.push(*port),
                Event::Error { message, .. } => errors.push(message.clone()),
                _ => {}
            }
            false
        });
        (ports, errors)
    }

    /// Sends a message straight to the node.
    async fn send(&self) -> (Vec<usize>, Vec<String>) {
        let (id, run) = self.open("n");
        run.await;
        self.came_of(id)
    }
}

/// Waits for something that comes about.
async fn until(what: &str, mut done: impl AsyncFnMut() -> bool) {
    let waiting = async {
        while !done().await {
            Clock::System.sleep(Duration::from_millis(2)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), waiting).await.unwrap_or_else(|_| panic!("{what}: not in a minute"));
}

/// A server that counts its callers and answers when it is told.
async fn gate() -> (String, Arc<tokio::sync::Semaphore>, Arc<std::sync::atomic::AtomicUsize>) {
    let (gate, asked) = (Arc::new(tokio::sync::Semaphore::new(0)), Arc::<std::sync::atomic::AtomicUsize>::default());
    let (opened, counted) = (gate.clone(), asked.clone());
    let app = axum::Router::new().fallback(async move || {
        counted.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
        opened.acquire().await.unwrap().forget();
        "answer"
    });
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
    (url, gate, asked)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn open_runs_end_on_the_old_version_new_ones_get_the_new_and_nothing_is_lost() {
    let (url, gate, asked) = gate().await;
    let engine = Watched::start(&passing("1.0.0", 0), "guest-pass", &url).await;
    assert_eq!(engine.send().await, (vec![0], vec![]));
    let held: Vec<(RunId, tokio::task::JoinHandle<_>)> =
        (0..20).map(|_| engine.open("held")).map(|(id, run)| (id, tokio::spawn(run))).collect();
    until("the runs are held", async || asked.load(std::sync::atomic::Ordering::SeqCst) == 20).await;

    engine.replace(&passing("2.0.0", 1));
    // Every message sent meanwhile goes out once, by the old version or the new, and never by the old again.
    let (mut by_old, mut by_new) = (0, 0);
    until("new runs get the new version", async || {
        let (ports, errors) = engine.send().await;
        match ports[..] {
            [0] if by_new == 0 => by_old += 1,
            [1] => by_new += 1,
            _ => panic!("{ports:?} {errors:?} after {by_old} by the old and {by_new} by the new version"),
        }
        assert!(errors.is_empty(), "{errors:?}");
        by_new >= 20
    })
    .await;
    assert_eq!(engine.report().version, "2.0.0");
    let late = engine.open("held");

    gate.add_permits(21);
    for (id, run) in held {
        run.await.unwrap();
        assert_eq!(engine.came_of(id), (vec![0], vec![]), "a run that was open ends on the version it began with");
    }
    let (id, run) = late;
    run.await;
    assert_eq!(engine.came_of(id), (vec![1], vec![]));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_changed_grant_is_swapped_in() {
    let plugin = packed("1.0.0", "clock", |text| text);
    let engine = Watched::start(&plugin, "guest-clock", "http://127.0.0.1:9/").await;
    let refused = |errors: &[String]| errors.iter().any(|e| e.contains("probity plugin grant watched clock"));
    let (_, errors) = engine.send().await;
    assert!(refused(&errors), "{errors:?}");
    let desk = app::admission::desk(&engine.config);
    let wanted = Wanted { capability: Some(Capability::Clock), ..Wanted::default() };
    let who = Who { by: "os:test".into(), at: Clock::System.now() };
    desk.grant("watched", &wanted, &who).unwrap();
    until("what was granted is allowed", async || engine.send().await.1.is_empty()).await;
    assert_eq!(engine.report().granted, ["clock"]);
    desk.revoke("watched", &wanted, &who).unwrap();
    until("what was revoked is refused", async || refused(&engine.send().await.1)).await;
    assert!(engine.report().granted.is_empty());
}

/// What was logged.
#[derive(Clone, Default)]
struct Logged(Arc<Mutex<Vec<u8>>>);

impl std::io::Write for Logged {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl Logged {
    /// Whether this was logged since it was asked last.
    fn says(&self, text: &str) -> bool {
        let mut logged = self.0.lock().unwrap();
        let found = String::from_utf8_lossy(&logged).contains(text);
        if found {
            logged.clear();
        }
        found
    }
}

// On one thread, so that what the watching task logs is seen.
#[tokio::test]
async fn a_broken_file_replaces_nothing_and_says_why() {
    let logged = Logged::default();
    let writer = logged.clone();
    let subscriber = tracing_subscriber::fmt().with_ansi(false).with_writer(move || writer.clone()).finish();
    let _logging = tracing::subscriber::set_default(subscriber);
    let engine = Watched::start(&passing("1.0.0", 0), "guest-pass", "http://127.0.0.1:9/").await;
    let whole = passing("2.0.0", 1);
    let stays = async |why: &str| {
        until(why, async || logged.says(why)).await;
        assert_eq!(engine.send().await, (vec![0], vec![]), "{why}");
        assert_eq!(engine.report().version, "1.0.0", "{why}");
    };
    // Half of a file, as whoever writes in place leaves it for a moment.
    engine.replace(&whole[..whole.len() / 2]);
    stays("stays as it is: what lies at").await;
    // A manifest that is none.
    engine.replace(&pack("schema = 1\n", &Default::default(), b"\0asm\x0d\0\x01\0", None));
    stays("missing-key").await;
    // A component that does not start.
    engine.replace(&packed("2.0.0", "pass", |text| {
        text.replace("(result i32) (i32.const 3000))", "(result i32) (unreachable))")
    }));
    stays("it panicked").await;
    engine.replace(&whole);
    until("the whole file is taken", async || engine.send().await == (vec![1], vec![])).await;
    std::fs::remove_file(engine.path()).unwrap();
    until("a plugin that is gone is taken away", async || logged.says("taken away")).await;
}
