//! An element's contents as cheerio writes them: as text, and as XML.

use ego_tree::iter::Edge;
use scraper::{ElementRef, Html, Node};

/// The text inside, without that of scripts and style sheets.
pub(super) fn text(element: ElementRef<'_>) -> String {
    let mut out = String::new();
    let mut hidden = 0;
    let is_hidden = |node: &Node| node.as_element().is_some_and(|e| matches!(e.name(), "script" | "style"));
    for edge in element.traverse() {
        match edge {
            Edge::Open(node) if is_hidden(node.value()) => hidden += 1,
            Edge::Close(node) if is_hidden(node.value()) => hidden -= 1,
            Edge::Open(node) if hidden == 0 => out.extend(node.value().as_text().map(|t| &**t)),
            _ => {}
        }
    }
    out
}

/// The contents as HTML, trimmed.
pub(super) fn inner_html(element: ElementRef<'_>) -> String {
    let inner = if is_raw_text(element) { element.text().collect() } else { element.inner_html() };
    inner.trim().to_string()
}

/// Elements whose contents are not markup.
fn is_raw_text(element: ElementRef<'_>) -> bool {
    let names = ["script", "style", "xmp", "iframe", "noembed", "noframes", "noscript", "plaintext"];
    names.contains(&element.value().name())
}

/// The contents as XML, trimmed. cheerio writes them as HTML and reads that as a fragment, which tells where they are
/// not markup, or a head and a body.
pub(super) fn inner_xml(element: ElementRef<'_>) -> String {
    let written = if is_raw_text(element) || element.value().name() == "html" {
        write(Html::parse_fragment(&inner_html(element)).root_element())
    } else {
        write(element)
    };
    written.trim().to_string()
}

fn write(parent: ElementRef<'_>) -> String {
    let mut out = String::new();
    for edge in parent.traverse() {
        let (node, opens) = match edge {
            Edge::Open(node) => (node, true),
            Edge::Close(node) => (node, false),
        };
        if node.id() == parent.id() {
            continue;
        }
        match node.value() {
            Node::Element(element) if opens => {
                out.push('<');
                out.push_str(element.name());
                for (name, value) in element.attrs() {
                    out.push(' ');
                    out.push_str(name);
                    out.push_str("=\"");
                    escape(value, &mut out);
                    out.push('"');
                }
                out.push_str(if node.has_children() { ">" } else { "/>" });
            }
            Node::Element(element) if node.has_children() => {
                out.push_str("</");
                out.push_str(element.name());
                out.push('>');
            }
            Node::Text(text) if opens => escape(text, &mut out),
            Node::Comment(comment) if opens => {
                out.push_str("<!--");
                out.push_str(comment);
                out.push_str("-->");
            }
            _ => {}
        }
    }
    out
}

fn escape(text: &str, out: &mut String) {
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&apos;"),
            c if c.is_ascii() => out.push(c),
            c => out.push_str(&format!("&#x{:X};", u32::from(c))),
        }
    }
}
