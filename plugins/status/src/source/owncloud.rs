//! `owncloud`: files of an ownCloud (or Nextcloud) server by WebDAV (RFC 4918).

use probity_sdk::{ErrorContext, Map, Result, Value, bail, json};
use quick_xml::events::Event;
use quick_xml::reader::Reader;
use status_conventions::service::path as segments;

use super::{Question, basic, text};
use crate::fetching::{Ask, joined, metadata, origin};

const ROOT: &str = "/remote.php/dav/files";

const METHODS: &str = "listFiles, listCollections, listRecursive, searchFiles, getFileProperties, getFileContent, \
                       getDocument, getServerInfo, test, uploadFile, createCollection, copy, move, delete, and default (listFiles)";

/// Folders that a recursive listing looks into at most.
const FOLDERS_MAX: usize = 500;

const PROPERTIES: &str = "<?xml version=\"1.0\" encoding=\"utf-8\"?><d:propfind xmlns:d=\"DAV:\"><d:prop>\
    <d:getlastmodified/><d:getcontentlength/><d:getcontenttype/><d:getetag/><d:creationdate/><d:displayname/>\
    <d:resourcetype/></d:prop></d:propfind>";

/// Asks, and gives `{data, metadata}`.
pub fn reply(question: &Question<'_>) -> Result<Value> {
    let path = question.option("path");
    let needed = || question.needed("path");
    let data = match question.method {
        "default" | "listFiles" => Value::Array(items(question, path.as_deref().unwrap_or(""), "1")?),
        "listCollections" => {
            let mut found = items(question, path.as_deref().unwrap_or(""), "1")?;
            found.retain(|item| item["isCollection"] == true);
            Value::Array(found)
        }
        "getFileProperties" => match items(question, &needed()?, "0")?.into_iter().next() {
            Some(item) => item,
            None => bail!("the answer names no file"),
        },
        "listRecursive" | "searchFiles" | "search" => Value::Array(recursive(question, path.as_deref().unwrap_or(""))?),
        "getServerInfo" | "test" => {
            let connected = !items(question, "", "0")?.is_empty();
            json!({ "connected": connected, "baseUrl": question.required("baseUrl")?, "webdavRoot": root(question) })
        }
        "getFileContent" => {
            let answer = asking(question, "GET", &needed()?)?.send(question.cx)?;
            let content = answer.text().context("the file is no text; getDocument reads documents")?;
            let all = metadata(&answer, "owncloud", question.cx);
            return question.reply(Value::from(content), all, false);
        }
        "getDocument" => {
            let path = needed()?;
            let answer = asking(question, "GET", &path)?.send(question.cx)?;
            document(answer.bytes(), &path)?
        }
        "uploadFile" => {
            let mut ask = asking(question, "PUT", &needed()?)?;
            ask.body = match question.options.get("content") {
                Some(Value::String(text)) => text.clone().into_bytes(),
                Some(other) => other.to_string().into_bytes(),
                None => bail!("uploadFile needs content: set msg.fetchOptions.content"),
            };
            done(question, &ask)?
        }
        "createCollection" => done(question, &asking(question, "MKCOL", &needed()?)?)?,
        "delete" => done(question, &asking(question, "DELETE", &needed()?)?)?,
        "copy" | "move" => {
            let mut ask = asking(question, &question.method.to_ascii_uppercase(), &needed()?)?;
            let to = asking(question, "GET", &question.needed("destination")?)?.url;
            ask.header("destination", to);
            let overwrite = question.options.get("overwrite") == Some(&Value::Bool(true));
            ask.header("overwrite", if overwrite { "T" } else { "F" });
            done(question, &ask)?
        }
        _ => return Err(question.no_method(METHODS)),
    };
    let mut all = Map::new();
    all.insert("timestamp".to_owned(), question.cx.now_ms().into());
    all.insert("source".to_owned(), "owncloud".into());
    question.reply(data, all, false)
}

fn root(question: &Question<'_>) -> String {
    text(question.source.config.get("webdavRoot")).unwrap_or_else(|| ROOT.to_owned())
}

/// A request for a path below the user's folder.
fn asking(question: &Question<'_>, method: &str, path: &str) -> Result<Ask> {
    let base = question.required("baseUrl")?;
    let user = question.required("username")?;
    if path.split('/').any(|part| part == "..") {
        bail!("the path has \"..\": it must stay below the user's folder");
    }
    let mut below = segments(&user);
    if !segments(path).is_empty() {
        below = format!("{below}/{}", segments(path));
    }
    let url = joined(&base, &format!("{}/{below}", root(question).trim_matches('/')))?;
    let mut ask = question.request(url)?;
    ask.method = method.to_owned();
    ask.body.clear();
    ask.headers.retain(|(name, _)| !name.eq_ignore_ascii_case("content-type"));
    match question.secret("authorization")? {
        Some(header) => ask.header("authorization", header),
        None => {
            let password = text(question.source.config.get("password"));
            let hint = "config.password is missing; or give config.authorization, the whole header, as secret:NAME";
            let Some(password) = password else { bail!("{hint}") };
            if password.starts_with("secret:") {
                bail!(
                    "a secret cannot be config.password: put the whole header (\"Basic …\") into it and name it in config.authorization"
                );
            }
            question.secrets.warn_of_literal("password", &password, question.cx);
            ask.header("authorization", basic(&user, Some(&password))?);
        }
    }
    Ok(ask)
}

fn done(question: &Question<'_>, ask: &Ask) -> Result<Value> {
    let answer = ask.send(question.cx)?;
    Ok(json!({ "success": true, "status": answer.status() }))
}

fn items(question: &Question<'_>, path: &str, depth: &str) -> Result<Vec<Value>> {
    let mut ask = asking(question, "PROPFIND", path)?;
    ask.header("depth", depth);
    ask.header("content-type", "application/xml; charset=utf-8");
    ask.body = PROPERTIES.as_bytes().to_vec();
    let answer = ask.send(question.cx)?;
    parse(answer.text()?).context(format_args!("the answer of {}", origin(&ask.url)))
}

/// Everything below a path; with `pattern`, what has it in its name.
fn recursive(question: &Question<'_>, start: &str) -> Result<Vec<Value>> {
    let searching = question.method != "listRecursive";
    let pattern = if searching { Some(question.needed("pattern")?.to_lowercase()) } else { None };
    let prefix = format!("{}/{}", root(question).trim_end_matches('/'), question.required("username")?);
    let (mut folders, mut seen, mut found) = (vec![start.trim_matches('/').to_owned()], 0, Vec::new());
    while let Some(folder) = folders.pop() {
        seen += 1;
        if seen > FOLDERS_MAX {
            bail!("there are more than {FOLDERS_MAX} folders below: name a folder in msg.fetchOptions.path");
        }
        for item in items(question, &folder, "1")? {
            let href = item["href"].as_str().unwrap_or_default();
            let Some((_, path)) = href.split_once(&prefix) else { continue };
            let path = path.trim_matches('/').to_owned();
            // The folder itself is part of its own listing.
            if path.is_empty() || path == folder {
                continue;
            }
            if item["isCollection"] == true {
                folders.push(path.clone());
            }
            let name = path.rsplit('/').next().unwrap_or_default().to_lowercase();
            if pattern.as_ref().is_none_or(|pattern| name.contains(pattern)) {
                found.push(item);
            }
        }
    }
    Ok(found)
}

/// A document's text, as the library of STATUS has it: `{content, metadata, format, size}`.
fn document(bytes: &[u8], path: &str) -> Result<Value> {
    let (content, metadata, format) = if documents::office::is_archive(bytes) {
        let found = documents::office::read(bytes).context(format_args!("the document {path}"))?;
        let metadata: Map<String, Value> =
            found.properties.into_iter().map(|(name, value)| (name.to_owned(), Value::from(value))).collect();
        (found.text, metadata, found.format)
    } else if bytes.starts_with(b"%PDF-") {
        bail!("{path} is a PDF, which getDocument does not read: url-to-doc reads those that need no password");
    } else {
        let text = documents::plain_text(bytes).context(format_args!("the document {path}"))?;
        let format = if path.to_ascii_lowercase().ends_with(".md") { "Markdown" } else { "Plain Text" };
        (text, Map::new(), format)
    };
    Ok(json!({ "content": content, "metadata": metadata, "format": format, "size": bytes.len() }))
}

/// The items of a multi-status answer, whatever prefix it gives the namespace.
fn parse(xml: &str) -> Result<Vec<Value>> {
    let mut reader = Reader::from_str(xml);
    let (mut found, mut item, mut path, mut multistatus) = (Vec::new(), Map::new(), Vec::<String>::new(), false);
    let mut value = String::new();
    loop {
        match reader.read_event()? {
            Event::Start(tag) => {
                let name = tag.local_name().as_ref().to_owned();
                multistatus |= name == "multistatus";
                match name.as_str() {
                    "response" => item = Map::from_iter([("isCollection".to_owned(), Value::Bool(false))]),
                    "collection" => _ = item.insert("isCollection".to_owned(), Value::Bool(true)),
                    _ => {}
                }
                value.clear();
                path.push(name);
            }
            Event::Empty(tag) if tag.local_name().as_ref() == "collection" => {
                item.insert("isCollection".to_owned(), Value::Bool(true));
            }
            Event::Text(text) => value.push_str(&text.xml10_content()),
            Event::GeneralRef(entity) => match entity.resolve_char_ref()? {
                Some(char) => value.push(char),
                None => value.push_str(entity_text(&entity)),
            },
            Event::CData(text) => value.push_str(&text),
            Event::End(tag) => {
                let name = tag.local_name().as_ref().to_owned();
                path.pop();
                if name == "response" {
                    found.push(Value::Object(std::mem::take(&mut item)));
                } else {
                    note(&mut item, &name, value.trim());
                }
                value.clear();
            }
            Event::Eof => break,
            _ => {}
        }
    }
    if !multistatus || !path.is_empty() {
        bail!("it is no whole multi-status document of WebDAV");
    }
    Ok(found)
}

fn entity_text(name: &str) -> &'static str {
    match name {
        "amp" => "&",
        "lt" => "<",
        "gt" => ">",
        "quot" => "\"",
        "apos" => "'",
        _ => "",
    }
}

/// Puts a property under the name the library of STATUS gives it.
fn note(item: &mut Map<String, Value>, name: &str, value: &str) {
    let (name, value) = match name {
        "href" => ("href", Value::from(decoded(value))),
        "getlastmodified" => ("lastModified", Value::from(value)),
        "getcontentlength" => ("contentLength", value.parse::<u64>().map_or(Value::Null, Value::from)),
        "getcontenttype" => ("contentType", Value::from(value)),
        "getetag" => ("etag", Value::from(value.trim_matches('"'))),
        "displayname" => ("displayName", Value::from(value)),
        "creationdate" => ("creationDate", Value::from(value)),
        _ => return,
    };
    // A property that the file has not is listed empty, in a propstat of its own.
    if value != "" && !value.is_null() {
        item.insert(name.to_owned(), value);
    }
}

fn decoded(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, tail @ ..] = rest {
        let hex = tail.get(..2).and_then(|two| std::str::from_utf8(two).ok());
        match hex.filter(|_| *first == b'%').and_then(|two| u8::from_str_radix(two, 16).ok()) {
            Some(byte) => {
                bytes.push(byte);
                rest = &tail[2..];
            }
            None => {
                bytes.push(*first);
                rest = tail;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn a_multi_status_answer_is_read_whatever_its_prefix() {
        let xml = "<?xml version=\"1.0\"?><D:multistatus xmlns:D=\"DAV:\"><D:response><D:href>/remote.php/dav/files/u/A%20%26%20B/\
            </D:href><D:propstat><D:prop><D:resourcetype><D:collection/></D:resourcetype><D:getetag>&quot;1&quot;</D:getetag>\
            </D:prop></D:propstat><D:propstat><D:prop><D:getcontentlength/></D:prop></D:propstat></D:response>\
            <D:response><D:href>/x.txt</D:href><D:propstat><D:prop><D:resourcetype/><D:getcontentlength>12\
            </D:getcontentlength><D:displayname>a &amp; b</D:displayname></D:prop></D:propstat></D:response></D:multistatus>";
        let found = parse(xml).unwrap();
        assert_eq!(found[0], json!({ "isCollection": true, "href": "/remote.php/dav/files/u/A & B/", "etag": "1" }));
        assert_eq!(
            found[1],
            json!({ "isCollection": false, "href": "/x.txt", "contentLength": 12, "displayName": "a & b" })
        );
        assert!(parse("<html></html>").is_err());
        assert!(parse(&xml[..xml.len() - 30]).is_err());
    }
}
