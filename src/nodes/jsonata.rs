//! JSONata as Node-RED offers it: compiled at deploy, evaluated against the message, with Node-RED's functions.
//!
//! `jsonata-core` works on values of its own, so messages are converted at the border. Only the message
//! properties an expression can read are converted (see [`Reads`]); what is merely counted is not copied.

mod moments;
mod reads;
mod values;

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use indexmap::IndexMap;
use jsonata_core::Expression;
use jsonata_core::ast::AstNode;
use jsonata_core::evaluator::{Context, Evaluator, EvaluatorError, EvaluatorOptions};
use jsonata_core::value::JValue;

use self::moments::Moments;
use self::reads::Reads;
use self::values::{convert_object, from_jsonata, outline, to_jsonata};
use crate::model::flow::NodeIndex;
use crate::model::path::Path;
use crate::model::value::date_to_iso;
use crate::model::{Msg, Object, Value};
use crate::runtime::context::{Level, UNKNOWN};
use crate::runtime::{Cx, Deployed, NodeError, Place};

/// An evaluation is ended after this long, milliseconds.
const EVAL_MS_MAX: u64 = 2_000;
/// Nested calls of one evaluation.
const EVAL_DEPTH_MAX: usize = 2_000;
/// Items of a sequence an expression may build.
const SEQUENCE_LEN_MAX: usize = 1_000_000;
/// Programs each thread keeps; beyond that it starts anew.
const PROGRAMS_MAX: usize = 512;

thread_local! {
    /// The crate's compiled programs cannot leave their thread, so each thread makes its own on first use.
    static PROGRAMS: RefCell<HashMap<u64, Rc<Expression>>> = RefCell::default();
}

/// A compiled expression.
#[derive(Debug)]
pub struct Jsonata {
    /// Key in [`PROGRAMS`]; never used twice in a process.
    id: u64,
    ast: AstNode,
    reads: Reads,
    /// Node-RED's old mode: a text with the word `msg` sees `{msg: …}` instead of the message.
    legacy: bool,
    calls: Calls,
}

/// Which of the functions that need the node's surroundings an expression names.
#[derive(Debug, Default)]
struct Calls {
    context: bool,
    env: bool,
    clone: bool,
    moment: bool,
    time: bool,
}

impl Calls {
    fn none(&self) -> bool {
        !(self.context || self.env || self.clone || self.moment || self.time)
    }
}

fn options() -> EvaluatorOptions {
    EvaluatorOptions {
        timeout_ms: Some(EVAL_MS_MAX),
        max_stack_depth: Some(EVAL_DEPTH_MAX),
        max_sequence_length: Some(SEQUENCE_LEN_MAX),
        cancel: None,
    }
}

impl Jsonata {
    /// Compiles; the error is the parser's message.
    pub fn compile(text: &str) -> Result<Jsonata, String> {
        let mut ast = jsonata_core::parser::parse(text).map_err(|e| e.to_string())?;
        let mut reads = Reads::default();
        reads.visit(&ast, true);
        let legacy = names_msg(text);
        // `$eval` may call anything.
        let calls = |name: &str| text.contains(name) || text.contains("$eval");
        if text.contains("$moment") {
            moments::rewrite(&mut ast);
        }
        static NEXT: AtomicU64 = AtomicU64::new(0);
        Ok(Jsonata {
            id: NEXT.fetch_add(1, Ordering::Relaxed),
            calls: Calls {
                context: calls("flowContext") || calls("globalContext"),
                env: calls("$env"),
                clone: calls("$clone"),
                moment: calls("$moment"),
                time: calls("$now") || calls("$millis"),
            },
            ast,
            reads,
            legacy,
        })
    }

    /// Evaluates against the message. No result is `Undefined`; a result that is a function, too.
    pub fn eval(&self, msg: &Msg, cx: &Cx<'_>) -> Result<Value, NodeError> {
        self.eval_with(msg, cx.place(), &[])
    }

    /// Evaluates with variables, for example `("I", index)` for `$I`.
    pub fn eval_with(&self, msg: &Msg, place: Place<'_>, variables: &[(&str, Value)]) -> Result<Value, NodeError> {
        self.run(self.input(msg.object())?, place, variables)
    }

    /// Evaluates on any value, as `sort` does on the elements of an array, with variables.
    pub fn eval_on(&self, value: &Value, place: Place<'_>, variables: &[(&str, Value)]) -> Result<Value, NodeError> {
        let mut input = to_jsonata(value, 0)?;
        if self.legacy {
            input = JValue::object(IndexMap::from([("msg".to_string(), input)]));
        }
        self.run(input, place, variables)
    }

    fn run(&self, input: JValue, place: Place<'_>, variables: &[(&str, Value)]) -> Result<Value, NodeError> {
        if variables.is_empty() && self.calls.none() {
            let result = self.program().evaluate_with_options(&input, options()).map_err(node_error)?;
            return from_jsonata(&result, 0, None);
        }
        let mut context = Context::new();
        for (name, value) in variables {
            context.bind((*name).to_string(), to_jsonata(value, 0)?);
        }
        let mut evaluator = Evaluator::with_options(context, options());
        let moments = self.calls.moment.then(|| Moments::of(place));
        let around = (self.calls.context || self.calls.env).then(|| Rc::new(Surroundings::of(place)));
        self.register(&mut evaluator, place, around.as_ref(), moments.as_ref())?;
        let result = evaluator.evaluate(&self.ast, &input).map_err(|error| {
            // No expression catches an error: what a context failed with is what ended it.
            let failed = around.as_ref().and_then(|around| around.failed.take());
            failed.unwrap_or_else(|| node_error(error))
        })?;
        from_jsonata(&result, 0, moments.as_ref())
    }

    /// This thread's program of the expression.
    fn program(&self) -> Rc<Expression> {
        PROGRAMS.with_borrow_mut(|programs| {
            if programs.len() >= PROGRAMS_MAX && !programs.contains_key(&self.id) {
                programs.clear();
            }
            let make = || Rc::new(Expression::from_ast(self.ast.clone()));
            programs.entry(self.id).or_insert_with(make).clone()
        })
    }

    fn input(&self, msg: &Object) -> Result<JValue, NodeError> {
        if self.legacy {
            let whole = convert_object(msg, 0)?;
            return Ok(JValue::object(IndexMap::from([("msg".to_string(), whole)])));
        }
        if self.reads.whole {
            return convert_object(msg, 0);
        }
        let mut map = IndexMap::new();
        for name in &self.reads.names {
            match msg.get(name) {
                None | Some(Value::Undefined) => {}
                Some(value) => {
                    map.insert(name.clone(), to_jsonata(value, 1)?);
                }
            }
        }
        for name in self.reads.counted.difference(&self.reads.names) {
            match msg.get(name) {
                None | Some(Value::Undefined) => {}
                Some(value) => {
                    map.insert(name.clone(), outline(value)?);
                }
            }
        }
        Ok(JValue::object(map))
    }

    fn register(
        &self,
        evaluator: &mut Evaluator,
        place: Place<'_>,
        around: Option<&Rc<Surroundings>>,
        moments: Option<&Moments>,
    ) -> Result<(), NodeError> {
        if let Some(around) = around.cloned() {
            for (name, level) in [("flowContext", Level::Flow), ("globalContext", Level::Global)] {
                let around = around.clone();
                let read = move |args: &[JValue]| around.context(level, args);
                evaluator.register_fn(name, read).map_err(node_error)?;
            }
            let env = move |args: &[JValue]| around.env(args);
            evaluator.register_fn("env", env).map_err(node_error)?;
        }
        let now = place.now().as_millisecond();
        if self.calls.clone {
            let moments = moments.cloned();
            let copy = move |args: &[JValue]| {
                let value = args.first().cloned().unwrap_or(JValue::Undefined);
                Ok(moments.as_ref().map_or(value.clone(), |moments| moments.copied(value)))
            };
            evaluator.register_fn("clone", copy).map_err(node_error)?;
        }
        if let Some(moments) = moments {
            moments.register(evaluator).map_err(node_error)?;
        }
        if self.calls.time {
            evaluator
                .register_fn_override("millis", move |_: &[JValue]| Ok(JValue::Number(now as f64)))
                .map_err(node_error)?;
            evaluator.register_fn_override("now", move |args: &[JValue]| now_call(args, now)).map_err(node_error)?;
        }
        Ok(())
    }
}

/// `$now(picture?, timezone?)` at the engine's time.
fn now_call(args: &[JValue], now: i64) -> Result<JValue, EvaluatorError> {
    if args.first().is_none_or(|a| a.is_undefined()) {
        return Ok(JValue::string(date_to_iso(now as f64)));
    }
    let mut context = Context::new();
    for (name, i) in [("picture", 0), ("zone", 1)] {
        context.bind(name.into(), args.get(i).cloned().unwrap_or(JValue::Undefined));
    }
    let text = format!("$fromMillis({now}, $picture, $zone)");
    let ast = jsonata_core::parser::parse(&text).map_err(|e| EvaluatorError::EvaluationError(e.to_string()))?;
    Evaluator::with_context(context).evaluate(&ast, &JValue::Null)
}

fn node_error(error: EvaluatorError) -> NodeError {
    match error.code() {
        Some(code) => NodeError::with_code(error.message().to_string(), code.to_string()),
        None => NodeError::new(error.message().to_string()),
    }
}

/// As nodes report what an expression failed with: a context that could not be read is no fault of the expression.
pub(super) fn invalid(error: NodeError) -> NodeError {
    if error.code.as_deref() == Some(UNKNOWN) {
        return error;
    }
    NodeError { message: format!("Invalid JSONata expression: {}", error.message), ..error }
}

/// True when the text contains `msg` as a word of its own: Node-RED's test for its old mode
/// (`/(^|[^a-zA-Z0-9_'".])msg([^a-zA-Z0-9_'"]|$)/`).
fn names_msg(text: &str) -> bool {
    let word = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '\'' | '"');
    text.match_indices("msg").any(|(at, found)| {
        let before = text[..at].chars().next_back();
        let after = text[at + found.len()..].chars().next();
        before.is_none_or(|c| !word(c) && c != '.') && after.is_none_or(|c| !word(c))
    })
}

/// What `$flowContext`, `$globalContext` and `$env` look into.
struct Surroundings {
    deployed: Arc<Deployed>,
    node: NodeIndex,
    /// Why a context could not be read, with its code, which the evaluator's errors have no room for.
    failed: RefCell<Option<NodeError>>,
}

impl Surroundings {
    fn of(place: Place<'_>) -> Self {
        let (deployed, node) = place.held();
        Surroundings { deployed, node, failed: RefCell::default() }
    }

    fn context(&self, level: Level, args: &[JValue]) -> Result<JValue, EvaluatorError> {
        let Some(key) = args.first().and_then(JValue::as_str) else { return Ok(JValue::Undefined) };
        let store = args.get(1).and_then(JValue::as_str);
        let failed = EvaluatorError::EvaluationError;
        let path = Path::parse(key).map_err(|e| failed(e.to_string()))?.in_store(store);
        let value = self.deployed.place(self.node).context_get(level, &path, &Msg::new());
        let value = value.map_err(|e| {
            let text = e.message.clone();
            self.failed.replace(Some(e));
            failed(text)
        })?;
        to_jsonata(&value, 0).map_err(|e| failed(e.message))
    }

    fn env(&self, args: &[JValue]) -> Result<JValue, EvaluatorError> {
        let name = args.first().and_then(JValue::as_str).unwrap_or_default();
        match self.deployed.place(self.node).env(name) {
            Value::Undefined => Ok(JValue::string("")),
            value => to_jsonata(&value, 0).map_err(|e| EvaluatorError::EvaluationError(e.message)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nodes::testbed::json;
    use crate::nodes::typed::probe::bed;

    const MSG: &str = r#"{"payload":[{"id":1,"ok":true},{"id":2,"ok":false}],"topic":"t","n":3,"msg":"own"}"#;

    fn eval(text: &str) -> Value {
        let bed = bed(text, "jsonata");
        bed.set_global("g", json(r#"{"k":[1,2]}"#));
        bed.payload(MSG)
    }

    #[test]
    fn expressions_see_the_message_and_node_reds_functions() {
        for (text, expected) in [
            ("payload[ok].id", "1"),
            ("$count(payload)", "2"),
            ("$string($count(payload))", "\"2\""),
            ("$sum(payload.id) / 2", "1.5"),
            ("$lookup($, 'topic')", "\"t\""),
            ("$lookup('topic')", "\"t\""),
            ("$count($keys())", "4"),
            ("$$.topic", "\"t\""),
            ("payload.($$.n + id)", "[4,5]"),
            ("payload[$$.n = 3].id", "[1,2]"),
            ("$flowContext('g.k[1]')", "2"),
            ("$globalContext('g').k", "[1,2]"),
            ("$env('HERE')", "\"tab-env\""),
            ("$env('NONE')", "\"\""),
            ("$clone(payload)[1].id", "2"),
            ("$millis()", "1772366645067"),
            ("$now()", "\"2026-03-01T12:04:05.067Z\""),
            ("$now('[Y0001]/[M01]')", "\"2026/03\""),
            ("$moment()", "\"2026-03-01T12:04:05.067Z\""),
            ("$eval('payload.id')", "[1,2]"),
            ("msg.topic & msg.n", "\"t3\""),
            ("{'a': topic, 'b': nothing}", "{\"a\":\"t\"}"),
        ] {
            assert_eq!(eval(text).to_json(), expected, "{text}");
        }
        assert_eq!(eval("nothing.here"), Value::Undefined);
    }

    #[test]
    fn only_what_can_be_read_is_converted() {
        let reads = |text: &str| Jsonata::compile(text).unwrap().reads;
        assert!(!reads("payload.x[$ > 3]").whole);
        assert!(reads("$").whole && reads("*").whole && reads("payload.%").whole && reads("$keys()").whole);
        let counted = reads("$string($count(payload))");
        assert!(counted.names.is_empty() && counted.counted.contains("payload") && !counted.whole);
    }

    #[test]
    fn buffers_pass_through() {
        let mut msg = Msg::new();
        msg.set("b", Value::Bytes(Arc::new(vec![1, 2])));
        let out = bed("b", "jsonata").send_msgs(vec![msg]);
        assert_eq!(out[0].1.payload(), &Value::Bytes(Arc::new(vec![1, 2])));
    }

    #[test]
    fn no_message_can_pass_for_a_moment() {
        let forged = "{\"\\u0000thing\":0,\"_isAMomentObject\":true}";
        let bed = bed("[$moment().year(), payload]", "jsonata");
        let out = bed.payload(&format!(r#"{{"payload":{forged}}}"#));
        assert_eq!(out.to_json(), format!("[2026,{forged}]"));
    }

    #[test]
    fn what_never_ends_or_grows_too_large_is_an_error() {
        let endless = bed("($f := function($x) { $f($x + 1) + 1 }; $f(0))", "jsonata");
        assert!(endless.error(MSG).contains("D1011"));
        assert!(bed("[1..2000000]", "jsonata").error(MSG).contains("D2015"));
        assert!(bed("topic - 1", "jsonata").error(MSG).contains("T2001"));
    }

    #[test]
    fn the_word_msg_turns_the_old_mode_on() {
        assert!(names_msg("msg.payload") && names_msg("$string(msg)") && names_msg("1 + msg"));
        assert!(!names_msg("payload.msg") && !names_msg("'msg'") && !names_msg("msgs") && !names_msg("_msgid"));
    }
}
