//! What tests share: services they start, tables they write.

pub mod browser;
pub mod mongo;
pub mod mosquitto;
pub mod nats;
pub mod nginx;
pub mod postgres;
pub mod redis;
pub mod server;
pub mod smtp;
pub mod table;
