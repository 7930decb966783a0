//! Just enough reading of Rust text for the house rules: what is code, what is a test, which modules are named.
//!
//! All functions keep byte offsets: what is blanked becomes spaces, so that a finding has its line.

const MARK: &str = "#[cfg(test)]";

/// Blanks comments, string and character literals.
pub fn without_comments_and_literals(text: &str) -> String {
    blank(text, &spans(text).iter().map(|s| (s.from, s.to)).collect::<Vec<_>>())
}

/// Blanks items under `#[cfg(test)]`; takes text whose comments and literals are blanked.
pub fn without_tests(code: &str) -> String {
    let mut gone = Vec::new();
    let mut at = 0;
    while let Some(found) = code[at..].find(MARK) {
        let from = at + found;
        let to = item_end(code, from + MARK.len());
        gone.push((from, to));
        at = to;
    }
    blank(code, &gone)
}

/// Modules in files of their own that exist for tests only: `#[cfg(test)] mod testbed;`.
pub fn test_modules(code: &str) -> Vec<String> {
    let marks = code.match_indices(MARK).map(|(at, _)| &code[at + MARK.len()..]);
    marks.filter_map(|rest| Some(identifier(rest[..rest.find([';', '{'])?].split_once("mod ")?.1))).collect()
}

/// String literals of the code that is left in `product`, with their offsets.
pub fn strings<'t>(text: &'t str, code: &str, product: &str) -> Vec<(usize, &'t str)> {
    // A literal is blank in both views; what stands before it tells whether its surroundings were left.
    let kept = |from: usize| {
        let before = code[..from].trim_end().len();
        before == 0 || product.as_bytes().get(before - 1).is_some_and(|b| *b != b' ')
    };
    spans(text)
        .into_iter()
        .filter(|s| s.string && kept(s.from))
        .map(|s| (s.from, text[s.from..s.to].trim_start_matches(['b', 'c', 'r', '#']).trim_matches(['"', '#'])))
        .collect()
}

/// Top-level modules named by `crate::…`, in groups, too: `crate::{model::Run, store}`.
pub fn crate_modules(code: &str) -> Vec<String> {
    let mut modules = Vec::new();
    for (at, _) in code.match_indices("crate::") {
        let rest = &code[at + "crate::".len()..];
        match rest.strip_prefix('{') {
            None => modules.push(identifier(rest)),
            Some(group) => {
                let mut depth = 0_usize;
                let mut start = true;
                for (i, c) in group.char_indices() {
                    match c {
                        '{' => depth += 1,
                        '}' if depth == 0 => break,
                        '}' => depth -= 1,
                        ',' if depth == 0 => start = true,
                        c if start && !c.is_whitespace() => {
                            modules.push(identifier(&group[i..]));
                            start = false;
                        }
                        _ => {}
                    }
                }
            }
        }
    }
    modules.retain(|m| !m.is_empty());
    modules.sort();
    modules.dedup();
    modules
}

/// Names of modules, types, traits and functions declared here.
pub fn declared_names(code: &str) -> Vec<String> {
    let mut names = Vec::new();
    for keyword in ["mod ", "struct ", "enum ", "trait ", "fn ", "type "] {
        for at in word_positions(code, keyword) {
            names.push(identifier(&code[at + keyword.len()..]));
        }
    }
    names
}

/// Where `needle` starts at the start of a word.
pub fn word_positions(code: &str, needle: &str) -> Vec<usize> {
    let is_word = |c: char| c.is_alphanumeric() || c == '_';
    let starts_word = |at: usize| !needle.starts_with(is_word) || !code[..at].ends_with(is_word);
    code.match_indices(needle).map(|(at, _)| at).filter(|at| starts_word(*at)).collect()
}

fn identifier(text: &str) -> String {
    text.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect()
}

/// The end of the item that starts after `at`: its closing brace, or its semicolon.
fn item_end(code: &str, at: usize) -> usize {
    let mut depth = 0_usize;
    for (i, c) in code[at..].char_indices() {
        match c {
            '{' => depth += 1,
            '}' => {
                depth = depth.saturating_sub(1);
                if depth == 0 {
                    return at + i + 1;
                }
            }
            ';' if depth == 0 => return at + i + 1,
            _ => {}
        }
    }
    code.len()
}

fn blank(text: &str, spans: &[(usize, usize)]) -> String {
    let mut bytes = text.as_bytes().to_vec();
    for &(from, to) in spans {
        for byte in &mut bytes[from..to] {
            if *byte != b'\n' {
                *byte = b' ';
            }
        }
    }
    String::from_utf8(bytes).expect("whole characters were blanked")
}

/// A comment or a literal.
struct Span {
    from: usize,
    to: usize,
    string: bool,
}

fn spans(text: &str) -> Vec<Span> {
    let bytes = text.as_bytes();
    let mut spans = Vec::new();
    let mut at = 0;
    while at < bytes.len() {
        let rest = &text[at..];
        let word_before = at > 0 && (bytes[at - 1].is_ascii_alphanumeric() || bytes[at - 1] == b'_');
        let (length, string) = if rest.starts_with("//") {
            (rest.find('\n').unwrap_or(rest.len()), false)
        } else if rest.starts_with("/*") {
            (block_comment(rest), false)
        } else if let Some(length) = (!word_before).then(|| raw_string(rest)).flatten() {
            (length, true)
        } else if rest.starts_with('"') {
            (quoted(rest, '"'), true)
        } else if rest.starts_with('\'') && is_char_literal(rest) {
            (quoted(rest, '\''), false)
        } else {
            at += rest.chars().next().map_or(1, char::len_utf8);
            continue;
        };
        spans.push(Span { from: at, to: at + length, string });
        at += length;
    }
    spans
}

fn block_comment(rest: &str) -> usize {
    let mut depth = 0_usize;
    let mut at = 0;
    while at < rest.len() {
        if rest[at..].starts_with("/*") {
            depth += 1;
            at += 2;
        } else if rest[at..].starts_with("*/") {
            depth -= 1;
            at += 2;
            if depth == 0 {
                return at;
            }
        } else {
            at += rest[at..].chars().next().map_or(1, char::len_utf8);
        }
    }
    rest.len()
}

/// The length of `r"…"`, `r#"…"#`, `br"…"` at the start.
fn raw_string(rest: &str) -> Option<usize> {
    let body = rest.strip_prefix("br").or_else(|| rest.strip_prefix("cr")).or_else(|| rest.strip_prefix('r'))?;
    let hashes = body.len() - body.trim_start_matches('#').len();
    let opened = body[hashes..].strip_prefix('"')?;
    let close = format!("\"{}", "#".repeat(hashes));
    let end = opened.find(&close).map_or(opened.len(), |i| i + close.len());
    Some(rest.len() - opened.len() + end)
}

fn quoted(rest: &str, quote: char) -> usize {
    let mut escaped = false;
    for (i, c) in rest.char_indices().skip(1) {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            c if c == quote => return i + 1,
            _ => {}
        }
    }
    rest.len()
}

/// Tells `'a'` and `'\n'` from the lifetime `'a`.
fn is_char_literal(rest: &str) -> bool {
    let mut chars = rest.chars().skip(1);
    matches!((chars.next(), chars.next()), (Some('\\'), _) | (Some(_), Some('\'')))
}

#[test]
fn literals_comments_and_tests_are_not_code() {
    let text = "fn a<'x>() { b(\"crate::api\", 'c', r#\"crate::cli\"#) } // crate::app\n#[cfg(test)]\nmod t { use crate::api; }\nuse crate::{model::{a, b}, store};\n";
    let code = without_comments_and_literals(text);
    assert_eq!(code.len(), text.len());
    assert_eq!(crate_modules(&code), ["api", "model", "store"]);
    assert_eq!(crate_modules(&without_tests(&code)), ["model", "store"]);
    let tested = "fn a() { b(\"one\") }\n#[cfg(test)]\nfn c() { d(\"two\") }\n";
    let code = without_comments_and_literals(tested);
    assert_eq!(strings(tested, &code, &without_tests(&code)), [(11, "one")]);
    assert_eq!(word_positions("x.unwrap() y.unwrap_or()", ".unwrap()"), [1]);
}
