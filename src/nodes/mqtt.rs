//! `mqtt in` and `mqtt out`; the connection they share is an `mqtt-broker`.

mod broker;
mod packets;
mod payload;
mod session;
mod settings;
mod topic;
mod wire;

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex};

use tokio::sync::oneshot;

use crate::model::node_spec::{NodeSpec, Property, PropertyKind};
use crate::model::{Diagnostic, Msg, Object, Value};
use crate::runtime::{Cx, Effect, Node, NodeConfig, NodeError, NodeType, Source, Step, Then};
use broker::{Broker, Command, Link};
use packets::{Filter, Outgoing};
use payload::Datatype;

pub const BROKER: NodeType = broker::TYPE;
pub const IN: NodeType = NodeType { spec: &IN_SPEC, build: build_in };
pub const OUT: NodeType = NodeType { spec: &OUT_SPEC, build: build_out };

type Task = Pin<Box<dyn Future<Output = ()> + Send>>;

static IN_SPEC: NodeSpec = NodeSpec {
    node_type: "mqtt in",
    category: "network",
    summary: "Opens a run for each message of a subscription; with an input, msg.action subscribes.",
    inputs: 1,
    outputs: Some(1),
    config_node: false,
    properties: &[
        Property::new("broker", PropertyKind::NodeRef("mqtt-broker"), "Id of an mqtt-broker node."),
        Property::new(
            "topic",
            PropertyKind::Text,
            "What to subscribe to; + and # stand for levels, $share/NAME/ shares.",
        ),
        Property::new("qos", PropertyKind::Text, "0, 1 or 2; 2 when absent."),
        Property::new(
            "datatype",
            PropertyKind::Text,
            "utf8, buffer, base64, json, auto, auto-detect (parsed); utf8 when absent.",
        ),
        Property::new("nl", PropertyKind::Json, "MQTT 5: nothing that this connection publishes."),
        Property::new("rap", PropertyKind::Json, "MQTT 5: msg.retain as it was published."),
        Property::new(
            "rh",
            PropertyKind::Json,
            "MQTT 5: retained messages 0 always, 1 for new subscriptions, 2 never.",
        ),
        Property::new("inputs", PropertyKind::Number, "1: subscriptions come by msg.action."),
    ],
    capabilities: &[],
};

static OUT_SPEC: NodeSpec = NodeSpec {
    node_type: "mqtt out",
    category: "network",
    summary: "Publishes msg.payload; msg.action connects and disconnects.",
    inputs: 1,
    outputs: Some(0),
    config_node: false,
    properties: &[
        Property::new("broker", PropertyKind::NodeRef("mqtt-broker"), "Id of an mqtt-broker node."),
        Property::new("topic", PropertyKind::Text, "Where to; msg.topic when empty."),
        Property::new("qos", PropertyKind::Text, "0, 1 or 2; msg.qos when empty, else 0."),
        Property::new("retain", PropertyKind::Json, "Whether the broker keeps it; msg.retain when empty."),
        Property::new("respTopic", PropertyKind::Text, "MQTT 5: where an answer is expected."),
        Property::new("correl", PropertyKind::Json, "MQTT 5: correlation data."),
        Property::new("contentType", PropertyKind::Text, "MQTT 5: media type of the payload."),
        Property::new("expiry", PropertyKind::Json, "MQTT 5: how long it is good for, seconds."),
        Property::new("userProps", PropertyKind::Text, "MQTT 5: user properties, JSON."),
    ],
    capabilities: &[],
};

fn broker_of(config: &NodeConfig<'_>) -> Result<Arc<Broker>, Vec<Diagnostic>> {
    config.shared::<Broker>("broker").ok_or_else(|| {
        let problem = config.problem("unusable-reference", "broker", "missing broker configuration");
        vec![problem.expected("the id of an mqtt-broker node without problems")]
    })
}

struct MqttIn {
    broker: Arc<Broker>,
    /// `None`: subscriptions come by messages.
    fixed: Option<Filter>,
    datatype: Datatype,
    user: Mutex<Option<u64>>,
    /// As they were asked for, by topic.
    dynamic: Mutex<BTreeMap<String, Value>>,
}

fn build_in(config: &NodeConfig<'_>) -> Result<Arc<dyn Node>, Vec<Diagnostic>> {
    let broker = broker_of(config)?;
    let flag = |name: &str| config.flag(name);
    let number = |name: &str| config.number(name).filter(|n| [0.0, 1.0, 2.0].contains(n)).map(|n| n as u8);
    let topic = config.text("topic").to_string();
    let fixed = if config.number("inputs") == Some(1.0) {
        None
    } else if topic::may_subscribe(&topic) {
        Some(Filter {
            topic,
            qos: number("qos").unwrap_or(2),
            no_local: flag("nl"),
            as_published: flag("rap"),
            retain_handling: number("rh").unwrap_or(0),
        })
    } else {
        let problem = config.problem("invalid-topic", "topic", "Invalid topic specified");
        return Err(vec![problem.expected("levels separated by /; + for one, # for all the rest")]);
    };
    let datatype = Datatype::of(&config.text("datatype"));
    Ok(Arc::new(MqttIn { broker, fixed, datatype, user: Mutex::default(), dynamic: Mutex::default() }))
}

impl MqttIn {
    fn user(&self) -> Option<u64> {
        *self.user.lock().unwrap_or_else(|p| p.into_inner())
    }

    /// What `msg.topic` names: texts, objects with `topic`, or arrays of them.
    fn named(msg: &Msg) -> Result<Vec<Object>, NodeError> {
        let bad = || NodeError::new("msg.topic is missing or invalid");
        let given = match msg.get("topic") {
            Some(Value::Array(items)) => items.to_vec(),
            Some(one @ (Value::String(_) | Value::Object(_))) => vec![one.clone()],
            _ => return Err(bad()),
        };
        let mut all = Vec::new();
        for item in given {
            let object = match item {
                Value::String(topic) => [("topic", Value::String(topic))].into_iter().collect(),
                Value::Object(object) => (*object).clone(),
                _ => return Err(bad()),
            };
            if !object.get("topic").and_then(Value::as_str).is_some_and(topic::may_subscribe) {
                return Err(NodeError::new("Invalid topic specified"));
            }
            all.push(object);
        }
        Ok(all)
    }

    fn subscribe(&self, mut asked: Object, user: u64) {
        let v5 = self.broker.settings().v5;
        let number = |asked: &Object, name: &str, absent: u8| {
            let given = asked.get(name).filter(|v| !v.is_nullish()).map(|v| v.to_number().trunc());
            given.filter(|n| (0.0..=2.0).contains(n)).map_or(absent, |n| n as u8)
        };
        let flag = |asked: &Object, name: &str, absent: bool| match asked.get(name) {
            Some(Value::Bool(flag)) => *flag,
            Some(Value::String(text)) if text == "true" || text == "false" => text == "true",
            _ => absent,
        };
        let topic = asked.get("topic").map(|topic| topic.to_js_string().to_string()).unwrap_or_default();
        let filter = Filter {
            topic: topic.clone(),
            qos: number(&asked, "qos", 2),
            no_local: v5 && flag(&asked, "nl", false),
            as_published: v5 && flag(&asked, "rap", true),
            retain_handling: if v5 { number(&asked, "rh", 0) } else { 0 },
        };
        asked.insert("qos", f64::from(filter.qos));
        if v5 {
            asked.insert("rh", f64::from(filter.retain_handling));
            asked.insert("rap", filter.as_published);
        }
        let datatype = asked.get("datatype").and_then(Value::as_str).map_or(self.datatype, Datatype::of);
        let before = self.dynamic.lock().unwrap_or_else(|p| p.into_inner()).insert(topic.clone(), asked.into());
        if before.is_some() {
            self.broker.unsubscribe(user, &topic);
        }
        self.broker.subscribe(user, filter, datatype);
    }

    fn unsubscribe(&self, topics: Vec<String>, user: u64) {
        for topic in topics {
            self.dynamic.lock().unwrap_or_else(|p| p.into_inner()).remove(&topic);
            self.broker.unsubscribe(user, &topic);
        }
    }

    fn list(&self) -> Value {
        let dynamic = self.dynamic.lock().unwrap_or_else(|p| p.into_inner());
        Value::array(dynamic.values().cloned().collect())
    }
}

impl Node for MqttIn {
    fn on_msg(&self, mut msg: Msg, cx: &mut Cx<'_>) -> Step {
        let Some(user) = self.user() else { return Step::fail(msg, "the node has not started") };
        let action = msg.get("action").and_then(Value::as_str).unwrap_or_default().to_string();
        match action.as_str() {
            "connect" => connect(&self.broker, msg),
            "disconnect" => disconnect(&self.broker),
            "subscribe" => match Self::named(&msg) {
                Ok(all) => {
                    all.into_iter().for_each(|asked| self.subscribe(asked, user));
                    Step::Done
                }
                Err(error) => Step::fail(msg, error),
            },
            "unsubscribe" if msg.get("topic") == Some(&Value::Bool(true)) => {
                let all = self.dynamic.lock().unwrap_or_else(|p| p.into_inner()).keys().cloned().collect();
                self.unsubscribe(all, user);
                Step::Done
            }
            "unsubscribe" => match Self::named(&msg) {
                Ok(all) => {
                    let topic = |asked: &Object| asked.get("topic").map(|t| t.to_js_string().to_string());
                    self.unsubscribe(all.iter().filter_map(topic).collect(), user);
                    Step::Done
                }
                Err(error) => Step::fail(msg, error),
            },
            "getSubscriptions" => {
                msg.set("topic", "subscriptions");
                msg.set("payload", self.list());
                cx.emit(0, msg);
                Step::Done
            }
            _ => Step::fail(msg, "Invalid action specified"),
        }
    }

    fn start(&self, source: Source) -> Option<Task> {
        let user = self.broker.register(source);
        *self.user.lock().unwrap_or_else(|p| p.into_inner()) = Some(user);
        if let Some(filter) = &self.fixed {
            self.broker.subscribe(user, filter.clone(), self.datatype);
        }
        None
    }

    fn close(&self) -> Option<Task> {
        if let Some(user) = self.user.lock().unwrap_or_else(|p| p.into_inner()).take() {
            self.broker.leave(user);
        }
        None
    }
}

/// `msg.action: connect`: done when there is a connection.
fn connect(broker: &Broker, msg: Msg) -> Step {
    let given = msg.get("broker").and_then(Value::as_object);
    let force = given.is_some_and(|given| given.get("force").is_some_and(Value::is_truthy));
    if broker.link() != Link::Down {
        match given {
            None => return Step::Done,
            Some(_) if !force => return Step::fail(msg, "Disconnect from broker before connecting"),
            Some(_) => {}
        }
    }
    let settings = match given.map(|given| broker.settings().changed(given)).transpose() {
        Ok(settings) => settings.map(Box::new),
        Err(problem) => return Step::fail(msg, problem),
    };
    let (done, connected) = oneshot::channel();
    broker.send(Command::Connect(settings, done));
    Step::wait(async move {
        let connected = connected.await;
        Box::new(move |_: &mut Cx<'_>| match connected {
            Ok(()) => Step::Done,
            Err(_) => Step::fail(msg, "the connection was not made"),
        }) as Then
    })
}

/// `msg.action: disconnect`: done when the connection is closed.
fn disconnect(broker: &Broker) -> Step {
    let (done, closed) = oneshot::channel();
    broker.send(Command::Disconnect(done));
    Step::wait(async move {
        // An error says that the connection is gone with its flows.
        let _ = closed.await.is_ok();
        Box::new(|_: &mut Cx<'_>| Step::Done) as Then
    })
}

struct MqttOut {
    broker: Arc<Broker>,
    topic: String,
    qos: Value,
    retain: Value,
    /// Of MQTT 5, over the message's own.
    more: Object,
    user: Mutex<Option<u64>>,
}

fn build_out(config: &NodeConfig<'_>) -> Result<Arc<dyn Node>, Vec<Diagnostic>> {
    let broker = broker_of(config)?;
    let mut more = Object::new();
    for (name, property) in [
        ("responseTopic", "respTopic"),
        ("correlationData", "correl"),
        ("contentType", "contentType"),
        ("messageExpiryInterval", "expiry"),
    ] {
        let value = config.get(property);
        if value.is_truthy() {
            more.insert(name, value.clone());
        }
    }
    if let Some(user) = config.get("userProps").as_str().and_then(|text| Value::from_json(text).ok())
        && user.as_object().is_some_and(|user| !user.is_empty())
    {
        more.insert("userProperties", user);
    }
    let (qos, retain) = (config.get("qos").clone(), config.get("retain").clone());
    Ok(Arc::new(MqttOut { broker, topic: config.text("topic").to_string(), qos, retain, more, user: Mutex::default() }))
}

/// Properties of a message that MQTT 5 carries.
const CARRIED: &[&str] = &[
    "responseTopic",
    "correlationData",
    "contentType",
    "messageExpiryInterval",
    "userProperties",
    "payloadFormatIndicator",
    "topicAlias",
];

impl MqttOut {
    /// What is published of a message; `None` when it has nothing, the text is a warning.
    fn outgoing(&self, msg: &Msg) -> Result<Option<Outgoing>, &'static str> {
        let Some(payload) = msg.get("payload") else { return Ok(None) };
        let truthy = |own: &Value, name: &str| match own {
            own if own.is_truthy() => own.clone(),
            _ => msg.get(name).cloned().unwrap_or_default(),
        };
        let mut topic = match self.topic.as_str() {
            "" => msg.get("topic").and_then(Value::as_str).unwrap_or_default().to_string(),
            fixed => fixed.to_string(),
        };
        let qos = truthy(&self.qos, "qos");
        let qos = Some(qos.to_number().trunc()).filter(|n| *n == 1.0 || *n == 2.0).unwrap_or(0.0) as u8;
        let retain = truthy(&self.retain, "retain");
        let retain = retain == Value::Bool(true) || retain.as_str() == Some("true");
        let mut more = Object::new();
        for name in CARRIED {
            if let Some(value) = self.more.get(name).or_else(|| msg.get(name)) {
                more.insert(*name, value.clone());
            }
        }
        if topic.is_empty()
            && self.broker.settings().v5
            && let Some(response) = more.remove("responseTopic")
        {
            topic = response.to_js_string().to_string();
        }
        if !topic::may_publish(&topic) {
            return Err("Invalid topic specified");
        }
        Ok(Some(Outgoing { topic, payload: payload::write(payload), qos, retain, more }))
    }
}

impl Node for MqttOut {
    fn effect(&self) -> Effect {
        Effect::Repeatable
    }

    fn on_msg(&self, msg: Msg, cx: &mut Cx<'_>) -> Step {
        if let Some(action) = msg.get("action").filter(|action| action.is_truthy()) {
            return match action.as_str() {
                Some("connect") => connect(&self.broker, msg),
                Some("disconnect") => disconnect(&self.broker),
                _ => Step::fail(msg, "Invalid action specified"),
            };
        }
        let out = match self.outgoing(&msg) {
            Ok(Some(out)) => out,
            Ok(None) => return Step::Done,
            Err(problem) => {
                cx.warn(problem);
                return Step::Done;
            }
        };
        let (done, published) = oneshot::channel();
        self.broker.send(Command::Publish(out, done));
        Step::wait(async move {
            let published = published.await;
            Box::new(move |_: &mut Cx<'_>| match published {
                Ok(Ok(())) => Step::Done,
                Ok(Err(problem)) => Step::fail(msg, problem),
                Err(_) => Step::fail(msg, "the connection to the broker ended before the message was taken"),
            }) as Then
        })
    }

    fn start(&self, source: Source) -> Option<Task> {
        *self.user.lock().unwrap_or_else(|p| p.into_inner()) = Some(self.broker.register(source));
        None
    }

    fn close(&self) -> Option<Task> {
        if let Some(user) = self.user.lock().unwrap_or_else(|p| p.into_inner()).take() {
            self.broker.leave(user);
        }
        None
    }
}
