//! The syntax tree of an objective; `expr` parses and evaluates it.

use super::score::Score;

/// A parsed objective and the text it came from.
#[derive(Clone, Debug, PartialEq)]
pub struct Objective {
    pub text: String,
    pub expr: Expr,
}

#[derive(Clone, Debug, PartialEq)]
pub enum Expr {
    Number(f64),
    /// A number of more digits than a binary one keeps, such as 9007199254740993: whole, or over a power of ten.
    Exact(Score),
    Text(String),
    Bool(bool),
    /// `null`: known to be missing.
    Null,
    Metric(String),
    Unary(UnaryOp, Box<Expr>),
    Binary(BinaryOp, Box<Expr>, Box<Expr>),
    Call(Function, Vec<Expr>),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UnaryOp {
    Not,
    Negate,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BinaryOp {
    Or,
    And,
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
    Add,
    Subtract,
    Multiply,
    Divide,
    Remainder,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Function {
    Min,
    Max,
    Abs,
    Round,
    Floor,
    Ceil,
    Sum,
    Avg,
    /// Number of arguments that have a value.
    Count,
    /// Whether the argument has a value.
    Exists,
    /// The first argument that has a value.
    Coalesce,
    If,
}
