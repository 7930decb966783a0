//! `debug`: shows messages in the debug view, the log and its own status.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use arcstr::ArcStr;

use super::jsonata::{Jsonata, invalid};
use super::typed::msg_path;
use crate::model::node_spec::{NodeSpec, Property, PropertyKind};
use crate::model::{Diagnostic, Msg, Path, Value};
use crate::runtime::{Cx, Event, Node, NodeConfig, NodeError, NodeType, Status, Step};

/// Characters of a status text, as Node-RED's `debugStatusLength`.
const STATUS_CHARS_MAX: usize = 32;

static SPEC: NodeSpec = NodeSpec {
    node_type: "debug",
    category: "common",
    summary: "Shows a property of each message, the whole message or an expression in the debug view.",
    inputs: 1,
    outputs: Some(0),
    config_node: false,
    properties: &[
        Property::new(
            "active",
            PropertyKind::Boolean,
            "Whether it shows anything in the debug view; true when absent.",
        ),
        Property::new("tosidebar", PropertyKind::Boolean, "Show in the debug view; true when absent."),
        Property::new("console", PropertyKind::Boolean, "Also write to the log, level info."),
        Property::new("tostatus", PropertyKind::Boolean, "Also show under the node, at most 32 characters."),
        Property::new(
            "complete",
            PropertyKind::Text,
            "What to show: a property path, \"true\" for the whole message, or the expression; payload when absent.",
        ),
        Property::new(
            "targetType",
            PropertyKind::OneOf(&["msg", "full", "jsonata"]),
            "\"jsonata\" when complete is an expression.",
        ),
        Property::new("statusVal", PropertyKind::Text, "What the status shows when statusType is msg or jsonata."),
        Property::new(
            "statusType",
            PropertyKind::OneOf(&["auto", "msg", "jsonata", "counter"]),
            "How the status is made; auto (the shown value) when absent.",
        ),
    ],
    capabilities: &[],
};

pub const TYPE: NodeType = NodeType { spec: &SPEC, build };

enum What {
    Whole,
    Property(Path),
    Expression(Box<Jsonata>),
}

impl What {
    fn of(&self, msg: &Msg, cx: &Cx<'_>) -> Result<Value, NodeError> {
        match self {
            What::Whole => Ok(msg.to_value()),
            What::Property(path) => Ok(msg.get_path(path)),
            What::Expression(expression) => expression.eval(msg, cx),
        }
    }
}

enum StatusForm {
    None,
    Auto,
    Counter,
    Of(What),
}

struct Debug {
    /// Whether it shows anything at all; the editor turns that on and off.
    active: AtomicBool,
    to_sidebar: bool,
    logs: bool,
    what: What,
    property: ArcStr,
    status: StatusForm,
    count: AtomicU64,
    last_status: Mutex<Option<Status>>,
}

fn build(config: &NodeConfig<'_>) -> Result<Arc<dyn Node>, Vec<Diagnostic>> {
    let mut problems = Vec::new();
    let kind = config.text("targetType");
    let complete = match config.text("complete") {
        text if text.is_empty() || text == "false" => arcstr::literal!("payload"),
        text => text,
    };
    let what = match kind.as_str() {
        "jsonata" => expression(config, "complete", &mut problems),
        _ if complete == "true" || kind == "full" => What::Whole,
        _ => property(config, "complete", &complete, &mut problems),
    };
    let property_name = if matches!(what, What::Property(_)) { complete.clone() } else { ArcStr::new() };
    let status = match config.text("statusType").as_str() {
        _ if !config.flag("tostatus") => StatusForm::None,
        "counter" => StatusForm::Counter,
        "jsonata" => StatusForm::Of(expression(config, "statusVal", &mut problems)),
        "msg" => {
            let text = config.text("statusVal");
            let text = if text.is_empty() { complete } else { text };
            StatusForm::Of(property(config, "statusVal", &text, &mut problems))
        }
        _ => StatusForm::Auto,
    };
    if !problems.is_empty() {
        return Err(problems);
    }
    let on = |name: &str| config.get(name).is_nullish() || config.flag(name);
    Ok(Arc::new(Debug {
        active: AtomicBool::new(on("active")),
        to_sidebar: on("tosidebar"),
        logs: config.flag("console"),
        what,
        property: property_name,
        status,
        count: AtomicU64::new(0),
        last_status: Mutex::default(),
    }))
}

fn expression(config: &NodeConfig<'_>, name: &str, problems: &mut Vec<Diagnostic>) -> What {
    match Jsonata::compile(&config.text(name)) {
        Ok(expression) => What::Expression(Box::new(expression)),
        Err(e) => {
            problems.push(config.problem("invalid-jsonata", name, format!("invalid JSONata expression: {e}")));
            What::Whole
        }
    }
}

fn property(config: &NodeConfig<'_>, name: &str, text: &str, problems: &mut Vec<Diagnostic>) -> What {
    match msg_path(config, name, text) {
        Ok(path) => What::Property(path),
        Err(problem) => {
            problems.push(problem);
            What::Whole
        }
    }
}

impl Debug {
    fn show_status(&self, msg: &Msg, shown: &Value, cx: &mut Cx<'_>) -> Result<(), NodeError> {
        let grey = |text: ArcStr| Status { fill: Some("grey".into()), shape: Some("dot".into()), text };
        let status = match &self.status {
            StatusForm::None => return Ok(()),
            StatusForm::Counter => {
                let count = self.count.fetch_add(1, Ordering::Relaxed) + 1;
                Status { fill: Some("blue".into()), shape: Some("ring".into()), text: count.to_string().into() }
            }
            StatusForm::Of(what) => given(&what.of(msg, cx)?).unwrap_or_else(grey),
            StatusForm::Auto => {
                let value = if matches!(self.what, What::Whole) { msg.payload() } else { shown };
                let mut status = given(value).unwrap_or_else(grey);
                if let Some(error) = msg.get("error") {
                    status.fill = Some("red".into());
                    status.text = error.get("message").to_js_string();
                }
                if let Some(other) = msg.get("status") {
                    status.fill = Some(text_or(&other.get("fill"), "grey"));
                    status.shape = Some(text_or(&other.get("shape"), "ring"));
                    status.text = text_or(&other.get("text"), "");
                }
                status
            }
        };
        let status = Status { text: shortened(&status.text), ..status };
        let mut last = self.last_status.lock().unwrap_or_else(|p| p.into_inner());
        if last.as_ref() != Some(&status) {
            *last = Some(status.clone());
            drop(last);
            cx.status(status);
        }
        Ok(())
    }
}

/// A value that is a status itself, or the text that stands for it.
fn given(value: &Value) -> Result<Status, ArcStr> {
    if let Value::Object(object) = value {
        let part = |name: &str| object.get(name).filter(|v| v.is_truthy()).map(Value::to_js_string);
        if let (Some(fill), Some(shape), Some(text)) = (part("fill"), part("shape"), part("text")) {
            return Ok(Status { fill: Some(fill), shape: Some(shape), text });
        }
    }
    Err(plain(value))
}

fn plain(value: &Value) -> ArcStr {
    match value {
        Value::String(text) => text.clone(),
        other => format!("{other:?}").into(),
    }
}

fn text_or(value: &Value, default: &str) -> ArcStr {
    if value.is_truthy() { value.to_js_string() } else { default.into() }
}

fn shortened(text: &ArcStr) -> ArcStr {
    match text.char_indices().nth(STATUS_CHARS_MAX) {
        Some((end, _)) => arcstr::format!("{}...", &text[..end]),
        None => text.clone(),
    }
}

impl Node for Debug {
    fn on_msg(&self, msg: Msg, cx: &mut Cx<'_>) -> Step {
        // Its own status, come round through a status node, would go round for ever.
        let own = msg.get("status").map(|s| s.get("source").get("id"));
        if own.is_some_and(|id| id.as_str() == Some(&cx.node().id)) {
            return Step::Done;
        }
        let value = match self.what.of(&msg, cx) {
            Ok(value) => value,
            Err(error) => {
                // Node-RED reports it without the message, so that no catch node hears of it.
                cx.log(tracing::Level::ERROR, invalid(error).message);
                return Step::Done;
            }
        };
        if let Err(error) = self.show_status(&msg, &value, cx) {
            cx.log(tracing::Level::ERROR, invalid(error).message);
        }
        if self.logs {
            let text = plain(&value);
            cx.log(tracing::Level::INFO, text.as_str());
        }
        if self.to_sidebar && self.active.load(Ordering::Relaxed) {
            let (node, name) = (cx.node().id.clone(), cx.node().name.clone());
            let topic = msg.get("topic").cloned().unwrap_or_default();
            cx.event(Event::Debug { node, name, topic, property: self.property.clone(), value });
        }
        Step::Done
    }

    fn show(&self, on: bool) {
        self.active.store(on, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::super::rig::{Rig, msg, node};
    use super::*;

    async fn shown(config: &str, message: &str) -> Vec<(String, String)> {
        let rig = Rig::new(vec![node("d", "debug", config, &[])]);
        assert_eq!(rig.problems(), []);
        rig.run(0, msg(message)).await;
        let shown = rig.events().into_iter().filter_map(|event| match event {
            Event::Debug { property, value, .. } => Some((property.to_string(), value.to_json())),
            Event::Status { status, .. } => Some(("status".into(), serde_json::to_string(&status).unwrap())),
            Event::Log { text, .. } => Some(("log".into(), text)),
            _ => None,
        });
        shown.collect()
    }

    #[tokio::test]
    async fn it_shows_what_it_is_asked_for() {
        let message = r#"{"payload":{"a":1},"topic":"t"}"#;
        for (config, property, value) in [
            ("{}", "payload", r#"{"a":1}"#),
            (r#"{"complete":"false"}"#, "payload", r#"{"a":1}"#),
            (r#"{"complete":"payload.a"}"#, "payload.a", "1"),
            (r#"{"complete":"true","targetType":"full"}"#, "", message),
            (r#"{"complete":"payload.a + 1","targetType":"jsonata"}"#, "", "2"),
        ] {
            assert_eq!(shown(config, message).await, [(property.to_string(), value.to_string())], "{config}");
        }
        assert_eq!(shown(r#"{"active":false}"#, message).await, []);
        let logged = shown(r#"{"active":false,"console":"true"}"#, message).await;
        assert_eq!(logged, [("log".to_string(), r#"{"a":1}"#.to_string())]);
    }

    #[tokio::test]
    async fn its_status_is_the_value_the_error_or_a_count() {
        let long = "x".repeat(40);
        for (config, message, status) in [
            (
                r#"{"tostatus":true,"active":false}"#,
                format!(r#"{{"payload":"{long}"}}"#),
                format!(r#"{{"fill":"grey","shape":"dot","text":"{}..."}}"#, "x".repeat(32)),
            ),
            (
                r#"{"tostatus":true,"active":false}"#,
                r#"{"error":{"message":"broken"}}"#.into(),
                r#"{"fill":"red","shape":"dot","text":"broken"}"#.into(),
            ),
            (
                r#"{"tostatus":true,"active":false,"statusType":"counter"}"#,
                "{}".into(),
                r#"{"fill":"blue","shape":"ring","text":"1"}"#.into(),
            ),
            (
                r#"{"tostatus":true,"active":false,"statusType":"jsonata","statusVal":"payload * 2"}"#,
                r#"{"payload":21}"#.into(),
                r#"{"fill":"grey","shape":"dot","text":"42"}"#.into(),
            ),
        ] {
            assert_eq!(shown(config, &message).await, [("status".to_string(), status)], "{config}");
        }
    }
}
