//! Leases of firings and duties: the same promises of every store. A lease of 0 ms has run out at once; so nothing waits.

use std::sync::Arc;

use jiff::Timestamp;
use probity::model::RunId;
use probity::store::{
    Claim, ClaimKey, Due, Holder, How, Page, PageRequest, StateQuery, Store, StoreError, StoreOptions, open,
};

use super::Fixture;
use super::samples::{commit, guarantee, hour};

promises! {
    exactly_one_claimer_wins
    a_claim_is_open_until_its_evaluation_is_committed
    a_lease_that_ran_out_is_had_by_the_next_with_the_next_epoch
    a_late_evaluation_is_refused_whole
    the_same_run_may_complete_a_claim_again
    leases_are_extended_and_lost_ones_told
    rows_are_made_once_and_say_how_they_came
    only_free_claims_of_known_schedules_are_offered
    ticks_tell_planned_and_begun
    a_firing_that_overlaps_says_so
    a_duty_is_had_by_one_at_a_time
}

/// Long enough for any test.
const LONG_MS: u64 = 3_600_000;

fn firing(n: i64) -> ClaimKey {
    ClaimKey { schedule: "sla".into(), due_at: hour(n).to }
}

fn due(key: &ClaimKey) -> Due {
    Due { key: key.clone(), how: How::Live, at: key.due_at }
}

async fn lease(store: &dyn Store, key: &ClaimKey, owner: &str, lease_ms: u64) -> Option<Claim> {
    store.claim(&due(key), Holder { owner, lease_ms }).await.unwrap().map(|claimed| claimed.claim)
}

/// Leased for long; `None` when somebody has it.
pub async fn held(store: &dyn Store, key: &ClaimKey) -> Option<Claim> {
    lease(store, key, "us", LONG_MS).await
}

async fn ticks(store: &dyn Store) -> Vec<probity::store::Tick> {
    store.ticks("sla", &PageRequest::default()).await.unwrap().items
}

async fn exactly_one_claimer_wins(fixture: &Fixture) {
    for n in 0..5 {
        let claimers: Vec<_> = (0..8)
            .map(|i| {
                let store = fixture.store.clone();
                tokio::spawn(
                    async move { lease(&*store, &firing(n), &format!("replica {i}"), LONG_MS).await.is_some() },
                )
            })
            .collect();
        let mut winners = 0;
        for claimer in claimers {
            winners += usize::from(claimer.await.unwrap());
        }
        assert_eq!(winners, 1);
    }
    assert_eq!(fixture.store.last_claim("sla").await.unwrap(), Some(hour(4).to));
    assert_eq!(fixture.store.last_claim_until("sla", hour(3).from).await.unwrap(), Some(hour(2).to));
    assert_eq!(fixture.store.last_claim("other").await.unwrap(), None);
}

async fn a_claim_is_open_until_its_evaluation_is_committed(fixture: &Fixture) {
    let store = &*fixture.store;
    let mut claims = Vec::new();
    for n in [3, 1, 2] {
        claims.push(held(store, &firing(n)).await.expect("nobody had it"));
    }
    assert_eq!(store.open_claims().await.unwrap(), [firing(1), firing(2), firing(3)], "oldest first");
    let id = RunId::fresh();
    let mut commit = commit(id, vec![guarantee(1, id)]);
    commit.claim = Some(claims[1].clone());
    store.commit(&commit).await.unwrap();
    assert!(store.complete_claim(&claims[2], RunId::fresh(), hour(9).to).await.unwrap());
    assert_eq!(store.open_claims().await.unwrap(), [firing(3)]);
    for n in 1..=3 {
        assert_eq!(held(store, &firing(n)).await, None, "completed, or held");
    }
}

async fn a_lease_that_ran_out_is_had_by_the_next_with_the_next_epoch(fixture: &Fixture) {
    let store = &*fixture.store;
    let first = lease(store, &firing(1), "one", 0).await.unwrap();
    let second = lease(store, &firing(1), "two", 0).await.unwrap();
    let third = lease(store, &firing(1), "three", LONG_MS).await.unwrap();
    assert_eq!([first.epoch, second.epoch, third.epoch], [1, 2, 3]);
    assert_eq!(lease(store, &firing(1), "four", LONG_MS).await, None);
    for late in [&first, &second] {
        assert!(!store.complete_claim(late, RunId::fresh(), hour(1).to).await.unwrap());
        store.release_claim(late).await.unwrap();
    }
    assert_eq!(lease(store, &firing(1), "four", LONG_MS).await, None, "who is late gives nothing back");
    store.release_claim(&third).await.unwrap();
    assert_eq!(lease(store, &firing(1), "four", LONG_MS).await.unwrap().epoch, 4);
}

async fn a_late_evaluation_is_refused_whole(fixture: &Fixture) {
    let store = &*fixture.store;
    let late = lease(store, &firing(1), "one", 0).await.unwrap();
    let ours = held(store, &firing(1)).await.unwrap();
    let commit_of = |claim: &Claim, n| {
        let id = RunId::fresh();
        let mut commit = commit(id, vec![guarantee(n, id)]);
        commit.claim = Some(claim.clone());
        commit
    };
    let turn = store.turn(&commit_of(&late, 1).run.subject).await.unwrap();
    for refused in [
        store.commit(&commit_of(&late, 1)).await.map(|_| ()),
        store.commit_at(&commit_of(&late, 1), turn).await.map(|_| ()),
    ] {
        assert!(matches!(refused, Err(StoreError::Late { .. })), "{refused:?}");
    }
    assert!(store.states(&StateQuery::default(), &PageRequest::default()).await.unwrap().items.is_empty());
    assert_eq!(store.turn(&commit_of(&late, 1).run.subject).await.unwrap(), turn, "nothing of it was stored");
    store.commit(&commit_of(&ours, 1)).await.unwrap();
    let again = store.commit(&commit_of(&ours, 2)).await;
    assert!(matches!(again, Err(StoreError::Late { .. })), "another run of the same lease is one too many: {again:?}");
    assert_eq!(store.states(&StateQuery::default(), &PageRequest::default()).await.unwrap().items.len(), 1);
}

async fn the_same_run_may_complete_a_claim_again(fixture: &Fixture) {
    let store = &*fixture.store;
    let claim = held(store, &firing(1)).await.unwrap();
    let id = RunId::fresh();
    let mut commit = commit(id, vec![guarantee(1, id)]);
    commit.claim = Some(claim.clone());
    for _ in 0..2 {
        store.commit(&commit).await.unwrap();
        assert!(store.complete_claim(&claim, id, hour(2).to).await.unwrap());
    }
    assert!(!store.complete_claim(&claim, RunId::fresh(), hour(2).to).await.unwrap(), "the first run stays");
    assert_eq!(ticks(store).await[0].run, Some(id));
    let never = Claim { key: firing(7), epoch: 1 };
    assert!(!store.complete_claim(&never, id, hour(7).to).await.unwrap());
    assert!(held(store, &firing(7)).await.is_some(), "completing what nobody claimed claims nothing");
}

async fn leases_are_extended_and_lost_ones_told(fixture: &Fixture) {
    let store = &*fixture.store;
    // It has run out, but nobody took it: it is had again.
    let kept = lease(store, &firing(1), "one", 0).await.unwrap();
    let lost = lease(store, &firing(2), "one", 0).await.unwrap();
    held(store, &firing(2)).await.unwrap();
    let done = lease(store, &firing(3), "one", LONG_MS).await.unwrap();
    assert!(store.complete_claim(&done, RunId::fresh(), hour(3).to).await.unwrap());
    let of_none = Claim { key: firing(9), epoch: 1 };
    let extended = store.extend_claims(&[kept, lost, done, of_none], LONG_MS).await.unwrap();
    assert_eq!(extended, [true, false, true, false], "who completed it has lost nothing");
    assert_eq!(lease(store, &firing(1), "two", LONG_MS).await, None);
    assert!(store.extend_claims(&[], LONG_MS).await.unwrap().is_empty());
}

async fn rows_are_made_once_and_say_how_they_came(fixture: &Fixture) {
    let store = &*fixture.store;
    let missed = |n| Due { how: How::Missed, ..due(&firing(n)) };
    assert_eq!(store.materialise(&[missed(2), missed(1)]).await.unwrap(), 2);
    let first = Due { how: How::First, ..due(&firing(3)) };
    assert_eq!(store.materialise(&[missed(1), first, missed(2)]).await.unwrap(), 1);
    assert_eq!(store.open_claims().await.unwrap(), [firing(1), firing(2), firing(3)]);
    for (n, how) in [(1, How::Missed), (3, How::First)] {
        let claimed = store.claim(&due(&firing(n)), Holder { owner: "us", lease_ms: LONG_MS }).await.unwrap().unwrap();
        assert_eq!((claimed.how, claimed.claim.epoch), (Some(how), 1), "the row knows");
    }
}

async fn only_free_claims_of_known_schedules_are_offered(fixture: &Fixture) {
    let store = &*fixture.store;
    for n in 1..=4 {
        lease(store, &firing(n), "gone", 0).await.unwrap();
    }
    held(store, &firing(2)).await.unwrap();
    let other = ClaimKey { schedule: "other".into(), due_at: hour(1).to };
    lease(store, &other, "gone", 0).await.unwrap();
    assert_eq!(store.leasable_claims(&["sla"], 10).await.unwrap(), [firing(1), firing(3), firing(4)]);
    assert_eq!(store.leasable_claims(&["sla", "other"], 2).await.unwrap(), [other, firing(1)]);
    assert!(store.leasable_claims(&[], 10).await.unwrap().is_empty());
}

async fn ticks_tell_planned_and_begun(fixture: &Fixture) {
    let store = &*fixture.store;
    let begun: Timestamp = hour(1).to + jiff::SignedDuration::from_millis(1_500);
    store.materialise(&[due(&firing(1)), due(&firing(2))]).await.unwrap();
    let late = Due { at: begun, ..due(&firing(1)) };
    let claimed = store.claim(&late, Holder { owner: "us", lease_ms: 0 }).await.unwrap().unwrap();
    // Whoever takes it up does not begin it anew.
    let later = Due { at: hour(5).to, ..due(&firing(1)) };
    let taken = store.claim(&later, Holder { owner: "them", lease_ms: LONG_MS }).await.unwrap().unwrap();
    assert_eq!(claimed.claim.epoch + 1, taken.claim.epoch);
    let run = RunId::fresh();
    assert!(store.complete_claim(&taken.claim, run, hour(6).to).await.unwrap());
    let found = ticks(store).await;
    let [open, done] = &found[..] else { panic!("two rows, newest first: {found:?}") };
    assert_eq!((&open.key, open.started_at, open.drift_ms, open.run), (&firing(2), None, None, None));
    assert_eq!((&done.key, done.started_at, done.drift_ms), (&firing(1), Some(begun), Some(1_500)));
    assert_eq!((done.ended_at, done.leases, done.run), (Some(hour(6).to), 2, Some(run)));
    assert_eq!((done.owner.as_deref(), done.how), (Some("them"), Some(How::Live)));
    let page = |after| PageRequest { limit: 1, after };
    let Page { items, next } = store.ticks("sla", &page(None)).await.unwrap();
    assert_eq!(items[0].key, firing(2));
    assert_eq!(store.ticks("sla", &page(next)).await.unwrap().items[0].key, firing(1));
}

async fn a_firing_that_overlaps_says_so(fixture: &Fixture) {
    let store = &*fixture.store;
    let overlaps = async |n: i64| {
        store.claim(&due(&firing(n)), Holder { owner: "us", lease_ms: LONG_MS }).await.unwrap().unwrap().overlapping
    };
    lease(store, &firing(1), "gone", 0).await.unwrap();
    assert!(!overlaps(2).await, "nobody is at the one before");
    assert!(overlaps(3).await);
    let flags: Vec<bool> = ticks(store).await.iter().map(|tick| tick.overlapping).collect();
    assert_eq!(flags, [true, false, false], "newest first");
}

async fn a_duty_is_had_by_one_at_a_time(fixture: &Fixture) {
    let store = &*fixture.store;
    let take = async |owner: &str, lease_ms| store.take_duty("d", Holder { owner, lease_ms }).await.unwrap();
    assert!(take("one", LONG_MS).await && !take("two", LONG_MS).await && take("one", 0).await);
    assert!(take("two", LONG_MS).await, "the first one's time is over");
    store.leave_duty("d", "one").await.unwrap();
    assert!(!take("one", LONG_MS).await, "nobody lays down what another has");
    store.leave_duty("d", "two").await.unwrap();
    assert!(take("one", LONG_MS).await);
    assert!(store.take_duty("e", Holder { owner: "two", lease_ms: LONG_MS }).await.unwrap(), "another duty");
}

/// Another process sees the same rows.
#[tokio::test]
async fn leases_hold_between_processes_on_one_file() {
    let fixture = Fixture::sqlite().await;
    let other: Arc<dyn Store> = open(&fixture.url, &StoreOptions::default()).await.unwrap();
    held(&*fixture.store, &firing(1)).await.unwrap();
    assert_eq!(lease(&*other, &firing(1), "other", LONG_MS).await, None);
    assert_eq!(lease(&*other, &firing(2), "other", 0).await.unwrap().epoch, 1);
    assert_eq!(held(&*fixture.store, &firing(2)).await.unwrap().epoch, 2);
}
