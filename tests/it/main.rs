//! The one integration test binary.
#![allow(clippy::unwrap_used, reason = "a test says by panicking")]

mod admin;
mod api;
mod authoring;
mod browser;
mod budgets;
mod callers;
mod database_tls;
mod delivery;
mod deploy;
mod director;
mod docs;
mod door;
mod editor;
mod evaluation;
mod full_disk;
mod functions;
mod fuzz;
mod governify;
mod harness;
mod io;
mod jsonata;
mod jsonpath;
mod mustache;
mod nodes;
mod notifications;
mod orders;
mod people;
mod plugins;
mod rotation;
mod serve;
mod shipped;
mod sources;
mod store;
mod tidy;
mod windows;
