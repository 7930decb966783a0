//! CSS selectors with jQuery's pseudo-classes for place and text at the end of one: `li:first`, `td:eq(2)`,
//! `p:contains("total"):last`.

use std::collections::HashSet;

use scraper::{ElementRef, Html, Selector};

pub(super) struct Selection {
    /// Of a list `a, b`: each with what is taken of its matches.
    groups: Vec<(Selector, Vec<Pick>)>,
}

/// What is taken of the elements that a selector matches, in their order.
enum Pick {
    First,
    Last,
    Even,
    Odd,
    /// At this place; below 0 counted from the end.
    At(i64),
    After(i64),
    Before(i64),
    Containing(String),
}

impl Selection {
    pub(super) fn parse(text: &str) -> Result<Selection, String> {
        let groups = split_list(text).into_iter().map(|group| {
            let (css, picks) = strip_picks(group.trim());
            let css = if css.is_empty() && !picks.is_empty() { "*" } else { css };
            let selector = Selector::parse(css).map_err(|e| format!("invalid selector \"{text}\": {e}"))?;
            Ok((selector, picks))
        });
        Ok(Selection { groups: groups.collect::<Result<_, String>>()? })
    }

    /// The elements, each once, in the order of the document.
    pub(super) fn of<'d>(&self, document: &'d Html) -> Vec<ElementRef<'d>> {
        if let [(selector, picks)] = self.groups.as_slice() {
            return picked(document.select(selector).collect(), picks);
        }
        let chosen =
            self.groups.iter().flat_map(|(selector, picks)| picked(document.select(selector).collect(), picks));
        let chosen: HashSet<_> = chosen.map(|element| element.id()).collect();
        document.tree.nodes().filter(|node| chosen.contains(&node.id())).filter_map(ElementRef::wrap).collect()
    }
}

fn picked<'d>(mut elements: Vec<ElementRef<'d>>, picks: &[Pick]) -> Vec<ElementRef<'d>> {
    for pick in picks {
        let len = elements.len() as i64;
        let from_end = |n: i64| if n < 0 { n + len } else { n };
        let mut place = -1;
        elements.retain(|element| {
            place += 1;
            match pick {
                Pick::First => place == 0,
                Pick::Last => place == len - 1,
                Pick::Even => place % 2 == 0,
                Pick::Odd => place % 2 == 1,
                Pick::At(n) => place == from_end(*n),
                Pick::After(n) => place > from_end(*n),
                Pick::Before(n) => place < from_end(*n),
                Pick::Containing(text) => super::text::text(*element).contains(text.as_str()),
            }
        });
    }
    elements
}

/// The selectors of a list: cut at commas outside of brackets and quotes.
fn split_list(text: &str) -> Vec<&str> {
    let (mut depth, mut quote, mut start) = (0i32, None, 0);
    let mut pieces = Vec::new();
    let mut escaped = false;
    for (at, c) in text.char_indices() {
        match (c, quote) {
            _ if escaped => escaped = false,
            ('\\', _) => escaped = true,
            (c, Some(q)) if c == q => quote = None,
            (_, Some(_)) => {}
            ('"' | '\'', None) => quote = Some(c),
            ('(' | '[', None) => depth += 1,
            (')' | ']', None) => depth -= 1,
            (',', None) if depth == 0 => {
                pieces.push(&text[start..at]);
                start = at + 1;
            }
            _ => {}
        }
    }
    pieces.push(&text[start..]);
    pieces
}

/// Takes jQuery's pseudo-classes off the end of a selector.
fn strip_picks(mut css: &str) -> (&str, Vec<Pick>) {
    let mut picks = Vec::new();
    while let Some((rest, pick)) = strip_one(css) {
        picks.push(pick);
        css = rest;
    }
    picks.reverse();
    (css, picks)
}

fn strip_one(css: &str) -> Option<(&str, Pick)> {
    for (name, pick) in [(":first", Pick::First), (":last", Pick::Last), (":even", Pick::Even), (":odd", Pick::Odd)] {
        if let Some(rest) = css.strip_suffix(name) {
            return Some((rest, pick));
        }
    }
    let inside = css.strip_suffix(')')?;
    for name in [":eq(", ":gt(", ":lt(", ":contains("] {
        let Some(at) = inside.rfind(name) else { continue };
        let (rest, argument) = (&css[..at], inside[at + name.len()..].trim());
        if name == ":contains(" {
            let quoted = |q: char| argument.strip_prefix(q).and_then(|a| a.strip_suffix(q));
            let text = quoted('"').or_else(|| quoted('\'')).unwrap_or(argument);
            return Some((rest, Pick::Containing(text.to_string())));
        }
        let Ok(n) = argument.parse() else { continue };
        return Some((
            rest,
            if name == ":eq(" {
                Pick::At(n)
            } else if name == ":gt(" {
                Pick::After(n)
            } else {
                Pick::Before(n)
            },
        ));
    }
    None
}
