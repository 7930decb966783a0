//! `exists-url`: an address answers, or a Trello card links to a GitHub repository that exists.

use std::time::Duration;

use probity_sdk::prelude::*;
use status_conventions::service;
use status_conventions::value::{kind, shown};
use status_conventions::verdict::{self, Finding};

use crate::address;

/// Checks that an address exists.
///
/// - *URL type* **payload**: the address is `msg.payload`, or its property `url`. It is fetched: an answer 200 to 299
///   (redirects followed) gives true, 404 and 410 give false, and so does a text that is no web address.
/// - **body**, **config**: the first GitHub address among the attachments of a Trello card is looked up at GitHub.
///   False without such an attachment, or if GitHub knows no such repository (or the token may not see it).
///
/// Sets `msg.payload.result`; a payload that is a text becomes `{url, result, evidences}`. Anything else a service
/// answers (401, 403, 429, 5xx, nothing) is an error: whether the address exists is unknown then.
///
/// *Store evidences* adds `{id, key: "URL" or "GitHub repository", value: address, result}` to `msg.payload.evidences`.
/// Keys and tokens are secrets of the operator (`secret:NAME`), or sent by the caller; Trello's go to the *Trello API*,
/// GitHub's to the *GitHub API* and nowhere else.
///
/// A caller may send `urlType`, `cardId`, `apiKey`, `trelloToken`, `githubToken` and `storeEvidences` in the body of
/// the request.
#[derive(Clone, Config)]
pub struct ExistsUrl {
    /// Where the address is: payload, or body or config for a Trello card.
    #[config(name = "urlType", label = "URL type", default = "payload", placeholder = "payload, body or config")]
    url_type: String,
    /// Id of the Trello card.
    #[config(name = "cardId", label = "Trello card", default = "")]
    card: String,
    /// Trello's API key.
    #[config(name = "apiKey", label = "Trello API key", default = "")]
    api_key: Option<Secret>,
    /// Trello's token.
    #[config(name = "trelloToken", label = "Trello token", default = "")]
    trello_token: Option<Secret>,
    /// GitHub's token; public repositories need none.
    #[config(name = "githubToken", label = "GitHub token", default = "")]
    github_token: Option<Secret>,
    /// Base URL of Trello.
    #[config(name = "trelloApiUrl", label = "Trello API", default = "https://api.trello.com", config_only)]
    trello: String,
    /// Base URL of GitHub.
    #[config(name = "githubApiUrl", label = "GitHub API", default = "https://api.github.com", config_only)]
    github: String,
    /// Keep what was found as evidence.
    #[config(name = "storeEvidences", label = "Store evidences", default = false)]
    store_evidences: bool,
}

#[node(
    type = "exists-url",
    category = "validation",
    color = "#DDAA99",
    icon = "fa-external-link",
    wants = ["payload", "req"],
    capabilities = ["evidence", "http", "secret"]
)]
impl Node for ExistsUrl {
    fn process(&self, mut msg: Message, cx: &Context) -> Result<()> {
        let config = self.over(&msg)?;
        let finding = match config.url_type.to_ascii_lowercase().as_str() {
            "payload" => answers(&address_of(msg.payload())?, cx)?,
            "body" | "config" => config.repository(cx)?,
            _ => bail!("urlType is {:?}: payload, body or config was expected", config.url_type),
        };
        if let Value::String(url) = msg.payload() {
            let payload = json!({ "url": url });
            msg.set_payload(payload);
        }
        verdict::conclude(&mut msg, finding.result.clone())?;
        if config.store_evidences {
            verdict::store(&mut msg, cx, &finding)?;
        }
        cx.emit(0, msg)
    }
}

fn address_of(payload: &Value) -> Result<String> {
    match payload {
        Value::String(url) => Ok(url.clone()),
        Value::Object(object) => match object.get("url") {
            Some(Value::String(url)) => Ok(url.clone()),
            Some(other) => bail!("msg.payload.url is {}: an address was expected", shown(other)),
            None => bail!("msg.payload has no property url: an address was expected there, or as msg.payload itself"),
        },
        other => bail!("msg.payload is {}: an address was expected, or an object with the property url", kind(other)),
    }
}

const TIME: Duration = Duration::from_secs(20);

/// Whether there is something at the address.
fn answers(url: &str, cx: &Context) -> Result<Finding> {
    let found = |result: bool| Ok(Finding::new("URL", url, result));
    if !address::is_valid(url) {
        return found(false);
    }
    // Without a scheme it is valid, yet nothing can be asked.
    let whole = if url.contains("://") { url.to_owned() } else { format!("https://{url}") };
    let answer = cx.http().get(whole).timeout(TIME).send().context("whether the address exists is unknown")?;
    match answer.status() {
        404 | 410 => found(false),
        _ => service::good(answer, "the address").map(|_| ()).and_then(|()| found(true)),
    }
}

impl ExistsUrl {
    /// Whether the card's repository exists.
    fn repository(&self, cx: &Context) -> Result<Finding> {
        let Some(url) = self.attachment(cx)? else {
            return Ok(Finding::new("GitHub repository", "No GitHub repository URL found in the card", false));
        };
        let Some((owner, name)) = address::repository(&url) else {
            return Ok(Finding::new("GitHub repository", url, false));
        };
        let (owner, name) = (service::segment(&owner), service::segment(&name));
        let mut asked = cx.http().get(format!("{}/repos/{owner}/{name}", self.github.trim_end_matches('/')));
        if let Some(token) = &self.github_token {
            asked = asked.bearer(cx.secret(token)?);
        }
        let answer = asked.header("accept", "application/vnd.github+json").timeout(TIME).send();
        let answer = answer.context("Error fetching GitHub repository")?;
        let result = match answer.status() {
            404 => false,
            _ => {
                service::good(answer, "the repository of GitHub")?;
                true
            }
        };
        Ok(Finding::new("GitHub repository", url, result))
    }

    /// The first GitHub address among the card's attachments.
    fn attachment(&self, cx: &Context) -> Result<Option<String>> {
        ensure!(!self.card.is_empty(), "cardId is empty: the id of a Trello card was expected");
        let base = self.trello.trim_end_matches('/');
        let mut asked = cx.http().get(format!("{base}/1/cards/{}/attachments", service::segment(&self.card)));
        for (name, secret) in [("key", &self.api_key), ("token", &self.trello_token)] {
            if let Some(secret) = secret {
                asked = asked.query(name, cx.secret(secret)?);
            }
        }
        let answer = asked.timeout(TIME).send().context("Error fetching Trello attachments")?;
        let answer: Value = service::good(answer, "the attachments of the Trello card")?.json()?;
        let Some(all) = answer.as_array() else {
            bail!("Trello answered {}: a list of attachments was expected", shown(&answer));
        };
        let mut urls = all.iter().filter_map(|attachment| attachment.get("url")?.as_str());
        Ok(urls.find(|url| url.contains("github")).map(str::to_owned))
    }
}
