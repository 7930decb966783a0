//! Grafana's provisioning and dashboard: shape, and every query as the read-only user on the migrated schema.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

use probity::model::RunId;
use probity::model::state::{Coverage, State, Verdict};
use probity::store::{self, StoreOptions};
use serde_json::Value;
use sqlx::{Column, Connection, Executor, PgConnection, Row, TypeInfo};

use super::macros::{Choice, expand};
use crate::harness::postgres::Server;
use crate::store::samples;

const DASHBOARD: &str = "deploy/grafana/dashboards/verdicts.json";

fn dashboard() -> Value {
    serde_json::from_str(&super::read(DASHBOARD)).expect("the dashboard is JSON")
}

fn yaml(path: &str) -> Value {
    serde_saphyr::from_str(&super::read(path)).unwrap_or_else(|e| panic!("{path}: {e}"))
}

fn list<'v>(value: &'v Value, key: &str) -> &'v [Value] {
    value[key].as_array().unwrap_or_else(|| panic!("{key}: a list"))
}

#[test]
fn the_datasource_logs_in_as_the_read_only_user_with_a_password_from_the_environment() {
    let file = yaml("deploy/grafana/provisioning/datasources/probity.yml");
    assert_eq!(file["apiVersion"], 1);
    let [source] = list(&file, "datasources") else { panic!("one datasource") };
    assert_eq!(source["type"], "grafana-postgresql-datasource");
    assert_eq!((&source["name"], &source["user"]), (&"STATUS datasource".into(), &"grafana".into()));
    assert_eq!(source["secureJsonData"]["password"], "$GRAFANA_DB_PASSWORD");
    assert_eq!(source["editable"], false);
    // What the file reads, compose gives.
    let compose = yaml("deploy/compose.base.yml");
    let facts = &source["jsonData"];
    for value in [&source["url"], &facts["database"], &facts["sslmode"], &source["secureJsonData"]["password"]] {
        let name = value.as_str().and_then(|v| v.strip_prefix('$')).expect("a variable");
        assert!(compose["services"]["grafana"]["environment"].get(name).is_some(), "compose does not set {name}");
    }
}

#[test]
fn the_provider_reads_the_folder_that_compose_mounts() {
    let file = yaml("deploy/grafana/provisioning/dashboards/probity.yml");
    let [provider] = list(&file, "providers") else { panic!("one provider") };
    let path = provider["options"]["path"].as_str().expect("a path");
    let compose = yaml("deploy/compose.base.yml");
    let mounts = list(&compose["services"]["grafana"], "volumes");
    assert!(
        mounts.iter().any(|m| m.as_str() == Some(&format!("./grafana/dashboards:{path}:ro"))),
        "{path} is not mounted"
    );
    let home = &compose["services"]["grafana"]["environment"]["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"];
    assert_eq!(*home, format!("{path}/verdicts.json").as_str());
}

#[test]
fn the_dashboard_has_the_shape_grafana_reads() {
    let dashboard = dashboard();
    let version = dashboard["schemaVersion"].as_u64().expect("schemaVersion");
    assert!((39..=42).contains(&version), "schemaVersion {version}");
    assert_eq!(dashboard["uid"], "probity-verdicts");
    let panels = list(&dashboard, "panels");
    let ids: BTreeSet<u64> = panels.iter().map(|p| p["id"].as_u64().expect("an id")).collect();
    assert_eq!(ids.len(), panels.len(), "panel ids are unique");
    let source = yaml("deploy/grafana/provisioning/datasources/probity.yml")["datasources"][0]["uid"].clone();
    for panel in panels {
        let title = panel["title"].as_str().expect("a title");
        assert!(!panel["description"].as_str().unwrap_or_default().is_empty(), "{title}: no description");
        for target in list(panel, "targets") {
            assert_eq!(target["datasource"]["uid"], source, "{title}");
            assert!(matches!(target["format"].as_str(), Some("table" | "time_series")), "{title}");
            assert_eq!(target["rawQuery"], true, "{title}");
        }
    }
    for (i, a) in panels.iter().enumerate() {
        for b in &panels[i + 1..] {
            assert!(!overlap(&a["gridPos"], &b["gridPos"]), "{} lies over {}", a["title"], b["title"]);
        }
        assert!(edge(&a["gridPos"], "x", "w") <= 24, "{} is wider than the grid", a["title"]);
    }
}

fn edge(grid: &Value, start: &str, length: &str) -> u64 {
    grid[start].as_u64().expect("a number") + grid[length].as_u64().expect("a number")
}

fn overlap(a: &Value, b: &Value) -> bool {
    let apart = |start: &str, length: &str| {
        edge(a, start, length) <= b[start].as_u64().expect("a number")
            || edge(b, start, length) <= a[start].as_u64().expect("a number")
    };
    !apart("x", "w") && !apart("y", "h")
}

/// The name of the database in an address.
fn database_of(url: &str) -> String {
    url::Url::parse(url).expect("an address").path().trim_start_matches('/').to_string()
}

/// The roles of `deploy/postgres/init`, Probity's schema in STATUS's database, as the users it makes.
async fn provisioned(server: &Server) -> (String, String) {
    let admin = server.database().await;
    let host = url::Url::parse(&admin).expect("an address");
    let host = host.query_pairs().find(|(k, _)| k == "host").expect("the server's socket folder").1.into_owned();
    let script = Command::new("bash")
        .arg(super::file("deploy/postgres/init/10-roles.sh"))
        .env("PGHOST", &host)
        .env("POSTGRES_USER", "postgres")
        .env("POSTGRES_DB", database_of(&admin))
        .env("PROBITY_DB_PASSWORD", "it's \"one\" $password")
        .env("GRAFANA_DB_PASSWORD", "another")
        .output()
        .expect("bash runs");
    assert!(script.status.success(), "{}", String::from_utf8_lossy(&script.stderr));
    let as_user = |user: &str| admin.replace("//postgres@", &format!("//{user}@"));
    let store = store::open(&as_user("probity"), &StoreOptions::default()).await.expect("Probity's user may open");
    store.migrate().await.expect("Probity's user may migrate");
    let (first, second) = (RunId::fresh(), RunId::fresh());
    store.commit(&samples::commit(first, states(first))).await.expect("Probity's user may write");
    // A second opinion on one window: a revision.
    let revised = State { verdict: Some(Verdict::Fulfilled), ..states(second).swap_remove(0) };
    store.commit(&samples::commit(second, vec![revised])).await.expect("a revision is stored");
    (as_user("postgres"), as_user("grafana"))
}

/// Two agreements; every verdict, missing values and coverage, a provisional window.
fn states(run: RunId) -> Vec<State> {
    let verdicts = [Verdict::Violated, Verdict::Fulfilled, Verdict::Unknown, Verdict::NotApplicable];
    let mut states: Vec<State> = (0..8)
        .map(|n| State {
            verdict: Some(verdicts[n as usize % 4]),
            value: (n % 4 < 2).then_some(n as f64),
            coverage: (n % 4 == 0).then_some(Coverage { seen: 1, expected: 2 }),
            provisional: n == 7,
            ..samples::guarantee(n, run)
        })
        .collect();
    states.extend((0..8).map(|n| samples::metric(n, run)));
    states.push(State {
        agreement: "other's".into(),
        of: "kept".into(),
        scope: Default::default(),
        ..samples::guarantee(9, run)
    });
    states
}

/// Every query a viewer's browser sends: of variables and of panels.
fn queries() -> Vec<(String, String, String)> {
    let dashboard = dashboard();
    let variables = list(&dashboard["templating"], "list").iter().filter(|v| v["type"] == "query");
    let of_variables =
        variables.map(|v| (format!("variable {}", v["name"]), "variable".to_string(), text(&v["query"])));
    let of_panels = list(&dashboard, "panels").iter().flat_map(|panel| {
        list(panel, "targets").iter().map(|t| (text(&panel["title"]), text(&t["format"]), text(&t["rawSql"])))
    });
    of_variables.chain(of_panels).collect()
}

fn text(value: &Value) -> String {
    value.as_str().expect("text").to_string()
}

/// `All` everywhere, or the named ones.
fn choices(chosen: &[(&str, &[&str])]) -> BTreeMap<String, Choice> {
    let choice = |variable: &Value| {
        let name = text(&variable["name"]);
        let values = chosen.iter().find(|(n, _)| *n == name).map(|(_, v)| v.iter().map(|s| s.to_string()).collect());
        let choice = match (values, variable["type"].as_str()) {
            (Some(values), _) => Choice::Values(values),
            (None, Some("query")) => Choice::All(text(&variable["allValue"])),
            (None, _) => Choice::Text(text(&variable["current"]["value"])),
        };
        (name, choice)
    };
    list(&dashboard()["templating"], "list").iter().map(choice).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_query_runs_as_the_read_only_user() {
    let server = Server::start(false);
    let (_, grafana) = provisioned(&server).await;
    let mut connection = PgConnection::connect(&grafana).await.expect("grafana may log in");
    let everything = choices(&[]);
    let some = choices(&[("agreement", &["sla", "other's"]), ("guarantee", &["fast"]), ("metric", &["p99"])]);
    for (title, format, sql) in queries() {
        for choice in [&everything, &some] {
            let sql = expand(&sql, choice);
            let rows = connection
                .fetch_all(sqlx::AssertSqlSafe(sql.clone()))
                .await
                .unwrap_or_else(|e| panic!("{title}: {e}\n{sql}"));
            assert!(!rows.is_empty(), "{title}: no rows\n{sql}");
            let columns: Vec<(&str, &str)> =
                rows[0].columns().iter().map(|c| (c.name(), c.type_info().name())).collect();
            match format.as_str() {
                "variable" => assert_eq!(columns.len(), 1, "{title}"),
                "time_series" => assert_time_series(&title, &columns),
                _ => {}
            }
        }
    }
}

/// STATUS's panels, as its builder writes them, unchanged: over our view where status-backend has no table, and over its
/// own where it has one.
#[tokio::test(flavor = "multi_thread")]
async fn panels_made_for_status_find_points() {
    const PANELS: [&str; 4] = [
        r#"SELECT "agreementId", "guaranteeValue", "timestamp", scope FROM "Points" LIMIT 50"#,
        r#"SELECT avg("guaranteeValue") AS value, "timestamp" FROM "Points" WHERE "guaranteeId" = 'fast' GROUP BY "timestamp" ORDER BY "timestamp""#,
        r#"SELECT id, "agreementId", "guaranteeId", "guaranteeValue", "guaranteeResult", "timestamp", metrics, scope, "computationGroup", "createdAt", "updatedAt" FROM "Points" WHERE "agreementId" = 'sla'"#,
        r#"SELECT count(*) FROM "Points" WHERE "guaranteeResult" = true AND scope ->> 'team' = 'blue'"#,
    ];
    let server = Server::start(false);
    let (admin, grafana) = provisioned(&server).await;
    let mut connection = PgConnection::connect(&grafana).await.expect("grafana may log in");
    for panel in PANELS {
        let rows = connection.fetch_all(panel).await.unwrap_or_else(|e| panic!("{e}\n{panel}"));
        assert!(!rows.is_empty(), "no rows: {panel}");
    }
    // Of hours 0 to 7 (violated, fulfilled, unknown, not applicable, twice; 0 revised to fulfilled, 7 provisional) and
    // the other agreement's violated one.
    let all = connection.fetch_all(r#"SELECT * FROM "Points" ORDER BY "timestamp""#).await.expect("all rows");
    let names: Vec<(&str, &str)> = all[0].columns().iter().map(|c| (c.name(), c.type_info().name())).collect();
    let wanted = [
        ("id", "UUID"),
        ("agreementId", "TEXT"),
        ("guaranteeId", "TEXT"),
        ("guaranteeValue", "FLOAT8"),
        ("guaranteeResult", "BOOL"),
        ("timestamp", "TIMESTAMPTZ"),
        ("metrics", "JSONB"),
        ("scope", "JSONB"),
        ("computationGroup", "UUID"),
        ("createdAt", "TIMESTAMPTZ"),
        ("updatedAt", "TIMESTAMPTZ"),
    ];
    assert_eq!(names, wanted);
    let shown: Vec<(String, bool)> =
        all.iter().map(|row| (row.get("guaranteeId"), row.get("guaranteeResult"))).collect();
    let fast = |kept: bool| ("fast".to_owned(), kept);
    assert_eq!(shown, [fast(true), fast(true), fast(false), fast(true), ("kept".to_owned(), false)]);

    // As `sync` of status-backend makes it.
    let mut admin = PgConnection::connect(&admin).await.expect("the administrator may log in");
    admin
        .execute(
            r#"CREATE TABLE public."Points" (id uuid PRIMARY KEY, "agreementId" varchar(255) NOT NULL,
            "guaranteeId" varchar(255) NOT NULL, "guaranteeValue" double precision NOT NULL,
            "guaranteeResult" boolean NOT NULL, "timestamp" timestamptz NOT NULL, metrics jsonb NOT NULL,
            scope jsonb NOT NULL, "computationGroup" uuid, "createdAt" timestamptz NOT NULL,
            "updatedAt" timestamptz NOT NULL)"#,
        )
        .await
        .expect("a table of STATUS");
    admin.execute(r#"GRANT SELECT ON public."Points" TO grafana"#).await.expect("granted");
    admin
        .execute(
            r#"INSERT INTO public."Points" VALUES ('11111111-1111-4111-8111-111111111111', 'tpa', 'G', 1, true, now(), '{}', '{}', NULL, now(), now())"#,
        )
        .await
        .expect("a row of STATUS");
    let mut connection = PgConnection::connect(&grafana).await.expect("grafana may log in");
    let rows = connection.fetch_all(PANELS[0]).await.expect("the same panel");
    assert_eq!(rows.iter().map(|row| row.get::<&str, _>("agreementId")).collect::<Vec<_>>(), ["tpa"]);
}

/// What Grafana wants of a time series in the long format: a time, a text for the series, a number.
fn assert_time_series(title: &str, columns: &[(&str, &str)]) {
    let [("time", time), ("metric", metric), ("value", value)] = columns else {
        panic!("{title}: columns {columns:?}")
    };
    assert!(["TIMESTAMPTZ", "NUMERIC", "FLOAT8"].contains(time), "{title}: time is {time}");
    assert_eq!(*metric, "TEXT", "{title}");
    assert!(["INT4", "INT8", "FLOAT8", "NUMERIC"].contains(value), "{title}: value is {value}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_numbers_shown_are_those_stored() {
    let server = Server::start(false);
    let (_, grafana) = provisioned(&server).await;
    let mut connection = PgConnection::connect(&grafana).await.expect("grafana may log in");
    let sla = choices(&[("agreement", &["sla"]), ("guarantee", &["fast"])]);
    let mut number = BTreeMap::new();
    for (title, _, sql) in queries() {
        if let Some(row) = connection.fetch_optional(sqlx::AssertSqlSafe(expand(&sql, &sla))).await.expect(&title) {
            let value = row.try_get::<i64, _>(0).map(|n| n as f64).or_else(|_| row.try_get::<f64, _>(0));
            number.extend(value.ok().map(|value| (title, value)));
        }
    }
    // Hours 0 to 7 go round violated, fulfilled, unknown, not applicable; hour 0 was revised, hour 7 is provisional.
    assert_eq!(number["Fulfilled"], 3.0);
    assert_eq!(number["Violated"], 1.0);
    assert_eq!(number["Unknown"], 2.0);
    assert_eq!(number["Not applicable"], 1.0);
    assert_eq!(number["Fulfilled, of what could be said"], 0.75);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_queries_run_on_an_empty_database() {
    let server = Server::start(false);
    let (admin, grafana) = provisioned(&server).await;
    let mut admin = PgConnection::connect(&admin).await.expect("the administrator may log in");
    admin.execute("DELETE FROM probity.state").await.expect("emptied");
    let mut connection = PgConnection::connect(&grafana).await.expect("grafana may log in");
    for (title, _, sql) in queries() {
        let sql = expand(&sql, &choices(&[]));
        connection.fetch_all(sqlx::AssertSqlSafe(sql.clone())).await.unwrap_or_else(|e| panic!("{title}: {e}\n{sql}"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn grafanas_user_reads_the_views_and_nothing_else() {
    let server = Server::start(false);
    let (admin, grafana) = provisioned(&server).await;
    let mut connection = PgConnection::connect(&grafana).await.expect("grafana may log in");
    // The session's own switch is a convenience, not the protection.
    connection.execute("SET default_transaction_read_only = off").await.expect("a user may set it");
    for forbidden in [
        "SELECT 1 FROM probity.state",
        "SELECT 1 FROM probity.audit",
        "SELECT 1 FROM probity.run",
        "UPDATE probity.verdicts SET verdict = 'fulfilled'",
        "DELETE FROM probity.verdicts",
        "INSERT INTO probity.claim VALUES ('x', now(), now(), NULL)",
        "CREATE TABLE probity.mine (n int)",
        "CREATE TABLE mine (n int)",
        "CREATE TEMPORARY TABLE mine (n int)",
    ] {
        let error = connection.execute(forbidden).await.expect_err(forbidden);
        let code = error.as_database_error().and_then(|e| e.code()).unwrap_or_default().into_owned();
        assert_eq!(code, "42501", "{forbidden}: {error}");
    }
    let mut admin = PgConnection::connect(&admin).await.expect("the administrator may log in");
    let hashed: Vec<(String, bool)> =
        sqlx::query_as("SELECT rolname::text, rolpassword LIKE 'SCRAM-SHA-256$%' FROM pg_authid WHERE rolpassword IS NOT NULL ORDER BY 1")
            .fetch_all(&mut admin)
            .await
            .expect("the administrator may look");
    assert_eq!(hashed, [("grafana".to_string(), true), ("probity".to_string(), true)]);
}
