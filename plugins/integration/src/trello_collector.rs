//! `trello-collector`: the GitHub repositories attached to the cards of a Trello board.

use probity_sdk::prelude::*;
use status_conventions::credential::{credential, needed};
use status_conventions::service::{ask, segment};

use crate::service::{of_github, over};

/// Finds the GitHub repositories attached to the cards of a Trello board.
///
/// Reads all actions of the board and sends one message per card, in the order in which the actions first name them:
/// `msg.payload` is the URL of the first attachment on github.com, "UNKNOWN" if there is none; `msg.githubRepoUrls` has
/// those of all cards. A board without cards, an unknown board, a key that is not accepted and the like are errors.
///
/// Key and token are names of secrets, `secret:NAME`, and go to *API URL* only. A caller may send `boardId`, and a `key`
/// and `token` of its own, in the body of the request.
#[derive(Clone, Config)]
pub struct TrelloCollector {
    /// Id of the board.
    #[config(name = "boardId", label = "Board", default = "")]
    board: String,
    /// API key of Trello, as secret:NAME.
    #[config(label = "API key", default = "", secret)]
    key: String,
    /// Token of Trello, as secret:NAME.
    #[config(label = "Token", default = "", secret)]
    token: String,
    /// Base URL of the API.
    #[config(name = "apiUrl", label = "API URL", default = "https://api.trello.com", config_only)]
    api_url: String,
}

/// Actions of a page, Trello's default: <https://developer.atlassian.com/cloud/trello/rest/api-group-boards/>.
const PAGE: usize = 50;
/// More pages are refused.
const PAGES_MAX: usize = 200;

#[node(
    type = "trello-collector",
    category = "integration",
    color = "#DDAA99",
    icon = "fa-trello",
    wants = ["req"],
    capabilities = ["http", "secret", "clock"]
)]
impl Node for TrelloCollector {
    fn process(&self, msg: Message, cx: &Context) -> Result<()> {
        let config = over(self, &msg)?;
        let urls = urls(&config.actions(&msg, cx)?);
        ensure!(!urls.is_empty(), "Input is not a valid array of URLs: no action of the board names a card");
        for url in &urls {
            let mut one = msg.clone();
            one.set_payload(url.as_str()).set("githubRepoUrls", urls.clone());
            cx.emit(0, one)?;
        }
        Ok(())
    }
}

impl TrelloCollector {
    /// All actions, newest first; each page begins before the last one's oldest.
    fn actions(&self, msg: &Message, cx: &Context) -> Result<Vec<Value>> {
        let board = segment(needed(&self.board, "boardId")?);
        let (key, token) = (credential(msg, &self.key, "key", cx)?, credential(msg, &self.token, "token", cx)?);
        let url = format!("{}/1/boards/{board}/actions", self.api_url.trim_end_matches('/'));
        let mut all: Vec<Value> = Vec::new();
        for _ in 0..PAGES_MAX {
            let before = all.last().and_then(|action| action.get("id")?.as_str()).map(str::to_owned);
            let request = || {
                let request = cx.http().get(url.as_str()).query("key", &key).query("token", &token);
                match &before {
                    Some(id) => request.query("before", id),
                    None => request,
                }
            };
            let page: Value = ask(request, "the board's actions", cx)?.json()?;
            let Value::Array(page) = page else { bail!("Trello's answer is no list of actions") };
            let last = page.len() < PAGE || page.last().and_then(|action| action.get("id")).is_none();
            all.extend(page);
            if last {
                return Ok(all);
            }
        }
        bail!("the board has more than {} actions", PAGES_MAX * PAGE)
    }
}

/// One URL per card.
fn urls(actions: &[Value]) -> Vec<String> {
    let mut cards: Vec<(&Value, Option<&str>)> = Vec::new();
    for action in actions {
        let Some(id) = action.pointer("/data/card/id") else { continue };
        let url = action.pointer("/data/attachment/url").and_then(Value::as_str).filter(|url| of_github(url));
        match cards.iter_mut().find(|(card, _)| *card == id) {
            Some((_, known)) => *known = known.or(url),
            None => cards.push((id, url)),
        }
    }
    cards.into_iter().map(|(_, url)| url.unwrap_or("UNKNOWN").to_owned()).collect()
}
