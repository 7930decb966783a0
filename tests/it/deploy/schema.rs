//! The schema as the migrations leave it: keys, indexes for what refers to other rows, and no data of examples.

use sqlx::{AssertSqlSafe, Connection, PgConnection};

use crate::harness::postgres;

#[tokio::test]
async fn tables_have_keys_references_have_indexes_and_nothing_is_in_them() {
    let url = postgres::database().await;
    let store = probity::store::open(&url, &Default::default()).await.expect("it opens");
    store.migrate().await.expect("migrated");
    let mut connection = PgConnection::connect(&url).await.expect("the server answers");
    let without_key = "SELECT relname::text FROM pg_class JOIN pg_namespace n ON n.oid = relnamespace \
         WHERE nspname = 'probity' AND relkind IN ('r', 'p') AND NOT relispartition AND NOT EXISTS \
         (SELECT FROM pg_constraint WHERE conrelid = pg_class.oid AND contype = 'p')";
    let found: Vec<String> = sqlx::query_scalar(without_key).fetch_all(&mut connection).await.expect("tables");
    assert_eq!(found, Vec::<String>::new(), "tables without a primary key");
    // Otherwise every removal of a row that is referred to reads the whole table.
    let without_index = "SELECT conrelid::regclass || ' ' || conname FROM pg_constraint c \
         JOIN pg_namespace n ON n.oid = connamespace WHERE contype = 'f' AND nspname = 'probity' AND conparentid = 0 \
         AND NOT EXISTS (SELECT FROM pg_index i WHERE i.indrelid = c.conrelid \
         AND (i.indkey::int2[])[0:cardinality(c.conkey) - 1] @> c.conkey)";
    let found: Vec<String> = sqlx::query_scalar(without_index).fetch_all(&mut connection).await.expect("keys");
    assert_eq!(found, Vec::<String>::new(), "references without an index");
    let tables = "SELECT relname::text FROM pg_class JOIN pg_namespace n ON n.oid = relnamespace \
         WHERE nspname = 'probity' AND relkind IN ('r', 'p') AND NOT relispartition AND relname <> 'migration'";
    let tables: Vec<String> = sqlx::query_scalar(tables).fetch_all(&mut connection).await.expect("tables");
    assert!(tables.len() > 8, "{tables:?}");
    for table in tables {
        let count = AssertSqlSafe(format!("SELECT count(*) FROM probity.{table}"));
        let rows: i64 = sqlx::query_scalar(count).fetch_one(&mut connection).await.expect("a number");
        assert_eq!(rows, 0, "{table} holds rows that no one put there");
    }
}
