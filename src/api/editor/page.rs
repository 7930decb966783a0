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

fn rendered() -> Option<String> {
    let template = Template::parse(&files::find("editor-client/templates/index.mst")?.text()).ok()?;
    let mut context = context();
    // Files that the page names are asked for anew with each version of either side.
    let version = Sha256::digest(concat!(env!("CARGO_PKG_VERSION"), " ", env!("NODE_RED_EDITOR_VERSION")));
    context["cacheBuster"] = json!(hex::encode(&version[..6]));
    let root = Value::from_json(&context.to_string()).ok()?;
    template.render(&View { root, outside: &|_| Value::Undefined, escape_json: false }).ok()
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
        for named in ["<title>Probity</title>", "red/main.min.js?v=", "vendor/monaco/monaco-bootstrap.js?v="] {
            assert!(page.contains(named), "{named}: {page}");
        }
        assert!(!page.contains("{{"), "{page}");
    }
}
