//! `chain-response`: the event after each A is B, in time; or what a machine-learning service says.

use std::time::Duration;

use probity_sdk::prelude::*;
use status_conventions::verdict::{self, Finding};
use status_conventions::{date, value};

use crate::checking::{Activation, Label, activations};
use crate::relation::{Constraint, Verdict};
use crate::template::Template;
use crate::trace::{Step, Trace};

/// Checks that event A is directly followed by event B, in time.
///
/// Reads the events of the trace in `msg.payload.trace.event`, `msg.payload.event`, `msg.payload.events` or
/// `msg.payload`, in the order of the log, and writes `msg.payload.result`: true if **the event after each A is B**
/// (Declare's *chain response*) and, where *Time* is more than 0, follows it within that many seconds. Without any A it
/// is true, too, and `msg.payload.vacuous` is true to say so. For a B that may come later use *response*.
///
/// - *Negate* turns the result around.
/// - *Store evidences* adds `{id, key: "Chain Response", value: {eventA: {timestamp, value}, eventB: {timestamp,
///   value}}, result}` to `msg.payload.evidences`, for the first A that has no such B, else the last A; the run keeps
///   all of them.
///
/// **Predictive monitoring** (*PCM*): the payload is sent by POST to *ML URL* + *ML endpoint*, and the result is the
/// answer's `prediction`. No answer within 10 s, another status than 2xx or an answer without prediction is an error,
/// never a result. The operator's grant says which hosts may be asked.
///
/// A caller may send `eventAName`, `eventBName`, `negate`, `storeEvidences`, `time`, `mlUrl` and `mlEndpoint` in the
/// body of the request.
#[derive(Clone, Config)]
pub struct ChainResponse {
    /// Activity of event A (`concept:name`).
    #[config(name = "eventAName", label = "Event A", default = "")]
    a: String,
    /// Activity of event B (`concept:name`).
    #[config(name = "eventBName", label = "Event B", default = "")]
    b: String,
    /// Seconds within which B must follow; 0 or empty for any time.
    #[config(label = "Time (s)", default = 0, lenient)]
    time: Option<f64>,
    /// Turn the result around.
    #[config(label = "Negate", default = false)]
    negate: bool,
    /// Ask a machine-learning service instead of looking at the trace.
    #[config(name = "enablePCM", label = "Predictive monitoring (PCM)", default = false, config_only)]
    enable_pcm: bool,
    /// Base URL of the service.
    #[config(name = "mlUrl", label = "ML URL", default = "", placeholder = "https://ml.example.org")]
    ml_url: String,
    /// Path of its endpoint.
    #[config(name = "mlEndpoint", label = "ML endpoint", default = "", placeholder = "/predict")]
    ml_endpoint: String,
    /// Keep what was found as evidence.
    #[config(name = "storeEvidences", label = "Store evidences", default = false)]
    store_evidences: bool,
    /// As node-red-status bc5d353 has it: only the last A and the last B of the log count, other events may be between
    /// them, and the time is always a limit, also when it is 0. A timestamp that is missing or unreadable is an error.
    #[config(label = "As in node-red-status", default = false, config_only)]
    compat: bool,
}

#[node(
    type = "chain-response",
    category = "controlFlow",
    color = "#DDAA99",
    icon = "fa-chain",
    wants = ["payload", "req"],
    capabilities = ["evidence", "http"]
)]
impl Node for ChainResponse {
    fn process(&self, msg: Message, cx: &Context) -> Result<()> {
        let config = self.over(&msg)?;
        if config.enable_pcm {
            return config.predict(msg, cx);
        }
        let trace = Trace::of(&msg)?;
        let verdict = if config.compat { config.last_pair(&trace)? } else { config.chain(&trace)? };
        verdict.send(msg, cx, config.negate, config.store_evidences)
    }
}

impl ChainResponse {
    fn seconds(&self) -> f64 {
        self.time.unwrap_or(0.0)
    }

    fn chain(&self, trace: &Trace<'_>) -> Result<Verdict> {
        ensure!(self.seconds() >= 0.0, "time is {}: 0 or more seconds were expected", self.seconds());
        let names = ["eventAName", "eventBName"];
        let constraint = Constraint::relation(Template::ChainResponse, &self.a, &self.b, names)?;
        let mut found = activations(constraint.template, 1, &trace.labels(&self.a, &self.b));
        if self.seconds() > 0.0 {
            for activation in &mut found {
                activation.fulfilled = activation.fulfilled && self.in_time(activation, trace)?;
            }
        }
        let judgement = constraint.judgement(trace, &found);
        let decisive = found.iter().find(|activation| !activation.fulfilled).or(found.last());
        let a = decisive.and_then(|activation| trace.steps.get(activation.event?));
        let b = match decisive {
            Some(activation) => activation.partner.map(|at| &trace.steps[at]),
            None => trace.last(&self.b),
        };
        let time = |step: Option<&Step>| step.and_then(|step| step.time(true).ok().flatten());
        Ok(Verdict::of(&judgement, KEY, self.pair(time(a), time(b))))
    }

    fn in_time(&self, activation: &Activation, trace: &Trace<'_>) -> Result<bool> {
        let (Some(a), Some(b)) = (activation.event, activation.partner) else { return Ok(false) };
        let (a, b) = (&trace.steps[a], &trace.steps[b]);
        let gap = needed(b)? - needed(a)?;
        ensure!(
            gap >= 0,
            "{} comes after {} in the log, yet its time is earlier: how long it took is unknown; sort the log by time",
            b.place(),
            a.place()
        );
        Ok(gap as f64 <= self.seconds() * 1000.0)
    }

    fn last_pair(&self, trace: &Trace<'_>) -> Result<Verdict> {
        let labels = trace.labels(&self.a, &self.b);
        let last = |label| labels.iter().rposition(|found| *found == label).map(|at| needed(&trace.steps[at]));
        let (a, b) = (last(Label::A).transpose()?, last(Label::B).transpose()?);
        let gap = a.zip(b).map(|(a, b)| b - a);
        let holds = gap.is_some_and(|gap| gap >= 0 && gap as f64 <= self.seconds() * 1000.0);
        Ok(Verdict { holds, vacuous: false, key: KEY.to_owned(), value: self.pair(a, b), details: None })
    }

    fn pair(&self, a: Option<i64>, b: Option<i64>) -> Value {
        json!({
            "eventA": { "timestamp": a.and_then(date::iso), "value": self.a },
            "eventB": { "timestamp": b.and_then(date::iso), "value": self.b },
        })
    }

    /// Asks the service.
    fn predict(&self, mut msg: Message, cx: &Context) -> Result<()> {
        ensure!(
            !self.ml_url.is_empty() && !self.ml_endpoint.is_empty(),
            "ML URL and ML Endpoint must be defined when PCM is enabled"
        );
        let url = format!("{}/{}", self.ml_url.trim_end_matches('/'), self.ml_endpoint.trim_start_matches('/'));
        let prediction = ask(&url, &msg, cx).context("Error calling ML service")?;
        let result = match (&prediction, self.negate) {
            (_, false) => prediction.clone(),
            (Value::Bool(flag), true) => Value::from(!flag),
            (other, true) => {
                bail!("the prediction is {}: only true or false can be negated", value::kind(other))
            }
        };
        verdict::conclude(&mut msg, result.clone())?;
        if self.store_evidences {
            let asked = json!({ "mlUrl": self.ml_url, "mlEndpoint": self.ml_endpoint, "prediction": prediction });
            verdict::store(&mut msg, cx, &Finding::new("Chain Response (PCM)", asked, result))?;
        }
        cx.emit(0, msg)
    }
}

const KEY: &str = "Chain Response";

fn ask(url: &str, msg: &Message, cx: &Context) -> Result<Value> {
    let answer = cx.http().post(url).json(msg.payload()).timeout(Duration::from_secs(10)).send()?.ok()?;
    let answer: Value = answer.json()?;
    let prediction = answer.get("prediction").cloned();
    prediction.context("ML service response does not contain 'prediction' property: the result is unknown")
}

/// The time of an event, which must have one.
fn needed(step: &Step<'_>) -> Result<i64> {
    let found = step.time(true)?;
    found.context(format_args!("{} has no date, so how long it took is unknown", step.place()))
}
