//! `project-to-url`: the GitHub repository attached to a Trello card.

use probity_sdk::prelude::*;
use status_conventions::credential::{credential, needed};
use status_conventions::service::{ask, segment};

use crate::service::{of_github, over};

/// Finds the GitHub repository attached to a card of Trello.
///
/// `msg.payload` becomes the URL of the card's first attachment on github.com. A card without one, an unknown card, a
/// key that is not accepted and the like are errors.
///
/// Key and token are names of secrets, `secret:NAME`, and go to *API URL* only. A caller may send `cardId`, and an
/// `apiKey` and `trelloToken` of its own, in the body of the request.
#[derive(Clone, Config)]
pub struct ProjectToUrl {
    /// Id of the card.
    #[config(name = "cardId", label = "Card", default = "")]
    card: String,
    /// API key of Trello, as secret:NAME.
    #[config(name = "apiKey", label = "API key", default = "", secret)]
    key: String,
    /// Token of Trello, as secret:NAME.
    #[config(name = "trelloToken", label = "Token", default = "", secret)]
    token: String,
    /// Base URL of the API.
    #[config(name = "apiUrl", label = "API URL", default = "https://api.trello.com", config_only)]
    api_url: String,
}

#[node(
    type = "project-to-url",
    category = "integration",
    color = "#DDAA99",
    icon = "fa-trello",
    wants = ["req"],
    capabilities = ["http", "secret", "clock"]
)]
impl Node for ProjectToUrl {
    fn process(&self, mut msg: Message, cx: &Context) -> Result<()> {
        let config = over(self, &msg)?;
        let card = segment(needed(&config.card, "cardId")?);
        let (key, token) =
            (credential(&msg, &config.key, "apiKey", cx)?, credential(&msg, &config.token, "trelloToken", cx)?);
        let url = format!("{}/1/cards/{card}/attachments", config.api_url.trim_end_matches('/'));
        let request = || cx.http().get(url.as_str()).query("key", &key).query("token", &token);
        let found: Value = ask(request, "the card's attachments", cx)?.json()?;
        let attachments = found.as_array().context("Trello's answer is no list of attachments")?;
        let urls = attachments.iter().filter_map(|attachment| attachment.get("url")?.as_str());
        let url = urls.into_iter().find(|url| of_github(url));
        let url = url.context("There is no URL to a GitHub repository in the card")?.to_owned();
        msg.set_payload(url);
        cx.emit(0, msg)
    }
}
