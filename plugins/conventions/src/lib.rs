//! What the nodes of STATUS agree on about messages: where the events of a trace are, how an event says its name and
//! time, and where a verdict and its evidences go.

pub mod credential;
pub mod date;
pub mod event;
pub mod service;
pub mod trace;
pub mod value;
pub mod verdict;
