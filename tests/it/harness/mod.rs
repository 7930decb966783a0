//! What tests share: services they start.

pub mod postgres;
pub mod server;
