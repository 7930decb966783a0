//! The node over a SQLite file; Postgres and MongoDB are asked in `tests/it`.

use std::collections::BTreeMap;

use super::super::rig::{Rig, msg, node};
use crate::datasource::{DatasourceOptions, Datasources};
use crate::model::flow::CatchTarget;
use crate::runtime::Limits;

fn rig(config: &str) -> (tempfile::TempDir, Rig) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.db");
    // The header of an empty database is enough.
    std::fs::write(&path, "").unwrap();
    let options = DatasourceOptions { url: format!("sqlite:{}", path.display()), ..DatasourceOptions::default() };
    let sources = Datasources::new(BTreeMap::from([("db".to_string(), options)])).unwrap();
    let mut first = node("q", "sql", config, &[]);
    first.catch = vec![CatchTarget { node: 1, uncaught_only: false }];
    let nodes = vec![first, node("c", "catch", "{}", &[])];
    let rig = Rig::with(nodes, Limits::default(), |services| services.datasources = sources.into());
    (dir, rig)
}

#[tokio::test]
async fn rows_are_the_payload_and_parameters_are_bound() {
    let query = "with t(n) as (values (1), (2), (3)) select n, $2 as b from t where n >= $1 order by n";
    let config = serde_json::json!({
        "datasource": "db", "query": query,
        "parameters": [{"v": "payload.from", "vt": "msg"}, {"v": "x' or 1=1 --", "vt": "str"}],
    });
    let (_dir, rig) = rig(&config.to_string());
    assert_eq!(rig.problems(), []);
    rig.inject(0, msg(r#"{"payload":{"from":2},"topic":"t"}"#)).await;
    assert_eq!(rig.take(), [r#"{"payload":[{"n":2,"b":"x' or 1=1 --"},{"n":3,"b":"x' or 1=1 --"}],"topic":"t"}"#]);
}

#[tokio::test]
async fn parts_say_what_join_needs() {
    let query = "with t(n) as (values (1), (2), (3)) select n from t where n > $1";
    let config = serde_json::json!({"datasource": "db", "query": query, "batch": 2});
    let (_dir, rig) = rig(&config.to_string());
    rig.inject(0, msg(r#"{"parameters":[0]}"#)).await;
    let parts: Vec<String> = rig
        .out()
        .iter()
        .map(|(_, _, m)| {
            let mut parts = m.get("parts").unwrap().as_object().unwrap().clone();
            parts.remove("id");
            format!("{} {}", m.payload().to_json(), crate::model::Value::from(parts).to_json())
        })
        .collect();
    assert_eq!(
        parts,
        [
            r#"[{"n":1},{"n":2}] {"type":"array","index":0,"len":2}"#,
            r#"[{"n":3}] {"type":"array","index":1,"len":1,"count":2}"#,
        ]
    );
    rig.take();
    rig.inject(0, msg(r#"{"parameters":[9]}"#)).await;
    assert_eq!(rig.take_payloads(), ["[]"]);
}

#[tokio::test]
async fn refusals_are_caught_with_their_code() {
    for (config, message, code) in [
        (r#""query":"delete from t""#, "{}", "EACCES"),
        (r#""query":"delete from t","access":"write""#, "{}", "EACCES"),
        (r#""query":"select $1""#, "{}", "EINVAL"),
        (r#""query":"select 1""#, r#"{"parameters":1}"#, ""),
    ] {
        let (_dir, rig) = rig(&format!(r#"{{"datasource":"db",{config}}}"#));
        rig.inject(0, msg(message)).await;
        let (from, _, caught) = rig.out().remove(0);
        let error = caught.get("error").unwrap();
        assert_eq!((from.as_str(), error.get("code").as_str().unwrap_or_default()), ("c", code), "{config}");
    }
}

#[test]
fn a_datasource_must_be_there() {
    let (_dir, rig) = rig(r#"{"datasource":"bd","query":""}"#);
    let problems = rig.problems();
    assert_eq!(problems.iter().map(|d| d.code.as_str()).collect::<Vec<_>>(), ["unknown-datasource", "missing-query"]);
}
