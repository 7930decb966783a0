//! Percentages that status-backend rounded to whole ones: 199 of 200 come as 100, and nothing of nothing as 0.
//!
//! Its evidence is the rows it counted, so most of the time the counts are found there; otherwise the value is known up to
//! a half only.

use serde_json::Value;

use crate::model::score::Score;
use crate::model::state::{Sample, SampleValue};

/// Ends what is said of a value that stays rounded.
pub(super) const SAID: &str = ", rounded by its source, which gave no counts";

/// Replaces a rounded percentage by the exact one that its rows come to. Without rows that come to it, it is
/// [`SampleValue::Rounded`]; nothing of nothing is no value.
pub fn unround(sample: &mut Sample) {
    let SampleValue::Number(value) = sample.value else { return };
    if sample.score.is_some() || value.fract() != 0.0 || !(0.0..=100.0).contains(&value) {
        return;
    }
    let missing = |missing: String| SampleValue::Missing { missing };
    sample.value = match Counted::of(sample) {
        Some(Counted { all: 0, .. }) => missing("nothing was counted: it has no evidence".into()),
        None if sample.evidence.is_empty() && value == 0.0 => {
            missing("nothing was counted: it has no evidence, for which status-backend says 0".into())
        }
        Some(counted) if counted.as_status_has_it() == value && counted.unclear > 0 => missing(format!(
            "of {} pieces of its evidence {} have a result that is neither true nor false",
            counted.all, counted.unclear
        )),
        Some(counted) if counted.as_status_has_it() == value => match counted.score() {
            Some(score) => {
                sample.score = Some(score);
                SampleValue::Number(score.value())
            }
            None => SampleValue::Rounded { rounded: value },
        },
        _ => SampleValue::Rounded { rounded: value },
    };
}

/// Results of the evidence in status-backend's rows.
#[derive(Default)]
struct Counted {
    /// `true`.
    kept: i64,
    /// `"true"`, which status-backend counts as not kept.
    kept_as_text: i64,
    unclear: i64,
    all: i64,
}

impl Counted {
    /// `None` when the evidence is not made of rows with `evidences`.
    fn of(sample: &Sample) -> Option<Counted> {
        if sample.evidence.is_empty() {
            return None;
        }
        let mut counted = Counted::default();
        for row in &sample.evidence {
            for piece in row.data.get("evidences")?.as_array()? {
                counted.all += 1;
                match piece.get("result") {
                    Some(Value::Bool(true)) => counted.kept += 1,
                    Some(Value::String(text)) if text == "true" => counted.kept_as_text += 1,
                    Some(Value::Bool(false)) => {}
                    Some(Value::String(text)) if text == "false" => {}
                    _ => counted.unclear += 1,
                }
            }
        }
        Some(counted)
    }

    /// `Math.round` of the percentage of `true`.
    fn as_status_has_it(&self) -> f64 {
        (self.kept as f64 / self.all as f64 * 100.0 + 0.5).floor()
    }

    fn score(&self) -> Option<Score> {
        Score::new((self.kept + self.kept_as_text).checked_mul(100)?, self.all)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::model::state::{Evidence, Scope, Window};

    fn unrounded(value: f64, rows: &[&[Value]]) -> (SampleValue, Option<String>) {
        let at = jiff::Timestamp::UNIX_EPOCH;
        let evidence = rows.iter().map(|results| {
            let evidences: Vec<Value> = results.iter().map(|result| json!({"evidence": 1, "result": result})).collect();
            let data = json!({"computationGroup": "g", "value": true, "evidences": evidences});
            Evidence { metric: "M".into(), source: "s".into(), collected_at: at, data }
        });
        let mut sample = Sample {
            metric: "M".into(),
            scope: Scope::default(),
            window: Window { from: at, to: at, from_local: String::new(), to_local: String::new() },
            value: SampleValue::Number(value),
            evidence: evidence.collect(),
            coverage: None,
            score: None,
            run: None,
        };
        unround(&mut sample);
        (sample.value, sample.score.map(Score::text))
    }

    #[test]
    fn u6_the_rows_say_what_the_rounded_score_hides() {
        let results = |kept: usize, all: usize| -> Vec<Value> { (0..all).map(|i| json!(i < kept)).collect() };
        let (first, second) = (results(100, 100), results(99, 100));
        assert_eq!(unrounded(100.0, &[&first, &second]), (SampleValue::Number(99.5), Some("19900/200".into())));
        let thousand = results(995, 1000);
        assert_eq!(unrounded(100.0, &[&thousand]).1.unwrap(), "99500/1000");
        assert_eq!(unrounded(67.0, &[&results(2, 3)]).1.unwrap(), "200/3");
    }

    #[test]
    fn u6_results_as_texts_count_and_others_are_no_failures() {
        assert_eq!(unrounded(50.0, &[&[json!(true), json!("true")]]).0, SampleValue::Number(100.0));
        let (value, _) = unrounded(50.0, &[&[json!(true), json!(null)]]);
        assert!(matches!(value, SampleValue::Missing { missing } if missing.contains("neither")));
    }

    #[test]
    fn u6_nothing_of_nothing_is_no_value_and_other_evidence_leaves_it_rounded() {
        for rows in [&[] as &[&[Value]], &[&[]]] {
            assert!(matches!(unrounded(0.0, rows).0, SampleValue::Missing { .. }));
        }
        assert_eq!(unrounded(100.0, &[]).0, SampleValue::Rounded { rounded: 100.0 });
        // The rows are those of another score.
        assert_eq!(unrounded(70.0, &[&[json!(true)]]).0, SampleValue::Rounded { rounded: 70.0 });
        assert_eq!(unrounded(99.5, &[]).0, SampleValue::Number(99.5));
    }
}
