//! SQLite files as datasources: opened for reading unless writing is granted.

use std::path::PathBuf;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use futures_util::TryStreamExt;
use sqlx::sqlite::{SqliteArguments, SqliteConnectOptions, SqlitePool, SqlitePoolOptions};
use sqlx::{
    Arguments, AssertSqlSafe, Column, ConnectOptions, Either, Executor, Row, SqlSafeStr, Statement, TypeInfo, ValueRef,
};

use super::decimal::exact_integer;
use super::{DatasourceOptions, QueryError, Rows, SqlQuery, columns, row};
use crate::model::Value;

/// Steps of SQLite's machine between two looks at the clock.
const STEPS: i32 = 10_000;

pub(super) struct Sqlite {
    path: PathBuf,
    reading: OnceLock<SqlitePool>,
    writing: OnceLock<SqlitePool>,
}

impl Sqlite {
    pub(super) fn new(options: &DatasourceOptions) -> Result<Sqlite, String> {
        let path = options.url.trim_start_matches("sqlite:");
        let path = path.strip_prefix("//").unwrap_or(path);
        if path.is_empty() || path.contains('?') || path == ":memory:" {
            return Err("expected sqlite: and a path, nothing else".into());
        }
        Ok(Sqlite { path: path.into(), reading: OnceLock::new(), writing: OnceLock::new() })
    }

    fn pool(&self, write: bool, options: &DatasourceOptions) -> &SqlitePool {
        let place = if write { &self.writing } else { &self.reading };
        place.get_or_init(|| {
            let limit = Duration::from_millis(options.query_ms_max);
            let connect = SqliteConnectOptions::new()
                .filename(&self.path)
                .create_if_missing(false)
                .read_only(!write)
                .busy_timeout(limit)
                .pragma("query_only", if write { "OFF" } else { "ON" })
                .pragma("trusted_schema", "OFF")
                .disable_statement_logging();
            let connections = if write { 1 } else { options.connections_max.max(1) };
            SqlitePoolOptions::new().max_connections(connections).acquire_timeout(limit).connect_lazy_with(connect)
        })
    }

    pub(super) async fn run(
        &self,
        query: &SqlQuery,
        options: &DatasourceOptions,
        rows: &mut Rows,
    ) -> Result<(), QueryError> {
        let mut connection = self.pool(query.write, options).acquire().await.map_err(failed)?;
        let until = Instant::now() + Duration::from_millis(options.query_ms_max);
        let mut handle = connection.lock_handle().await.map_err(failed)?;
        handle.set_progress_handler(STEPS, move || Instant::now() < until);
        drop(handle);
        let text = AssertSqlSafe(query.text.clone()).into_sql_str();
        let statement = (&mut *connection).prepare(text.clone()).await.map_err(failed)?;
        let wanted = match statement.parameters() {
            Some(Either::Right(count)) => count,
            _ => 0,
        };
        super::postgres::check_count(wanted, query.parameters.len())?;
        let names = columns(statement.columns().iter().map(Column::name))?;
        let arguments = arguments(&query.parameters)?;
        let mut changed = 0;
        let mut answer = (&mut *connection).fetch_many(sqlx::query_with(text, arguments));
        while let Some(part) = answer.try_next().await.map_err(failed)? {
            match part {
                Either::Left(done) => changed += done.rows_affected(),
                Either::Right(found) => {
                    let values = (0..names.len()).map(|at| value(&found, at)).collect::<Result<Vec<_>, _>>()?;
                    rows.push(row(&names, values)).await?;
                }
            }
        }
        if query.write {
            rows.changed = Some(changed);
        }
        Ok(())
    }
}

fn arguments(parameters: &[Value]) -> Result<SqliteArguments, QueryError> {
    let mut arguments = SqliteArguments::default();
    for (at, value) in parameters.iter().enumerate() {
        let added = match value {
            Value::Undefined | Value::Null => arguments.add(None::<i64>),
            Value::Bool(flag) => arguments.add(i64::from(*flag)),
            Value::Number(n) if n.fract() == 0.0 && n.abs() <= 9_007_199_254_740_992.0 => arguments.add(*n as i64),
            Value::Number(n) => arguments.add(*n),
            Value::Bytes(bytes) => arguments.add(bytes.to_vec()),
            Value::String(text) => arguments.add(text.to_string()),
            Value::Date(_) => arguments.add(value.to_js_string().to_string()),
            other => arguments.add(other.to_json()),
        };
        added.map_err(|e| QueryError::new("EINVAL", format!("parameter ${}: {e}", at + 1)))?;
    }
    Ok(arguments)
}

fn value(row: &sqlx::sqlite::SqliteRow, at: usize) -> Result<Value, QueryError> {
    let raw = row.try_get_raw(at).map_err(failed)?;
    if raw.is_null() {
        return Ok(Value::Null);
    }
    let kind = raw.type_info().name().to_string();
    Ok(match kind.as_str() {
        "INTEGER" | "BOOLEAN" => exact_integer(row.try_get_unchecked::<i64, _>(at).map_err(failed)?),
        "REAL" => Value::Number(row.try_get_unchecked::<f64, _>(at).map_err(failed)?),
        "BLOB" => Value::Bytes(row.try_get_unchecked::<Vec<u8>, _>(at).map_err(failed)?.into()),
        _ => row.try_get_unchecked::<String, _>(at).map_err(failed)?.into(),
    })
}

fn failed(error: sqlx::Error) -> QueryError {
    super::postgres::failed(error)
}
