//! `minCoverage`: how much of a population must have been seen for a value to count.

use serde_json::{Map, Value};

use super::budgets::fraction;
use super::document::{Reader, join};
use crate::model::agreement::{MinCoverage, Term};
use crate::model::diagnostic::Diagnostic;
use crate::model::state::{Coverage, Sample, SampleValue};

const EXPECTED: &str = "a share of up to one: \"90%\", 0.9 or \"9/10\"";

/// Reads `minCoverage` of an `x-probity` object at `path`; `None` when it is not given.
pub(super) fn read_min_coverage<'d>(
    reader: &mut Reader<'d>,
    ours: &'d Map<String, Value>,
    path: &str,
) -> Option<MinCoverage> {
    let value = reader.field(ours, "minCoverage", path)?;
    let path = join(path, "minCoverage");
    let text = match value {
        Value::String(text) => text.trim().to_owned(),
        Value::Number(number) => number.to_string(),
        other => {
            reader.wrong_kind(&path, other, EXPECTED);
            return None;
        }
    };
    let none = ["0", "0%", "0 %", "0.0"].contains(&text.as_str()).then_some((0, 1));
    let found = none.or_else(|| fraction(&text)).and_then(|(part, of)| MinCoverage::new(part, of));
    if found.is_none() {
        let problem = Diagnostic::error("bad-coverage", &path, format!("{text} is no share of a population"));
        let problem = problem.expected(EXPECTED);
        reader.report(match fraction(&text) {
            Some((part, of)) if part > of && !text.contains(['%', '/']) => {
                problem.hint(format!("write \"{text}%\" if it is a percentage"))
            }
            _ => problem,
        });
    }
    found
}

/// Why a sample's value does not count in a term, as the rest of a sentence that starts with the metric's name; `None`
/// when it does. A sample whose source does not say how many it saw counts as it is, and so does one of an empty
/// population: there was nobody to see.
pub fn too_little(sample: &Sample, term: &Term) -> Option<String> {
    let (least, coverage) = term.min_coverage.zip(sample.coverage)?;
    let counts = least.is_met_by(coverage) || matches!(sample.value, SampleValue::Missing { .. });
    let Coverage { seen, expected } = coverage;
    (!counts).then(|| format!("rests on {seen} of {expected} expected, less than the {} to be seen", least.text()))
}
