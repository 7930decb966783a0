//! CSV by RFC 4180, as Node-RED's `lib/csv` reads and writes it.

use arcstr::ArcStr;

use super::cells::{entries, own, quoted, rfc_number, rows_of, text_of};
use super::{Part, Rows, Settings, Written};
use crate::model::{Msg, Object, Value};

/// Column names; `None` stands where nothing stood between two commas.
#[derive(Clone)]
pub(super) struct Template(Vec<Option<ArcStr>>);

impl Template {
    /// What a durable run keeps of it.
    pub(super) fn kept(&self) -> Value {
        Value::array(self.0.iter().map(|name| name.clone().map_or(Value::Null, Value::from)).collect())
    }

    /// What [`Template::kept`] kept.
    pub(super) fn restored(kept: &Value) -> Option<Template> {
        let name = |kept: &Value| kept.as_str().map(ArcStr::from);
        Some(Template(kept.as_array()?.iter().map(name).collect()))
    }

    /// Names from one line of CSV, strictly read; none from anything else.
    pub(super) fn read(text: &str, sep: Option<char>) -> Result<Template, String> {
        let rows = Scan { text, sep, strict: true, one_row: false }.run(0)?.0;
        Ok(match <[_; 1]>::try_from(rows) {
            Ok([row]) => Template(row),
            Err(_) => Template(Vec::new()),
        })
    }

    fn is_empty(&self) -> bool {
        match self.0.as_slice() {
            [] => true,
            [only] => only.as_ref().is_some_and(|name| name.is_empty()),
            _ => false,
        }
    }

    /// As `msg.columns` says them: commas, quoted where needed, without nameless ones.
    fn text(&self) -> ArcStr {
        let names: Vec<String> = self.0.iter().flatten().filter(|n| !n.is_empty()).map(|n| quoted(n, ",")).collect();
        names.join(",").into()
    }
}

type Row = Vec<Option<ArcStr>>;

struct Scan<'a> {
    text: &'a str,
    sep: Option<char>,
    /// Quotes inside a cell, and text after one, are errors.
    strict: bool,
    /// Stops after a line.
    one_row: bool,
}

/// A row on its way.
#[derive(Default)]
struct RowReading {
    cells: Row,
    cell: String,
}

impl RowReading {
    /// `untouched`: nothing at all stood there.
    fn end_cell(&mut self, untouched: bool) {
        let cell = std::mem::take(&mut self.cell);
        self.cells.push(if cell.is_empty() && untouched { None } else { Some(cell.into()) });
    }

    fn end(&mut self, rows: &mut Vec<Row>) {
        if !self.cell.is_empty() {
            self.end_cell(false);
        }
        if !self.cells.is_empty() {
            rows.push(std::mem::take(&mut self.cells));
        }
    }
}

impl Scan<'_> {
    /// The rows from this byte on, and where reading stopped.
    fn run(&self, mut at: usize) -> Result<(Vec<Row>, usize), String> {
        let (mut rows, mut row) = (Vec::new(), RowReading::default());
        let (mut untouched, mut in_quote, mut closed) = (true, false, false);
        while let Some(c) = self.text[at..].chars().next() {
            let next = self.text[at + c.len_utf8()..].chars().next();
            if in_quote {
                untouched = false;
                closed = c == '"' && next != Some('"');
                in_quote = !closed;
                at += c.len_utf8() + usize::from(c == '"' && !closed);
                if !closed {
                    row.cell.push(c);
                }
            } else if Some(c) == self.sep {
                row.end_cell(untouched);
                at += c.len_utf8();
                (untouched, closed) = (true, false);
            } else if c == '"' && untouched {
                (in_quote, untouched, closed) = (true, false, false);
                at += 1;
            } else if c == '"' {
                if self.strict {
                    return Err(format!("Quote found in the middle of an unquoted field, at {at}"));
                }
                at += 1;
                // A quote that ends a cell is left out; two are one.
                if next.is_some_and(|n| !matches!(n, '\n' | '\r') && Some(n) != self.sep) {
                    row.cell.push('"');
                    at += usize::from(next == Some('"'));
                }
            } else if matches!(c, '\n' | '\r') {
                row.end(&mut rows);
                at += 1 + usize::from(next == Some('\n'));
                (untouched, closed) = (true, false);
                if self.one_row {
                    break;
                }
            } else if closed && self.strict {
                return Err(format!("Data found after closing quote, at {at}"));
            } else if closed {
                // Back to the quote, which was none.
                at -= 1;
                closed = false;
            } else {
                row.cell.push(c);
                untouched = false;
                at += c.len_utf8();
            }
        }
        if self.strict && in_quote {
            return Err("Missing quote, unclosed cell".into());
        }
        row.end(&mut rows);
        Ok((rows, at))
    }
}

/// Where the lines to skip end; `None` when there is nothing after them.
fn skipped(text: &str, mut lines: usize) -> Option<usize> {
    let mut at = 0;
    while lines > 0 {
        let end = text[at..].find(['\n', '\r'])? + at;
        at = end + if text[end..].starts_with("\r\n") { 2 } else { 1 };
        lines -= 1;
    }
    (at < text.len()).then_some(at)
}

/// The rows; `None` when all of the text is skipped.
pub(super) fn read(
    settings: &Settings,
    template: &mut Template,
    text: &str,
    part: &Part,
) -> Result<Option<Rows>, String> {
    let line = if part.parts.is_some() && part.index > 0.0 { part.index as usize } else { 0 };
    let mut first = part.parts.is_none() || part.index.is_nan() || part.index <= settings.skip as f64;
    let Some(mut at) = (if line < settings.skip { skipped(text, settings.skip - line) } else { Some(0) }) else {
        return Ok(None);
    };
    first |= part.parts.is_some() && settings.multi && super::line_ends(&text[at..]) > 1;
    let sep = settings.sep_char;
    if first && settings.header_in {
        let (rows, end) = Scan { text, sep, strict: true, one_row: true }.run(at)?;
        (*template, at) = (Template(rows.into_iter().next().unwrap_or_default()), end);
    }
    let rows = Scan { text, sep, strict: false, one_row: false }.run(at)?.0;
    let names = match (template.is_empty(), rows.first()) {
        (false, _) => template.clone(),
        (true, Some(first)) => Template((1..=first.len()).map(|i| Some(arcstr::format!("col{i}"))).collect()),
        (true, None) => Template(Vec::new()),
    };
    let rows = rows.into_iter().map(|row| object(settings, &names, row)).filter(|row| !row.is_empty());
    Ok(Some(Rows { rows: rows.map(Value::from).collect(), columns: names.text() }))
}

fn object(settings: &Settings, names: &Template, row: Row) -> Object {
    let mut object = Object::with_capacity(names.0.len());
    let mut cells = row.into_iter();
    for name in &names.0 {
        let cell = cells.next().flatten();
        let Some(name) = name.as_ref().filter(|n| !n.is_empty()) else { continue };
        match cell {
            None if !settings.keep_null => {}
            None => drop(object.insert(name.clone(), Value::Null)),
            Some(text) if text.is_empty() && !settings.keep_empty => {}
            Some(text) => match rfc_number(&text).filter(|_| settings.numbers) {
                Some(n) => drop(object.insert(name.clone(), n)),
                None => drop(object.insert(name.clone(), text)),
            },
        }
    }
    object
}

pub(super) fn write(
    settings: &Settings,
    template: &mut Template,
    msg: &Msg,
    with_header: bool,
) -> Result<Written, String> {
    let sep = settings.sep.as_str();
    let configured = Template::read(&settings.template, Some(','))?;
    let goes_on = msg.get("parts").is_some_and(|p| p.get("index").to_number() > 0.0);
    if !(configured.is_empty() && goes_on) {
        *template = configured;
    }
    let mut rows = rows_of(msg.payload());
    // A list of plain values is one row.
    if rows.first().is_some_and(|first| first.type_of() != "object") {
        rows = std::sync::Arc::new(vec![Value::Array(rows)]);
    }
    let columns = msg.get("columns").map(text_of);
    let given = || columns.as_ref().map(|columns| Template::read(columns, Some(','))).transpose();
    let mut written = Vec::with_capacity(rows.len() + 1);
    if with_header {
        if template.is_empty() {
            *template = match (given()?, rows.first()) {
                (Some(given), _) => given,
                (None, Some(first)) => keys(first),
                (None, None) => return Err("an empty array has no columns for a header".into()),
            };
        }
        let names: Vec<String> = template.0.iter().map(|n| quoted(n.as_deref().unwrap_or_default(), sep)).collect();
        written.push(names.join(sep));
    }
    let by_position = matches!(rows.first(), Some(Value::Array(_)));
    let mut guessed = false;
    for row in rows.iter() {
        let cells = if by_position {
            positional(template, row, sep)
        } else {
            if template.is_empty()
                && let Some(given) = given()?
            {
                *template = given;
            }
            if template.is_empty() {
                guessed = true;
                *template = keys(row);
                let names = rows.first().map(entries).unwrap_or_default();
                let cells = names.iter().filter_map(|(name, _)| own(row, name)).filter(|c| c.type_of() != "object");
                let text = |c: Value| if c.is_undefined() { ArcStr::new() } else { c.to_js_string() };
                cells.map(|cell| quoted(&text(cell), sep)).collect()
            } else {
                named(template, row, sep)
            }
        };
        written.push(cells.join(sep));
    }
    Ok(Written { rows: written, columns: template.text(), guessed })
}

fn keys(row: &Value) -> Template {
    Template(entries(row).into_iter().map(|(key, _)| Some(key)).collect())
}

fn cell_text(cell: &Value, sep: &str) -> String {
    if cell.is_undefined() { String::new() } else { quoted(&text_of(cell), sep) }
}

/// A row that is an array; cells of nameless columns are empty.
fn positional(template: &Template, row: &Value, sep: &str) -> Vec<String> {
    if template.is_empty() {
        return entries(row).iter().map(|(_, cell)| cell_text(cell, sep)).collect();
    }
    let cells = template.0.iter().enumerate();
    let is_named = |name: &Option<ArcStr>| name.as_ref().is_some_and(|n| !n.is_empty());
    cells
        .map(|(i, name)| if is_named(name) { cell_text(&row.get(&i.to_string()), sep) } else { String::new() })
        .collect()
}

/// A row that is an object.
fn named(template: &Template, row: &Value, sep: &str) -> Vec<String> {
    let cell = |name: &Option<ArcStr>| match name {
        Some(name) if !name.is_empty() => cell_text(&own(row, name).unwrap_or_default(), sep),
        _ => String::new(),
    };
    template.0.iter().map(cell).collect()
}
