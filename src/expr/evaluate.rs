//! Three-valued evaluation of an objective (Kleene's logic): true, false, or undecided with reasons.

use std::borrow::Cow;

use super::exact::{self, Exact, Known};
use super::print::{has_metric, metrics, number_text, symbol, write, write_number, write_text};
use crate::model::objective::{BinaryOp, Expr, Function, Objective, UnaryOp};
use crate::model::score::Score;

/// What is known of a metric.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Operand<'a> {
    Number(f64),
    Bool(bool),
    Text(&'a str),
    /// What was counted, compared exactly.
    Counted(Score),
    /// A whole number that its source rounded (halves upward) and gave no counts of: the true one lies up to a half
    /// below or above, of a percentage within 0 and 100. What only the rounding decides is undecided.
    Rounded(f64),
    /// There is a value, but too little was seen to go by it, and why, as the rest of a sentence that starts with the
    /// metric's name. It is not absent: nothing stands in for it, and whatever it is needed for is undecided.
    Withheld(&'a str),
    /// No value, and why, as the rest of a sentence that starts with the metric's name:
    /// `the collector returned no value`. Empty: no reason is known.
    Missing(&'a str),
}

/// What an objective comes to.
#[derive(Clone, Debug, PartialEq)]
pub struct Outcome {
    /// `None`: undecided, for the reasons in `missing`.
    pub truth: Option<bool>,
    /// The measured side of a comparison that stands at the top: its left side, or its right side when the left one
    /// names no metric (`95 <= A`). 1 or 0 for any other objective that is decided.
    pub value: Option<f64>,
    /// The objective with values in place of metrics; `?` where one has no value.
    pub substituted: String,
    /// What had no value, one sentence fragment each, in order of appearance. May be non-empty although the
    /// objective is decided.
    pub missing: Vec<String>,
}

impl Outcome {
    /// One sentence: `PASS_RATE >= 95: 91.5 >= 95 is false`, or why it is undecided.
    pub fn sentence(&self, objective: &Objective) -> String {
        let text = objective.text.trim();
        let because = self.missing.join("; ");
        match self.truth {
            Some(truth) if because.is_empty() => format!("{text}: {} is {truth}", self.substituted),
            Some(truth) => format!("{text}: {} is {truth} in any case, although {because}", self.substituted),
            None => format!("{text}: {} cannot be decided: {because}", self.substituted),
        }
    }
}

/// Evaluates an objective; `lookup` says what is known of a metric.
pub fn evaluate<'a>(objective: &'a Objective, lookup: &dyn Fn(&str) -> Operand<'a>) -> Outcome {
    let (truth, value, missing) = decided(&objective.expr, lookup);
    let mut substituted = String::with_capacity(objective.text.len() + 16);
    write(&objective.expr, &mut substituted, &|name, out| match lookup(name) {
        Operand::Number(n) | Operand::Rounded(n) if n.is_finite() => write_number(n, out),
        Operand::Counted(score) => out.push_str(&exact::counted_text(score)),
        Operand::Bool(b) => out.push_str(if b { "true" } else { "false" }),
        Operand::Text(t) if !t.is_empty() => write_text(t, out),
        _ => out.push('?'),
    });
    Outcome { truth, value, substituted, missing }
}

/// Truth, measured value, and what had no value. What is true or false only by the grace of a rounding is undecided.
fn decided<'a>(expr: &'a Expr, lookup: &dyn Fn(&str) -> Operand<'a>) -> (Option<bool>, Option<f64>, Vec<String>) {
    let mut evaluation = Evaluation::new(lookup);
    let (truth, value) = evaluation.top(expr);
    let Evaluation { missing, met_rounded, .. } = evaluation;
    if truth.is_none() || !met_rounded {
        return (truth, value, missing);
    }
    let rounded = metrics(expr).into_iter().filter_map(|name| match lookup(name) {
        Operand::Rounded(n) => Some((name, n)),
        _ => None,
    });
    let rounded: Vec<(&str, f64)> = rounded.take(ROUNDED_MAX).collect();
    let ends = |mask: u32, name: &str| {
        let (i, (_, n)) = rounded.iter().enumerate().find(|(_, (known, _))| *known == name)?;
        let (low, high) = before_rounding(*n);
        Some(if mask & (1 << i) == 0 { low } else { high })
    };
    for mask in 0..1_u32 << rounded.len() {
        let lookup = |name: &str| ends(mask, name).map_or_else(|| lookup(name), Operand::Number);
        if Evaluation::new(&lookup).top(expr).0 == truth {
            continue;
        }
        let reasons = rounded.iter().map(|(name, n)| {
            let (low, high) = before_rounding(*n);
            let until = if high.fract() == 0.0 { "to" } else { "to less than" };
            format!(
                "{name} was rounded to {} by its source, which gave no counts: it may be anything from {} {until} {}, and \
                 that decides",
                number_text(*n),
                number_text(low),
                number_text(if high.fract() == 0.0 { high } else { n + 0.5 }),
            )
        });
        return (None, None, missing.into_iter().chain(reasons).collect());
    }
    (truth, value, missing)
}

/// Rounded metrics of one objective whose combinations are tried.
const ROUNDED_MAX: usize = 8;

/// The least and the greatest number that are rounded to this one, halves upward.
fn before_rounding(n: f64) -> (f64, f64) {
    let (low, high) = (n - 0.5, (n + 0.5).next_down());
    if (0.0..=100.0).contains(&n) { (low.max(0.0), high.min(100.0)) } else { (low, high) }
}

/// Whether a condition holds, and what had no value.
pub(super) fn truth_of<'a>(expr: &'a Expr, lookup: &dyn Fn(&str) -> Operand<'a>) -> (Option<bool>, Vec<String>) {
    let (truth, _, missing) = decided(expr, lookup);
    (truth, missing)
}

/// The number that a side of a comparison comes to, as it is compared.
pub(super) fn number_of<'a>(expr: &'a Expr, lookup: &dyn Fn(&str) -> Operand<'a>) -> Option<f64> {
    Evaluation::new(lookup).settled(expr).number()
}

/// Of each `coalesce`, `if` and `count` met in evaluating `expr`, by the place of its arguments, what it came to: see
/// [`Known::branch`].
pub(super) fn decide_branches<'a>(expr: &'a Expr, lookup: &dyn Fn(&str) -> Operand<'a>) -> Vec<(*const Expr, usize)> {
    let mut evaluation = Evaluation::new(lookup);
    evaluation.value(expr);
    evaluation.branches
}

/// `left - right` to 15 significant digits of the larger one: 9.3 - 2.1 is 7.2.
pub(super) fn difference(left: f64, right: f64) -> f64 {
    decimal(decimal_sum(left - right, left.abs().max(right.abs())))
}

/// What is known exactly of an operand.
pub(super) fn exactly_known(operand: Operand<'_>) -> Exact<'_> {
    match operand {
        // 0.5555555555555556 is what somebody's binary division left of 5 / 9, and no exact number.
        Operand::Number(n) | Operand::Rounded(n) if decimal(n) != n => Exact::Missing,
        Operand::Number(n) | Operand::Rounded(n) => Exact::Number(n),
        Operand::Counted(score) => Exact::Score(score),
        Operand::Bool(b) => Exact::Number(f64::from(u8::from(b))),
        Operand::Text(text) => Exact::Text(text),
        Operand::Withheld(_) | Operand::Missing(_) => Exact::Missing,
    }
}

/// A value in the middle of an evaluation. `Unknown`'s reasons are in [`Evaluation::missing`].
#[derive(Clone, Debug, PartialEq)]
enum Operated<'a> {
    Unknown,
    Number(f64),
    Bool(bool),
    Text(Cow<'a, str>),
}

use Operated::{Bool, Number, Text, Unknown};

impl Operated<'_> {
    fn describe(&self) -> String {
        match self {
            Unknown => "?".into(),
            Number(n) => number_text(*n),
            Bool(b) => b.to_string(),
            Text(t) => format!("'{t}'"),
        }
    }

    /// As a number: truth values are 1 and 0 and numeric text is its number, as in JavaScript.
    fn number(&self) -> Option<f64> {
        match self {
            Number(n) => Some(*n),
            Bool(b) => Some(f64::from(u8::from(*b))),
            Text(t) => numeric(t),
            Unknown => None,
        }
    }
}

/// The number a text spells in decimal notation, blanks around it allowed.
pub(crate) fn numeric(text: &str) -> Option<f64> {
    let trimmed = text.trim();
    let digits = trimmed.strip_prefix(['-', '+']).unwrap_or(trimmed);
    // `parse` also reads "inf" and "NaN", which are no numbers here.
    if !digits.starts_with(|c: char| c.is_ascii_digit() || c == '.') {
        return None;
    }
    trimmed.parse().ok().filter(|n: &f64| n.is_finite())
}

/// What [`Outcome::missing`] says of a metric that is [`Operand::Missing`].
pub fn without_value(metric: &str, reason: &str) -> String {
    match reason {
        "" => format!("{metric} has no value"),
        _ => format!("{metric} has no value: {reason}"),
    }
}

struct Evaluation<'l, 'a> {
    lookup: &'l dyn Fn(&str) -> Operand<'a>,
    missing: Vec<String>,
    /// A value that its source rounded was used.
    met_rounded: bool,
    /// What [`decide_branches`] gives.
    branches: Vec<(*const Expr, usize)>,
}

impl<'l, 'a> Evaluation<'l, 'a> {
    fn new(lookup: &'l dyn Fn(&str) -> Operand<'a>) -> Self {
        Evaluation { lookup, missing: Vec::new(), met_rounded: false, branches: Vec::new() }
    }

    fn top(&mut self, expr: &'a Expr) -> (Option<bool>, Option<f64>) {
        let (result, value) = match expr {
            Expr::Binary(op, left, right) if is_comparison(*op) => {
                let (l, r) = (self.settled(left), self.settled(right));
                let exactly = self.exactly(left, right, &l, &r);
                let measured = if !has_metric(left) && has_metric(right) { &r } else { &l };
                let value = measured.number();
                (self.compare(*op, l, r, exactly), value)
            }
            _ => {
                let result = self.value(expr);
                let value = match &result {
                    Bool(b) => Some(f64::from(u8::from(*b))),
                    Number(n) => Some(*n),
                    _ => None,
                };
                (result, value)
            }
        };
        match self.condition(result, "the objective") {
            Bool(truth) => (Some(truth), value),
            _ => (None, value),
        }
    }

    fn unknown(&mut self, reason: String) -> Operated<'a> {
        if !self.missing.contains(&reason) {
            self.missing.push(reason);
        }
        Unknown
    }

    fn value(&mut self, expr: &'a Expr) -> Operated<'a> {
        match expr {
            Expr::Number(n) => Number(*n),
            Expr::Exact(score) => Number(score.value()),
            Expr::Text(t) => Text(Cow::Borrowed(t)),
            Expr::Bool(b) => Bool(*b),
            Expr::Null => self.unknown("null has no value".into()),
            Expr::Metric(name) => self.metric(name),
            Expr::Unary(UnaryOp::Not, inner) => {
                let inner = self.value(inner);
                match self.condition(inner, "what is negated") {
                    Bool(b) => Bool(!b),
                    _ => Unknown,
                }
            }
            Expr::Unary(UnaryOp::Negate, inner) => {
                let inner = self.value(inner);
                self.arithmetic_operand(inner, "-").map_or(Unknown, |n| Number(-n))
            }
            Expr::Binary(op @ (BinaryOp::And | BinaryOp::Or), left, right) => self.logic(*op, left, right),
            Expr::Binary(op, left, right) => {
                if is_comparison(*op) {
                    let (l, r) = (self.settled(left), self.settled(right));
                    let exactly = self.exactly(left, right, &l, &r);
                    self.compare(*op, l, r, exactly)
                } else {
                    let (l, r) = (self.value(left), self.value(right));
                    self.compute(*op, l, r)
                }
            }
            Expr::Call(function, arguments) => self.call(*function, arguments),
        }
    }

    /// How two numbers compare as exact fractions, where something was computed or counted and 63 bits hold it.
    fn exactly(
        &self,
        left: &'a Expr,
        right: &'a Expr,
        l: &Operated<'a>,
        r: &Operated<'a>,
    ) -> Option<std::cmp::Ordering> {
        let inexact = |expr: &Expr| match expr {
            Expr::Binary(..) | Expr::Unary(..) | Expr::Call(..) | Expr::Exact(_) => true,
            Expr::Metric(name) => matches!((self.lookup)(name), Operand::Counted(_)),
            _ => false,
        };
        let numbers = matches!((l, r), (Number(_), Number(_)));
        if !numbers || !(inexact(left) || inexact(right)) {
            return None;
        }
        let branch = |arguments: &[Expr]| exact::branch(&self.branches, arguments);
        exact::order(left, right, Known { metric: &|name| exactly_known((self.lookup)(name)), branch: &branch })
    }

    /// A value that is to be compared or cut: what was computed in 15 significant digits, what was collected as it is.
    fn settled(&mut self, expr: &'a Expr) -> Operated<'a> {
        match (self.value(expr), expr) {
            (Number(n), Expr::Binary(..) | Expr::Unary(..) | Expr::Call(..)) => Number(decimal(n)),
            (value, _) => value,
        }
    }

    fn metric(&mut self, name: &str) -> Operated<'a> {
        match (self.lookup)(name) {
            Operand::Number(n) if n.is_finite() => Number(n),
            Operand::Number(n) if n.is_nan() => self.unknown(format!("{name} is not a number (NaN)")),
            Operand::Number(_) => self.unknown(format!("{name} is infinite")),
            Operand::Rounded(n) => {
                self.met_rounded = true;
                Number(n)
            }
            Operand::Counted(score) => Number(score.value()),
            Operand::Bool(b) => Bool(b),
            Operand::Text("") => self.unknown(format!("{name} is an empty text")),
            Operand::Text(t) => Text(Cow::Borrowed(t)),
            Operand::Withheld(reason) => self.unknown(format!("{name} {reason}")),
            Operand::Missing(reason) => self.unknown(without_value(name, reason)),
        }
    }

    fn is_withheld(&self, expr: &'a Expr) -> bool {
        metrics(expr).into_iter().any(|name| matches!((self.lookup)(name), Operand::Withheld(_)))
    }

    /// Both sides are evaluated, so that the reasons of both are known; one decided side may be enough.
    fn logic(&mut self, op: BinaryOp, left: &'a Expr, right: &'a Expr) -> Operated<'a> {
        let side = if op == BinaryOp::Or { "a side of `or`" } else { "a side of `and`" };
        let left = self.value(left);
        let left = self.condition(left, side);
        let right = self.value(right);
        let right = self.condition(right, side);
        let deciding = op == BinaryOp::Or;
        match (left, right) {
            (Bool(l), _) if l == deciding => Bool(deciding),
            (_, Bool(r)) if r == deciding => Bool(deciding),
            (Bool(_), Bool(_)) => Bool(!deciding),
            _ => Unknown,
        }
    }

    /// Only true and false are conditions; there is no truthiness.
    fn condition(&mut self, value: Operated<'a>, what: &str) -> Operated<'a> {
        match value {
            Bool(_) | Unknown => value,
            other => self.unknown(format!("{what} is {}, which is neither true nor false", other.describe())),
        }
    }

    fn compare(
        &mut self,
        op: BinaryOp,
        left: Operated<'a>,
        right: Operated<'a>,
        exactly: Option<std::cmp::Ordering>,
    ) -> Operated<'a> {
        use std::cmp::Ordering::{Equal, Greater, Less};
        let order = match (&left, &right) {
            (Unknown, _) | (_, Unknown) => return Unknown,
            _ if exactly.is_some() => exactly,
            (Text(l), Text(r)) => Some(l.cmp(r)),
            (l, r) => match (l.number(), r.number()) {
                // -0 equals 0, and neither can be NaN.
                (Some(l), Some(r)) => l.partial_cmp(&r),
                _ => None,
            },
        };
        let Some(order) = order else {
            let (left, right) = (left.describe(), right.describe());
            return self.unknown(format!("{left} {} {right} compares different kinds of values", symbol(op)));
        };
        Bool(match op {
            BinaryOp::Equal => order == Equal,
            BinaryOp::NotEqual => order != Equal,
            BinaryOp::Less => order == Less,
            BinaryOp::LessOrEqual => order != Greater,
            BinaryOp::Greater => order == Greater,
            _ => order != Less,
        })
    }

    fn arithmetic_operand(&mut self, value: Operated<'a>, operation: &str) -> Option<f64> {
        if value == Unknown {
            return None;
        }
        let number = value.number();
        if number.is_none() {
            self.unknown(format!("{} is not a number, as `{operation}` needs", value.describe()));
        }
        number
    }

    fn compute(&mut self, op: BinaryOp, left: Operated<'a>, right: Operated<'a>) -> Operated<'a> {
        let (l, r) = (self.arithmetic_operand(left, symbol(op)), self.arithmetic_operand(right, symbol(op)));
        let (Some(l), Some(r)) = (l, r) else { return Unknown };
        let result = match op {
            BinaryOp::Add => decimal_sum(l + r, l.abs().max(r.abs())),
            BinaryOp::Subtract => decimal_sum(l - r, l.abs().max(r.abs())),
            BinaryOp::Multiply => l * r,
            BinaryOp::Divide | BinaryOp::Remainder if r == 0.0 => {
                let (left, right) = (number_text(l), number_text(r));
                return self.unknown(format!("{left} {} {right} divides by zero", symbol(op)));
            }
            BinaryOp::Divide => l / r,
            _ => l % r,
        };
        self.finite(result, || format!("{} {} {}", number_text(l), symbol(op), number_text(r)))
    }

    fn finite(&mut self, result: f64, operation: impl FnOnce() -> String) -> Operated<'a> {
        if result.is_finite() { Number(result) } else { self.unknown(format!("{} is too large", operation())) }
    }

    fn call(&mut self, function: Function, arguments: &'a [Expr]) -> Operated<'a> {
        match function {
            Function::Count => match self.known(arguments) {
                None => Unknown,
                Some(known) => {
                    self.branches.push((arguments.as_ptr(), known));
                    Number(known as f64)
                }
            },
            Function::Exists => self.known(arguments).map_or(Unknown, |known| Bool(known > 0)),
            Function::Coalesce => {
                let before = self.missing.len();
                for (at, argument) in arguments.iter().enumerate() {
                    let value = self.value(argument);
                    if value != Unknown {
                        self.branches.push((arguments.as_ptr(), at));
                        self.missing.truncate(before);
                        return value;
                    }
                    // What comes next stands in for what is absent, and this is not.
                    if self.is_withheld(argument) {
                        return Unknown;
                    }
                }
                Unknown
            }
            Function::If => self.choose(arguments),
            _ => self.aggregate(function, arguments),
        }
    }

    /// How many arguments have a value; `None`, and why, when one has none because something is withheld.
    fn known(&mut self, arguments: &'a [Expr]) -> Option<usize> {
        let mut known = 0;
        for argument in arguments {
            let before = self.missing.len();
            match self.value(argument) {
                Unknown if self.is_withheld(argument) => return None,
                Unknown => {}
                _ => known += 1,
            }
            // That something is absent is what is asked for.
            self.missing.truncate(before);
        }
        Some(known)
    }

    /// `if(c, a, b)`. Undecided when `c` is, even if both ends agree.
    fn choose(&mut self, arguments: &'a [Expr]) -> Operated<'a> {
        let [condition, then, otherwise] = arguments else { return Unknown };
        let condition = self.value(condition);
        let (at, chosen) = match self.condition(condition, "the condition of `if`") {
            Bool(true) => (1, then),
            Bool(false) => (2, otherwise),
            _ => return Unknown,
        };
        self.branches.push((arguments.as_ptr(), at));
        self.value(chosen)
    }

    /// Functions of numbers; one argument without a value leaves the result without one.
    fn aggregate(&mut self, function: Function, arguments: &'a [Expr]) -> Operated<'a> {
        let name = super::parse::FUNCTIONS.iter().find(|f| f.1 == function).map_or("", |f| f.0);
        let mut numbers = Vec::with_capacity(arguments.len());
        for argument in arguments {
            let value = match function {
                Function::Floor | Function::Ceil | Function::Round => self.settled(argument),
                _ => self.value(argument),
            };
            numbers.extend(self.arithmetic_operand(value, name));
        }
        if numbers.len() < arguments.len() {
            return Unknown;
        }
        let sum = || decimal_sum(numbers.iter().sum(), numbers.iter().fold(0.0, |most, n| n.abs().max(most)));
        let first = numbers.first().copied().unwrap_or(0.0);
        let result = match function {
            Function::Min => numbers.iter().copied().fold(f64::INFINITY, f64::min),
            Function::Max => numbers.iter().copied().fold(f64::NEG_INFINITY, f64::max),
            Function::Abs => first.abs(),
            Function::Floor => first.floor(),
            Function::Ceil => first.ceil(),
            Function::Round => round(first, numbers.get(1).copied().unwrap_or(0.0)),
            Function::Avg => sum() / numbers.len() as f64,
            _ => sum(),
        };
        self.finite(result, || format!("{name}(…)"))
    }
}

pub(super) fn is_comparison(op: BinaryOp) -> bool {
    matches!(super::parse::strength(op), 4 | 5)
}

/// Significant decimal digits of what is computed, less one.
const DIGITS: i32 = 14;

/// A computed number to 15 significant digits, as spreadsheets have it: 57 / 100 * 100 is 57, not 56.99999999999999,
/// so that a promise kept to the letter is not broken by binary fractions. What is compared is the exact fraction where
/// there is one ([`exact::order`]); this stands in for it where there is none.
fn decimal(n: f64) -> f64 {
    if is_exact(n) {
        return n;
    }
    format!("{n:.*e}", DIGITS as usize).parse().unwrap_or(n)
}

/// A sum or difference of numbers up to `most`. What remains when they all but cancel is good to the 15th digit of
/// those only: 100.1 - 100 is 0.1. Otherwise nothing is cut off before it is compared.
fn decimal_sum(n: f64, most: f64) -> f64 {
    if is_exact(n) || n.abs() > most / 10.0 {
        return n;
    }
    let decimals = DIGITS - most.log10().floor() as i32;
    if decimals < 0 { n } else { format!("{n:.*}", decimals as usize).parse().unwrap_or(n) }
}

/// Whole numbers need no rounding; infinities cannot have it.
fn is_exact(n: f64) -> bool {
    !n.is_finite() || n.fract() == 0.0
}

/// Rounds to `digits` decimals (0 to 15, whole); halves upward, as JavaScript's `Math.round`.
fn round(n: f64, digits: f64) -> f64 {
    let scale = 10f64.powi(digits.clamp(0.0, 15.0) as i32);
    let scaled = if digits > 0.0 { decimal(n * scale) } else { n * scale };
    if !scaled.is_finite() {
        return n;
    }
    let floor = scaled.floor();
    // Not floor(x + 0.5): that is 1 for the largest number below 0.5.
    let rounded = if scaled - floor >= 0.5 { floor + 1.0 } else { floor };
    rounded / scale
}
