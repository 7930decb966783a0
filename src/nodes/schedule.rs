//! `schedule`: starts a run at times of day, once for each due time whatever the number of replicas. The firings
//! are claimed and opened by `schedule`, which hands this node `{payload: dueAt, schedule: {id, dueAt}}`.

use std::sync::Arc;

use arcstr::literal;
use jiff::tz::TimeZone;

use super::typed::TypedInput;
use crate::cron::Cron;
use crate::model::agreement::CatchUp;
use crate::model::node_spec::{NodeSpec, Property, PropertyKind};
use crate::model::{Diagnostic, Msg};
use crate::runtime::{Cx, Entry, Node, NodeConfig, NodeType, Step};

const CATCH_UP: &[&str] = &["skip", "last", "all"];

static SPEC: NodeSpec = NodeSpec {
    node_type: "schedule",
    category: "compliance",
    summary: "Starts a run at times given by a cron pattern in a time zone, each due time once.",
    inputs: 0,
    outputs: Some(1),
    config_node: false,
    properties: &[
        Property::required(
            "cron",
            PropertyKind::Text,
            "Five fields (minute hour day month weekday) or six with seconds first; Monday is 1, Sunday 0 or 7.",
        ),
        Property::new("timeZone", PropertyKind::Text, "IANA name such as Europe/Madrid; UTC when absent."),
        Property::new(
            "catchUp",
            PropertyKind::OneOf(CATCH_UP),
            "What happens to firings missed while nothing ran: none, the last, or all of them; last when absent.",
        ),
        Property::new("payload", PropertyKind::Text, "Value of msg.payload; the due time (RFC 3339) when empty."),
        Property::new("payloadType", PropertyKind::Text, "Type of payload: str, num, json, jsonata, …"),
    ],
    capabilities: &[],
};

pub const TYPE: NodeType = NodeType { spec: &SPEC, build };

struct Schedule {
    cron: Cron,
    time_zone: TimeZone,
    catch_up: CatchUp,
    payload: Option<TypedInput>,
}

fn build(config: &NodeConfig<'_>) -> Result<Arc<dyn Node>, Vec<Diagnostic>> {
    let mut problems = Vec::new();
    let cron = Cron::parse(&config.text("cron"))
        .map_err(|e| problems.push(config.problem("invalid-cron", "cron", e.to_string())))
        .ok();
    let zone = config.text("timeZone");
    let time_zone = match zone.as_str() {
        "" => TimeZone::UTC,
        name => TimeZone::get(name).unwrap_or_else(|_| {
            let known: Vec<String> = jiff::tz::db().available().map(|n| n.as_str().to_string()).collect();
            problems.push(
                config
                    .problem("unknown-time-zone", "timeZone", format!("\"{name}\" is no time zone"))
                    .expected("an IANA name such as Europe/Madrid")
                    .did_you_mean(name, known.iter().map(String::as_str)),
            );
            TimeZone::UTC
        }),
    };
    let catch_up = match config.text("catchUp").as_str() {
        "" | "last" => CatchUp::Last,
        "skip" => CatchUp::Skip,
        "all" => CatchUp::All,
        other => {
            problems.push(
                config
                    .problem("unknown-option", "catchUp", format!("\"{other}\" is no way to catch up"))
                    .expected(CATCH_UP.join(", "))
                    .did_you_mean(other, CATCH_UP.iter().copied()),
            );
            CatchUp::Last
        }
    };
    let payload = if config.text("payload").is_empty() && config.get("payload").as_object().is_none() {
        None
    } else {
        TypedInput::parse(config, "payload", "payloadType").map_err(|p| problems.push(p)).ok()
    };
    match cron {
        Some(cron) if problems.is_empty() => Ok(Arc::new(Schedule { cron, time_zone, catch_up, payload })),
        _ => Err(problems),
    }
}

impl Node for Schedule {
    fn on_msg(&self, mut msg: Msg, cx: &mut Cx<'_>) -> Step {
        if let Some(payload) = &self.payload {
            match payload.eval(&msg, cx) {
                Ok(value) => msg.set(literal!("payload"), value),
                Err(error) => return Step::fail(msg, error),
            }
        }
        cx.emit(0, msg);
        Step::Done
    }

    fn entry(&self) -> Option<Entry> {
        Some(Entry::Schedule { cron: self.cron.clone(), time_zone: self.time_zone.clone(), catch_up: self.catch_up })
    }
}

#[cfg(test)]
mod tests {
    use super::super::rig::{Rig, msg, node};

    #[tokio::test]
    async fn it_is_an_entry_and_says_when_it_was_due_or_what_it_is_told_to() {
        let due = r#"{"payload":"2026-01-01T08:00:00Z","schedule":{"dueAt":"2026-01-01T08:00:00Z"}}"#;
        for (config, payload) in [
            (r#"{"cron":"0 9 * * 1-5","timeZone":"Europe/Madrid"}"#, "\"2026-01-01T08:00:00Z\""),
            (r#"{"cron":"0 9 * * *","payload":"{\"a\":1}","payloadType":"json","catchUp":"all"}"#, r#"{"a":1}"#),
            (r#"{"cron":"@daily","payload":"schedule.dueAt","payloadType":"msg"}"#, "\"2026-01-01T08:00:00Z\""),
        ] {
            let rig = Rig::new(vec![node("s", "schedule", config, &[])]);
            assert_eq!((rig.problems(), rig.engine.current().schedules.len()), (vec![], 1));
            rig.inject(0, msg(due)).await;
            assert_eq!(rig.take_payloads(), [payload], "{config}");
        }
    }

    #[test]
    fn all_problems_are_told() {
        let config = r#"{"cron":"0 9 * *","timeZone":"Europe/Madird","catchUp":"none"}"#;
        let problems = Rig::new(vec![node("s", "schedule", config, &[])]).problems();
        let paths: Vec<&str> = problems.iter().map(|d| d.path.as_str()).collect();
        assert_eq!(paths, ["$[0].cron", "$[0].timeZone", "$[0].catchUp"]);
        assert_eq!(problems[1].hint.as_deref(), Some("did you mean \"Europe/Madrid\"?"));
    }
}
