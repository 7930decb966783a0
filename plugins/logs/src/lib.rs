//! Process logs (XES, OCEL 2.0, CSV) from their bytes, and rows of CSV files.
//!
//! What comes in is never trusted: sizes are limited, and what cannot be read is an [`Unreadable`] that says why.

pub mod charset;
pub mod csv_log;
pub mod gzip;
pub mod log;
pub mod ocel;
pub mod traces;
pub mod xes;
pub mod xml;

use std::fmt;

/// Why a log could not be read, in words that say what is wrong and what to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unreadable(pub String);

impl Unreadable {
    pub(crate) fn new(why: impl Into<String>) -> Self {
        Self(why.into())
    }
}

impl fmt::Display for Unreadable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Unreadable {}
