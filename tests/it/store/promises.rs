//! What [`probity::store::Store`] promises, whatever lies beneath.

use std::collections::BTreeSet;

use jiff::ToSpan;
use probity::model::RunId;
use probity::model::run::{RunError, RunRecord, RunState, Trigger};
use probity::model::state::{State, StateKind, Verdict};
use probity::store::{Committed, PageRequest, RunQuery, StateQuery, Store, StoreError};
use serde_json::json;

use super::Fixture;
use super::samples::{at, audit, commit, guarantee, hour, metric, run_of, scope};

macro_rules! promises {
    ($($name:ident)*) => {
        mod memory {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() { super::$name(&super::Fixture::memory().await).await; })*
        }
        mod sqlite {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() { super::$name(&super::Fixture::sqlite().await).await; })*
        }
        mod postgres {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() { super::$name(&super::Fixture::postgres().await).await; })*
        }
    };
}

promises! {
    an_empty_store_answers
    what_is_committed_is_read_back_equal
    the_same_again_changes_nothing
    a_changed_content_makes_a_revision_and_keeps_the_old_one
    every_part_of_the_content_counts
    a_provisional_state_never_replaces_a_final_one
    of_two_states_with_one_identity_the_last_counts
    every_part_of_the_identity_counts
    states_are_filtered
    pages_cover_all_states_exactly_once
    runs_are_listed_newest_first_without_traces
    a_run_recorded_again_is_replaced
    audit_entries_are_listed_newest_first
    commits_at_once_count_their_revisions_without_gaps
    odd_text_loses_nothing
    a_foreign_cursor_is_refused
    a_large_commit_is_stored_whole
    a_waived_state_is_read_back_with_its_waiver
    states_are_given_as_they_were_known_at_an_instant
    corrections_are_changes_of_what_was_final
    with_what_a_state_was_made_makes_no_revision
    waivers_are_kept_and_ended_with_their_audit_entries
}

async fn a_waived_state_is_read_back_with_its_waiver(fixture: &Fixture) {
    let id = RunId::fresh();
    let waived = super::samples::waived(0, id);
    let mut nul = super::samples::waived(1, id);
    nul.waiver.as_mut().unwrap().reason = "be\0cause".into();
    nul.penalties.insert("p\0".into(), Some(0.0));
    assert_eq!(fixture.store.commit(&commit(id, vec![waived.clone(), nul])).await.unwrap(), changed(2, 0, 0));
    let query = StateQuery { verdict: Some(Verdict::Waived), to: Some(hour(1).from), ..StateQuery::default() };
    assert_eq!(all(&*fixture.store, &query).await, std::slice::from_ref(&waived));
    let plain = guarantee(0, id);
    assert_eq!(fixture.store.commit(&commit(id, vec![plain.clone()])).await.unwrap(), changed(0, 1, 0));
    assert_eq!(
        revisions_of(&*fixture.store, &plain).await.iter().map(|s| &s.state).collect::<Vec<_>>(),
        [&waived, &plain]
    );
}

async fn states_are_given_as_they_were_known_at_an_instant(fixture: &Fixture) {
    let store = &fixture.store;
    let noon = at("2026-01-05T12:00:00Z");
    let id = RunId::fresh();
    let said = |n: i64, value: f64| State { value: Some(value), ..guarantee(n, id) };
    for (hours, states) in [
        (0, vec![said(0, 1.0), said(1, 1.0)]),
        (1, vec![said(0, 2.0), State { verdict: Some(Verdict::Unknown), ..said(2, 2.0) }]),
        (2, vec![said(0, 3.0), said(2, 3.0)]),
    ] {
        let mut commit = commit(id, states);
        commit.recorded_at = noon + hours.hours();
        store.commit(&commit).await.unwrap();
    }
    let known = async |query: StateQuery, minutes: i64| {
        let query = StateQuery { as_of: Some(noon + minutes.minutes()), ..query };
        all(&**store, &query).await.iter().map(|s| s.value.unwrap()).collect::<Vec<_>>()
    };
    assert_eq!(known(StateQuery::default(), -1).await, [0.0; 0], "before anything was known");
    assert_eq!(known(StateQuery::default(), 0).await, [1.0, 1.0]);
    assert_eq!(known(StateQuery::default(), 59).await, [1.0, 1.0]);
    assert_eq!(known(StateQuery::default(), 60).await, [2.0, 1.0, 2.0]);
    assert_eq!(known(StateQuery::default(), 500).await, [3.0, 1.0, 3.0]);
    let unknown = || StateQuery { verdict: Some(Verdict::Unknown), ..StateQuery::default() };
    assert_eq!(known(unknown(), 60).await, [2.0], "by the verdict it had then");
    assert_eq!(known(unknown(), 120).await, [0.0; 0]);
    let one = StateQuery { agreement: Some("sla".into()), to: Some(hour(1).from), ..StateQuery::default() };
    assert_eq!(known(one, 61).await, [2.0]);
    let query = StateQuery { as_of: Some(noon + 1.hour()), ..StateQuery::default() };
    let first = store.states(&query, &PageRequest { limit: 2, after: None }).await.unwrap();
    let rest = store.states(&query, &PageRequest { limit: 2, after: first.next.clone() }).await.unwrap();
    assert_eq!((first.items.len(), rest.items.len(), rest.next), (2, 1, None));
}

async fn corrections_are_changes_of_what_was_final(fixture: &Fixture) {
    use probity::model::state::Because::{Agreement, Evidence, Waiver};
    let store = &fixture.store;
    let id = RunId::fresh();
    let commits: [(i64, State); 6] = [
        (0, State { provisional: true, ..guarantee(0, id) }),
        (0, State { provisional: true, value: Some(1.0), ..guarantee(0, id) }),
        (0, guarantee(0, id)),
        (1, State { value: Some(2.0), ..guarantee(0, id) }),
        (2, super::samples::waived(0, id)),
        (3, State { agreement_version: "new".into(), ..guarantee(0, id) }),
    ];
    for (hours, state) in commits {
        let mut commit = commit(id, vec![state, metric(0, id)]);
        commit.recorded_at += hours.hours();
        store.commit(&commit).await.unwrap();
    }
    let mut seen = Vec::new();
    let mut page = PageRequest { limit: 2, after: None };
    loop {
        let found = store.corrections(&StateQuery::default(), &page).await.unwrap();
        seen.extend(found.items);
        page.after = found.next;
        if page.after.is_none() {
            break;
        }
    }
    let what: Vec<_> = seen.iter().map(|c| (c.before.revision, c.after.revision, c.because)).collect();
    assert_eq!(what, [(5, 6, Agreement), (4, 5, Waiver), (3, 4, Evidence)]);
    let revisions = revisions_of(&**store, &guarantee(0, id)).await;
    for correction in &seen {
        assert_eq!(correction.after, revisions[correction.after.revision as usize - 1]);
        assert_eq!(correction.before, revisions[correction.before.revision as usize - 1]);
    }
    let count = async |query: StateQuery| store.corrections(&query, &PageRequest::default()).await.unwrap().items.len();
    assert_eq!(count(StateQuery { verdict: Some(Verdict::Waived), ..StateQuery::default() }).await, 1);
    assert_eq!(count(StateQuery { agreement: Some("other".into()), ..StateQuery::default() }).await, 0);
    let then = Some(seen[1].after.recorded_at);
    assert_eq!(count(StateQuery { as_of: then, ..StateQuery::default() }).await, 2);
}

async fn with_what_a_state_was_made_makes_no_revision(fixture: &Fixture) {
    let id = RunId::fresh();
    let first = guarantee(0, id);
    fixture.store.commit(&commit(id, vec![first.clone()])).await.unwrap();
    let mut newer = guarantee(0, id);
    newer.provenance = std::sync::Arc::new(probity::model::provenance::Provenance {
        engine: "0.2.0".into(),
        ..(*first.provenance).clone()
    });
    assert_eq!(fixture.store.commit(&commit(id, vec![newer])).await.unwrap(), changed(0, 0, 1));
    assert_eq!(revisions_of(&*fixture.store, &first).await[0].state, first);
    let old = State { provenance: Default::default(), inputs: None, score: None, ..guarantee(1, id) };
    fixture.store.commit(&commit(id, vec![old.clone()])).await.unwrap();
    assert_eq!(revisions_of(&*fixture.store, &old).await[0].state, old);
}

async fn waivers_are_kept_and_ended_with_their_audit_entries(fixture: &Fixture) {
    use super::samples::waiver;
    let store = &fixture.store;
    let mut everything = waiver("other", "w0");
    everything.guarantee = None;
    everything.scope = scope(&[]);
    everything.to = Some(at("2026-01-03T00:00:00Z"));
    let (first, second) = (waiver("sla", "w1"), waiver("sla", "w2"));
    for one in [&second, &everything, &first] {
        assert!(store.add_waiver(one, &audit(&one.id)).await.unwrap());
    }
    let mut rival = waiver("sla", "w1");
    rival.owner = "mallory".into();
    assert!(!store.add_waiver(&rival, &audit("rival")).await.unwrap(), "its id is taken");
    assert_eq!(store.waivers(None).await.unwrap(), [everything, first.clone(), second.clone()]);
    assert_eq!(store.waivers(Some("sla")).await.unwrap(), [first.clone(), second.clone()]);
    assert_eq!(store.waivers(Some("none")).await.unwrap(), []);

    let end = async |agreement: &str, id: &str, when: &str| {
        store.end_waiver(agreement, id, at(when), &audit("end")).await.unwrap()
    };
    assert!(!end("sla", "w0", "2026-01-02T00:00:00Z").await, "it is another agreement's");
    assert!(!end("sla", "w1", "2026-02-01T00:00:00.000001Z").await, "it has expired by then");
    assert!(end("sla", "w1", "2026-01-02T00:00:00Z").await);
    assert!(!end("sla", "w1", "2026-01-02T00:00:01Z").await, "it has ended");
    let ended = probity::model::waiver::Waiver { ended_at: Some(at("2026-01-02T00:00:00Z")), ..first };
    assert_eq!(store.waivers(Some("sla")).await.unwrap(), [ended, second]);
    let subjects: Vec<String> =
        store.audit_entries(&PageRequest::default()).await.unwrap().items.into_iter().map(|e| e.subject).collect();
    assert_eq!(subjects, ["end", "w1", "w0", "w2"]);
}

async fn all(store: &dyn Store, query: &StateQuery) -> Vec<State> {
    let page = store.states(query, &PageRequest { limit: 1000, after: None }).await.unwrap();
    assert_eq!(page.next, None);
    page.items.into_iter().map(|stored| stored.state).collect()
}

async fn revisions_of(store: &dyn Store, state: &State) -> Vec<probity::model::state::StoredState> {
    let (from, to) = (state.window.from, state.window.to);
    store.revisions(&state.agreement, state.kind, &state.of, &state.scope, from, to).await.unwrap()
}

fn changed(inserted: u64, revised: u64, unchanged: u64) -> Committed {
    Committed { inserted, revised, unchanged }
}

async fn an_empty_store_answers(fixture: &Fixture) {
    let store = &fixture.store;
    store.ping().await.unwrap();
    assert!(!store.describe().is_empty());
    assert_eq!(all(&**store, &StateQuery::default()).await, []);
    assert!(store.run(RunId::fresh()).await.unwrap().is_none());
    assert!(store.open_claims().await.unwrap().is_empty());
    assert_eq!(store.last_claim("sla").await.unwrap(), None);
    assert!(revisions_of(&**store, &guarantee(0, RunId::fresh())).await.is_empty());
    assert!(store.audit_entries(&PageRequest::default()).await.unwrap().items.is_empty());
}

async fn what_is_committed_is_read_back_equal(fixture: &Fixture) {
    let store = &fixture.store;
    let id = RunId::fresh();
    let commit = commit(id, vec![guarantee(0, id), metric(0, id)]);
    assert_eq!(store.commit(&commit).await.unwrap(), changed(2, 0, 0));

    let page = store.states(&StateQuery::default(), &PageRequest::default()).await.unwrap();
    let mut stored: Vec<_> = page.items.iter().map(|item| &item.state).collect();
    stored.sort_by_key(|state| state.kind);
    assert_eq!(stored, commit.states.iter().collect::<Vec<_>>());
    assert!(page.items.iter().all(|item| item.revision == 1 && item.recorded_at == commit.recorded_at));
    assert_eq!(store.run(id).await.unwrap().as_ref(), Some(&commit.run));
    let entries = store.audit_entries(&PageRequest::default()).await.unwrap().items;
    assert_eq!(entries, [commit.audit]);
}

async fn the_same_again_changes_nothing(fixture: &Fixture) {
    let store = &fixture.store;
    let first = RunId::fresh();
    store.commit(&commit(first, vec![guarantee(0, first), metric(0, first)])).await.unwrap();
    let again = RunId::fresh();
    let mut states = vec![guarantee(0, again), metric(0, again)];
    for state in &mut states {
        state.evidence[0].collected_at += 1.hour();
        // The same object with its keys in another order.
        let text = state.evidence[0].data.to_string();
        let sorted: std::collections::BTreeMap<String, serde_json::Value> = serde_json::from_str(&text).unwrap();
        state.evidence[0].data = json!(sorted);
        state.value = state.value.map(|value| value + 0.0);
    }
    let mut commit = commit(again, states);
    commit.recorded_at += 1.hour();
    assert_eq!(store.commit(&commit).await.unwrap(), changed(0, 0, 2));

    let revisions = revisions_of(&**store, &guarantee(0, first)).await;
    assert_eq!(revisions.len(), 1);
    assert_eq!(revisions[0].state, guarantee(0, first), "the first run and its evidence stay");
    assert!(store.run(again).await.unwrap().is_some(), "the second evaluation is kept as a run");
    assert_eq!(store.audit_entries(&PageRequest::default()).await.unwrap().items.len(), 2);
}

async fn a_changed_content_makes_a_revision_and_keeps_the_old_one(fixture: &Fixture) {
    let store = &fixture.store;
    let ids = [RunId::fresh(), RunId::fresh(), RunId::fresh()];
    let mut expected = Vec::new();
    for (n, id) in ids.into_iter().enumerate() {
        let mut state = guarantee(0, id);
        state.value = Some(n as f64);
        expected.push(state.clone());
        let mut commit = commit(id, vec![state, guarantee(1, id)]);
        commit.recorded_at += (n as i64).hours();
        let done = store.commit(&commit).await.unwrap();
        assert_eq!(done, if n == 0 { changed(2, 0, 0) } else { changed(0, 1, 1) });
    }
    let revisions = revisions_of(&**store, &expected[0]).await;
    assert_eq!(revisions.iter().map(|stored| stored.revision).collect::<Vec<_>>(), [1, 2, 3]);
    assert_eq!(revisions.iter().map(|stored| stored.state.clone()).collect::<Vec<_>>(), expected);
    assert!(revisions.is_sorted_by(|earlier, later| earlier.recorded_at < later.recorded_at));
    let latest = all(&**store, &StateQuery { to: Some(hour(1).from), ..StateQuery::default() }).await;
    assert_eq!(latest, [expected[2].clone()]);
}

async fn every_part_of_the_content_counts(fixture: &Fixture) {
    let store = &fixture.store;
    let id = RunId::fresh();
    let mut state = guarantee(0, id);
    state.provisional = true;
    assert_eq!(store.commit(&commit(id, vec![state.clone()])).await.unwrap(), changed(1, 0, 0));
    let changes: [fn(&mut State); 19] = [
        |s| s.verdict = Some(Verdict::Unknown),
        |s| s.value = None,
        |s| s.value = Some(0.0),
        |s| s.values.insert("lost".into(), Some(0.0)).map_or((), drop),
        |s| s.values.remove("lost").map_or((), drop),
        |s| s.reason.push('!'),
        |s| s.coverage = None,
        |s| s.coverage = Some(probity::model::state::Coverage { seen: 0, expected: 0 }),
        |s| s.evidence[0].data = json!(1),
        |s| s.evidence[0].data = json!("1"),
        |s| s.evidence[0].source.push('!'),
        |s| s.evidence.clear(),
        |s| s.provisional = false,
        |s| s.agreement_version.push('!'),
        |s| s.score = probity::model::score::Score::new(-9, 31),
        |s| s.score = None,
        |s| s.penalties.clear(),
        |s| s.rewards = [("bonus".to_owned(), None)].into(),
        |s| {
            let waived = super::samples::waived(0, s.run);
            (s.verdict, s.waiver) = (waived.verdict, waived.waiver);
        },
    ];
    for (n, change) in changes.into_iter().enumerate() {
        change(&mut state);
        assert_eq!(store.commit(&commit(id, vec![state.clone()])).await.unwrap(), changed(0, 1, 0), "change {n}");
    }
    assert_eq!(revisions_of(&**store, &state).await.len(), 20);
}

/// An evaluation of the open window that was slow, and is stored after the window has closed and been judged.
async fn a_provisional_state_never_replaces_a_final_one(fixture: &Fixture) {
    let store = &fixture.store;
    let (open, closed, late) = (RunId::fresh(), RunId::fresh(), RunId::fresh());
    let provisional = |run| State { provisional: true, value: Some(1.0), ..guarantee(0, run) };
    assert_eq!(store.commit(&commit(open, vec![provisional(open)])).await.unwrap(), changed(1, 0, 0));
    let closing = commit(closed, vec![guarantee(0, closed)]);
    assert_eq!(store.commit(&closing).await.unwrap(), changed(0, 1, 0));
    let done = store.commit(&commit(late, vec![provisional(late), guarantee(1, late)])).await.unwrap();
    assert_eq!(done, changed(1, 0, 1), "what comes late is not stored");
    let revisions = revisions_of(&**store, &guarantee(0, closed)).await;
    assert_eq!(revisions.iter().map(|stored| stored.state.provisional).collect::<Vec<_>>(), [true, false]);
    assert_eq!(revisions[1].state, guarantee(0, closed));
}

async fn of_two_states_with_one_identity_the_last_counts(fixture: &Fixture) {
    let id = RunId::fresh();
    let (mut first, mut last) = (guarantee(0, id), guarantee(0, id));
    first.value = Some(1.0);
    last.value = Some(2.0);
    let done = fixture.store.commit(&commit(id, vec![first, metric(0, id), last.clone()])).await.unwrap();
    assert_eq!(done, changed(2, 0, 0));
    assert_eq!(revisions_of(&*fixture.store, &last).await[0].state, last);
}

async fn every_part_of_the_identity_counts(fixture: &Fixture) {
    let id = RunId::fresh();
    let changes: [fn(&mut State); 8] = [
        |_| (),
        |s| s.agreement.push('!'),
        |s| s.of.push('!'),
        |s| s.scope = scope(&[]),
        |s| s.scope = scope(&[("team", "red")]),
        |s| s.scope = scope(&[("team", "red,blue")]),
        |s| s.window.from -= 1.hour(),
        |s| s.window.to += 1.hour(),
    ];
    let states: Vec<State> = changes
        .into_iter()
        .map(|change| {
            let mut state = guarantee(0, id);
            change(&mut state);
            state
        })
        .chain([metric(0, id)])
        .collect();
    assert_eq!(fixture.store.commit(&commit(id, states.clone())).await.unwrap(), changed(9, 0, 0));
    for state in &states {
        let found = revisions_of(&*fixture.store, state).await;
        assert_eq!(found.iter().map(|stored| &stored.state).collect::<Vec<_>>(), [state]);
    }
}

async fn states_are_filtered(fixture: &Fixture) {
    let id = RunId::fresh();
    let mut states: Vec<State> = (0..4).flat_map(|n| [guarantee(n, id), metric(n, id)]).collect();
    let mut odd = guarantee(4, id);
    odd.agreement = "other".into();
    odd.of = "safe".into();
    odd.scope = scope(&[("team", "red")]);
    odd.verdict = Some(Verdict::Unknown);
    odd.provisional = true;
    states.push(odd.clone());
    fixture.store.commit(&commit(id, states)).await.unwrap();

    let count = async |query: StateQuery| all(&*fixture.store, &query).await.len();
    let none = StateQuery::default;
    assert_eq!(count(none()).await, 9);
    assert_eq!(count(StateQuery { agreement: Some("sla".into()), ..none() }).await, 8);
    assert_eq!(count(StateQuery { kind: Some(StateKind::Metric), ..none() }).await, 4);
    assert_eq!(count(StateQuery { of: Some("fast".into()), ..none() }).await, 4);
    assert_eq!(count(StateQuery { verdict: Some(Verdict::Violated), ..none() }).await, 4);
    // Windows are half-open: one that ends where the range starts, or starts where it ends, lies outside.
    let range = StateQuery { from: Some(hour(1).from), to: Some(hour(2).to), ..none() };
    assert_eq!(count(range).await, 4);
    let ever = StateQuery { from: Some(jiff::Timestamp::MIN), to: Some(jiff::Timestamp::MAX), ..none() };
    assert_eq!(count(ever).await, 9);
    for only_odd in [
        StateQuery { agreement: Some("other".into()), ..none() },
        StateQuery { of: Some("safe".into()), ..none() },
        StateQuery { scope: Some(odd.scope.clone()), ..none() },
        StateQuery { verdict: Some(Verdict::Unknown), ..none() },
        StateQuery { provisional: Some(true), ..none() },
        StateQuery { from: Some(hour(4).from), ..none() },
        StateQuery { agreement: Some("other".into()), provisional: Some(true), of: Some("safe".into()), ..none() },
    ] {
        assert_eq!(all(&*fixture.store, &only_odd).await, [odd.clone()], "{only_odd:?}");
    }
    assert_eq!(count(StateQuery { agreement: Some("sla".into()), provisional: Some(true), ..none() }).await, 0);
}

async fn pages_cover_all_states_exactly_once(fixture: &Fixture) {
    let store = &fixture.store;
    let id = RunId::fresh();
    // Several states share a window, so a page ends within one.
    let states: Vec<State> =
        (0..7).flat_map(|n| ["a", "b", "c"].map(|of| State { of: of.into(), ..guarantee(n, id) })).collect();
    store.commit(&commit(id, states.clone())).await.unwrap();
    for limit in [0, 1, 2, 5, 20, 21, 22, 1000, u32::MAX] {
        let mut seen = Vec::new();
        let mut after = None;
        loop {
            let page = store.states(&StateQuery::default(), &PageRequest { limit, after }).await.unwrap();
            assert!(page.items.len() <= limit.clamp(1, 1000) as usize && !page.items.is_empty());
            seen.extend(page.items.into_iter().map(|stored| stored.state));
            after = page.next;
            if after.is_none() {
                break;
            }
        }
        assert!(seen.is_sorted_by(|newer, older| newer.window.to >= older.window.to), "newest first");
        let identity = |state: &State| (state.window.from, state.of.clone());
        let distinct: BTreeSet<_> = seen.iter().map(identity).collect();
        assert_eq!((seen.len(), distinct), (states.len(), states.iter().map(identity).collect()), "limit {limit}");
    }
}

fn other_run(n: usize) -> RunRecord {
    let mut run = run_of(if n.is_multiple_of(2) { "even" } else { "odd" }, RunId::fresh());
    run.trigger = match n % 3 {
        0 => Trigger::Http { method: "GET".into(), path: "/x".into() },
        1 => Trigger::Metric { evaluation: RunId::fresh() },
        _ => Trigger::Manual { by: "cli".into() },
    };
    if n.is_multiple_of(4) {
        run.state = RunState::Failed;
        run.error = Some(RunError { node: "n1".into(), node_type: "change".into(), message: "no\0pe".into() });
    }
    run
}

async fn runs_are_listed_newest_first_without_traces(fixture: &Fixture) {
    let store = &fixture.store;
    let runs: Vec<RunRecord> = (0..12).map(other_run).collect();
    store.record_runs(&runs).await.unwrap();
    for run in &runs {
        assert_eq!(store.run(run.id).await.unwrap().as_ref(), Some(run));
    }
    let mut seen = Vec::new();
    let mut after = None;
    loop {
        let page = store.runs(&RunQuery::default(), &PageRequest { limit: 5, after }).await.unwrap();
        seen.extend(page.items);
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    let bare = |run: &RunRecord| RunRecord { trace: Vec::new(), ..run.clone() };
    assert_eq!(seen, runs.iter().rev().map(bare).collect::<Vec<_>>());

    let count = async |query: RunQuery| store.runs(&query, &PageRequest::default()).await.unwrap().items.len();
    assert_eq!(count(RunQuery { subject: Some("even".into()), ..RunQuery::default() }).await, 6);
    assert_eq!(count(RunQuery { state: Some(RunState::Failed), ..RunQuery::default() }).await, 3);
    assert_eq!(count(RunQuery { trigger: Some("http".into()), ..RunQuery::default() }).await, 4);
    let failed_odd = RunQuery { subject: Some("odd".into()), state: Some(RunState::Failed), ..RunQuery::default() };
    assert_eq!(count(failed_odd).await, 0);
}

async fn a_run_recorded_again_is_replaced(fixture: &Fixture) {
    let mut run = run_of("flow", RunId::fresh());
    run.state = RunState::Running;
    run.ended_at = None;
    fixture.store.record_runs(&[run.clone()]).await.unwrap();
    let running = run.clone();
    run.state = RunState::Done;
    run.ended_at = Some(at("2026-01-01T02:00:00Z"));
    run.hops = u64::MAX;
    // Also when one call has it twice.
    fixture.store.record_runs(&[running, run.clone()]).await.unwrap();
    let stored = fixture.store.run(run.id).await.unwrap().unwrap();
    assert!(stored.hops >= i64::MAX as u64, "an absurd count is not small");
    assert_eq!(RunRecord { hops: run.hops, ..stored }, run);
    fixture.store.record_runs(&[]).await.unwrap();
    assert_eq!(fixture.store.runs(&RunQuery::default(), &PageRequest::default()).await.unwrap().items.len(), 1);
}

async fn audit_entries_are_listed_newest_first(fixture: &Fixture) {
    for n in 0..5 {
        fixture.store.audit(&audit(&n.to_string())).await.unwrap();
    }
    let mut seen = Vec::new();
    let mut after = None;
    loop {
        let page = fixture.store.audit_entries(&PageRequest { limit: 2, after }).await.unwrap();
        seen.extend(page.items);
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    assert_eq!(seen, (0..5).rev().map(|n| audit(&n.to_string())).collect::<Vec<_>>());
}

async fn commits_at_once_count_their_revisions_without_gaps(fixture: &Fixture) {
    const WRITERS: usize = 6;
    const COMMITS: usize = 4;
    let writers: Vec<_> = (0..WRITERS)
        .map(|writer| {
            let store = fixture.store.clone();
            tokio::spawn(async move {
                for n in 0..COMMITS {
                    let id = RunId::fresh();
                    let mut states: Vec<State> = (0..20).map(|n| guarantee(n, id)).collect();
                    // Writers give them in different orders, and of two agreements.
                    if writer % 2 == 1 {
                        states.reverse();
                    }
                    for state in &mut states {
                        state.value = Some((writer * COMMITS + n) as f64);
                        state.agreement = if state.window.from.as_second() % 7200 == 0 { "a" } else { "b" }.into();
                    }
                    store.commit(&commit(id, states)).await.unwrap();
                }
            })
        })
        .collect();
    for writer in writers {
        writer.await.unwrap();
    }
    for n in 0..20 {
        let mut state = guarantee(n, RunId::fresh());
        state.agreement = if n % 2 == 0 { "a" } else { "b" }.into();
        let revisions = revisions_of(&*fixture.store, &state).await;
        let numbers: Vec<u32> = revisions.iter().map(|stored| stored.revision).collect();
        assert_eq!(numbers, (1..=(WRITERS * COMMITS) as u32).collect::<Vec<_>>());
        let values: BTreeSet<u64> = revisions.iter().map(|stored| stored.state.value.unwrap() as u64).collect();
        assert_eq!(values.len(), WRITERS * COMMITS, "every writer's word is kept");
    }
}

/// NUL, which Postgres cannot hold as text; deep evidence; numbers at their ends; a very long scope.
async fn odd_text_loses_nothing(fixture: &Fixture) {
    let id = RunId::fresh();
    let mut nul = guarantee(0, id);
    nul.of = "fa\0st".into();
    nul.reason = "be\0cause".into();
    nul.scope = scope(&[("te\0am", "bl\0ue")]);
    nul.values = [("p\0".to_owned(), Some(f64::MAX))].into();
    nul.evidence[0].data = json!({"k\0": "v\0", "lone": "\\ud800"});
    let mut long = guarantee(1, id);
    // Random, so that no compression makes it fit into an index.
    let member: String = std::iter::repeat_with(fastrand::alphanumeric).take(20_000).collect();
    long.scope = scope(&[("member", &member)]);
    let mut deep = guarantee(2, id);
    deep.evidence[0].data = (0..126).fold(json!(1), |inner, _| json!([inner]));
    let mut ends = guarantee(3, id);
    ends.value = Some(f64::NAN);
    ends.coverage = Some(probity::model::state::Coverage { seen: u64::MAX, expected: u64::MAX });
    let mut infinite = guarantee(4, id);
    infinite.value = Some(f64::NEG_INFINITY);
    let states = vec![nul.clone(), long.clone(), deep.clone(), ends.clone(), infinite.clone()];
    let mut commit = commit(id, states);
    commit.run.subject = "s\0".into();
    commit.audit.detail = json!("\0");
    assert_eq!(fixture.store.commit(&commit).await.unwrap(), changed(5, 0, 0));
    assert_eq!(fixture.store.commit(&commit).await.unwrap(), changed(0, 0, 5), "the same again is unchanged");
    assert_eq!(all(&*fixture.store, &StateQuery::default()).await.len(), 5);

    for (state, by_scope) in [(&nul, 1), (&long, 1)] {
        let query = StateQuery { scope: Some(state.scope.clone()), ..StateQuery::default() };
        assert_eq!(all(&*fixture.store, &query).await.len(), by_scope);
    }
    assert_eq!(revisions_of(&*fixture.store, &nul).await[0].state.evidence, nul.evidence, "evidence is verbatim");
    assert_eq!(revisions_of(&*fixture.store, &long).await[0].state, long);
    let evidence = revisions_of(&*fixture.store, &deep).await[0].state.evidence[0].data.clone();
    let text = evidence.as_str().map_or_else(|| evidence.to_string(), str::to_owned);
    assert_eq!(text, deep.evidence[0].data.to_string(), "at least as text");
    let stored = revisions_of(&*fixture.store, &ends).await.remove(0).state;
    assert_eq!((stored.value, stored.coverage), (None, ends.coverage));
    assert_eq!(revisions_of(&*fixture.store, &infinite).await[0].state.value, infinite.value);
}

async fn a_foreign_cursor_is_refused(fixture: &Fixture) {
    let store = &fixture.store;
    store.record_runs(&[run_of("a", RunId::fresh()), run_of("b", RunId::fresh())]).await.unwrap();
    let runs = store.runs(&RunQuery::default(), &PageRequest { limit: 1, after: None }).await.unwrap();
    let page = PageRequest { limit: 1, after: Some(runs.next.unwrap()) };
    assert!(matches!(store.states(&StateQuery::default(), &page).await, Err(StoreError::Cursor { .. })));
    assert!(matches!(store.audit_entries(&page).await, Err(StoreError::Cursor { .. })));
    store.runs(&RunQuery::default(), &page).await.unwrap();
}

/// Beyond every chunk, part of it new, part revised, part unchanged.
async fn a_large_commit_is_stored_whole(fixture: &Fixture) {
    let first = RunId::fresh();
    let states = (0..4500).map(|n| guarantee(n, first)).collect();
    assert_eq!(fixture.store.commit(&commit(first, states)).await.unwrap(), changed(4500, 0, 0));
    let second = RunId::fresh();
    let mut states: Vec<State> = (1000..6000).map(|n| guarantee(n, second)).collect();
    states.iter_mut().take(2500).for_each(|state| state.verdict = Some(Verdict::Fulfilled));
    assert_eq!(fixture.store.commit(&commit(second, states)).await.unwrap(), changed(1500, 2500, 1000));
    for (n, revisions) in [(999, 1), (1000, 2), (3499, 2), (3500, 1), (4499, 1), (4500, 1), (5999, 1)] {
        assert_eq!(revisions_of(&*fixture.store, &guarantee(n, first)).await.len(), revisions, "hour {n}");
    }
}
