//! `$moment` in expressions: moments are objects of the evaluation that only their methods look into.
//!
//! JSONata calls a method on what a step gives: `$moment().format()` evaluates `format` on the moment. The evaluator
//! knows no such functions, so a call of a method's name is rewritten to a function of ours that is given the name and
//! the value at hand.

use std::cell::RefCell;
use std::rc::Rc;

use indexmap::IndexMap;
use jiff::tz::TimeZone;
use jsonata_core::ast::{AstNode, BinaryOp, PathStep, Stage};
use jsonata_core::evaluator::{Evaluator, EvaluatorError};
use jsonata_core::value::JValue;

use crate::model::Value;
use crate::nodes::moment::{self, Answer, Arg, Around, METHODS, Moment};
use crate::runtime::Place;

/// Names that nobody can write in an expression.
const METHOD: &str = "method of a moment";
const TEXT: &str = "text of a moment";

/// What JSONata has no values for.
#[derive(Clone, Debug)]
enum Thing {
    Moment(Moment),
    /// Milliseconds since the epoch; NaN when invalid.
    Date(f64),
}

/// The moments of one evaluation.
#[derive(Clone)]
pub struct Moments {
    around: Rc<Around>,
    /// The property of an object that stands for one of `things`; its value is the index. Another one for each evaluation:
    /// nothing that comes from outside has it.
    handle: Rc<str>,
    things: Rc<RefCell<Vec<Thing>>>,
}

/// Calls of methods become calls of [`METHOD`]; what becomes text goes through [`TEXT`].
pub fn rewrite(node: &mut AstNode) {
    use AstNode as A;
    match node {
        A::String(_) | A::Name(_) | A::Number(_) | A::Boolean(_) | A::Null | A::Undefined | A::Placeholder => {}
        A::Regex { .. } | A::Variable(_) | A::ParentVariable(_) | A::Parent(_) | A::Wildcard | A::Descendant => {}
        A::Path { steps } => steps.iter_mut().for_each(rewrite_step),
        A::Binary { op, lhs, rhs } => {
            rewrite(lhs);
            rewrite(rhs);
            if *op == BinaryOp::Concatenate {
                as_text(lhs);
                as_text(rhs);
            }
        }
        A::Unary { operand, .. } => rewrite(operand),
        A::Function { name, args, is_builtin } => {
            args.iter_mut().for_each(rewrite);
            if !*is_builtin && METHODS.contains(&name.as_str()) {
                // The empty variable is `$`, the value at hand.
                let receiver = [A::String(std::mem::take(name)), A::Variable(String::new())];
                args.splice(0..0, receiver);
                *name = METHOD.into();
                *is_builtin = true;
            } else if *is_builtin && name == "string" {
                args.iter_mut().take(1).for_each(as_text);
            }
        }
        A::Call { procedure, args } => {
            rewrite(procedure);
            args.iter_mut().for_each(rewrite);
        }
        A::Lambda { body, .. } => rewrite(body),
        A::Array(items) | A::Block(items) | A::ArrayGroup(items) => items.iter_mut().for_each(rewrite),
        A::Object(pairs) => rewrite_pairs(pairs),
        A::ObjectTransform { input, pattern } => {
            rewrite(input);
            rewrite_pairs(pattern);
        }
        A::Conditional { condition, then_branch, else_branch } => {
            rewrite(condition);
            rewrite(then_branch);
            else_branch.iter_mut().for_each(|node| rewrite(node));
        }
        A::FunctionApplication(inner) => rewrite(inner),
        A::Sort { input, terms } => {
            rewrite(input);
            terms.iter_mut().for_each(|(term, _)| rewrite(term));
        }
        A::Transform { location, update, delete } => {
            rewrite(location);
            rewrite(update);
            delete.iter_mut().for_each(|node| rewrite(node));
        }
    }
}

fn rewrite_step(step: &mut PathStep) {
    rewrite(&mut step.node);
    for stage in &mut step.stages {
        if let Stage::Filter(filter) = stage {
            rewrite(filter);
        }
    }
}

fn rewrite_pairs(pairs: &mut [(AstNode, AstNode)]) {
    for (key, value) in pairs {
        rewrite(key);
        rewrite(value);
    }
}

fn as_text(node: &mut AstNode) {
    if matches!(node, AstNode::String(_) | AstNode::Number(_) | AstNode::Placeholder) {
        return;
    }
    let value = std::mem::replace(node, AstNode::Null);
    *node = AstNode::Function { name: TEXT.into(), args: vec![value], is_builtin: true };
}

fn refused(what: &str) -> EvaluatorError {
    EvaluatorError::EvaluationError(format!("$moment: {what}"))
}

impl Moments {
    /// At the engine's time, in the zone that the environment variable `TZ` names, else UTC.
    pub fn of(place: Place<'_>) -> Moments {
        let zone = place.env("TZ");
        let local = zone.as_str().and_then(|name| TimeZone::get(name).ok()).unwrap_or(TimeZone::UTC);
        let around = Around { now: place.now().as_millisecond() as f64, local };
        let handle = format!("\0moment {:016x}", fastrand::u64(..)).into();
        Moments { around: Rc::new(around), handle, things: Rc::default() }
    }

    pub fn register(&self, evaluator: &mut Evaluator) -> Result<(), EvaluatorError> {
        let (make, method, text) = (self.clone(), self.clone(), self.clone());
        evaluator.register_fn("moment", move |args: &[JValue]| make.made(args))?;
        evaluator.register_fn(METHOD, move |args: &[JValue]| method.called(args))?;
        evaluator.register_fn(TEXT, move |args: &[JValue]| {
            let value = args.first().cloned().unwrap_or(JValue::Undefined);
            Ok(match text.thing(&value) {
                Some(thing) => JValue::string(quoted(&thing)),
                None => text.told(&value),
            })
        })
    }

    /// `$moment(input, format, locale, strict)`.
    fn made(&self, args: &[JValue]) -> Result<JValue, EvaluatorError> {
        let args: Vec<Arg> = args.iter().map(|value| self.arg(value)).collect();
        let arg = |i: usize| args.get(i).unwrap_or(&Arg::Undefined);
        let moment = moment::create(&self.around, arg(0), arg(1), arg(2), arg(3)).map_err(|why| refused(&why))?;
        Ok(self.kept(Thing::Moment(moment)))
    }

    /// A method by its name, of the value at hand, with arguments.
    fn called(&self, args: &[JValue]) -> Result<JValue, EvaluatorError> {
        let [name, this, args @ ..] = args else { return Err(refused("a method without a moment")) };
        let name = name.as_str().unwrap_or_default();
        let given: Vec<Arg> = args.iter().map(|value| self.arg(value)).collect();
        let answer = match self.thing(this) {
            Some(Thing::Moment(mut moment)) => {
                let answer = moment::call(&self.around, &mut moment, name, &given);
                self.change(this, Thing::Moment(moment));
                answer
            }
            Some(Thing::Date(ms)) => moment::call_date(&self.around, ms, name),
            None => {
                let why = format!("T1006: Attempted to invoke a non-function ({name})");
                return Err(EvaluatorError::ReferenceError(why));
            }
        };
        Ok(match answer.map_err(|why| refused(&why))? {
            Answer::This => this.clone(),
            Answer::Moment(moment) => self.kept(Thing::Moment(*moment)),
            Answer::Date(ms) => self.kept(Thing::Date(ms)),
            Answer::Text(text) => JValue::string(text),
            Answer::Number(n) => JValue::Number(n),
            Answer::Bool(b) => JValue::Bool(b),
            Answer::Null => JValue::Null,
            Answer::Undefined => JValue::Undefined,
            Answer::Numbers(numbers) => JValue::array(numbers.into_iter().map(JValue::Number).collect()),
            Answer::Named(numbers) => {
                JValue::object(numbers.into_iter().map(|(name, n)| (name.to_string(), JValue::Number(n))).collect())
            }
        })
    }

    /// What an expression gives out: text as JSON has it, a date as such.
    pub fn left_behind(&self, value: &JValue) -> Option<Value> {
        Some(match self.thing(value)? {
            Thing::Moment(moment) => moment.to_iso().map_or(Value::Null, Value::from),
            Thing::Date(ms) => Value::Date(ms),
        })
    }

    /// As `$clone` copies it.
    pub fn copied(&self, value: JValue) -> JValue {
        match self.thing(&value) {
            Some(Thing::Moment(moment)) => self.kept(Thing::Moment(moment.copy())),
            _ => value,
        }
    }

    fn kept(&self, thing: Thing) -> JValue {
        let mut things = self.things.borrow_mut();
        let mut object = IndexMap::new();
        if let Thing::Moment(_) = thing {
            object.insert("_isAMomentObject".to_string(), JValue::Bool(true));
        }
        object.insert(self.handle.to_string(), JValue::Number(things.len() as f64));
        things.push(thing);
        JValue::object(object)
    }

    fn index(&self, value: &JValue) -> Option<usize> {
        let JValue::Object(object) = value else { return None };
        match object.get(&*self.handle)? {
            JValue::Number(n) => Some(*n as usize),
            _ => None,
        }
    }

    fn thing(&self, value: &JValue) -> Option<Thing> {
        self.things.borrow().get(self.index(value)?).cloned()
    }

    fn change(&self, value: &JValue, thing: Thing) {
        let mut things = self.things.borrow_mut();
        if let Some(kept) = self.index(value).and_then(|i| things.get_mut(i)) {
            *kept = thing;
        }
    }

    /// A value in which all moments are text.
    fn told(&self, value: &JValue) -> JValue {
        match value {
            JValue::Array(items) => JValue::Array(items.with_items(items.iter().map(|item| self.told(item)).collect())),
            JValue::Object(map) => match self.thing(value) {
                Some(Thing::Moment(moment)) => moment.to_iso().map_or(JValue::Null, JValue::string),
                Some(Thing::Date(ms)) => Moment::at(&self.around, ms).to_iso().map_or(JValue::Null, JValue::string),
                None => JValue::object(map.iter().map(|(key, value)| (key.to_string(), self.told(value))).collect()),
            },
            other => other.clone(),
        }
    }

    fn arg(&self, value: &JValue) -> Arg {
        match value {
            JValue::Undefined => Arg::Undefined,
            JValue::Null => Arg::Null,
            JValue::Bool(b) => Arg::Bool(*b),
            JValue::Number(n) => Arg::Number(*n),
            JValue::String(text) => Arg::Text(text.to_string()),
            JValue::Array(items) => Arg::Array(items.iter().map(|item| self.arg(item)).collect()),
            JValue::Object(map) => match self.thing(value) {
                Some(Thing::Moment(moment)) => Arg::Moment(Box::new(moment)),
                Some(Thing::Date(ms)) => Arg::Date(ms),
                None => Arg::Object(map.iter().map(|(key, value)| (key.to_string(), self.arg(value))).collect()),
            },
            _ => Arg::Function,
        }
    }
}

/// As `$string` and `&` have an object: its JSON.
fn quoted(thing: &Thing) -> String {
    let iso = match thing {
        Thing::Moment(moment) => moment.to_iso(),
        Thing::Date(ms) => Moment::at(&Around { now: 0.0, local: TimeZone::UTC }, *ms).to_iso(),
    };
    iso.map_or("null".into(), |iso| format!("\"{iso}\""))
}
