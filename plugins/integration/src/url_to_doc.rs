//! `url-to-doc`: the text of a document on the web or in a GitHub repository.

use logs::charset;
use probity_sdk::http::Response;
use probity_sdk::prelude::*;
use status_conventions::credential::{credential, needed};
use status_conventions::service::{ask, path, segment};

use crate::service::over;

/// Gets the text of a document: PDF, plain text or Markdown.
///
/// *URL* reads the document at the URL. *GithubUrl* reads the file of a GitHub repository; a name without an ending gets
/// `.pdf`. `msg.payload` becomes the text. A document that cannot be had, is of another kind, needs a password or is a
/// scan without text is an error; pages of a PDF that have images and no text are listed in `msg.scannedPages`.
///
/// The token is the name of a secret, `secret:NAME`, and goes to *API URL* only. A caller may send `valueType`, `user`,
/// `repo`, `path`, `docName`, `url`, and a `githubToken` of its own, in the body of the request.
#[derive(Clone, Config)]
pub struct UrlToDoc {
    /// Where the document is.
    #[config(name = "valueType", label = "Type", default = "GithubUrl", one_of = ["GithubUrl", "URL"])]
    value_type: String,
    /// Owner of the repository.
    #[config(label = "User", default = "")]
    user: String,
    /// The repository.
    #[config(label = "Repository", default = "")]
    repo: String,
    /// Folder of the repository; empty for the root.
    #[config(label = "Path", default = "")]
    path: String,
    /// File name.
    #[config(name = "docName", label = "Document", default = "")]
    name: String,
    /// URL of the document.
    #[config(label = "URL", default = "")]
    url: String,
    /// Token of GitHub, as secret:NAME; public repositories need none.
    #[config(name = "githubToken", label = "Token", default = "", secret)]
    token: String,
    /// Base URL of the API.
    #[config(name = "apiUrl", label = "API URL", default = "https://api.github.com", config_only)]
    api_url: String,
}

#[node(
    type = "url-to-doc",
    category = "integration",
    color = "#DDAA99",
    icon = "fa-file-text-o",
    wants = ["req"],
    capabilities = ["http", "secret", "clock"]
)]
impl Node for UrlToDoc {
    fn process(&self, mut msg: Message, cx: &Context) -> Result<()> {
        let config = over(self, &msg)?;
        let (name, answer) = match config.value_type.as_str() {
            "URL" => {
                ensure!(!config.url.is_empty(), "URL not provided");
                (config.url.clone(), ask(|| cx.http().get(config.url.as_str()), "the document", cx)?)
            }
            _ => config.of_github(&msg, cx)?,
        };
        let document = read(&name, &answer)?;
        if !document.scanned.is_empty() {
            cx.warn(format!("pages {:?} have images and no text: most likely scanned", document.scanned));
            msg.set("scannedPages", document.scanned);
        }
        msg.set_payload(document.text);
        cx.emit(0, msg)
    }
}

impl UrlToDoc {
    fn of_github(&self, msg: &Message, cx: &Context) -> Result<(String, Response)> {
        ensure!(!self.user.is_empty(), "GitHub user not provided");
        let repo = segment(needed(&self.repo, "repo")?);
        let mut name = needed(&self.name, "docName")?.to_owned();
        if kind(&name, None, b"").is_none() {
            name.push_str(".pdf");
        }
        let folder = path(&self.path);
        let folder = if folder.is_empty() { folder } else { format!("{folder}/") };
        let base = self.api_url.trim_end_matches('/');
        let url = format!("{base}/repos/{}/{repo}/contents/{folder}{}", segment(&self.user), segment(&name));
        let token = if self.token.is_empty() { None } else { Some(credential(msg, &self.token, "githubToken", cx)?) };
        let request = || match &token {
            Some(token) => cx.http().get(url.as_str()).bearer(token),
            None => cx.http().get(url.as_str()),
        };
        let found: Value = ask(request, "the document in GitHub", cx)?.json()?;
        let download = found.get("download_url").and_then(Value::as_str);
        let download = download.context("GitHub names no download_url: the path is no file")?;
        // What GitHub names has a token of its own where one is needed.
        Ok((name, ask(|| cx.http().get(download), "the document's content", cx)?))
    }
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Kind {
    Pdf,
    Text,
}

/// What a document is, by the end of its name or URL (`notes.txt?x=1`), else by its Content-Type, else by how it begins.
fn kind(name: &str, content_type: Option<&str>, bytes: &[u8]) -> Option<Kind> {
    let path = name.split(['?', '#']).next().unwrap_or_default().to_ascii_lowercase();
    let ends = |endings: &[&str]| endings.iter().any(|ending| path.ends_with(ending));
    if ends(&[".pdf"]) {
        return Some(Kind::Pdf);
    }
    if ends(&[".txt", ".md", ".markdown", ".text"]) {
        return Some(Kind::Text);
    }
    let essence = content_type.unwrap_or_default().split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    match essence.as_str() {
        "application/pdf" => Some(Kind::Pdf),
        "text/plain" | "text/markdown" => Some(Kind::Text),
        _ if bytes.starts_with(b"%PDF-") => Some(Kind::Pdf),
        _ => None,
    }
}

fn read(name: &str, answer: &Response) -> Result<documents::Document> {
    let content_type = answer.header("content-type");
    let kind = kind(name, content_type, answer.bytes());
    match kind.context("Unsupported file type: PDF, text (.txt) and Markdown (.md) are read")? {
        Kind::Pdf => {
            ensure!(answer.bytes().windows(5).take(1024).any(|five| five == b"%PDF-"), "the document is no PDF");
            documents::read(answer.bytes()).context("the document cannot be read")
        }
        Kind::Text => {
            let label = content_type.and_then(charset::of_content_type);
            let text = charset::decode(answer.bytes(), label).context("the document cannot be read")?;
            Ok(documents::Document { text: text.into_owned(), scanned: Vec::new() })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_are_told_by_name_type_and_beginning() {
        assert_eq!(kind("https://x.test/a.PDF?raw=1", None, b""), Some(Kind::Pdf));
        assert_eq!(kind("a.txt", Some("application/octet-stream"), b""), Some(Kind::Text));
        assert_eq!(kind("README.md#top", None, b""), Some(Kind::Text));
        assert_eq!(kind("a", Some("application/pdf; x=y"), b""), Some(Kind::Pdf));
        assert_eq!(kind("a", Some("text/markdown"), b""), Some(Kind::Text));
        assert_eq!(kind("a.bin", Some("application/octet-stream"), b"%PDF-1.7"), Some(Kind::Pdf));
        assert_eq!(kind("a.docx", None, b"PK"), None);
    }
}
