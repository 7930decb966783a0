//! What only the databases show: views, roles, transactions, migrations, crashes.

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use std::sync::Arc;

use probity::model::RunId;
use probity::model::provenance::Digest;
use probity::model::state::{Because, State, Verdict};
use probity::store::{PageRequest, RunQuery, StateQuery, Store, StoreError, StoreOptions, open};
use sqlx::postgres::{PgConnection, PgRow};
use sqlx::sqlite::{SqliteConnection, SqliteRow};
use sqlx::{AssertSqlSafe, Column, Connection, Row};

use super::Fixture;
use super::samples::{at, commit, guarantee, hour, metric};
use crate::harness::postgres::{self, Server};

/// The Grafana contract, in this order.
const COLUMNS: [&str; 14] = [
    "time",
    "agreement",
    "guarantee",
    "scope",
    "window_from",
    "window_to",
    "window_from_local",
    "window_to_local",
    "value",
    "verdict",
    "coverage",
    "provisional",
    "revision",
    "run",
];
/// What the verdicts' view has besides.
const MORE_COLUMNS: [&str; 9] = [
    "unwaived",
    "waiver",
    "score_numerator",
    "score_denominator",
    "penalties",
    "rewards",
    "reason",
    "recorded_at",
    "budget",
];

/// A verdict in two revisions and a metric; the id of the latest run.
async fn two_revisions(store: &dyn Store) -> RunId {
    let first = RunId::fresh();
    let open = State { provisional: true, ..guarantee(0, first) };
    store.commit(&commit(first, vec![open, metric(0, first)])).await.unwrap();
    let second = RunId::fresh();
    let mut state = guarantee(0, second);
    state.verdict = Some(Verdict::Fulfilled);
    state.provisional = true;
    store.commit(&commit(second, vec![state])).await.unwrap();
    second
}

async fn postgres_connection(url: &str) -> PgConnection {
    PgConnection::connect(url).await.unwrap()
}

async fn sqlite_connection(url: &str) -> SqliteConnection {
    SqliteConnection::connect(url).await.unwrap()
}

fn names<R: Row>(row: &R) -> Vec<&str> {
    row.columns().iter().map(Column::name).collect()
}

#[tokio::test]
async fn postgres_views_show_the_latest_revisions() {
    let fixture = Fixture::postgres().await;
    let run = two_revisions(&*fixture.store).await;
    let mut connection = postgres_connection(&fixture.url).await;

    let rows: Vec<PgRow> = sqlx::query("SELECT * FROM probity.verdicts").fetch_all(&mut connection).await.unwrap();
    assert_eq!((rows.len(), names(&rows[0])), (1, [&COLUMNS[..], &MORE_COLUMNS].concat()));
    let row = &rows[0];
    assert_eq!(row.get::<&str, _>("guarantee"), "fast");
    assert_eq!(row.get::<&str, _>("verdict"), "fulfilled");
    assert_eq!(row.get::<f64, _>("coverage"), 0.75);
    assert_eq!(row.get::<f64, _>("value"), 0.1 + 0.2);
    assert_eq!(row.get::<i32, _>("revision"), 2);
    assert!(row.get::<bool, _>("provisional"));
    assert_eq!(row.get::<uuid::Uuid, _>("run"), run.0);
    let found: i64 = sqlx::query_scalar(
        "SELECT count(*) FROM probity.verdicts WHERE scope ->> 'team' = 'blue' AND time = window_to \
         AND window_from = '2026-01-01T00:00:00Z' AND window_to = '2026-01-01T01:00:00Z' \
         AND window_from_local = '2026-01-01T00:00:00Z' AND window_to_local = '2026-01-01T01:00:00Z'",
    )
    .fetch_one(&mut connection)
    .await
    .unwrap();
    assert_eq!(found, 1);

    let rows: Vec<PgRow> = sqlx::query("SELECT * FROM probity.samples").fetch_all(&mut connection).await.unwrap();
    assert_eq!((rows.len(), names(&rows[0])), (1, [&COLUMNS[..], &["metric"]].concat()));
    assert_eq!(rows[0].get::<&str, _>("metric"), "p99");
    assert_eq!(rows[0].get::<Option<&str>, _>("verdict"), None);
    assert_eq!(rows[0].get::<Option<&str>, _>("guarantee"), None);
    assert_eq!(rows[0].get::<Option<f64>, _>("coverage"), None);
}

#[tokio::test]
async fn sqlite_views_show_the_latest_revisions() {
    let fixture = Fixture::sqlite().await;
    let run = two_revisions(&*fixture.store).await;
    let mut connection = sqlite_connection(&fixture.url).await;

    let rows: Vec<SqliteRow> = sqlx::query("SELECT * FROM probity_verdicts").fetch_all(&mut connection).await.unwrap();
    assert_eq!((rows.len(), names(&rows[0])), (1, [&COLUMNS[..], &MORE_COLUMNS].concat()));
    let row = &rows[0];
    assert_eq!(row.get::<&str, _>("guarantee"), "fast");
    assert_eq!(row.get::<&str, _>("verdict"), "fulfilled");
    assert_eq!(row.get::<f64, _>("coverage"), 0.75);
    assert_eq!(row.get::<i32, _>("revision"), 2);
    assert!(row.get::<bool, _>("provisional"));
    assert_eq!(row.get::<&str, _>("run"), run.to_string());
    assert_eq!(row.get::<&str, _>("time"), "2026-01-01T01:00:00Z");
    assert_eq!(row.get::<&str, _>("window_from"), "2026-01-01T00:00:00Z");
    assert_eq!(row.get::<&str, _>("window_to"), "2026-01-01T01:00:00Z");
    assert_eq!(row.get::<&str, _>("window_from_local"), "2026-01-01T00:00:00Z");

    let rows: Vec<SqliteRow> = sqlx::query("SELECT * FROM probity_samples WHERE scope ->> 'team' = 'blue'")
        .fetch_all(&mut connection)
        .await
        .unwrap();
    assert_eq!((rows.len(), names(&rows[0])), (1, [&COLUMNS[..], &["metric"]].concat()));
    assert_eq!(rows[0].get::<&str, _>("metric"), "p99");
    assert_eq!(rows[0].get::<Option<&str>, _>("verdict"), None);
}

/// What the views say of a waived verdict and of its correction when the waiver has gone.
const WAIVED: &str = "SELECT verdict || ' ' || unwaived || ' ' || (waiver ->> 'owner') || ' ' || score_numerator || '/' \
     || score_denominator FROM verdicts";
const CORRECTED: &str = "SELECT revision || ' ' || verdict_before || ' ' || verdict || ' ' || because FROM corrections";

async fn waived_and_not_any_more(store: &dyn Store, ask: impl AsyncFn(&str) -> Vec<String>) {
    let run = RunId::fresh();
    let waived = super::samples::waived(0, run);
    store.commit(&commit(run, vec![waived.clone()])).await.unwrap();
    assert_eq!(ask(WAIVED).await, ["waived violated ana -9/30"]);
    assert_eq!(ask(CORRECTED).await, [""; 0]);
    store.commit(&commit(run, vec![guarantee(0, run)])).await.unwrap();
    assert_eq!(ask(CORRECTED).await, ["2 waived violated waiver"]);
    let mut late = guarantee(0, run);
    late.verdict = Some(Verdict::Fulfilled);
    store.commit(&commit(run, vec![late])).await.unwrap();
    let mut corrections = ask(CORRECTED).await;
    corrections.sort();
    assert_eq!(corrections, ["2 waived violated waiver", "3 violated fulfilled evidence"]);
    // Waived again, and then kept by other evidence: it is not the waiver that has gone.
    store.commit(&commit(run, vec![waived])).await.unwrap();
    let mut late = guarantee(0, run);
    (late.verdict, late.inputs) = (Some(Verdict::Fulfilled), Some(Digest([8; 32])));
    store.commit(&commit(run, vec![late])).await.unwrap();
    let corrections = ask(CORRECTED).await;
    assert!(corrections.contains(&"5 waived fulfilled evidence".to_owned()), "{corrections:?}");
    let page = PageRequest { limit: 1, after: None };
    let found = store.corrections(&StateQuery::default(), &page).await.unwrap();
    assert_eq!(found.items[0].because, Because::Evidence);
}

#[tokio::test]
async fn postgres_views_show_waivers_and_corrections() {
    let fixture = Fixture::postgres().await;
    waived_and_not_any_more(&*fixture.store, async |sql: &str| {
        let sql = sql.replace("FROM ", "FROM probity.");
        let mut connection = postgres_connection(&fixture.url).await;
        sqlx::query_scalar(AssertSqlSafe(sql)).fetch_all(&mut connection).await.unwrap()
    })
    .await;
}

#[tokio::test]
async fn sqlite_views_show_waivers_and_corrections() {
    let fixture = Fixture::sqlite().await;
    waived_and_not_any_more(&*fixture.store, async |sql: &str| {
        let sql = sql.replace("FROM ", "FROM probity_");
        let mut connection = sqlite_connection(&fixture.url).await;
        sqlx::query_scalar(AssertSqlSafe(sql)).fetch_all(&mut connection).await.unwrap()
    })
    .await;
}

#[tokio::test]
async fn grafanas_role_reads_the_views_and_nothing_else() {
    let fixture = Fixture::postgres().await;
    two_revisions(&*fixture.store).await;
    let mut connection = postgres_connection(&fixture.url).await;
    sqlx::query("SET ROLE grafana_ro").execute(&mut connection).await.unwrap();
    for (view, wanted) in
        [("verdicts", 1), ("samples", 1), ("corrections", 0), ("budgets", 0), ("burn_rates", 0), ("\"Points\"", 0)]
    {
        let sql = format!("SELECT count(*) FROM probity.{view}");
        let rows: i64 = sqlx::query_scalar(AssertSqlSafe(sql)).fetch_one(&mut connection).await.unwrap();
        assert_eq!(rows, wanted, "{view}");
    }
    for refused in [
        "SELECT * FROM probity.state",
        "SELECT * FROM probity.state_revision",
        "SELECT * FROM probity.run",
        "SELECT * FROM probity.audit",
        "SELECT * FROM probity.claim",
        "SELECT * FROM probity.waiver",
        "SELECT * FROM probity.provenance",
        "SELECT * FROM probity.migration",
        "SELECT * FROM probity.delivery",
        "SELECT * FROM probity.context_value",
        "SELECT * FROM probity.rate_limit",
        "SELECT * FROM probity.state_20260101",
        "UPDATE probity.verdicts SET verdict = 'fulfilled'",
        "DELETE FROM probity.samples",
        "INSERT INTO probity.claim (schedule, due_at, claimed_at) VALUES ('x', now(), now())",
        "CREATE TABLE probity.mine (x int)",
    ] {
        let error = sqlx::query(refused).execute(&mut connection).await.expect_err(refused);
        let code = error.as_database_error().and_then(|error| error.code()).unwrap_or_default();
        assert_eq!(code, "42501", "{refused}: {error}");
    }
}

/// A server of its own: roles are the server's, and the other tests want this one.
#[tokio::test]
async fn a_user_who_may_not_create_roles_can_migrate_and_the_role_is_granted_later() {
    let server = Server::start(false);
    let url = server.database().await;
    let mut admin = postgres_connection(&url).await;
    let database = url::Url::parse(&url).unwrap().path().trim_start_matches('/').to_owned();
    let setup = format!("CREATE ROLE plain LOGIN; ALTER DATABASE {database} OWNER TO plain");
    sqlx::raw_sql(AssertSqlSafe(setup)).execute(&mut admin).await.unwrap();
    let store = open(&url.replace("postgres@", "plain@"), &StoreOptions::default()).await.unwrap();
    store.migrate().await.unwrap();
    let may_read = "SELECT has_table_privilege('grafana_ro', 'probity.verdicts', 'SELECT')";
    assert!(sqlx::query(may_read).execute(&mut admin).await.is_err(), "there is no such role yet");

    sqlx::query("CREATE ROLE grafana_ro NOLOGIN").execute(&mut admin).await.unwrap();
    store.migrate().await.unwrap();
    let may_read: bool = sqlx::query_scalar(may_read).fetch_one(&mut admin).await.unwrap();
    assert!(may_read);
    two_revisions(&*store).await;
}

/// Nothing of `commit` that would have come is to be seen.
async fn assert_only_the_first(store: &dyn Store, first: RunId, failed: RunId) {
    let revisions = {
        let state = guarantee(0, first);
        let (from, to) = (state.window.from, state.window.to);
        store.revisions(&state.agreement, state.kind, &state.of, &state.scope, from, to).await.unwrap()
    };
    assert_eq!(revisions.iter().map(|stored| &stored.state).collect::<Vec<_>>(), [&guarantee(0, first)]);
    assert_eq!(store.states(&StateQuery::default(), &PageRequest::default()).await.unwrap().items.len(), 1);
    assert!(store.run(failed).await.unwrap().is_none());
    assert_eq!(store.audit_entries(&PageRequest::default()).await.unwrap().items.len(), 1);
}

/// Breaks the last steps of a commit by a trigger, and sees that the first ones are undone.
async fn a_failing_commit_leaves_nothing(
    store: Arc<dyn Store>,
    break_it: impl AsyncFnOnce(),
    mend: impl AsyncFnOnce(),
) {
    let first = RunId::fresh();
    store.commit(&commit(first, vec![guarantee(0, first)])).await.unwrap();
    let second = RunId::fresh();
    let mut changed = guarantee(0, second);
    changed.verdict = Some(Verdict::Fulfilled);
    let commit = commit(second, vec![changed, guarantee(1, second)]);
    break_it().await;
    assert!(matches!(store.commit(&commit).await, Err(StoreError::Database { .. })));
    assert_only_the_first(&*store, first, second).await;
    mend().await;
    assert_eq!(store.commit(&commit).await.unwrap().revised, 1);
}

#[tokio::test]
async fn a_failing_commit_leaves_nothing_in_postgres() {
    let fixture = Fixture::postgres().await;
    let run = async |sql: &'static str| {
        sqlx::raw_sql(sql).execute(&mut postgres_connection(&fixture.url).await).await.unwrap();
    };
    a_failing_commit_leaves_nothing(
        fixture.store.clone(),
        async || {
            run("CREATE FUNCTION broken() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'broken'; END $$; \
                 CREATE TRIGGER broken BEFORE INSERT ON probity.audit EXECUTE FUNCTION broken()")
            .await;
        },
        async || run("DROP TRIGGER broken ON probity.audit").await,
    )
    .await;
}

#[tokio::test]
async fn a_failing_commit_leaves_nothing_in_sqlite() {
    let fixture = Fixture::sqlite().await;
    let run = async |sql: &'static str| {
        sqlx::raw_sql(sql).execute(&mut sqlite_connection(&fixture.url).await).await.unwrap();
    };
    a_failing_commit_leaves_nothing(
        fixture.store.clone(),
        async || {
            run("CREATE TRIGGER broken BEFORE INSERT ON probity_audit BEGIN SELECT RAISE(ABORT, 'broken'); END").await;
        },
        async || run("DROP TRIGGER broken").await,
    )
    .await;
}

/// As several processes that start at once: each with connections of its own.
async fn many_migrate_at_once(url: &str) {
    let starters: Vec<_> = (0..6)
        .map(|_| {
            let url = url.to_owned();
            tokio::spawn(async move {
                let store = open(&url, &StoreOptions::default()).await.unwrap();
                store.migrate().await.unwrap();
                store.migrate().await.unwrap();
                let id = RunId::fresh();
                store.commit(&commit(id, vec![guarantee(0, id)])).await.unwrap()
            })
        })
        .collect();
    let mut inserted = 0;
    for starter in starters {
        inserted += starter.await.unwrap().inserted;
    }
    assert_eq!(inserted, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_migrate_postgres_at_once() {
    many_migrate_at_once(&postgres::database().await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_migrate_sqlite_at_once() {
    let fixture = Fixture::sqlite().await;
    many_migrate_at_once(&fixture.url.replace("probity.db", "fresh.db")).await;
}

#[tokio::test]
async fn an_unusable_database_says_why_and_never_its_password() {
    let missing = postgres::with_database(&postgres::database().await, "no_such_database");
    let file = std::env::temp_dir().join(format!("probity-no-database-{}", uuid::Uuid::new_v4().simple()));
    std::fs::write(&file, "this is a text of more than a hundred bytes, ".repeat(9)).unwrap();
    let cases = [
        (missing, "CREATE DATABASE"),
        ("postgres://ana:s3cret@127.0.0.1:1/probity".to_owned(), "is Postgres running there"),
        ("postgres://ana:s3cret@127.0.0.1:port/probity".to_owned(), "expected postgres://"),
        ("sqlite:".to_owned(), "give sqlite:<path>"),
        ("sqlite:/proc/nowhere/probity.db".to_owned(), "this user may write"),
        (format!("sqlite:{}/probity.db", file.display()), "cannot create the folder"),
        (format!("sqlite:{}", file.display()), "is a SQLite database or absent"),
    ];
    for (url, hint) in cases {
        let error = open(&url, &StoreOptions::default()).await.err().unwrap_or_else(|| panic!("{url} opened"));
        assert!(matches!(error, StoreError::Unusable { .. }), "{error}");
        let text = error.to_string();
        assert!(text.contains(hint) && !text.contains("s3cret"), "{url}: {text}");
    }
    std::fs::remove_file(file).unwrap();
}

/// States a commit of the child holds.
const CHILD_STATES: i64 = 300;
/// Where the child finds its database.
const CHILD_URL: &str = "PROBITY_TEST_STORE_CHILD_URL";

/// Not a test: what [`kill_and_look`] starts and kills. Commits for ever and says so after each commit.
#[tokio::test]
#[ignore = "a child process of the crash tests"]
#[expect(clippy::disallowed_methods, reason = "how a parent test speaks to its child")]
async fn commit_until_killed() {
    let Ok(url) = std::env::var(CHILD_URL) else { return };
    let store = open(&url, &StoreOptions::default()).await.unwrap();
    loop {
        println!("committed {}", commit_child_states(&*store).await);
    }
}

/// Changes every one of the child's states.
async fn commit_child_states(store: &dyn Store) -> RunId {
    let id = RunId::fresh();
    let mut states: Vec<State> = (0..CHILD_STATES).map(|n| guarantee(n, id)).collect();
    states.iter_mut().for_each(|state| state.reason = id.to_string());
    store.commit(&commit(id, states)).await.unwrap();
    id
}

/// Kills a process that commits, wherever it stands, and sees that all it said is there and nothing is there in part.
async fn kill_and_look(url: &str, store: &dyn Store) {
    for acknowledged_before in [0, 1, 3] {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "store::databases::commit_until_killed", "--ignored", "--nocapture"])
            .env(CHILD_URL, url)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap);
        let run_of = |line: String| line.rsplit_once("committed ").map(|(_, id)| id.parse::<RunId>().unwrap());
        let mut acknowledged: Vec<RunId> = lines.by_ref().filter_map(run_of).take(1 + acknowledged_before).collect();
        child.kill().unwrap();
        child.wait().unwrap();
        // What it had still said before it died.
        acknowledged.extend(lines.filter_map(run_of));
        assert!(acknowledged.len() > acknowledged_before);
        // Takes its turn after the server has ended what the dead child had begun.
        acknowledged.push(commit_child_states(store).await);

        for id in &acknowledged {
            assert!(store.run(*id).await.unwrap().is_some(), "an acknowledged commit is lost");
        }
        assert_whole(store).await;
    }
}

/// Every run has its audit entry and all its states, as latest ones or as replaced ones.
async fn assert_whole(store: &dyn Store) {
    let page = PageRequest { limit: 1000, after: None };
    let runs = store.runs(&RunQuery::default(), &page).await.unwrap().items;
    assert_eq!(store.audit_entries(&page).await.unwrap().items.len(), runs.len());
    let mut ids: Vec<RunId> = runs.iter().map(|run| run.id).collect();
    ids.sort();
    let latest = store.states(&StateQuery::default(), &page).await.unwrap().items;
    assert_eq!(latest.len() as i64, CHILD_STATES);
    assert!(latest.iter().all(|stored| stored.state.run == latest[0].state.run));
    for n in [0, CHILD_STATES / 2, CHILD_STATES - 1] {
        let state = guarantee(n, runs[0].id);
        let revisions = store
            .revisions(&state.agreement, state.kind, &state.of, &state.scope, hour(n).from, hour(n).to)
            .await
            .unwrap();
        let mut of_runs: Vec<RunId> = revisions.iter().map(|stored| stored.state.run).collect();
        of_runs.sort();
        assert_eq!(of_runs, ids);
    }
}

#[tokio::test]
async fn kill_9_leaves_sqlite_whole() {
    let fixture = Fixture::sqlite().await;
    kill_and_look(&fixture.url, &*fixture.store).await;
}

#[tokio::test]
async fn kill_9_leaves_postgres_whole() {
    let fixture = Fixture::postgres().await;
    kill_and_look(&fixture.url, &*fixture.store).await;
}

/// Somebody else holds what we need: the call ends in an error, and nothing of it stays.
#[tokio::test]
async fn a_call_that_takes_too_long_fails_and_leaves_nothing() {
    let fixture = Fixture::postgres().await;
    let first = RunId::fresh();
    fixture.store.commit(&commit(first, vec![guarantee(0, first)])).await.unwrap();
    let mut other = postgres_connection(&fixture.url).await;
    let mut holding = other.begin().await.unwrap();
    sqlx::query("LOCK TABLE probity.audit").execute(&mut *holding).await.unwrap();

    let hasty = open(&fixture.url, &StoreOptions { call_timeout_ms: 50, ..StoreOptions::default() }).await.unwrap();
    let second = RunId::fresh();
    let mut changed = guarantee(0, second);
    changed.verdict = Some(Verdict::Fulfilled);
    let commit = commit(second, vec![changed, guarantee(1, second)]);
    let error = hasty.commit(&commit).await.unwrap_err().to_string();
    assert!(error.contains("no answer within 50 ms"), "{error}");

    holding.rollback().await.unwrap();
    assert_only_the_first(&*fixture.store, first, second).await;
    // Waits its turn after the transaction that was given up.
    assert_eq!(fixture.store.commit(&commit).await.unwrap().revised, 1);
}

/// Without an answer to `COMMIT`, nobody knows; so a store that cannot reach its database must say so.
#[tokio::test]
async fn a_lost_server_is_an_error_and_no_silence() {
    let server = Server::start(true);
    let options = StoreOptions { connect_timeout_ms: 500, ..StoreOptions::default() };
    let store = open(&server.database().await, &options).await.unwrap();
    store.migrate().await.unwrap();
    drop(server);
    let id = RunId::fresh();
    assert!(store.commit(&commit(id, vec![guarantee(0, id)])).await.is_err());
    assert!(store.ping().await.is_err());
    let key = probity::store::ClaimKey { schedule: "x".into(), due_at: at("2026-01-01T00:00:00Z") };
    let due = probity::store::Due { at: key.due_at, key, how: probity::store::How::Live };
    assert!(store.claim(&due, probity::store::Holder { owner: "us", lease_ms: 1000 }).await.is_err());
}
