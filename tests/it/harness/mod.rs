//! What tests share: services they start.

pub mod mongo;
pub mod postgres;
pub mod server;
