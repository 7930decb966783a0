//! Dispatch by NATS over a real NATS and a real Postgres: whatever happens to NATS, every run that was accepted is done
//! once. Asked in SQL.

mod processes;
mod secured;

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use probity::clock::Clock;
use probity::dispatch::{Acceptor, Asked, Dispatcher, JetStream, JetStreamOptions, Local, Options, Plans, Worker};
use probity::model::flow::{Plan, PlanFlow, PlanNode};
use probity::model::node_spec::NodeSpec;
use probity::model::run::Trigger;
use probity::model::{Diagnostic, Msg, RunId, Value};
use probity::runtime::opening::Start;
use probity::runtime::snapshot::write_start;
use probity::runtime::{Catalogue, Cx, Engine, Event, Limits, Node, NodeConfig, NodeType, Services, Step};
use probity::store::queue::{Accepted, NewRun, Priority};
use probity::store::{Store, StoreOptions, open};
use sqlx::{Connection, PgConnection};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::harness::nats::{Nats, Way};
use crate::harness::postgres;
use crate::serve::until;

/// Says which run it is in.
struct Names;

impl Node for Names {
    fn on_msg(&self, mut msg: Msg, cx: &mut Cx<'_>) -> Step {
        msg.set("run", cx.run_id().to_string());
        cx.emit(0, msg);
        Step::Done
    }
}

static NAMES: NodeSpec = NodeSpec {
    node_type: "names",
    category: "test",
    summary: "",
    inputs: 1,
    outputs: Some(1),
    config_node: false,
    properties: &[],
    capabilities: &[],
};

fn plan() -> Plan {
    let node = PlanNode {
        id: "in".into(),
        node_type: "names".into(),
        name: Default::default(),
        flow: 0,
        instance: None,
        context: "tab".into(),
        parents: Default::default(),
        config: Default::default(),
        env: Default::default(),
        wires: vec![Vec::new()],
        catch: Vec::new(),
        status: Vec::new(),
        complete: Vec::new(),
        links: Vec::new(),
        entry: 0,
    };
    let flow = PlanFlow { id: "tab".into(), label: "tab".into(), ..PlanFlow::default() };
    Plan { nodes: vec![node], flows: vec![flow], version: "v1".into(), ..Plan::default() }
}

/// One database, one NATS, and how often each run came to its end.
struct Site {
    url: String,
    nats: Nats,
    ran: Arc<Mutex<HashMap<String, usize>>>,
    accepted: Mutex<Vec<RunId>>,
}

/// What one process has of it.
struct Process {
    acceptor: Arc<Acceptor>,
    dispatcher: Arc<JetStream>,
    stop: watch::Sender<bool>,
    loops: Vec<JoinHandle<()>>,
}

async fn stopped(mut stop: watch::Receiver<bool>) {
    // A dropped sender stops, too.
    let _ = stop.wait_for(|stop| *stop).await.is_ok();
}

impl Process {
    /// Accepts, and with `works` also runs; reaches NATS at this port.
    async fn start(site: &Site, port: u16, works: bool) -> Process {
        let store: Arc<dyn Store> = open(&site.url, &StoreOptions::default()).await.unwrap();
        store.migrate().await.unwrap();
        // Nobody loses a lease because the machine is busy: what is run twice here was dispatched twice.
        let options = Options { lease_ms: 300_000, poll_ms_max: 100, parallel_max: 50, ..Options::default() };
        let nats = JetStreamOptions {
            url: format!("nats://127.0.0.1:{port}"),
            user: "probity".into(),
            password: "for-tests".into(),
            credentials: None,
            authority: None,
            stream: "runs".into(),
            replicas: 1,
            ack_ms: 2_000,
            sweep_ms: 100,
        };
        let dispatcher = Arc::new(JetStream::new(nats, store.clone(), Clock::System, &options));
        let owner = RunId::fresh().to_string();
        let acceptor = Acceptor::telling(store.clone(), Clock::System, options.clone(), owner, dispatcher.clone());
        let stop = watch::Sender::new(false);
        let mut loops = Vec::new();
        if works {
            let mut services = Services::new(Clock::System, Limits::default(), Default::default());
            let ran = site.ran.clone();
            services.observer = Some(Arc::new(move |_: RunId, event| {
                if let Event::Output { msg, .. } = event {
                    let run = msg.get("run").unwrap_or(&Value::Undefined).to_js_string().to_string();
                    *ran.lock().unwrap().entry(run).or_default() += 1;
                }
            }));
            type Build = fn(&NodeConfig<'_>) -> Result<Arc<dyn Node>, Vec<Diagnostic>>;
            let build: Build = |_| Ok(Arc::new(Names));
            let engine = Engine::new(Arc::new(services), Catalogue::new(&[NodeType { spec: &NAMES, build }]));
            engine.deploy(plan());
            let worker = Worker::new(store, acceptor.clone(), Arc::new(Plans::new(engine, None)), options);
            loops.push(tokio::spawn(worker.run(Duration::ZERO, stopped(stop.subscribe()))));
        }
        let (accepting, over) = (acceptor.clone(), stopped(stop.subscribe()));
        loops.push(tokio::spawn(async move { accepting.run(over).await }));
        let told: Arc<dyn Dispatcher> = dispatcher.clone();
        loops.push(tokio::spawn(told.run(works, Box::pin(stopped(stop.subscribe())))));
        Process { acceptor, dispatcher, stop, loops }
    }

    /// Accepts so many, none of which is run here at once.
    async fn accept(&self, site: &Site, n: usize) {
        let one = |at: usize| async move {
            let msg = Msg::with_payload("x");
            let run = NewRun {
                id: RunId::fresh(),
                flow: "tab".into(),
                node: "in".into(),
                flow_version: "v1".into(),
                trigger: Trigger::Manual { by: "test".into() },
                msg: write_start(Start::Deliver, &msg),
                reply: false,
                priority: Priority::ALL[at % 3],
                tenant: String::new(),
                delay_ms: 0,
                dedup: None,
                lease_ms: None,
            };
            let id = run.id;
            let local = Local { start: Start::Deliver, msg, reply: None };
            let accepted = self.acceptor.accept(Asked { run, local }).await.unwrap();
            assert_eq!(accepted, Accepted::Queued);
            id
        };
        let ids = futures_util::future::join_all((0..n).map(one)).await;
        site.accepted.lock().unwrap().extend(ids);
    }

    fn tally(&self, name: &str) -> u64 {
        self.dispatcher.tallies().iter().find(|(one, _)| *one == name).unwrap().1
    }

    fn is_up(&self) -> bool {
        self.dispatcher.standing().fallback.is_none()
    }

    async fn up(&self) {
        until("NATS dispatches", async || self.is_up()).await;
    }

    async fn end(mut self) {
        self.stop.send_replace(true);
        for task in std::mem::take(&mut self.loops) {
            task.await.unwrap();
        }
    }
}

impl Site {
    /// None where there is no NATS.
    async fn new() -> Option<Site> {
        let nats = Nats::start().await?;
        let url = postgres::database().await;
        Some(Site { url, nats, ran: Arc::default(), accepted: Mutex::default() })
    }

    async fn number(&self, sql: &'static str) -> i64 {
        let mut connection = PgConnection::connect(&self.url).await.unwrap();
        sqlx::query_scalar(sql).fetch_one(&mut connection).await.unwrap()
    }

    /// Waits until nothing is left, then looks at what must hold.
    async fn all_done(&self, when: &str) {
        let accepted = self.accepted.lock().unwrap().clone();
        let all = accepted.len() as i64;
        let mut connection = PgConnection::connect(&self.url).await.unwrap();
        until(when, async || {
            let left = sqlx::query_scalar::<_, i64>("SELECT count(*) FROM probity.queue");
            left.fetch_one(&mut connection).await.unwrap() == 0
        })
        .await;
        assert_eq!(self.number("SELECT count(*) FROM probity.run WHERE state = 'done'").await, all, "{when}");
        assert_eq!(self.number("SELECT count(*) FROM probity.run").await, all, "{when}");
        let ran = self.ran.lock().unwrap();
        let doubled: Vec<_> = ran.iter().filter(|(_, times)| **times != 1).collect();
        assert!(doubled.is_empty(), "{when}: {doubled:?}");
        assert!(accepted.iter().all(|id| ran.contains_key(&id.to_string())) && ran.len() == accepted.len(), "{when}");
    }
}

async fn end(processes: impl IntoIterator<Item = Process>) {
    for process in processes {
        process.end().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_one_accepts_others_are_told_of_by_nats() {
    let Some(site) = Site::new().await else { return };
    let api = Process::start(&site, site.nats.port, false).await;
    let workers =
        [Process::start(&site, site.nats.port, true).await, Process::start(&site, site.nats.port, true).await];
    for process in workers.iter().chain([&api]) {
        process.up().await;
    }
    api.accept(&site, 300).await;
    site.all_done("all are done").await;
    named_again(&site, &api, &workers).await;
    site.all_done("and those, too").await;
    end(workers.into_iter().chain([api])).await;
}

/// Accepts runs until a name comes to a worker by NATS.
async fn named_again(site: &Site, api: &Process, workers: &[Process]) {
    let delivered = || workers.iter().map(|worker| worker.tally("delivered")).sum::<u64>();
    let before = delivered();
    until("names come by NATS", async || {
        api.accept(site, 10).await;
        delivered() > before
    })
    .await;
}

/// Dies with names under way, dies while workers work, is away while runs are accepted, and comes back.
async fn killed(forget: bool) {
    let Some(mut site) = Site::new().await else { return };
    let port = site.nats.port;
    let api = Process::start(&site, port, false).await;
    api.up().await;
    api.accept(&site, 150).await;
    until("all are published", async || api.tally("published") + api.tally("unpublished") == 150).await;
    site.nats.kill();
    if forget {
        site.nats.forget();
    }
    site.nats.restart().await;
    let workers = [Process::start(&site, port, true).await, Process::start(&site, port, true).await];
    for process in workers.iter().chain([&api]) {
        process.up().await;
    }
    api.accept(&site, 150).await;
    site.nats.kill();
    until("both have noticed", async || !workers.iter().any(Process::is_up) && !api.is_up()).await;
    api.accept(&site, 100).await;
    site.all_done("without NATS").await;
    if forget {
        site.nats.forget();
    }
    site.nats.restart().await;
    for process in workers.iter().chain([&api]) {
        process.up().await;
    }
    named_again(&site, &api, &workers).await;
    api.accept(&site, 100).await;
    site.all_done("when it is back").await;
    assert!(workers[0].tally("fallbacks") >= 1);
    end(workers.into_iter().chain([api])).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nats_killed_midway_costs_no_run() {
    killed(false).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nats_killed_midway_with_all_its_data_costs_no_run() {
    killed(true).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn repeated_late_and_senseless_names_change_nothing() {
    let Some(site) = Site::new().await else { return };
    let api = Process::start(&site, site.nats.port, false).await;
    api.up().await;
    api.accept(&site, 100).await;
    let ids: Vec<RunId> = site.accepted.lock().unwrap().clone();
    let options = async_nats::ConnectOptions::new().user_and_password("probity".into(), "for-tests".into());
    let stream = async_nats::jetstream::new(options.connect(site.nats.url()).await.unwrap());
    // Backwards, of another class, twice, of epochs that are past or to come, of runs that there are not, and no names.
    let senseless = async |times: usize| {
        for _ in 0..times {
            for id in ids.iter().rev() {
                for attempt in [0, 1, 7, -1] {
                    let name = format!(r#"{{"run":"{id}","attempt":{attempt}}}"#);
                    stream.publish("runs.bulk", name.into()).await.unwrap();
                }
            }
            let unknown = format!(r#"{{"run":"{}","attempt":0}}"#, RunId::fresh());
            for other in [unknown.as_str(), "", "{}", "\0\u{1F600}"] {
                stream.publish("runs.interactive", other.to_owned().into()).await.unwrap();
            }
        }
    };
    senseless(2).await;
    let workers =
        [Process::start(&site, site.nats.port, true).await, Process::start(&site, site.nats.port, true).await];
    site.all_done("all are done").await;
    senseless(1).await;
    until("nothing is left in the stream", async || {
        stream.get_stream("runs").await.unwrap().cached_info().state.messages == 0
    })
    .await;
    site.all_done("still").await;
    assert!(workers.iter().map(|worker| worker.tally("stale")).sum::<u64>() > 0);
    end(workers.into_iter().chain([api])).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn workers_cut_off_from_nats_go_on_and_come_back() {
    let Some(site) = Site::new().await else { return };
    let way = Way::to(site.nats.port).await;
    let api = Process::start(&site, site.nats.port, false).await;
    let worker = Process::start(&site, way.port, true).await;
    api.up().await;
    worker.up().await;
    api.accept(&site, 50).await;
    way.cut(true);
    // Some were named to a worker that does not hear it, or whose acknowledgement does not arrive.
    api.accept(&site, 100).await;
    until("it is noticed", async || !worker.is_up()).await;
    site.all_done("cut off").await;
    api.up().await;
    way.cut(false);
    worker.up().await;
    api.accept(&site, 100).await;
    site.all_done("together again").await;
    end([worker, api]).await;
}
