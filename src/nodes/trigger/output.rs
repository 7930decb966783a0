//! The two messages of a trigger: what they hold, and when that is read.

use arcstr::literal;

use super::topics::Ended;
use crate::model::{Diagnostic, Msg, Value};
use crate::nodes::mustache::{Outside, Template, View};
use crate::nodes::typed::TypedInput;
use crate::runtime::{Cx, NodeConfig, NodeError};

pub(super) enum Output {
    Nothing,
    /// The payload that came.
    Payload,
    /// The latest message.
    Latest,
    Template(Template),
    Input(TypedInput),
}

impl Output {
    /// `op1` or `op2` with its type.
    pub(super) fn read(cfg: &NodeConfig<'_>, name: &str, default: &str) -> Result<Output, Diagnostic> {
        let text = cfg.text(name);
        let text = if text.is_empty() { default } else { text.as_str() };
        let kind = cfg.text(&format!("{name}type"));
        let constant = |value: Value| Ok(Output::Input(TypedInput::Constant(value)));
        match (kind.as_str(), text) {
            ("nul", _) => Ok(Output::Nothing),
            ("pay", _) => Ok(Output::Payload),
            ("payl", _) => Ok(Output::Latest),
            // Old flows.
            ("val", "true" | "false") => constant((text == "true").into()),
            ("val", "null") | ("null", _) => constant(Value::Null),
            ("" | "str" | "val", _) if text.contains("{{") => {
                Template::parse(text).map(Output::Template).map_err(|e| {
                    cfg.problem("invalid-template", name, format!("invalid template: {e}"))
                        .expected("a mustache template")
                })
            }
            ("" | "val", _) => constant(text.into()),
            // The default of the other types means "now" here.
            ("date", text) if text == default => Ok(Output::Input(TypedInput::of(cfg, name, &"".into(), "date")?)),
            (kind, _) => TypedInput::of(cfg, name, &text.into(), kind).map(Output::Input),
        }
    }

    pub(super) fn is_nothing(&self) -> bool {
        matches!(self, Output::Nothing)
    }

    pub(super) fn is_latest(&self) -> bool {
        matches!(self, Output::Latest)
    }

    /// A time, which is read anew for each repetition.
    pub(super) fn is_now(&self) -> bool {
        matches!(self, Output::Input(TypedInput::Date(_)))
    }

    /// The payload of the first message; `None` leaves the one that came.
    pub(super) fn first(&self, msg: &Msg, cx: &Cx<'_>) -> Result<Option<Value>, NodeError> {
        match self {
            Output::Nothing | Output::Payload | Output::Latest => Ok(None),
            Output::Template(template) => render(template, msg).map(Some),
            Output::Input(input) => input.eval(msg, cx).map(Some),
        }
    }

    /// What is read of the second message when the wait begins.
    pub(super) fn begin(&self, msg: &Msg, cx: &Cx<'_>) -> Result<Value, NodeError> {
        match self {
            Output::Nothing | Output::Latest => Ok(Value::Undefined),
            Output::Payload => Ok(msg.payload().clone()),
            Output::Template(template) => render(template, msg),
            Output::Input(input) => input.eval(msg, cx),
        }
    }

    /// The second message.
    pub(super) fn end(&self, ended: Ended, cx: &Cx<'_>) -> Result<Msg, (Msg, NodeError)> {
        let Ended { then, mut msg, latest } = ended;
        let payload = match self {
            Output::Latest => return Ok(latest.unwrap_or(msg)),
            Output::Input(input @ (TypedInput::Context(..) | TypedInput::Date(_))) => match input.eval(&msg, cx) {
                Ok(payload) => payload,
                Err(error) => return Err((msg, error)),
            },
            _ => then,
        };
        msg.set(literal!("payload"), payload);
        Ok(msg)
    }
}

/// As mustache.js alone renders: only the message is known to it.
fn render(template: &Template, msg: &Msg) -> Result<Value, NodeError> {
    let outside = |_: &Outside| Ok(Value::Undefined);
    let view = View { root: msg.to_value(), outside: &outside, escape_json: false };
    Ok(template.render(&view)?.into())
}
