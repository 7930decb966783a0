//! What regorus says of a faulty policy, as one line per fault: file, line, column, what is wrong.

use probity_sdk::Error;

/// Code of the errors that are the policy's.
pub const CODE: &str = "policy";

/// An error of the policy. `what` was being done, for example `the policy cannot be read`.
pub fn of(error: &anyhow::Error, what: &str) -> Error {
    let told = format!("{error:#}");
    let faults = faults(&told);
    let text = if faults.is_empty() { told.trim().to_owned() } else { faults.join("; ") };
    let advice = if text.contains("could not find function") {
        " (functions that need a network, random numbers or the environment are not there; see the node's help)"
    } else {
        ""
    };
    Error::new(format!("{what}: {text}{advice}")).with_code(CODE)
}

/// regorus points at the place under the line of the policy:
///
/// ```text
/// --> main.rego:3:5
///   |
/// 3 | allow if {
///   |     ^
/// error: …
/// ```
fn faults(told: &str) -> Vec<String> {
    let mut faults = Vec::new();
    let (mut place, mut line) = ("", "");
    for text in told.lines() {
        if let Some((_, found)) = text.split_once("--> ") {
            (place, line) = (found.trim(), "");
        } else if let Some((number, code)) = text.split_once('|') {
            if number.trim().parse::<u32>().is_ok() {
                line = code.trim();
            }
        } else if let Some(what) = text.trim().strip_prefix("error: ").filter(|_| !place.is_empty()) {
            faults.push(format!("{place}: {what} (in `{line}`)"));
            place = "";
        }
    }
    faults
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fault_is_one_line_with_its_place() {
        let told = "\n--> main.rego:3:5\n  |\n3 | allow if {\n  |     ^\nerror: expecting `}`";
        let error = of(&anyhow::Error::msg(told), "the policy cannot be read");
        assert_eq!(error.message(), "the policy cannot be read: main.rego:3:5: expecting `}` (in `allow if {`)");
        assert_eq!(error.code(), Some("policy"));
        assert_eq!(of(&anyhow::Error::msg("odd "), "x").message(), "x: odd");
    }
}
