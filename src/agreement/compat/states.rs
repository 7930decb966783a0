//! States as the Governify Registry makes them of what its collectors answer: metrics joined where scope and period
//! are equal, a metric without computation taken for 0, `"NaN"` and `""` passed over, evidence in the order of `with`.
//!
//! What the Registry does by mistake and nobody can want (documents run as code, a coarser scope's records in a
//! finer one's state) is not done here; `docs/governify.md` lists it.

use std::collections::HashMap;

use serde_json::{Map, Value, json};

use super::loose::{self, Loose};
use crate::agreement::collector::canonical;
use crate::agreement::queries::{Query, iso};
use crate::model::agreement::{Agreement, Guarantee, Term};

/// What one metric's source answered: the JSON as it came, or why there is none.
pub type Answer = Result<Value, String>;

/// Appends the states of one term to `out`, as the Registry prints them: `stateType`, `agreementId`, `id`, `scope`,
/// `period`, `value`, `metrics`, `evidences`. `answers` has one entry for each metric of the term's `with`, in order.
/// A term without metrics has no states. Linear in the computations.
///
/// # Errors
/// One sentence for what makes the Registry give up the whole guarantee: a failed or empty answer, a value that is
/// none.
pub fn term_states(
    agreement: &Agreement,
    guarantee: &Guarantee,
    term: &Term,
    answers: &[(&Query, &Answer)],
    out: &mut Vec<Value>,
) -> Result<(), String> {
    let mut rows: Vec<Row<'_>> = Vec::new();
    let mut places: HashMap<String, usize> = HashMap::new();
    let computations: Vec<Vec<Computation<'_>>> =
        answers.iter().map(|(query, answer)| computations(query, answer)).collect::<Result<_, _>>()?;
    for (metric, computations) in computations.iter().enumerate() {
        for computation in computations {
            let place = *places.entry(computation.timed_scope()).or_insert_with(|| {
                rows.push(Row { first: computation, cells: vec![None; answers.len()] });
                rows.len() - 1
            });
            rows[place].cells[metric] = Some(computation);
        }
    }
    for row in &rows {
        if let Some(state) = row.state(agreement, guarantee, term, answers)? {
            out.push(state);
        }
    }
    Ok(())
}

/// One computation of an answer.
#[derive(Debug)]
struct Computation<'a> {
    scope: Option<&'a Value>,
    /// As it came, or the query's own when a flow of ours did not name one.
    period: Option<Value>,
    value: Option<&'a Value>,
    evidences: Vec<&'a Value>,
}

impl Computation<'_> {
    fn timed_scope(&self) -> String {
        let text = |part: Option<&Value>| part.map(canonical).unwrap_or_default();
        format!("{}\u{0}{}", text(self.scope), text(self.period.as_ref()))
    }
}

fn computations<'a>(query: &Query, answer: &'a Answer) -> Result<Vec<Computation<'a>>, String> {
    let answer = answer.as_ref().map_err(|reason| format!("{} has no value: {reason}", query.metric))?;
    let list = match answer {
        Value::Object(map) => match map.get("computations") {
            Some(Value::Array(list)) => list.as_slice(),
            // What flows of ours may answer, too: one computation.
            None if map.contains_key("value") => std::slice::from_ref(answer),
            _ => return Err(format!("the answer for {} has no list of computations", query.metric)),
        },
        Value::Array(list) => list.as_slice(),
        _ => std::slice::from_ref(answer),
    };
    if list.is_empty() {
        return Err(format!("the collector of {} returned no computation", query.metric));
    }
    Ok(list.iter().map(|computation| read(query, computation)).collect())
}

fn read<'a>(query: &Query, computation: &'a Value) -> Computation<'a> {
    let own_period = || json!({ "from": iso(query.window.from), "to": iso(query.window.to) });
    let Value::Object(map) = computation else {
        return Computation {
            scope: None,
            period: Some(own_period()),
            value: Some(computation),
            evidences: Vec::new(),
        };
    };
    let evidences = match map.get("evidences") {
        Some(Value::Array(list)) => list.iter().collect(),
        None | Some(Value::Null) => Vec::new(),
        Some(single) => vec![single],
    };
    Computation {
        scope: map.get("scope"),
        period: Some(map.get("period").cloned().unwrap_or_else(own_period)),
        value: map.get("value"),
        evidences,
    }
}

/// A timed scope with a cell for every metric.
struct Row<'a> {
    first: &'a Computation<'a>,
    cells: Vec<Option<&'a Computation<'a>>>,
}

impl Row<'_> {
    /// `None` when the Registry passes the timed scope over.
    fn state(
        &self,
        agreement: &Agreement,
        guarantee: &Guarantee,
        term: &Term,
        answers: &[(&Query, &Answer)],
    ) -> Result<Option<Value>, String> {
        let mut metrics = Map::new();
        let mut values: Vec<(&str, Loose<'_>)> = Vec::with_capacity(self.cells.len());
        let mut evidences = Vec::new();
        for ((query, _), cell) in answers.iter().zip(&self.cells) {
            let name = query.metric.as_str();
            let Some(computation) = cell else {
                metrics.insert(name.to_owned(), json!(0));
                values.push((name, Loose::Number(0.0)));
                continue;
            };
            if computation.value.and_then(Value::as_str).is_some_and(|text| text == "NaN" || text.is_empty()) {
                return Ok(None);
            }
            let value = loose::metric_value(computation.value).map_err(|problem| format!("{name} {problem}"))?;
            values.push((name, value));
            // JSON has no `undefined`: the metric is left out, as the Registry's answer leaves it out.
            if let Some(value) = computation.value {
                metrics.insert(name.to_owned(), value.clone());
            }
            evidences.extend(computation.evidences.iter().map(|data| (*data).clone()));
        }
        let lookup = |name: &str| {
            let found = values.iter().find(|(id, _)| *id == name);
            found.map_or(Loose::Undefined, |(_, value)| value.clone())
        };
        let holds = loose::holds(&term.objective.expr, &lookup);
        let mut state = Map::with_capacity(8);
        state.insert("stateType".into(), json!("guarantees"));
        state.insert("agreementId".into(), json!(agreement.id));
        state.insert("id".into(), json!(guarantee.id));
        state.insert("scope".into(), self.first.scope.cloned().unwrap_or_else(|| json!(term.scope)));
        if let Some(period) = &self.first.period {
            state.insert("period".into(), period.clone());
        }
        state.insert("value".into(), Value::Bool(holds));
        state.insert("metrics".into(), Value::Object(metrics));
        state.insert("evidences".into(), Value::Array(evidences));
        Ok(Some(Value::Object(state)))
    }
}
