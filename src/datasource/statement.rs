//! What of a user's statement can be seen before it is sent: that it is one, and that it begins as one may.
//!
//! The database itself holds the rest: a transaction that is read-only, a file opened for reading.

use super::QueryError;

/// How statements begin that only read.
const READING: &[&str] = &["SELECT", "WITH", "VALUES", "TABLE", "EXPLAIN", "SHOW"];
/// Statements that reach beyond the database, or beyond the one question: files, other databases, the session.
const NEVER: &[&str] = &[
    "ATTACH",
    "DETACH",
    "VACUUM",
    "PRAGMA",
    "COPY",
    "BEGIN",
    "START",
    "COMMIT",
    "END",
    "ROLLBACK",
    "ABORT",
    "SAVEPOINT",
    "RELEASE",
    "PREPARE",
    "EXECUTE",
    "DEALLOCATE",
    "LOAD",
    "SET",
    "RESET",
    "DISCARD",
    "LISTEN",
    "NOTIFY",
    "UNLISTEN",
    "DO",
    "CALL",
    "LOCK",
    "DECLARE",
    "FETCH",
    "CLOSE",
    "MOVE",
];

/// Refuses what is no single statement, and what may not be asked.
pub(super) fn check(text: &str, write: bool) -> Result<(), QueryError> {
    let mut statements = statements(text).into_iter();
    let Some(first) = statements.next() else {
        return Err(QueryError::new("EINVAL", "the query is empty"));
    };
    if statements.next().is_some() {
        return Err(QueryError::new("EINVAL", "the query has several statements; expected one"));
    }
    if NEVER.contains(&first.as_str()) {
        return Err(QueryError::new("EACCES", format!("{first} is not for flows")));
    }
    if !write && !READING.contains(&first.as_str()) {
        let text = format!(
            "a query that reads begins with {}, not {first}; for what changes something set \"access\" to \"write\"",
            READING.join(", ")
        );
        return Err(QueryError::new("EACCES", text));
    }
    Ok(())
}

/// The first word of each statement, in capitals; "" where it begins with no word. Quotes and comments are skipped as
/// SQL has them.
fn statements(text: &str) -> Vec<String> {
    let bytes = text.as_bytes();
    let mut words = Vec::new();
    let mut begun = false;
    let mut at = 0;
    while at < bytes.len() {
        let rest = &text.as_bytes()[at..];
        match bytes[at] {
            b';' => begun = false,
            b'-' if rest.starts_with(b"--") => {
                at += rest.iter().position(|b| *b == b'\n').unwrap_or(rest.len());
                continue;
            }
            b'/' if rest.starts_with(b"/*") => {
                at += comment(rest);
                continue;
            }
            b if b.is_ascii_whitespace() => {}
            // A statement in parentheses is what is in them.
            b'(' if !begun => {}
            quote @ (b'\'' | b'"' | b'`') => {
                if !begun {
                    words.push(String::new());
                    begun = true;
                }
                let escapes = quote == b'\'' && at > 0 && matches!(bytes[at - 1], b'E' | b'e');
                at += quoted(rest, quote, escapes);
                continue;
            }
            b'$' if begun => {
                if let Some(length) = dollar_quoted(rest) {
                    at += length;
                    continue;
                }
            }
            _ if !begun => {
                let word = rest.iter().take_while(|b| b.is_ascii_alphabetic()).count();
                words.push(String::from_utf8_lossy(&rest[..word]).to_uppercase());
                begun = true;
                at += word.max(1);
                continue;
            }
            _ => {}
        }
        at += 1;
    }
    words
}

/// The length of a comment. They nest in Postgres; taking them so, a statement of SQLite can only look longer than it
/// is, and what follows as part of it is then refused by SQLite or seen here.
fn comment(text: &[u8]) -> usize {
    match text.windows(2).skip(2).position(|pair| pair == b"*/") {
        // The first end counts, as in SQLite; where Postgres goes on with the comment, it sees less than we do.
        Some(end) => end + 4,
        None => text.len(),
    }
}

fn quoted(text: &[u8], quote: u8, escapes: bool) -> usize {
    let mut at = 1;
    while at < text.len() {
        if escapes && text[at] == b'\\' {
            at += 2;
        } else if text[at] == quote {
            return at + 1;
        } else {
            at += 1;
        }
    }
    text.len()
}

/// `$tag$ … $tag$`, as Postgres quotes; `None` when it is a parameter.
fn dollar_quoted(text: &[u8]) -> Option<usize> {
    let tag = text.iter().skip(1).position(|b| *b == b'$')? + 2;
    let name = &text[1..tag - 1];
    if name.first().is_some_and(u8::is_ascii_digit) || !name.iter().all(|b| b.is_ascii_alphanumeric() || *b == b'_') {
        return None;
    }
    let end = text[tag..].windows(tag).position(|window| window == &text[..tag]);
    Some(end.map_or(text.len(), |end| tag + end + tag))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statements_are_told_apart() {
        for (text, words) in [
            ("select 1", &["SELECT"][..]),
            ("select ';', \"a;b\" -- ; drop\n, 1; ", &["SELECT"]),
            ("/* ; */ with x as (select 1) select * from x", &["WITH"]),
            ("select 1; drop table x", &["SELECT", "DROP"]),
            ("((select 1))", &["SELECT"]),
            ("select $1, $tag$ ; $tag$; delete from x", &["SELECT", "DELETE"]),
            ("select E'\\'; ' ; x", &["SELECT", "X"]),
            ("  ;; ", &[]),
            ("", &[]),
        ] {
            assert_eq!(statements(text), words, "{text}");
        }
    }

    #[test]
    fn what_may_not_be_asked_is_refused() {
        for (text, write, code) in [
            ("select 1", false, None),
            ("insert into x values ($1)", true, None),
            ("insert into x values ($1)", false, Some("EACCES")),
            ("select 1; select 2", true, Some("EINVAL")),
            ("-- nothing", false, Some("EINVAL")),
            ("attach 'other.db' as o", true, Some("EACCES")),
            ("vacuum into 'copy.db'", false, Some("EACCES")),
            ("copy (select 1) to program 'id'", false, Some("EACCES")),
            ("commit", true, Some("EACCES")),
            ("'x'", false, Some("EACCES")),
        ] {
            assert_eq!(check(text, write).err().map(|e| e.code), code.map(str::to_string), "{text}");
        }
    }
}
