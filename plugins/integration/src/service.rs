//! What the nodes that ask GitHub and Trello have in common beyond the conventions.

use probity_sdk::prelude::*;
use status_conventions::value::truthy;

/// The configuration with what the caller sent in its place; what is empty in the body (`""`, 0, false) does not count.
pub fn over<C: Config>(config: &C, msg: &Message) -> Result<C> {
    let mut asked = msg.clone();
    if let Some(Value::Object(body)) = asked.get_mut("req").and_then(|req| req.get_mut("body")) {
        body.retain(|_, value| truthy(value));
    }
    config.over(&asked)
}

/// Whether a URL is one of GitHub's pages.
pub fn of_github(url: &str) -> bool {
    let rest =
        url.split_once("://").filter(|(scheme, _)| ["http", "https"].contains(&scheme.to_ascii_lowercase().as_str()));
    let host = rest.map_or(url, |(_, rest)| rest).split(['/', '?', '#', ':']).next().unwrap_or_default();
    ["github.com", "www.github.com"].contains(&host.to_ascii_lowercase().as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_github_is_github() {
        for url in ["https://github.com/a/b", "http://WWW.GitHub.com/a", "github.com/a"] {
            assert!(of_github(url), "{url}");
        }
        for url in
            ["https://github.io/a", "https://x.test/github.com", "https://github.com.x.test/a", "https://notgithub.com"]
        {
            assert!(!of_github(url), "{url}");
        }
    }
}
