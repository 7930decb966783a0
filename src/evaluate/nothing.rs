//! Why there was nothing to judge.

use super::Windows;
use crate::agreement::windows::local as local_text;
use crate::model::agreement::Agreement;

/// Why an evaluation has no verdict: no window was asked for.
pub fn nothing_to_judge(agreement: &Agreement, windows: Windows) -> String {
    let local = |at| local_text(at, &agreement.time_zone);
    let end = agreement.valid_to.map_or_else(|| "without end".to_owned(), |end| format!("until {}", local(end)));
    let valid = format!("it is valid from {}, {end}", local(agreement.valid_from));
    let Windows::Overlapping { from, to } = windows else {
        return format!("no window has closed yet; {valid}. A range (from, to) takes a window that is still open, too");
    };
    let range = format!("the range {} to {}", local(from), local(to));
    if to <= agreement.valid_from {
        format!("{range} is before the agreement begins; {valid}. Give a range within that")
    } else if agreement.valid_to.is_some_and(|end| end <= from) {
        format!("{range} is after the agreement's end; {valid}. Give a range within that")
    } else {
        format!(
            "no window of a guarantee lies in {range}; {valid}, and windows only from their own initial until their own end"
        )
    }
}
