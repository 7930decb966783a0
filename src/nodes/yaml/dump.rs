//! A value to YAML text, in the styles js-yaml chooses: block collections, texts plain where they can be, else quoted,
//! literal or folded at 80 columns.

use base64::Engine as _;

use super::scalar::is_ambiguous;
use crate::model::value::{date_to_iso, number_to_string};
use crate::model::{Object, Value};

/// Columns that texts are folded at, less their indent.
const LINE_WIDTH: usize = 80;
/// However deep, this many columns remain.
const LINE_WIDTH_MIN: usize = 40;
const INDENT: usize = 2;
/// Values nested deeper are refused.
const DEPTH_MAX: usize = 512;
/// Longer keys are written as explicit ones (`? key`).
const KEY_LEN_MAX: usize = 1024;

pub(super) fn dump(value: &Value) -> Result<String, String> {
    let place = Place { level: 0, block: true, compact: true, is_key: false };
    Ok(node(value, place)?.unwrap_or_default() + "\n")
}

/// Where a node is written.
#[derive(Clone, Copy)]
struct Place {
    level: usize,
    /// Collections may be written one entry a line.
    block: bool,
    /// The first entry may stand on the line that has begun.
    compact: bool,
    is_key: bool,
}

/// `None`: nothing is written for `undefined`.
fn node(value: &Value, place: Place) -> Result<Option<String>, String> {
    if place.level > DEPTH_MAX {
        return Err(format!("values are nested deeper than {DEPTH_MAX}"));
    }
    Ok(Some(match value {
        Value::Undefined => return Ok(None),
        Value::Null => "null".into(),
        Value::Bool(b) => b.to_string(),
        Value::Number(n) => number(*n),
        Value::Date(ms) if ms.is_finite() => date_to_iso(*ms),
        Value::Date(_) => return Err("Invalid time value".into()),
        Value::String(text) => scalar(text, place),
        Value::Bytes(bytes) => {
            let text = base64::engine::general_purpose::STANDARD.encode(bytes.as_slice());
            format!("!!binary {}", scalar(&text, place))
        }
        Value::Error(_) => return Err("unacceptable kind of an object to dump [object Error]".into()),
        Value::Array(items) if items.is_empty() => "[]".into(),
        Value::Array(items) if place.block => block_sequence(items, place)?,
        Value::Array(items) => flow_sequence(items, place)?,
        Value::Object(object) => mapping(object, place)?,
        Value::Handle(handle) => match handle.object() {
            Some(object) => mapping(&object, place)?,
            None => "{}".into(),
        },
    }))
}

fn number(n: f64) -> String {
    if n.is_nan() {
        return ".nan".into();
    }
    if n.is_infinite() {
        return if n > 0.0 { ".inf" } else { "-.inf" }.into();
    }
    if n == 0.0 && n.is_sign_negative() {
        return "-0.0".into();
    }
    let text = number_to_string(n);
    // YAML wants a dot before an exponent, but js-yaml writes whole numbers as they are.
    let is_whole = n % 1.0 == 0.0;
    match text.split_once('e') {
        Some((digits, exponent)) if !is_whole && !digits.contains('.') => format!("{digits}.e{exponent}"),
        _ => text.to_string(),
    }
}

fn next_line(level: usize) -> String {
    format!("\n{}", " ".repeat(INDENT * level))
}

/// What stands before a value on its line: nothing more when it begins on the next one.
fn after(mark: &str, text: &str) -> String {
    if text.starts_with('\n') { mark.to_string() } else { format!("{mark} ") }
}

fn block_sequence(items: &[Value], place: Place) -> Result<String, String> {
    let mut out = String::new();
    for item in items {
        let place_of_item = Place { level: place.level + 1, block: true, compact: true, is_key: false };
        let text = node(item, place_of_item)?.unwrap_or_else(|| "null".into());
        if !place.compact || !out.is_empty() {
            out.push_str(&next_line(place.level));
        }
        out.push_str(&after("-", &text));
        out.push_str(&text);
    }
    Ok(out)
}

fn flow_sequence(items: &[Value], place: Place) -> Result<String, String> {
    let inside = Place { block: false, compact: false, is_key: false, ..place };
    let texts: Result<Vec<String>, String> =
        items.iter().map(|item| Ok(node(item, inside)?.unwrap_or_else(|| "null".into()))).collect();
    Ok(format!("[{}]", texts?.join(", ")))
}

fn mapping(object: &Object, place: Place) -> Result<String, String> {
    if !place.block || object.is_empty() {
        return flow_mapping(object, place);
    }
    let mut out = String::new();
    let level = place.level + 1;
    for (key, value) in object.iter() {
        let key = scalar(key, Place { level, block: true, compact: true, is_key: true });
        let explicit = key.len() > KEY_LEN_MAX;
        let Some(text) = node(value, Place { level, block: true, compact: explicit, is_key: false })? else { continue };
        if !place.compact || !out.is_empty() {
            out.push_str(&next_line(place.level));
        }
        if explicit {
            out.push_str("? ");
        }
        out.push_str(&key);
        if explicit {
            out.push_str(&next_line(place.level));
        }
        out.push_str(&after(":", &text));
        out.push_str(&text);
    }
    Ok(if out.is_empty() { "{}".into() } else { out })
}

fn flow_mapping(object: &Object, place: Place) -> Result<String, String> {
    let inside = Place { block: false, compact: false, is_key: false, ..place };
    let mut pairs = Vec::new();
    for (key, value) in object.iter() {
        if let Some(text) = node(value, inside)? {
            let key = scalar(key, inside);
            let mark = if key.len() > KEY_LEN_MAX { "? " } else { "" };
            pairs.push(format!("{mark}{key}: {text}"));
        }
    }
    Ok(format!("{{{}}}", pairs.join(", ")))
}

enum Style {
    Plain,
    Single,
    Literal,
    Folded,
    Double,
}

fn scalar(text: &str, place: Place) -> String {
    if text.is_empty() {
        return "''".into();
    }
    if is_deprecated_bool(text) || is_base_60(text) {
        return format!("'{text}'");
    }
    let indent = INDENT * place.level.max(1);
    let width = LINE_WIDTH.saturating_sub(indent).max(LINE_WIDTH_MIN);
    match style(text, place, width) {
        Style::Plain => text.to_string(),
        Style::Single => format!("'{}'", text.replace('\'', "''")),
        Style::Literal => format!("|{}{}", block_header(text), without_last_line_end(&indented(text, indent))),
        Style::Folded => {
            format!(">{}{}", block_header(text), without_last_line_end(&indented(&folded(text, width), indent)))
        }
        Style::Double => format!("\"{}\"", escaped(text)),
    }
}

fn style(text: &str, place: Place, width: usize) -> Style {
    let first = text.chars().next();
    let last = text.chars().next_back();
    let mut plain = first.is_some_and(is_plain_first) && last.is_some_and(|c| !is_white(c) && c != ':');
    let mut before = None;
    for c in text.chars() {
        if !is_printable(c) && (c != '\n' || place.is_key) {
            return Style::Double;
        }
        plain = plain && is_plain_safe(c, before, place.block);
        before = Some(c);
    }
    let foldable = |line: &str| line.encode_utf16().count() > width && !line.starts_with(' ');
    let (has_line_end, has_long_line) =
        if place.is_key { (false, false) } else { (text.contains('\n'), text.split('\n').any(foldable)) };
    match (has_line_end, has_long_line) {
        (false, false) if plain && !is_ambiguous(text) => Style::Plain,
        (false, false) => Style::Single,
        (_, true) => Style::Folded,
        (true, false) => Style::Literal,
    }
}

/// Booleans of YAML 1.1, which other readers may still take for such.
fn is_deprecated_bool(text: &str) -> bool {
    const WORDS: [&str; 6] = ["y", "yes", "on", "n", "no", "off"];
    let lower = text.to_ascii_lowercase();
    let capital = |word: &str| word[..1].to_uppercase() + &word[1..];
    WORDS.contains(&lower.as_str()) && (text == lower || text == capital(&lower) || text == lower.to_uppercase())
}

/// `/^[-+]?[0-9_]+(?::[0-9_]+)+(?:\.[0-9_]*)?$/`: numbers to base 60 of YAML 1.1.
fn is_base_60(text: &str) -> bool {
    let unsigned = text.strip_prefix(['-', '+']).unwrap_or(text);
    let is_digits = |text: &str| text.bytes().all(|b| b.is_ascii_digit() || b == b'_');
    let (whole, fraction) = unsigned.split_once('.').unwrap_or((unsigned, ""));
    whole.contains(':') && whole.split(':').all(|part| !part.is_empty() && is_digits(part)) && is_digits(fraction)
}

fn is_white(c: char) -> bool {
    matches!(c, ' ' | '\t')
}

fn is_printable(c: char) -> bool {
    match c {
        ' '..='~' => true,
        '\u{2028}' | '\u{2029}' | '\u{FEFF}' => false,
        '\u{A1}'..='\u{D7FF}' | '\u{E000}'..='\u{FFFD}' | '\u{10000}'..='\u{10FFFF}' => true,
        _ => false,
    }
}

fn is_plain_safe(c: char, before: Option<char>, in_block: bool) -> bool {
    let visible = |c: char| is_printable(c) && !is_white(c);
    let fits = is_printable(c) && (in_block || !matches!(c, ',' | '[' | ']' | '{' | '}'));
    let after_colon = before == Some(':');
    (fits && c != '#' && (!after_colon || visible(c)))
        || (before.is_some_and(visible) && c == '#')
        || (after_colon && visible(c))
}

fn is_plain_first(c: char) -> bool {
    const MARKS: &str = "-?:,[]{}#&*!|=>'\"%@`";
    is_printable(c) && !is_white(c) && !MARKS.contains(c)
}

fn needs_indent_indicator(text: &str) -> bool {
    text.trim_start_matches('\n').starts_with(' ')
}

fn block_header(text: &str) -> String {
    let indicator = if needs_indent_indicator(text) { INDENT.to_string() } else { String::new() };
    let clip = text.ends_with('\n');
    let keep = clip && (text.ends_with("\n\n") || text == "\n");
    let chomp = if keep {
        "+"
    } else if clip {
        ""
    } else {
        "-"
    };
    format!("{indicator}{chomp}\n")
}

fn indented(text: &str, spaces: usize) -> String {
    let indent = " ".repeat(spaces);
    let lines = text.split_inclusive('\n');
    lines.map(|line| if line == "\n" { line.to_string() } else { format!("{indent}{line}") }).collect()
}

fn without_last_line_end(text: &str) -> &str {
    text.strip_suffix('\n').unwrap_or(text)
}

/// Longer lines broken at blanks; lines that begin with a blank are left as they are.
fn folded(text: &str, width: usize) -> String {
    let first_end = text.find('\n').unwrap_or(text.len());
    let mut out = fold_line(&text[..first_end], width);
    let mut before_more_indented = text.starts_with(['\n', ' ']);
    let mut rest = &text[first_end..];
    while !rest.is_empty() {
        let line_start = rest.len() - rest.trim_start_matches('\n').len();
        let (line_ends, after) = rest.split_at(line_start);
        let line_end = after.find('\n').unwrap_or(after.len());
        let line = &after[..line_end];
        let more_indented = line.starts_with(' ');
        out.push_str(line_ends);
        if !before_more_indented && !more_indented && !line.is_empty() {
            out.push('\n');
        }
        out.push_str(&fold_line(line, width));
        before_more_indented = more_indented;
        rest = &after[line_end..];
    }
    out
}

/// As js-yaml breaks a line: at the last blank before it gets too long. Widths are in UTF-16 units, as there.
fn fold_line(line: &str, width: usize) -> String {
    if line.is_empty() || line.starts_with(' ') {
        return line.to_string();
    }
    let units = |from: usize, to: usize| line[from..to].encode_utf16().count();
    let blanks = line.match_indices(' ').map(|(at, _)| at);
    let breaks = blanks.filter(|at| line[at + 1..].chars().next().is_some_and(|c| c != ' '));
    let (mut start, mut last) = (0, 0);
    let mut out = String::new();
    for at in breaks {
        if units(start, at) > width {
            let end = if last > start { last } else { at };
            out.push('\n');
            out.push_str(&line[start..end]);
            start = end + 1;
        }
        last = at;
    }
    out.push('\n');
    if units(start, line.len()) > width && last > start {
        out.push_str(&line[start..last]);
        out.push('\n');
        out.push_str(&line[last + 1..]);
    } else {
        out.push_str(&line[start..]);
    }
    out.split_off(1)
}

fn escaped(text: &str) -> String {
    let mut out = String::new();
    for c in text.chars() {
        let known = match c {
            '\0' => "\\0",
            '\u{7}' => "\\a",
            '\u{8}' => "\\b",
            '\t' => "\\t",
            '\n' => "\\n",
            '\u{B}' => "\\v",
            '\u{C}' => "\\f",
            '\r' => "\\r",
            '\u{1B}' => "\\e",
            '"' => "\\\"",
            '\\' => "\\\\",
            '\u{85}' => "\\N",
            '\u{A0}' => "\\_",
            '\u{2028}' => "\\L",
            '\u{2029}' => "\\P",
            c if is_printable(c) => {
                out.push(c);
                continue;
            }
            c => {
                let code = u32::from(c);
                out.push_str(&if code <= 0xFF { format!("\\x{code:02X}") } else { format!("\\u{code:04X}") });
                continue;
            }
        };
        out.push_str(known);
    }
    out
}
