//! Identifiers: run ids (time-ordered) and the 16-hex ids Node-RED gives messages and nodes.

use std::fmt;
use std::str::FromStr;

use arcstr::ArcStr;
use serde::{Deserialize, Serialize};

/// Identifies one run. A UUID version 7, so ids sort by the time the run was opened.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct RunId(pub uuid::Uuid);

impl RunId {
    /// A new id, unique on this and every other machine.
    pub fn fresh() -> Self {
        RunId(uuid::Uuid::now_v7())
    }

    /// As [`fmt::Display`] writes it, without the detour.
    pub fn text(self) -> String {
        self.0.hyphenated().encode_lower(&mut uuid::Uuid::encode_buffer()).to_owned()
    }
}

impl fmt::Display for RunId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Debug for RunId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for RunId {
    type Err = uuid::Error;
    fn from_str(s: &str) -> Result<Self, Self::Err> {
        Ok(RunId(uuid::Uuid::parse_str(s)?))
    }
}

/// A fresh 16-hex id as Node-RED gives to messages (`_msgid`), parts and nodes.
pub fn hex16() -> ArcStr {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    let mut n = fastrand::u64(..);
    let mut out = [0u8; 16];
    for byte in out.iter_mut() {
        *byte = HEX[(n & 15) as usize];
        n >>= 4;
    }
    ArcStr::from(std::str::from_utf8(&out).expect("hex digits are ASCII"))
}
