//! Budgets and burn rates as recording and alert rules for Prometheus.
//!
//! The rules read one series, `probity_budget_slice` of our own `/metrics`: what the last closed window of a guarantee
//! counts for, by scope. So Prometheus judges nothing a second time, and waived, unknown and not applicable windows mean
//! there what they mean here. A group is evaluated once a window; what was not scraped is unknown, for the number of
//! windows there must have been is reckoned from the clock. All figures are whole numbers up to one division at the
//! end, so they are ours to the last bit while the products stay below 2^53.
//!
//! What PromQL cannot say exactly is refused with the reason: periods of the calendar and windows that differ in length.

use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde::Serialize;
use serde_json::{Map, Value, json};

use crate::agreement::Calendar;
use crate::agreement::window_spec::length_of;
use crate::model::agreement::{Agreement, Guarantee, Period, Reach, WindowSpec};
use crate::model::budget::{Budget, BurnAlert, Counts};

/// Whole numbers beyond this are not exact in PromQL.
const EXACT_MAX: u128 = 1 << 53;
const DAY_S: i64 = 86_400;

/// What `/metrics` says of the last closed window, in the order of [`super::judge::slice`].
pub const OUTCOMES: [&str; 7] = ["good", "bad", "waived_bad", "waived_unknown", "judged", "not_applicable", "unknown"];

/// Rules of an agreement, and what could not be made one.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Rules {
    /// As a rule file has them.
    pub groups: Vec<Value>,
    pub refused: Vec<Refused>,
}

/// A budget or alert that has no rules.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Refused {
    pub budget: String,
    /// None for the budget itself.
    pub alert: Option<String>,
    pub reason: String,
}

/// The rules of all budgets of an agreement.
pub fn rules(agreement: &Agreement) -> Rules {
    let mut found = Rules::default();
    for budget in &agreement.budgets {
        let Some(guarantee) = agreement.guarantees.iter().find(|g| g.id == budget.guarantee) else { continue };
        let mut refuse = |alert: Option<&BurnAlert>, reason: String| {
            found.refused.push(Refused { budget: budget.id.clone(), alert: alert.map(|a| a.id.clone()), reason });
        };
        let frame = match Frame::new(agreement, budget, guarantee) {
            Ok(frame) => frame,
            Err(reason) => {
                refuse(None, reason);
                continue;
            }
        };
        let mut rules = vec![frame.slices()];
        match frame.period() {
            Ok(period) => rules.extend(period),
            Err(reason) => refuse(None, reason),
        }
        for alert in &budget.alerts {
            match frame.alert(alert) {
                Ok(alert) => rules.extend(alert),
                Err(reason) => refuse(Some(alert), reason),
            }
        }
        if rules.len() > 1 {
            let name = format!("probity/{}/{}", agreement.id, budget.id);
            found.groups.push(json!({ "name": name, "interval": format!("{}s", frame.every), "rules": rules }));
        }
    }
    found
}

/// What all rules of a budget have in common.
struct Frame<'a> {
    agreement: &'a Agreement,
    budget: &'a Budget,
    /// Seconds from one window of the guarantee to the next.
    every: i64,
    /// Start of its first window, and how many there are until the validity ends, if it does.
    first: i64,
    windows: Option<i64>,
    /// `agreement="…",budget="…"`.
    labels: String,
}

impl<'a> Frame<'a> {
    fn new(agreement: &'a Agreement, budget: &'a Budget, guarantee: &'a Guarantee) -> Result<Frame<'a>, String> {
        let spec = &guarantee.terms.first().ok_or("its guarantee has no terms")?.window;
        let every = fixed(spec, &agreement.time_zone)?;
        let calendar = Calendar::of(agreement, spec);
        let first = calendar
            .next_close_after(agreement.valid_from.max(spec.initial))
            .ok_or("its guarantee has no windows")?
            .as_second()
            - every;
        let end = [agreement.valid_to, spec.end].into_iter().flatten().min();
        // The last window is whole, even if the validity ends within it.
        let windows = end.map(|end| ((end.as_second() - first).max(0) + every - 1) / every);
        let labels = format!("agreement={},budget={}", quoted(&agreement.id), quoted(&budget.id));
        Ok(Frame { agreement, budget, every, first, windows, labels })
    }

    /// Takes one sample of each window. Several instances of Probity say the same.
    fn slices(&self) -> Value {
        let expr =
            format!("max by (agreement, budget, guarantee, scope, outcome) (probity_budget_slice{{{}}})", self.labels);
        json!({ "record": "probity:budget_slice", "expr": expr })
    }

    /// The rules of the budget's rolling period.
    fn period(&self) -> Result<Vec<Value>, String> {
        let window = &self.budget.window;
        let reach = window.reach.ok_or_else(|| {
            format!(
                "its period is of the calendar ({}), and PromQL looks back over lengths of time only",
                window.period_name
            )
        })?;
        let over = self.seconds(reach)?;
        if window.initial.as_second() >= self.first + self.every {
            return Err("its periods start later than the windows of its guarantee".into());
        }
        if window.end.is_some() {
            return Err("its periods end before the validity, and rules go on".into());
        }
        self.exact(over, 1)?;
        let of = Counted { frame: self, over };
        let (b, rest) = (self.budget.target.denominator(), self.budget.target.rest());
        let (bad, seen, unknown) = (of.sum("bad"), of.sum(SEEN), of.unknown());
        let mut found = of.rules();
        let mut record = |name: &str, expr: String| {
            found.push(json!({ "record": name, "expr": expr, "labels": { "over": of.text() } }));
        };
        let (least, most) = of.bounds(b, rest);
        record("probity:budget_used", format!("({bad} * {b}) / ({seen} * {rest} > 0)"));
        record("probity:budget_used_least", least);
        record("probity:budget_used_most", most);
        record("probity:budget_remaining", format!("({seen} * {rest} - {bad} * {b}) / ({seen} * {rest} > 0)"));
        let kept = match self.budget.counts {
            Counts::Windows => format!("(({bad} + {unknown}) * {b} <= ({seen} + {unknown}) * {rest} and {seen} > 0)"),
            Counts::Events { .. } => format!("({bad} * {b} <= {seen} * {rest} and {seen} > 0 and {unknown} == 0)"),
        };
        let broken = self.exceeds(&of, b, rest);
        record("probity:budget_kept", format!("({kept} >= bool 0) or ({broken} < bool 0)"));
        Ok(found)
    }

    /// What a Boolean of the least figure over the limit `p/q` of bad to all is: `bad * q > population * p`.
    fn exceeds(&self, of: &Counted<'_>, q: u64, p: u64) -> String {
        let (bad, seen, unknown) = (of.sum("bad"), of.sum(SEEN), of.unknown());
        match self.budget.counts {
            Counts::Windows => format!("({bad} * {q} > ({seen} + {unknown}) * {p})"),
            Counts::Events { .. } => format!("({bad} * {q} > {seen} * {p} and {unknown} == 0)"),
        }
    }

    /// The rates of an alert, and the alert.
    fn alert(&self, alert: &BurnAlert) -> Result<Vec<Value>, String> {
        let (long, short) = (self.seconds(alert.long)?, self.seconds(alert.short)?);
        // The limit as a share of bad ones: the rate times what may be bad.
        let target = self.budget.target;
        let (p, q) = (
            u128::from(alert.above.numerator) * u128::from(target.rest()),
            u128::from(alert.above.denominator) * u128::from(target.denominator()),
        );
        let divisor = gcd(p, q).max(1);
        let limits = (u64::try_from(p / divisor), u64::try_from(q / divisor));
        let (Ok(p), Ok(q)) = limits else { return Err(too_great()) };
        self.exact(long, u128::from(p.max(q)))?;
        let (b, rest) = (target.denominator(), target.rest());
        let mut found = Vec::new();
        let mut fires = Vec::new();
        let [of_long, of_short] = [long, short].map(|over| Counted { frame: self, over });
        for (of, name) in [(&of_long, "long"), (&of_short, "short")] {
            found.extend(of.rules());
            let labels = json!({ "alert": alert.id, "over": of.text() });
            let (bad, seen) = (of.sum("bad"), of.sum(SEEN));
            let rate = format!("({bad} * {b}) / ({seen} * {rest} > 0)");
            found.push(json!({ "record": format!("probity:burn_rate_{name}"), "expr": rate, "labels": labels }));
            fires.push(self.exceeds(of, q, p));
        }
        let expr =
            format!("{} and ignoring (over) {} and {} >= {}", fires[0], fires[1], of_long.sum(SEEN), alert.minimum);
        let mut labels = Map::new();
        labels.insert("alert_id".into(), json!(alert.id));
        labels.insert("severity".into(), json!(alert.severity));
        let summary = format!(
            "{}: the error budget {} is used up more than {} times too fast in {{{{ $labels.scope }}}}",
            self.agreement.id,
            self.budget.id,
            decimal(alert)
        );
        let description =
            format!("over {} and over {}, at a target of {}", alert.long_text, alert.short_text, target.text());
        found.push(json!({
            "alert": "ProbityErrorBudgetBurn", "expr": expr, "labels": labels,
            "annotations": { "summary": summary, "description": description },
        }));
        Ok(found)
    }

    /// A length as seconds, if it is always the same and whole windows.
    fn seconds(&self, reach: Reach) -> Result<i64, String> {
        if reach.months != 0 {
            return Err("months differ in length; PromQL looks back over lengths of time only".into());
        }
        if reach.days != 0 && !is_fixed(&self.agreement.time_zone) {
            return Err(format!(
                "days in {} are not always 24 hours long; write the length in hours",
                self.agreement.time_zone_name
            ));
        }
        let seconds = i64::from(reach.days) * DAY_S + reach.seconds;
        if seconds % self.every != 0 {
            return Err(format!("{seconds} seconds are no whole number of windows of {} seconds", self.every));
        }
        Ok(seconds)
    }

    /// That no product of counts over this time comes to a number that is not exact. Of events nobody can say.
    fn exact(&self, over: i64, factor: u128) -> Result<(), String> {
        let target = self.budget.target;
        let factor = factor.max(u128::from(target.denominator()));
        let windows = u128::try_from(over / self.every).unwrap_or(u128::MAX);
        if windows.saturating_mul(factor) < EXACT_MAX { Ok(()) } else { Err(too_great()) }
    }

    /// How many windows have ended between `over` seconds ago and now, as a scalar.
    fn ended(&self, over: i64) -> String {
        let until = |back: i64| {
            let number = format!("floor(vector((time() - {}) / {}))", self.first + back, self.every);
            match self.windows {
                Some(windows) => format!("scalar(clamp({number}, 0, {windows}))"),
                None => format!("scalar(clamp_min({number}, 0))"),
            }
        };
        format!("({} - {})", until(0), until(over))
    }
}

/// What counts as seen.
const SEEN: &str = "good|bad|waived_bad|waived_unknown";

/// What was counted over a length of time, in seconds.
struct Counted<'f> {
    frame: &'f Frame<'f>,
    over: i64,
}

impl Counted<'_> {
    fn text(&self) -> String {
        format!("{}s", self.over)
    }

    /// The sums that the others read.
    fn rules(&self) -> Vec<Value> {
        // A second less, so that exactly the windows that end within are counted, whether or not the start belongs to
        // a range, which Prometheus 2 and 3 see differently.
        let sums = format!("sum_over_time(probity:budget_slice{{{}}}[{}s])", self.frame.labels, self.over - 1);
        let known = self.sum(match self.frame.budget.counts {
            Counts::Windows => "judged|waived_unknown|not_applicable",
            Counts::Events { .. } => "judged|not_applicable",
        });
        let unknown = format!("{} - {known}", self.frame.ended(self.over));
        let labels = json!({ "over": self.text() });
        vec![
            json!({ "record": "probity:budget_count", "expr": sums, "labels": labels }),
            json!({ "record": "probity:budget_unknown", "expr": unknown, "labels": labels }),
        ]
    }

    /// The sum of these outcomes.
    fn sum(&self, outcomes: &str) -> String {
        let labels = format!("{},over=\"{}\"", self.frame.labels, self.text());
        format!("sum without (outcome) (probity:budget_count{{{labels},outcome=~\"{outcomes}\"}})")
    }

    fn unknown(&self) -> String {
        format!("probity:budget_unknown{{{},over=\"{}\"}}", self.frame.labels, self.text())
    }

    /// What is used up at least and at most.
    fn bounds(&self, b: u64, rest: u64) -> (String, String) {
        let (bad, seen, unknown) = (self.sum("bad"), self.sum(SEEN), self.unknown());
        if matches!(self.frame.budget.counts, Counts::Windows) {
            let all = format!("(({seen} + {unknown}) * {rest} > 0)");
            return (format!("({bad} * {b}) / {all}"), format!("(({bad} + {unknown}) * {b}) / {all}"));
        }
        let exact = format!("(({bad} * {b}) / ({seen} * {rest} > 0) and {unknown} == 0)");
        (format!("{exact} or ({unknown} > 0) * 0"), exact)
    }
}

/// Seconds of every window of this specification.
fn fixed(spec: &WindowSpec, zone: &TimeZone) -> Result<i64, String> {
    if spec.business.is_some() {
        return Err("the windows of its guarantee follow a business calendar; they differ in length".into());
    }
    let length = length_of(spec.period).filter(|length| length.months == 0 && spec.period != Period::Rules);
    let Some(length) = length else {
        return Err(format!("the windows of its guarantee ({}) differ in length", spec.period_name));
    };
    if length.days != 0 && !is_fixed(zone) {
        return Err("the days of its guarantee are not always 24 hours long in the agreement's zone".into());
    }
    Ok(i64::from(length.days) * DAY_S + length.seconds)
}

/// A zone whose clocks never change.
fn is_fixed(zone: &TimeZone) -> bool {
    zone.following(Timestamp::MIN).next().is_none()
}

fn too_great() -> String {
    "its numbers are too great to be exact in PromQL; write the target or rate with fewer digits".into()
}

/// A label's value.
fn quoted(text: &str) -> String {
    Value::from(text).to_string()
}

fn decimal(alert: &BurnAlert) -> String {
    let value = alert.above.numerator as f64 / alert.above.denominator as f64;
    crate::model::value::number_to_string(value).to_string()
}

fn gcd(mut a: u128, mut b: u128) -> u128 {
    while b != 0 {
        (a, b) = (b, a % b);
    }
    a
}
