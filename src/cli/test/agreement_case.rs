//! An agreement under test: given samples (or flows that compute them), expected verdicts.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use futures_util::FutureExt;
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::{Value as Json, json};

use super::guests::Guests;
use super::matching::differences;
use super::{Case, TestFile, flow_case, mock};
use crate::agreement::queries::Query;
use crate::app;
use crate::clock::Clock;
use crate::config::Config;
use crate::evaluate::{InProcess, Request, Service, Windows};
use crate::model::agreement::{Agreement, Collector};
use crate::model::run::Trigger;
use crate::model::state::{Scope, Verdict};
use crate::registry::Agreements;

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Range {
    from: Timestamp,
    to: Timestamp,
}

/// Samples of one metric, or why its collector fails.
#[derive(Clone, Debug, Deserialize)]
#[serde(untagged)]
pub(super) enum Given {
    Fail { fail: String },
    Samples(Vec<GivenSample>),
}

/// One computation; without `from` it stands in every window, without `scope` in the scope asked for.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct GivenSample {
    #[serde(default)]
    scope: Option<Scope>,
    #[serde(default)]
    from: Option<Timestamp>,
    value: Json,
    #[serde(default)]
    evidences: Vec<Json>,
    #[serde(default)]
    coverage: Option<Json>,
}

/// Runs one case; gives what was not as expected.
pub(super) async fn run(
    file: &TestFile,
    path: &Path,
    flows: &[PathBuf],
    case: &Case,
    guests: &Guests,
) -> Result<Vec<String>, String> {
    let text = std::fs::read_to_string(path).map_err(|e| format!("{}: {e}", path.display()))?;
    let (agreement, diagnostics) = crate::agreement::load(&text, &path.display().to_string());
    let mut problems = super::errors(&diagnostics);
    let Some(mut agreement) = agreement else { return Ok(problems) };
    let services = stand_in(&mut agreement, &case.samples)?;
    let agreement = Arc::new(agreement);
    let now = file.now.or(case.range.as_ref().map(|r| r.to)).ok_or("give \"now\" or a \"range\"")?;
    let clock = Clock::manual(now);
    let (net, _asked) = mock::net(&case.http);
    let engine = flow_case::plain_engine(file, clock.clone(), net, guests, flows).await?;
    if !flows.is_empty() {
        let mut entries = Vec::new();
        for flow in flows {
            let content = app::read_flows(flow).map_err(|e| format!("{e:#}"))?;
            problems.extend(super::errors(&content.diagnostics));
            entries.extend(content.loaded.entries.into_iter().map(Json::Object));
        }
        let (loaded, _) = crate::flow::load_value(entries, "");
        engine.deploy_idle(app::plan(&engine, &loaded));
    }
    let store = crate::store::open("memory:", &Default::default()).await.map_err(|e| e.to_string())?;
    let evaluator =
        app::evaluator(&Config::defaults(), &engine, &store, Agreements::fixed([agreement.clone()]), services);
    let windows = match (&case.range, case.last_closed) {
        (Some(range), None) => Windows::Overlapping { from: range.from, to: range.to },
        (None, count) => Windows::LastClosed { at: now, count: count.unwrap_or(1) },
        (Some(_), Some(_)) => return Err("give \"range\" or \"last_closed\", not both".into()),
    };
    let request = Request {
        agreement,
        windows,
        guarantee: case.guarantee.clone(),
        trigger: Trigger::Manual { by: "test".into() },
        actor: "test".into(),
        store: false,
        claim: None,
    };
    // Polling collectors wait on the clock; nobody else moves it.
    let mover = clock.clone();
    let evaluation = tokio::select! {
        evaluation = evaluator.run(request) => evaluation.map_err(|e| e.to_string())?,
        () = async { loop { tokio::task::yield_now().await; mover.advance(std::time::Duration::from_millis(10)); } } => unreachable!("the mover never ends"),
    };
    let verdicts: Vec<Json> = evaluation.verdicts().map(|s| s.to_verdict_json()).collect();
    if let Some(expected) = &case.expect {
        problems.extend(compare(expected, &verdicts));
    }
    if let Some(expected) = &case.counts {
        let mut counts: BTreeMap<String, usize> = BTreeMap::new();
        for state in evaluation.verdicts() {
            *counts.entry(state.verdict.unwrap_or(Verdict::Unknown).as_str().into()).or_default() += 1;
        }
        if counts != *expected {
            problems.push(format!("counts: expected {}, found {}", json!(expected), json!(counts)));
        }
    }
    Ok(problems)
}

/// Each expected verdict must be there; entries name theirs by guarantee, scope and window start.
fn compare(expected: &Json, verdicts: &[Json]) -> Vec<String> {
    let Some(expected) = expected.as_array() else { return vec!["expect: expected a list of verdicts".into()] };
    let identity = ["agreement", "guarantee", "scope", "window"];
    let mut problems = Vec::new();
    for (i, wanted) in expected.iter().enumerate() {
        let at = format!("expect[{i}]");
        let key: serde_json::Map<String, Json> = wanted
            .as_object()
            .map(|o| {
                o.iter().filter(|(k, _)| identity.contains(&k.as_str())).map(|(k, v)| (k.clone(), v.clone())).collect()
            })
            .unwrap_or_default();
        let candidates: Vec<&Json> =
            verdicts.iter().filter(|v| differences(&Json::Object(key.clone()), v, "").is_empty()).collect();
        match candidates.as_slice() {
            [] => problems.push(format!("{at}: no such verdict: {}", Json::Object(key))),
            candidates => {
                let found = candidates.iter().map(|c| differences(wanted, c, &at)).min_by_key(Vec::len);
                problems.extend(found.unwrap_or_default());
            }
        }
    }
    problems
}

/// Puts the given samples in the place of the metrics' collectors.
fn stand_in(agreement: &mut Agreement, given: &BTreeMap<String, Given>) -> Result<HashMap<String, Service>, String> {
    let mut services = HashMap::new();
    for (id, given) in given {
        let Some(metric) = agreement.metrics.get_mut(id) else {
            return Err(format!("samples.{id}: the agreement has no such metric"));
        };
        let path = format!("test.samples.{id}");
        metric.collector = Collector::PostGet {
            infrastructure_path: path.clone(),
            endpoint: String::new(),
            config: Json::Null,
            rounds: false,
        };
        let given = given.clone();
        let collector: InProcess = Arc::new(move |query: &Query, _body: Json| {
            let answer = answer(&given, query);
            async move { answer }.boxed()
        });
        services.insert(path, Service::InProcess(collector));
    }
    Ok(services)
}

fn answer(given: &Given, query: &Query) -> Result<Json, String> {
    let samples = match given {
        Given::Fail { fail } => return Err(fail.clone()),
        Given::Samples(samples) => samples,
    };
    let computations: Vec<Json> = samples
        .iter()
        .filter(|s| s.from.is_none_or(|from| from == query.window.from))
        .filter(|s| s.scope.as_ref().is_none_or(|scope| query.scope.covers(scope)))
        .map(|s| {
            let scope = s.scope.as_ref().unwrap_or(&query.scope);
            let mut computation = json!({
                "scope": scope,
                "period": {"from": query.window.from.to_string(), "to": query.window.to.to_string()},
                "value": s.value,
                "evidences": s.evidences,
            });
            if let Some(coverage) = &s.coverage {
                computation["coverage"] = coverage.clone();
            }
            computation
        })
        .collect();
    Ok(json!({ "computations": computations }))
}
