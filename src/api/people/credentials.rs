//! `/credentials/:type/:id`: which credentials a node has; passwords only as that they are there.

use axum::response::Response;
use percent_encoding::percent_decode_str;
use serde_json::Value as Json;

use crate::api::{Api, express};

/// The credentials of the node a path names.
pub(super) fn shown(api: &Api, path: &str) -> Response {
    let decoded = |text: &str| percent_decode_str(text).decode_utf8_lossy().into_owned();
    let rest = path.trim_end_matches('/').split_once("/credentials/").map_or("", |(_, rest)| rest);
    let (node_type, id) = rest.split_once('/').unwrap_or((rest, ""));
    express::json(&Json::Object(api.credentials.shown(&decoded(node_type), &decoded(id))))
}
