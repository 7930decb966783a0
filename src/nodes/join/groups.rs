//! The groups of a join: what becomes of a message, by the modes that put sequences and groups together.

use std::collections::HashMap;

use arcstr::{ArcStr, literal};
use tokio::sync::oneshot;

use super::super::combining::Sequences;
use super::group::{Group, Kind};
use super::reduce::Pending;
use super::{Custom, NO_ID};
use crate::model::{Msg, Object, Path, Value};
use crate::runtime::NodeState;

/// What is being put together.
#[derive(Default)]
pub(super) struct Groups {
    pub(super) groups: HashMap<ArcStr, Group>,
    pub(super) pending: HashMap<ArcStr, Pending>,
    /// Places taken in all groups, held to `node_messages_max`.
    pub(super) held: usize,
    /// The message at hand, where complete nodes want to hear of it; taken by the group that it joins.
    pub(super) heard: Option<Msg>,
    /// Messages the node is done with, to be told.
    pub(super) done: Vec<Msg>,
    timers: u64,
}

impl NodeState for Groups {
    fn kept(&self) -> Option<Value> {
        if self.groups.is_empty() && self.pending.is_empty() {
            return None;
        }
        let groups = self.groups.iter().map(|(key, group)| Value::array(vec![key.clone().into(), group.kept()]));
        let pending = self.pending.iter().map(|(key, pending)| Value::array(vec![key.clone().into(), pending.kept()]));
        let lists = [Value::array(groups.collect()), Value::array(pending.collect()), Value::from(self.timers as f64)];
        Some(Value::array(lists.into()))
    }

    fn restored(kept: &Value) -> Option<Self> {
        let mut state = Groups { timers: kept.get("2").to_number() as u64, ..Groups::default() };
        for group in kept.get("0").as_array()? {
            let (key, group) = (group.get("0").to_js_string(), Group::restored(&group.get("1"))?);
            state.held += group.places();
            state.groups.insert(key, group);
        }
        for pending in kept.get("1").as_array()? {
            let (key, pending) = (pending.get("0").to_js_string(), Pending::restored(&pending.get("1")));
            state.held += pending.len();
            state.pending.insert(key, pending);
        }
        Some(state)
    }
}

impl Sequences for Groups {
    fn holds(&self, id: &str) -> bool {
        self.groups.contains_key(id) || self.pending.contains_key(id)
    }
}

/// What became of a message.
pub(super) enum Outcome {
    Kept,
    /// A group is whole.
    Send(Msg),
    Warn(String),
    Fail(String),
    /// All that was held was dropped.
    TooMany(String),
    /// A group was opened, or its time starts anew.
    Time {
        key: ArcStr,
        timer: u64,
        cancelled: oneshot::Receiver<()>,
    },
}

impl Groups {
    /// Takes a group away and makes its message.
    fn finish(&mut self, key: &str) -> Option<Msg> {
        let mut group = self.groups.remove(key)?;
        self.held -= group.places();
        self.done.append(&mut group.heard);
        Some(group.into_msg())
    }

    fn forget(&mut self, key: &str) {
        if let Some(mut group) = self.groups.remove(key) {
            self.held -= group.places();
            self.done.append(&mut group.heard);
        }
    }

    /// Drops everything: one more message would be too many.
    fn overflow(&mut self, max: usize) -> Outcome {
        *self = Groups { timers: self.timers, ..Groups::default() };
        Outcome::TooMany(format!(
            "too many pending messages in join node: more than {max} (node_messages_max); all dropped"
        ))
    }

    /// Takes over what a run leaves; gives what becomes of it, and the sequences to reduce that are whole.
    pub(super) fn absorb(
        &mut self,
        of_run: Groups,
        (has_places, accumulates): (bool, bool),
        max: usize,
    ) -> (Vec<Outcome>, Vec<Pending>) {
        let mut outcomes = Vec::new();
        for (id, group) in of_run.groups {
            let Some(held) = self.groups.get_mut(&id) else {
                self.held += group.places();
                self.groups.insert(id, group);
                continue;
            };
            let before = held.places();
            outcomes.extend(held.absorb(group, has_places).err().map(Outcome::Fail));
            self.held += held.places() - before;
            if held.is_full() && accumulates && !held.says_complete() {
                outcomes.push(Outcome::Send(held.clone_msg()));
            } else if held.is_full() {
                outcomes.extend(self.finish(&id).map(Outcome::Send));
            }
        }
        let mut whole = Vec::new();
        for (id, pending) in of_run.pending {
            self.held += pending.len();
            let held = self.pending.entry(id.clone()).or_default();
            held.absorb(pending);
            if held.is_whole() {
                let pending = self.pending.remove(&id).unwrap_or_default();
                self.held -= pending.len();
                whole.push(pending);
            }
        }
        if self.held > max || self.groups.len() > max {
            outcomes.push(self.overflow(max));
        }
        (outcomes, whole)
    }

    fn start_timer(&mut self, key: &ArcStr) -> Outcome {
        let (cancel, cancelled) = oneshot::channel();
        self.timers += 1;
        let timer = self.timers;
        if let Some(group) = self.groups.get_mut(key) {
            group.timer = Some((timer, cancel));
        }
        Outcome::Time { key: key.clone(), timer, cancelled }
    }

    /// Takes `msg` when it is kept; leaves it for an error.
    pub(super) fn auto(&mut self, slot: &mut Option<Msg>, max: usize) -> Outcome {
        let Some(msg) = slot.as_ref() else { return Outcome::Kept };
        let parts = match msg.get("parts") {
            Some(Value::Object(parts)) if parts.contains_key("id") => parts.clone(),
            _ if msg.object().contains_key("reset") => {
                let groups = std::mem::take(&mut self.groups);
                let done = groups.into_values().flat_map(|group| group.heard).collect();
                *self = Groups { timers: self.timers, done, ..Groups::default() };
                return Outcome::Kept;
            }
            _ => return Outcome::Warn("Message missing msg.parts property - cannot join in 'auto' mode".into()),
        };
        let id = match parts.get("id") {
            Some(Value::String(id)) => id.clone(),
            other => other.map(Value::to_js_string).unwrap_or_default(),
        };
        if msg.object().contains_key("reset") {
            self.forget(&id);
            return Outcome::Kept;
        }
        let key = parts.get("key").filter(|k| !k.is_nullish()).map(Value::to_js_string).filter(|k| !k.is_empty());
        if !self.groups.contains_key(&id) {
            if self.groups.len() >= max {
                return self.overflow(max);
            }
            let kind = parts.get("type").and_then(Value::as_str).and_then(Kind::parse).unwrap_or(Kind::Array);
            let property = match parts.get("property") {
                Some(Value::String(text)) if !text.is_empty() => match Path::parse(text) {
                    Ok(path) => path,
                    Err(e) => return Outcome::Fail(format!("msg.parts.property: {e}")),
                },
                _ => Path::key(literal!("payload")),
            };
            let mut group = Group::new(kind, property, parts.get("ch").cloned().unwrap_or_default());
            group.array_len = parts.get("len").map_or(0.0, Value::to_number);
            self.groups.insert(id.clone(), group);
        }
        let Some(group) = self.groups.get_mut(&id) else { return Outcome::Kept };
        if group.kind == Kind::Object && key.is_none() {
            return Outcome::Warn("Message missing 'msg.parts.key' property - cannot add to object".into());
        }
        let before = group.places();
        let value = msg.get_path(&group.property);
        let index = parts.get("index").map_or(f64::NAN, Value::to_number);
        if index >= max as f64 {
            return self.overflow(max);
        }
        if let Err(problem) = group.add(key, index, value) {
            return Outcome::Fail(problem);
        }
        self.held += group.places() - before;
        if self.held > max {
            return self.overflow(max);
        }
        let complete = msg.object().contains_key("complete");
        group.heard.extend(self.heard.take());
        if let Some(msg) = slot.take() {
            group.merge(msg, parts.get("count"));
        }
        if complete || group.is_full() { self.finish(&id).map_or(Outcome::Kept, Outcome::Send) } else { Outcome::Kept }
    }

    pub(super) fn custom(&mut self, custom: &Custom, mut msg: Msg, max: usize) -> Vec<Outcome> {
        if let Some(path) = custom.property.as_ref().filter(|path| msg.read_path(path).is_err()) {
            return vec![Outcome::Warn(format!("Message property {} not found", path.text()))];
        }
        if !custom.useparts
            && let Some(parts) = msg.remove("parts")
            && let Some(outer) = parts.as_object().and_then(|p| p.get("parts"))
        {
            let nested: Object = [("parts", outer.clone())].into_iter().collect();
            msg.set(literal!("parts"), nested);
        }
        let parts = match msg.get("parts") {
            Some(Value::Object(parts)) => Some(parts.clone()),
            _ => None,
        };
        let (mut id, mut count) = (NO_ID, custom.count);
        if custom.count_by_parts
            && let Some(parts) = &parts
        {
            count = parts.get("count").map_or(0.0, Value::to_number);
            if let Some(given) = parts.get("id") {
                id = given.to_js_string();
            }
        }
        let mut outcomes = Vec::new();
        let has = |name: &str| msg.object().contains_key(name);
        if has("restartTimeout") && custom.timeout.is_some() && self.groups.contains_key(&id) {
            outcomes.push(self.start_timer(&id));
        }
        if has("reset") {
            self.forget(&id);
            return outcomes;
        }
        let complete = has("complete");
        let mut key = None;
        if custom.build == Kind::Object {
            key = Some(msg.get_path(&custom.key)).filter(|k| !k.is_nullish()).map(|k| k.to_js_string());
            key = key.filter(|k| !k.is_empty());
            if key.is_none() {
                outcomes.extend(match (complete, self.groups.contains_key(&id)) {
                    (true, true) => self.finish(&id).map(Outcome::Send),
                    (true, false) => None,
                    (false, _) => Some(Outcome::Warn(format!(
                        "Message missing key property 'msg.{}' - cannot add to object",
                        custom.key.text()
                    ))),
                });
                return outcomes;
            }
        }
        if !self.groups.contains_key(&id) {
            if self.groups.len() >= max {
                outcomes.push(self.overflow(max));
                return outcomes;
            }
            let property = custom.property.clone().unwrap_or_else(|| Path::key(literal!("payload")));
            let mut group = Group::new(custom.build, property, custom.joiner.clone());
            group.target = count;
            self.groups.insert(id.clone(), group);
            if custom.timeout.is_some() {
                outcomes.push(self.start_timer(&id));
            }
        }
        let Some(group) = self.groups.get_mut(&id) else { return outcomes };
        let value = match &custom.property {
            Some(path) => msg.get_path(path),
            None => msg.to_value(),
        };
        let before = group.places();
        if custom.build == Kind::Merged && !value.is_nullish() && !matches!(value, Value::Object(_)) {
            if !complete {
                outcomes.push(Outcome::Warn("Cannot merge non-object types".into()));
            }
        } else if let Err(problem) = group.add(key, f64::NAN, value) {
            outcomes.push(Outcome::Fail(problem));
            return outcomes;
        }
        self.held += group.places() - before;
        if self.held > max {
            outcomes.push(self.overflow(max));
            return outcomes;
        }
        group.heard.extend(self.heard.take());
        group.merge(msg, parts.as_ref().and_then(|p| p.get("count")));
        if complete || group.is_full() {
            if custom.accumulate && !complete {
                group.timer = None;
                outcomes.push(Outcome::Send(group.clone_msg()));
            } else {
                outcomes.extend(self.finish(&id).map(Outcome::Send));
            }
        }
        outcomes
    }

    /// Starts a group's time anew after its run was gone on with; `None` when the group is over, or another time of it
    /// runs.
    pub(super) fn run_again(&mut self, key: &ArcStr, timer: u64) -> Option<oneshot::Receiver<()>> {
        let group = self.groups.get_mut(key)?;
        group.timer.as_ref().filter(|(of, _)| *of == timer)?;
        let (cancel, cancelled) = oneshot::channel();
        group.timer = Some((timer, cancel));
        Some(cancelled)
    }

    /// A group's time is over.
    pub(super) fn elapsed(&mut self, key: &ArcStr, timer: u64, accumulate: bool) -> Option<Msg> {
        let group = self.groups.get_mut(key)?;
        if group.timer.as_ref().map(|(t, _)| *t) != Some(timer) {
            return None;
        }
        if accumulate && !group.says_complete() {
            group.timer = None;
            return Some(group.clone_msg());
        }
        self.finish(key)
    }
}
