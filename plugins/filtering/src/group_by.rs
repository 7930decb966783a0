//! `group-by`: the rows of a run as lists, by the value of a property.

use std::collections::BTreeMap;

use probity_sdk::Map;
use probity_sdk::prelude::*;
use serde::{Deserialize, Serialize};
use status_conventions::value::{kind, shown};

/// Groups rows by the value of a property.
///
/// Each message of a run brings one row as `msg.payload`. When the last one has come its message is sent on, with
/// `msg.payload` an object of lists, one per value, in the order of the rows. Which is the last:
///
/// - `msg.parts.count` is the number of rows, if they are the elements of a list (*split*);
/// - else `msg.len` is the number of lines of a CSV file: the rows and one for the header;
/// - else `msg.parts.count` is the number of rows;
/// - else it is the row before a message with `msg.complete` (*csv-reader*), which repeats the last row;
/// - else, where a caller waits, the groups are sent when the run has nothing left to do.
///
/// A list as payload is grouped at once. Rows belong together by run and `msg.parts.id`: two callers never mix, and after
/// the last row the next batch begins. If a run ends before all announced rows came, that is an error.
///
/// A row in which the property is missing or null belongs to no group; such rows are in `msg.ungrouped`. Texts, numbers,
/// true and false name their group, lists and objects by their JSON.
///
/// A caller may send `property` in the body of the request.
#[derive(Clone, Config)]
pub struct GroupBy {
    /// Property of the rows whose value names the group.
    #[config(label = "Property", default = "")]
    property: String,
}

/// The rows that have come of one batch.
#[derive(Clone, Default, Serialize, Deserialize)]
struct Batch {
    /// Rows that have got a number.
    taken: usize,
    /// Rows that are in the state.
    stored: usize,
    /// How many there will be, if somebody said so.
    total: Option<usize>,
}

type Batches = BTreeMap<String, Batch>;

/// Where the batches of a run are in the state.
const BATCHES: &str = "batches";

#[node(
    type = "group-by",
    category = "filtering",
    color = "#DDAA99",
    icon = "fa-object-group",
    wants = ["payload", "req", "len", "parts", "complete", "index"],
    capabilities = ["state"]
)]
impl Node for GroupBy {
    fn process(&self, mut msg: Message, cx: &Context) -> Result<()> {
        let config = self.over(&msg)?;
        ensure!(!config.property.is_empty(), "No property specified to group by.");
        if msg.payload().is_array() {
            let Value::Array(rows) = msg.payload_mut().take() else { return Ok(()) };
            return config.send(msg, cx, rows);
        }
        let batch = batch(&msg);
        let total = total(&msg)?;
        if total == Some(0) {
            let none = msg.payload().as_object().is_some_and(Map::is_empty);
            ensure!(none, "msg.len or msg.parts.count says that there are no rows, yet one came");
            return config.send(msg, cx, Vec::new());
        }
        let complete = msg.get("complete") == Some(&Value::Bool(true));
        let seen = if complete { repeated(&msg, cx, &batch)? } else { None };
        let stored = match seen {
            Some(stored) => stored,
            None => {
                let row = msg.payload();
                ensure!(
                    row.is_object(),
                    "msg.payload is {}: a row was expected, an object or a list of them",
                    kind(row)
                );
                store(row, cx, &batch, total)?
            }
        };
        if total == Some(stored) || (complete && total.is_none()) {
            let rows = take(cx, &batch)?;
            return config.send(msg, cx, rows);
        }
        Ok(())
    }

    fn run_end(&self, last: Message, cx: &Context) -> Result<()> {
        // Runs nobody waits for share their state: one run's end is not the end of the rows.
        if !last.has_caller() {
            return Ok(());
        }
        let config = self.over(&last)?;
        let open: Option<Batches> = cx.run_state().get(BATCHES)?;
        for (batch, so_far) in open.unwrap_or_default() {
            let rows = take(cx, &batch)?;
            if let Some(total) = so_far.total {
                let came = rows.len();
                bail!("the run ended after {came} of {total} rows (msg.len or msg.parts.count): they are not grouped");
            }
            config.send(last.clone(), cx, rows)?;
        }
        Ok(())
    }
}

impl GroupBy {
    fn send(&self, mut msg: Message, cx: &Context, rows: Vec<Value>) -> Result<()> {
        let (mut groups, mut ungrouped) = (Map::new(), Vec::new());
        for row in rows {
            match row.get(&self.property) {
                None | Some(Value::Null) => ungrouped.push(row),
                Some(value) => {
                    let name = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
                    match groups.entry(name).or_insert_with(|| json!([])) {
                        Value::Array(group) => group.push(row),
                        other => bail!("a group is {}", kind(other)),
                    }
                }
            }
        }
        if !ungrouped.is_empty() {
            msg.set("ungrouped", ungrouped);
        }
        msg.set_payload(groups);
        cx.emit(0, msg)
    }
}

/// What tells the batches of one run apart.
fn batch(msg: &Message) -> String {
    match msg.at("parts.id") {
        Some(Value::String(id)) => id.clone(),
        Some(other) if !other.is_null() => other.to_string(),
        _ => String::new(),
    }
}

/// How many rows there will be.
fn total(msg: &Message) -> Result<Option<usize>> {
    let number = |value: &Value| match value {
        Value::Number(number) => number.as_u64(),
        Value::String(text) => text.trim().parse().ok(),
        _ => None,
    };
    let count = msg.at("parts.count").and_then(number);
    // A list has no line for a header.
    let of_list = count.is_some() && msg.at("parts.type").and_then(Value::as_str) == Some("array");
    if let Some(len) = msg.get("len").filter(|len| !len.is_null() && !of_list) {
        let lines = number(len).filter(|lines| *lines > 0);
        let what = || format!("msg.len is {}: the number of lines of a CSV file was expected, 1 or more", shown(len));
        return Ok(Some(usize::try_from(lines.context(what())? - 1)?));
    }
    Ok(count.map(usize::try_from).transpose()?)
}

/// How many rows are there, if the last message only repeats the last of them, as `csv-reader` does.
fn repeated(msg: &Message, cx: &Context, batch: &str) -> Result<Option<usize>> {
    let so_far: Option<Batches> = cx.run_state().get(BATCHES)?;
    let stored = so_far.and_then(|all| all.get(batch).map(|batch| batch.stored)).unwrap_or_default();
    let index = msg.get("index").and_then(Value::as_u64).and_then(|index| usize::try_from(index).ok());
    let repeats = index.is_some_and(|index| index < stored);
    Ok((repeats || !msg.payload().is_object()).then_some(stored))
}

/// Puts a row into the state; gives how many rows of the batch are there now.
///
/// In two steps, for parallel branches of a run: a number first, the row under it, then it counts. Whoever stores the
/// last row finds all others there.
fn store(row: &Value, cx: &Context, batch: &str, total: Option<usize>) -> Result<usize> {
    let state = cx.run_state();
    let number = state.with(BATCHES, |all: &mut Batches| {
        let batch = all.entry(batch.to_owned()).or_default();
        batch.taken += 1;
        batch.total = total.or(batch.total);
        Ok(batch.taken - 1)
    })?;
    state.set(&key(batch, number), row)?;
    state.with(BATCHES, |all: &mut Batches| {
        let batch = all.entry(batch.to_owned()).or_default();
        batch.stored += 1;
        Ok(batch.stored)
    })
}

/// Takes the rows of a batch out of the state.
fn take(cx: &Context, batch: &str) -> Result<Vec<Value>> {
    let state = cx.run_state();
    let whole = state.with(BATCHES, |all: &mut Batches| Ok(all.remove(batch).unwrap_or_default()))?;
    let mut rows = Vec::with_capacity(whole.stored);
    for number in 0..whole.taken {
        rows.extend(state.get::<Value>(&key(batch, number))?);
        state.delete(&key(batch, number));
    }
    Ok(rows)
}

fn key(batch: &str, number: usize) -> String {
    format!("row {number} {batch}")
}
