//! Brings in data: rows of CSV files, process logs, texts of documents, and what GitHub and Trello know.

mod csv_reader;
mod github_collector;
mod log_getter;
mod log_trace;
mod project_to_url;
mod service;
mod trello_collector;
mod url_to_doc;

pub use csv_reader::CsvReader;
pub use github_collector::GithubCollector;
pub use log_getter::LogGetter;
pub use log_trace::LogTrace;
pub use project_to_url::ProjectToUrl;
pub use trello_collector::TrelloCollector;
pub use url_to_doc::UrlToDoc;

probity_sdk::plugin!(CsvReader, GithubCollector, LogGetter, LogTrace, ProjectToUrl, TrelloCollector, UrlToDoc);
