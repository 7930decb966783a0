//! Mustache as Node-RED's template node speaks it: mustache.js 4.2 with `flow.`, `global.` and `env.` names.
//!
//! A template is parsed once and rendered against a message. There are no partials (Node-RED gives none, so
//! they render as nothing) and no lambdas (messages hold no functions).

use crate::model::Value;
use crate::model::path::Path;
use crate::runtime::context;

/// Bytes of a template.
pub const TEMPLATE_BYTES_MAX: usize = 4 << 20;
/// Bytes a template may render to.
pub const OUTPUT_BYTES_MAX: usize = 64 << 20;
/// Tokens rendered, loops included; nested sections over long lists multiply.
const STEPS_MAX: usize = 20_000_000;
/// Sections inside sections.
const DEPTH_MAX: usize = 200;

/// A parsed template.
#[derive(Clone, Debug, PartialEq)]
pub struct Template {
    tokens: Vec<Token>,
}

#[derive(Clone, Debug, PartialEq)]
enum Token {
    Text(String),
    Value { name: Name, escape: bool },
    Section { name: Name, inverted: bool, tokens: Vec<Token> },
}

/// A name inside a tag.
#[derive(Clone, Debug, PartialEq)]
struct Name {
    text: String,
    /// The text at its dots, when it has one that is not the first character.
    parts: Vec<String>,
    outside: Option<Outside>,
}

/// A name that is not found in the message but stands for something outside it.
#[derive(Clone, Debug, PartialEq)]
pub enum Outside {
    /// `flow.x`, `global[store].x`.
    Context(context::Level, Path),
    /// `env.X`.
    Env(String),
}

/// Where names are looked up.
pub struct View<'a> {
    /// What the template is rendered against: the message.
    pub root: Value,
    /// Resolves names the message does not have.
    pub outside: &'a dyn Fn(&Outside) -> Result<Value, String>,
    /// Escapes line breaks, tabs and backslashes of texts for use inside JSON strings (outside sections only, as
    /// in the original).
    pub escape_json: bool,
}

impl Template {
    /// Parses a template; errors are mustache.js's, for example `Unclosed tag at 12`.
    pub fn parse(text: &str) -> Result<Template, String> {
        if text.len() > TEMPLATE_BYTES_MAX {
            return Err(format!("the template has {} bytes; at most {TEMPLATE_BYTES_MAX} are allowed", text.len()));
        }
        let raw = Parser::new(text).parse()?;
        Ok(Template { tokens: nest(raw)? })
    }

    /// Renders; fails only when limits are exceeded, or a name outside cannot be looked up.
    pub fn render(&self, view: &View<'_>) -> Result<String, String> {
        let mut renderer = Renderer { view, stack: vec![view.root.clone()], out: String::new(), steps: 0 };
        renderer.render(&self.tokens)?;
        Ok(renderer.out)
    }
}

/// A token before nesting.
enum Raw<'t> {
    Text(&'t str),
    Tag { kind: Kind, value: &'t str, start: usize },
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Kind {
    Name,
    Unescaped,
    Open,
    Inverted,
    Close,
    /// Comments, partials and set-delimiter tags: nothing to render, but part of what makes a line standalone.
    Silent,
}

struct Parser<'t> {
    text: &'t str,
    pos: usize,
    open: &'t str,
    close: &'t str,
    tokens: Vec<Option<Raw<'t>>>,
    /// Whitespace tokens of the current line.
    spaces: Vec<usize>,
    has_tag: bool,
    non_space: bool,
    sections: Vec<&'t str>,
}

/// JavaScript's `\s`.
fn is_space(c: char) -> bool {
    (c.is_whitespace() && c != '\u{85}') || c == '\u{feff}'
}

impl<'t> Parser<'t> {
    fn new(text: &'t str) -> Self {
        Parser {
            text,
            pos: 0,
            open: "{{",
            close: "}}",
            tokens: Vec::new(),
            spaces: Vec::new(),
            has_tag: false,
            non_space: false,
            sections: Vec::new(),
        }
    }

    fn parse(mut self) -> Result<Vec<Raw<'t>>, String> {
        while self.pos < self.text.len() {
            let rest = &self.text[self.pos..];
            let until = rest.find(self.open).unwrap_or(rest.len());
            self.push_text(&rest[..until]);
            let start = self.pos + until;
            self.pos = start;
            if start == self.text.len() {
                break;
            }
            self.pos += self.open.len();
            self.skip_space();
            self.read_tag(start)?;
        }
        self.end_line();
        if let Some(open) = self.sections.pop() {
            return Err(format!("Unclosed section \"{open}\" at {}", self.utf16(self.pos)));
        }
        Ok(self.tokens.into_iter().flatten().collect())
    }

    /// Positions in errors count UTF-16 units, as JavaScript does.
    fn utf16(&self, at: usize) -> usize {
        self.text[..at].encode_utf16().count()
    }

    fn skip_space(&mut self) {
        let rest = &self.text[self.pos..];
        self.pos += rest.len() - rest.trim_start_matches(is_space).len();
    }

    /// Splits text into runs of whitespace (ended by a line break) and of anything else.
    fn push_text(&mut self, mut text: &'t str) {
        while let Some(first) = text.chars().next() {
            let space = is_space(first);
            let end = text.find(|c| is_space(c) != space).unwrap_or(text.len());
            let end = if space { text[..end].find('\n').map_or(end, |at| at + 1) } else { end };
            let run = &text[..end];
            if space {
                self.spaces.push(self.tokens.len());
            } else {
                self.non_space = true;
            }
            self.tokens.push(Some(Raw::Text(run)));
            if run.ends_with('\n') {
                self.end_line();
            }
            text = &text[end..];
        }
    }

    /// Drops the whitespace of a line that holds tags which render nothing, and no text.
    fn end_line(&mut self) {
        if self.has_tag && !self.non_space {
            for at in &self.spaces {
                self.tokens[*at] = None;
            }
        }
        self.spaces.clear();
        self.has_tag = false;
        self.non_space = false;
    }

    /// Reads up to `mark` and past it; whitespace before it does not belong to the value.
    fn until(&mut self, mark: &str) -> Option<&'t str> {
        let rest = &self.text[self.pos..];
        let at = rest.find(mark)?;
        self.pos += at + mark.len();
        Some(rest[..at].trim_end_matches(is_space))
    }

    fn read_tag(&mut self, start: usize) -> Result<(), String> {
        self.has_tag = true;
        let symbol = self.text[self.pos..].chars().next().filter(|c| "#^/>{&=!".contains(*c));
        self.pos += symbol.map_or(0, char::len_utf8);
        self.skip_space();
        let unclosed = |parser: &Self| format!("Unclosed tag at {}", parser.utf16(parser.text.len()));
        let close = self.close;
        let (kind, value) = match symbol {
            Some('=') => {
                let value = self.until("=").ok_or_else(|| unclosed(self))?;
                self.until(close).ok_or_else(|| unclosed(self))?;
                self.set_delimiters(value)?;
                (Kind::Silent, value)
            }
            Some('{') => {
                let value = self.until(&format!("}}{close}")).ok_or_else(|| unclosed(self))?;
                (Kind::Unescaped, value)
            }
            other => {
                let value = self.until(close).ok_or_else(|| unclosed(self))?;
                let kind = match other {
                    Some('#') => Kind::Open,
                    Some('^') => Kind::Inverted,
                    Some('/') => Kind::Close,
                    Some('&') => Kind::Unescaped,
                    Some(_) => Kind::Silent,
                    None => Kind::Name,
                };
                (kind, value)
            }
        };
        match kind {
            Kind::Open | Kind::Inverted => {
                if self.sections.len() == DEPTH_MAX {
                    return Err(format!("sections are nested deeper than {DEPTH_MAX}"));
                }
                self.sections.push(value);
            }
            Kind::Close => match self.sections.pop() {
                None => return Err(format!("Unopened section \"{value}\" at {}", self.utf16(start))),
                Some(open) if open != value => {
                    return Err(format!("Unclosed section \"{open}\" at {}", self.utf16(start)));
                }
                Some(_) => {}
            },
            Kind::Name | Kind::Unescaped => self.non_space = true,
            Kind::Silent => {}
        }
        self.tokens.push(Some(Raw::Tag { kind, value, start }));
        Ok(())
    }

    fn set_delimiters(&mut self, value: &'t str) -> Result<(), String> {
        let mut words = value.split(is_space).filter(|w| !w.is_empty());
        match (words.next(), words.next()) {
            (Some(open), Some(close)) => {
                (self.open, self.close) = (open, close);
                Ok(())
            }
            _ => Err(format!("Invalid tags: {value}")),
        }
    }
}

/// An open section (name, inverted) with what it holds so far; the outermost has no name.
type Level = (Option<(Name, bool)>, Vec<Token>);

fn nest(raw: Vec<Raw<'_>>) -> Result<Vec<Token>, String> {
    let mut levels: Vec<Level> = vec![(None, Vec::new())];
    for token in raw {
        let last = levels.len() - 1;
        let here = &mut levels[last].1;
        match token {
            Raw::Text(text) => match here.last_mut() {
                Some(Token::Text(before)) => before.push_str(text),
                _ => here.push(Token::Text(text.into())),
            },
            Raw::Tag { kind: Kind::Silent, .. } => {}
            Raw::Tag { kind: Kind::Close, .. } => {
                if let Some((Some((name, inverted)), tokens)) = levels.pop()
                    && let Some((_, outer)) = levels.last_mut()
                {
                    outer.push(Token::Section { name, inverted, tokens });
                }
            }
            Raw::Tag { kind, value, start } => {
                let name = Name::new(value).map_err(|e| format!("{e} (tag at {start})"))?;
                match kind {
                    Kind::Open | Kind::Inverted => levels.push((Some((name, kind == Kind::Inverted)), Vec::new())),
                    _ => here.push(Token::Value { name, escape: kind == Kind::Name }),
                }
            }
        }
    }
    Ok(levels.swap_remove(0).1)
}

impl Name {
    fn new(text: &str) -> Result<Name, String> {
        let dotted = text.find('.').is_some_and(|at| at > 0);
        Ok(Name {
            text: text.into(),
            parts: if dotted { text.split('.').map(String::from).collect() } else { Vec::new() },
            outside: outside(text)?,
        })
    }
}

/// `/^(flow|global)(\[(\w+)\])?\.(.+)/` and `/^env\.(.+)/` of the original.
fn outside(text: &str) -> Result<Option<Outside>, String> {
    if let Some(name) = text.strip_prefix("env.").filter(|n| !n.is_empty()) {
        return Ok(Some(Outside::Env(name.into())));
    }
    for (prefix, level) in [("flow", context::Level::Flow), ("global", context::Level::Global)] {
        let Some(rest) = text.strip_prefix(prefix) else { continue };
        let (store, rest) = match rest.strip_prefix('[').and_then(|r| r.split_once(']')) {
            Some((store, rest))
                if !store.is_empty() && store.chars().all(|c| c.is_ascii_alphanumeric() || c == '_') =>
            {
                (Some(store), rest)
            }
            _ => (None, rest),
        };
        if let Some(field) = rest.strip_prefix('.').filter(|f| !f.is_empty()) {
            let path = Path::parse(field).map_err(|e| e.to_string())?;
            return Ok(Some(Outside::Context(level, if store.is_some() { path.in_store(store) } else { path })));
        }
    }
    Ok(None)
}

struct Renderer<'a, 'v> {
    view: &'a View<'v>,
    /// The views of the open sections, innermost last; the first is the message.
    stack: Vec<Value>,
    out: String,
    steps: usize,
}

impl Renderer<'_, '_> {
    fn render(&mut self, tokens: &[Token]) -> Result<(), String> {
        for token in tokens {
            self.steps += 1;
            if self.steps > STEPS_MAX {
                return Err(format!("the template renders more than {STEPS_MAX} parts"));
            }
            match token {
                Token::Text(text) => self.out.push_str(text),
                Token::Value { name, escape } => {
                    let value = self.lookup(name)?;
                    match value {
                        Value::Undefined | Value::Null => {}
                        Value::Number(_) => self.out.push_str(&value.to_js_string()),
                        Value::Date(ms) => self.out.push_str(&super::moment::date_text(ms)),
                        value if *escape => push_escaped(&mut self.out, &value.to_js_string()),
                        value => self.out.push_str(&value.to_js_string()),
                    }
                }
                Token::Section { name, inverted, tokens } => self.section(name, *inverted, tokens)?,
            }
            if self.out.len() > OUTPUT_BYTES_MAX {
                return Err(format!("the template renders to more than {OUTPUT_BYTES_MAX} bytes"));
            }
        }
        Ok(())
    }

    fn section(&mut self, name: &Name, inverted: bool, tokens: &[Token]) -> Result<(), String> {
        let value = self.lookup(name)?;
        let empty = value.as_array().is_some_and(|a| a.is_empty());
        match value {
            value if inverted => {
                if !value.is_truthy() || empty {
                    self.render(tokens)
                } else {
                    Ok(())
                }
            }
            value if !value.is_truthy() => Ok(()),
            Value::Bool(_) => self.render(tokens),
            Value::Array(items) => {
                for item in items.iter() {
                    self.steps += 1;
                    self.within(item.clone(), tokens)?;
                }
                Ok(())
            }
            value => self.within(value, tokens),
        }
    }

    fn within(&mut self, view: Value, tokens: &[Token]) -> Result<(), String> {
        self.stack.push(view);
        let result = self.render(tokens);
        self.stack.pop();
        result
    }

    fn lookup(&self, name: &Name) -> Result<Value, String> {
        if let Some(value) = self.lookup_in_views(name).filter(|v| !v.is_undefined()) {
            return Ok(match value {
                Value::String(text) if self.view.escape_json && self.stack.len() == 1 => escape_control(&text).into(),
                value => value,
            });
        }
        match &name.outside {
            Some(outside) => (self.view.outside)(outside),
            None => Ok(Value::Undefined),
        }
    }

    fn lookup_in_views(&self, name: &Name) -> Option<Value> {
        if name.text == "." {
            return self.stack.last().cloned();
        }
        for view in self.stack.iter().rev() {
            if name.parts.is_empty() {
                if has_property(view, &name.text) {
                    return Some(view.get(&name.text));
                }
                continue;
            }
            let mut value = view.clone();
            let mut hit = false;
            for (i, part) in name.parts.iter().enumerate() {
                if value.is_nullish() {
                    break;
                }
                if i + 1 == name.parts.len() {
                    hit = has_property(&value, part) || has_primitive_property(&value, part);
                }
                value = value.get(part);
            }
            if hit {
                return Some(value);
            }
        }
        None
    }
}

fn has_property(value: &Value, key: &str) -> bool {
    match value {
        Value::Object(object) => object.contains_key(key),
        Value::Handle(handle) => handle.object().is_some_and(|o| o.contains_key(key)),
        Value::Array(_) | Value::Bytes(_) | Value::Error(_) => !value.get(key).is_undefined(),
        _ => false,
    }
}

fn has_primitive_property(value: &Value, key: &str) -> bool {
    matches!(value, Value::String(_)) && !value.get(key).is_undefined()
}

fn push_escaped(out: &mut String, text: &str) {
    let mut copied = 0;
    for (at, byte) in text.bytes().enumerate() {
        let entity = match byte {
            b'&' => "&amp;",
            b'<' => "&lt;",
            b'>' => "&gt;",
            b'"' => "&quot;",
            b'\'' => "&#39;",
            b'/' => "&#x2F;",
            b'`' => "&#x60;",
            b'=' => "&#x3D;",
            _ => continue,
        };
        out.push_str(&text[copied..at]);
        out.push_str(entity);
        copied = at + 1;
    }
    out.push_str(&text[copied..]);
}

fn escape_control(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\t' => out.push_str("\\t"),
            '\r' => out.push_str("\\r"),
            '\u{c}' => out.push_str("\\f"),
            '\u{8}' => out.push_str("\\b"),
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn render(template: &str, view: &str) -> Result<String, String> {
        let root = Value::from_json(view).unwrap();
        let outside = |o: &Outside| Ok(Value::from(format!("{o:?}")));
        Template::parse(template)?.render(&View { root, outside: &outside, escape_json: false })
    }

    #[test]
    fn names_are_looked_up_as_mustache_js_does() {
        let view = r#"{"a":{"b":0,"s":"text"},"n":1e21,"nil":null,"list":[1,{"x":2}],"flow":{"own":"msg"}}"#;
        for (template, expected) in [
            ("{{a.b}} {{a.s.length}} {{s}}", "0 4 "),
            ("{{n}} {{nil}} {{a}} {{list}}", "1e+21  [object Object] 1,[object Object]"),
            ("{{#a}}{{s}}{{n}}{{/a}}", "text1e+21"),
            ("{{#a.s}}{{.}}{{/a.s}}{{#n}}{{.}}{{/n}}", "text1e+21"),
            ("{{#list}}[{{.}}{{x}}]{{/list}}", "[1][[object Object]2]"),
            ("{{list.1.x}} {{list.length}}", "2 2"),
            ("{{flow.own}}", "msg"),
            ("{{^a.b}}no{{/a.b}}{{^list}}x{{/list}}{{^none}}y{{/none}}", "noy"),
            ("{{> partial }}|{{! comment }}|", "||"),
        ] {
            assert_eq!(render(template, view).as_deref(), Ok(expected), "{template}");
        }
        assert!(render("{{{env.X}}}", "{}").unwrap().contains("Env(\"X\")"));
        assert!(render("{{{global[file].a.b}}}", "{}").unwrap().contains("Global"));
    }

    #[test]
    fn broken_templates_are_refused_with_the_originals_words() {
        for (template, error) in [
            ("a{{b", "Unclosed tag at 4"),
            ("é{{#a}}", "Unclosed section \"a\" at 7"),
            ("{{/a}}", "Unopened section \"a\" at 0"),
            ("{{#a}}{{/b}}", "Unclosed section \"a\" at 6"),
            ("{{=<%=}}", "Invalid tags: <%"),
        ] {
            assert_eq!(Template::parse(template).unwrap_err(), error, "{template}");
        }
    }

    #[test]
    fn limits_end_what_would_explode() {
        assert!(Template::parse(&"x".repeat(TEMPLATE_BYTES_MAX + 1)).is_err());
        assert!(Template::parse(&"{{#a}}".repeat(DEPTH_MAX + 1)).unwrap_err().contains("deeper"));
        let list: Vec<u32> = (0..200).collect();
        let view = serde_json::json!({ "a": list }).to_string();
        let bomb = format!("{}{}", "{{#a}}".repeat(6), "{{/a}}".repeat(6));
        assert!(render(&bomb, &view).unwrap_err().contains("more than"));
    }

    proptest! {
        #[test]
        fn any_text_parses_and_renders_or_is_refused(
            template in "([{}#^/&!>=. \n|a-c\u{e9}]|\\{\\{|\\}\\}|\\{\\{#a\\}\\}|\\{\\{/a\\}\\}){0,40}"
        ) {
            let _ = render(&template, r#"{"a":[{"b":"<"},1],"b":{"c":null}}"#);
        }
    }
}
