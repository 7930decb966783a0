//! Which `http in` answers a call: Express path patterns, matched in the order of the flow file.

use std::collections::HashMap;

use arcstr::ArcStr;

use crate::model::flow::NodeIndex;
use crate::regexp::RegExp;

/// The HTTP entries of a deployed plan.
#[derive(Default)]
pub struct Routes {
    /// Plain paths, the common case: lower-cased path without trailing slash → routes in order.
    exact: HashMap<String, Vec<(usize, Route)>>,
    patterns: Vec<(usize, RegExp, Vec<ArcStr>, Route)>,
    count: usize,
}

/// One entry: who answers and how its body is read.
#[derive(Clone, Debug, PartialEq)]
pub struct Route {
    /// Lower-case; `all` for every method.
    pub method: ArcStr,
    pub url: ArcStr,
    pub node: NodeIndex,
    pub upload: bool,
    pub skip_body_parsing: bool,
}

/// A route that answers a call, with its parameters.
#[derive(Clone, Debug, PartialEq)]
pub struct Match<'a> {
    pub route: &'a Route,
    pub params: Vec<(ArcStr, ArcStr)>,
}

impl Routes {
    /// Adds a route after the ones there. The error says what of the pattern is wrong.
    pub fn add(&mut self, route: Route) -> Result<(), String> {
        let order = self.count;
        self.count += 1;
        let url = if route.url.starts_with('/') { route.url.to_string() } else { format!("/{}", route.url) };
        if url.contains([':', '*', '(', ')', '?', '+']) {
            let (source, names) = pattern(&url)?;
            let regex = RegExp::new(&source, true).map_err(|e| format!("path {url}: {e}"))?;
            self.patterns.push((order, regex, names, route));
        } else {
            self.exact.entry(plain(&url)).or_default().push((order, route));
        }
        Ok(())
    }

    /// The first route that answers `method` (any case) on `path` (still percent-encoded, without query).
    pub fn find(&self, method: &str, path: &str) -> Option<Match<'_>> {
        let answers = |route: &Route| route.method == "all" || route.method.eq_ignore_ascii_case(method);
        let exact = match self.exact.get(path) {
            Some(routes) => Some(routes),
            None => self.exact.get(&plain(path)),
        };
        let exact = exact.and_then(|routes| routes.iter().find(|(_, r)| answers(r)));
        let before = exact.map_or(usize::MAX, |(order, _)| *order);
        for (order, regex, names, route) in &self.patterns {
            if *order > before {
                break;
            }
            if !answers(route) {
                continue;
            }
            // A search that is given up finds nothing: the caller gets 404, and nobody else waits.
            if let Ok(Some(found)) = regex.find(path) {
                let params = names
                    .iter()
                    .enumerate()
                    .filter_map(|(i, name)| {
                        let text = &path[found.groups.get(i)?.clone()?];
                        let text = percent_encoding::percent_decode_str(text).decode_utf8_lossy();
                        Some((name.clone(), ArcStr::from(text.as_ref())))
                    })
                    .collect();
                return Some(Match { route, params });
            }
        }
        exact.map(|(_, route)| Match { route, params: Vec::new() })
    }

    pub fn iter(&self) -> impl Iterator<Item = &Route> {
        self.exact.values().flatten().map(|(_, r)| r).chain(self.patterns.iter().map(|(_, _, _, r)| r))
    }
}

fn plain(path: &str) -> String {
    let path = path.to_ascii_lowercase();
    if path.len() > 1 { path.trim_end_matches('/').to_string() } else { path }
}

/// Express 4 path syntax to a regular expression and the names of its groups: `:name`, `:name(regex)`, `*`,
/// `(regex)`, and `?`, `+` after a part.
fn pattern(url: &str) -> Result<(String, Vec<ArcStr>), String> {
    let mut out = String::from("^");
    let mut names: Vec<ArcStr> = Vec::new();
    let mut unnamed = 0usize;
    let chars: Vec<char> = url.chars().collect();
    let mut i = 0;
    while i < chars.len() {
        match chars[i] {
            ':' => {
                let start = i + 1;
                i = start;
                while i < chars.len() && (chars[i].is_ascii_alphanumeric() || chars[i] == '_') {
                    i += 1;
                }
                if i == start {
                    return Err(format!("path {url}: a parameter needs a name after ':'"));
                }
                names.push(chars[start..i].iter().collect::<String>().into());
                let group = if chars.get(i) == Some(&'(') { group(url, &chars, &mut i)? } else { "([^/]+?)".into() };
                // `/:id?` makes the slash optional too.
                if chars.get(i) == Some(&'?') && out.ends_with('/') {
                    out.pop();
                    out.push_str(&format!("(?:/{group})?"));
                    i += 1;
                } else {
                    out.push_str(&group);
                }
            }
            '(' => {
                names.push(ArcStr::from(unnamed.to_string()));
                unnamed += 1;
                out.push_str(&group(url, &chars, &mut i)?);
            }
            '*' => {
                names.push(ArcStr::from(unnamed.to_string()));
                unnamed += 1;
                out.push_str("(.*)");
                i += 1;
            }
            c @ ('?' | '+') => {
                out.push(c);
                i += 1;
            }
            c => {
                if ".\\^$|{}[]".contains(c) {
                    out.push('\\');
                }
                out.push(c);
                i += 1;
            }
        }
    }
    out.push_str("/?$");
    Ok((out, names))
}

/// A parenthesised group starting at `*i`, copied as it is; inner groups do not capture.
fn group(url: &str, chars: &[char], i: &mut usize) -> Result<String, String> {
    let mut depth = 0;
    let mut out = String::new();
    while *i < chars.len() {
        let c = chars[*i];
        *i += 1;
        out.push(c);
        match c {
            '(' => {
                depth += 1;
                if depth > 1 && chars.get(*i) != Some(&'?') {
                    out.push_str("?:");
                }
            }
            ')' => {
                depth -= 1;
                if depth == 0 {
                    return Ok(out);
                }
            }
            _ => {}
        }
    }
    Err(format!("path {url}: missing )"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn routes(list: &[(&str, &str)]) -> Routes {
        let mut routes = Routes::default();
        for (i, (method, url)) in list.iter().enumerate() {
            let route = Route {
                method: (*method).into(),
                url: (*url).into(),
                node: i as u32,
                upload: false,
                skip_body_parsing: false,
            };
            routes.add(route).unwrap();
        }
        routes
    }

    fn found(routes: &Routes, method: &str, path: &str) -> Option<(u32, String)> {
        routes.find(method, path).map(|m| {
            let params: Vec<String> = m.params.iter().map(|(k, v)| format!("{k}={v}")).collect();
            (m.route.node, params.join(","))
        })
    }

    #[test]
    fn express_patterns_match_as_in_express() {
        let r = routes(&[
            ("get", "/a"),
            ("get", "/u/:id"),
            ("get", "/u/:id/x/:y(\\d+)"),
            ("all", "/w/*"),
            ("get", "/o/:p?"),
            ("get", "/re(.*)"),
        ]);
        assert_eq!(found(&r, "GET", "/a/"), Some((0, String::new())));
        assert_eq!(found(&r, "GET", "/A"), Some((0, String::new())));
        assert_eq!(found(&r, "POST", "/a"), None);
        assert_eq!(found(&r, "GET", "/u/a%20b"), Some((1, "id=a b".into())));
        assert_eq!(found(&r, "GET", "/u/1/x/22"), Some((2, "id=1,y=22".into())));
        assert_eq!(found(&r, "GET", "/u/1/x/q"), None);
        assert_eq!(found(&r, "PUT", "/w/a/b"), Some((3, "0=a/b".into())));
        assert_eq!(found(&r, "GET", "/o"), Some((4, String::new())));
        assert_eq!(found(&r, "GET", "/o/1"), Some((4, "p=1".into())));
        assert_eq!(found(&r, "GET", "/rest"), Some((5, "0=st".into())));
    }

    #[test]
    fn the_first_registered_route_wins() {
        let r = routes(&[("get", "/u/:id"), ("get", "/u/me")]);
        assert_eq!(found(&r, "GET", "/u/me"), Some((0, "id=me".into())));
        let r = routes(&[("get", "/u/me"), ("get", "/u/:id")]);
        assert_eq!(found(&r, "GET", "/u/me"), Some((0, String::new())));
    }

    #[test]
    fn broken_patterns_are_refused() {
        for bad in ["/a/:", "/a/(x", "/:a(["] {
            let mut r = Routes::default();
            let route =
                Route { method: "get".into(), url: bad.into(), node: 0, upload: false, skip_body_parsing: false };
            assert!(r.add(route).is_err(), "{bad}");
        }
    }
}
