//! `mongodb`: asks a named datasource; what it asks is data, never text that is put together.

use std::sync::Arc;

use super::rows::{Shape, deliver};
use super::sql::{batch, datasource};
use super::typed::TypedInput;
use crate::datasource::{Datasource, Kind, MongoQuery};
use crate::model::node_spec::{NodeSpec, Property, PropertyKind};
use crate::model::{Diagnostic, Msg, Value};
use crate::runtime::{Cx, Effect, Node, NodeConfig, NodeError, NodeType, Step};

const OPERATIONS: &[&str] = &[
    "find",
    "aggregate",
    "countDocuments",
    "distinct",
    "insertOne",
    "insertMany",
    "updateOne",
    "updateMany",
    "replaceOne",
    "deleteOne",
    "deleteMany",
];

/// Those that change nothing.
const READS: &[&str] = &["find", "aggregate", "countDocuments", "distinct"];

static SPEC: NodeSpec = NodeSpec {
    node_type: "mongodb",
    category: "compliance",
    summary: "Asks a MongoDB datasource; msg.payload is the documents. Reads only, unless writing is granted.",
    inputs: 1,
    outputs: Some(1),
    config_node: false,
    properties: &[
        Property::required("datasource", PropertyKind::Text, "Its name: [datasources.NAME] of the configuration."),
        Property::required("collection", PropertyKind::Text, "The collection."),
        Property::new("operation", PropertyKind::OneOf(OPERATIONS), "find when absent; those that write need a grant."),
        Property::new(
            "query",
            PropertyKind::Json,
            "Filter, pipeline, or (distinct) field; a typed input of queryType; {} when absent.",
        ),
        Property::new("queryType", PropertyKind::Text, "json when absent; msg, jsonata, …"),
        Property::new("document", PropertyKind::Json, "What is written, a typed input of documentType."),
        Property::new("documentType", PropertyKind::Text, "msg when absent."),
        Property::new("options", PropertyKind::Json, "{sort, projection, limit, skip, upsert}; a typed input."),
        Property::new("optionsType", PropertyKind::Text, "json when absent."),
        Property::new("batch", PropertyKind::Number, "Documents of a message; 0: all in one."),
    ],
    capabilities: &[],
};

pub const TYPE: NodeType = NodeType { spec: &SPEC, build };

struct MongoDb {
    source: Arc<Datasource>,
    operation: String,
    collection: String,
    query: TypedInput,
    document: TypedInput,
    options: TypedInput,
    batch: usize,
}

fn build(config: &NodeConfig<'_>) -> Result<Arc<dyn Node>, Vec<Diagnostic>> {
    let mut problems = Vec::new();
    let source = datasource(config, Kind::MongoDb).map_err(|p| problems.push(p)).ok();
    let batch = batch(config).map_err(|p| problems.push(p)).ok();
    let mut input = |name: &str, kind: &str, otherwise: Value| {
        let value = match config.get(name) {
            Value::Undefined | Value::Null => otherwise,
            Value::String(text) if text.is_empty() => otherwise,
            given => given.clone(),
        };
        let given = config.text(&format!("{name}Type"));
        let kind = if given.is_empty() { kind } else { given.as_str() };
        TypedInput::of(config, name, &value, kind).map_err(|p| problems.push(p)).ok()
    };
    let query = input("query", "json", "{}".into());
    let document = input("document", "msg", "payload".into());
    let options = input("options", "json", "{}".into());
    let operation = match config.text("operation").as_str() {
        "" => "find".to_string(),
        name => name.to_string(),
    };
    if !OPERATIONS.contains(&operation.as_str()) {
        problems.push(
            config
                .problem("unknown-operation", "operation", format!("\"{operation}\" is no operation"))
                .expected(OPERATIONS.join(", "))
                .did_you_mean(&operation, OPERATIONS.iter().copied()),
        );
    }
    let collection = config.text("collection").to_string();
    if collection.is_empty() {
        problems.push(config.problem("missing-collection", "collection", "it names no collection"));
    }
    match (source, batch, query, document, options) {
        (Some(source), Some(batch), Some(query), Some(document), Some(options)) if problems.is_empty() => {
            Ok(Arc::new(MongoDb { source, operation, collection, query, document, options, batch }))
        }
        _ => Err(problems),
    }
}

impl MongoDb {
    fn question(&self, msg: &Msg, cx: &Cx<'_>) -> Result<MongoQuery, NodeError> {
        Ok(MongoQuery {
            operation: self.operation.clone(),
            collection: self.collection.clone(),
            query: self.query.eval(msg, cx)?,
            document: self.document.eval(msg, cx)?,
            options: self.options.eval(msg, cx)?,
            batch: self.batch,
        })
    }
}

impl Node for MongoDb {
    fn effect(&self) -> Effect {
        if READS.contains(&self.operation.as_str()) { Effect::None } else { Effect::Once }
    }

    fn on_msg(&self, msg: Msg, cx: &mut Cx<'_>) -> Step {
        match self.question(&msg, cx) {
            Ok(query) => {
                let shape = if self.batch == 0 { Shape::Whole } else { Shape::Parts };
                deliver(self.source.mongo(query), msg, shape)
            }
            Err(error) => Step::fail(msg, error),
        }
    }
}
