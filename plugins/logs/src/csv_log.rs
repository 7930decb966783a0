//! Rows of CSV files, and logs with one event per row.

use std::collections::HashMap;

use serde_json::{Map, Value};

use crate::traces::{List, written};
use crate::{Unreadable, xes};

/// The columns of a log that name the case, the activity and the time.
pub struct Columns<'c> {
    pub case: &'c str,
    pub activity: &'c str,
    pub timestamp: &'c str,
}

/// The rows of a CSV file below its header.
pub struct Table {
    names: Vec<String>,
    rows: Vec<csv::StringRecord>,
}

impl Table {
    /// Each row as an object of texts.
    pub fn rows(&self) -> impl Iterator<Item = Map<String, Value>> {
        self.rows.iter().map(|row| self.object(row))
    }

    fn object(&self, row: &csv::StringRecord) -> Map<String, Value> {
        self.names.iter().cloned().zip(row.iter().map(Value::from)).collect()
    }
}

/// Reads a CSV file (RFC 4180) with a header. Blanks around a field are cut off, blank lines passed over. All rows that are
/// shorter or longer than the header are named in one error.
pub fn table(text: &str, delimiter: u8) -> Result<Table, Unreadable> {
    let mut builder = csv::ReaderBuilder::new();
    let builder = builder.delimiter(delimiter).has_headers(false).flexible(true).trim(csv::Trim::All);
    let mut reader = builder.from_reader(text.as_bytes());
    let (mut header, mut rows, mut problems) = (None::<Vec<String>>, Vec::new(), Vec::new());
    let mut across_lines = false;
    for record in reader.records() {
        let record = record.map_err(|error| Unreadable::new(format!("the CSV is broken: {error}")))?;
        if record.iter().all(str::is_empty) && record.len() <= 1 {
            continue;
        }
        across_lines |= record.iter().any(|field| field.contains('\n'));
        let line = record.position().map_or(0, csv::Position::line);
        let Some(names) = &header else {
            header = Some(record.iter().map(str::to_owned).collect());
            continue;
        };
        let surplus = record.iter().skip(names.len()).any(|field| !field.is_empty());
        if record.len() < names.len() || surplus {
            problems.push(format!("line {line} has {} fields, the header {}", record.len(), names.len()));
            continue;
        }
        rows.push(record);
    }
    if across_lines && text.bytes().filter(|byte| *byte == b'"').count() % 2 == 1 {
        problems.push("a quote is opened and never closed".to_owned());
    }
    let more = problems.len().saturating_sub(10);
    problems.truncate(10);
    if more > 0 {
        problems.push(format!("and {more} more"));
    }
    match problems.is_empty() {
        true => Ok(Table { names: header.unwrap_or_default(), rows }),
        false => Err(Unreadable::new(problems.join("; "))),
    }
}

/// What a row must have, of the columns that were named.
struct Event<'r> {
    case: &'r str,
    activity: &'r str,
    time: &'r str,
}

fn event<'r>(row: &'r Map<String, Value>, number: usize, columns: &Columns<'_>) -> Result<Event<'r>, Unreadable> {
    let needed = |column: &str| {
        row.get(column).and_then(Value::as_str).filter(|value| !value.is_empty()).ok_or_else(|| {
            let names = row.keys().cloned().collect::<Vec<_>>().join(", ");
            Unreadable::new(format!("row {number} has no {column}; the columns are {names}"))
        })
    };
    Ok(Event { case: needed(columns.case)?, activity: needed(columns.activity)?, time: needed(columns.timestamp)? })
}

/// The log whose events are the rows, JSON text; cases in the order of their first events.
pub fn log(table: &Table, columns: &Columns<'_>) -> Result<String, Unreadable> {
    let mut cases: Vec<(String, Vec<usize>)> = Vec::new();
    let mut places: HashMap<String, usize> = HashMap::new();
    for (at, row) in table.rows().enumerate() {
        let case = event(&row, at + 1, columns)?.case;
        let place = *places.entry(case.to_owned()).or_insert_with(|| {
            cases.push((case.to_owned(), Vec::new()));
            cases.len() - 1
        });
        cases[place].1.push(at);
    }
    let known = [columns.case, columns.activity, columns.timestamp];
    let mut traces = List::with_capacity(table.rows.iter().map(|row| row.as_slice().len()).sum());
    for (case, rows) in cases {
        let mut events = List::with_capacity(0);
        for at in rows {
            let row = table.object(&table.rows[at]);
            let Event { activity, time, .. } = event(&row, at + 1, columns)?;
            let mut texts = vec![("concept:name", activity)];
            let rest = row.iter().filter(|(name, _)| !known.contains(&name.as_str()));
            texts.extend(rest.filter_map(|(name, value)| Some((name.as_str(), value.as_str()?))));
            events.push(&written(&Value::Object(xes::attributes(&texts, &[("time:timestamp", time)])))?);
        }
        traces.push(&events.in_object(xes::attributes(&[("concept:name", &case)], &[]), "event")?);
    }
    traces.in_log(Map::new())
}
