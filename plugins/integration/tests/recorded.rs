//! The nodes against what the originals did where that was right; `tests/cases/status/differences.json` lists
//! what differs.

use integration::{CsvReader, GithubCollector, LogGetter, LogTrace, ProjectToUrl, TrelloCollector, UrlToDoc};
use probity_sdk::{Value, json};

fn nothing(_: &mut Value) {}

#[test]
fn csv_reader() {
    recorded::compare::<CsvReader>(&json!({}), nothing);
}

#[test]
fn github_collector() {
    recorded::compare::<GithubCollector>(&json!({}), nothing);
}

#[test]
fn log_getter() {
    recorded::compare::<LogGetter>(&json!({}), nothing);
}

#[test]
fn log_trace() {
    recorded::compare::<LogTrace>(&json!({}), nothing);
}

#[test]
fn project_to_url() {
    recorded::compare::<ProjectToUrl>(&json!({}), nothing);
}

#[test]
fn trello_collector() {
    recorded::compare::<TrelloCollector>(&json!({}), nothing);
}

#[test]
fn url_to_doc() {
    recorded::compare::<UrlToDoc>(&json!({}), nothing);
}
