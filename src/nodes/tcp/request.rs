//! `tcp request`: a message out and its answer back, by a connection of its own or by one that stays open.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::{mpsc, watch};

use super::reading::{Cutting, Kind, Reading};
use super::{Built, Task, bytes, encryption, port, shown, tls, told, unescaped};
use crate::clock::Clock;
use crate::model::{Msg, Value};
use crate::net::{Stream, Tls};
use crate::runtime::{Cx, Effect, Node, NodeConfig, NodeError, Source, Step, Then};

/// An answer is no longer than this, bytes.
const ANSWER_MAX: usize = 64 << 20;
/// Messages that may wait for a connection that stays open to take them.
const WAITING_MAX: usize = 1000;

/// When an answer is over.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Until {
    /// So long after its first byte.
    After(Duration),
    Byte(u8),
    Count(usize),
    /// There is none.
    Sent,
}

enum Way {
    Answer(Until),
    Stays,
}

struct Request {
    host: String,
    port: u16,
    way: Way,
    text: bool,
    cutting: Cutting,
    tls: Option<Arc<Tls>>,
    /// Connections that stay open, by host and port.
    open: Arc<Mutex<HashMap<String, Open>>>,
    source: Mutex<Option<Source>>,
    stop: watch::Sender<bool>,
}

/// A connection that stays open.
struct Open {
    tell: mpsc::Sender<Vec<u8>>,
    /// The last message that went by it: what comes back is sent as this one.
    last: Msg,
    /// Tells it from one that took its place.
    number: u64,
}

pub(super) fn build(config: &NodeConfig<'_>) -> Built {
    let mut problems = Vec::new();
    let port = port(config, "port").map_err(|p| problems.push(p)).unwrap_or_default();
    let tls = tls(config, false).map_err(|p| problems.push(p)).ok().flatten();
    let split = config.text("splitc");
    let number = split.parse::<f64>().ok().filter(|n| *n >= 0.0);
    let way = match config.text("out").as_str() {
        "sit" => Way::Stays,
        "immed" => Way::Answer(Until::Sent),
        "char" => Way::Answer(Until::Byte(character(&split))),
        "count" => Way::Answer(Until::Count(number.unwrap_or(1.0).max(1.0) as usize)),
        _ => Way::Answer(Until::After(Duration::try_from_secs_f64(number.unwrap_or(0.0) / 1e3).unwrap_or_default())),
    };
    if !problems.is_empty() {
        return Err(problems);
    }
    let text = config.text("ret") == "string";
    let cutting = Cutting {
        kind: if text { Kind::Text } else { Kind::Buffer },
        stream: true,
        newline: if text { unescaped(&config.text("newline")) } else { String::new() },
        keeps_newline: config.flag("trim"),
    };
    Ok(Arc::new(Request {
        host: config.text("server").to_string(),
        port,
        way,
        text,
        cutting,
        tls,
        open: Arc::default(),
        source: Mutex::default(),
        stop: watch::channel(false).0,
    }))
}

/// The byte that a form names: `\n` and its like, `0x0A`, or a character.
fn character(text: &str) -> u8 {
    let escaped = [("\\n", 0x0A), ("\\r", 0x0D), ("\\t", 0x09), ("\\e", 0x1B), ("\\f", 0x0C), ("\\0", 0x00)];
    if let Some((_, byte)) = escaped.iter().find(|(name, _)| text.starts_with(name)) {
        return *byte;
    }
    let hex = text.strip_prefix("0x").and_then(|digits| u8::from_str_radix(digits, 16).ok());
    hex.or_else(|| text.bytes().next()).unwrap_or_default()
}

/// Asks once: what came, or why nothing did.
async fn ask(
    mut stream: Box<dyn Stream>,
    payload: Option<Vec<u8>>,
    until: Until,
    clock: Clock,
) -> Result<Option<Vec<u8>>, String> {
    let gone = |error: std::io::Error| format!("the connection broke: {error}");
    if let Some(payload) = payload {
        stream.write_all(&payload).await.map_err(gone)?;
    }
    if until == Until::Sent {
        stream.shutdown().await.map_err(gone)?;
        return Ok(None);
    }
    let mut answer = Vec::new();
    let mut buffer = vec![0; 65_536];
    let mut over = Box::pin(clock.sleep(Duration::MAX));
    loop {
        let read = tokio::select! {
            read = stream.read(&mut buffer) => read.map_err(gone)?,
            () = &mut over => return Ok(Some(answer)),
        };
        match until {
            Until::After(_) if read == 0 && !answer.is_empty() => return Ok(Some(answer)),
            _ if read == 0 => return Err("the connection ended before its answer was there".into()),
            Until::After(time) if answer.is_empty() => over = Box::pin(clock.sleep(time)),
            _ => {}
        }
        let before = answer.len();
        answer.extend_from_slice(&buffer[..read]);
        let end = match until {
            Until::Byte(byte) => answer[before..].iter().position(|b| *b == byte).map(|at| before + at + 1),
            Until::Count(count) => (answer.len() >= count).then_some(count),
            Until::After(_) | Until::Sent => None,
        };
        if let Some(end) = end {
            answer.truncate(end);
            return Ok(Some(answer));
        }
        if answer.len() > ANSWER_MAX {
            return Err(format!("the answer is longer than {ANSWER_MAX} bytes"));
        }
    }
}

impl Request {
    fn open(&self) -> MutexGuard<'_, HashMap<String, Open>> {
        self.open.lock().unwrap_or_else(|p| p.into_inner())
    }

    fn once(&self, until: Until, place: (String, u16), mut msg: Msg, cx: &mut Cx<'_>) -> Step {
        let (services, tls, text) = (cx.services().clone(), self.tls.clone(), self.text);
        let payload = bytes(msg.payload(), false);
        Step::wait(async move {
            let (host, port) = place;
            let came = match services.net.connect(&host, port, encryption(&tls)).await {
                Ok(stream) => ask(stream, payload, until, services.clock.clone()).await.map_err(NodeError::new),
                Err(error) => Err(failed(&host, port, &error.to_string(), error.code)),
            };
            let then: Then = Box::new(move |cx| match came {
                Ok(None) => Step::Done,
                Ok(Some(answer)) if text => {
                    msg.set("payload", String::from_utf8_lossy(&answer).into_owned());
                    cx.emit(0, msg);
                    Step::Done
                }
                Ok(Some(answer)) => {
                    msg.set("payload", Value::Bytes(answer.into()));
                    cx.emit(0, msg);
                    Step::Done
                }
                Err(error) => {
                    cx.status(shown("red", "ring", "error"));
                    Step::fail(msg, error)
                }
            });
            then
        })
    }

    /// Sends by the connection that is open to that place, or opens one.
    fn staying(&self, place: (String, u16), msg: Msg, cx: &mut Cx<'_>) -> Step {
        let key = format!("{}:{}", place.0, place.1);
        let Some(payload) = bytes(msg.payload(), false) else { return Step::Done };
        if let Some(open) = self.open().get_mut(&key) {
            open.last = msg.clone();
            return match open.tell.try_send(payload) {
                Ok(()) => Step::Done,
                Err(_) => Step::fail(msg, format!("{key} takes too little of what it is sent")),
            };
        }
        let Some(source) = self.source.lock().unwrap_or_else(|p| p.into_inner()).clone() else { return Step::Done };
        let (tell, orders) = mpsc::channel(WAITING_MAX);
        // The channel is empty.
        let _ = tell.try_send(payload).is_ok();
        let number = NUMBERS.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        self.open().insert(key.clone(), Open { tell, last: msg.clone(), number });
        let (services, tls, open, stop) =
            (cx.services().clone(), self.tls.clone(), self.open.clone(), self.stop.subscribe());
        let reading = Reading::new(self.cutting.clone());
        let staying = Staying { source, key, number, open, reading };
        Step::wait(async move {
            let connected = services.net.connect(&place.0, place.1, encryption(&tls)).await;
            let failure = match connected {
                Ok(stream) => {
                    tokio::spawn(staying.carry(stream, orders, stop));
                    None
                }
                Err(error) => {
                    staying.leave();
                    Some(failed(&place.0, place.1, &error.to_string(), error.code))
                }
            };
            let then: Then = Box::new(move |cx| match failure {
                None => Step::Done,
                Some(error) => {
                    cx.status(shown("red", "ring", "error"));
                    Step::fail(msg, error)
                }
            });
            then
        })
    }

    /// Closes what `msg.reset` names: every connection, or one by `host:port`.
    fn reset(&self, msg: &Msg, cx: &mut Cx<'_>) {
        let mut open = self.open();
        match msg.get("reset") {
            Some(Value::Bool(true)) => open.clear(),
            Some(Value::String(key)) => drop(open.remove(key.as_str())),
            _ => return,
        }
        let count = open.len();
        drop(open);
        let shape = if count == 0 { "ring" } else { "dot" };
        cx.status(shown("green", shape, format!("{count} connections")));
    }
}

static NUMBERS: std::sync::atomic::AtomicU64 = std::sync::atomic::AtomicU64::new(0);

fn failed(host: &str, port: u16, why: &str, code: &str) -> NodeError {
    NodeError::with_code(format!("connect failed {host}:{port}: {why}"), code)
}

/// A connection that stays open, and its node.
struct Staying {
    source: Source,
    key: String,
    number: u64,
    open: Arc<Mutex<HashMap<String, Open>>>,
    reading: Reading,
}

impl Staying {
    fn leave(&self) {
        let mut open = self.open.lock().unwrap_or_else(|p| p.into_inner());
        if open.get(&self.key).is_some_and(|one| one.number == self.number) {
            open.remove(&self.key);
        }
    }

    fn count(&self, fill: &'static str) {
        let count = self.open.lock().unwrap_or_else(|p| p.into_inner()).len();
        let status = match count {
            0 => shown("grey", "ring", "disconnected"),
            _ => shown(fill, "dot", format!("{count} connections")),
        };
        // Too many open runs are told of elsewhere.
        let _ = self.source.act(|cx| cx.status(status)).is_ok();
    }

    fn send(&self, payload: Value) {
        let last = {
            let open = self.open.lock().unwrap_or_else(|p| p.into_inner());
            open.get(&self.key).map(|one| one.last.clone())
        };
        let Some(mut msg) = last else { return };
        msg.set("payload", payload);
        if self.source.act(|cx| cx.emit(0, msg)).is_err() {
            tracing::error!("a TCP answer was dropped: too many runs are open (runs_max)");
        }
    }

    async fn carry(
        mut self,
        stream: Box<dyn Stream>,
        mut orders: mpsc::Receiver<Vec<u8>>,
        mut stop: watch::Receiver<bool>,
    ) {
        self.count("green");
        let (mut read, mut write) = tokio::io::split(stream);
        let mut buffer = vec![0; 65_536];
        loop {
            tokio::select! {
                read = read.read(&mut buffer) => match read {
                    Ok(0) | Err(_) => break,
                    Ok(n) => match self.reading.take(&buffer[..n]) {
                        Ok(payloads) => payloads.into_iter().for_each(|payload| self.send(payload)),
                        Err(_) => break,
                    },
                },
                order = orders.recv() => match order {
                    Some(bytes) if write.write_all(&bytes).await.is_ok() => {}
                    _ => break,
                },
                () = told(&mut stop) => break,
            }
        }
        if let Some(rest) = self.reading.end() {
            self.send(rest);
        }
        self.leave();
        self.count("green");
    }
}

impl Node for Request {
    fn effect(&self) -> Effect {
        Effect::Once
    }

    fn on_msg(&self, msg: Msg, cx: &mut Cx<'_>) -> Step {
        if matches!(self.way, Way::Stays) {
            self.reset(&msg, cx);
            if msg.payload().is_undefined() {
                return Step::Done;
            }
        }
        let text = |name: &str| msg.get(name).map(|v| v.to_js_string().to_string()).unwrap_or_default();
        let host = if self.host.is_empty() { text("host") } else { self.host.clone() };
        let port = match self.port {
            0 => text("port").parse().unwrap_or(0),
            port => port,
        };
        if host.is_empty() || port == 0 {
            cx.warn("Host and/or port not set");
            return Step::Done;
        }
        match self.way {
            Way::Answer(until) => self.once(until, (host, port), msg, cx),
            Way::Stays => self.staying((host, port), msg, cx),
        }
    }

    fn start(&self, source: Source) -> Option<Task> {
        *self.source.lock().unwrap_or_else(|p| p.into_inner()) = Some(source);
        None
    }

    fn close(&self) -> Option<Task> {
        self.stop.send_replace(true);
        self.open().clear();
        None
    }
}
