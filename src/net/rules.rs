//! The allow-list: which names and addresses may be connected to.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;

use url::{Host, Url};

use super::NetError;
use super::resolve::Lookup;
use crate::model::Diagnostic;

/// Link-local and cloud metadata addresses: whoever reaches them holds the machine's credentials.
const GUARDED: &[(IpAddr, u8)] = &[
    (IpAddr::V4(Ipv4Addr::new(169, 254, 0, 0)), 16),
    (IpAddr::V6(Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 0)), 10),
    // AWS and Google, IPv6.
    (IpAddr::V6(Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254)), 128),
    (IpAddr::V6(Ipv6Addr::new(0xfd20, 0xce, 0, 0, 0, 0, 0, 0x254)), 128),
    // Alibaba, Azure, Oracle.
    (IpAddr::V4(Ipv4Addr::new(100, 100, 100, 200)), 32),
    (IpAddr::V4(Ipv4Addr::new(168, 63, 129, 16)), 32),
    (IpAddr::V4(Ipv4Addr::new(192, 0, 0, 192)), 32),
];

#[derive(Clone, Debug, PartialEq)]
enum Rule {
    Any,
    Name { name: String, port: Option<u16> },
    Suffix { suffix: String, port: Option<u16> },
    Network { base: IpAddr, prefix: u8, port: Option<u16> },
}

/// The parsed allow-list.
#[derive(Debug)]
pub(super) struct Rules {
    rules: Vec<Rule>,
    texts: Vec<String>,
    /// For a grant to one caller: the engine's own rules, which hold as well.
    engine: Option<Arc<Rules>>,
    pub(super) lookup: Lookup,
}

/// A connection that the rules do not admit.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[error("connecting to {target} is not allowed: {why}{mend}")]
pub(super) struct Refused {
    target: String,
    why: &'static str,
    /// The configuration line that would allow it; nothing for a grant.
    mend: String,
    /// What a grant would have to name.
    pub(super) to_grant: Option<String>,
}

impl Rules {
    /// Reads a list that stands under `key` of the configuration.
    pub(super) fn parse(key: &str, texts: &[String]) -> Result<Rules, Vec<Diagnostic>> {
        let mut rules = Vec::new();
        let mut problems = Vec::new();
        for (i, text) in texts.iter().enumerate() {
            match Rule::parse(text.trim()) {
                Some(rule) => rules.push(rule),
                None => problems.push(
                    Diagnostic::error("invalid-rule", format!("{key}[{i}]"), format!("\"{text}\" is no rule"))
                        .expected("*, name, name:port, *.suffix, address, address:port or network/bits"),
                ),
            }
        }
        if problems.is_empty() {
            Ok(Rules { rules, texts: texts.to_vec(), engine: None, lookup: Lookup::system() })
        } else {
            Err(problems)
        }
    }

    /// What is granted to one caller within the engine's rules. An empty list grants nothing; `*` and `*.suffix`
    /// reach public addresses only; an exact name may also lead to private ones, but not to this machine.
    pub(super) fn grant(texts: &[String], engine: Arc<Rules>) -> Result<Rules, Vec<Diagnostic>> {
        let lookup = engine.lookup.clone();
        Ok(Rules { engine: Some(engine), lookup, ..Rules::parse("net.allow", texts)? })
    }

    /// True when an entry of the list names the host of `url`; an empty list names none.
    pub(super) fn names(&self, url: &Url) -> bool {
        let port = url.port_or_known_default();
        !self.rules.is_empty()
            && match url.host() {
                None => false,
                Some(Host::Ipv4(ip)) => self.allows_all() || self.names_address(ip.into(), port),
                Some(Host::Ipv6(ip)) => self.allows_all() || self.names_address(ip.into(), port),
                Some(Host::Domain(name)) => self.allows_name(name, port),
            }
    }

    /// Says whether `url` may be called. A name that is allowed as such is held to its addresses by the resolver.
    pub(super) async fn check(&self, url: &Url) -> Result<(), NetError> {
        self.check_own(url).await?;
        match &self.engine {
            Some(engine) => engine.check_own(url).await,
            None => Ok(()),
        }
    }

    async fn check_own(&self, url: &Url) -> Result<(), NetError> {
        let port = url.port_or_known_default();
        match url.host() {
            None => Err(NetError::new("ERR_INVALID_URL", "the URL names no host")),
            Some(Host::Ipv4(ip)) => Ok(self.check_address(ip.into(), port)?),
            Some(Host::Ipv6(ip)) => Ok(self.check_address(ip.into(), port)?),
            Some(Host::Domain(name)) if self.allows_name(name, port) => Ok(()),
            Some(Host::Domain(name)) => {
                let by_address = self.rules.iter().any(|r| matches!(r, Rule::Network { .. }));
                let found = if by_address { self.lookup.addresses(name).await.unwrap_or_default() } else { Vec::new() };
                if found.iter().any(|a| self.names_address(a.ip(), port)) {
                    return Ok(());
                }
                Err(self.refused(name.to_string(), self.unnamed(), name.to_string()).into())
            }
        }
    }

    fn check_address(&self, ip: IpAddr, port: Option<u16>) -> Result<(), Refused> {
        if self.names_address(ip, port) {
            return Ok(());
        }
        if is_guarded(ip) {
            return Err(self.refused(ip.to_string(), GUARDED_WHY, ip.to_string()));
        }
        if self.allows_all() && (self.engine.is_none() || is_public(ip)) {
            Ok(())
        } else {
            Err(self.refused(ip.to_string(), self.unnamed(), ip.to_string()))
        }
    }

    fn unnamed(&self) -> &'static str {
        match self.engine {
            Some(_) => "it was not granted",
            None => "net.allow does not name it",
        }
    }

    /// Those of a name's addresses that may be connected to; an error when that leaves none.
    pub(super) fn admitted(&self, name: &str, found: Vec<SocketAddr>) -> Result<Vec<SocketAddr>, Refused> {
        let by_name = self.allows_name(name, None);
        let exact = self.names_exactly(name);
        let reaches = |ip: IpAddr| match self.engine {
            None => true,
            Some(_) if exact => !plain(ip).is_loopback() || name == "localhost",
            Some(_) => is_public(ip),
        };
        // Which port is asked for is not known here. Of a name that is allowed by itself, an entry for one port of an
        // address must not open the others; otherwise `check` has seen that the port fits.
        let by_address = |ip: IpAddr| if by_name { self.names_whole(ip) } else { self.names_address(ip, None) };
        let ok = |ip: IpAddr| by_address(ip) || (by_name && !is_guarded(ip) && reaches(ip));
        let (admitted, others): (Vec<_>, Vec<_>) = found.into_iter().partition(|a| ok(a.ip()));
        match (others.first(), &self.engine) {
            (Some(other), _) if admitted.is_empty() => {
                let why = match other.ip() {
                    ip if is_guarded(ip) => GUARDED_WHY,
                    ip if by_name && self.engine.is_some() && !is_public(ip) => "the address is not a public one",
                    _ => self.unnamed(),
                };
                Err(self.refused(format!("{name} ({})", other.ip()), why, other.ip().to_string()))
            }
            (_, Some(engine)) => engine.admitted(name, admitted),
            _ => Ok(admitted),
        }
    }

    fn names_exactly(&self, name: &str) -> bool {
        let name = name.trim_end_matches('.').to_ascii_lowercase();
        self.rules.iter().any(|rule| matches!(rule, Rule::Name { name: n, .. } if *n == name))
    }

    fn allows_all(&self) -> bool {
        (self.rules.is_empty() && self.engine.is_none()) || self.rules.contains(&Rule::Any)
    }

    /// `port: None` asks whether any port would do.
    fn allows_name(&self, name: &str, port: Option<u16>) -> bool {
        let name = name.trim_end_matches('.').to_ascii_lowercase();
        self.allows_all()
            || self.rules.iter().any(|rule| match rule {
                Rule::Name { name: n, port: p } => *n == name && same_port(*p, port),
                Rule::Suffix { suffix, port: p } => {
                    name.strip_suffix(suffix.as_str()).is_some_and(|rest| rest.ends_with('.')) && same_port(*p, port)
                }
                _ => false,
            })
    }

    /// True when a rule names the address itself.
    fn names_address(&self, ip: IpAddr, port: Option<u16>) -> bool {
        self.rules.iter().any(|rule| match rule {
            Rule::Network { base, prefix, port: p } => contains(*base, *prefix, ip) && same_port(*p, port),
            _ => false,
        })
    }

    /// True when a rule names the address on every port.
    fn names_whole(&self, ip: IpAddr) -> bool {
        self.rules.iter().any(|rule| match rule {
            Rule::Network { base, prefix, port: None } => contains(*base, *prefix, ip),
            _ => false,
        })
    }

    fn refused(&self, target: String, why: &'static str, rule: String) -> Refused {
        if self.engine.is_some() {
            return Refused { target, why, mend: String::new(), to_grant: Some(rule) };
        }
        let mut list = if self.texts.is_empty() { vec!["*".to_string()] } else { self.texts.clone() };
        // A list without entries allows everything; a new entry must not take that away.
        list.push(rule);
        let list: Vec<String> = list.iter().map(|text| format!("\"{text}\"")).collect();
        let mend = format!(". To allow it: net.allow = [{}]", list.join(", "));
        Refused { target, why, mend, to_grant: None }
    }
}

const GUARDED_WHY: &str = "it is a link-local or metadata address";

fn same_port(rule: Option<u16>, asked: Option<u16>) -> bool {
    rule.is_none() || asked.is_none() || rule == asked
}

impl Rule {
    fn parse(text: &str) -> Option<Rule> {
        if text == "*" {
            return Some(Rule::Any);
        }
        if let Some((base, prefix)) = text.split_once('/') {
            let base: IpAddr = base.parse().ok()?;
            let prefix: u8 = prefix.parse().ok()?;
            return (prefix <= width(base)).then_some(Rule::Network { base, prefix, port: None });
        }
        if let Ok(ip) = text.trim_matches(['[', ']']).parse::<IpAddr>() {
            return Some(Rule::Network { base: ip, prefix: width(ip), port: None });
        }
        if let Ok(address) = text.parse::<SocketAddr>() {
            let ip = address.ip();
            return Some(Rule::Network { base: ip, prefix: width(ip), port: Some(address.port()) });
        }
        let (name, port) = match text.split_once(':') {
            Some((name, port)) => (name, Some(port.parse().ok()?)),
            None => (text, None),
        };
        let name = name.trim_end_matches('.').to_ascii_lowercase();
        let (is_suffix, name) = match name.strip_prefix("*.") {
            Some(suffix) => (true, suffix.to_string()),
            None => (false, name),
        };
        let legal = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
        if name.is_empty() || !name.chars().all(legal) || name.starts_with('.') || name.contains("..") {
            return None;
        }
        Some(if is_suffix { Rule::Suffix { suffix: name, port } } else { Rule::Name { name, port } })
    }
}

fn width(ip: IpAddr) -> u8 {
    if ip.is_ipv4() { 32 } else { 128 }
}

fn is_guarded(ip: IpAddr) -> bool {
    let ip = plain(ip);
    GUARDED.iter().any(|(base, prefix)| contains(*base, *prefix, ip))
}

/// An address of the public internet: not this machine, nor a private, shared, documentation or multicast one (IANA
/// special-purpose registries).
fn is_public(ip: IpAddr) -> bool {
    const SPECIAL: &[(&str, u8)] = &[
        ("0.0.0.0", 8),
        ("10.0.0.0", 8),
        ("100.64.0.0", 10),
        ("127.0.0.0", 8),
        ("169.254.0.0", 16),
        ("172.16.0.0", 12),
        ("192.0.0.0", 24),
        ("192.0.2.0", 24),
        ("192.88.99.0", 24),
        ("192.168.0.0", 16),
        ("198.18.0.0", 15),
        ("198.51.100.0", 24),
        ("203.0.113.0", 24),
        ("224.0.0.0", 3),
        ("::", 127),
        ("64:ff9b:1::", 48),
        ("100::", 64),
        ("2001::", 23),
        ("2001:db8::", 32),
        ("2002::", 16),
        ("fc00::", 7),
        ("fe80::", 9),
        ("ff00::", 8),
    ];
    let ip = plain(ip);
    !is_guarded(ip) && !SPECIAL.iter().any(|(base, bits)| base.parse().is_ok_and(|base| contains(base, *bits, ip)))
}

/// The IPv4 address inside an IPv4-mapped or NAT64 (`64:ff9b::/96`) one: the same machine by another name.
fn plain(ip: IpAddr) -> IpAddr {
    match ip.to_canonical() {
        IpAddr::V6(v6) if v6.segments()[..6] == [0x64, 0xff9b, 0, 0, 0, 0] => {
            let o = v6.octets();
            IpAddr::V4(Ipv4Addr::new(o[12], o[13], o[14], o[15]))
        }
        other => other,
    }
}

fn contains(base: IpAddr, prefix: u8, ip: IpAddr) -> bool {
    let bits = |ip: IpAddr| match ip {
        IpAddr::V4(v4) => u128::from(v4.to_bits()) << 96,
        IpAddr::V6(v6) => v6.to_bits(),
    };
    let (base, ip) = (base.to_canonical(), plain(ip));
    if base.is_ipv4() != ip.is_ipv4() {
        return false;
    }
    let mask = if prefix == 0 { 0 } else { u128::MAX << (128 - u32::from(prefix)) };
    bits(base) & mask == bits(ip) & mask
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules(list: &[&str]) -> Rules {
        Rules::parse("net.allow", &list.iter().map(|s| s.to_string()).collect::<Vec<_>>()).unwrap()
    }

    fn admits(list: &[&str], url: &str, resolved: &[&str]) -> bool {
        let rules = rules(list);
        let url = Url::parse(url).unwrap();
        let port = url.port_or_known_default();
        match url.host().unwrap() {
            Host::Ipv4(ip) => rules.check_address(ip.into(), port).is_ok(),
            Host::Ipv6(ip) => rules.check_address(ip.into(), port).is_ok(),
            Host::Domain(name) => {
                let found: Vec<SocketAddr> =
                    resolved.iter().map(|ip| SocketAddr::new(ip.parse().unwrap(), 0)).collect();
                let asked = rules.allows_name(name, port) || found.iter().any(|a| rules.names_address(a.ip(), port));
                asked && rules.admitted(name, found).is_ok()
            }
        }
    }

    #[test]
    fn the_table_of_forms() {
        for (list, url, resolved, expected) in [
            (&[][..], "http://10.0.0.1/", &[][..], true),
            (&[], "http://localhost/", &["127.0.0.1"], true),
            (&[], "http://169.254.169.254/", &[], false),
            (&[], "http://[fe80::1]/", &[], false),
            (&[], "http://[::ffff:169.254.169.254]/", &[], false),
            (&[], "http://[64:ff9b::a9fe:a9fe]/", &[], false),
            (&[], "http://0xa9fea9fe/", &[], false),
            (&[], "http://metadata.google.internal/", &["169.254.169.254"], false),
            (&["*"], "http://169.254.169.254/", &[], false),
            (&["*", "169.254.169.254"], "http://169.254.169.254/", &[], true),
            (&["*", "169.254.169.254"], "http://a.example/", &["93.184.216.34"], true),
            (&["a.example"], "http://a.example/", &["93.184.216.34"], true),
            (&["a.example"], "http://A.example.:8080/", &["93.184.216.34"], true),
            (&["a.example"], "http://a.example/", &["169.254.169.254"], false),
            (&["*", "169.254.169.254:80"], "http://a.example:8080/", &["169.254.169.254"], false),
            (&["*", "169.254.169.254:80"], "http://169.254.169.254/", &[], true),
            (&["127.0.0.1:80"], "http://a.example/", &["127.0.0.1"], true),
            (&["127.0.0.1:80"], "http://a.example:81/", &["127.0.0.1"], false),
            (&["a.example"], "http://b.a.example/", &["93.184.216.34"], false),
            (&["a.example"], "http://93.184.216.34/", &[], false),
            (&["a.example:443"], "https://a.example/", &["93.184.216.34"], true),
            (&["a.example:443"], "http://a.example/", &["93.184.216.34"], false),
            (&["*.example"], "http://b.a.example/", &["93.184.216.34"], true),
            (&["*.example"], "http://example/", &["93.184.216.34"], false),
            (&["*.example"], "http://badexample/", &["93.184.216.34"], false),
            (&["10.0.0.0/8"], "http://10.9.9.9/", &[], true),
            (&["10.0.0.0/8"], "http://11.0.0.1/", &[], false),
            (&["10.0.0.0/8"], "http://inside.example/", &["10.1.1.1"], true),
            (&["10.0.0.0/8"], "http://inside.example/", &["11.1.1.1"], false),
            (&["127.0.0.1:80"], "http://127.0.0.1/", &[], true),
            (&["127.0.0.1:80"], "http://127.0.0.1:81/", &[], false),
            (&["[::1]:80", "fd00::/8"], "http://[::1]/", &[], true),
            (&["fd00::/8"], "http://[fd12::1]/", &[], true),
            (&["0.0.0.0/0"], "http://1.2.3.4/", &[], true),
        ] {
            assert_eq!(admits(list, url, resolved), expected, "{list:?} {url} {resolved:?}");
        }
    }

    #[test]
    fn a_grant_reaches_public_addresses_and_what_it_names() {
        let engine = Arc::new(rules(&[]));
        let admits = |list: &[&str], name: &str, ip: &str| {
            let list: Vec<String> = list.iter().map(|s| s.to_string()).collect();
            let grant = Rules::grant(&list, engine.clone()).unwrap();
            let ip: IpAddr = ip.parse().unwrap();
            match name {
                "" => grant.check_address(ip, Some(80)).is_ok(),
                _ => grant.allows_name(name, Some(80)) && grant.admitted(name, vec![SocketAddr::new(ip, 0)]).is_ok(),
            }
        };
        for (list, name, ip, expected) in [
            (&[][..], "", "93.184.216.34", false),
            (&[], "a.example", "93.184.216.34", false),
            (&["*"], "", "93.184.216.34", true),
            (&["*"], "a.example", "93.184.216.34", true),
            (&["*"], "", "127.0.0.1", false),
            (&["*"], "", "10.0.0.1", false),
            (&["*"], "", "::ffff:10.0.0.1", false),
            (&["*"], "", "fd00::1", false),
            (&["*"], "a.example", "192.168.1.1", false),
            (&["*"], "a.example", "127.0.0.1", false),
            (&["*"], "", "169.254.169.254", false),
            (&["*.example"], "a.example", "10.0.0.1", false),
            (&["status-backend"], "status-backend", "172.18.0.5", true),
            (&["status-backend"], "status-backend", "127.0.0.1", false),
            (&["status-backend"], "status-backend", "169.254.169.254", false),
            (&["localhost"], "localhost", "127.0.0.1", true),
            (&["127.0.0.1:80"], "", "127.0.0.1", true),
            (&["10.0.0.0/8"], "", "10.1.1.1", true),
            (&["10.0.0.0/8"], "", "11.1.1.1", false),
        ] {
            assert_eq!(admits(list, name, ip), expected, "{list:?} {name} {ip}");
        }
        // What the engine's rules refuse, no grant opens.
        let narrow = Arc::new(rules(&["b.example"]));
        let grant = Rules::grant(&["a.example".to_string()], narrow).unwrap();
        assert!(grant.admitted("a.example", vec!["93.184.216.34:0".parse().unwrap()]).is_err());
    }

    #[test]
    fn a_refusal_says_the_line_that_would_allow_it() {
        let refused = rules(&[]).check_address("169.254.169.254".parse().unwrap(), Some(80)).unwrap_err();
        assert!(refused.to_string().ends_with(r#"To allow it: net.allow = ["*", "169.254.169.254"]"#), "{refused}");
        let refused = rules(&["a.example"]).check_address("1.2.3.4".parse().unwrap(), Some(80)).unwrap_err();
        assert!(refused.to_string().ends_with(r#"net.allow = ["a.example", "1.2.3.4"]"#), "{refused}");
    }

    #[test]
    fn every_broken_rule_is_reported() {
        let list = ["http://a", "a b", "10.0.0.0/33", "a:99999", "*.", "ok.example", ""].map(String::from);
        let paths: Vec<String> = Rules::parse("net.allow", &list).unwrap_err().into_iter().map(|d| d.path).collect();
        assert_eq!(paths, [0, 1, 2, 3, 4, 6].map(|i| format!("net.allow[{i}]")));
    }
}
