//! How long a run waits before it is tried again.

use super::Options;

/// The pause after the `attempt`th attempt (from 1), milliseconds: doubled each time up to the longest, a fifth more or
/// less by `chance` (0 to 1), so that what failed together does not come back together.
pub(super) fn pause_ms(options: &Options, attempt: u32, chance: f64) -> u64 {
    let doubled = options.retry_ms_min.saturating_mul(1_u64.checked_shl(attempt.saturating_sub(1)).unwrap_or(u64::MAX));
    let pause = doubled.min(options.retry_ms_max) as f64;
    (pause * (0.8 + 0.4 * chance)) as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_doubles_up_to_the_longest_and_is_spread() {
        let options = Options { retry_ms_min: 1_000, retry_ms_max: 10_000, ..Options::default() };
        let pauses: Vec<u64> = (1..=6).map(|attempt| pause_ms(&options, attempt, 0.5)).collect();
        assert_eq!(pauses, [1_000, 2_000, 4_000, 8_000, 10_000, 10_000]);
        assert_eq!((pause_ms(&options, 1, 0.0), pause_ms(&options, 1, 1.0)), (800, 1_200));
        assert_eq!(pause_ms(&options, 500, 0.5), 10_000);
    }
}
