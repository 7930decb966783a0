//! `github-collector`: a file or folder of a repository, as GitHub's contents API tells of it.

use probity_sdk::prelude::*;
use status_conventions::credential::{credential, needed};
use status_conventions::service::{ask, path, segment};

use crate::service::over;

/// Gets what GitHub knows of a file or folder of a repository.
///
/// `msg.payload` becomes the answer of the contents API: an object for a file, a list for a folder. A token that is not
/// accepted, a missing repository, too many requests, a broken answer and the like are errors with the code
/// `http-<status>`; a service that asks to wait up to 5 s is asked once more.
///
/// The token is the name of a secret, `secret:NAME`, and goes to *API URL* only. A caller may send `username`,
/// `repoName`, `path` and a `token` of its own in the body of the request.
#[derive(Clone, Config)]
pub struct GithubCollector {
    /// Owner of the repository.
    #[config(label = "User", default = "")]
    username: String,
    /// The repository.
    #[config(name = "repoName", label = "Repository", default = "")]
    repo: String,
    /// Path of the file or folder; empty for the root.
    #[config(label = "Path", default = "")]
    path: String,
    /// Token of GitHub, as secret:NAME.
    #[config(label = "Token", default = "", secret)]
    token: String,
    /// Base URL of the API.
    #[config(name = "apiUrl", label = "API URL", default = "https://api.github.com", config_only)]
    api_url: String,
}

#[node(
    type = "github-collector",
    category = "integration",
    color = "#DDAA99",
    icon = "fa-github",
    wants = ["req"],
    capabilities = ["http", "secret", "clock"]
)]
impl Node for GithubCollector {
    fn process(&self, mut msg: Message, cx: &Context) -> Result<()> {
        let config = over(self, &msg)?;
        let (user, repo) = (needed(&config.username, "username")?, needed(&config.repo, "repoName")?);
        let mut url =
            format!("{}/repos/{}/{}/contents", config.api_url.trim_end_matches('/'), segment(user), segment(repo));
        if !config.path.is_empty() {
            url.push('/');
            url.push_str(&path(&config.path));
        }
        let token = credential(&msg, &config.token, "token", cx)?;
        let request = || cx.http().get(url.as_str()).header("authorization", format!("token {token}"));
        let found: Value = ask(request, "the repository's content", cx)?.json()?;
        msg.set_payload(found);
        cx.emit(0, msg)
    }
}
