//! Hostile code in function nodes.
