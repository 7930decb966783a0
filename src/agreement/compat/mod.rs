//! What the Governify Registry does where its documents and clients depend on it.

pub mod periods;
