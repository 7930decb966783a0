//! A syntax tree as text: what `parse` reads back as the same tree.

use std::fmt::Write as _;

use super::lex::{continues_name, starts_name};
use super::parse::{FUNCTIONS, strength};
use crate::model::objective::{BinaryOp, Expr, Function, UnaryOp};

/// The expression in its canonical spelling.
pub fn print(expr: &Expr) -> String {
    let mut out = String::new();
    write(expr, &mut out, &|name, out| out.push_str(name));
    out
}

/// A number as JavaScript writes it: shortest text that reads back as the same number.
pub fn number_text(n: f64) -> String {
    let mut text = String::new();
    write_number(n, &mut text);
    text
}

/// Appends what [`number_text`] gives.
pub(super) fn write_number(n: f64, out: &mut String) {
    // Most numbers of objectives are whole: for these the shortest text needs no search.
    if n.fract() == 0.0 && n.abs() < 1e15 {
        // Cannot fail: a String takes all.
        let _ = write!(out, "{}", n as i64);
    } else {
        out.push_str(ryu_js::Buffer::new().format(n));
    }
}

/// Whether a metric stands in the expression.
pub(super) fn has_metric(expr: &Expr) -> bool {
    match expr {
        Expr::Metric(_) => true,
        Expr::Unary(_, inner) => has_metric(inner),
        Expr::Binary(_, left, right) => has_metric(left) || has_metric(right),
        Expr::Call(_, arguments) => arguments.iter().any(has_metric),
        _ => false,
    }
}

/// Whether a metric's name can stand in an objective.
pub fn is_identifier(name: &str) -> bool {
    const RESERVED: &[&str] = &["and", "or", "not", "true", "false", "null", "undefined"];
    name.starts_with(starts_name) && name.chars().all(continues_name) && !RESERVED.contains(&name)
}

/// The metrics an expression names, each once, in order of appearance.
pub fn metrics(expr: &Expr) -> Vec<&str> {
    fn walk<'e>(expr: &'e Expr, found: &mut Vec<&'e str>) {
        match expr {
            Expr::Metric(name) if !found.contains(&name.as_str()) => found.push(name),
            Expr::Unary(_, inner) => walk(inner, found),
            Expr::Binary(_, left, right) => {
                walk(left, found);
                walk(right, found);
            }
            Expr::Call(_, arguments) => arguments.iter().for_each(|a| walk(a, found)),
            _ => {}
        }
    }
    let mut found = Vec::new();
    walk(expr, &mut found);
    found
}

/// Whether the expression can be true or false at all: a comparison, a condition, or a metric or function that may
/// give one; not a number or a text.
pub fn may_be_condition(expr: &Expr) -> bool {
    match expr {
        Expr::Bool(_) | Expr::Metric(_) | Expr::Unary(UnaryOp::Not, _) => true,
        Expr::Binary(op, ..) => strength(*op) <= 5,
        Expr::Call(Function::Exists, _) => true,
        Expr::Call(Function::If, arguments) => arguments.iter().skip(1).any(may_be_condition),
        Expr::Call(Function::Coalesce, arguments) => arguments.iter().any(may_be_condition),
        _ => false,
    }
}

/// Whether something is compared with the word `null`, which is never decided.
pub fn compares_null(expr: &Expr) -> bool {
    match expr {
        Expr::Binary(op, left, right) => {
            let compares = matches!(strength(*op), 4 | 5);
            (compares && (**left == Expr::Null || **right == Expr::Null)) || compares_null(left) || compares_null(right)
        }
        Expr::Unary(_, inner) => compares_null(inner),
        Expr::Call(_, arguments) => arguments.iter().any(compares_null),
        _ => false,
    }
}

pub(super) fn symbol(op: BinaryOp) -> &'static str {
    match op {
        BinaryOp::Or => "or",
        BinaryOp::And => "and",
        BinaryOp::Equal => "==",
        BinaryOp::NotEqual => "!=",
        BinaryOp::Less => "<",
        BinaryOp::LessOrEqual => "<=",
        BinaryOp::Greater => ">",
        BinaryOp::GreaterOrEqual => ">=",
        BinaryOp::Add => "+",
        BinaryOp::Subtract => "-",
        BinaryOp::Multiply => "*",
        BinaryOp::Divide => "/",
        BinaryOp::Remainder => "%",
    }
}

/// Writes `expr`, metrics by `metric`.
pub(super) fn write(expr: &Expr, out: &mut String, metric: &dyn Fn(&str, &mut String)) {
    match expr {
        Expr::Number(n) => write_number(*n, out),
        Expr::Exact(score) => out.push_str(&super::exact::written_text(*score)),
        Expr::Text(text) => write_text(text, out),
        Expr::Bool(b) => out.push_str(if *b { "true" } else { "false" }),
        Expr::Null => out.push_str("null"),
        Expr::Metric(name) => metric(name, out),
        Expr::Unary(op, inner) => {
            out.push(match op {
                UnaryOp::Not => '!',
                UnaryOp::Negate => '-',
            });
            write_part(inner, out, metric, matches!(**inner, Expr::Binary(..)));
        }
        Expr::Binary(op, left, right) => {
            let own = strength(*op);
            let compares = matches!(own, 4 | 5);
            // Left-associative; comparisons of one strength do not chain, so they keep their parentheses.
            let weaker = |side: &Expr, right: bool| match side {
                Expr::Binary(inner, ..) => strength(*inner) < own || (strength(*inner) == own && (right || compares)),
                _ => false,
            };
            write_part(left, out, metric, weaker(left, false));
            out.push(' ');
            out.push_str(symbol(*op));
            out.push(' ');
            write_part(right, out, metric, weaker(right, true));
        }
        Expr::Call(function, arguments) => {
            let name = FUNCTIONS.iter().find(|f| f.1 == *function).map_or("", |f| f.0);
            out.push_str(name);
            out.push('(');
            for (i, argument) in arguments.iter().enumerate() {
                if i > 0 {
                    out.push_str(", ");
                }
                write(argument, out, metric);
            }
            out.push(')');
        }
    }
}

fn write_part(expr: &Expr, out: &mut String, metric: &dyn Fn(&str, &mut String), parentheses: bool) {
    if parentheses {
        out.push('(');
    }
    write(expr, out, metric);
    if parentheses {
        out.push(')');
    }
}

pub(super) fn write_text(text: &str, out: &mut String) {
    out.push('\'');
    for c in text.chars() {
        match c {
            '\'' | '\\' => {
                out.push('\\');
                out.push(c);
            }
            '\n' => out.push_str("\\n"),
            '\t' => out.push_str("\\t"),
            _ => out.push(c),
        }
    }
    out.push('\'');
}
