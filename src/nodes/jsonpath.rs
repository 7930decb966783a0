//! The jsonpath node (ours): selects values with an RFC 9535 query.

mod well_typed;

use std::borrow::Cow;
use std::sync::Arc;

use jsonpath_rust::parser::model::JpQuery;
use jsonpath_rust::parser::parse_json_path;
use jsonpath_rust::query::js_path_process;
use jsonpath_rust::query::queryable::Queryable;

use super::typed::msg_path;
use crate::model::node_spec::{NodeSpec, Property, PropertyKind};
use crate::model::path::Path;
use crate::model::{Diagnostic, Msg, Value};
use crate::runtime::{Cx, Node, NodeConfig, NodeError, NodeType, Step};

static SPEC: NodeSpec = NodeSpec {
    node_type: "jsonpath",
    category: "parser",
    summary: "Selects values of a property with a JSONPath query (RFC 9535).",
    inputs: 1,
    outputs: Some(1),
    config_node: false,
    properties: &[
        Property::new("property", PropertyKind::MsgPath, "The property that is searched; default payload."),
        Property::required("query", PropertyKind::Text, "An RFC 9535 query, for example $.items[?@.price < 10].id."),
        Property::new(
            "result",
            PropertyKind::OneOf(&["all", "first"]),
            "all: an array of every match, empty when there is none; first: the first match, or the target is \
             deleted; default all.",
        ),
        Property::new("target", PropertyKind::MsgPath, "The property that is set; default: the one searched."),
    ],
    capabilities: &[],
};

pub const TYPE: NodeType = NodeType { spec: &SPEC, build };

struct JsonPathNode {
    property: Path,
    query: JpQuery,
    first: bool,
    target: Path,
}

fn build(cfg: &NodeConfig<'_>) -> Result<Arc<dyn Node>, Vec<Diagnostic>> {
    let mut problems = Vec::new();
    let or = |name: &str, default: &str| match cfg.text(name) {
        text if text.is_empty() => default.to_string(),
        text => text.to_string(),
    };
    let property_text = or("property", "payload");
    let property = msg_path(cfg, "property", &property_text).map_err(|d| problems.push(d)).ok();
    let target = msg_path(cfg, "target", &or("target", &property_text)).map_err(|d| problems.push(d)).ok();
    let query = parse_json_path(&cfg.text("query"))
        .map_err(|e| e.to_string())
        .and_then(|query| well_typed::check(&query).map(|()| query))
        .map_err(|e| {
            let what = format!("invalid JSONPath query: {e}");
            problems.push(cfg.problem("invalid-jsonpath", "query", what).expected("an RFC 9535 query such as $.a[0]"));
        })
        .ok();
    let result = or("result", "all");
    if !["all", "first"].contains(&result.as_str()) {
        problems.push(
            cfg.problem("invalid-value", "result", format!("unknown result \"{result}\"")).expected("all or first"),
        );
    }
    match (property, target, query) {
        (Some(property), Some(target), Some(query)) if problems.is_empty() => {
            Ok(Arc::new(JsonPathNode { property, query, first: result == "first", target }))
        }
        _ => Err(problems),
    }
}

impl Node for JsonPathNode {
    fn on_msg(&self, mut msg: Msg, cx: &mut Cx<'_>) -> Step {
        let searched = plain(msg.get_path(&self.property));
        let found = match js_path_process(&self.query, &searched) {
            Ok(found) => found,
            Err(error) => return Step::fail(msg, NodeError::new(format!("JSONPath: {error}"))),
        };
        let mut values = found.into_iter().map(|found| found.val().clone());
        let value =
            if self.first { values.next().unwrap_or_default() } else { Value::array(values.collect::<Vec<_>>()) };
        msg.set_path(&self.target, value);
        cx.emit(0, msg);
        Step::Done
    }
}

/// What a handle (`msg.req`) stands for; other values as they are.
fn plain(value: Value) -> Value {
    match &value {
        Value::Handle(handle) => handle.object().map(Value::Object).unwrap_or_default(),
        _ => value,
    }
}

impl Queryable for Value {
    fn get(&self, key: &str) -> Option<&Self> {
        self.as_object()?.get(key)
    }

    fn as_array(&self) -> Option<&Vec<Self>> {
        match self {
            Value::Array(items) => Some(items),
            _ => None,
        }
    }

    fn as_object(&self) -> Option<Vec<(&str, &Self)>> {
        match self {
            Value::Object(object) => Some(object.iter().map(|(k, v)| (k.as_str(), v)).collect()),
            _ => None,
        }
    }

    fn as_str(&self) -> Option<&str> {
        Value::as_str(self)
    }

    fn as_i64(&self) -> Option<i64> {
        self.as_f64().filter(|n| n.fract() == 0.0 && n.abs() < 9.007_199_254_740_992e15).map(|n| n as i64)
    }

    fn as_f64(&self) -> Option<f64> {
        Value::as_f64(self)
    }

    fn as_bool(&self) -> Option<bool> {
        Value::as_bool(self)
    }

    fn null() -> Self {
        Value::Null
    }

    fn extension_custom(_name: &str, _args: Vec<Cow<'_, Self>>) -> Self {
        Value::Null
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nodes::testbed::{Bed, json, problems};

    const SHOP: &str = r#"{"payload":{"orders":[{"id":1,"total":5,"tags":["a"]},{"id":2,"total":12.5},{"id":3}]}}"#;

    fn select(query: &str, more: &str) -> Value {
        let query = serde_json::to_string(query).unwrap();
        Bed::new(TYPE, &format!(r#"{{"query":{query}{more}}}"#)).payload(SHOP)
    }

    #[test]
    fn queries_select_values() {
        for (query, expected) in [
            ("$.orders[*].id", "[1,2,3]"),
            ("$.orders[?@.total > 6].id", "[2]"),
            ("$.orders[?@.tags[0] == 'a'].id", "[1]"),
            ("$.orders[-1].id", "[3]"),
            ("$..total", "[5,12.5]"),
            ("$.orders[?count(@.*) == 3].id", "[1]"),
            ("$.nothing", "[]"),
        ] {
            assert_eq!(select(query, "").to_json(), expected, "{query}");
        }
        assert_eq!(select("$..id", r#","result":"first""#), 1.into());
        assert_eq!(select("$.no", r#","result":"first""#), Value::Undefined);
        let out = Bed::new(TYPE, r#"{"query":"$[0]","property":"payload.orders","target":"x.y"}"#).send(&[SHOP]);
        assert_eq!(out[0].1.get("x").unwrap().get("y").as_array().unwrap().len(), 1);
        assert_eq!(Bed::new(TYPE, r#"{"query":"$.a"}"#).payload("{}"), json("[]"));
    }

    #[test]
    fn broken_configuration_is_found_at_deploy() {
        let found = problems(&TYPE, r#"{"query":"$.[","result":"some","target":"a..b"}"#);
        let paths: Vec<_> = found.iter().map(|d| d.path.as_str()).collect();
        assert_eq!(paths, ["$[0].target", "$[0].query", "$[0].result"]);
    }
}
