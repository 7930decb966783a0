//! The words of a settings.js: enough of JavaScript's to find where a value that cannot be read ends.

/// A word and the line it begins in.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Token {
    pub kind: Kind,
    pub line: usize,
}

#[derive(Clone, Debug, PartialEq)]
pub(super) enum Kind {
    Name(String),
    Text(String),
    Number(f64),
    /// A template text: its pieces and, between them, the sources of what is put in.
    Template(Vec<String>, Vec<String>),
    Regexp,
    /// One of [`PUNCTUATION`].
    Sign(&'static str),
    End,
}

/// Signs, longer ones first.
const PUNCTUATION: &[&str] = &[
    ">>>=", "...", "===", "!==", "**=", "<<=", ">>=", ">>>", "&&=", "||=", "??=", "=>", "==", "!=", "<=", ">=", "&&",
    "||", "??", "?.", "++", "--", "+=", "-=", "*=", "/=", "%=", "&=", "|=", "^=", "<<", ">>", "**", "{", "}", "(", ")",
    "[", "]", ";", ",", "<", ">", "+", "-", "*", "/", "%", "&", "|", "^", "!", "~", "?", ":", "=", ".", "@", "#",
];

/// Why a text is not JavaScript, and in which line.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Broken {
    pub line: usize,
    pub message: String,
}

/// All words of a text, the last one [`Kind::End`].
pub(super) fn lex(text: &str) -> Result<Vec<Token>, Broken> {
    let mut lexer = Lexer { rest: text.strip_prefix('\u{feff}').unwrap_or(text), line: 1, tokens: Vec::new() };
    if lexer.rest.starts_with("#!") {
        lexer.skip_line();
    }
    while lexer.step()? {}
    let line = lexer.line;
    lexer.tokens.push(Token { kind: Kind::End, line });
    Ok(lexer.tokens)
}

struct Lexer<'a> {
    rest: &'a str,
    line: usize,
    tokens: Vec<Token>,
}

impl<'a> Lexer<'a> {
    fn step(&mut self) -> Result<bool, Broken> {
        let Some(c) = self.rest.chars().next() else { return Ok(false) };
        if c.is_whitespace() {
            self.advance(c.len_utf8());
        } else if self.rest.starts_with("//") {
            self.skip_line();
        } else if self.rest.starts_with("/*") {
            let Some(end) = self.rest.find("*/") else { return Err(self.broken("a comment does not end")) };
            self.advance(end + 2);
        } else if c == '"' || c == '\'' {
            let line = self.line;
            let text = self.quoted(c)?;
            self.tokens.push(Token { kind: Kind::Text(text), line });
        } else if c == '`' {
            self.template()?;
        } else if c.is_ascii_digit() || (c == '.' && self.rest[1..].starts_with(|c: char| c.is_ascii_digit())) {
            self.number()?;
        } else if c == '_' || c == '$' || c.is_alphabetic() {
            let end = self.rest.find(|c: char| c != '_' && c != '$' && !c.is_alphanumeric()).unwrap_or(self.rest.len());
            let name = self.rest[..end].to_owned();
            self.push(Kind::Name(name), end);
        } else if c == '/' && self.operand_is_due() {
            let end = self.regexp_end()?;
            self.push(Kind::Regexp, end);
        } else {
            let Some(sign) = PUNCTUATION.iter().find(|sign| self.rest.starts_with(**sign)) else {
                return Err(self.broken(&format!("{c:?} cannot stand here")));
            };
            self.push(Kind::Sign(sign), sign.len());
        }
        Ok(true)
    }

    fn push(&mut self, kind: Kind, length: usize) {
        self.tokens.push(Token { kind, line: self.line });
        self.advance(length);
    }

    fn advance(&mut self, bytes: usize) {
        let (gone, rest) = self.rest.split_at(bytes);
        self.line += gone.matches('\n').count();
        self.rest = rest;
    }

    fn skip_line(&mut self) {
        self.advance(self.rest.find('\n').unwrap_or(self.rest.len()));
    }

    fn broken(&self, message: &str) -> Broken {
        Broken { line: self.line, message: message.to_owned() }
    }

    /// Whether a value must come now, so that `/` begins a regular expression.
    fn operand_is_due(&self) -> bool {
        match self.tokens.last().map(|token| &token.kind) {
            None => true,
            Some(Kind::Sign(sign)) => !matches!(*sign, ")" | "]" | "}" | "++" | "--"),
            Some(Kind::Name(name)) => {
                matches!(name.as_str(), "return" | "typeof" | "case" | "in" | "of" | "void" | "new")
            }
            Some(_) => false,
        }
    }

    /// Length of the regular expression that begins here, flags included.
    fn regexp_end(&self) -> Result<usize, Broken> {
        let (mut escaped, mut class) = (false, false);
        for (at, c) in self.rest.char_indices().skip(1) {
            match c {
                '\n' => break,
                _ if escaped => escaped = false,
                '\\' => escaped = true,
                '[' => class = true,
                ']' => class = false,
                '/' if !class => {
                    let flags = self.rest[at + 1..].chars().take_while(|c| c.is_ascii_alphabetic()).count();
                    return Ok(at + 1 + flags);
                }
                _ => {}
            }
        }
        Err(self.broken("a regular expression does not end"))
    }

    fn quoted(&mut self, quote: char) -> Result<String, Broken> {
        let mut text = String::new();
        let mut chars = self.rest.char_indices().skip(1);
        while let Some((at, c)) = chars.next() {
            if c == quote {
                self.advance(at + 1);
                return Ok(text);
            }
            match c {
                '\n' => break,
                '\\' => escape(&mut chars, &mut text).map_err(|message| self.broken(message))?,
                c => text.push(c),
            }
        }
        Err(self.broken("a text does not end in its line"))
    }

    fn template(&mut self) -> Result<(), Broken> {
        let line = self.line;
        let (mut pieces, mut sources, mut text) = (Vec::new(), Vec::new(), String::new());
        let mut chars = self.rest.char_indices().skip(1);
        while let Some((at, c)) = chars.next() {
            match c {
                '`' => {
                    pieces.push(text);
                    self.advance(at + 1);
                    self.tokens.push(Token { kind: Kind::Template(pieces, sources), line });
                    return Ok(());
                }
                '\\' => escape(&mut chars, &mut text).map_err(|message| self.broken(message))?,
                '$' if self.rest[at + 1..].starts_with('{') => {
                    let inner = &self.rest[at + 2..];
                    // What is put in may hold a text with a brace; such a template is not read, so its end is enough.
                    let mut depth = 1_usize;
                    let end = inner.char_indices().find_map(|(i, c)| {
                        match c {
                            '{' => depth += 1,
                            '}' => depth -= 1,
                            _ => {}
                        }
                        (depth == 0).then_some(i)
                    });
                    let Some(end) = end else { break };
                    sources.push(inner[..end].to_owned());
                    pieces.push(std::mem::take(&mut text));
                    let after = at + 2 + end;
                    chars.by_ref().take_while(|(i, _)| *i < after).for_each(drop);
                }
                c => text.push(c),
            }
        }
        Err(Broken { line, message: "a template does not end".into() })
    }

    fn number(&mut self) -> Result<(), Broken> {
        let is_exponent = |before: Option<char>| matches!(before, Some('e' | 'E'));
        let hex = self.rest.starts_with("0x") || self.rest.starts_with("0X");
        let mut before = None;
        let end = self
            .rest
            .find(|c: char| {
                let part = c.is_ascii_alphanumeric()
                    || c == '.'
                    || c == '_'
                    || (!hex && matches!(c, '+' | '-') && is_exponent(before));
                before = Some(c);
                !part
            })
            .unwrap_or(self.rest.len());
        let text = self.rest[..end].replace('_', "").to_ascii_lowercase();
        let radix = |prefix: &str, radix| text.strip_prefix(prefix).map(|digits| u64::from_str_radix(digits, radix));
        let number = match radix("0x", 16).or_else(|| radix("0o", 8)).or_else(|| radix("0b", 2)) {
            Some(whole) => whole.ok().map(|whole| whole as f64),
            None => text.parse().ok(),
        };
        let Some(number) = number else { return Err(self.broken(&format!("{text} is no number"))) };
        self.push(Kind::Number(number), end);
        Ok(())
    }
}

/// Reads what follows a backslash.
fn escape(chars: &mut impl Iterator<Item = (usize, char)>, text: &mut String) -> Result<(), &'static str> {
    let Some((_, c)) = chars.next() else { return Err("a text ends in a backslash") };
    let c = match c {
        'n' => '\n',
        't' => '\t',
        'r' => '\r',
        'b' => '\u{8}',
        'f' => '\u{c}',
        'v' => '\u{b}',
        '0' => '\0',
        // The text goes on in the next line.
        '\n' => return Ok(()),
        'x' => code(chars, 2).ok_or("\\x must be followed by two hexadecimal digits")?,
        'u' => code(chars, 4).ok_or("\\u must be followed by four hexadecimal digits")?,
        c => c,
    };
    text.push(c);
    Ok(())
}

/// The character of so many hexadecimal digits.
fn code(chars: &mut impl Iterator<Item = (usize, char)>, digits: usize) -> Option<char> {
    let code: String = chars.take(digits).map(|(_, c)| c).collect();
    u32::from_str_radix(&code, 16).ok().and_then(char::from_u32)
}
