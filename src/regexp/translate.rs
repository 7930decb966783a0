//! A JavaScript pattern in the words of `regex` or `fancy-regex`, where that means the same.
//!
//! Not translated, and so left to `regress`: escapes that only old browsers know (`\07`, `\cA`, `{` and `\a` as
//! themselves), `\k<name>`, back references into repetitions, to groups that come later or with `ignore case`,
//! groups inside lookbehind, repeated lookaround, and modifiers (`(?i:…)`).

use std::iter::Peekable;
use std::str::Chars;

use super::classes::{Set, WORD};

/// Groups inside groups; more is not for people.
const DEPTH_MAX: usize = 100;

/// Whose words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Target {
    /// `regex`: no lookaround, no back references.
    Linear,
    /// `fancy-regex`.
    Limited,
}

/// A pattern in other words. Whether there is a match is always the same; the rest is said.
#[derive(Debug)]
pub(super) struct Translated {
    pub(super) pattern: String,
    /// The place and length of matches are the same, too: JavaScript gives up repetitions of nothing, which changes
    /// what comes first.
    pub(super) same_matches: bool,
    /// The groups are the same, too: JavaScript forgets them when a repetition around them starts again.
    pub(super) same_groups: bool,
}

/// The pattern has something for which the target has no words.
#[derive(Debug)]
pub(super) struct Untranslatable;

type Result<T> = std::result::Result<T, Untranslatable>;

/// What is to be known of a part of the pattern.
#[derive(Clone, Copy, Default)]
struct Part {
    /// It may match nothing.
    nullable: bool,
    /// It has groups.
    captures: bool,
    /// It is a lookaround, a boundary or an anchor.
    assertion: bool,
    /// It refers back to a group.
    refers: bool,
}

/// Translates a pattern that `regress` has found to be right.
pub(super) fn translate(pattern: &str, ignore_case: bool, target: Target) -> Result<Translated> {
    let mut translator = Translator {
        rest: pattern.chars().peekable(),
        out: String::with_capacity(pattern.len() * 2),
        target,
        ignore_case,
        same_matches: true,
        same_groups: true,
        groups: 0,
        closed: Vec::new(),
        repeated: Vec::new(),
        depth: 0,
        lookbehind: 0,
        referred: Vec::new(),
    };
    translator.disjunction()?;
    if translator.rest.next().is_some() {
        return Err(Untranslatable);
    }
    // What JavaScript forgets between two rounds, the others still know.
    if translator.referred.iter().any(|group| translator.repeated.contains(group)) {
        return Err(Untranslatable);
    }
    Ok(Translated {
        pattern: translator.out,
        same_matches: translator.same_matches,
        same_groups: translator.same_groups,
    })
}

/// The named groups of a pattern, with their numbers.
pub(super) fn names(pattern: &str) -> Vec<(String, usize)> {
    let mut names = Vec::new();
    let (mut groups, mut in_class) = (0, false);
    let mut rest = pattern;
    while let Some(c) = rest.chars().next() {
        rest = &rest[c.len_utf8()..];
        match c {
            '\\' => rest = rest.get(rest.chars().next().map_or(0, char::len_utf8)..).unwrap_or_default(),
            '[' => in_class = true,
            ']' => in_class = false,
            '(' if !in_class => match rest.strip_prefix("?<") {
                Some(name) if !name.starts_with(['=', '!']) => {
                    groups += 1;
                    names.push((name.split('>').next().unwrap_or_default().to_string(), groups));
                }
                _ if rest.starts_with('?') => {}
                _ => groups += 1,
            },
            _ => {}
        }
    }
    names
}

struct Translator<'p> {
    rest: Peekable<Chars<'p>>,
    out: String,
    target: Target,
    ignore_case: bool,
    same_matches: bool,
    same_groups: bool,
    /// Groups opened so far.
    groups: usize,
    /// Groups closed so far: those a back reference may name.
    closed: Vec<usize>,
    /// Groups inside repetitions.
    repeated: Vec<usize>,
    referred: Vec<usize>,
    depth: usize,
    lookbehind: usize,
}

impl Translator<'_> {
    fn eat(&mut self, c: char) -> bool {
        self.rest.next_if_eq(&c).is_some()
    }

    fn need(&mut self) -> Result<char> {
        self.rest.next().ok_or(Untranslatable)
    }

    /// Only the limited target has words for it.
    fn limited_only(&self) -> Result<()> {
        if self.target == Target::Limited { Ok(()) } else { Err(Untranslatable) }
    }

    /// Alternatives up to the end or a closing parenthesis.
    fn disjunction(&mut self) -> Result<Part> {
        self.depth += 1;
        if self.depth > DEPTH_MAX {
            return Err(Untranslatable);
        }
        let mut all = self.alternative()?;
        while self.eat('|') {
            self.out.push('|');
            let next = self.alternative()?;
            all = Part {
                nullable: all.nullable || next.nullable,
                captures: all.captures || next.captures,
                refers: all.refers || next.refers,
                assertion: false,
            };
        }
        self.depth -= 1;
        Ok(all)
    }

    fn alternative(&mut self) -> Result<Part> {
        let mut all = Part { nullable: true, ..Part::default() };
        while let Some(c) = self.rest.next_if(|c| !matches!(c, '|' | ')')) {
            let start = self.out.len();
            let groups = self.groups;
            let term = self.term(c)?;
            let term = self.quantified(term, start, groups)?;
            all.nullable &= term.nullable;
            all.captures |= term.captures;
            all.refers |= term.refers;
        }
        Ok(all)
    }

    fn term(&mut self, c: char) -> Result<Part> {
        match c {
            '^' => Ok(self.assertion("\\A")),
            '$' => Ok(self.assertion("\\z")),
            '.' => {
                Set::any_but_line_ends().write(&mut self.out);
                Ok(Part::default())
            }
            '(' => self.group(),
            '[' => self.class(),
            '\\' => self.escape(),
            // As themselves only in old browsers, or nothing that a pattern may have.
            '{' | '}' | ']' | '*' | '+' | '?' => Err(Untranslatable),
            c => self.literal(c),
        }
    }

    fn assertion(&mut self, words: &str) -> Part {
        self.out.push_str(words);
        Part { nullable: true, assertion: true, ..Part::default() }
    }

    fn literal(&mut self, c: char) -> Result<Part> {
        self.set(Set::of(&[(c, c)]))
    }

    /// One character of a set.
    fn set(&mut self, mut set: Set) -> Result<Part> {
        if self.ignore_case {
            set.close_over_case();
        }
        self.class_of(set)
    }

    fn class_of(&mut self, set: Set) -> Result<Part> {
        if set.is_empty() {
            return Err(Untranslatable);
        }
        set.write(&mut self.out);
        Ok(Part::default())
    }

    /// A term with the `*`, `+`, `?` or `{…}` that may follow it; `start` is where it begins in what is written.
    fn quantified(&mut self, term: Part, start: usize, groups: usize) -> Result<Part> {
        let (min, max) = match self.rest.peek() {
            Some('*') => (0, None),
            Some('+') => (1, None),
            Some('?') => (0, Some(1)),
            Some('{') => {
                self.rest.next();
                let (min, max) = self.counts()?;
                return self.repeat(term, start, groups, min, max);
            }
            _ => return Ok(term),
        };
        self.rest.next();
        self.repeat(term, start, groups, min, max)
    }

    /// `2}`, `2,}` or `2,3}`.
    fn counts(&mut self) -> Result<(u32, Option<u32>)> {
        let min = self.number()?;
        let max = match self.need()? {
            '}' => return Ok((min, Some(min))),
            ',' if self.eat('}') => return Ok((min, None)),
            ',' => self.number()?,
            _ => return Err(Untranslatable),
        };
        if self.eat('}') { Ok((min, Some(max))) } else { Err(Untranslatable) }
    }

    fn number(&mut self) -> Result<u32> {
        let mut digits = String::new();
        while let Some(digit) = self.rest.next_if(char::is_ascii_digit) {
            digits.push(digit);
        }
        digits.parse().map_err(|_| Untranslatable)
    }

    fn repeat(&mut self, term: Part, start: usize, groups: usize, min: u32, max: Option<u32>) -> Result<Part> {
        if term.assertion {
            return Err(Untranslatable);
        }
        if term.nullable && max != Some(min) {
            self.same_matches = false;
        }
        if term.captures && max != Some(1) {
            self.same_groups = false;
        }
        if max != Some(1) {
            self.repeated.extend(groups + 1..=self.groups);
            // A reference that may match nothing, again and again: the engines stop at different times.
            if term.refers && term.nullable {
                return Err(Untranslatable);
            }
        }
        self.out.insert_str(start, "(?:");
        self.out.push(')');
        match max {
            Some(max) if max == min => self.out.push_str(&format!("{{{min}}}")),
            Some(max) => self.out.push_str(&format!("{{{min},{max}}}")),
            None => self.out.push_str(&format!("{{{min},}}")),
        }
        if self.eat('?') {
            self.out.push('?');
        }
        Ok(Part { nullable: term.nullable || min == 0, ..term })
    }

    /// After `(`.
    fn group(&mut self) -> Result<Part> {
        if !self.eat('?') {
            return self.capture();
        }
        match self.need()? {
            ':' => {
                self.out.push_str("(?:");
                self.rest_of_group()
            }
            '=' => self.lookaround("(?="),
            '!' => self.lookaround("(?!"),
            '<' if self.eat('=') => self.lookbehind("(?<="),
            '<' if self.eat('!') => self.lookbehind("(?<!"),
            '<' => {
                while self.need()? != '>' {}
                self.capture()
            }
            _ => Err(Untranslatable),
        }
    }

    fn capture(&mut self) -> Result<Part> {
        // JavaScript reads backwards there, so that groups get other parts.
        if self.lookbehind > 0 {
            return Err(Untranslatable);
        }
        self.groups += 1;
        let group = self.groups;
        self.out.push('(');
        let part = self.rest_of_group()?;
        self.closed.push(group);
        Ok(Part { captures: true, ..part })
    }

    fn lookaround(&mut self, words: &str) -> Result<Part> {
        self.limited_only()?;
        self.out.push_str(words);
        let part = self.rest_of_group()?;
        // A group set inside is set, unset or forgotten by rules of each engine's own.
        if part.captures {
            self.same_groups = false;
        }
        Ok(Part { nullable: true, assertion: true, ..part })
    }

    fn lookbehind(&mut self, words: &str) -> Result<Part> {
        self.lookbehind += 1;
        let part = self.lookaround(words)?;
        self.lookbehind -= 1;
        Ok(part)
    }

    fn rest_of_group(&mut self) -> Result<Part> {
        let part = self.disjunction()?;
        if !self.eat(')') {
            return Err(Untranslatable);
        }
        self.out.push(')');
        // A group of assertions may be repeated, and then the part counts as one that may match nothing.
        Ok(Part { assertion: false, ..part })
    }

    /// After `\`, outside of a class.
    fn escape(&mut self) -> Result<Part> {
        let c = self.need()?;
        match c {
            'b' | 'B' => self.boundary(c == 'B'),
            '1'..='9' => self.back_reference(c),
            c => match Set::of_escape(c) {
                // `\w` and its like are whole, in capitals or not.
                Some(set) => self.class_of(set),
                None => {
                    let c = self.character(c)?;
                    self.literal(c)
                }
            },
        }
    }

    fn boundary(&mut self, invert: bool) -> Result<Part> {
        if self.target == Target::Linear {
            // `regex` has no `\B` by bytes that is sure to keep characters whole.
            return if invert { Err(Untranslatable) } else { Ok(self.assertion("(?-u:\\b)")) };
        }
        let mut word = String::new();
        Set::of(WORD).write(&mut word);
        let (one, other) = if invert { ('=', '!') } else { ('!', '=') };
        Ok(self.assertion(&format!("(?:(?<={word})(?{one}{word})|(?<!{word})(?{other}{word}))")))
    }

    /// A group that has not matched stands for nothing.
    fn back_reference(&mut self, first: char) -> Result<Part> {
        self.limited_only()?;
        let mut group = first.to_digit(10).ok_or(Untranslatable)? as usize;
        while let Some(digit) = self.rest.next_if(char::is_ascii_digit) {
            group = group.saturating_mul(10).saturating_add(digit.to_digit(10).ok_or(Untranslatable)? as usize);
        }
        if self.ignore_case || self.lookbehind > 0 || !self.closed.contains(&group) {
            return Err(Untranslatable);
        }
        self.referred.push(group);
        self.out.push_str(&format!("(?({group})(?:\\{group})|)"));
        Ok(Part { nullable: true, refers: true, ..Part::default() })
    }

    /// The one character that an escape stands for; `c` comes after the backslash.
    fn character(&mut self, c: char) -> Result<char> {
        let digits = match c {
            't' => return Ok('\t'),
            'n' => return Ok('\n'),
            'v' => return Ok('\u{b}'),
            'f' => return Ok('\u{c}'),
            'r' => return Ok('\r'),
            '0' if !self.rest.peek().is_some_and(char::is_ascii_digit) => return Ok('\0'),
            'x' => 2,
            'u' => 4,
            c if c.is_ascii_punctuation() || c == ' ' => return Ok(c),
            _ => return Err(Untranslatable),
        };
        let mut code = 0;
        for _ in 0..digits {
            code = code * 16 + self.need()?.to_digit(16).ok_or(Untranslatable)?;
        }
        char::from_u32(code).ok_or(Untranslatable)
    }

    /// After `[`.
    fn class(&mut self) -> Result<Part> {
        let negated = self.eat('^');
        let mut set = Set::empty();
        // `\w` and its like are not widened by case.
        let mut escapes = Set::empty();
        loop {
            let from = match self.class_item()? {
                Item::End => break,
                Item::Escape(escape) => {
                    // `\w-z`: what the minus means depends on the browser's age.
                    if self.rest.peek() == Some(&'-') {
                        return Err(Untranslatable);
                    }
                    escapes.add(&escape);
                    continue;
                }
                Item::One(c) => c,
            };
            if self.rest.peek() != Some(&'-') {
                set.add(&Set::of(&[(from, from)]));
                continue;
            }
            self.rest.next();
            match self.class_item()? {
                Item::One(to) => set.add(&Set::of(&[(from, to)])),
                // A minus at the end is itself.
                Item::End => {
                    set.add(&Set::of(&[(from, from), ('-', '-')]));
                    break;
                }
                Item::Escape(_) => return Err(Untranslatable),
            }
        }
        if self.ignore_case {
            set.close_over_case();
        }
        set.add(&escapes);
        self.class_of(if negated { set.complement() } else { set })
    }

    fn class_item(&mut self) -> Result<Item> {
        match self.need()? {
            ']' => Ok(Item::End),
            '\\' => match self.need()? {
                'b' => Ok(Item::One('\u{8}')),
                c => match Set::of_escape(c) {
                    Some(set) => Ok(Item::Escape(set)),
                    None => self.character(c).map(Item::One),
                },
            },
            c => Ok(Item::One(c)),
        }
    }
}

/// What a class lists.
enum Item {
    One(char),
    Escape(Set),
    End,
}
