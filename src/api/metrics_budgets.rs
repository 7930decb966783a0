//! Budgets on `/metrics`: what is left of each, how fast it goes, and what the last closed window counted for, which the
//! rules of [`crate::agreement::budgets::rules`] read.
//!
//! All of it is read from the store when somebody asks, so every instance says the same, also after a restart. Only
//! agreements with budgets have such series: one for each budget, alert and scope, and outcome.

use std::collections::HashSet;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

use super::Api;
use crate::agreement::Calendar;
use crate::agreement::budgets::judge::slice;
use crate::agreement::budgets::rules::OUTCOMES;
use crate::model::agreement::Agreement;
use crate::model::budget::{Budget, Figures};
use crate::model::state::{State, StateKind, Verdict};
use crate::store::{PageRequest, StateQuery, StoreError};

type Labels = Vec<(&'static str, String)>;
type Gauges = Family<Labels, Gauge<f64, AtomicU64>>;

#[derive(Default)]
struct Series {
    slice: Gauges,
    remaining: Gauges,
    least: Gauges,
    most: Gauges,
    rate: Gauges,
    firing: Gauges,
}

/// Adds what is known of all budgets. A store that does not answer in time costs these series and no others: they are
/// absent then, and unknown to the rules.
pub(super) async fn add(registry: &mut Registry, api: &Api) {
    let agreements = (api.agreements)();
    let with: Vec<_> = agreements.agreements.iter().filter(|a| !a.budgets.is_empty()).collect();
    if with.is_empty() {
        return;
    }
    let series = Series::default();
    let limit = Duration::from_millis(api.options.ready_ms_max);
    let read = async {
        for agreement in with {
            for budget in &agreement.budgets {
                read(api, agreement, budget, &series).await?;
            }
        }
        Ok::<_, StoreError>(())
    };
    tokio::select! {
        read = read => {
            if let Err(error) = read {
                tracing::error!(%error, "budgets are missing from the metrics");
                return;
            }
        }
        () = api.clock().sleep(limit) => {
            tracing::error!("budgets are missing from the metrics: the store did not answer within ready_ms_max");
            return;
        }
    }
    registry.register("probity_budget_slice", "What the last closed window counts for", series.slice);
    registry.register("probity_budget_remaining", "Share of the error budget that is left", series.remaining);
    registry.register("probity_budget_used_least", "Share that is used up for certain", series.least);
    registry.register("probity_budget_used_most", "Share that may be used up", series.most);
    registry.register("probity_burn_rate", "How many times too fast the budget is used up", series.rate);
    registry.register("probity_burn_alert", "1 while an alert fires, 0 while it does not", series.firing);
}

async fn read(api: &Api, agreement: &Agreement, budget: &Budget, series: &Series) -> Result<(), StoreError> {
    let now = api.clock().now();
    let Some(term) = agreement.guarantees.iter().find(|g| g.id == budget.guarantee).and_then(|g| g.terms.first())
    else {
        return Ok(());
    };
    let labels = |scope: String, more: &[(&'static str, &str)]| -> Labels {
        let mut labels = vec![
            ("agreement", agreement.id.clone()),
            ("budget", budget.id.clone()),
            ("guarantee", budget.guarantee.clone()),
            ("scope", scope),
        ];
        labels.extend(more.iter().map(|(name, value)| (*name, (*value).to_owned())));
        labels
    };
    if let Some(last) = Calendar::of(agreement, &term.window).last_closed(now, 1).pop() {
        let just_before = before(last.to);
        for outcome in api.store.outcomes(&agreement.id, &budget.guarantee, just_before, last.to).await? {
            // Of a scope with `*` nobody knows which members it has: the rules count those that are known.
            if (outcome.from, outcome.to) != (last.from, last.to) || outcome.scope.has_wildcard() {
                continue;
            }
            for (name, count) in OUTCOMES.iter().zip(slice(budget, &outcome)) {
                let labels = labels(outcome.scope.canonical(), &[("outcome", name)]);
                series.slice.get_or_create(&labels).set(count as f64);
            }
        }
        for alert in &budget.alerts {
            let of = format!("{}/{}", budget.id, alert.id);
            for state in latest(api, agreement, StateKind::BurnRate, &of, just_before).await? {
                let labels = labels(state.scope.canonical(), &[("alert", &alert.id)]);
                if let Some(rate) = state.value {
                    series.rate.get_or_create(&labels).set(rate);
                }
                if let Some(verdict @ (Verdict::Violated | Verdict::Fulfilled)) = state.verdict {
                    series.firing.get_or_create(&labels).set(f64::from(u8::from(verdict == Verdict::Violated)));
                }
            }
        }
    }
    // The open period; once the validity is over, the last one.
    let calendar = Calendar::of(agreement, &budget.window);
    let after = match calendar.open_at(now) {
        Some(_) => now,
        None => calendar.last_closed(now, 1).pop().map_or(now, |last| before(last.to)),
    };
    for state in latest(api, agreement, StateKind::Budget, &budget.id, after).await? {
        let labels = labels(state.scope.canonical(), &[]);
        let figures = Figures::of(&state);
        let used = |of: fn(&Figures) -> Option<f64>| figures.as_ref().and_then(of);
        for (family, value) in [
            (&series.remaining, state.value),
            (&series.least, used(|f| f.used_least.map(|s| s.value()))),
            (&series.most, used(|f| f.used_most.map(|s| s.value()))),
        ] {
            if let Some(value) = value {
                family.get_or_create(&labels).set(value);
            }
        }
    }
    Ok(())
}

fn before(at: Timestamp) -> Timestamp {
    at.saturating_sub(SignedDuration::from_nanos(1)).unwrap_or(at)
}

/// The newest state of each scope among those whose periods end after an instant.
async fn latest(
    api: &Api,
    agreement: &Agreement,
    kind: StateKind,
    of: &str,
    after: Timestamp,
) -> Result<Vec<State>, StoreError> {
    let query = StateQuery {
        agreement: Some(agreement.id.clone()),
        kind: Some(kind),
        of: Some(of.to_owned()),
        from: Some(after),
        ..StateQuery::default()
    };
    let mut page = PageRequest { limit: 1000, after: None };
    let (mut seen, mut found) = (HashSet::new(), Vec::new());
    loop {
        let stored = api.store.states(&query, &page).await?;
        found.extend(stored.items.into_iter().map(|s| s.state).filter(|s| seen.insert(s.scope.clone())));
        match stored.next {
            Some(next) => page.after = Some(next),
            None => return Ok(found),
        }
    }
}
