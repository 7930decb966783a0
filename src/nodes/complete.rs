//! `complete`: emits the messages that other nodes are done with. Which ones is decided when the flow is planned.

use std::sync::Arc;

use super::junction::PassOn;
use crate::model::node_spec::{NodeSpec, Property, PropertyKind};
use crate::runtime::NodeType;

static SPEC: NodeSpec = NodeSpec {
    node_type: "complete",
    category: "common",
    summary: "Emits the message of a node that is done with it, with msg.complete {source}.",
    inputs: 0,
    outputs: Some(1),
    config_node: false,
    properties: &[
        Property::new("scope", PropertyKind::Json, "Node ids to listen to; nodes this one is wired to are left out."),
        Property::new("uncaught", PropertyKind::Boolean, "Written by the editor; means nothing here."),
    ],
    capabilities: &[],
};

pub const TYPE: NodeType = NodeType { spec: &SPEC, build: |_| Ok(Arc::new(PassOn)) };

#[cfg(test)]
mod tests {
    use super::super::rig::{Rig, msg};

    const FLOW: &str = r#"[
        {"id":"t","type":"tab","label":"t"},
        {"id":"c","z":"t","type":"complete","scope":["change","json","delay"],"wires":[["end"]]},
        {"id":"end","z":"t","type":"junction","wires":[]},
        {"id":"change","z":"t","type":"change","rules":[{"t":"set","p":"payload","to":"{}","tot":"str"}],"wires":[["json"]]},
        {"id":"json","z":"t","type":"json","wires":[["never"]]},
        {"id":"never","z":"t","type":"junction","wires":[["nothing"]]},
        {"id":"nothing","z":"t","type":"comment"},
        {"id":"bad","z":"t","type":"json","action":"obj","wires":[]},
        {"id":"delay","z":"t","type":"delay","pauseType":"delay","timeout":"1","timeoutUnits":"seconds","wires":[["nothing"]]}
    ]"#;

    fn seen(rig: &Rig) -> Vec<String> {
        let shown = |m: &crate::model::Msg| {
            format!("{} {}", m.get("complete").unwrap().get("source").get("id").to_js_string(), m.payload().to_json())
        };
        rig.out().iter().filter(|(id, _, _)| id == "end").map(|(_, _, m)| shown(m)).collect()
    }

    #[tokio::test]
    async fn tells_of_each_node_in_its_scope_with_the_message_as_it_left() {
        let rig = Rig::of_flow(FLOW);
        rig.inject(rig.index("change"), msg(r#"{"_msgid":"1","payload":1}"#)).await;
        assert_eq!(seen(&rig), [r#"change "{}""#, "json {}"]);
    }

    #[tokio::test]
    async fn says_nothing_of_failures_and_waits_for_what_waits() {
        let rig = Rig::of_flow(FLOW);
        rig.inject(rig.index("json"), msg(r#"{"_msgid":"1","payload":"{"}"#)).await;
        assert_eq!(seen(&rig), Vec::<String>::new());
        let cause = crate::model::run::Trigger::Inject { node: "x".into() };
        let run = tokio::spawn(rig.open(rig.index("delay"), msg(r#"{"_msgid":"2","payload":2}"#), cause));
        rig.settle().await;
        assert_eq!(seen(&rig), Vec::<String>::new());
        rig.advance(std::time::Duration::from_secs(1)).await;
        run.await.unwrap();
        assert_eq!(seen(&rig), ["delay 2"]);
    }
}
