//! A Governify/iAgree v6 agreement, parsed: what `agreement::load` makes of the document.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use jiff::Timestamp;
use jiff::civil::{Date, Time};
use jiff::tz::TimeZone;

use super::budget::{Budget, DENOMINATOR_MAX};
use super::objective::Objective;
use super::state::{Coverage, Scope};
use super::waiver::Waiver;

/// An agreement ready to evaluate. The document itself stays in `document`, verbatim.
#[derive(Clone, Debug)]
pub struct Agreement {
    pub id: String,
    /// The document's own `version` text.
    pub version: String,
    /// SHA-256 of the canonical document, hex.
    pub hash: String,
    /// Where it was loaded from: file path or URL.
    pub source: String,
    pub time_zone: TimeZone,
    pub time_zone_name: String,
    /// Start of validity; windows before it are not evaluated.
    pub valid_from: Timestamp,
    /// End of validity, exclusive.
    pub valid_to: Option<Timestamp>,
    pub metrics: BTreeMap<String, Metric>,
    pub guarantees: Vec<Guarantee>,
    pub schedule: Option<ScheduleOverride>,
    /// Those of the document; more may be stored.
    pub waivers: Vec<Waiver>,
    /// `terms.pricing.billing`.
    pub billing: Option<Billing>,
    /// `context["x-probity"].budgets`.
    pub budgets: Vec<Budget>,
    pub document: serde_json::Value,
}

/// `context.x-probity.schedule`.
#[derive(Clone, Debug, PartialEq)]
pub struct ScheduleOverride {
    pub cron: String,
    /// IANA name; the agreement's zone when absent.
    pub time_zone: Option<String>,
    pub catch_up: CatchUp,
}

/// What happens to firings missed while nobody ran.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum CatchUp {
    Skip,
    #[default]
    Last,
    All,
}

#[derive(Clone, Debug)]
pub struct Metric {
    pub id: String,
    pub collector: Collector,
    /// The collector's own query, sent to it with `scope` and `window` filled in.
    pub measure: serde_json::Map<String, serde_json::Value>,
}

/// Where the samples of a metric come from.
#[derive(Clone, Debug, PartialEq)]
pub enum Collector {
    /// A flow of ours, by the URL of its `http in` or the name of its `metric` node (`type: "PROBITY-FLOW-V1"`).
    Flow { entry: FlowEntry, config: serde_json::Value },
    /// Governify's protocol: POST a computation, poll until 200 (`type` starting `POST-GET-V1`).
    PostGet {
        /// Dotted key of the configured services, or a base URL.
        infrastructure_path: String,
        endpoint: String,
        config: serde_json::Value,
        /// It is status-backend: its values are percentages rounded to whole ones.
        rounds: bool,
    },
    /// A protocol that documents may name and nobody here speaks: a `computer` of iAgree v2 to v5, `PPINOT-V1`. Its
    /// metric never has a value, for this reason.
    Unsupported { reason: String },
}

#[derive(Clone, Debug, PartialEq)]
pub enum FlowEntry {
    Http { path: String },
    Metric { name: String },
}

#[derive(Clone, Debug)]
pub struct Guarantee {
    pub id: String,
    pub description: String,
    /// Dimension → default member (`None`: no default).
    pub scope: BTreeMap<String, Option<String>>,
    pub terms: Vec<Term>,
}

/// One entry of a guarantee's `of`.
#[derive(Clone, Debug)]
pub struct Term {
    /// Effective scope: the guarantee's dimensions, the term's members, then defaults.
    pub scope: Scope,
    pub objective: Objective,
    /// Metrics of the term in order, with their parameters.
    pub with: Vec<(String, serde_json::Map<String, serde_json::Value>)>,
    pub window: WindowSpec,
    /// How much of its population a metric must have seen for its value to count; any part will do when absent.
    pub min_coverage: Option<MinCoverage>,
    /// Owed when the objective is not met.
    pub penalties: Vec<Compensation>,
    /// Earned when it is.
    pub rewards: Vec<Compensation>,
}

/// The least share of a population that must have been seen: an exact fraction from none to all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MinCoverage {
    numerator: u64,
    denominator: u64,
}

impl MinCoverage {
    /// `None` unless it lies from none to all, with a denominator of at most [`DENOMINATOR_MAX`].
    pub fn new(numerator: u64, denominator: u64) -> Option<MinCoverage> {
        let lies = denominator > 0 && numerator <= denominator && denominator <= DENOMINATOR_MAX;
        lies.then_some(MinCoverage { numerator, denominator })
    }

    /// Whether enough was seen. Of an empty population nothing need be.
    pub fn is_met_by(self, coverage: Coverage) -> bool {
        let seen = u128::from(coverage.seen) * u128::from(self.denominator);
        seen >= u128::from(self.numerator) * u128::from(coverage.expected)
    }

    /// `90%`, or `2/3` where per cent would not be exact.
    pub fn text(self) -> String {
        let hundredths = u128::from(self.numerator) * 10_000;
        let of = u128::from(self.denominator);
        match (hundredths / of, hundredths % of) {
            (n, 0) if n % 100 == 0 => format!("{}%", n / 100),
            (n, 0) if n % 10 == 0 => format!("{}.{}%", n / 100, n % 100 / 10),
            (n, 0) => format!("{}.{:02}%", n / 100, n % 100),
            _ => format!("{}/{}", self.numerator, self.denominator),
        }
    }
}

/// A penalty or reward: the value of the first case whose condition is true, else zero.
#[derive(Clone, Debug, PartialEq)]
pub struct Compensation {
    /// Its name: the key of `over`.
    pub over: String,
    /// The schema's `unit`, such as `%`.
    pub unit: Option<String>,
    pub cases: Vec<Case>,
}

/// One entry of a penalty's or reward's `of`.
#[derive(Clone, Debug, PartialEq)]
pub struct Case {
    pub condition: Objective,
    /// A number, or what computes one.
    pub value: Objective,
}

/// How penalties are summed up for a bill: `terms.pricing.billing`.
#[derive(Clone, Debug, PartialEq)]
pub struct Billing {
    pub window: WindowSpec,
    pub penalties: Vec<BillingPenalty>,
}

/// The sum of a name's penalties over a billing period, for each member of the dimensions it is grouped by.
#[derive(Clone, Debug, PartialEq)]
pub struct BillingPenalty {
    pub over: String,
    pub unit: Option<String>,
    /// Dimensions; a scope that lacks one stands in a group without it.
    pub group_by: Vec<String>,
    /// The sum goes no further from zero than this, on this side of zero.
    pub up_to: Option<f64>,
}

/// The windows of a term. What cuts time is [`period`](Self::period); the optional fields change what each piece is.
#[derive(Clone, Debug, PartialEq)]
pub struct WindowSpec {
    /// How time is cut. With [`reach`](Self::reach), the step between two windows.
    pub period: Period,
    /// First boundary; windows are counted from here. A period that starts on days of its own (ISO weeks, fiscal
    /// years) starts on the last such day before it.
    pub initial: Timestamp,
    pub end: Option<Timestamp>,
    /// The document's `window.type`, passed on to collectors.
    pub kind: String,
    /// The document's `window.period` text, passed on to collectors.
    pub period_name: String,
    /// Month a fiscal year starts with, 1 to 12.
    pub fiscal_month: i8,
    /// How far back a rolling window reaches from the end of its step; `None` for windows that follow each other.
    pub reach: Option<Reach>,
    /// The hours that count: a window is what a calendar leaves of its piece of time.
    pub business: Option<Arc<BusinessCalendar>>,
    /// The windows of [`Period::Rules`]: `[from, to)` in order, without overlap.
    pub listed: Arc<[(Timestamp, Timestamp)]>,
}

impl WindowSpec {
    /// Windows that follow each other from `initial` on, without end.
    pub fn counted(period: Period, period_name: &str, initial: Timestamp) -> WindowSpec {
        WindowSpec {
            period,
            initial,
            end: None,
            kind: "static".into(),
            period_name: period_name.into(),
            fiscal_month: 1,
            reach: None,
            business: None,
            listed: Arc::from([]),
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Period {
    /// 300 seconds, whatever the clock on the wall does.
    FiveMinutes,
    /// 3600 seconds, whatever the clock on the wall does.
    Hourly,
    Daily,
    Weekly,
    /// Weeks of ISO 8601: from Monday.
    IsoWeekly,
    Biweekly,
    Monthly,
    Bimonthly,
    Quarterly,
    /// Quarters of the fiscal year.
    FiscalQuarterly,
    Yearly,
    /// Years of ISO 8601: 52 or 53 weeks, from the Monday of the week with the first Thursday.
    IsoYearly,
    /// From the first day of [`WindowSpec::fiscal_month`].
    FiscalYearly,
    /// The windows are listed: a document's recurrence rules, followed when it was loaded.
    Rules,
}

/// A length of civil time: months first, then days, then seconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Reach {
    pub months: i32,
    pub days: i32,
    pub seconds: i64,
}

/// Which hours of which days count.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BusinessCalendar {
    pub name: String,
    /// Monday first: opening and closing time of a day that counts. No closing time means midnight.
    pub days: [Option<(Time, Option<Time>)>; 7],
    pub holidays: BTreeSet<Date>,
}
