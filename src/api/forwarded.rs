//! Where a call really came from when it came through proxies: their `X-Forwarded-For`, as far as they are trusted.

use std::net::{IpAddr, SocketAddr};

use http::HeaderMap;
use ipnet::IpNet;

/// Networks and addresses of proxies that say the truth about who called them.
pub(super) fn networks(texts: &[String]) -> Vec<IpNet> {
    texts.iter().filter_map(|text| network(text).ok()).collect()
}

/// Everything in the list that is no address and no network.
pub fn problems(key: &str, texts: &[String]) -> Vec<String> {
    let wrong = texts.iter().filter(|text| network(text).is_err());
    wrong.map(|text| format!("{key}: \"{text}\" is no address or network, such as 10.0.0.0/8 or 127.0.0.1")).collect()
}

fn network(text: &str) -> Result<IpNet, ()> {
    let text = text.trim();
    text.parse::<IpNet>().or_else(|_| text.parse::<IpAddr>().map(IpNet::from)).map_err(drop)
}

/// Who called: the last address that is not a trusted proxy's. What stands before it could have been written by anybody.
pub(super) fn source(peer: IpAddr, headers: &HeaderMap, trusted: &[IpNet]) -> IpAddr {
    let is_trusted = |ip: IpAddr| trusted.iter().any(|network| network.contains(&ip));
    let mut known = peer;
    let hops = headers.get_all("x-forwarded-for").iter().rev();
    let hops = hops.flat_map(|value| value.to_str().unwrap_or("?").rsplit(','));
    for hop in hops {
        if !is_trusted(known) {
            break;
        }
        // What is no address was not written by a proxy of ours: the last one that was is as far as we know.
        let Some(ip) = address(hop.trim()) else { break };
        known = ip;
    }
    known
}

/// An address, with or without a port.
fn address(text: &str) -> Option<IpAddr> {
    let bare = text.trim_start_matches('[').trim_end_matches(']');
    let ip = bare.parse().ok().or_else(|| text.parse::<SocketAddr>().ok().map(|address| address.ip()))?;
    Some(IpAddr::to_canonical(&ip))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_trusted_proxies_say_is_believed() {
        let trusted = networks(&["10.0.0.0/8".into(), "::1".into()]);
        for (peer, forwarded, expected) in [
            ("203.0.113.9", &["1.2.3.4"][..], "203.0.113.9"),
            ("10.0.0.1", &[], "10.0.0.1"),
            ("10.0.0.1", &["1.2.3.4"], "1.2.3.4"),
            ("10.0.0.1", &["6.6.6.6, 1.2.3.4"], "1.2.3.4"),
            ("10.0.0.1", &["6.6.6.6, 1.2.3.4, 10.9.9.9"], "1.2.3.4"),
            ("10.0.0.1", &["6.6.6.6", "1.2.3.4:5678"], "1.2.3.4"),
            ("::1", &["[2001:db8::5]:443"], "2001:db8::5"),
            ("10.0.0.1", &["1.2.3.4, unknown"], "10.0.0.1"),
            ("10.0.0.1", &["::ffff:1.2.3.4"], "1.2.3.4"),
            ("10.0.0.1", &["10.0.0.2, 10.0.0.3"], "10.0.0.2"),
        ] {
            let mut headers = HeaderMap::new();
            for value in forwarded {
                headers.append("x-forwarded-for", value.parse().unwrap());
            }
            let found = source(peer.parse().unwrap(), &headers, &trusted);
            assert_eq!(found, expected.parse::<IpAddr>().unwrap(), "{peer} {forwarded:?}");
        }
    }

    #[test]
    fn what_is_no_network_is_named() {
        let wrong = problems("rates.trusted_proxies", &["10.0.0.0/8".into(), "proxy".into(), "10.0.0.0/99".into()]);
        assert_eq!(wrong.len(), 2, "{wrong:?}");
        assert!(wrong[0].contains("\"proxy\""));
    }
}
