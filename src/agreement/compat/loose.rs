//! An objective as JavaScript would have it: loose comparison, truthiness, no value that is not known. The language
//! stays the closed one of [`crate::expr`]; only what its operators mean differs, and nothing is ever run.
//!
//! `==` and `===` are both loose: the language does not tell them apart.

use std::borrow::Cow;
use std::cmp::Ordering;

use serde_json::Value;

use crate::model::objective::{BinaryOp, Expr, Function, UnaryOp};

/// A JavaScript value, as far as objectives have them.
#[derive(Clone, Debug, PartialEq)]
pub enum Loose<'a> {
    Undefined,
    Null,
    Bool(bool),
    Number(f64),
    Text(Cow<'a, str>),
}

use Loose::{Bool, Null, Number, Text, Undefined};

/// What a metric's value is in an objective. The Registry pastes the value into the program text: a text is read as
/// the literal it spells (`'85'` is the number 85), and one that spells no literal is refused rather than run.
///
/// # Errors
/// The rest of a sentence that starts with the metric's name.
pub fn metric_value(value: Option<&Value>) -> Result<Loose<'_>, String> {
    match value {
        None => Ok(Undefined),
        Some(Value::Null) => Ok(Null),
        Some(Value::Bool(b)) => Ok(Bool(*b)),
        Some(Value::Number(n)) => Ok(Number(n.as_f64().unwrap_or(f64::NAN))),
        Some(Value::String(text)) => {
            literal(text).ok_or_else(|| format!("is the text \"{}\", which is no value", shortened(text)))
        }
        Some(Value::Array(_)) => Err("is a list, which is no value".into()),
        Some(Value::Object(_)) => Err("is an object, which is no value".into()),
    }
}

fn shortened(text: &str) -> String {
    let mut short: String = text.chars().take(60).collect();
    if short.len() < text.len() {
        short.push('…');
    }
    short
}

/// The literal that a program text spells.
fn literal(text: &str) -> Option<Loose<'static>> {
    match text.trim() {
        "undefined" => return Some(Undefined),
        "NaN" => return Some(Number(f64::NAN)),
        "Infinity" => return Some(Number(f64::INFINITY)),
        "-Infinity" => return Some(Number(f64::NEG_INFINITY)),
        _ => {}
    }
    match crate::expr::parse(text).ok()?.expr {
        Expr::Number(n) => Some(Number(n)),
        Expr::Exact(score) => Some(Number(score.value())),
        Expr::Unary(UnaryOp::Negate, inner) => match *inner {
            Expr::Number(n) => Some(Number(-n)),
            Expr::Exact(score) => Some(Number(-score.value())),
            _ => None,
        },
        Expr::Bool(b) => Some(Bool(b)),
        Expr::Null => Some(Null),
        Expr::Text(text) => Some(Text(text.into())),
        _ => None,
    }
}

/// Whether an objective holds: `Boolean(objective)`.
pub fn holds<'a>(expr: &'a Expr, lookup: &dyn Fn(&str) -> Loose<'a>) -> bool {
    truthy(&value(expr, lookup))
}

fn value<'a>(expr: &'a Expr, lookup: &dyn Fn(&str) -> Loose<'a>) -> Loose<'a> {
    let of = |expr: &'a Expr| value(expr, lookup);
    match expr {
        Expr::Number(n) => Number(*n),
        Expr::Exact(score) => Number(score.value()),
        Expr::Text(text) => Text(Cow::Borrowed(text)),
        Expr::Bool(b) => Bool(*b),
        Expr::Null => Null,
        Expr::Metric(name) => lookup(name),
        Expr::Unary(UnaryOp::Not, inner) => Bool(!truthy(&of(inner))),
        Expr::Unary(UnaryOp::Negate, inner) => Number(-number(&of(inner))),
        Expr::Binary(BinaryOp::And, left, right) => {
            let left = of(left);
            if truthy(&left) { of(right) } else { left }
        }
        Expr::Binary(BinaryOp::Or, left, right) => {
            let left = of(left);
            if truthy(&left) { left } else { of(right) }
        }
        Expr::Binary(op, left, right) => binary(*op, &of(left), &of(right)),
        Expr::Call(function, arguments) => call(*function, &arguments.iter().map(of).collect::<Vec<_>>()),
    }
}

fn binary<'a>(op: BinaryOp, left: &Loose<'a>, right: &Loose<'a>) -> Loose<'a> {
    let (l, r) = (|| number(left), || number(right));
    match op {
        BinaryOp::Equal => Bool(equal(left, right)),
        BinaryOp::NotEqual => Bool(!equal(left, right)),
        BinaryOp::Less => Bool(order(left, right) == Some(Ordering::Less)),
        BinaryOp::Greater => Bool(order(left, right) == Some(Ordering::Greater)),
        BinaryOp::LessOrEqual => Bool(matches!(order(left, right), Some(Ordering::Less | Ordering::Equal))),
        BinaryOp::GreaterOrEqual => Bool(matches!(order(left, right), Some(Ordering::Greater | Ordering::Equal))),
        BinaryOp::Add if matches!(left, Text(_)) || matches!(right, Text(_)) => {
            Text(format!("{}{}", text(left), text(right)).into())
        }
        BinaryOp::Add => Number(l() + r()),
        BinaryOp::Subtract => Number(l() - r()),
        BinaryOp::Multiply => Number(l() * r()),
        BinaryOp::Divide => Number(l() / r()),
        BinaryOp::Remainder => Number(l() % r()),
        // Decided before both sides are known.
        BinaryOp::And => Bool(truthy(left) && truthy(right)),
        BinaryOp::Or => Bool(truthy(left) || truthy(right)),
    }
}

/// JavaScript has none of these by such names; they mean here what `Math` and array functions would.
fn call<'a>(function: Function, arguments: &[Loose<'a>]) -> Loose<'a> {
    let known = |value: &&Loose<'a>| !matches!(value, Undefined | Null) && !matches!(value, Number(n) if n.is_nan());
    let numbers = || arguments.iter().map(number);
    let first = || arguments.first().map_or(f64::NAN, number);
    match function {
        // Not `f64::min`, which passes NaN over.
        Function::Min => Number(numbers().fold(f64::INFINITY, |a, b| if a.is_nan() || a < b { a } else { b })),
        Function::Max => Number(numbers().fold(f64::NEG_INFINITY, |a, b| if a.is_nan() || a > b { a } else { b })),
        Function::Abs => Number(first().abs()),
        // `Math.round` rounds halves up, also below zero; a second argument is ours and counts places.
        Function::Round => {
            let scale = 10f64.powf(arguments.get(1).map_or(0.0, number).clamp(-15.0, 15.0));
            Number((first() * scale + 0.5).floor() / scale)
        }
        Function::Floor => Number(first().floor()),
        Function::Ceil => Number(first().ceil()),
        Function::Sum => Number(numbers().sum()),
        Function::Avg => Number(numbers().sum::<f64>() / arguments.len() as f64),
        Function::Count => Number(arguments.iter().filter(known).count() as f64),
        Function::Exists => Bool(arguments.first().is_some_and(|value| known(&value))),
        Function::Coalesce => arguments.iter().find(known).cloned().unwrap_or(Undefined),
        Function::If => {
            let chosen = if arguments.first().is_some_and(truthy) { 1 } else { 2 };
            arguments.get(chosen).cloned().unwrap_or(Undefined)
        }
    }
}

/// `Boolean(value)`.
fn truthy(value: &Loose<'_>) -> bool {
    match value {
        Undefined | Null => false,
        Bool(b) => *b,
        Number(n) => *n != 0.0 && !n.is_nan(),
        Text(text) => !text.is_empty(),
    }
}

/// `Number(value)`.
fn number(value: &Loose<'_>) -> f64 {
    match value {
        Undefined => f64::NAN,
        Null => 0.0,
        Bool(b) => f64::from(u8::from(*b)),
        Number(n) => *n,
        Text(text) => text_number(text),
    }
}

/// The number that a text is in JavaScript; an empty one is 0.
fn text_number(text: &str) -> f64 {
    let text = text.trim();
    let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text);
    let radix = |prefix: [&str; 2], radix| {
        let digits = prefix.iter().find_map(|prefix| text.strip_prefix(prefix))?;
        Some(u64::from_str_radix(digits, radix).map_or(f64::NAN, |n| n as f64))
    };
    if text.is_empty() {
        return 0.0;
    }
    if let Some(n) = radix(["0x", "0X"], 16).or_else(|| radix(["0o", "0O"], 8)).or_else(|| radix(["0b", "0B"], 2)) {
        return n;
    }
    if unsigned == "Infinity" {
        return if text.starts_with('-') { f64::NEG_INFINITY } else { f64::INFINITY };
    }
    // Rust also reads "inf" and "nan".
    if unsigned.starts_with(|c: char| c.is_ascii_digit() || c == '.') {
        text.parse().unwrap_or(f64::NAN)
    } else {
        f64::NAN
    }
}

/// `String(value)`.
fn text(value: &Loose<'_>) -> String {
    match value {
        Undefined => "undefined".into(),
        Null => "null".into(),
        Bool(b) => b.to_string(),
        Number(n) => ryu_js::Buffer::new().format(*n).to_owned(),
        Text(text) => text.to_string(),
    }
}

/// `==`.
fn equal(left: &Loose<'_>, right: &Loose<'_>) -> bool {
    match (left, right) {
        (Undefined | Null, Undefined | Null) => true,
        (Undefined | Null, _) | (_, Undefined | Null) => false,
        (Text(l), Text(r)) => l == r,
        _ => number(left) == number(right),
    }
}

/// What `<` and `>` go by; `None` when a side is no number.
fn order(left: &Loose<'_>, right: &Loose<'_>) -> Option<Ordering> {
    match (left, right) {
        (Text(l), Text(r)) => Some(l.encode_utf16().cmp(r.encode_utf16())),
        _ => number(left).partial_cmp(&number(right)),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn judged(objective: &str, metrics: &Value) -> bool {
        let objective = crate::expr::parse(objective).unwrap();
        let values = metrics.clone();
        let lookup = |name: &str| match metric_value(values.get(name)).unwrap() {
            Text(text) => Text(text.into_owned().into()),
            Undefined => Undefined,
            Null => Null,
            Bool(b) => Bool(b),
            Number(n) => Number(n),
        };
        holds(&objective.expr, &lookup)
    }

    /// Each pair was tried in Node.js 20, with the metrics as they are pasted there.
    #[test]
    fn operators_mean_what_they_mean_in_javascript() {
        let m = json!({ "A": 60, "Z": 0, "N": null, "T": true, "S": "'50'", "D": "50", "B": "5e1" });
        for (objective, holds) in [
            ("A >= 50", true),
            ("A == '60'", true),
            ("A == ' 60 '", true),
            ("A == '0x3c'", true),
            ("A", true),
            ("Z", false),
            ("N >= 50", false),
            ("N <= 1", true),
            ("N == 0", false),
            ("N == null", true),
            ("U == null", true),
            ("U >= 0", false),
            ("U < 0", false),
            ("U != 0", true),
            ("T == 1", true),
            ("T >= 50", false),
            ("Z / Z >= 0", false),
            ("A / Z >= 75", true),
            ("-A / Z >= 75", false),
            ("S == 50", true),
            ("S == '50.0'", false),
            ("D == '50.0'", true),
            ("B == 50", true),
            ("'10' < '9'", true),
            ("'10' < 9", false),
            ("'' == 0", true),
            ("'a' == 0", false),
            ("A - 10 * 2 == 40", true),
            ("A + '0' == 600", true),
            ("!Z", true),
            ("!(A > 50)", false),
            ("Z || A", true),
            ("A && Z", false),
            ("A % 7 == 4", true),
            ("true", true),
        ] {
            assert_eq!(judged(objective, &m), holds, "{objective}");
        }
    }

    #[test]
    fn a_value_that_would_be_run_is_refused() {
        for text in ["abc", "process.exit(1)", "1; A = 2", "A", "1 + 1", "[1]", "(()=>1)()"] {
            let refused = metric_value(Some(&json!(text))).map(|_| ());
            assert!(refused.is_err(), "{text}");
        }
        assert!(metric_value(Some(&json!([1]))).is_err());
        assert!(metric_value(Some(&json!({}))).is_err());
    }
}
