//! Where in a JSON or YAML text the parts of a document stand: the line and column of what a JSON path names.

use std::collections::HashMap;
use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, SeqAccess, Visitor};
use serde_saphyr::Spanned;

use super::document::{DEPTH_MAX, join};
use crate::model::diagnostic::Diagnostic;

/// Gives every diagnostic that has none the line and column of its path in `text`: of the part itself, or of the nearest
/// one around it when it is missing. A text that cannot be read leaves them as they are.
pub fn locate(text: &str, diagnostics: &mut [Diagnostic]) {
    if diagnostics.iter().all(|d| d.line.is_some()) {
        return;
    }
    let Some(root) = read(text) else { return };
    for diagnostic in diagnostics.iter_mut().filter(|d| d.line.is_none()) {
        let place = root.nearest(&diagnostic.path);
        (diagnostic.line, diagnostic.column) = (Some(place.line), Some(place.column));
    }
}

/// Most fields that are said to stand twice: a text of nothing else would give millions.
const REPEATED_MAX: usize = 100;

/// Warns of fields that stand twice in an object of a JSON text: of those only the last one is read.
pub(super) fn repeated(text: &str) -> Vec<Diagnostic> {
    let Some(root) = json(text) else { return Vec::new() };
    let mut found = Vec::new();
    root.repeated("$", &mut found);
    found
}

/// A value of the text.
struct Node {
    place: Place,
    inner: Inner,
}

/// Line and column, both from 1.
#[derive(Clone, Copy)]
struct Place {
    line: u32,
    column: u32,
}

enum Inner {
    Scalar,
    Map(Vec<(String, Node)>),
    List(Vec<Node>),
}

impl Node {
    /// The place of the path's end, or of the deepest value on the way that is there.
    fn nearest(&self, path: &str) -> Place {
        let mut node = self;
        for step in steps(path) {
            let next = match (&node.inner, &step) {
                // Of two equal keys the last one counts, as for the parser.
                (Inner::Map(entries), Step::Key(key)) => entries.iter().rev().find(|(k, _)| k == key).map(|(_, n)| n),
                (Inner::List(items), Step::Index(index)) => items.get(*index),
                _ => None,
            };
            match next {
                Some(next) => node = next,
                None => break,
            }
        }
        node.place
    }

    fn repeated(&self, path: &str, found: &mut Vec<Diagnostic>) {
        if found.len() == REPEATED_MAX {
            return;
        }
        match &self.inner {
            Inner::Scalar => {}
            Inner::List(items) => {
                items.iter().enumerate().for_each(|(i, item)| item.repeated(&format!("{path}[{i}]"), found));
            }
            Inner::Map(entries) => {
                let mut seen: HashMap<&str, Place> = HashMap::with_capacity(entries.len());
                for (key, node) in entries {
                    let at = join(path, key);
                    if let Some(first) = seen.insert(key, node.place)
                        && found.len() < REPEATED_MAX
                    {
                        let message = format!(
                            "\"{key}\" stands twice in one object; what stands in line {} is not read",
                            first.line
                        );
                        let mut problem = Diagnostic::warning("repeated-field", at.clone(), message)
                            .expected("each name once")
                            .hint("remove or rename one of them");
                        (problem.line, problem.column) = (Some(node.place.line), Some(node.place.column));
                        found.push(problem);
                    }
                    node.repeated(&at, found);
                }
            }
        }
    }
}

enum Step {
    Key(String),
    Index(usize),
}

/// The steps of a path such as `$.terms.guarantees[2]["x-probity"].id`, as far as they can be read.
fn steps(path: &str) -> Vec<Step> {
    let mut rest = path.strip_prefix('$').unwrap_or(path);
    let mut steps = Vec::new();
    while !rest.is_empty() {
        if let Some(name) = rest.strip_prefix('.') {
            let end = name.find(['.', '[']).unwrap_or(name.len());
            steps.push(Step::Key(name[..end].to_owned()));
            rest = &name[end..];
        } else if let Some(quoted) = rest.strip_prefix('[').filter(|r| r.starts_with('"')) {
            let mut texts = serde_json::Deserializer::from_str(quoted).into_iter::<String>();
            let Some(Ok(key)) = texts.next() else { break };
            steps.push(Step::Key(key));
            rest = quoted[texts.byte_offset()..].trim_start_matches(']');
        } else if let Some((index, after)) = rest.strip_prefix('[').and_then(|r| r.split_once(']')) {
            let Ok(index) = index.parse() else { break };
            steps.push(Step::Index(index));
            rest = after;
        } else {
            break;
        }
    }
    steps
}

/// The part of a document at a path, or the deepest one on the way there.
pub(super) fn value_at<'d>(document: &'d serde_json::Value, path: &str) -> &'d serde_json::Value {
    let mut value = document;
    for step in steps(path) {
        let next = match &step {
            Step::Key(key) => value.get(key),
            Step::Index(index) => value.get(index),
        };
        match next {
            Some(next) => value = next,
            None => break,
        }
    }
    value
}

fn json(text: &str) -> Option<Node> {
    let text = text.trim_start_matches('\u{feff}');
    let is_json = text.trim_start().starts_with(['{', '[']);
    is_json.then(|| Json { rest: text, line: 1, column: 1 }.document()).flatten()
}

fn read(text: &str) -> Option<Node> {
    if let Some(node) = json(text) {
        return Some(node);
    }
    let text = text.trim_start_matches('\u{feff}');
    let options = serde_saphyr::options! { strict_booleans: true };
    let tree: Spanned<Tree> = serde_saphyr::from_str_with_options(text, options).ok()?;
    Some(node(tree))
}

fn node(tree: Spanned<Tree>) -> Node {
    let cut = |n: u64| u32::try_from(n).unwrap_or(u32::MAX);
    let place = Place { line: cut(tree.referenced.line()), column: cut(tree.referenced.column()) };
    Node { place, inner: tree.value.0 }
}

/// A JSON text that the parser has accepted, read again for its places.
struct Json<'t> {
    rest: &'t str,
    line: u32,
    column: u32,
}

impl Json<'_> {
    fn document(mut self) -> Option<Node> {
        let node = self.value(DEPTH_MAX)?;
        self.blanks();
        self.rest.is_empty().then_some(node)
    }

    /// Passes over `bytes` of text.
    fn pass(&mut self, bytes: usize) {
        for c in self.rest[..bytes].chars() {
            if c == '\n' {
                (self.line, self.column) = (self.line + 1, 1);
            } else {
                self.column += 1;
            }
        }
        self.rest = &self.rest[bytes..];
    }

    fn blanks(&mut self) {
        let blank = self.rest.len() - self.rest.trim_start_matches([' ', '\t', '\r', '\n']).len();
        self.pass(blank);
    }

    /// Passes over the character when it comes next.
    fn take(&mut self, c: char) -> bool {
        self.blanks();
        let found = self.rest.starts_with(c);
        if found {
            self.pass(c.len_utf8());
        }
        found
    }

    fn value(&mut self, depth: usize) -> Option<Node> {
        self.blanks();
        let place = Place { line: self.line, column: self.column };
        let depth = depth.checked_sub(1)?;
        let inner = if self.take('{') {
            self.entries(depth)?
        } else if self.take('[') {
            self.items(depth)?
        } else if self.rest.starts_with('"') {
            self.text()?;
            Inner::Scalar
        } else {
            let end = self.rest.find([',', '}', ']', ' ', '\t', '\r', '\n']).unwrap_or(self.rest.len());
            self.pass(end);
            Inner::Scalar
        };
        Some(Node { place, inner })
    }

    fn entries(&mut self, depth: usize) -> Option<Inner> {
        let mut entries = Vec::new();
        if self.take('}') {
            return Some(Inner::Map(entries));
        }
        loop {
            self.blanks();
            let key = self.text()?;
            if !self.take(':') {
                return None;
            }
            entries.push((key, self.value(depth)?));
            if self.take('}') {
                return Some(Inner::Map(entries));
            }
            if !self.take(',') {
                return None;
            }
        }
    }

    fn items(&mut self, depth: usize) -> Option<Inner> {
        let mut items = Vec::new();
        if self.take(']') {
            return Some(Inner::List(items));
        }
        loop {
            items.push(self.value(depth)?);
            if self.take(']') {
                return Some(Inner::List(items));
            }
            if !self.take(',') {
                return None;
            }
        }
    }

    fn text(&mut self) -> Option<String> {
        let mut texts = serde_json::Deserializer::from_str(self.rest).into_iter::<String>();
        let text = texts.next()?.ok()?;
        let bytes = texts.byte_offset();
        self.pass(bytes);
        Some(text)
    }
}

/// Any YAML value, with the places of what is in it.
struct Tree(Inner);

impl<'de> Deserialize<'de> for Tree {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(TreeVisitor)
    }
}

struct TreeVisitor;

/// Scalars of every kind: only that there is one matters.
macro_rules! scalars {
    ($($visit:ident: $kind:ty),*) => {
        $(fn $visit<E: serde::de::Error>(self, _value: $kind) -> Result<Tree, E> {
            Ok(Tree(Inner::Scalar))
        })*
    };
}

impl<'de> Visitor<'de> for TreeVisitor {
    type Value = Tree;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any value")
    }

    scalars!(visit_bool: bool, visit_i64: i64, visit_i128: i128, visit_u64: u64, visit_u128: u128, visit_f64: f64,
        visit_str: &str, visit_bytes: &[u8]);

    fn visit_unit<E: serde::de::Error>(self) -> Result<Tree, E> {
        Ok(Tree(Inner::Scalar))
    }

    fn visit_none<E: serde::de::Error>(self) -> Result<Tree, E> {
        Ok(Tree(Inner::Scalar))
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Tree, D::Error> {
        Tree::deserialize(deserializer)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Tree, A::Error> {
        let mut found = Vec::new();
        while let Some(item) = items.next_element::<Spanned<Tree>>()? {
            found.push(node(item));
        }
        Ok(Tree(Inner::List(found)))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Tree, A::Error> {
        let mut found = Vec::new();
        while let Some((key, value)) = entries.next_entry::<String, Spanned<Tree>>()? {
            found.push((key, node(value)));
        }
        Ok(Tree(Inner::Map(found)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(text: &str, path: &str) -> (u32, u32) {
        let mut problems = [Diagnostic::error("x", path, "")];
        locate(text, &mut problems);
        (problems[0].line.unwrap_or(0), problems[0].column.unwrap_or(0))
    }

    #[test]
    fn json_values_have_places() {
        let text =
            "{\n  \"a\": {\"b\": [1,\n    {\"c\\u0064\": \"é\", \"x-p\": true}]},\n  \"é\": 5, \"f\": \"x\"\n}\n";
        assert_eq!(place(text, "$"), (1, 1));
        assert_eq!(place(text, "$.a"), (2, 8));
        assert_eq!(place(text, "$.a.b[0]"), (2, 15));
        assert_eq!(place(text, "$.a.b[1].cd"), (3, 17));
        assert_eq!(place(text, "$.a.b[1][\"x-p\"]"), (3, 29));
        assert_eq!(place(text, "$.f"), (4, 16));
        // What is missing is shown where it should be.
        assert_eq!(place(text, "$.a.b[7].c"), (2, 14));
        assert_eq!(place(text, "$.a.zzz"), (2, 8));
    }

    #[test]
    fn yaml_values_have_places_although_there_are_comments_and_anchors() {
        let text = "# head\na: &anchor   # why\n  b:\n  - 1\n  - {c: two}\nd: *anchor\ne: |\n  text\n  more\nf: last\n";
        assert_eq!(place(text, "$.a.b[0]"), (4, 5));
        assert_eq!(place(text, "$.a.b[1].c"), (5, 9));
        assert_eq!(place(text, "$.d"), (6, 4));
        assert_eq!(place(text, "$.f"), (10, 4));
        assert_eq!(place("a: {b: 1, \"c d\": 2}", "$.a[\"c d\"]"), (1, 18));
    }

    #[test]
    fn a_field_that_stands_twice_is_said_where_it_stands() {
        let text = "{\"a\": {\"M\": 1,\n \"N\": {}, \"M\": 2},\n \"b\": [{\"x\": 1, \"x\": {\"y\": 1, \"y\": 2}}]}";
        let found = repeated(text);
        let said: Vec<_> = found.iter().map(|p| (p.path.as_str(), p.line, p.column)).collect();
        assert_eq!(
            said,
            [("$.a.M", Some(2), Some(16)), ("$.b[0].x", Some(3), Some(22)), ("$.b[0].x.y", Some(3), Some(36))]
        );
        assert!(found[0].message.contains("what stands in line 1 is not read"), "{}", found[0].message);
        assert_eq!(repeated("{\"a\": 1, \"b\": {\"a\": 1}}").len(), 0);
        assert_eq!(repeated(&format!("[{}{{}}]", "{\"a\": 1, \"a\": 1, \"a\": 1},".repeat(1000))).len(), REPEATED_MAX);
        assert_eq!(repeated("a: 1\nb: 2").len(), 0);
    }

    #[test]
    fn broken_texts_and_paths_do_no_harm() {
        for text in ["", "{", "[1,", "{\"a\" 1}", "{\"a\":1}}", "a: [", "*x"] {
            place(text, "$.a.b");
        }
        for path in ["", "$", "$.", "$[", "$[x]", "$[\"", "a.b", "$..a", "$[99999999999999999999]"] {
            assert_eq!(place("{\"a\": 1}", path).0, 1, "{path}");
        }
        let deep = "[".repeat(100_000);
        place(&deep, "$[0]");
    }
}
