//! `databinder`, ownCloud: documents with their text.

#![allow(clippy::unwrap_used)]

use std::io::{Cursor, Write};

use probity_sdk::testing::{Host, Response};
use probity_sdk::{Result, Value, json};
use status::Databinder;
use zip::ZipWriter;
use zip::write::SimpleFileOptions;

fn document(name: &str, body: Vec<u8>) -> Result<Value> {
    document_with(&Host::new(), name, body)
}

fn document_with(host: &Host, name: &str, body: Vec<u8>) -> Result<Value> {
    let url = format!("http://cloud.test/remote.php/dav/files/ana/{name}");
    host.answer_with("GET", &url, Response { status: 200, headers: Vec::new(), body });
    let linker = json!({ "datasources": [{ "id": "files", "definitionId": "owncloud",
        "config": { "baseUrl": "http://cloud.test", "username": "ana", "password": "p" } }] });
    let config = json!({ "datasourceId": "files", "linker": linker, "methodName": "getDocument" });
    let sent = host.process::<Databinder>(config, json!({ "fetchOptions": { "path": name } }))?;
    Ok(sent[0].msg["payload"]["data"]["data"].clone())
}

fn archive(parts: &[(&str, &str)]) -> Vec<u8> {
    let mut writer = ZipWriter::new(Cursor::new(Vec::new()));
    for (name, text) in parts {
        writer.start_file(*name, SimpleFileOptions::default()).unwrap();
        writer.write_all(text.as_bytes()).unwrap();
    }
    writer.finish().unwrap().into_inner()
}

#[test]
fn documents_come_with_their_text_and_what_they_say_of_themselves() {
    let body = archive(&[
        ("mimetype", "application/vnd.oasis.opendocument.text"),
        ("content.xml", "<d><text:h>Release</text:h><text:p>Two people.</text:p></d>"),
        ("meta.xml", "<m><dc:title>Policy</dc:title></m>"),
    ]);
    let size = body.len();
    assert_eq!(
        document("policy.odt", body).unwrap(),
        json!({ "content": "Release\nTwo people.\n", "metadata": { "title": "Policy" }, "format": "OpenDocument Text",
            "size": size })
    );
    let text = document("notes.md", b"# Sch\xC3\xB6n".to_vec()).unwrap();
    assert_eq!(text, json!({ "content": "# Schön", "metadata": {}, "format": "Markdown", "size": 8 }));
}

#[test]
fn what_has_no_text_to_read_is_an_error_not_an_empty_text() {
    for (name, body, expected) in [
        ("a.pdf", b"%PDF-1.7".to_vec(), "a.pdf is a PDF"),
        ("a.xlsx", archive(&[("xl/workbook.xml", "<w/>")]), "it is no OpenDocument"),
        ("a.doc", b"\xD0\xCF\x11\xE0".to_vec(), "it is encrypted"),
        ("a.docx", b"PK\x03\x04".to_vec(), "it is broken or was cut off"),
        ("a.bin", vec![0, 1, 2], "neither a PDF nor text"),
    ] {
        let error = document(name, body).unwrap_err();
        assert!(error.message().contains(expected), "{name}: {error}");
    }
}

#[test]
fn a_password_that_stands_in_the_linker_is_warned_about() {
    let host = Host::new();
    document_with(&host, "notes.md", b"x".to_vec()).unwrap();
    assert_eq!(host.logs().len(), 1);
    assert!(host.logs()[0].starts_with("warn: the property linker (password) of this node holds the secret itself"));
}
