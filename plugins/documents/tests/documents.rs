//! PDFs of five producers, and the ones that cannot be read, whole, cut and damaged. `files/README.md` says how they
//! were made.

#![allow(clippy::unwrap_used)]

use documents::{Problem, contains, read, text};

fn file(name: &str) -> Vec<u8> {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/files").join(name);
    std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

const PRODUCERS: [&str; 5] = ["chromium.pdf", "fpdf2.pdf", "matplotlib.pdf", "reportlab.pdf", "typst.pdf"];

#[test]
fn five_producers_give_their_words_and_lines() {
    for name in PRODUCERS {
        let document = read(&file(name)).unwrap();
        assert!(document.is_whole(), "{name}: {document:?}");
        let lines: Vec<&str> = document.text.lines().map(str::trim).collect();
        for line in ["Security policy", "2 Access control", "3 Retención de datos"] {
            assert!(lines.contains(&line), "{name} has no line {line:?}: {lines:#?}");
        }
        assert!(contains(&document.text, "This policy says how the data of custom"), "{name}: {}", document.text);
        assert!(!contains(&document.text, "Physical security"), "{name}");
    }
}

#[test]
fn ligatures_and_quotes_are_letters() {
    for name in PRODUCERS.into_iter().filter(|name| *name != "matplotlib.pdf") {
        let text = text(&file(name)).unwrap();
        assert!(contains(&text, "Los datos se conservan cinco años – ni más, ni menos."), "{name}: {text}");
        assert!(
            contains(&text, "Office “final” affluent.") || contains(&text, "Oﬃce “ﬁnal” aﬄuent."),
            "{name}: {text}"
        );
    }
}

#[test]
fn a_pdf_that_needs_a_password_says_so() {
    assert_eq!(read(&file("encrypted.pdf")), Err(Problem::Encrypted));
    // Restricted for printing, yet anybody may open it.
    assert!(contains(&text(&file("restricted.pdf")).unwrap(), "Access control"));
}

#[test]
fn scanned_pages_say_so() {
    assert_eq!(read(&file("scanned.pdf")), Err(Problem::Scanned { pages: 1 }));
    let partly = read(&file("partly-scanned.pdf")).unwrap();
    assert_eq!(partly.scanned, [3]);
    assert!(!partly.is_whole());
}

#[test]
fn what_is_no_document_says_so() {
    assert_eq!(read(b"%PDF-1.7\nnothing"), Err(Problem::Broken));
    assert_eq!(read(b"PK\x03\x04"), Err(Problem::Unknown));
    assert_eq!(text("# Policy\r\n\r\n## Access\r\n".as_bytes()).unwrap(), "# Policy\r\n\r\n## Access\r\n");
}

#[test]
fn cut_and_damaged_files_never_panic() {
    for name in PRODUCERS.into_iter().chain(["encrypted.pdf", "scanned.pdf"]) {
        let whole = file(name);
        for part in 1..8 {
            _ = read(&whole[..whole.len() * part / 8]);
        }
        // Some byte of each stretch turned, at places that are the same each time.
        for stretch in 0..16 {
            let mut damaged = whole.clone();
            let at = stretch * damaged.len() / 16 + stretch * 7919 % (damaged.len() / 16);
            damaged[at] ^= 0x55;
            _ = read(&damaged);
        }
    }
}
