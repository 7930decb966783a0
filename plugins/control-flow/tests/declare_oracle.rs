//! Every template against its formula, on every trace up to a length over three activities.
//!
//! The formulas are those of the literature (C. Di Ciccio, M. Montali, "Declarative Process Specifications: Reasoning,
//! Discovery, Monitoring", Process Mining Handbook, 2022; existence(n) unfolded) in LTL on finite traces with past, and
//! are evaluated here by the textbook definition of each operator, without a thought for speed. Nothing is shared with
//! the code under test but the names of the templates.

#![allow(clippy::unwrap_used)]

use control_flow::checking::{Label, activations};
use control_flow::template::Template;

/// Longest trace tried: 3^0 + … + 3^7 = 3,280 traces.
const LENGTH: usize = 7;

#[derive(Debug)]
enum Formula {
    Atom(char),
    Not(Box<Formula>),
    Both(char, Box<Formula>, Box<Formula>),
    /// X strong next, F finally, G globally, Y strong yesterday, O once, H historically.
    Unary(char, Box<Formula>),
}

struct Parser<'t> {
    rest: &'t str,
}

impl Parser<'_> {
    /// `left op right`, right-associative, weakest first: `<->` and `->`, `|`, `&`, `U W S`.
    fn parse(&mut self, level: usize) -> Formula {
        const LEVELS: [&[(&str, char)]; 4] =
            [&[("<->", '='), ("->", '>')], &[("|", '|')], &[("&", '&')], &[("U", 'U'), ("W", 'W'), ("S", 'S')]];
        let Some(operators) = LEVELS.get(level) else { return self.unary() };
        let left = self.parse(level + 1);
        for (text, operator) in *operators {
            if self.take(text) {
                return Formula::Both(*operator, left.into(), self.parse(level).into());
            }
        }
        left
    }

    fn unary(&mut self) -> Formula {
        for operator in ["X", "F", "G", "Y", "O", "H"] {
            if self.take(operator) {
                return Formula::Unary(operator.chars().next().unwrap(), self.unary().into());
            }
        }
        if self.take("!") {
            return Formula::Not(self.unary().into());
        }
        if self.take("(") {
            let inner = self.parse(0);
            assert!(self.take(")"), "`)` expected before {:?}", self.rest);
            return inner;
        }
        let atom = self.rest.trim_start().chars().next().expect("a formula goes on");
        assert!(atom.is_lowercase(), "unexpected {:?}", self.rest);
        self.take(&atom.to_string());
        Formula::Atom(atom)
    }

    fn take(&mut self, text: &str) -> bool {
        match self.rest.trim_start().strip_prefix(text) {
            Some(rest) => {
                self.rest = rest;
                true
            }
            None => false,
        }
    }
}

fn formula(text: &str) -> Formula {
    let mut parser = Parser { rest: text };
    let parsed = parser.parse(0);
    assert_eq!(parser.rest.trim(), "", "in {text}");
    parsed
}

/// Whether the formula holds at instant `i` of the trace. An instant beyond the end holds no atom.
fn holds(formula: &Formula, trace: &[char], i: usize) -> bool {
    let n = trace.len();
    let at = |f: &Formula, j: usize| holds(f, trace, j);
    match formula {
        Formula::Atom(atom) => trace.get(i) == Some(atom),
        Formula::Not(f) => !at(f, i),
        Formula::Unary('X', f) => i + 1 < n && at(f, i + 1),
        Formula::Unary('F', f) => (i..n).any(|j| at(f, j)),
        Formula::Unary('G', f) => (i..n).all(|j| at(f, j)),
        Formula::Unary('Y', f) => i > 0 && at(f, i - 1),
        Formula::Unary('O', f) => (0..=i).any(|j| at(f, j)),
        Formula::Unary('H', f) => (0..=i).all(|j| at(f, j)),
        Formula::Both('&', f, g) => at(f, i) && at(g, i),
        Formula::Both('|', f, g) => at(f, i) || at(g, i),
        Formula::Both('>', f, g) => !at(f, i) || at(g, i),
        Formula::Both('=', f, g) => at(f, i) == at(g, i),
        Formula::Both('U', f, g) => (i..n).any(|j| at(g, j) && (i..j).all(|k| at(f, k))),
        Formula::Both('W', f, g) => (i..n).all(|j| at(f, j)) || (i..n).any(|j| at(g, j) && (i..j).all(|k| at(f, k))),
        Formula::Both('S', f, g) => (0..=i).any(|j| at(g, j) && (j + 1..=i).all(|k| at(f, k))),
        other => unreachable!("{other:?}"),
    }
}

/// F(a & X(F(a & …))), n times.
fn at_least(n: u32) -> String {
    match n {
        1 => "F a".to_owned(),
        _ => format!("F (a & X ({}))", at_least(n - 1)),
    }
}

/// What must hold at the first instant of the trace. Only operators of the future.
fn of_the_trace(template: Template, n: u32) -> String {
    use Template as T;
    match template {
        T::Existence => at_least(n),
        T::Absence => format!("!({})", at_least(n)),
        T::Exactly => format!("({}) & !({})", at_least(n), at_least(n + 1)),
        T::Init => "a".to_owned(),
        // The instant without a next one: G of anything fails there only through its own formula.
        T::End => "F (a & !X (a | !a))".to_owned(),
        T::Choice => "F a | F b".to_owned(),
        T::ExclusiveChoice => "(F a | F b) & !(F a & F b)".to_owned(),
        T::RespondedExistence => "F a -> F b".to_owned(),
        T::CoExistence => "F a <-> F b".to_owned(),
        T::Response => "G (a -> F b)".to_owned(),
        T::Precedence => "!b W a".to_owned(),
        T::Succession => "G (a -> F b) & (!b W a)".to_owned(),
        T::AlternateResponse => "G (a -> X (!a U b))".to_owned(),
        T::AlternatePrecedence => "(!b W a) & G (b -> !X !(!b W a))".to_owned(),
        T::AlternateSuccession => "G (a -> X (!a U b)) & (!b W a) & G (b -> !X !(!b W a))".to_owned(),
        T::ChainResponse => "G (a -> X b)".to_owned(),
        T::ChainPrecedence => "G (X b -> a) & !b".to_owned(),
        T::ChainSuccession => "G (a <-> X b) & !b".to_owned(),
        T::NotRespondedExistence => "F a -> !F b".to_owned(),
        T::NotCoExistence => "!(F a & F b)".to_owned(),
        T::NotResponse | T::NotPrecedence | T::NotSuccession => "G (a -> !F b)".to_owned(),
        T::NotChainResponse | T::NotChainPrecedence | T::NotChainSuccession => "G (a -> !X b)".to_owned(),
    }
}

/// What activates, and what must hold there; with operators of the past. `None` for templates about the whole trace.
fn of_activations(template: Template) -> Option<Vec<(char, &'static str)>> {
    use Template as T;
    Some(match template {
        T::Existence | T::Absence | T::Exactly | T::Init | T::End | T::Choice | T::ExclusiveChoice => return None,
        T::RespondedExistence => vec![('a', "F b | O b")],
        T::CoExistence => vec![('a', "F b | O b"), ('b', "F a | O a")],
        T::Response => vec![('a', "F b")],
        T::Precedence => vec![('b', "O a")],
        T::Succession => vec![('a', "F b"), ('b', "O a")],
        T::AlternateResponse => vec![('a', "X (!a U b)")],
        T::AlternatePrecedence => vec![('b', "Y (!b S a)")],
        T::AlternateSuccession => vec![('a', "X (!a U b)"), ('b', "Y (!b S a)")],
        T::ChainResponse => vec![('a', "X b")],
        T::ChainPrecedence => vec![('b', "Y a")],
        T::ChainSuccession => vec![('a', "X b"), ('b', "Y a")],
        T::NotRespondedExistence => vec![('a', "!(F b | O b)")],
        T::NotCoExistence => vec![('a', "!(F b | O b)"), ('b', "!(F a | O a)")],
        T::NotResponse => vec![('a', "!F b")],
        T::NotPrecedence => vec![('b', "H !a")],
        T::NotSuccession => vec![('a', "!F b"), ('b', "H !a")],
        T::NotChainResponse => vec![('a', "!X b")],
        T::NotChainPrecedence => vec![('b', "!Y a")],
        T::NotChainSuccession => vec![('a', "!X b"), ('b', "!Y a")],
    })
}

fn traces() -> Vec<Vec<char>> {
    let mut all: Vec<Vec<char>> = vec![Vec::new()];
    let mut longest = all.clone();
    for _ in 0..LENGTH {
        longest = longest.iter().flat_map(|trace| ['a', 'b', 'c'].map(|c| [trace.clone(), vec![c]].concat())).collect();
        all.extend(longest.iter().cloned());
    }
    all
}

fn labels(trace: &[char]) -> Vec<Label> {
    let label = |c: &char| match c {
        'a' => Label::A,
        'b' => Label::B,
        _ => Label::Other,
    };
    trace.iter().map(label).collect()
}

fn counts(template: Template) -> std::ops::RangeInclusive<u32> {
    if template.counts() { 1..=4 } else { 1..=1 }
}

#[test]
fn a_constraint_holds_exactly_where_its_formula_does() {
    for template in Template::ALL {
        for n in counts(template) {
            let formula = formula(&of_the_trace(template, n));
            for trace in traces() {
                let ours = activations(template, n, &labels(&trace)).iter().all(|activation| activation.fulfilled);
                assert_eq!(ours, holds(&formula, &trace, 0), "{template:?} n={n} {}", String::from_iter(&trace));
            }
        }
    }
}

#[test]
fn each_activation_is_fulfilled_exactly_where_its_formula_holds() {
    for template in Template::ALL {
        let Some(rules) = of_activations(template) else { continue };
        let rules: Vec<(char, Formula)> = rules.into_iter().map(|(c, text)| (c, formula(text))).collect();
        for trace in traces() {
            let mut expected = Vec::new();
            for (i, event) in trace.iter().enumerate() {
                for (_, rule) in rules.iter().filter(|(activator, _)| activator == event) {
                    expected.push((i, holds(rule, &trace, i)));
                }
            }
            let found = activations(template, 1, &labels(&trace));
            let found: Vec<(usize, bool)> = found.iter().map(|a| (a.event.unwrap(), a.fulfilled)).collect();
            assert_eq!(found, expected, "{template:?} {}", String::from_iter(&trace));
        }
    }
}

#[test]
fn a_template_about_the_whole_trace_is_activated_once() {
    for template in Template::ALL.into_iter().filter(|template| of_activations(*template).is_none()) {
        for trace in traces() {
            assert_eq!(activations(template, 2, &labels(&trace)).len(), 1);
        }
    }
}

#[test]
fn the_formulas_tell_the_templates_apart() {
    // A wrong oracle that said the same of all would pass the tests above with a wrong program that did, too. Only the
    // negative ones that differ in nothing but their activations may agree.
    let verdicts = |template| {
        let formula = formula(&of_the_trace(template, 2));
        traces().iter().map(|trace| holds(&formula, trace, 0)).collect::<Vec<_>>()
    };
    let mut distinct = std::collections::HashSet::new();
    Template::ALL.into_iter().for_each(|template| _ = distinct.insert(verdicts(template)));
    // not-responded-existence and not-co-existence are one; so are the three not-… of succession and of chains.
    assert_eq!(distinct.len(), Template::ALL.len() - 1 - 2 - 2);
}
