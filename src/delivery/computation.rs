//! States as rows of STATUS's table of computations, and requests that are as large as its backend takes.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use uuid::Uuid;

use crate::model::state::{State, Verdict};

/// Numbers of STATUS's controls, by `agreement/guarantee`.
pub type Controls = BTreeMap<String, i32>;

/// One row: what status-backend calls a computation.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Computation {
    computation_group: Uuid,
    period: Value,
    control_id: Option<i32>,
    value: bool,
    scope: Value,
    evidences: Vec<Value>,
    /// The id of the first evidence, by which the row is known again.
    #[serde(skip)]
    pub mark: String,
}

impl Computation {
    /// The row of a final verdict that is kept or not kept; `None` for others, for which STATUS has no word.
    pub fn of(state: &State, group: Uuid, controls: &Controls) -> Option<Computation> {
        let value = match state.verdict? {
            Verdict::Fulfilled => true,
            Verdict::Violated => false,
            Verdict::Unknown | Verdict::Waived | Verdict::NotApplicable => return None,
        };
        let evidences = evidences(state, value, group);
        let mark = evidences.first().and_then(|evidence| evidence["id"].as_str()).unwrap_or_default().to_owned();
        Some(Computation {
            computation_group: group,
            period: json!({"from": state.window.from.to_string(), "to": state.window.to.to_string()}),
            control_id: controls.get(&format!("{}/{}", state.agreement, state.of)).copied(),
            value,
            scope: json!(state.scope),
            evidences,
            mark,
        })
    }

    /// As JSON that takes at most so many bytes: evidences that do not fit give way to one that says so. `None` when not
    /// even that fits.
    fn within(&self, bytes_max: usize) -> Option<String> {
        let whole = text(self);
        if whole.len() <= bytes_max {
            return Some(whole);
        }
        let cut = Computation {
            evidences: vec![json!({
                "id": self.mark, "key": "evidences",
                "value": format!("{} evidences are left out: {} bytes are more than a request may have", self.evidences.len(), whole.len()),
                "result": self.value,
            })],
            ..self.clone()
        };
        Some(text(&cut)).filter(|cut| cut.len() <= bytes_max)
    }
}

fn text(row: &Computation) -> String {
    serde_json::to_string(row).expect("text keys and no failing serialisers")
}

/// STATUS makes the compliance of a computation from its evidences: the share of those whose `result` is true. What a
/// source gave in that form is passed on; otherwise there is one for each metric, with the verdict as its result.
fn evidences(state: &State, value: bool, group: Uuid) -> Vec<Value> {
    let given = state.evidence.iter().flat_map(|piece| match &piece.data {
        Value::Array(items) => items.iter().collect(),
        other => vec![other],
    });
    let given: Vec<&Value> = given.filter(|data| data["result"].is_boolean()).collect();
    let id = |number: usize| mark(state, group, number).to_string();
    if !given.is_empty() {
        let with_id = |(number, data): (usize, &Value)| {
            let mut data = data.clone();
            // Ours in place of the source's: the same evidence may stand under several verdicts.
            data["id"] = json!(id(number));
            if data.get("key").is_none() {
                data["key"] = json!(state.of);
            }
            data
        };
        return given.into_iter().enumerate().map(with_id).collect();
    }
    let of_metric = |(number, (name, measured)): (usize, (&String, &Option<f64>))| json!({"id": id(number), "key": name, "value": measured, "result": value});
    let of_metrics: Vec<Value> = state.values.iter().enumerate().map(of_metric).collect();
    if of_metrics.is_empty() {
        return vec![json!({"id": id(0), "key": state.of, "value": state.value, "result": value})];
    }
    of_metrics
}

/// The id of an evidence: the same whenever the same state is told in the same group.
fn mark(state: &State, group: Uuid, number: usize) -> Uuid {
    let mut hash = Sha256::new();
    for part in [&state.agreement, &state.of, &state.scope.canonical()] {
        hash.update((part.len() as u64).to_le_bytes());
        hash.update(part);
    }
    hash.update(group.as_bytes());
    hash.update(state.window.from.as_microsecond().to_le_bytes());
    hash.update(state.window.to.as_microsecond().to_le_bytes());
    hash.update((number as u64).to_le_bytes());
    let mut bytes = [0; 16];
    bytes.copy_from_slice(&hash.finalize()[..16]);
    uuid::Builder::from_custom_bytes(bytes).into_uuid()
}

/// A request, and how far it goes.
#[derive(Clone, Debug, PartialEq)]
pub struct Post {
    pub body: String,
    /// Rows of those given that are told with it, from the front.
    pub rows: usize,
    /// By which its first row is known again.
    pub mark: String,
}

/// What comes around the rows of a request.
const AROUND: usize = "{\"computations\":[],\"done\":false}".len();

/// As many of the rows, from the front, as fit into a request; `whole`: these are the last ones of their group.
///
/// # Errors
/// A row that does not fit into any request.
pub fn post(rows: &[Computation], bytes_max: usize, whole: bool) -> Result<Post, String> {
    let mut body = String::from("{\"computations\":[");
    let mut taken = 0;
    for row in rows {
        let Some(row) = row.within(bytes_max.saturating_sub(AROUND)) else {
            if taken > 0 {
                break;
            }
            return Err(format!(
                "a row with its scope has more than the {bytes_max} bytes a request may have (delivery.body_bytes_max)"
            ));
        };
        if taken > 0 && body.len() + 1 + row.len() + "],\"done\":false}".len() > bytes_max {
            break;
        }
        if taken > 0 {
            body.push(',');
        }
        body.push_str(&row);
        taken += 1;
    }
    body.push_str(if whole && taken == rows.len() { "],\"done\":true}" } else { "],\"done\":false}" });
    let mark = rows.first().map(|row| row.mark.clone()).unwrap_or_default();
    Ok(Post { body, rows: taken, mark })
}
