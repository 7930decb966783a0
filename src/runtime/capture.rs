//! What the steps of a run were given and what they sent, for its trace: copied within a size, secrets masked. Nothing
//! is looked at in runs that are not to be traced.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, LazyLock, Mutex};

use arcstr::ArcStr;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use regex::Regex;
use serde_json::{Map, Value as Json, json};

use crate::model::flow::{Plan, PlanFlow};
use crate::model::run::{Captured, MASK, Sent, Trigger};
use crate::model::{Msg, Object, Value};

/// Deeper contents of a message are cut.
const DEPTH_MAX: usize = 40;

/// Shorter credentials are words that messages hold anyway.
const SECRET_CHARS_MIN: usize = 4;

/// Whose messages are captured when neither the tab nor a request for the next runs says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Which {
    Off,
    /// Runs of schedules, of inject nodes and by hand: few, and nobody waits for them by the millisecond.
    #[default]
    Background,
    All,
}

/// How much is captured; defaults are those of `config.default.toml`.
#[derive(Clone, Debug)]
pub struct CaptureLimits {
    pub which: Which,
    /// One message, bytes of JSON.
    pub message_bytes_max: usize,
    /// All messages of one run, bytes of JSON.
    pub run_bytes_max: usize,
}

impl Default for CaptureLimits {
    fn default() -> Self {
        CaptureLimits { which: Which::default(), message_bytes_max: 4_096, run_bytes_max: 262_144 }
    }
}

/// Whether a run is captured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wanted {
    No,
    Yes,
    /// Somebody waits for it: it is kept in the history, however many others are.
    Asked,
}

/// Decides which runs are captured.
#[derive(Default)]
pub struct Capturing {
    pub limits: CaptureLimits,
    /// Runs of a flow that are still to be captured because somebody asked.
    next: Mutex<HashMap<ArcStr, u32>>,
    /// How many flows are in `next`; most of the time none.
    asked: AtomicUsize,
}

impl Capturing {
    pub fn new(limits: CaptureLimits) -> Capturing {
        Capturing { limits, ..Capturing::default() }
    }

    /// Captures the next runs of a flow, in place of what was asked for it before; 0: no more.
    pub fn next_runs(&self, flow: &str, runs: u32) {
        let mut next = self.next.lock().unwrap_or_else(|p| p.into_inner());
        match runs {
            0 => drop(next.remove(flow)),
            runs => drop(next.insert(flow.into(), runs)),
        }
        self.asked.store(next.len(), Ordering::Release);
    }

    /// How many of the next runs of a flow are captured because somebody asked.
    pub fn runs_left(&self, flow: &str) -> u32 {
        self.next.lock().unwrap_or_else(|p| p.into_inner()).get(flow).copied().unwrap_or(0)
    }

    /// Whether this run is captured; counts it.
    pub(super) fn wants(&self, flow: Option<&PlanFlow>, trigger: &Trigger) -> Wanted {
        if let Some(flow) = flow {
            if self.asked.load(Ordering::Acquire) > 0 && self.take(&flow.id) {
                return Wanted::Asked;
            }
            if let Some(trace) = flow.trace {
                return if trace { Wanted::Yes } else { Wanted::No };
            }
        }
        let wanted = match self.limits.which {
            Which::Off => false,
            Which::All => true,
            Which::Background => {
                matches!(trigger, Trigger::Cron { .. } | Trigger::Inject { .. } | Trigger::Manual { .. })
            }
        };
        if wanted { Wanted::Yes } else { Wanted::No }
    }

    fn take(&self, flow: &ArcStr) -> bool {
        let mut next = self.next.lock().unwrap_or_else(|p| p.into_inner());
        let Some(left) = next.get_mut(flow) else { return false };
        *left -= 1;
        if *left == 0 {
            next.remove(flow);
        }
        self.asked.store(next.len(), Ordering::Release);
        true
    }
}

/// What one run's steps were given and sent.
pub(super) struct Recorder {
    /// Somebody asked for this run.
    pub(super) asked: bool,
    secrets: Arc<Secrets>,
    message_bytes_max: usize,
    /// Bytes of JSON that this run may still keep.
    left: usize,
    input: Option<Captured>,
    sent: Vec<Sent>,
    steps: Vec<(usize, Exchanged)>,
}

/// What was recorded of a run that is over.
#[derive(Default)]
pub(super) struct Kept {
    pub(super) steps: Vec<(usize, Exchanged)>,
    /// About what it takes.
    pub(super) bytes: usize,
    pub(super) asked: bool,
}

/// A step's messages.
#[derive(Clone, Default)]
pub(super) struct Exchanged {
    pub(super) input: Option<Captured>,
    pub(super) sent: Vec<Sent>,
}

impl Recorder {
    pub(super) fn new(limits: &CaptureLimits, secrets: Arc<Secrets>, asked: bool) -> Recorder {
        Recorder {
            asked,
            secrets,
            message_bytes_max: limits.message_bytes_max,
            left: limits.run_bytes_max,
            input: None,
            sent: Vec::new(),
            steps: Vec::new(),
        }
    }

    /// A node is about to be given this.
    pub(super) fn given(&mut self, msg: &Msg) {
        self.input = Some(self.capture(msg));
    }

    /// The node sends this.
    pub(super) fn sends(&mut self, port: usize, msg: &Msg) {
        // Of a node that sends thousands the first are enough; the trace counts them all.
        if self.left > 0 {
            let msg = self.capture(msg);
            self.sent.push(Sent { port: port as u32, msg });
        }
    }

    /// The node is done for now; `step` is where its trace has it, if it is kept.
    pub(super) fn close(&mut self, step: Option<usize>) {
        let exchanged = Exchanged { input: self.input.take(), sent: std::mem::take(&mut self.sent) };
        if let Some(step) = step.filter(|_| exchanged.input.is_some() || !exchanged.sent.is_empty()) {
            self.steps.push((step, exchanged));
        }
    }

    fn capture(&mut self, msg: &Msg) -> Captured {
        let max = self.message_bytes_max.min(self.left);
        let (captured, bytes) = self.secrets.capture(msg, max);
        self.left -= bytes.min(self.left);
        captured
    }

    pub(super) fn into_kept(self, limits: &CaptureLimits) -> Kept {
        Kept { steps: self.steps, bytes: limits.run_bytes_max - self.left, asked: self.asked }
    }
}

/// What must not be shown: the credentials of a plan's nodes, and what looks like a secret wherever it stands.
#[derive(Default)]
pub struct Secrets {
    values: Vec<ArcStr>,
}

impl Secrets {
    /// The credentials of a plan.
    pub fn of(plan: &Plan) -> Secrets {
        let mut values = Vec::new();
        for node in plan.nodes.iter().chain(&plan.configs) {
            let credentials = node.config.get("credentials").and_then(Value::as_object);
            for (name, value) in credentials.into_iter().flat_map(Object::iter) {
                // A user's name is no secret.
                let text = value.as_str().filter(|_| name != "user" && name != "username");
                if let Some(text) = text.filter(|t| t.chars().count() >= SECRET_CHARS_MIN) {
                    values.push(ArcStr::from(text));
                }
            }
        }
        Secrets { values: in_order(values) }
    }

    /// The same and these.
    pub fn and(&self, more: impl IntoIterator<Item = String>) -> Secrets {
        let more = more.into_iter().filter(|text| text.chars().count() >= SECRET_CHARS_MIN).map(ArcStr::from);
        Secrets { values: in_order(self.values.iter().cloned().chain(more).collect()) }
    }

    /// A message as JSON of about at most so many bytes, without its secrets and without what its caller logged in with;
    /// and its size.
    pub fn capture(&self, msg: &Msg, bytes_max: usize) -> (Captured, usize) {
        let callers = msg.get("req").map(of_caller).unwrap_or_default();
        if !callers.is_empty() {
            return self.and(callers).copied(msg, bytes_max);
        }
        self.copied(msg, bytes_max)
    }

    fn copied(&self, msg: &Msg, bytes_max: usize) -> (Captured, usize) {
        let mut copy = Copying { secrets: self, left: bytes_max, cut: false, masked: false };
        let json = copy.object(msg.object(), 0);
        let bytes = bytes_max - copy.left;
        (Captured { msg: json, cut: copy.cut, masked: copy.masked }, bytes)
    }

    /// A text with its secrets masked; `None` when it has none.
    pub fn masked(&self, text: &str) -> Option<String> {
        let mut out = None::<String>;
        for secret in &self.values {
            let now = out.as_deref().unwrap_or(text);
            if now.contains(secret.as_str()) {
                out = Some(now.replace(secret.as_str(), MASK));
            }
        }
        for (pattern, with) in PATTERNS.iter() {
            let now = out.as_deref().unwrap_or(text);
            if let std::borrow::Cow::Owned(masked) = pattern.replace_all(now, *with) {
                out = Some(masked);
            }
        }
        out
    }

    fn longest(&self) -> usize {
        self.values.first().map_or(0, |v| v.len())
    }
}

/// Longer ones first: a secret may begin as another does.
fn in_order(mut values: Vec<ArcStr>) -> Vec<ArcStr> {
    values.sort_by(|a, b| b.len().cmp(&a.len()).then_with(|| a.cmp(b)));
    values.dedup();
    values
}

/// What the caller of a message logged in with.
fn of_caller(req: &Value) -> Vec<String> {
    let header = |name: &str| req.get("headers").get(name).as_str().map(str::to_owned);
    let names = ["authorization", "proxy-authorization", "cookie"];
    let headers: Vec<(&str, String)> = names.iter().filter_map(|name| Some((*name, header(name)?))).collect();
    let cookies = req.get("cookies");
    let cookies: Vec<&str> =
        cookies.as_object().into_iter().flat_map(|all| all.iter()).filter_map(|(_, value)| value.as_str()).collect();
    let find = |name: &str| headers.iter().find(|(of, _)| *of == name).map(|(_, value)| value.as_str());
    callers_credentials(find, cookies.into_iter())
}

/// A shorter cookie is a setting, bytes.
const COOKIE_BYTES_MIN: usize = 8;

/// The texts that a caller logs in with: authorization headers, what they say when decoded, and cookies.
pub fn callers_credentials<'c>(
    header: impl Fn(&str) -> Option<&'c str>,
    cookies: impl Iterator<Item = &'c str>,
) -> Vec<String> {
    let mut found = Vec::new();
    for value in ["authorization", "proxy-authorization"].into_iter().filter_map(&header) {
        found.push(value.to_owned());
        let token = value.split_once(' ').map_or(value, |(_, token)| token.trim());
        found.push(token.to_owned());
        let pair = STANDARD.decode(token).ok().and_then(|bytes| String::from_utf8(bytes).ok());
        if let Some((_, password)) = pair.as_deref().and_then(|pair| pair.split_once(':')) {
            found.push(password.to_owned());
        }
        found.extend(pair);
    }
    let in_header = header("cookie").unwrap_or_default().split(';').filter_map(|c| Some(c.split_once('=')?.1));
    found.extend(cookies.chain(in_header).filter(|c| c.len() >= COOKIE_BYTES_MIN).map(str::to_owned));
    found
}

/// Names that say that what they stand for is a secret, without `-` and `_`.
const SECRET_NAMES: &[&str] = &[
    "password",
    "passwd",
    "passphrase",
    "pwd",
    "secret",
    "token",
    "authorization",
    "cookie",
    "apikey",
    "credential",
    "privatekey",
    "accesskey",
];

/// Secrets within texts: logins in URLs, authorization headers, fields of JSON and of forms.
static PATTERNS: LazyLock<[(Regex, &str); 4]> = LazyLock::new(|| {
    let regex = |text: &str| Regex::new(text).expect("a pattern of ours");
    let names = "(?:password|passwd|passphrase|pwd|secret|token|authorization|cookie|api[-_]?key|private[-_]?key|access[-_]?key)";
    [
        (regex(r"://([^/\s:@]*):[^/\s@]+@"), "://$1:•••@"),
        (regex(r"(?i)\b(bearer|basic)\s+[A-Za-z0-9._~+/=-]{6,}"), "$1 •••"),
        (regex(&format!(r#"(?i)("[^"]*{names}[^"]*"\s*:\s*)"(?:[^"\\]|\\.)*"?"#)), "$1\"•••\""),
        (regex(&format!(r"(?i)\b([A-Za-z0-9_.-]*{names})=[^&\s]+")), "$1=•••"),
    ]
});

fn is_secret_name(name: &str) -> bool {
    let plain: String = name.chars().filter(|c| !matches!(c, '-' | '_')).flat_map(char::to_lowercase).collect();
    SECRET_NAMES.iter().any(|secret| plain.contains(secret))
}

/// A copy under way.
struct Copying<'s> {
    secrets: &'s Secrets,
    left: usize,
    cut: bool,
    masked: bool,
}

impl Copying<'_> {
    /// Takes room; false when there is none.
    fn takes(&mut self, bytes: usize) -> bool {
        let fits = self.left >= bytes;
        self.cut |= !fits;
        self.left = self.left.saturating_sub(bytes);
        fits
    }

    fn value(&mut self, value: &Value, depth: usize) -> Json {
        if depth > DEPTH_MAX {
            self.cut = true;
            return Json::Null;
        }
        match value {
            Value::String(text) => self.text(text),
            Value::Bytes(bytes) => self.bytes(bytes),
            Value::Array(items) => {
                let mut copy = Vec::new();
                for item in items.iter() {
                    if !self.takes(1) {
                        break;
                    }
                    copy.push(self.value(item, depth + 1));
                }
                Json::Array(copy)
            }
            Value::Object(object) => self.object(object, depth + 1),
            Value::Handle(handle) => match handle.object() {
                // What a caller sent is the payload, too.
                Some(object) => self.object_but(&object, "body", depth + 1),
                None => Json::Null,
            },
            Value::Error(error) => {
                let (name, message) = (self.text(&error.name), self.text(&error.message));
                json!({ "name": name, "message": message })
            }
            scalar => {
                self.takes(8);
                serde_json::to_value(scalar).unwrap_or_default()
            }
        }
    }

    fn object(&mut self, object: &Object, depth: usize) -> Json {
        self.object_but(object, "", depth)
    }

    fn object_but(&mut self, object: &Object, left_out: &str, depth: usize) -> Json {
        let mut copy = Map::new();
        for (name, value) in object.iter() {
            let absent = match value {
                Value::Undefined => true,
                Value::Handle(handle) => handle.object().is_none(),
                _ => false,
            };
            if absent || (!left_out.is_empty() && name == left_out) {
                continue;
            }
            if !self.takes(name.len() + 4) {
                break;
            }
            let json = match value {
                Value::Null | Value::Bool(_) => self.value(value, depth),
                _ if is_secret_name(name) => {
                    self.masked = true;
                    self.takes(MASK.len());
                    MASK.into()
                }
                _ => self.value(value, depth),
            };
            copy.insert(name.to_string(), json);
        }
        Json::Object(copy)
    }

    fn text(&mut self, text: &str) -> Json {
        // A secret must not be shown because the cut goes through it.
        let looked_at = upto(text, self.left + self.secrets.longest() + 64);
        let masked = self.secrets.masked(looked_at);
        self.masked |= masked.is_some();
        let shown = masked.as_deref().unwrap_or(looked_at);
        let room = self.left;
        if shown.len() > room || looked_at.len() < text.len() {
            self.cut = true;
            self.left = 0;
            return format!("{}…", upto(shown, room)).into();
        }
        self.takes(shown.len() + 2);
        shown.into()
    }

    /// As Node.js writes a buffer; one that holds text with a secret is shown as that text.
    fn bytes(&mut self, bytes: &[u8]) -> Json {
        let looked_at = &bytes[..bytes.len().min(self.left + self.secrets.longest() + 64)];
        if let Some(masked) = self.secrets.masked(&String::from_utf8_lossy(looked_at)) {
            self.masked = true;
            return self.text(&masked);
        }
        let shown = &bytes[..bytes.len().min(self.left / 4)];
        self.cut |= shown.len() < bytes.len();
        self.takes(shown.len() * 4 + 26);
        json!({ "type": "Buffer", "data": shown })
    }
}

/// The beginning of a text, at most so many bytes.
fn upto(text: &str, bytes: usize) -> &str {
    &text[..text.floor_char_boundary(bytes)]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn captured(json: &str, bytes_max: usize) -> Captured {
        let secrets = Secrets { values: vec!["hunter22".into()] };
        secrets.capture(&Msg::from_object(serde_json::from_str::<Object>(json).unwrap()), bytes_max).0
    }

    #[test]
    fn what_fits_is_the_message_itself() {
        let json = r#"{"_msgid":"1","payload":{"a":[1,2.5,null,true,"x"],"tokens_ok":true},"topic":"t"}"#;
        let whole = captured(json, 4_096);
        assert_eq!((whole.msg.to_string().as_str(), whole.cut, whole.masked), (json, false, false));
    }

    #[test]
    fn what_does_not_fit_is_cut_and_stays_json_of_about_that_size() {
        let long = format!(r#"{{"payload":"{}","list":[{}1],"last":1}}"#, "ä".repeat(5_000), "1,".repeat(50_000));
        for max in [0, 1, 10, 100, 4_096, 20_000] {
            let cut = captured(&long, max);
            assert!(cut.cut, "{max}");
            assert!(cut.msg.to_string().len() <= max * 2 + 64, "{max}: {}", cut.msg.to_string().len());
        }
        let deep = format!("{{\"payload\":{}1{}}}", "[".repeat(100), "]".repeat(100));
        assert!(captured(&deep, 4_096).cut);
    }

    #[test]
    fn secrets_are_masked_by_name_by_value_and_in_texts() {
        let json = r#"{"req":{"headers":{"Authorization":"Basic YWJjOmRlZg==","X-Api-Key":"k","accept":"*/*"}},
            "payload":"{\"user\":\"ana\",\"password\":\"pa\\\"ss\",\"n\":1}","form":"a=1&client_secret=xyz&b=2",
            "url":"https://ana:s3cret@host/x","note":"it is hunter22, or Bearer abcdefgh","apiKeys":[1],"token":null,
            "headers":{"set-cookie":["sid=1"]},"credentials":{"user":"ana","x":"y"}}"#;
        let shown = captured(json, 100_000);
        let text = shown.msg.to_string();
        for secret in
            ["YWJj", "pa\\", "ss\\", "xyz", "s3cret", "hunter22", "abcdefgh", "\"k\"", "sid=1", "[1]", "\"y\""]
        {
            assert!(!text.contains(secret), "{secret} in {text}");
        }
        for kept in ["*/*", "ana:•••@host", "b=2", "\"token\":null", "\\\"n\\\":1"] {
            assert!(text.contains(kept), "{kept} not in {text}");
        }
        assert!(shown.masked && !shown.cut);
    }

    #[test]
    fn a_cut_through_a_secret_does_not_show_it() {
        let json = format!(r#"{{"payload":"{}hunter22"}}"#, "x".repeat(40));
        for max in 10..80 {
            let text = captured(&json, max).msg.to_string();
            assert!(!text.contains("hunte"), "{max}: {text}");
        }
        let secrets = Secrets { values: vec!["hunter22".into()] };
        let mut msg = Msg::from_object(Object::new());
        msg.set("payload", Value::Bytes(Arc::new(b"pw hunter22".to_vec())));
        let (shown, _) = secrets.capture(&msg, 1_000);
        assert!(shown.masked && !shown.msg.to_string().contains("104,117"), "{}", shown.msg);
    }

    #[test]
    fn credentials_of_a_plan_are_known() {
        let mut node = crate::runtime::tests::node("n", "x", &[]);
        node.config = Arc::new(
            serde_json::from_str(r#"{"credentials":{"user":"anastasia","password":"opensesame","pin":"123"}}"#)
                .unwrap(),
        );
        let secrets = Secrets::of(&Plan { nodes: vec![node], ..Plan::default() });
        assert_eq!(secrets.masked("say opensesame to anastasia").as_deref(), Some("say ••• to anastasia"));
        assert_eq!(secrets.masked("123"), None);
    }

    #[test]
    fn the_tab_and_a_request_for_the_next_runs_decide_before_the_default() {
        let capturing = Capturing::default();
        let (http, cron) = (
            Trigger::Http { method: "GET".into(), path: "/".into() },
            Trigger::Cron { schedule: "s".into(), due_at: jiff::Timestamp::UNIX_EPOCH },
        );
        let flow = |trace| PlanFlow { id: "f".into(), trace, ..PlanFlow::default() };
        let wants = |trace, trigger| capturing.wants(Some(&flow(trace)), trigger);
        assert_eq!((wants(None, &http), wants(None, &cron)), (Wanted::No, Wanted::Yes));
        assert_eq!((wants(Some(true), &http), wants(Some(false), &cron)), (Wanted::Yes, Wanted::No));
        capturing.next_runs("f", 2);
        let asked: Vec<Wanted> = (0..3).map(|_| wants(Some(false), &http)).collect();
        assert_eq!(asked, [Wanted::Asked, Wanted::Asked, Wanted::No]);
        assert_eq!(capturing.runs_left("f"), 0);
        capturing.next_runs("f", 2);
        capturing.next_runs("f", 0);
        assert_eq!(wants(None, &http), Wanted::No);
    }
}
