//! `[net]`, `[files]` and `[nodes]`: what flows may reach.

use std::path::PathBuf;

use serde::Deserialize;

#[derive(Clone, Debug, Deserialize)]
pub struct Files {
    /// Empty: flows use no files.
    pub dir: PathBuf,
    pub bytes_max: u64,
}

#[derive(Clone, Debug, Deserialize)]
pub struct Nodes {
    pub allow: Vec<String>,
}

#[derive(Clone, Debug, Deserialize)]
pub struct Net {
    pub allow: Vec<String>,
    pub unverified: Vec<String>,
    pub connect_ms_max: u64,
    pub request_ms_max: u64,
    pub response_bytes_max: usize,
    pub redirects_max: u32,
    pub requests_max: usize,
    pub host_requests_max: usize,
    pub waiting_max: usize,
}
