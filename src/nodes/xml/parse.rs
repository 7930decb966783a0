//! XML text to objects, as xml2js makes them.

use arcstr::{ArcStr, literal};
use quick_xml::Reader;
use quick_xml::escape::unescape;
use quick_xml::events::{BytesStart, Event};

use super::names::{Namespaces, is_name};
use super::options::Options;
use crate::model::{Object, Value};

/// Elements nested deeper are refused: each makes two levels of values.
const DEPTH_MAX: usize = 256;

/// An element that is open.
struct Open {
    name: ArcStr,
    object: Object,
    has_cdata: bool,
}

struct Parser<'o> {
    options: &'o Options,
    /// Text that may go on with the next event: a reference is one of its own.
    text: String,
    stack: Vec<Open>,
    namespaces: Namespaces,
}

pub(super) fn parse(text: &str, options: &Options) -> Result<Value, String> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    if text.trim().is_empty() {
        return Ok(Value::Null);
    }
    let mut reader = Reader::from_str(text);
    let mut parser = Parser { options, text: String::new(), stack: Vec::new(), namespaces: Namespaces::default() };
    loop {
        let at = reader.buffer_position();
        let step = reader.read_event().map_err(|e| e.to_string()).and_then(|event| parser.event(event));
        match step {
            Ok(None) => {}
            Ok(Some(result)) => return Ok(result),
            Err(why) => return Err(located(text, at.max(reader.error_position()) as usize, &why)),
        }
    }
}

/// With line and column, counted from 1.
fn located(text: &str, at: usize, why: &str) -> String {
    let before = &text[..text.floor_char_boundary(at)];
    let line = before.matches('\n').count() + 1;
    let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
    format!("{why} at line {line}, column {column}")
}

impl Parser<'_> {
    /// The result once the root is closed; what follows it is not looked at, as in xml2js.
    fn event(&mut self, event: Event<'_>) -> Result<Option<Value>, String> {
        if !matches!(event, Event::Text(_) | Event::GeneralRef(_)) && !self.text.is_empty() {
            let text = std::mem::take(&mut self.text);
            self.text(&text, false)?;
        }
        match event {
            Event::Start(tag) => self.open(&tag)?,
            Event::Empty(tag) => {
                self.open(&tag)?;
                return self.close();
            }
            Event::End(_) => return self.close(),
            Event::Text(text) => self.text.push_str(&text),
            Event::CData(text) if text.is_empty() => {}
            Event::CData(text) => self.text(&text, true)?,
            Event::GeneralRef(reference) => {
                self.text.push_str(&unescape(&format!("&{};", &*reference)).map_err(|e| e.to_string())?);
            }
            Event::Eof if self.stack.is_empty() => return Err("There is no root element".into()),
            Event::Eof => return Err("Unclosed root tag".into()),
            Event::Comment(_) | Event::Decl(_) | Event::PI(_) | Event::DocType(_) => {}
        }
        Ok(None)
    }

    fn open(&mut self, tag: &BytesStart<'_>) -> Result<(), String> {
        if self.stack.len() >= DEPTH_MAX {
            return Err(format!("Elements are nested deeper than {DEPTH_MAX}"));
        }
        let name = tag.name().as_ref().to_string();
        if !is_name(&name) {
            return Err(format!("Invalid tag name \"{name}\""));
        }
        let mut attributes: Vec<(String, String)> = Vec::new();
        for attribute in tag.attributes().with_checks(false) {
            let attribute = attribute.map_err(|e| e.to_string())?;
            let key = attribute.key.as_ref().to_string();
            if !is_name(&key) {
                return Err(format!("Invalid attribute name \"{key}\""));
            }
            let value = unescape(&attribute.value).map_err(|e| e.to_string())?.into_owned();
            // The first of several wins, with namespaces the last.
            match attributes.iter_mut().find(|(known, _)| *known == key) {
                None => attributes.push((key, value)),
                Some((_, known)) if self.options.xmlns => *known = value,
                Some(_) => {}
            }
        }
        let options = self.options;
        let mut object = Object::new();
        object.insert(options.char_key.clone(), ArcStr::new());
        if options.xmlns {
            self.namespaces.open(attributes.iter().map(|(k, v)| (k.as_str(), v.as_str())));
        }
        if !options.ignore_attrs {
            self.add_attributes(&mut object, &attributes)?;
        }
        let name = if options.normalize_tags { name.to_lowercase() } else { name };
        object.insert(literal!("#name"), name.as_str());
        if options.xmlns {
            let qualified = self.namespaces.resolve(tag.name().into_inner(), false)?;
            let ns: Object =
                [("uri", Value::from(qualified.uri)), ("local", qualified.local.into())].into_iter().collect();
            object.insert(arcstr::format!("{}ns", options.attr_key), ns);
        }
        self.stack.push(Open { name: name.into(), object, has_cdata: false });
        Ok(())
    }

    fn add_attributes(&self, object: &mut Object, attributes: &[(String, String)]) -> Result<(), String> {
        let mut of_element = Object::new();
        for (key, value) in attributes {
            let value = if self.options.xmlns {
                let qualified = self.namespaces.resolve(key, true)?;
                let described: [(&str, Value); 5] = [
                    ("name", key.as_str().into()),
                    ("value", value.as_str().into()),
                    ("prefix", qualified.prefix.into()),
                    ("local", qualified.local.into()),
                    ("uri", qualified.uri.into()),
                ];
                Value::from(described.into_iter().collect::<Object>())
            } else {
                value.as_str().into()
            };
            if self.options.merge_attrs {
                self.add(object, key.as_str().into(), value);
            } else {
                of_element.insert(key.as_str(), value);
            }
        }
        if !of_element.is_empty() {
            object.insert(self.options.attr_key.clone(), of_element);
        }
        Ok(())
    }

    fn text(&mut self, text: &str, is_cdata: bool) -> Result<(), String> {
        let options = self.options;
        let Some(open) = self.stack.last_mut() else {
            return if text.trim().is_empty() { Ok(()) } else { Err("Non-whitespace before first tag".into()) };
        };
        open.has_cdata |= is_cdata;
        let before = open.object.entry_mut(&options.char_key);
        *before = match before.as_str() {
            Some("") => text.into(),
            _ => arcstr::format!("{}{text}", before.to_js_string()).into(),
        };
        let as_child = options.explicit_children && options.preserve_children_order && options.chars_as_children;
        if as_child && (options.include_white_chars || !text.trim().is_empty()) {
            let text = if options.normalize { normalized(text) } else { text.to_string() };
            let child: Object = [(literal!("#name"), Value::from("__text__")), (options.char_key.clone(), text.into())]
                .into_iter()
                .collect();
            push(open.object.entry_mut(&options.child_key), child.into());
        }
        Ok(())
    }

    /// `assignOrPush` of xml2js.
    fn add(&self, object: &mut Object, key: ArcStr, value: Value) {
        match object.get_mut(&key) {
            None => {
                let value = if self.options.explicit_array { Value::array(vec![value]) } else { value };
                object.insert(key, value);
            }
            Some(Value::Array(items)) => std::sync::Arc::make_mut(items).push(value),
            Some(other) => *other = Value::array(vec![std::mem::take(other), value]),
        }
    }

    fn close(&mut self) -> Result<Option<Value>, String> {
        let Some(Open { name, mut object, has_cdata }) = self.stack.pop() else {
            return Err("Unmatched closing tag".into());
        };
        let options = self.options;
        if options.xmlns {
            self.namespaces.close();
        }
        let keeps_name = options.explicit_children && options.preserve_children_order;
        if !keeps_name {
            object.remove("#name");
        }
        let text = object.get(&options.char_key).map(Value::to_js_string).unwrap_or_default();
        let mut white = Value::Undefined;
        let mut value = Value::Undefined;
        if text.trim().is_empty() && !has_cdata {
            object.remove(&options.char_key);
            white = text.into();
        } else {
            let mut text = text.to_string();
            if options.trim {
                text = text.trim().to_string();
            }
            if options.normalize {
                text = normalized(&text);
            }
            object.insert(options.char_key.clone(), text);
            value = self.text_alone(&object);
        }
        if value.is_undefined() {
            value = if object.is_empty() {
                if options.empty_tag.as_str() == Some("") { white } else { options.empty_tag.clone() }
            } else {
                object.into()
            };
        }
        if options.explicit_children && !options.merge_attrs {
            value = self.with_children(value);
        }
        match self.stack.last_mut() {
            None if options.explicit_root => Ok(Some(Object::from_iter([(name, value)]).into())),
            None => Ok(Some(value)),
            Some(parent) => {
                let mut object = std::mem::take(&mut parent.object);
                self.add(&mut object, name, value);
                if let Some(parent) = self.stack.last_mut() {
                    parent.object = object;
                }
                Ok(None)
            }
        }
    }

    /// An element of nothing but text is its text; else `Undefined`.
    fn text_alone(&self, object: &Object) -> Value {
        let alone = object.len() == 1 && !self.options.explicit_char_key;
        object.get(&self.options.char_key).filter(|_| alone).cloned().unwrap_or_default()
    }

    /// `explicitChildren`: child elements under a key of their own, or all in order.
    fn with_children(&mut self, value: Value) -> Value {
        let options = self.options;
        let Value::Object(object) = &value else { return value };
        let mut object = Object::clone(object);
        if options.preserve_children_order {
            let Some(parent) = self.stack.last_mut() else { return value };
            push(parent.object.entry_mut(&options.child_key), object.clone().into());
            object.remove("#name");
            let alone = self.text_alone(&object);
            return if alone.is_undefined() { object.into() } else { alone };
        }
        let mut node = Object::new();
        if let Some(attributes) = object.remove(&options.attr_key) {
            node.insert(options.attr_key.clone(), attributes);
        }
        if !options.chars_as_children
            && let Some(text) = object.remove(&options.char_key)
        {
            node.insert(options.char_key.clone(), text);
        }
        if !object.is_empty() {
            node.insert(options.child_key.clone(), object);
        }
        node.into()
    }
}

fn push(list: &mut Value, item: Value) {
    match list {
        Value::Array(items) => std::sync::Arc::make_mut(items).push(item),
        other => *other = Value::array(vec![item]),
    }
}

/// Runs of white space as one blank, none at the ends.
fn normalized(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut run = String::new();
    for c in text.trim().chars() {
        if c.is_whitespace() {
            run.push(c);
            continue;
        }
        // A single one stays as it is.
        out.push_str(if run.chars().count() > 1 { " " } else { &run });
        run.clear();
        out.push(c);
    }
    out
}
