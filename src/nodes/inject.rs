//! `inject`: starts a run by hand, once after a deploy, at an interval or by a cron pattern.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use jiff::tz::TimeZone;

use super::typed::{TypedInput, msg_path};
use crate::cron::Cron;
use crate::model::node_spec::{NodeSpec, Property, PropertyKind};
use crate::model::run::Trigger;
use crate::model::{Diagnostic, Msg, Object, Path, Value};
use crate::runtime::opening::Start;
use crate::runtime::{Cx, Node, NodeConfig, NodeType, Source, Step};

static SPEC: NodeSpec = NodeSpec {
    node_type: "inject",
    category: "common",
    summary: "Emits a message when it is pressed, after a deploy, at an interval or at times of day.",
    inputs: 0,
    outputs: Some(1),
    config_node: false,
    properties: &[
        Property::new("props", PropertyKind::Json, "What to set: [{p: property, v: value, vt: type}]."),
        Property::new("payload", PropertyKind::Text, "Value of msg.payload."),
        Property::new("payloadType", PropertyKind::Text, "Type of payload: str, num, json, date, jsonata, …"),
        Property::new("topic", PropertyKind::Text, "Value of msg.topic."),
        Property::new("repeat", PropertyKind::Number, "Interval in seconds; empty for none."),
        Property::new(
            "crontab",
            PropertyKind::Text,
            "Cron pattern of five or six fields, in the zone that the environment variable TZ names, else UTC.",
        ),
        Property::new("once", PropertyKind::Boolean, "Also emit once after a deploy."),
        Property::new("onceDelay", PropertyKind::Number, "Seconds after the deploy; 0.1 when absent."),
    ],
    capabilities: &[],
};

pub const TYPE: NodeType = NodeType { spec: &SPEC, build };

/// A property to set on each message.
struct Prop {
    path: Path,
    value: TypedInput,
}

#[derive(Clone)]
enum Repeat {
    Never,
    Every(Duration),
    At(Cron, TimeZone),
}

struct Inject {
    props: Vec<Prop>,
    once: Option<Duration>,
    repeat: Repeat,
    id: String,
}

fn build(config: &NodeConfig<'_>) -> Result<Arc<dyn Node>, Vec<Diagnostic>> {
    let mut problems = Vec::new();
    let mut props = Vec::new();
    for (at, prop) in entries(config) {
        match read_prop(config, &at, &prop) {
            Ok(Some(prop)) => props.push(prop),
            Ok(None) => {}
            Err(problem) => problems.push(problem),
        }
    }
    let repeat = repeat(config, &mut problems);
    if !problems.is_empty() {
        return Err(problems);
    }
    let delay = config.number("onceDelay").filter(|s| *s > 0.0).unwrap_or(0.1);
    let once = config.flag("once").then(|| seconds(delay));
    Ok(Arc::new(Inject { props, once, repeat, id: config.node.id.to_string() }))
}

fn seconds(s: f64) -> Duration {
    Duration::try_from_secs_f64(s).unwrap_or(Duration::MAX)
}

/// The entries of `props` with their place in the file; older files have `payload` and `topic` beside it.
fn entries(config: &NodeConfig<'_>) -> Vec<(String, Object)> {
    let payload = || (config.get("payload").clone(), config.get("payloadType").clone());
    let entry = |p: &str, v: Value, vt: Value| [("p", Value::from(p)), ("v", v), ("vt", vt)].into_iter().collect();
    let Some(props) = config.get("props").as_array() else {
        let (v, vt) = payload();
        return vec![
            ("payload".into(), entry("payload", v, vt)),
            ("topic".into(), entry("topic", config.get("topic").clone(), "str".into())),
        ];
    };
    let read = |(i, prop): (usize, &Value)| {
        let mut prop = prop.as_object().cloned().unwrap_or_default();
        let name = prop.get("p").cloned().unwrap_or_default();
        let is_str = prop.get("vt").and_then(Value::as_str) == Some("str");
        if !prop.contains_key("v") {
            if name.as_str() == Some("payload") {
                let (v, vt) = payload();
                prop.insert("v", v);
                prop.insert("vt", vt);
            } else if name.as_str() == Some("topic") && is_str {
                prop.insert("v", config.get("topic").clone());
            }
        }
        (format!("props[{i}].v"), prop)
    };
    props.iter().enumerate().map(read).collect()
}

/// `None` when it names no property, or an empty expression: Node-RED sets nothing then.
fn read_prop(config: &NodeConfig<'_>, at: &str, prop: &Object) -> Result<Option<Prop>, Diagnostic> {
    let text = |name: &str| prop.get(name).filter(|v| !v.is_nullish()).map(Value::to_js_string).unwrap_or_default();
    let (name, kind) = (text("p"), text("vt"));
    let value = prop.get("v").cloned().unwrap_or_default();
    if name.is_empty() || (kind == "jsonata" && !value.is_truthy()) {
        return Ok(None);
    }
    let kind = if kind.is_empty() { "str" } else { kind.as_str() };
    let value = match kind {
        // Old exports; the editor of today writes `date` with an empty value.
        "none" => TypedInput::Constant(Value::from("")),
        kind => TypedInput::of(config, at, &value, kind)?,
    };
    Ok(Some(Prop { path: msg_path(config, at, &name)?, value }))
}

fn repeat(config: &NodeConfig<'_>, problems: &mut Vec<Diagnostic>) -> Repeat {
    if let Some(s) = config.number("repeat").filter(|s| *s > 0.0) {
        return Repeat::Every(seconds(s).max(Duration::from_millis(1)));
    }
    let pattern = config.text("crontab");
    if pattern.trim().is_empty() {
        return Repeat::Never;
    }
    match Cron::parse(&pattern) {
        Ok(cron) => Repeat::At(cron, zone(config)),
        Err(e) => {
            problems.push(config.problem("invalid-cron", "crontab", e.to_string()));
            Repeat::Never
        }
    }
}

fn zone(config: &NodeConfig<'_>) -> TimeZone {
    let name = config.node.env.get("TZ").map(Value::to_js_string).map(|t| t.to_string());
    let name = name.or_else(|| (config.services.env)("TZ"));
    name.and_then(|name| TimeZone::get(&name).ok()).unwrap_or(TimeZone::UTC)
}

impl Node for Inject {
    /// The press of the button may come with other properties.
    fn asks_contexts(&self, _config: &Object) -> bool {
        true
    }

    fn on_msg(&self, mut msg: Msg, cx: &mut Cx<'_>) -> Step {
        let mut errors = Vec::new();
        match msg.remove("__user_inject_props__") {
            Some(Value::Array(given)) => set_given(&mut msg, &given, cx, &mut errors),
            _ => {
                for prop in &self.props {
                    match prop.value.eval(&msg, cx) {
                        Ok(value) => drop(msg.set_path(&prop.path, value)),
                        Err(error) => errors.push(error.to_string()),
                    }
                }
            }
        }
        if errors.is_empty() {
            cx.emit(0, msg);
            Step::Done
        } else {
            Step::fail(msg, errors.join("; "))
        }
    }

    fn start(&self, source: Source) -> Option<Pin<Box<dyn Future<Output = ()> + Send>>> {
        if self.once.is_none() && matches!(self.repeat, Repeat::Never) {
            return None;
        }
        let (once, repeat, id) = (self.once, self.repeat.clone(), self.id.clone());
        Some(Box::pin(async move {
            let clock = source.clock();
            let fire = async || {
                let (msg, trigger) = (Msg::new(), Trigger::Inject { node: id.clone() });
                let fired = match source.durable() {
                    Some(durable) => durable.begin(Start::Deliver, msg, trigger).await,
                    None => source.deliver(msg, trigger).map(drop).map_err(|busy| format!("{busy} (runs_max)")),
                };
                if let Err(problem) = fired {
                    tracing::error!(node = %id, "an injection was dropped: {problem}");
                }
            };
            if let Some(delay) = once {
                clock.sleep(delay).await;
                fire().await;
            }
            let ours = || source.services().repeats.load(Ordering::Relaxed);
            match repeat {
                Repeat::Never => {}
                Repeat::Every(period) => loop {
                    clock.sleep(period).await;
                    if ours() {
                        fire().await;
                    }
                },
                Repeat::At(cron, zone) => {
                    let mut last = clock.now();
                    while let Some(due) = cron.next_after(last, &zone) {
                        clock.sleep_until(due).await;
                        if ours() {
                            fire().await;
                        }
                        // After a standstill the firings missed are not made up for.
                        last = clock.now().max(due);
                    }
                }
            }
        }))
    }
}

/// Sets what the editor sent along with the press of the button.
fn set_given(msg: &mut Msg, given: &[Value], cx: &Cx<'_>, errors: &mut Vec<String>) {
    let services = cx.services().clone();
    let plan = crate::model::flow::Plan::default();
    for (i, prop) in given.iter().enumerate() {
        let Some(prop) = prop.as_object() else { continue };
        let config = NodeConfig { node: cx.node(), plan: &plan, services: &services, configs: &Default::default() };
        let at = format!("__user_inject_props__[{i}]");
        match read_prop(&config, &at, prop) {
            Ok(None) => {}
            Ok(Some(prop)) => match prop.value.eval(msg, cx) {
                Ok(value) => drop(msg.set_path(&prop.path, value)),
                Err(error) => errors.push(error.to_string()),
            },
            Err(problem) => errors.push(problem.message),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::rig::{Rig, msg, node};
    use super::*;

    fn rig(config: &str) -> Rig {
        Rig::new(vec![node("i", "inject", config, &[])])
    }

    #[tokio::test]
    async fn properties_are_set_in_order_by_their_types() {
        for (config, out) in [
            (r#"{"payload":"12","payloadType":"num","topic":"t"}"#, r#"{"payload":12,"topic":"t"}"#),
            (
                r#"{"props":[{"p":"payload"},{"p":"topic","vt":"str"}],"payload":"","payloadType":"date","topic":"x"}"#,
                r#"{"payload":1767225600000,"topic":"x"}"#,
            ),
            (
                r#"{"props":[{"p":"a.b","v":"[1]","vt":"json"},{"p":"c","v":"a.b[0] + 1","vt":"jsonata"}]}"#,
                r#"{"a":{"b":[1]},"c":2}"#,
            ),
            (r#"{"props":[{"p":"","v":"x","vt":"str"},{"p":"e","v":"","vt":"jsonata"}]}"#, "{}"),
        ] {
            let rig = rig(config);
            assert_eq!(rig.problems(), []);
            rig.inject(0, Msg::new()).await;
            assert_eq!(rig.take(), [out], "{config}");
        }
    }

    #[tokio::test]
    async fn the_editor_may_send_other_properties() {
        let rig = rig(r#"{"payload":"a","payloadType":"str"}"#);
        rig.inject(0, msg(r#"{"__user_inject_props__":[{"p":"payload","v":"7","vt":"num"}]}"#)).await;
        assert_eq!(rig.take(), [r#"{"payload":7}"#]);
    }

    #[tokio::test]
    async fn once_and_then_at_the_interval() {
        let rig = rig(r#"{"payload":"x","payloadType":"str","once":true,"onceDelay":"2","repeat":"10"}"#);
        rig.advance(Duration::from_secs(1)).await;
        assert!(rig.take().is_empty());
        rig.advance(Duration::from_secs(1)).await;
        assert_eq!(rig.take().len(), 1);
        for _ in 0..3 {
            rig.advance(Duration::from_secs(10)).await;
            assert_eq!(rig.take().len(), 1);
        }
    }

    #[tokio::test]
    async fn by_cron_in_the_zone_of_tz() {
        let config = r#"{"props":[{"p":"at","v":"iso","vt":"date"}],"crontab":"30 9 * * *"}"#;
        let rig = Rig::with(vec![node("i", "inject", config, &[])], Default::default(), |services| {
            services.env = Arc::new(|name| (name == "TZ").then(|| "Europe/Madrid".to_string()));
        });
        rig.advance(Duration::from_secs(8 * 3600)).await;
        assert!(rig.take().is_empty());
        rig.advance(Duration::from_secs(1800)).await;
        assert_eq!(rig.take(), [r#"{"at":"2026-01-01T08:30:00.000Z"}"#]);
    }

    #[test]
    fn all_problems_are_told() {
        let rig = rig(r#"{"crontab":"61 * * * *","props":[{"p":"a..b","v":"1","vt":"num"},{"p":"x","vt":"nope"}]}"#);
        let codes: Vec<String> = rig.problems().iter().map(|d| d.code.clone()).collect();
        assert_eq!(codes, ["invalid-path", "invalid-typed-value", "invalid-cron"]);
    }
}
