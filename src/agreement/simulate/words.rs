//! A simulation in words, English or Spanish. Reasons and names are quoted as they were stored.

use std::collections::BTreeMap;

use super::{Flip, Simulation};
use crate::agreement::budgets::compare::BudgetChange;
use crate::agreement::explain::words::Language;
use crate::model::state::{StateKind, Verdict};
use crate::model::value::short_number;

/// What a simulation says, in a language.
#[derive(Clone, Copy)]
pub struct Words(pub Language);

impl Words {
    fn say(self, key: &str, values: &[(&str, &str)]) -> String {
        self.0.say(key, values)
    }

    /// In English the word that stands everywhere else, too.
    fn verdict(self, verdict: Verdict) -> String {
        match self.0 {
            Language::English => verdict.as_str().to_owned(),
            Language::Spanish => self.say(verdict.as_str(), &[]),
        }
    }

    /// A verdict on one side, with what it is without its waiver.
    pub fn side(self, verdict: Option<Verdict>, unwaived: Option<Verdict>) -> String {
        match (verdict, unwaived) {
            (None, _) => self.say("none", &[]),
            (Some(verdict), None) => self.verdict(verdict),
            (Some(verdict), Some(unwaived)) => {
                let values = [("verdict", &*self.verdict(verdict)), ("unwaived", &*self.verdict(unwaived))];
                self.say("without-waiver", &values)
            }
        }
    }

    /// `fulfilled → violated`.
    pub fn change(self, flip: &Flip) -> String {
        let before = self.side(flip.before, flip.unwaived_before);
        format!("{before} → {}", self.side(flip.after, flip.unwaived_after))
    }

    /// One verdict in one line: where, what it was and would be, and why.
    pub fn line(self, flip: &Flip) -> String {
        let place = format!("{} {} {}", flip.guarantee, flip.scope.text(), flip.window.text());
        let why = flip.reason_after.as_ref().or(flip.reason_before.as_ref()).map_or("", String::as_str);
        format!("{place}: {}: {why}", self.change(flip))
    }

    /// One state of a budget or burn rate in one line.
    pub fn budget_line(self, change: &BudgetChange) -> String {
        let key = if change.kind == StateKind::BurnRate { "rate-side" } else { "budget-side" };
        let side = |verdict: Option<Verdict>, value: Option<f64>| match (verdict, value) {
            (Some(verdict), Some(value)) => {
                let values = [("verdict", &*self.verdict(verdict)), ("value", &*short_number(value))];
                self.say(key, &values)
            }
            (verdict, _) => self.side(verdict, None),
        };
        let (before, after) = (side(change.before, change.value_before), side(change.after, change.value_after));
        let place = format!("{} {} {}", change.of, change.scope.text(), change.window.text());
        let why = change.reason_after.as_ref().or(change.reason_before.as_ref()).map_or("", String::as_str);
        format!("{place}: {before} → {after}: {why}")
    }

    /// The whole simulation; a line that belongs to the one before starts with two blanks.
    pub fn lines(self, simulation: &Simulation) -> Vec<String> {
        let mut lines = Vec::new();
        for (one, many, list) in [
            ("flips-one", "flips-many", &simulation.flips),
            ("added-one", "added-many", &simulation.added),
            ("removed-one", "removed-many", &simulation.removed),
        ] {
            if !list.is_empty() {
                let key = if list.len() == 1 { one } else { many };
                lines.push(self.say(key, &[("count", &list.len().to_string())]));
                lines.extend(list.iter().map(|flip| format!("  {}", self.line(flip))));
            }
        }
        if let Some(first) = &simulation.first {
            lines.push(self.say("first-flip", &[("line", &self.line(first))]));
        }
        if let Some(smallest) = &simulation.smallest {
            let deciders = smallest.decided_by.iter().cloned();
            let by = deciders.reduce(|one, other| self.say("and", &[("one", &one), ("other", &other)]));
            let by = by.unwrap_or_else(|| self.say("nothing-known", &[]));
            lines.push(self.say("smallest-flip", &[("by", &by), ("line", &self.line(smallest))]));
        }
        for sum in &simulation.penalties {
            let (before, after) = (sum.before.to_string(), sum.after.to_string());
            let mut line = self.say("penalty-sum", &[("over", &sum.over), ("before", &before), ("after", &after)]);
            if (sum.unsaid_before, sum.unsaid_after) != (0, 0) {
                let (before, after) = (sum.unsaid_before.to_string(), sum.unsaid_after.to_string());
                line.push_str(&self.say("penalty-unsaid", &[("before", &before), ("after", &after)]));
            }
            lines.push(line);
        }
        for (kind, key) in [(StateKind::Budget, "budgets-changed"), (StateKind::BurnRate, "rates-changed")] {
            let found: Vec<&BudgetChange> = simulation.budgets.iter().filter(|change| change.kind == kind).collect();
            if !found.is_empty() {
                lines.push(self.say(key, &[("count", &found.len().to_string())]));
                lines.extend(found.iter().map(|change| format!("  {}", self.budget_line(change))));
            }
        }
        for (reason, count) in &simulation.not_stored {
            let values = [("count", &*count.to_string()), ("reason", &*self.0.sentence(reason))];
            lines.push(self.say("not-stored", &values));
        }
        if simulation.other_versions > 0 {
            lines.push(self.say("other-versions", &[("count", &simulation.other_versions.to_string())]));
        }
        lines.push(self.say("simulated-before", &[("counts", &self.counts(&simulation.before))]));
        lines.push(self.say("simulated-after", &[("counts", &self.counts(&simulation.after))]));
        let [same, others, new, gone] =
            [simulation.same, simulation.flips.len(), simulation.added.len(), simulation.removed.len()]
                .map(|n| n.to_string());
        lines.push(self.say("simulated", &[("same", &same), ("others", &others), ("new", &new), ("gone", &gone)]));
        if simulation.budgets_same + simulation.budgets.len() > 0 {
            let (same, others) = (simulation.budgets_same.to_string(), simulation.budgets.len().to_string());
            lines.push(self.say("simulated-budgets", &[("same", &same), ("others", &others)]));
        }
        lines
    }

    fn counts(self, counts: &BTreeMap<String, usize>) -> String {
        let all: Vec<String> = counts
            .iter()
            .map(|(word, n)| {
                let verdict = Verdict::parse(word).map_or_else(|| word.clone(), |verdict| self.verdict(verdict));
                self.say("verdict-count", &[("count", &n.to_string()), ("verdict", &verdict)])
            })
            .collect();
        if all.is_empty() { self.say("none", &[]) } else { all.join(", ") }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{NEW_METRIC, NOT_OF_SCOPE, NOT_OF_WINDOW, OTHER_MEASURE, OTHER_PARAMETERS};
    use super::*;

    #[test]
    fn every_reason_for_which_nothing_is_stored_is_said_in_spanish() {
        for reason in [NEW_METRIC, NOT_OF_SCOPE, NOT_OF_WINDOW, OTHER_MEASURE, OTHER_PARAMETERS] {
            let said = Language::Spanish.sentence(reason);
            assert!(said.starts_with("no está guardado"), "{reason}: {said}");
            assert_eq!(Language::English.sentence(reason), reason);
        }
    }
}
