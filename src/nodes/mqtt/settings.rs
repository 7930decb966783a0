//! What `mqtt-broker` nodes configure, and what `msg.broker` of a connect action changes.

use std::sync::Arc;

use url::Url;

use super::super::tls_config;
use super::topic;
use crate::model::{Diagnostic, Object, Value, id};
use crate::net::Tls;
use crate::runtime::NodeConfig;

/// A message that is published when something happens to the connection.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Notice {
    pub(super) topic: String,
    pub(super) payload: Value,
    pub(super) qos: u8,
    pub(super) retain: bool,
    pub(super) more: Object,
}

/// A broker and how to speak with it. Printed without the password.
#[derive(Clone)]
pub(super) struct Settings {
    /// `mqtt`, `mqtts`, `ws` or `wss`.
    pub(super) url: Url,
    pub(super) tls: Option<Arc<Tls>>,
    pub(super) v5: bool,
    pub(super) client_id: String,
    pub(super) clean: bool,
    /// Seconds; 0: none.
    pub(super) keep_alive: u16,
    pub(super) auto_connect: bool,
    pub(super) auto_unsubscribe: bool,
    pub(super) user: Option<String>,
    pub(super) password: Option<String>,
    pub(super) birth: Option<Notice>,
    pub(super) close: Option<Notice>,
    pub(super) will: Option<Notice>,
    /// Seconds.
    pub(super) session_expiry: Option<u32>,
    pub(super) user_properties: Value,
    pub(super) receive_maximum: Option<u16>,
    pub(super) topic_alias_maximum: Option<u16>,
}

impl Settings {
    /// Reads a node's configuration.
    pub(super) fn read(config: &NodeConfig<'_>) -> Result<Settings, Vec<Diagnostic>> {
        let mut problems = Vec::new();
        let flag = |name: &str, absent: bool| match config.get(name) {
            Value::Undefined | Value::Null => absent,
            _ => config.flag(name),
        };
        let uses_tls = flag("usetls", false);
        let url = address(&config.text("url"), &config.text("broker"), &config.text("port"), uses_tls);
        let url = url.map_err(|what| {
            problems.push(
                config
                    .problem("invalid-broker", "broker", what)
                    .expected("a host name, or mqtt://, mqtts://, ws:// or wss:// with host and port"),
            );
        });
        let tls = if uses_tls { tls_config::named(config, "tls").map_err(|p| problems.push(p)) } else { Ok(None) };
        let mut notice = |prefix: &str| {
            let get = |part: &str| config.get(&format!("{prefix}{part}")).clone();
            let made = Notice::read(get("Topic"), get("Payload"), get("Qos"), get("Retain"), &get("Msg"));
            if made.as_ref().is_some_and(|notice| !topic::may_publish(&notice.topic)) {
                problems.push(config.problem("invalid-topic", &format!("{prefix}Topic"), "Invalid topic specified"));
            }
            made
        };
        let (birth, close, will) = (notice("birth"), notice("close"), notice("will"));
        let v5 = config.text("protocolVersion") == "5" && !config.flag("compatmode");
        let client_id = config.text("clientid").to_string();
        let clean = flag("cleansession", true);
        if !clean && client_id.is_empty() {
            tracing::warn!(node = %config.node.id, "No client ID set, using clean session");
        }
        let optional = |text: arcstr::ArcStr| Some(text.to_string()).filter(|text| !text.is_empty());
        let number = |name: &str, most: f64| config.number(name).map(f64::trunc).filter(|n| *n > 0.0 && *n <= most);
        let settings = match (url, tls) {
            (Ok(url), Ok(tls)) => Settings {
                url,
                tls,
                v5,
                clean: clean || client_id.is_empty(),
                client_id: if client_id.is_empty() { format!("nodered{}", id::hex16()) } else { client_id },
                keep_alive: number("keepalive", 65_535.0).unwrap_or(if config.number("keepalive").is_some() {
                    0.0
                } else {
                    60.0
                }) as u16,
                auto_connect: config.text("autoConnect") != "false",
                auto_unsubscribe: config.text("autoUnsubscribe") != "false",
                user: optional(config.credential("user")),
                password: optional(config.credential("password")),
                birth,
                close,
                will,
                session_expiry: number("sessionExpiry", f64::from(u32::MAX)).map(|n| n as u32),
                user_properties: parsed(config.get("userProps")),
                receive_maximum: number("receiveMaximum", 65_535.0).map(|n| n as u16),
                topic_alias_maximum: number("topicAliasMaximum", 65_535.0).map(|n| n as u16),
            },
            _ => return Err(problems),
        };
        if problems.is_empty() { Ok(settings) } else { Err(problems) }
    }

    /// The settings with what `msg.broker` says; what it does not say stays.
    pub(super) fn changed(&self, by: &Object) -> Result<Settings, String> {
        let mut new = self.clone();
        let get = |name: &str| by.get(name).filter(|value| !value.is_undefined());
        let text =
            |name: &str| get(name).map(|v| if v.is_nullish() { String::new() } else { v.to_js_string().to_string() });
        let flag = |name: &str| get(name).map(|v| v == &Value::Bool(true) || v.as_str() == Some("true"));
        if ["url", "broker", "port", "usetls"].iter().any(|name| get(name).is_some()) {
            let secure = flag("usetls").unwrap_or(matches!(self.url.scheme(), "mqtts" | "wss"));
            let host = text("broker").unwrap_or_else(|| self.url.host_str().unwrap_or_default().to_string());
            let port = text("port").or_else(|| self.url.port().map(|port| port.to_string())).unwrap_or_default();
            new.url = address(&text("url").unwrap_or_default(), &host, &port, secure)?;
        }
        new.client_id = text("clientid").filter(|id| !id.is_empty()).unwrap_or(new.client_id);
        new.user = text("username").map_or(new.user, |user| Some(user).filter(|user| !user.is_empty()));
        new.password = text("password").map_or(new.password, |word| Some(word).filter(|word| !word.is_empty()));
        new.clean = flag("cleansession").unwrap_or(new.clean);
        new.auto_connect = flag("autoConnect").unwrap_or(new.auto_connect);
        new.auto_unsubscribe = flag("autoUnsubscribe").unwrap_or(new.auto_unsubscribe);
        if let Some(version) = text("protocolVersion") {
            new.v5 = version == "5";
        }
        let number =
            |name: &str, most: f64| get(name).map(|v| v.to_number().trunc()).filter(|n| *n >= 0.0 && *n <= most);
        new.keep_alive = number("keepalive", 65_535.0).map_or(new.keep_alive, |n| n as u16);
        for name in ["sessionExpiry", "sessionExpiryInterval"] {
            new.session_expiry = number(name, f64::from(u32::MAX)).map(|n| n as u32).or(new.session_expiry);
        }
        new.receive_maximum =
            number("receiveMaximum", 65_535.0).map(|n| n as u16).filter(|n| *n > 0).or(new.receive_maximum);
        new.topic_alias_maximum = number("topicAliasMaximum", 65_535.0).map(|n| n as u16).or(new.topic_alias_maximum);
        for name in ["userProperties", "userProps"] {
            if let Some(given) = get(name) {
                new.user_properties = parsed(given);
            }
        }
        for (name, into) in [("birth", &mut new.birth), ("close", &mut new.close), ("will", &mut new.will)] {
            if let Some(given) = get(name) {
                let part = |name: &str| given.get(name);
                *into = Notice::read(part("topic"), part("payload"), part("qos"), part("retain"), &part("properties"));
            }
        }
        if !new.clean && new.client_id.is_empty() {
            return Err("Missing Client ID".into());
        }
        Ok(new)
    }

    /// The address without login, as it may be shown.
    pub(super) fn shown(&self) -> String {
        let port = self.port();
        format!("{}://{}:{port}", self.url.scheme(), self.url.host_str().unwrap_or_default())
    }

    pub(super) fn port(&self) -> u16 {
        self.url.port_or_known_default().unwrap_or(match self.url.scheme() {
            "mqtts" => 8883,
            _ => 1883,
        })
    }

    pub(super) fn is_secure(&self) -> bool {
        matches!(self.url.scheme(), "mqtts" | "wss")
    }

    /// Node-RED repeats the topic as `_topic` for a broker on this machine.
    pub(super) fn is_of_this_machine(&self) -> bool {
        matches!(self.url.host_str(), Some("localhost" | "127.0.0.1"))
    }
}

/// The address out of the parts a node has.
fn address(url: &str, broker: &str, port: &str, secure: bool) -> Result<Url, String> {
    let given = if url.is_empty() && broker.contains("://") { broker } else { url };
    let text = if given.is_empty() {
        let host = if broker.is_empty() { "localhost" } else { broker };
        let host = if host.contains(':') && !host.starts_with('[') { format!("[{host}]") } else { host.to_string() };
        let port = if port.is_empty() { "1883" } else { port };
        format!("{}://{host}:{port}", if secure { "mqtts" } else { "mqtt" })
    } else {
        given.replacen("tcp://", "mqtt://", 1).replacen("ssl://", "mqtts://", 1).replacen("tls://", "mqtts://", 1)
    };
    let parsed = Url::parse(&text).map_err(|e| format!("the broker's address cannot be used: {e}"))?;
    let known = matches!(parsed.scheme(), "mqtt" | "mqtts" | "ws" | "wss");
    if !known || !parsed.has_host() { Err("this is no address of an MQTT broker".into()) } else { Ok(parsed) }
}

/// An object, or JSON of one.
fn parsed(value: &Value) -> Value {
    match value {
        Value::Object(_) => value.clone(),
        Value::String(text) if text.trim_start().starts_with('{') => Value::from_json(text).unwrap_or_default(),
        _ => Value::Undefined,
    }
}

impl Notice {
    /// `None` without a topic.
    fn read(topic: Value, payload: Value, qos: Value, retain: Value, more: &Value) -> Option<Notice> {
        let topic = topic.as_str().filter(|topic| !topic.is_empty())?.to_string();
        let get =
            |names: [&str; 2]| names.iter().map(|name| more.get(name)).find(|v| !v.is_nullish()).unwrap_or_default();
        let mut properties = Object::new();
        for (name, value) in [
            ("contentType", get(["contentType", "contentType"])),
            ("responseTopic", get(["respTopic", "responseTopic"])),
            ("correlationData", get(["correl", "correlationData"])),
            ("messageExpiryInterval", get(["expiry", "messageExpiryInterval"])),
            ("willDelayInterval", get(["delay", "willDelayInterval"])),
            ("userProperties", parsed(&get(["userProps", "userProperties"]))),
        ] {
            if !value.is_nullish() && value.as_str() != Some("") {
                properties.insert(name, value);
            }
        }
        let qos = Some(qos.to_number()).filter(|n| *n == 1.0 || *n == 2.0).unwrap_or(0.0) as u8;
        let retain = retain == Value::Bool(true) || retain.as_str() == Some("true");
        Some(Notice { topic, payload, qos, retain, more: properties })
    }
}

#[cfg(test)]
mod tests {
    use super::address;

    #[test]
    fn addresses_are_put_together_as_node_red_does() {
        for (url, broker, port, secure, expected) in [
            ("", "host", "", false, "mqtt://host:1883"),
            ("", "host", "8883", true, "mqtts://host:8883"),
            ("", "", "", false, "mqtt://localhost:1883"),
            ("", "::1", "1", false, "mqtt://[::1]:1"),
            ("", "wss://host/mqtt", "9", true, "wss://host/mqtt"),
            ("tcp://h:7", "x", "", false, "mqtt://h:7"),
        ] {
            assert_eq!(address(url, broker, port, secure).unwrap().as_str(), expected);
        }
        for bad in ["http://x", "mqtt://", "a b"] {
            assert!(address(bad, "", "", false).is_err(), "{bad}");
        }
    }
}
