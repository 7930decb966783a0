//! `exists-section-in-doc`: a document on the web or in a GitHub repository has a section.

use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use probity_sdk::prelude::*;
use status_conventions::service;
use status_conventions::verdict::{self, Finding};

/// Checks that a document contains a text, such as the title of a section.
///
/// - *Type* **URL**: the document at *URL*.
/// - **GithubUrl**: the document *Document* in *Path* of a GitHub repository; `.pdf` is added to a name without an
///   ending.
///
/// The document is a PDF, or text such as Markdown, as its own bytes say. Sets `msg.payload.result`: true if the text
/// of the document contains the section, upper and lower case as given, any blanks and line ends alike. A payload that
/// is missing, or a text, is replaced by an object.
///
/// A document that cannot be read (not found, not allowed, encrypted, scanned, broken) is an error; so is a section
/// that is not found in a document of which only a part can be read.
///
/// *Store evidences* adds `{id, key: "Section", value: {section, data}, result}` to `msg.payload.evidences`; `data` is
/// the document's text, cut after 20,000 characters. The token is a secret of the operator (`secret:NAME`), or sent by
/// the caller; it goes to the *GitHub API* and nowhere else.
///
/// A caller may send `section`, `valueType`, `user`, `repo`, `path`, `docName`, `url`, `githubToken` and
/// `storeEvidences` in the body of the request.
#[derive(Clone, Config)]
pub struct ExistsSectionInDoc {
    /// The text looked for.
    #[config(label = "Section", default = "")]
    section: String,
    /// Where the document is.
    #[config(name = "valueType", label = "Type", default = "GithubUrl")]
    place: Place,
    /// Owner of the GitHub repository.
    #[config(label = "GitHub user", default = "")]
    user: String,
    /// Name of the GitHub repository.
    #[config(label = "Repository", default = "")]
    repo: String,
    /// Folder in the repository; empty for the top one.
    #[config(label = "Path", default = "")]
    path: String,
    /// Name of the document.
    #[config(name = "docName", label = "Document", default = "")]
    document: String,
    /// Address of the document.
    #[config(label = "URL", default = "")]
    url: String,
    /// GitHub's token; public repositories need none.
    #[config(name = "githubToken", label = "GitHub token", default = "")]
    token: Option<Secret>,
    /// Base URL of GitHub.
    #[config(name = "githubApiUrl", label = "GitHub API", default = "https://api.github.com", config_only)]
    github: String,
    /// Keep what was found as evidence.
    #[config(name = "storeEvidences", label = "Store evidences", default = false)]
    store_evidences: bool,
}

/// Where a document is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Config)]
pub enum Place {
    #[config(name = "GithubUrl")]
    Github,
    #[config(name = "URL")]
    Url,
}

#[node(
    type = "exists-section-in-doc",
    category = "validation",
    color = "#DDAA99",
    icon = "fa-file-text-o",
    wants = ["payload", "req"],
    capabilities = ["evidence", "http", "secret"]
)]
impl Node for ExistsSectionInDoc {
    fn process(&self, mut msg: Message, cx: &Context) -> Result<()> {
        let config = self.over(&msg)?;
        let section = config.section.as_str();
        ensure!(!section.trim().is_empty(), "section is empty: the text to look for was expected");
        let bytes = match config.place {
            Place::Url => config.fetch(cx)?,
            Place::Github => config.fetch_of_github(cx)?,
        };
        let document = documents::read(&bytes)?;
        let result = documents::contains(&document.text, section);
        ensure!(
            result || document.is_whole(),
            "{section:?} is not in what can be read of the document, which is not all of it{}: whether the section is \
             in the document is unknown",
            unread(&document)
        );
        if !(msg.payload().is_object() || msg.payload().is_array()) {
            msg.set_payload(json!({}));
        }
        verdict::conclude(&mut msg, result)?;
        if config.store_evidences {
            let data = cut(&document.text);
            verdict::store(
                &mut msg,
                cx,
                &Finding::new("Section", json!({ "section": section, "data": data }), result),
            )?;
        }
        cx.emit(0, msg)
    }
}

const TIME: Duration = Duration::from_secs(30);

impl ExistsSectionInDoc {
    fn fetch(&self, cx: &Context) -> Result<Vec<u8>> {
        ensure!(!self.url.is_empty(), "URL not provided: url is empty, the address of a document was expected");
        let answer = cx.http().get(self.url.as_str()).timeout(TIME).send().context("Error fetching the document")?;
        Ok(service::good(answer, "the document")?.into_bytes())
    }

    fn fetch_of_github(&self, cx: &Context) -> Result<Vec<u8>> {
        let needed = [("user", &self.user), ("repo", &self.repo), ("docName", &self.document)];
        let missing: Vec<&str> = needed.iter().filter(|(_, value)| value.is_empty()).map(|(name, _)| *name).collect();
        ensure!(missing.is_empty(), "Missing required parameters: {} is empty", missing.join(", "));
        let mut asked = cx.http().get(self.contents()).header("accept", "application/vnd.github+json").timeout(TIME);
        if let Some(token) = &self.token {
            asked = asked.bearer(cx.secret(token)?);
        }
        let answer = asked.send().context("Error fetching the document's entry at GitHub")?;
        let entry: Value = service::good(answer, "the document's entry at GitHub")?.json()?;
        let text = |name: &str| entry.get(name).and_then(Value::as_str).filter(|text| !text.is_empty());
        // Up to 1 MB the entry brings the document itself: https://docs.github.com/en/rest/repos/contents
        if let (Some("base64"), Some(content)) = (text("encoding"), text("content")) {
            let letters: String = content.split_whitespace().collect();
            return BASE64_STANDARD.decode(letters).context("the content in GitHub's answer is not Base64");
        }
        let url = text("download_url").context(
            "GitHub's answer has neither content nor download_url: docName is not a file, or too large for its API",
        )?;
        let answer = cx.http().get(url).timeout(TIME).send().context("Error fetching the document")?;
        Ok(service::good(answer, "the document")?.into_bytes())
    }

    /// The URL of the document's entry.
    fn contents(&self) -> String {
        let base = self.github.trim_end_matches('/');
        let (user, repo) = (service::segment(&self.user), service::segment(&self.repo));
        let folders = self.path.split('/').filter(|part| !part.is_empty()).map(|part| service::segment(part) + "/");
        let folders: String = folders.collect();
        let ending = if self.document.contains('.') { "" } else { ".pdf" };
        let document = service::segment(&format!("{}{ending}", self.document));
        format!("{base}/repos/{user}/{repo}/contents/{folders}{document}")
    }
}

fn unread(document: &documents::Document) -> String {
    if document.scanned.is_empty() {
        return " (its fonts do not name some letters)".to_owned();
    }
    let pages: Vec<String> = document.scanned.iter().take(10).map(usize::to_string).collect();
    format!(" (without text: page {})", pages.join(", "))
}

fn cut(text: &str) -> String {
    match text.char_indices().nth(20_000) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}
