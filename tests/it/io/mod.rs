//! Nodes that reach beyond their flow, against the real thing: brokers, databases, sockets.

mod datasources;
mod mqtt;
mod ports;
mod sockets;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use probity::clock::Clock;
use probity::flow;
use probity::model::run::Trigger;
use probity::model::{Msg, Object, Value};
use probity::net::{Net, NetOptions};
use probity::nodes::catalogue;
use probity::runtime::opening::{Opening, Start};
use probity::runtime::{Engine, Event, Limits, Services};

/// A deployed flow file, with what its nodes did written down.
pub struct Flows {
    pub engine: Arc<Engine>,
    events: Arc<Mutex<Vec<Event>>>,
}

impl Flows {
    pub fn deploy(text: &str) -> Flows {
        Flows::with(text, NetOptions::default(), |_| {})
    }

    pub fn with(text: &str, net: NetOptions, prepare: impl FnOnce(&mut Services)) -> Flows {
        let mut services = Services::new(Clock::System, Limits::default(), Arc::new(Net::new(net).unwrap()));
        let events: Arc<Mutex<Vec<Event>>> = Arc::default();
        let sink = events.clone();
        services.observer = Some(Arc::new(move |_, event| sink.lock().unwrap().push(event)));
        prepare(&mut services);
        let engine = Engine::new(Arc::new(services), catalogue());
        let flows = Flows { engine, events };
        flows.redeploy(text);
        flows
    }

    pub fn redeploy(&self, text: &str) {
        let known = catalogue();
        let (file, problems) = flow::load(text, "test.json");
        assert!(problems.is_empty(), "{problems:?}");
        let plan = flow::plan(&file, &|name| known.spec(name), &|_| None);
        let deployed = self.engine.deploy(plan);
        assert_eq!(deployed.diagnostics, []);
    }

    /// Hands a message to a node and waits for the end of its run; gives the error that nobody caught.
    pub async fn send(&self, node: &str, json: &str) -> Option<String> {
        let msg = Msg::from_object(serde_json::from_str::<Object>(json).unwrap());
        let deployed = self.engine.current();
        let node = deployed.plan.nodes.iter().position(|n| n.id == node).unwrap() as u32;
        let trigger = Trigger::Inject { node: "test".into() };
        let run = deployed.open(Opening { node, start: Start::Deliver, msg, trigger, reply: None }).unwrap().1;
        run.await.error.as_ref().map(|error| error.message.clone())
    }

    /// Messages that left a node by a port without wires, without their ids.
    pub fn out(&self, of: &str) -> Vec<Msg> {
        let events = self.events.lock().unwrap();
        let all = events.iter().filter_map(|event| match event {
            Event::Output { node, msg, .. } if node == of => {
                let mut msg = msg.clone();
                msg.remove("_msgid");
                Some(msg)
            }
            _ => None,
        });
        all.collect()
    }

    pub fn payloads(&self, of: &str) -> Vec<String> {
        self.out(of).iter().map(|msg| msg.payload().to_json()).collect()
    }

    pub fn statuses(&self, of: &str) -> Vec<String> {
        let events = self.events.lock().unwrap();
        let all = events.iter().filter_map(|event| match event {
            Event::Status { node, status } if node == of => Some(status.text.to_string()),
            _ => None,
        });
        all.collect()
    }

    /// Waits, in real time, for what real servers do.
    pub async fn until(&self, what: &str, mut there: impl FnMut(&Flows) -> bool) {
        let patience = tokio::time::timeout(Duration::from_secs(30), async {
            while !there(self) {
                tokio::task::yield_now().await;
            }
        });
        let waited = patience.await;
        let seen = || format!("{:?}", self.events.lock().unwrap().iter().rev().take(20).collect::<Vec<_>>());
        assert!(waited.is_ok(), "{what}; last: {}", seen());
    }

    /// Waits until a node has shown this status last.
    pub async fn until_status(&self, node: &str, text: &str) {
        self.until(&format!("{node} shows {text}"), |flows| {
            flows.statuses(node).last().is_some_and(|shown| shown == text)
        })
        .await;
    }
}

pub fn json(text: &str) -> Value {
    Value::from_json(text).unwrap()
}
