//! Caps, batches and grants over a SQLite file; the other databases are asked in `tests/it`.

use super::*;

async fn file() -> (tempfile::TempDir, String) {
    use sqlx::ConnectOptions;
    use sqlx::Executor;
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.db");
    let options = sqlx::sqlite::SqliteConnectOptions::new().filename(&path).create_if_missing(true);
    let mut connection = options.connect().await.unwrap();
    let script = "create table t (id integer, name text, amount real, raw blob);
        insert into t values (1, 'a', 0.5, x'00ff'), (2, null, null, null), (9007199254740993, 'c', 3, null);";
    connection.execute(sqlx::raw_sql(script)).await.unwrap();
    sqlx::Connection::close(connection).await.unwrap();
    let url = format!("sqlite:{}", path.display());
    (dir, url)
}

fn source(url: &str, change: impl FnOnce(&mut DatasourceOptions)) -> Arc<Datasource> {
    let mut options = DatasourceOptions { url: url.into(), ..DatasourceOptions::default() };
    change(&mut options);
    Datasources::new(BTreeMap::from([("d".to_string(), options)])).unwrap().get("d").unwrap().clone()
}

fn query(text: &str, parameters: &[Value]) -> SqlQuery {
    SqlQuery { text: text.into(), parameters: parameters.to_vec(), write: false, batch: 0 }
}

async fn all(mut answer: Answer) -> Result<Vec<Batch>, QueryError> {
    let mut parts = Vec::new();
    while let Some(part) = answer.recv().await {
        parts.push(part?);
    }
    Ok(parts)
}

async fn rows(source: &Arc<Datasource>, text: &str, parameters: &[Value]) -> Result<String, QueryError> {
    let parts = all(source.sql(query(text, parameters))).await?;
    assert!(parts.last().is_some_and(|part| part.last));
    Ok(Value::array(parts.into_iter().flat_map(|part| part.rows).collect()).to_json())
}

#[tokio::test]
async fn values_come_as_they_are() {
    let (_dir, url) = file().await;
    let source = source(&url, |_| {});
    let all = rows(&source, "select * from t order by id", &[]).await.unwrap();
    assert_eq!(
        all,
        r#"[{"id":1,"name":"a","amount":0.5,"raw":{"type":"Buffer","data":[0,255]}},{"id":2,"name":null,"amount":null,"raw":null},{"id":"9007199254740993","name":"c","amount":3,"raw":null}]"#
    );
    // Text that looks like SQL is text.
    let one = rows(&source, "select id from t where name = $1", &["a' or '1'='1".into()]).await.unwrap();
    assert_eq!(one, "[]");
    assert_eq!(
        rows(&source, "select $2 as b, $1 as a", &[1.into(), "x".into()]).await.unwrap(),
        r#"[{"b":"x","a":1}]"#
    );
}

#[tokio::test]
async fn parts_come_in_order_and_the_last_is_known() {
    let (_dir, url) = file().await;
    let source = source(&url, |_| {});
    for (batch, sizes) in [(0, vec![3]), (1, vec![1, 1, 1]), (2, vec![2, 1]), (3, vec![3])] {
        let parts = all(source.sql(SqlQuery { batch, ..query("select id from t", &[]) })).await.unwrap();
        assert_eq!(parts.iter().map(|part| part.rows.len()).collect::<Vec<_>>(), sizes);
        assert_eq!(parts.iter().position(|part| part.last), Some(sizes.len() - 1));
    }
    let none = all(source.sql(SqlQuery { batch: 2, ..query("select id from t where 0", &[]) })).await.unwrap();
    assert_eq!(none, [Batch { rows: vec![], last: true, changed: None }]);
}

#[tokio::test]
async fn nothing_is_changed_without_a_grant() {
    let (_dir, url) = file().await;
    let reading = source(&url, |_| {});
    let write = |text: &str| SqlQuery { write: true, ..query(text, &[]) };
    let refused = all(reading.sql(write("delete from t"))).await.unwrap_err();
    assert!(refused.message.contains("write = true under [datasources.d]"), "{refused}");
    assert_eq!(all(reading.sql(query("delete from t", &[]))).await.unwrap_err().code, "EACCES");
    // What begins as reading does, and writes, is refused by the database.
    assert!(rows(&reading, "with x as (select 1) delete from t", &[]).await.is_err());
    let writing = source(&url, |options| options.write = true);
    let done = all(writing.sql(write("delete from t where id < 3"))).await.unwrap();
    assert_eq!(done, [Batch { rows: vec![], last: true, changed: Some(2) }]);
    assert_eq!(rows(&reading, "select count(*) as n from t", &[]).await.unwrap(), r#"[{"n":1}]"#);
}

#[tokio::test]
async fn what_is_over_a_cap_is_an_error_and_not_a_part() {
    let (_dir, url) = file().await;
    let few = source(&url, |options| options.rows_max = 2);
    assert_eq!(rows(&few, "select * from t", &[]).await.unwrap_err().code, "EMSGSIZE");
    let small = source(&url, |options| options.bytes_max = 20);
    assert_eq!(rows(&small, "select * from t", &[]).await.unwrap_err().code, "EMSGSIZE");
    let quick = source(&url, |options| options.query_ms_max = 30);
    let endless = "with recursive n(i) as (select 1 union all select i + 1 from n) select count(*) as c from n";
    let late = rows(&quick, endless, &[]).await.unwrap_err();
    assert!(["ETIMEDOUT", "9"].contains(&late.code.as_str()), "{late:?}");
}

#[tokio::test]
async fn questions_that_cannot_be_asked_say_why() {
    let (_dir, url) = file().await;
    let source = source(&url, |_| {});
    for (text, parameters, said) in [
        ("select 1 as a, 2 as a", &[][..], "tell them apart"),
        ("select $1", &[], "1 parameters"),
        ("select absent from t", &[], "no such column"),
        ("select 1; select 2", &[], "several statements"),
    ] {
        let error = rows(&source, text, parameters).await.unwrap_err();
        assert!(error.message.contains(said), "{text}: {error}");
    }
    let missing = super::tests::source("sqlite:/nowhere/secret.db", |_| {});
    let error = rows(&missing, "select 1", &[]).await.unwrap_err();
    assert!(!error.message.contains("secret"), "{error}");
}

#[test]
fn addresses_that_cannot_be_used_are_not_shown() {
    for url in ["", "mysql://u:s3cret@h/d", "postgres://u:s3c ret@h:x/d", "sqlite:"] {
        let options = DatasourceOptions { url: url.into(), ..DatasourceOptions::default() };
        let problems = Datasources::new(BTreeMap::from([("d".to_string(), options)])).err().unwrap();
        assert!(problems[0].starts_with("datasources.d.url: ") && !problems[0].contains("s3c"), "{problems:?}");
    }
}
