//! `rbe` (filter): lets a message through when its value changed, or changed by more (or less) than a gap.
//!
//! Behaviour: Node-RED's `rbe.js`, except that `msg.reset` with a topic forgets the topic that `topi` names.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use arcstr::{ArcStr, literal};

use super::typed::msg_path;
use crate::model::node_spec::{NodeSpec, Property, PropertyKind};
use crate::model::path::Path;
use crate::model::value::parse_float;
use crate::model::{Diagnostic, Msg, Object, Value};
use crate::runtime::context::Level;
use crate::runtime::{Cx, Node, NodeConfig, NodeError, NodeType, Step};

const FUNCS: &[&str] = &["rbe", "rbei", "deadband", "deadbandEq", "narrowband", "narrowbandEq"];

static SPEC: NodeSpec = NodeSpec {
    node_type: "rbe",
    category: "function",
    summary: "Lets a message through only when its value changed.",
    inputs: 1,
    outputs: Some(1),
    config_node: false,
    properties: &[
        Property::new(
            "func",
            PropertyKind::OneOf(FUNCS),
            "rbe: when the value changed (rbei: not the first one); deadband: when a number changed by more than gap \
             (deadbandEq: or by gap); narrowband: when by gap or less (narrowbandEq: by less). Default rbe.",
        ),
        Property::new("gap", PropertyKind::Text, "A number, or a percentage of the value before, such as 10%."),
        Property::new(
            "start",
            PropertyKind::Text,
            "narrowband: the value before the first; empty for the first itself.",
        ),
        Property::new(
            "inout",
            PropertyKind::OneOf(&["out", "in"]),
            "Compare with the last value let through (out), or with the last one that came (in). Default out.",
        ),
        Property::new(
            "septopics",
            PropertyKind::Boolean,
            "Each topic has a value before of its own; true when absent.",
        ),
        Property::new("property", PropertyKind::MsgPath, "The value; payload when absent."),
        Property::new("topi", PropertyKind::MsgPath, "The topic; topic when absent."),
        Property::new(
            "store",
            PropertyKind::Text,
            "The context store that keeps the values before, in the node's own context; when absent they are gone with the \
             process.",
        ),
    ],
    capabilities: &[],
};

pub const TYPE: NodeType = NodeType { spec: &SPEC, build };

enum Filter {
    Change { first_goes: bool },
    Band(Band),
}

struct Band {
    /// True: lets through what stays within the gap, else what leaves it.
    narrow: bool,
    /// Whether a change by exactly the gap goes.
    with_gap: bool,
    gap: Gap,
    start: Option<f64>,
    compare_in: bool,
}

enum Gap {
    Absolute(f64),
    /// Percent of the value before.
    Percent(f64),
}

struct Rbe {
    property: Path,
    topic: Path,
    by_topic: bool,
    filter: Filter,
    /// The value before, by topic.
    before: Mutex<HashMap<ArcStr, Value>>,
    /// The context store that has them instead.
    store: Option<ArcStr>,
}

/// The key of messages that have no topic, or share one value.
const NO_TOPIC: ArcStr = literal!("_no_topic");

fn build(cfg: &NodeConfig<'_>) -> Result<Arc<dyn Node>, Vec<Diagnostic>> {
    let mut problems = Vec::new();
    let mut path = |name: &str, default: &str| {
        let text = cfg.text(name);
        msg_path(cfg, name, if text.is_empty() { default } else { &text }).map_err(|p| problems.push(p)).ok()
    };
    let (property, topic) = (path("property", "payload"), path("topi", "topic"));
    let func = cfg.text("func");
    if !func.is_empty() && !FUNCS.contains(&func.as_str()) {
        problems.push(
            cfg.problem("unknown-option", "func", format!("\"{func}\" is no way to filter"))
                .expected(FUNCS.join(", "))
                .did_you_mean(&func, FUNCS.iter().copied()),
        );
    }
    let store = Some(cfg.text("store")).filter(|name| !name.is_empty());
    let stores = cfg.services.context.stores();
    if let Some(name) = store.as_ref().filter(|name| !stores.iter().any(|known| known == name.as_str())) {
        problems.push(
            cfg.problem("unknown-option", "store", format!("there is no context store \"{name}\""))
                .expected(stores.join(", "))
                .did_you_mean(name, stores.iter().map(String::as_str)),
        );
    }
    let filter = match func.as_str() {
        "" | "rbe" => Filter::Change { first_goes: true },
        "rbei" => Filter::Change { first_goes: false },
        func => {
            let text = cfg.text("gap");
            let gap = match text.strip_suffix('%') {
                Some(percent) => Gap::Percent(parse_float(percent)),
                None => Gap::Absolute(cfg.get("gap").to_number()),
            };
            let start = cfg.text("start");
            Filter::Band(Band {
                narrow: func.starts_with("narrow"),
                with_gap: matches!(func, "deadbandEq" | "narrowband"),
                gap,
                start: (!start.is_empty()).then(|| cfg.get("start").to_number()),
                compare_in: cfg.text("inout") == "in",
            })
        }
    };
    match (property, topic) {
        (Some(property), Some(topic)) if problems.is_empty() => Ok(Arc::new(Rbe {
            property,
            topic,
            by_topic: cfg.get("septopics") != &Value::Bool(false),
            filter,
            before: Mutex::default(),
            store,
        })),
        _ => Err(problems),
    }
}

impl Band {
    /// Whether `n` goes; leaves in `before` what the next one is compared with.
    fn takes(&self, n: f64, before: &mut Option<f64>) -> bool {
        if before.is_none() && self.narrow {
            *before = Some(self.start.unwrap_or(n));
        }
        let gap = match self.gap {
            Gap::Absolute(gap) => gap,
            Gap::Percent(percent) => before.map_or(0.0, |b| (b * percent / 100.0).abs()),
        };
        let gap = if gap.is_nan() && matches!(self.gap, Gap::Percent(_)) { 0.0 } else { gap };
        let previous = before.unwrap_or(n - gap - 1.0);
        *before = Some(previous);
        let change = (n - previous).abs();
        let goes = match change.partial_cmp(&gap) {
            Some(std::cmp::Ordering::Equal) => self.with_gap,
            Some(std::cmp::Ordering::Greater) => !self.narrow,
            Some(std::cmp::Ordering::Less) => self.narrow,
            None => false,
        };
        if goes || self.compare_in {
            *before = Some(n);
        }
        goes
    }
}

/// Whether a message goes; `None` when its value is no number.
type Goes = Option<bool>;

impl Rbe {
    /// Whether a value goes after the one before, and what the next one is compared with if that is another.
    fn judge(&self, before: Option<&Value>, value: &Value) -> (Goes, Option<Value>) {
        match &self.filter {
            Filter::Change { first_goes } => match before {
                Some(last) if same(last, value) => (Some(false), None),
                last => (Some(last.is_some() || *first_goes), Some(value.clone())),
            },
            Filter::Band(band) => match parse_float(&value.to_js_string()) {
                n if n.is_nan() => (None, None),
                n => {
                    let mut last = before.and_then(Value::as_f64);
                    let goes = band.takes(n, &mut last);
                    (Some(goes), Some(last.unwrap_or(n).into()))
                }
            },
        }
    }

    fn judge_here(&self, key: ArcStr, value: &Value, cx: &mut Cx<'_>) -> Goes {
        let mut before = self.before.lock().unwrap_or_else(|p| p.into_inner());
        if !before.contains_key(&key) && before.len() >= cx.services().limits.node_messages_max {
            before.clear();
            cx.warn("too many topics (node_messages_max); the values before are forgotten");
        }
        let (goes, next) = self.judge(before.get(&key), value);
        next.map(|next| before.insert(key, next));
        goes
    }

    /// As all who share the store.
    fn judge_stored(&self, store: &str, key: &ArcStr, value: &Value, cx: &Cx<'_>) -> Result<Goes, NodeError> {
        let mut goes = None;
        let mut change = |before: Value| {
            let (judged, next) = self.judge(Some(&before).filter(|before| !before.is_undefined()), value);
            goes = judged;
            next
        };
        cx.place().context_update(Some(store), key, &mut change)?;
        Ok(goes)
    }

    /// Forgets the value before of a topic, or all of them.
    fn reset(&self, topic: Option<&str>, cx: &Cx<'_>) -> Result<(), NodeError> {
        let Some(store) = &self.store else {
            let mut before = self.before.lock().unwrap_or_else(|p| p.into_inner());
            match topic {
                Some(topic) => drop(before.remove(topic)),
                None => before.clear(),
            }
            return Ok(());
        };
        let keys = match topic {
            Some(topic) => vec![ArcStr::from(topic)],
            None => cx.place().context_keys(Level::Node, Some(store))?,
        };
        keys.iter().try_for_each(|key| cx.place().context_update(Some(store), key, &mut |_| Some(Value::Undefined)))
    }
}

impl Node for Rbe {
    fn asks_contexts(&self, _config: &Object) -> bool {
        self.store.is_some()
    }

    fn on_msg(&self, msg: Msg, cx: &mut Cx<'_>) -> Step {
        let topic = msg.get_path(&self.topic);
        let key = if self.by_topic && topic.is_truthy() { topic.to_js_string() } else { NO_TOPIC };
        let value = msg.get_path(&self.property);
        if msg.object().contains_key("reset") {
            let topic = topic.as_str().filter(|topic| self.by_topic && !topic.is_empty());
            if let Err(error) = self.reset(topic, cx) {
                return Step::fail(msg, error);
            }
        }
        if value.is_undefined() {
            return Step::Done;
        }
        let judged = match &self.store {
            None => Ok(self.judge_here(key, &value, cx)),
            Some(store) => self.judge_stored(store, &key, &value, cx),
        };
        match judged {
            Ok(Some(true)) => cx.emit(0, msg),
            Ok(Some(false)) => {}
            Ok(None) => cx.warn("no number found in payload"),
            Err(error) => return Step::fail(msg, error),
        }
        Step::Done
    }
}

/// Equal by content; a number is never a text. An empty object is what an unseen topic holds in Node-RED, too, but no
/// flow can want its first message lost.
fn same(a: &Value, b: &Value) -> bool {
    a == b
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nodes::testbed::Bed;

    fn passed(config: &str, msgs: &[&str]) -> Vec<String> {
        Bed::new(TYPE, config).send(msgs).iter().map(|(_, m)| m.payload().to_json()).collect()
    }

    #[test]
    fn changes_go_per_topic_until_reset() {
        let msgs = [
            r#"{"payload":1,"topic":"a"}"#,
            r#"{"payload":1,"topic":"b"}"#,
            r#"{"payload":1,"topic":"a"}"#,
            r#"{"payload":"1","topic":"a"}"#,
            r#"{"payload":{"x":[1]},"topic":"a"}"#,
            r#"{"payload":{"x":[1]},"topic":"a"}"#,
            r#"{"topic":"a"}"#,
            r#"{"reset":true,"topic":"a","payload":{"x":[1]}}"#,
            r#"{"reset":true}"#,
            r#"{"payload":1,"topic":"b"}"#,
        ];
        assert_eq!(passed("{}", &msgs), ["1", "1", "\"1\"", r#"{"x":[1]}"#, r#"{"x":[1]}"#, "1"]);
        assert_eq!(passed(r#"{"func":"rbei"}"#, &msgs[..4]), ["\"1\""]);
        assert_eq!(passed(r#"{"septopics":false}"#, &msgs[..3]), ["1"]);
    }

    #[test]
    fn bands_go_by_the_change() {
        let numbers = ["0", "10", "11", "\"22 °C\"", "33"];
        let msgs: Vec<String> = numbers.iter().map(|n| format!(r#"{{"payload":{n}}}"#)).collect();
        let msgs: Vec<&str> = msgs.iter().map(String::as_str).collect();
        for (config, expected) in [
            (r#"{"func":"deadband","gap":"10"}"#, vec!["0", "11", "\"22 °C\"", "33"]),
            (r#"{"func":"deadbandEq","gap":"11"}"#, vec!["0", "11", "\"22 °C\"", "33"]),
            (r#"{"func":"narrowband","gap":"10"}"#, vec!["0", "10", "11"]),
            (r#"{"func":"narrowbandEq","gap":"10"}"#, vec!["0"]),
            (r#"{"func":"narrowband","gap":"11","inout":"in"}"#, vec!["0", "10", "11", "\"22 °C\"", "33"]),
            (r#"{"func":"deadband","gap":"50%"}"#, vec!["0", "10", "\"22 °C\""]),
        ] {
            assert_eq!(passed(config, &msgs), expected, "{config}");
        }
    }
}
