//! JavaScript's `String.prototype.replace` with a global expression: `$1`, `$&`, `$<name>` in the replacement.

use regress::{Match, Regex};

/// Replaces every match.
pub fn replace_all(text: &str, regex: &Regex, replacement: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut copied = 0;
    for found in regex.find_iter(text) {
        out.push_str(&text[copied..found.start()]);
        expand(&mut out, text, &found, replacement);
        copied = found.end();
    }
    out.push_str(&text[copied..]);
    out
}

/// Replaces every occurrence of a literal; `$&`, `$$`, `` $` `` and `$'` still mean what they mean.
pub fn replace_literal(text: &str, literal: &str, replacement: &str) -> String {
    if !replacement.contains('$') && !literal.is_empty() {
        return text.replace(literal, replacement);
    }
    // An empty literal matches between all characters, as an empty expression does.
    match Regex::new(&regress::escape(literal)) {
        Ok(regex) => replace_all(text, &regex, replacement),
        Err(_) => text.to_string(),
    }
}

/// ECMA-262 `GetSubstitution`.
fn expand(out: &mut String, text: &str, found: &Match, template: &str) {
    let mut rest = template;
    let groups = found.groups().count() - 1;
    let group = |out: &mut String, n: usize| {
        if let Some(range) = found.group(n) {
            out.push_str(&text[range]);
        }
    };
    while let Some((before, after)) = rest.split_once('$') {
        out.push_str(before);
        let digits = after.bytes().take(2).take_while(u8::is_ascii_digit).count();
        let two = (digits == 2).then(|| after[..2].parse().unwrap_or(0)).filter(|n| (1..=groups).contains(n));
        let one = (digits >= 1).then(|| after[..1].parse().unwrap_or(0)).filter(|n| (1..=groups).contains(n));
        rest = match after.as_bytes().first() {
            Some(b'$') => {
                out.push('$');
                &after[1..]
            }
            Some(b'&') => {
                out.push_str(&text[found.range()]);
                &after[1..]
            }
            Some(b'`') => {
                out.push_str(&text[..found.start()]);
                &after[1..]
            }
            Some(b'\'') => {
                out.push_str(&text[found.end()..]);
                &after[1..]
            }
            Some(b'<') if found.named_groups().next().is_some() => match after[1..].split_once('>') {
                Some((name, tail)) => {
                    if let Some(range) = found.named_group(name) {
                        out.push_str(&text[range]);
                    }
                    tail
                }
                None => {
                    out.push('$');
                    after
                }
            },
            _ => match (two, one) {
                (Some(n), _) => {
                    group(out, n);
                    &after[2..]
                }
                (None, Some(n)) => {
                    group(out, n);
                    &after[1..]
                }
                (None, None) => {
                    out.push('$');
                    after
                }
            },
        };
    }
    out.push_str(rest);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replacement_patterns_are_javascripts() {
        // Expected texts are node's.
        for (text, pattern, replacement, expected) in [
            ("Hello World", "(Hello)", "$1-$1-$1", "Hello-Hello-Hello World"),
            ("abc", "b", "[$&$$$`$']", "a[b$ac]c"),
            ("abc", "(b)", "$2$0$10$01", "a$2$0b0bc"),
            ("2026-11", "(?<y>\\d+)-(?<m>\\d+)", "$<m>/$<y>$<no>", "11/2026"),
            ("aaa", "a*?", "x", "xaxaxax"),
            ("a1b22", "\\d+", "#", "a#b#"),
            ("abc", "b", "$", "a$c"),
            ("é-é", "é", "e$", "e$-e$"),
        ] {
            let regex = Regex::new(pattern).unwrap();
            assert_eq!(replace_all(text, &regex, replacement), expected, "{pattern} {replacement}");
        }
        assert_eq!(replace_literal("a.b.c", ".", "$&$&"), "a..b..c");
        assert_eq!(replace_literal("a.b.c", ".", "-"), "a-b-c");
        assert_eq!(replace_literal("ab", "", "-"), "-a-b-");
    }
}
