//! The values of a settings.js: literals, `process.env.X`, `A || B` and their like. Nothing is ever run; what is not of
//! this kind is a value that says so, with its line.

use super::lex::{Broken, Kind, lex};
use super::parse::Parser;
use super::value::{Is, Value};

/// Values nested deeper are not read.
const DEPTH_MAX: usize = 64;

impl Parser<'_> {
    /// A value up to a `,` or the end of what it stands in.
    pub(super) fn value(&mut self) -> Result<Value, Broken> {
        if self.depth >= DEPTH_MAX {
            return Err(self.broken("values are nested too deeply"));
        }
        self.depth += 1;
        let value = self.choice();
        self.depth -= 1;
        let value = value?;
        let ends = self.is(",") || self.is("}") || self.is("]") || self.is(")") || self.is(";") || self.is(":");
        // A statement may end with its line.
        if ends || *self.kind() == Kind::End || (self.at > 0 && self.tokens[self.at - 1].line < self.line()) {
            return Ok(value);
        }
        let (line, what) = (value.line, if self.is("=>") { "a function" } else { "an expression" });
        self.skip_value();
        Ok(Value::unread(what, line))
    }

    /// Goes past the rest of a value.
    fn skip_value(&mut self) {
        let mut depth = 0_usize;
        loop {
            match self.kind() {
                Kind::End => return,
                Kind::Sign("," | ";") if depth == 0 => return,
                Kind::Sign("}" | ")" | "]") if depth == 0 => return,
                Kind::Sign("{" | "(" | "[") => depth += 1,
                Kind::Sign("}" | ")" | "]") => depth -= 1,
                _ => {}
            }
            self.at += 1;
        }
    }

    /// `a ? b : c`.
    fn choice(&mut self) -> Result<Value, Broken> {
        let test = self.either()?;
        if !self.take("?") {
            return Ok(test);
        }
        let yes = self.value()?;
        self.expect(":")?;
        let no = self.value()?;
        Ok(match test.truthy() {
            Some(true) => yes,
            Some(false) => no,
            None => Value::unread("an expression", test.line),
        })
    }

    /// `a || b`, `a ?? b`, `a && b`.
    fn either(&mut self) -> Result<Value, Broken> {
        let mut left = self.compared()?;
        loop {
            let sign = match self.kind() {
                Kind::Sign(sign @ ("||" | "??" | "&&")) => *sign,
                _ => return Ok(left),
            };
            self.at += 1;
            let right = self.compared()?;
            let goes_right = match sign {
                "||" => left.truthy().map(|truthy| !truthy),
                "&&" => left.truthy(),
                _ => left.truthy().map(|_| matches!(left.is, Is::Undefined | Is::Null)),
            };
            left = match goes_right {
                Some(true) => right,
                Some(false) => left,
                None => Value::unread("an expression", left.line),
            };
        }
    }

    /// `a === b` of texts, numbers and the like.
    fn compared(&mut self) -> Result<Value, Broken> {
        let left = self.sum()?;
        let equal = match self.kind() {
            Kind::Sign("===" | "==") => true,
            Kind::Sign("!==" | "!=") => false,
            _ => return Ok(left),
        };
        self.at += 1;
        let right = self.sum()?;
        let same_kind = std::mem::discriminant(&left.is) == std::mem::discriminant(&right.is);
        let plain = |is: &Is| matches!(is, Is::Undefined | Is::Null | Is::Bool(_) | Is::Number(_) | Is::Text(_));
        Ok(match plain(&left.is) && plain(&right.is) && (same_kind || !matches!(right.is, Is::Number(_))) {
            true => Value { is: Is::Bool((same_kind && left.is == right.is) == equal), line: left.line },
            false => Value::unread("an expression", left.line),
        })
    }

    /// `a + b`, `a - b`.
    fn sum(&mut self) -> Result<Value, Broken> {
        let mut left = self.product()?;
        loop {
            let plus = self.is("+");
            if !self.take("+") && !self.take("-") {
                return Ok(left);
            }
            let right = self.product()?;
            let is = match (&left.is, &right.is) {
                (Is::Number(a), Is::Number(b)) => Is::Number(if plus { a + b } else { a - b }),
                (Is::Text(_), _) | (_, Is::Text(_)) if plus => match (left.text(), right.text()) {
                    (Some(a), Some(b)) => Is::Text(a + &b),
                    _ => Is::Unread("an expression"),
                },
                _ => Is::Unread("an expression"),
            };
            left = Value { is, line: left.line };
        }
    }

    /// `a * b`, `a / b`.
    fn product(&mut self) -> Result<Value, Broken> {
        let mut left = self.single()?;
        loop {
            let times = self.is("*");
            if !self.take("*") && !self.take("/") {
                return Ok(left);
            }
            let right = self.single()?;
            let is = match (&left.is, &right.is) {
                (Is::Number(a), Is::Number(b)) => Is::Number(if times { a * b } else { a / b }),
                _ => Is::Unread("an expression"),
            };
            left = Value { is, line: left.line };
        }
    }

    fn single(&mut self) -> Result<Value, Broken> {
        let line = self.line();
        let value = |is| Ok(Value { is, line });
        match self.kind().clone() {
            Kind::Text(text) => {
                self.at += 1;
                value(Is::Text(text))
            }
            Kind::Number(number) => {
                self.at += 1;
                value(Is::Number(number))
            }
            Kind::Template(pieces, sources) => {
                self.at += 1;
                value(self.filled(&pieces, &sources))
            }
            Kind::Regexp => {
                self.at += 1;
                value(Is::Unread("a regular expression"))
            }
            Kind::Sign("{") => self.object(),
            Kind::Sign("[") => self.list(),
            Kind::Sign("(") => self.parenthesised(),
            Kind::Sign(sign @ ("-" | "+" | "!")) => {
                self.at += 1;
                self.depth += 1;
                if self.depth > DEPTH_MAX {
                    return Err(self.broken("values are nested too deeply"));
                }
                let operand = self.single();
                self.depth -= 1;
                let operand = operand?;
                value(match (sign, &operand.is, operand.truthy()) {
                    ("-", Is::Number(number), _) => Is::Number(-number),
                    ("+", Is::Number(number), _) => Is::Number(*number),
                    ("!", _, Some(truthy)) => Is::Bool(!truthy),
                    _ => Is::Unread("an expression"),
                })
            }
            Kind::Name(name) => self.named(&name),
            Kind::Sign(_) | Kind::End => Err(self.broken("expected a value")),
        }
    }

    fn filled(&self, pieces: &[String], sources: &[String]) -> Is {
        let mut out = pieces[0].clone();
        for (source, piece) in sources.iter().zip(&pieces[1..]) {
            // What is put in is read as a value of its own, without the constants of the module.
            let Some(text) = lex(source).ok().and_then(|tokens| {
                let depth = self.depth + 1;
                let mut inner = Parser { tokens: &tokens, at: 0, depth, env: self.env, names: self.names.clone() };
                let value = inner.value().ok()?;
                (*inner.kind() == Kind::End).then(|| value.text()).flatten()
            }) else {
                return Is::Unread("a template");
            };
            out.push_str(&text);
            out.push_str(piece);
        }
        Is::Text(out)
    }

    fn parenthesised(&mut self) -> Result<Value, Broken> {
        let (start, line) = (self.at, self.line());
        self.skip_brackets();
        if self.is("=>") {
            self.skip_value();
            return Ok(Value::unread("a function", line));
        }
        self.at = start + 1;
        let value = self.value()?;
        self.expect(")")?;
        Ok(value)
    }

    /// From an opening bracket past its closing one.
    fn skip_brackets(&mut self) {
        let mut depth = 0_usize;
        while *self.kind() != Kind::End {
            match self.kind() {
                Kind::Sign("{" | "(" | "[") => depth += 1,
                Kind::Sign("}" | ")" | "]") => depth -= 1,
                _ => {}
            }
            self.at += 1;
            if depth == 0 {
                return;
            }
        }
    }

    fn list(&mut self) -> Result<Value, Broken> {
        let line = self.line();
        self.expect("[")?;
        let mut items = Vec::new();
        while !self.take("]") {
            if self.is("...") {
                self.skip_value();
                items.push(Value::unread("a spread", line));
            } else {
                items.push(self.value()?);
            }
            if !self.take(",") && !self.is("]") {
                return Err(self.broken("expected \",\" or \"]\""));
            }
        }
        Ok(Value { is: Is::List(items), line })
    }

    fn object(&mut self) -> Result<Value, Broken> {
        let line = self.line();
        self.expect("{")?;
        let mut members: Vec<(String, Value)> = Vec::new();
        while !self.take("}") {
            let line = self.line();
            let member = match self.kind().clone() {
                Kind::Name(name) => self.member(name)?,
                Kind::Text(name) => self.member(name)?,
                Kind::Number(number) => self.member(crate::model::value::number_to_string(number).to_string())?,
                Kind::Sign("[" | "...") => {
                    self.skip_value();
                    ("…".to_owned(), Value::unread("a computed name or a spread", line))
                }
                _ => return Err(self.broken("expected a name or \"}\"")),
            };
            members.push(member);
            if !self.take(",") && !self.is("}") {
                return Err(self.broken("expected \",\" or \"}\""));
            }
        }
        Ok(Value { is: Is::Object(members), line })
    }

    fn member(&mut self, name: String) -> Result<(String, Value), Broken> {
        let line = self.line();
        self.at += 1;
        if self.take(":") {
            return Ok((name, self.value()?));
        }
        if self.is(",") || self.is("}") {
            let value = self.constant(&name, line);
            return Ok((name, value));
        }
        // `name() {…}`, `async name() {…}`, `get name() {…}`.
        let shown = match self.kind() {
            Kind::Name(inner) => inner.clone(),
            _ => name,
        };
        self.skip_value();
        Ok((shown, Value::unread("a function", line)))
    }

    fn constant(&self, name: &str, line: usize) -> Value {
        let found = self.names.iter().rev().find(|(known, _)| known == name);
        found.map_or_else(|| Value::unread("a name", line), |(_, value)| Value { is: value.is.clone(), line })
    }

    /// What begins with a name: `true`, `process.env.X`, `function …`, a constant.
    fn named(&mut self, name: &str) -> Result<Value, Broken> {
        let line = self.line();
        let value = |is| Ok(Value { is, line });
        self.at += 1;
        if self.is("=>") {
            self.skip_value();
            return value(Is::Unread("a function"));
        }
        match name {
            "true" => value(Is::Bool(true)),
            "false" => value(Is::Bool(false)),
            "null" => value(Is::Null),
            "undefined" => value(Is::Undefined),
            "process" => match self.env_name() {
                Some(variable) => value((self.env)(&variable).map_or(Is::Undefined, Is::Text)),
                None => self.unread_rest("an expression", line),
            },
            "function" | "async" | "class" => self.unread_rest("a function", line),
            "parseInt" | "Number" | "parseFloat" | "String" if self.is("(") => self.converted(name, line),
            "require" => {
                if self.is("(") {
                    self.skip_brackets();
                }
                match self.hashed(line)? {
                    Some(hash) => Ok(hash),
                    None if self.ends() => value(Is::Unread("a module")),
                    None => self.unread_rest("an expression", line),
                }
            }
            name => {
                if let Some(hash) = self.hashed(line)? {
                    return Ok(hash);
                }
                if self.is(".") || self.is("(") || self.is("[") || self.is("?.") {
                    return self.unread_rest("an expression", line);
                }
                Ok(self.constant(name, line))
            }
        }
    }

    fn ends(&self) -> bool {
        !(self.is(".") || self.is("(") || self.is("[") || self.is("?."))
    }

    fn unread_rest(&mut self, what: &'static str, line: usize) -> Result<Value, Broken> {
        self.skip_operand();
        Ok(Value::unread(what, line))
    }

    /// Goes past what belongs to a value that cannot be read, up to an operator that may choose another one.
    fn skip_operand(&mut self) {
        loop {
            match self.kind() {
                Kind::Sign("(" | "[" | "{") => self.skip_brackets(),
                Kind::Sign("." | "?." | "=>" | "*") | Kind::Name(_) => self.at += 1,
                Kind::Template(..) => self.at += 1,
                _ => return,
            }
        }
    }

    /// `.env.NAME` or `.env["NAME"]` after `process`.
    fn env_name(&mut self) -> Option<String> {
        if !(self.is(".") && matches!(self.ahead(1), Kind::Name(name) if name == "env")) {
            return None;
        }
        let (name, words) = match (self.ahead(2), self.ahead(3), self.ahead(4)) {
            (Kind::Sign("." | "?."), Kind::Name(name), _) => (name.clone(), 4),
            (Kind::Sign("["), Kind::Text(name), Kind::Sign("]")) => (name.clone(), 5),
            _ => return None,
        };
        self.at += words;
        self.ends().then_some(name)
    }

    /// `parseInt(value, 10)` and its like.
    fn converted(&mut self, function: &str, line: usize) -> Result<Value, Broken> {
        self.expect("(")?;
        let given = self.value()?;
        while self.take(",") {
            self.value()?;
        }
        self.expect(")")?;
        let is = match (function, given.text()) {
            ("String", Some(text)) => Is::Text(text),
            ("parseInt", Some(text)) => {
                let text = text.trim();
                let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
                text[..digits].parse().map_or(Is::Number(f64::NAN), Is::Number)
            }
            (_, Some(text)) => text.trim().parse().map_or(Is::Number(f64::NAN), Is::Number),
            (_, None) => Is::Unread("an expression"),
        };
        Ok(Value { is, line })
    }

    /// `.hashSync(value, 8)` here.
    fn hashed(&mut self, line: usize) -> Result<Option<Value>, Broken> {
        let is_hash = self.is(".")
            && matches!(self.ahead(1), Kind::Name(name) if name == "hashSync")
            && *self.ahead(2) == Kind::Sign("(");
        if !is_hash {
            return Ok(None);
        }
        self.at += 3;
        let given = self.value()?;
        while self.take(",") {
            self.value()?;
        }
        self.expect(")")?;
        let is = match given.is {
            Is::Text(text) => Is::HashOf(text),
            _ => Is::Unread("the hash of a value that is not set"),
        };
        Ok(Some(Value { is, line }))
    }
}
