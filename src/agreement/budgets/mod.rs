//! Error budgets and burn rates of an agreement, purely: read from `context["x-probity"].budgets`, counted from the
//! verdicts of their guarantee, written as rules for Prometheus.

pub mod compare;
pub mod explain;
pub mod judge;
pub mod rules;

mod figures;
mod read;

pub(super) use read::{fraction, read_budgets};

#[cfg(test)]
mod tests;
