//! The one integration test binary.

mod deploy;
mod harness;
mod store;
mod tidy;
