//! Postgres databases as datasources: each query in a transaction of its own, read-only unless writing is granted.

use std::str::FromStr;
use std::sync::OnceLock;
use std::time::Duration;

use futures_util::TryStreamExt;
use sqlx::postgres::{PgArguments, PgConnectOptions, PgConnection, PgPool, PgPoolOptions, PgTypeInfo};
use sqlx::{
    Arguments, AssertSqlSafe, Column, ConnectOptions, Either, Error, Executor, Row, SqlSafeStr, Statement, TypeInfo,
};

use super::{DatasourceOptions, QueryError, Rows, SqlQuery, columns, pg_types, row};

pub(super) struct Postgres {
    connect: PgConnectOptions,
    pool: OnceLock<PgPool>,
}

impl Postgres {
    pub(super) fn new(options: &DatasourceOptions) -> Result<Postgres, String> {
        // The error of the reader quotes what it read.
        let connect = PgConnectOptions::from_str(&options.url)
            .map_err(|_| "it cannot be read; expected postgres://user:password@host:5432/database")?;
        let read_only = if options.write { "off" } else { "on" };
        let connect = connect
            .application_name("probity flows")
            .options([("default_transaction_read_only", read_only)])
            .disable_statement_logging();
        Ok(Postgres { connect, pool: OnceLock::new() })
    }

    fn pool(&self, options: &DatasourceOptions) -> &PgPool {
        self.pool.get_or_init(|| {
            PgPoolOptions::new()
                .max_connections(options.connections_max.max(1))
                .acquire_timeout(Duration::from_millis(options.query_ms_max))
                .connect_lazy_with(self.connect.clone())
        })
    }

    pub(super) async fn run(
        &self,
        query: &SqlQuery,
        options: &DatasourceOptions,
        rows: &mut Rows,
    ) -> Result<(), QueryError> {
        // Out of the pool for as long as it works: one that is given up half-way is closed, not used again.
        let pooled = self.pool(options).acquire().await.map_err(failed)?;
        let mut connection = Held::new(pooled);
        let limit = options.query_ms_max;
        let access = if query.write { "READ WRITE" } else { "READ ONLY" };
        let begin = format!("BEGIN {access}; SET LOCAL statement_timeout = {limit}; SET LOCAL lock_timeout = {limit}");
        simple(connection.get(), begin).await?;
        let asked = ask(connection.get(), query, rows).await;
        let end = if query.write && asked.is_ok() { "COMMIT" } else { "ROLLBACK" };
        simple(connection.get(), end.into()).await?;
        connection.give_back();
        asked
    }
}

/// A connection that is closed unless it is given back.
struct Held(Option<sqlx::pool::PoolConnection<sqlx::Postgres>>);

impl Held {
    fn new(connection: sqlx::pool::PoolConnection<sqlx::Postgres>) -> Held {
        Held(Some(connection))
    }

    fn get(&mut self) -> &mut PgConnection {
        self.0.as_mut().expect("held until it is given back")
    }

    fn give_back(&mut self) {
        drop(self.0.take());
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        if let Some(connection) = self.0.take() {
            drop(connection.detach());
        }
    }
}

async fn simple(connection: &mut PgConnection, text: String) -> Result<(), QueryError> {
    connection.execute(sqlx::raw_sql(AssertSqlSafe(text))).await.map_err(failed)?;
    Ok(())
}

async fn ask(connection: &mut PgConnection, query: &SqlQuery, rows: &mut Rows) -> Result<(), QueryError> {
    let text = AssertSqlSafe(query.text.clone()).into_sql_str();
    let statement = (&mut *connection).prepare(text.clone()).await.map_err(failed)?;
    let types: Vec<PgTypeInfo> = match statement.parameters() {
        Some(Either::Left(types)) => types.to_vec(),
        _ => Vec::new(),
    };
    check_count(types.len(), query.parameters.len())?;
    let mut arguments = PgArguments::default();
    for (at, (value, of)) in query.parameters.iter().zip(&types).enumerate() {
        let bad = |what: String| {
            QueryError::new("EINVAL", format!("parameter ${} ({}): {what}", at + 1, of.name().to_lowercase()))
        };
        let parameter = pg_types::Parameter::new(value, of).map_err(bad)?;
        arguments.add(parameter).map_err(|e| bad(e.to_string()))?;
    }
    let names = columns(statement.columns().iter().map(Column::name))?;
    let kinds: Vec<PgTypeInfo> = statement.columns().iter().map(|column| column.type_info().clone()).collect();
    let mut changed = 0;
    let mut answer = (&mut *connection).fetch_many(sqlx::query_with(text, arguments));
    while let Some(part) = answer.try_next().await.map_err(failed)? {
        match part {
            Either::Left(done) => changed += done.rows_affected(),
            Either::Right(found) => {
                let mut values = Vec::with_capacity(names.len());
                for (at, of) in kinds.iter().enumerate() {
                    let bad = |what: String| {
                        let text = format!(
                            "column \"{}\" ({}): {what}; make it text in the query: (…)::text",
                            names[at],
                            of.name().to_lowercase()
                        );
                        QueryError::new("EINVAL", text)
                    };
                    values.push(pg_types::read(found.try_get_raw(at).map_err(failed)?, of).map_err(bad)?);
                }
                rows.push(row(&names, values)).await?;
            }
        }
    }
    if query.write {
        rows.changed = Some(changed);
    }
    Ok(())
}

/// As many values as the statement has places for.
pub(super) fn check_count(wanted: usize, given: usize) -> Result<(), QueryError> {
    if wanted == given {
        return Ok(());
    }
    Err(QueryError::new("EINVAL", format!("the query has {wanted} parameters ($1 …), and {given} values are given")))
}

/// What went wrong: the database's own words, or which step did; never an address.
pub(super) fn failed(error: Error) -> QueryError {
    match &error {
        Error::Database(told) => {
            let code = told.code().map(|code| code.into_owned()).unwrap_or_else(|| "EIO".into());
            let detail = told.try_downcast_ref::<sqlx::postgres::PgDatabaseError>().and_then(|e| e.detail());
            let text = match detail {
                Some(detail) => format!("{} ({detail})", told.message()),
                None => told.message().to_string(),
            };
            let unsettled = leaves_open(&code);
            QueryError::new(code, text).unsettled(unsettled)
        }
        Error::Io(io) => QueryError::new("ECONNREFUSED", format!("no connection to the database: {}", io.kind()))
            .unsettled(!was_not_sent(io.kind())),
        Error::Tls(_) => QueryError::new("EPROTO", "no trusted connection to the database"),
        Error::PoolTimedOut => {
            QueryError::new("ETIMEDOUT", "no connection to the database became free in time (connections_max)")
        }
        Error::Configuration(_) => QueryError::new("EINVAL", "the datasource's address cannot be used"),
        Error::Encode(e) => QueryError::new("EINVAL", format!("a parameter cannot be sent: {e}")),
        other => QueryError::new("EIO", other.to_string()),
    }
}

/// SQLSTATEs with which a statement that wrote may have been committed: the connection broke (class 08), the server
/// went away, also while a commit waited for its standby (57P01 to 57P03), or it says so (40003).
/// <https://www.postgresql.org/docs/current/errcodes-appendix.html>
fn leaves_open(code: &str) -> bool {
    code.starts_with("08") || matches!(code, "57P01" | "57P02" | "57P03" | "40003")
}

/// Whether a connection failed before anything could be asked over it.
fn was_not_sent(kind: std::io::ErrorKind) -> bool {
    use std::io::ErrorKind::{AddrNotAvailable, ConnectionRefused, HostUnreachable, NetworkUnreachable, NotFound};
    matches!(kind, AddrNotAvailable | ConnectionRefused | HostUnreachable | NetworkUnreachable | NotFound)
}
