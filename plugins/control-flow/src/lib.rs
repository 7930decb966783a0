//! Order and presence of activities in the traces of event logs: the Declare templates, and the four nodes that STATUS
//! flows use for them.

pub mod checking;
pub mod template;

mod chain_response;
mod coexistence;
mod declare;
mod pair;
mod relation;
mod responded_existence;
mod response;
mod trace;

pub use chain_response::ChainResponse;
pub use coexistence::Coexistence;
pub use declare::Declare;
pub use responded_existence::RespondedExistence;
pub use response::Response;

probity_sdk::plugin!(Declare, Response, Coexistence, RespondedExistence, ChainResponse);
