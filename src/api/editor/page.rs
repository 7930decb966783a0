//! The editor's page, and `/theme`, which tells it what to call itself.

use std::sync::OnceLock;

use axum::response::{Html, IntoResponse, Response};
use http::{HeaderValue, header};
use serde_json::{Value as Json, json};
use sha2::{Digest, Sha256};

use super::files;
use crate::model::Value;
use crate::nodes::mustache::{Template, View};

/// What the page's template and `/theme` are filled with (`editor-api/lib/editor/theme.js`).
fn context() -> Json {
    json!({
        "page": {
            "title": "Probity",
            "favicon": "favicon.ico",
            "tabicon": { "icon": "red/images/node-red-icon-black.svg", "colour": "#8f0000" },
        },
        "header": { "title": "Probity", "image": "red/images/node-red-icon.svg" },
        "asset": {
            "red": "red/red.min.js",
            "main": "red/main.min.js",
            "vendorMonaco": "vendor/monaco/monaco-bootstrap.js",
            "vendorAce": "",
        },
    })
}

pub(super) fn theme() -> Response {
    let mut context = context();
    context["themes"] = json!([]);
    super::json(&context)
}

/// The editor, or a page that says why there is none.
pub(super) fn page() -> Response {
    static PAGE: OnceLock<Option<String>> = OnceLock::new();
    match PAGE.get_or_init(rendered) {
        Some(page) => {
            let mut response = Html(page.as_str()).into_response();
            response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
            response
        }
        None => super::super::pages::front(),
    }
}

/// What we add to the editor: problems on nodes, the panel of runs.
const OWN: [(&str, &str, &str); 2] = [
    ("probity.js", include_str!("page/probity.js"), "application/javascript; charset=UTF-8"),
    ("probity.css", include_str!("page/probity.css"), "text/css; charset=UTF-8"),
];

/// A file of ours below `red/`; its address changes with what is in it.
pub(super) fn own(name: &str) -> Option<Response> {
    let (_, text, kind) = OWN.iter().find(|(own, ..)| *own == name)?;
    let kept = HeaderValue::from_static("public, max-age=0");
    Some(
        ([(header::CONTENT_TYPE, HeaderValue::from_static(kind)), (header::CACHE_CONTROL, kept)], *text)
            .into_response(),
    )
}

fn rendered() -> Option<String> {
    let template = Template::parse(&files::find("editor-client/templates/index.mst")?.text()).ok()?;
    let mut context = context();
    // Files that the page names are asked for anew with each version of either side.
    let mut version = Sha256::new_with_prefix(concat!(env!("CARGO_PKG_VERSION"), " ", env!("NODE_RED_EDITOR_VERSION")));
    OWN.iter().for_each(|(_, text, _)| version.update(text));
    let version = hex::encode(&version.finalize()[..6]);
    context["page"]["css"] = json!([format!("red/probity.css?v={version}")]);
    context["page"]["scripts"] = json!([format!("red/probity.js?v={version}")]);
    context["cacheBuster"] = json!(version);
    let root = Value::from_json(&context.to_string()).ok()?;
    template.render(&View { root, outside: &|_| Ok(Value::Undefined), escape_json: false }).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_names_the_files_it_is_made_of() {
        if !super::super::is_there() {
            eprintln!("skipped: this build has no editor");
            return;
        }
        let page = rendered().expect("the template is there");
        for named in
            ["<title>Probity</title>", "red/main.min.js?v=", "vendor/monaco/monaco-bootstrap.js?v=", "probity.js"]
        {
            assert!(page.contains(named), "{named}: {page}");
        }
        assert!(!page.contains("{{"), "{page}");
    }
}
