//! What the Governify Registry does where its documents and clients depend on it.

pub mod loose;
pub mod periods;
pub mod states;
