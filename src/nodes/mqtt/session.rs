//! The connection of a broker: made, kept alive, made again, closed. The protocol is `mqtt-protocol-core`'s; here are the
//! bytes, the time and what the nodes want.

use std::collections::{HashMap, VecDeque};
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use mqtt_protocol_core::mqtt;
use mqtt_protocol_core::mqtt::connection::{Event, TimerKind};
use mqtt_protocol_core::mqtt::packet::Packet;
use tokio::sync::{mpsc, oneshot};

use super::broker::{Command, Link, Shared};
use super::packets::{self, Abilities, Incoming, Outgoing};
use super::settings::Settings;
use super::wire::Wire;
use crate::clock::Clock;

/// Until the first new attempt; Node-RED's `mqttReconnectTime`. Each further one doubles it.
const AGAIN: Duration = Duration::from_secs(5);
const AGAIN_MAX: Duration = Duration::from_secs(60);
/// How long the answer to CONNECT may take.
const CONNACK_MAX: Duration = Duration::from_secs(30);
/// How long the goodbye may take.
const GOODBYE_MAX: Duration = Duration::from_secs(2);

type Client = mqtt::Connection<mqtt::role::Client>;
type Published = oneshot::Sender<Result<(), String>>;
type Timer = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Why a connection is not there any more.
enum Over {
    /// It broke, or was not made: it is tried again.
    Broken,
    /// It was asked to end.
    Asked,
    /// The flows stop.
    Stopped(Option<oneshot::Sender<()>>),
}

/// Keeps the connection until the flows stop or the node is gone.
pub(super) async fn keep(shared: Arc<Shared>, mut commands: mpsc::UnboundedReceiver<Command>) {
    let mut wanted = false;
    let mut pause = AGAIN;
    let mut asked: Vec<oneshot::Sender<()>> = Vec::new();
    loop {
        // Idle until somebody wants a connection.
        while !wanted {
            let Some(command) = commands.recv().await else { return };
            match idle(&shared, command, &mut asked) {
                Next::Stay => {}
                Next::Connect => wanted = true,
                Next::Stop(done) => return farewell(done),
            }
        }
        shared.set_link(Link::Connecting);
        let settings = shared.settings();
        let began = shared.services.clock.now();
        let over = Session::run(&shared, settings, &mut commands, &mut asked).await;
        shared.set_link(Link::Down);
        match over {
            Over::Stopped(done) => return farewell(done),
            Over::Asked => {
                wanted = !asked.is_empty();
                pause = AGAIN;
            }
            Over::Broken => {
                // One that held for a while is tried again soon.
                if shared.services.clock.now().duration_since(began).unsigned_abs() > AGAIN_MAX {
                    pause = AGAIN;
                }
                shared.set_link(Link::Connecting);
                let wait = shared.services.clock.sleep(pause);
                tokio::pin!(wait);
                pause = (pause * 2).min(AGAIN_MAX);
                loop {
                    tokio::select! {
                        () = &mut wait => break,
                        command = commands.recv() => match command {
                            None => return,
                            Some(Command::Disconnect(done)) => {
                                wanted = false;
                                shared.set_link(Link::Down);
                                farewell(Some(done));
                                break;
                            }
                            Some(command) => match idle(&shared, command, &mut asked) {
                                Next::Stay => {}
                                Next::Connect => break,
                                Next::Stop(done) => return farewell(done),
                            },
                        },
                    }
                }
            }
        }
    }
}

fn farewell(done: Option<oneshot::Sender<()>>) {
    if let Some(done) = done {
        // Who asked may not wait any more.
        let _ = done.send(()).is_ok();
    }
}

enum Next {
    Stay,
    Connect,
    Stop(Option<oneshot::Sender<()>>),
}

/// What a command comes to without a connection.
fn idle(shared: &Shared, command: Command, asked: &mut Vec<oneshot::Sender<()>>) -> Next {
    match command {
        Command::Used if shared.settings().auto_connect && shared.link() == Link::Down && shared.has_users() => {
            Next::Connect
        }
        Command::Connect(settings, done) => {
            if let Some(settings) = settings {
                shared.set_settings(*settings);
            }
            asked.push(done);
            Next::Connect
        }
        Command::Disconnect(done) => {
            farewell(Some(done));
            Next::Stay
        }
        Command::Publish(_, done) => {
            let _ = done.send(Err("there is no connection to the broker".into())).is_ok();
            Next::Stay
        }
        Command::Stop(done) => Next::Stop(Some(done)),
        // Filters are told when there is a connection.
        Command::Used | Command::Subscribe(_) | Command::Unsubscribe(_) => Next::Stay,
    }
}

struct Session<'a> {
    shared: &'a Shared,
    settings: Settings,
    client: Client,
    wire: Wire,
    clock: Clock,
    timers: HashMap<u8, Timer>,
    able: Option<Abilities>,
    /// Messages under way, by packet id.
    open: HashMap<u16, Published>,
    /// Refusals, until their packet id is free.
    refused: HashMap<u16, String>,
    /// Messages that wait until the server takes more.
    queue: VecDeque<(Outgoing, Published)>,
    over: bool,
}

impl<'a> Session<'a> {
    async fn run(
        shared: &'a Shared,
        settings: Settings,
        commands: &mut mpsc::UnboundedReceiver<Command>,
        asked: &mut Vec<oneshot::Sender<()>>,
    ) -> Over {
        let net = shared.services.net.clone();
        // Commands wait meanwhile, within the net's own time; but not the end of the flows.
        let wire = match Wire::connect(&net, &settings).await {
            Ok(wire) => wire,
            Err(problem) => {
                tracing::warn!(broker = settings.shown(), "Connection failed to broker: {problem}");
                return Over::Broken;
            }
        };
        let version = if settings.v5 { mqtt::Version::V5_0 } else { mqtt::Version::V3_1_1 };
        let mut client = Client::new(version);
        client.set_auto_pub_response(true);
        client.set_auto_ping_response(true);
        if settings.keep_alive > 0 {
            client.set_pingresp_recv_timeout(u64::from(settings.keep_alive) * 1_000);
        }
        let clock = shared.services.clock.clone();
        let mut session = Session {
            shared,
            settings,
            client,
            wire,
            clock,
            timers: HashMap::new(),
            able: None,
            open: HashMap::new(),
            refused: HashMap::new(),
            queue: VecDeque::new(),
            over: false,
        };
        let over = session.work(commands, asked).await;
        session.end();
        session.wire.close().await;
        over
    }

    async fn work(
        &mut self,
        commands: &mut mpsc::UnboundedReceiver<Command>,
        asked: &mut Vec<oneshot::Sender<()>>,
    ) -> Over {
        match packets::connect(&self.settings) {
            Ok(packet) => self.send(packet).await,
            Err(error) => {
                tracing::error!(broker = self.settings.shown(), "the connection cannot be asked for: {error}");
                return Over::Broken;
            }
        }
        self.timers.insert(CONNACK, Box::pin(sleep(self.clock.clone(), CONNACK_MAX)));
        while !self.over {
            if self.able.is_some() {
                asked.drain(..).for_each(|done| farewell(Some(done)));
            }
            tokio::select! {
                read = self.wire.read() => match read {
                    Ok(bytes) => self.take(&bytes).await,
                    Err(problem) => {
                        tracing::info!(broker = self.settings.shown(), "Disconnected from broker: {problem}");
                        return Over::Broken;
                    }
                },
                kind = fired(&mut self.timers) => {
                    self.timers.remove(&kind);
                    match timer_kind(kind) {
                        Some(kind) => {
                            let events = self.client.notify_timer_fired(kind);
                            self.handle(events).await;
                        }
                        None => {
                            tracing::warn!(broker = self.settings.shown(), "the broker does not answer");
                            return Over::Broken;
                        }
                    }
                },
                command = commands.recv() => match command {
                    None => {
                        self.goodbye().await;
                        return Over::Stopped(None);
                    }
                    Some(Command::Stop(done)) => {
                        self.goodbye().await;
                        return Over::Stopped(Some(done));
                    }
                    Some(Command::Disconnect(done)) => {
                        self.goodbye().await;
                        asked.clear();
                        farewell(Some(done));
                        return Over::Asked;
                    }
                    Some(Command::Connect(None, done)) => asked.push(done),
                    Some(Command::Connect(Some(settings), done)) => {
                        self.goodbye().await;
                        self.shared.set_settings(*settings);
                        asked.push(done);
                        return Over::Asked;
                    }
                    Some(command) => self.obey(command).await,
                },
            }
        }
        Over::Broken
    }

    async fn obey(&mut self, command: Command) {
        if self.able.is_none() {
            // Filters are told once connected.
            if let Command::Publish(_, done) = command {
                let _ = done.send(Err("there is no connection to the broker".into())).is_ok();
            }
            return;
        }
        match command {
            Command::Publish(out, done) => {
                self.queue.push_back((out, done));
                self.publish_next().await;
            }
            Command::Subscribe(filter) => {
                let number = self.shared.number_of(&filter.topic);
                self.subscribe(&filter, number).await;
            }
            Command::Unsubscribe(topic) => {
                if let Ok(id) = self.client.acquire_packet_id() {
                    match packets::unsubscribe(self.settings.v5, &topic, id) {
                        Ok(packet) => self.send(packet).await,
                        Err(error) => tracing::warn!(topic, "cannot unsubscribe: {error}"),
                    }
                }
            }
            _ => {}
        }
    }

    async fn subscribe(&mut self, filter: &packets::Filter, number: Option<u32>) {
        let Ok(id) = self.client.acquire_packet_id() else { return };
        let number = number.filter(|_| self.able.is_some_and(|able| able.numbers));
        match packets::subscribe(self.settings.v5, filter, id, number) {
            Ok(packet) => self.send(packet).await,
            Err(error) => tracing::warn!(topic = filter.topic, "cannot subscribe: {error}"),
        }
    }

    /// Publishes what waits, as far as the server takes it now.
    async fn publish_next(&mut self) {
        while self.client.get_receive_maximum_vacancy_for_send() != Some(0)
            && let Some((mut out, done)) = self.queue.pop_front()
        {
            let able = self.able.unwrap_or(Abilities { numbers: false, alias_max: 0, qos_max: 2, retain: true });
            out.qos = out.qos.min(able.qos_max);
            out.retain &= able.retain;
            let id = match out.qos {
                0 => None,
                _ => match self.client.acquire_packet_id() {
                    Ok(id) => Some(id),
                    Err(_) => {
                        self.queue.push_front((out, done));
                        return;
                    }
                },
            };
            let packet = match packets::publish(self.settings.v5, &out, id, able.alias_max) {
                Ok(packet) => packet,
                Err(error) => {
                    if let Some(id) = id {
                        self.client.release_packet_id(id);
                    }
                    let _ = done.send(Err(format!("the message cannot be published: {error}"))).is_ok();
                    continue;
                }
            };
            let events = self.client.send(packet);
            let failed = events.iter().find_map(|event| match event {
                Event::NotifyError(error) => Some(error.to_string()),
                _ => None,
            });
            match (failed, id) {
                (Some(error), id) => {
                    if let Some(id) = id {
                        self.client.release_packet_id(id);
                    }
                    let _ = done.send(Err(format!("the message cannot be published: {error}"))).is_ok();
                }
                (None, Some(id)) => drop(self.open.insert(id, done)),
                (None, None) => {
                    self.handle(events).await;
                    let sent = if self.over { Err("the connection broke".to_string()) } else { Ok(()) };
                    let _ = done.send(sent).is_ok();
                    continue;
                }
            }
            self.handle(events).await;
        }
    }

    async fn take(&mut self, bytes: &[u8]) {
        let mut cursor = mqtt::common::Cursor::new(bytes);
        // A call takes one packet at most.
        while (cursor.position() as usize) < bytes.len() && !self.over {
            let before = cursor.position();
            let events = self.client.recv(&mut cursor);
            // Nothing taken and nothing said: there is nothing more to wait for in these bytes.
            if cursor.position() == before && events.is_empty() {
                break;
            }
            self.handle(events).await;
        }
        if self.able.is_some() {
            self.publish_next().await;
        }
    }

    async fn send(&mut self, packet: Packet) {
        let events = self.client.send(packet);
        self.handle(events).await;
    }

    async fn handle(&mut self, events: Vec<Event>) {
        // A refusal may come with, or after, the word that its packet id is free.
        for event in &events {
            if let Event::NotifyPacketReceived(packet) = event
                && let Some((id, Some(why))) = packets::acknowledged(packet)
            {
                tracing::warn!(broker = self.settings.shown(), "the broker refuses: {why}");
                self.refused.insert(id, why);
            }
        }
        // Before it is acknowledged, which the same events ask for. What could not be committed comes again: the broker
        // is left without an acknowledgement, and keeps the message for a client whose session it keeps.
        let came = events.iter().filter_map(|event| match event {
            Event::NotifyPacketReceived(packet) => Incoming::of(packet),
            _ => None,
        });
        for incoming in came.collect::<Vec<_>>() {
            if !self.shared.received(&incoming).await && incoming.qos > 0 {
                self.over = true;
                return;
            }
        }
        for event in events {
            match event {
                Event::RequestSendPacket { packet, .. } => {
                    use mqtt::packet::GenericPacketTrait;
                    if let Err(problem) = self.wire.write(packet.to_continuous_buffer()).await {
                        tracing::info!(broker = self.settings.shown(), "Disconnected from broker: {problem}");
                        self.over = true;
                    }
                }
                Event::NotifyPacketReceived(packet) => Box::pin(self.received(packet)).await,
                Event::NotifyPacketIdReleased(id) => {
                    let refusal = self.refused.remove(&id);
                    if let Some(done) = self.open.remove(&id) {
                        let told = refusal.map_or(Ok(()), |why| Err(format!("the broker refused the message: {why}")));
                        let _ = done.send(told).is_ok();
                    }
                }
                Event::RequestTimerReset { kind, duration_ms } => {
                    let wait = sleep(self.clock.clone(), Duration::from_millis(duration_ms));
                    self.timers.insert(kind_number(kind), Box::pin(wait));
                }
                Event::RequestTimerCancel(kind) => drop(self.timers.remove(&kind_number(kind))),
                Event::NotifyError(error) => {
                    tracing::warn!(broker = self.settings.shown(), "MQTT: {error}");
                }
                Event::RequestClose => self.over = true,
            }
        }
    }

    async fn received(&mut self, packet: Packet) {
        if let Some(answer) = packets::accepted(&packet) {
            match answer {
                Ok(able) => self.connected(able).await,
                Err(reason) => {
                    tracing::warn!(broker = self.settings.shown(), "Connection failed to broker: {reason}");
                    self.over = true;
                }
            }
        } else if let Packet::V5_0Disconnect(told) = &packet {
            let reason = told.reason_code().map(|code| format!("{code:?}")).unwrap_or_default();
            tracing::info!(broker = self.settings.shown(), "Broker disconnected client: {reason}");
            self.over = true;
        }
    }

    async fn connected(&mut self, able: Abilities) {
        self.able = Some(able);
        self.timers.remove(&CONNACK);
        tracing::info!(broker = self.settings.shown(), "Connected to broker");
        self.shared.set_link(Link::Up);
        for (filter, number) in self.shared.filters() {
            self.subscribe(&filter, Some(number)).await;
        }
        if let Some(birth) = self.settings.birth.clone() {
            let (done, _) = oneshot::channel();
            self.queue.push_back((Outgoing::of_notice(&birth), done));
            self.publish_next().await;
        }
    }

    /// Publishes the last message and takes leave, so that the server does not publish the will.
    async fn goodbye(&mut self) {
        if self.able.is_none() {
            return;
        }
        let farewell = async {
            if let Some(close) = self.settings.close.clone() {
                let (done, mut published) = oneshot::channel();
                self.queue.push_back((Outgoing::of_notice(&close), done));
                self.publish_next().await;
                while published.try_recv() == Err(oneshot::error::TryRecvError::Empty) && !self.over {
                    match self.wire.read().await {
                        Ok(bytes) => self.take(&bytes).await,
                        Err(_) => return,
                    }
                }
            }
            if let Ok(packet) = packets::disconnect(self.settings.v5) {
                self.send(packet).await;
            }
        };
        if tokio::time::timeout(GOODBYE_MAX, farewell).await.is_err() {
            tracing::warn!("a broker did not take the goodbye in time");
        }
    }

    /// What was under way is lost with the connection, and says so.
    fn end(&mut self) {
        let waiting = self.queue.drain(..).map(|(_, done)| done);
        for done in waiting.chain(self.open.drain().map(|(_, done)| done)) {
            let _ = done.send(Err("the connection to the broker ended before the message was taken".into())).is_ok();
        }
    }
}

async fn sleep(clock: Clock, time: Duration) {
    clock.sleep(time).await;
}

/// Of our own timers.
const CONNACK: u8 = 9;

fn kind_number(kind: TimerKind) -> u8 {
    match kind {
        TimerKind::PingreqSend => 0,
        TimerKind::PingreqRecv => 1,
        TimerKind::PingrespRecv => 2,
    }
}

fn timer_kind(number: u8) -> Option<TimerKind> {
    match number {
        0 => Some(TimerKind::PingreqSend),
        1 => Some(TimerKind::PingreqRecv),
        2 => Some(TimerKind::PingrespRecv),
        _ => None,
    }
}

/// The first timer to fire; never, when there is none.
async fn fired(timers: &mut HashMap<u8, Timer>) -> u8 {
    std::future::poll_fn(|task| {
        for (kind, timer) in timers.iter_mut() {
            if timer.as_mut().poll(task).is_ready() {
                return std::task::Poll::Ready(*kind);
            }
        }
        std::task::Poll::Pending
    })
    .await
}
