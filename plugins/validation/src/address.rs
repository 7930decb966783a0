//! Which texts are web addresses.

use std::net::{Ipv4Addr, Ipv6Addr};

use url::{Host, Url};

/// Whether the text is an address of the web: `http://` or `https://`, or no scheme; a host that is a name with at
/// least two labels (internationalized ones too), `localhost` or an IP address; then port, path, query and fragment
/// as RFC 3986 allows them. Takes time in proportion to the text.
pub fn is_valid(text: &str) -> bool {
    let lower = text.get(..8).unwrap_or(text).to_ascii_lowercase();
    let scheme = lower.starts_with("http://") || lower.starts_with("https://");
    let with_scheme = if scheme { text.to_owned() } else { format!("http://{text}") };
    if text.chars().any(|c| c.is_whitespace() || c.is_control() || "<>\"{}|\\^`".contains(c)) || !escapes(text) {
        return false;
    }
    let Some((_, rest)) = with_scheme.split_once("://") else { return false };
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    // The parser would take the host from the path. And without a scheme a@b.org is a mail address.
    if host.is_empty() || (!scheme && authority.contains('@')) {
        return false;
    }
    let Ok(url) = Url::parse(&with_scheme) else { return false };
    match url.host() {
        // The parser also reads 127.1 and 0x7f.0.0.1, which nobody means.
        Some(Host::Ipv4(_)) => without_port(host).parse::<Ipv4Addr>().is_ok(),
        Some(Host::Ipv6(ip)) => ip != Ipv6Addr::UNSPECIFIED,
        Some(Host::Domain(name)) => name == "localhost" || is_domain(name),
        None => false,
    }
}

fn without_port(host: &str) -> &str {
    host.split_once(':').map_or(host, |(host, _)| host)
}

/// A name with two labels or more, in its ASCII form. The last one is letters, as all top-level domains are.
fn is_domain(name: &str) -> bool {
    let labels: Vec<&str> = name.strip_suffix('.').unwrap_or(name).split('.').collect();
    let is_label = |label: &&str| {
        let edge = |c: Option<char>| c.is_some_and(|c| c != '-');
        let chars = label.chars().all(|c| c.is_ascii_alphanumeric() || c == '-' || c == '_');
        label.len() <= 63 && edge(label.chars().next()) && edge(label.chars().last()) && chars
    };
    let is_top = |label: &&str| {
        label.len() >= 2 && (label.starts_with("xn--") || label.chars().all(|c| c.is_ascii_alphabetic()))
    };
    labels.len() >= 2 && labels.iter().all(is_label) && labels.last().is_some_and(is_top)
}

/// Whether each `%` is followed by two hexadecimal digits.
fn escapes(text: &str) -> bool {
    let hex = |c: Option<char>| c.is_some_and(|c| c.is_ascii_hexdigit());
    text.split('%').skip(1).all(|after| {
        let mut chars = after.chars();
        hex(chars.next()) && hex(chars.next())
    })
}

/// Owner and name of the GitHub repository that an address belongs to: of the repository itself, or of anything in it.
pub fn repository(text: &str) -> Option<(String, String)> {
    let url = Url::parse(text).ok()?;
    let host = url.host_str()?;
    if !matches!(url.scheme(), "http" | "https") || !matches!(host, "github.com" | "www.github.com") {
        return None;
    }
    let mut parts = url.path_segments()?.filter(|part| !part.is_empty());
    let (owner, name) = (parts.next()?, parts.next()?);
    let name = name.strip_suffix(".git").unwrap_or(name);
    (!name.is_empty()).then(|| (owner.to_owned(), name.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_of_the_web_are_valid() {
        for text in [
            "https://example.com",
            "example.com",
            "www.example.com/path",
            "http://localhost",
            "http://localhost:1880/x",
            "https://user:pass@example.com",
            "https://münchen.de",
            "https://例え.jp",
            "http://[::1]/",
            "127.0.0.1",
            "https://example.com/@user",
            "https://example.com/a(b),c:d;v=1",
            "https://example.com/?q=a/b&r=[1]",
            "https://example.com/#a/b",
            "https://under_score.example.com",
            "HTTPS://EXAMPLE.COM",
            "https://example.com.",
            "example.com:8080",
        ] {
            assert!(is_valid(text), "{text}");
        }
    }

    #[test]
    fn others_are_not() {
        for text in [
            "",
            " ",
            "https://",
            "http:/example.com",
            "//example.com",
            "ftp://example.com",
            "mailto:a@example.com",
            "a@example.com",
            "javascript:alert(1)",
            "https://example",
            "https://example.c",
            "https://-a.com",
            "https://a-.com",
            "https://a..com",
            "https://.com",
            "https://exa mple.com",
            " https://example.com",
            "https://example.com\n",
            "https://example.com/%zz",
            "https://example.com/%4",
            "http://999.999.999.999",
            "http://127.1",
            "http://0x7f.0.0.1",
            "http://example.com:99999",
            "https://example.com\\a",
            "not a url",
            "https://example.123",
        ] {
            assert!(!is_valid(text), "{text}");
        }
    }

    #[test]
    fn long_labels_take_no_time() {
        let long = format!("{}!", "a".repeat(1_000_000));
        assert!(!is_valid(&long));
        assert!(!is_valid(&"a-".repeat(500_000)));
    }

    #[test]
    fn repositories_are_found_in_what_belongs_to_them() {
        let found = Some(("octo".to_owned(), "repo".to_owned()));
        for text in [
            "https://github.com/octo/repo",
            "http://www.github.com/octo/repo.git",
            "https://github.com/octo/repo/tree/main/",
            "https://github.com/octo/repo/blob/main/README.md?plain=1",
        ] {
            assert_eq!(repository(text), found, "{text}");
        }
        for text in [
            "https://github.com/octo",
            "https://github.com.evil.test/octo/repo",
            "octo/repo",
            "https://gist.github.com/a/b",
        ] {
            assert_eq!(repository(text), None, "{text}");
        }
    }
}
