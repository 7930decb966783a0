//! A range asked as one, cut into the periods that its collectors answered for.
//!
//! A Governify collector cuts the range it is given into windows of its own; each of them is judged by itself.

use std::collections::{BTreeMap, HashMap};

use jiff::Timestamp;

use super::elsewhere;
use super::queries::{Judgement, Plan, Query};
use crate::model::state::{Sample, Window};

/// What was collected for each query, or why nothing was.
pub type Answers = Vec<Result<Vec<Sample>, String>>;

/// The same plan with each judgement of a range replaced by one for every period within it that some metric's
/// samples are of, in order of time. Where no sample lies within the range the judgement stays: its verdict says so.
/// A member that was answered about outside of the range only is without value in every period.
/// Linear in the samples, but for sorting the periods and members.
pub fn by_period(plan: Plan, answers: Answers) -> (Plan, Answers) {
    let mut answers = answers.into_iter();
    let mut answer = || answers.next().unwrap_or_else(|| Err("it was not collected".into()));
    let mut found: Vec<Found> = plan.queries.iter().map(|query| Found::of(query, answer())).collect();
    let mut out = Plan::default();
    let mut out_answers = Answers::new();
    let mut places: HashMap<(usize, Timestamp, Timestamp), usize> = HashMap::new();
    for judgement in plan.judgements {
        let (windows, whole) = periods(&judgement, &found);
        for (bounds, window) in windows {
            let queries = judgement.queries.iter().map(|&query| {
                *places.entry((query, bounds.0, bounds.1)).or_insert_with(|| {
                    out.queries.push(Query { window: window.clone(), ..plan.queries[query].clone() });
                    out_answers.push(found[query].take(&window, whole));
                    out.queries.len() - 1
                })
            });
            let queries = queries.collect();
            out.judgements.push(Judgement { window, queries, ..judgement });
        }
    }
    (out, out_answers)
}

type Windows = BTreeMap<(Timestamp, Timestamp), Window>;

/// The periods within a judgement's range that its samples are of; the range itself, and true, when there is none.
fn periods(judgement: &Judgement, found: &[Found]) -> (Windows, bool) {
    let range = &judgement.window;
    let all = judgement.queries.iter().flat_map(|query| found[*query].windows.iter().filter(|w| within(range, w)));
    let windows: Windows = all.map(|window| ((window.from, window.to), window.clone())).collect();
    if windows.is_empty() { ([((range.from, range.to), range.clone())].into(), true) } else { (windows, false) }
}

pub(super) fn within(range: &Window, period: &Window) -> bool {
    period.from < period.to && period.from >= range.from && period.to <= range.to
}

/// One answer by period.
struct Found {
    failed: Option<String>,
    windows: Vec<Window>,
    periods: HashMap<(Timestamp, Timestamp), Vec<Sample>>,
    /// Of each member that was answered about outside of the range only, a sample without value.
    outside: Vec<Sample>,
}

impl Found {
    fn of(query: &Query, answer: Result<Vec<Sample>, String>) -> Found {
        let mut found = Found { failed: None, windows: Vec::new(), periods: HashMap::new(), outside: Vec::new() };
        match answer {
            Err(reason) => found.failed = Some(reason),
            Ok(samples) => {
                let range = &query.window;
                let outside = elsewhere::members(query, &samples, |window| within(range, window));
                found.outside = outside.into_iter().map(|other| elsewhere::without_value(other, range)).collect();
                for sample in samples {
                    let of_period = found.periods.entry((sample.window.from, sample.window.to)).or_default();
                    if of_period.is_empty() {
                        found.windows.push(sample.window.clone());
                    }
                    of_period.push(sample);
                }
            }
        }
        found
    }

    /// The samples of a period, which is asked for once; for a `whole` range that nothing was of all there are, for
    /// they say what came instead.
    fn take(&mut self, period: &Window, whole: bool) -> Result<Vec<Sample>, String> {
        match &self.failed {
            Some(reason) => Err(reason.clone()),
            None if whole => {
                let windows = self.windows.iter().map(|w| (w.from, w.to));
                Ok(windows.flat_map(|period| self.periods.get(&period).cloned().unwrap_or_default()).collect())
            }
            None => {
                let mut samples = self.periods.remove(&(period.from, period.to)).unwrap_or_default();
                samples.extend(self.outside.iter().map(|s| Sample { window: period.clone(), ..s.clone() }));
                Ok(samples)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::agreement::queries::plan_windows;
    use crate::agreement::windows::local;
    use crate::model::agreement::Agreement;
    use crate::model::state::{SampleValue, Scope};

    fn agreement() -> Agreement {
        let text = "{id: a, type: agreement, context: {validity: {initial: 2026-01-01, timeZone: UTC}}, terms: {\
                    metrics: {M: {collector: {type: PROBITY-FLOW-V1, metric: m}}, \
                    N: {collector: {type: PROBITY-FLOW-V1, metric: n}}}, guarantees: [{id: G, scope: {}, of: [\
                    {objective: M > N, with: {M: {}, N: {}}, window: {type: static, period: daily}}]}]}}";
        let (agreement, problems) = crate::agreement::load(text, "a.yaml");
        agreement.unwrap_or_else(|| panic!("{problems:?}"))
    }

    fn window(from: &str, to: &str) -> Window {
        let (from, to): (Timestamp, Timestamp) = (from.parse().unwrap(), to.parse().unwrap());
        let zone = jiff::tz::TimeZone::UTC;
        Window { from, to, from_local: local(from, &zone), to_local: local(to, &zone) }
    }

    fn sample(metric: &str, window: &Window) -> Sample {
        Sample {
            metric: metric.into(),
            scope: Default::default(),
            window: window.clone(),
            value: SampleValue::Number(1.0),
            evidence: Vec::new(),
            coverage: None,
            score: None,
            run: None,
        }
    }

    fn day(n: u8) -> Window {
        window(&format!("2026-01-0{n}T00:00:00Z"), &format!("2026-01-0{}T00:00:00Z", n + 1))
    }

    fn cut(m: Result<Vec<Sample>, String>, n: Result<Vec<Sample>, String>) -> (Plan, Answers) {
        let range = window("2026-01-01T00:00:00Z", "2026-01-03T00:00:00Z");
        let plan = plan_windows(&agreement(), None, |_| Ok::<_, ()>(vec![range.clone()])).unwrap();
        by_period(plan, vec![m, n])
    }

    #[test]
    fn each_period_is_judged_by_its_own_samples() {
        let (plan, answers) = cut(
            Ok(vec![sample("M", &day(2)), sample("M", &day(1)), sample("M", &day(1))]),
            Ok(vec![sample("N", &day(2))]),
        );
        let windows: Vec<Window> = plan.judgements.iter().map(|j| j.window.clone()).collect();
        assert_eq!(windows, [day(1), day(2)]);
        let counts = |j: &Judgement| j.queries.iter().map(|q| answers[*q].as_ref().unwrap().len()).collect::<Vec<_>>();
        assert_eq!(plan.judgements.iter().map(counts).collect::<Vec<_>>(), [vec![2, 0], vec![1, 1]]);
        assert!(plan.judgements.iter().all(|j| j.queries.iter().all(|q| plan.queries[*q].window == j.window)));
    }

    #[test]
    fn a_member_of_another_time_only_is_without_value_in_every_period() {
        let text = "{id: a, type: agreement, context: {validity: {initial: 2026-01-01, timeZone: UTC}}, terms: {\
                    metrics: {M: {collector: {type: PROBITY-FLOW-V1, metric: m}}}, guarantees: [{id: G, \
                    scope: {team: {default: '*'}}, of: [{objective: M > 0, with: {M: {}}, \
                    window: {type: static, period: daily}}]}]}}";
        let (agreement, problems) = crate::agreement::load(text, "a.yaml");
        let agreement = agreement.unwrap_or_else(|| panic!("{problems:?}"));
        let range = window("2026-01-01T00:00:00Z", "2026-01-03T00:00:00Z");
        let plan = plan_windows(&agreement, None, |_| Ok::<_, ()>(vec![range.clone()])).unwrap();
        let of = |member: &str, day: &Window| Sample {
            scope: Scope([("team".to_owned(), member.to_owned())].into()),
            ..sample("M", day)
        };
        // blue is of both days; red of the first, which is in the range; green of another time.
        let samples = vec![
            of("blue", &day(1)),
            of("blue", &day(2)),
            of("red", &day(1)),
            of("green", &day(7)),
            of("green", &day(6)),
        ];
        let (plan, answers) = by_period(plan, vec![Ok(samples)]);
        let members = |j: &Judgement| -> Vec<String> {
            let found = answers[j.queries[0]].as_ref().unwrap();
            found.iter().map(|s| s.scope.0["team"].clone()).collect()
        };
        assert_eq!(
            plan.judgements.iter().map(members).collect::<Vec<_>>(),
            [vec!["blue", "red", "green"], vec!["blue", "green"]]
        );
        for (judgement, day) in plan.judgements.iter().zip([day(1), day(2)]) {
            let green = answers[judgement.queries[0]].as_ref().unwrap().last().unwrap();
            assert_eq!(green.window, day);
            let SampleValue::Missing { missing } = &green.value else { panic!("{:?}", green.value) };
            assert!(missing.contains("for the period 2026-01-06T00:00:00+00:00"), "{missing}");
        }
    }

    #[test]
    fn a_failed_source_fails_every_period_of_the_others() {
        let (plan, answers) = cut(Ok(vec![sample("M", &day(1)), sample("M", &day(2))]), Err("away".into()));
        assert_eq!(plan.judgements.len(), 2);
        assert_eq!(answers.iter().filter(|a| a.is_err()).count(), 2);
    }

    #[test]
    fn without_a_period_in_the_range_the_range_itself_is_judged() {
        let range = window("2026-01-01T00:00:00Z", "2026-01-03T00:00:00Z");
        for m in [Ok(vec![]), Err("away".into()), Ok(vec![sample("M", &day(7))])] {
            let (plan, answers) = cut(m, Ok(vec![]));
            assert_eq!(plan.judgements.iter().map(|j| &j.window).collect::<Vec<_>>(), [&range]);
            assert_eq!(answers.len(), 2);
        }
    }
}
