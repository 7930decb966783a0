//! Sets of characters: JavaScript's class escapes, ranges, complements, and equality without regard to case.

use regex_syntax::hir::{ClassUnicode, ClassUnicodeRange};

/// JavaScript's `\s`: white space and line ends.
const SPACES: &[(char, char)] = &[
    ('\t', '\r'),
    (' ', ' '),
    ('\u{a0}', '\u{a0}'),
    ('\u{1680}', '\u{1680}'),
    ('\u{2000}', '\u{200a}'),
    ('\u{2028}', '\u{2029}'),
    ('\u{202f}', '\u{202f}'),
    ('\u{205f}', '\u{205f}'),
    ('\u{3000}', '\u{3000}'),
    ('\u{feff}', '\u{feff}'),
];

/// `\w`; without the flag `u` it has ASCII only.
pub(super) const WORD: &[(char, char)] = &[('0', '9'), ('A', 'Z'), ('_', '_'), ('a', 'z')];

/// What `.` does not match.
const LINE_ENDS: &[(char, char)] = &[('\n', '\n'), ('\r', '\r'), ('\u{2028}', '\u{2029}')];

/// A set of characters.
#[derive(Clone, Debug)]
pub(super) struct Set(ClassUnicode);

impl Set {
    pub(super) fn of(ranges: &[(char, char)]) -> Set {
        Set(ClassUnicode::new(ranges.iter().map(|(from, to)| ClassUnicodeRange::new(*from, *to))))
    }

    pub(super) fn empty() -> Set {
        Set(ClassUnicode::empty())
    }

    /// What `.` matches.
    pub(super) fn any_but_line_ends() -> Set {
        Set::of(LINE_ENDS).complement()
    }

    /// `d`, `D`, `w`, `W`, `s`, `S`.
    pub(super) fn of_escape(letter: char) -> Option<Set> {
        let set = match letter.to_ascii_lowercase() {
            'd' => Set::of(&[('0', '9')]),
            'w' => Set::of(WORD),
            's' => Set::of(SPACES),
            _ => return None,
        };
        Some(if letter.is_ascii_uppercase() { set.complement() } else { set })
    }

    pub(super) fn add(&mut self, other: &Set) {
        self.0.union(&other.0);
    }

    pub(super) fn complement(mut self) -> Set {
        self.0.negate();
        self
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.ranges().is_empty()
    }

    /// Adds what equals a member under the flag `i` without `u` (ECMA-262 `Canonicalize`): equal capitals, of one
    /// character each, and never ASCII with anything else.
    pub(super) fn close_over_case(&mut self) {
        let mut wider = self.0.clone();
        wider.case_fold_simple();
        wider.difference(&self.0);
        let mut more = Vec::new();
        for candidate in wider.ranges().iter().flat_map(|r| r.start()..=r.end()) {
            let mut alike = ClassUnicode::new([ClassUnicodeRange::new(candidate, candidate)]);
            alike.case_fold_simple();
            alike.intersect(&self.0);
            let mut members = alike.ranges().iter().flat_map(|r| r.start()..=r.end());
            if members.any(|member| canonical(member) == canonical(candidate)) {
                more.push(ClassUnicodeRange::new(candidate, candidate));
            }
        }
        self.0.union(&ClassUnicode::new(more));
    }

    /// As a class that `regex` and `fancy-regex` read alike.
    pub(super) fn write(&self, out: &mut String) {
        out.push('[');
        for range in self.0.ranges() {
            out.push_str(&format!("\\x{{{:X}}}", u32::from(range.start())));
            if range.start() != range.end() {
                out.push_str(&format!("-\\x{{{:X}}}", u32::from(range.end())));
            }
        }
        out.push(']');
    }
}

/// ECMA-262 `Canonicalize` with `i` and without `u`.
fn canonical(c: char) -> char {
    let mut capitals = c.to_uppercase();
    match (capitals.next(), capitals.next()) {
        (Some(capital), None) if c.is_ascii() || !capital.is_ascii() => capital,
        _ => c,
    }
}
