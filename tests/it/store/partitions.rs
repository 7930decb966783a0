//! Partitions by day in Postgres: the identity stays unique, every day finds a place, and what was there is carried over.

use probity::model::RunId;
use probity::model::state::{State, Verdict};
use probity::store::{PageRequest, Retention, RunQuery, StateQuery, Store, StoreOptions, open};
use sqlx::migrate::Migrator;
use sqlx::postgres::PgConnection;
use sqlx::{AssertSqlSafe, Connection};

use super::Fixture;
use super::samples::{at, commit, guarantee, metric, run_of};
use crate::harness::postgres;

async fn connection(url: &str) -> PgConnection {
    PgConnection::connect(url).await.unwrap()
}

async fn partitions(url: &str, of: &str) -> Vec<String> {
    sqlx::query_scalar("SELECT name FROM probity.partitions($1) ORDER BY name")
        .bind(of)
        .fetch_all(&mut connection(url).await)
        .await
        .unwrap()
}

async fn states(store: &dyn Store) -> Vec<State> {
    let page = PageRequest { limit: 1000, after: None };
    store.states(&StateQuery::default(), &page).await.unwrap().items.into_iter().map(|stored| stored.state).collect()
}

/// One whose window ends then.
fn ending(to: &str, run: RunId) -> State {
    let mut state = guarantee(0, run);
    state.window.to = at(to);
    state
}

#[tokio::test]
async fn partitions_of_the_next_days_are_there_before_anything_comes() {
    let fixture = Fixture::postgres().await;
    fixture.store.upkeep(at("2026-02-26T23:59:59Z"), &Retention::default()).await.unwrap();
    for of in ["run", "state", "state_revision"] {
        let days = ["20260226", "20260227", "20260228", "20260301", "20260302", "20260303", "20260304", "20260305"];
        let wanted: Vec<String> = days.iter().map(|day| format!("{of}_{day}")).collect();
        assert_eq!(partitions(&fixture.url, of).await, wanted);
    }
}

/// Old, odd and far days: few partitions, whatever comes.
#[tokio::test]
async fn every_day_finds_a_place() {
    let fixture = Fixture::postgres().await;
    let id = RunId::fresh();
    let ends = [
        "-004700-03-15T00:00:00Z",
        "1969-12-31T23:59:59.999999Z",
        "1970-01-01T00:00:00Z",
        "2019-05-31T12:00:00Z",
        "2019-06-01T00:00:00Z",
        "2025-06-30T00:00:00Z",
        "2025-06-01T00:00:00Z",
        "2025-12-31T23:59:59Z",
        "2026-01-01T00:00:00Z",
        "2026-12-31T00:00:00Z",
        "2099-12-31T23:59:59Z",
        "2100-01-01T00:00:00Z",
        "9999-01-01T00:00:00Z",
    ];
    let states: Vec<State> = ends.iter().map(|to| ending(to, id)).collect();
    // Recorded on the first of January of 2026.
    assert_eq!(fixture.store.commit(&commit(id, states.clone())).await.unwrap().inserted, ends.len() as u64);
    assert_eq!(fixture.store.commit(&commit(id, states)).await.unwrap().unchanged, ends.len() as u64);
    let wanted = ["1970", "2019", "202506", "20251231", "20260101", "202612", "2099"];
    let wanted: Vec<String> = wanted.iter().map(|period| format!("state_{period}")).collect();
    assert_eq!(partitions(&fixture.url, "state").await, wanted);
    let found = self::states(&*fixture.store).await;
    let mut sorted = found.clone();
    sorted.sort_by_key(|state| std::cmp::Reverse(state.window.to));
    assert_eq!((found.len(), found), (ends.len(), sorted));
}

/// A month that has days already gets no partition over them.
#[tokio::test]
async fn a_late_day_among_days_is_a_day() {
    let fixture = Fixture::postgres().await;
    let id = RunId::fresh();
    fixture.store.commit(&commit(id, vec![ending("2026-01-10T00:00:00Z", id)])).await.unwrap();
    let mut late = commit(id, vec![ending("2026-01-11T00:00:00Z", id), ending("2025-11-11T00:00:00Z", id)]);
    late.recorded_at = at("2026-06-01T00:00:00Z");
    fixture.store.commit(&late).await.unwrap();
    assert_eq!(partitions(&fixture.url, "state").await, ["state_202511", "state_20260110", "state_20260111"]);
}

/// Partitions of earlier revisions are made when something can become one.
#[tokio::test]
async fn what_is_never_revised_has_no_partitions_for_it() {
    let fixture = Fixture::postgres().await;
    let id = RunId::fresh();
    let month: Vec<State> = (1..=28).map(|day| ending(&format!("2024-02-{day:02}T00:00:00Z"), id)).collect();
    assert_eq!(fixture.store.commit(&commit(id, month.clone())).await.unwrap().inserted, 28);
    assert_eq!(partitions(&fixture.url, "state").await, ["state_202402"]);
    assert_eq!(partitions(&fixture.url, "state_revision").await, Vec::<String>::new());
    let second = RunId::fresh();
    let revised = month.into_iter().map(|state| State { verdict: Some(Verdict::Unknown), run: second, ..state });
    assert_eq!(fixture.store.commit(&commit(second, revised.collect())).await.unwrap().revised, 28);
    assert_eq!(partitions(&fixture.url, "state_revision").await, ["state_revision_202402"]);
    let state = &states(&*fixture.store).await[0];
    let of = (&state.agreement, state.kind, &state.of, &state.scope, state.window.from, state.window.to);
    assert_eq!(fixture.store.revisions(of.0, of.1, of.2, of.3, of.4, of.5).await.unwrap().len(), 2);
}

#[tokio::test]
async fn days_become_months_when_they_are_old_and_nothing_is_lost() {
    let fixture = Fixture::postgres().await;
    let store = &*fixture.store;
    let (first, second) = (RunId::fresh(), RunId::fresh());
    store.commit(&commit(first, (0..100).map(|n| guarantee(n, first)).collect())).await.unwrap();
    let revised = (0..100).map(|n| State { verdict: Some(Verdict::Fulfilled), ..guarantee(n, second) }).collect();
    store.commit(&commit(second, revised)).await.unwrap();
    let before = states(store).await;
    let keeping = |days| Retention { states_days: days, runs_days: None };
    // The month must have ended a month ago; who keeps few days keeps them as days.
    store.upkeep(at("2026-03-03T00:00:00Z"), &keeping(None)).await.unwrap();
    store.upkeep(at("2026-03-04T00:00:00Z"), &keeping(Some(100))).await.unwrap();
    let days = async |of: &str| {
        let names = partitions(&fixture.url, of).await;
        names.into_iter().filter(|name| name.starts_with(&format!("{of}_202601"))).collect::<Vec<_>>()
    };
    assert_eq!(days("state").await.len(), 5);
    store.upkeep(at("2026-03-04T00:00:00Z"), &keeping(None)).await.unwrap();
    assert_eq!(days("state").await, ["state_202601"]);
    assert_eq!(days("state_revision").await, ["state_revision_202601"]);
    assert_eq!(states(store).await, before);
    let state = guarantee(99, first);
    let of = async || {
        let window = &state.window;
        store.revisions(&state.agreement, state.kind, &state.of, &state.scope, window.from, window.to).await.unwrap()
    };
    assert_eq!(of().await.len(), 2);
    // Written to, expired.
    let third = RunId::fresh();
    assert_eq!(store.commit(&commit(third, vec![guarantee(99, third)])).await.unwrap().revised, 1);
    assert_eq!(of().await.len(), 3);
    let expired = store.upkeep(at("2026-09-01T00:00:00Z"), &keeping(Some(200))).await.unwrap();
    assert_eq!((expired.states, expired.revisions), (100, 101));
    assert_eq!(states(store).await, []);
}

#[tokio::test]
async fn a_partition_that_is_there_twice_is_refused_and_so_is_a_second_state() {
    let fixture = Fixture::postgres().await;
    let id = RunId::fresh();
    fixture.store.commit(&commit(id, vec![guarantee(0, id)])).await.unwrap();
    let mut connection = connection(&fixture.url).await;
    let error = sqlx::query("INSERT INTO probity.state SELECT * FROM probity.state").execute(&mut connection).await;
    assert_eq!(error.unwrap_err().as_database_error().unwrap().code().as_deref(), Some("23505"));
    for _ in 0..2 {
        sqlx::query("SELECT probity.add_day('state', '2026-01-01', '2026-01-01')")
            .execute(&mut connection)
            .await
            .unwrap();
    }
    assert_eq!(partitions(&fixture.url, "state").await, ["state_20260101"]);
}

/// As replicas do: each with connections of its own, the same new days, while days are made ahead and dropped.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn replicas_make_and_drop_partitions_at_once() {
    let fixture = Fixture::postgres().await;
    let replicas: Vec<_> = (0..4)
        .map(|replica| {
            let url = fixture.url.clone();
            tokio::spawn(async move {
                let store = open(&url, &StoreOptions::default()).await.unwrap();
                for round in 0..5 {
                    let id = RunId::fresh();
                    let mut states: Vec<State> = (0..8).map(|n| guarantee(n * 24, id)).collect();
                    states.iter_mut().for_each(|state| state.agreement = format!("of {replica}"));
                    states.iter_mut().for_each(|state| state.value = Some(f64::from(round)));
                    store.commit(&commit(id, states)).await.unwrap();
                    let keep = Retention { states_days: Some(3), runs_days: Some(3) };
                    store.upkeep(at("2026-01-08T12:00:00Z"), &keep).await.unwrap();
                }
            })
        })
        .collect();
    for replica in replicas {
        replica.await.unwrap();
    }
    let left = states(&*fixture.store).await;
    assert_eq!(left.len(), 4 * 4, "hours of the fifth day and after, of four replicas");
    assert!(left.iter().all(|state| state.value == Some(4.0)));
}

/// A database as an earlier release left it.
#[tokio::test]
async fn what_an_earlier_release_stored_is_carried_over() {
    let url = postgres::database().await;
    let folder = std::env::temp_dir().join(format!("probity-migrations-{}", uuid::Uuid::new_v4().simple()));
    std::fs::create_dir(&folder).unwrap();
    for name in ["0001_results.sql", "0002_verdicts.sql", "0003_documents.sql"] {
        let source = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("src/store/migrations/postgres").join(name);
        std::fs::copy(source, folder.join(name)).unwrap();
    }
    let mut earlier = Migrator::new(folder.as_path()).await.unwrap();
    std::fs::remove_dir_all(&folder).unwrap();
    earlier.dangerous_set_table_name("probity.migration");
    let mut connection = connection(&url).await;
    sqlx::raw_sql("CREATE SCHEMA probity").execute(&mut connection).await.unwrap();
    earlier.run_direct(None, &mut connection, false).await.unwrap();

    // Stored by this release elsewhere, and taken over column by column: the columns are the same.
    let fixture = Fixture::postgres().await;
    let (first, second) = (RunId::fresh(), RunId(uuid::Uuid::new_v4()));
    let mut old = commit(first, (0..60).flat_map(|n| [guarantee(n, first), metric(n, first)]).collect());
    old.states.push(ending("1969-01-01T00:00:00Z", first));
    old.states.push(ending("2030-01-01T00:00:00Z", first));
    fixture.store.commit(&old).await.unwrap();
    let revised = vec![State { verdict: Some(Verdict::Fulfilled), ..guarantee(0, second) }];
    fixture.store.commit(&commit(second, revised)).await.unwrap();
    fixture.store.record_runs(&[run_of("flow", RunId::fresh())]).await.unwrap();
    for table in ["provenance", "state", "state_revision", "run"] {
        let rows: Vec<String> = sqlx::query_scalar(AssertSqlSafe(format!("SELECT t::text FROM probity.{table} AS t")))
            .fetch_all(&mut self::connection(&fixture.url).await)
            .await
            .unwrap();
        assert!(!rows.is_empty(), "{table}");
        let insert =
            format!("INSERT INTO probity.{table} SELECT (row::probity.{table}).* FROM unnest($1::text[]) AS row");
        sqlx::query(AssertSqlSafe(insert)).bind(rows).execute(&mut connection).await.unwrap();
    }

    let store = open(&url, &StoreOptions::default()).await.unwrap();
    store.migrate().await.unwrap();
    assert_eq!(states(&*store).await, states(&*fixture.store).await);
    let page = PageRequest::default();
    let query = StateQuery::default();
    assert_eq!(store.corrections(&query, &page).await.unwrap().items.len(), 1);
    let runs = async |store: &dyn Store| store.runs(&RunQuery::default(), &page).await.unwrap().items;
    assert_eq!(runs(&*store).await, runs(&*fixture.store).await);
    assert_eq!(runs(&*store).await.len(), 3);
    let seen: i64 =
        sqlx::query_scalar("SELECT count(*) FROM probity.verdicts").fetch_one(&mut connection).await.unwrap();
    assert_eq!(seen, 62);
    // And is gone on with.
    let third = RunId::fresh();
    assert_eq!(
        store.commit(&commit(third, vec![guarantee(1, third), guarantee(2, third)])).await.unwrap().unchanged,
        2
    );
}
