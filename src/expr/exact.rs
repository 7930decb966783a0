//! Exact arithmetic beside the binary one: what a measured side comes to as a fraction of whole numbers.

use super::evaluate::{Operand, decide_branches, numeric};
use super::print::metrics;
use crate::model::objective::{BinaryOp, Expr, Function, Objective, UnaryOp};
use crate::model::score::Score;

/// What is known exactly of a metric.
#[derive(Clone, Copy, Debug)]
pub(super) enum Exact<'a> {
    /// A number as collected: its shortest decimal notation is what was meant.
    Number(f64),
    /// What was counted.
    Score(Score),
    Text(&'a str),
    Missing,
}

/// What an exact value is computed from.
#[derive(Clone, Copy)]
pub(super) struct Known<'l, 'a> {
    pub(super) metric: &'l dyn Fn(&str) -> Exact<'a>,
    /// Of `coalesce` and `if` with these arguments the place of the one that gives the value; of `count` how many have one.
    pub(super) branch: &'l dyn Fn(&[Expr]) -> Option<usize>,
}

/// The measured side of an objective (see [`super::Outcome::value`]) as an exact fraction, when it is a ratio or rests
/// on counts: it divides, averages, or uses a metric that came as a score. `None` otherwise, when something has no
/// value, and beyond 64 bits. Not reduced: `PASSED / TOTAL * 100` with 199 of 200 is `19900/200`.
pub fn score<'a>(objective: &'a Objective, lookup: &dyn Fn(&str) -> Operand<'a>) -> Option<Score> {
    let measured = match &objective.expr {
        Expr::Binary(op, left, right) if super::evaluate::is_comparison(*op) => {
            if metrics(left).is_empty() && !metrics(right).is_empty() { right } else { left }
        }
        _ => return None,
    };
    let branches = if branches(measured) { decide_branches(measured, lookup) } else { Vec::new() };
    let known = Known { metric: &|name| counted(lookup(name)), branch: &|arguments| branch(&branches, arguments) };
    if !is_ratio(measured, known) {
        return None;
    }
    let Fraction { n, d } = value(measured, known)?.fitting()?;
    Score::new(i64::try_from(n).ok()?, i64::try_from(d).ok()?)
}

/// How two sides of a comparison compare as exact fractions of what is written: `1 / 3 * 3` is 1, `0.1 + 0.2` is 0.3, and
/// 9999999999999999 of 10000000000000000 are not all. `None` where one of them has no such value, or has more than 63 bits.
pub(super) fn order(left: &Expr, right: &Expr, known: Known<'_, '_>) -> Option<std::cmp::Ordering> {
    Some(value(left, known)?.order(value(right, known)?))
}

/// How far two sides are from each other, where [`order`] knows how they compare; never negative.
pub(super) fn difference(left: &Expr, right: &Expr, known: Known<'_, '_>) -> Option<f64> {
    let Fraction { n, d } = value(left, known)?.plus(value(right, known)?.minus())?;
    let (n, divisor) = (n.abs(), gcd(n.abs(), d));
    Some((n / divisor) as f64 / (d / divisor) as f64)
}

/// Of arguments what [`decide_branches`] found of them.
pub(super) fn branch(branches: &[(*const Expr, usize)], arguments: &[Expr]) -> Option<usize> {
    let found = branches.iter().find(|(of, _)| std::ptr::eq(*of, arguments.as_ptr()));
    found.map(|(_, branch)| *branch)
}

/// Whether it uses a function whose value depends on what has a value, or holds.
pub(super) fn branches(expr: &Expr) -> bool {
    match expr {
        Expr::Call(Function::Coalesce | Function::If | Function::Count, _) => true,
        Expr::Call(_, arguments) => arguments.iter().any(branches),
        Expr::Binary(_, left, right) => branches(left) || branches(right),
        Expr::Unary(_, inner) => branches(inner),
        _ => false,
    }
}

/// What is known exactly of a metric: its counts, where its source gave them.
fn counted(operand: Operand<'_>) -> Exact<'_> {
    match operand {
        Operand::Counted(score) => Exact::Score(score),
        Operand::Number(n) => Exact::Number(n),
        Operand::Bool(b) => Exact::Number(f64::from(u8::from(b))),
        Operand::Text(text) => Exact::Text(text),
        // Nobody knows its counts.
        Operand::Rounded(_) | Operand::Withheld(_) | Operand::Missing(_) => Exact::Missing,
    }
}

/// Whether it divides, averages or uses what was counted.
fn is_ratio(expr: &Expr, known: Known<'_, '_>) -> bool {
    match expr {
        Expr::Metric(name) => matches!((known.metric)(name), Exact::Score(_)),
        Expr::Binary(BinaryOp::Divide, ..) | Expr::Call(Function::Avg, _) => true,
        Expr::Binary(_, left, right) => is_ratio(left, known) || is_ratio(right, known),
        Expr::Unary(_, inner) => is_ratio(inner, known),
        Expr::Call(Function::Coalesce | Function::If, arguments) => {
            let chosen = (known.branch)(arguments).and_then(|at| arguments.get(at));
            chosen.is_some_and(|chosen| is_ratio(chosen, known))
        }
        // How many have a value is no ratio, whatever they are.
        Expr::Call(Function::Count, _) => false,
        Expr::Call(_, arguments) => arguments.iter().any(|argument| is_ratio(argument, known)),
        _ => false,
    }
}

/// `n / d`, `d` at least 1.
#[derive(Clone, Copy, Debug)]
struct Fraction {
    n: i128,
    d: i128,
}

/// Largest part of a fraction that another may be multiplied with.
const PART_MAX: i128 = i64::MAX as i128;

impl Fraction {
    const ZERO: Fraction = Fraction { n: 0, d: 1 };

    /// With parts of at most 63 bits, reduced only when it must be; `None` when even that does not help.
    fn fitting(self) -> Option<Fraction> {
        let fits = |f: &Fraction| f.n.checked_abs().is_some_and(|n| n <= PART_MAX) && f.d <= PART_MAX;
        if fits(&self) {
            return Some(self);
        }
        let divisor = gcd(self.n.checked_abs()?, self.d);
        Some(Fraction { n: self.n / divisor, d: self.d / divisor }).filter(fits)
    }

    fn plus(self, other: Fraction) -> Option<Fraction> {
        if self.d == other.d {
            return Fraction { n: self.n + other.n, d: self.d }.fitting();
        }
        Fraction { n: self.n * other.d + other.n * self.d, d: self.d * other.d }.fitting()
    }

    fn times(self, other: Fraction) -> Option<Fraction> {
        Fraction { n: self.n * other.n, d: self.d * other.d }.fitting()
    }

    fn over(self, other: Fraction) -> Option<Fraction> {
        let sign = other.n.signum();
        (sign != 0).then_some(Fraction { n: self.n * other.d * sign, d: self.d * other.n.abs() })?.fitting()
    }

    fn floor(self) -> Fraction {
        Fraction { n: self.n.div_euclid(self.d), d: 1 }
    }

    /// As in JavaScript: of the sign of what is divided.
    fn remainder(self, other: Fraction) -> Option<Fraction> {
        let quotient = self.over(other)?;
        let whole = Fraction { n: quotient.n / quotient.d, d: 1 };
        self.plus(whole.times(other)?.minus())
    }

    fn minus(self) -> Fraction {
        Fraction { n: -self.n, d: self.d }
    }

    fn order(self, other: Fraction) -> std::cmp::Ordering {
        (self.n * other.d).cmp(&(other.n * self.d))
    }

    /// The shortest decimal notation of a binary number, as a fraction of a power of ten.
    fn decimal(number: f64) -> Option<Fraction> {
        if !number.is_finite() {
            return None;
        }
        if number.fract() == 0.0 && number.abs() < 9.0e15 {
            return Some(Fraction { n: number as i128, d: 1 });
        }
        // As it is printed: of two shortest notations Rust's own and JavaScript's are not always the same one.
        spelled(ryu_js::Buffer::new().format_finite(number))?.fitting()
    }
}

/// What a decimal notation spells, over a power of ten.
fn spelled(text: &str) -> Option<Fraction> {
    let (mantissa, exponent) = text.split_once(['e', 'E']).unwrap_or((text, "0"));
    let (whole, part) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let (part, exponent) = (part.trim_end_matches('0'), exponent.parse::<i32>().ok()?);
    let n: i128 = format!("{whole}{part}").parse().ok()?;
    let exponent = exponent.checked_sub(i32::try_from(part.len()).ok()?)?;
    let power = 10_i128.checked_pow(exponent.unsigned_abs())?;
    Some(if exponent < 0 { Fraction { n, d: power } } else { Fraction { n: n.checked_mul(power)?, d: 1 } })
}

/// The number that a decimal notation spells, over a power of ten, where making it binary (`value`) changes it and 63 bits
/// hold it: 9007199254740993 is not 9007199254740992.
pub fn written(text: &str, value: f64) -> Option<Score> {
    let found = spelled(text)?;
    let score = Score::new(i64::try_from(found.n).ok()?, i64::try_from(found.d).ok()?)?;
    let same = Fraction::decimal(value).is_some_and(|binary| binary.order(found).is_eq());
    (!same).then_some(score)
}

/// What [`written`] was made from, or the like.
pub(super) fn written_text(score: Score) -> String {
    let (n, d) = (score.numerator().unsigned_abs(), score.denominator().unsigned_abs());
    let sign = if score.numerator() < 0 { "-" } else { "" };
    match d.ilog10() as usize {
        0 => format!("{sign}{n}"),
        decimals => format!("{sign}{}.{:0decimals$}", n / d, n % d),
    }
}

/// A count or a ratio as people read it: digit by digit where a binary number would round digits of it away, or 99.99…9 of
/// 18 digits would read as 100.
pub fn counted_text(score: Score) -> String {
    let (n, d) = (score.numerator(), score.denominator());
    let has_notation = 10_i64.checked_pow(d.ilog10()) == Some(d);
    let exact = Fraction { n: i128::from(n), d: i128::from(d) };
    let changed = || Fraction::decimal(score.value()).is_none_or(|binary| binary.order(exact).is_ne());
    if has_notation && changed() { written_text(score) } else { super::number_text(score.value()) }
}

fn gcd(mut a: i128, mut b: i128) -> i128 {
    while b != 0 {
        (a, b) = (b, a % b);
    }
    a.max(1)
}

fn value(expr: &Expr, known: Known<'_, '_>) -> Option<Fraction> {
    match expr {
        Expr::Number(n) => Fraction::decimal(*n),
        Expr::Exact(score) => Some(Fraction { n: i128::from(score.numerator()), d: i128::from(score.denominator()) }),
        Expr::Text(text) => Fraction::decimal(numeric(text)?),
        Expr::Bool(b) => Some(Fraction { n: i128::from(*b), d: 1 }),
        Expr::Metric(name) => match (known.metric)(name) {
            Exact::Number(n) => Fraction::decimal(n),
            Exact::Score(score) => {
                Some(Fraction { n: i128::from(score.numerator()), d: i128::from(score.denominator()) })
            }
            Exact::Text(text) => Fraction::decimal(numeric(text)?),
            Exact::Missing => None,
        },
        Expr::Unary(UnaryOp::Negate, inner) => Some(value(inner, known)?.minus()),
        Expr::Binary(op, left, right) => {
            let (left, right) = (value(left, known)?, value(right, known)?);
            match op {
                BinaryOp::Add => left.plus(right),
                BinaryOp::Subtract => left.plus(right.minus()),
                BinaryOp::Multiply => left.times(right),
                BinaryOp::Divide => left.over(right),
                BinaryOp::Remainder => left.remainder(right),
                _ => None,
            }
        }
        Expr::Call(Function::Coalesce | Function::If, arguments) => {
            value(arguments.get((known.branch)(arguments)?)?, known)
        }
        Expr::Call(Function::Count, arguments) => Some(Fraction { n: (known.branch)(arguments)? as i128, d: 1 }),
        Expr::Call(function, arguments) => {
            let all: Vec<Fraction> = arguments.iter().map(|a| value(a, known)).collect::<Option<_>>()?;
            let sum = || all.iter().try_fold(Fraction::ZERO, |sum, each| sum.plus(*each));
            match function {
                Function::Sum => sum(),
                Function::Avg => sum()?.over(Fraction { n: all.len() as i128, d: 1 }),
                Function::Min => all.iter().copied().min_by(|a, b| a.order(*b)),
                Function::Max => all.iter().copied().max_by(|a, b| a.order(*b)),
                Function::Abs => all.first().map(|f| Fraction { n: f.n.abs(), d: f.d }),
                Function::Floor => all.first().map(|f| f.floor()),
                Function::Ceil => all.first().map(|f| f.minus().floor().minus()),
                Function::Round => {
                    // Decimals, as [`super::evaluate`] cuts them.
                    let digits = all.get(1).map_or(0, |f| (f.n / f.d).clamp(0, 15) as u32);
                    let scale = Fraction { n: 10_i128.pow(digits), d: 1 };
                    let scaled = all.first()?.times(scale)?;
                    scaled.plus(Fraction { n: 1, d: 2 })?.floor().over(scale)
                }
                _ => None,
            }
        }
        Expr::Null | Expr::Unary(UnaryOp::Not, _) => None,
    }
}

/// The sum of amounts as their decimal notations have it: -0.1 ten times is -1. `None` beyond 63 bits.
pub fn decimal_sum(amounts: impl IntoIterator<Item = f64>) -> Option<f64> {
    let sum = amounts.into_iter().try_fold(Fraction::ZERO, |sum, each| sum.plus(Fraction::decimal(each)?))?;
    Some(sum.n as f64 / sum.d as f64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::expr::parse;

    fn looked_up(known: &[(&str, f64)]) -> impl Fn(&str) -> Operand<'static> {
        |name| known.iter().find(|k| k.0 == name).map_or(Operand::Missing(""), |k| Operand::Number(k.1))
    }

    fn of(objective: &str, known: &[(&str, f64)]) -> Option<String> {
        let objective = parse(objective).unwrap();
        let lookup = looked_up(known);
        score(&objective, &|name| lookup(name)).map(Score::text)
    }

    #[test]
    fn ratios_keep_their_counts() {
        let counts = [("P", 199.0), ("T", 200.0)];
        assert_eq!(of("P / T >= 1", &counts).unwrap(), "199/200");
        assert_eq!(of("P / T * 100 >= 100", &counts).unwrap(), "19900/200");
        assert_eq!(of("100 - P / T * 100 <= 0.5", &counts).unwrap(), "100/200");
        assert_eq!(of("95 <= P * 100 / T", &counts).unwrap(), "19900/200");
        assert_eq!(of("avg(P, T, 0.5) > 1", &counts).unwrap(), "3995/30");
        assert_eq!(of("P / -T < 0", &counts).unwrap(), "-199/200");
    }

    #[test]
    fn what_is_no_ratio_or_has_no_value_has_no_score() {
        let known = [("A", 91.5), ("ZERO", 0.0), ("HUGE", 1e300)];
        for text in
            ["A >= 95", "A - 1 > 3", "A / ZERO > 1", "A / B > 1", "HUGE / A > 1", "exists(A)", "A / 3 > 1 and A > 1"]
        {
            assert_eq!(of(text, &known), None, "{text}");
        }
    }

    #[test]
    fn a_counted_metric_has_one_without_dividing() {
        let objective = parse("RATE >= 100").unwrap();
        let found = score(&objective, &|_| Operand::Counted(Score::new(19900, 200).unwrap())).unwrap();
        assert_eq!(found.text(), "19900/200");
    }

    #[test]
    fn what_stands_in_for_a_ratio_is_none() {
        let known = [("P", 199.0), ("T", 200.0), ("ZERO", 0.0)];
        assert_eq!(of("coalesce(P / T, 1) >= 1", &known).unwrap(), "199/200");
        assert_eq!(of("coalesce(P / ZERO, 1) >= 1", &known), None);
        assert_eq!(of("if(T > 100, P / T, P) >= 1", &known).unwrap(), "199/200");
        assert_eq!(of("if(T > 200, P / T, P) >= 1", &known), None);
        assert_eq!(of("sum(P, T) / count(P, T, NONE) >= 1", &known).unwrap(), "399/2");
    }

    #[test]
    fn large_parts_are_reduced_and_larger_ones_given_up() {
        let known = [("A", 9e15), ("B", 3e15), ("C", 7.0)];
        assert_eq!(of("A / B * (B / C) > 1", &known).unwrap(), "9000000000000000/7");
        assert_eq!(of("A * B * A / C > 1", &known), None);
    }

    fn ordered(left: &str, right: &str, known: &[(&str, f64)]) -> Option<std::cmp::Ordering> {
        let (left, right) = (parse(&format!("{left} > 0")).unwrap(), parse(&format!("{right} > 0")).unwrap());
        let side = |objective: &Objective| match &objective.expr {
            Expr::Binary(_, left, _) => (**left).clone(),
            other => other.clone(),
        };
        let (left, right) = (side(&left), side(&right));
        let lookup = looked_up(known);
        let found: Vec<_> =
            [&left, &right].into_iter().flat_map(|side| decide_branches(side, &|name| lookup(name))).collect();
        let branch = |arguments: &[Expr]| branch(&found, arguments);
        order(&left, &right, Known { metric: &|name| counted(lookup(name)), branch: &branch })
    }

    #[test]
    fn sides_compare_as_what_is_written() {
        use std::cmp::Ordering::{Equal, Greater, Less};
        let known = [("A", 9_999_999_999_999.0), ("B", 10_000_000_000_000.0), ("M", -7.5)];
        for (left, right, order) in [
            ("A / B", "1", Less),
            ("0.1 + 0.2", "0.3", Equal),
            ("1 / 3 * 3", "1", Equal),
            ("1 / 3", "0.333333333333333", Greater),
            ("57 / 100 * 100", "57", Equal),
            ("M % 2", "-1.5", Equal),
            ("7.5 % -2", "1.5", Equal),
            ("floor(M)", "-8", Equal),
            ("ceil(M)", "-7", Equal),
            ("round(M)", "-7", Equal),
            ("round(A / B * 100)", "100", Equal),
            ("round(A / B, 12)", "0.999999999999999", Greater),
            ("round(A / B, 13)", "A / B", Equal),
            ("round(M / 2, 1)", "-3.7", Equal),
            ("coalesce(NONE, A / 0, A / B)", "1", Less),
            ("if(A < B, A, B) / B", "1", Less),
            ("count(A, NONE, B / 0, M) / 3", "0.666666666666666", Greater),
        ] {
            assert_eq!(ordered(left, right, &known), Some(order), "{left} and {right}");
        }
        assert_eq!(ordered("A / 0", "1", &known), None);
        assert_eq!(ordered("A * B * A * B", "1", &known), None);
    }

    #[test]
    fn numbers_that_binary_ones_cannot_hold_are_what_is_written() {
        let of = |text: &str| written(text, text.parse().unwrap()).map(written_text);
        for same in ["9007199254740993", "9223372036854775807", "90071992547409.93123", "1.000000000000000001"] {
            assert_eq!(of(same).as_deref(), Some(same));
        }
        assert_eq!(of("9007199254740993.000e0").as_deref(), Some("9007199254740993"));
        assert_eq!(of("900719925474099.3e1").as_deref(), Some("9007199254740993"));
        for text in
            ["0", "0.1", "95", "99.5", "9007199254740992", "1e300", "1e-300", "0.30000000000000004", "1e22", "1e18"]
        {
            assert_eq!(of(text), None, "{text}");
        }
        // Beyond 63 bits the nearest binary number is what there is.
        assert_eq!(of("99999999999999999999999"), None);
    }

    #[test]
    fn counts_are_shown_as_they_are() {
        let of = |n: i64, d: i64| counted_text(Score::new(n, d).unwrap());
        assert_eq!(of(19900, 200), "99.5");
        assert_eq!(of(50, 100), "0.5");
        assert_eq!(of(2, 3), "0.6666666666666666");
        assert_eq!(of(9_007_199_254_740_993, 1), "9007199254740993");
        assert_eq!(of(999_999_999_999_999_999, 10_000_000_000_000_000), "99.9999999999999999");
    }

    #[test]
    fn sums_are_decimal() {
        assert_eq!(decimal_sum([-0.1; 10]), Some(-1.0));
        assert_eq!(decimal_sum([0.1, 0.2]), Some(0.3));
        assert_eq!(decimal_sum([]), Some(0.0));
        assert_eq!(decimal_sum([1e300]), None);
    }
}
