//! How much of a budget is used up, exactly, and what follows from that.
//!
//! With a target of `a/b`, `(b - a)/b` of the population may be bad. What is bad uses up
//! `bad · b / (population · (b - a))` of the budget: 1 is all of it. Over the time of an alert the same figure is the burn
//! rate: at 1 the budget lasts exactly its period. What is unknown is neither good nor bad: it gives the figure two
//! bounds, and only what holds at both of them is said.

use crate::model::budget::{Budget, BurnAlert, Counts, Ratio, Share, Tally, Used};
use crate::model::state::Verdict;

/// The share of the budget that a tally uses up, or the rate over the time it was counted in.
pub(super) fn used(counts: &Counts, target: Share, tally: Tally) -> Used {
    let wide = i128::from;
    let used = |bad: i128, population: i128| {
        Ratio::new(bad * wide(target.denominator()), population * wide(target.rest())).map(Ratio::reduced)
    };
    let (bad, seen, unknown) = (wide(tally.bad), wide(tally.seen()), wide(tally.unknown));
    if matches!(counts, Counts::Events { .. }) {
        if unknown == 0 {
            let exact = used(bad, seen);
            return Used { least: exact, most: exact, estimate: exact };
        }
        // Nobody knows how many events an unknown window had: any number, all of them good or all of them bad.
        return Used { least: Ratio::new(0, 1), most: None, estimate: used(bad, seen) };
    }
    let closed = seen + unknown;
    let population = closed + wide(tally.pending);
    Used {
        least: used(bad, population),
        most: used(bad + unknown, population),
        // As if the unknown ones were bad in the proportion of the others.
        estimate: used(bad * closed, population * seen),
    }
}

/// Whether the budget suffices: only what holds whatever the unknown windows were.
pub(super) fn verdict(counts: &Counts, target: Share, tally: Tally) -> Verdict {
    if is_empty(tally) {
        return Verdict::NotApplicable;
    }
    if tally.seen() == 0 {
        return Verdict::Unknown;
    }
    let used = used(counts, target, tally);
    let all = Ratio { numerator: 1, denominator: 1 };
    match (used.least, used.most) {
        (Some(least), _) if least.exceeds(all) => Verdict::Violated,
        (_, Some(most)) if !most.exceeds(all) => Verdict::Fulfilled,
        _ => Verdict::Unknown,
    }
}

/// Whether an alert fires (`violated`) or does not (`fulfilled`), whatever the unknown windows were. It never fires on fewer
/// samples than its minimum: what would fire then is `unknown`.
pub(super) fn alert_verdict(budget: &Budget, alert: &BurnAlert, long: Tally, short: Tally) -> Verdict {
    if is_empty(long) {
        return Verdict::NotApplicable;
    }
    let rates = [used(&budget.counts, budget.target, long), used(&budget.counts, budget.target, short)];
    let above = Ratio { numerator: alert.above.numerator.into(), denominator: alert.above.denominator.into() };
    let certainly = rates.iter().all(|rate| rate.least.is_some_and(|least| least.exceeds(above)));
    if certainly && long.seen() >= alert.minimum {
        return Verdict::Violated;
    }
    // A time in which there was nothing to judge used up nothing.
    let quiet = is_empty(short) || rates.iter().any(|rate| rate.most.is_some_and(|most| !most.exceeds(above)));
    if quiet && long.seen() > 0 { Verdict::Fulfilled } else { Verdict::Unknown }
}

/// Nothing was there to be good or bad.
fn is_empty(tally: Tally) -> bool {
    tally.seen() == 0 && tally.unknown == 0 && tally.pending == 0
}
