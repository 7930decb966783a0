//! The nodes against what the originals did where that was right; what differs is listed.

use integration::{CsvReader, GithubCollector, LogGetter, LogTrace, ProjectToUrl, TrelloCollector, UrlToDoc};
use probity_sdk::{Value, json};

fn nothing(_: &mut Value) {}

#[test]
fn csv_reader() {
    // Null is no parameter.
    recorded::compare::<CsvReader>(&json!({}), &["body over config: null wins"], nothing);
}

#[test]
fn github_collector() {
    let differs = [
        // Asked for without the empty part of the path.
        "path with a leading slash",
        "text in place of JSON",
        // Redirects are followed by the engine, which checks where to; the tests' host follows none.
        "status 302",
    ];
    recorded::compare::<GithubCollector>(&json!({}), &differs, nothing);
}

#[test]
fn log_getter() {
    // The engine follows redirects; the tests' host does not.
    recorded::compare::<LogGetter>(&json!({}), &["redirect"], nothing);
}

#[test]
fn log_trace() {
    recorded::compare::<LogTrace>(&json!({}), &[], nothing);
}

#[test]
fn project_to_url() {
    recorded::compare::<ProjectToUrl>(&json!({}), &[], nothing);
}

#[test]
fn trello_collector() {
    recorded::compare::<TrelloCollector>(&json!({}), &[], nothing);
}

#[test]
fn url_to_doc() {
    recorded::compare::<UrlToDoc>(&json!({}), &[], nothing);
}
