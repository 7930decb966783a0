//! What an evaluation would ask and judge, without asking anybody.

use serde::Serialize;
use serde_json::Value;

use super::{EvaluateError, Evaluator, Request, Service, known_guarantee};
use crate::agreement::queries::collector_request;
use crate::model::agreement::{Collector, FlowEntry, Metric};
use crate::model::state::{Scope, Window};

/// The plan of an evaluation, for people and programs.
#[derive(Clone, Debug, Serialize)]
pub struct DryRun {
    pub agreement: String,
    /// What would be asked, each thing once.
    pub asks: Vec<Ask>,
    /// What would be judged from the answers.
    pub judges: Vec<Judges>,
}

/// One question to a source.
#[derive(Clone, Debug, Serialize)]
pub struct Ask {
    pub metric: String,
    pub scope: Scope,
    pub window: Window,
    /// Who would be asked: `POST <url>`, a flow; passwords in URLs are left out.
    pub source: String,
    /// Why nobody can be asked; the metric would have no value.
    pub problem: Option<String>,
    /// The body that would be sent.
    pub body: Value,
}

/// One term in one window.
#[derive(Clone, Debug, Serialize)]
pub struct Judges {
    pub guarantee: String,
    pub scope: Scope,
    pub objective: String,
    pub window: Window,
    /// Indices into [`DryRun::asks`].
    pub asks: Vec<usize>,
}

impl Evaluator {
    /// What [`Evaluator::run`] would ask and judge for this request.
    ///
    /// # Errors
    /// As [`Evaluator::run`], before anything is asked.
    pub fn dry_run(&self, request: &Request) -> Result<DryRun, EvaluateError> {
        let agreement = &request.agreement;
        if let Some(guarantee) = &request.guarantee {
            known_guarantee(agreement, guarantee)?;
        }
        let plan = self.plan(request)?;
        let ask = |query: &crate::agreement::queries::Query| {
            let metric = agreement.metrics.get(&query.metric);
            let (source, problem) =
                metric.map_or((String::new(), Some("the agreement has no such metric".into())), |m| self.source(m));
            Ask {
                metric: query.metric.clone(),
                scope: query.scope.clone(),
                window: query.window.clone(),
                source,
                problem,
                body: metric.map_or(Value::Null, |m| collector_request(query, m)),
            }
        };
        let judges = |j: &crate::agreement::queries::Judgement| {
            let guarantee = &agreement.guarantees[j.guarantee];
            let term = &guarantee.terms[j.term];
            Judges {
                guarantee: guarantee.id.clone(),
                scope: term.scope.clone(),
                objective: term.objective.text.trim().to_owned(),
                window: j.window.clone(),
                asks: j.queries.clone(),
            }
        };
        Ok(DryRun {
            agreement: agreement.id.clone(),
            asks: plan.queries.iter().map(ask).collect(),
            judges: plan.judgements.iter().map(judges).collect(),
        })
    }

    fn source(&self, metric: &Metric) -> (String, Option<String>) {
        match &metric.collector {
            Collector::Unsupported { reason } => ("nobody".into(), Some(reason.clone())),
            Collector::Flow { entry: FlowEntry::Http { path }, .. } => (format!("flow at {path}"), None),
            Collector::Flow { entry: FlowEntry::Metric { name }, .. } => (format!("flow metric {name}"), None),
            Collector::PostGet { infrastructure_path: path, endpoint, .. } => {
                let base = match self.services.get(path) {
                    Some(Service::InProcess(_)) => return (path.clone(), None),
                    Some(Service::Url(base)) => base,
                    None if path.contains("://") => path,
                    None => {
                        let problem = format!("no service is configured for \"{path}\" ([collectors.services])");
                        return (format!("{path} {endpoint}"), Some(problem));
                    }
                };
                let base = without_login(base);
                (format!("POST {}/{}", base.trim_end_matches('/'), endpoint.trim_start_matches('/')), None)
            }
        }
    }
}

/// A URL without the user and password that may stand in it.
fn without_login(url: &str) -> String {
    match url::Url::parse(url) {
        Ok(mut url) => {
            let _kept = url.set_username("").is_ok() && url.set_password(None).is_ok();
            url.to_string()
        }
        Err(_) => "an address that is no URL".into(),
    }
}
