//! `range`: maps a number from one range to another.
//!
//! Behaviour: Node-RED's `16-range.js`.

use std::sync::Arc;

use super::typed::msg_path;
use crate::model::node_spec::{NodeSpec, Property, PropertyKind};
use crate::model::path::Path;
use crate::model::{Diagnostic, Msg};
use crate::runtime::{Cx, Node, NodeConfig, NodeType, Step};

static SPEC: NodeSpec = NodeSpec {
    node_type: "range",
    category: "function",
    summary: "Maps a number from one range to another.",
    inputs: 1,
    outputs: Some(1),
    config_node: false,
    properties: &[
        Property::new(
            "action",
            PropertyKind::OneOf(&["scale", "clamp", "roll", "drop"]),
            "What happens outside the input range: scale goes on in proportion, clamp takes the nearest end, roll wraps \
             around, drop lets nothing through.",
        ),
        Property::new("minin", PropertyKind::Number, "Low end of the input range."),
        Property::new("maxin", PropertyKind::Number, "High end of the input range."),
        Property::new("minout", PropertyKind::Number, "What minin becomes."),
        Property::new("maxout", PropertyKind::Number, "What maxin becomes."),
        Property::new("round", PropertyKind::Boolean, "Rounds the result to a whole number."),
        Property::new("property", PropertyKind::MsgPath, "The property that is mapped; payload when absent."),
    ],
    capabilities: &[],
};

pub const TYPE: NodeType = NodeType { spec: &SPEC, build };

enum Outside {
    Scale,
    Clamp,
    Roll,
    Drop,
}

struct Range {
    property: Path,
    outside: Outside,
    round: bool,
    min_in: f64,
    max_in: f64,
    min_out: f64,
    max_out: f64,
}

fn build(cfg: &NodeConfig<'_>) -> Result<Arc<dyn Node>, Vec<Diagnostic>> {
    let property = cfg.text("property");
    let property = msg_path(cfg, "property", if property.is_empty() { "payload" } else { &property });
    let property = property.map_err(|problem| vec![problem])?;
    let outside = match cfg.text("action").as_str() {
        "clamp" => Outside::Clamp,
        "roll" => Outside::Roll,
        "drop" => Outside::Drop,
        // As in Node-RED, where only these three are looked for.
        _ => Outside::Scale,
    };
    let end = |name: &str| cfg.get(name).to_number();
    let (mut from, mut to) = ((end("minin"), end("maxin")), (end("minout"), end("maxout")));
    if from.0 > from.1 {
        (from, to) = ((from.1, from.0), (to.1, to.0));
    }
    let round = cfg.get("round").is_truthy();
    if round {
        to = (to.0.ceil(), to.1.floor());
    }
    Ok(Arc::new(Range { property, outside, round, min_in: from.0, max_in: from.1, min_out: to.0, max_out: to.1 }))
}

impl Range {
    /// `None`: outside the range, and to be dropped.
    fn map(&self, mut n: f64) -> Option<f64> {
        let width = self.max_in - self.min_in;
        match self.outside {
            Outside::Drop if n < self.min_in || n > self.max_in => return None,
            Outside::Clamp if n < self.min_in => n = self.min_in,
            Outside::Clamp if n > self.max_in => n = self.max_in,
            Outside::Roll => n = ((n - self.min_in) % width + width) % width + self.min_in,
            _ => {}
        }
        let mapped = (n - self.min_in) / width * (self.max_out - self.min_out) + self.min_out;
        // JavaScript's rounding: halves go up.
        Some(if self.round { (mapped + 0.5).floor() } else { mapped })
    }
}

impl Node for Range {
    fn on_msg(&self, mut msg: Msg, cx: &mut Cx<'_>) -> Step {
        let value = match msg.read_path(&self.property) {
            Ok(value) => value,
            Err(why) => return Step::fail(msg, why),
        };
        if !value.is_undefined() {
            let n = value.to_number();
            if n.is_nan() {
                cx.log(tracing::Level::INFO, format!("Not a number: {}", value.to_js_string()));
                return Step::Done;
            }
            let Some(mapped) = self.map(n) else { return Step::Done };
            msg.set_path(&self.property, mapped.into());
        }
        cx.emit(0, msg);
        Step::Done
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nodes::testbed::Bed;

    #[test]
    fn maps_as_node_red_does() {
        for (action, ends, payload, expected) in [
            ("scale", ["0", "10", "0", "100"], "5", "50"),
            ("scale", ["0", "10", "0", "100"], "\"-1\"", "-10"),
            ("clamp", ["0", "10", "0", "100"], "11", "100"),
            ("roll", ["0", "10", "0", "100"], "12", "20"),
            ("roll", ["0", "10", "0", "100"], "-2", "80"),
            // Ends the wrong way round change places, those of the output with them.
            ("scale", ["10", "0", "100", "0"], "2", "20"),
            // Nothing but a number of width 0 comes of a range without one.
            ("scale", ["1", "1", "0", "1"], "1", "null"),
        ] {
            let [minin, maxin, minout, maxout] = ends;
            let config = format!(
                r#"{{"action":"{action}","minin":"{minin}","maxin":"{maxin}","minout":"{minout}","maxout":"{maxout}"}}"#
            );
            let out = Bed::new(TYPE, &config).payload(&format!(r#"{{"payload":{payload}}}"#));
            assert_eq!(out.to_json(), expected, "{action} {ends:?} {payload}");
        }
        let halves = r#"{"action":"scale","minin":"0","maxin":"4","minout":"-2.5","maxout":"2.5","round":true}"#;
        assert_eq!(Bed::new(TYPE, halves).payload(r#"{"payload":0.5}"#).to_json(), "-1");
    }

    #[test]
    fn drops_what_is_outside_or_no_number_and_passes_what_has_no_property() {
        let bed = Bed::new(TYPE, r#"{"action":"drop","minin":"0","maxin":"10","minout":"0","maxout":"1"}"#);
        assert_eq!(bed.send(&[r#"{"payload":11}"#, r#"{"payload":"x"}"#, r#"{"payload":-1}"#]).len(), 0);
        assert_eq!(bed.send(&[r#"{"a":1}"#]).len(), 1);
    }
}
