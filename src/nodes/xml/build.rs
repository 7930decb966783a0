//! Objects to XML text, as the builder of xml2js writes them.

use super::names::{illegal_char, is_name};
use super::options::Options;
use crate::model::Value;

/// Values nested deeper are refused.
const DEPTH_MAX: usize = 512;

enum Child {
    Element(Element),
    /// Escaped, or raw.
    Text(String),
}

struct Element {
    name: String,
    attributes: Vec<(String, String)>,
    children: Vec<Child>,
}

pub(super) fn build(value: &Value, options: &Options) -> Result<String, String> {
    let entries = entries(value);
    let (name, contents) = match entries.as_slice() {
        _ if value.is_nullish() => return Err("Cannot convert undefined or null to object".into()),
        [(name, only)] if options.root_name == "root" => (name.clone(), only.clone()),
        _ => (options.root_name.to_string(), value.clone()),
    };
    let mut root = Element::new(name)?;
    Builder { options }.render(&mut root, &contents, 0)?;
    Ok(write(&root, options))
}

/// JavaScript's own enumerable entries.
fn entries(value: &Value) -> Vec<(String, Value)> {
    match value {
        Value::Object(object) => object.iter().map(|(k, v)| (k.to_string(), v.clone())).collect(),
        Value::Handle(handle) => handle.object().map_or(Vec::new(), |o| entries(&Value::Object(o))),
        Value::Array(items) => items.iter().enumerate().map(|(i, v)| (i.to_string(), v.clone())).collect(),
        Value::Bytes(bytes) => bytes.iter().enumerate().map(|(i, b)| (i.to_string(), i32::from(*b).into())).collect(),
        Value::String(text) => text.chars().enumerate().map(|(i, c)| (i.to_string(), c.to_string().into())).collect(),
        _ => Vec::new(),
    }
}

impl Element {
    fn new(name: String) -> Result<Element, String> {
        if !is_name(&name) {
            return Err(format!("Invalid character in name \"{name}\""));
        }
        Ok(Element { name, attributes: Vec::new(), children: Vec::new() })
    }
}

struct Builder<'o> {
    options: &'o Options,
}

impl Builder<'_> {
    fn render(&self, element: &mut Element, value: &Value, depth: usize) -> Result<(), String> {
        if depth > DEPTH_MAX {
            return Err(format!("values are nested deeper than {DEPTH_MAX}"));
        }
        if value.type_of() != "object" {
            element.children.push(self.text(value)?);
            return Ok(());
        }
        if let Value::Array(items) = value {
            for (key, entry) in items.iter().flat_map(entries) {
                element.children.push(self.element(key, &entry, depth)?);
            }
            return Ok(());
        }
        for (key, child) in entries(value) {
            if key == *self.options.attr_key {
                if child.type_of() == "object" {
                    for (name, value) in entries(&child).into_iter().filter(|(_, v)| !v.is_nullish()) {
                        set_attribute(element, name, &value)?;
                    }
                }
            } else if key == *self.options.char_key {
                element.children.push(self.text(&child)?);
            } else if let Value::Array(items) = &child {
                for item in items.iter() {
                    element.children.push(self.element(key.clone(), item, depth)?);
                }
            } else if child.is_undefined() {
                element.children.push(self.element(key, &Value::from(""), depth)?);
            } else {
                element.children.push(self.element(key, &child, depth)?);
            }
        }
        Ok(())
    }

    fn element(&self, name: String, contents: &Value, depth: usize) -> Result<Child, String> {
        let mut element = Element::new(name)?;
        self.render(&mut element, contents, depth + 1)?;
        Ok(Child::Element(element))
    }

    fn text(&self, value: &Value) -> Result<Child, String> {
        if value.is_nullish() {
            return Err("Missing element text".into());
        }
        let text = legal(value.to_js_string().to_string())?;
        Ok(Child::Text(if self.options.cdata && value.as_str().is_some() && text.contains(['&', '<', '>']) {
            format!("<![CDATA[{}]]>", text.replacen("]]>", "]]]]><![CDATA[>", 1))
        } else {
            text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('\r', "&#xD;")
        }))
    }
}

fn legal(text: String) -> Result<String, String> {
    match illegal_char(&text) {
        None => Ok(text),
        Some(c) => Err(format!("Invalid character in string: U+{:04X}", u32::from(c))),
    }
}

fn set_attribute(element: &mut Element, name: String, value: &Value) -> Result<(), String> {
    if !is_name(&name) {
        return Err(format!("Invalid character in name \"{name}\""));
    }
    let value = legal(value.to_js_string().to_string())?;
    let value = value.replace('&', "&amp;").replace('<', "&lt;").replace('"', "&quot;");
    let value = value.replace('\t', "&#x9;").replace('\n', "&#xA;").replace('\r', "&#xD;");
    element.attributes.push((name, value));
    Ok(())
}

fn write(root: &Element, options: &Options) -> String {
    let mut out = String::new();
    let newline = if options.pretty { options.newline.as_str() } else { "" };
    if !options.headless {
        out.push_str(&format!("<?xml version=\"{}\"", options.version));
        if let Some(encoding) = &options.encoding {
            out.push_str(&format!(" encoding=\"{encoding}\""));
        }
        if let Some(standalone) = options.standalone {
            out.push_str(if standalone { " standalone=\"yes\"" } else { " standalone=\"no\"" });
        }
        out.push_str(&format!("{}?>{newline}", options.space_before_slash));
        if options.public_id.is_some() || options.system_id.is_some() {
            out.push_str(&format!("<!DOCTYPE {}", root.name));
            match (&options.public_id, &options.system_id) {
                (Some(public), Some(system)) => out.push_str(&format!(" PUBLIC \"{public}\" \"{system}\"")),
                (None, Some(system)) => out.push_str(&format!(" SYSTEM \"{system}\"")),
                _ => {}
            }
            out.push_str(&format!("{}>{newline}", options.space_before_slash));
        }
    }
    Writer { options, newline }.element(root, 0, &mut out);
    if let Some(kept) = out.strip_suffix(newline) {
        out.truncate(kept.len());
    }
    out
}

struct Writer<'o> {
    options: &'o Options,
    /// Nothing unless pretty.
    newline: &'o str,
}

impl Writer<'_> {
    fn indent(&self, level: usize, out: &mut String) {
        if self.options.pretty {
            (0..level).for_each(|_| out.push_str(&self.options.indent));
        }
    }

    fn element(&self, element: &Element, level: usize, out: &mut String) {
        self.indent(level, out);
        out.push('<');
        out.push_str(&element.name);
        for (name, value) in &element.attributes {
            out.push_str(&format!(" {name}=\"{value}\""));
        }
        let is_empty = element.children.iter().all(|c| matches!(c, Child::Text(text) if text.is_empty()));
        if is_empty && !self.options.allow_empty {
            out.push_str(&format!("{}/>{}", self.options.space_before_slash, self.newline));
            return;
        }
        out.push('>');
        match element.children.as_slice() {
            _ if is_empty => {}
            [Child::Text(text)] => out.push_str(text),
            children => {
                out.push_str(self.newline);
                for child in children {
                    match child {
                        Child::Element(child) => self.element(child, level + 1, out),
                        Child::Text(text) => {
                            self.indent(level + 1, out);
                            out.push_str(text);
                            out.push_str(self.newline);
                        }
                    }
                }
                self.indent(level, out);
            }
        }
        out.push_str(&format!("</{}>{}", element.name, self.newline));
    }
}
