//! `tls-config`: certificates and keys that other nodes connect with.

use std::any::Any;
use std::sync::Arc;

use arcstr::ArcStr;

use super::typed::env_text;
use crate::model::node_spec::{NodeSpec, Property, PropertyKind};
use crate::model::{Diagnostic, Msg};
use crate::net::{Tls, TlsOptions};
use crate::runtime::{Cx, Node, NodeConfig, NodeType, Step};

static SPEC: NodeSpec = NodeSpec {
    node_type: "tls-config",
    category: "config",
    summary: "Certificates and keys for TLS connections of other nodes.",
    inputs: 0,
    outputs: Some(0),
    config_node: true,
    properties: &[
        Property::new("certType", PropertyKind::OneOf(&["files", "env", "pfx"]), "files when absent; pfx is refused."),
        Property::new("cert", PropertyKind::Text, "PEM file of the own certificate, in the folder of flows."),
        Property::new("key", PropertyKind::Text, "PEM file of its key, likewise; not encrypted."),
        Property::new("ca", PropertyKind::Text, "PEM file of the authorities to trust instead of the system's."),
        Property::new("certEnv", PropertyKind::Text, "env: the variable with the own certificate, PEM."),
        Property::new("keyEnv", PropertyKind::Text, "env: the variable with its key."),
        Property::new("caEnv", PropertyKind::Text, "env: the variable with the authorities."),
        Property::new("credentials", PropertyKind::Json, "{certdata, keydata, cadata}: PEM, uploaded in the editor."),
        Property::new("servername", PropertyKind::Text, "The name to ask for and to expect; the host's when empty."),
        Property::new("alpnprotocol", PropertyKind::Text, "The protocol to agree on (ALPN)."),
        Property::new(
            "verifyservercert",
            PropertyKind::Boolean,
            "false: any certificate will do, for hosts that net.unverified names.",
        ),
    ],
    capabilities: &[],
};

pub const TYPE: NodeType = NodeType { spec: &SPEC, build };

struct TlsConfig(Arc<Tls>);

fn build(config: &NodeConfig<'_>) -> Result<Arc<dyn Node>, Vec<Diagnostic>> {
    let mut problems = Vec::new();
    let mut options = TlsOptions {
        server_name: Some(config.text("servername").trim().to_string()).filter(|name| !name.is_empty()),
        protocol: Some(config.text("alpnprotocol").trim().to_string()).filter(|name| !name.is_empty()),
        unverified: !config.get("verifyservercert").is_undefined() && !config.flag("verifyservercert"),
        ..TlsOptions::default()
    };
    match config.text("certType").as_str() {
        "pfx" => {
            problems.push(config.problem("not-supported", "certType", "PKCS #12 files cannot be read").hint(
                "convert it: openssl pkcs12 -in FILE -nodes -out PEM, and give the certificate and the key as PEM",
            ))
        }
        "env" => {
            let of = |name: &str| match config.text(name) {
                variable if variable.is_empty() => Vec::new(),
                variable => env_text(config.node, config.services, &variable).to_js_string().as_bytes().to_vec(),
            };
            (options.certificate, options.key, options.authorities) = (of("certEnv"), of("keyEnv"), of("caEnv"));
        }
        _ => from_files_or_credentials(config, &mut options, &mut problems),
    }
    if !problems.is_empty() {
        return Err(problems);
    }
    match Tls::new(&options) {
        Ok(tls) => Ok(Arc::new(TlsConfig(Arc::new(tls)))),
        Err(problem) => Err(vec![config.problem("invalid-tls", "cert", problem)]),
    }
}

fn from_files_or_credentials(config: &NodeConfig<'_>, options: &mut TlsOptions, problems: &mut Vec<Diagnostic>) {
    let names: Vec<ArcStr> = ["cert", "key", "ca"].iter().map(|name| config.text(name).trim().into()).collect();
    let mut pem = ["certdata", "keydata", "cadata"].map(|name| config.credential(name).as_bytes().to_vec());
    if names.iter().any(|name| !name.is_empty()) {
        for ((property, name), into) in ["cert", "key", "ca"].into_iter().zip(&names).zip(&mut pem) {
            into.clear();
            if name.is_empty() {
                continue;
            }
            let read = config.services.files.find(name, true).map_err(|e| e.message);
            let read =
                read.and_then(|path| std::fs::read(path).map_err(|e| crate::files::of_io(&e, "open", name).message));
            match read {
                Ok(bytes) => *into = bytes,
                Err(problem) => problems.push(
                    config
                        .problem("unreadable-file", property, problem)
                        .hint("or upload it in the editor, or name an environment variable (certType env)"),
                ),
            }
        }
    }
    [options.certificate, options.key, options.authorities] = pem;
}

impl Node for TlsConfig {
    fn on_msg(&self, _msg: Msg, _cx: &mut Cx<'_>) -> Step {
        Step::Done
    }

    fn shared(&self) -> Option<Arc<dyn Any + Send + Sync>> {
        Some(self.0.clone())
    }
}

/// The TLS settings a property names. A name that leads to none that can be used is a problem: to go on without them
/// would be to connect as somebody else.
pub(super) fn named(config: &NodeConfig<'_>, property: &str) -> Result<Option<Arc<Tls>>, Diagnostic> {
    if config.text(property).is_empty() {
        return Ok(None);
    }
    config.shared::<Tls>(property).map(Some).ok_or_else(|| {
        let id = config.text(property);
        config
            .problem("unusable-reference", property, format!("\"{id}\" is no tls-config node that can be used"))
            .expected("the id of a tls-config node without problems")
    })
}
