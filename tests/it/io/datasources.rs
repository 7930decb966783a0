//! `sql` and `mongodb` over real databases: exact values, bound parameters, nothing written without a grant.

use std::collections::BTreeMap;
use std::sync::Arc;

use mongodb::bson::doc;
use probity::datasource::{Batch, Datasource, DatasourceOptions, Datasources, MongoQuery, QueryError, SqlQuery};
use probity::model::Value;
use sqlx::{Connection, Executor};

use super::json;
use crate::harness::mongo::{Mode, Mongo};
use crate::harness::postgres;

fn source(url: &str, write: bool) -> Arc<Datasource> {
    let options = DatasourceOptions { url: url.into(), write, ..DatasourceOptions::default() };
    Datasources::new(BTreeMap::from([("d".into(), options)])).unwrap().get("d").unwrap().clone()
}

async fn ask(
    source: &Arc<Datasource>,
    text: &str,
    parameters: &[Value],
    write: bool,
) -> Result<Vec<Batch>, QueryError> {
    let query = SqlQuery { text: text.into(), parameters: parameters.to_vec(), write, batch: 0 };
    let mut answer = source.sql(query);
    let mut all = Vec::new();
    while let Some(batch) = answer.recv().await {
        all.push(batch?);
    }
    Ok(all)
}

async fn rows(source: &Arc<Datasource>, text: &str, parameters: &[Value]) -> String {
    match ask(source, text, parameters, false).await {
        Ok(batches) => Value::array(batches.into_iter().flat_map(|b| b.rows).collect()).to_json(),
        Err(error) => format!("{}: {error}", error.code),
    }
}

#[tokio::test]
async fn values_of_postgres_are_exact_both_ways() {
    let url = postgres::database().await;
    let source = source(&url, false);
    for (text, parameters, expected) in [
        (
            "select 1::int8 as a, 9007199254740993::int8 as b, null::numeric as c",
            "[]",
            r#"[{"a":1,"b":"9007199254740993","c":null}]"#,
        ),
        (
            "select 12.50::numeric(9,2) as a, 12345678901234567890.5::numeric as b",
            "[]",
            r#"[{"a":12.5,"b":"12345678901234567890.5"}]"#,
        ),
        (
            "select 0.1::float4 as a, 0.1::float8 as b, true as c, 'x'::char(3) as d",
            "[]",
            r#"[{"a":0.1,"b":0.1,"c":true,"d":"x  "}]"#,
        ),
        (
            "select '2026-03-01'::date as a, '2026-03-01 12:00:00.000001'::timestamp as b",
            "[]",
            r#"[{"a":"2026-03-01","b":"2026-03-01T12:00:00.000001"}]"#,
        ),
        (
            "select '2026-03-01 12:00:00.5+02'::timestamptz as a, 'infinity'::date as b, '12:30'::time as c",
            "[]",
            r#"[{"a":"2026-03-01T10:00:00.5Z","b":"infinity","c":"12:30:00"}]"#,
        ),
        (
            "select '{\"a\":[1]}'::jsonb as a, '[null]'::json as b, array[1,null,3] as c, array[['a'],['b']] as d",
            "[]",
            r#"[{"a":{"a":[1]},"b":[null],"c":[1,null,3],"d":[["a"],["b"]]}]"#,
        ),
        (
            "select '1 year 2 days 03:04:05.6'::interval as a, 'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11'::uuid as b",
            "[]",
            r#"[{"a":"P1Y2DT3H4M5.6S","b":"a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"}]"#,
        ),
        (
            "select $1::int8 as a, $2::numeric as b, $3::text as c",
            r#"["9007199254740993","0.1000000000000000000000001","a' or 1=1 --"]"#,
            r#"[{"a":"9007199254740993","b":"0.1000000000000000000000001","c":"a' or 1=1 --"}]"#,
        ),
        (
            "select $1::date as a, $2::timestamptz as b, $3::bool as c, $4::jsonb as d",
            r#"["2026-03-01","2026-03-01T12:00:00+01:00",true,{"a":1}]"#,
            r#"[{"a":"2026-03-01","b":"2026-03-01T11:00:00Z","c":true,"d":{"a":1}}]"#,
        ),
        ("select n from generate_series(1, 5) n where n = any($1) limit $2", "[[2,4,9],1]", r#"[{"n":2}]"#),
        ("select $1::int4 as a", "[null]", r#"[{"a":null}]"#),
        ("select $1::int4 as a", "[1.5]", "EINVAL: parameter $1 (int4): expected a whole number, found 1.5"),
        (
            "select point(1, 2) as p",
            "[]",
            "EINVAL: column \"p\" (point): this type cannot be read; make it text in the query: (…)::text",
        ),
        ("select 1/0 as a", "[]", "22012: division by zero"),
    ] {
        let parameters = json(parameters).as_array().unwrap().to_vec();
        assert_eq!(rows(&source, text, &parameters).await, expected, "{text}");
    }
}

#[tokio::test]
async fn postgres_is_read_only_unless_it_is_granted() {
    let url = postgres::database().await;
    let mut own = sqlx::PgConnection::connect(&url).await.unwrap();
    own.execute("create table t (n int primary key); insert into t values (1), (2)").await.unwrap();
    let reading = source(&url, false);
    for text in [
        "insert into t values (3)",
        "with x as (delete from t returning n) select * from x",
        "select set_config('transaction_read_only', 'off', true)",
        "explain analyze delete from t",
        "copy t to program 'cat'",
        "select 1; delete from t",
    ] {
        assert!(ask(&reading, text, &[], false).await.is_err(), "{text}");
    }
    let refused = ask(&reading, "delete from t", &[], true).await.unwrap_err();
    assert!(refused.message.contains("write = true under [datasources.d]"), "{refused}");
    let writing = source(&url, true);
    let done = ask(&writing, "insert into t values ($1), ($2) returning n", &[3.into(), 4.into()], true).await.unwrap();
    assert_eq!((done[0].rows.len(), done[0].changed), (2, Some(2)));
    // A write that fails leaves nothing, and a source that may write reads without writing.
    assert_eq!(ask(&writing, "insert into t values (5), (1)", &[], true).await.unwrap_err().code, "23505");
    assert!(ask(&writing, "with x as (delete from t returning n) select * from x", &[], false).await.is_err());
    assert_eq!(rows(&reading, "select count(*) as n from t", &[]).await, r#"[{"n":4}]"#);
    // What a query sets does not last.
    rows(&reading, "select set_config('search_path', 'nowhere', false)", &[]).await;
    assert_eq!(rows(&reading, "select count(*) as n from t", &[]).await, r#"[{"n":4}]"#);
}

#[tokio::test]
async fn postgres_queries_end_in_time_and_answers_come_in_parts() {
    let url = postgres::database().await;
    let options = DatasourceOptions { url, query_ms_max: 100, ..DatasourceOptions::default() };
    let quick = Datasources::new(BTreeMap::from([("d".into(), options)])).unwrap().get("d").unwrap().clone();
    let late = ask(&quick, "select pg_sleep(60)", &[], false).await.unwrap_err();
    assert!(["57014", "ETIMEDOUT"].contains(&late.code.as_str()), "{late:?}");
    let parts =
        SqlQuery { text: "select n from generate_series(1, 10) n".into(), parameters: vec![], write: false, batch: 4 };
    let mut answer = quick.sql(parts);
    let mut sizes = Vec::new();
    while let Some(part) = answer.recv().await {
        let part = part.unwrap();
        sizes.push((part.rows.len(), part.last));
    }
    assert_eq!(sizes, [(4, false), (4, false), (2, true)]);
}

#[tokio::test]
async fn what_is_wrong_with_a_connection_is_told_without_its_secrets() {
    let mut port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    for url in [format!("postgres://ana:s3cret@127.0.0.1:{port}/d"), format!("mongodb://ana:s3cret@127.0.0.1:{port}/d")]
    {
        let options = DatasourceOptions { url, query_ms_max: 500, ..DatasourceOptions::default() };
        let source = Datasources::new(BTreeMap::from([("d".into(), options)])).unwrap().get("d").unwrap().clone();
        let said = match port {
            0 => mongo(&source, "find", "{}", "null").await.unwrap_err(),
            _ => ask(&source, "select 1", &[], false).await.unwrap_err(),
        };
        assert!(["ECONNREFUSED", "ETIMEDOUT"].contains(&said.code.as_str()), "{said:?}");
        assert!(!said.message.contains("s3cret") && !said.message.contains("127.0.0.1"), "{said}");
        port = 0;
    }
}

async fn mongo(source: &Arc<Datasource>, operation: &str, query: &str, document: &str) -> Result<String, QueryError> {
    let query = MongoQuery {
        operation: operation.into(),
        collection: "orders".into(),
        query: json(query),
        document: json(document),
        options: json(r#"{"sort":{"_id":1}}"#),
        batch: 0,
    };
    let mut answer = source.mongo(query);
    let mut all = Vec::new();
    let mut changed = None;
    while let Some(batch) = answer.recv().await {
        let batch = batch?;
        all.extend(batch.rows);
        changed = batch.changed;
    }
    Ok(changed.map_or_else(|| Value::array(all).to_json(), |n| n.to_string()))
}

#[tokio::test]
async fn mongodb_is_asked_and_changed_only_where_it_is_granted() {
    let Some(server) = Mongo::start(Mode { replica_set: false, authentication: true }).await else { return };
    let orders = server.database().await.collection::<mongodb::bson::Document>("orders");
    let decimal: mongodb::bson::Decimal128 = "0.1000000000000000000000001".parse().unwrap();
    orders
        .insert_many([
            doc! {"_id": 1, "total": 12.5, "n": 9_007_199_254_740_993_i64, "none": null},
            doc! {"_id": 2, "total": decimal, "at": mongodb::bson::DateTime::from_millis(0), "tags": ["a", "b"]},
        ])
        .await
        .unwrap();
    let reading = source(&server.url(), false);
    assert_eq!(
        mongo(&reading, "find", "{}", "null").await.unwrap(),
        r#"[{"_id":1,"total":12.5,"n":"9007199254740993","none":null},{"_id":2,"total":"0.1000000000000000000000001","at":"1970-01-01T00:00:00.000Z","tags":["a","b"]}]"#
    );
    assert_eq!(
        mongo(&reading, "find", r#"{"at":{"$gte":{"$date":"1969-01-01T00:00:00Z"}}}"#, "null")
            .await
            .unwrap()
            .matches("_id")
            .count(),
        1
    );
    assert_eq!(
        mongo(&reading, "aggregate", r#"[{"$unwind":"$tags"},{"$count":"n"}]"#, "null").await.unwrap(),
        r#"[{"n":2}]"#
    );
    assert_eq!(mongo(&reading, "countDocuments", "{}", "null").await.unwrap(), "[2]");
    assert_eq!(mongo(&reading, "distinct", r#""tags""#, "null").await.unwrap(), r#"["a","b"]"#);
    for (operation, query, document, said) in [
        ("aggregate", r#"[{"$out":"copy"}]"#, "null", "write = true"),
        ("aggregate", r#"[{"$merge":{"into":"copy"}}]"#, "null", "write = true"),
        ("find", r#"{"$where":"true"}"#, "null", "javascript = true"),
        (
            "aggregate",
            r#"[{"$project":{"x":{"$function":{"body":"f","args":[],"lang":"js"}}}}]"#,
            "null",
            "javascript = true",
        ),
        ("deleteMany", "{}", "null", "write = true"),
        ("mapReduce", "{}", "null", "none of"),
        ("find", r#"{"_id":{"$oid":"x"}}"#, "null", "24 hex digits"),
    ] {
        let error = mongo(&reading, operation, query, document).await.unwrap_err();
        assert!(error.message.contains(said), "{operation} {query}: {error}");
    }
    let writing = source(&server.url(), true);
    assert_eq!(mongo(&writing, "insertMany", "null", r#"[{"_id":3},{"_id":4}]"#).await.unwrap(), "2");
    assert_eq!(mongo(&writing, "updateMany", r#"{"_id":{"$gt":2}}"#, r#"{"$set":{"x":1}}"#).await.unwrap(), "2");
    assert_eq!(mongo(&writing, "insertOne", "null", r#"{"_id":3}"#).await.unwrap_err().code, "11000");
    assert!(mongo(&writing, "deleteMany", "null", "null").await.unwrap_err().message.contains("needs a filter"));
    assert_eq!(mongo(&writing, "deleteMany", r#"{"_id":{"$gt":2}}"#, "null").await.unwrap(), "2");
}
