//! JavaScript's `String.prototype.replace` with a global expression: `$1`, `$&`, `$<name>` in the replacement.

use super::{Found, RegExp, TooManySteps};

/// Replaces every occurrence of a text as it stands; `$&`, `$$`, `` $` `` and `$'` still mean what they mean.
pub fn replace_literal(text: &str, literal: &str, replacement: &str) -> String {
    if !replacement.contains('$') {
        return text.replace(literal, replacement);
    }
    let mut out = String::with_capacity(text.len());
    let mut copied = 0;
    for (start, literal) in text.match_indices(literal) {
        let found = Found { range: start..start + literal.len(), groups: Vec::new() };
        out.push_str(&text[copied..start]);
        expand(&mut out, text, &[], &found, replacement);
        copied = found.range.end;
    }
    out.push_str(&text[copied..]);
    out
}

pub(super) fn replace_all(regexp: &RegExp, text: &str, replacement: &str) -> Result<String, TooManySteps> {
    let names_groups = |c: char| c == '<' || c.is_ascii_digit();
    let groups = replacement.split('$').skip(1).any(|rest| rest.starts_with(names_groups));
    let mut out = String::with_capacity(text.len());
    let (mut copied, mut from) = (0, 0);
    while let Some(found) = regexp.find_from(text, from, groups)? {
        out.push_str(&text[copied..found.range.start]);
        expand(&mut out, text, &regexp.names, &found, replacement);
        copied = found.range.end;
        from = found.range.end;
        if found.range.is_empty() {
            let Some(next) = text[from..].chars().next() else { break };
            from += next.len_utf8();
        }
    }
    out.push_str(&text[copied..]);
    Ok(out)
}

/// ECMA-262 `GetSubstitution`.
fn expand(out: &mut String, text: &str, names: &[(String, usize)], found: &Found, template: &str) {
    let mut rest = template;
    let groups = found.groups.len();
    let group = |out: &mut String, n: usize| {
        if let Some(Some(range)) = found.groups.get(n.wrapping_sub(1)) {
            out.push_str(&text[range.clone()]);
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
                out.push_str(&text[found.range.clone()]);
                &after[1..]
            }
            Some(b'`') => {
                out.push_str(&text[..found.range.start]);
                &after[1..]
            }
            Some(b'\'') => {
                out.push_str(&text[found.range.end..]);
                &after[1..]
            }
            Some(b'<') if !names.is_empty() => match after[1..].split_once('>') {
                Some((name, tail)) => {
                    // Of groups with one name, in different alternatives, at most one has matched.
                    names.iter().filter(|(n, _)| n == name).for_each(|(_, n)| group(out, *n));
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
