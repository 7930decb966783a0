//! `http in`: makes a flow answer HTTP calls. The call itself is received by `api`, which builds
//! `{_msgid, req, res, payload}` and opens the run here.

use std::sync::Arc;

use arcstr::ArcStr;

use crate::model::node_spec::{NodeSpec, Property, PropertyKind};
use crate::model::{Diagnostic, Msg};
use crate::runtime::{Cx, Entry, Node, NodeConfig, NodeType, Step};

/// What the editor offers, and `all` for a route that takes every method.
const METHODS: &[&str] = &["get", "post", "put", "delete", "patch", "head", "options", "all"];

static SPEC: NodeSpec = NodeSpec {
    node_type: "http in",
    category: "network",
    summary: "Opens a run for each HTTP call to its URL; answer with an `http response` node.",
    inputs: 0,
    outputs: Some(1),
    config_node: false,
    properties: &[
        Property::required(
            "url",
            PropertyKind::Text,
            "Path below httpNodeRoot, for example /orders/:id; parameters arrive in msg.req.params.",
        ),
        Property::new("method", PropertyKind::OneOfAnyCase(METHODS), "HTTP method; get when absent."),
        Property::new("upload", PropertyKind::Boolean, "Read multipart forms; files arrive in msg.req.files (POST)."),
        Property::new("skipBodyParsing", PropertyKind::Boolean, "Leave the body as bytes, whatever its type."),
        Property::new("swaggerDoc", PropertyKind::Text, "Id of a documentation node; kept, not used."),
    ],
    capabilities: &[],
};

pub const TYPE: NodeType = NodeType { spec: &SPEC, build };

struct HttpIn {
    method: ArcStr,
    url: ArcStr,
    upload: bool,
    skip_body_parsing: bool,
}

fn build(config: &NodeConfig<'_>) -> Result<Arc<dyn Node>, Vec<Diagnostic>> {
    let mut problems = Vec::new();
    let mut url = config.text("url");
    if url.is_empty() {
        problems.push(
            config
                .problem("missing-url", "url", "it has no URL, so nothing can call it")
                .expected("a path such as /orders/:id"),
        );
    } else if !url.starts_with('/') {
        url = arcstr::format!("/{url}");
    }
    let mut method = ArcStr::from(config.text("method").to_lowercase());
    if method.is_empty() {
        method = arcstr::literal!("get");
    }
    if !METHODS.contains(&method.as_str()) {
        problems.push(
            config
                .problem("unknown-method", "method", format!("\"{method}\" is no HTTP method it can serve"))
                .expected(format!("one of {}", METHODS.join(", ")))
                .did_you_mean(&method, METHODS.iter().copied()),
        );
    }
    if !problems.is_empty() {
        return Err(problems);
    }
    let (upload, skip_body_parsing) = (config.flag("upload"), config.flag("skipBodyParsing"));
    Ok(Arc::new(HttpIn { method, url, upload, skip_body_parsing }))
}

impl Node for HttpIn {
    fn on_msg(&self, msg: Msg, cx: &mut Cx<'_>) -> Step {
        cx.emit(0, msg);
        Step::Done
    }

    fn entry(&self) -> Option<Entry> {
        Some(Entry::Http {
            method: self.method.clone(),
            url: self.url.clone(),
            upload: self.upload,
            skip_body_parsing: self.skip_body_parsing,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::rig::{Rig, node};

    #[test]
    fn the_url_gets_its_slash_and_the_method_its_case() {
        let rig = Rig::new(vec![node("in", "http in", r#"{"url":"a/:id","method":"POST"}"#, &[])]);
        let routes = &rig.engine.current().routes;
        assert!(rig.problems().is_empty(), "{:?}", rig.problems());
        assert!(routes.find("post", "/a/7").is_some());
    }

    #[test]
    fn all_problems_are_told() {
        let rig = Rig::new(vec![node("in", "http in", r#"{"url":"","method":"fetch"}"#, &[])]);
        let codes: Vec<String> = rig.problems().iter().map(|d| d.code.clone()).collect();
        assert_eq!(codes, ["missing-url", "unknown-method"]);
    }
}
