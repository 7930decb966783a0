//! The statements of a settings.js: what `module.exports` is set to, and constants before it.

use super::lex::{Broken, Kind, Token, lex};
use super::value::Value;

/// What `module.exports` is, and what stands beside it that was not read.
pub(super) struct Module {
    pub exports: Value,
    /// Lines of statements that may change the exports and were not read, with what they are.
    pub beside: Vec<(usize, &'static str)>,
}

/// Reads a module. `env` gives variables of the environment.
pub(super) fn parse(text: &str, env: &dyn Fn(&str) -> Option<String>) -> Result<Module, Broken> {
    let tokens = lex(text)?;
    let mut parser = Parser { tokens: &tokens, at: 0, depth: 0, env, names: Vec::new() };
    parser.module()
}

pub(super) struct Parser<'a> {
    pub(super) tokens: &'a [Token],
    pub(super) at: usize,
    pub(super) depth: usize,
    pub(super) env: &'a dyn Fn(&str) -> Option<String>,
    /// Constants of the module.
    pub(super) names: Vec<(String, Value)>,
}

impl Parser<'_> {
    pub(super) fn kind(&self) -> &Kind {
        &self.tokens[self.at.min(self.tokens.len() - 1)].kind
    }

    pub(super) fn line(&self) -> usize {
        self.tokens[self.at.min(self.tokens.len() - 1)].line
    }

    pub(super) fn ahead(&self, by: usize) -> &Kind {
        &self.tokens[(self.at + by).min(self.tokens.len() - 1)].kind
    }

    pub(super) fn is(&self, sign: &str) -> bool {
        matches!(self.kind(), Kind::Sign(s) if *s == sign)
    }

    fn is_name(&self, name: &str) -> bool {
        matches!(self.kind(), Kind::Name(n) if n == name)
    }

    pub(super) fn take(&mut self, sign: &str) -> bool {
        let is = self.is(sign);
        self.at += usize::from(is);
        is
    }

    pub(super) fn expect(&mut self, sign: &str) -> Result<(), Broken> {
        match self.take(sign) {
            true => Ok(()),
            false => Err(self.broken(&format!("expected \"{sign}\""))),
        }
    }

    pub(super) fn broken(&self, message: &str) -> Broken {
        let found = match self.kind() {
            Kind::Name(name) => format!("\"{name}\""),
            Kind::Text(_) | Kind::Template(..) => "a text".into(),
            Kind::Number(_) => "a number".into(),
            Kind::Regexp => "a regular expression".into(),
            Kind::Sign(sign) => format!("\"{sign}\""),
            Kind::End => "the end of the file".into(),
        };
        Broken { line: self.line(), message: format!("{message}, found {found}") }
    }

    fn module(&mut self) -> Result<Module, Broken> {
        let mut exports = None;
        let mut beside = Vec::new();
        while *self.kind() != Kind::End {
            let line = self.line();
            if self.take(";") {
            } else if self.is_exports() {
                self.at += 3;
                if self.take("=") {
                    exports = Some(self.value()?);
                    self.end_of_statement(&mut beside);
                } else {
                    self.skip_statement();
                    beside.push((line, "a statement that changes module.exports"));
                }
            } else if self.is_name("export") && matches!(self.ahead(1), Kind::Name(name) if name == "default") {
                self.at += 2;
                exports = Some(self.value()?);
                self.end_of_statement(&mut beside);
            } else if matches!(self.kind(), Kind::Name(name) if ["const", "let", "var"].contains(&name.as_str())) {
                self.at += 1;
                self.constants()?;
            } else if let Kind::Text(_) = self.kind() {
                // "use strict" and its like.
                self.at += 1;
            } else {
                let what = if self.is_name("function") || self.is_name("async") { "a function" } else { "a statement" };
                self.skip_statement();
                if what == "a statement" {
                    beside.push((line, what));
                }
            }
        }
        let exports =
            exports.ok_or_else(|| Broken { line: 1, message: "there is no module.exports = {…}".into() })?;
        Ok(Module { exports, beside })
    }

    /// `module.exports` here.
    fn is_exports(&self) -> bool {
        self.is_name("module")
            && *self.ahead(1) == Kind::Sign(".")
            && matches!(self.ahead(2), Kind::Name(name) if name == "exports")
    }

    /// After a value that is a statement's last: whatever else stands there is not read.
    fn end_of_statement(&mut self, beside: &mut Vec<(usize, &'static str)>) {
        if !self.is(";") && *self.kind() != Kind::End && self.tokens[self.at - 1].line == self.line() {
            beside.push((self.line(), "what follows module.exports"));
            self.skip_statement();
        }
    }

    /// `a = value, b = value`.
    fn constants(&mut self) -> Result<(), Broken> {
        loop {
            match self.kind().clone() {
                Kind::Name(name) if *self.ahead(1) == Kind::Sign("=") => {
                    self.at += 2;
                    let value = self.value()?;
                    self.names.push((name, value));
                }
                _ => {
                    // Without a value, or taken apart.
                    self.skip_statement();
                    return Ok(());
                }
            }
            if !self.take(",") {
                self.take(";");
                return Ok(());
            }
        }
    }

    /// Goes past a statement: to a `;` or, after a block, to its end.
    fn skip_statement(&mut self) {
        let mut depth = 0_usize;
        while *self.kind() != Kind::End {
            let line = self.line();
            match self.kind() {
                Kind::Sign("{" | "(" | "[") => depth += 1,
                Kind::Sign("}") if depth <= 1 => {
                    self.at += 1;
                    if !(self.is_name("else")
                        || self.is_name("catch")
                        || self.is_name("finally")
                        || self.is(".")
                        || self.is(")"))
                    {
                        return;
                    }
                    depth = depth.saturating_sub(1);
                    continue;
                }
                Kind::Sign("}" | ")" | "]") => depth = depth.saturating_sub(1),
                Kind::Sign(";") if depth == 0 => {
                    self.at += 1;
                    return;
                }
                _ => {}
            }
            self.at += 1;
            // A statement without a semicolon ends with its line, when the next begins another.
            if depth == 0 && self.line() > line && matches!(self.kind(), Kind::Name(_)) && !self.goes_on() {
                return;
            }
        }
    }

    /// Whether the word before must be followed by something.
    fn goes_on(&self) -> bool {
        matches!(&self.tokens[self.at - 1].kind, Kind::Sign(sign) if !matches!(*sign, ")" | "]" | "}" | ";" | "++" | "--"))
    }
}
