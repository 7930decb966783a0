//! Combines and compares the results of checks: `and`, `or`, `implies`, `lesser-than`, `if-else`, as STATUS flows know
//! them.

mod and;
mod if_else;
mod implies;
mod lesser_than;
mod operands;
mod or;
mod waiting;

pub use and::And;
pub use if_else::IfElse;
pub use implies::Implies;
pub use lesser_than::LesserThan;
pub use or::Or;

probity_sdk::plugin!(And, Or, Implies, LesserThan, IfElse);
