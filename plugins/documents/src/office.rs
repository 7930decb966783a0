//! OpenDocument (ODT, ODS, ODP: ISO/IEC 26300) and Word's Office Open XML (DOCX: ECMA-376): XML in ZIP archives.

use std::fmt;
use std::io::{Cursor, Read};

use quick_xml::events::{BytesStart, Event};
use quick_xml::reader::Reader;
use zip::ZipArchive;

/// Largest part of an archive, unpacked, bytes.
const PART_MAX: u64 = 32 << 20;
/// Blanks that one element of OpenDocument may stand for.
const BLANKS_MAX: usize = 1_000;

/// A document's text and what it says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Office {
    /// Paragraphs end with `\n`.
    pub text: String,
    /// `title`, `author`, `subject`, `createdAt`, `modifiedAt`, `keywords`, as far as it says so.
    pub properties: Vec<(&'static str, String)>,
    /// For example `OpenDocument Text`.
    pub format: &'static str,
}

/// Why an archive gives no text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Problem {
    Encrypted,
    /// An archive of something else, such as a spreadsheet of Excel.
    Unknown,
    /// With what is wrong.
    Broken(String),
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Encrypted => {
                f.write_str("it is encrypted, or a DOC; a DOCX or OpenDocument without password was expected")
            }
            Self::Unknown => f.write_str("it is no OpenDocument (ODT, ODS, ODP) and no DOCX"),
            Self::Broken(what) => write!(f, "it is broken or was cut off: {what}"),
        }
    }
}

impl std::error::Error for Problem {}

/// Whether the bytes are a ZIP archive, or an encrypted file of Microsoft Office, which is none.
pub fn is_archive(bytes: &[u8]) -> bool {
    bytes.starts_with(b"PK\x03\x04") || bytes.starts_with(OLE)
}

/// What encrypted DOCX, and DOC, begin with.
const OLE: &[u8] = b"\xD0\xCF\x11\xE0";

type Archive<'b> = ZipArchive<Cursor<&'b [u8]>>;

/// Reads an OpenDocument or a DOCX.
pub fn read(bytes: &[u8]) -> Result<Office, Problem> {
    if bytes.starts_with(OLE) {
        return Err(Problem::Encrypted);
    }
    let mut archive = ZipArchive::new(Cursor::new(bytes)).map_err(broken)?;
    if let Some(document) = part(&mut archive, "word/document.xml")? {
        let properties = part(&mut archive, "docProps/core.xml")?;
        return finish(words(&document, &WORD)?, properties, "Microsoft Word");
    }
    let mime = part(&mut archive, "mimetype")?.unwrap_or_default();
    let format = match mime.trim() {
        "application/vnd.oasis.opendocument.text" => "OpenDocument Text",
        "application/vnd.oasis.opendocument.spreadsheet" => "OpenDocument Spreadsheet",
        "application/vnd.oasis.opendocument.presentation" => "OpenDocument Presentation",
        _ => return Err(Problem::Unknown),
    };
    let manifest = part(&mut archive, "META-INF/manifest.xml")?.unwrap_or_default();
    if manifest.contains("encryption-data") {
        return Err(Problem::Encrypted);
    }
    let content = part(&mut archive, "content.xml")?.ok_or_else(|| Problem::Broken("it has no content.xml".into()))?;
    let properties = part(&mut archive, "meta.xml")?;
    finish(words(&content, &OPEN_DOCUMENT)?, properties, format)
}

fn finish(text: String, properties: Option<String>, format: &'static str) -> Result<Office, Problem> {
    let properties = properties.as_deref().map(facts).transpose()?.unwrap_or_default();
    Ok(Office { text, properties, format })
}

fn broken(error: impl fmt::Display) -> Problem {
    Problem::Broken(error.to_string())
}

/// The text of a part; `None` if there is none of this name.
fn part(archive: &mut Archive<'_>, name: &str) -> Result<Option<String>, Problem> {
    let file = match archive.by_name(name) {
        Ok(file) => file,
        Err(zip::result::ZipError::FileNotFound) => return Ok(None),
        Err(error) => return Err(broken(error)),
    };
    let mut bytes = Vec::new();
    file.take(PART_MAX + 1).read_to_end(&mut bytes).map_err(broken)?;
    if bytes.len() as u64 > PART_MAX {
        return Err(Problem::Broken(format!("{name} is larger than {} MiB", PART_MAX >> 20)));
    }
    String::from_utf8(bytes).map(Some).map_err(|_| Problem::Broken(format!("{name} is not UTF-8")))
}

/// How a format writes text: local names of its elements.
struct Markup {
    /// What holds letters.
    text: &'static [&'static str],
    paragraph: &'static [&'static str],
    tab: &'static [&'static str],
    line_break: &'static [&'static str],
    /// What is passed over: deleted text, alternatives of what was shown already, settings.
    skipped: &'static [&'static str],
}

const OPEN_DOCUMENT: Markup = Markup {
    text: &["p", "h"],
    paragraph: &["p", "h"],
    tab: &["tab"],
    line_break: &["line-break"],
    skipped: &["tracked-changes"],
};

const WORD: Markup =
    Markup { text: &["t"], paragraph: &["p"], tab: &["tab"], line_break: &["br", "cr"], skipped: &["pPr", "Fallback"] };

/// The text of a part. `within` counts the elements that hold letters, `hidden` those that are passed over.
fn words(xml: &str, markup: &Markup) -> Result<String, Problem> {
    let mut reader = Reader::from_str(xml);
    let (mut text, mut within, mut hidden, mut open) = (String::new(), 0_usize, 0_usize, 0_usize);
    loop {
        match reader.read_event().map_err(broken)? {
            Event::Start(tag) => {
                let name = tag.local_name().as_ref().to_owned();
                open += 1;
                hidden += usize::from(markup.skipped.contains(&name.as_str()));
                within += usize::from(markup.text.contains(&name.as_str()));
                if hidden == 0 {
                    mark(&mut text, &name, &tag, markup);
                }
            }
            Event::Empty(tag) => {
                let name = tag.local_name().as_ref().to_owned();
                if hidden == 0 {
                    mark(&mut text, &name, &tag, markup);
                    if markup.paragraph.contains(&name.as_str()) {
                        text.push('\n');
                    }
                }
            }
            Event::End(tag) => {
                let name = tag.local_name().as_ref().to_owned();
                open = open.saturating_sub(1);
                if hidden == 0 && markup.paragraph.contains(&name.as_str()) {
                    text.push('\n');
                }
                hidden = hidden.saturating_sub(usize::from(markup.skipped.contains(&name.as_str())));
                within = within.saturating_sub(usize::from(markup.text.contains(&name.as_str())));
            }
            Event::Text(found) if within > 0 && hidden == 0 => text.push_str(&found.xml10_content()),
            Event::CData(found) if within > 0 && hidden == 0 => text.push_str(&found),
            Event::GeneralRef(entity) if within > 0 && hidden == 0 => {
                match entity.resolve_char_ref().map_err(broken)? {
                    Some(char) => text.push(char),
                    None => text.push_str(quick_xml::escape::resolve_predefined_entity(&entity).unwrap_or_default()),
                }
            }
            Event::Eof if open > 0 => return Err(Problem::Broken("its XML ends too early".to_owned())),
            Event::Eof => return Ok(text),
            _ => {}
        }
    }
}

/// What an element that has no letters stands for.
fn mark(text: &mut String, name: &str, tag: &BytesStart<'_>, markup: &Markup) {
    if markup.tab.contains(&name) {
        text.push('\t');
    } else if markup.line_break.contains(&name) {
        text.push('\n');
    } else if name == "s" && markup.text.contains(&"h") {
        let count = tag.try_get_attribute("text:c").ok().flatten();
        let count = count.and_then(|count| count.value.parse::<usize>().ok()).unwrap_or(1);
        text.extend(std::iter::repeat_n(' ', count.min(BLANKS_MAX)));
    }
}

/// What `meta.xml` or `docProps/core.xml` say.
fn facts(xml: &str) -> Result<Vec<(&'static str, String)>, Problem> {
    let mut reader = Reader::from_str(xml);
    let (mut found, mut value): (Vec<(&'static str, String)>, String) = (Vec::new(), String::new());
    loop {
        match reader.read_event().map_err(broken)? {
            Event::Start(_) => value.clear(),
            Event::Text(text) => value.push_str(&text.xml10_content()),
            Event::GeneralRef(entity) => {
                value.push_str(quick_xml::escape::resolve_predefined_entity(&entity).unwrap_or_default());
            }
            Event::End(tag) => {
                let name = match tag.local_name().as_ref() {
                    "title" => "title",
                    "creator" => "author",
                    "subject" => "subject",
                    "creation-date" | "created" => "createdAt",
                    "date" | "modified" => "modifiedAt",
                    "keyword" | "keywords" => "keywords",
                    _ => continue,
                };
                let text = value.trim();
                match found.iter_mut().find(|(known, _)| *known == name) {
                    Some((_, known)) if !text.is_empty() => *known = format!("{known}, {text}"),
                    None if !text.is_empty() => found.push((name, text.to_owned())),
                    _ => {}
                }
                value.clear();
            }
            Event::Eof => return Ok(found),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::io::Write;

    use zip::ZipWriter;
    use zip::write::SimpleFileOptions;

    use super::*;

    fn archive(parts: &[(&str, &str)]) -> Vec<u8> {
        let mut writer = ZipWriter::new(Cursor::new(Vec::new()));
        for (name, text) in parts {
            let method =
                if *name == "mimetype" { zip::CompressionMethod::Stored } else { zip::CompressionMethod::Deflated };
            writer.start_file(*name, SimpleFileOptions::default().compression_method(method)).unwrap();
            writer.write_all(text.as_bytes()).unwrap();
        }
        writer.finish().unwrap().into_inner()
    }

    const ODT: &str = "<office:document-content><text:tracked-changes><text:p>gone</text:p></text:tracked-changes>\
        <text:h>1. Scope</text:h><text:p>A<text:s text:c=\"2\"/>&amp;<text:tab/>B<text:line-break/>C &#233;</text:p>\
        <table:table-cell><text:p>cell</text:p></table:table-cell><text:p/></office:document-content>";

    #[test]
    fn open_documents_are_read() {
        let meta = "<m><dc:title>Policy &lt;1&gt;</dc:title><meta:keyword>a</meta:keyword><meta:keyword>b</meta:keyword>\
            <meta:creation-date>2026-01-02T03:04:05</meta:creation-date><dc:subject/></m>";
        let mime = "application/vnd.oasis.opendocument.text";
        let bytes = archive(&[("mimetype", mime), ("content.xml", ODT), ("meta.xml", meta)]);
        assert!(is_archive(&bytes));
        let found = read(&bytes).unwrap();
        assert_eq!(found.text, "1. Scope\nA  &\tB\nC é\ncell\n\n");
        assert_eq!(found.format, "OpenDocument Text");
        let expected = [("title", "Policy <1>"), ("keywords", "a, b"), ("createdAt", "2026-01-02T03:04:05")];
        assert_eq!(found.properties, expected.map(|(name, value)| (name, value.to_owned())));
    }

    #[test]
    fn word_documents_are_read() {
        let document = "<w:document><w:p><w:pPr><w:tabs><w:tab w:pos=\"1\"/></w:tabs></w:pPr><w:r><w:t>Who</w:t>\
            <w:tab/><w:t xml:space=\"preserve\"> may</w:t><w:delText>x</w:delText><w:instrText>TOC</w:instrText></w:r>\
            </w:p><w:p><w:r><w:t>2</w:t><w:br/><w:t>3</w:t></w:r></w:p></w:document>";
        let core = "<c><dc:creator>Ana</dc:creator><dcterms:modified>2026-01-02</dcterms:modified></c>";
        let found = read(&archive(&[("word/document.xml", document), ("docProps/core.xml", core)])).unwrap();
        assert_eq!(found.text, "Who\t may\n2\n3\n");
        assert_eq!((found.format, found.properties.len()), ("Microsoft Word", 2));
    }

    #[test]
    fn what_cannot_be_read_says_why() {
        let mime = ("mimetype", "application/vnd.oasis.opendocument.text");
        assert_eq!(read(&archive(&[("xl/workbook.xml", "<x/>")])), Err(Problem::Unknown));
        let manifest = ("META-INF/manifest.xml", "<m:encryption-data/>");
        assert_eq!(read(&archive(&[mime, ("content.xml", "?"), manifest])), Err(Problem::Encrypted));
        assert_eq!(read(b"\xD0\xCF\x11\xE0 and more"), Err(Problem::Encrypted));
        let whole = archive(&[mime, ("content.xml", ODT)]);
        for cut in 4..whole.len() {
            assert!(matches!(read(&whole[..cut]), Err(Problem::Broken(_))), "{cut}");
        }
        assert!(matches!(read(&archive(&[mime, ("content.xml", &ODT[..200])])), Err(Problem::Broken(_))));
    }
}
