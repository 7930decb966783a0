//! Plugins in the real sandbox: guests as `.wat` text, run by flows on the real engine.

mod checks;
mod combining;
mod command;
pub mod deciding;
mod examples;
mod fetching;
mod guests;
mod hostile;
mod javascript;
mod logs;
mod needed;
mod outside;
mod packs;
mod policy;
mod recorded;
mod reload;
mod replays;
pub mod rig;
mod services;
mod status;
mod tabs;
mod templates;
mod tutorials;
mod worlds;
