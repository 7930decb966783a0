//! The query of a call for states: the Registry's parameters, and `mode`, which is ours.

use super::Mode;
use crate::agreement::compat::periods;

/// What a caller asks for.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Wanted {
    pub(super) from: Option<String>,
    pub(super) to: Option<String>,
    pub(super) last_period: bool,
    pub(super) new_periods_from_guarantees: bool,
    /// False: what is settled is given as it is stored. Absent and true: everything is asked for again.
    pub(super) force_update: Option<bool>,
    /// The last so many stored states, without evaluating anything.
    pub(super) lasts: Option<usize>,
    /// Whether `lasts` gives states without evidence, too.
    pub(super) with_no_evidences: bool,
    pub(super) evidences: bool,
    pub(super) mode: Mode,
    /// All of it as it came, in order.
    pairs: Vec<(String, String)>,
}

/// Most states `lasts` gives.
const LASTS_MAX: usize = 10_000;

impl Wanted {
    /// Reads a query; parameters the Registry does not know are passed over, as there.
    ///
    /// # Errors
    /// One sentence about a parameter that means nothing.
    pub(super) fn read(query: Option<&str>, default: Mode) -> Result<Wanted, String> {
        let pairs: Vec<(String, String)> = url::form_urlencoded::parse(query.unwrap_or_default().as_bytes())
            .map(|(key, value)| (key.into_owned(), value.into_owned()))
            .collect();
        let find = |key: &str| pairs.iter().find(|(k, _)| k == key).map(|(_, v)| v.clone());
        let text = |key: &str| find(key).filter(|value| !value.is_empty());
        // The Registry compares with the text "true" or "false"; anything else is the default.
        let flag = |key: &str, default: bool| match find(key).as_deref() {
            Some("true") => true,
            Some("false") => false,
            _ => default,
        };
        let mode = match find("mode").as_deref() {
            None => default,
            Some("strict") => Mode::Strict,
            Some("compat") => Mode::Compat,
            Some(other) => return Err(format!("mode is \"{other}\"; expected strict or compat")),
        };
        let lasts = match find("lasts") {
            None => None,
            Some(text) => match text.parse::<usize>() {
                Ok(n) if (1..=LASTS_MAX).contains(&n) => Some(n),
                _ => return Err(format!("lasts is \"{text}\"; expected a count from 1 to {LASTS_MAX}")),
            },
        };
        Ok(Wanted {
            from: text("from"),
            to: text("to"),
            last_period: flag("lastPeriod", true),
            new_periods_from_guarantees: flag("newPeriodsFromGuarantees", true),
            force_update: match find("forceUpdate").as_deref() {
                Some("false") => Some(false),
                Some("true") => Some(true),
                _ => None,
            },
            lasts,
            with_no_evidences: flag("withNoEvidences", true),
            evidences: flag("evidences", true),
            mode,
            pairs,
        })
    }

    /// A parameter as it came.
    pub(super) fn get(&self, key: &str) -> Option<&str> {
        self.pairs.iter().find(|(k, _)| k == key).map(|(_, v)| v.as_str())
    }

    /// The members of `scope.<key>=<member>`.
    pub(super) fn scope(&self) -> Vec<(&str, &str)> {
        self.pairs.iter().filter_map(|(k, v)| Some((k.strip_prefix("scope.")?, v.as_str()))).collect()
    }

    /// As the Registry's own rules take it.
    pub(super) fn periods(&self) -> periods::Query<'_> {
        periods::Query {
            from: self.from.as_deref(),
            to: self.to.as_deref(),
            last_period: self.last_period,
            new_periods_from_guarantees: self.new_periods_from_guarantees,
        }
    }
}
