//! `rest-api`: any REST service.

use probity_sdk::{Result, Value};
use status_conventions::service::encoded;

use super::{Question, text};
use crate::fetching::{Ask, joined};

/// The library's own endpoints.
const DEFAULT: &str = "/data";
const SEARCH: &str = "/search";

pub fn ask(question: &Question<'_>) -> Result<Ask> {
    let base = question.required("baseUrl")?;
    let endpoint = match question.method {
        "default" => endpoint(question, &base),
        "search" => named(question, &question.option("endpoint").unwrap_or_else(|| SEARCH.to_owned())),
        "getById" => {
            let id = question.needed("id")?;
            format!("{}/{}", endpoint(question, &base).trim_end_matches('/'), encoded(&id))
        }
        _ => return Err(question.no_method("default, getById, search")),
    };
    let mut ask = question.request(joined(&base, &endpoint)?)?;
    query(question, &mut ask);
    question.authenticate(&mut ask)?;
    Ok(ask)
}

/// The endpoint of the options, else the source's default one, else `/data`; a base address with a path and no word
/// about endpoints is asked itself.
fn endpoint(question: &Question<'_>, base: &str) -> String {
    let config = &question.source.config;
    let of_config = || text(config.get("defaultEndpoint"));
    let default = || text(config.get("endpoints").and_then(|endpoints| endpoints.get("default")));
    if let Some(found) = question.option("endpoint").or_else(of_config).or_else(default) {
        return named(question, &found);
    }
    let path = base.split_once("://").and_then(|(_, rest)| rest.split_once('/')).map_or("", |(_, path)| path);
    if path.is_empty() { DEFAULT.to_owned() } else { String::new() }
}

/// `config.endpoints` may give an endpoint a name.
fn named(question: &Question<'_>, endpoint: &str) -> String {
    let endpoints = question.source.config.get("endpoints");
    text(endpoints.and_then(|endpoints| endpoints.get(endpoint))).unwrap_or_else(|| endpoint.to_owned())
}

/// Filters, order and page.
pub fn query(question: &Question<'_>, ask: &mut Ask) {
    let query = question.options.get("query");
    for (name, value) in query.and_then(|q| q.get("filters")).and_then(Value::as_object).into_iter().flatten() {
        let items = value.as_array().map_or(std::slice::from_ref(value), Vec::as_slice);
        for item in items.iter().filter(|item| !item.is_null()) {
            ask.query(name, &item.as_str().map_or_else(|| item.to_string(), str::to_owned));
        }
    }
    let sort = query.and_then(|q| q.get("sort")).and_then(Value::as_array);
    let order: Vec<String> = sort
        .into_iter()
        .flatten()
        .filter_map(|rule| {
            let field = text(rule.get("field"))?;
            Some(format!("{field}:{}", text(rule.get("direction")).unwrap_or_else(|| "asc".to_owned())))
        })
        .collect();
    if !order.is_empty() {
        ask.query("sort", &order.join(","));
    }
    let Some(pagination) = question.options.get("pagination") else { return };
    if pagination.get("enabled") == Some(&Value::Bool(true)) {
        ask.query("page", &text(pagination.get("startPage")).unwrap_or_else(|| "1".to_owned()));
        let size = text(pagination.get("pageSize")).unwrap_or_else(|| question.batch_size.to_string());
        ask.query("pageSize", &size);
    }
}
