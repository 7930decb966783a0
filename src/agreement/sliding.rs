//! Aggregates over a window that slides: what comes in at its end and goes out at its start costs the same however long
//! the window is, and the figures are those of a computation from scratch, bit by bit.
//!
//! Sums are kept exactly, as floating-point numbers that do not overlap (Shewchuk 1997), and rounded once, when they are
//! asked for; so nothing drifts by adding and taking away. Least and greatest are those of queues in order.

use std::collections::VecDeque;

use jiff::Timestamp;

/// Greatest magnitude of a value, so that no sum in memory can overflow.
pub const VALUE_MAX: f64 = 1e290;

/// A value that cannot be taken in.
#[derive(Clone, Copy, Debug, PartialEq, thiserror::Error)]
pub enum Refused {
    /// Aggregates slide forward only; what is late needs a computation of its own.
    #[error("the value of {at} comes after that of {last}; values come in order of time")]
    Late { at: Timestamp, last: Timestamp },
    #[error("{0} is not a finite number of magnitude up to 1e290")]
    NotANumber(f64),
}

/// The values of a half-open window `[from, to)` that slides forward.
#[derive(Clone, Debug, Default)]
pub struct Sliding {
    values: VecDeque<(Timestamp, Option<f64>)>,
    sum: ExactSum,
    missing: u64,
    /// Values that are less than all after them, in order; the first is the least.
    least: VecDeque<(Timestamp, f64)>,
    greatest: VecDeque<(Timestamp, f64)>,
    last: Option<Timestamp>,
}

impl Sliding {
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes in the value of an instant, `None` for one that is missing. Amortised O(1).
    ///
    /// # Errors
    /// What is not a number or earlier than a value before; the aggregate is then as it was.
    pub fn push(&mut self, at: Timestamp, value: Option<f64>) -> Result<(), Refused> {
        if let Some(last) = self.last.filter(|last| at < *last) {
            return Err(Refused::Late { at, last });
        }
        match value {
            None => self.missing += 1,
            // Also false for what is not a number.
            Some(value) if value.abs() <= VALUE_MAX => {
                self.sum.add(value);
                enqueue(&mut self.least, at, value, |kept| kept > value);
                enqueue(&mut self.greatest, at, value, |kept| kept < value);
            }
            Some(value) => return Err(Refused::NotANumber(value)),
        }
        self.values.push_back((at, value));
        self.last = Some(at);
        Ok(())
    }

    /// Lets the window start at `from`: what is before it goes out. Amortised O(1).
    pub fn start_at(&mut self, from: Timestamp) {
        while let Some((_, value)) = self.values.pop_front_if(|(at, _)| *at < from) {
            match value {
                Some(value) => self.sum.add(-value),
                None => self.missing -= 1,
            }
        }
        for queue in [&mut self.least, &mut self.greatest] {
            while queue.pop_front_if(|(at, _)| *at < from).is_some() {}
        }
    }

    /// How many values are there.
    pub fn count(&self) -> u64 {
        self.values.len() as u64 - self.missing
    }

    /// How many values are missing: the other figures are of those that are there.
    pub fn missing(&self) -> u64 {
        self.missing
    }

    /// The exact sum, rounded once; 0 of no values.
    pub fn sum(&self) -> f64 {
        self.sum.value()
    }

    /// The rounded sum by the count; `None` of no values.
    pub fn mean(&self) -> Option<f64> {
        let count = self.count();
        (count > 0).then(|| self.sum() / count as f64)
    }

    pub fn min(&self) -> Option<f64> {
        self.least.front().map(|(_, value)| *value)
    }

    pub fn max(&self) -> Option<f64> {
        self.greatest.front().map(|(_, value)| *value)
    }
}

/// Puts a value behind those that stay of interest: one that `is_beaten` by a later value never comes to the front.
fn enqueue(queue: &mut VecDeque<(Timestamp, f64)>, at: Timestamp, value: f64, is_beaten: impl Fn(f64) -> bool) {
    while queue.pop_back_if(|(_, kept)| is_beaten(*kept)).is_some() {}
    queue.push_back((at, value));
}

/// The exact sum of floating-point numbers.
#[derive(Clone, Debug, Default)]
struct ExactSum {
    /// Numbers whose bits do not overlap, least magnitude first; their sum is exact.
    parts: Vec<f64>,
}

impl ExactSum {
    fn add(&mut self, value: f64) {
        let mut carried = value;
        let mut kept = 0;
        for index in 0..self.parts.len() {
            let (sum, error) = two_sum(carried, self.parts[index]);
            if error != 0.0 {
                self.parts[kept] = error;
                kept += 1;
            }
            carried = sum;
        }
        self.parts.truncate(kept);
        if carried != 0.0 {
            self.parts.push(carried);
        }
    }

    /// The nearest number; of two equally near, the even one.
    fn value(&self) -> f64 {
        let mut parts = self.parts.iter().rev().copied();
        let Some(mut sum) = parts.next() else { return 0.0 };
        let mut error = 0.0;
        for part in parts.by_ref() {
            (sum, error) = two_sum(sum, part);
            if error != 0.0 {
                break;
            }
        }
        // Half-way cases are decided by what comes after the error.
        let Some(next) = parts.next() else { return sum };
        if (error < 0.0) == (next < 0.0) {
            let doubled = error * 2.0;
            let rounded = sum + doubled;
            if rounded - sum == doubled {
                return rounded;
            }
        }
        sum
    }
}

/// The rounded sum and what rounding took away, exactly (Knuth).
fn two_sum(a: f64, b: f64) -> (f64, f64) {
    let sum = a + b;
    let of_b = sum - a;
    let of_a = sum - of_b;
    (sum, (a - of_a) + (b - of_b))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn sum_of(values: &[f64]) -> f64 {
        let mut sum = ExactSum::default();
        values.iter().for_each(|value| sum.add(*value));
        sum.value()
    }

    #[test]
    fn sums_are_exact_and_rounded_once() {
        assert_eq!(sum_of(&[0.1; 10]), 1.0);
        assert_eq!(sum_of(&[1e16, 1.0, -1e16]), 1.0);
        assert_eq!(sum_of(&[1e290, 1e-290, -1e290]), 1e-290);
        assert_eq!(sum_of(&[]), 0.0);
        // Half-way between two numbers, and a trifle to each side.
        let half = 2f64.powi(-53);
        assert_eq!(sum_of(&[1.0, half]), 1.0);
        assert_eq!(sum_of(&[1.0, half, 1e-40]), 1.0 + f64::EPSILON);
        assert_eq!(sum_of(&[1.0 + f64::EPSILON, half, -1e-40]), 1.0 + f64::EPSILON);
        assert_eq!(sum_of(&[-1.0, -half, -1e-40]), -1.0 - f64::EPSILON);
    }

    #[test]
    fn the_window_is_half_open_and_missing_values_are_counted() {
        let mut window = Sliding::new();
        for (second, value) in [(0, Some(5.0)), (1, None), (2, Some(-1.0)), (2, Some(7.0))] {
            window.push(at(second), value).unwrap();
        }
        assert_eq!((window.count(), window.missing(), window.sum(), window.mean()), (3, 1, 11.0, Some(11.0 / 3.0)));
        assert_eq!((window.min(), window.max()), (Some(-1.0), Some(7.0)));
        window.start_at(at(2));
        assert_eq!((window.count(), window.missing(), window.sum()), (2, 0, 6.0));
        assert_eq!(window.push(at(1), Some(1.0)), Err(Refused::Late { at: at(1), last: at(2) }));
        for value in [f64::NAN, f64::INFINITY, -1e300] {
            assert!(matches!(window.push(at(9), Some(value)), Err(Refused::NotANumber(_))));
        }
        window.start_at(at(3));
        assert_eq!((window.count(), window.mean(), window.min()), (0, None, None));
        assert_eq!(window.sum(), 0.0);
        assert!(matches!(window.push(at(1), None), Err(Refused::Late { .. })));
    }

    /// Numbers of every magnitude, and their exact sum as a multiple of 2^-60 where that is one.
    fn value() -> impl Strategy<Value = Option<f64>> {
        prop_oneof![
            1 => Just(None),
            4 => (-1_000_000i64..1_000_000).prop_map(|n| Some(n as f64 / 1000.0)),
            4 => (-(1i64 << 52)..1 << 52, -60i32..40).prop_map(|(n, e)| Some(n as f64 * 2f64.powi(e))),
        ]
    }

    proptest! {
        /// Sliding over any values gives what the values inside give from scratch; sums are those of whole numbers.
        #[test]
        fn sliding_is_computing_from_scratch(
            values in prop::collection::vec((0i64..4, value()), 1..200),
            length in 1i64..40,
        ) {
            let (mut window, mut now, mut all) = (Sliding::new(), 0, Vec::new());
            for (pause, value) in values {
                now += pause;
                window.push(at(now), value).unwrap();
                all.push((now, value));
                window.start_at(at(now - length + 1));
                let inside: Vec<Option<f64>> = all.iter().filter(|(t, _)| *t > now - length).map(|(_, v)| *v).collect();
                let there: Vec<f64> = inside.iter().flatten().copied().collect();
                prop_assert_eq!(window.count(), there.len() as u64);
                prop_assert_eq!(window.missing(), (inside.len() - there.len()) as u64);
                prop_assert_eq!(window.min(), there.iter().copied().reduce(f64::min));
                prop_assert_eq!(window.max(), there.iter().copied().reduce(f64::max));
                prop_assert_eq!(window.sum().to_bits(), sum_of(&there).to_bits());
                // Every value with a fraction of at most 60 bits; `as` rounds whole numbers to the nearest, then even.
                let scale = 2f64.powi(60);
                let whole = |v: &f64| (v * scale).fract() == 0.0 && (v * scale).abs() < 2f64.powi(113);
                if there.iter().all(whole) {
                    let exact: i128 = there.iter().map(|v| (v * scale) as i128).sum();
                    prop_assert_eq!(window.sum(), exact as f64 / scale);
                }
            }
        }
    }
}
