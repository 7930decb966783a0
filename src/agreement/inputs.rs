//! The hash of what a state was judged from: the canonical form of its samples.

use sha2::{Digest as _, Sha256};

use super::collector::canonical;
use crate::model::provenance::Digest;
use crate::model::state::{Sample, SampleValue, Scope};

/// Takes up samples in the order of the term's metrics. Left out are when evidence was collected and by which run:
/// the same evidence collected again is the same input.
#[derive(Default)]
pub(super) struct Inputs(Sha256);

impl Inputs {
    pub(super) fn finish(self) -> Digest {
        Digest(self.0.finalize().into())
    }

    /// Each text with its length, so that no two lists of texts run into the same bytes.
    fn text(&mut self, text: &str) {
        self.0.update((text.len() as u64).to_le_bytes());
        self.0.update(text.as_bytes());
    }

    /// A metric without a sample, and why there is none.
    pub(super) fn absent(&mut self, metric: &str, reason: &str) {
        self.text(metric);
        self.text("absent");
        self.text(reason);
    }

    pub(super) fn sample(&mut self, sample: &Sample) {
        self.text(&sample.metric);
        self.scope(&sample.scope);
        self.0.update(sample.window.from.as_nanosecond().to_le_bytes());
        self.0.update(sample.window.to.as_nanosecond().to_le_bytes());
        self.value(&sample.value);
        for counts in [
            sample.coverage.map(|c| [c.seen, c.expected]),
            sample.score.map(|s| [s.numerator() as u64, s.denominator() as u64]),
        ] {
            self.0.update([u8::from(counts.is_some())]);
            counts.into_iter().flatten().for_each(|count| self.0.update(count.to_le_bytes()));
        }
        self.0.update((sample.evidence.len() as u64).to_le_bytes());
        for piece in &sample.evidence {
            self.text(&piece.metric);
            self.text(&piece.source);
            self.text(&canonical(&piece.data));
        }
    }

    fn scope(&mut self, scope: &Scope) {
        self.0.update((scope.0.len() as u64).to_le_bytes());
        for (key, member) in &scope.0 {
            self.text(key);
            self.text(member);
        }
    }

    fn value(&mut self, value: &SampleValue) {
        match value {
            SampleValue::Bool(b) => self.0.update([1, u8::from(*b)]),
            SampleValue::Number(n) => {
                self.0.update([2]);
                // Minus zero is zero.
                self.0.update((n + 0.0).to_le_bytes());
            }
            SampleValue::Rounded { rounded } => {
                self.0.update([5]);
                self.0.update((rounded + 0.0).to_le_bytes());
            }
            SampleValue::Text(text) => {
                self.0.update([3]);
                self.text(text);
            }
            SampleValue::Missing { missing } => {
                self.0.update([4]);
                self.text(missing);
            }
        }
    }
}

/// The samples in an order that does not depend on the one they came in.
pub(super) fn in_order(samples: &mut [&Sample]) {
    if samples.len() < 2 {
        return;
    }
    samples.sort_by_cached_key(|sample| {
        let mut one = Inputs::default();
        one.sample(sample);
        one.finish()
    });
}
