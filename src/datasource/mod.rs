//! Floor 4: databases that flows may ask: named by the operator, parameters bound, read-only unless granted, answers in
//! batches within caps. The statements are the users'; ours are in `store`.

pub mod decimal;
mod mongo;
mod pg_types;
mod postgres;
mod sqlite;
mod statement;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;

use crate::model::{Object, Value};

/// What the operator says of a datasource.
#[derive(Clone)]
pub struct DatasourceOptions {
    /// `postgres://`, `sqlite:` or `mongodb://` (`mongodb+srv://`), with its secrets.
    pub url: String,
    /// Whether flows may change what is there.
    pub write: bool,
    /// Whether queries of MongoDB may carry JavaScript (`$where`, `$function`, `$accumulator`).
    pub javascript: bool,
    /// Rows of one answer; more are an error.
    pub rows_max: usize,
    /// Size of one answer, bytes, about; more is an error.
    pub bytes_max: usize,
    /// Time of one query from first to last row, milliseconds.
    pub query_ms_max: u64,
    /// Connections open at once.
    pub connections_max: u32,
}

impl Default for DatasourceOptions {
    fn default() -> Self {
        DatasourceOptions {
            url: String::new(),
            write: false,
            javascript: false,
            rows_max: 100_000,
            bytes_max: 64 << 20,
            query_ms_max: 30_000,
            connections_max: 4,
        }
    }
}

impl std::fmt::Debug for DatasourceOptions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("DatasourceOptions").field("write", &self.write).finish_non_exhaustive()
    }
}

/// What kind of database a datasource is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Sql,
    MongoDb,
}

/// Why a question has no answer: a code that flows can test and a sentence, never with a secret in it.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[error("{message}")]
pub struct QueryError {
    /// SQLSTATE, the number of a MongoDB error, or `EACCES` (not granted), `EMSGSIZE` (over a cap), `ETIMEDOUT`,
    /// `ECONNREFUSED` (no connection), `EINVAL` (the question itself).
    pub code: String,
    pub message: String,
    /// What was asked for may have been done: only the answer is missing.
    pub unsettled: bool,
}

impl QueryError {
    fn new(code: impl Into<String>, message: impl Into<String>) -> QueryError {
        QueryError { code: code.into(), message: message.into(), unsettled: false }
    }

    fn unsettled(self, unsettled: bool) -> QueryError {
        QueryError { unsettled, ..self }
    }
}

/// A statement with its parameters.
#[derive(Clone, Debug)]
pub struct SqlQuery {
    pub text: String,
    /// The values of `$1`, `$2`, ….
    pub parameters: Vec<Value>,
    /// The statement changes something.
    pub write: bool,
    /// Rows in a batch; 0: all in one.
    pub batch: usize,
}

/// A question to MongoDB.
#[derive(Clone, Debug)]
pub struct MongoQuery {
    /// `find`, `aggregate`, `countDocuments`, `distinct`, `insertOne`, `insertMany`, `updateOne`, `updateMany`,
    /// `replaceOne`, `deleteOne` or `deleteMany`.
    pub operation: String,
    pub collection: String,
    /// Filter, pipeline or field's name (`distinct`).
    pub query: Value,
    /// What is written: a document, documents, or an update.
    pub document: Value,
    /// `sort`, `projection`, `limit`, `skip`, `upsert`; `filter` for `distinct`.
    pub options: Value,
    /// Documents in a batch; 0: all in one.
    pub batch: usize,
}

/// A part of an answer.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Batch {
    pub rows: Vec<Value>,
    /// No more follow.
    pub last: bool,
    /// Rows that a write changed, when this is the last part of its answer.
    pub changed: Option<u64>,
}

/// An answer on its way: one part at a time, the next is fetched when this one was taken.
pub type Answer = mpsc::Receiver<Result<Batch, QueryError>>;

/// A database that flows may ask.
pub struct Datasource {
    name: String,
    options: DatasourceOptions,
    driver: Driver,
}

enum Driver {
    Postgres(Box<postgres::Postgres>),
    Sqlite(sqlite::Sqlite),
    Mongo(mongo::Mongo),
}

/// All of them by name.
#[derive(Default)]
pub struct Datasources(BTreeMap<String, Arc<Datasource>>);

impl Datasources {
    /// Reads what is configured and connects to nothing yet. Every problem is told, without addresses.
    pub fn new(configured: BTreeMap<String, DatasourceOptions>) -> Result<Datasources, Vec<String>> {
        let mut all = BTreeMap::new();
        let mut problems = Vec::new();
        for (name, options) in configured {
            match Driver::new(&options) {
                Ok(driver) => {
                    all.insert(name.clone(), Arc::new(Datasource { name, options, driver }));
                }
                Err(problem) => problems.push(format!("datasources.{name}.url: {problem}")),
            }
        }
        if problems.is_empty() { Ok(Datasources(all)) } else { Err(problems) }
    }

    pub fn get(&self, name: &str) -> Option<&Arc<Datasource>> {
        self.0.get(name)
    }

    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }
}

impl Driver {
    fn new(options: &DatasourceOptions) -> Result<Driver, String> {
        match options.url.split(':').next().unwrap_or_default() {
            "postgres" | "postgresql" => postgres::Postgres::new(options).map(Box::new).map(Driver::Postgres),
            "sqlite" => sqlite::Sqlite::new(options).map(Driver::Sqlite),
            "mongodb" | "mongodb+srv" => Ok(Driver::Mongo(mongo::Mongo::default())),
            "" => Err("it is empty; expected postgres://, sqlite: or mongodb://".into()),
            // Not the text itself: what stands there may be a password.
            _ => Err("no kind of database that is known; expected postgres://, sqlite: or mongodb://".into()),
        }
    }
}

impl Datasource {
    pub fn name(&self) -> &str {
        &self.name
    }

    pub fn kind(&self) -> Kind {
        match self.driver {
            Driver::Mongo(_) => Kind::MongoDb,
            Driver::Postgres(_) | Driver::Sqlite(_) => Kind::Sql,
        }
    }

    /// Runs a statement. What is not granted is refused before anything is asked.
    pub fn sql(self: &Arc<Self>, query: SqlQuery) -> Answer {
        let this = self.clone();
        self.answer(query.batch, async move |mut rows| {
            if query.write && !this.options.write {
                return Err(this.not_granted());
            }
            statement::check(&query.text, query.write)?;
            match &this.driver {
                Driver::Postgres(postgres) => postgres.run(&query, &this.options, &mut rows).await?,
                Driver::Sqlite(sqlite) => sqlite.run(&query, &this.options, &mut rows).await?,
                Driver::Mongo(_) => return Err(this.other_kind("mongodb")),
            }
            rows.finish().await
        })
    }

    /// Asks MongoDB. What is not granted is refused before anything is asked.
    pub fn mongo(self: &Arc<Self>, query: MongoQuery) -> Answer {
        let this = self.clone();
        self.answer(query.batch, async move |mut rows| {
            match &this.driver {
                Driver::Mongo(mongo) => {
                    if mongo::writes(&query) && !this.options.write {
                        return Err(this.not_granted());
                    }
                    mongo.run(&query, &this.name, &this.options, &mut rows).await?;
                }
                _ => return Err(this.other_kind("sql")),
            }
            rows.finish().await
        })
    }

    /// Lets a query fill an answer, within its time.
    fn answer<F, W>(&self, batch: usize, ask: W) -> Answer
    where
        W: FnOnce(Rows) -> F + Send + 'static,
        F: Future<Output = Result<(), QueryError>> + Send + 'static,
    {
        let (sender, answer) = mpsc::channel(1);
        let rows = Rows::new(sender.clone(), batch, &self.options);
        let limit = Duration::from_millis(self.options.query_ms_max);
        let name = self.name.clone();
        tokio::spawn(async move {
            let done = tokio::select! {
                done = tokio::time::timeout(limit, ask(rows)) => done.unwrap_or_else(|_| {
                    let ms = limit.as_millis();
                    let text = format!("the query took longer than {ms} ms (datasources.{name}.query_ms_max)");
                    Err(QueryError::new("ETIMEDOUT", text).unsettled(true))
                }),
                // Nobody waits for the answer any more.
                () = sender.closed() => return,
            };
            if let Err(error) = done {
                let _ = sender.send(Err(error)).await.is_ok();
            }
        });
        answer
    }

    fn not_granted(&self) -> QueryError {
        let name = &self.name;
        let text = format!(
            "datasource \"{name}\" is read-only for flows. To let them write: write = true under [datasources.{name}] in \
             the configuration"
        );
        QueryError::new("EACCES", text)
    }

    fn other_kind(&self, node: &str) -> QueryError {
        QueryError::new("EINVAL", format!("datasource \"{}\" is asked by {node} nodes", self.name))
    }
}

/// Rows on their way into batches, counted against the caps.
struct Rows {
    sender: mpsc::Sender<Result<Batch, QueryError>>,
    batch: usize,
    waiting: Vec<Value>,
    count: usize,
    bytes: usize,
    rows_max: usize,
    bytes_max: usize,
    changed: Option<u64>,
}

impl Rows {
    fn new(sender: mpsc::Sender<Result<Batch, QueryError>>, batch: usize, options: &DatasourceOptions) -> Rows {
        let (rows_max, bytes_max) = (options.rows_max, options.bytes_max);
        Rows { sender, batch, waiting: Vec::new(), count: 0, bytes: 0, rows_max, bytes_max, changed: None }
    }

    /// Adds a row. A full batch is sent when a further row has come, so that the last one is known to be the last.
    async fn push(&mut self, row: Value) -> Result<(), QueryError> {
        self.count += 1;
        self.bytes += size(&row);
        if self.count > self.rows_max {
            let text = format!("the answer has more than {} rows (rows_max); ask for fewer", self.rows_max);
            return Err(QueryError::new("EMSGSIZE", text));
        }
        if self.bytes > self.bytes_max {
            let text = format!("the answer is larger than {} bytes (bytes_max); ask for less", self.bytes_max);
            return Err(QueryError::new("EMSGSIZE", text));
        }
        if self.batch > 0 && self.waiting.len() == self.batch {
            let rows = std::mem::take(&mut self.waiting);
            self.send(Batch { rows, last: false, changed: None }).await?;
        }
        self.waiting.push(row);
        Ok(())
    }

    async fn finish(mut self) -> Result<(), QueryError> {
        let (rows, changed) = (std::mem::take(&mut self.waiting), self.changed);
        self.send(Batch { rows, last: true, changed }).await
    }

    async fn send(&mut self, batch: Batch) -> Result<(), QueryError> {
        let gone = |_| QueryError::new("ECANCELED", "nobody waits for the answer any more");
        self.sender.send(Ok(batch)).await.map_err(gone)
    }
}

/// About what a value takes as JSON, bytes.
fn size(value: &Value) -> usize {
    match value {
        Value::String(text) => text.len() + 2,
        Value::Bytes(bytes) => bytes.len(),
        Value::Array(items) => items.iter().map(size).sum::<usize>() + 2,
        Value::Object(object) => object.iter().map(|(name, value)| name.len() + 4 + size(value)).sum::<usize>() + 2,
        _ => 8,
    }
}

/// A row from its columns; two of one name would be one.
fn row(columns: &[arcstr::ArcStr], values: impl IntoIterator<Item = Value>) -> Value {
    columns.iter().cloned().zip(values).collect::<Object>().into()
}

/// The names of an answer's columns, each only once.
fn columns<'a>(names: impl Iterator<Item = &'a str>) -> Result<Vec<arcstr::ArcStr>, QueryError> {
    let mut all: Vec<arcstr::ArcStr> = Vec::new();
    for name in names {
        if all.iter().any(|known| known == name) {
            let text = format!("two columns of the answer are named \"{name}\"; tell them apart with AS");
            return Err(QueryError::new("EINVAL", text));
        }
        all.push(name.into());
    }
    Ok(all)
}

#[cfg(test)]
mod tests;
