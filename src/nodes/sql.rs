//! `sql`: asks a named datasource; parameters are bound, never written into the text.

use std::sync::Arc;

use super::rows::{Shape, deliver};
use super::typed::TypedInput;
use crate::datasource::{Datasource, Kind, SqlQuery};
use crate::model::node_spec::{NodeSpec, Property, PropertyKind};
use crate::model::{Diagnostic, Msg, Value};
use crate::runtime::{Cx, Effect, Node, NodeConfig, NodeError, NodeType, Step};

static SPEC: NodeSpec = NodeSpec {
    node_type: "sql",
    category: "compliance",
    summary: "Asks a Postgres or SQLite datasource; msg.payload is the rows. Reads only, unless writing is granted.",
    inputs: 1,
    outputs: Some(1),
    config_node: false,
    properties: &[
        Property::required("datasource", PropertyKind::Text, "Its name: [datasources.NAME] of the configuration."),
        Property::required("query", PropertyKind::Text, "One statement, with $1, $2, … for the parameters."),
        Property::new(
            "parameters",
            PropertyKind::Json,
            "[{v, vt}]: the values of $1, $2, … as typed inputs; the array msg.parameters when absent.",
        ),
        Property::new("access", PropertyKind::OneOf(&["read", "write"]), "read when absent; write needs a grant."),
        Property::new(
            "batch",
            PropertyKind::Number,
            "Rows of a message; with it the answer comes in parts that join puts together. 0: all in one.",
        ),
    ],
    capabilities: &[],
};

pub const TYPE: NodeType = NodeType { spec: &SPEC, build };

struct Sql {
    source: Arc<Datasource>,
    text: String,
    parameters: Option<Vec<TypedInput>>,
    write: bool,
    batch: usize,
}

/// The datasource a node names; the problem says which there are.
pub(super) fn datasource(config: &NodeConfig<'_>, kind: Kind) -> Result<Arc<Datasource>, Diagnostic> {
    let (name, known) = (config.text("datasource"), &config.services.datasources);
    match known.get(&name) {
        Some(source) if source.kind() == kind => Ok(source.clone()),
        Some(_) => {
            let other = if kind == Kind::Sql { "mongodb" } else { "sql" };
            let problem = format!("datasource \"{name}\" is asked by {other} nodes");
            Err(config.problem("wrong-datasource", "datasource", problem))
        }
        None => Err(config
            .problem("unknown-datasource", "datasource", format!("there is no datasource \"{name}\""))
            .expected("the name of a datasource of the configuration")
            .did_you_mean(&name, known.names())
            .hint(format!("add [datasources.{name}] with its url to the configuration"))),
    }
}

/// Rows of a message, from the property `batch`.
pub(super) fn batch(config: &NodeConfig<'_>) -> Result<usize, Diagnostic> {
    match config.number("batch").unwrap_or(0.0) {
        n if n.fract() == 0.0 && (0.0..=1e9).contains(&n) => Ok(n as usize),
        n => Err(config.problem("invalid-batch", "batch", format!("{n} is no number of rows")).expected("0 or more")),
    }
}

fn build(config: &NodeConfig<'_>) -> Result<Arc<dyn Node>, Vec<Diagnostic>> {
    let mut problems = Vec::new();
    let source = datasource(config, Kind::Sql).map_err(|p| problems.push(p)).ok();
    let batch = batch(config).map_err(|p| problems.push(p)).ok();
    let parameters = match config.get("parameters") {
        Value::Undefined | Value::Null => None,
        Value::Array(rows) => {
            let mut inputs = Vec::new();
            for (at, row) in rows.iter().enumerate() {
                let kind = row.get("vt").as_str().unwrap_or("str").to_string();
                match TypedInput::of(config, &format!("parameters[{at}].v"), &row.get("v"), &kind) {
                    Ok(input) => inputs.push(input),
                    Err(problem) => problems.push(problem),
                }
            }
            Some(inputs)
        }
        _ => {
            let problem = config.problem("invalid-parameters", "parameters", "they are no list");
            problems.push(problem.expected("[{v, vt}], a typed input for each of $1, $2, …"));
            None
        }
    };
    let text = config.text("query").to_string();
    if text.trim().is_empty() {
        problems.push(config.problem("missing-query", "query", "it has no query").expected("one SQL statement"));
    }
    match (source, batch) {
        (Some(source), Some(batch)) if problems.is_empty() => {
            Ok(Arc::new(Sql { source, text, parameters, write: config.text("access") == "write", batch }))
        }
        _ => Err(problems),
    }
}

impl Sql {
    fn parameters(&self, msg: &Msg, cx: &Cx<'_>) -> Result<Vec<Value>, NodeError> {
        match &self.parameters {
            Some(inputs) => inputs.iter().map(|input| input.eval(msg, cx)).collect(),
            None => match msg.get("parameters") {
                None | Some(Value::Undefined | Value::Null) => Ok(Vec::new()),
                Some(Value::Array(values)) => Ok(values.to_vec()),
                Some(_) => Err("msg.parameters is no array; expected the values of $1, $2, …".into()),
            },
        }
    }
}

impl Node for Sql {
    fn effect(&self) -> Effect {
        if self.write { Effect::Once } else { Effect::None }
    }

    fn on_msg(&self, msg: Msg, cx: &mut Cx<'_>) -> Step {
        let parameters = match self.parameters(&msg, cx) {
            Ok(parameters) => parameters,
            Err(error) => return Step::fail(msg, error),
        };
        let query = SqlQuery { text: self.text.clone(), parameters, write: self.write, batch: self.batch };
        let shape = if self.batch == 0 { Shape::Whole } else { Shape::Parts };
        deliver(self.source.sql(query), msg, shape)
    }
}

#[cfg(test)]
mod tests;
