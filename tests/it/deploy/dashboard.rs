//! Grafana's provisioning, dashboards and alerts: shape, and every query as the read-only user on the migrated schema.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

use probity::model::RunId;
use probity::model::state::{Coverage, Evidence, State, StateKind, Verdict};
use probity::store::{self, StoreOptions};
use serde_json::{Value, json};
use sqlx::{Column, Connection, Executor, PgConnection, Row, TypeInfo};

use super::macros::{Choice, expand};
use crate::harness::postgres::Server;
use crate::store::samples;

/// By the names of their files.
fn dashboards() -> BTreeMap<String, Value> {
    let folder = std::fs::read_dir(super::file("deploy/grafana/dashboards")).expect("the folder is there");
    let paths = folder.map(|entry| entry.expect("an entry").path());
    let read = |path: std::path::PathBuf| {
        let text = std::fs::read_to_string(&path).expect("it can be read");
        let name = path.file_stem().expect("it has a name").to_string_lossy().into_owned();
        (name, serde_json::from_str(&text).unwrap_or_else(|e| panic!("{}: {e}", path.display())))
    };
    paths.filter(|path| path.extension().is_some_and(|e| e == "json")).map(read).collect()
}

fn dashboard(name: &str) -> Value {
    dashboards().remove(name).unwrap_or_else(|| panic!("there is no dashboard {name}"))
}

const POSTGRES: &str = "probity";
const PROMETHEUS: &str = "prometheus";

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
fn the_dashboards_have_the_shape_grafana_reads() {
    let sources = ["probity", "monitoring"].map(|file| {
        let file = yaml(&format!("deploy/grafana/provisioning/datasources/{file}.yml"));
        list(&file, "datasources").iter().map(|source| text(&source["uid"])).collect::<Vec<_>>()
    });
    let sources = sources.concat();
    let all = dashboards();
    for wanted in ["verdicts", "overview", "agreement", "explain", "engine", "points"] {
        assert!(all.contains_key(wanted), "{wanted} is missing");
    }
    for (name, dashboard) in &all {
        let version = dashboard["schemaVersion"].as_u64().expect("schemaVersion");
        assert!((39..=42).contains(&version), "schemaVersion {version}");
        assert_eq!(dashboard["uid"], format!("probity-{name}"));
        let panels = list(dashboard, "panels");
        let ids: BTreeSet<u64> = panels.iter().map(|p| p["id"].as_u64().expect("an id")).collect();
        assert_eq!(ids.len(), panels.len(), "{name}: panel ids are unique");
        for panel in panels {
            let title = format!("{name}: {}", panel["title"].as_str().expect("a title"));
            assert!(!panel["description"].as_str().unwrap_or_default().is_empty(), "{title}: no description");
            for target in list(panel, "targets") {
                let source = text(&target["datasource"]["uid"]);
                assert!(sources.contains(&source), "{title}: {source} is not provisioned");
                if source == POSTGRES {
                    assert!(matches!(target["format"].as_str(), Some("table" | "time_series")), "{title}");
                    assert_eq!(target["rawQuery"], true, "{title}");
                }
            }
        }
        for (i, a) in panels.iter().enumerate() {
            for b in &panels[i + 1..] {
                assert!(!overlap(&a["gridPos"], &b["gridPos"]), "{name}: {} lies over {}", a["title"], b["title"]);
            }
            assert!(edge(&a["gridPos"], "x", "w") <= 24, "{name}: {} is wider than the grid", a["title"]);
        }
    }
}

/// Every link from one dashboard to another names one that is there, and variables it has.
#[test]
fn links_between_dashboards_lead_somewhere() {
    let all = dashboards();
    let variables = |name: &str| {
        let dashboard = all.get(name).unwrap_or_else(|| panic!("a link leads to {name}, which is not there"));
        list(&dashboard["templating"], "list").iter().map(|v| text(&v["name"])).collect::<BTreeSet<_>>()
    };
    let mut seen = BTreeSet::new();
    for dashboard in all.values() {
        for url in urls(dashboard).iter().filter_map(|url| url.strip_prefix("/d/probity-")) {
            let (to, query) = url.split_once('?').expect("it says what to show");
            let known = variables(to);
            for pair in query.split('&').filter_map(|pair| pair.strip_prefix("var-")) {
                let name = pair.split('=').next().unwrap_or_default();
                assert!(known.contains(name), "{to} has no variable {name}");
            }
            seen.insert(to.to_owned());
        }
    }
    assert_eq!(seen, ["agreement", "explain"].map(str::to_owned).into());
}

/// All values of `url` in a document.
fn urls(value: &Value) -> Vec<String> {
    match value {
        Value::Object(members) => {
            let own = members.get("url").and_then(Value::as_str).map(str::to_owned);
            members.values().flat_map(urls).chain(own).collect()
        }
        Value::Array(items) => items.iter().flat_map(urls).collect(),
        _ => Vec::new(),
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
pub(super) async fn provisioned(server: &Server) -> (String, String) {
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
    let (first, second) = (run_at("2026-01-01T01:00:00Z"), run_at("2026-01-01T02:00:00Z"));
    store.commit(&samples::commit(first, states(first))).await.expect("Probity's user may write");
    // A second opinion on one window: a revision.
    let revised = State { verdict: Some(Verdict::Fulfilled), ..states(second).swap_remove(0) };
    store.commit(&samples::commit(second, vec![revised])).await.expect("a revision is stored");
    (as_user("postgres"), as_user("grafana"))
}

/// A run that was opened then: its id begins with the instant, and dashboards ask for a range of them.
fn run_at(instant: &str) -> RunId {
    let seconds = u64::try_from(samples::at(instant).as_second()).expect("after 1970");
    RunId(uuid::Uuid::new_v7(uuid::Timestamp::from_unix(uuid::NoContext, seconds, 0)))
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
    states.extend([budget(run), burn_rate(run)]);
    states.push(State {
        agreement: "other's".into(),
        of: "kept".into(),
        scope: Default::default(),
        ..samples::guarantee(9, run)
    });
    states
}

fn figures(values: &[(&str, f64)]) -> std::collections::BTreeMap<String, Option<f64>> {
    values.iter().map(|(name, value)| ((*name).to_owned(), Some(*value))).collect()
}

/// What is left of the budget of `fast`.
fn budget(run: RunId) -> State {
    let data = json!({"guarantee": "fast", "target": "99 %", "unwaived": "fulfilled"});
    State {
        kind: StateKind::Budget,
        of: "month".into(),
        verdict: Some(Verdict::Fulfilled),
        value: Some(-0.25),
        values: figures(&[("used", 1.25), ("used_least", 1.0), ("used_most", 1.5), ("bad", 5.0)]).into_iter().collect(),
        evidence: vec![Evidence { data, ..samples::guarantee(3, run).evidence.swap_remove(0) }],
        ..samples::guarantee(3, run)
    }
}

/// An alert of that budget, which fires.
fn burn_rate(run: RunId) -> State {
    let data = json!({"budget": "month", "guarantee": "fast", "burn": {"alert": "quick", "severity": "page"}});
    State {
        kind: StateKind::BurnRate,
        of: "month quick".into(),
        verdict: Some(Verdict::Violated),
        value: Some(20.0),
        values: figures(&[("short", 25.0), ("above", 14.4)]).into_iter().collect(),
        evidence: vec![Evidence { data, ..samples::guarantee(3, run).evidence.swap_remove(0) }],
        ..samples::guarantee(3, run)
    }
}

/// Every query of the database that a viewer's browser sends, of panels: title, format, SQL.
fn queries(dashboard: &Value) -> Vec<(String, String, String)> {
    let of_panels = list(dashboard, "panels").iter().flat_map(|panel| {
        let targets = list(panel, "targets").iter().filter(|t| t["datasource"]["uid"] == POSTGRES);
        targets.map(|t| (text(&panel["title"]), text(&t["format"]), text(&t["rawSql"])))
    });
    of_panels.collect()
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_else(|| panic!("text, not {value}")).to_string()
}

/// What a viewer has chosen: the named values, else `All`, else the first that the variable's query finds.
async fn choices(
    connection: &mut PgConnection,
    dashboard: &Value,
    chosen: &[(&str, &[&str])],
) -> BTreeMap<String, Choice> {
    let mut choices = BTreeMap::new();
    for variable in list(&dashboard["templating"], "list").iter().filter(|v| v["datasource"]["uid"] != PROMETHEUS) {
        let name = text(&variable["name"]);
        if variable["type"] != "query" {
            choices.insert(name, Choice::Text(text(&variable["current"]["value"])));
            continue;
        }
        let sql = expand(&text(&variable["query"]), &choices);
        let rows = connection.fetch_all(sqlx::AssertSqlSafe(sql.clone())).await;
        let rows = rows.unwrap_or_else(|e| panic!("{name}: {e}\n{sql}"));
        let columns: Vec<&str> =
            rows.first().map(|row| row.columns()).unwrap_or_default().iter().map(|c| c.name()).collect();
        assert!(columns.len() < 2 || columns == ["__text", "__value"], "{name}: {columns:?}");
        let found: Vec<String> = rows.iter().map(|row| row.get::<String, _>(columns.len() - 1)).collect();
        let named = chosen.iter().find(|(n, _)| *n == name).map(|(_, values)| *values);
        for value in named.into_iter().flatten() {
            assert!(found.contains(&(*value).to_owned()), "{name} has no {value}: {found:?}");
        }
        let choice = match named {
            Some(values) => Choice::Values(values.iter().map(|value| (*value).to_owned()).collect()),
            None if variable["includeAll"] == true => Choice::All(text(&variable["allValue"])),
            None => Choice::Values(found.into_iter().take(1).collect()),
        };
        choices.insert(name, choice);
    }
    choices
}

/// Panels that say "none" by having no rows over the seeded data, whatever is chosen.
const MAY_BE_EMPTY: [&str; 1] = ["Runs that failed"];

#[tokio::test(flavor = "multi_thread")]
async fn every_query_runs_as_the_read_only_user() {
    let server = Server::start(false);
    let (_, grafana) = provisioned(&server).await;
    run_every_query(&grafana).await;
}

/// Every query of every dashboard as this user, over the seeded data: rows of the right shape.
pub(super) async fn run_every_query(grafana: &str) {
    let mut connection = PgConnection::connect(grafana).await.expect("grafana may log in");
    for (name, dashboard) in dashboards() {
        let mut chosen = vec![choices(&mut connection, &dashboard, &[]).await];
        match name.as_str() {
            "verdicts" => {
                let some: [(&str, &[&str]); 3] =
                    [("agreement", &["sla", "other's"]), ("guarantee", &["fast"]), ("metric", &["p99"])];
                chosen.push(choices(&mut connection, &dashboard, &some).await);
            }
            // The first by its name is not the one with budgets.
            "agreement" | "explain" => {
                chosen = vec![choices(&mut connection, &dashboard, &[("agreement", &["sla"])]).await];
            }
            _ => {}
        }
        for (title, format, sql) in queries(&dashboard) {
            for choice in &chosen {
                let sql = expand(&sql, choice);
                let rows = connection.fetch_all(sqlx::AssertSqlSafe(sql.clone())).await;
                let rows = rows.unwrap_or_else(|e| panic!("{name}: {title}: {e}\n{sql}"));
                let may_be_empty = MAY_BE_EMPTY.contains(&title.as_str());
                assert!(!rows.is_empty() || may_be_empty, "{name}: {title}: no rows\n{sql}");
                if let (Some(row), "time_series") = (rows.first(), format.as_str()) {
                    let columns: Vec<(&str, &str)> =
                        row.columns().iter().map(|c| (c.name(), c.type_info().name())).collect();
                    assert_time_series(&format!("{name}: {title}"), &columns);
                }
            }
        }
    }
}

/// From one cell: the revisions of that window, the values, the evidence word for word, and the run that can be opened.
#[tokio::test(flavor = "multi_thread")]
async fn one_cell_leads_to_its_evidence_and_its_run() {
    let server = Server::start(false);
    let (_, grafana) = provisioned(&server).await;
    let mut connection = PgConnection::connect(&grafana).await.expect("grafana may log in");
    let explain = dashboard("explain");
    let window = samples::hour(0).from.as_millisecond().to_string();
    let chosen: [(&str, &[&str]); 2] = [("agreement", &["sla"]), ("window", &[&window])];
    let choices = choices(&mut connection, &explain, &chosen).await;
    let mut found = BTreeMap::new();
    for (title, _, sql) in queries(&explain) {
        let sql = expand(&sql, &choices);
        found.insert(title, connection.fetch_all(sqlx::AssertSqlSafe(sql)).await.expect("it runs"));
    }
    let said: Vec<(i32, String, String)> =
        found["What was said of this window"].iter().map(|row| (row.get(0), row.get(1), row.get(2))).collect();
    let words = |n, state: &str, verdict: &str| (n, state.to_owned(), verdict.to_owned());
    assert_eq!(said, [words(2, "stands", "fulfilled"), words(1, "replaced", "violated")]);
    let values: Vec<(String, Option<String>)> =
        found["What the objective was given"].iter().map(|row| (row.get(0), row.get(1))).collect();
    let p99 = Some("0.30000000000000004".to_owned());
    assert_eq!(values, [("lost".to_owned(), None), ("p99".to_owned(), p99)]);
    let evidence = found["Evidence"][0].get::<String, _>("data");
    assert!(evidence.contains("\\u0000") && evidence.contains("18446744073709551615"), "not word for word: {evidence}");
    assert_eq!(found["The run"].len(), 2, "one for each revision");
}

/// The SQL of each alert runs as the read-only user, and gives what Grafana makes series of: one number, texts as labels.
#[tokio::test(flavor = "multi_thread")]
async fn alerts_ask_for_one_number_and_labels() {
    let server = Server::start(false);
    let (_, grafana) = provisioned(&server).await;
    ask_for_alerts(&grafana).await;
}

/// The same as this user.
pub(super) async fn ask_for_alerts(grafana: &str) {
    let mut connection = PgConnection::connect(grafana).await.expect("grafana may log in");
    let file = yaml("deploy/grafana/provisioning/alerting/probity.yml");
    assert_eq!(file["apiVersion"], 1);
    let mut fired = BTreeSet::new();
    for rule in list(&list(&file, "groups")[0], "rules") {
        let title = text(&rule["title"]);
        let [query, threshold] = list(rule, "data") else { panic!("{title}: a query and a threshold") };
        assert_eq!(query["datasourceUid"], POSTGRES, "{title}");
        assert_eq!(
            (&threshold["datasourceUid"], &threshold["model"]["type"]),
            (&"__expr__".into(), &"threshold".into())
        );
        assert_eq!(rule["condition"], threshold["refId"], "{title}");
        assert_eq!(threshold["model"]["expression"], query["refId"], "{title}");
        let sql = expand(&text(&query["model"]["rawSql"]), &BTreeMap::new());
        let rows = connection.fetch_all(sqlx::AssertSqlSafe(sql.clone())).await;
        let rows = rows.unwrap_or_else(|e| panic!("{title}: {e}\n{sql}"));
        let row = rows.first().unwrap_or_else(|| panic!("{title}: no rows over the seeded data\n{sql}"));
        let types: Vec<&str> = row.columns().iter().map(|c| c.type_info().name()).collect();
        let numbers = types.iter().filter(|name| ["INT4", "INT8", "FLOAT8", "NUMERIC"].contains(name)).count();
        assert_eq!(
            (numbers, types.iter().filter(|name| **name == "TEXT").count()),
            (1, types.len() - 1),
            "{title}: {types:?}"
        );
        // Every label that the summary names is a column.
        let summary = text(&rule["annotations"]["summary"]);
        for label in summary.split("$labels.").skip(1) {
            let label = label.split(|c: char| !c.is_alphanumeric() && c != '_').next().unwrap_or_default();
            assert!(row.columns().iter().any(|c| c.name() == label), "{title}: there is no {label}");
        }
        fired.insert(text(&rule["uid"]));
    }
    assert_eq!(fired.len(), 5, "{fired:?}");
}

/// The questions to Prometheus are in its language, and ask for metrics that the server has.
#[test]
fn questions_to_prometheus_are_well_formed_and_name_our_metrics() {
    let known = super::read("src/api/metrics.rs");
    let mut rules = String::from("groups:\n- name: dashboards\n  rules:\n");
    let mut count = 0;
    for dashboard in dashboards().values() {
        for target in list(dashboard, "panels").iter().flat_map(|panel| list(panel, "targets")) {
            if target["datasource"]["uid"] != PROMETHEUS {
                continue;
            }
            let expr = text(&target["expr"]);
            for name in expr.split(|c: char| !c.is_alphanumeric() && c != '_').filter(|n| n.starts_with("probity_")) {
                let name = name.trim_end_matches("_bucket");
                let there = known.contains(&format!("`{name}")) || known.contains(&format!("\"{name}\""));
                assert!(there, "{name} is not in /metrics");
            }
            count += 1;
            rules.push_str(&format!("  - record: panel:{count}\n    expr: {}\n", Value::String(expr)));
        }
    }
    assert!(count > 15, "{count} questions");
    let file = tempfile::NamedTempFile::new().expect("a file");
    std::fs::write(file.path(), rules).expect("written");
    super::monitoring::promtool(&["check", "rules", &file.path().display().to_string()]);
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
    let verdicts = dashboard("verdicts");
    let sla = choices(&mut connection, &verdicts, &[("agreement", &["sla"]), ("guarantee", &["fast"])]).await;
    let mut number = BTreeMap::new();
    for (title, _, sql) in queries(&verdicts) {
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
    admin.execute("DELETE FROM probity.run").await.expect("emptied");
    let mut connection = PgConnection::connect(&grafana).await.expect("grafana may log in");
    for (name, dashboard) in dashboards() {
        let choices = choices(&mut connection, &dashboard, &[]).await;
        for (title, _, sql) in queries(&dashboard) {
            let sql = expand(&sql, &choices);
            let ran = connection.fetch_all(sqlx::AssertSqlSafe(sql.clone())).await;
            ran.unwrap_or_else(|e| panic!("{name}: {title}: {e}\n{sql}"));
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn grafanas_user_reads_the_views_and_nothing_else() {
    let server = Server::start(false);
    let (admin, grafana) = provisioned(&server).await;
    refuse_all_but_views(&admin, &grafana).await;
}

/// What the read-only user may not, and that passwords are kept as SCRAM's hashes.
pub(super) async fn refuse_all_but_views(admin: &str, grafana: &str) {
    let mut connection = PgConnection::connect(grafana).await.expect("grafana may log in");
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
    let mut admin = PgConnection::connect(admin).await.expect("the administrator may log in");
    let hashed: Vec<(String, bool)> =
        sqlx::query_as("SELECT rolname::text, rolpassword LIKE 'SCRAM-SHA-256$%' FROM pg_authid WHERE rolpassword IS NOT NULL ORDER BY 1")
            .fetch_all(&mut admin)
            .await
            .expect("the administrator may look");
    assert_eq!(hashed, [("grafana".to_string(), true), ("probity".to_string(), true)]);
}
