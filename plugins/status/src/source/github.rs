//! `github-api`: GitHub's REST API.

use probity_sdk::{Result, Value, bail};
use status_conventions::service::{encoded, path};

use super::Question;
use crate::fetching::{Ask, joined};

const BASE: &str = "https://api.github.com";

const METHODS: &str = "getRepositories, getRepository, getIssues, getIssue, getPullRequests, getPullRequest, \
                       getContents, searchCode, searchIssues, getUser, and default with an endpoint";

pub fn ask(question: &Question<'_>) -> Result<Ask> {
    let base = question.config("baseUrl")?.unwrap_or_else(|| BASE.to_owned());
    let repository = || -> Result<String> {
        let owner = match question.option("owner") {
            Some(owner) => Some(owner),
            None => question.config("defaultOrg")?,
        };
        let repository = match question.option("repo") {
            Some(repository) => Some(repository),
            None => question.config("defaultRepo")?,
        };
        match (owner, repository) {
            (Some(owner), Some(repository)) => Ok(format!("/repos/{}/{}", encoded(&owner), encoded(&repository))),
            _ => bail!(
                "{} needs owner and repo: set msg.fetchOptions.owner and .repo, or defaultOrg and defaultRepo of the \
                 source",
                question.method
            ),
        }
    };
    let below = match question.method {
        "getRepositories" => {
            match question.option("owner").map_or_else(|| question.config("defaultOrg"), |o| Ok(Some(o)))? {
                Some(organisation) => format!("/orgs/{}/repos", encoded(&organisation)),
                None => "/user/repos".to_owned(),
            }
        }
        "getRepository" => repository()?,
        "getIssues" => format!("{}/issues", repository()?),
        "getIssue" => format!("{}/issues/{}", repository()?, encoded(&question.needed("issueNumber")?)),
        "getPullRequests" => format!("{}/pulls", repository()?),
        "getPullRequest" => format!("{}/pulls/{}", repository()?, encoded(&question.needed("pullNumber")?)),
        "getContents" => format!("{}/contents/{}", repository()?, path(&question.needed("path")?)),
        "searchCode" => "/search/code".to_owned(),
        "searchIssues" => "/search/issues".to_owned(),
        "getUser" => match question.option("username") {
            Some(user) => format!("/users/{}", encoded(&user)),
            None => "/user".to_owned(),
        },
        "default" if question.option("endpoint").is_some() => question.needed("endpoint")?,
        _ => return Err(question.no_method(METHODS)),
    };
    let mut ask = question.request(joined(&base, &below)?)?;
    if question.method.starts_with("search") {
        ask.query("q", &question.needed("query")?);
    }
    for name in ["state", "sort", "direction"] {
        if let Some(value) = question.option(name) {
            ask.query(name, &value);
        }
    }
    let labels = question.options.get("labels").and_then(Value::as_array);
    let labels: Vec<&str> = labels.into_iter().flatten().filter_map(Value::as_str).collect();
    if !labels.is_empty() {
        ask.query("labels", &labels.join(","));
    }
    // As many a page as GitHub gives, where pages are followed.
    if question.pages_max > 1 && !matches!(question.method, "default" | "getContents") {
        ask.query("per_page", "100");
    }
    if let Some(token) = question.secret("personalAccessToken")? {
        ask.header("authorization", format!("Bearer {token}"));
    }
    question.authenticate(&mut ask)?;
    if !ask.headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("accept")) {
        ask.header("accept", "application/vnd.github+json");
    }
    Ok(ask)
}
