//! Deploys from the outside of this module: what changes, what stays, what is saved.
