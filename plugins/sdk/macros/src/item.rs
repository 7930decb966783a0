//! Reads the little of Rust's grammar that the macros need: attributes, a struct's fields, an enum's variants.

use std::iter::Peekable;

use proc_macro::{Delimiter, Ident, Span, TokenStream, TokenTree, token_stream};

use crate::template::{fill, text};

/// What is wrong with the author's code, and where.
pub struct Problem {
    message: String,
    span: Span,
}

impl Problem {
    pub fn new(span: Span, message: impl Into<String>) -> Self {
        Self { message: message.into(), span }
    }

    pub fn into_compile_error(self) -> TokenStream {
        let error = fill("::core::compile_error! { __TEXT__ }", &[("__TEXT__", text(&self.message))]);
        error.into_iter().map(|token| respan(token, self.span)).collect()
    }
}

fn respan(token: TokenTree, span: Span) -> TokenTree {
    match token {
        TokenTree::Group(group) => {
            let inner = group.stream().into_iter().map(|token| respan(token, span)).collect();
            let mut group = proc_macro::Group::new(group.delimiter(), inner);
            group.set_span(span);
            group.into()
        }
        mut other => {
            other.set_span(span);
            other
        }
    }
}

pub type Result<T> = std::result::Result<T, Problem>;
pub type Tokens = Peekable<token_stream::IntoIter>;

/// `name`, or `name = value`, inside an attribute's brackets.
pub struct Setting {
    pub name: String,
    pub span: Span,
    pub value: Option<TokenStream>,
}

impl Setting {
    /// The value, or a problem when there is none.
    pub fn tokens(&self) -> Result<TokenStream> {
        let missing = || Problem::new(self.span, format!("write `{} = …`", self.name));
        self.value.clone().ok_or_else(missing)
    }

    /// The value, if it is a string literal.
    pub fn string(&self) -> Result<String> {
        let tokens = self.tokens()?;
        let found = literal(&tokens);
        found.ok_or_else(|| Problem::new(self.span, format!("`{}` must be a text in quotes", self.name)))
    }

    /// The value, if it is a list of string literals.
    pub fn strings(&self) -> Result<Vec<String>> {
        let wrong = || Problem::new(self.span, format!("`{}` must be a list of texts: [\"…\", \"…\"]", self.name));
        let mut tokens = self.tokens()?.into_iter();
        let Some(TokenTree::Group(list)) = tokens.next() else { return Err(wrong()) };
        if list.delimiter() != Delimiter::Bracket || tokens.next().is_some() {
            return Err(wrong());
        }
        split(list.stream()).iter().map(|item| literal(item).ok_or_else(wrong)).collect()
    }
}

/// The text of a plain or raw string literal.
fn literal(tokens: &TokenStream) -> Option<String> {
    let mut tokens = tokens.clone().into_iter();
    let (Some(TokenTree::Literal(literal)), None) = (tokens.next(), tokens.next()) else { return None };
    let source = literal.to_string();
    if let Some(raw) = source.strip_prefix('r') {
        return Some(raw.trim_matches('#').strip_prefix('"')?.strip_suffix('"')?.to_owned());
    }
    unescape(source.strip_prefix('"')?.strip_suffix('"')?)
}

fn unescape(source: &str) -> Option<String> {
    let mut out = String::new();
    let mut chars = source.chars();
    while let Some(c) = chars.next() {
        if c != '\\' {
            out.push(c);
            continue;
        }
        match chars.next()? {
            'n' => out.push('\n'),
            't' => out.push('\t'),
            'r' => out.push('\r'),
            '0' => out.push('\0'),
            'u' => {
                let digits: String = chars.by_ref().skip(1).take_while(|c| *c != '}').collect();
                out.push(char::from_u32(u32::from_str_radix(&digits, 16).ok()?)?);
            }
            'x' => {
                let digits: String = chars.by_ref().take(2).collect();
                out.push(char::from(u8::from_str_radix(&digits, 16).ok()?));
            }
            // A line's end and the blanks after it.
            '\n' => {
                let rest = chars.as_str().trim_start();
                chars = rest.chars();
            }
            other => out.push(other),
        }
    }
    Some(out)
}

/// Parts between commas; `<` and `>` are counted, so that a type's own commas do not split.
pub fn split(tokens: TokenStream) -> Vec<TokenStream> {
    let (mut parts, mut part, mut depth) = (Vec::new(), Vec::new(), 0_i32);
    let mut after_dash = false;
    for token in tokens {
        let mut dash = false;
        if let TokenTree::Punct(punct) = &token {
            match punct.as_char() {
                '<' => depth += 1,
                '>' if !after_dash => depth -= 1,
                '-' => dash = true,
                ',' if depth == 0 => {
                    parts.push(part.drain(..).collect());
                    continue;
                }
                _ => {}
            }
        }
        after_dash = dash;
        part.push(token);
    }
    if !part.is_empty() {
        parts.push(part.into_iter().collect());
    }
    parts
}

/// The settings of `#[config(…)]` or `#[node(…)]`.
pub fn settings(tokens: TokenStream) -> Result<Vec<Setting>> {
    let mut found = Vec::new();
    for part in split(tokens) {
        let mut part = part.into_iter();
        let name = match part.next() {
            Some(TokenTree::Ident(name)) => name,
            Some(other) => return Err(Problem::new(other.span(), "expected a name")),
            None => continue,
        };
        let value = match part.next() {
            None => None,
            Some(TokenTree::Punct(punct)) if punct.as_char() == '=' => Some(part.collect()),
            Some(other) => return Err(Problem::new(other.span(), "expected `=` or `,`")),
        };
        let text = name.to_string();
        found.push(Setting { name: text.trim_start_matches("r#").to_owned(), span: name.span(), value });
    }
    Ok(found)
}

/// Doc comment and `#[config(…)]` settings before an item, field or variant.
#[derive(Default)]
pub struct Attributes {
    pub doc: String,
    pub settings: Vec<Setting>,
}

/// Takes the attributes off the front.
pub fn attributes(tokens: &mut Tokens) -> Result<Attributes> {
    let mut found = Attributes::default();
    while matches!(tokens.peek(), Some(TokenTree::Punct(punct)) if punct.as_char() == '#') {
        tokens.next();
        let Some(TokenTree::Group(group)) = tokens.next() else { break };
        let mut inner = group.stream().into_iter();
        let Some(TokenTree::Ident(name)) = inner.next() else { continue };
        match (name.to_string().as_str(), inner.next()) {
            ("doc", Some(TokenTree::Punct(_))) => {
                if let Some(line) = literal(&inner.collect()) {
                    found.doc.push_str(line.strip_prefix(' ').unwrap_or(&line));
                    found.doc.push('\n');
                }
            }
            ("config", Some(TokenTree::Group(group))) => found.settings.extend(settings(group.stream())?),
            _ => {}
        }
    }
    found.doc.truncate(found.doc.trim_end().len());
    Ok(found)
}

/// Takes `pub`, `pub(crate)` and the like off the front.
pub fn visibility(tokens: &mut Tokens) {
    if matches!(tokens.peek(), Some(TokenTree::Ident(name)) if name.to_string() == "pub") {
        tokens.next();
        if matches!(tokens.peek(), Some(TokenTree::Group(group)) if group.delimiter() == Delimiter::Parenthesis) {
            tokens.next();
        }
    }
}

/// A struct with named fields (or none), or an enum without fields.
pub struct Item {
    pub attributes: Attributes,
    pub name: Ident,
    pub is_enum: bool,
    pub members: Vec<Member>,
}

/// A field with its type, or a variant.
pub struct Member {
    pub attributes: Attributes,
    pub name: Ident,
    pub of_type: TokenStream,
}

/// Reads what `#[derive(Config)]` was put on.
pub fn item(input: TokenStream) -> Result<Item> {
    let mut tokens = input.into_iter().peekable();
    let attributes = attributes(&mut tokens)?;
    visibility(&mut tokens);
    let keyword = ident(&mut tokens)?;
    let is_enum = match keyword.to_string().as_str() {
        "struct" => false,
        "enum" => true,
        _ => return Err(Problem::new(keyword.span(), "a configuration is a struct or an enum")),
    };
    let name = ident(&mut tokens)?;
    let members = match tokens.next() {
        Some(TokenTree::Punct(punct)) if punct.as_char() == ';' => Vec::new(),
        Some(TokenTree::Group(group)) if group.delimiter() == Delimiter::Brace => {
            split(group.stream()).into_iter().map(|part| member(part, is_enum)).collect::<Result<_>>()?
        }
        _ => return Err(Problem::new(name.span(), "a configuration has named fields and no type parameters")),
    };
    Ok(Item { attributes, name, is_enum, members })
}

fn ident(tokens: &mut Tokens) -> Result<Ident> {
    match tokens.next() {
        Some(TokenTree::Ident(name)) => Ok(name),
        Some(other) => Err(Problem::new(other.span(), "expected a name")),
        None => Err(Problem::new(Span::call_site(), "expected a name")),
    }
}

fn member(part: TokenStream, is_enum: bool) -> Result<Member> {
    let mut tokens = part.into_iter().peekable();
    let attributes = attributes(&mut tokens)?;
    visibility(&mut tokens);
    let name = ident(&mut tokens)?;
    match tokens.next() {
        None if is_enum => {}
        Some(TokenTree::Punct(punct)) if !is_enum && punct.as_char() == ':' => {}
        _ if is_enum => return Err(Problem::new(name.span(), "a choice's variants have no fields and no numbers")),
        _ => return Err(Problem::new(name.span(), "expected `: type`")),
    }
    Ok(Member { attributes, name, of_type: tokens.collect() })
}
