//! The text of documents: PDF, OpenDocument, Word, and plain text in the usual encodings.

pub mod office;
mod pdf;
mod plain;

pub use plain::text as plain_text;

use std::fmt;

/// Why a document gives no text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Problem {
    /// It cannot be opened without a password, or is encrypted in a way that is not known.
    Encrypted,
    /// Pages, but no text on any of them: most likely scanned images.
    Scanned {
        /// How many pages it has.
        pages: usize,
    },
    /// Its fonts name none of their letters.
    Unnamed,
    /// It begins like a PDF and cannot be read.
    Broken,
    /// Neither a PDF nor text.
    Unknown,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Encrypted => f.write_str("the PDF is encrypted; a copy without password was expected"),
            Self::Scanned { pages } => write!(
                f,
                "the PDF has no text on its {pages} pages, most likely they are scanned images; a PDF made by text \
                 recognition (OCR) was expected"
            ),
            Self::Unnamed => {
                f.write_str("the PDF's fonts do not say which letters they draw, so it has no text to read")
            }
            Self::Broken => f.write_str("the PDF is broken or was cut off"),
            Self::Unknown => f.write_str("the document is neither a PDF nor text"),
        }
    }
}

impl std::error::Error for Problem {}

/// A document's text, and what of it could not be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Document {
    /// Lines of a PDF end with `\n`; a space stands where letters are apart; U+FFFD is a letter that its font does not
    /// name.
    pub text: String,
    /// Pages of a PDF, counted from 1, that have images and no text: most likely scanned.
    pub scanned: Vec<usize>,
}

impl Document {
    /// Whether the text is all there is: no page is scanned, every letter is known.
    pub fn is_whole(&self) -> bool {
        self.scanned.is_empty() && !self.text.contains('\u{FFFD}')
    }
}

/// The text of a document, recognised by its first bytes: a PDF, or text in UTF-8, UTF-16 with its mark, or else
/// Windows-1252.
pub fn text(bytes: &[u8]) -> Result<String, Problem> {
    read(bytes).map(|document| document.text)
}

/// As [`text`], with what could not be read.
pub fn read(bytes: &[u8]) -> Result<Document, Problem> {
    // The header may follow some other bytes (ISO 32000-1, annex H, note 13).
    let head = &bytes[..bytes.len().min(1024)];
    if head.windows(5).any(|five| five == b"%PDF-") {
        return pdf::read(bytes);
    }
    plain::text(bytes).map(|text| Document { text, scanned: Vec::new() })
}

/// Whether `text` holds `part`, where any blanks and line ends count as one space: a PDF has no others to tell.
pub fn contains(text: &str, part: &str) -> bool {
    let flat = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
    flat(text).contains(&flat(part))
}
