//! Uploads (`multipart/form-data`): fields and files as `multer` with its memory storage gives them to Node-RED's
//! `http in`.

use bytes::Bytes;
use encoding_rs::Encoding;
use futures_util::stream;
use http::{HeaderMap, header};

use super::ApiOptions;
use super::body::{FORM_FIELDS_MAX, Parsed, Refused};
use crate::model::{Object, Value};

/// What a part without a type is.
const PLAIN: &str = "text/plain";
const BYTES: &str = "application/octet-stream";

/// How many steps the name of a field may have: what is nested deeper overflows the stack where it is written or dropped.
const STEPS_MAX: usize = 100;
/// Places of lists that the names of a form may make, with those in between: `a[1000]` makes 1,001.
const PLACES_MAX: usize = 10_000;

/// What the header of a part says.
#[derive(Debug, PartialEq)]
struct Disposition {
    name: Option<String>,
    file_name: Option<String>,
}

/// A step into a field whose name is a path, such as `o[x][0]` or `l[]`.
#[derive(Debug, PartialEq)]
enum Step {
    Name(String),
    Index(usize),
}

/// Fields to the body, files to `files`. A part that is no form data is passed over, as is a file without a name:
/// nobody chose one.
pub(super) async fn read(bytes: Bytes, content_type: &str, options: &ApiOptions) -> Result<Parsed, Refused> {
    let malformed = |error: String| Refused::Malformed { what: "multipart/form-data", error };
    let broken = |error: multer::Error| malformed(error.to_string());
    let boundary = multer::parse_boundary(content_type).map_err(broken)?;
    let whole = multer::SizeLimit::new().whole_stream(options.body_bytes_max as u64);
    let constraints = multer::Constraints::new().size_limit(whole);
    let stream = stream::iter([Ok::<_, std::convert::Infallible>(bytes)]);
    let mut parts = multer::Multipart::with_constraints(stream, boundary, constraints);
    let mut fields = Value::from(Object::new());
    let mut files = Vec::new();
    let (mut fields_left, mut places_left) = (FORM_FIELDS_MAX, PLACES_MAX);
    while let Some(part) = parts.next_field().await.map_err(broken)? {
        let head = part.headers();
        let disposition = text(head, header::CONTENT_DISPOSITION).and_then(|header| disposition(&header));
        let (media, charset) = media(&text(head, header::CONTENT_TYPE).unwrap_or_default());
        let encoding = text(head, header::HeaderName::from_static("content-transfer-encoding"));
        let Some(disposition) = disposition else { continue };
        let data = part.bytes().await.map_err(broken)?;
        let Some(name) = disposition.name else { return Err(malformed("a part has no name".into())) };
        let Some(file_name) = disposition.file_name else {
            if media != BYTES {
                fields_left = fields_left.checked_sub(1).ok_or(Refused::TooManyFields)?;
                let value = charset.decode_without_bom_handling(&data).0;
                add_field(&mut fields, &name, value.as_ref().into(), &mut places_left).map_err(malformed)?;
            }
            continue;
        };
        if file_name.is_empty() {
            continue;
        }
        let mut file = Object::with_capacity(6);
        file.insert("fieldname", name);
        file.insert("originalname", unescaped(&file_name));
        file.insert("encoding", encoding.map_or_else(|| "7bit".into(), |text| text.to_lowercase()));
        file.insert("mimetype", media);
        file.insert("buffer", Value::Bytes(data.to_vec().into()));
        file.insert("size", data.len());
        files.push(Value::from(file));
    }
    Ok(Parsed { body: fields, files: files.into() })
}

fn text(headers: &HeaderMap, name: header::HeaderName) -> Option<String> {
    headers.get(name).map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned())
}

/// Type and character set of a part.
fn media(content_type: &str) -> (String, &'static Encoding) {
    let mut pieces = content_type.split(';').map(str::trim);
    let media = pieces.next().filter(|media| media.contains('/')).unwrap_or(PLAIN).to_ascii_lowercase();
    let charset = pieces.find_map(|piece| piece.to_ascii_lowercase().strip_prefix("charset=").map(str::to_string));
    let charset = charset.and_then(|label| Encoding::for_label(label.trim_matches('"').as_bytes()));
    (media, charset.unwrap_or(encoding_rs::UTF_8))
}

/// `None` when it is no form data.
fn disposition(header: &str) -> Option<Disposition> {
    let (kind, mut rest) = header.split_once(';').unwrap_or((header, ""));
    if !kind.trim().eq_ignore_ascii_case("form-data") {
        return None;
    }
    let (mut name, mut file_name, mut extended) = (None, None, None);
    while let Some((key, tail)) = rest.split_once('=') {
        let (value, tail) = parameter(tail);
        rest = tail;
        let place = match key.trim_matches([' ', '\t', ';']).to_ascii_lowercase().as_str() {
            "name" => &mut name,
            "filename" => &mut file_name,
            "filename*" => &mut extended,
            _ => continue,
        };
        // The first of equal names counts.
        place.get_or_insert(value);
    }
    let given = |text: &String| !text.is_empty();
    let file_name = extended.and_then(|value| extended_value(&value)).filter(given).or(file_name.filter(given));
    Some(Disposition { name: name.filter(given), file_name: file_name.map(|path| base_name(&path).to_string()) })
}

/// A value at the beginning, quoted or not, and what follows it.
fn parameter(text: &str) -> (String, &str) {
    let text = text.trim_start();
    let Some(quoted) = text.strip_prefix('"') else {
        let end = text.find(';').unwrap_or(text.len());
        return (text[..end].trim().to_string(), &text[end..]);
    };
    let mut value = String::new();
    let mut chars = quoted.char_indices().peekable();
    while let Some((at, c)) = chars.next() {
        match c {
            '"' => return (value, &quoted[at + 1..]),
            // Only these two are escaped; other backslashes are part of a path.
            '\\' => value.push(chars.next_if(|(_, next)| matches!(next, '"' | '\\')).map_or('\\', |(_, next)| next)),
            c => value.push(c),
        }
    }
    (value, "")
}

/// `UTF-8''na%C3%AFve.txt`.
fn extended_value(value: &str) -> Option<String> {
    let mut pieces = value.splitn(3, '\'');
    let (charset, _, text) = (pieces.next()?, pieces.next()?, pieces.next()?);
    let bytes: Vec<u8> = percent_encoding::percent_decode_str(text).collect();
    Some(Encoding::for_label(charset.as_bytes())?.decode_without_bom_handling(&bytes).0.into_owned())
}

/// The name without the folders of whoever sent it.
fn base_name(path: &str) -> &str {
    match path.rsplit(['/', '\\']).next().unwrap_or_default() {
        "." | ".." => "",
        name => name,
    }
}

/// Browsers escape these three.
fn unescaped(name: &str) -> String {
    let name = name.replace("%22", "\"");
    name.replace("%0A", "\n").replace("%0a", "\n").replace("%0D", "\r").replace("%0d", "\r")
}

/// Puts a field where its name leads; a repeated one becomes a list. Takes the places it makes in lists from those left.
fn add_field(fields: &mut Value, name: &str, text: Value, places_left: &mut usize) -> Result<(), String> {
    let (path, append) = path(name);
    if path.len() > STEPS_MAX {
        return Err(format!("the name of a field has more than {STEPS_MAX} steps"));
    }
    let mut at = fields;
    for (i, step) in path.iter().enumerate() {
        if let (Step::Index(index), Value::Array(items)) = (step, &*at) {
            let made = index.saturating_add(1).saturating_sub(items.len());
            let too_long = || format!("field {name}: the lists of a form have at most {PLACES_MAX} places");
            *places_left = places_left.checked_sub(made).ok_or_else(too_long)?;
        }
        at = entered(at, step);
        if i + 1 < path.len() {
            make_room(at, &path[i + 1]);
        }
    }
    set_last(at, text, append);
    Ok(())
}

/// The place of a step within a list or an object, which is made where there is none.
fn entered<'a>(at: &'a mut Value, step: &Step) -> &'a mut Value {
    if let (Value::Array(_), Step::Name(_)) = (&*at, step) {
        *at = named(at);
    }
    let name = match step {
        Step::Index(i) => {
            if let Value::Array(items) = at {
                let items = std::sync::Arc::make_mut(items);
                if items.len() <= *i {
                    items.resize(i + 1, Value::Undefined);
                }
                return &mut items[*i];
            }
            i.to_string()
        }
        Step::Name(name) => name.clone(),
    };
    if !matches!(at, Value::Object(_)) {
        *at = Object::new().into();
    }
    match at {
        Value::Object(object) => {
            let object = std::sync::Arc::make_mut(object);
            if !object.contains_key(&name) {
                object.insert(name.as_str(), Value::Undefined);
            }
            object.get_mut(&name).expect("it was just put there")
        }
        other => other,
    }
}

/// Before the next step is entered there is a list or an object to enter.
fn make_room(at: &mut Value, next: &Step) {
    match (&*at, next) {
        (Value::Undefined, Step::Index(_)) => *at = Value::array(Vec::new()),
        (Value::Undefined, Step::Name(_)) => *at = Object::new().into(),
        (Value::Object(_), _) | (Value::Array(_), Step::Index(_)) => {}
        (Value::Array(_), Step::Name(_)) => *at = named(at),
        _ => *at = [("", std::mem::take(at))].into_iter().collect::<Object>().into(),
    }
}

/// A list as an object of its places.
fn named(list: &Value) -> Value {
    let items = list.as_array().unwrap_or_default().iter().enumerate();
    let there = items.filter(|(_, item)| !item.is_undefined());
    there.map(|(i, item)| (i.to_string(), item.clone())).collect::<Object>().into()
}

fn set_last(at: &mut Value, text: Value, append: bool) {
    match at {
        Value::Undefined => *at = if append { Value::array(vec![text]) } else { text },
        Value::Array(items) => std::sync::Arc::make_mut(items).push(text),
        Value::Object(_) => set_last(entered(at, &Step::Name(String::new())), text, false),
        first => *first = Value::array(vec![std::mem::take(first), text]),
    }
}

/// The steps of a name, and whether it ends in `[]`; a name that is no path is one step.
fn path(name: &str) -> (Vec<Step>, bool) {
    let whole = || (vec![Step::Name(name.to_string())], false);
    let first = name.split('[').next().unwrap_or_default();
    if first.is_empty() {
        return whole();
    }
    let mut steps = vec![Step::Name(first.to_string())];
    let mut rest = &name[first.len()..];
    while !rest.is_empty() {
        if rest == "[]" {
            return (steps, true);
        }
        let Some((inner, tail)) = rest.strip_prefix('[').and_then(|rest| rest.split_once(']')) else { return whole() };
        if inner.is_empty() {
            return whole();
        }
        steps.push(match inner.parse() {
            Ok(i) if inner.bytes().all(|b| b.is_ascii_digit()) => Step::Index(i),
            _ => Step::Name(inner.to_string()),
        });
        rest = tail;
    }
    (steps, false)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn body(fields: &[(&str, &str)]) -> String {
        let (mut body, mut places_left) = (Value::from(Object::new()), PLACES_MAX);
        for (name, text) in fields {
            add_field(&mut body, name, (*text).into(), &mut places_left).unwrap();
        }
        body.to_json()
    }

    #[test]
    fn names_of_fields_are_paths() {
        for (fields, expected) in [
            (&[("a", "1"), ("a", "2")][..], r#"{"a":["1","2"]}"#),
            (&[("o[x]", "1"), ("o[y][]", "2"), ("o[y][]", "3")], r#"{"o":{"x":"1","y":["2","3"]}}"#),
            (&[("l[]", "1")], r#"{"l":["1"]}"#),
            (&[("l[1]", "1"), ("l[0]", "0")], r#"{"l":["0","1"]}"#),
            (&[("l[0]", "1"), ("l[x]", "2")], r#"{"l":{"0":"1","x":"2"}}"#),
            (&[("a", "1"), ("a[x]", "2"), ("a", "3")], r#"{"a":{"":["1","3"],"x":"2"}}"#),
            (
                &[("a[b", "1"), ("a]", "2"), ("[x]", "3"), ("a[][b]", "4")],
                r#"{"a[b":"1","a]":"2","[x]":"3","a[][b]":"4"}"#,
            ),
        ] {
            assert_eq!(body(fields), expected);
        }
    }

    #[test]
    fn a_small_form_does_not_become_a_large_value() {
        let (mut body, mut places_left) = (Value::from(Object::new()), PLACES_MAX);
        let mut add = |name: &str| add_field(&mut body, name, "x".into(), &mut places_left);
        let deep = format!("b{}", "[c]".repeat(STEPS_MAX));
        for name in ["a[99999999]", "a[18446744073709551615]", deep.as_str()] {
            assert!(add(name).is_err(), "{name}");
        }
        let taken = (0..1_000).take_while(|i| add(&format!("l{i}[999]")).is_ok()).count();
        assert_eq!(taken, PLACES_MAX / 1_000);
        assert!(add("l0[999]").is_ok(), "it makes no place");
    }

    #[test]
    fn dispositions_name_fields_and_files() {
        let of = |header: &str| disposition(header).map(|d| (d.name, d.file_name));
        let both = |name: &str, file: &str| Some((Some(name.to_string()), Some(file.to_string())));
        assert_eq!(of(r#"form-data; name="f"; filename="C:\dir\a \"b\".txt""#), both("f", "a \"b\".txt"));
        assert_eq!(of("form-data; name=f; filename=\"x\"; filename*=UTF-8''%C3%A9.txt"), both("f", "é.txt"));
        assert_eq!(of(r#"form-data; name="f"; filename="""#), Some((Some("f".into()), None)));
        assert_eq!(of(r#"form-data; filename="..""#), Some((None, Some(String::new()))));
        assert_eq!(of("attachment; name=\"f\""), None);
        assert_eq!(
            of(r#"form-data; name="f"; name="g"; filename="a"; filename="b"; filename*=UTF-8''"#),
            both("f", "a")
        );
    }
}
