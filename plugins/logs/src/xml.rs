//! XML as `xml2js` makes JSON of it: attributes under `$`, children in lists by their name, text under `_`.

use quick_xml::Reader;
use quick_xml::events::{BytesStart, Event};
use serde_json::{Map, Value};

use crate::Unreadable;

/// Elements nested deeper are refused.
const DEPTH_MAX: usize = 100;

/// What is done with each element that is taken apart, by its name.
pub type Take<'t> = dyn FnMut(&str, Value) -> Result<(), Unreadable> + 't;

/// One element.
#[derive(Default)]
struct Element {
    name: String,
    content: Map<String, Value>,
    text: String,
}

/// The root element's name and content; elements that `apart` leads to, by their names below the root, are given to `take`,
/// one by one, and are not in it. Document types and entities of one's own are refused.
pub fn parse_apart(text: &str, apart: &[&[&str]], take: &mut Take<'_>) -> Result<(String, Value), Unreadable> {
    let mut reader = Reader::from_str(text);
    let mut open: Vec<Element> = Vec::new();
    let at =
        |reader: &Reader<&[u8]>, what: String| Unreadable::new(format!("{what} (byte {})", reader.buffer_position()));
    loop {
        let event = reader.read_event().map_err(|error| at(&reader, format!("the XML is broken: {error}")))?;
        match event {
            Event::Start(start) => {
                if open.len() >= DEPTH_MAX {
                    return Err(at(&reader, format!("the XML is nested deeper than {DEPTH_MAX}")));
                }
                open.push(element(&start).map_err(|why| at(&reader, why))?);
            }
            Event::Empty(start) => {
                let whole = element(&start).map_err(|why| at(&reader, why))?;
                if let Some(root) = close(&mut open, whole, apart, take)? {
                    return Ok(root);
                }
            }
            Event::End(_) => {
                let Some(whole) = open.pop() else {
                    return Err(at(&reader, "an element ends that is not open".to_owned()));
                };
                if let Some(root) = close(&mut open, whole, apart, take)? {
                    return Ok(root);
                }
            }
            Event::Text(text) => {
                if let Some(last) = open.last_mut() {
                    last.text.push_str(&text);
                } else if !text.trim().is_empty() {
                    return Err(at(&reader, "it is no XML".to_owned()));
                }
            }
            Event::CData(data) => {
                if let Some(last) = open.last_mut() {
                    last.text.push_str(&data);
                }
            }
            Event::GeneralRef(entity) => {
                let name = &*entity;
                let text = quick_xml::escape::unescape(&format!("&{name};")).map(|text| text.into_owned());
                let text = text.map_err(|_| at(&reader, format!("the entity &{name}; is not known")))?;
                if let Some(last) = open.last_mut() {
                    last.text.push_str(&text);
                }
            }
            Event::DocType(_) => return Err(at(&reader, "document types (DOCTYPE) are not read".to_owned())),
            Event::Eof => return Err(at(&reader, "the XML is cut: it ends before its root element".to_owned())),
            Event::Decl(_) | Event::PI(_) | Event::Comment(_) => {}
        }
    }
}

fn element(start: &BytesStart<'_>) -> Result<Element, String> {
    let mut element = Element { name: start.name().as_ref().to_owned(), ..Element::default() };
    let mut attributes = Map::new();
    for attribute in start.attributes() {
        let attribute = attribute.map_err(|error| format!("the XML is broken: {error}"))?;
        let value =
            quick_xml::escape::unescape(&attribute.value).map_err(|error| format!("the XML is broken: {error}"))?;
        attributes.insert(attribute.key.as_ref().to_owned(), Value::from(value.into_owned()));
    }
    if !attributes.is_empty() {
        element.content.insert("$".to_owned(), Value::Object(attributes));
    }
    Ok(element)
}

/// Puts a closed element into its parent, or gives it to `take`; the root comes back.
fn close(
    open: &mut [Element],
    mut element: Element,
    apart: &[&[&str]],
    take: &mut Take<'_>,
) -> Result<Option<(String, Value)>, Unreadable> {
    let text = element.text.trim();
    let value = match (element.content.is_empty(), text.is_empty()) {
        (true, _) => Value::from(text),
        (false, true) => Value::Object(element.content),
        (false, false) => {
            element.content.insert("_".to_owned(), Value::from(text));
            Value::Object(element.content)
        }
    };
    let is_apart = |way: &&[&str]| {
        let above = open.iter().skip(1).map(|parent| parent.name.as_str());
        open.len() == way.len() && above.chain([element.name.as_str()]).eq(way.iter().copied())
    };
    if apart.iter().any(is_apart) {
        take(&element.name, value)?;
        return Ok(None);
    }
    match open.last_mut() {
        None => Ok(Some((element.name, value))),
        Some(parent) => {
            match parent.content.get_mut(&element.name) {
                Some(Value::Array(all)) => all.push(value),
                _ => {
                    parent.content.insert(element.name, Value::Array(vec![value]));
                }
            }
            Ok(None)
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use serde_json::json;

    use super::*;

    fn parse(text: &str) -> Result<(String, Value), Unreadable> {
        parse_apart(text, &[], &mut |_, _| Ok(()))
    }

    #[test]
    fn elements_are_as_xml2js_makes_them() {
        let text =
            "<?xml version=\"1.0\"?><!-- x --><a k=\"1 &amp; 2\"><b/><b>t &lt;<![CDATA[<]]></b><c d='e'>f</c></a>";
        let (name, found) = parse(text).unwrap();
        assert_eq!(name, "a");
        assert_eq!(found, json!({ "$": { "k": "1 & 2" }, "b": ["", "t <<"], "c": [{ "$": { "d": "e" }, "_": "f" }] }));
    }

    #[test]
    fn what_is_broken_cut_or_dangerous_is_refused() {
        for text in ["<a>", "<a></b>", "<a", "", "text", "<!DOCTYPE a [<!ENTITY x \"y\">]><a>&x;</a>", "<a>&x;</a>"] {
            assert!(parse(text).is_err(), "{text}");
        }
        assert!(parse(&"<a>".repeat(200)).unwrap_err().0.contains("deeper"));
    }
}
