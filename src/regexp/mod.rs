//! Floor 1: JavaScript's regular expressions, so that no pattern and no text can hold a run.
//!
//! `regress` has JavaScript's semantics, but its time can grow exponentially with the text. So a pattern is first
//! translated, where that changes nothing: to `regex` (time linear in the text), or, with lookaround and back
//! references, to `fancy-regex` under a limit of steps. `regress` judges the syntax of all patterns and runs the few
//! that have no translation (see [`translate`]) and those whose groups are wanted that stand in a repetition; the
//! former have no bound, the latter none on texts that match.

mod classes;
mod replace;
#[cfg(test)]
mod tests;
mod translate;

use std::ops::Range;

pub use replace::replace_literal;

use translate::{Target, Translated, translate};

/// Backtracks that one search may take: tenths of a second.
const STEPS_MAX: usize = 1_000_000;

/// A compiled expression, as `new RegExp(pattern)` or `new RegExp(pattern, "i")`.
#[derive(Debug)]
pub struct RegExp {
    javascript: regress::Regex,
    bounded: Option<Bounded>,
    /// Named groups and their numbers.
    names: Vec<(String, usize)>,
}

/// The translation of an expression.
#[derive(Debug)]
struct Bounded {
    engine: Engine,
    translated: Translated,
}

#[derive(Debug)]
enum Engine {
    Linear(regex::Regex),
    Limited(fancy_regex::Regex),
}

/// A search was given up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "the regular expression was given up after {STEPS_MAX} steps; avoid repetitions in repetitions beside lookaround \
     and back references"
)]
pub struct TooManySteps;

/// Where an expression matches; groups as `match[1]`, … in JavaScript, in bytes of the text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    pub range: Range<usize>,
    pub groups: Vec<Option<Range<usize>>>,
}

impl RegExp {
    /// Compiles a pattern; the error is a sentence about it.
    pub fn new(pattern: &str, ignore_case: bool) -> Result<RegExp, String> {
        let javascript = regress::Regex::with_flags(pattern, if ignore_case { "i" } else { "" })
            .map_err(|error| error.to_string())?;
        Ok(RegExp { javascript, bounded: bounded(pattern, ignore_case), names: translate::names(pattern) })
    }

    /// Whether the expression matches anywhere in the text.
    pub fn is_match(&self, text: &str) -> Result<bool, TooManySteps> {
        match &self.bounded {
            Some(bounded) => bounded.is_match(text),
            None => Ok(self.javascript.find(text).is_some()),
        }
    }

    /// The first match.
    pub fn find(&self, text: &str) -> Result<Option<Found>, TooManySteps> {
        self.find_from(text, 0, true)
    }

    /// Replaces every match as `text.replaceAll` with this expression does: `$1`, `$&`, `$<name>` and so on mean what
    /// they mean there.
    pub fn replace_all(&self, text: &str, replacement: &str) -> Result<String, TooManySteps> {
        replace::replace_all(self, text, replacement)
    }

    /// The first match at `start` (a character's begin) or after it. `groups` says whether its groups will be read.
    fn find_from(&self, text: &str, start: usize, groups: bool) -> Result<Option<Found>, TooManySteps> {
        if let Some(bounded) = &self.bounded {
            let translated = &bounded.translated;
            // Repetitions of what may match nothing can keep `regress` busy for ever, with ever more memory. Which of
            // several possible matches is found may then differ from JavaScript.
            if !translated.same_matches || translated.same_groups || !groups {
                return bounded.find_from(text, start);
            }
            // What makes expressions slow is, nearly always, a text that does not match.
            if start == 0 && !bounded.is_match(text)? {
                return Ok(None);
            }
        }
        Ok(self
            .javascript
            .find_from(text, start)
            .next()
            .map(|found| Found { range: found.range(), groups: found.captures.clone() }))
    }
}

/// The translation, if there is one that a bounded engine takes.
fn bounded(pattern: &str, ignore_case: bool) -> Option<Bounded> {
    if let Ok(translated) = translate(pattern, ignore_case, Target::Linear) {
        let engine = regex::Regex::new(&translated.pattern).ok()?;
        return Some(Bounded { engine: Engine::Linear(engine), translated });
    }
    let translated = translate(pattern, ignore_case, Target::Limited).ok()?;
    let mut builder = fancy_regex::RegexBuilder::new(&translated.pattern);
    let engine = builder.backtrack_limit(STEPS_MAX).build().ok()?;
    Some(Bounded { engine: Engine::Limited(engine), translated })
}

impl Bounded {
    fn is_match(&self, text: &str) -> Result<bool, TooManySteps> {
        match &self.engine {
            Engine::Linear(regex) => Ok(regex.is_match(text)),
            Engine::Limited(regex) => regex.is_match(text).map_err(|_| TooManySteps),
        }
    }

    fn find_from(&self, text: &str, start: usize) -> Result<Option<Found>, TooManySteps> {
        match &self.engine {
            Engine::Linear(regex) => Ok(regex.captures_at(text, start).map(|found| Found {
                range: found.get_match().range(),
                groups: found.iter().skip(1).map(|group| group.map(|g| g.range())).collect(),
            })),
            Engine::Limited(regex) => {
                let found = regex.captures_from_pos(text, start).map_err(|_| TooManySteps)?;
                let range = |group: Option<fancy_regex::Match<'_>>| group.map(|g| g.range());
                Ok(found.and_then(|found| {
                    let groups = (1..found.len()).map(|n| range(found.get(n))).collect();
                    Some(Found { range: range(found.get(0))?, groups })
                }))
            }
        }
    }
}
