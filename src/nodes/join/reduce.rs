//! The reduce mode: a sequence folded into one value with JSONata.

use arcstr::literal;

use super::super::combining::{Combining, FailedSequence, again, dropped, given_again, kept_msgs, restored_msgs};
use super::super::jsonata::Jsonata;
use super::super::typed::TypedInput;
use super::Groups;
use crate::model::{Diagnostic, Msg, Object, Value};
use crate::runtime::{Cx, NodeConfig, NodeError, Step};

pub(super) struct Reduce {
    init: TypedInput,
    step: Jsonata,
    fixup: Option<Jsonata>,
    right: bool,
}

/// A sequence that is not whole yet.
#[derive(Default)]
pub(super) struct Pending {
    count: Option<f64>,
    msgs: Vec<Msg>,
}

impl Pending {
    /// What a durable run keeps of it.
    pub(super) fn kept(&self) -> Value {
        Value::array(vec![self.count.map_or(Value::Null, Value::Number), kept_msgs(&self.msgs)])
    }

    /// What [`Pending::kept`] kept.
    pub(super) fn restored(kept: &Value) -> Pending {
        Pending { count: kept.get("0").as_f64(), msgs: restored_msgs(&kept.get("1")) }
    }

    pub(super) fn len(&self) -> usize {
        self.msgs.len()
    }

    pub(super) fn is_whole(&self) -> bool {
        self.count == Some(self.msgs.len() as f64)
    }

    /// Takes over the messages of the same sequence.
    pub(super) fn absorb(&mut self, other: Pending) {
        self.count = self.count.or(other.count);
        self.msgs.extend(other.msgs);
    }
}

impl Reduce {
    pub(super) fn new(config: &NodeConfig<'_>) -> Result<Reduce, Vec<Diagnostic>> {
        let mut problems = Vec::new();
        let mut compile = |name: &str| {
            let problem = |e| config.problem("invalid-jsonata", name, format!("invalid JSONata expression: {e}"));
            Jsonata::compile(&config.text(name)).map_err(|e| problems.push(problem(e))).ok()
        };
        let step = compile("reduceExp");
        let fixup = if config.text("reduceFixup").is_empty() { None } else { compile("reduceFixup") };
        let init = match config.get("reduceInit") {
            Value::Undefined | Value::Null => Ok(TypedInput::Constant(Value::Undefined)),
            _ => TypedInput::parse(config, "reduceInit", "reduceInitType"),
        };
        let right = config.flag("reduceRight");
        match (step, init) {
            (Some(step), Ok(init)) if problems.is_empty() => Ok(Reduce { init, step, fixup, right }),
            (_, init) => {
                problems.extend(init.err());
                Err(problems)
            }
        }
    }

    /// Keeps a message; the last of its sequence reduces it.
    pub(super) fn take(&self, groups: &Combining<Groups>, msg: Msg, cx: &mut Cx<'_>) -> Step {
        if let Some(sequences) = given_again(&msg, cx) {
            cx.keep();
            let pending = |msgs: Vec<Msg>| Pending { count: Some(msgs.len() as f64), msgs };
            return self.all(sequences.into_iter().map(|(msgs, _)| pending(msgs)).collect(), cx);
        }
        let Some(Value::Object(parts)) = msg.get("parts").cloned() else {
            cx.emit(0, msg);
            return Step::Done;
        };
        let id = parts.get("id").map(Value::to_js_string).unwrap_or_default();
        let count = parts.get("count").map(Value::to_number);
        let max = cx.services().limits.node_messages_max;
        let last = msg.clone();
        cx.keep();
        let whole = groups.with_sequence(&id, cx, |groups| {
            let pending = groups.pending.entry(id.clone()).or_default();
            pending.count = pending.count.or(count);
            pending.msgs.push(msg);
            groups.held += 1;
            if pending.is_whole() {
                let whole = groups.pending.remove(&id);
                groups.held -= whole.as_ref().map_or(0, Pending::len);
                return Ok(whole);
            }
            if groups.held > max {
                groups.pending.clear();
                groups.held = 0;
                return Err(format!("too many pending messages in join node: more than {max}; all dropped"));
            }
            Ok(None)
        });
        match whole {
            Ok(None) => Step::Done,
            Err(problem) => dropped(last, problem, cx),
            Ok(Some(whole)) => self.all(vec![whole], cx),
        }
    }

    /// Reduces whole sequences. Those that fail are tried again together where failures are.
    pub(super) fn all(&self, sequences: Vec<Pending>, cx: &mut Cx<'_>) -> Step {
        let mut failed = Vec::new();
        for whole in sequences {
            // As in Node-RED the node is done with all messages before it reduces them; where that is tried again, after it.
            let tried_again = cx.is_tried_again();
            if !tried_again {
                whole.msgs.iter().for_each(|msg| cx.done(msg));
            }
            match self.reduce(&whole, cx) {
                Ok(msg) => {
                    if tried_again {
                        whole.msgs.iter().for_each(|msg| cx.done(msg));
                    }
                    cx.emit(0, msg);
                }
                Err(error) => failed.push(FailedSequence { msgs: whole.msgs, untold: Vec::new(), error }),
            }
        }
        if !cx.is_tried_again() {
            let last = failed.pop();
            for FailedSequence { mut msgs, error, .. } in failed {
                cx.error(msgs.pop().unwrap_or_default(), error);
            }
            failed = Vec::from_iter(last);
        }
        again(failed, cx)
    }

    fn reduce(&self, whole: &Pending, cx: &Cx<'_>) -> Result<Msg, NodeError> {
        let index = |msg: &Msg| msg.get("parts").map(|p| p.get("index")).unwrap_or_default();
        let mut msgs = whole.msgs.clone();
        msgs.sort_by(|a, b| index(a).to_number().total_cmp(&index(b).to_number()));
        if self.right {
            msgs.reverse();
        }
        let count = Value::Number(whole.count.unwrap_or_default());
        let nothing = Msg::from_object(Object::new());
        let mut result = self.init.eval(&nothing, cx)?;
        for msg in &msgs {
            let variables = [("I", index(msg)), ("N", count.clone()), ("A", result)];
            result = self.step.eval_with(msg, cx.place(), &variables)?;
        }
        if let Some(fixup) = &self.fixup {
            result = fixup.eval_with(&nothing, cx.place(), &[("N", count), ("A", result)])?;
        }
        let mut msg = msgs.pop().unwrap_or_default();
        msg.set(literal!("payload"), result);
        Ok(msg)
    }
}
