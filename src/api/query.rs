//! Query strings of the API: every parameter known, checked and named when it is wrong.

use jiff::Timestamp;

use super::error::ApiError;
use super::openapi::Parameter;
use crate::model::diagnostic::closest;
use crate::model::state::Scope;
use crate::store::{Page, PageRequest};

/// The parameters of one call.
pub struct Query {
    pairs: Vec<(String, String)>,
}

impl Query {
    /// Reads a query string. A parameter that is not in `known` is refused, for a filter that is silently ignored
    /// shows the wrong list.
    pub fn read(query: Option<&str>, known: &[Parameter]) -> Result<Query, ApiError> {
        let pairs: Vec<(String, String)> =
            form_urlencoded::parse(query.unwrap_or_default().as_bytes()).into_owned().collect();
        for (i, (name, _)) in pairs.iter().enumerate() {
            if !known.iter().any(|p| p.name == name) {
                let error = ApiError::bad_request(format!("unknown query parameter \"{name}\""));
                let names: Vec<&str> = known.iter().map(|p| p.name).collect();
                return Err(error.hint(match closest(name, names.iter().copied()) {
                    Some(best) => format!("did you mean \"{best}\"?"),
                    None if names.is_empty() => "this path takes no parameters".to_string(),
                    None => format!("known are {}", names.join(", ")),
                }));
            }
            if pairs[..i].iter().any(|(before, _)| before == name) {
                return Err(ApiError::bad_request(format!("query parameter \"{name}\" is given twice")));
            }
        }
        Ok(Query { pairs })
    }

    /// A parameter as given; an empty one counts as absent.
    pub fn text(&self, name: &str) -> Option<&str> {
        self.pairs.iter().find(|(k, v)| k == name && !v.is_empty()).map(|(_, v)| v.as_str())
    }

    pub fn owned(&self, name: &str) -> Option<String> {
        self.text(name).map(str::to_string)
    }

    /// A parameter that must be one of `words`.
    pub fn word<T>(&self, name: &str, words: &str, parse: impl Fn(&str) -> Option<T>) -> Result<Option<T>, ApiError> {
        self.text(name)
            .map(|text| {
                parse(text).ok_or_else(|| {
                    ApiError::bad_request(format!("query parameter {name}=\"{text}\" is not valid"))
                        .hint(format!("expected {words}"))
                })
            })
            .transpose()
    }

    pub fn flag(&self, name: &str) -> Result<bool, ApiError> {
        if self.pairs.iter().any(|(k, v)| k == name && v.is_empty()) {
            return Ok(true);
        }
        Ok(self.tristate(name)?.unwrap_or(false))
    }

    pub fn tristate(&self, name: &str) -> Result<Option<bool>, ApiError> {
        self.word(name, "true or false", |t| t.parse().ok())
    }

    pub fn instant(&self, name: &str) -> Result<Option<Timestamp>, ApiError> {
        self.word(name, "an instant such as 2026-03-29T00:00:00Z", |t| t.parse().ok())
    }

    /// A scope as a JSON object of texts, for example `{"team":"a"}`.
    pub fn scope(&self, name: &str) -> Result<Option<Scope>, ApiError> {
        self.word(name, "a JSON object of texts such as {\"team\":\"a\"}", |t| serde_json::from_str(t).ok())
    }

    /// `limit` and `after`.
    pub fn page(&self) -> Result<PageRequest, ApiError> {
        let limit = self.word("limit", "a whole number from 1 to 1000", |t| {
            t.parse::<u32>().ok().filter(|n| (1..=1000).contains(n))
        })?;
        Ok(PageRequest { limit: limit.unwrap_or(100), after: self.owned("after") })
    }

    /// The page of a list that is in memory whole; without `limit` all that is left of it.
    pub fn cut<T>(&self, items: Vec<T>) -> Result<Page<T>, ApiError> {
        let limit = if self.text("limit").is_some() { self.page()?.limit as usize } else { usize::MAX };
        let from = self.word("after", "`next` of an earlier answer", |t| t.parse::<usize>().ok())?.unwrap_or(0);
        let to = from.saturating_add(limit);
        let next = (to < items.len()).then(|| to.to_string());
        Ok(Page { items: items.into_iter().skip(from).take(limit).collect(), next })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::openapi::PAGE;

    fn message(query: &str) -> String {
        match Query::read(Some(query), PAGE).and_then(|q| q.page()) {
            Ok(page) => format!("{} {:?}", page.limit, page.after),
            Err(e) => format!("{}; {}", e.message, e.hint.unwrap_or_default()),
        }
    }

    #[test]
    fn a_list_in_memory_is_cut_into_pages() {
        let cut = |query: &str| {
            let page = Query::read(Some(query), PAGE).and_then(|q| q.cut(vec![1, 2, 3])).map_err(|e| e.message);
            page.map(|p| (p.items, p.next))
        };
        assert_eq!(cut(""), Ok((vec![1, 2, 3], None)));
        assert_eq!(cut("limit=2"), Ok((vec![1, 2], Some("2".into()))));
        assert_eq!(cut("limit=2&after=2"), Ok((vec![3], None)));
        assert_eq!(cut("limit=3"), Ok((vec![1, 2, 3], None)));
        assert_eq!(cut("after=99"), Ok((vec![], None)));
        assert!(cut("after=x").unwrap_err().contains("after"));
    }

    #[test]
    fn wrong_parameters_are_named() {
        assert_eq!(message("limit=3&after=x"), "3 Some(\"x\")");
        assert_eq!(message(""), "100 None");
        assert_eq!(
            message("limit=0"),
            "query parameter limit=\"0\" is not valid; expected a whole number from 1 to 1000"
        );
        assert_eq!(message("limt=1"), "unknown query parameter \"limt\"; did you mean \"limit\"?");
        assert_eq!(message("limit=1&limit=2"), "query parameter \"limit\" is given twice; ");
    }
}
