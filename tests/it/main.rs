//! The one integration test binary.
#![allow(clippy::unwrap_used, reason = "a test says by panicking")]

mod deploy;
mod fuzz;
mod harness;
mod store;
mod tidy;
