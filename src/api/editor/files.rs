//! The files of Node-RED's editor that are in this binary, each compressed as browsers take it (`build/editor.rs`).

use std::io::Read;
use std::sync::OnceLock;

use axum::body::Body;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use flate2::read::GzDecoder;
use http::{HeaderMap, HeaderValue, StatusCode, header};

static INDEX: &str = include_str!(concat!(env!("OUT_DIR"), "/editor.index"));
static BLOB: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/editor.blob"));

/// Version of the npm packages.
pub const VERSION: &str = env!("NODE_RED_EDITOR_VERSION");

/// One file.
#[derive(Clone, Copy, Debug)]
pub(super) struct File {
    /// `editor-client/…` or `nodes/…`, as in the npm packages.
    pub(super) path: &'static str,
    compressed: &'static [u8],
    /// Where it begins in the blob: part of its tag, with the version.
    offset: usize,
    length: usize,
}

/// All files, sorted by path.
fn all() -> &'static [File] {
    static FILES: OnceLock<Vec<File>> = OnceLock::new();
    FILES.get_or_init(|| INDEX.lines().map(|line| read(line).expect("the build wrote the index")).collect())
}

fn read(line: &'static str) -> Option<File> {
    let mut fields = line.split('\t');
    let path = fields.next()?;
    let mut number = || fields.next()?.parse::<usize>().ok();
    let (offset, compressed, length) = (number()?, number()?, number()?);
    Some(File { path, compressed: BLOB.get(offset..offset + compressed)?, offset, length })
}

/// Whether the build had the editor's packages.
pub fn is_there() -> bool {
    !BLOB.is_empty()
}

pub(super) fn find(path: &str) -> Option<File> {
    let files = all();
    files.binary_search_by(|file| file.path.cmp(path)).ok().map(|at| files[at])
}

/// The files below a folder, sorted; `folder` ends in `/`.
pub(super) fn below(folder: &str) -> impl Iterator<Item = &'static File> {
    let files = all();
    let start = files.partition_point(|file| file.path < folder);
    files[start..].iter().take_while(move |file| file.path.starts_with(folder))
}

impl File {
    /// The last part of its path.
    pub(super) fn name(&self) -> &'static str {
        self.path.rsplit('/').next().unwrap_or(self.path)
    }

    pub(super) fn bytes(&self) -> Bytes {
        let mut bytes = Vec::with_capacity(self.length);
        GzDecoder::new(self.compressed).read_to_end(&mut bytes).expect("the build compressed it");
        bytes.into()
    }

    pub(super) fn text(&self) -> String {
        let text = String::from_utf8_lossy(&self.bytes()).into_owned();
        text.strip_prefix('\u{feff}').map(str::to_string).unwrap_or(text)
    }

    /// The file as an answer: compressed for those who take that, 304 for those who have it.
    pub(super) fn response(&self, asked: &HeaderMap) -> Response {
        let etag = format!("W/\"{VERSION}-{:x}-{:x}\"", self.offset, self.length);
        let known = asked.get_all(header::IF_NONE_MATCH).iter().filter_map(|value| value.to_str().ok());
        let fresh =
            known.flat_map(|value| value.split(',')).any(|tag| matches!(tag.trim(), t if t == etag || t == "*"));
        let mut response = if fresh {
            StatusCode::NOT_MODIFIED.into_response()
        } else if takes_gzip(asked) {
            let mut response = Body::from(Bytes::from_static(self.compressed)).into_response();
            response.headers_mut().insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
            response
        } else {
            Body::from(self.bytes()).into_response()
        };
        let headers = response.headers_mut();
        headers.insert(header::ETAG, HeaderValue::from_str(&etag).expect("a version and numbers are header text"));
        headers.insert(header::VARY, HeaderValue::from_static("accept-encoding"));
        // As Express serves them: kept by the browser, asked for each time.
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("public, max-age=0"));
        headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        if !fresh {
            headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(media_type(self.name())));
        }
        response
    }
}

fn takes_gzip(asked: &HeaderMap) -> bool {
    let values = asked.get_all(header::ACCEPT_ENCODING).iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).any(|coding| {
        let mut parts = coding.split(';').map(str::trim);
        let named = parts.next().is_some_and(|name| name.eq_ignore_ascii_case("gzip") || name == "*");
        let refused =
            parts.any(|part| part.strip_prefix("q=").is_some_and(|q| q.parse::<f32>().is_ok_and(|q| q <= 0.0)));
        named && !refused
    })
}

/// By the end of a file's name.
pub(super) fn media_type(name: &str) -> &'static str {
    match name.rsplit_once('.').map_or("", |(_, end)| end) {
        "html" => "text/html; charset=utf-8",
        // As Express writes the types of files.
        "js" => "application/javascript; charset=UTF-8",
        "css" => "text/css; charset=UTF-8",
        "json" | "map" => "application/json; charset=UTF-8",
        "svg" => "image/svg+xml",
        "png" => "image/png",
        "gif" => "image/gif",
        "jpg" | "jpeg" => "image/jpeg",
        "ico" => "image/x-icon",
        "woff" => "font/woff",
        "woff2" => "font/woff2",
        "ttf" => "font/ttf",
        "otf" => "font/otf",
        "eot" => "application/vnd.ms-fontobject",
        "md" | "txt" | "ts" | "mst" => "text/plain; charset=utf-8",
        _ => "application/octet-stream",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_takes_gzip_says_so() {
        let asked = |value: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert(header::ACCEPT_ENCODING, HeaderValue::from_static(value));
            takes_gzip(&headers)
        };
        assert!(asked("deflate, gzip;q=0.5") && asked("*") && !asked("gzip;q=0") && !asked("br"));
        assert!(!takes_gzip(&HeaderMap::new()));
    }

    #[test]
    fn a_file_is_the_same_compressed_or_not_and_sent_once() {
        if !is_there() {
            eprintln!("skipped: this build has no editor");
            return;
        }
        let file = find("editor-client/public/red/keymap.json").expect("the editor's keys");
        serde_json::from_slice::<serde_json::Value>(&file.bytes()).expect("JSON");
        let first = file.response(&HeaderMap::new());
        assert_eq!(first.headers()[header::CONTENT_TYPE], "application/json; charset=UTF-8");
        let mut again = HeaderMap::new();
        again.insert(header::IF_NONE_MATCH, first.headers()[header::ETAG].clone());
        assert_eq!(file.response(&again).status(), StatusCode::NOT_MODIFIED);
        assert!(find("editor-client/public/red").is_none() && find("editor-client/../nodes/LICENSE").is_none());
        assert!(below("nodes/icons/").count() > 40);
    }
}
