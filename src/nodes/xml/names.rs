//! XML's rules for names and characters, and the namespaces in scope.

use std::collections::HashMap;

use arcstr::ArcStr;

fn starts_name(c: char) -> bool {
    matches!(c, ':' | '_' | 'A'..='Z' | 'a'..='z' | '\u{C0}'..='\u{D6}' | '\u{D8}'..='\u{F6}' | '\u{F8}'..='\u{2FF}'
        | '\u{370}'..='\u{37D}' | '\u{37F}'..='\u{1FFF}' | '\u{200C}' | '\u{200D}' | '\u{2070}'..='\u{218F}'
        | '\u{2C00}'..='\u{2FEF}' | '\u{3001}'..='\u{D7FF}' | '\u{F900}'..='\u{FDCF}' | '\u{FDF0}'..='\u{FFFD}'
        | '\u{10000}'..='\u{EFFFF}')
}

/// Production `Name` of XML 1.0.
pub(super) fn is_name(text: &str) -> bool {
    let goes_on = |c: char| {
        starts_name(c)
            || matches!(c, '-' | '.' | '0'..='9' | '\u{B7}' | '\u{300}'..='\u{36F}' | '\u{203F}' | '\u{2040}')
    };
    let mut chars = text.chars();
    chars.next().is_some_and(starts_name) && chars.all(goes_on)
}

/// The first character that XML 1.0 cannot hold.
pub(super) fn illegal_char(text: &str) -> Option<char> {
    text.chars()
        .find(|c| matches!(c, '\0'..='\u{8}' | '\u{B}' | '\u{C}' | '\u{E}'..='\u{1F}' | '\u{FFFE}' | '\u{FFFF}'))
}

/// Prefixes declared by the elements that are open.
#[derive(Default)]
pub(super) struct Namespaces(Vec<HashMap<String, ArcStr>>);

/// A name taken apart.
pub(super) struct Qualified<'a> {
    pub(super) prefix: &'a str,
    pub(super) local: &'a str,
    pub(super) uri: ArcStr,
}

impl Namespaces {
    /// Opens an element with the declarations among its attributes.
    pub(super) fn open<'a>(&mut self, attributes: impl Iterator<Item = (&'a str, &'a str)>) {
        let mut declared = HashMap::new();
        for (name, value) in attributes {
            if name == "xmlns" {
                declared.insert(String::new(), value.into());
            } else if let Some(prefix) = name.strip_prefix("xmlns:") {
                declared.insert(prefix.to_string(), value.into());
            }
        }
        self.0.push(declared);
    }

    pub(super) fn close(&mut self) {
        self.0.pop();
    }

    fn uri(&self, prefix: &str) -> Option<ArcStr> {
        match prefix {
            "xml" => Some(arcstr::literal!("http://www.w3.org/XML/1998/namespace")),
            "xmlns" => Some(arcstr::literal!("http://www.w3.org/2000/xmlns/")),
            _ => self.0.iter().rev().find_map(|declared| declared.get(prefix).cloned()),
        }
    }

    /// An attribute without prefix has no namespace; an element then has the default one.
    pub(super) fn resolve<'a>(&self, name: &'a str, is_attribute: bool) -> Result<Qualified<'a>, String> {
        let (prefix, local) = match name.split_once(':') {
            _ if is_attribute && name == "xmlns" => ("xmlns", ""),
            Some((prefix, local)) => (prefix, local),
            None => ("", name),
        };
        let uri = match (prefix, is_attribute) {
            ("", true) => ArcStr::new(),
            ("", false) => self.uri("").unwrap_or_default(),
            _ => self.uri(prefix).ok_or_else(|| format!("Unbound namespace prefix: \"{prefix}\" in {name}"))?,
        };
        Ok(Qualified { prefix, local, uri })
    }
}
