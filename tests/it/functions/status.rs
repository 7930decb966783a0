//! The flows of STATUS that have function nodes.
