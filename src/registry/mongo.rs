//! The database of a Governify Registry: `agreementmodels` and `templatemodels`, followed by a change stream where the
//! server offers one, by polling where not.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures_util::{StreamExt, TryStreamExt};
use jiff::Timestamp;
use mongodb::bson::{Bson, Document as BsonDocument, RawDocumentBuf, doc};
use mongodb::change_stream::ChangeStream;
use mongodb::change_stream::event::ChangeStreamEvent;
use mongodb::error::{Error, ErrorKind};
use mongodb::options::ClientOptions;
use mongodb::{Client, Collection, Database};
use serde_json::{Map, Number, Value};

use super::document::{Document, Found, Known};
use super::governify::strip;
use super::references::{References, has_remote};
use super::shown::{scrubbed, shown};
use super::source::{Source, SourceError, Times};
use crate::clock::Clock;
use crate::model::diagnostic::Diagnostic;
use crate::net::Net;

/// Name of the Registry's database when the address has none.
const DATABASE: &str = "registry";
const AGREEMENTS: &str = "agreementmodels";
const TEMPLATES: &str = "templatemodels";
/// What a server that is no member of a replica set says to a change stream.
const ONLY_ON_REPLICA_SETS: i32 = 40573;
/// No right to use one.
const UNAUTHORIZED: i32 = 13;
/// Largest whole number that a double holds exactly, as JavaScript has it.
const EXACT_MAX: f64 = 9_007_199_254_740_991.0;

/// A database with its address.
pub(super) struct Connection {
    /// As configured, with its secrets.
    address: String,
    request: Duration,
    /// Made at the first use; the driver reconnects by itself.
    database: Option<Database>,
}

impl Connection {
    pub(super) fn new(address: &str, request: Duration) -> Connection {
        Connection { address: address.into(), request, database: None }
    }

    pub(super) async fn database(&mut self) -> Result<Database, SourceError> {
        if let Some(database) = &self.database {
            return Ok(database.clone());
        }
        let failed = |error: Error| self.failed("the address", &error);
        let mut options = ClientOptions::parse(&self.address).await.map_err(failed)?;
        options.app_name.get_or_insert_with(|| "probity".into());
        options.server_selection_timeout.get_or_insert(self.request);
        options.connect_timeout.get_or_insert(self.request);
        let name = options.default_database.clone().unwrap_or_else(|| DATABASE.into());
        let database = Client::with_options(options).map_err(failed)?.database(&name);
        self.database = Some(database.clone());
        Ok(database)
    }

    /// What went wrong, without the secrets of the address.
    pub(super) fn failed(&self, what: &str, error: &Error) -> SourceError {
        let text = scrubbed(&error.kind.to_string(), &self.address);
        // The driver appends the whole topology, which says nothing more.
        let first = text.split(". Topology:").next().unwrap_or_default();
        SourceError(format!("{what}: {first}"))
    }

    pub(super) fn name(&self) -> String {
        shown(&self.address)
    }
}

/// Agreements and templates of one database.
pub struct MongoSource {
    connection: Connection,
    net: Arc<Net>,
    times: Times,
    known: Known,
    following: Following,
}

/// How changes are noticed.
enum Following {
    /// Not known yet, or lost with the connection.
    Unknown,
    Stream(Box<ChangeStream<ChangeStreamEvent<BsonDocument>>>),
    Polling,
}

impl MongoSource {
    pub fn new(address: &str, net: &Arc<Net>, times: Times) -> MongoSource {
        MongoSource {
            connection: Connection::new(address, times.request),
            net: net.clone(),
            times,
            known: Known::default(),
            following: Following::Unknown,
        }
    }

    /// Follows changes before the documents are read: what changes meanwhile is read again.
    async fn follow(&mut self, database: &Database) -> Result<(), SourceError> {
        if !matches!(self.following, Following::Unknown) {
            return Ok(());
        }
        let ours = doc! {"$match": {"ns.coll": {"$in": [AGREEMENTS, TEMPLATES]}}};
        self.following = match database.watch().pipeline([ours]).await {
            Ok(stream) => Following::Stream(Box::new(stream)),
            Err(error) if has_no_streams(&error) => {
                let poll_ms = self.times.poll.as_millis() as u64;
                tracing::info!(
                    source = self.connection.name(),
                    poll_ms,
                    "the server offers no change stream: it is polled"
                );
                Following::Polling
            }
            Err(error) => return Err(self.connection.failed("following changes", &error)),
        };
        Ok(())
    }

    async fn read_all(&mut self) -> Result<Found, SourceError> {
        let database = self.connection.database().await?;
        self.follow(&database).await?;
        let agreements = raw(&self.connection, &database, AGREEMENTS).await?;
        let templates = raw(&self.connection, &database, TEMPLATES).await?;
        let mut references = References::new(self.net.clone(), self.times.request);
        let mut documents = Vec::new();
        for raw in agreements {
            let (key, source) = self.named(AGREEMENTS, &raw);
            let known = self.known.get(&key, raw.as_bytes(), || agreement(&key, &source, &raw));
            documents.push(match has_outward_references(&known) {
                true => outward(&key, &source, &raw, &mut references).await,
                false => known,
            });
        }
        for raw in templates {
            let (key, source) = self.named(TEMPLATES, &raw);
            documents.push(self.known.get(&key, raw.as_bytes(), || match json(&raw) {
                Ok(value) => Document::template(&key, &source, value),
                Err(problem) => Document::unreadable(&key, &source, problem),
            }));
        }
        self.known.retain(&documents);
        Ok(Found { documents, ..Found::default() })
    }

    /// What a document is known by, and how it is shown.
    fn named(&self, collection: &str, raw: &RawDocumentBuf) -> (String, String) {
        let database_id = match raw.get("_id").ok().flatten() {
            Some(id) => Bson::try_from(id).map(|id| scalar_text(&id)).unwrap_or_default(),
            None => String::new(),
        };
        let id = raw.get_str("id").map_or_else(|_| database_id.clone(), str::to_owned);
        (format!("{collection}/{database_id}"), format!("{}/{collection}/{id}", self.connection.name()))
    }
}

/// All documents of a collection, the oldest first.
async fn raw(
    connection: &Connection,
    database: &Database,
    collection: &str,
) -> Result<Vec<RawDocumentBuf>, SourceError> {
    let failed = |error: Error| connection.failed(&format!("reading {collection}"), &error);
    let found: Collection<RawDocumentBuf> = database.collection(collection);
    found.find(doc! {}).sort(doc! {"_id": 1}).await.map_err(failed)?.try_collect().await.map_err(failed)
}

fn has_no_streams(error: &Error) -> bool {
    matches!(&*error.kind, ErrorKind::Command(e) if [ONLY_ON_REPLICA_SETS, UNAUTHORIZED].contains(&e.code))
}

fn agreement(key: &str, source: &str, raw: &RawDocumentBuf) -> Document {
    match json(raw) {
        Ok(value) => Document::of_value(key, source, value),
        Err(problem) => Document::unreadable(key, source, problem),
    }
}

fn has_outward_references(document: &Document) -> bool {
    document.diagnostics.iter().any(|d| d.code == "remote-reference")
}

/// A document read again with what it refers to elsewhere.
async fn outward(key: &str, source: &str, raw: &RawDocumentBuf, references: &mut References) -> Document {
    let value = match json(raw) {
        Ok(value) if has_remote(&value) => value,
        _ => return agreement(key, source, raw),
    };
    let (value, problems) = references.resolve(&value, None).await;
    let mut document = Document::of_value(key, source, value);
    document.diagnostics.extend(problems.into_iter().map(|p| p.in_file(source)));
    document
}

/// The document as the Registry's API gives it, without what its database adds.
fn json(raw: &RawDocumentBuf) -> Result<Value, Diagnostic> {
    let document = BsonDocument::try_from(raw.as_ref()).map_err(|error| {
        Diagnostic::error("not-bson", "$", format!("the document cannot be read: {error}")).expected("valid BSON")
    })?;
    let mut value = json_of(Bson::Document(document));
    strip(&mut value);
    Ok(value)
}

/// A value as Node.js writes it to JSON.
fn json_of(value: Bson) -> Value {
    match value {
        Bson::Document(document) => {
            Value::Object(document.into_iter().map(|(key, value)| (key, json_of(value))).collect::<Map<_, _>>())
        }
        Bson::Array(items) => Value::Array(items.into_iter().map(json_of).collect()),
        Bson::String(text) | Bson::Symbol(text) => Value::String(text),
        Bson::Boolean(yes) => Value::Bool(yes),
        Bson::Int32(number) => Value::from(number),
        Bson::Int64(number) => Value::from(number),
        // JavaScript has one kind of number, and writes the whole ones without a point.
        Bson::Double(number) if number.fract() == 0.0 && number.abs() <= EXACT_MAX => Value::from(number as i64),
        Bson::Double(number) => Number::from_f64(number).map_or(Value::Null, Value::Number),
        Bson::Null | Bson::Undefined => Value::Null,
        other => Value::String(scalar_text(&other)),
    }
}

fn scalar_text(value: &Bson) -> String {
    match value {
        Bson::ObjectId(id) => id.to_hex(),
        Bson::DateTime(at) => match Timestamp::from_millisecond(at.timestamp_millis()) {
            Ok(at) => format!("{at:.3}"),
            Err(_) => at.to_string(),
        },
        Bson::String(text) | Bson::Symbol(text) => text.clone(),
        other => other.to_string(),
    }
}

#[async_trait]
impl Source for MongoSource {
    fn name(&self) -> String {
        self.connection.name()
    }

    fn kind(&self) -> &'static str {
        "mongodb"
    }

    async fn read(&mut self) -> Result<Option<Found>, SourceError> {
        let limit = self.times.request;
        let read = match tokio::time::timeout(limit, self.read_all()).await {
            Ok(read) => read,
            Err(_) => Err(SourceError(format!("no answer within {} ms", limit.as_millis()))),
        };
        if read.is_err() {
            self.following = Following::Unknown;
        }
        read.map(Some)
    }

    async fn changed(&mut self, clock: &Clock) {
        if let Following::Stream(stream) = &mut self.following {
            if let Some(Ok(_)) = stream.next().await {
                return;
            }
            // Cut off: whether the server is there is seen by reading.
            self.following = Following::Unknown;
            return;
        }
        clock.sleep(self.times.poll).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bson_becomes_the_json_that_node_writes() {
        let at = mongodb::bson::DateTime::from_millis(1_767_225_600_000);
        let document = doc! {
            "_id": mongodb::bson::oid::ObjectId::from_bytes([1; 12]), "__v": 0, "z": 95.0, "a": [1, 2_i64, 0.5, f64::NAN],
            "at": at, "none": Bson::Undefined, "of": {"_id": 7},
        };
        let raw = RawDocumentBuf::try_from(&document).unwrap();
        let text = json(&raw).unwrap().to_string();
        assert_eq!(text, r#"{"z":95,"a":[1,2,0.5,null],"at":"2026-01-01T00:00:00.000Z","none":null,"of":{"_id":7}}"#);
    }
}
