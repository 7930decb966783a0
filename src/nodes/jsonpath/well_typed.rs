//! What RFC 9535, section 2.4.3, refuses and the parser lets through: functions of the wrong type.

use jsonpath_rust::parser::model::{
    Comparable, Comparison, Filter, FilterAtom, FnArg, JpQuery, Segment, Selector, Test, TestFunction,
};

pub(super) fn check(query: &JpQuery) -> Result<(), String> {
    segments(&query.segments)
}

fn segments(of: &[Segment]) -> Result<(), String> {
    of.iter().try_for_each(|segment| match segment {
        Segment::Descendant(inner) => segments(std::slice::from_ref(inner)),
        Segment::Selector(one) => selector(one),
        Segment::Selectors(several) => several.iter().try_for_each(selector),
    })
}

fn selector(of: &Selector) -> Result<(), String> {
    if let Selector::Filter(inner) = of { filter(inner) } else { Ok(()) }
}

fn filter(of: &Filter) -> Result<(), String> {
    match of {
        Filter::Or(all) | Filter::And(all) => all.iter().try_for_each(filter),
        Filter::Atom(FilterAtom::Filter { expr, .. }) => filter(expr),
        Filter::Atom(FilterAtom::Test { expr, .. }) => match &**expr {
            Test::Function(function) => match &**function {
                TestFunction::Length(_) => Err("the result of length() must be compared".into()),
                TestFunction::Count(_) => Err("the result of count() must be compared".into()),
                TestFunction::Value(_) => Err("the result of value() must be compared".into()),
                other => call(other),
            },
            Test::RelQuery(of) => segments(of),
            Test::AbsQuery(of) => check(of),
        },
        Filter::Atom(FilterAtom::Comparison(comparison)) => {
            let (Comparison::Eq(a, b)
            | Comparison::Ne(a, b)
            | Comparison::Gt(a, b)
            | Comparison::Gte(a, b)
            | Comparison::Lt(a, b)
            | Comparison::Lte(a, b)) = &**comparison;
            [a, b].into_iter().try_for_each(|side| match side {
                Comparable::Function(function) => call(function),
                Comparable::Literal(_) | Comparable::SingularQuery(_) => Ok(()),
            })
        }
    }
}

fn call(function: &TestFunction) -> Result<(), String> {
    match function {
        TestFunction::Length(argument) => value(argument, "length"),
        TestFunction::Search(text, pattern) => value(text, "search").and_then(|()| value(pattern, "search")),
        TestFunction::Match(text, pattern) => value(text, "match").and_then(|()| value(pattern, "match")),
        TestFunction::Count(argument) | TestFunction::Value(argument) => inside(argument),
        TestFunction::Custom(_, arguments) => arguments.iter().try_for_each(inside),
    }
}

/// An argument that is one value: a query there must select at most one.
fn value(argument: &FnArg, function: &str) -> Result<(), String> {
    let query = match argument {
        FnArg::Test(test) => match &**test {
            Test::RelQuery(query) => query,
            Test::AbsQuery(query) => &query.segments,
            Test::Function(_) => return inside(argument),
        },
        _ => return inside(argument),
    };
    let singular = |s: &Segment| matches!(s, Segment::Selector(Selector::Name(_) | Selector::Index(_)));
    if query.iter().all(singular) {
        return Ok(());
    }
    Err(format!("{function}() takes one value; this query may select several"))
}

fn inside(argument: &FnArg) -> Result<(), String> {
    match argument {
        FnArg::Literal(_) => Ok(()),
        FnArg::Filter(of) => filter(of),
        FnArg::Test(test) => match &**test {
            Test::RelQuery(of) => segments(of),
            Test::AbsQuery(of) => check(of),
            Test::Function(function) => call(function),
        },
    }
}
