//! `evaluate`: evaluates an agreement and emits its verdicts. Goes the one evaluation path of schedule, API and CLI.

use std::sync::Arc;

use arcstr::literal;
use jiff::Timestamp;

use super::typed::TypedInput;
use crate::model::node_spec::{Capability, NodeSpec, Property, PropertyKind};
use crate::model::run::Trigger;
use crate::model::{Diagnostic, Msg, Value};
use crate::runtime::services::EvaluateRequest;
use crate::runtime::{Cx, Effect, Node, NodeConfig, NodeError, NodeType, Step, Then};

static SPEC: NodeSpec = NodeSpec {
    node_type: "evaluate",
    category: "compliance",
    summary: "Evaluates an agreement; msg.payload becomes the list of its verdicts, msg.kept those that \
              stand as they are stored because a collector could not be asked again.",
    inputs: 1,
    outputs: Some(1),
    config_node: false,
    properties: &[
        Property::required("agreement", PropertyKind::Text, "Id of the agreement."),
        Property::new("agreementType", PropertyKind::Text, "Type of agreement: str when absent, msg, env, …"),
        Property::new("guarantee", PropertyKind::Text, "Only this guarantee; all when empty."),
        Property::new("guaranteeType", PropertyKind::Text, "Type of guarantee: str when absent, msg, …"),
        Property::new(
            "from",
            PropertyKind::Text,
            "Start of the range: RFC 3339 text with offset, a date, or epoch milliseconds. Every window that overlaps \
             [from, to) is evaluated whole; without a range, the last closed window of each guarantee.",
        ),
        Property::new("fromType", PropertyKind::Text, "Type of from: str when absent, msg, date, jsonata, …"),
        Property::new("to", PropertyKind::Text, "End of the range, exclusive; needed with from."),
        Property::new("toType", PropertyKind::Text, "Type of to: str when absent, msg, date, jsonata, …"),
        Property::new("store", PropertyKind::Boolean, "Whether the verdicts are stored; false when absent."),
    ],
    capabilities: &[Capability::Evaluate],
};

pub const TYPE: NodeType = NodeType { spec: &SPEC, build };

struct Evaluate {
    agreement: TypedInput,
    guarantee: Option<TypedInput>,
    from: Option<TypedInput>,
    to: Option<TypedInput>,
    store: bool,
}

fn build(config: &NodeConfig<'_>) -> Result<Arc<dyn Node>, Vec<Diagnostic>> {
    let mut problems = Vec::new();
    let mut input = |name: &str| {
        let kind = format!("{name}Type");
        // An empty `date` is the present; any other empty input is none.
        if config.text(name).is_empty() && config.text(&kind) != "date" {
            return None;
        }
        TypedInput::parse(config, name, &kind).map_err(|p| problems.push(p)).ok()
    };
    let (agreement, guarantee, from, to) = (input("agreement"), input("guarantee"), input("from"), input("to"));
    if config.text("agreement").is_empty() {
        problems.push(
            config
                .problem("missing-agreement", "agreement", "it names no agreement")
                .expected("the id of a loaded agreement"),
        );
    }
    if from.is_some() != to.is_some() && problems.is_empty() {
        let missing = if from.is_some() { "to" } else { "from" };
        problems.push(config.problem("incomplete-range", missing, format!("the range has no {missing}")));
    }
    match agreement {
        Some(agreement) if problems.is_empty() => {
            Ok(Arc::new(Evaluate { agreement, guarantee, from, to, store: config.flag("store") }))
        }
        _ => Err(problems),
    }
}

/// An instant; a text needs an offset, because which zone would be meant is not ours to guess.
fn instant(name: &str, value: &Value) -> Result<Timestamp, NodeError> {
    let found = match value {
        Value::Number(ms) | Value::Date(ms) if ms.is_finite() => Timestamp::from_millisecond(*ms as i64).ok(),
        Value::String(text) => text.trim().parse().ok(),
        _ => None,
    };
    found.ok_or_else(|| {
        let shown = value.to_js_string();
        NodeError::new(format!(
            "{name} \"{shown}\" is no instant; expected RFC 3339 with offset (2026-03-01T00:00:00Z) or milliseconds"
        ))
    })
}

impl Evaluate {
    fn request(&self, msg: &Msg, cx: &Cx<'_>) -> Result<EvaluateRequest, NodeError> {
        if matches!(cx.trigger(), Trigger::Metric { .. }) {
            let problem = "a flow that computes a metric may not evaluate agreements: the evaluation that asked would wait for it";
            return Err(problem.into());
        }
        let agreement = match self.agreement.eval(msg, cx)? {
            Value::String(id) if !id.is_empty() => id.to_string(),
            other => return Err(NodeError::new(format!("the agreement's id is {other:?}; expected a text"))),
        };
        let guarantee = match self.guarantee.as_ref().map(|g| g.eval(msg, cx)).transpose()? {
            None | Some(Value::Undefined | Value::Null) => None,
            Some(id) => Some(id.to_js_string().to_string()).filter(|id| !id.is_empty()),
        };
        let range = match (&self.from, &self.to) {
            (Some(from), Some(to)) => {
                let (from, to) = (instant("from", &from.eval(msg, cx)?)?, instant("to", &to.eval(msg, cx)?)?);
                if from >= to {
                    return Err(NodeError::new(format!("the range from {from} to {to} is empty")));
                }
                Some((from, to))
            }
            _ => None,
        };
        Ok(EvaluateRequest { agreement, range, guarantee, trigger: cx.trigger().clone(), store: self.store })
    }
}

impl Node for Evaluate {
    fn effect(&self) -> Effect {
        Effect::Repeatable
    }

    fn on_msg(&self, mut msg: Msg, cx: &mut Cx<'_>) -> Step {
        let request = match self.request(&msg, cx) {
            Ok(request) => request,
            Err(error) => return Step::fail(msg, error),
        };
        let Some(evaluate) = cx.services().evaluate.get().cloned() else {
            return Step::fail(msg, "agreements cannot be evaluated here: this command runs flows only");
        };
        Step::wait(async move {
            let result = evaluate.evaluate(request).await;
            Box::new(move |cx: &mut Cx<'_>| match result {
                Ok(found) => {
                    let verdicts: Vec<Value> = found.states.iter().map(|s| Value::from(s.to_verdict_json())).collect();
                    msg.set(literal!("payload"), verdicts);
                    if let Some(why) = found.nothing {
                        msg.set(literal!("reason"), why);
                    }
                    if !found.kept.is_empty() {
                        msg.set(literal!("kept"), Value::from(&serde_json::json!(found.kept)));
                    }
                    cx.emit(0, msg);
                    Step::Done
                }
                Err(problem) => Step::fail(msg, problem.to_string()),
            }) as Then
        })
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use async_trait::async_trait;

    use super::super::rig::{Rig, msg, node};
    use super::*;
    use crate::model::RunId;
    use crate::model::state::{Kept, Scope, State, StateKind, Verdict, Window};
    use crate::runtime::services::{EvaluateAgreement, Evaluated, NotEvaluated};

    /// Knows one agreement, and remembers what it was asked.
    #[derive(Default)]
    struct Known(Mutex<Vec<EvaluateRequest>>);

    #[async_trait]
    impl EvaluateAgreement for Known {
        async fn waivers_changed(&self, _: &str, _: &str) -> Result<u64, String> {
            Ok(0)
        }

        async fn evaluate(&self, request: EvaluateRequest) -> Result<Evaluated, NotEvaluated> {
            if request.agreement != "sla" {
                return Err(NotEvaluated::Refused(format!("no agreement \"{}\"", request.agreement)));
            }
            self.0.lock().unwrap().push(request);
            let window = Window {
                from: "2026-01-01T00:00:00Z".parse().unwrap(),
                to: "2026-01-02T00:00:00Z".parse().unwrap(),
                from_local: "2026-01-01T00:00:00+00:00".into(),
                to_local: "2026-01-02T00:00:00+00:00".into(),
            };
            let kept = Kept {
                guarantee: "uptime".into(),
                scope: Scope::default(),
                window: window.clone(),
                reason: "the collector is down".into(),
            };
            let (kind, run) = (StateKind::Guarantee, RunId::fresh());
            let state = State {
                verdict: Some(Verdict::Unknown),
                reason: "no samples".into(),
                ..State::blank("sla", kind, "uptime", Scope::default(), window, run)
            };
            Ok(Evaluated { states: vec![state], kept: vec![kept], nothing: None })
        }
    }

    fn rig(config: &str) -> (Rig, Arc<Known>) {
        let known = Arc::new(Known::default());
        let given = known.clone();
        let rig = Rig::with(vec![node("e", "evaluate", config, &[])], Default::default(), |services| {
            assert!(services.evaluate.set(given).is_ok());
        });
        (rig, known)
    }

    #[tokio::test]
    async fn verdicts_come_as_the_command_line_prints_them() {
        let (rig, known) =
            rig(r#"{"agreement":"id","agreementType":"msg","guarantee":"uptime","from":"0","fromType":"num",
                "to":"range.end","toType":"msg","store":true}"#);
        rig.run(0, msg(r#"{"id":"sla","range":{"end":"2026-01-02T01:00:00+01:00"}}"#)).await;
        let out = rig.out();
        let verdict = out[0].2.payload().get("0");
        assert_eq!((verdict.get("guarantee"), verdict.get("verdict")), ("uptime".into(), "unknown".into()));
        assert_eq!(verdict.get("window").get("from"), "2026-01-01T00:00:00Z".into());
        let kept = out[0].2.get("kept").unwrap().get("0");
        assert_eq!((kept.get("guarantee"), kept.get("reason")), ("uptime".into(), "the collector is down".into()));
        let asked = known.0.lock().unwrap().clone();
        assert_eq!((asked[0].guarantee.as_deref(), asked[0].store), (Some("uptime"), true));
        assert_eq!(asked[0].range.unwrap().1, "2026-01-02T00:00:00Z".parse().unwrap());
    }

    #[tokio::test]
    async fn errors_go_to_the_flow() {
        for (config, message, problem) in [
            (r#"{"agreement":"other"}"#, "{}", "no agreement \"other\""),
            (r#"{"agreement":"a","agreementType":"msg"}"#, "{}", "the agreement's id is undefined"),
            (r#"{"agreement":"sla","from":"2026-01-01","to":"2026-02-01"}"#, "{}", "from \"2026-01-01\" is no instant"),
            (r#"{"agreement":"sla","from":"5","fromType":"num","to":"5","toType":"num"}"#, "{}", "is empty"),
        ] {
            let (rig, _) = rig(config);
            let ended = rig.run(0, msg(message)).await;
            let error = ended.error.as_ref().unwrap();
            assert!(error.message.contains(problem), "{}", error.message);
        }
        let rig = Rig::new(vec![node("e", "evaluate", r#"{"agreement":"sla"}"#, &[])]);
        assert!(rig.run(0, msg("{}")).await.error.as_ref().unwrap().message.contains("cannot be evaluated here"));
    }

    #[tokio::test]
    async fn an_evaluation_does_not_wait_for_itself() {
        let (rig, known) = rig(r#"{"agreement":"sla"}"#);
        let ended = rig.open(0, msg("{}"), Trigger::Metric { evaluation: RunId::fresh() }).await;
        assert!(ended.error.as_ref().unwrap().message.contains("may not evaluate"));
        assert!(known.0.lock().unwrap().is_empty());
    }

    #[test]
    fn problems_are_told() {
        for (config, path) in [("{}", "$[0].agreement"), (r#"{"agreement":"a","from":"x"}"#, "$[0].to")] {
            assert_eq!(Rig::new(vec![node("e", "evaluate", config, &[])]).problems()[0].path, path);
        }
    }
}
