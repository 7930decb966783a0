//! What tests share: services they start.

pub mod browser;
pub mod mongo;
pub mod mosquitto;
pub mod postgres;
pub mod server;
