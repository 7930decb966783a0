//! Node-RED's older CSV: every line end ends a row, quotes toggle, columns are guessed where there are none.

use arcstr::ArcStr;

use super::cells::{entries, legacy_number, own, rows_of, text_of};
use super::{Part, Rows, Settings, Written};
use crate::model::{Msg, Object, Value};

/// Column names as they are now.
pub(super) struct Template {
    columns: Vec<ArcStr>,
    /// False when there are none: they are then called col1, col2, ….
    good: bool,
    /// What the last list of names was separated by.
    sep: String,
}

impl Template {
    /// What a durable run keeps of it.
    pub(super) fn kept(&self) -> Value {
        let columns = self.columns.iter().map(|column| Value::from(column.clone())).collect();
        Value::array(vec![Value::array(columns), Value::from(self.good), Value::from(self.sep.as_str())])
    }

    /// What [`Template::kept`] kept.
    pub(super) fn restored(kept: &Value) -> Option<Template> {
        let columns = kept.get("0").as_array()?.iter().map(Value::to_js_string).collect();
        Some(Template { columns, good: kept.get("1").is_truthy(), sep: kept.get("2").to_js_string().to_string() })
    }

    pub(super) fn new(text: &str) -> Template {
        let mut template = Template { columns: Vec::new(), good: false, sep: ",".into() };
        template.set(text, None);
        template
    }

    /// Takes names from a text: trimmed, quotes removed.
    fn set(&mut self, text: &str, sep: Option<&str>) {
        if let Some(sep) = sep {
            self.sep = sep.into();
        }
        let names = split_outside_quotes(text.trim(), &self.sep);
        self.columns = names.iter().map(|name| ArcStr::from(name.replace('"', "").trim())).collect();
        self.good = !self.is_empty();
    }

    fn is_empty(&self) -> bool {
        match self.columns.as_slice() {
            [] => true,
            [only] => only.is_empty(),
            _ => false,
        }
    }

    /// The name of a column; `None` when it has none, and its cells are left out.
    fn column(&mut self, at: usize) -> Option<&ArcStr> {
        if !self.good {
            let name = || arcstr::format!("col{}", at + 1);
            match self.columns.get_mut(at) {
                Some(column) if column.is_empty() => *column = name(),
                Some(_) => {}
                None => self.columns.push(name()),
            }
        }
        self.columns.get(at).filter(|name| !name.is_empty())
    }

    /// As `msg.columns` says them.
    fn text(&self, with_empty: bool) -> ArcStr {
        let names = self.columns.iter().filter(|name| with_empty || !name.is_empty());
        let quoted: Vec<String> =
            names.map(|name| if name.contains(',') { format!("\"{name}\"") } else { name.to_string() }).collect();
        quoted.join(",").into()
    }
}

/// Cut at separators that an even number of quotes follows.
fn split_outside_quotes(text: &str, sep: &str) -> Vec<String> {
    let mut quotes_left = text.matches('"').count();
    let mut pieces = vec![String::new()];
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        if !sep.is_empty() && rest.starts_with(sep) && quotes_left.is_multiple_of(2) {
            pieces.push(String::new());
            rest = &rest[sep.len()..];
            continue;
        }
        quotes_left -= usize::from(c == '"');
        if let Some(piece) = pieces.last_mut() {
            piece.push(c);
        }
        rest = &rest[c.len_utf8()..];
    }
    pieces
}

/// A text on its way into rows.
struct Reading<'a> {
    settings: &'a Settings,
    template: &'a mut Template,
    rows: Vec<Value>,
    row: Object,
    column: usize,
    /// `None`: nothing stood between two separators.
    cell: Option<String>,
}

impl Reading<'_> {
    fn end_cell(&mut self) {
        let settings = self.settings;
        let cell = self.cell.take();
        let Some(name) = self.template.column(self.column).cloned() else { return };
        match cell {
            None if settings.keep_null => drop(self.row.insert(name, Value::Null)),
            None => {}
            Some(text) => match legacy_number(&text).filter(|_| settings.numbers) {
                Some(n) => drop(self.row.insert(name, n)),
                None if text.is_empty() && !settings.keep_empty => {}
                None => drop(self.row.insert(name, text)),
            },
        }
    }

    fn end_row(&mut self) {
        let row = std::mem::take(&mut self.row);
        if !row.is_empty() {
            self.rows.push(row.into());
        }
        self.column = 0;
        self.cell = Some(String::new());
    }

    fn push(&mut self, c: char) {
        self.cell.get_or_insert_default().push(c);
    }
}

/// The rows, and whether every quote was closed.
pub(super) fn read(settings: &Settings, template: &mut Template, text: &str, part: &Part) -> (Rows, bool) {
    let mut lines = if part.parts.is_some() && part.index > 0.0 { part.index as usize } else { 0 };
    let later = part.parts.is_some() && part.index > settings.skip as f64;
    let many = part.parts.is_some() && settings.multi && super::line_ends(text) > 1;
    let mut first = !later || many;
    let mut header = String::new();
    let mut outside = true;
    let sep = settings.sep_char;
    let mut reading =
        Reading { settings, template, rows: Vec::new(), row: Object::new(), column: 0, cell: Some(String::new()) };
    let mut before = None;
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        let is_end = chars.peek().is_none();
        if first && lines < settings.skip {
            lines += usize::from(c == '\n');
        } else if settings.header_in && first {
            let ends = matches!(c, '\n' | '\r');
            if !ends || is_end {
                header.push(c);
            }
            if ends || is_end {
                reading.template.set(&header, Some(&settings.sep));
                first = false;
            }
        } else if c == '"' {
            outside = !outside;
            if before == Some('"') && !outside {
                reading.push('"');
            }
        } else if Some(c) == sep && outside {
            if before.is_none() || before == sep || before == Some('\n') {
                reading.cell = None;
            }
            reading.end_cell();
            reading.column += 1;
            reading.cell = (!is_end).then(String::new);
        } else if matches!(c, '\n' | '\r') && outside {
            if before == sep && sep.is_some() {
                reading.cell = None;
            }
            reading.end_cell();
            reading.end_row();
        } else {
            reading.push(c);
        }
        before = Some(c);
    }
    reading.end_cell();
    reading.end_row();
    let rows = reading.rows;
    (Rows { rows, columns: template.text(false) }, outside)
}

/// A cell as the older way quotes it.
fn quoted(cell: &str, sep: &str) -> String {
    if cell.contains('"') {
        format!("\"{}\"", cell.replace('"', "\"\""))
    } else if cell.contains(sep) || cell.contains('\n') {
        format!("\"{cell}\"")
    } else {
        cell.to_string()
    }
}

pub(super) fn write(
    settings: &Settings,
    template: &mut Template,
    msg: &Msg,
    with_header: bool,
) -> Result<Written, String> {
    let sep = settings.sep.as_str();
    let goes_on = msg.get("parts").is_some_and(|p| p.get("index").to_number() > 0.0);
    if !(settings.template.is_empty() && goes_on) {
        template.set(&settings.template, None);
    }
    let columns = msg.get("columns").map(text_of);
    let mut rows = rows_of(msg.payload());
    let first_given = rows.first().cloned();
    // A list of plain values is one row.
    if rows.first().is_some_and(|first| first.type_of() != "object") {
        rows = std::sync::Arc::new(vec![Value::Array(rows)]);
    }
    let mut written = Vec::with_capacity(rows.len() + 1);
    if with_header {
        if template.is_empty() {
            match (&columns, &first_given) {
                (Some(columns), _) => template.set(columns, Some(",")),
                (None, Some(first)) => template.columns = entries(first).into_iter().map(|(key, _)| key).collect(),
                (None, None) => return Err("an empty array has no columns for a header".into()),
            }
        }
        let names = template.columns.iter();
        let names: Vec<String> =
            names.map(|n| if n.contains(sep) { format!("\"{n}\"") } else { n.to_string() }).collect();
        written.push(names.join(sep));
    }
    let mut guessed = false;
    for row in rows.iter() {
        let cells: Vec<String> = match row {
            Value::Array(cells) => {
                let text = |cell: &Value| if cell.is_nullish() { ArcStr::new() } else { cell.to_js_string() };
                cells.iter().map(|cell| quoted(&text(cell), sep)).collect()
            }
            row if row.type_of() != "object" => return Err(format!("a row cannot be {}", row.to_json())),
            row => {
                if let Some(columns) = columns.as_ref().filter(|_| template.is_empty()) {
                    template.set(columns, Some(","));
                }
                if template.is_empty() {
                    guessed = true;
                    let names = rows.first().map(entries).unwrap_or_default();
                    let cells = names.iter().filter_map(|(name, _)| own(row, name)).filter(|c| c.type_of() != "object");
                    let text = |c: Value| if c.is_undefined() { ArcStr::new() } else { c.to_js_string() };
                    cells.map(|cell| quoted(&text(cell), sep)).collect()
                } else {
                    let cell = |name: &ArcStr| match own(row, name).filter(|_| !name.is_empty()) {
                        None | Some(Value::Undefined) => String::new(),
                        Some(cell) => quoted(&text_of(&cell), sep),
                    };
                    template.columns.iter().map(cell).collect()
                }
            }
        };
        written.push(cells.join(sep));
    }
    Ok(Written { rows: written, columns: template.text(true), guessed })
}
