//! `metric`: computes a metric for agreements. In mode `in` it is where the evaluation's request enters a flow, in
//! mode `answer` where the flow gives its result back.

use std::sync::Arc;

use arcstr::ArcStr;

use crate::model::node_spec::{NodeSpec, Property, PropertyKind};
use crate::model::{Diagnostic, Msg, Object, Value};
use crate::runtime::{Cx, Entry, Node, NodeConfig, NodeType, Reply, ReplyHandle, Step};

const MODES: &[&str] = &["in", "answer"];

static SPEC: NodeSpec = NodeSpec {
    node_type: "metric",
    category: "compliance",
    summary: "Answers an agreement's request for a metric: the request enters in mode in, the result leaves in mode \
              answer.",
    inputs: 1,
    outputs: Some(1),
    config_node: false,
    properties: &[
        Property::new(
            "mode",
            PropertyKind::OneOf(MODES),
            "in (when absent): emits msg.payload {config, metric} and msg.metric {name, scope, window}. answer: replies \
             with msg.payload: a number, boolean or null (unknown) for the scope and window asked for, or a list of \
             computations [{scope, period, value, evidences, coverage}], or {computations: […]}. Beside a single value \
             msg.evidences (list) and msg.coverage {seen, expected} are sent along.",
        ),
        Property::new("metric", PropertyKind::Text, "mode in: name by which agreements ask for it; unique."),
    ],
    capabilities: &[],
};

pub const TYPE: NodeType = NodeType { spec: &SPEC, build };

fn build(config: &NodeConfig<'_>) -> Result<Arc<dyn Node>, Vec<Diagnostic>> {
    match config.text("mode").as_str() {
        "" | "in" => match config.text("metric") {
            name if name.is_empty() => Err(vec![
                config
                    .problem("missing-metric", "metric", "it has no metric name, so no agreement can ask for it")
                    .expected("the name that agreements use in collector.metric"),
            ]),
            name => Ok(Arc::new(MetricIn { name })),
        },
        "answer" => Ok(Arc::new(MetricAnswer)),
        other => Err(vec![
            config
                .problem("unknown-option", "mode", format!("\"{other}\" is no mode"))
                .expected(MODES.join(", "))
                .did_you_mean(other, MODES.iter().copied()),
        ]),
    }
}

struct MetricIn {
    name: ArcStr,
}

impl Node for MetricIn {
    fn on_msg(&self, msg: Msg, cx: &mut Cx<'_>) -> Step {
        cx.emit(0, msg);
        Step::Done
    }

    fn entry(&self) -> Option<Entry> {
        Some(Entry::Metric { name: self.name.clone() })
    }
}

struct MetricAnswer;

impl Node for MetricAnswer {
    fn on_msg(&self, msg: Msg, cx: &mut Cx<'_>) -> Step {
        if msg.get("res").and_then(|r| r.as_handle::<ReplyHandle>()).is_none() {
            cx.warn("nobody asked: msg.res must come from the metric node (mode in) or http in node of this flow");
            return Step::Done;
        }
        let body = answer(&msg).to_json();
        let headers = vec![("content-type".to_string(), "application/json".to_string())];
        if !cx.reply(&msg, Reply { status: 200, headers, body: body.into() }) {
            cx.warn("the request was answered before, or given up; this answer is ignored");
        }
        Step::Done
    }
}

/// The payload, with what belongs to a single value put beside it.
fn answer(msg: &Msg) -> Value {
    let payload = msg.payload();
    let about: Vec<(&str, &Value)> =
        ["evidences", "coverage"].into_iter().filter_map(|k| Some((k, msg.get(k)?))).collect();
    if about.is_empty() || matches!(payload, Value::Array(_) | Value::Object(_)) {
        return payload.clone();
    }
    let mut computation = Object::new();
    // `undefined` would be left out; unknown has to be said.
    computation.insert("value", if payload.is_undefined() { Value::Null } else { payload.clone() });
    for (key, value) in about {
        computation.insert(key, value.clone());
    }
    computation.into()
}

#[cfg(test)]
mod tests {
    use super::super::rig::{Rig, msg, node};

    #[tokio::test]
    async fn the_request_enters_and_the_result_leaves() {
        for (message, body) in [
            (r#"{"payload":0.5}"#, "0.5"),
            (r#"{"payload":null}"#, "null"),
            ("{}", "null"),
            (r#"{"payload":true,"evidences":[{"a":1}]}"#, r#"{"value":true,"evidences":[{"a":1}]}"#),
            (r#"{"coverage":{"seen":0,"expected":3}}"#, r#"{"value":null,"coverage":{"seen":0,"expected":3}}"#),
            (r#"{"payload":[{"value":1}],"evidences":[1]}"#, r#"[{"value":1}]"#),
            (r#"{"payload":{"computations":[]}}"#, r#"{"computations":[]}"#),
        ] {
            let rig = Rig::new(vec![
                node("in", "metric", r#"{"metric":"M"}"#, &[&[1]]),
                node("out", "metric", r#"{"mode":"answer"}"#, &[]),
            ]);
            assert_eq!(rig.engine.current().metrics.get("M"), Some(&0));
            let reply = rig.call(0, msg(message)).await.unwrap();
            assert_eq!((reply.status, reply.body.as_ref()), (200, body.as_bytes()), "{message}");
        }
    }

    #[tokio::test]
    async fn an_answer_nobody_asked_for_is_a_warning() {
        let rig = Rig::new(vec![node("out", "metric", r#"{"mode":"answer"}"#, &[])]);
        rig.run(0, msg(r#"{"payload":1}"#)).await;
        assert!(rig.complaints()[0].starts_with("nobody asked"));
    }

    #[test]
    fn problems_are_told() {
        for (config, code) in [("{}", "missing-metric"), (r#"{"mode":"anwser"}"#, "unknown-option")] {
            assert_eq!(Rig::new(vec![node("m", "metric", config, &[])]).problems()[0].code, code);
        }
    }
}
