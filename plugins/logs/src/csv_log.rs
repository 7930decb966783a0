//! Rows of CSV files, and logs with one event per row.

use std::collections::HashMap;

use serde_json::{Map, Value, json};

use crate::{Unreadable, xes};

/// The columns of a log that name the case, the activity and the time.
pub struct Columns<'c> {
    pub case: &'c str,
    pub activity: &'c str,
    pub timestamp: &'c str,
}

/// The rows of a CSV file (RFC 4180) with a header, as objects of texts. Blanks around a field are cut off, blank lines
/// passed over. All rows that are shorter or longer than the header are named in one error.
pub fn rows(text: &str, delimiter: u8) -> Result<Vec<Map<String, Value>>, Unreadable> {
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
        rows.push(names.iter().cloned().zip(record.iter().map(Value::from)).collect());
    }
    if across_lines && text.bytes().filter(|byte| *byte == b'"').count() % 2 == 1 {
        problems.push("a quote is opened and never closed".to_owned());
    }
    let more = problems.len().saturating_sub(10);
    problems.truncate(10);
    if more > 0 {
        problems.push(format!("and {more} more"));
    }
    if problems.is_empty() { Ok(rows) } else { Err(Unreadable::new(problems.join("; "))) }
}

/// The traces of a log whose rows are events, cases in the order of their first events.
pub fn log(rows: &[Map<String, Value>], columns: &Columns<'_>) -> Result<Value, Unreadable> {
    let mut traces: Vec<(String, Vec<Value>)> = Vec::new();
    let mut places: HashMap<String, usize> = HashMap::new();
    for (index, row) in rows.iter().enumerate() {
        let cell = |column: &str| row.get(column).and_then(Value::as_str);
        let needed = |column: &str| {
            cell(column).filter(|value| !value.is_empty()).ok_or_else(|| {
                let names = row.keys().cloned().collect::<Vec<_>>().join(", ");
                Unreadable::new(format!("row {} has no {column}; the columns are {names}", index + 1))
            })
        };
        let (case, activity, time) = (needed(columns.case)?, needed(columns.activity)?, needed(columns.timestamp)?);
        let known = [columns.case, columns.activity, columns.timestamp];
        let mut texts = vec![("concept:name", activity)];
        let rest = row.iter().filter(|(name, _)| !known.contains(&name.as_str()));
        texts.extend(rest.filter_map(|(name, value)| Some((name.as_str(), value.as_str()?))));
        let event = Value::Object(xes::attributes(&texts, &[("time:timestamp", time)]));
        let place = *places.entry(case.to_owned()).or_insert_with(|| {
            traces.push((case.to_owned(), Vec::new()));
            traces.len() - 1
        });
        traces[place].1.push(event);
    }
    let traces: Vec<Value> = traces
        .into_iter()
        .map(|(case, events)| {
            let mut trace = xes::attributes(&[("concept:name", &case)], &[]);
            trace.insert("event".to_owned(), Value::Array(events));
            Value::Object(trace)
        })
        .collect();
    Ok(json!({ "trace": traces }))
}
