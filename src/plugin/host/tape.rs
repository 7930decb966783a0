//! Between guest and host: what a deterministic plugin asks for and is answered goes onto a tape, or comes from one.
//!
//! Every import of the contract passes here. Without a tape (plugins that are not deterministic, a guest that
//! describes itself) it goes straight on to the host. While a call is recorded, question and answer are kept. While
//! one is replayed nothing but the tape answers: no network, clock, state or random source is near, and the first
//! question that is not the recorded one ends the guest.

use serde_json::{Value as Json, json};
use wasmtime::component::HasData;

use super::Host;
use super::told::{Told, bytes, properties};
use crate::model::call::HostCall;
use crate::plugin::bindings::probity::plugin::types::{Failure, Value as Crossing};
use crate::plugin::bindings::probity::plugin::{
    clock, context, evidence, files, http, node, random, script, secrets, state, typed_input, types,
};

/// Where questions and answers of one call are.
pub(in crate::plugin) enum Tape {
    Recording(Recording),
    Replaying(Replaying),
}

/// Host calls so far.
pub(in crate::plugin) struct Recording {
    pub(in crate::plugin) calls: Vec<HostCall>,
    /// About what they take, bytes.
    pub(in crate::plugin) bytes: usize,
    bytes_max: usize,
}

impl Recording {
    /// `bytes` is what the rest of the record takes.
    pub(in crate::plugin) fn new(bytes_max: usize, bytes: usize) -> Recording {
        Recording { calls: Vec::new(), bytes, bytes_max }
    }

    pub(in crate::plugin) fn is_over(&self) -> bool {
        self.bytes > self.bytes_max
    }

    fn keep(&mut self, of: &str, given: Json, answer: Json) {
        self.bytes += CALL_BYTES + size(&given) + size(&answer);
        if self.is_over() {
            // It cannot be replayed any more: what is there already need not be kept either.
            self.calls = Vec::new();
        } else {
            self.calls.push(HostCall { of: of.to_string(), given, answer });
        }
    }
}

/// What a host call takes beside question and answer, about, bytes.
const CALL_BYTES: usize = 48;

/// About what a value takes as JSON, bytes.
pub(in crate::plugin) fn size(value: &Json) -> usize {
    match value {
        Json::Null | Json::Bool(_) => 4,
        Json::Number(_) => 12,
        Json::String(text) => text.len() + 2,
        Json::Array(items) => items.iter().map(|item| size(item) + 1).sum::<usize>() + 2,
        Json::Object(map) => map.iter().map(|(key, value)| key.len() + size(value) + 4).sum::<usize>() + 2,
    }
}

/// Recorded host calls that are still to come.
pub(in crate::plugin) struct Replaying {
    calls: std::vec::IntoIter<HostCall>,
    done: usize,
    /// The first thing that was not as recorded.
    pub(in crate::plugin) difference: Option<String>,
}

impl Replaying {
    pub(in crate::plugin) fn new(calls: Vec<HostCall>) -> Replaying {
        Replaying { calls: calls.into_iter(), done: 0, difference: None }
    }

    /// Recorded host calls that the guest did not make.
    pub(in crate::plugin) fn left(&self) -> Option<&HostCall> {
        self.calls.as_slice().first()
    }

    /// Host calls made so far.
    pub(in crate::plugin) fn done(&self) -> usize {
        self.done
    }

    fn answer<A: Told>(&mut self, of: &str, given: &Json) -> wasmtime::Result<A> {
        let recorded = self.calls.next();
        self.done += 1;
        let number = self.done;
        let difference = match recorded {
            None => format!("host call {number}: now {of} {given}; the record has no further one"),
            Some(call) if call.of != of => format!("host call {number}: now {of}, recorded {}", call.of),
            Some(call) if call.given != *given => {
                format!("host call {number}, {of}: now given {}, recorded {}", short(given), short(&call.given))
            }
            Some(call) => {
                if let Some(why) = call.answer.get("ended").and_then(Json::as_str) {
                    return Err(wasmtime::format_err!("{why}"));
                }
                match A::read(&call.answer) {
                    Some(answer) => return Ok(answer),
                    None => format!("host call {number}, {of}: the recorded answer {} is none", short(&call.answer)),
                }
            }
        };
        let ended = wasmtime::format_err!("the replay ends here: {difference}");
        self.difference.get_or_insert(difference);
        Err(ended)
    }
}

/// A value in at most a line or two.
fn short(value: &Json) -> String {
    let mut text = value.to_string();
    if text.len() > 300 {
        text.truncate(text.floor_char_boundary(300));
        text.push('…');
    }
    text
}

/// The host as guests reach it.
pub(in crate::plugin) struct Taped<'h>(pub(in crate::plugin) &'h mut Host);

/// For the linker: [`Taped`] of a store's host.
pub(in crate::plugin) struct HasTaped;

impl HasData for HasTaped {
    type Data<'h> = Taped<'h>;
}

/// What a question comes to.
enum Asked<A> {
    /// Replayed.
    Answered(wasmtime::Result<A>),
    /// To be asked; what was given, if it shall be recorded.
    Ask(Option<Json>),
}

impl Taped<'_> {
    fn ask<A: Told>(&mut self, of: &str, given: Json) -> Asked<A> {
        match self.0.tape.as_deref_mut() {
            None => Asked::Ask(None),
            Some(Tape::Recording(recording)) => Asked::Ask((!recording.is_over()).then_some(given)),
            Some(Tape::Replaying(replaying)) => Asked::Answered(replaying.answer(of, &given)),
        }
    }

    fn keep<A: Told>(&mut self, of: &str, given: Option<Json>, answer: &wasmtime::Result<A>) {
        let (Some(given), Some(Tape::Recording(recording))) = (given, self.0.tape.as_deref_mut()) else { return };
        let answer = match answer {
            Ok(answer) => answer.tell(),
            Err(error) => json!({ "ended": error.root_cause().to_string() }),
        };
        recording.keep(of, given, answer);
    }

    /// A host function that answers at once.
    fn at_once<A: Told>(
        &mut self,
        of: &str,
        given: Json,
        ask: impl FnOnce(&mut Host) -> wasmtime::Result<A>,
    ) -> wasmtime::Result<A> {
        match self.ask(of, given) {
            Asked::Answered(answer) => answer,
            Asked::Ask(given) => {
                let answer = ask(self.0);
                self.keep(of, given, &answer);
                answer
            }
        }
    }
}

impl Taped<'_> {
    /// What seeds the hash maps of the guest's language; nothing else sees it, so it is given without a grant: with
    /// `random` another one for each call, without always the same.
    pub(in crate::plugin) fn seed(&mut self) -> wasmtime::Result<(u64, u64)> {
        let seed = |host: &mut Host| {
            let random = host.call.is_some() && host.facts.granted.allows("random");
            if random { random::Host::bytes(host, 16) } else { Ok(vec![0; 16]) }
        };
        let bytes = self.at_once("wasi.insecure-seed", json!({}), seed)?;
        let number = |bytes: &[u8]| bytes.iter().fold(0, |n, byte| n << 8 | u64::from(*byte));
        let (a, b) = bytes.split_at(bytes.len().min(8));
        Ok((number(a), number(b)))
    }
}

/// An enum's case as the contract writes it.
fn word(case: impl std::fmt::Debug) -> String {
    format!("{case:?}").rsplit("::").next().unwrap_or_default().to_lowercase()
}

impl types::Host for Taped<'_> {}

impl node::Host for Taped<'_> {
    fn emit(&mut self, sent: node::Emission) -> wasmtime::Result<Result<(), Failure>> {
        let set = properties(&sent.set);
        let given = json!({ "port": sent.port, "keep": sent.keep, "set": set, "delete": sent.delete });
        self.at_once("node.emit", given, |host| node::Host::emit(host, sent))
    }

    fn status(&mut self, fill: Option<String>, shape: Option<String>, text: String) -> wasmtime::Result<()> {
        let given = json!({ "fill": fill, "shape": shape, "text": text });
        self.at_once("node.status", given, |host| node::Host::status(host, fill, shape, text))
    }

    fn log(&mut self, level: node::Level, text: String) -> wasmtime::Result<()> {
        if let Some(Tape::Replaying(_)) = self.0.tape.as_deref() {
            // What it said last belongs to the message of a guest that breaks off.
            node::Host::log(self.0, level, text.clone())?;
        }
        let given = json!({ "level": word(level), "text": text });
        self.at_once("node.log", given, |host| node::Host::log(host, level, text))
    }

    // Both stand at the head of a record, once for all questions.
    fn id(&mut self) -> wasmtime::Result<String> {
        node::Host::id(self.0)
    }

    fn config(&mut self) -> wasmtime::Result<String> {
        node::Host::config(self.0)
    }
}

impl clock::Host for Taped<'_> {
    fn now(&mut self) -> wasmtime::Result<u64> {
        self.at_once("clock.now", json!({}), clock::Host::now)
    }

    async fn sleep(&mut self, ms: u32) -> wasmtime::Result<()> {
        let of = "clock.sleep";
        match self.ask(of, json!({ "ms": ms })) {
            Asked::Answered(answer) => answer,
            Asked::Ask(given) => {
                let answer = clock::Host::sleep(self.0, ms).await;
                self.keep(of, given, &answer);
                answer
            }
        }
    }
}

impl random::Host for Taped<'_> {
    fn bytes(&mut self, len: u32) -> wasmtime::Result<Vec<u8>> {
        self.at_once("random.bytes", json!({ "len": len }), |host| random::Host::bytes(host, len))
    }
}

impl secrets::Host for Taped<'_> {
    fn placeholder(&mut self, name: String) -> wasmtime::Result<Result<String, Failure>> {
        let given = json!({ "name": name });
        self.at_once("secrets.placeholder", given, |host| secrets::Host::placeholder(host, name))
    }
}

impl http::Host for Taped<'_> {
    async fn send(&mut self, what: http::Request) -> wasmtime::Result<Result<http::Response, Failure>> {
        let of = "http.send";
        // As the guest gave it: with placeholders, never with secrets.
        let given = json!({
            "method": what.method, "url": what.url, "headers": what.headers, "body": bytes(&what.body),
            "timeout-ms": what.timeout_ms,
        });
        match self.ask(of, given) {
            Asked::Answered(answer) => answer,
            Asked::Ask(given) => {
                let answer = http::Host::send(self.0, what).await;
                self.keep(of, given, &answer);
                answer
            }
        }
    }
}

impl state::Host for Taped<'_> {
    fn get(&mut self, scope: state::Scope, key: String) -> wasmtime::Result<Option<Vec<u8>>> {
        let given = json!({ "scope": word(scope), "key": key });
        self.at_once("state.get", given, |host| state::Host::get(host, scope, key))
    }

    fn set(&mut self, scope: state::Scope, key: String, value: Vec<u8>) -> wasmtime::Result<Result<(), Failure>> {
        let given = json!({ "scope": word(scope), "key": key, "value": bytes(&value) });
        self.at_once("state.set", given, |host| state::Host::set(host, scope, key, value))
    }

    fn delete(&mut self, scope: state::Scope, key: String) -> wasmtime::Result<()> {
        let given = json!({ "scope": word(scope), "key": key });
        self.at_once("state.delete", given, |host| state::Host::delete(host, scope, key))
    }

    fn compare_and_set(
        &mut self,
        scope: state::Scope,
        key: String,
        old: Option<Vec<u8>>,
        new: Option<Vec<u8>>,
    ) -> wasmtime::Result<Result<bool, Failure>> {
        let given = json!({ "scope": word(scope), "key": key, "old": old.tell(), "new": new.tell() });
        let ask = |host: &mut Host| state::Host::compare_and_set(host, scope, key, old, new);
        self.at_once("state.compare-and-set", given, ask)
    }
}

impl evidence::Host for Taped<'_> {
    fn attach(
        &mut self,
        key: String,
        value: String,
        outcome: Option<bool>,
    ) -> wasmtime::Result<Result<String, Failure>> {
        let given = json!({ "key": key, "value": value, "outcome": outcome });
        self.at_once("evidence.attach", given, |host| evidence::Host::attach(host, key, value, outcome))
    }
}

impl typed_input::Host for Taped<'_> {
    fn evaluate(&mut self, kind: String, text: String) -> wasmtime::Result<Result<Option<Crossing>, Failure>> {
        let given = json!({ "kind": kind, "text": text });
        self.at_once("typed-input.evaluate", given, |host| typed_input::Host::evaluate(host, kind, text))
    }
}

impl context::Host for Taped<'_> {
    async fn get(&mut self, level: context::Level, path: String) -> wasmtime::Result<Result<Option<String>, Failure>> {
        let of = "context.get";
        match self.ask(of, json!({ "level": word(level), "path": path })) {
            Asked::Answered(answer) => answer,
            Asked::Ask(given) => {
                let answer = context::Host::get(self.0, level, path).await;
                self.keep(of, given, &answer);
                answer
            }
        }
    }

    async fn set(
        &mut self,
        level: context::Level,
        path: String,
        value: Option<String>,
    ) -> wasmtime::Result<Result<(), Failure>> {
        let of = "context.set";
        match self.ask(of, json!({ "level": word(level), "path": path, "value": value })) {
            Asked::Answered(answer) => answer,
            Asked::Ask(given) => {
                let answer = context::Host::set(self.0, level, path, value).await;
                self.keep(of, given, &answer);
                answer
            }
        }
    }
}

impl files::Host for Taped<'_> {
    async fn read(&mut self, path: String) -> wasmtime::Result<Result<Vec<u8>, Failure>> {
        let of = "files.read";
        match self.ask(of, json!({ "path": path })) {
            Asked::Answered(answer) => answer,
            Asked::Ask(given) => {
                let answer = files::Host::read(self.0, path).await;
                self.keep(of, given, &answer);
                answer
            }
        }
    }
}

impl script::Host for Taped<'_> {
    /// Not recorded: it is the plugin itself, which its digest names.
    fn source(&mut self) -> wasmtime::Result<(String, String)> {
        script::Host::source(self.0)
    }

    /// Function nodes are not recorded.
    fn ask(&mut self, what: String, given: String) -> wasmtime::Result<Result<Crossing, Failure>> {
        script::Host::ask(self.0, what, given)
    }
}
