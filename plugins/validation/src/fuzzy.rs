//! Which texts are similar to a pattern, and how much, as Fuse.js 7.1.0 has it with the threshold 0.3 that
//! node-red-status sets, for flows whose results rest on that.
//!
//! After Fuse.js (<https://github.com/krisk/Fuse>, Apache-2.0, Copyright Kiro Risk), whose search is the Bitap algorithm
//! of Google's diff-match-patch (Apache-2.0). Texts are UTF-16, as there.

/// Worse scores are no match.
const THRESHOLD: f64 = 0.3;
/// So many letters away counts as one whole error.
const DISTANCE: f64 = 100.0;
/// Letters of a pattern that are searched at once.
const BITS: usize = 32;

/// A pattern, in pieces of at most 32 letters.
pub struct Pattern {
    whole: Vec<u16>,
    /// Each with the place where it begins.
    pieces: Vec<(usize, Vec<u16>)>,
}

impl Pattern {
    /// Upper and lower case are alike.
    pub fn new(text: &str) -> Self {
        let whole: Vec<u16> = text.to_lowercase().encode_utf16().collect();
        let mut pieces: Vec<(usize, Vec<u16>)> =
            whole.chunks_exact(BITS).enumerate().map(|(at, piece)| (at * BITS, piece.to_vec())).collect();
        if whole.len() < BITS {
            pieces.push((0, whole.clone()));
        } else if whole.len() % BITS > 0 {
            let start = whole.len() - BITS;
            pieces.push((start, whole[start..].to_vec()));
        }
        Self { whole, pieces }
    }

    /// How unlike the text is, weighted by its number of words: the lower the better. `None` if it is no match.
    pub fn score(&self, text: &str) -> Option<f64> {
        if text.trim().is_empty() || self.whole.is_empty() {
            return None;
        }
        let words = text.split(' ').filter(|word| !word.is_empty()).count();
        let weight = (1_000.0 / (words as f64).sqrt()).round() / 1_000.0;
        let found = self.unlikeness(&text.to_lowercase().encode_utf16().collect::<Vec<_>>())?;
        Some(if found == 0.0 { f64::EPSILON } else { found }.powf(weight))
    }

    fn unlikeness(&self, text: &[u16]) -> Option<f64> {
        if text == self.whole {
            return Some(0.0);
        }
        let found: Vec<(bool, f64)> = self.pieces.iter().map(|(start, piece)| search(text, piece, *start)).collect();
        let sum: f64 = found.iter().map(|(_, score)| score).sum();
        found.iter().any(|(matches, _)| *matches).then(|| sum / found.len() as f64)
    }
}

fn score(pattern: &[u16], errors: usize, place: usize, expected: usize) -> f64 {
    errors as f64 / pattern.len() as f64 + place.abs_diff(expected) as f64 / DISTANCE
}

/// Whether the pattern is in the text with few errors, near the expected place, and the score.
fn search(text: &[u16], pattern: &[u16], location: usize) -> (bool, f64) {
    let expected = location.min(text.len());
    let mut threshold = THRESHOLD;
    let mut from = expected;
    while let Some(at) = position(text, pattern, from) {
        threshold = threshold.min(score(pattern, 0, at, expected));
        from = at + pattern.len();
    }
    let mask = 1_u32 << (pattern.len() - 1);
    let (mut best, mut last_score) = (None, 1.0);
    let mut reach = pattern.len() + text.len();
    let mut before: Vec<u32> = Vec::new();
    for errors in 0..pattern.len() {
        reach = farthest(reach, |stray| score(pattern, errors, expected + stray, expected) <= threshold);
        let mut start = (expected + 1).saturating_sub(reach).max(1);
        let finish = (expected + reach).min(text.len()) + pattern.len();
        let mut bits = vec![0_u32; finish + 2];
        bits[finish + 1] = (1 << errors) - 1;
        let mut at = finish;
        while at >= start {
            let place = at - 1;
            bits[at] = (bits[at + 1] << 1 | 1) & letters(pattern, text.get(place).copied());
            if errors > 0 {
                let was = |at: usize| before.get(at).copied().unwrap_or(0);
                bits[at] |= (was(at + 1) | was(at)) << 1 | 1 | was(at + 1);
            }
            if bits[at] & mask != 0 {
                last_score = score(pattern, errors, place, expected);
                if last_score <= threshold {
                    threshold = last_score;
                    best = Some(place);
                    if place <= expected {
                        break;
                    }
                    start = (2 * expected).saturating_sub(place).max(1);
                }
            }
            at -= 1;
        }
        if score(pattern, errors + 1, expected, expected) > threshold {
            break;
        }
        before = bits;
    }
    (best.is_some(), last_score.max(0.001))
}

fn position(text: &[u16], pattern: &[u16], from: usize) -> Option<usize> {
    text.get(from..)?.windows(pattern.len()).position(|window| window == pattern).map(|at| from + at)
}

/// The farthest stray that is still near enough, by bisection as Fuse.js does it.
fn farthest(most: usize, near: impl Fn(usize) -> bool) -> usize {
    let (mut low, mut high, mut middle) = (0, most, most);
    while low < middle {
        if near(middle) {
            low = middle;
        } else {
            high = middle;
        }
        middle = (high - low) / 2 + low;
    }
    middle
}

/// A bit for each place of the pattern that has the letter.
fn letters(pattern: &[u16], letter: Option<u16>) -> u32 {
    let places = pattern.iter().rev().enumerate().filter(|(_, known)| Some(**known) == letter);
    places.fold(0, |bits, (place, _)| bits | 1 << place)
}
