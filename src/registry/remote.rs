//! Addresses of sources elsewhere.

use std::sync::Arc;

use super::source::{Source, Times};
use crate::net::Net;

/// The source at this address.
///
/// # Errors
/// What was expected instead; without the secrets of the address.
pub fn remote(url: &str, _net: &Arc<Net>, _times: Times) -> Result<Box<dyn Source>, String> {
    let scheme = url.split("://").next().unwrap_or_default();
    Err(format!("{scheme}:// is no kind of source; expected a folder or file, or \"shipped\""))
}
