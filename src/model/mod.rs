//! Floor 0: plain data. Serialisable, synchronous, no I/O; everything above speaks these types.

pub mod agreement;
pub mod budget;
pub mod call;
pub mod diagnostic;
pub mod flow;
pub mod id;
pub mod json_text;
pub mod msg;
pub mod node_spec;
pub mod object;
pub mod objective;
pub mod path;
pub mod provenance;
pub mod run;
pub mod score;
pub mod state;
pub mod trace_context;
pub mod value;
pub mod waiver;

pub use diagnostic::{Diagnostic, Severity};
pub use id::RunId;
pub use msg::Msg;
pub use object::Object;
pub use path::Path;
pub use value::Value;
