//! What tests share: services they start.

pub mod mongo;
pub mod mosquitto;
pub mod postgres;
pub mod server;
