//! Whether a function node's code keeps something from one message to the next: then its messages go through one
//! instance, one after the other; otherwise each worker has an instance of its own.
//!
//! The code is not parsed, only cut into words and signs, and what cannot be told counts as keeping. What slips through
//! (a name put together at run time) the sandbox tells after the call that did it.

use std::collections::HashSet;

/// Calls that leave something behind a message.
const LASTING: [&str; 7] = ["setTimeout", "setInterval", "promisify", "linkcall", "eval", "Function", "globalThis"];

/// What belongs to the message: it may be changed.
const OF_MESSAGE: [&str; 2] = ["msg", "node"];

/// Words before a name that is made there.
const DECLARING: [&str; 6] = ["var", "let", "const", "function", "class", "catch"];

/// Stands for `=>`.
const ARROW: char = '→';

#[derive(Debug, PartialEq)]
enum Token {
    Word(String),
    /// Assignment, `++` or `--`.
    Change,
    Sign(char),
}

/// True unless it is certain that nothing lasts.
pub(super) fn keeps(func: &str, initialize: &str, finalize: &str) -> bool {
    if !initialize.trim().is_empty() || !finalize.trim().is_empty() {
        return true;
    }
    let tokens = tokens(func);
    let has = |word: &str| tokens.iter().any(|t| matches!(t, Token::Word(w) if w == word));
    if LASTING.iter().any(|word| has(word)) || tokens.windows(3).any(|w| is_member(w, "node", "on")) {
        return true;
    }
    let declared = declared(&tokens);
    tokens.iter().enumerate().any(|(at, token)| *token == Token::Change && !changes_own(&tokens, at, &declared))
}

fn is_member(w: &[Token], object: &str, member: &str) -> bool {
    matches!(w, [Token::Word(a), Token::Sign('.'), Token::Word(b)] if a == object && b == member)
}

/// Whether what is changed at a sign belongs to the message or was made in this code.
fn changes_own(tokens: &[Token], at: usize, declared: &HashSet<&str>) -> bool {
    let own = |root: Option<&str>| root.is_some_and(|r| declared.contains(r) || OF_MESSAGE.contains(&r));
    let before = root_before(tokens, at);
    // `++x` has its name behind it.
    if before.is_none()
        && let Some(Token::Word(next)) = tokens.get(at + 1)
    {
        return own(Some(next));
    }
    own(before)
}

/// The first name of `a.b[c].d` that ends before `at`; `None` when that is something else.
fn root_before(tokens: &[Token], at: usize) -> Option<&str> {
    let mut i = at.checked_sub(1)?;
    loop {
        match &tokens[i] {
            Token::Word(word) => match i.checked_sub(1).map(|b| &tokens[b]) {
                Some(Token::Sign('.')) => i = i.checked_sub(2)?,
                _ => return Some(word),
            },
            // An index, a call, a pattern: over it to what it belongs to.
            Token::Sign(close @ (']' | ')' | '}')) => {
                let open = matching(tokens, i)?;
                match (close, open.checked_sub(1).map(|b| &tokens[b])) {
                    // `let {a, b} = …`, `const [a] = …`: declared.
                    (']' | '}', Some(Token::Word(word))) if DECLARING.contains(&word.as_str()) => return Some("msg"),
                    (']' | ')', Some(Token::Word(_) | Token::Sign(']' | ')'))) => i = open - 1,
                    _ => return None,
                }
            }
            // `a?.b`
            Token::Sign('?') => i = i.checked_sub(1)?,
            _ => return None,
        }
    }
}

fn matching(tokens: &[Token], close: usize) -> Option<usize> {
    let mut depth = 0;
    for i in (0..=close).rev() {
        match tokens[i] {
            Token::Sign(']' | ')' | '}') => depth += 1,
            Token::Sign('[' | '(' | '{') => {
                depth -= 1;
                if depth == 0 {
                    return Some(i);
                }
            }
            _ => {}
        }
    }
    None
}

/// Names that the code makes: after `var` and its kin up to the end of the declaration, and parameters.
fn declared(tokens: &[Token]) -> HashSet<&str> {
    let mut names = HashSet::new();
    for (at, token) in tokens.iter().enumerate() {
        match token {
            Token::Word(word) if DECLARING.contains(&word.as_str()) => declared_by(tokens, at, word, &mut names),
            // `x => …` and `(a, b) => …`
            Token::Sign(ARROW) if at > 0 => match &tokens[at - 1] {
                Token::Word(name) => drop(names.insert(name.as_str())),
                Token::Sign(')') => names_between(tokens, matching(tokens, at - 1).unwrap_or(at), at, &mut names),
                _ => {}
            },
            _ => {}
        }
    }
    names
}

fn declared_by<'a>(tokens: &'a [Token], at: usize, word: &str, names: &mut HashSet<&'a str>) {
    let is = |i: usize, sign: char| tokens.get(i) == Some(&Token::Sign(sign));
    match word {
        "function" | "catch" | "class" => {
            let mut i = at + 1;
            if let Some(Token::Word(name)) = tokens.get(i) {
                names.insert(name);
                i += 1;
            }
            if is(i, '(') {
                let end = (i..tokens.len()).find(|e| is(*e, ')')).unwrap_or(tokens.len());
                names_between(tokens, i, end, names);
            }
        }
        _ => {
            // `a = 1, b, {c, d} = e`: a name at the beginning and after each comma outside of brackets.
            let (mut depth, mut expected) = (0usize, true);
            for token in &tokens[at + 1..] {
                match token {
                    Token::Word(name) if expected || depth > 0 && pattern(tokens, at) => {
                        names.insert(name);
                        expected = false;
                    }
                    Token::Sign(',') if depth == 0 => expected = true,
                    Token::Sign('[' | '{' | '(') => depth += 1,
                    Token::Sign(']' | '}' | ')') if depth > 0 => depth -= 1,
                    Token::Sign(';' | ')') => break,
                    Token::Word(word) if word == "of" || word == "in" => break,
                    // Of a value nothing is declared; a statement without `;` ends at the next `var`.
                    Token::Word(word) if DECLARING.contains(&word.as_str()) => break,
                    _ => {}
                }
            }
        }
    }
}

/// Whether a declaration begins with a pattern, `let {a, b} = …`.
fn pattern(tokens: &[Token], at: usize) -> bool {
    matches!(tokens.get(at + 1), Some(Token::Sign('{' | '[')))
}

fn names_between<'a>(tokens: &'a [Token], from: usize, to: usize, names: &mut HashSet<&'a str>) {
    for token in tokens.iter().take(to).skip(from) {
        if let Token::Word(name) = token {
            names.insert(name);
        }
    }
}

/// Words, changes and signs; texts, comments and regular expressions are left out.
fn tokens(code: &str) -> Vec<Token> {
    let chars: Vec<char> = code.chars().collect();
    let mut tokens = Vec::new();
    let mut i = 0;
    while i < chars.len() {
        let c = chars[i];
        let next = chars.get(i + 1).copied().unwrap_or('\0');
        if c.is_whitespace() {
            i += 1;
        } else if c == '/' && next == '/' {
            i += chars[i..].iter().position(|c| *c == '\n').unwrap_or(chars.len() - i);
        } else if c == '/' && next == '*' {
            i = (i + 2..chars.len()).find(|k| chars[*k] == '/' && chars[k - 1] == '*').map_or(chars.len(), |k| k + 1);
        } else if c == '"' || c == '\'' {
            i = end_of_text(&chars, i);
            tokens.push(Token::Sign('"'));
        } else if c == '`' {
            // What stands in `${…}` is looked at as code.
            i = template(&chars, i, &mut tokens);
        } else if c == '/' && regex_may_begin(&tokens) {
            i = end_of_regex(&chars, i);
            tokens.push(Token::Sign('"'));
        } else if c.is_alphanumeric() || c == '_' || c == '$' {
            let end = chars[i..].iter().position(|c| !(c.is_alphanumeric() || matches!(c, '_' | '$')));
            let end = end.map_or(chars.len(), |n| i + n);
            tokens.push(Token::Word(chars[i..end].iter().collect()));
            i = end;
        } else {
            i += sign(&chars[i..], &mut tokens);
        }
    }
    tokens
}

/// Reads one sign; gives how many characters it has.
fn sign(chars: &[char], tokens: &mut Vec<Token>) -> usize {
    let text: String = chars.iter().take(4).collect();
    if text.starts_with("=>") {
        tokens.push(Token::Sign(ARROW));
        return 2;
    }
    for same in ["===", "!==", "==", "!=", "<=", ">="] {
        if text.starts_with(same) {
            tokens.push(Token::Sign('~'));
            return same.len();
        }
    }
    for change in [
        ">>>=", "**=", "<<=", ">>=", "&&=", "||=", "??=", "+=", "-=", "*=", "/=", "%=", "&=", "|=", "^=", "++", "--",
        "=",
    ] {
        if text.starts_with(change) {
            tokens.push(Token::Change);
            return change.len();
        }
    }
    tokens.push(Token::Sign(chars[0]));
    1
}

fn end_of_text(chars: &[char], from: usize) -> usize {
    let mut i = from + 1;
    while i < chars.len() && chars[i] != chars[from] {
        i += if chars[i] == '\\' { 2 } else { 1 };
    }
    i + 1
}

fn template(chars: &[char], from: usize, tokens: &mut Vec<Token>) -> usize {
    let mut i = from + 1;
    tokens.push(Token::Sign('"'));
    while i < chars.len() && chars[i] != '`' {
        if chars[i] == '\\' {
            i += 2;
        } else if chars[i] == '$' && chars.get(i + 1) == Some(&'{') {
            let mut depth = 1;
            let start = i + 2;
            i = start;
            while i < chars.len() && depth > 0 {
                depth += i32::from(chars[i] == '{') - i32::from(chars[i] == '}');
                i += 1;
            }
            let inner: String = chars[start.min(i)..i.saturating_sub(1).max(start.min(i))].iter().collect();
            tokens.push(Token::Sign('('));
            tokens.extend(self::tokens(&inner));
            tokens.push(Token::Sign(')'));
            tokens.push(Token::Sign('"'));
        } else {
            i += 1;
        }
    }
    i + 1
}

/// A `/` after a value divides; after anything else a regular expression begins.
fn regex_may_begin(tokens: &[Token]) -> bool {
    match tokens.last() {
        Some(Token::Word(word)) => {
            matches!(word.as_str(), "return" | "typeof" | "case" | "in" | "of" | "delete" | "void")
        }
        Some(Token::Sign(')' | ']' | '}' | '"')) => false,
        _ => true,
    }
}

fn end_of_regex(chars: &[char], from: usize) -> usize {
    let (mut i, mut class) = (from + 1, false);
    while i < chars.len() && chars[i] != '\n' {
        match chars[i] {
            '\\' => i += 1,
            '[' => class = true,
            ']' => class = false,
            '/' if !class => return i + 1,
            _ => {}
        }
        i += 1;
    }
    i
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keeps_it(code: &str) -> bool {
        keeps(code, "", "")
    }

    #[test]
    fn what_only_works_on_its_message_keeps_nothing() {
        for code in [
            "return msg;",
            "msg.payload = node.name; msg.a.b[0] = 1; msg.count++; return msg;",
            "var a = 1, b = 2; a += b; let {c, d} = msg.payload; c = 3; return [msg, {payload: a}];",
            "for (let i = 0; i < 3; i++) { msg.payload += i; } return msg;",
            "const list = msg.payload.map(x => { x.done = true; return x; }); msg.payload = list; return msg;",
            "const f = (a, b) => { a = b; return a; }; function g(x) { x.y = 1; } try { g(f(1, 2)); } catch (e) { e.z = 1; } return msg;",
            "context.set('n', (context.get('n') || 0) + 1); return msg;",
            "var s = 'x = 1'; // y = 2\n/* z = 3 */ msg.t = `a = ${s}`; msg.r = /q=1/.test(s); return msg;",
            "var d = new Date(env.get('a'));\nd.setMonth(1);\nif (d >= msg.x && d <= msg.y) { return msg; } else { return null; }",
        ] {
            assert!(!keeps_it(code), "{code}");
        }
    }

    #[test]
    fn what_may_last_is_found() {
        for code in [
            "count = (count || 0) + 1;",
            "context.n = 1;",
            "global.x.y = 1;",
            "this.n = 1;",
            "total++;",
            "++total;",
            "setTimeout(() => node.send(msg), 10);",
            "node.on('close', () => {});",
            "(x => x)(flow).n = 1;",
            "RED.util.extra = 1;",
            "msg.t = `${n = 1}`;",
            "Buffer.n = 1",
        ] {
            assert!(keeps_it(code), "{code}");
        }
        assert!(keeps("return msg;", "context.set('a', 1)", ""));
    }
}
