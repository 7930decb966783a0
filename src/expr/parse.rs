//! Tokens to syntax tree, by precedence climbing, with limits on length and depth.

use super::lex::{Token, tokens};
use crate::model::diagnostic::closest;
use crate::model::objective::{BinaryOp, Expr, Function, Objective, UnaryOp};

/// Longest objective, in bytes.
pub const LENGTH_MAX: usize = 4096;
/// Deepest syntax tree; a sum of n terms is n deep. Keeps every recursion over it off the stack's end.
pub const DEPTH_MAX: usize = 200;

/// Functions by name, with the least and the greatest number of arguments.
pub(super) const FUNCTIONS: &[(&str, Function, usize, usize)] = &[
    ("min", Function::Min, 1, usize::MAX),
    ("max", Function::Max, 1, usize::MAX),
    ("abs", Function::Abs, 1, 1),
    ("round", Function::Round, 1, 2),
    ("floor", Function::Floor, 1, 1),
    ("ceil", Function::Ceil, 1, 1),
    ("sum", Function::Sum, 1, usize::MAX),
    ("avg", Function::Avg, 1, usize::MAX),
    ("count", Function::Count, 1, usize::MAX),
    ("exists", Function::Exists, 1, 1),
    ("coalesce", Function::Coalesce, 1, usize::MAX),
    ("if", Function::If, 3, 3),
];

/// Why a text is not an objective.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message} at character {position}{}", found_in(.text, *.offset))]
pub struct ExprError {
    pub message: String,
    pub expected: String,
    pub hint: Option<String>,
    /// Character of the text where it went wrong, counted from 1.
    pub position: usize,
    offset: usize,
    text: String,
}

impl ExprError {
    pub(super) fn new(text: &str, offset: usize, message: impl Into<String>, expected: impl Into<String>) -> Self {
        ExprError {
            message: message.into(),
            expected: expected.into(),
            hint: None,
            position: text[..offset].chars().count() + 1,
            offset,
            text: text.to_owned(),
        }
    }

    pub(super) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
}

/// `, before "…"`: the text that follows the error, shortened.
fn found_in(text: &str, offset: usize) -> String {
    let rest: String = text[offset..].chars().take(20).collect();
    if rest.is_empty() { String::new() } else { format!(", before \"{rest}\"") }
}

/// Parses an objective.
///
/// # Errors
/// The first place that cannot be understood, what was expected there, and a hint where the mistake is a known one.
pub fn parse(text: &str) -> Result<Objective, ExprError> {
    if text.len() > LENGTH_MAX {
        return Err(ExprError::new(
            text,
            0,
            format!("the objective has {} bytes", text.len()),
            format!("at most {LENGTH_MAX}"),
        ));
    }
    let mut parser = Parser { text, tokens: tokens(text)?, next: 0, nesting: 0 };
    let (expr, _) = parser.binary(0)?;
    if *parser.peek() != Token::End {
        return Err(parser.after_expression());
    }
    Ok(Objective { text: text.to_owned(), expr })
}

/// Binding strength, weakest first. JavaScript's order.
pub(super) fn strength(op: BinaryOp) -> u8 {
    match op {
        BinaryOp::Or => 1,
        BinaryOp::And => 2,
        BinaryOp::Equal | BinaryOp::NotEqual => 4,
        BinaryOp::Less | BinaryOp::LessOrEqual | BinaryOp::Greater | BinaryOp::GreaterOrEqual => 5,
        BinaryOp::Add | BinaryOp::Subtract => 6,
        BinaryOp::Multiply | BinaryOp::Divide | BinaryOp::Remainder => 7,
    }
}

/// `not` binds weaker than comparisons and stronger than `and`.
pub(super) const NOT_STRENGTH: u8 = 3;

struct Parser<'a> {
    text: &'a str,
    tokens: Vec<(Token, usize)>,
    next: usize,
    /// Open parentheses, calls and prefix operators around the current place.
    nesting: usize,
}

/// A tree and its depth.
type Tree = (Expr, usize);

impl Parser<'_> {
    fn peek(&self) -> &Token {
        &self.tokens[self.next].0
    }

    fn offset(&self) -> usize {
        self.tokens[self.next].1
    }

    fn take(&mut self) -> Token {
        let token = self.tokens[self.next].0.clone();
        // `End` is never passed.
        if token != Token::End {
            self.next += 1;
        }
        token
    }

    fn error(&self, message: impl Into<String>, expected: impl Into<String>) -> ExprError {
        ExprError::new(self.text, self.offset(), message, expected)
    }

    fn deep(&self) -> ExprError {
        self.error("the objective is nested too deeply", format!("at most {DEPTH_MAX} levels"))
            .hint("use sum(…), or compute the value in the metric")
    }

    /// An expression of operators at least as strong as `weakest`.
    fn binary(&mut self, weakest: u8) -> Result<Tree, ExprError> {
        let (mut left, mut depth) = self.prefix(weakest)?;
        let mut compared = None;
        while let Token::Operator(op) = *self.peek() {
            let strong = strength(op);
            if strong < weakest {
                break;
            }
            if compared == Some(strong) {
                return Err(self
                    .error("comparisons cannot be chained", "`and`, `or` or the end")
                    .hint("write `1 < A and A < 5` for `1 < A < 5`"));
            }
            self.take();
            let (right, right_depth) = self.nested(|p| p.binary(strong + 1))?;
            depth = depth.max(right_depth) + 1;
            if depth > DEPTH_MAX {
                return Err(self.deep());
            }
            left = Expr::Binary(op, Box::new(left), Box::new(right));
            compared = matches!(strong, 4 | 5).then_some(strong);
        }
        Ok((left, depth))
    }

    /// `-A`, `+A`, `!A`, `not A …`.
    fn prefix(&mut self, weakest: u8) -> Result<Tree, ExprError> {
        match self.peek() {
            Token::Not => {
                if weakest > NOT_STRENGTH {
                    return Err(self
                        .error("`not` cannot follow a stronger operator", "a value")
                        .hint("put the negated part in parentheses: `(not …)`"));
                }
                self.take();
                let (inner, depth) = self.nested(|p| p.binary(NOT_STRENGTH))?;
                Ok((Expr::Unary(UnaryOp::Not, Box::new(inner)), depth + 1))
            }
            Token::Bang => self.unary(Some(UnaryOp::Not)),
            Token::Operator(BinaryOp::Subtract) => self.unary(Some(UnaryOp::Negate)),
            Token::Operator(BinaryOp::Add) => self.unary(None),
            _ => self.primary(),
        }
    }

    fn unary(&mut self, op: Option<UnaryOp>) -> Result<Tree, ExprError> {
        self.take();
        // Stronger than every binary operator; so `not` is refused inside it.
        let (inner, depth) = self.nested(|p| p.prefix(u8::MAX))?;
        Ok(match op {
            Some(op) => (Expr::Unary(op, Box::new(inner)), depth + 1),
            None => (inner, depth),
        })
    }

    fn nested(&mut self, parse: impl FnOnce(&mut Self) -> Result<Tree, ExprError>) -> Result<Tree, ExprError> {
        if self.nesting >= DEPTH_MAX {
            return Err(self.deep());
        }
        self.nesting += 1;
        let tree = parse(self);
        self.nesting -= 1;
        let tree = tree?;
        if tree.1 >= DEPTH_MAX { Err(self.deep()) } else { Ok(tree) }
    }

    fn primary(&mut self) -> Result<Tree, ExprError> {
        let leaf = match self.peek().clone() {
            Token::Number(n) => Expr::Number(n),
            Token::Exact(score) => Expr::Exact(score),
            Token::Text(t) => Expr::Text(t),
            Token::Name(name) => {
                self.take();
                return self.named(name);
            }
            Token::Open => {
                self.take();
                let tree = self.nested(|p| p.binary(0))?;
                self.close("`)`")?;
                return Ok(tree);
            }
            token => {
                let error = self.error(format!("{} stands where a value should", token.describe()), "a value");
                return Err(match (token, self.next.checked_sub(1).map(|i| &self.tokens[i].0)) {
                    (_, Some(Token::Operator(BinaryOp::Remainder))) => {
                        error.hint("`%` is the remainder; write 95 for 95 %")
                    }
                    (Token::Close, Some(Token::Open)) => error.hint("a function needs its arguments"),
                    _ => error.hint("a value is a metric name, a number, a 'text', true, false or a (…)"),
                });
            }
        };
        self.take();
        Ok((leaf, 1))
    }

    fn named(&mut self, name: String) -> Result<Tree, ExprError> {
        if *self.peek() == Token::Open {
            return self.call(&name);
        }
        Ok((
            match name.as_str() {
                "true" => Expr::Bool(true),
                "false" => Expr::Bool(false),
                "null" | "undefined" => Expr::Null,
                _ => Expr::Metric(name),
            },
            1,
        ))
    }

    fn call(&mut self, name: &str) -> Result<Tree, ExprError> {
        let at = self.tokens[self.next - 1].1;
        let Some(&(_, function, least, most)) = FUNCTIONS.iter().find(|f| f.0 == name) else {
            let names: Vec<_> = FUNCTIONS.iter().map(|f| f.0).collect();
            let error = ExprError::new(
                self.text,
                at,
                format!("unknown function `{name}`"),
                format!("one of {}", names.join(", ")),
            );
            return Err(match closest(name, names) {
                Some(near) => error.hint(format!("did you mean \"{near}\"?")),
                None => error,
            });
        };
        self.take();
        let mut arguments = Vec::new();
        let mut depth = 0;
        loop {
            let (argument, argument_depth) = self.nested(|p| p.binary(0))?;
            arguments.push(argument);
            depth = depth.max(argument_depth);
            if *self.peek() != Token::Comma {
                break;
            }
            self.take();
        }
        self.close("`,` or `)`")?;
        if arguments.len() < least || arguments.len() > most {
            let expected = match (least, most) {
                (l, usize::MAX) => format!("at least {l}"),
                (l, m) if l == m => format!("{l}"),
                (l, m) => format!("{l} to {m}"),
            };
            return Err(ExprError::new(self.text, at, format!("`{name}` has {} arguments", arguments.len()), expected));
        }
        Ok((Expr::Call(function, arguments), depth + 1))
    }

    fn close(&mut self, expected: &str) -> Result<(), ExprError> {
        if *self.peek() != Token::Close {
            let error = self.error(format!("{} follows", self.peek().describe()), expected);
            return Err(error);
        }
        self.take();
        Ok(())
    }

    /// Something follows a complete expression.
    fn after_expression(&self) -> ExprError {
        let error =
            self.error(format!("{} follows a complete objective", self.peek().describe()), "an operator or the end");
        match self.peek() {
            Token::Name(name) => match name.to_lowercase().as_str() {
                word @ ("and" | "or" | "not") if word != name => error.hint(format!("write `{word}` in small letters")),
                "is" => error.hint("write `==`"),
                _ => error,
            },
            Token::Close => error.hint("there is one `)` more than `(`"),
            Token::Not => error.hint("write `!=` for `is not`"),
            _ => error,
        }
    }
}
