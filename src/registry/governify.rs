//! A Governify Registry over HTTP: `GET /api/v6/agreements` and `/api/v6/templates`, asked again and again; an answer
//! that has not changed (304, or the same bytes) costs nothing.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use http::header::{AUTHORIZATION, ETAG, IF_NONE_MATCH, LINK};
use http::{HeaderValue, Method};
use serde_json::Value;
use url::Url;

use super::document::{Document, Found, Known};
use super::references::{References, has_remote};
use super::shown::{basic, scrubbed, shown};
use super::source::{Source, SourceError, Times};
use crate::clock::Clock;
use crate::model::diagnostic::Diagnostic;
use crate::net::{Net, NetRequest};

/// Pages followed of one list.
const PAGES_MAX: usize = 1_000;

/// One Registry.
pub struct GovernifySource {
    /// As configured, with its secrets.
    address: String,
    base: Url,
    net: Arc<Net>,
    times: Times,
    agreements: List,
    templates: List,
    known: Known,
    /// A document refers to others, which may change without it.
    has_remote: bool,
}

/// One list of a Registry as it was answered last.
#[derive(Default)]
struct List {
    etag: Option<HeaderValue>,
    pages: Vec<Bytes>,
}

/// What became of a question.
enum Answer {
    Same,
    New,
    /// There is no such list.
    Missing,
}

impl GovernifySource {
    /// # Errors
    /// What is wrong with the address, without its secrets.
    pub fn new(address: &str, net: &Arc<Net>, times: Times) -> Result<GovernifySource, String> {
        let base = Url::parse(address).map_err(|e| format!("{} is no address: {e}", shown(address)))?;
        if base.host_str().is_none_or(str::is_empty) {
            return Err(format!("{} names no host; expected such as http://registry:5400", shown(address)));
        }
        Ok(GovernifySource {
            address: address.into(),
            base,
            net: net.clone(),
            times,
            agreements: List::default(),
            templates: List::default(),
            known: Known::default(),
            has_remote: false,
        })
    }

    /// Where a list is: below the base, which may be given with or without `/api/v6/agreements`.
    fn list_url(&self, name: &str) -> Url {
        let mut url = self.base.clone();
        url.set_fragment(None);
        let path = url.path().trim_end_matches('/');
        let path = path.strip_suffix("/agreements").unwrap_or(path);
        let path = path.strip_suffix("/api/v6").unwrap_or(path);
        url.set_path(&format!("{path}/api/v6/{name}"));
        url
    }

    async fn ask(&self, name: &str, list: &mut List) -> Result<Answer, SourceError> {
        let mut url = self.list_url(name);
        let (mut pages, mut etag) = (Vec::new(), None);
        loop {
            let failed = |why: String| SourceError(format!("GET {}: {}", shown(url.as_str()), self.scrubbed(&why)));
            let mut request = NetRequest::new(Method::GET, url.clone());
            request.timeout = Some(self.times.request);
            if let Some(login) = basic(&self.base)
                && let Ok(login) = HeaderValue::from_str(&login)
            {
                request.headers.insert(AUTHORIZATION, login);
            }
            if let Some(known) = list.etag.as_ref().filter(|_| pages.is_empty()) {
                request.headers.insert(IF_NONE_MATCH, known.clone());
            }
            let answer = self.net.request(request).await.map_err(|e| failed(e.to_string()))?;
            match answer.status {
                200 => {}
                304 if pages.is_empty() => return Ok(Answer::Same),
                404 if pages.is_empty() => return Ok(Answer::Missing),
                status => return Err(failed(format!("it was answered with {status}; expected 200 and a list"))),
            }
            pages.push(answer.body);
            let next = answer.headers.get(LINK).and_then(|link| next_page(link.to_str().ok()?, &url));
            match next {
                None => {
                    // A list of several pages has no tag of its own.
                    etag = etag.or(answer.headers.get(ETAG).cloned()).filter(|_| pages.len() == 1);
                    break;
                }
                Some(next) if next.origin() != url.origin() => {
                    return Err(failed(format!("its next page is elsewhere, at {}", shown(next.as_str()))));
                }
                Some(_) if pages.len() >= PAGES_MAX => return Err(failed(format!("more than {PAGES_MAX} pages"))),
                Some(next) => url = next,
            }
        }
        let same = pages == list.pages;
        *list = List { etag, pages };
        Ok(if same { Answer::Same } else { Answer::New })
    }

    fn scrubbed(&self, text: &str) -> String {
        scrubbed(text, &self.address)
    }

    /// The documents of the list's pages.
    fn documents(&self, name: &str, list: &List) -> Result<Vec<Value>, SourceError> {
        let failed = |why: String| SourceError(format!("GET {}: {why}", shown(self.list_url(name).as_str())));
        let mut documents = Vec::new();
        for page in &list.pages {
            match serde_json::from_slice(page) {
                Ok(Value::Array(found)) => documents.extend(found),
                Ok(_) => return Err(failed("the answer is JSON, but no list".into())),
                Err(error) => return Err(failed(format!("the answer is not JSON: {error}"))),
            }
        }
        Ok(documents)
    }

    async fn agreement(&mut self, mut value: Value, position: usize, references: &mut References) -> Document {
        let of_database = strip(&mut value);
        let id = value.get("id").and_then(Value::as_str).map(str::to_owned);
        let mut url = self.list_url("agreements");
        url.set_query(None);
        if let (Some(id), Ok(mut path)) = (&id, url.path_segments_mut()) {
            path.push(id);
        }
        // Ids are not unique in every Registry; what its database calls the document is.
        let key = of_database.or(id).unwrap_or_else(|| format!("agreements[{position}]"));
        let source = shown(url.as_str());
        if !has_remote(&value) {
            let content = value.to_string();
            return self.known.get(&key, content.as_bytes(), || Document::of_value(&key, &source, value));
        }
        self.has_remote = true;
        let (value, problems) = references.resolve(&value, Some(&url)).await;
        let mut document = Document::of_value(&key, &source, value);
        document.diagnostics.extend(problems.into_iter().map(|p| p.in_file(&source)));
        document
    }
}

/// Takes away what the Registry's database adds. Gives the document's `_id`.
pub(super) fn strip(document: &mut Value) -> Option<String> {
    let map = document.as_object_mut()?;
    map.shift_remove("__v");
    map.shift_remove("_id")?.as_str().map(str::to_owned)
}

/// The address of `rel="next"` in a Link header.
fn next_page(header: &str, url: &Url) -> Option<Url> {
    header.split(',').find_map(|link| {
        let (target, parameters) = link.trim().strip_prefix('<')?.split_once('>')?;
        let is_next = parameters.split(';').any(|p| matches!(p.trim(), "rel=next" | "rel=\"next\""));
        url.join(target).ok().filter(|_| is_next)
    })
}

#[async_trait]
impl Source for GovernifySource {
    fn name(&self) -> String {
        shown(&self.address)
    }

    fn kind(&self) -> &'static str {
        "registry"
    }

    async fn read(&mut self) -> Result<Option<Found>, SourceError> {
        let mut agreements = std::mem::take(&mut self.agreements);
        let answered = self.ask("agreements", &mut agreements).await;
        self.agreements = agreements;
        let listed = match answered? {
            Answer::Same => false,
            Answer::New => true,
            Answer::Missing => {
                let url = shown(self.list_url("agreements").as_str());
                return Err(SourceError(format!("GET {url}: 404; is this the address of a Registry?")));
            }
        };
        let mut diagnostics = Vec::new();
        let mut templates = std::mem::take(&mut self.templates);
        let answered = self.ask("templates", &mut templates).await;
        self.templates = templates;
        let templated = match answered {
            Ok(Answer::Same) => false,
            Ok(Answer::New) => true,
            Ok(Answer::Missing) => !std::mem::take(&mut self.templates).pages.is_empty(),
            // No agreement depends on them.
            Err(SourceError(problem)) => {
                let name = self.name();
                diagnostics.push(Diagnostic::warning("templates-unreadable", "$", problem).in_file(name));
                true
            }
        };
        if !listed && !templated && !self.has_remote {
            return Ok(None);
        }
        self.has_remote = false;
        let mut references = References::new(self.net.clone(), self.times.request);
        let mut documents = Vec::new();
        let values = match self.documents("agreements", &self.agreements) {
            Ok(values) => values,
            Err(problem) => {
                // The same answer must not count as known next time.
                self.agreements = List::default();
                return Err(problem);
            }
        };
        for (i, value) in values.into_iter().enumerate() {
            documents.push(self.agreement(value, i, &mut references).await);
        }
        for mut value in self.documents("templates", &self.templates).unwrap_or_default() {
            strip(&mut value);
            let id = value.get("id").and_then(Value::as_str).unwrap_or_default();
            let source = format!("{}/{id}", shown(self.list_url("templates").as_str()));
            documents.push(Document::template(&source, &source, value));
        }
        self.known.retain(&documents);
        Ok(Some(Found { documents, diagnostics, ..Found::default() }))
    }

    async fn changed(&mut self, clock: &Clock) {
        clock.sleep(self.times.poll).await;
    }
}
