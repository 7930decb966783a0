//! The one integration test binary.
#![allow(clippy::unwrap_used, reason = "a test says by panicking")]

mod admin;
mod api;
mod authoring;
mod browser;
mod budgets;
mod callers;
mod delivery;
mod deploy;
mod director;
mod docs;
mod durable;
mod editor;
mod evaluation;
mod flow_tests;
mod full_disk;
mod functions;
mod fuzz;
mod governify;
mod harness;
mod io;
mod jsonata;
mod jsonpath;
mod limits;
mod mustache;
mod nodes;
mod orders;
mod people;
mod plugins;
mod replicas;
mod serve;
mod shipped;
mod sources;
mod store;
mod tidy;
mod windows;
