//! A node of a flow whose work a plugin does.

use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use arcstr::ArcStr;

use super::host::{Call, Kept, NodeFacts};
use super::instance::{Fault, Instance};
use super::manifest::Instances;
use super::plugins::Shared;
use super::recording::{self, Recorded};
use super::slot::{Calls, Slot, States, Version};
use super::{spec, wire};
use crate::clock::Clock;
use crate::model::call::Export;
use crate::model::{Msg, Object, Value};
use crate::runtime::catalogue::Built;
use crate::runtime::{Cx, Effect, Node, NodeConfig, NodeError, NodeState, Source, Step, Then};

/// A deployed node of a plugin's type.
pub(super) struct PluginNode(Arc<Core>);

struct Core {
    shared: Arc<Shared>,
    slot: Arc<Slot>,
    node_type: String,
    facts: Arc<NodeFacts>,
    states: Arc<States>,
    pool: Arc<Pool>,
    calls: Arc<Calls>,
    /// Messages one after the other, for plugins that ask for a single instance.
    turn: tokio::sync::Mutex<()>,
}

/// Warm instances of one node.
#[derive(Default)]
pub(super) struct Pool(Mutex<Vec<Warm>>);

struct Warm {
    instance: Instance,
    since: Instant,
}

impl Pool {
    fn idle(&self) -> std::sync::MutexGuard<'_, Vec<Warm>> {
        self.0.lock().unwrap_or_else(|p| p.into_inner())
    }

    /// Drops instances that nobody has used for this long.
    pub(super) fn drop_idle(&self, longer_than: Duration) {
        let mut idle = self.idle();
        let (fresh, old) = idle.drain(..).partition(|w| w.since.elapsed() < longer_than);
        *idle = fresh;
        // Freed outside the lock.
        drop(idle);
        drop::<Vec<Warm>>(old);
    }

    pub(super) fn len(&self) -> usize {
        self.idle().len()
    }
}

/// What a run keeps for a node.
#[derive(Default)]
struct OfRun {
    state: Arc<Kept>,
    last: Option<Msg>,
}

impl NodeState for OfRun {
    fn kept(&self) -> Option<Value> {
        let state = self.state.all();
        if state.is_empty() && self.last.is_none() {
            return None;
        }
        let state = state.into_iter().map(|(key, value)| (ArcStr::from(key), Value::Bytes(Arc::new(value))));
        let last = self.last.as_ref().map_or(Value::Null, Msg::to_value);
        Some(Value::array(vec![Value::from(state.collect::<Object>()), last]))
    }

    fn restored(kept: &Value) -> Option<Self> {
        let state = kept.get("0");
        let values = state.as_object()?.iter().filter_map(|(key, value)| match value {
            Value::Bytes(bytes) => Some((key.to_string(), bytes.to_vec())),
            _ => None,
        });
        Some(OfRun { state: Arc::new(Kept::of(values)), last: Msg::from_value(&kept.get("1")) })
    }
}

/// Builds a node of this type.
pub(super) fn build(shared: &Arc<Shared>, slot: &Arc<Slot>, node_type: &str, cfg: &NodeConfig<'_>) -> Built {
    let version = slot.current();
    let Some(of) = version.node_type(node_type) else {
        return Err(vec![cfg.problem("plugin-type", "type", format!("plugin {} has no such type now", slot.name))]);
    };
    let config = serde_json::Value::Object(spec::config(&of.schema, &cfg.node.config));
    let states = slot.states(&cfg.node.id);
    let facts = NodeFacts {
        id: cfg.node.id.clone(),
        secrets: spec::secrets(&config),
        config: config.to_string(),
        state: states.node.clone(),
    };
    let pool = Arc::new(Pool::default());
    slot.add_pool(&pool);
    Ok(Arc::new(PluginNode(Arc::new(Core {
        shared: shared.clone(),
        calls: slot.record.calls(node_type),
        slot: slot.clone(),
        node_type: node_type.to_string(),
        facts: Arc::new(facts),
        states,
        pool,
        turn: tokio::sync::Mutex::new(()),
    }))))
}

impl Node for PluginNode {
    /// One that reaches the network calls there; its calls have keys by which their receivers can tell repetitions.
    fn effect(&self) -> Effect {
        if self.0.slot.current().facts.granted.allows("http") { Effect::Repeatable } else { Effect::None }
    }

    fn secrets(&self) -> Vec<String> {
        recording::secrets(&self.0.slot.current().facts, &self.0.facts)
    }

    fn on_msg(&self, msg: Msg, cx: &mut Cx<'_>) -> Step {
        self.begin(Export::Process, msg, cx)
    }

    fn on_run_end(&self, cx: &mut Cx<'_>) -> Step {
        match cx.run_state::<OfRun>().last.take() {
            Some(last) => self.begin(Export::RunEnd, last, cx),
            None => Step::Done,
        }
    }

    /// Drops instances nobody uses.
    fn start(&self, source: Source) -> Option<Pin<Box<dyn Future<Output = ()> + Send>>> {
        let (pool, clock) = (self.0.pool.clone(), source.clock());
        let idle = Duration::from_millis(self.0.shared.sandbox.limits.idle_ms_max.max(1));
        Some(Box::pin(async move {
            loop {
                clock.sleep(idle).await;
                pool.drop_idle(idle);
            }
        }))
    }
}

impl PluginNode {
    fn begin(&self, export: Export, msg: Msg, cx: &mut Cx<'_>) -> Step {
        let core = self.0.clone();
        let version = core.slot.version_for(cx.started());
        let Some(of) = version.node_type(&core.node_type) else {
            let text = format!("plugin {} has no node type {} any more", core.slot.name, core.node_type);
            return Step::fail(msg, text);
        };
        if let Some(why) = core.slot.quarantined(&core.node_type, || cx.now()) {
            return Step::fail(msg, NodeError::with_code(why, "EQUARANTINE"));
        }
        let caller = cx.has_caller();
        let bytes_max = core.shared.sandbox.limits.input_bytes_max;
        let wants = of.description.wants.as_deref();
        let Ok(sent) = wire::message(&msg, wants, cx.run_id().text(), caller, bytes_max) else {
            let text = format!("the message is larger than {bytes_max} bytes (plugins.input_bytes_max)");
            return Step::fail(msg, NodeError::with_code(text, "ELIMIT"));
        };
        let at_run_end = of.description.at_run_end;
        let of_run = cx.run_state::<OfRun>();
        if at_run_end {
            of_run.last = Some(msg.clone());
        }
        let state = if caller { of_run.state.clone() } else { core.states.shared.clone() };
        if at_run_end && matches!(export, Export::Process) {
            cx.at_run_end();
        }
        let mut call = Box::new(Call::new(msg, cx.deployed().clone(), cx.node_index(), state));
        call.idempotency_key = cx.idempotency_key();
        let input = sent.message.clone();
        call.crossed = sent;
        let clock = cx.clock();
        Step::wait(async move {
            let (call, result) = core.call(&version, export, &input, call, &clock).await;
            Box::new(move |cx: &mut Cx<'_>| settle(&core, *call, result, cx)) as Then
        })
    }
}

impl Core {
    async fn call(
        &self,
        version: &Arc<Version>,
        export: Export,
        input: &super::bindings::probity::plugin::types::Message,
        call: Box<Call>,
        clock: &Clock,
    ) -> (Box<Call>, Result<(), Fault>) {
        let kept = version.manifest.instances;
        let _turn = if kept == Instances::Single { Some(self.turn.lock().await) } else { None };
        let mut instance = match self.instance(version).await {
            Ok(instance) => instance,
            Err(fault) => return (call, Err(fault)),
        };
        let began = Instant::now();
        let (call, result) = instance.handle(export, &self.node_type, input, call, clock).await;
        let ended = Instant::now();
        self.calls.took(ended.duration_since(began));
        self.calls.memory_bytes.fetch_max(instance.memory_bytes() as u64, Ordering::Relaxed);
        let reusable = matches!(result, Ok(()) | Err(Fault::Failed(_)));
        // What a guest keeps in its memory from message to message is on no record.
        let keeps = kept != Instances::Fresh && !version.manifest.deterministic;
        if reusable && keeps && instance.is_fit() {
            let mut idle = self.pool.idle();
            if idle.len() < self.shared.workers {
                idle.push(Warm { instance, since: ended });
            }
        }
        (call, result)
    }

    /// A warm instance of this version, else a new one.
    async fn instance(&self, version: &Arc<Version>) -> Result<Instance, Fault> {
        loop {
            let warm = self.pool.idle().pop();
            match warm {
                Some(warm) if Arc::ptr_eq(warm.instance.facts(), &version.facts) => return Ok(warm.instance),
                // Of a version before: dropped.
                Some(_) => {}
                None => break,
            }
        }
        let place = self.shared.place().await;
        self.calls.instances.fetch_add(1, Ordering::Relaxed);
        let (sandbox, facts) = (&self.shared.sandbox, version.facts.clone());
        Instance::new(sandbox, &version.code, facts, self.facts.clone(), place).await
    }
}

/// Does in the run what the guest asked for.
fn settle(core: &Core, call: Call, result: Result<(), Fault>, cx: &mut Cx<'_>) -> Step {
    let Call { msg, given, record, .. } = call;
    if let Some(Recorded { record, bytes }) = record {
        cx.keep_call(record, bytes, core.shared.sandbox.limits.run_record_bytes_max);
    }
    for (level, text) in given.log {
        cx.log(level, text);
    }
    if given.log_cut > 0 {
        cx.warn(format!("{} more lines of the log were cut (plugins.log_lines_max)", given.log_cut));
    }
    if !given.refused.is_empty() {
        core.slot.record.refused(&given.refused, cx.now());
    }
    match result {
        Err(Fault::Stopped { kind, message }) => {
            // What it did before it broke off is not half a result: nothing of it goes out.
            core.calls.failed.fetch_add(1, Ordering::Relaxed);
            core.slot.stopped(&core.node_type, kind, &message, cx.now(), &core.shared.sandbox.limits);
            return Step::fail(msg, NodeError::with_code(message, format!("EPLUGIN_{}", kind.as_str().to_uppercase())));
        }
        Ok(()) | Err(Fault::Failed(_)) => core.slot.went_well(&core.node_type),
    }
    if let Some(status) = given.status {
        cx.status(status);
    }
    for evidence in given.evidence {
        cx.attach(evidence);
    }
    for emission in given.emissions {
        let mut out = if emission.keep { msg.clone() } else { Msg::new() };
        for name in emission.delete {
            out.remove(&name);
        }
        for (name, value) in emission.set {
            out.set(ArcStr::from(name), value);
        }
        cx.emit(emission.port, out);
    }
    match result {
        Err(Fault::Failed(failure)) => {
            core.calls.failed.fetch_add(1, Ordering::Relaxed);
            Step::fail(msg, NodeError { code: failure.code, ..NodeError::new(failure.message) })
        }
        _ => Step::Done,
    }
}
