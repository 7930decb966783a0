//! An exact fraction: what a value is before it is rounded to a binary number.

use serde::{Deserialize, Serialize};

/// `numerator / denominator`, not reduced, so that counts stay readable: 199 of 200 is `199/200`, and as a percentage
/// `19900/200`. Ordered and compared by value.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
#[serde(try_from = "Parts")]
pub struct Score {
    numerator: i64,
    /// At least 1.
    denominator: i64,
}

#[derive(Deserialize)]
struct Parts {
    numerator: i64,
    denominator: i64,
}

impl TryFrom<Parts> for Score {
    type Error = String;
    fn try_from(parts: Parts) -> Result<Self, String> {
        Score::new(parts.numerator, parts.denominator)
            .ok_or_else(|| format!("the denominator is {}, not a positive number", parts.denominator))
    }
}

impl Score {
    /// `None` unless the denominator is positive: 0/0 is no score.
    pub fn new(numerator: i64, denominator: i64) -> Option<Score> {
        (denominator > 0).then_some(Score { numerator, denominator })
    }

    pub fn numerator(self) -> i64 {
        self.numerator
    }

    /// At least 1.
    pub fn denominator(self) -> i64 {
        self.denominator
    }

    /// The nearest binary number.
    pub fn value(self) -> f64 {
        self.numerator as f64 / self.denominator as f64
    }

    /// `199/200`.
    pub fn text(self) -> String {
        format!("{}/{}", self.numerator, self.denominator)
    }
}

impl PartialEq for Score {
    fn eq(&self, other: &Score) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Score {}

impl PartialOrd for Score {
    fn partial_cmp(&self, other: &Score) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Score {
    fn cmp(&self, other: &Score) -> std::cmp::Ordering {
        let cross = |a: &Score, b: &Score| i128::from(a.numerator) * i128::from(b.denominator);
        cross(self, other).cmp(&cross(other, self))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nearly_all_is_less_than_all() {
        let of = |n, d| Score::new(n, d).unwrap();
        assert!(of(i64::MAX - 1, i64::MAX) < of(1, 1));
        assert!(of(199, 200) < of(200, 200) && of(200, 200) == of(7, 7));
        assert_eq!((of(199, 200).text(), of(199, 200).value()), ("199/200".into(), 0.995));
    }

    #[test]
    fn nothing_of_nothing_is_no_score() {
        assert!(Score::new(0, 0).is_none() && Score::new(1, -1).is_none());
        assert!(serde_json::from_str::<Score>(r#"{"numerator":0,"denominator":0}"#).is_err());
        let score: Score = serde_json::from_str(r#"{"numerator":199,"denominator":200}"#).unwrap();
        assert_eq!(score, Score::new(199, 200).unwrap());
    }
}
