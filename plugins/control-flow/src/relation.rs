//! What the nodes over a trace share: the judgement of a constraint, and how it is told.

use probity_sdk::{Context, Map, Message, Result, Value, ensure, json};
use status_conventions::verdict::{self, Finding};

use crate::checking::{Activation, activations};
use crate::template::Template;
use crate::trace::Trace;

/// Violations told one by one; the count is always whole.
const TOLD: usize = 50;

/// A constraint: a template with its activities.
pub struct Constraint<'c> {
    pub template: Template,
    pub a: &'c str,
    pub b: &'c str,
    pub n: u32,
}

impl<'c> Constraint<'c> {
    /// A relation of two activities; an error if one is missing or both are the same. `names` are the properties that
    /// hold them.
    pub fn relation(template: Template, a: &'c str, b: &'c str, names: [&str; 2]) -> Result<Self> {
        for (value, name) in [(a, names[0]), (b, names[1])] {
            ensure!(!value.is_empty(), "{name} is empty: the name of an activity was expected");
        }
        let [first, second] = names;
        ensure!(a != b, "{first} and {second} are both \"{a}\": {} relates two different activities", template.name());
        Ok(Self { template, a, b, n: 1 })
    }

    /// Judges a trace.
    pub fn judge(&self, trace: &Trace<'_>) -> Judgement {
        let found = activations(self.template, self.n, &trace.labels(self.a, self.b));
        self.judgement(trace, &found)
    }

    /// The judgement these activations make.
    pub fn judgement(&self, trace: &Trace<'_>, found: &[Activation]) -> Judgement {
        let violated = found.iter().filter(|activation| !activation.fulfilled);
        let told = violated.clone().take(TOLD).map(|activation| {
            let mut shown = activation.event.map_or_else(Map::new, |at| trace.steps[at].shown());
            if let Some(partner) = activation.partner {
                shown.insert("with".to_owned(), Value::Object(trace.steps[partner].shown()));
            }
            Value::Object(shown)
        });
        Judgement {
            constraint: self.template.with(self.a, self.b, self.n),
            activations: found.len(),
            violated: violated.clone().count(),
            violations: told.collect(),
            unnamed: trace.unnamed,
        }
    }
}

/// What a constraint says about a trace.
pub struct Judgement {
    pub constraint: String,
    pub activations: usize,
    pub violated: usize,
    /// The first violations: the activating event and, for a negative relation, what it must not be with. An empty
    /// object is the trace itself.
    pub violations: Vec<Value>,
    pub unnamed: usize,
}

impl Judgement {
    /// Whether no activation is violated.
    pub fn holds(&self) -> bool {
        self.violated == 0
    }

    /// Whether it holds only because nothing activated the constraint.
    pub fn vacuous(&self) -> bool {
        self.activations == 0
    }

    /// `satisfied`, `vacuous` or `violated`.
    pub fn state(&self) -> &'static str {
        match (self.holds(), self.vacuous()) {
            (_, true) => "vacuous",
            (true, false) => "satisfied",
            (false, false) => "violated",
        }
    }

    /// All of it, for evidence and `payload.declare`.
    pub fn told(&self) -> Map<String, Value> {
        let all = json!({
            "constraint": self.constraint,
            "state": self.state(),
            "activations": self.activations,
            "fulfilled": self.activations - self.violated,
            "violated": self.violated,
            "violations": self.violations,
        });
        let Value::Object(mut told) = all else { unreachable!("written as one above") };
        if self.unnamed > 0 {
            told.insert("eventsWithoutActivity".to_owned(), Value::from(self.unnamed));
        }
        told
    }
}

/// What a STATUS node over a trace found.
pub struct Verdict {
    pub holds: bool,
    pub vacuous: bool,
    /// Key and value of its evidence.
    pub key: String,
    pub value: Value,
    /// What the run keeps.
    pub details: Option<Value>,
}

impl Verdict {
    /// The verdict a judgement makes.
    pub fn of(judgement: &Judgement, key: impl Into<String>, value: Value) -> Self {
        let details = Some(Value::Object(judgement.told()));
        Self { holds: judgement.holds(), vacuous: judgement.vacuous(), key: key.into(), value, details }
    }

    /// Writes `payload.result` and the evidence and sends the message on.
    pub fn send(self, mut msg: Message, cx: &Context, negate: bool, store: bool) -> Result<()> {
        let result = self.holds != negate;
        verdict::conclude(&mut msg, result)?;
        let payload = verdict::payload(&mut msg)?;
        if self.vacuous {
            payload.insert("vacuous".to_owned(), Value::from(true));
        } else {
            payload.shift_remove("vacuous");
        }
        if store {
            let mut finding = Finding::new(self.key, self.value, result);
            finding.details = self.details.map(|mut details| {
                if negate {
                    details["negated"] = Value::from(true);
                }
                details
            });
            verdict::store(&mut msg, cx, &finding)?;
        }
        cx.emit(0, msg)
    }
}
