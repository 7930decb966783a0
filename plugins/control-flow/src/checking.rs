//! Which events activate a constraint and whether each activation is fulfilled, in one pass over the trace.
//!
//! Activations, fulfilments and violations as in Burattin, Maggi, Sperduti (2016): a relation is activated by each A
//! (`response` and its kin), each B (`precedence` and its kin) or both; a template about the whole trace once, by the
//! trace itself. A constraint holds if no activation is violated, and holds vacuously if there is none.

use crate::template::{Kind, Nearness, Relation, Template, Whole};

/// What an event is to a constraint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Label {
    A,
    B,
    Other,
}

/// One activation of a constraint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Activation {
    /// The event that activates, counted from 0; `None` for the trace itself.
    pub event: Option<usize>,
    /// The partner found: what fulfils a positive relation, what violates a negative one.
    pub partner: Option<usize>,
    pub fulfilled: bool,
}

/// The activations of a constraint in a trace, in the order of the trace. `n` counts for templates that count.
pub fn activations(template: Template, n: u32, trace: &[Label]) -> Vec<Activation> {
    match template.kind() {
        Kind::Whole(whole) => {
            vec![Activation { event: None, partner: None, fulfilled: holds(whole, n, trace) }]
        }
        Kind::Relation(relation) => of_relation(relation, trace),
    }
}

fn holds(whole: Whole, n: u32, trace: &[Label]) -> bool {
    let count = |label| trace.iter().filter(|found| **found == label).count();
    let (a, b, n) = (count(Label::A), count(Label::B), n as usize);
    match whole {
        Whole::Existence => a >= n,
        Whole::Absence => a < n,
        Whole::Exactly => a == n,
        Whole::Init => trace.first() == Some(&Label::A),
        Whole::End => trace.last() == Some(&Label::A),
        Whole::Choice => a + b > 0,
        Whole::ExclusiveChoice => (a > 0) != (b > 0),
    }
}

fn of_relation(relation: Relation, trace: &[Label]) -> Vec<Activation> {
    let forward = relation.of_a.then(|| partners(relation.nearness, Label::A, Label::B, trace));
    // What comes before is what comes after in the trace read backwards.
    let backward = relation.of_b.then(|| {
        let reversed: Vec<Label> = trace.iter().rev().copied().collect();
        let mut found = partners(relation.nearness, Label::B, Label::A, &reversed);
        let last = trace.len().saturating_sub(1);
        found.reverse();
        found.iter_mut().for_each(|partner| *partner = partner.map(|at| last - at));
        found
    });
    let found = |at: usize, label: &Label| {
        let partner = match label {
            Label::A => forward.as_ref()?[at],
            Label::B => backward.as_ref()?[at],
            Label::Other => return None,
        };
        Some(Activation { event: Some(at), partner, fulfilled: partner.is_some() != relation.negative })
    };
    trace.iter().enumerate().filter_map(|(at, label)| found(at, label)).collect()
}

/// For each event of `activity` its partner of `other` that follows as near as asked, or, with `Anywhere`, the first of
/// the trace as it is given (the last, where it is given backwards); `None` for all other events.
fn partners(nearness: Nearness, activity: Label, other: Label, trace: &[Label]) -> Vec<Option<usize>> {
    let mut found = vec![None; trace.len()];
    if nearness == Nearness::Anywhere {
        let first = trace.iter().position(|label| *label == other);
        found.iter_mut().zip(trace).filter(|(_, label)| **label == activity).for_each(|(slot, _)| *slot = first);
        return found;
    }
    // From the end: what follows the event at hand.
    let (mut next_other, mut next_activity) = (None, None);
    for (at, label) in trace.iter().enumerate().rev() {
        if *label == activity {
            found[at] = next_other.filter(|partner: &usize| match nearness {
                Nearness::Adjacent => *partner == at + 1,
                Nearness::Alternating => next_activity.is_none_or(|again| partner < &again),
                Nearness::InOrder | Nearness::Anywhere => true,
            });
            next_activity = Some(at);
        } else if *label == other {
            next_other = Some(at);
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn trace(text: &str) -> Vec<Label> {
        let label = |c| match c {
            'a' => Label::A,
            'b' => Label::B,
            _ => Label::Other,
        };
        text.chars().map(label).collect()
    }

    /// Each activation as `event>partner` with `!` in front of a violated one.
    fn shown(template: Template, text: &str) -> String {
        let one = |activation: &Activation| {
            let mark = if activation.fulfilled { "" } else { "!" };
            let event = activation.event.map_or("trace".to_owned(), |at| at.to_string());
            let partner = activation.partner.map_or(String::new(), |at| format!(">{at}"));
            format!("{mark}{event}{partner}")
        };
        activations(template, 1, &trace(text)).iter().map(one).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn each_activation_has_its_own_partner() {
        assert_eq!(shown(Template::Response, "acabca"), "0>3 2>3 !5");
        assert_eq!(shown(Template::Precedence, "babcb"), "!0 2>1 4>1");
        assert_eq!(shown(Template::Succession, "bab"), "!0 1>2 2>1");
        assert_eq!(shown(Template::AlternateResponse, "aabcab"), "!0 1>2 4>5");
        assert_eq!(shown(Template::AlternatePrecedence, "abbcab"), "1>0 !2 5>4");
        assert_eq!(shown(Template::ChainResponse, "abacb"), "0>1 !2");
        assert_eq!(shown(Template::ChainPrecedence, "bab"), "!0 2>1");
        assert_eq!(shown(Template::RespondedExistence, "bcaa"), "2>0 3>0");
        assert_eq!(shown(Template::CoExistence, "ca"), "!1");
    }

    #[test]
    fn a_negative_relation_names_what_violates_it() {
        assert_eq!(shown(Template::NotResponse, "acb"), "!0>2");
        assert_eq!(shown(Template::NotChainResponse, "acb"), "0");
        assert_eq!(shown(Template::NotCoExistence, "aab"), "!0>2 !1>2 !2>1");
    }

    #[test]
    fn the_trace_itself_activates_what_is_about_all_of_it() {
        assert_eq!(shown(Template::Existence, ""), "!trace");
        assert_eq!(shown(Template::Absence, ""), "trace");
        assert_eq!(shown(Template::Init, ""), "!trace");
        assert_eq!(shown(Template::Response, ""), "");
    }

    #[test]
    fn long_traces_take_one_pass() {
        let long: Vec<Label> = (0..200_000).map(|at| if at % 2 == 0 { Label::A } else { Label::Other }).collect();
        assert_eq!(activations(Template::Succession, 1, &long).len(), 100_000);
        assert_eq!(activations(Template::AlternateSuccession, 1, &long).len(), 100_000);
    }
}
