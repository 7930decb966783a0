//! `policy`: allowed, denied or undefined, as a policy in Rego says.

use probity_sdk::prelude::*;
use probity_sdk::serde_json;
use status_conventions::verdict::{self, Finding};

use crate::compiled::{self, Answer, Compiled, Reading};
use crate::decision::{self, Decision, Gives};
use crate::sources::{Source, Sources, sha256, value};
use crate::time;

/// Decides by a policy of the Open Policy Agent, written in Rego.
///
/// The policy is the text in *Policy*, or the files (`.rego`) in *Files*, below a folder that the operator granted; data
/// that it looks into (`data.…`) are the object in *Data* and the files that end in `.json`. The policy gets *Input* as
/// `input` and is asked the *Query*:
///
/// | the query gives | allowed | denied | undefined |
/// |---|---|---|---|
/// | `allow` | true | false | no value |
/// | `deny` | an empty set | reasons | no value |
/// | `object` | `{"allow": true, …}` | `{"allow": false, …}` | no value, or none of `allow` |
///
/// Each has its own output. **Undefined is not denied**: no rule said anything, for example because the input lacks what
/// the rules look at. Write `default allow := false` to make it a denial, and know that a `deny` rule over something that
/// the input lacks gives no reason: require it by a rule of its own.
///
/// `msg.policy` (*Output*) becomes `{decision, result, value, messages, query, policy, data, inputSha256}`: `result` is
/// true, false or null, `messages` what *Messages* (a second query, for example `data.main.deny`) gives, or the reasons
/// of a `deny` query; `policy` and `data` name each text with its SHA-256, `inputSha256` is that of the input as JSON
/// without blanks and with sorted keys. All this is kept as evidence. *Result into the payload* also sets
/// `msg.payload.result`, and *Store evidences* adds it to `msg.payload.evidences`, as the nodes of STATUS have it.
///
/// **Errors** name the policy's file and line, go to catch nodes, and nothing goes on: a policy that cannot be read, a
/// query that leads nowhere, an answer of another kind, a function that fails. OPA takes a failing function for
/// undefined; so does this node if *A function that fails* says so.
///
/// **Functions**: those of Rego without network, random numbers, environment, cryptography, YAML, GraphQL, JSON Schema
/// and `net.*`. Of time: `time.now_ns` (the same during a decision), `parse_rfc3339_ns`, `parse_duration_ns`, `date`,
/// `clock`, `weekday`, `add_date`, in UTC. `print` writes to the log.
///
/// A caller can override nothing of a policy.
#[derive(Clone, Config)]
pub struct Policy {
    /// The policy in Rego; begins with its package.
    #[config(label = "Policy", default = "", code = "rego", config_only)]
    policy: String,
    /// Files of policies (.rego) and data (.json), below a granted folder.
    #[config(label = "Files", default = json!([]), rows, config_only)]
    files: Vec<PolicyFile>,
    /// Data of the policy, as JSON.
    #[config(label = "Data", default = "", code = "json", config_only)]
    data: Value,
    /// What the policy is asked.
    #[config(label = "Query", default = "data.main.allow", min_length = 1, config_only)]
    query: String,
    /// What the query is expected to give: allow (true or false), deny (a set of reasons), object (with allow).
    #[config(label = "The query gives", default = "allow", config_only)]
    gives: Gives,
    /// A query whose messages go along.
    #[config(label = "Messages", default = "", placeholder = "data.main.deny", config_only)]
    messages: String,
    /// What the policy sees as `input`.
    #[config(
        label = "Input",
        default = "payload",
        type_name = "inputType",
        kinds = ["msg", "flow", "global", "env", "str", "num", "bool", "json", "jsonata"],
        config_only
    )]
    input: TypedInput,
    /// Property of the message for the decision.
    #[config(label = "Output", default = "policy", pattern = "^[A-Za-z_][A-Za-z0-9_]*$", config_only)]
    output: String,
    /// Sets msg.payload.result, too: true, false or null.
    #[config(name = "setResult", label = "Result into the payload", default = false, config_only)]
    set_result: bool,
    /// Adds the decision to msg.payload.evidences.
    #[config(name = "storeEvidences", label = "Store evidences", default = false, config_only)]
    store_evidences: bool,
    /// What a function that fails is: an error, or undefined as in OPA.
    #[config(name = "functionErrors", label = "A function that fails", default = "error", config_only)]
    failures: Failures,
    /// Version of Rego: v1, or v0 for policies from before OPA 1.0.
    #[config(name = "regoVersion", label = "Rego", default = "v1", one_of = ["v1", "v0"], config_only)]
    version: String,
}

/// A file of the policy.
#[derive(Clone, Config)]
pub struct PolicyFile {
    /// Below a granted folder.
    #[config(label = "File", placeholder = "release.rego")]
    path: String,
}

/// What a function that fails is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Config)]
pub enum Failures {
    /// An error.
    Error,
    /// Undefined.
    Undefined,
}

#[node(
    type = "policy",
    category = "policy",
    color = "#DDAA99",
    icon = "fa-gavel",
    outputs = ["allowed", "denied", "undefined"],
    wants = ["payload"],
    capabilities = ["typed-input", "evidence", "files", "clock"]
)]
impl Node for Policy {
    fn process(&self, mut msg: Message, cx: &Context) -> Result<()> {
        let sources = self.sources(cx)?;
        let failures_are_undefined = self.failures == Failures::Undefined;
        let policy = compiled::policy(&sources, Reading { v0: self.version == "v0", failures_are_undefined })?;
        let input = self.input(&msg, cx)?;
        let (decision, facts) = self.decide(&policy, &sources, &input, cx)?;
        match decision {
            Decision::Allowed => cx.status(Fill::Green, Shape::Dot, decision.word()),
            Decision::Denied => cx.status(Fill::Red, Shape::Dot, decision.word()),
            Decision::Undefined => cx.status(Fill::Yellow, Shape::Ring, decision.word()),
        }
        msg.set(&self.output, facts.clone());
        if self.set_result {
            verdict::conclude(&mut msg, decision.outcome())?;
        }
        if self.store_evidences {
            verdict::store(&mut msg, cx, &Finding::new("policy", facts, decision.outcome()))?;
        } else {
            cx.evidence("policy", &facts, decision.outcome())?;
        }
        cx.emit(decision.port(), msg)
    }
}

impl Policy {
    fn sources(&self, cx: &Context) -> Result<Sources> {
        let mut sources = Sources::default();
        if !self.policy.trim().is_empty() {
            sources.modules.push(Source::new("Policy", self.policy.clone()));
        }
        for file in self.files.iter().filter(|file| !file.path.is_empty()) {
            let bytes = cx.read_file(&file.path).context(&file.path)?;
            sources.add_file(&file.path, bytes)?;
        }
        sources.add_data(&self.data)?;
        ensure!(!sources.modules.is_empty(), "there is no policy: write it into Policy, or name its .rego in Files");
        Ok(sources)
    }

    fn input(&self, msg: &Message, cx: &Context) -> Result<Value> {
        let TypedInput { kind, text } = &self.input;
        // What crossed anyway need not be asked for.
        let found = match (kind.as_str(), text.as_str()) {
            ("msg", "payload") => msg.at("payload").cloned(),
            _ => cx.evaluate(&self.input)?,
        };
        found.context(format_args!("the input ({kind} {text}) is undefined: there is nothing to decide on"))
    }

    /// The decision, and what goes on record of it.
    fn decide(&self, policy: &Compiled, sources: &Sources, input: &Value, cx: &Context) -> Result<(Decision, Value)> {
        let now = policy.asks_for_time.then(|| cx.now_ms());
        time::set_now(now);
        let input = value(input).map_err(|error| error.context("the input cannot be given to the policy"))?;
        // regorus keeps the names of an object sorted.
        let canonical = serde_json::to_string(&input)?;
        let mut queries = vec![self.query.as_str()];
        queries.extend((!self.messages.is_empty()).then_some(self.messages.as_str()));
        let answers = policy.ask(input, &queries);
        policy.printed().iter().for_each(|line| cx.log(line));
        let answers = answers?;
        let answer = answers[0].as_ref().map(compiled::json).transpose()?;
        let decision = Decision::of(self.gives, answer.as_ref(), &self.query)?;
        let (modules, data) = sources.facts();
        let mut facts = json!({
            "decision": decision.word(),
            "result": decision.outcome(),
            "messages": self.said(&answers)?,
            "query": self.query,
            "policy": modules,
            "data": data,
            "inputSha256": sha256(canonical.as_bytes()),
        });
        if let Some(answer) = answer {
            facts["value"] = answer;
        }
        if let Some(now) = now {
            facts["now"] = Value::from(probity_sdk::time::iso(now));
        }
        Ok((decision, facts))
    }

    fn said(&self, answers: &[Answer]) -> Result<Vec<Value>> {
        match (answers.get(1), self.gives) {
            (Some(answer), _) => decision::messages(answer),
            (None, Gives::Deny) => decision::messages(&answers[0]),
            (None, _) => Ok(Vec::new()),
        }
    }
}
