//! One schedule: when it fires next, when it fired last, and which firings were missed.

use std::sync::Arc;

use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use serde::Serialize;

use super::punctuality::Punctuality;
use crate::agreement::Calendar;
use crate::cron::Cron;
use crate::model::agreement::{Agreement, CatchUp};
use crate::model::flow::NodeIndex;
use crate::runtime::Deployed;

/// Missed firings made up for with `catchUp: all`.
const CATCH_UP_MAX: usize = 1_000;
/// Missed firings that are counted.
const COUNTED_MAX: usize = 10_000;
/// How far back the latest firing of a cron pattern is looked for, step by step: 29 February comes every eighth year at
/// the least.
const LOOK_BACK_HOURS: [i64; 5] = [1, 24, 24 * 31, 24 * 366, 24 * 366 * 8];

/// One schedule, for lists.
#[derive(Clone, Debug, Serialize)]
pub struct ScheduleView {
    pub id: String,
    /// `windows` (fires when one closes), `cron` or `flow`.
    pub kind: &'static str,
    /// Agreement or node id.
    pub subject: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cron: Option<String>,
    pub time_zone: String,
    pub catch_up: CatchUp,
    pub next_due: Option<Timestamp>,
    /// What this process saw of its firings.
    #[serde(flatten)]
    pub punctuality: Punctuality,
}

/// Something that fires.
pub(super) struct Schedule {
    pub(super) id: String,
    pub(super) subject: Subject,
    pub(super) catch_up: CatchUp,
    /// What came due up to this instant is not fired live: it is caught up, or skipped.
    pub(super) since: Timestamp,
}

pub(super) enum Subject {
    /// Fires when a window of any term closes, or the period of a budget.
    Windows(Arc<Agreement>),
    /// Fires by `context.x-probity.schedule`.
    Cron { agreement: Arc<Agreement>, cron: Cron, zone: TimeZone },
    /// A schedule node.
    Flow { deployed: Arc<Deployed>, node: NodeIndex, cron: Cron, zone: TimeZone },
}

pub(super) fn of_agreement(agreement: &Arc<Agreement>, since: Timestamp, problems: &mut Vec<String>) -> Schedule {
    let id = format!("agreement/{}", agreement.id);
    let windows =
        || Schedule { id: id.clone(), subject: Subject::Windows(agreement.clone()), catch_up: CatchUp::Last, since };
    let Some(own) = &agreement.schedule else { return windows() };
    let at = format!("agreement \"{}\": $.context.x-probity.schedule", agreement.id);
    let zone = match &own.time_zone {
        None => Ok(agreement.time_zone.clone()),
        Some(name) => TimeZone::get(name).map_err(|e| e.to_string()),
    };
    match (Cron::parse(&own.cron), zone) {
        (Ok(cron), Ok(zone)) => Schedule {
            id,
            subject: Subject::Cron { agreement: agreement.clone(), cron, zone },
            catch_up: own.catch_up,
            since,
        },
        (Err(error), _) => {
            problems.push(format!("{at}.cron: {error}; the agreement is evaluated when its windows close"));
            windows()
        }
        (_, Err(error)) => {
            problems.push(format!("{at}.timeZone: {error}; the agreement is evaluated when its windows close"));
            windows()
        }
    }
}

impl Schedule {
    pub(super) fn next_after(&self, after: Timestamp) -> Option<Timestamp> {
        match &self.subject {
            Subject::Windows(agreement) => closing(agreement).filter_map(|c| c.next_close_after(after)).min(),
            Subject::Cron { cron, zone, .. } | Subject::Flow { cron, zone, .. } => cron.next_after(after, zone),
        }
    }

    /// Firings that should have been between the last claim and now, by the catch-up policy. An agreement that was
    /// never evaluated is caught up with its last closed windows, so that its verdicts show at once.
    pub(super) fn missed(&self, last: Option<Timestamp>, now: Timestamp) -> Vec<Timestamp> {
        let is_flow = matches!(self.subject, Subject::Flow { .. });
        let Some(last) = last else {
            return if is_flow { Vec::new() } else { self.latest_before(now).into_iter().collect() };
        };
        match self.catch_up {
            CatchUp::Skip => Vec::new(),
            CatchUp::Last => self.latest_before(now).filter(|at| *at > last).into_iter().collect(),
            CatchUp::All => {
                let missed = self.between(last, now);
                if missed.len() >= CATCH_UP_MAX {
                    tracing::warn!(schedule = %self.id,
                        "{CATCH_UP_MAX} missed firings and more; the older ones are made up for");
                }
                missed
            }
        }
    }

    /// The latest firing at or before `now`.
    pub(super) fn latest_before(&self, now: Timestamp) -> Option<Timestamp> {
        match &self.subject {
            Subject::Windows(agreement) => closing(agreement).flat_map(|c| c.last_closed(now, 1)).map(|w| w.to).max(),
            Subject::Cron { cron, zone, .. } | Subject::Flow { cron, zone, .. } => {
                // Cron only looks forward: look from ever further back until something is found.
                LOOK_BACK_HOURS.iter().find_map(|hours| {
                    let from = now.saturating_sub(SignedDuration::from_hours(*hours)).ok()?;
                    let firings = std::iter::successors(Some(from), |at| cron.next_after(*at, zone));
                    firings.skip(1).take_while(|at| *at <= now).last()
                })
            }
        }
    }

    pub(super) fn is_windows(&self) -> bool {
        matches!(self.subject, Subject::Windows(_))
    }

    /// All due times after `after`, up to `now`; the oldest ones of very many.
    pub(super) fn between(&self, after: Timestamp, now: Timestamp) -> Vec<Timestamp> {
        let next = |at: &Timestamp| self.next_after(*at).filter(|at| *at <= now);
        std::iter::successors(next(&after), next).take(CATCH_UP_MAX).collect()
    }

    /// How many due times there are after `after`, up to `now`; counted no further than [`COUNTED_MAX`].
    pub(super) fn count_between(&self, after: Timestamp, now: Timestamp) -> u64 {
        let next = |at: &Timestamp| self.next_after(*at).filter(|at| *at <= now);
        std::iter::successors(next(&after), next).take(COUNTED_MAX).count() as u64
    }

    pub(super) fn view(&self, now: Timestamp, punctuality: Punctuality) -> ScheduleView {
        let (kind, subject, cron, zone) = match &self.subject {
            Subject::Windows(a) => ("windows", a.id.clone(), None, a.time_zone_name.clone()),
            Subject::Cron { agreement, cron, zone } => {
                ("cron", agreement.id.clone(), Some(cron.to_string()), zone_name(zone))
            }
            Subject::Flow { deployed, node, cron, zone } => {
                let node = deployed.plan.nodes[*node as usize].id.to_string();
                ("flow", node, Some(cron.to_string()), zone_name(zone))
            }
        };
        ScheduleView {
            id: self.id.clone(),
            kind,
            subject,
            cron,
            time_zone: zone,
            catch_up: self.catch_up,
            next_due: self.next_after(now),
            punctuality,
        }
    }
}

/// Of the windows that are judged.
pub(super) fn calendars(agreement: &Agreement) -> impl Iterator<Item = Calendar<'_>> {
    agreement.guarantees.iter().flat_map(|g| &g.terms).map(|t| Calendar::of(agreement, &t.window))
}

/// Those, and of the periods of budgets, which may end when no window does.
fn closing(agreement: &Agreement) -> impl Iterator<Item = Calendar<'_>> {
    calendars(agreement).chain(agreement.budgets.iter().map(|b| Calendar::of(agreement, &b.window)))
}

fn zone_name(zone: &TimeZone) -> String {
    zone.iana_name().unwrap_or("UTC").to_string()
}
