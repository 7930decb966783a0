//! `csv`: CSV text to objects and back, by RFC 4180 or in Node-RED's older, looser way.
//!
//! Behaviour: Node-RED's `70-CSV.js` and its `lib/csv`. Known defects of theirs that only lose or break data are not
//! kept; `docs/differences.md` names them.

mod cells;
mod legacy;
mod rfc;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use arcstr::{ArcStr, literal};

use super::combining::{Combining, dropped};
use crate::model::node_spec::{NodeSpec, Property, PropertyKind};
use crate::model::{Diagnostic, Msg, Object, Value};
use crate::runtime::{Cx, Node, NodeConfig, NodeState, NodeType, Status, Step};

static SPEC: NodeSpec = NodeSpec {
    node_type: "csv",
    category: "parser",
    summary: "Converts between CSV text and objects.",
    inputs: 1,
    outputs: Some(1),
    config_node: false,
    properties: &[
        Property::new("spec", PropertyKind::OneOf(&["rfc", ""]), "rfc: RFC 4180; else Node-RED's older way."),
        Property::new("temp", PropertyKind::Text, "Column names, separated by commas; msg.columns when empty."),
        Property::new("sep", PropertyKind::Text, "The separator, one character; \\t for tab; a comma when absent."),
        Property::new("hdrin", PropertyKind::Boolean, "The first row of a text holds the column names."),
        Property::new(
            "hdrout",
            PropertyKind::Json,
            "Write column names: none, all (each message), once (until msg.reset).",
        ),
        Property::new(
            "multi",
            PropertyKind::OneOf(&["one", "mult"]),
            "one: a message per row; mult: one with all rows.",
        ),
        Property::new("ret", PropertyKind::Text, "How rows end when written; \\n, by RFC \\r\\n, when absent."),
        Property::new("skip", PropertyKind::Number, "Lines at the top of a text that are skipped."),
        Property::new("strings", PropertyKind::Boolean, "Makes numbers of cells that read as such; true when absent."),
        Property::new("include_empty_strings", PropertyKind::Boolean, "Keeps cells that are \"\"."),
        Property::new("include_null_values", PropertyKind::Boolean, "Keeps cells with nothing in them, as null."),
    ],
    capabilities: &[],
};

pub const TYPE: NodeType = NodeType { spec: &SPEC, build };

#[derive(Clone, Copy, PartialEq)]
enum HeaderOut {
    Never,
    Once,
    Always,
}

/// The configuration, which both ways share.
struct Settings {
    template: ArcStr,
    /// Written between cells.
    sep: ArcStr,
    /// Looked for in texts; `None` when `sep` is no single character, which then stands nowhere, as in Node-RED.
    sep_char: Option<char>,
    ret: ArcStr,
    multi: bool,
    header_in: bool,
    header_out: HeaderOut,
    skip: usize,
    numbers: bool,
    keep_empty: bool,
    keep_null: bool,
}

/// What goes from message to message; of a run with a caller, that run's.
#[derive(Default)]
struct State {
    legacy: Option<legacy::Template>,
    rfc: Option<rfc::Template>,
    /// Rows of a sequence whose last message has not come.
    rows: Vec<Value>,
}

impl NodeState for State {
    fn kept(&self) -> Option<Value> {
        if self.legacy.is_none() && self.rfc.is_none() && self.rows.is_empty() {
            return None;
        }
        let legacy = self.legacy.as_ref().map_or(Value::Null, legacy::Template::kept);
        let rfc = self.rfc.as_ref().map_or(Value::Null, rfc::Template::kept);
        Some(Value::array(vec![legacy, rfc, Value::array(self.rows.clone())]))
    }

    fn restored(kept: &Value) -> Option<Self> {
        let rows = kept.get("2").as_array().unwrap_or_default().to_vec();
        let legacy = legacy::Template::restored(&kept.get("0"));
        Some(State { legacy, rfc: rfc::Template::restored(&kept.get("1")), rows })
    }
}

struct Csv {
    settings: Settings,
    /// By RFC 4180: the template as configured.
    rfc: Option<rfc::Template>,
    state: Combining<State>,
    header_sent: Mutex<bool>,
    warned: AtomicBool,
}

/// The rows of a text.
struct Rows {
    rows: Vec<Value>,
    /// `msg.columns`.
    columns: ArcStr,
}

fn build(cfg: &NodeConfig<'_>) -> Result<Arc<dyn Node>, Vec<Diagnostic>> {
    let is_rfc = cfg.text("spec") == "rfc";
    let escaped = |name: &str, default: &str| {
        let text = cfg.text(name);
        let text = if text.is_empty() { default } else { text.as_str() };
        ArcStr::from(text.replace("\\t", "\t").replace("\\n", "\n").replace("\\r", "\r"))
    };
    let sep = escaped("sep", ",");
    let mut chars = sep.chars();
    let settings = Settings {
        template: cfg.text("temp"),
        sep_char: chars.next().filter(|_| chars.next().is_none()),
        ret: escaped("ret", if is_rfc { "\r\n" } else { "\n" }),
        sep,
        multi: !matches!(cfg.text("multi").as_str(), "" | "one"),
        header_in: cfg.flag("hdrin"),
        header_out: match cfg.text("hdrout").as_str() {
            "once" => HeaderOut::Once,
            "all" | "true" => HeaderOut::Always,
            _ => HeaderOut::Never,
        },
        skip: cfg.number("skip").map_or(0, |n| n.max(0.0) as usize),
        numbers: matches!(cfg.get("strings"), Value::Undefined) || cfg.flag("strings"),
        keep_empty: cfg.get("include_empty_strings").is_truthy(),
        keep_null: cfg.get("include_null_values").is_truthy(),
    };
    let rfc = match is_rfc.then(|| rfc::Template::read(&settings.template, Some(','))) {
        None => None,
        Some(Ok(template)) => Some(template),
        Some(Err(why)) => {
            let problem = cfg.problem("invalid-columns", "temp", format!("malformed columns template: {why}"));
            return Err(vec![problem.expected("names separated by commas, quoted where they hold one")]);
        }
    };
    Ok(Arc::new(Csv {
        settings,
        rfc,
        state: Combining::default(),
        header_sent: Mutex::new(false),
        warned: AtomicBool::new(false),
    }))
}

/// Where a text stands in its sequence.
struct Part {
    /// `None`: it belongs to none.
    parts: Option<Arc<Object>>,
    index: f64,
    is_last: bool,
}

impl Part {
    fn of(msg: &Msg) -> Part {
        let parts = match msg.get("parts") {
            Some(Value::Object(parts)) => Some(parts.clone()),
            _ => None,
        };
        let number = |key: &str| parts.as_ref().and_then(|p| p.get(key)).map_or(f64::NAN, Value::to_number);
        let (index, count) = (number("index"), number("count"));
        Part { parts, index, is_last: index + 1.0 >= count }
    }
}

/// Line ends, of which a CRLF counts as two: what tells one line from many.
fn line_ends(text: &str) -> usize {
    text.bytes().filter(|b| matches!(b, b'\n' | b'\r')).count()
}

impl Csv {
    fn header_sent(&self) -> std::sync::MutexGuard<'_, bool> {
        self.header_sent.lock().unwrap_or_else(|p| p.into_inner())
    }

    /// Whether this message begins with the column names.
    fn writes_header(&self) -> bool {
        self.settings.header_out != HeaderOut::Never && !*self.header_sent()
    }

    fn warn_once(&self, cx: &mut Cx<'_>) {
        if !self.warned.swap(true, Ordering::Relaxed) {
            cx.warn("No columns template specified for object -> CSV.");
        }
    }

    fn read(&self, mut msg: Msg, text: &str, cx: &mut Cx<'_>) -> Step {
        let part = Part::of(&msg);
        let settings = &self.settings;
        let read = self.state.with(cx, |state| match &self.rfc {
            Some(template) => {
                rfc::read(settings, state.rfc.get_or_insert_with(|| template.clone()), text, &part).map(|r| (r, true))
            }
            None => {
                let template = state.legacy.get_or_insert_with(|| legacy::Template::new(&settings.template));
                let (rows, whole) = legacy::read(settings, template, text, &part);
                Ok((Some(rows), whole))
            }
        });
        let Rows { rows, columns } = match read {
            Ok((Some(rows), true)) => rows,
            Ok((Some(rows), false)) => {
                cx.warn("Malformed CSV data - output probably corrupt.");
                rows
            }
            Ok((None, _)) => return Step::Done,
            Err(why) => {
                self.show_error("Malformed columns template.", cx);
                return Step::fail(msg, why);
            }
        };
        if !settings.multi {
            self.send_rows(msg, rows, &columns, &part, cx);
            return Step::Done;
        }
        msg.set(literal!("columns"), columns);
        if part.parts.is_none() || line_ends(text) > 1 {
            msg.set(literal!("payload"), rows);
            cx.emit(0, msg);
            return Step::Done;
        }
        let max = cx.services().limits.node_messages_max;
        let all = self.state.with(cx, |state| {
            state.rows.extend(rows);
            if part.is_last {
                return Ok(Some(std::mem::take(&mut state.rows)));
            }
            if state.rows.len() > max {
                state.rows.clear();
                return Err(format!(
                    "too many pending rows in csv node: more than {max} (node_messages_max); all dropped"
                ));
            }
            Ok(None)
        });
        match all {
            Ok(None) => {}
            Ok(Some(rows)) => {
                msg.remove("parts");
                msg.set(literal!("payload"), rows);
                cx.emit(0, msg);
            }
            Err(problem) => return dropped(msg, problem, cx),
        }
        Step::Done
    }

    /// A message for each row.
    fn send_rows(&self, mut msg: Msg, rows: Vec<Value>, columns: &ArcStr, part: &Part, cx: &mut Cx<'_>) {
        let count = rows.len();
        // The rows are messages of their own; the node is done with the one that came.
        cx.keep();
        cx.done(&msg);
        let ends = part.parts.is_some() && part.is_last;
        if ends && count == 0 {
            cx.emit(0, Msg::from(Object::from_iter([("complete", true)])));
            return;
        }
        msg.remove("payload");
        msg.set(literal!("columns"), columns.clone());
        if ends {
            msg.set(literal!("complete"), true);
        }
        let id = msg.get("_msgid").cloned().unwrap_or_default();
        let gone = self.settings.skip as f64 + f64::from(u8::from(self.settings.header_in));
        for (index, row) in rows.into_iter().enumerate() {
            let mut parts = Object::with_capacity(3);
            match &part.parts {
                None => {
                    parts.insert(literal!("id"), id.clone());
                    parts.insert(literal!("index"), index);
                    parts.insert(literal!("count"), count);
                }
                Some(given) => {
                    parts = Object::clone(given);
                    for key in ["index", "count"] {
                        let n = given.get(key).map_or(f64::NAN, Value::to_number);
                        parts.insert(key, n - gone);
                    }
                }
            }
            let mut msg = msg.clone();
            msg.set(literal!("payload"), row);
            msg.set(literal!("parts"), parts);
            cx.emit(0, msg);
        }
    }

    fn write(&self, mut msg: Msg, cx: &mut Cx<'_>) -> Step {
        let settings = &self.settings;
        let with_header = self.writes_header();
        let written = self.state.with(cx, |state| match &self.rfc {
            Some(template) => {
                rfc::write(settings, state.rfc.get_or_insert_with(|| template.clone()), &msg, with_header)
            }
            None => {
                let template = state.legacy.get_or_insert_with(|| legacy::Template::new(&settings.template));
                legacy::write(settings, template, &msg, with_header)
            }
        });
        let written = match written {
            Ok(written) => written,
            Err(why) => return Step::fail(msg, why),
        };
        if with_header && settings.header_out == HeaderOut::Once {
            *self.header_sent() = true;
        }
        if written.guessed {
            self.warn_once(cx);
        }
        let mut text = written.rows.join(settings.ret.as_str());
        text.push_str(&settings.ret);
        msg.set(literal!("payload"), text);
        msg.set(literal!("columns"), written.columns);
        cx.emit(0, msg);
        Step::Done
    }

    fn show_error(&self, text: &str, cx: &mut Cx<'_>) {
        cx.status(Status { fill: Some(literal!("red")), shape: Some(literal!("dot")), text: text.into() });
    }
}

/// CSV text on its way out.
struct Written {
    rows: Vec<String>,
    /// `msg.columns`.
    columns: ArcStr,
    /// No columns were given, so that they were taken from the objects.
    guessed: bool,
}

impl Node for Csv {
    fn on_msg(&self, msg: Msg, cx: &mut Cx<'_>) -> Step {
        if self.rfc.is_some() {
            cx.status(Status::default());
        }
        let reset = msg.object().contains_key("reset");
        if reset {
            *self.header_sent() = false;
        }
        match msg.get("payload").cloned() {
            None if reset => Step::Done,
            None => {
                cx.emit(0, msg);
                Step::Done
            }
            Some(Value::String(text)) => self.read(msg, &text, cx),
            Some(other) if other.type_of() == "object" => self.write(msg, cx),
            Some(_) => {
                const WRONG: &str = "This node only handles CSV strings or js objects.";
                if self.rfc.is_some() {
                    self.show_error(WRONG, cx);
                    return Step::fail(msg, WRONG);
                }
                cx.warn(WRONG);
                Step::Done
            }
        }
    }
}

#[cfg(test)]
mod tests;
