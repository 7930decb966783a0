//! Broken and strange input for every parser of what users write: nothing may panic, hang or contradict itself.
//!
//! `cargo test` gives each target half a second; `tests/fuzz` more. Seeds are fixed unless told otherwise.

mod guests;
mod input;
mod targets;

use std::fmt::Debug;
use std::time::{Duration, Instant};

use proptest::strategy::Strategy;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};

/// One input may take this long; far more than any should, also in a debug build on a busy machine.
const INPUT_TIME_MAX: Duration = Duration::from_secs(20);

/// Inputs between two looks at the clock.
const BATCH: u32 = 16;

/// Feeds `target` until the time is up. A panic of the target is shrunk and reported by proptest.
fn fuzz<T: Debug>(name: &str, strategy: impl Strategy<Value = T>, target: impl Fn(&T)) {
    let (seconds, seed) = (setting("PROBITY_TEST_FUZZ_SECONDS", 0.5), setting("PROBITY_TEST_FUZZ_SEED", 1.0) as u64);
    let config = Config { cases: BATCH, failure_persistence: None, max_shrink_iters: 20_000, ..Config::default() };
    let (started, mut batch) = (Instant::now(), 0_u64);
    while started.elapsed().as_secs_f64() < seconds {
        let mut bytes = [0; 32];
        bytes[..8].copy_from_slice(&seed.to_le_bytes());
        bytes[8..16].copy_from_slice(&batch.to_le_bytes());
        // A runner stops for good after its cases.
        let mut runner = TestRunner::new_with_rng(config.clone(), TestRng::from_seed(RngAlgorithm::ChaCha, &bytes));
        let outcome = runner.run(&strategy, |input| {
            let began = Instant::now();
            target(&input);
            assert!(began.elapsed() < INPUT_TIME_MAX, "took {:?}", began.elapsed());
            Ok(())
        });
        if let Err(failure) = outcome {
            panic!("{name} (seed {seed}, batch {batch}): {failure}");
        }
        batch += 1;
    }
    let inputs = batch * u64::from(BATCH);
    println!("{name}: {inputs} inputs in {:.1} s, seed {seed}", started.elapsed().as_secs_f64());
}

#[expect(clippy::disallowed_methods, reason = "tests have no config")]
fn setting(variable: &str, default: f64) -> f64 {
    std::env::var(variable).ok().map_or(default, |text| text.parse().unwrap_or_else(|_| panic!("{variable}: a number")))
}
