//! Objective text to tokens, each with its place.

use super::parse::ExprError;
use crate::model::objective::BinaryOp;
use crate::model::score::Score;

#[derive(Clone, Debug, PartialEq)]
pub(super) enum Token {
    Number(f64),
    /// One that is changed when it is made binary.
    Exact(Score),
    Text(String),
    Name(String),
    Operator(BinaryOp),
    /// `!`
    Bang,
    /// `not`
    Not,
    Open,
    Close,
    Comma,
    End,
}

impl Token {
    /// How the token is named in an error.
    pub(super) fn describe(&self) -> String {
        match self {
            Token::Number(n) => format!("the number {}", super::number_text(*n)),
            Token::Exact(score) => format!("the number {}", super::exact::written_text(*score)),
            Token::Text(t) => format!("the text '{t}'"),
            Token::Name(n) => format!("`{n}`"),
            Token::Operator(op) => format!("`{}`", super::print::symbol(*op)),
            Token::Bang => "`!`".into(),
            Token::Not => "`not`".into(),
            Token::Open => "`(`".into(),
            Token::Close => "`)`".into(),
            Token::Comma => "`,`".into(),
            Token::End => "the end".into(),
        }
    }
}

/// Operators, longest first, so that `===` is not read as `==` `=`.
const OPERATORS: &[(&str, BinaryOp)] = &[
    ("===", BinaryOp::Equal),
    ("!==", BinaryOp::NotEqual),
    ("==", BinaryOp::Equal),
    ("!=", BinaryOp::NotEqual),
    (">=", BinaryOp::GreaterOrEqual),
    ("<=", BinaryOp::LessOrEqual),
    ("&&", BinaryOp::And),
    ("||", BinaryOp::Or),
    (">", BinaryOp::Greater),
    ("<", BinaryOp::Less),
    ("+", BinaryOp::Add),
    ("-", BinaryOp::Subtract),
    ("*", BinaryOp::Multiply),
    ("/", BinaryOp::Divide),
    ("%", BinaryOp::Remainder),
];

/// What people write for an operator that is spelt otherwise here.
const MISTAKES: &[(&str, &str)] = &[
    ("/\\", "write `and`"),
    ("\\/", "write `or`"),
    ("**", "powers are not supported; multiply"),
    ("=>", "write `>=`"),
    ("=<", "write `<=`"),
    ("<>", "write `!=`"),
    ("=", "write `==` to compare"),
    ("&", "write `and`"),
    ("|", "write `or`"),
    ("≥", "write `>=`"),
    ("≤", "write `<=`"),
    ("≠", "write `!=`"),
    ("×", "write `*`"),
    ("÷", "write `/`"),
    ("?", "write `if(condition, then, else)`"),
    (".", "objectives have no members; a function is called by its bare name, such as `min(A, B)`"),
    (";", "an objective is one expression"),
    ("{", "objectives are expressions, not programs"),
    ("[", "objectives have no lists"),
    ("^", "powers are not supported; multiply"),
    ("~", "objectives do not compute with bits"),
    (":", "an objective is one expression"),
    ("`", "write texts in ' or \""),
    ("‘", "write texts in ' or \""),
    ("’", "write texts in ' or \""),
    ("“", "write texts in ' or \""),
    ("”", "write texts in ' or \""),
    ("−", "write the minus sign of the keyboard, `-`"),
    ("–", "write the minus sign of the keyboard, `-`"),
    ("—", "write the minus sign of the keyboard, `-`"),
    ("·", "write `*`"),
    ("∧", "write `and`"),
    ("∨", "write `or`"),
    ("¬", "write `not`"),
];

/// Tokens with the byte offset each starts at, closed by [`Token::End`].
pub(super) fn tokens(text: &str) -> Result<Vec<(Token, usize)>, ExprError> {
    let mut found = Vec::new();
    let mut at = 0;
    while let Some(c) = text[at..].chars().next() {
        let rest = &text[at..];
        // JavaScript takes a byte order mark for a blank, too.
        if c.is_whitespace() || c == '\u{feff}' {
            at += c.len_utf8();
            continue;
        }
        let (token, length) = match c {
            '(' => (Token::Open, 1),
            ')' => (Token::Close, 1),
            ',' => (Token::Comma, 1),
            '\'' | '"' => quoted(text, at, c)?,
            '0'..='9' => number(text, at)?,
            '.' if rest[1..].starts_with(|d: char| d.is_ascii_digit()) => number(text, at)?,
            _ if starts_name(c) => name(rest),
            _ => operator(text, at)?,
        };
        found.push((token, at));
        at += length;
    }
    found.push((Token::End, text.len()));
    Ok(found)
}

pub(super) fn starts_name(c: char) -> bool {
    c.is_alphabetic() || c == '_' || c == '$'
}

pub(super) fn continues_name(c: char) -> bool {
    c.is_alphanumeric() || c == '_' || c == '$'
}

fn name(rest: &str) -> (Token, usize) {
    let length = rest.find(|c| !continues_name(c)).unwrap_or(rest.len());
    let token = match &rest[..length] {
        "and" => Token::Operator(BinaryOp::And),
        "or" => Token::Operator(BinaryOp::Or),
        "not" => Token::Not,
        other => Token::Name(other.to_owned()),
    };
    (token, length)
}

fn operator(text: &str, at: usize) -> Result<(Token, usize), ExprError> {
    let rest = &text[at..];
    let mistake = MISTAKES.iter().find(|(wrong, _)| rest.starts_with(wrong));
    let operator = OPERATORS.iter().find(|(symbol, _)| rest.starts_with(symbol));
    match (operator, mistake) {
        // A mistake that is longer than the operator it begins with (`<>`, `/\`, `**`) is the mistake.
        (Some((symbol, op)), None) => Ok((Token::Operator(*op), symbol.len())),
        (Some((symbol, op)), Some((wrong, _))) if symbol.len() >= wrong.len() => {
            Ok((Token::Operator(*op), symbol.len()))
        }
        (None, None) if rest.starts_with('!') => Ok((Token::Bang, 1)),
        (_, Some((wrong, hint))) => Err(ExprError::new(
            text,
            at,
            format!("`{wrong}` is not an operator of objectives"),
            "an operator or a value",
        )
        .hint(*hint)),
        (None, None) => {
            let c = rest.chars().next().unwrap_or(' ');
            let error = ExprError::new(
                text,
                at,
                format!("the character `{}` has no meaning here", c.escape_debug()),
                "an operator or a value",
            );
            Err(if c.is_numeric() { error.hint("write digits from 0 to 9") } else { error.hint("remove it") })
        }
    }
}

fn quoted(text: &str, at: usize, quote: char) -> Result<(Token, usize), ExprError> {
    let mut content = String::new();
    let mut characters = text[at + 1..].char_indices();
    while let Some((offset, c)) = characters.next() {
        match c {
            _ if c == quote => return Ok((Token::Text(content), offset + 2)),
            '\\' => match characters.next() {
                Some((_, 'n')) => content.push('\n'),
                Some((_, 't')) => content.push('\t'),
                Some((_, c @ ('\\' | '\'' | '"'))) => content.push(c),
                Some((offset, c)) => {
                    return Err(ExprError::new(
                        text,
                        at + 1 + offset,
                        format!("unknown escape `\\{}`", c.escape_debug()),
                        "one of \\\\ \\' \\\" \\n \\t",
                    ));
                }
                None => break,
            },
            _ => content.push(c),
        }
    }
    Err(ExprError::new(text, at, "the text that starts here is not closed", format!("a closing {quote}")))
}

fn number(text: &str, at: usize) -> Result<(Token, usize), ExprError> {
    let bytes = &text.as_bytes()[at..];
    let digits = |mut i: usize| {
        while bytes.get(i).is_some_and(u8::is_ascii_digit) {
            i += 1;
        }
        i
    };
    let mut length = digits(0);
    if bytes.get(length) == Some(&b'.') {
        length = digits(length + 1);
    }
    if matches!(bytes.get(length), Some(b'e' | b'E')) {
        let sign = usize::from(matches!(bytes.get(length + 1), Some(b'+' | b'-')));
        let end = digits(length + 1 + sign);
        if end > length + 1 + sign {
            length = end;
        }
    }
    let written = &text[at..at + length];
    if text[at + length..].starts_with(|c| continues_name(c) || c == '.') {
        return Err(ExprError::new(
            text,
            at,
            format!("`{written}` runs into what follows it"),
            "a decimal number such as 95, 0.5 or 1e3, or a metric name that starts with a letter, `_` or `$`",
        ));
    }
    match written.parse::<f64>() {
        Ok(value) if value.is_finite() => {
            Ok((super::exact::written(written, value).map_or(Token::Number(value), Token::Exact), length))
        }
        _ => Err(ExprError::new(text, at, format!("the number {written} is too large"), "a number below 1.8e308")),
    }
}
