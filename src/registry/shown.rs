//! Addresses as they may be shown: without users, passwords, tokens and query.

use url::Url;

/// Scheme, hosts and path of an address. Whatever stands before the last `@` is a login, also in an address that is
/// none because a password was not percent-encoded.
pub fn shown(address: &str) -> String {
    let (scheme, rest) = address.split_once("://").unwrap_or(("", address));
    let rest = rest.rsplit_once('@').map_or(rest, |(_, rest)| rest);
    let rest = rest.split(['?', '#']).next().unwrap_or_default();
    format!("{scheme}://{}", rest.trim_end_matches('/'))
}

/// A text from elsewhere without the secrets of this address.
pub(super) fn scrubbed(text: &str, address: &str) -> String {
    let mut clean = text.replace(address, &shown(address));
    for secret in secrets(address) {
        clean = clean.replace(&secret, "…");
    }
    clean
}

/// User, password and query values of an address, as written and decoded.
fn secrets(address: &str) -> Vec<String> {
    let rest = address.split_once("://").map_or(address, |(_, rest)| rest);
    let mut found = Vec::new();
    if let Some((login, _)) = rest.rsplit_once('@') {
        found.push(login.to_owned());
        found.extend(login.split_once(':').map(|(_, password)| password.to_owned()));
    }
    let query = rest.split_once('?').map_or("", |(_, query)| query);
    found.extend(query.split('&').filter_map(|pair| Some(pair.split_once('=')?.1.to_owned())));
    let decoded: Vec<String> = found
        .iter()
        .filter_map(|text| percent_encoding::percent_decode_str(text).decode_utf8().ok())
        .map(|text| text.into_owned())
        .collect();
    found.extend(decoded);
    // Short values are everyday words (`true`, `rs0`), and hiding them would make the text unreadable.
    found.retain(|text| text.len() > 5);
    found.sort_by_key(|text| std::cmp::Reverse(text.len()));
    found
}

/// The `authorization` header for the login of a URL.
pub fn basic(url: &Url) -> Option<String> {
    use base64::Engine;
    if url.username().is_empty() && url.password().is_none() {
        return None;
    }
    let decoded = |text: &str| percent_encoding::percent_decode_str(text).decode_utf8_lossy().into_owned();
    let login = format!("{}:{}", decoded(url.username()), decoded(url.password().unwrap_or_default()));
    Some(format!("Basic {}", base64::engine::general_purpose::STANDARD.encode(login)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_secret_is_shown() {
        for address in [
            "mongodb://ana:s3cret-word@a:1,b:2/registry?authSource=admin",
            "mongodb://ana:s3cr@et-word@a:1,b:2/registry",
            "http://s3cret-word@r/registry/?token=s3cret-word",
            "http://r/registry#s3cret-word",
        ] {
            let shown = shown(address);
            assert!(!shown.contains("s3") && shown.ends_with("/registry"), "{address}: {shown}");
        }
        let address = "mongodb://ana:s3cret%2Dword@a/registry?key=another-one";
        let text = "cannot log in as ana:s3cret%2Dword with s3cret-word and another-one";
        assert_eq!(scrubbed(text, address), "cannot log in as … with … and …");
    }

    #[test]
    fn the_login_of_an_address_is_sent_as_basic_authentication() {
        let url = Url::parse("http://ana:s%40b@r/").unwrap();
        assert_eq!(basic(&url).unwrap(), "Basic YW5hOnNAYg==");
        assert_eq!(basic(&Url::parse("http://r/").unwrap()), None);
    }
}
