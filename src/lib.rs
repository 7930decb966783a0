//! Probity: a governance workflow engine.
//!
//! Modules stand in floors; each uses only what lies below it (`tests/it/tidy.rs` holds that):
//!
//! | floor | modules |
//! |---|---|
//! | 0 | `model` plain data |
//! | 1 | `expr` objectives, `cron` firings, `regexp` JavaScript's regular expressions: pure |
//! | 2 | `flow` Node-RED files to plans, `agreement` windows and verdicts: pure |
//! | 3 | `clock`, `net`, `files` the folder of flows, `failpoint` where tests let a process die |
//! | 4 | `store`, `datasource` databases that flows may ask, `cache` what replicas share |
//! | 5 | `runtime` runs plans, `registry` where agreements come from |
//! | 6 | `plugin` nodes from outside, sandboxed WASM |
//! | 7 | `nodes` builtin nodes |
//! | 8 | `evaluate` the one evaluation path, `deploy` the flows of a server and how they change |
//! | 9 | `dispatch` durable runs, `schedule` what fires what is due, `director` tasks as a Director keeps them, `delivery` verdicts told to STATUS, `telemetry` traces and metrics told to a collector, `notify` people told of changed verdicts |
//! | 10 | `api` HTTP |
//! | 11 | `config` defaults, file, environment, flags |
//! | 12 | `app` puts everything together |
//! | 13 | `cli` the commands |

pub mod model;

pub mod cron;
pub mod expr;
pub mod regexp;

pub mod agreement;
pub mod flow;

pub mod clock;
pub mod failpoint;
pub mod files;
pub mod net;

pub mod cache;
pub mod datasource;
pub mod store;

pub mod registry;
pub mod runtime;

pub mod plugin;

pub mod nodes;

pub mod deploy;
pub mod evaluate;

pub mod delivery;
pub mod director;
pub mod dispatch;
pub mod notify;
pub mod schedule;
pub mod telemetry;

pub mod api;

pub mod app;
pub mod cli;
pub mod config;
