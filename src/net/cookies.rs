//! The cookies of one call and its redirects (RFC 6265): kept in the order they came in, so that the same call sends the
//! same header, and none leaves the rules it was set under.

use http::HeaderValue;
use jiff::Timestamp;
use jiff::fmt::rfc2822;
use url::{Host, Url};

/// Cookies kept for one call.
const COOKIES_MAX: usize = 500;

#[derive(Debug, Default)]
pub(super) struct Cookies(Vec<Cookie>);

#[derive(Debug)]
struct Cookie {
    name: String,
    value: String,
    /// Lower case; with `subdomains` it is that of the hosts below, too.
    domain: String,
    subdomains: bool,
    path: String,
    https_only: bool,
}

impl Cookies {
    /// Takes a `set-cookie` line that `url` answered with at `date`, or `name=value`. What is no cookie is passed over.
    pub(super) fn set(&mut self, line: &str, url: &Url, date: Option<&HeaderValue>) {
        let now = date.and_then(|date| instant(date.to_str().ok()?)).unwrap_or(Timestamp::UNIX_EPOCH);
        let mut parts = line.split(';');
        let Some((name, value)) = parts.next().and_then(|pair| pair.split_once('=')) else { return };
        let Some(host) = url.host_str().map(str::to_ascii_lowercase) else { return };
        let mut cookie = Cookie {
            name: name.trim().to_string(),
            value: value.trim().to_string(),
            domain: host.clone(),
            subdomains: false,
            path: default_path(url),
            https_only: false,
        };
        let (mut lives, mut has_age) = (true, false);
        for part in parts {
            let (key, value) = part.split_once('=').unwrap_or((part, ""));
            let value = value.trim();
            match key.trim().to_ascii_lowercase().as_str() {
                "path" if value.starts_with('/') => cookie.path = value.to_string(),
                "secure" => cookie.https_only = true,
                "max-age" => {
                    if let Ok(seconds) = value.parse::<i64>() {
                        (lives, has_age) = (seconds > 0, true);
                    }
                }
                // It says less than an age.
                "expires" if !has_age => lives = instant(value).is_none_or(|end| end > now),
                "domain" if !value.is_empty() => {
                    let domain = value.trim_start_matches('.').to_ascii_lowercase();
                    // A cookie is not set for other hosts, nor for a whole top-level domain.
                    if !below(&host, &domain) || (domain != host && !domain.contains('.')) {
                        return;
                    }
                    (cookie.domain, cookie.subdomains) = (domain, matches!(url.host(), Some(Host::Domain(_))));
                }
                _ => {}
            }
        }
        if cookie.name.is_empty() {
            return;
        }
        let same =
            |kept: &Cookie| (&kept.name, &kept.domain, &kept.path) == (&cookie.name, &cookie.domain, &cookie.path);
        match (self.0.iter().position(same), lives) {
            (Some(at), true) => self.0[at] = cookie,
            (Some(at), false) => drop(self.0.remove(at)),
            (None, true) if self.0.len() < COOKIES_MAX => self.0.push(cookie),
            (None, _) => {}
        }
    }

    /// The header for a URL: the longer paths first, then the older cookies.
    pub(super) fn header(&self, url: &Url) -> Option<HeaderValue> {
        let host = url.host_str()?.to_ascii_lowercase();
        let fits = |cookie: &&Cookie| {
            let host = cookie.domain == host || (cookie.subdomains && below(&host, &cookie.domain));
            host && (!cookie.https_only || url.scheme() == "https") && is_within(url.path(), &cookie.path)
        };
        let mut cookies: Vec<&Cookie> = self.0.iter().filter(fits).collect();
        cookies.sort_by_key(|cookie| std::cmp::Reverse(cookie.path.len()));
        let pairs: Vec<String> = cookies.iter().map(|cookie| format!("{}={}", cookie.name, cookie.value)).collect();
        (!pairs.is_empty()).then(|| HeaderValue::from_str(&pairs.join("; ")).ok()).flatten()
    }
}

fn below(host: &str, domain: &str) -> bool {
    host == domain || host.strip_suffix(domain).is_some_and(|rest| rest.ends_with('.'))
}

fn is_within(path: &str, of: &str) -> bool {
    path.strip_prefix(of).is_some_and(|rest| rest.is_empty() || of.ends_with('/') || rest.starts_with('/'))
}

/// The folder of the URL's path.
fn default_path(url: &Url) -> String {
    match url.path().rfind('/') {
        None | Some(0) => "/".into(),
        Some(end) => url.path()[..end].into(),
    }
}

/// A date as headers have it.
fn instant(date: &str) -> Option<Timestamp> {
    // `Wed, 21-Oct-2026 07:28:00 GMT` is the older way to write it.
    rfc2822::parse(&date.replace('-', " ")).ok().map(|at| at.timestamp())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sent(lines: &[(&str, &str)], to: &str) -> String {
        let mut cookies = Cookies::default();
        for (line, from) in lines {
            let date = HeaderValue::from_static("Sun, 01 Mar 2026 12:00:00 GMT");
            cookies.set(line, &from.parse().unwrap(), Some(&date));
        }
        cookies.header(&to.parse().unwrap()).map_or(String::new(), |header| header.to_str().unwrap().to_string())
    }

    #[test]
    fn cookies_go_where_they_may_in_a_fixed_order() {
        let a = "http://a.example.org/x/y";
        for (lines, to, expected) in [
            (&[("a=1; Path=/", a), ("b=two%20words; Path=/; HttpOnly", a)][..], a, "a=1; b=two%20words"),
            (&[("a=1; Path=/", a), ("b=2", a), ("a=3; Path=/", a)], "http://a.example.org/x/z", "b=2; a=3"),
            (&[("a=1", a)], "http://a.example.org/xy", ""),
            (&[("a=1; Path=/", a), ("a=; Max-Age=0; Path=/", a)], a, ""),
            (&[("a=1; Expires=Tue, 21 Oct 2025 07:28:00 GMT", a)], a, ""),
            (&[("a=1; Expires=Wed, 21-Oct-2026 07:28:00 GMT", a)], a, "a=1"),
            (&[("a=1; Secure; Path=/", a)], a, ""),
            (&[("a=1; Secure; Path=/", a)], "https://a.example.org/", "a=1"),
            (&[("a=1; Path=/", a)], "http://b.example.org/", ""),
            (&[("a=1; Domain=.example.org; Path=/", a)], "http://b.example.org/", "a=1"),
            (&[("a=1; Domain=other.org; Path=/", a)], "http://other.org/", ""),
            (&[("a=1; Domain=org; Path=/", a)], "http://b.org/", ""),
            (&[("none", a), ("=x", a)], a, ""),
        ] {
            assert_eq!(sent(lines, to), expected, "{lines:?}");
        }
    }
}
