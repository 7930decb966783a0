//! Node-RED's own editor, served from the npm packages that are in the binary: its page, its files, its languages, and
//! the palette: the original forms of the core nodes, and forms made from their schemas for ours and for plugins'.
//! Without the packages (`build/editor.rs` says why they may be missing) everything else runs, and `/` says so.

mod files;
mod forms;
mod locales;
mod page;
mod palette;

use axum::response::{IntoResponse, Response};
use http::{HeaderMap, Method, StatusCode, Uri, header};

pub use files::is_there;
pub use palette::EditorForms;

/// Answers a call for one of the editor's own files below `root` (`httpAdminRoot`), if it is one. They are the same for
/// everybody and open to all, as Node-RED's are: the login page is made of them.
pub(super) fn answer(root: &str, method: &Method, uri: &Uri, headers: &HeaderMap) -> Option<Response> {
    if !matches!(*method, Method::GET | Method::HEAD) {
        return None;
    }
    let path = percent_encoding::percent_decode_str(uri.path()).decode_utf8().ok()?;
    let path = path.strip_prefix(root.trim_end_matches('/'))?;
    // The page names its files from where it lies, so it must lie in a folder.
    if path.is_empty() && root.len() > 1 {
        return Some((StatusCode::MOVED_PERMANENTLY, [(header::LOCATION, format!("{}/", uri.path()))]).into_response());
    }
    let path = path.strip_prefix('/')?;
    if path.is_empty() {
        return Some(page::page());
    }
    let found = match path.split_once('/') {
        Some(("icons", icon)) => return icon_of(icon, headers),
        Some(("locales", namespace)) => {
            return Some(locales::answer(namespace.trim_end_matches('/'), uri.query().unwrap_or_default()));
        }
        Some(("debug", file)) => {
            let file = file.strip_prefix("view/")?;
            files::find(&format!("nodes/core/common/lib/debug/{file}"))
        }
        Some(("red", name)) if let Some(own) = page::own(name) => return Some(own),
        Some(("resources", _)) => return Some(StatusCode::NOT_FOUND.into_response()),
        None if path == "theme" => return Some(page::theme()),
        Some(("theme", "")) => return Some(page::theme()),
        Some(("red" | "vendor" | "types", _)) | None => files::find(&format!("editor-client/public/{path}")),
        Some(_) => None,
    };
    found.map(|file| file.response(headers))
}

/// `<module>/<file>` or `@scope/<module>/<file>`: an icon, or the one that stands for all that are not known.
fn icon_of(path: &str, headers: &HeaderMap) -> Option<Response> {
    let (module, name) = path.rsplit_once('/')?;
    let parts = module.split('/').count();
    if parts > 2 || (parts == 2 && !module.starts_with('@')) {
        return None;
    }
    let known = (module == "node-red").then(|| files::find(&format!("nodes/icons/{name}"))).flatten();
    let file = known.or_else(|| files::find("editor-client/public/red/images/icons/arrow-in.svg"))?;
    Some(file.response(headers))
}

/// JSON that browsers ask for again each time.
fn json(value: &serde_json::Value) -> Response {
    ([(header::CONTENT_TYPE, "application/json; charset=utf-8")], value.to_string()).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn get(path: &str) -> Option<StatusCode> {
        answer("/", &Method::GET, &path.parse().expect("a path"), &HeaderMap::new()).map(|response| response.status())
    }

    #[test]
    fn only_files_of_the_editor_are_answered() {
        assert_eq!(get("/"), Some(StatusCode::OK));
        assert_eq!(get("/flows"), None);
        assert_eq!(get("/red/../../nodes/LICENSE"), None);
        assert_eq!(get("/icons/a/b/c.svg"), None);
        let below = |root: &str, method: Method, path: &str| {
            answer(root, &method, &path.parse().expect("a path"), &HeaderMap::new()).map(|response| response.status())
        };
        assert_eq!(below("/", Method::POST, "/"), None);
        assert_eq!(below("/admin", Method::GET, "/admin"), Some(StatusCode::MOVED_PERMANENTLY));
        assert_eq!(below("/admin", Method::GET, "/admin/"), Some(StatusCode::OK));
        assert_eq!(below("/admin", Method::GET, "/administrator"), None);
        assert_eq!(below("/admin", Method::GET, "/"), None);
        if is_there() {
            for path in [
                "/red/red.min.js",
                "/red/probity.js",
                "/vendor/vendor.js",
                "/favicon.ico",
                "/theme",
                "/locales/editor?lng=en-US",
                "/icons/node-red/inject.svg",
                "/icons/node-red/there-is-none.svg",
                "/icons/@scope/module/x.svg",
                "/debug/view/debug-utils.js",
            ] {
                assert_eq!(get(path), Some(StatusCode::OK), "{path}");
            }
        }
    }
}
