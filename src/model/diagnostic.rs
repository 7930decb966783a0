//! What is wrong with a user's document: where, what was expected, what to do.

use serde::{Deserialize, Serialize};

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// The document (or this part of it) cannot be used.
    Error,
    /// Usable, but probably not what was meant.
    Warning,
}

/// One problem of a document. Checks collect all of them; they never stop at the first.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Diagnostic {
    pub severity: Severity,
    /// Stable kebab-case name of the rule, for example `unknown-metric`.
    pub code: String,
    /// The file, empty when the document did not come from one.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub file: String,
    /// JSON path inside the document, for example `$.terms.guarantees[2].of[0].objective`.
    pub path: String,
    /// Line of the text where that stands, from 1; absent when there is no text or the place is not known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub line: Option<u32>,
    /// Column in that line, in characters from 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub column: Option<u32>,
    /// Lower-case fragment that names the thing and what is wrong with it.
    pub message: String,
    /// What was expected instead.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expected: Option<String>,
    /// What to do, for example `did you mean "uptime"?`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
}

impl Diagnostic {
    pub fn error(code: &str, path: impl Into<String>, message: impl Into<String>) -> Self {
        Self::new(Severity::Error, code, path, message)
    }

    pub fn warning(code: &str, path: impl Into<String>, message: impl Into<String>) -> Self {
        Self::new(Severity::Warning, code, path, message)
    }

    fn new(severity: Severity, code: &str, path: impl Into<String>, message: impl Into<String>) -> Self {
        Diagnostic {
            severity,
            code: code.into(),
            file: String::new(),
            path: path.into(),
            line: None,
            column: None,
            message: message.into(),
            expected: None,
            hint: None,
        }
    }

    pub fn expected(mut self, text: impl Into<String>) -> Self {
        self.expected = Some(text.into());
        self
    }

    pub fn hint(mut self, text: impl Into<String>) -> Self {
        self.hint = Some(text.into());
        self
    }

    pub fn in_file(mut self, file: impl Into<String>) -> Self {
        self.file = file.into();
        self
    }

    /// Where in the text it stands, both from 1.
    pub fn at_line(mut self, line: u32, column: u32) -> Self {
        (self.line, self.column) = (Some(line), Some(column));
        self
    }

    /// A file without anything in it; said alike wherever flows or agreements are read.
    pub fn empty_file() -> Self {
        Diagnostic::error("empty-file", "$", "the file is empty")
            .expected("a flow file (a JSON array) or an agreement (a JSON or YAML object)")
    }

    /// Adds `did you mean "x"?` when one of `known` is close to `given`.
    pub fn did_you_mean<'a>(self, given: &str, known: impl IntoIterator<Item = &'a str>) -> Self {
        match closest(given, known) {
            Some(best) => self.hint(format!("did you mean \"{best}\"?")),
            None => self,
        }
    }
}

impl std::fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if !self.file.is_empty() {
            write!(f, "{}", self.file)?;
            if let (Some(line), Some(column)) = (self.line, self.column) {
                write!(f, ":{line}:{column}")?;
            }
            write!(f, ": ")?;
        }
        let severity = match self.severity {
            Severity::Error => "error",
            Severity::Warning => "warning",
        };
        write!(f, "{}: {severity}[{}]: {}", self.path, self.code, self.message)?;
        if let Some(expected) = &self.expected {
            write!(f, "; expected {expected}")?;
        }
        if let Some(hint) = &self.hint {
            write!(f, "; {hint}")?;
        }
        Ok(())
    }
}

/// Longer names, in bytes, are not compared: the work and memory of a comparison is the product of both lengths.
const COMPARED_BYTES_MAX: usize = 256;

/// The known name nearest to `given`, when it is near enough to be a slip of the pen.
pub fn closest<'a>(given: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    if given.len() > COMPARED_BYTES_MAX {
        return None;
    }
    let lower = given.to_lowercase();
    known
        .into_iter()
        .filter(|name| name.len() <= COMPARED_BYTES_MAX)
        .map(|name| (strsim::damerau_levenshtein(&lower, &name.to_lowercase()), name))
        .filter(|(distance, name)| *distance <= 1 + name.len().min(given.len()) / 4)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, name)| name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slips_of_the_pen_are_found_and_other_names_are_not() {
        assert_eq!(closest("UPTME", ["DOWNTIME", "UPTIME"]), Some("UPTIME"));
        assert_eq!(closest("uptime", ["UPTIME"]), Some("UPTIME"));
        assert_eq!(closest("COVERAGE", ["UPTIME"]), None);
    }

    /// Comparing these would take 80 gigabytes.
    #[test]
    fn names_of_any_length_are_answered_at_once() {
        let long = "x".repeat(100_000);
        assert_eq!(closest(&long, [long.as_str()]), None);
        assert_eq!(closest("x", [long.as_str()]), None);
    }
}
