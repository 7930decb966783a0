//! `probity compare`: the verdicts of a Governify Registry, running or recorded, beside ours; every difference with the
//! known defect that explains it.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use http::Method;
use jiff::Timestamp;
use serde_json::{Value, json};
use url::Url;

use super::{Format, Settings, not_so, print, runtime, usage};
use crate::agreement::compat::periods;
use crate::agreement::queries::{Query, iso};
use crate::app::{self, Surroundings};
use crate::clock::Clock;
use crate::config::Config;
use crate::evaluate::compare::{Comparison, Difference, REFUSED_AT_LOAD, compare, judge_recorded};
use crate::evaluate::{Asking, Request, Windows};
use crate::model::agreement::Agreement;
use crate::model::run::Trigger;
use crate::model::state::Scope;
use crate::net::{Net, NetRequest};
use crate::registry::Agreements;

#[derive(Args)]
pub(super) struct CompareArgs {
    /// A Registry's address, which is asked, or a transcript of its answers (JSON lines)
    #[arg(long, value_name = "URL|FILE")]
    against: String,
    /// Only this agreement
    agreement: Option<String>,
    /// Start of the range to ask a Registry for: an instant or a date, in UTC
    #[arg(long, value_name = "T")]
    from: Option<String>,
    /// End of the range
    #[arg(long, value_name = "T")]
    to: Option<String>,
    /// Output form
    #[arg(long, value_enum, default_value_t)]
    format: Format,
    #[command(flatten)]
    settings: Settings,
}

/// What became of the comparison: all of it, and what could not be compared.
#[derive(Default)]
struct Outcome {
    comparison: Comparison,
    notes: Vec<String>,
}

pub(super) fn compare_verdicts(args: &CompareArgs) -> ExitCode {
    let config = match args.settings.load() {
        Ok(config) => config,
        Err(code) => return code,
    };
    super::log::start(&config, true);
    let outcome = if args.against.starts_with("http://") || args.against.starts_with("https://") {
        runtime().block_on(against_registry(args, &config))
    } else {
        against_transcript(args)
    };
    match outcome {
        Ok(outcome) => show(args, &outcome),
        Err(code) => code,
    }
}

fn show(args: &CompareArgs, outcome: &Outcome) -> ExitCode {
    let Outcome { comparison, notes } = outcome;
    match args.format {
        Format::Json => {
            let text = serde_json::to_string_pretty(&json!({ "comparison": comparison, "notes": notes }));
            print(&format!("{}\n", text.expect("a comparison is JSON")));
        }
        Format::Table => {
            for difference in &comparison.differences {
                print(&line(difference));
            }
            for note in notes {
                print(&format!("note: {note}\n"));
            }
            print(&format!(
                "{} states: {} the same, {} different, {} of them unexplained\n",
                comparison.states,
                comparison.same,
                comparison.differences.len(),
                comparison.unexplained().count()
            ));
        }
    }
    if comparison.unexplained().next().is_some() { ExitCode::from(1) } else { ExitCode::SUCCESS }
}

fn line(difference: &Difference) -> String {
    let theirs = difference.theirs.as_ref().map_or_else(|| "no state".into(), Value::to_string);
    let ours = difference.ours.map_or("no state", |verdict| verdict.as_str());
    let why = match &difference.defect {
        Some(defect) => format!("known defect {}: {}", defect.number, defect.text),
        None => "UNEXPLAINED".into(),
    };
    format!(
        "{} {} {} to {}: Registry {theirs}, Probity {ours}\n  {}\n  {why}\n",
        difference.guarantee, difference.scope, difference.from, difference.to, difference.reason
    )
}

// ---- a running Registry ---------------------------------------------------------------------------------------------

async fn against_registry(args: &CompareArgs, config: &Config) -> Result<Outcome, ExitCode> {
    let bound = |name: &str, text: &Option<String>| {
        let text = text.as_deref().ok_or_else(|| usage(&format!("--{name} is needed to ask a Registry")))?;
        periods::date(text).map_err(|_| usage(&format!("--{name}: \"{text}\" is no instant and no date")))
    };
    let (from, to) = (bound("from", &args.from)?, bound("to", &args.to)?);
    if from >= to {
        return Err(usage("--from must be before --to"));
    }
    let net = app::net(config).map_err(|e| usage(&format!("{e:#}")))?;
    let base = args.against.trim_end_matches('/');
    let documents = match &args.agreement {
        Some(id) => vec![fetch(&net, &format!("{base}/api/v6/agreements/{}", encoded(id))).await?],
        None => match fetch(&net, &format!("{base}/api/v6/agreements")).await? {
            Value::Array(all) => all,
            _ => return Err(not_so("the Registry's list of agreements is no list")),
        },
    };
    let mut outcome = Outcome::default();
    for document in documents {
        let id = document["id"].as_str().unwrap_or_default().to_owned();
        let range = format!("from={}&to={}&newPeriodsFromGuarantees=false", iso(from), iso(to));
        let theirs = fetch(&net, &format!("{base}/api/v6/states/{}/guarantees?{range}", encoded(&id))).await;
        let theirs = match theirs {
            Ok(Value::Array(states)) => states,
            _ => {
                outcome.notes.push(format!("{id}: the Registry gives no states; all of ours are different"));
                Vec::new()
            }
        };
        match loaded(document, &id) {
            Ok(agreement) => judged(config, &net, agreement, (from, to), &theirs, &mut outcome).await?,
            Err(problem) => refused(&id, &problem, &theirs, &mut outcome),
        }
    }
    Ok(outcome)
}

fn encoded(id: &str) -> String {
    percent_encoding::utf8_percent_encode(id, percent_encoding::NON_ALPHANUMERIC).to_string()
}

/// A Registry takes seconds for what Probity does in milliseconds.
const REGISTRY_WAIT: Duration = Duration::from_secs(300);

async fn fetch(net: &Net, address: &str) -> Result<Value, ExitCode> {
    let url = Url::parse(address).map_err(|e| usage(&format!("--against {address}: {e}")))?;
    let request = NetRequest { timeout: Some(REGISTRY_WAIT), ..NetRequest::new(Method::GET, url) };
    let answer = net.request(request).await.map_err(not_so)?;
    if answer.status != 200 {
        let text = String::from_utf8_lossy(&answer.body[..answer.body.len().min(200)]).into_owned();
        return Err(not_so(format!("{address} answered {}: {text}", answer.status)));
    }
    serde_json::from_slice(&answer.body).map_err(|e| not_so(format!("{address} answered no JSON: {e}")))
}

/// Asks the same collectors, and compares.
async fn judged(
    config: &Config,
    net: &Arc<Net>,
    agreement: Agreement,
    (from, to): (Timestamp, Timestamp),
    theirs: &[Value],
    outcome: &mut Outcome,
) -> Result<(), ExitCode> {
    let agreement = Arc::new(agreement);
    let store = crate::store::open("memory:", &Default::default()).await.map_err(|e| usage(&e.to_string()))?;
    let flows = app::load_flows(config, false).map_err(|e| usage(&format!("{e:#}")))?;
    let clock = Clock::System;
    let surroundings = Surroundings { clock, net: net.clone(), store: store.clone(), observer: None };
    let plugins = app::plugins::start(config, net, &surroundings.clock, &flows.loaded).await;
    let engine = app::engine(config, surroundings, &plugins);
    engine.deploy_idle(app::plan(&engine, &flows.loaded));
    let set = Agreements::fixed([agreement.clone()]);
    let evaluator = app::evaluator(config, &engine, &store, set, Default::default());
    for guarantee in &agreement.guarantees {
        let request = Request {
            agreement: agreement.clone(),
            windows: Windows::Exactly { from, to },
            guarantee: Some(guarantee.id.clone()),
            trigger: Trigger::Manual { by: "cli".into() },
            actor: "cli".into(),
            store: false,
            claim: None,
        };
        let asking = Asking { access_token: None, keep: true };
        let (evaluation, asked) = evaluator.run_asking(request, &asking).await.map_err(not_so)?;
        outcome.comparison.extend(compare(&agreement, guarantee, &evaluation.states, &asked, theirs));
    }
    Ok(())
}

// ---- a transcript ---------------------------------------------------------------------------------------------------

fn against_transcript(args: &CompareArgs) -> Result<Outcome, ExitCode> {
    let path = Path::new(&args.against);
    let text = std::fs::read_to_string(path)
        .map_err(|e| usage(&format!("cannot read the transcript {}: {e}", args.against)))?;
    let mut outcome = Outcome::default();
    let mut documents: BTreeMap<String, Value> = BTreeMap::new();
    for (index, line) in text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
        let call: Value = serde_json::from_str(line)
            .map_err(|e| usage(&format!("{}: line {}: not JSON: {e}", args.against, index + 1)))?;
        let call = Recorded(call);
        if let Some(document) = call.document() {
            documents.insert(document["id"].as_str().unwrap_or_default().to_owned(), document);
            continue;
        }
        let Some((id, theirs)) = call.states() else { continue };
        if args.agreement.as_ref().is_some_and(|only| *only != id) {
            continue;
        }
        match documents.get(&id).map(|document| loaded(document.clone(), &id)) {
            None => outcome.notes.push(format!("line {}: the transcript does not have agreement {id}", index + 1)),
            Some(Err(problem)) => refused(&id, &problem, &theirs, &mut outcome),
            Some(Ok(agreement)) => recorded(&call, &agreement, &theirs, index + 1, &mut outcome),
        }
    }
    Ok(outcome)
}

/// One line: `{method, path, body, response: {status, body}, collector: [{body, answer: {post, get, body}}]}`, or with
/// `request` around the first three and `collector_requests` without answers.
struct Recorded(Value);

impl Recorded {
    fn field(&self, name: &str) -> &Value {
        match &self.0[name] {
            Value::Null => &self.0["request"][name],
            found => found,
        }
    }

    /// The agreement that this call puts.
    fn document(&self) -> Option<Value> {
        let path = self.field("path").as_str()?;
        let puts = ["POST", "PUT"].contains(&self.field("method").as_str()?) && path.starts_with("/api/v6/agreements");
        let taken = self.0["response"]["status"].as_u64().is_some_and(|status| status < 300);
        let document = self.field("body");
        (puts && taken && document["id"].is_string()).then(|| document.clone())
    }

    /// The agreement and its states, for a call that gave some.
    fn states(&self) -> Option<(String, Vec<Value>)> {
        let path = self.field("path").as_str()?.split('?').next()?;
        let id = path.strip_prefix("/api/v6/states/")?.strip_suffix("/guarantees")?;
        let given = self.field("method") == "GET" && self.0["response"]["status"] == 200;
        let states = self.0["response"]["body"].as_array().filter(|_| given)?;
        Some((percent_encoding::percent_decode_str(id).decode_utf8_lossy().into_owned(), states.clone()))
    }

    /// The range that the collectors were asked about, or else that of the query.
    fn range(&self) -> Option<(Timestamp, Timestamp)> {
        let asked = self.0["collector"].as_array().and_then(|all| all.first()).map(|first| &first["body"]);
        let raw = self.0["collector_requests"].as_array().and_then(|all| all.first()).map(|first| &first["b"]);
        if let Some(window) = asked.or(raw).map(|body| &body["metric"]["window"]) {
            let bound = |key: &str| periods::date(window[key].as_str()?).ok();
            return Some((bound("initial")?, bound("end")?));
        }
        let query = self.field("path").as_str()?.split_once('?')?.1;
        let find = |key: &str| url::form_urlencoded::parse(query.as_bytes()).find(|(k, _)| k == key);
        let bound = |key: &str| periods::date(&find(key)?.1).ok();
        Some((bound("from")?, bound("to")?))
    }

    /// What the collector answered; where only states were recorded, what they say it answered.
    fn answer(&self, guarantee: &str, query: &Query, body: &Value, theirs: &[Value]) -> Result<Value, String> {
        let asked = self.0["collector"].as_array();
        let found = asked.and_then(|all| all.iter().find(|asked| same_question(&asked["body"], body)));
        if let Some(answer) = found.map(|asked| &asked["answer"]) {
            let status = [&answer["post"], &answer["get"]].into_iter().filter_map(Value::as_u64).find(|s| *s >= 300);
            return match status {
                Some(status) => Err(format!("the recorded collector answered {status}")),
                None => Ok(answer["body"].clone()),
            };
        }
        let covered = |state: &&Value| {
            let scope = serde_json::from_value::<Scope>(state["scope"].clone());
            state["id"] == guarantee && scope.is_ok_and(|scope| query.scope.covers(&scope))
        };
        let computations: Vec<Value> = theirs
            .iter()
            .filter(covered)
            .filter_map(|state| {
                let value = state["metrics"].get(&query.metric)?;
                let evidences = &state["evidences"];
                Some(
                    json!({"scope": state["scope"], "period": state["period"], "value": value, "evidences": evidences}),
                )
            })
            .collect();
        Ok(json!({ "computations": computations }))
    }
}

/// Bodies of one question: the Registry leaves out `window.from` for all but the first term.
fn same_question(a: &Value, b: &Value) -> bool {
    let bare = |body: &Value| {
        let mut body = body.clone();
        if let Some(window) = body.pointer_mut("/metric/window").and_then(Value::as_object_mut) {
            window.shift_remove("from");
        }
        body
    };
    bare(a) == bare(b)
}

fn recorded(call: &Recorded, agreement: &Agreement, theirs: &[Value], line: usize, outcome: &mut Outcome) {
    let Some(range) = call.range().filter(|(from, to)| from < to) else {
        let note = format!("line {line}: the call names no range that could be judged (defect 10.4: from after to)");
        outcome.notes.push(note);
        return;
    };
    for guarantee in &agreement.guarantees {
        let answer = |query: &Query, body: &Value| call.answer(&guarantee.id, query, body, theirs);
        let (states, asked) = judge_recorded(agreement, &guarantee.id, range, &answer);
        outcome.comparison.extend(compare(agreement, guarantee, &states, &asked, theirs));
    }
}

// ---- both -----------------------------------------------------------------------------------------------------------

fn loaded(document: Value, id: &str) -> Result<Agreement, String> {
    let (agreement, problems) = crate::agreement::load_value(document, id);
    agreement.ok_or_else(|| problems.first().map(ToString::to_string).unwrap_or_default())
}

/// A document that the Registry evaluates and Probity refuses: each of its states is different.
fn refused(id: &str, problem: &str, theirs: &[Value], outcome: &mut Outcome) {
    outcome.notes.push(format!("{id} is refused: {problem}"));
    let text = |state: &Value, key: &str| state["period"][key].as_str().unwrap_or_default().to_owned();
    let differences = theirs.iter().map(|state| Difference {
        guarantee: state["id"].as_str().unwrap_or_default().to_owned(),
        scope: state["scope"].clone(),
        from: text(state, "from"),
        to: text(state, "to"),
        theirs: Some(state["value"].clone()),
        ours: None,
        reason: format!("the agreement is refused: {problem}"),
        defect: Some(REFUSED_AT_LOAD),
    });
    let differences: Vec<Difference> = differences.collect();
    outcome.comparison.extend(Comparison { states: differences.len(), same: 0, differences });
}
