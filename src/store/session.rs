//! Logins to the Admin API and what its users keep of the editor, as all stores keep them.

use jiff::Timestamp;

/// A login: the token itself is nowhere, only its hash.
#[derive(Clone, Debug, PartialEq)]
pub struct Session {
    /// SHA-256 of the token, hex.
    pub token_hash: String,
    pub user: String,
    /// The program that logged in, such as `node-red-editor`.
    pub client: String,
    /// What it may do: a permission, or a list of them.
    pub scope: serde_json::Value,
    pub expires_at: Timestamp,
}
