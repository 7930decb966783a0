//! What tests share: services they start.

pub mod postgres;
