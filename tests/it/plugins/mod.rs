//! Plugins in the real sandbox: guests as `.wat` text, run by flows on the real engine.

mod command;
mod guests;
mod hostile;
mod javascript;
pub mod rig;
