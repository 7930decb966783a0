//! MongoDB databases as datasources: `find`, `aggregate`, `countDocuments` and `distinct`; writing and JavaScript only
//! where they are granted.

use std::time::Duration;

use futures_util::TryStreamExt;
use mongodb::bson::spec::BinarySubtype;
use mongodb::bson::{Binary, Bson, DateTime, Document, Regex, Timestamp};
use mongodb::error::{Error, ErrorKind, WriteFailure};
use mongodb::options::ClientOptions;
use mongodb::{Client, Collection};
use tokio::sync::OnceCell;

use super::decimal::{exact, exact_integer};
use super::{DatasourceOptions, MongoQuery, QueryError, Rows};
use crate::model::{Object, Value};

/// Stages that write.
const WRITING_STAGES: &[&str] = &["$out", "$merge"];
/// Operators that run JavaScript on the server.
const JAVASCRIPT: &[&str] = &["$where", "$function", "$accumulator"];
const READING: &[&str] = &["find", "aggregate", "countDocuments", "distinct"];
const WRITING: &[&str] =
    &["insertOne", "insertMany", "updateOne", "updateMany", "replaceOne", "deleteOne", "deleteMany"];

#[derive(Default)]
pub(super) struct Mongo {
    client: OnceCell<(Client, String)>,
}

/// Whether a question would change something.
pub(super) fn writes(query: &MongoQuery) -> bool {
    WRITING.contains(&query.operation.as_str()) || names_any(&query.query, WRITING_STAGES)
}

/// Whether one of these names stands as a key anywhere in it.
fn names_any(value: &Value, names: &[&str]) -> bool {
    match value {
        Value::Object(object) => object.iter().any(|(key, v)| names.contains(&key.as_str()) || names_any(v, names)),
        Value::Array(items) => items.iter().any(|item| names_any(item, names)),
        _ => false,
    }
}

impl Mongo {
    async fn collection(&self, name: &str, options: &DatasourceOptions) -> Result<Collection<Document>, QueryError> {
        let made = self.client.get_or_try_init(|| async {
            // The error of the reader may quote the address.
            let bad = |_| QueryError::new("EINVAL", "the datasource's address cannot be read");
            let mut client = ClientOptions::parse(&options.url).await.map_err(bad)?;
            client.app_name.get_or_insert_with(|| "probity flows".into());
            client.server_selection_timeout.get_or_insert(Duration::from_millis(options.query_ms_max));
            client.max_pool_size = Some(options.connections_max.max(1));
            let database = client.default_database.clone().ok_or_else(|| {
                QueryError::new(
                    "EINVAL",
                    "the datasource's address names no database; expected mongodb://host/database",
                )
            })?;
            Ok((Client::with_options(client).map_err(bad)?, database))
        });
        let (client, database) = made.await?;
        Ok(client.database(database).collection(name))
    }

    pub(super) async fn run(
        &self,
        query: &MongoQuery,
        source: &str,
        options: &DatasourceOptions,
        rows: &mut Rows,
    ) -> Result<(), QueryError> {
        let known = || READING.iter().chain(WRITING).copied().collect::<Vec<_>>().join(", ");
        if !READING.contains(&query.operation.as_str()) && !WRITING.contains(&query.operation.as_str()) {
            return Err(QueryError::new("EINVAL", format!("\"{}\" is none of {}", query.operation, known())));
        }
        let parts = [&query.query, &query.document, &query.options];
        if !options.javascript && parts.iter().any(|part| names_any(part, JAVASCRIPT)) {
            let text = format!(
                "{} run JavaScript on the server, which is not granted. To grant it: javascript = true under \
                 [datasources.{source}] in the configuration",
                JAVASCRIPT.join(", ")
            );
            return Err(QueryError::new("EACCES", text));
        }
        if query.collection.is_empty() || query.collection.contains(['$', '\0']) {
            return Err(QueryError::new("EINVAL", "no collection is named"));
        }
        let collection = self.collection(&query.collection, options).await?;
        let limit = Duration::from_millis(options.query_ms_max);
        let failed = |error: Error| failed(&error);
        match query.operation.as_str() {
            "find" => {
                let mut find = collection.find(document(&query.query, "the filter")?).max_time(limit);
                if let Some(sort) = option(query, "sort") {
                    find = find.sort(document(&sort, "sort")?);
                }
                if let Some(projection) = option(query, "projection") {
                    find = find.projection(document(&projection, "projection")?);
                }
                if let Some(count) = option(query, "limit") {
                    find = find.limit(whole(&count, "limit")?);
                }
                if let Some(count) = option(query, "skip") {
                    find = find.skip(whole(&count, "skip")? as u64);
                }
                let mut found = find.await.map_err(failed)?;
                while let Some(next) = found.try_next().await.map_err(failed)? {
                    rows.push(read(Bson::Document(next))).await?;
                }
            }
            "aggregate" => {
                let Value::Array(stages) = &query.query else {
                    return Err(QueryError::new("EINVAL", "a pipeline is an array of stages"));
                };
                let stages = stages.iter().map(|stage| document(stage, "a stage")).collect::<Result<Vec<_>, _>>()?;
                let mut found = collection.aggregate(stages).max_time(limit).await.map_err(failed)?;
                while let Some(next) = found.try_next().await.map_err(failed)? {
                    rows.push(read(Bson::Document(next))).await?;
                }
            }
            "countDocuments" => {
                let filter = document(&query.query, "the filter")?;
                let count = collection.count_documents(filter).max_time(limit).await.map_err(failed)?;
                rows.push(exact_integer(count as i64)).await?;
            }
            "distinct" => {
                let Some(field) = query.query.as_str() else {
                    return Err(QueryError::new("EINVAL", "distinct takes the name of a field as its query"));
                };
                let filter = document(&option(query, "filter").unwrap_or_default(), "the filter")?;
                for value in collection.distinct(field, filter).max_time(limit).await.map_err(failed)? {
                    rows.push(read(value)).await?;
                }
            }
            _ => rows.changed = Some(write(&collection, query).await?),
        }
        Ok(())
    }
}

/// A write; gives how many documents it changed.
async fn write(collection: &Collection<Document>, query: &MongoQuery) -> Result<u64, QueryError> {
    let filter = || document(&query.query, "the filter");
    let upsert = option(query, "upsert").is_some_and(|v| v.is_truthy());
    let failed = |error: Error| failed(&error);
    // A filter that came to nothing would change everything.
    let needs_filter = !query.operation.starts_with("insert");
    if needs_filter && query.query.as_object().is_none() {
        return Err(QueryError::new("EINVAL", format!("{} needs a filter; {{}} is every document", query.operation)));
    }
    Ok(match query.operation.as_str() {
        "insertOne" => {
            collection.insert_one(document(&query.document, "the document")?).await.map_err(failed)?;
            1
        }
        "insertMany" => {
            let Value::Array(all) = &query.document else {
                return Err(QueryError::new("EINVAL", "insertMany takes an array of documents"));
            };
            let all = all.iter().map(|one| document(one, "a document")).collect::<Result<Vec<_>, _>>()?;
            collection.insert_many(all).await.map_err(failed)?.inserted_ids.len() as u64
        }
        "updateOne" | "updateMany" => {
            let update = document(&query.document, "the update")?;
            let update = match query.operation.as_str() {
                "updateOne" => collection.update_one(filter()?, update),
                _ => collection.update_many(filter()?, update),
            };
            let done = update.upsert(upsert).await.map_err(failed)?;
            done.modified_count + u64::from(done.upserted_id.is_some())
        }
        "replaceOne" => {
            let document = document(&query.document, "the document")?;
            let done = collection.replace_one(filter()?, document).upsert(upsert).await.map_err(failed)?;
            done.modified_count + u64::from(done.upserted_id.is_some())
        }
        "deleteOne" => collection.delete_one(filter()?).await.map_err(failed)?.deleted_count,
        _ => collection.delete_many(filter()?).await.map_err(failed)?.deleted_count,
    })
}

fn option(query: &MongoQuery, name: &str) -> Option<Value> {
    Some(query.options.get(name)).filter(|value| !value.is_nullish())
}

fn whole(value: &Value, what: &str) -> Result<i64, QueryError> {
    match value {
        Value::Number(n) if n.fract() == 0.0 && *n >= 0.0 && *n <= 9_007_199_254_740_992.0 => Ok(*n as i64),
        _ => Err(QueryError::new("EINVAL", format!("{what}: expected a whole number"))),
    }
}

/// A document of a message; nothing is the empty one.
fn document(value: &Value, what: &str) -> Result<Document, QueryError> {
    let wrong = |why: String| QueryError::new("EINVAL", format!("{what}: {why}"));
    match value {
        Value::Undefined | Value::Null => Ok(Document::new()),
        Value::Object(_) => match bson(value).map_err(wrong)? {
            Bson::Document(document) => Ok(document),
            _ => Err(wrong("expected an object".into())),
        },
        _ => Err(wrong("expected an object".into())),
    }
}

/// A value of a message; `{"$oid": …}` and the other forms of Extended JSON are what they stand for.
fn bson(value: &Value) -> Result<Bson, String> {
    Ok(match value {
        Value::Undefined => Bson::Undefined,
        Value::Null => Bson::Null,
        Value::Bool(flag) => Bson::Boolean(*flag),
        Value::Number(n) if n.fract() == 0.0 && n.abs() <= f64::from(i32::MAX) => Bson::Int32(*n as i32),
        Value::Number(n) if n.fract() == 0.0 && n.abs() <= 9_007_199_254_740_992.0 => Bson::Int64(*n as i64),
        Value::Number(n) => Bson::Double(*n),
        Value::String(text) => Bson::String(text.to_string()),
        Value::Date(ms) => Bson::DateTime(DateTime::from_millis(*ms as i64)),
        Value::Bytes(bytes) => Bson::Binary(Binary { subtype: BinarySubtype::Generic, bytes: bytes.to_vec() }),
        Value::Array(items) => Bson::Array(items.iter().map(bson).collect::<Result<_, _>>()?),
        Value::Object(object) => {
            if let Some(plain) = extended(object)? {
                return Ok(plain);
            }
            let mut document = Document::new();
            for (name, value) in object.iter().filter(|(_, value)| !value.is_undefined()) {
                document.insert(name.to_string(), bson(value)?);
            }
            Bson::Document(document)
        }
        Value::Error(_) | Value::Handle(_) => return Err("it holds something that is no data".into()),
    })
}

/// What an object of Extended JSON (version 2) stands for; `None` when it is an ordinary one.
fn extended(object: &Object) -> Result<Option<Bson>, String> {
    let mut entries = object.iter();
    let (Some((name, value)), None) = (entries.next(), entries.next()) else { return Ok(None) };
    let text = || value.as_str().ok_or_else(|| format!("{name}: expected a text"));
    let bad = |what: &str| format!("{name}: expected {what}");
    let number = |of: &Value| match of {
        Value::Number(n) if n.fract() == 0.0 => Ok(*n as i64),
        Value::Object(inner) => inner
            .get("$numberLong")
            .and_then(Value::as_str)
            .and_then(|text| text.parse().ok())
            .ok_or_else(|| bad("a whole number")),
        _ => Err(bad("a whole number")),
    };
    Ok(Some(match name.as_str() {
        "$oid" => Bson::ObjectId(text()?.parse().map_err(|_| bad("24 hex digits"))?),
        "$date" => match value {
            Value::String(at) => {
                let at: jiff::Timestamp = at.parse().map_err(|_| bad("an instant such as 2026-03-01T12:00:00Z"))?;
                Bson::DateTime(DateTime::from_millis(at.as_millisecond()))
            }
            Value::Date(ms) => Bson::DateTime(DateTime::from_millis(*ms as i64)),
            other => Bson::DateTime(DateTime::from_millis(number(other)?)),
        },
        "$numberLong" => Bson::Int64(text()?.parse().map_err(|_| bad("a whole number"))?),
        "$numberInt" => Bson::Int32(text()?.parse().map_err(|_| bad("a whole number"))?),
        "$numberDouble" => Bson::Double(text()?.parse().map_err(|_| bad("a number"))?),
        "$numberDecimal" => Bson::Decimal128(text()?.parse().map_err(|_| bad("a decimal number"))?),
        "$uuid" => {
            let id = uuid::Uuid::parse_str(text()?).map_err(|_| bad("a UUID"))?;
            Bson::Binary(Binary { subtype: BinarySubtype::Uuid, bytes: id.as_bytes().to_vec() })
        }
        "$binary" => {
            use base64::Engine as _;
            let encoded = value.get("base64");
            let bytes = encoded.as_str().and_then(|t| base64::engine::general_purpose::STANDARD.decode(t).ok());
            let subtype = u8::from_str_radix(&value.get("subType").to_js_string(), 16).unwrap_or(0);
            Bson::Binary(Binary { subtype: subtype.into(), bytes: bytes.ok_or_else(|| bad("{base64, subType}"))? })
        }
        "$timestamp" => Bson::Timestamp(Timestamp {
            time: u32::try_from(number(&value.get("t"))?).map_err(|_| bad("{t, i}"))?,
            increment: u32::try_from(number(&value.get("i"))?).map_err(|_| bad("{t, i}"))?,
        }),
        "$regularExpression" => {
            let part =
                |name: &str| value.get(name).as_str().map(str::to_string).ok_or_else(|| bad("{pattern, options}"));
            let (pattern, options) = (part("pattern")?, part("options")?);
            let cstring = |text: String| text.try_into().map_err(|_| bad("no NUL in it"));
            Bson::RegularExpression(Regex { pattern: cstring(pattern)?, options: cstring(options)? })
        }
        "$minKey" => Bson::MinKey,
        "$maxKey" => Bson::MaxKey,
        _ => return Ok(None),
    }))
}

/// A value of the database: whole numbers and decimals exact, instants and object ids as text.
fn read(value: Bson) -> Value {
    match value {
        Bson::Null | Bson::Undefined => Value::Null,
        Bson::Boolean(flag) => Value::Bool(flag),
        Bson::Int32(n) => Value::Number(f64::from(n)),
        Bson::Int64(n) => exact_integer(n),
        Bson::Double(n) => Value::Number(n),
        Bson::Decimal128(n) => exact(&n.to_string()),
        Bson::String(text) | Bson::Symbol(text) => text.into(),
        Bson::ObjectId(id) => id.to_hex().into(),
        Bson::DateTime(at) => Value::Date(at.timestamp_millis() as f64),
        Bson::Binary(Binary { subtype: BinarySubtype::Uuid, bytes }) if bytes.len() == 16 => {
            uuid::Uuid::from_slice(&bytes).map_or(Value::Null, |id| id.to_string().into())
        }
        Bson::Binary(binary) => Value::Bytes(binary.bytes.into()),
        Bson::Array(items) => Value::array(items.into_iter().map(read).collect()),
        Bson::Document(document) => document
            .into_iter()
            .map(|(name, value)| (arcstr::ArcStr::from(name), read(value)))
            .collect::<Object>()
            .into(),
        Bson::RegularExpression(regex) => {
            let text = [("pattern", regex.pattern.to_string()), ("options", regex.options.to_string())];
            let inner: Object = text.into_iter().map(|(name, text)| (name, Value::from(text))).collect();
            [("$regularExpression", Value::from(inner))].into_iter().collect::<Object>().into()
        }
        Bson::Timestamp(at) => {
            let parts = [("t", f64::from(at.time)), ("i", f64::from(at.increment))];
            let inner: Object = parts.into_iter().map(|(name, n)| (name, Value::Number(n))).collect();
            [("$timestamp", Value::from(inner))].into_iter().collect::<Object>().into()
        }
        // Code, keys for sorting, pointers of old: what the driver prints.
        other => other.to_string().into(),
    }
}

/// What went wrong, without the topology, which says where everything is.
fn failed(error: &Error) -> QueryError {
    match &*error.kind {
        ErrorKind::Command(told) => QueryError::new(told.code.to_string(), told.message.clone()),
        ErrorKind::Write(WriteFailure::WriteError(told)) => {
            QueryError::new(told.code.to_string(), told.message.clone())
        }
        ErrorKind::Authentication { .. } => QueryError::new("EACCES", "the database does not take the login"),
        ErrorKind::ServerSelection { .. } | ErrorKind::ConnectionPoolCleared { .. } => {
            QueryError::new("ECONNREFUSED", "no connection to the database")
        }
        ErrorKind::Io(_) => QueryError::new("ECONNREFUSED", "no connection to the database").unsettled(true),
        ErrorKind::InsertMany(told) => {
            let first = told.write_errors.iter().flatten().next();
            let (code, text) =
                first.map_or((String::from("EIO"), String::new()), |e| (e.code.to_string(), e.message.clone()));
            QueryError::new(code, text)
        }
        other => {
            let text = other.to_string();
            QueryError::new("EIO", text.split(". Topology:").next().unwrap_or_default())
        }
    }
}
