//! `mqtt-broker`: the connection that `mqtt in` and `mqtt out` nodes share: who uses it, what is subscribed to, what is
//! asked of it. The connection itself is in `session`.

use std::any::Any;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};

use tokio::sync::{mpsc, oneshot};

use super::packets::{Filter, Incoming, Outgoing};
use super::payload::Datatype;
use super::settings::Settings;
use super::{Task, session, topic};
use crate::model::node_spec::{Capability, NodeSpec, Property, PropertyKind};
use crate::model::{Diagnostic, Msg, Object, Value};
use crate::runtime::{Cx, Node, NodeConfig, NodeError, NodeType, Services, Source, Status, Step};

static SPEC: NodeSpec = NodeSpec {
    node_type: "mqtt-broker",
    category: "config",
    summary: "A connection to an MQTT broker, made again when it breaks.",
    inputs: 0,
    outputs: Some(0),
    config_node: true,
    properties: &[
        Property::new("broker", PropertyKind::Text, "Host, or an address: mqtt://, mqtts://, ws://, wss://."),
        Property::new("port", PropertyKind::Text, "1883 when empty."),
        Property::new("tls", PropertyKind::NodeRef("tls-config"), "Id of a tls-config node, for usetls."),
        Property::new("usetls", PropertyKind::Boolean, "Encrypted."),
        Property::new("clientid", PropertyKind::Text, "Made up when empty; then the session is clean."),
        Property::new("autoConnect", PropertyKind::Boolean, "Connect with the flows; true when absent."),
        Property::new("protocolVersion", PropertyKind::Text, "5: MQTT 5; else 3.1.1."),
        Property::new("compatmode", PropertyKind::Boolean, "Of older flows: 3.1.1 is spoken."),
        Property::new("keepalive", PropertyKind::Number, "Seconds; 60 when absent, 0: none."),
        Property::new("cleansession", PropertyKind::Boolean, "Begin anew; true when absent."),
        Property::new(
            "autoUnsubscribe",
            PropertyKind::Boolean,
            "End subscriptions with their nodes; true when absent.",
        ),
        Property::new(
            "birthTopic",
            PropertyKind::Text,
            "Published when connected, with birthPayload, birthQos, birthRetain, birthMsg.",
        ),
        Property::new("closeTopic", PropertyKind::Text, "Published before the connection is closed, likewise."),
        Property::new("willTopic", PropertyKind::Text, "Published by the broker when the connection breaks, likewise."),
        Property::new("sessionExpiry", PropertyKind::Number, "MQTT 5: how long the broker keeps the session, seconds."),
        Property::new("userProps", PropertyKind::Text, "MQTT 5: user properties, JSON."),
        Property::new("credentials", PropertyKind::Json, "{user, password}."),
    ],
    capabilities: &[Capability::Net],
};

pub const TYPE: NodeType = NodeType { spec: &SPEC, build };

/// What is asked of a connection.
pub(super) enum Command {
    /// Connect, with other settings if any are given.
    Connect(Option<Box<Settings>>, oneshot::Sender<()>),
    Disconnect(oneshot::Sender<()>),
    Publish(Outgoing, oneshot::Sender<Result<(), String>>),
    /// Told to the server when there is a connection.
    Subscribe(Filter),
    Unsubscribe(String),
    /// The first node uses it.
    Used,
    /// The flows stop.
    Stop(oneshot::Sender<()>),
}

/// How things stand.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Link {
    Down,
    Connecting,
    Up,
}

/// What nodes and the connection both know.
pub(super) struct Shared {
    pub(super) services: Arc<Services>,
    state: Mutex<State>,
}

struct State {
    settings: Settings,
    link: Link,
    users: BTreeMap<u64, Source>,
    next: u64,
    /// By topic, then by node.
    subscriptions: BTreeMap<String, Subscribed>,
    numbers: u32,
}

struct Subscribed {
    /// Tells messages of this filter from others', where the server can do so.
    number: u32,
    by: BTreeMap<u64, (Filter, Datatype)>,
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(|p| p.into_inner())
    }

    pub(super) fn settings(&self) -> Settings {
        self.state().settings.clone()
    }

    pub(super) fn set_settings(&self, settings: Settings) {
        self.state().settings = settings;
    }

    pub(super) fn has_users(&self) -> bool {
        !self.state().users.is_empty()
    }

    pub(super) fn link(&self) -> Link {
        self.state().link
    }

    /// Tells every node how things stand.
    pub(super) fn set_link(&self, link: Link) {
        let mut state = self.state();
        state.link = link;
        let users: Vec<Source> = state.users.values().cloned().collect();
        drop(state);
        for user in users {
            show(&user, link);
        }
    }

    /// Every filter with its number, for a new connection.
    pub(super) fn filters(&self) -> Vec<(Filter, u32)> {
        let state = self.state();
        let all = state.subscriptions.values();
        all.flat_map(|s| s.by.values().map(|(filter, _)| (filter.clone(), s.number))).collect()
    }

    pub(super) fn number_of(&self, topic: &str) -> Option<u32> {
        self.state().subscriptions.get(topic).map(|s| s.number)
    }

    /// Whose subscriptions take a message.
    fn targets(&self, incoming: &Incoming) -> (Vec<(Source, Datatype)>, bool) {
        let state = self.state();
        let mine = |topic: &str, number: u32| {
            if incoming.numbers.is_empty() {
                topic::takes(topic, &incoming.topic)
            } else {
                incoming.numbers.contains(&number)
            }
        };
        let taken = state.subscriptions.iter().filter(|(topic, s)| mine(topic, s.number));
        let targets = taken
            .flat_map(|(_, s)| s.by.iter())
            .filter_map(|(user, (_, datatype))| Some((state.users.get(user)?.clone(), *datatype)))
            .collect();
        (targets, state.settings.is_of_this_machine())
    }

    /// Hands a message to every node whose subscription takes it. The runs of durable flows are committed when this
    /// returns; false when one could not be, so that the message must not be acknowledged.
    pub(super) async fn received(&self, incoming: &Incoming) -> bool {
        let (targets, of_this_machine) = self.targets(incoming);
        let mut all = true;
        let is_text = incoming.more.get("payloadFormatIndicator") == Some(&Value::Bool(true));
        let content_type = incoming.more.get("contentType").and_then(Value::as_str);
        for (source, datatype) in targets {
            let read = datatype.read(&incoming.payload, is_text, content_type);
            let read = match (source.durable(), read) {
                (Some(durable), Ok(payload)) => {
                    if let Err(problem) = durable.event(incoming.message(payload, of_this_machine)).await {
                        tracing::error!(topic = %incoming.topic, "a message was not accepted: {problem}");
                        all = false;
                    }
                    continue;
                }
                (_, read) => read,
            };
            let opened = source.act(|cx| match read {
                Ok(payload) => cx.emit(0, incoming.message(payload, of_this_machine)),
                Err(problem) => {
                    let mut object = Object::new();
                    object.insert("payload", Value::Bytes(incoming.payload.clone().into()));
                    object.insert("topic", incoming.topic.as_str());
                    object.insert("qos", f64::from(incoming.qos));
                    object.insert("retain", incoming.retain);
                    cx.error(Msg::from(object), NodeError::new(problem));
                }
            });
            if opened.is_err() {
                tracing::error!(topic = %incoming.topic, "a message was dropped: too many runs are open (runs_max)");
            }
        }
        all
    }
}

fn show(user: &Source, link: Link) {
    let (fill, shape, text) = match link {
        Link::Down => ("red", "ring", "disconnected"),
        Link::Connecting => ("yellow", "ring", "connecting"),
        Link::Up => ("green", "dot", "connected"),
    };
    let status = Status { fill: Some(fill.into()), shape: Some(shape.into()), text: text.into() };
    // Only told when too many runs are open, which is said elsewhere.
    let _ = user.act(|cx| cx.status(status)).is_ok();
}

/// A broker as its nodes have it.
pub(super) struct Broker {
    pub(super) shared: Arc<Shared>,
    commands: mpsc::UnboundedSender<Command>,
    /// Taken by the task that keeps the connection.
    waiting: Mutex<Option<mpsc::UnboundedReceiver<Command>>>,
}

fn build(config: &NodeConfig<'_>) -> Result<Arc<dyn Node>, Vec<Diagnostic>> {
    let settings = Settings::read(config)?;
    let state = State {
        settings,
        link: Link::Down,
        users: BTreeMap::new(),
        next: 0,
        subscriptions: BTreeMap::new(),
        numbers: 0,
    };
    let shared = Arc::new(Shared { services: config.services.clone(), state: Mutex::new(state) });
    let (commands, waiting) = mpsc::unbounded_channel();
    Ok(Arc::new(BrokerNode(Arc::new(Broker { shared, commands, waiting: Mutex::new(Some(waiting)) }))))
}

struct BrokerNode(Arc<Broker>);

impl Node for BrokerNode {
    fn on_msg(&self, _msg: Msg, _cx: &mut Cx<'_>) -> Step {
        Step::Done
    }

    fn shared(&self) -> Option<Arc<dyn Any + Send + Sync>> {
        Some(self.0.clone())
    }

    fn keep(&self) -> Option<Task> {
        // On a task of its own, which says goodbye when the flows stop and ends when this node is gone.
        if let Some(commands) = self.0.waiting.lock().unwrap_or_else(|p| p.into_inner()).take() {
            tokio::spawn(session::keep(self.0.shared.clone(), commands));
        }
        None
    }

    fn close(&self) -> Option<Task> {
        // Never started: there is nothing to close.
        if self.0.waiting.lock().unwrap_or_else(|p| p.into_inner()).is_some() {
            return None;
        }
        let (done, closed) = oneshot::channel();
        let sent = self.0.commands.send(Command::Stop(done)).is_ok();
        sent.then(|| {
            Box::pin(async move {
                // An error says that the task is gone, which is as closed as it can be.
                let _ = closed.await.is_ok();
            }) as Task
        })
    }
}

impl Broker {
    pub(super) fn settings(&self) -> Settings {
        self.shared.settings()
    }

    pub(super) fn link(&self) -> Link {
        self.shared.link()
    }

    /// A node that uses the connection, from now on told how it stands.
    pub(super) fn register(&self, source: Source) -> u64 {
        let mut state = self.shared.state();
        state.next += 1;
        let (id, link) = (state.next, state.link);
        state.users.insert(id, source.clone());
        drop(state);
        show(&source, link);
        self.send(Command::Used);
        id
    }

    pub(super) fn leave(&self, user: u64) {
        let mut state = self.shared.state();
        state.users.remove(&user);
        let keep = !state.settings.auto_unsubscribe;
        let topics: Vec<String> =
            state.subscriptions.iter().filter(|(_, s)| s.by.contains_key(&user)).map(|(t, _)| t.clone()).collect();
        drop(state);
        for topic in topics {
            self.forget(user, &topic, !keep);
        }
    }

    pub(super) fn subscribe(&self, user: u64, filter: Filter, datatype: Datatype) {
        let mut state = self.shared.state();
        if !state.subscriptions.contains_key(&filter.topic) {
            state.numbers += 1;
        }
        let number = state.numbers;
        let entry = state.subscriptions.entry(filter.topic.clone());
        entry.or_insert_with(|| Subscribed { number, by: BTreeMap::new() }).by.insert(user, (filter.clone(), datatype));
        drop(state);
        self.send(Command::Subscribe(filter));
    }

    pub(super) fn unsubscribe(&self, user: u64, topic: &str) {
        self.forget(user, topic, true);
    }

    fn forget(&self, user: u64, topic: &str, tell: bool) {
        let mut state = self.shared.state();
        let Some(subscribed) = state.subscriptions.get_mut(topic) else { return };
        subscribed.by.remove(&user);
        let unused = subscribed.by.is_empty();
        if unused {
            state.subscriptions.remove(topic);
        }
        drop(state);
        if unused && tell {
            self.send(Command::Unsubscribe(topic.into()));
        }
    }

    pub(super) fn send(&self, command: Command) {
        // The task is gone only when the flows have stopped.
        let _ = self.commands.send(command).is_ok();
    }
}
