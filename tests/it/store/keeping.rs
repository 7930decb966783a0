//! How long results are kept, and what is kept to be told to others: the same promises of every store.

use probity::model::RunId;
use probity::model::state::{State, Verdict};
use probity::store::{
    AuditEntry, ClaimKey, Delivery, Expired, PageRequest, Retention, RunQuery, Settled, StateQuery, Store,
    StoreOptions, open,
};
use uuid::Uuid;

use super::Fixture;
use super::samples::{at, audit, commit, guarantee, metric, run_of};

promises! {
    what_has_expired_goes_and_nothing_else
    without_a_policy_everything_stays
    verdicts_are_kept_for_delivery_with_the_commit_that_makes_them
    a_delivery_is_one_callers_until_it_is_settled
    what_was_told_in_part_goes_on_where_it_was
    a_group_can_be_told_again_from_the_front
    a_group_that_is_given_up_leaves_an_audit_entry
}

/// The id of a run that was opened at this instant.
fn opened(text: &str) -> RunId {
    let random = Uuid::new_v4().as_u128() & ((1 << 76) - 1);
    RunId(Uuid::from_u128((u128::from(at(text).as_millisecond().unsigned_abs()) << 80) | (7 << 76) | random))
}

fn firing(schedule: &str, due_at: &str) -> ClaimKey {
    ClaimKey { schedule: schedule.into(), due_at: at(due_at) }
}

async fn states(store: &dyn Store) -> Vec<State> {
    let page = PageRequest { limit: 1000, after: None };
    store.states(&StateQuery::default(), &page).await.unwrap().items.into_iter().map(|stored| stored.state).collect()
}

/// Three days of hours in two revisions, with values of metrics; runs and firings of as many days.
async fn three_days(store: &dyn Store) {
    let first = opened("2026-01-01T23:59:59.999Z");
    let hours: Vec<State> = (0..72).flat_map(|n| [guarantee(n, first), metric(n, first)]).collect();
    store.commit(&commit(first, hours)).await.unwrap();
    let second = opened("2026-01-02T12:00:00Z");
    let late = (0..72).map(|n| State { verdict: Some(Verdict::Fulfilled), ..guarantee(n, second) }).collect();
    store.commit(&commit(second, late)).await.unwrap();
    let third = opened("2026-01-03T00:00:00Z");
    store.record_runs(&[run_of("flow", third)]).await.unwrap();
    for (schedule, due_at) in
        [("done", "2026-01-01T00:00:00Z"), ("done", "2026-01-02T00:00:00Z"), ("open", "2026-01-01T00:00:00Z")]
    {
        let claim = super::claims::held(store, &firing(schedule, due_at)).await.expect("nobody has it");
        if schedule == "done" {
            assert!(store.complete_claim(&claim, second, at(due_at)).await.unwrap());
        }
    }
}

async fn what_has_expired_goes_and_nothing_else(fixture: &Fixture) {
    let store = &*fixture.store;
    three_days(store).await;
    let audited = store.audit_entries(&PageRequest::default()).await.unwrap().items.len();
    let now = at("2026-01-05T11:00:00Z");
    let keep = Retention { states_days: Some(2), runs_days: Some(2) };
    // Hours that ended on the first two days: the last of the second ends on the third, and stays.
    let wanted = Expired { states: 2 * 47, revisions: 47, runs: 2, claims: 1 };
    assert_eq!(store.upkeep(now, &keep).await.unwrap(), wanted);
    let left = states(store).await;
    assert_eq!(left.len(), 2 * 25);
    assert!(left.iter().all(|state| state.window.to >= at("2026-01-03T00:00:00Z")));
    let (gone, kept) = (guarantee(0, RunId::fresh()), guarantee(47, RunId::fresh()));
    for (state, revisions) in [(gone, 0), (kept, 2)] {
        let found = store
            .revisions(&state.agreement, state.kind, &state.of, &state.scope, state.window.from, state.window.to)
            .await
            .unwrap();
        assert_eq!(found.len(), revisions);
    }
    let runs = store.runs(&RunQuery::default(), &PageRequest::default()).await.unwrap().items;
    assert_eq!(runs.iter().map(|run| run.subject.as_str()).collect::<Vec<_>>(), ["flow"]);
    assert_eq!(store.last_claim("done").await.unwrap(), Some(at("2026-01-02T00:00:00Z")));
    let forgotten = super::claims::held(store, &firing("done", "2026-01-01T00:00:00Z")).await;
    assert!(forgotten.is_some(), "the older one was forgotten");
    assert_eq!(store.open_claims().await.unwrap().len(), 2);

    let entries = store.audit_entries(&PageRequest { limit: 1000, after: None }).await.unwrap().items;
    let told: Vec<&AuditEntry> = entries.iter().filter(|entry| entry.action == "expire").collect();
    assert_eq!(audited + told.len(), entries.len());
    let sum = |what: &str| told.iter().map(|entry| entry.detail[what].as_u64().unwrap()).sum::<u64>();
    assert_eq!((sum("states"), sum("revisions"), sum("runs"), sum("claims")), (94, 47, 2, 1));
    assert!(told.iter().all(|entry| entry.actor == "retention" && entry.at == now));

    assert_eq!(store.upkeep(now, &keep).await.unwrap(), Expired::default(), "nothing is left to remove");
    // What comes late for a day that is gone finds a place, and expires again.
    let id = opened("2026-01-01T00:00:00Z");
    store.commit(&commit(id, vec![guarantee(0, id)])).await.unwrap();
    assert_eq!(states(store).await.len(), 2 * 25 + 1);
    assert_eq!(store.upkeep(now, &keep).await.unwrap(), Expired { states: 1, runs: 1, ..Expired::default() });
}

async fn without_a_policy_everything_stays(fixture: &Fixture) {
    let store = &*fixture.store;
    three_days(store).await;
    let before = states(store).await;
    let removed = store.upkeep(at("2099-01-01T00:00:00Z"), &Retention::default()).await.unwrap();
    assert!(removed.is_empty());
    assert_eq!(states(store).await, before);
    // Each policy is its own.
    let keep = Retention { states_days: None, runs_days: Some(1) };
    assert_eq!(store.upkeep(at("2099-01-01T00:00:00Z"), &keep).await.unwrap().states, 0);
    assert_eq!(states(store).await, before);
}

/// A store over the fixture's database that keeps verdicts for delivery.
async fn delivering(fixture: &Fixture, agreements: &[&str]) -> std::sync::Arc<dyn Store> {
    let deliver = Some(agreements.iter().map(|id| (*id).to_owned()).collect());
    open(&fixture.url, &StoreOptions { deliver, ..StoreOptions::default() }).await.unwrap()
}

/// Takes what is next, for a minute.
async fn take(store: &dyn Store, now: &str) -> Option<Delivery> {
    use jiff::ToSpan;
    store.next_delivery(at(now), at(now) + 1.minute()).await.unwrap()
}

async fn verdicts_are_kept_for_delivery_with_the_commit_that_makes_them(fixture: &Fixture) {
    let store = delivering(fixture, &["sla"]).await;
    let id = RunId::fresh();
    let with = |n: i64, verdict: Verdict| State { verdict: Some(verdict), ..guarantee(n, id) };
    let states = vec![
        with(3, Verdict::Fulfilled),
        with(1, Verdict::Violated),
        with(2, Verdict::Unknown),
        with(4, Verdict::NotApplicable),
        super::samples::waived(5, id),
        State { provisional: true, ..with(6, Verdict::Fulfilled) },
        metric(1, id),
        State { agreement: "other".into(), ..with(1, Verdict::Violated) },
    ];
    store.commit(&commit(id, states.clone())).await.unwrap();
    assert_eq!(store.deliveries_waiting().await.unwrap(), 2);
    let delivery = take(&*store, "2026-01-02T00:00:00Z").await.unwrap();
    assert_eq!(delivery.states, [states[1].clone(), states[0].clone()], "what can be said, by window");
    assert_eq!((delivery.group, delivery.last, delivery.sent, delivery.in_doubt), (id.0, true, 0, false));
    store.settle_delivery(&delivery, &Settled::Done).await.unwrap();

    // What was known already is not told again; a revision is.
    let again = RunId::fresh();
    let mut changed: Vec<State> = states.into_iter().map(|state| State { run: again, ..state }).collect();
    changed[0].value = Some(7.0);
    store.commit(&commit(again, changed.clone())).await.unwrap();
    let delivery = take(&*store, "2026-01-02T00:00:00Z").await.unwrap();
    assert_eq!((delivery.group, delivery.states), (again.0, changed[..1].to_vec()));
    // A store that is not told to keep any keeps none.
    let none = RunId::fresh();
    let silent = open(&fixture.url, &StoreOptions::default()).await.unwrap();
    silent.commit(&commit(none, vec![guarantee(9, none)])).await.unwrap();
    assert_eq!(store.deliveries_waiting().await.unwrap(), 1);
}

/// A store with 450 verdicts to deliver: 200, 200 and 50.
async fn with_450(fixture: &Fixture) -> (std::sync::Arc<dyn Store>, RunId) {
    let store = delivering(fixture, &[]).await;
    let id = RunId::fresh();
    store.commit(&commit(id, (0..450).map(|n| guarantee(n, id)).collect())).await.unwrap();
    (store, id)
}

async fn a_delivery_is_one_callers_until_it_is_settled(fixture: &Fixture) {
    let (store, id) = with_450(fixture).await;
    let first = take(&*store, "2026-01-02T00:00:00Z").await.unwrap();
    assert!(take(&*store, "2026-01-02T00:00:59Z").await.is_none(), "somebody has it");
    store.settle_delivery(&first, &Settled::Released).await.unwrap();
    let first = take(&*store, "2026-01-02T00:00:59Z").await.unwrap();
    assert!(!first.in_doubt, "it was given back");
    let first = take(&*store, "2026-01-02T00:01:59Z").await.unwrap_or(first);
    assert!(first.in_doubt, "whoever had it did not say what became of it");
    store.settle_delivery(&first, &Settled::InDoubt).await.unwrap();
    let mut counts = Vec::new();
    let mut next = take(&*store, "2026-01-02T00:02:00Z").await;
    assert!(next.as_ref().unwrap().in_doubt);
    while let Some(delivery) = next {
        assert_eq!(delivery.group, id.0);
        counts.push((delivery.states.len(), delivery.last));
        store.settle_delivery(&delivery, &Settled::Done).await.unwrap();
        next = take(&*store, "2026-01-02T00:02:00Z").await;
    }
    assert_eq!(counts, [(200, false), (200, false), (50, true)]);
    assert_eq!(store.deliveries_waiting().await.unwrap(), 0);
}

async fn what_was_told_in_part_goes_on_where_it_was(fixture: &Fixture) {
    let (store, _) = with_450(fixture).await;
    let first = take(&*store, "2026-01-02T00:00:00Z").await.unwrap();
    let until = at("2026-01-02T00:05:00Z");
    store.settle_delivery(&first, &Settled::Sent { states: 70, until }).await.unwrap();
    assert_eq!(store.deliveries_waiting().await.unwrap(), 380);
    assert!(take(&*store, "2026-01-02T00:04:59Z").await.is_none());
    let again = take(&*store, "2026-01-02T00:05:00Z").await.unwrap();
    assert_eq!((again.id, again.sent, again.in_doubt), (first.id, 70, true));
}

async fn a_group_can_be_told_again_from_the_front(fixture: &Fixture) {
    let (store, _) = with_450(fixture).await;
    let first = take(&*store, "2026-01-02T00:00:00Z").await.unwrap();
    store.settle_delivery(&first, &Settled::Done).await.unwrap();
    let second = take(&*store, "2026-01-02T00:00:00Z").await.unwrap();
    let group = RunId::fresh().0;
    store.settle_delivery(&second, &Settled::Again { group }).await.unwrap();
    assert_eq!(store.deliveries_waiting().await.unwrap(), 450);
    let again = take(&*store, "2026-01-02T00:00:00Z").await.unwrap();
    assert_eq!((again.id, again.group, again.sent, again.in_doubt), (first.id, group, 0, false));
}

async fn a_group_that_is_given_up_leaves_an_audit_entry(fixture: &Fixture) {
    let (store, _) = with_450(fixture).await;
    let first = take(&*store, "2026-01-02T00:00:00Z").await.unwrap();
    let entry = AuditEntry { action: "give up".into(), ..audit("sla") };
    store.settle_delivery(&first, &Settled::Refused(entry.clone())).await.unwrap();
    assert!(take(&*store, "2026-01-02T00:00:00Z").await.is_none());
    assert_eq!(store.audit_entries(&PageRequest::default()).await.unwrap().items[0], entry);
}
