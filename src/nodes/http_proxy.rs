//! `http proxy`: a proxy that `http request` nodes call through.

use std::any::Any;
use std::sync::Arc;

use url::Url;

use crate::model::node_spec::{NodeSpec, Property, PropertyKind};
use crate::model::{Diagnostic, Msg, Value};
use crate::net::Proxy;
use crate::runtime::{Cx, Node, NodeConfig, NodeType, Step};

static SPEC: NodeSpec = NodeSpec {
    node_type: "http proxy",
    category: "config",
    summary: "A proxy for the calls of http request nodes.",
    inputs: 0,
    outputs: Some(0),
    config_node: true,
    properties: &[
        Property::new("url", PropertyKind::Text, "http://host:port, or https://."),
        Property::new("noproxy", PropertyKind::Json, "Hosts to call past it: host, host:port, .suffix, *suffix, *."),
        Property::new("credentials", PropertyKind::Json, "{username, password} for the proxy."),
    ],
    capabilities: &[],
};

pub const TYPE: NodeType = NodeType { spec: &SPEC, build };

struct HttpProxy(Arc<Proxy>);

fn build(config: &NodeConfig<'_>) -> Result<Arc<dyn Node>, Vec<Diagnostic>> {
    let text = config.text("url");
    let text = if text.contains("://") { text.to_string() } else { format!("http://{text}") };
    let parsed = Url::parse(&text).ok().filter(|url| matches!(url.scheme(), "http" | "https") && url.has_host());
    let Some(mut url) = parsed else {
        // Not the text: it may hold a login.
        let problem = config.problem("invalid-url", "url", "it has no address that can be used");
        return Err(vec![problem.expected("http://host:port")]);
    };
    let decoded = |text: &str| percent_encoding::percent_decode_str(text).decode_utf8_lossy().into_owned();
    let mut login = (decoded(url.username()), decoded(url.password().unwrap_or_default()));
    let given = (config.credential("username").to_string(), config.credential("password").to_string());
    if given != Default::default() {
        login = given;
    }
    // Both cannot fail for a URL with a host.
    let _ = url.set_username("").and_then(|()| url.set_password(None)).is_ok();
    let except = match config.get("noproxy") {
        Value::Array(hosts) => hosts.iter().map(|host| host.to_js_string().to_string()).collect(),
        Value::String(hosts) => vec![hosts.to_string()],
        _ => Vec::new(),
    };
    let login = Some(login).filter(|login| *login != Default::default());
    Ok(Arc::new(HttpProxy(Arc::new(Proxy { url, login, except }))))
}

impl Node for HttpProxy {
    fn on_msg(&self, _msg: Msg, _cx: &mut Cx<'_>) -> Step {
        Step::Done
    }

    fn shared(&self) -> Option<Arc<dyn Any + Send + Sync>> {
        Some(self.0.clone())
    }
}
