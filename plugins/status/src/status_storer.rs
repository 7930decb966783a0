//! `status-storer`: reports a computation's results to STATUS.

use probity_sdk::prelude::*;
use status_conventions::credential;
use status_conventions::value::{kind, shown};

use crate::backend::{Destination, REQUEST_BYTES};
use crate::gathering::{Arrival, End, Expected, Gathering};

/// Where STATUS's own compose file has its backend.
const BACKEND: &str = "http://status-backend:3001/api/v1/computations/bulk";

/// Reports results to STATUS: gathers one per message and sends them when all are there.
///
/// Each message is one result: `msg.payload.result` (true or false), `msg.payload.scope` and `msg.payload.evidences`
/// become a row of the computation `computationGroup`, which STATUS sends in the body of its request. STATUS computes
/// the compliance from the evidences: without any it is 0, so *Store evidences* should be on in the nodes before.
///
/// **When all are there** is said by `msg.size`, the number of results; else by `msg.parts.count`, the length of the
/// sequence that a *split* node made; else the end of the run says it. Then they are sent, in as few requests as fit
/// into 100 kB, each after the one before was answered, the last one with `done: true`, and one message goes on, the
/// last that came, with the payload `{message: "Computations succesfully stored"}`. Where a filter lets fewer pass than
/// were split, choose *When fewer came: store*, or set `msg.size` behind the filter.
///
/// **Errors** go to catch nodes: a result that is not true or false, fewer results than said, no computation group, an
/// answer of the backend that is no success. Then nothing more is sent, and no message goes on. A request is repeated
/// only if the backend cannot have processed it: no connection, or an answer 503 or 429 that says *Retry-After*.
///
/// - *Backend URL*: the body's `backendUrl` comes first, as STATUS sends it.
/// - *Access token*: the header `x-access-token` of the caller comes first, then its cookie `accessToken`.
///   `secret:NAME` is sent only to the server of the configured *Backend URL*.
/// - *From*, *To*, *Control*: `from`, `to` and `controlId` of the body come first, and `initial` for `from`.
/// - *Results per request*: 0 or empty for as many as fit; `bufferSize` in the body comes first.
#[derive(Clone, Config)]
pub struct StatusStorer {
    /// Where results go, if the caller does not say; empty for http://status-backend:3001/api/v1/computations/bulk.
    #[config(name = "backendUrl", label = "Backend URL", default = "", config_only)]
    backend_url: String,
    /// Token of STATUS, if the caller has none: `secret:NAME`.
    #[config(name = "accessToken", label = "Access token", default = "", secret, config_only)]
    access_token: String,
    /// Most results in one request; empty for as many as fit.
    #[config(name = "bufferSize", label = "Results per request", lenient)]
    buffer_size: Option<u32>,
    /// Begin of the period, if the caller does not say.
    #[config(label = "From", default = "", config_only)]
    from: String,
    /// End of the period, if the caller does not say.
    #[config(label = "To", default = "", config_only)]
    to: String,
    /// The control's number, if the caller does not say.
    #[config(name = "controlId", label = "Control", default = "", config_only)]
    control_id: String,
    /// What to do at the end of a run in which fewer results came than `msg.size` or `msg.parts.count` said.
    #[config(label = "When fewer came", default = "error", one_of = ["error", "store"], config_only)]
    fewer: String,
    /// Largest request the backend takes, bytes.
    #[config(name = "requestBytesMax", label = "Request (bytes)", default = 100_000, min = 1000, config_only)]
    request_bytes_max: Option<u32>,
}

#[node(
    type = "status-storer",
    category = "status",
    color = "#DDAA99",
    icon = "fa-database",
    wants = ["payload", "req", "size", "parts"],
    capabilities = ["http", "state", "secret", "clock"]
)]
impl Node for StatusStorer {
    fn process(&self, msg: Message, cx: &Context) -> Result<()> {
        let group = msg.param("computationGroup").and_then(Value::as_str).unwrap_or_default().to_owned();
        let expected = Expected::of(&msg);
        let gathering = Gathering::of(&msg, &group, expected.as_ref().unwrap_or(&Expected::Open));
        let kept = match (self.computation(&msg, &group), &expected) {
            (Ok(result), Ok(expected)) => gathering.keep(msg.run(), &result, expected, cx)?,
            (result, expected) => {
                let known = expected.as_ref().unwrap_or(&Expected::Open);
                if gathering.miss(msg.run(), known, cx)? == Arrival::Broken {
                    gathering.hand_over(cx);
                }
                return Err(result.err().or(expected.as_ref().err().cloned()).expect("one of them is an error"));
            }
        };
        match kept {
            Arrival::Waits => Ok(()),
            Arrival::Whole(count) => {
                let stored = self.store(msg, &gathering, count, cx);
                gathering.hand_over(cx);
                stored
            }
            Arrival::Broken => {
                gathering.hand_over(cx);
                Err(Error::new("nothing was stored: another result of this computation could not be read"))
            }
        }
    }

    fn run_end(&self, last: Message, cx: &Context) -> Result<()> {
        let mut problems: Vec<Error> = Vec::new();
        for gathering in Gathering::pending(last.run(), cx)? {
            let ended = match gathering.end(cx)? {
                End::Nothing => Ok(()),
                End::Whole(count) => self.store(last.clone(), &gathering, count, cx),
                End::Fewer { came, .. } if self.fewer == "store" && came > 0 => {
                    self.store(last.clone(), &gathering, came as usize, cx)
                }
                End::Fewer { came, expected } => Err(Error::new(format!(
                    "nothing was stored: {came} of {expected} results came before the run ended; the others failed or \
                     were held back by a node before this one (see the run). If a filter may hold back results, \
                     choose \"When fewer came: store\", or set msg.size behind it"
                ))
                .with_code("fewer-results")),
            };
            problems.extend(ended.err());
            gathering.forget(cx);
        }
        Gathering::forget_list(last.run(), cx);
        match problems.len() {
            0 => Ok(()),
            1 => Err(problems.remove(0)),
            _ => bail!("{}", problems.iter().map(Error::message).collect::<Vec<_>>().join("; ")),
        }
    }
}

impl StatusStorer {
    /// Sends what was gathered, and the message that says so.
    fn store(&self, mut msg: Message, gathering: &Gathering, count: usize, cx: &Context) -> Result<()> {
        let destination = self.destination(&msg, cx)?;
        if let Err(error) = destination.deliver(cx, count, |index| gathering.item(index, cx)) {
            cx.status(Fill::Red, Shape::Ring, "not stored");
            return Err(error);
        }
        cx.status(Fill::Green, Shape::Dot, format!("{count} stored"));
        // As the original spells it: clients may compare.
        msg.set_payload(json!({ "message": "Computations succesfully stored" }));
        cx.emit(0, msg)
    }

    /// The row of one result, as JSON.
    fn computation(&self, msg: &Message, group: &str) -> Result<String> {
        if group.is_empty() {
            bail!(
                "msg.req.body.computationGroup is missing: STATUS sends it with its request, and files results by it; \
                 where nobody calls, set it in front (for example by an inject node)"
            );
        }
        let payload = msg.payload().as_object();
        let payload =
            payload.ok_or_else(|| Error::new(format!("msg.payload is {}: {EXPECTED}", kind(msg.payload()))))?;
        let mut row = probity_sdk::Map::new();
        row.insert("computationGroup".to_owned(), Value::from(group));
        row.insert("period".to_owned(), self.period(msg));
        row.insert("controlId".to_owned(), self.control(msg)?);
        row.insert("value".to_owned(), Value::from(verdict(payload.get("result"))?));
        for name in ["scope", "evidences"] {
            if let Some(value) = payload.get(name) {
                row.insert(name.to_owned(), value.clone());
            }
        }
        let text = Value::Object(row).to_string();
        let max = self.bytes_max();
        if !Destination::fits(text.len(), max) {
            bail!(
                "this result has {} bytes, with its evidences, and the backend takes {max} in one request: keep less \
                 as evidence, or let the backend take more and say so in \"Request (bytes)\"",
                text.len()
            );
        }
        Ok(text)
    }

    fn bytes_max(&self) -> usize {
        self.request_bytes_max.unwrap_or(REQUEST_BYTES) as usize
    }

    fn period(&self, msg: &Message) -> Value {
        let body = msg.req().body();
        let sent = |name: &str| body.and_then(|body| body.get(name));
        let mut period = probity_sdk::Map::new();
        let begin = sent("from").filter(|from| !from.is_null()).or_else(|| sent("initial")).or_else(|| sent("from"));
        for (name, sent, own) in [("from", begin, &self.from), ("to", sent("to"), &self.to)] {
            period.insert(name.to_owned(), sent.cloned().unwrap_or_else(|| Value::from(own.as_str())));
        }
        Value::Object(period)
    }

    /// STATUS has it as a 32-bit integer, or none.
    fn control(&self, msg: &Message) -> Result<Value> {
        let own = Value::from(self.control_id.as_str());
        let found = msg.req().body().and_then(|body| body.get("controlId")).unwrap_or(&own);
        let number = match found {
            Value::Null => return Ok(Value::Null),
            Value::String(text) if text.trim().is_empty() => return Ok(Value::Null),
            Value::String(text) => text.trim().parse::<i32>().ok(),
            Value::Number(number) => number
                .as_f64()
                .filter(|number| number.fract() == 0.0 && number.abs() <= f64::from(i32::MAX))
                .map(|number| number as i32),
            _ => None,
        };
        let wrong = || Error::new(format!("controlId is {}: the number of a control was expected", shown(found)));
        number.map(Value::from).ok_or_else(wrong)
    }

    fn destination(&self, msg: &Message, cx: &Context) -> Result<Destination> {
        let config = self.over(msg)?;
        let sent = msg.param("backendUrl").and_then(Value::as_str).filter(|url| !url.is_empty());
        let own = if self.backend_url.is_empty() { BACKEND } else { &self.backend_url };
        let url = sent.unwrap_or(own).to_owned();
        let token = self.token(msg, cx, &url, own)?;
        let items_max = config.buffer_size.map_or(usize::MAX, |items| items.max(1) as usize);
        Ok(Destination { url, token, bytes_max: self.bytes_max(), items_max })
    }

    fn token(&self, msg: &Message, cx: &Context, url: &str, own_url: &str) -> Result<String> {
        let cookie = || msg.req().cookies().and_then(|cookies| cookies.get("accessToken")).and_then(Value::as_str);
        let header = msg.req().header("x-access-token").filter(|token| !token.is_empty());
        if let Some(token) = header.or_else(cookie) {
            return Ok(token.to_owned());
        }
        let Some(name) = self.access_token.strip_prefix("secret:") else {
            if !self.access_token.is_empty() {
                credential::warn_of_literal("accessToken", cx);
            }
            return Ok(self.access_token.clone());
        };
        if origin(url) != origin(own_url) {
            bail!(
                "the configured access token is only sent to {}, and msg.req.body.backendUrl names another server: \
                 let the caller send its token in the header x-access-token, or set Backend URL",
                origin(own_url)
            );
        }
        cx.secret(name)
    }
}

const EXPECTED: &str = "an object with result, scope and evidences was expected";

fn verdict(result: Option<&Value>) -> Result<bool> {
    match result {
        Some(Value::Bool(result)) => Ok(*result),
        Some(Value::String(text)) if text == "true" => Ok(true),
        Some(Value::String(text)) if text == "false" => Ok(false),
        None => bail!("msg.payload.result is missing: true or false was expected; a check must come before this node"),
        Some(Value::Null) => bail!("msg.payload.result is null, so unknown: STATUS can only store true or false"),
        Some(other) => bail!("msg.payload.result is {}: true or false was expected", shown(other)),
    }
}

/// Scheme, host and port as they are written.
fn origin(url: &str) -> &str {
    let start = url.find("://").map_or(0, |at| at + 3);
    let end = url[start..].find(['/', '?', '#', '\\']).map_or(url.len(), |at| start + at);
    &url[..end]
}
